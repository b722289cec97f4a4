"""Frozen Lake, what is known exactly: dynamics, planners, chances, distances, demonstrations."""
import math

import pytest
import torch
from tiny import differs, same

from frozen_lake import demos, planning
from frozen_lake.demos import best_path, ghosts, gold, loser, moves_of_loser
from frozen_lake.lake import MAPS, Lake, Lakes, make_lake, read_map
from frozen_lake.measure import distance, distance_transition, over, regions
from frozen_lake.planning import (
    greedy,
    optimal,
    optimal_actions,
    policy_gradient,
    solve,
    success,
    uniform,
    value_iteration,
)
from lab.lake_study import random_lake
from nanouft.errors import UserError

LAKES = [make_lake(name, slippery) for name in MAPS for slippery in (False, True)]
every_lake = pytest.mark.parametrize("lake", LAKES, ids=lambda m: m.name + "-slippery" * m.slippery)
TWOWAY, CORRIDOR, DEFAULT = make_lake("twoway5"), make_lake("corridor4"), make_lake("default4")
SLIPPERY = make_lake("default4", slippery=True)


def some_policy(lake: Lake, seed: int) -> torch.Tensor:
    return torch.randn(lake.S, 4, generator=torch.Generator().manual_seed(seed),
                       dtype=torch.float64).softmax(-1)


def policy_iteration(lake: Lake) -> tuple[torch.Tensor, torch.Tensor]:
    """(V, policy): evaluate, be greedy, until greedy changes nothing (by more than rounding)."""
    V = solve(lake, uniform(lake))
    while True:
        policy = greedy(planning.backup(lake, V))
        new = solve(lake, policy)
        if (new - V).abs().max() < 1e-13:
            return new, policy
        V = new


# ---- dynamics and planners -----------------------------------------------------------------------
@every_lake
def test_the_tables_are_a_process(lake):
    same(lake.P.sum(-1), torch.ones(lake.S, 4), "the chances of every move add up to 1")
    over_it = lake.terminal.nonzero()[:, 0]
    same(lake.P[over_it, :, over_it], torch.ones(len(over_it), 4),
         "holes and the goal are left no more")
    same(lake.R[over_it], torch.zeros(len(over_it), 4), "and pay nothing more")
    if not lake.slippery:
        same(lake.P.argmax(-1), lake.step,
             "on a lake that is not slippery a move leads where it intends", 0)


@every_lake
def test_three_planners_agree(lake):
    V, Q = value_iteration(lake)
    other, policy = policy_iteration(lake)
    same(other, V, "policy iteration finds value iteration's values", 1e-10)
    same(solve(lake, optimal(lake)), V,
         "the optimal policy's value, by a linear system, is the optimal value", 1e-10)
    same(Q.amax(-1).masked_fill(lake.terminal, 0), V, "V is the best Q", 1e-12)
    assert (optimal_actions(lake) & (policy > 0)).any(-1).all(), \
        "policy iteration chose among the optimal actions"


def test_known_values():
    same(value_iteration(DEFAULT)[0][0], 0.99 ** 5,
         "4x4: six steps, the reward comes with the sixth")
    same(value_iteration(SLIPPERY)[0][0], 0.5420, "4x4 slippery", 5e-5)
    same(success(SLIPPERY, optimal(SLIPPERY), 5000)[0], 14 / 17,
         "slippery: without a limit of steps .8235", 1e-6)
    same(success(SLIPPERY, optimal(SLIPPERY))[0], 0.7402, "within gymnasium's 100 steps: .7402",
         5e-5)
    same(success(TWOWAY, uniform(TWOWAY))[0], 0.0017, "a random walk on twoway5", 5e-5)
    assert DEFAULT.limit == make_lake("default8").limit == 100, \
        "a custom map of any size stops at 100"


def test_the_finite_horizon_is_what_a_simulation_finds():
    """30,000 episodes of gymnasium's table under its own limit, an optimal and a random walker."""
    best = optimal(SLIPPERY)
    for lake, policy in ((SLIPPERY, best), (SLIPPERY, 0.5 * best + 0.125)):
        cells, _ = planning.simulate(lake, policy, 30_000, seed=1)
        found = (cells == lake.goal).any(-1).double().mean().item()
        want = success(lake, policy)[lake.start].item()
        error = math.sqrt(want * (1 - want) / 30_000)
        assert abs(found - want) < 3.5 * error, \
            f"LAW: simulated {found:.4f}, exact {want:.4f} ± {error:.4f}"


