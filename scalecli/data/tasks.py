"""Finetuning tasks: a small YAML file that says which columns of which files become the text to read and to write.

    name: sst2
    train: SST-2/train.tsv              # TSV (no quoting), CSV or JSONL, .gz allowed; relative to this file
    validation: SST-2/dev.tsv
    input: "sst2 sentence: {sentence}"  # or columns, [sentence1, sentence2]: "sst2 sentence1: ... sentence2: ..."
    target: label
    labels: [negative, positive]        # the text of raw values 0 and 1; or a mapping from raw value to text
    metrics: [accuracy]
    lengths: {inputs: 512, targets: 84}

`format` (tsv, csv, jsonl) says what the file's name doesn't, `columns` names the columns of files without a header.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import string
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from scalecli.data.sources import display_name, find_files, fingerprint
from scalecli.data.tables import read_table
from scalecli.errors import ConfigurationError, MissingError
from scalecli.files import is_remote
from scalecli.strict import from_mapping, load_yaml, to_mapping

Metric = Literal["accuracy", "f1", "matthews", "pearson", "spearman", "exact_match", "token_f1"]
METRICS: tuple[str, ...] = get_args(Metric)
SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Example:
    """One example, text to text; `row` counts the examples of its split from 0."""

    input: str
    target: str
    row: int


@dataclass(frozen=True)
class _Lengths:
    inputs: int = 512
    targets: int = 84


@dataclass(frozen=True)
class _TaskFile:
    """The keys of a task file and what each may be."""

    name: str
    input: str | list[str]
    target: str
    train: str | list[str] = field(default_factory=list)
    validation: str | list[str] = field(default_factory=list)
    format: Literal["tsv", "csv", "jsonl"] | None = None
    columns: list[str] | None = None
    labels: Any = None
    metrics: list[Metric] | None = None
    lengths: _Lengths = _Lengths()


@dataclass(frozen=True)
class Task:
    """A task: files of its splits (absolute, or URLs), how a row becomes text, and how predictions are scored.

    `input` is a template with {column} places, or the columns that the T5 form names one by one. `labels` maps raw
    values to texts; None leaves the target as it is. Lengths are in tokens, the end of sequence counted.
    """

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    input: str | tuple[str, ...]
    target: str
    labels: Mapping[str, str] | None
    metrics: tuple[str, ...]
    format: str | None = None
    columns: tuple[str, ...] | None = None
    inputs_length: int = 512
    targets_length: int = 84

    def input_columns(self) -> tuple[str, ...]:
        """Returns the columns that the input takes."""
        if isinstance(self.input, tuple):
            return self.input
        return tuple(column for _, column, _, _ in string.Formatter().parse(self.input) if column is not None)

    def input_text(self, row: Mapping[str, str]) -> str:
        """Returns the text to read of a row: the template filled in, or "name column: value column: value"."""
        if isinstance(self.input, tuple):
            return " ".join([self.name, *(f"{column}: {row[column]}" for column in self.input)])
        pieces = string.Formatter().parse(self.input)
        return "".join(literal + (row[column] if column is not None else "") for literal, column, _, _ in pieces)

    def versions(self) -> dict[str, str]:
        """Returns a hash of the files' contents for each split that the task has. Raises MissingError."""
        present = {split: files for split in SPLITS if (files := getattr(self, split))}
        return {
            split: hashlib.sha256("".join(map(fingerprint, find_files(files))).encode()).hexdigest()
            for split, files in present.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Returns the task as its YAML file has it, with what isn't set left out."""
        lengths = _Lengths(self.inputs_length, self.targets_length)
        named = {key.name: getattr(self, key.name) for key in fields(_TaskFile) if key.name != "lengths"}
        values = to_mapping(_TaskFile(**named, lengths=lengths))
        return {key: value for key, value in values.items() if value != []}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], folder: str = "", source: str = "task") -> Task:
        """Returns the task that a YAML file's values describe; its paths are relative to `folder`, a path or URL.

        Raises ConfigurationError, with `source` and the key, for what is unknown, missing or of the wrong kind.
        """
        file = from_mapping(_TaskFile, values, source)
        labels = _labels(file.labels, source)
        paths = {split: tuple(_resolve(path, folder) for path in _tuple(getattr(file, split))) for split in SPLITS}
        if not any(paths.values()):
            raise ConfigurationError(f"{source}: neither train nor validation names a file")
        for key in ("name", "target", "input"):
            if not getattr(file, key):
                raise ConfigurationError(f"{source}: {key}: empty")
        if file.name in (".", "..") or set(file.name) & set("/\\"):
            raise ConfigurationError(f"{source}: name: {file.name!r} can't name a folder; take one without / and \\")
        for key, length in (("inputs", file.lengths.inputs), ("targets", file.lengths.targets)):
            if length < 2:
                raise ConfigurationError(f"{source}: lengths.{key}: {length}; it takes at least 2 tokens")
        return cls(
            name=file.name,
            train=paths["train"],
            validation=paths["validation"],
            input=_template(file.input, source) if isinstance(file.input, str) else tuple(file.input),
            target=file.target,
            labels=labels,
            metrics=tuple(file.metrics or (("accuracy",) if labels else ("exact_match", "token_f1"))),
            format=file.format,
            columns=tuple(file.columns) if file.columns else None,
            inputs_length=file.lengths.inputs,
            targets_length=file.lengths.targets,
        )

    @classmethod
    def from_flags(cls, **flags: Any) -> Task:
        """Returns the task of command-line flags, named as the YAML keys, with paths relative to the current folder.

        `input` is a template, or columns with commas between them; `labels` are texts in the order of the raw values 0,
        1 ..., or each "raw=text"; lengths are `inputs_length` and `targets_length`. What is None or empty isn't set.
        """
        values: dict[str, Any] = {
            key: list(value) if isinstance(value, tuple) else value for key, value in flags.items() if value
        }
        lengths = {key: values.pop(f"{key}_length") for key in ("inputs", "targets") if f"{key}_length" in values}
        if isinstance(values.get("input"), str) and "{" not in values["input"]:
            values["input"] = [column.strip() for column in values["input"].split(",")]
        if any("=" in label for label in values.get("labels", ())):
            values["labels"] = dict(label.partition("=")[::2] for label in values["labels"])
        return cls.from_dict({"name": "task", **values, "lengths": lengths}, source="task flags")


