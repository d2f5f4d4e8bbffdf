"""The cache of a run: whatever happens to one of its files, it is made anew and batches have the same tokens."""

import numpy as np
import pytest

from scalecli.cli import main
from scalecli.training.records import StepMetrics
from scalecli.training.steps.tensorflow import TensorFlowSteps
from tests.runs.conftest import command, metrics
from tests.storage.test_cache import damaged


def sums(self, batches, count):
    """Steps that need no compiling: the loss of one is the sum of its batch's tokens."""
    totals = np.array([np.sum([np.sum(part) for part in next(batches).values()]) for _ in range(count)], "float32")
    return StepMetrics(totals, totals, 0 * totals, {})


@pytest.fixture(scope="module")
def cached(material, tmp_path_factory):
    """The cache of a run that trains its vocabulary, and the run's figures."""
    folder = tmp_path_factory.mktemp("cached")
    return folder / "cache", run(material, folder, folder / "run")[1]


def run(material, folder, directory):
    words = material.pretraining(
        directory, steps=3, vocabulary="train:150", validate_every=3, cache_directory=folder / "cache"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TensorFlowSteps, "run", sums)
        ran = command(*words)
    assert ran.code == 0, ran.err
    return ran.err, metrics(directory)


def test_each_file_that_is_damaged_is_made_anew(material, cached, tmp_path):
    cache, figures = cached
    files = sorted(file for file in cache.rglob("*") if file.is_file())
    assert {file.suffix for file in files} == {".npy", ".model", ".seal"}
    # Each file in turn, with damages in turn: all damages of one file are in tests/storage/test_cache.py.
    damages = list(damaged(b"0"))
    for number, file in enumerate(files):
        whole = file.read_bytes()
        file.write_bytes(damaged(whole)[damages[number % len(damages)]])
        said, made = run(material, cache.parent, tmp_path / f"run{number}")
        assert made == figures, file
        assert file.read_bytes() == whole
        # The copy of a vocabulary under its own hash is compared with the original whenever it is used.
        is_copy = file.suffix == ".model" and not file.name.startswith("trained-")
        assert is_copy or (f"{file.stem}" in said and "made anew" in said)


def test_an_unwritable_cache_stops_only_what_needs_it(material, reference, tmp_path):
    (tmp_path / "file").write_text("")
    cache = tmp_path / "file" / "cache"  # which root can't make either
    ran = command(*material.pretraining(tmp_path / "run", cache_directory=cache))
    assert str(cache) in ran.failed(1)
    ran = command("export", reference, tmp_path / "out", "--to", "hugging-face", "--cache-directory", cache)
    assert ran.code == 0, ran.err


def test_an_end_of_file_is_no_interruption(monkeypatch, capsys):
    def fail(*_):
        raise EOFError("No data left in file")

    monkeypatch.setattr(main.cli, "invoke", fail)
    assert main.run(["shape", "tiny"]) == 1
    assert "unexpected EOFError: No data left in file" in capsys.readouterr().err
