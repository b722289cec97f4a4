"""Claim C8: does a model learn to think where thinking pays, and only there?

    python -m lab.thinking      # 4 tasks x 5 seeds, GRPO with two ways to add tokens up; resumable

docs/claims.md tells the claim. A question can be answered at once ("17") or after written steps ("9
and 3 is 12 and 5 is 17"); an answer of more than one word `thinks`. A cell is one task and one
seed: SFT, then GRPO twice. Before and after, the model answers the same fresh prompts, some times
each at temperature 1.

    advantage   P(right | it thinks) - P(right | it answers at once), of the start model
    change      share of answers that think, after GRPO minus before
    moved       change, with the sign of the advantage: above 0 if the advantage decides

Claimed: in each task and with each aggregation `moved` is above 0 (95 % t-interval over seeds).
That holds if all eight contrasts hold, and does not hold if one of them lies below 0. The four
tasks were chosen with seeds 0 and 1: in the sums the advantage was above 0, in the rules near it
(+13 and -5 points), in the others below 0. GRPO compares answers to one prompt, so the table also
has the advantage on equal prompts. It is not judged.
"""
import copy
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from frozen_lake.measure import joined
from lab.runner import open_store, results_of, run_missing
from lab.words import format_interval, markdown_table, read_template
from nanouft import world
from nanouft.data.batches import Epochs, Plan, encode
from nanouft.data.rows import Row, Turn
from nanouft.errors import in_range
from nanouft.eval import plots
from nanouft.eval.stats import interval, verdict
from nanouft.loop import steps, warmup_cosine
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.run import config
from nanouft.run.storage import checksum, write_json, write_text
from nanouft.sampling import Rollouts, answer_rows

STUDY_VERSION = 1           # raised by hand when a change of code changes what cells give
SEEDS = (10, 11, 12, 13, 14)
AGGREGATIONS = ("grpo", "dr_grpo")
WHEN = ("start", *AGGREGATIONS)
PROMPTS, EXAM = 100_000, 200_000    # added to a seed: GRPO's prompts, those that are asked


@dataclass(frozen=True)
class Task:
    """One kind of question."""
    skill: str                  # of NanoWorld
    careless: bool = False      # demonstrations with steps have their words in any order

    def steps_of(self, prompt: str, rng: random.Random) -> str:
        """A demonstration with written steps."""
        words = world.reference(prompt).split()
        return " ".join(rng.sample(words, len(words)) if self.careless else words)


TASKS = {"sum": Task("sum"), "rules": Task("rules"), "reverse": Task("reverse"),
         "sort, careless steps": Task("sort", careless=True)}


@dataclass(frozen=True)
class Setting:
    """What all cells share."""
    demos: int = 600            # demonstrations of the start model ...
    share: float = 0.3          # ... of which so many write steps
    epochs: int = 3
    rows: int = 16              # demonstrations of a step
    sft_lr: float = 1e-3
    steps: int = 20             # of GRPO
    prompts: int = 4            # of a step
    samples: int = 8            # answers to a prompt, in GRPO and when it is asked
    grpo_lr: float = 2e-4
    max_new: int = 32
    asked: int = 120            # prompts before GRPO ...
    asked_after: int = 40       # ... and after it


BASE = Setting()


@dataclass(frozen=True)
class Job:
    """A cell that may have to be run."""
    task: str
    seed: int
    setting: Setting = BASE

    @property
    def key(self) -> str:
        about = [STUDY_VERSION, self.task, asdict(TASKS[self.task]), self.seed,
                 asdict(self.setting)]
        return checksum(json.dumps(about, sort_keys=True))[:16]


# ---- the task ------------------------------------------------------------------------------------
def last(text: str) -> str:
    return text.split()[-1] if text.split() else ""


def thinks(answers: list[str]) -> np.ndarray:
    """(n,) bool: is there more than one word?"""
    return np.array([len(answer.split()) > 1 for answer in answers])


def right(rows: list[Row], answers: list[str]) -> np.ndarray:
    """(n,) the reward: 1.0 if the last word is that of the right answer."""
    wanted = [last(world.reference(row.prompt[-1].text)) for row in rows]
    return np.array([float(last(answer) == word) for answer, word in zip(answers, wanted)])


