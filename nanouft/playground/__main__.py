"""A page on which any two methods learn side by side, with a map of all of them.

    python -m nanouft.playground                    # writes out/playground/index.html
    python -m nanouft.playground --also mine.py     # and a method of your own
    python -m nanouft.playground --strip steps.svg  # instead: SFT's and DPO's steps, a picture

The page is one file that needs no network. It shows what four training steps make of the shipped
base, with every method of objectives/ and of --also. Each method learns at three learning rates
and at its own. The command computes all of it with the project's own losses, in about a minute.
Equations and papers are those in the heads of the methods' files.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.run.flags import parse

STRIP_RATES = 1e-4, 2.5e-4              # both methods' in the picture, and in its last line


@dataclass
class PlaygroundFlags:
    out: str = "out/playground"     # folder of the page
    also: list[str] | None = None   # files of more methods [none]
    strip: str = ""                 # write the steps of SFT and DPO to this SVG, and no page


def main(argv: list[str] | None = None) -> int:
    cfg = parse(PlaygroundFlags, argv, "python -m nanouft.playground", __doc__)
    # Here, so that --help does not wait for torch.
    from nanouft.pictures.page import write_page
    from nanouft.playground.record import WEB, rate_text, record
    from nanouft.playground.strip import strip
    from nanouft.plumbing.files import write_text
    if cfg.strip:
        data = record(["sft", "dpo"], STRIP_RATES)
        Path(cfg.strip).parent.mkdir(parents=True, exist_ok=True)
        write_text(Path(cfg.strip), strip(data, *map(rate_text, STRIP_RATES)))
        say(f"picture: {cfg.strip}")
        return 0
    data = record(also=cfg.also or [])
    say(f"page: {write_page(WEB, data, Path(cfg.out))}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
