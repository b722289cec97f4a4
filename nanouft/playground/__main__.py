"""A page with a language model that learns in the browser.

    python -m nanouft.playground                # writes out/playground/index.html in some seconds

One file, no network, no library: the shipped base, and what it becomes under SFT, IFT and DPO,
recorded by the project's own losses. The page computes the same again (web/model.js, web/losses.js)
and says whether it agrees.
"""
import json
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.errors import command, say
from nanouft.pictures.colours import css
from nanouft.playground.pack import content
from nanouft.run.flags import parse

WEB = Path(__file__).parent / "web"
ENGINE = ("losses.js", "model.js", "worker.js")     # the thread that computes


@dataclass
class Playground:
    out: str = "out/playground"     # folder of the page


def page(data: dict) -> str:
    """The whole file: web/page.html with everything that it names."""
    def text(*files: str) -> str:
        return "\n".join((WEB / file).read_text(encoding="utf-8") for file in files)
    parts = {"/*COLOURS*/": css(), "/*CSS*/": text("page.css"), "/*ENGINE*/": text(*ENGINE),
             "/*PAGE*/": text("page.js"), "/*DATA*/": json.dumps(data).replace("<", "\\u003c")}
    whole = text("page.html")
    for name, part in parts.items():
        whole = whole.replace(name, part)
    return whole


def main(argv=None) -> int:
    cfg = parse(Playground, argv, "python -m nanouft.playground", __doc__)
    folder = Path(cfg.out)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "index.html"
    file.write_text(page(content()), encoding="utf-8")
    say(f"page: {file}   ({file.stat().st_size / 1e6:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
