"""Convolutions against sums over taps in NumPy, and decoded token by token."""

import keras
import numpy as np
import pytest

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers import LAYERS, Context
from scalecli.models.layers.convolutions import depthwise, dynamic_depthwise

BATCH, LENGTH, WIDTH = 2, 9, 6
RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
# As in a decoder, which starts with token 0; the second row also has padding at its end.
TOKENS = np.ones((BATCH, LENGTH, 1), "float32")
TOKENS[:, 0] = TOKENS[1, 6:] = 0
NO_DROPOUT = Dropout(0.0)

either_depthwise = pytest.mark.parametrize("xla", [True, False], ids=["sum", "convolution"])


@pytest.fixture
def use(monkeypatch):
    return lambda xla: monkeypatch.setattr("scalecli.models.layers.convolutions.uses_xla", lambda: xla)


def name_of(spec):
    kind = "branch" if isinstance(spec, specs.ConvolutionBranch) else "dynamic" if spec.dynamic else "light"
    return f"{kind}-{'causal' if spec.causal else 'centred'}"


def separable(outputs, taps, inputs=WIDTH):
    return specs.SeparableConvolution(inputs, outputs, taps)


def branch(causal):
    """The two kinds of convolutions, of unequal taps and widths; the widths to be padded."""
    return specs.ConvolutionBranch(
        WIDTH,
        left=separable(10, taps=5) if causal else specs.Convolution(WIDTH, 10, taps=1),
        right=separable(3, taps=3) if causal else specs.Convolution(WIDTH, 3, taps=3),
        output=separable(4, taps=3, inputs=10),
        activated=("left",) if causal else ("left", "right"),
        causal=causal,
    )


LOCAL = [specs.LocalConvolution(WIDTH, 5, causal, dynamic) for causal in (False, True) for dynamic in (False, True)]
ALL = [*LOCAL, branch(causal=False), branch(causal=True)]
CAUSAL = [spec for spec in LOCAL if spec.causal] + [specs.LocalConvolution(WIDTH, 1, causal=True), branch(causal=True)]


def layer_of(spec, **options):
    layer = LAYERS[type(spec)](spec, **options)
    random = np.random.default_rng(1)
    for weight in layer.owned.values():
        weight.assign(random.normal(size=weight.shape).astype("float32"))
    return layer


def call(layer, x=X, tokens=TOKENS, dropout=NO_DROPOUT):
    context = Context(tokens=keras.ops.convert_to_tensor(tokens))
    x = keras.ops.cast(x, layer.compute_dtype)
    return layer(layer.weights_for_compute(), x, context=context, dropout=dropout)


def shapes(state):
    return {name: tuple(window.shape) for name, window in state.items()}


def seen(x, taps, causal):
    """What each tap sees of [batch, length, width], zeros beyond the ends: [taps, batch, length, width]."""
    before = taps - 1 if causal else taps // 2
    padded = np.pad(x, ((0, 0), (before, taps - 1 - before), (0, 0)))
    return np.stack([padded[:, tap : tap + x.shape[1]] for tap in range(taps)])


def gated_unit(x, w, prefix=""):
    linear = x @ w[f"{prefix}linear"] + w[f"{prefix}linear_bias"]
    return linear / (1 + np.exp(-(x @ w[f"{prefix}gate"] + w[f"{prefix}gate_bias"])))


def local_convolution(spec, w, x, tokens):
    """Wu et al. 2019, sections 3 and 4."""
    gated = gated_unit(x, w, "gated/")
    scores = np.expand_dims(w["taps"], (1, 2))
    if spec.dynamic:
        scores = np.einsum("bld,tde->tble", gated, w["taps"]) + np.expand_dims(w["taps_bias"], (1, 2))
    taps = np.exp(scores) / np.exp(scores).sum(0)
    mixed = (seen(gated * tokens, spec.taps, spec.causal) * taps).sum(0) + w["depthwise_bias"]
    return (mixed @ w["pointwise"] + w["pointwise_bias"]) @ w["output"] + w["output_bias"]


def convolution_branch(spec, w, x, tokens):
    """So et al. 2019, Figure 3."""

    def convolved(name, x):
        each = getattr(spec, name)
        around = seen(x * tokens, each.taps, spec.causal)
        if isinstance(each, specs.Convolution):
            output = np.einsum("tbli,tio->blo", around, w[f"{name}/kernel"])
        else:
            mixed = np.einsum("tbli,ti->bli", around, w[f"{name}/taps"]) + w[f"{name}/taps_bias"]
            output = mixed @ w[f"{name}/kernel"] + w[f"{name}/bias"]
        return np.maximum(output, 0) if name in spec.activated else output

    hidden = convolved("left", x)
    hidden[..., : spec.right.outputs] += convolved("right", x)
    normed = (hidden - hidden.mean(-1, keepdims=True)) / np.sqrt(hidden.var(-1, keepdims=True) + 1e-6)
    output = convolved("output", normed * w["inner_norm/scale"] + w["inner_norm/bias"])
    return np.pad(output, ((0, 0), (0, 0), (0, spec.d_model - output.shape[-1])))


