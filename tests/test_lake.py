"""The lake: gymnasium's dynamics, planners that agree, methods against plain loops, the page."""
import json
import math
import re
from pathlib import Path
from random import Random

import gymnasium
import numpy as np
import pytest
import torch
from browser import Browser

from frozen_lake import __main__ as lake_command
from frozen_lake import page
from frozen_lake.estimate import (
    best_moves,
    best_moves_alone,
    distance,
    estimate,
    pushes,
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
from frozen_lake.record import LAMS, PAGE_NAMES, PRINTED, UPDATES, page_policies, record
from nanouft.errors import UserError

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
@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name)
def test_the_tables_are_gymnasiums(lake):
    env = gymnasium.make("FrozenLake-v1", desc=list(lake.rows), is_slippery=False)
    for s in range(lake.S):
        for a in range(4):
            row = np.zeros(lake.S)
            for p, t, _, _ in env.unwrapped.P[s][a]:
                row[t] += p
            near(lake.P[s, a], row)
            near(lake.R[s, a], row[lake.goal] * (s != lake.goal))
    assert lake.limit == env.spec.max_episode_steps == 100
    assert lake.live == [s for s, letter in enumerate(lake.letters) if letter in "SF"]


@pytest.mark.parametrize("text, says", [
    ("", "no map"), ("SFX\nFFG", "unknown cell 'X'"), ("SFF\nFG", "2 cells"),
    ("SFFS\nFFFG", "2 cells S"), ("SHFG\nHHFF", "no path"), ("SG\nFF", "one move"),
    ("SF\n" * 300, "600 cells"), (None, "unknown map 'none.txt'")])
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


def test_walks_follow_the_policy():
    lake = make_lake("default4")
    half_random = 0.5 * optimal(lake) + 0.125
    cells, actions = walks(lake, half_random[None], 4000, seed=3)
    arrived = (cells == lake.goal).any(-1).double().mean()
    exact = float(success(lake, half_random)[lake.start])
    assert abs(float(arrived) - exact) < 4 * math.sqrt(exact * (1 - exact) / 4000)
    moved = actions[0] >= 0
    assert (lake.P[cells[0, :, :-1][moved], actions[0][moved], cells[0, :, 1:][moved]] > 0).all()


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
    together = learn(TASK, Net(TWOWAY, 3), name, 10)
    alone = [learn(TASK, Net(TWOWAY, 1, seeds=[n]), name, 10) for n in range(3)]
    near(together, torch.cat(alone, 1))


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
def test_losses_and_pushes_are_those_of_a_plain_loop(name):
    policy = start_policy("table", "habit", TWOWAY, 2)
    found = learn(TASK, policy, name, 3)
    push = pushes(TASK, policy, name)
    for n in range(2):
        start = policy.table[n].detach().clone()
        table = start.clone().requires_grad_()
        optimizer = torch.optim.RMSprop([table], lr=5e-3)
        for update in range(3):
            optimizer.zero_grad()
            plain_loss(name, table, start).backward()
            if update == 0:
                near(push[n], -table.grad)
            optimizer.step()
        near(found[-1, n], table.detach().softmax(-1))


@pytest.mark.parametrize("updates, every, kept", [(7, 3, [0, 3, 6, 7]), (6, 3, [0, 3, 6]),
                                                  (2, 5, [0, 2])])
def test_the_last_record_is_that_of_the_end(updates, every, kept):
    all_of_them = learn(TASK, Net(TWOWAY, 2), "sft", updates)
    assert torch.equal(learn(TASK, Net(TWOWAY, 2), "sft", updates, every=every), all_of_them[kept])


# ---- estimates -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name, update, little", [("twoway5", 0, True), ("twoway5", 5, False),
                                                  ("default4", 5, False)])
