"""The lake: planners that agree, methods against plain loops, what the page says."""
import copy
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import opened

from frozen_lake.__main__ import main as lake_command
from frozen_lake.estimate import (
    best_moves,
    best_moves_alone,
    distance,
    on_ice,
    own_guesses,
    reads,
    standing,
)
from frozen_lake.lake import MAPS, Lake, make_lake
from frozen_lake.learn import METHODS, learn, task_of
from frozen_lake.planning import (
    GAMMA,
    arrows,
    best_path,
    optimal,
    optimal_actions,
    policy_value,
    success,
    value_iteration,
    visits,
    walks,
    worse_path,
)
from frozen_lake.policies import Net, start_policy
from frozen_lake.record import LAMS, WEB, page_data, page_policies
from nanouft.pictures.page import write_page
from nanouft.plumbing.errors import UserError

LAKES = [make_lake(name) for name in MAPS]
TWOWAY = make_lake("twoway5")
TASK = task_of(TWOWAY)


def near(found, wanted, tolerance=1e-9):
    found, wanted = (torch.as_tensor(x, dtype=torch.float64) for x in (found, wanted))
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)


def random_policy(lake: Lake) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(lake.S, 4, generator=rng, dtype=torch.float64).softmax(-1)


# ---- the lake ------------------------------------------------------------------------------------
@pytest.mark.parametrize("text, says", [
    ("", "no map"), ("SFX\nFFG", "unknown cell 'X'"), ("SFF\nFG", "2 cells"),
    ("SFFS\nFFFG", "2 cells S"), ("SHFG\nHHFF", "no path"), ("SG\nFF", "one move"),
    (None, "unknown map 'none.txt'")])
def test_a_wrong_map_is_one_clear_line(tmp_path, monkeypatch, text, says):
    monkeypatch.chdir(tmp_path)
    name = "none.txt"
    if text is not None:
        name = "mine.txt"
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=says) as e:
        make_lake(name)
    assert "\n" not in str(e.value)


# ---- three planners agree ------------------------------------------------------------------------
@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name)
def test_value_iteration_a_linear_system_and_counting_moves_agree(lake):
    V, Q = value_iteration(lake)
    near(policy_value(lake, optimal(lake)), V)      # the best policy's value, by a linear system
    near(Q.amax(-1).masked_fill(lake.terminal, 0), V)
    far = {lake.goal: 0}                                # by counting moves: a value is gamma^(n-1)
    for n in range(lake.S):
        far |= {s: n + 1 for s in lake.live if s not in far
                and any(far.get(t) == n for t in lake.step[s].tolist())}
    near(V[lake.live], [GAMMA ** (far[s] - 1) for s in lake.live])
    assert len(best_path(lake)) == far[lake.start]
    near(success(lake, optimal(lake))[lake.live], [1.0] * len(lake.live))


@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name)
def test_visits_and_success_by_stepping(lake):
    policy = random_policy(lake)
    T = torch.zeros(lake.S, lake.S, dtype=torch.float64)
    for s in range(lake.S):
        for a in range(4):
            T[s] += policy[s, a] * lake.P[s, a]
    at, total = torch.eye(lake.S, dtype=torch.float64)[lake.start], 0
    for t in range(3000):
        if t == lake.limit:
            near(success(lake, policy)[lake.start], at[lake.goal])
        total = total + GAMMA ** t * at.masked_fill(lake.terminal, 0)
        at = at @ T
    near(visits(lake, policy), total / total.sum(), 1e-8)


@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name)
def test_both_paths_lead_to_the_goal(lake):
    task = task_of(lake)
    assert len(task.worse) > len(task.best)
    for path in (task.best, task.worse):
        assert path[0][0] == lake.start
        ends = [t for t, _ in path[1:]] + [lake.goal]
        assert all(lake.P[s, a, t] > 0 for (s, a), t in zip(path, ends))


def test_the_paths_of_twoway5_by_hand():
    assert arrows(best_path(TWOWAY)) == "↓↓↓↓→→→→"
    assert arrows(worse_path(TWOWAY)) == "→→→→↓↓←←↓↓→→"
    ring = Lake("ring", ("SFFF", "FHFF", "FHFF", "GFFF"))
    assert arrows(best_path(ring)) == "↓↓↓" and arrows(worse_path(ring)) == "→→↓↓↓←←"
    assert arrows(worse_path(Lake("open", ("SFF", "FFF", "FFG")))) == "→↓↑↓→↓"     # no detour: back


