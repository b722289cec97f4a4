"""The configuration of a run: its flags, its method and the method's settings.

    config = RunConfig.of("dpo", {"data": "my.jsonl", "beta": 0.2})
    config = read_flags(["--objective", "dpo", "--data", "my.jsonl", "--beta", "0.2"])
    config.objective()                                  # DPO(beta=0.2)
    config.argv()                                       # that command line again
    config.with_flags(seed=1)                           # another run

A field is a flag: its type limits the values, the comment after it is its help (flags.py). So is a
setting of a method, in the method's file. parse_run puts --beta into RunConfig.settings, and
`objective` makes DPO(beta=0.2) of it.

    python -m nanouft.train --help                      # the flags of SHOWN_BY_HELP
    python -m nanouft.train --objective ift --help      # and the settings of ift
    python -m nanouft.train --help all                  # every flag
"""
import dataclasses
import re
import shlex
import sys
import textwrap
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from nanouft import __version__, world
from nanouft.objective import Count, Objective, Positive, Share
from nanouft.objectives import FAMILIES, OBJECTIVES, class_of, find, name_of, registry_name
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.files import Reward, own_file, read_json, reward_name
from nanouft.plumbing.printing import say
from nanouft.plumbing.ranges import Natural, check_ranges, strip_annotations
from nanouft.run.flags import Parser, add_flags, as_flags, at_home, fill, from_python
from nanouft.run.folder import BUILT_IN, MAY_CHANGE_ON_RESUME, is_scored

WORLD_FLAGS = {"rows", "noise", "skills", "mix"}
CODE_OR_NETWORK = re.compile(r"\.py(:[^:]*)?$|hub:")         # words that bring code or the network
SHOWN_BY_HELP = {"data", "max_length", "init", "steps", "batch_size", "lr", "lora", "reward",
                 "device", "out", "resume"}
