"""C13's mechanism: does a contrast loss score more, the likelier it leaves right answers?

    python -m lessons.evidence C13      # prints it, below the questions

Each loss at its best rate is a point: the log-prob of right answers on held-out pairs (nats per
token, measures.py) and the score. The losses are the contrast losses alone, because two groups far
apart give a rank correlation to any two quantities; and once more with the base as a point, which
has moved nowhere. The rule, written before the runs:

holds           on both bases the rank correlation is larger than in 97.5 % of random orders, and no
                pair of losses contradicts it on both bases
does not hold   a pair of losses contradicts it on both bases: after one of them right answers are
                likelier and the score is lower, each by more than its interval at 5 % divided by
                the number of pairs
undecided       else
"""
import numpy as np

from lessons.evidence import stats
from lessons.evidence.claim import UNIT
from lessons.evidence.claims import CLAIMS, packed
from lessons.evidence.which_loss import CONTRAST

ORDERS = 20_000                 # random orders


def ranks(x: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(x)).astype(float)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(Spearman's correlation, the share of random orders with as much or more)."""
    rng = np.random.default_rng(0)
    a, b = ranks(x), ranks(y)
    a, b = ((x - x.mean()) / x.std() for x in (a, b))
    found = float(a @ b / len(a))
    orders = np.array([rng.permutation(b) for _ in range(ORDERS)])     # (orders, rows)
    return found, float(np.mean(orders @ a / len(a) >= found - 1e-12))


def points(kept: dict, row: str, base: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a row: scores (seeds, families, prompts), log-probs of right answers (seeds,) and the
    groups of its prompts. The base itself answers once, and so has one seed five times."""
    from lessons.evidence.judge import place
    i = place(kept, CLAIMS["C13"], row, base)
    return (kept["scores"][i, base] / UNIT, kept["logp"][i, base, ..., 0].mean(-1), kept["groups"])


def decided(gap: float, variance: float, freedom: float, looks: int) -> int:
    """The sign of a difference, or 0 if its interval, corrected for all looks, holds 0."""
    return int(np.sign(gap)) if abs(gap) > stats.half_width(variance, freedom, looks) else 0


def signs(kept: dict, first: str, second: str, base: int, looks: int) -> tuple[int, int]:
    """(sign of the difference in log-prob, sign of that in score), 0 where it is not decided."""
    (x, p, groups), (y, q, _) = (points(kept, row, base) for row in (first, second))
    by_seed = p - q
    of_logp = decided(by_seed.mean(), by_seed.var(ddof=1) / len(by_seed), len(by_seed) - 1, looks)
    shares = 1 / x.shape[1]
    gaps = [shares * (x - y)[:, family] for family in range(x.shape[1])]
    return of_logp, decided(*stats.moments(gaps, list(groups)), looks)


def found(rows: list[str], kept: dict) -> tuple[str, list[str]]:
    """(verdict, the lines that show it)."""
    pairs = [(a, b) for i, a in enumerate(rows) for b in rows[i + 1:]]
    lines, correlated, against = [], [], []
    for base, name in enumerate(CLAIMS["C13"].names):
        x = np.array([points(kept, row, base)[1].mean() for row in rows])
        y = np.array([points(kept, row, base)[0].mean() for row in rows])
        rho, chance = rank_correlation(x, y)
        found_signs = {pair: signs(kept, *pair, base, len(pairs)) for pair in pairs}
        agree = sum(a * b > 0 for a, b in found_signs.values())
        against.append({pair for pair, (a, b) in found_signs.items() if a * b < 0})
        correlated.append(chance < 0.025)
        lines.append(f"{name}: rank correlation {rho:+.2f}, as much in {100 * chance:.1f} % of "
                     f"random orders; of {len(pairs)} pairs {agree} agree, "
                     f"{len(against[-1])} contradict")
    both = against[0] & against[1]
    lines += [f"against it on both bases: {a} and {b}" for a, b in sorted(both)]
    return ("does not hold" if both else "holds" if all(correlated) else "undecided"), lines


def without_one(rows: list[str], kept: dict, base: int) -> int:
    """In how many cases is the correlation not larger than chance if one loss is left out?"""
    found = [points(kept, row, base) for row in rows]
    x, y = (np.array([point[i].mean() for point in found]) for i in (1, 0))
    chances = [rank_correlation(np.delete(x, i), np.delete(y, i))[1] for i in range(len(rows))]
    return sum(chance >= 0.025 for chance in chances)


def margin_correlation(rows: list[str], kept: dict, base: int) -> float:
    """The same with the margin, by which right answers are likelier than wrong ones."""
    from lessons.evidence.judge import place
    claim = CLAIMS["C13"]
    logp = [kept["logp"][place(kept, claim, row, base), base].mean((0, 1)) for row in rows]
    scores = np.array([points(kept, row, base)[0].mean() for row in rows])
    return rank_correlation(np.array([right - wrong for right, wrong in logp]), scores)[0]


def report() -> list[str]:
    """The two verdicts, with what they rest on; then what was asked only afterwards."""
    kept, out = packed("C13"), []
    for title, rows in (("Within the contrast losses", [*CONTRAST]),
                        ("With the base as a point", [*CONTRAST, "base"])):
        verdict, lines = found(rows, kept)
        out += [f"{title} the score follows the log-prob of right answers: {verdict}",
                *(f"    {line}" for line in lines)]
    out.append("Read off afterwards, of the contrast losses:")
    for base, name in enumerate(CLAIMS["C13"].names):
        fragile = without_one([*CONTRAST], kept, base)
        out.append(f"    {name}: if one loss is left out, the correlation is within chance in "
                   f"{fragile} of {len(CONTRAST)} cases; that of the score and the margin between "
                   f"right and wrong answers is {margin_correlation([*CONTRAST], kept, base):+.2f}")
    return out
