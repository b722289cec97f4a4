"""Dynamic Fine-Tuning (DFT): SFT that hardly learns the tokens that the model finds very unlikely.

    python -m nanouft.train --objective dft
    Wu et al. 2025, arXiv:2508.05629 (the token-level loss)
    released code: yongliang-wu/DFT at e153181 (fsdp_dft_trainer.py:371)

SFT's gradient is a policy gradient whose reward is 1/pi(token), so the least likely tokens are
"rewarded" most. One factor differs from sft.py: DFT multiplies each token's loss by its probability
p_t, detached, which cancels 1/pi:
    L = -mean sg(p_t) log p_t
Its gradient is that of -mean p_t: a token at p = .001 pulls a thousand times less than under SFT.

Traps: without sg the push on log p becomes (1 + log p) p, which pushes unlikely tokens of the
demonstration DOWN (p below 1/e). -p log p peaks at p = 1/e, so the loss may rise while the model
gets better: watch the metric `nll`.
"""
from torch import Tensor

from nanouft.batch import Batch
from nanouft.objective import Objective


class DFT(Objective):
    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s, n = batch.seqs["answer"], batch.tokens["answer"]
        logp = s.logp.masked_fill(s.mask == 0, 0)       # filled first: 0 * inf would be NaN
        weighted = -logp * logp.detach().exp()          # sg(p) is a weight, not a path for gradient
        return s.sum(weighted).sum() / n, {"nll": -s.sum(logp).sum().detach() / n}
