"""One row of somebody's file -> Row: who speaks, where the prompt ends, what is trained on.

    make_row({"prompt": "Hi", "response": "Ho"}, form)
    shared_beginning("The sky is blue.", "The sky is green.")   # ("The sky is", "blue.", "green.")

The prompt of a conversation ends before its first answer, the prompt of a pair where its two sides
part. What a tool says is a turn of role "tool". A call of a tool, and an answer of "weight" 0
(OpenAI's form), is a turn of role "shown": the model reads it and is not trained on it.
UserError says what is wrong with a row; read.py adds the place.
"""
import json
import os.path
import re
from typing import Any

from nanouft.data.rows import ANSWERS, Row, Turn, Turns
from nanouft.errors import UserError
from nanouft.files.forms import (
    ABOUT,
    CALLS,
    MARK,
    RESPONSES,
    TALKS,
    WEIGHTS,
    Form,
    found_fields,
    is_dialogue,
    row_grades,
)
from nanouft.files.words import json_type, quoted_names, short_json

ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user",
         "assistant": "assistant", "gpt": "assistant", "model": "assistant", "tool": "tool",
         "function": "tool", "observation": "tool", "function_call": "shown", "tool_call": "shown"}


class Skip(Exception):
    """A row that is well formed but has nothing to learn from. The message is the reason."""


# ---- a row ---------------------------------------------------------------------------------------
def make_row(item: dict, form: Form, prompts: bool = False) -> Row:
    """A row of the file, in our names. `prompts`: a row without an answer is a row, too."""
    one, two = from_json(item.get("chosen")), from_json(item.get("rejected"))
    texts = isinstance(one, str) and isinstance(two, str)
    if texts and form.prompt is None and not form.dialogues:
        before, one, two = implicit_prompt(item)
    else:
        before = prompt_turns(item, form)
    question = until_last(before, "user", "tool")
    demo: Turns | None = until_last(before, "assistant")    # from its first turn to its last answer
    inside = form.response is None and (demo != ()
                                        or isinstance(item.get(form.prompt), (list, dict)))
    if not inside:
        demo = whole_talk(item.get(form.response), form.response or "", before, form)
    chosen = whole_talk(one, "chosen", before, form)
    rejected = whole_talk(two, "rejected", before, form)

    if chosen is not None and form.prompt == "prompt" and before and before[-1].role in ANSWERS:
        raise UserError('"prompt" ends with a turn of the assistant, which "chosen" and "rejected" '
                        "go on from; put the beginning of the answer into both")
    if (chosen is None) != (rejected is None):
        if form.response not in ("chosen", "rejected"):
            raise UserError('a pair needs both "chosen" and "rejected", and one is missing or '
                            f"null; {found_fields(item)}")
        chosen = rejected = None
    if prompts and not demo and chosen is None and question:
        return Row(question)
    if demo is None and chosen is None:
        fields = [form.response] if form.response else RESPONSES
        raise UserError(f"no response in {quoted_names(fields)} and no pair; {found_fields(item)}; "
                        "add it, or name its field with --response-field")
    if () in (chosen, rejected):
        raise Skip("no assistant turn")
    if chosen is not None and rejected is not None:
        prompt = pair_prompt(demo, chosen, rejected, item)
    elif not demo or not inside and demo[:len(question)] == question:
        prompt = question
    else:
        prompt = demo[:[turn.role for turn in demo].index("assistant")]
    answers = [(talk or ())[len(prompt):] or None for talk in (demo, chosen, rejected)]
    check_texts(prompt, *answers)
    answer, chosen, rejected = answers
    return Row(prompt, answer, chosen, rejected,
               **row_grades(item, form, answer is not None, chosen is not None))


def prompt_turns(item: dict, form: Form) -> Turns:
    """The turns of the prompt field (a string, or a conversation with its answers), after the
    field "system"."""
    name = form.prompt or ""
    value = item.get(name)
    if value is None and name and not isinstance(item.get("chosen"), list):
        raise UserError(f"no prompt in {quoted_names([name])}; {found_fields(item)}; add it, "
                        "or name its field with --prompt-field")
    if name == "instruction" and isinstance(value, str):
        about = [string(item[key], key) for key in ABOUT if item.get(key) is not None]
        value = "\n\n".join(text for text in (value, *about) if text.strip())
    out = () if value is None else field_turns(value, name, form.dialogues, "user")
    if name in TALKS and isinstance(value, str) and len(out) == 1:
        raise UserError(f'"{name}" is a string, not a list of turns')
    system = string(item["system"], "system") if item.get("system") is not None else ""
    if system.strip() and not any(turn.role == "system" for turn in out):
        return Turn("system", system), *out
    return out


