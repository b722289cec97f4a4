"""The chooser as one self-contained page: which method, with my data? The map in, index.html out.

    python -m lab.page                          # out/choose/index.html, opens by double click

assets/: choose.js finds the regimes that are nearest to what a visitor has, chooser.js connects the
form with them, page.css is the look. All of it goes into one file that asks for nothing else.
A regime of the map is a size (demonstrations, own samples) in one situation; its rows are methods,
best first. The page has shares and costs with six digits, keeps of the changes those whose interval
excludes 0, and each command line once.
"""
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.errors import UserError
from nanouft.run import config, pages
from nanouft.run.storage import read_json, write_text

ASSETS = Path(__file__).parent / "assets"
PARTS = ("page.css", "choose.js", "chooser.js")
NEEDS = ("nothing", "labels", "pairs", "scores", "right answers", "reward")
OF_REGIME = ("name", "demos", "samples", "noise", "source", "base")
OF_ROW = ("name", "needs", "worse", "endpoint", "gain", "verdict", "borrowed", "cost", "changes",
          "commands", "failed")
OF_COST = ("samples", "flops", "relative", "at_inference")


@dataclass
class Page:
    map: str = "docs/results/map/map.json"  # the map
    out: str = "out/choose"                 # folder of index.html


# ---- the map -------------------------------------------------------------------------------------
def read(file: Path) -> dict:
    """The map in `file`. UserError if it is not there, or lacks what the chooser shows."""
    if not file.exists():
        raise UserError(f"{file} is not there: python -m lab.map --write writes it")
    the_map = read_json(file)
    try:
        small(the_map)
    except (KeyError, TypeError, ValueError) as e:
        raise UserError(f"{file}: not a whole map ({e}); python -m lab.map --write makes it "
                        "again") from None
    return the_map


def small(the_map: dict) -> dict:
    """The same map with fewer digits and each command line once, in `lines`; rows have the numbers
    of theirs."""
    lines: dict[str, int] = {}
    regimes = [{key: g[key] for key in OF_REGIME}
               | {"rows": [small_row(row, lines) for row in g["rows"]]} for g in the_map["regimes"]]
    about = {key: the_map[key]
             for key in ("seeds", "items", "margin", "endpoint", "command", "exchange")}
    return {**about, "regimes": regimes, "lines": list(lines)}


def small_row(row: dict, lines: dict[str, int]) -> dict:
    if row["needs"] not in NEEDS:
        raise ValueError(f"needs {row['needs']}")
    kept = {name: [round(mean, 6), round(half, 6), word]
            for name, (mean, half, word) in row["changes"].items()
            if half is not None and abs(mean) > half}
    return {**{key: row[key] for key in OF_ROW}, "endpoint": [round(x, 6) for x in row["endpoint"]],
            "gain": [round(x, 6) for x in row["gain"]], "changes": kept,
            "cost": {key: row["cost"][key] and float(f"{row['cost'][key]:.6g}") for key in OF_COST},
            "commands": [lines.setdefault(line, len(lines)) for line in row["commands"]]}


# ---- the page ------------------------------------------------------------------------------------
def write(folder: Path, the_map: dict) -> Path:
    """index.html in folder."""
    file = Path(folder) / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, fill(the_map, file.parent))
    return file


def fill(the_map: dict, folder: Path) -> str:
    """The page as text. Links to documents are relative to `folder`; nothing in the map can end its
    script."""
    here = Path(folder).resolve()
    parts = {**pages.shared(here, "choose"), "/*MAP*/": pages.script_json(small(the_map))}
    for name in PARTS:
        parts[f"/*{name.replace('.', '_').upper()}*/"] = (ASSETS / name).read_text(encoding="utf-8")
    text = (ASSETS / "page.html").read_text(encoding="utf-8")
    linked = re.sub(r'(?<==")(docs/[\w./]+|README.md)',
                    lambda x: pages.doc(here, f"../{x[0]}") or x[0], text)
    return pages.fill(linked, parts)


def main(argv=None) -> int:
    cfg, _ = config.parse(Page, argv, "python -m lab.page", __doc__)
    print(f"open {write(Path(cfg.out), read(Path(cfg.map)))}")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
