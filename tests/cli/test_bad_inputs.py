"""Hundreds of bad inputs, drawn from the options' own types: each ends in time, in one line, and writes nothing."""

import os
import re
import signal
import time

import pytest

from scalecli.cli import demo
from tests.cli.bad_inputs import bad_inputs, contents, make_files
from tests.runs.conftest import command, material, reference  # noqa: F401 (two fixtures)

COUNT, SEED, SECONDS_EACH = 400, 20261126, 30


class Hangs(BaseException):
    """Raised within the command; no `except Exception` takes it for an error."""


def _hangs(number, frame):
    raise Hangs


@pytest.fixture
def folder(tmp_path, tmp_path_factory, reference, monkeypatch):  # noqa: F811
    make_files(tmp_path)
    (tmp_path / "run").symlink_to(reference)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "run_process", lambda words, shows_output: 3)  # its commands are among the others here
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    before = signal.signal(signal.SIGALRM, _hangs)
    yield tmp_path
    signal.signal(signal.SIGALRM, before)


def complaint(case, folder, reference):  # noqa: F811
    """What is wrong with how a bad input ends, or None."""
    words = case.words
    if case.config is not None:
        (folder / "config.yaml").write_text(case.config)
        words = ["--config", "config.yaml", *words]
    before = contents(folder, reference)
    os.environ.update(case.variables)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_EACH)
    try:
        ran = command(*words)
    except Hangs:
        return "hangs"
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"raises {error!r}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for name in case.variables:
            del os.environ[name]
    lines = [line for line in ran.err.splitlines() if line.startswith("error: ")]
    unwritable = ran.code == 1 and lines and re.search("can(not)? be written", lines[-1])
    if ran.code not in case.codes and not unwritable:
        return f"code {ran.code}, not {case.codes}: {ran.err[-300:]}"
    if ran.code and (len(lines) != 1 or not ran.err.rstrip("\n").endswith(lines[0])):
        return f"not one line: {ran.err[-500:]!r}"
    if re.search("unexpected|Traceback", ran.err):
        return f"unexpected: {ran.err[-300:]}"
    if len(ran.err) > 3000 or not all(line.isprintable() for line in ran.err.split("\n")):
        return f"long or not printable: {ran.err[:200]!r}"
    changed = set(contents(folder, reference).items()) ^ set(before.items())
    return f"wrote {sorted(changed)[:3]}" if ran.code and changed else None


def test_bad_inputs_end_in_one_line(folder, reference):  # noqa: F811
    start, wrong = time.monotonic(), []
    for case in bad_inputs(COUNT, SEED):
        if reason := complaint(case, folder, reference):
            wrong.append(f"{case}\n    {reason}")
    assert not wrong, f"{len(wrong)} of {COUNT}:\n" + "\n".join(wrong)
    print(f"{COUNT} in {time.monotonic() - start:.0f} s")
