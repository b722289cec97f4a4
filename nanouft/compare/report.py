"""What a comparison prints and writes: conditions, table, verdicts, picture, commands."""
import csv
import io
import shlex
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nanouft.compare import stats
from nanouft.compare.arms import Arm
from nanouft.compare.comparison import Comparison
from nanouft.compare.judge import Finding
from nanouft.data.holdout import leak, question_key
from nanouft.data.rows import read
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import quantity
from nanouft.run.folder import questions_of_run

SCALE = {"score": 100, "prefers": 100, "auc": 100, "stops": 100}    # others as they are
NAMES = {"score": "score of 100", "prefers": "pairs won, %", "auc": "AUC of 100",
         "nll": "nats per token", "reward": "reward", "stops": "stop, %"}
WORDS = {"holds": "better", "does not hold": "worse"}


class Result(NamedTuple):
    name: str
    scores: dict[str, np.ndarray]       # {task or "rows": (seeds, questions)}
    mean: float
    variance: float
    freedom: float
    measure: str
    others: dict[str, float]            # other measures, their means
    arm: Arm | None = None
    cost: dict[str, float] = {}

    @property
    def half(self) -> float:
        return stats.half_width(self.variance, self.freedom)

    def of_seeds(self) -> np.ndarray:
        """(seeds,) the score of each."""
        return np.mean([x.mean(1) for x in self.scores.values()], 0)


class Question(NamedTuple):
    """Is `a` better than `b`?"""
    a: Result
    b: Result
    finding: Finding
    moments: stats.Moments
    hangs: list[int]                    # seeds without which it is not decided so
    of: int                             # questions that share the 5 %
    way: int                            # -1: less is better

    @property
    def verdict(self) -> str:
        word = WORDS.get(self.finding.verdict, "undecided")
        mean, variance, freedom = self.moments
        half = stats.half_width(variance, freedom, looks=self.of)
        equal = self.a.measure == "score" and stats.verdict(mean, half, "as good") == "holds"
        if word == "undecided" and equal:
            return "undecided; no more than 2 points apart"
        return word + ", but by less than 2 points" * equal

    @property
    def doubts(self) -> list[str]:
        told = []
        if self.hangs:
            told.append("undecided without seed " + " or ".join(map(str, self.hangs)))
        if self.finding.rests:
            told.append(f"rests on {self.finding.largest}")
        return told


def number(x: float, measure: str, sign: str = "") -> str:
    scale = SCALE.get(measure, 1)
    return f"{scale * x:{sign}.{1 if scale == 100 else 3}f}"


def conditions(c: Comparison) -> list[str]:
    """What is the same for all, and what is not."""
    paces = {arm.name: [c.paces[stage] for stage in arm.stages] for arm in c.arms}
    of_all = [pace for of_arm in paces.values() for pace in of_arm]
    asked, tries = c.asked("test"), c.cfg.tries
    what = (f"your rows ({', '.join(c.train.data or ())}): " + ", ".join(
        f"{sum(1 for _ in file.open(encoding='utf-8'))} to {does}" for (part, file), does in zip(
            c.parts.items(), ("train on", "judge by", "choose rates by"))) if c.parts else
        f"NanoWorld: {quantity(asked.items * len(asked.tasks), 'test questions')} of "
        f"{quantity(len(asked.tasks), 'tasks')}")
    steps = sorted({pace.steps for pace in of_all})
    rows = sorted({pace.rows for pace in of_all})
    size = sorted({pace.batch_size for pace in of_all})
    text = (f"{what}. Start model {c.train.init}. Each stage: "
            f"{' to '.join(f'{x:,}' for x in (steps[0], *steps[1:][-1:]))} steps of "
            f"{' to '.join(map(str, size))} rows, from "
            f"{' to '.join(f'{x:,}' for x in (rows[0], *rows[1:][-1:]))} that it can read. " + (
                f"{tries} learning rates of each tried with one seed" if tries > 1 else
                "No rate is searched") + f"; then {len(c.seeds)} other seeds are judged.")
    return textwrap.wrap(text, 80)


