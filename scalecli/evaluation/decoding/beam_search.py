"""Beam search: the whole loop over tokens, with its caches, is one compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from scalecli.data.text.pieces import EOS, PAD
from scalecli.devices import Mapped
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.models.encoder_decoder import EncoderDecoder

_NEVER = -1e9  # the score of a hypothesis that isn't there


def beam_decoder(
    model: EncoderDecoder, length: int, beams: int, alpha: float = 0.6, devices: Mapped = ONE_DEVICE
) -> Callable[[Any], tuple[np.ndarray, np.ndarray]]:
    """A function from inputs [batch, inputs] (int32) to the best tokens [batch, length] and their scores [batch].

    A score is the sum of log-probabilities (nats) over ((5 + tokens) / 6)^alpha, the end of sequence counted (Wu et al.
    2016, equation 14, without coverage). `beams` hypotheses are alive at a time, and the best of those that ended is
    returned; one that has not ended only where none has. Rows are padded after the end. Shapes are static: a new shape
    of inputs compiles again.
    """
    search = devices.mapped(model, lambda inputs: beam_search(model, inputs, length, beams, alpha), "rows")
    return lambda inputs: search(np.asarray(inputs, "int32"))


def beam_search(model: EncoderDecoder, inputs: Any, length: int, beams: int, alpha: float) -> tuple[Any, Any]:
    """The computation of `beam_decoder`, to be compiled."""
    batch, vocabulary = inputs.shape[0], model.spec.embedding.vocabulary
    memory, state = model.start_decoding(inputs, length, beams)
    first_beam = ops.arange(batch, dtype="int32")[:, None] * beams  # [batch, 1]

    def penalty(tokens: Any) -> Any:
        return ((5.0 + ops.cast(tokens, "float32")) / 6.0) ** alpha

    def unfinished(position: Any, alive: Any, alive_scores: Any, ended: Any, ended_scores: Any, state: Any) -> Any:
        # No hypothesis that is alive can still beat the worst that has ended, not even at the longest's penalty.
        hopeless = alive_scores[:, 0] / penalty(length) <= ended_scores[:, -1]
        return ops.logical_and(position < length, ops.logical_not(ops.all(hopeless)))

    def extend(position: Any, alive: Any, alive_scores: Any, ended: Any, ended_scores: Any, state: Any) -> Any:
        last = ops.take(ops.pad(alive, ((0, 0), (0, 0), (1, 0))), position, axis=2)  # [batch, beams]
        logits, state = model.decode_token(memory, state, ops.reshape(last, (-1,)), position)
        chances = ops.reshape(ops.log_softmax(logits, axis=-1), (batch, beams, vocabulary))
        # Twice as many as beams: if half of them end here, there are enough to go on with.
        candidates = ops.reshape(alive_scores[..., None] + chances, (batch, beams * vocabulary))
        scores, places = ops.top_k(candidates, 2 * beams)  # [batch, 2 beams], best first
        places = ops.cast(places, "int32")
        beam, token = places // vocabulary, places % vocabulary
        tokens = ops.take_along_axis(alive, beam[..., None], axis=1)  # [batch, 2 beams, length]
        here = ops.arange(length, dtype="int32") == position
        tokens = ops.where(here, token[..., None], tokens)

        ends = token == EOS
        alive_scores, chosen = ops.top_k(ops.where(ends, _NEVER, scores), beams)
        alive = _rows(tokens, chosen)
        rows = ops.take_along_axis(beam, ops.cast(chosen, "int32"), axis=1) + first_beam
        state = model.reorder_state(state, ops.reshape(rows, (-1,)))

        all_scores = ops.concatenate([ended_scores, ops.where(ends, scores / penalty(position + 1), _NEVER)], axis=1)
        ended_scores, chosen = ops.top_k(all_scores, beams)
        ended = _rows(ops.concatenate([ended, tokens], axis=1), chosen)
        return position + 1, alive, alive_scores, ended, ended_scores, state

    # At first all beams are the same: only one of them counts. A row without input pads a batch: it is done.
    empty = ops.all(inputs == PAD, axis=1, keepdims=True)
    one = ops.tile(ops.arange(beams, dtype="int32")[None] == 0, (batch, 1))
    alive_scores = ops.where(ops.logical_and(one, ops.logical_not(empty)), 0.0, _NEVER)
    ended_scores = ops.where(empty, 0.0, ops.full((batch, beams), _NEVER))
    blank = ops.zeros((batch, beams, length), "int32")
    loop = (ops.convert_to_tensor(0, "int32"), blank, alive_scores, blank, ended_scores, state)
    _, alive, alive_scores, ended, ended_scores, _ = ops.while_loop(unfinished, extend, loop)
    has_ended = ended_scores[:, 0] > _NEVER / 2
    tokens = ops.where(has_ended[:, None], ended[:, 0], alive[:, 0])
    return tokens, ops.where(has_ended, ended_scores[:, 0], alive_scores[:, 0] / penalty(length))


def _rows(tokens: Any, chosen: Any) -> Any:
    """[batch, hypotheses, length] -> those chosen [batch, beams, length]."""
    return ops.take_along_axis(tokens, ops.cast(chosen, "int32")[..., None], axis=1)
