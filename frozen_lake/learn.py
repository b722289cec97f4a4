"""Learning on a lake: nanouft's objectives, unchanged, with cells as tokens and actions as targets.

    task = task_of(lake, rows=20)       # 20 learners, the best path and a detour
    trace = learn(task, Net(20, lake.S), method("ift"), steps=200)
    trace.policies                      # (checkpoints, 20, S, 4)

A path is an answer without a prompt: `Seqs.inputs` are its cells, `Seqs.targets` its actions.
Each row of a batch is a learner of its own. So `Batch.rows` is 1, the totals are one for each row,
and the loss is a SUM over learners: each gets exactly the gradient of its own loss. RMSprop, the
paper's optimizer, treats each weight alone. So twenty learners side by side learn what each learns
alone, and cost hardly more than one.
Two references learn from the lake itself: "pg", the exact policy gradient, and "reinforce", which
estimates it from 16 episodes.
"""
import copy
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from frozen_lake.demos import Path, gold, loser
from frozen_lake.lake import Lake, Lakes
from frozen_lake.planning import GAMMA, policy_gradient, simulate, visit_shares
from frozen_lake.policies import Policy
from nanouft import loop
from nanouft.errors import UserError
from nanouft.objective import Batch, Objective, Seqs, write_logp
from nanouft.objectives import OBJECTIVES
from nanouft.run.words import choose

LONGEST = 40                # an episode of the learner's own is cut after so many steps
EPISODES = 16               # of each learner, for each update of REINFORCE


# ---- what is learnt from -------------------------------------------------------------------------
@dataclass
class Task:
    """N learners: the lake of each, the path that it imitates, and the one that pairs reject."""
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
    steps = torch.tensor([path + [(0, 0)] * (T - len(path)) for path in paths])  # (N,T,2)
    mask = [[1.0] * len(path) + [0.0] * (T - len(path)) for path in paths]
    on = torch.tensor(mask, dtype=torch.float64)
    return Seqs(steps[..., 0], steps[..., 1], on, on)


def sample_episodes(task: Task, probs: Tensor, episodes: int, seed: int) -> tuple[Seqs, Tensor]:
    """(episodes*N rows: the first episode of each learner, then the second of each ...;
    (episodes*N,) 1 where it arrived). probs: (N,S,4) policies."""
    cells, actions = simulate(task.lakes, probs, episodes, seed, steps=LONGEST)
    goal = task.lakes.at_goal.argmax(-1)[:, None, None]
    arrived = (cells == goal).any(-1).double()  # (N,E)
    T = max(int((actions >= 0).sum(-1).max()), 1)
    cells = cells[..., :-1].transpose(0, 1).flatten(0, 1)[:, :T]  # (E*N,T)
    actions = actions.transpose(0, 1).flatten(0, 1)[:, :T]
    on = (actions >= 0).double()
    return Seqs(cells.clamp_min(0), actions.clamp_min(0), on, on), arrived.T.flatten()


# ---- methods -------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Method:
    """An objective with its hyper-parameters."""
    objective: str  # a name in OBJECTIVES, or pg
    hp: Any = None
    online: bool = False            # pairs reject the learner's own episode, sampled at each update
    sampled: bool = False           # IFT: guesses are sampled from the policy instead of greedy


METHODS: dict[str, tuple[str, dict[str, Any]]] = {  # name: (objective, settings)
    "sft": ("sft", {}),
    "ift": ("ift", {}),
    "dpo": ("dpo", {}),
    "orpo": ("orpo", {}),
    "dpo online": ("dpo", {"online": True}),
    "orpo online": ("orpo", {"online": True}),
    "ift weights only": ("ift", {"lam": 0.0}),
    "ift mixing only": ("ift", {"gamma": 0.0}),
    "ift detached": ("ift", {"detach": True}),
    "ift sampled": ("ift", {"sampled": True}),
    "ift eq21": ("ift", {"variant": "eq21"}),
    "ift eq21_mean1": ("ift", {"variant": "eq21_mean1"}),
    "ift algorithm1": ("ift", {"variant": "algorithm1"}),
    "pg": ("pg", {}),
    "reinforce": ("reinforce", {"baseline": "none", "beta": 0.0}),
}


def method(name: str, lam: float = 0.2, gamma: float = 0.95, beta: float = 0.1,
           orpo_lam: float = 1.0, **hp: Any) -> Method:
    """A method by its name. lam and gamma are IFT's, beta is DPO's, orpo_lam is ORPO's; further
    values go to the objective as they are."""
    objective, settings = METHODS[choose("method", name, METHODS)]
    defaults: dict[str, dict[str, Any]] = {
        "sft": {"reduction": "sequence"},
        "ift": {"lam": lam, "gamma": gamma, "variant": "released"},
        "dpo": {"beta": beta},
        "orpo": {"lam": orpo_lam}}
    hp = {**defaults.get(objective, {}), **settings, **hp}
    online, sampled = hp.pop("online", False), hp.pop("sampled", False)
    return Method(objective, objective_of(objective).hp(**hp), online, sampled)


def exact_forward(policy: Policy, batch: Batch, hp: Any) -> None:
    """Write the (N,S,4) logits of all cells."""
    policy.seen = batch.per_row.extra["visits"]
    batch.per_row.extra["logits"] = policy.all_logits()


