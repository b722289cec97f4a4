"""The lake: transitions against gymnasium, values against a linear system, learners side by side
against each alone, estimates against plain loops, and the recorded figures of a hundred lakes."""
import copy
import json
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from made import same

from frozen_lake import planning, record
from frozen_lake import results_table as lake_table
from frozen_lake import temporal_residual as residual
from frozen_lake.lake import MAPS, Lake, make_lake
from frozen_lake.planning import GAMMA, arrows, best_path, optimal, optimal_actions, worse_path
from frozen_lake.policies import Net, Table, habit, start_policy
from frozen_lake.train import METHODS, batch_of, learn, task_of
from nanouft.plumbing.errors import UserError

LAKES = [make_lake(name) for name in MAPS]
TWOWAY = make_lake("twoway5")
TASK = task_of(TWOWAY)
near = partial(same, tol=1e-9)
on_each_lake = pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name)


# ---- the lake ------------------------------------------------------------------------------------
@on_each_lake
def test_a_move_leads_where_gymnasium_leads(lake):
    env = gymnasium.make("FrozenLake-v1", desc=[[*row] for row in lake.rows], is_slippery=False)
    cell, _ = env.reset(seed=0)
    rng = np.random.default_rng(0)
    for action in rng.integers(4, size=300):
        there, reward, falls_or_arrives, too_long, _ = env.step(action)
        assert lake.P[cell, action].argmax() == lake.step[cell, action] == there
        assert lake.P[cell, action].sum() == 1 and lake.R[cell, action] == reward
        assert lake.terminal[there] == falls_or_arrives
        cell = env.reset()[0] if falls_or_arrives or too_long else there
    assert env.spec.max_episode_steps == lake.limit


@pytest.mark.parametrize("text, says", [
    ("", "no map"), ("SFX\nFFG", "row 1: unknown cell 'X'"), ("SFF\nFG", "row 2: 2 cells"),
    ("SFFS\nFFFG", "2 cells S"), ("SHFG\nHHFF", "no path"), ("SG\nFF", "one move"),
    (None, "unknown map")])
def test_a_wrong_map_is_one_clear_line(tmp_path, text, says):
    file = tmp_path / "mine.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=f"^[^\n]*{says}[^\n]*$"):
        make_lake(str(file))


# ---- planners ------------------------------------------------------------------------------------
@on_each_lake
def test_value_iteration_a_linear_system_and_counting_moves_agree(lake):
    V, Q = planning.value_iteration(lake)
    near(planning.policy_value(lake, optimal(lake)), V)     # by a linear system
    near(Q.amax(-1).masked_fill(lake.terminal, 0), V)
    far = {lake.goal: 0}                                # by counting moves: a value is gamma^(n-1)
    for n in range(lake.S):
        far |= {s: n + 1 for s in lake.live if s not in far
                and any(far.get(t) == n for t in lake.step[s].tolist())}
    near(V[lake.live], [GAMMA ** (far[s] - 1) for s in lake.live])
    assert len(best_path(lake)) == far[lake.start]
    near(planning.success(lake, optimal(lake))[lake.live], [1.0] * len(lake.live))


@on_each_lake
def test_where_a_policy_goes_by_itself_is_found_by_stepping(lake):
    """How often it arrives, and before each move the share of each cell among the walks that are
    still on the ice, and the chance of a best move there. Walks are drawn like that, too: 4,000 of
    them are within four standard errors."""
    rng = torch.Generator().manual_seed(0)
    policy = torch.rand(1, lake.S, 4, generator=rng, dtype=torch.float64).softmax(-1)
    right = optimal_actions(lake)
    stands, alone = (count(lake, policy, 9)[0] for count in (
        residual.share_among_standing, residual.best_moves_alone))
    cells, actions = (x[0] for x in planning.walks(lake, policy, 4000))
    at = torch.eye(lake.S, dtype=torch.float64)[lake.start]
    for t in range(lake.limit):
        share = at.masked_fill(lake.terminal, 0) / at[~lake.terminal].sum()
        if t < 9:
            near(stands[t], share)
            near(alone[t], (share[:, None] * policy[0])[right].sum())
            on = actions[:, t] >= 0
            assert torch.equal(lake.step[cells[on, t], actions[on, t]], cells[on, t + 1])
            walked = torch.bincount(cells[on, t], minlength=lake.S) / on.sum()
            assert ((walked - share).abs() <= 4 * (share * (1 - share) / on.sum()).sqrt()).all()
        at = at @ torch.einsum("sa,sat->st", policy[0], lake.P)
    near(planning.success(lake, policy)[0, lake.start], at[lake.goal])


