"""Which of the many forms of fine-tuning data is a file, and what does each of its fields mean?

    Alpaca         {"instruction": ..., "input": ..., "output": ...}
    prompt/answer  {"prompt": ..., "response": ...}, or other names of PROMPTS and RESPONSES
    messages       {"messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]}
    ShareGPT       {"conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value": ...}]}
    pairs          "chosen" and "rejected" beside a prompt, or as two conversations (or texts) that begin alike
    and, beside a response: "label" (true/false) and "score", "rating" or "reward"; beside a prompt: "system";
    beside a pair: "p" (0..1), the probability that the chosen answer is the better one, or "score_chosen" and
    "score_rejected"

`Naming` gives the fields of a file our names; `detect_form` looks at all its rows, once; `row_grades` reads numbers.
Simplified: text only (no images; calls of tools are shown as JSON). Pure Python, no torch.
"""
import re
from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from nanouft.errors import UserError
from nanouft.files.words import quoted_names, short_json

TALKS = ("messages", "conversations", "conversation")
PROMPTS = ("instruction", "prompt", "question", "query", "problem", "input", "inputs", "user")  # in order of preference
RESPONSES = ("output", "response", "completion", "solution", "answer", "reply", "target", "targets", "assistant")
GRADES = ("score", "rating", "reward")
NAMES = {"system_prompt": "system", "system_message": "system", "preferred_output": "chosen",
         "non_preferred_output": "rejected", "kto_tag": "label", "desirable": "label"}
# Two answers in no order: prompt, one, the other, and a field whose values say: the one is better (1) or worse (-1).
UNORDERED: tuple[tuple[str, str, str, str, dict[str, int]], ...] = (
    ("prompt", "response_0", "response_1", "better_response_id", {"0": 1, "1": -1}),                    # PKU-SafeRLHF
    ("history", "human_ref_A", "human_ref_B", "labels", {"1": 1, "0": -1}),                             # SHP
    ("context", "response1", "response2", "overall_preference",                                         # HelpSteer3
     {"-3": 1, "-2": 1, "-1": 1, "1": -1, "2": -1, "3": -1}),
    ("", "conversation_a", "conversation_b", "winner", {"model_a": 1, "model_b": -1}))                  # Chatbot Arena
LABELS = {**dict.fromkeys("true 1 1.0 good up yes positive correct desirable thumbs_up".split(), True),
          **dict.fromkeys("false 0 0.0 -1 -1.0 bad down no negative wrong undesirable thumbs_down".split(), False)}
KNOWN = (*TALKS, *PROMPTS, *RESPONSES, "chosen", "rejected", "label", *GRADES, "p", "system")
CALLS = ("tool_calls", "function_call")                                 # fields of an assistant's message
WEIGHTS = ("weight", "train", "loss_weight")                            # ... 0 or false: read, not trained on
ABOUT = ("input", "context")               # beside "instruction": the text that it is about (Alpaca, Dolly)
TURN_FIELDS = {"from", "value", "role", "content", "name", "tool_call_id", *CALLS, *WEIGHTS}
MARK = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):\s*")               # of a turn inside a string
ENDS = ("###", " END", "->", "</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>")   # marks behind a text
FORMS = "instruction/input/output, prompt/response, question/answer, messages, conversations, prompt/chosen/rejected"
SIDE_GRADE = re.compile(r"(?:score|rating|reward)[_-](chosen|rejected)|(chosen|rejected)[_-](?:score|rating|reward)")
MEANING = {                             # of fields that nothing reads: what the model will not see
    **dict.fromkeys("context input passage article document paragraph definition choices options".split(),
                    "a part of the question: join it to the prompt"),
    "history": "earlier turns: use messages", "text": "plain text for pretrain --corpus",
    "tools": "descriptions of tools: put them into a system turn", "functions": "descriptions of tools",
    "images": "pictures", "image": "a picture", "videos": "films", "audios": "sound",
    **dict.fromkeys(("reasoning", "reasoning_content", "thinking", "thinking_trajectories", "cot"),
                    "thoughts: put them in front of the answer, in <think>"), "margin": "how much better chosen is",
    **dict.fromkeys(("is_safe", "safe", "is_correct", "toxic"), "good or bad: call it label, true for good"),
    **dict.fromkeys(("quality", "helpfulness", "correctness", "overall_score", "rank", *GRADES),
                    "a grade of an answer: to learn from it, call it score"),
    **dict.fromkeys((*WEIGHTS, "mask", "loss_mask"),
                    "how much this counts: here all counts alike; remove what shall not")}

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


