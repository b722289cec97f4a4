"""One JSON object -> one Row: which of the many forms of fine-tuning data is this, and what does each field mean?

    Alpaca         {"instruction": ..., "input": ..., "output": ...}
    prompt/answer  {"prompt": ..., "response": ...}  or  "completion"
    messages       {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}
    ShareGPT       {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}
    pairs          "chosen" and "rejected" beside a prompt, or as two conversations that begin alike
    and, beside a response: "label" (true/false) and "score" (0..1); beside a prompt: "system";
    beside a pair: "p" (0..1), the probability that the chosen answer is the better one

The idea: every field becomes a whole conversation first; then one place decides where the prompt ends (`parse`).
What cannot be understood raises UserError, one line with place, reason and remedy; a row with nothing to learn from
(an empty response) raises Skip, which read.py counts and announces. Nothing here opens a file.
Simplified: text only (no images, no tool calls); a prompt without any answer is no row. Pure Python, no torch.
"""
import json
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nanouft.data.rows import Row, Turn, Turns
from nanouft.shell.config import UserError
from nanouft.shell.text import visible

TALKS, PROMPTS = ("messages", "conversations"), ("instruction", "prompt")         # fields, in order of preference
RESPONSES = ("output", "response", "completion")
KNOWN = (*TALKS, *PROMPTS, "input", *RESPONSES, "chosen", "rejected", "label", "score", "p", "system")
FORMS = "instruction/input/output, prompt/response, prompt/completion, messages, conversations, prompt/chosen/rejected"
ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}


class Skip(Exception):
    """A row that is well formed but holds nothing to learn from; the message is the reason that is counted."""


# ---- which field is what? --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Form:
    name: str                           # said aloud
    prompt: str | None                  # field with the prompt or the whole conversation; None: inside chosen/rejected
    response: str | None                # None: inside the conversation, or there are only pairs
    unused: list[str]


def detect(path: str, items: list[tuple[str, dict]], prompt: str | None, response: str | None) -> Form:
    """The form of a file, from all fields that hold something in any row (null counts as absent)."""
    keys = list(dict.fromkeys(key for _, item in items for key, value in item.items() if value is not None))
    for flag, name in (("--prompt-field", prompt), ("--response-field", response)):
        if name is not None and name not in keys:
            near = "".join(f"; did you mean {short(key)}?" for key in get_close_matches(name, keys, 1))
            raise UserError(f"{path}: no row has the field {short(name)} of {flag}; "
                            f"the fields are {quoted(keys)}{near}")
    pairs = "chosen" in keys and "rejected" in keys
    response = None if response == prompt else response
    prompt = prompt or next((key for key in TALKS + PROMPTS if key in keys), None)
    if response is None and prompt not in TALKS:
        response = next((key for key in RESPONSES if key in keys), None)
    if prompt is None and (response or not pairs):
        raise UserError(f"{items[0][0]}: no field with a prompt; {found(keys)}; forms understood: {FORMS}; "
                        "or name your fields with --prompt-field and --response-field")
    name = "/".join(key for key in (prompt, response) if key) or "conversations"
    if prompt == "instruction" and response in (None, "output"):
        name = "Alpaca"
    elif name == "conversations" and prompt:
        name = "ShareGPT conversations"
    extra = ["pairs"] * pairs + ["labels"] * ("label" in keys) + ["scores"] * ("score" in keys)
    used = {prompt, response, "chosen", "rejected", "label", "score", "p", "system"}
    used |= {"input"} if prompt == "instruction" else set()
    unused = [key for key in keys if key not in used]
    return Form(name + " with " * bool(extra) + " and ".join(extra), prompt, response, unused)


