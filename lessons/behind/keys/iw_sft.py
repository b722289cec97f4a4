"""The right program of iw_sft.md, and common mistakes."""
from torch import Tensor

from lessons.behind.tasks.papers import SIGN, Paper
from nanouft.batch import Batch
from nanouft.objective import Objective


class IWSFT(Objective):
    reference = True
    temp: float = 1.0           # sharpness of the weights; 0 is SFT
    cap: float = 16.0           # the largest weight

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        lead = s.mean(s.logp.detach() - s.ref_logp)[:, None]                    # (B,1) nats
        weight = (self.temp * lead).exp().clamp(max=self.cap)
        return -s.sum(weight * s.logp).sum() / n, {"weight": weight.sum() / batch.n}


CONSTANT = "Gradient flows through the weights, which should be constants."
OF_PART = ('n = batch.seqs["answer"], batch.tokens["answer"]',
           'n = batch.seqs["answer"], batch.seqs["answer"].mask.sum()', "The tokens are those of "
           "the micro-batch. Divide by those of the whole step: batch.tokens.")
BY_ROW = ("The mean is that over the rows. Take that over all response tokens of the step: "
          "batch.tokens.")
NO_CAP = ("The weights are not capped, or too late: the cap is the largest weight, not its largest "
          "logarithm.")
TASKS = {"iw_sft": Paper(IWSFT,
    {"temp": [2.0, 0.5, 1.0], "cap": [1.1, 16.0]},
    [("s.logp.detach() - s.ref_logp", "s.logp - s.ref_logp", CONSTANT),
     ("s.logp.detach() - s.ref_logp", "s.ref_logp - s.logp.detach()", "The weight is upside down: "
      "a row weighs more if it has become more likely."),
     ("lead = s.mean(", "lead = s.sum(", "The weight is that of a mean over the answer's tokens, "
      "not of their sum."),
     ("self.temp * lead", "lead", "temp is missing."),
     ("(self.temp * lead).exp()", "(self.temp * lead.exp())", "temp belongs inside exp."),
     (".clamp(max=self.cap)", "", NO_CAP),
     ("(self.temp * lead).exp().clamp(max=self.cap)",
      "(self.temp * lead).clamp(max=self.cap).exp()", NO_CAP),
     (".clamp(max=self.cap)", ".clamp(1 / self.cap, self.cap)", "The weights have no lower bound."),
     ("s.mean(s.logp.detach() - s.ref_logp)[:, None]", "(s.logp.detach() - s.ref_logp)",
      "An answer has one weight. Yours differ from token to token."),
     ("return -s", "return s", SIGN),
     ("s.sum(weight * s.logp).sum() / n", "s.mean(weight * s.logp).sum() / batch.n", BY_ROW),
     ("sum(weight * s.logp)", "sum(weight / weight.mean() * s.logp)", "The weights are divided by "
      "their mean. They are taken as they are."),
     OF_PART])}
