"""The papers' claims: rows, contrasts and margins, fixed before looking; settings, test cells, verdicts.

    python -m lab.claims                # tunes, trains and scores what is missing: hours, see docs/claims.md
    python -m lab.claims C1 C3          # only these claims
    python -m lab.claims --write        # results.json, tables and pictures from finished cells; trains nothing

All is resumable: a finished cell is a line of docs/results/claims/cells.jsonl. Settings are chosen on validation with
seeds of its own (search.py): two of them jointly for every row, on a grid that grows where its best lies at an edge;
one seed a setting, four for the best three. Rows of C3 choose on each of two bases, other rows on the first. Then five
paired test seeds on both bases, 100 prompts a family. judge.py makes the verdicts, by one rule.

C1 (arXiv:2405.11870): IFT beats SFT on the same demonstrations, and is not inferior to SFT -> DPO.
C1b (the same paper's second setting): after SFT, gently, IFT is better than going on with SFT (second_stage.py).
C2 (arXiv:2410.21438): UFT on demonstrations alone beats SFT (the paper's claim); it is not inferior (a weaker one).
C3 (arXiv:2410.21438): UFT on demonstrations of skills (A) and scores of honesty (B) keeps what SFT(A), then DPO, KTO
    or UNA on B, loses. Tuned, and compared as a whole, by the mean of three parts: A, B, and facts.
C4 (arXiv:2412.12865): PoFT's gain over SFT grows with the share of wrong demonstrations; PoFT -> DPO beats SFT -> DPO.
C6 (arXiv:2408.15339): UNA reads scores better than others read pairs and labels of the same answers (una_claim.py).
docs/claims.md says why these rows and controls, and what came out. C5 is python -m lab.lake_study.
"""
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import judge
from lab.cell import Cell
from lab.cells import read_cells, run_cells
from lab.contrast import Parts, endpoint_score
from lab.judge import Claim, Contrast, Row
from lab.own import APART, Own
from lab.regimes import ITEMS, SECOND, TEST, VAL, Look, as_start, setting_flags
from lab.search import Search, run_searches
from lab.second_stage import C1B
from lab.store import results_of
from lab.una_claim import C6
from nanouft.shell import config
from nanouft.shell.errors import UserError, in_range
from nanouft.shell.text import choose

FOLDER = Path("docs/results/claims")
BASES = ("base", SECOND)
SKILLS, HONESTY, FACTS = ("rules", "list", "sum", "sort", "reverse"), ("truth", "unknown"), ("fact",)
THREE: Parts = (SKILLS, HONESTY, FACTS)
WEAK = Cell(("--objective", "sft", "--noise", "0.4"), seed=900)     # an aligned model that is no oracle: 40 % wrong


# ---- the rows --------------------------------------------------------------------------------------------------------
BIG, SMALL = ("1.25e-4", "2.5e-4", "5e-4", "1e-3"), ("3e-6", "1e-5", "3e-5", "1e-4")       # from the base; after SFT
BATCHES: dict = {"--lr": BIG, "--batch-size": ("16", "32")}
LEASH: dict = {"--lr": SMALL, "--beta": ("0.3", "1", "3")}
PASSES: dict = {"--lr": BIG, "--epochs": ("1", "3", "6")}
ENDS = ("8", "64")                      # smaller and larger batches are not tried
SFT_ROW, CHAIN, IFT = "SFT, sequence mean", "SFT -> DPO", "--objective ift --variant released"
IFT_ROW, DETACHED, MIXING = "IFT released", "IFT released, detached", "IFT mixing only (gamma 0)"

C1 = Claim(
    rows={
        SFT_ROW: Row("--objective sft --reduction sequence", BATCHES),
        IFT_ROW: Row(IFT, BATCHES),
        DETACHED: Row(f"{IFT} --detach", BATCHES),
        MIXING: Row(f"{IFT} --gamma 0", BATCHES),
        CHAIN: Row("--objective dpo", LEASH, after=SFT_ROW),
    },
    baseline=SFT_ROW, tuned_on=BASES[:1],
    contrasts=(
        Contrast("IFT is better than SFT", IFT_ROW, SFT_ROW),
        Contrast("IFT is not inferior to SFT -> DPO", IFT_ROW, CHAIN, "non-inferiority"),
        Contrast("IFT with detached weights is equivalent to SFT", DETACHED, SFT_ROW, "equivalence"),
        Contrast("IFT's mixing alone is equivalent to SFT", MIXING, SFT_ROW, "equivalence"),
        *(Contrast(f"{what}: {row} is better than SFT", row, SFT_ROW, parts=((family,),), preset=False)
          for what, family in (("Facts", "fact"), ("Truth", "truth")) for row in (IFT_ROW, DETACHED, MIXING))))

