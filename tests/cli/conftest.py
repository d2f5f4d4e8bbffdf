"""How the tests of the command line run it."""

from functools import partial

import pytest

from scalecli.cli.main import run
from tests.documents import models


@pytest.fixture
def invoke(capsys):
    """Runs a subcommand; returns its exit code, stdout and stderr."""

    def invoke(*arguments):
        code = run([*map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


@pytest.fixture
def compare(invoke):
    return partial(invoke, "compare")


def names(out):
    return [row["name"] for row in models(out)]