@every_lake
def test_visits_are_counted_where_a_move_follows(lake):
    """LAW: the return is the sum of what the visited cells pay, and nobody moves on from G or H."""
    policy = some_policy(lake, 3)
    visits = planning.occupancy(lake, policy)
    same(visits[lake.terminal], torch.zeros(int(lake.terminal.sum())), "none on G and H", 0)
    same((visits * (policy * lake.R).sum(-1)).sum(), solve(lake, policy)[lake.start],
         "sum_s d(s) r(s) is the value of the start")


def test_a_stack_of_lakes_is_each_lake_alone():
    lakes = Lakes([TWOWAY, Lake("open", ("SFFFF", "FFFFF", "FFHFF", "FFFFF", "FFFFG")), TWOWAY])
    policies = torch.stack([some_policy(TWOWAY, i) for i in range(3)])
    for f in (success, solve, planning.occupancy, policy_gradient, planning.transitions):
        together = f(lakes, policies)
        for i, lake in enumerate(lakes.each):
            same(together[i], f(lake, policies[i]),
                 f"{f.__name__} of a stack is that of every lake")
    with pytest.raises(ValueError, match="one size"):
        Lakes([TWOWAY, CORRIDOR])


@pytest.mark.parametrize("lake", [TWOWAY, SLIPPERY], ids=["twoway5", "slippery"])
def test_the_exact_policy_gradient_is_autograd(lake):
    logits = some_policy(lake, 2).log().requires_grad_(True)
    J = solve(lake, logits.softmax(-1))[lake.start]
    want, = torch.autograd.grad(J, logits)
    same(policy_gradient(lake, logits.detach().softmax(-1)), want,
         "d(s) pi(a|s) (Q - V) is dJ/dlogits", 1e-12)
    differs(want, 0 * want, "and it is not 0", by=1e-6)


# ---- distances -----------------------------------------------------------------------------------
@pytest.mark.parametrize("lake", [DEFAULT, SLIPPERY, make_lake("twoway5", True)],
                         ids=["4x4", "slippery", "twoway"])
def test_distance_is_to_the_nearest_optimal_policy(lake):
    """No mixture of optimal actions is nearer than what is claimed, and one of a fine grid comes
    as near."""
    policy, best = some_policy(lake, 4), optimal_actions(lake)
    of_policy, of_rows = distance(lake, policy), distance_transition(lake, policy)
    tied = [s for s in lake.live if best[s].sum() == 2]
    assert tied, "this map has no tie to test"
    for s in tied:
        a, b = best[s].nonzero()[:, 0].tolist()
        x = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
        one_hot = torch.eye(4, dtype=torch.float64)
        q = x * one_hot[a] + (1 - x) * one_hot[b]
        same(((policy[s] - q) ** 2).sum(-1).min() / 4, of_policy[s],
             "policy table: nearest by a grid", 1e-6)
        same((((policy[s] - q) @ lake.P[s]) ** 2).sum(-1).min() / 4, of_rows[s],
             "transition row, by a grid", 1e-6)
    for s in set(lake.live) - set(tied):
        if best[s].sum() == 1:
            same(((policy[s] - best[s].double()) ** 2).sum() / 4, of_policy[s],
                 "no tie: the squared difference")
            same((((policy[s] - best[s].double()) @ lake.P[s]) ** 2).sum() / 4, of_rows[s],
                 "no tie, transition row")


@every_lake
def test_an_optimal_policy_has_distance_0(lake):
    for policy in (optimal(lake), greedy(optimal(lake))):
        same(distance(lake, policy)[lake.live], torch.zeros(len(lake.live)), "optimal: distance 0",
             1e-15)
        same(distance_transition(lake, policy)[lake.live], torch.zeros(len(lake.live)),
             "and in transitions", 1e-12)


def test_regions_share_out_the_live_cells():
    parts = regions(TWOWAY, gold(TWOWAY), loser(TWOWAY))
    assert sorted(sum(parts.values(), [])) == TWOWAY.live
    assert (len(parts["path"]), len(parts["loser"]), len(parts["elsewhere"])) == (8, 9, 0)
    x = torch.arange(25.0, dtype=torch.float64)[None]
    assert over(x, [parts["elsewhere"]]).isnan().all(), "a map without such cells has no mean there"


