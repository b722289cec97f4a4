"""Where the ids of the tokenizer `nano` come from: byte-level BPE trained on NanoWorld's text and ordinary English.

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
from nanouft.world.documents import corpus
from nanouft.world.facts import make_world

# Frequent English words, counted like rare words of NanoWorld, so that a user's own sentence is not spelt in letters.
ENGLISH_COUNT = 30
ENGLISH = """the of and to in is you that it he was for on are as with his they at be this have from or one had by word
but not what all were we when your can said there use an each which she do how their if will up other about out many
then them these so some her would make like him into time has look two more write see number no way could people my
than first water been call who its now find long down day did get come made may part over new sound take only little
work know place year live me back give most very after thing our just name good sentence man think say great where
help through much before line right too mean old any same tell boy follow came want show also around form three small
set put end does another well large must big even such because turn here why ask went men read need land different
home us move try kind hand picture again change off play spell air away animal house point page letter mother answer
found study still learn should world"""


def nano_words(worlds: int = 720, documents: int = 40) -> Counter:
    """Counts of the pieces of NanoWorld's corpus and of ordinary English.
    Every world draws its creatures' names anew: no name is frequent enough to become a token of its own, so that known
    and unknown names are cut alike and the number of its tokens tells nothing about a name."""
    count = Counter({" " + word: ENGLISH_COUNT for word in ENGLISH.split()})
    pieces = regex.compile(NANO_PATTERN)                        # `re` does not know \p{L}
    for i in range(1, 1 + worlds):
        for document in corpus(i, documents, make_world(i)):
            for turn in document:
                count.update(pieces.findall(" " + turn.text))
    return count


def build(path: Path = ASSET) -> int:
    """Writes the ranks of `nano` in tiktoken's form (token in base64, space, id), and returns their number."""
    ranks = train_bpe(nano_words(), NANO_VOCAB - len(CONTROL))
    lines = (f"{base64.b64encode(token).decode()} {i}\n" for token, i in ranks.items())
    path.write_bytes("".join(lines).encode("ascii"))
    return len(ranks)


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m lab.vocabulary", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    print(f"{ASSET}: {build():,} ranks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
