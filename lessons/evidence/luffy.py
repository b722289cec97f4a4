"""LUFFY: the demonstration is one more answer in the group of its prompt (C17).

    python -m nanouft.train --objective lessons/evidence/luffy.py
    Yan et al. 2025, arXiv:2504.14945; released code: ElliottYan/LUFFY at 01f4ae0

From grpo.py three things differ: the demonstration is scored and joins its group, whose mean is
taken away without a division by the spread; the ratio of its tokens to a policy that nobody knows
is shaped, so that unlikely tokens count more; and there is neither a clip nor a KL:
    L = -(1/Z) (sum over own answers of rho_t adv + sum over demonstrations of f(p_t) adv)
    f(p) = p / (p + gamma)
    Z: all these tokens
The released code divides the sum of each micro-batch by the longest answer allowed
(mix_core_alg.py:234) and by the number of micro-batches (mix_actor.py:243), in place of Z: a
constant, which Adam does not see. Its bonus of .001 for entropy (train.sh:59) is left out.
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.data.rows import Row
from nanouft.objective import GroupSize, Objective, Share
from nanouft.objectives.hpt import PartOfPrompts, more_demos
from nanouft.on_policy import log_rho


class LUFFY(Objective):
    data = "demos + prompts"
    samples: GroupSize = 4          # answers to each prompt
    gamma: Share = 0.1              # probability at which a demonstrated token is pushed most
    share: PartOfPrompts = 0.0      # of prompts with a demonstration, at least

    def choose(self, rows: list[Row]) -> list[Row]:
        return more_demos(super().choose(rows), self.share)

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        own, demo = group_advantages(batch, self.samples)
        batch.per_row |= {"advantage": own, "demo_advantage": demo}
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        rho = log_rho(s).clamp(-20, 20).exp()
        explored = -s.sum(rho * batch.per_row["advantage"][:, None]).sum()
        return (explored + shaped(batch, self.gamma)) / all_tokens(batch), {}


def group_advantages(batch: Batch, samples: int) -> tuple[Tensor, Tensor]:
    """(B,) of own answers and of the demonstrations: reward minus the mean of the whole group."""
    R, there, shown = (batch.per_row[name].view(-1, samples)
                       for name in ("reward", "demo", "demo_reward"))               # (P,K)
    has, demo = there[:, :1], shown[:, :1]
    mean = (R.sum(-1, keepdim=True) + has * demo) / (samples + has)
    return (R - mean).flatten(), (there * (demo - mean)).flatten()


def shaped(batch: Batch, gamma: float) -> Tensor:
    """The loss of all tokens of demonstrations, before it is divided by Z."""
    demo = batch.seqs["demo"]
    p = demo.logp.exp()
    return -demo.sum(p / (p + gamma) * batch.per_row["demo_advantage"][:, None]).sum()


def all_tokens(batch: Batch) -> int:
    """Z, of the whole step."""
    return batch.tokens["answer"] + batch.tokens["demo"]
