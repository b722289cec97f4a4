"""A second world: two-step sums in words with worked solutions (examples/gsm8k_reward.py), as files
and as an exam.

    write(Path("out/mine"), seed=0)                 # demos-30.jsonl ... questions-1000.jsonl
    found, items = scored(model, tok, "test", 300)  # greedy answers; is the last number right?

A cell with world "sums" (cell.py) is trained on such files, "{world}" in its flags, and scored by
this exam.
"""
import random
import runpy
from functools import lru_cache, partial
from pathlib import Path

import torch

from lab.probes import seqs_of
from nanouft.data.rows import Row, Turn
from nanouft.data.tokenizer import Tokenizer
from nanouft.eval import scores
from nanouft.gpt import GPT
from nanouft.rewards.scorer import scorer
from nanouft.run.storage import Lines
from nanouft.sampling import answer_rows, stops

EXAMPLE, RIGHT = "examples/gsm8k_reward.py", "examples/gsm8k_reward.py:right"
ERRS = "examples/judge_that_errs.py"
DEMOS, QUESTIONS = (30, 100, 300, 1000), (250, 1000)
ITEMS = {"test": 300, "val": 200}
FIELDS = "--prompt-field question --response-field answer"
DONE = f"questions-{QUESTIONS[-1]}.jsonl"


def errs(share: float, prompts: list[str], answers: list[str], answer: list[str]) -> list[float]:
    """The scores of a judge who errs in this share of all answers, as
    examples/judge_that_errs.py."""
    return runpy.run_path(ERRS)["turned"](share, prompts, answers,
                                          scorer(RIGHT)(prompts, answers, answer=answer))


errs_5, errs_15, errs_30 = (partial(errs, share) for share in (0.05, 0.15, 0.30))


@lru_cache
def split(name: str) -> list[dict]:
    """[{"question", "answer"}] of test, val or learn: 7,000 of the 7,290 that there are, each in
    one of the three."""
    question, rng, made = runpy.run_path(EXAMPLE)["question"], random.Random("sums"), {}
    while len(made) < 7000:
        row = question(rng)
        made[row["question"]] = row
    rows, test, both = list(made.values()), ITEMS["test"], sum(ITEMS.values())
    return {"test": rows[:test], "val": rows[test:both], "learn": rows[both:]}[name]


def write(place: Path, seed: int) -> None:
    """The files of a seed: the first n demonstrations, and the first n of as many other
    questions."""
    rows = random.Random(seed).sample(split("learn"), DEMOS[-1] + QUESTIONS[-1])
    for n in DEMOS:
        Lines(place / f"demos-{n}.jsonl").rewrite(rows[:n])
    for n in QUESTIONS:
        Lines(place / f"questions-{n}.jsonl").rewrite(rows[DEMOS[-1]:DEMOS[-1] + n])


@torch.no_grad()
def scored(model: GPT, tok: Tokenizer, name: str, items: int) -> tuple[dict, list[scores.Item]]:
    """As eval/scores.families, of the first questions of a split."""
    asked = split(name)[:items]
    rows = [Row((Turn("user", q["question"]),), (Turn("assistant", q["answer"]),)) for q in asked]
    answers = answer_rows(model.eval(), tok, rows)
    texts = [tok.decode(a.ids).strip() for a in answers]
    right = scorer(RIGHT)([q["question"] for q in asked], texts,
                          answer=[q["answer"] for q in asked])
    done = [scores.Item("sums", q["question"], text, float(r), stops(a, tok), len(a.ids), None)
            for q, text, r, a in zip(asked, texts, right, answers)]
    s = seqs_of([q["answer"] for q in asked], rows, model, tok)
    gold = model(s.inputs, want="logp", targets=s.targets)[s.mask.bool()].mean()
    return {"sums": {**scores.summary(done), "gold_logp": float(gold)}}, done
