"""C18's gate: does a real model answer better with a demonstration in its prompt?

    python -m lessons.evidence.demo_in_prompt out/smollm2       # 60 questions twice, some minutes

Self-distillation (SDFT, arXiv:2601.19897) has no second model. The teacher is the model itself with
a right answer to the question in its prompt, and the student learns from its probabilities. So it
can teach only if the demonstration helps. The rule, written before the figures: C18 is run if the
mean score of six tasks rises by 10 points or more. Otherwise SDFT has nothing to teach here.
"""
import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from lessons.evidence.plan import SKILLS
from nanouft import world
from nanouft.data.rows import Row
from nanouft.gpt import GPT
from nanouft.models.folders import start_model
from nanouft.models.tokenizer import Tokenizer, Turn
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.run.evaluation import answer_rows, bootstrap

TASKS = (*SKILLS, "rules_new")          # those that need no facts
ITEMS, GATE = 10, 10.0                  # questions of each task; points
WITH = ("{question}\n\nHere is an example of a right answer:\n{demonstration}\n\n"
        "Now answer the question yourself.")


def show_demonstration(row: Row) -> Row:
    question = row.prompt[-1].text
    text = WITH.format(question=question, demonstration=world.right_answer(question))
    return replace(row, prompt=(Turn("user", text),))


def scores(model: GPT, tok: Tokenizer, asked: list[Row], questions: list[str]) -> np.ndarray:
    """(rows,) points of 100 of greedy answers."""
    answers = answer_rows(model, tok, asked, max_new=64)
    texts = [tok.decode(a.ids).strip() for a in answers]
    for question, text in list(zip(questions, texts))[::2 * ITEMS]:
        say(f"  {question}\n    -> {text[:80]!r}")
    return np.array([100 * world.score(q, text) for q, text in zip(questions, texts)])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.evidence.demo_in_prompt",
                                     description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="a model, for example out/smollm2")
    model, tok = start_model(str(parser.parse_args(argv).folder))
    rows = world.rows("test", "prompts", ITEMS * len(TASKS), 31, skills=TASKS)
    questions = [row.prompt[-1].text for row in rows]
    without = scores(model, tok, rows, questions)
    beside = scores(model, tok, [show_demonstration(row) for row in rows], questions)
    low, high = bootstrap(beside - without)
    gain = float((beside - without).mean())
    say(f"without {without.mean():.1f}, with a demonstration {beside.mean():.1f}: {gain:+.1f} "
        f"points (95 % interval {low:+.1f} to {high:+.1f}, {len(rows)} questions). "
        f"{'C18 is run.' if gain >= GATE else 'C18 is not run.'}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
