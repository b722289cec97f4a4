"""The papers' claims, fixed before looking: rows, contrasts, margins.

    python -m nanouft.lab.claims C1 --tune        # settings of every row on validation, equal budgets, 25 min (2 cores)
    python -m nanouft.lab.claims C1               # 10 paired seeds on two bases, test split, about 30 min
    python -m nanouft.lab.claims C1 --map     # C1: where the released loss breaks <|end|>, and why; C4: who is doubted
    python -m nanouft.lab.claims C1 --again 3     # trains three finished cells once more: the numbers must be the same
    python -m nanouft.lab.claims C2 C3 C4         # several, one after the other

All of it is resumable: a finished cell is a line of docs/results/<claim>*.jsonl, and tables and verdicts are computed
from these lines by the rule in judge.py, never written. A shorter trial (fewer seeds, one base) goes elsewhere:
--out out/trial. The second base is `python -m nanouft.pretrain --seed 1 --out out/base-1`.

Tuning, per row, on validation with seeds of its own and on the first base: four learning rates, then at the best one
two other values of one more setting (batch size; beta where two answers or a grade are compared), or three in C3,
whose first two ended at the edge. As many settings and seeds for all rows of a claim. Rows of C4 at 0 and 40 % noise
take what was chosen at 20 %.

C1 (arXiv:2405.11870): IFT beats SFT on the same demonstrations, and is not inferior to SFT -> DPO.
C2 (arXiv:2410.21438): UFT on demonstrations alone is not inferior to SFT.
C3 (arXiv:2410.21438): UFT on demonstrations of skills (A) and scores of honesty (B) keeps what SFT(A), then DPO, KTO,
    UNA or PPO on B, loses. Tuned, and compared as a whole, by the mean of three parts: A, B, and facts.
C4 (arXiv:2412.12865): PoFT's gain over SFT grows with the share of wrong demonstrations; PoFT -> DPO beats SFT -> DPO.
docs/claims.md says why these rows and controls, and what came out.
"""
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nanouft.lab import claim_pictures, judge
from nanouft.lab.judge import RESULTS, TAUGHT
from nanouft.shell import config
from nanouft.shell.config import UserError

BASES = ("base", "out/base-1")
MARGIN = 0.02                                                                  # of non-inferiority
SKILLS, HONESTY, FACTS = ("rules", "list", "sum", "sort", "reverse"), ("truth", "unknown"), ("fact",)
THREE = (SKILLS, HONESTY, FACTS)


@dataclass(frozen=True)
class Recipe:
    """One row of a table: flags of train, and what is tuned. `after` names the row that it starts from (a chain),
    `like` the row whose settings it takes over."""
    flags: tuple[str, ...]
    after: str | None = None
    lrs: tuple[str, ...] = ("1.25e-4", "2.5e-4", "5e-4", "1e-3")
    second: tuple[str, tuple[str, ...]] = ("--batch-size", ("16", "64"))       # beside its default
    like: str | None = None


@dataclass(frozen=True)
class Contrast:
    """row - other on the endpoint, or on `parts`; with `minus`, less the same difference of that couple. `threshold`
    0 asks for superiority, -MARGIN for non-inferiority."""
    text: str
    row: str
    other: str
    threshold: float = 0.0
    parts: tuple[tuple[str, ...], ...] | None = None
    minus: tuple[str, str] | None = None


@dataclass(frozen=True)
class Column:
    """A column of a table: the mean over parts of the mean over families, or (gap) the paired difference of it."""
    title: str
    parts: tuple[tuple[str, ...], ...] = (TAUGHT,)
    key: str = "score"                  # score, strict or ends
    gap: bool = False


@dataclass(frozen=True)
class Claim:
    rows: dict[str, Recipe]
    baseline: str                       # the row that all others are shown against
    contrasts: tuple[Contrast, ...]
    columns: tuple[Column, ...]
    parts: tuple[tuple[str, ...], ...] = (TAUGHT,)      # the endpoint: mean over parts of the mean over families
    about: str = ""                     # what stands above the tables
    tune_seeds: int = 2                 # validation seeds
    mapped: tuple[str, ...] = ()        # rows of --map
    map_lrs: tuple[str, ...] = ()
    look: Callable | None = None        # what --map runs
    picture: Callable | None = None     # picture(cells by base and row, claim, file)


