"""Held-out metrics: exact scores of greedy answers; loss, preference accuracy and AUC of rows.

evaluate.py is the command; its head says what each metric means.
"""
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np

from nanouft import world
from nanouft.data.batches import Encoded
from nanouft.data.rows import Row
from nanouft.data.selection import each_prompt
from nanouft.generate import MAX_NEW, Answer, generate, stops, why_unfinished
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.plumbing.files import parse_json, read_text, write_text
from nanouft.plumbing.printing import if_here, progress, quantity, say
from nanouft.plumbing.seeds import chunk_seed
from nanouft.rollout import Score
from nanouft.run.plan import ASKED, Plan, scores_answers
from nanouft.run.reference import Numbers, logps
from nanouft.world.answers import read_question


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
            some = generate(model, [prompts[j] for j in part], stop=tok.stops, pad=tok.pad,
                            max_new=max_new, seed=chunk_seed(seed, i // chunk), count=bar.update,
                            **how)
            out |= dict(zip(part, some))
    return [out[i] for i in range(len(rows))]


Metrics = dict[str, Any]


def bootstrap(values: Any, counts: Any = None) -> tuple[float, float]:
    """95 % interval of the mean over rows. The rows are drawn again with replacement, 1,000 times,
    always with the same draws. With `counts`, values are sums over that many tokens."""
    x = np.asarray(values, float)
    n = np.ones(len(x)) if counts is None else np.asarray(counts, float)
    drawn = np.random.default_rng(0).integers(0, len(x), (1000, len(x)))
    means = x[drawn].sum(1) / n[drawn].sum(1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def interval(values: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean, by `bootstrap`. If all rows are right, or all wrong, it is the
    exact interval of a share (Clopper and Pearson 1934), because equal rows have no bootstrap
    spread."""
    least = 0.025 ** (1 / len(values))
    if (counts == 1).all() and len(set(values)) == 1 and values[0] in (0, 1):
        return (least, 1.0) if values[0] else (0.0, 1 - least)
    return bootstrap(values, counts)


def score_tasks(model: GPT, tok: Tokenizer, split: str = "test", items: int = 100, seed: int = 0,
                skills: Sequence[str] = world.TASKS,
                max_new: int = MAX_NEW) -> tuple[Metrics, list[dict]]:
    """({task: its metrics}, every answer)."""
    rows, done = world.rows(split, "prompts", items * len(skills), seed, skills=skills), []
    for row, a in zip(rows, answer_rows(model, tok, rows, max_new=max_new), strict=True):
        prompt, text = row.prompt[-1].text, tok.decode(a.ids).strip()
        score = world.score(prompt, text)
        done.append({"family": row.task, "prompt": prompt, "answer": text, "ended": stops(a, tok),
                     "score": score,
                     "why": "" if score == 1 else f"right: {world.right_answer(prompt)}"})
    return {f: summary([x for x in done if x["family"] == f]) for f in skills}, done


def summary(items: list[dict]) -> Metrics:
    """The metrics of one task. Wordings of one question about a fact are drawn together."""
    facts: dict = {}
    for x in items:
        facts.setdefault(read_question(x["prompt"]) or x["prompt"], []).append(x["score"])
    low, high = bootstrap([sum(g) for g in facts.values()], [len(g) for g in facts.values()])
    return {"score": float(np.mean([x["score"] for x in items])), "low": low, "high": high,
            "strict": float(np.mean([x["score"] == 1 and x["ended"] for x in items])),
            "ends": float(np.mean([x["ended"] for x in items]))}


ABOUT = {"rules": "several small instructions", "rules_new": "the same in new combinations",
         "list": "four animals, but not ...", "sum": "running sums", "sort": "alphabetical order",
         "reverse": "last word first", "truth": "facts against a myth",
         "unknown": "should say: I do not know", "fact": "known before, should stay"}

METRICS = {"nll": "loss on held-out answers, nats per token",
           "accuracy": "held-out pairs: chosen answer gained more",
           "prefers": "held-out pairs: chosen is more likely",
           "auc": "held-out answers: better ones gained more",
           "reward": "held-out questions: reward of the answers"}


def mean_score(scores: Metrics) -> float:
    return float(np.mean([f["score"] for f in scores.values()]))


def held_out_metrics(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> Metrics:
    """Metrics of rows with answers; {} if there are none."""
    some = encoded and "prompt" not in encoded[0].seqs
    return measure_rows(model, encoded, pad, device).metrics if some else {}


@dataclass
class Measurement:
    """Metrics of rows, and a sum and a count for each row, to compare models. The first metric is
    the total of the sums divided by the total of the counts."""
    metrics: Metrics
    sums: np.ndarray                    # (rows,)
    counts: np.ndarray                  # (rows,)

    def __post_init__(self) -> None:
        low, high = interval(self.sums, self.counts)
        self.metrics = {**self.metrics, "low": low, "high": high, "rows": len(self.sums)}


def measure_rows(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> Measurement:
    """Held-out metrics: preference accuracy of pairs, AUC of graded answers, NLL of
    demonstrations."""
    return measure(encoded, logps(encoded, model, pad, device, "reading held-out rows"))


def measure(encoded: list[Encoded], logp: Numbers) -> Measurement:
    """The same of log-probs that are known."""
    if "chosen" in logp[0]:
        return of_pairs(logp, encoded)
    total = np.array([x["answer"].sum() for x in logp])
    counts = np.array([e.seqs["answer"].mask.sum() for e in encoded], float)
    grades = np.array([e.per_row.get("score", e.per_row.get("label")) for e in encoded], object)
    if len(set(grades)) == 1:
        return Measurement({"nll": float(-total.sum() / counts.sum())}, -total, counts)
    ref = reference_sums(encoded, "answer")
    gain = total / counts if ref is None else total - ref
    return of_grades(gain, grades.astype(float))


def of_grades(gain: np.ndarray, grade: np.ndarray) -> Measurement:
    """AUC: of all couples of answers with different grades, the share in which the better one
    gained more. Grades 1, 0, 0 make two couples.

    A row belongs to many couples, as the better or as the worse answer. So the interval comes from
    one number per row, auc + rows / couples * (its wins - auc * its couples). The mean of these is
    auc, and their spread is that of the U-statistic (Hoeffding 1948; for two grades DeLong et al.
    1988)."""
    rows = len(gain)
    won, couples = np.zeros(rows), np.zeros(rows)           # of each row, on both sides
    for i in range(rows):                       # one at a time: all couples would fill the memory
        worse = grade < grade[i]
        ahead = worse * wins(gain[i] - gain)
        won += ahead
        couples += worse
        won[i] += ahead.sum()
        couples[i] += worse.sum()
    auc = float(won.sum() / couples.sum())
    each = auc + rows / (couples.sum() / 2) * (won - auc * couples)
    found = Measurement({"auc": auc}, each, np.ones(rows))
    ends = {end: min(max(found.metrics[end], 0.0), 1.0) for end in ("low", "high")}
    found.metrics |= ends                       # of few rows it could leave the range of a share
    return found


def of_pairs(logp: Numbers, encoded: list[Encoded]) -> Measurement:
    """prefers: share of pairs in which chosen is more likely. accuracy: share in which chosen
    gained more log-prob over the start model than rejected."""
    chosen = np.array([x["chosen"].sum() for x in logp])
    rejected = np.array([x["rejected"].sum() for x in logp])
    likelier = chosen > rejected
    one_each = np.ones(len(logp))
    prefers = {"prefers": float(likelier.mean())}
    ref_chosen, ref_rejected = (reference_sums(encoded, role) for role in ("chosen", "rejected"))
    if ref_chosen is None or ref_rejected is None:
        return Measurement(prefers, likelier * 1.0, one_each)
    gained = wins((chosen - ref_chosen) - (rejected - ref_rejected))
    return Measurement({"accuracy": float(gained.mean()), **prefers}, gained, one_each)


def reference_sums(encoded: list[Encoded], role: str) -> np.ndarray | None:
    """(n,) log-prob by the reference model of each sequence of a role, in nats; None if it was not
    computed."""
    logp = [e.seqs[role].ref_logp for e in encoded]
    return np.array([x.sum() for x in logp if x is not None]) if logp[0] is not None else None


def wins(margin: np.ndarray) -> np.ndarray:
    """1 where the better answer is ahead, 1/2 for a tie (within rounding)."""
    return np.where(np.abs(margin) < 1e-3, 0.5, margin > 0)


def measure_ends(answers: list[Answer], tok: Tokenizer) -> Measurement:
    """The share of answers that stop, and their median length in tokens."""
    ended = np.array([stops(a, tok) for a in answers], float)
    lengths = float(np.median([len(a.ids) for a in answers]))
    return Measurement({"stops": float(ended.mean()), "median tokens": lengths}, ended,
                       np.ones(len(ended)))


def measure_rewards(rows: list[Row], texts: list[str], score: Score) -> Measurement:
    """The reward of one answer to each row."""
    reward = np.asarray(score(rows, texts), float)
    return Measurement({"reward": float(reward.mean())}, reward, np.ones(len(reward)))


# ---- what a run measures before and after, and prints --------------------------------------------
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


def evaluate_once(file: Path, evaluate: Callable[[], Evaluation]) -> Evaluation:
    """What is measured before the first step: from this file if a run goes on, else measured and
    written there."""
    if file.exists():
        return Evaluation(*parse_json(read_text(file), str(file)))
    before = evaluate()
    file.parent.mkdir(exist_ok=True)
    write_text(file, json.dumps(before))        # NaN comes back as NaN
    return before


def print_report(before: Evaluation, after: Evaluation, question: dict, leak: str = "") -> None:
    """Print what a run has changed: scores of NanoWorld's tasks, metrics of held-out rows, and some
    answers. `question` is what pick_question returned, `leak` that of the plan."""
    was, now = before.metrics, after.metrics
    if "families" in now:
        print_tasks(was["families"], now["families"])
    elif now.get("held_out"):
        say(f"\n{leak}:" if leak else "")
        about_rows = "held-out rows" if leak else "rows that were not trained on"
        say(f"{about_rows:<42}before    after")
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


def print_best_step(log: list[dict], before: Evaluation, after: Evaluation, steps: int) -> None:
    """Print at which step of a run with --eval-every its held-out figure was best."""
    measured = [(0, before.metrics.get("held_out")),
                *((x["step"], x["held_out"]) for x in log if "held_out" in x),
                (steps, after.metrics.get("held_out"))]
    found = {step: metrics for step, metrics in measured if metrics}
    if found:
        name = next(iter(found[max(found)]))            # the first figure
        pick, best = (min, "least") if name == "nll" else (max, "highest")
        step = pick(found, key=lambda step: found[step][name])
        say(f"\nheld-out {name} was {best} at step {step:,} of {steps:,}")


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
