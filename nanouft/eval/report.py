"""What a run prints: one example, the table before and after, three answers, the next commands.

train.py calls these; nothing here changes a weight.
"""
import os
import shlex
import sys
import warnings
from pathlib import Path

from nanouft.data.batches import Encoded
from nanouft.data.rows import Row
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, flag, say, visible
from nanouft.eval.held_out import held_out_lines
from nanouft.eval.show import show_mask
from nanouft.gpt import GPT
from nanouft.objectives import OBJECTIVES
from nanouft.run import runs
from nanouft.run.best import SLACK, looks
from nanouft.run.storage import write_json, write_text
from nanouft.run.words import one_line
from nanouft.sampling import answer_rows, stops

SHOWN = 3                   # answers printed before and after
NOTHING: dict = {"held_out": {}, "samples": []}     # what a run with --plain has to say
FALLS = 0.05                # of the held-out loss: less is not worth a word
SECOND = "3e-6"             # learning rate of a second stage; more unlearns the first (claim C3)


# ---- before training -----------------------------------------------------------------------------
def colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def example(encoded: list[Encoded], tok: Tokenizer) -> str:
    """The row of median length with its mask, as the model reads it."""
    middle = sorted(encoded, key=lambda e: e.length)[len(encoded) // 2]
    about = f"one example (trained on: {'green' if colour() else 'in [[ ]]'})"
    if "prompt" in middle.seqs:
        about = "one prompt; the model answers it itself"
    return f"{about}\n{show_mask(middle, tok, colour())}"


# ---- evaluating a model --------------------------------------------------------------------------
def evaluate(run, data, model: GPT) -> dict:
    """Figures on held-out rows; NanoWorld's families, or answers to three held-out prompts."""
    cfg, tok = run.cfg, data.tok
    out = {"held_out": run.held_out() if run.held_out else {}}
    if run.held_reward:
        out["reward"] = run.held_reward()
    if cfg.items and all(r.family for r in data.train_rows):    # NanoWorld's, drawn or from a file
        from nanouft.eval import scores  # only where answers have an exact score
        return out | scores.exam(model, tok, run.device, cfg.split, cfg.items)
    rows = [r for r in data.held_rows
            if r.prompt and r.label != 0 and not r.unjudged
            and (r.score is None or r.score > 0.5)][:SHOWN]
    samples = []
    for r, a in zip(rows, answer_rows(model, tok, rows, max_new=96)):
        right = r.answer or r.chosen
        samples.append({"prompt": r.prompt[-1].text, "reference": right[0].text if right else "-",
                        "answer": tok.decode(a.ids).strip(), "ended": stops(a, tok)})
    return {**out, "samples": samples}


def evaluate_start(run, data, model: GPT) -> dict:
    """`evaluate` of the start model. eval.json keeps it, and a resumed run reads it there."""
    before = runs.read_eval(run.folder).get("before") or evaluate(run, data, model)
    write_json(run.folder / "eval.json", {"before": before})
    return before


# ---- after training ------------------------------------------------------------------------------
def close_run(run, data, model: GPT, before: dict, seconds: float) -> None:
    """Write samples.md and curves.png; print the table, the answers, the next commands. eval.json
    comes last: a run that is killed earlier can be resumed, and then prints its table."""
    after = evaluate(run, data, model)
    write_samples(run, before["samples"], after["samples"])
    print_report(run, data, before, after, seconds)
    runs.finish(run.folder, before, after, seconds, run.kept)


def write_samples(run, before: list[dict], after: list[dict]) -> None:
    from nanouft.eval import plots  # matplotlib: a quarter of a second, needed only here
    text = [f"# {run.folder.name}: {run.name}, before and after\n"]
    for b, a in zip(before, after):
        text += [f"**prompt** {b['prompt']}\n", f"- reference: {b['reference']}",
                 f"- before{remarks(b)}: {b['answer']}", f"- after{remarks(a)}: {a['answer']}", ""]
    write_text(run.folder / "samples.md", visible("\n".join(text)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")      # a folder's name in letters the font lacks
        plots.curves(run.folder)


def print_report(run, data, before: dict, after: dict, seconds: float) -> None:
    folder, cfg = run.folder, run.cfg
    say()
    say("before = " + ("the shipped base model" if cfg.init == "base" else cfg.init))
    if "families" in after:
        from nanouft.eval import scores
        scores.table(before["families"], after["families"])
        say(f"scores in percent on {cfg.items} {cfg.split} prompts a family; strict = fully "
            "right and stops; end = answers that stop.\n"
            "An answer is scored up to <|end|>, so running on costs. What each family asks: "
            "python -m nanouft.world\n")
    if after["held_out"]:
        say("held out   " + held_out_lines(after["held_out"], before["held_out"]))
        if "nll" in after["held_out"]:
            say("           nll: minus the log-probability of an answer's token, on average, in "
                "nats; lower is better")
    if "reward" in after:
        say("greedy answers to them   " + held_out_lines(after["reward"], before["reward"]))
    if cfg.data and OBJECTIVES[run.name].kinds(run.hp) == ["demos"]:
        start, end = before["held_out"].get("nll"), after["held_out"].get("nll")
        if start and end and end > (1 + SLACK) * start:
            say("this run made answers like these less likely; try a smaller rate, such as "
                f"--lr {cfg.rate / 10:.1g}")
        else:
            say(how_long(looks(folder / "metrics.jsonl"), run.keeps_best), end="")
    for b, a in zip(before["samples"], after["samples"]):
        say(f"\nprompt  {one_line(b['prompt'])}\nbefore  {one_line(b['answer'])}{remarks(b)}\n"
            f"after   {one_line(a['answer'])}{remarks(a)}")
    say(f"\n{seconds:.0f} s. Everything is in {folder} (curves.png, samples.md, eval.json, "
        "metrics.jsonl). Next:")
    say("\n".join(next_steps(folder, run.name, cfg, data.held_rows)), flush=True)


def how_long(losses: list[tuple[int, float]], keeps_best: bool = False) -> str:
    """A line if more steps, or fewer, would be better, by the held-out losses: [(step, loss)].
    `keeps_best`: the step of the lowest one is kept anyway."""
    if len(losses) < 2:
        return ""
    last, end = losses[-1]
    step, lowest = min(losses, key=lambda look: look[1])
    _, before = max(look for look in losses[:-1] if look[0] <= 0.6 * last or look == losses[0])
    if step == last and end < (1 - FALLS) * before:
        return (f"the held-out loss still falls at the end ({before:.3f} -> {end:.3f} in the last "
                f"part of the run): try --steps {2 * last}\n")
    if not keeps_best and end > (1 + SLACK) * lowest:
        return (f"the held-out loss was lowest at step {step} ({lowest:.3f}; {end:.3f} at the "
                f"end): try --steps {step}\n")
    return ""


def remarks(sample: dict) -> str:
    """"   (score 0.80, gold not allowed, does not stop)" of an answer."""
    out = [f"score {sample['score']:.2f}"] if "score" in sample else []
    out += [why] if (why := sample.get("why")) else []
    out += [] if sample["ended"] else ["does not stop"]
    return f"   ({', '.join(out)})" if out else ""


def next_steps(folder: Path, name: str, cfg, rows: list[Row]) -> list[str]:
    """Commands that run as they stand. `rows`: held-out rows."""
    here = shlex.quote(str(folder))
    out = [f"  python -m nanouft.sample {here}      # talk to it and to its start model"]
    if not cfg.data:
        out.append(f"  python -m nanouft.ledger --init {here}      # what pushes each token")
    out.append(go_on(folder, name, cfg, rows))
    lesson = "lessons/00_whole_game.py"
    if not cfg.data and cfg.init == "base" and Path(lesson).exists():
        out.append(f"  python {lesson}      # what did it do? The first lesson, 20 minutes")
    return out


def go_on(folder: Path, name: str, cfg, rows: list[Row]) -> str:
    """The command of a second stage: pairs after demonstrations, demonstrations after the rest."""
    objective = OBJECTIVES[name]
    other = "dpo" if objective.kinds(objective.hp())[0] == "demos" else "ift"
    flags, note = runs.chained(folder, other), ""
    if not cfg.data and (other == "dpo" or cfg.init != "base"):
        flags += ["--lr", SECOND]
    if cfg.lora:                                            # to fit into memory
        flags += ["--lora", str(cfg.lora)]
    if cfg.checkpointing:
        flags.append("--checkpointing")
    if cfg.data:
        try:
            OBJECTIVES[other].rows(rows, OBJECTIVES[other].hp())
            flags += ["--data", *map(str, cfg.data), *field_flags(cfg)]
        except UserError:                                   # the file has no such rows
            kind = "pairs" if other == "dpo" else "demonstrations"
            flags += ["--data", "PAIRS.jsonl" if other == "dpo" else "DEMOS.jsonl"]
            note = f", with {kind} of yours"
    words = shlex.join(flags)
    return f"  python -m nanouft.train --objective {other} {words}      # go on from here{note}"


def field_flags(cfg) -> list[str]:
    """The flags that name the fields of the user's files."""
    given = [name for name in ("prompt_field", "response_field") if getattr(cfg, name)]
    return [word for name in given for word in (flag(name), getattr(cfg, name))]
