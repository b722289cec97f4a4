"""The page: one file without requests. record.py computes it, web/page.js draws it.

    write(Path("out/frozen_lake"), record(lake))    # -> out/frozen_lake/index.html
"""
import json
from pathlib import Path

from nanouft.colours import css

WEB = Path(__file__).parent / "web"


def verdicts() -> list[tuple[str, str, str]]:
    """(question, verdict, figures) over many lakes; nothing where lessons/ is not at hand."""
    try:
        from lessons.evidence.reads import lines
    except ImportError:
        return []
    return lines()


def fill(data: dict) -> str:
    """The text of the page."""
    text = (WEB / "page.html").read_text(encoding="utf-8")
    facts = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    script = (WEB / "page.js").read_text(encoding="utf-8")
    for mark, part in {"/*COLOURS*/": css(), "/*DATA*/": facts, "/*SCRIPT*/": script}.items():
        text = text.replace(mark, part)
    return text


def write(folder: Path, data: dict) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "index.html"
    file.write_text(fill({**data, "verdicts": verdicts()}), encoding="utf-8")
    return file
