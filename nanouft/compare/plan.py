"""A comparison as it was planned: its flags, its methods and where its runs are.

    c = plan(parse_command(["sft", "dpo", "--seeds", "3"]))
    c.job(c.arms[0], seed=0)            # a training of it
"""
import hashlib
import os
import re
import shlex
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from nanouft import world
from nanouft.compare import arms as methods
from nanouft.compare import runs
from nanouft.compare import splits as rows
from nanouft.compare.arms import Arm, Stage, StagePlan
from nanouft.compare.fingerprint import hash_of_input, short_hash
from nanouft.compare.row_notes import each_note_once, leaks, with_own_files
from nanouft.compare.scoring import EvalSpec
from nanouft.compare.workers import visible_gpus
from nanouft.data.rows import read
from nanouft.objective import Positive
from nanouft.own import try_reward
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.files import own_file, read_ini
from nanouft.plumbing.printing import quiet, say
from nanouft.reward import scorer
from nanouft.run.config import RunConfig, TrainFlags
from nanouft.run.device import cores
from nanouft.run.flags import Parser, add_flags, fill, from_python, narrow
from nanouft.run.folder import check_free
from nanouft.run.hyperparameters import DEFAULT_EPOCHS

SHARED = ("data", "init", "lora", "lora_alpha", "lora_targets", "steps", "epochs", "batch_size",
          "reward", "rows", "skills", "noise", "max_length", "max_new", "accumulate",
          "activation_checkpointing", "warmup", "device", "dtype")  # of train, for all methods
OUT = Path("out/compare")
STEPS = 48                  # of NanoWorld
SEEDS = 5
SEARCH_SEED = 100           # seed of the tries; those that are tested count from 0
SEARCH_SEEDS = range(SEARCH_SEED, SEARCH_SEED + 3)  # of those rates that are tried again
VALIDATION_PROMPTS = 60     # validation questions of each task
RATE_FACTORS = (1, 1 / 3, 3, 1 / 9, 9)      # of a rate, in the order in which they are tried
ALL_PAIRS_LIMIT = 4         # methods that are all compared with each other; more: with the first


@dataclass
class CompareFlags:
    arms: list[str] | None = None   # methods, each with its flags in quotes; or a plan.ini
    seeds: Annotated[int, ">= 2", "<= 50"] = SEEDS      # seeds to evaluate; give three or more
    tries: Annotated[int, ">= 1", "<= 5"] = 3   # learning rates to search: own, a third, triple ...
    by: Literal["reward", "prefers", "auc", "nll"] | None = None    # metric on your rows
    margin: Positive | None = None  # equivalence margin [2 points, .02 nats; rewards: .1 std]
    items: Annotated[int, ">= 10"] = 100        # NanoWorld: test prompts of each task
    test_seed: Annotated[int, ">= 0", "<= 1000000000"] = 900    # NanoWorld: seed of these prompts
    confirm: bool = False           # test once more, with new seeds and prompts
    plan: bool = False              # only search learning rates, and say what lead would be decided
    workers: Annotated[int, ">= 1", "<= 64"] | None = None  # processes [one a core (<= 8) or GPU]
    out: str | None = None          # folder of plan, runs, scores and report [out/compare/...]


@dataclass
class ParsedCommand:
    """A command as it was given."""
    cfg: CompareFlags
    train: TrainFlags                   # the same for all methods
    given: dict[str, Any]               # flags as they were given, for the plan
    arms: list[Arm]

    @property
    def root(self) -> Path:
        """Of runs and rows: what one comparison trains, the next has."""
        return Path(self.cfg.out) if self.cfg.out else OUT


