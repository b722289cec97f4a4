"""The command line of train: one dataclass, its checks, and how flags become a run.

    python -m nanouft.train --objective ift --help all      # every flag, from the comments below
"""
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from nanouft import world
from nanouft.errors import UserError, flag, in_range, say
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.run import config, runs
from nanouft.run.storage import HUB
from nanouft.run.words import choose

CHOSEN = "number of rows"               # where a setting comes from, in run.json: by_rows.py
ROLLOUT = 100_000                       # answers that wait in memory together
COMMON = tuple("objective data init epochs steps batch_size lr lora reward device out resume"
               .split())
APART = {"NanoWorld, the built-in data": "rows skills mix noise items split",
         "of single studies": "keep judge optimizer freeze"}
OF_WORLD = {"rows", "noise", "split", "skills", "mix"}
OF_SAMPLES = {"reward", "max_new", "show_every"}


@dataclass
class Train:
    data: list[str] | None = None       # your files, folders or data sets (docs/data.md); NanoWorld
    #                                     if it is not given
    prompt_field: str | None = None     # field with the prompt, if it is not detected
    response_field: str | None = None   # field with the response, if it is not detected
    eval_data: list[str] | None = None  # your rows to hold out [a tenth of --data]
    grades: str = ""                    # worst and best grade of your data, such as 1:5 [a file's
    #                                     least and largest]
    max_length: int | None = None       # longest row of your data, in tokens [the model's context]
    strict: bool = False                # stop at the first row of your data that cannot be read
    init: str = "base"                  # start from: 'base' (shipped) or a model folder, such as
    #                                     another run
    rows: int = 1020                    # NanoWorld rows to train on
    skills: str = "all"                 # families: A, B, all or names with commas; A:B = one for
    #                                     each kind of rows
    mix: str = ""                       # proportions of the kinds of NanoWorld rows, such as 2:1
    #                                     [equal numbers]
    noise: float = 0.0                  # share of NanoWorld demonstrations that are wrong
    keep: float = 1.0                   # share of the demonstrations kept: the judge's likeliest,
    #                                     or --reward's best
    judge: list[str] | None = None      # aligned models for --keep [NanoWorld: one is made]
    steps: int | None = None            # optimizer steps
    epochs: float | None = None         # or passes over the data [3]
    batch_size: int = 32                # rows of one optimizer step; on-policy: prompts
    accumulate: int = 1                 # cut each step into this many micro-batches, to save memory
    lr: float | None = None             # peak learning rate [the objective's own; x 128 / width
    #                                     for other models]
    optimizer: Literal["adamw", "rmsprop"] = "adamw"    # rmsprop: IFT's
    weight_decay: float = 0.0           # on matrices only
    warmup: float = 0.1                 # share of the steps in which the rate rises; then a cosine
    clip: float = 1.0                   # largest gradient norm; 0 = no clipping
    freeze: Literal["none", "half"] = "none"    # half: half of every layer stays as it is (HFT;
    #                                     which half: the seed)
    lora: int = 0                       # LoRA rank; 0 = train all weights
    checkpointing: bool = False         # compute activations twice: less memory, slower
    shard: bool = False                 # under torchrun: each process keeps a share of the
    #                                     weights; implies --plain
    seed: int = 0                       # seed of the data, their order and all sampling
    device: str = "auto"                # auto | cpu | cuda | mps
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"     # precision of the forward; auto =
    #                                     bf16 on CUDA
    compile: Literal["auto", "on", "off"] = "auto"      # torch.compile; auto = on CUDA, from 20M
    #                                     parameters and 500 steps on
    threads: int | None = None          # CPU threads
    save_every: int = 50                # steps between checkpoints for --resume; 0 = none
    eval_every: int = 0                 # steps between held-out losses; 0 = only before and after
    reward: Annotated[str, config.JOINED] = "exact"     # what scores the answers: exact
    #                                     (NanoWorld), FILE.py:FUNCTION or a reward model's folder;
    #                                     several add up: --reward A --reward B=0.1
    max_new: int = 44                   # longest answer that is made for the reward, in tokens
    show_every: int = 25                # on-policy: steps between three printed answers; 0 = none
    items: int = 100                    # NanoWorld prompts a family in the before/after table;
    #                                     0 = no table
    split: Literal["test", "val"] = "test"      # which of them: val to choose settings, test to
    #                                     report
    plain: bool = False                 # train only: no evaluation before and after, no curves
    log: Literal["none", "tensorboard"] = "none"        # where lines of metrics.jsonl go, too
    out: str | None = None              # run folder [out/<objective>]
    resume: str | None = None           # go on with the run in this folder; takes no other flag

    @property
    def asks_judges(self) -> bool:
        """Are aligned models needed to choose demonstrations?"""
        return self.keep < 1 and self.reward == "exact"

    @property
    def rate(self) -> float:
        """The peak learning rate; read_flags has filled it in."""
        assert self.lr is not None
        return self.lr

    def optimizer_steps(self, rows: int, passes: int = 1) -> int:
        """How many steps these rows make; on-policy methods take `passes` steps on each batch."""
        epochs = self.epochs or 3
        return self.steps or max(1, round(epochs * rows / self.batch_size)) * passes

    def check(self) -> None:
        self.plain |= self.shard            # no process has the whole model to evaluate
        in_range(self, "accumulate", "max_new", low=1)
        in_range(self, "lora", high=10_000)
        in_range(self, "max_length", low=2)
        in_range(self, "steps", low=1, high=1_000_000_000)
        in_range(self, "batch_size", "rows", low=1, high=100_000)
        in_range(self, "items", high=10_000)
        in_range(self, "save_every", "eval_every", "show_every", "weight_decay", "clip", "seed")
        in_range(self, "noise", "warmup", high=1)
        in_range(self, "keep", high=1, above=True)
        in_range(self, "lr", above=True)
        in_range(self, "epochs", above=True, high=1_000_000)
        if self.lora and self.freeze == "half":
            raise UserError("--freeze half and --lora both say which weights stay; give one")
        if self.steps is not None and self.epochs is not None:
            raise UserError("--steps and --epochs say the same thing twice; give one")
        if self.accumulate > self.batch_size:
            raise UserError(f"--accumulate {self.accumulate}: a step has only --batch-size "
                            f"{self.batch_size} rows")
        if self.prompt_field and self.prompt_field == self.response_field:
            raise UserError(f"--prompt-field and --response-field both name {self.prompt_field!r}; "
                            "they must differ")


