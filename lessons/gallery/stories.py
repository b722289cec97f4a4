"""The fifteen stories of the gallery as data: the two runs, the figure that shows the mistake,
and the mistakes.

The words are in page.md, a section a story, in the same order. {bad[mean]:.0%} there is a figure of
the faulty run, {good[mean]:.0%} of the repaired one; curves end in figures, too. Titles tell what
is seen, not why.
A mistake that no flag of train can make is planted while a run trains or answers: a context manager
of a few lines.
"""
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np

from nanouft import world
from nanouft.data.batches import Epochs, collate
from nanouft.data.tokenizer import Tokenizer, nano
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES
from nanouft.world.tasks import I_DO_NOT_KNOW

Fault = Callable[[], AbstractContextManager]


# ---- mistakes in what the loss sees --------------------------------------------------------------
def in_batch(change: Callable[[Batch], Batch]) -> Fault:
    """Each batch goes through `change` first."""
    right = Epochs.__call__
    return lambda: patch.object(Epochs, "__call__",
                                lambda epochs, step: change(right(epochs, step)))


@in_batch
def no_end(batch: Batch) -> Batch:
    """Rows stand one after the other without <|end|>: what follows an answer is the next
    question."""
    for s in batch.seqs.values():
        s.targets = s.targets.masked_fill(s.targets == nano().end, nano().user)
    return batch


@in_batch
def not_shifted(batch: Batch) -> Batch:
    """The target of each place is the token that the model reads there, not the next one."""
    for s in batch.seqs.values():
        s.targets = s.inputs
    return batch


@in_batch
def mask_too_late(batch: Batch) -> Batch:
    """The mask begins one token late: the first token of the answer is not trained."""
    for s in batch.seqs.values():
        first = s.mask.argmax(-1)                       # (B,) the first token of each answer
        s.mask[range(len(first)), first] = 0
    return Batch.of(batch.seqs, batch.per_row)


@in_batch
def swapped(batch: Batch) -> Batch:
    """The columns "chosen" and "rejected" are mixed up."""
    seqs = {"chosen": batch.seqs["rejected"], "rejected": batch.seqs["chosen"]}
    return Batch.of(seqs, batch.per_row)


def sorted_by_task() -> AbstractContextManager:
    """The steps of a file that is sorted by task and read from top to bottom."""
    def batch_at(epochs: Epochs, step: int) -> Batch:
        data, rows = sorted(epochs.data, key=lambda e: e.row.family), len(epochs.plan[step])
        return collate(data, np.arange(step * rows, (step + 1) * rows) % len(data), epochs.pad)
    return patch.object(Epochs, "__call__", batch_at)


# ---- mistakes elsewhere --------------------------------------------------------------------------
def moving_reference() -> AbstractContextManager:
    """DPO whose reference is the model that is trained: at each step both give the same
    log-probs."""
    dpo = OBJECTIVES["dpo"]

    def loss(batch: Batch, hp):
        for s in batch.seqs.values():
            s.ref_logp = s.logp.detach()
        return dpo.loss(batch, hp)
    return patch.dict(OBJECTIVES, dpo=replace(dpo, loss=loss))


def other_template() -> AbstractContextManager:
    """The question as plain text, "User: ... Assistant:", where the model was trained with control
    tokens."""
    def prompt_ids(self: Tokenizer, turns) -> list[int]:
        return self.encode(f" User: {turns[-1].text} Assistant:")
    return patch.object(Tokenizer, "prompt_ids", prompt_ids)


def never_wrong(prompts: list[str], answers: list[str]) -> list[float]:
    """A reward that can be hacked: 1 for an answer that says nothing false, a right one, or "I do
    not know."."""
    return [max(world.score(p, a), float(a == I_DO_NOT_KNOW)) for p, a in zip(prompts, answers)]


def last_word(prompts: list[str], answers: list[str]) -> list[float]:
    """A reward for the result alone: 1 if the last word is the right one."""
    def last(text: str) -> str:
        return (text.split() or [""])[-1]
    return [float(last(a) == last(world.reference(p))) for p, a in zip(prompts, answers)]


def two_forms() -> AbstractContextManager:
    """Not a mistake: of the demonstrations six in ten have all their words, the others say the
    last one at once."""
    right, rng = world.mixed_rows, random.Random(0)

    def shorter(row):
        *before, said = row.answer
        short = said._replace(text=said.text.split()[-1])
        return row if rng.random() < 0.6 else replace(row, answer=(*before, short))
    return patch.object(world, "mixed_rows",
                        lambda *args, **more: [shorter(row) for row in right(*args, **more)])


def in_brackets(prompts: list[str], answers: list[str]) -> list[float]:
    """A reward for a right answer in brackets, as "[bee pig]"."""
    return [float(a[:1] + a[-1:] == "[]" and world.score(p, a[1:-1]) == 1)
            for p, a in zip(prompts, answers)]


