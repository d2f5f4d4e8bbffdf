import os
import re

import pytest

from scalecli import strict
from scalecli.architectures import ARCHITECTURES
from scalecli.errors import ConfigurationError, MissingError
from scalecli.manifest import save_manifest
from scalecli.references import ModelReference, resolve_model
from scalecli.shape import Shape, apply_operators, parse_name, presets
from tests.manifests import example_manifest

FIELDS = "encoder_layers: 2\ndecoder_layers: 3\nd_model: 64\nd_ff: 96\nd_kv: 16\nheads: 4\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(folder):
    """A run of glu tiny in runs/first."""
    save_manifest(example_manifest(architecture="glu", shape=presets("glu")["tiny"].to_dict()), "runs/first")
    return "runs/first"


def test_a_name_stands_for_its_shape():
    assert resolve_model("T5-efficient-SM-NL24") == ModelReference(
        "small-nl24", "transformer", parse_name("small-nl24")
    )
    assert resolve_model("small", architecture="glu").shape.d_ff == 1365


def test_operators_come_after_the_name():
    model = resolve_model("small-nl24", operators={"el": 2, "ff": 512})
    assert model.name == "small-el2-dl24-ff512"
    assert (model.shape.encoder_layers, model.shape.decoder_layers, model.shape.d_ff) == (2, 24, 512)


def test_a_shape_file(folder):
    (folder / "mine.yaml").write_text(FIELDS + "vocabulary: 8192\n")
    model = resolve_model("mine.yaml")
    assert (model.architecture, model.run) == ("transformer", None)
    assert model.shape.to_dict() == {
        **{"encoder_layers": 2, "decoder_layers": 3, "d_model": 64, "d_ff": 96, "d_kv": 16, "heads": 4},
        "vocabulary": 8192,
    }
    assert resolve_model("mine.yaml", architecture="glu").architecture == "glu"
    assert resolve_model("mine.yaml", operators={"nl": 5}).shape.encoder_layers == 5


