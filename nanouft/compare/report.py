"""What a comparison prints and writes: conditions, table, verdicts, notes, commands."""
import csv
import io
import shlex
import textwrap
from pathlib import Path

import numpy as np

from nanouft import __version__
from nanouft.compare import runs, stats
from nanouft.compare.comparison import TRY, Comparison, plan_text
from nanouft.compare.locks import held
from nanouft.compare.looks import Look
from nanouft.compare.parts import DOES
from nanouft.compare.picture import picture
from nanouft.compare.verdicts import Question, Result
from nanouft.data.holdout import leak, question_keys
from nanouft.data.rows import read
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import quantity
from nanouft.run.folder import questions_of_run

SCALE = {"score": 100, "prefers": 100, "auc": 100, "stops": 100}    # others as they are
NAMES = {"score": "score of 100", "prefers": "pairs won, %", "auc": "AUC of 100",
         "nll": "nats per token", "reward": "reward", "stops": "stop, %"}
TRAINED = {             # measures that some losses train directly
    "nll": "sft and its relatives train what judges here, the loss of demonstrations; a reward "
           "(--reward) would judge answers",
    "prefers": "losses of pairs train what judges here, the share of pairs won; a reward "
               "(--reward) would judge answers"}
UNITS = {"score": "points", "prefers": "points", "auc": "points", "nll": "nats", "reward": ""}


def number(x: float, measure: str, sign: str = "") -> str:
    scale = SCALE.get(measure, 1)
    return f"{scale * x:{sign}.{1 if scale == 100 else 3}f}"


def between(values: list) -> str:
    """"48", or "12 to 96"."""
    low, *_, high = [*sorted(values), max(values)]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def conditions(c: Comparison) -> list[str]:
    """What is the same for all, and what is not."""
    paces = [c.paces[stage] for arm in c.arms for stage in arm.stages if stage in c.paces]
    asked, tries = c.asked("test"), c.cfg.tries
    if c.parts:
        counts = {part: len(file.read_text(encoding="utf-8").splitlines())
                  for part, file in c.parts.items()}
        what = f"Your rows ({', '.join(c.train.data or ())}): " + ", ".join(
            f"{counts[part]:,} to {does}" for part, does in DOES.items()
        ) + ". Each seed trains on as many questions, drawn with replacement"
    else:
        what = (f"NanoWorld: {quantity(asked.items * len(asked.tasks), 'test questions')} of "
                f"{quantity(len(asked.tasks), 'tasks')}, seed {asked.seed}")
    tried = (f"{tries} learning rates of each are tried with one seed" if tries > 1 else
             "No rate is searched")
    text = (f"{what}. Start model {c.train.init}, on {paces[0].device} in {paces[0].dtype}. Each "
            f"stage: {between([x.steps for x in paces])} steps of "
            f"{between([x.batch_size for x in paces])} rows, from "
            f"{between([x.rows for x in paces])} that it can read. {tried}; then seeds "
            f"{c.seeds[0]} to {c.seeds[-1]} are judged.")
    return textwrap.wrap(text, 80)


# ---- the table -----------------------------------------------------------------------------------
def table(c: Comparison, results: list[Result], questions: list[Question],
          earlier: list[Look]) -> list[str]:
    return [*scores(c, results), "", *differences(c, questions), *(
        line for text in notes(c, results, questions, earlier) for line in textwrap.wrap(
            f"Note: {text}", 80, subsequent_indent="  ", break_long_words=False,
            break_on_hyphens=False))]


def scores(c: Comparison, results: list[Result]) -> list[str]:
    measure, others = results[0].measure, [*results[0].others]
    width = max(len(x.name) for x in results)
    out = ["  ".join((f"{'':{width}}", f"{NAMES[measure]:>15}",
                      *(f"{NAMES[x]:>14}" for x in others), f"{'rate':>8}", f"{'steps':>6}",
                      f"{'answers read':>13}", f"{'CPU s':>6}"))]
    for x in results:
        cells = [f"{x.name:{width}}", f"{number(x.moments[0], measure)} ± {number(x.half, measure)}"
                 .rjust(15), *(number(x.others[what], what).rjust(14) for what in others)]
        if x.arm:
            cells += [f"{c.rate(x.arm):8.2g}", f"{x.cost['steps']:6.0f}",
                      f"{x.cost['answers']:13,.0f}", f"{x.cost['seconds']:6.1f}"]
        out.append("  ".join(cells))
    return [*out, "(± here: 95 % of this score alone)"]


