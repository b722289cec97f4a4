"""Figures of rows and of answers, each with a 95 % interval over the rows.

    measure(encoded, logps)         # loss of demonstrations, order of pairs or of graded answers
    measure_rewards(rows, texts, score)         # of sampled answers

evaluate.py says what each figure means.
"""
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nanouft.data.batches import Encoded
from nanouft.data.row import Row, Score
from nanouft.device import Device
from nanouft.generate import Answer, stops
from nanouft.gpt import GPT
from nanouft.models.tokenizer import Tokenizer
from nanouft.run.reference import Numbers, logps

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


@dataclass
class Measurement:
    """Metrics of rows, and a sum and a count for each row, to compare models. The first metric is
    the total of the sums divided by the total of the counts."""
    metrics: Metrics
    sums: np.ndarray                    # (rows,)
    counts: np.ndarray                  # (rows,)
    where: tuple[str, ...] = ()         # which rows: Row.where of each
    also: dict[str, np.ndarray] = field(default_factory=dict)   # more numbers of each row

    def __post_init__(self) -> None:
        low, high = interval(self.sums, self.counts)
        self.metrics = {**self.metrics, "low": low, "high": high, "rows": len(self.sums)}


def held_out_metrics(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> Metrics:
    """Metrics of rows with answers; {} if there are none."""
    if not encoded or "prompt" in encoded[0].seqs:
        return {}
    return measure(encoded, logps(encoded, model, pad, device, "held-out rows")).metrics


def demo_metrics(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> Metrics:
    """The loss on the demonstrations among rows of several kinds; {} if there are none. Answers
    with full marks count as demonstrations, as in evaluate.py."""
    demos = [Encoded({"answer": e.seqs.get("demo") or e.seqs["answer"]}, e.row) for e in encoded
             if "demo" in e.seqs or e.per_row.get("score") == 1]
    return held_out_metrics(model, demos, pad, device)


def measure(encoded: list[Encoded], logp: Numbers) -> Measurement:
    """Preference accuracy of pairs, AUC of graded answers, or NLL of demonstrations, from the
    log-probs of their tokens."""
    if "chosen" in logp[0]:
        return preferences_of_pairs(logp, encoded)
    total = np.array([x["answer"].sum() for x in logp])
    counts = np.array([e.seqs["answer"].mask.sum() for e in encoded], float)
    grades = np.array([e.per_row.get("score", e.per_row.get("label")) for e in encoded], object)
    if len(set(grades)) == 1:
        return Measurement({"nll": float(-total.sum() / counts.sum())}, -total, counts)
    ref = reference_sums(encoded, "answer")
    gain = total / counts if ref is None else total - ref
    return auc_of_grades(gain, grades.astype(float))


def auc_of_grades(gain: np.ndarray, grade: np.ndarray) -> Measurement:
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
    of_rows = auc + rows / (couples.sum() / 2) * (won - auc * couples)
    measurement = Measurement({"auc": auc}, of_rows, np.ones(rows))
    ends = {end: min(max(measurement.metrics[end], 0.0), 1.0) for end in ("low", "high")}
    measurement.metrics |= ends         # of few rows it could leave the range of a share
    return measurement


def preferences_of_pairs(logp: Numbers, encoded: list[Encoded]) -> Measurement:
    """prefers: share of pairs in which chosen is more likely. accuracy: share in which chosen
    gained more log-prob over the initial model than rejected."""
    chosen = np.array([x["chosen"].sum() for x in logp])
    rejected = np.array([x["rejected"].sum() for x in logp])
    likelier = chosen > rejected
    one_each = np.ones(len(logp))
    prefers = {"prefers": float(likelier.mean())}
    ref_chosen, ref_rejected = (reference_sums(encoded, role) for role in ("chosen", "rejected"))
    if ref_chosen is None or ref_rejected is None:
        lengths = {f"{role} tokens": np.array([x.seqs[role].mask.sum() for x in encoded], float)
                   for role in ("chosen", "rejected")}
        return Measurement(prefers, likelier * 1.0, one_each,
                           also={"margin": chosen - rejected, **lengths})
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


def measure_ends(rows: list[Row], answers: list[Answer], tok: Tokenizer) -> Measurement:
    """The share of answers that stop, and their median length in tokens."""
    ended = np.array([stops(a, tok) for a in answers], float)
    lengths = float(np.median([len(a.ids) for a in answers]))
    return Measurement({"stops": float(ended.mean()), "median tokens": lengths}, ended,
                       np.ones(len(ended)), tuple(r.where for r in rows))


def measure_rewards(rows: list[Row], texts: list[str], score: Score) -> Measurement:
    """The reward of one answer to each row."""
    reward = np.asarray(score(rows, texts), float)
    return Measurement({"reward": float(reward.mean())}, reward, np.ones(len(reward)),
                       tuple(r.where for r in rows), {"responses": np.array(texts)})
