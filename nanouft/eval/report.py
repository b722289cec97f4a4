"""What a run tells its user: the example, the before/after table, three answers, what to try next.

train.py calls these; nothing here changes a weight.
"""
import math
import os
import shlex
import sys
import warnings
from pathlib import Path

import numpy as np

from nanouft.data.batches import Encoded
from nanouft.data.rows import Row, Turn
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, flag, one_line, visible
from nanouft.eval.held_out import held_out_lines
from nanouft.eval.show import show_mask
from nanouft.gpt import GPT
from nanouft.objectives import OBJECTIVES
from nanouft.run import runs
from nanouft.run.storage import Lines, write_json, write_text
from nanouft.sampling import answer_rows, stops

SHOWN = 3           # answers printed before and after
NOTHING: dict = {"held_out": {}, "samples": []}     # what a run with --plain has to say


# ---- before training -------------------------------------------------------------------------------------------------
def colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def example(encoded: list[Encoded], tok: Tokenizer) -> str:
    """The row of median length with its mask, as the model reads it."""
    middle = sorted(encoded, key=lambda e: e.length)[len(encoded) // 2]
    how = "green" if colour() else "in [[ ]]"
    about = "one prompt; the model answers it itself" if "prompt" in middle.seqs else f"one example (trained on: {how})"
    return f"{about}\n{show_mask(middle, tok, colour())}"


# ---- evaluating a model ----------------------------------------------------------------------------------------------
def evaluate(run, data, model: GPT) -> dict:
    """Evaluate as the run asked for: figures on rows held out; NanoWorld's families, or three answers to held-out
    prompts of the user's data."""
    cfg, tok = run.cfg, data.tok
    out = {"held_out": run.held_out() if run.held_out else {}}
    if run.held_reward:
        out["reward"] = run.held_reward()
    if cfg.items and all(r.family for r in data.train_rows):                # NanoWorld's, drawn or from a file
        from nanouft.eval import scores  # only where answers have an exact score
        return out | scores.exam(model, tok, run.device, cfg.split, cfg.items)
    good = [r for r in data.held_rows if r.prompt and r.label != 0 and (r.score is None or r.score > 0.5)]
    rows = good[:SHOWN]
    answers = answer_rows(model, tok, rows, max_new=96)
    references = [(r.answer or r.chosen or (Turn("assistant", NO_ANSWER),))[0].text for r in rows]
    out["samples"] = [{"prompt": r.prompt[-1].text, "reference": right, "answer": tok.decode(a.ids).strip(),
                       "ended": stops(a, tok)} for r, right, a in zip(rows, references, answers)]
    return out


def evaluate_start(run, data, model: GPT) -> dict:
    """`evaluate` of the start model, kept in eval.json at once; a resumed run reads what the first process saw."""
    before = runs.read_eval(run.folder).get("before") or evaluate(run, data, model)
    write_json(run.folder / "eval.json", {"before": before})
    return before


# ---- after training --------------------------------------------------------------------------------------------------
def close_run(run, data, model: GPT, before: dict, seconds: float) -> None:
    """samples.md, curves.png; the table, the answers, the next commands. eval.json comes last: it tells that all of
    this is done, so a run that is killed before it can be resumed, and shows its table then."""
    from nanouft.eval import plots  # matplotlib: a quarter of a second, needed only here
    folder, name, cfg, after = run.folder, run.name, run.cfg, evaluate(run, data, model)
    text = [f"# {folder.name}: {name}, before and after\n"]
    for b, a in zip(before["samples"], after["samples"]):
        text += [f"**prompt** {b['prompt']}\n", f"- reference: {b['reference']}"]
        text += [f"- {when}{_marks(x)}: {x['answer']}" for when, x in (("before", b), ("after", a))] + [""]
    write_text(folder / "samples.md", visible("\n".join(text)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")              # a folder's name in letters that the font lacks
        plots.curves(folder)
    print()
    if cfg.init != "base":
        print(f"before = {cfg.init}")
    if "families" in after:
        from nanouft.eval import scores
        scores.table(before["families"], after["families"])
        print(f"scores in percent on {cfg.items} {cfg.split} prompts a family; strict = fully right and stops; "
              "end = answers that stop.\nScored is everything said until <|end|>, so running on costs\n")
    if after["held_out"]:
        print("held out   " + held_out_lines(after["held_out"], before["held_out"]))
    if "reward" in after:
        print("greedy answers to them   " + held_out_lines(after["reward"], before["reward"]))
    if cfg.data and OBJECTIVES[name].kinds(run.hp) == ["demos"]:
        losses = [line["loss"] for line in Lines(folder / "metrics.jsonl").read() if "grad_norm" in line]
        print(still_falls(losses, cfg), end="")
    for b, a in zip(before["samples"], after["samples"]):
        print(f"\nprompt  {one_line(b['prompt'])}")
        print(f"before  {one_line(b['answer'])}{_marks(b)}\nafter   {one_line(a['answer'])}{_marks(a)}")
    print(f"\n{seconds:.0f} s. Everything is in {folder} (curves.png, samples.md, eval.json, metrics.jsonl). Next:")
    print("\n".join(next_steps(folder, name, cfg, data.held_rows, before["samples"])), flush=True)
    runs.finish(folder, before, after, seconds)


def still_falls(losses: list[float], cfg) -> str:
    """A line, where the mean loss of the last fifth of the steps lies clearly below that of the fifth before: by 2 %,
    and by three standard errors."""
    n = len(losses) // 5
    if n < 3:
        return ""
    before, last = np.array(losses[-2 * n:-n]), np.array(losses[-n:])
    error = math.sqrt((before.var(ddof=1) + last.var(ddof=1)) / n)
    if before.mean() - last.mean() < max(0.02 * abs(before.mean()), 3 * error):
        return ""
    more = f"--steps {2 * cfg.steps}" if cfg.steps else f"--epochs {2 * (cfg.epochs or 3):g}"
    return (f"the loss still falls at the end ({before.mean():.3f} -> {last.mean():.3f} in the last two fifths of the "
            f"steps): try {more}\n")


def next_steps(folder: Path, name: str, cfg, rows: list[Row], samples: list[dict]) -> list[str]:
    """Commands that can be run as they stand. `rows`: rows of the data; `samples`: prompts and right answers of it."""
    here, beside = shlex.quote(str(folder)), "the base" if cfg.init == "base" else cfg.init
    compared = here if cfg.init == "base" else shlex.join([str(cfg.init), str(folder)])
    out = [f"  python -m nanouft.sample {compared}                   # talk to it, beside {beside}"]
    short = [x for x in samples if all(0 < len(text) < 80 and text == one_line(text)        # a line can be pasted
                                       for text in (x["prompt"], x["reference"])) and x["reference"] != NO_ANSWER]
    asked = [f"--{key}={short[0][x]}" for key, x in (("prompt", "prompt"), ("answer", "reference"))
             if cfg.data and short]
    if asked or not cfg.data:
        out.append(f"  python -m nanouft.ledger {shlex.join(['--init', str(folder), *asked])}            "
                   "# how hard each objective pushes each token")
    out.append(go_on(folder, name, cfg, rows))
    lesson = Path("lessons/00_whole_game.py")
    if not cfg.data and cfg.init == "base" and lesson.exists():
        out.append(f"  python {lesson.as_posix()}                   # what did it do? The first lesson, 20 minutes")
    return out


NO_ANSWER = "(none)"        # the reference of a row that only asks
SECOND = "3e-6"     # the learning rate of a second stage: larger ones unlearn the first (docs/claims.md, C3)


def go_on(folder: Path, name: str, cfg, rows: list[Row]) -> str:
    """The command of a second stage: pairs after demonstrations, demonstrations after all else."""
    other = "dpo" if OBJECTIVES[name].kinds(OBJECTIVES[name].hp())[0] == "demos" else "ift"
    flags, note = runs.chained(folder, other), ""
    if other == "dpo" or cfg.init != "base":
        flags += ["--lr", SECOND]
    flags += ["--lora", str(cfg.lora)] * bool(cfg.lora) + ["--checkpointing"] * cfg.checkpointing   # to fit into memory
    if cfg.data:
        try:
            OBJECTIVES[other].rows(rows, OBJECTIVES[other].hp())
            flags += ["--data", *map(str, cfg.data)]
            for field in ("prompt_field", "response_field"):
                flags += [flag(field), getattr(cfg, field)] if getattr(cfg, field) else []
        except UserError:                                       # the file has no such rows
            mine, note = ("PAIRS.jsonl", "pairs") if other == "dpo" else ("DEMOS.jsonl", "demonstrations")
            flags, note = [*flags, "--data", mine], f", with {note} of yours"
    return f"  python -m nanouft.train --objective {other} {shlex.join(flags)}     # go on from here{note}"


def _marks(x: dict) -> str:
    """"   (score 0.50, does not stop)" of an answer."""
    out = [f"score {x['score']:.2f}"] if "score" in x else []
    out += [] if x["ended"] else ["does not stop"]
    return f"   ({', '.join(out)})" if out else ""
