"""The figures of the papers, in miniature: docs/papers.md, one picture each.

    python -m lab.papers                    # trains what is missing, then the page; resumable
    python -m lab.papers --figure noise     # one figure
    python -m lab.papers --write            # pictures and page from finished cells

A figure is made of cells: new ones (docs/results/papers/cells.jsonl), or those of the claims and of
the comparison. Most figures are pictures, not claims: three seeds on the first base, settings of
the claims, nothing tuned. "Agrees" needs a 95 % interval on one side of 0; where each point is one
run, nothing is told. Only `noisy` has a verdict; its contrast was fixed before its cells.
Figures whose cells are not all there are left out of the page.
"""
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lab import papers_draw as draw
from lab.cell import Cell
from lab.cells import read_cells, run_cells
from lab.contrast import contrast, endpoint_score
from lab.own import Own
from lab.papers_draw import GAMMAS, LAMS, MIXES, SHARES
from lab.papers_strip import paradigm
from lab.study import BASES
from lab.words import claim_verdict, common_verdict, read_template
from nanouft.eval.stats import interval
from nanouft.objectives import OBJECTIVES
from nanouft.run import config
from nanouft.run.storage import read_json, write_json, write_text
from nanouft.run.words import choose
from nanouft.world import GROUP_A

RESULTS, PICTURES = Path("docs/results"), Path("docs/papers")
FILE = RESULTS / "papers" / "cells.jsonl"
SEEDS, PROMPTS = (500, 501, 502), 4     # of the pictures; the claims' own seeds and prompts
Done = dict[str, dict]
PARTS = {"skills": tuple(GROUP_A), "honesty": ("truth", "unknown"), "facts": ("fact",)}


def cell(flags: str, seed: int, start: Cell | str = "base", **more) -> Cell:
    """Of a picture: 60 prompts a family."""
    return Cell(tuple(flags.split()), seed, start, **{"items": 60, "prompts": PROMPTS, **more})


def score_of(cells: list[Cell], done: Done, parts=None) -> float:
    """Mean over cells; parts: families of one part."""
    return float(np.mean([endpoint_score(done[c.key], (parts,)) if parts
                          else endpoint_score(done[c.key]) for c in cells]))


def paired(cells: list[Cell], others: list[Cell], done: Done, parts=None) -> tuple[float, float]:
    """Mean difference seed by seed, and the half width of its 95 % t-interval."""
    return interval([score_of([a], done, parts) - score_of([b], done, parts)
                     for a, b in zip(cells, others)])


def claims() -> dict:
    return read_json(RESULTS / "claims" / "results.json")["claims"]


def comparison() -> dict:
    return read_json(RESULTS / "compare" / "results.json")["rows"]


# ---- IFT: lambda and gamma -----------------------------------------------------------------------
FORMS = {"as released": "released", "(detached weights)": "released --detach"}
PAPERS = ("0.2", "0.95")                # the paper's lambda and gamma


def grid_cell(form: str, lam: str, gamma: str, seed: int) -> Cell:
    """lam rises from 0 over the warm-up, as an option of the release does. Without propagation all
    weights are 1, and both forms are one."""
    ramp = "" if lam == "0" else " --lam-min 0"
    variant = FORMS["as released" if gamma == "0" else form]
    return cell(f"--objective ift --variant {variant} --lam {lam} --gamma {gamma}{ramp} --rows 300 "
                "--epochs 3 --batch-size 16 --lr 2.5e-4", seed)


def grid_numbers(done: Done, seeds: list[int]) -> dict:
    """scores: of each place; minus SFT: the paper's setting minus no blend and no propagation."""
    scores = {form: [[score_of([grid_cell(form, lam, gamma, s) for s in seeds], done)
                      for gamma in GAMMAS] for lam in LAMS] for form in FORMS}
    minus = {form: paired([grid_cell(form, *PAPERS, s) for s in seeds],
                          [grid_cell(form, "0", "0", s) for s in seeds], done) for form in FORMS}
    return {"scores": scores, "minus SFT": minus}


# ---- IFT: noisy lambda; the one claim of this page --------------------------------------
# IFT's row of C1 at its own settings; what is new is --lam-noise .5. One preset contrast.
RELEASED, TUNED = "IFT as released", "--lr 6.3e-5 --batch-size 16"
NOISY_SEEDS = range(500, 505)


def noisy_cell(seed: int, base: str) -> Cell:
    return cell(f"--objective ift --variant released --lam-noise 0.5 {TUNED}", seed, base,
                items=100, each=True)


