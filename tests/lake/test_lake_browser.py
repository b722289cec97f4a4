"""The page of the lake in a real browser: each scene by mouse, by touch and by keyboard alone, and
what is announced. It wants Chromium or Chrome. What is announced is read from the accessibility
tree. Widths, names and axe's rules: lab/tests/test_all_pages.py.
"""
import re
from pathlib import Path

import pytest
from browser import Browser


def scene(b: Browser) -> int:
    return int(b.js("document.querySelector('#stage').dataset.scene"))


def do(b: Browser, key: str, how: str) -> None:
    """Press the button `key` by mouse, by touch, or with Tab and Enter."""
    place = f"[data-key='{key}']"
    if how == "keyboard":
        b.tab_to(key)
        b.key("Enter")
    else:
        b.js("scrollTo(0, 0)")
        (b.click if how == "mouse" else b.tap)(place)


every_way = pytest.mark.parametrize("how", ["mouse", "touch", "keyboard"])


def afresh(b: Browser, file: Path, **how) -> None:
    """The page as it is opened for the first time."""
    b.open(file, "#s=1")
    b.js("localStorage.clear()")
    b.open(file, **how)


def visit(b: Browser, file: Path, state: str, how: str) -> None:
    size = {"width": 390, "height": 844, "touch": True} if how == "touch" else {}
    b.open(file, state, **size) if state else afresh(b, file, **size)


# ---- each scene by mouse, by touch and by keyboard alone -----------------------------------------
@every_way
def test_scene_1_the_ghosts_are_judged(b, file, how):
    visit(b, file, "", how)
    for _ in range(5):
        do(b, "judge:y", how)
    judged, right = re.search(r"(\d) of 5", b.heard()), re.search(r"(\d) right", b.heard())
    assert judged[1] == right[1] and b.focus() != "BODY"
    changed = re.findall(r"(SFT|IFT)\s+(\d+) cells", b.text(".two"))
    assert changed == [("SFT", "8"), ("IFT", "10")], "IFT changes cells beside the way, too"
    if how == "keyboard":
        b.tab_to("time")
        seen = []
        for _ in range(int(b.js("document.querySelector('#time').max"))):
            b.key("ArrowRight")
            seen.append(int(re.search(r"(\d) of 8", b.text("#stage"))[1]))
        assert scene(b) == 1 and b.focus() == "time", "an arrow key in the slider is the slider's"
        assert seen[-1] == 0 and sorted(seen, reverse=True) == seen and len(set(seen)) >= 3, \
            "ghosts fade one by one"


@every_way
def test_scene_2_does_sft_overestimate(b, file, how):
    key, word = {"mouse": "m more", "touch": "s as many", "keyboard": "l fewer"}[how].split(" ", 1)
    visit(b, file, "#s=2", how)
    assert "λ" not in b.text("#stage"), "first the answer"
    do(b, f"says:{key}", how)
    assert f"You said “{word}”. On 152 of 1,000 walks" in b.heard() and b.focus() != "BODY"
    do(b, "more", how)
    share, *shown = re.findall(r"([\d.]+)\s%", b.text("table"))[1:]
    assert shown == ["12.4", "62.4"] and abs(float(share) - 14.6) < 2, "as in docs/lake.md"
    assert " of 2,000" in b.heard() and "w=2" in b.js("location.hash")
    if how == "keyboard":
        b.tab_to("blend")
        b.key("End")
        assert "too little" in b.heard() and "λ 1" in b.text("table") and scene(b) == 2
    do(b, "says:", how)
    assert "Will there be more" in b.text("#stage") and b.js("state.walks") == 1


@every_way
def test_scene_3_a_bet_on_dpo_and_three_worse_ways(b, file, how):
    visit(b, file, "#s=3", how)
    do(b, "bet:s", how)
    assert re.findall(r"\d+", b.heard())[:4] == ["12", "2", "8", "2"], \
        "moves: all, shared, right and blamed, wrong"
    before = b.text(".moves")
    do(b, "loser:fall", how)
    assert b.text(".moves") != before and b.focus() != "BODY"
    found = re.findall(r"(the detour|falls into a hole|dithers)\s+(\d+)", b.text("#stage"))
    assert dict(found) == {"the detour": "8", "falls into a hole": "0", "dithers": "1"}
    assert "the nearer" in b.text("#stage")
    ends = re.findall(r"(SFT|IFT|DPO|ORPO)\s+\.(\d+)\s+\d+ %", b.text("#stage"))
    assert [name for name, _ in ends] == ["SFT", "IFT", "DPO", "ORPO"] and ends[2][1] > ends[0][1]


@every_way
def test_scene_4_the_verdict(b, file, how):
    visit(b, file, "#s=4&j=nnnnn&b=f", how)
    assert "DPO < IFT < ORPO, SFT" in b.text("#stage") and "random lakes" in b.text("#stage")
    found = [float(x) for x in re.findall(r"(?:SFT|IFT|DPO|ORPO) (\.\d+)", b.text("#stage"))]
    assert len(found) == 4 and found == sorted(found), "nearest first"
    b.tab_to("fresh")
    do(b, "fresh", how)
    assert scene(b) == 1 and b.js("location.hash") == "#s=1&t=0&w=1&l=2&f=detour"


def test_left_and_right_walk_through_the_scenes_but_not_out_of_what_uses_them(b, file):
    b.open(file, "#s=1")
    for there in (2, 3, 4, 4):
        b.key("ArrowRight")
        assert scene(b) == there and f"s={there}" in b.js("location.hash") and b.focus() == "title"
        assert b.heard().startswith(f"Scene {there} of 4")
    b.key("ArrowLeft")
    b.js("history.back()")
    b.wait("document.querySelector('#stage').dataset.scene === '4'")


def test_a_link_returns_to_the_same_place_and_so_does_the_page(b, file):
    b.open(file, "#s=3&f=fall")
    b.click("#theme"), b.click("#theme")
    b.click("[data-act='bet:c']")
    before, link = b.text("#stage"), b.js("location.hash")
    b.open(file, link)
    assert b.text("#stage") == before and scene(b) == 3
    b.open(file)
    assert scene(b) == 3 and b.js("document.documentElement.dataset.theme") == "dark", \
        "the browser remembers"
    b.click("#theme")
    b.open(file, "#s=99&m=%3Cb%3E.S&j=maybe&t=1e9&b=z&f=z&n=%%&d=9.x&e=q&w=1e9&l=-1")
    assert scene(b) == 4 and b.js("state.judged + state.bet + state.says") == "", \
        "nonsense is left out"
    b.js("localStorage.clear()")
