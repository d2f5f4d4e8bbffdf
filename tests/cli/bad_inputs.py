"""Bad command lines, drawn from the types of the options themselves, so that a new option is among them by itself."""

import itertools
import os
import random
from dataclasses import dataclass, field
from pathlib import Path

import click
import yaml

from scalecli.cli.main import COMMANDS, cli

LONG = 5000 * "x"
ODD = ["", " ", LONG, "\x1b]0;title\x07", "a\nb\r", "\u202eabc", "\udcff", *"'\"{[*-=,", "~nobody/x"]
NUMBERS = ["-1", "0", "1.5", "nan", "inf", "-inf", "1e309", "1e-400", "1e23", "0x10", "1_000", "\u0663"]
NUMBERS += [str(2**63), 400 * "9"]
TEXTS = ["a,b,,c", "a=b", "a=1,b=nan", "a:b", "3:2", "train:0", "train:99999999"]
MODELS = ["tiny-nl0", "tiny-nl99999999999", "tiny-nope3", "switch-", "small-" * 300, "../run"]
# What makes a command line that a command accepts, or at least reads on from, before one option of it is spoilt.
USUAL = {
    "shape": ["tiny"],
    "flops": ["tiny"],
    "import": ["model.bin", "--dry-run"],
    "pretrain": ["tiny", "--dry-run"],
    "finetune": ["run", "--tasks", "cola", "--data-dir", "glue", "--dry-run"],
    "eval": ["run", "--tasks", "cola", "--data-dir", "glue"],
    "compare": ["small", "base", "run"],
    "study run": ["scaling-micro", "--dry-run"],
    "study status": ["scaling-micro"],
    "devices": [],
    "worker": [],
    "export": ["run", "exported", "--to", "npz"],
    "demo": ["new"],
}


@dataclass
class BadInput:
    """A command line, the variables and the --config file that go with it, and the exit codes that are right."""

    words: list[str]
    variables: dict[str, str] = field(default_factory=dict)
    config: str | None = None
    codes: set[int] = field(default_factory=lambda: {0, 2, 3, 4})

    def __str__(self):
        shown = [word if len(word) < 60 else f"{word[:10]}...{len(word)}" for word in self.words]
        return f"{shown} {str(self.variables)[:99] or ''} {(self.config or '')[:99]!r}"


def make_files(folder):
    """Files to read and not to read, in the working directory of the commands."""
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    (folder / "binary").write_bytes(random.Random(1).randbytes(4096))
    (folder / "taken").write_text("a file\n")
    (folder / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    (folder / "bad.yaml").write_text("encoder_layers: [\n")
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "deep.yaml").write_text(900 * "[")
    (folder / "loop").symlink_to("loop")
    (folder / "forbidden").write_text("secret\n")
    (folder / "forbidden").chmod(0)
    os.mkfifo(folder / "pipe")


PATHS = [
    *(
        "nowhere",
        "folder",
        "empty",
        "binary",
        "taken/below",
        "latin.yaml",
        "bad.yaml",
        "list.yaml",
        "deep.yaml",
        "loop",
    ),
    *("pipe", "forbidden", "/dev/null", "/dev/zero", "/proc/self/mem", ".", "..", "/", "gs://", "gs:/x/y", "s3://x/y"),
    *("file:///nowhere", "http://127.0.0.1:9/x", "hf:nobody", LONG),
]


def leaves():
    """Every command that does something, by the words that call it."""
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", command.commands[inner]) for inner in command.commands)
        else:
            yield name, command


def values_of(param, draw):
    """A value for an option, seldom a good one, and whether click's own type must refuse it."""
    kind = param.type
    if isinstance(kind, click.types.IntParamType | click.types.FloatParamType):
        value = draw.choice([*NUMBERS, *ODD, "nowhere"])
    elif isinstance(kind, click.Choice):
        value = draw.choice([*ODD, "nowhere", str(kind.choices[0]).upper() + "S"])
    else:
        value = draw.choice([*PATHS, *ODD, *NUMBERS, *TEXTS])
    try:
        kind.convert(value, param, None)
    except click.UsageError:
        return value, True
    return value, False


