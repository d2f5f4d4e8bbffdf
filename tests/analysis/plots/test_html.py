import re

import pytest

from scalecli.analysis.plots.build import cost_quality
from scalecli.analysis.plots.figure import Line
from scalecli.analysis.plots.html import figure_page, fragment
from tests.analysis.plots.figures import figure_of, mark, published_rows
from tests.browser import chromium, complaints

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&"


def test_a_page_asks_for_nothing():
    text = figure_page(figure_of([mark("a")]))
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", text) and "@import" not in text and "url(h" not in text
    assert "default-src 'none'" in text


def test_names_are_texts_and_never_markup():
    text = figure_page(figure_of([mark(HOSTILE, group=HOSTILE)], title=HOSTILE))
    assert "<img" not in text and text.count("</script>") == 2


def test_ids_of_two_figures_in_a_page_are_all_different():
    figure = figure_of([mark("a"), mark("b", y=60.0)], [Line("frontier", (1e12, 2e12), (1.0, 2.0))])
    text = fragment(figure, "figure-1") + fragment(figure, "figure-10")
    ids = re.findall(r"\bid=\"([^\"]+)\"", text)
    assert len(ids) == len(set(ids)) and "figure-1-0-1" in ids and "figure-10-0-line-0" in ids
    links = set(re.findall(r"href=\"#([^\"]+)|url\(#([^)]+)\)", text))
    assert {one or other for one, other in links} <= set(ids)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plot")
    rows = published_rows("architectures/table-1")
    (folder / "plot.html").write_text(figure_page(cost_quality(rows, ["flops"], ["upstream", "downstream"])))
    with chromium(folder / "profile") as started:
        started.get(f"file://{folder}/plot.html")
        yield started


def find(browser, selector):
    return browser.find_elements("css selector", selector)


def shown(browser):
    return find(browser, "output")[0].text


def test_in_a_browser_it_filters_by_group_and_name(browser):
    assert complaints(browser) == [] and shown(browser) == "108 of 108 points"
    (button,) = find(browser, "button")
    button.click()
    assert shown(browser).startswith("0 of 108") and button.text == "all"
    find(browser, "input[value=switch]")[0].click()
    assert shown(browser) == "10 of 108 points; the frontier is that of all"
    (search,) = find(browser, "input[type=search]")
    search.send_keys("BASE")
    assert shown(browser).startswith("2 of 108")
    marks = find(browser, "svg g[id^=figure-0-][tabindex]")
    assert [mark.get_attribute("aria-label").split(",")[0] for mark in marks if mark.is_displayed()] == ["switch-base"]
    search.clear()
    search.send_keys(" ")
    button.click()
    button.click()
    assert shown(browser) == "108 of 108 points" and complaints(browser) == []


def test_in_a_browser_a_mark_tells_what_it_is_and_is_found_in_the_other_panel(browser):
    from selenium.webdriver import ActionChains

    (tip,) = find(browser, ".plot-tip")
    ActionChains(browser).move_to_element(find(browser, "#figure-0-0")[0]).perform()
    lines = tip.text.splitlines()
    assert lines[:2] == ["transformer-tiny", "transformer · architectures/table-1"]
    assert "flops: 1.21T" in lines and "upstream: -2.47" in lines
    assert {element.get_attribute("id") for element in find(browser, ".plot-hit")} == {"figure-0-0", "figure-1-0"}
    ActionChains(browser).move_to_element(find(browser, "fieldset")[0]).perform()
    assert not tip.is_displayed() and complaints(browser) == []


def columns(browser, width):
    """In how many columns the panels stand, and whether the page is wider than the screen."""
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    lefts = {round(svg.location["x"]) for svg in find(browser, ".plot-panels > svg")}
    script = "return document.documentElement.scrollWidth <= window.innerWidth"
    return len(lefts), browser.execute_script(script)


def test_in_a_browser_panels_stack_on_a_phone_and_turn_dark(browser):
    assert columns(browser, 1280) == (2, True) and columns(browser, 390) == (1, True)
    assert len(find(browser, "fieldset label svg")) == 12

    def background():
        return browser.execute_script("return getComputedStyle(document.querySelector('.plot-panels > svg')).filter")

    assert background() == "none"
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert background().startswith("invert(")
