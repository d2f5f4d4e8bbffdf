"""What a user may write for a model: a preset's name, a shape file, or a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scalecli import strict
from scalecli.architectures import DEFAULT_ARCHITECTURE, build_spec, load
from scalecli.architectures.operators import operators as known_operators
from scalecli.errors import ConfigurationError, errors_at
from scalecli.shape import (
    HUGGING_FACE_PREFIX,
    Shape,
    apply_operators,
    architecture_in,
    check_knobs,
    parse_name,
    presets,
    shape_name,
)
from scalecli.specs.vision import CLASSES
from scalecli.storage.files import is_remote

_YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class ModelReference:
    """A model that a user named.

    `name` is the run's own, otherwise the canonical name of the shape. `run` is the directory of the run that has this
    model, None when it is only a shape. `fixes_output_size`: a shape file fixes the number of embedding rows, or
    it or an operator the number of classes; other shapes have as many as their vocabulary, or data, takes.
    """

    name: str
    architecture: str
    shape: Shape
    run: str | None = None
    fixes_output_size: bool = False


def resolve_model(
    text: str,
    *,
    architecture: str | None = None,
    operators: Mapping[str, Any] | None = None,
    reshape_runs: bool = False,
) -> ModelReference:
    """The model that `text` names: a preset (`small-nl24`), a shape file, a run's manifest or its directory.

    Text with a path separator or a YAML suffix is a path (but google/t5-efficient-... is a name); other text is a path
    only if it names no shape. Without `architecture` a name may have it in itself (`vit-s`). A shape file is YAML with
    the fields of `Shape` and, where it is not transformer, `architecture`. `operators`, such as {"nl": 24}, are applied
    to what `text` stands for. A run has the shape that it was trained with, so they are refused there, unless
    `reshape_runs` is on: the answer is then a shape and no run any more. What comes back can be built.

    Raises:
        ConfigurationError: neither a name nor a file, a bad file, an impossible shape or one of another architecture,
            an unknown architecture or another one than the file's, or operators on a run.
        MissingError: a path where nothing is or that cannot be read.
    """
    if architecture is not None:
        architecture = load(architecture)  # An unknown architecture is refused before anything is read.
    if _is_path(text):
        model = _read_model(text, architecture)
    else:
        try:
            named = architecture or architecture_in(text) or DEFAULT_ARCHITECTURE
            shape = parse_name(text, named)
            model = ModelReference(shape_name(shape, named), named, shape)
        except ConfigurationError as error:
            if not os.path.exists(text):
                raise ConfigurationError(f"no file {text!r}, and {error}") from None
            model = _read_model(text, architecture)
    if operators:
        model = _changed(model, operators, text, reshape_runs)
    if model.shape.classes not in (None, CLASSES):
        model = replace(model, fixes_output_size=True)
    with errors_at(text):
        build_spec(model.architecture, model.shape)
    return model


def _changed(model: ModelReference, operators: Mapping[str, Any], text: str, reshape_runs: bool) -> ModelReference:
    """The model with operators applied."""
    if model.run is not None and not reshape_runs:
        flags = (
            option if value is True else f"{option} {value}"
            for option, value in ((known_operators()[code].option, value) for code, value in operators.items())
        )
        raise ConfigurationError(f"{text}: a run keeps the shape that it was trained with; leave out {' '.join(flags)}")
    with errors_at(text):
        shape = apply_operators(model.shape, operators, model.architecture)
    return replace(model, name=shape_name(shape, model.architecture), shape=shape, run=None)


def _is_path(text: str) -> bool:
    if text.lower().startswith(HUGGING_FACE_PREFIX):
        return False
    return "/" in text or os.sep in text or text.endswith(_YAML_SUFFIXES)


def _read_model(path: str, architecture: str | None) -> ModelReference:
    """The model of a shape file, a manifest, or a run's directory; only manifests have the key `schema`."""
    from scalecli.architectures.recorded import shape_of_run
    from scalecli.manifest import load_manifest  # most models are names, and this takes time
    from scalecli.storage.layout import manifest_path

    is_directory = not path.endswith(_YAML_SUFFIXES) if is_remote(path) else os.path.isdir(path)
    values = {} if is_directory else strict.load_yaml(path)
    if is_directory or "schema" in values:
        manifest = load_manifest(path)
        file = manifest_path(path)
        shape = shape_of_run(manifest, str(file))
        _check_architecture(manifest.architecture, architecture, shape, str(file))
        return ModelReference(manifest.name, manifest.architecture, shape, os.path.dirname(file) or os.curdir)
    stated = values.pop("architecture", architecture or DEFAULT_ARCHITECTURE)
    shape = Shape.from_dict(values, path)
    _check_architecture(stated, architecture, shape, path)
    return ModelReference(
        shape_name(shape, stated), stated, shape, fixes_output_size=not {"vocabulary", "classes"}.isdisjoint(values)
    )


def _check_architecture(stated: Any, wanted: str | None, shape: Shape, file: str) -> None:
    """Checks that a file's architecture is one, is the one that was asked for, and has the knobs of the shape."""
    if not isinstance(stated, str):
        raise ConfigurationError(f"{file}: architecture: expected text, found {stated!r}")
    with errors_at(file):
        presets(stated)
        if wanted is not None and wanted != stated:
            raise ConfigurationError(f"its architecture is {stated}, not {wanted}; leave out --arch {wanted}")
        check_knobs(shape, stated)
