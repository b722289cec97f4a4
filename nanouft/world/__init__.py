"""NanoWorld: a generated world, small enough to be learnt in minutes and exact enough for science.

    python -m nanouft.world            shows a prompt, a right and a wrong answer of every family (under a second)

Read the files in this order: facts.py (words, creatures, myths), skills.py (six skills), tasks.py (the nine families
and the exact score), documents.py (the pretraining corpus), and this one: the rows for fine-tuning and evaluation.

Everything is a pure function of its arguments, the same on every machine. What is kept apart, and how:
  - skill prompts belong to a split by the checksum of their text, the names of strangers by that of the name;
  - creatures are dealt out 40/20/40 per cent: fine-tuning never asks about those of validation and test, whose facts
    are in the pretraining corpus all the same;
  - `rules_new` are combinations of rules that only validation and test have, so there are no training rows of it.
"""
import random
from dataclasses import replace
from itertools import islice
from typing import Sequence

from nanouft.data.rows import Row, Turn, Turns
from nanouft.seeds import kind_seed

from .facts import SPLITS, WORLD, World, make_world
from .skills import HELD_OUT
from .tasks import (
    FAMILIES,
    GROUP_A,
    GROUP_B,
    bad,
    corrupt,
    family_of,
    partly_right,
    prompts,
    reference,
    score,
    score_rows,
)

__all__ = ["FAMILIES", "GROUP_A", "GROUP_B", "HELD_OUT", "KINDS", "MIXTURE", "SPLITS", "WORLD", "World", "corrupt",
           "family_of", "make_world", "mixed_rows", "named", "reference", "rows", "score", "score_rows", "skills_named"]

KINDS = ("demos", "pairs", "labels", "scores", "prompts")
MIXTURE = {                                                # 1,020 training rows; rules_new counts outside training only
    "rules": 170, "rules_new": 100, "list": 70, "sum": 150, "sort": 90, "reverse": 90,
    "truth": 180, "unknown": 125, "fact": 145,              # more "unknown": it denies what it knows
}


def rows(split: str, kind: str, n: int, seed: int, noise: float = 0.0, skills: Sequence[str] = FAMILIES) -> list[Row]:
    """`n` rows of fine-tuning or evaluation data.

    split   train, val or test. Validation and test have the longer items; train has no `rules_new`.
    kind    demos    prompt and answer; the share `noise` of the answers is replaced by wrong ones, silently
            pairs    prompt, chosen (right) and rejected (lazy, slipped, the myth, or made up), and p, how sure it is
                     that chosen is better: (1 + difference of the exact scores) / 2
            labels   prompt, answer and label: half true with a right answer, half false with a wrong one
            scores   prompt, answer and its exact score: right, partly right and bad answers in turn
            prompts  prompt and a reference answer, for evaluation: the same number of every family, family by family
    skills  the families wanted. All kinds but `prompts` mix them in the proportions of MIXTURE and are shuffled.

    A family's prompts come from a stream that split, family and seed decide: all kinds with one seed share their
    prompts, and noise changes nothing but the answers it spoils (more noise spoils the same ones and others).
    Within a call the prompts of a family are different until it has no more; after that they come again, so there are
    always n rows. Truth and fact have 576 prompts in train and test, 288 in val.
    Raises ValueError for an unknown split, kind or family, a negative n, or noise where it means nothing."""
    families = check(split, kind, n, noise, skills)
    out: list[Row] = []
    for family, count in share_out(n, {f: 1 if kind == "prompts" else MIXTURE[f] for f in families}).items():
        rng = random.Random(f"answers {kind} {split} {family} {seed}")
        for prompt in islice(prompts(family, split, seed), count):
            out.append(row(kind, len(out), rng, prompt, family, f"NanoWorld {split} {family} seed {seed}"))
    if kind == "demos":
        out = spoil(out, noise, seed)
    if kind != "prompts":
        random.Random(f"order {split} {seed}").shuffle(out)
    return out


GROUPS = {"A": GROUP_A, "B": GROUP_B, "all": FAMILIES}


def skills_named(words: str, kinds: int = 1) -> list[tuple[str, ...]]:
    """The families of each kind of rows: "A", "B", "all" or names with commas; "A:B" names one for each kind.
    Raises ValueError for an unknown name or another number of sets than kinds."""
    out = []
    for wish in words.split(":"):
        families = [f for word in wish.split(",") for f in GROUPS.get(word.strip(), (word.strip(),))]
        for family in families:
            if family not in FAMILIES:
                raise ValueError(f"unknown family {family!r}; known are A, B, all, {', '.join(FAMILIES)}")
        out.append(tuple(dict.fromkeys(families)))
    if len(out) not in (1, kinds):
        raise ValueError(f"{len(out)} sets of families for {kinds} kind{'s' * (kinds > 1)} of rows")
    return out if len(out) == kinds else out * kinds


