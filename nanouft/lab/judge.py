"""How a claim is judged: settings tuned with equal budgets, paired seeds on two bases, a verdict by rule.

    python -m nanouft.lab.claims C1 --tune; python -m nanouft.lab.claims C1   # claims.py holds the rows

The rule. Superiority holds if the 95 % t-interval of the paired differences over seeds lies above 0, fails if it lies
below, else it is undecided; non-inferiority asks the same of -2 points. Where two bases differ, undecided.
"""
import contextlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from nanouft import world
from nanouft.lab.cells import Cell, read_cells, refuse_smaller, repeat, run_cells, train_cell
from nanouft.look.stats import interval, percent, verdict
from nanouft.shell.config import UserError
from nanouft.shell.files import Lines, read_json, scratch, write_json, write_text

RESULTS = "docs/results"
TAUGHT = ("rules", "list", "sum", "sort", "reverse", "truth", "unknown")       # the families that are taught


# ---- rows -> cells ---------------------------------------------------------------------------------------------------
def cell(claim, name: str, settings: dict, seed: int, base: str, split: str, items: int) -> Cell:
    """The training run of a row with its chosen settings; its start has the same seed, hence the same prompts. "BASE"
    among the flags is the base that the run starts from."""
    recipe = claim.rows[name]
    start = cell(claim, recipe.after, settings, seed, base, split, items) if recipe.after else base
    flags = tuple(base if f == "BASE" else f for f in recipe.flags)
    return Cell((*flags, *settings[recipe.like or name]), seed, start, split, items)


def endpoint(cell: dict, parts: tuple = (TAUGHT,), key: str = "score") -> float:
    """Mean over the parts of the macro mean over each part's families; a run that diverged counts as nothing learnt
    (0), so that it cannot help its row."""
    if "failed" in cell:
        return 0.0
    return float(np.mean([np.mean([cell["families"][f][key] for f in part]) for part in parts]))


# ---- tuning ----------------------------------------------------------------------------------------------------------
def tune(name: str, claim, cfg) -> None:
    """Choose the settings of every row on validation and write <claim>-chosen.json. Rows that start from another row
    wait until that one is chosen; rows with `like` take the settings of the row they name."""
    file = cfg.folder / f"{name}-chosen.json"
    if file.exists():
        there = read_json(file)
        refuse_smaller(file, {"tune_seeds": len(there.get("seeds", [])), "items": there.get("items")},
                       {"tune_seeds": cfg.tune_seeds, "items": cfg.items})
    seeds, chosen = [1000 + s for s in range(cfg.tune_seeds)], {}
    rows = {n: r for n, r in claim.rows.items() if not r.like}
    tried: dict[str, dict] = {n: {} for n in rows}

    def look(settings: dict[str, list[tuple[str, ...]]]) -> None:
        """Run some settings of some rows, and keep the best of all that was tried in `chosen`."""
        def cells(n, s):
            return [cell(claim, n, {**chosen, n: s}, seed, cfg.bases[0], "val", cfg.items) for seed in seeds]
        done = run_cells([c for n, many in settings.items() for s in many for c in cells(n, s)],
                         cfg.folder / f"{name}-tuning.jsonl", cfg.workers)
        for n, many in settings.items():
            for s in many:
                tried[n][s] = float(np.mean([endpoint(done[c.key], claim.parts) for c in cells(n, s)]))
        chosen.update({n: max(tried[n], key=tried[n].get) for n in settings})

    for chains in (False, True):
        stage = {n: r for n, r in rows.items() if bool(r.after) == chains}
        look({n: [("--lr", lr) for lr in r.lrs] for n, r in stage.items()})
        look({n: [(*chosen[n], r.second[0], value) for value in r.second[1]] for n, r in stage.items()})
    write_json(file, {
        "split": "val", "seeds": seeds, "items": cfg.items, "base": cfg.bases[0], "chosen": chosen,
        "tried": {n: {" ".join(s): round(v, 4) for s, v in row.items()} for n, row in tried.items()}})
    for n, row in tried.items():
        figures = [f"{' '.join(s[1::2])} {100 * v:.1f}{'*' * (s == chosen[n])}" for s, v in row.items()]
        print(f"{n:<40}" + "  ".join(figures))


def chosen_settings(name: str, claim, folder: Path) -> dict[str, tuple[str, ...]]:
    """What tuning chose, from the folder of this run or else from the committed one."""
    files = [place / f"{name}-chosen.json" for place in (folder, Path(RESULTS))]
    file = next((f for f in files if f.exists()), None)
    if file is None:
        raise UserError(f"{files[0]} is missing; run --tune first, from the project's root")
    chosen = read_json(file)["chosen"]
    if new := [n for n, r in claim.rows.items() if (r.like or n) not in chosen]:
        raise UserError(f"{file}: {new[0]!r} has not been tuned yet; run --tune first")
    return {n: tuple(s) for n, s in chosen.items()}


