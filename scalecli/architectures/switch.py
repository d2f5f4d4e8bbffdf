"""The Switch Transformer: every other feed-forward layer is a mixture of experts (Fedus et al. 2021)."""

from __future__ import annotations

from scalecli.architectures.skeleton import attention, block, encoder_decoder, feed_forward, stack
from scalecli.errors import ConfigurationError
from scalecli.shape import Shape
from scalecli.specs import EncoderDecoder, MixtureOfExperts, Repeat


def switch(shape: Shape) -> EncoderDecoder:
    """Layers in pairs, one dense and one with experts (sizes: Scaling Laws vs Model Architectures, Table 4).

    Raises:
        ConfigurationError: an odd number of layers.
    """
    assert shape.experts is not None
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
