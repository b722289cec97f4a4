"""Intuitive Fine-Tuning: let the model see its own guess, and let the future weigh on each token.

    python -m nanouft.train --objective ift                            # NanoWorld demonstrations
    Lessons 05, 06 · Hua et al., arXiv:2405.11870 (Eq. 17-21, Algorithm 1) and the code released with it

SFT trains on the demonstrator's states only. IFT changes two things, each with its own switch:
1. Temporal residual (Eq. 17): the state blends the true token with the model's own greedy guess for that place,
       s_i = (1 - lam) E(x_i) + lam E(argmax pi(. | x_<i)),
   on response positions only. The guess is a choice among ids and E is a frozen copy: no gradient through either.
2. Dynamic relation propagation: a token pays more when the tokens AFTER it go badly. Five published or derived
   forms, and they are different losses (l_t = token loss, N response tokens, t = 1..N):
       detached    the released weights, taken as constants of the step              (ours, the default; see below)
       released    w_t = sum_{k>=t} gamma^(k-t) l_k, rescaled to mean 1;   L = mean_t w_t l_t       (the code)
       algorithm1  w_t = alpha^(N-t) sum_{i>=t} l_i;                       L = sum_t w_t l_t        (paper, as printed)
       eq21        L = sum_n sum_{i>=n} l_i = sum_t t l_t                                            (paper, Eq. 21)
       eq21_mean1  the weights t of eq21, rescaled to mean 1;              L = mean_t w_t l_t       (ours, SFT's scale)
The released weights are NOT constants: gradient flows through them. Then the loss can pay the model for making an
easy token that follows a hard one LESS likely, typically <|end|> (gradient (+1, -1) on two tokens; lesson 06).
--detach treats them (and algorithm1's) as constants; "detached" is short for "released --detach". It is the default
here because on validation it scored 77.3 (76.5 with the default batch of 32) where the released form, with the same
budget of tuning, scored 72.9 (four seeds, docs/results/C1-chosen.json): its open lists stop. Mixing alone scored 77.9,
no difference that four seeds can show; the default keeps both of the paper's ideas. --variant released is the
published code, exactly.

Needs demonstrations. Costs one more forward than SFT. lam = 0 and gamma = 0 give sequence-mean SFT (but wte learns
from the output side only). Left out: the release's right-sided, softmax and log weights; top-k guesses.
Same letter elsewhere: SimPO's gamma is a margin, GAE's a discount of rewards.
"""
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from nanouft.shell.config import UserError
from nanouft.data.rows import demo_rows
from nanouft.objective import Batch, Objective, Seqs


