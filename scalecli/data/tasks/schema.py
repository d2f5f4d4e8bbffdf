"""Task files: the keys of the YAML that describes a task, and what they may be."""

from __future__ import annotations

import os
import posixpath
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from scalecli.data import MOST_TOKENS
from scalecli.data.tasks.layouts import FORMATS
from scalecli.errors import ConfigurationError, nearest
from scalecli.storage.files import is_remote

# Each is a function of `scalecli.evaluation.metrics`.
METRICS = (
    "accuracy",
    "f1",
    "matthews",
    "pearson",
    "spearman",
    "exact_match",
    "token_f1",
    "squad_v2_exact_match",
    "squad_v2_f1",
    "rouge_lsum",  # of summaries, sentence by sentence, as T5 and the papers have it
    "rouge_l",  # of whole texts
    "group_exact_match",  # the share of groups of which every prediction is right (MultiRC's questions)
    "referent_accuracy",  # does the prediction name the target, and should it? (the Winograd schema challenge)
)
SPLITS = ("train", "validation", "test")

Form = Literal["fields", "stsb", "multirc", "record", "wsc", "dpr", "squad", "squad_2022", "social_iqa"]


@dataclass(frozen=True)
class Lengths:
    """The most tokens of inputs and targets, the end of sequence counted."""

    inputs: int = 512
    targets: int = 84


@dataclass(frozen=True)
class TaskFile:
    """The keys of a task file and what each may be."""

    name: str
    input: str | list[str]
    target: str
    dataset: str | None = None
    splits: dict[str, str] | None = None
    data_dir: str | None = None
    train: str | list[str] = field(default_factory=list)
    validation: str | list[str] = field(default_factory=list)
    test: str | list[str] = field(default_factory=list)
    format: str | None = None
    columns: list[str] | dict[str, list[str]] | None = None
    fields: dict[str, str] | None = None
    skip_broken: bool = False
    skip_labels: list[str] = field(default_factory=list)
    prefix: str | None = None
    form: Form = "fields"
    labels: Any = None
    threshold: float | None = None
    metrics: list[str] | None = None
    lengths: Lengths = Lengths()
    examples: int | None = None
    scored_with: str | None = None
    download: str | None = None

    def paths(self, split: str, folder: str | None) -> tuple[str, ...]:
        """The files of a split, relative ones as of `folder`, or as they are without one."""
        named: str | list[str] = getattr(self, split)
        return tuple(_resolve(path, folder) for path in ([named] if isinstance(named, str) else named))


def check(file: TaskFile, source: str) -> dict[str, str] | None:
    """The texts of raw labels, if there are any, after a look at values that are of the right kind.

    Raises ConfigurationError, with `source` and the key, for those that can't be.
    """
    labels = _labels(file.labels, source)
    if not (file.train or file.validation or file.test or file.dataset):
        raise ConfigurationError(f"{source}: neither train nor validation names a file, nor is there a dataset")
    for key in ("name", "target", "input"):
        if not getattr(file, key):
            raise ConfigurationError(f"{source}: {key}: empty")
    if isinstance(file.input, str):
        _check_template(file.input, source)
    if file.name in (".", "..") or set(file.name) & set("/\\"):
        raise ConfigurationError(f"{source}: name: {file.name!r} can't name a folder; take one without / and \\")
    for key, length in (("inputs", file.lengths.inputs), ("targets", file.lengths.targets)):
        if not 2 <= length <= MOST_TOKENS:
            accepted = "at least 2 tokens" if length < 2 else f"at most {MOST_TOKENS:,} tokens"
            raise ConfigurationError(f"{source}: lengths.{key}: {length}; it takes {accepted}")
    _check_names(file.metrics or (), METRICS, f"{source}: metrics")
    _check_names(file.splits or (), SPLITS, f"{source}: splits")
    _check_names(file.columns if isinstance(file.columns, dict) else (), SPLITS, f"{source}: columns")
    _check_names([file.format] if file.format else (), FORMATS, f"{source}: format")
    if file.threshold is not None and not (isinstance(file.labels, list) and len(file.labels) == 2):
        raise ConfigurationError(f"{source}: threshold: it goes with a list of two labels")
    return labels


def _check_names(given: Iterable[str], known: Sequence[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise ConfigurationError(f"{where}: {name!r}; accepted: {', '.join(known)}{nearest(str(name), known)}")


def _check_template(template: str, source: str) -> None:
    """Raises ConfigurationError for a template whose slots are not all names of columns, or items of them."""
    try:
        slots = [slot for slot in string.Formatter().parse(template) if slot[1] is not None]
    except ValueError as error:
        raise ConfigurationError(f"{source}: input: {template!r}: {error}; a brace itself is written twice") from error
    if not slots or any(not column or spec or conversion for _, column, spec, conversion in slots):
        raise ConfigurationError(f"{source}: input: {template!r}: its slots are the names of columns, as {{sentence}}")
    for _, slot, _, _ in slots:
        _, bracket, index = (slot or "").partition("[")
        if bracket and not (index.endswith("]") and index[:-1].isdecimal()):
            raise ConfigurationError(f"{source}: input: {{{slot}}}: an item is taken by its number, as {{choices[0]}}")


def _labels(value: Any, source: str) -> dict[str, str] | None:
    """The texts of raw values, from a mapping or a list; a list's raw values are 0, 1, 2 ...

    No text is empty and none stands twice, so that a prediction is one label or none.
    """
    if value is None:
        return None
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else [])
    if not pairs:
        raise ConfigurationError(f"{source}: labels: {value!r} is not a list or mapping of labels")
    for item in (item for pair in pairs for item in pair):
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise ConfigurationError(
                f"{source}: labels: YAML reads {item!r}, not a text, here; put the label in quotes"
            )
    labels: dict[str, str] = {}
    for raw, text in ((str(raw), str(text).strip()) for raw, text in pairs):
        if not text:
            raise ConfigurationError(f"{source}: labels: the text of {raw!r} is empty")
        if raw in labels or text in labels.values():
            raise ConfigurationError(f"{source}: labels: {raw if raw in labels else text!r} stands there twice")
        labels[raw] = text
    return labels


def columns_by_split(value: list[str] | dict[str, list[str]] | None) -> dict[str, tuple[str, ...]] | None:
    """The names of columns by split, from a list for all splits or a mapping."""
    if not value:
        return None
    by_split = value if isinstance(value, dict) else {split: value for split in SPLITS}
    return {split: tuple(names) for split, names in by_split.items()}


def _resolve(path: str, folder: str | None) -> str:
    """A path absolute, or as a URL where it is relative to one; a URL, and any path without a folder, as is."""
    if folder is None or is_remote(path):
        return path
    path = os.path.join(folder, os.path.expanduser(path))
    if not is_remote(path):
        return os.path.abspath(path)
    protocol, separator, rest = path.partition("://")
    return f"{protocol}{separator}{posixpath.normpath(rest)}"
