"""The comparison as one self-contained page: results.json and the map in, index.html out.

    python -m lab.compare                       # writes it: out/compare/index.html, opens by double click
    python -m lab.page                          # the committed page again from its results.json, in a second
    python -m lab.page --out out/compare        # another folder's

On top is the chooser (which method, with my data?), if docs/results/map/map.json is there; below it the table, plain
HTML and complete without JavaScript. assets/: table.js sorts, draw.js draws SVG text, choose.js finds a regime,
chooser.js and page.js connect buttons with all that, page.css is the look. All of it goes
into one file that asks for nothing else. Every number of the table is written in one place: table.Measure.write.
"""
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from lab import chooser
from lab.table import GROUPS, MEASURES
from nanouft.shell import config, pages
from nanouft.shell.errors import UserError
from nanouft.shell.pages import html as escape
from nanouft.shell.text import read_json, visible

ASSETS, PACKAGE = Path(__file__).parent / "assets", Path(__file__).parents[1]
PARTS = ("page.css", "chooser.css", "table.js", "draw.js", "choose.js", "chooser.js", "page.js")
OVERVIEW = ("strict", "ends", "diversity", "kl_own", "own_prefix_gap", "chosen", "rejected")
MAP = PACKAGE / "docs/results/map/map.json"
PLACE = ("places that it may hold: from 1 + the number of rows that are significantly better, to that of all rows "
         "minus those that are significantly worse")
GAIN = ("score minus SFT's, points, of the same seeds; the bar is the 95 % interval from -10 to +5, an arrow points to "
        "what lies farther, the line is 0; equal: the interval lies within 2 points; undecided: more seeds would tell")


@dataclass
class Page:
    results: str = "docs/results/compare"   # folder of results.json
    out: str = "out/choose"                 # folder of index.html


def write(folder: Path, results: dict, the_map: dict | None = None) -> Path:
    """index.html in folder."""
    file = Path(folder) / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(fill(results, file.parent, the_map), encoding="utf-8", errors="replace")
    return file


def read_map() -> dict | None:
    """The committed map, if there is one."""
    return chooser.read(MAP)


def fill(results: dict, folder: Path, the_map: dict | None = None) -> str:
    """The page as text. Links to source files are relative to `folder`; nothing in the data can end its script."""
    parts = {**pages.shared(), "<!--WAYS-->": str(len(results["rows"]) - 1),
             "<!--TABLE-->": table(results, folder), "<!--INTRO-->": intro(results), "<!--GROUPS-->": legend(results),
             "<!--COLUMNS-->": explanations(results), "/*DATA*/": pages.script_json(small(results)),
             "/*MAP*/": pages.script_json(chooser.small(the_map) if the_map else None),
             "<!--CHOOSER-->": (ASSETS / "chooser.html").read_text(encoding="utf-8") if the_map else ""}
    for name in PARTS:
        parts[f"/*{name.replace('.', '_').upper()}*/"] = (ASSETS / name).read_text(encoding="utf-8")
    return pages.fill((ASSETS / "page.html").read_text(encoding="utf-8"), parts)


def small(results: dict) -> dict:
    """results.json for the page: each answer once, in `said`; a seed's answers are [number, score, stops]."""
    said: dict[str, int] = {}

    def short(answer: dict) -> list:
        return [said.setdefault(answer["says"], len(said)), answer["score"], answer["stops"]]
    rows = {name: row | ({"answers": {seed: [short(a) for a in some] for seed, some in row["answers"].items()}}
                         if "answers" in row else {}) for name, row in results["rows"].items()}
    return results | {"rows": rows, "said": list(said)}


