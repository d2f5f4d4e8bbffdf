"""Greedy decoding: the whole loop over tokens, with its key/value caches, is one compiled function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from scalecli.data.text.pieces import EOS, PAD
from scalecli.devices import Mapped
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.models.encoder_decoder import EncoderDecoder


def greedy_decoder(model: EncoderDecoder, length: int, devices: Mapped = ONE_DEVICE) -> Callable[[Any], np.ndarray]:
    """A function from inputs [batch, inputs] (int32) to the likeliest tokens [batch, length], one after another.

    Each row ends with the end of sequence, if it comes within `length`, and is padded after it. The loop ends early
    when every row has ended. Shapes are static: a new shape of inputs compiles again.
    """
    decode = devices.mapped(model, lambda inputs: greedy_decode(model, inputs, length), "rows")
    return lambda inputs: decode(np.asarray(inputs, "int32"))


def greedy_decode(model: EncoderDecoder, inputs: Any, length: int) -> Any:
    """The computation of `greedy_decoder`, to be compiled: [batch, inputs] -> [batch, length]."""
    batch = inputs.shape[0]
    memory, state = model.start_decoding(inputs, length)

    def unfinished(position: Any, tokens: Any, finished: Any, output: Any, state: Any) -> Any:
        return ops.logical_and(position < length, ops.logical_not(ops.all(finished)))

    def next_token(position: Any, tokens: Any, finished: Any, output: Any, state: Any) -> tuple[Any, ...]:
        logits, state = model.decode_token(memory, state, tokens, position)
        tokens = ops.where(finished, PAD, _likeliest(logits))
        output = ops.where(ops.arange(length, dtype="int32") == position, tokens[:, None], output)
        return position + 1, tokens, ops.logical_or(finished, tokens == EOS), output, state

    # A row without input pads a batch: there is nothing to decode.
    empty = ops.all(inputs == PAD, axis=1)
    start = ops.zeros((batch,), "int32")
    output = ops.zeros((batch, length), "int32")
    loop = (ops.convert_to_tensor(0, "int32"), start, empty, output, state)
    return ops.while_loop(unfinished, next_token, loop)[3]


def _likeliest(logits: Any) -> Any:
    """[batch, vocabulary] -> int32 [batch], the first of equals. Keras' argmax also tells -0.0 from 0.0, at a cost."""
    return ops.cast(ops.top_k(logits, 1)[1][:, 0], "int32")