def load_task(path: str | Path) -> Task:
    """Reads a task file. Raises MissingError when it can't be read, ConfigurationError when it isn't a task."""
    return Task.from_dict(load_yaml(path), os.path.dirname(path), str(path))


def read_examples(task: Task, split: str) -> list[Example]:
    """Returns the examples of a split, "train" or "validation", in the order of the files.

    Raises ConfigurationError, with file and line, for a column that isn't there and a label that isn't in the list;
    MissingError for what can't be read, and for a split without examples.
    """
    files = getattr(task, split) if split in SPLITS else ()
    if not files:
        raise ConfigurationError(
            f"task {task.name}: no {split} file; it has {', '.join(s for s in SPLITS if getattr(task, s))}"
        )
    locations = find_files(files)
    needed = (*task.input_columns(), task.target)
    examples: list[Example] = []
    for location in locations:
        for line, row in read_table(location, needed, task.format, task.columns):
            target = row[task.target]
            if task.labels is not None:
                if target not in task.labels:
                    accepted = ", ".join(map(repr, task.labels))
                    place = f"{display_name(location)}:{line}"
                    raise ConfigurationError(
                        f"{place}: {target!r} is not a label of task {task.name}; it has {accepted}"
                    )
                target = task.labels[target]
            examples.append(Example(task.input_text(row), target, len(examples)))
    if not examples:
        raise MissingError(f"{', '.join(map(display_name, locations))}: no examples")
    return examples


def _template(template: str, source: str) -> str:
    """Returns a template whose places are all names of columns."""
    try:
        places = [place for place in string.Formatter().parse(template) if place[1] is not None]
    except ValueError as error:
        raise ConfigurationError(f"{source}: input: {template!r}: {error}; a brace itself is written twice") from error
    if not places or any(not column or spec or conversion for _, column, spec, conversion in places):
        raise ConfigurationError(f"{source}: input: {template!r}: its places are the names of columns, as {{sentence}}")
    return template


def _labels(value: Any, source: str) -> dict[str, str] | None:
    """Returns the texts of raw values, from a mapping or a list; a list's raw values are 0, 1, 2 ...

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


def _tuple(value: str | list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _resolve(path: str, folder: str) -> str:
    """Returns a URL as it is and a path absolute, or as a URL where it is relative to one."""
    if is_remote(path):
        return path
    path = os.path.join(folder, os.path.expanduser(path))
    if not is_remote(path):
        return os.path.abspath(path)
    protocol, separator, place = path.partition("://")
    return f"{protocol}{separator}{posixpath.normpath(place)}"