def test_best_moves_are_those_of_a_loop_of_walks(name, update, little):
    """1,500 walks by themselves, and as many moves in each of the demonstrator's cells and in each
    blend of two cells; within three standard errors."""
    lake, lam, draw = make_lake(name), 0.5, Random(0)
    task, best = task_of(lake), optimal_actions(lake).tolist()
    policies = page_policies(task)
    table = policies.probs()[update].tolist()
    right, many, whole = [0] * len(task.best), [0] * len(task.best), 0
    for _ in range(1_500):
        s, made = lake.start, []
        for i in range(len(task.best)):
            if lake.letters[s] in "SF":
                made.append((s, draw.choices(range(4), table[s])[0]))
                right[i] += best[s][made[-1][1]]
                many[i] += 1
                s = int(lake.step[made[-1]])
        whole += made == task.best
    alone = best_moves_alone(lake, policies.probs(), len(task.best))[update]
    sft, ift = best_moves(policies, task.best)[update], best_moves(policies, task.best, lam)[update]
    for i, (s, _) in enumerate(task.best):
        before = task.best[max(i - 1, 0)][0]
        guess = int(lake.step[before, table[before].index(max(table[before]))]) if i else s
        blend = [p ** (1 - lam) * q ** lam for p, q in zip(table[s], table[guess])]
        for p, row in ((sft[i], table[s]), (ift[i], blend)):
            made = sum(best[s][a] for a in draw.choices(range(4), row, k=1_500))
            assert abs(made / 1_500 - p) <= 3 * (p * (1 - p) / 1_500) ** 0.5
        error = (alone[i] * (1 - alone[i]) / many[i]) ** 0.5
        assert abs(right[i] / many[i] - alone[i]) <= 3 * error, f"move {i + 1}"
    assert (sft.mean() < alone.mean()) == little and (ift != sft).any()
    path = float(estimate(policies, task.best)[update].prod())              # SFT is exact
    assert abs(whole / 1_500 - path) <= 3 * (path * (1 - path) / 1_500) ** 0.5 + 1 / 1_500


def plain_reads(guesses: list[int], name: str, lam: float) -> list[float]:
    """What reads() gives for one policy, in plain loops."""
    read = [0.0] * TWOWAY.S
    for (s, _), guess in zip(TASK.best, guesses):
        read[s] += 1 - lam
        read[guess] += lam
    for s, _ in TASK.worse if name == "dpo" else ():
        read[s] += 1
    read = [x * (letter in "SF") for x, letter in zip(read, TWOWAY.letters)]
    return [x / sum(read) for x in read]


def test_the_distance_by_hand():
    lake = Lake("open", ("SF", "FG"))
    policy = torch.full((4, 4), 0.25, dtype=torch.float64)
    near(distance(lake, policy)[1], 0.1875)             # one best move of four
    near(distance(lake, policy)[0], (2 / 16 + 0.25 / 2) / 4)    # two best moves
    assert distance(TWOWAY, optimal(TWOWAY)).abs().max() < 1e-12
    assert optimal_actions(lake)[0].tolist() == [False, True, True, False]


# ---- the page ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def lakes():
    return [record(make_lake(name)) for name in PAGE_NAMES]


@pytest.fixture(scope="module")
def written(lakes, tmp_path_factory):
    return page.write(tmp_path_factory.mktemp("lake"), lakes)


def test_the_page_holds_what_a_plain_loop_computes(written):
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"(?i)(src|href)\s*=|https?:|url\(|import\s", text), "it asks for nothing"
    assert len(text) < 90_000
    facts = re.search(r'type="application/json">(.*?)</script>', text, re.S)[1]
    data = json.loads(facts)["lakes"][0]
    last = len(data["policies"]) - 1
    for t, probs in enumerate(data["policies"]):
        guesses = data["guesses"][t]
        for i, guess in enumerate(guesses):
            before = TASK.best[max(i - 1, 0)][0]
            step = int(TWOWAY.step[before, int(np.argmax(probs[before]))])
            assert guess == (step if i else before)
        assert any(guess != s for guess, (s, _) in zip(guesses, TASK.best)) == (t < last)
    assert 5 < last < UPDATES
    policies = page_policies(TASK)
    push = pushes(TASK, policies, "ift released")
    for t in (5, last):
        probs, rows = data["policies"][t], data["pushes"][t]
        near(probs, policies.probs()[t], 6e-4)
        wanted = {(s, a) for s, a in TASK.best if push[t, s, a].abs() > 6e-4}
        assert {(s, a) for s, a, _ in rows} >= wanted
        assert all(abs(x - float(push[t, s, a])) < 6e-4 for s, a, x in rows)
        own = visits(TWOWAY, torch.tensor(probs, dtype=torch.float64)).tolist()
        for name, board in zip(("sft", "ift", "dpo"), data["reads"][1:], strict=True):
            read = plain_reads(data["guesses"][t], name, 0.2 * (name == "ift"))
            assert all(abs(x - read[s]) < 6e-3 for s, x in board[t]["cells"])
            assert abs(board[t]["shared"] - sum(map(min, read, own))) < 2e-3
        assert all(abs(x - own[s]) < 7e-3 for s, x in data["reads"][0][t]["cells"])


