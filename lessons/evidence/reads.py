"""C5: what do the methods read and estimate on many frozen lakes, and where do they end?

    python -m lessons.evidence C5       # all verdicts, from results/C5.npz

The IFT paper explains its result on Frozen Lake (arXiv:2405.11870v3, section 5.3) by the cells
that a method explores: those of DPO fit the preference of the policy best, then those of IFT, then
those of SFT. Each question was written down before its figures, after a look at other lakes; these
were drawn from the seeds 100 to 199: 5 x 5 cells, with a best path and a detour.

Where does training end?
    In the paper's order of distance to the optimal policy, DPO < IFT < ORPO, SFT? Asked in 24
    settings, eight policies a lake.
What is read?
    The share of what a method reads that lies where the policy goes is smallest for SFT, larger for
    IFT, largest for DPO. Four cases: {from scratch, with a habit of the detour} x {a table, the
    paper's network}, four policies a lake, before the first update. Both are shares of cells, of
    those from which the goal can be reached, and what they share is sum over cells of
    min(read, visited). The policy's visits are exact, with discount .99. SFT reads the best path;
    IFT too, with weight 1 - lam, and with lam = .2 the cell where the policy's own move, one step
    earlier, would have led (the first cell is not mixed); DPO reads the best path and the detour.
    Part of the answer is given by construction: IFT's own guess is the cell that the policy would
    enter next, and DPO rejects the path that a policy with the habit walks.
Does SFT overestimate, move by move?
    Is a best move, whichever it is, likelier in the demonstrator's cells (SFT's estimate) than
    where the policy's own walks stand at the same step? Walks that have fallen into a hole by then
    are left out. Does IFT's blend with the own guess lie nearer? Of tables that learn the best path
    by SFT. Expected: with a habit SFT says too little before the first update, because the habit is
    good where it leads, and too much from the fifth on; from scratch it says neither much; the
    blend always lowers the estimate.
    Asked afterwards: what if a walk that has fallen counts as one that makes no best move? SFT then
    says too much by 9.6 ± 0.9 points with a habit after five updates, not by 5.7, and by 7.0 ± 1.6
    from scratch before the first, where it says too little by 4.4 if such walks are left out. This
    is `measure_moves` of the version below, with `best_moves_alone` times the share of walks that
    are left (`frozen_lake.estimate.on_ice`).

A lake's number is the mean over its policies. Differences are paired by lake, with Student's 95 %
interval over lakes. An order holds if all of its differences lie above 0, does not hold if one of
them lies below 0, and is otherwise undecided. The code that trained the ends is that of version
0.5.0 (`git show 3c61a24f:lab/lake_study.py`), that of the other questions that of version 1.1.0
(`git show ffb6a607:lessons/evidence/reads.py`).
"""
from dataclasses import replace

import numpy as np

from lessons.evidence.claims import packed
from lessons.evidence.stats import half_width
from lessons.evidence.verdicts import Finding, Line, on_all, points

TABLES = ("detour habit", "from scratch")       # of the third question
UPDATES = (0, 2, 5, 10, 20)     # by SFT, at the rate of the page
Difference = tuple[float, float]                # mean, half of its 95 % interval over lakes


def verdict(*differences: Difference) -> str:
    if all(mean - half > 0 for mean, half in differences):
        return "holds"
    return "does not hold" if any(mean + half < 0 for mean, half in differences) else "undecided"


def interval(values: np.ndarray) -> Difference:
    n = len(values)
    return float(values.mean()), half_width(values.var(ddof=1) / n, n - 1)


def endings() -> list[dict[str, Difference]]:
    """For each setting, the paper's own first: differences that are above 0 in its order."""
    kept, out = packed("C5"), []
    for distances in kept["distance"].astype(float):
        at = dict(zip(kept["methods"], distances[~np.isnan(distances).any(1)].T))
        out.append({f"{far.upper()} - {near.upper()}": interval(at[far] - at[near])
                    for far, near in (("ift", "dpo"), ("orpo", "ift"), ("sft", "ift"))})
    return out


