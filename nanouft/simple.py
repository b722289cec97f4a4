"""SFT, IFT, DPO and GRPO in one file: four losses and one plain loop. Read this first.

    python -m nanouft.simple --objective sft           # or ift, dpo, grpo; seconds on a laptop

Words become tokens. The GPT turns tokens into log-probabilities. These become a loss, and the loss
moves the weights. train.py does the same for every objective, on any data, on a GPU, with
checkpoints. On the same rows both have the same losses; a test says so.
Equations: IFT, arXiv:2405.11870v3; DPO, arXiv:2305.18290; GRPO, arXiv:2402.03300. DPO and GRPO use
`reference`, the start model.
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
from nanouft.data.tokenizer import nano
from nanouft.errors import visible
from nanouft.gpt import shipped_base
from nanouft.sampling import answer_rows, generate
from nanouft.seeds import rollout_seed

ROWS = 16                   # rows of one optimizer step
LAM, GAMMA = 0.2, 0.95      # IFT: share of the model's own guess, discount of later losses
BETA = 0.1                  # DPO: larger = stay closer to the start model
SAMPLES, KL = 4, 0.04       # GRPO: answers to each prompt, weight of the KL penalty
LEARNING_RATE = {"sft": 2.5e-4, "ift": 2.5e-4, "dpo": 3e-5, "grpo": 1e-4}
STEPS = {"sft": 60, "ift": 60, "dpo": 60, "grpo": 20}


# ---- 1. words become tokens ---------------------------------------------------------------------
def tokens(rows, side: str, tok) -> tuple[Tensor, Tensor, Tensor]:
    """inputs, targets and mask, each (B,T). The target of a place is the token after it.

    The mask is 1 where we train: on the answer and its <|end|>, not on the question or padding.
    `side` says which answer: "answer", "chosen" or "rejected".
    """
    return padded([tok.chat(row.prompt, getattr(row, side)) for row in rows], tok)


def padded(chats: list, tok) -> tuple[Tensor, Tensor, Tensor]:
    """The same from (ids, mask) of each row."""
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
    """(B,T,C) embeddings. In the answer, a share LAM is the model's own guess (IFT, Eq. 17).
    No gradient: the guess is a choice among ids, and the released code freezes the embeddings."""
    guess_of_next = model(inputs).argmax(-1)                        # made AT a place, FOR the next
    guess = inputs.clone()
    guess[:, 1:] = torch.where(mask[:, :-1] == 1, guess_of_next[:, :-1], inputs[:, 1:])
    return (1 - LAM) * model(inputs, want="embeds") + LAM * model(guess, want="embeds")


# ---- 3. log-probabilities become a loss ---------------------------------------------------------
def sft_loss(model, reference, rows, tok, step: int) -> Tensor:
    """Make every answer token likelier. All tokens weigh the same."""
    inputs, targets, mask = tokens(rows, "answer", tok)
    return -(pick(model(inputs), targets) * mask).sum() / mask.sum()


def ift_loss(model, reference, rows, tok, step: int) -> Tensor:
    """The same, but a token weighs more if it and the tokens after it go badly."""
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


def dpo_loss(model, reference, rows, tok, step: int) -> Tensor:
    """The chosen answer up, the rejected one down, both measured from the start model (Eq. 7)."""
    gain = {}
    for side in ("chosen", "rejected"):
        inputs, targets, mask = tokens(rows, side, tok)
        before = pick(reference(inputs), targets).detach()          # what the start model says
        gain[side] = ((pick(model(inputs), targets) - before) * mask).sum(-1)       # (B,) nats
    return -F.logsigmoid(BETA * (gain["chosen"] - gain["rejected"])).mean()


def sample_answers(model, rows, tok, step: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """SAMPLES answers to each prompt, answers to one prompt below each other:
    inputs, targets and mask, each (B*K,T), and their exact scores (B,K)."""
    asked = [row for row in rows for _ in range(SAMPLES)]
    prompts = [tok.prompt_ids(row.prompt) for row in asked]
    answers = generate(model, prompts, stop=tok.end, pad=tok.pad, max_new=44, temperature=1.0,
                       seed=rollout_seed(0, step, 0))
    chats, scores = [], []
    for row, prompt, answer in zip(asked, prompts, answers):
        ids = answer.ids + [tok.end] * answer.ended
        chats.append((prompt + ids, [0] * len(prompt) + [1] * len(ids)))
        scores.append(world.score(row.prompt[0].text, tok.decode(answer.ids).strip()))
    return *padded(chats, tok), torch.tensor(scores).view(-1, SAMPLES)


def grpo_loss(model, reference, rows, tok, step: int) -> Tensor:
    """The model's own answers: those above the mean of their prompt up, those below it down.
    The number itself says nothing: what counts is its gradient."""
    inputs, targets, mask, score = sample_answers(model, rows, tok, step)
    centred = score - score.mean(-1, keepdim=True)                  # (B,K)
    advantage = (centred / (score.std(-1, keepdim=True) + 1e-4)).view(-1, 1)
    logp = pick(model(inputs), targets)                             # (B*K,T)
    before = pick(reference(inputs), targets).detach()
    ratio = (logp - logp.detach()).exp()        # 1, as the answers are fresh; its slope is logp's
    k3 = (before - logp).exp() - (before - logp) - 1                # Eq. 4: KL to the start model
    each = KL * k3 - ratio * advantage          # Eq. 3; its clip does nothing where the ratio is 1
    return ((each * mask).sum(-1) / mask.sum(-1)).mean()


# ---- 4. the loss moves the weights --------------------------------------------------------------
def teach(model, rows, tok, objective: str, steps: int) -> list[float]:
    """Train `model` in place, ROWS rows a step. Returns the losses."""
    losses_by_name = {"sft": sft_loss, "ift": ift_loss, "dpo": dpo_loss, "grpo": grpo_loss}
    loss_of = losses_by_name[objective]
    reference = copy.deepcopy(model)                                # the start model: never trained
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    warmup, losses = max(1, round(0.1 * steps)), []
    for step in range(steps):
        loss = loss_of(model, reference, rows[step * ROWS:(step + 1) * ROWS], tok, step)
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
    parser.add_argument("--steps", type=int, help="optimizer steps of 16 rows [60; grpo 20, after "
                        "20 of sft]")
    cfg = parser.parse_args(argv)
    cfg.steps = STEPS[cfg.objective] if cfg.steps is None else cfg.steps
    if not 1 <= cfg.steps <= 10_000:
        parser.error(f"--steps {cfg.steps}: must be from 1 to 10,000")
    model, tok = shipped_base(), nano()
    kind = "pairs" if cfg.objective == "dpo" else "demos"
    rows = world.rows("train", kind, cfg.steps * ROWS, seed=0)
    asked = world.rows("val", "prompts", 3, seed=1, skills=("sort", "list", "unknown"))
    if cfg.objective == "grpo":                 # it needs a model that is sometimes right
        print("first 20 steps of SFT")
        teach(model, world.rows("train", "demos", 20 * ROWS, seed=1), tok, "sft", 20)
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
    sys.exit(main())
