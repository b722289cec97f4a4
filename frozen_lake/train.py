"""Learning on a lake: nanouft's objectives, unchanged, with cells as tokens and actions as targets.

    task = task_of(lake)                                    # the best path, and a worse one
    learn(task, Net(lake), "ift released", updates=200)     # (records, 20, S, 4)

A path is an answer without a prompt: `Seqs.inputs` are its cells, `Seqs.targets` its actions.
Each row of a batch is a learner of its own, and a whole step as far as the losses know: `n` is
1 and `part_of` is one learner's step. So the loss is a sum over learners, and each of them gets
exactly the gradient of its own loss. RMSprop, the paper's optimizer (Table 4), treats each weight
alone. Learners side by side therefore learn what each learns alone.
"""
import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from frozen_lake.lake import Lake
from frozen_lake.planning import Path, best_path, worse_path
from frozen_lake.policies import Policy
from nanouft.batch import Batch, Seqs
from nanouft.objective import Objective
from nanouft.objectives.dpo import DPO
from nanouft.objectives.ift import IFT
from nanouft.objectives.orpo import ORPO
from nanouft.objectives.sft import SFT
from nanouft.plumbing.errors import one_of
from nanouft.train import steps

METHODS: dict[str, Objective] = {
    "sft": SFT(reduction="sequence"),
    "ift": IFT(),
    "ift released": IFT(variant="released"),
    "dpo": DPO(),
    "orpo": ORPO(),
}


@dataclass
class Task:
    """What is learned from: the path that is imitated, and the one that pairs reject."""
    lake: Lake
    best: Path
    worse: Path


def task_of(lake: Lake) -> Task:
    """The two demonstrations of a lake."""
    return Task(lake, best_path(lake), worse_path(lake))


# ---- batches: a row is a learner -----------------------------------------------------------------
def batch_of(task: Task, name: str, start: Tensor) -> Batch:
    """The demonstration, or the pair. start: (N,S,4) probabilities of the start policy, which is
    DPO's reference."""
    def role(path: Path, N: int) -> Seqs:
        cells, actions = torch.tensor(path).expand(N, -1, -1).permute(2, 0, 1).contiguous()
        on = torch.ones(N, len(path), dtype=torch.float64)
        ref_logp = start.log()[torch.arange(N)[:, None], cells, actions]
        return Seqs(cells, actions, on, on, ref_logp=ref_logp)
    pairs = {"chosen": task.best, "rejected": task.worse}
    paths = pairs if name in ("dpo", "orpo") else {"answer": task.best}
    tokens = {name: len(path) for name, path in paths.items()}
    one = Batch({name: role(path, 1) for name, path in paths.items()}, n=1, tokens=tokens)
    all_learners = {name: role(path, len(start)) for name, path in paths.items()}
    return Batch(all_learners, n=1, tokens=tokens, part_of=one)


# ---- learning ------------------------------------------------------------------------------------
def learn(task: Task, policy: Policy, name: str, updates: int = 200, lr: float = 5e-3,
          every: int = 1, look: Callable[[Policy], Tensor] = Policy.probs) -> Tensor:
    """(records,N,S,4): what N learners are at the start, after every `every`-th update and at the
    end, or what `look` sees of them; `policy` itself stays. name: one of METHODS."""
    policy = copy.deepcopy(policy)
    objective = METHODS[one_of("method", name, METHODS)]
    objective.check()
    objective.setup(policy, seed=0)
    batch = batch_of(task, name, policy.probs())
    optimizer = torch.optim.RMSprop(policy.parameters(), lr=lr)
    records = [look(policy)]
    for step in steps(policy, objective, lambda number: batch, optimizer, range(updates)):
        if step.done % every == 0 or step.done == updates:
            records.append(look(policy))
    return torch.stack(records)
