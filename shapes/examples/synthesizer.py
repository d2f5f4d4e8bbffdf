"""Dense Synthesizer: each position predicts its own attention scores, without keys (Tay et al. 2021, section 3.1).

scalecli shape small --arch ./synthesizer.py --longest 1024
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from scalecli import api
from scalecli.api import Shape, Weight, dense


@dataclass(frozen=True)
class Synthesis(api.LayerSpec):
    """softmax(ReLU(x W_hidden) W_scores) (x W_value) W_output, in several heads."""

    d_model: int
    heads: int
    d_kv: int
    longest: int
    packing_refused: ClassVar[str | None] = "its scores belong to the positions of a row"

    def weights(self) -> dict[str, Weight]:
        """`hidden`, `value` [d_model, heads * d_kv], `scores` [heads, d_kv, longest], `output` back to d_model."""
        down, scores = dense(self.d_model, self.heads * self.d_kv), Weight((self.heads, self.d_kv, self.longest), 0.02)
        return {"hidden": down, "scores": scores, "value": down, "output": dense(self.heads * self.d_kv, self.d_model)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Three projections; the scores and the mixing are both as long as the sequence."""
        if queries > self.longest:
            raise api.ConfigurationError(f"synthesizer scores {self.longest} positions; {queries} take more --longest")
        inner = queries * self.heads * self.d_kv
        return Counter({"attention projections": 3 * inner * self.d_model, "attention scores": 2 * inner * queries})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """Hidden layer before and after its ReLU, values, what they are mixed to, and the softmax."""
        return Counter({"compute": self.heads * queries * (4 * self.d_kv + queries)})

    @classmethod
    def keras_layer(cls) -> type:
        """Imported only when a model is built."""
        from keras import ops

        from scalecli.api.layers import MASKED, SpecLayer

        class Dense(SpecLayer):
            def heads(self, x, matrix):  # [batch, length, d_model] -> [batch, heads, length, d_kv]
                split = ops.reshape(ops.matmul(x, matrix), (*x.shape[:2], self.spec.heads, self.spec.d_kv))
                return ops.transpose(split, (0, 2, 1, 3))

            def mixed(self, weights, x, values, mask):
                scores = ops.matmul(ops.relu(self.heads(x, weights["hidden"])), weights["scores"])
                scores = ops.cast(scores[..., : values.shape[2]], "float32") + mask
                mixed = ops.matmul(ops.cast(ops.softmax(scores), x.dtype), values)
                mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (*x.shape[:2], -1))
                return ops.matmul(mixed, weights["output"])

            def call(self, weights, x, context, dropout):
                return self.mixed(weights, x, self.heads(x, weights["value"]), context.self_mask)

            def initial_state(self, batch, length, dtype):
                return {"values": ops.zeros((batch, self.spec.heads, length, self.spec.d_kv), dtype)}

            def step(self, weights, x, constants, state, context):
                new = self.heads(x, weights["value"])
                values = ops.slice_update(state["values"], (0, 0, context.position, 0), new)
                later = ops.arange(values.shape[2], dtype="int32") > context.position
                return self.mixed(weights, x, values, ops.cast(later, "float32") * MASKED), {"values": values}

        return Dense


def build(shape: Shape) -> api.EncoderDecoder:
    """Synthesized self-attention in both stacks; cross-attention stays."""
    mixing = Synthesis(shape.d_model, shape.heads, shape.d_kv, shape.longest)
    encoder, decoder = (block(shape, mixing=mixing) for block in (api.encoder_block, api.decoder_block))
    encoder = api.stack(shape, api.Repeat(encoder, shape.encoder_layers), bidirectional=True, bias_heads=())
    decoder = api.stack(shape, api.Repeat(decoder, shape.decoder_layers), bidirectional=False, bias_heads=())
    return api.encoder_decoder("synthesizer", shape, encoder=encoder, decoder=decoder)


longest = api.Knob("longest", "ll", "--longest", "Longest input or target, in tokens.", default=512)
architecture = api.Architecture(name="synthesizer", build=build, knobs=(longest,))
