"""Files with architectures of users, and a fixture that forgets those that a test has loaded."""

from pathlib import Path

import pytest

from scalecli import shapes_directory
from scalecli.analysis.rows import shape_costs
from scalecli.architectures import ARCHITECTURES, KNOBS, loading, operators
from scalecli.shape import presets

EXAMPLES = {path.stem: path for path in sorted((shapes_directory() / "examples").glob("*.py"))}
MINE = """
from scalecli.api import Architecture, Knob, encoder_decoder

def build(shape):
    return encoder_decoder("mine", shape)

architecture = Architecture(name="mine", build=build, knobs=(Knob("rank", "rk", "--rank", "Rank.", default=8),))
"""


@pytest.fixture
def forgetting():
    """Forgets the architectures that a test loads, before it and after it."""
    lists = (ARCHITECTURES, KNOBS, loading._CODES)
    before = [dict(each) for each in lists]
    yield
    for each, content in zip(lists, before, strict=True):
        each.clear()
        each.update(content)
    caches = (presets, operators._operators, operators._words, shape_costs.spec_of, shape_costs.parameters_of)
    for cached in (*caches, shape_costs.batch_for, shape_costs.flops_of):
        cached.cache_clear()


def write(text, path="mine.py"):
    """A file of that text, as `--arch` takes it."""
    Path(path).write_text(text)
    return f"./{path}"
