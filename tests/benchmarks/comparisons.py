"""How long `scalecli compare` takes over 300 runs, and the commands that need no run.

`python -m tests.benchmarks.comparisons [COMMAND ...]`: makes the runs in a temporary folder, 240 pretrained ones of 80
shapes with three seeds each and 60 finetuned ones, and prints for each command its processor and wall-clock time and
the limit of the former, least of three. It exits with 1 where a limit is passed, or where a quick command imports one
of the libraries that take long to import. COMMANDs, such as report, leave out all others.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from scalecli.manifest import Best, Checkpoints, Parameters, Throughput
from scalecli.shape import parse_name
from scalecli.storage.layout import METRICS
from tests.analysis.runs import child_of, save_run
from tests.startup import heavy_imports

SEEDS, FINETUNED, STEPS, MEASURED = 3, 60, 2000, 10
SIZES = ("tiny", "mini", "small", "base")
KNOBS = {
    "nl": (2, 8, 16, 24),
    "el": (2, 8, 16),
    "dl": (2, 8, 16),
    "dm": (128, 384, 1024),
    "ff": (1000, 3000, 6000),
    "nh": (2, 6, 16),
}
# What is run, and the most seconds of processor time that it may take.
COMMANDS: dict[str, tuple[list[str], float]] = {
    "help": (["--help"], 0.2),
    "shape": (["shape", "small"], 0.2),
    "flops": (["flops", "small"], 0.2),
    "published": (["compare", "small", "base"], 0.2),
    "table": (["compare", "runs/*"], 1.0),
    "list": (["compare", "--list", "runs"], 0.5),
    "report": (["compare", "runs/*", "--report", "report"], 5.0),
    "knob": (["compare", "runs/*", "--by", "knob", "--fit", "parameters:upstream", "--plot", "knobs.svg"], 5.0),
}
QUICK = ("help", "shape", "flops", "published", "table", "list")
ROUNDS = 3


def shape_names() -> Iterator[str]:
    """Each size, and each with one knob set otherwise."""
    for size in SIZES:
        yield size
        yield from (f"{size}-{knob}{value}" for knob, values in KNOBS.items() for value in values)


def make_runs(folder: Path) -> int:
    """Makes manifests and metrics whose losses follow a power law with noise; returns how many."""
    generator = np.random.default_rng(0)
    for name in shape_names():
        shape = parse_name(name)
        parameters = shape.d_model * (shape.d_ff + shape.heads * shape.d_kv) * shape.encoder_layers
        for seed in range(SEEDS):
            final = 1.7 + 60 * parameters**-0.25 + generator.normal(0, 0.01)
            directory = folder / f"{name}-seed{seed}"
            _make_run(directory, name, seed, shape.to_dict(), final, generator)
    parents = sorted(folder.iterdir())[:FINETUNED]
    for parent in parents:
        child = folder / f"{parent.name}-sst2"
        fields = child_of(parent, f"../{parent.name}", step=STEPS)
        results = {step: {"sst2/accuracy": 80 + step / STEPS + generator.normal()} for step in (100, 200, 300)}
        best = Best(step=300, rule="highest sst2/accuracy")
        shape = parse_name(parent.name.rpartition("-")[0])
        save_run(child, **{**fields, "shape": shape.to_dict(), "results": results, "best": best})
    return len(list(folder.iterdir()))


def _make_run(directory: Path, name: str, seed: int, shape: dict, final: float, generator: np.random.Generator) -> None:
    losses = final + 8 * np.exp(-np.arange(1, STEPS + 1) / STEPS * 6)
    measured = range(STEPS // MEASURED, STEPS + 1, STEPS // MEASURED)
    save_run(
        directory,
        name=f"{name}-seed{seed}",
        shape=shape,
        seed=seed,
        steps=STEPS,
        parameters=Parameters(total=10**7, embedding=10**6, non_embedding=9 * 10**6),
        checkpoints=Checkpoints(directory="checkpoints", kept=[STEPS]),
        results={
            step: {
                "validation/negative_log_perplexity": -float(losses[step - 1]),
                "validation/accuracy": float(100 * np.exp(-losses[step - 1])),
                "validation/unigram_cross_entropy": 7.1,
                "validation/examples": 1024.0,
            }
            for step in measured
        },
        best=Best(step=STEPS, rule="highest validation/negative_log_perplexity"),
        throughput=Throughput(steps_per_s=float(generator.uniform(1, 5)), tokens_per_s=1e4),
    )
    with (directory / METRICS).open("w", encoding="utf-8") as stream:
        for step in range(10, STEPS + 1, 10):
            stream.write(json.dumps({"step": step, "loss": float(losses[step - 1]), "learning_rate": 0.01}) + "\n")


def timed(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of processor and wall-clock time of a command in a process of its own."""
    # Bytecode is kept, as that of what is installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "scalecli", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"scalecli {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main(chosen: list[str]) -> None:
    """Prints a line for each command; exits with 1 where one is too slow or imports too much."""
    faults = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["PYTHONPATH"] = os.pathsep.join((os.getcwd(), os.environ.get("PYTHONPATH", "")))
        print(f"{make_runs(folder / 'runs')} runs", flush=True)
        for command in chosen or COMMANDS:
            arguments, limit = COMMANDS[command]
            cpu, wall = map(min, zip(*(timed(arguments, folder) for _ in range(ROUNDS)), strict=True))
            print(f"{command:10} {cpu:6.2f} s CPU {wall:6.2f} s wall, limit {limit:g}", flush=True)
            if cpu > limit:
                faults.append(f"{command}: {cpu:.2f} s, more than {limit:g}")
            if command in QUICK and (heavy := heavy_imports(arguments, folder)):
                faults.append(f"{command} imports {', '.join(sorted(heavy))}")
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main(sys.argv[1:])
