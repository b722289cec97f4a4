"""The formats of other projects: names of fields, messages, marks of trained answers.

    fields, empty = fields_of({"question": "Hi", "answer": "Ho", "label": None})
    turns(fields, "prompt", "user")         # one turn of the user: "Hi"
"""
import json
import os.path
import re
from collections.abc import Set
from typing import Any

from nanouft.models.tokenizer import Turn, Turns
from nanouft.plumbing.errors import UserError

NAMES = {"completion": "response", "answer": "response", "output": "response",
         "question": "prompt", "instruction": "prompt", "conversations": "messages"}
ROLES = {"human": "user", "gpt": "assistant", "developer": "system"}
FORMS = "prompt and response, messages, prompt and chosen and rejected, or prompt alone"
QUESTIONS, ANSWER_FIELDS = {"prompt", "messages"}, {"response", "chosen", "rejected"}
NUMBERS = {"label", "score", "p", "score_chosen", "score_rejected"}
FIELDS = {*NAMES, *QUESTIONS, *ANSWER_FIELDS, *NUMBERS, "input", "system"}
MARKS = {"weight", "train", "training", "trainable", "trained", "train_on_turn", "loss",
         "loss_mask"}
LIKE_A_MARK = re.compile("train|loss|mask|weight|learn|supervis|ignore|exclude|skip|freeze", re.I)
OF_MESSAGE = {"role", "from", "content", "value", *MARKS}
UNREAD = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")


# ---- fields --------------------------------------------------------------------------------------
def fields_of(item: Any) -> tuple[dict, set[str]]:
    """(fields, empty): a line's fields in our names, with the prompt wherever the line has it; and
    the names of fields that are null or blank."""
    if not isinstance(item, dict):
        raise UserError(f"is {kind(item)}, not an object with {FORMS}")
    fields: dict[str, Any] = {}
    empty: set[str] = set()
    for name, value in item.items():
        ours = NAMES.get(name) or name
        if isinstance(value, dict) and value.keys() & {"role", "from"}:
            value = [value]                             # one message alone
        if is_empty(value):
            empty.add(ours)
        elif ours in fields:
            raise UserError(f'"{name}" and another field may both be the {ours}; rename one')
        else:
            fields[ours] = value
    if "messages" in fields:
        no_list_of_marks(item)
    if "instruction" in item and "input" in fields:     # Alpaca
        more = fields["input"]
        if not isinstance(more, str):
            raise UserError(f'"input" is {kind(more)}, not a text')
        fields["prompt"] = f"{fields['prompt']}\n\n{more}" if "prompt" in fields else more
    has_prompt = any(NAMES.get(name, name) in QUESTIONS for name in item)
    chosen, rejected = fields.get("chosen"), fields.get("rejected")
    if not has_prompt and isinstance(chosen, str) and isinstance(rejected, str):
        n = shared_text(chosen, rejected)
        fields |= {"prompt": chosen[:n].strip(), "chosen": chosen[n:], "rejected": rejected[n:]}
    system, place = fields.get("system"), "messages" if "messages" in fields else "prompt"
    talk = fields.get(place)
    if isinstance(talk, str):
        talk = [{"role": "user", "content": talk}]
    if isinstance(system, str) and isinstance(talk, list):      # ShareGPT
        fields[place] = [{"role": "system", "content": system}, *talk]
    return fields, empty - fields.keys()


def is_empty(value: Any) -> bool:
    """null, NaN, a blank text or an empty list."""
    return value is None or value != value or value == [] or (
        isinstance(value, str) and not value.strip())


def shared_text(one: str, two: str) -> int:
    """Length of the beginning that two texts share, up to a space (as TRL's extract_prompt)."""
    same = os.path.commonprefix([one, two])
    if not (n := same.rfind(" ") + 1):
        raise UserError("no prompt, and chosen and rejected do not begin alike")
    return n


def kind(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", str: "a text", list: "a list",
             dict: "an object", int: "a number", float: "a number", bytes: "bytes"}
    return names.get(type(value)) or f"a {type(value).__name__}"


