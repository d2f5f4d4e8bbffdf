"""Linear attention against the quadratic sum that it stands for, in NumPy."""

from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers import LAYERS, Context

BATCH, LENGTH, WIDTH = 2, 10, 12
SPEC = specs.LinearAttention(WIDTH, heads=3, d_kv=4, chunk=4)


def expected(spec, weights, x, real):
    """The definition, one query at a time (Choromanski et al. 2021, equations 3 to 5 with their ReLU kernel)."""
    names = ["key_value"] * 2 if spec.tied_key_values else ["key", "value"]
    queries = (x @ weights["query"]).reshape(BATCH, LENGTH, spec.heads, spec.d_kv)
    keys, values = ((x @ weights[name]).reshape(BATCH, LENGTH, spec.key_heads, spec.d_kv) for name in names)
    output = np.zeros((BATCH, LENGTH, spec.heads, spec.d_kv))
    for row, place, head in np.ndindex(BATCH, LENGTH, spec.heads):
        shares, mixed = 0.0, np.zeros(spec.d_kv)
        for other in range(place + 1 if spec.causal else LENGTH):
            own = 0 if spec.shared_heads else head
            query, key = queries[row, place, head], keys[row, other, own]
            share = (np.maximum(query, 0) + 1e-3) @ (np.maximum(key, 0) + 1e-3) * real[row, other]
            shares, mixed = shares + share, mixed + share * values[row, other, own]
        output[row, place, head] = mixed / shares
    return output.reshape(BATCH, LENGTH, -1) @ weights["output"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sharing", [{}, {"shared_heads": True}, {"tied_key_values": True}])
def test_it_is_the_quadratic_sum(causal, sharing):
    spec = replace(SPEC, causal=causal, **sharing)
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=weight.shape).astype("float32") for name, weight in spec.weights().items()}
    x = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
    real = np.ones((BATCH, LENGTH), "float32")
    real[1, 6:] = 0
    layer = LAYERS[specs.LinearAttention](spec)
    context = Context(real=ops.convert_to_tensor(real[..., None]))
    found = np.array(layer(weights, ops.convert_to_tensor(x), context=context, dropout=Dropout(0.0)))
    np.testing.assert_allclose(found, expected(spec, weights, x, real), rtol=1e-4, atol=1e-4)


def test_decoding_keeps_no_more_than_two_sums():
    layer = LAYERS[specs.LinearAttention](replace(SPEC, causal=True))
    few, many = (layer.initial_state(BATCH, length, "float32") for length in (4, 4000))
    assert {name: tuple(each.shape) for name, each in few.items()} == {
        "sums": (BATCH, 3, 4, 4),
        "keys": (BATCH, 3, 1, 4),
    }
    assert {name: each.shape for name, each in few.items()} == {name: each.shape for name, each in many.items()}


def test_a_sequence_of_padding_gives_zeros_and_no_nan():
    layer = LAYERS[specs.LinearAttention](SPEC)
    context = Context(real=ops.zeros((BATCH, LENGTH, 1)))
    x = ops.ones((BATCH, LENGTH, WIDTH))
    found = np.array(layer(layer.weights_for_compute(), x, context=context, dropout=Dropout(0.0)))
    np.testing.assert_array_equal(found, np.zeros_like(found))