def parse(item: dict, form: Form, where: str, prompts: bool = False) -> Row:
    """One object -> one Row. Raises Skip (nothing to learn from) or UserError (not understood). `prompts`: a row that
    only asks is a row too."""
    talk = prompt_turns(item, form, where)                              # a question, or a conversation with its answers
    inside = form.response is None and isinstance(item.get(form.prompt), (list, dict))
    users = [i for i, turn in enumerate(talk) if turn.role == "user"]
    question = talk[:users[-1] + 1] if users else ()                    # up to the last thing that the user says

    def whole(name: str) -> Turns | None:
        """The field as a whole conversation, from the system turn to the last answer."""
        value = item.get(name)
        said = () if value is None else turns(value, name, where)
        if not said:
            return None
        system = talk[:1] if talk and talk[0].role == "system" and said[0].role == "user" else ()
        return until_answer(question + said if said[0].role == "assistant" else system + said)

    demo = until_answer(talk) if inside else whole(form.response) if form.response else None
    chosen, rejected = whole("chosen"), whole("rejected")
    if (chosen is None) != (rejected is None):
        if form.response not in ("chosen", "rejected"):
            raise UserError(f'{where}: a pair needs both "chosen" and "rejected", and one is missing or null')
        chosen = rejected = None
    if prompts and not demo and chosen is None and question:
        return Row(question, where=where)
    if demo is None and chosen is None:
        fields = [form.response] if form.response else RESPONSES
        raise UserError(f"{where}: no response in {quoted(fields)} and no pair; "
                        f"{found(item)}; add it, or name its field with --response-field")

    # Where does the prompt end? Before the first answer of a conversation. In a pair, where its two sides part; a
    # demonstration beside it shares that prompt, so of a long conversation beside a pair only the end is trained on.
    if chosen == () or rejected == ():
        raise Skip("no assistant turn")
    if chosen is not None:
        n, most = 0, min(len(chosen), len(rejected)) - 1
        while n < most and chosen[n] == rejected[n]:
            n += 1
        prompt, chosen, rejected = chosen[:n], chosen[n:], rejected[n:]
        if not n or chosen[0].role != "assistant" or rejected[0].role != "assistant":
            raise UserError(f'{where}: "chosen" and "rejected" do not answer the same prompt; {found(item)}')
        if demo is not None and demo[:n] != prompt[:len(demo)]:
            raise UserError(f"{where}: the pair and the demonstration do not answer the same prompt; use one of them")
    elif not inside and demo[:len(question)] == question:
        prompt = question
    else:
        prompt = demo[:next((i for i, turn in enumerate(demo) if turn.role == "assistant"), 0)]
    answer = demo[len(prompt):] or None if demo else None

    if answer is None and chosen is None:
        raise Skip("no assistant turn")
    asked = [turn.text for turn in prompt if turn.role == "user"]
    if not any(text.strip() for text in asked):
        raise Skip("empty prompt" if asked else "no user turn before the answer")
    for name, trained in (("response", answer), ("chosen", chosen), ("rejected", rejected)):
        if trained and not all(turn.text.strip() for turn in trained if turn.role == "assistant"):
            raise Skip(f"empty {name}")
    score, label = number(item.get("score"), where), truth(item.get("label"), where)
    p = number(item.get("p"), where, "p")
    if answer is None and (score is not None or label is not None):
        raise UserError(f"{where}: a label or score judges one response, and this row has only a pair; remove it")
    if score is not None and label is not None and (score > 0.5) != label and score != 0.5:
        raise UserError(f'{where}: "label" {short(label)} and "score" {short(score)} contradict each other; remove one')
    if p is not None and chosen is None:
        raise UserError(f'{where}: "p" says how sure the preference of a pair is, and this row has no pair; remove it')
    return Row(prompt, answer, chosen, rejected, score, label, p, where=where)