Flags = tuple[str, Train, Any, dict[str, str]]


def read_flags(argv: list[str] | None, about: str = "") -> Flags:
    """-> (objective's name, Train, its hyper-parameters, {setting: "command line" | "default"})."""
    words = config.words(argv)
    name = config.value_of("--objective", words) or "ift"
    if name == "list":
        return "list", Train(), None, {}
    helps = {"-h", "--help"} & set(words)
    if (folder := config.value_of("--resume", words)) and not helps:
        reward = config.joined(config.values_of("--reward", words)) or None
        if other := config.other_flag(words, "--resume", "--reward"):
            raise UserError(f"--resume takes no other flag, but {other} was given: every setting "
                            "comes from run.json (only a --reward FILE.py is named again)")
        return reopen(folder, reward)
    name = choose("objective", name, [*OBJECTIVES, "list"])
    objective = OBJECTIVES[name]
    values = vars(make_parser(name, objective, about).parse_args(argv))
    cfg, given = config.fill(Train, values)
    hp: Any
    hp, hp_given = config.fill(objective.hp, values)
    check_together(name, objective, cfg, hp, given)
    runs.check_out(cfg.out)
    origin = {k: "command line" if k in given | hp_given else "default"
              for k in {**asdict(cfg), **asdict(hp)}}
    if cfg.lr is None:
        cfg.lr, origin["lr"] = objective.lr, f"default of {name}"
    return name, cfg, hp, origin


def make_parser(name: str, objective: Objective, about: str) -> config.Parser:
    """The flags of the run, and those of the objective that is named."""
    parser = config.Parser(prog="python -m nanouft.train", description=about)
    parser.common = COMMON
    for other, o in OBJECTIVES.items():
        for f in fields(o.hp):
            parser.elsewhere.setdefault(flag(f.name), []).append(other)
    parser.add_argument("--objective", default="ift", metavar="NAME",
                        help=f"{', '.join(OBJECTIVES)}, or 'list' for what each needs [ift]")
    config.add_flags(parser, Train, "the run", APART)
    config.add_flags(parser, objective.hp, f"{name}: {objective.paper}")
    return parser


