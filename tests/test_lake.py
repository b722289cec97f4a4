"""The lake: planners that agree, methods and estimates against plain loops."""
import copy
import json
from functools import partial

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


def random_policy(lake: Lake) -> torch.Tensor:
    rng = torch.Generator().manual_seed(0)
    return torch.rand(lake.S, 4, generator=rng, dtype=torch.float64).softmax(-1)


# ---- the lake ------------------------------------------------------------------------------------
@pytest.mark.parametrize("text, says", [
    ("", "no map"), ("SFX\nFFG", "row 1: unknown cell 'X'"), ("SFF\nFG", "row 2: 2 cells"),
    ("SFFS\nFFFG", "2 cells S"), ("SFFG\nFFFG", "2 cells G"), ("SHFG\nHHFF", "no path"),
    ("SG\nFF", "one move"), (None, "unknown map")])
def test_a_wrong_map_is_one_clear_line(tmp_path, text, says):
    file = tmp_path / "mine.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError, match=says) as e:
        make_lake(str(file))
    assert "\n" not in str(e.value)


# ---- three planners agree ------------------------------------------------------------------------
@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name)
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


@pytest.mark.parametrize("lake", LAKES, ids=lambda lake: lake.name)
def test_where_a_policy_goes_by_itself_is_found_by_stepping(lake):
    """Its success, and before each move the share of each cell among those that still
    walk and the chance of a best move there."""
    policy, right = random_policy(lake), optimal_actions(lake)
    T = torch.einsum("sa,sat->st", policy, lake.P)
    stands, alone = (count(lake, policy[None], 9)[0] for count in (
        residual.share_among_standing, residual.best_moves_alone))
    at = torch.eye(lake.S, dtype=torch.float64)[lake.start]
    for t in range(lake.limit):
        on = at.masked_fill(lake.terminal, 0)
        if t < 9:
            near(stands[t], on / on.sum())
            near(alone[t], (on[:, None] * policy)[right].sum() / on.sum())
        at = at @ T
    near(planning.success(lake, policy)[lake.start], at[lake.goal])


def test_walks_go_where_their_policy_goes():
    """Within four standard errors of 4,000 walks, among those that are still on the ice."""
    lake = make_lake("default4")
    policy = random_policy(lake)[None]
    cells, actions = (x[0] for x in planning.walks(lake, policy, 4000))
    for t, share in enumerate(residual.share_among_standing(lake, policy, 9)[0]):
        on = actions[:, t] >= 0
        assert torch.equal(lake.step[cells[on, t], actions[on, t]], cells[on, t + 1])
        walked = torch.bincount(cells[on, t], minlength=lake.S) / on.sum()
        assert ((walked - share).abs() <= 4 * (share * (1 - share) / on.sum()).sqrt()).all()


def test_the_paths_of_twoway5_by_hand():
    assert arrows(best_path(TWOWAY)) == "↓↓↓↓→→→→"
    assert arrows(worse_path(TWOWAY)) == "→→→→↓↓←←↓↓→→"
    ring = Lake("ring", ("SFFF", "FHFF", "FHFF", "GFFF"))
    assert arrows(best_path(ring)) == "↓↓↓" and arrows(worse_path(ring)) == "→→↓↓↓←←"
    assert arrows(best_path(Lake("column", ("S", "F", "G")))) == "↓↓"
    assert arrows(worse_path(Lake("open", ("SFF", "FFF", "FFG")))) == "→↓↑↓→↓"     # no detour: back


def test_a_habit_takes_the_detour_in_seventy_of_a_hundred_moves_and_draws_the_others():
    wanted = optimal(TWOWAY)
    for s, a in worse_path(TWOWAY):
        wanted[s] = torch.eye(4)[a]
    near(habit(TWOWAY), 0.7 * wanted + 0.3 / 4)


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
def half_trained() -> Table:
    """The tables after each of eight updates of one that had a habit."""
    probs = learn(TASK, start_policy("table", "habit", TWOWAY, 1), "sft", 8, 0.05)[:, 0]
    table = Table(TWOWAY, len(probs))
    table.table.data = probs.log()
    return table


def test_estimates_are_those_of_a_plain_loop():
    """SFT looks in the expert's cells, IFT also where the own likeliest move would have led, which
    is a wrong cell before the first update. The placebo looks in each live
    cell instead, or flattens SFT's moves; neither mixes anything into the first cell."""
    policy, best = half_trained(), optimal_actions(TWOWAY)
    probs, path = policy.probs(), TASK.best
    sft, ift = (residual.best_move_probs(TWOWAY, residual.residual(policy, path, lam), path)
                for lam in (0, 0.5))
    share = torch.linspace(0, 1, len(probs)).double()
    random, flat = (residual.best_move_probs(TWOWAY, of(policy, path, share), path)
                    for of in residual.PLACEBOS.values())

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


