"""SPPO's loss: move each answer by as many nats as it wins, and no further.

    python -m nanouft.train --objective sppo                # NanoWorld pairs
    Wu et al. 2024, arXiv:2405.00675 (self-play preference optimisation)
    TRL's loss_type "sppo_hard"

In a game between policies, a step of multiplicative weights makes an answer likelier. By how much?
By eta (P - 1/2), where P is the probability that the answer wins against the policy. As a
regression, for one answer y:
    ( log pi(y|x)/pi_ref(y|x) - eta (P - 1/2) )^2
With hard labels the chosen answer wins always and the rejected one never. With
eta = 1 / beta:
    L = (r_w - 1/(2 beta))^2 + (r_l + 1/(2 beta))^2
IPO asks the same of the difference r_w - r_l alone. Here both sides have their own aim, so the two
cannot fall together:
    1/2 IPO(beta/2, sums) + 1/2 (r_w + r_l)^2
It is 1/(2 beta^2) at the reference (50 at beta .1: large, and no mistake).

beta .1 is TRL's.
Left out: the self-play itself. It draws new answers from the policy in every round, and estimates P
by a judge among several. These are offline pairs and one round.
Same letter elsewhere: a larger beta asks for less here, as in IPO.
"""
from dataclasses import dataclass

from torch import Tensor

from nanouft.objective import REF, Batch, Objective
from nanouft.objectives.dpo import check_beta, log_ratio, pair_metrics


@dataclass
class SPPO:
    beta: float = 0.1               # each side's aim is 1 / (2 beta) nats; larger = stay closer
    check = check_beta


def loss(batch: Batch, hp: SPPO) -> tuple[Tensor, dict]:
    a = log_ratio(batch.seqs["chosen"])
    b = log_ratio(batch.seqs["rejected"])
    aim = 1 / (2 * hp.beta)
    each = (a - aim) ** 2 + (b + aim) ** 2
    return each.sum() / batch.rows, pair_metrics(batch, a, b)


OBJECTIVE = Objective(
    paper="Self-Play Preference Optimization, arXiv:2405.00675 (its loss, hard labels)",
    data="pairs", hp=SPPO, loss=loss, lr=1e-4, columns=(REF,))
