"""Which method is better? Several are trained on the same rows, with several seeds, and judged.

    python -m nanouft.compare sft dpo mine.py                   # NanoWorld
    python -m nanouft.compare sft dpo "mine.py --gamma 2" --data my.jsonl --init FOLDER --lora 16
    python -m nanouft.compare sft sft+dpo                       # DPO from each seed's SFT model
    python -m nanouft.compare out/compare/sft-dpo/plan.ini      # again, or on where it stopped

Each method, its flags in quotes, is trained by nanouft.train: as many rows in a step and as many
passes for all, and as many tries of the learning rate. A rate is chosen on validation questions
with one seed; then other seeds are trained, and judged by test questions that no try has seen. Of
your rows a tenth chooses and a fifth judges: by the reward of greedy answers with --reward, else by
the share of pairs won, the AUC of graded answers, or the loss of demonstrations.

A verdict says better, worse or undecided, at 5 % for all questions together (Holm). Its interval is
over seeds and questions; another sample of your training rows is not in it. Runs are kept, and the
next comparison takes them; if flags, rows, start model or your file have changed, it trains anew.
"""
import configparser
import functools
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from nanouft import world
from nanouft.compare import arms as methods
from nanouft.compare import report, runs
from nanouft.compare.arms import Arm, Pace, Stage
from nanouft.compare.judge import Asked, findings_of, moments
from nanouft.compare.parts import cut
from nanouft.compare.report import Question, Result
from nanouft.data.holdout import leak, question_key
from nanouft.data.rows import read
from nanouft.models.folders import folder_of
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, in_range
from nanouft.plumbing.files import own_file, read_text
from nanouft.plumbing.printing import SILENT, say
from nanouft.run.flags import Parser, add_flags, as_flags, fill, narrow
from nanouft.run.folder import check_free, hash_of, questions_of_run
from nanouft.run.pace import PASSES
from nanouft.run.settings import TrainFlags

SHARED = ("data", "init", "lora", "steps", "epochs", "batch_size", "reward", "rows", "skills",
          "noise", "max_length", "max_new", "accumulate", "activation_checkpointing", "warmup",
          "device", "dtype")                # flags of nanouft.train, the same for all methods
OUT = Path("out/compare")
STEPS = 48                  # of NanoWorld
TRY = 100                   # seed of the tries; those that are judged count from 0
FEW = 60                    # validation questions of each task
FACTORS = (1, 1 / 3, 3, 1 / 9, 9)           # of a rate, in the order in which they are tried
ALL = 4                     # methods that are all compared with each other; more: with the first
ORDER = ("reward", "score", "prefers", "auc", "nll")        # what judges, if it is measured


@dataclass
class CompareFlags:
    arms: list[str] | None = None   # methods, each with its flags in quotes; or a plan.ini
    seeds: int | None = None        # that are judged [NanoWorld 5, your rows 3]
    tries: int = 3                  # learning rates of each: own, a third, triple ... up to 5
    by: Literal["reward", "prefers", "auc", "nll", "stops"] | None = None   # what judges your rows
    items: int = 100                # NanoWorld: test questions of each task
    test_seed: int = 900            # NanoWorld: which questions these are
    workers: int | None = None      # processes [one for each core, at most 8; on a GPU 1]
    out: str | None = None          # folder of plan, runs, scores and report [out/compare/...]

    def check(self) -> None:
        in_range(self, "seeds", low=2, high=50)
        in_range(self, "tries", low=1, high=len(FACTORS))
        in_range(self, "items", low=10)
        in_range(self, "workers", low=1, high=64)


