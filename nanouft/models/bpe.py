"""Byte-level BPE, trained: counts of words in, ranks of tokens out.

    ranks = train_bpe({" low": 5, " lower": 2, " newest": 6}, size=270)
    ranks = train_bpe(count_words(texts, GPT2_PATTERN), size=4092)      # 1 MB: about 3 s

With 1,020 ranks every word of NanoWorld is one token, and nearly every name two (3.9 bytes per
token of NanoWorld, about 2 of ordinary English).
Simplified: of a large text only the 200,000 most frequent words are counted.
"""
import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import regex
from tqdm import tqdm

LONGEST = 64            # letters of a word that are looked at together: some texts have no spaces
MOST_WORDS = 200_000


def count_words(texts: Iterable[str], pattern: str) -> dict[str, int]:
    """How often each word is in the texts; `pattern` cuts them, as it does when they are encoded.
    """
    count: Counter = Counter()
    word = regex.compile(pattern)                               # `re` does not know \p{L}
    for text in texts:
        count.update(word.findall(text))
    for long in [w for w in count if len(w) > LONGEST]:
        times = count.pop(long)
        for i in range(0, len(long), LONGEST):
            count[long[i:i + LONGEST]] += times
    return dict(count.most_common(MOST_WORDS))


def train_bpe(words: Mapping[str, int], size: int, show: bool = False) -> dict[bytes, int]:
    """Ranks (token -> id, `size` in all) from counts of words: 256 bytes, then the most frequent
    pair again and again; among equals the first in the alphabet. Stops early when no pair is left.
    `show`: a progress bar."""
    tokens = [[bytes([b]) for b in word.encode()] for word in words]    # of each word
    times = list(words.values())
    count: Counter = Counter()          # pair -> how often it is in the text
    where = defaultdict(set)            # pair -> numbers of the words that hold (or held) it

    def tally(n: int, sign: int) -> list[tuple[bytes, bytes]]:
        pairs = list(zip(tokens[n], tokens[n][1:]))
        for pair in pairs:
            count[pair] += sign * times[n]
            if sign > 0:
                where[pair].add(n)
        return pairs

    for n in range(len(tokens)):
        tally(n, +1)
    heap = [(-times, pair) for pair, times in count.items()]    # old counts stay in it
    heapq.heapify(heap)
    ranks = {bytes([b]): b for b in range(256)}
    bar = tqdm(total=size - 256, desc="tokenizer", leave=False, disable=not show)
    while len(ranks) < size and heap:
        less, best = heapq.heappop(heap)
        if less == 0 or count[best] != -less:                   # an old count
            continue
        ranks.setdefault(best[0] + best[1], len(ranks))         # two pairs may be the same token
        changed = set()
        for n in where.pop(best):
            changed.update(tally(n, -1))
            tokens[n] = join(tokens[n], best)
            changed.update(tally(n, +1))
        del count[best]
        for pair in changed - {best}:
            heapq.heappush(heap, (-count[pair], pair))
        bar.update()
    bar.close()
    return ranks


def join(tokens: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    """`tokens`, with each `pair` of neighbours made one, from left to right."""
    out, i = [], 0
    while i < len(tokens):
        both = tuple(tokens[i:i + 2]) == pair
        out.append(pair[0] + pair[1] if both else tokens[i])
        i += 1 + both
    return out
