"""Before and after a run: what is measured and printed, and what eval.json keeps.

    before = evaluate_run(model, tok, plan, device, score)      # and once more after the run
    print_report(before, after)
"""
import re
from textwrap import shorten
from typing import NamedTuple

from nanouft.data.rows import Row
from nanouft.data.selection import each_prompt
from nanouft.generate import stops, unfinished
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.plumbing.printing import counted, say
from nanouft.rollout import Score
from nanouft.run.evaluation import (
    ABOUT,
    Metrics,
    answer_rows,
    families,
    held_out_metrics,
    mean_score,
    rewarded,
)
from nanouft.run.held_rows import ASKED, scores_answers, short_answers
from nanouft.run.plan import Plan

FORGOT = 20             # points that a family must lose before the run says so
METRICS = {"nll": "loss on held-out answers, nats per token",
           "accuracy": "held-out pairs: chosen answer gained more",
           "prefers": "held-out pairs: chosen answer is likelier",
           "auc": "held-out answers: better ones gained more",
           "reward": "held-out questions: reward of the answers"}
ANSWER = 64             # their longest answers, in tokens


class Evaluated(NamedTuple):
    """What is measured of a model before a run, or after it."""
    metrics: Metrics            # of the held-out rows, and the scores
    answers: list[dict]         # to questions


def evaluate_run(model: GPT, tok: Tokenizer, plan: Plan, device: Device,
                 score: Score | None) -> Evaluated:
    """With a reward all held-out questions are answered, else COUNTED short ones or ASKED."""
    cfg, held = plan.cfg, plan.held
    if cfg.plain:
        return Evaluated({}, [])
    score = score if scores_answers(cfg, plan.objective) else None
    metrics: Metrics = {"held_out": held_out_metrics(model, held, tok.pad, device)}
    if not cfg.data and cfg.items:
        metrics["families"], items = families(model, tok, items=cfg.items)
        return Evaluated(metrics, items)
    short = short_answers(held) if cfg.data and not score else []
    rows = [e.row for e in held] if score else [
        *short, *each_prompt([e.row for e in held])[:0 if short else ASKED]]
    longest = plan.max_new if score else ANSWER
    answers = answer_rows(model, tok, rows, max_new=longest)
    texts = [tok.decode(a.ids).strip() for a in answers]
    if score and rows:
        metrics["held_out"] = rewarded(rows, texts, score).metrics
    if short:
        right = sum(same_words(text, expected(row)) for row, text in zip(rows, texts))
        metrics["right"] = {"right": right, "of": len(rows)}
    metrics["answers"] = [{"prompt": r.prompt[-1].text, "answer": text, "ended": stops(a, tok),
                           "unfinished": unfinished(a, tok)}
                          for r, text, a in zip(rows, texts, answers)]
    return Evaluated(metrics, metrics["answers"])


def expected(row: Row) -> str:
    """The answer of a demonstration, or the better one of a pair."""
    return (row.answer or row.chosen or ())[-1].text


def same_words(one: str, other: str) -> bool:
    """Equal but for capital letters, punctuation and white space."""
    return re.findall(r"\w+", one.casefold()) == re.findall(r"\w+", other.casefold())


def print_report(before: Evaluated, after: Evaluated) -> dict:
    """Print what a run has changed; returns the NanoWorld question that is shown."""
    (was, answers), (now, new_answers) = before, after
    if "families" in now:
        old, new = was["families"], now["families"]
        say(f"\n{'score of 100':<42}before    after   answers that stop, %")
        for name, f in new.items():
            score, ends = (100 * old[name][k] for k in ("score", "ends"))
            say(f"  {name:<11}{ABOUT[name]:<29}{score:5.0f}{100 * f['score']:9.0f}"
                f"{ends:14.0f} -> {100 * f['ends']:.0f}")
        say(f"  {'mean':40}{100 * mean_score(old):5.0f}{100 * mean_score(new):9.0f}")
        change = {name: 100 * (f["score"] - old[name]["score"]) for name, f in new.items()}
        if lost := [f"{name} {x:+.0f}" for name, x in change.items() if x <= -FORGOT]:
            say(f"  it has unlearnt something: {', '.join(lost)} points (docs/runs.md)")
    elif now.get("held_out"):
        say(f"\n{'rows that were not trained on':<42}before    after")
    for name, about in METRICS.items():
        if name in now.get("held_out", ()):
            old, new = was["held_out"][name], now["held_out"][name]
            say(f"{about:<42}{old:6.3f}{new:9.3f}   ({counted(now['held_out']['rows'], 'rows')})")
    if "right" in now:
        say(f"{'short answers that are right, word by word':<42}{was['right']['right']:6d}"
            f"{now['right']['right']:9d}   (of {now['right']['of']})")
    if "families" in now:
        return question(answers, new_answers)
    for both in list(zip(answers, new_answers))[:ASKED]:
        show(*both)
    return {}


def question(before: list[dict], after: list[dict]) -> dict:
    """One question with both answers. Of those whose answer changed it is the one whose gain is
    nearest to the mean gain, so that neither the best nor the worst is shown."""
    gains = [a["score"] - b["score"] for b, a in zip(before, after)]
    changed = [i for i in range(len(gains)) if after[i]["answer"] != before[i]["answer"]]
    if not changed:
        say("\nNo answer changed.")
        return {}
    i = min(changed, key=lambda i: abs(gains[i] - sum(gains) / len(gains)))
    show(before[i], after[i])
    return {"prompt": before[i]["prompt"], "before": before[i], "after": after[i]}


def show(before: dict, after: dict) -> None:
    """Print a question and both answers, shortened."""
    say("\n" + shorten(before["prompt"], 80))
    for when, x in (("before", before), ("after", after)):
        notes = [f"score {x['score']:.2f}"] if "score" in x else []
        if not x["ended"]:
            notes.append(x.get("unfinished", "does not stop"))
        elif x.get("why"):
            notes.append(x["why"])
        note = f"   ({shorten(', '.join(notes), 40)})" if notes else ""     # an answer needs room
        say(f"  {when:<8}" + shorten(x["answer"], 70 - len(note), placeholder=" ...") + note)