@dataclass
class Comparison:
    """All that was decided before training."""
    cfg: CompareFlags
    train: TrainFlags
    given: dict[str, Any]               # flags as they were given, for the plan
    arms: list[Arm]
    place: Path
    parts: dict[str, Path]              # of your rows; {} for NanoWorld
    shared: dict[str, list[str]]        # flags of all runs
    paces: dict[Stage, Pace] = field(default_factory=dict)
    words: dict[Stage, list[str]] = field(default_factory=dict)         # those it reads of `shared`
    programs: dict[Stage, Callable] = field(default_factory=dict)   # that train it otherwise
    rates: dict[str, float] = field(default_factory=dict)       # {arm: chosen}
    tried: dict[str, dict[float, float]] = field(default_factory=dict)     # {arm: {rate: score}}

    @property
    def every(self) -> list[Arm]:
        """The arms and those that they start from; those first."""
        found = dict.fromkeys(part for arm in self.arms for part in arm.chain)
        return sorted(found, key=lambda arm: len(arm.stages))

    @property
    def pool(self) -> Path:
        """Where runs are: what one comparison has trained, the next one in out/compare has too."""
        return OUT if self.place.parent == OUT else self.place

    @property
    def seeds(self) -> range:
        return range(self.cfg.seeds or (3 if self.parts else 5))

    def asked(self, part: str) -> runs.Asked:
        if self.parts:
            return runs.Asked(str(self.parts[part]), reward=self.reward)
        tasks = tuple(dict.fromkeys(
            x for group in world.parse_skills(self.train.skills, 1) for x in group))
        if self.train.skills == "all":
            tasks = tuple(world.TASKS)
        return (runs.Asked("", "val", 3, FEW, tasks) if part == "val" else
                runs.Asked("", "test", self.cfg.test_seed, self.cfg.items, tasks))

    @property
    def reward(self) -> str:
        return self.train.reward if self.parts and self.train.reward != "exact" else ""

    def job(self, arm: Arm, seed: int, rate: float | None = None) -> runs.Job:
        """The training of one arm with one seed; at the chosen rate if none is said."""
        stage, before, trying = arm.stages[-1], arm.chain[:-1], seed == TRY
        rate = rate or self.rates[arm.name]
        init = str(self.job(before[-1], seed).folder) if before else self.train.init
        words = ["--objective", stage[0], *self.words[stage], *stage[1:], "--lr", f"{rate:.4g}",
                 "--seed", str(seed), "--init", init, *runs.MORE]
        read = [own_file(stage[0]), *(x for x in stage[1:] if Path(x).exists()),
                *map(str, self.parts.values()), own_file(self.train.reward) or self.train.reward,
                "" if before else str(folder_of(init))]
        folder = runs.folder_for(self.pool / "runs", f"{arm.name} {rate:.2g} seed {seed}", words,
                                 [*filter(None, read)])
        return runs.Job(folder, tuple(words), self.asked("val" if trying else "test"), init,
                        self.paces[stage].needs_others, trying,
                        any(arm in x.chain[:-1] for x in self.every), self.programs.get(stage))

    def start(self) -> runs.Job:
        name = f"start {runs.short_hash([hash_of(str(folder_of(self.train.init)))])}"
        return runs.Job(self.pool / "runs" / name.replace(" ", "-"), (), self.asked("test"),
                        self.train.init)


def main(argv: list[str] | None = None) -> int:
    c = plan(sys.argv[1:] if argv is None else argv)
    say(*report.conditions(c), "", sep="\n")
    train_all(c)
    results, questions = judge(c)
    lines = report.table(c, results, questions)
    say(*lines, sep="\n")
    say(f"\nPlan, scores, picture and the commands to type: {report.write(c, results, questions)}")
    return 0


