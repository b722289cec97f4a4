"""Conversations of a row -> Row: where does the prompt end, and is there something to learn from?

    split_row(row_talks(item, form, where), item, form, where)

The prompt of a conversation ends before its first answer, that of a pair where its two sides part.
"""
from nanouft.data.rows import ANSWERS, Row, Turns
from nanouft.errors import UserError
from nanouft.files.forms import RESPONSES, Form, found_fields, row_grades
from nanouft.files.turns import Talks
from nanouft.files.words import quoted_names


class Skip(Exception):
    """A row that is well formed but holds nothing to learn from; the message is the reason that is counted."""


def split_row(talks: Talks, item: dict, form: Form, where: str, prompts: bool = False) -> Row:
    """`prompts`: a row that only asks is a row too."""
    talks = whole_pair(talks, item, form, where)
    if prompts and not talks.demo and talks.chosen is None and talks.question:
        return Row(talks.question, where=where)
    if talks.demo is None and talks.chosen is None:
        fields = [form.response] if form.response else RESPONSES
        raise UserError(f"{where}: no response in {quoted_names(fields)} and no pair; "
                        f"{found_fields(item)}; add it, or name its field with --response-field")
    if () in (talks.chosen, talks.rejected):
        raise Skip("no assistant turn")
    prompt = demo_prompt(talks) if talks.chosen is None else pair_prompt(talks, item, where)
    answer, chosen, rejected = ((talk or ())[len(prompt):] or None
                                for talk in (talks.demo, talks.chosen, talks.rejected))
    check_texts(prompt, answer, chosen, rejected)
    return Row(prompt, answer, chosen, rejected, where=where,
               **row_grades(item, form, where, answer is not None, chosen is not None))


def whole_pair(talks: Talks, item: dict, form: Form, where: str) -> Talks:
    """Both sides of a pair or none. One side alone may only be the response that --response-field names."""
    if talks.chosen is not None and form.prompt == "prompt" and talks.prompt and talks.prompt[-1].role in ANSWERS:
        raise UserError(f'{where}: "prompt" ends with a turn of the assistant, which "chosen" and "rejected" go on '
                        "from; put the beginning of the answer into both")
    if (talks.chosen is None) == (talks.rejected is None):
        return talks
    if form.response not in ("chosen", "rejected"):
        raise UserError(f'{where}: a pair needs both "chosen" and "rejected", and one is missing or null; '
                        f"{found_fields(item)}")
    return talks._replace(chosen=None, rejected=None)


def demo_prompt(talks: Talks) -> Turns:
    """The question, where a response answers it; of a conversation, what stands before its first answer."""
    demo, question = talks.demo, talks.question
    if not demo or not talks.inside and demo[:len(question)] == question:
        return question
    return demo[:[turn.role for turn in demo].index("assistant")]


def pair_prompt(talks: Talks, item: dict, where: str) -> Turns:
    """The turns that both sides begin with. A demonstration beside the pair has the same prompt, so of a long
    conversation beside a pair only the end is trained on."""
    demo, chosen, rejected = talks.demo, talks.chosen or (), talks.rejected or ()
    n, most = 0, min(len(chosen), len(rejected)) - 1
    while n < most and chosen[n] == rejected[n]:
        n += 1
    if n == 0 or chosen[n].role not in ANSWERS or rejected[n].role not in ANSWERS:
        raise UserError(f'{where}: "chosen" and "rejected" do not answer the same prompt; {found_fields(item)}')
    if demo is not None and demo[:n] != chosen[:min(n, len(demo))]:
        raise UserError(f"{where}: the pair and the demonstration do not answer the same prompt; use one of them")
    return chosen[:n]


def check_texts(prompt: Turns, answer: Turns | None, chosen: Turns | None, rejected: Turns | None) -> None:
    """Skip unless somebody asks something and every answer says something."""
    if answer is None and chosen is None:
        raise Skip("no assistant turn")
    asked = [turn.text for turn in prompt if turn.role == "user"]
    if not any(text.strip() for text in asked):
        raise Skip("empty prompt" if asked else "no user turn before the answer")
    for name, trained in (("response", answer), ("chosen", chosen), ("rejected", rejected)):
        if not all(turn.text.strip() for turn in trained or () if turn.role == "assistant"):
            raise Skip(f"empty {name}")
