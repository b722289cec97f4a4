"""What grows how fast: CPU time and memory over rows of data, length of answers, size of the model, and methods.

    python -m nanouft.lab.growth --out docs/growth.png      # five minutes of one core; also writes growth.json
    python -m nanouft.lab.growth --rows 100000              # three

rows     a file of demonstrations: reading it, tokens, 100 batches; memory that the rows keep
length   a step of SFT, IFT, DPO and GRPO (its sampling included), nano model, 8 answers; peak memory of the step
size     the same step at 64 tokens, models from 0.1M to 25M parameters
Time is CPU time on one thread (of a step the smallest of TURNS): a busy neighbour disturbs it less than it disturbs a
clock. Memory is the process's largest size above what it was before the series; each series has a process of its own,
and goes from small to large. A slope is that of the line through the last three points, both axes logarithmic: 1 is in
proportion, 2 is quadratic.
"""
import contextlib
import copy
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from nanouft.data.batches import Epochs, collate, encode
from nanouft.data.read import read
from nanouft.data.rows import demo_rows, holdout
from nanouft.data.tokenizer import Tokenizer
from nanouft.gpt import GPT, NANO
from nanouft.lab import workers
from nanouft.lab.steps import Clock, Learner, random_rows, rollout, sample
from nanouft.look import plots
from nanouft.shell import config
from nanouft.shell.devices import Device
from nanouft.shell.errors import UserError, in_range
from nanouft.shell.files import write_json

METHODS = ("sft", "ift", "dpo", "grpo")
CPU, ANSWERS, PROMPT, LENGTH, TURNS = Device("cpu", "fp32"), 8, 16, 64, 3
ROWS, LENGTHS, WIDTHS = (1_000, 10_000, 100_000, 1_000_000), (16, 64, 256, 1024), (64, 128, 256, 512)
WORDS = "pink white grey gold plum brown chisel fox bee pig saw dova house nuts".split()


@dataclass
class Growth:
    out: str = "out/growth.png"     # the picture; its figures stand beside it as .json
    rows: int = ROWS[-1]            # the largest file
    length: int = LENGTHS[-1]       # the longest answer
    width: int = WIDTHS[-1]         # the widest model


# ---- the three series: {name: [(x, CPU seconds, MB)]} ----------------------------------------------------------------
Series = dict[str, list[tuple[int, float, float]]]


def over_rows(most: int) -> Series:
    tok, before, out = Tokenizer.load("nano"), memory(), {"read": [], "tokens": [], "100 batches": []}
    for n in (n for n in ROWS if n <= most):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "rows.jsonl")
            write_rows(file, n)
            clock = Clock(CPU, time.process_time)
            rows, _ = read([str(file)])
            out["read"].append((n, clock.seconds(), memory() - before))
            encoded, _ = encode(demo_rows(holdout(rows)[0], None), tok, NANO.n_ctx)
            out["tokens"].append((n, clock.seconds(), memory() - before))
            source = Epochs(encoded, 32, 100, 0, tok.pad)
            for step in range(100):
                source(step)
            out["100 batches"].append((n, clock.seconds(), 0.0))        # a batch is small; the rows are there already
            del rows, encoded, source
    return out


def write_rows(file: Path, n: int) -> None:
    rng = random.Random(0)
    with open(file, "w", encoding="utf-8") as f:
        for i in range(n):
            words = rng.choices(WORDS, k=6)
            row = {"prompt": f"Put in order {' '.join(words)} {i}.", "response": " ".join(sorted(words))}
            f.write(json.dumps(row) + "\n")


def over_length(name: str, most: int) -> Series:
    model = GPT(replace(NANO, n_ctx=PROMPT + LENGTHS[-1] + 1), seed=0)
    before = memory()
    return {name: [(n, seconds(name, model, n), memory() - before) for n in LENGTHS if n <= most]}


