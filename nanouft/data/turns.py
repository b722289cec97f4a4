"""One field of somebody's data -> turns: who speaks, which turns are trained on, and what is no plain text.

    turns([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho"}], "conversations", "my.json, item 1")
    dialogue("\\n\\nHuman: Hi\\n\\nAssistant: Ho")             # the same two turns, from one string
    shared_beginning("The sky is blue.", "The sky is green.")   # ("The sky is", "blue.", "green.")

What a tool says is a turn of role "tool". A call of a tool, and an answer of "weight" 0 (OpenAI's form), is a turn of
role "shown": the model reads it and is not trained on it. Raises UserError, one line with its place. Pure Python.
"""
import json
import os.path
import re
from collections.abc import Collection
from typing import Any

from nanouft.data.rows import Turn, Turns
from nanouft.shell.errors import UserError
from nanouft.shell.text import visible

TALKS = ("messages", "conversations")
ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
         "gpt": "assistant", "model": "assistant", "tool": "tool", "function": "tool", "observation": "tool",
         "function_call": "shown", "tool_call": "shown"}
CALLS = ("tool_calls", "function_call")                                 # fields of an assistant's message
TURN_FIELDS = {"from", "value", "role", "content", "weight", "name", "tool_call_id", *CALLS}
MARK = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):\s*")
FOREIGN = re.compile(r"\[/?INST\]|<\|(?:im_start|im_end|start_header_id|user|assistant|system|end)\|>|<start_of_turn>"
                     r"|^### ?(?:Instruction|Response|Human|Assistant|User):|^(?:Human|Assistant|USER|ASSISTANT):",
                     re.MULTILINE)


# ---- lists of messages -----------------------------------------------------------------------------------------------
def turns(value: Any, name: str, where: str, role: str = "assistant") -> Turns:
    """A string -> one turn of `role`; one message or a list of messages (or their JSON) -> turns. Blank system turns
    are dropped."""
    value = from_json(value) if name in (*TALKS, "prompt", "chosen", "rejected") else value
    if isinstance(value, str):
        return (Turn(role, string(value, name, where)),)
    if not isinstance(value, (list, dict)):
        raise UserError(f'{where}: "{name}" is {a_type(value)}, not a string or a list of turns')
    out = [message(turn, f'{where}: turn {n} of "{name}"')
           for n, turn in enumerate([value] if isinstance(value, dict) else value, 1)]
    return tuple(turn for turn in out if turn.role != "system" or turn.text.strip())


def message(turn: Any, place: str) -> Turn:
    if not isinstance(turn, dict):
        raise UserError(f'{place} is {a_type(turn)}, not an object with "role" and "content"')
    speaker, said = ("from", "value") if "from" in turn else ("role", "content")
    if speaker not in turn or said not in turn and not any(turn.get(k) for k in CALLS):
        raise UserError(f'{place} needs "role" and "content", or "from" and "value"')
    role = ROLES.get(string(turn[speaker], speaker, place).lower())
    if role is None:
        raise UserError(f"{place} has the unknown role {short(turn[speaker])}; known are {', '.join(ROLES)}")
    if role != "assistant":
        return Turn(role, content(turn[said], said, place))
    calls = [json.dumps(turn[key], ensure_ascii=False) for key in CALLS if turn.get(key)]
    weight = turn.get("weight")
    if weight not in (None, 0, 1):
        raise UserError(f'{place}: "weight" is {short(weight)}; it must be 1 (trained on) or 0 (only shown)')
    text = "" if calls and turn.get(said) is None else content(turn[said], said, place)
    return Turn("shown" if calls or weight == 0 else "assistant", "\n".join(filter(None, [text, *calls])))


def content(value: Any, name: str, place: str) -> str:
    """A string, or a list of parts: those of type text are joined, a line each."""
    if not isinstance(value, list):
        return string(value, name, place)
    out = []
    for n, part in enumerate(value, 1):
        kind = part.get("type", "text") if isinstance(part, dict) else None
        if kind != "text":
            said = f"of type {short(kind)}" if kind else a_type(part)
            raise UserError(f'{place}: part {n} of "{name}" is {said}; only parts of type "text" are read')
        out.append(string(part.get("text"), "text", place))
    return "\n".join(out)


def from_json(value: Any) -> Any:
    """Messages that stand in a string as JSON, as in a cell of a CSV file; any other value as it is: an answer may be
    JSON, too."""
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
    who, said = (turn.get("from"), turn.get("value")) if "from" in turn else (turn.get("role"), turn.get("content"))
    return isinstance(who, str) and who.lower() in ROLES and isinstance(said, (str, list))


# ---- dialogues and prompts inside strings ----------------------------------------------------------------------------
def is_dialogue(value: Any) -> bool:
    """Does a string hold turns after "Human:" or "Assistant:" (as hh-rlhf does)?"""
    return isinstance(value, str) and bool(MARK.search(value))


def dialogue(text: str, role: str = "assistant") -> Turns:
    """The turns of such a string; what stands before the first mark is a turn of `role`. An empty last one waits for
    its answer and is dropped."""
    before, *rest = MARK.split(text)
    out = [Turn({"Human": "user", "Assistant": "assistant"}[who], said.strip())
           for who, said in zip(rest[::2], rest[1::2])]
    if out and out[-1].role == "assistant" and not out[-1].text:
        del out[-1]
    return ((Turn(role, before.strip()),) if before.strip() else ()) + tuple(out)


def shared_beginning(one: str, two: str) -> tuple[str, str, str]:
    """(prompt, rest, rest): the longest beginning that two texts share, up to a space or else the edge of a word."""
    n = min(len(os.path.commonprefix([one, two])), len(one.rstrip()) - 1, len(two.rstrip()) - 1)
    same = one[:max(n, 0) + 1]
    spaces = [i for i in range(n, 0, -1) if same[i - 1].isspace()]
    edges = [i for i in range(n, 0, -1) if not (same[i - 1].isalnum() and (same[i] + two[i]).isalnum())]
    n = next(iter(spaces or edges), 0)
    return one[:n].strip(), one[n:].lstrip(), two[n:].lstrip()


# ---- single values and their messages --------------------------------------------------------------------------------
def string(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f'{where}: "{name}" is {a_type(value)}, not a string')
    try:
        value.encode()
        return value                                                    # no copy: texts are most of the memory
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a character becomes U+FFFD


def a_type(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def short(value: Any) -> str:
    """A value of the file in a message: as JSON, on one line, at most 40 characters."""
    text = visible(" ".join(json.dumps(value, ensure_ascii=False, default=str).splitlines()))
    return text if len(text) <= 40 else text[:37] + "..."


def quoted(keys: Collection[str]) -> str:
    names = [short(key) for key in keys]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
