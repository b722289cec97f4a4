"""The command line of train: one dataclass, its checks, and how flags become a run.

    python -m nanouft.train --objective ift --help                  # every flag, from the comments below

A flag that would change nothing is refused, so that nobody believes to have changed something.
"""
import math
from dataclasses import asdict, dataclass
from typing import Literal

from nanouft import world
from nanouft.shell import config, runs
from nanouft.shell.config import UserError
from nanouft.objectives import OBJECTIVES


@dataclass
class Train:
    data: list[str] | None = None       # your files (JSON list or JSON lines); NanoWorld when absent
    prompt_field: str | None = None     # name of the prompt in your data, where it is none of the usual
    response_field: str | None = None   # name of the response in your data
    init: str = "base"                  # start from: 'base' (shipped) or a GPT-2 folder, such as another run
    corpus: str | None = None           # pretrain a base on this text first (once; kept under out/), and start from it
    size: Literal["nano", "gpt2"] = "nano"      # size of the base that --corpus makes
    rows: int = 1020                    # NanoWorld rows to train on
    skills: str = "all"                 # families: A, B, all or names with commas; A:B = one for each kind of rows
    mix: str = ""                       # proportions of the kinds of NanoWorld rows, such as 2:1 [equal numbers]
    noise: float = 0.0                  # share of NanoWorld demonstrations that are wrong
    clean: bool = False                 # leave out NanoWorld's wrong demonstrations (an oracle)
    keep: float = 1.0                   # share of the demonstrations kept: those that the judge finds likeliest
    rewrite: bool = False               # train on the judge's own answers to the same prompts
    judge: list[str] | None = None      # aligned models for --keep and --rewrite [NanoWorld: one made at first use]
    steps: int | None = None            # optimizer steps
    epochs: float | None = None         # or passes over the data [3]
    batch_size: int = 32                # rows of one optimizer step
    accumulate: int = 1                 # cut each step into this many micro-batches, to save memory
    lr: float | None = None             # peak learning rate [the objective's own]
    optimizer: Literal["adamw", "rmsprop"] = "adamw"    # rmsprop is what the IFT paper used
    weight_decay: float = 0.0           # on matrices only
    warmup: float = 0.1                 # share of the steps in which the rate rises; then it falls as a cosine to 0
    clip: float = 1.0                   # largest gradient norm; 0 = no clipping
    freeze: Literal["none", "half"] = "none"    # half: half of every layer stays as it is (HFT; which half: the seed)
    seed: int = 0                       # draws the demonstrations, their order and every random number
    device: str = "auto"                # auto | cpu | cuda | mps
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = "auto"     # precision of the forward; auto = bf16 on CUDA
    compile: Literal["auto", "on", "off"] = "auto"      # torch.compile; auto = on CUDA, for models above 20M parameters
    threads: int | None = None          # CPU threads
    save_every: int = 50                # steps between checkpoints for --resume; 0 = none
    eval_every: int = 0                 # steps between held-out losses; 0 = only before and after
    reward: str = "exact"               # on-policy: who scores answers: exact (NanoWorld), or nanouft.reward's folder
    max_new: int = 44                   # on-policy: longest answer that is sampled, in tokens
    show_every: int = 25                # on-policy: steps between three printed answers; 0 = none
    items: int = 100                    # NanoWorld prompts a family in the before/after table; 0 = no table
    split: Literal["test", "val"] = "test"      # which of them: val to choose settings, test to report
    out: str | None = None              # run folder [out/<objective>]
    resume: str | None = None           # go on with the run in this folder; takes no other flag

    def check(self) -> None:
        least = dict.fromkeys(("batch_size", "accumulate", "rows", "steps", "max_new"), 1) | dict.fromkeys(
            ("save_every", "eval_every", "show_every", "items", "weight_decay", "clip", "seed", "noise", "warmup"), 0)
        most = {"rows": 1_000_000, "items": 10_000, "noise": 1, "warmup": 1}
        for name, low in least.items():
            value, high = getattr(self, name), most.get(name, math.inf)
            if value is not None and not low <= value <= high:
                raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {low}"
                                + (f" and at most {high:,}" if name in most else ""))
        if not 0 < self.keep <= 1:
            raise UserError(f"--keep {self.keep:g}: must be above 0 and at most 1")
        for name in ("lr", "epochs"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise UserError(f"--{name} {value}: must be above 0")
        if self.steps is not None and self.epochs is not None:
            raise UserError("--steps and --epochs say the same thing twice; give one")
        if self.accumulate > self.batch_size:
            raise UserError(f"--accumulate {self.accumulate}: a step has only --batch-size {self.batch_size} rows")


def read_flags(argv: list[str] | None, about: str = ""):
    """-> (objective name, Train, hyper-parameters, {value: where it came from})."""
    known = config.Parser(add_help=False)
    known.add_argument("--objective")
    known.add_argument("--resume")
    first, others = known.parse_known_args(argv)
    if first.objective == "list":
        return "list", None, None, {}
    if first.resume is not None and not {"-h", "--help"} & set(others):
        if first.objective or others:
            other = "--objective" if first.objective else others[0]
            raise UserError(f"--resume takes no other flag, but {other} was given: every setting comes from run.json")
        return runs.reopen(first.resume, Train)
    name = config.choose("objective", first.objective or "ift", [*OBJECTIVES, "list"])
    objective = OBJECTIVES[name]
    parser = config.Parser(prog="python -m nanouft.train", description=about)
    parser.elsewhere = {f: n for n, o in reversed(OBJECTIVES.items()) for f in config.flags_of(o.hp)}
    parser.add_argument("--objective", default="ift", metavar="NAME",
                        help=f"{', '.join(OBJECTIVES)}, or 'list' for what each needs [ift]; "
                             "--help shows the flags of the one that is named")
    config.add_flags(parser, Train, "the run")
    config.add_flags(parser, objective.hp, f"{name}: {objective.paper}")
    values = vars(parser.parse_args(argv))
    cfg, given = config.fill(Train, values)
    hp, hp_given = config.fill(objective.hp, values)
    cfg.check()
    if hasattr(hp, "check"):
        hp.check(hp_given)
    if cfg.data and (idle := sorted(given & {"rows", "noise", "split", "skills", "mix", "clean"})):
        raise UserError(f"--{idle[0]} belongs to NanoWorld; it changes nothing with --data")
    if objective.source == "epochs" and (idle := sorted(given & {"reward", "max_new", "show_every"})):
        raise UserError(f"--{idle[0].replace('_', '-')} belongs to methods that sample answers (rloo, ppo ...); {name} "
                        "learns from given ones")
    kinds = objective.kinds(hp)
    if cfg.noise and "demos" not in kinds:
        raise UserError(f"--noise spoils demonstrations; {name} learns from {' + '.join(kinds)}")
    curated = sorted(given & {"clean", "keep", "rewrite"})
    if curated and kinds != ["demos"]:
        raise UserError(f"--{curated[0]} chooses demonstrations; {name} learns from {' + '.join(kinds)}")
    if cfg.judge and not (cfg.keep < 1 or cfg.rewrite):
        raise UserError("--judge says whose opinion counts for --keep or --rewrite; give one of them")
    if not cfg.data:
        check_world(cfg, kinds, given)
    if cfg.prompt_field and cfg.prompt_field == cfg.response_field:
        raise UserError(f"--prompt-field and --response-field both name {cfg.prompt_field!r}; they must differ")
    if cfg.warmup == 0 and getattr(hp, "lam_min", None) is not None:
        raise UserError("--lam-min ramps lam over the warm-up, and --warmup is 0: it changes nothing")
    if not cfg.data and given & {"prompt_field", "response_field"}:
        raise UserError("--prompt-field and --response-field name fields of your own file; give it with --data")
    if "size" in given and not cfg.corpus:
        raise UserError("--size is the size of the base that --corpus makes; without --corpus it changes nothing")
    if cfg.corpus and "init" in given:
        raise UserError("--corpus makes a base of its own; it cannot be combined with --init")
    source = {k: "command line" if k in given | hp_given else "default" for k in {**asdict(cfg), **asdict(hp)}}
    if cfg.lr is None:
        cfg.lr, source["lr"] = objective.lr, f"default of {name}"
    return name, cfg, hp, source


def check_world(cfg: Train, kinds: list[str], given: set[str]) -> None:
    """--skills and --mix against the kinds of rows that the objective wants, before anything is made."""
    if "mix" in given and len(kinds) == 1:
        raise UserError(f"--mix shares rows out between kinds, and this objective learns from {kinds[0]} only")
    for flag, kw in (("skills", {"skills": cfg.skills}), ("mix", {"mix": cfg.mix})):
        try:
            world.mixed_rows("train", kinds, len(kinds), 0, **kw)
        except ValueError as e:
            raise UserError(f"--{flag} {getattr(cfg, flag)}: {e}") from None
