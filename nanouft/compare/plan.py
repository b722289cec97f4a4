"""What is decided before training: the flags, what is the same for all, and each run.

    c = plan(parse_command(["sft", "dpo", "--seeds", "3"]))
    c.run(c.arms[0], seed=0)            # a training of it, and its scores
"""
import hashlib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from nanouft import world
from nanouft.compare import splits
from nanouft.compare.arms import (
    Arm,
    Stage,
    StagePlan,
    plan_stage,
    read_arms,
    read_run,
    replan_stage,
    typed,
)
from nanouft.compare.data_notes import each_note_once, leaks, with_own_files
from nanouft.compare.inputs import (
    forget_hashes,
    hash_of_input,
    hash_of_package,
    short_hash,
)
from nanouft.compare.jobs import visible_gpus
from nanouft.compare.runs import ONLY_TRAIN, Run, run_of
from nanouft.compare.scoring import EvalSpec
from nanouft.data.rows import read
from nanouft.device import cores
from nanouft.objective import Positive
from nanouft.own import try_reward
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import own_file
from nanouft.plumbing.imported_files import imported_files
from nanouft.plumbing.printing import quiet
from nanouft.plumbing.ranges import Range
from nanouft.run.config import RunConfig
from nanouft.run.flags import Parser, add_flags, as_flags, fill, from_python, narrow
from nanouft.run.folder import check_free
from nanouft.run.hyperparameters import DEFAULT_EPOCHS
from nanouft.scorers import scorer

SHARED = ("data", "init", "lora", "lora_alpha", "lora_targets", "steps", "epochs", "batch_size",
          "reward", "rows", "skills", "noise", "max_length", "max_new", "accumulate",
          "activation_checkpointing", "warmup", "device", "dtype")  # of train, for all methods
STEPS = 48                  # of NanoWorld
SEARCH_SEEDS = range(100, 103)      # of learning rates; those that are tested count from 0
COPY_SEEDS = 500            # by so many the seeds of a method that is named twice are later
VALIDATION_PROMPTS = 60     # validation questions of each task

Workers = Annotated[int, Range(1, at_most=64)]


@dataclass
class CompareFlags:
    arms: list[str] | None = None   # methods, each with its flags in quotes
    seeds: Annotated[int, Range(2, at_most=50)] = 5     # seeds to evaluate; give three or more
    tries: Annotated[int, Range(1, at_most=5)] = 3  # learning rates to search: own, a third, triple
    by: Literal["reward", "prefers", "auc", "nll"] | None = None    # metric on your rows
    margin: Positive | None = None  # equivalence margin [2 points, .02 nats; rewards: .1 std]
    items: Annotated[int, Range(10)] = 100  # NanoWorld: test prompts of each task
    test_seed: Annotated[int, Range(0, at_most=10**9)] = 900    # NanoWorld: seed of these prompts
    confirm: bool = False           # test once more, with new seeds and prompts
    workers: Workers | None = None  # processes [one a core (<= 8) or GPU]
    out: str = "out/compare"        # folder of runs, scores and reports


CLASSES = CompareFlags, RunConfig       # that have the flags of a comparison
FLAGS = {f.name for f in fields(CompareFlags)} - {"arms"} | {*SHARED}


