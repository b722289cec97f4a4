"""What a model can do: exact scores on NanoWorld; with --data, held-out figures on anybody's rows (held_out.py).

    python -m nanouft.evaluate --init out/ift                       # 100 test items a family, about 6 s
    python -m nanouft.evaluate --init out/ift --probes              # what a score does not show (probes.py)
    python -m nanouft.evaluate --init out/my-run --data my.jsonl    # held-out loss, pair accuracy
    python -m nanouft.evaluate --init out/sft --best-of 16 --reward out/reward      # the best of 16, by a reward
    python -m nanouft.evaluate --prior 1 --prior-from out/sft       # PreTTY: begin as that model would, one token

NanoWorld answers are greedy and scored by rule, no judge: `score` is the share of an answer's checkable constraints
that hold, `strict` the share of answers that are fully right AND stop. What is scored is everything said until
<|end|>: a model that answers and runs on is scored on what the user would see. Intervals are 95 % bootstrap intervals
over prompts (over facts, where several prompts ask for one); they say nothing about another seed of training.
"""
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from nanouft import world
from nanouft.data import rows as data
from nanouft.rollout import best_of
from nanouft.shell import config, devices, runs
from nanouft.data.batches import encode
from nanouft.models.generate import Answer, generate
from nanouft.gpt import GPT
from nanouft.look.held_out import bootstrap, on_data, token_logps
from nanouft.data.tokenizer import Tokenizer
from nanouft.world.facts import read_question

MAX_NEW = 44            # NanoWorld's longest right answer has 36 tokens


@dataclass
class Item:
    """One answered prompt."""
    family: str
    prompt: str
    answer: str
    score: float
    ended: bool             # says <|end|>, and no other control token before it
    length: int             # tokens, without <|end|>
    gold_logp: float        # nats a token of the reference answer


