import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalecli.architectures import ARCHITECTURES, KNOBS, LARGEST, check_knobs, named
from scalecli.architectures.operators import operator_text, operators
from scalecli.errors import ConfigurationError
from scalecli.shape import (
    Shape,
    apply_operators,
    architecture_in,
    parse_name,
    presets,
    shape_name,
)
from tests.shapes import changes, operators_of, values

SIZES = ("tiny", "mini", "small", "base", "large", "xl", "xxl", "xxxl")


def test_the_presets_are_those_of_the_papers_smallest_first():
    assert tuple(presets()) == SIZES
    assert presets()["base"] == Shape(12, 12, d_model=768, d_ff=3072, d_kv=64, heads=12, vocabulary=32128)
    assert presets("glu")["small"].d_ff == 1365
    assert presets("switch")["xl"].experts == 128
    for architecture in ARCHITECTURES:
        sizes = list(presets(architecture))
        assert sizes and sizes == [size for size in (*SIZES, "vit-s", "vit-b") if size in sizes]


@pytest.mark.parametrize("architecture", ["trasformer", "../shapes/transformer", "", "published", "hardware/chips"])
def test_sizes_of_an_unknown_architecture_are_refused(architecture):
    with pytest.raises(
        ConfigurationError, match=r"no architecture .*there are albert, dconv, .*, transformer, universal"
    ):
        presets(architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_sizes_of_an_architecture_have_its_knobs_and_no_sharing(architecture):
    for shape in presets(architecture).values():
        check_knobs(shape, architecture)
        assert not (shape.shared_heads or shape.tied_key_values or shape.shared_stacks)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("small-nl24", {"encoder_layers": 24, "decoder_layers": 24}),
        ("NL24-SM", {"encoder_layers": 24, "decoder_layers": 24}),
        ("t5-efficient-small-nl24", {"encoder_layers": 24, "decoder_layers": 24}),
        ("google/t5-efficient-small-nl24", {"encoder_layers": 24, "decoder_layers": 24}),
        ("small-el16-dl2", {"encoder_layers": 16, "decoder_layers": 2}),
        ("el16-small-dl2", {"encoder_layers": 16, "decoder_layers": 2}),
        ("small-el2-nl8", {"encoder_layers": 2, "decoder_layers": 8}),
        ("small-kv128-nh16", {"d_kv": 128, "heads": 16}),
        ("small-ff12k", {"d_ff": 12288}),
        ("DM1K-small", {"d_model": 1024}),
        ("small-ff12000", {"d_ff": 12000}),
        ("t5-efficient-small-ff12000", {"d_ff": 12288}),
        ("t5-efficient-small-dm1000", {"d_model": 1024}),
        ("google/t5-efficient-small-dm1000", {"d_model": 1024}),
        ("t5-efficient-small-dm768", {"d_model": 768}),
        ("small-sh", {"shared_heads": True}),
        ("SKV-small", {"tied_key_values": True}),
        ("small-shkv", {"shared_heads": True, "tied_key_values": True}),
        ("small-skv-sh", {"shared_heads": True, "tied_key_values": True}),
    ],
)
def test_names(name, fields):
    assert parse_name(name).to_dict() == {**presets()["small"].to_dict(), **fields}


@pytest.mark.parametrize(
    ("architecture", "name", "fields"),
    [
        ("switch", "base-ne64", {"experts": 64}),
        ("switch", "NE64-base-nl4", {"experts": 64, "encoder_layers": 4, "decoder_layers": 4}),
        ("universal", "base-nr5-basic", {"recurrence": 5, "recurrence_type": "basic"}),
        ("universal", "Highway-base", {"recurrence_type": "highway"}),
        ("mos", "base-ns8", {"softmaxes": 8}),
        ("lconv", "base-nt9", {"taps": 9}),
        ("dconv", "base-nt3", {"taps": 3}),
        ("funnel", "base-fb2", {"funnel_blocks": 2}),
        ("albert", "base-es256-ss", {"embedding_size": 256, "shared_stacks": True}),
        ("transformer", "base-untied-ss", {"logits": "untied", "shared_stacks": True}),
        ("glu", "base-tied", {"logits": "tied"}),
        ("mixer", "base-np128", {"positions": 128}),
        ("mixer", "base-np1k", {"positions": 1024}),
    ],
)
def test_names_with_the_knobs_of_an_architecture(architecture, name, fields):
    assert parse_name(name, architecture).to_dict() == {**presets(architecture)["base"].to_dict(), **fields}


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
        ("small-sh-sh", "operator SH twice"),
        ("small-sh2", "'sh2' in 'small-sh2' is neither"),
        ("small-nl4.5", "'nl4.5'"),
        ("small-", "'small-'"),
        ("", "is neither a size nor an operator"),
        ("SMALL_nl24", "did you mean 'small-nl24'?"),
        ("small-nl" + "9" * 5000, "is neither a size nor an operator"),
        (f"small-dm{LARGEST + 1}", "DM: d_model is 16777217"),
        ("small-ne4", "'small-ne4': NE: transformer has no experts, a knob of switch"),
        ("small-nt9", "NT: transformer has no taps, a knob of dconv and lconv"),
        ("small-tied", "LG: logits is tied, as transformer has it; leave it out"),
        ("small-basic", "RT: transformer has no recurrence_type, a knob of universal"),
        ("google/small", "'google/small' in 'google/small' is neither"),
    ],
)
def test_names_that_cannot_be(name, message):
    with pytest.raises(ConfigurationError, match=message):
        parse_name(name)


