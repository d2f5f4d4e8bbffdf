import csv
import io
import json
from functools import partial

import pytest
import yaml

from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.manifest import save_manifest
from scalecli.shape import presets
from tests.manifests import example_manifest

DONE = ["attention projections", "attention scores", "feed-forward", "logits"]
COUNTED_IN_PAPER = ["embedding", *DONE[:3], "elementwise", "products", "logits"]


@pytest.fixture
def flops(invoke, tmp_path, monkeypatch):
    """Runs the subcommand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(invoke, "flops")


def rows(flops, *arguments):
    code, out, _ = flops(*arguments, "--format", "json")
    assert code == 0
    return {row["component"]: row for row in json.loads(out)["tables"]["components"]}


@pytest.mark.parametrize(("size", "printed"), [("small", 3.70e12), ("base", 11.4e12), ("large", 34.3e12)])
def test_paper_reproduces_the_papers_without_any_option(flops, size, printed):
    components = rows(flops, size, "--convention", "paper")
    assert list(components) == [*COUNTED_IN_PAPER, "total"]
    assert components["total"]["flops"] == pytest.approx(printed, rel=0.015)


def test_forward_is_the_default_and_leaves_out_what_is_not_done(flops):
    components = rows(flops, "small")
    assert list(components) == [*DONE, "total"]
    # Twice batch x targets x d_model x vocabulary.
    assert components["logits"]["flops"] == 2 * 128 * 114 * 512 * 32128
    assert components == rows(flops, "small", "--convention", "forward", "--batch", "128", "--inputs", "512")


@pytest.mark.parametrize("convention", ["forward", "training", "paper"])
def test_components_add_up_to_the_total(flops, convention):
    components = rows(flops, "tiny", "--arch", "glu", "--convention", convention)
    total = components.pop("total")
    assert total["flops"] == sum(row["flops"] for row in components.values())
    assert total["share_percent"] == 100
    assert sum(row["share_percent"] for row in components.values()) == pytest.approx(100)
    for row in components.values():
        assert row["share_percent"] == pytest.approx(100 * row["flops"] / total["flops"])


def test_per_token_is_of_inputs_and_targets_together(flops):
    components = rows(flops, "tiny", "--batch", "3", "--inputs", "20", "--targets", "10")
    for row in components.values():
        assert row["flops_per_token"] == round(row["flops"] / 90)


def test_lengths_apply_in_every_convention(flops):
    lengths = ("--batch", "2", "--inputs", "64", "--targets", "16")
    forward, training = (rows(flops, "tiny", *lengths, "--convention", name) for name in ("forward", "training"))
    paper = rows(flops, "tiny", *lengths, "--convention", "paper")
    for component in (*DONE, "total"):
        assert training[component]["flops"] == 3 * forward[component]["flops"]
    for component in DONE:
        assert forward[component]["flops"] == 2 * paper[component]["flops"]


def test_all_conventions_side_by_side(flops):
    components = rows(flops, "small", "--convention", "all")
    assert list(components) == [*COUNTED_IN_PAPER, "total"]
    assert components["embedding"]["forward"] is None and components["embedding"]["paper"] > 0
    for name in ("forward", "training", "paper"):
        single = rows(flops, "small", "--convention", name)
        assert {component: row[name] for component, row in components.items() if row[name] is not None} == {
            component: row["flops"] for component, row in single.items()
        }


# What an architecture has beside attention, feed-forward and logits, or instead of it, in any convention.
OF_THEIR_OWN = {
    "evolved": {"convolutions", "wide convolutions"},
    "universal": {"recurrence"},
    "switch": {"router", "dispatch"},
    "albert": {"embedding projections"},
    **{"lconv": {"convolutions"}, "dconv": {"convolutions"}, "mixer": {"token mixing"}},
}


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_components_of_every_architecture(flops, architecture):
    components = rows(flops, "tiny", "--arch", architecture, "--convention", "all")
    assert set(components) == {*COUNTED_IN_PAPER, *OF_THEIR_OWN.get(architecture, ()), "total"}
    for name in ("forward", "training", "paper"):
        counts = {component: row[name] for component, row in components.items() if row[name] is not None}
        assert all(counts.values())
        total = counts.pop("total")
        assert total == sum(counts.values())


@pytest.mark.parametrize(
    ("model", "printed"), [("vit-s", 1.37e9), ("vit-b", 4.44e9), ("vit-s-nl24", 3.94e9), ("vit-s-nl28", 4.58e9)]
)
def test_one_image_costs_what_table_5_prints(flops, model, printed):
    code, out, err = flops(model, "--convention", "paper")
    assert code == 0 and f"{model} (vit), 1 image of 49 patches and a class token:" in out + err
    components = rows(flops, model, "--convention", "all")
    assert components["total"]["paper"] == pytest.approx(printed, rel=0.0025)
    assert components["total"]["training"] == 3 * components["total"]["forward"]
    assert list(components) == [
        *("embedding projections", "attention projections", "attention scores", "feed-forward", "elementwise"),
        *("products", "logits", "total"),
    ]
    assert rows(flops, model, "--batch", "8")["total"]["flops"] == 8 * components["total"]["forward"]


def test_model_parallelism_repeats_what_the_papers_count(flops):
    arguments = ("xl", "--convention", "paper", "--batch", "64")
    one, eight = (rows(flops, *arguments, "--model-parallel", count) for count in ("1", "8"))
    assert one == rows(flops, *arguments)
    assert eight["elementwise"]["flops"] == 8 * one["elementwise"]["flops"]
    assert eight["total"]["flops"] == pytest.approx(63.8e12, rel=0.002)  # as printed
    both = rows(flops, "xl", "--convention", "all", "--batch", "64", "--model-parallel", "8")
    assert both["total"]["paper"] == eight["total"]["flops"]
    assert both["total"]["forward"] == rows(flops, "xl", "--batch", "64")["total"]["flops"]


@pytest.mark.parametrize(
    ("architecture", "convention", "expected"),
    [
        ("mos", "paper", "never touched the logits"),
        ("mos", "all", "never touched the logits"),
        ("mos", "forward", None),
        ("evolved", "paper", "leaves out the wide convolutions"),
        ("transformer", "paper", None),
    ],
)
def test_what_the_papers_figures_of_an_architecture_are_not_of_is_noted(flops, architecture, convention, expected):
    _, out, err = flops("tiny", "--arch", architecture, "--convention", convention)
    notes = [line for line in out.splitlines() if line.startswith(f"paper, {architecture}: ")]
    assert err == "" and len(notes) == (expected is not None)
    assert expected is None or expected in notes[0]


def test_operators_and_runs(flops):
    save_manifest(example_manifest(shape=presets()["tiny"].to_dict()), "first")
    assert rows(flops, "first") == rows(flops, "tiny")
    assert rows(flops, "first", "--nl", "8") == rows(flops, "tiny-nl8") == rows(flops, "tiny", "--nl", "8")


def test_the_note_says_what_is_counted(flops):
    _, out, err = flops("small", "--convention", "paper")
    assert err == ""
    note = out.splitlines()[-1]
    assert note.startswith("paper, small (transformer), batch 128 x 512 inputs x 128 targets: multiply-adds of one")
    assert note.count(".") == 1 and note.endswith(".")
    _, out, err = flops("small", "--format", "json")
    assert err.startswith("forward, small (transformer), batch 128 x 512 inputs x 114 targets: twice the multiply-adds")
    assert err.count("\n") == 1 and json.loads(out)
    _, out, _ = flops("small", "--convention", "all", "--format", "markdown")
    assert [line.split(",")[0] for line in out.split("\n\n")[1].splitlines()] == ["forward", "training", "paper"]


def test_the_formats_show_the_same(flops):
    expected = list(rows(flops, "small").values())
    assert yaml.safe_load(flops("small", "--format", "yaml")[1])["tables"]["components"] == expected
    lines = list(csv.DictReader(io.StringIO(flops("small", "--format", "csv")[1])))
    assert lines == [{key: str(value) for key, value in row.items()} for row in expected]
    table = flops("small")[1].splitlines()
    assert [line.split("  ")[0].strip() for line in table[2:-1]] == [*DONE, "total"]
    assert table[-2].split() == ["total", "4.53T", "100", "56.6M"]


BAD = {
    "heads 0": (["small", "--nh", "0"], 3, "--nh is 0"),
    "d_ff -1": (["small", "--ff", "-1"], 3, "--ff is -1"),
    "nl0": (["small-nl0"], 3, "NL: encoder_layers is 0"),
    "smal": (["smal-nl4"], 3, "did you mean 'small'?"),
    "architecture": (["small", "--arch", "gl"], 3, "did you mean 'glu'?"),
    "no model": ([], 2, "MODEL"),
    "two models": (["small", "base"], 2, "base"),
    "convention": (["small", "--convention", "papers"], 2, "'papers'"),
    "targets 0": (["small", "--targets", "0"], 2, "--targets"),
    "no file": (["a.yaml"], 4, "a.yaml: no such file"),
    "knob": (["small", "--experts", "4"], 3, "small: NE: transformer has no experts, a knob of switch"),
    "impossible": (["small-nl3", "--arch", "switch"], 3, "small-nl3: encoder_layers is 3; switch has its layers in"),
    "inputs": (["small", "--arch", "funnel", "--inputs", "510"], 3, "a multiple of 4 is accepted"),
    "inputs of mixer": (["small", "--arch", "mixer", "--inputs", "600"], 3, "--positions 600"),
    "model parallelism": (["small", "--model-parallel", "2"], 2, "counted by --convention paper alone"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_end_in_one_line(flops, arguments, code, message):
    exit_code, out, err = flops(*arguments)
    assert (exit_code, out) == (code, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err