@torch.no_grad()
def answer_rows(model: GPT, tok: Tokenizer, rows: list[data.Row], max_new: int = MAX_NEW, chunk: int = 300,
                priors: list[list[int]] | None = None, seed: int = 0, **how) -> list[Answer]:
    """Greedy (or as `how` says) answers in the order of rows; computed by prompt length, so that little is padding.
    `priors`: the tokens that each answer must begin with. Each chunk has random numbers of its own."""
    prompts = [tok.prompt_ids(r.prompt) for r in rows]
    out, by_length = [None] * len(rows), sorted(range(len(rows)), key=lambda i: len(prompts[i]))
    for i in range(0, len(rows), chunk):
        part = by_length[i:i + chunk]
        some = generate(model, [prompts[j] for j in part], stop=tok.end, pad=tok.pad, max_new=max_new,
                        seed=(seed * 1_009 + i // chunk) % 2**63,
                        priors=[priors[j] for j in part] if priors else None, **how)
        for j, a in zip(part, some):
            out[j] = a
    return out


def best_answers(model: GPT, tok: Tokenizer, rows: list[data.Row], n: int, scorer: Callable,
                 seed: int = 0) -> list[Answer]:
    """To each prompt the one of `n` samples at temperature 1 that the scorer likes best (best_of.py)."""
    asked = [r for r in rows for _ in range(n)]
    many = answer_rows(model, tok, asked, temperature=1.0, seed=seed)
    likes = scorer([r.prompt[-1].text for r in asked], [tok.decode(a.ids).strip() for a in many])
    return [many[n * i + j] for i, j in enumerate(best_of.choose(likes.reshape(len(rows), n)))]


def forced_starts(prior: str, source: str, tok: Tokenizer, rows: list[data.Row],
                  device: str = "cpu") -> list[list[int]] | None:
    """PreTTY (arXiv:2404.16766): the tokens that each answer must begin with; no training at all.

    `prior` is a text, the same for all; or a number N: the first N tokens of what the model `source` answers, or, with
    no source, of the reference answer: that is an upper bound and no method, since the right beginning is given away.
    """
    if not prior.isdecimal():
        if source:
            raise config.UserError(f"--prior-from {source}: goes with a number of tokens, not with --prior {prior!r}")
        return [tok.encode(" " + prior)] * len(rows) if prior else None
    n = int(prior)
    if not n:
        return None
    if not source:
        try:
            return [tok.encode(" " + world.reference(r.prompt[-1].text))[:n] for r in rows]
        except ValueError:
            raise config.UserError(f"--prior {n}: only NanoWorld prompts have a reference answer to take tokens from; "
                                   "name a model with --prior-from, or give a text") from None
    teacher, its_tok = runs.start_model(source)
    if its_tok.name != tok.name:
        raise config.UserError(f"--prior-from {source}: has tokenizer {its_tok.name}, the model has {tok.name}")
    answers = answer_rows(teacher.to(device).eval(), tok, rows, max_new=n)
    return [[i for i in a.ids if i not in (tok.user, tok.assistant)] for a in answers]


def families(model: GPT, tok: Tokenizer, device: devices.Device, split: str = "test", items: int = 100,
             seed: int = 0, prior: str = "", prior_from: str = "", n: int = 1,
             scorer: Callable | None = None) -> tuple[dict, list[Item]]:
    """Answer `items` prompts of every family -> ({family: what `summary` says}, the answered items). Forced tokens
    (`prior`) are part of the answer: they are scored like the rest, and `length` counts them. With a scorer (reward.py)
    an answer is the best of `n` samples."""
    rows = world.rows(split, "prompts", items * len(world.FAMILIES), seed)
    answers = (best_answers(model, tok, rows, n, scorer, seed) if scorer else
               answer_rows(model, tok, rows, priors=forced_starts(prior, prior_from, tok, rows, device.name)))
    encoded, _ = encode(data.demo_rows(rows, None), tok, model.cfg.n_ctx)
    gold = token_logps(model, encoded, tok.pad, device)
    done = []
    for row, a, g in zip(rows, answers, gold):
        prompt, said = row.prompt[-1].text, tok.decode(a.ids).strip()
        done.append(Item(row.family, prompt, said, world.score(prompt, said), stops(a, tok), len(a.ids),
                         float(g["answer"].mean())))
    return {f: summary([x for x in done if x.family == f]) for f in world.FAMILIES}, done


def stops(a: Answer, tok: Tokenizer) -> bool:
    """Did the answer end by itself? Running on into another question before <|end|> is not stopping."""
    return a.ended and tok.user not in a.ids and tok.assistant not in a.ids


def summary(items: list[Item]) -> dict:
    """{score, low, high (its interval), strict, ends, length, gold_logp, n} of one family."""
    scores, groups = [x.score for x in items], {}
    for x in items:                             # questions about one fact in several wordings stand or fall together
        groups.setdefault(read_question(x.prompt) or x.prompt, []).append(x.score)
    low, high = bootstrap([sum(g) for g in groups.values()], [len(g) for g in groups.values()])
    return {"score": float(np.mean(scores)), "low": low, "high": high,
            "strict": float(np.mean([x.score == 1 and x.ended for x in items])),
            "ends": float(np.mean([x.ended for x in items])), "length": float(np.mean([x.length for x in items])),
            "gold_logp": float(np.mean([x.gold_logp for x in items])), "n": len(items)}


def mean_score(result: dict) -> float:
    """Macro mean over families."""
    return float(np.mean([f["score"] for f in result.values()]))


def table(before: dict, after: dict | None = None, say: Callable = print) -> None:
    """The before/after table of a run, in percent."""
    cols = [before] + ([after] if after else [])
    titles = ("before", "after") if after else ("now",)
    say(f"{'family':<11}" + "".join(f"{t:>26}" for t in titles) + ("   gain" if after else ""))
    say(f"{'':<11}" + "   score [95 %]  strict end" * len(cols))
    for name in [*before, "mean"]:
        line = f"{name:<11}"
        for c in cols:
            if name == "mean":
                line += f"{100 * mean_score(c):8.0f}" + 18 * " "
            else:
                f = c[name]
                line += f"{100 * f['score']:8.0f} [{100 * f['low']:3.0f},{100 * f['high']:3.0f}]"
                line += f"{100 * f['strict']:6.0f}{100 * f['ends']:4.0f} "
        if after:
            now, was = ((mean_score(c) if name == "mean" else c[name]["score"]) for c in (after, before))
            line += f"{100 * (now - was):+7.0f}"
        say(line.rstrip())


@dataclass
class Evaluate:
    init: str = "base"              # 'base' or a run folder / GPT-2 folder
    data: list[str] | None = None   # your files: nats a token of demonstrations, preferences of pairs and grades
    reference: str | None = None    # with --data: also, who gained more log-prob over this model ('base' or a folder)
    split: str = "test"             # NanoWorld split: val to choose, test to report
    items: int = 100                # prompts a family
    probes: bool = False            # also: own-prefix gap, recovery, diversity, KL to the base, corpus loss (probes.py)
    prior: str = ""                 # PreTTY: answers begin with this text, or with this many tokens of --prior-from
    prior_from: str = ""            # the model whose first tokens are forced [the reference answer: an upper bound]
    best_of: int = 1                # answer with the best of so many samples (at temperature 1) by --reward
    reward: str = ""                # of --best-of: the folder of a reward model, or exact: the score itself [exact]
    seed: int = 0                   # which prompts
    device: str = "auto"            # auto | cpu | cuda | mps
    dtype: str = "auto"             # auto | fp32 | bf16 | fp16
    threads: int | None = None      # CPU threads
    prompt_field: str | None = None     # name of the prompt in your data, where it is none of the usual
    response_field: str | None = None   # name of the response in your data


def main(argv=None) -> int:
    cfg, _ = config.parse(Evaluate, argv, "python -m nanouft.evaluate", __doc__)
    config.choose("--split", cfg.split, ("val", "test"))
    if not 1 <= cfg.items <= 10_000:
        raise config.UserError(f"--items {cfg.items}: must be between 1 and 10,000")
    if cfg.prior and (cfg.data or cfg.probes):
        raise config.UserError("--prior forces the beginning of NanoWorld answers; it changes nothing with "
                               + ("--data" if cfg.data else "--probes"))
    if cfg.prior_from and not cfg.prior:
        raise config.UserError("--prior-from says whose first tokens to force; say how many with --prior N")
    best_of.check(cfg.best_of, cfg.reward)
    if cfg.best_of > 1 and (cfg.data or cfg.probes or cfg.prior):
        raise config.UserError("--best-of chooses among NanoWorld answers; it changes nothing with "
                               + ("--data" if cfg.data else "--probes" if cfg.probes else "--prior"))
    if cfg.reference and not cfg.data:
        raise config.UserError("--reference compares answers of your own file; give it with --data")
    device = devices.pick(cfg.device, cfg.dtype, cfg.threads)
    model, tok = runs.start_model(cfg.init)
    model.to(device.name).eval()
    if cfg.data:
        rows, report = data.read(cfg.data, cfg.prompt_field, cfg.response_field)
        print("\n".join(report.lines()))
        on_data(model, tok, rows, cfg.reference, device)
        return 0
    scorer = greedy = None
    if cfg.best_of > 1:
        from nanouft import reward                      # reward.py uses this file
        scorer = reward.scorer(cfg.reward or "exact", device.name)
        greedy, _ = families(model, tok, device, cfg.split, cfg.items, cfg.seed)
    result, _ = families(model, tok, device, cfg.split, cfg.items, cfg.seed, cfg.prior, cfg.prior_from, cfg.best_of,
                         scorer)
    print(f"{cfg.init}: scores in percent on {cfg.items} {cfg.split} prompts a family; strict = fully right and stops; "
          "end = answers that stop")
    if cfg.prior not in ("", "0"):
        print("forced beginnings are part of the answers and are scored with them")
    if scorer:
        judge = cfg.reward or "the exact score (an upper bound)"
        print(f"before: greedy answers; after: the best of {cfg.best_of} samples by {judge}; "
              f"KL to the model at most {best_of.kl_bound(cfg.best_of):.2f} nats an answer")
    table(*([greedy, result] if greedy else [result]))
    if cfg.probes:
        from nanouft.look import probes                      # probes.py uses this file
        base, shipped = runs.start_model("base")
        if base.cfg != model.cfg or shipped.name != tok.name:
            raise config.UserError("--probes compare with the shipped base; this model has another shape or tokenizer")
        values = probes.probe(model, base.to(device.name).eval(), tok, cfg.split, min(cfg.items, 30), cfg.seed)
        print("\n" + "\n".join(probes.lines(values)))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
