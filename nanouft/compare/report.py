"""What a comparison leaves in its folder: report.md, picture.svg, scores.csv, differences.csv."""
import contextlib
import csv
import io
import itertools
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import torch

from nanouft import __version__
from nanouft.compare import runs
from nanouft.compare.arms import Arm
from nanouft.compare.fingerprint import PACKAGE, versions
from nanouft.compare.picture import picture
from nanouft.compare.plan import TRIES, TRY, Comparison, short_rate
from nanouft.compare.printed import conditions, differences, notes, scores, signed, wrapped
from nanouft.compare.testset_reuse import Look
from nanouft.compare.verdicts import MEASURES, Question, Result, judged_by, mean_of
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import Picture, Table, say

Lines = list[list[str]]             # of cells, the head first


class Verdict(NamedTuple):
    """What came of a comparison. A cell of a notebook shows its text."""
    folder: Path
    table: Table                # for each method: name, mean, half_width ...
    differences: Table          # for each pair: name, mean, half_width, verdict
    text: str                   # as the command prints it

    @property
    def picture(self) -> Picture:
        return Picture(self.folder / "picture.svg")

    def __repr__(self) -> str:
        return self.text


def verdict_of(c: Comparison, results: list[Result], questions: list[Question],
               text: str) -> Verdict:
    """In the units of the printed table."""
    measure = MEASURES[results[0].measure]
    table = Table({"name": x.name, "mean": measure.scale * x.mean,
                   "half_width": measure.scale * x.half} for x in results)
    differences = Table()
    for q in questions:
        mean, half = (measure.scale * x for x in q.interval())
        differences.append({"name": f"{q.a.name} - {q.b.name}", "mean": measure.sign * mean,
                            "half_width": half, "verdict": q.verdict})
    return Verdict(c.place, table, differences, text)


def tell(c: Comparison, results: list[Result], questions: list[Question],
         earlier: list[Look]) -> Verdict:
    """Print the table, and write report.md, picture.svg and two csv files beside plan.ini."""
    table = [*scores(c, results), "", *differences(c, questions)]
    for text in notes(c, results, earlier):
        table += wrapped(f"Note: {text}", "  ")
    say(*table, sep="\n")
    files = {"scores.csv": as_csv(of_seeds(c, results)),
             "differences.csv": as_csv(of_pairs(questions)),
             "picture.svg": picture(results, questions),
             "report.md": report(c, results, questions, table)}
    keep_earlier(c.place, files)
    for name, text in files.items():
        write_text(c.place / name, text)
    say(f"\nReport (by task, learning rates, commands), scores, picture and plan: {c.place}")
    return verdict_of(c, results, questions, "\n".join(table))


def keep_earlier(place: Path, files: dict[str, str]) -> None:
    """Move a report that says something else, with its tables and picture, so that it is not lost.
    files: {name: new text}, the report last, because it says whether there is something to keep."""
    old = place / "report.md"
    if not old.exists() or old.read_text(encoding="utf-8") == files["report.md"]:
        return
    folders = (place / f"earlier-{n}" for n in itertools.count(1))
    earlier = next(folder for folder in folders if not folder.exists())
    earlier.mkdir()
    for file in filter(Path.exists, (place / name for name in files)):
        file.rename(earlier / file.name)
    say(f"Note: the previous report is now in {earlier}")


def as_csv(lines: Lines) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def as_markdown(head: list[str], *lines: list[str]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)]


def of_seeds(c: Comparison, results: list[Result]) -> Lines:
    """The score of each seed in each task."""
    out = [["method", "seed", "part", results[0].measure]]
    for x in results:
        for part, of_part in x.scores.items():
            seeds = [str(s + 500 * x.arm.copy) for s in c.seeds] if x.arm else [""]
            out += [[x.name, seed, part, f"{score:.5f}"]
                    for seed, score in zip(seeds, of_part.mean(1))]
    return out


def of_pairs(questions: list[Question]) -> Lines:
    """Each difference, as it was measured, of all and by task; of a task it is not corrected."""
    out = [["method", "minus", "part", "difference", "half_width", "corrected_for", "verdict"]]
    for q in questions:
        parts = {"all": q} | {x: q.only(x) for x in q.a.scores if len(q.a.scores) > 1}
        for part, of_part in parts.items():
            mean, half = of_part.interval()
            out.append([q.a.name, q.b.name, part, f"{MEASURES[q.a.measure].sign * mean:.5f}",
                        f"{half:.5f}", str(of_part.of), q.verdict if of_part is q else ""])
    return out


