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


def odd(line: dict) -> str:
    """What is wrong with a line of metrics.jsonl: a run writes finite numbers, null and groups of them."""
    fits = all(x is None or isinstance(x, dict) or type(x) in (int, float) and math.isfinite(x) for x in line.values())
    return "" if fits else f"holds a figure that is no number: {said(line)}"


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
        if device.rank == 0:
            self.lines.rewrite(self.kept(start))

    def kept(self, start: int) -> list[dict]:
        """The lines up to step `start`, each once and in order; says what had to be put right."""
        there = [line for line in self.lines.read(odd) if line.get("step", math.inf) <= start]
        of_place = {(line["step"], "held_out" in line): line for line in there}
        kept = [of_place[place] for place in sorted(of_place)]
        if kept != there:
            print(f"{self.lines.file}: lines stood twice or in another order; of each step the last one stays")
        if lost := start - len({line["step"] for line in kept if "grad_norm" in line}):
            print(f"{self.lines.file}: {lost:,} of {start:,} steps have no line; curves.png will lack them")
        return kept

    def add(self, step: int, pieces: dict, known: dict, lr: float, tokens: int) -> None:
        """`pieces`: numbers that add up over processes. `known`: numbers that each of them knows; the last is the norm
        of the gradient. None is moved here: a GPU waits for a number from the CPU, too."""
        numbers = pieces | {name: value / self.device.processes for name, value in known.items()}
        self.waiting.append((step, numbers, lr, tokens))

    def flush(self) -> str:
        """Write what is waiting; returns the progress bar's text."""
        if not self.waiting:
            return ""
        lines, bad, there = [], "", self.device.name
        values = [torch.stack([torch.as_tensor(x, dtype=torch.float32, device=there) for x in numbers.values()])
                  for _, numbers, _, _ in self.waiting]
        total = all_reduce_sum(torch.stack(values), self.device)                # (steps, numbers)
        for (step, numbers, lr, tokens), row in zip(self.waiting, total.tolist()):
            line = dict(zip(numbers, row))
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
        if "kl_exact" in line:                              # it samples: the loss says nothing
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