# ---- the study -------------------------------------------------------------------------------------------------------
def study(name: str, claim, cfg) -> None:
    """All rows x seeds x bases on test; writes <claim>.md (tables), <claim>.json (contrasts and verdicts) and, where
    the claim has one, a picture."""
    if (file := cfg.folder / f"{name}.json").exists():
        there = read_json(file)
        bases = max((len(c.get("bases", [])) for c in there.get("contrasts", {}).values()), default=0)
        refuse_smaller(file, {"seeds": there.get("seeds"), "items": there.get("items"), "bases": bases},
                       {"seeds": cfg.seeds, "items": cfg.items, "bases": len(cfg.bases)})
    settings = chosen_settings(name, claim, cfg.folder)
    def cells(n, base):
        return [cell(claim, n, settings, s, base, "test", cfg.items) for s in range(cfg.seeds)]
    done = run_cells([Cell((), 0, b, "test", cfg.items) for b in cfg.bases]
                     + [c for b in cfg.bases for n in claim.rows for c in cells(n, b)],
                     cfg.folder / f"{name}.jsonl", cfg.workers)
    lines, found, every = [], {c.text: {} for c in claim.contrasts}, {}
    for base in cfg.bases:
        rows = every[base] = {n: [done[c.key] for c in cells(n, base)] for n in claim.rows}
        lines += table(claim, rows, done[Cell((), 0, base, "test", cfg.items).key], base, settings, cfg)
        for c in claim.contrasts:
            gap = difference(c, claim, rows)
            said = verdict(*gap, c.threshold)
            found[c.text][base] = {"mean": gap[0], "half": gap[1], "verdict": said}
            lines.append(f"{c.text}: {100 * gap[0]:+.1f} ± {100 * gap[1]:.1f} points: {said}.")
        lines.append("")
    summary = {"seeds": cfg.seeds, "items": cfg.items, "seconds": seconds(done), "contrasts": {
        text: {"bases": per_base, "verdict": agree([b["verdict"] for b in per_base.values()])}
        for text, per_base in found.items()}}
    where = "both bases" if len(cfg.bases) == 2 else ", ".join(cfg.bases)
    lines += [f"{name}, {where}: {text}: **{c['verdict']}**." for text, c in summary["contrasts"].items()]
    lines.append(f"A cell took {summary['seconds']['cell']:.0f} s of one core (median), all of them "
                 f"{summary['seconds']['total'] / 3600:.1f} core hours.")
    write_json(file, summary)
    write_text(cfg.folder / f"{name}.md", "\n".join(lines) + "\n")
    print("\n".join(lines))
    if claim.picture:
        claim.picture(every, claim, cfg.folder / f"{name}.png")


def table(claim, rows: dict[str, list[dict]], start: dict, base: str, settings: dict, cfg) -> list[str]:
    """Markdown: a line of each row with the claim's columns, the base itself above them."""
    lines = [f"### Base `{base}`: {cfg.seeds} paired seeds, {cfg.items} test prompts a family", "",
             f"Scores in percent, 95 % t-interval over seeds. d = minus *{claim.baseline}*, paired. {claim.about}", "",
             "| row | settings | " + " | ".join(c.title for c in claim.columns) + " |",
             "|---" * (2 + len(claim.columns)) + "|",
             "| base | | " + " | ".join("" if c.gap else f"{100 * endpoint(start, c.parts, c.key):.0f}"
                                        for c in claim.columns) + " |"]
    for n, cells in rows.items():
        figures = [percent([endpoint(x, c.parts, c.key) for x in cells]) if not c.gap else
                   "" if n == claim.baseline else
                   "{:+.1f} ± {:.1f}".format(*(100 * x for x in paired(cells, rows[claim.baseline], c.parts, c.key)))
                   for c in claim.columns]
        failed, told = sum("failed" in c for c in cells), settings[claim.rows[n].like or n]
        n += f" ({failed} diverged)" if failed else ""
        lines.append(f"| {n} | {' '.join(told[1::2])} | {' | '.join(figures)} |")
    return [*lines, ""]


def paired(row: list[dict], other: list[dict], parts: tuple = (TAUGHT,), key: str = "score") -> tuple[float, float]:
    """(mean, half width of the 95 % t-interval) of row - other, seed by seed."""
    return interval([endpoint(a, parts, key) - endpoint(b, parts, key) for a, b in zip(row, other, strict=True)])


def difference(contrast, claim, rows: dict[str, list[dict]]) -> tuple[float, float]:
    """(mean, half width) of a contrast: row - other, or, with `minus`, that gain less the gain of another couple."""
    parts = contrast.parts or claim.parts
    def gains(row, other):
        return [endpoint(a, parts) - endpoint(b, parts) for a, b in zip(rows[row], rows[other], strict=True)]
    gain = gains(contrast.row, contrast.other)
    return interval([x - y for x, y in zip(gain, gains(*contrast.minus))] if contrast.minus else gain)


def agree(verdicts: list[str]) -> str:
    return verdicts[0] if len(set(verdicts)) == 1 else "undecided"


