"""What the papers say of IFT, UFT, UNA, PoFT and DFT, as questions that training runs can answer.

claim.py says what an entry is. More entries are in real_ift.py (C9, and R1 to R6 on SmolLM2), in
which_loss.py (C13 to C16 and C20, of all losses), in one_stage.py (C17), in which_start.py (C19)
and in real_una.py (R7 to R9 on SmolLM2).
"""
from pathlib import Path

import numpy as np

from lessons.evidence import one_stage, real_ift, real_una, which_loss, which_start
from lessons.evidence.claim import DETACHED, POFT, RELEASED, RESULTS, SFT, THREE, Claim, reads

SFT_SETTINGS = "--lr 1.25e-4 --batch-size 8"
RELEASED_SETTINGS = "--lr 6.3e-5 --batch-size 16"
DPO = "--objective dpo"

FORMS_OF_IFT = {
    "SFT": f"{SFT} {SFT_SETTINGS}",
    "released": f"{RELEASED} {RELEASED_SETTINGS}",
    "detached": f"{DETACHED} {SFT_SETTINGS}",
}
WRONG_40 = {
    "SFT": "--objective sft --noise 0.4 --lr 1.25e-4 --epochs 6",
    "SFT -> DPO": f"{DPO} --lr 1e-4 --beta 9 <- SFT",
}
POFT_40 = f"{POFT} --noise 0.4 --lr 2.5e-4 --epochs 6"

FILTERED = f"{reads('{likeliest}/demos')} --batch-size 32"
SCORES, PAIRS = reads("{own}/scores"), reads("{own}/pairs")
LABELS, CUT_LABELS = reads("{own}/labels"), reads("{cut}/labels")
A_FILE, DEMOS = reads("{own}/a"), reads("{own}/demos")
A_AND_SCORES, A_AND_DEMOS = reads("{own}/a", "{own}/scores"), reads("{own}/a", "{own}/demos")
SFT_FILTERED = f"--objective sft {FILTERED} --lr 6.3e-5 --epochs 10"
ALIGNED = "train --objective sft --rows 4080 --seed 900"
LIKELIEST = "keep --noise 0.4 --share 0.6 --aligned {aligned}"
HARVEST = "harvest --prompts 500 --samples 4"
FILTER = "--objective sft --lr 6.3e-5 --batch-size 32"
FOR_DFT = "--rows 1020 --batch-size 32 --lr 2.5e-4 --epochs 3"

