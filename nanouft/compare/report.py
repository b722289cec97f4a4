"""What a comparison leaves in its folder: report.md, picture.svg, scores.csv, differences.csv."""
import contextlib
import csv
import io
import itertools
import platform
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

import torch

from nanouft import __version__
from nanouft.compare import runs
from nanouft.compare.arms import Arm
from nanouft.compare.fingerprint import PACKAGE, hash_of_file, library_versions
from nanouft.compare.picture import method_of, picture
from nanouft.compare.plan import (
    SEARCH_SEED,
    SEARCH_SEEDS,
    Comparison,
    short_lr,
)
from nanouft.compare.printed import (
    conclusion,
    difference_lines,
    note_lines,
    notes,
    score_table,
    setup_lines,
    signed_interval,
    wrapped,
)
from nanouft.compare.testset_reuse import earlier_tests, record_test
from nanouft.compare.verdicts import MEASURES, Question, Result, mean_over_tasks, metric_of
from nanouft.data.files import file_names
from nanouft.objective import Objective
from nanouft.pictures.colours import style_of
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import Picture, Table, say
from nanouft.run.device import cores

Lines = list[list[str]]             # of cells, the head first


class Verdict(NamedTuple):
    """What came of a comparison. A cell of a notebook shows its text."""
    folder: Path
    table: Table                # for each method: name, mean, half_width ...
    differences: Table          # for each pair: name, mean, half_width, verdict
    text: str                   # as the command prints it
    notes: list[str]            # what may make a verdict unfair, skipped rows too

    @property
    def picture(self) -> Picture:
        return Picture(self.folder / "picture.svg")

    def __repr__(self) -> str:
        return self.text


def verdict_of(c: Comparison, results: list[Result], questions: list[Question],
               text: str, noticed: list[str]) -> Verdict:
    """In the units of the printed table."""
    measure = MEASURES[results[0].measure]
    table = Table({"name": x.name, "mean": measure.scale * x.mean,
                   "half_width": measure.scale * x.half_width} for x in results)
    differences = Table()
    for q in questions:
        mean, half = (measure.scale * x for x in q.interval())
        differences.append({"name": f"{q.a.name} - {q.b.name}", "mean": measure.sign * mean,
                            "half_width": half, "verdict": q.verdict})
    return Verdict(c.folder, table, differences, text, noticed)


def write_report(c: Comparison, results: list[Result], questions: list[Question]) -> Verdict:
    """Print the table, and write report.md, picture.svg and two csv files beside plan.ini. It
    counts as a test on these prompts, if nothing has failed before its scores are shown."""
    result = conclusion(c, questions)
    noticed = notes(c, results, earlier_tests(c))
    table = [*score_table(c, results), "", *difference_lines(c, questions),
             *(line for text in noticed for line in note_lines(text))]
    files = {"scores.csv": as_csv(seed_score_rows(c, results)),
             "differences.csv": as_csv(difference_rows(questions)),
             "picture.svg": picture(results, questions),
             "report.md": report_text(c, results, questions, result, table)}
    verdict = verdict_of(c, results, questions, "\n".join([*wrapped(result), "", *table]), noticed)
    record_test(c)
    say(verdict.text)
    keep_earlier_report(c.folder, files)
    for name, text in files.items():
        write_text(c.folder / name, text)
    say("\nReport (settings, by seed and task, learning rates, commands), scores, picture, plan: "
        f"{c.folder}")
    return verdict


def keep_earlier_report(place: Path, files: dict[str, str]) -> None:
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


def seed_score_rows(c: Comparison, results: list[Result]) -> Lines:
    """The score of each seed in each task."""
    out = [["method", "seed", "part", results[0].measure]]
    for x in results:
        for part, of_part in x.scores.items():
            seeds = [str(s + 500 * x.arm.copy) for s in c.seeds] if x.arm else [""]
            out += [[x.name, seed, part, f"{score:.5f}"]
                    for seed, score in zip(seeds, of_part.mean(1))]
    return out


def difference_rows(questions: list[Question]) -> Lines:
    """Each difference, as it was measured, of all and by task; of a task it is not corrected."""
    out = [["method", "minus", "part", "difference", "half_width", "corrected_for", "verdict"]]
    for q in questions:
        parts = {"all": q} | {x: q.of_task(x) for x in q.a.scores if len(q.a.scores) > 1}
        for part, of_part in parts.items():
            mean, half = of_part.interval()
            out.append([q.a.name, q.b.name, part, f"{MEASURES[q.a.measure].sign * mean:.5f}",
                        f"{half:.5f}", str(of_part.n_comparisons),
                        q.verdict if of_part is q else ""])
    return out


