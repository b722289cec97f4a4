"""The shape of a dialogue: what a chat template writes around its texts, whatever they are.

    marked(roles, parts)                    # the dialogue with marks in place of its texts
    text_offsets(shape, text, texts)     # where they are in a text of this shape

hf_tokenizer.py asks a template once for each shape.
"""
import json
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from nanouft.models.tokenizer import ANSWERS, Turn, Turns

MARK = re.compile("\ue000(\\d+)\ue001")    # stands for a text
THOUGHT = re.compile(r"(\s*<think>\s*)(.*?)(\s*</think>\s*)(.*)", re.DOTALL)


class Parts(NamedTuple):
    """A text in parts. One that does not begin with a thought is all `rest`."""
    opens: str          # "<think>\n"
    thought: str
    closes: str         # "\n</think>\n\n"
    rest: str


def parts_of(turn: Turn) -> Parts:
    found = THOUGHT.fullmatch(turn.text) if turn.role in ANSWERS else None
    return Parts(*found.groups()) if found else Parts("", "", "", turn.text)


def marked(roles: Iterable[str], parts: list[Parts]) -> Turns:
    """A dialogue with marks in place of its texts: of turn i 2i is the thought, 2i + 1 the rest.
    Dialogues of one shape have the same."""
    return tuple(Turn(role, opens + mark(2 * i) * bool(thought) + closes + mark(2 * i + 1))
                 for i, (role, (opens, thought, closes, _)) in enumerate(zip(roles, parts)))


def mark(number: int) -> str:
    return f"\ue000{number}\ue001"


class Shape(NamedTuple):
    """How a template writes such a dialogue."""
    around: list[str]               # before, between and behind the texts
    order: list[int]                # numbers of the texts, as in `marked`
    spans: list[tuple[int, int]]    # letters at which trained answers begin and end
    put_in: bool                    # True: the template itself would leave the last thought out


def text_offsets(shape: Shape, text: str, texts: list[str]) -> tuple[list[tuple[int, int]], int]:
    """([(letter of the shape behind a text, the same letter of `text`)], number of the first text
    that is not there as in the shape, or -1)."""
    places, at = [(0, 0)], 0
    for n, number in enumerate(shape.order):
        before, after = shape.around[n:n + 2]
        if not text.startswith(before, at):
            return places, number
        at += len(before)
        fits = (form for form in forms_of(texts[number]) if text.startswith(form, at))
        found = next((form for form in fits if text.startswith(after, at + len(form))), None)
        if found is None:           # what follows a text that is there is the one that is not
            is_there = any(text.startswith(form, at) for form in forms_of(texts[number]))
            return places, shape.order[min(n + is_there, len(shape.order) - 1)]
        at += len(found)
        in_shape, _ = places[-1]
        places.append((in_shape + len(before) + len(mark(number)), at))
    if shape.order and at + len(shape.around[-1]) < len(text):
        return places, shape.order[-1]
    return places, -1


def forms_of(text: str) -> Iterator[str]:
    """How a template may write a text: as it is, without white space around it, or as JSON (the
    result of a tool)."""
    for form in (text, text.strip(), text.strip("\n"), text.lstrip("\n"), text.rstrip("\n")):
        yield form
        yield json.dumps(form, ensure_ascii=False)[1:-1]