def implicit_prompt(item: dict) -> tuple[Turns, str, str]:
    """Of a pair of texts without a prompt (TRL's implicit prompt): their shared beginning and the
    two answers."""
    one, two = string(item["chosen"], "chosen"), string(item["rejected"], "rejected")
    prompt, chosen, rejected = shared_beginning(one, two)
    if not prompt:
        raise UserError('no prompt, and "chosen" and "rejected" do not begin alike; '
                        f"{found_fields(item)}; add it, or name its field with --prompt-field")
    return (Turn("user", prompt),), chosen, rejected


def whole_talk(value: Any, name: str, before: Turns, form: Form) -> Turns | None:
    """A field as a whole conversation, up to its last answer: one that holds an answer alone comes
    after the question. None for an empty field."""
    talk = () if value is None else field_turns(value, name, form.dialogues)
    if not talk:
        return None
    question = until_last(before, "user", "tool")
    if talk[0].role in ANSWERS:
        return until_last(question + talk, "assistant")
    said = set(talk)
    if lost := [turn for turn in question if turn.role == "user" and turn not in said]:
        raise UserError(f'"{name}" is a whole conversation, and {short_json(lost[0].text)} of '
                        f'"{form.prompt}" is not in it; remove one of the two')
    if before and before[0].role == "system" and talk[0].role == "user":
        talk = (before[0], *talk)
    return until_last(talk, "assistant")


def pair_prompt(demo: Turns | None, chosen: Turns, rejected: Turns, item: dict) -> Turns:
    """The turns that both sides begin with. A demonstration beside the pair has the same prompt, so
    of a long conversation beside a pair only the end is trained on."""
    n, most = 0, min(len(chosen), len(rejected)) - 1
    while n < most and chosen[n] == rejected[n]:
        n += 1
    if n == 0 or chosen[n].role not in ANSWERS or rejected[n].role not in ANSWERS:
        raise UserError('"chosen" and "rejected" do not answer the same prompt; '
                        + found_fields(item))
    if demo is not None and demo[:n] != chosen[:min(n, len(demo))]:
        raise UserError("the pair and the demonstration do not answer the same prompt; use one of "
                        "them")
    return chosen[:n]


def check_texts(prompt: Turns, answer: Turns | None, chosen: Turns | None,
                rejected: Turns | None) -> None:
    """Skip unless somebody asks something and no answer is empty."""
    if answer is None and chosen is None:
        raise Skip("no assistant turn")
    asked = [turn.text for turn in prompt if turn.role == "user"]
    if not any(text.strip() for text in asked):
        raise Skip("empty prompt" if asked else "no user turn before the answer")
    for name, turns in (("response", answer), ("chosen", chosen), ("rejected", rejected)):
        if any(turn.role == "assistant" and not turn.text.strip() for turn in turns or ()):
            raise Skip(f"empty {name}")


def until_last(talk: Turns, *roles: str) -> Turns:
    """Without the turns after the last one in these roles."""
    return talk[:max((i + 1 for i, turn in enumerate(talk) if turn.role in roles), default=0)]


# ---- lists of messages ---------------------------------------------------------------------------
def field_turns(value: Any, name: str, dialogues: bool = False, role: str = "assistant") -> Turns:
    """A string -> one turn of `role`; one message or a list of messages (or their JSON) -> turns.
    Blank system turns are dropped. `dialogues`: strings may hold turns; the text before the first
    one of a prompt is a system turn."""
    if dialogues and is_dialogue(value):
        return dialogue(string(value, name), "system" if role == "user" else role)
    value = from_json(value) if name in (*TALKS, "prompt", "chosen", "rejected") else value
    if isinstance(value, str):
        return (Turn(role, string(value, name)),)
    if isinstance(value, dict):
        value = value["messages"] if isinstance(value.get("messages"), list) else [value]
    if not isinstance(value, list):
        raise UserError(f'"{name}" is {json_type(value)}, not a string or a list of turns')
    if value and all(isinstance(turn, str) for turn in value):
        raise UserError(f'"{name}" is a list of strings, not of turns; write one row for each, or '
                        'turns with "role" and "content"')
    out = [message(turn, f'turn {n} of "{name}"') for n, turn in enumerate(value, 1)
           if not is_empty(turn, n == len(value))]
    return tuple(turn for turn in out if turn.role != "system" or turn.text.strip())


