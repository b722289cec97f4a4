"""A page with a language model that learns in the browser.

    python -m nanouft.playground --out out/playground       # writes index.html in some seconds

One file, no network, no library: the shipped base in one byte per weight, 128 demonstrations, every
objective with its settings. The page computes everything itself (web/model.js, web/losses.js);
tests/core/test_playground.py compares it with this project's losses.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.errors import UserError, say
from nanouft.playground import pack
from nanouft.run import config, pages
from nanouft.run.storage import write_text

WEB = Path(__file__).parent / "web"
ENGINE = ("losses.js", "model.js", "worker.js")     # the thread that computes
SCRIPTS = ("state.js", "words.js", "column.js", "rollouts.js", "page.js")


@dataclass
class Playground:
    out: str = "out/playground"     # folder of the page


def page(data: dict, folder: Path) -> str:
    """The whole file, for `folder`. web/page.html has a place for each part."""
    def joined(*files: str) -> str:
        return "\n".join((WEB / file).read_text(encoding="utf-8") for file in files)
    parts = {"/*PAGE_CSS*/": joined("page.css"), "/*ENGINE*/": joined(*ENGINE),
             "/*SCRIPTS*/": joined(*SCRIPTS), "/*DATA*/": pages.script_json(data),
             "/*MORE*/": more(folder), **pages.shared(folder, "playground")}
    return pages.fill(joined("page.html"), parts)


def more(folder: Path) -> str:
    """Where to read on; nothing, if the documents are not installed."""
    links = [f'<a href="{link}">{title}</a>'
             for title, name in (("nanouft", "../README.md"), ("With your data", "data.md"))
             if (link := pages.doc(folder, name))]
    return f"The same losses, in short files to read and run: {', '.join(links)}." if links else ""


def main(argv=None) -> int:
    cfg, _ = config.parse(Playground, argv, "python -m nanouft.playground", __doc__)
    folder = Path(cfg.out)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out {cfg.out}: is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "index.html"
    write_text(file, page(pack.content(folder), folder))
    say(f"page: {file}   ({file.stat().st_size / 1e6:.2f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
