"""From the scores of a comparison to its verdicts.

    results, questions = verdicts(c)        # of each arm, the initial model first; of each pair
    questions[0].verdict                    # "better", "worse", "equivalent" or "undecided"

A confidence interval is over seeds and prompts. All comparisons share 5 % (Bonferroni), and the
interval that is printed decides: above 0 is better, below 0 worse, inside the margin equivalent.
"""
from typing import NamedTuple

import numpy as np

from nanouft.compare import runs
from nanouft.compare.arms import Arm
from nanouft.compare.by_task import (
    Difference,
    dominant_task,
    luck_of,
    mean_and_variance,
    mean_without,
    rests_on_dominant_task,
)
from nanouft.compare.plan import ALL_PAIRS_LIMIT, SEARCH_SEEDS, Comparison
from nanouft.compare.scoring import Values
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity
from nanouft.run.eval_metrics import wins

MARGIN = 0.02           # two points of 100, or .02 nats per token
OF_SPREAD = 0.1         # of rewards: this part of their standard deviation before training


class Measure(NamedTuple):
    title: str
    unit: str = ""
    sign: int = 1                       # -1: less is better
    trained: str = ""                   # which losses train it directly
    legend: str = ""

    @property
    def scale(self) -> int:
        """A share is printed as points of 100."""
        return 100 if self.unit == "points" else 1

    def text(self, x: float, sign: str = "") -> str:
        digits = 1 if self.scale == 100 else 3
        return f"{round(float(self.scale * x), digits) + 0.0:{sign}.{digits}f}"        # no -0.0

    def with_unit(self, x: float) -> str:
        return f"{self.text(x)} {self.unit}".rstrip()

    def range_text(self, low: float, high: float) -> str:
        """"20.2 to 34.1 points", of leads. A score has none above 100: "" if all would be."""
        if self.unit == "points" and high >= 1:
            return f"{self.with_unit(low)} or more" if low < 1 else ""
        return f"{self.text(low)} to " * (self.text(low) != self.text(high)) + self.with_unit(high)


MEASURES = {                            # the first that the rows allow is the metric
    "reward": Measure("reward"),
    "score": Measure("score, 0-100", "points"),
    "prefers": Measure("chosen more likely, %", "points", trained="pair losses optimise the "
                       "metric of this test; --reward evaluates sampled responses instead",
                       legend="Chosen more likely: by the log-prob of the whole response, so "
                       "longer ones are less likely."),
    "auc": Measure("AUC, 0-100", "points", legend="AUC: of 100 couples of a better and a worse "
                   "response, those whose better one has more log-prob per token."),
    "accuracy": Measure("reward accuracy, %", "points", legend="Reward accuracy (without CI): "
                        "pairs whose chosen response gained more log-prob over the initial model "
                        "than the rejected one."),
    "nll": Measure("nats per token", "nats", -1, "sft and its relatives optimise the metric of "
                   "this test, the loss; --reward evaluates sampled responses instead",
                   "Nats per token: the negative log-prob of the response of a test row, of a pair "
                   "of the chosen one."),
    "stops": Measure("EOS, %", "points", legend="EOS: responses that end with it, not with a new "
                     "turn or a cut.")}


class Result(NamedTuple):
    name: str
    scores: dict[str, np.ndarray]       # {task or "rows": (seeds, questions)}
    groups: dict[str, np.ndarray]       # {the same: (questions,)}
    measure: str
    others: dict[str, float]            # other measures, their means
    arm: Arm | None = None
    redrawn: bool = False
    cost: dict[str, float] = {}

    @property
    def from_zero(self) -> Difference:
        return Difference(self.scores, self.groups, (tuple(self.groups),), redrawn=self.redrawn)

    def of_task(self, part: str) -> "Result":
        """Of one task."""
        return self._replace(scores={part: self.scores[part]}, groups={part: self.groups[part]})

    @property
    def sample_text(self) -> str:
        """"n = 5 seeds x 900 prompts"; of your rows also how many draws they are."""
        rows = sum(map(len, self.groups.values()))
        draws = sum(len({*numbers}) for numbers in self.groups.values())
        what = quantity(rows, "prompts") if not self.redrawn or rows == draws else (
            f"{quantity(rows, 'rows')} in {quantity(draws, 'groups')}")
        return f"n = {len(self.seed_scores())} seeds x {what}"

    @property
    def mean(self) -> float:
        return float(np.mean(self.seed_scores()))

    @property
    def half_width(self) -> float:
        """Half of the 95 % CI of this score alone."""
        return luck_of(self.from_zero).interval(self.redrawn)

    def seed_scores(self) -> np.ndarray:
        """(seeds,) the score of each."""
        return np.mean([x.mean(1) for x in self.scores.values()], 0)