# ---- turns ---------------------------------------------------------------------------------------
def turns(fields: dict, name: str, role: str = "") -> Turns | None:
    """A field as turns: a string is one turn of `role`, a list is messages."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and role:
        return (Turn(role, strip_answer(value) if role == "assistant" else value),)
    if not isinstance(value, list):
        wanted = "a text or a list of messages" if role else "a list of messages"
        raise UserError(f'"{name}" is {kind(value)}, not {wanted}')
    return tuple(message(m, f'message {i} of "{name}"') for i, m in enumerate(value, 1))


def message(m: Any, where: str) -> Turn:
    if not isinstance(m, dict):
        raise UserError(f'{where} is {kind(m)}, not {{"role": ..., "content": ...}}')
    role, text = m.get("role", m.get("from")), m.get("content", m.get("value"))
    role = ROLES.get(str(role), role)
    if role not in ("system", "user", "assistant", "tool"):
        raise UserError(f"{where} has the role {json.dumps(role, default=str)}; known are "
                        "system, user, assistant and tool")
    parts: list[Any] = text if isinstance(text, list) else [None]
    if all(isinstance(part, dict) and part.get("type") == "text" for part in parts):
        text = "\n".join(str(part.get("text")) for part in parts)
    unread = [name for name in UNREAD if m.get(name)]
    if unread:
        raise UserError(f'{where} has "{unread[0]}"; calls of tools and thoughts are read only as '
                        "text of its content")
    if is_empty(text) and {"content", "value"} & m.keys():
        text = ""
    if not isinstance(text, str):
        raise UserError(f"{where} has no text (images are not read)")
    if role != "assistant":
        return Turn(role, text)
    return Turn(role if is_trained(m, where) else "masked", strip_answer(text))


def is_trained(m: dict, where: str) -> bool:
    """True if an answer is trained on. {"weight": 0} of OpenAI, {"train": false} of axolotl and the
    like say no. UserError for a mark that could mean either."""
    marks = {name: value for name, value in m.items()
             if LIKE_A_MARK.search(name) and not is_empty(value)}
    for name, value in marks.items():
        if name not in MARKS or value not in (0, 1):
            raise UserError(f'{where} has "{name}": {value!r:.40}; whether an answer is '
                            'trained on is said by "weight" or "train": 1, 0, true or false')
    return all(marks.values())


def strip_answer(answer: str) -> str:
    """An answer without white space around it, because the template writes the separator. Two or
    more spaces or a tab before its first line stay, because code is indented."""
    text = re.sub(r"^\s*\n", "", answer.rstrip())
    return text.lstrip() if re.match(r" ?\S", text) else text


def messages_of(item: dict) -> list[tuple[str, int, dict]]:
    """(field, number, message) of each message in a line."""
    return [(name, i, m) for name, value in item.items() if isinstance(value, list)
            for i, m in enumerate(value, 1) if isinstance(m, dict) and m.keys() & {"role", "from"}]


def unread_of_messages(item: dict) -> list[str]:
    """Fields of messages that nothing reads, each once: ["messages[].feedback"]."""
    return [*dict.fromkeys(f"{name}[].{key}" for name, _, m in messages_of(item)
                           for key, value in m.items()
                           if key not in OF_MESSAGE and not is_empty(value))]


def no_grade_in_messages(item: dict, used_grades: Set[str]) -> None:
    """UserError for {"messages": [{"role": "assistant", "content": ..., "label": false}]}."""
    for name, i, m in messages_of(item):
        for grade in sorted(used_grades & {"label", "score"}):
            if not is_empty(m.get(grade)):
                raise UserError(f'message {i} of "{name}" has a "{grade}"; write it beside '
                                f'"{name}": there it counts for all answers but those with '
                                '"weight": 0')


def no_list_of_marks(item: dict) -> None:
    """UserError for {"messages": [...], "loss_mask": [0, 1]}."""
    for name, value in item.items():
        if LIKE_A_MARK.search(name) and isinstance(value, list):
            raise UserError(f'"{name}" is a list beside the messages; say it in each message, with '
                            '"weight" 0 or 1')
