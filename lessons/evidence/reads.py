"""C5: what do the methods read and estimate, and where do they end? Questions on many frozen lakes.

    python -m lessons.evidence.reads                # all verdicts, from results/C5.npz
    python -m lessons.evidence.reads --measure      # the first and third question again

The IFT paper explains its result on Frozen Lake (arXiv:2405.11870v3, section 5.3) by the cells
that a method explores: those of DPO fit the preference of the policy best, then those of IFT, then
those of SFT. An exploratory run on the lakes of seeds 0 to 99 found this order. So the question is
asked again, on lakes that nobody has looked at.

Question (written down before any figure of it was made)
    The share of what a method reads that lies where the policy itself goes is smallest for SFT,
    larger for IFT, largest for DPO.

Lakes       random_lake(seed), seeds 100 to 199: 5 x 5 cells, with a best path and a detour.
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
(`git show 3c61a24f:lab/lake_study.py`).
"""
import sys
from pathlib import Path

import numpy as np

from lessons.evidence.stats import half_width
from lessons.evidence.verdicts import Finding
from nanouft.errors import command

RESULTS = Path(__file__).parent / "results" / "C5.npz"
SEEDS = range(100, 200)         # lakes
POLICIES = 4                    # on each lake
LAM = 0.2                       # IFT: share of the own guess
CASES = {"from scratch, table": ("table", "fresh"), "from scratch, network": ("net", "fresh"),
         "detour habit, table": ("table", "habit"), "detour habit, network": ("net", "habit")}
TABLES = {"detour habit": "habit", "from scratch": "fresh"}     # of the third question
UPDATES = (0, 2, 5, 10, 20)     # by SFT, at the rate of the page
LAMS = (0.0, 0.2, 0.5, 1.0)     # 0 is SFT


def verdict(differences: list[tuple[float, float]]) -> str:
    """Of the (mean, half width) of IFT - SFT and of DPO - IFT."""
    if all(mean - half > 0 for mean, half in differences):
        return "holds"
    return "does not hold" if any(mean + half < 0 for mean, half in differences) else "undecided"


def interval(values: np.ndarray) -> tuple[float, float]:
    """(mean, half width of its 95 % interval) over lakes."""
    n = len(values)
    return float(values.mean()), half_width(values.var(ddof=1) / n, n - 1)


# ---- verdicts, from the packed figures -----------------------------------------------------------
Line = tuple[str, str, str]                     # question, verdict, figures
ORDER = "Training ends in the paper's order of distance, DPO < IFT < ORPO, SFT"


def lines() -> list[Line]:
    """All questions: the order at the end in the paper's own setting, what is read in each of the
    four cases, and what SFT says, move by move."""
    verdicts = [line[1] for line in order_lines()]
    counts = ", ".join(f"{verdicts.count(word)} {word.replace('does', 'do')}"
                       for word in dict.fromkeys(verdicts))
    question, found, figures = order_lines()[0]
    return [(question, found, f"{figures}; of {len(verdicts)} settings: {counts}"), *read_lines(),
            *move_lines()]


def points(mean: float, half: float) -> str:
    return f"{100 * mean:+.1f} ± {100 * half:.1f}"


def read_lines() -> list[Line]:
    """For each case: does what is read lie more and more where the policy goes?"""
    packed, out = np.load(RESULTS), []
    for case, shares in zip(packed["cases"], packed["reads"]):
        sft, ift, dpo = shares.mean(1).T                        # of each lake, over its policies
        gaps = [interval(ift - sft), interval(dpo - ift)]
        ordered = ((sft < ift) & (ift < dpo)).mean()
        figures = (f"SFT {100 * sft.mean():.1f} %, IFT {100 * ift.mean():.1f} %, "
                   f"DPO {100 * dpo.mean():.1f} %; "
                   + f"IFT - SFT {points(*gaps[0])}, DPO - IFT {points(*gaps[1])}"
                   + f"; in this order on {100 * ordered:.0f} % of the lakes")
        out.append((f"What is read lies where the policy goes, SFT < IFT < DPO ({case})",
                    verdict(gaps), figures))
    return out


def order_lines() -> list[Line]:
    """For each of the 24 settings, the paper's own first: does training end in its order?"""
    packed, out = np.load(RESULTS), []
    for setting, distances in zip(packed["settings"], packed["distance"].astype(float)):
        at = dict(zip(packed["methods"], distances[~np.isnan(distances).any(1)].T))
        legs = {"IFT - DPO": interval(at["ift"] - at["dpo"]),   # the paper: all three above 0
                "ORPO - IFT": interval(at["orpo"] - at["ift"]),
                "SFT - IFT": interval(at["sft"] - at["ift"])}
        figures = ", ".join(f"{leg} {mean:+.4f} ± {half:.4f}" for leg, (mean, half) in legs.items())
        name = "the paper's setting" if setting == "base" else setting
        out.append((f"{ORDER} ({name})", verdict(list(legs.values())), figures))
    return out


