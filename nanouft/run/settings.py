"""The command line of train: its settings, their checks, and the named objective.

    objective, cfg, given = read_flags(argv, about)
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
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nanouft import world
from nanouft.objective import Count, Objective, Positive, Share
from nanouft.objectives import FAMILIES, OBJECTIVES, find, registry_name
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.files import own_file, read_json
from nanouft.plumbing.printing import say
from nanouft.plumbing.ranges import Natural, check_ranges, without_notes
from nanouft.run.flags import Parser, add_flags, fill
from nanouft.run.folder import BUILT_IN, MAY_CHANGE_ON_RESUME

WORLD_FLAGS = {"rows", "noise", "skills", "mix"}
CODE_OR_NETWORK = re.compile(r"\.py(:[^:]*)?$|hub:")         # words that bring code or the network
SHOWN_BY_HELP = {"data", "max_length", "init", "steps", "batch_size", "lr", "lora", "reward",
                 "device", "out", "resume"}


@dataclass
class TrainFlags:
    data: list[str] | None = None   # your rows: prompt and response, messages ... [NanoWorld]
    eval_data: list[str] | None = None  # files of rows to hold out [a tenth of --data]
    max_length: Count | None = None     # longest row in tokens, not counting the last [the context]
    init: str = "base"                  # start model: a run, a model folder or hub:owner/name
    rows: Count = 1020                  # NanoWorld rows to train on
    skills: str = "all"     # NanoWorld tasks: A (skills), B (honesty), all, or names with commas
    mix: str = ""                       # proportions of the kinds of rows, such as 2:1 [equal]
    noise: Share = 0.0                  # share of NanoWorld's demonstrations to make wrong
    steps: Count | None = None          # optimizer steps [chosen to suit the rows, and printed]
    epochs: Positive | None = None      # passes over the data, in place of --steps
    batch_size: Count | None = None     # rows (or prompts) per step [32; with --data often 8 or 4]
    accumulate: Count = 1               # micro-batches of a step: the same gradient in less memory
    activation_checkpointing: bool = False      # save memory by computing activations twice
    lr: Positive | None = None          # peak learning rate [suits method, model and rows]
    warmup: Share = 0.1                 # share of the steps in which the learning rate rises
    lora: Natural = 0                   # rank of LoRA; 0 trains all weights
    lora_alpha: Positive | None = None  # LoRA adds alpha / rank * B A [alpha is twice the rank]
    lora_targets: str = "all-linear"    # layers that get LoRA, such as q_proj,v_proj
    seed: Natural = 0                   # seed of the rows, their order and all sampling
    device: str = "auto"                # cpu, cuda, cuda:1 or mps; auto takes the best one here
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # precision; auto: on CUDA bf16 if big
    compile: bool = False               # compile each block, for long runs; CUDA: needs Triton
    threads: Count | None = None        # CPU threads [PyTorch's choice]
    save_every: Natural | None = None   # steps between saves; 0: never [50 or more, or a rollout]
    eval_every: Natural = 0             # steps between held-out losses, for the curves [0]
    keep: Literal["last", "best"] = "last"  # step to save; best: by held-out figure (--eval-every)
    reward: str = "exact"   # exact (NanoWorld's score), FILE.py:FUNCTION or a reward model's folder
    max_new: Count | None = None        # longest answer, in tokens [44; with --data 256]
    items: Natural = 100                # NanoWorld prompts per task in the table; 0 leaves it out
    plain: bool = False                 # only train: no evaluation, no curves
    out: str | None = None              # where the run is saved [out/<objective>]
    resume: str | None = None           # go on with the interrupted run in this folder

    def check(self, objective: Objective, given: set[str]) -> None:
        check_ranges(self)
        objective.check()
        kinds, samples = objective.kinds(), objective.on_policy
        if self.steps is not None and self.epochs is not None:
            raise UserError("--steps and --epochs both set the length; give one")
        if self.compile and self.activation_checkpointing:
            raise UserError("--activation-checkpointing: does not go with --compile; give one")
        if objective.coupled and self.accumulate > 1:
            raise UserError(f"--accumulate {self.accumulate}: {objective.name} compares all rows "
                            "of a step; give a smaller --batch-size")
        for is_idle, names, why in (        # flags by which this run would not be another
                (self.data, WORLD_FLAGS, "belongs to NanoWorld"),
                (not self.data, {"eval_data", "max_length"}, "needs --data"),
                (not self.lora, {"lora_alpha", "lora_targets"}, "needs --lora"),
                (not samples, {"reward"},
                 f"changes nothing: {objective.name} learns from {' + '.join(kinds)}"),
                (samples, {"eval_every", "keep"}, "reads rows with answers, and "
                 f"{objective.name} samples its own; their reward at each step is in "
                 "metrics.jsonl"),
                ("demos" not in kinds, {"noise"},
                 f"spoils demonstrations, and {objective.name} reads none")):
            if is_idle and given & names:
                raise UserError(f"{flag(min(given & names))}: {why}")
        if self.keep == "best" and not self.eval_every:
            raise UserError("--keep best: needs --eval-every N, the steps between held-out losses")
        if not self.data:
            try:
                world.mixed_rows("train", kinds, len(kinds), 0, skills=self.skills, mix=self.mix)
            except ValueError as e:
                raise UserError(f"--skills or --mix: {e}") from None


def read_flags(argv: list[str], about: str = "") -> tuple[Objective, TrainFlags, set[str]]:
    """(the objective with its settings, TrainFlags, names of the flags that were given). --help
    shows the flags of SHOWN_BY_HELP, also those of a named method; --help all shows every flag."""
    chosen = named_objective(argv)
    if chosen == "list":
        list_objectives()
        raise SystemExit(0)
    name = chosen or "ift"
    cls, every = find(name), "--help" in argv and "all" in argv
    flags, settings = ({f.name for f in dataclasses.fields(c)} for c in (TrainFlags, cls))
    if both := flags & settings:
        raise UserError(f"--objective {name}: {flag(min(both))} is a flag of every run; give the "
                        "setting another name")
    what_and_how = "\n\n".join((about or "").split("\n\n")[:2])       # None by python -OO
    parser = Parser(() if chosen else OBJECTIVES, prog=chosen or "train", description=what_and_how,
                    epilog="--objective NAME --help adds the settings of that method.\n"
                           "--help all shows every flag.")
    parser.add_argument("--objective", default="ift", metavar="NAME",
                        help="the method, such as sft, ift or dpo; `list` shows all of them and "
                             "what each needs [ift]")
    add_flags(parser, TrainFlags, "the run" if every else "", None if every else SHOWN_BY_HELP)
    title = textwrap.fill(title_of(cls).rstrip("."), 79)
    add_flags(parser, cls, title, None if every or chosen else ())
    values = vars(parser.parse_args(argv))
    given = set(values) - {"objective"}
    if folder := values.get("resume"):
        return reopen(folder, argv, values)
    cfg, objective = fill(TrainFlags, values), fill(cls, values)
    cfg.check(objective, given)
    return objective, cfg, given


def named_objective(argv: list[str]) -> str:
    """The word after --objective as the registry spells it, or ""."""
    first = Parser(add_help=False)
    first.add_argument("--objective", default="")
    return registry_name(first.parse_known_args(argv)[0].objective)


def files_of(method: str, cfg: TrainFlags, objective: Objective) -> list[str]:
    """The files and folders that a run reads beside its start model: its rows, its reward, the file
    of a method of your own, and what a text or a list among a method's settings names."""
    names = [own_file(method), own_file(cfg.reward) or cfg.reward, *(cfg.data or ()),
             *(cfg.eval_data or ())]
    hints = typing.get_type_hints(type(objective))
    for f in dataclasses.fields(objective):
        (kind, _), value = without_notes(hints[f.name]), getattr(objective, f.name)
        if kind is str:
            names.append(value)
        elif typing.get_origin(kind) is list:
            names += value or ()
    return [name for name in names if name and name not in BUILT_IN]