def flag_of(param):
    return max(param.opts, key=len)


def spoilt_option(name, command, draw):
    """One option with a bad value, from the command line, a variable or a --config file."""
    options = [param for param in command.params if isinstance(param, click.Option) and not param.is_flag]
    if not options:
        return None
    option = draw.choice(options)
    value, refused = values_of(option, draw)
    case = BadInput([*name.split(), *USUAL[name]])
    # Only where the option is not given already.
    where = draw.choice(["flag", "flag", "variable", "config"]) if flag_of(option) not in case.words else "flag"
    if where == "variable" and value.strip() and "\udcff" not in value:
        words = (*name.split(), flag_of(option)[2:].replace("-", "_"))
        case.variables["_".join(("scalecli", *words)).upper()] = value
    elif where == "config" and "\udcff" not in value:
        content = {flag_of(option)[2:]: draw.choice([value, [value], {"a": value}, None])}
        for word in reversed(name.split()):
            content = {word: content}
        case.config = yaml.safe_dump(content)
        case.codes = {0, 2, 3, 4}
        return case
    else:
        case.words += [flag_of(option), value]
    if refused:
        case.codes = {2}
    return case


def spoilt_argument(name, command, draw):
    """One argument that is no model, run or file."""
    arguments = [param for param in command.params if isinstance(param, click.Argument)]
    if not arguments:
        return None
    value = draw.choice([*PATHS, *ODD, *MODELS])
    rest = USUAL[name][1:]
    return BadInput([*name.split(), *([value] if value.startswith("-") else ["--"] * (not rest) + [value]), *rest])


def contradiction(name, command, draw):
    """Some options of different kinds at once."""
    options = draw.sample([p for p in command.params if isinstance(p, click.Option)], k=min(3, len(command.params) - 1))
    words = []
    for option in options:
        good = {"directory": "folder", "parallel": "jobs"}.get(option.name or "")
        if option.is_flag:
            words += [draw.choice([*option.opts, *option.secondary_opts])]
        elif isinstance(option.type, click.Choice):
            words += [flag_of(option), str(draw.choice(option.type.choices))]
        else:
            words += [flag_of(option), good or draw.choice(["1", "2", "8", "small", "run", "folder", "empty", "a,b"])]
    return BadInput([*name.split(), *USUAL[name], *words])


def misspelt(name, command, draw):
    """An option whose letters are in another order, with one more."""
    option = draw.choice([param for param in command.params if isinstance(param, click.Option)])
    first, *rest = flag_of(option).removeprefix("--")
    draw.shuffle(rest)
    word = f"--{first}{''.join(rest)}{draw.choice('qxz')}"
    return BadInput([*name.split(), *USUAL[name], word, "1"], codes={2})


def bad_config(name, command, draw):
    """A --config file that is none."""
    return BadInput(["--config", draw.choice([*PATHS, *ODD]), *name.split(), *USUAL[name]], codes={2, 3, 4})


def bad_inputs(count, seed):
    """`count` bad inputs of all commands in turn, each from a stream of its own, so that none depends on others."""
    commands = list(leaves())
    kinds = [spoilt_option, spoilt_option, spoilt_option, spoilt_argument, contradiction, misspelt, bad_config]
    made = 0
    for turn in itertools.count():
        for name, command in commands:
            draw = random.Random(f"{seed} {turn} {name}")
            case = draw.choice(kinds)(name, command, draw)
            if case is None or (name == "worker" and case.codes != {2}):
                continue  # A worker that starts serves for ever.
            yield case
            made += 1
            if made == count:
                return


def contents(*folders):
    """Every path below some folders, with what a change would change."""
    paths = (path for folder in folders for path in Path(folder).rglob("*"))
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in paths if not path.is_dir()}
