"""Pages in a headless Chromium, by Playwright: the fixture `browser` for tests, what every page
must do for its readers, and pictures.

    page, faults = opened(browser, file, width=390, dark=True)
    cd tests/course
    python browser.py ../../out/playground/index.html ../../docs/playground.png 1280 620 "#step-4"

This makes the picture of docs/ that is a page. It keeps as "figures" the words that it shows, so
that a test can compare them with the page of today.

The Chromium is one that is installed, under its usual names or where NANOUFT_BROWSER points.
Without it or without Playwright the tests of pages are skipped and say so.
"""
import json
import os
import shutil
import sys
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

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
           calm: bool = True, address: str = ""):
    """(the page in a tab of its own, a list of its errors, warnings and requests).
    `calm`: the visitor asks for reduced motion; `address`: what follows the file, "#step=4"."""
    page = browser.new_page(viewport={"width": width, "height": height},
                            color_scheme="dark" if dark else "light",
                            reduced_motion="reduce" if calm else "no-preference")
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text))
    page.on("request", lambda asked: faults.append(asked.url))
    page.goto(file.resolve().as_uri() + address)
    faults.remove(file.resolve().as_uri())      # the page itself
    return page, faults


def fits_in_view(page, *selectors: str) -> bool:
    """Whether all of these can be seen without scrolling."""
    boxes = [page.locator(one).bounding_box() for one in selectors]
    high = page.viewport_size["height"] + 1             # of a pixel a part may be missing
    return all(box["y"] >= 0 and box["y"] + box["height"] <= high for box in boxes)


def small_controls(page) -> list[str]:
    """The controls that are too small for a finger, 40 pixels; one in a label is as large as it."""
    return page.evaluate("""() => [...document.querySelectorAll("button, select, input, summary")]
        .map((x) => x.closest("label") ?? x)
        .filter((x) => {
            const box = x.getBoundingClientRect();
            return box.height && (box.height < 40 || box.width < 40); })
        .map((x) => x.textContent.trim())""")


def axe_violations(page) -> list[str]:
    """What axe-core finds on a page: "color-contrast (serious): <p ...>"."""
    library = pytest.importorskip("axe_playwright_python.sync_playwright",
                                  reason="no axe-core here: accessibility is NOT tested")
    found = library.Axe().run(page, options={"preload": False}).response["violations"]
    return [f"{x['id']} ({x['impact']}): {x['nodes'][0]['html'][:200]}" for x in found]


def controls_not_reached(page) -> list[str]:
    """The controls that Tab does not reach in the order of the page. Of a group of radio buttons,
    and of one whose arrows walk it, Tab reaches one."""
    many = page.evaluate("""() => {
        window.tabStops = [...document.querySelectorAll(
            "a[href], button, input, select, summary, [tabindex]")].filter((x) =>
            x.checkVisibility({ visibilityProperty: true }) && !(x.type === "radio" && !x.checked)
            && !(x.tabIndex < 0 && x.closest("[role=group]")));
        const reached = window.reached = [];
        addEventListener("focusin", ({ target }) =>
            reached.includes(tabStops.at(-1)) || reached.push(target));
        document.activeElement.blur();
        tabStops[0].focus();
        return tabStops.length; }""")
    for _ in range(many + 9):                           # a part that scrolls is reached as well
        page.keyboard.press("Tab")
    return page.evaluate("""() => tabStops.filter((x) => {
        const at = reached.indexOf(x);
        reached.splice(0, at + 1);
        return at < 0; }).map((x) => x.outerHTML.slice(0, 200))""")


def check_accessible(browser, file: Path, *presses: str) -> None:
    """Everybody can read a page and work it, before and after each press: axe-core finds nothing,
    nothing scrolls sideways but code and tables in themselves, no control is too small, Tab
    reaches all of them where there is room for a keyboard, and the page has no error and asks for
    nothing but files beside it."""
    for width, dark in ((1280, False), (390, True)):
        page, faults = opened(browser, file, width=width, dark=dark)
        page.evaluate("document.querySelectorAll('details').forEach((x) => { x.open = true; })")
        for press in (None, *presses):
            if press:
                page.click(press)
            assert dark or not controls_not_reached(page), press
            assert not axe_violations(page), (width, press)
            for wide in (320, 700, 900, width):
                page.set_viewport_size({"width": wide, "height": 800})
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), wide
                assert not small_controls(page), wide
        assert not [x for x in faults if not x.startswith("file:")]
        page.close()


def words(page) -> list[str]:
    """The texts of the page that can be seen without scrolling, without the entries of lists."""
    return page.evaluate("""() => {
        const out = [], all = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
        while (all.nextNode()) {
            const node = all.currentNode, range = document.createRange();
            range.selectNode(node);
            const box = range.getBoundingClientRect();
            if (box.height && box.top >= 0 && box.bottom < innerHeight && node.data.trim()
                && !node.parentElement.closest("option, script, style"))
                out.push(node.data.trim().replace(/\\s+/g, " "));
        }
        return out; }""")


def words_not_shown(page, picture: Path) -> list[str]:
    """The words of a picture of a page that the page does not show."""
    kept, now = json.loads(Image.open(picture).info["figures"]), words(page)
    assert len(kept) > 20
    return [text for text in kept if text not in now]


if __name__ == "__main__":              # a picture of a page, after these presses
    file, picture, wide, high, *presses = sys.argv[1:]
    with chromium() as browser:
        page, _ = opened(browser, Path(file), int(wide), int(high))
        for selector in presses:
            page.click(selector)
        page.evaluate("scrollTo(0, 0)")
        seen = Image.open(BytesIO(page.screenshot())).convert("RGB")
        info = PngInfo()
        info.add_text("figures", json.dumps(words(page)))
        seen.quantize(256, Image.Quantize.MAXCOVERAGE).save(picture, "png", optimize=True,
                                                            pnginfo=info)
