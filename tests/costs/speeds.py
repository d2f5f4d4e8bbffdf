"""The 68 published training speeds, with what ran, and the fit of the roofline's constants to them.

python -m tests.costs.speeds        prints every row and the constants that belong in scalecli/costs/roofline.py
"""

from __future__ import annotations

import statistics
from dataclasses import astuple, dataclass

import numpy as np
from scipy.optimize import least_squares

from scalecli.analysis.papers.published import published_papers, published_tables
from scalecli.architectures import build_spec
from scalecli.costs import BATCHES
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training
from scalecli.costs.roofline import Accuracy, Constants, Estimate, Work, device_work, step_seconds
from scalecli.shape import parse_name

TRAINING = Training()
TABLES = ("architectures/table-1", "scale-efficiently/table-4")
# The papers give the number of devices that share a replica by size alone; switch xl's 12 heads do not divide by 8.
MODEL_PARALLEL_OF_SWITCH_XL = 4
# A misfit of more than this counts less than its square: some prints can't be right (lconv small is as slow as base),
# and Table 4 prints whole numbers, down to 1.
MISFIT = 0.1


@dataclass(frozen=True)
class Row:
    """One published speed, and the work of the step that was timed."""

    name: str
    steps_per_s: float
    machine: Machine
    work: Work


def rows() -> list[Row]:
    """All of both papers.

    The steps are of the papers' 128 sequences, those of xl too: the FLOPs printed for xl are of half of them because
    Mesh-TensorFlow's counter sees one microbatch, and T5's settings make two where a replica has more than 8192 tokens.
    """
    setup = published_papers()["scale-efficiently"].setup
    collected = []
    for table in TABLES:
        for model in published_tables()[table]:
            size = model.name.removeprefix(f"{model.architecture}-")
            parallel = setup.model_parallelism.get(size.split("-")[0], 1)
            if model.name == "switch-xl":
                parallel = MODEL_PARALLEL_OF_SWITCH_XL
            # The mixtures of softmaxes that the paper trained never touched the logits: they ran as glu does.
            architecture = "glu" if model.architecture == "mos" else model.architecture
            spec = build_spec(architecture, parse_name(size, architecture))
            machine = Machine("tpu-v3", model.chips, parallel)
            work = device_work(spec, BATCHES["paper"], machine, TRAINING)
            collected.append(Row(f"{table}/{model.name}", model.steps_per_s, machine, work))
    return collected


def estimated(row: Row, constants: Constants) -> Estimate:
    return Estimate(step_seconds(row.work, row.machine, TRAINING, constants))


def error(row: Row, constants: Constants) -> float:
    """Relative error of the estimated steps per second."""
    return estimated(row, constants).steps_per_s / row.steps_per_s - 1


def fit(some: list[Row]) -> Constants:
    """The constants with the least squared logarithms of estimated over published speed, large ones softened."""

    def misfits(logarithms: np.ndarray) -> list[float]:
        constants = Constants(*np.exp(logarithms))
        return [np.log1p(error(row, constants)) for row in some]

    start = np.log(astuple(Constants(0.5, 5.0, 10.0, 0.01)))
    return Constants(*map(float, np.exp(least_squares(misfits, start, loss="soft_l1", f_scale=MISFIT).x)))


def accuracy(all_rows: list[Row], constants: Constants) -> Accuracy:
    errors = [abs(error(row, constants)) for row in all_rows]
    left_out = [
        abs(error(row, fit([*all_rows[:number], *all_rows[number + 1 :]]))) for number, row in enumerate(all_rows)
    ]
    return Accuracy(
        rows=len(all_rows),
        within_25_percent=sum(each <= 0.25 for each in errors),
        median_error=statistics.median(errors),
        left_out_within_25_percent=sum(each <= 0.25 for each in left_out),
        left_out_median_error=statistics.median(left_out),
    )


if __name__ == "__main__":
    published = rows()
    fitted = fit(published)
    for row in sorted(published, key=lambda row: error(row, fitted)):
        speed = estimated(row, fitted)
        print(f"{row.name:42} {row.steps_per_s:6.2f} {speed.steps_per_s:6.2f} {error(row, fitted):+5.0%} {speed.limit}")
    print(fitted)
    print(accuracy(published, fitted))
