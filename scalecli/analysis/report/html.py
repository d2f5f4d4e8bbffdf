"""A report as a page of HTML."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from scalecli.analysis.page import page
from scalecli.analysis.plots.html import SCRIPT, STYLE, fragment
from scalecli.analysis.report.content import Report, Section
from scalecli.tables import Column, Link, Table, humanise

_SHORT = 40  # signs of a text that is kept in one line


def report_page(report: Report) -> str:
    """The whole page."""
    numbers = itertools.count(1)  # of figures and tables together
    links = "".join(
        f'<li><a href="#section-{index}">{escape(section.title)}</a></li>'
        for index, section in enumerate(report.sections)
    )
    sections = "\n".join(
        f'<section id="section-{index}">\n{_section(section, numbers)}</section>'
        for index, section in enumerate(report.sections)
    )
    body = f"""<header>
<h1>{escape(report.title)}</h1>
{_paragraphs(report.made)}<nav aria-label="Sections"><ul>{links}</ul></nav>
</header>
<main>
{sections}
</main>"""
    return page(report.title, body, style=_file("page.css") + STYLE, script=_file("page.js") + SCRIPT)


@functools.cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _paragraphs(lines: Any) -> str:
    return "".join(f"<p>{escape(line)}</p>\n" for line in lines)


def _section(section: Section, numbers: Iterator[int]) -> str:
    figures = (fragment(figure, f"figure-{next(numbers)}") for figure in section.figures)
    return "\n".join(
        [
            f"<h2>{escape(section.title)}</h2>",
            _paragraphs(section.paragraphs),
            *figures,
            *(_table(table, f"table-{next(numbers)}", section.title) for table in section.tables),
            "",
        ]
    )


def _table(table: Table, identifier: str, section: str) -> str:
    """A table under its title, if that is not the section's; the page's script adds filters and makes heads sort."""
    title = "" if table.title == section else f"<h3>{escape(table.title)}</h3>\n"
    heads = "".join(f'<th scope="col"{_class(column)}>{escape(column.title)}</th>' for column in table.columns)
    rows = "\n".join(
        f"<tr>{''.join(_cell(table, index, column) for column in table.columns)}</tr>"
        for index in range(len(table.rows))
    )
    return f"""{title}<div class="table"><table id="{identifier}" aria-label="{escape(table.title)}">
<thead><tr>{heads}</tr></thead>
<tbody>
{rows}
</tbody>
</table></div>
{_paragraphs(table.notes)}"""


def _class(column: Column, text: str = "") -> str:
    """Numbers stand to the right; only longer texts are broken into lines."""
    name = "number" if column.kind != "text" else "short" if len(text) <= _SHORT else ""
    return f' class="{name}"' if name else ""


def _cell(table: Table, row: int, column: Column) -> str:
    """A cell; what a number is exactly, and sorts by, stands in `data-value`."""
    value = table.rows[row].get(column.key)
    shown = humanise(value, column.kind)
    text = escape(shown)
    if isinstance(value, Link):
        text = f'<a href="{escape(value.url)}">{text}</a>'
    if (row, column.key) in table.marked:
        text = f"<strong>{text}*</strong>"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and value == value
    exact = f' data-value="{value!r}"' if is_number else ""
    return f"<td{_class(column, shown)}{exact}>{text}</td>"