def prompt_turns(item: dict, form: Form, where: str) -> Turns:
    """The turns of the prompt field (a string, or a conversation with its answers), after the field "system"."""
    value = item.get(form.prompt)
    if value is None and not isinstance(item.get("chosen"), list):
        raise UserError(f"{where}: no prompt in {quoted([form.prompt] if form.prompt else TALKS + PROMPTS)}; "
                        f"{found(item)}; add it, or name its field with --prompt-field")
    if form.prompt in TALKS and isinstance(value, str):
        raise UserError(f'{where}: "{form.prompt}" is a string, not a list of turns')
    if form.prompt == "instruction" and isinstance(value, str) and item.get("input") is not None:
        extra = string(item["input"], "input", where)                  # Alpaca: the text that the instruction is about
        value = "\n\n".join(text for text in (value, extra) if text.strip())
    out = () if value is None else turns(value, form.prompt, where, role="user")
    system = string(item["system"], "system", where) if item.get("system") is not None else ""
    return (Turn("system", system), *out) if system.strip() and not any(t.role == "system" for t in out) else out


def turns(value: Any, name: str, where: str, role: str = "assistant") -> Turns:
    """A string -> one turn of `role`; one message or a list of messages -> turns. Blank system turns are dropped."""
    if isinstance(value, str):
        return (Turn(role, string(value, name, where)),)
    if not isinstance(value, (list, dict)):
        raise UserError(f'{where}: "{name}" is {a_type(value)}, not a string or a list of turns')
    out = []
    for n, turn in enumerate([value] if isinstance(value, dict) else value, 1):
        place = f'{where}: turn {n} of "{name}"'
        speaker, said = ("from", "value") if isinstance(turn, dict) and "from" in turn else ("role", "content")
        if not isinstance(turn, dict) or speaker not in turn or said not in turn:
            raise UserError(f'{place} needs "role" and "content", or "from" and "value"')
        who = ROLES.get(string(turn[speaker], speaker, place))
        if who is None:
            raise UserError(f"{place} has the unknown role {short(turn[speaker])}; known are {', '.join(ROLES)}")
        text = string(turn[said], said, place)
        if who != "system" or text.strip():
            out.append(Turn(who, text))
    if any(turn.role == "system" for turn in out[1:]):
        raise Skip("system turn after the first turn")
    return tuple(out)


def until_answer(talk: Turns) -> Turns:
    """Without the turns after the last answer: nobody answers them."""
    return talk[:max((i + 1 for i, turn in enumerate(talk) if turn.role == "assistant"), default=0)]


# ---- single values and their messages --------------------------------------------------------------------------------
def string(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise UserError(f'{where}: "{name}" is {a_type(value)}, not a string')
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # half a character becomes U+FFFD


def number(value: Any, where: str, name: str = "score") -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 1:      # true is no number, and NaN lies nowhere
        raise UserError(f'{where}: "{name}" is {short(value)}, not a number from 0 to 1; rescale or remove it')
    return float(value)


def truth(value: Any, where: str) -> bool | None:
    known = {"true": True, "1": True, "false": False, "0": False}
    if value is not None and str(value).lower() not in known:
        raise UserError(f'{where}: "label" is {short(value)}, not true or false')
    return None if value is None else known[str(value).lower()]


def a_type(value: Any) -> str:
    names = {type(None): "null", bool: "true or false", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "a number")


def short(value: Any) -> str:
    """A value of the file in a message: as JSON, on one line, at most 40 characters."""
    text = visible(" ".join(json.dumps(value, ensure_ascii=False).splitlines()))
    return text if len(text) <= 40 else text[:37] + "..."


def quoted(keys: Collection[str]) -> str:
    names = [short(key) for key in keys]
    return ", ".join(names[:8]) + f" and {len(names) - 8} more" * (len(names) > 8)


def found(keys: Collection[str]) -> str:
    """What stands there instead, and the field that may have been meant."""
    near = next(((k, m[0]) for k in keys if k not in KNOWN and (m := get_close_matches(k.lower(), KNOWN, 1))), None)
    hint = f" (is {short(near[0])} meant as {short(near[1])}?)" if near else ""
    return f"the fields are {quoted(keys) or 'none'}{hint}"
