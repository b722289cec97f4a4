"""A page is one file without requests: web/page.html with its script, its data and the shared look.

    write_page(Path(__file__).parent / "web", data, Path("out/playground"))    # -> its index.html

A site adds its navigation, and to the head what its pages share.
"""
import json
from pathlib import Path
from typing import Any

from nanouft.pictures.colours import css


def write_page(web: Path, data: Any, out: Path, head: str = "", navigation: str = "") -> Path:
    """web/page.html -> out/index.html. `data` is the script's DATA. In page.html, /*STYLE*/ becomes
    pictures/page.css with the colours, /*SCRIPT*/ the data and the scripts of web/, <!--HEAD-->
    and <!--NAVIGATION--> the additions of a site."""
    def text(file: Path) -> str:
        return file.read_text(encoding="utf-8")
    facts = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    style = f":root {{\n{css()}\n}}\n{text(Path(__file__).parent / 'page.css')}"
    scripts = "\n".join(map(text, sorted(web.glob("*.js"))))
    script = f'"use strict";\nconst DATA = {facts};\n{scripts}'
    page = text(web / "page.html")
    for mark, part in {"/*STYLE*/": style, "/*SCRIPT*/": script, "<!--HEAD-->\n": head,
                       "<!--NAVIGATION-->\n": navigation}.items():
        page = page.replace(mark, part)
    out.mkdir(parents=True, exist_ok=True)
    file = out / "index.html"
    file.write_text(page, encoding="utf-8")
    return file