# ---- the plan ------------------------------------------------------------------------------------
def plan(argv: list[str]) -> Comparison:
    """UserError, before anything is trained, for whatever would end a run at its start."""
    parser = Parser(prog="python -m nanouft.compare", description=narrow(__doc__))
    add_flags(parser, CompareFlags, "", words="arms")
    add_flags(parser, TrainFlags, "for all runs, as in nanouft.train", only=SHARED)
    values = vars(parser.parse_args(argv))
    if [x for x in values["arms"] if x.endswith(".ini")]:
        if len(values["arms"]) > 1:
            raise UserError("a plan names its methods itself; give it alone, and flags to change")
        values = vars(parser.parse_args(read_plan(values["arms"][0]))) | {
            name: x for name, x in values.items() if name != "arms"}
    cfg, train = fill(CompareFlags, values), fill(TrainFlags, values)
    cfg.check()
    arms = [methods.read_arm(text) for text in cfg.arms or ()]
    if len(arms) < 2:
        raise UserError("name two methods or more: python -m nanouft.compare sft dpo")
    for arm in arms:
        if arms.count(arm) > 1:
            raise UserError(f"{arm.name}: is named twice; its runs would be the same")
    if train.steps and train.epochs:
        raise UserError("--steps and --epochs both set the length; give one")
    device = train.device
    if device == "auto":
        import torch
        device = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.workers = cfg.workers or (min(8, os.cpu_count() or 1) if device == "cpu" else 1)
    slug = "-".join(re.sub(r"\W+", "_", arm.name).strip("_") for arm in arms)[:80]
    place = Path(cfg.out) if cfg.out else OUT / slug
    if place.exists() and not (place / "plan.ini").exists():
        check_free(str(place))
    parts = cut(train.data, OUT if place.parent == OUT else place) if train.data else {}
    if parts and {"rows", "skills", "noise"} & {*values}:
        raise UserError("--rows, --skills and --noise belong to NanoWorld")
    if not parts and {"by", "max_length", "reward"} & {*values}:
        raise UserError("--by, --max-length and --reward need --data")
    files = {"data": [str(parts["train"])], "eval_data": [str(parts["val"])]} if parts else {}
    length = {} if train.steps or train.epochs else {"epochs": PASSES} if parts else {
        "steps": STEPS}
    chosen = {name: getattr(train, name) for name in SHARED if name in values} | {
        "device": device} | files | length
    chosen.pop("init", None)
    shared = {f"--{name.replace('_', '-')}": as_flags({name: x})[1:]
              for name, x in chosen.items() if as_flags({name: x})}
    c = Comparison(cfg, train, values, arms, place, parts, shared)
    look_ahead(c)
    report.write_plan(c)
    return c


def read_plan(file: str) -> list[str]:
    """The words of a plan's command."""
    ini = configparser.ConfigParser(delimiters="=", interpolation=None)
    try:
        ini.read_string(read_text(file))
        flags = dict(ini["compare"])
        words = [x.strip() for x in flags.pop("arms").strip().split("\n")]
    except (configparser.Error, KeyError) as e:
        raise UserError(f"{file}: no plan ([compare], arms = a method on each line): {e}") from None
    for name, x in flags.items():
        words += [f"--{name}", *([] if x == "yes" else x.split("\n") if "\n" in x else [x])]
    return words


def look_ahead(c: Comparison) -> None:
    """The pace of each stage. All take steps of as many rows: the fewest that one would take."""
    stages = dict.fromkeys(stage for arm in c.arms for stage in arm.stages)
    for _ in range(1 if c.train.batch_size else 2):
        for stage in stages:
            c.paces[stage], c.words[stage] = methods.planned(stage, c.shared, c.train.init)
        c.shared["--batch-size"] = [str(min(pace.batch_size for pace in c.paces.values()))]


# ---- training ------------------------------------------------------------------------------------
def train_all(c: Comparison) -> None:
    """Tries, then seeds; of chains the first stages first."""
    tries = c.cfg.tries if c.cfg.tries > 1 else 0
    workers = c.cfg.workers or 1
    levels = [[arm for arm in c.every if len(arm.stages) == depth]
              for depth in sorted({len(arm.stages) for arm in c.every})]
    seen, every = sys.stderr.isatty(), []
    with tqdm(total=len(c.every) * (tries + len(c.seeds)) + 1, unit="run", disable=SILENT,
              leave=False, smoothing=0, mininterval=0.5 if seen else 30) as bar:
        bar.set_description("tries of rates" if tries else "seeds", refresh=False)
        for level in levels:
            own = {arm: c.paces[arm.stages[-1]].rate for arm in level}
            rates = {arm: sorted(own[arm] * x for x in FACTORS[:tries]) for arm in level}
            every += (jobs := [c.job(arm, TRY, rates[arm][n]) for n in range(tries)
                               for arm in level])
            runs.carry_out(jobs, workers, bar)
            for arm in level:
                c.rates[arm.name] = choose(c, arm, rates[arm]) if tries else own[arm]
        bar.set_description("seeds", refresh=False)
        for level in levels:
            every += (jobs := [c.job(arm, seed) for seed in c.seeds for arm in level])
            runs.carry_out([*jobs, *([c.start()] if level is levels[-1] else [])], workers, bar)
    runs.drop_heavy(job.folder for job in every)


