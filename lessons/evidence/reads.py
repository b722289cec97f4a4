"""C5: what do the methods read and estimate, and where do they end? Questions on many frozen lakes.

    python -m lessons.evidence C5       # all verdicts, from results/C5.npz

The IFT paper explains its result on Frozen Lake (arXiv:2405.11870v3, section 5.3) by the cells
that a method explores: those of DPO fit the preference of the policy best, then those of IFT, then
those of SFT. An exploratory run on the lakes of seeds 0 to 99 found this order. So the question is
asked again, on lakes that nobody has looked at.

Question (written down before any figure of it was made)
    The share of what a method reads that lies where the policy itself goes is smallest for SFT,
    larger for IFT, largest for DPO.

Lakes       drawn from the seeds 100 to 199: 5 x 5 cells, with a best path and a detour.
Policies    four cases: {from scratch, with a habit of the detour} x {a table, the paper's network};
            four policies a lake, each before its first update.
Where the policy goes
            the share of each cell in its own visits, exact, with discount .99.
What a method reads, as shares of cells, counting cells from which the goal can be reached:
    SFT     the cells of the best path
    IFT     the same with weight 1 - lam, and with weight lam the cell where the policy's own move,
            one step earlier, would have led; lam = .2; the first cell is not mixed
    DPO     the cells of the best path, and those of the detour
The share that lies where the policy goes is  sum over cells of min(read, visited).

Rule        A lake's number is the mean over its four policies. Two differences are judged in each
            case, paired by lake: IFT - SFT and DPO - IFT, with Student's 95 % interval over lakes.
            The order holds in a case if both intervals lie above 0; it does not hold if one of them
            lies below 0; otherwise it is undecided. Beside the verdict stands the share of lakes
            that show the order. Each case has a verdict of its own, and none is left out.

Part of the answer is given by construction: IFT's own guess is the cell that the policy would
enter next, and the path that DPO rejects is the one a policy with the habit walks. The question
is therefore how far the methods differ, and whether a policy from scratch shows the order as well.

The third question is asked on the same lakes, of tables that learn the best path by SFT, with a
habit of the detour and from scratch, before and after some updates (written down before its
figures; the lake of the page, twoway5, and two others had been looked at).

Question    Is a best move, whichever it is, likelier in the demonstrator's cells (SFT's estimate)
            than where the policy itself stands at the same step? Does IFT's blend with the own
            guess, lam .2, .5 and 1, lie nearer?
Expected    With a habit SFT says too little before the first update, because the habit is good
            where it leads, and too much from the fifth on. From scratch it says neither much. The
            blend always lowers the estimate: the wrong way at first, then a part of the gap.
Rule        As above, of SFT - alone: it holds that SFT overestimates if the interval lies above 0.

The second question is older: does training end in the paper's order of distance to the optimal
policy, DPO < IFT < ORPO, SFT? It was asked in 24 settings on 100 lakes, eight policies each. Their
distances are packed and are judged here; the code that trained them is that of version 0.5.0
(`git show 3c61a24f:lab/lake_study.py`), that of the other questions that of version 1.1.0
(`git show ffb6a607:lessons/evidence/reads.py`).
"""
from dataclasses import replace

import numpy as np

from lessons.evidence.claims import packed
from lessons.evidence.stats import half_width
from lessons.evidence.verdicts import Finding, Line, on_all, points

TABLES = ("detour habit", "from scratch")       # of the third question
UPDATES = (0, 2, 5, 10, 20)     # by SFT, at the rate of the page
LAMS = (0.0, 0.2, 0.5, 1.0)     # 0 is SFT
Difference = tuple[float, float]                # mean, half of its 95 % interval over lakes


def verdict(*differences: Difference) -> str:
    """An order holds if all of its differences lie above 0."""
    if all(mean - half > 0 for mean, half in differences):
        return "holds"
    return "does not hold" if any(mean + half < 0 for mean, half in differences) else "undecided"


def interval(values: np.ndarray) -> Difference:
    n = len(values)
    return float(values.mean()), half_width(values.var(ddof=1) / n, n - 1)


def endings() -> list[dict[str, Difference]]:
    """For each of the 24 settings, the paper's own first: the differences between the distances at
    the end of training that are above 0 in the paper's order."""
    kept, out = packed("C5"), []
    for distances in kept["distance"].astype(float):
        at = dict(zip(kept["methods"], distances[~np.isnan(distances).any(1)].T))
        out.append({f"{far.upper()} - {near.upper()}": interval(at[far] - at[near])
                    for far, near in (("ift", "dpo"), ("orpo", "ift"), ("sft", "ift"))})
    return out


