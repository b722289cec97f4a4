"""What comes before a test: which rule chooses a learning rate, and is the ± the one that was told?

    python -m tests.bench.search_rules              # 2,000 comparisons a row, 400 a cell of told
    python -m tests.bench.search_rules rates 500    # or told; fewer
"""
import numpy as np

from nanouft.compare.stats import Luck, expected_half_width
from tests.bench.comparison_rules import (
    OWN,
    OWN_SIZES,
    WORLD,
    WORLD_SIZES,
    Setting,
    difference,
    drawn,
    luck_in,
    run,
    table,
)

TUNED, OFF, FAR_OFF = (-4, -1, 0, -1, -4), (-1.5, 0, -1.5, -5, -12), (-3, 0, -3, -9, -20)
CURVES = {                  # what 1/9, 1/3, 1, 3 and 9 of the default are worth, of each method
    "flat": [(0,) * 5] * 2, "tuned, 1 less beside it": [TUNED] * 2,
    "tuned, 3 less beside it": [(-12, -3, 0, -3, -12)] * 2,
    "both defaults off by 1.5": [OFF] * 2, "both by 3": [FAR_OFF] * 2,
    "one default off by 1.5": [TUNED, OFF], "one by 3": [TUNED, FAR_OFF]}


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
        shared = difference(rng, of._replace(training=0, rest=0, fails=0), 3, prompts)
        own = (of.training * rng.standard_normal((2, 3, 3, 1))          # method, rate, seed, prompt
               + of.rest * rng.standard_normal((2, 3, 3, prompts))) / 2 ** 0.5
        for method in own[:of.fails]:
            method -= 40 * (rng.random((3, 3, 1)) < 0.2)
        return [luck_in(shared + a - b) for a in own[0] for b in own[1]]

    def cell(of: Setting, seeds: int, prompts: int) -> str:
        rng, found = np.random.default_rng(1), []
        for _ in range(times):
            luck = luck_in(difference(rng, of, seeds, prompts))
            low, middle, high = expected_half_width(
                tries(rng, of, prompts * 2 // 3), 2, seeds, luck.facts, of.file > 0)
            half = luck.interval(of.file > 0)
            found.append([low <= half <= high, low, middle, high, half])
        low, middle, high, half = np.median(found, 0)[1:]
        inside = 100 * np.mean(found, 0)[0]
        return f"{inside:.0f}: {middle:.1f} ({low:.1f} to {high:.1f}), {half:.1f}"
    for place, settings, sizes in (("own rows", OWN, OWN_SIZES), ("NanoWorld", WORLD, WORLD_SIZES)):
        table(f"{place}: inside, of 100: told, printed", settings, sizes, cell)


if __name__ == "__main__":
    run({"rates": rates, "told": lambda n: told(n // 5)}, times=2000)
