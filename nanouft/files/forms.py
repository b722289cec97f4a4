"""Which of the many forms of fine-tuning data is a file, and what does each of its fields mean?

    Alpaca         {"instruction": ..., "input": ..., "output": ...}
    prompt/answer  {"prompt": ..., "response": ...}, or other names of PROMPTS and RESPONSES
    messages       {"messages": [{"role": "user", "content": ...}, ...]}
    ShareGPT       {"conversations": [{"from": "human", "value": ...}, ...]}
    pairs          "chosen" and "rejected" beside a prompt, or as two conversations (or texts) that
                   begin alike; also "p" (0..1), the probability that chosen is the better answer,
                   or "score_chosen" and "score_rejected"
    grades         beside a response: "label" (true/false), "score", "rating" or "reward"

`Naming` gives the fields of a file our names; `detect_form` looks at all its rows, once;
`row_grades` reads numbers. Text only: no images, and calls of tools are shown as JSON.
"""
import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nanouft.errors import UserError
from nanouft.files.words import quoted_names, short_json

TALKS = ("messages", "conversations", "conversation")
PROMPTS = ("instruction", "prompt", "question", "query", "problem", "input", "inputs", "user")
RESPONSES = ("output", "response", "completion", "solution", "answer", "reply", "target", "targets",
             "assistant")                                           # both in order of preference
GRADES = ("score", "rating", "reward")
KNOWN = (*TALKS, *PROMPTS, *RESPONSES, "chosen", "rejected", "label", *GRADES, "p", "system")
NAMES = {"system_prompt": "system", "system_message": "system", "preferred_output": "chosen",
         "non_preferred_output": "rejected", "kto_tag": "label", "desirable": "label"}
# Two answers in no order: their prompt, one, the other, a field that judges them, and which of its
# values say that the first one is better (1) or worse (-1).
UNORDERED: tuple[tuple[str, str, str, str, dict[str, int]], ...] = (
    ("prompt", "response_0", "response_1", "better_response_id", {"0": 1, "1": -1}),  # PKU-SafeRLHF
    ("history", "human_ref_A", "human_ref_B", "labels", {"1": 1, "0": -1}),           # SHP
    ("context", "response1", "response2", "overall_preference",                       # HelpSteer3
     {"-3": 1, "-2": 1, "-1": 1, "1": -1, "2": -1, "3": -1}),
    ("", "conversation_a", "conversation_b", "winner", {"model_a": 1, "model_b": -1}))
LABELS = {**dict.fromkeys("true 1 1.0 good up yes positive correct desirable thumbs_up".split(),
                          True),
          **dict.fromkeys("false 0 0.0 -1 -1.0 bad down no negative wrong undesirable thumbs_down"
                          .split(), False)}
CALLS = ("tool_calls", "function_call")         # fields of an assistant's message
WEIGHTS = ("weight", "train", "loss_weight")    # ... 0 or false: read, not trained on
TURN_FIELDS = {"from", "value", "role", "content", "name", "tool_call_id", *CALLS, *WEIGHTS}
ABOUT = ("input", "context")    # beside "instruction": the text that it is about (Alpaca, Dolly)
MARK = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):\s*")           # of a turn inside a string
ENDS = ("###", " END", "->", "</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>")   # after a text
SIDE_GRADE = re.compile(r"(?:score|rating|reward)[_-](chosen|rejected)|"
                        r"(chosen|rejected)[_-](?:score|rating|reward)")
MEANING = {field: meaning for meaning, fields in {      # of fields that nothing reads
    "a part of the question: join it to the prompt":
        "context input passage article document paragraph definition choices options",
    "thoughts: put them in front of the answer, in <think>":
        "reasoning reasoning_content thinking thinking_trajectories cot",
    "good or bad: call it label": "is_safe safe is_correct toxic",
    "a grade: call it score":
        "quality helpfulness correctness overall_score rank score rating reward",
    "how much this counts: here all counts alike; remove what must not count":
        "weight train loss_weight mask loss_mask",
    "not text": "image images videos audios",
    "earlier turns: use messages": "history",
    "descriptions of tools: put them into a system turn": "tools functions",
    "plain text for pretrain --corpus": "text",
    "how much better chosen is": "margin"}.items() for field in fields.split()}

