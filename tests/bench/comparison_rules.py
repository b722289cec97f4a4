"""How often does a comparison err, what does it see? The rules of stats.py on made-up scores.

    python -m tests.bench.comparison_rules              # all tables, 2,000 comparisons a cell
    python -m tests.bench.comparison_rules errors 500   # or lead, file, rates, told; fewer

The truth is known: no lead, or this one. Each comparison on own rows has a file of its own, from
one population, so that its luck does not cancel. Scores are in points of 100. Four standard
deviations say what moves a difference: the file, a training, a prompt for all seeds, the rest.
"""
import sys
from collections.abc import Callable
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from nanouft.compare.stats import Luck, expected_half_width, least_variance, luck_of


class Setting(NamedTuple):
    file: float = 3.3               # as dpo minus sft have it on files of 200 pairs of NanoWorld
    training: float = 1.0
    prompt: float = 29.0
    rest: float = 31.0
    rows_weigh: float = 0.0         # lognormal with this sigma, not normal: few rows weigh most
    prompts_weigh: float = 0.0      # the same of prompts
    document: int = 1               # prompts that share a document, and half of their luck
    group: bool = False             # do the rows say so?
    share: bool = False             # each answer is right or wrong
    active: float = 1.0             # so many prompts of 1 can differ
    fails: int = 0                  # so many of two methods fail in one of five trainings, by 40
    halves: float = 0.0             # so much better on half of the prompts, worse on the others
    tips: float = 0.0               # the file decides whether a method fails as a whole


OWN = {
    "normal": Setting(),
    "right or wrong": Setting(share=True),
    "the same, 10 % of prompts can differ": Setting(share=True, active=0.1),
    "few prompts weigh": Setting(prompts_weigh=1.5),
    "±60 on half of the prompts": Setting(halves=60),
    "the file rules": Setting(6, 1, 6, 6),
    "the same, few rows weigh": Setting(6, 1, 6, 6, rows_weigh=1.5),
    "a training rules": Setting(1, 6, 6, 6),
    "one method fails 1 of 5": Setting(fails=1),
    "both fail 1 of 5": Setting(fails=2),
    "5 prompts a document": Setting(document=5),
    "the same, given as `group`": Setting(document=5, group=True),
    "5 a document, documents rule": Setting(1, 1, 29, 10, document=5),
    "fails or not as the file has it": Setting(6, 1, 6, 6, tips=3)}
OF_WORLD = Setting(0, 2.1, 10, 42)
WORLD = {
    "normal": OF_WORLD,
    "right or wrong": OF_WORLD._replace(share=True),
    "quiet seeds": Setting(0, 0.3, 20, 31),
    "±40 on half of the prompts": OF_WORLD._replace(halves=40),
    "a training rules": Setting(0, 6, 6, 6),
    "one method fails 1 of 5": OF_WORLD._replace(fails=1),
    "both fail 1 of 5": OF_WORLD._replace(fails=2)}
OWN_SIZES = [(5, 150), (5, 40), (3, 150), (3, 40), (2, 150), (2, 40)]       # seeds, prompts
WORLD_SIZES = [(5, 900), (3, 900), (2, 900)]
TUNED, OFF, FAR_OFF = (-4, -1, 0, -1, -4), (-1.5, 0, -1.5, -5, -12), (-3, 0, -3, -9, -20)
CURVES = {                  # what 1/9, 1/3, 1, 3 and 9 of the default are worth, of each method
    "flat": [(0,) * 5] * 2, "tuned, 1 less beside it": [TUNED] * 2,
    "tuned, 3 less beside it": [(-12, -3, 0, -3, -12)] * 2,
    "both defaults off by 1.5": [OFF] * 2, "both by 3": [FAR_OFF] * 2,
    "one default off by 1.5": [TUNED, OFF], "one by 3": [TUNED, FAR_OFF]}


def drawn(rng: np.random.Generator, n: int, sigma: float = 0.0) -> np.ndarray:
    """(n,) of mean 0 and standard deviation 1: normal, or with sigma lognormal."""
    x = rng.standard_normal(n)
    return (np.exp(sigma * x - sigma ** 2 / 2) - 1) / np.expm1(sigma ** 2) ** 0.5 if sigma else x


