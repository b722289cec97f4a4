"""How often does nanouft.compare err, and what does it see? By its own rules, on made-up scores.

    python -m tests.bench.simulate_error_rates  # half an hour; what it prints is in docs/python.md

The truth is known: each comparison has a file of rows of its own, from one population, so that its
luck doesn't cancel as it does in `a=sft b=sft`. Scores are in points of 100. Four standard
deviations say what moves them: the file, a training, a question for all seeds, and what is left.
"""
from types import SimpleNamespace as Simple

import numpy as np

from nanouft.compare import __main__ as compare
from nanouft.compare import arms, power, runs, stats
from nanouft.compare.plan import RATE_FACTORS, SEARCH_SEEDS
from nanouft.compare.verdicts import MissedRate, Question, Result, could_undo, missed_rate

REAL = (3.3, 1, 29, 31)             # dpo minus sft, prefers, on files of 200 pairs of NanoWorld
FILE, FEW = (6, 1, 6, 6), (1, 1, 29, 10)            # the file rules; the questions do
SHAPES = {
    "as on NanoWorld": {}, "the file rules": {"sds": FILE},
    "a training rules": {"sds": (1, 6, 6, 6)}, "what is left rules": {"sds": (1, 1, 10, 40)},
    "some rows weigh most": {"rows": 1.5},
    "the same, the file rules": {"rows": 1.5, "sds": FILE},
    "a training tips over": {"tips": 3}, "the same, the file rules too": {"tips": 3, "sds": FILE},
    "some questions weigh most": {"heavy": 1.5, "sds": FEW},
    "5 questions a document": {"document": 5, "sds": FEW},
    "the same, as `group`": {"document": 5, "named": True, "sds": FEW}}
CURVES = {                          # at a ninth of the own rate, a third, the own, 3 and 9 times it
    "0 0 0": (0, 0, 0, 0, 0), "-1 0 -1": (-4, -1, 0, -1, -4), "-4 0 -7": (-20, -4, 0, -7, -25),
    "-3 0 -3": (-12, -3, 0, -3, -12), "0 -3 -9": (-3, 0, -3, -9, -20)}


def skewed(rng: np.random.Generator, n: int, sigma: float) -> np.ndarray:
    """(n,) of mean 0 and standard deviation 1: normal, or with sigma lognormal."""
    x = rng.standard_normal(n)
    heavy = np.exp(sigma * x - sigma ** 2 / 2) - 1
    return heavy / np.expm1(sigma ** 2) ** 0.5 if sigma else x


def question(rng: np.random.Generator, seeds: int, asked: int, lead: float = 0, sds: tuple = REAL,
             rows: float = 0, tips: int = 0, heavy: float = 0, document: int = 1,
             named: bool = False) -> Question:
    """One comparison on 150 rows of your own, with this lead."""
    file, training, of_question, left = sds
    drawn = rng.permutation(np.tile(np.arange(150), seeds)).reshape(seeds, 150)
    luck = skewed(rng, 150, rows)[drawn].mean(1)[:, None] * 150 ** 0.5
    luck = np.tanh(tips * luck) if tips else luck
    of_document, shared = np.arange(asked) // document, 0.3 * (document > 1)
    of_all = of_question * (shared ** 0.5 * rng.standard_normal(asked)[of_document]
                            + (1 - shared) ** 0.5 * skewed(rng, asked, heavy))
    gap = (lead + file * luck + training * rng.standard_normal((seeds, 1)) + of_all
           + left * rng.standard_normal((seeds, asked)))
    groups = {"rows": of_document if named else np.arange(asked)}
    return Question(*(Result("", {"rows": x / 100}, groups, "reward", {}, redrawn=True)
                      for x in (gap, 0 * gap)), 1, 0.0)


def of_your_rows(times: int) -> None:
    print("seeds, questions: false of 100, seen of a lead of 10 points, half of the interval")
    for name, shape in SHAPES.items():
        print(f"{name:28}", end="")
        for seeds, asked in ((3, 45), (5, 45), (5, 150), (10, 150)):
            rng = np.random.default_rng([seeds, asked])
            found = [question(rng, seeds, asked, **shape).interval() for _ in range(times)]
            mean, half = 100 * np.array(found).T
            false, seen = 100 * np.mean(abs(mean) > half), 100 * np.mean(mean + 10 > half)
            figures = f"{false:4.1f} {seen:3.0f} {np.median(half):5.1f}"
            print(f"  {seeds:2}, {asked:3}: {figures}", end="", flush=True)
        print()


