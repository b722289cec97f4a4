"""The lake: gymnasium's dynamics, planners that agree, methods against plain loops, the page."""
import json
import math
import re
import shutil
import subprocess

import gymnasium
import numpy as np
import pytest
import torch

from frozen_lake import __main__ as lake_command
from frozen_lake import page
from frozen_lake.estimate import distance, estimate, own_guesses, pushes
from frozen_lake.lake import MAPS, Lake, make_lake
from frozen_lake.learn import METHODS, learn, task_of
from frozen_lake.planning import (
    GAMMA,
    arrows,
    best_path,
    half_random,
    optimal,
    optimal_actions,
    policy_value,
    success,
    uniform,
    value_iteration,
    visits,
    walks,
    worse_path,
)
from frozen_lake.policies import Net, Table, start_policy
from frozen_lake.record import LAMS, UPDATES, record
from nanouft.errors import UserError

LAKES = [make_lake(name, slippery) for name in MAPS for slippery in (False, True)]
TWOWAY = make_lake("twoway5")
TASK = task_of(TWOWAY)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")


def near(found, wanted, tolerance=1e-9):
    found, wanted = (torch.as_tensor(x, dtype=torch.float64) for x in (found, wanted))
    torch.testing.assert_close(found, wanted, atol=tolerance, rtol=0)


def random_policy(lake: Lake) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(lake.S, 4, generator=rng, dtype=torch.float64).softmax(-1)


# ---- the lake ------------------------------------------------------------------------------------
@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name + " slippery" * lake.slippery)
def test_the_tables_are_gymnasiums(lake):
    env = gymnasium.make("FrozenLake-v1", desc=list(lake.rows), is_slippery=lake.slippery)
    for s in range(lake.S):
        for a in range(4):
            row = np.zeros(lake.S)
            for p, t, _, _ in env.unwrapped.P[s][a]:
                row[t] += p
            near(lake.P[s, a], row)
            near(lake.R[s, a], row[lake.goal] * (s != lake.goal))
    assert lake.limit == env.spec.max_episode_steps == 100
    assert lake.live == [s for s, letter in enumerate(lake.letters) if letter in "SF"]


def test_an_action_steps_where_its_arrow_points():
    assert TWOWAY.step[0].tolist() == [0, 5, 1, 0]      # left, down, right, up, at the top left
    assert TWOWAY.step[12].tolist() == [11, 17, 13, 7]
    assert TWOWAY.step[24].tolist() == [24] * 4         # nobody leaves the goal


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
@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name + " slippery" * lake.slippery)
def test_value_iteration_a_linear_system_and_counting_moves_agree(lake):
    V, Q = value_iteration(lake)
    near(policy_value(lake, optimal(lake)), V)      # the best policy's value, by a linear system
    near(Q.amax(-1).masked_fill(lake.terminal, 0), V)
    if not lake.slippery:                               # by counting moves: a value is gamma^(n-1)
        far = {lake.goal: 0}
        for n in range(lake.S):
            far |= {s: n + 1 for s in lake.live if s not in far
                    and any(far.get(t) == n for t in lake.step[s].tolist())}
        near(V[lake.live], [GAMMA ** (far[s] - 1) for s in lake.live])
        assert len(best_path(lake)) == far[lake.start]
        near(success(lake, optimal(lake))[lake.live], [1.0] * len(lake.live))


@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name + " slippery" * lake.slippery)
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
    lake = make_lake("default4", slippery=True)
    cells, actions = walks(lake, half_random(lake)[None], 4000, seed=3)
    arrived = (cells == lake.goal).any(-1).double().mean()
    exact = float(success(lake, half_random(lake))[lake.start])
    assert abs(float(arrived) - exact) < 4 * math.sqrt(exact * (1 - exact) / 4000)
    moved = actions[0] >= 0
    assert (lake.P[cells[0, :, :-1][moved], actions[0][moved], cells[0, :, 1:][moved]] > 0).all()


@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name + " slippery" * lake.slippery)
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
@pytest.mark.parametrize("kind", [Table, Net])
@pytest.mark.parametrize("variant", ["ift", "ift released"])
def test_ift_without_its_parts_is_sft(kind, variant):
    start = kind(TWOWAY, 3)
    sft = learn(TASK, start, "sft", 20).policies
    assert (learn(TASK, start, variant, 20, lam=0, gamma=0).policies == sft).all()
    assert (learn(TASK, start, variant, 20).policies != sft).any()


