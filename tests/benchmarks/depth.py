"""Seconds to compile a training step against depth: 6, 12, 24 and 48 layers in each stack, at a tiny width.

    python -m tests.benchmarks.depth [--architectures transformer,switch] [--depths 6,12,24,48] [--peer-depths 6,12]

What is measured is the first step: traced, compiled and run, which at this width is nothing. Seconds of the clock, and
of the processor; the latter can be trusted on a busy machine. Every figure is from a process of its own. Contestants:
scalecli compiled by XLA on TensorFlow and on JAX, and through TensorFlow's own kernels; beside them keras-hub's T5,
whose layers are written out one after another, compiled by XLA on TensorFlow (minutes: `--peer-depths ''` leaves it
out).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np

ROWS, INPUTS, TARGETS = 2, 32, 16
WIDTH, HEADS, HEAD_WIDTH, HIDDEN, VOCABULARY = 64, 2, 32, 128, 1024
# Contestant -> backend, and whether XLA compiles on it.
OURS = {"XLA on TensorFlow": ("tensorflow", True), "XLA on JAX": ("jax", True), "kernels": ("tensorflow", False)}
PEER = "keras-hub"


def batch_of() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    lengths = {"inputs": INPUTS, "targets": TARGETS}
    return {name: random.integers(2, VOCABULARY, (ROWS, n)).astype("int32") for name, n in lengths.items()}


def our_step(architecture: str, layers: int, xla: bool) -> Callable[[], object]:
    import tensorflow as tf

    from scalecli.architectures import build_spec
    from scalecli.devices import Request, open_devices
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.shape import Shape
    from tests.oracle import KNOBS
    from tests.steps import steps_of
    from tests.xla import MODULES

    for module in MODULES:
        mock.patch(f"{module}.uses_xla", lambda: xla).start()
    knobs = {name: value for name, value in KNOBS[architecture].items() if not name.endswith("layers")}
    if architecture == "mixer":
        knobs["positions"] = INPUTS
    shape = Shape(layers, layers, d_model=WIDTH, d_ff=HIDDEN, d_kv=HEAD_WIDTH, heads=HEADS, vocabulary=VOCABULARY)
    spec = build_spec(architecture, replace(shape, **knobs))
    devices = open_devices(Request("one"))
    steps, _ = steps_of(devices.new_model(lambda: EncoderDecoder(spec)), 1e-3, devices=devices)
    batches = devices.batches(lambda _, __: tf.data.Dataset.from_tensors(batch_of()).repeat(), 0)
    return lambda: steps.run(batches, 1)


def peer_step(layers: int) -> Callable[[], object]:
    import keras
    import keras_hub
    import tensorflow as tf

    model = keras_hub.models.T5Backbone(
        vocabulary_size=VOCABULARY,
        num_layers=layers,
        num_heads=HEADS,
        hidden_dim=WIDTH,
        intermediate_dim=HIDDEN,
        key_value_dim=HEAD_WIDTH,
        dropout=0.0,
        activation="relu",
        use_gated_activation=False,
        tie_embedding_weights=True,
    )
    optimizer = keras.optimizers.Adafactor(1e-3)
    optimizer.build(model.trainable_variables)
    ids = batch_of()
    batch = {
        "encoder_token_ids": ids["inputs"],
        "encoder_padding_mask": np.ones_like(ids["inputs"]),
        "decoder_token_ids": ids["targets"],
        "decoder_padding_mask": np.ones_like(ids["targets"]),
    }

    @tf.function(jit_compile=True)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            hidden = model(batch, training=True)["decoder_sequence_output"]
            logits = model.token_embedding(hidden, reverse=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(ids["targets"], logits))
        values = [variable.value for variable in model.trainable_variables]
        gradients = [tf.convert_to_tensor(each) for each in tape.gradient(loss, values)]
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    return lambda: step().numpy()


def measure(contestant: str, architecture: str, layers: int) -> None:
    """Prints what the first step takes: seconds of the clock, and of the processor."""
    step = peer_step(layers) if contestant == PEER else our_step(architecture, layers, OURS[contestant][1])
    clock, processor = time.perf_counter(), time.process_time()
    step()
    print(json.dumps([time.perf_counter() - clock, time.process_time() - processor]))


def measured(contestant: str, architecture: str, layers: int) -> list[float]:
    """What `measure` prints in a process of its own."""
    backend = "tensorflow" if contestant == PEER else OURS[contestant][0]
    command = [sys.executable, "-m", "tests.benchmarks.depth", "--measure", contestant, architecture, str(layers)]
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found: list[float] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architectures", default="transformer")
    parser.add_argument("--depths", default="6,12,24,48")
    parser.add_argument("--peer-depths", default="6,12,24")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        contestant, architecture, layers = arguments.measure
        measure(contestant, architecture, int(layers))
        return
    for architecture in arguments.architectures.split(","):
        contestants = [*OURS, PEER] if architecture == "transformer" and arguments.peer_depths else [*OURS]
        for contestant in contestants:
            depths = arguments.peer_depths if contestant == PEER else arguments.depths
            first = None
            for layers in map(int, depths.split(",")):
                clock, processor = measured(contestant, architecture, layers)
                first = first or (clock, processor)
                print(
                    f"{architecture:14} {contestant:18} NL{layers:<3} {clock:6.1f} s  processor {processor:6.1f} s  "
                    f"ratio to the first {clock / first[0]:.2f}  processor {processor / first[1]:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
