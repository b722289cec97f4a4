"""The lake's page, figure, command and docs: they say what was computed."""
import io
import itertools
import json
import re
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from browser import check_accessible, fits_in_view, opened
from matplotlib.figure import Figure
from PIL import Image

from frozen_lake import figure
from frozen_lake.__main__ import main as lake_command
from frozen_lake.lake import make_lake
from frozen_lake.record import HUNDRED, LAMS, OPENS, SETTINGS

ROOT = Path(__file__).parents[2]
NUMBERS = json.loads(HUNDRED.read_text("utf-8"))
TWOWAY = make_lake("twoway5")


class Made(NamedTuple):
    """What the command leaves: its page, the data in the page, and what it prints."""
    page: Path
    data: dict
    printed: str


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Of twoway5 and one random lake; the table is of two networks, which learn little."""
    out = tmp_path_factory.mktemp("lake")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()) as said:
        patch.setattr("frozen_lake.record.SEEDS", range(1002, 1003))    # with an arrow into a hole
        patch.setattr("frozen_lake.results_table.UPDATES", 20)
        lake_command(["--seeds", "2", "--out", str(out)])
    page = out / "index.html"
    facts = re.search("^const DATA = (.*);$", page.read_text("utf-8"), re.M)
    return Made(page, json.loads(facts[1]), said.getvalue())


def points(text: str) -> list[float]:
    return [float(x.replace("−", "-")) for x in re.findall(r"[−+]?\d+\.\d", text)]


def tenths(shares: list[float]):
    """These shares in points, as a page rounds them."""
    return pytest.approx([100 * x for x in shares], abs=0.051)


# ---- the page ------------------------------------------------------------------------------------
@pytest.mark.parametrize("wide, high", [(1280, 800), (390, 844)])
def test_the_first_screen_says_its_words_and_shows_a_difference(made, browser, wide, high):
    """By how much SFT errs, and what ghost and placebo change."""
    page, faults = opened(browser, made.page, wide, high)
    assert fits_in_view(page, "#words", "#mix", "#difference")
    assert wide < 1000 or fits_in_view(page, "#lake", "#told")
    assert {"policy", "best move", "expert", "habit"} == {
        *page.locator("#words b").all_inner_texts()}
    of = made.data["lakes"][0]["of"]["table with a habit"]
    sft, true = of["SFT"][OPENS], of["true"][OPENS]
    assert sft - true > 0.1
    assert points(page.inner_text("#difference")) == tenths([
        sft - true, of["residual"][0][OPENS] - sft, of["placebo"][0][OPENS] - sft])
    assert not [x for x in faults if not x.startswith("file:")]


def test_everybody_can_read_and_work_the_page(made, browser):
    """Before a bet and after it, when there is a figure."""
    check_accessible(browser, made.page, "#bet button")


def test_bars_and_answer_are_what_was_computed(made, browser):
    """Of each policy at three times: the bars of this lake, and after a bet the mean of 100 lakes
    and the figure."""
    page, faults = opened(browser, made.page, width=390, dark=True)
    assert not page.is_visible("#say") and not page.is_visible("img")
    page.click("#bet button:last-child")
    assert page.evaluate("document.querySelector('img').naturalWidth") == 1152
    for setting, t, lam in itertools.product(SETTINGS, (0, OPENS, 8), (0, 1)):
        page.select_option("#setting", setting)
        page.select_option("#share", str(LAMS[lam]).removesuffix(".0"))
        page.fill("#time", str(t))
        kept, said = NUMBERS[setting], page.inner_text("#say")
        ghost, placebo = (kept[x]["random cell"][lam][t] for x in ("closer", "farther"))
        assert f"closer on {ghost} of 100 lakes, the placebo on {placebo}." in said
        right = 0 if ghost > 2 * placebo else 2 if placebo > 2 * ghost else 1
        assert said.lower().startswith(["the ghost.", "about equal.", "the placebo."][right])
        assert ("You bet right" in said) == (right == 2)
        means = [kept["gaps"][x][lam][t] for x in ("SFT", "residual", "random cell")]
        assert points(said.replace("λ = 0.2", "")) == tenths(means)
        of = made.data["lakes"][0]["of"][setting]
        bars = [int(re.search(r"\d+", x)[0]) for x in page.locator("#mix > b").all_inner_texts()]
        assert bars == pytest.approx([100 * x[t] for x in (
            of["SFT"], of["residual"][lam], of["placebo"][lam], of["true"])], abs=0.51)
    assert not [x for x in faults if not x.startswith("file:")]


def test_the_arrow_of_the_ghost_says_if_it_leads_into_a_hole(made, browser):
    page, _ = opened(browser, made.page)
    step, drowned = {0: (0, -1), 1: (1, 0), 2: (0, 1), 3: (-1, 0)}, 0
    page.select_option("#setting", "network from scratch")
    for one in made.data["lakes"]:
        predicted, rows = one["of"]["network from scratch"]["predicted"][OPENS], one["rows"]
        holes = {(i, j) for i, row in enumerate(rows) for j, cell in enumerate(row) if cell == "H"}
        for i, (s, a) in enumerate(one["best"]):
            ghost = divmod(predicted[i], len(rows[0]))
            falls = (predicted[i] != s and ghost not in holes
                     and tuple(np.add(ghost, step[a])) in holes)
            page.fill("#move", str(i + 1))
            assert ("leads into a hole" in page.inner_text("#told")) == falls
            drowned += falls
        page.click("#another")
    assert drowned


# ---- the figure and the command ------------------------------------------------------------------
def test_the_figure_shows_the_hundred_lakes_and_the_error_by_cell(made):
    """Curves and bars are hundred.json's; the cells add up to the error that the title tells."""
    left, right = Figure().subplots(1, 2)
    figure.draw_estimates(left)
    kept = NUMBERS[figure.SETTING]
    for bars, (what, _) in zip(left.containers, figure.CURVES.items(), strict=True):
        mean, half = (100 * np.array(kept[part][what][0]) for part in ("values", "values half"))
        assert bars.lines[0].get_ydata() == pytest.approx(mean)
        assert [np.diff(x[:, 1])[0] for x in bars.lines[2][0].get_segments()] == pytest.approx(
            2 * half)
    for what in {*figure.CURVES} - {"true"}:                # its title
        gaps = np.array(kept["gaps"][what][0])
        assert (gaps[1:] > np.array(kept["gaps half"][what][0])[1:]).all()
    figure.draw_errors(right, TWOWAY)
    of = made.data["lakes"][0]["of"][figure.SETTING]
    cells = [float(x.get_text().replace("−", "-")) for x in right.texts
             if x.get_text() not in ("hole", "goal")]
    assert len(cells) == TWOWAY.letters.count("F") + 1
    error = of["SFT"][OPENS] - of["true"][OPENS]
    assert points(right.get_title()) == tenths([error])
    assert sum(cells) == pytest.approx(100 * error, abs=0.05 * len(cells))