def move_lines() -> list[Line]:
    """For each table and number of updates: does SFT overestimate its policy, move by move?"""
    packed, out = np.load(RESULTS), []
    for case, of_case in zip(TABLES, packed["moves"].astype(float)):
        for updates, chances in zip(UPDATES, of_case):          # (lakes,5)
            gap = interval(chances[:, 0] - chances[:, -1])
            sft, *blends, alone = 100 * chances.mean(0)
            closed = ", ".join(f"{(sft - blend) / (sft - alone):+.2f}" for blend in blends)
            more = 100 * (chances[:, 0] > chances[:, -1]).mean()
            figures = (f"SFT {sft:.1f} %, alone {alone:.1f} %; SFT - alone {points(*gap)}, more "
                       f"than 0 on {more:.0f} % of the lakes; of this "
                       f"gap the blend at lam {', '.join(f'{lam:g}' for lam in LAMS[1:])} closes "
                       f"{closed}")
            out.append((f"Move by move, SFT overestimates its policy ({case}, {updates} updates)",
                        verdict([gap]), figures))
    return out


def moves_after(updates: int) -> tuple[str, str, str, str, tuple[Finding, ...]]:
    """The line of a policy with a habit, with its difference alone."""
    chances = np.load(RESULTS)["moves"][0, UPDATES.index(updates)].astype(float)
    mean, half = interval(chances[:, 0] - chances[:, -1])
    found = verdict([(mean, half)])
    return (f"Move by move, SFT overestimates a policy with a habit ({updates} updates)", found,
            points(mean, half), "better", (Finding(mean, half, found),))


# ---- lakes, and what is measured on them ---------------------------------------------------------
def random_lake(seed: int):
    """A lake of 5 x 5 cells drawn from its seed, seven tenths of it ice: S and G anywhere, with a
    best path of at least five moves and a longer detour. Ice from which G cannot be reached becomes
    a hole."""
    import torch

    from frozen_lake.lake import Lake
    from frozen_lake.planning import best_path, other_way

    def lake_of(cells: list[str]) -> Lake:
        rows = ("".join(cells[i:i + 5]) for i in range(0, 25, 5))
        return Lake(f"random{seed}", tuple(rows))
    rng = torch.Generator().manual_seed(seed)
    while True:
        cells = ["F" if x < 0.7 else "H" for x in torch.rand(25, generator=rng).tolist()]
        start, goal = torch.randperm(25, generator=rng)[:2].tolist()
        cells[start], cells[goal] = "S", "G"
        live = lake_of(cells).live
        if start not in live:
            continue
        lake = lake_of([c if c in "SG" or s in live else "H" for s, c in enumerate(cells)])
        if 5 <= len(best_path(lake)) < len(other_way(lake)):
            return lake


def measure() -> np.ndarray:
    """(cases, lakes, policies, 3): the share that lies where the policy goes, of SFT, IFT, DPO."""
    import torch
    from tqdm import tqdm

    from frozen_lake.estimate import overlap, reads
    from frozen_lake.learn import task_of
    from frozen_lake.planning import visits
    from frozen_lake.policies import start_policy

    def shares(kind: str, start: str, seed: int) -> torch.Tensor:
        task = task_of(random_lake(seed))
        probs = start_policy(kind, start, task.lake, POLICIES).probs()
        own = visits(task.lake, probs)
        return torch.stack([overlap(reads(task, probs, name, LAM), own)
                            for name in ("sft", "ift", "dpo")], -1)
    return np.array([[shares(kind, start, seed).numpy() for seed in SEEDS]
                     for kind, start in tqdm(CASES.values(), "cases")])


def measure_moves() -> np.ndarray:
    """(tables, updates, lakes, 5): chance of a best move, a mean over policies and over the steps
    of the best path: by SFT and IFT's blends (LAMS), and where the policy stands by itself."""
    from tqdm import tqdm

    from frozen_lake.estimate import best_moves, best_moves_alone
    from frozen_lake.learn import learn, task_of
    from frozen_lake.policies import start_policy
    from frozen_lake.record import RATE, table_of

    def chances(start: str, seed: int) -> list[list[float]]:
        """(updates,5) of one lake."""
        task = task_of(random_lake(seed))
        first = start_policy("table", start, task.lake, POLICIES)
        stages = learn(task, first, "sft", max(UPDATES), RATE)              # (updates+1,N,S,4)
        return [[*(best_moves(table_of(task.lake, stages[k]), task.best, lam).mean().item()
                   for lam in LAMS),
                 best_moves_alone(task.lake, stages[k], len(task.best)).mean().item()]
                for k in UPDATES]
    found = np.array([[chances(start, seed) for seed in SEEDS]
                      for start in tqdm(TABLES.values(), "tables")])
    return found.swapaxes(1, 2)


def main(argv: list[str]) -> int:
    if argv == ["--measure"]:
        packed = dict(np.load(RESULTS))
        new = packed | {"cases": np.array(list(CASES)), "reads": measure().astype(np.float32),
                        "moves": measure_moves().astype(np.float32)}
        for name in ("reads", "moves"):
            if name in packed:
                far = np.abs(new[name] - packed[name]).max()
                print(f"{name} measured again: the largest change is {far:.1e}")
        np.savez_compressed(RESULTS, **new)
    for question, found, figures in [*order_lines(), *read_lines(), *move_lines()]:
        print(f"{question}: {found}\n    {figures}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main, sys.argv[1:]))
