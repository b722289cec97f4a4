"""Frozen Lake: habits, losers and overlaps, worked out by hand.

    python -m pytest tests/lake/test_lake_by_hand.py        a few seconds
"""
import torch
from tiny import same

from frozen_lake import demos
from frozen_lake.demos import gold, loser
from frozen_lake.lake import make_lake
from frozen_lake.learn import learn, method, task_of
from frozen_lake.planning import occupancy, optimal
from frozen_lake.policies import Table, habit

TWOWAY, SLIPPERY = make_lake("twoway5"), make_lake("default4", slippery=True)


def test_the_habits_by_hand():
    """premix: half best, half at random. presub: 70 % best but for the detour's moves, 30 % at
    random."""
    best, s = optimal(TWOWAY), TWOWAY.start
    n = int((best[s] > 0).sum())
    want = torch.where(best[s] > 0, 0.5 / n + 0.125, 0.125)
    same(habit(TWOWAY, "premix")[s], want, "half of the moves are the best ones, half are random")
    for cell, action in demos.detour(TWOWAY):
        want = torch.full((4,), 0.3 / 4, dtype=torch.float64)
        want[action] += 0.7
        same(habit(TWOWAY, "presub")[cell], want, "70 % follow the detour wherever it passes")
    for start in ("premix", "presub"):
        same(habit(TWOWAY, start).sum(-1), torch.ones(TWOWAY.S), "chances sum to 1")


def test_on_ice_the_loser_that_arrives_is_longer_than_gold():
    lake = make_lake("corridor4", slippery=True)
    for seed in range(15):
        best, worse = gold(lake, seed), loser(lake, "detour", seed)
        assert len(worse) > len(best), "LAW: of two that arrive, the later one loses"
    assert loser(lake, "fall") != loser(lake, "detour")


def test_the_walker_on_ice_errs_in_half_of_its_moves(monkeypatch):
    asked, episode = [], demos._episode
    monkeypatch.setattr(demos, "_episode", lambda lake, policy, *rest: asked.append(policy)
                        or episode(lake, policy, *rest))
    loser(SLIPPERY, "detour")
    same(asked[-1], 0.5 * optimal(SLIPPERY) + 0.5 / 4, "half optimal, half uniform")


def test_overlap_by_hand():
    """Share of the cells that a loss reads which the policy visits, too: sum of the smaller of two
    distributions."""
    task = task_of(TWOWAY, 2)
    policy = Table(2, TWOWAY.S, 0.2)
    trace = learn(task, policy, method("sft"), steps=1, every=1)
    visits = occupancy(task.lakes, trace.policies[1])
    visits = visits / visits.sum(-1, keepdim=True)
    read = torch.zeros(2, TWOWAY.S, dtype=torch.float64)
    for cell, _ in gold(TWOWAY):
        read[:, cell] += 1 / len(gold(TWOWAY))
    same(trace.overlap, torch.minimum(read, visits).sum(-1), "both sides sum to 1")
    assert (trace.overlap < 1).all()


def test_what_the_exact_gradient_reads_by_hand():
    """Its loss reads every cell as often as the policy visits it: before the only step, the start
    policy."""
    task, policy = task_of(TWOWAY, 2), Table(2, TWOWAY.S, 0.2)
    trace = learn(task, policy, method("pg"), steps=1, every=1)
    visits = [occupancy(task.lakes, p) for p in trace.policies]
    first, last = (v / v.sum(-1, keepdim=True) for v in visits)
    same(trace.seen, first, "shares of the visits")
    same(trace.overlap, torch.minimum(first, last).sum(-1),
         "with those of the policy after the step")
