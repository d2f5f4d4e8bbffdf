"""What Mesh-TensorFlow calls the weights of a spec: the names of its variables for each of our paths.

Its library keeps every layer's weights apart, and a convolution's taps and a highway's gates as well: one of our
weights is a list of its variables for each layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch

from scalecli.errors import ConfigurationError
from scalecli.specs import (
    Attention,
    Convolution,
    ConvolutionBranch,
    EncoderDecoder,
    FeedForward,
    GatedLinearUnit,
    LayerNorm,
    LayerSpec,
    LocalConvolution,
    Logits,
    MixtureOfExperts,
    Norm,
    Parallel,
    Pooling,
    Recurrence,
    SeparableConvolution,
    Stack,
    Sublayer,
)

Names = dict[str, tuple[str, ...]]  # by our name of a weight: the variables that it is made of, in order

_ATTENTION = {"query": "q", "key": "k", "value": "v", "key_value": "kv", "output": "o"}
# Layers by their names instead of numbers: ALBERT's.
NAMED_LAYERS = {
    "self_attention": "self_attention",
    "cross_attention": "enc_dec_attention",
    "feed_forward": "dense_relu_dense",
}


def variable_names(spec: EncoderDecoder) -> dict[str, list[tuple[str, ...]]]:
    """For every path of `spec.weights()`: for each layer that has one, the variables that it is made of, in order.

    A weight that isn't stacked has one layer here.

    Raises:
        ConfigurationError: the names are not known for a layer of this architecture.
    """
    tied = isinstance(spec.logits, Logits)
    table = "embedding" if tied else "embedding_embedding_weights"
    names: dict[str, list[tuple[str, ...]]] = {
        "embedding/table": [(f"shared/{table}" if spec.embedding.size is None else "shared/embedding1",)],
        "embedding/projection": [("shared/embedding2",)],
        "logits/kernel": [("decoder/logits/kernel",)],
        "logits/context": [("shared/embedding_context_weights",)],
        "logits/prior": [("shared/embedding_mixture_weights",)],
    }
    for side in ("encoder", "decoder"):
        stack = getattr(spec, side)
        for prefix, path, sublayer in _sublayers(spec.architecture, side, stack):
            for name, variables in _sublayer_names(sublayer).items():
                own = tuple(f"{prefix}/{variable}" for variable in variables)
                names.setdefault(f"{path}/{name}", []).append(own)
        for name, variables in _stack_names(stack).items():
            names[f"{side}/{name}"] = [tuple(f"{side}/{variable}" for variable in variables)]
        for name, bias in stack.named_position_biases():
            names[f"{side}/{name}/table"] = [(_position_bias(spec.architecture, side, stack, bias.heads),)]
    return {path: names[path] for path in spec.weights()}


def _sublayers(architecture: str, side: str, stack: Stack) -> Iterator[tuple[str, str, Sublayer]]:
    """The sublayers of all layers in order: the prefix of their variables, and of our paths."""
    block, layer = -1, 0
    for number, repeat in enumerate(stack.repeats):
        if number == 0 or any(isinstance(sublayer, Pooling) for sublayer in repeat.block.sublayers):
            block, layer = block + 1, 0
        for _ in range(1 if repeat.shared else repeat.times):
            for position, sublayer in enumerate(repeat.block.residuals()):
                if repeat.shared:
                    prefix = NAMED_LAYERS[sublayer.name]
                elif architecture == "funnel" and side == "encoder":
                    prefix = f"funnel_block_{block:03d}/param_idx_{layer:03d}/submodule_{position:03d}"
                else:
                    prefix = f"block_{layer:03d}/layer_{position:03d}"
                yield f"{side}/{prefix}", f"{side}/{number}/{sublayer.name}", sublayer
            layer += 1


def _position_bias(architecture: str, side: str, stack: Stack, heads: int) -> str:
    """A stack's table of one number of heads, which belongs to the first self-attention that has as many."""
    for prefix, _, sublayer in _sublayers(architecture, side, stack):
        branches = sublayer.layer.branches if isinstance(sublayer.layer, Parallel) else (("", sublayer.layer),)
        for name, layer in branches:
            if isinstance(layer, Attention) and not layer.cross and layer.heads == heads:
                return f"{prefix}/{_scope(sublayer.layer)}{f'/{name}' if name else ''}/relative_attention_bias"
    raise ConfigurationError(f"{architecture}: no self-attention has {heads} heads")


def _sublayer_names(sublayer: Sublayer) -> Names:
    """The names of a sublayer's weights, without the sublayer's prefix."""
    scope = _scope(sublayer.layer)
    names = {f"norm/{name}": variables for name, variables in _norm_names(sublayer.norm).items()}
    names |= {name: tuple(f"{scope}/{part}" for part in parts) for name, parts in _layer_names(sublayer.layer).items()}
    if sublayer.gates is not None:
        gates = {"transform": "dense/kernel", "transform_bias": "dense_1/bias"}
        gates |= {"carry": "dense_2/kernel", "carry_bias": "dense_3/bias"}
        gates |= {
            f"norm_{name}": variable for name, (variable,) in _norm_names(LayerNorm(sublayer.gates.d_model)).items()
        }
        names |= {f"gates/{name}": (f"{scope}/{variable}",) for name, variable in gates.items()}
    return names


def _stack_names(stack: Stack) -> Names:
    """The names of a stack's final norm and recurrence."""
    names = {f"final_norm/{name}": variables for name, variables in _norm_names(stack.final_norm).items()}
    if stack.recurrence is not None:
        names |= {f"recurrence/{name}": variables for name, variables in _recurrence_names(stack.recurrence).items()}
    return names