def table(c: Comparison, results: list[Result], questions: list[Question]) -> list[str]:
    measure = results[0].measure
    others = [*results[0].others]
    width = max(len(x.name) for x in results)
    out = ["  ".join((f"{'':{width}}", f"{NAMES[measure]:>14}",
                      *(f"{NAMES[x]:>14}" for x in others), f"{'rate':>8}", f"{'steps':>6}",
                      f"{'answers read':>13}", f"{'CPU s':>6}"))]
    for x in results:
        cells = [f"{x.name:{width}}", f"{number(x.mean, measure)} ± {number(x.half, measure)}"
                 .rjust(14), *(number(x.others[what], what).rjust(14) for what in others)]
        if x.arm:
            cells += [f"{c.rates[x.name]:8.2g}", f"{x.cost['steps']:6.0f}",
                      f"{x.cost['answers']:13,.0f}", f"{x.cost['seconds']:6.1f}"]
        out.append("  ".join(cells))
    out.append("")
    shared = f", {len(questions)} questions share the 5 %" if len(questions) > 1 else ""
    out.append(f"Differences with 95 % intervals over seeds and questions{shared}:")
    heads = [f"{q.a.name} - {q.b.name}" for q in questions]
    for head, q in zip(heads, questions):
        figures = (f"{number(q.way * q.finding.mean, measure, '+')} ± "
                   f"{number(q.finding.half, measure)}")
        out.append(f"  {head:{max(map(len, heads))}}  {figures:>14}  {q.verdict}"
                   + "".join(f"; {x}" for x in q.doubts))
    return out + [line for text in doubts(c, results) for line in textwrap.wrap(
        f"Note: {text}", 80, subsequent_indent="  ")]


def doubts(c: Comparison, results: list[Result]) -> list[str]:
    """Why a verdict may be unfair although its interval is right."""
    told = []
    for name, tried in c.tried.items():
        best, ends = c.rates[name], (min(tried), max(tried))
        if len(tried) > 2 and best in ends:
            told.append(f"{name}: the best rate, {best:.2g}, is the "
                        f"{('lowest', 'highest')[ends.index(best)]} tried; a "
                        f"{('lower', 'higher')[ends.index(best)]} one may be better "
                        f"(--tries {min(5, c.cfg.tries + 2)}, or another --lr in its quotes)")
    costs = {x.name: x.cost for x in results if x.arm}
    if len({x["steps"] for x in costs.values()}) > 1:
        told.append("not all take as many steps; the table has them")
    if len({x["answers"] for x in costs.values()}) > 1:
        told.append("as many steps and rows are not as much work: a pair has two answers to read, "
                    "and a chain has two stages")
    if results[0].measure in ("nll", "prefers"):
        trains, by = (("sft and its relatives train", "the loss of demonstrations")
                      if results[0].measure == "nll" else
                      ("losses of pairs train", "the share of pairs won"))
        told.append(f"{trains} what judges here, {by}; a reward (--reward) would judge answers")
    if c.parts and (text := leaks(c)):
        told.append(f"{text}, by the run that made {c.train.init}")
    return told


def leaks(c: Comparison) -> str:
    """"3 of 40 held-out questions are also trained on", by the start model's run."""
    if not c.parts:
        return ""
    rows, _ = read([str(c.parts["test"])], ["demos", "pairs", "labels"])
    return leak({*map(question_key, rows)}, questions_of_run(c.train.init))


