"""The lake's page, figure, command and docs: they say what was computed."""
import json
import re
from pathlib import Path

import numpy as np
import pytest
from browser import check_accessible, fits_in_view, opened
from matplotlib.figure import Figure
from PIL import Image
from test_lake import TWOWAY, near

from frozen_lake import figure
from frozen_lake.__main__ import main as lake_command
from frozen_lake.record import HUNDRED, LAMS, OPENS, SETTINGS, WEB, page_data
from nanouft.pictures.colours import write_page

ROOT = Path(__file__).parents[2]
NUMBERS = json.loads(HUNDRED.read_text("utf-8"))


# ---- the page ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def data():
    return page_data(TWOWAY)


@pytest.fixture(scope="module")
def written(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("lake")
    figure.draw_figure(TWOWAY, out)
    return write_page(WEB, data, out)


def points(text: str) -> list[float]:
    return [float(x.replace("−", "-")) for x in re.findall(r"[−+]?\d+\.\d", text)]


@pytest.mark.parametrize("wide, high", [(1280, 800), (390, 844)])
def test_the_first_screen_says_its_words_and_shows_a_difference(written, data, browser, wide, high):
    """By how much SFT errs, and what ghost and placebo change."""
    page, faults = opened(browser, written, wide, high)
    assert fits_in_view(page, "#words", "#mix", "#difference")
    assert wide < 1000 or fits_in_view(page, "#lake", "#told")
    assert {"policy", "best move", "expert", "habit"} == {
        *page.locator("#words b").all_inner_texts()}
    of = data["lakes"][0]["of"]["table with a habit"]
    sft, true = of["SFT"][OPENS], of["true"][OPENS]
    assert sft - true > 0.1
    near(points(page.inner_text("#difference")), 100 * np.array([
        sft - true, of["residual"][0][OPENS] - sft, of["placebo"][0][OPENS] - sft]), tol=0.051)
    assert not [x for x in faults if not x.startswith("file:")]


def test_everybody_can_read_and_work_the_page(written, browser):
    """Before a bet and after it, when there is a figure."""
    check_accessible(browser, written, "#bet button")


def test_bars_and_answer_are_what_was_computed(data, written, browser):
    """In four states, one of each policy: the bars of this lake, and after a bet the mean of 100
    lakes and the figure."""
    page, faults = opened(browser, written, width=390, dark=True)
    assert not page.is_visible("#say") and not page.is_visible("img")
    page.click("#bet button:last-child")
    assert page.evaluate("document.querySelector('img').naturalWidth") == 1152
    for setting, t, lam in zip(SETTINGS, (OPENS, 8, 0, 1), (0, 1, 1, 0)):
        page.select_option("#setting", setting)
        page.select_option("#share", str(LAMS[lam]).removesuffix(".0"))
        page.fill("#time", str(t))
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
        bars = [int(re.search(r"\d+", x)[0]) for x in page.locator("#mix > b").all_inner_texts()]
        near(bars, [100 * x[t] for x in (of["SFT"], of["residual"][lam], of["placebo"][lam],
                                         of["true"])], tol=0.51)
    assert not [x for x in faults if not x.startswith("file:")]


def test_the_arrow_of_the_ghost_says_if_it_leads_into_a_hole(data, written, browser):
    page, _ = opened(browser, written)
    step, drowned = {0: (0, -1), 1: (1, 0), 2: (0, 1), 3: (-1, 0)}, 0
    page.select_option("#setting", "network from scratch")
    for one in data["lakes"]:
        predicted, rows = one["of"]["network from scratch"]["predicted"][OPENS], one["rows"]
        for i, (s, a) in enumerate(one["best"]):
            row, column = divmod(predicted[i], len(rows[0]))
            there = tuple(np.add((row, column), step[a]))
            falls = (predicted[i] != s and rows[row][column] != "H"
                     and min(there) >= 0 and max(there) < len(rows)
                     and rows[there[0]][there[1]] == "H")
            page.fill("#move", str(i + 1))
            assert ("leads into a hole" in page.inner_text("#told")) == falls
            drowned += falls
        page.click("#another")
    assert drowned


# ---- the figure ----------------------------------------------------------------------------------
def test_the_figure_shows_the_hundred_lakes_and_the_error_by_cell(data):
    """Curves and bars are hundred.json's; the cells add up to the error that the title tells."""
    left, right = Figure().subplots(1, 2)
    figure.draw_estimates(left)
    kept = NUMBERS[figure.SETTING]
    for bars, (what, _) in zip(left.containers, figure.CURVES.items(), strict=True):
        mean, half = (100 * np.array(kept[part][what][0]) for part in ("values", "values half"))
        near(bars.lines[0].get_ydata(), mean)
        near([np.diff(x[:, 1])[0] for x in bars.lines[2][0].get_segments()], 2 * half)
    for what in {*figure.CURVES} - {"true"}:                # its title
        gaps = np.array(kept["gaps"][what][0])
        assert (gaps[1:] > np.array(kept["gaps half"][what][0])[1:]).all()
    figure.draw_errors(right, TWOWAY)
    of = data["lakes"][0]["of"][figure.SETTING]
    cells = [float(x.get_text().replace("−", "-")) for x in right.texts
             if x.get_text() not in ("hole", "goal")]
    assert len(cells) == TWOWAY.letters.count("F") + 1
    error = 100 * (of["SFT"][OPENS] - of["true"][OPENS])
    near(points(right.get_title()), [error], tol=0.051)
    near(sum(cells), error, tol=0.05 * len(cells))


def test_the_figure_of_docs_is_the_one_of_today(written):
    """Pixels, give or take the letters of another version of matplotlib."""
    kept, now = (np.asarray(Image.open(file).convert("L").resize((72, 36)), float)
                 for file in (ROOT / "docs" / "lake.png", written.with_name("lake.png")))
    assert abs(kept - now).mean() < 4


# ---- the command and docs/results/lake.md --------------------------------------------------------
def test_the_command_prints_the_estimates_and_a_line_for_each_method(tmp_path, capsys, monkeypatch):
    """Of the hundred lakes those of README; methods whose intervals overlap are not ranked."""
    monkeypatch.setattr("frozen_lake.results_table.UPDATES", 20)
    lake_command(["--seeds", "2", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [f"figure: {tmp_path / 'lake.png'}", f"page: {tmp_path / 'index.html'}"]
    assert (tmp_path / "index.html").exists() and (tmp_path / "lake.png").exists()
    kept = NUMBERS["table with a habit"]
    hundred = next(line for line in lines if line.startswith("100 random lakes"))
    near(points(hundred), 100 * np.array([kept[part][what][0][OPENS] for what in (
        "SFT", "residual", "random cell") for part in ("gaps", "gaps half")]), tol=0.051)
    assert points(hundred)[::2] == [4.6, 4.4, 4.3]
    assert "Closest to the true value first: placebo, IFT, SFT (tied)." in lines
    assert sum(line.count("±") == 2 for line in lines) == 5
    assert max(map(len, lines[2:])) <= 80
    far = {x[:17].strip(): [*map(float, re.findall(r"[\d.]+(?= ±)|(?<=±)[\d.]+", x))]
           for x in lines if x.count("±") == 2}
    for start, said in enumerate(lines[-2:]):
        groups = [group.removesuffix(" (tied)").split(", ")
                  for group in said.partition(": ")[2].split("; ")]
        assert sum(map(len, groups)) == 5
        low = [min(far[x][2 * start] - far[x][2 * start + 1] for x in group) for group in groups]
        high = [max(far[x][2 * start] + far[x][2 * start + 1] for x in group) for group in groups]
        assert all(x <= y + 0.002 for x, y in zip(high, low[1:]))


def table(head: str) -> dict[str, list[str]]:
    """{first cell: the others} of the table of docs/results/lake.md that begins with `head`."""
    text = (ROOT / "docs/results/lake.md").read_text(encoding="utf-8")
    lines = text[text.index(f"| {head} |"):].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[2:]]
    return {first: rest for first, *rest in rows}


def test_docs_have_the_figures_of_the_hundred_lakes():
    by_update = table("λ = 0.2, after updates")
    leads = table("the residual's lead over the placebo, points")
    assert len(by_update) == 6 and len(leads) == len(NUMBERS) == 4
    low, high = [], []
    for policy, kept in NUMBERS.items():
        sft = np.array(kept["gaps"]["SFT"][0])
        for name, what in (("SFT", "SFT"), ("IFT", "residual"), ("placebo", "random cell")):
            gaps = np.array(kept["gaps"][what][0])
            if policy.endswith("habit"):
                near(sum(map(points, by_update[f"{policy}: {name}"]), []), 100 * gaps, tol=0.051)
            else:               # the page has its extremes
                low.append(round(100 * gaps.min(), 1))
                high.append(round(100 * gaps.max(), 1))
                assert abs(gaps - sft).max() < 0.0025
        for (mean, half), told, sign in zip(kept["lead"]["random cell"],
                                            leads[policy][::2], leads[policy][1::2]):
            assert told == f"{100 * mean:+.3f}\u00a0±\u00a0{100 * half:.3f}".replace("-", "−")
            assert sign == ("✓" if mean > half else "✗" if mean < -half else "?")
    assert min(low) == -4.4 and max(high) == 4.2
    closer = NUMBERS["table with a habit"]["closer"]["random cell"][0][1:7]
    assert (min(closer), max(closer)) == (44, 50)
