"""Byte-level BPE, trained: counts of words in, ranks of tokens out. This is where the ids of `nano` come from.

    ranks = train_bpe({" low": 5, " lower": 2, " newest": 6}, size=270)
    python -m nanouft.data.tokenizer --build                            # trains nano on NanoWorld's text, about 10 s

What to expect: with 1,020 ranks every word of NanoWorld is one token, and nearly every name two (3.9 bytes a token of
NanoWorld, about 2 of ordinary English).
Simplified: the next pair is found by looking at all of them, which is quick for a thousand merges; trainers for large
vocabularies keep a heap.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from typing import Mapping

# A piece is a word, one or two digits, or punctuation, each with the space before it; or white space.
NANO_PATTERN = r" ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
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


def train_bpe(words: Mapping[str, int], size: int) -> dict[bytes, int]:
    """Ranks (token -> id, `size` in all) from counts of words: 256 bytes, then the most frequent pair again and again.

    Only the words that hold the joined pair are counted anew. Ties go to the pair that comes first in the alphabet, so
    the ranks depend on the counts alone. Stops early when no pair is left.
    """
    spelt = [[bytes([b]) for b in word.encode()] for word in words]
    times = list(words.values())
    count: Counter = Counter()                                  # pair -> how often it stands in the text
    where = defaultdict(set)                                    # pair -> numbers of the words that hold (or held) it

    def tally(n: int, sign: int) -> None:
        for pair in zip(spelt[n], spelt[n][1:]):
            count[pair] += sign * times[n]
            where[pair].add(n)

    for n in range(len(spelt)):
        tally(n, +1)
    ranks = {bytes([b]): b for b in range(256)}
    while len(ranks) < size and count:
        best = min(count, key=lambda pair: (-count[pair], pair))
        if count[best] <= 0:
            break
        ranks.setdefault(best[0] + best[1], len(ranks))         # two pairs may spell the same token
        for n in where.pop(best):
            tally(n, -1)
            spelt[n] = join(spelt[n], best)
            tally(n, +1)
        del count[best]
    return ranks


def join(tokens: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """`tokens` with each `pair` of neighbours made one, from left to right."""
    out, i = [], 0
    while i < len(tokens):
        both = tuple(tokens[i:i + 2]) == pair
        out.append(pair[0] + pair[1] if both else tokens[i])
        i += 1 + both
    return out


def nano_words(worlds: int = 720, documents: int = 40) -> Counter:
    """Counts of the pieces of NanoWorld's corpus and of ordinary English.

    Every world draws its creatures' names anew: no name is frequent enough to become a token of its own, so that known
    and unknown names are cut alike and the number of its tokens tells nothing about a name.
    """
    import regex                                                # knows \p{L}; it comes with tiktoken

    from nanouft.world import corpus, make_world                # only needed here

    count, pieces = Counter({" " + word: ENGLISH_COUNT for word in ENGLISH.split()}), regex.compile(NANO_PATTERN)
    for i in range(1, 1 + worlds):
        for document in corpus(i, documents, make_world(i)):
            for turn in document:
                count.update(pieces.findall(" " + turn.text))
    return count
