"""Checkpoints: the weights and the optimizer's state of one step, each a safetensors file, in a folder of their own.

    checkpoints/00000500/weights.safetensors     by the paths of `ModelSpec.weights()`, layers stacked
    checkpoints/00000500/optimizer.safetensors   the step, and the optimizer's statistics by the weight's path
    checkpoints/00000500/checkpoint.yaml         step, architecture, shape, and the SHA-256 of both files

A folder is written under another name and renamed when all of it is on the disk, and renamed again before it is
removed, so that one which has its name is whole. Everything else that a run needs to go on is a function of its seed
and the step.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalecli import strict
from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.manifest import Scalar
from scalecli.storage.files import give_usual_mode, sha256_of
from scalecli.storage.layout import DESCRIPTION, OPTIMIZER, WEIGHTS

_NAME = re.compile("[0-9]{8}|[1-9][0-9]{8,18}")  # of a step's folder


@dataclass(frozen=True)
class Saving:
    """When to measure and save, in steps: the last `keep` checkpoints stay, the best, and those of steps in `named`.

    `profile`: the steps after which the profiler starts and stops, if it is to.
    """

    validate_every: int
    checkpoint_every: int
    keep: int = 2
    named: tuple[int, ...] = ()
    profile: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name in ("validate_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; 1 or more is accepted")


@dataclass(frozen=True)
class Description:
    """checkpoint.yaml: the step, the architecture and every field of the shape, and the hashes of the files."""

    step: int
    architecture: str
    shape: dict[str, Scalar]
    sha256: dict[str, str]


def checkpoint_steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in `folder`, in order; none when there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(int(step.name) for step in folder.iterdir() if _NAME.fullmatch(step.name) and step.is_dir())


def save_checkpoint(
    folder: Path,
    step: int,
    weights: Mapping[str, np.ndarray],
    optimizer: Mapping[str, np.ndarray],
    architecture: str,
    shape: Mapping[str, Scalar],
) -> Path:
    """Writes the checkpoint of `step`, arrays by path; returns its folder.

    Raises:
        ScalecliError: the disk is full or the folder can't be written; nothing of this checkpoint is left behind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    final = folder / f"{step:08d}"
    temporary = _temporary(final)
    try:
        temporary.mkdir(parents=True)
        hashes = {}
        for name, arrays in ((WEIGHTS, weights), (OPTIMIZER, optimizer)):
            if arrays:
                save_file(dict(arrays), temporary / name)
                give_usual_mode(temporary / name)
                _flush(temporary / name)
                hashes[name] = sha256_of(temporary / name)
        description = Description(step, architecture, dict(shape), hashes)
        strict.write_yaml(temporary / DESCRIPTION, strict.to_mapping(description))
        _flush(temporary)
        if final.exists():  # saved by an earlier life of this run, from the same seed and step
            _remove(final)
        os.replace(temporary, final)
        _flush(folder)
    except (OSError, SafetensorError) as error:
        raise ScalecliError(f"{final}: the checkpoint can't be written ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def remove_old_checkpoints(folder: Path, newest: int, keep: int, others: Collection[int] = ()) -> list[int]:
    """Removes all but the last `keep` checkpoints up to step `newest`, and those of the steps in `others`.

    Returns the steps that stay. Later checkpoints, damaged ones that the run had to start before, are left alone.
    """
    steps = [step for step in checkpoint_steps(folder) if step <= newest]
    stay = {*steps[-keep:], *others}
    for step in steps:
        if step not in stay:
            with contextlib.suppress(OSError):
                _remove(folder / f"{step:08d}")
    for leftover in folder.glob(".*.tmp"):  # of a run that was killed while it wrote
        shutil.rmtree(leftover, ignore_errors=True)
    return [step for step in steps if step in stay]


def read_description(checkpoint: Path) -> Description:
    """checkpoint.yaml of one checkpoint's folder.

    Raises:
        MissingError: there is none, or it is damaged.
    """
    file = checkpoint / DESCRIPTION
    try:
        description = strict.from_mapping(Description, strict.load_yaml(file), str(file))
    except ConfigurationError as error:
        raise MissingError(f"{error}; the checkpoint is damaged") from error
    if _NAME.fullmatch(checkpoint.name) and int(checkpoint.name) != description.step:
        raise MissingError(f"{file}: of step {description.step:,}, in another step's folder; the checkpoint is damaged")
    return description


def load_arrays(checkpoint: Path, name: str) -> dict[str, np.ndarray]:
    """The arrays of one file of a checkpoint, checked against its hash.

    Raises:
        MissingError: the file is not there, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    expected = read_description(checkpoint).sha256.get(name)
    file = checkpoint / name
    try:
        if expected is None or sha256_of(file) != expected:
            raise MissingError(f"{file}: damaged (its SHA-256 is not the one in {DESCRIPTION})")
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise MissingError(f"{file}: cannot be read ({error})") from error


def load_both(checkpoint: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The weights and the optimizer's state of a checkpoint. Raises as `load_arrays` does."""
    return load_arrays(checkpoint, WEIGHTS), load_arrays(checkpoint, OPTIMIZER)


def assign(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Gives each variable the array of its path.

    Raises:
        ConfigurationError: the paths or shapes are not the model's; nothing is assigned then.
    """
    for path in (*variables, *arrays):
        if path not in arrays or path not in variables:
            where = "lacks" if path not in arrays else "has"
            raise ConfigurationError(f"{source}: {where} {path!r}, unlike the model; it is of another architecture")
        stored, built = list(arrays[path].shape), list(variables[path].shape)
        if stored != built:
            raise ConfigurationError(f"{source}: {path!r} is {stored}, the model's is {built}")
    for path, variable in variables.items():
        variable.assign(arrays[path])


def _temporary(checkpoint: Path) -> Path:
    """A name beside a checkpoint's folder that is no checkpoint's."""
    return checkpoint.with_name(f".{checkpoint.name}.{uuid.uuid4().hex}.tmp")


def _remove(checkpoint: Path) -> None:
    """Removes a checkpoint, which is none from the first moment on."""
    temporary = _temporary(checkpoint)
    os.replace(checkpoint, temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def _flush(path: Path) -> None:
    """Forces a file, or a folder's entries, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
