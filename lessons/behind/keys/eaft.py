"""The right program of eaft.md, and common mistakes."""
import math

import torch
from torch import Tensor

from lessons.behind.tasks.papers import BY_ROW, CONSTANT, OF_PART, SIGN, Paper
from nanouft.batch import Batch
from nanouft.gpt import scatter_at
from nanouft.objective import Objective


class EAFT(Objective):
    top: int = 20               # likeliest tokens whose entropy is taken

    def forward(self, model, batch: Batch) -> None:
        s = batch.seqs["answer"]
        logits = model(s.inputs, want="logits", at=s.positions).float()         # (N,V)
        target = s.targets.flatten()[s.positions]
        logp = logits.log_softmax(-1).gather(1, target[:, None])[:, 0]          # (N,)
        with torch.no_grad():
            few = logits.topk(self.top).values.log_softmax(-1)                  # (N,top)
            entropy = -(few.exp() * few).sum(-1) / math.log(self.top)           # 0 to 1
        s.logp = scatter_at(logp, s.positions, s.mask.shape)
        s.extra["unsure"] = scatter_at(entropy, s.positions, s.mask.shape)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        unsure = s.extra["unsure"]
        return -s.sum(unsure * s.logp).sum() / n, {"unsure": s.sum(unsure).sum().detach() / n}


TASKS = {"eaft": Paper(EAFT,
    {"top": [5, 20]},
    [("with torch.no_grad():", "if True:", CONSTANT),
     (" / math.log(self.top) ", " ", "The entropy is not divided by its largest value, log top."),
     (" / math.log(self.top) ", " / 3.0 ", "The released code rounds log 20 to 3. Here it is "
      "math.log(top), so that another top works too."),
     (" / math.log(self.top) ", " / math.log(logits.shape[-1]) ", "The largest entropy of `top` "
      "tokens is log top, not log V."),
     ("logits.topk(self.top).values.log_softmax(-1)", "logits.log_softmax(-1)", "The entropy is "
      "that of all tokens. Take that of the `top` likeliest."),
     ("logits.topk(self.top).values.log_softmax(-1)",
      "logits.log_softmax(-1).topk(self.top).values", "The probabilities of the `top` tokens "
      "should add up to 1: take the softmax over them alone."),
     ("entropy = -", "entropy = 1 + ", "A token should weigh more where the model is less sure."),
     ("entropy = -(few.exp() * few).sum(-1) / math.log(self.top) ", "entropy = logp.exp() ",
      "This is DFT: its weight is the token's own probability."),
     ("return -s.sum(", "return s.sum(", SIGN),
     ("s.sum(unsure * s.logp).sum() / n", "s.mean(unsure * s.logp).sum() / batch.n", BY_ROW),
     OF_PART])}
