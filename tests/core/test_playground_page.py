"""The page in a real browser, opened from the disk: the model types, the bars move, one step of training changes both.
It wants Chromium or Chrome. Widths, names and axe's rules: tests/test_pages.py. The sums: test_playground.py.
"""
import json
import re

import pytest
from browser import Browser

from nanouft.objectives import OBJECTIVES
from nanouft.playground import __main__ as playground

CALM = "!document.querySelector('[aria-busy=true]') && document.querySelector('#verdict').textContent"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    assert playground.main(["--out", str(folder)]) == 0
    return folder / "index.html"


def opened(b: Browser, file, address: str = "", **how) -> None:
    b.open(file, address, **how)
    b.wait(CALM)


def text(b: Browser, selector: str) -> str:
    return b.js(f"document.querySelector({json.dumps(selector)}).innerText")


def bars(b: Browser, strip: int = 0) -> list[float]:
    """The numbers at the bars of one answer."""
    shown = b.js(f"[...document.querySelectorAll('.bars')[{strip}].querySelectorAll('b')].map((e) => e.textContent)")
    return [float(x.replace("−", "-")) for x in shown]


def press(b: Browser, key: str) -> None:
    b.click(f"[data-key='{key}']")
    b.wait(CALM)


def test_it_is_one_file_that_asks_for_nothing(file):
    whole = file.read_text(encoding="utf-8")
    assert file.stat().st_size <= 1_600_000 and not re.search(r"/\*[A-Z_]+\*/", whole)
    assert not re.search(r"<script[^>]*\bsrc|@import|url\(|fetch\(|XMLHttpRequest|https?://", whole)


def test_the_base_talks_on_and_sft_pushes_each_token_alike(b, file):
    opened(b, file, calm=False)
    said = text(b, "#answer")
    assert "<|user|>" in said and b.heard().endswith(text(b, "#verdict"))
    assert bars(b) == [1.0] * 5 and "0 of 8" in text(b, "#results tbody")


def test_one_step_of_released_ift_changes_bars_and_answers_and_reset_brings_them_back(b, file):
    opened(b, file)
    press(b, "choose:released")
    first, before = bars(b), text(b, ".bars")
    assert first[0] > 1.5 and first[-1] < -0.1, "the end of the answer is pushed down"
    assert b.js("location.hash") == "#o=ift&d.variant=released"
    b.click("#one")
    b.wait(CALM)
    assert bars(b) != first and text(b, ".bars") != before and "1 step" in text(b, "#results tbody tr:last-child")
    assert "of its own 8" in text(b, "#surprise") and text(b, "#surprise") in b.heard()
    b.click("#reset")
    b.wait(CALM)
    assert text(b, ".bars") == before
    press(b, "constants")
    assert min(bars(b)) > 0 and "detached" in text(b, "#dials option:checked")


def test_an_address_keeps_objective_dials_question_and_edits(b, file):
    opened(b, file, "#o=dpo&q=2&d.beta=0.5&lr=0.0001")
    assert bars(b) == pytest.approx([1.5] * 6) and bars(b, 1) == pytest.approx([-1.5] * 5), "beta / 2 x 6 tokens"
    press(b, "0.1"), press(b, "drop")
    link = b.js("location.hash")
    shown = text(b, "#look")
    opened(b, file, link)
    assert text(b, "#look .bars") in shown and len(bars(b)) == 5 and "grey" in text(b, "#question")
    assert b.js("['beta', 'lr'].map((name) => document.querySelector(`#dial-${name}`).value)") == ["0.5", "0.0001"]
    opened(b, file, "#o=<b>&q=-1&a=9999&w=1.x&d.beta=7&lr=9&s=%%")
    assert bars(b) == [1.0] * 5, "nonsense is left out"


def test_four_answers_of_its_own(b, file):
    opened(b, file, "#o=rloo")
    before = text(b, "#strips")
    assert len(re.findall(r"score \d\.\d\d", before)) == 4
    press(b, "draw")
    assert text(b, "#strips") != before and "s=1" in b.js("location.hash")


def test_everything_by_keyboard(b, file):
    def tab_to(key: str) -> None:
        for _ in range(80):
            if b.js("document.activeElement.dataset.key || document.activeElement.id") == key:
                return
            b.key("Tab")
        raise AssertionError(f"{key} cannot be reached with Tab")
    opened(b, file)
    for key in ("choose:released", "0.2", "drop", "dial-lam"):
        tab_to(key)
        b.key("Enter" if key != "dial-lam" else "ArrowRight")
        b.wait(CALM)
        assert b.js("document.activeElement.tagName") != "BODY"
    assert len(bars(b)) == 4 and "d.lam=0.21" in b.js("location.hash")
    tab_to("choose:kto")
    b.key("Enter")
    b.wait(CALM)
    assert "o=kto" in b.js("location.hash")


def test_every_objective_draws_its_bars(b, file):
    opened(b, file)
    for name in OBJECTIVES:
        b.js(f"document.querySelector('#families [data-key=\"choose:{name}\"]').click()")
        b.wait(CALM)
        assert bars(b) and name in text(b, "#families [aria-pressed=true]") and not b.errors, name