def noisy_numbers(done: Done, _: list[int]) -> dict:
    old, bases = read_cells(RESULTS / "claims" / "cells.jsonl"), {}
    for base in BASES:
        plain = [old[key] for key in claims()["C1"]["bases"][base]["rows"][RELEASED]["keys"]]
        noisy = [done[noisy_cell(seed, base).key] for seed in NOISY_SEEDS]
        assert TUNED in plain[0]["flags"] and plain[0]["prompts"] == PROMPTS
        mean, half = contrast(noisy, plain)
        bases[base] = {"mean": round(mean, 6), "half": round(half, 6),
                       "verdict": claim_verdict(mean, half, "superiority")}
    return {"bases": bases, "verdict": common_verdict([b["verdict"] for b in bases.values()])}


# ---- cost; online UNA against PPO ----------------------------------------------------------------
COSTS = {"SFT": "sft", "IFT": "ift", "ORPO": "orpo", "SFT -> DPO": "sft->dpo"}
ONLINE = {"SFT": "sft", "PPO": "sft->ppo", "online UNA": "sft->online_una"}
COLLAPSED = 0.05                        # below its own start by so much
MORE_SEEDS = range(5, 10)               # beside the five of the comparison


def cost_numbers(_: Done, __: list[int]) -> dict:
    rows = comparison()
    return {name: rows[key]["cost"]["relative"] for name, key in COSTS.items()}


def online_cell(name: str, seed: int) -> Cell:
    """The comparison's recipe at its default settings, and its test prompts."""
    start, scored = Cell(("--objective", "sft"), seed), {"items": 100, "prompts": 0}
    if name == "SFT":
        return replace(start, **scored)
    return cell(comparison()[ONLINE[name]]["flags"], seed, start, **scored)


def online_numbers(done: Done, seeds: list[int]) -> dict:
    """of each method: scores of ten seeds, the cost, how many runs fell below their own start; and
    online UNA minus PPO."""
    rows, scores, out = comparison(), {}, {}
    for name, key in ONLINE.items():
        old = rows[key]["scores"]
        scores[name] = [old[s] for s in sorted(old)] + [done[online_cell(name, s).key]["mean"]
                                                        for s in seeds]
    for name, key in ONLINE.items():
        fell = [start - score for score, start in zip(scores[name], scores["SFT"])]
        out[name] = {"scores": scores[name], "score": interval(scores[name]),
                     "cost": rows[key]["cost"]["relative"],
                     "models": 1 if name == "SFT" else 2,
                     "value head": OBJECTIVES[key.split(">")[-1]].value_head,
                     "collapsed": sum(x > COLLAPSED for x in fell)}
    gaps = [una - ppo for una, ppo in zip(scores["online UNA"], scores["PPO"])]
    return {"methods": out, "una minus ppo": interval(gaps)}


# ---- UNA: MSE against BCE ------------------------------------------------------------------------
BETAS = ("0.3", "1", "3", "9")


def first(seed: int) -> Cell:
    return cell("--objective sft --rows 30 --batch-size 16 --lr 1.25e-4 --epochs 6", seed)


def loss_cell(form: str, beta: str, seed: int) -> Cell:
    flags = (f"--objective una --feedback binary --data {{own}}/labels.jsonl --loss {form} "
             f"--beta {beta} --lr 3e-5 --epochs 4 --batch-size 16")
    return cell(flags, seed, start=first(seed), own=Own(first(seed), 125, seed))


def loss_numbers(done: Done, seeds: list[int]) -> dict:
    """scores: of each loss and beta; mse minus bce: each at its best beta."""
    scores = {form: {beta: interval([score_of([loss_cell(form, beta, s)], done) for s in seeds])
                     for beta in BETAS} for form in ("mse", "bce")}
    mse, bce = ([loss_cell(form, max(of, key=lambda beta: of[beta][0]), s) for s in seeds]
                for form, of in scores.items())
    return {"scores": scores, "mse minus bce": paired(mse, bce, done)}


# ---- UFT: the ratio of demonstrations to scored answers; learning rate x beta --------------------
def ratio_cell(mix: str, seed: int) -> Cell:
    return cell(f"--objective uft --skills A:B --rows 600 --mix {mix} --lr 2.5e-4 --beta 1", seed)


def ratio_numbers(done: Done, seeds: list[int]) -> dict:
    """scores: of each part and ratio; rise: most scored answers minus most demonstrations."""
    most = [[ratio_cell(mix, s) for s in seeds] for mix in (MIXES[-1], MIXES[0])]
    return {"scores": {part: [interval([score_of([ratio_cell(mix, s)], done, families)
                                        for s in seeds]) for mix in MIXES]
                       for part, families in PARTS.items()},
            "rise": {part: paired(*most, done, families) for part, families in PARTS.items()}}


