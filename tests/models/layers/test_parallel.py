"""Branches side by side against the same layers by themselves."""

import keras
import numpy as np
import pytest

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers import LAYERS, Context
from scalecli.models.layers.parallel import weights_of

BATCH, LENGTH, MEMORY, WIDTH = 2, 5, 7, 12
BRANCHES = {
    "self_attention": specs.Attention(WIDTH, heads=4, d_kv=3, causal=True),
    "cross_attention": specs.Attention(WIDTH, heads=2, d_kv=3, cross=True),
    "convolution": specs.LocalConvolution(WIDTH, taps=3, causal=True),
}
SPEC = specs.Parallel(tuple(BRANCHES.items()))


@pytest.fixture
def inputs():
    random = np.random.default_rng(0)

    def tensor(*shape):
        return keras.ops.convert_to_tensor(random.normal(size=shape).astype("float32"))

    causal = np.where(np.tril(np.ones((LENGTH, LENGTH))), 0, -1e9).astype("float32")
    context = Context(
        position_biases={4: tensor(1, 4, LENGTH, LENGTH)},
        self_mask=keras.ops.convert_to_tensor(causal[None, None]),
        tokens=keras.ops.ones((BATCH, LENGTH, 1)),
        memory=tensor(BATCH, MEMORY, WIDTH),
        cross_mask=keras.ops.zeros((BATCH, 1, 1, MEMORY)),
    )
    return tensor(BATCH, LENGTH, WIDTH), context


def parallel(**options):
    layer = LAYERS[specs.Parallel](SPEC, **options)
    random = np.random.default_rng(1)
    for weight in layer.owned.values():
        weight.assign(0.3 * random.normal(size=weight.shape).astype("float32"))
    return layer


def test_the_output_is_the_sum_over_the_branches(inputs):
    x, context = inputs
    layer = parallel()
    weights = layer.weights_for_compute()
    found = layer(weights, x, context=context, dropout=Dropout(0.0))
    alone = {name: LAYERS[type(spec)](spec) for name, spec in BRANCHES.items()}
    outputs = [
        np.asarray(each(weights_of(name, weights), x, context=context, dropout=Dropout(0.0)))
        for name, each in alone.items()
    ]
    np.testing.assert_allclose(np.asarray(found), sum(outputs), atol=1e-5)
    assert all(np.abs(output).max() > 0.1 for output in outputs)


def test_token_by_token_is_the_whole_sequence(inputs):
    x, context = inputs
    layer = parallel()
    weights = layer.weights_for_compute()
    whole = np.asarray(layer(weights, x, context=context, dropout=Dropout(0.0)))
    constants, state = layer.constants(weights, context), layer.initial_state(BATCH, LENGTH, "float32")
    assert set(constants) == set(state) == set(BRANCHES)
    for position in range(LENGTH):
        now = slice(position, position + 1)
        of_token = Context(
            position_biases={4: (context.position_biases[4] + context.self_mask)[:, :, now]},
            self_mask=context.self_mask[:, :, now],
            tokens=context.tokens[:, now],
            cross_mask=context.cross_mask,
            position=position,
        )
        output, state = layer.step(weights, x[:, now], constants, state, of_token)
        np.testing.assert_allclose(np.asarray(output)[:, 0], whole[:, position], atol=1e-5)


def test_the_weights_are_the_layers_own_and_counted_once():
    layer = parallel(layers=3)
    assert set(layer.owned) == {f"{name}/{each}" for name, spec in BRANCHES.items() for each in spec.weights()}
    assert len(layer.variables) == len(layer.owned)
    assert layer.count_params() == 3 * sum(weight.size for weight in SPEC.weights().values())
    borrower = LAYERS[specs.Parallel](SPEC, tied_to=layer)
    assert all(borrower.owned[name] is weight for name, weight in layer.owned.items())


def test_branches_drop_different_units(inputs):
    """Two branches alike, with the same weights, would otherwise give twice the same."""
    x, context = inputs
    attention = BRANCHES["cross_attention"]
    layer = LAYERS[specs.Parallel](specs.Parallel((("one", attention), ("other", attention))))
    weights = LAYERS[specs.Attention](attention).weights_for_compute()
    twice = {f"{name}/{each}": weight for name in ("one", "other") for each, weight in weights.items()}
    dropout = Dropout(0.5, keras.ops.convert_to_tensor(1, "int32"))
    both = np.asarray(layer(twice, x, context=context, dropout=dropout))
    first = np.asarray(layer.branches["one"](weights, x, context=context, dropout=dropout.at(0)))
    assert np.abs(both - 2 * first).max() > 0.01
