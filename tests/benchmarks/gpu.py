"""Speed on one NVIDIA GPU against Hugging Face T5, within a budget of seconds, the most important figures first.

    pip install '.[jax,benchmark]' 'jax[cuda12]' && python -m tests.benchmarks.gpu --chip h100 --budget 480

One process a contestant: scalecli on JAX, Hugging Face's T5 (torch.compile, autocast to bfloat16, its Adafactor),
and scalecli on the CPU, whose losses the GPU's are compared with. Each figure is printed as it comes; what the budget
has no time for, and what fails, is said.

losses   of four steps of one layer of tiny from equal weights, with their gradient norms, against the CPU's float32
train    tokens (512 inputs and 114 targets a sequence) a second in bfloat16, the share of the chip's peak that the
         model's FLOPs are (`costs.flops`, training: what is computed again does not count), and memory. A contestant
         that has no room for the batch gets half of it
decode   64 tokens greedily for 64 inputs of 64 tokens, bfloat16, without early end
depth    the first and a later step from 6 to 48 layers
long     one sequence of 16,384 tokens in bfloat16, rematerialised

`--sizes tiny --batch 2 --chip cpu` tries the script on a CPU.
"""

from __future__ import annotations

import abc
import argparse
import gc
import json
import os
import selectors
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

INPUTS, TARGETS, DECODED, NEW_TOKENS, LONG = 512, 114, 64, 64, 16384
BATCHES = {"tiny": 128, "small": 128, "base": 64, "large": 32, "small-nl24": 32}
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "OutOfMemory", "out of memory")
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


