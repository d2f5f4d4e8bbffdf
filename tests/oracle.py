"""Numbers from the papers' original code, where the environment says that they lie; else the tests of them skip."""

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest

FOLDER = os.environ.get("SCALECLI_TEST_ORACLE")
needs_oracle = pytest.mark.skipif(FOLDER is None, reason="SCALECLI_TEST_ORACLE names no folder of original figures")

# Fixture -> architecture, and what its shape has beyond `shape_of_oracle`.
ARCHITECTURE_OF = {
    "vanilla_t5v1": ("transformer", {}),
    "t5v11_geglu_untied": ("glu", {}),
    "geglu_tied": ("glu", {}),
    "relu_untied": ("transformer", {}),
    "evolved": ("evolved", {}),
    "ut_basic": ("universal", {"layers": 1, "recurrence": 3, "recurrence_type": "basic"}),
    "ut_act": ("universal", {"layers": 1, "recurrence": 3, "recurrence_type": "act"}),
    "ut_highway": ("universal", {"layers": 1, "recurrence": 3, "recurrence_type": "highway"}),
    "ut_basic_gated": ("universal", {"layers": 1, "recurrence": 3, "recurrence_type": "gated"}),
    "switch": ("switch", {"experts": 4}),
    "funnel_1_1": ("funnel", {"funnel_blocks": 2}),
    "funnel_1_1_1": ("funnel", {"encoder_layers": 3, "funnel_blocks": 3}),
    "albert_encdec_shared": ("albert", {"embedding_size": 16, "shared_stacks": True}),
    "albert_encdec_separate": ("albert", {"embedding_size": 16, "shared_stacks": False}),
    "mos_tied": ("mos", {"softmaxes": 3}),
    "lconv": ("lconv", {"taps": 7}),
    "dconv": ("dconv", {"taps": 7}),
}
# One shape for each architecture, as small as a fixture's.
KNOBS = {architecture: knobs for architecture, knobs in reversed(ARCHITECTURE_OF.values())} | {
    "performer": {},
    "mixer": {"positions": 16},
    "funnel": {"encoder_layers": 4, "funnel_blocks": 2},
    "switch": {"experts": 2},  # in evaluation each has room for all tokens, so that none depends on other rows
    "universal": {"recurrence": 2, "recurrence_type": "act"},
}


def load(name):
    return np.load(Path(FOLDER) / name)


def shape_of_oracle(layers=2, **fields):
    from scalecli.shape import Shape

    plain = Shape(layers, layers, d_model=32, d_ff=64, d_kv=8, heads=4, vocabulary=128)
    return dataclasses.replace(plain, **fields)


def small_spec(architecture, **fields):
    """The spec of an architecture at a small shape."""
    from scalecli.architectures import build_spec

    return build_spec(architecture, shape_of_oracle(**{**KNOBS[architecture], **fields}))


def spec_of(name):
    """The spec of a fixture: an architecture, or one of two other combinations of feed-forward and logits."""
    from scalecli.architectures import build_spec

    name = name.removesuffix("_packed")
    architecture, knobs = ARCHITECTURE_OF[name]
    spec = build_spec(architecture, shape_of_oracle(**knobs))
    if name == "geglu_tied":
        return dataclasses.replace(spec, logits=spec_of("vanilla_t5v1").logits)
    if name == "relu_untied":
        return dataclasses.replace(spec, logits=spec_of("t5v11_geglu_untied").logits)
    return spec


def stacked(arrays, prefix, spec):
    """The fixture's arrays of one kind (`var:` or `grad:`) by the paths of `spec.weights()`, layers stacked."""
    found = {}
    gated = any("wi_0" in key for key in arrays)
    for key in arrays:
        if key.startswith(prefix):
            path, layer, part = translate(key.removeprefix(prefix), spec, gated)
            assert part not in found.setdefault(path, {}).setdefault(layer, {}), key
            found[path][layer][part] = arrays[key]
    if prefix == "var:":
        assert set(found) == set(spec.weights())
    return {
        path: np.stack([_whole(found[path][layer], weight) for layer in range(max(layers, 1))]).reshape(
            (*((layers,) if layers else ()), *weight.shape)
        )
        for path, (layers, weight) in spec.weights().items()
        if path in found
    }


def _whole(parts, weight):
    """One layer's weight from its parts: one array, or one for each tap or step."""
    return np.stack([parts[part] for part in sorted(parts)]).reshape(weight.shape)


_WHOLE = {
    "shared/embedding": "embedding/table",
    "shared/embedding1": "embedding/table",
    "shared/embedding2": "embedding/projection",
    "shared/embedding_embedding_weights": "embedding/table",
    "shared/embedding_context_weights": "logits/context",
    "shared/embedding_mixture_weights": "logits/prior",
    "decoder/logits/kernel": "logits/kernel",
}
_NORM = r"(?:rms_norm/|layer_prepostprocess/layer_norm/layer_norm_)(scale|bias)"