def test_the_figure_of_docs_is_the_one_of_today(made):
    """Pixels, give or take the letters of another version of matplotlib."""
    kept, now = (np.asarray(Image.open(file).convert("L").resize((72, 36)), float)
                 for file in (ROOT / "docs" / "lake.png", made.page.with_name("lake.png")))
    assert abs(kept - now).mean() < 4


def test_the_command_prints_the_estimates_and_a_line_for_each_method(made, recorded):
    """Methods whose intervals overlap are not ranked."""
    recorded("frozen_lake", "frozen_lake --seeds 2", made.printed)


# ---- README and docs/results/lake.md -------------------------------------------------------------
def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def table(head: str) -> dict[str, list[str]]:
    """{first cell: the others} of the table of docs/results/lake.md that begins with `head`."""
    lines = read("docs/results/lake.md").partition(f"| {head} |")[2].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[2:]]
    return {first: rest for first, *rest in rows}


def test_the_pages_have_the_figures_of_the_hundred_lakes():
    gaps = {(policy, name): kept["gaps"][what][0] for policy, kept in NUMBERS.items()
            for name, what in (("SFT", "SFT"), ("IFT", "residual"), ("placebo", "random cell"))}
    habit, by_update = "table with a habit", table("λ = 0.2, after updates")
    assert {name: points("".join(cells)) for name, cells in by_update.items()} == {
        f"{policy}: {name}": tenths(gap)
        for (policy, name), gap in gaps.items() if "habit" in policy}
    of_readme = read("README.md").partition("## The frozen lake")[2].partition("\n## ")[0]
    assert re.findall(r"\d\.\d", of_readme) == [
        f"{100 * gaps[habit, name][OPENS]:.1f}" for name in ("SFT", "IFT", "placebo")]
    scratch = [gap for (policy, _), gap in gaps.items() if "scratch" in policy]
    closer = NUMBERS[habit]["closer"]["random cell"][0][1:7]
    for said in (f"by up to {-100 * np.min(scratch):.1f} points, then overestimated",
                 f"overestimated, by up to {100 * np.max(scratch):.1f}.",
                 f"closer on {min(closer)} to {max(closer)} of 100 lakes"):
        assert said in read("docs/results/lake.md")
    for policy, cells in table("the residual's lead over the placebo, points").items():
        for (mean, half), told, sign in zip(NUMBERS[policy]["lead"]["random cell"],
                                            cells[::2], cells[1::2], strict=True):
            assert told == f"{100 * mean:+.3f}\u00a0±\u00a0{100 * half:.3f}".replace("-", "−")
            assert sign == ("✓" if mean > half else "✗" if mean < -half else "?")
