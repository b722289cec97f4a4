"""HTML pages that show text from outside: it stays text.

    fill(page, {"<!--TABLE-->": html(name), "/*DATA*/": script_json(data)})
    shared(folder, "playground")        # style, functions and links that the four chapters share
"""
import json
import os
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from nanouft.errors import visible

DOCS = Path(__file__).parents[2] / "docs"
CHAPTERS = {"playground": "1 What is pushed?", "frozen_lake": "2 Why?",
            "choose": "3 What now?", "gallery": "4 What went wrong?"}     # folder -> title
SHARED = Path(__file__).parents[1] / "playground" / "web"


def html(text: object) -> str:
    """For text and attributes of a page."""
    return escape(visible(str(text)), quote=True)


def script_json(value: Any) -> str:
    """JSON inside <script>: nothing in it can end the script or begin a comment."""
    text = json.dumps(each_string(value, visible), separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def each_string(value: Any, how: Callable[[str], str]) -> Any:
    """The same JSON value with how(string) for every string, keys too."""
    if isinstance(value, str):
        return how(value)
    if isinstance(value, dict):
        return {each_string(k, how): each_string(v, how) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [each_string(v, how) for v in value]
    return value


def fill(page: str, parts: Mapping[str, str]) -> str:
    """`page` with a part at each of its places, in one pass: a place that is named inside a part
    stays as it is."""
    return re.sub("|".join(map(re.escape, parts)), lambda place: parts[place[0]], page)


def shared(folder: Path, here: str) -> dict[str, str]:
    """What all pages share, by its place: head, style, functions (nanouft/playground/web), and the
    links of a page in `folder` to the other chapters; `here` is its own."""
    parts = {f"/*COMMON_{kind.upper()}*/": (SHARED / f"common.{kind}").read_text(encoding="utf-8")
             for kind in ("html", "css", "js")}
    return parts | {"/*CHAPTERS*/": "\n ".join(chapters(folder, here))}


def chapters(folder: Path, here: str) -> list[str]:
    """This chapter's name, and a link to every other one that lies beside its folder."""
    shown = []
    for name, title in CHAPTERS.items():
        if name == here:
            shown.append(f'<b aria-current="page">{title}</b>')
        elif (folder.parent / name / "index.html").exists():
            shown.append(f'<a href="../{name}/index.html">{title}</a>')
    return shown


def doc(folder: Path, name: str) -> str | None:
    """Path from the page to a file of docs/; None if there is none (an installed package has no
    docs)."""
    if not (DOCS / name).exists():
        return None
    try:
        return Path(os.path.relpath(DOCS / name, folder)).as_posix()
    except ValueError:                              # Windows: on another drive
        return None
