"""Speed on a GPU against Hugging Face T5: training steps of `base` and `large`, and greedy decoding, in bfloat16.

    pip install '.[jax,benchmark]' 'jax[cuda12]' && python -m tests.benchmarks.gpu --peak-flops 989e12

Ours is the JAX backend's training step; the peer is Hugging Face's T5 under torch.compile and autocast to bfloat16,
both with Adafactor, on the same GPU, each in a process of its own, round after round. The batch is 128 sequences of
512/114 tokens, or the largest power of two below that both have room for. Printed: tokens (inputs and targets) a
second, the share of the GPU's peak that the model's FLOPs are (`costs.flops`, training: what is computed again does not
count), and ratios. Decoding: 64 tokens for 64 inputs of 64 tokens, without early end. `--size tiny --batch 2` tries the
script on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

INPUTS, TARGETS, DECODED, NEW_TOKENS = 512, 114, 64, 64
MEASURED = 5
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "OutOfMemoryError")


def ids(rows: int, length: int) -> np.ndarray:
    return np.random.default_rng(0).integers(2, 32000, (rows, length)).astype("int32")


def spec_of(size: str):
    from scalecli.architectures import build_spec
    from scalecli.shape import parse_name

    return build_spec("transformer", parse_name(size))


def train_scalecli(size: str, batch: int) -> Callable[[], object]:
    import jax

    from scalecli.devices import Request, open_devices
    from scalecli.models.encoder_decoder import EncoderDecoder
    from tests.steps import steps_of

    devices = open_devices(Request("one"))
    model = devices.new_model(lambda: EncoderDecoder(spec_of(size), "bfloat16"))
    steps, _ = steps_of(model, 1e-3, devices=devices)
    rows = {"inputs": ids(batch, INPUTS), "targets": ids(batch, TARGETS)}
    on_device = jax.device_put(rows, devices.of_rows)
    return lambda: steps.run(iter([on_device]), 1)


def decode_scalecli(size: str, batch: int) -> Callable[[], object]:
    from scalecli.evaluation.decoding.greedy import greedy_decoder
    from scalecli.models.encoder_decoder import EncoderDecoder

    decode = greedy_decoder(EncoderDecoder(spec_of(size), "bfloat16"), NEW_TOKENS)
    inputs = ids(DECODED, DECODED)
    return lambda: decode(inputs)


def hugging_face_model(size: str):
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
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return transformers.T5ForConditionalGeneration(config).to(device)


def train_hugging_face(size: str, batch: int) -> Callable[[], object]:
    import torch
    from transformers.optimization import Adafactor

    model = hugging_face_model(size).train()
    torch.set_float32_matmul_precision("high")
    optimizer = Adafactor(model.parameters(), lr=1e-3, scale_parameter=True, relative_step=False, warmup_init=False)
    compiled = torch.compile(model)
    rows = [torch.tensor(ids(batch, length), dtype=torch.long, device=model.device) for length in (INPUTS, TARGETS)]

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(model.device.type, torch.bfloat16):
            loss = compiled(input_ids=rows[0], labels=rows[1]).loss
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def decode_hugging_face(size: str, batch: int) -> Callable[[], object]:
    import torch

    model = hugging_face_model(size).eval().to(torch.bfloat16)
    inputs = torch.tensor(ids(DECODED, DECODED), dtype=torch.long, device=model.device)

    def decode() -> object:
        with torch.inference_mode():
            found = model.generate(inputs, min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS, do_sample=False)
        return found.cpu()

    return decode


CONTESTS = {
    "train": {"scalecli": train_scalecli, "Hugging Face": train_hugging_face},
    "decode": {"scalecli": decode_scalecli, "Hugging Face": decode_hugging_face},
}


def measure(contest: str, contestant: str, size: str, batch: int) -> None:
    """Prints the seconds of each measured call; the two calls before them compile and warm up."""
    step = CONTESTS[contest][contestant](size, batch)
    step()
    step()
    seconds = []
    for _ in range(MEASURED):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    print(json.dumps(seconds))


def seconds_of(contest: str, contestant: str, size: str, batch: int) -> list[float] | None:
    """From a process of its own; None where the GPU's memory is too small."""
    command = [sys.executable, "-m", __spec__.name, "--measure", contest, contestant, size, str(batch)]
    ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "jax"})
    if ran.returncode:
        if any(words in ran.stderr for words in OUT_OF_MEMORY):
            return None
        raise SystemExit(f"{contestant}: {ran.stderr[-2000:]}")
    found: list[float] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def contest_of(contest: str, size: str, batch: int, arguments: argparse.Namespace) -> None:
    """Runs all contestants at the largest batch that all have room for, and prints what came out."""
    from scalecli import costs

    while batch:
        seconds: dict[str, list[float]] = {contestant: [] for contestant in CONTESTS[contest]}
        for contestant in list(CONTESTS[contest]) * arguments.rounds:
            found = seconds_of(contest, contestant, size, batch)
            if found is None:
                break
            seconds[contestant] += found
        else:
            break
        print(f"{size}: {contestant} has no room for a batch of {batch}")
        batch //= 2
    medians = {contestant: statistics.median(each) for contestant, each in seconds.items()}
    flops = sum(costs.flops(spec_of(size), costs.Batch(batch, INPUTS, TARGETS), "training").values())
    for contestant, median in medians.items():
        ratio = f"{median / medians['scalecli']:.2f} times our time"
        if contest == "train":
            used = f"{flops / median / arguments.peak_flops:.1%} of peak" if arguments.peak_flops else "peak not given"
            rate = f"{batch * (INPUTS + TARGETS) / median:,.0f} tokens/s  {used}"
        else:
            rate = f"{DECODED * NEW_TOKENS / median:,.0f} tokens/s"
        print(f"{contest} {size}, batch {batch}: {contestant:13} {median:.4f} s  {rate}  {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="*", default=["base", "large"])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--peak-flops", type=float, help="Of the GPU in bfloat16, in FLOPs a second.")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        contest, contestant, size, batch = arguments.measure
        measure(contest, contestant, size, int(batch))
        return
    for size in arguments.size:
        for contest in CONTESTS:
            contest_of(contest, size, arguments.batch, arguments)


if __name__ == "__main__":
    main()
