"""Layer specs: what an architecture is made of, and what each part costs. Pure Python.

An architecture is a function from a `Shape` to a `ModelSpec`, a tree of the frozen dataclasses of this package.
Everything else is derived from that tree: `scalecli.models` builds one Keras layer from each spec, with exactly the
weights that `weights()` lists; `scalecli.costs` adds up `multiply_adds()` and `activations()`.
"""

from scalecli.specs.attention import Attention, LinearAttention, Parallel, PositionBias
from scalecli.specs.base import VOCABULARY_ROWS, LayerNorm, LayerSpec, Norm, Weight
from scalecli.specs.convolutions import (
    Convolution,
    ConvolutionBranch,
    GatedLinearUnit,
    LocalConvolution,
    SeparableConvolution,
)
from scalecli.specs.feed_forward import FeedForward, MixtureOfExperts, TokenMixing
from scalecli.specs.model import EncoderDecoder, EncoderOnly, ModelSpec
from scalecli.specs.recurrence import Recurrence, TransformGates
from scalecli.specs.stack import Block, Pooling, Repeat, Stack, Sublayer
from scalecli.specs.vision import PatchEmbedding
from scalecli.specs.vocabulary import Embedding, Logits, MixtureOfSoftmaxes
