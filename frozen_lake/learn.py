"""Learning on a lake: nanouft's objectives, unchanged, with cells as inputs and actions as targets.

    task = task_of(lake, rows=20)                   # 20 learners, the optimal path and a detour
    trace = learn(task, Net(20, lake.S), method("ift"), steps=200)
    trace.policies                                  # (checkpoints, 20, S, 4)

A trajectory is an answer without a prompt: `Seqs.inputs` are the cells, `Seqs.targets` the actions. Every row of a
batch is a learner of its own, so `Batch.rows` is 1 and the totals are one a row: the loss is a SUM over learners, each
gets exactly the gradient of its own loss, and RMSprop (the paper's optimizer) works entry by entry: twenty seeds cost
hardly more than one.
Two references look at the lake itself: "pg", the exact policy gradient, and "reinforce", its estimate from 16 episodes.
"""
import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from frozen_lake.demos import Path, gold, loser
from frozen_lake.lake import Lake, Lakes
from frozen_lake.planning import GAMMA, occupancy, policy_gradient, simulate
from frozen_lake.policies import Policy
from nanouft.errors import UserError, choose
from nanouft.loop import steps as training_steps
from nanouft.objective import Batch, Objective, Seqs
from nanouft.objectives import OBJECTIVES

OWN = 40                    # an own episode (online pairs, REINFORCE) is cut after so many steps
EPISODES = 16               # of every learner, for each step of REINFORCE


# ---- what is learnt from --------------------------------------------------------------------------------------------
@dataclass
class Task:
    """N learners: the lake of each, the path that each imitates, and the one that its pairs reject."""
    lakes: Lakes
    golds: list[Path]
    losers: list[Path]

    @property
    def N(self) -> int:
        return len(self.golds)


def task_of(lake: Lake, rows: int, kind: str = "detour", seed: int = 0) -> Task:
    """`rows` learners on one lake with the same two demonstrations."""
    return Task(Lakes([lake] * rows), [gold(lake, seed)] * rows, [loser(lake, kind, seed)] * rows)


def seqs_of(paths: list[Path]) -> Seqs:
    """Paths as one role of a batch: (N,T) cells, actions and mask, padded on the right."""
    T = max(map(len, paths))
    rows = torch.tensor([path + [(0, 0)] * (T - len(path)) for path in paths])
    mask = torch.tensor([[1.0] * len(path) + [0.0] * (T - len(path)) for path in paths], dtype=torch.float64)
    return Seqs(rows[..., 0], rows[..., 1], mask, mask)


def sampled(task: Task, probs: Tensor, episodes: int, seed: int) -> tuple[Seqs, Tensor]:
    """(own episodes of every learner, all first ones then all second ones ..., (episodes*N,) 1 if it arrived)."""
    cells, actions = simulate(task.lakes, probs, episodes, seed, steps=OWN)
    T = max(int((actions >= 0).sum(-1).max()), 1)
    arrived = (cells == task.lakes.at_goal.argmax(-1)[:, None, None]).any(-1)
    cells, actions = (x.transpose(0, 1).flatten(0, 1)[:, :T] for x in (cells[..., :-1], actions))
    mask = (actions >= 0).double()
    return Seqs(cells.clamp_min(0), actions.clamp_min(0), mask, mask), arrived.T.flatten().double()


# ---- methods --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Method:
    """An objective of nanouft with its hyper-parameters, or one of the two on-policy references."""
    name: str
    objective: str                  # a name in OBJECTIVES, or pg | reinforce
    hp: Any = None
    online: bool = False            # pairs: the loser is an episode of the learner's own, drawn again at each update
    sampled: bool = False           # IFT: guesses are sampled from the policy instead of greedy


METHODS: dict[str, dict[str, Any]] = {
    "sft": dict(objective="sft"), "ift": dict(objective="ift"),
    "dpo": dict(objective="dpo"), "orpo": dict(objective="orpo"),
    "dpo online": dict(objective="dpo", online=True), "orpo online": dict(objective="orpo", online=True),
    "ift weights only": dict(objective="ift", lam=0.0), "ift mixing only": dict(objective="ift", gamma=0.0),
    "ift detached": dict(objective="ift", detach=True), "ift sampled": dict(objective="ift", sampled=True),
    "ift eq21": dict(objective="ift", variant="eq21"), "ift eq21_mean1": dict(objective="ift", variant="eq21_mean1"),
    "ift algorithm1": dict(objective="ift", variant="algorithm1"),
    "pg": dict(objective="pg"), "reinforce": dict(objective="reinforce"),
}


def method(name: str, lam: float = 0.2, gamma: float = 0.95, beta: float = 0.1, orpo_lam: float = 1.0, **hp) -> Method:
    """A method by its name. lam and gamma are IFT's, beta is DPO's; further values go to the objective as they are."""
    fixed = dict(METHODS[choose("method", name, METHODS)])
    objective, online, sample = fixed.pop("objective"), fixed.pop("online", False), fixed.pop("sampled", False)
    own = {"sft": {"reduction": "sequence"}, "ift": {"lam": lam, "gamma": gamma, "variant": "released"},
           "dpo": {"beta": beta}, "orpo": {"lam": orpo_lam, "nll": "response"}}.get(objective)    # a path has no prompt
    made = OBJECTIVES[objective].hp(**{**own, **fixed, **hp}) if own else None
    return Method(name, objective, made, online, sample)


