"""Architectures of users: files, modules and installed packages."""

import sys

import pytest

from scalecli.architectures import ARCHITECTURES, build_spec, load
from scalecli.architectures.loading import address_of, code_of
from scalecli.cli.main import run
from scalecli.errors import ConfigurationError
from scalecli.references import resolve_model
from scalecli.shape import parse_name, presets, shape_name
from tests.own_architectures import EXAMPLES, MINE, forgetting, write

pytestmark = pytest.mark.usefixtures("forgetting")
__all__ = ["forgetting"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def error_of(capsys, *arguments):
    """The exit code and the one line of a command that fails."""
    code = run(arguments)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return code, lines[0]


def test_a_file_is_an_architecture_with_knobs_sizes_and_names():
    name = load(write(MINE))
    assert (name, load("./mine.py"), load("mine")) == ("mine", "mine", "mine")
    assert (address_of("mine"), address_of("glu"), code_of("glu")) == ("./mine.py", "glu", None)
    assert presets("mine") == presets()
    shape = parse_name("rk4-small-nl24", "mine")
    assert (shape.rank, shape.encoder_layers, shape_name(shape, "mine")) == (4, 24, "small-nl24-rk4")
    assert shape.to_dict() == {**presets()["small"].to_dict(), "encoder_layers": 24, "decoder_layers": 24, "rank": 4}
    assert build_spec("mine", shape).parameters() == build_spec("transformer", parse_name("small-nl24")).parameters()
    with pytest.raises(ConfigurationError, match="rank is 8, as mine has it; leave it out"):
        parse_name("small-rk8", "mine")
    with pytest.raises(ConfigurationError, match="transformer has no rank, a knob of mine"):
        build_spec("transformer", shape)


def test_the_function_gets_every_knob():
    seen = []
    ARCHITECTURES[load(write(MINE))].build.__globals__["encoder_decoder"] = lambda name, shape: seen.append(shape.rank)
    with pytest.raises(ConfigurationError, match="build gives NoneType, not EncoderDecoder"):
        build_spec("mine", presets()["tiny"])
    assert seen == [8]


def test_one_function_resolves_it(tmp_path):
    model = resolve_model("tiny", architecture=write(MINE), operators={"rk": 2})
    assert (model.name, model.architecture, model.shape.rank) == ("tiny-rk2", "mine", 2)
    (tmp_path / "shape.yaml").write_text("architecture: mine\n" + write_shape(model.shape))
    assert resolve_model("shape.yaml").shape == model.shape


def write_shape(shape):
    return "".join(f"{name}: {value}\n" for name, value in shape.to_dict().items())


def test_a_module_and_an_installed_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "fnet.py").write_text(
        MINE.replace("mine", "by_module").replace('"rank", "rk", "--rank"', '"a", "qa", "--a-b"')
    )
    (package / "other.py").write_text(MINE.replace("mine", "installed"))
    info = tmp_path / "my_package-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[scalecli.architectures]\ninstalled = my_package.other\n")
    assert load("my_package.fnet") == load("my_package.fnet") == "by_module"
    assert "my_package.other" not in sys.modules  # installed code runs where its name comes up
    assert build_spec("installed", presets()["tiny"]).architecture == "installed"
    assert code_of("installed").file.endswith("other.py")
    with pytest.raises(ConfigurationError, match=r"No module named 'my_package\.no'"):
        load("my_package.no")
    for name in [module for module in sys.modules if module.startswith("my_package")]:
        monkeypatch.delitem(sys.modules, name)


