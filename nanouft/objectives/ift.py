"""Intuitive Fine-Tuning (IFT): SFT that reads the model's own predictions and looks ahead.

    python -m nanouft.train --objective ift
    Hua et al., arXiv:2405.11870v3
    released code: TsinghuaC3I/Intuitive-Fine-Tuning at 03adb93

Like its parent sft.py (--reduction sequence), IFT learns only from demonstrations. Two things
differ.

1. What the model reads (temporal residual, Eq. 17; `forward`). At each position of the answer, the
   embedding of the right token is mixed with that of the model's prediction (argmax), as in the
   paper's Algorithm 1. Neither gets a gradient, as in the released code (trainers.py:264):
       s_i = (1 - lam) E(x_i) + lam E(argmax pi(. | x_<i))
   So the model practises continuing after its own predictions, and not only after the right tokens.
   E is the embedding with the current weights: the released code copies it from the policy again
   after every step (trainers.py:786). It is trained only through the output head, where the two
   share their weights (our bases, SmolLM2); otherwise it stays fixed.
2. The weight of each token (dynamic relation propagation; `weights`): its loss-to-go, which is its
   own loss plus the discounted losses of later tokens, divided by its mean over the answer:
       l_t = -log p_t
       p_t: by the model that reads the blend s_i
       v_t = sum_{k>=t} gamma^(k-t) l_k
       w_t = v_t / mean_t v_t
   Either the weights are detached (sg, the stop-gradient), a form of this project, or gradient
   flows through them, as in the released code (trainers.py:585):
       --variant detached      L = mean_t sg(w_t) l_t
       --variant released      L = mean_t w_t l_t
   In the released form the loss can fall when an easy token after a hard one, such as the EOS token
   <|end|>, becomes LESS likely. Then the model may not learn to stop, or may forget it. So detached
   weights are the default (docs/results/ift.md compares the two). lam, gamma and these weights are
   the release's: a constant .2, .95, type loss, side left, norm L1 (config/loss/ift.yaml). Its
   optimizer is not ours: RMSprop at 5e-7, cosine, batch size 512 (commands/run_mistral_ift.sh).
   The paper prints other formulas, in which t counts the N tokens of the answer from 1:
       --variant algorithm1    L = sum_t gamma^(N - t) (sum_{k>=t} l_k) l_t
       --variant eq21          L = sum_t t l_t
       --variant eq21_mean1    L = mean_t t l_t / mean_t t
   Under eq21 the weights grow with the length of the answer. Those of eq21_mean1 have a mean of 1,
   as in the first two forms, so learning rates can be compared.

IFT costs one more forward pass than SFT. gamma = 0 switches the weights off (w_t = 1), as in the
released code (trainers.py:367), although the formula would make w_t proportional to l_t. With
lam = 0 as well, IFT is SFT averaged over answers, except that the token embedding is trained only
through the output head.
"""
from typing import Literal

import torch
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.gpt import GPT, log_probs, scatter_at, select_at
from nanouft.objective import Objective, Share

Variant = Literal["detached", "released", "algorithm1", "eq21", "eq21_mean1"]
BLOCK = 256         # tokens that one matrix discounts; for all T at once it would be (T,T)


class IFT(Objective):
    variant: Variant = "detached"   # which weights the tokens of an answer get
    lam: Share = 0.2                # share of the model's own prediction in its input; 0 = none
    gamma: Share = 0.95     # discount of later losses in a token's weight; 0 = all weights 1

    def forward(self, model: GPT, batch: Batch) -> None:
        s = batch.seqs["answer"]
        at = s.positions
        with torch.no_grad():                               # E: with the current weights
            embeds = model.wte(s.inputs)                            # (B,T,C)
            if self.lam > 0:
                hidden = model(embeds=embeds)                       # (B,T,C)
                greedy = model.greedy(select_at(hidden, at))        # (N,) response tokens only
                argmax = scatter_at(greedy, at, s.inputs.shape)     # (B,T)
                predicted = own_guess(s.inputs, s.mask, argmax)
                own_embeds = model.wte(predicted)
                embeds = (1 - self.lam) * embeds + self.lam * own_embeds        # Eq. 17
        s.logp = log_probs(model, model(embeds=embeds), s.targets, at)

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        s = batch.seqs["answer"]
        nll = (-s.logp).masked_fill(s.mask == 0, 0)         # filled first: 0 * inf would be NaN
        weighted = nll * weights(nll, s, self.variant, self.gamma)
        losses = s.sum(weighted) if self.variant in ("algorithm1", "eq21") else s.mean(weighted)
        mixed = s.sum(nll).sum().detach() / batch.tokens["answer"]  # blended inputs: above SFT's
        return losses.sum() / batch.n, {"nll_mixed": mixed}

    @property
    def about(self) -> str:     # type: ignore[override]        # a run prints it first
        """What IFT is, and whose form of it runs."""
        whose = {"detached": "The weights are detached (they pass no gradient), this project's "
                             "form;\n--variant released is that of the authors' code.",
                 "released": "The weights pass gradient, as in the authors' code."}
        return ("ift, intuitive fine-tuning (arXiv:2405.11870): SFT that reads some of its own\n"
                "predictions and weights a token by its own and later losses.\n"
                + whose.get(self.variant, f"The weights are those that the paper prints "
                                          f"({self.variant})."))

    def __str__(self) -> str:
        forms = {"detached": "(detached weights)", "released": "as released"}
        return f"{self.name} {forms.get(self.variant, f'({self.variant})')}"


# ---- 1. the temporal residual --------------------------------------------------------------------
def own_guess(inputs: Tensor, mask: Tensor, argmax: Tensor) -> Tensor:
    """(B,T) ids: the prediction FOR position i, made AT position i-1; on the prompt the true id.
    argmax[:, i] predicts the token after i, so it is shifted by one. Position i holds a response
    token exactly if the target of i-1 is one: mask[:, i-1] == 1. (In a padded row this also holds
    for the final <|end|>. No loss follows it, so that does not matter.)
    """
    predicted = inputs.clone()
    predicted[:, 1:] = torch.where(mask[:, :-1] == 1, argmax[:, :-1], inputs[:, 1:])
    return predicted


# ---- 2. dynamic relation propagation -------------------------------------------------------------
def future_sum(x: Tensor, gamma: float) -> Tensor:
    """(B,T) -> (B,T): v_t = sum_{k>=t} gamma^(k-t) x_k, by triangular matrices D[k,t].
    Masked positions count, as in the release: the discount continues through a user's turn."""
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
    """(B,T) weight of each response token; 0 elsewhere. nll must be 0 off the mask."""
    m = s.mask.to(nll.dtype)
    n = m.sum(-1, keepdim=True)                                 # N
    rank = m.cumsum(-1)                                         # t = 1..N, over response tokens
    if variant == "eq21":                                       # token t has weight t
        return rank * m
    if variant == "eq21_mean1":                                 # the mean of 1..N is (N + 1) / 2
        return rank * m / ((n + 1) / 2)
    if variant == "algorithm1":                                 # alpha^(N-t), as printed
        return float(gamma) ** (n - rank) * future_sum(nll, 1.0) * m
    losses = nll.detach() if variant == "detached" else nll     # released: gradient flows
    w = future_sum(losses, gamma) * m if gamma > 0 else m
    total = w.sum(-1, keepdim=True)
    return w * n / total.masked_fill(total == 0, 1)             # all losses 0: nothing to learn
