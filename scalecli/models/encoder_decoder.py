"""The model that an `EncoderDecoder` spec describes, in Keras 3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keras import ops

from scalecli import specs
from scalecli.models.blocks.stack import Reports, Stack
from scalecli.models.compiled import attends_blockwise
from scalecli.models.dropout import Dropout
from scalecli.models.layers import HEADS, MASKED, Context, Embedding, SpecLayer, Weights, masked_biases
from scalecli.models.losses import chunked_cross_entropy, cross_entropy
from scalecli.models.spec_model import SpecModel
from scalecli.models.trainable import Losses

_ENCODER, _DECODER = 0, 1  # numbers of dropout masks
AUXILIARY_LOSS = "auxiliary_loss"


class Output(NamedTuple):
    """What a forward pass gives.

    `logits` [batch, targets, vocabulary] float32. `auxiliary_loss`: float32 scalar to add to the loss. `reports`: what
    layers report, float32 [layers, ...] by paths such as `encoder/0/experts/overflow`.
    """

    logits: Any
    auxiliary_loss: Any
    reports: Reports


class Memory(NamedTuple):
    """What decoding needs at every token of an encoded batch, computed once.

    `layers`: what the decoder's repeats need. `context`: as in training. `position_biases`: [1, heads, length, length]
    by heads, with the causal mask. `embedding`, `head`: the tensors of the token embedding and of the output head.
    """

    layers: list[Any]
    context: Context
    position_biases: dict[int, Any]
    embedding: Any
    head: Any


class EncoderDecoder(SpecModel):
    """Logits of target tokens, given inputs and the target tokens before them.

    A batch is a mapping of int32 arrays: `inputs` [batch, inputs] and `targets` [batch, targets], 0 being padding,
    and when several examples are packed into a row `inputs_segments`, `targets_segments` of the same shapes, which
    count the examples from 1 (0 is padding). With `rematerialise` the backward pass computes each scanned block's
    activations again.

    Raises:
        ConfigurationError: the architecture can't have inputs of that length.
    """

    spec: specs.EncoderDecoder

    def __init__(
        self,
        spec: specs.EncoderDecoder,
        precision: str = "float32",
        dropout_rate: float = 0.0,
        rematerialise: bool = False,
    ) -> None:
        super().__init__(spec, "encoder_decoder", precision, dropout_rate)
        policy = self.dtype_policy
        self.embedding = Embedding(spec.embedding, name="embedding", dtype=policy)
        self.decoder = Stack(spec.decoder, rematerialise=rematerialise, name="decoder", dtype=policy)
        for repeat in self.decoder.repeats:
            for sublayer in repeat.sublayers:
                sublayer.layer.check_decodes()
        tied_to = self.decoder if spec.shared_stacks else None
        self.encoder = Stack(spec.encoder, tied_to, rematerialise, name="encoder", dtype=policy)
        self.output_head = HEADS[type(spec.logits)](spec.logits, name="logits", dtype=policy)
        self.built = True

    def call(self, batch: Mapping[str, Any], dropout_seed: Any = None) -> Any:
        """Logits [batch, targets, vocabulary] in float32; see `outputs`."""
        return self.outputs(batch, dropout_seed).logits

    def outputs(self, batch: Mapping[str, Any], dropout_seed: Any = None) -> Output:
        """Logits and what comes with them. A seed (int32 scalar) says that this is training, with dropout and noise."""
        decoded, auxiliary_loss, reports = self._decoded(batch, dropout_seed)
        return Output(self.output_head(self._prepared_head(), decoded), auxiliary_loss, reports)

    def losses(self, batch: Mapping[str, Any], dropout_seed: Any = None) -> Losses:
        """The losses [batch, targets], in training (with a seed) or not; the logits never exist all at once."""
        decoded, auxiliary_loss, reports = self._decoded(batch, dropout_seed)
        losses, log_normalizers = chunked_cross_entropy(
            self.output_head, self._prepared_head(), decoded, batch["targets"], self.spec.logits.classes
        )
        return Losses(losses, log_normalizers, auxiliary_loss, reports)

    def target_mask(self, batch: Mapping[str, Any]) -> Any:
        """float32 [batch, targets]: 1 for a token, 0 for padding."""
        return ops.cast(batch["targets"] > 0, "float32")

    def _prepared_head(self) -> Weights:
        return self.output_head.prepare(self.embedding.weights_for_compute())

    def _decoded(self, batch: Mapping[str, Any], dropout_seed: Any) -> tuple[Any, Any, Reports]:
        """The decoder's output [batch, targets, d_model], the auxiliary loss, and the reports."""
        dropout = Dropout(self.dropout_rate, dropout_seed)
        input_segments, target_segments = segments(batch, "inputs"), segments(batch, "targets")
        memory, memory_segments, encoder_reports = self._encode(batch["inputs"], input_segments, dropout.at(_ENCODER))
        length = batch["targets"].shape[1]
        self_mask = self._mask(target_segments, target_segments, causal=True)
        tokens = shift_right(batch["targets"], batch.get("targets_segments"))
        position_biases = {} if self_mask is None else self.decoder.biases(length)
        context = Context(
            position_biases=position_biases,
            masked_biases=masked_biases(position_biases, self_mask),
            self_mask=self_mask,
            real=_present(target_segments),
            tokens=_present(tokens),
            memory=memory,
            cross_mask=self._mask(target_segments, memory_segments),
            bias_tiles=self.decoder.bias_tiles(length),
            segments=target_segments,
            memory_segments=memory_segments,
        )
        embedded = self.embedding(self.embedding.weights_for_compute(), tokens)
        decoded, decoder_reports = self.decoder.run(embedded, context, dropout.at(_DECODER))
        reports = {f"encoder/{name}": value for name, value in encoder_reports.items()}
        reports |= {f"decoder/{name}": value for name, value in decoder_reports.items()}
        auxiliary = [ops.sum(value) for name, value in reports.items() if name.endswith(AUXILIARY_LOSS)]
        return decoded, sum(auxiliary, ops.zeros(())), reports

    def start_decoding(self, inputs: Any, length: int, beams: int = 1) -> tuple[Memory, Any]:
        """Encodes `inputs` [batch, inputs]; returns that and the empty state for `length` output tokens.

        From here on the batch is `beams` times as large: the beams of a row follow one another.
        """
        memory, memory_segments, _ = self._encode(inputs, segments({"inputs": inputs}, "inputs"), Dropout(0.0))
        if beams > 1:
            memory, memory_segments = (ops.repeat(x, beams, axis=0) for x in (memory, memory_segments))
        rows = memory.shape[0]
        later = MASKED * (1 - ops.tril(ops.ones((1, 1, length, length))))
        cross_mask = _mask(ops.ones((rows, 1), "int32"), memory_segments)
        context = Context(memory=memory, cross_mask=cross_mask, self_mask=later)
        embedding = self.embedding.weights_for_compute()
        encoded = Memory(
            layers=self.decoder.start_decoding(context),
            context=context,
            position_biases={heads: bias + later for heads, bias in self.decoder.biases(length).items()},
            embedding=embedding,
            head=self.output_head.prepare(embedding),
        )
        return encoded, self.decoder.initial_state(rows, length)

    def decode_token(self, memory: Memory, state: Any, tokens: Any, position: Any) -> tuple[Any, Any]:
        """Logits [batch, vocabulary] of the token after `tokens` [batch], which stands at `position`; and the state."""

        def row(added: Any) -> Any:
            """What is added to the scores of this token, of that of all tokens [1, heads, length, length]."""
            return ops.slice(added, (0, 0, position, 0), (1, added.shape[1], 1, added.shape[3]))

        context = memory.context._replace(
            position_biases={heads: row(bias) for heads, bias in memory.position_biases.items()},
            self_mask=row(memory.context.self_mask),
            tokens=_present(tokens[:, None]),
            position=ops.convert_to_tensor(position, "int32"),
        )
        embedded = self.embedding(memory.embedding, tokens[:, None])
        hidden, state = self.decoder.step(embedded, memory.layers, state, context)
        return self.output_head(memory.head, hidden)[:, 0], state

    def reorder_state(self, state: Any, rows: Any) -> Any:
        """The decoding state whose row i of the batch is row `rows[i]` of `state`'s; `rows` [new batch] int32."""
        return self.decoder.reorder(state, rows)

    def parts(self) -> dict[str, SpecLayer]:
        """Every layer that owns weights, by the prefix of its paths in `ModelSpec.weights()`."""
        layers: dict[str, SpecLayer] = {"embedding/": self.embedding, "logits/": self.output_head}
        for side, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            layers |= {f"{side}/{prefix}": layer for prefix, layer in stack.parts().items()}
        return layers

    def _mask(self, query_segments: Any, key_segments: Any, causal: bool = False) -> Any:
        """The mask of attention that writes its scores out, else None."""
        if attends_blockwise(self.compute_dtype, key_segments.shape[1]):
            return None
        return _mask(query_segments, key_segments, causal)

    def _encode(self, inputs: Any, input_segments: Any, dropout: Dropout) -> tuple[Any, Any, Reports]:
        """The encoder's output [batch, memory, d_model], the segments of its positions, and its reports."""
        length = inputs.shape[1]
        window = length // self.spec.memory_length(length)
        self_mask = self._mask(input_segments, input_segments)
        position_biases = {} if self_mask is None else self.encoder.biases(length)
        context = Context(
            position_biases=position_biases,
            masked_biases=masked_biases(position_biases, self_mask),
            self_mask=self_mask,
            real=_present(input_segments),
            tokens=_present(inputs),
            bias_tiles=self.encoder.bias_tiles(length),
            segments=input_segments,
        )
        embedded = self.embedding(self.embedding.weights_for_compute(), inputs)
        memory, reports = self.encoder.run(embedded, context, dropout)
        return memory, input_segments[:, ::window], reports


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


def token_losses(logits: Any, targets: Any, z_loss: float = 0.0) -> Any:
    """Cross-entropy of each target [batch, targets] in nats, float32, plus z_loss * log(Z)^2; padding is not masked.

    The z-loss keeps the softmax's normalizer Z near one (Mesh-TensorFlow; T5 trains with 1e-4).
    """
    losses, log_normalizer = cross_entropy(logits, targets)
    return losses + z_loss * ops.square(log_normalizer)


def _present(ids: Any) -> Any:
    """float32 [batch, length, 1]: 1 where an id or a segment is not 0."""
    return ops.cast(ids > 0, "float32")[:, :, None]


def _mask(query_segments: Any, key_segments: Any, causal: bool = False) -> Any:
    """float32 [batch, 1, queries, keys] to add to scores: 0 where the segments are equal, and the key is not later."""
    seen = query_segments[:, :, None] == key_segments[:, None, :]
    if causal:
        seen = ops.logical_and(seen, ops.tril(ops.ones(seen.shape[1:], "bool")))
    return ops.where(seen, 0.0, MASKED)[:, None]
