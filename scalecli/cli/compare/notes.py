"""The lines under the table of `scalecli compare`: what its figures are of, and what is the matter with some."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from scalecli.analysis.papers.findings import Finding
from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.rows.fairness import unlike
from scalecli.cli.compare.table import Choice
from scalecli.costs import BATCHES, Convention
from scalecli.tables import Table, first_few

_SUMMARIES = frozenset({"xsum", "cnn_dailymail", "multi_news"})  # the columns of Table 7
_NAMES = 3  # of those that a note lists
_few = partial(first_few, count=_NAMES)


def notes(
    rows: Sequence[Row],
    table: Table,
    choice: Choice,
    sorted_by: str | None,
    fitted: Collection[str],
    convention: Convention,
    is_for_people: bool,
) -> list[str]:
    """The lines under the table of models, about the columns that it shows, is sorted by, or that fits are of.

    Programs have findings, and what was measured on what, in the rows.
    """
    shown = {column.key for column in table.columns}
    has_pareto = any(key.startswith("pareto") for key in shown)
    used = shown | ({sorted_by} if sorted_by else set()) | ({*choice.costs, *choice.qualities} if has_pareto else set())
    lines = _marks(table, choice, has_pareto) if is_for_people else []
    batch = BATCHES[convention]
    sizes = {
        batch.sequences: f"batch {batch.sequences} x {batch.inputs} inputs x {batch.targets} targets",
        1: "one image",
    }
    sequences_of_rows = {row.flops_sequences for row in rows}
    if "flops" in used and (listed := [size for sequences, size in sizes.items() if sequences in sequences_of_rows]):
        lines.append(f"FLOPs: {convention}, {', or '.join(listed)}")
    lacking = [row.name for row in rows if row.flops is None and row.run is not None]
    if "flops" in used and lacking:
        lines.append(f"note: no FLOPs of {_few(lacking)}, which can't have examples of that length")
    whole = [row.name for row in rows if any(_has_whole_alone(row, task) for task in _SUMMARIES)]
    if whole and not _SUMMARIES.isdisjoint(used):
        lines.append(
            f"note: {_few(whole)}: rouge_l is ROUGE-L of whole texts, and not what the papers print: rouge_lsum"
        )
    lines += _impossible(rows, used | {*fitted})
    if is_for_people:
        lines += [*_unlike(rows, used), *_unlike_qualities(rows, used), *_unlike_training(rows, used)]
        pairs = ((row.name, finding) for row in rows for finding in row.findings)
        lines += finding_lines(pair for pair in pairs if not set(pair[1].figures).isdisjoint(used))
    return lines


def _marks(table: Table, choice: Choice, has_pareto: bool) -> list[str]:
    """What the marks in the table mean."""
    meanings = ["* best of its column"] if table.marked else []
    if has_pareto and any(cell for row in table.rows for key, cell in row.items() if key.startswith("pareto")):
        mark = "●" if len(choice.costs) == 1 else "Pareto"
        meanings.append(f"{mark} no cheaper row ({', '.join(choice.costs)}) is as good ({', '.join(choice.qualities)})")
    return [f"{'; '.join(meanings)}; among rows that were measured alike"] if meanings else []


def _has_whole_alone(row: Row, task: str) -> bool:
    """Whether a run has ROUGE-L of whole texts alone, as runs before `rouge_lsum` do."""
    return f"{task}/rouge_l" in row.results and task not in row.results


def finding_lines(pairs: Iterable[tuple[str, Finding]]) -> list[str]:
    """One line for each finding, with the names of all rows that it is about."""
    rows_of: dict[int, tuple[Finding, dict[str, None]]] = {}
    for name, finding in pairs:
        rows_of.setdefault(id(finding), (finding, {}))[1][name] = None  # each finding is one object
    return [f"note: {', '.join(names)}: {finding.text()}" for finding, names in rows_of.values()]


def _impossible(rows: Sequence[Row], used: Collection[str]) -> Iterator[str]:
    """Names the figures that can't be, and so are neither best nor on a frontier."""
    for row in rows:
        for key in sorted(used):
            value = row.value(key)
            if isinstance(value, (int, float)) and row.figure(key) is None:
                yield f"note: {row.name}: {key} of {value:g} is no such figure, and is not compared"


def _unlike(rows: Sequence[Row], used: Collection[str]) -> list[str]:
    """Says where a column has figures that were not measured alike, so that marks leave some of them apart."""
    kinds = {"flops": "FLOPs of as many sequences", "steps_per_s": "steps/s on as many chips"}
    unlike = [
        text
        for key, text in kinds.items()
        if key in used and len({row.measured_on(key) for row in rows if row.value(key) is not None}) > 1
    ]
    return [f"note: marks only compare {' and '.join(unlike)}"] if unlike else []


def _unlike_qualities(rows: Sequence[Row], used: Collection[str]) -> Iterator[str]:
    """The same for qualities, with what they were measured on."""
    alike = {
        "upstream": "upstream of one text",
        "downstream": "downstream of the same tasks",
        "few_shot": "few-shot accuracy on the same images",
    }
    for key, what in alike.items():
        measured = unlike(rows, key) if key in used else {}
        if measured:
            listed = "; ".join(f"{on} ({_few(names)})" for on, names in measured.items())
            yield f"note: marks only compare {what}: {listed}"


def _unlike_training(rows: Sequence[Row], used: Collection[str]) -> Iterator[str]:
    """The same for the data that models saw: of qualities with the same amounts once, with the most models."""
    names_of: dict[frozenset[str], dict[str, list[str]]] = {}
    for key in sorted(used):
        seen: dict[str, list[str]] = {}
        for row in rows:
            if row.value(key) is not None and row.trained_on(key):
                seen.setdefault(row.seen or "unknown", []).append(row.name)
        most = names_of.get(frozenset(seen), {})
        names_of[frozenset(seen)] = max(most, seen, key=lambda names: sum(map(len, names.values())))
    for names in names_of.values():
        if len(names) > 1:
            amounts = [f"{amount} ({_few(models)})" for amount, models in names.items()]
            shown = first_few(amounts, _NAMES, "; ")
            yield f"note: marks, fits and frontiers only compare models that saw as much data: {shown}"
