"""The report in a real browser: it loads without any network, complains about nothing, sorts and filters."""

import pytest

from scalecli.analysis.report.content import Report, Section
from scalecli.analysis.report.files import write_report
from scalecli.tables import Column, Link, Table
from tests.browser import chromium, complaints

COLUMNS = (
    Column("name", "Name"),
    Column("flops", "FLOPs", "flops"),
    Column("upstream", "Upstream", "float"),
    Column("manifest", "Manifest"),
)
ROWS = [
    {"name": "small-nl24", "flops": 10e12, "upstream": -1.783, "manifest": Link("run <1>", "../a b/run.yaml")},
    {"name": "small-nl4", "flops": 9.96e12, "upstream": None},
    {"name": "<img src=x onerror=alert(1)>", "flops": 862e9, "upstream": -2.5},
    {"name": "Base", "flops": None, "upstream": -10.0},
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser that shows the report of ROWS."""
    directory = tmp_path_factory.mktemp("report")
    tables = [
        Table("models", "Models & more", ROWS, COLUMNS, {(2, "flops")}, ["a note"]),
        Table("none", "None", [], COLUMNS),
    ]
    write_report(str(directory), Report("A </title> report", ["made"], [Section("Part", ["<b>text</b>"], (), tables)]))
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        started.get((directory / "report.html").as_uri())
        yield started


def shown(browser):
    """The first cells of the rows that can be seen."""
    script = """return [...document.querySelectorAll("#table-1 tbody tr")].filter((row) => row.offsetHeight > 0)
        .map((row) => row.cells[0].textContent)"""
    return browser.execute_script(script)


def click(browser, title):
    (button,) = browser.find_elements("xpath", f"//table[@id='table-1']//th/button[text()='{title}']")
    button.click()


def search(browser, text):
    (field,) = browser.find_elements("css selector", "input[type=search]")
    field.clear()
    field.send_keys(text or " ")
    return browser.find_element("css selector", "label.filter output").text


def test_it_loads_offline_without_complaint_and_shows_texts_as_such(browser):
    assert complaints(browser) == []
    assert browser.title == "A </title> report"
    assert shown(browser) == [row["name"] for row in ROWS]
    assert "<b>text</b>" in browser.find_element("css selector", "main p").text
    link = browser.find_element("link text", "run <1>").get_attribute("href")
    assert link.startswith("file:///") and link.endswith("/a%20b/run.yaml")
    assert browser.find_element("css selector", "#table-1 strong").text == "862G*"


@pytest.mark.parametrize(
    ("title", "order"),
    [
        ("FLOPs", [2, 1, 0, 3]),  # by the numbers themselves: 9.96T and 10.0T are shown alike in width
        ("Upstream", [3, 2, 0, 1]),
        ("Name", [2, 3, 1, 0]),  # nl4 before nl24, and B before s
    ],
)
def test_a_head_sorts_up_and_down_with_the_unknown_last(browser, title, order):
    names = [row["name"] for row in ROWS]
    click(browser, title)
    assert shown(browser) == [names[index] for index in order]
    click(browser, title)
    known = [index for index in order if ROWS[index][title.lower()] is not None]
    expected = [*known[::-1], *(index for index in order if index not in known)]
    assert shown(browser) == [names[index] for index in expected]
    heads = browser.find_elements("css selector", "#table-1 th[aria-sort]")
    assert [head.text for head in heads] == [title]


def test_words_filter_the_rows(browser):
    assert search(browser, "SMALL") == "2 of 4 rows"
    assert sorted(shown(browser)) == ["small-nl24", "small-nl4"]
    assert search(browser, "10.0T small") == "1 of 4 rows"
    assert search(browser, "nothing") == "0 of 4 rows" and shown(browser) == []
    assert search(browser, "") == "4 rows" and len(shown(browser)) == 4


def test_a_page_that_asks_for_anything_would_be_found(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<img src="http://example.com/a.png"><script>console.error("wrong")</script>')
    browser.get(page.as_uri())
    assert len(complaints(browser)) >= 2
