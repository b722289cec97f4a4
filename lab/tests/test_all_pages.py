"""Each page that is made for a browser, at many widths and in both colours: nothing overflows,
everything has a name.

    NANOUFT_AXE=axe.min.js python -m pytest lab/tests/test_all_pages.py         # minutes

Wants Chromium or Chrome (NANOUFT_BROWSER names one in an unusual place), and for the rules of
axe-core its file (npm install axe-core); what is missing is said aloud and skipped.
"""
import os
import re
from pathlib import Path

import made
import pytest
from browser import Browser
from studied import lake_content, lake_page

from lab import page
from nanouft.playground import __main__ as playground

SIZES = [(320, 256), (320, 640), (390, 844), (640, 360), (768, 1024), (1280, 720), (1400, 900)]
STATES = {"chooser": [""], "playground": ["", "#l=dpo&r=sftmix", "#l=kto&r=rloo"],
          "lake": ["#s=1", "#s=1&j=yyyyy", "#s=1&j=yyyyy&t=50", "#s=2", "#s=2&e=l&w=9&l=10",
                   "#s=3", "#s=3&b=c&f=fall", "#s=4&j=yyyyy&b=c"]}
SCROLLED = {"chooser": ".scroll", "playground": ".unseen",
            "lake": "svg, .unseen"}        # what may be wider than the screen
PRESSED = {"chooser": "#chooser :is(button, select, input, summary, label)",
           "lake": "#actions button", "playground": "#play button"}
every_page = pytest.mark.parametrize("name", STATES)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pages")
    lake = lake_page(lake_content(place), place)
    assert playground.main(["--out", str(place / "play")]) == 0
    return {"chooser": page.write(place, made.the_map()), "lake": lake,
            "playground": place / "play" / "index.html"}


def open_whole(b: Browser, file: Path, state: str, **how) -> None:
    """With all that can be unfolded."""
    b.open(file, state, **how)
    b.wait("!document.querySelector('[aria-busy=true]')")
    b.js("document.querySelectorAll('details').forEach((d) => { d.open = true; })")


def where(b: Browser, selector: str, condition: str) -> list[str]:
    """The beginnings of the elements e, with their rectangle r, of which this is true."""
    return b.js(f"""[...document.querySelectorAll({selector!r})].filter((e) => {{
        const r = e.getBoundingClientRect(); return {condition}; }})
            .map((e) => e.outerHTML.slice(0, 90))""")


@every_page
def test_it_is_one_small_file_that_asks_for_nothing(file, name):
    text = file[name].read_text(encoding="utf-8")
    assert not re.search(r"/\*[A-Z_]+\*/|<!--[A-Z]+-->", text), \
        "a place of page.html was not filled"
    assert not re.search(
        r"\bsrc\s*=|@import|url\(|fetch\(|XMLHttpRequest|import\(|https?:(?!//arxiv.org/abs/)",
        text)
    assert re.findall(r"<link[^>]*>", text) == ['<link rel="icon" href="data:,">'], \
        "no icon is asked for"
    assert len(text.encode()) < (1_600_000 if name == "playground" else 600_000)


@every_page
def test_nothing_overflows_and_buttons_are_large_enough(b, file, name):
    """In one colour: dark and light differ in their colours alone (`light-dark` in the styles)."""
    for state in STATES[name]:
        if name == "lake":
            b.open(file[name], state)
        else:
            open_whole(b, file[name], state)
        for width, height in SIZES:
            b.look(width, height, touch=name == "lake" and width < 600)
            at = f"{state} at {width} x {height}"
            hidden = where(b, "#actions button", "r.width && (r.bottom > innerHeight || r.top < 0)")
            assert not hidden or height < 300, f"{at}: what to do is in sight"
            assert b.js("document.documentElement.scrollWidth") == width, at
            outside = where(b, "header *, main *, #stage *, footer *", "r.width && "
                            f"r.right > innerWidth + 1 && !e.closest({SCROLLED[name]!r})")
            least = 24 if name != "lake" else 32 if height < 520 else 40
            small = where(b, PRESSED[name],
                          f"e.offsetHeight && e.offsetHeight < {least} && !e.closest('label')")
            assert not outside and not small, at


@every_page
def test_every_stop_of_the_tab_key_has_a_name(b, file, name):
    for state in STATES[name]:
        open_whole(b, file[name], state)
        nameless = where(b, "a, button, select, input, summary, [tabindex='0']",
                         "!(e.textContent.trim() || e.ariaLabel || e.labels?.length || "
                         "e.matches('[aria-labelledby]'))")
        assert not nameless, state


@every_page
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.skipif(not os.environ.get("NANOUFT_AXE"),
                    reason="NANOUFT_AXE does not name axe.min.js, no page is looked at with it")
def test_axe_finds_nothing(b, file, name, dark):
    for width in (320, 1400):
        for state in STATES[name]:
            open_whole(b, file[name], state, dark=dark, width=width)
            assert not (found := b.axe()), (state, found)