def settings_section(c: Comparison) -> list[str]:
    """What each stage trains with."""
    lines = []
    for arm in c.arms:
        for part in arm.chain:
            stage = part.stages[-1]
            run, plan = c.configs[stage], c.stage_plans[stage]
            name = arm.name if len(arm.stages) == 1 else f"{arm.name}: {stage[0]}"
            lines.append([name, settings_text(run.objective()), short_lr(c.lr(part)),
                          f"{plan.steps}", f"{plan.steps * plan.batch_size / plan.rows:.2g}",
                          f"{plan.batch_size}", plan.dtype,
                          f"LoRA, rank {run.lora}, alpha {run.lora_alpha or 2 * run.lora:g}, "
                          f"{run.lora_targets}" if run.lora else "all"])
    searched = "only the learning rate" if c.cfg.tries > 1 else "nothing"
    warmup = " or ".join(dict.fromkeys(f"{100 * run.warmup:g} %" for run in c.configs.values()))
    return ["## Settings", f"Searched: {searched}; other settings are as given, or else the "
            "defaults. In brackets: the default of a setting that has another value.", "",
            *as_markdown(["method", "its settings", "learning rate", "steps", "epochs",
                          "batch size", "precision", "trained weights"], *lines), "",
            "AdamW (betas 0.9 and 0.95, no weight decay), norm of the gradient at most 1; learning "
            f"rate: linear warmup over {warmup} of the steps, then a cosine to 0.", "",
            *file_hashes(c)]


def file_hashes(c: Comparison) -> list[str]:
    """Of your rows, and of code of yours that the runs with the first seed imported."""
    hashes = {file_names([file]): hash_of_file(Path(file)) for file in c.train.data or ()}
    for arm in c.all_arms:
        files = runs.made_record(c.job(arm, c.seeds[0]).folder).get("files", {})
        hashes |= {name: x for name, x in files.items() if not name.startswith("nanouft:")}
    texts = [f"{name} {x}" for name, x in hashes.items() if x]
    return [f"SHA-256, its first 16 digits: {'; '.join(texts)}.", ""] if texts else []


def settings_text(objective: Objective) -> str:
    """"beta 0.2 (0.1), swap False"."""
    texts = []
    for field in fields(objective):
        value = getattr(objective, field.name)
        usual = f" ({field.default})" if value != field.default else ""
        texts.append(f"{field.name} {value}{usual}")
    return ", ".join(texts) or "none"


def seed_section(c: Comparison, results: list[Result], questions: list[Question]) -> list[str]:
    measure = MEASURES[results[0].measure]
    means = [[x.name, *map(measure.text, x.seed_scores())] for x in results[1:]]
    gaps = [[f"{q.a.name} - {q.b.name}",
             *(measure.text(gap, "+") for gap in q.a.seed_scores() - q.b.seed_scores())]
            for q in questions]
    return ["## By seed", f"{measure.title}, and paired differences:", "",
            *as_markdown(["", *(f"seed {seed}" for seed in c.seeds)], *means, *gaps), ""]


def caption(results: list[Result]) -> str:
    """What the marks of the picture are."""
    marks = ", ".join(f"{style_of(method_of(x)).mark} {x.name}" for x in results)
    return (f"Above: {marks}; each with the 95 % CI of its mean, and below it a dot for each seed. "
            "Below: the differences with their CI; blue is better, orange worse, grey undecided or "
            "equivalent.")


def task_section(results: list[Result], questions: list[Question]) -> list[str]:
    measure, tasks = MEASURES[results[0].measure], [*results[0].scores]
    if len(tasks) == 1:
        return []
    means = [[x.name, *(f"{measure.text(of.mean)} ± {measure.text(of.half_width)}"
                        for of in map(x.of_task, tasks))] for x in results]
    gaps = [[f"{q.a.name} - {q.b.name}", *(signed_interval(q.of_task(task)) for task in tasks)]
            for q in questions]
    return ["## By task", "Means, and paired differences, each ± its 95 % CI. They are not "
            "corrected for the number of tasks or of comparisons: exploratory.", "",
            *as_markdown(["", *tasks], *means, *gaps), ""]