def intro(results: dict) -> str:
    """What was done, in numbers that results.json holds."""
    n, base = len(results["rows"]) - 1, results["rows"]["base"]
    score = MEASURES["score"].write(base["figures"]["score"])
    many = results["seeds"] > 1
    own = {len(r["seeds"]) for r in results["rows"].values() if r["group"] == "on-policy"} - {results["seeds"]}
    seeds = f"{results['seeds']} seed{'s' * many} each" + (f" ({min(own)} where the model samples as it trains)"
                                                           if own else "")
    return ("<p>A row is one way of training the same small language model (the <em>base</em>, which scores "
            f"{score} %) on NanoWorld, a made-up world whose answers are scored exactly, by rule. {n} rows, "
            f"{escape(seeds)} (a seed draws the training data and their order), {escape(results['items'])} prompts "
            f"in each of {len(results['families'])} families of the {escape(results['split'])} split, never seen in "
            "training. "
            + "± is half a 95&nbsp;% t-interval over seeds." * many
            + f"</p><p>Made by <code>{escape(results['command'])}</code></p>")


def legend(results: dict) -> str:
    """The groups that occur, with their shapes (drawn by page.js) and what they learn from."""
    there = [g for g in GROUPS if any(r["group"] == g for r in results["rows"].values())]
    return "".join(f'<li data-group="{g}"><span class="shape" data-shape="{g}"></span> <b>{g}</b>'
                   + (f": {GROUPS[g]}" if GROUPS[g] != g else "") + "</li>" for g in there)


# ---- the table -------------------------------------------------------------------------------------------------------
def columns(results: dict) -> list[tuple[str, str, str, str]]:
    """(title, explanation, the views that show it, its kind) of every column: n a number, t a text; "least" where the
    smallest is the best, and comes first when the column sorts."""
    def measure(m: str, view: str) -> tuple[str, str, str, str]:
        return MEASURES[m].title, MEASURES[m].text, view, "n least" if MEASURES[m].better < 0 else "n"
    return [("rank", PLACE, "all", "n least"), ("method", "a link to its row", "all", "name"),
            ("learns from", "what it must be given, in all its stages", "all", "t kind"),
            ("pipeline", "stages; samples: the last one learns from answers that it draws as it trains", "cost", "t"),
            measure("score", "all"), ("minus SFT", GAIN, "all", "n"), *(measure(m, "overview") for m in OVERVIEW),
            *(measure(f, "families") for f in results["families"]),
            ("cost, × SFT", "FLOPs of everything it needs, over SFT's", "overview cost", "n least"),
            ("GFLOP", "counted, not timed: training, columns of other models, runs made first", "cost", "n least"),
            ("gradient tokens", "answer tokens that a loss pushed, all steps of all stages", "cost", "n least"),
            measure("seconds", "cost"), measure("corpus_nll", "cost"),
            ("other models", "computed for you", "cost", "t"), ("file", "where its loss is", "cost", "t"),
            ("paper", "arXiv", "cost", "t")]


def explanations(results: dict) -> str:
    return "".join(f"<div><dt>{escape(title)}</dt><dd>{escape(said)}</dd></div>"
                   for title, said, _, _ in columns(results))


def table(results: dict, folder: Path) -> str:
    """<thead> and <tbody>: every column of every view; a cell's data-v is what it is sorted by."""
    heads = "".join(f'<th scope="col" class="{kind} {view}"><button type="button" title="{escape(said)}">'
                    f'{escape(title)}<span class="sign" aria-hidden="true"></span></button></th>'
                    for title, said, view, kind in columns(results))
    rows = sorted(results["rows"].items(), key=lambda r: -(r[1]["figures"]["score"] or [-1])[0])
    body = "".join(line(name, row, results, folder) for name, row in rows)
    return f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>"


