"""Where the ids of the tokenizer `nano` come from: byte-level BPE trained on NanoWorld's text and
ordinary English.

    python -m lab.vocabulary          # rebuilds assets/nano.tiktoken, about 10 s
"""
import argparse
import base64
import sys
from collections import Counter
from pathlib import Path

import regex

from nanouft.data.bpe import train_bpe
from nanouft.data.tokenizer import ASSET, CONTROL, NANO_PATTERN, NANO_VOCAB
from nanouft.run.storage import write_text
from nanouft.world.documents import corpus
from nanouft.world.facts import make_world

# Frequent English words, counted like rare words of NanoWorld, so that a user's own sentence is not
# cut into single letters.
ENGLISH_COUNT = 30
ENGLISH = Path(__file__).parent / "assets" / "english.txt"


def nano_words(worlds: int = 720, documents: int = 40) -> Counter:
    """Counts of the pieces of NanoWorld's corpus and of ordinary English.
    Every world draws its creatures' names again: no name is frequent enough to become a token of
    its own, so that known and unknown names are cut alike and the number of its tokens tells
    nothing about a name."""
    count = Counter({" " + word: ENGLISH_COUNT
                     for word in ENGLISH.read_text(encoding="utf-8").split()})
    pieces = regex.compile(NANO_PATTERN)                        # `re` does not know \p{L}
    for i in range(1, 1 + worlds):
        for document in corpus(i, documents, make_world(i)):
            for turn in document:
                count.update(pieces.findall(" " + turn.text))
    return count


def build(path: Path = ASSET) -> int:
    """Writes the ranks of `nano` in tiktoken's form (token in base64, space, id), and returns their
    number."""
    ranks = train_bpe(nano_words(), NANO_VOCAB - len(CONTROL))
    lines = (f"{base64.b64encode(token).decode()} {i}\n" for token, i in ranks.items())
    write_text(path, "".join(lines))
    return len(ranks)


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m lab.vocabulary", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    print(f"{ASSET}: {build():,} ranks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