def difference(rng: np.random.Generator, of: Setting, seeds: int, prompts: int, lead: float = 0
               ) -> tuple[np.ndarray, np.ndarray, float, float]:
    """(seeds, prompts) of two methods, (prompts,) their groups, the floor of its variance, and the
    luck of this file."""
    rows = drawn(rng, 4 * prompts, of.rows_weigh) * (4 * prompts) ** 0.5
    sample = rng.permutation(np.tile(np.arange(len(rows)), seeds)).reshape(seeds, -1)
    luck = rows[sample].mean(1)             # each row as often as any other
    luck = of.file * (np.tanh(of.tips * luck) if of.tips else luck)
    seed = luck + of.training * drawn(rng, seeds)
    for sign in (1, -1)[:of.fails]:
        seed = seed + sign * (8 - 40 * (rng.random(seeds) < 0.2))
    documents, shared = np.arange(prompts) // of.document, 0.5 * (of.document > 1)
    prompt = of.prompt * (shared ** 0.5 * drawn(rng, prompts)[documents]
                          + (1 - shared) ** 0.5 * drawn(rng, prompts, of.prompts_weigh))
    prompt = prompt + of.halves * rng.choice([-1, 1], prompts)
    gap = seed[:, None] + prompt + of.rest * rng.standard_normal((seeds, prompts))
    groups = documents if of.group else np.arange(prompts)
    if not of.share:
        return gap + lead, groups, 0.0, of.file * rows.mean()
    # the first is right in so many more of 100; without a lead both are in 65
    spread, both = (30 ** 2 + sum(x ** 2 for x in of[:4]) / 4) ** 0.5, 30 * drawn(rng, prompts)
    a, b = (NormalDist(0, spread).inv_cdf(0.65 + side * lead / 200) for side in (1, -1))
    gap = 100.0 * ((both + gap / 2 > -a) * 1 - (both - gap / 2 > -b))
    gap = gap * (rng.random(prompts) < of.active)
    return gap, groups, 1e4 * least_variance([groups]), np.nan


def table(title: str, settings: dict[str, Setting], sizes: list, cell: Callable) -> None:
    heads = [f"{seeds} seeds, {prompts} prompts" for seeds, prompts in sizes]
    print(f"\n| {title} | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|", sep="\n")
    for name, of in settings.items():
        print(f"| {name}", end=" | ")
        for size in sizes:
            print(cell(of, *size), end=" | ", flush=True)
        print()


def errors(times: int, lead: float = 0, this_file: bool = False) -> None:
    """False of 100, or a lead seen, where 1, 3 and 6 comparisons share the 5 %; median ±."""
    def cell(of: Setting, seeds: int, prompts: int) -> str:
        rng, found = np.random.default_rng(1), []
        for _ in range(times):
            gap, groups, least, file = difference(rng, of, seeds, prompts, lead)
            luck, mean = luck_of([gap], [groups]), gap.mean() - (file if this_file else 0)
            halves = [luck.on_this_file(k, least) if this_file else
                      luck.interval(of.file > 0, k, least) for k in (1, 3, 6)]
            found.append([*((mean if lead else abs(mean)) > np.array(halves)), halves[0]])
        shares = " ".join(f"{100 * x:.{0 if lead else 1}f}" for x in np.mean(found, 0)[:3])
        return f"{shares} (±{np.median(found, 0)[3]:.1f})"
    what = f"a lead of {lead} is seen, of 100" if lead else "false, of 100"
    if this_file:           # what the file does is known where the score is linear in it
        linear = {name: of for name, of in OWN.items() if not of.share and not of.tips}
        return table(f"on this file: {what}", linear, OWN_SIZES, cell)
    table(f"own rows: {what}", OWN, OWN_SIZES, cell)
    table(f"NanoWorld: {what}", WORLD, WORLD_SIZES, cell)