def _norm_names(norm: Norm) -> Names:
    if isinstance(norm, LayerNorm):
        return {name: (f"layer_prepostprocess/layer_norm/layer_norm_{name}",) for name in norm.weights()}
    return {"scale": ("rms_norm/scale",)}


def _recurrence_names(recurrence: Recurrence) -> Names:
    """ACT has one halting unit; a highway has dense layers of its own for each step, kernels and biases by turns."""
    halting = "sigmoid_activation_for_pondering"
    if recurrence.type == "act":
        return {"halting": (f"{halting}/dense/kernel",), "halting_bias": (f"{halting}/dense_1/bias",)}
    if recurrence.type == "highway":
        steps = range(recurrence.steps)
        kernels = tuple(f"dense{f'_{2 * step}' if step else ''}/kernel" for step in steps)
        return {"gate": kernels, "gate_bias": tuple(f"dense_{2 * step + 1}/bias" for step in steps)}
    return {}


def _scope(layer: LayerSpec) -> str:
    """What all variables of a layer are below."""
    if isinstance(layer, Attention):
        return "EncDecAttention" if layer.cross else "SelfAttention"
    if isinstance(layer, ConvolutionBranch):
        return f"{'De' if layer.causal else 'En'}coderConvolutionalLayer"
    scopes: dict[type[LayerSpec], str] = {
        FeedForward: "DenseReluDense",
        GatedLinearUnit: "GatedLinearUnitLayer",
        LocalConvolution: "LocalConvAttnBlock",
        MixtureOfExperts: "MoE1D",
        Parallel: "DecoderAttentionLayer",
    }
    if type(layer) not in scopes:
        raise ConfigurationError(f"what Mesh-TensorFlow calls the weights of {type(layer).__name__} is not known")
    return scopes[type(layer)]


@singledispatch
def _layer_names(layer: LayerSpec) -> Names:
    """The names of a layer's weights below its scope."""
    raise ConfigurationError(f"what Mesh-TensorFlow calls the weights of {type(layer).__name__} is not known")


@_layer_names.register
def _(layer: Attention) -> Names:
    return {name: (_ATTENTION[name],) for name in layer.weights()}


@_layer_names.register
def _(layer: Parallel) -> Names:
    return {
        f"{branch}/{name}": (f"{NAMED_LAYERS[branch]}/{variable}",)
        for branch, attention in layer.branches
        for name, (variable,) in _layer_names(attention).items()
    }


@_layer_names.register
def _(layer: FeedForward) -> Names:
    up: Names = {"gate": ("wi_0/kernel",), "input": ("wi_1/kernel",)} if layer.gated else {"input": ("wi/kernel",)}
    return {**up, "output": ("wo/kernel",)}


@_layer_names.register
def _(layer: MixtureOfExperts) -> Names:
    return {"router": ("switch_gating/kernel",), "input": ("wi/kernel",), "output": ("wo/kernel",)}


def _gated(scope: str) -> Names:
    """Both halves of a gated linear unit."""
    return {
        **{"linear": (f"{scope}_0/kernel",), "linear_bias": (f"{scope}_0/bias",)},
        **{"gate": (f"{scope}_1/kernel",), "gate_bias": (f"{scope}_1/bias",)},
    }


@_layer_names.register
def _(layer: GatedLinearUnit) -> Names:
    return _gated("glu")


@_layer_names.register
def _(layer: LocalConvolution) -> Names:
    taps = f"{'dyn_conv' if layer.dynamic else 'lightwt'}_depthwise_dense"
    separable, projection = "separable_conv1d", "local_conv_attn_op_projection"
    names = {
        **{f"gated/{name}": variables for name, variables in _gated("local_conv_inp").items()},
        "taps": tuple(f"{taps}_{tap}/kernel" for tap in range(layer.taps)),
        "taps_bias": tuple(f"{taps}_{tap}/bias" for tap in range(layer.taps)),
        "depthwise_bias": (f"{separable}/depthwise_conv_hack/depthwise_dense_0/bias",),
        **{"pointwise": (f"{separable}/pointwise_dense/kernel",), "output": (f"{projection}/kernel",)},
        **{"pointwise_bias": (f"{separable}/pointwise_dense/bias",), "output_bias": (f"{projection}/bias",)},
    }
    return {name: names[name] for name in layer.weights()}


@_layer_names.register
def _(layer: ConvolutionBranch) -> Names:
    names: Names = {f"inner_norm/{name}": variables for name, variables in _norm_names(layer.norm).items()}
    convolutions = {"left": layer.left, "right": layer.right, "output": layer.output}
    alike: dict[str, list[str]] = {}
    for part, convolution in convolutions.items():
        alike.setdefault(_convolution(convolution), []).append(part)
    for part, convolution in convolutions.items():
        scope = _convolution(convolution)
        if isinstance(convolution, Convolution):
            names[f"{part}/kernel"] = (f"{scope}/{'dense' if convolution.taps == 1 else 'conv2d'}/kernel",)
            continue
        if len(alike[scope]) > 1:
            scope += f"_{alike[scope].index(part) + 1}"
        depthwise = f"{scope}/separable_conv1d/depthwise_conv_hack/depthwise_dense"
        names[f"{part}/taps"] = tuple(f"{depthwise}_{tap}/kernel" for tap in range(convolution.taps))
        names[f"{part}/taps_bias"] = (f"{depthwise}_0/bias",)
        for name in ("kernel", "bias"):
            names[f"{part}/{name}"] = (f"{scope}/separable_conv1d/pointwise_dense/{name}",)
    return names


def _convolution(convolution: Convolution | SeparableConvolution) -> str:
    return f"{'' if isinstance(convolution, Convolution) else 'sep_'}conv{convolution.taps}x1"
