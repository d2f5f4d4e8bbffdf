"""Commands that compute start over with huge pages, once, where Linux leaves that to each program."""

import os
import subprocess
import sys

import pytest

from scalecli.cli import huge_pages

ONCE = "glibc.malloc.hugetlb=1"
PROGRAM = """
import os, pathlib, sys
from scalecli.cli import huge_pages, main
huge_pages.SETTING = pathlib.Path(sys.argv[1])
main.run = lambda arguments: print(os.getpid(), os.environ.get("GLIBC_TUNABLES"), *sys.argv[2:])
main.main()
"""


@pytest.fixture
def start(tmp_path):
    """Runs the command line with a setting of Linux; the words that it prints, after its process's number."""

    def start(setting, arguments, tunables=None):
        (tmp_path / "enabled").write_text(setting)
        environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
        environment |= {} if tunables is None else {"GLIBC_TUNABLES": tunables}
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "enabled"), *arguments]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            number, *words = process.communicate()[0].split()
        assert (process.returncode, int(number)) == (0, process.pid)
        return words

    return start


def test_the_program_starts_over_as_it_was_called(start):
    assert start("always [madvise] never", ["pretrain", "tiny", "--steps", "3"]) == [
        ONCE,
        "pretrain",
        "tiny",
        "--steps",
        "3",
    ]


def test_other_tunables_stay(start):
    assert start("always [madvise] never", ["eval"], "glibc.malloc.check=0") == [f"glibc.malloc.check=0:{ONCE}", "eval"]


@pytest.mark.parametrize("tunables", ["glibc.malloc.hugetlb=0", "glibc.malloc.check=0:glibc.malloc.hugetlb=2"])
def test_what_a_user_has_set_stays(start, tunables):
    assert start("always [madvise] never", ["eval"], tunables) == [tunables, "eval"]


@pytest.mark.parametrize("setting", ["[always] madvise never", "always madvise [never]"])
def test_linux_may_have_decided(start, setting):
    assert start(setting, ["eval"]) == ["None", "eval"]


@pytest.mark.parametrize(
    "arguments",
    [["shape", "tiny"], ["pretrain", "--help"], ["help", "pretrain"], ["compare", "eval"], ["pretrain", "--dry-run"]],
)
def test_what_answers_at_once_does_not_start_over(start, arguments):
    assert start("always [madvise] never", arguments) == ["None", *arguments]


def test_other_systems_have_no_such_setting(monkeypatch, tmp_path):
    monkeypatch.setattr(huge_pages, "SETTING", tmp_path / "enabled")
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(os, "execve", None)  # a call would be an error
    huge_pages.use_huge_pages()
