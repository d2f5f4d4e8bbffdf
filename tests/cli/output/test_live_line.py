"""What a person sees of a run in a terminal, and what does not get there."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from scalecli.cli.output.progress import ConsoleReporter
from scalecli.manifest import Throughput
from scalecli.training.reporting import Progress

SECONDS = 60
LOGS = [
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n",
    b"I0000 00:00:1764198272.195642    4242 device_compiler.h:196] Compiled cluster using XLA!  This line is once.\n",
    b"2026-11-26 23:04:32.195642: E external/local_xla/xla/cuda_platform.cc:51] failed call to cuInit: INTERNAL\n",
    b"W1126 23:04:32.195642 4242 pjrt.cc:12] something\n",
]
PROGRAM = f"""
import os, sys, time
from scalecli.cli.output.progress import ConsoleReporter
from scalecli.cli.output.terminal import say
from scalecli.manifest import Throughput
from scalecli.training.reporting import Progress

os.environ["TF_CPP_MIN_LOG_LEVEL"] = sys.argv[1]
with ConsoleReporter() as reporter:
    for step in range(1, 4):
        speed = Throughput(steps_per_s=3.25, tokens_per_s=1234.5, model_flops_utilisation=0.25)
        reporter.progress(Progress(100 * step, 300, 2.5, 57, speed, 0.0))
        time.sleep(0.2)
        reporter.message(f"message {{step}} of [bold]no markup[/bold]")
        say(f"warning {{step}}")
        for line in {LOGS}:
            os.write(2, line)
        os.write(2, b"F0000 00:00:1764198272.195642 4242 a.cc:1] Check failed: that is told\\n")
        time.sleep(0.2)
print("results")
say("after it")
"""
INTERRUPTED = """
import signal, sys
from scalecli.cli import main
from scalecli.cli.output.terminal import live_line

def command(*arguments, **settings):
    with live_line() as show:
        show(["reading"])
        sys.path.insert(0, sys.argv[1])
        import interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)  # however this one was started
main.cli.main = command
main.main()
"""


def screen(output):
    """The lines that are left on a terminal, of what rich and the filter send to it."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x1b]", output):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif piece.endswith("A"):
            row -= int(piece[2:-1])
        elif piece[0] != "\x1b":
            lines[row] = f"{lines[row][:column]:<{column}}{piece}{lines[row][column + 1 :]}"
            column += 1
    return [line.rstrip() for line in lines]


def in_terminal(columns, *arguments, program=PROGRAM, code=0):
    """What the program sends to a terminal of that many columns; it is killed where it takes too long."""
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    words, ends = [sys.executable, "-c", program, *arguments], dict.fromkeys(("stdin", "stdout", "stderr"), other_end)
    output = b""
    with subprocess.Popen(words, env=environment, start_new_session=True, **ends) as child:
        os.close(other_end)
        deadline = threading.Timer(SECONDS, child.kill)
        deadline.start()
        try:
            while piece := os.read(terminal, 65536):
                output += piece
        except OSError:  # the other end is closed
            pass
        finally:
            child.wait()
            deadline.cancel()
            os.close(terminal)
    assert child.returncode == code, output
    return output.decode()


@pytest.mark.parametrize("columns", [0, 40, 80, 120])
def test_messages_stand_above_the_live_line(columns):
    output = in_terminal(columns, "3")
    shown = screen(output)
    told = "F0000 00:00:1764198272.195642 4242 a.cc:1] Check failed: that is told"
    expected = []
    for step in range(1, 4):
        expected += [f"message {step} of [bold]no markup[/bold]", f"warning {step}", told]
    assert sorted(line for line in shown if line) == sorted([*expected, "results", "after it"])
    parts = ["step 200 of 300  0:31 left", "loss 2.5000 (mean of 57 steps)", "3.25 steps/s"]
    parts += ["25.0% of peak FLOPs", "1,234 tokens/s"]
    assert [part for part in parts if part in output] == parts[: {0: 3, 40: 1, 80: 3, 120: 5}[columns]]


def test_the_terminal_is_given_back_when_ctrl_c_comes_under_an_import(tmp_path):
    (tmp_path / "interrupts.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    output = in_terminal(80, tmp_path, program=INTERRUPTED, code=130)
    assert "reading" in output and [line for line in screen(output) if line] == ["error: interrupted"]
    assert output.rfind("\x1b[?25h") > output.rfind("\x1b[?25l") >= 0  # the cursor is shown again


def test_log_lines_never_show_unless_they_are_asked_for():
    quiet, asked = in_terminal(120, "3"), in_terminal(120, "0")
    for line in LOGS:
        assert line.decode().strip() not in quiet.replace("\r\n", " ")
        assert line.decode().strip() in asked


def test_the_baseline_is_said_once(capsys):
    reporter = ConsoleReporter()
    for step in (1, 2):
        reporter.results(
            step, {"validation/negative_log_perplexity": -step, "validation/unigram_negative_log_perplexity": -5.0}
        )
    assert capsys.readouterr().err.splitlines() == [
        "validation/unigram_negative_log_perplexity -5.0000: what guessing by frequency gives",
        "step 1: validation/negative_log_perplexity -1.0000",
        "step 2: validation/negative_log_perplexity -2.0000",
    ]


@pytest.mark.parametrize(
    ("steps", "text"), [(1, "loss 2.5000 (of 1 step)"), (1234, "loss 2.5000 (mean of 1,234 steps)")]
)
def test_the_loss_says_what_it_is_a_mean_of(capsys, steps, text):
    ConsoleReporter().progress(Progress(5, 10, 2.5, steps, Throughput(steps_per_s=3.25, tokens_per_s=1234.5), 0.0))
    assert text in capsys.readouterr().err


def test_checks_of_an_architecture_show_no_logs():
    program = f"""
import os
from scalecli.cli.shape import checks
from scalecli.runs.checks import architecture

def check_architecture(build, shape):
    for line in {LOGS}:
        os.write(2, line)
    yield from ()

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
architecture.check_architecture = check_architecture
checks.print_checks(["tiny"], None, {{}}, "csv")
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=SECONDS)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"check,result,detail\n", b"")