def rate_search_section(c: Comparison) -> list[str]:
    """The score of each learning rate with each seed."""
    lines = []
    for arm, tried in c.search_scores.items():
        for lr in sorted(tried):
            scores = [validation_score_text(c, arm, lr, seed) for seed in SEARCH_SEEDS
                      if seed == SEARCH_SEED or lr in c.finalists[arm]]
            lines.append([arm.name, short_lr(lr), *scores,
                          *[""] * (len(SEARCH_SEEDS) - len(scores)),
                          "taken" if lr == c.lr(arm) else ""])
    seeds = [f"seed {seed}" for seed in SEARCH_SEEDS]
    return ["## Learning rates", "Scores on validation prompts:", "",
            *as_markdown(["method", "learning rate", *seeds, ""], *lines), ""] if lines else []


def validation_score_text(c: Comparison, arm: Arm, lr: float, seed: int) -> str:
    if not (measured := runs.scores_of(c.job(arm, seed, lr))):
        return "diverged"
    measure = metric_of(c, measured)
    return MEASURES[measure].text(mean_over_tasks(measured[measure]))


def environment_text(device: str) -> str:
    """Versions, commit and hardware."""
    on = f"{torch.cuda.get_device_name()}, " if device == "cuda" else ""
    return (f"nanouft {__version__}{commit_text()}, Python {sys.version.split()[0]}, "
            f"{', '.join(map(' '.join, library_versions().items()))}; {on}{cpu_name()}, "
            f"{cores()} cores.")


def commit_text() -> str:
    """Of a checkout, and whether it has been edited."""
    place = PACKAGE.parent
    with contextlib.suppress(OSError):
        if (place / ".git").exists():
            described = subprocess.run(["git", "-C", str(place), "describe", "--always", "--dirty",
                                        "--exclude", "*"], capture_output=True, text=True).stdout
            return f" (commit {described.strip()})" if described else ""
    return ""


def cpu_name() -> str:
    """Its name."""
    file = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", file.read_text()) if file.exists() else []
    return [*names, platform.processor() or platform.machine()][0]


def report_text(c: Comparison, results: list[Result], questions: list[Question],
                result: str, table: list[str]) -> str:
    measure = MEASURES[results[0].measure]
    good, bad = ("above", "below") if measure.sign > 0 else ("below", "above")
    over = "seeds and prompts." if not c.parts else (
        "seeds, prompts, and bootstrap samples of the training rows. The seeds have drawn them "
        "together, each row as often as any other. The variance due to the file itself is taken "
        "to be a third larger than that which such samples give between seeds.")
    return "\n".join([
        f"# {'Confirmation: ' * c.cfg.confirm}{', '.join(arm.name for arm in c.arms)}",
        f"**{result}**", "", *setup_lines(c), "",
        environment_text(next(iter(c.stage_plans.values())).device), "",
        "![scores and paired differences](picture.svg)", "", caption(results), "",
        "```text", *table, "```", "",
        f"A CI is over {over} Differences are paired by seed and prompt. The CI that is printed "
        f"decides: {good} 0 is better, {bad} 0 worse, inside the margin equivalent, else "
        "undecided.", "", *settings_section(c), *seed_section(c, results, questions),
        *task_section(results, questions), *rate_search_section(c),
        "## Reproduce", *plan_command(c),
        "The trainings that were evaluated, as they are typed:", "```bash", *training_commands(c),
        "```", ""])


def plan_command(c: Comparison) -> list[str]:
    """The whole comparison again."""
    return ["From the same folder, with the same files:", "```bash",
            f"python -m nanouft.compare {shlex.quote((c.folder / 'plan.ini').as_posix())}", "```"]


def training_commands(c: Comparison) -> list[str]:
    """Of each training that was evaluated, into folders of its own; a chain starts from those."""
    jobs = [c.job(arm, seed) for arm in c.all_arms for seed in c.seeds]
    typed = {str(job.folder): f"out/typed/{job.folder.name}" for job in jobs}
    configs = {job: job.config.with_flags(init=typed.get(job.init, job.init),
                                          out=typed[str(job.folder)])
               for job in jobs if job.config}
    return [*filter(None, (job._replace(config=config).command for job, config in configs.items()))]
