"""The bar of a comparison. It moves by what all runs do: steps, and rows that are read or scored.

    bar = RunsBar(25)                       # runs
    bar.advance({job: 0.4})                 # of those that are left in this round

A worker writes into a file, the sign of its part, how much of it is done. A run counts as much as
the time that others of its kind have taken, so the time left is right once each kind has had one.
"""
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from nanouft.compare.runs import Job, cpu_seconds
from nanouft.plumbing import printing
from nanouft.plumbing.files import unfinished
from nanouft.plumbing.printing import BRIEF, bar_interval, is_shown

POLL_SECONDS = 2    # between two looks at what runs
TRAINING_SHARE = 0.8  # of a run; the rest is its scoring
FORMAT = "{l_bar}{bar}| [{elapsed}<{remaining}{postfix}]"


# ---- in the worker -------------------------------------------------------------------------------
class WorkerBar(tqdm):
    """A bar of a worker, which nobody sees: what it counts goes into the sign. Steps are all that
    is left of a part, and anything before them half of it."""
    sign = Path()
    done = 0.0                              # of the part, by the bars before
    training = False                        # answers that are sampled for a step count no more

    def __init__(self, *rows: Any, **how: Any):
        self.counts, self.steps = not WorkerBar.training, how["unit"] == "step"
        WorkerBar.training |= self.steps
        self.share = 0.0
        super().__init__(*rows, **how | {"disable": False, "mininterval": POLL_SECONDS})

    def display(self, *text: Any, **how: Any) -> None:
        if self.counts:
            part = self.n / max(1, self.total) * (1 if self.steps else 0.5)
            self.share = self.done + (1 - self.done) * part
            with suppress(OSError):                             # a full disk is for the run to tell
                self.sign.write_text(f"{self.share:.4f}", encoding="utf-8")

    def close(self) -> None:
        super().close()                                         # it displays, if it ever did
        if self.counts:
            WorkerBar.done = max(self.done, self.share)


def progress_file(part: Job) -> Path:
    """A file that is there, with the name of a process, while this one works on a part."""
    return part.folder.with_name(f"{part.folder.name}.sign")


def write_progress_of(part: Job) -> None:
    """All bars of this process count for a part from now on."""
    WorkerBar.sign = unfinished(progress_file(part))
    WorkerBar.sign.parent.mkdir(parents=True, exist_ok=True)
    WorkerBar.sign.write_text("0", encoding="utf-8")
    printing.bar_class = WorkerBar


# ---- in the parent -------------------------------------------------------------------------------
def share_done(part: Job) -> float | None:
    """How much of its job; None if no worker has begun with it."""
    sign, share = progress_file(part), None
    for file in sign.parent.glob(f"{sign.name}.*"):
        try:
            share = float(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):       # it is being written, or gone
            share = share or 0.0
    if share is None or not part.config:
        return share
    if part.eval_spec:
        return TRAINING_SHARE + (1 - TRAINING_SHARE) * share
    return TRAINING_SHARE * share


class RunsBar(tqdm):
    """total: of runs, also those of later rounds, less those that are there."""

    def __init__(self, total: int):
        self.costs: dict[str, list[float]] = {}
        self.n_finished, self.spent = 0, 0.0  # runs, and their cost
        self.most: dict[Any, float] = {}    # that was told of a run: it moves forward only
        super().__init__(total=total, disable=not is_shown(BRIEF), leave=False, smoothing=0,
                         miniters=0, mininterval=bar_interval(), bar_format=FORMAT)

    def record_cost(self, job: Job) -> float:
        """What a run of its kind costs."""
        cost = cpu_seconds(job)
        self.costs.setdefault(kind_of(job), []).append(cost)
        return cost

    def count_finished(self, job: Job) -> None:
        self.n_finished += 1
        self.spent += self.record_cost(job)

    def advance(self, left: Mapping[Job, float]) -> None:
        """left: how much is done of each run that is not done in this round."""
        cost = {kind: float(np.mean(x)) for kind, x in self.costs.items()}
        usual = float(np.mean([*cost.values()] or [1])) or 1.0
        self.most = {job.key: max(share, self.most.get(job.key, 0)) for job, share in left.items()}
        costs = [(cost.get(kind_of(job), usual), self.most[job.key]) for job in left]
        done = self.spent + sum(x * share for x, share in costs)
        rest = sum(x * (1 - share) for x, share in costs)
        rest += usual * (self.total - self.n_finished - len(left))
        self.update(self.total * done / (done + rest or 1) - self.n)


def kind_of(job: Job) -> str:
    """Its arm, without rate and seed."""
    return job.name.partition(",")[0]
