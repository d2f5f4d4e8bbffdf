"""A whole report, from the command line to the browser."""

import pytest

from tests.analysis.runs import child_of, save_run
from tests.browser import chromium, complaints


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A pretrained run and one that was finetuned from it."""
    monkeypatch.chdir(tmp_path)
    save_run("runs/first")
    save_run("runs/tuned", **child_of("runs/first", "../first"))
    return tmp_path


def test_the_report_of_runs_and_published_models_in_a_browser(runs, compare):
    models = ("runs/*", "--published", "table-4")
    table = compare(*models, "--format", "json")[1]
    code, out, err = compare(*models, "--format", "json", "--report", "out")
    assert (code, out) == (0, table)
    written = [line.removeprefix("wrote ") for line in err.splitlines() if line.startswith("wrote ")]
    assert written[:2] == ["out/report.html", "out/report.md"]
    assert all((runs / path).stat().st_size for path in written)
    with chromium(runs / "profile") as browser:
        browser.get((runs / "out" / "report.html").as_uri())
        assert complaints(browser) == []
        titles = [element.text for element in browser.find_elements("css selector", "h2")]
        assert titles == [
            *("In short", "Models", "Figures", "Fits and frontiers", "What makes it unfair", "What it cost", "Runs")
        ]
        assert len(browser.find_elements("css selector", "main figure")) == len(written[2:]) // 2 >= 1
        name = browser.find_element("xpath", "//table[@aria-label='Models']//button[text()='Name']")
        name.click()
        cells = browser.find_elements("css selector", "table[aria-label='Models'] tbody td:first-child")
        names = [cell.text for cell in cells]
        assert len(names) == 16 and names[:2] == ["base", "base-nl36"]
        link = browser.find_element("css selector", "table[aria-label='Runs'] a").get_attribute("href")
        assert link == (runs / "runs" / "first" / "run.yaml").as_uri()


def test_a_report_that_cannot_be_written_is_one_line(runs, compare):
    (runs / "file").write_text("")
    code, _, err = compare("runs/first", "--report", "file/deeper")
    assert (code, err.splitlines()[-1].startswith("error: file/deeper/report.html: cannot be written")) == (1, True)
