import csv
import io
import json
import os
from functools import partial

import click
import pytest
import yaml

from scalecli import strict
from scalecli.architectures import ARCHITECTURES, KNOBS, TEXT_ARCHITECTURES, named
from scalecli.architectures.operators import operators
from scalecli.cli.main import cli, run
from scalecli.manifest import save_manifest
from scalecli.references import resolve_model
from scalecli.shape import parse_name, presets
from tests.manifests import example_manifest


@pytest.fixture
def shape(invoke, tmp_path, monkeypatch):
    """Runs the subcommand in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return partial(invoke, "shape")


def figures(shape, *arguments):
    code, out, err = shape(*arguments, "--format", "json")
    assert (code, err) == (0, "")
    rows = json.loads(out)["tables"]["shapes"]
    return rows if len(rows) > 1 else rows[0]


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
    options = {"--nl": 9, "--el": 2, "--dl": 3, "--dm": 128, "--kv": 16, "--nh": 5, "--ff": 96}
    row = figures(shape, "tiny", *(str(part) for pair in options.items() for part in pair))
    fields = ("encoder_layers", "decoder_layers", "d_model", "d_kv", "heads", "d_ff")
    assert [row[field] for field in fields] == [2, 3, 128, 16, 5, 96]


@pytest.mark.parametrize(
    ("options", "fields", "name"),
    [
        (["--sh"], {"shared_heads": True}, "tiny-sh"),
        (["--skv"], {"tied_key_values": True}, "tiny-skv"),
        (["--shkv"], {"shared_heads": True, "tied_key_values": True}, "tiny-shkv"),
        (["--arch", "switch", "--experts", "8"], {"experts": 8}, "tiny-ne8"),
        (["--arch", "universal", "--recurrence", "2"], {"recurrence": 2, "recurrence_type": "act"}, "tiny-nr2"),
        (["--arch", "universal", "--recurrence-type", "gated"], {"recurrence_type": "gated"}, "tiny-gated"),
        (["--arch", "mos", "--softmaxes", "4"], {"softmaxes": 4}, "tiny-ns4"),
        (["--arch", "dconv", "--taps", "3"], {"taps": 3}, "tiny-nt3"),
        (["--arch", "funnel", "--funnel-blocks", "2"], {"funnel_blocks": 2}, "tiny-fb2"),
        (["--arch", "albert", "--embedding-size", "64"], {"embedding_size": 64, "shared_stacks": False}, "tiny-es64"),
        (["--arch", "albert", "--shared-stacks"], {"shared_stacks": True}, "tiny-ss"),
        (["--arch", "mixer", "--positions", "1024"], {"positions": 1024}, "tiny-np1024"),
    ],
)
def test_sharing_and_knobs_as_options(shape, options, fields, name):
    row = figures(shape, "tiny", *options)
    assert row["name"] == name and {field: row.get(field) for field in fields} == fields
    assert figures(shape, name, *options[: options.index("--arch") + 2 if "--arch" in options else 0]) == row


@pytest.mark.parametrize("subcommand", ["shape", "flops", "pretrain"])
def test_no_two_options_have_one_name(subcommand):
    command = cli.get_command(click.Context(cli), subcommand)
    flags = [flag for option in command.params for flag in (*option.opts, *option.secondary_opts)]
    names = [option.name for option in command.params]
    assert len(set(flags)) == len(flags) and len(set(names)) == len(names)
    assert {operator.option for operator in operators().values()} <= set(flags)


def test_every_operator_has_an_option_in_the_help(shape):
    code, out, _ = shape("--help-all")
    assert code == 0
    for operator in operators().values():
        assert f"  {operator.option}" in out


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_knobs_of_an_architecture_are_shown_and_no_others(shape, architecture):
    size = next(iter(presets(architecture)))
    shown, declared = set(KNOBS), named(architecture)
    stated = {knob.name for knob in declared.knobs} - set(declared.defaults)
    assert set(figures(shape, size, "--arch", architecture)) & shown == stated
    lines = [line.split()[0] for line in shape(size, "--arch", architecture)[1].splitlines()]
    assert set(lines) & shown == stated
    titles = {code.upper() for code, each in operators().items() if each.fields[0] in stated}
    header = shape("--arch", architecture)[1].splitlines()[0].split()
    of_all = ["Name", "EL", *(["DL"] if architecture in TEXT_ARCHITECTURES else []), "DM", "FF", "KV", "NH"]
    assert header[: len(of_all)] == of_all and set(header[len(of_all) : -3]) == titles


def test_a_vision_transformer_by_its_name_alone(shape):
    row = figures(shape, "vit-s", "--nl", "24")
    assert (row["name"], row["architecture"], row["parameters"]) == ("vit-s-nl24", "vit", 86_491_728)
    assert (row["batch"], row["inputs"], row["targets"]) == (1, 49, 1)
    assert not {"decoder_layers", "vocabulary"} & set(row)
    assert figures(shape, "NL24-ViT-S") == figures(shape, "s-nl24", "--arch", "vit") == row
    many = figures(shape, "vit-s", "--nl", "24", "--batch", "4096")
    assert many["forward_flops"] == 4096 * row["forward_flops"]
    code, out, _ = shape("vit-s", "--batch", "4096", "--chip", "tpu-v3", "--chips", "64", "--format", "json")
    assert code == 0 and json.loads(out)["tables"]["shapes"][0]["fits"]


def test_text_and_images_in_one_table(shape):
    code, out, _ = shape("small", "vit-b", "--format", "json")
    assert code == 0
    small, vit = json.loads(out)["tables"]["shapes"]
    assert (small["batch"], vit["batch"], vit["classes"]) == (128, 1, 18_000)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["vit-s", "--dl", "4"], 3, "DL: vit has no decoder_layers, a knob of 12 other architectures"),
        (["vit-s", "--inputs", "64"], 3, "vit reads images of 49 patches, each with one label; inputs of 64"),
        (["vit-s", "--patch-size", "30"], 3, "image_size is 224 and patch_size 30; a multiple of patch_size is accep"),
        (["small", "--classes", "10"], 3, "transformer has no classes, a knob of vit"),
        (["vit-s", "--arch", "glu"], 3, "'vit' in 'vit-s' is neither a size nor an operator"),
    ],
)
def test_what_images_have_and_text_has_not(shape, arguments, code, message):
    exit_code, _, err = shape(*arguments)
    assert exit_code == code and message in err


def test_a_shape_file_of_images_leaves_the_classes_to_the_data(shape, tmp_path):
    assert shape("vit-s", "-o", "plain.yaml")[0] == shape("vit-s", "--classes", "10", "-o", "stated.yaml")[0] == 0
    plain, stated = (strict.load_yaml(tmp_path / name) for name in ("plain.yaml", "stated.yaml"))
    assert plain == {"architecture": "vit", **{name: stated[name] for name in plain if name != "architecture"}}
    assert set(stated) - set(plain) == {"classes"} and stated["classes"] == 10
    assert figures(shape, "plain.yaml") == figures(shape, "vit-s")
    assert figures(shape, "stated.yaml")["name"] == "vit-s-nc10"


def test_the_batch_scales_flops(shape):
    one = figures(shape, "tiny", "--batch", "1", "--inputs", "128", "--targets", "32")
    four = figures(shape, "tiny", "--batch", "4", "--inputs", "128", "--targets", "32")
    assert four["forward_flops"] == 4 * one["forward_flops"]
    assert four["forward_flops_per_token"] == one["forward_flops_per_token"] == round(one["forward_flops"] / 160)


def test_the_formats_show_the_same(shape):
    expected = figures(shape, "tiny")
    assert yaml.safe_load(shape("tiny", "--format", "yaml")[1])["tables"]["shapes"] == [expected]
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


def test_odd_shapes_are_warned_about_a_line_each(shape, tmp_path):
    fields = {**presets()["tiny"].to_dict(), "d_model": 250, "vocabulary": 32100}
    (tmp_path / "odd.yaml").write_text(yaml.safe_dump(fields))
    code, _, err = shape("./odd.yaml")
    assert code == 0
    assert err.splitlines() == [
        "warning: tiny-dm250: d_model 250 is no multiple of 128; a TPU pads it to 256",
        "warning: tiny-dm250: vocabulary 32100 is no multiple of 128; a TPU pads it to 32128",
    ]
    assert "one softmax mixes nothing" in shape("tiny", "--arch", "mos", "--softmaxes", "1")[2]
    assert shape("small", "--kv", "96")[2] == ""


def test_what_training_takes_is_shown_when_a_machine_is_named(shape):
    plain = figures(shape, "small")
    code, out, err = shape("small", "--chip", "tpu-v3", "--chips", "64", "--steps", "1000", "--format", "json")
    (row,) = json.loads(out)["tables"]["shapes"]
    assert code == 0 and err.count("\n") == 2 and err.startswith("Steps/s is an estimate")
    assert {key: row[key] for key in plain} == plain
    assert (row["chip"], row["chips"], row["steps"]) == ("tpu-v3", 64, 1000)
    assert row["run_flops"] == 1000 * plain["training_flops"]
    assert row["hours"] == pytest.approx(1000 / row["steps_per_s"] / 3600)
    lines = shape("small", "--chips", "64")[1].splitlines()
    assert any(line.startswith("Memory a device: weights") for line in lines) and lines[-1].startswith("Energy: ")
    header = shape("small", "base", "--optimizer", "adamw")[1].splitlines()[0].split()
    assert header[:5] == ["Name", "Params", "Memory", "Fits", "Steps/s"]


def test_a_machine_that_cannot_train_a_model_is_refused_with_its_name(shape):
    code, out, err = shape("small", "tiny", "--model-parallel", "32")
    assert (code, out) == (3, "") and err.startswith("error: small: --model-parallel 32 does not divide heads 8")


def test_released_checkpoints(shape):
    code, out, _ = shape("--released", "--size", "mini", "--format", "json")
    assert code == 0
    names = [row["name"] for row in json.loads(out)["tables"]["released"]]
    assert "t5-efficient-mini-nl24" in names and all(name.startswith("t5-efficient-mini") for name in names)
    kv = json.loads(shape("--released", "--size", "base", "--knob", "kv", "--format", "json")[1])["tables"]["released"]
    assert {row["d_kv"] for row in kv} == {16, 32, 128, 256}
    # Any of them is a name, in both forms.
    assert figures(shape, names[0])["parameters"] == figures(shape, f"google/{names[0]}")["parameters"]


def test_shapes_are_found_by_what_they_may_cost(shape):
    code, out, err = shape("--budget", "parameters=100M", "--format", "json")
    rows = json.loads(out)["tables"]["candidates"]
    assert code == 0 and err and len(rows) > 3
    assert all(row["parameters"] <= 100e6 for row in rows)
    assert figures(shape, rows[0]["name"])["parameters"] == rows[0]["parameters"]


def test_published_models_that_are_as_good_and_cheaper(shape):
    code, out, _ = shape("--like", "base", "--cheaper", "parameters", "--format", "json")
    own, *others = json.loads(out)["tables"]["alternatives"]
    assert code == 0 and own["name"] == "base" and "small-nl24" in [row["name"] for row in others]


BAD = {
    "heads 0": (["small", "--nh", "0"], 3, "--nh is 0; a whole number from 1 to 16777216 is accepted"),
    "d_ff -1": (["small", "--ff", "-1"], 3, "--ff is -1; a whole number from 1"),
    "nl0": (["small-nl0"], 3, "NL: encoder_layers is 0"),
    "smal": (["smal-nl4"], 3, "did you mean 'small'?"),
    "architecture": (["small", "--arch", "trasformer"], 3, "did you mean 'transformer'?"),
    "architecture of all": (["--arch", "glue"], 3, "did you mean 'glu'?"),
    "no file": (["a/shape.yaml"], 4, "a/shape.yaml: no such file"),
    "no number": (["small", "--nl", "many"], 2, "'many' is not a valid integer"),
    "no word": (
        ["small", "--arch", "universal", "--recurrence-type", "acts"],
        2,
        "'acts' is not one of 'act', 'basic'",
    ),
    "knob": (["small", "--taps", "3"], 3, "small: NT: transformer has no taps, a knob of dconv and lconv"),
    "knob 0": (["small", "--arch", "switch", "--experts", "0"], 3, "--experts is 0; a whole number from 1"),
    "impossible": (["small", "--arch", "lconv", "--taps", "2"], 3, "small: taps is 2; the encoder's convolutions are"),
    "inputs of mixer": (["small", "--arch", "mixer", "--inputs", "600"], 3, "small: mixer has matrices for 512"),
    "size alone": (["small", "--size", "small"], 2, "add --released"),
    "released and a model": (["small", "--released"], 2, "--released does not go with MODEL"),
    "released and a machine": (["--released", "--chips", "4"], 2, "--released does not go with --chip and the like"),
    "budget and a model": (["small", "--budget", "flops=1e12"], 2, "--budget does not go with MODEL"),
    "like and a file": (["--like", "base", "--cheaper", "flops", "-o", "a.yaml"], 2, "--like does not go with -o"),
    "like alone": (["--like", "base"], 2, "--like MODEL and --cheaper COST go together"),
    "chip": (["small", "--chip", "tpu-v33"], 3, "no chip 'tpu-v33'"),
    "batch 0": (["small", "--batch", "0"], 2, "--batch"),
    "unknown option": (["small", "--layers", "3"], 2, "--layers"),
    "format": (["small", "--format", "xml"], 2, "'xml'"),
    "unwritable": (["small", "-o", "/dev/null/mine.yaml"], 1, "/dev/null/mine.yaml: cannot be written"),
}


@pytest.mark.parametrize(("arguments", "code", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_end_in_one_line(shape, arguments, code, message):
    exit_code, out, err = shape(*arguments)
    assert (exit_code, out) == (code, "")
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
    (row,) = json.loads(capsys.readouterr().out)["tables"]["shapes"]
    assert (row["name"], row["architecture"]) == ("tiny-nl3", "glu")
    monkeypatch.setenv("SCALECLI_SHAPE_NL", "5")
    assert figures(shape, "tiny")["name"] == "tiny-nl5"
    assert figures(shape, "tiny", "--nl", "6")["name"] == "tiny-nl6"