@pytest.mark.parametrize("lake", LAKES[:2], ids=lambda lake: lake.name)
def test_the_errors_of_the_cells_add_up_to_that_of_sft(lake):
    """In a cell off the path it is the share of its own walks that make a wrong move there."""
    policy, path = start_policy("table", "habit", lake, 2), best_path(lake)
    probs, cells = policy.probs(), [s for s, _ in path]
    error = residual.error_by_cell(lake, probs, path)
    sft = residual.best_move_probs(lake, residual.residual(policy, path, 0), path).mean(-1)
    near(error.sum(-1), (sft - residual.best_moves_alone(lake, probs, len(path)).mean(-1)).detach())
    stands, best = residual.share_among_standing(lake, probs, len(path)), optimal_actions(lake)
    for n in range(2):
        for s in {*range(lake.S)} - {*cells}:
            wrong = sum(float(probs[n, s, a]) for a in range(4) if not best[s, a])
            near(error[n, s], wrong * float(stands[n, :, s].sum()) / len(path))


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


def test_the_hundred_lakes_are_summed_up_as_said(monkeypatch):
    """Two lakes, two policies, by plain loops."""
    monkeypatch.setattr(record, "SEEDS", (1000, 1003))
    monkeypatch.setattr(record, "POLICIES", 2)
    name = "network with a habit"
    found = record.summary_of_lakes(name)
    off, values = [], []                                # (lakes, what, LAMS, updates, N)
    for seed in (1000, 1003):
        one = record.estimates(record.random_lake(seed), name, 2, residual.PLACEBOS)
        values.append({what: x.mean(-1).numpy() for what, x in one.items()})
        off.append({what: (x - one["true"]).mean(-1).numpy() for what, x in one.items()})
    for part, lakes in (("gaps", off), ("values", values)):
        for what, x in found[part].items():
            means = np.mean([one[what] for one in lakes], -1)
            same(torch.tensor(x), means.mean(0), 1e-5)
            half = 1.96 * means.std(0, ddof=1) / 2 ** 0.5
            same(torch.tensor(found[f"{part} half"][what]), half, 1e-5)
    assert found["values"].keys() - found["gaps"].keys() == {"true"}
    for rival in record.RIVALS:
        lead = np.mean([abs(one[rival]) - abs(one["residual"]) for one in off], -1)
        assert found["closer"][rival] == (lead > 1e-6).sum(0).tolist()
        assert found["farther"][rival] == (lead < -1e-6).sum(0).tolist()
        of_lakes = lead.mean(-1)
        half = 1.96 * of_lakes.std(0, ddof=1) / 2 ** 0.5
        same(torch.tensor(found["lead"][rival]), np.stack([of_lakes.mean(0), half], 1), 1e-5)
    assert found["high"] == sum(one["SFT"][0].mean(-1) > 0 for one in off).tolist()


@pytest.mark.slow
def test_the_kept_figures_of_a_hundred_lakes_are_those_of_today(monkeypatch):
    """Without the placebos, in half a minute; record.py computes the whole in five."""
    monkeypatch.setattr(record, "PLACEBOS", [])
    monkeypatch.setattr(record, "RIVALS", ["SFT"])
    name = "table with a habit"
    kept, found = json.loads(record.HUNDRED.read_text("utf-8"))[name], record.summary_of_lakes(name)
    for part in ("values", "values half", "gaps", "gaps half", "closer", "farther", "lead",
                 "lead by move"):
        for what in found[part]:
            same(torch.tensor(found[part][what]), torch.tensor(kept[part][what]), 2e-5)
    assert found["high"] == kept["high"]


def test_the_distance_by_hand():
    lake = Lake("open", ("SF", "FG"))
    policy = torch.full((4, 4), 0.25, dtype=torch.float64)
    near(residual.distance(lake, policy)[1], 0.1875)    # one best move of four
    near(residual.distance(lake, policy)[0], (2 / 16 + 0.25 / 2) / 4)    # two best moves
    assert residual.distance(TWOWAY, optimal(TWOWAY)).abs().max() < 1e-12
    assert optimal_actions(lake)[0].tolist() == [False, True, True, False]
