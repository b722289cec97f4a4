"""C3b and C3c: one stage or two, where the control of C3 cannot win: no judged answer of a skill is
right.

    python -m lab.claims C3b C3c

In C3 plain SFT on both kinds of rows is the best row, because half of the judged answers are right
and can be imitated. Fixed before its first test cell, and before anybody saw these seeds and
prompts:
- A: 300 right demonstrations of honesty (truth, unknown). B: answers of the base, four to each of
  500 prompts, with their exact grades; prompts with a right answer are left out (the best earns .2
  to .8). Prompts about facts, which the base knows, all stay, so that "I do not know." is no easy
  way out (own_files.py).
- UFT learns from A and B in one stage. SFT on A, then UNA, KTO or DPO on B, are two stages. The
  control is SFT on A and the best answer of each prompt of B.
- Learning rate, beta and passes are chosen jointly on validation, on the first base, by the mean of
  three parts: skills (of which only B speaks), honesty, facts. The grid may grow once; eight passes
  are the most.
- Five seeds, 400 to 404, and test prompts drawn with seed 3, on two bases.
- Four preset contrasts, corrected by Holm: by the three parts UFT is better than each chain and
  than the control.

C3c asks what C3b leaves open. UNA's second stage ended at eight passes while it still rose, and no
second stage saw A. Here UNA may take 32 passes, the authors' beta .01 is in every grid, and one
second stage is UFT on A and B once more. Seeds, prompts, endpoint and the rows SFT (A) and SFT
(A + best of B) are those of C3b; these, and C3b's UFT, had been seen, the other rows had not. Three
preset contrasts, fixed before the first test cell of a new row.
"""
from dataclasses import replace

from lab.contrast import Parts
from lab.judge import Contrast
from lab.own import Own
from lab.study import Plan, Row

BASE, FIRST, UFT, CONTROL = "the base", "SFT (A)", "UFT (A + B)", "SFT (A + best of B)"
SKILLS = ("rules", "list", "sum", "sort", "reverse")
HONESTY = ("truth", "unknown")
FACTS = ("fact",)
THREE: Parts = (SKILLS, HONESTY, FACTS)
FILES = {"una": "scores", "kto": "labels", "dpo": "pairs"}
CHAINS = {n: f"SFT (A) -> {n.upper()} (B)" for n in FILES}
BETAS, PASSES = {"--beta": ("0.3", "1", "3")}, {"--epochs": ("2", "4")}
AFTER_SFT = {"--lr": ("1e-5", "3e-5", "1e-4")}
FROM_BASE = {"--lr": ("6.3e-5", "1.25e-4", "2.5e-4", "5e-4")}


def reads(objective: str, files: str, axes: dict, after: str | None = None) -> Row:
    data = " ".join(f"{{own}}/{name}.jsonl" for name in files.split())
    return Row(f"--objective {objective} --data {data} --batch-size 16", axes, after, asks=BASE,
               own=Own(None, 500, form="graded"))


C3B = Plan(
    rows={
        BASE: Row(""),
        FIRST: reads("sft", "a", FROM_BASE | PASSES),
        **{row: reads(n, FILES[n], AFTER_SFT | BETAS | PASSES, FIRST) for n, row in CHAINS.items()},
        UFT: reads("uft", "a scores", {"--lr": FROM_BASE["--lr"][:3]} | BETAS | PASSES),
        CONTROL: reads("sft", "a demos", FROM_BASE | PASSES),
    },
    baseline=FIRST, parts=THREE, seeds=range(400, 405), prompts=3,
    effort={"first": 1, "more": 3, "growths": 1}, ends=("8",),
    contrasts=(
        *(Contrast(f"UFT is better than {row}", UFT, row) for row in (*CHAINS.values(), CONTROL)),
        *(Contrast(f"Skills: UFT has more than {row}", UFT, row, parts=(SKILLS,), preset=False)
          for row in (*CHAINS.values(), CONTROL)),
        *(Contrast(f"{row} is better than SFT (A)", row, FIRST, preset=False)
          for row in (*CHAINS.values(), UFT, CONTROL)),
        # asked for after the test cells were there
        *(Contrast(f"{CONTROL} is better than {row}", CONTROL, row, preset=False)
          for row in CHAINS.values())),
    columns={"skills (B)": (SKILLS,), "honesty (A)": (HONESTY,), "facts": (FACTS,)})

LONG, AGAIN = "SFT (A) -> UNA (B), up to 32 passes", "SFT (A) -> UFT (A + B)"
AUTHORS = ("0.01", "0.3", "1")          # the authors' beta, and the two that C3b liked
C3C = Plan(
    rows={
        BASE: Row(""),
        FIRST: replace(C3B.rows[FIRST], at="C3b"),
        LONG: reads("una", "scores", {"--lr": AFTER_SFT["--lr"][:2], "--beta": AUTHORS,
                                      "--epochs": ("8", "16", "32")}, FIRST),
        AGAIN: reads("uft", "a scores", AFTER_SFT | {"--beta": AUTHORS,
                                                     "--epochs": ("2", "4", "8")}, FIRST),
        UFT: reads("uft", "a scores", {"--lr": FROM_BASE["--lr"][:3], "--beta": (*AUTHORS, "3"),
                                       **PASSES}),
        CONTROL: replace(C3B.rows[CONTROL], at="C3b"),
    },
    baseline=FIRST, parts=THREE, seeds=C3B.seeds, prompts=C3B.prompts,
    effort={"first": 1, "more": 1, "growths": 1}, ends=("0.01", "32"), columns=C3B.columns,
    contrasts=(
        Contrast("UFT is better than SFT (A) -> UNA (B) with up to 32 passes", UFT, LONG),
        Contrast("UFT is better than a second stage that sees A, too", UFT, AGAIN),
        Contrast("A second stage that sees A is better than one that does not", AGAIN, LONG),
        *(Contrast(f"{title}: {row} has more than {other}", row, other, parts=(part,), preset=False)
          for title, part in (("Skills", SKILLS), ("Honesty", HONESTY))
          for row, other in ((UFT, LONG), (AGAIN, LONG), (UFT, AGAIN))),
        *(Contrast(f"{row} is better than {CONTROL}", row, CONTROL, preset=False)
          for row in (LONG, AGAIN))))
