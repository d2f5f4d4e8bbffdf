"""Speed on one NVIDIA GPU against Hugging Face T5, within a budget of seconds, the most important figures first.

    pip install '.[jax,benchmark]' 'jax[cuda12]' && python -m tests.benchmarks.gpu --chip h100 --budget 480

A process for each contestant of each trial: scalecli on JAX, Hugging Face's T5 (torch.compile, autocast to bfloat16,
its Adafactor), and scalecli on the CPU, whose losses the GPU's are compared with. All of the peer's programs are
compiled side by side from the start, which takes minutes and little of the GPU; ours one after another, each timed as
soon as it is there, while the others pause; then the peer's are timed. Each figure is printed as it comes; what the
budget has no time for, and what fails, is said.

train    tokens (512 inputs and 114 targets a sequence) a second in bfloat16, the share of the chip's peak that the
         model's FLOPs are (`costs.flops`, training: what is computed again does not count), and memory. A contestant
         that has no room for the batch gets half of it. Large runs once more when it is alone, with twice the batch
decode   64 tokens greedily for 64 inputs of 64 tokens, bfloat16, without early end
losses   of four steps of one layer of tiny from equal weights, with their gradient norms, against the CPU's float32
long     one sequence of 16,384 tokens in bfloat16, rematerialised
depth    the first and a later step of 6 to 48 layers

`--sizes tiny --batch 2 --chip cpu` tries the script on a CPU.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.benchmarks.gpu_contestants import (
    DECODED,
    INPUTS,
    LONG,
    NEW_TOKENS,
    OURS,
    REFERENCE,
    STEPS,
    TARGETS,
    THEIRS,
    contend,
    spec_of,
)

BATCHES = {"tiny": 128, "small": 128, "base": 64, "large": 64, "small-nl24": 32}
LARGEST_OF_PEER = {"large": 32}  # more would not fit beside the others
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "OutOfMemory", "out of memory")


class Entry:
    """A contestant's process for one trial."""

    def __init__(self, name: str, what: str, trial: str, **arguments: Any) -> None:
        self.name, self.what, self.request = name, what, {"trial": trial, **arguments}
        environment = {**os.environ, "KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        if name == REFERENCE:
            environment["JAX_PLATFORMS"] = "cpu"
        if trial == "losses":  # Triton's products in full float32 take ten times as long to compile
            environment["XLA_FLAGS"] = "--xla_gpu_enable_triton_gemm=false"
        command = [sys.executable, "-m", __spec__.name, "--contestant", name]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # with those that compile for it
        )

    def send(self, method: str, **arguments: Any) -> None:
        """Sends a request."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([method, arguments]) + "\n")
        self.process.stdin.flush()

    def send_signal(self, number: int) -> None:
        """Sends a signal to its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def prepare(self) -> None:
        """Asks it to compile."""
        self.send("prepare", **self.request)


class Contest:
    """The entries, and the time that is left."""

    def __init__(self, budget: float) -> None:
        self.start = time.monotonic()
        self.deadline = self.start + budget
        self.entries: list[Entry] = []

    def enter(self, name: str, what: str, trial: str, **arguments: Any) -> Entry:
        """A new entry, whose libraries are imported while others compile."""
        self.entries.append(Entry(name, what, trial, **arguments))
        return self.entries[-1]

    def say(self, text: str) -> None:
        """Prints a line with the seconds since the start."""
        print(f"{time.monotonic() - self.start:5.0f} s  {text}", flush=True)

    def has_time_for(self, what: str, seconds: float) -> bool:
        """Whether so many seconds are left; if not, says so."""
        if time.monotonic() < self.deadline - seconds:
            return True
        self.say(f"{what}: left out, no time")
        return False

    def answer(self, entry: Entry, seconds: float = math.inf) -> dict[str, Any] | None:
        """An entry's answer; None, said, where it failed, or the time or those seconds ran out."""
        process, left = entry.process, min(seconds, self.deadline - time.monotonic())
        assert process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if left > 0 and selector.select(left) else ""
        if not line:
            entry.send_signal(signal.SIGKILL)
            self.say(f"{entry.what}: {entry.name} gave no answer in time")
            return None
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            self.say(f"{entry.what}: {entry.name}: {answer['failed']}")
        return answer

    def result(self, entry: Entry) -> dict[str, Any] | None:
        """What an entry that has been told to prepare measures, with half the batch where there was no room for it."""
        prepared = self.answer(entry)
        while prepared and any(word in str(prepared.get("failed")) for word in OUT_OF_MEMORY):
            entry.request["batch"] //= 2
            if not entry.request["batch"]:
                break
            entry.prepare()
            prepared = self.answer(entry)
        if not prepared or "failed" in prepared:
            return None
        with self.pause_of_others(entry):
            entry.send("measure")
            measured = self.answer(entry)
        entry.send_signal(signal.SIGKILL)
        return {**entry.request, **prepared, **measured} if measured and "failed" not in measured else None

    @contextlib.contextmanager
    def pause_of_others(self, entry: Entry) -> Iterator[None]:
        """Within it, no other entry runs."""
        others = [other for other in self.entries if other is not entry]
        for other in others:
            other.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for other in others:
                other.send_signal(signal.SIGCONT)

    def ours(self, entry: Entry) -> dict[str, Any] | None:
        """What an entry measures that prepares when its turn comes."""
        entry.prepare()
        return self.result(entry)

    def train(self, result: dict[str, Any] | None, name: str, peak: float) -> float | None:
        """Prints and returns tokens a second."""
        from scalecli import costs

        if result is None:
            return None
        size, rows, seconds = result["size"], result["batch"], result["seconds"]
        flops = sum(costs.flops(spec_of(size), costs.Batch(rows, INPUTS, TARGETS), "training").values())
        rate: float = rows * (INPUTS + TARGETS) / seconds
        self.say(
            f"train {size}, batch {rows}: {name} {1e3 * seconds:.1f} ms, {rate:,.0f} tokens/s, "
            f"{flops / seconds / peak:.1%} of peak, {result['bytes'] / 2**30:.1f} GiB, "
            f"first step {result['first']:.0f} s"
        )
        return rate

    def decode(self, result: dict[str, Any] | None, name: str) -> float | None:
        """Prints and returns tokens a second."""
        if result is None:
            return None
        rate: float = DECODED * NEW_TOKENS / result["seconds"]
        self.say(f"decode {result['size']}: {name} {1e3 * result['seconds']:.0f} ms, {rate:,.0f} tokens/s")
        return rate

    def losses(self, reference: Entry, ours: list[Entry]) -> None:
        """Prints the largest relative difference of losses and norms from the CPU's in float32."""
        right = self.answer(reference, seconds=120)
        for entry in ours if right and "failed" not in right else ():
            entry.send("losses", precision=entry.request["precision"])
            figures = self.answer(entry, seconds=120)
            if figures and "failed" not in figures:
                off = [np.abs(np.array(figures[name]) / np.array(right[name]) - 1).max() for name in right]
                self.say(f"{entry.what}: off by {off[0]:.1e}, gradient norms by {off[1]:.1e}, of {STEPS} steps")
            entry.send_signal(signal.SIGKILL)

    def alone(self, entry: Entry) -> None:
        """Prints one step of ours."""
        result = self.ours(entry)
        if result:
            self.say(
                f"{entry.what}: first step {result['first']:.1f} s, then {1e3 * result['seconds']:.1f} ms, "
                f"{result['bytes'] / 2**30:.1f} GiB"
            )