@either_depthwise
@pytest.mark.parametrize("taps", [1, 3, 7])
def test_depthwise_is_the_sum_over_taps(taps, xla, use):
    use(xla)
    weights = RANDOM.normal(size=(taps, WIDTH)).astype("float32")
    found = depthwise(keras.ops.convert_to_tensor(X), keras.ops.convert_to_tensor(weights))
    expected = sum(X[:, tap : tap + LENGTH - taps + 1] * weights[tap] for tap in range(taps))
    np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)


def test_predicted_taps_of_any_size_are_shares():
    """Only the largest tap counts where it is far above the others, at whatever level."""
    logits = np.full((3, BATCH, LENGTH - 2, WIDTH), 5e4, "float32")
    logits[1] += 200
    found = dynamic_depthwise(keras.ops.convert_to_tensor(X), [keras.ops.convert_to_tensor(each) for each in logits])
    np.testing.assert_allclose(np.asarray(found), X[:, 1:-1], rtol=1e-6)


def test_gated_linear_unit():
    layer = layer_of(specs.GatedLinearUnit(WIDTH))
    weights = {name: np.asarray(weight, "float64") for name, weight in layer.owned.items()}
    np.testing.assert_allclose(np.asarray(call(layer)), gated_unit(X, weights), atol=1e-5)


@either_depthwise
@pytest.mark.parametrize("spec", ALL, ids=name_of)
def test_layers_are_their_definitions(spec, xla, use):
    use(xla)
    layer = layer_of(spec)
    weights = {name: np.asarray(weight, "float64") for name, weight in layer.owned.items()}
    definition = convolution_branch if isinstance(spec, specs.ConvolutionBranch) else local_convolution
    np.testing.assert_allclose(np.asarray(call(layer)), definition(spec, weights, X, TOKENS), atol=1e-4)


@pytest.mark.parametrize("spec", ALL, ids=name_of)
def test_a_position_is_seen_as_far_as_the_taps_reach(spec):
    layer, position = layer_of(spec), 4
    moved = X.copy()
    moved[:, position] += 1
    tokens = np.ones_like(TOKENS)
    changed = np.abs(np.asarray(call(layer, moved, tokens)) - np.asarray(call(layer, X, tokens))).max((0, 2)) > 1e-6
    if isinstance(spec, specs.ConvolutionBranch):  # one convolution behind the other
        around = max(spec.left.taps, spec.right.taps) + spec.output.taps - 2
    else:
        around = spec.taps - 1
    first, last = (position, position + around) if spec.causal else (position - around // 2, position + around // 2)
    np.testing.assert_array_equal(np.flatnonzero(changed), np.arange(first, min(last + 1, LENGTH)))


@either_depthwise
@pytest.mark.parametrize("spec", CAUSAL, ids=name_of)
def test_token_by_token_is_the_whole_sequence(spec, xla, use):
    use(xla)
    layer = layer_of(spec)
    weights, whole = layer.weights_for_compute(), np.asarray(call(layer))
    state = layer.initial_state(BATCH, LENGTH, "float32")
    assert shapes(layer.initial_state(BATCH, 1000, "float32")) == shapes(state)
    for position in range(LENGTH):
        context = Context(tokens=keras.ops.convert_to_tensor(TOKENS[:, position : position + 1]), position=position)
        x = keras.ops.convert_to_tensor(X[:, position : position + 1])
        output, after = layer.step(weights, x, {}, state, context)
        np.testing.assert_allclose(np.asarray(output)[:, 0], whole[:, position], atol=1e-5)
        assert shapes(after) == shapes(state)
        state = after


@either_depthwise
@pytest.mark.parametrize("spec", ALL, ids=name_of)
def test_bfloat16_is_near_float32(spec, xla, use):
    use(xla)
    wide, narrow = (layer_of(spec, dtype=dtype) for dtype in ("float32", "mixed_bfloat16"))
    expected, found = np.asarray(call(wide)), call(narrow)
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    np.testing.assert_allclose(
        np.asarray(keras.ops.cast(found, "float32")), expected, atol=0.03 * np.abs(expected).max()
    )


def test_dropout_is_behind_both_convolutions_of_a_branch():
    """Where all but nothing of them is left, the branch no longer depends on its input."""
    layer = layer_of(branch(causal=True))
    seed = keras.ops.convert_to_tensor(3, "int32")
    one, other = (np.asarray(call(layer, x, dropout=Dropout(1 - 1e-7, seed))) for x in (X, -X))
    np.testing.assert_array_equal(one, other)
    kept = np.asarray(call(layer, dropout=Dropout(0.0, seed)))
    np.testing.assert_array_equal(kept, np.asarray(call(layer)))
    assert np.abs(kept - one).max() > 0.1