@dataclass
class Comparison:
    """All that was decided before training, and the learning rates that were found."""
    cfg: CompareFlags
    train: RunConfig                    # the same for all methods
    given: dict[str, Any]               # flags as they were given
    arms: list[Arm]
    parts: dict[str, Path] = field(default_factory=dict)    # of your rows; {} for NanoWorld
    configs: dict[Stage, RunConfig] = field(default_factory=dict)
    stage_plans: dict[Stage, StagePlan] = field(default_factory=dict)
    early_notes: list[str] = field(default_factory=list)    # known before training
    rates: dict[Arm, float] = field(default_factory=dict)   # chosen, of arms without their labels
    samples: dict[tuple, dict[int, Path]] = field(default_factory=dict)     # of training rows
    runs: dict[tuple, Run] = field(default_factory=dict)    # that were asked for

    @property
    def out(self) -> Path:
        """Of runs and rows: what one comparison trains, the next has."""
        return Path(self.cfg.out)

    @property
    def folder(self) -> Path:
        """Of the report. With flags or own code it has a hash of them, so that no report takes the
        place of another's."""
        typed = "-".join(arm.typed for arm in self.arms)
        plain = re.sub(r"[^\w.-]+", "_", typed)[:80].strip("_.")
        flags = [[name, x] for name, x in sorted(self.given.items())
                 if name not in ("arms", "workers", "out")]
        flags += [code for arm in self.arms if (code := hashes_of_own_code(arm))]
        return self.out / (plain if plain == typed and not flags else
                           f"{plain}-{short_hash([typed, *flags])}")

    @property
    def command(self) -> str:
        """What to type for this comparison."""
        flags = {name: x for name, x in self.given.items() if name != "arms"}
        return shlex.join(["python", "-m", "nanouft.compare", *(arm.typed for arm in self.arms),
                           *as_flags(flags)])

    @property
    def all_arms(self) -> list[Arm]:
        """The arms and those that they start from; those first."""
        by_words = {arm.unlabelled: arm for arm in [
            *(part for arm in self.arms for part in arm.chain), *self.arms]}
        return sorted(by_words.values(), key=lambda arm: len(arm.stages))

    @property
    def stage_plan(self) -> StagePlan:
        """Of the first stage: device, precision and initial model are those of all."""
        return next(iter(self.stage_plans.values()))

    @cached_property
    def first_seed(self) -> int:
        """0, or for --confirm a number that these methods and no earlier ones have: the first of
        the seeds, and that of NanoWorld's questions."""
        identity = repr(sorted((arm.typed, hashes_of_own_code(arm)) for arm in self.arms))
        number = int(hashlib.sha256(identity.encode()).hexdigest()[:4], 16)
        return self.cfg.confirm * 1000 * (number + 1)

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.cfg.seeds)

    def rate(self, arm: Arm) -> float:
        """The learning rate that was chosen."""
        return self.rates[arm.unlabelled]

    def own_rate(self, arm: Arm) -> float:
        """The method's default, or that of its flags."""
        return self.stage_plans[arm.stages[-1]].lr

    def spec(self, part: str) -> EvalSpec:
        """The questions of a part, "val" or "test"."""
        spec = EvalSpec(device=self.stage_plan.device, dtype=self.stage_plan.dtype)
        if self.parts:
            part = "confirm" if part == "test" and self.cfg.confirm else part
            reward = self.train.reward if self.train.reward != "exact" else ""
            return spec._replace(data=str(self.parts[part]), reward=reward,
                                 longest=self.train.max_new or 0)
        tasks, = world.parse_skills(self.train.skills)
        if part == "val":
            return spec._replace(split="val", seed=3, items=VALIDATION_PROMPTS, tasks=tasks)
        return spec._replace(seed=self.first_seed or self.cfg.test_seed, items=self.cfg.items,
                             tasks=tasks)

    def run(self, arm: Arm, seed: int, lr: float | None = None) -> Run:
        """The training of one arm with one seed; at the chosen rate if none is said."""
        key = arm.unlabelled, seed, lr or self.rate(arm)
        if key not in self.runs:
            self.runs[key] = self.plan_run(*key)
        return self.runs[key]

    def plan_run(self, arm: Arm, seed: int, lr: float) -> Run:
        """The copies of a method that is named twice have other seeds, in the search too."""
        stage, before, trying = arm.stages[-1], arm.chain[:-1], seed in SEARCH_SEEDS
        own_seed = seed + COPY_SEEDS * arm.copy
        after = self.run(before[-1], seed) if before else None
        init = str(after.folder) if after else self.train.init
        config = self.configs[stage].with_flags(lr=float(f"{lr:.4g}"), seed=own_seed, init=init,
                                                **ONLY_TRAIN)
        if self.parts:
            config = config.with_flags(data=(str(self.sample(seed, arm.copy)),))
        starts_others = any(arm.unlabelled in other.chain[:-1] for other in self.arms)
        return run_of(self.out, f"{arm.words}, lr {short_lr(lr)}, seed {own_seed}", config,
                      self.spec("val" if trying else "test"), init, after,
                      starts_others=starts_others, may_diverge=trying)

    def sample(self, seed: int, copy: int) -> Path:
        """The training rows of a seed, drawn together with those of the others."""
        seeds = SEARCH_SEEDS if seed in SEARCH_SEEDS else self.seeds
        if (seeds, copy) not in self.samples:
            self.samples[seeds, copy] = splits.bootstrap_samples(self.parts["train"], seeds, copy)
        return self.samples[seeds, copy][seed]

    def initial(self) -> Run:
        return run_of(self.out, "the initial model", None, self.spec("test"), self.train.init)


def hashes_of_own_code(arm: Arm) -> list[str]:
    """Of the files of your own that it names, with all that they import, wherever these are."""
    own = [file for stage in arm.stages if (file := own_file(stage[0]))]
    return sorted(hash_of_input(str(x)) for file in own for x in imported_files(Path(file)))


