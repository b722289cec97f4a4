"""The forms in which files write a row: names of fields, messages, marks of trained answers.

    fields, empty = fields_of({"question": "Hi", "answer": "Ho", "label": None})
    turns(fields, "prompt", "user")         # (Turn("user", "Hi"),)

A text may also be a message or a list of messages.
"""
import json
import math
import os.path
import re
from decimal import Decimal
from typing import Any

from nanouft.models.tokenizer import Turn, Turns
from nanouft.plumbing.errors import UserError

NAMES = {"completion": "response", "answer": "response", "output": "response",
         "question": "prompt", "instruction": "prompt", "conversations": "messages"}
ROLES = {"human": "user", "gpt": "assistant", "developer": "system"}
NEEDED = "prompt and response, messages, prompt and chosen and rejected, or prompt alone"
QUESTIONS, ANSWER_FIELDS = {"prompt", "messages"}, {"response", "chosen", "rejected"}
GRADES, NUMBERS = {"label", "score", "p"}, {"label", "score", "p", "score_chosen", "score_rejected"}
MARKS = {"weight", "train", "training", "trainable", "trained", "train_on_turn", "loss",
         "loss_mask"}
FIELDS = {*NAMES, *QUESTIONS, *ANSWER_FIELDS, *NUMBERS, *MARKS, "input", "system"}
# messages, or parts of a text, that became a text, as pandas writes them into a CSV
AS_TEXT = re.compile(r"""\[?\s*\{\s*["'](role|from|content|value|type)["']\s*:""")
ROLE_OR_PART = re.compile(r"""["'](role|from|type)["']\s*:\s*["'](user|assistant|system|tool|"""
                          """developer|human|gpt|text)["']""")
UP = {"true", "1", "1.0", "yes", "good", "up", "positive", "correct", "\U0001f44d"}
DOWN = {"false", "0", "0.0", "-1", "-1.0", "no", "bad", "down", "negative", "incorrect", "wrong",
        "\U0001f44e"}
LIKE_A_MARK = re.compile("train|loss|mask|weight|learn|supervis|ignore|exclude|skip|freeze", re.I)
UNREAD = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")


# ---- fields --------------------------------------------------------------------------------------
def fields_of(item: Any) -> tuple[dict, set[str]]:
    """(fields, empty): a line's fields in our names, with the prompt wherever the line has it; and
    the names of fields that are null or blank."""
    if isinstance(item, UserError):                     # of its file
        raise item
    if not isinstance(item, dict):
        raise UserError(f"is no object with {NEEDED}")
    fields: dict[str, Any] = {}
    empty: set[str] = set()
    written = {NAMES.get(name, name) for name in item}
    for name, value in item.items():
        ours, value = NAMES.get(name) or name, one_or_more(value)
        if is_empty(value):
            empty.add(ours)
        elif ours in fields:
            raise UserError(f'"{name}" and another field may both be the {ours}; rename one')
        else:
            fields[ours] = value
    if "input" in fields and "prompt" in written:       # Alpaca
        more = [fields[x] for x in ("prompt", "input") if x in fields]
        if "messages" not in fields and all(isinstance(x, str) for x in more):
            turns(fields, "input", "user")              # refuses messages that became a text
            del fields["input"]
            fields["prompt"] = "\n\n".join(more)
    chosen, rejected = fields.get("chosen"), fields.get("rejected")
    if not written & QUESTIONS and isinstance(chosen, str) and isinstance(rejected, str):
        n = os.path.commonprefix([chosen, rejected]).rfind(" ") + 1     # as TRL's extract_prompt
        fields |= {"prompt": chosen[:n].strip(), "chosen": chosen[n:], "rejected": rejected[n:]}
        if not n:
            raise UserError("no prompt, and chosen and rejected do not begin alike")
    return fields, empty - fields.keys()


def is_talk(value: Any) -> bool:
    """A text, or a list of messages."""
    return isinstance(value, str) or isinstance(value, list) and all(
        isinstance(m, dict) and bool(m.keys() & {"role", "from"}) for m in value)


def one_or_more(value: Any) -> Any:
    """A message alone as a list of messages; any other value as it is."""
    return [value] if isinstance(value, dict) and value.keys() & {"role", "from"} else value


