"""The T5 Transformer: ReLU feed-forward, one embedding for encoder, decoder and logits (Raffel et al. 2020)."""

from __future__ import annotations

from dataclasses import replace

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import LOGITS, SHARED_STACKS, encoder_decoder
from scalecli.errors import ConfigurationError
from scalecli.specs import EncoderDecoder, Logits


def transformer(shape: Shape) -> EncoderDecoder:
    """T5 v1, the Transformer of both papers (Scale Efficiently, Table 1).

    `logits` and `shared_stacks` make other forms of it: logits of their own, as T5 v1.1 has them, and an encoder that
    uses the decoder's layers (T5, section 3.2.2).

    Raises:
        ConfigurationError: shared stacks of different depths.
    """
    if shape.shared_stacks and shape.encoder_layers != shape.decoder_layers:
        raise ConfigurationError(
            f"the stacks share their layers, and encoder_layers is {shape.encoder_layers}, decoder_layers "
            f"{shape.decoder_layers}; equal numbers are accepted"
        )
    tied = shape.logits == "tied"
    return encoder_decoder(
        "transformer",
        shape,
        logits=Logits(shape.vocabulary, shape.d_model, tied=tied, scaled=tied),
        shared_stacks=shape.shared_stacks,
    )


architecture = Architecture(
    name="transformer",
    build=transformer,
    knobs=(replace(SHARED_STACKS, default=False), replace(LOGITS, default="tied")),
    sizes=shapes_directory() / "transformer.yaml",
)
