"""The command line's shell: finds the subcommand, reads --config, and turns every error into one line and a code."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from scalecli import __version__
from scalecli.errors import ConfigurationError, MissingError, ScalecliError, UsageError, nearest, reasons_of
from scalecli.studies.child import end_with_parent
from scalecli.training.signals import end_by_signals

# Subcommand: its module in scalecli.cli, and the line that `scalecli --help` shows without importing that module.
COMMANDS = {
    "shape": ("shape.command", "Show the fields, parameters, FLOPs and memory of a shape."),
    "flops": ("flops", "Break the cost of a model down by component."),
    "import": ("import_checkpoint", "Turn another library's checkpoint into a run."),
    "pretrain": ("pretrain", "Pretrain a model on text, or on labeled images."),
    "finetune": ("finetune", "Finetune a run or a checkpoint on a task."),
    "eval": ("evaluate", "Score a run on tasks, text or images."),
    "compare": ("compare.command", "Set runs and published models side by side."),
    "study": ("study.command", "Run a whole study from one file, and watch it."),
    "devices": ("devices", "Show the devices that a run would have here."),
    "worker": ("worker", "Serve this host of a TPU slice to the run that uses it."),
    "export": ("export", "Write a run's model for Hugging Face, KerasHub or numpy."),
    "demo": ("demo", "Run all the steps on a small example."),
}

# These compute, unless they are only asked something.
_COMPUTING = {"pretrain", "finetune", "eval"}
_QUESTIONS = {"-h", "--help", "--help-all", "--dry-run", "--list-tasks"}

# What the system says of a name under which nothing is.
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}


class LazyGroup(click.Group):
    """A group that imports the module of a subcommand only when that subcommand is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The subcommands in the order in which a study uses them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Imports and returns the subcommand, or None for an unknown name."""
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"scalecli.cli.{COMMANDS[name][0]}").command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name in the error for an unknown one; `help COMMAND` is `COMMAND --help`.

        A size for a subcommand is one that was forgotten.
        """
        if args[:1] == ["help"]:
            if not args[1:]:
                click.echo(ctx.get_help())
                ctx.exit()
            args = [*args[1:], "--help"]
        if args and args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            hint = nearest(args[0], [*COMMANDS, "help"]) or _shape_hint(args[0]) or "; scalecli --help lists them"
            raise UsageError(f"no subcommand {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the subcommands, from the table so that none of them is imported, and then the options."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])
        click.Command.format_options(self, ctx, formatter)
        formatter.write_paragraph()
        formatter.write_text(
            "scalecli help COMMAND explains a command; scalecli demo runs a small example of them all."
        )


def _shape_hint(text: str) -> str:
    """What to type where a shape, or what is nearly a size, stands for a subcommand."""
    from scalecli.architectures import DEFAULT_ARCHITECTURE
    from scalecli.shape import architecture_in, parse_name, presets

    with contextlib.suppress(ConfigurationError):
        parse_name(text, architecture_in(text) or DEFAULT_ARCHITECTURE)
        return f"; did you mean 'scalecli shape {text}'?"
    return nearest(text, presets()).replace("mean '", "mean 'scalecli shape ")


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "SCALECLI", "help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="YAML file with options for each command, such as {pretrain: {steps: 1000}}.",
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name="scalecli", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: str | None, debug: bool) -> None:
    """A workbench for scaling studies of encoder-decoder Transformers.

    An option is taken from the command line, else from its environment variable (SCALECLI_PRETRAIN_STEPS is --steps of
    pretrain), else from the --config file; else it has the default that --help shows.
    """
    if debug:
        ctx.ensure_object(dict)["debug"] = True
    if config is not None:
        ctx.default_map = _read_config(config, ctx)