def demonstrations(task: Task, setting: Setting, seed: int) -> list[Row]:
    """Rows whose answer is the last word alone or, in a share of them, has the steps before it."""
    rng, rows = random.Random(seed), []
    for row in world.rows("train", "prompts", setting.demos, seed, skills=(task.skill,)):
        written = task.steps_of(row.prompt[-1].text, rng)
        at_once = last(world.reference(row.prompt[-1].text))
        text = written if rng.random() < setting.share else at_once
        rows.append(Row(row.prompt, (Turn("assistant", text),)))
    return rows


# ---- a cell --------------------------------------------------------------------------------------
def optimizer_of(model, rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), rate, betas=(0.9, 0.95), weight_decay=0.0)


def taught(task: Task, setting: Setting, seed: int):
    """(the start model, its tokenizer): the base after SFT on demonstrations."""
    model, tok = start_model("base")
    sft = OBJECTIVES["sft"]
    hp = sft.hp()
    data, _ = encode(sft.rows(demonstrations(task, setting, seed), hp), tok, model.cfg.n_ctx)
    n = len(data) * setting.epochs // setting.rows
    source = Epochs(data, setting.rows, n, seed, tok.pad)
    # Long and short answers together in a step: apart, a short one's first token would weigh more.
    source.plan = Plan([e.length for e in data], setting.rows, n, seed, pool=1)
    schedule = warmup_cosine(setting.sft_lr, n, 0.05)
    for _ in steps(model, sft, hp, source, optimizer_of(model, setting.sft_lr), range(n),
                   schedule=schedule, clip=1.0):
        pass
    return model, tok


def reinforced(start, tok, task: Task, setting: Setting, seed: int, aggregation: str):
    """(the model after GRPO, the share that thinks in each step's answers)."""
    model, shares = copy.deepcopy(start), []
    grpo = OBJECTIVES["grpo"]
    hp = grpo.hp(samples=setting.samples, beta=0.0, aggregation=aggregation, length=setting.max_new)
    prompts = world.rows("train", "prompts", setting.steps * setting.prompts, seed + PROMPTS,
                         skills=(task.skill,))
    data, _ = encode(grpo.rows(prompts, hp), tok, model.cfg.n_ctx)

    def reward(rows: list[Row], answers: list[str]) -> np.ndarray:
        shares.append(round(float(thinks(answers).mean()), 4))
        return right(rows, answers)

    source = Rollouts(data, grpo, hp, model, start, tok, reward, rows=setting.prompts,
                      steps=setting.steps, seed=seed, max_new=setting.max_new)
    for _ in steps(model, grpo, hp, source, optimizer_of(model, setting.grpo_lr),
                   range(setting.steps), clip=1.0):
        pass
    return model, shares


def asked(model, tok, task: Task, setting: Setting, seed: int, n: int) -> dict[str, list[int]]:
    """What the model answers to n fresh prompts: counts, one a prompt."""
    prompts = world.rows("train", "prompts", n, seed + EXAM, skills=(task.skill,))
    rows = [row for row in prompts for _ in range(setting.samples)]
    answers = [tok.decode(a.ids).strip()
               for a in answer_rows(model, tok, rows, max_new=setting.max_new, temperature=1.0,
                                    seed=seed)]
    think, good = thinks(answers), right(rows, answers) > 0
    counted = {"think": think, "right_think": think & good, "right_at_once": ~think & good}
    return {name: x.reshape(n, setting.samples).sum(1).tolist() for name, x in counted.items()}


def run_cell(job: Job) -> dict:
    """One JSON object: the counts before and after, and the curves."""
    torch.set_num_threads(1)
    task = TASKS[job.task]
    start, tok = taught(task, job.setting, job.seed)
    cell = {"key": job.key, "task": job.task, "seed": job.seed,
            "samples": job.setting.samples,
            "start": asked(start, tok, task, job.setting, job.seed, job.setting.asked)}
    for aggregation in AGGREGATIONS:
        model, shares = reinforced(start, tok, task, job.setting, job.seed, aggregation)
        found = asked(model, tok, task, job.setting, job.seed, job.setting.asked_after)
        cell[aggregation] = found | {"curve": shares}
    return cell


# ---- from cells to a verdict ---------------------------------------------------------------------
def totals(cell: dict, when: str) -> tuple[int, int, int, int]:
    """(answers, those that think, the right ones among them, the right ones among the others)"""
    counts = cell[when]
    return (cell["samples"] * len(counts["think"]), sum(counts["think"]),
            sum(counts["right_think"]), sum(counts["right_at_once"]))


def share(cell: dict, when: str) -> float:
    """Of the answers that think."""
    answers, think, _, _ = totals(cell, when)
    return think / answers


