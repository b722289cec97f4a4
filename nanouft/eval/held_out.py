"""What a model makes of rows it was not trained on: held-out loss, preferences, graded answers.

    python -m nanouft.evaluate --init out/my-run --data my.jsonl                    # a few seconds

Of demonstrations, `nll`: nats a response token. Of pairs and graded answers, who is ahead of whom: in what was gained
over a start model (`accuracy`, `auc`: .5 = nothing learnt), or in likelihood itself (`prefers`). Intervals are 95 %
bootstrap intervals over rows (or tokens, couples); they say nothing about another seed of training.
"""
from dataclasses import replace

import numpy as np
import torch

from nanouft.data.batches import Encoded
from nanouft.eval.stats import bootstrap
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.reference import logps

FEW = 30                # fewer rows tell little: one row more or less moves a share by over three points


def token_logps(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> list[dict[str, np.ndarray]]:
    """Per row and role the (N,) log-probs of its response tokens, scored exactly as a reference column is."""
    scored = logps(encoded, model, pad, replace(device, rank=0, processes=1))       # only one process may look
    return [{role: logp[e.seqs[role].mask[1:] > 0] for role, logp in row.items()} for e, row in zip(encoded, scored)]


def mean_loss(model: GPT, rows: torch.Tensor) -> float:
    """Nats on average per token of plain text; rows (B,T+1) ids."""
    with torch.no_grad():
        return -model(rows[:, :-1], want="logp", targets=rows[:, 1:]).mean().item()


def held_out(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> dict[str, float]:
    """Demonstrations (and answers of grade 1): `nll`, nats a response token. Pairs: `accuracy`, the share where chosen
    gained more log-prob over the start model than rejected (ties count half); `prefers`: where chosen is likelier.
    Answers with labels or scores: `graded`. `low` and `high`: the 95 % interval of the first figure."""
    return measured(model, encoded, pad, device)[0]


Measured = tuple[dict[str, float], np.ndarray, np.ndarray]      # figures; sums and counts, whose ratio is the first one


def measured(model: GPT, encoded: list[Encoded], pad: int, device: Device) -> Measured:
    """`held_out`, and of each row (or prompt) a sum and a count: models are compared on them."""
    rows = token_logps(model, encoded, pad, device)
    if "answer" in rows[0]:
        grades = [e.col.label if e.col.score is None else e.col.score for e in encoded]
        top = [r for r, grade in zip(rows, grades) if grade in (None, 1.0) or len(set(grades)) == 1]
        sums, counts = [-r["answer"].sum() for r in top], [len(r["answer"]) for r in top]
        out = {"nll": float(np.sum(sums) / np.sum(counts))} if top else {}
        if len(set(grades)) > 1:
            first, sums, counts = graded(encoded, rows, np.array(grades))
            out = first | out
    else:
        chosen, rejected = (np.array([r[role].sum() for r in rows]) for role in ("chosen", "rejected"))
        out, sums, counts = {}, (chosen > rejected) * 1.0, np.ones(len(rows))
        if encoded[0].seqs["chosen"].ref is not None:
            ref = [np.array([e.seqs[role].ref.sum() for e in encoded]) for role in ("chosen", "rejected")]
            sums = wins((chosen - ref[0]) - (rejected - ref[1]))
            out["accuracy"] = float(sums.mean())
        out |= {"prefers": float((chosen > rejected).mean()), "logp_chosen": float(chosen.mean()),
                "logp_rejected": float(rejected.mean())}
    low, high = bootstrap(sums, counts)
    return {**out, "low": low, "high": high, "rows": len(rows)}, np.array(sums), np.array(counts)


def wins(margin: np.ndarray) -> np.ndarray:
    """1 where the better answer is ahead, 1/2 for a tie: two scorings of one model differ by about 1e-5 nats."""
    return np.where(np.abs(margin) < 1e-3, 0.5, margin > 0)


def graded(encoded: list[Encoded], rows: list[dict[str, np.ndarray]], grades: np.ndarray) -> Measured:
    """Graded answers. `accuracy`: among two answers to one prompt, the share of couples where the better gained more
    log-prob over the start model than the worse; `prefers`: where the better is likelier. Where (nearly) no prompt has
    two answers of different grades: `auc`, the same share over all couples (without a start model: who has more nats
    per token). `logp_good`, `logp_bad`: mean log-prob of answers graded above and below 1/2."""
    logp = np.array([r["answer"].sum() for r in rows])
    ref = [e.seqs["answer"].ref for e in encoded]
    started = ref[0] is not None
    gain = logp - np.array([x.sum() for x in ref]) if started else logp
    prompts: dict = {}
    for i, e in enumerate(encoded):
        prompts.setdefault(e.row.roles["answer"][0], []).append(i)
    couples = [c for c in (better_and_worse(np.array(g), grades) for g in prompts.values()) if c.size]
    if 10 * sum(map(len, couples)) >= len(rows):
        figures = {"accuracy": gain, "prefers": logp} if started else {"prefers": logp}
    else:
        figures = {"auc": gain if started else logp / [len(r["answer"]) for r in rows]}
        every = better_and_worse(np.arange(len(grades)), grades)
        couples = [every[every[:, 0] == i] for i in np.unique(every[:, 0])]     # drawn again by their better answer
    out, counts, first = {}, [len(c) for c in couples], []
    for name, x in figures.items():
        sums = [wins(x[c[:, 0]] - x[c[:, 1]]).sum() for c in couples]
        out[name] = float(np.sum(sums) / np.sum(counts))
        first = first or sums
    for side, on in (("logp_good", grades > 0.5), ("logp_bad", grades < 0.5)):
        if on.any():
            out[side] = float(logp[on].mean())
    return {**out, "couples": sum(counts)}, np.array(first), np.array(counts)


def better_and_worse(group: np.ndarray, grades: np.ndarray) -> np.ndarray:
    """(couples, 2) row numbers: every better answer of the group with every worse one."""
    i, j = np.meshgrid(group, group, indexing="ij")
    return np.stack([i, j], -1)[grades[i] > grades[j]]


def held_out_lines(now: dict, before: dict | None = None) -> str:
    """One line: every figure (before -> now), the first with its interval, and the number of rows."""
    names = [k for k in now if k not in ("low", "high", "rows", "couples", "families")]
    figures = [(f"{k} {before[k]:.3f} -> " if before else f"{k} ") + f"{now[k]:.3f}" for k in names]
    figures[0] += f" [{now['low']:.3f}, {now['high']:.3f}]"
    couples = f", {now['couples']:,} couples of a better and a worse answer" if "couples" in now else ""
    few = "; so few tell little" if now["rows"] < FEW else ""
    return "   ".join([*figures, f"({now['rows']} rows{couples}{few})"])
