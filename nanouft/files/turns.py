"""The fields of somebody's row -> conversations: who speaks, which turns are trained on, and what is no plain text.

    row_talks({"prompt": "Hi", "response": "Ho"}, form, "my.json, item 1")      # each field as a whole conversation
    shared_beginning("The sky is blue.", "The sky is green.")   # ("The sky is", "blue.", "green.")

What a tool says is a turn of role "tool". A call of a tool, and an answer of "weight" 0 (OpenAI's form), is a turn of
role "shown": the model reads it and is not trained on it. Raises UserError, one line with its place. Pure Python.
"""
import json
import os.path
import re
from typing import Any, NamedTuple

from nanouft.data.rows import ANSWERS, Turn, Turns
from nanouft.errors import UserError
from nanouft.files.forms import ABOUT, CALLS, MARK, TALKS, WEIGHTS, Form, found_fields, is_dialogue
from nanouft.files.words import json_type, quoted_names, short_json

ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
         "gpt": "assistant", "model": "assistant", "tool": "tool", "function": "tool", "observation": "tool",
         "function_call": "shown", "tool_call": "shown"}
FOREIGN = re.compile(r"\[/?INST\]|<\|(?:im_start|im_end|start_header_id|user|assistant|system|end)\|>|<start_of_turn>"
                     r"|^### ?(?:Instruction|Response|Human|Assistant|User):|^(?:Human|Assistant|USER|ASSISTANT):",
                     re.MULTILINE)


# ---- a row -----------------------------------------------------------------------------------------------------------
class Talks(NamedTuple):
    """A row's fields as conversations. None: there is no such field."""
    prompt: Turns                       # the field of the prompt: a question, or a conversation with its answers
    demo: Turns | None                  # this and the next two go from their first turn to their last answer
    chosen: Turns | None
    rejected: Turns | None
    inside: bool                        # does the field of the prompt hold the demonstration, too?

    @property
    def question(self) -> Turns:
        """The prompt, up to the last thing that is said to the model."""
        return until_last(self.prompt, "user", "tool")


def row_talks(item: dict, form: Form, where: str) -> Talks:
    chosen, rejected = item.get("chosen"), item.get("rejected")
    if form.prompt is None and not form.dialogues and isinstance(chosen, str) and isinstance(rejected, str):
        prompt, chosen, rejected = implicit_prompt(item, where)
    else:
        prompt = prompt_turns(item, form, where)
    demo = until_last(prompt, "assistant")
    inside = form.response is None and (demo != () or isinstance(item.get(form.prompt), (list, dict)))
    talks = Talks(prompt, demo if inside else None, None, None, inside)
    if not inside:
        talks = talks._replace(demo=whole_talk(item.get(form.response), form.response, talks, form, where))
    return talks._replace(chosen=whole_talk(chosen, "chosen", talks, form, where),
                          rejected=whole_talk(rejected, "rejected", talks, form, where))


def prompt_turns(item: dict, form: Form, where: str) -> Turns:
    """The turns of the prompt field (a string, or a conversation with its answers), after the field "system"."""
    value = item.get(form.prompt)
    if value is None and form.prompt and not isinstance(item.get("chosen"), list):
        raise UserError(f"{where}: no prompt in {quoted_names([form.prompt])}; "
                        f"{found_fields(item)}; add it, or name its field with --prompt-field")
    if form.prompt == "instruction" and isinstance(value, str):
        about = [string(item[name], name, where) for name in ABOUT if item.get(name) is not None]
        value = "\n\n".join(text for text in (value, *about) if text.strip())
    out = () if value is None else field_turns(value, form.prompt or "", where, form.dialogues, "user")
    if form.prompt in TALKS and isinstance(value, str) and len(out) == 1:
        raise UserError(f'{where}: "{form.prompt}" is a string, not a list of turns')
    system = string(item["system"], "system", where) if item.get("system") is not None else ""
    return (Turn("system", system), *out) if system.strip() and not any(t.role == "system" for t in out) else out


def implicit_prompt(item: dict, where: str) -> tuple[Turns, str, str]:
    """Of a pair of texts without a prompt (TRL's implicit prompt): their shared beginning and the two answers."""
    prompt, chosen, rejected = shared_beginning(string(item["chosen"], "chosen", where),
                                                string(item["rejected"], "rejected", where))
    if not prompt:
        raise UserError(f'{where}: no prompt, and "chosen" and "rejected" do not begin alike; {found_fields(item)}; '
                        "add it, or name its field with --prompt-field")
    return (Turn("user", prompt),), chosen, rejected


