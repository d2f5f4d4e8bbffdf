"""Names that tell the rows of a comparison apart."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from scalecli.analysis.rows.comparison import Row
from scalecli.tables import shortened

LONGEST = 48  # characters of a name that people see


def distinct_names(rows: Sequence[Row], longest: int | None = None) -> list[Row]:
    """The rows, those of one name with what tells their runs' paths or their tables apart: `small (a)`, `small (b)`.

    Names of more than `longest` characters are shortened first.
    """
    short = [row.name if longest is None else shortened(row.name, longest) for row in rows]
    origins: dict[str, dict[str, str]] = {}  # what each row of a name comes from, and how that is told
    for row, name in zip(rows, short, strict=True):
        origins.setdefault(name, {})[_origin(row)] = row.table or ""
    for name, known in origins.items():
        folders = [folder for folder, table in known.items() if not table]
        origins[name] = known | dict(zip(folders, _differing_parts(folders), strict=True))
    return [
        replace(row, name=_with(name, origins[name][_origin(row)], longest), model=row.name)
        if len(origins[name]) > 1
        else replace(row, name=name, model=row.name)
        if name != row.name
        else row
        for row, name in zip(rows, short, strict=True)
    ]


def _origin(row: Row) -> str:
    if row.run is None:
        return row.origin
    return os.path.dirname(row.run.file).replace(":///", "://")  # as globs of buckets return them


def _with(name: str, part: str, longest: int | None) -> str:
    return f"{name} ({part if longest is None else shortened(part, longest)})"


def _differing_parts(folders: Sequence[str]) -> list[str]:
    """The folders without the parts that all of them begin or end with."""
    parts = [folder.split("/") for folder in folders]
    fewest = min(map(len, parts), default=1) - 1
    start = _alike(parts, fewest)
    end = _alike([own[::-1] for own in parts], fewest - start)
    return ["/".join(own[start : len(own) - end]) for own in parts]


def _alike(parts: Sequence[Sequence[str]], most: int) -> int:
    """How many of the first parts are the same in all, at most `most`."""
    return next((index for index in range(most) if len({own[index] for own in parts}) > 1), max(most, 0))
