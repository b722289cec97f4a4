"""Tasks made for one question each: what does a mistake spoil, and how long is an answer? Their
rows and exact scores.

    chain    Add all of 2 1 2.           2 and 1 is 3 and 2 is 5    the last result plus a number
    steps    Add neighbours of 2 1 2.    2 and 1 is 3 and 2 is 3    two neighbouring numbers added
    things   Name 3 things, fox first.   1 fox 2 bee 3 saw          which other things: by lot

`chain` is NanoWorld's running sum, longer and in other words: a wrong result spoils all that
follow. In `steps` it spoils nothing, and both have the same numbers, words and length: `steps` is
the control. Numbers are 1, 2 or 3, so that 16 of them give a sum of one token. In `things` no one
can know the next thing, and everybody can know the end: the answers in which the released IFT
forgets to stop. The first thing makes prompts differ, since train holds out a tenth of the prompts.

    Job("chain", (11, 15), rows=300, flags=("--objective", "ift"), seed=0).run()    # its scores
"""
import json
import random
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from lab.cell import KEEP, Cell, fingerprint, kept_model, train_cell, train_into
from lab.cells import finished, pack_scores, run_cell
from nanouft import world
from nanouft.data.rows import Row, Turn
from nanouft.data.tokenizer import Tokenizer
from nanouft.eval import scores
from nanouft.eval.probes import kl, own_prefix_gap, seqs_of
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.run.storage import Lines, checksum
from nanouft.sampling import answer_rows, stops
from nanouft.world.facts import ITEMS

VERSION = 1                     # raised by hand when code changes what jobs give
THINGS = re.compile(r"Name (\d+) things, (\w+) first\.")
SUMS = {"chain": "Add all of {}.", "steps": "Add neighbours of {}."}
SPLITS = {"val": 77_001, "test": 77_002}        # seeds of the prompts, the same for every model


# ---- rows ----------------------------------------------------------------------------------------
def results(task: str, numbers: list[int]) -> list[int]:
    """The result after each number but the first."""
    out, last = [], numbers[0]
    for before, number in zip(numbers, numbers[1:]):
        last = (last if task == "chain" else before) + number
        out.append(last)
    return out


def ask(task: str, lengths: tuple[int, int], rng: random.Random) -> str:
    """A prompt; lengths: fewest and most steps (of `things`: things)."""
    n = rng.randint(*lengths)
    if task == "things":
        return f"Name {n} things, {rng.choice(ITEMS)} first."
    return SUMS[task].format(" ".join(str(rng.randint(1, 3)) for _ in range(n + 1)))


def reference(prompt: str, rng: random.Random) -> str:
    """The right answer; of `things` one of many."""
    if hit := THINGS.fullmatch(prompt):
        named = [hit[2], *rng.sample([w for w in ITEMS if w != hit[2]], int(hit[1]) - 1)]
        return " ".join(f"{i} {w}" for i, w in enumerate(named, 1))
    numbers = [int(d) for d in re.findall(r"\d+", prompt)]
    task = "chain" if prompt.startswith("Add all") else "steps"
    return " ".join([str(numbers[0]),
                     *(f"and {d} is {t}" for d, t in zip(numbers[1:], results(task, numbers)))])


def rows(task: str, lengths: tuple[int, int], n: int, seed: int) -> list[Row]:
    # `chain` and `steps` add the same numbers
    rng = random.Random(f"{'sums' if task in SUMS else task} {seed}")
    prompts = [ask(task, lengths, rng) for _ in range(n)]
    return [Row((Turn("user", p),), (Turn("assistant", reference(p, rng)),)) for p in prompts]


def score(prompt: str, answer: str) -> float:
    """Sums: the share of results that are right at their own place. `things`: 1 or 0; any things do
    after the first."""
    words = answer.split()
    if hit := THINGS.fullmatch(prompt):
        numbers, things = [str(i) for i in range(1, int(hit[1]) + 1)], words[1::2]
        return float(words[::2] == numbers and len(things) == len(numbers) and things[0] == hit[2]
                     and set(things) <= set(ITEMS))
    gold = reference(prompt, random.Random(0)).split()
    return sum(a == b for a, b in zip(gold[4::4], words[4::4])) / len(gold[4::4])


def exact(prompt: str, answer: str) -> bool:
    """Right in full; of `things` one of many right answers."""
    if THINGS.fullmatch(prompt):
        return score(prompt, answer) == 1
    return answer == reference(prompt, random.Random(0))