def seconds(done: dict[str, dict]) -> dict[str, float]:
    """Median of a cell and the sum, in seconds of one core (other jobs beside them count too)."""
    each = [c["seconds"] for c in done.values() if "seconds" in c]
    return {"cell": float(np.median(each)), "total": float(np.sum(each))} if each else {"cell": 0.0, "total": 0.0}


# ---- the map and the check -------------------------------------------------------------------------------------------
def lr_map(name: str, claim, cfg) -> None:
    """Three validation seeds at each learning rate: answers of `list` that stop, their score, and the mean log-prob of
    the right answer's tokens after its own words and after the model's (probes.py)."""
    if not claim.mapped:
        raise UserError(f"{name} has no map")
    def at(n, lr):
        return [Cell((*claim.rows[n].flags, "--lr", lr), 1000 + s, cfg.bases[0], "val", cfg.items, probes=True)
                for s in range(3)]
    done = run_cells([c for n in claim.mapped for lr in claim.map_lrs for c in at(n, lr)],
                     cfg.folder / f"{name}-map.jsonl", cfg.workers)
    lines = []
    for title, read in (("`list` answers that stop, %", lambda c: 100 * c["families"]["list"]["ends"]),
                        ("endpoint, %", lambda c: 100 * endpoint(c, claim.parts)),
                        ("own-prefix gap, nats per token", lambda c: c["probes"]["own_prefix_gap"]),
                        ("right words after one forced slip, %", lambda c: 100 * c["probes"]["recovery_1"])):
        lines += [f"| {title} | " + " | ".join(claim.map_lrs) + " |", "|---" * (1 + len(claim.map_lrs)) + "|"]
        for n in claim.mapped:
            got = [[read(done[c.key]) for c in at(n, lr) if "families" in done[c.key]] for lr in claim.map_lrs]
            digits = 2 if "nats" in title else 0
            lines.append(f"| {n} | " + " | ".join(f"{np.mean(g):.{digits}f}" if g else "diverged" for g in got) + " |")
        lines.append("")
    write_text(cfg.folder / f"{name}-map.md", "\n".join(lines))
    print("\n".join(lines))


def tau_map(name: str, claim, cfg) -> None:
    """Does PoFT doubt the wrong rows? Three seeds at 20 and 40 % noise with the chosen settings: mean tau of right and
    wrong demonstrations before and after training, and the chance that a wrong one is doubted more than a right one."""
    settings, lines = chosen_settings(name, claim, cfg.folder), [
        "| row | tau before: right | wrong | found | tau after: right | wrong | found |", "|---" * 7 + "|"]
    for share in ("20 %", "40 %"):
        for row in claim.mapped:
            looks = [doubts(cell(claim, f"{row}, {share}", settings, seed, cfg.bases[0], "val", cfg.items))
                     for seed in range(3)]
            lines.append(f"| {row}, {share} | " + " | ".join(percent([x[k] for x in looks]) for k in looks[0]) + " |")
            print(lines[-1], flush=True)
    text = ["Three seeds, 95 % t-interval; tau in percent; found: the chance, in percent, that a wrong demonstration "
            "has a smaller tau than a right one.", "", *lines]
    write_text(cfg.folder / f"{name}-map.md", "\n".join(text) + "\n")


def doubts(c: Cell) -> dict[str, float]:
    """Train a cell that weighs its rows and compare the weights of right and wrong demonstrations."""
    with scratch("nanouft-cell-") as folder, contextlib.redirect_stdout(io.StringIO()):
        run = train_cell(replace(c, flags=(*c.flags, "--weigh-rows")), folder / "run", folder)
        rows = Lines(Path(run) / "row_weights.jsonl").read()
    wrong = np.array([world.score(r["prompt"], r["answer"]) < 1 for r in rows])
    out = {}
    for when in ("before", "after"):
        tau = np.array([r[when] for r in rows])
        gaps = tau[~wrong][:, None] - tau[wrong][None]
        out |= {f"{when} right": tau[~wrong].mean(), f"{when} wrong": tau[wrong].mean(),
                f"{when} found": np.mean((gaps > 0) + 0.5 * (gaps == 0))}
    return out


def again(name: str, claim, cfg) -> None:
    """Train some finished cells once more and compare every number. UserError if one differs."""
    settings, done = chosen_settings(name, claim, cfg.folder), read_cells(cfg.folder / f"{name}.jsonl")
    cells = [c for b in cfg.bases for s in range(cfg.seeds) for n in claim.rows
             if (c := cell(claim, n, settings, s, b, "test", cfg.items)).key in done]
    if not cells:
        raise UserError(f"{name}: no finished cell to run again; run the study first")
    different = 0
    for c in cells[::max(1, len(cells) // cfg.again)][:cfg.again]:
        _, said = repeat(c, done[c.key])
        different += said != "the same"
        print(f"{' '.join(c.flags)} --seed {c.seed}: {said}", flush=True)
    if different:
        raise UserError(f"{different} of {cfg.again} cells give other numbers here: another processor, another torch, "
                        "or other code (python -m nanouft.lab.again --record tells which)")