@pytest.mark.parametrize("rows, best, worse", [
    (MAPS["twoway5"], "↓↓↓↓→→→→", "→→→→↓↓←←↓↓→→"),
    (("SFFF", "FHFF", "FHFF", "GFFF"), "↓↓↓", "→→↓↓↓←←"),
    (("SFF", "FFF", "FFG"), "↓↓→→", "→↓↑↓→↓")])      # no detour: a step back and forth
def test_the_worse_path_is_another_way_and_longer(rows, best, worse):
    lake = Lake("mine", rows)
    assert (arrows(best_path(lake)), arrows(worse_path(lake))) == (best, worse)


def test_a_habit_takes_the_detour_in_seventy_of_a_hundred_moves_and_draws_the_others():
    wanted = optimal(TWOWAY)
    for s, a in worse_path(TWOWAY):
        wanted[s] = torch.eye(4)[a]
    near(habit(TWOWAY), 0.7 * wanted + 0.3 / 4)


# ---- learning ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", METHODS)
def test_learners_side_by_side_learn_what_each_learns_alone(name):
    three = Net(TWOWAY, 3)
    together = learn(TASK, three, name, 5)
    for n in range(3):
        one = copy.deepcopy(three)
        one.N = 1
        for p in one.parameters():
            p.data = p.data[n:n + 1]
        near(learn(TASK, one, name, 5)[:, 0], together[:, n])


def test_dpo_compares_the_two_paths_with_where_it_began():
    """Three steps of RMSprop on its loss, written again for one table."""
    policy = start_policy("table", "habit", TWOWAY, 1)
    found = learn(TASK, policy, "dpo", 3, lr=0.02)
    start = policy.table[0].detach()
    table = start.clone().requires_grad_()
    optimizer = torch.optim.RMSprop([table], lr=0.02)

    def logp(path, logits):
        return sum(logits[s].log_softmax(-1)[a] for s, a in path)
    for _ in range(3):
        optimizer.zero_grad()
        best, worse = (logp(path, table) - logp(path, start) for path in (TASK.best, TASK.worse))
        (-torch.nn.functional.logsigmoid(0.1 * (best - worse))).backward()
        optimizer.step()
    near(found[-1, 0], table.detach().softmax(-1))


def test_the_last_record_is_that_of_the_end():
    all_of_them = learn(TASK, Net(TWOWAY, 2), "sft", 7)
    assert torch.equal(learn(TASK, Net(TWOWAY, 2), "sft", 7, every=3), all_of_them[[0, 3, 6, 7]])


def test_a_line_of_the_table_by_hand(monkeypatch):
    """Distances 1, 2, 4: mean and variance are 7/3, so half of the interval is 1.96 sqrt(7) / 3."""
    start, far = Net(TWOWAY, 3), torch.tensor([1.0, 2.0, 4.0])[:, None].expand(3, TWOWAY.S)
    after = torch.stack([optimal(TWOWAY)] * 2 + [torch.full((TWOWAY.S, 4), 0.25)])
    monkeypatch.setattr(lake_table, "learn", lambda *told, **more: after[None])
    monkeypatch.setattr(lake_table, "distance", lambda lake, probs: far)
    said = lake_table.result_cell(TASK, start, "sft")[2].replace("±", "").replace("%", "").split()
    assert said == ["2.333", "1.729", "67"]                 # two of three arrive


def test_means_whose_intervals_overlap_are_tied():
    assert lake_table.in_order({"a": (3.0, 0.5), "b": (1.0, 0.2), "c": (1.3, 0.2), "d": (2.4, 0.3),
                                "e": (9.0, 0.1)}) == "b, c (tied); d, a (tied); e"


