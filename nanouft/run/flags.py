"""The command line of train: one dataclass, its checks, and how flags become a run.

    python -m nanouft.train --objective ift --help all              # every flag, from the comments below

A flag that would change nothing is refused, so that nobody thinks that it worked.
"""
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

from nanouft import world
from nanouft.errors import UserError, choose, flag, in_range
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.run import config, runs

ROLLOUT = 100_000                       # answers that wait in memory together
COMMON = tuple("objective data init epochs steps batch_size lr lora reward device out resume".split())
APART = {"NanoWorld, the built-in data": "rows skills mix noise items split",
         "of single studies": "keep judge optimizer freeze"}


@dataclass
class Train:
    data: list[str] | None = None       # your files, folders or data sets (docs/data.md); NanoWorld when absent
    prompt_field: str | None = None     # name of the prompt in your data, where it is none of the usual
    response_field: str | None = None   # name of the response in your data
    eval_data: list[str] | None = None  # your rows to hold out [a tenth of --data]
    grades: str = ""                    # worst and best grade of your data, such as 1:5 [a file's least and largest]
    max_length: int | None = None       # longest row of your data, in tokens [what the model can read]
    strict: bool = False                # stop at the first row of your data that is not understood
    init: str = "base"                  # start from: 'base' (shipped) or a model folder, such as another run
    rows: int = 1020                    # NanoWorld rows to train on
    skills: str = "all"                 # families: A, B, all or names with commas; A:B = one for each kind of rows
    mix: str = ""                       # proportions of the kinds of NanoWorld rows, such as 2:1 [equal numbers]
    noise: float = 0.0                  # share of NanoWorld demonstrations that are wrong
    keep: float = 1.0                   # share of the demonstrations kept: the judge's likeliest, or --reward's best
    judge: list[str] | None = None      # aligned models for --keep [NanoWorld: one made at first use]
    steps: int | None = None            # optimizer steps
    epochs: float | None = None         # or passes over the data [3]
    batch_size: int = 32                # rows of one optimizer step
    accumulate: int = 1                 # cut each step into this many micro-batches, to save memory
    lr: float | None = None             # peak learning rate [the objective's own; x 128 / width for other models]
    optimizer: Literal["adamw", "adamw8bit", "rmsprop"] = "adamw"    # adamw8bit: a quarter of the state; rmsprop: IFT's
    weight_decay: float = 0.0           # on matrices only
    warmup: float = 0.1                 # share of the steps in which the learning rate rises; then it falls, a cosine
    clip: float = 1.0                   # largest gradient norm; 0 = no clipping
    freeze: Literal["none", "half"] = "none"    # half: half of every layer stays as it is (HFT; which half: the seed)
    lora: int = 0                       # rank of LoRA: two thin matrices beside each matrix are trained; 0: all
    checkpointing: bool = False         # keep fewer activations, compute them twice: less memory, slower
    shard: bool = False                 # under torchrun: each process keeps a share of the weights; implies --plain
    seed: int = 0                       # draws the demonstrations, their order and every random number
    device: str = "auto"                # auto | cpu | cuda | mps
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"     # precision of the forward; auto = bf16 on CUDA
    compile: Literal["auto", "on", "off"] = "auto"      # torch.compile; auto = on CUDA, 20M parameters, 500 steps
    threads: int | None = None          # CPU threads
    save_every: int = 50                # steps between checkpoints for --resume; 0 = none
    eval_every: int = 0                 # steps between held-out losses; 0 = only before and after
    reward: str = "exact"               # who scores answers: exact (NanoWorld), FILE.py:FUNCTION, or a reward's folder
    max_new: int = 44                   # longest answer that is made for the reward, in tokens
    show_every: int = 25                # on-policy: steps between three printed answers; 0 = none
    items: int = 100                    # NanoWorld prompts a family in the before/after table; 0 = no table
    split: Literal["test", "val"] = "test"      # which of them: val to choose settings, test to report
    plain: bool = False             # train only: no look at the model before and after, no curves
    log: Literal["none", "tensorboard", "wandb"] = "none"       # a tracker that gets the lines of metrics.jsonl, too
    out: str | None = None              # run folder [out/<objective>]
    resume: str | None = None           # go on with the run in this folder; takes no other flag

    @property
    def asks_judges(self) -> bool:
        """Are aligned models needed to choose demonstrations?"""
        return self.keep < 1 and self.reward == "exact"

    def optimizer_steps(self, rows: int, passes: int = 1) -> int:
        """How many steps these rows make; on-policy methods take `passes` steps on each batch of answers."""
        return self.steps or max(1, round((self.epochs or 3) * rows / self.batch_size)) * passes

    def check(self) -> None:
        self.plain |= self.shard            # no process has the whole model to look at
        in_range(self, "accumulate", "max_new", low=1)
        in_range(self, "lora", high=10_000)
        in_range(self, "max_length", low=2)
        if self.lora and self.freeze == "half":
            raise UserError("--freeze half and --lora both say which weights stay; give one")
        in_range(self, "steps", low=1, high=1_000_000_000)
        in_range(self, "batch_size", low=1, high=100_000)
        in_range(self, "rows", low=1, high=100_000)
        in_range(self, "items", high=10_000)
        in_range(self, "save_every", "eval_every", "show_every", "weight_decay", "clip", "seed")
        in_range(self, "noise", "warmup", high=1)
        if not 0 < self.keep <= 1:
            raise UserError(f"--keep {self.keep:g}: must be above 0 and at most 1")
        in_range(self, "lr", above=True)
        in_range(self, "epochs", above=True, high=1_000_000)
        if self.steps is not None and self.epochs is not None:
            raise UserError("--steps and --epochs say the same thing twice; give one")
        if self.accumulate > self.batch_size:
            raise UserError(f"--accumulate {self.accumulate}: a step has only --batch-size {self.batch_size} rows")


