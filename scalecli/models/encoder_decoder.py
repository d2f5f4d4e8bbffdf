"""The encoder-decoder model that a `ModelSpec` describes, in Keras 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import keras
from keras import ops

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers import MASKED, Context, SpecLayer
from scalecli.models.stack import Stack

_ENCODER, _DECODER = 0, 1  # places of dropout


class Memory(NamedTuple):
    """What decoding needs at every token of an encoded batch, computed once.

    `layers`: per repeat of the decoder, its weights and constants. `context`, `position_bias` [1, heads, length,
    length]: as in training. `table` [vocabulary, d_model], `kernel` [d_model, vocabulary]: embedding and output head.
    """

    layers: list[Any]
    context: Context
    position_bias: Any
    table: Any
    kernel: Any


class EncoderDecoder(keras.Model):
    """Logits of target tokens, given inputs and the target tokens before them.

    A batch is a mapping of int32 arrays: `inputs` [batch, inputs] and `targets` [batch, targets], 0 being padding,
    and when several examples are packed into a row `inputs_segments`, `targets_segments` of the same shapes, which
    count the examples from 1 (0 is padding). Weights are float32; `precision` is the dtype of matrix products and
    activations.
    """

    def __init__(self, spec: specs.ModelSpec, precision: str = "float32", dropout_rate: float = 0.0) -> None:
        policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16" if precision == "bfloat16" else "float32")
        super().__init__(name="encoder_decoder", dtype=policy, autocast=False)
        self.spec = spec
        self.dropout_rate = dropout_rate
        self.embedding = SpecLayer(spec.embedding, name="embedding", dtype=policy)
        self.encoder = Stack(spec.encoder, name="encoder", dtype=policy)
        self.decoder = Stack(spec.decoder, name="decoder", dtype=policy)
        self.output_head = SpecLayer(spec.logits, name="logits", dtype=policy)
        self.built = True

    def call(self, batch: Mapping[str, Any], dropout_seed: Any = None) -> Any:
        """Logits [batch, targets, vocabulary] in float32; dropout only with a seed (int32 scalar)."""
        dropout = Dropout(self.dropout_rate, dropout_seed)
        input_segments, target_segments = segments(batch, "inputs"), segments(batch, "targets")
        cross_mask = _mask(target_segments, input_segments)
        memory = self._encode(batch["inputs"], input_segments, dropout.at(_ENCODER))
        length = batch["targets"].shape[1]
        causal = ops.tril(ops.ones((length, length), "bool"))
        context = Context(
            position_bias=self.decoder.position_bias(queries=length, keys=length),
            self_mask=_mask(target_segments, target_segments, causal),
            memory=memory,
            cross_mask=cross_mask,
        )
        hidden = self._embed(shift_right(batch["targets"], batch.get("targets_segments")))
        decoded = self.decoder(hidden, context=context, dropout=dropout.at(_DECODER))
        return self._logits(decoded, self._output_kernel())

    def start_decoding(self, inputs: Any, length: int) -> tuple[Memory, Any]:
        """Encodes `inputs` [batch, inputs]; returns that and the empty state for `length` output tokens."""
        input_segments = segments({"inputs": inputs}, "inputs")
        context = Context(
            position_bias=None,
            self_mask=None,
            memory=self._encode(inputs, input_segments, Dropout(0.0)),
            cross_mask=_mask(ops.ones((inputs.shape[0], 1), "int32"), input_segments),
        )
        memory = Memory(
            layers=[repeat.start_decoding(context) for repeat in self.decoder.repeats],
            context=context,
            position_bias=self.decoder.position_bias(queries=length, keys=length),
            table=self.embedding.weights_for_compute()["table"],
            kernel=self._output_kernel(),
        )
        return memory, [repeat.initial_state(inputs.shape[0], length) for repeat in self.decoder.repeats]

    def decode_token(self, memory: Memory, state: Any, tokens: Any, position: Any) -> tuple[Any, Any]:
        """Logits [batch, vocabulary] of the token after `tokens` [batch], which stands at `position`; and the state."""
        heads, length = memory.position_bias.shape[1], memory.position_bias.shape[3]
        later = ops.arange(length, dtype="int32") > position
        context = replace(
            memory.context,
            position_bias=ops.slice(memory.position_bias, (0, 0, position, 0), (1, heads, 1, length)),
            self_mask=ops.cast(later, "float32")[None, None, None, :] * MASKED,
            position=position,
        )
        embedded = ops.take(memory.table, tokens[:, None], axis=0)
        hidden, state = self.decoder.step(embedded, memory.layers, state, context)
        return self._logits(hidden, memory.kernel)[:, 0], state

    def weights_by_path(self) -> dict[str, Any]:
        """Every variable by the path that `ModelSpec.weights()` gives it."""
        layers: dict[str, SpecLayer] = {"embedding": self.embedding, "logits": self.output_head}
        for side, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            layers[f"{side}/position_bias"] = stack.position_bias
            layers[f"{side}/final_norm"] = stack.final_norm
            for number, repeat in enumerate(stack.repeats):
                for sublayer in repeat.sublayers:
                    layers[f"{side}/{number}/{sublayer.name}"] = sublayer.layer
                    layers[f"{side}/{number}/{sublayer.name}/norm"] = sublayer.norm
        found = {f"{path}/{name}": owned for path, layer in layers.items() for name, owned in layer.owned.items()}
        return {path: found[path] for path in self.spec.weights()}

    def _encode(self, inputs: Any, input_segments: Any, dropout: Dropout) -> Any:
        """[batch, inputs] -> [batch, inputs, d_model]."""
        length = inputs.shape[1]
        context = Context(
            self.encoder.position_bias(queries=length, keys=length), _mask(input_segments, input_segments)
        )
        return self.encoder(self._embed(inputs), context=context, dropout=dropout)

    def _embed(self, tokens: Any) -> Any:
        """[batch, length] -> [batch, length, d_model]."""
        return ops.take(self.embedding.weights_for_compute()["table"], tokens, axis=0)

    def _output_kernel(self) -> Any:
        """[d_model, vocabulary]."""
        if self.spec.logits.tied:
            return ops.transpose(self.embedding.weights_for_compute()["table"])
        return self.output_head.weights_for_compute()["kernel"]

    def _logits(self, hidden: Any, kernel: Any) -> Any:
        """[batch, length, d_model] -> [batch, length, vocabulary] in float32."""
        if self.spec.logits.scaled:
            hidden = hidden * self.spec.logits.d_model**-0.5
        return ops.cast(ops.matmul(hidden, kernel), "float32")


def segments(batch: Mapping[str, Any], side: str) -> Any:
    """Which example each position of `inputs` or `targets` belongs to: 1 and up, 0 for padding."""
    packed = batch.get(f"{side}_segments")
    return ops.cast(batch[side] > 0, "int32") if packed is None else packed


def shift_right(targets: Any, target_segments: Any = None) -> Any:
    """Decoder inputs [batch, targets]: the token before each target, 0 before the first of each example."""
    shifted = ops.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    if target_segments is None:
        return shifted
    before = ops.pad(target_segments, ((0, 0), (1, 0)))[:, :-1]
    return ops.where(before == target_segments, shifted, 0)


def cross_entropy(logits: Any, targets: Any) -> tuple[Any, Any]:
    """Cross-entropy of each target in nats, and log Z of its softmax's normaliser Z: both [batch, targets], float32.

    Padding is not masked.
    """
    log_normaliser = ops.logsumexp(logits, axis=-1)
    at_target = ops.sum(logits * ops.one_hot(targets, logits.shape[-1], dtype=logits.dtype), axis=-1)
    return log_normaliser - at_target, log_normaliser


def token_losses(logits: Any, targets: Any, z_loss: float = 0.0) -> Any:
    """Cross-entropy of each target [batch, targets] in nats, float32, plus z_loss * log(Z)^2; padding is not masked.

    The z-loss keeps the softmax's normaliser Z near one (Mesh-TensorFlow; T5 trains with 1e-4).
    """
    losses, log_normaliser = cross_entropy(logits, targets)
    return losses + z_loss * ops.square(log_normaliser)


def _mask(query_segments: Any, key_segments: Any, allowed: Any = True) -> Any:
    """float32 [batch, 1, queries, keys] to add to scores: 0 where the segments are equal and it is allowed."""
    seen = ops.logical_and(query_segments[:, :, None] == key_segments[:, None, :], allowed)
    return ops.where(seen, 0.0, MASKED)[:, None]
