"""The page: one file without requests. record.py computes it, web/page.js draws it.

    write(Path("out/frozen_lake"), [record(lake)])  # -> out/frozen_lake/index.html
"""
import json
from pathlib import Path

from frozen_lake.record import LAMS, OPENS
from nanouft.pictures.colours import css

WEB = Path(__file__).parent / "web"


def write(folder: Path, lakes: list[dict]) -> Path:
    """One page for some records; it opens with the first on its board."""
    data = {"lams": LAMS, "opens": OPENS, "lakes": lakes}
    facts = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    script = (WEB / "page.js").read_text(encoding="utf-8")
    text = (WEB / "page.html").read_text(encoding="utf-8")
    for mark, part in {"/*COLOURS*/": css(), "/*DATA*/": facts, "/*SCRIPT*/": script}.items():
        text = text.replace(mark, part)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "index.html"
    file.write_text(text, encoding="utf-8")
    return file
