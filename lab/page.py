"""The chooser as one self-contained page: which method, with my data? The map in, index.html out.

    python -m lab.page                          # out/choose/index.html, opens by double click

assets/: choose.js finds the regimes that are nearest to what a visitor has, chooser.js connects the form with them,
page.css is the look. All of it goes into one file that asks for nothing else.
"""
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lab import chooser
from nanouft.shell import config, pages
from nanouft.shell.errors import UserError

ASSETS, PROJECT = Path(__file__).parent / "assets", Path(__file__).parents[1]
PARTS = ("page.css", "choose.js", "chooser.js")


@dataclass
class Page:
    map: str = "docs/results/map/map.json"  # the map
    out: str = "out/choose"                 # folder of index.html


def write(folder: Path, the_map: dict) -> Path:
    """index.html in folder."""
    file = Path(folder) / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(fill(the_map, file.parent), encoding="utf-8", errors="replace")
    return file


def fill(the_map: dict, folder: Path) -> str:
    """The page as text. Links to documents are relative to `folder`; nothing in the map can end its script."""
    parts = {**pages.shared(), "/*MAP*/": pages.script_json(chooser.small(the_map))}
    for name in PARTS:
        parts[f"/*{name.replace('.', '_').upper()}*/"] = (ASSETS / name).read_text(encoding="utf-8")
    text = (ASSETS / "page.html").read_text(encoding="utf-8")
    return pages.fill(re.sub(r'(?<==")(docs/[\w./]+|README.md)', lambda file: link(file[0], folder), text), parts)


def link(file: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(PROJECT / file, Path(folder).resolve())).as_posix()
    except ValueError:                                          # another drive
        return (PROJECT / file).as_uri()


def main(argv=None) -> int:
    cfg, _ = config.parse(Page, argv, "python -m lab.page", __doc__)
    if not (the_map := chooser.read(Path(cfg.map))):
        raise UserError(f"{cfg.map} is not there: python -m lab.map --write writes it")
    print(f"open {write(Path(cfg.out), the_map)}")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
