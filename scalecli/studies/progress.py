"""The progress of a run, from the files in its directory alone."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalecli.analysis.rows.comparison import downstream_score
from scalecli.analysis.rows.upstream import final_results, upstream_of
from scalecli.errors import MissingError, ScalecliError
from scalecli.manifest import Manifest, load_manifest
from scalecli.storage.layout import METRICS, manifest_path
from scalecli.times import parse_time

MISSING, UNREADABLE, COMPLETED = "missing", "unreadable", "completed"
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True)
class RunStatus:
    """The progress of a run.

    `status` is the manifest's (running, completed, failed, interrupted), `missing` without a manifest, or `unreadable`.
    `step` is the last recorded one, `loss` (nats) that step's; `updated` is the time of the last write, in seconds of
    the epoch. `upstream` and `downstream` are what `compare` shows. `other_seconds` is what a complete run took for
    compiling, validation and saving. `command_line` is the command that started the run.
    """

    status: str = MISSING
    step: int = 0
    loss: float | None = None
    upstream: float | None = None
    downstream: float | None = None
    steps_per_s: float | None = None
    other_seconds: float | None = None
    updated: float | None = None
    command_line: str | None = None

    def is_done(self, command_line: str) -> bool:
        """Whether the run is complete and was made by this command line."""
        return self.status == COMPLETED and self.command_line == command_line


def read_progress(directory: Path) -> RunStatus:
    """The progress of the run in a directory. One that was killed still says `running`; its `updated` is old."""
    try:
        manifest = load_manifest(directory)
    except MissingError:
        return RunStatus()
    except ScalecliError:
        return RunStatus(UNREADABLE)
    last = _last_step(directory / METRICS)
    step = manifest.steps if manifest.status == COMPLETED else last.get("step", 0)
    upstream = upstream_of(manifest_path(directory), manifest)
    return RunStatus(
        status=manifest.status,
        step=step,
        loss=last.get("loss"),
        upstream=upstream.figure if upstream else None,
        downstream=downstream_score(final_results(manifest)),
        steps_per_s=manifest.throughput.steps_per_s if manifest.throughput else last.get("steps_per_s"),
        other_seconds=_other_seconds(manifest),
        updated=_changed(directory),
        command_line=manifest.command_line,
    )


def _other_seconds(manifest: Manifest) -> float | None:
    """What a complete run took beside its steps, as far as its manifest says."""
    if manifest.status != COMPLETED or manifest.finished is None or manifest.throughput is None:
        return None
    seconds = (parse_time(manifest.finished) - parse_time(manifest.created)).total_seconds()
    steps = manifest.steps - manifest.start_step
    return max(0.0, seconds - steps / manifest.throughput.steps_per_s)


def _last_step(file: Path) -> dict[str, Any]:
    """The last step's row at the end of metrics.jsonl; empty where there is none."""
    try:
        with file.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = stream.read().splitlines()
    except OSError:
        return {}
    for line in reversed(lines):
        try:
            row = json.loads(line)
        except ValueError:  # cut short at either end
            continue
        if isinstance(row, dict) and "loss" in row and isinstance(row.get("step"), int):
            return row
    return {}


def _changed(directory: Path) -> float:
    """When the run last wrote something."""
    files = (Path(manifest_path(directory)), directory / METRICS)
    return max(file.stat().st_mtime for file in files if file.exists())