@dataclass
class IFT:
    variant: Literal["detached", "released", "algorithm1", "eq21", "eq21_mean1"] = "detached"   # which weights
    lam: float = 0.2                # share of the model's own guess in each response state; 0 = true states only
    gamma: float = 0.95             # discount of later losses (algorithm1 calls it alpha); 0 = no propagation
    detach: bool = False            # weights of released or algorithm1 are constants: no gradient through them
    residual: Literal["blend", "replace"] = "blend"     # replace = scheduled sampling: the guess, with probability lam
    lam_min: float | None = None    # ramp lam from here over the warm-up (the release's schedule)
    lam_noise: float = 0.0          # each step lam += lam * this * N(0,1), cut to [0,1] (paper's Table 7: 0.5)

    def check(self, given: set[str]) -> None:
        """Refuse what is out of range, and every flag that would change nothing."""
        for name in ("lam", "gamma", "lam_min"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise UserError(f"--{name.replace('_', '-')} {value}: must be between 0 and 1")
        if self.lam_noise < 0:
            raise UserError(f"--lam-noise {self.lam_noise}: a standard deviation cannot be negative")
        for name in sorted(given & {"gamma", "detach"}):
            if self.variant.startswith("eq21") or (self.variant, name) == ("detached", "detach"):
                why = "constants already" if self.variant == "detached" else "fixed numbers"
                raise UserError(f"--{name} changes nothing with --variant {self.variant}: its weights are {why}")
        if self.variant == "released" and self.gamma == 0 and "detach" in given:
            raise UserError("--detach changes nothing with --gamma 0: the weights are all 1")
        if self.lam == 0 and not self.lam_min:
            for name in sorted(given & {"residual", "lam_noise", "lam_min"}):
                raise UserError(f"--{name.replace('_', '-')} changes nothing with --lam 0: no guess is mixed in")
        if (self.residual == "replace" and self.lam == 1 and "residual" in given
                and not self.lam_noise and not self.lam_min):
            raise UserError("--residual replace changes nothing with --lam 1: both read the guess and nothing else")
        if "lam_noise" in given and self.lam_noise == 0:
            raise UserError("--lam-noise 0 changes nothing; drop it")
        if self.lam_min == self.lam:
            raise UserError(f"--lam-min {self.lam_min} equals --lam: the ramp would be flat; drop it")


# ---- 1. the temporal residual --------------------------------------------------------------------------------------
def own_guess(inputs: Tensor, mask: Tensor, argmax: Tensor) -> Tensor:
    """(B,T) ids: the model's guess FOR position i, which it made AT position i-1; gold on the prompt.

    argmax[:, i] is the guess for the token after i, so it is shifted by one, once. Position i holds a response token
    exactly where the target of i-1 is one: mask[:, i-1] == 1. (In a padded row that holds for the place of the
    last <|end|> too; no loss follows it, so what stands there does not matter.)
    """
    guess = inputs.clone()
    guess[:, 1:] = torch.where(mask[:, :-1] == 1, argmax[:, :-1], inputs[:, 1:])
    return guess


def lam_now(hp: IFT, batch: Batch) -> float:
    """lam of this step: static, ramped over the warm-up, or disturbed by one normal draw, cut to [0,1]."""
    lam = hp.lam if hp.lam_min is None else hp.lam_min + (hp.lam - hp.lam_min) * batch.ramp
    return min(1.0, max(0.0, lam + lam * hp.lam_noise * batch.normal() if hp.lam_noise else lam))


def forward(model, batch: Batch, hp: IFT) -> None:
    s, lam = batch.seqs["answer"], lam_now(hp, batch)
    at = s.mask.bool()
    with torch.no_grad():                                       # E is a frozen copy in the release: no gradient into it
        embeds = model(s.inputs, want="embeds")                 # (B,T,C)
        if lam > 0:
            guess = own_guess(s.inputs, s.mask, model(embeds=embeds, want="argmax", at=at))
            own = model(guess, want="embeds")
            if hp.residual == "replace":
                coin = batch.uniform(*s.inputs.shape).to(embeds.device) < lam
                embeds = torch.where(coin[..., None], own, embeds)
            else:
                embeds = (1 - lam) * embeds + lam * own         # Eq. 17
    s.logp = model(embeds=embeds, want="logp", targets=s.targets, at=at)


# ---- 2. dynamic relation propagation -------------------------------------------------------------------------------
def future_sum(x: Tensor, gamma: float) -> Tensor:
    """(B,T) -> (B,T): sum_{k>=t} gamma^(k-t) x_k, by one triangular matrix. Positions count, also those masked out
    (the discount runs on through a user's turn), as in the release."""
    t = torch.arange(x.shape[1], device=x.device)
    wide = torch.float32 if x.device.type == "mps" else torch.float64      # TF32 would round this product on a GPU
    D = torch.where(t[:, None] >= t, float(gamma) ** (t[:, None] - t).clamp_min(0).to(wide), 0)      # D[k,t]
    return (x.to(wide) @ D).to(x.dtype)


def weights(nll: Tensor, s: Seqs, hp: IFT) -> Tensor:
    """(B,T) weight of each response token; 0 elsewhere. nll is 0 off the mask."""
    m = s.mask.to(nll.dtype)
    n, rank = m.sum(-1, keepdim=True), m.cumsum(-1)             # N, and t = 1..N counted over response tokens
    constant = hp.detach or hp.variant == "detached"
    seen = nll.detach() if constant else nll                    # released: live, so gradient flows through the weight
    if hp.variant in ("released", "detached"):
        w = future_sum(seen, hp.gamma) * m if hp.gamma > 0 else m
    elif hp.variant == "algorithm1":
        return float(hp.gamma) ** (n - rank).clamp_min(0) * future_sum(seen, 1.0) * m   # alpha^(N-t), as printed
    else:
        w = rank * m                                            # Eq. 21: token t is counted t times
        if hp.variant == "eq21":
            return w
    total = w.sum(-1, keepdim=True)
    return torch.where(total > 0, w * n / total.masked_fill(total == 0, 1), m)      # mean 1; all losses 0: plain mean


def loss(batch: Batch, hp: IFT) -> tuple[Tensor, dict]:
    s = batch.seqs["answer"]
    nll = (-s.logp).masked_fill(s.mask == 0, 0)                 # filled before the formula: 0 * inf would be NaN
    paid = nll * weights(nll, s, hp)
    each = s.sum(paid) if hp.variant in ("algorithm1", "eq21") else s.mean(paid)
    mixed = s.sum(nll).sum().detach() / batch.tokens["answer"]  # on blended states: above SFT's nll
    return each.sum() / batch.rows, {"nll_mixed": mixed}


OBJECTIVE = Objective(
    paper="Intuitive Fine-Tuning, arXiv:2405.11870, Eq. 17-21, Algorithm 1, and the "
          "released code",
    data="demos", rows=demo_rows, hp=IFT, loss=loss, lr=2.5e-4, forward=forward)