# ---- learning ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", METHODS)
def test_learners_side_by_side_learn_what_each_learns_alone(name):
    three = Net(TWOWAY, 3)
    together = learn(TASK, three, name, 10)
    for n in range(3):
        one = copy.deepcopy(three)
        one.N = 1
        for p in one.parameters():
            p.data = p.data[n:n + 1]
        near(learn(TASK, one, name, 10)[:, 0], together[:, n])


def plain_loss(name: str, table: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The loss of one table (S,4) by ift released or dpo, written again in plain loops."""
    def nll(path, logits, lam=0.0):
        out = []
        for i, (s, a) in enumerate(path):
            row = logits[s]
            if lam and i:
                before = path[i - 1][0]
                guess = int(TWOWAY.step[before, int(logits[before].argmax())])
                row = (1 - lam) * row + lam * logits[guess]
            out.append(row.logsumexp(0) - row[a])
        return out
    if name == "ift released":
        l = nll(TASK.best, table, 0.2)
        w = [sum(0.95 ** (k - t) * l[k] for k in range(t, len(l))) for t in range(len(l))]
        return sum(x * y for x, y in zip(w, l)) / sum(w)
    best, worse = (sum(nll(path, start)) - sum(nll(path, table))
                   for path in (TASK.best, TASK.worse))
    return -torch.nn.functional.logsigmoid(0.1 * (best - worse))


@pytest.mark.parametrize("name", ["ift released", "dpo"])
def test_losses_are_those_of_a_plain_loop(name):
    policy = start_policy("table", "habit", TWOWAY, 2)
    found = learn(TASK, policy, name, 3)
    for n in range(2):
        start = policy.table[n].detach().clone()
        table = start.clone().requires_grad_()
        optimizer = torch.optim.RMSprop([table], lr=5e-3)
        for _ in range(3):
            optimizer.zero_grad()
            plain_loss(name, table, start).backward()
            optimizer.step()
        near(found[-1, n], table.detach().softmax(-1))


def test_the_last_record_is_that_of_the_end():
    all_of_them = learn(TASK, Net(TWOWAY, 2), "sft", 7)
    assert torch.equal(learn(TASK, Net(TWOWAY, 2), "sft", 7, every=3), all_of_them[[0, 3, 6, 7]])


# ---- estimates -----------------------------------------------------------------------------------
def test_what_a_policy_does_by_itself_is_what_its_walks_do():
    """At each step, the share of each cell, the chance of a best move and how many have not fallen
    in; over the whole path SFT is exact. Within four standard errors of 4,000 walks."""
    lake = make_lake("default4")
    task = task_of(lake)
    probs, best, T = page_policies(task)[5:6], optimal_actions(lake), len(task.best)
    cells, actions = (x[0] for x in walks(lake, probs, 4000))
    stands, alone = standing(lake, probs, T)[0], best_moves_alone(lake, probs, T)[0]
    left = on_ice(lake, probs, T)[0].sum(-1)
    for i in range(T):
        on = actions[:, i] >= 0
        s, a = cells[on, i], actions[on, i]
        shares = torch.bincount(s, minlength=lake.S) / on.sum()
        error = 4 / on.sum() ** 0.5
        assert ((shares - stands[i]).abs() <= error * (stands[i] * (1 - stands[i])).sqrt()).all()
        spread = (left[i] * (1 - left[i]).clamp_min(0) / 4000).sqrt()
        assert abs(on.double().mean() - left[i]) <= 4 * spread + 1e-9
        right = best[s, a].double().mean()
        assert abs(right - alone[i]) <= error * (alone[i] * (1 - alone[i])).sqrt()
    made = (actions[:, :T] == torch.tensor([a for _, a in task.best])).all(1).double().mean()
    path = torch.stack([probs[0, s, a] for s, a in task.best]).prod()
    assert abs(made - path) <= 4 * (path * (1 - path) / 4000).sqrt()


def test_estimates_and_reads_are_those_of_a_plain_loop():
    """SFT looks in the demonstrator's cells, IFT also where the own likeliest move would have led,
    which is a wrong cell until the last update of the page's policy; DPO reads both paths."""
    probs, best = page_policies(TASK), optimal_actions(TWOWAY)
    sft, ift = (best_moves(TWOWAY, probs, TASK.best, lam) for lam in (0, 0.5))
    for t, table in enumerate(probs.tolist()):
        path, guessed = [0.0] * TWOWAY.S, [0.0] * TWOWAY.S
        guesses, before = [], None
        for i, (s, _) in enumerate(TASK.best):
            guess = s if before is None else int(TWOWAY.step[before, np.argmax(table[before])])
            blend = [p ** 0.5 * q ** 0.5 for p, q in zip(table[s], table[guess])]
            near(sft[t, i], sum(p for p, right in zip(table[s], best[s]) if right))
            near(ift[t, i], sum(p for p, right in zip(blend, best[s]) if right) / sum(blend))
            path[s] += 1
            guessed[guess] += 1
            guesses.append(guess)
            before = s
        assert own_guesses(TWOWAY, probs, TASK.best)[t].tolist() == guesses
        assert any(g != s for g, (s, _) in zip(guesses, TASK.best)) == (t < len(probs) - 1)
        both = [*path]
        for s, _ in TASK.worse:
            both[s] += 1
        mixed = [0.8 * x + 0.2 * y for x, y in zip(path, guessed)]
        for name, read in {"sft": path, "ift": mixed, "dpo": both}.items():
            read = [x * (letter in "SF") for x, letter in zip(read, TWOWAY.letters)]
            near(reads(TASK, probs, name)[t], [x / sum(read) for x in read])


def test_the_distance_by_hand():
    lake = Lake("open", ("SF", "FG"))
    policy = torch.full((4, 4), 0.25, dtype=torch.float64)
    near(distance(lake, policy)[1], 0.1875)             # one best move of four
    near(distance(lake, policy)[0], (2 / 16 + 0.25 / 2) / 4)    # two best moves
    assert distance(TWOWAY, optimal(TWOWAY)).abs().max() < 1e-12
    assert optimal_actions(lake)[0].tolist() == [False, True, True, False]


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
    ice = (lambda one: np.array(one["ice"])) if fallen else lambda one: 1
    return np.concatenate([np.mean(np.array(one["alone"]) * ice(one), 1) for one in lakes])


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


def test_the_page_says_what_was_computed(written, lakes, browser):
    """Bet, counts over all updates, one update and one move, in three states."""
    page, faults = opened(browser, written, width=390, dark=True)
    page.click("#bet button:last-child")
    for lake, t, lam in ((0, 5, 5), (0, 0, 1), (1, 3, 10)):
        page.select_option("#which", str(lake))
        page.fill("#time", str(t))
        page.fill("#share", str(lam))
        one, of = lakes[lake], counted(lakes, lam)
        answer, why = page.inner_text("#say"), page.inner_text("#why")
        assert numbers(answer + why) == [of[who] for who in ("ift", "sft", "same", "clearly ift",
                                                       "clearly sft", "less", "more")]
        share = of["ift"] / 21
        assert answer.startswith("Nearly always" if share > 2 / 3 else
                                 "Hardly ever" if share < 1 / 3 else "Sometimes")
        begins, ends = ([off(x, 0)[k] for x in lakes] for k in (0, -1))
        assert numbers(why, "on") == [sum(x < -0.01 for x in begins),
                                         sum(x > 0.01 for x in ends)]
        fallen = counted(lakes, lam, fallen=True)
        assert numbers(page.inner_text("#small")) == [of["high"], of["right"], of["low"],
                                                      *(fallen[x] for x in ("high", "low", "ift",
                                                                            "sft"))]
        gaps, now = [off(one, k)[t] for k in (0, lam)], page.inner_text("#now")
        near(shown(now), 100 * np.abs([np.mean(one["alone"][t]), *gaps]), 0.051)
        assert re.findall("high|low", now) == ["high" if x > 0 else "low" for x in gaps]
        move = int(page.inner_text("#moveNow")) - 1
        assert one["guesses"][t][move] != one["best"][move][0]
        mixed = [*(one["chances"][k][t][move] for k in (0, -1, lam)), one["alone"][t][move]]
        bars = "".join(page.locator("#mix > b").all_inner_texts())
        near(shown(bars), 100 * np.array(mixed), 0.51)
        assert page.inner_text("#part") == f"{10 * lam}\u00a0%"
    page.select_option("#which", "0")
    page.fill("#time", "6")
    assert "the marked cell as well" in page.inner_text("#mix")
    page.fill("#share", "0")                    # IFT is SFT: not because of any guess
    assert "no guess is wrong" not in page.inner_text("#say")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth") and not faults


def test_the_charts_are_the_gaps(written, lakes, browser):
    """Each line is as far from the zero line as the estimate is from the truth, on one scale; the
    same in words; and below stands who is closer, hollow if by a point or less."""
    page, _ = opened(browser, written)
    page.click("#bet button")
    for lam in (2, 10, 0):
        page.fill("#share", str(lam))
        drawn, gaps, signs = [], [], ""
        for k, one in enumerate(lakes):
            chart = page.locator(f"#plot{k}")
            lines = chart.locator("polyline").evaluate_all(
                "(all) => all.map((x) => x.getAttribute('points'))")
            drawn += [[float(xy.split(",")[1]) for xy in line.split()] for line in lines]
            gaps += [off(one, 0), off(one, lam)]
            told = [float(x.replace("−", "-")) for x in re.findall(
                r"[+−]?\d+\.\d", chart.get_attribute("aria-label"))]
            near(told, 100 * np.concatenate(gaps[-2:]), 0.051)
            signs += "".join(chart.locator("tspan").all_text_contents())
        zero = page.locator("#plot0 path[stroke-width='2.5']").get_attribute("d")
        drawn, gaps = np.concatenate(drawn), np.concatenate(gaps)
        scale = (drawn[0] - float(re.search(r"M\S+ ([\d.]+)H", zero)[1])) / -gaps[0]
        near(drawn - drawn[0], -scale * (gaps - gaps[0]), 0.05)
        of = counted(lakes, lam)
        assert [signs.count(x) for x in "▲△●○="] == [
            of["clearly ift"], of["ift"] - of["clearly ift"],
            of["clearly sft"], of["sft"] - of["clearly sft"], of["same"]]


def test_a_link_opens_the_same_state_and_back_goes_back(written, browser):
    page, faults = opened(browser, written)
    page.click("#bet button:nth-child(2)")
    page.select_option("#which", "1")
    for id, value in (("time", "4"), ("move", "2"), ("share", "7")):
        page.fill(f"#{id}", value)
        page.dispatch_event(f"#{id}", "change")
    other, _ = opened(browser, written)
    other.goto(page.url)
    assert other.url == page.url and "Four by four" in other.get_attribute("#lake", "aria-label")
    assert other.inner_text("main") == page.inner_text("main")
    assert [other.inner_text(f"#{x}Now") for x in ("time", "move", "share")] == ["4", "2", "0.7"]
    page.go_back()
    assert page.input_value("#which") == "0" and page.inner_text("#say")
    page.go_back()
    assert not page.locator("#say").is_visible() and not page.locator("#lakes").is_visible()
    for broken in ("lake=none&update=99&move=0&share=2&bet=never", "&&=", "update=-1&move=1.5"):
        page.goto(f"{written.resolve().as_uri()}#{broken}")
        assert [page.inner_text(f"#{x}Now") for x in ("time", "move", "share")] == ["3", "2", "0.2"]
        assert not page.locator("#say").is_visible()
    assert not [x for x in faults if not x.startswith("file:")]


def test_the_arrows_are_what_the_methods_read(lakes):
    """SFT's bar is the sum of the best moves' arrows in its cell; the guess's that of the same
    moves in the guessed cell; the truth's that of each cell's best moves, by where walks stand."""
    for one in lakes:
        for t, policy in enumerate(np.array(one["policy"]) / 100):
            for i, (s, _) in enumerate(one["best"]):
                best = one["good"][s]
                near(policy[s][best].sum(), one["chances"][0][t][i], 0.021)
                near(policy[one["guesses"][t][i]][best].sum(), one["chances"][-1][t][i], 0.021)
                by_cell = sum(share * policy[c][one["good"][c]].sum()
                              for c, share in one["stands"][t][i])
                near(by_cell, one["alone"][t][i], 0.05)


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
    """Neither in words nor in a picture, nor for a screen reader. The first screen holds all four
    bars before the bet, and after it the charts, on a phone the upper half of one."""
    for wide, high in ((1280, 800), (390, 844)):
        page, faults = opened(browser, written, wide, high)
        truth = f"{100 * lakes[0]['alone'][3][1]:.0f}\u00a0%"
        assert "?" in page.inner_text("#mix") and truth not in page.inner_text("#mix")
        assert not page.locator("#lakes").is_visible() and not page.locator("#lakes text").count()
        assert not page.inner_text("#say") and not page.inner_text("#small")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for first, part in (("#mix", 1), ("#plot0", 1 if wide > 390 else 0.5)):
            box = page.locator(first).bounding_box()
            assert box["y"] + part * box["height"] <= high, (wide, first)
            page.click("#bet button")
        assert truth in page.inner_text("#mix") and "Two ways, estimate minus truth" in \
            page.get_attribute("#plot0", "aria-label") and not faults


def test_the_page_by_keyboard_alone(written, browser):
    """Tab reaches the bet and all that can be set, in the order of the page, and a key works it."""
    page, faults = opened(browser, written)
    order = []
    for _ in range(7):
        page.keyboard.press("Tab")
        order.append(page.evaluate(
            "document.activeElement.id || document.activeElement.textContent"))
        if order[-1] == "sometimes":
            page.keyboard.press("Enter")
    assert order == ["nearly always", "sometimes", "hardly ever", "share", "which", "time", "move"]
    assert "You bet right" in page.inner_text("#say")
    assert page.evaluate("[...document.querySelectorAll('button')].map((x) => x.ariaPressed)"
                         ) == ["false", "true", "false"]
    before = page.inner_text("#mix")
    for key, id, told in (("ArrowRight", "move", "3"), ("ArrowLeft", "time", "2"),
                          ("ArrowRight", "share", "0.3")):
        page.focus(f"#{id}")
        page.keyboard.press(key)
        assert page.inner_text(f"#{id}Now") == told and page.inner_text("#mix") != before
        assert f"={told}" in page.url           # and a link would open it
        before = page.inner_text("#mix")
    page.focus("#which")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert "Four by four" in page.get_attribute("#lake", "aria-label") and not faults
    for id in ("which", "time", "move", "share"):
        assert page.evaluate(f"document.getElementById('{id}').labels[0].textContent.trim()")


def test_command_and_docs_say_the_same(lakes, tmp_path, capsys):
    lake_command(["--seeds", "2", "--updates", "2", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"page: {tmp_path / 'index.html'}" and (tmp_path / "index.html").exists()
    assert sum(line.count("±") == 2 for line in lines) == 5
    assert max(map(len, lines[1:])) <= 80
    docs = " ".join((Path(__file__).parents[1] / "docs" / "lake.md").read_text("utf-8").split())
    of, fallen = counted(lakes, LAMS.index(0.2)), counted(lakes, LAMS.index(0.2), fallen=True)
    assert [of[who] for who in ("ift", "sft")] == [fallen[who] for who in ("ift", "sft")]
    one = lakes[0]
    largest = np.abs(off(lakes[2], LAMS.index(0.2)) - off(lakes[2], 0))
    assert (off(lakes[2], LAMS.index(0.2)) - off(lakes[2], 0) >= 0).all() and largest.max() <= 0.011
    bars = [*(lakes[0]["chances"][k][3][1] for k in (0, -1, 2)), lakes[0]["alone"][3][1]]
    for words in (
            "SFT {:.0f} %, own guess {:.0f} %, IFT {:.0f} %, the truth {:.0f} %".format(
                *(100 * np.array(bars))),
            "best move {:.1f} % of the time, SFT is {:.1f} points too high and IFT {:.1f}".format(
                100 * np.mean(one["alone"][3]), 100 * off(one, 0)[3], 100 * off(one, 2)[3]),
            f"at {of['low']} of the 21 updates of the three lakes it is too low, "
            f"at {of['high']} too high, and at {of['right']} it is right",
            f"is nearer at {of['ift']} of the 21 updates and farther away at {of['sft']}. "
            f"At the other {of['same']} no guess is wrong",
            f"IFT is nearer at {of['clearly ift']} and farther away at {of['clearly sft']}.",
            f"too high at {fallen['high']} of the 21 updates and too low at {fallen['low']}.",
            f"although SFT is still {100 * off(one, 0)[6]:.1f} points too high",
            "the policy's own guess is the cell to its right, where "
            f"{100 * dict(one['stands'][3][1])[one['guesses'][3][1]]:.0f} % of its walks stand"):
        assert words in docs, words


def test_docs_have_the_distances_of_the_command_s_table():
    """Of its first column, with its twenty networks and 200 updates; and of the detour."""
    docs = " ".join((Path(__file__).parents[1] / "docs" / "lake.md").read_text("utf-8").split())
    start = start_policy("net", "fresh", TWOWAY)
    ends = {name: learn(TASK, start, name, every=200)[-1] for name in METHODS}
    far = {name: f"{distance(TWOWAY, x)[:, TWOWAY.live].mean():.3f}" for name, x in ends.items()}
    assert far["ift"] == far["ift released"]
    assert (f"SFT ends at a distance of {far['sft']} from the nearest optimal policy, both forms "
            f"of IFT at {far['ift']}, ORPO at {far['orpo']} and DPO at {far['dpo']}, and all but "
            "DPO arrive") in docs
    arrive = {name: bool((success(TWOWAY, x)[:, TWOWAY.start] > 0.5).all())
              for name, x in ends.items()}
    assert arrive == {name: name != "dpo" for name in METHODS}
    best = optimal_actions(TWOWAY)
    fine = [move for move in TASK.worse if best[move]]
    assert (len(TASK.worse), len(fine), len({*fine} & {*TASK.best})) == (12, 10, 2)
    assert ("ten of the detour's twelve moves are best in their own cell. Two of these ten are on "
            "the demonstrated path too, and DPO pushes the other eight down") in docs
