"""What a run writes while its model trains, and how a stopped run resumes from it.

    recorder = Recorder(folder, cfg, objective, model, optimizer, scaler, source, device)
    with recorder.saved_if_it_ends_early("python -m nanouft.train --resume out/sft"):
        for step in recorder.log_and_save(steps(...)):
            ...                         # the caller's own work after each step

metrics.jsonl gets a line for each step (Log). checkpoint.safetensors has the trained weights and
AdamW's moments after the last saved step (save_step; load_step reads it). A new one is written
beside the old one and then renamed. So a kill at any moment leaves the old one or the new one. A
log line that a kill cut short is ignored. Nothing is pickled. folder.py lists the other files.
"""
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from nanouft.device import Device
from nanouft.gpt import GPT
from nanouft.objective import Objective
from nanouft.plumbing import files
from nanouft.plumbing.errors import Diverged, UserError, flag
from nanouft.plumbing.printing import note, progress, say
from nanouft.plumbing.safetensors_files import load_tensors, not_finite, save_tensors
from nanouft.run.config import SettledConfig
from nanouft.run.folder import read_lines

CHECKPOINT, BEST = "checkpoint.safetensors", "best.safetensors"     # BEST: of --keep best
MOMENTS = ("step", "exp_avg", "exp_avg_sq")             # what AdamW keeps of a parameter
# Ctrl-C, kill, a terminal that closes, and the signal that clusters send before their time limit
STOP = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


class Recorder:
    """A run that is logged, and saved every --save-every steps and when it is stopped.

    Ctrl-C, kill and the other signals of STOP save the last whole step and then end the run; so
    does an error, of a reward or for want of memory. If the model samples, it is the last whole
    rollout. After kill -9 the last regular save remains. No step is saved with --save-every 0, nor
    of a run that diverged, because the same steps would diverge again. `source`: RowSource or
    Rollouts; `done`: steps that a resumed run has taken."""

    def __init__(self, folder: Path, cfg: SettledConfig, objective: Objective, model: GPT,
                 optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, source: Any,
                 device: Device, done: int = 0):
        self.folder, self.stride, self.total = folder, source.stride, cfg.steps
        self.done = self.saved = done           # steps taken, steps saved
        self.model, self.optimizer, self.scaler, self.source = model, optimizer, scaler, source
        self.save_every = self.steps_between_saves(cfg.save_every)
        # after a save of s seconds there is none for 9 s: writing takes at most a tenth of the time
        self.pause = 9 if cfg.save_every is None else 0
        self.log = Log(folder / "metrics.jsonl", done, device)
        self.name = objective.name
        self.updating = False                   # True while the optimizer takes a step
        self.waits = self.stopped = False       # signals wait for the end of a step; one has come
        optimizer.register_step_pre_hook(lambda *_: setattr(self, "updating", True))

    def steps_between_saves(self, save_every: int | None) -> int:
        """Steps between two saves, in whole rollouts; 0 means never. A rollout of several steps
        cannot be saved in the middle, so by default each rollout is saved, if the pause allows
        it."""
        if save_every is None:
            return 50 if self.stride == 1 else self.stride
        return math.ceil(save_every / self.stride) * self.stride

    @property
    def is_whole(self) -> bool:
        """True if the weights are those after step `done`, and this step ends its rollout."""
        return not self.updating and self.done % self.stride == 0

    def log_and_save(self, steps: Iterable[Any]) -> Iterator[Any]:
        """The same steps, logged. After the caller's work on a step the model is saved if a save is
        due. If a signal has come, KeyboardInterrupt ends the run."""
        next_save = 0.0
        self.waits = True
        self.bar = progress(self.total, self.name, steps, self.done, training=True)
        for step in self.bar:
            self.done, self.updating = step.done, False
            last = step.done == self.total
            self.log.add(step, self.source.stats)
            if self.log.is_due() or last:
                self.flush()
            yield step
            if self.stopped and self.is_whole:
                self.save()
                raise KeyboardInterrupt
            is_due = self.save_every and step.done % self.save_every == 0
            if is_due and not last and time.monotonic() >= next_save:
                began = time.monotonic()
                self.save()
                next_save = time.monotonic() + self.pause * (time.monotonic() - began)
        self.waits = False

    @contextmanager
    def saved_if_it_ends_early(self, goes_on: str) -> Iterator[None]:
        """If this block ends early, save the last whole step if possible. The error then says what
        is kept. goes_on: the command that goes on from there."""
        with handle_signals(STOP if self.save_every else (), self.on_signal):
            try:
                yield
            except Diverged:
                raise
            except BaseException as e:
                self.waits = True               # a second Ctrl-C does not end the save
                if self.save_every and self.is_whole and self.done > self.saved:
                    # on a full disk, or without memory, the last save remains
                    with suppress(OSError, SafetensorError, MemoryError, RuntimeError):
                        self.save()
                if self.saved:
                    note = f"{self.folder}: saved at step {self.saved}; resume with: {goes_on}"
                    e.__notes__ = [note]    # type: ignore[attr-defined]  # printed after its line
                raise

    def on_signal(self, number: int, frame: Any) -> None:
        """Stop at the end of this step or rollout; outside the training, at once."""
        if not self.waits:
            raise KeyboardInterrupt
        self.stopped = True
        after = "step" if self.stride == 1 else "rollout"
        with suppress(OSError):         # os.write, for print may be what was interrupted
            os.write(2, f"\ninterrupted: the run stops after this {after}\n".encode())

    def save(self) -> None:
        """Write the waiting numbers of the log, and the checkpoint of step `done`."""
        self.flush()
        save_step(self.folder, self.done, self.model, self.optimizer, self.scaler)
        self.saved = self.done

    def flush(self) -> None:
        """Write the waiting numbers of the log."""
        if text := self.log.flush():
            self.bar.set_postfix_str(text, refresh=False)


