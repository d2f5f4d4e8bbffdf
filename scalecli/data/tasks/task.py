"""Tasks: what is read and written, text to text, and how it is scored; each is a few lines of YAML.

    name: sst2
    dataset: glue/sst2                  # of TensorFlow Datasets; or files, relative to this one:
    train: SST-2/train.tsv              # TSV (no quoting), CSV, JSON, Parquet, Arrow; may be packed
    validation: SST-2/dev.tsv
    input: "sst2 sentence: {sentence}"  # or columns, [sentence1, sentence2]: "sst2 sentence1: ... sentence2: ..."
    target: label
    labels: [negative, positive]        # the texts of labels 0 and 1; or a mapping from raw value to text
    metrics: [accuracy]
    lengths: {inputs: 512, targets: 84}

The other keys are described at `Task`. The tasks that come with the package have the same schema (`registry`); their
files are the originals, looked for under a data directory, and their dataset is taken where those are not.
"""

from __future__ import annotations

import json
import os
import string
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from scalecli.data.tasks.schema import SPLITS, Form, Lengths, TaskFile, check, columns_by_split
from scalecli.strict import from_mapping, load_yaml, to_mapping

__all__ = ["SPLITS", "UNANSWERABLE", "UNLABELED", "Example", "Form", "Task", "as_text", "load_task"]

UNLABELED = "<unk>"  # the target of a test example whose label isn't published, as in T5
# The target of a question without an answer (SQuAD v2). T5 has no such task; this is FLAN's (Wei et al. 2022).
UNANSWERABLE = "unanswerable"


@dataclass(frozen=True)
class Example:
    """One example, text to text; `row` counts the examples of its split from 0.

    `answers` are all accepted texts where there are several; empty, the target is the only one. Examples of one `group`
    are judged together (the answers to a question of MultiRC). `label`, of WSC alone, says whether the target is the
    pronoun's referent: 1, 0, or -1 where that is not known. `idx` is the example's identifier in the data set, for
    submissions: a number, a name, or several numbers.
    """

    input: str
    target: str
    row: int
    answers: tuple[str, ...] = ()
    group: str | None = None
    label: int | None = None
    idx: int | str | dict[str, int] | None = None

    @property
    def is_labeled(self) -> bool:
        """Whether the right answer is known; of test sets it often is not published."""
        return self.target != UNLABELED and self.label != -1