# ---- demonstrations ------------------------------------------------------------------------------
def test_ghosts_and_blame_of_the_small_maps():
    for lake, want in ((TWOWAY, (17, 12, 9)), (CORRIDOR, (7, 2))):
        told = ghosts(lake, gold(lake))
        counts = len(told), sum(g.right for g in told), sum(g.bump for g in told)
        assert counts[:len(want)] == want
    moves = moves_of_loser(TWOWAY, gold(TWOWAY), loser(TWOWAY, "detour"))
    assert [moves.count(k) for k in ("shared", "optimal", "wrong")] == [2, 8, 2]


@pytest.mark.parametrize("lake", [TWOWAY, CORRIDOR, *map(random_lake, range(12))],
                         ids=lambda m: m.name)
def test_demonstrations_are_what_they_are_called(lake):
    def ends(path) -> int:
        at = lake.start
        for s, a in path:
            assert s == at and not lake.terminal[s], "a path is connected"
            at = int(lake.step[s, a])
        return at
    best = best_path(lake)
    assert ends(best) == lake.goal and all(optimal_actions(lake)[step] for step in best)
    detour = demos.detour(lake)
    assert ends(detour) == lake.goal and len(detour) > len(best), "a detour arrives, later"
    assert ends(demos.fall(lake)) in lake.holes, "a fall ends in a hole"
    dither = demos.dither(lake)
    assert ends(dither) == lake.goal and len(dither) == len(best) + 2, "a ditherer loses two steps"
    assert [step for step in dither if step not in best] != []
    assert moves_of_loser(lake, best, dither).count("shared") == len(dither) - 1, \
        "all but one of its moves are the good ones"


def test_slippery_demonstrations_are_episodes():
    best, late, fall = gold(SLIPPERY), loser(SLIPPERY, "detour"), loser(SLIPPERY, "fall")
    for path in (best, late, fall):
        assert all(SLIPPERY.P[s, a, t] > 0 for (s, a), (t, _) in zip(path, path[1:]))
    assert len(late) > len(best) and all(optimal_actions(SLIPPERY)[step] for step in best)
    assert gold(SLIPPERY, seed=1) != best, "the seed draws the episode"
    with pytest.raises(UserError, match="not slippery"):
        loser(SLIPPERY, "dither")


def test_random_lakes_are_a_function_of_their_seed():
    assert random_lake(3) == random_lake(3) != random_lake(4)
    lakes = [random_lake(s) for s in range(20)]
    assert len(set(lakes)) == 20
    for lake in lakes:
        assert len(best_path(lake)) >= 5
        assert set(lake.live) == {i for i, c in enumerate(lake.letters) if c in "SF"}


# ---- maps from outside ---------------------------------------------------------------------------
@pytest.mark.parametrize("text, says", [
    ("SFF\nFHF\nFFX", "row 3: unknown cell 'X'"),
    ("SFF\nFH\nFFG", "row 2: 2 cells where row 1 has 3"),
    ("SH\nHG", "no path from S to G"), ("FFF\nFFG", "0 cells S"), ("SGG", "2 cells G"),
    ("\n \n", "no map in it"),
    ("S" + "F" * 400 + "G", "402 cells")])
def test_a_bad_map_is_one_line(tmp_path, text, says):
    file = tmp_path / "map.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as e:
        read_map(file)
    assert says in str(e.value) and "map.txt" in str(e.value) and "\n" not in str(e.value)


def test_a_map_from_a_file(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_bytes(b"  SFF\r\n\r\nFHF  \r\nFFG\r\n")
    lake = make_lake(str(file), slippery=True)
    assert lake.rows == ("SFF", "FHF", "FFG")
    assert (lake.name, lake.slippery, lake.height) == ("mine", True, 3)


def test_what_is_no_map(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00S")
    for name, words in (("twoway", "did you mean twoway5"), (tmp_path, "cannot be read"),
                        (tmp_path / "binary", "cannot be read")):
        with pytest.raises(UserError, match=words):
            make_lake(str(name))


def test_cells_that_cannot_reach_the_goal_are_not_live():
    lake = Lake("island", ("SFFG", "HHHH", "FFFF"))
    assert lake.live == [0, 1, 2]
    same(distance(lake, uniform(lake))[8:], [0.0] * 4,
         "where nothing matters every policy is optimal")
