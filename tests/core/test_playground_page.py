"""The page in a real browser, opened from the disk: the model types, the bars move, one step of
training changes both. It wants Chromium or Chrome. Widths, names and axe's rules:
tests/test_pages.py. The sums: test_playground.py.
"""
import re

import pytest
from browser import Browser

from nanouft.objectives import OBJECTIVES
from nanouft.playground import __main__ as playground

CALM = ("!document.querySelector('[aria-busy=true]') && "
        "document.querySelector('#verdict').textContent")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    assert playground.main(["--out", str(folder)]) == 0
    return folder / "index.html"


def opened(b: Browser, file, address: str = "", **how) -> None:
    b.open(file, address, **how)
    b.wait(CALM)


def bars(b: Browser, strip: int = 0) -> list[float]:
    """The numbers at the bars of one answer."""
    shown = b.js(f"[...document.querySelectorAll('.bars')[{strip}].querySelectorAll('b')].map((e) "
                 "=> e.textContent)")
    return [float(x.replace("−", "-")) for x in shown]


def press(b: Browser, key: str) -> None:
    b.click(f"[data-key='{key}']")
    b.wait(CALM)


def test_the_base_talks_on_and_sft_pushes_each_token_alike(b, file):
    opened(b, file, calm=False)
    said = b.text("#answer")
    assert "<|user|>" in said and b.heard().endswith(b.text("#verdict"))
    assert bars(b) == [1.0] * 5 and "0 of 8" in b.text("#results tbody")


def test_one_step_of_released_ift_changes_bars_and_answers_and_reset_brings_them_back(b, file):
    opened(b, file)
    press(b, "choose:released")
    first, before = bars(b), b.text(".bars")
    assert first[0] > 1.5 and first[-1] < -0.1, "the end of the answer is pushed down"
    assert b.js("location.hash") == "#o=ift&d.variant=released"
    b.click("#one")
    b.wait(CALM)
    assert bars(b) != first and b.text(".bars") != before \
        and "1 step" in b.text("#results tbody tr:last-child")
    assert "of its own 8" in b.text("#surprise") and b.text("#surprise") in b.heard()
    for address, words in (("&q=3", "1 step"), ("&q=3&lr=0.001", "base again"), ("", "base again")):
        b.js(f"scrollTo(0, 9999), location.hash = 'o=ift&d.variant=released{address}'")
        b.wait(f"scrollY < 300 && {CALM}")
        assert words in b.text("#speaker") + b.text("#progress"), \
            "who has learnt this objective goes on"
    assert b.text(".bars") == before
    b.click("#one")
    b.wait(CALM)
    b.click("#reset")
    b.wait(CALM)
    assert b.text(".bars") == before
    press(b, "constants")
    assert min(bars(b)) > 0 and "detached" in b.text("#dials option:checked")


def test_an_address_keeps_objective_dials_question_and_edits(b, file):
    opened(b, file, "#o=dpo&q=2&d.beta=0.5&lr=0.0001")
    assert bars(b) == pytest.approx([1.5] * 6) and bars(b, 1) == pytest.approx([-1.5] * 5), \
        "beta / 2 x 6 tokens"
    press(b, "0.1"), press(b, "drop")
    link = b.js("location.hash")
    shown = b.text("#look")
    opened(b, file, link)
    assert b.text("#look .bars") in shown and len(bars(b)) == 5 and "grey" in b.text("#question")
    assert b.js("['beta', 'lr'].map((name) => document.querySelector(`#dial-${name}`).value)") \
        == ["0.5", "0.0001"]
    opened(b, file, "#o=<b>&q=-1&a=9999&w=1.x&d.beta=7&lr=9&s=%%")
    assert bars(b) == [1.0] * 5, "nonsense is left out"


def test_four_answers_of_its_own(b, file):
    opened(b, file, "#o=rloo")
    before = b.text("#strips")
    assert len(re.findall(r"score \d\.\d\d", before)) == 4
    press(b, "draw")
    assert b.text("#strips") != before and "s=1" in b.js("location.hash")


def test_everything_by_keyboard(b, file):
    opened(b, file)
    for key in ("choose:released", "0.2", "drop", "dial-lam"):
        b.tab_to(key)
        b.key("Enter" if key != "dial-lam" else "ArrowRight")
        b.wait(CALM)
        assert b.focus() != "BODY"
    assert len(bars(b)) == 4 and "d.lam=0.21" in b.js("location.hash")
    b.tab_to("choose:kto")
    b.key("Enter")
    b.wait(CALM)
    assert "o=kto" in b.js("location.hash")


def test_every_objective_draws_its_bars(b, file):
    opened(b, file)
    for name in OBJECTIVES:
        b.js(f"document.querySelector('#families [data-key=\"choose:{name}\"]').click()")
        b.wait(CALM)
        assert bars(b) and name in b.text("#families [aria-pressed=true]") and not b.errors, name
