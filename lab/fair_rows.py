"""C1c, C1d and C4b: rows that C1 and C4 lack, where the papers' own sentences can be asked.

    python -m lab.claims C1c C1d C4b

C1c. In C1 a second stage of DPO has nothing to add: the chosen answer of a pair is the
demonstration. With 40 % wrong demonstrations and clean pairs (C4) DPO gains 7 and 13 points. Is IFT
on the demonstrations alone comparable with SFT -> DPO there? IFT as released and with detached
weights, the default here, are asked.
C1d. In C1 IFT as released chose half of SFT's learning rate and larger batches. So is it the
gradient through the weights that costs points, or the settings? Here rows share the settings.
C4b. PoFT's paper says that PoFT gains more together with a data filter. Both rows read the 60 % of
the demonstrations that the aligned model finds likeliest.

Fixed before the first test cell of a new row. Seeds, prompts, endpoint and rule are those of C1 and
C4, and so are the kept rows of SFT, IFT, PoFT and DPO: these had been seen, the new rows had not.
New rows are tuned as those of C1 and C4 are: the grid may grow three times.
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

RELEASE, PLAIN = "--objective ift --variant released", "IFT as released"
SFT_1 = "SFT, sequence mean"
DETACHED_1 = "IFT (detached weights)"
DETACHED_THERE = "IFT (detached weights), settings of IFT as released"
SFT_THERE, PLAIN_HERE = "SFT, settings of IFT as released", "IFT as released, settings of SFT"
C1D = Plan(
    rows={
        SFT_1: Row("--objective sft --reduction sequence", at="C1"),
        PLAIN: Row(RELEASE, at="C1"),
        DETACHED_1: Row(f"{RELEASE} --detach", at="C1"),
        DETACHED_THERE: Row(f"{RELEASE} --detach", like=PLAIN, at="C1"),
        SFT_THERE: Row("--objective sft --reduction sequence", like=PLAIN, at="C1"),
        PLAIN_HERE: Row(RELEASE, like=SFT_1, at="C1"),
    },
    baseline=SFT_1, **AS_C4,
    contrasts=(
        Contrast("At the settings of IFT as released, detached weights are better", DETACHED_THERE,
                 PLAIN),
        Contrast("At the settings of SFT, detached weights are better than IFT as released",
                 DETACHED_1, PLAIN_HERE),
        Contrast("SFT at the settings of IFT as released is better than IFT as released", SFT_THERE,
                 PLAIN, preset=False),
        Contrast("SFT: its own settings are better than those of IFT as released", SFT_1, SFT_THERE,
                 preset=False)))
