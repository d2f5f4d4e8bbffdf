import os
import shlex
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import click
import pytest

from scalecli import __version__, errors
from scalecli.cli import main as shell

PYTHON = [sys.executable, "-c", "from scalecli.cli.main import main; main()"]


def command(*arguments, **settings):
    return subprocess.run([*PYTHON, *arguments], capture_output=True, text=True, timeout=60, **settings)


@pytest.fixture
def trial(monkeypatch):
    """Puts a subcommand `trial` in the table: it fails with the error in `trial.error`, or prints its options."""
    module = types.ModuleType("scalecli.cli.trial")
    module.error = None

    @click.command("trial")
    @click.option("--steps", type=int, default=1)
    @click.option("--learning-rate", type=float)
    @click.option("--text", multiple=True)
    @click.option("--packed/--padded")
    def trial_command(**options):
        if module.error:
            raise module.error
        click.echo(options)

    module.command = trial_command
    monkeypatch.setitem(sys.modules, "scalecli.cli.trial", module)
    monkeypatch.setitem(shell.COMMANDS, "trial", ("trial", "For tests."))
    return module


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (errors.ScalecliError("disk full"), 1, "disk full"),
        (errors.UsageError("not both"), 2, "not both"),
        (errors.ConfigurationError("a.yaml: bad\nkey"), 3, "a.yaml: bad key"),
        (errors.MissingError("no file"), 4, "no file"),
        (errors.DivergedError("loss is NaN"), 5, "loss is NaN"),
        (errors.InterruptedRunError("saved step 3"), 130, "saved step 3"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "a/run.yaml"), 1, "a/run.yaml: No space left on device"),
        (PermissionError(13, "Permission denied"), 1, "Permission denied"),
        (click.UsageError("strange"), 2, "strange"),
        (TypeError("a\n  b"), 1, "unexpected TypeError: a b; add --debug to the command for the traceback"),
    ],
)
def test_every_error_is_one_line_and_its_code(trial, capsys, error, code, line):
    trial.error = error
    assert shell.run(["trial"]) == code
    captured = capsys.readouterr()
    assert captured.err.strip() == f"error: {line}"
    assert captured.out == ""


def test_debug_shows_the_traceback_and_keeps_the_code(trial, capsys):
    trial.error = errors.MissingError("no file")
    assert shell.run(["--debug", "trial"]) == 4
    captured = capsys.readouterr()
    assert "Traceback" in captured.err and "trial_command" in captured.err
    assert captured.err.endswith("error: no file\n")


@pytest.mark.parametrize("place", ["finalized", "collected", "imported"])
def test_ctrl_c_where_exceptions_are_dropped_is_not_lost(tmp_path, place):
    (tmp_path / "drops.py").write_text("try:\n    import interrupts\nexcept BaseException:\n    pass\n")
    (tmp_path / "interrupts.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    program = f"""
        import gc, os, signal, time
        from scalecli.cli import main
        from scalecli.storage.files import cleaned_up

        class Interrupts:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)

        def interrupt(phase, info):
            gc.callbacks.remove(interrupt)
            os.kill(os.getpid(), signal.SIGINT)

        def finalized():
            Interrupts()

        def collected():
            gc.callbacks.append(interrupt)
            gc.collect()

        def imported():
            with cleaned_up(lambda: print("cleaned up", flush=True)):
                import drops

        def command(*arguments, **settings):
            {place}()
            time.sleep(90)

        signal.signal(signal.SIGINT, signal.default_int_handler)  # however this one was started
        main.cli.main = command
        main.main()
    """
    words = [sys.executable, "-c", textwrap.dedent(program)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment)
    assert (ran.returncode, ran.stderr) == (130, "error: interrupted\n")
    assert ran.stdout == ("cleaned up\n" if place == "imported" else "")


def test_ctrl_c_is_ignored_where_the_shell_ignores_it():
    program = """
        import os, signal
        from scalecli.cli import main

        signal.signal(signal.SIGINT, signal.SIG_IGN)
        main.cli.main = lambda *arguments, **settings: os.kill(os.getpid(), signal.SIGINT)
        main.main()
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_a_broken_pipe_is_quiet(trial, capsys):
    trial.error = BrokenPipeError(32, "Broken pipe")
    with pytest.raises(SystemExit) as info:
        shell.main(["trial"])
    assert info.value.code == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["trail"], "error: no subcommand 'trail'; did you mean 'trial'?"),
        (["qqq"], "error: no subcommand 'qqq'; scalecli --help lists them"),
        (["smal"], "error: no subcommand 'smal'; did you mean 'scalecli shape small'?"),
        (["vit-s-nl24"], "error: no subcommand 'vit-s-nl24'; did you mean 'scalecli shape vit-s-nl24'?"),
        (["./small.yaml"], "error: no subcommand './small.yaml'; scalecli --help lists them"),
        (["hepl"], "error: no subcommand 'hepl'; did you mean 'help'?"),
        (["help", "trail"], "error: no subcommand 'trail'; did you mean 'trial'?"),
        (["trial", "--step", "3"], "error: scalecli trial has no option --step; did you mean --steps?"),
        (["trial", "--qqqqq"], "error: scalecli trial has no option --qqqqq; scalecli trial --help lists them"),
        (["trial", "--steps", "three"], "three"),
        (["trial", "extra"], "extra"),
        (["flops"], "error: Missing argument 'MODEL'; usage: scalecli flops [OPTIONS] MODEL"),
        (["--confg", "x", "trial"], "--config"),
    ],
)
def test_usage_errors_are_one_line_and_code_2(trial, capsys, arguments, line):
    assert shell.run(arguments) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1


