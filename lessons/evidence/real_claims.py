"""The claims asked again on SmolLM2-135M-Instruct: R1, R1s and R4.

Questions, signs, margins and rates were written down before any of their test figures was made. The
six families need no facts of NanoWorld.
"""
from lessons.evidence.claim import DETACHED, NO_FACTS, POFT, REAL, RELEASED, SFT, Claim, reads

SKILLED = "--skills rules,list,sum,sort,reverse"
SIZE = f"{SKILLED} --rows 768 --batch-size 8 --warmup 0.1"
REAL_IFT = "--lam 0.2 --gamma 0.95"
REAL_NOISE = f"{SIZE} --noise 0.4"
ON_REAL = dict(bases=REAL, families=NO_FACTS, parts=(NO_FACTS,), seeds=range(600, 605), prompts=6,
               items=60, max_new=64)
REAL_FORMS = {          # each rate is the best of RATES on validation prompts (results/rates.csv)
    "SFT": f"{SFT} {SIZE} --epochs 1 --lr 1e-4",
    "released": f"{RELEASED} {REAL_IFT} {SIZE} --epochs 1 --lr 1e-4",
    "detached": f"{DETACHED} {REAL_IFT} {SIZE} --epochs 1 --lr 4e-5",
}

REAL_CLAIMS = {
    "R1": Claim(
        "A real model: is IFT better than SFT?",
        rows=REAL_FORMS,
        questions={
            "A real model: IFT as released is better than SFT": "better: released - SFT",
            "A real model: IFT with detached weights is as good as SFT": "as good: detached - SFT",
        },
        on_page=2,
        expected="Does not hold, undecided: a half-width of 3 points is wider than the margin of "
                 "2, unless the two rows move together.",
        **ON_REAL),
    "R1s": Claim(
        "A real model: does IFT forget how to stop?",
        rows=REAL_FORMS,
        questions={
            "A real model: fewer answers stop after IFT as released than after SFT":
                "better, stops: SFT - released",
            "A real model: as many answers stop after detached IFT as after SFT":
                "as good, stops: detached - SFT",
            **{f"... fewer after released: {family}": f"better, stops in {family}: SFT - released"
               for family in NO_FACTS},
            **{f"... as many after detached: {family}":
               f"as good, stops in {family}: detached - SFT" for family in NO_FACTS},
        },
        on_page=2,
        expected="Over all families the first holds and the second does not hold, because in a "
                 "trial with one seed, other prompts and a rate of 5.6e-5 for all, 97, 65 and 78 % "
                 "of the answers stopped after SFT, released and detached. A half-width of 3 "
                 "points over all families, of 8 within one.",
        **ON_REAL),
    "R4": Claim(
        "A real model, 40 % wrong demonstrations: does PoFT help, or a filter?",
        rows={
            "SFT": f"{SFT} {REAL_NOISE} --epochs 1 --lr 1e-4",
            "PoFT": f"{POFT} {REAL_NOISE} --epochs 1 --lr 1e-4",
            "SFT, filtered": f"{SFT} {reads('{likeliest}/demos')} --batch-size 8 "
                             "--warmup 0.1 --epochs 1.67 --lr 2.5e-4",
        },
        questions={
            "A real model, 40 % wrong: PoFT is better than SFT": "better: PoFT - SFT",
            "A real model, 40 % wrong: PoFT is better than SFT on the likeliest 60 % of the rows":
                "better: PoFT - SFT, filtered",
            "A real model, 40 % wrong: SFT on the likeliest 60 % is better than SFT on all":
                "better: SFT, filtered - SFT",
        },
        on_page=2,
        expected="Holds, does not hold, holds, as on NanoWorld's bases; a half-width of 3 points.",
        made={"aligned": f"train {SFT} {SKILLED} --rows 1536 "
                         "--batch-size 8 --warmup 0.1 --epochs 1 --lr 1e-4 --seed 900",
              "likeliest": f"keep {SKILLED} --rows 768 --noise 0.4 "
                           "--share 0.6 --aligned {aligned}"},
        **ON_REAL),
}
