"""What a comparison prints and writes: conditions, table, verdicts, notes, commands."""
import csv
import io
import shlex
import textwrap
from collections.abc import Iterable

import numpy as np

from nanouft import __version__
from nanouft.compare import runs, stats
from nanouft.compare.comparison import TRIES, TRY, Comparison
from nanouft.compare.foretell import would_decide
from nanouft.compare.looks import Look
from nanouft.compare.parts import DOES
from nanouft.compare.picture import picture
from nanouft.compare.verdicts import MEASURES, Question, Result, may_be_the_rate, missed
from nanouft.data.holdout import leak, question_keys
from nanouft.data.rows import read
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import quantity, say
from nanouft.run.folder import questions_of_run


def tell(c: Comparison, results: list[Result], questions: list[Question],
         earlier: list[Look]) -> None:
    """Print the table, and write scores.csv, picture.svg and report.md beside plan.ini."""
    table = [*scores(c, results), "", *differences(c, questions)]
    for text in notes(c, results, earlier):
        table += textwrap.wrap(f"Note: {text}", 80, subsequent_indent="  ",
                               break_long_words=False, break_on_hyphens=False)
    say(*table, sep="\n")
    write_text(c.place / "scores.csv", as_csv(c, results))
    write_text(c.place / "picture.svg", picture(results, questions))
    write_text(c.place / "report.md", report(c, results, table))
    say(f"\nPlan, scores, picture and the commands to type: {c.place}")


def between(values: Iterable[int]) -> str:
    """"48", or "12 to 96"."""
    low, *_, high = [*sorted(values)] * 2
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
    tried = (f"{tries} learning rates of each are tried with one seed, one more if the best is at "
             f"the edge, and the own and the two best with {len(TRIES)}" if tries > 1 else
             "No rate is searched")
    copies = ", those of a second name 500 more," if any(arm.copy for arm in c.arms) else ""
    text = (f"{what}. Start model {c.train.init}, on {paces[0].device} in {paces[0].dtype}. Each "
            f"stage: {between(x.steps for x in paces)} steps of "
            f"{between(x.batch_size for x in paces)} rows, from "
            f"{between(x.rows for x in paces)} that it can read. {tried}; then seeds "
            f"{c.seeds[0]} to {c.seeds[-1]}{copies} are judged.")
    return textwrap.wrap(text, 80)


# ---- the table -----------------------------------------------------------------------------------
def scores(c: Comparison, results: list[Result]) -> list[str]:
    measure, others = MEASURES[results[0].measure], [*results[0].others]
    width = max(len(x.name) for x in results)
    out = ["  ".join((f"{'':{width}}", f"{measure.title:>15}",
                      *(f"{MEASURES[x].title:>14}" for x in others), f"{'rate':>8}",
                      f"{'steps':>6}", f"{'answers read':>13}", f"{'CPU s':>6}"))]
    for x in results:
        figure = f"{measure.text(x.mean)} ± {measure.text(x.half)}"
        cells = [f"{x.name:{width}}", f"{figure:>15}",
                 *(f"{MEASURES[what].text(x.others[what]):>14}" for what in others)]
        if x.arm:
            cells += [f"{c.rate(x.arm):8.2g}", f"{x.cost['steps']:6.0f}",
                      f"{x.cost['answers']:13,.0f}", f"{x.cost['seconds']:6.1f}"]
        out.append("  ".join(cells))
    return [*out, "(± here: 95 % of this score alone)"]


def differences(c: Comparison, questions: list[Question]) -> list[str]:
    measure = MEASURES[questions[0].a.measure]
    over = "seeds, questions and training rows" if c.parts else "seeds and questions"
    shared = f"; the {len(questions)} questions share the 5 %" if len(questions) > 1 else ""
    out = textwrap.wrap(f"Differences with intervals of 95 % over {over}{shared}. Level: within "
                        f"{measure.text(questions[0].margin)} {measure.unit}".rstrip()
                        + ("; less is better." if measure.sign < 0 else "."), 80)
    heads = [f"{q.a.name} - {q.b.name}" for q in questions]
    for head, q in zip(heads, questions):
        mean, half = q.interval()
        figures = f"{measure.text(measure.sign * mean, '+')} ± {measure.text(half)}"
        doubts = [f"without seed {' or '.join(str(c.seeds[i]) for i in on)} it is not"
                  for on in [q.hangs_on()] if on]
        doubts += [f"rests on {task}" for task in [q.rests_on()] if task]
        doubts += [f"the rate of {arm} may be why" for arm in [may_be_the_rate(c, q)] if arm]
        doubts += [text for text in [what_decides(c, q, figures.partition(" ")[0])] if text]
        out.append("; ".join([f"  {head:{max(map(len, heads))}}  {figures:>14}  {q.verdict}",
                              *doubts]))
    return out


def what_decides(c: Comparison, q: Question, figure: str) -> str:
    if q.verdict != "undecided" or abs(q.interval()[0]) < q.margin:
        return ""
    if (times := would_decide(q)) == np.inf:
        return ""
    asked = c.asked("test")
    n = times * (asked.draws() if c.parts else asked.items * len(asked.tasks))
    how = f"{times:g} times the rows" if c.parts else f"--items {asked.items * times:.0f}"
    return f"about {quantity(round(n), 'questions')} ({how}) would decide {figure}"


