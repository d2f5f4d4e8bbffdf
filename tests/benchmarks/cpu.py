"""Speed on this machine's CPU against named peers: a training step of small and of small-nl24, greedy decoding.

    pip install '.[benchmark]' && python -m tests.benchmarks.cpu [train|train-nl24|decode] [--precision bfloat16]

Every contestant lives in a process of its own, and they take turns, call by call, so that a machine whose speed drifts
treats them alike. Two processes of one program differ by up to 5%, for as long as they live, so all are started several
times. All have huge pages, where Linux allows that, as scalecli's commands have them. Printed: the median seconds of
each one's calls, on the clock and of all its threads' processor time, and the medians over the rounds of their ratios
to ours. On a busy machine the processor's time is the better measure of TensorFlow, but PyTorch and CTranslate2 also
count the time in which their threads wait for each other.

Training: one optimizer step of small (6 + 6 layers, 60.5M parameters), batch 8 x 512 inputs x 114 targets, or of
small-nl24 (24 + 24 layers, 193M), batch 2; no dropout. In bfloat16 the weights stay float32: Hugging Face trains by
autocast, keras-hub by mixed_bfloat16. Decoding: 64 tokens for 8 inputs of 128 tokens, without early end, as no trained
model is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

INPUTS, TARGETS, DECODER_INPUTS, NEW_TOKENS = 512, 114, 128, 64
VOCABULARY = 32128
ANSWER = "answer:"


class Seconds(NamedTuple):
    """What a call took: on the clock, and of the processors' time."""

    wall: float
    processor: float


@dataclass(frozen=True)
class Trial:
    """A model of small's width with as many layers in each stack, examples of a batch, and the products' precision."""

    layers: int
    batch: int
    precision: str = "float32"

    def examples(self, inputs: int = INPUTS) -> tuple[np.ndarray, np.ndarray]:
        """Token ids of inputs and targets."""
        random = np.random.default_rng(0)
        return tuple(random.integers(2, 32000, (self.batch, length)).astype("int32") for length in (inputs, TARGETS))


def scalecli_model(trial: Trial):
    from scalecli.architectures import build_spec
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.shape import parse_name

    return EncoderDecoder(build_spec("transformer", parse_name(f"small-nl{trial.layers}")), trial.precision)


def train_scalecli(trial: Trial) -> Callable[[], object]:
    import tensorflow as tf

    from tests.steps import steps_of

    inputs, targets = trial.examples()
    batches = iter(tf.data.Dataset.from_tensors({"inputs": inputs, "targets": targets}).repeat())
    steps, _ = steps_of(scalecli_model(trial), 1e-3)
    return lambda: steps.run(batches, 1)


def hugging_face_model(trial: Trial):
    import transformers

    config = transformers.T5Config(
        vocab_size=VOCABULARY,
        d_model=512,
        d_kv=64,
        d_ff=2048,
        num_layers=trial.layers,
        num_heads=8,
        dropout_rate=0.0,
        decoder_start_token_id=0,
        pad_token_id=0,
    )
    return transformers.T5ForConditionalGeneration(config)


def train_hugging_face(trial: Trial) -> Callable[[], object]:
    import torch
    from transformers.optimization import Adafactor

    model = hugging_face_model(trial).train()
    optimizer = Adafactor(model.parameters(), lr=1e-3, scale_parameter=True, relative_step=False, warmup_init=False)
    inputs, targets = (torch.tensor(part, dtype=torch.long) for part in trial.examples())

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=trial.precision == "bfloat16"):
            loss = model(input_ids=inputs, labels=targets).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def train_keras_hub(trial: Trial) -> Callable[[], object]:
    import keras
    import keras_hub
    import tensorflow as tf

    model = keras_hub.models.T5Backbone(
        vocabulary_size=VOCABULARY,
        num_layers=trial.layers,
        num_heads=8,
        hidden_dim=512,
        intermediate_dim=2048,
        key_value_dim=64,
        dropout=0.0,
        activation="relu",
        use_gated_activation=False,
        tie_embedding_weights=True,
        dtype="mixed_bfloat16" if trial.precision == "bfloat16" else "float32",
    )
    optimizer = keras.optimizers.Adafactor(1e-3)
    optimizer.build(model.trainable_variables)
    inputs, targets = trial.examples()
    batch = {
        "encoder_token_ids": inputs,
        "encoder_padding_mask": np.ones_like(inputs),
        "decoder_token_ids": np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
        "decoder_padding_mask": np.ones_like(targets),
    }

    @tf.function(jit_compile=bool(os.environ.get("KERAS_HUB_JIT")))
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            hidden = model(batch, training=True)["decoder_sequence_output"]
            logits = tf.cast(model.token_embedding(hidden * 512**-0.5, reverse=True), tf.float32)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits))
        values = [variable.value for variable in model.trainable_variables]
        optimizer.apply(tape.gradient(loss, values), model.trainable_variables)
        return loss

    return lambda: step().numpy()


def decode_scalecli(trial: Trial) -> Callable[[], object]:
    from scalecli.evaluation.decoding.greedy import greedy_decoder

    decode = greedy_decoder(scalecli_model(trial), NEW_TOKENS)
    inputs, _ = trial.examples(DECODER_INPUTS)
    return lambda: decode(inputs)


