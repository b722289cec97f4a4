"""The lake's page, command and docs: they say what was computed."""
import json
import re
from pathlib import Path

import numpy as np
import pytest
from browser import check_accessible, fits_in_view, opened, words_not_shown
from test_lake import near

from frozen_lake.__main__ import main as lake_command
from frozen_lake.record import HUNDRED, LAMS, OPENS, SETTINGS, WEB, page_data
from nanouft.pictures.colours import write_page

ROOT = Path(__file__).parents[2]
NUMBERS = json.loads(HUNDRED.read_text("utf-8"))


# ---- the page ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def data():
    return page_data()


@pytest.fixture(scope="module")
def written(data, tmp_path_factory):
    return write_page(WEB, data, tmp_path_factory.mktemp("lake"))


def test_everybody_can_read_and_work_the_page(written, browser):
    """Before a bet and after it, when there are charts and a map."""
    check_accessible(browser, written, "#bet button")


@pytest.mark.parametrize("wide, high", [(1280, 800), (390, 844)])
def test_the_first_screen_is_the_idea_without_a_number(written, browser, wide, high):
    """What SFT reads, what IFT reads, the same target, on words and on ice; a switch."""
    page, faults = opened(browser, written, wide, high)
    assert fits_in_view(page, "#strips", "#on", "#lake", "#told")
    assert not re.search(r"\d", page.inner_text("#strips") + page.inner_text("#told"))
    said = page.locator("#strips svg").evaluate_all("(all) => all.map((x) => x.ariaLabel)")
    ghost = page.locator("#lake [opacity='.4']")
    assert "hen; its" not in said[1] and "fifth of hen" in said[1] and "fifth" not in said[0]
    assert ghost.count() == 1
    page.uncheck("#on")
    said = page.locator("#strips svg").evaluate_all("(all) => all.map((x) => x.ariaLabel)")
    assert said[1] == said[0].replace("SFT", "IFT") and not ghost.count()
    assert "ghost=off" in page.url
    assert not [x for x in faults if not x.startswith("file:")]


def points(text: str) -> list[float]:
    return [float(x.replace("−", "-")) for x in re.findall(r"−?\d+\.\d", text)]


def test_bars_answer_and_charts_are_what_was_computed(data, written, browser):
    """In four states, one of each policy. Before the bet no true value stands there, after it the
    mean of 100 lakes beside this lake; a link opens the last state."""
    page, faults = opened(browser, written, width=390, dark=True)
    assert "?" in page.inner_text("#mix") and not page.is_visible("#plots")
    page.click("#bet button:last-child")
    for k, (setting, t, lam) in enumerate(zip(SETTINGS, (OPENS, 8, 0, 1), (0, 1, 1, 0))):
        page.select_option("#setting", setting)
        page.select_option("#share", str(LAMS[lam]).removesuffix(".0"))
        page.fill("#time", str(t))
        page.dispatch_event("#time", "change")
        kept, said = NUMBERS[setting], page.inner_text("#say")
        counts = [kept[x]["random cell"][lam][t] for x in ("closer", "farther")]
        ghost, placebo = counts
        assert f"closer on {ghost} of 100 lakes, the placebo on {placebo}." in said
        right = (1 if max(counts) <= 2 * min(counts) else 0 if ghost > placebo else 2)
        assert said.lower().startswith(["the ghost.", "about equal.", "the placebo."][right])
        assert ("You bet right" in said) == (right == 2)
        means = [kept["gaps"][x][lam][t] for x in ("SFT", "residual", "random cell")]
        near(points(said.replace("λ = 0.2", "")), 100 * np.array(means), tol=0.051)
        of = data["lakes"][0]["of"][setting]
        move = int(page.inner_text("#moveNow")) - 1
        bars = [int(re.search(r"\d+", x)[0]) for x in page.locator("#mix > b").all_inner_texts()]
        near(bars, [100 * x[t][move] for x in (of["SFT"], of["residual"][lam], of["placebo"][lam],
                                               of["true"])], tol=0.51)
        told = page.get_attribute(f"#plot{k}", "aria-label")
        curves = [kept["gaps"][x][lam] for x in ("SFT", "residual", "random cell")]
        near(points(told), 100 * np.concatenate(curves), tol=0.051)
        drawn = page.locator(f"#plot{k} text").all_text_contents()
        for x in ("closer", "farther"):
            assert {*map(str, kept[x]["random cell"][lam])} <= {*drawn}
        lines = page.locator("#plots polyline").evaluate_all(
            "(all) => all.map((x) => [x.closest('svg').id, +x.getAttribute('stroke-width')])")
        assert sum(id == f"plot{k}" for id, _ in lines) == 6 and len(lines) == 15   # thin: here
    page.click("#another")
    other, _ = opened(browser, written, width=390)
    other.goto(page.url)
    assert other.inner_text("main") == page.inner_text("main") and "lake=lake+1001" in page.url
    page.go_back()
    assert "lake=lake+1000" in page.url
    page.goto(f"{written.resolve().as_uri()}#lake=none&update=99&move=0&policy=x&bet=never&&=")
    assert [page.input_value(f"#{x}") for x in ("time", "share")] == [str(OPENS), str(LAMS[0])]
    assert not page.locator("#say").is_visible()
    assert not [x for x in faults if not x.startswith("file:")]


