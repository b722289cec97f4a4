"""The right program of luffy.md, and common mistakes."""
from torch import Tensor

from lessons.behind.tasks.papers import Paper
from nanouft.batch import Batch
from nanouft.objective import GroupSize, Objective, Share
from nanouft.policy_gradient import log_rho


class LUFFY(Objective):
    data = "demos + prompts"
    samples: GroupSize = 4          # answers to each prompt
    gamma: Share = 0.1              # probability at which a demonstrated token is pushed most

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        R, there, shown = (batch.per_row[name].view(-1, self.samples)
                           for name in ("reward", "demo", "demo_reward"))               # (P,K)
        has, demo = there[:, :1], shown[:, :1]
        mean = (R.sum(-1, keepdim=True) + has * demo) / (self.samples + has)
        batch.per_row |= {"advantage": (R - mean).flatten(),
                          "demo_advantage": (there * (demo - mean)).flatten()}
        return batch, {}

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, demo, row = batch.seqs["answer"], batch.seqs["demo"], batch.per_row
        rho, p = log_rho(s).clamp(-20, 20).exp(), demo.logp.exp()
        explored = -s.sum(rho * row["advantage"][:, None]).sum()
        shaped = -demo.sum(p / (p + self.gamma) * row["demo_advantage"][:, None]).sum()
        return (explored + shaped) / (batch.tokens["answer"] + batch.tokens["demo"]), {}


TASKS = {"luffy": Paper(LUFFY,
    {"samples": [2, 3], "gamma": [0.002, 0.1]},
    [("(R.sum(-1, keepdim=True) + has * demo) / (self.samples + has)", "R.mean(-1, keepdim=True)",
      "The demonstration is missing in the mean of its group."),
     ("(self.samples + has)", "(self.samples + 1)", "A prompt without a demonstration "
      "has one answer less in its group."),
     ("(R - mean).flatten()", "((R - mean) / (R.std(-1, keepdim=True) + 1e-4)).flatten()",
      "The advantage is divided by the spread. LUFFY leaves that out."),
     ("(there * (demo - mean)).flatten()", "there.flatten()", "A demonstration's advantage is its "
      "reward minus the group's mean, not 1."),
     ("p / (p + self.gamma)", "p", "The probability is not shaped: f(p) = p / (p + gamma)."),
     ("p / (p + self.gamma)", "demo.logp", "The loss holds f(p), not log p."),
     ("p / (p + self.gamma)", "(p / (p + self.gamma)).detach() * demo.logp",
      "f(p) is differentiated itself. It is no weight of log p."),
     ("p / (p + self.gamma)", "p / (p + self.gamma).detach()", "Gradient should flow through "
      "both p of p / (p + gamma)."),
     ("rho * row", "s.logp * row", "Own answers have the ratio p / old, not log p."),
     ("explored = -", "explored = ", "The sign of your own answers' part is wrong."),
     ('batch.tokens["answer"] + batch.tokens["demo"]', 'batch.tokens["answer"]',
      "The tokens of the demonstrations are missing in Z."),
     ('(batch.tokens["answer"] + batch.tokens["demo"])', '(batch.seqs["answer"].mask.sum() + '
      'batch.seqs["demo"].mask.sum())', "Z is counted over the micro-batch. Take the totals "
      "of the whole step: batch.tokens."),
     ("explored + shaped", "explored", "The demonstrations are missing.")])}
