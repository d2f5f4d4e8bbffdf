"""Weights and multiply-adds of each layer by hand: 3 positions of its own, 5 of the encoder's."""

from collections import Counter

import pytest

from scalecli.specs import (
    Attention,
    Convolution,
    ConvolutionBranch,
    Embedding,
    FeedForward,
    GatedLinearUnit,
    LayerNorm,
    LinearAttention,
    LocalConvolution,
    Logits,
    MixtureOfExperts,
    MixtureOfSoftmaxes,
    Norm,
    Parallel,
    PatchEmbedding,
    PositionBias,
    Recurrence,
    SeparableConvolution,
    TokenMixing,
    TransformGates,
)

QUERIES, MEMORY = 3, 5
SELF, CROSS = Attention(8, heads=2, d_kv=3), Attention(8, heads=2, d_kv=3, cross=True)
BRANCH = ConvolutionBranch(
    8,
    left=Convolution(8, 32, taps=1),
    right=Convolution(8, 4, taps=3),
    output=SeparableConvolution(32, 4, taps=9),
    activated=("left", "right"),
)
COSTS = {
    "norm": (Norm(8), {"elementwise": 4 * 3 * 8}),
    "layer norm": (LayerNorm(8), {"elementwise": 4 * 3 * 8}),
    # Four projections of 8 x 6; scores and weighted values 3 x 3 x 6 each.
    "self-attention": (SELF, {"attention projections": 4 * 3 * 8 * 6, "attention scores": 2 * 3 * 3 * 6}),
    # Query and output on 3 positions, key and value on 5.
    "cross-attention": (
        CROSS,
        {"attention projections": 2 * 3 * 8 * 6 + 2 * 5 * 8 * 6, "attention scores": 2 * 3 * 5 * 6},
    ),
    # Keys and values of one head; the scores of two.
    "shared heads": (
        Attention(8, heads=2, d_kv=3, shared_heads=True),
        {"attention projections": 2 * 3 * 8 * 6 + 2 * 3 * 8 * 3, "attention scores": 2 * 3 * 3 * 6},
    ),
    "tied keys and values": (
        Attention(8, heads=2, d_kv=3, tied_key_values=True),
        {"attention projections": 3 * 3 * 8 * 6, "attention scores": 2 * 3 * 3 * 6},
    ),
    "both": (
        Attention(8, heads=2, d_kv=3, shared_heads=True, tied_key_values=True),
        {"attention projections": 2 * 3 * 8 * 6 + 3 * 8 * 3, "attention scores": 2 * 3 * 3 * 6},
    ),
    # The queries' scaling; biases are added.
    "scaled attention with biases": (
        Attention(8, heads=2, d_kv=3, biases=True, scaled=True),
        {
            **{"attention projections": 4 * 3 * 8 * 6, "attention scores": 2 * 3 * 3 * 6},
            "products": 3 * 6,
        },
    ),
    # d_kv x d_kv sums of each head, made and used at each position.
    "linear attention": (
        LinearAttention(8, heads=2, d_kv=3),
        {"attention projections": 4 * 3 * 8 * 6, "attention scores": 2 * 3 * 2 * 3 * 3, "products": 2 * 3 * 6},
    ),
    # And softmax-like scores inside a chunk, here of all 3 positions.
    "causal linear attention": (
        LinearAttention(8, heads=2, d_kv=3, causal=True),
        {
            **{"attention projections": 4 * 3 * 8 * 6, "attention scores": 2 * 3 * 2 * 3 * 3 + 2 * 3 * 3 * 6},
            "products": 2 * 3 * 6,
        },
    ),
    "parallel": (
        Parallel((("self_attention", SELF), ("cross_attention", CROSS))),
        {"attention projections": 6 * 3 * 8 * 6 + 2 * 5 * 8 * 6, "attention scores": 2 * 3 * (3 + 5) * 6},
    ),
    "position bias": (PositionBias(2, bidirectional=True, stddev=1.0), {}),
    "feed-forward": (FeedForward(8, 16), {"feed-forward": 2 * 3 * 8 * 16}),
    # The gate's product, and three of the tanh approximation.
    "gated feed-forward": (
        FeedForward(8, 16, "gelu", gated=True),
        {"feed-forward": 3 * 3 * 8 * 16, "products": 4 * 3 * 16},
    ),
    "feed-forward with biases": (
        FeedForward(8, 16, "erf_gelu", biases=True),
        {"feed-forward": 2 * 3 * 8 * 16, "products": 3 * 3 * 16},
    ),
    # 2 experts with 5 places for each 8 tokens, so 4 for 3 tokens. Places in the queue: a product with 8 x 8 ones.
    "experts": (
        MixtureOfExperts(8, 16, experts=2, group=8),
        {"router": 3 * 8 * 2, "feed-forward": 2 * 4 * 8 * 16, "dispatch": 2 * 4 * 8 * 8 + 3 * 8 * 2},
    ),
    "token mixing": (TokenMixing(8, 16, positions=4), {"token mixing": 2 * 3 * 16 * 8}),
    "gated linear unit": (GatedLinearUnit(8), {"convolutions": 2 * 3 * 8 * 8, "elementwise": 3 * 8}),
    # The unit's two matrices, the dense layer, the output projection.
    "lightweight convolution": (
        LocalConvolution(8, taps=7),
        {"convolutions": 4 * 3 * 8 * 8, "elementwise": (1 + 7) * 3 * 8},
    ),
    # And one matrix for each predicted tap.
    "dynamic convolution": (
        LocalConvolution(8, taps=7, dynamic=True),
        {"convolutions": (4 + 7) * 3 * 8 * 8, "elementwise": (1 + 7) * 3 * 8},
    ),
    "dense convolution": (Convolution(8, 4, taps=1), {"convolutions": 3 * 8 * 4}),
    "wide convolution": (Convolution(8, 4, taps=3), {"wide convolutions": 3 * 3 * 8 * 4}),
    "separable convolution": (
        SeparableConvolution(8, 4, taps=5),
        {"convolutions": 3 * 8 * 4, "elementwise": 5 * 3 * 8},
    ),
    # The branch's norm is as wide as its wider side.
    "convolution branch": (
        BRANCH,
        {
            **{"convolutions": 3 * 8 * 32 + 3 * 32 * 4, "wide convolutions": 3 * 3 * 8 * 4},
            "elementwise": 4 * 3 * 32 + 9 * 3 * 32,
        },
    ),
    "transform gates": (TransformGates(8), {"recurrence": 2 * 3 * 8 * 8, "elementwise": 10 * 3 * 8}),
    "act": (Recurrence(8, steps=3, type="act"), {"recurrence": 3 * 8, "elementwise": 2 * 3 * 8}),
    "highway": (Recurrence(8, steps=3, type="highway"), {"recurrence": 3 * 3 * 8 * 8, "elementwise": 2 * 3 * 8}),
    "basic": (Recurrence(8, steps=3, type="basic"), {}),
    "embedding": (Embedding(100, 8), {"embedding": (3 + 5) * 100 * 8}),
    "factorised embedding": (
        Embedding(100, 8, size=2),
        {"embedding": (3 + 5) * 100 * 2, "embedding projections": (3 + 5) * 2 * 8},
    ),
    # The loss picks its target by a one-hot product.
    "logits": (Logits(100, 8, tied=True, scaled=True), {"logits": 3 * 100 * 8, "products": 3 * 100}),
    "classes": (Logits(10, 8, tied=False, scaled=False, biased=True), {"logits": 3 * 10 * 8, "products": 3 * 10}),
    # Of images as large as they are, whatever the lengths: 9 patches of 3 x 2 x 2 numbers.
    "patches": (PatchEmbedding(8, image_size=6, patch_size=2), {"embedding projections": 9 * 12 * 8}),
    "factorised logits": (
        Logits(100, 8, tied=True, scaled=True, embedding_size=2),
        {"logits": 3 * 100 * 2, "embedding projections": 3 * 2 * 8, "products": 3 * 100},
    ),
    # For each softmax its context, its prior and its product with the embedding.
    "mixture of softmaxes": (
        MixtureOfSoftmaxes(100, 8, softmaxes=4),
        {"logits": 3 * 4 * (8 * 8 + 8 + 8 * 100), "products": 3 * 100},
    ),
}
PARAMETERS = {
    **{"norm": 8, "layer norm": 2 * 8, "self-attention": 4 * 8 * 6, "cross-attention": 4 * 8 * 6},
    **{"shared heads": 2 * 8 * 6 + 2 * 8 * 3, "tied keys and values": 3 * 8 * 6, "both": 2 * 8 * 6 + 8 * 3},
    **{"linear attention": 4 * 8 * 6, "causal linear attention": 4 * 8 * 6, "parallel": 8 * 8 * 6},
    **{"position bias": 2 * 32, "feed-forward": 2 * 8 * 16, "gated feed-forward": 3 * 8 * 16},
    **{"experts": 8 * 2 + 2 * 2 * 8 * 16, "token mixing": 2 * 4 * 16, "gated linear unit": 2 * (8 * 8 + 8)},
    "scaled attention with biases": 4 * 8 * 6 + 3 * 6 + 8,
    **{"feed-forward with biases": 2 * 8 * 16 + 16 + 8, "classes": 8 * 10 + 10, "patches": 12 * 8 + 8 + 8 + 10 * 8},
    "lightweight convolution": 4 * 8 * 8 + 5 * 8 + 7 * 8,
    "dynamic convolution": 4 * 8 * 8 + 5 * 8 + 7 * (8 * 8 + 8),
    **{"dense convolution": 8 * 4, "wide convolution": 3 * 8 * 4, "separable convolution": 5 * 8 + 8 + 8 * 4 + 4},
    "convolution branch": 8 * 32 + 3 * 8 * 4 + 2 * 32 + (9 * 32 + 32 + 32 * 4 + 4),
    **{"transform gates": 2 * 8 + 2 * (8 * 8 + 8), "act": 8 + 1, "highway": 3 * (3 * 8 * 8 + 8), "basic": 0},
    **{"embedding": 100 * 8, "factorised embedding": 100 * 2 + 2 * 8, "logits": 0, "factorised logits": 0},
    "mixture of softmaxes": 4 * 8 * 8 + 4 * 8,
}


