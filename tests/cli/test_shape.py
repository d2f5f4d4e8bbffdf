import csv
import io
import json
import os
import subprocess
import sys

import pytest
import yaml

from scalecli.cli.main import run
from scalecli.manifest import save_manifest
from scalecli.references import resolve_model
from scalecli.shape import parse_name, presets
from tests.manifests import example_manifest


@pytest.fixture
def shape(capsys, tmp_path, monkeypatch):
    """Runs the subcommand in an empty folder; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        code = run(["shape", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


def figures(shape, *arguments):
    code, out, err = shape(*arguments, "--format", "json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_every_figure_of_a_shape(shape):
    assert figures(shape, "small", "--nl", "24") == {
        **{"name": "small-nl24", "architecture": "transformer", "encoder_layers": 24, "decoder_layers": 24},
        **{"d_model": 512, "d_ff": 2048, "d_kv": 64, "heads": 8, "vocabulary": 32128},
        **{"parameters": 192_673_280, "embedding_parameters": 16_449_536, "non_embedding_parameters": 176_223_744},
        **{"batch": 128, "inputs": 512, "targets": 114},
        **{"forward_flops": 16_693_724_184_576, "training_flops": 50_081_172_553_728},
        **{"forward_flops_per_token": 208_338_211, "training_flops_per_token": 625_014_634},
        **{"weights_bytes": 4 * 192_673_280, "adafactor_bytes": 2_545_152},
    }


@pytest.mark.parametrize(("name", "parameters"), [("tiny", 15_570_688), ("small", 60_506_624), ("base", 222_903_552)])
def test_exact_parameters(shape, name, parameters):
    assert figures(shape, name)["parameters"] == parameters
    assert f"{parameters:,}" in shape(name)[1]


@pytest.mark.parametrize("arguments", [["NL24-SM"], ["t5-efficient-small-nl24"], ["small-el24", "--dl", "24"]])
def test_other_words_for_the_same_shape(shape, arguments):
    assert figures(shape, *arguments) == figures(shape, "small", "--nl", "24")


def test_all_operators_as_options(shape):
    options = {"--nl": 9, "--el": 2, "--dl": 3, "--dm": 64, "--kv": 8, "--nh": 5, "--ff": 96}
    row = figures(shape, "tiny", *(str(part) for pair in options.items() for part in pair))
    fields = ("encoder_layers", "decoder_layers", "d_model", "d_kv", "heads", "d_ff")
    assert [row[field] for field in fields] == [2, 3, 64, 8, 5, 96]


def test_the_batch_scales_flops(shape):
    one = figures(shape, "tiny", "--batch", "1", "--inputs", "128", "--targets", "32")
    four = figures(shape, "tiny", "--batch", "4", "--inputs", "128", "--targets", "32")
    assert four["forward_flops"] == 4 * one["forward_flops"]
    assert four["forward_flops_per_token"] == one["forward_flops_per_token"] == round(one["forward_flops"] / 160)


def test_the_formats_show_the_same(shape):
    expected = figures(shape, "tiny")
    assert yaml.safe_load(shape("tiny", "--format", "yaml")[1]) == expected
    (row,) = csv.DictReader(io.StringIO(shape("tiny", "--format", "csv")[1]))
    assert row == {key: str(value) for key, value in expected.items()}
    table = [line.split() for line in shape("tiny")[1].splitlines()]
    assert ["Parameters", "15,570,688"] in table and ["d_model", "256"] in table
    assert "| Parameters | 15,570,688 |" in shape("tiny", "--format", "markdown")[1]


def test_several_models_make_a_row_each(shape):
    rows = figures(shape, "tiny", "small-nl24", "--arch", "glu")
    assert [(row["name"], row["architecture"]) for row in rows] == [("tiny", "glu"), ("small-nl24", "glu")]
    header, *lines = shape("tiny", "small-nl24")[1].splitlines()
    assert header.split() == ["Name", "EL", "DL", "DM", "FF", "KV", "NH", "Params", "Forward", "Adafactor"]
    assert [line.split()[0] for line in lines[1:]] == ["tiny", "small-nl24"]


def test_architectures_are_told_apart_in_one_table(shape):
    save_manifest(example_manifest(architecture="glu", shape=presets("glu")["tiny"].to_dict()), "first")
    lines = shape("tiny", "first")[1].splitlines()
    assert lines[0].split()[:2] == ["Name", "Architecture"]
    assert [line.split()[:2] for line in lines[2:]] == [["tiny", "transformer"], ["first", "glu"]]


def test_without_models_all_sizes(shape):
    assert [row["name"] for row in figures(shape)] == list(presets())
    assert [row["name"] for row in figures(shape, "--arch", "glu", "--nl", "3")][:2] == ["tiny-nl3", "small-nl3"]
    widest = max(len(line) for line in shape()[1].splitlines())
    assert widest <= 80


def test_a_run_may_be_asked_what_it_would_cost_otherwise(shape):
    save_manifest(example_manifest(shape=presets()["tiny"].to_dict()), "runs/first")
    assert figures(shape, "runs/first")["name"] == "first"
    assert figures(shape, "runs/first", "--nl", "8")["parameters"] == 22_915_840


def test_the_written_shape_is_read_back(shape):
    code, out, err = shape("small", "--arch", "glu", "--ff", "96", "-o", "made/mine.yaml")
    assert (code, err) == (0, "wrote made/mine.yaml\n") and "small-ff96" in out
    model = resolve_model("made/mine.yaml")
    assert (model.architecture, model.shape) == ("glu", parse_name("small-ff96", "glu"))
    assert shape("tiny", "-o", "made/mine.yaml")[0] == 0
    assert resolve_model("made/mine.yaml").shape == presets()["tiny"]
    assert os.listdir("made") == ["mine.yaml"]


def test_nothing_is_written_for_several_models(shape):
    code, out, err = shape("tiny", "small", "-o", "mine.yaml")
    assert (code, out) == (2, "") and "-o mine.yaml writes the shape of one MODEL; there are 2" in err
    assert not os.path.exists("mine.yaml")


def test_odd_shapes_are_warned_about_in_one_line(shape, tmp_path):
    fields = {**presets()["tiny"].to_dict(), "d_model": 250, "vocabulary": 32100}
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(fields))
    code, _, err = shape("./odd.yaml")
    assert code == 0 and err.count("\n") == 1 and err.startswith("warning: ")
    assert "d_model 250 is no multiple of 8 and vocabulary 32100 is no multiple of 128" in err
    assert shape("small", "--kv", "96")[2] == ""


BAD = {
    "heads 0": (["small", "--nh", "0"], 3, "--nh is 0; a whole number from 1 to 16777216 is accepted"),
    "d_ff -1": (["small", "--ff", "-1"], 3, "--ff is -1; a whole number from 1"),
    "nl0": (["small-nl0"], 3, "NL: encoder_layers is 0"),
    "smal": (["smal-nl4"], 3, "did you mean 'small'?"),
    "architecture": (["small", "--arch", "trasformer"], 3, "did you mean 'transformer'?"),
    "architecture of all": (["--arch", "glue"], 3, "did you mean 'glu'?"),
    "no file": (["a/shape.yaml"], 4, "a/shape.yaml: no such file"),
    "no number": (["small", "--nl", "many"], 2, "'many' is not a valid integer"),
    "batch 0": (["small", "--batch", "0"], 2, "--batch"),
    "unknown option": (["small", "--layers", "3"], 2, "--layers"),
    "format": (["small", "--format", "xml"], 2, "'xml'"),
    "unwritable": (["small", "-o", "/dev/null/mine.yaml"], 1, "/dev/null/mine.yaml: cannot be written"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_end_in_one_line(shape, arguments, code, message):
    found, out, err = shape(*arguments)
    assert (found, out) == (code, "")
    assert err.startswith("error: ") and err.count("\n") == 1 and message in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": 8}, "unknown key 'head'"),
        ({"heads": None}, "lacks heads"),
        ({"heads": "eight"}, "heads is 'eight'"),
        ({"d_ff": -1}, "d_ff is -1"),
    ],
)
def test_bad_shape_files_end_in_one_line(shape, tmp_path, change, message):
    fields = {**presets()["tiny"].to_dict(), **change}
    (tmp_path / "bad.yaml").write_text(
        yaml.safe_dump({key: value for key, value in fields.items() if value is not None})
    )
    code, out, err = shape("bad.yaml")
    assert (code, out) == (3, "")
    assert err.startswith("error: bad.yaml: ") and err.count("\n") == 1 and message in err


def test_an_environment_variable_and_a_configuration_file_set_options(shape, tmp_path, monkeypatch, capsys):
    (tmp_path / "config.yaml").write_text("shape: {nl: 3, arch: glu}\n")
    assert run(["--config", "config.yaml", "shape", "tiny", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert (row["name"], row["architecture"]) == ("tiny-nl3", "glu")
    monkeypatch.setenv("SCALECLI_SHAPE_NL", "5")
    assert figures(shape, "tiny")["name"] == "tiny-nl5"
    assert figures(shape, "tiny", "--nl", "6")["name"] == "tiny-nl6"


@pytest.mark.parametrize("subcommand", ["shape", "flops"])
def test_no_heavy_package_is_imported(subcommand):
    program = (
        "import sys; from scalecli.cli.main import run; run(sys.argv[1:]);"
        "heavy = {'tensorflow', 'keras', 'numpy', 'jax', 'torch', 'fsspec'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, subcommand, "small"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "small" in done.stdout