SEQ, IFT = ("--objective", "sft", "--reduction", "sequence"), ("--objective", "ift", "--variant")
RELEASED = (*IFT, "released")
SFT_ROW, IFT_ROW, CHAIN = "SFT, sequence mean", "IFT released (lam .2, gamma .95)", "SFT -> DPO"
PAIR_LRS, BETA = ("1e-5", "3e-5", "1e-4", "3e-4"), ("--beta", ("0.03", "0.3"))     # C1: the best lay at the edges,
LOW_LRS, BIG_BETA = ("3e-6", "1e-5", "3e-5", "1e-4"), ("--beta", ("0.3", "1"))      # so C3 and C4 look further there
PPO = ("--objective", "ppo", "--epochs", "1.5")         # rewarded by the exact score, which no other row is told

C1 = Claim(
    rows={
        SFT_ROW: Recipe(SEQ),
        IFT_ROW: Recipe(RELEASED),
        "SFT, token mean": Recipe(("--objective", "sft")),
        "SFT, 4 passes": Recipe((*SEQ, "--epochs", "4")),
        "SFT, 6 passes": Recipe((*SEQ, "--epochs", "6")),
        "SFT, detached embeddings": Recipe((*SEQ, "--detach-embeddings")),
        "IFT mixing only (gamma 0)": Recipe((*RELEASED, "--gamma", "0")),
        "IFT weights only (lam 0)": Recipe((*RELEASED, "--lam", "0")),
        "IFT lam 0, gamma 0": Recipe((*RELEASED, "--lam", "0", "--gamma", "0")),
        "IFT released, detached": Recipe((*RELEASED, "--detach")),
        "IFT released, disturbed lam": Recipe((*RELEASED, "--lam-noise", "0.5")),
        "IFT Algorithm 1": Recipe((*IFT, "algorithm1")),
        "IFT Algorithm 1, detached": Recipe((*IFT, "algorithm1", "--detach")),
        "IFT Eq. 21, mean 1": Recipe((*IFT, "eq21_mean1")),
        "scheduled sampling (replace, gamma 0)": Recipe((*RELEASED, "--residual", "replace", "--gamma", "0")),
        CHAIN: Recipe(("--objective", "dpo"), after=SFT_ROW, lrs=PAIR_LRS, second=BETA),
        "SFT -> PPO (exact score)": Recipe(PPO, after=SFT_ROW, lrs=PAIR_LRS, second=("--beta", ("0.005", "0.1"))),
    },
    baseline=SFT_ROW,
    contrasts=(Contrast("IFT is better than SFT", IFT_ROW, SFT_ROW),
               Contrast("IFT is not inferior to SFT -> DPO", IFT_ROW, CHAIN, -MARGIN)),
    columns=(Column("endpoint"), Column("d", gap=True), Column("d strict", key="strict", gap=True),
             Column("d without list", (tuple(f for f in TAUGHT if f != "list"),), gap=True),
             Column("list stops", (("list",),), "ends"), Column("rules_new", (("rules_new",),)),
             Column("fact", (FACTS,))),
    about="Strict: the share of answers that are fully right and stop.", tune_seeds=4,
    mapped=(SFT_ROW, IFT_ROW, "IFT weights only (lam 0)", "IFT released, detached"),
    map_lrs=("6e-5", "1.25e-4", "2.5e-4", "5e-4", "1e-3", "2e-3"), look=judge.lr_map)

DEMO_UFT, AUTHORS = ("--objective", "uft", "--feedback", "none"), "UFT, beta .01 (the authors')"
C2 = Claim(
    rows={
        "SFT, token mean": Recipe(("--objective", "sft")),
        SFT_ROW: Recipe(SEQ),
        "UFT, beta .001: SFT with sums": Recipe((*DEMO_UFT, "--beta", "0.001")),
        AUTHORS: Recipe((*DEMO_UFT, "--beta", "0.01")),
        "UFT, beta .1": Recipe((*DEMO_UFT, "--beta", "0.1")),
        "UFT, beta 1": Recipe((*DEMO_UFT, "--beta", "1")),
    },
    baseline="SFT, token mean",
    contrasts=(Contrast("UFT (beta .01) on demonstrations is not inferior to SFT", AUTHORS, "SFT, token mean", -MARGIN),
               Contrast("UFT (beta .1, the default here) is not inferior to SFT", "UFT, beta .1", "SFT, token mean",
                        -MARGIN)),
    columns=(Column("endpoint"), Column("d", gap=True), Column("d strict", key="strict", gap=True),
             *(Column(f"d {f}", ((f,),), gap=True) for f in
               ("list", "sort", "unknown", "rules", "truth", "reverse", "sum")), Column("fact", (FACTS,))),
    about="Families from short answers to long ones.", picture=claim_pictures.gap_over_length)


