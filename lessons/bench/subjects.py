"""What the bench measures: the base after SFT or a real model, and our optimizer steps on it.

    next(our_steps("dpo", nano()))          # one step, as nanouft.train makes it
"""
import contextlib
import copy
import io
from collections.abc import Iterator
from dataclasses import dataclass

from lessons.evidence import train
from nanouft import world
from nanouft.data.batches import Batching, RowSource, encode
from nanouft.generate import MAX_NEW
from nanouft.loop import Step, Update, make_optimizer, steps
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.reference import FrozenModels


@dataclass(frozen=True)
class Subject:
    """A model, and how much it has to do."""
    folder: str
    rows: int           # of an optimizer step; prompts of a step of GRPO
    turns: int          # steps that are counted; one before them prepares memory


def nano() -> Subject:
    """The base after SFT, which is trained once. Its bar is shown."""
    with contextlib.redirect_stdout(io.StringIO()):
        sft = "out/bench/sft"
        train.make({sft: ["nanouft.train", "--objective", "sft", "--seed", "0", "--init", "base",
                          *train.MORE, "--out", sft]})
    return Subject(sft, rows=32, turns=6)


def real(folder: str) -> Subject:
    return Subject(folder, rows=8, turns=3)


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Takes what a training prints, its bar included: it does not stand in the table."""
    silent = io.StringIO()
    with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
        yield silent


def our_steps(name: str, subject: Subject) -> Iterator[Step]:
    """The optimizer steps of nanouft.train, on NanoWorld's rows."""
    (model, tok), objective = start_model(subject.folder), OBJECTIVES[name]()
    optimizer = make_optimizer(model, objective.lr, fused=True)
    n = subject.rows * (1 + subject.turns)
    rows = objective.choose(world.mixed_rows("train", objective.kinds(), n, 0))
    encoded, _ = encode(rows, tok, model.cfg.n_ctx - MAX_NEW)
    batching = Batching(subject.rows, steps=96)
    if objective.on_policy:
        start = copy.deepcopy(model).requires_grad_(False)
        source = Rollouts(encoded, objective, Sampler(model, start, tok),
                          world.exact_scores, batching)
    else:
        encoded = FrozenModels(model, tok.pad).prepare(encoded, objective)
        source = RowSource(encoded, batching, tok.pad)
    return steps(model, objective, source, Update(optimizer, clip=1.0), range(96))
