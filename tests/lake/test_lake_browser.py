"""The page of the lake in a real browser: each scene by mouse, by touch and by keyboard alone, and
what is announced. It wants Chromium or Chrome. What is announced is read from the accessibility
tree. Widths, names and axe's rules: tests/test_pages.py.
"""
import re
from pathlib import Path

import pytest
from browser import Browser

from frozen_lake.lake import make_lake

LAKE = make_lake("twoway5")
WAYS = "g=DDDDRRRR&l=RRRRDDLLDDRR"
KEY = {"D": "ArrowDown", "R": "ArrowRight", "L": "ArrowLeft", "U": "ArrowUp"}


def scene(b: Browser) -> int:
    return int(b.js("document.querySelector('#stage').dataset.scene"))


def do(b: Browser, key: str, how: str) -> None:
    """Press the button or cell `key` by mouse, by touch, or with Tab and Enter."""
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
def cell(b: Browser, s: int) -> tuple[float, float]:
    return tuple(b.js(f"""(() => {{ scrollTo(0, 0);
        const r = document.querySelectorAll('svg.lake .cell')[{s}].getBoundingClientRect();
        return [r.x + r.width / 2, r.y + r.height / 2]; }})()"""))


def cells_of(way: str) -> list[int]:
    out = [LAKE.start]
    for letter in way:
        out.append(int(LAKE.step[out[-1], "LDRU".index(letter)]))
    return out


@every_way
def test_scene_1_both_ways_are_drawn(b, file, how):
    visit(b, file, "", how)
    for way in ("DDDDRRRR", "RRRRDDLLDDRR"):
        if how == "keyboard":
            b.tab_to("cell0")
            for letter in way:
                b.key(KEY[letter])
        else:
            (b.drag if how == "mouse" else b.finger)([cell(b, s) for s in cells_of(way)])
    assert b.heard() in " ".join(b.text("#stage").split())
    assert re.findall(r"\d+", b.heard())[:2] == ["8", "12"]
    assert "l=RRRRDDLLDDRR" in b.js("location.hash")
    assert b.focus() != "BODY" or how != "keyboard"


@every_way
def test_scene_1_a_lake_of_ones_own(b, file, how):
    visit(b, file, "", how)
    do(b, "make", how)
    if how == "keyboard":
        b.tab_to("cell0")
        b.key("ArrowRight"), b.key("ArrowRight"), b.key("Enter")
    else:
        (b.drag if how == "mouse" else b.finger)([cell(b, 2)])
    assert any("row 1, column 3, hole" in name for role, name in b.tree() if role == "gridcell")
    do(b, "use", how)
    assert "m=SFHFF.FHHHF.FHFFF.FHFHH.FFFFG" in b.js("location.hash")
    do(b, "ship", how)
    assert re.findall(r"\d+", b.heard())[:2] == ["8", "10"], \
        "this lake has no second way: the worse one dithers"


@every_way
def test_scene_2_a_guess_is_scored(b, file, how):
    visit(b, file, "#s=2", how)
    if how == "keyboard":
        b.tab_to("cell0")
        # two of the way, over a hole
        for key in ("Enter", "ArrowDown", "Enter", "ArrowRight", "ArrowRight"):
            b.key(key)
        b.key("ArrowUp"), b.key("Enter")
    else:
        for s in (0, 5, 2):
            do(b, f"cell{s}", how)
    do(b, "more", how)
    assert re.findall(r"\d+", b.heard())[:3] == ["2", "8", "1"] and b.focus() != "BODY", \
        "2 of 8 found, 1 wrong"
    for _ in range(7):
        do(b, "more", how)
    assert re.findall(r"(\d+)(?: cells)?\s", b.text(".four"))[:4] == ["8", "10", "15", "17"]


@every_way
def test_scene_3_the_ghosts_are_judged(b, file, how):
    visit(b, file, "#s=3", how)
    for _ in range(5):
        do(b, "judge:y", how)
    judged, right = re.search(r"(\d) of 5", b.heard()), re.search(r"(\d) right", b.heard())
    assert judged[1] == right[1] and b.focus() != "BODY"
    if how == "keyboard":
        b.tab_to("time")
        seen = []
        for _ in range(int(b.js("document.querySelector('#time').max"))):
            b.key("ArrowRight")
            seen.append(int(re.search(r"(\d) of 8", b.text("#stage"))[1]))
        assert scene(b) == 3 and b.focus() == "time", "an arrow key in the slider is the slider's"
        assert seen[-1] == 0 and sorted(seen, reverse=True) == seen and len(set(seen)) >= 3, \
            "ghosts fade one by one"


