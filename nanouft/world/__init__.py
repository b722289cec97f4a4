"""NanoWorld: a generated world, small enough to be learned in minutes, with exact scores.

    world.rows("train", "demos", 3, seed=0)     # three prompts with right answers
    world.score("Sort pig bee saw from a to z.", "bee pig saw")         # 1.0

Read the files in this order: facts.py (words, creatures, myths), answers.py (what a prompt asks,
its right answer, the exact score), tasks.py (prompts, wrong answers), documents.py (the corpus of
pretraining), and this one: the rows for fine-tuning and evaluation.

Everything is a pure function of its arguments, the same on every machine. The splits stay apart:
- A checksum decides the split: of a skill prompt that of its text, of a stranger that of its name.
- Of the creatures 40 % are for training, 20 % for validation, 40 % for the test. Fine-tuning never
  asks about those of validation and test, but the pretraining corpus tells the facts of all.
- `rules_new` are combinations of rules that no training row has, only validation and test.
"""
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from nanouft.data.row import Row
from nanouft.models.tokenizer import Turn, Turns
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity

from .answers import GROUP_A, GROUP_B, HELD_OUT, TASKS, right_answer, score, task_of
from .facts import SPLITS, WORLD
from .tasks import bad, corrupt, partly_right, prompts

__all__ = ["TASKS", "GROUP_A", "GROUP_B", "HELD_OUT", "KINDS", "MIXTURE", "SPLITS", "WORLD",
           "as_answer", "corrupt", "exact_scores", "task_of", "mixed_rows", "name_tasks",
           "right_answer", "rows", "score", "parse_skills"]

OTHER_KIND = 10_000_000             # added to the seed: rows of a second kind ask other prompts
KINDS = ("demos", "pairs", "labels", "scores", "prompts")
MIXTURE = {                         # 1,020 training rows; rules_new counts outside training only
    "rules": 170, "rules_new": 100, "list": 70, "sum": 150, "sort": 90, "reverse": 90,
    "truth": 180, "unknown": 125, "fact": 145,  # more "unknown": the model denies what it knows
}


def rows(split: str, kind: str, n: int, seed: int, noise: float = 0.0,
         skills: Sequence[str] = TASKS) -> list[Row]:
    """`n` rows of fine-tuning or evaluation data.

    split   train, val or test. Validation and test have longer items; train has no `rules_new`.
    kind    demos    prompt and answer; the share `noise` of the answers is wrong
            pairs    prompt, chosen (right), rejected (lazy, slipped, the myth, or made up), and p,
                     how sure it is that chosen is better: (1 + difference of the exact scores) / 2
            labels   prompt, answer, label: true with a right answer, false with a wrong one
            scores   prompt, answer, its exact score: right, partly right and bad answers in turn
            prompts  prompt and right answer, for evaluation: equal numbers, task by task
    skills  the tasks. Rows of `prompts` come in their order; all other kinds mix them as MIXTURE
            says and are shuffled.

    With one seed all kinds share their prompts. More noise spoils the same answers, and others too.
    The prompts of a task differ until it has no more; then they come again. Truth and fact have 576
    in train and test, 288 in val. ValueError for arguments that make no sense."""
    for what, value, known in [("split", split, SPLITS), ("kind", kind, KINDS),
                               *(("task", task, TASKS) for task in skills)]:
        if value not in known:
            groups = "A, B, all, " if what == "task" else ""
            raise ValueError(f"unknown {what} {value!r}; known are {groups}{', '.join(known)}")
    if n < 0 or not 0 <= noise <= 1 or noise and kind != "demos":
        raise ValueError(f"n={n}, noise={noise}: n must be 0 or more, noise between 0 and 1, and 0 "
                         "for other kinds than demos")
    tasks = [f for f in TASKS if f in skills and (split, f) != ("train", "rules_new")]
    if not tasks:
        raise ValueError("no task left: rules_new exists in val and test only")
    out: list[Row] = []
    weights = {f: 1 if kind == "prompts" else MIXTURE[f] for f in tasks}
    for task, count in apportion(n, weights).items():
        rng = random.Random(f"answers {kind} {split} {task} {seed}")
        where = f"NanoWorld {split} {task} seed {seed}"
        for prompt in islice(prompts(task, split, seed), count):
            out.append(row(kind, len(out), rng, prompt, task, where))
    if kind == "demos":
        out = spoil(out, noise, seed)
    if kind != "prompts":
        random.Random(f"order {split} {seed}").shuffle(out)
    return out


GROUPS = {"A": GROUP_A, "B": GROUP_B, "all": TASKS}


