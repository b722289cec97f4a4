"""Comparisons in the process of the tests: `compared` trains, `pretended` makes its scores up."""
import json
import shlex
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nanouft.compare import __main__ as compare
from nanouft.compare import plan
from nanouft.compare.jobs import Job, do
from nanouft.compare.report import Verdict
from nanouft.compare.runs import MADE, Run
from nanouft.compare.scoring import EXAMPLES
from nanouft.plumbing.files import write_arrays, write_json

MINE = """import torch.nn.functional as F
from nanouft.objectives.dpo import Pairs
from helper import SCALE

class Mine(Pairs):
    lr = 1e-3

    def each(self, i_w, i_l, batch):
        return -F.logsigmoid(SCALE * (i_w - i_l)) * batch.n / len(i_w)  # 0
"""
PAIRS = [{"prompt": f"Say {x} {y}.", "chosen": f"{x} {y}", "rejected": f"{y}"}
         for x in "fig pig bee oak nut elm".split() for y in "ant owl fox hen cat dog".split()]
LENGTH = "def f(completions):\n    return [len(x.split()) for x in completions]  # 0\n"
FILES = {"mine.py": MINE, "helper.py": "SCALE = 1\n", "r.py": LENGTH,
         "pairs.jsonl": "\n".join(map(json.dumps, PAIRS))}
RUNS = Path("out/compare/runs")


def fill(place: Path) -> None:
    """With the files of a person."""
    for name, text in FILES.items():
        (place / name).write_text(text)


def planned(line: str) -> plan.Comparison:
    """At each method's own rate."""
    c = plan.plan(plan.parse_command(shlex.split(line)))
    c.rates = {arm.unlabelled: c.own_rate(arm) for arm in c.all_arms}
    return c


def compared(line: str, work: Callable[[Job], str] = do) -> tuple[Verdict, list[Run]]:
    """(the verdict, runs of which something was made)."""
    made: dict[Run, None] = {}

    def submit(job: Job) -> Future:
        made[job.run] = None
        future: Future = Future()
        future.set_result(work(job))
        return future
    with pytest.MonkeyPatch.context() as now:
        now.setattr(compare, "workers", lambda *of: nullcontext(submit))
        return compare.compare(plan.parse_command(shlex.split(line))), [*made]


def pretended(line: str, scores: Callable[[Run], dict[str, np.ndarray]],
              weights: Callable[[Run], str] = lambda run: run.folder.name) -> Verdict:
    """Of runs that score so much, by "measure/task", and train nothing."""
    return compared(line, partial(pretend, scores, weights))[0]


def pretend(scores: Callable, weights: Callable, job: Job) -> str:
    run = job.run
    run.folder.mkdir(parents=True, exist_ok=True)
    if job.scores:
        who = f"{method_of(run)} {run.config.seed if run.config else ''}".strip()
        tasks = run.spec.tasks or ("rows",)
        texts = {f"{EXAMPLES}/{key}": [f"{key} of {task} by {who}" for task in tasks]
                 for key in ("prompt", "answer")}
        write_arrays(run.scores, seconds=30.0, **scores(run), **texts)
    else:
        write_json(run.folder / MADE, {"steps": run.config.steps, "seconds": 90.0,
                                       "weights": weights(run)})
        (run.folder / "model.safetensors").touch()
    return ""


def method_of(run: Run) -> str:
    return run.name.partition(", lr")[0]
