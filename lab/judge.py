"""How a claim is judged: contrasts of finished cells, a verdict by rule, results.json and tables.

    python -m lab.claims --write        # claims.py holds the rows

The rule. An interval covers other seeds and other prompts (contrast.py). Superiority holds if the
whole 95 % interval of the difference lies above 0, does not hold if it lies below, else it is
undecided. Non-inferiority asks the same of -2 points. Equivalence holds if the interval lies within
-2 and +2, does not hold if it lies outside. Where the two bases differ, a claim is undecided.
Verdicts of a claim's preset contrasts are corrected for their number (Holm); the intervals that are
printed, and exploratory contrasts, are not. results.json also says which verdicts would stay if all
claims were one family, and how many searches ended at the border of what was tried.
"""
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from lab.cell import Cell
from lab.contrast import Parts, contrast, endpoint_score, holm
from lab.pictures import interval_picture
from lab.runner import results_of
from lab.search import VAL_SEED, Search
from lab.study import BASES, ITEMS, TEST, Plan, Study
from lab.words import (
    LIMITS,
    MARGIN,
    claim_verdict,
    common_verdict,
    format_gain,
    format_interval,
    markdown_table,
    read_template,
)
from nanouft.run.storage import read_json, write_json, write_text
from nanouft.world import FAMILIES

DIGITS = 6
LETTERS = 52                            # of a line of a label in a picture
ADVICE = "Run the same command without --write first"
Look = Callable[[str, int], tuple[float, float]]    # (base, looks) -> (mean, half width)


@dataclass(frozen=True)
class Contrast:
    """row - other on the endpoint, or on `parts`; with `minus`, less the same difference of that
    couple. test: superiority, non-inferiority or equivalence. Those that are not `preset` are
    exploratory."""
    text: str
    row: str
    other: str
    test: str = "superiority"
    parts: Parts | None = None
    minus: tuple[str, str] | None = None
    preset: bool = True


# ---- from finished cells -------------------------------------------------------------------------
def untrained(claim: Plan) -> dict[str, Cell]:
    """{base: the base as it is}, on the prompts of the claim."""
    return {base: Cell((), 0, base, TEST.split, ITEMS, claim.prompts, each=True)
            for base in claim.bases}


def cells_of(study: Study, name: str, done: dict[str, dict]) -> dict[str, dict[str, list[dict]]]:
    """{base: {row: its finished test cells}}."""
    return {base: {row: results_of(c, done, ADVICE) for row, c in rows.items()}
            for base, rows in study.test_cells(name).items()}


def judged(study: Study, name: str, done: dict[str, dict]) -> dict:
    """What results.json says about a claim. study: with the settings of the claim; done: finished
    cells by key."""
    claim, found = study.plan(name), cells_of(study, name, done)
    starts = {base: results_of([cell], done, ADVICE) for base, cell in untrained(claim).items()}
    return {
        "baseline": claim.baseline, "parts": claim.parts, "seeds": list(claim.seeds),
        "prompts": claim.prompts,
        "search": {base: {row: {"chosen": study.setting(name, row, base),
                                "edges": study.edges(name, row, base),
                                **searched(study.searches.get((name, row, base)), done)}
                          for row in claim.rows} for base in claim.tuned_on},
        "bases": {base: {"start": families(starts[base]),
                         "rows": {row: summary(claim, rows, row) for row in rows}}
                  for base, rows in found.items()},
        "contrasts": contrasts_of(claim, found)}


def searched(search: Search | None, done: dict[str, dict]) -> dict:
    """Of a search: the validation score of what was chosen, the borders where it lies (edges, and
    ends with nothing beyond), and the families' scores of every setting that was tried, with the
    first seed. A row that takes its settings from elsewhere has none."""
    if search is None:
        return {"score": None, "borders": [], "tried": {}}
    value = search.score(search.best(done), search.first + search.more, done)
    return {"score": round(value, DIGITS),
            "borders": list(dict.fromkeys(flag for flag, _ in search.at_border(done))),
            "tried": {" ".join(s): families([done[search.cell_at(s, VAL_SEED).key]])
                      for s in search.settings()}}


def families(cells: list[dict], key: str = "score") -> dict[str, float]:
    """{family: mean over cells}."""
    return {f: round(float(np.mean([0.0 if "failed" in c else c["families"][f][key]
                                    for c in cells])), DIGITS) for f in FAMILIES}


