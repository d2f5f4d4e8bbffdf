"""`scalecli demo`: the six steps of a study on text that every Python installation has."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path

import click

from scalecli.cli.options.files import cache_option, default_cache
from scalecli.cli.options.groups import Command
from scalecli.cli.options.values import local_path
from scalecli.cli.output.terminal import say, stdout_color
from scalecli.errors import InterruptedRunError, ScalecliError
from scalecli.studies.execution import run_process
from scalecli.tables import printable


class DemoStepError(ScalecliError):
    """A step of the demo failed; its own line has said why, and its exit code is kept."""

    def __init__(self, step: str, code: int) -> None:
        end = "was interrupted" if code == InterruptedRunError.exit_code else f"ended with exit code {code}"
        super().__init__(f"demo: {step} {end}; the same command goes on from here")
        self.exit_code = code


@click.command("demo", cls=Command)
@click.argument("directory", type=click.Path(), callback=local_path, default="scalecli-demo")
@cache_option
def command(directory: Path, cache_directory: Path) -> None:
    """Run shape, flops, pretrain, finetune, eval and compare on a small example, in DIRECTORY.

    It takes about five minutes on two CPU cores and needs no network: the text is the docstrings of this Python
    installation, and the task is to say which package a docstring comes from. Every command is printed before it runs,
    and may be run again by hand.
    """
    start = time.monotonic()
    shape, task = directory / "shape.yaml", directory / "task" / "task.yaml"
    pretrained, finetuned, evaluated = (directory / name for name in ("pretrained", "finetuned", "evaluated"))
    kept = ["--cache-directory", str(cache_directory)] if cache_directory != default_cache() else []

    _say("A shape: the smallest T5 with half of its layers.")
    _run("shape", "tiny", "--nl", "2", "-o", shape)
    _say("What a forward pass of it costs, part by part.")
    _run("flops", shape, "--batch", "32", "--inputs", "128", "--targets", "29")
    _say("Pretraining by span corruption on docstrings.")
    _run(
        *("pretrain", shape, "--run", pretrained, "--vocabulary", "train:4000"),
        *("--inputs-length", "128", "--batch", "32", "--steps", "250"),
        *("--validate-every", "125", "--validation-examples", "256", *kept),
    )
    _write_task(task, cache_directory)
    _say(f"Finetuning on a task: which package does a docstring come from? ({task})")
    _run(
        *("finetune", pretrained, "--task", task, "--run", finetuned, "--batch", "32", "--steps", "200"),
        *("--validate-every", "100", *kept),
    )
    _say("Evaluation: predictions and scores, in a run of their own.")
    _run("eval", finetuned, "--run", evaluated, *kept)
    _say("All of it beside two models of the papers.")
    _run("compare", pretrained, finetuned, evaluated, "transformer-tiny", "small")
    done = f"Done in {time.monotonic() - start:.0f} s. Everything is in {directory}; run any command again."
    click.echo(f"\n{printable(done)}")


def _write_task(file: Path, cache: Path) -> None:
    from scalecli.data.tasks.demo import write_package_task
    from scalecli.data.text.docstrings import cached_docstrings

    write_package_task(cached_docstrings(cache, say), file.parent)


def _say(text: str) -> None:
    click.secho(f"\n# {printable(text)}", fg="cyan", color=stdout_color())


def _run(*arguments: str | Path) -> None:
    """Prints a command and runs it as a user would.

    Raises:
        DemoStepError: it failed.
    """
    words = [str(argument) for argument in arguments]
    click.secho(printable(f"$ scalecli {shlex.join(words)}"), bold=True, color=stdout_color())
    sys.stdout.flush()
    if code := run_process(words, shows_output=True):
        raise DemoStepError(words[0], code)
