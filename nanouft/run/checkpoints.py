"""Checkpoints: atomic steps, exact resume.

out/<name>/steps/<n>/   weights and optimizer state after step n

A step folder is written whole under another name, flushed to disk and renamed once. Kill the
process anywhere: either the old step or the new one is there, never half of one. Checksums find a
step that the disk damaged later. Weights that are not finite are never saved. Nothing is pickled or
unpickled.
"""
import contextlib
import errno
import os
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nanouft.errors import Diverged, UserError, say
from nanouft.run import tensors
from nanouft.run.processes import part, whole
from nanouft.run.schema import read
from nanouft.run.storage import checksum, not_finite, regular, write_json


# ---- saving --------------------------------------------------------------------------------------
def save_step(run: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer,
              extra: dict[str, Any], chief: bool = True) -> None:
    """Write steps/<step>/ whole, rename it once, keep the two newest steps. `extra` is what else
    --resume needs, as JSON. UserError if a weight is not finite; OSError if the disk is full.
    If processes share the weights (--shard) all call it; the chief gets everything and writes."""
    weights = whole(weights_of(model), chief)
    state = whole(state_of(optimizer), chief)
    if not chief:
        return
    if name := not_finite(weights):
        raise Diverged(f"weights are no longer finite after step {step} ({name}) and were not "
                       "saved; lower --lr")
    steps = run / "steps"
    final, partial = steps / str(step), steps / f"partial-{step}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _save(weights, partial / "model.safetensors")
        _save(state, partial / "optimizer.safetensors")
        sums = {f.name: checksum(f) for f in partial.iterdir()}
        write_json(partial / "step.json", {"step": step, "sha256": sums, **extra})
        _flush(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)      # half a step only fills a full disk
        raise
    shutil.rmtree(final, ignore_errors=True)            # an old step that --resume went back before
    os.rename(partial, final)
    _flush_folder(steps)
    tidy(run)


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a step keeps: the weights that are trained, a tied one once. The others are those of the
    start model."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def state_of(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """{"3.exp_avg": the state `exp_avg` of parameter 3}."""
    states = optimizer.state_dict()["state"]
    return {f"{i}.{name}": x for i, state in states.items() for name, x in state.items()}


def tidy(run: Path) -> None:
    """Keep the two newest whole steps and the best one, as the newest tells, and nothing of a step
    that a kill cut short."""
    steps = run / "steps"
    whole = whole_steps(run)
    best = None
    with contextlib.suppress(UserError):                # a damaged one: load_step says so
        best = read(steps / str(whole[-1]) / "step.json").get("best") if whole else None
    old = [steps / str(n) for n in whole[:-2] if n != best]
    for folder in [*old, *steps.glob("partial-*")]:
        shutil.rmtree(folder, ignore_errors=True)


def _save(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """save_file, whose own error hides the OSError that it comes from."""
    try:
        save_file(tensors, file)
    except SafetensorError as e:
        found = re.search(r"os error (\d+)", str(e))
        code = int(found[1]) if found else errno.EIO
        raise OSError(code, os.strerror(code), str(file))


def _flush(folder: Path) -> None:
    """Write to the disk before the rename, so that a power cut cannot leave an empty file with the
    final name."""
    for file in folder.iterdir():
        with open(file, "rb+") as f:
            os.fsync(f.fileno())


def _flush_folder(folder: Path) -> None:
    """The rename itself, too. (Windows does not flush folders.)"""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


# ---- loading -------------------------------------------------------------------------------------
def whole_steps(run: Path) -> list[int]:
    """Numbers of the complete step folders, oldest first. A folder with a plain number was renamed,
    so it is whole."""
    steps = run / "steps"
    names = [f.name for f in steps.iterdir()] if steps.is_dir() else []
    return sorted(int(name) for name in names if re.fullmatch("[1-9][0-9]{0,9}", name))


def load_step(run: Path, model: torch.nn.Module,
              optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Load the newest step that can be read into model and optimizer; returns step.json. For a
    damaged one it prints a note and takes the step before. With none it is step 0."""
    for step in reversed(whole_steps(run)):
        folder = run / "steps" / str(step)
        try:
            extra, weights, state = read_step(folder, step, model, optimizer)
        except (UserError, SafetensorError, OSError, ValueError, LookupError, TypeError) as e:
            why = " ".join(str(e).split())
            say(f"{folder}: damaged ({why}); going back to the step before")
            continue
        now = weights_of(model)                         # read_step has compared all names
        mine = {name: part(x, now[name]) for name, x in weights.items()}
        model.load_state_dict(mine, strict=False)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        tidy(run)
        say(f"{run}: going on after step {step}")
        return extra
    say(f"{run}: no whole step is saved there, starting from the beginning")
    return {"step": 0}


def load_weights(run: Path, step: int, model: torch.nn.Module) -> bool:
    """The weights after a step that is saved, into the model. False, with a line, if they cannot be
    read."""
    file = run / "steps" / str(step) / "model.safetensors"
    try:
        weights = tensors.load(file, tensors.wanted_of(weights_of(model)))
    except (SafetensorError, OSError, ValueError) as e:
        say(f"{file}: cannot be read ({e}); the last step stays")
        return False
    model.load_state_dict(weights, strict=False)
    return True


def read_step(folder: Path, step: int, model: torch.nn.Module,
              optimizer: torch.optim.Optimizer) -> tuple[dict, dict, dict]:
    """(step.json, weights, state of the optimizer). ValueError if a file is not as it was written,
    or belongs to another model."""
    about = read(folder / "step.json")
    if about["step"] != step:
        raise ValueError(f"step.json is that of step {about['step']}")
    for name in ("model.safetensors", "optimizer.safetensors"):
        if checksum(regular(folder / name)) != about["sha256"][name]:
            raise ValueError(f"checksum of {name}")
    weights = tensors.load(folder / "model.safetensors", tensors.wanted_of(weights_of(model)))
    # torch numbers the parameters through all groups
    held = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict] = {}
    for key, x in load_file(folder / "optimizer.safetensors").items():
        i, name = key.split(".")
        state.setdefault(int(i), {})[name] = part(x, held[int(i)])
    return about, weights, state