def is_empty(turn: Any, last: bool) -> bool:
    """Null in a system turn or a last question: parquet fills every row to the same fields."""
    roles = ("system", "user", "human") if last else ("system",)
    return (isinstance(turn, dict) and turn.get("content", turn.get("value")) is None
            and turn.get("role", turn.get("from")) in roles)


def message(turn: Any, place: str) -> Turn:
    if not isinstance(turn, dict):
        raise UserError(f'{place} is {json_type(turn)}, not an object with "role" and "content"')
    speaker, words = ("from", "value") if "from" in turn else ("role", "content")
    if speaker not in turn or words not in turn and not any(turn.get(key) for key in CALLS):
        raise UserError(f'{place} needs "role" and "content", or "from" and "value"')
    role = ROLES.get(string(turn[speaker], speaker, place).lower())
    if role is None:
        raise UserError(f"{place} has the unknown role {short_json(turn[speaker])}; known are "
                        f"{', '.join(ROLES)}")
    if role != "assistant":
        return Turn(role, content(turn[words], words, place))
    for name in WEIGHTS:
        if turn.get(name) not in (None, 0, 1):
            raise UserError(f'{place}: "{name}" is {short_json(turn[name])}; it must be 1 '
                            "(trained on) or 0 (only shown)")
    calls = [json.dumps(turn[key], ensure_ascii=False) for key in CALLS if turn.get(key)]
    no_text = calls and turn.get(words) is None
    text = "" if no_text else content(turn[words], words, place)
    shown = calls or any(turn.get(name) == 0 for name in WEIGHTS)
    return Turn("shown" if shown else "assistant", "\n".join(filter(None, [text, *calls])))


def content(value: Any, name: str, place: str) -> str:
    """A string, or a list of parts: those of type text are joined, a line each."""
    if not isinstance(value, list):
        return string(value, name, place)
    out = []
    for n, part in enumerate(value, 1):
        kind = part.get("type", "text") if isinstance(part, dict) else None
        if kind != "text":
            what = f"of type {short_json(kind)}" if kind else json_type(part)
            raise UserError(f'{place}: part {n} of "{name}" is {what}; only parts of type "text" '
                            "are read")
        out.append(string(part.get("text"), "text", place))
    return "\n".join(out)


def from_json(value: Any) -> Any:
    """Messages that are in a string as JSON, as in a cell of a CSV file; any other value as it is:
    an answer may be JSON, too."""
    if isinstance(value, str) and re.match(r"\s*[\[{]", value):
        try:
            talk = json.loads(value)
        except (ValueError, RecursionError):
            return value
        if all(map(is_message, talk if isinstance(talk, list) else [talk])):
            return talk
    return value


def is_message(turn: Any) -> bool:
    if not isinstance(turn, dict):
        return False
    speaker, words = ("from", "value") if "from" in turn else ("role", "content")
    role = turn.get(speaker)
    return (isinstance(role, str) and role.lower() in ROLES
            and isinstance(turn.get(words), (str, list)))


# ---- dialogues and prompts inside strings --------------------------------------------------------
def dialogue(text: str, role: str = "assistant") -> Turns:
    """The turns of such a string; the text before the first mark is a turn of `role`. An empty last
    one waits for its answer and is dropped."""
    before, *rest = MARK.split(text)
    out = [Turn({"Human": "user", "Assistant": "assistant"}[who], words.strip())
           for who, words in zip(rest[::2], rest[1::2])]
    if out and out[-1].role == "assistant" and not out[-1].text:
        del out[-1]
    return ((Turn(role, before.strip()),) if before.strip() else ()) + tuple(out)


def shared_beginning(one: str, two: str) -> tuple[str, str, str]:
    """(prompt, rest, rest): the longest beginning that two texts share, up to a space or else the
    edge of a word."""
    n = min(len(os.path.commonprefix([one, two])), len(one.rstrip()) - 1, len(two.rstrip()) - 1)
    same = one[:max(n, 0) + 1]
    places = range(n, 0, -1)
    spaces = [i for i in places if same[i - 1].isspace()]
    edges = [i for i in places
             if not (same[i - 1].isalnum() and (same[i] + two[i]).isalnum())]
    n = next(iter(spaces or edges), 0)
    return one[:n].strip(), one[n:].lstrip(), two[n:].lstrip()


def string(value: Any, name: str, place: str = "") -> str:
    if not isinstance(value, str):
        raise UserError(f'{place}{": " if place else ""}"{name}" is {json_type(value)}, '
                        "not a string")
    try:
        value.encode()
        return value                                    # no copy: texts are most of the memory
    except UnicodeEncodeError:                          # half a character becomes U+FFFD
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