def read_flags(argv: list[str] | None, about: str = ""):
    """-> (objective's name, Train, its hyper-parameters, {setting: "command line" | "default" ...})."""
    known = config.Parser(add_help=False)
    known.add_argument("--objective")
    known.add_argument("--resume")
    known.add_argument("--reward")
    first, others = known.parse_known_args(argv)
    if first.objective == "list":
        return "list", None, None, {}
    if first.resume is not None and not {"-h", "--help"} & set(others):
        if first.objective or others:
            other = "--objective" if first.objective else others[0]
            raise UserError(f"--resume takes no other flag, but {other} was given: every setting comes from run.json "
                            "(only a --reward FILE.py is named again)")
        return reopen(first.resume, first.reward)
    name = choose("objective", first.objective or "ift", [*OBJECTIVES, "list"])
    objective = OBJECTIVES[name]
    values = vars(make_parser(name, objective, about).parse_args(argv))
    cfg, given = config.fill(Train, values)
    hp, hp_given = config.fill(objective.hp, values)
    cfg.check()
    if hasattr(hp, "check"):
        hp.check(hp_given)
    refuse_idle_flags(name, objective, cfg, hp, given)
    runs.check_out(cfg.out)
    settings = {**asdict(cfg), **asdict(hp)}
    origin = {k: "command line" if k in given | hp_given else "default" for k in settings}
    if cfg.lr is None:
        cfg.lr, origin["lr"] = objective.lr, f"default of {name}"
    return name, cfg, hp, origin


def make_parser(name: str, objective: Objective, about: str) -> config.Parser:
    """The flags of the run, and those of the objective that is named."""
    parser = config.Parser(prog="python -m nanouft.train", description=about)
    parser.common = COMMON
    parser.elsewhere = {flag(f.name): n for n, o in reversed(OBJECTIVES.items()) for f in fields(o.hp)}
    parser.add_argument("--objective", default="ift", metavar="NAME",
                        help=f"{', '.join(OBJECTIVES)}, or 'list' for what each needs [ift]")
    config.add_flags(parser, Train, "the run", APART)
    config.add_flags(parser, objective.hp, f"{name}: {objective.paper}")
    return parser


