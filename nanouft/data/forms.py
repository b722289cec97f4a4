"""One JSON object -> one Row: which of the many forms of fine-tuning data is this, and what does each field mean?

    Alpaca         {"instruction": ..., "input": ..., "output": ...}
    prompt/answer  {"prompt": ..., "response": ...}  or  "completion"
    messages       {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}
    ShareGPT       {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}
    pairs          "chosen" and "rejected" beside a prompt, or as two conversations (or texts) that begin alike
    and, beside a response: "label" (true/false) and "score", "rating" or "reward"; beside a prompt: "system";
    beside a pair: "p" (0..1), the probability that the chosen answer is the better one, or "score_chosen" and
    "score_rejected"

The idea: every field becomes a whole conversation first (turns.py); then one place decides where the prompt ends
(`parse`). What cannot be understood raises UserError, one line with place, reason and remedy; a row with nothing to
learn from (an empty response) raises Skip. read.py counts and announces both. Nothing here opens a file.
Simplified: text only (no images; calls of tools are shown as JSON). Pure Python, no torch.
"""
import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nanouft.data.containers import ends
from nanouft.data.rows import ANSWERS, Row, Turn, Turns
from nanouft.data.turns import TALKS, TURN_FIELDS, dialogue, is_dialogue, quoted, shared_beginning, short, string, turns
from nanouft.shell.errors import UserError

PROMPTS = ("instruction", "prompt")                                     # fields, in order of preference
RESPONSES = ("output", "response", "completion")
GRADES = ("score", "rating", "reward")
KNOWN = (*TALKS, *PROMPTS, "input", *RESPONSES, "chosen", "rejected", "label", *GRADES, "p", "system")
FORMS = "instruction/input/output, prompt/response, prompt/completion, messages, conversations, prompt/chosen/rejected"
SIDE_GRADE = re.compile(r"(?:score|rating|reward)[_-](chosen|rejected)|(chosen|rejected)[_-](?:score|rating|reward)")
ASKS = ("question", "query", "input", "problem", "user", "text")        # may be prompts, but nobody has said so
REPLIES = ("answer", "reply", "solution", "target", "assistant")       # likewise answers
MEANING = {                             # of fields that nothing reads: what the model will not see
    "context": "the text that the question is about: join it to the prompt", "history": "earlier turns: use messages",
    "input": "the text that the prompt is about: join it to the prompt", "text": "plain text for pretrain --corpus",
    "tools": "descriptions of tools: put them into a system turn", "functions": "descriptions of tools",
    "images": "pictures", "image": "a picture", "videos": "films", "audios": "sound", "system_prompt": "a system turn",
    "reasoning": "thoughts before the answer", "reasoning_content": "thoughts before the answer",
    "desirable": "good or bad: call it label", "margin": "how much better chosen is",
    **dict.fromkeys(GRADES, "a grade of an answer")}


class Skip(Exception):
    """A row that is well formed but holds nothing to learn from; the message is the reason that is counted."""


