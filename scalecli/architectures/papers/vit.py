"""The vision transformer (Dosovitskiy et al. 2021), on which "Scale Efficiently" verifies DeepNarrow (Appendix .1)."""

from __future__ import annotations

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.errors import ConfigurationError
from scalecli.specs import (
    Attention,
    Block,
    EncoderOnly,
    FeedForward,
    LayerNorm,
    Logits,
    PatchEmbedding,
    Repeat,
    Stack,
    Sublayer,
)


def vit(shape: Shape) -> EncoderOnly:
    """A pre-norm encoder over the patches of an image and a class token, whose output a linear head classifies.

    Against T5's encoder: biases, scores over sqrt(d_kv), layer norm by mean and variance, learned positions. The
    original code has GELU by its tanh approximation and adds 1e-6 to variances; `numerics: transformers` is Hugging
    Face's form of it, with the exact GELU and 1e-12. Weights are drawn as the same layers of the other architectures
    draw theirs: the original's feed-forward layers start with Xavier's, and its head with zeros.

    Raises:
        ConfigurationError: the patches do not cover the image.
    """
    if shape.image_size % shape.patch_size:
        raise ConfigurationError(
            f"image_size is {shape.image_size} and patch_size {shape.patch_size}; a multiple of patch_size is accepted"
        )
    exact = shape.numerics == "transformers"
    norm = LayerNorm(shape.d_model, epsilon=1e-12 if exact else 1e-6)
    attention = Attention(
        shape.d_model,
        shape.heads,
        shape.d_kv,
        shared_heads=shape.shared_heads,
        tied_key_values=shape.tied_key_values,
        biases=True,
        scaled=True,
    )
    feed_forward = FeedForward(shape.d_model, shape.d_ff, activation="erf_gelu" if exact else "gelu", biases=True)
    block = Block((Sublayer("self_attention", attention, norm), Sublayer("feed_forward", feed_forward, norm)))
    return EncoderOnly(
        architecture="vit",
        encoder=Stack((Repeat(block, shape.encoder_layers),), position_biases=(), final_norm=norm),
        embedding=PatchEmbedding(shape.d_model, shape.image_size, shape.patch_size),
        logits=Logits(shape.classes, shape.d_model, tied=False, scaled=False, biased=True),
    )


architecture = Architecture(
    name="vit",
    build=vit,
    reads="images",
    knobs=(
        Knob("image_size", "is", "--image-size", "Height and width of an image, in pixels."),
        Knob("patch_size", "ps", "--patch-size", "Height and width of a patch, in pixels."),
        Knob("classes", "nc", "--classes", "Classes of the head."),
        Knob(
            "numerics",
            "nu",
            "--numerics",
            "The original's GELU by tanh and epsilon of 1e-6, or transformers' by erf and 1e-12.",
            ("original", "transformers"),
            default="original",
        ),
    ),
    sizes=shapes_directory() / "vit.yaml",
)
