"""What a run tells its user: the log, the before/after table, three answers, what to try next.

train.py calls these between its fences; nothing here changes a weight.
"""
import json
import math
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
import torch.distributed as dist

from nanouft import evaluate, world
from nanouft.data import rows as data
from nanouft.shell import runs
from nanouft.data.batches import Encoded, collate, show_mask
from nanouft.shell.config import UserError, field_help
from nanouft.shell.devices import Device
from nanouft.look.held_out import held_out_lines
from nanouft.objectives import OBJECTIVES
from nanouft.data.tokenizer import Tokenizer

SHOWN = 3           # answers printed before and after


class Log:
    """metrics.jsonl, one object a step. Numbers wait on the device and are read in groups; a loss or a gradient that is
    not finite stops the run in one line, before anything is saved: the last saved step is a good one."""

    def __init__(self, file: Path, start: int, device: Device):
        self.file, self.device, self.waiting, self.loss = file, device, [], math.nan
        self.tokens, self.clock = 0, None
        if device.rank == 0:
            runs.cut_back(file.parent, start)

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
        bad = ""
        for (step, names, _, lr, tokens), row in zip(self.waiting, values.tolist()):
            line = dict(zip([*names, "grad_norm"], row))
            if self.device.dtype == "fp16" and not math.isfinite(line["grad_norm"]):
                line["grad_norm"] = None                        # overflow: the gradient scaler leaves this step out
            bad = next((f"{k} is {v}" for k, v in line.items() if v is not None and not math.isfinite(v)), "")
            if bad:
                break
            self.loss, self.tokens = line["loss"], self.tokens + tokens
            lines.append({"step": step, **line, "lr": lr, "tokens": tokens})
        self.waiting = []
        self.write(*lines)
        if bad:
            raise UserError(f"{bad} at step {step}: the run diverged; {last_step(self.file.parent)}. "
                            "Lower --lr, or look at the data of that step")
        now = time.perf_counter()
        speed = f", {self.tokens / (now - self.clock):,.0f} answer tok/s" if self.clock else ""
        self.clock, self.tokens = now, 0
        if "kl_exact" in line:                                  # own answers: there the loss says nothing
            return f"reward {line['reward']:.3f}, kl {line['kl_exact']:.3f}{speed}"
        return f"loss {self.loss:.3f}{speed}"

    def write(self, *objects: dict) -> None:
        if self.device.rank == 0:
            with open(self.file, "a", encoding="utf-8") as f:
                f.writelines(json.dumps(x) + "\n" for x in objects)


def last_step(folder: Path) -> str:
    """What a run that stopped early leaves, for messages."""
    steps = runs.whole_steps(folder)
    return f"step {steps[-1]} in {folder / 'steps'} is whole" if steps else f"no step was saved yet in {folder}"


def colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def example(encoded: list[Encoded], tok: Tokenizer, constant: tuple[str, ...] = ()) -> str:
    """One example with its mask, as the model reads it."""
    short = min(encoded[:50], key=lambda e: e.length)
    if "prompt" in short.seqs:
        return f"one prompt; the model answers it itself\n{show_mask(short, tok, colour(), constant)}"
    how = "green" if colour() else "in [[ ]]"
    return f"one example (trained on: {how})\n{show_mask(short, tok, colour(), constant)}"


def counts(name: str, kinds: list[str], rows: list[data.Row], examples: int) -> list[str]:
    """How many demonstrations there are, and how many of the other kind, where an objective learns from both."""
    if len(kinds) < 2:
        return []
    demos = sum(r.answer is not None and r.score is None and r.label is None for r in rows)
    others = (examples - demos) // (2 if kinds[1] == "pairs" else 1)        # a pair is two answers
    end = "; without demonstrations this is una" if not demos and name == "uft" else ""
    return [f"{demos:,} demonstrations, {others:,} {kinds[1]}{end}"]


NEEDS = {"ref": "the start model's log-probs", "aligned": "the log-probs of aligned models",
         "tis": "those of two estimation runs", "prompt": "its embeddings of the prompts"}


