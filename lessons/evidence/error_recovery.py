"""Does a model recover from a wrong first word that it is given? (R12, lesson 04)

    python -m lessons.evidence.error_recovery base out/ift     # how often each does

The right answer to "Say hen cow pig bee saw backwards." is "saw bee pig cow hen". The model is told
that it has begun with "cow", a later word, and continues greedily. It recovers if all the rest is
right from the second word on, "bee pig cow hen", and it stops there. So it neither inserts the
skipped word nor continues from the place where "cow" belongs.

It is tested on tasks in which one answer is right, so not on lists. All models get the same wrong
words.
"""
import sys
from dataclasses import dataclass

import numpy as np

from lessons.evidence.plan import FAMILIES, MANY_RIGHT
from nanouft import world
from nanouft.data.rows import Row
from nanouft.generate import generate, stops
from nanouft.gpt import GPT
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Count
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say
from nanouft.plumbing.ranges import Natural
from nanouft.run.flags import parse

ROWS_PER_BATCH = 100        # answers that are decoded together
TASKS = tuple(name for name in FAMILIES if name != MANY_RIGHT)


@dataclass
class RecoveryFlags:
    models: list[str] | None = None     # folders of models that know NanoWorld, or base
    items: Count = 100                  # test questions of each task
    seed: Natural = 0                   # draws them


def wrong_first(right: list[str], number: int) -> str:
    """A word of the right answer that its first two are not: the third, fourth ... in turn, by the
    number of the question. In an answer of two words it is the second."""
    later = [word for word in right[2:] if word not in right[:2]] or right[1:2]
    return later[number % len(later)].rstrip(".")


def recovers(model: GPT, tok: Tokenizer, rows: list[Row], longest: int) -> np.ndarray:
    """(n,) 1 for each question after whose wrong first word the rest of the answer is right."""
    is_right: list[bool] = []
    for first in range(0, len(rows), ROWS_PER_BATCH):
        batch = rows[first:first + ROWS_PER_BATCH]
        right = [world.right_answer(row.prompt[0].text).split() for row in batch]
        prompts = [tok.prompt_ids(row.prompt) + tok.encode(f" {wrong_first(words, number)}")
                   for number, (row, words) in enumerate(zip(batch, right), first)]
        answers = generate(model, prompts, stop=tok.stops, pad=tok.pad, max_new=longest)
        is_right += [stops(answer, tok) and tok.decode(answer.ids).split() == words[1:]
                     for answer, words in zip(answers, right)]
    return np.array(is_right, np.uint8)


def main(argv: list[str] | None = None) -> int:
    cfg = parse(RecoveryFlags, argv, "python -m lessons.evidence.error_recovery", __doc__,
                words="models")
    if not cfg.models:
        raise UserError("name a model, such as base or out/ift")
    rows = world.rows("test", "prompts", cfg.items * len(TASKS), cfg.seed, skills=TASKS)
    for name in cfg.models:
        model, tok = start_model(name)
        found = recovers(model.eval(), tok, rows, 44)
        say(f"{name}: recovers in {100 * found.mean():.1f} % of {len(rows):,} responses")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