class Contest:
    """The contestants' processes and the time that is left."""

    def __init__(self, budget: float) -> None:
        self.start = time.monotonic()
        self.deadline = self.start + budget
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def say(self, text: str) -> None:
        """Prints a line with the seconds since the start."""
        print(f"{time.monotonic() - self.start:5.0f} s  {text}", flush=True)

    def send(self, name: str, method: str, **arguments: Any) -> None:
        """Sends a contestant a request."""
        process = self.processes.get(name) or self._started(name)
        assert process.stdin
        process.stdin.write(json.dumps([method, arguments]) + "\n")
        process.stdin.flush()

    def answer(self, name: str, what: str) -> dict[str, Any] | None:
        """A contestant's answer; None, said, where it failed or the time ran out."""
        if name not in self.processes:
            return None
        process = self.processes[name]
        assert process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(max(0, self.deadline - time.monotonic())) else ""
        if not line:
            process.kill()
            del self.processes[name]
            self.say(f"{what}: {name} gave no answer in time")
            return None
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            self.say(f"{what}: {name}: {answer['failed']}")
        return answer

    def trial(self, what: str, names: tuple[str, ...], trial: str, **arguments: Any) -> dict[str, dict[str, Any]]:
        """What each of the contestants measured: they compile side by side, and are timed one after another.

        One that has no room for the batch gets half of it.
        """
        found = {}
        if time.monotonic() > self.deadline - 15:
            self.say(f"{what}: left out, no time")
            return found
        for name in names:
            self.send(name, "prepare", trial=trial, **arguments)
        ready = {name: (arguments, self.answer(name, what)) for name in names}
        for name, (given, prepared) in ready.items():
            while (
                prepared and any(word in str(prepared.get("failed")) for word in OUT_OF_MEMORY) and given["batch"] > 1
            ):
                given = {**given, "batch": given["batch"] // 2}
                self.send(name, "prepare", trial=trial, **given)
                prepared = self.answer(name, what)
            if prepared and "failed" not in prepared:
                self.send(name, "measure")
                measured = self.answer(name, what)
                if measured and "failed" not in measured:
                    found[name] = {**given, **prepared, **measured}
        return found

    def _started(self, name: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        if name == REFERENCE:
            environment["JAX_PLATFORMS"] = "cpu"
        command = [sys.executable, "-m", __spec__.name, "--contestant", name]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        self.processes[name] = process
        return process

    def compare_losses(self) -> None:
        """Prints the largest relative difference of losses and norms from the CPU's in float32."""
        reference = self.answer(REFERENCE, "losses")
        for precision in ("float32", "bfloat16") if reference and "failed" not in reference else ():
            self.send(OURS, "losses", precision=precision)
            ours = self.answer(OURS, "losses")
            if ours and "failed" not in ours:
                off = [np.abs(np.array(ours[name]) / np.array(reference[name]) - 1).max() for name in reference]
                self.say(f"losses {precision}: off by {off[0]:.1e}, gradient norms by {off[1]:.1e}, of {STEPS} steps")

    def train(self, size: str, batch: int, peak: float) -> None:
        """Prints tokens a second of both, and the ratio."""
        from scalecli import costs

        rates = {}
        for name, found in self.trial(f"train {size}", (OURS, THEIRS), "train", size=size, batch=batch).items():
            rows, seconds = found["batch"], found["seconds"]
            flops = sum(costs.flops(spec_of(size), costs.Batch(rows, INPUTS, TARGETS), "training").values())
            rates[name] = rows * (INPUTS + TARGETS) / seconds
            self.say(
                f"train {size}, batch {rows}: {name} {1e3 * seconds:.1f} ms, {rates[name]:,.0f} tokens/s, "
                f"{flops / seconds / peak:.1%} of peak, most memory so far {found['bytes'] / 2**30:.1f} GiB, "
                f"first step {found['first']:.0f} s"
            )
        if len(rates) == 2:
            self.say(f"train {size}: {rates[OURS] / rates[THEIRS]:.2f} times the tokens/s of {THEIRS}")

    def decode(self, size: str) -> None:
        """Prints tokens a second of both, and the ratio."""
        seconds = {}
        for name, found in self.trial(f"decode {size}", (OURS, THEIRS), "decode", size=size).items():
            seconds[name] = found["seconds"]
            rate = DECODED * NEW_TOKENS / seconds[name]
            self.say(f"decode {size}: {name} {1e3 * seconds[name]:.0f} ms, {rate:,.0f} tokens/s")
        if len(seconds) == 2:
            self.say(f"decode {size}: {seconds[THEIRS] / seconds[OURS]:.2f} times as fast as {THEIRS}")

    def alone(self, what: str, **arguments: Any) -> None:
        """Prints one step of ours."""
        for found in self.trial(what, (OURS,), "train", **arguments).values():
            self.say(
                f"{what}: first step {found['first']:.1f} s, then {1e3 * found['seconds']:.1f} ms, "
                f"most memory so far {found['bytes'] / 2**30:.1f} GiB"
            )


def main() -> None:
    """Runs the contests in order of importance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=["base", "large", "small", "small-nl24"])
    parser.add_argument("--batch", type=int, help="Sequences; by default 128 for small to 32 for large.")
    parser.add_argument("--budget", type=float, default=480.0, help="Seconds for all of it.")
    parser.add_argument("--chip", default="h100", help="Whose peak is meant: a name in shapes/hardware/chips.yaml.")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        contend(arguments.contestant)
        return
    from scalecli.costs.hardware import chips

    chip, contest = chips()[arguments.chip], Contest(arguments.budget)
    peak = chip.flops(chip.precision)
    first, *others = arguments.sizes
    contest.send(REFERENCE, "losses", precision="float32")
    contest.train(first, arguments.batch or BATCHES[first], peak)
    contest.decode(first)
    contest.compare_losses()
    for size in others:
        contest.train(size, arguments.batch or BATCHES[size], peak)
    for layers in (6, 12, 24, 48):
        contest.alone(f"depth, small with {layers} layers", size=f"small-nl{layers}", batch=arguments.batch or 16)
    contest.alone(f"long, {first} with {LONG} inputs", size=first, batch=1, inputs=LONG, rematerialise=True)
    for process in contest.processes.values():
        process.kill()


if __name__ == "__main__":
    main()
