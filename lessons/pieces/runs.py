"""What the pieces run. Your program may import all of it: from lessons.pieces.runs import skills

    end_path(loss_of)               # piece ift: trains on lists, the loss of <|end|> along the way
    skills("UFT", 0.1, 0)           # piece beta: one of its twelve runs
    pool()                          # piece reward: answers of the base, and their exact scores
    machine()                       # piece machine: how fast this computer is
"""
import functools
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from lessons.course import train
from nanouft import world
from nanouft.gpt import GPT, NANO, shipped_base
from nanouft.models.tokenizer import nano
from nanouft.run.evaluation import answer_rows
from nanouft.simple import log_ratio, score_of, sft_loss, token_logp, tokens

GAMMA = 0.95                    # discount of later losses, as in the released code of IFT
METHODS = ("UFT", "SFT, then UNA")


# ---- ift -----------------------------------------------------------------------------------------
def undivided(losses: Tensor, mask: Tensor) -> Tensor:
    """(B,T) own loss plus discounted later ones. Gradient flows through."""
    later, weights = torch.zeros(len(losses)), []
    for t in reversed(range(losses.shape[1])):
        later = losses[:, t] + GAMMA * later
        weights.insert(0, later)
    return torch.stack(weights, dim=1) * mask


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
    ours = getattr(loss_of, "__module__", "").startswith(("lessons.", "own.key_"))
    lists = world.rows("train", "demos", 16 * steps, seed=0, skills=("list",))
    unseen = world.rows("val", "demos", 30, seed=0, skills=("list",))

    def losses_of(model, rows):
        inputs, targets, mask = tokens(rows, "answer", tok)
        return -token_logp(model(inputs), targets) * mask, mask

    @torch.no_grad()
    def look(model):
        at_end = tokens(unseen, "answer", tok)[1] == tok.end
        path.append(losses_of(model, unseen)[0][at_end].mean().item())
    train(shipped_base(), lambda model, rows: loss_of(*losses_of(model, rows)).mean(), lists, steps,
          3e-4, f"ift, {loss_of.__name__ if ours else 'yours'}", 16, falls=True, look=look)
    return path


def loss_and_slopes(function: Callable, losses: Tensor, mask: Tensor) -> dict:
    losses = losses.clone().requires_grad_()
    loss = function(losses, mask)
    return {"gives": [loss, *torch.autograd.grad(loss.sum(), losses)]}


def trained(function: Callable, steps: int) -> dict:
    return {"gives": end_path(function, steps)}


# ---- beta ----------------------------------------------------------------------------------------
@functools.cache
def after_sft(seed: int) -> GPT:
    demos = world.rows("train", "demos", 640, seed=2 * seed, skills=("sum", "sort"))
    return train(shipped_base(), lambda model, rows: sft_loss(model, None, rows, nano(), 0),
                 demos, 40, 1.25e-4, "SFT", 16)


def skills(method: str, beta: float, seed: int) -> float:
    """Sums and sorted lists, mean score in per cent, after this method of lesson 09. Seed 0 has
    the lesson's rows."""
    tok, chain = nano(), method == METHODS[1]
    demos = world.rows("train", "demos", 640, seed=2 * seed, skills=("sum", "sort"))
    scored = world.rows("train", "scores", 640, seed=2 * seed + 1, skills=("truth",))
    start = after_sft(seed) if chain else shipped_base()
    rows = scored if chain else [row for both in zip(demos, scored) for row in both]

    def una(model, some):
        nats, _ = log_ratio(model, start, some, "answer", tok)
        score = torch.tensor([1.0 if row.score is None else row.score for row in some])
        return (torch.sigmoid(beta * nats) - score).square().mean()
    model = train(start, una, rows, len(rows) // 16, 1e-4 if chain else 1.25e-4, method, 16)
    return mean_score(model, world.rows("val", "prompts", 80, seed=seed, skills=("sum", "sort")))


def mean_score(model: GPT, asked: list) -> float:
    answers = answer_rows(model, nano(), asked)
    return 100 * sum(score_of(row, x, nano()) for row, x in zip(asked, answers)) / len(asked)


# ---- reward --------------------------------------------------------------------------------------
@functools.cache
def pool(prompts: int = 24, n: int = 64) -> tuple[list[str], list[str], Tensor]:
    """Questions and answers, n to each of some lists to sort, and (prompts, n) their exact scores.
    They are drawn from the model that piece beta has after SFT."""
    asked = [row for row in world.rows("val", "prompts", prompts, seed=0, skills=("sort",))
             for _ in range(n)]
    answers = answer_rows(after_sft(0), nano(), asked, temperature=1.0, seed=0, max_new=24)
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


# ---- machine -------------------------------------------------------------------------------------
def seconds(call: Callable, rounds: int = 5) -> float:
    """The quickest of some calls, by the processor's clock: other programs do not count."""
    def once() -> float:
        begun = time.process_time()
        call()
        return time.process_time() - begun
    return min(once() for _ in range(rounds))


def machine() -> tuple[float, float, float]:
    """Operations and bytes of this computer in a second, on one thread. And the seconds of a
    forward and backward pass of a GPT with the base's layers that is 8 wide: it only launches."""
    a, large = torch.randn(768, 768), torch.randn(2**24)
    other, tiny = torch.zeros_like(large), GPT(replace(NANO, n_embd=8), seed=0)
    return (2 * 768**3 / seconds(lambda: a @ a),
            2 * large.nbytes / seconds(lambda: other.copy_(large)), step_seconds(tiny, 1, 4))


def step_seconds(model: GPT, B: int, T: int, optimizer: Optimizer | None = None) -> float:
    """Of a training step; without an optimizer of both passes."""
    ids = torch.ones(B, T, dtype=torch.long)

    def step():
        model.zero_grad()
        model(ids, want="logp", targets=ids).mean().backward()
        if optimizer:
            optimizer.step()
    return seconds(step)