def shown(text: str) -> list[float]:
    """Every percentage and every number of points in a text."""
    return [float(x) for x in re.findall(r"[\d.]+(?=[ \u00a0](?:%|points))", text)]


def off(one: dict, k: int) -> np.ndarray:
    """(updates,) how far the estimate with LAMS[k] lies above what the policy does by itself."""
    return np.mean(np.subtract(one["chances"][k], one["alone"]), 1)


def test_the_page_says_what_was_computed(written, lakes, tmp_path):
    """Bet, count over all updates, cursor, one move, reads and pushes, in three states."""
    sft = np.concatenate([off(one, 0) for one in lakes])
    low, right, high = (sft < -0.01).sum(), (abs(sft) <= 0.01).sum(), (sft > 0.01).sum()
    with Browser(tmp_path, 300) as b:
        b.open(written, width=390, dark=True)
        b.click("#bet button:last-child")
        assert f"You bet too low. This is so at {low} of the {len(sft)} updates" in b.text("#say")
        for lake, t, lam in ((0, 5, 5), (0, 0, 1), (1, 3, 10)):
            b.choose(f"#time{lake}", str(t))
            b.choose("#lam", str(lam))
            one = lakes[lake]
            ift = np.concatenate([off(x, lam) for x in lakes])
            nearer, farther = (abs(ift) < abs(sft)).sum(), (abs(ift) > abs(sft)).sum()
            said = re.findall(r"(?<= at )\d+", b.text("#say"))
            assert [int(x) for x in said] == [low, low, right, high, nearer, farther]
            gaps = [off(one, k)[t] for k in (0, lam)]
            near(shown(b.text("#now")), 100 * np.abs([np.mean(one["alone"][t]), *gaps]), 0.051)
            assert one["name"] in b.text("#now")
            assert re.findall("high|low", b.text("#now")) == [
                "high" if x > 0 else "low" for x in gaps]
            move = int(b.text("#moveNow")) - 1
            assert one["guesses"][t][move] != one["best"][move][0]
            mixed = [one["chances"][k][t][move] for k in (0, -1, lam)]
            bars = [b.text(f"#mix b:nth-of-type({i})") for i in (1, 2, 3)]
            near(shown("".join(bars)), 100 * np.array(mixed), 0.51)
            read = [100 * board[t]["shared"] for board in one["reads"][1:]]
            near(shown(b.text("#readTitle")), read, 0.51)
            down = sum(x < 0 for s, _, x in one["pushes"][t] if s in dict(one["best"]))
            assert f"makes {down} of the {len(one['best'])} moves less" in b.text("#pushTitle")
        b.choose("#time0", "6")
        assert "nothing changes" in b.text("#mixTitle")
        assert b.js("document.documentElement.scrollWidth <= innerWidth")
        assert not b.errors and not b.requests


