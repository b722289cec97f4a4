"""A run folder while the model trains: the log, checkpoints, and saving if a run ends early.

    recorder = Recorder(folder, plan, model, optimizer, scaler, source, device, done)
    with recorder.saved_at_the_end("python -m nanouft.train --resume out/sft"):
        with recorder.signals() as signals:
            for step in recorder.follow(steps(...), signals):
                ...                         # the caller's own work after each step

Whatever ends a run (Ctrl-C, a signal, an error of a reward, a full disk), its last whole step is
saved, or its last whole rollout if the model samples. folder.py has the files and their formats.
"""
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from nanouft.gpt import GPT
from nanouft.loop import Device, Step
from nanouft.plumbing.entry import defer_signals, interrupted_by, stop_signals
from nanouft.plumbing.errors import Diverged, add_note
from nanouft.plumbing.printing import progress
from nanouft.run.folder import Log, save_step
from nanouft.run.plan import Plan


class Recorder:
    """A run that is logged and saved. `source`: RowSource or Rollouts; a run with Rollouts is saved
    only between two of them."""

    def __init__(self, folder: Path, plan: Plan, model: GPT, optimizer: torch.optim.Optimizer,
                 scaler: torch.amp.GradScaler, source: Any, device: Device, done: int = 0):
        """`done`: number of steps that a resumed run has taken."""
        self.folder, self.source, self.total = folder, source, plan.steps
        self.done = self.saved = done           # steps taken, steps saved
        self.model, self.optimizer, self.scaler = model, optimizer, scaler
        self.save_every = self.steps_between_saves(plan.cfg.save_every)
        # after a save of s seconds there is none for 9 s: writing takes at most a tenth of the time
        self.pause = 9 if plan.cfg.save_every is None else 0
        self.log = Log(folder / "metrics.jsonl", done, device)
        self.name = plan.objective.name
        self.updating = False                   # True while the optimizer takes a step
        optimizer.register_step_pre_hook(lambda *_: self.begin_update())

    def steps_between_saves(self, save_every: int | None) -> int:
        """Steps between two saves, in whole rollouts; 0 means never. A rollout of several steps
        cannot be saved in the middle, so by default each rollout is saved, if the pause allows
        it."""
        stride = self.source.stride
        if save_every is None:
            return 50 if stride == 1 else stride
        return math.ceil(save_every / stride) * stride

    def begin_update(self) -> None:
        self.updating = True

    @property
    def is_whole(self) -> bool:
        """True if the weights are those after step `done`, and this step ends its rollout."""
        return not self.updating and self.done % self.source.stride == 0

    def signals(self) -> AbstractContextManager[list[int]]:
        """Signals wait until a step or rollout is whole. A run without saves ends at once."""
        return defer_signals(stop_signals() if self.save_every else (),
                             "this step" if self.source.stride == 1 else "this rollout")

    def follow(self, steps: Iterable[Step], signals: list[int]) -> Iterator[Step]:
        """The same steps, logged. After the caller's work on a step the model is saved if a save is
        due. If a signal has come, KeyboardInterrupt ends the run."""
        next_save = 0.0
        self.bar = progress(self.total, self.name, steps, self.done, training=True)
        for step in self.bar:
            self.done, self.updating = step.done, False
            last = step.done == self.total
            self.log.add(step, self.source.stats)
            if self.log.is_due() or last:
                self.flush()
            yield step
            if signals and self.is_whole:
                self.save()
                raise KeyboardInterrupt
            is_due = self.save_every and step.done % self.save_every == 0
            if is_due and not last and time.monotonic() >= next_save:
                began = time.monotonic()
                self.save()
                next_save = time.monotonic() + self.pause * (time.monotonic() - began)

    @contextmanager
    def saved_at_the_end(self, goes_on: str) -> Iterator[None]:
        """If this block ends early, for whatever reason, save the last whole step if possible. The
        error then says what is kept. goes_on: the command that goes on from there."""
        try:
            with interrupted_by(stop_signals() if self.save_every else ()):
                yield
        except Diverged:                        # the same steps would diverge again
            raise
        except BaseException as e:
            if self.save_every and self.is_whole and self.done > self.saved:
                self.save_if_possible()
            if self.saved:
                add_note(e, f"{self.folder} holds step {self.saved}; go on with: {goes_on}")
            raise

    def save_if_possible(self) -> None:
        """Save. On a full disk, or without memory, the last save remains."""
        with self.signals(), suppress(OSError, SafetensorError, MemoryError, RuntimeError):
            self.save()

    def save(self) -> None:
        """Write the waiting numbers of the log, and the checkpoint of step `done`."""
        self.flush()
        save_step(self.folder, self.done, self.model, self.optimizer, self.scaler)
        self.saved = self.done

    def flush(self) -> None:
        """Write the waiting numbers of the log."""
        if text := self.log.flush():
            self.bar.set_postfix_str(text, refresh=False)
