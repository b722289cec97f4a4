"""UFT: supervised fine-tuning and alignment in one stage, under one loss.

    python -m nanouft.train --objective uft                 # demonstrations and scored answers
    python -m nanouft.train --objective uft --skills A:B --mix 2:1 --beta 1     # of A, and of B
    Wang et al. 2024, arXiv:2410.21438v1 (Eq. 6, 7)

If alignment follows SFT as a second stage, the paper says, the model forgets some of what the first
taught. UFT trains on both kinds of rows at once. The loss is that of its parent una.py. Only
`choose` differs: a demonstration is an answer with the highest score, 1.
    i = beta r                                                          (Eq. 5)
    L = (sigmoid(i) - score)^2                                          (Eq. 6; Eq. 7 for score 1)
    score: 1 for a demonstration
Eq. 6 leaves the distance open; Eq. 7 has the square.
Neither kind has a weight: their ratio is that of their numbers (--mix for NanoWorld, your files as
they are). The reference is the initial model, so begin with one that has not learned these rows.

On a demonstration the gradient is that of SFT, summed over tokens, times 2 beta sigmoid(i) (1 -
sigmoid(i))^2. This factor is beta/4 at the start and falls as the answer is learned. So UFT differs
from SFT by this saturation and by the bad answers. beta decides when an answer counts as learned:
sigmoid(i) = .9 takes 2.2/beta nats, and r is at most -log pi_ref(y|x). The authors' .01 (section
3.1) fits answers of hundreds of tokens, our .1 those of ten (docs/results/uft.md tries others).

--feedback names the rows used beside demonstrations: score (labels count as scores), binary
(labels, and pairs as two labels), pair, or none.
"""
from dataclasses import replace
from typing import Literal

from torch import Tensor

from nanouft.batch import Batch
from nanouft.data.report import describe
from nanouft.data.row import Row, is_demo
from nanouft.data.selection import NoRows, demo_rows, label_rows, score_rows
from nanouft.objective import Objective, Positive
from nanouft.objectives.dpo import log_ratio
from nanouft.objectives.una import graded_metrics, score_loss

KINDS = {"score": "demos + scores", "binary": "demos + labels", "pair": "demos + pairs",
         "none": "demos"}


class UFT(Objective):
    data = "demos + scores"             # with --feedback score
    about = ("uft is UFT of 2024 (arXiv:2410.21438), SFT and alignment under one loss; UFT of 2025 "
             "(arXiv:2505.16984), answers that begin with a hint, is another method")
    reference = True
    feedback: Literal["score", "binary", "pair", "none"] = "score"  # rows beside demonstrations
    distance: Literal["mse", "bce"] = "mse"     # squared error or cross-entropy of the score
    beta: Positive = 0.1            # factor of the log-ratio; smaller for longer answers

    def kinds(self) -> list[str]:
        return KINDS[self.feedback].split(" + ")

    def choose(self, rows: list[Row]) -> list[Row]:
        """Role "answer" with a score: 1 for a demonstration, and for other answers the score that
        their rows give. A chosen answer that is also its own row's demonstration has one target,
        not two. If the two are in different rows, both count."""
        if self.feedback == "none":
            return [replace(e, score=1.0) for e in demo_rows(rows)]
        demos = [row.with_roles({"answer": (row.prompt, row.answer or ())}, score=1.0)
                 for row in rows if is_demo(row)]
        taught = {(row.prompt, row.chosen) for row in rows
                  if row.chosen and row.chosen == row.answer}
        others = [e for e in graded_rows(rows, self.feedback) if e.roles["answer"] not in taught]
        if not demos + others:
            raise NoRows(f"this objective needs {KINDS[self.feedback]} "
                            "(a row without a score is a demonstration); "
                            f"the data has {describe(rows)}")
        return demos + others

    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        i = self.beta * log_ratio(batch.seqs["answer"])
        losses = score_loss(i, batch.per_row["score"], self.distance)   # Eq. 6; score 1: Eq. 7
        return losses.sum() / batch.n, graded_metrics(batch, i, "score", self.beta)


def graded_rows(rows: list[Row], feedback: str) -> list[Row]:
    """The answers with feedback, each with a score; there may be none beside demonstrations."""
    if feedback == "pair":
        rows = [row for row in rows if row.label is None]
    try:
        graded = score_rows(rows) if feedback == "score" else label_rows(rows)
    except NoRows:
        return []
    return [replace(e, score=e.score if e.label is None else e.label, label=None) for e in graded]
