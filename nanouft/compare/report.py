"""What a comparison leaves in its folder: report.md, picture.svg, scores.csv, differences.csv."""
import contextlib
import csv
import io
import json
import platform
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

import torch

from nanouft import __version__
from nanouft.compare.inputs import LIBRARIES, current, hash_of_input
from nanouft.compare.jobs import time_text
from nanouft.compare.notes import count_test, failures, lost_tasks, notes
from nanouft.compare.picture import picture
from nanouft.compare.plan import COPY_SEEDS, SEARCH_SEEDS, Comparison, short_lr
from nanouft.compare.runs import cpu_seconds
from nanouft.compare.scoring import EXAMPLES
from nanouft.compare.search import Found, validation_results
from nanouft.compare.table import (
    conclusion,
    difference_lines,
    mean_text,
    note_lines,
    rate_lines,
    score_table,
    setup_lines,
    signed_interval,
    wrapped,
)
from nanouft.compare.verdicts import MEASURES, Measure, Question, Result, values_of
from nanouft.device import cores
from nanouft.objective import Objective
from nanouft.plumbing.files import write_text
from nanouft.plumbing.imported_files import PACKAGE
from nanouft.plumbing.printing import Picture, Table, say, visible

Lines = list[list[str]]             # of cells, the head first
LONGEST_EXAMPLE = 600               # letters of a prompt or answer in the report


class Verdict(NamedTuple):
    """What came of a comparison. A cell of a notebook shows its text."""
    folder: Path
    table: Table                # for each method: name, mean, half_width, learning_rate, steps
    differences: Table          # for each pair: name, mean, half_width, verdict, p, corrected_for,
                                # seeds, n_prompts
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
                   "half_width": measure.scale * x.half_width,
                   "learning_rate": c.rate(x.arm) if x.arm else None,
                   "steps": round(x.steps)} for x in results)
    differences = Table()
    for q in questions:
        mean, half = (measure.scale * x for x in q.interval())
        differences.append({"name": q.name, "mean": measure.sign * mean, "half_width": half,
                            "verdict": q.verdict, "p": q.p_value,
                            "corrected_for": q.n_comparisons, "seeds": len(c.seeds),
                            "n_prompts": q.a.n_prompts})
    return Verdict(c.folder, table, differences, text, noticed)


def write_report(c: Comparison, found: Found, results: list[Result],
                 questions: list[Question]) -> Verdict:
    """Print the table, and write the files."""
    result = conclusion(questions, [*lost_tasks(results),
                                    *failures(c, found, results, questions[0].margin)])
    noticed = notes(c, found, results, *count_test(c))
    table = [*score_table(c, results), "", *difference_lines(c, questions), "",
             *rate_lines(c, found), *(line for text in noticed for line in note_lines(text))]
    verdict = verdict_of(c, results, questions, "\n".join([*wrapped(result), "", *table]), noticed)
    say(verdict.text)
    c.folder.mkdir(parents=True, exist_ok=True)
    for name, text in {"scores.csv": as_csv(prompt_scores(c, results)),
                       "differences.csv": as_csv(difference_rows(questions)),
                       "picture.svg": picture(results, questions),
                       "report.md": report_text(c, found, results, questions, result,
                                                table)}.items():
        write_text(c.folder / name, text)
    say(f"\nReport (settings, by seed and task, learning rates, commands), scores, picture: "
        f"{c.folder}")
    return verdict


def as_csv(lines: Lines) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def as_markdown(head: list[str], *lines: list[str]) -> list[str]:
    return [*(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)), ""]


# ---- csv -----------------------------------------------------------------------------------------
def prompt_scores(c: Comparison, results: list[Result]) -> Lines:
    """The score of each prompt with each seed. Prompts of one group are one draw."""
    out = [["method", "seed", "part", "prompt", "group", results[0].measure]]
    for x in results:
        seeds = [str(seed + COPY_SEEDS * x.arm.copy) for seed in c.seeds] if x.arm else [""]
        for part, of_part in x.scores.items():
            out += [[x.name, seed, part, str(i), str(group), f"{score:.6g}"]
                    for seed, scores in zip(seeds, of_part)
                    for i, (group, score) in enumerate(zip(x.groups[part], scores))]
    return out