Files = tuple[str, ...]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class RunConfig:
    """It never changes, and another process may have it; there the class of its method is found
    again by its name."""
    # ---- data
    data: Files | None = None           # your rows: prompt and response, messages ... [NanoWorld]
    eval_data: Files | None = None      # files of held-out rows [a tenth of --data]
    max_length: Count | None = None     # longest row in tokens, not counting the last [the context]
    # ---- model
    init: str = "base"                  # initial model: a run, a model folder or hub:owner/name
    # ---- data
    rows: Count = 1020                  # NanoWorld rows to train on
    skills: str = "all"     # NanoWorld tasks: A (skills), B (honesty), all, or names with commas
    mix: str = ""                       # proportions of the kinds of rows, such as 2:1 [equal]
    noise: Share = 0.0                  # share of NanoWorld's demonstrations with a wrong response
    # ---- optimization
    steps: Count | None = None          # optimizer steps [chosen from the rows, and printed]
    epochs: Positive | None = None      # epochs, instead of --steps
    batch_size: Count | None = None     # rows (or prompts) per step [32; with --data often 8 or 4]
    accumulate: Count = 1               # gradient accumulation: micro-batches of a step
    activation_checkpointing: bool = False      # recompute activations, to save memory
    lr: Positive | None = None          # peak learning rate [chosen from method, model and rows]
    warmup: Share = 0.1                 # share of the steps in which the learning rate rises
    # ---- LoRA
    lora: Natural = 0                   # rank of LoRA; 0 trains all weights
    lora_alpha: Positive | None = None  # LoRA adds alpha / rank * B A [alpha is twice the rank]
    lora_targets: str = "all-linear"    # layers that get LoRA, such as q_proj,v_proj
    # ---- optimization
    seed: Natural = 0                   # seed of the rows, their order and all sampling
    # ---- hardware
    device: str = "auto"                # cpu, cuda, cuda:1 or mps; auto takes the best one here
    dtype: Precision = "auto"           # precision; auto takes bf16 for large models on CUDA
    compile: bool = False               # compile each block, for long runs; CUDA: needs Triton
    threads: Count | None = None        # CPU threads [PyTorch's choice]
    # ---- output
    save_every: Natural | None = None   # steps between checkpoints; 0: none [50 or more]
    # ---- evaluation
    eval_every: Natural = 0             # steps between evaluations on held-out rows; 0: none [0]
    keep: Literal["last", "best"] = "last"  # step that is saved; best: by held-out metric
    # ---- sampling
    reward: str = "exact"   # exact (NanoWorld's score), FILE.py:FUNCTION or a reward model's folder
    max_new: Count | None = None        # longest response, in tokens [44; other models 256]
    # ---- evaluation
    items: Natural = 100                # NanoWorld's test prompts per task; 0: no table of tasks
    curve_items: Natural = 10           # other prompts per task, scored as it trains; 0: none
    plain: bool = False                 # only train: no evaluation, no curves
    # ---- output
    out: str | None = None              # where the run is saved [out/<objective>]
    resume: str | None = None           # resume the interrupted run in this folder

    # no flags
    method: str = "ift"         # as --objective takes it; <Name>: a class of Python
    settings: tuple[tuple[str, Any], ...] = ()      # of the method, those that were given
    given: frozenset[str] = frozenset()     # flags that were given; others may suit the rows
    cls: type[Objective] | None = field(default=None, compare=False, repr=False)
    reward_function: Any = field(default=None, compare=False, repr=False)   # of Python: <name>
    in_python: bool = field(default=False, compare=False, repr=False)   # called there

    def __post_init__(self) -> None:
        for name in ("data", "eval_data"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def flags(self) -> dict[str, Any]:
        """{flag: its value}, of all."""
        return {name: getattr(self, name) for name in FLAGS}

    @classmethod
    def of(cls, method: Any, flags: Mapping[str, Any]) -> "RunConfig":
        """The run of a method (its name, a file, a class, or an object with its settings; None is
        the default), with these flags and settings. None is as if it were not given."""
        settings: dict[str, Any] = {}
        method = at_home("objective", str(method) if isinstance(method, Path) else method)
        if isinstance(method, Objective):
            settings = dataclasses.asdict(method)
            if lost := vars(method).keys() - settings.keys():
                raise UserError(f"{type(method).__name__}: {min(lost)} is no setting, so a run "
                                "would not have it; declare it in the class, with a type and a "
                                "default")
            method = type(method)
        kind = find(method or "ift") if isinstance(method, str | None) else class_of(method)
        name = method if isinstance(method, str) else name_of(kind)
        if name.startswith("<"):
            from nanouft import own
            kind = own.checked_class(kind)
        check_settings(name, kind)
        known = {*FLAGS, *(f.name for f in fields(kind))}
        function = flags.get("reward") if callable(flags.get("reward")) else None
        if function:
            flags = {**flags, "reward": reward_name(function)}
        values = from_python(name, (RunConfig, kind), settings | {**flags}, known)
        config = cls.made(name, kind, values | {"objective": name} if method else values)
        return replace(config, reward_function=function)

    @classmethod
    def made(cls, method: str, kind: type[Objective], values: dict[str, Any]) -> "RunConfig":
        """From values that have their types, of flags and of settings."""
        settings = {f.name: values[f.name] for f in fields(kind) if f.name in values}
        flags = {name: values[name] for name in FLAGS if name in values}
        return cls(**flags, given=frozenset(values), method=registry_name(method), cls=kind,
                   settings=tuple((name, frozen(x)) for name, x in settings.items()))

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"cls": None, "reward_function": None}

    def own_reward(self) -> Reward:
        """What scores the answers: as `reward` says it, or a function of Python."""
        return self.reward_function or self.reward

    def objective(self) -> Objective:
        """A new object of the method, with its settings."""
        settings = {name: [*x] if isinstance(x, tuple) else x for name, x in self.settings}
        return fill(self.cls or find(self.method), settings)

    def with_flags(self, **flags: Any) -> "RunConfig":
        """The same run with other flags."""
        return replace(self, **flags, given=self.given.union(flags))

    def given_values(self) -> dict[str, Any]:
        """{flag or setting: its value}, of all that was given."""
        values = {"objective": self.method, **dict(self.settings), **self.flags()}
        return {name: x for name, x in values.items() if name in self.given and name != "resume"}

    def argv(self) -> list[str]:
        """Its command line."""
        return as_flags({"objective": self.method, **self.given_values()})

    def reads(self) -> list[str]:
        """The files and folders that it reads beside its initial model: its rows, its reward, the
        file of a method of your own, and what a text or a list among its settings names."""
        names = [own_file(self.method), own_file(self.reward) or self.reward, *(self.data or ()),
                 *(self.eval_data or ())]
        method = self.objective()
        hints = typing.get_type_hints(type(method))
        for f in fields(method):
            (kind, _), value = strip_annotations(hints[f.name]), getattr(method, f.name)
            if kind is str:
                names.append(value)
            elif typing.get_origin(kind) is list:
                names += value or ()
        return [name for name in names if name and name not in BUILT_IN]

    def checked(self) -> "RunConfig":
        """Itself. UserError for what no run can be."""
        check_ranges(self)
        objective, given = self.objective(), self.given
        objective.check()
        kinds, samples = objective.kinds(), objective.on_policy
        if self.steps is not None and self.epochs is not None:
            raise UserError(flag("steps"), " and ", flag("epochs"), " both set the length; give "
                            "one")
        if self.compile and self.activation_checkpointing:
            raise UserError("--activation-checkpointing and --compile cannot be combined; give "
                            "one")
        if objective.coupled and self.accumulate > 1:
            raise UserError(flag("accumulate"), f" {self.accumulate}: {objective.name} compares "
                            "all rows of a step; give a smaller ", flag("batch_size"))
        for is_idle, names, why in (        # flags by which this run would not be another
                (self.data, WORLD_FLAGS, "belongs to NanoWorld"),
                (not self.data, {"eval_data", "max_length"}, "needs --data"),
                (not self.lora, {"lora_alpha", "lora_targets"}, "needs --lora"),
                (not samples, {"reward"},
                 f"has no effect: {objective.name} learns from {' + '.join(kinds)}"),
                (samples, {"eval_every", "keep"}, "needs rows with responses, and "
                 f"{objective.name} samples its own; their reward at each step is in "
                 "metrics.jsonl"),
                ("demos" not in kinds, {"noise"},
                 f"corrupts demonstrations, and {objective.name} uses none")):
            if is_idle and given & names:
                raise UserError(flag(min(given & names)), f": {why}")
        if self.keep == "best" and not self.eval_every:
            raise UserError("--keep best: needs --eval-every N, the steps between evaluations")
        if not self.data:
            try:
                world.mixed_rows("train", kinds, len(kinds), 0, skills=self.skills, mix=self.mix)
            except ValueError as e:
                raise UserError(f"--skills or --mix: {e}") from None
        return self


