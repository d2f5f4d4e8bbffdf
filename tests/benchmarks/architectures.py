"""The table of architectures in shapes/: cost, training step beside the Transformer, agreement with the original code.

    python -m tests.benchmarks.architectures [--size small] [--rounds 3]

Each architecture's compiled training step (Adafactor, float32) is timed in turn with the Transformer's, in one process.
The last column needs the original figures (SCALECLI_TEST_ORACLE).
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from scalecli import costs
from scalecli.architectures import TEXT_ARCHITECTURES, build_spec
from scalecli.shape import presets
from tests import oracle
from tests.steps import steps_of


class Contestant:
    """A model and its training steps on random tokens."""

    def __init__(self, architecture: str, size: str, batch: costs.Batch) -> None:
        import tensorflow as tf

        from scalecli.models.encoder_decoder import EncoderDecoder

        self.model = EncoderDecoder(build_spec(architecture, presets(architecture)[size]))
        self.steps, _ = steps_of(self.model, 1e-3)
        random = np.random.default_rng(0)
        ids = {
            name: random.integers(2, 32000, (batch.sequences, length)).astype("int32")
            for name, length in (("inputs", batch.inputs), ("targets", batch.targets))
        }
        self.batches = iter(tf.data.Dataset.from_tensors(ids).repeat())
        self.seconds()  # compiles

    def seconds(self) -> float:
        """Of one training step."""
        start = time.perf_counter()
        self.steps.run(self.batches, 1)
        return time.perf_counter() - start


def relative_time(architecture: str, reference: Contestant, arguments: argparse.Namespace) -> tuple[float, float]:
    """Median seconds of a step, and the median ratio to the reference's step just before it."""
    if architecture == "transformer":
        return statistics.median(reference.seconds() for _ in range(arguments.rounds)), 1.0
    batch = costs.Batch(arguments.batch, arguments.inputs, arguments.targets)
    contestant = Contestant(architecture, arguments.size, batch)
    pairs = [(reference.seconds(), contestant.seconds()) for _ in range(arguments.rounds)]
    return statistics.median(own for _, own in pairs), statistics.median(own / other for other, own in pairs)


def difference(architecture: str) -> float | None:
    """Largest absolute difference of logits from the original code's over the fixtures; None without any."""
    from scalecli.models.encoder_decoder import EncoderDecoder

    worst: list[float] = []
    for name, (of, _) in oracle.ARCHITECTURE_OF.items():
        if of == architecture and oracle.FOLDER is not None:
            arrays, spec = oracle.load(f"{name}.npz"), oracle.spec_of(name)
            model = EncoderDecoder(spec)
            weights = oracle.stacked(arrays, "var:", spec)
            for path, variable in model.weights_by_path().items():
                variable.assign(weights[path])
            logits = np.asarray(model({"inputs": arrays["inputs"], "targets": arrays["targets"]}))
            worst.append(float(np.abs(logits - arrays["logits"])[arrays["targets"] > 0].max()))
    return max(worst, default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="small", help="size of the models that are timed")
    for name, value in (("rounds", 3), ("batch", 2), ("inputs", 256), ("targets", 64)):
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    reference = Contestant(
        "transformer", arguments.size, costs.Batch(arguments.batch, arguments.inputs, arguments.targets)
    )
    print("| architecture | parameters, base | FLOPs, base | step, s | relative | largest difference |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for architecture in TEXT_ARCHITECTURES:
        spec = build_spec(architecture, presets(architecture)["base"])
        forward = sum(costs.flops(spec, costs.Batch(), "forward").values())
        seconds, ratio = relative_time(architecture, reference, arguments)
        worst = difference(architecture)
        print(
            f"| {architecture} | {spec.parameters() / 1e6:.1f}M | {forward / 1e12:.1f}T | {seconds:.2f} | {ratio:.2f} "
            f"| {'-' if worst is None else f'{worst:.0e}'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
