"""Runs that an older commit wrote are resumed, evaluated, compared and exported as they were then."""

import hashlib
import json
import shlex
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from scalecli.data.text.pieces import EOS, PAD, UNKNOWN
from scalecli.manifest import load_manifest
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.runs.trained import open_trained
from tests.runs.conftest import command, metrics

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="written on TensorFlow")

WRITTEN = Path(__file__).parent / "written_by_a97e3f6"
# SHA-256 of what the same commit exported.
TEXT_WEIGHTS = "885dd86174e4523ecd762e1f77c63cbbd5d4809d6302bb346c596953de779952"
IMAGE_WEIGHTS = "5f4c98a19c01e6d3f65fb01013d78e1e560f052b04e19a65cf9f8175f437a02c"
TRAINED = ("pretrained", "switch", "images", "finetuned")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of all that was written, which is the working directory, as it was then."""
    copy = tmp_path / "written"
    shutil.copytree(WRITTEN, copy)
    for manifest in copy.glob("*/run.yaml"):
        manifest.write_text(manifest.read_text().replace("/folder", str(copy)))
    monkeypatch.chdir(copy)
    return copy


def again(run):
    """The command that made a run."""
    return shlex.split(load_manifest(run).command_line)[1:]


def close(figures):
    """As figures are on another processor, whose float32 sums are in another order."""
    return {name: pytest.approx(figure, rel=1e-4) for name, figure in figures.items()}


def margins(run, inputs, length):
    """By how much greedy decoding prefers each token to the next best: the least of each text's [texts]."""
    trained = open_trained(str(run), run)
    model, vocabulary = EncoderDecoder(trained.text_spec), trained.vocabulary(run)
    trained.load_into(model)
    ids = [[*vocabulary.encode(text), EOS] for text in inputs]
    padded = np.array([row + [PAD] * (max(map(len, ids)) - len(row)) for row in ids], "int32")
    targets, least = np.full([len(ids), length], UNKNOWN, "int32"), np.full(len(ids), np.inf)  # padding has no logits
    for position in range(length):
        logits = np.asarray(model({"inputs": padded, "targets": targets}))[:, position]
        second, first = np.sort(logits, axis=1)[:, -2:].T
        least = np.minimum(least, first - second)
        targets[:, position] = logits.argmax(axis=1)
    return least, [vocabulary.decode(row) for row in targets]


@pytest.mark.parametrize("name", TRAINED)
def test_is_resumed_to_the_losses_of_the_run_that_was_not_stopped(folder, name):
    assert load_manifest(folder / name).status == "interrupted"
    ran = command(*again(folder / name))
    assert ran.code == 0, ran.err
    assert "going on from step 2" in ran.err
    expected = metrics(folder / "uninterrupted" / name)
    assert len(expected) == 6  # four steps and two validations
    assert metrics(folder / name) == {key: close(row) for key, row in expected.items()}
    assert load_manifest(folder / name).status == "completed"


@pytest.mark.parametrize("name", ["pretrained", "switch", "finetuned"])
def test_is_evaluated_to_the_same_results(folder, name):
    before = folder / f"{name}-eval"
    arguments = [argument if argument != before.name else "again" for argument in again(before)]
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    results = load_manifest(before).results[2]
    found = load_manifest(folder / "again").results[2]
    assert {key: found[key] for key in results} == close(results)


def test_is_evaluated_to_the_same_predictions(folder):
    """Where one token is clearly the likeliest: what is nearly as likely may win on another processor."""
    arguments = [argument if argument != "finetuned-eval" else "again" for argument in again(folder / "finetuned-eval")]
    assert command(*arguments).code == 0
    before, now = (
        [json.loads(line) for line in (folder / name / "predictions.jsonl").read_text().splitlines()]
        for name in ("finetuned-eval", "again")
    )
    least, decoded = margins(folder / "finetuned", [row["input"] for row in before], 6)
    clear = least > 1e-4
    assert clear.sum() > len(before) / 2
    for row, same, is_clear, text in zip(before, now, clear, decoded, strict=True):
        assert {**row, "prediction": ""} == {**same, "prediction": ""}
        assert not is_clear or row["prediction"] == same["prediction"] == text


def test_is_compared(folder):
    ran = command("compare", *TRAINED, "imported", "pretrained-eval", "finetuned-eval", "--format", "json")
    assert ran.code == 0, ran.err
    models = json.loads(ran.out)["tables"]["models"]
    rows = {row["name"]: (row["parameters"], row["upstream"], row["data_seen"]) for row in models}
    assert rows == {
        "pretrained": (3512, None, "168 tokens"),
        "switch": (5376, None, "168 tokens"),
        "images": (1074, None, "16 images"),
        "finetuned": (3512, None, "168 tokens"),
        "imported": (3512, None, None),
        "pretrained:text.txt": (3512, -5.817395782470703, "168 tokens"),
        "finetuned:marker (validation)": (3512, None, None),
    }


@pytest.mark.parametrize(
    ("name", "target", "file", "sha256"),
    [
        ("pretrained", "hugging-face", "model.safetensors", TEXT_WEIGHTS),
        ("imported", "hugging-face", "model.safetensors", TEXT_WEIGHTS),
        ("images", "npz", "model.npz", IMAGE_WEIGHTS),
    ],
)
def test_is_exported_to_the_same_bytes(folder, name, target, file, sha256):
    ran = command("export", name, "--to", target, "exported")
    assert ran.code == 0, ran.err
    assert hashlib.sha256((folder / "exported" / file).read_bytes()).hexdigest() == sha256