def by_task(results: list[Result], questions: list[Question]) -> list[str]:
    measure, tasks = MEASURES[results[0].measure], [*results[0].scores]
    if len(tasks) == 1:
        return []
    means = [[x.name, *(f"{measure.text(of.mean)} ± {measure.text(of.half)}"
                        for of in map(x.only, tasks))] for x in results]
    gaps = [[f"{q.a.name} - {q.b.name}", *(signed(q.only(task)) for task in tasks)]
            for q in questions]
    return ["## By task", "Means, and paired differences, each ± its 95 % CI. They are not "
            "corrected for the number of tasks or of comparisons: exploratory.", "",
            *as_markdown(["", *tasks], *means, *gaps), ""]


def searched(c: Comparison) -> list[str]:
    """The score of each learning rate with each seed."""
    lines = []
    for arm, tried in c.tried.items():
        for rate in sorted(tried):
            scores = [score_of(c, arm, rate, seed) for seed in TRIES
                      if seed == TRY or rate in c.again[arm]]
            lines.append([arm.name, short_rate(rate), *scores, *[""] * (len(TRIES) - len(scores)),
                          "taken" if rate == c.rate(arm) else ""])
    seeds = [f"seed {seed}" for seed in TRIES]
    return ["## Learning rates", "Scores on validation prompts:", "",
            *as_markdown(["method", "learning rate", *seeds, ""], *lines), ""] if lines else []


def score_of(c: Comparison, arm: Arm, rate: float, seed: int) -> str:
    if not (found := runs.values(c.job(arm, seed, rate))):
        return "diverged"
    measure = judged_by(c, found)
    return MEASURES[measure].text(mean_of(found[measure]))


def made_with(device: str) -> str:
    """Versions, commit and hardware."""
    on = f"{torch.cuda.get_device_name()}, " if device == "cuda" else ""
    return (f"nanouft {__version__}{commit()}, Python {sys.version.split()[0]}, "
            f"{', '.join(map(' '.join, versions().items()))}; {on}{cpu()}, {os.cpu_count()} cores.")


def commit() -> str:
    """Of a checkout, and whether it has been edited."""
    place = PACKAGE.parent
    with contextlib.suppress(OSError):
        if (place / ".git").exists():
            told = subprocess.run(["git", "-C", str(place), "describe", "--always", "--dirty",
                                   "--exclude", "*"], capture_output=True, text=True).stdout
            return f" (commit {told.strip()})" if told else ""
    return ""


def cpu() -> str:
    """Its name."""
    file = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", file.read_text()) if file.exists() else []
    return [*names, platform.processor() or platform.machine()][0]


def report(c: Comparison, results: list[Result], questions: list[Question],
           table: list[str]) -> str:
    measure = MEASURES[results[0].measure]
    good, bad = ("above", "below") if measure.sign > 0 else ("below", "above")
    over = "seeds and prompts." if not c.parts else (
        "seeds, prompts, and bootstrap samples of the training rows. The seeds have drawn them "
        "together, each row as often as any other. The variance due to the file itself is taken "
        "to be a third larger than that which such samples give between seeds.")
    return "\n".join([
        f"# {', '.join(arm.name for arm in c.arms)}", *conditions(c), "",
        made_with(next(iter(c.paces.values())).device), "",
        "![scores and paired differences](picture.svg)", "", "```text", *table, "```", "",
        f"A CI is over {over} Differences are paired by seed and prompt. The CI that is printed "
        f"decides: {good} 0 is better, {bad} 0 worse, inside the margin equivalent, else "
        "undecided.", "", *by_task(results, questions), *searched(c),
        "## Reproduce", "From the same folder, with the same files:", "```bash",
        f"python -m nanouft.compare {shlex.quote((c.place / 'plan.ini').as_posix())}", "```",
        "The trainings that were evaluated, as they are typed:", "```bash", *commands(c), "```",
        ""])


def commands(c: Comparison) -> list[str]:
    """Of each training that was evaluated, into folders of its own; a chain starts from those."""
    jobs = [c.job(arm, seed) for arm in c.every for seed in c.seeds]
    typed = {str(job.folder): f"out/typed/{job.folder.name}" for job in jobs}
    configs = {job: job.config.but(init=typed.get(job.init, job.init), out=typed[str(job.folder)])
               for job in jobs if job.config}
    return [job._replace(config=config).command for job, config in configs.items()]
