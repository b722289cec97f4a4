"""A run folder while the model trains: the log, checkpoints, Ctrl-C, and going on after a break.

    run = Run(folder, plan, model, optimizer, scaler, source, device, done)
    with defer_signals((signal.SIGINT, signal.SIGTERM), "this step") as signals:
        for step in run.follow(steps(...), signals):
            ...                             # what the caller does beside it

Files and formats are those of folder.py.
"""
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from nanouft.gpt import GPT
from nanouft.loop import Device, Step
from nanouft.plumbing.progress import progress
from nanouft.run.folder import Log, save_step
from nanouft.run.plan import Plan


class Run:
    """`source`: Epochs, or Rollouts, with which a run is saved only between two rollouts."""

    def __init__(self, folder: Path, plan: Plan, model: GPT, optimizer: torch.optim.Optimizer,
                 scaler: torch.amp.GradScaler, source: Any, device: Device, done: int = 0):
        """`done`: the steps that a resumed run has taken."""
        cfg = plan.cfg
        self.folder, self.source, self.total, self.done = folder, source, plan.steps, done
        self.model, self.optimizer, self.scaler = model, optimizer, scaler
        save_every = 50 if cfg.save_every is None else cfg.save_every
        self.save_every = math.ceil(save_every / source.stride) * source.stride     # 0: never
        # after a save of s seconds none for 9 s: writing takes no more than a tenth of the time
        self.pause = 9 if cfg.save_every is None else 0
        self.log = Log(folder / "metrics.jsonl", done, device)
        self.name = plan.objective.name

    def follow(self, steps: Iterable[Step], signals: list[int]) -> Iterator[Step]:
        """The same steps, each of them logged. After the caller's work on a step the model is saved
        now and then, and also if a signal has come; KeyboardInterrupt then says how to go on."""
        next_save = 0.0
        self.bar = progress(self.total, self.name, steps, self.done, training=True)
        for step in self.bar:
            n, last = step.done, step.done == self.total
            self.log.add(step, self.source.stats)
            if self.log.is_due() or last:
                self.flush()
            yield step
            interrupted = signals and n % self.source.stride == 0
            is_due = self.save_every and n % self.save_every == 0 and time.time() >= next_save
            if interrupted or is_due and not last:
                self.flush()
                began = time.time()
                save_step(self.folder, n, self.model, self.optimizer, self.scaler)
                next_save = time.time() + self.pause * (time.time() - began)
            if interrupted:
                raise KeyboardInterrupt(f"{self.folder} holds step {n}; go on with: python -m "
                                        f"nanouft.train --resume {self.folder}")

    def flush(self) -> None:
        """Write what the log has waiting."""
        if text := self.log.flush():
            self.bar.set_postfix_str(text, refresh=False)