def line(name: str, row: dict, results: dict, folder: Path) -> str:
    """One row: its cells in the order of columns()."""
    def measured(m: str) -> tuple:
        mean, _, half = MEASURES[m].write(f := row["figures"][m]).partition(" ± ")
        return f[0] if f else None, mean + (f' <small>± {half}</small>' if half else "")

    def counted(key: str, scale: float, form: str) -> tuple:
        return (cost[key], format(cost[key] / scale if scale > 1 else cost[key], form)) if cost else (None, "–")
    cost, learns = row["cost"], escape(row["data"])
    values = [rank_cell(row["rank"]), (name, name_cell(name, row, results)), (row["data"], learns),
              (row["pipeline"], escape(row["pipeline"])), measured("score"), gain_cell(row),
              *(measured(m) for m in (*OVERVIEW, *results["families"])), counted("relative", 1, ".2f"),
              counted("flops", 1e9, ",.0f"), counted("tokens", 1, ","), measured("seconds"), measured("corpus_nll"),
              (row["models"], escape(row["models"])), file_cell(row, folder), paper_cell(row)]
    cells = []
    for (v, shown), (title, _, view, kind) in zip(values, columns(results), strict=True):
        tag = "th scope=\"row\"" if kind == "name" else "td"
        cells.append(f'<{tag} class="{kind.removesuffix(" least")} {view}" data-v="{"" if v is None else escape(v)}">'
                     f"{shown}</{tag[:2]}>")
    return (f'<tr data-name="{escape(name)}" data-group="{escape(row["group"])}" data-learns="{learns}" '
            f'data-pipeline="{escape(row["pipeline"])}">{"".join(cells)}</tr>')


# ---- cells: (what it is sorted by, what is shown) --------------------------------------------------------------------
def rank_cell(rank: list[int] | None) -> tuple:
    if not rank:
        return None, "–"
    best, worst = rank
    return best + worst / 1000, f"{best}" if best == worst else f"{best} to {worst}"


def name_cell(name: str, row: dict, results: dict) -> str:
    """The name as a link to its own row, its shape, and what must be known of its seeds or its twin."""
    lost, twins = row["failed"], [other for other, mine in results.get("same", {}).items() if mine == name]
    notes = ([f"({len(lost)} of {len(lost) + len(row['seeds'])} seeds diverged)"] if lost else []) + [
        f"(the same in this world: {escape(other)})" for other in twins]
    address = escape(quote(visible(name), safe="", errors="replace"))
    return (f'<span class="shape" data-shape="{escape(row["group"])}"></span> <a href="#row={address}">'
            f'{escape(name)}</a>' + "".join(f" <small>{note}</small>" for note in notes))


def gain_cell(row: dict) -> tuple:
    """Minus SFT: an interval bar (drawn by page.js), the number, the word."""
    if not row["minus_sft"]:
        return None, "–"
    mean, half = row["minus_sft"]
    number = f"{100 * mean:+.1f}" + ("" if half is None else f" <small>± {100 * half:.1f}</small>")
    return mean, (f'<span class="gain"><span class="interval" data-mean="{100 * mean:.4g}" '
                  f'data-half="{100 * (half or 0):.4g}"></span> <span class="span">{number}</span> '
                  f'<small class="word">{escape(row["verdict"])}</small></span>')


def file_cell(row: dict, folder: Path) -> tuple:
    if not row["file"]:
        return None, "–"
    return row["file"], f'<a href="{escape(link(row["file"], folder))}">{escape(Path(row["file"]).name)}</a>'


def paper_cell(row: dict) -> tuple:
    arxiv = escape(row["arxiv"] or "")
    shown = f'<a href="https://arxiv.org/abs/{arxiv}">{arxiv}</a>' if arxiv else "–"
    return row["arxiv"], f'<span title="{escape(row["paper"] or "")}">{shown}</span>'


def link(file: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(PACKAGE / file, Path(folder).resolve())).as_posix()
    except ValueError:                                          # another drive
        return (PACKAGE / file).as_uri()


def main(argv=None) -> int:
    cfg, _ = config.parse(Page, argv, "python -m lab.page", __doc__)
    file = Path(cfg.results) / "results.json"
    if not file.exists():
        raise UserError(f"{file} is not there: python -m lab.compare --out {cfg.results} writes it")
    print(f"open {write(Path(cfg.out), read_json(file), read_map())}")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