# ---- our names -------------------------------------------------------------------------------------------------------
class Naming:
    """What a file calls our fields, and which marks it puts behind texts. `given`: fields that keep their names."""

    def __init__(self, items: Items, given: Collection[str | None] = ()):
        keys = {key for _, item in items for key, value in item.items() if value is not None}
        self.names = {theirs: ours for theirs, ours in NAMES.items()
                      if theirs in keys and ours not in keys and theirs not in given}
        if {"kto_tag", "desirable"} <= self.names.keys():
            raise UserError(f'{items[0][0]}: "kto_tag" and "desirable" both say good or bad; remove one')
        kinds = () if {"chosen", "rejected"} <= keys else UNORDERED
        self.pair = next((kind for kind in kinds if {*kind[1:4]} <= keys), None)
        if self.pair and self.pair[0] in keys and self.pair[0] not in PROMPTS:
            self.names[self.pair[0]] = "prompt"
        self.about = [f'"{theirs}" read as "{ours}"' for theirs, ours in self.names.items()]
        self.about += [f'pairs of "{self.pair[1]}" and "{self.pair[2]}"'] if self.pair else []
        self.ends = {key: mark for key in sorted(keys) if (mark := common_end(key, items))}
        self.about += [f"{short_json(mark)} behind each {key} cut off" for key, mark in self.ends.items()]

    def row(self, item: dict) -> dict:
        """The row in our names. Of two answers in no order the better one becomes chosen; of equal ones none does."""
        cut = {key: value.rstrip().removesuffix(self.ends[key].strip()).rstrip() for key, value in item.items()
               if key in self.ends and isinstance(value, str)}
        out = {self.names.get(key, key): value for key, value in {**item, **cut}.items()}
        if self.pair is None:
            return out
        _, one, two, judge, ahead = self.pair
        sides, said = [out.pop(one, None), out.pop(two, None)], out.pop(judge, None)
        known = as_number(int(said) if isinstance(said, bool) else said)                    # true, 1.0 and "1" are 1
        lead = ahead.get(str(said) if known is None else f"{known:g}", 0)
        return out | (dict(zip(("chosen", "rejected"), sides if lead > 0 else sides[::-1])) if lead else {})


