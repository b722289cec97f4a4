"""How often does nanouft.compare err, and what does it see? By its own rules, on made-up scores.

    python -m tests.bench.compare_errors            # minutes; docs/python.md has what it prints

The truth is known: each comparison of your rows has a file of its own, drawn from one population, so
its luck does not cancel as in `a=sft b=sft`. Points are of 100; (file, training, question, rest) are
standard deviations: what a file of rows and a training do to the score, and a question to all seeds
or to one. They are those of sft and dpo on files of 200 NanoWorld pairs, unless a line says others.
"""
from types import SimpleNamespace

import numpy as np

from nanouft.compare import __main__ as compare
from nanouft.compare import arms, foretell, runs, stats
from nanouft.compare.comparison import FACTORS, TRIES, TRY
from nanouft.compare.verdicts import Question, Result

REAL = (3.3, 1, 29, 31)
SHAPES = {      # of the rows' influences, of how a score answers to them, of the questions
    "normal": {}, "file rules": {"sds": (6, 2, 15, 10)}, "training rules": {"sds": (1, 6, 15, 10)},
    "rest rules": {"sds": (1, 1, 10, 40)}, "a few of 150 rows weigh most": {"rows": "heavy"},
    "the same, a file that rules": {"rows": "heavy", "sds": (6, 2, 15, 10)},
    "the same, 30 rows": {"rows": "heavy", "n": 30, "sds": (6, 2, 15, 10)},
    "training tips over": {"tips": 3}, "the same, a file that rules": {"tips": 3, "sds": (6, 2, 10, 10)},
    "skewed questions": {"questions": "heavy", "sds": (1, 1, 29, 10)},
    "5 a document, unnamed": {"document": 5, "sds": (1, 1, 29, 10)},
    "5 a document, as `group`": {"document": 5, "named": True, "sds": (1, 1, 29, 10)}}
CURVES = {"0 0 0": (0, 0, 0, 0, 0), "-1 0 -1": (-4, -1, 0, -1, -4), "-4 0 -7": (-20, -4, 0, -7, -25),
          "-3 0 -3": (-12, -3, 0, -3, -12), "0 -3 -9": (-3, 0, -3, -9, -20)}


def of_shape(rng: np.random.Generator, shape: str, size: tuple) -> np.ndarray:
    """Mean 0, standard deviation 1; heavy: lognormal, sigma 1.5."""
    x = rng.standard_normal(size)
    return x if shape != "heavy" else (np.exp(1.5 * x) - np.exp(1.125)) / (
        np.exp(1.125) * np.sqrt(np.expm1(2.25)))


def difference(rng: np.random.Generator, seeds: int, questions: int, lead: float, sds: tuple = REAL,
               rows: str = "", n: int = 150, tips: int = 0, document: int = 0, named: bool = False,
               questions_are: str = "", **more: str) -> Question:
    """One comparison of your rows: points by which `a` leads `b`."""
    file, training, of_question, rest = sds
    drawn = rng.permutation(np.tile(np.arange(n), seeds)).reshape(seeds, n)
    luck = (of_shape(rng, rows, (n,)) * n ** 0.5)[drawn].mean(1)[:, None]
    luck = np.tanh(tips * luck) if tips else luck
    kind = np.arange(questions) // max(1, document)
    shared = of_shape(rng, more.get("questions", ""), (questions,))
    if document:
        shared = (0.3 ** 0.5 * rng.standard_normal(questions)[kind] + 0.7 ** 0.5 * shared)
    gap = lead + file * luck + training * rng.standard_normal((seeds, 1)) + of_question * shared + (
        rest * rng.standard_normal((seeds, questions)))
    groups = {"rows": kind if named else np.arange(questions)}
    a, b = (Result("", {"rows": x / 100}, groups, "reward", {}, redrawn=True) for x in (gap, 0 * gap))
    return Question(a, b, 1, 0.0)


def of_your_rows(times: int) -> None:
    print("seeds, questions: false verdicts of 100; verdicts at a lead of 10 points; half width")
    for name, shape in SHAPES.items():
        print(f"{name:30}", end="")
        for seeds, questions in ((3, 45), (5, 45), (5, 150), (10, 150)):
            rng = np.random.default_rng([seeds, questions])
            found = [difference(rng, seeds, questions, 0, **shape).interval() for _ in range(times)]
            mean, half = 100 * np.array(found).T
            print(f"  {seeds:2}, {questions:3}: {100 * np.mean(abs(mean) > half):4.1f} "
                  f"{100 * np.mean(mean + 10 > half):3.0f} {np.median(half):5.1f}", end="", flush=True)
        print()


