"""What a run measures before and after: it answers questions, and prints what has changed.

    answer_rows(model, tok, rows)               # greedy answers
    score_tasks(model, tok)                     # their exact scores, by NanoWorld's tasks

eval_metrics.py has the figures of held-out rows, and the intervals.
"""
from collections.abc import Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np

from nanouft import __version__, world
from nanouft.data.batches import Encoded
from nanouft.data.row import Row, Score
from nanouft.data.selection import each_question
from nanouft.device import Device
from nanouft.generate import MAX_NEW, Answer, generate, stops, why_unfinished
from nanouft.gpt import GPT
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.plumbing.files import read_json, write_text
from nanouft.plumbing.printing import if_in_checkout, progress, quantity, quoted, say
from nanouft.plumbing.seeds import chunk_seed
from nanouft.run.config import RunConfig, SettledConfig
from nanouft.run.eval_metrics import (
    Metrics,
    bootstrap,
    demo_metrics,
    held_out_metrics,
    measure_rewards,
)
from nanouft.world.answers import read_question

CURVE = (0, 1 / 12, 1 / 6, 1 / 3, 2 / 3, 1)     # of the steps; a model changes most early on
FEW = 10                # held-out rows; with fewer, chance decides the figures
FORGOT = 20             # points that a task must lose before the run says so
SHOWN = 2               # held-out questions that a model answers before and after
ANSWER = 64             # longest answer to a question of your rows, in tokens
ABOUT = {"rules": "several small instructions", "rules_new": "the same in new combinations",
         "list": "four animals, but not ...", "sum": "running sums", "sort": "alphabetical order",
         "reverse": "last word first", "truth": "facts against a myth",
         "unknown": "should say: I do not know", "fact": "known before, should stay"}

METRICS = {"nll": "held-out demonstrations: nats per token",
           "accuracy": "held-out pairs: reward accuracy",
           "prefers": "held-out pairs: chosen more likely",
           "auc": "held-out responses: better ones gained more",
           "reward": "held-out prompts: reward of the responses"}


