"""What is a judged answer worth, in demonstrations? From kept cells of the map; nothing is trained.

    found = exchange({30: cells, 100: cells}, {(30, 4000, "RFT", 0): cells})

SFT's own scores with 30, 100, 300 and 1,020 demonstrations make a curve: straight lines over the
logarithm of their number, the first and the last of them prolonged. A row that scores 73.1 stands
where SFT would stand with 166 demonstrations; it began with 30, so its judged answers were worth
136 of them. Seeds and prompts are drawn together, the same for the curve and the row, S-1 seeds of
S as in contrast.py; the interval is the middle 95 % of these draws.
"""
import numpy as np

from lab.contrast import arrays, drawn_means, drawn_seeds, prompt_groups

DRAWS = 2000


def drawn_scores(groups: dict[object, list[dict]]) -> tuple[dict[object, float], dict]:
    """({name: mean endpoint}, {name: (DRAWS,) endpoints of resampled seeds and prompts}), all with
    the same draws. groups: {name: its cells, the same seeds in the same order}."""
    rng, first = np.random.default_rng(0), next(iter(groups.values()))
    families = tuple(first[0]["each"])
    S = len(first)
    number = prompt_groups(first[0]["split"], first[0]["items"], first[0].get("prompts", 0))
    seeds = drawn_seeds(rng, S, DRAWS)
    mean, out = dict.fromkeys(groups, 0.0), {name: np.zeros(DRAWS) for name in groups}
    for family in families:
        scores = [arrays(cells, (family,))[0] for cells in groups.values()]  # (S,P) each
        for name, g, drawn in zip(groups, scores, drawn_means(rng, seeds, scores, number[family])):
            mean[name] += g.mean() / len(families)
            out[name] += drawn / len(families)
    return mean, out


def demonstrations(score: np.ndarray, curve: np.ndarray, demos: list[int]) -> np.ndarray:
    """(n,) so many demonstrations give SFT these scores. score: (n,); curve: (n,D) SFT's score at
    each of `demos`. A draw whose curve falls somewhere is taken as level there."""
    curve, x = np.maximum.accumulate(curve, 1), np.log(demos)
    slopes = np.maximum(np.diff(curve, axis=1), 1e-9) / np.diff(x)  # (n,D-1)
    piece = np.clip((score[:, None] > curve).sum(1) - 1, 0, len(demos) - 2)
    at = np.arange(len(score))
    return np.exp(np.minimum(x[piece] + (score - curve[at, piece]) / slopes[at, piece], 20.0))


def exchange(curve: dict[int, list[dict]],
             rows: dict[tuple[int, int, str, int], list[dict]]) -> list[dict]:
    """One line a row: so many demonstrations were its judged answers worth, and how many answers
    that is for one. curve: {demonstrations: SFT's cells}; rows: {(demonstrations, judged answers,
    name, % misjudged): its cells}."""
    demos = sorted(curve)
    mean, draws = drawn_scores({**curve, **rows})
    levels = np.array([[mean[d] for d in demos]]), np.stack([draws[d] for d in demos], 1)
    out = []
    for key in rows:
        had, judged, name, errs = key
        worth = float(demonstrations(np.array([mean[key]]), levels[0], demos)[0]) - had
        low, high = np.percentile(demonstrations(draws[key], levels[1], demos) - had, [2.5, 97.5])
        out.append({"demos": had, "samples": judged, "row": name, "errs": errs, "score": mean[key],
                    "worth": worth, "low": float(low), "high": float(high),
                    "answers": judged / worth if worth > 0 else None})
    return out