# ---- a job: trained and scored -------------------------------------------------------------------
@dataclass(frozen=True)
class Job:
    task: str
    lengths: tuple[int, int]
    rows: int
    flags: tuple[str, ...]
    seed: int
    split: str = "test"
    items: int = 200
    start: str = "base"

    @property
    def key(self) -> str:
        about = [VERSION, self.task, self.lengths, self.rows, self.flags, self.seed, self.split,
                 self.items]
        return checksum(json.dumps([*about, fingerprint(self.start)]))[:16]

    def __str__(self) -> str:
        return f"{self.task} {self.lengths}, {' '.join(self.flags)}, seed {self.seed}"

    def run(self) -> dict:
        """-> one JSON object."""
        about = {"key": self.key, "task": self.task, "lengths": self.lengths, "rows": self.rows,
                 "flags": " ".join(self.flags), "seed": self.seed, "split": self.split}
        return finished(about, self.trained_and_scored)

    def trained_and_scored(self, folder: Path) -> dict:
        file = folder / "rows.jsonl"
        Lines(file).rewrite([{"prompt": r.prompt[0].text, "response": r.answer[0].text}
                             for r in rows(self.task, self.lengths, self.rows, self.seed)])
        train_into(folder / "run", [*self.flags, "--data", str(file), "--plain"], self.start,
                   self.seed)
        return measured(*start_model(str(folder / "run")), self.task,
                        rows(self.task, self.lengths, self.items, SPLITS[self.split]))


def measured(model: GPT, tok: Tokenizer, task: str, asked: list[Row]) -> dict:
    """Means of score, strict (right in full, and stops), ends; scores, stricts: of every answer
    (base64). Of `things` also `end`: the loss of <|end|> after a right list, in nats. Of sums also
    `token` and `differ`: after the true words, the share of numbers that the greedy model says
    right, and the probability that a sampled guess is another one; `gap`: nats a token lost after
    its own words (eval/probes.py)."""
    longest = 8 + max(len(tok.encode(" " + r.answer[0].text)) for r in asked)
    answers = answer_rows(model.eval(), tok, asked, max_new=longest)
    texts = [(r.prompt[0].text, tok.decode(a.ids).strip()) for r, a in zip(asked, answers)]
    right = [score(*x) for x in texts]
    ends = [stops(a, tok) for a in answers]
    strict = [float(exact(*x) and e) for x, e in zip(texts, ends)]
    out = {"score": float(np.mean(right)), "strict": float(np.mean(strict)),
           "ends": float(np.mean(ends)),
           "scores": pack_scores(right), "stricts": pack_scores(strict)}
    if task == "things":
        return out | {"end": end_loss(model, tok, asked)}
    return out | guesses(model, tok, asked) | {"gap": own_prefix_gap(model, tok, asked, answers)}


@torch.no_grad()
def end_loss(model, tok, asked: list[Row]) -> float:
    s = seqs_of([r.answer[0].text for r in asked], asked, model, tok)
    at = s.mask.bool() & (s.targets == tok.end)
    return float(-model(s.inputs, want="logp", targets=s.targets, at=at)[at].mean())


@torch.no_grad()
def guesses(model, tok, asked: list[Row]) -> dict[str, float]:
    """`token` and `differ` at the numbers: the words after " and" and " is"."""
    s = seqs_of([r.answer[0].text for r in asked], asked, model, tok)
    before = torch.tensor([tok.encode(word)[0] for word in (" and", " is")])
    at = s.mask.bool() & torch.isin(s.inputs, before)
    p = model(s.inputs, want="logits", at=at).softmax(-1)                       # (N,V)
    gold = s.targets[at]                                                        # (N,)
    return {"token": float((p.argmax(-1) == gold).float().mean()),
            "differ": float(1 - p.gather(1, gold[:, None]).mean())}


# ---- NanoWorld -----------------------------------------------------------------------------------
@dataclass(frozen=True)
class Moved:
    """How far the model of a cell went from its start."""
    cell: Cell

    @property
    def key(self) -> str:
        return checksum(f"{self.cell.key} moved {VERSION}")[:16]

    def __str__(self) -> str:
        return str(self.cell)

    def run(self, keep: Path = KEEP) -> dict:
        """-> one JSON object; of a run that diverged: it has moved by as much as there is."""
        about = {"key": self.key, "flags": " ".join(self.cell.flags), "seed": self.cell.seed,
                 "split": self.cell.split, "largest change": 1.0, "nats from the start": 100.0}
        return finished(about, partial(self.compared, keep=keep))

    def compared(self, folder: Path, keep: Path) -> dict:
        """The largest change of a family's score, and nats a token of KL(model || start) along
        right answers."""
        cell, device = self.cell, Device("cpu", "fp32")
        start, tok = start_model(kept_model(cell.start, keep))
        model, _ = start_model(train_cell(cell, folder / "run", keep))
        before, after = (scores.families(m.eval(), tok, device, cell.split, cell.items)[0]
                         for m in (start, model))
        asked = world.rows(cell.split, "prompts", 30 * len(world.FAMILIES), 0)
        far = kl(model, start, seqs_of([r.answer[0].text for r in asked], asked, model, tok))
        return {"largest change": max(abs(after[f]["score"] - before[f]["score"])
                                      for f in world.FAMILIES),
                "before": scores.mean_score(before), "after": scores.mean_score(after),
                "nats from the start": far}


def run_task(job: "Job | Moved | Cell") -> dict:
    return run_cell(job) if isinstance(job, Cell) else job.run()