def search(rng: np.random.Generator, worth: tuple) -> tuple[float, float, float]:
    """What the rate is worth that is the default, is nearest to it of those within a standard error
    of the best (versions 5 and 6), has the best mean. 540 validation prompts."""
    def tried(i: int, seeds: int) -> list[float]:
        return [*(worth[i] + (2.1 ** 2 / 2 + 42 ** 2 / 2 / 540) ** 0.5 * drawn(rng, seeds))]
    found = {i: tried(i, 1) for i in (1, 2, 3)}
    best = max(found, key=found.__getitem__)
    more = 4 if best == 3 or best == 2 and found[3] > found[1] else 0
    found[more] = tried(more, 1)
    last = {2, *sorted(found, key=found.__getitem__)[-2:]}
    means = {i: found[i] + tried(i, 2) for i in sorted(last)}
    best = max(means, key=lambda i: np.mean(means[i]))
    behind = {i: np.subtract(means[best], means[i]) for i in means}
    close = [i for i in means if behind[i].mean() <= behind[i].std(ddof=1) / 3 ** 0.5]
    return worth[2], worth[min(close, key=lambda i: (abs(i - 2), behind[i].mean()))], worth[best]


def rates(times: int) -> None:
    """Both methods are equally good at their best rate. NanoWorld's test, five seeds."""
    print("\n| choice of the rate: false, of 100 | default, no search | nearest within a standard "
          "error | best mean of three |\n|---|---|---|---|")
    rest = 42 ** 2 / 900
    for name, (a, b) in CURVES.items():
        rng, false = np.random.default_rng(1), []
        for _ in range(times):
            leads = np.subtract(search(rng, a), search(rng, b))
            seeds = drawn(rng, 5) * (2.1 ** 2 + rest) ** 0.5 + drawn(rng, 1) / 3
            half = Luck(5, 900, seeds.var(ddof=1), 1 / 9 + rest / 5, rest).interval(False)
            false.append(abs(leads + seeds.mean()) > half)
        print(f"| {name} |", " | ".join(f"{100 * x:.1f}" for x in np.mean(false, 0)), "|")


def told(times: int) -> None:
    """Is the ± of the test in the range that is told after the search? Two methods, three rates."""
    def tries(rng: np.random.Generator, of: Setting, prompts: int) -> list[Luck]:
        shared, groups, *_ = difference(rng, of._replace(training=0, rest=0, fails=0), 3, prompts)
        own = (of.training * rng.standard_normal((2, 3, 3, 1))          # method, rate, seed, prompt
               + of.rest * rng.standard_normal((2, 3, 3, prompts))) / 2 ** 0.5
        for method in own[:of.fails]:
            method -= 40 * (rng.random((3, 3, 1)) < 0.2)
        return [luck_of([shared + a - b], [groups]) for a in own[0] for b in own[1]]

    def cell(of: Setting, seeds: int, prompts: int) -> str:
        rng, found = np.random.default_rng(1), []
        for _ in range(times // 4):
            gap, groups, *_ = difference(rng, of, seeds, prompts)
            luck = luck_of([gap], [groups])
            low, middle, high = expected_half_width(
                tries(rng, of, prompts * 2 // 3), 2, seeds, luck.facts, of.file > 0)
            half = luck.interval(of.file > 0)
            found.append([low <= half <= high, low, middle, high, half])
        low, middle, high, half = np.median(found, 0)[1:]
        inside = 100 * np.mean(found, 0)[0]
        return f"{inside:.0f}: {middle:.1f} ({low:.1f} to {high:.1f}), {half:.1f}"
    for place, settings, sizes in (("own rows", OWN, OWN_SIZES), ("NanoWorld", WORLD, WORLD_SIZES)):
        table(f"{place}: inside, of 100: told, printed", {
            name: of for name, of in settings.items() if not of.share}, sizes, cell)


if __name__ == "__main__":
    TABLES = {"errors": errors, "lead": lambda n: [errors(n, lead) for lead in (20, 10, 5, 2)],
              "file": lambda n: errors(n, this_file=True), "rates": rates, "told": told}
    for asked in sys.argv[1:2] or TABLES:
        TABLES[asked](int(*sys.argv[2:3] or [2000]))