def _b(objective: str, *more: str) -> tuple[str, ...]:
    return ("--objective", objective, "--skills", "B", "--rows", "610", *more)


WIDE_BETA, WIDE_BATCH = ("--beta", ("0.3", "1", "3")), ("--batch-size", ("8", "16", "64"))   # 1 was the best of .3, 1
LEASH = ("--beta", ("0.005", "0.1", "0.5"))                                                  # PPO's beta is .02
UFT_AB, UNION = "UFT (A + B)", "SFT (A + good answers of B)"
CHAINS = {n: f"SFT (A) -> {n} (B)" for n in ("DPO", "KTO", "UNA", "PPO")}
C3 = Claim(
    rows={
        "SFT (A)": Recipe(("--objective", "sft", "--skills", "A", "--rows", "570"), second=WIDE_BATCH),
        **{row: Recipe(_b(n.lower()), after="SFT (A)", lrs=LOW_LRS, second=WIDE_BETA)
           for n, row in CHAINS.items() if n != "PPO"},
        CHAINS["PPO"]: Recipe(_b("ppo", "--epochs", "1.5"), after="SFT (A)", lrs=PAIR_LRS, second=LEASH),
        UFT_AB: Recipe(("--objective", "uft", "--skills", "A:B", "--rows", "1180", "--mix", "57:61"), second=WIDE_BETA),
        "UNA (B) from the base": Recipe(_b("una"), second=WIDE_BETA),
        UNION: Recipe(("--objective", "sft", "--skills", "A,B", "--rows", "875"), second=WIDE_BATCH),
    },
    baseline="SFT (A)", parts=THREE,
    contrasts=(*(Contrast(f"Skills: UFT keeps more than {row}", UFT_AB, row, parts=(SKILLS,))
                 for row in CHAINS.values()),
               *(Contrast(f"All three parts: UFT is better than {row}", UFT_AB, row) for row in CHAINS.values()),
               Contrast(f"All three parts: UFT is better than {UNION}", UFT_AB, UNION),
               *(Contrast(f"Skills: {row} loses some of SFT (A)'s", "SFT (A)", row, parts=(SKILLS,))
                 for row in CHAINS.values())),
    columns=(Column("three parts", THREE), Column("d", THREE, gap=True), Column("skills A", (SKILLS,)),
             Column("d A", (SKILLS,), gap=True), Column("honesty B", (HONESTY,)), Column("truth", (("truth",),)),
             Column("unknown", (("unknown",),)), Column("facts", (FACTS,)), Column("rules_new", (("rules_new",),))),
    about="Three parts: skills (A), honesty (B), facts, each counted as a third.", picture=claim_pictures.frontier)


def _noisy() -> dict[str, Recipe]:
    """The rows of C4 at 20 % (tuned there), 0 and 40 %; at 0 % nothing is wrong that could be left out. Where rows are
    left out, there are more passes: equal steps."""
    rows: dict[str, Recipe] = {}
    for share, noise, keep, epochs in (("20 %", "0.2", "0.8", "3.75"), ("0 %", "0", "", ""),
                                       ("40 %", "0.4", "0.6", "5")):
        def add(name, flags, after=None, **kw):
            like = None if share == "20 %" else f"{name}, 20 %"
            rows[f"{name}, {share}"] = Recipe((*flags, "--noise", noise) if after is None else flags, like=like,
                                              after=after and f"{after}, {share}", **kw)
        add("SFT", ("--objective", "sft"))
        add("PoFT", ("--objective", "poft"))
        add("PoFT against the base", ("--objective", "poft", "--aligned", "BASE"))
        if keep:
            fewer = ("--objective", "sft", "--epochs", epochs)
            add("SFT on the likeliest", (*fewer, "--keep", keep))
            add("SFT on the right ones", (*fewer, "--clean"))
        for first in ("SFT", "PoFT"):
            add(f"{first} -> DPO", ("--objective", "dpo"), after=first, lrs=LOW_LRS, second=BIG_BETA)
    return {**rows, "SFT on the aligned model's answers": Recipe(("--objective", "sft", "--rewrite"))}