def test_the_arrow_of_the_ghost_says_if_it_leads_into_a_hole(data, written, browser):
    page, _ = opened(browser, written)
    step, drowned = {0: (0, -1), 1: (1, 0), 2: (0, 1), 3: (-1, 0)}, 0
    page.select_option("#setting", "network from scratch")
    for one in data["lakes"]:
        predicted = one["of"]["network from scratch"]["predicted"][OPENS]
        for i, (s, a) in enumerate(one["best"]):
            row, column = divmod(predicted[i], 6)
            there = tuple(np.add((row, column), step[a]))
            falls = (predicted[i] != s and one["rows"][row][column] != "H"
                     and min(there) >= 0 and max(there) < 6
                     and one["rows"][there[0]][there[1]] == "H")
            page.fill("#move", str(i + 1))
            assert ("leads into a hole" in page.inner_text("#told")) == falls
            assert page.locator("#lake .flash").count() == falls
            drowned += falls
        page.click("#another")
    assert drowned


def test_the_picture_of_the_page_shows_the_page_of_today(written, browser):
    page, _ = opened(browser, written, 640, 880)
    assert not words_not_shown(page, ROOT / "docs" / "lake.png")


# ---- the command and docs/results/lake.md --------------------------------------------------------
def test_the_command_writes_the_page_and_a_line_for_each_method(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("frozen_lake.results_table.UPDATES", 20)
    lake_command(["--seeds", "2", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"page: {tmp_path / 'index.html'}" and (tmp_path / "index.html").exists()
    assert sum(line.count("±") == 2 for line in lines) == 5
    assert max(map(len, lines[1:])) <= 80
    far = {x[:17].strip(): re.findall(r"([\d.]+) ±", x) for x in lines if x.count("±") == 2}
    for start, said in enumerate(lines[-2:]):               # the least first
        told = [far[name][start] for name in said.partition(": ")[2].split(", ")]
        assert told == sorted(told) and len(told) == 5


def table(head: str) -> dict[str, list[str]]:
    """{first cell: the others} of the table of docs/results/lake.md that begins with `head`."""
    text = (ROOT / "docs/results/lake.md").read_text(encoding="utf-8")
    lines = text[text.index(f"| {head} |"):].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[2:]]
    return {first: rest for first, *rest in rows}


def test_docs_have_the_figures_of_the_hundred_lakes():
    by_update = table("λ = 0.2, after updates")
    leads = table("the residual's lead over the placebo, points")
    assert len(by_update) == 5 * len(leads) == 20
    for policy, kept in NUMBERS.items():
        for name, what in (("SFT", "SFT"), ("IFT", "residual"), ("placebo", "random cell")):
            near(sum(map(points, by_update[f"{policy}: {name}"]), []),
                 100 * np.array(kept["gaps"][what][0]), tol=0.051)
        for name, what in (("IFT closer", "closer"), ("placebo closer", "farther")):
            assert by_update[f"{policy}: {name}"] == [*map(str, kept[what]["random cell"][0])]
        for (mean, half), told, sign in zip(kept["lead"]["random cell"],
                                            leads[policy][::2], leads[policy][1::2]):
            assert told == f"{100 * mean:+.3f}\u00a0±\u00a0{100 * half:.3f}".replace("-", "−")
            assert sign == ("✓" if mean > half else "✗" if mean < -half else "?")
