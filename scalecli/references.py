"""What a user may write for a model: a preset's name, a shape file, or a run. Also the options that go with it."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

from scalecli import strict
from scalecli.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE, IMAGE_ARCHITECTURES, build_spec
from scalecli.errors import ConfigurationError
from scalecli.operators import OPERATORS, Operator
from scalecli.shape import (
    HUGGING_FACE_PREFIX,
    LARGEST,
    Shape,
    apply_operators,
    architecture_in,
    check_knobs,
    name_parts,
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
    model, None when it is only a shape. `states_vocabulary`: a shape file itself says how many rows the embedding has,
    or it or an operator how many classes the head; other shapes have as many as their vocabulary, or data, takes.
    """

    name: str
    architecture: str
    shape: Shape
    run: str | None = None
    states_vocabulary: bool = False


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
        ConfigurationError: neither a name nor a file, a bad file, a shape that can't be or not of this architecture,
            an unknown architecture or another one than the file's, or operators on a run.
        MissingError: a path where nothing is or that cannot be read.
    """
    if architecture is not None:
        presets(architecture)  # An unknown architecture is refused before anything is read.
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
        model = replace(model, states_vocabulary=True)
    try:
        build_spec(model.architecture, model.shape)
    except ConfigurationError as error:
        raise ConfigurationError(f"{text}: {error}") from None
    return model


def _changed(model: ModelReference, operators: Mapping[str, Any], text: str, reshape_runs: bool) -> ModelReference:
    """The model with operators applied."""
    if model.run is not None and not reshape_runs:
        flags = (
            option if value is True else f"{option} {value}"
            for option, value in ((OPERATORS[code].option, value) for code, value in operators.items())
        )
        raise ConfigurationError(f"{text}: a run keeps the shape that it was trained with; leave out {' '.join(flags)}")
    try:
        shape = apply_operators(model.shape, operators, model.architecture)
    except ConfigurationError as error:
        raise ConfigurationError(f"{text}: {error}") from None
    return replace(model, name=shape_name(shape, model.architecture), shape=shape, run=None)


def _is_path(text: str) -> bool:
    if text.lower().startswith(HUGGING_FACE_PREFIX):
        return False
    return "/" in text or os.sep in text or text.endswith(_YAML_SUFFIXES)


def _read_model(path: str, architecture: str | None) -> ModelReference:
    """The model of a shape file, a manifest, or a run's directory; only manifests have the key `schema`."""
    from scalecli.manifest import load_manifest, manifest_path  # most models are names, and this takes time

    is_directory = not path.endswith(_YAML_SUFFIXES) if is_remote(path) else os.path.isdir(path)
    values = {} if is_directory else strict.load_yaml(path)
    if is_directory or "schema" in values:
        manifest = load_manifest(path)
        file = manifest_path(path)
        shape = Shape.from_dict(manifest.shape, f"{file}: shape")
        _check_architecture(manifest.architecture, architecture, shape, str(file))
        return ModelReference(manifest.name, manifest.architecture, shape, os.path.dirname(file) or os.curdir)
    found = values.pop("architecture", architecture or DEFAULT_ARCHITECTURE)
    shape = Shape.from_dict(values, path)
    _check_architecture(found, architecture, shape, path)
    return ModelReference(
        shape_name(shape, found), found, shape, states_vocabulary=not {"vocabulary", "classes"}.isdisjoint(values)
    )


def _check_architecture(found: Any, wanted: str | None, shape: Shape, file: str) -> None:
    """Checks that a file's architecture is one, is the one that was asked for, and has the knobs of the shape."""
    if not isinstance(found, str):
        raise ConfigurationError(f"{file}: architecture: expected text, found {found!r}")
    try:
        presets(found)
        if wanted is not None and wanted != found:
            raise ConfigurationError(f"its architecture is {found}, not {wanted}; leave out --arch {wanted}")
        check_knobs(shape, found)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list:
    """Shell completion of a model: sizes, then operators after `small-`, and files."""
    from click.shell_completion import CompletionItem

    asked = ctx.params.get("arch")
    offered = [asked] if asked in ARCHITECTURES else [DEFAULT_ARCHITECTURE, *IMAGE_ARCHITECTURES]
    names = [size for each in offered for size in presets(each) if size.startswith(incomplete.lower())]
    stem, hyphen, start = incomplete.rpartition("-")
    architecture = asked if asked in ARCHITECTURES else architecture_in(stem) or DEFAULT_ARCHITECTURE
    try:
        if hyphen:
            parse_name(stem, architecture)
            parts = [part.removesuffix("N") for part in name_parts(architecture)]
            names += [f"{stem}-{part}" for part in parts if part.startswith(start.lower())]
    except ConfigurationError:
        pass  # Nothing that operators could follow, so there are none to offer.
    return [*map(CompletionItem, names), CompletionItem(incomplete, type="file")]


def _complete_architecture(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in ARCHITECTURES if name.startswith(incomplete)]


def _checked_operator(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """Checks the bounds of a shape's fields already here, so that the error names the flag."""
    if value is not None and not 1 <= value <= LARGEST:
        raise ConfigurationError(f"{param.opts[0]} is {value}; a whole number from 1 to {LARGEST} is accepted")
    return value


def _operator_option(operator: Operator) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """An operator's option: a number, one of some words, or a flag; None arrives where it is not given."""
    if isinstance(operator.values, tuple):
        return click.option(operator.option, type=click.Choice(operator.values), help=operator.help)
    if operator.values is bool:
        return click.option(operator.option, is_flag=True, default=None, help=operator.help)
    return click.option(operator.option, type=click.INT, callback=_checked_operator, help=operator.help)


def shape_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--arch` and one option for each operator; they arrive as `architecture` and `operators`."""

    @functools.wraps(function)
    def collected(*arguments: Any, arch: str | None, **options: Any) -> Any:
        values = {code: options.pop(operator.option[2:].replace("-", "_")) for code, operator in OPERATORS.items()}
        operators = {code: value for code, value in values.items() if value is not None}
        return function(*arguments, architecture=arch, operators=operators, **options)

    command: Callable[..., Any] = collected
    for operator in reversed(OPERATORS.values()):
        command = _operator_option(operator)(command)
    return click.option(
        "--arch",
        metavar="NAME",
        shell_complete=_complete_architecture,
        help=f"Architecture: {', '.join(ARCHITECTURES)}. [default: the file's, else {DEFAULT_ARCHITECTURE}]",
    )(command)


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the argument MODEL, as `model`, and the options of `shape_options`."""
    return click.argument("model", shell_complete=complete_model)(shape_options(function))
