"""The right program of srft.md, and common mistakes."""
import torch
from torch import Tensor

from lessons.behind.keys.luffy import LUFFY
from lessons.behind.tasks.papers import SIGN, Paper
from nanouft.batch import Batch
from nanouft.objective import AtLeast0, GroupSize, Objective, Share
from nanouft.policy_gradient import log_rho


class SRFT(Objective):
    data = "demos + prompts"
    samples: GroupSize = 4          # answers to each prompt
    sft: AtLeast0 = 0.5             # weight of the demonstrations, at entropy 0
    rl: AtLeast0 = 0.1              # weight of right answers, at entropy 0
    gamma: Share = 0.1              # as in luffy.py

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        LUFFY(samples=self.samples).credit(batch)           # the advantage of a demonstration
        s, demo, R = batch.seqs["answer"], batch.seqs["demo"], batch.per_row["reward"]
        H, H_demo = s.mean(s.extra["entropy"]), demo.mean(demo.extra["entropy"])
        batch.per_row |= {"advantage": torch.where(R >= 1, self.rl * H.exp(), -1.0).to(R),
                          "imitate": self.sft * (-H_demo).exp()}
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, demo, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row
        rho, p = log_rho(s).clamp(-20, 20).exp(), demo.logp.exp()
        explored = -s.sum(rho * row["advantage"][:, None]).sum()
        shaped = -demo.sum(p / (p + self.gamma) * row["demo_advantage"][:, None]).sum()
        imitated = -(row["imitate"] * demo.sum(demo.logp)).sum() / max(1, batch.tokens["demo"])
        return imitated + (explored + shaped) / sum(batch.tokens.values()), {}


TASKS = {"srft": Paper(SRFT,
    {"samples": [2, 3], "gamma": [0.002, 0.1], "sft": [0.2, 0.5], "rl": [0.1, 0.3]},
    [("self.rl * H.exp()", "self.rl * (-H).exp()", "A right answer weighs more where the model was "
      "uncertain: exp(H). Notes on the paper print exp(-H)."),
     ("self.rl * H.exp()", "self.rl", "The entropy is missing in the weight of right answers."),
     ("-1.0).to(R)", "0.0).to(R)", "An answer that is not right is pushed down, with -1."),
     ("R >= 1", "R == 1", "A reward of more than 1 is a right answer as well."),
     ("R >= 1", "R > 0", "Only a reward of 1 is a right answer. A half right one is pushed down."),
     ("self.sft * (-H_demo).exp()", "self.sft * H_demo.exp()", "A demonstration weighs less where "
      "the model is uncertain: exp(-H)."),
     ("self.sft * (-H_demo).exp()", "torch.full_like(R, self.sft)", "The entropy is missing in the "
      "weight of demonstrations."),
     ('s.mean(s.extra["entropy"])', 's.sum(s.extra["entropy"])', "H is the mean entropy of an "
      "answer's tokens, not their sum."),
     ("demo.sum(demo.logp)", "demo.mean(demo.logp)", "Imitation is a mean over all demonstrated "
      "tokens, so take the sum of each row first."),
     ('max(1, batch.tokens["demo"])', "sum(batch.tokens.values())", "Imitation is divided by "
      "the tokens of the demonstrations alone."),
     ("imitated = -", "imitated = ", SIGN),
     ("explored = -", "explored = ", "The sign of your own answers' part is wrong."),
     ("explored + shaped", "explored", "The middle part is missing: f(p) times "
      "the advantage of the demonstration."),
     ("imitated + (", "(", "Imitation is missing.")])}
