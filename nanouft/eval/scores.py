"""NanoWorld's exact scores of a model: greedy answers, scored by rule, no judge.

    found, items = families(model, tok, device, split="test", items=100)       # {family: {"score": ...}}, the answers
    table(before, after)                                                       # printed

`score` is the share of an answer's checkable constraints that hold, `strict` the share of answers that are fully right
AND stop. What is scored is everything said until <|end|>: a model that answers and runs on is scored on what the user
would see. Intervals are 95 % bootstrap intervals over prompts (over facts, where several prompts ask for one); they say
nothing about another seed of training.
"""
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import Row, demo_rows
from nanouft.data.tokenizer import Tokenizer
from nanouft.eval.held_out import token_logps
from nanouft.eval.stats import bootstrap
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.sampling import Answer, answer_rows, stops
from nanouft.world.facts import read_question


@dataclass
class Item:
    family: str
    prompt: str
    answer: str
    score: float
    ended: bool             # says <|end|>, and no other control token before it
    length: int             # tokens, without <|end|>
    gold_logp: float | None     # nats per token of the reference answer, if it fits into the context


def families(model: GPT, tok: Tokenizer, device: Device, split: str = "test", items: int = 100, seed: int = 0,
             answer: Callable[[list[Row]], list[Answer]] | None = None) -> tuple[dict, list[Item]]:
    """Answer `items` prompts of every family -> ({family: what `summary` says}, the answered items). Answers are greedy
    unless answer(rows) gives others."""
    rows = world.rows(split, "prompts", items * len(world.FAMILIES), seed)
    answers = answer(rows) if answer else answer_rows(model, tok, rows)
    examples = demo_rows(rows, None)
    encoded, _ = encode(examples, tok, model.cfg.n_ctx)                 # a row that does not fit is left out
    gold = {id(e.row): float(g["answer"].mean())
            for e, g in zip(encoded, token_logps(model, encoded, tok.pad, device))}
    done = []
    for row, example, a in zip(rows, examples, answers, strict=True):
        prompt, said = row.prompt[-1].text, tok.decode(a.ids).strip()
        done.append(Item(row.family, prompt, said, world.score(prompt, said), stops(a, tok), len(a.ids),
                         gold.get(id(example))))
    return {f: summary([x for x in done if x.family == f]) for f in world.FAMILIES}, done


def exam(model: GPT, tok: Tokenizer, device: Device, split: str, items: int) -> dict:
    """What eval.json keeps: the families, their mean, one answer of three of them."""
    found, answered = families(model, tok, device, split, items)
    firsts = [next(x for x in answered if x.family == f) for f in ("truth", "list", "sum")]
    samples = [{"prompt": x.prompt, "reference": world.reference(x.prompt), "answer": x.answer, "score": x.score,
                "ended": x.ended} for x in firsts]
    return {"families": found, "mean": mean_score(found), "samples": samples}


def summary(items: list[Item]) -> dict:
    """{score, low, high (its interval), strict, ends, length, gold_logp, n} of one family."""
    scores, groups = [x.score for x in items], {}
    for x in items:                             # questions about one fact in several wordings stand or fall together
        groups.setdefault(read_question(x.prompt) or x.prompt, []).append(x.score)
    gold = [x.gold_logp for x in items if x.gold_logp is not None]
    low, high = bootstrap([sum(g) for g in groups.values()], [len(g) for g in groups.values()])
    return {"score": float(np.mean(scores)), "low": low, "high": high,
            "strict": float(np.mean([x.score == 1 and x.ended for x in items])),
            "ends": float(np.mean([x.ended for x in items])), "length": float(np.mean([x.length for x in items])),
            "gold_logp": float(np.mean(gold)) if gold else None, "n": len(items)}


def mean_score(result: dict) -> float:
    return float(np.mean([f["score"] for f in result.values()]))


def table(before: dict, after: dict | None = None, say: Callable = print) -> None:
    """The before/after table of a run, in percent."""
    cols = [before] + ([after] if after else [])
    titles = ("before", "after") if after else ("now",)
    say(f"{'family':<11}" + "".join(f"{t:>28} " for t in titles) + ("   gain" if after else ""))
    say(f"{'':<11}" + "   score [95 %]   strict end " * len(cols))
    for name in [*before, "mean"]:
        line = f"{name:<11}"
        for c in cols:
            if name == "mean":
                line += f"{100 * mean_score(c):8.0f}" + 21 * " "
            else:
                f = c[name]
                line += f"{100 * f['score']:8.0f} [{100 * f['low']:3.0f},{100 * f['high']:3.0f}]"
                line += f"{100 * f['strict']:6.0f}{100 * f['ends']:4.0f} "
        if after:
            now, was = ((mean_score(c) if name == "mean" else c[name]["score"]) for c in (after, before))
            line += f"{100 * (now - was):+7.0f}"
        say(line.rstrip())
