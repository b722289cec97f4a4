"""Pages in a headless Chromium, by Playwright: the fixture `browser` for tests, and pictures.

    page, faults = opened(browser, file, width=390, dark=True)
    python tests/browser.py out/playground/index.html docs/playground.png 1080 900 "[data-bet=left]"

The Chromium is one that is installed, under its usual names or where NANOUFT_BROWSER points.
Without it or without Playwright the tests of pages are skipped and say so.
"""
import os
import shutil
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

NAMES = (os.environ.get("NANOUFT_BROWSER", ""), "chromium", "chromium-browser", "google-chrome",
         "google-chrome-stable", "chrome")


@contextmanager
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api",
                                   reason="no Playwright here: pages are NOT opened")
    program = next(filter(None, map(shutil.which, filter(None, NAMES))), None)
    if program is None:
        pytest.skip("no Chromium here (NANOUFT_BROWSER can name one): pages are NOT opened")
    with (sync_api.sync_playwright() as playwright,
          playwright.chromium.launch(executable_path=program, chromium_sandbox=False) as browser):
        yield browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as one:
        yield one


def opened(browser, file: Path, width: int = 1280, height: int = 800, dark: bool = False,
           calm: bool = True):
    """(the page in a tab of its own, a list of its errors, warnings and requests).
    `calm`: the visitor asks for reduced motion."""
    page = browser.new_page(viewport={"width": width, "height": height},
                            color_scheme="dark" if dark else "light",
                            reduced_motion="reduce" if calm else "no-preference")
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text))
    page.on("request", lambda asked: faults.append(asked.url))
    page.goto(file.resolve().as_uri())
    faults.remove(page.url)                     # the page itself
    return page, faults


if __name__ == "__main__":              # a picture of a page, after these presses
    file, picture, wide, high, *presses = sys.argv[1:]
    with chromium() as browser:
        page, _ = opened(browser, Path(file), int(wide), int(high))
        for selector in presses:
            page.click(selector)
        page.evaluate("scrollTo(0, 0)")
        seen = Image.open(BytesIO(page.screenshot())).convert("RGB")
        seen.quantize(256, Image.Quantize.MAXCOVERAGE).save(picture, "png", optimize=True)