def test_before_the_bet_few_words_stand_there_and_no_truth(written, tmp_path):
    """And nothing moves by itself; the blend slides from the true to the guessed cell; the focus
    stays where the visitor put it."""
    words = """(() => { const nodes = document.createTreeWalker($("main"), 4), out = [];
        while (nodes.nextNode()) {
          if (nodes.currentNode.parentElement.checkVisibility()) out.push(nodes.currentNode.data);
        }
        return out.join(" "); })()"""
    with Browser(tmp_path, 300) as b:
        for wide in (1440, 360):
            b.open(written, width=wide, calm=False)
            before = b.js(words)
            assert len([x for x in before.split() if re.search("[a-zλ]", x.lower())]) <= 90
            assert "SFT too" not in b.js("lakes.innerHTML")
            b.js("new Promise((done) => setTimeout(done, 300))")
            assert b.js(words) == before
            assert b.js("document.documentElement.scrollWidth <= innerWidth")
        for press in ("#bet button", "#time1", "#lam", "#move"):
            b.click(press)
            assert b.js(f"document.activeElement === document.querySelector('{press}')"), press
        assert "SFT too low" in b.js("lakes.innerHTML")
        b.choose("#time0", "3")
        at = []
        for share in ("0", "5", "10"):
            b.choose("#lam", share)
            at.append(b.js("$('blend').style.transform"))
        assert at == [f"translate({x}px, {y}px)" for x, y in ((50, 150), (100, 100), (150, 50))]
        assert b.js("""Math.min(...[...document.querySelectorAll('main :not(input)')].map((e) =>
            parseFloat(getComputedStyle(e).fontSize)))""") >= 14 and not b.errors


def test_command_page_and_docs_say_the_same(lakes, tmp_path, capsys):
    lake_command.main(["--seeds", "2", "--updates", "2", "--out", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"page: {tmp_path / 'index.html'}" and (tmp_path / "index.html").exists()
    assert sum(line.count("±") == 2 for line in lines) == 5
    assert max(map(len, lines[1:])) <= 80
    quoted = "\n".join(lines[2:11])
    docs = (Path(__file__).parents[1] / "docs" / "lake.md").read_text(encoding="utf-8")
    assert quoted in docs, "docs/lake.md quotes other figures"
    one, shares = lakes[0], [LAMS.index(lam) for lam in (0, 0.2, 0.5)]
    near(shown("\n".join(lines[2:7])), [100 * np.mean(part[PRINTED]) for part in (
        *(one["chances"][k] for k in shares), one["alone"],
        *(one["paths"][k] for k in shares))], 0.051)
    for k, line in zip(shares, lines[8:11], strict=True):
        near([float(x) for x in re.findall(r"[+-]\d+\.\d", line)], 100 * off(one, k), 0.051)
    read = [f"{100 * x[3]['shared']:.0f} %" for x in one["reads"][1:]]
    sft, ift = (np.concatenate([off(one, k) for one in lakes]) for k in shares[:2])
    for words in (
            f"at {(sft < -0.01).sum()} of the {len(sft)} updates of the three lakes it is too low, "
            f"at {(sft > 0.01).sum()} too high, and at {(abs(sft) <= 0.01).sum()} it is right",
            f"makes {sum(x < 0 for *_, x in lakes[0]['pushes'][3])} of the 8 moves less likely",
            f"is nearer at {(abs(ift) < abs(sft)).sum()} of them and farther off at "
            f"{(abs(ift) > abs(sft)).sum()}."):
        assert words in " ".join(docs.split()), words
    assert "{} of what SFT reads lies where the policy goes, {} for IFT and {} for DPO".format(
        *read) in " ".join(docs.split())


# ---- C5 ------------------------------------------------------------------------------------------
def test_the_verdicts_of_c5_have_not_moved():
    evidence = pytest.importorskip("lessons.evidence.reads")
    moves = [*["holds"] * 5, "does not hold", *["holds"] * 4]       # with a habit, from scratch
    assert [line.verdict for line in evidence.lines()] == [
        "does not hold", "undecided", "holds", "holds", "holds", *moves]
    assert "23 do not hold, 1 undecided" in evidence.lines()[0].figures


def test_a_policy_answers_where_it_is_asked():
    """As GPT.forward: log-probs and guesses are 0 outside `at`."""
    policy = start_policy("table", "fresh", TWOWAY, 2)
    cells, actions = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[1, 1], [2, 2]])
    logp = policy(cells, want="logp", targets=actions, at=torch.tensor([0, 3]))
    assert (logp[[0, 1], [0, 1]] < 0).all() and not logp[[0, 1], [1, 0]].any()
