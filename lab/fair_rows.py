"""C1c and C4b: rows that C1 and C4 lack, where the papers' own sentences can be asked.

    python -m lab.claims C1c C4b

C1c. In C1 a second stage of DPO has nothing to add: the chosen answer of a pair is the
demonstration. With 40 % wrong demonstrations and clean pairs (C4) DPO gains 7 and 13 points. Is IFT
on the demonstrations alone comparable with SFT -> DPO there? IFT as released and with detached
weights, the default here, are asked.
C4b. PoFT's paper says that PoFT gains more together with a data filter. Both rows read the 60 % of
the demonstrations that the aligned model finds likeliest.

Fixed before the first test cell of a new row. Seeds, prompts, endpoint and rule are those of C4,
and so are the kept rows of SFT, PoFT and DPO: these had been seen, the new rows had not. New rows
are tuned as those of C4 are: 12 settings first, and the grid may grow three times.
"""
from lab.judge import Contrast
from lab.study import Plan, Row

SFT, POFT, CHAIN = "SFT, 40 %", "PoFT, 40 %", "SFT -> DPO, 40 %"     # of C4
RELEASED, DETACHED = "IFT as released, 40 %", "IFT (detached weights), 40 %"
FILTER, POFT_FILTER = "SFT on the likeliest, 40 %", "PoFT on the likeliest, 40 %"
FROM_BASE = ("1.25e-4", "2.5e-4", "5e-4", "1e-3")
PASSES = {"--lr": FROM_BASE, "--epochs": ("1", "3", "6")}
FEWER_ROWS = {"--lr": FROM_BASE, "--epochs": ("1.667", "5", "10")}  # as many updates
NOISY = "--noise 0.4"
AS_C4 = {"seeds": range(500, 505), "prompts": 4, "effort": {"growths": 3}}

C1C = Plan(
    rows={
        SFT: Row(f"--objective sft {NOISY}", at="C4"),
        CHAIN: Row("--objective dpo", after=SFT, at="C4"),
        RELEASED: Row(f"--objective ift --variant released {NOISY}", PASSES),
        DETACHED: Row(f"--objective ift --variant released --detach {NOISY}", PASSES),
    },
    baseline=SFT, **AS_C4,
    contrasts=(
        *(Contrast(f"40 % wrong: {row.removesuffix(', 40 %')} is better than SFT", row, SFT)
          for row in (RELEASED, DETACHED)),
        *(Contrast(f"40 % wrong: {row.removesuffix(', 40 %')} is not inferior to SFT -> DPO", row,
                   CHAIN, "non-inferiority") for row in (RELEASED, DETACHED))))

C4B = Plan(
    rows={
        FILTER: Row(f"--objective sft {NOISY} --keep 0.6", at="C4"),
        POFT: Row(f"--objective poft {NOISY}", at="C4"),
        POFT_FILTER: Row(f"--objective poft {NOISY} --keep 0.6", FEWER_ROWS),
    },
    baseline=FILTER, **AS_C4,
    contrasts=(
        Contrast("40 % wrong: PoFT with a filter is better than SFT with the same filter",
                 POFT_FILTER, FILTER),
        Contrast("40 % wrong: PoFT with a filter is better than PoFT without", POFT_FILTER, POFT)))
