"""The papers' claims: rows, contrasts and margins, fixed before looking; settings, test cells,
verdicts.

    python -m lab.claims            # tunes, trains and scores what is missing: some hours
    python -m lab.claims C1 C3      # only these claims
    python -m lab.claims --write    # results.json, tables and pictures from finished cells

Settings are chosen on validation with seeds of its own (search.py), two of them jointly for every
row. Rows of C3 choose on each of two bases, other rows on the first. Then one final pass: five
paired test seeds on both bases, 100 prompts a family, seeds and prompts that no study had used when
this file was committed with its rows and contrasts. judge.py makes the verdicts, by one rule.
docs/claims.md says what each claim is, why these rows, and what came out. C1b is in
second_stage.py, C1c, C1d and C4b in fair_rows.py, C3b and C3c in one_stage.py, C6 and C6b in
una_claim.py; C5 is python -m lab.lake_study.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import judge
from lab.cell import Cell
from lab.cells import read_cells
from lab.fair_rows import C1C, C1D, C4B
from lab.judge import Contrast
from lab.one_stage import C3B, C3C, FACTS, HONESTY, SKILLS, THREE
from lab.runner import kept
from lab.second_stage import C1B
from lab.study import BASES, Plan, Row, Study
from lab.una_claim import C6, C6B
from nanouft.errors import UserError, in_range
from nanouft.run import config
from nanouft.run.words import choose

FOLDER = Path("docs/results/claims")
# an aligned model that is no oracle: 40 % wrong
WEAK = Cell(("--objective", "sft", "--noise", "0.4"), seed=900)


# ---- the rows ------------------------------------------------------------------------------------
# from the base; after SFT
BIG = ("1.25e-4", "2.5e-4", "5e-4", "1e-3")
SMALL = ("3e-6", "1e-5", "3e-5", "1e-4")
BATCHES: dict = {"--lr": BIG, "--batch-size": ("16", "32")}
WITH_BETA: dict = {"--lr": SMALL, "--beta": ("0.3", "1", "3")}
PASSES: dict = {"--lr": BIG, "--epochs": ("1", "3", "6")}
ENDS = ("8", "64")                      # smaller and larger batches are not tried
GROW = {"growths": 3}                   # how often a grid grows
SEEDS, PROMPTS = range(500, 505), 4     # of the final pass
SFT_ROW, CHAIN, IFT = "SFT, sequence mean", "SFT -> DPO", "--objective ift --variant released"
IFT_ROW, DETACHED = "IFT as released", "IFT (detached weights)"
MIXING = "IFT mixing only (gamma 0)"

C1 = Plan(
    rows={
        SFT_ROW: Row("--objective sft --reduction sequence", BATCHES),
        IFT_ROW: Row(IFT, BATCHES),
        DETACHED: Row(f"{IFT} --detach", BATCHES),
        MIXING: Row(f"{IFT} --gamma 0", BATCHES),
        CHAIN: Row("--objective dpo", WITH_BETA, after=SFT_ROW),
    },
    baseline=SFT_ROW, seeds=SEEDS, prompts=PROMPTS, ends=ENDS, effort=GROW,
    contrasts=(
        Contrast("IFT as released is better than SFT", IFT_ROW, SFT_ROW),
        Contrast("IFT as released is not inferior to SFT -> DPO", IFT_ROW, CHAIN,
                 "non-inferiority"),
        Contrast("IFT (detached weights) is equivalent to SFT", DETACHED, SFT_ROW,
                 "equivalence"),
        Contrast("IFT's mixing alone is equivalent to SFT", MIXING, SFT_ROW, "equivalence"),
        # asked for after the test cells were there
        Contrast("IFT (detached weights) is not inferior to SFT -> DPO", DETACHED, CHAIN,
                 "non-inferiority", preset=False),
        *(Contrast(f"{what}: {row} is better than SFT", row, SFT_ROW, parts=((family,),),
                   preset=False) for what, family in (("Facts", "fact"), ("Truth", "truth"))
          for row in (IFT_ROW, DETACHED, MIXING))))

TOKENS, NO_FEEDBACK = "SFT, token mean", "--objective uft --feedback none --beta"
UFT_01, UFT_1 = "UFT, beta .01 (the authors')", "UFT, beta .1"
C2 = Plan(
    rows={TOKENS: Row("--objective sft", BATCHES),
          UFT_01: Row(f"{NO_FEEDBACK} 0.01", BATCHES), UFT_1: Row(f"{NO_FEEDBACK} 0.1", BATCHES)},
    baseline=TOKENS, seeds=SEEDS, prompts=PROMPTS, ends=ENDS, effort=GROW,
    contrasts=tuple(Contrast(f"{row} is {phrase} SFT", row, TOKENS, test) for row in (UFT_01, UFT_1)
                    for phrase, test in (("better than", "superiority"),
                                         ("not inferior to", "non-inferiority"))))

SFT_A, UFT_AB, UNION = "SFT (A)", "UFT (A + B)", "SFT (A + good answers of B)"
CHAINS = {n: f"SFT (A) -> {n.upper()} (B)" for n in ("dpo", "kto", "una")}
# a pair is two answers: 610 answers each, half of them right
B = {"dpo": 305, "kto": 610, "una": 610}
C3 = Plan(
    rows={
        SFT_A: Row("--objective sft --skills A --rows 570", BATCHES),
        **{row: Row(f"--objective {n} --skills B --rows {B[n]}", WITH_BETA, after=SFT_A)
           for n, row in CHAINS.items()},
        UFT_AB: Row("--objective uft --skills A:B --rows 1180 --mix 57:61",
                    {**WITH_BETA, "--lr": BIG}),
        # A's 570, and B's right ones among 610
        UNION: Row("--objective sft --skills A,B --rows 875", BATCHES),
    },
    baseline=SFT_A, seeds=SEEDS, prompts=PROMPTS, parts=THREE, tuned_on=BASES, ends=ENDS,
    effort=GROW, contrasts=(
        *(Contrast(f"Skills: UFT keeps more than {row}", UFT_AB, row, parts=(SKILLS,))
          for row in CHAINS.values()),
        *(Contrast(f"Three parts: UFT is better than {row}", UFT_AB, row)
          for row in CHAINS.values()),
        Contrast(f"Three parts: UFT is better than {UNION}", UFT_AB, UNION),
        *(Contrast(f"Skills: {row} loses some of SFT (A)'s", SFT_A, row, parts=(SKILLS,))
          for row in CHAINS.values())),
    columns={"skills (A)": (SKILLS,), "honesty (B)": (HONESTY,), "facts": (FACTS,)})

POFT, WEAK_POFT, LIKELIEST = "PoFT", "PoFT, weak aligned model", "SFT on the likeliest, 40 %"


def noisy(share: str, noise: str) -> dict[str, Row]:
    """The rows of C4 at one share of wrong demonstrations."""
    return {f"{name}, {share}": Row(f"--objective {name.lower()} --noise {noise}", PASSES)
            for name in ("SFT", POFT)}


C4 = Plan(
    rows={
        **noisy("0 %", "0"), **noisy("40 %", "0.4"),
        f"{WEAK_POFT}, 40 %": Row("--objective poft --aligned {aligned} --noise 0.4", PASSES,
                                  aligned=WEAK),
        **{f"{n} -> DPO, 40 %": Row("--objective dpo", WITH_BETA, after=f"{n}, 40 %")
           for n in ("SFT", POFT)},
        # fewer rows, more passes: equal updates
        LIKELIEST: Row("--objective sft --noise 0.4 --keep 0.6",
                       {"--lr": BIG, "--epochs": ("1.667", "5", "10")}),
    },
    baseline="SFT, 40 %", seeds=SEEDS, prompts=PROMPTS, ends=ENDS, effort=GROW,
    contrasts=(
        Contrast("PoFT's gain over SFT is larger at 40 % than at 0 %", "PoFT, 40 %", "SFT, 40 %",
                 minus=("PoFT, 0 %", "SFT, 0 %")),
        Contrast("PoFT -> DPO is better than SFT -> DPO at 40 %", "PoFT -> DPO, 40 %",
                 "SFT -> DPO, 40 %"),
        Contrast("PoFT is better than SFT on the likeliest at 40 %", "PoFT, 40 %", LIKELIEST),
        Contrast("PoFT with a weak aligned model is better than SFT at 40 %", f"{WEAK_POFT}, 40 %",
                 "SFT, 40 %"),
        Contrast("PoFT is better than SFT at 40 %", "PoFT, 40 %", "SFT, 40 %", preset=False),
        Contrast("PoFT is better than SFT at 0 %", "PoFT, 0 %", "SFT, 0 %", preset=False),
        # asked for after the test cells were there
        Contrast("PoFT -> DPO is better than PoFT at 40 %", "PoFT -> DPO, 40 %", "PoFT, 40 %",
                 preset=False),
        *(Contrast(f"{family}: PoFT with a weak aligned model is better than SFT at 40 %",
                   f"{WEAK_POFT}, 40 %", "SFT, 40 %", parts=((family,),), preset=False)
          for family in ("unknown", "sum"))))

CLAIMS = {"C1": C1, "C1b": C1B, "C1c": C1C, "C1d": C1D, "C2": C2, "C3": C3, "C3b": C3B,
          "C3c": C3C, "C4": C4, "C4b": C4B, "C6": C6, "C6b": C6B}


def judged(names: list[str], done: dict[str, dict]) -> tuple[dict[str, dict], dict | None]:
    """({claim: its part of results.json} from finished cells, all of them as one family if all are
    named); UserError where a cell is missing."""
    study = Study(CLAIMS.__getitem__)
    study.tune(names, kept(done, judge.ADVICE))
    found = {name: judge.judged(study, name, done) for name in names}
    every = names == [*CLAIMS]
    return found, judge.as_one_family(study, names, found, done) if every else None


@dataclass
class Claims:
    write: bool = False  # results.json, tables, pictures from finished cells; no training
    workers: int = 2                # processes of one thread each
    out: str = str(FOLDER)          # folder of cells, tables and pictures


def main(argv=None) -> int:
    cfg, _, asked = config.parse_list(Claims, argv, "python -m lab.claims", __doc__, "claim",
                                      f"{', '.join(CLAIMS)} [all]")
    if "C5" in asked:
        raise UserError("C5 is about the Frozen Lake: python -m lab.lake_study")
    names = [choose("claim", n, CLAIMS) for n in asked] or list(CLAIMS)
    in_range(cfg, "workers", low=1, high=64)
    file = Path(cfg.out) / "cells.jsonl"
    if cfg.write:
        print(*judge.write(Path(cfg.out), *judged(names, read_cells(file))), sep="\n")
        return 0
    untrained = [c for n in names for c in judge.untrained(CLAIMS[n]).values()]
    Study(CLAIMS.__getitem__).run(names, file, cfg.workers, untrained)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
