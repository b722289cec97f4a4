"""UFT: supervised fine-tuning and alignment in one stage, under one loss.

    python -m nanouft.train --objective uft                 # demonstrations and scored answers
    python -m nanouft.train --objective uft --skills A:B --mix 2:1      # of A, and of B
    Wang et al. 2024, arXiv:2410.21438v1 (Eq. 6, 7)

If alignment follows SFT as a second stage, it forgets some of what the first has taught. UFT
trains on both kinds of rows at once. The loss is that of its parent una.py, and what differs is
one line of `choose`: a demonstration is an answer with the highest score, 1.
    i = beta r
    L = (sigmoid(i) - score)^2                                          (Eq. 6; Eq. 7 for score 1)
No weight stands between the two kinds; their ratio is that of their counts (--mix for NanoWorld,
your files as they are). The reference is the start model, so begin with the pretrained one.

On a demonstration the gradient is that of SFT, summed over tokens, times 2 beta sigmoid(i) (1 -
sigmoid(i))^2, which is beta/4 at the start and falls as the answer is learnt. Adam does not see the
constant; what differs from SFT is this saturation, the sum (a long answer pulls more), and the bad
answers. beta says when an answer counts as learnt: sigmoid(i) = .9 takes 2.2/beta nats, and r is at
most -log pi_ref(y|x). The authors' .01 fits answers of hundreds of tokens; an answer of ten tokens
never gets there, and bad answers are pushed down without end.

--feedback names what there is beside demonstrations: score (labels count as scores), binary
(labels, and pairs as two labels), pair, or none.
"""
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from nanouft.errors import UserError
from nanouft.objectives.bridge import Objective
from nanouft.objective import Batch
from nanouft.objectives.dpo import check_beta, log_ratio
from nanouft.objectives.una import graded_metrics, score_loss
from nanouft.rows import Row
from nanouft.selection import contents, demo_rows, is_demo, label_rows, score_rows


@dataclass
class UFT:
    feedback: Literal["score", "binary", "pair", "none"] = "score"  # what there is beside demos
    loss: Literal["mse", "bce"] = "mse"     # distance between the implicit score and the given one
    beta: float = 0.1               # what one nat of log-ratio counts; smaller for longer answers
    check = check_beta


DATA = {"score": "demos + scores", "binary": "demos + labels", "pair": "demos + pairs",
        "none": "demos"}


def choose(data: list[Row], hp: UFT) -> list[Row]:
    """Role "answer" with a score: 1 for a demonstration, and what is known of the others. A chosen
    answer that is also the demonstration has one target, not two."""
    if hp.feedback == "none":
        return [replace(e, score=1.0) for e in demo_rows(data, hp)]
    demos = [row.with_roles({"answer": (row.prompt, row.answer or ())}, score=1.0)
             for row in data if is_demo(row)]
    taught = {(row.prompt, row.chosen) for row in data if row.chosen and row.chosen == row.answer}
    others = [e for e in graded_rows(data, hp) if e.roles["answer"] not in taught]
    if not demos + others:
        raise UserError(f"this objective needs {DATA[hp.feedback]} "
                        "(a row without a score is a demonstration); "
                        f"the data has {contents(data)}")
    return demos + others


def graded_rows(data: list[Row], hp: UFT) -> list[Row]:
    """The answers with feedback, each with a score. None is no error: UFT is then smaller."""
    if hp.feedback == "pair":
        data = [row for row in data if row.label is None]
    read = score_rows if hp.feedback == "score" else label_rows
    try:
        rows = read(data, hp)
    except UserError:
        return []
    return [replace(e, score=e.score if e.label is None else e.label, label=None) for e in rows]


def loss(batch: Batch, hp: UFT) -> tuple[Tensor, dict]:
    i = hp.beta * log_ratio(batch.seqs["answer"])
    each = score_loss(i, batch.per_row["score"], hp.loss)              # Eq. 6; score 1: Eq. 7
    return each.sum() / batch.n, graded_metrics(batch, i, "score", hp.beta)


OBJECTIVE = Objective(
    data=lambda hp: DATA[hp.feedback], choose=choose, hp=UFT, loss=loss, lr=2.5e-4, reference=True)