class Question(NamedTuple):
    """Is `a` better than `b`?"""
    a: Result
    b: Result
    n_comparisons: int                  # comparisons that share the 5 %
    margin: float

    def of_task(self, part: str) -> "Question":
        """Of one task, not corrected."""
        return self._replace(a=self.a.of_task(part), b=self.b.of_task(part), n_comparisons=1)

    def difference(self) -> Difference:
        """What `a` scores more than `b` (of a loss: less), seed by seed, prompt by prompt."""
        gaps = {part: MEASURES[self.a.measure].sign * (x - self.b.scores[part])
                for part, x in self.a.scores.items()}
        return self.a.from_zero._replace(gaps=gaps)

    @property
    def is_identical(self) -> bool:
        """To the last digit?"""
        return not any(gap.any() for gap in self.difference().gaps.values())

    def interval(self) -> tuple[float, float]:
        """(mean, half of the interval that decides); above 0 is better."""
        difference = self.difference()
        mean = sum(gap.mean() for gap in difference.gaps.values()) / len(difference.gaps)
        luck = luck_of(difference)
        return float(mean), luck.interval(self.a.redrawn, self.n_comparisons, self.least_variance)

    @property
    def least_variance(self) -> float:
        """Of the variance."""
        return least_variance(self.a.groups) if MEASURES[self.a.measure].unit == "points" else 0.0

    @property
    def verdict(self) -> str:
        return verdict_word(*self.interval(), self.margin)

    @property
    def distance(self) -> float:
        """Of a lead: half widths of the interval from 0 to the mean."""
        mean, half = self.interval()
        return abs(mean) / half if half else np.inf

    def driven_by(self) -> tuple[str, float]:
        """(the one task that makes a lead, or "", the difference without it)."""
        leads = self.verdict in ("better", "worse")
        of_tasks = self.difference()
        if not leads or not rests_on_dominant_task(of_tasks):
            return "", 0.0
        task = dominant_task(of_tasks)
        return task, float(mean_without(of_tasks, task))


def least_variance(groups: dict[str, np.ndarray]) -> float:
    """Of a difference of shares. Where no question differs, more of them still might: as if one of
    two more questions did (Agresti and Min 2005)."""
    return sum((1 / len(groups) / (len({*numbers}) + 2)) ** 2 for numbers in groups.values())


def verdict_word(mean: float, half: float, margin: float) -> str:
    if abs(mean) + half < margin:
        return "equivalent"
    return "undecided" if abs(mean) <= half else "better" if mean > 0 else "worse"


def metric_of(c: Comparison, scores: Values) -> str:
    """The metric, of the test and of the search of learning rates."""
    if c.cfg.by and c.cfg.by not in scores:
        raise UserError(f"--by {c.cfg.by}: these rows only allow "
                        f"{', '.join(x for x in scores if ' ' not in x)}")
    return c.cfg.by or next(x for x in MEASURES if x in scores)


def mean_over_tasks(parts: dict[str, np.ndarray]) -> float:
    return float(np.mean([x.mean() for x in parts.values()]))


def verdicts(c: Comparison) -> tuple[list[Result], list[Question]]:
    start = c.initial_job()
    assert start.eval_spec
    first = runs.scores_of(start) or {}
    measure = metric_of(c, first)
    groups = first[f"{measure} groups"] if c.parts else start.eval_spec.groups()
    results = [result("initial model", [first] * len(c.seeds), groups, measure)]
    for arm in c.arms:
        scores = [with_reward_accuracy(x, first) for seed in c.seeds
                  if (x := runs.scores_of(c.job(arm, seed)))]
        results.append(result(arm.name, scores, groups, measure)._replace(
            arm=arm, redrawn=bool(c.parts), cost=mean_cost(c, arm)))
    compared = compared_pairs(c, results[1:])
    margin = MARGIN if measure != "reward" else OF_SPREAD * float(first[measure]["rows"].std())
    if c.cfg.margin:
        margin = c.cfg.margin / MEASURES[measure].scale
    return results, [Question(a, b, len(compared), margin) for a, b in compared]