FLAGS = tuple(f.name for f in fields(RunConfig) if f.name not in (
    "method", "settings", "given", "cls", "reward_function", "in_python"))


@dataclass(frozen=True)
class SettledConfig(RunConfig):
    """A run whose flags leave nothing open (plan.settle)."""
    steps: int = 0              # optimizer steps
    batch_size: int = 0         # rows of a step, or prompts if the model samples
    lr: float = 0.0             # peak learning rate
    max_new: int = 0            # longest sampled answer, in tokens


def check_settings(method: str, kind: type[Objective]) -> None:
    """UserError if a setting of a method has the name of a flag of every run."""
    if both := {*FLAGS} & {f.name for f in fields(kind)}:
        raise UserError(f"--objective {method}: {flag(min(both))} is a flag of every run; give the "
                        "setting another name")


def frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# ---- from a command line -------------------------------------------------------------------------
def read_flags(argv: list[str], about: str = "") -> RunConfig:
    """The run of a command line; of --resume the one that began there. UserError for what no run
    can be."""
    config = parse_run(argv, about)
    return (reopen(config) if config.resume else config).checked()


def parse_run(argv: list[str], about: str = "", cls: type[Objective] | None = None) -> RunConfig:
    """A command line, not checked. --help shows the flags of SHOWN_BY_HELP, also those of a named
    method; --help all shows every flag. cls: of <Name>."""
    first = Parser(add_help=False)
    first.add_argument("--objective", default="")
    chosen = registry_name(first.parse_known_args(argv)[0].objective)
    if chosen == "list":
        list_objectives()
        raise SystemExit(0)
    name = chosen or "ift"
    cls = cls if cls and name_of(cls) == name else find(name)
    check_settings(name, cls)
    every = "--help" in argv and "all" in argv
    what_and_how = "\n\n".join((about or "").split("\n\n")[:2])       # None by python -OO
    parser = Parser(() if chosen else OBJECTIVES, prog=chosen or "train", description=what_and_how,
                    epilog="--objective NAME --help adds the settings of that method.\n"
                           "--help all shows every flag.")
    parser.add_argument("--objective", metavar="NAME",
                        help="the method, such as sft, ift or dpo; `list` shows all of them and "
                             "what each needs [ift]")
    add_flags(parser, RunConfig, "", None if every else SHOWN_BY_HELP, only=FLAGS)
    title = textwrap.fill(title_of(cls).rstrip("."), 79)
    add_flags(parser, cls, title, None if every or chosen else ())
    return RunConfig.made(name, cls, vars(parser.parse_args(argv)))


