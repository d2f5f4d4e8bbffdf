"""Ctrl-C and SIGTERM while text is prepared: the process ends at once, and nothing half-written stays."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from tests.data.conftest import sentences

SOON = 3.0  # seconds of processor time, however busy the machine is
PATIENCE = 300.0  # seconds


@pytest.fixture(scope="module")
def long_text(tmp_path_factory):
    """20 MB, which take seconds to train on, and to tokenize."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    some = sentences(4_000, words=100)
    path.write_text("".join(f"{n} {sentence}\n" for n in range(10) for sentence in some))
    return path


def trainers_of(process):
    """Its children that train a vocabulary, not what asks the machine for its devices."""
    with open(f"/proc/{process}/task/{process}/children") as file:
        return [int(child) for child in file.read().split() if "trainer" in command_of(child)]


def command_of(process):
    try:
        with open(f"/proc/{process}/cmdline") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def is_alive(process):
    """Whether it is there, and not only waiting for somebody to ask how it ended."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def used_by(*processes):
    """Seconds of processor time."""
    used = 0
    for process in processes:
        with open(f"/proc/{process}/stat") as file:
            used += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
    return used / os.sysconf("SC_CLK_TCK")


def used_by_the_dead():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def on_one_core():
    """However many cores there are, the text takes as long; Ctrl-C counts where a background shell ignores it."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for(met, process):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None and not met():
        time.sleep(0.02)
    if process.poll() is not None or not met():
        process.kill()
        pytest.fail(process.stderr.read())


@pytest.mark.skipif(
    not os.path.exists(f"/proc/self/task/{os.getpid()}/children"), reason="asks Linux for the children of a process"
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("trains", [True, False])
def test_it_ends_at_once_and_leaves_nothing(long_text, vocabulary, tmp_path, trains, number):
    cache, before = tmp_path / "cache", used_by_the_dead()
    words = ["--vocabulary", "train:4000" if trains else vocabulary.path, "--run", tmp_path / "run"]
    words = ["pretrain", "tiny", "--text", long_text, *words, "--cache-directory", cache]
    command = [sys.executable, "-m", "scalecli", *map(str, words)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=on_one_core) as process:
        if trains:
            wait_for(lambda: trainers_of(process.pid), process)
        else:
            wait_for(lambda: list(cache.glob("tokens/.*.tmp")), process)
        children = trainers_of(process.pid)
        time.sleep(0.5)  # into native code
        used = used_by(process.pid, *children)
        process.send_signal(number)
        try:
            _, said = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 130, said
    assert used_by_the_dead() - before - used < SOON
    assert len(children) == trains and not [child for child in children if is_alive(child)]
    assert said.endswith("error: interrupted\n") == (number == signal.SIGINT) and "Traceback" not in said
    left = [file.name for file in cache.rglob("*") if file.is_file()]
    assert left == ([] if trains else [f"{vocabulary.sha256}.model"])
    assert not list(tmp_path.rglob("*.tmp"))
