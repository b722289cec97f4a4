"""Run folders: what a run leaves after it, atomic steps, exact resume.

out/<name>/   config.json, model.safetensors, tokenizer.json    a GPT-2 folder that transformers opens
              run.json        every value and where it came from; flags.toml: the flags, for --config
              metrics.jsonl   one object a step
              eval.json, samples.md, curves.png
              steps/<n>/      what --resume needs: weights and optimizer state; `latest` names the newest

A step folder is written whole under another name, flushed to disk and renamed once. Kill the process anywhere and
either the old step or the new one is there, never half of one. A checksum tells a step that the disk damaged later.
Weights that are not finite are never saved. Nothing is pickled, nothing is unpickled.
"""
import contextlib
import errno
import json
import math
import os
import re
import shutil
from dataclasses import fields, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from nanouft.shell import settings, signals, tensors
from nanouft.shell.config import Diverged, UserError, flag, of_json
from nanouft.shell.files import LOCK, checksum, locked, read_json, write_json, write_text
from nanouft.shell.processes import part, whole
from nanouft.shell.text import regular, said, visible


BEFORE_ALL = {LOCK, "flags.toml", "flags.toml.partial", "run.json.partial"}     # what a run that was killed in its
#                                                                                   first moment leaves


def alone(folder: Path, rank: int = 0):
    """Context: no other process works in this run folder. Of the processes of one run the first holds the lock."""
    return contextlib.nullcontext() if rank else locked(folder / LOCK)


def hold(folder: Path) -> None:
    """The same until the command ends."""
    signals.to_the_end.enter_context(alone(folder))


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
            advice = "choose another name" + ("" if is_finished(folder) else f", or --resume {out}")
            raise UserError(f"--out {out}: holds another run; {advice}")
        if folder.exists() and (not folder.is_dir() or {f.name for f in folder.iterdir()} - BEFORE_ALL):
            raise UserError(f"--out {out}: exists and is not an empty folder; choose another name")
    except OSError as e:
        raise UserError(f"--out {out}: cannot be looked into ({e.strerror}); choose another place")


def chained(folder: Path, name: str) -> list[str]:
    """Flags of a run that starts from the one in `folder`: --init, and an --out of its own that says so and is free.
    The plain name stays for a run from the base."""
    for n in range(1, 10_000):
        out = folder.with_name(f"{folder.name}-{name}" + (f"-{n}" if n > 1 else ""))
        if not out.exists():
            break
    return ["--init", str(folder), "--out", str(out)]


def is_finished(folder: Path) -> bool:
    """train ends with eval.json, the other commands with the model."""
    if read_json(folder / "run.json").get("command") == "train":
        return "after" in read_eval(folder)
    return (folder / "model.safetensors").exists()


def reopen(folder: str, command: str, cls: type, given: set[str]):
    """The settings of an unfinished run of `command`, for --resume: an instance of the dataclass `cls`."""
    if others := sorted(given - {"resume"}):
        raise UserError(f"--resume takes no other flag, but {flag(others[0])} was given: every setting comes from "
                        "run.json")
    saved = read_json(Path(folder) / "run.json")
    if saved.get("command") != command:
        raise UserError(f"--resume {folder}: was not made by nanouft.{command}; give the folder of such a run")
    if is_finished(Path(folder)):
        raise UserError(f"--resume {folder}: that run is finished")
    cfg = of_json(cls, saved.get("config"), f"{folder}/run.json: config")
    try:
        check_seal(saved)
    except UserError as e:
        raise UserError(f"{folder}/run.json: edited ({e}); start a new run")
    return replace(cfg, resume=folder)


def begin(folder: Path, about: dict, given: dict) -> None:
    """Write flags.toml, the settings that were `given` as a file for --config, and run.json, sealed. run.json comes
    last: with it the run exists."""
    flags = {key: value for key, value in given.items() if key not in ("out", "resume")}
    write_text(folder / "flags.toml", settings.toml(about["command"], flags))
    write_json(folder / "run.json", seal(about))


def open_folder(cfg, about: dict, name: str, basis: str) -> Path:
    """A new folder out/<name> with run.json, or that of --resume if what the run stands on (`basis`, in words; `key`
    in `about`) is what it was. This process works in it alone, to its end."""
    if cfg.resume:
        folder = Path(cfg.resume)
        if read_json(folder / "run.json").get("key") != about["key"]:
            raise UserError(f"--resume {folder}: {basis} have changed since; start a new run")
        hold(folder)
    else:
        folder = new_folder(cfg.out, name)
        hold(folder)
        check_out(cfg.out)                                      # another process may have been faster
        begin(folder, about, changed(cfg))
    signals.begun(folder, f"nanouft.{about['command']}")
    return folder


def changed(record) -> dict:
    """The fields of a dataclass that differ from their defaults."""
    return {f.name: value for f in fields(record) if (value := getattr(record, f.name)) != f.default}


def seal(about: dict) -> dict:
    """run.json with a checksum of its settings. An edited one is no longer the run that began."""
    return {**about, "settings": _settings(about)}


