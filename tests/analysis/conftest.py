"""The fixture by which these tests run the subcommand."""

from tests.cli.conftest import compare

__all__ = ["compare"]
