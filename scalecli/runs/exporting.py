"""Writing a run's model for another library: the whole folder or nothing."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from scalecli.architectures import IMAGE_ARCHITECTURES
from scalecli.errors import ConfigurationError, ScalecliError
from scalecli.interchange import keras_hub, vit_npz
from scalecli.interchange.hugging_face import t5 as hugging_face
from scalecli.interchange.hugging_face import vit as vit_hugging_face
from scalecli.interchange.hugging_face.model_card import model_card
from scalecli.interchange.weight_map import Exported
from scalecli.runs.trained import Trained
from scalecli.storage.files import sha256_of
from scalecli.storage.layout import WEIGHTS

# The module that writes each format, of models of text and of images, and the library that loads what it has written.
_TEXT_FORMATS: dict[str, tuple[Any, str]] = {
    "hugging-face": (hugging_face, "transformers"),
    "keras-hub": (keras_hub, "keras-hub"),
}
_IMAGE_FORMATS: dict[str, tuple[Any, str]] = {
    "hugging-face": (vit_hugging_face, "transformers"),
    "npz": (vit_npz, "numpy"),
}
MODEL_CARD = "README.md"


def export(trained: Trained, target: str, directory: Path, precision: str, cache_directory: Path) -> list[Path]:
    """Writes a run's checkpoint in another library's format; returns the files, in order of their names.

    The same files, where they are in the directory already, are left as they are; a preset of keras-hub has dates in
    it, and is never the same.

    `target` is `hugging-face`, `keras-hub` (text) or `npz` (images), `precision` the dtype of the weights there,
    float32 or bfloat16.

    Raises:
        ConfigurationError: the library can't hold this architecture, shape or precision, or something is in the
            directory.
        MissingError: the checkpoint or the vocabulary is damaged or not there.
        ScalecliError: the directory can't be written; nothing is left behind.
    """
    architecture = trained.manifest.architecture
    if trained.manifest.architecture_file:
        raise ConfigurationError(
            f"{trained.address}: its architecture {architecture} is a user's, which no other library has; transformer, "
            f"glu and vit are accepted, and {trained.checkpoint / WEIGHTS} has the weights by name"
        )
    reads_images = architecture in IMAGE_ARCHITECTURES
    targets = _IMAGE_FORMATS if reads_images else _TEXT_FORMATS
    if target not in targets:
        raise ConfigurationError(f"--to {target} can't hold {architecture}; {' or '.join(targets)} is accepted")
    module, library = targets[target]
    module.check(architecture, trained.shape)
    is_free = not os.path.lexists(directory) or (directory.is_dir() and not any(directory.iterdir()))
    if not (is_free or (directory / MODEL_CARD).is_file()):  # before the weights are read
        raise _taken(directory)
    model = Exported(
        shape=trained.shape,
        spec=trained.spec,
        weights=trained.weights(),
        dropout=None if trained.manifest.kind == "import" else trained.manifest.dropout,
        precision=precision,
        vocabulary=None if reads_images else trained.vocabulary(cache_directory),
        classes=trained.classes() if reads_images else (),
    )
    temporary = directory.parent / f".{directory.name}.{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir(parents=True)
        module.write(temporary, model)
        (temporary / MODEL_CARD).write_text(model_card(trained.manifest, trained.step, library), encoding="utf-8")
        if is_free:
            os.replace(temporary, directory)
        elif _contents(temporary) != _contents(directory):
            raise _taken(directory)
    except (OSError, SafetensorError) as error:
        raise ScalecliError(f"{directory}: can't be written ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(file for file in directory.rglob("*") if file.is_file())


def _taken(directory: Path) -> ConfigurationError:
    return ConfigurationError(f"{directory}: something else is there already; an empty or a new directory is accepted")


def _contents(directory: Path) -> dict[str, str]:
    """The SHA-256 of each file in a folder."""
    files = {file.relative_to(directory).as_posix(): file for file in directory.rglob("*") if file.is_file()}
    return {name: sha256_of(file) for name, file in files.items()}
