"""A step that can't fit is said before it is tried."""

import re

from scalecli.runs import fitting
from tests.runs.conftest import command


def test_too_large_a_batch_is_said_and_a_small_one_not(place, no_training, tmp_path, monkeypatch):
    ran = command(*place.pretraining(tmp_path / "small", steps=1))
    assert ran.code == 0 and "by estimate" not in ran.err
    monkeypatch.setattr(fitting, "machine_memory", lambda: 100_000)
    ran = command(*place.pretraining(tmp_path / "large", steps=1, batch=8, accumulation=2))
    assert ran.code == 0
    line = next(line for line in ran.err.splitlines() if "by estimate" in line)
    assert line.startswith("warning: a step on 4 examples at once needs ")
    assert line.endswith(", and this machine has 100 kB; less --batch, or more --accumulation, needs less")


def test_a_run_says_at_its_start_how_long_it_will_take(place, no_training, tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "SHORT_SECONDS", 0.0)
    ran = command(*place.pretraining(tmp_path / "run", steps=3))
    assert ran.code == 0
    assert re.search(r"^3 steps take about \d+ s on this machine, by estimate, without validation$", ran.err, re.M)


def test_a_limit_of_the_group_counts(monkeypatch, tmp_path):
    whole = fitting.machine_memory()
    for content, expected in (("4096\n", 4096), ("max\n", None)):
        (tmp_path / "memory.max").write_text(content)
        monkeypatch.setattr(fitting, "_GROUP_LIMIT", tmp_path / "memory.max")
        found = fitting.machine_memory()
        assert found == expected if expected else found >= whole
