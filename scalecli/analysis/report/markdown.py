"""A report as Markdown, as GitHub reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scalecli.analysis.report.content import Report, Section
from scalecli.tables import markdown, markdown_text


def document(report: Report, figures: Sequence[str]) -> str:
    """The whole document; `figures` are the names of the figures' files beside it, without their endings."""
    files = iter(figures)
    blocks = [f"# {markdown_text(report.title)}", *map(markdown_text, report.made)]
    for section in report.sections:
        blocks += _section(section, files)
    return "\n\n".join(blocks) + "\n"


def _section(section: Section, figures: Iterator[str]) -> Iterator[str]:
    yield f"## {markdown_text(section.title)}"
    yield from map(markdown_text, section.paragraphs)
    for figure in section.figures:
        name = next(figures)
        yield f"![{markdown_text(figure.title)}]({name}.png)"
        yield f"[The points of this figure]({name}.csv)"
    for table in section.tables:
        if table.title != section.title:
            yield f"### {markdown_text(table.title)}"
        yield markdown(table.rows, table.columns, table.marked).rstrip("\n")
        yield from map(markdown_text, table.notes)