def check_together(name: str, objective: Objective, cfg: Train, hp: Any, given: set[str]) -> None:
    """UserError for settings that do not fit together, or that would change nothing."""
    cfg.check()
    if hasattr(hp, "check"):
        hp.check()
    kinds = objective.kinds(hp)
    config.refuse_idle(cfg.data, given, OF_WORLD)
    learns = f"it changes nothing here: {name} learns from {' + '.join(kinds)}"
    if not objective.on_policy:
        config.unused(given, OF_SAMPLES if cfg.reward == "exact" else {"show_every"}, learns)
    if cfg.noise and "demos" not in kinds:
        config.unused(given, {"noise"}, learns)
    if kinds != ["demos"]:
        config.unused(given, {"keep"}, learns)
    if cfg.judge and not cfg.asks_judges:
        raise UserError("--judge is used by --keep without --reward; give --keep")
    if cfg.asks_judges and cfg.data and not cfg.judge:
        raise UserError("--judge DIR is needed with --data: a model that knows such answers "
                        "(--keep: or --reward)")
    if not cfg.data and given & {"skills", "mix"}:
        check_nanoworld(cfg, kinds, given)
    if objective.on_policy:
        many = cfg.batch_size * hp.minibatches * hp.samples
        if many > ROLLOUT:
            raise UserError(f"--batch-size {cfg.batch_size} x {hp.minibatches} minibatches x "
                            f"{hp.samples} samples are {many:,} answers a rollout; at most "
                            f"{ROLLOUT:,} are made at once")


def check_nanoworld(cfg: Train, kinds: list[str], given: set[str]) -> None:
    """--skills and --mix against the kinds of rows that the objective wants."""
    if "mix" in given and len(kinds) == 1:
        raise UserError("--mix shares rows out between kinds, and this objective learns from "
                        f"{kinds[0]} only")
    for setting in ("skills", "mix"):
        wanted: dict[str, Any] = {setting: getattr(cfg, setting)}
        try:
            world.mixed_rows("train", kinds, len(kinds), 0, **wanted)
        except ValueError as e:
            raise UserError(f"--{setting} {wanted[setting]}: {e}") from None


def reopen(folder: str, reward: str | None = None) -> Flags:
    """How the run in `folder` was started: what read_flags returned then. A reward that is code is
    run only if the command line names it, too: run.json may come from somebody else."""
    saved = runs.unfinished(folder, "train")
    try:
        name = choose("objective", saved.get("objective"), OBJECTIVES)
        objective, origin = OBJECTIVES[name], saved.get("from", {})
        cfg = replace(config.of_json(Train, saved.get("config"), "config"), resume=folder)
        hp: Any = config.of_json(objective.hp, saved.get("hp"), "hp")
        if cfg.lr is None or not origin:
            raise UserError("the learning rate is missing, or where the settings came from")
        given = {key for key, source in origin.items() if source == "command line"}
        check_together(name, objective, cfg, hp, given)
    except UserError as e:
        raise UserError(f"{folder}/run.json: edited, damaged, or of another version of nanouft "
                        f"({e}); start a new run") from None
    if any(name.startswith(HUB) for name in (cfg.init, *(cfg.data or ()), *(cfg.eval_data or ()))):
        os.environ["HF_HUB_OFFLINE"] = "1"      # only names on the command line reach the network
    code = cfg.reward if runs.CODE.search(cfg.reward) else None
    if reward != code:
        why = "its reward is no Python code"
        if code:
            why = "its reward is Python code, which is run only if you name it"
        raise UserError(f"--resume {folder}: {why}; go on with: "
                        f"{runs.resuming(Path(folder), saved)}")
    return name, cfg, hp, origin


# ---- what each objective needs -------------------------------------------------------------------
def needs(objective: Objective, hp: Any) -> tuple[list[str], list[str]]:
    """(data, other models) that an objective needs under these hyper-parameters, in words."""
    prompts = "prompts and a reward" if objective.rewarded else "prompts"
    words = {"demos": "demonstrations", "prompts": prompts}
    return ([words.get(k, k) for k in objective.kinds(hp)],
            [column.needs for column in objective.columns])


def list_objectives() -> None:
    for name, objective in OBJECTIVES.items():
        data, models = needs(objective, objective.hp())
        say(f"{name:<10} {objective.paper}")
        say(f"       needs {' + '.join(data)}" + (f", and {', '.join(models)}" if models else ""))
        for setting, text in config.field_help(objective.hp).items():
            say(f"       {flag(setting):<22} {text}")