CLAIMS = {
    "C1": Claim(
        "Is IFT better than SFT, from demonstrations alone?",
        rows={
            **FORMS_OF_IFT,
            "mixing": f"{RELEASED} --gamma 0 {SFT_SETTINGS}",
            "SFT -> DPO": f"{DPO} --lr 8.1e-8 --beta 3 <- SFT",
        },
        questions={
            "IFT as released is better than SFT": "better: released - SFT",
            "IFT with detached weights is as good as SFT": "as good: detached - SFT",
            "IFT as released is not inferior to (SFT, then DPO)":
                "not inferior: released - SFT -> DPO",
            "IFT's mixing alone is as good as SFT": "as good: mixing - SFT",
        }),
    "C1c": Claim(
        "Does IFT replace preferences where 40 % of the demonstrations are wrong?",
        rows={
            **WRONG_40,
            "released": f"{RELEASED} --noise 0.4 --lr 3.2e-5 --epochs 24",
            "detached": f"{DETACHED} --noise 0.4 --lr 6.3e-5 --epochs 6",
        },
        questions={
            "40 % wrong: IFT with detached weights is not inferior to (SFT, then DPO)":
                "not inferior: detached - SFT -> DPO",
            "40 % wrong: IFT as released is not inferior to (SFT, then DPO)":
                "not inferior: released - SFT -> DPO",
            "40 % wrong: IFT as released is better than SFT": "better: released - SFT",
            "40 % wrong: IFT with detached weights is better than SFT": "better: detached - SFT",
        }),
    "C1d": Claim(
        "Why does IFT as released lose: because of its gradient, or of its settings?",
        rows={
            **FORMS_OF_IFT,
            "detached there": f"{DETACHED} {RELEASED_SETTINGS}",
            "released here": f"{RELEASED} {SFT_SETTINGS}",
        },
        questions={
            "At SFT's settings, detached weights are better than IFT as released":
                "better: detached - released here",
            "At the settings of IFT as released, detached weights are better":
                "better: detached there - released",
        }),
    "C2": Claim(
        "Is UFT better than SFT, from demonstrations alone?",
        rows={
            "SFT": "--objective sft --lr 6.3e-5 --batch-size 8",
            "UFT .01": f"--objective uft --feedback none --beta 0.01 {SFT_SETTINGS}",
            "UFT .1": f"--objective uft --feedback none --beta 0.1 {SFT_SETTINGS}",
        },
        questions={
            "UFT (beta .01) on demonstrations is better than SFT": "better: UFT .01 - SFT",
            "UFT (beta .01) is not inferior to SFT": "not inferior: UFT .01 - SFT",
            "UFT (beta .1) is better than SFT": "better: UFT .1 - SFT",
            "UFT (beta .1) is not inferior to SFT": "not inferior: UFT .1 - SFT",
        }),
    "C3": Claim(
        "One stage or two, for demonstrated skills (A) and scored answers about honesty (B)?",
        rows={
            "A": ("--objective sft --skills A --rows 570 --lr 1.25e-4 --batch-size 16",
                  "--objective sft --skills A --rows 570 --lr 2.5e-4 --batch-size 8"),
            "A -> DPO": (f"{DPO} --skills B --rows 305 --lr 1e-5 --beta 1 <- A",
                         f"{DPO} --skills B --rows 305 --lr 1e-4 --beta 9 <- A"),
            "A -> KTO": ("--objective kto --skills B --rows 610 --lr 1e-4 --beta 27 <- A",
                         "--objective kto --skills B --rows 610 --lr 1e-4 --beta 3 <- A"),
            "A -> UNA": ("--objective una --skills B --rows 610 --lr 1e-4 --beta 9 <- A",
                         "--objective una --skills B --rows 610 --lr 1e-4 --beta 3 <- A"),
            "UFT": ("--objective uft --skills A:B --rows 1180 --mix 57:61 --lr 1.25e-4 --beta 1",
                    "--objective uft --skills A:B --rows 1180 --mix 57:61 --lr 2.5e-4 --beta 1"),
            "A and good B":
                "--objective sft --skills A,B --rows 875 --lr 1.25e-4 --batch-size 16",
        },
        questions={
            "UFT in one stage keeps more skills than (SFT, then DPO)":
                "better, skills: UFT - A -> DPO",
            "UFT in one stage is better overall than (SFT, then DPO)": "better: UFT - A -> DPO",
            "UFT keeps more skills than (SFT, then KTO)": "better, skills: UFT - A -> KTO",
            "UFT keeps more skills than (SFT, then UNA)": "better, skills: UFT - A -> UNA",
            "UFT is better overall than (SFT, then KTO)": "better: UFT - A -> KTO",
            "UFT is better overall than (SFT, then UNA)": "better: UFT - A -> UNA",
            "UFT is better than SFT on A and the good answers of B": "better: UFT - A and good B",
            **{f"{name} after SFT on A loses some of its skills": f"better, skills: A - A -> {name}"
               for name in ("DPO", "KTO", "UNA")},
        },
        doubts={"better, skills: UFT - A -> DPO":
                "this chain forgets nothing on N1, so nothing can be prevented"},
        parts=THREE),
    "C3b": Claim(
        "One stage or two, where no scored answer is right, so that none can be copied?",
        rows={
            "A": f"--objective sft {A_FILE} --batch-size 16 --lr 6.3e-5 --epochs 4",
            "A -> UNA": f"--objective una {SCORES} --batch-size 16 --lr 3e-5 "
                        "--beta 0.3 --epochs 8 <- A",
            "A -> KTO": f"--objective kto {LABELS} --batch-size 16 --lr 3e-5 "
                        "--beta 1 --epochs 8 <- A",
            "A -> DPO": f"{DPO} {PAIRS} --batch-size 16 --lr 1e-4 --beta 1 --epochs 4 <- A",
            "UFT": f"--objective uft {A_AND_SCORES} --batch-size 16 "
                   "--lr 2.5e-4 --beta 1 --epochs 2",
            "A and best B": f"--objective sft {A_AND_DEMOS} "
                            "--batch-size 16 --lr 1.25e-4 --epochs 2",
        },
        questions={
            "No scored answer wholly right: UFT is better than (SFT, then UNA)":
                "better: UFT - A -> UNA",
            "No scored answer wholly right: UFT is better than (SFT, then KTO)":
                "better: UFT - A -> KTO",
            "No scored answer wholly right: UFT is better than (SFT, then DPO)":
                "better: UFT - A -> DPO",
            "No scored answer wholly right: UFT is better than SFT on A and the best of B":
                "better: UFT - A and best B",
        },
        parts=THREE, seeds=range(400, 405), prompts=3,
        made={"own": f"{HARVEST} --skills A,fact --partly"}),
    "C4": Claim(
        "Does PoFT help where demonstrations are wrong?",
        rows={
            "SFT 0 %": "--objective sft --noise 0 --lr 1.25e-4 --epochs 6",
            "PoFT 0 %": f"{POFT} --noise 0 --lr 1.25e-4 --epochs 6",
            **WRONG_40,
            "PoFT": POFT_40,
            "PoFT, weak": "--objective poft --aligned {weak} --noise 0.4 --lr 2.5e-4 --epochs 6",
            "PoFT -> DPO": f"{DPO} --lr 3e-5 --beta 9 <- PoFT",
            "SFT, filtered": SFT_FILTERED,
        },
        questions={
            "PoFT's lead over SFT is larger with 40 % wrong demonstrations than with none":
                "better: PoFT - SFT - PoFT 0 % + SFT 0 %",
            "40 % wrong: PoFT on all is better than SFT on the top 60 %":
                "better: PoFT - SFT, filtered",
            "40 % wrong: (PoFT, then DPO) is better than (SFT, then DPO)":
                "better: PoFT -> DPO - SFT -> DPO",
            "40 % wrong: PoFT with a weak helper is better than SFT":
                "better: PoFT, weak - SFT",
        },
        doubts={"better: PoFT - SFT, filtered": "the filter is told that 60 % are right",
                "better: PoFT -> DPO - SFT -> DPO": "whether DPO adds to PoFT was not asked"},
        made={"aligned": ALIGNED, "weak": "train --objective sft --noise 0.4 --seed 900",
              "likeliest": LIKELIEST}),
    "C4b": Claim(
        "Does PoFT help after its helper has filtered the demonstrations?",
        rows={
            "PoFT": POFT_40,
            "SFT, filtered": SFT_FILTERED,
            "PoFT, filtered": f"{POFT} {FILTERED} --lr 1.25e-4 --epochs 5",
        },
        questions={
            "40 % wrong, top 60 %: PoFT is better than SFT":
                "better: PoFT, filtered - SFT, filtered",
            "40 % wrong: PoFT on the top 60 % is better than PoFT on all":
                "better: PoFT, filtered - PoFT",
        },
        made={"aligned": ALIGNED, "likeliest": LIKELIEST}),
    "C6": Claim(
        "From the same scored answers: is UNA better than DPO, KTO and SimPO?",
        rows={
            "start": "--objective sft --rows 30 --batch-size 16 --lr 1.25e-4 --epochs 6",
            "UNA": f"--objective una {SCORES} --batch-size 16 --lr 3e-5 "
                   "--epochs 8 --beta 1 <- start",
            "UNA, right": f"--objective una --feedback binary {LABELS} "
                          "--batch-size 16 --lr 1e-5 --epochs 8 --beta 3 <- start",
            "UNA, cut": f"--objective una --feedback binary {CUT_LABELS} "
                        "--batch-size 16 --lr 3e-5 --epochs 8 --beta 1 <- start",
            "DPO": f"{DPO} {PAIRS} --batch-size 16 --lr 3e-5 --epochs 8 --beta 1 <- start",
            "KTO": f"--objective kto {LABELS} --batch-size 16 --lr 1e-5 "
                   "--epochs 8 --beta 9 <- start",
            "SimPO": f"--objective simpo {PAIRS} --batch-size 16 --lr 3e-5 "
                     "--epochs 4 --beta 4 <- start",
            "RFT": f"--objective sft {DEMOS} --batch-size 16 --lr 1e-4 --epochs 4 <- start",
        },
        questions={
            "From the same scored answers UNA with scores is better than DPO":
                "better: UNA - DPO",
            "UNA with scores is better than KTO": "better: UNA - KTO",
            "UNA with scores is better than SimPO": "better: UNA - SimPO",
            "UNA with scores is better than UNA with labels, right or not":
                "better: UNA - UNA, right",
            "UNA with scores is better than UNA with labels cut at a score of .5":
                "better: UNA - UNA, cut",
        },
        seeds=range(300, 305), prompts=2,
        made={"own": f"{HARVEST} --good 1 <- start", "cut": f"{HARVEST} --good 0.5 <- start"}),
    "C8": Claim(
        "Does DFT learn as SFT does what its model does not half believe?",
        rows={"SFT": f"--objective sft {FOR_DFT}", "DFT": f"--objective dft {FOR_DFT}"},
        questions={
            "DFT learns a new behaviour (to say: I do not know) as SFT does":
                "as good, score in unknown: DFT - SFT",
            "DFT learns rules in new combinations as SFT does":
                "as good, score in rules_new: DFT - SFT",
        },
        seeds=range(800, 805), bases=("base",), families=("rules", "rules_new", "unknown"),
        parts=(("rules", "rules_new", "unknown"),),
        expected="The first does not hold: with five other seeds, in results/methods.csv, DFT said "
                 "so in 1, 0, 0, 64 and 0 % of the cases and SFT in 50 to 67 %. The second is "
                 "undecided or holds: there the difference was +0.3 with a half-width of 1.6."),
}

