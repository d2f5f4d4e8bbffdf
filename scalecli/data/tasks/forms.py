"""From rows to texts: the forms that T5 gave its tasks, one function each.

A row has the fields of the task's TensorFlow dataset. Most tasks are of one form, `fields`: the input names its fields
one by one, or is a template, and the target is a label or a text. The other forms are those of single data sets.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from scalecli.data.tasks.task import UNANSWERABLE, UNLABELED, Form, Task, as_text
from scalecli.errors import ConfigurationError, nearest

Row = Mapping[str, Any]

# What a reader of scores should know about the texts that they are of.
_SPACED = "scores are against answers spaced like that, as T5's are"
REMARKS: Mapping[Form, str] = {
    "squad": f"T5's form of 2021, with spaces around all but ASCII letters, digits and underscores; {_SPACED}",
    "squad_2022": f"T5's form since April 2022, with spaces around ASCII punctuation; {_SPACED}",
}


class LeftOut(Exception):  # noqa: N818 (it is no error)
    """A row that makes no example, and why."""


class Texts(NamedTuple):
    """What a form makes of a row; see `Example`, whose fields these are."""

    input: str
    target: str
    answers: tuple[str, ...] = ()
    group: str | None = None
    label: int | None = None


def texts_of(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    """The examples of a row: one, or for ReCoRD's training rows one per answer.

    An example whose label isn't published has the target `UNLABELED`. Raises LeftOut for a row that makes none;
    ConfigurationError, with file:line, for a column that isn't there and a label that isn't one of the task's.
    """
    for column in task.input_columns():
        value = row.get(column, "")
        if any(map(_is_null, value if isinstance(value, list) else [value])):
            raise LeftOut(f"{column} is null")
    try:
        return _FORMS[task.form](task, row, split, where)
    except KeyError as error:
        hint = nearest(str(error.args[0]), row)
        raise ConfigurationError(f"{where}: no column {error}; it has {', '.join(map(repr, row))}{hint}") from error
    except IndexError as error:
        raise ConfigurationError(f"{where}: task {task.name} takes more items than a list here has") from error


def needed_columns(task: Task, split: str) -> tuple[str, ...]:
    """The columns that a split's rows must have; the test set's labels may be missing."""
    return task.input_columns() if split == "test" else (*task.input_columns(), task.target)


def _raw_target(task: Task, row: Row, split: str) -> Any:
    """A row's target as it stands there, or None where the test set doesn't tell it."""
    value = row.get(task.target) if split == "test" else row[task.target]
    if _is_null(value) and split != "test":
        raise LeftOut(f"{task.target} is null")
    if as_text(value).strip() in task.skip_labels:
        raise LeftOut(f"label {value!r}, of skip_labels")
    return None if (value == "" or _is_null(value)) and split == "test" else value


def _is_null(value: Any) -> bool:
    """Whether a value is null, or the NaN that stands for it in tables of numbers."""
    return value is None or value != value


def _label(task: Task, row: Row, split: str, where: str) -> str:
    """The text of a row's target; the test set may have none."""
    value = _raw_target(task, row, split)
    if value is None:
        return UNLABELED
    if task.labels is None:
        return as_text(value)
    text = task.label_text(value)
    if text is None:
        known = tuple(task.raw_labels or task.labels)
        accepted = ", ".join(map(repr, known))
        raise ConfigurationError(
            f"{where}: {value!r} is not a label of task {task.name}; it has {accepted}; skip_labels leaves rows out"
        )
    return text


