"""Arms of a comparison: methods as they were typed, and for each the commands of nanouft.train.

    arms = read_arms(["sft", "new=mine.py --gamma 2", "sft+dpo --beta 0.2"])
    pace, words = planned(stage, shared, "base")    # what its run would do, or its mistake
"""
import contextlib
import io
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from nanouft.objective import Objective
from nanouft.objectives import find
from nanouft.plumbing.errors import UserError
from nanouft.run import load
from nanouft.run.device import choose_device, exact_if_small
from nanouft.run.plan import plan_run
from nanouft.run.settings import read_flags

Stage = tuple[str, ...]         # a method and its flags, as words
OUTSIDE = {"--out": "--out", "--init": "--init", "--data": "--data", "--eval-data": "--data",
           "--rows": "--rows", "--skills": "--skills", "--noise": "--noise",
           "--device": "--device", "--dtype": "--dtype", "--seed": "--seeds N",
           "--resume": "the same command again"}
NAMED = re.compile(r"\s*([^\W\d][\w.-]*)=(?=\S)")


class Arm(NamedTuple):
    stages: tuple[Stage, ...]   # one after the other, as sft+dpo
    label: str = ""             # of NAME=METHOD
    copy: int = 0               # of methods that are named twice, so that seeds differ: 0, 1 ...

    @property
    def words(self) -> str:
        """The methods as typed, without the name."""
        return "+".join(map(shlex.join, self.stages))

    @property
    def name(self) -> str:
        return self.label or self.words

    @property
    def typed(self) -> str:
        return f"{self.label}={self.words}" if self.label else self.words

    @property
    def chain(self) -> "list[Arm]":
        """The arms that it starts from, the first one first, and itself."""
        return [*(Arm(self.stages[:n], "", self.copy) for n in range(1, len(self.stages))), self]


def read_arms(texts: list[str]) -> list[Arm]:
    """Two or more. The same method under two names trains with other seeds: noise."""
    arms: list[Arm] = []
    for text in texts:
        arm = read_arm(text)
        twins = sum(arm.stages == other.stages for other in arms)
        if arm.name in [other.name for other in arms]:
            raise UserError(f"{arm.name}: is named twice; a={arm.words} b={arm.words} trains it "
                            "twice, with other seeds, and shows the noise")
        arms.append(arm._replace(copy=twins))
    if len(arms) < 2:
        raise UserError("name two methods or more: python -m nanouft.compare sft dpo")
    return arms


def read_arm(text: str) -> Arm:
    label = NAMED.match(text)
    rest = text[label.end():] if label else text
    try:
        stages = tuple(tuple(shlex.split(part)) for part in re.split(r"\+(?=\s*[^\d\s])", rest))
    except ValueError as e:
        raise UserError(f"{text!r}: {e}") from None
    for words in stages:
        if not words or words[0].startswith("-"):
            raise UserError(f"{text!r}: does not begin with a method; put method and flags into "
                            "quotes: \"dpo --beta 0.2\"")
        for word in words:
            if (flag := word.partition("=")[0]) in OUTSIDE:
                raise UserError(f"{text!r}: {flag} is the same for all; give {OUTSIDE[flag]} "
                                "outside the quotes")
    return Arm(stages, label[1] if label else "")


@contextlib.contextmanager
def told_of(stage: Stage) -> Iterator[None]:
    """A UserError names the stage."""
    try:
        yield
    except UserError as e:
        raise UserError(f"{shlex.join(stage)}: {e}") from None


def check_names(arms: list[Arm]) -> None:
    """UserError for a name that is not a method."""
    for stage in (stage for arm in arms for stage in arm.stages):
        with told_of(stage):
            find(stage[0])


class Pace(NamedTuple):
    """What a stage trains with."""
    rate: float                 # its own, or that of its flags
    batch_size: int
    steps: int
    rows: int                   # rows that it can read
    answers: int                # of a row: two of a pair; of a prompt those that it samples
    needs_others: bool          # does it train other models first?
    device: str
    dtype: str                  # precision


def planned(stage: Stage, shared: dict[str, list[str]], init: str) -> tuple[Pace, list[str]]:
    """(what the run of a stage would do, the shared flags that it reads). UserError for whatever
    would end it at its start."""
    try:
        with (told_of(stage), contextlib.redirect_stdout(io.StringIO()),
              contextlib.redirect_stderr(io.StringIO())):
            objective, *_ = read_flags(["--objective", *stage])
            words = words_for(stage, shared, objective)
            objective, cfg, given = read_flags(["--objective", stage[0], *words, *stage[1:],
                                                "--init", init])
            device = choose_device(cfg.device, cfg.dtype, cfg.threads)
            rows = load.load_rows(cfg, objective)
            model, tok = load.open_model(cfg, objective, device)
            if not cfg.lora:
                device = exact_if_small(device, cfg.dtype, model.n_params())
            plan = plan_run(cfg, objective, given, rows, model, tok)
    except SystemExit:
        raise UserError(f"{shlex.join(stage)}: is not a method; nanouft.train --objective list "
                        "names them") from None
    answers = sum(role in ("chosen", "rejected", "answer", "demo") for role in plan.train[0].seqs)
    first = objective.first_models
    return Pace(plan.rate, plan.batch_size, plan.steps, len(plan.train),
                max(1, answers) * objective.samples,
                first is not None and getattr(objective, first.setting) is None,
                device.name, device.dtype), words


def words_for(stage: Stage, shared: dict[str, list[str]], objective: Objective) -> list[str]:
    """The shared flags that this stage reads: --reward and --max-new are of methods that sample,
    --noise of those that read demonstrations. Its own flags win."""
    gone = {"--noise"} if "demos" not in objective.kinds() else set()
    gone |= {"--reward", "--max-new"} if not objective.on_policy else set()
    gone |= {"--steps", "--epochs"} if {"--steps", "--epochs"} & {*stage} else set()
    return [word for flag, words in shared.items() if flag not in gone for word in (flag, *words)]
