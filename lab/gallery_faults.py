"""The mistakes of the gallery that no flag of train can make: a few lines each, planted while a run trains or answers.

    with FAULTS["no end token"]():          # train.main(...) now makes this mistake
        train.main(argv)

Faults in a batch change what the loss sees, faults in the order what stands in a step, faults in the objective the loss
itself, faults in the question what the trained model is asked. The reward is a function as a user would write it
(--reward FILE.py:FUNCTION).
"""
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from unittest.mock import patch

import numpy as np

from nanouft import world
from nanouft.data.batches import Epochs, collate
from nanouft.data.tokenizer import Tokenizer, nano
from nanouft.objective import Batch
from nanouft.objectives import OBJECTIVES
from nanouft.world.tasks import I_DO_NOT_KNOW


# ---- faults in the batch ---------------------------------------------------------------------------------------------
def no_end(batch: Batch) -> Batch:
    """Rows stand one after the other without <|end|>: what follows an answer is the next question."""
    for s in batch.seqs.values():
        s.targets = s.targets.masked_fill(s.targets == nano().end, nano().user)
    return batch


def not_shifted(batch: Batch) -> Batch:
    """The target of each place is the token that the model reads there, not the next one."""
    for s in batch.seqs.values():
        s.targets = s.inputs
    return batch


def mask_too_late(batch: Batch) -> Batch:
    """The mask begins one token late: the first token of the answer is not trained."""
    for s in batch.seqs.values():
        first = s.mask.argmax(-1)                       # (B,) the first token of each answer
        s.mask[range(len(first)), first] = 0
    return Batch.of(batch.seqs, batch.col)


def swapped(batch: Batch) -> Batch:
    """The columns "chosen" and "rejected" are mixed up."""
    seqs = {"chosen": batch.seqs["rejected"], "rejected": batch.seqs["chosen"]}
    return Batch.of(seqs, batch.col)


def sorted_by_task(epochs: Epochs, step: int) -> Batch:
    """The step of a file that is sorted by task and read from top to bottom."""
    data, rows = sorted(epochs.data, key=lambda e: e.example.family), len(epochs.plan[step])
    return collate(data, np.arange(step * rows, (step + 1) * rows) % len(data), epochs.pad)


def steps_of(batch_at: Callable[[Epochs, int], Batch]) -> AbstractContextManager:
    return patch.object(Epochs, "__call__", batch_at)


def changed(change: Callable[[Batch], Batch]) -> AbstractContextManager:
    """Each batch goes through `change` first."""
    right = Epochs.__call__
    return steps_of(lambda epochs, step: change(right(epochs, step)))


# ---- a fault in the objective ----------------------------------------------------------------------------------------
def moving_reference() -> AbstractContextManager:
    """DPO whose reference is the model that is trained: at each step both give the same log-probs."""
    dpo = OBJECTIVES["dpo"]

    def loss(batch: Batch, hp):
        for s in batch.seqs.values():
            s.ref = s.logp.detach()
        return dpo.loss(batch, hp)
    return patch.dict(OBJECTIVES, dpo=replace(dpo, loss=loss))


# ---- a fault in the question -----------------------------------------------------------------------------------------
def other_template() -> AbstractContextManager:
    """The question as plain text, "User: ... Assistant:", where the model was trained with control tokens."""
    def prompt_ids(self: Tokenizer, turns) -> list[int]:
        return self.encode(f" User: {turns[-1].text} Assistant:")
    return patch.object(Tokenizer, "prompt_ids", prompt_ids)


FAULTS: dict[str, Callable[[], AbstractContextManager]] = {
    "no end token": partial(changed, no_end),
    "targets not shifted": partial(changed, not_shifted),
    "mask too late": partial(changed, mask_too_late),
    "columns swapped": partial(changed, swapped),
    "sorted by task": partial(steps_of, sorted_by_task),
    "moving reference": moving_reference,
    "other template": other_template,
}


# ---- a reward that can be hacked ------------------------------------------------------------------------------------
def never_wrong(prompts: list[str], answers: list[str]) -> list[float]:
    """1 for an answer that says nothing false: a right one, or "I do not know."."""
    return [max(world.score(p, a), float(a == I_DO_NOT_KNOW)) for p, a in zip(prompts, answers)]
