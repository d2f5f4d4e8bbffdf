"""The Keras layer of each layer spec, and the one list of them. keras.ops only, so that every backend runs them."""

from scalecli import specs
from scalecli.models.layers.attention import Attention, PositionBias, masked_biases
from scalecli.models.layers.base import LAYERS, MASKED, NORMS, Context, RMSNorm, SpecLayer, Weights, layer_of
from scalecli.models.layers.convolutions import ConvolutionBranch, GatedLinearUnit, LocalConvolution
from scalecli.models.layers.experts import MixtureOfExperts
from scalecli.models.layers.feed_forward import FeedForward, TokenMixing
from scalecli.models.layers.linear_attention import LinearAttention
from scalecli.models.layers.parallel import Parallel
from scalecli.models.layers.softmaxes import MixtureOfSoftmaxes
from scalecli.models.layers.vocabulary import Embedding, Logits, OutputHead

LAYERS |= {
    specs.Attention: Attention,
    specs.ConvolutionBranch: ConvolutionBranch,
    specs.FeedForward: FeedForward,
    specs.GatedLinearUnit: GatedLinearUnit,
    specs.MixtureOfExperts: MixtureOfExperts,
    specs.LinearAttention: LinearAttention,
    specs.LocalConvolution: LocalConvolution,
    specs.Parallel: Parallel,
    specs.TokenMixing: TokenMixing,
}
HEADS: dict[type, type[OutputHead]] = {specs.Logits: Logits, specs.MixtureOfSoftmaxes: MixtureOfSoftmaxes}

__all__ = [
    "HEADS",
    "LAYERS",
    "MASKED",
    "NORMS",
    "Context",
    "Embedding",
    "OutputHead",
    "PositionBias",
    "RMSNorm",
    "SpecLayer",
    "Weights",
    "layer_of",
    "masked_biases",
]