def list_objectives() -> None:
    """What each objective needs (with its default settings), and its flags."""
    for name, o in OBJECTIVES.items():
        print(f"{name:<10} {o.paper}")
        more = f", and {', '.join(NEEDS.get(c, c) for c in o.columns)}, computed for you" if o.columns else ""
        print(f"       needs {' + '.join(o.kinds(o.hp()))}{more}")
        for flag, text in field_help(o.hp).items():
            print(f"       --{flag.replace('_', '-'):<20} {text}")


def open_run(name: str, cfg, hp, source: dict, tok: Tokenizer, steps: int, device: Device, key: str) -> Path:
    """Make the run folder and run.json (the first process does; the others are told its name), or check that a resumed
    run finds the data and the start model it began with: `key` is a hash of both."""
    if cfg.resume:
        was = runs.read_json(Path(cfg.resume) / "run.json")
        if was.get("key") != key:
            raise UserError(f"--resume {cfg.resume}: the data, the start model or the version of nanouft has changed "
                            "since that run began, so it cannot go on exactly; start a new run")
        here = f"{device.name} {device.dtype} x {device.world}, {torch.get_num_threads()} threads"
        if (then := f"{was.get('device')}, {was.get('threads')} threads") != here:
            print(f"began on {then}, goes on on {here}: the last digits of numbers may differ")
        return Path(cfg.resume)
    box = [None]
    if device.rank == 0:
        folder = runs.new_folder(cfg.out, name)
        runs.write_json(folder / "run.json", {
            "command": "train", "objective": name, "steps": steps, "config": asdict(cfg), "hp": asdict(hp),
            "from": source, "tokenizer": tok.name, "torch": torch.__version__,
            "device": f"{device.name} {device.dtype} x {device.world}", "threads": torch.get_num_threads(), "key": key})
        box = [str(folder)]
    if device.world > 1:
        dist.broadcast_object_list(box, src=0)
    return Path(box[0])


def look(model, tok: Tokenizer, cfg, held: Callable | None, held_rows: list[data.Row], device: Device) -> dict:
    """Evaluate as the run asked for: held() where rows were held out; NanoWorld's families, or three answers to
    held-out prompts of the user's data."""
    out = {"held_out": held() if held else {}}
    if not cfg.data and cfg.items:
        out["families"], items = evaluate.families(model, tok, device, cfg.split, cfg.items)
        out["mean"] = evaluate.mean_score(out["families"])
        firsts = [next(x for x in items if x.family == f) for f in ("truth", "list", "sum")]
        out["samples"] = [{"prompt": x.prompt, "reference": world.reference(x.prompt), "answer": x.answer,
                           "score": x.score, "ended": x.ended} for x in firsts]
    else:
        good = [r for r in held_rows if r.prompt and r.label is not False and (r.score is None or r.score > 0.5)]
        rows = good[:SHOWN]
        answers = evaluate.answer_rows(model, tok, rows, max_new=96)
        out["samples"] = [{"prompt": r.prompt[-1].text,
                           "reference": (r.answer or r.chosen or world.said("(none)"))[0].text,
                           "answer": tok.decode(a.ids).strip(), "ended": evaluate.stops(a, tok)}
                          for r, a in zip(rows, answers)]
    return out


def look_before(folder: Path, *args) -> dict:
    """`look` at the start model, kept in eval.json at once; a resumed run reads what the first process saw."""
    before = runs.read_eval(folder).get("before") or look(*args)
    runs.write_json(folder / "eval.json", {"before": before})
    return before


@torch.no_grad()
def trusts(objective, hp, model, encoded: list[Encoded], pad: int, device: Device) -> list[float] | None:
    """The weight of every training row under the model as it is, for objectives that weigh rows (PoFT's tau)."""
    if objective.trust is None:
        return None
    out = []
    for i in range(0, len(encoded), 64):
        batch = collate(encoded, range(i, min(i + 64, len(encoded))), pad, device=device.name)
        with device.autocast():
            objective.forward(model, batch, hp)
        out += objective.trust(batch, hp).tolist()
    return out


