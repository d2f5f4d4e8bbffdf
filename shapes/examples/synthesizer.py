"""Dense Synthesizer: each position predicts its own attention scores, without keys (Tay et al. 2021, section 3.1)."""

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from scalecli import api


@dataclass(frozen=True)
class Synthesis(api.LayerSpec):
    """softmax(ReLU(x W_hidden) W_scores) (x W_value) W_output, in several heads."""

    d_model: int
    heads: int
    d_kv: int
    longest: int
    packing_refused: ClassVar[str | None] = "its scores belong to the positions of a row"

    def weights(self) -> dict[str, api.Weight]:
        """`hidden` and `value` to all heads, `scores` of each head, and `output` back to d_model."""
        down, up = api.dense(self.d_model, self.heads * self.d_kv), api.dense(self.heads * self.d_kv, self.d_model)
        scores = api.Weight((self.heads, self.d_kv, self.longest), stddev=self.d_kv**-0.5)
        return {"hidden": down, "scores": scores, "value": down, "output": up}

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
        """Imports Keras only when a model is built."""
        from keras import ops

        from scalecli.api.layers import MASKED, SpecLayer

        class Synthesizer(SpecLayer):
            def heads(self, x, matrix):  # [batch, length, d_model] -> [batch, heads, length, d_kv]
                split = ops.reshape(ops.matmul(x, matrix), (*x.shape[:2], self.spec.heads, self.spec.d_kv))
                return ops.transpose(split, (0, 2, 1, 3))

            def mixed(self, weights, x, values, mask):
                hidden, matrix = self.heads(x, weights["hidden"]), weights["scores"][..., : values.shape[2]]
                shares = ops.softmax(ops.cast(ops.matmul(ops.relu(hidden), matrix), "float32") + mask)
                mixed = ops.transpose(ops.matmul(ops.cast(shares, x.dtype), values), (0, 2, 1, 3))
                return ops.matmul(ops.reshape(mixed, (*x.shape[:2], -1)), weights["output"])

            def call(self, weights, x, context, dropout):
                return self.mixed(weights, x, self.heads(x, weights["value"]), context.self_mask)

            def initial_state(self, batch, length, dtype):  # the values of all tokens, for decoding
                return {"values": ops.zeros((batch, self.spec.heads, length, self.spec.d_kv), dtype)}

            def step(self, weights, x, constants, state, context):  # one token, x [batch, 1, d_model]
                new = self.heads(x, weights["value"])
                values = ops.slice_update(state["values"], (0, 0, context.position, 0), new)
                later = ops.arange(values.shape[2], dtype="int32") > context.position
                return self.mixed(weights, x, values, ops.cast(later, "float32") * MASKED), {"values": values}

        return Synthesizer


def build(shape: api.Shape) -> api.EncoderDecoder:
    """Synthesized self-attention in both stacks; cross-attention stays."""
    mixing = Synthesis(shape.d_model, shape.heads, shape.d_kv, shape.longest)
    encoder, decoder = api.encoder_block(shape, mixing=mixing), api.decoder_block(shape, mixing=mixing)
    stacked = api.stack(shape, api.Repeat(encoder, shape.encoder_layers), bidirectional=True, bias_heads=())
    causal = api.stack(shape, api.Repeat(decoder, shape.decoder_layers), bidirectional=False, bias_heads=())
    return api.encoder_decoder("synthesizer", shape, encoder=stacked, decoder=causal)


longest = api.Knob("longest", "ll", "--longest", "Longest input or target, in tokens.", default=512)
architecture = api.Architecture(name="synthesizer", build=build, knobs=(longest,))
