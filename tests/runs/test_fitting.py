"""A step that can't fit is said before it is tried."""

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


def test_a_limit_of_the_group_counts(monkeypatch, tmp_path):
    whole = fitting.machine_memory()
    for content, expected in (("4096\n", 4096), ("max\n", None)):
        (tmp_path / "memory.max").write_text(content)
        monkeypatch.setattr(fitting, "_GROUP_LIMIT", tmp_path / "memory.max")
        found = fitting.machine_memory()
        assert found == expected if expected else found >= whole