def difference_rows(questions: list[Question]) -> Lines:
    """Each difference, as it was measured, of all and by task; of a task it is not corrected."""
    out = [["method", "minus", "part", "difference", "half_width", "on_this_file", "p",
            "corrected_for", "seeds", "prompts", "verdict"]]
    for q in questions:
        parts = {"all": q} | {x: q.of_task(x) for x in q.a.scores if len(q.a.scores) > 1}
        for part, of_part in parts.items():
            mean, half = of_part.interval()
            narrow = f"{q.half_width_on_this_file():.5f}" if q.a.redrawn else ""
            out.append([q.a.name, q.b.name, part, f"{MEASURES[q.a.measure].sign * mean:z.5f}",
                        f"{half:.5f}", narrow, f"{of_part.p_value:.5f}",
                        str(of_part.n_comparisons), str(len(q.a.seed_scores())),
                        str(of_part.a.n_prompts), q.verdict if of_part is q else ""])
    return out


# ---- report.md -----------------------------------------------------------------------------------
def report_text(c: Comparison, found: Found, results: list[Result], questions: list[Question],
                result: str, table: list[str]) -> str:
    measure = MEASURES[results[0].measure]
    good, bad = ("above", "below") if measure.sign > 0 else ("below", "above")
    of_file = (" The seeds have drawn bootstrap samples of the training rows together, each row as "
               "often as any other. What these do to one seed is taken for what another file of "
               "rows would do to all." * bool(c.parts))
    return "\n".join([
        f"# {'Confirmation: ' * c.cfg.confirm}{', '.join(arm.name for arm in c.arms)}",
        f"**{result}**", "", *setup_lines(c), "", environment_text(c.stage_plan.device), "",
        "```text", *table, "```", "",
        f"Differences are paired by seed and prompt. The CI that is printed decides: {good} 0 is "
        f"better, {bad} 0 worse, inside the margin equivalent, else undecided; p is below .05 "
        f"where it excludes 0.{of_file}", "",
        "![scores and paired differences](picture.svg)", "",
        *rate_section(c, measure, found), *seed_section(c, results, questions),
        *task_section(results, questions), *example_section(c), *settings_section(c),
        "## Cost", cost_text(c, found), "",
        "## Reproduce", "From the same folder, with the same files; below it the trainings that "
        "were evaluated:", "```bash", c.command, *training_commands(c), "```", ""])


def settings_section(c: Comparison) -> list[str]:
    """What each stage trains with."""
    lines = []
    for arm in c.arms:
        for part in arm.chain:
            stage = part.stages[-1]
            run, plan = c.configs[stage], c.stage_plans[stage]
            name = arm.name if len(arm.stages) == 1 else f"{arm.name}: {stage[0]}"
            lines.append([name, settings_text(run.objective()), short_lr(c.rate(part)),
                          f"{plan.steps}", f"{plan.steps * plan.batch_size / plan.rows:.2g}",
                          f"{plan.batch_size}", plan.dtype,
                          f"LoRA, rank {run.lora}, alpha {run.lora_alpha or 2 * run.lora:g}, "
                          f"{run.lora_targets}" if run.lora else "all"])
    searched = "only the learning rate" if c.cfg.tries > 1 else "nothing"
    warmup = " or ".join(dict.fromkeys(f"{100 * run.warmup:g} %" for run in c.configs.values()))
    return ["## Settings", f"Searched: {searched}; other settings are as given, or else the "
            "defaults. In brackets: the default of a setting that has another value.", "",
            *as_markdown(["method", "its settings", "learning rate", "steps", "epochs",
                          "batch size", "precision", "trained weights"], *lines),
            "AdamW (betas 0.9 and 0.95, no weight decay), norm of the gradient at most 1; learning "
            f"rate: linear warmup over {warmup} of the steps, then a cosine to 0.", "",
            *file_hashes(c)]


def file_hashes(c: Comparison) -> list[str]:
    """Of nanouft and the methods, the initial model, your rows and your code."""
    hashes = {file: hash_of_input(file) for file in c.train.data or ()} | {
        name: x for arm in c.all_arms for name, x in c.run(arm, c.seeds[0]).inputs
        if name not in LIBRARIES}
    return [f"SHA-256, its first digits: {'; '.join(map(' '.join, hashes.items()))}.", ""]


def settings_text(objective: Objective) -> str:
    """"beta 0.2 (0.1), swap False"."""
    values = {f.name: (getattr(objective, f.name), f.default) for f in fields(objective)}
    return ", ".join(f"{name} {x}" + f" ({usual})" * (x != usual)
                     for name, (x, usual) in values.items()) or "none"


