"""ALBERT: one layer's weights for all layers of a stack, and a factorized embedding (Lan et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import SHARED_STACKS, decoder_block, encoder_block, encoder_decoder, stack
from scalecli.specs import Embedding, EncoderDecoder, Logits, Repeat


def albert(shape: Shape) -> EncoderDecoder:
    """Shared layers; `shared_stacks` shares them between encoder and decoder as well.

    The text of "Scaling Laws vs Model Architectures" says that the paper's model does; its parameters say otherwise.
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
        shared_stacks=shape.shared_stacks,
    )


def warnings(shape: Shape) -> Iterator[str]:
    """An embedding that its factors make larger."""
    if shape.embedding_size >= shape.d_model:
        yield (
            f"embedding_size {shape.embedding_size} is no smaller than d_model {shape.d_model}; factorized like that "
            f"the embedding has more parameters than the Transformer's"
        )


architecture = Architecture(
    name="albert",
    build=albert,
    knobs=(
        Knob("embedding_size", "es", "--embedding-size", "Width of the factorized embedding.", is_width=True),
        SHARED_STACKS,
    ),
    sizes=shapes_directory() / "albert.yaml",
    warnings=warnings,
)
