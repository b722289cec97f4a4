"""Frozen Lake, what learning does: nanouft's objectives on cells and actions, and the mechanisms
behind claim C5."""
import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from tiny import differs, same

import frozen_lake.learn as learning
from frozen_lake.demos import detour, gold, loser, moves_of_loser
from frozen_lake.lake import Lakes, make_lake
from frozen_lake.learn import METHODS, Task, batch_of, learn, method, sample_episodes, task_of
from frozen_lake.measure import measures, used
from frozen_lake.planning import GAMMA, backup, draw, greedy, optimal, simulate, solve, success
from frozen_lake.policies import Net, Table, habit, pretrain
from lab.lake_study import random_lake
from nanouft.errors import UserError
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.ift import IFT

TWOWAY = make_lake("twoway5")
GOLD, DETOUR = gold(TWOWAY), loser(TWOWAY, "detour")
FIVE = task_of(TWOWAY, 5)
PATH = [s for s, _ in GOLD]
# The learners of these share random numbers.
SHARED_STREAM = ("reinforce", "dpo online", "orpo online", "ift sampled")


def final(task, policy, m, steps: int = 30) -> torch.Tensor:
    return learn(task, policy, m, steps=steps, every=steps).policies[-1]


def soft_optimal(lake, beta: float) -> torch.Tensor:
    """(S,4) the best policy under E[return] - beta KL(policy || uniform), step by step
    (arXiv:2305.18290, Eq. 4): pi(a|s) = exp(Q(s,a) / beta) / 4 Z(s), V = beta log Z."""
    V, last = torch.zeros(lake.S, dtype=torch.float64), None
    while last is None or (V - last).abs().max() >= 1e-14:
        score = backup(lake, V, 1.0) / beta - math.log(4)
        last, V = V, (beta * score.logsumexp(-1)).masked_fill(lake.terminal, 0)
    return score.softmax(-1)


def moved_rows(before: torch.Tensor, after: torch.Tensor) -> set[int]:
    """Cells whose row of a table is not bit-identical, of any learner."""
    return set((before != after).any(-1).any(0).nonzero()[:, 0].tolist())


def set_table(probs: torch.Tensor, rows: int = 1) -> Table:
    policy = Table(rows, len(probs))
    policy.table.data = probs.log().expand(rows, -1, -1).clone()
    return policy


