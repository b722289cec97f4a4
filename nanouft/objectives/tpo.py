"""TPO: three answers to one prompt. Imitate the best one, rank the other two; no reference model.

    python -m nanouft.train --objective tpo                            # sums of log-probs
    python -m nanouft.train --objective tpo_l                          # means, with a margin: TPO-L
    Saeidi et al. 2024, arXiv:2405.16681 and the code released with it; TPO-L's gamma after TRL's TPO trainer, its
    beta after SimPO

In CPO one answer plays two parts: it is imitated, and it has to win. But what should be imitated may be better than
anything a model was caught saying. So there is a third role, `gold`:
    tpo     L = -log sigmoid( beta (S_w - S_l) )         + alpha NLL(gold)        S = summed log-prob
    tpo_l   L = -log sigmoid( beta (A_w - A_l) - gamma ) + alpha NLL(gold)        A = mean log-prob of a token
NLL is the mean over all response tokens of the gold answers of the step. With gold = chosen, tpo is CPO, and tpo_l is
SimPO plus likelihood.

Needs pairs. gold is the row's own answer (a file's `output` beside `chosen` and `rejected`), else `chosen`; so in
NanoWorld, whose chosen answers are right already, tpo is CPO. Sources differ tenfold on beta: .1 in the released
code's defaults (.2 with alpha .9 in its script), .01 in TRL. That code has no TPO-L; TRL's gamma is .5, beta 2 SimPO's.
Another method is called TPO too (preference trees, arXiv:2410.12854).
"""
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from nanouft.shell.config import UserError
from nanouft.data.rows import Example, Row, pairs
from nanouft.objectives import Batch, Objective
from nanouft.objectives.cpo import check_alpha, nll
from nanouft.objectives.dpo import check_beta, pair_metrics
from nanouft.objectives.simpo import simpo_loss


@dataclass
class TPO:
    beta: float = 0.1               # scale of the difference of summed log-probs
    alpha: float = 1.0              # weight of NLL(gold)

    def check(self, given: set[str]) -> None:
        check_beta(self.beta)
        check_alpha(self.alpha)


@dataclass
class TPOL:
    beta: float = 2.0               # scale of the difference of mean log-probs
    gamma: float = 0.5              # margin that the chosen answer should win by, in units of beta x mean log-prob
    alpha: float = 1.0              # weight of NLL(gold)

    def check(self, given: set[str]) -> None:
        check_beta(self.beta)
        check_alpha(self.alpha)
        if self.gamma < 0:
            raise UserError(f"--gamma {self.gamma}: must not be below 0; it is the margin to win by")


def triple_rows(data: list[Row], hp: TPO | TPOL) -> list[Example]:
    """pair_rows with the role "gold": the row's demonstration if it has one, else its chosen answer."""
    out = pairs(data)
    for row, pair in out:
        demo = row.answer if row.score is None and row.label is not False else None
        pair.seqs["gold"] = (row.prompt, demo or row.chosen)
    return [pair for _, pair in out]


def tpo(batch: Batch, hp: TPO) -> tuple[Tensor, dict]:
    r_w, r_l = (hp.beta * s.sum(s.logp) for s in (batch.seqs["chosen"], batch.seqs["rejected"]))
    return add_gold(batch, hp, -F.logsigmoid(r_w - r_l), r_w, r_l)


def tpo_l(batch: Batch, hp: TPOL) -> tuple[Tensor, dict]:
    r_w, r_l = (hp.beta * s.mean(s.logp) for s in (batch.seqs["chosen"], batch.seqs["rejected"]))
    return add_gold(batch, hp, simpo_loss(r_w, r_l, hp.gamma), r_w, r_l)


def add_gold(batch: Batch, hp: TPO | TPOL, each: Tensor, r_w: Tensor, r_l: Tensor) -> tuple[Tensor, dict]:
    gold = nll(batch, "gold")
    return each.sum() / batch.rows + hp.alpha * gold, {**pair_metrics(batch, r_w, r_l, hp.beta),
                                                       "nll_gold": gold.detach()}


PAPER = "Triple Preference Optimization, arXiv:2405.16681"
TPO_OBJECTIVE = Objective(paper=PAPER, rows=triple_rows, loss=tpo, hp=TPO, data="pairs", lr=1e-4)
TPO_L_OBJECTIVE = Objective(paper=f"{PAPER} (TPO-L: mean log-probs, with a margin)",
                            rows=triple_rows, loss=tpo_l, hp=TPOL, data="pairs", lr=2.5e-4)
