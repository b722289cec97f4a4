"""What more samples bring: pass@k, majority vote and best-of-k, from one set of N samples a prompt.

    python -m nanouft.evaluate out/sft --samples 16 --reward out/reward

pass@k      is one of k samples right? Unbiased, from N >= k samples of which c are right:
                1 - C(N-c, k) / C(N, k)         (Chen et al. 2021, arXiv:2107.03374, Eq. 1)
majority    is the answer right that most of k samples give? (self-consistency, Wang et al. 2022,
            arXiv:2203.11171) Groups of k go round the N samples until each sample was in equally
            many; where several answers have most votes, each counts its share.
best of k   is the one of k right that --reward likes best? (rewards/best_of.py)
Somebody must know what is right for pass@k, nobody for a majority, and for best-of-k a reward. With
k = 1 the three are the same. Intervals are 95 % bootstrap intervals over prompts: all samples of a
prompt are drawn together.
"""
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nanouft.eval import plots
from nanouft.eval.stats import bootstrap
from nanouft.rewards.best_of import best_of

Figures = dict[str, dict[int, np.ndarray]]      # name -> k -> (P,) one number a prompt


def pass_at(k: int, right: np.ndarray) -> np.ndarray:
    """(P,N) right or not -> (P,) pass@k. ValueError unless 1 <= k <= N."""
    N = right.shape[1]
    if not 1 <= k <= N:
        raise ValueError(f"pass@{k} cannot be told from {N} samples")
    fails = [math.comb(N - c, k) / math.comb(N, k) for c in range(N + 1)]
    return 1 - np.array(fails)[right.astype(int).sum(1)]


def majority(k: int, texts: Sequence[Sequence[str]], right: np.ndarray) -> np.ndarray:
    """(P,) how right the majority of k samples is: on average over groups of k."""
    P, N = right.shape
    groups = [[j % N for j in range(i, i + k)] for i in range(0, math.lcm(N, k), k)]
    return np.array([np.mean([vote([texts[p][i] for i in group], right[p, group])
                              for group in groups]) for p in range(P)])


def vote(texts: Sequence[str], right: np.ndarray) -> float:
    """How right the answers with most votes are, on average. (The same text may once not stop.)"""
    votes = Counter(texts)
    most = max(votes.values())
    return float(np.mean([right[i] for i, text in enumerate(texts) if votes[text] == most]))


def figures(texts: Sequence[Sequence[str]], right: np.ndarray,
            rewards: np.ndarray | None = None) -> Figures:
    """Of N samples to each of P prompts: for k = 1, 2, 4 ... N. rewards (P,N) choose the best."""
    N = right.shape[1]
    ks = sorted({*(2**i for i in range(N.bit_length()) if 2**i <= N), N})
    found: Figures = {"pass@k": {k: pass_at(k, right) for k in ks},
                      "majority of k": {k: majority(k, texts, right) for k in ks}}
    if rewards is not None:
        found["best of k"] = {k: best_of(k, rewards, right.astype(float)) for k in ks}
    return found


def lines(found: Figures) -> list[str]:
    """A table: percent of the prompts, with intervals."""
    ks = next(iter(found.values()))
    out = [f"{'k':>4}" + "".join(f"  {name:>20}" for name in found)]
    for k in ks:
        cells = []
        for each in found.values():
            low, high = bootstrap(each[k])
            cells.append(f"{100 * each[k].mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]")
        out.append(f"{k:>4}" + "".join(f"  {cell:>20}" for cell in cells))
    return out


def picture(found: Figures, title: str, file: Path) -> Path:
    """One line for each figure over k, with its interval."""
    fig, ax = plots.plt.subplots(figsize=(8, 4.5))
    for (name, each), color, style in zip(found.items(), plots.LINES, ("-o", "--s", ":^")):
        ks = list(each)
        intervals = [bootstrap(x) for x in each.values()]
        ax.plot(ks, [100 * x.mean() for x in each.values()], style, color=color, lw=2.4, label=name)
        ax.fill_between(ks, *(100 * np.array(intervals).T), color=color, alpha=0.15, lw=0)
    ax.set_xscale("log", base=2)
    ax.set_xticks(ks, [str(k) for k in ks])
    ax.set(xlabel="k, samples to a prompt", ylabel="prompts answered right, %", title=title)
    ax.legend(frameon=False)
    return plots.save(fig, file)
