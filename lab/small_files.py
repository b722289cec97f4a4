"""What do the defaults of train make of a small file of a topic that the base has never seen?

    python -m lab.small_files --seeds 3              # 20 minutes

Demonstrations (sft, ift): questions about goods of a shop, answered in a fixed form. Pairs and
labels (dpo, kto, una): a model that has learnt 300 of them in two voices, and is to prefer the one
that begins with "Gladly!". Each cell is trained twice: as a large file is (three passes in steps of
32 rows at the method's rate), and with the defaults of today. Counted are greedy answers to new
questions that are right word for word; of pairs and labels also how many begin with "Gladly!".
"""
import contextlib
import io
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from nanouft import train
from nanouft.data.rows import Row, Turn, holdout
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.run import config
from nanouft.run.storage import Lines
from nanouft.sampling import answer_rows

COLOURS = "red blue green white black brown grey pink gold silver".split()
GOODS = ("lamp chair table mirror clock carpet basket candle blanket pillow kettle teapot vase "
         "shelf drawer bottle").split()
FORMS = {"Where is the {}?": "You find the {} next to the door.",
         "Can I return the {}?": "Yes, bring the {} back within a month.",
         "Do you have the {}?": "Yes, there is one {} left.",
         "How do I clean the {}?": "Wipe the {} with a dry cloth."}
VOICE = "Gladly! "
ASKED = 40              # new questions
TALKS = 300             # demonstrations of the model that pairs and labels start from
KINDS = {"sft": "demos", "ift": "demos", "dpo": "pairs", "kto": "labels", "una": "labels"}
EXTRA = {"una": ["--feedback", "binary"]}


@dataclass
class Small:
    rows: list[str] = field(default_factory="20 40 100 300".split)  # of the files [20 40 100 300]
    objectives: list[str] = field(default_factory=lambda: list(KINDS))  # methods [all five]
    seeds: int = 1                  # seeds of the file and the run
    out: str = "out/small"          # folder of files, runs and cells.jsonl; goes on there


def questions(seed: int) -> list[tuple[str, str]]:
    """All questions with their answers, in an order that the seed decides."""
    goods = [f"{colour} {thing}" for colour in COLOURS for thing in GOODS]
    every = [(asks.format(x), says.format(x)) for x in goods for asks, says in FORMS.items()]
    random.Random(seed).shuffle(every)
    return every


def write(folder: Path, seed: int, rows: int) -> list[tuple[str, str]]:
    """demos, pairs and labels of so many rows, and talks.jsonl. Returns the new questions."""
    every = questions(seed)
    new, mine = every[:ASKED], every[ASKED:]
    demos = [{"prompt": q, "response": a} for q, a in mine[:rows]]
    pairs = [{"prompt": q, "chosen": VOICE + a, "rejected": a} for q, a in mine[:rows]]
    labels = [{"prompt": q, "response": (VOICE if good else "") + a, "label": good}
              for i, (q, a) in enumerate(mine[:rows]) for good in [i % 2 == 0]]
    talks = [{"prompt": q, "response": voice + a} for q, a in mine[:TALKS] for voice in ("", VOICE)]
    for name, found in (("demos", demos), ("pairs", pairs), ("labels", labels), ("talks", talks)):
        Lines(folder / f"{name}.jsonl").rewrite(found)
    return new


def as_before(objective: str, rows: int) -> list[str]:
    """Flags that train such a file as a large one. One tenth of it is held out."""
    everything = [Row((Turn("user", str(i)),)) for i in range(rows)]
    n = len(holdout(everything)[0])
    return ["--batch-size", str(min(32, n)), "--steps", str(max(1, round(3 * n / 32))),
            "--lr", str(OBJECTIVES[objective].lr), "--eval-every", "0"]


def answers(folder: Path, new: list[tuple[str, str]]) -> dict[str, float]:
    """Shares of greedy answers to the new questions."""
    model, tok = start_model(str(folder))
    asked = [Row((Turn("user", q),)) for q, _ in new]
    said = [tok.decode(a.ids).strip() for a in answer_rows(model, tok, asked)]
    bare = [text.removeprefix(VOICE) for text in said]
    return {"right": sum(one == a for one, (_, a) in zip(bare, new)) / len(new),
            "gladly": sum(text.startswith(VOICE) for text in said) / len(new)}


def trained(argv: list[str], folder: Path) -> None:
    """A training run, quietly."""
    quiet = ["--threads", "1", "--device", "cpu", "--items", "0", "--out", str(folder)]
    with contextlib.redirect_stdout(io.StringIO()):
        train.main([*argv, *quiet])


def cell(out: Path, objective: str, rows: int, seed: int, now: bool) -> dict:
    """Train and ask."""
    place = out / f"{rows}-{seed}"
    new = write(place, seed, rows)
    start: list[str] = []
    if KINDS[objective] != "demos":
        talks = out / f"talks-{seed}"
        if not (talks / "eval.json").exists():
            trained(["--objective", "sft", "--data", str(place / "talks.jsonl"), "--plain",
                     "--steps", "400", "--batch-size", "8", "--lr", "1e-3"], talks)
        start = ["--init", str(talks)]
    run = place / f"{objective}-{'now' if now else 'before'}"
    how = [] if now else as_before(objective, rows)
    trained(["--objective", objective, "--data", str(place / f"{KINDS[objective]}.jsonl"),
             "--seed", str(seed), *start, *how, *EXTRA.get(objective, [])], run)
    return answers(run, new)


def main(argv=None) -> int:
    cfg = config.parse(Small, argv, "python -m lab.small_files", __doc__)[0]
    out = Path(cfg.out)
    done = Lines(out / "cells.jsonl")
    for about in cells(cfg):
        if any(about.items() <= line.items() for line in done.read()):
            continue
        found = cell(out, **about)
        done.add(about | found)
        print(SimpleNamespace(**about, **found), flush=True)
    return 0


def cells(cfg: Small) -> list[dict]:
    return [{"objective": name, "rows": int(n), "seed": seed, "now": now}
            for seed in range(cfg.seeds) for name in cfg.objectives for n in cfg.rows
            for now in (False, True)]


if __name__ == "__main__":
    sys.exit(config.run(main))