def translate(name, spec, gated):
    """Mesh-TensorFlow's name of a variable -> (our path, layer, part of the weight)."""
    if name in _WHOLE:
        return _WHOLE[name], 0, 0
    side, rest = name.split("/", 1)
    stack = getattr(spec, side)
    if match := re.fullmatch(_NORM, rest):
        return f"{side}/final_norm/{match[1]}", 0, 0
    if match := re.fullmatch(r"sigmoid_activation_for_pondering/\w+/(kernel|bias)", rest):
        return f"{side}/recurrence/halting{'_bias' if match[1] == 'bias' else ''}", 0, 0
    if match := re.fullmatch(r"dense(?:_(\d+))?/(kernel|bias)", rest):  # a pair of kernel and bias for each step
        return f"{side}/recurrence/gate{'_bias' if match[2] == 'bias' else ''}", 0, int(match[1] or 0) // 2
    if match := re.fullmatch(r"block_(\d+)/layer_(\d+)/(.+)", rest):
        repeat, layer, sublayer = 0, int(match[1]), stack.repeats[0].block.residuals()[int(match[2])].name
    elif match := re.fullmatch(r"funnel_block_(\d+)/param_idx_(\d+)/submodule_(\d+)/(.+)", rest):
        repeat, layer = int(match[1]), int(match[2])
        sublayer = stack.repeats[repeat].block.residuals()[int(match[3])].name
    else:  # albert: one layer of each kind
        match = re.fullmatch(r"(self_attention|enc_dec_attention|dense_relu_dense)/(.+)", rest)
        repeat, layer = 0, 0
        kinds = {"enc_dec_attention": "cross_attention", "dense_relu_dense": "feed_forward"}
        sublayer = kinds.get(match[1], match[1])
    rest = match[match.lastindex]
    if rest.endswith("relative_attention_bias"):
        wide = rest.startswith("DecoderAttentionLayer")  # twice the heads, with a table of their own
        return f"{side}/position_bias{'_2' if wide else ''}/table", 0, 0
    weight, part = _weight(rest, gated)
    return f"{side}/{repeat}/{sublayer}/{weight}", layer, part


_FIXED = {
    **{"q": "query", "k": "key", "v": "value", "o": "output"},
    **{"wi/kernel": "input", "wo/kernel": "output", "wi_0/kernel": "gate", "wi_1/kernel": "input"},
    "switch_gating/kernel": "router",
    **{"dense/kernel": "gates/transform", "dense_1/bias": "gates/transform_bias"},
    **{"dense_2/kernel": "gates/carry", "dense_3/bias": "gates/carry_bias"},
    **{f"enc_dec_attention/{name[0]}": f"cross_attention/{name}" for name in ("query", "key", "value", "output")},
    **{f"self_attention/{name[0]}": f"self_attention/{name}" for name in ("query", "key", "value", "output")},
    **{"glu_0/kernel": "linear", "glu_0/bias": "linear_bias", "glu_1/kernel": "gate", "glu_1/bias": "gate_bias"},
    **{"local_conv_inp_0/kernel": "gated/linear", "local_conv_inp_0/bias": "gated/linear_bias"},
    **{"local_conv_inp_1/kernel": "gated/gate", "local_conv_inp_1/bias": "gated/gate_bias"},
    "separable_conv1d/depthwise_conv_hack/depthwise_dense_0/bias": "depthwise_bias",
    "separable_conv1d/pointwise_dense/kernel": "pointwise",
    "separable_conv1d/pointwise_dense/bias": "pointwise_bias",
    "local_conv_attn_op_projection/kernel": "output",
    "local_conv_attn_op_projection/bias": "output_bias",
    **{"conv1x1/dense/kernel": "left/kernel", "conv3x1/conv2d/kernel": "right/kernel"},
}
_SEPARABLE = {"sep_conv11x1": "left", "sep_conv7x1_1": "right", "sep_conv7x1_2": "output", "sep_conv9x1": "output"}


def _weight(rest, gated):
    """A layer's variable -> (name of the weight, part of it)."""
    if match := re.fullmatch(_NORM, rest):
        return f"norm/{match[1]}", 0
    kind, rest = rest.split("/", 1)
    if match := re.fullmatch(_NORM, rest):
        inside = "inner_norm/" if kind.endswith("ConvolutionalLayer") else "gates/norm_"
        return f"{inside}{match[1]}", 0
    if rest in _FIXED:
        return _FIXED[rest], 0
    if match := re.fullmatch(r"(?:lightwt|dyn_conv)_depthwise_dense_(\d+)/(kernel|bias)", rest):
        return f"taps{'_bias' if match[2] == 'bias' else ''}", int(match[1])
    convolution, rest = rest.split("/separable_conv1d/")
    prefix = _SEPARABLE[convolution]
    if match := re.fullmatch(r"depthwise_conv_hack/depthwise_dense_(\d+)/(kernel|bias)", rest):
        return f"{prefix}/taps{'_bias' if match[2] == 'bias' else ''}", int(match[1])
    return f"{prefix}/{rest.removeprefix('pointwise_dense/')}", 0
