"""How often does a comparison err, what does it see? The rules of stats.py on made-up scores.

    python -m tests.bench.comparison_rules              # all tables, 1,000 comparisons a cell
    python -m tests.bench.comparison_rules errors 200   # or lead; fewer comparisons

The truth is known: no lead, or this one. Each comparison on own rows has a file of its own, from
one population, so that its luck does not cancel. Scores are in points of 100. Four standard
deviations say what moves a difference: the file, a training, a prompt for all seeds, the rest.
search_rules.py has what comes before the test.
"""
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nanouft.compare import stats
from nanouft.compare.stats import luck_of


class Setting(NamedTuple):
    file: float = 3.3               # as dpo minus sft have it on files of 200 pairs of NanoWorld
    training: float = 1.0
    prompt: float = 29.0
    rest: float = 31.0
    rows_weigh: float = 0.0         # lognormal with this sigma, not normal: few rows weigh most
    document: int = 1               # prompts that share a document, and half of their luck
    fails: int = 0                  # so many of two methods fail in one of five trainings, by 40
    halves: float = 0.0             # so much better on half of the prompts, worse on the others
    tips: float = 0.0               # the file decides whether a method fails as a whole


OWN = {
    "normal": Setting(),
    "±60 on half of the prompts": Setting(halves=60),
    "the file rules": Setting(6, 1, 6, 6),
    "the same, few rows weigh": Setting(6, 1, 6, 6, rows_weigh=1.5),
    "a training rules": Setting(1, 6, 6, 6),
    "one method fails 1 of 5": Setting(fails=1),
    "both fail 1 of 5": Setting(fails=2),
    "5 prompts a document": Setting(document=5),
    "5 a document, documents rule": Setting(1, 1, 29, 10, document=5),
    "fails or not as the file has it": Setting(6, 1, 6, 6, tips=3)}
OF_WORLD = Setting(0, 2.1, 10, 42)
WORLD = {
    "normal": OF_WORLD,
    "quiet seeds": Setting(0, 0.3, 20, 31),
    "±40 on half of the prompts": OF_WORLD._replace(halves=40),
    "a training rules": Setting(0, 6, 6, 6),
    "one method fails 1 of 5": OF_WORLD._replace(fails=1),
    "both fail 1 of 5": OF_WORLD._replace(fails=2)}
OWN_SIZES = [(5, 150), (5, 40), (3, 150), (3, 40), (2, 150), (2, 40)]       # seeds, prompts
WORLD_SIZES = [(5, 900), (3, 900), (2, 900)]


def drawn(rng: np.random.Generator, n: int, sigma: float = 0.0) -> np.ndarray:
    """(n,) of mean 0 and standard deviation 1: normal, or with sigma lognormal."""
    x = rng.standard_normal(n)
    return (np.exp(sigma * x - sigma ** 2 / 2) - 1) / np.expm1(sigma ** 2) ** 0.5 if sigma else x


def difference(rng: np.random.Generator, of: Setting, seeds: int, prompts: int) -> np.ndarray:
    """(seeds, prompts) of two methods that are equally good."""
    rows = drawn(rng, 4 * prompts, of.rows_weigh) * (4 * prompts) ** 0.5
    sample = rng.permutation(np.tile(np.arange(len(rows)), seeds)).reshape(seeds, -1)
    luck = rows[sample].mean(1)             # each row as often as any other
    luck = of.file * (np.tanh(of.tips * luck) if of.tips else luck)
    seed = luck + of.training * drawn(rng, seeds)
    for sign in (1, -1)[:of.fails]:
        seed = seed + sign * (8 - 40 * (rng.random(seeds) < 0.2))
    documents, shared = np.arange(prompts) // of.document, 0.5 * (of.document > 1)
    prompt = of.prompt * (shared ** 0.5 * drawn(rng, prompts)[documents]
                          + (1 - shared) ** 0.5 * drawn(rng, prompts))
    prompt = prompt + of.halves * rng.choice([-1, 1], prompts)
    return seed[:, None] + prompt + of.rest * rng.standard_normal((seeds, prompts))


def luck_in(gap: np.ndarray) -> stats.Luck:
    """Of prompts that are all draws of their own."""
    return luck_of([gap], [np.arange(gap.shape[1])])


def table(title: str, settings: dict[str, Setting], sizes: list, cell: Callable) -> None:
    heads = [f"{seeds} seeds, {prompts} prompts" for seeds, prompts in sizes]
    print(f"\n| {title} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|", sep="\n")
    for name, of in settings.items():
        print(f"| {name}", end=" | ")
        for size in sizes:
            print(cell(of, *size), end=" | ", flush=True)
        print()


def errors(times: int, of_own: int = 0, of_world: int = 0) -> None:
    """False of 100, or a lead of so many points seen, where 1, 3 and 6 comparisons share the 5 %;
    the median ±."""
    def cell(of: Setting, seeds: int, prompts: int) -> str:
        rng, found, lead = np.random.default_rng(1), [], of_own if of.file else of_world
        for _ in range(times):
            gap = difference(rng, of, seeds, prompts) + lead
            halves = [luck_in(gap).interval(of.file > 0, k) for k in (1, 3, 6)]
            mean = gap.mean() if lead else abs(gap.mean())
            found.append([*(mean > np.array(halves)), halves[0]])
        shares = " ".join(f"{100 * x:.{0 if lead else 1}f}" for x in np.mean(found, 0)[:3])
        return f"{shares} (±{np.median(found, 0)[3]:.1f})"
    own, world = (f"a lead of {x} is seen, of 100" if x else "false, of 100"
                  for x in (of_own, of_world))
    table(f"own rows: {own}", OWN, OWN_SIZES, cell)
    table(f"NanoWorld: {world}", WORLD, WORLD_SIZES, cell)


def run(tables: dict[str, Callable[[int], object]], times: int) -> None:
    """Those that the command names, or all."""
    exact = stats.student               # kept for three digits of the freedom: ten times as fast
    stats.student = lambda p, freedom: exact(p, float(f"{min(freedom, 1e4):.3g}"))
    for asked in sys.argv[1:2] or tables:
        tables[asked](int(*sys.argv[2:3] or [times]))


if __name__ == "__main__":
    run({"errors": errors, "lead": lambda n: [errors(n, 20, 5), errors(n, 10, 2)]}, times=1000)