def parse_skills(words: str, kinds: int = 1) -> list[tuple[str, ...]]:
    """The tasks of each kind of rows. `words` are "A", "B", "all" or names with commas; "A:B" gives
    each kind its own. ValueError for too many or too few sets; `rows` checks the names."""
    out = []
    for names in words.split(":"):
        tasks = [task for name in names.split(",")
                 for task in GROUPS.get(name.strip(), (name.strip(),))]
        out.append(tuple(dict.fromkeys(tasks)))
    if len(out) not in (1, kinds):
        raise ValueError(f"{len(out)} sets of tasks for {quantity(kinds, 'kinds')} of rows")
    return out if len(out) == kinds else out * kinds


def mixed_rows(split: str, kinds: Sequence[str], n: int, seed: int, noise: float = 0.0,
               skills: str = "all", mix: str = "") -> list[Row]:
    """`n` rows of several kinds, in the proportions `mix` ("2:1"), or equally many of each. The
    first kind has the prompts that it would have alone; the others have prompts of other seeds.
    Prompts beside demonstrations have no answer, or all of them would be demonstrations."""
    try:
        weights = [int(w) for w in mix.split(":")] if mix else [1] * len(kinds)
    except ValueError:
        weights = []
    if len(weights) != len(kinds) or min(weights, default=0) < 0 or not sum(weights):
        raise ValueError(f"{mix!r} must be {quantity(len(kinds), 'whole numbers')} "
                         "with : between them")
    out, counts = [], apportion(n, {str(k): w for k, w in enumerate(weights)})
    for k, (kind, tasks) in enumerate(zip(kinds, parse_skills(skills, len(kinds)))):
        spoilt = noise if kind == "demos" else 0.0
        kind_rows = rows(split, kind, counts[str(k)], seed + OTHER_KIND * k, spoilt, tasks)
        bare = kind == "prompts" and "demos" in kinds
        out += [replace(r, answer=None) for r in kind_rows] if bare else kind_rows
    return out


def name_tasks(rows: Sequence[Row]) -> list[Row]:
    """The rows of a file, each with the task of its last question. UserError if one is not of
    NanoWorld."""
    try:
        return [replace(r, task=task_of(r.prompt[-1].text)) for r in rows]
    except ValueError:
        raise UserError("the exact score exists only for NanoWorld's prompts; for others give "
                        "--reward FILE.py:FUNCTION or the folder of a reward model") from None


def exact_scores(rows: Sequence[Row], answers: Sequence[str]) -> np.ndarray:
    """(n,) the exact scores of answers to the prompts of these rows. UserError for other
    prompts."""
    name_tasks(rows)
    return np.array([score(row.prompt[-1].text, answer) for row, answer in zip(rows, answers)])


def row(kind: str, i: int, rng: random.Random, prompt: str, task: str, where: str) -> Row:
    """The i-th row of a kind. Good and bad labels take turns, and so do right, partly right and bad
    scored answers."""
    base = Row(prompt=(Turn("user", prompt),), task=task, where=where)
    if kind == "pairs":
        better, worse = right_answer(prompt), corrupt(rng, prompt)
        return replace(base, chosen=as_answer(better), rejected=as_answer(worse),
                       p=(1 + score(prompt, better) - score(prompt, worse)) / 2)
    if kind == "labels":
        label = i % 2 == 0
        text = right_answer(prompt) if label else corrupt(rng, prompt)
        return replace(base, answer=as_answer(text), label=label)
    if kind == "scores":
        if task in GROUP_A:
            text = (right_answer(prompt), partly_right(rng, prompt), bad(rng, prompt))[i % 3]
        else:                                   # knowledge is right or wrong: half each
            text = (right_answer(prompt), corrupt(rng, prompt))[i % 2]
        return replace(base, answer=as_answer(text), score=score(prompt, text))
    return replace(base, answer=as_answer(right_answer(prompt)))


def as_answer(text: str) -> Turns:
    """A text as the turns of an answer."""
    return (Turn("assistant", text),)


def spoil(demos: list[Row], noise: float, seed: int) -> list[Row]:
    """Make the answers of exactly round(noise * n) demonstrations wrong."""
    order = random.Random(f"noise {seed}").sample(range(len(demos)), len(demos))
    out = list(demos)
    for i in order[:round(noise * len(demos))]:
        prompt = demos[i].prompt[0].text
        wrong = corrupt(random.Random(f"noise {seed} {prompt}"), prompt)
        out[i] = replace(demos[i], answer=as_answer(wrong))
    return out


def apportion(n: int, weights: dict[str, int]) -> dict[str, int]:
    """n rows, shared out in proportion to the weights. Shares are rounded down, and the rows that
    are left go to the tasks that lost most."""
    total = sum(weights.values())
    counts = {task: n * weight // total for task, weight in weights.items()}
    lost_most = sorted(weights, key=lambda task: -(n * weights[task] % total))      # stable
    for task in lost_most[:n - sum(counts.values())]:
        counts[task] += 1
    return counts
