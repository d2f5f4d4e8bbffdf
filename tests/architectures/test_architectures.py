import re

import pytest

from scalecli import costs, shapes_directory
from scalecli.architectures import (
    ARCHITECTURES,
    TEXT_ARCHITECTURES,
    build_image_spec,
    build_spec,
    build_text_spec,
    named,
)
from scalecli.errors import ConfigurationError
from scalecli.shape import parse_name, presets
from tests.shapes import operators_of

# Parameters of the original code's graphs; evolved, lconv and dconv from its graphs of one and two layers, performer
# and mixer from those of the Transformer.
BASE = {
    "transformer": 222_903_552,
    "evolved": 216_254_976,
    "universal": 123_816_194,
    "switch": 1_978_514_688,
    "performer": 222_902_784,
    "funnel": 222_903_552,
    "albert": 20_731_904,
    "mos": 231_762_432,
    "glu": 247_577_856,
    "lconv": 223_123_968,
    "dconv": 322_214_400,
    "mixer": 232_340_352,
}
# T multiply-adds of the papers' batch that they print for base, where the shape reproduces them within 2.5%.
PRINTED = {
    **{"transformer": 11.4, "evolved": 10.2, "universal": 20.3, "switch": 12.7, "performer": 10.8, "funnel": 8.1},
    **{"albert": 9.4, "glu": 11.4, "lconv": 10.6, "mixer": 12.4},
}


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_parameters_of_base(architecture):
    assert build_spec(architecture, presets(architecture)["base"]).parameters() == BASE[architecture]


@pytest.mark.parametrize("architecture", PRINTED)
def test_flops_of_base_are_those_that_the_papers_print(architecture):
    counts = costs.flops(build_spec(architecture, presets(architecture)["base"]), costs.BATCHES["paper"], "paper")
    assert sum(counts.values()) == pytest.approx(PRINTED[architecture] * 1e12, rel=0.025)


# Parameters of released checkpoints ("Scale Efficiently"), by their names.
RELEASED = {
    "t5-efficient-tiny-nh1": 13_211_200,
    "t5-efficient-mini-nl24": 125_630_720,
    "t5-efficient-small-nl24": 192_673_280,
    "t5-efficient-small-dm2000": 242_024_960,
    "t5-efficient-small-el16-dl1": 70_994_944,
    "t5-efficient-small-kv256": 117_129_728,
    "t5-efficient-base-ff12000": 562_642_176,
    "t5-efficient-base-dl2": 128_508_672,
    "t5-efficient-large-nh8-nl32": 771_262_976,
    "t5-efficient-large-dm128": 92_209_408,
    "t5-efficient-xl-nl28": 3_321_380_864,
    "t5-efficient-xxl": 11_307_321_344,
}


@pytest.mark.parametrize(("name", "parameters"), RELEASED.items())
def test_parameters_of_released_transformers(name, parameters):
    assert build_spec("transformer", parse_name(name)).parameters() == parameters


