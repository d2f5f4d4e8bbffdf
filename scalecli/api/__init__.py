"""What a file with an architecture of your own may import; stable from now on. Pure Python.

Such a file ends in `architecture = Architecture(name=..., build=...)`, and `--arch ./FILE.py` takes it: see
`scalecli/architectures/README.md`, which has two examples. Keras layers of your own import `scalecli.api.layers`,
within `keras_layer()`.

    Architecture, Knob, Shape     what the file declares, and what its function gets
    encoder_decoder, stack,       T5's Transformer, with what you give instead of its parts
    encoder_block, decoder_block
    block, attention, feed_forward
    Attention ... TransformGates  the layers that there are, as specs
    LayerSpec, Weight, bias,      what a layer of your own is made of
    dense
    LOGITS, SHARED_STACKS         knobs of several architectures: replace(LOGITS, default="tied")
    COMPONENTS                    what multiply-adds may be counted under
    ConfigurationError            to raise, with one clear line, where a shape cannot be
"""

from scalecli.architectures import Architecture, Knob, Shape
from scalecli.architectures.skeleton import (
    LOGITS,
    SHARED_STACKS,
    attention,
    block,
    decoder_block,
    encoder_block,
    encoder_decoder,
    feed_forward,
    stack,
)
from scalecli.costs import COMPONENTS
from scalecli.errors import ConfigurationError
from scalecli.specs import (
    Attention,
    Block,
    Convolution,
    ConvolutionBranch,
    Embedding,
    EncoderDecoder,
    FeedForward,
    GatedLinearUnit,
    LayerNorm,
    LayerSpec,
    LinearAttention,
    LocalConvolution,
    Logits,
    MixtureOfExperts,
    MixtureOfSoftmaxes,
    ModelSpec,
    Norm,
    Parallel,
    Pooling,
    PositionBias,
    Recurrence,
    Repeat,
    SeparableConvolution,
    Stack,
    Sublayer,
    TokenMixing,
    TransformGates,
    Weight,
)
from scalecli.specs.base import bias, dense

__all__ = [
    "COMPONENTS",
    "LOGITS",
    "SHARED_STACKS",
    "Architecture",
    "Attention",
    "Block",
    "ConfigurationError",
    "Convolution",
    "ConvolutionBranch",
    "Embedding",
    "EncoderDecoder",
    "FeedForward",
    "GatedLinearUnit",
    "Knob",
    "LayerNorm",
    "LayerSpec",
    "LinearAttention",
    "LocalConvolution",
    "Logits",
    "MixtureOfExperts",
    "MixtureOfSoftmaxes",
    "ModelSpec",
    "Norm",
    "Parallel",
    "Pooling",
    "PositionBias",
    "Recurrence",
    "Repeat",
    "SeparableConvolution",
    "Shape",
    "Stack",
    "Sublayer",
    "TokenMixing",
    "TransformGates",
    "Weight",
    "attention",
    "bias",
    "block",
    "decoder_block",
    "dense",
    "encoder_block",
    "encoder_decoder",
    "feed_forward",
    "stack",
]
