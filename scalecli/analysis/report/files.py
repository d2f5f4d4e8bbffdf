"""A report's files."""

from __future__ import annotations

from scalecli.analysis.plots.files import content, points_csv
from scalecli.analysis.report.content import Report
from scalecli.analysis.report.html import report_page
from scalecli.analysis.report.markdown import document
from scalecli.storage.files import write_atomically

PAGE, DOCUMENT = "report.html", "report.md"


def write_report(directory: str, report: Report) -> list[str]:
    """Writes `report.html`, `report.md`, and each figure with its points beside them; returns their paths.

    The page holds everything; the Markdown shows the figures' files.

    Raises:
        ScalecliError: the directory can't be written.
    """
    names = [f"figure-{number}" for number in range(1, len(report.figures) + 1)]
    contents: dict[str, bytes | str] = {PAGE: report_page(report), DOCUMENT: document(report, names)}
    for name, figure in zip(names, report.figures, strict=True):
        contents |= {f"{name}.png": content(figure, ".png"), f"{name}.csv": points_csv(figure)}
    root = directory.rstrip("/") or "/"
    for name, written in contents.items():
        write_atomically(f"{root}/{name}", written)
    return [f"{root}/{name}" for name in contents]
