"""Arms of a comparison: methods as they were typed, and for each the commands of nanouft.train.

    arm = read_arm("sft+dpo --beta 0.2")        # DPO from the model that SFT makes with this seed
    pace, words = planned(stage, shared, "base")    # what its run would do, or its mistake
"""
import contextlib
import io
import re
import shlex
from typing import NamedTuple

from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError
from nanouft.run import load
from nanouft.run.device import choose_device
from nanouft.run.plan import plan_run
from nanouft.run.settings import read_flags

Stage = tuple[str, ...]         # a method and its flags, as words
NOT_HERE = {"--seed": "--seeds N", "--out": "--out before the methods' flags", "--init": "--init",
            "--data": "--data", "--resume": "the same command again", "--eval-data": "--data"}


class Arm(NamedTuple):
    stages: tuple[Stage, ...]   # one after the other

    @property
    def name(self) -> str:
        """As typed."""
        return "+".join(map(shlex.join, self.stages))

    @property
    def chain(self) -> "list[Arm]":
        """The arms that it starts from, the first one first, and itself."""
        return [Arm(self.stages[:n + 1]) for n in range(len(self.stages))]


def read_arm(text: str) -> Arm:
    try:
        stages = tuple(tuple(shlex.split(part)) for part in re.split(r"\+(?=\s*[^\d\s])", text))
    except ValueError as e:
        raise UserError(f"{text!r}: {e}") from None
    for words in stages:
        if not words or words[0].startswith("-"):
            raise UserError(f"{text!r}: begins with no method; put a method and its flags into "
                            "quotes: \"dpo --beta 0.2\"")
        for word in words:
            if word in NOT_HERE:
                raise UserError(f"{text!r}: {word} is the same for all; give {NOT_HERE[word]} "
                                "outside the quotes")
    return Arm(stages)


class Pace(NamedTuple):
    """What a stage trains with."""
    rate: float                 # its own, or that of its flags
    batch_size: int
    steps: int
    rows: int                   # rows that it can read
    answers: int                # of a row: two of a pair; of a prompt those that it samples
    needs_others: bool          # does it train other models first?


def planned(stage: Stage, shared: dict[str, list[str]], init: str) -> tuple[Pace, list[str]]:
    """(what the run of a stage would do, the shared flags that it reads). UserError for whatever
    would end it at its start."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            objective, *_ = read_flags(["--objective", *stage])
            words = words_for(stage, shared, objective)
            objective, cfg, given = read_flags(["--objective", stage[0], *words, *stage[1:],
                                                "--init", init])
            device = choose_device(cfg.device, cfg.dtype, cfg.threads)
            model, tok = load.open_model(cfg, objective, device)
            plan = plan_run(cfg, objective, given, load.load_rows(cfg, objective), model, tok)
    except UserError as e:
        raise UserError(f"{shlex.join(stage)}: {e}") from None
    except SystemExit:
        raise UserError(f"{shlex.join(stage)}: is no method; --objective list of nanouft.train "
                        "names them") from None
    answers = sum(role in ("chosen", "rejected", "answer", "demo") for role in plan.train[0].seqs)
    first = objective.first_models
    return Pace(plan.rate, plan.batch_size, plan.steps, len(plan.train),
                max(1, answers) * objective.samples,
                first is not None and getattr(objective, first.setting) is None), words


def words_for(stage: Stage, shared: dict[str, list[str]], objective: Objective) -> list[str]:
    """The shared flags that this stage reads: --reward and --max-new are of methods that sample,
    --noise of those that read demonstrations. Its own flags win."""
    gone = {"--noise"} if "demos" not in objective.kinds() else set()
    gone |= {"--reward", "--max-new"} if not objective.on_policy else set()
    gone |= {"--steps", "--epochs"} if {"--steps", "--epochs"} & {*stage} else set()
    return [word for flag, words in shared.items() if flag not in gone for word in (flag, *words)]