def choose(c: Comparison, arm: Arm, rates: list[float]) -> float:
    """The rate with the best validation score; c.tried has all."""
    found = {}
    for rate in rates:
        job = c.job(arm, TRY, rate)
        scores = runs.values(job.folder, job.asked)
        found[rate] = -np.inf if scores is None else sign(judged_by(c, scores)) * mean_of(
            scores[judged_by(c, scores)])
    c.tried[arm.name] = found
    best = max(found, key=found.__getitem__)
    if found[best] == -np.inf:
        raise UserError(f"{arm.name}: training diverged at each rate that was tried "
                        f"({', '.join(f'{x:.2g}' for x in rates)}); give it a lower --lr")
    return best


def judged_by(c: Comparison, scores: runs.Values) -> str:
    if c.cfg.by and c.cfg.by not in scores:
        raise UserError(f"--by {c.cfg.by}: these rows give "
                        f"{', '.join(x for x in scores if ' ' not in x)}")
    return c.cfg.by or next(x for x in ORDER if x in scores)


def sign(measure: str) -> int:
    return -1 if measure == "nll" else 1


def mean_of(parts: dict[str, np.ndarray]) -> float:
    return float(np.mean([x.mean() for x in parts.values()]))


# ---- verdicts ------------------------------------------------------------------------------------
def judge(c: Comparison) -> tuple[list[Result], list[Question]]:
    """The figures of each arm, the start model first, and what came of all questions."""
    start = c.start()
    first = runs.values(start.folder, start.asked) or {}
    measure = judged_by(c, first)
    groups = {part: first[f"{measure} groups"][part] for part in first[measure]} if c.parts else (
        start.asked.groups())
    results = [result(c, None, [first] * len(c.seeds), groups, measure)]
    for arm in c.arms:
        found = [runs.values((job := c.job(arm, seed)).folder, job.asked) for seed in c.seeds]
        results.append(result(c, arm, [x for x in found if x], groups, measure))
    arms = results[1:]
    pairs = [(a, b) for i, b in enumerate(arms) for a in arms[i + 1:]
             if len(arms) <= ALL or i == 0]
    ask = functools.partial(ask_pairs, pairs, groups, sign(measure))
    whole = findings_of(ask(None))
    without = [findings_of(ask(seed)) for seed in range(len(c.seeds))] if len(c.seeds) > 2 else []
    questions = []
    for i, ((a, b), finding) in enumerate(zip(pairs, whole)):
        hangs = [seed for seed, others in zip(c.seeds, without)
                 if others[i].verdict != finding.verdict != "undecided"]
        questions.append(Question(a, b, finding, moments(ask(None)[i]), hangs, len(pairs),
                                  sign(measure)))
    return results, questions


def ask_pairs(pairs: list[tuple[Result, Result]], groups: dict, way: int,
              left_out: int | None) -> list[Asked]:
    """What `a` scores more than `b`, seed by seed and question by question."""
    def seeds(x: np.ndarray) -> np.ndarray:
        return x if left_out is None else np.delete(x, left_out, 0)
    return [Asked({part: way * seeds(a.scores[part] - b.scores[part]) for part in groups}, groups,
                  (tuple(groups),), "better") for a, b in pairs]


def result(c: Comparison, arm: Arm | None, found: list[runs.Values], groups: dict,
           measure: str) -> Result:
    scores = {part: np.array([x[measure][part] for x in found]) for part in groups}
    others = {what: float(np.mean([mean_of(x[what]) for x in found])) for what in found[0]
              if what != measure and " " not in what}
    mean, variance, freedom = moments(Asked(scores, groups, (tuple(groups),), "better"))
    if arm is None:
        return Result("start model", scores, mean, variance, freedom, measure, others)
    spent = [(part, runs.costs(c.job(part, seed).folder)) for part in arm.chain for seed in c.seeds]
    total = {what: sum(x.get(what, 0) for _, x in spent) / len(c.seeds)
             for what in ("steps", "rows", "tokens", "seconds")}
    total["answers"] = sum(x.get("rows", 0) * c.paces[part.stages[-1]].answers
                           for part, x in spent) / len(c.seeds)
    return Result(arm.name, scores, mean, variance, freedom, measure, others, arm, total)


def leaks(c: Comparison) -> str:
    """"3 of 40 held-out questions are also trained on", by the start model's run."""
    if not c.parts:
        return ""
    rows, _ = read([str(c.parts["test"])], ["demos", "pairs", "labels"])
    return leak({*map(question_key, rows)}, questions_of_run(c.train.init))


if __name__ == "__main__":
    sys.exit(command(main, needs_less="give --workers 1 or --lora 16"))
