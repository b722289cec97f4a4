"""Run folders: what a run leaves behind, atomic steps, exact resume, where a run starts from.

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
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nanouft.data.batches import Encoded
from nanouft.shell.config import UserError, choose
from nanouft.gpt import GPT
from nanouft.objectives import OBJECTIVES
from nanouft.data.tokenizer import Tokenizer

BASE = Path(__file__).parents[1] / "assets" / "base"                     # the shipped base, stored as fp16
SLOW = float(os.environ.get("NANOUFT_SLOW_WRITE", "0"))              # seconds to linger in a write: tests kill us there


def start_model(init: str) -> tuple[GPT, Tokenizer]:
    """The model and tokenizer of `--init`: the shipped base, or any GPT-2 folder. New chat tokens get new rows."""
    folder = BASE if init == "base" else Path(init)
    if not folder.is_dir():
        raise UserError(f"{init}: no such folder; give 'base' or a GPT-2 folder "
                        "(config.json, model.safetensors)")
    if (folder / "run.json").exists() and not (folder / "config.json").exists():
        raise UserError(f"--init {init}: that run has not finished; finish it with --resume {shlex.quote(init)}")
    if (folder / "run.json").exists() and read_json(folder / "run.json").get("command") == "reward":
        raise UserError(f"{init}: is a reward model, which cannot speak; it goes with --reward")
    model = GPT.from_pretrained(folder)
    if name := _not_finite(model):
        raise UserError(f"--init {init}: holds weights that are not finite ({name}); take another model")
    tok = Tokenizer.load("nano" if init == "base" else folder)
    tok.check_fits(model.cfg.vocab_size)
    if tok.n_vocab > model.cfg.vocab_size:
        model.grow_vocab(tok.n_vocab)
    return model, tok


def new_folder(out: str | None, name: str) -> Path:
    """The folder of a new run. A taken default name gets -2, -3 ...; an explicit --out that is taken is an error."""
    try:
        if out is not None:
            folder = Path(out)
            if (folder / "run.json").exists():
                unfinished = ("after" not in read_eval(folder)
                              and read_json(folder / "run.json").get("command") == "train")
                advice = "choose another name" + f", or --resume {out}" * unfinished
                raise UserError(f"--out {out}: holds another run; {advice}")
            if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
                raise UserError(f"--out {out}: exists and is not an empty folder; choose another name")
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


def write_json(file: Path, value) -> None:
    """Written beside, then renamed: a reader sees the old file or the new one. Half a surrogate becomes '?'."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", errors="replace")
    os.replace(partial, file)


