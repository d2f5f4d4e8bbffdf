"""The Transformer with gated feed-forward layers: T5 v1.1 (Shazeer 2020; "GLU" in the architectures paper)."""

from __future__ import annotations

from dataclasses import replace

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import LOGITS, decoder_block, encoder_block, encoder_decoder, stack
from scalecli.specs import EncoderDecoder, FeedForward, Logits, Repeat


def glu(shape: Shape) -> EncoderDecoder:
    """Gated GELU feed-forward and logits of their own (Scaling Laws vs Model Architectures, section 3.1).

    `logits` can tie them to the embedding, and they are then scaled as T5 v1's are.
    """
    gated = FeedForward(shape.d_model, shape.d_ff, activation="gelu", gated=True)
    encoder = Repeat(encoder_block(shape, transform=gated), shape.encoder_layers)
    decoder = Repeat(decoder_block(shape, transform=gated), shape.decoder_layers)
    tied = shape.logits == "tied"
    return encoder_decoder(
        "glu",
        shape,
        encoder=stack(shape, encoder, bidirectional=True),
        decoder=stack(shape, decoder, bidirectional=False),
        logits=Logits(shape.vocabulary, shape.d_model, tied=tied, scaled=tied),
    )


architecture = Architecture(
    name="glu",
    build=glu,
    knobs=(replace(LOGITS, default="untied"),),
    sizes=shapes_directory() / "glu.yaml",
)