Items = list[tuple[str, dict]]                  # (place, row of a file)
Scale = tuple[float, float]                     # the grades that become 0 and 1


@dataclass(frozen=True)
class Form:
    name: str                           # for the report
    prompt: str | None                  # its field; None: the prompt is inside chosen and rejected
    response: str | None                # None: it is inside a conversation, or there are only pairs
    unused: list[str]
    grade: str = "score"                # field with the grade of the response
    sides: tuple[str, ...] = ()         # fields with the grades of chosen and of rejected
    scale: Scale = (0, 1)
    dialogues: bool = False             # strings hold turns after "Human:" and "Assistant:"


# ---- our names -----------------------------------------------------------------------------------
class Naming:
    """What a file calls our fields, and which marks are at the end of its texts.
    `given`: fields that keep their names."""

    def __init__(self, items: Items, given: Collection[str | None] = ()):
        keys = set(filled(items))
        self.names = {theirs: ours for theirs, ours in NAMES.items()
                      if theirs in keys and ours not in keys and theirs not in given}
        if {"kto_tag", "desirable"} <= self.names.keys():
            raise UserError(f'{items[0][0]}: "kto_tag" and "desirable" both say good or bad; '
                            "remove one")
        self.pair = None
        if not {"chosen", "rejected"} <= keys:
            self.pair = next((kind for kind in UNORDERED if {*kind[1:4]} <= keys), None)
        if self.pair and self.pair[0] in keys and self.pair[0] not in PROMPTS:
            self.names[self.pair[0]] = "prompt"
        self.ends = {key: mark for key in sorted(keys) if (mark := common_end(key, items))}
        self.about = [f'"{theirs}" read as "{ours}"' for theirs, ours in self.names.items()]
        if self.pair:
            self.about.append(f'pairs of "{self.pair[1]}" and "{self.pair[2]}"')
        self.about += [f"{short_json(mark)} behind each {key} cut off"
                       for key, mark in self.ends.items()]

    def row(self, item: dict) -> dict:
        """The row in our names. Of two answers in no order the better one becomes chosen; of equal
        ones none does."""
        out = {}
        for key, value in item.items():
            if key in self.ends and isinstance(value, str):
                value = value.rstrip().removesuffix(self.ends[key].strip()).rstrip()
            out[self.names.get(key, key)] = value
        if self.pair is None:
            return out
        _, one, two, judge, ahead = self.pair
        first, second, verdict = (out.pop(key, None) for key in (one, two, judge))
        verdict = int(verdict) if isinstance(verdict, bool) else verdict
        known = as_number(verdict)                                  # true, 1.0 and "1" are 1
        lead = ahead.get(str(verdict) if known is None else f"{known:g}", 0)
        if lead > 0:
            out |= {"chosen": first, "rejected": second}
        elif lead < 0:
            out |= {"chosen": second, "rejected": first}
        return out


def filled(items: Items) -> list[str]:
    """The fields that hold something in any row; null counts as absent."""
    return list(dict.fromkeys(key for _, item in items
                              for key, value in item.items() if value is not None))


def common_end(key: str, items: Items) -> str:
    """The mark at the end of every text of a field, in two or more rows."""
    texts = [item[key].rstrip() for _, item in items if isinstance(item.get(key), str)]
    return next((mark for mark in ENDS
                 if len(texts) > 1 and all(text.endswith(mark) for text in texts)), "")