def test_a_shape_file_states_its_architecture(folder):
    (folder / "mine.yml").write_text("architecture: glu\n" + FIELDS)
    assert resolve_model("mine.yml").architecture == "glu"
    with pytest.raises(ConfigurationError, match=r"mine\.yml: its architecture is glu, not transformer"):
        resolve_model("mine.yml", architecture="transformer")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FIELDS + "head: 4\n", "unknown key 'head'.*did you mean 'heads'"),
        (FIELDS.replace("d_kv: 16\n", ""), "lacks d_kv"),
        (FIELDS.replace("16", "wide"), "d_kv is 'wide'; a whole number"),
        (FIELDS.replace("16", "'16'"), "d_kv is '16'; a whole number"),
        (FIELDS.replace("heads: 4", "heads: 0"), "heads is 0"),
        (FIELDS + "architecture: transfomer\n", "no architecture 'transfomer'.*did you mean 'transformer'"),
        (FIELDS + "architecture: [glu]\n", "architecture: expected text, found"),
        (FIELDS + "heads: 5\n", "'heads' twice"),
        ("small\n", "expected a mapping"),
        ("", "expected a mapping"),
    ],
)
def test_bad_shape_files_name_file_and_key(folder, text, message):
    (folder / "bad.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=rf"^bad\.yaml:.*{message}"):
        resolve_model("bad.yaml")


@pytest.mark.parametrize("path", ["runs/first", "runs/first/", "runs/first/run.yaml", "./runs/first"])
def test_a_run(run, path):
    model = resolve_model(path)
    assert (model.name, model.architecture, model.shape) == ("first", "glu", presets("glu")["tiny"])
    assert os.path.samefile(model.run, run)


def test_a_run_is_found_from_inside_and_by_a_bare_name(run, monkeypatch):
    monkeypatch.chdir("runs")
    assert resolve_model("first").run == "first"
    monkeypatch.chdir("first")
    assert resolve_model("run.yaml").run == resolve_model(".").run == "."


def test_a_run_keeps_its_shape_unless_only_its_cost_is_asked(run):
    with pytest.raises(ConfigurationError, match=r"runs/first: a run keeps the shape .* leave out --nl 8 --ff 64 --sh"):
        resolve_model(run, operators={"nl": 8, "ff": 64, "sh": True})
    model = resolve_model(run, operators={"nl": 8}, reshape_runs=True)
    assert (model.name, model.architecture, model.run) == ("tiny-nl8", "glu", None)


def test_a_run_of_another_architecture_is_refused(run):
    assert resolve_model(run, architecture="glu").run
    with pytest.raises(ConfigurationError, match=r"run\.yaml: its architecture is glu, not transformer"):
        resolve_model(run, architecture="transformer")


def test_a_manifest_with_an_impossible_shape_or_architecture():
    save_manifest(example_manifest(shape={"encoder_layers": 4}), "runs/odd")
    with pytest.raises(ConfigurationError, match=r"runs/odd/run\.yaml: shape: the shape lacks d_model, d_ff"):
        resolve_model("runs/odd")
    shape = presets()["tiny"].to_dict()
    save_manifest(example_manifest(architecture="gluu", shape=shape), "runs/odd")
    with pytest.raises(ConfigurationError, match=r"runs/odd/run\.yaml: no architecture 'gluu'.*'glu'"):
        resolve_model("runs/odd")


def test_a_name_wins_over_a_file_unless_it_is_written_as_a_path(folder, run):
    (folder / "small").write_text(FIELDS)
    assert resolve_model("small").shape == presets()["small"]
    assert resolve_model("./small").shape.d_model == 64
    (folder / "mine").write_text(FIELDS)
    assert resolve_model("mine").shape.d_model == 64


def test_neither_a_name_nor_a_file():
    with pytest.raises(ConfigurationError, match=r"^no file 'smal-nl4', and 'smal' .*did you mean 'small'\?$"):
        resolve_model("smal-nl4")
    for path in ("missing.yaml", "missing/run"):
        with pytest.raises(MissingError, match=f"{path}: no such file"):
            resolve_model(path)


def test_a_directory_without_a_run(folder):
    (folder / "empty").mkdir()
    with pytest.raises(MissingError, match=r"no run\.yaml"):
        resolve_model("./empty")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_shape_files_and_manifests_of_every_architecture(folder, architecture):
    size, shape = next(iter(presets(architecture).items()))
    shape = apply_operators(shape, {"skv": True}, architecture)
    strict.write_yaml("mine.yaml", {"architecture": architecture, **shape.to_dict()})
    save_manifest(example_manifest(architecture=architecture, shape=shape.to_dict()), "run")
    for path in ("mine.yaml", "./run"):
        model = resolve_model(path)
        assert (model.architecture, model.shape) == (architecture, shape)
    assert resolve_model("mine.yaml").name == f"{size}-skv"


def test_a_name_says_its_architecture():
    model = resolve_model("vit-s", operators={"nl": 24})
    assert (model.name, model.architecture, model.shape) == ("vit-s-nl24", "vit", parse_name("vit-s-nl24", "vit"))
    assert resolve_model("switch-base").architecture == "switch"
    assert resolve_model("switch-base").shape == presets("switch")["base"]


def test_a_file_or_an_operator_states_the_classes(folder):
    fields = presets("vit")["vit-s"].to_dict()
    strict.write_yaml("stated.yaml", {"architecture": "vit", **fields})
    del fields["classes"]
    strict.write_yaml("open.yaml", {"architecture": "vit", **fields})
    assert resolve_model("open.yaml").shape == resolve_model("stated.yaml").shape
    stated = {
        text: resolve_model(text).fixes_output_size for text in ("stated.yaml", "open.yaml", "vit-s", "vit-s-nc9")
    }
    assert list(stated.values()) == [True, False, False, True]
    assert resolve_model("vit-s", operators={"nc": 9}).fixes_output_size


def test_operators_on_a_file_with_knobs(folder):
    strict.write_yaml("mine.yaml", {"architecture": "switch", **presets("switch")["tiny"].to_dict()})
    model = resolve_model("mine.yaml", operators={"ne": 4, "sh": True})
    assert (model.name, model.shape.experts, model.shape.shared_heads) == ("tiny-sh-ne4", 4, True)


def test_a_manifest_from_before_there_were_knobs(folder):
    fields = {"encoder_layers": 4, "decoder_layers": 4, "d_model": 256, "d_ff": 1024, "d_kv": 64, "heads": 4}
    save_manifest(example_manifest(shape={**fields, "vocabulary": 8192}), "old")
    assert resolve_model("./old").shape == Shape(**fields, vocabulary=8192)


@pytest.mark.parametrize(
    ("architecture", "change", "message"),
    [
        ("switch", {"experts": None}, "the shape lacks experts, which switch has"),
        ("universal", {"recurrence_type": None}, "the shape lacks recurrence_type, which universal has"),
        ("transformer", {"taps": 7}, "transformer has no taps, a knob of dconv and lconv"),
        ("albert", {"shared_stacks": "yes"}, "shared_stacks is 'yes'; true or false is accepted"),
        ("albert", {"shared_stacks": 1}, "shared_stacks is 1; true or false is accepted"),
        ("universal", {"recurrence_type": "on"}, "recurrence_type is 'on'; one of act, basic, highway, gated"),
        ("switch", {"encoder_layers": 3}, "encoder_layers is 3; switch has its layers in pairs"),
        ("evolved", {"d_model": 255}, "make it even"),
        ("funnel", {"funnel_blocks": 9}, "each block takes at least one layer"),
    ],
)
def test_files_that_are_not_of_their_architecture(folder, architecture, change, message):
    fields = {**presets(architecture)["tiny"].to_dict(), **change}
    fields = {name: value for name, value in fields.items() if value is not None}
    strict.write_yaml("bad.yaml", {"architecture": architecture, **fields})
    save_manifest(example_manifest(architecture=architecture, shape=fields), "bad")
    with pytest.raises(ConfigurationError, match=rf"^bad\.yaml: .*{re.escape(message)}"):
        resolve_model("bad.yaml")
    with pytest.raises(ConfigurationError, match=message):
        resolve_model("./bad")


def test_knobs_of_a_file_are_those_of_the_architecture_that_is_asked_for(folder):
    (folder / "mine.yaml").write_text(FIELDS + "experts: 4\n")
    assert resolve_model("mine.yaml", architecture="switch", operators={"dl": 4}).shape.experts == 4
    with pytest.raises(ConfigurationError, match=r"^mine\.yaml: transformer has no experts"):
        resolve_model("mine.yaml")


def test_what_cannot_be_built_is_refused_after_the_operators(folder):
    with pytest.raises(ConfigurationError, match=r"^small-nl3: encoder_layers is 3; switch"):
        resolve_model("small-nl3", architecture="switch")
    assert resolve_model("small-nl3", architecture="switch", operators={"nl": 8}).name == "small-nl8"


def test_names_as_hugging_face_has_them(folder):
    assert resolve_model("google/t5-efficient-small-dm1000").name == "small-dm1024"
    (folder / "google").mkdir()
    (folder / "google" / "t5-efficient-mine").write_text(FIELDS)
    assert resolve_model("./google/t5-efficient-mine").shape.d_model == 64


def test_an_unknown_architecture():
    with pytest.raises(ConfigurationError, match=r"no architecture 'gul'.*did you mean 'glu'"):
        resolve_model("small", architecture="gul")
