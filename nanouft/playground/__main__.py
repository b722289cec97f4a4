"""A page on which any two methods learn side by side, with a map of all of them.

    python -m nanouft.playground                    # writes out/playground/index.html
    python -m nanouft.playground --also mine.py     # and a method of your own

The page is one file that needs no network. It shows what four training steps make of the shipped
base, with every method of objectives/ and of --also. Each method learns at three learning rates
and at its own. The command computes all of it with the project's losses, in some minutes.
Equations and papers are those in the heads of the methods' files.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.run.flags import parse


@dataclass
class PlaygroundFlags:
    out: str = "out/playground"     # folder of the page
    also: list[str] | None = None   # files of more methods [none]


def main(argv: list[str] | None = None) -> int:
    cfg = parse(PlaygroundFlags, argv, "python -m nanouft.playground", __doc__)
    # Here, so that --help does not wait for torch.
    from nanouft.pictures.colours import write_page
    from nanouft.playground.record import WEB, record
    Path(cfg.out).mkdir(parents=True, exist_ok=True)        # OSError now, and not after the work
    data = record(also=cfg.also or [])
    say(f"page: {write_page(WEB, data, Path(cfg.out))}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