def whole_talk(value: Any, name: str | None, talks: Talks, form: Form, where: str) -> Turns | None:
    """A field as a whole conversation: after the question, if it holds an answer alone. None for an empty field."""
    said = () if value is None else field_turns(value, name or "", where, form.dialogues)
    if not said:
        return None
    if said[0].role in ANSWERS:
        return until_last(talks.question + said, "assistant")
    if lost := [turn for turn in talks.question if turn.role == "user" and turn not in said]:
        raise UserError(f'{where}: "{name}" is a whole conversation, and {short_json(lost[0].text)} of '
                        f'"{form.prompt}" is not in it; remove one of the two')
    system = [turn for turn in talks.prompt[:1] if turn.role == "system" and said[0].role == "user"]
    return until_last((*system, *said), "assistant")


def until_last(talk: Turns, *roles: str) -> Turns:
    """Without the turns after the last one in these roles."""
    return talk[:max((i + 1 for i, turn in enumerate(talk) if turn.role in roles), default=0)]


# ---- lists of messages -----------------------------------------------------------------------------------------------
def field_turns(value: Any, name: str, where: str, dialogues: bool = False, role: str = "assistant") -> Turns:
    """A string -> one turn of `role`; one message or a list of messages (or their JSON) -> turns. Blank system turns
    are dropped. `dialogues`: strings may hold turns; what stands before the first one of a prompt is a system turn."""
    if dialogues and is_dialogue(value):
        return dialogue(string(value, name, where), "system" if role == "user" else role)
    value = from_json(value) if name in (*TALKS, "prompt", "chosen", "rejected") else value
    if isinstance(value, str):
        return (Turn(role, string(value, name, where)),)
    if isinstance(value, dict):
        value = value["messages"] if isinstance(value.get("messages"), list) else [value]
    if not isinstance(value, list):
        raise UserError(f'{where}: "{name}" is {json_type(value)}, not a string or a list of turns')
    if value and all(isinstance(turn, str) for turn in value):
        raise UserError(f'{where}: "{name}" is a list of strings, not of turns; write one row for each, or turns with '
                        '"role" and "content"')
    out = [message(turn, f'{where}: turn {n} of "{name}"')
           for n, turn in enumerate(value, 1) if not is_empty(turn, n == len(value))]
    return tuple(turn for turn in out if turn.role != "system" or turn.text.strip())


def is_empty(turn: Any, last: bool) -> bool:
    """Null in a system turn or a last question: parquet fills every row to the same fields."""
    return (isinstance(turn, dict) and turn.get("content", turn.get("value")) is None
            and turn.get("role", turn.get("from")) in ("system", *(("user", "human") if last else ())))


def message(turn: Any, place: str) -> Turn:
    if not isinstance(turn, dict):
        raise UserError(f'{place} is {json_type(turn)}, not an object with "role" and "content"')
    speaker, said = ("from", "value") if "from" in turn else ("role", "content")
    if speaker not in turn or said not in turn and not any(turn.get(k) for k in CALLS):
        raise UserError(f'{place} needs "role" and "content", or "from" and "value"')
    role = ROLES.get(string(turn[speaker], speaker, place).lower())
    if role is None:
        raise UserError(f"{place} has the unknown role {short_json(turn[speaker])}; known are {', '.join(ROLES)}")
    if role != "assistant":
        return Turn(role, content(turn[said], said, place))
    calls = [json.dumps(turn[key], ensure_ascii=False) for key in CALLS if turn.get(key)]
    weights = {name: turn[name] for name in WEIGHTS if turn.get(name) is not None}
    for name, weight in weights.items():
        if weight not in (0, 1):
            raise UserError(f'{place}: "{name}" is {short_json(weight)}; it must be 1 (trained on) or 0 (only shown)')
    text = "" if calls and turn.get(said) is None else content(turn[said], said, place)
    return Turn("shown" if calls or 0 in weights.values() else "assistant", "\n".join(filter(None, [text, *calls])))


def content(value: Any, name: str, place: str) -> str:
    """A string, or a list of parts: those of type text are joined, a line each."""
    if not isinstance(value, list):
        return string(value, name, place)
    out = []
    for n, part in enumerate(value, 1):
        kind = part.get("type", "text") if isinstance(part, dict) else None
        if kind != "text":
            said = f"of type {short_json(kind)}" if kind else json_type(part)
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


def string(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f'{where}: "{name}" is {json_type(value)}, not a string')
    try:
        value.encode()
        return value                                                    # no copy: texts are most of the memory
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a character becomes U+FFFD
