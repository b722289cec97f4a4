"""Byte-level BPE, trained: counts of words in, ranks of tokens out.

    ranks = train_bpe({" low": 5, " lower": 2, " newest": 6}, size=270)
    python -m nanouft.world --build-tokenizer                          # trains nano on NanoWorld's text, about 10 s

What to expect: with 1,020 ranks every word of NanoWorld is one token, and nearly every name two (3.9 bytes a token of
NanoWorld, about 2 of ordinary English).
Simplified: the next pair is found by looking at all of them, which is quick for a thousand merges; trainers for large
vocabularies keep a heap.
"""
from collections import Counter, defaultdict
from typing import Mapping


def train_bpe(words: Mapping[str, int], size: int) -> dict[bytes, int]:
    """Ranks (token -> id, `size` in all) from counts of words: 256 bytes, then the most frequent pair again and again.
    Only the words that hold the joined pair are counted anew. Ties go to the pair that comes first in the alphabet, so
    the ranks depend on the counts alone. Stops early when no pair is left."""
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
