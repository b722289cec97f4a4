"""Which of the many forms of fine-tuning data is a file, and what does each of its fields mean?

    Alpaca         {"instruction": ..., "input": ..., "output": ...}
    prompt/answer  {"prompt": ..., "response": ...}  or  "completion"
    messages       {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}
    ShareGPT       {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}
    pairs          "chosen" and "rejected" beside a prompt, or as two conversations (or texts) that begin alike
    and, beside a response: "label" (true/false) and "score", "rating" or "reward"; beside a prompt: "system";
    beside a pair: "p" (0..1), the probability that the chosen answer is the better one, or "score_chosen" and
    "score_rejected"

`detect_form` looks at all rows of a file, once. With the form that it finds, turns.py makes conversations of each row
and split.py decides where its prompt ends; `row_grades` reads its numbers. Nothing here opens a file.
Simplified: text only (no images; calls of tools are shown as JSON). Pure Python, no torch.
"""
import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nanouft.data.words import quoted_names, short_json
from nanouft.shell.errors import UserError

TALKS = ("messages", "conversations")
PROMPTS = ("instruction", "prompt")                                     # fields, in order of preference
RESPONSES = ("output", "response", "completion")
GRADES = ("score", "rating", "reward")
LABELS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
KNOWN = (*TALKS, *PROMPTS, "input", *RESPONSES, "chosen", "rejected", "label", *GRADES, "p", "system")
CALLS = ("tool_calls", "function_call")                                 # fields of an assistant's message
TURN_FIELDS = {"from", "value", "role", "content", "weight", "name", "tool_call_id", *CALLS}
MARK = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):\s*")               # of a turn inside a string
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

Items = list[tuple[str, dict]]          # (place, row of a file)


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


# ---- the form of a file ----------------------------------------------------------------------------------------------
def detect_form(path: str, kind: str, items: Items, prompt: str | None, response: str | None) -> Form:
    """From all fields that hold something in any row (null counts as absent). `kind` of file: "CSV", "JSON lines" ...
    `prompt`, `response`: the fields that --prompt-field and --response-field name."""
    keys = list(dict.fromkeys(key for _, item in items for key, value in item.items() if value is not None))
    check_named(path, keys, prompt, response)
    prompt, response = choose_fields(keys, prompt, response)
    pairs = "chosen" in keys and "rejected" in keys
    texts = pairs and any(isinstance(item.get("chosen"), str) for _, item in items)
    if prompt is None and (response or not pairs or texts and set(keys) & set(ASKS)):
        raise UserError(f"{items[0][0]}: no field with a prompt; {found_fields(keys)}; forms understood: {FORMS}; "
                        f"or name your fields with {flags_to_give(keys)}{other_kind(kind, keys)}")
    dialogues = hold_dialogues(items, {prompt, response, "chosen", "rejected"})
    grades = [key for key in GRADES if key in keys] if response or prompt in TALKS else []
    grade = next(iter(grades), "score")
    graded = {side[1] or side[2]: key for key in keys if pairs and (side := SIDE_GRADE.fullmatch(key))}
    sides = (graded["chosen"], graded["rejected"]) if len(graded) == 2 else ()
    scale = grade_scale([item.get(key) for _, item in items for key in (grade, *sides)])
    beside = ["pairs"] * pairs + ["labels"] * ("label" in keys)
    if grade in keys:
        beside.append("scores" if grade == "score" else f"scores ({quoted_names([grade])})")
    if sides:
        beside.append(f"scores ({quoted_names(sides)})")
    name = form_name(prompt, response, texts, dialogues) + (" with " + " and ".join(beside) if beside else "")
    if scale != (0, 1):
        name += f", {scale[0]:g} to {scale[1]:g} read as 0 to 1"
    used = {prompt, response, "chosen", "rejected", "label", grade, *sides, "p", "system"}
    used |= {"input"} if prompt == "instruction" else set()
    return Form(name, prompt, response, [key for key in keys if key not in used] + unused_turn_fields(items, keys),
                grade, sides, scale, dialogues)


def check_named(path: str, keys: list[str], prompt: str | None, response: str | None) -> None:
    """UserError for a field that a flag names and no row has."""
    for flag, name in (("--prompt-field", prompt), ("--response-field", response)):
        if name is not None and name not in keys:
            near = "".join(f"; did you mean {short_json(key)}?" for key in get_close_matches(name, keys, 1))
            raise UserError(f"{path}: no row has the field {short_json(name)} of {flag}; "
                            f"the fields are {quoted_names(keys)}{near}")


def choose_fields(keys: list[str], prompt: str | None, response: str | None) -> tuple[str | None, str | None]:
    """The fields of the prompt and of the response; one that is given stays."""
    response = None if response == prompt else response
    prompt = prompt or next((key for key in TALKS + PROMPTS if key in keys), None)
    if response is None and prompt not in TALKS:
        response = next((key for key in RESPONSES if key in keys), None)
    return prompt, response


def is_dialogue(value: Any) -> bool:
    """Does a string hold turns after "Human:" or "Assistant:" (as hh-rlhf does)?"""
    return isinstance(value, str) and bool(MARK.search(value))