# ---- which field is what? --------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Form:
    name: str                           # said aloud
    prompt: str | None                  # field with the prompt or the whole conversation; None: inside chosen/rejected
    response: str | None                # None: inside the conversation, or there are only pairs
    unused: list[str]
    grade: str = "score"                # field with the grade of the response
    sides: tuple[str, ...] = ()         # fields with the grades of chosen and of rejected
    scale: tuple[float, float] = (0, 1)     # grades that become 0 and 1
    dialogues: bool = False             # strings hold turns after "Human:" and "Assistant:"


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
    texts = pairs and any(isinstance(item.get("chosen"), str) for _, item in items)
    if prompt is None and (response or not pairs or texts and set(keys) & set(ASKS)):
        raise UserError(f"{items[0][0]}: no field with a prompt; {found(keys)}; forms understood: {FORMS}; "
                        f"or name your fields with {asked(keys)}{elsewhere(path, keys)}")
    strings = [[item.get(key) for key in {prompt, response, "chosen", "rejected"}] for _, item in items]
    dialogues = sum(any(map(is_dialogue, row)) for row in strings) * 2 >= len(strings)
    grades = [key for key in GRADES if key in keys] if response or prompt in TALKS else []
    grade = next(iter(grades), "score")
    sides = {side[1] or side[2]: key for key in keys if pairs and (side := SIDE_GRADE.fullmatch(key))}
    sides = (sides["chosen"], sides["rejected"]) if len(sides) == 2 else ()
    low, high = scale = scale_of([item.get(key) for _, item in items for key in (grade, *sides)])
    name = called(prompt, response, texts, dialogues)
    beside = ["pairs"] if pairs else []
    if "label" in keys:
        beside.append("labels")
    if grade in keys:
        beside.append("scores" if grade == "score" else f"scores ({quoted([grade])})")
    if sides:
        beside.append(f"scores ({quoted(sides)})")
    if beside:
        name += " with " + " and ".join(beside)
    if scale != (0, 1):
        name += f", {low:g} to {high:g} read as 0 to 1"
    used = {prompt, response, "chosen", "rejected", "label", grade, *sides, "p", "system"}
    used |= {"input"} if prompt == "instruction" else set()
    return Form(name, prompt, response, [key for key in keys if key not in used] + turn_fields(items, keys),
                grade, sides, scale, dialogues)


def called(prompt: str | None, response: str | None, texts: bool, dialogues: bool) -> str:
    """The name of a form. `texts`: its pairs are strings; `dialogues`: its strings hold turns."""
    name = "/".join(key for key in (prompt, response) if key) or "conversations"
    if prompt == "instruction" and response in (None, "output"):
        name = "Alpaca"
    elif name == "conversations" and prompt:
        name = "ShareGPT conversations"
    if dialogues:
        return name + ' as text after "Human:" and "Assistant:"'
    return "texts (their shared beginning is the prompt)" if prompt is None and texts else name


def turn_fields(items: list[tuple[str, dict]], keys: list[str]) -> list[str]:
    """Fields of messages that nothing reads, such as messages.reasoning_content."""
    lists = [(key, item[key]) for _, item in items for key in keys if isinstance(item.get(key), list)
             and key in (*TALKS, "prompt", "chosen", "rejected")]
    return list(dict.fromkeys(f"{key}.{name}" for key, talk in lists for turn in talk if isinstance(turn, dict)
                              for name, value in turn.items() if name not in TURN_FIELDS and value is not None))


def scale_of(values: list) -> tuple[float, float]:
    """(0, 1), or the smallest and the largest grade of a file where more than a tenth lie outside: 1 to 5 stars."""
    known = [grade for value in values if (grade := as_number(value)) is not None]
    outside = sum(not 0 <= grade <= 1 for grade in known)
    return (min(known), max(known)) if outside * 10 > len(known) and min(known) < max(known) else (0, 1)


