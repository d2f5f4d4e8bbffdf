"""Who takes part in `gpu`: scalecli on JAX, and Hugging Face's T5 on PyTorch."""

from __future__ import annotations

import abc
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

INPUTS, TARGETS, DECODED, NEW_TOKENS, LONG = 512, 114, 64, 64, 16384
STEPS = 4
OURS, THEIRS, REFERENCE = "scalecli", "Hugging Face", "scalecli on the CPU"


def ids(rows: int, length: int) -> np.ndarray:
    """Token ids [rows, length] without padding."""
    return np.random.default_rng(0).integers(2, 32000, (rows, length)).astype("int32")


def spec_of(size: str):
    """The specs of T5 v1 of that size."""
    from scalecli.architectures import build_spec
    from scalecli.shape import parse_name

    return build_spec("transformer", parse_name(size))


Step = Callable[[], object]


class Contestant(abc.ABC):
    """Prepares one trial at a time, which compiles, and then measures it."""

    step: Step

    def prepare(self, trial: str, **arguments: Any) -> dict[str, float]:
        """Seconds from nothing to the end of a trial's first step."""
        self.step = lambda: None
        gc.collect()
        start = time.perf_counter()
        self.step = getattr(self, trial)(**arguments)
        self.step()
        return {"first": time.perf_counter() - start}

    def measure(self) -> dict[str, float]:
        """The median seconds of up to eight steps, and the most bytes in use so far."""
        self.step()
        seconds: list[float] = []
        while len(seconds) < 8 and sum(seconds) < 4:
            start = time.perf_counter()
            self.step()
            seconds.append(time.perf_counter() - start)
        return {"seconds": statistics.median(seconds), "bytes": self.most_bytes()}

    @abc.abstractmethod
    def most_bytes(self) -> int:
        """The most bytes of the GPU's memory that were in use, 0 on a CPU."""


class Scalecli(Contestant):
    """Ours, on JAX."""

    def train(self, size: str, batch: int, inputs: int = INPUTS, rematerialise: bool = False) -> Step:
        """One step."""
        import jax

        from scalecli.devices import Request, open_devices
        from scalecli.models.encoder_decoder import EncoderDecoder
        from tests.steps import steps_of

        devices = open_devices(Request("one"))
        make = lambda: EncoderDecoder(spec_of(size), "bfloat16", rematerialise=rematerialise)  # noqa: E731
        steps, _ = steps_of(devices.new_model(make), 1e-3, devices=devices)
        rows = {"inputs": ids(batch, inputs), "targets": ids(batch, TARGETS)}
        on_device = jax.device_put(rows, devices.row_sharding)
        return lambda: steps.run(iter([on_device]), 1)

    def most_bytes(self) -> int:
        """See `Contestant`."""
        from scalecli.devices import Request, open_devices

        return open_devices(Request("one")).memory_bytes() or 0

    def losses(self, precision: str) -> dict[str, Any]:
        """Losses and gradient norms of a few steps."""
        import jax
        import keras

        from scalecli.devices import Request, open_devices
        from scalecli.models.encoder_decoder import EncoderDecoder
        from tests.steps import steps_of

        with jax.default_matmul_precision("highest" if precision == "float32" else "default"):
            devices = open_devices(Request("one"))
            keras.utils.set_random_seed(0)
            model = devices.new_model(lambda: EncoderDecoder(spec_of("tiny-nl1"), precision, 0.1))
            random = np.random.default_rng(0)  # since the generators of GPUs may draw other weights
            for variable in model.trainable_variables:
                value = np.asarray(variable)
                variable.assign(value if value.std() == 0 else random.normal(0, value.std(), value.shape))
            steps, _ = steps_of(model, 0.01, devices=devices)
            rows = jax.device_put({"inputs": ids(8, 128), "targets": ids(8, 50)}, devices.row_sharding)
            figures = steps.run(iter([rows] * STEPS), STEPS)
        return {"losses": figures.losses.tolist(), "norms": figures.norms.tolist()}

    def decode(self, size: str) -> Step:
        """Greedy decoding."""
        from scalecli.evaluation.decoding.greedy import greedy_decoder
        from scalecli.models.encoder_decoder import EncoderDecoder

        decode = greedy_decoder(EncoderDecoder(spec_of(size), "bfloat16"), NEW_TOKENS)
        return lambda: decode(ids(DECODED, DECODED))


class HuggingFace(Contestant):
    """The peer, on PyTorch."""

    def _model(self, size: str) -> Any:
        import torch
        import transformers

        from scalecli.shape import parse_name

        shape = parse_name(size)
        config = transformers.T5Config(
            vocab_size=shape.vocabulary,
            d_model=shape.d_model,
            d_kv=shape.d_kv,
            d_ff=shape.d_ff,
            num_layers=shape.encoder_layers,
            num_decoder_layers=shape.decoder_layers,
            num_heads=shape.heads,
            dropout_rate=0.0,
            decoder_start_token_id=0,
            pad_token_id=0,
        )
        return transformers.T5ForConditionalGeneration(config).to("cuda" if torch.cuda.is_available() else "cpu")

    def prepare(self, trial: str, **arguments: Any) -> dict[str, float]:
        """See `Contestant`; while others have their turn, PyTorch keeps no memory that it doesn't need."""
        import torch

        figures = super().prepare(trial, **arguments)
        torch.cuda.empty_cache()
        return figures

    def most_bytes(self) -> int:
        """See `Contestant`."""
        import torch

        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0

    def train(self, size: str, batch: int) -> Step:
        """One step."""
        import torch
        from transformers.optimization import Adafactor

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        torch._dynamo.reset()
        torch.set_float32_matmul_precision("high")
        model = self._model(size).train()
        optimizer = Adafactor(model.parameters(), lr=1e-3, scale_parameter=True, relative_step=False, warmup_init=False)
        compiled = torch.compile(model)
        inputs, labels = (
            torch.tensor(ids(batch, length), dtype=torch.long, device=model.device) for length in (INPUTS, TARGETS)
        )

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(model.device.type, torch.bfloat16):
                loss = compiled(input_ids=inputs, labels=labels).loss
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def decode(self, size: str) -> Step:
        """Greedy decoding."""
        import torch

        model = self._model(size).eval().to(torch.bfloat16)
        inputs = torch.tensor(ids(DECODED, DECODED), dtype=torch.long, device=model.device)

        def decode() -> object:
            with torch.inference_mode():
                tokens = model.generate(inputs, min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS, do_sample=False)
            return tokens.cpu()

        return decode


CONTESTANTS: dict[str, type[Contestant]] = {OURS: Scalecli, THEIRS: HuggingFace, REFERENCE: Scalecli}


def contend(name: str) -> None:
    """Answers requests on standard input, [method, arguments] a line, by a line of JSON on standard output."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries that print must not answer
    contestant = CONTESTANTS[name]()
    for line in sys.stdin:
        method, arguments = json.loads(line)
        try:
            answer = getattr(contestant, method)(**arguments)
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:300].replace("\n", " ")}
        print(json.dumps(answer), file=answers, flush=True)