def short_lr(lr: float) -> str:
    """"2.5e-4"."""
    return f"{lr:.1e}".replace("e-0", "e-").replace(".0e", "e")


# ---- from a command or a call --------------------------------------------------------------------
def parse_command(argv: list[str], about: str = "") -> dict[str, Any]:
    """{flag: what was given}."""
    parser = Parser(prog="python -m nanouft.compare", description=narrow(about))
    add_flags(parser, CompareFlags, "", words="arms")
    add_flags(parser, RunConfig, "for all runs", only=SHARED)
    return vars(parser.parse_args(argv))


def values_of_call(methods: Iterable[Any], flags: dict[str, Any]) -> dict[str, Any]:
    """{flag: what was given} in Python. methods: each one, or a list of them."""
    methods = [*methods]
    if len(methods) == 1 and isinstance(methods[0], Iterable) and not isinstance(methods[0], str):
        methods = [*methods[0]]
    if callable(flags.get("reward")):
        raise UserError("reward: each run of a comparison is a process of its own, so give a "
                        "function in a file, FILE.py:FUNCTION")
    values = from_python("nanouft.compare", CLASSES, flags, FLAGS)
    return values | {"arms": [*map(typed, methods)]}


def plan(given: dict[str, Any]) -> Comparison:
    """UserError, before anything is trained, for whatever would end a run at its start."""
    cfg, train = fill(CompareFlags, given), fill(RunConfig, given)
    c = Comparison(cfg, train, given, read_arms(cfg.arms or []))
    if c.out.exists() and not (c.out / "lock").exists():
        check_free(cfg.out)
    if train.data and {"items", "test_seed"} & {*given}:
        raise UserError("--items and --test-seed apply only to NanoWorld; remove them or --data")
    if not train.data and {"by", "reward"} & {*given}:
        raise UserError("--by and --reward need --data")
    if train.data and train.reward != "exact":
        scorer(train.reward)            # is it there, and does it run?
        try_reward(train.reward, read(train.data, ["demos", "pairs", "labels"])[0])
    forget_hashes()
    if not hash_of_package():
        raise UserError("nanouft's own files have changed since this process imported them; start "
                        "Python again")
    c.out.mkdir(parents=True, exist_ok=True)
    (c.out / "lock").touch()            # a mistake below does not make it another's folder
    with quiet() as noted:
        c.parts, where = splits.split_rows(train.data, c.out) if train.data else ({}, {})
    files: dict[str, Any] = {}
    if c.parts:
        files = {"data": (str(c.parts["train"]),), "eval_data": (str(c.parts["val"]),)}
    length = {} if train.steps or train.epochs else {"epochs": DEFAULT_EPOCHS} if c.parts else {
        "steps": STEPS}
    try:
        plan_stages(c, {name: getattr(train, name) for name in SHARED if name in given}
                    | files | length)
    except UserError as e:
        raise UserError(with_own_files(str(e), where)) from None
    of_stages = {shlex.join(stage): x.notes for stage, x in c.stage_plans.items()}
    if c.parts:
        trained = EvalSpec(str(c.parts["train"])).rows()
        c.early_notes = leaks(c.spec("test").rows(), trained, train.init)
    c.early_notes += [*noted,
                    *(with_own_files(text, where) for text in each_note_once(of_stages))]
    most = {"cpu": min(8, cores()), "cuda": len(visible_gpus())}
    cfg.workers = cfg.workers or most.get(c.stage_plan.device, 1)
    return c


def plan_stages(c: Comparison, shared: dict[str, Any]) -> None:
    """The run and the pace of each stage. All take steps of as many rows, the fewest that one would
    take, and compute in one precision, on one device."""
    for stage in dict.fromkeys(stage for arm in c.arms for stage in arm.stages):
        c.configs[stage] = read_run(stage, shared)
        c.stage_plans[stage] = plan_stage(stage, c.configs[stage])
    stage_plans = [*c.stage_plans.values()]
    free = [c.stage_plans[stage].batch_size for stage, run in c.configs.items()
            if not run.batch_size]
    same: dict[str, Any] = {
        "device": stage_plans[0].device,
        "dtype": "fp32" if any(x.dtype == "fp32" for x in stage_plans) else stage_plans[0].dtype,
        "batch_size": min(free or [x.batch_size for x in stage_plans])}
    for stage, run in c.configs.items():
        own = {"batch_size": run.batch_size or same["batch_size"]}
        c.configs[stage] = run.with_flags(**same | own)
        c.stage_plans[stage] = replan_stage(stage, c.configs[stage], c.stage_plans[stage])
