"""verdicts.csv: every verdict, and every difference that a page of docs/results has without one.

    python -m lessons.evidence --table      # writes it anew from the kept scores

A difference that was read off afterwards is a line of questions/unplanned.txt: a run and a formula,
as in plan.py. "A & B" is the mean of a difference and its repeat with other seeds and prompts. Add
a line before a page shows the difference; tests/course/test_evidence.py compares page and table.
"""
import csv
import io

import numpy as np

from lessons.evidence import judge, plan
from lessons.evidence.by_task import Difference, dominant_task, mean_and_variance, weights
from lessons.evidence.judge import Line, asked_on_each, in_points
from nanouft.compare import stats
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import say

TABLE = plan.HERE / "verdicts.csv"
UNPLANNED = plan.HERE / "questions" / "unplanned.txt"
COLUMNS = ["run", "question", "formula", "whose", "verdict", "difference",
           "without its largest task", "rests on", "undecided without one seed of"]


def write() -> None:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows())
    write_text(TABLE, file.getvalue())
    say(TABLE)


def rows() -> list[list[str]]:
    planned = [row for name in judge.RUNS for row in planned_rows(name)]
    unplanned = UNPLANNED.read_text(encoding="utf-8").splitlines()
    return [COLUMNS, *planned, *map(unplanned_row, unplanned)]


def planned_rows(name: str) -> list[list[str]]:
    """The questions of a run. C5 and C7 have no scores of each seed and prompt."""
    lines = judge.verdict_lines(name)
    if name in plan.FROZEN["asks"]:
        return [[name, line.question, "", line.whose, line.verdict, line.figures, line.without,
                 line.rests_on, ""] for line in lines + judge.frozen("lake", name)]
    out = []
    for line, seeds in zip(lines, hang_on_one_seed(name)):
        formula = line.key.removeprefix(f"{name} ")
        out.append([name, line.question, formula, line.whose, line.verdict, line.figures,
                    without_largest(asked_on_each(name, formula)), line.rests_on, seeds])
    return out


def unplanned_row(keys: str) -> list[str]:
    names, formulas = zip(*(key.split(" ", 1) for key in keys.split(" & ")))
    of_runs = [asked_on_each(*key) for key in zip(names, formulas)]     # (runs, models)
    means = [mean_of([mean_and_variance(asked) for asked in runs]) for runs in zip(*of_runs)]
    without = without_largest(of_runs[0]) if len(names) == 1 else ""
    return [" & ".join(names), "", " & ".join(formulas), "unplanned", "",
            " and ".join(map(in_points, means)), without, "", ""]


def mean_of(runs: list[stats.Moments]) -> stats.Moments:
    """The mean of runs that share neither seeds nor prompts; freedom as Welch has it."""
    means, variances, freedoms = zip(*runs)
    variance = sum(variances)
    freedom = variance ** 2 / max(1e-30, sum(v ** 2 / n for v, n in zip(variances, freedoms)))
    return sum(means) / len(runs), variance / len(runs) ** 2, freedom


def without_largest(on_each: list[Difference]) -> str:
    """ "list -0.0 ± 1.1 and +0.6 ± 1.3" on each model; "" where one task is asked. These intervals
    are not corrected for the choice of the task."""
    figures = []
    for asked in on_each:
        if len(asked.gaps) > 1:
            task = dominant_task(asked)
            others = mean_and_variance(asked, weights(asked.parts, task))
            figures.append((task, in_points(others)))
    return judge.beside_tasks(figures)


def hang_on_one_seed(name: str) -> list[str]:
    """Of each question of a run: how many of its seeds it needs to be decided, "N2 7 of 8"."""
    kept, models = plan.scores(name), plan.read(name).models
    seeds = kept["scores"].shape[2]
    without = [judge.judged(name, {what: np.delete(x, seed, 2) if x.ndim > 2 else x
                                   for what, x in kept.items()}) for seed in range(seeds)]
    return [needed_seeds(line, others, models)
            for line, *others in zip(judge.verdict_lines(name), *without)]


def needed_seeds(line: Line, others: list[Line], models: list[str]) -> str:
    """others: the same question without each of the seeds."""
    if line.verdict == "undecided":
        return ""
    needed = {of: sum(x.findings[model].verdict != line.verdict for x in others)
              for model, of in enumerate(models)}
    return ", ".join(f"{plan.MODELS[of]} {n} of {len(others)}" for of, n in needed.items() if n)