def summary(claim: Plan, rows: dict[str, list[dict]], row: str) -> dict:
    """A row on one base: [mean, half width] of the endpoint, of its difference to the baseline and
    of the columns; gflop: what all its stages computed, on average."""
    mine = rows[row]
    return {"flags": mine[0]["flags"], "keys": [c["key"] for c in mine],
            "failed": sum("failed" in c for c in mine),
            "score": rounded(contrast(mine, parts=claim.parts)),
            "gap": None if row == claim.baseline
            else rounded(contrast(mine, rows[claim.baseline], claim.parts)),
            "columns": {title: rounded(contrast(mine, parts=parts))
                        for title, parts in claim.columns.items()},
            "gflop": round(float(np.mean([c["spent"]["flops"] for c in mine if "spent" in c]
                                         or [0])) / 1e9),
            "families": families(mine), "lists that stop": families(mine, "ends")["list"]}


def contrasts_of(claim: Plan, found: dict[str, dict[str, list[dict]]]) -> list[dict]:
    """found: {base: {row: cells}}."""
    looks = [partial(difference, c, claim, found) for c in claim.contrasts]
    contrasts = [compared(c, look, found, row=c.row, other=c.other, minus=c.minus,
                          parts=c.parts or claim.parts)
                 for c, look in zip(claim.contrasts, looks)]
    correct(contrasts, looks)
    return contrasts


def difference(c: Contrast, claim: Plan, found: dict[str, dict[str, list[dict]]], base: str,
               looks: int = 1) -> tuple[float, float]:
    """(mean, half width). looks: the half width is for one of so many intervals that must all
    hold."""
    rows = found[base]
    minus = (rows[c.minus[0]], rows[c.minus[1]]) if c.minus else None
    return contrast(rows[c.row], rows[c.other], c.parts or claim.parts, minus, looks)


# ---- the rule ------------------------------------------------------------------------------------
def compared(c, look: Look, bases: Iterable[str], **about) -> dict:
    """What results.json says of a contrast (it has text, preset and test), and `about` it."""
    found = {}
    for base in bases:
        mean, half = rounded(look(base, 1))
        found[base] = {"mean": mean, "half": half, "verdict": claim_verdict(mean, half, c.test)}
    return {"text": c.text, "preset": c.preset, "test": c.test, **about, "bases": found,
            "verdict": common_verdict([b["verdict"] for b in found.values()])}


def correct(contrasts: list[dict], looks: list[Look]) -> None:
    """Verdicts of the preset contrasts, by Holm's rule for their number."""
    preset = [(new, look) for new, look in zip(contrasts, looks) if new["preset"]]
    for (new, _), verdicts in zip(preset, holm_verdicts(preset)):
        for base, verdict in verdicts.items():
            new["bases"][base]["verdict"] = verdict
        new["verdict"] = common_verdict([*verdicts.values()])


def holm_verdicts(family: list[tuple[dict, Look]]) -> list[dict[str, str]]:
    """{base: verdict} of each contrast of a family. Holm's correction on each base: how many half
    widths lie between a difference and the nearest limit of its test says how clear it is. The
    intervals that are printed stay those of 95 %."""
    out: list[dict[str, str]] = [{} for _ in family]
    for base in BASES:
        mine = {i: x for i, x in enumerate(family) if base in x[0]["bases"]}
        clear = {i: min(abs(new["bases"][base]["mean"] - limit) for limit in LIMITS[new["test"]])
                 / max(new["bases"][base]["half"], 1e-9) for i, (new, _) in mine.items()}

        def word(i: int, looks: int) -> str:
            new, look = mine[i]
            return claim_verdict(*rounded(look(base, looks)), new["test"])
        for i, (_, verdict) in holm(clear, word).items():
            out[i][base] = verdict
    return out


def as_one_family(study: Study, names: list[str], claims: dict[str, dict],
                  done: dict[str, dict]) -> dict:
    """Holm's rule over the preset contrasts of all claims together: how many are decided claim by
    claim, and which of these would be undecided."""
    family = []
    for name in names:
        plan, found = study.plan(name), cells_of(study, name, done)
        family += [(new, partial(difference, c, plan, found))
                   for new, c in zip(claims[name]["contrasts"], plan.contrasts) if c.preset]
    together = {new["text"]: verdicts for (new, _), verdicts in zip(family, holm_verdicts(family))}
    decided = [new["text"] for new, _ in family if new["verdict"] != "undecided"]
    fallen = [text for text in decided if common_verdict([*together[text].values()]) == "undecided"]
    return {"preset": len(family), "decided": len(decided), "undecided together": fallen,
            "verdicts": together}


def rounded(pair: tuple[float, float]) -> list[float]:
    return [round(x, DIGITS) for x in pair]