def check_seal(saved: dict) -> None:
    """UserError if the settings of run.json are others than when the run began. Old runs have no checksum."""
    if "settings" in saved and saved["settings"] != _settings(saved):
        raise UserError("its settings are not those with which the run began")


def _settings(about: dict) -> str:
    return sum_of({key: about.get(key) for key in ("command", "objective", "steps", "config", "hp", "from")})


def sum_of(value) -> str:
    """Checksum of a JSON value, the same before it is written and after it is read."""
    return checksum(json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace"))[:24]


def read_eval(folder: Path) -> dict:
    """eval.json as far as it got: {}, {"before"} or, in a finished run, {"before", "after"}."""
    try:
        return read_json(folder / "eval.json")
    except UserError:
        return {}


# ---- steps ---------------------------------------------------------------------------------------------------------
def save_step(run: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, extra: dict,
              chief: bool = True, keep: int = 2) -> None:
    """Write steps/<step>/ whole, rename it once, then move `latest`. The two newest steps stay.
    `extra` is what else --resume needs, as JSON. UserError if a weight is not finite; OSError if the disk is full.
    Of processes that share the weights (--shard) all call it; the chief gets everything and writes."""
    weights = whole(weights_of(model), chief)
    state = {f"{i}.{k}": torch.as_tensor(v) for i, s in optimizer.state_dict()["state"].items() for k, v in s.items()}
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
    point(run, step)
    tidy(run, keep)


def weights_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """What a step keeps: the weights that are trained, a tied one once. The others are those of the start model."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def tidy(run: Path, keep: int = 2) -> None:
    """Only the newest whole steps stay, and nothing of a step that a kill cut short."""
    for old in [*map(str, whole_steps(run)[:-keep]), *(f.name for f in (run / "steps").glob("partial-*"))]:
        shutil.rmtree(run / "steps" / old, ignore_errors=True)


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


def not_finite(weights: dict[str, torch.Tensor]) -> str:
    """Name of the first weight that holds a NaN or an infinity; "" where there is none."""
    return next((name for name, p in weights.items() if not torch.isfinite(p).all()), "")


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


def load_step(run: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, most: float = math.inf) -> dict:
    """Load the newest step that reads well into model and optimizer; returns step.json. A damaged one is announced
    and the one before it is taken. Resuming from nothing is step 0. `most`: the steps of the whole run."""
    for step in reversed(whole_steps(run)):
        folder = run / "steps" / str(step)
        try:
            if step > most:
                raise ValueError(f"the run has {most} steps only")
            extra, weights, state = read_step(folder, step, model, optimizer)
        except (UserError, SafetensorError, OSError, ValueError) as e:
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


MOMENTS = {"AdamW": ("exp_avg", "exp_avg_sq"), "RMSprop": ("square_avg",)}          # each of the shape of its weight
SCALER = {"scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"}


def read_step(folder: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple:
    """(step.json, weights, state of the optimizer). Nothing of it is believed: ValueError unless every tensor is there
    with the name, shape and type that model and optimizer have, and nothing else."""
    extra = read_json(folder / "step.json")
    scaler, sums = extra.get("scaler", {}), extra.get("sha256")
    if type(extra.get("step")) is not int or extra["step"] != step:
        raise ValueError(f"step.json is that of step {said(extra.get('step'))}")
    if not isinstance(extra.get("loss", 0.0), (int, float)) or not isinstance(scaler, dict) or scaler and (
            scaler.keys() != SCALER or not all(type(x) in (int, float) and 0 <= x < math.inf for x in scaler.values())):
        raise ValueError("step.json: its loss or its scaler is no number")
    if not isinstance(sums, dict) or sums.keys() != {"model.safetensors", "optimizer.safetensors"}:
        raise ValueError("step.json: no checksums of the two files")
    for name, wanted in sums.items():
        if checksum(regular(folder / name)) != wanted:
            raise ValueError(f"checksum of {name}")
    weights = tensors.load(folder / "model.safetensors", tensors.wanted_of(weights_of(model)))
    stored = tensors.header(folder / "optimizer.safetensors")
    every_step_skipped = bool(scaler) and not stored            # fp16: steps that overflow are left out
    flat = tensors.load(folder / "optimizer.safetensors", {} if every_step_skipped else moments(optimizer))
    state: dict[int, dict] = {}
    held = weights_in(optimizer)
    for key, value in flat.items():
        i, name = key.split(".")
        state.setdefault(int(i), {})[name] = part(value, held[int(i)])
        if name == "step" and (value > step or value < 1 or value != step and not scaler):
            raise ValueError(f"optimizer.safetensors: it has made {value:g} steps")
    return extra, weights, state


def weights_in(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def moments(optimizer: torch.optim.Optimizer) -> tensors.Wanted:
    """Name, shape and type of all that this optimizer keeps; torch numbers the weights through all groups."""
    weights = weights_in(optimizer)
    kept = {f"{i}.{name}": p for i, p in enumerate(weights) for name in MOMENTS[type(optimizer).__name__]}
    return tensors.wanted_of(kept) | {f"{i}.step": ((), "F32") for i in range(len(weights))}
