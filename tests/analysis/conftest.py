"""The fixtures by which these tests run the subcommand."""

from tests.cli.conftest import compare, invoke

__all__ = ["compare", "invoke"]