# Asked after the verdicts of C1 to C8 were known: with new seeds and new prompts.
CLAIMS |= {
    "C10": Claim(
        "From the same scored answers: is UNA better than SFT on the right ones?",
        rows={name: CLAIMS["C6"].rows[name] for name in ("start", "UNA", "RFT")},
        questions={
            "From the same scored answers UNA with scores is better than SFT on the right ones":
                "better: UNA - RFT",
        },
        seeds=range(310, 315), prompts=12,
        made={"own": f"{HARVEST} --good 1 <- start"},
        expected="Undecided, or holds by little: on C6's seeds, where nobody had asked, the "
                 "difference was +1.1 ± 1.2 and +1.6 ± 1.1. Settings are C6's."),
    "C11": Claim(
        "40 % wrong demonstrations: is a filter better than PoFT if it is told a wrong share?",
        rows={
            "SFT": WRONG_40["SFT"],
            "PoFT": POFT_40,
            "filter .4": f"{FILTER} {reads('{likeliest40}/demos')} --epochs 15",
            "filter .6": f"{FILTER} {reads('{likeliest60}/demos')} --epochs 10",
            "filter .8": f"{FILTER} {reads('{likeliest80}/demos')} --epochs 7.5",
            "aligned model": "{aligned}",
        },
        questions={
            "40 % wrong: SFT on the top 40 % is better than PoFT":
                "better: filter .4 - PoFT",
            "40 % wrong: SFT on the top 80 % is better than PoFT":
                "better: filter .8 - PoFT",
            "40 % wrong: SFT on the top 40 % is better than SFT on all":
                "better: filter .4 - SFT",
            "40 % wrong: SFT on the top 80 % is better than SFT on all":
                "better: filter .8 - SFT",
            "The helper itself scores more than PoFT, which asks it":
                "better: aligned model - PoFT",
        },
        doubts={f"better: filter {share} - {row}":
                "the filter has the rate and the steps that were chosen for 60 %"
                for share in (".4", ".8") for row in ("PoFT", "SFT")},
        premises={"What the helper itself scores": "score: aligned model"},
        seeds=range(520, 525), prompts=14,
        made={"aligned": ALIGNED,
              **{f"likeliest{share}": f"keep --noise 0.4 --share 0.{share // 10} "
                                      "--aligned {aligned}" for share in (40, 60, 80)}},
        expected="Open, open, holds, open, holds. The filters of 40 and 80 % have the rate and the "
                 "number of steps that validation chose for that of 60 %, not their own."),
    "C12": Claim(
        "Does a second stage forget, and does UFT keep more than it does?",
        rows={name: CLAIMS["C3"].rows[name] for name in ("A", "A -> KTO", "A -> UNA", "UFT")},
        questions={
            "KTO after SFT on A loses some of its skills": "better, skills: A - A -> KTO",
            "UNA after SFT on A loses some of its skills": "better, skills: A - A -> UNA",
            "UFT in one stage keeps more skills than (SFT, then KTO)":
                "better, skills: UFT - A -> KTO",
            "UFT in one stage keeps more skills than (SFT, then UNA)":
                "better, skills: UFT - A -> UNA",
        },
        parts=THREE, seeds=range(540, 545), prompts=15,
        expected="Holds, holds, does not hold, does not hold: on C3's seeds, before correction, "
                 "KTO lost 4.8 ± 3.2 and 3.7 ± 1.5 points, UNA 2.1 ± 1.4 and 3.1 ± 2.0, and "
                 "UFT had 6 to 10 points less than these chains, most of them in one family, "
                 "reverse. Settings are C3's."),
}

CLAIMS |= real_ift.CLAIMS | which_loss.CLAIMS | which_start.CLAIMS | real_una.CLAIMS
CLAIMS |= one_stage.CLAIMS


def scores_file(name: str) -> Path:
    """All scores of a claim's runs. `commands` (rows, bases) are texts; `scores` (rows, bases,
    seeds, families, prompts) count 240ths, one byte each; `ended` says which answers stop (C1 to
    C6: `stops`, the share of list answers); `groups` (families, prompts) has one number for all
    prompts that ask for the same fact. Those of C5 and C7 are not kept (frozen.py)."""
    return RESULTS / f"{CLAIMS[name].scores_of or name}.npz"


def is_kept(name: str) -> bool:
    """Have all runs of this claim ended, and are their scores kept?"""
    return scores_file(name).exists()


def load_packed(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(scores_file(name)))
