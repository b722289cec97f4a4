"""A page with a language model that learns in the browser: two losses, the same perfect answers, one model that stops.

    python -m nanouft.playground --out out/playground       # writes index.html, some seconds; open it with any browser

One file, no network, no library: the shipped base in one byte a weight, 128 demonstrations, every objective with its
settings. The page computes everything itself (web/model.js, web/losses.js), checked against this project's losses by
tests/core/test_playground.py.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.errors import UserError
from nanouft.playground import pack
from nanouft.run import config, pages
from nanouft.run.storage import write_text

WEB = Path(__file__).parent / "web"
ENGINE = ("losses.js", "model.js", "worker.js")            # the thread that computes


@dataclass
class Playground:
    out: str = "out/playground"     # folder of the page


def page(data: dict) -> str:
    """The whole file. web/page.html has a place for each part."""
    def joined(*files: str) -> str:
        return "\n".join((WEB / file).read_text(encoding="utf-8") for file in files)
    parts = {"/*PAGE_CSS*/": joined("page.css"), "/*ENGINE*/": joined(*ENGINE), "/*SCRIPTS*/": joined("page.js"),
             "/*DATA*/": pages.script_json(data), **pages.shared()}
    return pages.fill((WEB / "page.html").read_text(encoding="utf-8"), parts)


def main(argv=None) -> int:
    cfg, _ = config.parse(Playground, argv, "python -m nanouft.playground", __doc__)
    folder = Path(cfg.out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {cfg.out}: is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "index.html", page(pack.content(folder)))
    print(f"page: {folder / 'index.html'}   ({(folder / 'index.html').stat().st_size / 1e6:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
