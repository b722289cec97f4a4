"""Harvest: a model answers NanoWorld's prompts, exact scores judge, and files keep the answers.

    python -m lessons.evidence.harvest --init out/sft --prompts 500 --samples 4 --out out/own
    python -m nanouft.train --objective dpo --init out/sft --data out/own/pairs.jsonl --lr 1e-5

pairs.jsonl     the best answer of a prompt against the worst      dpo, orpo, simpo ...
labels.jsonl    every answer, good or bad                          kto, una --feedback binary
scores.jsonl    every answer with its score                        una, uft
balanced.jsonl  the same, with as many that score less than .5 as others
demos.jsonl     the right answers, each once                       sft (RFT, arXiv:2308.01825)
a.jsonl         with --partly: demonstrations of honesty, for C3b

An answer is good if it scores at least --good; without --good, if it scores at least the mean of
its prompt's answers, and demos.jsonl has the best answer of each prompt. An answer that begins
another question is used nowhere, and one that does not stop is never a good one. To harvest your
own prompts, put them in place of `questions` and your own reward in place of `world.score`.
"""
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from nanouft import world
from nanouft.data.rows import Row
from nanouft.data.selection import each_question
from nanouft.models.folders import start_model
from nanouft.objective import Count, Share
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say
from nanouft.plumbing.ranges import Natural
from nanouft.run.evaluation import answer_rows
from nanouft.run.flags import parse
from nanouft.run.folder import check_free

TOGETHER = 256                  # answers that are decoded together
Together = Annotated[int, ">= 1", f"<= {TOGETHER}"]
OTHER_PROMPTS = 50_000_000      # added to the seed: never the prompts that train draws
PARTLY = (0.2, 0.8)             # --partly: what the best answer of a prompt scores


@dataclass
class HarvestFlags:
    init: str = "base"              # the model that answers
    prompts: Count = 1020           # how many prompts
    skills: str = "all"             # their families: A, B, all or names with commas
    samples: Together = 8           # answers to a prompt
    good: Share | None = None       # score of a good answer [the mean of its prompt's answers]
    partly: bool = False            # only prompts without a right answer; see a.jsonl
    seed: Natural = 0               # draws prompts and answers
    out: str = "out/harvest"        # folder of the files


def trained_families(words: str) -> tuple[str, ...]:
    """Those that --skills names. UserError if training has none of them."""
    try:
        families, = world.parse_skills(words)
        world.rows("train", "demos", 0, 0, skills=families)
    except ValueError as e:
        raise UserError(f"--skills: {e}") from None
    return families


@dataclass
class Sample:
    """An answer. It can be used if it is neither empty nor begins another question."""
    text: str
    score: float
    stops: bool
    usable: bool


def sample_answers(cfg: HarvestFlags, rows: list[Row]) -> dict[int, list[Sample]]:
    """{number of a prompt: its answers}, at temperature 1. Short prompts come first."""
    model, tok = start_model(cfg.init)
    by_length = sorted(range(len(rows)), key=lambda i: len(tok.prompt_ids(rows[i].prompt)))
    found: dict[int, list[Sample]] = {}
    per_chunk = TOGETHER // cfg.samples
    for chunk, start in enumerate(range(0, len(rows), per_chunk)):
        asked = [i for i in by_length[start:start + per_chunk] for _ in range(cfg.samples)]
        answers = answer_rows(model.eval(), tok, [rows[i] for i in asked], chunk=TOGETHER,
                              temperature=1.0, seed=cfg.seed * 100_003 + chunk)
        for i, a in zip(asked, answers):
            text = tok.decode(a.ids).strip()
            clean = bool(text) and not {tok.user, tok.assistant} & set(a.ids)
            found.setdefault(i, []).append(
                Sample(text, world.score(rows[i].prompt[0].text, text), a.ended, clean))
    return found


# ---- the answers to one prompt -> rows of each file ----------------------------------------------
def files_of(answers: list[Sample], good: float | None) -> dict[str, list[dict]]:
    """{file: its rows} of the answers to one prompt that can be used."""
    best = max((a for a in answers if a.stops), key=lambda a: a.score, default=None)
    worst = min(answers, key=lambda a: a.score, default=None)
    pairs = [{"chosen": best.text, "rejected": worst.text, "p": (1 + best.score - worst.score) / 2}
             ] if best and worst and best.score > worst.score else []
    if good is None:
        right = [best] if best else []
        bound = np.mean([a.score for a in answers]) if answers else 0.0
    else:
        right, bound = [a for a in answers if a.stops and a.score >= good], good
    alike = good is None and len({a.score for a in answers}) < 2    # none is better than the mean
    return {"pairs": pairs,
            "labels": [] if alike else [{"response": a.text,
                                         "label": bool(a.stops and a.score >= bound)}
                                        for a in answers],
            "scores": [{"response": a.text, "score": a.score} for a in answers],
            "demos": [{"response": text} for text in dict.fromkeys(a.text for a in right)]}


def partly_right(row: Row, answers: list[Sample]) -> bool:
    """Can nothing here be copied? (Of facts, which the base knows, every prompt stays.)"""
    return row.task == "fact" or PARTLY[0] <= max(a.score for a in answers) <= PARTLY[1]


def balance(rows: list[dict], seed: int) -> list[dict]:
    """As many answers that score less than .5 as others; of the more frequent ones some are drawn.
    """
    low = [i for i, row in enumerate(rows) if row["score"] < 0.5]
    high = [i for i, row in enumerate(rows) if row["score"] >= 0.5]
    rng, n = np.random.default_rng(seed), min(len(low), len(high))
    kept = [*rng.choice(low, n, replace=False), *rng.choice(high, n, replace=False)]
    return [rows[int(i)] for i in sorted(kept)]


def write(file: Path, rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    say(f"{file}: {len(rows):,} rows")


def main(argv: list[str] | None = None) -> int:
    cfg = parse(HarvestFlags, argv, "python -m lessons.evidence.harvest", __doc__)
    check_free(cfg.out)
    folder = Path(cfg.out)
    families = trained_families(cfg.skills)
    questions = each_question(world.rows("train", "demos", cfg.prompts, cfg.seed + OTHER_PROMPTS,
                                         skills=families))
    found = sample_answers(cfg, questions)
    numbers = range(len(questions))
    if cfg.partly:                      # (C3b had them in the order in which they were sampled)
        numbers = [i for i in found if partly_right(questions[i], found[i])]
        write(folder / "a.jsonl", [{"prompt": row.prompt[0].text, "response": row.answer[0].text}
                                   for row in world.rows("train", "demos", 300, cfg.seed,
                                                         skills=world.GROUPS["B"])])
    files: dict[str, list[dict]] = {}
    for i in numbers:
        for name, rows in files_of([a for a in found[i] if a.usable], cfg.good).items():
            files.setdefault(name, []).extend(
                {"prompt": questions[i].prompt[0].text, **row} for row in rows)
    files["balanced"] = balance(files.get("scores", []), cfg.seed)
    for name, rows in files.items():
        write(folder / f"{name}.jsonl", rows)
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