KNOB = 'Knob("rank", "rk", "--rank", "Rank.", default=8)'


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def build", "def def build", "mine.py: line 4: not Python: invalid syntax"),
        ("architecture = ", "found = ", "./mine.py: it has no architecture"),
        ("def build", "1 / 0\ndef build", "mine.py: line 4: ZeroDivisionError: division by zero"),
        ("import Arch", "import Nothing, Arch", "mine.py: line 2: ImportError: cannot import name 'Nothing'"),
        ('name="mine"', 'name="switch"', "./mine.py: the name 'switch' is taken by one of the papers' architectures"),
        ('name="mine"', 'name="My-Own"', "./mine.py: name is 'My-Own'; lower-case letters"),
        (KNOB, 'Knob("rank", "rk", "--rank", "R")', "the knob rank has no default, and T5's sizes do not state it"),
        ('"rk"', '"ne"', "./mine.py: the letters 'ne' of the knob rank are taken"),
        ('"rk"', '"nl"', "./mine.py: the letters 'nl' of the knob rank are taken"),
        ("default=8", 'values=("tied", "new"), default="new"', "'tied' of the knob rank is taken in names of models"),
        ('"--rank"', '"--experts"', "./mine.py: the flag --experts of the knob rank is taken"),
        ('"rank"', '"d_model"', "the knob d_model has the name of something that every shape has"),
        ('"rank"', '"taps"', "the knob taps is another architecture's: it has the letters 'nt', the flag --taps"),
        ("default=8", "default=0", "the default of rank is 0; a whole number from 1"),
        ("    return", "    return 1 + ''", "mine.py: line 5: TypeError: unsupported operand"),
        ("    return", "    return shape", "mine.py: build gives Shape, not EncoderDecoder"),
        ('"mine", shape', '"other", shape', "mine.py: build gives a model of 'other', not of 'mine'"),
        ("build=build", "build=3", "./mine.py: build is 3; a function from a Shape to a model is accepted"),
        ("build=build", "build=build, sizes={}", "./mine.py: sizes is {}; a Path, shapes by name, or None for T5's"),
        ("build=build", "build=build, sizes={'a': 3}", "./mine.py: sizes is {'a': 3}; a Path, shapes by name"),
        ("build=build", "build=build, reads='sound'", "./mine.py: reads is 'sound'; text or images is accepted"),
        ("build=build", "build=build, warnings=5", "./mine.py: warnings is 5; a function from a Shape to sentences"),
        ("build=build", "build=build, layers_per_block=0", "./mine.py: layers_per_block is 0; a whole number from 1"),
        ("build=build", "build=build, warnings=lambda shape: [1 / 0]", "ZeroDivisionError: division by zero"),
        ("build=build", "build=build, warnings=lambda shape: None", "'NoneType' object is not iterable"),
        (f"({KNOB},)", "('rank',)", "./mine.py: knobs is ('rank',); a tuple of Knobs is accepted"),
        (f"({KNOB},)", "None", "./mine.py: TypeError: 'NoneType' object is not iterable"),
        ('"rk"', "5", "./mine.py: TypeError: expected string or bytes-like object"),
        ("default=8", "values=(1, 2), default=1", "./mine.py: the values of rank are (1, 2); int, bool or words"),
        ("default=8", "values=(), default=1", "./mine.py: the values of rank are (); int, bool or words"),
    ],
)
def test_a_broken_file_is_one_line(old, new, message, capsys):
    assert old in MINE
    text = MINE.replace(old, new, 1)
    if new == "    return 1 + ''":
        text = MINE.replace('    return encoder_decoder("mine", shape)', "    return 1 + ''")
    if new == "    return shape":
        text = MINE.replace('    return encoder_decoder("mine", shape)', "    return shape")
    code, line = error_of(capsys, "shape", "tiny", "--arch", write(text))
    assert code == 3 and message in line


LAYER = """
from collections import Counter
from dataclasses import dataclass
from scalecli.api import Architecture, LayerSpec, Repeat, Weight, encoder_block, encoder_decoder, stack

@dataclass(frozen=True)
class Mine(LayerSpec):
    def multiply_adds(self, queries, memory):
        return Counter({"my own": queries})

def build(shape):
    block = encoder_block(shape, mixing=Mine())
    return encoder_decoder("mine", shape, encoder=stack(shape, Repeat(block, 2), bidirectional=True, bias_heads=()))

architecture = Architecture(name="mine", build=build)
"""


def test_a_component_that_there_is_not_is_named(capsys):
    code, line = error_of(capsys, "shape", "tiny", "--arch", write(LAYER))
    assert code == 3 and "mine counts multiply-adds as 'my own'; components are embedding, " in line


def test_a_layer_without_keras_is_named():
    from scalecli.models.building import new_model

    load(write(LAYER.replace("my own", "token mixing")))
    with pytest.raises(ConfigurationError, match="Keras layer of Mine: Mine names no Keras layer"):
        new_model(build_spec("mine", parse_name("tiny-dm8-ff8-nl2")))


def test_a_file_that_is_not_there(capsys):
    assert error_of(capsys, "shape", "--arch", "./no.py") == (
        4,
        "error: ./no.py: no such file",
    )


@pytest.mark.parametrize("words", [("--rank", "4"), ("--rank=4",)])
def test_its_knobs_are_options(words, capsys):
    assert run(["shape", "tiny", "--arch", write(MINE), *words, "--format", "csv"]) == 0
    assert "tiny-rk4,mine," in capsys.readouterr().out
    assert run(["shape", "--arch=./mine.py", "--help-all"]) == 0
    assert "--rank" in capsys.readouterr().out


def test_a_flag_of_the_command_is_not_a_knobs(capsys):
    write(MINE.replace("--rank", "--batch"))
    message = "error: the flag --batch of the knob rank is taken: scalecli shape has it"
    assert error_of(capsys, "shape", "tiny", "--arch", "./mine.py") == (3, message)


def test_a_name_for_its_variable(monkeypatch, capsys):
    monkeypatch.setenv("SCALECLI_SHAPE_ARCH", write(MINE))
    assert run(["shape", "tiny-rk4", "--format", "csv"]) == 0
    assert "tiny-rk4,mine," in capsys.readouterr().out


def test_its_knobs_in_a_file_of_options(capsys):
    write("shape: {arch: ./mine.py, rank: 4}", "options.yaml")
    write(MINE)
    assert run(["--config", "options.yaml", "shape", "tiny", "--format", "csv"]) == 0
    assert "tiny-rk4,mine," in capsys.readouterr().out


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_short_and_need_no_keras(name):
    import subprocess

    assert len(EXAMPLES[name].read_text().splitlines()) <= 80
    shown = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "scalecli", "shape", "tiny", "--arch", str(EXAMPLES[name])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert name in shown.stdout
    assert not {"keras", "tensorflow", "jax"} & {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
