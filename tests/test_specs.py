from collections import Counter

import pytest

from scalecli.architectures import build_spec
from scalecli.shape import parse_name
from scalecli.specs import Attention, Embedding, FeedForward, Logits, Norm, PositionBias

# Trainable parameters of released checkpoints ("Scale Efficiently"), by their names.
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


@pytest.mark.parametrize(
    ("name", "parameters"), [("tiny", 15_570_688), ("small", 60_506_624), ("base", 222_903_552), *RELEASED.items()]
)
def test_parameters_of_the_transformer(name, parameters):
    assert build_spec("transformer", parse_name(name)).parameters() == parameters


def test_parameters_of_glu_count_both_vocabulary_tables():
    # T5 v1.1 small has eight layers, six heads, d_ff 1024; the released checkpoint has 76,961,152 parameters.
    spec = build_spec("glu", parse_name("small-nl8-nh6-ff1024", "glu"))
    assert spec.parameters() == 76_961_152
    assert spec.embedding_parameters() == 2 * 32128 * 512


@pytest.mark.parametrize("architecture", ["transformer", "glu"])
def test_weights_add_up_and_have_unique_paths(architecture):
    spec = build_spec(architecture, parse_name("tiny-el3-dl2", architecture))
    weights = spec.weights()
    assert sum(max(layers, 1) * weight.size for layers, weight in weights.values()) == spec.parameters()
    assert {layers for path, (layers, _) in weights.items() if path.startswith("encoder/0/")} == {3}
    assert {layers for path, (layers, _) in weights.items() if path.startswith("decoder/0/")} == {2}
    assert weights["embedding/table"][0] == 0


def test_multiply_adds_of_each_layer_by_hand():
    assert Norm(8).multiply_adds(3, 5) == Counter({"elementwise": 4 * 3 * 8})
    # 4 projections of 3 x 8 x 6; scores and weighted values 3 x 3 x 6 each.
    self_attention = Attention(d_model=8, heads=2, d_kv=3).multiply_adds(3, 5)
    assert self_attention == Counter({"attention projections": 4 * 3 * 8 * 6, "attention scores": 2 * 3 * 3 * 6})
    # Query and output on 3 positions, key and value on 5.
    cross_attention = Attention(d_model=8, heads=2, d_kv=3, cross=True).multiply_adds(3, 5)
    assert cross_attention == Counter(
        {"attention projections": 2 * 3 * 8 * 6 + 2 * 5 * 8 * 6, "attention scores": 2 * 3 * 5 * 6}
    )
    assert FeedForward(8, 16).multiply_adds(3, 5) == Counter({"feed-forward": 2 * 3 * 8 * 16})
    gated = FeedForward(8, 16, "gelu", gated=True).multiply_adds(3, 5)
    assert gated == Counter({"feed-forward": 3 * 3 * 8 * 16, "elementwise": 3 * 16})
    assert PositionBias(2, bidirectional=True, stddev=1.0).multiply_adds(3, 5) == Counter()
    assert Embedding(100, 8).multiply_adds(3, 5) == Counter({"embedding": (3 + 5) * 100 * 8})
    logits = Logits(100, 8, tied=True, scaled=True).multiply_adds(3, 5)
    assert logits == Counter({"logits": 3 * 100 * 8, "elementwise": 3 * 100})


def test_a_stack_multiplies_its_block_by_its_layers():
    one, two, three = (
        build_spec("transformer", parse_name(f"tiny-el{layers}")).encoder.multiply_adds(7, 7) for layers in (1, 2, 3)
    )
    for component in ("attention projections", "attention scores", "feed-forward"):
        assert (two[component], three[component]) == (2 * one[component], 3 * one[component])
    assert three["elementwise"] - two["elementwise"] == two["elementwise"] - one["elementwise"] == 2 * 4 * 7 * 256


def test_glu_activation_does_not_change_the_cost_of_attention():
    shape = parse_name("tiny")
    plain, gated = (build_spec(name, shape).multiply_adds(512, 114) for name in ("transformer", "glu"))
    for component in ("attention projections", "attention scores", "embedding", "logits"):
        assert plain[component] == gated[component]
    assert gated["feed-forward"] * 2 == plain["feed-forward"] * 3
