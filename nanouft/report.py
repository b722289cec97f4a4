"""What a run tells its user: the log, the before/after table, three answers, what to try next.

train.py calls these between its fences; nothing here changes a weight.
"""
import json
import math
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

from nanouft import data, evaluate, plots, runs, world
from nanouft.batches import Encoded, show_mask
from nanouft.config import UserError, field_help
from nanouft.devices import Device
from nanouft.objectives import OBJECTIVES
from nanouft.tokenizer import Tokenizer

SHOWN = 3           # answers printed before and after


class Log:
    """metrics.jsonl, one object a step. Numbers wait on the device and are read in groups; a loss that is not finite
    stops the run in one line, and the last saved step survives."""

    def __init__(self, file: Path, start: int, device: Device):
        self.file, self.device, self.waiting, self.loss = file, device, [], math.nan
        self.tokens, self.clock = 0, None
        if device.rank == 0:
            runs.cut_metrics(file, start)

    def add(self, step: int, total: dict, norm: torch.Tensor, lr: float, tokens: int) -> None:
        self.waiting.append((step, list(total), torch.stack([torch.as_tensor(v, dtype=torch.float32).to(norm.device)
                                                             for v in [*total.values(), norm]]), lr, tokens))

    def flush(self) -> str:
        """Write what is waiting; returns the progress bar's text."""
        lines = []
        values = torch.stack([v for _, _, v, _, _ in self.waiting])
        if self.device.world > 1:
            norms = values[:, -1].clone()                   # already that of the averaged gradient
            dist.all_reduce(values)                         # pieces of a sum
            values[:, -1] = norms
        for (step, names, _, lr, tokens), row in zip(self.waiting, values.tolist()):
            self.loss = row[0]
            if not math.isfinite(self.loss):
                raise UserError(f"loss is {self.loss} at step {step}; {self.file.parent} keeps its last saved step. "
                                "Lower --lr, or look at the data of that step")
            self.tokens += tokens
            lines.append({"step": step, **dict(zip([*names, "grad_norm"], row)), "lr": lr, "tokens": tokens})
        self.waiting = []
        self.write(*lines)
        now = time.perf_counter()
        speed = f", {self.tokens / (now - self.clock):,.0f} answer tok/s" if self.clock else ""
        self.clock, self.tokens = now, 0
        return f"loss {self.loss:.3f}{speed}"

    def write(self, *objects: dict) -> None:
        if self.device.rank == 0:
            with open(self.file, "a", encoding="utf-8") as f:
                f.writelines(json.dumps(x) + "\n" for x in objects)


def colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def example(encoded: list[Encoded], tok: Tokenizer) -> str:
    """One example with its mask, as the model reads it."""
    short = min(encoded[:50], key=lambda e: e.length)
    how = "green" if colour() else "in [[ ]]"
    return f"one example (trained on: {how})\n{show_mask(short, tok, colour())}"


def list_objectives() -> None:
    for name, o in OBJECTIVES.items():
        print(f"{name:<6} {o.paper}")
        print(f"       needs {o.data}" + (f" and the start model's log-probs ({', '.join(o.columns)}), computed for you" if o.columns else ""))
        for flag, text in field_help(o.hp).items():
            print(f"       --{flag.replace('_', '-'):<20} {text}")


def open_run(name: str, cfg, hp, source: dict, tok: Tokenizer, steps: int, device: Device) -> Path:
    """Make the run folder and run.json (the first process does; the others are told its name)."""
    if cfg.resume:
        return Path(cfg.resume)
    box = [None]
    if device.rank == 0:
        folder = runs.new_folder(cfg.out, name)
        runs.write_json(folder / "run.json", {
            "command": "train", "objective": name, "steps": steps, "config": asdict(cfg), "hp": asdict(hp), "from": source,
            "tokenizer": tok.name, "torch": torch.__version__, "device": f"{device.name} {device.dtype} x {device.world}",
            "threads": torch.get_num_threads()})
        box = [str(folder)]
    if device.world > 1:
        dist.broadcast_object_list(box, src=0)
    return Path(box[0])


def look(model, tok: Tokenizer, cfg, held: list[Encoded], held_rows: list[data.Row], device: Device) -> dict:
    """Evaluate as the run asked for: held-out loss where rows were held out, NanoWorld's families unless the data is the user's."""
    out = {"held_out": evaluate.held_out(model, held, tok.pad, device) if held else {}}
    if not cfg.data and cfg.items:
        out["families"], items = evaluate.families(model, tok, device, cfg.split, cfg.items)
        out["mean"] = evaluate.mean_score(out["families"])
        firsts = [next(x for x in items if x.family == f) for f in ("truth", "list", "sum")]
        out["samples"] = [{"prompt": x.prompt, "reference": world.reference(x.prompt), "answer": x.answer, "score": x.score,
                           "ended": x.ended} for x in firsts]
    else:
        rows = [r for r in held_rows if r.prompt][:SHOWN]
        answers = evaluate.answer_rows(model, tok, rows, max_new=96)
        out["samples"] = [{"prompt": r.prompt[-1].text, "reference": (r.answer or r.chosen)[0].text,
                           "answer": tok.decode(a.ids).strip(), "ended": a.ended} for r, a in zip(rows, answers)]
    return out


def close_run(folder: Path, name: str, cfg, before: dict, after: dict, seconds: float) -> None:
    """eval.json, samples.md, curves.png; the table, the answers, the next commands."""
    runs.write_json(folder / "eval.json", {"before": before, "after": after, "seconds": round(seconds, 1)})
    text = [f"# {folder.name}: {name}, before and after\n"]
    for b, a in zip(before["samples"], after["samples"]):
        text += [f"**prompt** {b['prompt']}\n", f"- reference: {b['reference']}"]
        text += [f"- {when}{_marks(x)}: {x['answer']}" for when, x in (("before", b), ("after", a))] + [""]
    (folder / "samples.md").write_text("\n".join(text), encoding="utf-8")
    plots.curves(folder)
    print()
    if "families" in after:
        evaluate.table(before["families"], after["families"])
        print(f"scores in percent on {cfg.items} {cfg.split} prompts a family; strict = fully right and stops; end = answers that stop\n")
    if after["held_out"]:
        print("held out   " + "   ".join(f"{k} {before['held_out'][k]:.3f} -> {v:.3f}" for k, v in after["held_out"].items() if k != "rows"))
    for b, a in zip(before["samples"], after["samples"]):
        print(f"\nprompt  {_short(b['prompt'])}\nbefore  {_short(b['answer'])}{_marks(b)}\nafter   {_short(a['answer'])}{_marks(a)}")
    print(f"\n{seconds:.0f} s. Everything is in {folder} (curves.png, samples.md, eval.json, metrics.jsonl). Next:")
    print(f"  python -m nanouft.sample {folder}                   # talk to it, beside the base")
    print(f"  python -m nanouft.ledger --init {folder}            # how hard each objective pushes each token")
    print(f"  python -m nanouft.train --objective {'dpo' if name != 'dpo' else 'ift'} --init {folder}     # go on from here")


def _short(text: str, n: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= n else text[:n] + " ..."


def _marks(x: dict) -> str:
    out = [f"score {x['score']:.2f}"] if "score" in x else []
    return f"   ({', '.join(out + [] if x['ended'] else [*out, 'does not stop'])})" if out or not x["ended"] else ""
