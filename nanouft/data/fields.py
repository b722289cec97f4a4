"""The fields of a row: other spellings, types, and what each kind of method reads.

    typed_fields({"question": "Hi", "label": None}).values  # {"prompt": (Turn("user", "Hi"),)}

Three tables are the contract: NAMES, FIELDS and READ_FOR. `typed_fields` is the one loop over the
fields of a row, and has the one line of error. rows.py makes a Row of what it gives.
"""
import json
import re
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from nanouft.models.tokenizer import Turn, Turns
from nanouft.plumbing.errors import UserError

# another spelling -> our name
OF_MARKS = dict.fromkeys(["training", "trainable", "trained", "train_on_turn", "loss", "loss_mask"],
                         "train")
NAMES = {"completion": "response", "answer": "response", "output": "response",
         "question": "prompt", "instruction": "prompt", "conversations": "messages", **OF_MARKS}
OF_MESSAGES = {"from": "role", "value": "content", **OF_MARKS}
ROLES = {"human": "user", "gpt": "assistant", "developer": "system"}

QUESTION = {"prompt", "messages", "system", "input"}
PAIR = {"chosen", "rejected"}
MARKS = {"weight", "train"}
# the answer that a form of a row has -> the grades of this form
GRADES_OF = {"response": {"label", "score"}, "chosen": {"p", "score_chosen", "score_rejected"}}
GRADES = GRADES_OF["response"] | GRADES_OF["chosen"]
# kind of rows -> what a method that learns from them reads beside the question
READ_FOR: dict[str, set[str]] = {
    "demos": {"response", *PAIR, *MARKS, "label", "score"},
    "pairs": {*PAIR, *MARKS, "p"},
    "labels": {"response", *PAIR, *MARKS, "label"},
    "scores": {"response", *PAIR, *MARKS, "label", "score", "score_chosen", "score_rejected"},
    "prompts": set()}


def read_for(kinds: Collection[str]) -> set[str]:
    return set[str]().union(*(READ_FOR[kind] for kind in kinds))


# messages that became a text, as pandas writes them into a CSV
AS_TEXT = re.compile(r"""\[?\s*\{\s*["'](role|from|content|value|type)["']\s*:""")
ROLE_OR_PART = re.compile(r"""["'](role|from|type)["']\s*:\s*["'](user|assistant|system|tool|"""
                          """developer|human|gpt|text)["']""")
HH = re.compile(r"(?:^|\n\n)(Human|Assistant): ?")      # turns of a dialogue of HH-RLHF
HH_WAITS = re.compile(r"\s*Human:.*\n\nAssistant:\s*", re.DOTALL)    # one without its last answer
# fields of a message that may hold its answer, or a part of it, beside the text
BESIDE_TEXT = {"tool_calls", "function_call", "reasoning_content", "reasoning", "thinking"}


# ---- types of fields: a JSON value -> what a Row holds. Any error says that it is of another type
def a_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if AS_TEXT.match(value.lstrip()) and ROLE_OR_PART.search(value):
        raise UserError("messages stored as one text, as a CSV does; save the rows as .jsonl or "
                        ".parquet")
    return value


def text_or_parts(value: Any) -> str:
    """A text, or OpenAI's parts of one."""
    if not isinstance(value, list):
        return a_text(value)
    for part in value:
        if part["type"] != "text":
            raise UserError(f"a content part of the type {shown(part['type'])}; only \"text\" is "
                            "supported")
        if {NAMES.get(key, key) for key in part} & MARKS:
            raise UserError('"weight" or "train" in a content part; it belongs to the whole '
                            'message, beside "role"')
    return "\n".join(a_text(part["text"]) for part in value)


def message(m: dict) -> Turn:
    """`weight` 0 (OpenAI) or `train` false (axolotl) says that an answer is only read."""
    given, twice = by_our_names(m, OF_MESSAGES)
    for why in twice.values():
        raise UserError(why)
    ours = {name: value for name, (_, value) in given.items()}
    role = ROLES.get(ours["role"], ours["role"])
    if role not in ("system", "user", "assistant", "tool"):
        raise UserError(f"the unknown role {shown(role)}; roles are system, user, assistant and "
                        "tool")
    if not {"content", "value", *BESIDE_TEXT} & m.keys():
        raise ValueError
    marks = [to_bool(ours[mark]) for mark in MARKS & ours.keys()]
    text = strip_answer(text_or_parts(ours.get("content", "")), role)
    return Turn("masked" if role == "assistant" and not all(marks) else role, text)


def messages(value: Any) -> Turns:
    """A list of messages, or one alone."""
    turns = []
    for m in [value] if isinstance(value, dict) else value:
        try:
            turns.append(message(m))
        except UserError:
            raise
        except Exception:
            raise UserError(f"{shown(m)}; a message is {A_MESSAGE}") from None
    return tuple(turns)


def turns_as(role: str) -> Callable[[Any], Turns]:
    """A text of this role, or messages."""
    def turns(value: Any) -> Turns:
        listed = [value] if isinstance(value, dict) else value
        if isinstance(listed, list) and any("role" in m or "from" in m for m in listed):
            return messages(listed)
        return (Turn(role, strip_answer(text_or_parts(value), role)),)
    return turns


def system(value: Any) -> Turns:
    turns = turns_as("system")(value)
    if any(turn.role != "system" for turn in turns):
        raise ValueError
    return turns


def prompt(value: Any) -> Turns:
    """As talk("user"), or a dialogue in one text that waits for its answer, as of HH-RLHF."""
    if isinstance(value, str) and HH_WAITS.fullmatch(value):
        return dialogue(value)
    return turns_as("user")(value)


