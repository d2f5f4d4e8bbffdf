"""A corpus, a shape and a pretrained run small enough that a run takes seconds."""

import contextlib
import io
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from scalecli.cli.main import run
from scalecli.cli.output.progress import ConsoleReporter
from scalecli.data.text.vocabulary_training import train_vocabulary

SHAPE = "encoder_layers: 2\ndecoder_layers: 2\nd_model: 16\nd_ff: 32\nd_kv: 8\nheads: 2\n"
PIECES = 200
SPEED = ("steps_per_s", "tokens_per_s", "model_flops_utilisation", "input_wait_s", "device_memory_bytes")
SYLLABLES = [first + second for first in "bdfgklmnprst" for second in "aeiou"]


@dataclass(frozen=True)
class Ran:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    def failed(self, code):
        """The one line of an error, after a look that there is nothing else about it."""
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert (self.code, len(lines)) == (code, 1), self.err
        assert self.err.rstrip().endswith(lines[0])
        assert "Traceback" not in self.err
        assert "unexpected" not in lines[0]
        return lines[0].removeprefix("error: ")


def command(*arguments):
    """Runs the command line in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Ran(code, out.getvalue(), err.getvalue())


def documents(count, seed=0):
    """Documents of 40 words of a few hundred, some far more frequent than others; every other word follows by rule."""
    draw = random.Random(seed)
    lexicon = ["".join(draw.choice(SYLLABLES) for _ in range(draw.randint(1, 3))) for _ in range(300)]
    frequencies = [1 / rank for rank in range(1, len(lexicon) + 1)]
    for _ in range(count):
        starts = draw.choices(range(len(lexicon)), frequencies, k=20)
        yield " ".join(f"{lexicon[start]} {lexicon[-start]}" for start in starts)


def metrics(directory):
    """The figures of metrics.jsonl by step, timings left out; a step that stands there twice is an error."""
    rows = {}
    for line in (directory / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        for name in SPEED:
            row.pop(name, None)
        key = row.pop("step"), "loss" in row
        assert key not in rows
        rows[key] = row
    return rows


@dataclass(frozen=True)
class Material:
    """The files that runs are made from."""

    folder: Path

    @property
    def text(self):
        return self.folder / "text.txt"

    @property
    def vocabulary(self):
        return self.folder / "vocabulary.model"

    def pretraining(self, directory, **options):
        """The arguments of a pretraining run; each option is a flag, None leaves one of the usual ones out."""
        usual = {
            "text": self.text,
            "vocabulary": self.vocabulary,
            "inputs_length": 32,
            "batch": 8,
            "steps": 24,
            "validation_examples": 16,
            "cache_directory": self.folder / "cache",
        }
        flags = {key: value for key, value in {**usual, **options}.items() if value is not None}
        pairs = [part for key, value in flags.items() for part in ("--" + key.replace("_", "-"), str(value))]
        return ["pretrain", str(self.folder / "shape.yaml"), "--run", str(directory), *pairs]

    def reference(self, directory, **options):
        """The arguments of the run that other runs are compared with: dropout on, and something due at most steps."""
        settings = {"dropout": 0.1, "validate_every": 8, "checkpoint_every": 4, "keep_step": 6}
        return self.pretraining(directory, **{**settings, "vocabulary": f"train:{PIECES}", **options})


@pytest.fixture(scope="session")
def material(tmp_path_factory):
    folder = tmp_path_factory.mktemp("material")
    (folder / "shape.yaml").write_text(SHAPE)
    (folder / "text.txt").write_text("".join(f"{document}\n" for document in documents(400)))
    train_vocabulary(documents(400), PIECES, folder / "vocabulary.model")
    return Material(folder)


@pytest.fixture(scope="session")
def reference(material):
    """The directory of a pretraining run that nothing disturbed."""
    directory = material.folder / "reference"
    ran = command(*material.reference(directory))
    assert ran.code == 0, ran.err
    return directory


@pytest.fixture
def signalled(monkeypatch):
    """Sends this process the signal at the step: `signalled(number, step)`."""

    def at(number, step):
        def progress(self, progress):
            if progress.step == step:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(ConsoleReporter, "progress", progress)

    return at


@pytest.fixture
def no_training(monkeypatch):
    """Steps that do nothing, and take no time to compile; their loss is the number in the list that is returned."""
    from scalecli.training.records import StepMetrics
    from scalecli.training.steps.tensorflow import TensorFlowSteps

    losses = [1.0]

    def run(self, batches, count):
        next(batches)
        ones = np.ones(count, "float32")
        return StepMetrics(losses[0] * ones, ones, 0 * ones, {})

    monkeypatch.setattr(TensorFlowSteps, "run", run)
    return losses