def choice(rng: np.random.Generator, curve: tuple, luck: float, rest: float) -> tuple[float, float]:
    """(what the chosen rate is worth, trainings) of one method of NanoWorld, by its own tries."""
    arm = arms.read_arm("sft")
    points = dict(zip((1 / 9, 1 / 3, 1, 3, 9), curve))
    tries: dict[tuple, dict] = {}

    def values(job: tuple) -> dict:
        of_seed, of_rest = rng.normal(0, luck), rng.normal(0, rest, 540)
        score = (points[min(points, key=lambda x: abs(x - job[2]))] + of_seed + of_rest) / 100
        return tries.setdefault(job, {"score": {"all": score}})
    c = SimpleNamespace(
        paces={arm.stages[-1]: SimpleNamespace(rate=1.0)}, tried={}, again={}, rates={}, parts={},
        cfg=SimpleNamespace(by=None, workers=1), job=lambda arm, seed, rate: (arm, seed, rate),
        asked=lambda part: SimpleNamespace(groups=lambda: {"all": np.arange(540) // 2}),
        rate=lambda arm: c.rates[arm])
    runs.values, compare.carry_out = values, lambda *more: None
    bar = SimpleNamespace(total=0)
    compare.try_out(c, {arm: [*FACTORS[:3]]}, bar)
    if compare.at_edge(c, arm):
        compare.try_out(c, {arm: [*c.tried[arm], compare.one_more(c, arm)]}, bar)
    compare.try_again(c, [arm], bar)
    return points[min(points, key=lambda x: abs(x - c.rate(arm)))], len(tries)


def of_rates(times: int) -> None:
    """A method under two names: is either called better? Five seeds of 1.5 points, 900 questions."""
    print("curve of rates, own in the middle: false verdicts of 100; trainings of tries")
    for name, curve in CURVES.items():
        rng = np.random.default_rng(len(name))
        wrong, trainings = 0, 0.0
        for _ in range(times):
            (a, n), (b, _) = (choice(rng, curve, 1.5, 30) for _ in "ab")
            gap = a - b + rng.normal(0, 2 ** 0.5 * 1.5, (5, 1)) + rng.normal(0, 10, 300) + (
                rng.normal(0, 2 ** 0.5 * 30 / 3 ** 0.5, (5, 300)))          # thirds of 900
            mean, variance, freedom = stats.moments([gap], [np.arange(300)])
            wrong += abs(mean) > stats.half_width(variance, freedom)
            trainings += n / times
        print(f"{name:10} {100 * wrong / times:5.1f} {trainings:5.1f}", flush=True)


def of_leads(times: int) -> None:
    """A lead as large as was foretold: is it decided?"""
    print("decided of 100 at the least foretold lead, the middle, the largest (their medians)")
    for sds in (REAL, (1, 1, 29, 31), (3, 6, 29, 31), (8, 3, 29, 31)):
        for seeds, asked, tried in ((3, 45, 30), (5, 45, 30), (5, 150, 100)):
            rng, said, seen = np.random.default_rng(seeds), [], np.zeros(3)
            for _ in range(times):
                gaps = [difference(rng, len(TRIES), tried, 0, sds) for _ in range(4)]
                known = [stats.luck_of([q.asked().gaps["rows"]], [np.arange(tried)]) for q in gaps]
                luck = stats.Luck(*known[0][:2], *np.mean([x[2:] for x in known], 0))
                c = SimpleNamespace(seeds=range(seeds), arms="ab", parts=True)
                low, high = foretell.leads(luck, c, gaps[0], asked)
                said.append((low, high))
                for i, lead in enumerate((low, (low + high) / 2, high)):
                    mean, half = difference(rng, seeds, asked, 100 * lead, sds).interval()
                    seen[i] += mean > half
            low, high = 100 * np.median(said, 0)
            print(f"{sds!s:18} {seeds} seeds, {asked:3} questions: " + " ".join(
                f"{100 * x / times:3.0f}" for x in seen) + f"  ({low:.0f} to {high:.0f})", flush=True)


if __name__ == "__main__":
    of_your_rows(1000)
    of_rates(400)
    of_leads(200)