@dataclass
class Comparison(ParsedCommand):
    """All that was decided before training."""
    folder: Path                        # of plan and report
    parts: dict[str, Path]              # of your rows; {} for NanoWorld
    configs: dict[Stage, RunConfig] = field(default_factory=dict)
    stage_plans: dict[Stage, StagePlan] = field(default_factory=dict)
    row_notes: list[str] = field(default_factory=list)  # of your rows, known before training
    executor: Executor | None = None    # that carries the jobs [processes of this machine]
    lrs: dict[Arm, float] = field(default_factory=dict)         # chosen
    search_scores: dict[Arm, dict[float, float]] = field(default_factory=dict)  # {arm: {lr: score}}
    finalists: dict[Arm, list[float]] = field(default_factory=dict)  # tried with all SEARCH_SEEDS

    @property
    def all_arms(self) -> list[Arm]:
        """The arms and those that they start from; those first."""
        by_name = {arm._replace(label=""): arm for arm in [
            *(part for arm in self.arms for part in arm.chain), *self.arms]}
        return sorted(by_name.values(), key=lambda arm: len(arm.stages))

    @property
    def device(self) -> str:
        return next(iter(self.stage_plans.values())).device

    @cached_property
    def first_seed(self) -> int:
        """0, or for --confirm a number that these methods and no earlier ones have: the first of
        the seeds, and that of NanoWorld's questions."""
        identity = sorted((arm.typed, [hash_of_input(own_file(stage[0])) for stage in arm.stages
                                       if own_file(stage[0])]) for arm in self.arms)
        number = int(hashlib.sha256(repr(identity).encode()).hexdigest()[:4], 16)
        return self.cfg.confirm * 1000 * (number + 1)

    @property
    def seeds(self) -> range:
        return range(self.first_seed, self.first_seed + self.cfg.seeds)

    def eval_spec(self, part: str) -> EvalSpec:
        stage_plan = next(iter(self.stage_plans.values()))
        here = EvalSpec(device=stage_plan.device, dtype=stage_plan.dtype)
        if self.parts:
            part = "confirm" if part == "test" and self.cfg.confirm else part
            reward = self.train.reward if self.train.reward != "exact" else ""
            return here._replace(data=str(self.parts[part]), reward=reward,
                                 longest=self.train.max_new or 0)
        tasks, = world.parse_skills(self.train.skills)
        if part == "val":
            return here._replace(split="val", seed=3, items=VALIDATION_PROMPTS, tasks=tasks)
        return here._replace(seed=self.first_seed or self.cfg.test_seed, items=self.cfg.items,
                             tasks=tasks)

    def lr(self, arm: Arm) -> float:
        return self.lrs[arm._replace(label="")]

    def job(self, arm: Arm, seed: int, lr: float | None = None) -> runs.Job:
        """The training of one arm with one seed; at the chosen rate if none is said. The copies of
        a method that is named twice have other seeds, of the tries too."""
        stage, before, trying = arm.stages[-1], arm.chain[:-1], seed in SEARCH_SEEDS
        own_seed = seed + 500 * arm.copy
        lr = lr or self.lr(arm)
        first = [self.job(before[-1], seed)] if before else []
        init = str(first[0].folder) if first else self.train.init
        config = self.configs[stage].with_flags(lr=float(f"{lr:.4g}"), seed=own_seed, init=init,
                                                **runs.ONLY_TRAIN)
        if self.parts:
            seeds = SEARCH_SEEDS if trying else self.seeds
            drawn = rows.bootstrap_sample(self.parts["train"], seed, seeds, arm.copy)
            config = config.with_flags(data=(str(drawn),))
        return runs.job_for(
            self.root / "runs", f"{arm.words} {lr:.2g} seed {own_seed}", config, init, first,
            eval_spec=self.eval_spec("val" if trying else "test"),
            name=f"{arm.name}, lr {short_lr(lr)}, seed {own_seed}",
            trains_others=self.stage_plans[stage].needs_others, may_diverge=trying)

    def initial_job(self) -> runs.Job:
        return runs.job_for(self.root / "runs", "start", None, self.train.init,
                            eval_spec=self.eval_spec("test"), name="the initial model")


def short_lr(lr: float) -> str:
    """"2.5e-4"."""
    return f"{lr:.1e}".replace("e-0", "e-").replace(".0e", "e")


# ---- the plan ------------------------------------------------------------------------------------
def parse_command(argv: list[str], about: str = "") -> ParsedCommand:
    values = parse_flags(argv, about)
    if [x for x in values.get("arms", []) if x.endswith(".ini")]:
        if len(values["arms"]) > 1:
            raise UserError("a plan names its methods itself; give only the plan, and flags to "
                            "change")
        values = parse_flags(read_plan(values["arms"][0])) | {
            name: x for name, x in values.items() if name != "arms"}
    return command_of_values(values)


def command_of_call(arms: Iterable[str], flags: dict[str, Any]) -> ParsedCommand:
    """Those of a call in Python."""
    methods_given = [arms] if isinstance(arms, str) else arms
    arms = [str(x) if isinstance(x, Path) else x for x in methods_given]
    if others := [x for x in arms if not isinstance(x, str)]:
        raise UserError(f"{others[0]!r}: give a comparison names or files, because each run is a "
                        'process of its own, as in ["sft", "dpo --beta 1", "mine.py"]')
    known = {f.name for f in fields(CompareFlags)} - {"arms"} | {*SHARED}
    values = from_python("nanouft.compare", (CompareFlags, TrainFlags), flags, known)
    return command_of_values(values | {"arms": arms})


def command_of_values(values: dict[str, Any]) -> ParsedCommand:
    """From values that have their types."""
    cfg, train = fill(CompareFlags, values), fill(TrainFlags, values)
    words = ParsedCommand(cfg, train, values, methods.read_arms(cfg.arms or []))
    methods.check_names(words.arms)                 # before another comparison's end
    if words.root.exists() and not {"lock", "plan.ini"} & {*os.listdir(words.root)}:
        check_free(words.cfg.out)
    return words


def parse_flags(argv: list[str], about: str = "") -> dict[str, Any]:
    """{flag: what was given}."""
    parser = Parser(prog="python -m nanouft.compare", description=narrow(about))
    add_flags(parser, CompareFlags, "", words="arms")
    add_flags(parser, TrainFlags, "for all runs", only=SHARED)
    return vars(parser.parse_args(argv))


