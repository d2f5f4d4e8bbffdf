"""Figures as files: pictures, pages, and the points of each as CSV."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from scalecli.analysis.plots.figure import FigureSpec
from scalecli.errors import UsageError
from scalecli.storage.files import write_atomically
from scalecli.tables import csv_lines

SUFFIXES = (".png", ".svg", ".pdf", ".html")

_COLUMNS = ("panel", "name", "source", "group", "parameters", "cost", "x", "quality", "y", "is_efficient", "note")


def check_plot(path: str) -> str:
    """Returns the suffix of a picture's path, which is one of `SUFFIXES`.

    Raises:
        UsageError: it is none of them.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: a plot's name ends in {', '.join(SUFFIXES)}")
    return suffix


def write_plot(path: str, figure: FigureSpec) -> list[str]:
    """Writes a figure in the form of its path's suffix, and its points beside it; returns the paths of both.

    Raises:
        UsageError: the suffix is no picture's.
        ScalecliError: the disk is full or the place is not writable.
    """
    suffix = check_plot(path)
    points = path[: -len(suffix)] + ".csv"
    write_atomically(path, content(figure, suffix))
    write_atomically(points, points_csv(figure))
    return [path, points]


def content(figure: FigureSpec, suffix: str) -> bytes | str:
    """What a figure's file of one of `SUFFIXES` holds."""
    if suffix == ".html":
        from scalecli.analysis.plots.html import figure_page

        return figure_page(figure)
    from scalecli.analysis.plots.drawing.picture import render

    return render(figure, "png" if suffix == ".png" else "svg" if suffix == ".svg" else "pdf")


def points_csv(figure: FigureSpec) -> str:
    """One line for each model of each panel, with all digits and full names."""
    rows: list[Sequence[Any]] = [_COLUMNS]
    for panel in figure.panels:
        for mark in panel.marks:
            model = (panel.title, mark.name, mark.source, mark.group, mark.parameters)
            rows.append((*model, panel.x.key, mark.x, panel.y.key, mark.y, mark.is_efficient, mark.note))
    return csv_lines(rows)