@pytest.mark.parametrize("name", METHODS)
def test_learners_side_by_side_learn_what_each_learns_alone(name):
    together = learn(TASK, Net(TWOWAY, 3), name, 10)
    alone = [learn(TASK, Net(TWOWAY, 1, seeds=[n]), name, 10) for n in range(3)]
    near(together.policies, torch.cat([one.policies for one in alone], 1))
    near(together.losses, np.mean([one.losses for one in alone], 0))


def plain_loss(name: str, table: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The loss of one table (S,4), written again in plain loops."""
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

    def mean(some):
        return sum(some) / len(some)
    if name == "sft":
        return mean(nll(TASK.best, table))
    if name.startswith("ift"):
        l = nll(TASK.best, table, 0.2)
        w = [sum(0.95 ** (k - t) * l[k] for k in range(t, len(l))) for t in range(len(l))]
        if name == "ift":
            w = [x.detach() for x in w]
        return sum(x * y for x, y in zip(w, l)) / sum(w)
    if name == "dpo":
        best, worse = (sum(nll(path, start)) - sum(nll(path, table))
                       for path in (TASK.best, TASK.worse))
        return -torch.nn.functional.logsigmoid(0.1 * (best - worse))
    p, q = (torch.exp(-mean(nll(path, table))) for path in (TASK.best, TASK.worse))
    odds = torch.log(p / (1 - p)) - torch.log(q / (1 - q))
    return -p.log() - torch.nn.functional.logsigmoid(odds)


@pytest.mark.parametrize("name", METHODS)
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
        near(found.policies[-1, n], table.detach().softmax(-1))


def test_a_table_changes_only_what_it_reads():
    policy = start_policy("table", "habit", TWOWAY, 4)
    changed = {name: (learn(TASK, policy, name, 5).policies[-1] != policy.probs()).any(-1)
               for name in ("sft", "ift", "dpo")}
    path = {s for s, _ in TASK.best}
    guessed = own_guesses(TWOWAY, policy.probs(), TASK.best)
    for n in range(4):
        assert set(changed["sft"][n].nonzero()[:, 0].tolist()) == path
        seen = path | set(guessed[n].tolist()) & set(TWOWAY.live)
        assert path < set(changed["ift"][n].nonzero()[:, 0].tolist()) >= seen
    shared = set(TASK.best) & set(TASK.worse)
    push = pushes(TASK, policy, "dpo")
    assert shared and all((push[:, s] == 0).all() for s, _ in shared)      # it cancels in DPO


KNOWN = {                       # of 0.5.0: digests of policies, losses, distance and success
    "sft": [225.001354, 10.845037, 0.487696, 0.035608],
    "ift": [225.001364, 10.958289, 0.487921, 0.03604],
    "ift released": [224.990091, 7.661819, 0.333969, 1.03053],
    "dpo": [225.078267, 3.545925, 0.813116, 0.002403],
    "orpo": [225.002765, 15.494241, 0.52561, 0.034707]}
STARTS = {("fresh", "table"): 75.001348, ("fresh", "net"): 75.007123,
          ("habit", "table"): 74.982634, ("habit", "net"): 74.964194}


def digest(x) -> float:
    """A number that sees which number stands where."""
    x = torch.as_tensor(x).double().flatten()
    return float((x * torch.linspace(1, 2, len(x), dtype=torch.float64)).sum())


@pytest.mark.parametrize("name", METHODS)
def test_no_number_has_moved_since_version_0_5_0(name):
    start = (Net if name in ("ift released", "dpo") else Table)(TWOWAY, 2)
    trace = learn(TASK, start, name, 6, every=3)
    last = trace.policies[-1]
    near([digest(trace.policies), digest(trace.losses),
          digest(distance(TWOWAY, last)[:, TWOWAY.live].mean(-1)),
          digest(success(TWOWAY, last)[:, TWOWAY.start])], KNOWN[name], 1e-5)


@pytest.mark.parametrize("start, kind", STARTS)
def test_the_starts_have_not_moved(start, kind):
    near(digest(start_policy(kind, start, TWOWAY, 2).probs()), STARTS[start, kind], 1e-5)


# ---- estimates -----------------------------------------------------------------------------------
def test_sfts_estimate_is_the_chance_of_the_walk():
    policy = start_policy("net", "habit", TWOWAY, 3)
    told = estimate(policy, TASK.best).prod(-1)
    _, actions = walks(TWOWAY, policy.probs(), 4_000, seed=1)
    same = (actions[..., :8] == torch.tensor([a for _, a in TASK.best])).all(-1)
    assert ((same.double().mean(-1) - told).abs() < 4 * (told * (1 - told) / 4_000).sqrt()).all()
    assert (estimate(policy, TASK.best, 0.5)[:, 0] == estimate(policy, TASK.best)[:, 0]).all()


def plain_reads(probs: list, name: str, lam: float) -> list[float]:
    """What reads() gives for one policy, in plain loops."""
    read = [0.0] * TWOWAY.S
    for i, (s, _) in enumerate(TASK.best):
        own = s
        if name == "ift" and i:
            before = TASK.best[i - 1][0]
            own = int(TWOWAY.step[before, max(range(4), key=lambda a: probs[before][a])])
        share = lam if name == "ift" else 0.0
        read[s] += 1 - share
        read[own] += share
    for s, _ in TASK.worse if name == "dpo" else ():
        read[s] += 1
    read = [x if TWOWAY.letters[s] in "SF" else 0.0 for s, x in enumerate(read)]
    return [x / sum(read) for x in read]


def test_the_distance_by_hand():
    lake = Lake("open", ("SF", "FG"))
    policy = uniform(lake)
    near(distance(lake, policy)[1], 0.1875)             # one best move of four
    near(distance(lake, policy)[0], (2 / 16 + 0.25 / 2) / 4)    # two best moves
    assert distance(TWOWAY, optimal(TWOWAY)).abs().max() < 1e-12
    assert optimal_actions(lake)[0].tolist() == [False, True, True, False]


# ---- the page ------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return page.write(tmp_path_factory.mktemp("lake"), record(TWOWAY))


def test_the_page_holds_what_a_plain_loop_computes(written):
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"(?i)(src|href)\s*=|https?:|url\(|import\s", text), "it asks for nothing"
    data = json.loads(re.search(r'type="application/json">(.*?)</script>', text, re.S)[1])
    assert len(data["policies"]) == UPDATES + 1
    assert data["down"] == {"habit": UPDATES + 1, "fresh": 0}
    for t, probs in enumerate(data["policies"]):
        near([data["sft"][t]], [[probs[s][a] for s, a in TASK.best]], 1e-4)
        for i, guess in enumerate(data["guesses"][t]):
            before = TASK.best[max(i - 1, 0)][0]
            step = int(TWOWAY.step[before, int(np.argmax(probs[before]))])
            assert guess == (step if i else before)
        for k, lam in enumerate(LAMS):
            for i, (s, a) in enumerate(TASK.best):
                own = probs[data["guesses"][t][i]]
                blend = [p ** (1 - lam) * max(q, 1e-9) ** lam for p, q in zip(probs[s], own)]
                assert abs(data["ift"][k][t][i] - blend[a] / sum(blend)) < 2e-3
    for t in (5, UPDATES):
        table = torch.tensor(data["policies"][t], dtype=torch.float64).log().requires_grad_()
        for name, rows in (("sft", data["sftPushes"]), ("ift released", data["iftPushes"][2])):
            push = -torch.autograd.grad(plain_loss(name, table, table), table)[0]
            assert {s for s, *_ in rows[t]} >= {s for s, a in TASK.best if push[s, a].abs() > 2e-3}
            for s, a, x in rows[t]:
                assert abs(x - float(push[s, a])) < 2e-3
    boards, first = data["boards"], data["policies"][0]
    own = visits(TWOWAY, torch.tensor(first, dtype=torch.float64))
    near(boards["own"], own, 1e-3)
    for name, board in [("sft", boards["sft"]), ("dpo", boards["dpo"]),
                        *(("ift", board) for board in boards["ift"])]:
        lam = LAMS[boards["ift"].index(board)] if name == "ift" else 0.0
        read = plain_reads(first, name, lam)
        near(board["cells"], read, 1e-4)
        assert abs(board["shared"] - sum(map(min, read, own.tolist()))) < 1e-3


def mulberry32(x: int):
    """The page's random numbers."""
    def imul(a, b):
        return (a * b) & 0xffffffff
    while True:
        x = (x + 0x6d2b79f5) & 0xffffffff
        y = imul(x ^ (x >> 15), x | 1)
        y ^= (y + imul(y ^ (y >> 7), y | 61)) & 0xffffffff
        yield ((y ^ (y >> 14)) & 0xffffffff) / 4294967296


@pytest.mark.skipif(not CHROMIUM, reason="no browser")
def test_the_browser_shows_what_was_recorded_and_walks_by_the_policy(written):
    flags = ("--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
             "--force-prefers-reduced-motion --virtual-time-budget=3000 --dump-dom")
    dom = subprocess.run([CHROMIUM, *flags.split(), written.as_uri()], capture_output=True,
                         text=True, timeout=120).stdout.replace("&nbsp;", " ")
    data = record(TWOWAY)
    lam, time = data["shown"]
    draw, arrived = mulberry32(1), 0
    for _ in range(1000):
        s, on = TWOWAY.start, True
        for _, wanted in TASK.best:
            if s not in TWOWAY.live:
                on = False
                continue
            u, a = next(draw), 0
            while a < 3:
                u -= data["policies"][time][s][a]
                if u < 0:
                    break
                a += 1
            on, s = on and a == wanted, data["step"][s][a]
        arrived += on
    sft, ift = (100 * math.prod(x) for x in (data["sft"][time], data["ift"][lam][time]))
    walked = f"and {arrived / 10:.1f} % of 1,000 walks do."
    assert f"SFT says {sft:.1f} %, IFT says {ift:.1f} %, {walked}" in dom
    read = [100 * data["boards"][name]["shared"] for name in ("sft", "dpo")]
    assert f"{read[0]:.0f} % of what SFT reads" in dom and f"for DPO {read[1]:.0f} %" in dom
    down = sum(x < 0 for s, _, x in data["iftPushes"][lam][time] if s in dict(TASK.best))
    assert down and f"IFT as released makes {down} of the 8 moves less likely" in dom
    assert dom.split("</main>")[0].count('<circle class="dot') == 1000


def test_the_command_prints_five_rows_within_80_columns(tmp_path, capsys):
    out = tmp_path / "out"
    lake_command.main(["--seeds", "2", "--updates", "2", "--out", str(out), "--slippery"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"page: {out / 'index.html'}" and (out / "index.html").exists()
    assert sum(line.count("±") == 2 for line in lines) == 5
    assert max(map(len, lines[1:])) <= 80
    assert "slippery ice, this page does not" in (out / "index.html").read_text(encoding="utf-8")


# ---- C5 ------------------------------------------------------------------------------------------
def test_c5_is_judged_from_its_file_and_a_planted_order_changes_it(tmp_path, monkeypatch):
    evidence = pytest.importorskip("lessons.evidence.reads")
    assert [line[1] for line in evidence.lines()] == [
        "does not hold", "undecided", "holds", "holds", "holds"]
    assert "23 do not hold, 1 undecided" in evidence.lines()[0][2]
    packed = dict(np.load(evidence.RESULTS))
    packed["reads"] = packed["reads"][..., [0, 2, 1]]
    monkeypatch.setattr(evidence, "RESULTS", tmp_path / "C5.npz")
    np.savez(evidence.RESULTS, **packed)
    assert [line[1] for line in evidence.read_lines()] == [
        "undecided", "does not hold", "does not hold", "does not hold"]


def test_one_lake_of_c5_is_measured_again(monkeypatch):
    evidence = pytest.importorskip("lessons.evidence.reads")
    monkeypatch.setattr(evidence, "SEEDS", range(107, 108))
    near(evidence.measure()[:, 0], np.load(evidence.RESULTS)["reads"][:, 7], 1e-6)


def test_a_policy_answers_where_it_is_asked():
    """As GPT.forward: log-probs and guesses are 0 outside `at`."""
    policy = start_policy("table", "fresh", TWOWAY, 2)
    cells, actions = torch.tensor([[0, 1], [0, 1]]), torch.tensor([[1, 1], [2, 2]])
    logp = policy(cells, want="logp", targets=actions, at=torch.tensor([0, 3]))
    assert (logp[[0, 1], [0, 1]] < 0).all() and not logp[[0, 1], [1, 0]].any()
