"""SRFT: imitate and explore at once, weighed by how uncertain the model is (C17).

    python -m nanouft.train --objective lessons/evidence/srft.py
    Fu et al. 2025, arXiv:2506.19767; code, since we found none by the authors: mix_actor.py:349 of
    TsinghuaC3I/Unify-Post-Training at ae332f5

From luffy.py two things differ: a demonstration is imitated too, the less the more uncertain the
model is of it; and an own answer has no group: a right one is pushed up, the more the more
uncertain the model was, and any other one down:
    L = -mean sft exp(-H) log p_t - (1/Z) sum f(p_t) adv - (1/Z) sum rho_t a
    a = rl exp(H) of a right answer, -1 of any other
    H: the mean entropy of a row's tokens when it was sampled, in nats
The first two sums are over demonstrations, the third over own answers. Notes on the paper print
exp(-H) for right answers, where this code and the paper's argument have exp(H).
"""
import torch
from torch import Tensor

from lessons.evidence.luffy import all_tokens, group_advantages, shaped
from nanouft.batch import Batch
from nanouft.data.rows import Row
from nanouft.objective import AtLeast0, GroupSize, Objective, Share
from nanouft.objectives.hpt import PartOfPrompts, more_demos
from nanouft.on_policy import log_rho


class SRFT(Objective):
    data = "demos + prompts"
    samples: GroupSize = 4          # answers to each prompt
    sft: AtLeast0 = 0.5             # weight of the demonstrations, at entropy 0
    rl: AtLeast0 = 0.1              # weight of right answers, at entropy 0
    gamma: Share = 0.1              # as in luffy.py
    share: PartOfPrompts = 0.0      # of prompts with a demonstration, at least

    def choose(self, rows: list[Row]) -> list[Row]:
        return more_demos(super().choose(rows), self.share)

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        s, demo, R = batch.seqs["answer"], batch.seqs["demo"], batch.per_row["reward"]
        H, H_demo = s.mean(s.extra["entropy"]), demo.mean(demo.extra["entropy"])
        pushed = torch.where(R >= 1, self.rl * H.exp(), -1.0).to(R)
        batch.per_row |= {"advantage": pushed, "imitate": self.sft * (-H_demo).exp(),
                          "demo_advantage": group_advantages(batch, self.samples)[1]}
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, demo, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row
        rho = log_rho(s).clamp(-20, 20).exp()
        explored = -s.sum(rho * row["advantage"][:, None]).sum()
        imitated = -(row["imitate"] * demo.sum(demo.logp)).sum() / max(1, batch.tokens["demo"])
        return imitated + (explored + shaped(batch, self.gamma)) / all_tokens(batch), {}
