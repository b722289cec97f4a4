"""Best-of-n: draw n answers, keep the one with the highest reward. No training; how far does it go?

    python -m nanouft.sample out/sft --best-of 16 --reward out/reward
    python -m nanouft.evaluate --init out/sft --best-of 16 --reward out/reward

Rewards and exact scores of N answers to a prompt are arrays (..., N). One set of N samples is
enough for every n up to N: `best_of` is the mean over all choices of n of them. Best-of-n moves
away from the model that answers, as a policy would: `kl_bound` is the usual formula for how far
(far too high for a model that is sure), `kl` is what the samples show.
"""
import math
from typing import Any

import numpy as np

from nanouft.data.rows import Row, each_prompt
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError
from nanouft.gpt import GPT
from nanouft.rewards.scorer import Scorer, score_rows
from nanouft.sampling import MAX_NEW, Answer, answer_rows, stops

MOST = 256              # samples to a prompt: `sample` draws them in one batch


def choose(rewards: np.ndarray) -> np.ndarray:
    """(..., N) rewards -> (...) places of the best. The first of equals is as random as the
    samples are."""
    return np.argmax(rewards, -1)


def best_answers(model: GPT, tok: Tokenizer, rows: list[Row], n: int, scorer: Scorer,
                 seed: int = 0, **how: Any) -> list[Answer]:
    """To each prompt that of `n` samples at temperature 1 which has the highest reward."""
    asked = [r for r in rows for _ in range(n)]
    answers = answer_rows(model, tok, asked, temperature=1.0, seed=seed, **how)
    rewards = score_rows(scorer, asked, [tok.decode(a.ids).strip() for a in answers])
    return [answers[n * i + j] for i, j in enumerate(choose(rewards.reshape(len(rows), n)))]


def rewarded(model: GPT, tok: Tokenizer, rows: list[Row], scorer: Scorer, n: int = 1,
             max_new: int = MAX_NEW, seed: int = 0) -> tuple[np.ndarray, list[bool]]:
    """(reward, does it stop?) of greedy answers to the prompts of `rows`, each once; with n > 1 of
    the best of n."""
    rows = each_prompt(rows)
    if n > 1:
        answers = best_answers(model, tok, rows, n, scorer, seed, max_new=max_new)
    else:
        answers = answer_rows(model, tok, rows, max_new=max_new)
    rewards = score_rows(scorer, rows, [tok.decode(a.ids).strip() for a in answers])
    return rewards, [stops(a, tok) for a in answers]


def best_of(n: int, rewards: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Unbiased estimate of the value of the answer that has the highest reward of `n`, from N >= n
    samples. rewards, values: (..., N); `values` are exact scores, lengths, or the rewards.
    Sorted by reward, sample i = 1..N is the best of a random subset of n with probability
    C(i-1, n-1) / C(N, n) (Nakano et al. 2021, arXiv:2112.09332). Equal rewards share their places.
    ValueError unless 1 <= n <= N."""
    N = rewards.shape[-1]
    if not 1 <= n <= N:
        raise ValueError(f"the best of {n} cannot be told from {N} samples")
    chance = np.array([math.comb(i, n - 1) / math.comb(N, n) for i in range(N)])    # i are below
    below = (rewards[..., None, :] < rewards[..., :, None]).sum(-1)             # (..., N)
    equal = (rewards[..., None, :] == rewards[..., :, None]).sum(-1)            # itself included
    upto = np.concatenate([[0.0], np.cumsum(chance)])
    return (values * (upto[below + equal] - upto[below]) / equal).sum(-1)


def kl_bound(n: int) -> float:
    """log n - (n-1)/n nats: KL(best-of-n || model) where no answer ever comes twice, and never less
    than it (Stiennon et al. 2020, arXiv:2009.01325; a bound: Beirami et al. 2024, arXiv:2401.01879)
    """
    return math.log(n) - (n - 1) / n


def kl(n: int, rewards: np.ndarray) -> np.ndarray:
    """(...) nats: KL(best-of-n || model) for the model that these N samples are. Equal rewards are
    one answer; one with share f, and F below it, is the best of n draws with chance
    (F + f)^n - F^n. Too low where n is near N."""
    below = (rewards[..., None, :] < rewards[..., :, None]).mean(-1)
    equal = (rewards[..., None, :] == rewards[..., :, None]).mean(-1)
    q = (below + equal) ** n - below ** n                               # of all equal answers
    nats = q * np.log(np.maximum(q, 1e-300) / equal)
    return (nats / (equal * rewards.shape[-1])).sum(-1)                 # each one its part


def check(n: int, reward: str, data: list[str] | bool | None = None) -> None:
    """The flags --best-of and --reward of a command. UserError where they make no sense.
    `data`: has the reward another use, too?"""
    if not 1 <= n <= MOST:
        raise UserError(f"--best-of {n}: must be from 1 to {MOST}")
    if reward and n == 1 and not data:
        raise UserError("--reward chooses among several answers; say how many with --best-of N")