C4 = Claim(
    rows=_noisy(), baseline="SFT, 20 %",
    contrasts=(*(Contrast(f"PoFT is better than SFT at {x}", f"PoFT, {x}", f"SFT, {x}")
                 for x in ("0 %", "20 %", "40 %")),
               Contrast("PoFT's gain over SFT is larger at 40 % than at 0 %", "PoFT, 40 %", "SFT, 40 %",
                        minus=("PoFT, 0 %", "SFT, 0 %")),
               Contrast("PoFT's gain over SFT is larger at 20 % than at 0 %", "PoFT, 20 %", "SFT, 20 %",
                        minus=("PoFT, 0 %", "SFT, 0 %")),
               *(Contrast(f"PoFT -> DPO is better than SFT -> DPO at {x}", f"PoFT -> DPO, {x}", f"SFT -> DPO, {x}")
                 for x in ("0 %", "20 %", "40 %")),
               Contrast("PoFT is better than SFT on the likeliest at 40 %", "PoFT, 40 %", "SFT on the likeliest, 40 %"),
               Contrast("PoFT is better than PoFT against the base at 40 %", "PoFT, 40 %",
                        "PoFT against the base, 40 %")),
    columns=(Column("endpoint"), Column("d", gap=True), Column("d strict", key="strict", gap=True),
             Column("skills", (SKILLS,)), Column("honesty", (HONESTY,)), Column("fact", (FACTS,))),
    mapped=("PoFT", "PoFT against the base"), look=judge.tau_map, picture=claim_pictures.gain_over_noise)

CLAIMS = {"C1": C1, "C2": C2, "C3": C3, "C4": C4}


@dataclass
class Claims:
    tune: bool = False              # choose the settings of every row on validation
    map: bool = False               # C1: the failure to stop over the learning rate; C4: the weights of wrong rows
    again: int = 0                  # train this many finished cells once more and compare
    seeds: int = 10                 # paired seeds a base
    tune_seeds: int | None = None   # validation seeds [C1: 4, others: 2]
    items: int = 100                # prompts a family
    bases: list[str] | None = None  # folders of the bases [base and out/base-1]
    workers: int = 2                # processes of one thread each
    out: str = RESULTS              # folder of cells and tables

    @property
    def folder(self) -> Path:
        return Path(self.out)

    def check(self, claim: Claim) -> None:
        config.in_range(self, "seeds", "tune_seeds", low=1, high=1_000)
        config.in_range(self, "items", low=1, high=10_000)
        config.in_range(self, "workers", low=1, high=64)
        config.in_range(self, "again")
        if self.tune + self.map + bool(self.again) > 1:
            raise UserError("--tune, --map and --again are three jobs; give one")
        whole = (self.tune_seeds >= claim.tune_seeds if self.tune else tuple(self.bases) == BASES[:1] if self.map
                 else self.seeds >= 10 and tuple(self.bases) == BASES)
        if self.folder.resolve() == Path(RESULTS).resolve() and not self.again and not (whole and self.items == 100):
            raise UserError(f"a shorter form would overwrite the evidence in {RESULTS}; give it --out out/trial")
        if BASES[1] in self.bases and not (Path(BASES[1]) / "model.safetensors").exists():
            raise UserError(f"{BASES[1]} is missing; make it with python -m nanouft.pretrain --seed 1 --out {BASES[1]}")


def main(argv=None) -> int:
    parser = config.Parser(prog="python -m nanouft.lab.claims", description=__doc__)
    parser.add_argument("claim", nargs="+", help=", ".join(CLAIMS))
    config.add_flags(parser, Claims, "options")
    values = vars(parser.parse_args(argv))
    if "C5" in values["claim"]:
        raise UserError("C5 is about the Frozen Lake: python -m frozen_lake --study")
    names = [config.choose("claim", n, CLAIMS) for n in values.pop("claim")]
    for name in names:
        cfg, _ = config.fill(Claims, values)
        claim = CLAIMS[name]
        cfg.bases = cfg.bases or (["base"] if cfg.tune or cfg.map else list(BASES))
        cfg.tune_seeds = claim.tune_seeds if cfg.tune_seeds is None else cfg.tune_seeds
        cfg.check(claim)
        if cfg.map and not claim.look:
            raise UserError(f"{name} has no map; {', '.join(n for n, c in CLAIMS.items() if c.look)} have one")
        job = judge.tune if cfg.tune else claim.look if cfg.map else judge.again if cfg.again else judge.study
        job(name, claim, cfg)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