# ---- a run that was stopped ----------------------------------------------------------------------
def reopen(now: RunConfig) -> RunConfig:
    """The run in the folder now.resume, as it began. Of the flags that are given now only those of
    MAY_CHANGE_ON_RESUME may be others. run.json may come from somebody else, so words that bring
    code or the network must be given now, too."""
    folder, named = str(now.resume), now.argv()
    run = read_json(Path(folder) / "run.json")
    words = run.get("argv")
    if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise UserError(f"{folder}/run.json: is not of nanouft.train, and other runs cannot be "
                        "resumed; delete the folder, and run its command again")
    if run.get("version") != __version__ and not is_scored(Path(folder)):
        raise UserError(f"--resume {folder}: was begun by another version of nanouft; start a new "
                        "run")
    for word in words:                                  # --objective=mine.py, as some type it
        value = word.partition("=")[2] if word.startswith("--") and "=" in word else word
        if CODE_OR_NETWORK.search(value) and not {word, value} & {*named}:
            raise UserError(f"--resume {folder}: it would run code or download a model, which is "
                            f"done only if you name it; add {shlex.join(words)}")
    begun = parse_run(words, cls=now.cls)
    was = begun.flags() | vars(begun.objective()) | {"objective": begun.method}
    for name, value in now.given_values().items():
        if name not in MAY_CHANGE_ON_RESUME and value != frozen(was.get(name)):
            raise UserError(f"--resume {folder}: {flag(name)} differs from the original run; only "
                            f"{', '.join(map(flag, sorted(MAY_CHANGE_ON_RESUME)))} may change")
    changed = {name: getattr(now, name) for name in MAY_CHANGE_ON_RESUME & now.given}
    return replace(begun.with_flags(**changed, resume=folder), reward_function=now.reward_function)


def how_to_resume(folder: Path, cfg: RunConfig) -> str:
    """What goes on with a run, a call or a command. Both name code and hub again."""
    if cfg.in_python:
        method = cfg.method[1:-1] if cfg.method.startswith("<") else repr(cfg.method)
        named = [f", {name}={x!r}" for name, x in cfg.given_values().items()
                 if name != "objective" and (CODE_OR_NETWORK.search(str(x))
                                             or cfg.resume and name in MAY_CHANGE_ON_RESUME)]
        if cfg.reward_function:
            named.append(f", reward={cfg.reward[1:-1]}")
        return f"nanouft.train.run({method}{''.join(named)}, resume={str(folder)!r})"
    changed = {name: getattr(cfg, name) for name in sorted(MAY_CHANGE_ON_RESUME & cfg.given)}
    again = cfg.argv() if any(map(CODE_OR_NETWORK.search, cfg.argv())) else as_flags(changed)
    return f"python -m nanouft.train {shlex.join(['--resume', str(folder), *again])}"


def title_of(cls: type) -> str:
    """What a method does, in a line: the first of its file."""
    return (sys.modules[cls.__module__].__doc__ or "").split("\n")[0]


def list_objectives() -> None:
    """Print what every method does and which other models it needs, by what it learns from; the
    plain choice of a group is its first. `docs/methods.md` has the equations."""
    for family, (title, about) in FAMILIES.items():
        say(f"\n{title}: {about[0].lower()}{about[1:]}")
        for name, cls in OBJECTIVES.items():
            method = cls()
            if method.family == family:
                needs = [*(method.kinds() if family == "graded" else ()), *method.other_models()]
                needs_text = f" [{' + '.join(needs)}]" if needs else ""
                say(textwrap.fill(f"  {name:<11} {title_of(cls)}{needs_text}", 80,
                                  subsequent_indent=" " * 14))
