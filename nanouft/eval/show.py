"""One example as the model reads it: which of its tokens are trained on.

    print(show_mask(encoded[0], tok, colour=False))     # <|user|> Hi<|assistant|>[[ Ho<|end|>]]
"""
import numpy as np

from nanouft.data.batches import Encoded
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import visible
from nanouft.objective import Columns

LONG = 1200                                     # letters of a text that are shown
ONLY_READ = {"mismatch": "only measured"}       # roles that no loss trains on


def show_mask(e: Encoded, tok: Tokenizer, colour: bool, between: str = "") -> str:
    """What is trained on is green (colour) or in [[ ]] (no colour). What is known of an answer
    (score, label) is printed beside its role. `between`: a mark between two tokens."""
    begin, end = ("\033[32m", "\033[0m") if colour else ("[[", "]]")
    out = []
    for role, t in e.seqs.items():
        note = ONLY_READ.get(role) or known(e.per_row)
        text = f"{role:>9} ({note})  " if note else f"{role:>9}  "
        mask = 0 * t.mask if role in ONLY_READ else t.mask
        edges = [0, *(np.flatnonzero(np.diff(mask)) + 1), len(mask)]
        for start, stop in zip(edges, edges[1:]):
            span = visible(token_text(t.ids[start:stop].tolist(), tok, between))
            if len(span) > LONG:
                span = f"{span[:LONG // 2]} [...] {span[-LONG // 4:]}"
            text += begin + span + end if mask[start] else span
        out.append(text)
    return "\n".join(out)


def token_text(ids: list[int], tok: Tokenizer, between: str) -> str:
    """The text of ids, with a mark `between` tokens. A letter may be several tokens: it stays
    whole."""
    if not between:
        return tok.decode(ids)
    parts: list[str] = []
    last: list[int] = []                # some tokenizers put a space before the first token of all
    here: list[int] = []
    for i in ids:
        here.append(i)
        text = tok.decode([*last, *here])[len(tok.decode(last)):]
        if "\ufffd" not in text or len(here) > 4:
            parts.append(text)
            last, here = [i], []
    return between.join(parts) + tok.decode(here)


def known(col: Columns) -> str:
    """"label good, score 0.5": the numbers that came with a row."""
    out = [] if col.label is None else ["label good" if col.label > 0.5 else "label bad"]
    numbers = {"score": col.score, "p": col.p}
    return ", ".join(out + [f"{name} {x:.3g}" for name, x in numbers.items() if x is not None])
