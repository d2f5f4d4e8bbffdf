"""The demo's finetuning task: which package does a docstring come from? Real text, and it needs no network."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from scalecli.data.tasks.task import Task
from scalecli.data.text.docstrings import Docstring
from scalecli.errors import MissingError
from scalecli.storage.files import write_atomically
from scalecli.strict import write_yaml

_PACKAGES = 6
_MOST_PER_PACKAGE = 250
_LEAST_PER_PACKAGE = 10
_VALIDATION_SHARE = 0.2


def write_package_task(docstrings: Iterable[Docstring], directory: Path) -> Path:
    """Writes train.jsonl, validation.jsonl and task.yaml of the task into a directory; returns the YAML file's path.

    The packages are the six with the most docstrings, all with equally many examples. A package's own name is replaced
    by "the package" in its texts, so that it can't simply be read off. The split is by a hash of the text, and no text
    is in both; the same texts without labels may have been read in pretraining. Raises MissingError when fewer than
    two packages have ten docstrings.
    """
    texts: dict[str, dict[str, None]] = defaultdict(dict)  # by package; the inner dictionary is an ordered set
    for docstring in docstrings:
        texts[docstring.package].setdefault(_without_name(docstring.text, docstring.package))
    packages = sorted(texts, key=lambda package: (-len(texts[package]), package))[:_PACKAGES]
    packages = sorted(package for package in packages if len(texts[package]) >= _LEAST_PER_PACKAGE)
    if len(packages) < 2:
        raise MissingError(
            f"package task: {len(packages)} packages with {_LEAST_PER_PACKAGE} or more long docstrings, and it takes 2"
        )
    count = min(_MOST_PER_PACKAGE, *(len(texts[package]) for package in packages))
    validation = max(1, round(count * _VALIDATION_SHARE))
    splits: dict[str, list[dict[str, str]]] = {"validation": [], "train": []}
    for package in packages:
        chosen = sorted(texts[package], key=_digest)[:count]
        splits["validation"] += [{"text": text, "package": package} for text in chosen[:validation]]
        splits["train"] += [{"text": text, "package": package} for text in chosen[validation:]]
    for split, rows in splits.items():
        rows.sort(key=lambda row: _digest(row["text"]))
        write_atomically(directory / f"{split}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    task = Task(
        name="package",
        train=("train.jsonl",),
        validation=("validation.jsonl",),
        input="package docstring: {text}",
        target="package",
        labels=tuple(packages),
        metrics=("accuracy",),
        inputs_length=128,
        targets_length=16,
    )
    path = directory / "task.yaml"
    write_yaml(path, task.to_dict())
    return path


def _without_name(text: str, package: str) -> str:
    """The text with the package's name, in any case and also inside longer words, as "the package"."""
    return re.sub(re.escape(package.strip("_") or package), "the package", text, flags=re.IGNORECASE)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
