"""C7: does SFT overestimate what its model does, and does IFT's temporal residual repair that?

The IFT paper (arXiv:2405.11870v3, sections 3 and 4) says that SFT overestimates the ability
of a model, because it reads the demonstrator's words and not the model's own; a blend with the own
guess is to estimate better. No training with IFT is needed to ask that. SFT models trained on four
numbers of demonstrations answer new prompts of three families in which a rule says which word is
right after nearly any words:

    sum         the own last sum plus the next number; "and", "is" and the numbers in their places
    sort        of the words that are left to say, the first in the alphabet
    reverse     of the words that are left to say, the last of the prompt
    all three   the end, when nothing is left to say

The truth, of every sampled answer and step: is the model's word right after its OWN words? The
estimates, for the same step: the chance of the demonstrated word after the demonstrated words, as
it is (SFT), or read as the blend with the own guess (lam, Eq. 17). Steps are compared while the
sampled answer goes on, and up to the step at which the demonstration ends, so either side may be
larger. For whole answers SFT's product is exact by the chain rule, and no question is asked of it.

Two limits. The rule is strict in sums: a word left out shifts the places of all that follow, and
the sum goes on from the prompt's number, not from one that was copied wrongly. And where SFT says
too much, "the blend lies nearer" asks no more than whether the smaller number that the blend always
gives stays on the same side of the truth; how much of the gap it closes is in the figures.

A number of a seed is the mean over the four sizes of data and the three families. results/C7.npz
has, for (bases, sizes, seeds, prompts): `chance` (..., estimates), the mean over the steps that
were compared; `steps` and `right`, the number of these and of those where the model was right;
`product`, SFT's chance of the whole demonstration; `whole`, how many samples were wholly right. The
code that measured it is that of version 1.1.0 (`git show ffb6a607:lessons/evidence/estimates.py`).
"""
import numpy as np

from lessons.evidence.claims import packed
from lessons.evidence.verdicts import Asked, Line, lines_of

PASSES = {30: 6, 100: 12, 300: 6, 1020: 3}          # demonstrations: passes, chosen on validation
SAMPLES = 8                                         # sampled answers to a prompt
STEPWISE = ("sum", "sort", "reverse")
FLAGS = "--objective sft --rows {rows} --batch-size 16 --lr 1.25e-4 --epochs {passes}"
ESTIMATES = ("SFT", "lam .2", "lam 1")
EXPECTED = ("The first holds and the last does not, because a word after own mistakes is harder "
            "than one after right words. The blend always lowers the estimate: lam .2 lies nearer, "
            "lam 1 falls below and is undecided. A half-width of 2 points.")

QUESTIONS = {
    "Step by step, SFT overestimates what its model does": "better",
    "Step by step, the blend (lam .2) lies nearer to what the model does": "better",
    "Step by step, the blend (lam 1) lies nearer to what the model does": "better",
    "Step by step, SFT's estimate of what its model does is right": "as good",
}


def gaps() -> list[np.ndarray]:
    """One array (bases, sizes, seeds, prompts) for each of QUESTIONS. How far an estimate lies from
    the truth has the sign that makes its mean on each base positive; that sign is taken as known.
    """
    kept = packed("C7")
    truth = (kept["right"] / kept["steps"])[..., None]
    over = np.moveaxis(kept["chance"].astype(float) - truth, -1, 0)
    sft, blend, all_blend = over * np.sign(over.mean((2, 3, 4), keepdims=True))
    return [over[0], sft - blend, sft - all_blend, over[0]]


def asked_of(gap: np.ndarray, test: str) -> Asked:
    """(seeds, prompts of all families) -> family by family; every prompt is a draw of its own."""
    by_family = dict(zip(STEPWISE, np.split(gap, len(STEPWISE), axis=-1)))
    return Asked(by_family, {name: np.arange(x.shape[-1]) for name, x in by_family.items()},
                 (STEPWISE,), test)


def lines() -> list[Line]:
    by_base = zip(*gaps())
    return lines_of("C7", list(QUESTIONS), [
        [asked_of(gap.mean(0), test) for gap, test in zip(of_base, QUESTIONS.values())]
        for of_base in by_base])


def row_lines() -> list[str]:
    """What each estimate says, in percent, against the truth: step by step, and whole answers."""
    columns = ("model", *ESTIMATES, "whole", "product")
    out = [f"{'%, means over seeds':22}" + "".join(f"{column:>10}" for column in columns)]
    for b, base in enumerate(("N1", "N2")):
        for size, rows in enumerate(PASSES):
            x = {name: array[b, size].astype(float) for name, array in packed("C7").items()}
            numbers = [(x["right"] / x["steps"]).mean(), *x["chance"].mean((0, 1)),
                       x["whole"].mean() / SAMPLES, x["product"].mean()]
            out.append(f"{base:8}{rows:>6} rows   " + "".join(f"{100 * n:10.1f}" for n in numbers))
    return [*out, f"    {FLAGS}"]
