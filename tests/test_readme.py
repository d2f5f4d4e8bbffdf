"""The READMEs: commands that work as printed, links that lead somewhere, and lines that fit a screen."""

import importlib
import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import click
import pytest

from scalecli.cli.main import COMMANDS, run
from tests.own_architectures import forget, forgetting

pytestmark = pytest.mark.usefixtures("forgetting")
__all__ = ["forgetting"]

ROOT = Path(__file__).parents[1]
READMES = [
    ROOT / "README.md",
    *(file for part in ("scalecli", "shapes", "tests") for file in ROOT.glob(f"{part}/**/README.md")),
]
NAMES = [str(file.relative_to(ROOT)) for file in READMES]
LIGHT = ("shape", "flops")
MOST_LINES, MOST_CHARACTERS = 150, 120

every_readme = pytest.mark.parametrize("readme", READMES, ids=NAMES)


def commands(readme):
    """The words of each scalecli command in the code blocks of a README, in order."""
    code = "\n".join(line[4:] for line in readme.read_text().splitlines() if line.startswith("    "))
    for line in code.replace("\\\n", " ").splitlines():
        if match := re.match(r"(?:[A-Z_]+=\S+ )?scalecli ", line):
            yield shlex.split(line[match.end() :], comments=True)


def is_light(words):
    """Whether a command builds no model and needs nothing but the package, its examples and earlier light commands."""
    if "--check" in words or any("*" in word or word.startswith(("runs/", "gs://")) for word in words):
        return False
    return (
        words[0] in LIGHT
        or (words[0] == "compare" and {"--published", "--reproduction"} & {*words})
        or words in (["eval", "--list-tasks"], ["study", "run", "scaling-micro", "--dry-run"])
        or "--help" in words
    )


def slug(heading):
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@every_readme
def test_light_commands_work_as_printed(readme, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for example in (ROOT / "shapes" / "examples").glob("*.py"):
        shutil.copy(example, tmp_path)
    for words in filter(is_light, commands(readme)):
        forget()  # a command names the architectures that it uses
        code = run(words)
        assert code == 0, f"scalecli {shlex.join(words)}: {capsys.readouterr().err}"
        assert capsys.readouterr().out or "-o" in words


def test_light_commands_are_found():
    light = [words for readme in READMES for words in commands(readme) if is_light(words)]
    assert len(light) > 20 and {words[0] for words in light} == {"shape", "flops", "compare", "eval", "study"}


@every_readme
def test_options_exist(readme):
    for words in commands(readme):
        name, *rest = words
        assert name in COMMANDS, f"scalecli {shlex.join(words)}"
        command = importlib.import_module(f"scalecli.cli.{COMMANDS[name][0]}").command
        if isinstance(command, click.Group):
            command = command.commands[rest[0]]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown = {word for word in rest if re.fullmatch("--[a-z].*|-[a-z]", word)} - known - {"--help"}
        assert not unknown, f"scalecli {shlex.join(words)}"


@every_readme
def test_programs_exist(readme):
    for module in re.findall(r"python -m ([\w.]+)", readme.read_text()):
        assert importlib.util.find_spec(module), module
    assert not re.search(r"python tests/", readme.read_text())


@every_readme
def test_links_lead_somewhere(readme):
    for link, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", readme.read_text()):
        if not link.startswith("http"):
            target = (readme.parent / link) if link else readme
            assert target.exists(), link
            if anchor:
                headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)
                assert anchor in map(slug, headings), f"{link}#{anchor}"


@every_readme
def test_lines_fit_a_screen(readme):
    lines = readme.read_text().splitlines()
    assert not [line for line in lines if len(line) > MOST_CHARACTERS and not line.startswith("|")]


def test_the_front_door_is_short_and_says_how_to_test():
    lines = READMES[0].read_text().splitlines()
    assert len(lines) <= MOST_LINES
    # .ci/run takes the first line of this kind.
    assert next(line for line in lines if "python -m tests" in line).strip() == (
        "pip install -e '.[test,benchmark]' && python -m tests"
    )
