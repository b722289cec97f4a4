"""From the scores of a comparison to its verdicts.

    results, questions = verdicts(c)        # of each arm, the initial model first; of each pair
    questions[0].verdict                    # "better", "worse", "equivalent" or "undecided"

A confidence interval is over seeds and prompts. All comparisons share 5 % (Bonferroni), and the
interval that is printed decides: above 0 is better, below 0 worse, inside the margin equivalent.
"""
from typing import Any, NamedTuple

import numpy as np

from nanouft.compare.arms import Arm
from nanouft.compare.plan import Comparison
from nanouft.compare.runs import cpu_seconds, made_record, scores_of
from nanouft.compare.scoring import Values
from nanouft.compare.stats import Luck, least_variance, luck_of, p_value
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity
from nanouft.run.eval_metrics import wins

ALL_PAIRS_LIMIT = 4     # methods that are all compared with each other; more: with the first
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


MEASURES = {                            # the first that the rows allow is the metric
    "reward": Measure("reward", legend="Reward: the mean over test prompts of {reward}, for one "
                      "response to each, sampled at temperature 1, {longest}"),
    "score": Measure("score, 0-100", "points", legend="Score: of 100, the mean over tasks and "
                     "prompts of the exact score of one greedy response, {longest}"),
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
    redrawn: bool                       # has each seed drawn its training rows?
    arm: Arm | None = None
    steps: float = 0
    rows: float = 0                     # trained on, in all steps
    sequences: float = 0                # two of a pair, and all that are sampled
    seconds: float = 0                  # CPU seconds of training and scoring
    weights: tuple[str, ...] = ()       # of each seed a hash

    def of_task(self, part: str) -> "Result":
        return self._replace(scores={part: self.scores[part]}, groups={part: self.groups[part]})

    def seed_scores(self) -> np.ndarray:
        """(seeds,) the score of each."""
        return np.mean([x.mean(1) for x in self.scores.values()], 0)

    @property
    def mean(self) -> float:
        return float(np.mean(self.seed_scores()))

    @property
    def half_width(self) -> float:
        """Half of the 95 % CI of this score alone."""
        return self.luck_of(self.scores).interval(self.redrawn, least=self.least_variance)

    def luck_of(self, gaps: dict[str, np.ndarray]) -> Luck:
        """What chance does to the mean over tasks."""
        return luck_of([gap / len(gaps) for gap in gaps.values()], [*self.groups.values()])

    @property
    def least_variance(self) -> float:
        return least_variance(self.groups.values()) if self.is_share else 0.0

    @property
    def is_share(self) -> bool:
        return MEASURES[self.measure].unit == "points"

    @property
    def n_prompts(self) -> int:
        return sum(map(len, self.groups.values()))

    @property
    def sample_text(self) -> str:
        """"n = 5 seeds x 900 prompts"; of your rows also how many draws they are."""
        rows = self.n_prompts
        draws = sum(len({*numbers}) for numbers in self.groups.values())
        what = quantity(rows, "prompts") if not self.redrawn or rows == draws else (
            f"{quantity(rows, 'rows')} in {quantity(draws, 'groups')}")
        return f"n = {len(self.seed_scores())} seeds x {what}"


class Question(NamedTuple):
    """Is `a` better than `b`?"""
    a: Result
    b: Result
    n_comparisons: int                  # comparisons that share the 5 %
    margin: float

    @property
    def name(self) -> str:
        return f"{self.a.name} - {self.b.name}"

    def of_task(self, part: str) -> "Question":
        """Of one task, not corrected."""
        return self._replace(a=self.a.of_task(part), b=self.b.of_task(part), n_comparisons=1)

    def gaps(self) -> dict[str, np.ndarray]:
        """What `a` scores more than `b` (of a loss: less), seed by seed, prompt by prompt."""
        return {part: MEASURES[self.a.measure].sign * (x - self.b.scores[part])
                for part, x in self.a.scores.items()}

    @property
    def mean(self) -> float:
        """Above 0 is better."""
        return float(np.mean([gap.mean() for gap in self.gaps().values()]))

    def luck(self) -> Luck:
        return self.a.luck_of(self.gaps())

    def half_width(self, alpha: float = 0.05) -> float:
        """Half of the interval that decides."""
        return self.luck().interval(self.a.redrawn, self.n_comparisons, self.a.least_variance,
                                    alpha)

    def half_width_on_this_file(self, alpha: float = 0.05) -> float:
        """The narrower claim, of your rows alone."""
        return self.luck().on_this_file(self.n_comparisons, self.a.least_variance, alpha)

    def interval(self) -> tuple[float, float]:
        """(mean, half of the interval that decides)."""
        return self.mean, self.half_width()

    @property
    def p_value(self) -> float:
        """Corrected as the interval is: below .05 where that excludes 0."""
        return p_value(self.mean, self.half_width)

    @property
    def verdict(self) -> str:
        return verdict_word(*self.interval(), self.margin)

    def driven_by(self) -> tuple[str, float]:
        """(the task without which half of a lead is gone, or "", what is left). One prompt can not
        make a lead: the variance over prompts would be too large for a verdict."""
        gaps, mean = self.gaps(), self.mean
        if len(gaps) == 1 or self.verdict not in ("better", "worse"):
            return "", 0.0
        without = {task: float(np.mean([x.mean() for other, x in gaps.items() if other != task]))
                   for task in gaps}
        task = min(without, key=lambda name: without[name] * np.sign(mean))
        rests = without[task] * np.sign(mean) < abs(mean) / 2
        return (task, without[task]) if rests else ("", 0.0)


def verdict_word(mean: float, half: float, margin: float) -> str:
    if abs(mean) + half < margin:
        return "equivalent"
    return "undecided" if abs(mean) <= half else "better" if mean > 0 else "worse"


def verdicts(c: Comparison) -> tuple[list[Result], list[Question]]:
    first = values_of(c, None, c.seeds[:1])[0]
    measure = metric_of(c, first)
    results = [result(c, "initial model", [first] * len(c.seeds), measure)]
    for arm in c.arms:
        values = [with_reward_accuracy(x, first) for x in values_of(c, arm, c.seeds)]
        results.append(result(c, arm.name, values, measure)._replace(arm=arm, **work_of(c, arm)))
    margin = MARGIN if measure != "reward" else OF_SPREAD * float(first[measure]["rows"].std())
    if c.cfg.margin:
        margin = c.cfg.margin / MEASURES[measure].scale
    pairs = compared_pairs(results[1:])
    return results, [Question(a, b, len(pairs), margin) for a, b in pairs]


def compared_pairs(things: list) -> list[tuple]:
    """(a, b) of those that are compared: few each with each, many only with the first."""
    return [(a, b) for i, b in enumerate(things) for a in things[i + 1:]
            if len(things) <= ALL_PAIRS_LIMIT or i == 0]


def values_of(c: Comparison, arm: Arm | None, seeds: range) -> list[Values]:
    """The scores of each seed; those of the initial model without an arm."""
    runs = [c.run(arm, seed) if arm else c.initial() for seed in seeds]
    if lost := [run.name for run in runs if not scores_of(run)]:
        raise UserError(f"{lost[0]}: has no scores, because an input has changed since the "
                        "comparison began; run the same command again")
    return [scores for run in runs if (scores := scores_of(run))]


def metric_of(c: Comparison, values: Values) -> str:
    """The metric, of the test and of the search of learning rates."""
    if c.cfg.by and c.cfg.by not in values:
        raise UserError(f"--by {c.cfg.by}: these rows only allow "
                        f"{', '.join(x for x in values if ' ' not in x)}")
    return c.cfg.by or next(x for x in MEASURES if x in values)


def mean_over_tasks(parts: dict[str, np.ndarray]) -> float:
    return float(np.mean([x.mean() for x in parts.values()]))


def with_reward_accuracy(values: Values, first: Values) -> Values:
    """And of pairs the reward accuracy: how often the chosen response gained more log-prob over the
    initial model than the rejected one."""
    if "prefers margin" not in values:
        return values
    gain = values["prefers margin"]["rows"] - first["prefers margin"]["rows"]
    return {"accuracy": {"rows": wins(gain)}} | values


def result(c: Comparison, name: str, of_seeds: list[Values], measure: str,
           part: str = "test") -> Result:
    groups = of_seeds[0][f"{measure} groups"] if c.parts else c.spec(part).groups()
    scores = {task: np.array([x[measure][task] for x in of_seeds]) for task in groups}
    others = {what: float(np.mean([mean_over_tasks(x[what]) for x in of_seeds]))
              for what in of_seeds[0] if what != measure and " " not in what}
    return Result(name, scores, groups, measure, others, bool(c.parts))


def work_of(c: Comparison, arm: Arm) -> dict[str, Any]:
    """Steps, rows, sequences trained on and CPU seconds of all stages, the mean over seeds; and the
    weights of each seed."""
    work = {"steps": 0.0, "rows": 0.0, "sequences": 0.0, "seconds": 0.0}
    for part in arm.chain:
        plan, runs = c.stage_plans[part.stages[-1]], [c.run(part, seed) for seed in c.seeds]
        steps = float(np.mean([made_record(run)["steps"] for run in runs]))
        work["steps"] += steps
        work["rows"] += steps * plan.batch_size
        work["sequences"] += steps * plan.batch_size * plan.answers
        work["seconds"] += float(np.mean([*map(cpu_seconds, runs)]))
    return {**work, "weights": tuple(made_record(run)["weights"] for run in runs)}