# ---- the form of a file --------------------------------------------------------------------------
def detect_form(path: str, items: Items, prompt: str | None, response: str | None,
                given: Scale | None = None) -> Form:
    """`prompt`, `response`, `given`: what --prompt-field, --response-field and --grades say."""
    keys = filled(items)
    pairs = "chosen" in keys and "rejected" in keys
    prompt, response = choose_fields(path, keys, prompt, response, pairs)
    if prompt is None and (response or not pairs):
        raise UserError(
            f"{items[0][0]}: no field with a prompt; {found_fields(keys)}; forms understood: "
            "instruction/input/output, prompt/response, question/answer, messages, conversations, "
            "prompt/chosen/rejected; or name your fields with --prompt-field and --response-field; "
            "plain text is for python -m nanouft.pretrain --corpus; a CSV file must name its "
            "columns in its first line")
    fields = {prompt, response, "chosen", "rejected"}
    talking = sum(any(is_dialogue(item.get(name)) for name in fields) for _, item in items)
    dialogues = talking * 2 >= len(items)
    texts = pairs and any(isinstance(item.get("chosen"), str) for _, item in items)
    if prompt is None and texts and not dialogues and (asks := perhaps_prompt(keys, items)):
        raise UserError(f"{path}: no field with a prompt, but {short_json(asks)} may be it: "
                        f"--prompt-field {asks}; or remove it, then the shared beginning of "
                        '"chosen" and "rejected" is the prompt')
    if {-1, 0} <= {as_number(item.get("label")) for _, item in items}:
        raise UserError(f'{path}: "label" is -1 in some rows and 0 in others; one of them must '
                        "mean bad")
    grades = [key for key in GRADES if key in keys] if response or prompt in TALKS else []
    grade = grades[0] if grades else "score"
    graded = {side[1] or side[2]: key for key in keys
              if pairs and (side := SIDE_GRADE.fullmatch(key))}
    sides = (graded["chosen"], graded["rejected"]) if len(graded) == 2 else ()
    scale = given or grade_scale([item.get(key) for _, item in items for key in (grade, *sides)])
    beside = ["pairs"] * pairs + ["labels"] * ("label" in keys)
    if grade in keys:
        beside.append("scores" if grade == "score" else f'scores ("{grade}")')
    if sides:
        beside.append(f"scores ({quoted_names(sides)})")
    name = form_name(prompt, response, texts, dialogues)
    if beside:
        name += " with " + " and ".join(beside)
    if scale != (0, 1):
        name += f", {scale[0]:g} to {scale[1]:g} read as 0 to 1"
        name += "" if given else " (--grades sets the scale)"
    used = {*fields, "label", grade, *sides, "p", "system"}
    used |= set(ABOUT) if prompt == "instruction" else set()
    unused = [key for key in keys if key not in used] + unused_turn_fields(items, keys)
    return Form(name, prompt, response, unused, grade, sides, scale, dialogues)


def choose_fields(path: str, keys: list[str], prompt: str | None, response: str | None,
                  pairs: bool) -> tuple[str | None, str | None]:
    """The fields of prompt and response; one that a flag names stays. Beside `pairs` an answer has
    a common name only."""
    for flag, name in (("--prompt-field", prompt), ("--response-field", response)):
        if name is not None and name not in keys:
            near = [f"; did you mean {short_json(key)}?"
                    for key in get_close_matches(name, keys, 1)]
            raise UserError(f"{path}: no row has the field {short_json(name)} of {flag}; "
                            f"the fields are {quoted_names(keys)}{''.join(near)}")
    response = None if response == prompt else response
    found = [key for key in TALKS + PROMPTS if key in keys and key != response]
    if prompt is None and found and found[0] not in TALKS:
        if len(set(found) - {"input", "inputs", "user"}) > 1:
            raise UserError(f"{path}: {quoted_names(found)} may all be the prompt; say which: "
                            f"--prompt-field {found[1]}; or give rows of different forms in files "
                            "of their own")
    prompt = prompt or next(iter(found), None)
    if response is None and prompt not in TALKS:
        names = RESPONSES[:3] if pairs else RESPONSES
        response = next((key for key in names if key in keys and key != prompt), None)
    return prompt, response


def perhaps_prompt(keys: list[str], items: Items) -> str:
    """An unknown field that holds lists, or texts of several words, in all rows; or ""."""
    def long(value: Any) -> bool:
        return isinstance(value, list) or " " in str(value).strip()
    return next((key for key in keys if key not in KNOWN
                 and all(long(item.get(key)) for _, item in items)), "")


