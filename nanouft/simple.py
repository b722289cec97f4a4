"""SFT, IFT and DPO in one file: three losses and one plain loop. Read this first.

    python -m nanouft.simple --objective sft           # or ift, or dpo; some seconds on a laptop

Words become tokens. The GPT turns tokens into log-probabilities. These become a loss, and the loss
moves the weights. train.py does the same for every objective, on any data, on a GPU, with
checkpoints. On the same rows both have the same losses; a test says so.
Equations: IFT, arXiv:2405.11870; DPO, arXiv:2305.18290. Only DPO uses `reference`.
Shapes: B rows, T tokens, C width of the model, V vocabulary.
"""
import argparse
import copy
import math
import sys

import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft import world
from nanouft.models.generate import answer_rows
from nanouft.models.load import start_model
from nanouft.shell.command import run
from nanouft.shell.errors import in_range
from nanouft.shell.text import visible

ROWS = 16                   # rows of one optimizer step
LAM, GAMMA = 0.2, 0.95      # IFT: share of the model's own guess, discount of later losses
BETA = 0.1                  # DPO: larger = stay closer to the start model
LEARNING_RATE = {"sft": 2.5e-4, "ift": 2.5e-4, "dpo": 3e-5}


# ---- 1. words become tokens ---------------------------------------------------------------------
def tokens(rows, side: str, tok) -> tuple[Tensor, Tensor, Tensor]:
    """inputs, targets and mask, each (B,T). The target of a place is the token after it.

    The mask is 1 where we train: on the answer and its <|end|>, not on the question or padding.
    `side` says which answer: "answer", "chosen" or "rejected".
    """
    chats = [tok.chat(row.prompt, getattr(row, side)) for row in rows]      # (ids, mask) of each
    longest = max(len(ids) for ids, _ in chats)
    ids = torch.tensor([ids + [tok.pad] * (longest - len(ids)) for ids, _ in chats])
    mask = torch.tensor([mask + [0] * (longest - len(mask)) for _, mask in chats])
    return ids[:, :-1], ids[:, 1:], mask[:, 1:].float()


# ---- 2. tokens become log-probabilities ---------------------------------------------------------
def pick(logits: Tensor, targets: Tensor) -> Tensor:
    """(B,T,V) logits -> (B,T) log-probability of each target, in nats."""
    return logits.log_softmax(-1).gather(-1, targets[..., None])[..., 0]


@torch.no_grad()
def mix_in_own_guess(model, inputs: Tensor, mask: Tensor) -> Tensor:
    """(B,T,C) embeddings. In the answer, a share LAM is the model's own guess (IFT, Eq. 17)."""
    guess_of_next = model(inputs).argmax(-1)                        # made AT a place, FOR the next
    guess = inputs.clone()
    guess[:, 1:] = torch.where(mask[:, :-1] == 1, guess_of_next[:, :-1], inputs[:, 1:])
    return (1 - LAM) * model(inputs, want="embeds") + LAM * model(guess, want="embeds")


# ---- 3. log-probabilities become a loss ---------------------------------------------------------
def sft_loss(model, reference, rows, tok) -> Tensor:
    """Make every answer token likelier. All tokens weigh the same."""
    inputs, targets, mask = tokens(rows, "answer", tok)
    return -(pick(model(inputs), targets) * mask).sum() / mask.sum()


def ift_loss(model, reference, rows, tok) -> Tensor:
    """The same, but a token weighs more if the tokens after it go badly."""
    inputs, targets, mask = tokens(rows, "answer", tok)
    embeds = mix_in_own_guess(model, inputs, mask)
    nll = -pick(model(embeds=embeds), targets) * mask               # (B,T)
    weight, future = torch.zeros_like(nll), torch.zeros(len(nll))
    for t in reversed(range(nll.shape[1])):                         # backwards in time
        future = nll[:, t].detach() + GAMMA * future                # own loss + discounted later
        weight[:, t] = future * mask[:, t]                          # a constant: no gradient
    n = mask.sum(-1, keepdim=True)                                  # (B,1) answer tokens
    weight = weight * n / weight.sum(-1, keepdim=True)              # mean 1 in each answer
    return ((weight * nll).sum(-1) / n[:, 0]).mean()


def dpo_loss(model, reference, rows, tok) -> Tensor:
    """The chosen answer up, the rejected one down, both measured from the start model (Eq. 7)."""
    gain = {}
    for side in ("chosen", "rejected"):
        inputs, targets, mask = tokens(rows, side, tok)
        before = pick(reference(inputs), targets).detach()          # what the start model says
        gain[side] = ((pick(model(inputs), targets) - before) * mask).sum(-1)       # (B,) nats
    return -F.logsigmoid(BETA * (gain["chosen"] - gain["rejected"])).mean()


# ---- 4. the loss moves the weights --------------------------------------------------------------
def teach(model, rows, tok, objective: str, steps: int) -> list[float]:
    """Train `model` in place, ROWS rows a step. Returns the losses."""
    loss_of = {"sft": sft_loss, "ift": ift_loss, "dpo": dpo_loss}[objective]
    reference = copy.deepcopy(model)                                # the start model: never trained
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    warmup, losses = max(1, round(0.1 * steps)), []
    for step in range(steps):
        loss = loss_of(model, reference, rows[step * ROWS:(step + 1) * ROWS], tok)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        factor = (step + 1) / warmup                                # linear up, then a cosine down
        if step >= warmup:
            factor = 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
        optimizer.param_groups[0]["lr"] = factor * LEARNING_RATE[objective]
        optimizer.step()
        losses.append(loss.item())
        if step % 20 == 0 or step == steps - 1:
            print(f"step {step:3d}   loss {losses[-1]:.3f}")
    return losses


def main(argv=None) -> int:
    parser = argparse.ArgumentParser("python -m nanouft.simple", usage=argparse.SUPPRESS)
    parser.add_argument("--objective", choices=LEARNING_RATE, default="ift", help="the loss [ift]")
    parser.add_argument("--steps", type=int, default=60, help="optimizer steps of 16 rows [60]")
    cfg = parser.parse_args(argv)
    in_range(cfg, "steps", low=1, high=10_000)
    model, tok = start_model("base")
    kind = "pairs" if cfg.objective == "dpo" else "demos"
    rows = world.rows("train", kind, cfg.steps * ROWS, seed=0)
    asked = world.rows("val", "prompts", 3, seed=1, skills=("sort", "list", "unknown"))
    before = answer_rows(model, tok, asked)
    teach(model, rows, tok, cfg.objective, cfg.steps)
    for row, old, new in zip(asked, before, answer_rows(model, tok, asked)):
        question = row.prompt[0].text
        print(f"\n{question}")
        for when, answer in (("before", old), ("after", new)):
            text = visible(tok.decode(answer.ids).strip())
            print(f"   {when:<8}{text}   (score {world.score(question, text):.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
