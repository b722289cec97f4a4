"""Intuitive Fine-Tuning (IFT): SFT that reads the model's own guesses and looks ahead.

    python -m nanouft.train --objective ift
    Hua et al., arXiv:2405.11870v3
    released code: TsinghuaC3I/Intuitive-Fine-Tuning at 03adb93

Like its parent sft.py (--reduction sequence), IFT learns from right answers alone. Two things
differ.

1. What the model reads (temporal residual, Eq. 17; `forward`). At each position of the answer, the
   embedding of the right token is mixed with that of the model's greedy guess, as in the paper's
   Algorithm 1. No gradient flows into either of the two, as in the released code (trainers.py:264):
       s_i = (1 - lam) E(x_i) + lam E(argmax pi(. | x_<i))
   So the model practises going on after its own guesses, and not only after the right tokens.
   E is the embedding by the step's own weights: the released code copies it from the policy anew
   after every step (trainers.py:786). Only the output side moves it, where the two share
   their weights (our bases, SmolLM2); else nothing does.
2. How much each token counts (dynamic relation propagation; `weights`): its own loss plus the
   discounted losses of the tokens after it, divided by the mean of these sums over the answer:
       l_t = -log p_t
       p_t: by the model that reads the blend s_i
       v_t = sum_{k>=t} gamma^(k-t) l_k
       w_t = v_t / mean_t v_t
   Either the weights are constants (sg, the stop-gradient), a form of this project, or gradient
   flows through them, as in the released code (trainers.py:585):
       --variant detached      L = mean_t sg(w_t) l_t
       --variant released      L = mean_t w_t l_t
   But if gradient flows, the loss can fall when an easy token after a hard one, such as <|end|>,
   becomes LESS likely. Then the model may not learn to stop, or may unlearn it. So constants are
   the default here (docs/results/ift.md compares the two). lam, gamma and these weights are those
   of the release: a constant .2, .95, type loss, side left, norm L1 (config/loss/ift.yaml). Its
   optimizer is not ours: RMSprop at 5e-7, cosine, 512 rows a step (commands/run_mistral_ift.sh).
   The paper prints other formulas, in which t counts the N tokens of the answer from 1:
       --variant algorithm1    L = sum_t gamma^(N - t) (sum_{k>=t} l_k) l_t
       --variant eq21          L = sum_t t l_t
       --variant eq21_mean1    L = mean_t t l_t / mean_t t
   Under eq21 the weights of an answer grow with its length; those of eq21_mean1 have a mean of 1,
   as in the first two forms, so that rates can be compared.

It costs one more forward than SFT. gamma = 0 switches the weights off (w_t = 1), as in the released
code (trainers.py:367), although by the formula alone w_t would then be proportional to l_t. With
lam = 0 as well, IFT is SFT averaged over answers, except that the token embedding learns from the
output side only.
"""
from typing import Literal

import torch
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.gpt import GPT
from nanouft.objective import Objective, Share

Variant = Literal["detached", "released", "algorithm1", "eq21", "eq21_mean1"]
BLOCK = 256         # tokens that one matrix discounts: of all T at once it would have T^2 numbers


class IFT(Objective):
    variant: Variant = "detached"   # which weights the tokens of an answer get
    lam: Share = 0.2                # share of the model's own guess in what it reads; 0 = none
    gamma: Share = 0.95  # how much the losses of later tokens count in a weight; 0 = all weights 1

    def forward(self, model: GPT, batch: Batch) -> None:
        s = batch.seqs["answer"]
        at = s.positions
        with torch.no_grad():                               # E: of today's weights
            embeds = model(s.inputs, want="embeds")                 # (B,T,C)
            if self.lam > 0:
                argmax = model(embeds=embeds, want="argmax", at=at)
                guess = own_guess(s.inputs, s.mask, argmax)
                own = model(guess, want="embeds")
                embeds = (1 - self.lam) * embeds + self.lam * own               # Eq. 17
        s.logp = model(embeds=embeds, want="logp", targets=s.targets, at=at)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        nll = (-s.logp).masked_fill(s.mask == 0, 0)         # filled first: 0 * inf would be NaN
        weighted = nll * weights(nll, s, self.variant, self.gamma)
        each = s.sum(weighted) if self.variant in ("algorithm1", "eq21") else s.mean(weighted)
        mixed = s.sum(nll).sum().detach() / batch.tokens["answer"]  # blended states: above SFT's
        return each.sum() / batch.n, {"nll_mixed": mixed}

    def __str__(self) -> str:
        forms = {"detached": "(detached weights)", "released": "as released"}
        return f"{self.name} {forms.get(self.variant, f'({self.variant})')}"


# ---- 1. the temporal residual --------------------------------------------------------------------
def own_guess(inputs: Tensor, mask: Tensor, argmax: Tensor) -> Tensor:
    """(B,T) ids: the model's guess FOR position i, made AT position i-1; on the prompt the true id.
    argmax[:, i] is the guess for the token after i, so it is shifted by one. Position i holds a
    response token exactly if the target of i-1 is one: mask[:, i-1] == 1. (In a padded row this
    also holds for the last <|end|>. No loss follows it, so that does not matter.)
    """
    guess = inputs.clone()
    guess[:, 1:] = torch.where(mask[:, :-1] == 1, argmax[:, :-1], inputs[:, 1:])
    return guess


# ---- 2. dynamic relation propagation -------------------------------------------------------------
def future_sum(x: Tensor, gamma: float) -> Tensor:
    """(B,T) -> (B,T): v_t = sum_{k>=t} gamma^(k-t) x_k, by triangular matrices D[k,t].
    Masked positions count, as in the release: the discount runs on through a user's turn."""
    t = torch.arange(min(x.shape[1], BLOCK), device=x.device)
    wide = torch.float32 if x.device.type == "mps" else torch.float64     # TF32 would round it
    tokens_later = t[:, None] - t                                   # (n,n): k - t
    D = torch.where(tokens_later >= 0, float(gamma) ** tokens_later.clamp_min(0).to(wide), 0)
    sums: list[Tensor] = []
    for block in reversed(x.to(wide).split(BLOCK, dim=1)):          # (B,n), the last one first
        n = block.shape[1]
        v = block @ D[:n, :n]
        if sums:        # v_t = sum_{t<=k<n} gamma^(k-t) x_k + gamma^(n-t) v_n
            v = v + float(gamma) ** (n - t).to(wide) * sums[-1][:, :1]
        sums.append(v)
    return torch.cat(sums[::-1], dim=1).to(x.dtype)


def weights(nll: Tensor, s: Seqs, variant: str, gamma: float) -> Tensor:
    """(B,T) weight of each response token; 0 elsewhere. nll is 0 off the mask."""
    m = s.mask.to(nll.dtype)
    n = m.sum(-1, keepdim=True)                                 # N
    rank = m.cumsum(-1)                                         # t = 1..N, over response tokens
    if variant == "eq21":                                       # token t is counted t times
        return rank * m
    if variant == "eq21_mean1":                                 # the mean of 1..N is (N + 1) / 2
        return rank * m / ((n + 1) / 2)
    if variant == "algorithm1":                                 # alpha^(N-t), as printed
        return float(gamma) ** (n - rank) * future_sum(nll, 1.0) * m
    seen = nll.detach() if variant == "detached" else nll       # released: gradient flows
    w = future_sum(seen, gamma) * m if gamma > 0 else m
    total = w.sum(-1, keepdim=True)
    return w * n / total.masked_fill(total == 0, 1)             # all losses 0: nothing to learn
