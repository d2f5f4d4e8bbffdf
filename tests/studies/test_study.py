"""A study's file is read strictly, and found by its name where it comes with the package."""

import pytest

from scalecli.errors import ConfigurationError, MissingError
from scalecli.studies.study import Chips, Study, load_study, ready_made

WHOLE = """
base: small
operators: [nl24, el8-dl2]
shapes: [base]
architectures: [transformer, switch-ne8]
without: [switch-ne8-base]
narrow: 2
seeds: [0, 1]
data: {text: [corpus.txt], vocabulary: train:2000}
steps: 1000
pretrain: {batch: 64, learning_rate: 1e-2}
tasks: [sst2]
finetune: {steps: 10}
machine: {chip: h100, chips: 8}
"""


def test_a_file_says_all_of_a_study(tmp_path):
    file = tmp_path / "my.study-1.yaml"
    file.write_text(WHOLE)
    name, study = load_study(str(file))
    assert name == "my.study-1"
    assert study == Study(
        base="small",
        operators=("nl24", "el8-dl2"),
        shapes=("base",),
        architectures=("transformer", "switch-ne8"),
        without=("switch-ne8-base",),
        narrow=2,
        seeds=(0, 1),
        data={"text": ["corpus.txt"], "vocabulary": "train:2000"},
        steps=1000,
        pretrain={"batch": 64, "learning_rate": 0.01},
        tasks=("sst2",),
        finetune={"steps": 10},
        machine=Chips(chip="h100", chips=8),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: small\nsteps: 5\noperator: [nl2]", "s.yaml: unknown key 'operator'; did you mean 'operators'?"),
        ("base: small", "s.yaml: steps: a study has steps or budgets (of training FLOPs), and not both"),
        ("base: small\nsteps: 5\nbudgets: [1e13]", "s.yaml: steps: a study has steps or budgets"),
        ("base: small\nbudgets: [1e13, 0]", "s.yaml: budgets: 0; training FLOPs above 0 and below 1e30 are accepted"),
        ("base: small\nbudgets: [.inf]", "s.yaml: budgets: inf; training FLOPs above 0"),
        ("base: small\nbudgets: [.nan]", "s.yaml: budgets: nan; training FLOPs above 0"),
        ("base: small\nbudgets: [1e13, 10e12]", "s.yaml: budgets: 10000000000000.0 twice"),
        ("base: small\nbudgets: 1e13", "s.yaml: budgets: expected a list"),
        ("steps: 5", "s.yaml: base: a study has a base, or shapes, or both"),
        ("shapes: [small]\noperators: [nl2]\nsteps: 5", "s.yaml: operators: they change the base, which is missing"),
        ("base: small\nsteps: five", "s.yaml: steps: expected a whole number, found 'five'"),
        ("base: small\nsteps: 0", "s.yaml: steps is 0; 1 or more is accepted"),
        ("base: small\nsteps: 5\nnarrow: 0", "s.yaml: narrow is 0; 1 or more is accepted"),
        ("base: small\nsteps: 5\nseeds: []", "s.yaml: seeds: a study has one or more"),
        ("base: small\nsteps: 5\nseeds: [3, 3]", "s.yaml: seeds: 3 twice"),
        ("base: small\nsteps: 5\nseeds: [0, -1]", "s.yaml: seeds: -1; 0 to 2^31 - 1 is accepted"),
        ("base: small\nsteps: 5\nseeds: [0, 0]", "s.yaml: seeds: 0 twice"),
        ("base: small\nsteps: 5\nseeds: 0", "s.yaml: seeds: expected a list, found 0"),
        ("base: small\nsteps: 5\nfinetune: {steps: 3}", "s.yaml: finetune: it goes with tasks, which are missing"),
        ("base: small\nsteps: 5\nmachine: {chip: h100, count: 2}", "s.yaml: unknown key 'machine.count'"),
        ("base: [", "s.yaml:2: not valid YAML"),
    ],
)
def test_a_bad_file_is_an_error_that_names_the_key(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_study("s.yaml")
    assert str(caught.value).startswith(message)


def test_a_name_that_is_none_gets_the_nearest():
    with pytest.raises(ConfigurationError) as caught:
        load_study("deep-narow")
    assert str(caught.value).endswith("did you mean 'deep-narrow'?")
    assert all(name in str(caught.value) for name in ready_made())


def test_a_file_that_is_not_there_or_can_t_name_a_directory(tmp_path):
    with pytest.raises(MissingError, match=r"none\.yaml: no such file"):
        load_study(str(tmp_path / "none.yaml"))
    (tmp_path / "a b.yaml").write_text("base: small\nsteps: 5\n")
    with pytest.raises(ConfigurationError, match="a study's name has letters, digits"):
        load_study(str(tmp_path / "a b.yaml"))
