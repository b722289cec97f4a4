"""C6: UNA against methods that read pairs and labels, all made of the same judgements.

UNA's paper says that a score of each answer can replace pairs and labels, and that a number holds
more than a sign. Rows, contrasts and rule were fixed before the first cell, and before anybody saw
these seeds and prompts. Five preset contrasts, corrected by Holm: UNA is better than DPO, KTO and
SimPO, and with scores than with labels of either cut. If it leads the pairs but not its labels,
what counts is that it reads every answer. docs/claims.md says how and why.

C6b asks two more sentences of UNA's papers, from the same answers: is the cross-entropy (BCE)
better than the squared error (MSE), and does one run learn from scores, labels and pairs together?
In the mixed row a third of the prompts has each kind, so that all rows rest on the same number of
judgements. Seeds, prompts and the other rows are those of C6; these had been seen, the two new rows
had not when their four preset contrasts were fixed.
"""
from dataclasses import replace

from lab.judge import Contrast
from lab.own import Own
from lab.study import Plan, Row

FIRST, SCORES = "SFT on 30 (the start)", "UNA, scores"
RIGHT, CUT = "UNA, labels (right or not)", "UNA, labels (cut at .5)"
DPO, KTO, SIMPO, RFT = "DPO", "KTO", "SimPO", "RFT"
RATES, BETAS, PASSES, OF_PAIRS = ("1e-5", "3e-5", "1e-4"), ("0.3", "1", "3"), ("2", "4"), ("4", "8")
LOWER = ("3e-6", "1e-5", "3e-5")


def reads(file: str, objective: str, rates: tuple, betas: tuple, passes: tuple,
          good: float | None = None, form: str = "") -> Row:
    """A row that goes on from FIRST with a file of its judged answers."""
    return Row(f"--objective {objective} --data {{own}}/{file}.jsonl --batch-size 16",
               {"--lr": rates, "--epochs": passes} | ({"--beta": betas} if betas else {}),
               after=FIRST, own=Own(None, 500, good=good, form=form))


C6 = Plan(
    rows={
        FIRST: Row("--objective sft --rows 30 --batch-size 16",
                   {"--lr": ("6.3e-5", "1.25e-4", "2.5e-4"), "--epochs": ("3", "6", "12")}),
        SCORES: reads("scores", "una", RATES, BETAS, PASSES),
        RIGHT: reads("labels", "una --feedback binary", RATES, BETAS, PASSES),
        CUT: reads("labels", "una --feedback binary", RATES, BETAS, PASSES, good=0.5),
        DPO: reads("pairs", "dpo", LOWER, BETAS, OF_PAIRS),
        KTO: reads("labels", "kto", LOWER, BETAS, PASSES),
        SIMPO: reads("pairs", "simpo", LOWER, ("2", "4", "8"), OF_PAIRS),
        RFT: reads("demos", "sft", ("3e-5", "1e-4", "2.5e-4"), (), OF_PAIRS),
    },
    baseline=FIRST, seeds=range(300, 305), prompts=2,
    effort={"first": 1, "more": 3, "growths": 1},
    ends=("8",),  # 8 passes, and a beta of 8, are the last
    contrasts=(
        *(Contrast(f"Judged answers: UNA is better than {row}", SCORES, row)
          for row in (DPO, KTO, SIMPO, RIGHT, CUT)),
        *(Contrast(f"Judged answers: UNA with labels is better than {row}", RIGHT, row,
                   preset=False) for row in (DPO, KTO, SIMPO)),
        # asked for after the test cells were there
        *(Contrast(f"Judged answers: UNA with labels cut at .5 is better than {row}", CUT, row,
                   preset=False) for row in (DPO, KTO, SIMPO)),
        *(Contrast(f"Judged answers: {row} is better than the start", row, FIRST, preset=False)
          for row in (SCORES, RIGHT, CUT, DPO, KTO, SIMPO, RFT)),
        Contrast("Judged answers: UNA is better than RFT", SCORES, RFT, preset=False)))

BCE, MIXED = "UNA, scores, BCE", "UNA, scores, labels and pairs"
C6B = Plan(
    rows={
        **{row: replace(C6.rows[row], at="C6") for row in (FIRST, SCORES, DPO, KTO, RFT)},
        BCE: reads("scores", "una --loss bce", RATES, BETAS, PASSES),
        MIXED: reads("mixed", "una", RATES, BETAS, PASSES, form="mixed"),
    },
    baseline=FIRST, seeds=C6.seeds, prompts=C6.prompts, effort=C6.effort, ends=C6.ends,
    contrasts=(
        Contrast("Judged answers: UNA with BCE is better than with MSE", BCE, SCORES),
        Contrast("Mixed feedback: UNA is not inferior to UNA with scores", MIXED, SCORES,
                 "non-inferiority"),
        *(Contrast(f"Mixed feedback: UNA is better than {row}", MIXED, row) for row in (DPO, KTO)),
        *(Contrast(f"{text} is better than RFT", row, RFT, preset=False)
          for text, row in (("UNA with BCE", BCE), ("UNA with mixed feedback", MIXED)))))
