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
from collections import Counter
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
    ("", "conversation_a", "conversation_b", "winner", {"model_a": 1, "model_b": -1}),
    ("prompt", "response_a", "response_b", "winner",
     dict(a=1, A=1, model_a=1, response_a=1, b=-1, B=-1, model_b=-1, response_b=-1)))
# What a label may be called; " " and "-" in it are read as "_".
GOOD = ("true 1 1.0 good up yes y positive correct right desirable thumbs_up thumbsup like liked "
        "upvote accept accepted approve approved pass 👍 ✅ ✔")
BAD = ("false 0 0.0 -1 -1.0 bad down no n negative wrong incorrect undesirable thumbs_down "
       "thumbsdown dislike disliked downvote reject rejected fail 👎 ❌ ✘")
LABELS = {**dict.fromkeys(GOOD.split(), True), **dict.fromkeys(BAD.split(), False)}
SKIN = re.compile("[\ufe0f\U0001f3fb-\U0001f3ff]")      # what changes the looks of an emoji
FEW = 5                 # values of a field that may be a grade
CALLS = ("tool_calls", "function_call")         # fields of an assistant's message
WEIGHTS = ("weight", "train", "loss_weight")    # ... 0 or false: read, not trained on
TURN_FIELDS = {"from", "value", "role", "content", "name", "tool_call_id", *CALLS, *WEIGHTS}
ABOUT = ("input", "context")    # beside "instruction": the text that it is about (Alpaca, Dolly)
MARK = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):\s*")           # of a turn inside a string
ENDS = ("###", " END", "->", "</s>", "<|endoftext|>", "<|im_end|>", "<|eot_id|>")   # after a text
SHARE = re.compile(r"(\d+(?:[.,]\d+)?) ?(?:%|/ ?(\d+))")    # a grade such as 80 % or 4/5
COMMA = re.compile(r"-?\d+,\d{1,2}")                       # 3,5: a number with a decimal comma
SIDE_GRADE = re.compile(r"(?:score|rating|reward)[_-](chosen|rejected)|"
                        r"(chosen|rejected)[_-](?:score|rating|reward)")
