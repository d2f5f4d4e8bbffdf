"""Predictions on test sets as the GLUE and SuperGLUE servers take them: one file for each task, zipped together.

The formats are those of gluebenchmark.com (TSV with index and prediction) and super.gluebenchmark.com (JSON lines with
idx and label). Both take a label for every example: a prediction that is none is written as the task's first label.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalecli.data.tasks.task import Example, Task
from scalecli.evaluation.answers import names_referent
from scalecli.storage.files import write_atomically

Predicted = tuple[Task, Sequence[Example], Sequence[str]]  # a prediction for each example

FILES = {
    "glue": {
        **{"cola": "CoLA.tsv", "sst2": "SST-2.tsv", "mrpc": "MRPC.tsv", "qqp": "QQP.tsv", "stsb": "STS-B.tsv"},
        **{"mnli": "MNLI-m.tsv", "mnli_mismatched": "MNLI-mm.tsv", "qnli": "QNLI.tsv", "rte": "RTE.tsv"},
        **{"wnli": "WNLI.tsv", "ax": "AX.tsv"},
    },
    "superglue": {
        **{"boolq": "BoolQ.jsonl", "cb": "CB.jsonl", "copa": "COPA.jsonl", "multirc": "MultiRC.jsonl"},
        **{"record": "ReCoRD.jsonl", "superglue_rte": "RTE.jsonl", "wic": "WiC.jsonl", "wsc": "WSC.jsonl"},
        **{"axb": "AX-b.jsonl", "axg": "AX-g.jsonl"},
    },
}
_BY_NUMBER = ("cola", "sst2", "mrpc", "qqp", "wnli", "copa", "multirc")  # the other tasks' labels are words
_DATE = (1980, 1, 1, 0, 0, 0)  # the same predictions make the same file


def write_submissions(folder: Path, suffix: str, predicted: Mapping[str, Predicted]) -> list[str]:
    """Writes glue{suffix}.zip and superglue{suffix}.zip into a folder, where there are tasks of theirs.

    Returns a line for each about what a reader should know: the place, the files that the server will miss, and how
    many predictions were no label.

    Raises:
        ScalecliError: the folder can't be written.
    """
    notes = []
    for benchmark, names in FILES.items():
        present = [name for name in names if name in predicted]
        if not present:
            continue
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in present:
                archive.writestr(zipfile.ZipInfo(names[name], _DATE), submission(*predicted[name]))
        path = folder / f"{benchmark}{suffix}.zip"
        write_atomically(path, stream.getvalue())
        missing = ", ".join(file for name, file in names.items() if name not in present)
        invalid = sum(_is_invalid(text, predicted[name][0]) for name in present for text in predicted[name][2])
        notes.append(
            f"{path.name}: {len(present)} of {len(names)} files{f', without {missing}' if missing else ''}; "
            f"{invalid:,} predictions are no label and stand there as the task's first"
        )
    return notes


def submission(task: Task, examples: Sequence[Example], predictions: Sequence[str]) -> str:
    """The content of a task's file."""
    if FILES["glue"].get(task.name):
        rows = (
            f"{example.idx}\t{_glue_label(text, task)}\n" for example, text in zip(examples, predictions, strict=True)
        )
        return "index\tprediction\n" + "".join(rows)
    lines: Callable[..., Iterator[dict[str, Any]]] = _multirc if task.name == "multirc" else _superglue
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines(task, examples, predictions))


def _superglue(task: Task, examples: Sequence[Example], predictions: Sequence[str]) -> Iterator[dict[str, Any]]:
    for example, text in zip(examples, predictions, strict=True):
        idx = example.idx["query"] if isinstance(example.idx, dict) else example.idx
        label: Any = text
        if task.name == "wsc":
            label = str(bool(names_referent(text, example.target)))
        elif task.labels:
            label = _label(text, task)
            # BoolQ and WiC, unlike WSC, are in lower case.
            label = task.labels.index(label) if task.name in _BY_NUMBER else label.lower()
        yield {"idx": idx, "label": label}


def _multirc(task: Task, examples: Sequence[Example], predictions: Sequence[str]) -> Iterator[dict[str, Any]]:
    paragraphs: dict[int, dict[int, list[dict[str, int]]]] = {}
    for example, text in zip(examples, predictions, strict=True):
        assert isinstance(example.idx, dict) and task.labels
        answers = paragraphs.setdefault(example.idx["paragraph"], {}).setdefault(example.idx["question"], [])
        answers.append({"idx": example.idx["answer"], "label": task.labels.index(_label(text, task))})
    for paragraph, questions in paragraphs.items():
        listed = [{"idx": question, "answers": answers} for question, answers in questions.items()]
        yield {"idx": paragraph, "passage": {"questions": listed}}


def _glue_label(text: str, task: Task) -> str | int:
    if task.labels is None:
        return text if not _is_invalid(text, task) else "0.0"
    label = _label(text, task)
    return task.labels.index(label) if task.name in _BY_NUMBER else label


def _label(text: str, task: Task) -> str:
    assert task.labels
    return text.strip() if text.strip() in task.labels else task.labels[0]


def _is_invalid(text: str, task: Task) -> bool:
    if task.labels:
        return text.strip() not in task.labels
    if task.name != "stsb":
        return False
    try:
        return not 0 <= float(text) <= 5
    except ValueError:
        return True