def decode_hugging_face(trial: Trial) -> Callable[[], object]:
    import torch

    model = hugging_face_model(trial).to(getattr(torch, trial.precision)).eval()
    inputs = torch.tensor(trial.examples(DECODER_INPUTS)[0], dtype=torch.long)

    def decode() -> object:
        with torch.inference_mode():
            return model.generate(inputs, min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS, do_sample=False)

    return decode


def decode_ctranslate2(trial: Trial) -> Callable[[], object]:
    import ctranslate2
    from ctranslate2.converters.transformers import T5Loader

    loader = T5Loader()
    spec = loader.get_model_spec(hugging_face_model(trial))
    tokens = ["<pad>", "</s>", "<unk>", *(f"<{number}>" for number in range(3, VOCABULARY))]
    loader.set_vocabulary(spec, tokens)
    spec.config.bos_token = spec.config.decoder_start_token = tokens[0]
    spec.config.eos_token, spec.config.unk_token = tokens[1:3]
    spec.validate()
    with tempfile.TemporaryDirectory() as folder:
        spec.save(folder)
        translator = ctranslate2.Translator(folder, compute_type=trial.precision, intra_threads=os.cpu_count())
    inputs = [[tokens[number] for number in row] for row in trial.examples(DECODER_INPUTS)[0]]
    length = {"min_decoding_length": NEW_TOKENS, "max_decoding_length": NEW_TOKENS}
    return lambda: translator.translate_batch(inputs, beam_size=1, **length)


TRAINING = {"scalecli": train_scalecli, "Hugging Face": train_hugging_face, "keras-hub": train_keras_hub}
CONTESTS = {
    "train": TRAINING,
    "train-nl24": TRAINING,
    "decode": {"scalecli": decode_scalecli, "Hugging Face": decode_hugging_face, "CTranslate2": decode_ctranslate2},
}
# These have no bfloat16 on CPUs.
FLOAT32_ONLY = {"CTranslate2"}
TRIALS = {"train": Trial(6, 8), "train-nl24": Trial(24, 2), "decode": Trial(6, 8)}


class Contestant:
    """A contestant in a process of its own, which is asked for one call after another."""

    def __init__(self, contest: str, name: str, precision: str) -> None:
        command = [sys.executable, "-m", __spec__.name, contest, "--serve", name, "--precision", precision]
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._answer()

    def call(self) -> Seconds:
        """One call, timed in the process."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Seconds(*json.loads(self._answer()))

    def close(self) -> None:
        """Ends the process."""
        self._process.communicate()
        self._errors.close()

    def _answer(self) -> str:
        for line in self._process.stdout:
            if line.startswith(ANSWER):
                return line.removeprefix(ANSWER)
        status = self._process.wait()
        self._errors.seek(0)
        raise SystemExit(f"{self._errors.read()}\n{self._process.args}: ended with {status}")


def serve(trial: Trial, contestant: Callable[[Trial], Callable[[], object]]) -> None:
    """Makes two calls, which compile and warm up, then one for each line of input, and prints their seconds."""
    call = contestant(trial)
    call()
    call()
    print(ANSWER, flush=True)
    for _ in sys.stdin:
        start, processor = time.perf_counter(), time.process_time()
        call()
        print(ANSWER, json.dumps([time.perf_counter() - start, time.process_time() - processor]), flush=True)


def calls_in_turns(contest: str, names: list[str], precision: str, rounds: int) -> list[dict[str, Seconds]]:
    """What the calls of freshly started contestants took, by contestant, one round after another."""
    contestants = {name: Contestant(contest, name, precision) for name in names}
    calls = [{name: contestant.call() for name, contestant in contestants.items()} for _ in range(rounds)]
    for contestant in contestants.values():
        contestant.close()
    return calls


def compete(contest: str, names: list[str], precision: str, rounds: int, starts: int) -> None:
    """Prints each contestant's median seconds, and the median over the rounds of its ratio to the first."""
    calls = [call for _ in range(starts) for call in calls_in_turns(contest, names, precision, rounds)]
    print(f"{contest} in {precision}: medians of {starts} x {rounds} rounds; ratios to {names[0]}", flush=True)
    for name in names:
        wall, processor = (statistics.median(call[name][clock] for call in calls) for clock in (0, 1))
        ratios = (statistics.median(call[name][clock] / call[names[0]][clock] for call in calls) for clock in (0, 1))
        print(
            "  {:13} {:6.3f} s ({:.2f})  processor {:6.3f} s ({:.2f})".format(
                name, *(x for pair in zip((wall, processor), ratios, strict=True) for x in pair)
            ),
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contests", nargs="*", default=list(CONTESTS), metavar="train|train-nl24|decode")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each contestant per start")
    parser.add_argument("--starts", type=int, default=3, help="how often all contestants are started")
    parser.add_argument("--only", help="names of contestants, separated by commas")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        (contest,) = arguments.contests
        serve(replace(TRIALS[contest], precision=arguments.precision), CONTESTS[contest][arguments.serve])
        return
    for contest in arguments.contests:
        names = arguments.only.split(",") if arguments.only else list(CONTESTS[contest])
        if arguments.precision != "float32":
            names = [name for name in names if name not in FLOAT32_ONLY]
        compete(contest, names, arguments.precision, arguments.rounds, arguments.starts)


if __name__ == "__main__":
    main()
