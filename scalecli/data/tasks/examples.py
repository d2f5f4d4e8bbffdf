"""The examples of tasks, read from files or a TensorFlow dataset and made into texts."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator

from scalecli.data.datasets import DatasetSplit, open_split
from scalecli.data.sources import Remarks, display_name, find_files, fingerprint
from scalecli.data.tasks.forms import LeftOut, Row, needed_columns, texts_of
from scalecli.data.tasks.layouts import read_rows
from scalecli.data.tasks.task import SPLITS, Example, Task
from scalecli.errors import ConfigurationError, MissingError
from scalecli.storage.files import is_remote, locate, one_line_errors

# Where original files lie under a data directory: in it, or in a folder of their collection.
_COLLECTIONS = ("", "glue", "GLUE", "glue_data", "superglue", "SuperGLUE", "super_glue", "squad", "SQuAD")


def iterate_examples(
    task: Task, split: str, skipped: Counter[str] | None = None, remarks: Remarks | None = None
) -> Iterator[Example]:
    """Yields the examples of a split, "train", "validation" or "test", in the order of the files.

    `skipped` counts the rows that are left out, by reason: those without a label and those of empty fields alone, but
    for the test split; those that hold null or a label that the task skips, those that make no training example, and
    lines of tables that the task allows to be broken. `remarks` receives what was replaced in a row.

    Raises:
        ConfigurationError: with file and line, for a column that is missing and a label that is none.
        MissingError: for data that is missing or unreadable, and for a split without examples.
    """
    skipped = Counter() if skipped is None else skipped
    number, key = 0, "id" if task.form in ("squad", "squad_2022") else "idx"
    for index, (where, row) in enumerate(_rows(task, split, skipped, remarks)):
        if split != "test" and not any(value != "" for value in row.values()):
            skipped["all fields are empty"] += 1
            continue
        try:
            made = texts_of(task, row, split, where)
        except LeftOut as reason:
            skipped[str(reason)] += 1
            continue
        for texts in made:
            example = Example(
                texts.input, texts.target, number, texts.answers, texts.group, texts.label, row.get(key, index)
            )
            if not example.is_labeled and split != "test":
                skipped["no label"] += 1
                continue
            yield example
            number += 1
    if not number:
        raise MissingError(f"{_where(task, split)}: no examples{f' ({_listed(skipped)})' if skipped else ''}")


def is_there(task: Task, split: str) -> bool:
    """Whether a split is in the task's data directory; without a directory it can be downloaded."""
    try:
        _files(task, split)
    except MissingError:
        return False
    return True


def split_version(task: Task, split: str) -> str:
    """A hash of a split's content, as far as it can be had without reading a dataset. Raises MissingError."""
    files = _files(task, split)
    if files:
        content = "".join(map(fingerprint, files))
    else:
        dataset = _dataset(task, split)
        content = json.dumps([dataset.identity, [length for _, _, length in dataset.shards()]])
    return hashlib.sha256(content.encode()).hexdigest()


def _rows(task: Task, split: str, skipped: Counter[str], remarks: Remarks | None) -> Iterator[tuple[str, Row]]:
    """Yields file:line and row for each row of a split, from the task's files where they are, else from its dataset."""
    files = _files(task, split)
    if files:
        fields, broken = task.fields or {}, skipped if task.skip_broken else None
        for file in files:
            columns = (task.columns or {}).get(split)
            needed = [fields.get(column, column) for column in needed_columns(task, split)]
            for where, row in read_rows(
                file, task.format, needed=needed, columns=columns, skipped=broken, remarks=remarks
            ):
                yield where, {**row, **{field: row[column] for field, column in fields.items() if column in row}}
        return
    dataset = _dataset(task, split)
    for index, row in enumerate(dataset.rows()):
        yield f"dataset {dataset.identity}, {split}, example {index}", row


def _files(task: Task, split: str) -> list[str]:
    """The locations of a split's files; none where the task's dataset is to be read instead.

    Raises ConfigurationError for a split that the task doesn't have, MissingError for files that are not there.
    """
    if not task.has(split):
        known = ", ".join(name for name in SPLITS if task.has(name))
        raise ConfigurationError(f"task {task.name}: no {split} file; it has {known}")
    files = task.files(split)
    if all(is_remote(file) or os.path.isabs(file) for file in files):
        return find_files(files)
    if task.data_dir is None:
        if split not in task.dataset_splits():
            where = f"; they are in {task.download}" if task.download else ""
            raise MissingError(f"task {task.name}: --data-dir is to name the folder of {', '.join(files)}{where}")
        return []
    for collection in _COLLECTIONS:
        paths = [os.path.join(task.data_dir, collection, file) for file in files]
        if all(map(_exists, paths)):
            return find_files(paths)
    if split in task.dataset_splits():
        try:
            open_split(task.dataset or "", task.dataset_splits()[split], task.data_dir)
        except MissingError as error:
            looked = f"{task.data_dir} has neither {' and '.join(files)} nor the TensorFlow dataset {task.dataset}"
            raise MissingError(f"task {task.name}, {split}: {looked} ({error})") from error
        return []
    where = f"; it is in {task.download}" if task.download else ""
    raise MissingError(f"task {task.name}, {split}: {task.data_dir} doesn't have {' and '.join(files)}{where}")


def _dataset(task: Task, split: str) -> DatasetSplit:
    """The split of a task's dataset, downloaded if need be. Raises MissingError."""
    try:
        return open_split(task.dataset or "", task.dataset_splits()[split], task.data_dir, download=True)
    except MissingError as error:
        files = f", or with the original files, {', '.join(task.files(split))}" if task.files(split) else ""
        raise MissingError(f"task {task.name}, {split}: {error}{files}") from error


def _exists(location: str) -> bool:
    with one_line_errors(location):
        system, path = locate(location)
        return bool(system.isfile(path))


def _where(task: Task, split: str) -> str:
    files = _files(task, split)
    return ", ".join(map(display_name, files)) or f"task {task.name}, {split} of dataset {task.dataset}"


def _listed(skipped: Counter[str]) -> str:
    return ", ".join(f"{count} left out: {reason}" for reason, count in skipped.items())
