"""Odds Ratio Preference Optimization: imitate the better answer and prefer it, in one loss without a reference.

    python -m nanouft.train --objective orpo                           # NanoWorld pairs
    Hong et al. 2024, arXiv:2403.07691 (Eq. 3-7) and the code released with it

With A = mean log-prob of an answer's tokens (its probability per token is p = e^A), the odds of saying it are
p / (1 - p), and the loss asks that the odds of `chosen` be higher than those of `rejected`:
    L = NLL(chosen) - lam * log sigmoid(log odds(chosen) - log odds(rejected)),   log odds = A - log(1 - e^A).
What holds the policy back, in place of a reference, is the first term: it keeps imitating. Its push never turns round,
while that of the second fades once the odds are apart.

Needs pairs. Means over tokens, not sums: e^(a sum) would be 0 for any answer of some length. At p = 1 the odds are
infinite, so A is cut at -1e-6. The NLL runs over prompt AND answer, as in both sources (the authors' code and TRL);
--nll response leaves the prompt out. The weight: 1.0 is `alpha` in the authors' code; TRL calls it `beta`, 0.1.
Same letter elsewhere: IFT's lam is a share of the guess, GAE's reaches back in time.
"""
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from nanouft.shell.config import UserError
from nanouft.data.rows import pair_rows
from nanouft.objective import Batch, Objective, Seqs, plain
from nanouft.objectives.dpo import log1mexp, pair_metrics


@dataclass
class ORPO:
    lam: float = 1.0                # weight of the odds ratio beside imitation; TRL's default is 0.1
    nll: Literal["all", "response"] = "all"     # imitate prompt and answer (both sources), or the answer only

    def check(self, given: set[str]) -> None:
        if self.lam < 0:
            raise UserError(f"--lam {self.lam}: must not be below 0 (it would prefer the rejected answer)")


def forward(model, batch: Batch, hp: ORPO) -> None:
    """Log-probs of the answers; with nll "all" those of the chosen row's prompt, too (`attend` instead of `mask`)."""
    if hp.nll == "response":
        return plain(model, batch, hp)
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    w.logp = model(w.inputs, want="logp", targets=w.targets, at=w.attend.bool())
    l.logp = model(l.inputs, want="logp", targets=l.targets, at=l.mask.bool())


def log_odds(s: Seqs) -> Tensor:
    """(B,) log of p / (1 - p), with p the geometric mean probability of the response tokens."""
    A = s.mean(s.logp).clamp_max(-1e-6)
    return A - log1mexp(A)


def loss(batch: Batch, hp: ORPO) -> tuple[Tensor, dict]:
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    read, total = (w.attend, batch.attended) if hp.nll == "all" else (w.mask, batch.tokens)
    nll = (-w.logp.masked_fill(read == 0, 0).sum(-1) / total["chosen"]).sum()        # token mean over the whole step
    lo_w, lo_l = log_odds(w), log_odds(l)
    align = -F.logsigmoid(lo_w - lo_l).sum() / batch.rows                            # Eq. 7, the log odds ratio
    return nll + hp.lam * align, {**pair_metrics(batch, lo_w, lo_l), "nll": nll.detach()}               # Eq. 6


OBJECTIVE = Objective(
    paper="Odds Ratio Preference Optimization, arXiv:2403.07691, Eq. 6-7",
    data="pairs", rows=pair_rows, hp=ORPO, loss=loss, lr=2.5e-4, forward=forward)