def seed_section(c: Comparison, results: list[Result], questions: list[Question]) -> list[str]:
    measure = MEASURES[results[0].measure]
    means = [[x.name, *map(measure.text, x.seed_scores())] for x in results[1:]]
    gaps = [[q.name, *(measure.text(gap, "+") for gap in q.a.seed_scores() - q.b.seed_scores())]
            for q in questions]
    return ["## By seed", f"{measure.title}, and paired differences:", "",
            *as_markdown(["", *(f"seed {seed}" for seed in c.seeds)], *means, *gaps)]


def task_section(results: list[Result], questions: list[Question]) -> list[str]:
    measure, tasks = MEASURES[results[0].measure], [*results[0].scores]
    if len(tasks) == 1:
        return []
    means = [[x.name, *(measure.text(x.of_task(task).mean) for task in tasks)] for x in results]
    gaps = [[q.name, *(signed_interval(of) if of.half_width() < 0.5 else "-"
                       for of in map(q.of_task, tasks))] for q in questions]
    return ["## By task", "Means, and paired differences ± 95 % CI. They are not corrected for the "
            "number of tasks or of comparisons: exploratory. A dash: the CI is wider than ±50 "
            "points.", "", *as_markdown(["", *tasks], *means, *gaps)]


def example_section(c: Comparison) -> list[str]:
    """Answers to the same prompts, whoever is right."""
    models = {"initial model": None} | {arm.name: arm for arm in c.arms}
    texts = {name: values_of(c, arm, c.seeds[:1])[0][EXAMPLES] for name, arm in models.items()}
    lines = []
    for i, prompt in enumerate(texts["initial model"]["prompt"]):
        lines += ["", in_one_line(prompt)]
        lines += [f"    {name}: {in_one_line(of['answer'][i])}" for name, of in texts.items()]
    which = "test row" if c.parts else "test prompt of each task"
    return ["## Examples", f"The first {which}, and what each method's model with seed "
            f"{c.seeds[0]} responds:", "", "~~~text", *lines[1:], "~~~", ""]


def in_one_line(text: str) -> str:
    return visible(json.dumps(shorten(str(text), LONGEST_EXAMPLE), ensure_ascii=False))


def rate_section(c: Comparison, measure: Measure, found: Found) -> list[str]:
    """The score of each learning rate with each seed."""
    lines = []
    for arm, tried in found.items():
        means = {lr: mean_text(x) for lr, x in validation_results(c, arm, tried).items()}
        for lr, scores in sorted(tried.scores.items()):
            cells = [measure.text(measure.sign * x) if x > -float("inf") else "diverged"
                     for x in scores]
            lines.append([arm.name, short_lr(lr), *cells, *[""] * (len(SEARCH_SEEDS) - len(cells)),
                          means.get(lr, ""), "taken" * (lr == tried.taken)])
    seeds = [f"seed {seed}" for seed in SEARCH_SEEDS]
    return ["## Learning rates", "Scores on validation prompts; mean ± 95 % CI of those with three "
            "seeds:", "", *as_markdown(["method", "learning rate", *seeds, "mean", ""], *lines)
            ] if lines else []


def cost_text(c: Comparison, found: Found) -> str:
    """CPU time of all runs that the result rests on."""
    searched = {c.run(arm, seed, lr) for arm, tried in found.items()
                for lr, scores in tried.scores.items() for seed in SEARCH_SEEDS[:len(scores)]}
    runs = searched | {c.initial(), *(c.run(arm, seed) for arm in c.all_arms for seed in c.seeds)}
    total, search = (time_text(sum(map(cpu_seconds, x))) for x in (runs, searched))
    return (f"CPU time of training and scoring: {total} in {len(runs)} runs, of them {search} in "
            f"{len(searched)} for the search of learning rates.")


def training_commands(c: Comparison) -> list[str]:
    """Of each training that was evaluated, into folders of its own; a chain starts from those."""
    runs = [c.run(arm, seed) for arm in c.all_arms for seed in c.seeds]
    typed = {str(run.folder): f"out/typed/{run.folder.name}" for run in runs}
    configs = [(run, run.config.with_flags(init=typed.get(run.init, run.init),
                                           out=typed[str(run.folder)]))
               for run in runs if run.config]
    return [run._replace(config=config).command for run, config in configs]


def environment_text(device: str) -> str:
    """Versions, commit and hardware."""
    on = f"{torch.cuda.get_device_name()}, " if device == "cuda" else ""
    libraries = ", ".join(f"{name} {found}" for name in LIBRARIES if (found := current(name)))
    return (f"nanouft {__version__}{commit_text()}, Python {sys.version.split()[0]}, {libraries}; "
            f"{on}{cpu_name()}, {cores()} cores.")


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