def settings_numbers(_: Done, __: list[int]) -> dict:
    """C3's search of UFT (validation, one seed): {"lr beta": mean of skills, honesty, facts}."""
    tried = claims()["C3"]["search"]["base"]["UFT (A + B)"]["tried"]
    found = {name: {part: float(np.mean([x[f] for f in families]))
                    for part, families in PARTS.items()} for name, x in tried.items()}
    rates, betas = ({n.split()[i]: None for n in found} for i in (0, 1))
    rates, betas = (sorted(x, key=float) for x in (rates, betas))
    return {"rates": rates, "betas": betas, **{
        part: [[found[f"{r} {b}"][part] for b in betas] for r in rates] for part in PARTS}}


# ---- PoFT: noise, passes, aligned models ---------------------------------------------------------
SFT_TUNED, POFT_TUNED = "--lr 1.25e-4", "--lr 2.5e-4"   # C4's, at 40 %


def noise_cell(row: str, share: str, seed: int) -> Cell:
    """Equal updates: fewer rows are seen more often."""
    objective = "poft" if "PoFT" in row else "sft"
    kept = 1 - float(share) if "filter" in row else 1.0
    keep = f" --keep {kept:g}" if kept < 1 else ""
    rate = POFT_TUNED if objective == "poft" else SFT_TUNED
    return cell(f"--objective {objective} --rows 510 --noise {share}{keep} {rate} "
                f"--epochs {3 / kept:.4g}", seed)


NOISE_ROWS = ("SFT", "PoFT", "SFT, filter", "PoFT, filter")


def noise_numbers(done: Done, seeds: list[int]) -> dict:
    """scores: of each row and share; growth: of PoFT's gain over SFT from 0 to 40 %."""
    scores = {row: [interval([score_of([noise_cell(row, share, s)], done) for s in seeds])
                    for share in SHARES] for row in NOISE_ROWS}

    def gain(share: str, seed: int) -> float:
        poft, sft = (score_of([noise_cell(row, share, seed)], done) for row in ("PoFT", "SFT"))
        return poft - sft
    return {"scores": scores, "growth": interval([gain("0.4", s) - gain("0", s) for s in seeds])}


def passes_numbers(_: Done, __: list[int]) -> dict:
    """C4's searches (validation, one seed), at the learning rate that each row chose."""
    search, out = claims()["C4"]["search"]["base"], {}
    for row in ("SFT, 40 %", "PoFT, 40 %"):
        tried, rate = search[row]["tried"], search[row]["chosen"]["--lr"]
        found = {n.split()[1]: float(np.mean(list(x.values())))
                 for n, x in tried.items() if n.split()[0] == rate}
        out[row] = {n: found[n] for n in sorted(found, key=float)}
    return out


def aligned_numbers(_: Done, __: list[int]) -> dict:
    """C4, test, first base: families of SFT, and PoFT's gain with a strong and a weak model."""
    rows = claims()["C4"]["bases"]["base"]["rows"]
    sft, old = rows["SFT, 40 %"]["families"], read_cells(RESULTS / "claims" / "cells.jsonl")
    names = {"strong": "PoFT, 40 %", "weak": "PoFT, weak aligned model, 40 %"}
    strong, weak = ([old[key] for key in rows[row]["keys"]] for row in names.values())
    gains = {name: {f: rows[row]["families"][f] - sft[f] for f in sft}
             | {"mean": rows[row]["score"][0] - rows["SFT, 40 %"]["score"][0]}
             for name, row in names.items()}
    return {"gains": gains, "strong minus weak": contrast(strong, weak)}


# ---- does it agree with the paper? A rule for each figure that can be asked ----------------------
AGREES, NOT, OPEN = "agrees", "does not agree", "cannot be told"


def told(mean: float, half: float) -> str:
    """Of a difference that the paper has above 0, with its 95 % interval."""
    return {"holds": AGREES, "does not hold": NOT}.get(claim_verdict(mean, half, "superiority"),
                                                       OPEN)


def says_grid(n: dict) -> str:
    """The paper's setting (.2, .95) above no blend and no weights, IFT as released."""
    return told(*n["minus SFT"]["as released"])


def says_noisy(n: dict) -> str:
    return {"holds": AGREES, "does not hold": NOT}.get(n["verdict"], OPEN)


def says_cost(n: dict) -> str:
    return AGREES if n["IFT"] < n["ORPO"] < n["SFT -> DPO"] else NOT


def says_online(n: dict) -> str:
    """Cheaper than PPO by a tenth at least."""
    return AGREES if n["methods"]["online UNA"]["cost"] < 0.9 * n["methods"]["PPO"]["cost"] else NOT


def says_loss(n: dict) -> str:
    """The paper's tables have both alike: here at their best beta, within two points."""
    verdict = claim_verdict(*n["mse minus bce"], "equivalence")
    return {"holds": AGREES, "does not hold": NOT}.get(verdict, OPEN)


def says_ratio(n: dict) -> str:
    """The smaller the share of demonstrations, the more honesty (the paper's TruthfulQA)."""
    return told(*n["rise"]["honesty"])