def end_line() -> Line:
    ends = endings()
    verdicts = [verdict(*legs.values()) for legs in ends]
    counts = ", ".join(f"{verdicts.count(word)} {word.replace('does', 'do')}"
                       for word in dict.fromkeys(verdicts))
    legs = ", ".join(f"{leg} {mean:+.4f} ± {half:.4f}" for leg, (mean, half) in ends[0].items())
    return Line("C5", "Training ends in the paper's order of distance, DPO < IFT < ORPO, SFT "
                      "(the paper's setting)", verdicts[0],
                f"{legs}; of {len(ends)} settings: {counts}")


def read_lines() -> dict[str, tuple[Line, str]]:
    """{case: (its line, the share of lakes that show the order, in %)}"""
    kept, out = packed("C5"), {}
    for case, shares in zip(kept["cases"], kept["reads"]):
        sft, ift, dpo = shares.mean(1).T                        # of each lake, over its policies
        gaps = [interval(ift - sft), interval(dpo - ift)]
        ordered = f"{100 * ((sft < ift) & (ift < dpo)).mean():.0f}"
        figures = (f"SFT {100 * sft.mean():.1f} %, IFT {100 * ift.mean():.1f} %, "
                   f"DPO {100 * dpo.mean():.1f} %; IFT - SFT {points(*gaps[0])}, "
                   f"DPO - IFT {points(*gaps[1])}; in this order on {ordered} % of the lakes")
        question = f"What is read lies where the policy goes, SFT < IFT < DPO ({case})"
        out[case] = Line("C5", question, verdict(*gaps), figures), ordered
    return out


def move_lines() -> dict[tuple[str, int], Line]:
    out = {}
    for case, of_case in zip(TABLES, packed("C5")["moves"].astype(float)):
        for updates, chances in zip(UPDATES, of_case):  # (lakes,5): SFT, three blends, the policy
            gap = interval(chances[:, 0] - chances[:, -1])
            sft, *blends, alone = 100 * chances.mean(0)
            closed = ", ".join(f"{(sft - blend) / (sft - alone):+.2f}" for blend in blends)
            more = 100 * (chances[:, 0] > chances[:, -1]).mean()
            figures = (f"SFT says {sft:.1f} %, by itself the policy makes {alone:.1f} %; gap "
                       f"{points(*gap)}, more than 0 on {more:.0f} % of the lakes; of this gap the "
                       f"blend at lam 0.2, 0.5, 1 closes {closed}")
            question = f"Move by move, SFT overestimates its policy ({case}, {updates} updates)"
            out[case, updates] = Line("C5", question, verdict(gap), figures, "better",
                                      (Finding(*gap, verdict(gap)),))
    return out


def lines() -> list[Line]:
    return [end_line(), *(line for line, _ in read_lines().values()), *move_lines().values()]


def page_lines() -> list[Line]:
    """The same in four lines: what is read by a policy with a habit, or from scratch, holds if it
    holds for a table and for a network; moves are those of a policy with a habit after five."""
    end, moved = end_line(), move_lines()["detour habit", 5]
    out = [replace(end, question="Frozen Lake: training ends in the paper's order, DPO, IFT, ORPO "
                                 "and SFT", figures=end.figures.partition("; ")[2])]
    for start, name in zip(TABLES, ("with a habit", "from scratch")):
        found = [of_case for case, of_case in read_lines().items() if start in case]
        out.append(Line("C5", f"What is read lies where a policy {name} goes, SFT < IFT < DPO",
                        on_all([line.verdict for line, _ in found]),
                        f"this order on {' and '.join(x for _, x in found)} % of 100 maps"))
    return [*out, replace(
        moved, question="Move by move, SFT overestimates a policy with a habit (5 updates)",
        figures=points(*moved.findings[0][:2]))]