def is_dialogue(value: Any) -> bool:
    """Does a string hold turns after "Human:" or "Assistant:" (as hh-rlhf does)?"""
    return isinstance(value, str) and bool(MARK.search(value))


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
    talks = [(key, item[key]) for _, item in items for key in keys
             if key in (*TALKS, "prompt", "chosen", "rejected") and isinstance(item.get(key), list)]
    turns = [(key, turn) for key, talk in talks for turn in talk if isinstance(turn, dict)]
    return list(dict.fromkeys(f"{key}.{name}" for key, turn in turns for name, value in turn.items()
                              if name not in TURN_FIELDS and value is not None))


# ---- numbers -------------------------------------------------------------------------------------
def row_grades(item: dict, form: Form, has_answer: bool, has_pair: bool) -> dict[str, Any]:
    """Fields of Row: score, label, p, scores. UserError where they do not fit the row, or
    contradict each other."""
    score, label, p = number(item, form.grade, form.scale), truth(item), number(item, "p")
    scores = tuple(number(item, side, form.scale) for side in form.sides)
    if not has_answer and (score is not None or label is not None):
        raise UserError("a label or score judges one response, and this row has only a pair; "
                        "remove it")
    if (form.scale == (0, 1) and score is not None and label is not None
            and (score > 0.5) != label and score != 0.5):
        raise UserError(f'"label" {short_json(label)} and "{form.grade}" {short_json(score)} '
                        "contradict each other; remove one")
    if p is not None and not has_pair:
        raise UserError('"p" is how sure the preference of a pair is, and this row has no pair; '
                        "remove it")
    known = has_pair and None not in scores
    return {"score": score, "label": label, "p": p, "scores": scores if known else ()}


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text. None for true, null and all else."""
    try:
        number = float(value) if type(value) in (int, float, str) else float("nan")
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def number(item: dict, name: str, scale: Scale = (0, 1)) -> float | None:
    """A field on this scale, as a number from 0 to 1. None where it is missing."""
    if (value := item.get(name)) is None:
        return None
    known, (low, high) = as_number(value), scale
    if known is None or not low <= known <= high:
        raise UserError(f'"{name}" is {short_json(value)}, not a number from {low:g} to {high:g}; '
                        "rescale or remove it")
    return (known - low) / (high - low)


def truth(item: dict) -> bool | None:
    if (value := item.get("label")) is None:
        return None
    if str(value).lower() not in LABELS:
        raise UserError(f'"label" is {short_json(value)}, not true or false (1 or 0, good or bad); '
                        "write one of them")
    return LABELS[str(value).lower()]


def given_scale(text: str) -> Scale | None:
    """What --grades 1:5 says; None where it is not given."""
    if not text:
        return None
    low, high = (as_number(part) for part in text.partition(":")[::2])
    if low is None or high is None or low >= high:
        raise UserError(f"--grades {short_json(text)}: give the worst and the best grade, such as "
                        "--grades 1:5")
    return low, high


def grade_scale(values: list) -> Scale:
    """(0, 1), or the smallest and the largest grade of a file where more than a tenth lie outside:
    1 to 5 stars."""
    known = [grade for value in values if (grade := as_number(value)) is not None]
    outside = sum(not 0 <= grade <= 1 for grade in known)
    if outside * 10 > len(known) and min(known) < max(known):
        return min(known), max(known)
    return 0, 1


# ---- the fields, in words ------------------------------------------------------------------------
def found_fields(keys: Collection[str]) -> str:
    """The fields that are there, and which of them may be a known one with a typing error."""
    missing = [key for key in KNOWN if key not in keys]
    hints = [f" (is {short_json(key)} meant as {short_json(near)}?)"
             for key in keys if key not in KNOWN
             for near in get_close_matches(key.lower(), missing, 1, cutoff=0.8)
             if abs(len(key) - len(near)) < 2]
    return f"the fields are {quoted_names(keys) or 'none'}{hints[0] if hints else ''}"
