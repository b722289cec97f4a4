"""Dynamic Fine-Tuning (DFT): SFT without the reward that it pays by accident.

    python -m nanouft.train --objective dft                 # NanoWorld demonstrations
    Wu et al. 2025, arXiv:2508.05629, the token-level loss; and the code released with it

SFT's gradient is a policy gradient whose reward is 1/pi(token): a token that the model finds absurd
is "rewarded" most. DFT multiplies each token's loss by the token's own probability p_t, as a
constant, and 1/pi is gone:
    L = -mean sg(p_t) log p_t
Its gradient is that of -mean p_t. A token at p = .001 pulls a thousand times less than under
SFT. What the model does not half believe, it is not taught.

Trap: without sg the push on log p becomes (1 + log p) p, which changes sign at p = 1/e: unlikely
tokens of the demonstration are pushed DOWN (lesson 06c).
Trap: -p log p peaks at p = 1/e, so the loss may rise while the model gets better. The metric `nll`
is the figure to watch.
"""
from dataclasses import dataclass

from torch import Tensor

from nanouft.objective import Batch, Objective


@dataclass
class DFT:
    """No hyper-parameters."""


def loss(batch: Batch, hp: DFT) -> tuple[Tensor, dict]:
    s = batch.seqs["answer"]
    logp = s.logp.masked_fill(s.mask == 0, 0)           # filled first: 0 * inf would be NaN
    paid = -logp * logp.detach().exp()                  # sg(p) is a weight, not a path for gradient
    n = batch.tokens["answer"]
    return s.sum(paid).sum() / n, {"nll": -s.sum(logp).sum().detach() / n}


OBJECTIVE = Objective(
    paper="Dynamic Fine-Tuning, arXiv:2508.05629, token-level loss",
    data="demos", hp=DFT, loss=loss, lr=2.5e-4)