@contextmanager
def handle_signals(names: Iterable[str], on_signal: Callable[[int, Any], None]) -> Iterator[None]:
    """Let these signals call a function. Windows has the first two alone. Under nohup a closing
    terminal stays ignored. In another thread than the main one Python allows no handlers."""
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {n: signal.signal(n, on_signal) for n in numbers
              if n in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ---- checkpoints ---------------------------------------------------------------------------------
def save_step(run: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer,
              scaler: torch.amp.GradScaler) -> None:
    """Write checkpoint.safetensors, the trained weights and AdamW's moments after this step. In its
    head are the step, the numbers of the parameters that have moments, and fp16's scale."""
    weights = trained_weights(model)
    if name := not_finite(weights):
        raise Diverged(f"the run diverged: weights are not finite after step {step} ({name}) and "
                       "were not saved; lower ", flag("lr"))
    states = optimizer.state_dict()["state"]                # {number of a parameter: its moments}
    tensors = {f"model.{name}": x for name, x in weights.items()}
    tensors |= {f"{i}.{name}": states[i][name] for i in states for name in MOMENTS}
    head = {"step": step, "updated": [*states], "scaler": scaler.state_dict()}
    save_tensors(run / CHECKPOINT, tensors, about=json.dumps(head))


def load_step(run: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer,
              scaler: torch.amp.GradScaler) -> int:
    """Load the checkpoint into all three. Returns its number of steps; 0 if there is none, and the
    run begins anew. UserError if it cannot be read or is of another model."""
    file = run / CHECKPOINT
    head = head_of(file)
    if not head:
        files.remove(run / BEST)
        say(f"{run}: no checkpoint; starting again at step 1")
        return 0
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    weights = trained_weights(model)
    with errors_of_checkpoint(file):
        wanted = {f"model.{name}": x for name, x in weights.items()}
        wanted |= {f"{i}.{name}": torch.zeros(()) if name == "step" else parameters[i]
                   for i in head["updated"] for name in MOMENTS}
        tensors = load_tensors(file, wanted)
    model.load_state_dict({name: tensors[f"model.{name}"] for name in weights}, strict=False)
    state = {i: {name: tensors[f"{i}.{name}"] for name in MOMENTS} for i in head["updated"]}
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
    if head["scaler"]:                                      # only in fp16
        scaler.load_state_dict(head["scaler"])
    say(f"{run}: resuming after step {head['step']}")
    return head["step"]


def saved_step(run: Path) -> int:
    """The step after which a run was saved; 0 if it was not."""
    return head_of(run / CHECKPOINT).get("step", 0)


def keep_best(run: Path, step: int, metrics: Mapping[str, Any], model: torch.nn.Module) -> None:
    """Write best.safetensors, the weights after this step, if no step before it was as good by the
    first of these metrics of held-out rows."""
    figure, value = next(iter(metrics.items()))
    best, sign = head_of(run / BEST), -1 if figure == "nll" else 1      # else accuracy or auc
    if not best or sign * value > sign * best[figure]:
        save_tensors(run / BEST, trained_weights(model), about=json.dumps(
            {"step": step, figure: value}))


def load_best(run: Path, model: torch.nn.Module) -> dict[str, Any]:
    """Load the best weights. Returns their head, {"step": 30, "nll": 0.87}."""
    best = head_of(run / BEST)
    with errors_of_checkpoint(run / BEST):
        model.load_state_dict(load_tensors(run / BEST, trained_weights(model)), strict=False)
    _, (figure, value) = best.items()
    end = "lowest" if figure == "nll" else "highest"
    say(f"saved: step {best['step']}, with the {end} held-out {figure}, {value:.3f}")
    return best


def remove_checkpoints(run: Path) -> None:
    """Of a run that is finished; also what a kill has left of one that was not written to its
    end."""
    for name in (CHECKPOINT, BEST):
        files.remove(run / name)
        files.remove(run / f"{name}.partial")


def head_of(file: Path) -> dict[str, Any]:
    """What the head of a checkpoint says; {} if there is no file. UserError if it cannot be
    read."""
    if not file.exists():
        return {}
    with errors_of_checkpoint(file), safe_open(file, "pt") as opened:
        return json.loads(opened.metadata()["about"])


@contextmanager
def errors_of_checkpoint(file: Path) -> Iterator[None]:
    """Make one line that says what to do of whatever is wrong with the content of a checkpoint."""
    try:
        yield
    except (SafetensorError, OSError, ValueError, LookupError, TypeError) as e:
        raise UserError(f"{file}: cannot be read ({e}); start a new run, or delete "
                        f"{file.with_name(CHECKPOINT)} to begin at step 1") from None


def trained_weights(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


# ---- the log -------------------------------------------------------------------------------------
def check_finite(line: Mapping[str, float | None], step: int, named: set[str]) -> None:
    """Diverged if the loss or the gradient is not finite. Any other number that is not, such as a
    mean over no rows, is logged as null, and named once: `named` has those that were."""
    odd = {name: x for name, x in line.items() if x is not None and not math.isfinite(x)}
    for name in odd:
        if name in ("loss", "eval_loss", "grad_norm"):
            if step == 1:
                raise Diverged(f"the run diverged: {name} is {odd[name]} at step 1, before any "
                               "update; look at its rows, and at the loss")
            raise Diverged(f"the run diverged: {name} is {odd[name]} at step {step}; lower ",
                           flag("lr"), ", or look at the rows of that step")
    for name in odd.keys() - named:
        named.add(name)
        note(f"metric {name} is {odd[name]} at step {step}, although the loss is finite; such "
             "values are logged as null", write=tqdm.write)


def to_floats(numbers: Sequence[Any]) -> list[float]:
    """The same in fp32. Those on a GPU come in one copy, for which the CPU waits."""
    on_gpu = [isinstance(x, Tensor) and not x.is_cpu for x in numbers]
    there = [x.float() for x, is_there in zip(numbers, on_gpu) if is_there]
    copied = iter(torch.stack(there).tolist() if there else [])
    return [next(copied) if is_there else float(torch.as_tensor(x, dtype=torch.float32))
            for x, is_there in zip(numbers, on_gpu)]


class Log:
    """metrics.jsonl. Numbers stay on the device and are read in groups, because a GPU waits for
    each reading. A loss or gradient that is not finite stops the run before anything is saved."""
    STEPS, SECONDS = 10, 5          # a group is read after this many steps or seconds

    def __init__(self, file: Path, start: int, device: Device):
        self.file, self.device = file, device
        kept = [x for x in read_lines(file) if x["step"] <= start] if start else []
        files.write_text(file, "".join(json.dumps(x) + "\n" for x in kept))
        self.waiting: list[tuple[Any, dict]] = []
        self.named: set[str] = set()        # metrics that were not finite
        self.tokens, self.clock = 0, time.perf_counter()

    def has_evaluation(self, step: int) -> bool:
        """True if the evaluation after this step was made."""
        return any("loss" not in x for x in read_lines(self.file) if x["step"] == step)

    def add(self, step: Any, stats: Mapping[str, float]) -> None:
        self.waiting.append((step, {**step.sums, **stats, "grad_norm": step.norm}))

    def is_due(self) -> bool:
        late = time.perf_counter() - self.clock > self.SECONDS
        return late or self.waiting[-1][0].done % self.STEPS == 0

    def flush(self) -> str:
        """Write the waiting numbers. Returns the text for the progress bar."""
        if not self.waiting:
            return ""
        values = iter(to_floats([x for _, line in self.waiting for x in line.values()]))
        for step, numbers in [*self.waiting]:           # not all steps have the same metrics
            line: dict[str, Any] = {name: next(values) for name in numbers}
            if self.device.dtype == "fp16" and not math.isfinite(line["grad_norm"]):
                line["grad_norm"] = None            # overflow: the scaler left this step out
            check_finite(line, step.done, self.named)
            self.write({"step": step.done, **line, "lr": step.lr, "tokens": step.tokens})
            self.waiting.pop(0)
            self.tokens += step.tokens_read
        now = time.perf_counter()
        speed, self.clock, self.tokens = self.tokens / (now - self.clock), now, 0
        what = f"loss {line['loss']:.3f}"
        if {"kl_exact", "reward"} <= line.keys():
            what = f"reward {line['reward']:.3f}"
        elif "nll_mixed" in line:                       # IFT's weighted loss says little
            what = f"nll {line['nll_mixed']:.3f} on blended inputs"
        return f"{what}, {speed:,.0f} tok/s"

    def write(self, line: dict) -> None:
        """Append a line; on a full disk nothing of it."""
        end = os.path.getsize(self.file)
        try:
            with open(self.file, "a", encoding="utf-8") as f:
                f.write(json.dumps(files.as_json(line)) + "\n")
        except OSError as e:
            os.truncate(self.file, end)
            e.filename = str(self.file)
            raise
