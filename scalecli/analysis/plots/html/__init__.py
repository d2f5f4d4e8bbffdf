"""A figure for a browser: the picture as it is in SVG, with hover and filters. It needs nothing from elsewhere."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from matplotlib.markers import MarkerStyle

from scalecli.analysis.page import page
from scalecli.analysis.plots.drawing.palette import Style, styles
from scalecli.analysis.plots.drawing.picture import no_room, render_panels
from scalecli.analysis.plots.figure import FigureSpec, Mark, Panel
from scalecli.tables import humanise

# What a page with fragments has once, in its <style> and <script>.
STYLE = Path(__file__).with_name("plot.css").read_text(encoding="utf-8")
SCRIPT = Path(__file__).with_name("plot.js").read_text(encoding="utf-8")

_BODY = """:root { color-scheme: light dark; }
body { margin: 1rem; font: 14px/1.5 system-ui, sans-serif; }
"""
_PIXELS_PER_POINT = 4 / 3
_LARGEST = 1.25  # times the size that a panel is meant to have


def figure_page(figure: FigureSpec) -> str:
    """A whole page with one figure."""
    return page(figure.title, fragment(figure, "figure"), style=_BODY + STYLE, script=SCRIPT)


def fragment(figure: FigureSpec, prefix: str) -> str:
    """A figure as part of a page; `prefix` is its id, and begins the ids of all that is in it.

    The legend is its filter; panels stand side by side as far as there is room.
    """
    entries = "".join(_entry(group, style) for group, style in styles(figure.groups).items())
    # In JSON as in HTML "<" may be written so that no browser takes it for the start of an element.
    data = json.dumps([_panel(panel) for panel in figure.panels], ensure_ascii=False).replace("<", "\\u003c")
    panels, unplaced = render_panels(figure, prefix)
    pictures = "\n".join(
        _svg(picture, panel.title, prefix) for picture, panel in zip(panels, figure.panels, strict=True)
    )
    caption = [*_lines_text(figure), *figure.caption, *([no_room(unplaced)] if unplaced else [])]
    return f"""<figure class="plot" id="{prefix}">
<figcaption>{html.escape(figure.title)}</figcaption>
<div class="plot-filters">
<fieldset><legend>{html.escape(figure.grouping)}</legend>{entries}<button type="button">none</button></fieldset>
<label>Name <input type="search" placeholder="part of a name"></label> <output></output>
</div>
<div class="plot-panels" style="--columns: {figure.columns}">
{pictures}
</div>
{"".join(f"<p>{html.escape(line)}</p>" for line in caption)}
<div class="plot-tip" role="status" hidden></div>
<script type="application/json">{data}</script>
</figure>"""


def _entry(group: str, style: Style) -> str:
    """A group in the legend, which is its switch."""
    name = html.escape(group)
    return f'<label><input type="checkbox" value="{name}" checked>{_symbol(style)}{name}</label>'


def _symbol(style: Style) -> str:
    """A group's mark, as big as a letter."""
    shape = MarkerStyle(style.marker)
    outline = shape.get_path().transformed(shape.get_transform().scale(100)).to_polygons()[0]
    points = " ".join(f"{x:.0f},{-y:.0f}" for x, y in outline)
    return f'<svg viewBox="-60 -60 120 120" aria-hidden="true"><polygon points="{points}" fill="{style.color}"/></svg>'


def _lines_text(figure: FigureSpec) -> list[str]:
    """What the kinds of lines are, where there are any."""
    texts = {"frontier": "gray: Pareto frontier, whose marks have a dark edge", "fit": "dashed: fitted"}
    shown = [text for kind, text in texts.items() if kind in figure.kinds]
    return [f"Lines: {'; '.join(shown)}."] if shown else []


def _svg(picture: bytes, title: str, prefix: str) -> str:
    """The picture of a panel as an element of a page, as wide as there is room for and as it is meant to be."""
    text = picture.decode("utf-8")
    text = re.sub(r"<!--.*?-->\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    # Ids of matplotlib's own would be the same in each figure of a page.
    text = re.sub(rf'(\bid="|href="#|url\(#)(?!{re.escape(prefix)}-)', rf"\g<1>{prefix}-", text)
    start, end = text.split(">", 1)
    start = re.sub(r' (width|height)="[^"]*"', "", start)
    match = re.search(r'viewBox="0 0 ([\d.]+)', start)
    assert match is not None  # matplotlib always writes it
    width = float(match[1]) * _PIXELS_PER_POINT * _LARGEST
    return f'{start} style="max-width: {width:.0f}px" role="group" aria-label="{html.escape(title)}">{end}'


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