def _fields(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    """T5's general form (T5, appendix D), or a template."""
    return [Texts(task.input_text(row), _label(task, row, split, where))]


def _stsb(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    """The score, rounded to the nearest fifth (T5, section 2.4), in float32 and half to even as TensorFlow rounds."""
    value = _raw_target(task, row, split)
    try:
        score = np.float32(-1 if value is None else value)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {value!r} is not a number, which task {task.name} predicts") from error
    if score == -1:
        return [Texts(task.input_text(row), UNLABELED)]
    rounded = np.round(score * np.float32(5)) / np.float32(5)
    return [Texts(task.input_text(row), f"{rounded:.1f}")]


def _multirc(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    """As `fields`, without the paragraph's markup; the answers to a question are a group."""
    text = re.sub("</?b>", "", task.input_text(row).replace("<br>", " "))
    question = f"{row['idx']['paragraph']}/{row['idx']['question']}"
    return [Texts(text, _label(task, row, split, where), group=question)]


def _record(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    """A training example for each answer; otherwise one example. All answers are accepted.

    The highlights of the passage's article become sentences of it.
    """
    passage = re.sub(r"([.?!\"'])\n@highlight\n", r"\1 ", row["passage"]).replace("\n@highlight\n", ". ")
    text = task.input_text({**row, "entities": ", ".join(row["entities"]), "passage": passage})
    answers = tuple(row["answers"]) or (UNLABELED,)
    if split == "train":
        return [Texts(text, answer, answers) for answer in answers]
    return [Texts(text, answers[0], answers)]


def _wsc(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    """The text with the pronoun marked, and a referent; of the training set only rows where that is the right one.

    Two rows have an index that isn't the pronoun's word; they are mended as T5 does it.
    """
    label = row.get("label", -1) if split == "test" else row["label"]
    if split == "train" and label == 0:
        raise LeftOut("the span is not the pronoun's referent, and T5 trains on referents alone")
    words, index, pronoun = row["text"].split(" "), row["span2_index"], row["span2_text"]
    if words[index : index + 2] == ["use", pronoun]:
        index += 1
    before, after = " ".join(words[:index]), " ".join(words[index + 1 :])
    text = f"{before} *{pronoun}* {after}"
    if '"Good for him,"' in row["text"]:
        text = row["text"].rstrip().replace(f" {pronoun},", f" *{pronoun}* ,")
    return [Texts(f"{task.prefix}: {text}", row["span1_text"], label=int(label) if label in (0, 1) else -1)]


def _dpr(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    """Definite pronoun resolution as `wsc`: the first of the pronouns in the sentence is the one that is meant."""
    pattern = rf" ({re.escape(row['pronoun'])})( |\.|,)"
    text = re.sub(pattern, r" *\1*\2", row["sentence"], count=1)
    return [Texts(f"{task.prefix}: {text}", row["candidates"][row["label"]])]


def _squad(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    r"""Question and context with spaces around all that is no ASCII letter, digit or underscore, and single spaces.

    To RE2, whose `\W` T5 used until April 2022, every accented letter is such a character.
    """
    return [_question(task, row, r"[^0-9A-Za-z_]")]


def _squad_2022(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    """As `squad`, with spaces around ASCII punctuation alone, the underscore included: `[[:punct:]]`."""
    return [_question(task, row, f"[{re.escape(string.punctuation)}]")]


def _question(task: Task, row: Row, punctuation: str) -> Texts:
    """A question about a context; one that has no answer, of SQuAD v2, has the target `UNANSWERABLE`."""
    spaced = {key: _spaced(row[key], punctuation) for key in task.input_columns()}
    answers = tuple(_spaced(text, punctuation) for text in row["answers"]["text"]) or (UNLABELED,)
    if row.get("is_impossible"):
        answers = (UNANSWERABLE,)
    return Texts(_squeezed(task.input_text({**row, **spaced})), answers[0], answers)


@functools.lru_cache(maxsize=16)  # a context comes with several questions
def _spaced(text: str, punctuation: str) -> str:
    return _squeezed(re.sub(f"({punctuation})", r" \1 ", text))


def _squeezed(text: str) -> str:
    return re.sub("[\t\n\f\r ]+", " ", text)


def _social_iqa(task: Task, row: Row, split: str, where: str) -> Iterable[Texts]:
    r"""As `fields`; but the TensorFlow dataset, UnifiedQA's, has all in one: "question \n (a) ... (b) ... \n context".

    Its output is the text of the right answer.
    """
    if "input" in row:
        matched = re.fullmatch(r"(.*?) *\\n *\(a\) (.*) \(b\) (.*) \(c\) (.*) *\\n *(.*)", row["input"], re.IGNORECASE)
        if not matched:
            raise ConfigurationError(f"{where}: the input is not a question, three answers and a context")
        question, *answers, context = map(str.strip, matched.groups())
        output = row["output"].strip().casefold()
        right = [number for number, answer in enumerate(answers) if answer.casefold() == output]
        if not right:
            raise ConfigurationError(f"{where}: the output {row['output']!r} is none of the answers")
        named = dict(zip(("answerA", "answerB", "answerC"), answers, strict=True))
        row = {"context": context, "question": question, **named, task.target: right[0]}
    return _fields(task, row, split, where)


_FORMS: dict[str, Callable[[Task, Row, str, str], Iterable[Texts]]] = {
    "fields": _fields,
    "stsb": _stsb,
    "multirc": _multirc,
    "record": _record,
    "wsc": _wsc,
    "dpr": _dpr,
    "squad": _squad,
    "squad_2022": _squad_2022,
    "social_iqa": _social_iqa,
}
