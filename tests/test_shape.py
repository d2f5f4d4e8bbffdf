import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalecli.architectures import ARCHITECTURES
from scalecli.errors import ConfigurationError
from scalecli.shape import LARGEST, OPERATORS, Shape, apply_operators, parse_name, presets, shape_name

SIZES = ("tiny", "mini", "small", "base", "large", "xl", "xxl", "xxxl")
operators = st.dictionaries(st.sampled_from(list(OPERATORS)), st.integers(1, LARGEST))


def test_the_presets_are_those_of_the_papers_smallest_first():
    assert tuple(presets()) == SIZES
    assert presets()["base"] == Shape(12, 12, d_model=768, d_ff=3072, d_kv=64, heads=12, vocabulary=32128)
    assert presets("glu")["small"].d_ff == 1365


def test_every_architecture_has_sizes():
    assert all(presets(architecture) for architecture in ARCHITECTURES)


@pytest.mark.parametrize("architecture", ["trasformer", "../shapes/transformer", "", "published"])
def test_sizes_of_an_unknown_architecture_are_refused(architecture):
    with pytest.raises(ConfigurationError, match=r"no architecture .*there are glu, transformer"):
        presets(architecture)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("small-nl24", {"encoder_layers": 24, "decoder_layers": 24}),
        ("NL24-SM", {"encoder_layers": 24, "decoder_layers": 24}),
        ("t5-efficient-small-nl24", {"encoder_layers": 24, "decoder_layers": 24}),
        ("small-el16-dl2", {"encoder_layers": 16, "decoder_layers": 2}),
        ("small-el2-nl8", {"encoder_layers": 2, "decoder_layers": 8}),
        ("small-kv128-nh16", {"d_kv": 128, "heads": 16}),
        ("small-ff12k", {"d_ff": 12288}),
        ("small-ff12000", {"d_ff": 12000}),
        ("t5-efficient-small-ff12000", {"d_ff": 12288}),
        ("t5-efficient-small-dm1000", {"d_model": 1024}),
        ("t5-efficient-small-dm768", {"d_model": 768}),
    ],
)
def test_names(name, changes):
    assert parse_name(name).to_dict() == {**presets()["small"].to_dict(), **changes}


@pytest.mark.parametrize(
    ("alias", "size"), [("sm", "small"), ("BS", "base"), ("lg", "large"), ("3B", "xl"), ("11b-nl24", "xxl")]
)
def test_aliases(alias, size):
    assert parse_name(alias) == presets()[size]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small-nl0", "'small-nl0': NL: encoder_layers is 0; a whole number from 1 to"),
        ("small-ff-1", "FF: d_ff is -1"),
        ("smal-nl4", "'smal' in 'smal-nl4' is neither.*did you mean 'small'"),
        ("nl24", "'nl24' names no size"),
        ("small-base", "'base' in 'small-base' is neither"),
        ("small-nl4-NL8", "operator NL twice"),
        ("small-nl4.5", "'nl4.5'"),
        ("small-", "'small-'"),
        ("", "is neither a size nor an operator"),
        ("SMALL_nl24", "did you mean 'small-nl24'?"),
        ("small-nl" + "9" * 5000, "is neither a size nor an operator"),
        (f"small-dm{LARGEST + 1}", "DM: d_model is 16777217"),
    ],
)
def test_names_that_cannot_be(name, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_name(name)


@given(size=st.sampled_from(SIZES), changes=operators)
def test_the_canonical_name_is_read_back(size, changes):
    shape = apply_operators(presets()[size], changes)
    assert parse_name(shape_name(shape)) == shape


@given(size=st.sampled_from(SIZES), changes=operators, seed=st.randoms(use_true_random=False))
def test_neither_order_nor_case_of_a_name_matters(size, changes, seed: random.Random):
    parts = [size, *(f"{operator}{value}" for operator, value in changes.items())]
    seed.shuffle(parts)
    name = "-".join(part.upper() if seed.random() < 0.5 else part for part in parts)
    assert parse_name(name) == apply_operators(presets()[size], changes)


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_its_own_canonical_name(size):
    assert shape_name(presets()[size]) == size


def test_the_canonical_name_needs_the_fewest_operators():
    assert shape_name(parse_name("small-nl4-ff1024-nh4-dm256")) == "tiny"
    assert shape_name(parse_name("small-el24-dl24")) == "small-nl24"


@pytest.mark.parametrize("value", [0, -1, LARGEST + 1, True, 2.0, "2", None])
@pytest.mark.parametrize("field", ["encoder_layers", "heads", "vocabulary"])
def test_a_field_is_a_whole_number_in_bounds(field, value):
    with pytest.raises(ConfigurationError, match=f"{field} is "):
        Shape(**{**presets()["tiny"].to_dict(), field: value})


def test_from_dict_is_strict():
    values = presets()["tiny"].to_dict()
    assert Shape.from_dict(values, "a.yaml") == presets()["tiny"]
    del values["vocabulary"]
    assert Shape.from_dict(values, "a.yaml").vocabulary == 32128
    with pytest.raises(ConfigurationError, match=r"a\.yaml: unknown key 'head'.*did you mean 'heads'"):
        Shape.from_dict({**values, "head": 4}, "a.yaml")
    del values["heads"], values["d_kv"]
    with pytest.raises(ConfigurationError, match=r"a\.yaml: the shape lacks d_kv, heads"):
        Shape.from_dict(values, "a.yaml")