OPPOSITE = "bad if true"
MEANING = {field: meaning for meaning, fields in {      # of fields that nothing reads
    "a part of the question: join it to the prompt":
        "context input passage article document paragraph definition choices options",
    "thoughts: put them in front of the answer, in <think>":
        "reasoning reasoning_content thinking thinking_trajectories cot",
    "good or bad: call it label": "is_safe safe is_correct is_good",
    f"{OPPOSITE}: write the opposite into label": "is_bad is_wrong toxic is_toxic harmful unsafe",
    "a place, best first: write a score, in which the best is highest": "rank ranking position",
    "another answer: --response-field trains on it, or make a pair of the two":
        "corrected_response correction ideal expected_output",
    "a grade: call it score":
        "quality helpfulness correctness overall_score score rating reward stars upvotes",
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
    graded: tuple[str, ...] = ()        # fields that judge the response, in this file
    asks: str = ""                      # a field that may say which answers are good
    dialogues: bool = False             # strings hold turns after "Human:" and "Assistant:"


# ---- our names -----------------------------------------------------------------------------------
class Naming:
    """What a file calls our fields, and which marks are at the end of its texts. A header such as
    "Question" or "System Prompt" is read as its plain name. `given`: fields that keep their names.
    """

    def __init__(self, items: Items, given: Collection[str | None] = ()):
        keys = dict.fromkeys(filled(items))
        self.names: dict[str, str] = {}
        for theirs in keys:
            ours = plain_name(theirs)
            taken = {*keys, *self.names.values()} - {theirs}
            if ours != theirs and ours in KNOWN and theirs not in given and ours not in taken:
                self.names[theirs] = ours
        if {"kto_tag", "desirable"} <= keys.keys() and "label" not in keys:
            raise UserError(f'{items[0][0]}: "kto_tag" and "desirable" both say good or bad; '
                            "remove one")
        self.pair = None
        if not {"chosen", "rejected"} <= {*keys, *self.names.values()}:
            self.pair = next((kind for kind in UNORDERED if {*kind[1:4]} <= keys.keys()), None)
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


def plain_name(field: str) -> str:
    """Our name of a field: "Question" is question, "Kto Tag" is kto_tag, and that is label."""
    plain = re.sub(r"[\s-]+", "_", field.strip().lower())
    return NAMES.get(plain, plain)


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
    talks = [key for key in TALKS if key in keys and (not pairs or holds_turns(key, items))]
    prompt, response = choose_fields(path, keys, prompt, response, pairs, talks)
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
    judged = ("label",) * ("label" in keys) + (grade,) * (grade in keys)
    if sides:
        beside.append(f"scores ({quoted_names(sides)})")
    name = form_name(prompt, response, texts, dialogues)
    if beside:
        name += " with " + " and ".join(beside)
    if scale != (0, 1):
        name += f", {scale[0]:g} to {scale[1]:g} read as 0 to 1"
        name += "" if given else " (--grades sets the scale)"
    shares = [item[grade] for _, item in items if share(item.get(grade)) is not None]
    if shares:
        name += f", {short_json(shares[0])} read as {share(shares[0]):g}"
    used = {*fields, "label", grade, *sides, "p", "system"}
    used |= set(ABOUT) if prompt == "instruction" else set()
    unused = [key for key in keys if key not in used] + unused_turn_fields(items, keys)
    alone = bool(response or prompt in TALKS) and not judged and not pairs
    asks = perhaps_grade(unused, items) if alone else ""
    return Form(name, prompt, response, unused, grade, sides, scale, judged, asks, dialogues)


def choose_fields(path: str, keys: list[str], prompt: str | None, response: str | None,
                  pairs: bool, talks: list[str]) -> tuple[str | None, str | None]:
    """The fields of prompt and response; one that a flag names stays. Beside `pairs` an answer has
    a common name only. `talks`: fields with conversations."""
    for flag, name in (("--prompt-field", prompt), ("--response-field", response)):
        if name is not None and name not in keys:
            near = [f"; did you mean {short_json(key)}?"
                    for key in get_close_matches(name, keys, 1)]
            raise UserError(f"{path}: no row has the field {short_json(name)} of {flag}; "
                            f"the fields are {quoted_names(keys)}{''.join(near)}")
    response = None if response == prompt else response
    found = [key for key in (*talks, *PROMPTS) if key in keys and key != response]
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


def holds_turns(key: str, items: Items) -> bool:
    """Does a field hold conversations? (distilabel has a "conversation" of another form beside its
    pairs.)"""
    talks = [item[key] for _, item in items if item.get(key)]
    return any(isinstance(talk, str) or isinstance(talk[0], dict) and {"role", "from"} & {*talk[0]}
               for talk in talks if isinstance(talk, (str, list)))


def perhaps_grade(unused: list[str], items: Items) -> str:
    """A line on an unknown field that looks like a grade: some of its few values say good or bad.
    """
    for key in unused:
        values = Counter(item[key] for _, item in items
                         if isinstance(item.get(key), (str, bool, int, float)))
        known = [value for value in values if as_label(value) is not None]
        words = [value for value in known if isinstance(value, (str, bool))]
        if 2 <= len(values) <= FEW and (words or len(known) == len(values)):
            found = ", ".join(f"{n:,} {short_json(value)}" for value, n in values.most_common())
            advice = MEANING.get(key, "")
            if not advice.startswith(OPPOSITE):
                advice = 'if it says which answers are good, rename it to "label"'
            return (f'{short_json(key)} has {found}: {advice}; as it is, all answers are '
                    'demonstrations')
    return ""


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
    unjudged = bool(form.graded) and has_answer and score is None and label is None and any(
        key in item for key in form.graded)
    return {"score": score, "label": label, "p": p, "scores": scores if known else (),
            "unjudged": unjudged}


def as_number(value: Any) -> float | None:
    """A finite number, also one written as text (3,5 is 3.5). None for true, null and all else."""
    if isinstance(value, str) and COMMA.fullmatch(value.strip()):
        value = value.replace(",", ".")
    try:
        number = float(value) if type(value) in (int, float, str) else float("nan")
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < float("inf") else None


def share(value: Any) -> float | None:
    """80 % and 4/5 are 0.8, whatever the scale is. None for anything else, and above 1."""
    found = SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    part, whole = float(found[1].replace(",", ".")), float(found[2] or 100)
    return part / whole if whole and part <= whole else None


def number(item: dict, name: str, scale: Scale = (0, 1)) -> float | None:
    """A field on this scale, as a number from 0 to 1. None where it is missing."""
    if (value := item.get(name)) is None:
        return None
    if (part := share(value)) is not None:
        return part
    known, (low, high) = as_number(value), scale
    if known is None or not low <= known <= high:
        remedy = "--grades 1:10 says what the worst and the best grade are"
        raise UserError(f'"{name}" is {short_json(value)}, not a number from {low:g} to {high:g}; '
                        f"{'rescale or remove it' if name == 'p' else remedy}")
    return (known - low) / (high - low)


def as_label(value: Any) -> bool | None:
    """What a label says, by LABELS; None for any other word, and for null."""
    word = str(value).strip().lower()
    return LABELS.get(word, LABELS.get(SKIN.sub("", re.sub(r"[\s-]+", "_", word))))


def truth(item: dict) -> bool | None:
    if (value := item.get("label")) is None:
        return None
    if (known := as_label(value)) is None:
        raise UserError(f'"label" is {short_json(value)}, not true or false (1 or 0, good or bad); '
                        "write one of them")
    return known


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
