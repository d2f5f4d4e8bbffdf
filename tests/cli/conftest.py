"""What the tests of `compare` share."""

import pytest

from scalecli.cli.main import run
from tests.documents import models


@pytest.fixture
def compare(capsys):
    """Runs the subcommand; returns its exit code, stdout and stderr."""

    def invoke(*arguments):
        code = run(["compare", *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


def names(out):
    return [row["name"] for row in models(out)]