def side_of_pair(value: Any) -> Turns:
    """As talk("assistant"), or a whole dialogue in one text, as in HH-RLHF."""
    if isinstance(value, str) and value.lstrip().startswith("Human:"):
        return dialogue(value)
    return turns_as("assistant")(value)


def dialogue(text: str) -> Turns:
    """The turns of a text of HH-RLHF."""
    _, *pieces = HH.split(text.strip())
    return tuple(Turn("user" if who == "Human" else "assistant", text.strip())
                 for who, text in zip(pieces[::2], pieces[1::2]))


def to_bool(value: Any) -> float:
    """Also the cell of a table: "True", "1.0"."""
    word = value.strip().lower() if isinstance(value, str) else value
    return {0.0: 0.0, 1.0: 1.0}[float({"false": 0, "true": 1}.get(word, word))]


def share(value: Any) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError
    return float(value)


A_MESSAGE = '{"role": "user", "content": TEXT or parts of the type text}; "weight" is 0 or 1'
TALK = "a text or messages"
GRADE = "a number from 0 to 1; divide by the highest"
MARK = "true or false, or 1 or 0"
FIELDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "prompt": (prompt, TALK), "input": (a_text, "a text"),
    "system": (system, "a text, or messages of the role system"),
    "messages": (messages, f"a list of messages; each is {A_MESSAGE}"),
    "response": (turns_as("assistant"), TALK),
    "chosen": (side_of_pair, TALK), "rejected": (side_of_pair, TALK),
    "weight": (to_bool, MARK), "train": (to_bool, MARK),
    "label": (to_bool, f'{MARK}; call a grade "score"'), "score": (share, GRADE),
    "p": (share, GRADE), "score_chosen": (share, GRADE), "score_rejected": (share, GRADE)}


def strip_answer(text: str, role: str) -> str:
    """An answer without white space around it, because the template writes the separator. Two or
    more spaces or a tab before its first line stay, because code is indented."""
    if role != "assistant":
        return text
    text = re.sub(r"^\s*\n", "", text.rstrip())
    return text.lstrip() if re.match(r" ?\S", text) else text


# ---- the loop ------------------------------------------------------------------------------------
class Fields(NamedTuple):
    """The fields of a row, by our names."""
    values: dict[str, Any]          # each as its type
    blank: set[str]                 # those that are there and empty
    wrong: dict[str, str]           # those that cannot be read, and why


def typed_fields(item: dict) -> Fields:
    known = {name: x for name, x in item.items() if NAMES.get(name, name) in FIELDS}
    given, wrong = by_our_names(known, NAMES)
    values: dict[str, Any] = {}
    for ours, (name, value) in given.items():
        if ours in wrong:
            continue
        read_as, wanted = FIELDS[ours]
        try:
            values[ours] = read_as(value)
        except UserError as e:
            wrong[ours] = f'"{name}": {e}'
        except Exception:                               # whatever another type does there
            wrong[ours] = f'"{name}" is {shown(value)}; expected {wanted}'
    return Fields(values, {NAMES.get(name, name) for name in known} - given.keys(), wrong)


def by_our_names(item: dict, names: dict[str, str]) -> tuple[dict[str, tuple[str, Any]],
                                                             dict[str, str]]:
    """({our name: (the name as written, value)} of all fields that are not empty, {our name: why}
    of those that are there by two names)."""
    fields: dict[str, tuple[str, Any]] = {}
    twice: dict[str, str] = {}
    for name, value in item.items():
        ours = names.get(name, name)
        if is_empty(value):
            continue
        if ours in fields:
            twice[ours] = f'"{fields[ours][0]}" and "{name}" are names of one field; remove one'
        fields.setdefault(ours, (name, value))
    return fields, twice


def is_empty(value: Any) -> bool:
    """null, NaN, a blank text, an empty list or object."""
    blank = isinstance(value, str) and not value.strip()
    return blank or value is None or value != value or value in ([], {})


def shown(value: Any) -> str:
    """The beginning of a value as JSON; of one that JSON has not, the type too: "date 2024-01-02".
    """
    text = json.dumps(value, default=lambda x: f"{type(x).__name__} {x}", ensure_ascii=False)
    return text if len(text) < 60 else text[:57] + "..."


# ---- what no one reads ---------------------------------------------------------------------------
def is_beside_text(name: str) -> bool:
    """True for "messages[].tool_calls": a field that may hold an answer, or a part of it."""
    messages, _, field = name.rpartition("[].")
    return field in BESIDE_TEXT and bool(messages or field == "reasoning_content")


def unread_in(item: dict, used: Collection[str]) -> dict[str, list]:
    """{"thumb": ["up"], "messages[].vote": [1, 0], "messages[].content[].cite": [3]}: the fields of
    a row that are not used, and what no one reads of messages, with their values."""
    unread: dict[str, list] = {}
    for name, value in item.items():
        if NAMES.get(name, name) in used:
            add_unread(value, name, unread)
        elif not is_empty(value):
            unread[str(name).strip() or repr(name)] = [value]
    return unread


def add_unread(value: Any, name: str, unread: dict[str, list], parts: bool = False) -> None:
    """What no one reads of messages, and of the parts of their texts (`parts`). name: the field
    that holds them."""
    for m in value if isinstance(value, list) else [value]:
        if not isinstance(m, dict):
            continue
        is_message = not parts and {"role", "from"} & m.keys()
        read = {"role", *MARKS} if is_message else {"type", "text"}
        for key, x in m.items():
            ours = OF_MESSAGES.get(key, key)
            if is_message and ours == "content":
                add_unread(x, f"{name}[].content", unread, parts=True)
            elif ours not in read and not is_empty(x):
                unread.setdefault(f"{name}[].{key}", []).append(x)
