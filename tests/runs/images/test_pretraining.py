"""Vision transformers from the command line: pretraining on digits, going on, and few-shot accuracy on other digits."""

import json
import os

import keras
import numpy as np
import pytest

from scalecli.architectures import build_image_spec
from scalecli.evaluation.few_shot import Features, FewShot, draw_shots, ridge_accuracy
from scalecli.manifest import load_manifest
from scalecli.runs.trained import Trained, open_trained
from scalecli.storage import layout
from scalecli.storage.run_storage import open_storage
from scalecli.training import checkpoints
from tests.buckets import emulator, storage_server  # noqa: F401
from tests.digits import write_digits
from tests.runs.conftest import command, metrics

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="runs are tested on TensorFlow")

SHAPE = """architecture: vit
encoder_layers: 2
d_model: 64
d_ff: 128
d_kv: 16
heads: 4
image_size: 8
patch_size: 2
"""
STEPS = 120
ACCURACY = "validation/accuracy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A shape, and digits: 0 to 4 to pretrain on, 5 to 9 in two halves for few shots."""
    root = tmp_path_factory.mktemp("digits")
    (root / "shape.yaml").write_text(SHAPE)
    write_digits(root / "low", range(5))
    write_digits(root / "high/train", range(5, 10), per_class=60)
    write_digits(root / "high/test", range(5, 10))
    return root


def pretraining(folder, directory, **options):
    usual = {
        **{"images": folder / "low", "batch": 32, "steps": STEPS, "schedule": "constant", "learning_rate": 0.003},
        **{"optimizer": "adamw", "weight_decay": 0.1, "warmup": 10, "smallest_cut": 0.6, "dropout": 0.1},
        **{"validate_every": 40, "checkpoint_every": 20, "cache_directory": folder / "cache"},
    }
    flags = {key: value for key, value in {**usual, **options}.items() if value is not None}
    pairs = [part for key, value in flags.items() for part in ("--" + key.replace("_", "-"), str(value))]
    return ["pretrain", str(folder / "shape.yaml"), "--run", str(directory), "--no-flip", *pairs]


def few_shot(folder, run, *options, images=None):
    images = images or folder / "high"
    return ["eval", run, "--images", images, "--few-shot", 10, "--cache-directory", folder / "cache", *options]


@pytest.fixture(scope="module")
def run(folder):
    ran = command(*pretraining(folder, folder / "run"))
    assert ran.code == 0, ran.err
    return folder / "run"


def test_a_run_learns_and_says_what_it_read(folder, run):
    manifest = load_manifest(run)
    assert (manifest.kind, manifest.status, manifest.architecture) == ("pretrain", "completed", "vit")
    assert (manifest.data.kind, manifest.data.image_size, manifest.data.classes) == ("image-folder", 8, 5)
    assert 800 < manifest.data.images < 900 and manifest.shape["classes"] == 5
    assert manifest.objective == {
        **{"name": "classification", "smallest_cut": 0.6, "flip": False, "validation_examples": 512}
    }
    results = manifest.results
    assert sorted(results) == [40, 80, 120]
    assert results[120][ACCURACY] > 60 and results[120]["validation/cross_entropy"] < np.log(5)
    assert manifest.best.rule == f"highest {ACCURACY}"
    positions = 16 + 1
    assert manifest.throughput.tokens_per_s == pytest.approx(manifest.throughput.steps_per_s * 32 * positions)
    assert (run / "classes.txt").read_text().split() == ["0", "1", "2", "3", "4"]
    figures = metrics(run)
    losses = [figures[step, True]["loss"] for step in range(1, STEPS + 1)]
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) - 0.2


def test_the_validation_is_that_of_the_held_out_images(folder, run):
    from scalecli.data.images.source import ImageSource, measured_batches
    from scalecli.models.vision import VisionTransformer

    trained = open_trained(str(run), folder / "cache")
    model = VisionTransformer(trained.image_spec)
    trained.load_into(model)
    _, held_out = ImageSource(str(folder / "low")).open(folder / "cache", lambda done, total: None)
    whole = measured_batches(held_out, 8, np.arange(held_out.images), held_out.images)
    (batch,) = whole.as_numpy_iterator()
    logits = np.asarray(model(batch))
    results = trained.manifest.results[STEPS]
    assert results[ACCURACY] == pytest.approx(100 * np.mean(logits.argmax(axis=1) == batch["labels"]), abs=1e-4)
    normaliser = np.log(np.exp(logits).sum(axis=1))
    cross_entropy = normaliser - logits[np.arange(len(logits)), batch["labels"]]
    assert results["validation/cross_entropy"] == pytest.approx(cross_entropy.mean(), rel=1e-4)