def _read_config(path: str, ctx: click.Context) -> dict[str, Any]:
    """Returns click's defaults from a --config file, after checking the section of the subcommand that is called.

    The other sections are only checked by name, because their options are known to their modules.
    """
    from scalecli import strict

    sections = strict.load_yaml(path)
    for name, section in sections.items():
        if name not in COMMANDS:
            hint = nearest(str(name), COMMANDS) or f"; there are {', '.join(COMMANDS)}"
            raise ConfigurationError(f"{path}: unknown subcommand {name!r}{hint}")
        if not isinstance(section, dict):
            raise ConfigurationError(f"{path}: {name}: expected options and their values, found {section!r}")
    called = ctx.invoked_subcommand
    command = cli.get_command(ctx, called) if called and called in sections else None
    if called is None or command is None:
        return {}
    from scalecli.cli.options.settings import checked_options

    return {called: checked_options(command, sections[called], f"{path}: {called}")}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and ends the process: 0 when done, the error's own code (see `errors`) otherwise."""
    if arguments is None and _computes(sys.argv[1:]):
        from scalecli.cli.huge_pages import use_huge_pages

        use_huge_pages()
    is_open = sys.stdout is not None
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # A terminal that cannot show a sign is no reason to fail.
    end_by_signals(_interrupted)
    end_with_parent()
    # TensorFlow logs about processors, compilers and missing GPUs; what fails is raised all the same.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not is_open:
        _report("stdout is closed; send it to /dev/null where nobody wants it")
        sys.exit(1)
    sys.exit(run(arguments))


def _computes(words: list[str]) -> bool:
    """Whether the command line asks for a computation, whose start takes seconds anyhow."""
    command = next((word for word in words if word in COMMANDS or word == "help"), None)
    return command in _COMPUTING and _QUESTIONS.isdisjoint(words)


def _open_streams() -> None:
    """Opens what the caller has closed, so that no file of ours takes its number and gets what is printed."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    if sys.stdout is None:
        sys.stdout = open(1, "w")  # noqa: SIM115 (for as long as the process lives)
    if sys.stderr is None:
        sys.stderr = open(2, "w")  # noqa: SIM115


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code; an error has been printed to stderr as one line."""
    settings: dict[str, Any] = {}
    try:
        code = cli.main(
            arguments,
            prog_name="scalecli",
            standalone_mode=False,
            obj=settings,
            max_content_width=shutil.get_terminal_size().columns,
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return 2
    except click.NoSuchOption as error:
        near = f"; did you mean {error.possibilities[0]}?" if error.possibilities else ""
        command = error.ctx.command_path if error.ctx else "scalecli"
        _report(f"{command} has no option {error.option_name}{near or f'; {command} --help lists them'}")
        return error.exit_code
    except click.MissingParameter as error:
        usage = " ".join(error.ctx.get_usage().split()).replace("Usage: ", "usage: ") if error.ctx else ""
        _report(f"{error.format_message().removesuffix('.')}; {usage}")
        return error.exit_code
    except click.ClickException as error:
        _report(error.format_message())
        return error.exit_code
    except click.Abort as error:
        if isinstance(error.__cause__, EOFError):  # click takes any for the end of somebody's typing
            return _failure(error.__cause__)
        _interrupted()
        return 130
    except KeyboardInterrupt:
        _interrupted()
        return 130
    except BrokenPipeError:
        _forget_output()
        return 1
    except Exception as error:
        if settings.get("debug"):
            traceback.print_exc()
        return _failure(error)


def _failure(error: Exception) -> int:
    """Prints the line for an error and returns its exit code."""
    if isinstance(error, ScalecliError):
        _report(str(error))
        return error.exit_code
    if isinstance(error, FileNotFoundError) and not error.filename and not _has_working_directory():
        _report("the working directory has been removed; change to another one")
        return 1
    if isinstance(error, OSError) and error.strerror:
        file = f"{error.filename}: " if error.filename else ""
        _report(f"{file}{error.strerror}")
        _forget_output()
        return MissingError.exit_code if error.errno in _NOT_THERE else 1
    text = _one_line(" ".join(reasons_of(error)))[:500]
    _report(f"unexpected {type(error).__name__}: {text}; add --debug to the command for the traceback")
    return 1


def _has_working_directory() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _interrupted() -> None:
    from scalecli.cli.output.terminal import end_live_line

    end_live_line()
    _report("interrupted")


def _report(message: str) -> None:
    from scalecli.cli.output.terminal import say

    say(f"error: {_one_line(message)}")


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _forget_output() -> None:
    """Lets stdout go where nothing fails, since Python flushes it once more at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