# ---- what is written -----------------------------------------------------------------------------
def write(folder: Path, new: dict[str, dict], together: dict | None = None) -> list[str]:
    """results.json (claims that are not among the new ones stay as they are), a table and pictures
    a claim; returns the names of the files. together: as_one_family [what the file says]."""
    file = folder / "results.json"
    old = read_json(file) if file.exists() else {"claims": {}}
    claims = dict(sorted({**old["claims"], **new}.items()))
    every = [c for claim in claims.values() for c in claim["contrasts"]]
    searches = [s for claim in claims.values() for rows in claim.get("search", {}).values()
                for s in rows.values() if s["tried"]]
    write_json(file, {"margin": MARGIN, "contrasts": len(every),
                      "preset": sum(c["preset"] for c in every),
                      "one family": together or old.get("one family"),
                      "searches": len(searches),
                      "at an edge": sum(bool(s["edges"]) for s in searches),
                      "at a border": sum(bool(s["borders"]) for s in searches),
                      "claims": claims})
    files = [file]
    for name, claim in new.items():
        write_text(folder / f"{name}.md", page(name, claim))
        files += [folder / f"{name}.md", picture(name, claim, folder / f"{name}.png")]
    return [str(f) for f in files]


def page(name: str, claim: dict) -> str:
    contrasts, bases = claim["contrasts"], list(claim["bases"])
    preset = sum(c["preset"] for c in contrasts)
    return read_template("claim.md")[0].format(
        name=name, seeds=len(claim["seeds"]), bases=len(bases), all=len(contrasts), preset=preset,
        exploratory=len(contrasts) - preset,
        contrasts=table_of(contrasts, bases),
        tables="\n\n".join("\n".join(rows_of(claim, base)) for base in bases))


def table_of(contrasts: Sequence[dict], bases: Iterable[str]) -> str:
    """Markdown: a line a contrast, with its verdicts."""
    titles = ["contrast", "", "test", *(f"`{b}`" for b in bases), "verdict"]
    lines = [[c["text"], "preset" if c["preset"] else "exploratory", c["test"],
              *(f"{format_gain(b['mean'], b['half'])}: {b['verdict']}"
                for b in c["bases"].values()),
              f"**{c['verdict']}**"] for c in contrasts]
    return "\n".join(markdown_table(titles, lines))


def picture(name: str, claim: dict, file: Path) -> Path:
    return interval_picture({name: bars_of(claim["contrasts"])}, file)


def bars_of(contrasts: Iterable[dict], letters: int = LETTERS) -> list[tuple]:
    """A line of a picture for each contrast: its label, its intervals, the limits of its test."""
    return [(textwrap.fill(f"{c['text']}{'' if c['preset'] else ' (exploratory)'}", letters)
             + f"\n{c['verdict']}",
             [(b["mean"], b["half"], b["verdict"]) for b in c["bases"].values()], LIMITS[c["test"]])
            for c in contrasts]


def rows_of(claim: dict, base: str) -> list[str]:
    """Markdown: a line of each row of a claim on one base, the base itself above them."""
    search = claim["search"].get(base) or next(iter(claim["search"].values()))
    start, rows = claim["bases"][base]["start"], claim["bases"][base]["rows"]
    columns = list(next(iter(rows.values()))["columns"])
    titles = ["row", "settings", "endpoint", f"minus {claim['baseline']}", *columns, *FAMILIES,
              "lists that stop", "GFLOP"]
    at_start = endpoint_score({"families": {f: {"score": s} for f, s in start.items()}},
                              claim["parts"])
    lines = [["the base itself", "", f"{100 * at_start:.1f}", "", *[""] * len(columns),
              *(f"{100 * start[f]:.0f}" for f in FAMILIES), "", ""]]
    for row, r in rows.items():
        settings = " ".join(f"{flag.removeprefix('--')} "
                            f"{value}{'*' * (flag in search[row]['edges'])}"
                            for flag, value in search[row]["chosen"].items())
        diverged = f" ({r['failed']} diverged)" if r["failed"] else ""
        gap = format_gain(*r["gap"]) if r["gap"] else ""
        lines.append([row + diverged, settings, format_interval(*r["score"]), gap,
                      *(format_interval(*r["columns"][c]) for c in columns),
                      *(f"{100 * r['families'][f]:.0f}" for f in FAMILIES),
                      f"{100 * r['lists that stop']:.0f}", f"{r['gflop']:,}"])
    return [f"## Base `{base}`", "", *markdown_table(titles, lines), "",
            "\\* at the edge of what was tried. GFLOP: of all stages, counted."]