TOKENS, NO_FEEDBACK = "SFT, token mean", "--objective uft --feedback none --beta"
UFT_01, UFT_1 = "UFT, beta .01 (the authors')", "UFT, beta .1"
C2 = Claim(
    rows={TOKENS: Row("--objective sft", BATCHES),
          UFT_01: Row(f"{NO_FEEDBACK} 0.01", BATCHES), UFT_1: Row(f"{NO_FEEDBACK} 0.1", BATCHES)},
    baseline=TOKENS, tuned_on=BASES[:1],
    contrasts=tuple(Contrast(f"{row} is {phrase} SFT", row, TOKENS, test) for row in (UFT_01, UFT_1)
                    for phrase, test in (("better than", "superiority"), ("not inferior to", "non-inferiority"))))

SFT_A, UFT_AB, UNION = "SFT (A)", "UFT (A + B)", "SFT (A + good answers of B)"
CHAINS = {n: f"SFT (A) -> {n.upper()} (B)" for n in ("dpo", "kto", "una")}
B = {"dpo": 305, "kto": 610, "una": 610}        # a pair is two answers: 610 answers each, half of them right
C3 = Claim(
    rows={
        SFT_A: Row("--objective sft --skills A --rows 570", BATCHES),
        **{row: Row(f"--objective {n} --skills B --rows {B[n]}", LEASH, after=SFT_A) for n, row in CHAINS.items()},
        UFT_AB: Row("--objective uft --skills A:B --rows 1180 --mix 57:61", {**LEASH, "--lr": BIG}),
        UNION: Row("--objective sft --skills A,B --rows 875", BATCHES),     # A's 570, and B's right ones among 610
    },
    baseline=SFT_A, parts=THREE, tuned_on=BASES,
    contrasts=(
        *(Contrast(f"Skills: UFT keeps more than {row}", UFT_AB, row, parts=(SKILLS,)) for row in CHAINS.values()),
        *(Contrast(f"Three parts: UFT is better than {row}", UFT_AB, row) for row in CHAINS.values()),
        Contrast(f"Three parts: UFT is better than {UNION}", UFT_AB, UNION),
        *(Contrast(f"Skills: {row} loses some of SFT (A)'s", SFT_A, row, parts=(SKILLS,)) for row in CHAINS.values())),
    columns={"skills (A)": (SKILLS,), "honesty (B)": (HONESTY,), "facts": (FACTS,)})

POFT, WEAK_POFT, LIKELIEST = "PoFT", "PoFT, weak aligned model", "SFT on the likeliest, 40 %"


def noisy(share: str, noise: str) -> dict[str, Row]:
    """The rows of C4 at one share of wrong demonstrations."""
    return {f"{name}, {share}": Row(f"--objective {name.lower()} --noise {noise}", PASSES) for name in ("SFT", POFT)}


C4 = Claim(
    rows={
        **noisy("0 %", "0"), **noisy("40 %", "0.4"),
        f"{WEAK_POFT}, 40 %": Row("--objective poft --aligned {aligned} --noise 0.4", PASSES, aligned=WEAK),
        **{f"{n} -> DPO, 40 %": Row("--objective dpo", LEASH, after=f"{n}, 40 %") for n in ("SFT", POFT)},
        LIKELIEST: Row("--objective sft --noise 0.4 --keep 0.6",            # fewer rows, more passes: equal updates
                       {"--lr": BIG, "--epochs": ("1.667", "5", "10")}),
    },
    baseline="SFT, 40 %", tuned_on=BASES[:1],
    contrasts=(
        Contrast("PoFT's gain over SFT is larger at 40 % than at 0 %", "PoFT, 40 %", "SFT, 40 %",
                 minus=("PoFT, 0 %", "SFT, 0 %")),
        Contrast("PoFT -> DPO is better than SFT -> DPO at 40 %", "PoFT -> DPO, 40 %", "SFT -> DPO, 40 %"),
        Contrast("PoFT is better than SFT on the likeliest at 40 %", "PoFT, 40 %", LIKELIEST),
        Contrast("PoFT with a weak aligned model is better than SFT at 40 %", f"{WEAK_POFT}, 40 %", "SFT, 40 %"),
        Contrast("PoFT is better than SFT at 40 %", "PoFT, 40 %", "SFT, 40 %", preset=False),
        Contrast("PoFT is better than SFT at 0 %", "PoFT, 0 %", "SFT, 0 %", preset=False)))

CLAIMS = {"C1": C1, "C1b": C1B, "C2": C2, "C3": C3, "C4": C4, "C6": C6}


# ---- cells and settings ----------------------------------------------------------------------------------------------
Settings = dict[str, dict[str, str]]            # {row: {flag: value}}


