"""ALBERT: one layer's weights for all layers of a stack, and a factorised embedding (Lan et al. 2020)."""

from __future__ import annotations

from scalecli.architectures.skeleton import decoder_block, encoder_block, encoder_decoder, stack
from scalecli.shape import Shape
from scalecli.specs import Embedding, EncoderDecoder, Logits, Repeat


def albert(shape: Shape) -> EncoderDecoder:
    """Shared layers; `shared_stacks` shares them between encoder and decoder as well.

    The text of "Scaling Laws vs Model Architectures" says that it does; its parameters say
    that it doesn't.
    """
    encoder = Repeat(encoder_block(shape), shape.encoder_layers, shared=True)
    decoder = Repeat(decoder_block(shape), shape.decoder_layers, shared=True)
    return encoder_decoder(
        "albert",
        shape,
        encoder=stack(shape, encoder, bidirectional=True),
        decoder=stack(shape, decoder, bidirectional=False),
        embedding=Embedding(shape.vocabulary, shape.d_model, shape.embedding_size),
        logits=Logits(shape.vocabulary, shape.d_model, tied=True, scaled=True, embedding_size=shape.embedding_size),
        shared_stacks=bool(shape.shared_stacks),
    )