def differences(c: Comparison, questions: list[Question]) -> list[str]:
    measure, margin = questions[0].a.measure, questions[0].margin
    over = "seeds, questions and training rows" if c.parts else "seeds and questions"
    shared = f"; the {len(questions)} questions share the 5 %" if len(questions) > 1 else ""
    out = textwrap.wrap(f"Differences with intervals of 95 % over {over}{shared}. Level: within "
                        f"{number(margin, measure)} {UNITS[measure]}".rstrip() + ".", 80)
    heads = [f"{q.a.name} - {q.b.name}" for q in questions]
    for head, q in zip(heads, questions):
        mean, half = q.interval()
        way = -1 if measure == "nll" else 1
        figures = f"{number(way * mean, measure, '+')} ± {number(half, measure)}"
        doubts = [f"without seed {' or '.join(str(c.seeds[i]) for i in on)} it is not"
                  for on in [q.hangs_on()] if on]
        doubts += [f"rests on {task}" for task in [q.rests_on()] if task]
        out.append(f"  {head:{max(map(len, heads))}}  {figures:>14}  {q.verdict}"
                   + "".join(f"; {x}" for x in doubts))
    return out


def notes(c: Comparison, results: list[Result], questions: list[Question],
          earlier: list[Look]) -> list[str]:
    """Why a verdict may be unfair although its interval is right."""
    told = []
    for arm, tried in c.tried.items():
        best, ends = c.rate(arm), (min(tried), max(tried))
        if len(tried) > 2 and best in ends:
            side = ("lowest", "lower") if best == ends[0] else ("highest", "higher")
            told.append(f"{arm.name}: the best rate, {best:.2g}, is the {side[0]} of "
                        f"{len(tried)} tried; a {side[1]} one may be better (--tries 5, or another "
                        "--lr in its quotes)")
    told += unequal_work(c, results)
    told += [TRAINED[x] for x in [results[0].measure] if x in TRAINED]
    told += [f"{arm.name} trains on the reward that judges here" for arm in c.arms
             if any("--reward" in c.words[stage] for stage in arm.stages)]
    if len(c.seeds) < 3:
        _, variance, freedom = results[-1].moments
        told.append(f"two seeds: an interval is {stats.student(0.025, 1):.1f} standard errors wide "
                    f"on each side, with three {stats.student(0.025, 2):.1f}, with five "
                    f"{stats.student(0.025, 4):.1f}; give --seeds 3 or more")
    if c.parts and (text := leaks(c)):
        told.append(f"{text}, by the run that made {c.train.init}")
    return told + about_looks(c, earlier)


def unequal_work(c: Comparison, results: list[Result]) -> list[str]:
    """A line for each chain, and one if the others differ in steps or in answers read."""
    told, trained = [], [x for x in results if x.arm]
    single = [x for x in trained if x.arm and len(x.arm.stages) == 1]
    for x in trained:
        if x.arm and len(x.arm.stages) > 1 and all(y.cost["steps"] < x.cost["steps"]
                                                   for y in single):
            equal = shlex.join([*x.arm.stages[0], "--steps", f"{x.cost['steps']:.0f}"])
            told.append(f"{x.name} takes {x.cost['steps']:.0f} steps, the others fewer, so the "
                        f"work is not equal; \"{equal}\" is an arm of as many")
    if len({x.cost["steps"] for x in single}) > 1:
        told.append("not all take as many steps; the table has them")
    if len({x.cost["answers"] for x in single}) > 1:
        told.append("as many steps and rows are not as much work: the table has the answers read "
                    "(a pair has two) and the CPU seconds")
    return told


