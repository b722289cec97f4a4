"""metrics.jsonl, one object a step.

Numbers wait on the device and are read in groups: reading each one would make a GPU wait. A loss or
a gradient that is not finite stops the run in one line, before anything is saved.
"""
import json
import math
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch

from nanouft.errors import Diverged, say
from nanouft.loop import Device, Step
from nanouft.run import checkpoints
from nanouft.run.schema import FILES, wrong
from nanouft.run.storage import Lines


class Log:
    """The log of a run that goes on after step `start`; what an earlier process logged after that
    step is dropped. `kind`: what gets the lines, too."""

    def __init__(self, file: Path, start: int, device: Device, kind: str = "none"):
        self.file, self.device = file, device
        self.track = None
        if device.rank == 0:
            if kind != "none":
                from nanouft.run.trackers import tensorboard  # only for those who ask for it
                self.track = tensorboard(file.parent, start)
            Lines(file).rewrite(kept(file, start) if start else [])
        self.waiting: list[tuple[Step, dict]] = []
        self.loss, self.tokens = math.nan, 0
        self.clock = 0.0                                    # nothing is timed yet

    def add(self, step: Step, stats: Mapping[str, float]) -> None:
        """`stats`: numbers that every process knows. Nothing is moved: a GPU would wait."""
        norm = step.norm.full_tensor() if hasattr(step.norm, "full_tensor") else step.norm
        shared = {**stats, "grad_norm": norm}
        each = {name: value / self.device.processes for name, value in shared.items()}
        self.waiting.append((step, step.sums | each))

    def flush(self) -> str:
        """Write what is waiting; returns the progress bar's text."""
        if not self.waiting:
            return ""
        lines, bad, there = [], "", self.device.name
        rows = [torch.stack([torch.as_tensor(x, dtype=torch.float32, device=there)
                             for x in numbers.values()]) for _, numbers in self.waiting]
        total = self.device.sum(torch.stack(rows))                      # (steps, numbers)
        for (step, numbers), row in zip(self.waiting, total.tolist()):
            line = dict(zip(numbers, row))
            if self.device.dtype == "fp16" and not math.isfinite(line["grad_norm"]):
                line["grad_norm"] = None            # overflow: the scaler leaves this step out
            bad = next((f"{name} is {x}" for name, x in line.items()
                        if x is not None and not math.isfinite(x)), "")
            if bad:
                break
            self.loss, self.tokens = line["loss"], self.tokens + step.tokens
            lines.append({"step": step.number, **line, "lr": step.rate, "tokens": step.tokens})
        self.waiting = []
        self.write(*lines)
        if bad:
            run = self.file.parent
            held = max(checkpoints.whole_steps(run), default="none")
            raise Diverged(f"{bad} at step {step.number}: the run diverged; step {held} in {run} "
                           "is whole. Lower --lr, or look at the data of that step")
        now = time.perf_counter()
        speed = f", {self.tokens / (now - self.clock):,.0f} answer tok/s" if self.clock else ""
        self.clock, self.tokens = now, 0
        if "kl_exact" in line:                      # it samples: the loss says nothing
            return f"reward {line['reward']:.3f}, kl {line['kl_exact']:.3f}{speed}"
        return f"loss {self.loss:.3f}{speed}"

    def write(self, *objects: dict) -> None:
        if self.device.rank == 0:
            with open(self.file, "ab") as f:
                f.write("".join(json.dumps(x) + "\n" for x in objects).encode())
            if self.track:
                self.track(list(objects))


def kept(file: Path, start: int) -> list[dict]:
    """The lines up to step `start`, each once and in order; says what had to be repaired."""
    fits = partial(wrong, kind=FILES[file.name])
    there = [line for line in Lines(file).read(fits) if line.get("step", math.inf) <= start]
    of_place = {(line["step"], "held_out" in line): line for line in there}
    out = [of_place[place] for place in sorted(of_place)]
    if out != there:
        say(f"{file}: lines stood twice or in another order; of each step the last one stays")
    if lost := start - len({line["step"] for line in out if "grad_norm" in line}):
        say(f"{file}: {lost:,} of {start:,} steps have no line; curves.png will lack them")
    return out
