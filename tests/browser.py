"""Headless Chromium for the tests of pages; they skip where it is not installed."""

import contextlib
import shutil

import pytest

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)


@contextlib.contextmanager
def chromium(profile, scale=1, width=1280):
    """A browser with an empty profile in a directory; `scale` is how many pixels of the screen one of the page takes.

    It is offline: whatever a page asks for but local files fails, and is in its log.
    """
    webdriver = pytest.importorskip("selenium.webdriver")
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip("no chromium with its chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    settings = (f"--user-data-dir={profile}", f"--window-size={width},900", f"--force-device-scale-factor={scale}")
    for flag in (*_FLAGS, *settings, "--proxy-server=127.0.0.1:9"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    try:
        yield started
    finally:
        started.quit()


def complaints(browser):
    """What the page complained about in the console, and what it asked the network for."""
    script = "return performance.getEntriesByType('resource').map((each) => each.name)"
    return [entry["message"] for entry in browser.get_log("browser")] + browser.execute_script(script)