# ---- learners ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [n for n in METHODS if n not in SHARED_STREAM])
def test_learners_do_not_disturb_each_other(name):
    lakes = [random_lake(i) for i in range(3)]
    task = Task(Lakes(lakes), [gold(m) for m in lakes], [loser(m) for m in lakes])
    for make in (lambda n, seeds: Net(n, 25, seeds=seeds),
                 lambda n, seeds: Table(n, 25, 0.2, seeds)):
        together = final(task, make(3, [0, 1, 2]), method(name), steps=10)
        for i, lake in enumerate(lakes):
            its_own = Task(Lakes([lake]), task.golds[i:i + 1], task.losers[i:i + 1])
            alone = final(its_own, make(1, [i]), method(name), steps=10)
            same(together[i], alone[0], f"{name}: learner {i} of three learns what it learns alone",
                 1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_learning_repeats_and_leaves_the_start_alone(name):
    policy = set_table(0.8 * optimal(TWOWAY) + 0.05, 5) if name == "reinforce" else Net(5, TWOWAY.S)
    before = policy.probs()
    a, b = (learn(FIVE, policy, method(name), steps=4, every=2) for _ in range(2))
    same(a.policies, b.policies, f"{name}: the same seed learns the same", 0)
    same(policy.probs(), before, "the start policy is not changed", 0)
    same(a.policies[0], before, "checkpoint 0 is the start", 0)
    assert a.steps == [0, 2, 4] and len(a.losses) == 4
    same(a.seen.sum(-1), torch.ones(5), f"{name}: what the loss read, as shares of cells")
    differs(a.policies[-1], before, f"{name}: something was learnt", by=1e-3)


def test_it_is_nanoufts_loss_that_learns(monkeypatch):
    """A sign flipped in the registry turns the lake's learners round, too."""
    for name in ("sft", "ift", "dpo", "orpo"):
        want = final(FIVE, Table(5, TWOWAY.S), method(name), steps=1)
        o = OBJECTIVES[name]
        monkeypatch.setitem(OBJECTIVES, name,
                            replace(o, loss=lambda b, hp, o=o: (-o.loss(b, hp)[0], {})))
        got = final(FIVE, Table(5, TWOWAY.S), method(name), steps=1)
        monkeypatch.undo()
        s, a = GOLD[0]
        assert want[0, s, a] > 0.25 > got[0, s, a], name


def test_the_lake_answers_like_a_gpt():
    policy, at = Net(5, TWOWAY.S), torch.arange(40).view(5, 8)[:, :5].flatten()
    policy.step = FIVE.lakes.step
    s = batch_of(FIVE, method("sft"), policy.probs().log()).seqs["answer"]
    logp = policy(s.inputs, want="logp", targets=s.targets, at=at)
    probs, n = policy.probs(), torch.arange(5)[:, None]
    same(logp[:, :5].exp(), probs[n, s.inputs, s.targets][:, :5],
         "log-probs are those of the table of the policy")
    assert (logp[:, 5:] == 0).all()
    blend = 0.3 * policy(s.inputs, want="embeds") + 0.7 * policy(s.targets, want="embeds")
    same(policy(embeds=policy(s.inputs, want="embeds"), want="logits"), policy(s.inputs),
         "one-hot in is the cell")
    assert blend.shape == (5, 8, 25) and not torch.allclose(policy(embeds=blend), policy(s.inputs))
    guess = policy(s.inputs, want="argmax", at=at)
    same(guess[:, :5], TWOWAY.step[s.inputs, probs[n, s.inputs].argmax(-1)][:, :5],
         "the guess is the cell that the greedy action intends", 0)
    twice = policy(torch.cat([s.inputs, s.inputs]), want="logp",
                   targets=torch.cat([s.targets, s.targets]))
    same(twice[:5], twice[5:], "row r belongs to learner r modulo N", 0)


# ---- IFT -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("start", ["fresh", "presub"])
@pytest.mark.parametrize("kind", [lambda: Table(5, TWOWAY.S, 0.2), lambda: Net(5, TWOWAY.S)],
                         ids=["table", "net"])
def test_ift_without_its_parts_is_sft(kind, start):
    policy = kind()
    pretrain(policy, FIVE.lakes, start)
    want = final(FIVE, policy, method("sft"))
    same(final(FIVE, policy, method("ift", lam=0.0, gamma=0.0)), want,
         "IFT(lam 0, gamma 0) is sequence-mean SFT", 0)
    differs(final(FIVE, policy, method("ift")), want, "and the released IFT is not", by=1e-4)


def test_sft_leaves_cells_off_the_path_bit_identical():
    policy = Table(5, TWOWAY.S, 0.2)
    assert moved_rows(policy.probs(), final(FIVE, policy, method("sft"))) == set(PATH), \
        "LAW: a table of SFT changes on the demonstrator's cells only"


def test_a_ghost_is_told_the_demonstrators_move():
    """A table's ghost is the cell that the learner's own greedy move led to; before a wall, the
    cell it was made in."""
    policy, task, lam = Table(20, TWOWAY.S, 0.2), task_of(TWOWAY, 20), 0.2
    policy.step, m = task.lakes.step, method("ift", lam=lam, gamma=0.0)
    batch = batch_of(task, m, policy.probs().log())
    OBJECTIVES["ift"].forward(policy, batch, m.hp)
    OBJECTIVES["ift"].loss(batch, m.hp)[0].backward()
    table, wish = policy.table.detach(), policy.probs().argmax(-1)
    want = torch.zeros(20, TWOWAY.S, 4, dtype=torch.float64)
    for n in range(20):
        for i, (s, a) in enumerate(GOLD):
            before = GOLD[i - 1][0]
            ghost = int(TWOWAY.step[before, wish[n, before]]) if i else s
            blend = (1 - lam) * table[n, s] + lam * table[n, ghost]
            push = (blend.softmax(-1) - torch.eye(4, dtype=torch.float64)[a]) / len(GOLD)
            want[n, s] += (1 - lam) * push
            want[n, ghost] += lam * push
    same(policy.table.grad, want,
         "(1 - lam) of the push on the true cell, lam of it on the ghost, to the same move")
    assert set((want != 0).any(-1).any(0).nonzero()[:, 0].tolist()) > set(PATH), \
        "some ghosts stand beside the path"


def test_the_published_forms_are_different_learners():
    table = Table(5, TWOWAY.S, 0.2)
    pretrain(table, FIVE.lakes, "presub")
    names = ("ift", "ift detached", "ift weights only", "ift mixing only", "ift eq21",
             "ift algorithm1", "ift sampled")
    ends = {name: final(FIVE, table, method(name)) for name in names}
    for a, b in combinations(names, 2):
        differs(ends[a], ends[b], f"{a} and {b} learn something else", by=1e-6)


# ---- DPO and ORPO --------------------------------------------------------------------------------
def test_dpo_does_not_move_what_both_paths_share():
    policy = Table(5, TWOWAY.S, 0.2)
    after = final(FIVE, policy, method("dpo"))
    kinds = moves_of_loser(TWOWAY, GOLD, DETOUR)
    shared = {s for (s, _), kind in zip(DETOUR, kinds) if kind == "shared"}
    moved = moved_rows(policy.probs(), after)
    assert shared == {22, 23} and not shared & moved
    assert moved == (set(PATH) | {s for s, _ in DETOUR}) - shared, \
        "and every other cell of either path moves"


def test_the_soft_optimal_policy_is_the_minimum_of_soft_dpo():
    """With p = sigmoid(R_w - R_l), as Bradley-Terry says it, and beta the temperature."""
    beta, p = 0.7, 1 / (1 + math.exp(-1.0))         # gold pays 1, the fall 0
    policy = set_table(soft_optimal(TWOWAY, beta))
    m = method("dpo", beta=beta, label_smoothing=1 - p)
    task = Task(Lakes([TWOWAY]), [GOLD], [loser(TWOWAY, "fall")])
    policy.step = task.lakes.step
    batch = batch_of(task, m, Table(1, TWOWAY.S).probs().log())
    OBJECTIVES["dpo"].forward(policy, batch, m.hp)
    loss, metrics = OBJECTIVES["dpo"].loss(batch, m.hp)
    same(metrics["margin"], 1.0,
         "its log-ratio margin, times beta, is the difference of the returns", 1e-11)
    loss.backward()
    same(policy.table.grad, torch.zeros_like(policy.table), "and the gradient there is 0", 1e-11)


def test_online_pairs_reject_own_episodes(monkeypatch):
    task = task_of(TWOWAY, 3)
    policy = Net(3, TWOWAY.S)
    seqs, arrived = sample_episodes(task, policy.probs(), 2, seed=0)
    assert seqs.inputs.shape[0] == 6 and set(arrived.tolist()) <= {0.0, 1.0}
    on = seqs.mask > 0
    for row in range(6):
        cells, actions = seqs.inputs[row][on[row]].tolist(), seqs.targets[row][on[row]].tolist()
        assert cells[0] == TWOWAY.start
        assert all(int(TWOWAY.step[s, a]) == t for s, a, t in zip(cells, actions, cells[1:]))
    asked = []
    monkeypatch.setattr(learning, "sample_episodes", lambda task, probs, *how: asked.append(probs)
                        or sample_episodes(task, probs, *how))
    trace = learn(task, policy, method("orpo online"), steps=3, every=1)
    for probs, now in zip(asked, trace.policies, strict=False):
        same(probs, now, "every update draws from the policy as it is now", 0)
    differs(asked[2], asked[0], "which is no longer the start", by=1e-3)
    perfect = set_table(0.999999 * greedy(optimal(TWOWAY)) + 0.00000025, 3)
    after = final(task, perfect, method("dpo online"), steps=5)
    same(after, perfect.probs(),
         "an own episode that is the demonstration cancels: nothing to learn", 1e-9)


# ---- on-policy references ------------------------------------------------------------------------
def test_the_exact_gradient_step_is_the_gradient_of_the_return():
    policy = Table(5, TWOWAY.S, 1.0)
    batch = learning.exact_batch(FIVE, policy)
    learning.EXACT.forward(policy, batch, {})
    learning.EXACT.loss(batch, {})[0].backward()
    logits = policy.table.detach().clone().requires_grad_(True)
    J = solve(TWOWAY, logits.softmax(-1))[:, TWOWAY.start].sum()
    same(policy.table.grad, -torch.autograd.grad(J, logits)[0], "-dJ/dlogits, of every learner",
         1e-12)


def test_every_update_has_random_numbers_of_its_own():
    for name in ("reinforce", "orpo online"):
        policy = set_table(0.8 * optimal(TWOWAY) + 0.05, 5)
        losses = [x for seed in (0, 1)
                  for x in learn(FIVE, policy, method(name), steps=4, lr=0.0, seed=seed).losses]
        assert len(set(losses)) == 8, \
            f"LAW: {name}: the same policy, other episodes, at every update of every seed"


def test_an_episode_that_arrives_after_n_steps_is_paid_gamma_to_the_n_minus_1():
    lake = make_lake("corridor4")
    task, policy = task_of(lake, 2), set_table(0.5 * optimal(lake) + 0.125, 2)
    batch = learning.reinforce_batch(task, policy, seed=0, episodes=3)
    reinforce = method("reinforce")
    OBJECTIVES["reinforce"].forward(policy, batch, reinforce.hp)
    OBJECTIVES["reinforce"].loss(batch, reinforce.hp)[0].backward()
    s, arrived = sample_episodes(task, policy.probs(), 3, seed=0)
    want = torch.zeros(2, lake.S, 4, dtype=torch.float64)
    for row, (cells, moves, on) in enumerate(zip(s.inputs, s.targets, s.mask > 0)):
        there = int(lake.step[cells[on][-1], moves[on][-1]]) == lake.goal
        for cell, move in zip(cells[on], moves[on]):
            push = torch.nn.functional.one_hot(move, 4) - policy.probs()[0, cell]
            want[row % 2, cell] -= there * GAMMA ** (int(on.sum()) - 1) * push / 3
    same(policy.table.grad, want, "the mean over each learner's episodes of return x grad log pi",
         1e-12)
    assert 0 < arrived.sum() < 6, "an estimate of nothing shows nothing"


def test_no_random_number_draws_a_move_of_no_chance(monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size, **kw: torch.zeros(*size, dtype=torch.float64))
    assert draw(torch.tensor([[0.0, 0.3, 0.7, 0.0]]), None).tolist() == [1]


# ---- starts and measures -------------------------------------------------------------------------
def test_what_a_start_has_learnt():
    """The habits themselves, by hand: test_lake_by_hand.py."""
    assert success(TWOWAY, greedy(habit(TWOWAY, "presub")))[TWOWAY.start] == 1
    policy, task = Net(20, TWOWAY.S), task_of(TWOWAY, 20)
    pretrain(policy, task.lakes, "presub")
    wish = policy.probs().argmax(-1)
    set_out = detour(TWOWAY)[0][1]
    assert (wish[:, TWOWAY.start] == set_out).double().mean() > 0.8, \
        "after it, most learners set out on the detour"
    differs(policy.probs()[0], policy.probs()[1], "every learner has imitated episodes of its own",
            by=1e-3)
    with pytest.raises(UserError, match="no detour"):
        pretrain(Net(1, 16), Lakes([make_lake("default4")]), "presub")


def test_measures_of_known_policies():
    task = task_of(TWOWAY, 1)
    found = measures(task, optimal(TWOWAY)[None])
    for name in ("distance", "distance_transition", "path", "loser"):
        same(found[name], [0.0], f"the optimal policy: {name} 0")
    for name in ("success", "drop", "drop_greedy"):
        same(found[name], [1.0], f"the optimal policy: {name} 1")
    assert 0.8 < found["noise"] < 0.9
    bad = measures(task, torch.full((1, TWOWAY.S, 4), 0.25, dtype=torch.float64))
    assert bad["path"] == pytest.approx(0.1875) and bad["drop_greedy"] < 0.2


def test_cells_used():
    trace = learn(FIVE, Table(5, TWOWAY.S, 0.2), method("sft"), steps=50, every=10)
    found = used(FIVE, trace)
    same(found["direct"], [8.0] * 5, "SFT reads the 8 cells of the path")
    pairs = used(FIVE, learn(FIVE, Table(5, TWOWAY.S, 0.2), method("orpo"), steps=50, every=10))
    same(pairs["direct"], [17.0] * 5, "a pair reads both paths: all 17")
    own = used(FIVE, learn(FIVE, Table(5, TWOWAY.S, 0.2), method("pg"), steps=10, every=10))
    assert (own["overlap"] > 0.9).all(), "the policy gradient reads the learner's own cells"


def test_padding_is_no_cell_that_was_read():
    lakes = [random_lake(i) for i in range(6)]
    task = Task(Lakes(lakes), [gold(m) for m in lakes], [loser(m) for m in lakes])
    assert len({len(g) for g in task.golds}) > 1
    seen = learn(task, Table(6, 25), method("sft"), steps=2).seen
    for row, path in zip(seen, task.golds):
        want = torch.zeros(25, dtype=torch.float64)
        want[[s for s, _ in path]] = 1 / len(path)
        same(row, want, "SFT reads every cell of its path equally, and no other")


def test_the_drop_test_is_exact():
    policy = Net(5, TWOWAY.S).probs()
    want = []
    for p in policy:
        cells = [simulate(TWOWAY, greedy(p), 1, start=s)[0][0] for s in TWOWAY.live]
        want.append(sum((c == TWOWAY.goal).any().item() for c in cells) / len(TWOWAY.live))
    same(measures(FIVE, policy)["drop_greedy"], want,
         "the share of cells from which the greedy walker arrives")


def test_methods_are_named():
    with pytest.raises(UserError, match="did you mean"):
        method("dpo onlin")
    assert method("ift", lam=0.5, gamma=0.1).hp == IFT(lam=0.5, gamma=0.1, variant="released")
    assert method("orpo", orpo_lam=0.3).hp.lam == 0.3 and method("dpo", beta=2.0).hp.beta == 2.0
    assert method("ift weights only").hp.lam == 0 and method("ift mixing only").hp.gamma == 0
