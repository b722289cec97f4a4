"""A page on which any two methods learn side by side, with a map of all of them.

    python -m nanouft.playground                # writes out/playground
    python -m nanouft.playground --also mine.py # and a method of your own

The page is one file that needs no network. It shows the shipped base, and the same model after each
of four training steps: with every method of objectives/ and of --also, at three learning rates and
at the method's own. This command computes it all in about a minute, with the project's own losses.
Equations and papers come from the heads of the methods' files.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.run.flags import parse


@dataclass
class Playground:
    out: str = "out/playground"     # folder to write the page into
    also: list[str] | None = None   # files with methods of your own


def main(argv: list[str] | None = None) -> int:
    cfg = parse(Playground, argv, "python -m nanouft.playground", __doc__)
    # Here, so that --help does not wait for torch.
    from nanouft.pictures.page import write_page
    from nanouft.playground.record import WEB, record
    data = record(also=cfg.also or [])
    say(f"page: {write_page(WEB, data, Path(cfg.out))}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
