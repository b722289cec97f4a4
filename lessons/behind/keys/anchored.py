"""The right program of anchored.md, and common mistakes."""
import copy

import torch
from torch import Tensor

from lessons.behind.tasks.papers import BY_ROW, OF_PART, SIGN, Paper
from nanouft.batch import Batch
from nanouft.gpt import scatter_at
from nanouft.objective import Objective


class AnchoredSFT(Objective):
    lam: float = 0.05           # weight of the KL to the initial model

    def setup(self, model, seed: int) -> None:
        self.start = copy.deepcopy(model).requires_grad_(False)

    def forward(self, model, batch: Batch) -> None:
        s = batch.seqs["answer"]
        logp = model(s.inputs, want="logits", at=s.positions).float().log_softmax(-1)   # (N,V)
        with torch.no_grad():
            start = self.start.to(s.inputs.device)
            ref = start(s.inputs, want="logits", at=s.positions).float().log_softmax(-1)
        kl = (ref.exp() * (ref - logp)).sum(-1)                                         # (N,)
        target = s.targets.flatten()[s.positions]
        s.logp = scatter_at(logp.gather(1, target[:, None])[:, 0], s.positions, s.mask.shape)
        s.extra["kl"] = scatter_at(kl, s.positions, s.mask.shape)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        imitate = -s.logp * s.logp.detach().exp()                                       # DFT
        kl = s.extra["kl"]
        each = imitate + self.lam * kl
        return s.sum(each).sum() / n, {"kl_start": s.sum(kl).sum().detach() / n}


TASKS = {"anchored": Paper(AnchoredSFT,
    {"lam": [2.0, 0.05, 0.0]},
    [("s.logp.detach().exp()", "s.logp.exp()", "Gradient flows through DFT's weight p, which "
      "should be a constant."),
     (" * s.logp.detach().exp() ", " ", "DFT's weight p is missing: this is SFT with a KL."),
     ("ref.exp() * (ref - logp)", "logp.exp() * (logp - ref)", "This is KL(model || start). The "
      "released code takes KL(start || model)."),
     ("(ref.exp() * (ref - logp)).sum(-1)", "(ref.exp() * (logp - ref)).sum(-1)", "The sign of the "
      "KL is wrong: it drives the model away from the start."),
     ("kl = (ref.exp() * (ref - logp)).sum(-1) ",
      "kl = (ref - logp).gather(1, s.targets.flatten()[s.positions][:, None])[:, 0] ",
      "The KL is a sum over all tokens of the vocabulary, not the log-ratio of the target alone."),
     ("copy.deepcopy(model).requires_grad_(False)", "model", "There is no KL. Is the initial model "
      "the one that is trained? Copy it in `setup`."),
     ("self.lam * kl", "kl", "The KL is not multiplied by lam."),
     ("imitate = -", "imitate = ", SIGN),
     ("return s.sum(each).sum() / n", "return s.mean(each).sum() / batch.n", BY_ROW),
     OF_PART])}
