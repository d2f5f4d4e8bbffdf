"""Writing a run's model for another library: the whole folder or nothing."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from scalecli.architectures import IMAGE_ARCHITECTURES
from scalecli.errors import ConfigurationError, ScalecliError
from scalecli.interchange import keras_hub, vit_npz
from scalecli.interchange.hugging_face import t5 as hugging_face
from scalecli.interchange.hugging_face import vit as vit_hugging_face
from scalecli.interchange.hugging_face.model_card import model_card
from scalecli.interchange.weight_map import Exported
from scalecli.runs.directory import Trained

# The module that writes each format, of models of text and of images, and the library that loads what it has written.
_OF_TEXT: dict[str, tuple[Any, str]] = {
    "hugging-face": (hugging_face, "transformers"),
    "keras-hub": (keras_hub, "keras-hub"),
}
_OF_IMAGES: dict[str, tuple[Any, str]] = {
    "hugging-face": (vit_hugging_face, "transformers"),
    "npz": (vit_npz, "numpy"),
}
MODEL_CARD = "README.md"


def export(trained: Trained, target: str, directory: Path, precision: str, cache_directory: Path) -> list[Path]:
    """Writes a run's checkpoint in another library's format; returns the files, in order of their names.

    `target` is `hugging-face`, `keras-hub` (text) or `npz` (images), `precision` the dtype of the weights there,
    float32 or bfloat16.

    Raises:
        ConfigurationError: the library can't hold this architecture, shape or precision, or something is in the
            directory.
        MissingError: the checkpoint or the vocabulary is damaged or not there.
        ScalecliError: the directory can't be written; nothing is left behind.
    """
    from safetensors import SafetensorError

    of_images = trained.manifest.architecture in IMAGE_ARCHITECTURES
    targets = _OF_IMAGES if of_images else _OF_TEXT
    if target not in targets:
        raise ConfigurationError(
            f"--to {target} can't hold {trained.manifest.architecture}; {' or '.join(targets)} is accepted"
        )
    module, library = targets[target]
    module.check(trained.manifest.architecture, trained.shape)
    _check_free(directory)
    model = Exported(
        shape=trained.shape,
        spec=trained.spec,
        weights=trained.weights(),
        dropout=None if trained.manifest.kind == "import" else trained.manifest.dropout,
        precision=precision,
        vocabulary=None if of_images else trained.vocabulary(cache_directory),
        classes=trained.classes() if of_images else (),
    )
    temporary = directory.parent / f".{directory.name}.{uuid.uuid4().hex}.tmp"
    try:
        temporary.mkdir(parents=True)
        module.write(temporary, model)
        (temporary / MODEL_CARD).write_text(model_card(trained.manifest, trained.step, library), encoding="utf-8")
        os.replace(temporary, directory)
    except (OSError, SafetensorError) as error:
        raise ScalecliError(f"{directory}: can't be written ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sorted(file for file in directory.rglob("*") if file.is_file())


def _check_free(directory: Path) -> None:
    """Raises ConfigurationError when a file, or a folder with something in it, is there already."""
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if os.path.lexists(directory):
        raise ConfigurationError(f"{directory}: something is there already; an empty or a new directory is accepted")