def with_reward_accuracy(scores: Values, first: Values) -> Values:
    """And of pairs the reward accuracy: how often the chosen response gained more log-prob over the
    initial model than the rejected one."""
    if "prefers margin" not in scores:
        return scores
    gain = scores["prefers margin"]["rows"] - first["prefers margin"]["rows"]
    return {"accuracy": {"rows": wins(gain)}} | scores


def compared_pairs(c: Comparison, arms: list) -> list[tuple]:
    """(a, b) of those that are compared, from as many things as there are arms."""
    return [(a, b) for i, b in enumerate(arms) for j, a in enumerate(arms[i + 1:], i + 1)
            if len(arms) <= ALL_PAIRS_LIMIT or i == 0]


def search_result(c: Comparison, arm: Arm, lr: float) -> Result | None:
    """The scores of a rate that was tried with several seeds; None if one of them diverged."""
    tries = [x for seed in SEARCH_SEEDS if (x := runs.scores_of(c.job(arm, seed, lr)))]
    if len(tries) < len(SEARCH_SEEDS):
        return None
    measure = metric_of(c, tries[0])
    groups = tries[0][f"{measure} groups"] if c.parts else c.eval_spec("val").groups()
    return result(arm.name, tries, groups, measure)._replace(arm=arm, redrawn=bool(c.parts))


def lead_and_error(a: Result, b: Result) -> tuple[float, float]:
    """(what `a` scores more than `b`, its standard error)."""
    mean, variance, _ = mean_and_variance(Question(a, b, 1, 0.0).difference())
    return float(mean), float(variance) ** 0.5


class MissedRate(NamedTuple):
    """A learning rate that scored more in the search than the one that was taken, by no more than a
    standard error."""
    lr: float
    lead: float
    error: float


def missed_rate(c: Comparison, arm: Arm) -> MissedRate | None:
    tried = {lr: c.search_scores[arm][lr] for lr in c.finalists.get(arm, ())}
    best = max(tried, key=tried.__getitem__, default=0.0)
    if not tried or best == c.lr(arm):
        return None
    top, taken = search_result(c, arm, best), search_result(c, arm, c.lr(arm))
    return MissedRate(best, *lead_and_error(top, taken)) if top and taken else None


def arm_with_doubtful_rate(c: Comparison, q: Question) -> str:
    """The arm whose rate may be why it is behind: with its best one the other's lead might be
    undecided."""
    behind = {"better": q.b.arm, "worse": q.a.arm}.get(q.verdict)
    other, (mean, half) = behind and missed_rate(c, behind), q.interval()
    return behind.name if behind and other and could_undo(other, abs(mean) - half) else ""


def could_undo(other: MissedRate, beyond: float) -> bool:
    """Might that rate take so much from a lead? By what its own interval has."""
    return beyond < other.lead + 2 * other.error


def result(name: str, scores_of_seeds: list[Values], groups: dict, measure: str) -> Result:
    scores = {part: np.array([x[measure][part] for x in scores_of_seeds]) for part in groups}
    others = {what: float(np.mean([mean_over_tasks(x[what]) for x in scores_of_seeds]))
              for what in scores_of_seeds[0] if what != measure and " " not in what}
    return Result(name, scores, groups, measure, others)


def mean_cost(c: Comparison, arm: Arm) -> dict[str, float]:
    """Steps, rows, sequences trained on and CPU seconds of all stages, the mean over seeds."""
    total = dict.fromkeys(("steps", "rows", "sequences", "seconds"), 0.0)
    for part in arm.chain:
        stage_plan = c.stage_plans[part.stages[-1]]
        for seed in c.seeds:
            spent = runs.made_record(c.job(part, seed).folder)
            rows = spent.get("rows", stage_plan.steps * stage_plan.batch_size)
            for what, x in (("steps", spent.get("steps", stage_plan.steps)), ("rows", rows),
                            ("sequences", stage_plan.answers * rows),
                            ("seconds", spent["seconds"])):
                total[what] += x / len(c.seeds)
    return total