def says_noise(n: dict) -> str:
    """PoFT's gain at 40 % above its gain without wrong rows."""
    return told(*n["growth"])


def says_aligned(n: dict) -> str:
    return told(*n["strong minus weak"])


def says_nothing(n: dict) -> str:
    """One run a point, of a search on validation."""
    return OPEN


# ---- the figures ---------------------------------------------------------------------------------
@dataclass(frozen=True)
class Figure:
    picture: Callable[[dict, Path], Path]       # (its numbers, file) -> the file
    numbers: Callable[[Done, list[int]], dict] = lambda done, seeds: {}
    cells: Callable[[int], list[Cell]] = lambda seed: []        # its own cells of a seed
    seeds: Sequence[int] = SEEDS
    least: int = 1                      # so many seeds must be whole
    says: Callable[[dict], str] = lambda numbers: ""        # AGREES, NOT or OPEN, by a rule

    def whole(self, done: Done) -> list[int]:
        """The seeds of which every cell is there."""
        return [s for s in self.seeds if all(c.key in done for c in self.cells(s))]


FIGURES = {
    "paradigm": Figure(lambda numbers, file: paradigm(file)),
    "grid": Figure(draw.grid, grid_numbers,
                   lambda s: [grid_cell(form, lam, gamma, s) for form in FORMS
                              for lam in LAMS for gamma in GAMMAS],
                   says=says_grid),
    "noisy": Figure(draw.noisy, noisy_numbers,
                    lambda s: [noisy_cell(s, base) for base in BASES], NOISY_SEEDS,
                    len(NOISY_SEEDS), says=says_noisy),
    "cost": Figure(draw.cost, cost_numbers, says=says_cost),
    "online": Figure(draw.online, online_numbers,
                     lambda s: [online_cell(name, s) for name in ONLINE], MORE_SEEDS,
                     len(MORE_SEEDS), says=says_online),
    "loss": Figure(draw.loss, loss_numbers,
                   lambda s: [loss_cell(form, beta, s) for form in ("mse", "bce")
                              for beta in BETAS], says=says_loss),
    "ratio": Figure(draw.ratio, ratio_numbers, lambda s: [ratio_cell(mix, s) for mix in MIXES],
                    says=says_ratio),
    "settings": Figure(draw.settings, settings_numbers, says=says_nothing),
    "noise": Figure(draw.noise, noise_numbers,
                    lambda s: [noise_cell(row, share, s) for share in SHARES
                               for row in NOISE_ROWS], says=says_noise),
    "passes": Figure(draw.passes, passes_numbers, says=says_nothing),
    "aligned": Figure(draw.aligned, aligned_numbers, says=says_aligned),
}


def numbers_of(names: list[str], done: Done) -> dict:
    """papers.json: {figure: {"seeds": how many, "says": agrees?, "numbers": ...}}, of the figures
    of which enough cells are there."""
    out = {}
    for name in names:
        seeds = FIGURES[name].whole(done)
        if len(seeds) >= FIGURES[name].least:
            numbers = FIGURES[name].numbers(done, seeds)
            out[name] = {"seeds": len(seeds), "says": FIGURES[name].says(numbers),
                         "numbers": numbers}
    return out


def page(data: dict) -> str:
    """docs/papers.md: the head, then the section of each figure that is there. A section of
    lab/pages/papers.md begins with the name of its figure."""
    head, *sections = read_template("papers.md")
    runs = {c.key for f in FIGURES.values() for s in f.seeds for c in f.cells(s)}
    out = [head.strip().format(runs=len(runs))]
    for text in sections:
        name, _, body = text.strip().partition("\n")
        if name in data:
            out.append(body.strip().format(n=draw.rounded(data[name]["numbers"]),
                                           says=data[name]["says"], seeds=data[name]["seeds"]))
    return "\n\n".join(out) + "\n"


@dataclass
class Papers:
    figure: str = ""                # only this one
    write: bool = False             # from finished cells; no training
    workers: int = 1                # processes of one thread each


def main(argv=None) -> int:
    cfg, _ = config.parse(Papers, argv, "python -m lab.papers", __doc__)
    names = [choose("figure", cfg.figure, FIGURES)] if cfg.figure else list(FIGURES)
    wanted = [c for n in names for s in FIGURES[n].seeds for c in FIGURES[n].cells(s)]
    if wanted and not cfg.write:
        run_cells(wanted, FILE, cfg.workers)
    data = numbers_of(list(FIGURES), read_cells(FILE))
    FILE.parent.mkdir(parents=True, exist_ok=True)
    write_json(FILE.with_name("papers.json"), data)
    for name in names:
        if name in data:
            print(FIGURES[name].picture(data[name]["numbers"], PICTURES / f"{name}.png"))
    write_text(Path("docs/papers.md"), page(data))
    print("docs/papers.md")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