def choice(rng: np.random.Generator, curve: tuple) -> tuple[float, int, MissedRate | None]:
    """(what the rate that a method takes is worth, trainings, a rate that scored more), on 540
    validation questions."""
    arm, tried, points = arms.read_arm("sft"), {}, dict(zip((-2, -1, 0, 1, 2), curve))

    def worth(lr: float) -> float:
        return points[round(np.log(lr) / np.log(3))]

    def values(job: tuple) -> dict:
        score = worth(job[2]) + rng.normal(0, 1.5) + rng.normal(0, 30, 540)
        return tried.setdefault(job, {"score": {"all": score / 100}})
    c = Simple(stage_plans={arm.stages[0]: Simple(lr=1.0)}, search_scores={}, finalists={}, lrs={},
               parts={}, cfg=Simple(by=None, workers=1), job=lambda *job: job,
               lr=lambda arm: c.lrs[arm],
               eval_spec=lambda part: Simple(groups=lambda: {"all": np.arange(540)}))
    runs.scores_of, compare.train_tries, bar = values, lambda *jobs: None, Simple(total=0)
    compare.search_rates(c, {arm: [*RATE_FACTORS[:3]]}, bar)
    if compare.best_is_at_edge(c, arm):
        lrs = [*c.search_scores[arm], compare.next_learning_rate(c, arm)]
        compare.search_rates(c, {arm: lrs}, bar)
    compare.search_finalists(c, [arm], bar)
    return worth(c.lr(arm)), len(tried), missed_rate(c, arm)


def of_rates(times: int) -> None:
    print("worth of a third, own, triple rate: a method under two names, false of 100, of these "
          "without a note on the rate; trainings")
    for name, curve in CURVES.items():
        rng, false, trained, silent = np.random.default_rng(len(name)), 0, 0, 0
        for _ in range(times):
            (a, n, more_a), (b, _, more_b) = (choice(rng, curve) for _ in "ab")
            gap = a - b + rng.normal(0, 2.1, (5, 1)) + rng.normal(0, 10, 900) + rng.normal(
                0, 42, (5, 900))
            mean, variance, freedom = stats.moments([gap], [np.arange(900)])
            beyond = abs(mean) - stats.half_width(variance, freedom)
            more = more_b if mean > 0 else more_a
            false += beyond > 0
            silent += beyond > 0 and not (more and could_undo(more, beyond / 100))
            trained += n
        print(f"{name:10} {100 * false / times:5.1f} {100 * silent / times:5.1f} "
              f"{trained / times:5.1f}", flush=True)


def of_leads(times: int) -> None:
    print("decided of 100 at the least foretold lead, the middle, the largest (their medians)")
    for sds in (REAL, (1, 1, 29, 31), (3, 6, 29, 31), (8, 3, 29, 31)):
        for seeds, asked in ((3, 45), (5, 45), (5, 150)):
            rng, said, seen = np.random.default_rng(seeds), [], np.zeros(3)
            for _ in range(times):
                q, other = (question(rng, len(SEARCH_SEEDS), 2 * asked // 3, sds=sds) for _ in "ab")
                one, two = (power.luck_of(x.difference()) for x in (q, other))
                luck = one._replace(seed=(one.seed + two.seed) / 2)             # of two rates
                c = Simple(seeds=range(seeds), arms="ab", parts=True)
                low, high = power.detectable_range(luck, c, q, asked / luck.facts)
                said.append((low, high))
                for i, lead in enumerate((low, (low + high) / 2, high)):
                    mean, half = question(rng, seeds, asked, 100 * lead, sds).interval()
                    seen[i] += mean > half
            low, high = 100 * np.median(said, 0)
            shares = " ".join(f"{100 * x / times:3.0f}" for x in seen)
            print(f"{sds!s:18} {seeds} seeds, {asked:3} questions: {shares}  ({low:.0f} to "
                  f"{high:.0f})", flush=True)


if __name__ == "__main__":
    of_your_rows(2000)
    of_rates(3000)
    of_leads(300)
