"""Checkpoints: atomic steps, exact resume.

out/<name>/steps/<n>/   weights and optimizer state after step n

A step folder is written whole under another name, flushed to disk and renamed once. Kill the process anywhere and
either the old step or the new one is there, never half of one. A checksum tells a step that the disk damaged later.
Weights that are not finite are never saved. Nothing is pickled, nothing is unpickled.
"""
import errno
import os
import re
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nanouft.errors import Diverged, UserError, quoted, visible
from nanouft.run import tensors
from nanouft.run.processes import part, whole
from nanouft.run.storage import checksum, read_json, regular, write_json
from nanouft.run.tensors import not_finite


def save_step(run: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, extra: dict,
              chief: bool = True) -> None:
    """Write steps/<step>/ whole, rename it once. The two newest steps stay.
    `extra` is what else --resume needs, as JSON. UserError if a weight is not finite; OSError if the disk is full.
    Of processes that share the weights (--shard) all call it; the chief gets everything and writes."""
    weights = whole(weights_of(model), chief)
    states = torch.optim.Optimizer.state_dict(optimizer)["state"]           # bitsandbytes' own form is nested,
    state = {f"{i}.{k}": v.clone() if k[:4] == "qmap" else torch.as_tensor(v)      # its maps are shared
             for i, s in states.items() for k, v in s.items()}
    state = whole(state, chief)
    if not chief:
        return
    if name := not_finite(weights):
        raise Diverged(f"weights are no longer finite after step {step} ({name}) and were not saved; lower --lr")
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
        shutil.rmtree(partial, ignore_errors=True)                   # half a step only fills a full disk
        raise
    shutil.rmtree(final, ignore_errors=True)                         # left by a run that was cut back
    os.rename(partial, final)
    _flush_folder(steps)
    tidy(run)


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a step keeps: the weights that are trained, a tied one once. The others are those of the start model."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def tidy(run: Path) -> None:
    """Only the two newest whole steps stay, and nothing of a step that a kill cut short."""
    for old in [*map(str, whole_steps(run)[:-2]), *(f.name for f in (run / "steps").glob("partial-*"))]:
        shutil.rmtree(run / "steps" / old, ignore_errors=True)


def _save(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """save_file, whose own error hides the OSError it comes from."""
    try:
        save_file(tensors, file)
    except SafetensorError as e:
        found = re.search(r"os error (\d+)", str(e))
        code = int(found[1]) if found else errno.EIO
        raise OSError(code, os.strerror(code), str(file))


def _flush(folder: Path) -> None:
    """Ask the disk to keep it before the rename, so that a power cut cannot leave a renamed but empty file."""
    for file in folder.iterdir():
        with open(file, "rb+") as f:
            os.fsync(f.fileno())


def _flush_folder(folder: Path) -> None:
    """The rename itself, too, where the system lets a folder be flushed (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def whole_steps(run: Path) -> list[int]:
    """Numbers of the complete step folders, oldest first: a folder with a plain number was renamed, hence whole."""
    steps = run / "steps"
    names = [f.name for f in steps.iterdir()] if steps.is_dir() else []
    return sorted(int(name) for name in names if re.fullmatch("[1-9][0-9]{0,9}", name))


def load_step(run: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Load the newest step that reads well into model and optimizer; returns step.json. A damaged one is announced
    and the one before it is taken. Resuming from nothing is step 0."""
    for step in reversed(whole_steps(run)):
        folder = run / "steps" / str(step)
        try:
            extra, weights, state = read_step(folder, step, model, optimizer)
        except (UserError, SafetensorError, OSError, ValueError, LookupError, TypeError) as e:
            print(visible(f"{folder}: damaged ({' '.join(str(e).split())}); going back to the step before"))
            continue
        now = weights_of(model)                                 # read_step has compared all names
        model.load_state_dict({name: part(x, now[name]) for name, x in weights.items()}, strict=False)
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        tidy(run)
        print(f"{run}: going on after step {step}")
        return extra
    print(f"{run}: no whole step is saved there, starting from the beginning")
    return {"step": 0}


def read_step(folder: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple:
    """(step.json, weights, state of the optimizer). ValueError if a file is not as it was written, or of another
    model."""
    about = read_json(folder / "step.json")
    if about.get("step") != step:
        raise ValueError(f"step.json is that of step {quoted(about.get('step'))}")
    for name in ("model.safetensors", "optimizer.safetensors"):
        if checksum(regular(folder / name)) != about["sha256"][name]:
            raise ValueError(f"checksum of {name}")
    weights = tensors.load(folder / "model.safetensors", tensors.wanted_of(weights_of(model)))
    held = [p for group in optimizer.param_groups for p in group["params"]]     # torch numbers them through all groups
    state: dict[int, dict] = {}
    for key, x in load_file(folder / "optimizer.safetensors").items():
        i, name = key.split(".")
        one = x.item() if x.dtype == torch.int64 and not x.dim() else part(x, held[int(i)])     # steps of bitsandbytes
        state.setdefault(int(i), {})[name] = one
    return about, weights, state
