"""C7: does SFT overestimate what its model does, and does IFT's temporal residual repair that?

The IFT paper (arXiv:2405.11870v3, abstract and section 4) says that SFT overestimates the ability
of a model, because it reads the demonstrator's words and not the model's own; a blend with the own
guess is to estimate better. No training with IFT is needed to ask that. SFT models trained on four
numbers of demonstrations answer new prompts of three families in which a rule says which word is
right after nearly any words:

    sum         the own last sum plus the next number; "and", "is" and the numbers in their places
    sort        of the words that are left to say, the first in the alphabet
    reverse     of the words that are left to say, the last of the prompt
    all three   the end, when nothing is left to say

The truth, of every sampled answer and step: is the model's word right after its OWN words? The
estimates, for the same step: the chance of the demonstrated word after the demonstrated words

    SFT             as they are
    lam .2, lam 1   read as the blend with the own guess (Eq. 17)

Steps are compared while the sampled answer goes on, and up to the step at which the demonstration
ends. So both sides are asked the same steps, and either may be larger. For whole answers SFT's
product is exact by the chain rule; `row_lines` prints it, and no question is asked of it.

Two limits. The rule is strict in sums: a word left out shifts the places of all that follow, and
the sum goes on from the prompt's number, not from one that was copied wrongly. And where SFT says
too much, "the blend lies nearer" asks no more than whether the smaller number that the blend always
gives stays on the same side of the truth; how much of the gap it closes is in the figures.

A number of a seed is the mean over the four sizes of data and the three families. What was measured
is kept in results/C7.npz; the code that trained and measured is that of version 1.1.0
(`git show ffb6a607:lessons/evidence/estimates.py`).
"""
from collections.abc import Mapping

import numpy as np

from lessons.evidence import claims
from lessons.evidence.verdicts import Asked, Line, lines_of

PASSES = {30: 6, 100: 12, 300: 6, 1020: 3}          # demonstrations: passes, chosen on validation
SAMPLES = 8                                         # sampled answers to a prompt
PROMPTS = 60                                        # of each family
STEPWISE = ("sum", "sort", "reverse")
FLAGS = "--objective sft --rows {rows} --batch-size 16 --lr 1.25e-4 --epochs {passes}"
LAMBDAS = {"SFT": 0.0, "lam .2": 0.2, "lam 1": 1.0}
EXPECTED = ("The first holds and the last does not, because a word after own mistakes is harder "
            "than one after right words. The blend always lowers the estimate: lam .2 lies nearer, "
            "lam 1 falls below and is undecided. A half-width of 2 points.")

QUESTIONS = {
    "Step by step, SFT overestimates what its model does": "better",
    "Step by step, the blend (lam .2) lies nearer to what the model does": "better",
    "Step by step, the blend (lam 1) lies nearer to what the model does": "better",
    "Step by step, SFT's estimate of what its model does is right": "as good",
}

# What is kept, after (bases, sizes, seeds, prompts): chance (..., estimates) mean over the steps
# that were compared, steps and right, the number of these and of those where the model was right;
# product, SFT's chance of the whole demonstration, and whole, how many samples were wholly right.
Packed = Mapping[str, np.ndarray]


# ---- from what was measured to verdicts ----------------------------------------------------------
def packed() -> Packed:
    return claims.packed("C7")


def bias(kept: Packed, estimate: str) -> np.ndarray:
    """(bases, sizes, seeds, prompts): by how much the estimate lies above the model's steps."""
    chance = kept["chance"][..., list(LAMBDAS).index(estimate)].astype(float)
    return chance - kept["right"] / kept["steps"]


def distance(kept: Packed, estimate: str) -> np.ndarray:
    """The same, with the sign that makes its mean on each base positive: the mean is how far the
    estimate lies from the truth. That sign is taken as known."""
    gap = bias(kept, estimate)
    return gap * np.sign(gap.mean((1, 2, 3), keepdims=True))


def gaps(kept: Packed) -> list[np.ndarray]:
    """One array (bases, sizes, seeds, prompts) for each of QUESTIONS."""
    over = bias(kept, "SFT")
    far = distance(kept, "SFT")
    return [over, far - distance(kept, "lam .2"), far - distance(kept, "lam 1"), over]


def asked_of(gap: np.ndarray, test: str) -> Asked:
    """(seeds, prompts of all families) -> family by family; every prompt is a draw of its own."""
    gaps = dict(zip(STEPWISE, np.split(gap, len(STEPWISE), axis=-1)))
    return Asked(gaps, dict.fromkeys(STEPWISE, np.arange(PROMPTS)), (STEPWISE,), test)


def lines() -> list[Line]:
    kept = packed()
    by_base = [[asked_of(gap[base].mean(0), test)
                for gap, test in zip(gaps(kept), QUESTIONS.values())]
               for base in range(len(kept["steps"]))]
    return lines_of("C7", list(QUESTIONS), by_base)


def row_lines() -> list[str]:
    """What each estimate says, in percent, against the truth: step by step, and whole answers."""
    kept = packed()
    out = [f"{'%, means over seeds':22}{'model':>10}" + "".join(f"{e:>10}" for e in LAMBDAS)
           + f"{'whole':>10}{'product':>10}"]
    for base in range(len(kept["steps"])):
        for size, rows in enumerate(PASSES):
            of_size = {name: x[base, size].astype(float) for name, x in kept.items()}
            numbers = [(of_size["right"] / of_size["steps"]).mean(),
                       *of_size["chance"].mean((0, 1)),
                       of_size["whole"].mean() / SAMPLES, of_size["product"].mean()]
            out.append(f"{('base', 'base-1')[base]:8}{rows:>6} rows   "
                       + "".join(f"{100 * x:10.1f}" for x in numbers))
    return [*out, f"    {FLAGS}"]
