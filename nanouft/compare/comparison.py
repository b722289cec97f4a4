"""A comparison as it was planned: its flags, its methods and where its runs are.

    c = plan(["sft", "dpo", "--seeds", "3"], about)
    c.job(c.arms[0], seed=0)            # a training of it
"""
import configparser
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nanouft import world
from nanouft.compare import arms as methods
from nanouft.compare import runs
from nanouft.compare.arms import Arm, Pace, Stage
from nanouft.compare.parts import cut
from nanouft.models.folders import folder_of
from nanouft.plumbing.errors import UserError, in_range
from nanouft.plumbing.files import own_file, read_text, write_text
from nanouft.run.flags import Parser, add_flags, as_flags, fill, narrow
from nanouft.run.folder import check_free, hash_of
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


# ---- the plan ------------------------------------------------------------------------------------
def plan(argv: list[str], about: str = "") -> Comparison:
    """UserError, before anything is trained, for whatever would end a run at its start."""
    parser = Parser(prog="python -m nanouft.compare", description=narrow(about))
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
    write_plan(c)
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


def write_plan(c: Comparison) -> None:
    ini = configparser.ConfigParser(delimiters="=", interpolation=None)
    flags = {name.replace("_", "-"): "yes" if x is True else "\n".join(x) if isinstance(x, list)
             else str(x) for name, x in c.given.items() if name not in ("arms", "out")}
    ini["compare"] = {"arms": "\n" + "\n".join(arm.name for arm in c.arms), **flags,
                      "out": c.place.as_posix()}
    text = io.StringIO()
    ini.write(text)
    c.place.mkdir(parents=True, exist_ok=True)
    write_text(c.place / "plan.ini", text.getvalue())