def mixed_rows(split: str, kinds: Sequence[str], n: int, seed: int, noise: float = 0.0, skills: str = "all",
               mix: str = "") -> list[Row]:
    """`n` rows of several kinds; `mix` gives their proportions ("2:1"), else each kind has the same number.
    The first kind has the prompts that it would have alone; the others have prompts of their own (other seeds)."""
    try:
        weights = [int(w) for w in mix.split(":")] if mix else [1] * len(kinds)
    except ValueError:
        weights = []
    if len(weights) != len(kinds) or min(weights, default=0) < 0 or not sum(weights):
        raise ValueError(f"{mix!r} must be {len(kinds)} whole number{'s' * (len(kinds) > 1)} with : between them")
    out, counts = [], share_out(n, {str(k): w for k, w in enumerate(weights)})
    for k, (kind, families) in enumerate(zip(kinds, skills_named(skills, len(kinds)))):
        if counts[str(k)]:
            out += rows(split, kind, counts[str(k)], kind_seed(seed, k), noise if kind == "demos" else 0.0, families)
    return out


def named(rows: Sequence[Row]) -> list[Row]:
    """Rows of a file with their families, if every prompt is one question of NanoWorld's; else none of them."""
    if any(len(r.prompt) != 1 for r in rows):
        return []
    try:
        return [replace(r, family=family_of(r.prompt[0].text)) for r in rows]
    except ValueError:
        return []


def row(kind: str, i: int, rng: random.Random, prompt: str, family: str, where: str) -> Row:
    """The i-th row of a kind; i only decides which label, or which sort of scored answer, is next in turn."""
    base = Row(prompt=(Turn("user", prompt),), family=family, where=where)
    if kind == "pairs":
        better, worse = reference(prompt), corrupt(rng, prompt)
        return replace(base, chosen=said(better), rejected=said(worse),
                       p=(1 + score(prompt, better) - score(prompt, worse)) / 2)
    if kind == "labels":
        label = i % 2 == 0
        return replace(base, answer=said(reference(prompt) if label else corrupt(rng, prompt)), label=label)
    if kind == "scores":
        if family in GROUP_A:
            answer = (reference(prompt), partly_right(rng, prompt), bad(rng, prompt))[i % 3]
        else:                                              # knowledge is right or wrong: half each
            answer = (reference(prompt), corrupt(rng, prompt))[i % 2]
        return replace(base, answer=said(answer), score=score(prompt, answer))
    return replace(base, answer=said(reference(prompt)))


def said(text: str) -> Turns:
    return (Turn("assistant", text),)


def spoil(demos: list[Row], noise: float, seed: int) -> list[Row]:
    """Replace the answers of a share of the demonstrations by wrong ones, exactly round(noise * n) of them."""
    order = random.Random(f"noise {seed}").sample(range(len(demos)), len(demos))
    out = list(demos)
    for i in order[:round(noise * len(demos))]:
        prompt = demos[i].prompt[0].text
        out[i] = replace(demos[i], answer=said(corrupt(random.Random(f"noise {seed} {prompt}"), prompt)))
    return out


def share_out(n: int, weights: dict[str, int]) -> dict[str, int]:
    """n rows in proportion to the weights: rounded down, what is left to those that lost most."""
    total = sum(weights.values())
    counts = {family: n * weight // total for family, weight in weights.items()}
    lost_most = sorted(weights, key=lambda family: -(n * weights[family] % total))      # stable: ties in given order
    for family in lost_most[:n - sum(counts.values())]:
        counts[family] += 1
    return counts


def check(split: str, kind: str, n: int, noise: float, skills: Sequence[str]) -> list[str]:
    """The families that `rows` is to give, in the order of FAMILIES; ValueError for arguments that make no sense."""
    skills = (skills,) if isinstance(skills, str) else tuple(skills)
    for what, value, allowed in [("split", split, SPLITS), ("kind", kind, KINDS),
                                 *(("family", skill, FAMILIES) for skill in skills)]:
        if value not in allowed:
            raise ValueError(f"unknown {what} {value!r}; NanoWorld has {', '.join(allowed)}")
    if n < 0 or not 0 <= noise <= 1:
        raise ValueError(f"n must be 0 or more and noise between 0 and 1, not n={n}, noise={noise}")
    if noise and kind != "demos":
        raise ValueError(f"noise spoils demonstrations only; kind {kind!r} has none")
    families = [f for f in FAMILIES if f in skills and not (split == "train" and f == "rules_new")]
    if not families:
        raise ValueError("no family left: rules_new exists in val and test only" if skills else "no family asked for")
    return families