# ---- estimates -----------------------------------------------------------------------------------
def test_estimates_are_those_of_a_plain_loop():
    """SFT looks in the expert's cells, IFT also where the own likeliest move would have led. The
    placebo looks in each live cell instead, or flattens SFT's moves. Nothing is mixed into the
    first cell. Here, in tables that begin with a habit, IFT first looks in wrong cells."""
    probs = learn(TASK, start_policy("table", "habit", TWOWAY, 1), "sft", 8, 0.05)[:, 0]
    policy, best, path = Table(TWOWAY, len(probs)), optimal_actions(TWOWAY), TASK.best
    policy.table.data = probs.log()
    share = torch.linspace(0, 1, len(probs)).double()
    sft, ift, random, flat = (residual.best_move_probs(TWOWAY, moves, path) for moves in (
        *(residual.residual(policy, path, lam) for lam in (0, 0.5)),
        *(of(policy, path, share) for of in residual.PLACEBOS.values())))

    def mix(p, q, lam, s):
        both = [x ** (1 - lam) * y ** lam for x, y in zip(p, q)]
        return sum(x for x, right in zip(both, best[s]) if right) / sum(both)
    for t, table in enumerate(probs.tolist()):
        predicted, before = [], None
        for i, (s, _) in enumerate(path):
            cell = s if before is None else int(TWOWAY.step[before, np.argmax(table[before])])
            others, lam = (TWOWAY.live, float(share[t])) if i else ([s], 0)
            near(sft[t, i], mix(table[s], table[s], 0, s))
            near(ift[t, i], mix(table[s], table[cell], 0.5, s))
            near(random[t, i], np.mean([mix(table[s], table[x], lam, s) for x in others]))
            near(flat[t, i], mix(table[s], [1] * 4, lam, s))
            predicted.append(cell)
            before = s
        assert residual.predicted_cells(TWOWAY, probs, path)[t].tolist() == predicted
        assert t or predicted != [s for s, _ in path]


@pytest.mark.parametrize("kind", ["table", "net"])
def test_the_residual_is_what_ift_reads_and_a_placebo_moves_as_much(kind):
    policy, path = start_policy(kind, "habit", TWOWAY, 3), TASK.best
    read = residual.residual(policy, path, METHODS["ift"].lam)
    moves = torch.tensor([a for _, a in path]).expand(3, 1, -1)[..., None]
    batch = batch_of(TASK, "ift", policy.probs())
    METHODS["ift"].forward(policy, batch)
    near(batch.seqs["answer"].logp.detach(), read.log().gather(-1, moves)[:, 0, :, 0].detach())
    sft = residual.residual(policy, path, 0)
    for lam in (0.2, 1):
        wanted = residual.size(residual.residual(policy, path, lam), sft)
        assert (wanted > 0.001).all()
        for name in residual.PLACEBOS:
            same(residual.size(residual.placebo(policy, path, lam, name), sft), wanted, 1e-3)


def test_the_errors_of_the_cells_add_up_to_that_of_sft():
    policy, path = start_policy("table", "habit", TWOWAY, 2), TASK.best
    probs = policy.probs()
    sft = residual.best_move_probs(TWOWAY, residual.residual(policy, path, 0), path).detach()
    true = residual.best_moves_alone(TWOWAY, probs, len(path))
    near(residual.error_by_cell(TWOWAY, probs, path).sum(-1), (sft - true).mean(-1))


def test_the_distance_by_hand():
    lake = Lake("open", ("SF", "FG"))
    policy = torch.full((4, 4), 0.25, dtype=torch.float64)
    near(residual.distance(lake, policy)[1], 0.1875)    # one best move of four
    near(residual.distance(lake, policy)[0], (2 / 16 + 0.25 / 2) / 4)    # two best moves
    assert residual.distance(TWOWAY, optimal(TWOWAY)).abs().max() < 1e-12


# ---- a hundred lakes -----------------------------------------------------------------------------
@pytest.mark.slow
def test_the_kept_figures_of_a_hundred_lakes_are_those_of_today(monkeypatch):
    """Without the placebos, in half a minute; record.py computes the whole in five."""
    monkeypatch.setattr(record, "PLACEBOS", [])
    monkeypatch.setattr(record, "RIVALS", ["SFT"])
    name = "table with a habit"
    kept, found = json.loads(record.HUNDRED.read_text("utf-8"))[name], record.summary_of_lakes(name)
    for part in found.keys() - {"high"}:
        for what in found[part]:
            same(found[part][what], kept[part][what], 2e-5)
    assert found["high"] == kept["high"]