def plan(words: ParsedCommand) -> Comparison:
    """UserError, before anything is trained, for whatever would end a run at its start."""
    cfg, train, given, root = words.cfg, words.train, words.given, words.root
    if train.data and {"items", "test_seed"} & {*given}:
        raise UserError("--items and --test-seed apply only to NanoWorld; remove them or --data")
    if cfg.plan and cfg.tries < 2:
        raise UserError("--plan: needs a search of learning rates, from which it estimates what "
                        "the seeds would decide; give --tries 2 or more")
    if not train.data and {"by", "reward"} & {*given}:
        raise UserError("--by and --reward need --data")
    if train.data and train.reward != "exact":
        scorer(train.reward)            # is it there, and does it run?
        try_reward(train.reward, read(train.data, ["demos", "pairs", "labels"])[0])
    folder = root if cfg.out and not has_other_report(words) else root / slug(words.arms, given)
    place = folder / "confirm" if cfg.confirm else folder
    with quiet() as noted:
        parts, where = rows.split_rows(train.data, root) if train.data else ({}, {})
    files: dict[str, Any] = {}
    if parts:
        files = {"data": (str(parts["train"]),), "eval_data": (str(parts["val"]),)}
    length = {} if train.steps or train.epochs else {"epochs": DEFAULT_EPOCHS} if parts else {
        "steps": STEPS}
    shared = {name: getattr(train, name) for name in SHARED if name in given} | files | length
    c = Comparison(cfg, train, given, words.arms, place, parts)
    try:
        plan_stages(c, shared)
    except UserError as e:
        raise UserError(with_own_files(str(e), where)) from None
    of_stages = {shlex.join(stage): x.notes for stage, x in c.stage_plans.items()}
    if parts:
        trained = EvalSpec(str(parts["train"])).rows()
        c.row_notes = leaks(c.eval_spec("test").rows(), trained, train.init)
    c.row_notes += [*noted,
                    *(with_own_files(text, where) for text in each_note_once(of_stages))]
    most = {"cpu": min(8, cores()), "cuda": len(visible_gpus())}
    cfg.workers = cfg.workers or most.get(c.device, 1)
    return c


def slug(arms: list[Arm], given: dict[str, Any]) -> str:
    """The name of a comparison's folder; with flags it has a hash of them, so that no report takes
    the place of another's."""
    typed = "-".join(arm.typed for arm in arms)
    plain = re.sub(r"[^\w.-]+", "_", typed)[:80].strip("_.")
    flags = [[name, x] for name, x in sorted(given.items())
             if name not in ("arms", "seeds", "workers", "confirm", "plan")]
    return plain if plain == typed and not flags else f"{plain}-{short_hash([typed, *flags])}"


def has_other_report(words: ParsedCommand) -> bool:
    """Has another comparison its plan in --out itself?"""
    if not (file := words.root / "plan.ini").exists():
        return False
    given = parse_flags(read_plan(str(file)))
    name = slug(words.arms, words.given)
    if other := slug(methods.read_arms(given["arms"]), given) != name:
        report = " and report" * (words.root / "report.md").exists()
        say(f"{words.root} already has the plan{report} of another comparison; this one goes to "
            f"{words.root / name}")
    return other


def read_plan(file: str) -> list[str]:
    """The words of a plan's command."""
    ini = read_ini(Path(file))
    if "arms" not in (flags := dict(ini["compare"]) if "compare" in ini else {}):
        raise UserError(f"{file}: is not a plan; it needs [compare] and arms = (a method on each "
                        "line)")
    words = [x.strip() for x in flags.pop("arms").strip().split("\n")]
    for name, x in flags.items():
        words += [f"--{name}", *([] if x == "yes" else x.split("\n"))]
    return words


def plan_stages(c: Comparison, shared: dict[str, Any]) -> None:
    """The run and the pace of each stage. All take steps of as many rows, the fewest that one would
    take, and compute in one precision, on one device."""
    for stage in dict.fromkeys(stage for arm in c.arms for stage in arm.stages):
        c.configs[stage] = methods.read_run(stage, shared)
        c.stage_plans[stage] = methods.plan_stage(stage, c.configs[stage])
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
        c.stage_plans[stage] = methods.replan_stage(stage, c.configs[stage], c.stage_plans[stage])


def plan_text(c: Comparison) -> str:
    """The command as an ini file."""
    entries: dict[str, list] = {"arms": ["", *(arm.typed for arm in c.arms)]}
    for name, x in c.given.items():
        if name not in ("arms", "plan"):
            values = x if isinstance(x, (list, tuple)) else ["yes" if x is True else x]
            entries[flag(name)[2:]] = [*values]
    lines = [f"{name} = " + "\n    ".join(map(str, values)) for name, values in entries.items()]
    return "\n".join(["[compare]", *lines, ""])
