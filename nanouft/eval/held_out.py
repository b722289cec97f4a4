"""How good is a model on rows it was not trained on? Loss, preferences, graded answers.

    python -m nanouft.evaluate --init out/my-run --data my.jsonl        # a few seconds

Demonstrations: `nll`, nats per response token. Pairs and graded answers: which answer is ahead, in
log-prob gained over the start model (`accuracy`, `auc`: .5 = nothing learnt) or in log-prob itself
(`prefers`). Intervals are 95 % bootstrap intervals over rows; they do not cover another seed of
training.
"""
from dataclasses import replace

import numpy as np
import torch

from nanouft.data.batches import Encoded
from nanouft.data.rows import Turns
from nanouft.eval.stats import bootstrap
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.reference import logps

FEW = 30                # of fewer rows, one more or less moves a share by over three points
Logps = list[dict[str, np.ndarray]]             # of each row: role -> (N,) log-probs
# Figures, and of each row (or prompt) a sum and a count: the first figure is the ratio of their
# totals. Models are compared on them.
Measured = tuple[dict[str, float], np.ndarray, np.ndarray]


def token_logps(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> Logps:
    """Log-probs of the response tokens, computed exactly as a reference column is."""
    alone = replace(device, rank=0, processes=1)                # only one process evaluates
    return [{role: logp[e.seqs[role].mask[1:] > 0] for role, logp in row.items()}
            for e, row in zip(encoded, logps(encoded, model, pad, alone))]


def start_logp(encoded: list[Encoded], role: str) -> np.ndarray | None:
    """(rows,) log-prob of each whole answer under the start model, if that is known."""
    refs = [e.seqs[role].ref_logp for e in encoded]
    return None if refs[0] is None else np.array([x.sum() for x in refs if x is not None])


def mean_loss(model: GPT, rows: torch.Tensor) -> float:
    """Nats on average per token of plain text; rows (B,T+1) ids."""
    with torch.no_grad():
        return -model(rows[:, :-1], want="logp", targets=rows[:, 1:]).mean().item()


def held_out(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> dict[str, float]:
    """The figures of these rows; `low` and `high` are the 95 % interval of the first one."""
    return measured(model, encoded, pad, device)[0]


def measured(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> Measured:
    """`held_out`, with the sums and counts that compare models."""
    rows = token_logps(model, encoded, pad, device)
    figures, sums, counts = (answers if "answer" in rows[0] else pairs)(encoded, rows)
    low, high = bootstrap(sums, counts)
    return {**figures, "low": low, "high": high, "rows": len(rows)}, sums, counts


def answers(encoded: list[Encoded], rows: Logps) -> Measured:
    """`nll` of demonstrations, or of answers of grade 1; before it what `graded` finds."""
    grades = [e.per_row.label if e.per_row.score is None else e.per_row.score for e in encoded]
    differ = len(set(grades)) > 1
    top = [r["answer"] for r, grade in zip(rows, grades) if grade in (None, 1.0) or not differ]
    sums, counts = np.array([-x.sum() for x in top]), np.array([len(x) for x in top])
    nll = {"nll": float(sums.sum() / counts.sum())} if top else {}
    if not differ:
        return nll, sums, counts
    figures, sums, counts = graded(encoded, rows, np.array(grades))
    return figures | nll, sums, counts


def pairs(encoded: list[Encoded], rows: Logps) -> Measured:
    """`accuracy`: the share of pairs whose chosen answer gained more log-prob over the start model
    than the rejected one (ties count half). `prefers`: where chosen is likelier."""
    chosen, rejected = (np.array([r[role].sum() for r in rows]) for role in ("chosen", "rejected"))
    start_chosen, start_rejected = (start_logp(encoded, role) for role in ("chosen", "rejected"))
    out, sums = {}, (chosen > rejected) * 1.0
    if start_chosen is not None and start_rejected is not None:
        sums = wins((chosen - start_chosen) - (rejected - start_rejected))
        out["accuracy"] = float(sums.mean())
    out |= {"prefers": float((chosen > rejected).mean()), "logp_chosen": float(chosen.mean()),
            "logp_rejected": float(rejected.mean())}
    return out, sums, np.ones(len(rows))


def wins(margin: np.ndarray) -> np.ndarray:
    """1 where the better answer is ahead, 1/2 for a tie: scoring one model twice gives numbers that
    differ by about 1e-5 nats."""
    return np.where(np.abs(margin) < 1e-3, 0.5, margin > 0)


def graded(encoded: list[Encoded], rows: Logps, grades: np.ndarray) -> Measured:
    """Answers with different grades, in couples of a better and a worse one to the same prompt.
    `accuracy`: the share of couples whose better answer gained more log-prob over the start model;
    `prefers`: where it is likelier. If (nearly) no prompt has answers of different grades, `auc` is
    the same share over all couples (without a start model: of nats per token). `logp_good` and
    `logp_bad`: mean log-prob of answers graded above and below 1/2."""
    logp = np.array([r["answer"].sum() for r in rows])
    start = start_logp(encoded, "answer")
    gain = logp if start is None else logp - start
    prompts: dict[Turns, list[int]] = {}
    for i, e in enumerate(encoded):
        prompts.setdefault(e.row.roles["answer"][0], []).append(i)
    groups = [better_and_worse(np.array(group), grades) for group in prompts.values()]
    couples = [c for c in groups if c.size]
    if 10 * sum(map(len, couples)) >= len(rows):
        figures = {"prefers": logp} if start is None else {"accuracy": gain, "prefers": logp}
    else:
        per_token = logp / [len(r["answer"]) for r in rows]
        figures = {"auc": per_token if start is None else gain}
        every = better_and_worse(np.arange(len(grades)), grades)
        couples = [every[every[:, 0] == i] for i in np.unique(every[:, 0])]
    counts = np.array([len(c) for c in couples])                # the bootstrap draws these groups
    sums = {name: np.array([wins(x[c[:, 0]] - x[c[:, 1]]).sum() for c in couples])
            for name, x in figures.items()}
    out = {name: float(x.sum() / counts.sum()) for name, x in sums.items()}
    for side, on in (("logp_good", grades > 0.5), ("logp_bad", grades < 0.5)):
        if on.any():
            out[side] = float(logp[on].mean())
    return {**out, "couples": int(counts.sum())}, next(iter(sums.values())), counts


def better_and_worse(group: np.ndarray, grades: np.ndarray) -> np.ndarray:
    """(couples, 2) row numbers: every better answer of the group with every worse one."""
    i, j = np.meshgrid(group, group, indexing="ij")
    return np.stack([i, j], -1)[grades[i] > grades[j]]


def held_out_lines(now: dict, before: dict | None = None) -> str:
    """One line: every figure (before -> now), the first with its interval, the number of rows."""
    other = ("low", "high", "rows", "couples", "families")
    names = [name for name in now if name not in other]
    was = {k: f"{x:.3f} -> " for k, x in (before or {}).items() if k in names}
    figures = [f"{k} {was.get(k, '')}{now[k]:.3f}" for k in names]
    figures[0] += f" [{now['low']:.3f}, {now['high']:.3f}]"
    size = f"{now['rows']} rows"
    if "couples" in now:
        size += f", {now['couples']:,} couples of a better and a worse answer"
    if now["rows"] < FEW:
        size += "; so few tell little"
    return "   ".join([*figures, f"({size})"])