def plain(value: Any) -> Any:
    """Lists and numbers in place of those of numpy, pandas and torch."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return [plain(x) for x in value]
    if isinstance(value, dict):
        return {name: plain(x) for name, x in value.items()}
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def is_empty(value: Any) -> bool:
    """null, NaN, a blank text or an empty list."""
    return value is None or isinstance(value, (float, Decimal)) and math.isnan(value) or (
        isinstance(value, str) and not value.strip()) or isinstance(value, list) and not value


def fields_of_messages(item: dict) -> dict[str, list]:
    """Fields of messages, and of the parts of their texts, that nothing reads, with their values:
    {"messages[].feedback": ["up"], "messages[].content[].citations": [7, 9]}."""
    known, of_parts = {"role", "from", "content", "value", *MARKS}, {"type", "text"}
    found: list[tuple[str, dict, set[str]]] = []
    for name, value in item.items():
        value = one_or_more(value)
        for m in value if isinstance(value, list) else ():
            if isinstance(m, dict) and m.keys() & {"role", "from"}:
                found.append((name, m, known))
                found += ((f"{name}[].content", part, of_parts) for part in parts_of(m))
            elif isinstance(m, dict) and name == "system":
                found.append((name, m, of_parts))
    values: dict[str, list] = {}
    for name, some, read in found:
        for key, x in some.items():
            if key not in read and not is_empty(x):
                values.setdefault(f"{name}[].{key}", []).append(x)
    return values


def parts_of(m: dict) -> list[dict]:
    """The parts of a message's text, if it has parts."""
    texts = [text for name in ("content", "value") if isinstance(text := m.get(name), list)]
    return [part for text in texts for part in text if isinstance(part, dict)]


# ---- turns ---------------------------------------------------------------------------------------
def turns(fields: dict, name: str, role: str = "") -> Turns | None:
    """A field as turns: a string is one turn of `role`, a list is messages."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and AS_TEXT.match(value.lstrip()) and ROLE_OR_PART.search(value):
        raise UserError(f'"{name}" is a text that holds messages; save it as .jsonl or .parquet')
    if isinstance(value, str) and role:
        return (Turn(role, strip_answer(value) if role == "assistant" else value),)
    if not isinstance(value, list):
        raise UserError(f'"{name}" is no {"text, and no " * bool(role)}list of messages')
    return tuple(message(m, f'message {i} of "{name}"') for i, m in enumerate(value, 1))


def system_turns(fields: dict) -> Turns:
    """The field `system` as turns: a text, the parts of one, or messages."""
    system = fields.get("system")
    if isinstance(system, list) and not is_talk(system):
        system = [{"role": "system", "content": system}]
    said = turns({"system": system}, "system", "system") or ()
    if any(turn.role != "system" for turn in said):
        raise UserError('"system" holds a message of another role')
    return said


def with_system(system: Turns, talk: Turns) -> Turns:
    """A dialogue behind its system prompt, which it may have already."""
    if talk[:len(system)] == system:
        return talk
    if talk[0].role == "system":
        raise UserError('"system" and the first message are two system prompts; remove one')
    return system + talk


def message(m: Any, where: str) -> Turn:
    if not isinstance(m, dict) or not m.keys() & {"role", "from"}:
        raise UserError(f'{where} is not {{"role": ..., "content": ...}}')
    role = m.get("role", m.get("from"))
    role = ROLES.get(str(role), role)
    if role not in ("system", "user", "assistant", "tool"):
        raise UserError(f"{where} has the role {json.dumps(role, default=str)}; known are "
                        "system, user, assistant and tool")
    if unread := [name for name in UNREAD for some in (m, *parts_of(m)) if some.get(name)]:
        raise UserError(f'{where} has "{unread[0]}"; calls of tools and thoughts are read only as '
                        "text of its content")
    text = text_of(m, where)
    if role != "assistant":
        return Turn(role, text)
    for name, value in ((name, x) for part in parts_of(m) for name, x in part.items()):
        if LIKE_A_MARK.search(name) and not is_empty(value):
            raise UserError(f'{where} has "{name}" in a part of its text; a mark is of the whole '
                            "message: write it beside the role")
    return Turn(role if is_trained(m, where) else "masked", strip_answer(text))


def text_of(m: dict, where: str) -> str:
    """The text of a message, or of all its parts; "" for a null or blank one."""
    said = [m[name] for name in ("content", "value") if not is_empty(m.get(name))]
    if not said and {"content", "value"} & m.keys():
        return ""
    parts: list[Any] = said[0] if said and isinstance(said[0], list) else [None]
    if all(isinstance(part, dict) and part.get("type") == "text"
           and isinstance(part.get("text"), str) for part in parts):
        said[0] = "\n".join(part["text"] for part in parts)
    if len(said) != 1 or not isinstance(said[0], str):
        found = json.dumps(said[0], default=str)[:60] if said else "nothing"
        raise UserError(f'{where} has no text but {found}; "content" is a text, or a list of '
                        '{"type": "text", "text": ...} (images are not read)')
    return said[0]


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