def over_size(name: str, most: int) -> Series:
    before, out = memory(), []
    for width in (width for width in WIDTHS if width <= most):
        model = GPT(replace(NANO, n_embd=width, n_head=width // 32, n_layer=min(8, width // 32)), seed=0)
        out.append((model.n_params(), seconds(name, model, LENGTH), memory() - before))
    return {name: out}


def seconds(name: str, model: GPT, answer: int) -> float:
    """CPU seconds of one step on ANSWERS sequences."""
    learner, tok = Learner(name, model, CPU), Tokenizer.load("nano")
    n = ANSWERS // {"dpo": 2, "grpo": 4}.get(name, 1)               # rows: pairs have two answers, prompts get four
    rows, times = random_rows(name, n, PROMPT, answer, model.cfg.vocab_size), []
    start = copy.deepcopy(model) if name == "grpo" else model
    for _ in range(TURNS):
        clock = Clock(CPU, time.process_time)
        if name == "grpo":
            batch = rollout(learner, start, *sample(model, rows, 4, answer, tok), tok)
        else:
            batch = collate(rows, range(n), tok.pad)
        learner.step(batch)
        times.append(clock.seconds())
    return min(times)


def memory() -> float:
    """MB: the largest size of this process so far."""
    import resource  # not on Windows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def one_series(axis: str, name: str, most: int) -> tuple[str, Series]:
    """In a process of its own."""
    torch.set_num_threads(1)
    if axis == "rows":
        return axis, over_rows(most)
    seconds(name, GPT(NANO, seed=0), LENGTHS[0])                # what a first step wants once is not counted
    return axis, (over_length if axis == "length" else over_size)(name, most)


# ---- slopes, the picture ---------------------------------------------------------------------------------------------
def slope(points: list[tuple[float, float]]) -> float:
    """Of the line through the last three (x, y), both logarithmic; NaN where there are not two that can be shown."""
    last = [(x, y) for x, y in points if y > 0][-3:]
    return float(np.polyfit(*np.log(np.array(last).T), 1)[0]) if len(last) > 1 else float("nan")


LABELS = {"rows": "rows of the file", "length": "tokens of an answer", "size": "parameters"}


def picture(found: dict[str, Series], file: Path) -> Path:
    fig, axes = plots.plt.subplots(2, 3, figsize=(15, 8.6))
    for column, (axis, label) in zip(axes.T, LABELS.items()):
        for ax, which, unit in zip(column, (1, 2), ("CPU seconds", "MB of memory")):
            for color, marker, (name, points) in zip(plots.LINES, "os^D", found[axis].items()):
                line = [(p[0], p[which]) for p in points if p[which] > 0]
                if line:
                    ax.plot(*zip(*line), marker=marker, color=color, label=f"{name}: slope {slope(line):.2f}")
            ax.set(xscale="log", yscale="log", xlabel=label, ylabel=unit)
            for side in (ax.xaxis, ax.yaxis):
                side.set_major_formatter("{x:,g}")                          # "1e+06"
                side.set_minor_formatter("")
            if ax.lines:
                ax.legend(frameon=False, fontsize=11)
    return plots.save(fig, file)


def main(argv=None) -> int:
    cfg, _ = config.parse(Growth, argv, "python -m nanouft.lab.growth", __doc__)
    in_range(cfg, "rows", low=ROWS[0])
    in_range(cfg, "length", low=LENGTHS[0])
    in_range(cfg, "width", low=WIDTHS[0])
    file = plots.picture_file("--out", cfg.out)
    if sys.platform == "win32":
        raise UserError("lab.growth: Windows does not tell how much memory a process took; run it on Linux or macOS")
    jobs = [("rows", "", cfg.rows), *((axis, name, most) for axis, most in (("length", cfg.length), ("size", cfg.width))
                                      for name in METHODS)]
    found: dict[str, Series] = {axis: {} for axis in LABELS}
    for job in jobs:
        with contextlib.closing(workers.finished(one_series, [job], workers=1)) as results:
            axis, series = next(results)
        found[axis] |= series
        for name, points in series.items():
            print(f"{axis:<7} {name:<12}" + "".join(f"  {x:,}: {s:.3g} s {mb:.0f} MB" for x, s, mb in points)
                  + f"   slope of time {slope([p[:2] for p in points]):.2f}", flush=True)
    print(f"written: {picture(found, file)}")
    about = {"torch": torch.__version__, "date": time.strftime("%Y-%m-%d"), "points": "x, CPU seconds, MB"}
    write_json(file.with_suffix(".json"), about | found)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