def main() -> None:
    """Runs the contests in order of importance."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", default=["base", "large", "small", "small-nl24"])
    parser.add_argument("--batch", type=int, help="Sequences; by default 32 to 128, by the size.")
    parser.add_argument("--budget", type=float, default=480.0, help="Seconds for all of it.")
    parser.add_argument("--chip", default="h100", help="Whose peak is meant: a name in shapes/hardware/chips.yaml.")
    parser.add_argument("--contestant", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        contend(arguments.contestant)
        return
    from scalecli.costs.hardware import chips

    chip, contest = chips()[arguments.chip], Contest(arguments.budget)
    peak, first = chip.flops(chip.precision), arguments.sizes[0]
    batches = {size: arguments.batch or BATCHES[size] for size in arguments.sizes}
    peers = {
        f"train {size}": contest.enter(
            THEIRS, f"train {size}", "train", size=size, batch=min(batch, LARGEST_OF_PEER.get(size, batch))
        )
        for size, batch in batches.items()
    }
    peers["decode"] = contest.enter(THEIRS, f"decode {first}", "decode", size=first)
    for peer in peers.values():
        peer.prepare()
    reference = contest.enter(REFERENCE, "losses", "losses", precision="float32")
    reference.send("losses", precision="float32")
    mine = {
        f"train {size}": contest.enter(OURS, f"train {size}", "train", size=size, batch=batch)
        for size, batch in batches.items()
    }
    decoder = contest.enter(OURS, f"decode {first}", "decode", size=first)
    narrow = [
        contest.enter(OURS, f"losses {precision}", "losses", precision=precision)
        for precision in ("float32", "bfloat16")
    ]
    rates: dict[str, float | None] = {}
    for what, entry in mine.items():
        rates[what] = contest.train(contest.ours(entry), OURS, peak)
        if "decode" not in rates:
            rates["decode"] = contest.decode(contest.ours(decoder), OURS)
    contest.losses(reference, narrow)
    for what, entry in peers.items():
        result = contest.result(entry)
        rate = contest.decode(result, THEIRS) if what == "decode" else contest.train(result, THEIRS, peak)
        if (ours := rates[what]) and rate:
            contest.say(f"{entry.what}: {ours / rate:.2f} times the tokens/s of {THEIRS}")
    if "large" in batches and contest.has_time_for("train large, alone", 60):
        entry = contest.enter(OURS, "train large, alone", "train", size="large", batch=2 * batches["large"])
        contest.train(contest.ours(entry), OURS, peak)
    alone = [(f"long, {first} with {LONG} inputs", {"size": first, "batch": 1, "inputs": LONG, "rematerialise": True})]
    alone += [(f"depth, small-nl{layers}", {"size": f"small-nl{layers}", "batch": 32}) for layers in (6, 12, 48)]
    for what, request in alone:
        if contest.has_time_for(what, 20):
            batch = arguments.batch or request["batch"]
            contest.alone(contest.enter(OURS, what, "train", **{**request, "batch": batch}))
    for entry in contest.entries:
        entry.send_signal(signal.SIGKILL)


if __name__ == "__main__":
    main()