def exact_loss(batch: Batch, hp: Any) -> tuple[Tensor, dict]:
    """Its gradient is minus the exact policy gradient of the discounted return."""
    return -(batch.per_row.extra["gradient"] * batch.per_row.extra["logits"]).sum(), {}


EXACT = Objective("policy gradient theorem, Sutton et al. 2000", data="prompts", hp=dict, lr=5e-3,
                  forward=exact_forward, loss=exact_loss)


def objective_of(name: str) -> Objective:
    if name == "orpo":
        return replace(OBJECTIVES[name], forward=write_logp)            # a path has no prompt
    return EXACT if name == "pg" else OBJECTIVES[name]


# ---- batches: a row is a learner -----------------------------------------------------------------
def set_role(batch: Batch, role: str, s: Seqs, start: Tensor) -> None:
    """Add a role to the batch, with its totals and the log-probs of the reference.
    start: (N,S,4) log-probs of the start policy."""
    total: Any = s.mask.sum(-1).clamp_min(1)  # (N,): each row is a step
    batch.tokens[role] = batch.real_tokens[role] = total
    learner = torch.arange(len(s.inputs))[:, None]
    s.ref_logp = start[learner, s.inputs, s.targets].masked_fill(s.mask == 0, 0)
    batch.seqs[role] = s


def batch_of(task: Task, m: Method, start: Tensor) -> Batch:
    """The demonstrations, or the pairs."""
    batch = Batch({}, rows=1)
    if m.objective in ("dpo", "orpo"):
        set_role(batch, "chosen", seqs_of(task.golds), start)
        set_role(batch, "rejected", seqs_of(task.losers), start)
    else:
        set_role(batch, "answer", seqs_of(task.golds), start)
    return batch


def reinforce_batch(task: Task, policy: Policy, seed: int, episodes: int = EPISODES) -> Batch:
    """Own episodes and their returns, for nanouft's REINFORCE without baseline (Williams 1992,
    Machine Learning 8). Arriving after n steps earns gamma^(n-1), anything else 0."""
    s, arrived = sample_episodes(task, policy.probs(), episodes, seed)
    batch = Batch({"answer": s}, rows=episodes)
    batch.per_row.advantage = arrived * GAMMA ** (s.mask.sum(-1) - 1)
    return batch


def exact_batch(task: Task, policy: Policy) -> Batch:
    """The exact policy gradient (N,S,4), and the shares of the visits (N,S) that it averages."""
    probs, batch = policy.probs(), Batch({})
    batch.per_row.extra["gradient"] = policy_gradient(task.lakes, probs)
    batch.per_row.extra["visits"] = visit_shares(task.lakes, probs)
    return batch


@dataclass
class LakeSource:
    """The batch of each update (loop.Source)."""
    task: Task
    m: Method
    policy: Policy
    seed: int
    steps: int
    stride = 1
    stats: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.start = self.policy.probs().log()  # (N,S,4), DPO's reference
        self.demonstrations = batch_of(self.task, self.m, self.start)

    def __call__(self, step: int) -> Batch:
        seed = self.seed * self.steps + step  # other random numbers at every update of every seed
        if self.m.objective == "pg":
            return exact_batch(self.task, self.policy)
        if self.m.objective == "reinforce":
            return reinforce_batch(self.task, self.policy, seed)
        if self.m.online:
            own, _ = sample_episodes(self.task, self.policy.probs(), 1, seed)
            set_role(self.demonstrations, "rejected", own, self.start)
        return replace(self.demonstrations, seed=seed)


# ---- learning ------------------------------------------------------------------------------------
@dataclass
class Trace:
    """What N learners have become, recorded at `steps`."""
    steps: list[int]
    policies: Tensor        # (len(steps), N, S, 4)
    seen: Tensor            # (N,S) shares of the cells in what the loss read, mean over updates
    overlap: Tensor         # (N,) sum_s min(seen, share of the own visits), mean over records
    losses: list[float]     # mean over learners, every update


def learn(task: Task, policy: Policy, m: Method, steps: int = 200, lr: float = 5e-3, seed: int = 0,
          every: int = 1) -> Trace:
    """Train a copy of `policy`; record it at the start and after every `every`-th update."""
    policy = copy.deepcopy(policy)
    policy.step = task.lakes.step
    policy.guess = torch.Generator().manual_seed(seed) if m.sampled else None
    optimizer = torch.optim.RMSprop(policy.parameters(), lr=lr)
    source = LakeSource(task, m, policy, seed, steps)
    at, policies, overlap, losses = [0], [policy.probs()], [], []
    seen = torch.zeros(task.N, policy.S, dtype=torch.float64)
    for step in loop.steps(policy, objective_of(m.objective), m.hp, source, optimizer,
                           range(steps)):
        losses.append(step.sums["loss"].item() / task.N)
        seen = seen + policy.seen / steps
        if step.number % every == 0 or step.number == steps:
            at.append(step.number)
            policies.append(policy.probs())
            visits = visit_shares(task.lakes, policies[-1])
            overlap.append(torch.minimum(policy.seen, visits).sum(-1))
    if not all(torch.isfinite(p).all() for p in policy.parameters()):
        raise UserError(f"{m.objective}: the policy is no longer finite after {steps} updates; "
                        f"lower --lr {lr:g}")
    return Trace(at, torch.stack(policies), seen, torch.stack(overlap).mean(0), losses)