# ---- the folder ----------------------------------------------------------------------------------
def write(c: Comparison, results: list[Result], questions: list[Question]) -> Path:
    """report.md, scores.csv and picture.svg. Returns the folder."""
    lines = table(c, results, questions)
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(("method", "seed", "part", results[0].measure))
    for x in results:
        for part, of_part in x.scores.items():
            for seed, score in zip(c.seeds if x.arm else ("",), of_part.mean(1)):
                out.writerow((x.name, seed, part, f"{score:.5f}"))
    write_text(c.place / "scores.csv", text.getvalue())
    write_text(c.place / "picture.svg", picture(results, questions))
    tries = [f"- {name}: " + ", ".join(
        f"{number(abs(x), results[0].measure)} at {rate:.2g}" if np.isfinite(x) else
        f"diverged at {rate:.2g}" for rate, x in tried.items()) for name, tried in c.tried.items()]
    commands = [f"python -m nanouft.train {shlex.join([*job.words, '--out', str(job.folder)])}"
                for arm in c.every for seed in c.seeds for job in [c.job(arm, seed)]]
    by_task = []
    if len(results[0].scores) > 1:
        tasks = [*results[0].scores]
        by_task = ["## By task", "| | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 1) + "|",
                   *("| " + " | ".join([x.name, *(number(x.scores[task].mean(), x.measure)
                                                  for task in tasks)]) + " |" for x in results), ""]
    write_text(c.place / "report.md", "\n".join([
        f"# {', '.join(arm.name for arm in c.arms)}", *conditions(c), "",
        "![scores and differences](picture.svg)", "", "```text", *lines, "```", "",
        "The interval is over training seeds and test questions, not over another sample of "
        "training rows. Each difference is of runs with the same seed on the same questions.", "",
        *by_task, "## Rates that were tried", "Scores of validation questions, one seed:", *tries,
        "", "## Again", "```bash", f"python -m nanouft.compare {c.place.as_posix()}/plan.ini",
        "```", "The trainings that are judged:", "```bash", *commands, "```", ""]))
    return c.place


def picture(results: list[Result], questions: list[Question]) -> str:
    """Left the scores, a small dot for each seed; right the differences. SVG for both themes."""
    import matplotlib
    from matplotlib.figure import Figure

    from nanouft.pictures.colours import DOWN, INK, PANEL, SOFT, UP, look
    from nanouft.pictures.plots import STYLE, as_svg
    scale = SCALE.get(results[0].measure, 1)
    with matplotlib.rc_context(STYLE):
        fig = Figure(figsize=(10.8, 1.4 + 0.42 * max(len(results), len(questions))),
                     layout="constrained")
        left, right = fig.subplots(1, 2)
        for y, x in enumerate(results):
            seen = look(x.arm.stages[-1][0] if x.arm else "base")
            left.plot(scale * x.of_seeds(), [y] * len(x.of_seeds()), ".", color=seen.light,
                      alpha=0.4)
            left.errorbar(scale * x.mean, y, xerr=scale * x.half, fmt=seen.marker,
                          color=seen.light, markersize=7)
        for y, q in enumerate(questions):
            colour = {"holds": UP, "does not hold": DOWN}.get(q.finding.verdict, SOFT).light
            right.errorbar(scale * q.way * q.finding.mean, y, xerr=scale * q.finding.half, fmt="o",
                           color=colour, markersize=7)
            right.annotate(WORDS.get(q.finding.verdict, "undecided"),
                           (scale * q.way * q.finding.mean, y), (0, 7), ha="center",
                           textcoords="offset points", color=colour, fontsize=10)
        right.axvline(0, color=SOFT.light, linewidth=1)
        for ax, names, title in ((left, [x.name for x in results], NAMES[results[0].measure]),
                                 (right, [f"{q.a.name} − {q.b.name}" for q in questions],
                                  "difference, 95 % interval")):
            ax.set(yticks=range(len(names)), ylim=(len(names) - 0.4, -0.7))
            ax.set_yticklabels([x[:34] for x in names], color=INK.light)
            ax.set_title(title, loc="left", fontsize=12, color=INK.light)
            ax.tick_params(colors=SOFT.light, labelcolor=INK.light)
            for side in ("left", "bottom"):
                ax.spines[side].set_color(SOFT.light)
        looks = [look(x.arm.stages[-1][0] if x.arm else "base") for x in results]
        colours = {f"c{i}": (seen.light, seen.dark) for i, seen in enumerate(
            dict.fromkeys([*looks, UP, DOWN, PANEL, SOFT, INK]))}
        return as_svg(fig, "Scores and differences", [[x.name, scale * x.mean] for x in results],
                      colours)