@dataclass(frozen=True)
class Task:
    """A task: where its examples are, how a row becomes text, and how predictions are scored.

    `name`, `prefix`: the prefix begins the input of T5's form; it is the name unless given.
    `input`: a template with {column} slots ({column[0]} for the first of a list), or the columns that T5's form names.
    `target`: the column to predict. `form`: the function of `forms` that makes texts of a row, or the general one.
    `labels`: the texts of the classes in order of their number; None leaves the target as it is. `raw_labels`: from raw
        value to text, where a task file maps them. `threshold`: the target is a number, the second label from this on.
    `metrics`: names in `METRICS`; the first decides which step is best.
    `dataset`: the name of TensorFlow Datasets, and `splits` its names of train, validation and test.
    `train`, `validation`, `test`: files; absolute or URLs, or in the tasks of the package relative to `data_dir`.
    `format`: of the files, when their names don't say it. `columns`: by split, the names of columns of files without a
        header. `fields`: the column that holds a field, where its name is another one.
    `skip_broken`: lines of tables that have too few or too many columns are left out and counted; else they are errors.
    `skip_labels`: raw values of the target, such as SNLI's "-", whose rows are left out and counted; else they are
        errors. Rows in which the target or a column of the input is null are always left out and counted.
    `data_dir`: the folder of TensorFlow datasets, or of the original files.
    `inputs_length`, `targets_length`: in tokens, the end of sequence counted.
    `examples`: the number of training examples, by which tasks are mixed; None: they are counted.
    `download`: where the files can be had, for the message when they are missing.
    `scored_with`: the task whose score is averaged with this one's before tasks are averaged (MNLI's mismatched half).
    """

    name: str
    input: str | tuple[str, ...]
    target: str
    metrics: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    raw_labels: Mapping[str, str] | None = None
    threshold: float | None = None
    prefix: str = ""
    form: Form = "fields"
    dataset: str | None = None
    splits: Mapping[str, str] | None = None
    data_dir: str | None = None
    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    format: str | None = None
    columns: Mapping[str, tuple[str, ...]] | None = None
    fields: Mapping[str, str] | None = None
    skip_broken: bool = False
    skip_labels: tuple[str, ...] = ()
    inputs_length: int = 512
    targets_length: int = 84
    examples: int | None = None
    scored_with: str | None = None
    download: str | None = None

    def has(self, split: str) -> bool:
        """Whether the task has a split: "train", "validation" or "test"."""
        return bool(self.files(split)) or split in self.dataset_splits()

    def files(self, split: str) -> tuple[str, ...]:
        """The files of a split, as the task names them; empty where it has none."""
        return {"train": self.train, "validation": self.validation, "test": self.test}.get(split, ())

    def dataset_splits(self) -> Mapping[str, str]:
        """What the TensorFlow dataset calls each split; empty without a dataset."""
        return {} if not self.dataset else {split: split for split in SPLITS} if self.splits is None else self.splits

    def input_columns(self) -> tuple[str, ...]:
        """The columns that the input takes."""
        if isinstance(self.input, tuple):
            return self.input
        slots = (slot for _, slot, _, _ in string.Formatter().parse(self.input) if slot is not None)
        return tuple(dict.fromkeys(slot.partition("[")[0] for slot in slots))

    def input_text(self, row: Mapping[str, Any]) -> str:
        """The text to read of a row: the template filled in, or "prefix column: value column: value"."""
        if isinstance(self.input, tuple):
            return " ".join([self.prefix or self.name, *(f"{column}: {as_text(row[column])}" for column in self.input)])
        pieces = string.Formatter().parse(self.input)
        return "".join(literal + ("" if slot is None else _filled(slot, row)) for literal, slot, _, _ in pieces)

    def label_text(self, value: Any) -> str | None:
        """The text of a raw label; None for what is no label, and `UNLABELED` where the label is not published.

        A number, also as text, counts the labels from 0; other text is one of the labels, in any case. Raw labels that
        a task file maps are as it says. 1.0 counts as 1: tables with gaps hold floats.
        """
        if self.raw_labels is not None:
            raw = value.strip() if isinstance(value, str) else json.dumps(value)
            raw = raw if raw in self.raw_labels else raw.removesuffix(".0")
            return self.raw_labels.get(raw, UNLABELED if raw == "-1" else None)
        assert self.labels is not None
        if self.threshold is not None:
            try:
                return self.labels[float(value) >= self.threshold]
            except (TypeError, ValueError):
                return None
        if isinstance(value, str):
            value = value.strip()
            same = [label for label in self.labels if label.casefold() == value.casefold()]
            number = value.removesuffix(".0")
            if same or not number.removeprefix("-").isdecimal():
                return value if value in same else next(iter(same), None)
            value = int(number)
        if value == -1:
            return UNLABELED
        return self.labels[int(value)] if value in range(len(self.labels)) else None

    def to_dict(self) -> dict[str, Any]:
        """The task as its YAML file has it, with what isn't set left out."""
        values = {
            key.name: getattr(self, key.name) for key in fields(TaskFile) if key.name not in ("lengths", "labels")
        }
        lengths = Lengths(self.inputs_length, self.targets_length)
        mapping = to_mapping(TaskFile(**values, labels=self.raw_labels or self.labels, lengths=lengths))
        return {key: value for key, value in mapping.items() if value not in ([], False) and value != "fields"}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], folder: str | None = "", source: str = "task") -> Task:
        """The task that a YAML file's values describe; its paths are relative to `folder`, a path or URL.

        Without a folder they stay as they are: relative to the data directory. Raises ConfigurationError, with
        `source` and the key, for what is unknown, missing or of the wrong kind.
        """
        file = from_mapping(TaskFile, values, source)
        labels = check(file, source)
        return cls(
            name=file.name,
            input=file.input if isinstance(file.input, str) else tuple(file.input),
            target=file.target,
            metrics=tuple(file.metrics or (("accuracy",) if labels else ("exact_match", "token_f1"))),
            labels=None if labels is None else tuple(labels.values()),
            raw_labels=labels if isinstance(file.labels, dict) else None,
            columns=columns_by_split(file.columns),
            skip_labels=tuple(file.skip_labels),
            prefix=file.prefix or file.name,
            inputs_length=file.lengths.inputs,
            targets_length=file.lengths.targets,
            train=file.paths("train", folder),
            validation=file.paths("validation", folder),
            test=file.paths("test", folder),
            **{key: getattr(file, key) for key in _AS_THEY_ARE},
        )

    @classmethod
    def from_flags(cls, **flags: Any) -> Task:
        """The task of command-line flags, named as the YAML keys, with paths relative to the current folder.

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


# The keys of a task file that a task has under the same name and in the same form.
_AS_THEY_ARE = (
    *("dataset", "splits", "data_dir", "format", "fields", "skip_broken"),
    *("form", "threshold", "examples", "scored_with", "download"),
)


def load_task(path: str | Path) -> Task:
    """Reads a task file. Raises MissingError when it can't be read, ConfigurationError when it isn't a task."""
    return Task.from_dict(load_yaml(path), os.path.dirname(path), str(path))


def as_text(value: Any) -> str:
    """A value as a text: texts as they are, numbers and booleans as JSON writes them."""
    return value if isinstance(value, str) else json.dumps(value)


def _filled(slot: str, row: Mapping[str, Any]) -> str:
    """The text for a slot of a template, a column or an item of one: "choices[0]"."""
    column, bracket, index = slot.partition("[")
    return as_text(row[column][int(index.rstrip("]"))] if bracket else row[column])