def mean_right(cell: dict, when: str) -> float:
    answers, _, right_think, right_at_once = totals(cell, when)
    return (right_think + right_at_once) / answers


def rights(cell: dict) -> tuple[float, float]:
    """The start model's P(right | it thinks), P(right | it answers at once)."""
    answers, think, right_think, right_at_once = totals(cell, "start")
    return right_think / think, right_at_once / (answers - think)


def advantage(cell: dict) -> float:
    thinking, at_once = rights(cell)
    return thinking - at_once


def advantage_within(cell: dict) -> float:
    """The same on equal prompts, as GRPO sees it: the mean over prompts with answers of both
    kinds."""
    counts, K = cell["start"], cell["samples"]
    gaps = [right_think / think - right_at_once / (K - think) for think, right_think, right_at_once
            in zip(counts["think"], counts["right_think"], counts["right_at_once"])
            if 0 < think < K]
    return float(np.mean(gaps))


def change(cell: dict, aggregation: str) -> float:
    return share(cell, aggregation) - share(cell, "start")


def pooled_rights(cells: list[dict], when: str) -> list[float]:
    """The right share of the answers that think and of the others, all seeds in one pot."""
    answers, think, right_think, right_at_once = np.sum([totals(c, when) for c in cells], 0)
    return [float(right_think / max(1, think)), float(right_at_once / max(1, answers - think))]


def by_size(cells: list[dict]) -> list[dict]:
    """How many runs moved as said, by the size of the advantage of their start model, and how many
    start models of each task that is."""
    out = []
    for low, high in zip((0.0, 0.1, 0.2), (0.1, 0.2, 1.0)):
        mine = [c for c in cells if low <= abs(advantage(c)) < high]
        said = [np.sign(advantage(c)) * change(c, how) > 0 for c in mine for how in AGGREGATIONS]
        out.append({"from": low, "to": high, "runs": len(said), "as_said": int(sum(said)),
                    "starts": dict(Counter(c["task"] for c in mine))})
    return out


def summary(task: str, cells: list[dict]) -> dict:
    """What C8.json says of a task."""
    out = {"task": task, "seeds": [c["seed"] for c in cells],
           "right_think": interval([rights(c)[0] for c in cells]),
           "right_at_once": interval([rights(c)[1] for c in cells]),
           "advantage": interval([advantage(c) for c in cells]),
           "advantage_within": interval([advantage_within(c) for c in cells]),
           "share": {when: interval([share(c, when) for c in cells]) for when in WHEN},
           "right": {when: interval([mean_right(c, when) for c in cells]) for when in WHEN},
           "moved": {}, "runs_as_said": {},
           "after": {when: pooled_rights(cells, when) for when in WHEN}}
    for how in AGGREGATIONS:
        moved = [float(np.sign(advantage(c))) * change(c, how) for c in cells]
        mean, half = interval(moved)
        out["moved"][how] = [mean, half, verdict(mean, half, 0.0)]
        out["runs_as_said"][how] = sum(m > 0 for m in moved)
    return out


def report(cells: dict[str, list[dict]], setting: Setting = BASE) -> tuple[dict, str]:
    """(C8.json's object, the text of C8.md) from the cells of each task."""
    found = [summary(task, its) for task, its in cells.items()]
    verdicts = [s["moved"][how][2] for s in found for how in AGGREGATIONS]
    runs = sum(s["runs_as_said"][how] for s in found for how in AGGREGATIONS)
    data = {"claim": "C8: the sign of P(right | thinks) - P(right | at once) in the start model "
                     "decides whether GRPO makes thinking spread or die",
            "verdict": joined(verdicts), "setting": asdict(setting),
            "runs": len(AGGREGATIONS) * sum(len(s["seeds"]) for s in found), "runs_as_said": runs,
            "by_size": by_size([c for its in cells.values() for c in its]), "tasks": found}
    return data, page(data)