def notes(c: Comparison, results: list[Result], earlier: list[Look]) -> list[str]:
    """Why a verdict may be unfair although its interval is right."""
    told = []
    for arm, tried in c.tried.items():
        best, ends = c.rate(arm), (min(tried), max(tried))
        if len(tried) > 2 and best in ends:
            side = ("lowest", "lower") if best == ends[0] else ("highest", "higher")
            told.append(f"{arm.name}: the best rate, {best:.2g}, is the {side[0]} of "
                        f"{len(tried)} tried; a {side[1]} one may be better (--tries 5, or another "
                        "--lr in its quotes)")
    for arm in c.tried:
        if x := missed(c, arm):
            measure, n = MEASURES[results[0].measure], len(TRIES)
            told.append(f"{arm.name}: its rates cannot be told apart; {x.rate:.2g} scored "
                        f"{measure.text(x.lead)} more than {c.rate(arm):.2g} in {n} tries, with a "
                        f"standard error of {measure.text(x.error)}, so the nearer to its own "
                        "was taken")
    told += unequal_work(results)
    told += [text for arm in c.every
             for text in runs.made(c.job(arm, c.seeds[0]).folder).get("told", ())]
    told += [x for x in [MEASURES[results[0].measure].trained] if x]
    told += [f"{arm.name} trains on the reward that judges here" for arm in c.arms
             if any("--reward" in c.words[stage] for stage in arm.stages)]
    if len(c.seeds) < 3:
        two, three, five = (stats.student(0.025, freedom) for freedom in (1, 2, 4))
        told.append(f"two seeds: an interval is {two:.1f} standard errors wide on each side, with "
                    f"three {three:.1f}, with five {five:.1f}; give --seeds 3 or more")
    if c.parts:
        rows, _ = read([c.asked("test").data], ["demos", "pairs", "labels"])
        if text := leak({*question_keys(rows)}, questions_of_run(c.train.init)):
            told.append(f"{text}, by the run that made {c.train.init}")
    return told + about_looks(c, earlier)


def unequal_work(results: list[Result]) -> list[str]:
    """A line for each chain, and one if the others differ in steps or in answers read."""
    told, trained = [], [(x, x.arm.stages) for x in results if x.arm]
    single = [x.cost for x, stages in trained if len(stages) == 1]
    for x, (first, *more) in trained:
        if more and all(cost["steps"] < x.cost["steps"] for cost in single):
            equal = shlex.join([*first, "--steps", f"{x.cost['steps']:.0f}"])
            told.append(f"{x.name} takes {x.cost['steps']:.0f} steps, the others fewer, so the "
                        f"work is not equal; \"{equal}\" is an arm of as many")
    if len({cost["steps"] for cost in single}) > 1:
        told.append("not all take as many steps; the table has them")
    if len({cost["answers"] for cost in single}) > 1:
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


# ---- the folder ----------------------------------------------------------------------------------
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


def report(c: Comparison, results: list[Result], table: list[str]) -> str:
    measure, tasks = MEASURES[results[0].measure], [*results[0].scores]
    good, bad = ("above", "below") if measure.sign > 0 else ("below", "above")
    tries = [f"- {arm.name}: " + ", ".join(
        (f"{measure.text(abs(x))} at {rate:.2g}" if np.isfinite(x) else f"diverged at {rate:.2g}")
        + " (mean of all)" * (rate in c.again[arm]) for rate, x in tried.items())
        for arm, tried in c.tried.items()]
    by_task = ["## By task", "| | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 1) + "|",
               *("| " + " | ".join([x.name, *(measure.text(x.scores[task].mean())
                                              for task in tasks)]) + " |" for x in results), ""]
    over = "seeds and questions." if not c.parts else (
        "seeds, questions, and draws of the training rows. The seeds have drawn them together, "
        "each row as often as any other. The luck of the file itself is taken to be a third larger "
        "(as variance) than what draws do to a seed.")
    return "\n".join([
        f"# {', '.join(arm.name for arm in c.arms)}", *conditions(c),
        f"nanouft {__version__}, torch {runs.torch.__version__}.", "",
        "![scores and differences](picture.svg)", "", "```text", *table, "```", "",
        f"An interval is over {over} Differences are paired by seed and question. The interval "
        f"that is printed decides: {good} 0 is better, {bad} 0 worse, inside the margin level.", "",
        *(by_task if len(tasks) > 1 else []), "## Rates that were tried",
        f"Scores of validation questions, seed {TRY}, or the mean of seeds {TRIES[0]} to "
        f"{TRIES[-1]}:" if tries else "None.", *tries, "",
        "## Again", "From the same folder, with the same files:", "```bash",
        f"python -m nanouft.compare {shlex.quote((c.place / 'plan.ini').as_posix())}", "```",
        "The trainings that are judged, as they are typed:", "```bash", *commands(c), "```", ""])


def commands(c: Comparison) -> list[str]:
    """Of each training that is judged, into folders of its own; a chain starts from those."""
    jobs = [c.job(arm, seed) for arm in c.every for seed in c.seeds]
    typed = {str(job.folder): f"out/typed/{job.folder.name}" for job in jobs}
    return [shlex.join(typed.get(word, word) for word in
                       ["python", "-m", "nanouft.train", *job.words, "--out", str(job.folder)])
            for job in jobs]
