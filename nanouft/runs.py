"""Run folders: what a run leaves behind, atomic steps, exact resume, where a run starts from.

out/<name>/   config.json, model.safetensors, tokenizer.json    a GPT-2 folder that transformers opens
              run.json        every value and where it came from
              metrics.jsonl   one object a step
              eval.json, samples.md, curves.png
              steps/<n>/      what --resume needs: weights and optimizer state; `latest` names the newest

A step folder is written whole under another name, flushed to disk and renamed once. Kill the process anywhere and
either the old step or the new one is there, never half of one. Nothing is pickled, nothing is unpickled.
"""
import json
import os
import shutil
import time
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from nanouft.config import UserError
from nanouft.gpt import GPT
from nanouft.tokenizer import Tokenizer

BASE = Path(__file__).parent / "assets" / "base"                     # the shipped base: config.json, model.safetensors (fp16)
SLOW = float(os.environ.get("NANOUFT_SLOW_WRITE", "0"))              # seconds to linger inside a write; tests kill us there


def start_model(init: str) -> tuple[GPT, Tokenizer]:
    """The model and tokenizer of `--init`: the shipped base, or any GPT-2 folder. New chat tokens get new rows."""
    folder = BASE if init == "base" else Path(init)
    if not folder.is_dir():
        raise UserError(f"--init {init}: no such folder (give 'base' or a GPT-2 folder with config.json and model.safetensors)")
    model = GPT.from_pretrained(folder)
    tok = Tokenizer.load("nano" if init == "base" else folder)
    tok.check_fits(model.cfg.vocab_size)
    if tok.n_vocab > model.cfg.vocab_size:
        model.grow_vocab(tok.n_vocab)
    return model, tok


def new_folder(out: str | None, name: str) -> Path:
    """The folder of a new run. A taken default name gets -2, -3 ...; an explicit --out that is taken is an error."""
    if out is not None:
        folder = Path(out)
        if (folder / "run.json").exists():
            raise UserError(f"--out {out}: holds another run; choose another name, or --resume {out}")
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
            continue
    raise UserError(f"out/{name}-2 ... are all taken; give --out")


def write_json(file: Path, value) -> None:
    """Written beside, then renamed: a reader sees the old file or the new one."""
    partial = file.with_name(file.name + ".partial")
    partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, file)


def read_json(file: Path) -> dict:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: missing or damaged ({type(e).__name__}); is this a run folder of nanouft?")


# ---- steps ---------------------------------------------------------------------------------------------------------
def save_step(run: Path, step: int, model: GPT, optimizer: torch.optim.Optimizer, extra: dict, keep: int = 2) -> None:
    """Write steps/<step>/ whole, rename it once, then move `latest`. The two newest steps stay."""
    steps = run / "steps"
    final, partial = steps / str(step), steps / f"partial-{step}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, partial / "model.safetensors")
    time.sleep(SLOW)
    state = optimizer.state_dict()
    flat = {f"{i}.{k}": torch.as_tensor(v).contiguous() for i, s in state["state"].items() for k, v in s.items()}
    save_file(flat, partial / "optimizer.safetensors")
    write_json(partial / "step.json", {"step": step, **extra})
    _flush(partial)
    shutil.rmtree(final, ignore_errors=True)                         # left by a run that was cut back
    os.rename(partial, final)
    time.sleep(SLOW)
    pointer = steps / "latest.partial"
    pointer.write_text(str(step), encoding="utf-8")
    os.replace(pointer, steps / "latest")
    for old in whole_steps(run)[:-keep]:
        shutil.rmtree(steps / str(old), ignore_errors=True)


def _flush(folder: Path) -> None:
    """Ask the disk to keep it before the rename, so that a power cut cannot leave a renamed but empty file."""
    for file in folder.iterdir():
        with open(file, "rb+") as f:
            os.fsync(f.fileno())


def whole_steps(run: Path) -> list[int]:
    """Numbers of the complete step folders, oldest first: a folder with a plain number was renamed, hence whole."""
    steps = run / "steps"
    return sorted(int(f.name) for f in steps.iterdir() if f.name.isdigit()) if steps.is_dir() else []


def load_step(run: Path, model: GPT, optimizer: torch.optim.Optimizer) -> dict:
    """Load the newest step that reads well into model and optimizer; returns step.json. A damaged one is announced
    and the one before it is taken. Resuming from nothing is step 0."""
    for step in reversed(whole_steps(run)):
        folder = run / "steps" / str(step)
        try:
            weights, flat = load_file(folder / "model.safetensors"), load_file(folder / "optimizer.safetensors")
            extra = json.loads((folder / "step.json").read_text(encoding="utf-8"))
            model.load_state_dict(weights)
        except (SafetensorError, OSError, ValueError, RuntimeError) as e:
            print(f"{folder}: damaged ({type(e).__name__}), going back to the step before")
            continue
        state: dict[int, dict] = {}
        for key, value in flat.items():
            i, name = key.split(".", 1)
            state.setdefault(int(i), {})[name] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        return extra
    print(f"{run}: no whole step saved yet, starting from the beginning")
    return {"step": 0}


def save_final(run: Path, model: GPT, tok: Tokenizer, half: bool = False) -> None:
    """The finished model as a GPT-2 folder: written beside, moved file by file, the weights last."""
    partial = run / "partial-final"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, end_id=tok.end, dtype=torch.float16 if half else torch.float32)
    tok.save(partial)
    for file in sorted(partial.iterdir(), key=lambda f: f.name == "model.safetensors"):
        os.replace(file, run / file.name)
    partial.rmdir()


# ---- metrics -------------------------------------------------------------------------------------------------------
def cut_metrics(file: Path, step: int) -> None:
    """Drop what was logged after `step` (or half a line): resume writes it again."""
    if file.exists():
        kept = [line for line in read_metrics(file) if line["step"] <= step]
        partial = file.with_name("metrics.partial")
        partial.write_text("".join(json.dumps(x) + "\n" for x in kept), encoding="utf-8")
        os.replace(partial, file)


def read_metrics(file: Path) -> list[dict]:
    out = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:
            break                                                    # a line cut short by a kill
    return out
