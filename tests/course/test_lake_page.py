"""The lake's page, command and docs: they say what was computed."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import inside, missing, opened
from test_lake import LAKES, near

from frozen_lake.__main__ import main as lake_command
from frozen_lake.estimate import on_ice, own_guesses
from frozen_lake.lake import make_lake
from frozen_lake.learn import task_of
from frozen_lake.record import LAMS, WEB, page_data, page_policies
from nanouft.pictures.colours import write_page

ROOT = Path(__file__).parents[2]


# ---- the page ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def data():
    return page_data(make_lake("twoway5"))


@pytest.fixture(scope="module")
def lakes(data):
    return data["lakes"]


@pytest.fixture(scope="module")
def written(data, tmp_path_factory):
    return write_page(WEB, data, tmp_path_factory.mktemp("lake"))


def shown(text: str) -> list[float]:
    """Every percentage and every number of points in a text."""
    return [float(x) for x in re.findall(r"[\d.]+(?=[ \u00a0](?:%|points))", text)]


def off(one: dict, k: int) -> np.ndarray:
    """(updates,) how far the estimate with LAMS[k] lies above what the policy does by itself."""
    return np.mean(np.subtract(one["chances"][k], one["alone"]), 1)


def truths(lakes: list[dict], fallen: bool = False) -> np.ndarray:
    """(updates of all lakes,) how often the own walks make a best move, a mean over moves; with
    `fallen` a walk that has fallen in counts as one that makes none."""
    ice = [on_ice(lake, page_policies(task_of(lake)), len(one["best"])).sum(-1).numpy()
           if fallen else 1 for one, lake in zip(lakes, LAKES)]
    return np.concatenate([np.mean(on * np.array(one["alone"]), 1) for one, on in zip(lakes, ice)])


def counted(lakes: list[dict], lam: int, fallen: bool = False) -> dict[str, int]:
    """At how many updates SFT is too low, right or too high, who is closer to the truth, and
    whether IFT says less than SFT or more."""
    sft, ift = (np.concatenate([np.mean(one["chances"][k], 1) for one in lakes])
                - truths(lakes, fallen) for k in (0, lam))
    return {"low": (sft < -0.01).sum(), "right": (abs(sft) <= 0.01).sum(),
            "high": (sft > 0.01).sum(), "ift": (abs(ift) < abs(sft)).sum(),
            "sft": (abs(ift) > abs(sft)).sum(), "same": (abs(ift) == abs(sft)).sum(),
            "clearly ift": (abs(sft) - abs(ift) > 0.01).sum(),
            "clearly sft": (abs(ift) - abs(sft) > 0.01).sum(),
            "less": (ift < sft).sum(), "more": (ift > sft).sum()}


def numbers(text: str, before: str = "at") -> list[int]:
    return [int(x) for x in re.findall(rf"(?<= {before} )\d+", text)]


def set_to(page, lake: int, **sliders: int) -> None:
    page.select_option("#which", str(lake))
    for name, value in sliders.items():
        page.fill(f"#{name}", str(value))
        page.dispatch_event(f"#{name}", "change")


def test_page_charts_address_and_record_agree(written, lakes, browser):
    """Counts over all updates, one update and one move, and the charts, in four states; a link
    opens the last one, Back leads to the states before, and a broken address to the first."""
    page, faults = opened(browser, written, width=390, dark=True)
    page.click("#bet button:last-child")
    assert page.evaluate("BUTTONS.map((x) => x.ariaPressed)") == ["false", "false", "true"]
    for lake, t, lam in ((0, 5, 5), (0, 0, 1), (2, 1, 0), (1, 3, 10)):
        set_to(page, lake, time=t, share=lam)
        one, of = lakes[lake], counted(lakes, lam)
        answer, why = page.inner_text("#say"), page.inner_text("#why")
        assert numbers(answer + why) == [of[who] for who in ("ift", "sft", "same", "clearly ift",
                                                       "clearly sft", "less", "more")]
        share = of["ift"] / 21
        assert answer.startswith("Nearly always" if share > 2 / 3 else
                                 "Hardly ever" if share < 1 / 3 else "Sometimes")
        assert ("You bet right" in answer) == answer.startswith("Hardly ever")
        assert ("no guess is wrong" in answer) == (lam > 0)     # else IFT is SFT
        begins, ends = ([off(x, 0)[k] for x in lakes] for k in (0, -1))
        assert numbers(why, "on") == [sum(x < -0.01 for x in begins),
                                         sum(x > 0.01 for x in ends)]
        gaps, now = [off(one, k)[t] for k in (0, lam)], page.inner_text("#now")
        near(shown(now), 100 * np.abs([np.mean(one["alone"][t]), *gaps]), tol=0.051)
        assert re.findall("high|low", now) == ["high" if x > 0 else "low" for x in gaps]
        move = int(page.inner_text("#moveNow")) - 1
        assert one["guesses"][t][move] != one["best"][move][0]
        mixed = [*(one["chances"][k][t][move] for k in (0, -1, lam)), one["alone"][t][move]]
        bars = "".join(page.locator("#mix > b").all_inner_texts())
        near(shown(bars), 100 * np.array(mixed), tol=0.51)
        assert f"mixed {100 - 10 * lam} to {10 * lam}" in page.inner_text("#mix")
        charts_agree(page, lakes, lam, of)
    page.fill("#move", "4")                     # by hand; a guess is wrong at move 2
    page.dispatch_event("#move", "change")
    other, _ = opened(browser, written, width=390)
    other.goto(page.url)
    assert other.url == page.url and other.inner_text("main") == page.inner_text("main")
    assert [other.inner_text(f"#{x}Now") for x in ("time", "move", "share")] == ["3", "4", "1"]
    assert "Four by four" in other.get_attribute("#lake", "aria-label")
    for lake in "2000":                         # the last of these is the bet
        page.go_back()
        assert page.input_value("#which") == lake
    page.go_back()
    assert page.url == written.resolve().as_uri()           # the page before the bet
    assert not page.locator("#say").is_visible() and not page.locator("#lakes").is_visible()
    for broken in ("lake=none&update=99&move=0&share=2&bet=never", "&&=", "update=-1&move=1.5"):
        page.goto(f"{written.resolve().as_uri()}#{broken}")
        assert [page.inner_text(f"#{x}Now") for x in ("time", "move", "share")] == ["3", "2", "0.2"]
        assert not page.locator("#say").is_visible()
    set_to(page, 0, time=6)
    assert "the marked cell as well" in page.inner_text("#mix")
    assert not [x for x in faults if not x.startswith("file:")]


def charts_agree(page, lakes: list[dict], lam: int, of: dict[str, int]) -> None:
    """Each line is as far from the zero line as IFT is from SFT, on one scale; the same in words,
    with how far SFT is from the truth; and a point says who is closer, hollow if by a point or
    less."""
    drawn, leads, signs = [], [], ""
    for k, one in enumerate(lakes):
        chart, lead = page.locator(f"#plot{k}"), off(one, lam) - off(one, 0)
        line = chart.locator("polyline").get_attribute("points")
        drawn += [float(xy.split(",")[1]) for xy in line.split()]
        leads += lead.tolist()
        told = re.findall(r"[+−]?\d+\.\d", chart.get_attribute("aria-label"))
        near([float(x.replace("−", "-")) for x in told],
             100 * np.concatenate([lead, off(one, 0)]), tol=0.051)
        assert chart.locator("rect").evaluate_all("(all) => all.map((x) => x.className.baseVal)"
            ) == ["right" if abs(x) <= 0.01 else "high" if x > 0 else "low" for x in off(one, 0)]
        signs += "".join(chart.locator("tspan").all_text_contents())
    heights = [float(re.search(r"M\S+\s+([\d.]+)H", x)[1]) for x in page.locator(
        "#plot0 path[stroke-width]").evaluate_all("(all) => all.map((x) => x.getAttribute('d'))")]
    low, high = (float(page.locator("#plot0 text").nth(k).text_content().replace("−", "-"))
                 for k in (0, len(heights) - 1))    # the axis: a text beside each line
    scale = (heights[-1] - heights[0]) / (high - low)
    near(drawn, heights[0] + scale * (100 * np.array(leads) - low), tol=0.05)
    assert low <= min(leads) * 100 and max(leads) * 100 <= high
    assert [signs.count(x) for x in "▲△●○="] == [
        of["clearly ift"], of["ift"] - of["clearly ift"],
        of["clearly sft"], of["sft"] - of["clearly sft"], of["same"]]


def test_the_arrows_are_what_the_methods_read(lakes):
    """SFT's bar is the sum of the best moves' arrows in its cell; the guess's that of the same
    moves in the guessed cell; the truth's that of each cell's best moves, by where walks stand."""
    for one in lakes:
        for t, policy in enumerate(np.array(one["policy"]) / 100):
            for i, (s, _) in enumerate(one["best"]):
                best = one["good"][s]
                near(policy[s][best].sum(), one["chances"][0][t][i], tol=0.021)
                near(policy[one["guesses"][t][i]][best].sum(), one["chances"][-1][t][i], tol=0.021)
                by_cell = sum(share * policy[c][one["good"][c]].sum()
                              for c, share in one["stands"][t][i])
                near(by_cell, one["alone"][t][i], tol=0.05)


def test_a_cell_has_an_arrow_for_each_move(written, lakes, browser):
    """As long as the move is likely, solid if it is a best one; green at the guess if it is SFT's;
    the same in words for a screen reader."""
    page, _ = opened(browser, written)
    one, t, s, g = lakes[0], 3, 5, 1
    drawn = page.evaluate("""[...document.querySelectorAll("#lake path[transform^=rotate]")].map(
        (x) => [x.parentElement.getAttribute("transform"), x.getAttribute("transform"),
                x.getAttribute("d"), x.getAttribute("fill")])""")
    found = {(cell, turn): (float(d.split("L")[1].split()[0]), fill)
             for cell, turn, d, fill in drawn}
    arrows = 0
    for cell, moves in enumerate(one["policy"][t]):
        for a, p in enumerate(moves):
            if "".join(one["rows"])[cell] in "SF" and p >= 2:
                arrows += 1
                where = f"translate({cell % 5 * 100 + 50},{cell // 5 * 100 + 50})"
                tip, fill = found[where, f"rotate({180 - 90 * a})"]
                near(tip, 10 + 0.36 * p)
                kind = ("ift" if cell == g and a in one["good"][s] else
                        "sft" if a in one["good"][cell] else "page")
                assert fill == f"var(--{kind})"
    assert arrows == len(found) > 2 * 17
    words = page.get_attribute("#lake", "aria-label")
    assert f"down {one['policy'][t][s][1]}%" in words and "own guess is row 1, column 2" in words
    for share in one["stands"][t][1]:
        assert f"{100 * share[1]:.0f}\u00a0%" in words


def test_before_the_bet_no_truth_stands_there(written, lakes, browser):
    """Neither in words nor in a picture, nor for a screen reader. The first screen holds the board,
    all four bars and the bet, and the screen after it the charts; on a phone the board and the bars
    fit above all sliders of one move."""
    for wide, high in ((1280, 800), (390, 844)):
        page, _ = opened(browser, written, wide, high)
        truth = f"{100 * lakes[0]['alone'][3][1]:.0f}\u00a0%"
        assert "?" in page.inner_text("#mix") and truth not in page.inner_text("#mix")
        assert not page.locator("#lakes").is_visible() and not page.locator("#lakes text").count()
        assert not page.inner_text("#say") and not page.inner_text("#why")
        assert inside(page, "#lake", "#mix", "#bet")
        page.click("#bet button")
        assert inside(page, "#mix > :last-child", "#bet", "#say", "#plot0")
        assert truth in page.inner_text("#mix") and "Two ways, IFT minus SFT" in \
            page.get_attribute("#plot0", "aria-label")
        page.locator("#move").evaluate("(x) => x.scrollIntoView({ block: 'end' })")
        assert inside(page, "#lake", "#mix", "#which", "#time", "#move")


def test_the_picture_of_the_page_shows_the_page_of_today(written, browser):
    page, _ = opened(browser, written, 1280, 4000)
    page.click("#bet button:nth-child(2)")
    assert not missing(page, ROOT / "docs" / "lake.png")


# ---- the command and docs/results/lake.md --------------------------------------------------------
def test_the_command_writes_the_page_and_a_line_for_each_method(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("frozen_lake.table.UPDATES", 20)
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


def test_docs_have_the_counts_of_the_page(lakes):
    of, fallen = (counted(lakes, LAMS.index(0.2), fallen=x) for x in (False, True))
    assert list(table("21 updates on three lakes").values()) == [
        [str(found[who]) if who else "–" for who in names] for found, names in (
            (of, ("ift", "sft", "same")), (of, ("clearly ift", "clearly sft", "")),
            (fallen, ("ift", "sft", "same")))]
    assert list(table("SFT's estimate at these updates").values()) == [
        [str(found[where]) for where in ("low", "right", "high")] for found in (of, fallen)]


def test_on_the_largest_lake_alone_a_wrong_guess_makes_the_estimate_higher(lakes):
    """As docs/results/lake.md says: of single moves, there by about a point at most, and of the
    whole path, where SFT is exact; elsewhere both are lower; and without a wrong guess equal."""
    for one, lake in zip(lakes, LAKES):
        task, sign = task_of(lake), 1 if one is lakes[-1] else -1
        logits, path = page_policies(task).log(), list(zip(*task.best))
        guess = own_guesses(lake, logits.exp(), task.best)
        each = torch.arange(len(logits))[:, None]
        blend = (0.8 * logits[:, path[0]] + 0.2 * logits[each, guess]).log_softmax(-1)
        whole = (blend[:, range(len(task.best)), path[1]] - logits[:, path[0], path[1]]).sum(-1)
        single = off(one, LAMS.index(0.2)) - off(one, 0)
        wrong = np.array([g != [s for s, _ in one["best"]] for g in one["guesses"]])
        for gap in (whole.numpy(), single):
            assert (sign * gap[wrong] > 0).all() and (abs(gap[~wrong]) < 1e-9).all()
        assert sign < 0 or single.max() <= 0.0115
        assert wrong.tolist() == [True] * (len(wrong) - 1) + [False]