def parse(item: dict, form: Form, where: str, prompts: bool = False) -> Row:
    """One object -> one Row. Raises Skip (nothing to learn from) or UserError (not understood). `prompts`: a row that
    only asks is a row too."""
    talk = prompt_turns(item, form, where)                              # a question, or a conversation with its answers
    inside = form.response is None and (isinstance(item.get(form.prompt), (list, dict)) or len(until_answer(talk)) > 0)
    users = [i for i, turn in enumerate(talk) if turn.role in ("user", "tool")]
    question = talk[:users[-1] + 1] if users else ()                    # up to the last thing that is said to the model
    sides = implicit(item, where) if form.prompt is None and not form.dialogues else {}
    question = sides.get("prompt", question)

    def whole(name: str) -> Turns | None:
        """The field as a whole conversation, from the system turn to the last answer."""
        value = sides.get(name, item.get(name))
        said = () if value is None else field_turns(value, name, where, form)
        if not said:
            return None
        if said[0].role in ANSWERS:
            return until_answer(question + said)
        if lost := [turn for turn in question if turn.role == "user" and turn not in said]:
            raise UserError(f'{where}: "{name}" is a whole conversation, and {short(lost[0].text)} of '
                            f'"{form.prompt}" is not in it; remove one of the two')
        system = talk[:1] if talk and talk[0].role == "system" and said[0].role == "user" else ()
        return until_answer(system + said)

    demo = until_answer(talk) if inside else whole(form.response) if form.response else None
    chosen, rejected = whole("chosen"), whole("rejected")
    if chosen is not None and form.prompt == "prompt" and talk and talk[-1].role in ANSWERS:
        raise UserError(f'{where}: "prompt" ends with a turn of the assistant, which "chosen" and "rejected" go on '
                        "from; put the beginning of the answer into both")
    if (chosen is None) != (rejected is None):
        if form.response not in ("chosen", "rejected"):
            raise UserError(f'{where}: a pair needs both "chosen" and "rejected", and one is missing or null; '
                            f"{found(item)}")
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
        if not n or chosen[0].role not in ANSWERS or rejected[0].role not in ANSWERS:
            raise UserError(f'{where}: "chosen" and "rejected" do not answer the same prompt; {found(item)}')
        if demo is not None and demo[:n] != prompt[:len(demo)]:
            raise UserError(f"{where}: the pair and the demonstration do not answer the same prompt; use one of them")
    elif not inside and demo[:len(question)] == question:
        prompt = question
    else:
        roles = [turn.role for turn in demo]
        prompt = demo[:roles.index("assistant")] if demo else ()
    answer = demo[len(prompt):] or None if demo else None

    if answer is None and chosen is None:
        raise Skip("no assistant turn")
    asked = [turn.text for turn in prompt if turn.role == "user"]
    if not any(text.strip() for text in asked):
        raise Skip("empty prompt" if asked else "no user turn before the answer")
    for name, trained in (("response", answer), ("chosen", chosen), ("rejected", rejected)):
        if trained and not all(turn.text.strip() for turn in trained if turn.role == "assistant"):
            raise Skip(f"empty {name}")
    score, label = number(item, form.grade, where, form.scale), truth(item.get("label"), where)
    scores = tuple(number(item, side, where, form.scale) for side in form.sides)
    p = number(item, "p", where)
    if answer is None and (score is not None or label is not None):
        raise UserError(f"{where}: a label or score judges one response, and this row has only a pair; remove it")
    if form.scale == (0, 1) and score is not None and label is not None and (score > 0.5) != label and score != 0.5:
        raise UserError(f'{where}: "label" {short(label)} and "{form.grade}" {short(score)} contradict each other; '
                        "remove one")
    if p is not None and chosen is None:
        raise UserError(f'{where}: "p" says how sure the preference of a pair is, and this row has no pair; remove it')
    return Row(prompt, answer, chosen, rejected, score, label, p, scores if chosen and None not in scores else (),
               where=where)


def prompt_turns(item: dict, form: Form, where: str) -> Turns:
    """The turns of the prompt field (a string, or a conversation with its answers), after the field "system"."""
    value = item.get(form.prompt)
    if value is None and form.prompt and not isinstance(item.get("chosen"), list):
        raise UserError(f"{where}: no prompt in {quoted([form.prompt])}; "
                        f"{found(item)}; add it, or name its field with --prompt-field")
    if form.prompt == "instruction" and isinstance(value, str) and item.get("input") is not None:
        extra = string(item["input"], "input", where)                  # Alpaca: the text that the instruction is about
        value = "\n\n".join(text for text in (value, extra) if text.strip())
    out = () if value is None else field_turns(value, form.prompt, where, form, role="user")
    if form.prompt in TALKS and isinstance(value, str) and len(out) == 1:
        raise UserError(f'{where}: "{form.prompt}" is a string, not a list of turns')
    system = string(item["system"], "system", where) if item.get("system") is not None else ""
    return (Turn("system", system), *out) if system.strip() and not any(t.role == "system" for t in out) else out


