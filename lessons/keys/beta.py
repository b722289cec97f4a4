"""The right functions of piece beta, common mistakes, and the scores of the twelve runs."""
from statistics import mean, stdev

import torch

from lessons.tasks.task import Task

T = 4.303                       # of three seeds: 97.5 % of Student's t with two degrees of freedom
WITHIN = 4.0                    # points by which a score may differ on another machine
SCORES = [[89.7, 88.5, 89.5], [65.8, 63.6, 69.5], [72.3, 72.5, 69.5], [84.6, 84.7, 84.5]]


def effect(first, second):
    leads = [a - b for a, b in zip(first, second)]
    return mean(leads), T * stdev(leads) / len(leads) ** 0.5


def decide(merged_small, chain_small, merged_large, chain_large):
    leads_small = [a - b for a, b in zip(merged_small, chain_small)]
    leads_large = [a - b for a, b in zip(merged_large, chain_large)]
    low = [m - half for m, half in (effect(merged_small, chain_small),
                                    effect(merged_large, chain_large))]
    m, half = effect(leads_small, leads_large)
    if min(low) > 0:
        return "merging"
    return "beta" if abs(m) > half else "undecided"


def my_scores():
    return SCORES


def seeds(draw, low=40, high=90):
    middle = draw.uniform(low, high)
    return [round(middle + draw.uniform(-4, 4), 1) for _ in range(3)]


def four_rows(draw):
    """Leads of 20, 3 or -12 points that differ a little or much from seed to seed."""
    out, spread = [], draw.choice([0.5, 3, 8])
    for lead in (draw.choice([20, 3, 0]), draw.choice([20, 3, -12])):
        chain = seeds(draw)
        out += [[round(x + lead + draw.uniform(-spread, spread), 1) for x in chain], chain]
    return tuple(out)


def of_my_scores(gives):
    """Without telling our scores. To five points, as those of another machine differ a little."""
    rows, ours = torch.as_tensor(gives).double(), torch.tensor(SCORES).double()
    if rows.shape != ours.shape:
        return {"gives lists of the shape": list(rows.shape)}
    far = (rows - ours).abs().amax(1)
    off = torch.where(far > WITHIN, (far / 5).round().clamp(min=1) * 5, 0)
    alike = (rows == rows[:, :1]).all(1).any().item()
    return {f"has list {k + 1} off by about:": x for k, x in enumerate(off.tolist())} | {
        "has three equal scores in a list:": alike}


def outcome(effect, decide, my_scores):
    merged_small, chain_small, merged_large, chain_large = rows = my_scores()
    leads = [[a - b for a, b in zip(*two)] for two in (rows[:2], rows[2:])]
    for name, two in {"merging, beta 0.1": (merged_small, chain_small),
                      "merging, beta 3": (merged_large, chain_large),
                      "the difference of both": leads}.items():
        yield "{:<24}{:+.1f} ± {:.1f} points".format(name, *effect(*two))
    yield f"So it is: {decide(*rows)}"


TASKS = {
    "beta: effect": Task(effect, lambda draw: (seeds(draw), seeds(draw)), [
        ("T * stdev(leads) / len(leads) ** 0.5",
         "T * ((stdev(first) ** 2 + stdev(second) ** 2) / 3) ** 0.5", "This is the interval of two "
         "groups. The runs are paired by seed, so take the spread of the leads."),
        ("T *", "1.96 *", "1.96 is for many seeds. With three of them Student's t is 4.303."),
        ("T *", "3.182 *", "Three seeds leave two degrees of freedom, and t is 4.303."),
        (" / len(leads) ** 0.5", "", "This is for a single lead. The mean of three varies less, by "
         "the square root of 3."),
        ("stdev(leads)", "stdev(leads) * (2 / 3) ** 0.5", "The squares are divided by n - 1."),
        ("[a - b", "[b - a", "The lead is the first minus the second.")], tolerance=1e-3),
    "beta: decide": Task(decide, four_rows, [
        ('"beta" if abs(m) > half', '"beta" if (low[0] > 0) != (low[1] > 0)', "That one lead is "
         "shown and the other is not does not show that they differ. Look at the interval of their "
         "difference."),
        ("[m - half for", "[m for", "A lead whose interval holds zero is not shown."),
        ("min(low)", "max(low)", "Merging helps only if it does so with both values of beta."),
        ('    if min(low) > 0:\n        return "merging"\n', "", "Ask first whether merging helps "
         "with both values of beta.")]),
    "beta: scores": Task(my_scores, lambda draw: (), [
        ("return SCORES", "return [SCORES[k] for k in (1, 0, 3, 2)]", "Merged rows and two stages "
         "are exchanged."),
        ("return SCORES", "return [SCORES[k] for k in (2, 3, 0, 1)]", "The small and the large "
         "beta are exchanged."),
        ("return SCORES", "return [[x[0]] * 3 for x in SCORES]", "All three runs have seed 0.")],
        properties=of_my_scores, rounds=1, text="    your twelve scores\n")}