# ---- the form of a file ----------------------------------------------------------------------------------------------
def detect_form(path: str, items: Items, prompt: str | None, response: str | None,
                scale: tuple[float, float] | None = None) -> Form:
    """From all fields that hold something in any row (null counts as absent).
    `prompt`, `response`, `scale`: what --prompt-field, --response-field and --grades say."""
    keys = list(dict.fromkeys(key for _, item in items for key, value in item.items() if value is not None))
    check_named(path, keys, prompt, response)
    pairs = "chosen" in keys and "rejected" in keys
    prompt, response = choose_fields(path, keys, prompt, response, pairs)
    texts = pairs and any(isinstance(item.get("chosen"), str) for _, item in items)
    if prompt is None and (response or not pairs):
        raise UserError(f"{items[0][0]}: no field with a prompt; {found_fields(keys)}; forms understood: {FORMS}; "
                        f"or name your fields with --prompt-field and --response-field; plain text is "
                        "for python -m nanouft.pretrain --corpus; a CSV file must name its columns in its first line")
    names = {prompt, response, "chosen", "rejected"}            # half of the rows or more hold a dialogue there?
    dialogues = sum(any(is_dialogue(item.get(name)) for name in names) for _, item in items) * 2 >= len(items)
    asks = [key for key in keys if key not in KNOWN             # lists, or texts of several words
            and all(isinstance(item.get(key), list) or " " in str(item.get(key)).strip() for _, item in items)]
    if prompt is None and texts and not dialogues and asks:
        raise UserError(f"{path}: no field with a prompt, but {short_json(asks[0])} may be it: --prompt-field {asks[0]}"
                        '; or remove it, then the shared beginning of "chosen" and "rejected" is the prompt')
    grades = [key for key in GRADES if key in keys] if response or prompt in TALKS else []
    grade = next(iter(grades), "score")
    graded = {side[1] or side[2]: key for key in keys if pairs and (side := SIDE_GRADE.fullmatch(key))}
    sides = (graded["chosen"], graded["rejected"]) if len(graded) == 2 else ()
    given = scale
    scale = given or grade_scale([item.get(key) for _, item in items for key in (grade, *sides)])
    beside = ["pairs"] * pairs + ["labels"] * ("label" in keys)
    if grade in keys:
        beside.append("scores" if grade == "score" else f"scores ({quoted_names([grade])})")
    if sides:
        beside.append(f"scores ({quoted_names(sides)})")
    name = form_name(prompt, response, texts, dialogues) + (" with " + " and ".join(beside) if beside else "")
    if scale != (0, 1):
        name += f", {scale[0]:g} to {scale[1]:g} read as 0 to 1" + ("" if given else " (--grades sets the scale)")
    if {-1, 0} <= {as_number(item.get("label")) for _, item in items}:
        raise UserError(f'{path}: "label" is -1 in some rows and 0 in others; one of them must mean bad')
    used = {prompt, response, "chosen", "rejected", "label", grade, *sides, "p", "system"}
    used |= set(ABOUT) if prompt == "instruction" else set()
    return Form(name, prompt, response, [key for key in keys if key not in used] + unused_turn_fields(items, keys),
                grade, sides, scale, dialogues)


def check_named(path: str, keys: list[str], prompt: str | None, response: str | None) -> None:
    """UserError for a field that a flag names and no row has."""
    for flag, name in (("--prompt-field", prompt), ("--response-field", response)):
        if name is not None and name not in keys:
            near = "".join(f"; did you mean {short_json(key)}?" for key in get_close_matches(name, keys, 1))
            raise UserError(f"{path}: no row has the field {short_json(name)} of {flag}; "
                            f"the fields are {quoted_names(keys)}{near}")


def choose_fields(path: str, keys: list[str], prompt: str | None, response: str | None,
                  pairs: bool) -> tuple[str | None, str | None]:
    """The fields of prompt and response; one that is given stays. Beside `pairs` an answer has a common name only."""
    response = None if response == prompt else response
    found = [key for key in TALKS + PROMPTS if key in keys and key != response]
    if prompt is None and found and found[0] not in TALKS and len(set(found) - {"input", "inputs", "user"}) > 1:
        raise UserError(f"{path}: {quoted_names(found)} may all be the prompt; say which: --prompt-field {found[1]}; "
                        "or give rows of different forms in files of their own")
    prompt = prompt or next(iter(found), None)
    if response is None and prompt not in TALKS:
        response = next((key for key in RESPONSES[:3 if pairs else None] if key in keys and key != prompt), None)
    return prompt, response


def common_end(key: str, items: Items) -> str:
    """The mark that stands behind every text of a field, in two or more rows."""
    texts = [item[key].rstrip() for _, item in items if isinstance(item.get(key), str)]
    return next((mark for mark in ENDS if len(texts) > 1 and all(text.endswith(mark) for text in texts)), "")


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
        raise UserError(f'{where}: "label" is {short_json(value)}, not true or false (1 or 0, good or bad); '
                        "write one of them")
    return None if value is None else LABELS[str(value).lower()]


def given_scale(text: str) -> tuple[float, float] | None:
    """What --grades 1:5 says; None where it is not given."""
    if not text:
        return None
    low, high = (as_number(part) for part in text.partition(":")[::2])
    if low is None or high is None or low >= high:
        raise UserError(f"--grades {short_json(text)}: give the worst and the best grade, such as --grades 1:5")
    return low, high


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


