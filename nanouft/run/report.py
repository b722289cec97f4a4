"""What a run measures before and after training, prints, and keeps in eval.json.

    before = evaluate_run(model, tok, plan, device, score)      # and once more after the run
    question = pick_question(before, after)                     # one of NanoWorld's, to show
    print_report(before, after, question)
"""
from textwrap import shorten
from typing import NamedTuple

from nanouft.data.selection import each_prompt
from nanouft.generate import stops, why_unfinished
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.plumbing.printing import if_here, quantity, say
from nanouft.rollout import Score
from nanouft.run.evaluation import (
    ABOUT,
    METRICS,
    Metrics,
    answer_rows,
    held_out_metrics,
    mean_score,
    measure_rewards,
    score_tasks,
)
from nanouft.run.held_out import ASKED, scores_answers
from nanouft.run.plan import Plan

FEW = 10                # held-out rows; with fewer, chance decides the figures
FORGOT = 20             # points that a task must lose before the run says so
ANSWER = 64             # longest answer to a question of your rows, in tokens


class Evaluation(NamedTuple):
    """What is measured of a model before a run, or after it."""
    metrics: Metrics            # of the held-out rows, and the scores
    answers: list[dict]         # to questions


def evaluate_run(model: GPT, tok: Tokenizer, plan: Plan, device: Device,
                 score: Score | None) -> Evaluation:
    """Metrics of the held-out rows, and the model's answers. It answers NanoWorld's questions. Of
    your rows it answers all held-out questions if a reward scores them, else ASKED of them."""
    cfg, held_out = plan.cfg, plan.held_out
    if cfg.plain:
        return Evaluation({}, [])
    metrics: Metrics = {"held_out": held_out_metrics(model, held_out, tok.pad, device)}
    if not cfg.data and cfg.items:
        metrics["families"], items = score_tasks(model, tok, items=cfg.items)
        return Evaluation(metrics, items)
    if not scores_answers(cfg, plan.objective):
        score = None
    if score:
        rows, longest = [e.row for e in held_out], plan.max_new
    else:
        rows, longest = each_prompt([e.row for e in held_out])[:ASKED], ANSWER
    answers = answer_rows(model, tok, rows, max_new=longest)
    texts = [tok.decode(a.ids).strip() for a in answers]
    if score and rows:
        metrics["held_out"] = measure_rewards(rows, texts, score).metrics
    metrics["answers"] = [{"prompt": r.prompt[-1].text, "answer": text, "ended": stops(a, tok),
                           "unfinished": why_unfinished(a, tok)}
                          for r, text, a in zip(rows, texts, answers)]
    return Evaluation(metrics, metrics["answers"])


def print_report(before: Evaluation, after: Evaluation, question: dict) -> None:
    """Print what a run has changed: scores of NanoWorld's tasks, metrics of held-out rows, and some
    answers. `question` is what pick_question returned."""
    was, now = before.metrics, after.metrics
    if "families" in now:
        print_tasks(was["families"], now["families"])
    elif now.get("held_out"):
        say(f"\n{'rows that were not trained on':<42}before    after")
    for name, about in METRICS.items():
        if name in now.get("held_out", ()):
            old, new = was["held_out"][name], now["held_out"][name]
            n = now["held_out"]["rows"]
            rows = quantity(n, "rows") + (": too few" if n < FEW else "")
            say(f"{about:<42}{old:6.3f}{new:9.3f}   ({rows})")
    if question:
        show(question["before"], question["after"])
    elif "families" in now:
        say("\nNo answer changed.")
    else:
        for both in list(zip(before.answers, after.answers))[:ASKED]:
            show(*both)


def print_tasks(was: Metrics, now: Metrics) -> None:
    """Print the score of each task, and which tasks were unlearned."""
    say(f"\n{'score of 100':<42}before    after   answers that stop, %")
    for name, f in now.items():
        score, ends = (100 * was[name][k] for k in ("score", "ends"))
        say(f"  {name:<11}{ABOUT[name]:<29}{score:5.0f}{100 * f['score']:9.0f}"
            f"{ends:14.0f} -> {100 * f['ends']:.0f}")
    say(f"  {'mean':40}{100 * mean_score(was):5.0f}{100 * mean_score(now):9.0f}")
    change = {name: 100 * (f["score"] - was[name]["score"]) for name, f in now.items()}
    if lost := [f"{name} {x:+.0f}" for name, x in change.items() if x <= -FORGOT]:
        say(f"  it has unlearned something: {', '.join(lost)} points"
            f"{if_here('docs/runs.md')}")


def pick_question(before: Evaluation, after: Evaluation) -> dict:
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