def test_an_option_comes_from_flag_then_variable_then_config(trial, capsys, monkeypatch, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("trial: {steps: 5, learning-rate: 1e-3, text: a.txt, packed: true}\nshape: {anything: 1}\n")
    expected = {"steps": 5, "learning_rate": 0.001, "text": ("a.txt",), "packed": True}

    def options(*arguments):
        assert shell.run(["--config", str(config), "trial", *arguments]) == 0
        return eval(capsys.readouterr().out)

    assert options() == expected
    config.write_text("trial: {steps: 5, learning_rate: 0.001, text: [a.txt], packed: true}\n")
    assert options() == expected
    monkeypatch.setenv("SCALECLI_TRIAL_STEPS", "6")
    assert options() == {**expected, "steps": 6}
    assert options("--steps", "7", "--padded") == {**expected, "steps": 7, "packed": False}


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("trail: {}", 3, "config.yaml: unknown subcommand 'trail'; did you mean 'trial'?"),
        ("trial: {step: 5}", 3, "config.yaml: trial: unknown option 'step'; did you mean 'steps'?"),
        ("trial: {steps: many}", 3, "config.yaml: trial.steps: 'many' is not a valid integer."),
        ("trial: {steps: }", 3, "config.yaml: trial.steps: expected one value, found nothing"),
        ("trial: {steps: {a: 1}}", 3, "config.yaml: trial.steps: expected one value, found {'a': 1}"),
        ("trial: {steps: [1]}", 3, "config.yaml: trial.steps: expected one value, found [1]"),
        ("trial: {text: [a, null]}", 3, "config.yaml: trial.text: expected one value, found nothing"),
        ("trial: {steps: true}", 3, "config.yaml: trial.steps: 'True' is not a valid integer."),
        ("trial: {steps: 1.5}", 3, "config.yaml: trial.steps: '1.5' is not a valid integer."),
        ("trial: 5", 3, "config.yaml: trial: expected options and their values, found 5"),
        ("trial: {", 3, "config.yaml:2: not valid YAML"),
        (None, 4, "config.yaml: no such file"),
    ],
)
def test_a_bad_config_file_is_an_error(trial, capsys, tmp_path, text, code, message):
    if text:
        (tmp_path / "config.yaml").write_text(text + "\n")
    assert shell.run(["--config", str(tmp_path / "config.yaml"), "trial"]) == code
    assert message in capsys.readouterr().err


def test_help_and_version_name_every_subcommand_and_import_none(tmp_path):
    code = (
        "import sys; from scalecli.cli.main import run; assert run(['--help']) == 0; assert run(['--version']) == 0;"
        "heavy = {'tensorflow', 'keras', 'numpy', 'rich', 'yaml'} & set(sys.modules); assert not heavy, heavy;"
        "assert not [name for name in sys.modules if name.startswith('scalecli.cli.') and name != 'scalecli.cli.main']"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for name, (_, line) in shell.COMMANDS.items():
        assert f"  {name} " in done.stdout and line in done.stdout
    assert f"scalecli {__version__}\n" in done.stdout


def test_without_a_subcommand_help_is_shown_with_code_2():
    done = command()
    assert done.returncode == 2
    assert "pretrain" in done.stderr


def test_a_full_disk_under_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run([*PYTHON, "compare"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_closed_pipe_is_quiet():
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*PYTHON, "compare"], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_terminal_without_unicode_gets_replacements():
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = command("compare", "small", "base", env=environment, encoding="latin-1")
    assert done.returncode == 0
    assert "small" in done.stdout and "?" in done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shape", "tiny", "--chip", "cpu", "--pue", "nan"], "--pue is nan; a finite number is accepted"),
        (["shape", "tiny", "--chip", "cpu", "--grid", "inf"], "'--grid': inf is not in the range 0<x<=1000."),
        (["shape", "tiny", "--chip", "cpu", "--grid", "1e300"], "'--grid': 1e+300 is not in the range 0<x<=1000."),
        (
            ["pretrain", "tiny", "--inputs-length", "1000000000", "--dry-run"],
            "inputs_length 1000000000: it is from 3 to 1,048,576",
        ),
        (["pretrain", "tiny", "--batch", "1" + 20 * "0", "--dry-run"], "at most 16,777,216 is accepted"),
        (["pretrain", "tiny", "--steps", "1" + 20 * "0", "--dry-run"], "at most 1,099,511,627,776 is accepted"),
        (["pretrain", "tiny", "--show-examples", "1" + 23 * "0"], "is not in the range 1<=x<=1000000"),
        (["shape", 5000 * "x"], f"{95 * 'x'}[... 4,"),
    ],
)
def test_absurd_values_are_refused_in_a_line_of_some_length(words, message, capsys):
    assert shell.run(words) in (2, 3)
    line = capsys.readouterr().err
    assert message in line and line.startswith("error: ") and line.count("\n") == 1 and len(line) < 1500


@pytest.mark.parametrize(
    ("before", "words", "message"),
    [
        ("exec >&-", ["shape", "tiny"], "error: stdout is closed; send it to /dev/null where nobody wants it"),
        ("mkdir gone; cd gone; rmdir ../gone", ["eval", "x"], "error: the working directory has been removed; "),
    ],
)
def test_where_a_process_starts_may_be_odd(before, words, message, tmp_path):
    line = f"{before}; exec {shlex.join([sys.executable, '-m', 'scalecli', *words])}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 1 and ran.stderr.startswith(message) and ran.stderr.count("\n") == 1


def test_a_report_in_a_folder_that_is_not_utf_8_is_one_line(tmp_path):
    """The page holds the command line, and so the folder's name."""
    ran = command("compare", "small", "base", "--report", os.fsencode(f"{tmp_path}/r\udcff"))
    lines = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert ran.returncode == 1 and len(lines) == 1 and "is not UTF-8" in lines[0]