# ---- learning -------------------------------------------------------------------------------------------------------
@dataclass
class Trace:
    """What became of N learners, recorded at `steps`."""
    steps: list[int]
    policies: Tensor                                    # (len(steps), N, S, 4)
    seen: Tensor                                        # (N,S) shares of the cells in what the loss read, a mean
    overlap: Tensor                                     # (N,) sum_s min(seen, share of the own visits), a mean
    losses: list[float] = field(default_factory=list)   # mean over learners, every update


def batch_of(task: Task, m: Method, start: Tensor) -> Batch:
    """The batch of an objective over demonstrations or pairs. `start` (N,S,4): log-probs of the reference."""
    roles = ({"chosen": seqs_of(task.golds), "rejected": seqs_of(task.losers)} if m.objective in ("dpo", "orpo")
             else {"answer": seqs_of(task.golds)})
    batch = Batch(roles, rows=1)
    for role in roles:
        _finish(batch, role, start)
    return batch


def _finish(batch: Batch, role: str, start: Tensor) -> None:
    """Totals of a role, one a row, since each row is a step of its own; and the reference's log-probs as a column."""
    s = batch.seqs[role]
    batch.tokens[role] = batch.attended[role] = s.mask.sum(-1).clamp_min(1)
    s.ref = start[torch.arange(len(s.inputs))[:, None], s.inputs, s.targets].masked_fill(s.mask == 0, 0)


@dataclass
class LakeSource:
    """A source of steps: the demonstrations or pairs of every learner, or their own episodes."""
    task: Task
    m: Method
    policy: Policy
    start: Tensor                       # (N,S,4) log-probs of the reference
    seed: int
    steps: int
    stride = 1
    stats: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        self.batch = Batch({}) if self.m.objective in ON_POLICY else batch_of(self.task, self.m, self.start)

    def __call__(self, step: int) -> Batch:
        seed = self.seed * self.steps + step
        if self.m.online:
            self.batch.seqs["rejected"] = sampled(self.task, self.policy.probs(), 1, seed)[0]
            _finish(self.batch, "rejected", self.start)
        return replace(self.batch, seed=seed)


def learn(task: Task, policy: Policy, m: Method, steps: int = 200, lr: float = 5e-3, seed: int = 0,
          every: int = 1) -> Trace:
    """Train a copy of `policy` and record it after every `every`-th update."""
    policy = copy.deepcopy(policy)
    policy.step, policy.guess = task.lakes.step, torch.Generator().manual_seed(seed) if m.sampled else None
    optimizer = torch.optim.RMSprop(policy.parameters(), lr=lr)
    source = LakeSource(task, m, policy, policy.probs().log(), seed, steps)
    objective, hp = (ON_POLICY[m.objective], task) if m.objective in ON_POLICY else (OBJECTIVES[m.objective], m.hp)
    trace, seen, overlap = Trace([0], [policy.probs()], None, None), torch.zeros(task.N, policy.S).double(), []
    for step in training_steps(policy, objective, hp, source, optimizer, range(steps)):
        seen = seen + policy.seen / steps
        trace.losses.append(step.sums["loss"].item() / task.N)
        if step.number % every == 0 or step.number == steps:
            trace.steps.append(step.number)
            trace.policies.append(policy.probs())
            own = occupancy(task.lakes, trace.policies[-1])
            overlap.append(torch.minimum(policy.seen, own / own.sum(-1, keepdim=True)).sum(-1))
    if not all(torch.isfinite(p).all() for p in policy.parameters()):
        raise UserError(f"{m.objective}: the policy is no longer finite after {steps} updates; lower --lr {lr:g}")
    trace.policies, trace.seen, trace.overlap = torch.stack(trace.policies), seen, torch.stack(overlap).mean(0)
    return trace


# ---- the two on-policy references -----------------------------------------------------------------------------------
def exact_gradient(policy: Policy, batch: Batch, task: Task) -> None:
    """Write the exact policy gradient of the discounted return, by dynamic programming, and the logits that it is of."""
    every = torch.eye(policy.S, dtype=torch.float64).expand(policy.N, -1, -1)
    probs = policy.probs()
    visits = occupancy(task.lakes, probs)
    policy.seen = visits / visits.sum(-1, keepdim=True)
    batch.col.extra |= {"gradient": policy_gradient(task.lakes, probs), "logits": policy.logits(every)}


def exact_gradient_loss(batch: Batch, task: Task) -> tuple[Tensor, dict]:
    """Its gradient is minus the exact policy gradient."""
    return -(batch.col.extra["gradient"] * batch.col.extra["logits"]).sum(), {}


def own_episodes(policy: Policy, batch: Batch, task: Task) -> None:
    """Sample 16 episodes of every learner, and write their log-probs and whether they arrived."""
    s, batch.col.reward = sampled(task, policy.probs(), EPISODES, batch.seed)
    batch.seqs["answer"] = s
    s.logp = policy(s.inputs, want="logp", targets=s.targets, at=s.places)


def reinforce_loss(batch: Batch, task: Task) -> tuple[Tensor, dict]:
    """The same gradient from sampled episodes (Williams 1992): an episode that arrives after n steps has return
    gamma^(n-1), and every step of it is pushed by that much; the others push nothing."""
    s = batch.seqs["answer"]
    reward = batch.col.reward * GAMMA ** (s.mask.sum(-1) - 1)
    return -(s.sum(s.logp) * reward).sum() / EPISODES, {}


ON_POLICY = {
    "pg": Objective("policy gradient theorem, Sutton et al. 1999", data="prompts", hp=Task,
                    loss=exact_gradient_loss, lr=5e-3, forward=exact_gradient),
    "reinforce": Objective("REINFORCE, Williams 1992", data="prompts", hp=Task,
                           loss=reinforce_loss, lr=5e-3, forward=own_episodes)}
