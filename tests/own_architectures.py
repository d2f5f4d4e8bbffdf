"""Files with architectures of users, and a fixture that forgets those that a test has loaded."""

from pathlib import Path

import pytest

from scalecli import shapes_directory
from scalecli.analysis.advice import shapes
from scalecli.analysis.rows import shape_costs
from scalecli.architectures import ARCHITECTURES, KNOBS, loading, operators
from scalecli.cli.options import model
from scalecli.shape import presets

EXAMPLES = {path.stem: path for path in sorted((shapes_directory() / "examples").glob("*.py"))}
MINE = """
from scalecli.api import Architecture, Knob, encoder_decoder

def build(shape):
    return encoder_decoder("mine", shape)

architecture = Architecture(name="mine", build=build, knobs=(Knob("rank", "rk", "--rank", "Rank.", default=8),))
"""


_LISTS = (ARCHITECTURES, KNOBS, loading._CODES)
_KNOWN = [dict(entries) for entries in _LISTS]
_CACHES = (
    *(presets, operators._operators, operators._words, shapes._published, model._knob_option),
    *(shape_costs.spec_of, shape_costs.parameters_of, shape_costs.batch_for, shape_costs.flops_of),
)


def forget():
    """Only the papers' architectures are known afterwards, as in a new process."""
    for entries, known in zip(_LISTS, _KNOWN, strict=True):
        entries.clear()
        entries.update(known)
    for cached in _CACHES:
        cached.cache_clear()


@pytest.fixture
def forgetting():
    """Forgets the architectures that a test has loaded."""
    yield
    forget()


def write(text, path="mine.py"):
    """A file of that text, as `--arch` takes it."""
    Path(path).write_text(text)
    return f"./{path}"
