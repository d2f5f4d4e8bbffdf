"""What a run records step by step: metrics.jsonl, and the same for TensorBoard."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scalecli.errors import ScalecliError, reason_of
from scalecli.storage.files import one_line_errors, write_atomically
from scalecli.storage.layout import METRICS, TENSORBOARD

REPORTS_EVERY = 10  # steps; the reports of all steps would make metrics.jsonl many times as large


class StepMetrics(NamedTuple):
    """What is recorded of each step, float32 arrays with a leading axis [steps].

    `losses`: cross-entropy (nats per target token). `norms`: of the gradient. `waits`: seconds for which the next batch
    was waited for. `reports`: those of the model's layers, [steps, layers, ...] by path (see
    `scalecli.models.encoder_decoder.Output`).
    """

    losses: np.ndarray
    norms: np.ndarray
    waits: np.ndarray
    reports: dict[str, np.ndarray]

    def first(self, count: int) -> StepMetrics:
        """Those of the first `count` steps."""
        reports = {name: report[:count] for name, report in self.reports.items()}
        return StepMetrics(self.losses[:count], self.norms[:count], self.waits[:count], reports)


class Records:
    """The records in a run's directory. Every method raises ScalecliError where they can't be written."""

    def __init__(self, directory: Path) -> None:
        self._metrics, self._folder = directory / METRICS, directory / TENSORBOARD
        self._board: Any = None

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Adds rows, each with its `step`, to metrics.jsonl; figures are numbers or, one a layer, lists of them."""
        try:
            with self._metrics.open("a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(row) + "\n" for row in rows)
        except OSError as error:
            raise ScalecliError(f"{self._metrics}: cannot be written ({error.strerror})") from error

    def append_steps(self, done: int, figures: StepMetrics, learning_rate: float, speed: Mapping[str, float]) -> None:
        """Records the steps after the first `done`: a row for each in metrics.jsonl, their means for TensorBoard.

        The row of every tenth step has what the layers report of it as well, in lists by layer.
        """
        if not len(figures.losses):
            return
        rows: list[dict[str, Any]] = []
        for index, (loss, norm) in enumerate(zip(figures.losses, figures.norms, strict=True)):
            rows.append({"step": done + 1 + index, "loss": float(loss), "gradient_norm": float(norm)})
            if rows[-1]["step"] % REPORTS_EVERY == 0:
                rows[-1] |= {name: _rounded(report[index]) for name, report in figures.reports.items()}
        rows[-1] |= speed
        self.append(rows)
        means = {name: float(report.mean()) for name, report in figures.reports.items()}
        loss = float(figures.losses.mean())
        self.show(rows[-1]["step"], {"loss": loss, "learning_rate": learning_rate, **speed, **means})

    def forget_after(self, step: int) -> str | None:
        """Drops the rows of later steps, which a run will record again, and a last line that was cut short.

        Rows without a step are somebody's notes, and stay. Returns what to say of other lines that can't be read, which
        are dropped as well, or None.
        """
        if not self._metrics.exists():
            return None
        with one_line_errors(self._metrics, ScalecliError):
            *whole, rest = self._metrics.read_bytes().split(b"\n")
        lines, damaged = [], []
        for number, line in enumerate([*whole, rest], start=1):
            try:
                row = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError):
                if line.strip() and number <= len(whole):
                    damaged.append(number)
                continue
            if not (isinstance(row, dict) and isinstance(row.get("step"), int) and row["step"] > step):
                lines.append(line + b"\n")
        write_atomically(self._metrics, b"".join(lines))
        if not damaged:
            return None
        return f"{self._metrics}: damaged lines left out: {len(damaged):,}, the first of them line {damaged[0]:,}"

    def show(self, step: int, figures: Mapping[str, float]) -> None:
        """Hands figures of a step to TensorBoard."""
        import tensorflow as tf

        try:
            if self._board is None:
                self._board = tf.summary.create_file_writer(str(self._folder))
            with self._board.as_default(step=step):
                for name, figure in figures.items():
                    tf.summary.scalar(name, figure)
            self._board.flush()
        except tf.errors.OpError as error:
            reason = reason_of(error).rpartition("; ")[2]
            raise ScalecliError(f"{self._folder}: cannot be written ({reason})") from error


def _rounded(report: np.ndarray) -> Any:
    """As nested lists, to six decimals."""
    return report.astype("float64").round(6).tolist()