def refuse_idle_flags(name: str, objective: Objective, cfg: Train, hp, given: set[str]) -> None:
    """UserError for a flag that was given and would change nothing in this run."""
    kinds = objective.kinds(hp)
    learns = f"{name} learns from {' + '.join(kinds)}"
    config.refuse_idle(cfg.data, given, {"rows", "noise", "split", "skills", "mix"})
    sampling = {"show_every"} if cfg.reward != "exact" else {"reward", "max_new", "show_every"}
    if not objective.on_policy and (idle := sorted(given & sampling)):
        raise UserError(f"{flag(idle[0])} belongs to methods that sample answers (rloo, ppo); {learns}")
    if cfg.noise and "demos" not in kinds:
        raise UserError(f"--noise spoils demonstrations; {learns}")
    if "keep" in given and kinds != ["demos"]:
        raise UserError(f"--keep chooses demonstrations; {learns}")
    if cfg.asks_judges and cfg.data and not cfg.judge:
        raise UserError("--judge DIR is needed with --data: a model that knows such answers (--keep: or --reward)")
    if cfg.judge and not cfg.asks_judges:
        raise UserError("--judge says whose opinion counts for --keep without --reward; give --keep")
    if not cfg.data:
        check_nanoworld(cfg, kinds, given)
    if cfg.prompt_field and cfg.prompt_field == cfg.response_field:
        raise UserError(f"--prompt-field and --response-field both name {cfg.prompt_field!r}; they must differ")
    if cfg.warmup == 0 and getattr(hp, "lam_min", None) is not None:
        raise UserError("--lam-min ramps lam over the warm-up, and --warmup is 0: it changes nothing")
    if objective.on_policy and (many := cfg.batch_size * hp.minibatches * hp.samples) > ROLLOUT:
        raise UserError(f"--batch-size {cfg.batch_size} x {hp.minibatches} minibatches x {hp.samples} samples are "
                        f"{many:,} answers a rollout; at most {ROLLOUT:,} are made at once")


def check_nanoworld(cfg: Train, kinds: list[str], given: set[str]) -> None:
    """--skills and --mix against the kinds of rows that the objective wants, before anything is made."""
    if "mix" in given and len(kinds) == 1:
        raise UserError(f"--mix shares rows out between kinds, and this objective learns from {kinds[0]} only")
    for setting, value in (("skills", cfg.skills), ("mix", cfg.mix)):
        try:
            world.mixed_rows("train", kinds, len(kinds), 0, **{setting: value})
        except ValueError as e:
            raise UserError(f"--{setting} {value}: {e}") from None


def reopen(folder: str, reward: str | None = None) -> tuple[str, Train, object, dict]:
    """How the run in `folder` was started: what read_flags returned then. A reward that is code is run only if the
    command line names it, too: run.json may come from somebody else."""
    saved = runs.unfinished(folder, "train")
    try:
        name = choose("objective", saved.get("objective"), OBJECTIVES)
        objective, origin = OBJECTIVES[name], saved.get("from")
        cfg = replace(config.of_json(Train, saved.get("config"), "config"), resume=folder)
        hp = config.of_json(objective.hp, saved.get("hp"), "hp")
        if not isinstance(origin, dict) or cfg.lr is None:
            raise UserError("the learning rate is missing, or where the settings came from")
        given = {key for key, source in origin.items() if source == "command line"}
        cfg.check()
        if hasattr(hp, "check"):
            hp.check(given & set(vars(hp)))
        refuse_idle_flags(name, objective, cfg, hp, given)
    except UserError as e:
        raise UserError(f"{folder}/run.json: edited, damaged, or of another version of nanouft ({e}); start a new run")
    code = cfg.reward if runs.CODE.search(cfg.reward) else None
    if reward != code:
        why = "its reward is Python code, which is run only if you name it" if code else "its reward is no Python code"
        raise UserError(f"--resume {folder}: {why}; go on with: {runs.resuming(Path(folder), saved)}")
    return name, cfg, hp, origin


# ---- what each objective needs ---------------------------------------------------------------------------------------
def needs(objective: Objective, hp) -> tuple[list[str], list[str]]:
    """(data, other models) that an objective needs under these hyper-parameters, in words."""
    words = {"demos": "demonstrations", "prompts": "prompts and a reward" if objective.rewarded else "prompts"}
    return [words.get(k, k) for k in objective.kinds(hp)], [column.needs for column in objective.columns]


def list_objectives() -> None:
    for name, objective in OBJECTIVES.items():
        data, models = needs(objective, objective.hp())
        print(f"{name:<10} {objective.paper}")
        print(f"       needs {' + '.join(data)}" + (f", and {', '.join(models)}" if models else ""))
        for setting, text in config.field_help(objective.hp).items():
            print(f"       {flag(setting):<22} {text}")