# ---- the stories ---------------------------------------------------------------------------------
SFT = "--objective sft"
DPO = "--objective dpo"
RLOO = ("--objective rloo --lr 1e-4 --steps 40 --batch-size 16 --skills truth,unknown,fact "
        "--eval-every 0 --show-every 0")
GRPO = "--objective grpo --beta 0 --batch-size 16 --eval-every 0 --show-every 0"
HARD = f"{GRPO} --lr 3e-4 --steps 60 --skills reverse --reward"
STEPS = ("--objective grpo --skills sum --lr 2e-4 --steps 24 --batch-size 8 --samples 8 --beta 0 "
         "--reward stories.py:last_word --eval-every 0 --show-every 0")
FEW = "--objective sft --rows 30 --batch-size 15 --lr 1e-3"
LOSSES, WON = (("loss", "held_out.nll"),), (("loss",), ("accuracy", "held_out.accuracy"))
Panels = tuple[tuple[str, ...], ...]        # curves that share a panel


@dataclass(frozen=True)
class Story:
    name: str
    lesson: str                         # number of the lesson that explains it
    faulty: str                         # flags of train
    repaired: str
    figure: str                         # the fault is seen in this figure ...
    gap: float                          # ... which the repair changes by at least this much
    panels: Panels = LOSSES
    families: tuple[str, str, str] = ("list", "sort", "fact")       # whose first prompts are asked
    fault: Fault = nullcontext          # planted while the faulty run trains
    asked: Fault = nullcontext          # planted while its model is asked
    after: str = ""                     # flags of the run that both start from [the base]
    shown: Fault = nullcontext          # changes what that run is shown; not a mistake
    unseen: tuple[str, ...] = ()        # curves drawn only with the repair, dashed

    @property
    def seen(self) -> Panels:
        """The panels with the curves that the author had."""
        panels = (tuple(name for name in panel if name not in self.unseen)
                  for panel in self.panels)
        return tuple(panel for panel in panels if panel)

    def shows(self, made: dict) -> bool:
        """Is the fault seen in the faulty run and gone in the repaired one?"""
        change = made["repaired"]["figures"][self.figure] - made["faulty"]["figures"][self.figure]
        return change >= self.gap if self.gap > 0 else change <= self.gap


STORIES = (
    Story("endless", "03", SFT, SFT, "stops", 0.5, fault=no_end),
    Story("nothing", "01", SFT, SFT, "mean", 0.3, fault=not_shifted),
    Story("certain", "03", SFT, SFT, "unknown", 0.15, LOSSES, ("unknown", "fact", "sort"),
          fault=mask_too_late),
    Story("strangers", "00", SFT, SFT, "mean", 0.3, LOSSES, ("sum", "truth", "fact"),
          asked=other_template),
    Story("stutter", "00", f"{SFT} --lr 3e-2", SFT, "mean", 0.3),
    Story("waves", "16", SFT, SFT, "mean", 0.07, LOSSES, ("reverse", "sum", "unknown"),
          fault=sorted_by_task),
    Story("scissors", "16", f"{FEW} --steps 200", f"{FEW} --steps 10 --eval-every 2",
          "held_out.nll", -0.2, LOSSES, ("sum", "sort", "fact")),
    Story("halfway", "11", f"{SFT} --noise 0.4", f"{SFT} --noise 0.4 --keep 0.6", "mean", 0.05,
          LOSSES, ("truth", "sort", "reverse")),
    Story("modest", "07", DPO, f"{DPO} --beta 10", "fact", 0.4, WON, ("fact", "truth", "sort"),
          after=SFT),
    Story("flat", "07", f"{DPO} --beta 10", f"{DPO} --beta 10", "fact", 0.4,
          (("loss",), ("held_out.logp_chosen",)),
          ("fact", "truth", "sort"), fault=moving_reference, after=SFT),
    Story("backwards", "07", DPO, DPO, "held_out.accuracy", 0.4, WON, ("sort", "sum", "truth"),
          fault=swapped),
    Story("perfect", "13", f"{RLOO} --reward stories.py:never_wrong", RLOO, "fact", 0.4,
          (("reward", "score"),), ("fact", "truth", "unknown"), after=SFT, unseen=("score",)),
    Story("zero", "14", f"{GRPO} --lr 1e-4 --skills sort,truth,fact --steps 8",
          f"{GRPO} --lr 1e-4 --skills sort,truth,fact --steps 60", "mean", 0.05,
          (("loss",), ("reward",)), ("sort", "truth", "fact"), unseen=("reward",)),
    Story("still", "14", f"{HARD} stories.py:in_brackets", f"{HARD} exact",
          "reverse", 0.2, (("reward", "ties"),), ("reverse", "rules", "list"), unseen=("ties",)),
    Story("shorter", "18", f"{STEPS} --max-new 8", f"{STEPS} --max-new 44", "length", 8,
          (("length",), ("reward", "ends")), ("sum", "sort", "reverse"),
          after="--objective sft --skills sum,sort,reverse --rows 900 --steps 168 --lr 1e-3",
          shown=two_forms, unseen=("ends",)),
)
