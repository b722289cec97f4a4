"""Odds Ratio Preference Optimization (ORPO): imitate the better answer and prefer it, in one loss.

    python -m nanouft.train --objective orpo
    Hong et al. 2024, arXiv:2403.07691 (Eq. 3-7)
    released code: xfactlab/orpo at 208d2d6

ORPO needs no reference model. Let A be the mean log-prob of an answer's tokens, and p = e^A the
geometric mean of their probabilities. Its odds are p / (1 - p), and their logarithm is
    lo = A - log(1 - exp(A))
The loss imitates `chosen` and raises its odds above those of `rejected`:
    L = NLL(prompt, chosen) - lam log sigmoid(lo_w - lo_l)                              (Eq. 6, 7)
Two things differ from dpo.py: log-odds replace its log-ratios, and imitation instead of a reference
holds the policy back.

The NLL covers prompt AND answer, as in the released code (src/orpo_trainer.py:46) and in TRL
(experimental/orpo/orpo_trainer.py:799). lam is `alpha` in the released code, 1.0 by default
(src/args.py:25), but .1 and .05 in its scripts, and `beta` in TRL, 0.1 (orpo_config.py:91). The
odds are infinite at p = 1, so A is clamped at -1e-6.
Trap: sums instead of means, since e^(a sum) is nearly 0 for all but very short answers.
"""
import torch.nn.functional as F
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.gpt import GPT, log_probs
from nanouft.objective import AtLeast0, Objective
from nanouft.objectives.dpo import log1mexp, pair_metrics


class ORPO(Objective):
    data = "pairs"
    lam: AtLeast0 = 1.0             # weight of the odds ratio beside imitation; TRL's default: 0.1

    def forward(self, model: GPT, batch: Batch) -> None:
        """Log-probs of the answers, and of the chosen row's prompt."""
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        logp = log_probs(model, model(w.inputs), w.targets)
        w.logp = logp.masked_fill(w.not_padding == 0, 0)                    # not w.mask
        l.logp = log_probs(model, model(l.inputs), l.targets, l.positions)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        w, l = batch.seqs["chosen"], batch.seqs["rejected"]
        logp = w.logp.masked_fill(w.not_padding == 0, 0)                    # prompt and answer
        tokens = batch.full_step.seqs["chosen"].not_padding.sum()
        nll = (-logp.sum(-1) / tokens).sum()                                # token mean of the step
        lo_w, lo_l = log_odds(w), log_odds(l)
        align = -F.logsigmoid(lo_w - lo_l).sum() / batch.n                  # Eq. 7, log odds ratio
        metrics = pair_metrics(batch, lo_w, lo_l) | {"nll": nll.detach()}
        return nll + self.lam * align, metrics                              # Eq. 6


def log_odds(s: Seqs) -> Tensor:
    """(B,) log of p / (1 - p), with p the geometric mean probability of the response tokens."""
    A = s.mean(s.logp).clamp_max(-1e-6)
    return A - log1mexp(A)
