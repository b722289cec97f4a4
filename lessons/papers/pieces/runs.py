"""What the pieces run. Your program may import it: from lessons.papers.pieces.runs import pool

    end_path(loss_of)               # piece ift: trains on lists, the loss of <|end|> along the way
    pool()                          # piece reward: answers of the base, and their exact scores
"""
import functools
from collections.abc import Callable

import torch
from torch import Tensor

from nanouft import world
from nanouft.gpt import GPT, shipped_base
from nanouft.models.tokenizer import nano
from nanouft.objectives.ift import future_sum
from nanouft.plumbing.printing import progress
from nanouft.run.evaluation import answer_rows
from nanouft.simple import score_of, sft_loss, token_logp, tokens

GAMMA = 0.95                    # discount of later losses, as in the released code of IFT
ROWS = 16                       # batch size


def train(loss_of: Callable, rows: list, steps: int, lr: float, what: str, falls: bool = False,
          look: Callable | None = None) -> GPT:
    """The base after these steps by loss_of(model, batch). The learning rate stays, or it falls to
    0 in a straight line. look(model) is called before every fourth step and at the end."""
    model = shipped_base()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for step in progress(steps, what, range(steps), training=True):
        if look and step % 4 == 0:
            look(model)
        loss = loss_of(model, rows[ROWS * step:ROWS * step + ROWS])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps if falls else 1)
        optimizer.step()
    if look:
        look(model)
    return model


# ---- ift -----------------------------------------------------------------------------------------
def undivided(losses: Tensor, mask: Tensor) -> Tensor:
    """(B,T) own loss plus discounted later ones. Gradient flows through."""
    return future_sum(losses, GAMMA) * mask


def weights_of(losses: Tensor, mask: Tensor) -> Tensor:
    """(B,T) the same with mean 1 in each answer."""
    weights = undivided(losses, mask)
    return weights * mask.sum(1, keepdim=True) / weights.sum(1, keepdim=True)


def released(losses: Tensor, mask: Tensor) -> Tensor:
    """(B,) IFT's loss of each answer, as in the released code; without the blend."""
    return (weights_of(losses, mask) * losses).sum(1) / mask.sum(1)


@functools.cache
def end_path(loss_of: Callable, steps: int = 32) -> list[float]:
    """The base learns from lists by loss_of(losses, mask): the loss of <|end|> on unseen lists,
    in nats, before the first step and after every four."""
    tok, path = nano(), []
    ours = getattr(loss_of, "__module__", "").startswith("lessons.")
    lists = world.rows("train", "demos", ROWS * steps, seed=0, skills=("list",))
    unseen = world.rows("val", "demos", 30, seed=0, skills=("list",))

    def losses_of(model, rows):
        inputs, targets, mask = tokens(rows, "answer", tok)
        return -token_logp(model.head(model(inputs)), targets) * mask, mask

    @torch.no_grad()
    def look(model):
        at_end = tokens(unseen, "answer", tok)[1] == tok.end
        path.append(losses_of(model, unseen)[0][at_end].mean().item())
    train(lambda model, rows: loss_of(*losses_of(model, rows)).mean(), lists, steps, 3e-4,
          f"ift, {loss_of.__name__ if ours else 'yours'}", falls=True, look=look)
    return path


def loss_and_slopes(function: Callable, losses: Tensor, mask: Tensor) -> dict:
    losses = losses.clone().requires_grad_()
    loss = function(losses, mask)
    return {"gives": [loss, *torch.autograd.grad(loss.sum(), losses)]}


# of two answers, to see which loss was trained
LOSSES = torch.tensor([[1.0, 2, 0, 0.5], [0, 3, 1, 0]])
MASK = torch.tensor([[1.0, 1, 1, 1], [0, 1, 1, 0]])


def trained(function: Callable, steps: int) -> dict:
    return {"gives": [function(LOSSES, MASK), end_path(function, steps)]}


# ---- reward --------------------------------------------------------------------------------------
@functools.cache
def after_sft() -> GPT:
    demos = world.rows("train", "demos", 640, seed=0, skills=("sum", "sort"))
    return train(lambda model, rows: sft_loss(model, None, rows, nano(), 0), demos, 40, 1.25e-4,
                 "SFT")


@functools.cache
def pool(prompts: int = 24, n: int = 64) -> tuple[list[str], list[str], Tensor]:
    """Questions and answers, n to each of some lists to sort, and (prompts, n) their exact scores.
    They are drawn from the base after some SFT."""
    asked = [row for row in world.rows("val", "prompts", prompts, seed=0, skills=("sort",))
             for _ in range(n)]
    answers = answer_rows(after_sft(), nano(), asked, temperature=1.0, seed=0, max_new=24)
    scores = [score_of(row, x, nano()) for row, x in zip(asked, answers)]
    texts = [nano().decode(x.ids).strip() for x in answers]
    return [row.prompt[0].text for row in asked], texts, torch.tensor(scores).view(-1, n)


def searched(function: Callable) -> dict:
    """Of a reward: in how many pairs of answers with different exact scores it prefers the better
    one (a tie is half), the mean exact score, and that of its favourite of n; all in per cent."""
    questions, texts, scores = pool()
    rewards = torch.as_tensor(function(questions, texts)).double().view(scores.shape)
    better = scores[:, :, None] > scores[:, None, :]
    lead = rewards[:, :, None] - rewards[:, None, :]
    agrees = ((lead.sign() + 1) / 2)[better].mean()
    best = rewards == rewards.amax(1, keepdim=True)
    favourite = ((scores * best).sum(1) / best.sum(1)).mean()
    return {"gives": [100 * x.item() for x in (agrees, scores.mean(), favourite)]}
