"""docs/losses.png: what each loss scores, trained from a base, and as a second stage after SFT.

    python -m lessons.evidence --write      # draws it as soon as C13 and C14 are judged

A line is a loss, in the group that which_loss.py puts it into by its formula. A score is the mean
over both bases. Its interval is that of stats.py on each base, put together: the bases are trained
apart, so the variances of their means add up.

The best rate of a second stage may be so low that it changes nothing, and then its score hides what
the loss does. So a cross shows the same stage at the highest rate: one seed, validation prompts.
"""
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lessons.evidence import judge, stats, which_loss
from lessons.evidence.claim import tries_of
from lessons.evidence.claims import CLAIMS
from nanouft.pictures.colours import PANEL, SOFT, look
from nanouft.pictures.plots import save

Kept = Mapping[str, np.ndarray]
GROUPS = {
    "Right answers, which they imitate": which_loss.IMITATE + which_loss.LATER,
    "Pairs, with imitation": which_loss.ANCHORED,
    "Pairs, without imitation": (*which_loss.CONTRAST, "ts_dpo"),
    "Answers with scores or labels": which_loss.GRADED,
}
AFTER = {"sft": "sft, sft"} | {loss: f"sft, {loss}" for loss in which_loss.SECOND}  # rows of C14
TITLE = "What each loss scores, from a base and after SFT"
WIDTH, LINE = 4.2, 0.2                  # inches: of the picture, of a line of it
TITLE_ROOM, LEGEND_ROOM = 0.6, 1.35      # inches above and below the lines


class Score(NamedTuple):
    """A score: a mean from 0 to 1 and half of its 95 % interval."""
    mean: float
    half: float


def score(name: str, row: str, kept: Kept) -> Score:
    """Of a row of a claim, over all its bases."""
    claim = CLAIMS[name]
    found = [judge.score_of(claim, kept, row, base) for base in range(len(claim.bases))]
    bases = len(found)
    variance = sum(x[1] for x in found) / bases ** 2
    # Welch and Satterthwaite: the degrees of freedom of a sum of variances
    freedom = sum(x[1] for x in found) ** 2 / max(sum(x[1] ** 2 / x[2] for x in found), 1e-30)
    return Score(float(np.mean([x[0] for x in found])), stats.half_width(variance, freedom))


def lines(from_base: Kept, after_sft: Kept) -> dict[str, list[tuple[str, Score, Score | None]]]:
    """{group: [(loss, its score from a base, its score after SFT or None)]}, the best first."""
    out = {}
    for group, losses in GROUPS.items():
        found = [(loss, score("C13", loss, from_base),
                  score("C14", AFTER[loss], after_sft) if loss in AFTER else None)
                 for loss in losses]
        out[group] = sorted(found, key=lambda line: -line[1].mean)
    return out


def at_highest_rate(loss: str) -> float:
    """The score of a second stage at the highest rate that was tried, mean over the bases."""
    claim = CLAIMS["C14"]
    return float(np.mean([tries_of("C14", AFTER[loss], base)[which_loss.LOW_RATES[-1]]
                          for base in claim.names]))


def picture(file: Path, from_base: Kept, after_sft: Kept) -> str:
    """Draw it. Filled marks are scores from a base, hollow squares those after SFT. The two kinds
    differ in form and filling, so they are told apart without colour."""
    from matplotlib import pyplot as plt
    groups = lines(from_base, after_sft)
    height = LINE * sum(len(found) + 1.6 for found in groups.values()) + TITLE_ROOM + LEGEND_ROOM
    with plt.rc_context({"font.size": 9}):
        fig, ax = plt.subplots(figsize=(WIDTH, height), dpi=120)
        y, ticks = 0.0, {}                                      # y counts lines, downwards
        for group, found in groups.items():
            ax.text(0, y, group, weight="bold", va="center", transform=ax.get_yaxis_transform(),
                    bbox={"color": PANEL.light, "pad": 1})
            for loss, before, after in found:
                y += 1
                ticks[y] = loss
                draw(ax, before, y, color=look(loss).light, fmt=look(loss).marker)
                if after:
                    draw(ax, after, y, color=SOFT.light, fmt="s", markerfacecolor=PANEL.light)
                    ax.plot(100 * at_highest_rate(loss), y, "x", color=SOFT.light, markersize=5)
            y += 1.6
        ax.set(ylim=(y - 0.8, -0.8), yticks=[*ticks], yticklabels=[*ticks.values()],
               xlabel="score of 100 on NanoWorld's held-out questions")
        for row, name, style in (("base", "base", ":"), ("sft", "SFT", "--")):
            x = 100 * score("C13", row, from_base).mean
            ax.axvline(x, color=SOFT.light, linestyle=style, linewidth=1, zorder=0)
            ax.text(x, -0.9, name, ha="center", va="bottom", color=SOFT.light)
        ax.spines[["right", "left", "top"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        fig.suptitle(TITLE, weight="bold", fontsize=10)
        fig.text(0.02, 0.01, "Filled: trained from the base, each loss at its own best rate\n"
                 "and its default beta. Hollow square: a second stage after SFT\n"
                 "at its best rate, to be compared with sft's square; cross: at\n"
                 "the highest rate tried, one seed. Bars: 95 % intervals. Mean\n"
                 "of two bases.", color=SOFT.light)
        fig.subplots_adjust(left=0.22, right=0.97, top=1 - TITLE_ROOM / height,
                            bottom=LEGEND_ROOM / height)
        told = save(fig, file)
        plt.close(fig)
    return told


def draw(ax, found: Score, y: float, **style: Any) -> None:
    ax.errorbar(100 * found.mean, y, xerr=100 * found.half, markersize=4.5, linewidth=1.5, **style)