def page(data: dict) -> str:
    """C8.md from C8.json's object."""
    found = data["tasks"]
    start = markdown_table(
        ["task", "right if it thinks", "right at once", "advantage", "on equal prompts",
         "thinks: start", *AGGREGATIONS],
        [[s["task"], format_interval(*s["right_think"]), format_interval(*s["right_at_once"]),
          *(format_interval(*s[name], sign="+") for name in ("advantage", "advantage_within")),
          *(format_interval(*s["share"][when]) for when in WHEN)] for s in found])
    moved = markdown_table(
        ["task", *(f"moved, {how}" for how in AGGREGATIONS), "runs as said",
         "right answers: start", *AGGREGATIONS],
        [[s["task"], *(f"{format_interval(mean, half, sign='+')} {word}"
                       for mean, half, word in s["moved"].values()),
          f"{sum(s['runs_as_said'].values())} of {2 * len(s['seeds'])}",
          *(format_interval(*s["right"][when]) for when in WHEN)] for s in found])
    after = markdown_table(
        ["task", *(f"{when}: right if it thinks, at once" for when in WHEN)],
        [[s["task"], *(f"{100 * think:.0f}, {100 * at_once:.0f}"
                       for think, at_once in s["after"].values())] for s in found])
    size = "; ".join(
        f"{x['as_said']} of {x['runs']} from {100 * x['from']:.0f} to {100 * x['to']:.0f} points ("
        "starts: " + ", ".join(f"{task} {n}" for task, n in x["starts"].items()) + ")"
        for x in data["by_size"])
    text = read_template("C8.md")[0]
    return text.format(start="\n".join(start), moved="\n".join(moved), verdict=data["verdict"],
                       after="\n".join(after), size=size,
                       said=data["runs_as_said"], runs=data["runs"],
                       starts=data["runs"] // len(AGGREGATIONS),
                       seeds=len(found[0]["seeds"]))


def picture(cells: dict[str, list[dict]], file: Path) -> Path:
    """Left: the advantage at the start against the change of the share, a point a run. Right: the
    share over GRPO's steps, mean over seeds."""
    fig, (border, curves) = plots.plt.subplots(1, 2, figsize=(13, 5))
    marks = ("o", "s", "^", "v", "D")
    for (task, its), color, mark in zip(cells.items(), plots.LINES, marks):
        for how in AGGREGATIONS:
            filled = color if how == "grpo" else "white"
            border.scatter([100 * advantage(c) for c in its], [100 * change(c, how) for c in its],
                           marker=mark, s=70, facecolors=filled, edgecolors=color, linewidths=1.8,
                           label=task if how == "grpo" else None)
            mean = 100 * np.mean([c[how]["curve"] for c in its], 0)
            curves.plot(range(1, len(mean) + 1), mean, "-" if how == "grpo" else "--", color=color,
                        lw=2.2, label=f"{task}, {how}")
    border.axhline(0, color=plots.GREY, lw=1)
    border.axvline(0, color=plots.GREY, lw=1)
    border.set(xlabel="P(right | thinks) - P(right | at once) at the start, points",
               ylabel="change of the share that thinks, points",
               title="filled: grpo, open: dr_grpo")
    curves.set(xlabel="GRPO step", ylabel="% of the answers", ylim=(-3, 103),
               title="share that thinks, mean over seeds")
    border.legend(frameon=False, fontsize=10)
    curves.legend(frameon=False, fontsize=9)
    return plots.save(fig, file)


# ---- the command ---------------------------------------------------------------------------------
def study(folder: Path, tasks: list[str], seeds: tuple[int, ...], workers: int,
          setting: Setting = BASE) -> dict:
    """Run what is missing; write C8.jsonl, C8.json, C8.md and C8.png below `folder`, print the
    tables; returns C8.json's object."""
    jobs = {task: [Job(task, seed, setting) for seed in seeds] for task in tasks}
    # all tasks of a seed first: what is there early speaks of every task
    order = [jobs[task][n] for n in range(len(seeds)) for task in tasks]
    with open_store(folder / "C8.jsonl") as store:
        run_missing(order, store, workers, run_cell)
        cells = {task: results_of(its, store.done, "Run python -m lab.thinking")
                 for task, its in jobs.items()}
    data, text = report(cells, setting)
    write_json(folder / "C8.json", data)
    write_text(folder / "C8.md", text)
    print(f"{text}picture: {picture(cells, folder / 'C8.png')}")
    return data


@dataclass
class Study:
    workers: int = 2                # processes of one thread each
    pilot: int = 0                  # so many seeds from 0 on, in place of the plan's
    out: str = "docs/results"       # folder of C8.jsonl, C8.json, C8.md and C8.png


def main(argv=None) -> int:
    cfg, _ = config.parse(Study, argv, "python -m lab.thinking", __doc__)
    in_range(cfg, "workers", low=1, high=64)
    in_range(cfg, "pilot", low=0, high=SEEDS[0])
    seeds = tuple(range(cfg.pilot)) or SEEDS
    study(Path(cfg.out), list(TASKS), seeds, cfg.workers)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