def cell(claim: Claim, name: str, settings: Settings, seed: int, base: str, look: Look = TEST) -> Cell:
    """The training run of a row; the row that it starts from has the same seed."""
    row = claim.rows[name]
    start = as_start(cell(claim, row.after, settings, seed, base)) if row.after else base
    own = Own(start, row.answers, seed, good=row.good) if row.answers else None
    return Cell((*row.flags.split(), *setting_flags(settings[name])), seed + APART * row.apart, start, look.split,
                look.items, claim.prompts if look is TEST else 0, own=own, aligned=row.aligned, each=look.each)


def search(claim: Claim, name: str, base: str, settings: Settings) -> Search:
    """How the settings of a row are chosen; `settings` has those of the row that it starts from."""
    axes = {flag: list(values) for flag, values in claim.rows[name].axes.items()}

    def cell_at(setting: tuple, seed: int) -> Cell:
        return cell(claim, name, {**settings, name: dict(zip(axes, setting))}, seed, base, VAL)
    return Search(cell_at, axes, ends=ENDS, measure=lambda c: endpoint_score(c, claim.parts), **claim.effort)


def tuned(names: list[str], run: Callable) -> tuple[dict[tuple[str, str], Settings], dict[tuple, Search]]:
    """({(claim, base): settings of its rows}, {(claim, base, row): its search}). All searches run side by side, those
    of rows that start from another row after the others."""
    chosen: dict[tuple[str, str], Settings] = {
        (n, base): {name: {} for name, row in CLAIMS[n].rows.items() if not row.axes}
        for n in names for base in CLAIMS[n].tuned_on}
    searches: dict[tuple, Search] = {}
    for chains in (False, True):
        now = {(n, base, name): search(CLAIMS[n], name, base, settings) for (n, base), settings in chosen.items()
               for name, row in CLAIMS[n].rows.items() if row.axes and bool(row.after) == chains}
        for (n, base, name), setting in run_searches(now, run).items():
            chosen[n, base][name] = setting
        searches |= now
    for (n, _), settings in chosen.items():
        for name, row in CLAIMS[n].rows.items():
            if row.like:
                settings[name] = like(row, settings)
    return chosen, searches


def like(row: Row, settings: Settings) -> dict[str, str]:
    """The settings of another row, with a part of its learning rate."""
    other = settings[row.like]
    return other | {"--lr": f"{row.scale * float(other['--lr']):.1e}"}


def test_cells(name: str, chosen: dict[tuple[str, str], Settings]) -> dict[str, dict[str, list[Cell]]]:
    """{base: {row: its cells, one a seed}}. A base without a search of its own takes the settings of the first."""
    claim = CLAIMS[name]
    return {base: {row: [cell(claim, row, chosen.get((name, base), chosen[name, BASES[0]]), seed, base)
                         for seed in claim.seeds] for row in claim.rows} for base in BASES}


def untrained(name: str) -> dict[str, Cell]:
    """{base: the base as it is}, on the prompts of the claim."""
    return {base: Cell((), 0, base, TEST.split, ITEMS, CLAIMS[name].prompts, each=True) for base in BASES}


def judged(name: str, done: dict[str, dict]) -> dict:
    """judge.judged from finished cells; UserError where one is missing."""
    def look_up(cells: list[Cell]) -> dict[str, dict]:
        results_of(cells, done, judge.ADVICE)
        return done
    chosen, searches = tuned([name], look_up)
    mine = {(base, row): s for (_, base, row), s in searches.items()}
    settings = {base: chosen[name, base] for base in CLAIMS[name].tuned_on}
    return judge.judged(CLAIMS[name], settings, mine, test_cells(name, chosen), untrained(name), done)


@dataclass
class Claims:
    write: bool = False             # results.json, tables and pictures from finished cells; trains nothing
    workers: int = 2                # processes of one thread each
    out: str = str(FOLDER)          # folder of cells, tables and pictures


def main(argv=None) -> int:
    parser = config.Parser(prog="python -m lab.claims", description=__doc__)
    parser.add_argument("claim", nargs="*", help=f"{', '.join(CLAIMS)} [all]")
    config.add_flags(parser, Claims, "options")
    values = vars(parser.parse_args(argv))
    if "C5" in values["claim"]:
        raise UserError("C5 is about the Frozen Lake: python -m lab.lake_study")
    names = [choose("claim", n, CLAIMS) for n in values.pop("claim")] or list(CLAIMS)
    cfg, _ = config.fill(Claims, values)
    in_range(cfg, "workers", low=1, high=64)
    file = Path(cfg.out) / "cells.jsonl"
    if cfg.write:
        done = read_cells(file)
        print(*judge.write(Path(cfg.out), {name: judged(name, done) for name in names}), sep="\n")
        return 0
    chosen, _ = tuned(names, lambda cells: run_cells(cells, file, cfg.workers))
    run_cells([c for n in names for c in untrained(n).values()]
              + [c for n in names for rows in test_cells(n, chosen).values() for cells in rows.values() for c in cells],
              file, cfg.workers)
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