def about_looks(c: Comparison, earlier: list[Look]) -> list[str]:
    if not earlier:
        return []
    before = dict.fromkeys(f"{', '.join(x.arms)} with {x.seeds[1]} seeds" for x in earlier)
    number = len(earlier) + 1
    what = f"confirmation {number} by" if c.cfg.confirm else f"look {number} at"
    told = (f"this is {what} these questions. Before: {'; '.join([*before][-4:])}. Who looks until "
            "a verdict comes, or tries losses one by one, finds a lead by chance more often than "
            "once in twenty")
    return [told if c.cfg.confirm else
            f"{told}. --confirm judges once, with fresh seeds and questions"]


def leaks(c: Comparison) -> str:
    """"3 of 40 held-out questions are also trained on", by the start model's run."""
    rows, _ = read([c.asked("test").data], ["demos", "pairs", "labels"])
    return leak({*question_keys(rows)}, questions_of_run(c.train.init))


# ---- the folder ----------------------------------------------------------------------------------
def write(c: Comparison, results: list[Result], questions: list[Question],
          earlier: list[Look]) -> Path:
    """plan.ini, scores.csv, picture.svg and report.md, all of one comparison. Returns the folder.
    """
    measure = results[0].measure
    drawn = picture(results, questions, NAMES[measure], SCALE.get(measure, 1))
    told = report(c, results, questions, earlier)
    with held(c.root, c.place.name):
        c.place.mkdir(parents=True, exist_ok=True)
        write_text(c.place / "plan.ini", plan_text(c))
        write_text(c.place / "scores.csv", as_csv(c, results))
        write_text(c.place / "picture.svg", drawn)
        write_text(c.place / "report.md", told)
    return c.place


def as_csv(c: Comparison, results: list[Result]) -> str:
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(("method", "seed", "part", results[0].measure))
    for x in results:
        for part, of_part in x.scores.items():
            seeds = [s + 500 * x.arm.copy for s in c.seeds] if x.arm else [""]
            out.writerows((x.name, seed, part, f"{score:.5f}")
                          for seed, score in zip(seeds, of_part.mean(1)))
    return text.getvalue()


def report(c: Comparison, results: list[Result], questions: list[Question],
           earlier: list[Look]) -> str:
    measure, tasks = results[0].measure, [*results[0].scores]
    tries = [f"- {arm.name}: " + ", ".join(
        f"{number(abs(x), measure)} at {rate:.2g}" if np.isfinite(x) else
        f"diverged at {rate:.2g}" for rate, x in tried.items()) for arm, tried in c.tried.items()]
    by_task = ["## By task", "| | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 1) + "|",
               *("| " + " | ".join([x.name, *(number(x.scores[task].mean(), measure)
                                              for task in tasks)]) + " |" for x in results), ""]
    over = ("seeds, questions, and draws of the training rows. Each seed has drawn them anew; the "
            "luck of the file itself is taken to be as large as that of a draw." if c.parts else
            "seeds and questions.")
    return "\n".join([
        f"# {', '.join(arm.name for arm in c.arms)}", *conditions(c),
        f"nanouft {__version__}, torch {runs.torch.__version__}.", "",
        "![scores and differences](picture.svg)", "", "```text",
        *table(c, results, questions, earlier), "```", "",
        f"An interval is over {over} Differences are paired by seed and question. The interval "
        "that is printed decides: above 0 is better, below 0 worse, inside the margin level.", "",
        *(by_task if len(tasks) > 1 else []), "## Rates that were tried",
        f"Scores of validation questions, seed {TRY}:" if tries else "None.", *tries, "",
        "## Again", "From the same folder, with the same files:", "```bash",
        f"python -m nanouft.compare {shlex.quote((c.place / 'plan.ini').as_posix())}", "```",
        "The trainings that are judged, as they are typed:", "```bash", *commands(c), "```", ""])


def commands(c: Comparison) -> list[str]:
    """Of each training that is judged, into folders of its own; a chain starts from those."""
    folders: dict[str, str] = {}
    out = []
    for arm in c.every:
        for seed in c.seeds:
            job = c.job(arm, seed)
            folders[str(job.folder)] = f"out/typed/{job.folder.name}"
            words = [folders.get(word, word) for word in [*job.words, "--out", str(job.folder)]]
            out.append(f"python -m nanouft.train {shlex.join(words)}")
    return out