@every_way
def test_scene_4_a_bet_on_dpo_and_three_worse_ways(b, file, how):
    visit(b, file, "#s=4", how)
    do(b, "bet:s", how)
    assert re.findall(r"\d+", b.heard())[:4] == ["12", "2", "8", "2"], \
        "moves: all, shared, right and blamed, wrong"
    before = b.text(".moves")
    do(b, "loser:fall", how)
    assert b.text(".moves") != before and b.focus() != "BODY"
    found = re.findall(r"(the detour|falls into a hole|dithers)\s+(\d+)", b.text("#stage"))
    assert dict(found) == {"the detour": "8", "falls into a hole": "0", "dithers": "1"}
    assert "the nearer" in b.text("#stage")


@every_way
def test_scene_5_a_bet_and_a_drop(b, file, how):
    visit(b, file, "#s=5", how)
    do(b, "guess:sft", how)
    found = re.findall(r"(SFT|IFT|DPO|ORPO)\s+(\d+) of 17", b.text("#stage .scene table"))
    most = {name: int(n) for name, n in found}
    assert len(most) == 4 and f"{max(most.values())} of 17" in b.heard()
    if how == "keyboard":
        b.tab_to("cell0")
        b.key("ArrowRight"), b.key("Enter")
    else:
        do(b, "cell1", how)
    assert b.js("document.querySelectorAll('.route').length") == 4, \
        "calm: the routes are there, not only the ends"


@every_way
def test_scene_6_training_is_played_scrubbed_and_changed(b, file, how):
    visit(b, file, "#s=6", how)
    if how == "keyboard":
        b.tab_to("at")
        b.key("End")
        before = b.heard()
        b.tab_to("lr")
        b.key("ArrowRight")
        assert b.heard() != before and b.focus() == "lr"
    else:
        do(b, "play", how)
        b.wait("+document.querySelector('#at').value === 200")
        b.wait("document.querySelector('#primary').textContent.includes('Play')")
        assert b.js("document.querySelectorAll('.four svg.lake').length") == 4
        before = b.heard()
        (b.click if how == "mouse" else b.tap)("#beta")
        order = """[...document.querySelectorAll(".bench tbody tr")]
            .map((tr) => [+tr.cells[1].textContent, tr.cells[0].innerText.trim()])
            .sort().map(([distance, name]) => name)"""
        own = b.js(order)
        do(b, "loser:fall", how)
        assert own[2:] == ["ORPO", "DPO"] and b.js(order)[2] != "ORPO", \
            "another worse way, another order"
    assert "200" in before


@every_way
def test_scene_7_the_score(b, file, how):
    visit(b, file, "#s=7&r=8&j=nnnnn&b=f&w=orpo", how)
    assert re.search(r"\d+ %.* 3 scenes", b.text("#stage")), \
        "who only looked at scene 2 did not guess"
    b.open(file, "#s=7&r=8&p=0005&j=nnnnn&b=f&w=orpo")
    assert re.search(r"\d+ %.* 4 scenes", b.text("#stage"))
    b.tab_to("fresh")
    do(b, "fresh", how)
    assert scene(b) == 1


def test_left_and_right_walk_through_the_scenes_but_not_out_of_what_uses_them(b, file):
    b.open(file, f"#s=1&{WAYS}")
    for there in (2, 3, 4, 5, 6, 7, 7):
        b.key("ArrowRight")
        assert scene(b) == there and f"s={there}" in b.js("location.hash") and b.focus() == "title"
        assert b.heard().startswith(f"Scene {there} of 7")
    b.key("ArrowLeft")
    b.js("history.back()")
    b.wait("document.querySelector('#stage').dataset.scene === '7'")


def test_a_link_returns_to_the_same_place_and_so_does_the_page(b, file):
    b.open(file, "#s=2&p=0005.01&r=1")
    b.click("#theme"), b.click("#theme")
    b.click("[data-act='more']"), b.click("[data-act='more']")
    before, link = b.text("#stage"), b.js("location.hash")
    b.open(file, link)
    assert b.text("#stage") == before and scene(b) == 2
    b.open(file)
    assert scene(b) == 2 and b.js("document.documentElement.dataset.theme") == "dark", \
        "the browser remembers"
    b.click("#theme")
    b.open(file, "#s=99&m=%3Cb%3E.S&g=XX&l=LLL&p=%%&r=-3&j=maybe&t=1e9&b=z&f=z&c=7&n=2&u=1e9&d=9.x")
    assert scene(b) == 7, "nonsense is left out"
    b.js("localStorage.clear()")
