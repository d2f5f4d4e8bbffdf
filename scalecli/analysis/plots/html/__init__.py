"""A figure for a browser: the picture as it is in SVG, with hover and filters. It needs nothing from elsewhere."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from scalecli.analysis.page import page
from scalecli.analysis.plots.drawing.palette import styles
from scalecli.analysis.plots.drawing.picture import render
from scalecli.analysis.plots.figure import FigureSpec, Mark, Panel
from scalecli.tables import humanise

# What a page with fragments has once, in its <style> and <script>.
STYLE = Path(__file__).with_name("plot.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("plot.js").read_text(encoding="utf-8")

_BODY = "body { margin: 1rem; font: 14px/1.5 system-ui, sans-serif; color: #222; background: #fff; }\n"
_PIXELS_PER_POINT = 4 / 3


def figure_page(figure: FigureSpec) -> str:
    """A whole page with one figure."""
    return page(figure.title, fragment(figure, "figure"), style=_BODY + STYLE, script=SCRIPT)


def fragment(figure: FigureSpec, prefix: str) -> str:
    """A figure as part of a page; `prefix` is its id, and begins the ids of all that is in it."""
    boxes = "".join(
        f'<label style="border-color: {style.colour}"><input type="checkbox" value="{html.escape(group)}" checked>'
        f"{html.escape(group)}</label>"
        for group, style in styles(figure.groups).items()
    )
    # In JSON as in HTML "<" may be written so that no browser takes it for the start of an element.
    data = json.dumps([_panel(panel) for panel in figure.panels], ensure_ascii=False).replace("<", "\\u003c")
    return f"""<figure class="plot" id="{prefix}">
<div class="plot-filters">
<fieldset><legend>{html.escape(figure.grouping)}</legend>{boxes}<button type="button">none</button></fieldset>
<label>Name <input type="search" placeholder="part of a name"></label> <output></output>
</div>
{_svg(figure, prefix)}
<div class="plot-tip" role="status" hidden></div>
<script type="application/json">{data}</script>
</figure>"""


def _svg(figure: FigureSpec, prefix: str) -> str:
    """The picture as an element of a page, as wide as there is room for and as it is meant to be."""
    text = render(figure, "svg", prefix).decode("utf-8")
    text = re.sub(r"<!--.*?-->\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Ids of matplotlib's own would be the same in each figure of a page.
    text = re.sub(rf'(\bid="|href="#|url\(#)(?!{re.escape(prefix)}-)', rf"\g<1>{prefix}-", text)
    start, end = text.split(">", 1)
    start = re.sub(r' (width|height)="[^"]*"', "", start)
    match = re.search(r'viewBox="0 0 ([\d.]+)', start)
    assert match is not None  # matplotlib always writes it
    width = float(match[1]) * _PIXELS_PER_POINT
    return f'{start} style="max-width: {width:.0f}px" role="group" aria-label="{html.escape(figure.title)}">{end}'


def _panel(panel: Panel) -> dict[str, list]:
    """What the script knows of a panel: the group of each line, and of each mark all that it shows."""
    return {
        "lines": [line.group for line in panel.lines],
        "marks": [
            {"name": mark.name, "model": f"{mark.source}/{mark.name}", "group": mark.group, "text": _facts(mark, panel)}
            for mark in panel.marks
        ],
    }


def _facts(mark: Mark, panel: Panel) -> list[str]:
    """The lines of a mark's hover."""
    lines = [
        f"{mark.group} · {mark.source}",
        f"{panel.x.key}: {humanise(mark.x, panel.x.kind)}",
        f"{panel.y.key}: {humanise(mark.y, panel.y.kind)}",
    ]
    if mark.parameters is not None and "parameters" not in (panel.x.key, panel.y.key):
        lines.append(f"parameters: {humanise(mark.parameters, 'count')}")
    return [*lines, *(["on the Pareto frontier"] if mark.is_efficient else []), *([mark.note] if mark.note else [])]