def hold_dialogues(items: Items, names: set[str | None]) -> bool:
    """Do half of the rows, or more, hold a dialogue in one of these fields?"""
    return sum(any(is_dialogue(item.get(name)) for name in names) for _, item in items) * 2 >= len(items)


def form_name(prompt: str | None, response: str | None, texts: bool, dialogues: bool) -> str:
    """`texts`: its pairs are strings; `dialogues`: its strings hold turns."""
    name = "/".join(key for key in (prompt, response) if key) or "conversations"
    if prompt == "instruction" and response in (None, "output"):
        name = "Alpaca"
    elif name == "conversations" and prompt:
        name = "ShareGPT conversations"
    if dialogues:
        return name + ' as text after "Human:" and "Assistant:"'
    return "texts (their shared beginning is the prompt)" if prompt is None and texts else name


def unused_turn_fields(items: Items, keys: list[str]) -> list[str]:
    """Fields of messages that nothing reads, such as messages.reasoning_content."""
    lists = [(key, item[key]) for _, item in items for key in keys if isinstance(item.get(key), list)
             and key in (*TALKS, "prompt", "chosen", "rejected")]
    return list(dict.fromkeys(f"{key}.{name}" for key, talk in lists for turn in talk if isinstance(turn, dict)
                              for name, value in turn.items() if name not in TURN_FIELDS and value is not None))


# ---- numbers ---------------------------------------------------------------------------------------------------------
def row_grades(item: dict, form: Form, where: str, has_answer: bool, has_pair: bool) -> dict[str, Any]:
    """Fields of Row: score, label, p, scores. UserError where they do not fit the row, or contradict each other."""
    score, label = number(item, form.grade, where, form.scale), truth(item.get("label"), where)
    scores = tuple(number(item, side, where, form.scale) for side in form.sides)
    p = number(item, "p", where)
    if not has_answer and (score is not None or label is not None):
        raise UserError(f"{where}: a label or score judges one response, and this row has only a pair; remove it")
    if form.scale == (0, 1) and score is not None and label is not None and (score > 0.5) != label and score != 0.5:
        raise UserError(f'{where}: "label" {short_json(label)} and "{form.grade}" {short_json(score)} contradict each '
                        "other; remove one")
    if p is not None and not has_pair:
        raise UserError(f'{where}: "p" says how sure the preference of a pair is, and this row has no pair; remove it')
    return {"score": score, "label": label, "p": p, "scores": scores if has_pair and None not in scores else ()}


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text; true is none, and null neither."""
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
        raise UserError(f'{where}: "{name}" is {short_json(value)}, not a number from {low:g} to {high:g}; '
                        "rescale or remove it")
    return (known - low) / (high - low)


def truth(value: Any, where: str) -> bool | None:
    if value is not None and str(value).lower() not in LABELS:
        raise UserError(f'{where}: "label" is {short_json(value)}, not true or false (1 or 0); write one of them')
    return None if value is None else LABELS[str(value).lower()]


def grade_scale(values: list) -> tuple[float, float]:
    """(0, 1), or the smallest and the largest grade of a file where more than a tenth lie outside: 1 to 5 stars."""
    known = [grade for value in values if (grade := as_number(value)) is not None]
    outside = sum(not 0 <= grade <= 1 for grade in known)
    return (min(known), max(known)) if outside * 10 > len(known) and min(known) < max(known) else (0, 1)


# ---- the fields, in words --------------------------------------------------------------------------------------------
def found_fields(keys: Collection[str]) -> str:
    """The fields that are there, and which of them may be a known one with a typing error."""
    missing = [key for key in KNOWN if key not in keys]
    near = [(key, close[0]) for key in keys if key not in KNOWN
            and (close := get_close_matches(key.lower(), missing, 1, cutoff=0.8)) and abs(len(key) - len(close[0])) < 2]
    hint = f" (is {short_json(near[0][0])} meant as {short_json(near[0][1])}?)" if near else ""
    return f"the fields are {quoted_names(keys) or 'none'}{hint}"


def other_kind(kind: str, keys: list[str]) -> str:
    """What a file without a prompt may be instead."""
    if kind.startswith("CSV"):
        return "; the first line of a CSV file must name its columns"
    return "; plain text is read by python -m nanouft.pretrain --corpus" if keys == ["text"] else ""


def flags_to_give(keys: list[str]) -> str:
    """The two flags that name fields, with this file's fields where they can be guessed."""
    ask = next((key for key in ASKS if key in keys and key != "text"), None)
    reply = next((key for key in keys if key in (*REPLIES, *RESPONSES)), None)
    if ask is None:
        return "--prompt-field and --response-field"
    return f"--prompt-field {ask}" + (f" --response-field {reply}" if reply else "")


def unread_fields(keys: list[str]) -> str:
    """Fields that nothing reads, and what the model will not see of them: "context" (the text ...), "id"."""
    known = [f"{short_json(key)} ({MEANING[key.split('.')[-1]]})" for key in keys if key.split(".")[-1] in MEANING]
    rest = [key for key in keys if key.split(".")[-1] not in MEANING]
    return ", ".join([*known, *([quoted_names(rest)] if rest else [])])