def test_an_error_lists_what_the_architecture_knows():
    listed = {}
    for architecture in ("transformer", "universal"):
        with pytest.raises(ConfigurationError) as error:
            parse_name("huge", architecture)
        listed[architecture] = str(error.value).partition("there are ")[2].split(", ")
    operators = ["nlN", "elN", "dlN", "dmN", "kvN", "nhN", "ffN", "shkv", "sh", "skv"]
    assert listed["transformer"] == [*SIZES, *operators, "ss", "tied", "untied"]
    assert listed["universal"] == [*presets("universal"), *operators, "nrN", "act", "basic", "highway", "gated"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_canonical_name_is_read_back(architecture, data):
    size = data.draw(st.sampled_from(list(presets(architecture))))
    shape = apply_operators(presets(architecture)[size], data.draw(changes(architecture, LARGEST)), architecture)
    assert parse_name(shape_name(shape, architecture), architecture) == shape


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), seed=st.randoms(use_true_random=False))
def test_neither_order_nor_case_of_a_name_matters(architecture, data, seed: random.Random):
    size = data.draw(st.sampled_from(list(presets(architecture))))
    operators = data.draw(changes(architecture, LARGEST))
    parts = [size, *(operator_text(code, value) for code, value in operators.items())]
    seed.shuffle(parts)
    name = "-".join(part.upper() if seed.random() < 0.5 else part for part in parts)
    assert parse_name(name, architecture) == apply_operators(presets(architecture)[size], operators, architecture)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_operators_commute_unless_they_set_the_same_field(architecture, data):
    codes = st.sampled_from(list(operators_of(architecture)))
    one, other = data.draw(codes), data.draw(codes)
    first, second = ({code: data.draw(values(architecture, code, LARGEST))} for code in (one, other))
    size = next(iter(presets(architecture).values()))
    in_order = apply_operators(apply_operators(size, first, architecture), second, architecture)
    reversed_order = apply_operators(apply_operators(size, second, architecture), first, architecture)
    if set(operators()[one].fields).isdisjoint(operators()[other].fields):
        assert in_order == reversed_order == apply_operators(size, {**first, **second}, architecture)
    else:
        assert getattr(in_order, operators()[other].fields[0]) == second[other]


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_its_own_canonical_name(size):
    assert shape_name(presets()[size]) == size


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("VIT-S", "vit-s"),
        ("b", "vit-b"),
        ("s-nl24", "vit-s-nl24"),
        ("nl28-vit-s", "vit-s-nl28"),
        ("vit-s-el24", "vit-s-nl24"),
        ("vit-s-skv-sh", "vit-s-shkv"),
        ("vit-b-nc10-is8-transformers-ps2", "vit-b-is8-ps2-nc10-transformers"),
    ],
)
def test_a_vision_transformers_name_has_its_architecture(name, canonical):
    assert shape_name(parse_name(name, "vit"), "vit") == canonical


def test_a_name_may_have_its_architecture():
    assert parse_name("switch-base-nl4", "switch") == parse_name("base-nl4", "switch")
    names = ("vit-s", "NL24-VIT-S", "glu-base", "small", "t5-efficient-base")
    assert [architecture_in(name) for name in names] == ["vit", "vit", "glu", None, None]
    with pytest.raises(ConfigurationError, match=r"'glu' in 'glu-base' is neither a size nor an operator"):
        parse_name("glu-base", "switch")


