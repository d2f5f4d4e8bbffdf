"""Numbers from the papers' original code, where the environment says that they lie; else the tests of them skip."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest

FOLDER = os.environ.get("SCALECLI_TEST_ORACLE")
needs_oracle = pytest.mark.skipif(FOLDER is None, reason="SCALECLI_TEST_ORACLE names no folder of original figures")

_SUBLAYERS = {
    "SelfAttention": "self_attention",
    "EncDecAttention": "cross_attention",
    "DenseReluDense": "feed_forward",
}
_NAMES = {"q": "query", "k": "key", "v": "value", "o": "output", "wo/kernel": "output"}


def load(name):
    return np.load(Path(FOLDER) / name)


def shape_of_oracle(layers=2):
    from scalecli.shape import Shape

    return Shape(layers, layers, d_model=32, d_ff=64, d_kv=8, heads=4, vocabulary=128)


def spec_of(name):
    """The spec of a fixture: the two architectures, and the two other combinations of feed-forward and logits."""
    from scalecli.architectures import build_spec

    transformer, glu = (build_spec(architecture, shape_of_oracle()) for architecture in ("transformer", "glu"))
    return {
        "vanilla_t5v1": transformer,
        "vanilla_t5v1_packed": transformer,
        "t5v11_geglu_untied": glu,
        "geglu_tied": dataclasses.replace(glu, logits=transformer.logits),
        "relu_untied": dataclasses.replace(transformer, logits=glu.logits),
    }[name]


def stacked(arrays, prefix, spec):
    """The fixture's arrays of one kind (`var:` or `grad:`) by the paths of `spec.weights()`, layers stacked."""
    per_layer = {}
    for key in arrays:
        if key.startswith(prefix):
            path, layer = translate(key.removeprefix(prefix), gated="wi_0" in " ".join(arrays))
            per_layer.setdefault(path, {})[layer] = arrays[key]
    assert set(per_layer) == set(spec.weights())
    return {
        path: np.stack([copies[layer] for layer in range(layers)]) if layers else copies[0]
        for path, (layers, _) in spec.weights().items()
        for copies in [per_layer[path]]
    }


def translate(name, gated):
    """Mesh-TensorFlow's name of a variable -> (our path, layer)."""
    fixed = {"shared/embedding": "embedding/table", "decoder/logits/kernel": "logits/kernel"}
    if name in fixed:
        return fixed[name], 0
    if match := re.fullmatch(r"(encoder|decoder)/rms_norm/scale", name):
        return f"{match[1]}/final_norm/scale", 0
    if match := re.fullmatch(r"(encoder|decoder)/block_000/layer_000/SelfAttention/relative_attention_bias", name):
        return f"{match[1]}/position_bias/table", 0
    side, block, number, kind, rest = re.fullmatch(r"(\w+)/block_(\d+)/layer_(\d+)/(\w+)/(.+)", name).groups()
    if kind == "rms_norm":
        order = ["self_attention", "cross_attention", "feed_forward"]
        if side == "encoder":
            order.remove("cross_attention")
        return f"{side}/0/{order[int(number)]}/norm/scale", int(block)
    ours = _NAMES.get(rest) or {"wi/kernel": "input", "wi_0/kernel": "gate", "wi_1/kernel": "input"}[rest]
    return f"{side}/0/{_SUBLAYERS[kind]}/{ours}", int(block)