def test_a_stopped_run_goes_on_to_the_same_bits(folder, run, tmp_path):
    for steps in (40, STEPS):
        assert command(*pretraining(folder, tmp_path / "run", steps=steps)).code == 0
    assert metrics(tmp_path / "run") == metrics(run)
    weights = [
        checkpoints.load_arrays(each / f"checkpoints/{STEPS:08d}", layout.WEIGHTS) for each in (run, tmp_path / "run")
    ]
    for path, weight in weights[0].items():
        np.testing.assert_array_equal(weight, weights[1][path], err_msg=path)


def test_accumulated_parts_are_one_batch(folder, tmp_path):
    losses = []
    for name, parts in (("one", 1), ("four", 4)):
        options = {"accumulation": parts, "steps": 2, "dropout": 0, "validate_every": 2, "checkpoint_every": 2}
        ran = command(*pretraining(folder, tmp_path / name, **options))
        assert ran.code == 0, ran.err
        losses.append([metrics(tmp_path / name)[step, True]["loss"] for step in (1, 2)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"smallest_cut": 0.7}, 3, "objective.smallest_cut: 0.6 in the run, 0.7 now"),
        ({"batch": 16}, 3, "batch: 32 in the run, 16 now"),
        ({"images": "high"}, 3, "data.identity"),
    ],
)
def test_another_configuration_is_refused(folder, run, change, code, message):
    if "images" in change:
        change = {"images": folder / change["images"]}
    assert message in command(*pretraining(folder, run, **change)).failed(code)


def test_a_run_goes_on_from_another_ones_weights(folder, run, tmp_path):
    arguments = pretraining(folder, tmp_path / "child", steps=1)
    arguments[1] = str(run)
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    assert metrics(tmp_path / "child")[1, True]["loss"] < metrics(run)[1, True]["loss"] - 0.2
    arguments[arguments.index("--images") + 1] = str(write_digits(tmp_path / "three", range(3), per_class=12))
    line = command(*arguments).failed(3)
    assert f"{run}: its head is for 5 classes, and {tmp_path / 'three'} has 3" in line


def untrained_accuracy(folder, manifest):
    """Few-shot accuracy of the same model with its first weights."""
    from scalecli.data.images.source import ImageSource, measured_batches
    from scalecli.devices.one_device import ONE_DEVICE
    from scalecli.models.vision import VisionTransformer
    from scalecli.shape import Shape

    keras.utils.set_random_seed(manifest.seed)
    model = VisionTransformer(build_image_spec("vit", Shape.from_dict(manifest.shape, "shape")))
    features = Features(model, ONE_DEVICE)
    collected = []
    for images in ImageSource(str(folder / "high")).open(folder / "cache", lambda done, total: None):
        batches = measured_batches(images, 8, np.arange(images.images), 64).as_numpy_iterator()
        collected.append([np.concatenate(each) for each in zip(*features(batches), strict=True)])
    (shots, labels), (tests, answers) = collected
    draws = draw_shots(labels, FewShot(10), "56789", "digits")
    return np.mean([ridge_accuracy(shots[draw], labels[draw], tests, answers, 5) for draw in draws])


def test_few_shot_accuracy_on_other_classes_is_above_that_of_the_untrained_model(folder, run):
    ran = command(*few_shot(folder, run, "--format", "json"))
    assert ran.code == 0, ran.err
    results = {row["result"]: row["value"] for row in json.loads(ran.out)["tables"]["results"]}
    (directory,) = (run / "eval").iterdir()
    manifest = load_manifest(directory)
    assert directory.name.startswith("10-shot-high-") and directory.name.endswith(f"-{STEPS}")
    assert (manifest.kind, manifest.data.classes, manifest.data.images) == ("eval", 5, 896)
    assert manifest.objective == {"name": "few-shot ridge regression", "shots": 10, "seeds": "0, 1, 2, 3, 4"}
    assert manifest.results[STEPS] == results
    assert results["few_shot/accuracy/low"] < results["few_shot/accuracy"] < results["few_shot/accuracy/high"]
    assert results["few_shot/examples"] == 896
    assert results["few_shot/accuracy"] > untrained_accuracy(folder, manifest) + 5