def write_trusts(folder: Path, encoded: list[Encoded], before: list[float] | None, after: list[float] | None) -> None:
    """tau.jsonl: one object a training row with its weight before and after, the most doubted (before) first."""
    if before is None:
        return
    order = sorted(range(len(encoded)), key=before.__getitem__)
    with open(folder / "tau.jsonl", "w", encoding="utf-8", errors="replace") as f:
        for i in order:
            e = encoded[i].example
            prompt, answer = e.seqs["answer"]
            f.write(json.dumps({"before": round(before[i], 4), "after": round(after[i], 4), "where": e.where,
                                "prompt": prompt[-1].text, "answer": answer[-1].text}, ensure_ascii=False) + "\n")
    print(f"tau        {sum(before) / len(before):.3f} -> {sum(after) / len(after):.3f} on average; "
          f"every row's in {folder / 'tau.jsonl'}, the most doubted first:")
    for i in order[:SHOWN]:
        prompt, answer = encoded[i].example.seqs["answer"]
        print(f"  {before[i]:.3f}  {_short(prompt[-1].text, 70)} -> {_short(answer[-1].text, 60)}")


def close_run(folder: Path, name: str, cfg, before: dict, after: dict, seconds: float) -> None:
    """eval.json, samples.md, curves.png; the table, the answers, the next commands."""
    from nanouft.look import plots         # matplotlib: a quarter of a second, needed only here
    runs.write_json(folder / "eval.json", {"before": before, "after": after, "seconds": round(seconds, 1)})
    text = [f"# {folder.name}: {name}, before and after\n"]
    for b, a in zip(before["samples"], after["samples"]):
        text += [f"**prompt** {b['prompt']}\n", f"- reference: {b['reference']}"]
        text += [f"- {when}{_marks(x)}: {x['answer']}" for when, x in (("before", b), ("after", a))] + [""]
    (folder / "samples.md").write_text("\n".join(text), encoding="utf-8", errors="replace")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")              # a folder's name in letters that the font lacks
        plots.curves(folder)
    print()
    if cfg.init != "base":
        print(f"before = {cfg.init}")
    if "families" in after:
        evaluate.table(before["families"], after["families"])
        print(f"scores in percent on {cfg.items} {cfg.split} prompts a family; strict = fully right and stops; "
              "end = answers that stop.\nScored is everything said until <|end|>, so running on costs\n")
    if after["held_out"]:
        print("held out   " + held_out_lines(after["held_out"], before["held_out"]))
    for b, a in zip(before["samples"], after["samples"]):
        print(f"\nprompt  {_short(b['prompt'])}")
        print(f"before  {_short(b['answer'])}{_marks(b)}\nafter   {_short(a['answer'])}{_marks(a)}")
    print(f"\n{seconds:.0f} s. Everything is in {folder} (curves.png, samples.md, eval.json, metrics.jsonl). Next:")
    here, other = shlex.quote(str(folder)), "dpo" if name != "dpo" else "ift"
    start, beside = ("", "the base") if cfg.init == "base" else (shlex.quote(str(cfg.init)) + " ", cfg.init)
    print(f"  python -m nanouft.sample {start}{here}                   # talk to it, beside {beside}")
    print(f"  python -m nanouft.ledger --init {here}            # how hard each objective pushes each token")
    print(f"  python -m nanouft.train --objective {other} --init {here}" + " --data FILE" * bool(cfg.data)
          + "     # go on from here"
          + (f", with {' + '.join(OBJECTIVES[other].kinds(OBJECTIVES[other].hp()))} of yours" if cfg.data else ""))


def _short(text: str, n: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= n else text[:n] + " ..."


def _marks(x: dict) -> str:
    out = [f"score {x['score']:.2f}"] if "score" in x else []
    return f"   ({', '.join(out + [] if x['ended'] else [*out, 'does not stop'])})" if out or not x["ended"] else ""
