import os
import re

import pytest

from scalecli.analysis.papers.published import find_published
from scalecli.analysis.plots.build import cost_quality
from scalecli.analysis.report.files import write_report
from scalecli.analysis.report.sections import comparison_report
from scalecli.analysis.rows.sources import row_of_published, row_of_run
from scalecli.errors import ScalecliError
from scalecli.tables import Column, Table
from tests.analysis.runs import child_of, save_run

MODELS = Table("models", "Models", [{"name": "a|b"}], [Column("name", "Name")], notes=["FLOPs: paper"])


def report_of(rows, directory="out", fits=()):
    figures = [cost_quality(rows, ["flops"], ["upstream"])]
    return comparison_report(rows, MODELS, figures, fits, ["flops"], ["upstream"], str(directory), ["made"])


def runs(directory, **changes):
    """Rows of runs, each with its changed fields."""
    return [row_of_run(save_run(directory / name, **each), "paper") for name, each in changes.items()]


def section(report, title):
    (wanted,) = (section for section in report.sections if section.title == title)
    return wanted


def test_runs_that_differ_are_named_at_once_and_in_full(tmp_path):
    report = report_of(runs(tmp_path, first={}, second={"size": "mini", "batch": 64, "precision": "bfloat16"}))
    assert report.title == "Comparison of 2 runs"
    short = section(report, "In short").paragraphs
    assert "Runs are not alike in pretraining: batch, precision." in short
    assert not any("frontier" in line for line in short)  # twice the batch is twice the data
    (table,) = section(report, "What makes it unfair").tables
    assert [tuple(row.values()) for row in table.rows] == [
        ("pretraining", "batch", "32", "first"),
        ("pretraining", "batch", "64", "second"),
        ("pretraining", "precision", "float32", "first"),
        ("pretraining", "precision", "bfloat16", "second"),
    ]


def test_what_was_measured_otherwise_has_a_frontier_of_its_own(tmp_path):
    published = [row_of_published(model) for model in find_published("table-4")[:2]]
    report = report_of([*published, *runs(tmp_path, a={}, b={})])
    frontiers = "On the Pareto frontier of flops and upstream: small, mini-nl8; and among themselves a, b."
    assert section(report, "In short").paragraphs[0] == frontiers
    (table,) = section(report, "What makes it unfair").tables
    assert [(row["what"], row["value"], row["runs"]) for row in table.rows] == [
        ("text of upstream", "C4 (English), 32,000 pieces", "small, mini-nl8"),
        ("text of upstream", "train.txt (00ff), 8,000 pieces (abababab)", "a, b"),
    ]


def test_runs_that_are_alike_are_said_to_be(tmp_path):
    report = report_of(runs(tmp_path, first={}, second={"size": "mini"}))
    assert any(line.startswith("The runs were made alike") for line in section(report, "In short").paragraphs)
    assert section(report, "What makes it unfair").tables == ()


def test_every_model_with_a_speed_has_its_cost_and_every_run_its_manifest(tmp_path):
    first = runs(tmp_path, first={"warnings": ["stopped once"]})
    tuned = runs(tmp_path, tuned=child_of(tmp_path / "first", "../first"))
    report = report_of([*first, *tuned, *map(row_of_published, find_published("small"))], tmp_path / "out")
    assert report.title == "Comparison of 2 runs and 1 published model"
    (costs,) = section(report, "What it cost").tables
    assert [(row["name"], row["chip"]) for row in costs.rows] == [("first", "cpu"), ("small", "tpu-v3")]
    assert "tpu-v3 310 W" in costs.notes[-1]
    (table,) = section(report, "Runs").tables
    assert [row["manifest"].target for row in table.rows] == ["../first/run.yaml", "../tuned/run.yaml"]
    assert [row["warnings"] for row in table.rows] == ["stopped once", None]


def test_published_models_alone_have_no_manifests():
    report = report_of([row_of_published(model) for model in find_published("table-4")])
    assert "Runs" not in [each.title for each in report.sections]
    texts = "\n".join(section(report, "What makes it unfair").paragraphs)
    assert texts.startswith("Nothing")


def test_the_files_of_a_report(tmp_path):
    rows = [*runs(tmp_path, first={}), *map(row_of_published, find_published("table-4"))]
    fits = [Table("fits", "A fit", [{"slope": 0.54}], [Column("slope", "Slope", "float")])]
    report = report_of(rows, tmp_path / "out", fits)
    paths = write_report(str(tmp_path / "out"), report)
    names = sorted(os.listdir(tmp_path / "out"))
    assert names == sorted(os.path.basename(path) for path in paths)
    figures = [f"figure-{number}" for number in range(1, len(report.figures) + 1)]
    assert set(names) == {
        "report.html",
        "report.md",
        *(f"{figure}{end}" for figure in figures for end in (".png", ".csv")),
    }
    text = (tmp_path / "out" / "report.md").read_text()
    assert re.findall(r"!\[.*\]\((.*)\)", text) == [f"{figure}.png" for figure in figures]
    assert "| a\\|b |" in text and "[" in text and "](../first/run.yaml)" in text and "| 0.54 |" in text
    assert "\n## What it cost\n" in text and "\nFLOPs: paper\n" in text
    page = (tmp_path / "out" / "report.html").read_text()
    # Nothing is fetched: what leads elsewhere are the manifests and the page's own sections.
    targets = set(re.findall(r'(?:href|src)="([^"]*)"', page))
    assert {target for target in targets if not target.startswith("#")} == {"data:,", "../first/run.yaml"}
    assert not re.search(r"url\((?!#)|@import|fetch\(", page)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScalecliError, match="cannot be written"):
        write_report(str(tmp_path / "file"), report_of(runs(tmp_path, first={})))
