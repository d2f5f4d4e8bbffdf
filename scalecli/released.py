"""The checkpoints that were released with "Scale Efficiently": `shapes/published/released_checkpoints.yaml`."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from scalecli import shapes_directory, strict
from scalecli.errors import ConfigurationError, MissingError, nearest
from scalecli.shape import RELEASED_PREFIX, Shape, parse_name


@dataclass(frozen=True)
class ReleasedCheckpoint:
    """One folder of the release.

    `folder` is its name in the bucket, `url` all of its address. `parameters` is the listed count, None where the
    release lists none. `hugging_face` is the name on Hugging Face, None where a model of this shape is not there.
    Checkpoints of `steps` may be there; `gap` says what is missing or in doubt.
    """

    name: str
    folder: str
    url: str
    parameters: int | None
    hugging_face: str | None
    steps: tuple[int, ...]
    gap: str | None

    @property
    def shape(self) -> Shape:
        """The shape that the name states."""
        return parse_name(self.name)

    @property
    def size(self) -> str:
        """The size that its operators change: `small` of t5-efficient-small-el16-dl2."""
        return self._parts[0]

    @property
    def operators(self) -> tuple[str, ...]:
        """The operators in its name: el and dl of t5-efficient-small-el16-dl2; sh and skv where it says shkv."""
        letters = [re.sub(r"\d+$", "", part) for part in self._parts[1:]]
        return tuple(operator for part in letters for operator in (("sh", "skv") if part == "shkv" else (part,)))

    @property
    def _parts(self) -> list[str]:
        return self.name.removeprefix(RELEASED_PREFIX).split("-")


@dataclass(frozen=True)
class _Table:
    columns: tuple[str, ...]
    rows: dict[str, tuple[str | int | None, ...]]

    def __post_init__(self) -> None:
        for folder, cells in self.rows.items():
            if len(cells) != len(self.columns):
                raise ConfigurationError(f"rows.{folder}: {len(cells)} cells for {len(self.columns)} columns")


@dataclass(frozen=True)
class _File:
    bucket: str
    hugging_face: str
    steps: tuple[int, ...]
    converted_in_name_only: tuple[str, ...]
    gaps: dict[str, str]
    checkpoints: _Table


@dataclass(frozen=True)
class _Cells:
    name: str
    parameters: int | None


@functools.cache
def released_checkpoints() -> tuple[ReleasedCheckpoint, ...]:
    """All folders of the release, in its order.

    Raises:
        ConfigurationError: the file is not as it should be; names the key.
    """
    path = shapes_directory() / "published" / "released_checkpoints.yaml"
    file = strict.from_mapping(_File, strict.load_yaml(path), str(path))
    table = file.checkpoints
    return tuple(
        _checkpoint(
            file,
            folder,
            strict.from_mapping(_Cells, dict(zip(table.columns, cells, strict=True)), f"{path}: {folder}"),
        )
        for folder, cells in table.rows.items()
    )


def _checkpoint(file: _File, folder: str, cells: _Cells) -> ReleasedCheckpoint:
    is_converted = cells.name.rpartition("-")[2] not in file.converted_in_name_only
    gaps = [file.gaps.get(folder), None if is_converted else "on Hugging Face in name only"]
    return ReleasedCheckpoint(
        name=cells.name,
        folder=folder,
        url=f"{file.bucket}/{folder}",
        parameters=cells.parameters,
        hugging_face=f"{file.hugging_face}/{cells.name}" if is_converted else None,
        steps=file.steps,
        gap="; ".join(gap for gap in gaps if gap) or None,
    )


def released_by_name(name: str) -> tuple[ReleasedCheckpoint, ...]:
    """The folders of one name, with or without `google/` and `t5-efficient-`; base has two.

    Raises:
        MissingError: no released checkpoint has that name; names the nearest.
    """
    wanted = RELEASED_PREFIX + name.lower().removeprefix("google/").removeprefix(RELEASED_PREFIX)
    folders = tuple(checkpoint for checkpoint in released_checkpoints() if checkpoint.name == wanted)
    if not folders:
        hint = nearest(wanted, dict.fromkeys(checkpoint.name for checkpoint in released_checkpoints()))
        raise MissingError(f"no released checkpoint {name!r}{hint}")
    return folders
