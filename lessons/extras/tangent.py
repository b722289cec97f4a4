"""Extra: DPO in a model that is linear in its weights, so that two runs can be added.

    python lessons/extras/tangent.py            # half a minute: a table

Erdogan 2026, arXiv:2602.01128 (TS-DPO; only its abstract could be read, so what is linearised here,
the logits, is our choice). The tangent model itself: Ortiz-Jimenez et al., arXiv:2305.12827.

A network f is not linear in its weights. Its first-order Taylor polynomial at the start theta0 is:
    f_lin(x) = f(x; theta0) + J(x) delta        J = d f(x; theta0) / d theta
Only delta is trained, from 0 on. J itself is never built: `jvp` (a Jacobian-vector product) carries
each weight's change through the network together with its value. Because every logit is linear in
delta, the changes of two runs can be added, and so can what they do to the logits.

Guess before you run: how much of each direction does the sum of both keep? In the linear model it
keeps nearly all of it (96 and 86 % of the held-out pairs, one seed). The ordinary network at the
same weights keeps less, because delta is too large for its first-order polynomial. With RATE = 1e-3
delta is larger still, and the two models have little in common.
"""
import copy

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from nanouft import world
from nanouft.gpt import shipped_base
from nanouft.models.tokenizer import nano
from nanouft.simple import token_logp, tokens

STEPS, ROWS, RATE, BETA = 30, 16, 1e-4, 0.1
KINDS = {"sums": ("sum",), "truths": ("truth",)}        # one direction for each kind of pair
Direction = dict[str, Tensor]                           # {name of a weight: its change}


def linear_logps(model, delta: Direction, rows: list, side: str, tok) -> Tensor:
    """(B,) nats: by how much f_lin finds each answer likelier than the start model does."""
    inputs, targets, mask = tokens(rows, side, tok)
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def logits(changed: dict) -> Tensor:
        return functional_call(model, changed, (inputs,))

    with sdpa_kernel(SDPBackend.MATH):                  # fused attention has no forward mode
        start, change = jvp(logits, (weights,), (delta,))               # both (B,T,V)
    return ((token_logp(start + change, targets) - token_logp(start, targets)) * mask).sum(-1)


def ordinary_logps(model, delta: Direction, rows: list, side: str, tok) -> Tensor:
    """(B,) the same by the ordinary network at theta0 + delta."""
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for name, p in moved.named_parameters():
            p += delta[name]
    inputs, targets, mask = tokens(rows, side, tok)
    gain = token_logp(moved(inputs), targets) - token_logp(model(inputs), targets)
    return (gain * mask).sum(-1)


def learn(model, pairs: list, tok) -> Direction:
    """DPO of the linear model (Rafailov et al., arXiv:2305.18290, Eq. 7)."""
    delta = {name: torch.zeros_like(p, requires_grad=True) for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(delta.values(), lr=RATE, weight_decay=0.0)
    for step in tqdm(range(STEPS), leave=False):
        rows = pairs[step * ROWS:(step + 1) * ROWS]
        chosen = linear_logps(model, delta, rows, "chosen", tok)
        rejected = linear_logps(model, delta, rows, "rejected", tok)
        loss = -F.logsigmoid(BETA * (chosen - rejected)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: change.detach() for name, change in delta.items()}


def added(*parts: Direction) -> Direction:
    return {name: sum(part[name] for part in parts) for name in parts[0]}


@torch.no_grad()
def won(measure, model, delta: Direction, pairs: list, tok) -> float:
    """Percent of held-out pairs of which `chosen` became likelier than `rejected` did."""
    chosen, rejected = (measure(model, delta, pairs, side, tok) for side in ("chosen", "rejected"))
    return 100 * (chosen > rejected).double().mean().item()


def main() -> None:
    torch.manual_seed(0)
    model, tok = shipped_base(), nano()
    runs = {kind: learn(model, world.rows("train", "pairs", STEPS * ROWS, 0, skills=skills), tok)
            for kind, skills in KINDS.items()}
    held = {kind: world.rows("val", "pairs", 200, 0, skills=skills)
            for kind, skills in KINDS.items()}
    print("held-out pairs in the right order, %      linear model       ordinary network")
    print(" " * 38 + "  ".join(f"{kind:>8}" for kind in [*held, *held]))
    for name, delta in (*runs.items(), ("the sum of both", added(*runs.values()))):
        found = [won(measure, model, delta, pairs, tok)
                 for measure in (linear_logps, ordinary_logps) for pairs in held.values()]
        print(f"direction: {name:27}" + "  ".join(f"{x:8.0f}" for x in found))


if __name__ == "__main__":
    main()
