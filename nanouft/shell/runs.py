"""Run folders: what a run leaves after it, atomic steps, exact resume.

out/<name>/   config.json, model.safetensors, tokenizer.json    a GPT-2 folder that transformers opens
              run.json        every value and where it came from
              metrics.jsonl   one object a step
              eval.json, samples.md, curves.png
              steps/<n>/      what --resume needs: weights and optimizer state; `latest` names the newest

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

from nanouft.shell.config import UserError
from nanouft.shell.files import checksum, read_json, write_json, write_text


def new_folder(out: str | None, name: str) -> Path:
    """The folder of a new run. A taken default name gets -2, -3 ...; an explicit --out that is taken is an error."""
    check_out(out)
    try:
        if out is not None:
            folder = Path(out)
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        for n in range(1, 10_000):
            folder = Path("out") / (name if n == 1 else f"{name}-{n}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                if not Path("out").is_dir():
                    raise
    except OSError as e:
        raise UserError(f"{folder}: no folder can be made there ({e.strerror}); choose another place with --out")
    raise UserError(f"out/{name}-2 ... are all taken; give --out")


def check_out(out: str | None) -> None:
    """UserError if --out is taken: said before anything slow is done."""
    if out is None:
        return
    folder = Path(out)
    try:
        if (folder / "run.json").exists():
            finished = "after" in read_eval(folder) or read_json(folder / "run.json").get("command") != "train"
            advice = "choose another name" + ("" if finished else f", or --resume {out}")
            raise UserError(f"--out {out}: holds another run; {advice}")
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"--out {out}: exists and is not an empty folder; choose another name")
    except OSError as e:
        raise UserError(f"--out {out}: cannot be looked into ({e.strerror}); choose another place")


def read_eval(folder: Path) -> dict:
    """eval.json as far as it got: {}, {"before"} or, in a finished run, {"before", "after"}."""
    try:
        return read_json(folder / "eval.json")
    except UserError:
        return {}


# ---- steps ---------------------------------------------------------------------------------------------------------
def save_step(run: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, extra: dict,
              keep: int = 2) -> None:
    """Write steps/<step>/ whole, rename it once, then move `latest`. The two newest steps stay.
    `extra` is what else --resume needs, as JSON. UserError if a weight is not finite; OSError if the disk is full."""
    if name := not_finite(model):
        raise UserError(f"weights are no longer finite after step {step} ({name}) and were not saved; lower --lr")
    steps = run / "steps"
    final, partial = steps / str(step), steps / f"partial-{step}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _save({k: v.contiguous() for k, v in model.state_dict().items()}, partial / "model.safetensors")
        state = optimizer.state_dict()["state"]
        _save({f"{i}.{k}": torch.as_tensor(v).contiguous() for i, s in state.items() for k, v in s.items()},
              partial / "optimizer.safetensors")
        sums = {f.name: checksum(f) for f in partial.iterdir()}
        write_json(partial / "step.json", {"step": step, "sha256": sums, **extra})
        _flush(partial)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)                   # half a step only fills a full disk
        raise
    shutil.rmtree(final, ignore_errors=True)                         # left by a run that was cut back
    os.rename(partial, final)
    _flush_folder(steps)
    point(run, step)
    for old in whole_steps(run)[:-keep]:
        shutil.rmtree(steps / str(old), ignore_errors=True)


def point(run: Path, step: int) -> None:
    """`latest` is for people and scripts; load_step looks for itself."""
    write_text(run / "steps" / "latest", str(step))


def _save(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """save_file, whose own error hides the OSError it comes from."""
    try:
        save_file(tensors, file)
    except SafetensorError as e:
        found = re.search(r"os error (\d+)", str(e))
        code = int(found[1]) if found else errno.EIO
        raise OSError(code, os.strerror(code), str(file))


def not_finite(model: torch.nn.Module) -> str:
    """Name of the first weight that holds a NaN or an infinity; "" where there is none."""
    return next((name for name, p in model.named_parameters() if not torch.isfinite(p).all()), "")


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
    return sorted(int(f.name) for f in steps.iterdir() if f.name.isdigit()) if steps.is_dir() else []


def load_step(run: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict:
    """Load the newest step that reads well into model and optimizer; returns step.json. A damaged one is announced
    and the one before it is taken. Resuming from nothing is step 0."""
    shapes = {name: p.shape for name, p in model.state_dict().items()}
    for step in reversed(whole_steps(run)):
        folder = run / "steps" / str(step)
        try:
            extra = read_json(folder / "step.json")
            for name, wanted in extra["sha256"].items():
                if checksum(folder / name) != wanted:
                    raise ValueError(f"checksum of {name}")
            weights, flat = load_file(folder / "model.safetensors"), load_file(folder / "optimizer.safetensors")
            if extra["step"] != step or {name: w.shape for name, w in weights.items()} != shapes:
                raise ValueError("it belongs to another run")
        except (UserError, SafetensorError, OSError, ValueError, LookupError, AttributeError, TypeError) as e:
            print(f"{folder}: damaged ({' '.join(str(e).split())}); going back to the step before")
            continue
        model.load_state_dict(weights)
        state: dict[int, dict] = {}
        for key, value in flat.items():
            i, name = key.split(".", 1)
            state.setdefault(int(i), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        print(f"{run}: going on after step {step}")
        return extra
    print(f"{run}: no whole step is saved there, starting from the beginning")
    return {"step": 0}