def test_a_model_of_images_has_no_decoder_and_no_vocabulary():
    shape = presets("vit")["vit-s"]
    assert (shape.decoder_layers, shape.vocabulary, shape.classes) == (0, 0, 18_000)
    assert not {"decoder_layers", "vocabulary"} & set(shape.to_dict())
    with pytest.raises(ConfigurationError, match="DL: vit has no decoder_layers, a knob of 12 other architectures"):
        parse_name("vit-s-dl2", "vit")
    with pytest.raises(ConfigurationError, match="the shape lacks decoder_layers, which transformer has"):
        check_knobs(shape, "transformer")
    with pytest.raises(ConfigurationError, match="vit has no decoder_layers"):
        check_knobs(presets()["tiny"], "vit")
    with pytest.raises(ConfigurationError, match="vocabulary is 0"):
        Shape(2, 2, d_model=4, d_ff=4, d_kv=2, heads=2, vocabulary=0)
    with pytest.raises(ConfigurationError, match="decoder_layers is 0"):
        Shape(2, d_model=4, d_ff=4, d_kv=2, heads=2)
    with pytest.raises(ConfigurationError, match=r"a\.yaml: the shape lacks decoder_layers"):
        Shape.from_dict({**shape.to_dict(), "vocabulary": 100}, "a.yaml")


@pytest.mark.parametrize(
    ("name", "architecture", "canonical"),
    [
        ("small-nl4-ff1024-nh4-dm256", "transformer", "tiny"),
        ("small-el24-dl24", "transformer", "small-nl24"),
        ("NH4-SKV-small-sh-nl2", "transformer", "small-nl2-nh4-shkv"),
        ("skv-base", "transformer", "base-skv"),
        ("base-basic-nr2-el3", "universal", "base-el3-nr2-basic"),
        ("base-act", "universal", "base"),
        ("ss-base-es64", "albert", "base-es64-ss"),
        ("untied-ss-base", "transformer", "base-ss-untied"),
    ],
)
def test_the_canonical_name_needs_the_fewest_operators(name, architecture, canonical):
    assert shape_name(parse_name(name, architecture), architecture) == canonical


def test_a_shape_has_no_name_in_an_architecture_with_other_knobs():
    with pytest.raises(ConfigurationError, match="the shape lacks experts, which switch has"):
        shape_name(presets()["tiny"], "switch")
    with pytest.raises(ConfigurationError, match="funnel has no experts, a knob of switch"):
        shape_name(presets("switch")["tiny"], "funnel")


@pytest.mark.parametrize("value", [0, -1, LARGEST + 1, True, 2.0, "2", None])
@pytest.mark.parametrize("field", ["encoder_layers", "heads", "vocabulary"])
def test_a_field_is_a_whole_number_in_bounds(field, value):
    with pytest.raises(ConfigurationError, match=f"{field} is "):
        Shape(**{**presets()["tiny"].to_dict(), field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[(field, value) for field in ("shared_heads", "tied_key_values") for value in (1, "yes", None)],
        *[("shared_stacks", value) for value in (1, "yes")],
        *[("logits", value) for value in ("Tied", True, "")],
        *[("recurrence_type", value) for value in ("ACT", "adaptive", True, 3)],
        *[
            (knob, value)
            for knob in KNOBS
            if not knob.endswith(("_type", "_stacks", "logits"))
            for value in (0, True, "2", 1.0)
        ],
    ],
)
def test_a_knob_is_what_its_operator_accepts(field, value):
    with pytest.raises(ConfigurationError, match=f"{field} is .*accepted"):
        Shape(**{**presets()["tiny"].to_dict(), field: value})


def test_from_dict_is_strict():
    fields = presets()["tiny"].to_dict()
    assert Shape.from_dict(fields, "a.yaml") == presets()["tiny"]
    del fields["vocabulary"]
    assert Shape.from_dict(fields, "a.yaml").vocabulary == 32128
    with pytest.raises(ConfigurationError, match=r"a\.yaml: unknown key 'head'.*did you mean 'heads'"):
        Shape.from_dict({**fields, "head": 4}, "a.yaml")
    del fields["heads"], fields["d_kv"]
    with pytest.raises(ConfigurationError, match=r"a\.yaml: the shape lacks d_kv, heads"):
        Shape.from_dict(fields, "a.yaml")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_shape_is_its_dictionary(architecture, data):
    operators = data.draw(changes(architecture, LARGEST))
    shape = apply_operators(next(iter(presets(architecture).values())), operators, architecture)
    fields = shape.to_dict()
    assert Shape.from_dict(fields, "a.yaml") == shape
    optional = set(named(architecture).defaults)
    own = {knob.name for knob in named(architecture).knobs}
    assert own - optional <= set(fields) & set(KNOBS) <= own
    assert all(fields.get(name, True) is True for name in ("shared_heads", "tied_key_values"))
