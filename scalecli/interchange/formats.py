"""The formats that can be imported, and which of them a folder is in."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from scalecli.errors import MissingError
from scalecli.interchange import keras_hub, vit_npz
from scalecli.interchange.hugging_face import t5 as hugging_face
from scalecli.interchange.imported import Imported
from scalecli.interchange.mesh_tensorflow import checkpoint as mesh_tensorflow
from scalecli.interchange.t5x import checkpoint as t5x


class Format(Protocol):
    """What the module of a format offers."""

    def recognizes(self, folder: Path) -> bool:
        """Whether a folder holds checkpoints of the format."""

    def read(self, folder: Path, *, step: int | None, optimizer: bool) -> Imported:
        """The checkpoint of a step, or the newest."""

    def select_files(self, names: Iterable[str], step: int | None) -> list[str]:
        """Of the files in a folder those that `read` takes; none if they are of another format."""


# Each with what its folders are known by.
FORMATS: dict[str, Format] = {
    "Mesh-TensorFlow (model.ckpt-STEP.index)": mesh_tensorflow,
    "Hugging Face (config.json with weights)": hugging_face,
    "KerasHub (config.json with a T5 preset)": keras_hub,
    "T5X (checkpoint_STEP)": t5x,
    "the original ViT (FILE.npz)": vit_npz,
}


def read(folder: Path, *, step: int | None, optimizer: bool) -> Imported:
    """Reads the checkpoint in a folder (T5X and ViT have files, too), in whichever format it is.

    Raises:
        MissingError: it is in none of them, is damaged, or has no such step.
        ConfigurationError: its model can't be had here.
    """
    for module in FORMATS.values():
        if module.recognizes(folder):
            return module.read(folder, step=step, optimizer=optimizer)
    if not folder.exists():
        raise MissingError(f"{folder}: no such folder")
    raise MissingError(f"{folder}: no checkpoint in a known format: {', '.join(FORMATS)}")


def select_files(names: Iterable[str], step: int | None) -> list[str]:
    """Of the files in a folder that is elsewhere those to fetch.

    Raises:
        MissingError: there is no checkpoint in a known format, or none of that step.
    """
    names = list(names)
    for module in FORMATS.values():
        if selected := module.select_files(names, step):
            return selected
    raise MissingError(f"the folder has no checkpoint in a known format: {', '.join(FORMATS)}")
