"""The comparison as one self-contained page: results.json in, index.html out.

    python -m nanouft.lab.compare                       # writes it: out/compare/index.html, opens by double click

The table is plain HTML, complete without JavaScript; assets/table.js sorts it, draw.js draws pictures as SVG text,
page.js connects buttons with both, page.css is the look (light, dark, narrow, print). All of it goes into one file that
asks for nothing else. Every number comes from results.json and is written in one place: table.Measure.write.
"""
import os
from pathlib import Path

from nanouft.lab.table import GROUPS, MEASURES
from nanouft.shell import text
from nanouft.shell.text import html as escape

ASSETS, PACKAGE = Path(__file__).parent / "assets", Path(__file__).parents[2]
PARTS = ("page.css", "table.js", "draw.js", "page.js")
OVERVIEW = ("strict", "ends", "diversity", "kl_own", "own_prefix_gap", "chosen", "rejected")


def write(folder: Path, results: dict) -> Path:
    """index.html in folder."""
    file = Path(folder) / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(fill(results, file.parent), encoding="utf-8", errors="replace")
    return file


def fill(results: dict, folder: Path) -> str:
    """The page as text. Links to source files are relative to `folder`; nothing in the data can end its script."""
    parts = {"<!--TABLE-->": table(results, folder), "<!--INTRO-->": intro(results), "<!--GROUPS-->": legend(results),
             "/*DATA*/": text.script_json(results)}
    for name in PARTS:
        parts[f"/*{name.replace('.', '_').upper()}*/"] = (ASSETS / name).read_text(encoding="utf-8")
    return text.fill((ASSETS / "page.html").read_text(encoding="utf-8"), parts)


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
def table(results: dict, folder: Path) -> str:
    """<thead> and <tbody>: every column of every view; a cell's data-v is what it is sorted by."""
    def head(title: str, view: str, text: str, kind: str = "n") -> str:
        return (f'<th scope="col" class="{kind} {view}"><button type="button" title="{escape(text)}">{escape(title)}'
                '<span class="sign" aria-hidden="true"></span></button></th>')
    heads = [head("method", "all", "its file", "name"),
             head("learns from", "all", "the kind of data, or of row", "t kind"),
             head("score", "all", MEASURES["score"].text)]
    heads += [head(MEASURES[m].title, "overview", MEASURES[m].text) for m in OVERVIEW]
    heads += [head(MEASURES[f].title, "families", MEASURES[f].text) for f in results["families"]]
    heads += [head("cost, × SFT", "overview cost", "FLOPs of everything it needs, over SFT's"),
              head("GFLOP", "cost", "counted, not timed: training, columns of other models, runs made first"),
              head("gradient tokens", "cost", "answer tokens that a loss pushed, all steps of all stages"),
              head(MEASURES["seconds"].title, "cost", MEASURES["seconds"].text),
              head("corpus loss", "cost", MEASURES["corpus_nll"].text),
              head("data", "cost", "what it must be given", "t"), head("other models", "cost", "computed for you", "t"),
              head("paper", "cost", "arXiv", "t")]
    rows = sorted(results["rows"].items(), key=lambda r: -(r[1]["figures"]["score"] or [-1])[0])
    body = "".join(line(name, row, results, folder) for name, row in rows)
    return f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody>"


def line(name: str, row: dict, results: dict, folder: Path) -> str:
    def number(m: str, view: str) -> str:
        f = row["figures"][m]
        mean, _, half = MEASURES[m].write(f).partition(" ± ")
        return value(f[0] if f else None, mean + (f' <small>± {half}</small>' if half else ""), view)

    def value(v, text: str, view: str, kind: str = "n") -> str:
        shown = "" if v is None else escape(v)
        return f'<td class="{kind} {view}" data-v="{shown}">{text}</td>'

    lost, cost = row["failed"], row["cost"]
    label = escape(name) + (f" <small>({len(lost)} of {len(lost) + len(row['seeds'])} seeds diverged)</small>"
                            if lost else "")
    if row["file"]:
        label = f'<a href="{escape(link(row["file"], folder))}">{label}</a>'
    arxiv, group = escape(row["arxiv"] or ""), escape(row["group"])
    paper = f'<a href="https://arxiv.org/abs/{arxiv}">{arxiv}</a>' if arxiv else "–"
    cells = [f'<th scope="row" class="name all" data-v="{escape(name)}"><span class="shape" '
             f'data-shape="{group}"></span> {label}</th>', value(row["group"], group, "all", "t kind"),
             number("score", "all"), *(number(m, "overview") for m in OVERVIEW),
             *(number(f, "families") for f in results["families"])]
    for key, scale, form, view in (("relative", 1, ".2f", "overview cost"), ("flops", 1e9, ",.0f", "cost"),
                                   ("tokens", 1, ",", "cost")):
        cells.append(value(cost[key], format(cost[key] / scale if scale > 1 else cost[key], form), view) if cost
                     else value(None, "–", view))
    cells += [number("seconds", "cost"), number("corpus_nll", "cost"),
              *(value(row[k], escape(row[k]), "cost", "t wide") for k in ("data", "models")),
              value(row["arxiv"], f'<span title="{escape(row["paper"] or "")}">{paper}</span>', "cost", "t")]
    return f'<tr data-name="{escape(name)}" data-group="{group}">{"".join(cells)}</tr>'


def link(file: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(PACKAGE / file, Path(folder).resolve())).as_posix()
    except ValueError:                                          # another drive
        return (PACKAGE / file).as_uri()