def counted() -> str:
    verdicts = [verdict(*legs.values()) for legs in endings()]
    return f"of {len(verdicts)} settings: " + ", ".join(
        f"{verdicts.count(word)} {word.replace('does', 'do')}" for word in dict.fromkeys(verdicts))


def end_line() -> Line:
    legs = endings()[0]
    figures = ", ".join(f"{leg} {mean:+.4f} ± {half:.4f}" for leg, (mean, half) in legs.items())
    return Line("C5", "Training ends in the paper's order of distance, DPO < IFT < ORPO, SFT "
                      "(the paper's setting)", verdict(*legs.values()), f"{figures}; {counted()}")


def read_line(case: str, shares: np.ndarray) -> tuple[Line, str]:
    """Does what is read lie more and more where the policy goes? Also the share of lakes in %."""
    sft, ift, dpo = shares.mean(1).T                        # of each lake, over its policies
    gaps = [interval(ift - sft), interval(dpo - ift)]
    ordered = f"{100 * ((sft < ift) & (ift < dpo)).mean():.0f}"
    figures = (f"SFT {100 * sft.mean():.1f} %, IFT {100 * ift.mean():.1f} %, "
               f"DPO {100 * dpo.mean():.1f} %; IFT - SFT {points(*gaps[0])}, "
               f"DPO - IFT {points(*gaps[1])}; in this order on {ordered} % of the lakes")
    return Line("C5", f"What is read lies where the policy goes, SFT < IFT < DPO ({case})",
                verdict(*gaps), figures), ordered


def read_lines() -> dict[str, tuple[Line, str]]:
    kept = packed("C5")
    return {case: read_line(case, shares) for case, shares in zip(kept["cases"], kept["reads"])}


def move_line(case: str, updates: int, chances: np.ndarray) -> Line:
    """Does SFT overestimate its policy, move by move? (lakes,5): SFT, the blends, the truth."""
    gap = interval(chances[:, 0] - chances[:, -1])
    sft, *blends, alone = 100 * chances.mean(0)
    closed = ", ".join(f"{(sft - blend) / (sft - alone):+.2f}" for blend in blends)
    more = 100 * (chances[:, 0] > chances[:, -1]).mean()
    figures = (f"SFT {sft:.1f} %, alone {alone:.1f} %; SFT - alone {points(*gap)}, more than 0 on "
               f"{more:.0f} % of the lakes; of this gap the blend at lam "
               f"{', '.join(f'{lam:g}' for lam in LAMS[1:])} closes {closed}")
    return Line("C5", f"Move by move, SFT overestimates its policy ({case}, {updates} updates)",
                verdict(gap), figures, "better", (Finding(*gap, verdict(gap)),))


def move_lines() -> dict[tuple[str, int], Line]:
    return {(case, updates): move_line(case, updates, chances)
            for case, of_case in zip(TABLES, packed("C5")["moves"].astype(float))
            for updates, chances in zip(UPDATES, of_case)}


def lines() -> list[Line]:
    """The order at the end in the paper's own setting, what is read in each of the four cases, and
    what SFT says, move by move."""
    return [end_line(), *(line for line, _ in read_lines().values()), *move_lines().values()]


def page_lines() -> list[Line]:
    """The same in four lines: where training ends; what is read by a policy with a habit and by one
    from scratch, which hold if they hold for a table and for a network; and whether SFT
    overestimates a policy with a habit that has learnt for five updates."""
    out = [Line("C5", "Frozen Lake: training ends in the paper's order, DPO, IFT, ORPO and SFT",
                end_line().verdict, counted())]
    for start, name in zip(TABLES, ("with a habit", "from scratch")):
        found = [of_case for case, of_case in read_lines().items() if start in case]
        out.append(Line("C5", f"What is read lies where a policy {name} goes, SFT < IFT < DPO",
                        on_all([line.verdict for line, _ in found]),
                        f"this order on {' and '.join(x for _, x in found)} % of 100 maps"))
    moved = move_lines()[TABLES[0], 5]
    return [*out, replace(
        moved, question="Move by move, SFT overestimates a policy with a habit (5 updates)",
        figures=points(*moved.findings[0][:2]))]