@pytest.mark.parametrize(("layer", "expected"), COSTS.values(), ids=COSTS)
def test_multiply_adds(layer, expected):
    assert layer.multiply_adds(QUERIES, MEMORY) == Counter(expected)


@pytest.mark.parametrize("name", COSTS)
def test_parameters(name):
    assert sum(weight.size for weight in COSTS[name][0].weights().values()) == PARAMETERS[name]


@pytest.mark.parametrize("name", COSTS)
def test_activations_are_whole_and_grow_with_the_length(name):
    layer, _ = COSTS[name]
    one, two = layer.activations(QUERIES, MEMORY), layer.activations(QUERIES + 1, MEMORY)
    assert set(one) <= {"compute", "float32", "bool"}
    for dtype, count in one.items():
        assert type(count) is int and 0 <= count <= two[dtype]


def test_untied_logits_have_a_matrix():
    assert Logits(100, 8, tied=False, scaled=False).weights()["kernel"].shape == (8, 100)


@pytest.mark.parametrize(
    ("experts", "group", "training", "places"),
    [(32, 1024, True, 40), (32, 1024, False, 64), (1, 1024, True, 1024), (3, 1024, True, 426), (512, 1024, True, 4)],
)
def test_places_of_an_expert(experts, group, training, places):
    assert MixtureOfExperts(8, 16, experts).capacity(group, training) == places
