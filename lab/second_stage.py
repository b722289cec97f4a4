"""C1b: IFT as a second stage. The paper's second setting: an SFT model goes on, gently, on
demonstrations.

Rows, contrasts and rule were fixed before the first cell, and before anybody saw these seeds and
prompts. Three preset contrasts, corrected by Holm: IFT as released is better than each SFT row.
docs/claims.md says how and why.
"""
from lab.judge import Contrast
from lab.study import Plan, Row

START = "SFT (the start)"
SFT = "SFT"
THIRD = "SFT at a third of the rate"
FROZEN = "SFT, frozen input embeddings"
RELEASED = "IFT as released"
WEIGHTS = "weights only (lam 0)"
MIXING = "mixing only (gamma 0)"
DETACHED = "IFT (detached weights)"
DPO, SFT_NEW = "DPO", "SFT, new demonstrations"
IFT_NEW = f"{RELEASED}, new demonstrations"
RATES = {"--lr": ("3e-6", "1e-5", "3e-5")}
PLAIN, IFT = "--objective sft --epochs 8", "--objective ift --epochs 8 --variant released"
SKILLS = ("rules", "rules_new", "list", "sum", "sort", "reverse")
TRUTH = "truth"
UNKNOWN = "unknown"
FACTS = "fact"

C1B = Plan(
    rows={
        START: Row("--objective sft"),
        SFT: Row(PLAIN, RATES, after=START),
        THIRD: Row(PLAIN, after=START, like=SFT, scale=1 / 3),
        FROZEN: Row(f"{PLAIN} --detach-embeddings", RATES, after=START),
        RELEASED: Row(IFT, RATES, after=START),
        WEIGHTS: Row(f"{IFT} --lam 0", RATES, after=START),
        MIXING: Row(f"{IFT} --gamma 0", RATES, after=START),
        DETACHED: Row(f"{IFT} --detach", RATES, after=START),
        DPO: Row("--objective dpo --epochs 8 --beta 1", RATES, after=START),
        SFT_NEW: Row(PLAIN, after=START, like=SFT, scale=1, apart=True),
        IFT_NEW: Row(IFT, after=START, like=RELEASED, scale=1, apart=True),
    },
    baseline=SFT, seeds=range(200, 210), prompts=1,
    effort={"first": 2, "more": 2, "growths": 3},
    contrasts=(
        *(Contrast(f"Second stage: {RELEASED} is better than {row}", RELEASED, row)
          for row in (SFT, THIRD, FROZEN)),
        *(Contrast(f"Second stage, facts: {RELEASED} keeps more than {row}", RELEASED, row,
                   parts=((FACTS,),), preset=False) for row in (SFT, THIRD, FROZEN)),
        *(Contrast(f"Second stage, skills: {RELEASED} has more than {row}", RELEASED, row,
                   parts=(SKILLS,), preset=False) for row in (SFT, THIRD)),
        *(Contrast(f"Second stage: {row} is better than SFT", row, SFT, preset=False)
          for row in (WEIGHTS, MIXING, DETACHED, DPO, START)),
        Contrast("Second stage, new demonstrations: IFT as released is better than SFT", IFT_NEW,
                 SFT_NEW, preset=False)),
    columns={"skills": (SKILLS,), "truth": ((TRUTH,),), "unknown": ((UNKNOWN,),),
             "facts": ((FACTS,),)})