def read_json(file: Path) -> dict:
    """The object in a JSON file; UserError if it is missing, damaged or no object."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file}: no such file; is {file.parent} a run folder of nanouft?")
    except (OSError, ValueError, RecursionError) as e:
        raise UserError(f"{file}: cannot be read ({type(e).__name__}); copy it anew, or start a new run")
    if not isinstance(value, dict):
        raise UserError(f"{file}: holds no JSON object; copy it anew, or start a new run")
    return value


def fingerprint(model: GPT, encoded: list[Encoded]) -> str:
    """Hash of start weights and training rows: a run can only go on exactly where both are what they were."""
    h = hashlib.sha256()
    for p in model.parameters():
        h.update(p.detach().cpu().contiguous().view(torch.uint8).numpy())
    for e in encoded:
        h.update(repr(e.col).encode())
        for role, t in e.seqs.items():
            h.update(role.encode() + t.ids.tobytes() + t.mask.tobytes())
    return h.hexdigest()[:24]


def read_eval(folder: Path) -> dict:
    """eval.json as far as it got: {}, {"before"} or, in a finished run, {"before", "after"}."""
    try:
        return read_json(folder / "eval.json")
    except UserError:
        return {}


def reopen(folder: str, cls: type):
    """How the run in `folder` was started: (objective, its configuration as `cls`, hyper-parameters, where from)."""
    saved = read_json(Path(folder) / "run.json")
    if saved.get("command") != "train":
        raise UserError(f"--resume {folder}: was not made by nanouft.train; give the folder of a training run")
    if "after" in read_eval(Path(folder)):
        raise UserError(f"--resume {folder}: that run is finished; --init {folder} starts another one from it")
    try:
        name = choose("objective", saved["objective"], OBJECTIVES)
        cfg = replace(cls(**saved["config"]), resume=folder)
        cfg.check()
        return name, cfg, OBJECTIVES[name].hp(**saved["hp"]), saved["from"]
    except (KeyError, TypeError) as e:
        raise UserError(f"{folder}/run.json: damaged, or of another version of nanouft ({e}); start a new run")


# ---- steps ---------------------------------------------------------------------------------------------------------
def save_step(run: Path, step: int, model: GPT, optimizer: torch.optim.Optimizer, extra: dict, keep: int = 2) -> None:
    """Write steps/<step>/ whole, rename it once, then move `latest`. The two newest steps stay.

    `extra` is what else --resume needs, as JSON. UserError if a weight is not finite; OSError if the disk is full.
    """
    if name := _not_finite(model):
        raise UserError(f"weights are no longer finite after step {step} ({name}) and were not saved; lower --lr")
    steps = run / "steps"
    final, partial = steps / str(step), steps / f"partial-{step}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _save({k: v.contiguous() for k, v in model.state_dict().items()}, partial / "model.safetensors")
        time.sleep(SLOW)
        state = optimizer.state_dict()["state"]
        _save({f"{i}.{k}": torch.as_tensor(v).contiguous() for i, s in state.items() for k, v in s.items()},
              partial / "optimizer.safetensors")
        sums = {f.name: _checksum(f) for f in partial.iterdir()}
        write_json(partial / "step.json", {"step": step, "sha256": sums, **extra})
        _flush(partial)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)                   # half a step only fills a full disk
        raise
    shutil.rmtree(final, ignore_errors=True)                         # left by a run that was cut back
    os.rename(partial, final)
    _flush_folder(steps)
    time.sleep(SLOW)
    _point(run, step)
    for old in whole_steps(run)[:-keep]:
        shutil.rmtree(steps / str(old), ignore_errors=True)


def _point(run: Path, step: int) -> None:
    """`latest` is for people and scripts; load_step looks for itself."""
    pointer = run / "steps" / "latest.partial"
    pointer.write_text(str(step), encoding="utf-8")
    os.replace(pointer, run / "steps" / "latest")


def _save(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """save_file, whose own error hides the OSError it comes from."""
    try:
        save_file(tensors, file)
    except SafetensorError as e:
        found = re.search(r"os error (\d+)", str(e))
        code = int(found[1]) if found else errno.EIO
        raise OSError(code, os.strerror(code), str(file))


def _not_finite(model: torch.nn.Module) -> str:
    """Name of the first weight that holds a NaN or an infinity; "" where there is none."""
    return next((name for name, p in model.named_parameters() if not torch.isfinite(p).all()), "")


def _checksum(file: Path) -> str:
    h = hashlib.sha256()
    with open(file, "rb") as f:
        while block := f.read(1 << 20):
            h.update(block)
    return h.hexdigest()


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


def load_step(run: Path, model: GPT, optimizer: torch.optim.Optimizer) -> dict:
    """Load the newest step that reads well into model and optimizer; returns step.json. A damaged one is announced
    and the one before it is taken. Resuming from nothing is step 0."""
    shapes = {name: p.shape for name, p in model.state_dict().items()}
    for step in reversed(whole_steps(run)):
        folder = run / "steps" / str(step)
        try:
            extra = read_json(folder / "step.json")
            for name, wanted in extra["sha256"].items():
                if _checksum(folder / name) != wanted:
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


def save_final(run: Path, model: GPT, tok: Tokenizer, half: bool = False) -> None:
    """The finished model as a GPT-2 folder: written beside, moved file by file, the weights last."""
    if name := _not_finite(model):
        raise UserError(f"weights are no longer finite at the end ({name}) and were not saved; lower --lr")
    partial = run / "partial-final"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        model.save_pretrained(partial, end_id=tok.end, dtype=torch.float16 if half else torch.float32)
        tok.save(partial)
    except (OSError, SafetensorError) as e:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"{run}: the model cannot be written ({e}); make room, the last saved step is still whole")
    shutil.copymode(partial / "config.json", partial / "model.safetensors")      # safetensors makes it private
    for file in sorted(partial.iterdir(), key=lambda f: f.name == "model.safetensors"):
        os.replace(file, run / file.name)
    partial.rmdir()


# ---- metrics -------------------------------------------------------------------------------------------------------
def cut_back(run: Path, step: int) -> None:
    """Drop from metrics.jsonl what was logged after `step` (or half a line), since resume writes it again; and let
    `latest` name the step that was really taken."""
    file = run / "metrics.jsonl"
    if step:
        _point(run, step)
    if file.exists():
        kept = [line for line in read_metrics(file) if line.get("step", math.inf) <= step]
        partial = file.with_name("metrics.partial")
        partial.write_text("".join(json.dumps(x) + "\n" for x in kept), encoding="utf-8")
        os.replace(partial, file)


def read_metrics(file: Path) -> list[dict]:
    """The objects of a file of JSON lines, up to one that was cut short by a kill. UserError if the file is missing."""
    out = []
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as e:
        raise UserError(f"{file}: cannot be read ({e.strerror}); is {file.parent} a run folder of nanouft?")
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            break
        if not isinstance(value, dict):
            break
        out.append(value)
    return out