def field_turns(value: Any, name: str, where: str, form: Form, role: str = "assistant") -> Turns:
    """The turns of one field: of a string that is a dialogue those inside, if the file is of that form. What stands
    before the first turn of such a prompt is a system turn."""
    if form.dialogues and is_dialogue(value):
        return dialogue(string(value, name, where), "system" if role == "user" else role)
    return turns(value, name, where, role)


def implicit(item: dict, where: str) -> dict[str, Any]:
    """Of a pair of texts without a prompt (TRL's implicit prompt): their shared beginning and the two answers."""
    if not isinstance(item.get("chosen"), str) or not isinstance(item.get("rejected"), str):
        return {}
    prompt, chosen, rejected = shared_beginning(string(item["chosen"], "chosen", where),
                                                string(item["rejected"], "rejected", where))
    if not prompt:
        raise UserError(f'{where}: no prompt, and "chosen" and "rejected" do not begin alike; {found(item)}; '
                        "add it, or name its field with --prompt-field")
    return {"prompt": (Turn("user", prompt),), "chosen": chosen, "rejected": rejected}


def until_answer(talk: Turns) -> Turns:
    """Without the turns after the last answer: nobody answers them."""
    return talk[:max((i + 1 for i, turn in enumerate(talk) if turn.role == "assistant"), default=0)]


# ---- single values and their messages --------------------------------------------------------------------------------
def as_number(value: Any) -> float | None:
    """A finite number, also one written as text (a cell of a CSV file); true is none, and null neither."""
    try:
        number = float(value) if type(value) in (int, float, str) else float("nan")
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def number(item: dict, name: str, where: str, scale: tuple[float, float] = (0, 1)) -> float | None:
    """A field from 0 to 1; with `scale` (low, high): low becomes 0, high 1. None where it is missing."""
    value, (low, high) = item.get(name), scale
    if value is None:
        return None
    known = as_number(value)
    if known is None or not low <= known <= high:
        raise UserError(f'{where}: "{name}" is {short(value)}, not a number from {low:g} to {high:g}; '
                        "rescale or remove it")
    return (known - low) / (high - low)


def truth(value: Any, where: str) -> bool | None:
    known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    if value is not None and str(value).lower() not in known:
        raise UserError(f'{where}: "label" is {short(value)}, not true or false (1 or 0); write one of them')
    return None if value is None else known[str(value).lower()]


def found(keys: Collection[str]) -> str:
    """What stands there instead, and the field that may have been meant: a letter or two apart, and missing."""
    missing = [key for key in KNOWN if key not in keys]
    near = [(key, close[0]) for key in keys if key not in KNOWN
            and (close := get_close_matches(key.lower(), missing, 1, cutoff=0.8)) and abs(len(key) - len(close[0])) < 2]
    hint = f" (is {short(near[0][0])} meant as {short(near[0][1])}?)" if near else ""
    return f"the fields are {quoted(keys) or 'none'}{hint}"


def elsewhere(path: str, keys: list[str]) -> str:
    """What a file without a prompt may be instead."""
    if ends(path, ".csv", ".tsv"):
        return "; the first line of a CSV file must name its columns"
    return "; plain text is read by python -m nanouft.pretrain --corpus" if keys == ["text"] else ""


def asked(keys: list[str]) -> str:
    """The two flags that name fields, with this file's fields where they can be guessed."""
    ask = next((key for key in ASKS if key in keys and key != "text"), None)
    reply = next((key for key in keys if key in (*REPLIES, *RESPONSES)), None)
    if ask is None:
        return "--prompt-field and --response-field"
    return f"--prompt-field {ask}" + (f" --response-field {reply}" if reply else "")


def unread(keys: list[str]) -> str:
    """Fields that nothing reads, and what the model will not see of it: "context" (the text ...), "id"."""
    known = [f"{short(key)} ({MEANING[key.split('.')[-1]]})" for key in keys if key.split(".")[-1] in MEANING]
    rest = [key for key in keys if key.split(".")[-1] not in MEANING]
    return ", ".join([*known, *([quoted(rest)] if rest else [])])
