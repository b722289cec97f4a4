"""Which SFT loss suits which start (C19)? -log p, or -p, which hardly learns an unlikely token.

Li et al. (arXiv:2510.00526v3) say that it depends on what the model knows: a model that is weak in
the task wants -log p, a strong one -p, because a token that a strong model finds unlikely is
probably wrong. objectives/p_alpha.py has the whole family: alpha 0 is -log p, 1 is -p.

What a start model knows is dialled here by 0, 8, 24 or 96 steps of SFT on other demonstrations,
drawn with another seed. Then each alpha trains on the run's own demonstrations, of which none or
40 % are wrong. Every alpha has its rate searched on each start model.
"""
from lessons.evidence.claim import Claim, reads

STEPS = (0, 8, 24, 96)
ALPHAS = ("0", "0.5", "1", "2")
WRONG = {"right": "0", "wrong": "0.4"}          # name in a row: share of wrong demonstrations
RATES = tuple(f"--lr {rate}" for rate in ("1e-5", "3e-5", "1e-4", "3e-4", "1e-3"))
OTHER_ROWS = "keep --share 1 --seed 1900 --aligned {aligned}"       # all of them; none is left out

ON_OTHERS = f"--objective sft {reads('{other}/demos')} --batch-size 32 --lr 2.5e-4"

STARTS = {f"start {steps}": f"{ON_OTHERS} --steps {steps}" for steps in STEPS[1:]}
RUNS = {f"{steps} {name} {alpha}":
        f"--objective p_alpha --alpha {alpha} --noise {share} --epochs 3"
        + (f" <- start {steps}" if steps else "")
        for steps in STEPS for name, share in WRONG.items() for alpha in ALPHAS}

CLAIMS = {
    "C19": Claim(
        "Which SFT loss suits which start: -log p a weak one, -p a strong one?",
        rows={"base": "", **STARTS, **RUNS},
        tries=dict.fromkeys(RUNS, RATES),
        questions={
            "From the base, right demonstrations: -log p is better than -p":
                "better: 0 right 0 - 0 right 1",
            "From the base, 40 % wrong: -log p is better than -p":
                "better: 0 wrong 0 - 0 wrong 1",
            "After 96 steps, right demonstrations: -p is better than -log p":
                "better: 96 right 1 - 96 right 0",
            "After 96 steps, 40 % wrong: -p is better than -log p":
                "better: 96 wrong 1 - 96 wrong 0",
            "Right demonstrations: -p gains on -log p from the base to 96 steps":
                "better: 96 right 1 - 96 right 0 - 0 right 1 + 0 right 0",
            "40 % wrong: -p gains on -log p from the base to 96 steps":
                "better: 96 wrong 1 - 96 wrong 0 - 0 wrong 1 + 0 wrong 0",
            "In skills alone, from the base and right: -p scores as -log p does, within 3 points":
                "within 3, skills: 0 right 1 - 0 right 0",
            "After 96 steps, 40 % wrong: alpha 2 is better than -p":
                "better: 96 wrong 2 - 96 wrong 1",
        },
        premises={f"What {row} scores": f"score: {row}" for row in ("base", *STARTS)},
        name="C19", seeds=range(1000, 1005), prompts=26,
        made={"aligned": "train --objective sft --rows 4080 --seed 900", "other": OTHER_ROWS},
        expected="The crossing of the paper needs wrong rows here. From the base -log p is ahead, "
                 "nearly all of it in \"I do not know\" (in C13 DFT had 73.9 where SFT had 78.1, "
                 "and in methods.csv 13 against 60 there): holds with right rows; with wrong ones "
                 "open. After 96 steps with right rows: undecided, both lie within a point. After "
                 "96 steps with 40 % wrong: -p is 2 to 6 points better, holds; the gain from base "
                 "to 96 steps holds with wrong rows and is open with right ones. In skills alone: "
                 "holds. Alpha 2 against 1: undecided. With 96 steps and wrong rows the lowest "
                 "rate may be best for all, and then nothing is learnt and nothing differs: what "
                 "a start scores stands beside it. Half-widths of 1.5 to 2.5 points, of 2 to 4 "
                 "where four rows are compared."),
}
