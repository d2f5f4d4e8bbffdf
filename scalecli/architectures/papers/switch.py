"""The Switch Transformer: every other feed-forward layer is a mixture of experts (Fedus et al. 2021)."""

from __future__ import annotations

from collections.abc import Iterator

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import attention, block, encoder_decoder, feed_forward, stack
from scalecli.errors import ConfigurationError
from scalecli.specs import EncoderDecoder, MixtureOfExperts, Repeat


def switch(shape: Shape) -> EncoderDecoder:
    """Layers in pairs, one dense and one with experts (sizes: Scaling Laws vs Model Architectures, Table 4).

    Raises:
        ConfigurationError: an odd number of layers.
    """
    for name in ("encoder_layers", "decoder_layers"):
        if getattr(shape, name) % 2:
            raise ConfigurationError(
                f"{name} is {getattr(shape, name)}; switch has its layers in pairs, so an even number is accepted"
            )
    experts = MixtureOfExperts(shape.d_model, shape.d_ff, shape.experts)
    self_attention, cross_attention = attention(shape, causal=True), attention(shape, cross=True)
    encoder_pair = block(
        shape,
        self_attention=attention(shape),
        feed_forward=feed_forward(shape),
        self_attention_2=attention(shape),
        experts=experts,
    )
    decoder_pair = block(
        shape,
        self_attention=self_attention,
        cross_attention=cross_attention,
        feed_forward=feed_forward(shape),
        self_attention_2=self_attention,
        cross_attention_2=cross_attention,
        experts=experts,
    )
    return encoder_decoder(
        "switch",
        shape,
        encoder=stack(shape, Repeat(encoder_pair, shape.encoder_layers // 2), bidirectional=True),
        decoder=stack(shape, Repeat(decoder_pair, shape.decoder_layers // 2), bidirectional=False),
    )


def warnings(shape: Shape) -> Iterator[str]:
    """Experts that nothing is chosen from, or so many that their least capacity is more than is asked for."""
    if shape.experts == 1:
        yield "one expert leaves the router nothing to choose"
        return
    layer = MixtureOfExperts(shape.d_model, shape.d_ff, shape.experts)
    capacity = layer.capacity(layer.group, training=True)
    if capacity * shape.experts > layer.capacity_training * layer.group:
        yield (
            f"each of {shape.experts} experts has {capacity} places for a group of {layer.group} tokens, the "
            f"fewest that there may be: {capacity * shape.experts / layer.group:.3g} are computed a token, "
            f"{layer.capacity_training:g} with fewer experts"
        )


architecture = Architecture(
    name="switch",
    build=switch,
    knobs=(Knob("experts", "ne", "--experts", "Experts of a layer."),),
    sizes=shapes_directory() / "switch.yaml",
    warnings=warnings,
)
