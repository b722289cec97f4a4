"""metrics.jsonl, one object a step. Numbers wait on the device and are read in groups: reading each one makes a GPU
wait. A loss or a gradient that is not finite stops the run in one line, before anything is saved."""
import math
import time
from pathlib import Path

import torch

from nanouft.shell import checkpoints
from nanouft.shell.devices import Device
from nanouft.shell.errors import Diverged
from nanouft.shell.files import Lines
from nanouft.shell.processes import all_reduce_sum
from nanouft.shell.text import said


def no_step(line: dict) -> str:
    """What is wrong with a line of metrics.jsonl that somebody may have edited; "" if nothing is."""
    if type(line.get("step", 0)) is not int:
        return "its step is no whole number"
    bad = no_numbers(line)
    return f"its {said(bad[0])} is no number" if bad else ""


def no_numbers(figures: dict) -> list[str]:
    """Names of the figures that are no numbers, also of those that stand together under one name."""
    bad = []
    for name, value in figures.items():
        if name in ("held_out", "families") and isinstance(value, dict):
            bad += no_numbers(value)
        elif type(value) not in (int, float) and not (value is None and name == "grad_norm"):
            bad.append(name)
    return bad


class Log:
    """The log of a run that goes on after step `start`; what an earlier process logged after that step is dropped.
    `kind`: a tracker that gets the lines, too."""

    def __init__(self, file: Path, start: int, device: Device, kind: str = "none"):
        self.lines, self.run, self.device = Lines(file), file.parent, device
        self.track = None
        if kind != "none" and device.rank == 0:
            from nanouft.shell.trackers import tracker  # only for those who ask for one
            self.track = tracker(kind, self.run, start)
        self.waiting: list[tuple] = []
        self.loss, self.tokens, self.clock = math.nan, 0, 0.0        # clock 0: nothing is timed yet
        if device.rank == 0 and start:
            checkpoints.point(self.run, start)              # `latest` names the step that was really taken
        if device.rank == 0 and (there := self.lines.read(no_step)):
            kept = [line for line in there if line.get("step", math.inf) <= start]
            self.lines.rewrite(kept)
            if lost := start - len({line["step"] for line in kept if "grad_norm" in line}):
                print(f"{file}: {lost:,} of {start:,} steps have no line; curves.png will lack them")

    def add(self, step: int, pieces: dict, known: dict, lr: float, tokens: int) -> None:
        """`pieces`: numbers that add up over processes. `known`: numbers that each of them knows; the last is the norm
        of the gradient."""
        numbers = pieces | {name: value / self.device.processes for name, value in known.items()}
        values = [torch.as_tensor(v, dtype=torch.float32).to(self.device.name) for v in numbers.values()]
        self.waiting.append((step, list(numbers), torch.stack(values), lr, tokens))

    def flush(self) -> str:
        """Write what is waiting; returns the progress bar's text."""
        if not self.waiting:
            return ""
        lines = []
        values = all_reduce_sum(torch.stack([v for _, _, v, _, _ in self.waiting]), self.device)
        bad = ""
        for (step, names, _, lr, tokens), row in zip(self.waiting, values.tolist()):
            line = dict(zip(names, row))
            if self.device.dtype == "fp16" and not math.isfinite(line["grad_norm"]):
                line["grad_norm"] = None                    # overflow: the gradient scaler leaves this step out
            bad = next((f"{k} is {v}" for k, v in line.items() if v is not None and not math.isfinite(v)), "")
            if bad:
                break
            self.loss, self.tokens = line["loss"], self.tokens + tokens
            lines.append({"step": step, **line, "lr": lr, "tokens": tokens})
        self.waiting = []
        self.write(*lines)
        if bad:
            raise Diverged(f"{bad} at step {step}: the run diverged; {self.last_step()}. "
                           "Lower --lr, or look at the data of that step")
        now = time.perf_counter()
        speed = f", {self.tokens / (now - self.clock):,.0f} answer tok/s" if self.clock else ""
        self.clock, self.tokens = now, 0
        if "kl_exact" in line:                              # own answers: there the loss says nothing
            return f"reward {line['reward']:.3f}, kl {line['kl_exact']:.3f}{speed}"
        return f"loss {self.loss:.3f}{speed}"

    def write(self, *objects: dict) -> None:
        if self.device.rank == 0:
            self.lines.add(*objects)
            if self.track:
                self.track(list(objects))

    def last_step(self) -> str:
        """What a run that stopped early leaves, for messages."""
        steps = checkpoints.whole_steps(self.run)
        return f"step {steps[-1]} in {self.run / 'steps'} is whole" if steps else f"no step was saved yet in {self.run}"