def test_parameters_of_t5_v1_1_small():
    # Eight layers, six heads, d_ff 1024: as its released checkpoint.
    spec = build_spec("glu", parse_name("small-nl8-nh6-ff1024", "glu"))
    assert spec.parameters() == 76_961_152
    assert spec.embedding_parameters() == 2 * 32128 * 512


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_sizes_say_where_they_are_from(architecture):
    comment = "".join(re.findall(r"^#.*\n", (shapes_directory() / f"{architecture}.yaml").read_text(), re.MULTILINE))
    assert re.search(r'"(Scale Efficiently|Scaling Laws vs Model Architectures)", Table \d', comment)
    if 64 in {shape.d_kv for size, shape in presets(architecture).items() if size in ("tiny", "small")} and (
        architecture not in ("switch", "albert", "glu")
    ):
        assert "d_kv" in comment
    declared = named(architecture)
    for knob in {knob.name for knob in declared.knobs} - set(declared.defaults):
        words = {"positions": "512 input positions", "recurrence_type": "Table 5", "recurrence": "Table 5"}
        words |= {"funnel_blocks": "blocks", "embedding_size": "embedding of 128", "shared_stacks": "share"}
        words |= {"experts": "Table 4"}
        assert words.get(knob, knob) in comment


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_operator_changes_what_is_built(architecture):
    """No knob is without effect, or it would be an option that does nothing."""
    size, preset = list(presets(architecture).items())[-1]
    plain, own = build_spec(architecture, preset), named(architecture).defaults
    for code, operator in operators_of(architecture).items():
        values = {"nl": "4", "el": "4", "dl": "2", "fb": "2", "nt": "5", "np": "64", "is": "64"}
        if isinstance(operator.values, tuple):
            names = [
                f"{size}-{word}"
                for word in operator.values
                if word not in (preset.recurrence_type, own.get(operator.fields[0]))
            ]
        else:
            names = [f"{size}-{code}{values.get(code, '8') if operator.values is int else ''}"]
        for name in names:
            assert build_spec(architecture, parse_name(name, architecture)) != plain, name


IMPOSSIBLE = {
    "odd layers of switch": ("switch", "base-el3", "encoder_layers is 3; switch has its layers in pairs, so an even"),
    "odd decoder of switch": ("switch", "base-dl3", "decoder_layers is 3; switch has its layers in pairs"),
    "odd width of evolved": ("evolved", "base-dm255", "half as wide as d_model, which is 255; make it even"),
    "shared stacks of two depths": ("transformer", "base-el3-ss", "encoder_layers is 3, decoder_layers 12; equal"),
    "even taps of lconv": ("lconv", "base-nt8", "taps is 8; the encoder's convolutions are centered, so an odd number"),
    "even taps of dconv": ("dconv", "base-nt2", "taps is 2; the encoder's convolutions are centered"),
    "patches beyond the image": ("vit", "vit-s-ps30", "image_size is 224 and patch_size 30; a multiple of patch_size"),
    "blocks without layers": (
        "funnel",
        "base-fb13",
        "funnel_blocks is 13 and encoder_layers 12; each block takes at least one layer",
    ),
}


@pytest.mark.parametrize(("architecture", "name", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_shapes_are_refused_with_the_reason(architecture, name, message):
    with pytest.raises(ConfigurationError, match=message):
        build_spec(architecture, parse_name(name, architecture))


def test_an_unknown_architecture_is_refused():
    with pytest.raises(ConfigurationError, match=r"no architecture 'transfomer'; .*did you mean 'transformer'"):
        build_spec("transfomer", presets()["tiny"])


def test_text_and_images_are_told_apart():
    text, images = presets()["tiny"], presets("vit")["vit-s"]
    assert build_text_spec("transformer", text) == build_spec("transformer", text)
    assert build_image_spec("vit", images) == build_spec("vit", images)
    with pytest.raises(ConfigurationError, match=r"vit reads images; this takes text: albert, dconv"):
        build_text_spec("vit", images)
    with pytest.raises(ConfigurationError, match="transformer reads text; this takes images: vit"):
        build_image_spec("transformer", text)
    with pytest.raises(ConfigurationError, match="no architecture 'vti'"):
        build_image_spec("vti", images)


def test_a_shape_of_another_architecture_is_refused():
    with pytest.raises(ConfigurationError, match="the shape lacks experts, which switch has"):
        build_spec("switch", presets()["tiny"])
    with pytest.raises(ConfigurationError, match="glu has no positions, a knob of mixer"):
        build_spec("glu", presets("mixer")["tiny"])


def test_gating_changes_only_the_feed_forward_and_the_logits():
    plain, gated = (build_spec(name, parse_name("tiny")).multiply_adds(512, 114) for name in ("transformer", "glu"))
    for component in ("attention projections", "attention scores", "embedding", "logits"):
        assert plain[component] == gated[component]
    assert gated["feed-forward"] * 2 == plain["feed-forward"] * 3
