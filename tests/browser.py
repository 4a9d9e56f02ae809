"""Debian's Chromium, headless, driven by its own chromedriver; nothing is downloaded.

    python -m tests.browser data/sample/clean/dedup/report.html docs/report.png

makes the picture of the review page in docs/clean.md.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains


@contextlib.contextmanager
def chromium(
    downloads: Path, *, width: int = 1280, height: int = 900, dark: bool = False
) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own; skips the test where there is none.

    Args:
        downloads: where it saves what a page gives.
        width, height: of the window's inside, in CSS pixels.
        dark: whether it says that its user likes dark pages.
    """
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        pytest.skip("no chromium and chromedriver here: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    page = webdriver.Chrome(options=options, service=Service(driver))
    try:
        page.set_script_timeout(120)
        page.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )
        if dark:
            scheme = {"name": "prefers-color-scheme", "value": "dark"}
            page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield page
    finally:
        page.quit()


def press(browser: webdriver.Chrome, *keys: str) -> None:
    """One key after the other."""
    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def picture(page: Path, to: Path) -> None:
    """Save what the page looks like where the threshold stands."""
    with chromium(to.parent, width=1180, height=836) as browser:
        browser.get(page.resolve().as_uri())
        browser.execute_script("toThreshold()")
        shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    to.parent.mkdir(parents=True, exist_ok=True)
    shot.save(to, optimize=True)


if __name__ == "__main__":
    picture(Path(sys.argv[1]), Path(sys.argv[2]))