def command_of(folder: str) -> list[str]:
    """The words of the command line that began the run in `folder`."""
    saved = read_json(Path(folder) / "run.json")
    if "argv" not in saved:
        raise UserError(f"{folder}/run.json: names no command of train, and other runs cannot go "
                        "on; delete the folder, and give its command again")
    return saved["argv"]


def reopen(folder: str, argv: list[str], values: dict) -> tuple[Objective, TrainFlags, set[str]]:
    """The run in `folder`, read from the command line that began it. `values`: what this command
    line sets; only flags of MAY_CHANGE_ON_RESUME may be new. run.json may come from somebody else,
    so words that bring code or the network must be on this command line too."""
    begun = command_of(folder)
    if any(CODE_OR_NETWORK.search(word) and word not in argv for word in begun):
        raise UserError(f"--resume {folder}: it would run code or ask the network, which is done "
                        f"only if you name it; add {shlex.join(begun)}")
    objective, cfg, given = read_flags(begun)
    of_run = {"objective": named_objective(begun) or "ift", **vars(cfg), **vars(objective)}
    values = values | {"objective": named_objective(argv) or of_run["objective"]}
    for name, value in values.items():
        if name not in {"resume", *MAY_CHANGE_ON_RESUME} and value != of_run.get(name):
            raise UserError(f"--resume {folder}: {flag(name)} was another; only "
                            f"{', '.join(map(flag, sorted(MAY_CHANGE_ON_RESUME)))} may change")
    changed = {name: values[name] for name in MAY_CHANGE_ON_RESUME & values.keys()}
    cfg = dataclasses.replace(cfg, resume=folder, **changed)
    cfg.check(objective, given)
    return objective, cfg, given


def command_to_resume(folder: Path, cfg: TrainFlags, argv: list[str]) -> str:
    """The command line that goes on with a run. Of one that names code or hub: names it has all
    words again; a resumed run goes on with its own."""
    again = argv if any(map(CODE_OR_NETWORK.search, argv)) else []
    words = argv if cfg.resume else ["--resume", str(folder), *again]
    return f"python -m nanouft.train {shlex.join(words)}"


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
                more = f" [{' + '.join(needs)}]" if needs else ""
                say(textwrap.fill(f"  {name:<12}{title_of(cls)}{more}", 80,
                                  subsequent_indent=" " * 14))
