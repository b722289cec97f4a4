"""C13's mechanism: does a pairs-only loss score more, the more likely it leaves right answers?

    python -m lessons.evidence C13      # prints it, below the questions

Each loss at its best rate is a point: the log-prob of right answers on held-out pairs (nats per
token, measures.py) and the score. The losses are the pairs-only losses, because two groups far
apart give a rank correlation to any two quantities; and once more with the base as a point, which
has moved nowhere. The rule, written before the runs:

holds           on both bases the rank correlation is larger than in 97.5 % of random orders, and no
                pair of losses contradicts it on both bases
does not hold   a pair of losses contradicts it on both bases: after one of them right answers are
                likelier and the score is lower, each by more than its interval at 5 % divided by
                the number of pairs
undecided       else
"""
from functools import cache
from typing import NamedTuple

import numpy as np

from lessons.evidence import judge, stats
from lessons.evidence.claim import UNIT
from lessons.evidence.claims import CLAIMS, load_packed
from lessons.evidence.which_loss import CONTRAST

ORDERS = 20_000                 # random orders


def ranks(x: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(x)).astype(float)


@cache
def random_orders(n: int) -> np.ndarray:
    """(ORDERS, n): the numbers below n in a random order each, the same in every call."""
    rng = np.random.default_rng(0)
    return np.array([rng.permutation(n) for _ in range(ORDERS)])


def rank_correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(Spearman's correlation, the share of random orders with as much or more)."""
    a, b = ranks(x), ranks(y)
    a, b = ((x - x.mean()) / x.std() for x in (a, b))
    found = float(a @ b / len(a))
    return found, float(np.mean(b[random_orders(len(b))] @ a / len(a) >= found - 1e-12))


class Point(NamedTuple):
    """What is known of a loss on one base. The base itself answers once, five times the same."""
    scores: np.ndarray          # (seeds, families, prompts), from 0 to 1
    right: np.ndarray           # (seeds,) log-prob of right answers, in nats per token
    wrong: np.ndarray           # (seeds,) the same of wrong answers
    groups: np.ndarray          # (families, prompts) one number for prompts that ask the same fact


def points(kept: dict, row: str, base: int) -> Point:
    i = judge.place(kept, CLAIMS["C13"], row, base)
    right, wrong = np.moveaxis(kept["logp"][i, base].mean(1), -1, 0)
    return Point(kept["scores"][i, base] / UNIT, right, wrong, kept["groups"])


def on_base(rows: list[str], kept: dict, base: int) -> dict[str, Point]:
    """{a loss: its point on this base}"""
    return {row: points(kept, row, base) for row in rows}


def decide(gap: float, variance: float, freedom: float, looks: int) -> int:
    """The sign of a difference, or 0 if its interval, corrected for all looks, holds 0."""
    return int(np.sign(gap)) if abs(gap) > stats.half_width(variance, freedom, looks) else 0


def signs(first: Point, second: Point, looks: int) -> tuple[int, int]:
    """(sign of the difference in log-prob, sign of that in score), 0 where it is not decided."""
    by_seed, gap = first.right - second.right, first.scores - second.scores
    of_logp = decide(by_seed.mean(), by_seed.var(ddof=1) / len(by_seed), len(by_seed) - 1, looks)
    families = gap.shape[1]
    gaps = [gap[:, family] / families for family in range(families)]
    return of_logp, decide(*stats.moments(gaps, list(first.groups)), looks)


def means(found: list[Point]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(log-probs of right answers, scores, log-probs of wrong answers), each (losses,)."""
    return (np.array([point.right.mean() for point in found]),
            np.array([point.scores.mean() for point in found]),
            np.array([point.wrong.mean() for point in found]))


def verdict_of(rows: list[str], kept: dict) -> tuple[str, list[str]]:
    """(verdict, the lines that show it)."""
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1:]]
    lines, correlated, against = [], [], []
    for base, name in enumerate(("N1", "N2")):
        of_row = on_base(rows, kept, base)
        right, scores, _ = means(list(of_row.values()))
        rho, chance = rank_correlation(right, scores)
        found_signs = {(a, b): signs(of_row[a], of_row[b], len(pairs)) for a, b in pairs}
        agree = sum(a * b > 0 for a, b in found_signs.values())
        against.append({pair for pair, (a, b) in found_signs.items() if a * b < 0})
        correlated.append(chance < 0.025)
        lines.append(f"{name}: rank correlation {rho:+.2f}, as much in {100 * chance:.1f} % of "
                     f"random orders; of {len(pairs)} pairs {agree} agree, "
                     f"{len(against[-1])} contradict")
    both = against[0] & against[1]
    lines += [f"against it on N1 and on N2: {a} and {b}" for a, b in sorted(both)]
    return ("does not hold" if both else "holds" if all(correlated) else "undecided"), lines


def afterwards(found: list[Point]) -> tuple[int, float]:
    """(in how many cases the correlation is within chance if one loss is left out; the correlation
    of the score and the margin, by which right answers are likelier than wrong ones)."""
    right, scores, wrong = means(found)
    chances = [rank_correlation(np.delete(right, i), np.delete(scores, i))[1]
               for i in range(len(found))]
    return sum(chance >= 0.025 for chance in chances), rank_correlation(right - wrong, scores)[0]


def report() -> list[str]:
    """The two verdicts, with what they rest on; then what was asked only afterwards."""
    kept, out = load_packed("C13"), []
    for title, rows in (("Within the pairs-only losses", [*CONTRAST]),
                        ("With the base as a point", [*CONTRAST, "base"])):
        verdict, lines = verdict_of(rows, kept)
        out += [f"{title} the score follows the log-prob of right answers: {verdict}",
                *(f"    {line}" for line in lines)]
    out.append("Unplanned, of the pairs-only losses:")
    for base, name in enumerate(("N1", "N2")):
        fragile, of_margin = afterwards(list(on_base([*CONTRAST], kept, base).values()))
        out.append(f"    {name}: if one loss is left out, the correlation is within chance in "
                   f"{fragile} of {len(CONTRAST)} cases; that of the score and the margin between "
                   f"right and wrong answers is {of_margin:+.2f}")
    return out
