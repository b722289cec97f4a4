"""Defaults for your own rows, by their number. A flag that is given always wins.

Three passes in steps of 32 rows are right for a thousand rows; 40 rows would make 3 steps, which
move nothing. So a small file is read in steps of 8 rows, as often as it takes: demonstrations for
200 to 400 steps at four times the method's rate, pairs and labels for 20 steps at 3e-5 or less
(more makes answers worse). A model that has learnt rows of yours before is treated as gently with
demonstrations. docs/LOG.md has the measurements. NanoWorld's rows keep the defaults of `Train`.
"""
from typing import Any

from nanouft.objective import Objective
from nanouft.run.flags import CHOSEN, Train
from nanouft.run.rows import Data

PASSES = 3              # over a large file
LEAST = 20              # steps on pairs, labels and scores
PER_ROW = 10            # steps on demonstrations ...
FROM, TO = 200, 400     # ... within these limits; three passes may be more
STEP = 8                # rows of a step of a small file
FASTER = 4              # times the rate of a method for demonstrations
GENTLE = 3e-5           # the largest rate for pairs, labels and a second stage, at width 128
LOOKS = 10              # held-out losses of a run on demonstrations


def choose(cfg: Train, objective: Objective, hp: Any, data: Data, origin: dict[str, str],
           pieces: int = 1, taught: bool = False) -> str:
    """Fill in --batch-size, --steps, --lr and --eval-every, where they are not given. `pieces`:
    into how many a step is cut; `taught`: the start model has learnt rows like these. Returns a
    line that says what was chosen and why; "" if nothing was."""
    ours = all(row.family for row in data.train_rows)               # NanoWorld's
    if cfg.resume or not cfg.data or objective.on_policy or ours:
        return ""
    rows, kinds, free = len(data.train), objective.kinds(hp), cfg.epochs is None
    gentle = taught or "demos" not in kinds
    least = LEAST if gentle else min(max(FROM, PER_ROW * rows), TO)
    small = PASSES * rows < least * cfg.batch_size
    said = []

    def fill(name: str, value: Any, words: str) -> None:
        if origin.get(name) != "command line":
            setattr(cfg, name, value)
            origin[name] = CHOSEN
            said.append(words)

    if small:
        size = max(min(STEP, rows), pieces)
        fill("batch_size", size, f"steps of {size} rows")
    if free and cfg.steps is None:
        steps = max(least, round(PASSES * rows / cfg.batch_size))
        fill("steps", steps, f"{steps:,} of them ({steps * cfg.batch_size / rows:.0f} passes)")
    if small and kinds == ["demos"] and not cfg.lora and not gentle:
        rate = FASTER * cfg.rate
        fill("lr", rate, f"--lr {rate:.2g} ({FASTER} times the rate for large files)")
    if small and gentle and objective.lr > GENTLE:
        rate = cfg.rate * GENTLE / objective.lr
        more = "; for a new topic give --steps 300 --lr 1e-3" if taught else ""
        fill("lr", rate, f"--lr {rate:.2g} (small, so that answers stay right{more})")
    if kinds == ["demos"] and data.held and not cfg.plain:
        total = cfg.optimizer_steps(rows)
        fill("eval_every", max(1, total // LOOKS), "the held-out loss looked at ten times")
    what = f"{rows:,} rows {'are few' if small else 'to learn from'}"
    return f"{what}: {', '.join(said)}\n" if said else ""
