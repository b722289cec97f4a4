"""NanoWorld's exact scores of a model: greedy answers, scored by rule.

    found, items = families(model, tok, device, split="test", items=100)
    table(before, after)                            # printed

`score` is the share of an answer's checkable constraints that hold. `strict` is the share of
answers that are fully right AND stop. An answer is scored up to <|end|>, as the user would see it:
running on costs. Intervals are 95 % bootstrap intervals over prompts (over facts, where several
prompts ask for one); they do not cover another seed of training.
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

Families = dict[str, dict]              # family -> its `summary`


@dataclass
class Item:
    family: str
    prompt: str
    answer: str
    score: float
    ended: bool                         # <|end|> comes, and no other control token before it
    length: int                         # tokens, without <|end|>
    gold_logp: float | None             # nats per token of the reference answer, if it fits


def families(model: GPT, tok: Tokenizer, device: Device, split: str = "test", items: int = 100,
             seed: int = 0, answer: Callable[[list[Row]], list[Answer]] | None = None
             ) -> tuple[Families, list[Item]]:
    """Answer `items` prompts of every family: greedily, or by answer(rows)."""
    rows = world.rows(split, "prompts", items * len(world.FAMILIES), seed)
    answers = answer(rows) if answer else answer_rows(model, tok, rows)
    demos = demo_rows(rows, None)
    encoded, _ = encode(demos, tok, model.cfg.n_ctx)        # a row that does not fit is left out
    gold = {id(e.row): float(logp["answer"].mean())
            for e, logp in zip(encoded, token_logps(model, encoded, tok.pad, device))}
    done = []
    for row, demo, a in zip(rows, demos, answers, strict=True):
        prompt, text = row.prompt[-1].text, tok.decode(a.ids).strip()
        done.append(Item(row.family, prompt, text, world.score(prompt, text), stops(a, tok),
                         len(a.ids), gold.get(id(demo))))
    return {f: summary([x for x in done if x.family == f]) for f in world.FAMILIES}, done


def exam(model: GPT, tok: Tokenizer, device: Device, split: str, items: int) -> dict:
    """What eval.json keeps: the families, their mean, an answer of three of them."""
    found, answered = families(model, tok, device, split, items)
    firsts = [next(x for x in answered if x.family == f) for f in ("truth", "list", "sum")]
    samples = [{"prompt": x.prompt, "reference": world.reference(x.prompt), "answer": x.answer,
                "score": x.score, "why": world.mistake(x.prompt, x.answer), "ended": x.ended}
               for x in firsts]
    return {"families": found, "mean": mean_score(found), "samples": samples}


def summary(items: list[Item]) -> dict:
    """The figures of one family. Wordings of one question about a fact are drawn together."""
    facts: dict = {}
    for x in items:
        facts.setdefault(read_question(x.prompt) or x.prompt, []).append(x.score)
    low, high = bootstrap([sum(g) for g in facts.values()], [len(g) for g in facts.values()])
    gold = [x.gold_logp for x in items if x.gold_logp is not None]
    return {"score": float(np.mean([x.score for x in items])), "low": low, "high": high,
            "strict": float(np.mean([x.score == 1 and x.ended for x in items])),
            "ends": float(np.mean([x.ended for x in items])),
            "length": float(np.mean([x.length for x in items])),
            "gold_logp": float(np.mean(gold)) if gold else None, "n": len(items)}


def mean_score(found: Families) -> float:
    return float(np.mean([f["score"] for f in found.values()]))


def table(before: Families, after: Families | None = None, say: Callable = print) -> None:
    """The before/after table of a run, in percent."""
    columns = [before, after] if after else [before]
    titles = ("before", "after") if after else ("now",)
    say(f"{'family':<11}" + "".join(f"{t:>28} " for t in titles) + "   gain" * bool(after))
    say(f"{'':<11}" + "   score [95 %]   strict end " * len(columns))
    for name in before:
        line = f"{name:<11}"
        for f in (column[name] for column in columns):
            line += f"{100 * f['score']:8.0f} [{100 * f['low']:3.0f},{100 * f['high']:3.0f}]"
            line += f"{100 * f['strict']:6.0f}{100 * f['ends']:4.0f} "
        say((line + gain(*(column[name]["score"] for column in columns))).rstrip())
    means = [mean_score(column) for column in columns]
    line = f"{'mean':<11}" + "".join(f"{100 * mean:8.0f}" + 21 * " " for mean in means)
    say((line + gain(*means)).rstrip())


def gain(before: float, after: float | None = None) -> str:
    return "" if after is None else f"{100 * (after - before):+7.0f}"
