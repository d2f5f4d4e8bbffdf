"""MLP-Mixer, from tokens to logits, against its definition in NumPy."""

import keras
import numpy as np
import pytest

from scalecli.errors import ConfigurationError
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle
from tests.xla import either_way, use_xla

POSITIONS, TARGETS = 16, 8


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(oracle.small_spec("mixer", positions=POSITIONS))
    random = np.random.default_rng(0)
    for variable in model.variables:  # norms away from one
        variable.assign(variable + 0.2 * random.normal(size=variable.shape).astype("float32"))
    return model


@pytest.fixture
def batch():
    random = np.random.default_rng(1)
    batch = {"inputs": random.integers(2, 128, (3, POSITIONS)), "targets": random.integers(2, 128, (3, TARGETS))}
    batch["inputs"][1, 9:] = batch["inputs"][2, 12:] = batch["targets"][1, 5:] = 0
    return {side: ids.astype("int32") for side, ids in batch.items()}


def gelu(x):
    """The tanh approximation (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def rms_norm(x, scale):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def softmax(scores):
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


class Reference:
    """One example at a time, without padding but for the encoder's rows that mixing needs; float64."""

    def __init__(self, model):
        self.weights = {path: np.asarray(value, "float64") for path, value in model.weights_by_path().items()}
        self.layers, self.heads, self.d_kv = 2, 4, 8

    def layer(self, side, sublayer, layer):
        prefix = f"{side}/0/{sublayer}/"
        return {path.removeprefix(prefix): w[layer] for path, w in self.weights.items() if path.startswith(prefix)}

    def encoder(self, inputs):
        """Tolstikhin et al. 2021, equation 1: U = X + W_2 gelu(W_1 norm(X)), then a feed-forward layer."""
        length = len(inputs)
        x = self.weights["embedding/table"][inputs]
        for layer in range(self.layers):
            w = self.layer("encoder", "mixing", layer)
            table = np.zeros((POSITIONS, x.shape[1]))
            table[:length] = rms_norm(x, w["norm/scale"])
            x = x + (w["output"].T @ gelu(w["input"].T @ table))[:length]
            x = self.feed_forward("encoder", layer, x)
        return rms_norm(x, self.weights["encoder/final_norm/scale"])

    def feed_forward(self, side, layer, x):
        w = self.layer(side, "feed_forward", layer)
        return x + np.maximum(rms_norm(x, w["norm/scale"]) @ w["input"], 0) @ w["output"]

    def attention(self, sublayer, layer, x, memory=None):
        """T5's attention; among so few targets every distance has a bucket of its own."""
        w = self.layer("decoder", sublayer, layer)
        normed = rms_norm(x, w["norm/scale"])
        queries, keys, values = (
            (each @ w[name]).reshape(len(each), self.heads, self.d_kv)
            for name, each in (("query", normed), ("key", memory), ("value", memory))
            for each in [normed if each is None else each]
        )
        scores = np.einsum("qhd,khd->hqk", queries, keys)
        if memory is None:
            back = np.arange(len(x))[:, None] - np.arange(len(x))
            bias = self.weights["decoder/position_bias/table"][:, np.maximum(back, 0)]
            scores = np.where(back >= 0, scores + bias, -np.inf)
        mixed = np.einsum("hqk,khd->qhd", softmax(scores), values)
        return x + mixed.reshape(len(x), -1) @ w["output"]

    def logits(self, inputs, targets):
        table, memory = self.weights["embedding/table"], self.encoder(inputs)
        x = table[np.concatenate([[0], targets[:-1]])]
        for layer in range(self.layers):
            x = self.attention("self_attention", layer, x)
            x = self.attention("cross_attention", layer, x, memory)
            x = self.feed_forward("decoder", layer, x)
        return rms_norm(x, self.weights["decoder/final_norm/scale"]) * table.shape[1] ** -0.5 @ table.T


@either_way
@pytest.mark.parametrize("length", [POSITIONS, 12], ids=["full", "shorter"])
def test_logits_are_those_of_the_definition(model, batch, length, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    batch["inputs"] = batch["inputs"][:, :length]
    found = np.asarray(compiled(model, model)(batch))
    reference = Reference(model)
    for logits, inputs, targets in zip(found, *batch.values(), strict=True):
        inputs, targets = inputs[inputs > 0], targets[targets > 0]
        np.testing.assert_allclose(logits[: len(targets)], reference.logits(inputs, targets), atol=1e-4)


def test_inputs_beyond_the_positions_are_refused(model):
    longer = {"inputs": np.ones((1, POSITIONS + 1), "int32"), "targets": np.ones((1, 4), "int32")}
    with pytest.raises(ConfigurationError, match="matrices for 16 input positions, and the inputs are 17 long"):
        model(longer)


def test_bfloat16_is_near_float32(model, batch):
    narrow = EncoderDecoder(model.spec, precision="bfloat16")
    for path, variable in narrow.weights_by_path().items():
        variable.assign(model.weights_by_path()[path])
    real = batch["targets"] > 0
    found, expected = (np.asarray(compiled(each, each)(batch))[real] for each in (narrow, model))
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())