def test_every_checkpoint_may_be_measured(folder, run, tmp_path):
    options = ("--checkpoints", "all", "--seeds", "3", "--batch", "50", "--run", tmp_path / "all")
    assert command(*few_shot(folder, run, *options)).code == 0
    manifest = load_manifest(tmp_path / "all")
    assert sorted(manifest.results) == checkpoints.checkpoint_steps(run / "checkpoints")
    assert manifest.best.rule == "highest few_shot/accuracy"
    assert manifest.objective["seeds"] == "0, 1, 2"


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--few-shot", "61"], 4, "high/train: class '5' has 60 images, and 61 are needed, and 4 more classes"),
        (["--few-shot", "0"], 3, "--few-shot is 0"),
        (["--seeds", "1"], 3, "--seeds is 1"),
        (["--split", "validation"], 4, "high/validation: no images"),
        (["--text", "x"], 2, "tasks, --text and --images are different things"),
        (["--images", "nowhere/"], 4, "nowhere/: no such folder"),
    ],
)
def test_what_cannot_be_measured_is_one_line(folder, run, options, code, message):
    assert message in command(*few_shot(folder, run, *options)).failed(code)


def test_features_that_are_not_finite_are_one_line(folder, run, tmp_path, monkeypatch):
    weights = Trained.weights
    monkeypatch.setattr(Trained, "weights", lambda self: {path: np.nan * w for path, w in weights(self).items()})
    line = command(*few_shot(folder, run, "--run", tmp_path / "a")).failed(1)
    assert line == f"{run}: at step {STEPS} features are not finite"


def test_any_name_of_a_class_and_options_of_text_in_the_environment(folder, tmp_path, monkeypatch):
    images = write_digits(tmp_path / "odd", range(3), per_class=12)
    for number, name in enumerate((b"caf\xc3\xa9", b"two\nlines", b"\xff")):
        (images / str(number)).rename(os.fsdecode(os.fsencode(images) + b"/" + name))
    monkeypatch.setenv("SCALECLI_PRETRAIN_SHOW_EXAMPLES", "2")
    ran = command(*pretraining(folder, tmp_path / "run", images=images, steps=1))
    assert ran.code == 0 and "completed" in ran.out, ran.err
    lines = (tmp_path / "run/classes.txt").read_text(encoding="utf-8").splitlines()
    assert lines == ["café", r"'two\nlines'", r"'\udcff'"]


def test_runs_of_text_and_of_images_are_told_apart(folder, run, reference, tmp_path):
    line = command(*few_shot(folder, reference, "--run", tmp_path / "a")).failed(3)
    assert "transformer reads text" in line
    line = command("eval", run, "--text", folder / "shape.yaml", "--run", tmp_path / "b").failed(3)
    assert line == f"{run}: trained on images; a run that was trained on text is accepted"
    assert command("finetune", run, "--tasks", "glue", "--run", tmp_path / "c").failed(3) == line
    assert "give a folder or a TensorFlow dataset by --images" in command("pretrain", run).failed(2)
    assert "(transformer) reads text" in command("pretrain", reference, "--images", folder / "low").failed(2)


def test_a_run_in_a_bucket_is_gone_on_with_and_measured_by_other_machines(folder, run, emulator, tmp_path):  # noqa: F811
    emulator.put("bucket", "elsewhere", b"makes the bucket")
    address, child = "gs://bucket/vision", "gs://bucket/child"
    for steps in (20, 40):
        ran = command(*pretraining(folder, address, steps=steps, cache_directory=tmp_path / f"to {steps}"))
        assert ran.code == 0, ran.err
    there = open_storage(address, tmp_path / "look")
    there.refresh()
    assert (there.directory / "classes.txt").is_file()
    steps, whole = metrics(there.directory), metrics(run)
    assert [steps[step, True] for step in range(1, 41)] == [whole[step, True] for step in range(1, 41)]
    arguments = pretraining(folder, child, steps=41, cache_directory=tmp_path / "another")
    arguments[1] = address
    ran = command(*arguments, "--keep-optimizer")
    assert ran.code == 0, ran.err
    assert load_manifest(child).start_step == 40
    ran = command(*few_shot(folder, child, "--cache-directory", tmp_path / "a third", "--seeds", 2))
    assert ran.code == 0, ran.err
    (kept,) = {name.rpartition("/")[0] for name in emulator.names("bucket") if "/eval/" in name}
    assert kept.startswith("child/eval/10-shot-high-")
    assert load_manifest(f"gs://bucket/{kept}").results[41]["few_shot/examples"] == 896
