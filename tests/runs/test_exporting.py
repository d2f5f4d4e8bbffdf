"""A run's model for other libraries: what is written, and that it is written whole or not at all."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from scalecli.interchange import keras_hub
from scalecli.interchange.hugging_face import t5 as hugging_face
from tests.runs.conftest import command

HUGGING_FACE = ["README.md", "config.json", "generation_config.json", "model.safetensors", "spiece.model"]
HUGGING_FACE += ["tokenizer.json", "tokenizer_config.json"]


def export(run, target, directory, *options):
    return command("export", run, "--to", target, directory, "--format", "json", *options)


def changed(reference, directory, old, new):
    """A copy of a run whose manifest says something else."""
    shutil.copytree(reference, directory)
    file = directory / "run.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return directory


def weights_of(run, step):
    return load_file(run / f"checkpoints/{step:08d}/weights.safetensors")


@pytest.mark.parametrize(("options", "step"), [([], 24), (["--step", 6], 6)])
def test_hugging_face_has_the_weights_of_the_step(reference, tmp_path, options, step):
    ran = export(reference, "hugging-face", tmp_path / "new" / "hf", *options)
    assert ran.code == 0, ran.err
    assert f"at step {step}: written to {tmp_path}/new/hf" in ran.err
    assert [row["file"] for row in json.loads(ran.out)["tables"]["files"]] == HUGGING_FACE
    imported = hugging_face.read(tmp_path / "new" / "hf", step=None, optimizer=False)
    expected = weights_of(reference, step)
    assert imported.weights.keys() == expected.keys()
    assert all(imported.weights[path].tobytes() == expected[path].tobytes() for path in expected)
    assert imported.vocabulary.read_bytes() == (reference / "vocabulary.model").read_bytes()


def test_an_import_comes_back_as_it_was(reference, tmp_path):
    """The dropout of its training is unknown, so that the library's own applies."""
    assert export(reference, "hugging-face", tmp_path / "first").code == 0
    assert command("import", tmp_path / "first", "--run", tmp_path / "run").code == 0
    assert export(tmp_path / "run", "hugging-face", tmp_path / "second").code == 0
    tokenizer = ("spiece.model", "tokenizer.json", "tokenizer_config.json")
    for name in ("model.safetensors", *tokenizer, "generation_config.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    first, second = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "second"))
    assert first.pop("dropout_rate") == 0.1 and first == second


def test_transformers_loads_it(reference, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.runs.trained import open_trained

    assert export(reference, "hugging-face", tmp_path / "hf").code == 0
    model, info = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not any(info.values()) and model.config.dropout_rate == 0.1
    trained = open_trained(str(reference), tmp_path)
    ours = EncoderDecoder(trained.spec)
    trained.load_into(ours)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    vocabulary = trained.vocabulary(tmp_path / "cache")
    text = (reference.parent / "text.txt").read_text().splitlines()[0]
    inputs = tokenizer(f"{text} <extra_id_0>", return_tensors="pt").input_ids
    assert inputs[0].tolist() == [*vocabulary.encode(text), vocabulary.size - 1, 1]
    targets = torch.arange(3, 10)[None]
    with torch.no_grad():
        expected = model.eval()(input_ids=inputs, labels=targets).logits.numpy()
    batch = {"inputs": inputs.numpy().astype("int32"), "targets": targets.numpy().astype("int32")}
    np.testing.assert_allclose(np.asarray(ours(batch)), expected, rtol=0, atol=1e-4)


def test_bfloat16_is_rounded_once(reference, tmp_path):
    import ml_dtypes

    assert export(reference, "hugging-face", tmp_path / "hf", "--precision", "bfloat16").code == 0
    imported = hugging_face.read(tmp_path / "hf", step=None, optimizer=False)
    assert imported.precision == "bfloat16"
    for path, weight in weights_of(reference, 24).items():
        np.testing.assert_array_equal(imported.weights[path], weight.astype(ml_dtypes.bfloat16).astype("float32"))


def test_keras_hub_has_the_weights(reference, tmp_path):
    (tmp_path / "preset").mkdir()  # an empty directory is as good as none
    ran = export(reference, "keras-hub", tmp_path / "preset")
    assert ran.code == 0, ran.err
    files = {row["file"] for row in json.loads(ran.out)["tables"]["files"]}
    assert {"README.md", "config.json", "model.weights.h5"} < files
    # Without the time of writing, so that a second export is the same bytes.
    metadata = json.loads((tmp_path / "preset/metadata.json").read_text())
    total = yaml.safe_load((reference / "run.yaml").read_text())["parameters"]["total"]
    assert metadata["parameter_count"] == total and "date_saved" not in metadata
    imported = keras_hub.read(tmp_path / "preset", step=None, optimizer=False)
    expected = weights_of(reference, 24)
    assert all(imported.weights[path].tobytes() == expected[path].tobytes() for path in expected)


def test_the_model_card_states_the_manifest(reference, tmp_path):
    assert export(reference, "hugging-face", tmp_path / "hf").code == 0
    card, manifest = (tmp_path / "hf" / "README.md").read_text(), yaml.safe_load((reference / "run.yaml").read_text())
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["library_name"] == "transformers"
    assert f"{manifest['parameters']['total']:,} parameters" in card
    facts = yaml.safe_load(card.split("```yaml\n")[1].split("```")[0])
    assert facts["shape"] == manifest["shape"] and facts["optimizer"] == manifest["optimizer"]
    assert facts["data"]["vocabulary"]["sha256"] == manifest["data"]["vocabulary"]["sha256"]
    for name, value in manifest["results"][24].items():
        assert f"| {name} | {value:.6g} |" in card
    assert str(reference.parent) not in card  # whose disk it was made on is nobody's business


@pytest.mark.parametrize(
    ("old", "new", "target", "message"),
    [
        ("heads: 2\n", "heads: 2\n  shared_heads: true\n", "hugging-face", "are shared (SH)"),
        ("heads: 2\n", "heads: 2\n  tied_key_values: true\n", "keras-hub", "are tied (SKV)"),
        ("architecture: transformer", "architecture: performer", "hugging-face", "has no performer"),
        ("decoder_layers: 2", "decoder_layers: 3", "keras-hub", "2 encoder and 3 decoder layers"),
    ],
)
def test_what_a_library_cannot_hold_is_refused(reference, tmp_path, old, new, target, message):
    run = changed(reference, tmp_path / "run", old, new)
    assert message in export(run, target, tmp_path / "out").failed(3)
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_overwritten(reference, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("full", "file"):
        assert "something else is there already" in export(reference, "hugging-face", tmp_path / name).failed(3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "full"]
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_the_same_export_once_more_changes_nothing(reference, tmp_path):
    assert export(reference, "hugging-face", tmp_path / "out").code == 0
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*")}
    assert export(reference, "hugging-face", tmp_path / "out").code == 0
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out").rglob("*")} == before
    (tmp_path / "out" / "README.md").write_text("another")
    assert "something else is there already" in export(reference, "hugging-face", tmp_path / "out").failed(3)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_nothing_behind(reference, tmp_path, monkeypatch):
    import safetensors.numpy

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    failed = export(reference, "hugging-face", tmp_path / "out").failed(1)
    assert "can't be written" in failed and "No space left on device" in failed
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_or_another_vocabulary_is_refused(reference, tmp_path):
    run = shutil.copytree(reference, tmp_path / "run")
    weights = run / "checkpoints" / "00000024" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert "damaged" in export(run, "hugging-face", tmp_path / "out").failed(4)
    vocabulary = run / "vocabulary.model"
    shutil.copyfile(reference / "checkpoints" / "00000024" / "weights.safetensors", weights)
    shutil.copyfile(reference.parent / "text.txt", vocabulary)
    assert "vocabulary.model" in export(run, "hugging-face", tmp_path / "out").failed(4)
    assert "step 7" in export(run, "hugging-face", tmp_path / "out", "--step", 7).failed(4)
    assert not (tmp_path / "out").exists()


def test_hugging_face_is_written_without_tensorflow(reference, tmp_path):
    program = (
        "import sys; from scalecli.cli.main import run;"
        f"code = run(['export', {str(reference)!r}, '--to', 'hugging-face', {str(tmp_path / 'hf')!r}]);"
        "sys.exit(code or any(name in sys.modules for name in ('tensorflow', 'keras', 'torch', 'transformers')))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("heads: 2", "heads: 4", "heads is 4, and 2 in run.yaml; one of the two is damaged"),
        ("d_ff: 32", "d_ff: many", "shape: d_ff"),
        ("architecture: transformer", "architecture: glu", "architecture is glu, and transformer in run.yaml"),
    ],
)
def test_a_checkpoint_of_another_model_than_the_manifest_says_is_refused(reference, tmp_path, old, new, message):
    run = shutil.copytree(reference, tmp_path / "run")
    description = run / "checkpoints/00000024/checkpoint.yaml"
    text = description.read_text()
    assert old in text
    description.write_text(text.replace(old, new))
    failed = export(run, "hugging-face", tmp_path / "out").failed(3)
    assert failed.startswith(f"{description}: ") and message in failed
    assert not (tmp_path / "out").exists()
