"""What a run records step by step: metrics.jsonl, and the same for TensorBoard."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalecli.errors import ScalecliError
from scalecli.files import write_atomically

METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"


class Records:
    """The records in a run's directory. Every method raises ScalecliError where they can't be written."""

    def __init__(self, directory: Path) -> None:
        self._metrics, self._folder = directory / METRICS, directory / TENSORBOARD
        self._board: Any = None

    def append(self, rows: list[dict[str, float]]) -> None:
        """Adds rows, each with its `step`, to metrics.jsonl."""
        try:
            with self._metrics.open("a", encoding="utf-8") as stream:
                stream.writelines(json.dumps(row) + "\n" for row in rows)
        except OSError as error:
            raise ScalecliError(f"{self._metrics}: cannot be written ({error.strerror})") from error

    def forget_after(self, step: int) -> None:
        """Drops the rows of later steps, which a run will record again, and a last line that was cut short.

        Rows without a step are somebody's notes, and stay.
        """
        if not self._metrics.exists():
            return
        lines = []
        for line in self._metrics.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if not (isinstance(row, dict) and isinstance(row.get("step"), int) and row["step"] > step):
                    lines.append(line + "\n")
        write_atomically(self._metrics, "".join(lines))

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
            reason = str(error).splitlines()[0].rpartition("; ")[2]
            raise ScalecliError(f"{self._folder}: cannot be written ({reason})") from error