# ---- answers -------------------------------------------------------------------------------------
def answer_rows(model: GPT, tok: Tokenizer, rows: list[Row], max_new: int = MAX_NEW,
                chunk: int = 300, seed: int = 0, what: str = "answering",
                **how: Any) -> list[Answer]:
    """Greedy answers, in the order of `rows`; `how` changes how they are decoded. Prompts of
    similar length are decoded together. what: who answers what, on the progress bar."""
    prompts = [tok.prompt_ids(r.prompt) for r in rows]
    by_length = sorted(range(len(rows)), key=lambda i: len(prompts[i]))
    out: dict[int, Answer] = {}
    with progress(len(rows), what) as bar:
        for i in range(0, len(rows), chunk):
            part = by_length[i:i + chunk]
            answers = generate(model, [prompts[j] for j in part], stop=tok.stops, pad=tok.pad,
                            max_new=max_new, seed=chunk_seed(seed, i // chunk), count=bar.update,
                            **how)
            out |= dict(zip(part, answers))
    return [out[i] for i in range(len(rows))]


def score_tasks(model: GPT, tok: Tokenizer, split: str = "test", items: int = 100, seed: int = 0,
                skills: Sequence[str] = world.TASKS, max_new: int = MAX_NEW,
                who: str = "the model") -> tuple[Metrics, list[dict]]:
    """({task: its metrics}, every answer)."""
    rows, done = world.rows(split, "prompts", items * len(skills), seed, skills=skills), []
    answers = answer_rows(model, tok, rows, max_new=max_new, what=f"{who} responds")
    for row, a in zip(rows, answers, strict=True):
        prompt, text = row.prompt[-1].text, tok.decode(a.ids).strip()
        score = world.score(prompt, text)
        done.append({"family": row.task, "prompt": prompt, "answer": text, "ended": stops(a, tok),
                     "score": score, "words": world.score(prompt, words_of(text)),
                     "why": "" if score == 1 else f"right: {world.right_answer(prompt)}"})
    return {f: summary([x for x in done if x["family"] == f]) for f in skills}, done


def words_of(text: str) -> str:
    """A response without its first control token, <|user|> say, and all that follows: its score is
    what a model knows, whether or not it stops there."""
    return text.partition("<|")[0].strip()


def is_on_curve(step: int, cfg: SettledConfig) -> bool:
    """True of the steps of a run on NanoWorld after which curve_scores are measured."""
    if cfg.data or cfg.plain or not (cfg.items and cfg.curve_items):
        return False
    return step in {round(share * cfg.steps) for share in CURVE}


def curve_scores(model: GPT, tok: Tokenizer, items: int) -> dict[str, float]:
    """{task: the mean score of that many validation prompts, 0 to 1}. They judge no method, and
    draw no random numbers, so the run is the same without them."""
    scores, _ = score_tasks(model, tok, "val", items, who="the model so far")
    return {task: x["score"] for task, x in scores.items()}


def summary(items: list[dict]) -> Metrics:
    """The metrics of one task. Wordings of one question about a fact are drawn together."""
    facts: dict = {}
    for x in items:
        facts.setdefault(read_question(x["prompt"]) or x["prompt"], []).append(x["score"])
    low, high = bootstrap([sum(g) for g in facts.values()], [len(g) for g in facts.values()])
    return {"score": float(np.mean([x["score"] for x in items])), "low": low, "high": high,
            "words": float(np.mean([x["words"] for x in items])),
            "strict": float(np.mean([x["score"] == 1 and x["ended"] for x in items])),
            "ends": float(np.mean([x["ended"] for x in items]))}


def mean_score(scores: Metrics, what: str = "score") -> float:
    return float(np.mean([f[what] for f in scores.values()]))


# ---- before and after ----------------------------------------------------------------------------
class EvalResult(NamedTuple):
    """What is measured of a model before a run, or after it."""
    metrics: Metrics            # of the held-out rows, and the scores
    answers: list[dict]         # to questions


def evaluate_run(model: GPT, tok: Tokenizer, cfg: SettledConfig, objective: Objective,
                 held_out: list[Encoded], device: Device, score: Score | None,
                 who: str = "the model") -> EvalResult:
    """Metrics of the held-out rows, and the model's answers. It answers NanoWorld's questions. Of
    your rows it answers all held-out questions if a reward scores them, else SHOWN of them."""
    if cfg.plain:
        return EvalResult({}, [])
    metrics: Metrics = {"held_out": held_out_metrics(model, held_out, tok.pad, device)}
    several_kinds = len(objective.kinds()) > 1 and "nll" not in metrics["held_out"]
    if several_kinds and (cfg.data or not objective.on_policy):
        metrics["demos"] = demo_metrics(model, held_out, tok.pad, device)
    if not cfg.data and cfg.items:
        metrics["families"], items = score_tasks(model, tok, items=cfg.items, who=who)
        return EvalResult(metrics, items)
    if not scores_answers(cfg, objective):
        score = None
    if score:
        rows, longest = [e.row for e in held_out], cfg.max_new
    else:
        questions = each_question([e.row for e in held_out], by_fields=False)
        rows, longest = questions[:SHOWN], ANSWER
    answers = answer_rows(model, tok, rows, max_new=longest, what=f"{who} responds")
    texts = [tok.decode(a.ids).strip() for a in answers]
    if score and rows:
        metrics["held_out"] = measure_rewards(rows, texts, score).metrics
    metrics["answers"] = [{"prompt": r.prompt[-1].text, "answer": text, "ended": stops(a, tok),
                           "unfinished": why_unfinished(a, tok)}
                          for r, text, a in zip(rows, texts, answers)]
    return EvalResult(metrics, metrics["answers"])


def scores_answers(cfg: RunConfig, objective: Objective) -> bool:
    """True if the model answers held-out questions of your rows, and a reward scores them."""
    return bool(cfg.data) and objective.on_policy and (
        objective.scorer != "none" or cfg.reward != "exact")


def print_report(before: EvalResult, after: EvalResult, question: dict, leak: str = "") -> None:
    """Print what a run has changed: scores of NanoWorld's tasks, metrics of held-out rows, and some
    answers. `question` is what pick_question returned, `leak` that of the plan."""
    was, now = before.metrics, after.metrics
    if "families" in now:
        print_tasks(was["families"], now["families"])
    elif now.get("held_out") or now.get("demos"):
        say(f"\n{leak}:" if leak else "")
        about_rows = "held-out rows" if leak else "held-out rows, not trained on"
        say(f"{about_rows:<42}before    after")
    for line in held_out_lines(was, now):
        say(line)
    if question:
        print_example(question["before"], question["after"])
    elif "families" in now:
        say("\nNo response changed.")
    else:
        for both in list(zip(before.answers, after.answers))[:SHOWN]:
            print_example(*both)


def held_out_lines(was: Metrics, now: Metrics) -> list[str]:
    """A line for each metric of held-out rows."""
    lines = []
    for name, about in METRICS.items():
        kind = "demos" if name in now.get("demos", ()) else "held_out"
        if name in now.get(kind, ()):
            old, new, n = was[kind][name], now[kind][name], now[kind]["rows"]
            rows = quantity(n, "rows") + (": too few" if n < FEW else "")
            lines.append(f"{about:<42}{old:6.3f}{new:9.3f}   ({rows})")
    return lines


def figure_lines(was: Metrics, now: Metrics) -> list[str]:
    """The figures of eval.json, before and after, in lines."""
    lines = held_out_lines(was, now)
    if "families" in now:
        old, new = (100 * mean_score(x["families"]) for x in (was, now))
        lines.append(f"{'mean score, 0-100':<42}{old:6.1f}{new:9.1f}")
    return [f"{'':<42}before    after", *lines] if lines else []


def say_if_rewards_are_equal(log: list[dict]) -> None:
    """Say so if nothing but rounding errors moved the model in any step of a run's log."""
    if max((line["grad_norm"] or 0 for line in log if "loss" in line), default=1) <= 1e-5:
        say("in every step all responses to a prompt had the same reward (zero variance), so "
            "nothing was learned: reward something that the model does only sometimes")


def print_tasks(was: Metrics, now: Metrics) -> None:
    """Print the score of each task, and that of the words alone, which does not ask whether the
    model stops; then which part of the gain is words, and which tasks were unlearned."""
    head = "score, 0-100, on new NanoWorld prompts"
    say(f"\n{head:<42}before    after   words only    EOS, %")
    for name, f in now.items():
        score, words, ends = (100 * was[name][k] for k in ("score", "words", "ends"))
        say(f"  {name:<11}{ABOUT[name]:<29}{score:5.0f}{100 * f['score']:9.0f}"
            f"{words:6.0f} -> {100 * f['words']:<4.0f}{ends:3.0f} -> {100 * f['ends']:.0f}")
    score, better, words, wiser = (100 * mean_score(x, k) for k in ("score", "words")
                                   for x in (was, now))
    say(f"  {'mean':40}{score:5.0f}{better:9.0f}{words:6.0f} -> {wiser:.0f}")
    gain, of_words = round(better - score), round(wiser - words)
    of_ends = "for stopping" if gain >= of_words else "where responses do not stop"
    say(f"  mean {gain:+d}: {of_words:+d} for better words, {gain - of_words:+d} {of_ends} "
        "after them (EOS: <|end|>).\n  Words only: the score of a response up to its first <|...|>")
    change = {name: 100 * (f["score"] - was[name]["score"]) for name, f in now.items()}
    if lost := [f"{name} {x:+.0f}" for name, x in change.items() if x <= -FORGOT]:
        say(f"  forgotten: {', '.join(lost)} points"
            f"{if_in_checkout('docs/runs.md')}")


def pick_question(before: EvalResult, after: EvalResult) -> dict:
    """One of NanoWorld's questions with both answers; {} if no answer changed, or there are none.
    Among the questions whose answer changed, it takes the one whose gain is nearest to the mean
    gain. So it shows neither the best nor the worst."""
    if "families" not in after.metrics:
        return {}
    both = list(zip(before.answers, after.answers))
    gains = [new["score"] - old["score"] for old, new in both]
    changed = [i for i, (old, new) in enumerate(both) if new["answer"] != old["answer"]]
    if not changed:
        return {}
    old, new = both[min(changed, key=lambda i: abs(gains[i] - sum(gains) / len(gains)))]
    return {"prompt": old["prompt"], "before": old, "after": new}


def print_example(before: dict, after: dict) -> None:
    """Print a question and both answers, shortened."""
    say("\n" + shorten(before["prompt"], 80))
    for when, x in (("before", before), ("after", after)):
        notes = [f"score {x['score']:.2f}"] if "score" in x else []
        if not x["ended"]:
            notes.append(x.get("unfinished", "no EOS"))
        elif x.get("why"):
            notes.append(x["why"])
        note = f"   ({shorten(', '.join(notes), 40)})" if notes else ""     # an answer needs room
        say(f"  {when:<8}" + shorten(x["answer"], 70 - len(note), placeholder=" ...") + note)


def say_next(folder: Path, method: str) -> None:
    """Commands to go on with; method: of a run on NanoWorld, "" for one on rows of yours."""
    talk = f"python -m nanouft.sample {quoted(folder)}"
    if not method:
        say(f"Talk to it: {talk}")
        return
    found = {talk: "ask it: Say pig bee saw backwards."}
    found["python -m nanouft.simple"] = "all of a run in one file"
    found["python -m nanouft.playground"] = "any two methods, step by step"
    if lesson := if_in_checkout("lessons/00_which_copy_stops.py", "python {}"):
        found[lesson] = "the first lesson; you guess first"
    say("Next:", *(f"  {line:<42} {what}" for line, what in found.items()), sep="\n")


# ---- the model card ------------------------------------------------------------------------------
CARD = """---
library_name: transformers
tags: [nanouft, {objective}]
---
# {name}

Trained by nanouft {version}: `{objective}` from {start}, on {rows}, for {steps} at a
learning rate of {lr:g}. {scores}

An experiment: nobody has tested it for any use. Its licence follows from those of its initial model
and its rows. `run.json` has every setting.
"""


def write_card(folder: Path) -> None:
    """README.md, from run.json and eval.json; hubs of models show it."""
    run, scored = read_json(folder / "run.json"), read_json(folder / "eval.json")
    config, after = run["config"], scored["after"] or {}
    tasks, held_out = after.get("families"), after.get("held_out", {}) | after.get("demos", {})
    saved = f" (saved: step {scored['kept']['step']})" if "kept" in scored else ""
    of_rows = ", ".join(f"{name} {x:.3f}" for name, x in held_out.items()
                        if name in ("nll", "accuracy", "auc", "reward"))
    write_text(folder / "README.md", CARD.format(
        name=folder.resolve().name, version=__version__, objective=run["objective"],
        start=Path(config["init"]).name, steps=quantity(run["steps"], "steps") + saved,
        lr=config["lr"],
        rows=", ".join(Path(file).name for file in config["data"] or ["NanoWorld's rows"]),
        scores=f"NanoWorld's mean score: {100 * mean_score(tasks):.0f} of 100." if tasks else
        f"Held-out rows: {of_rows}." if of_rows else "It was not scored."))
