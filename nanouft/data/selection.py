"""Choose the rows that a method reads, give them roles, and split off held-out rows.

    demo_rows(rows)            # role "answer": a demonstration
    pair_rows(rows)            # roles "chosen" and "rejected"
    train, held = holdout(rows)     # equal questions stay on one side
    why_skipped(row, ["pairs"])     # why a method leaves it out: "chosen and rejected are equal"

An objective's `choose` calls one of them, by its kind of rows. batches.py tokenizes the roles of a
row.
"""
import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from textwrap import shorten

from nanouft.data import forms
from nanouft.data.forms import NAMES
from nanouft.data.rows import NO_ANSWER, READ_FOR, LeftOut, Roles, Row, reasons
from nanouft.models.tokenizer import Turn, Turns
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity

NOT_READ = "which this method does not read"
FEW = 10        # rows with one question; with fewer, a run does not say that none is held out


class NoRows(UserError):
    """None of the rows is of the kind that is needed."""


# ---- what the rows are, and how they are used ----------------------------------------------------
def kinds_of(r: Row) -> list[str]:
    """What a row holds, in words: ["demonstrations", "pairs"]."""
    kinds = []
    if r.answer is not None:
        kinds.append("demonstrations" if is_demo(r) else
                     "labelled answers" if r.score is None else "scored answers")
    if r.chosen is not None:
        kinds.append("pairs")
    return kinds or ["prompts"]


def describe(data: list[Row]) -> str:
    """What rows hold, in words: "2,000 demonstrations and 5 pairs"."""
    kinds = Counter(kind for r in data for kind in kinds_of(r))
    return " and ".join(quantity(n, name) for name, n in kinds.items()) or "no rows"


def unread_fields(rows: list[Row], kinds: Collection[str], chosen: Collection[Row] = ()) -> str:
    """"thumb (9 rows), messages[].vote (9 rows)": fields of rows and of messages that a method for
    these kinds of rows does not read. chosen: the rows with its roles; only GDPO's keep p."""
    not_read = forms.NUMBERS.difference(*(READ_FOR[kind] for kind in kinds))
    if [*kinds] == ["prompts"]:                         # it samples its answers
        not_read |= forms.ANSWER_FIELDS | forms.MARKS
    if all(r.p is None for r in chosen):
        not_read.add("p")
    found = Counter(name for r in rows for name in [
        *(name for name, value in r.extra.items() if not forms.is_empty(value)
          and (name not in forms.FIELDS or NAMES.get(name, name) in not_read | beside(r, kinds))),
        *forms.fields_of_messages(r.extra),
        *(f"the last answer of {name}" for name in r.extra
          if "response" in not_read and r.answer and NAMES.get(name, name) == "messages")])
    return ", ".join(f"{name.strip() or repr(name)} ({quantity(n, 'rows')})"
                     for name, n in found.items())


def unread_thumbs(rows: list[Row], kinds: Collection[str]) -> str:
    """A line if fields that nothing reads may say which of the demonstrations are bad; else ""."""
    said: dict[str, set[str]] = {}
    for r in filter(is_demo, rows if "demos" in kinds else ()):
        of_row = {name: [x] for name, x in r.extra.items() if name not in forms.FIELDS}
        for name, values in (of_row | forms.fields_of_messages(r.extra)).items():
            said.setdefault(name, set()).update(
                str(x)[:20].strip().lower() for x in values if not forms.is_empty(x))
    names = {name: words & forms.DOWN for name, words in said.items()
             if words & forms.DOWN and words <= forms.UP | forms.DOWN}
    return (f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not read, so rows with "
            f"{' or '.join(sorted(set().union(*names.values())))} are imitated; call it label if "
            "it judges the answer") if names else ""


def beside(r: Row, kinds: Collection[str]) -> set[str]:
    """Grades that would be read in another row: a label or a score, where the other one decides;
    scores of a pair that is not there."""
    names = set() if r.chosen else {"score_chosen", "score_rejected"}
    if "scores" in kinds and r.score is not None:
        names.add("label")
    if "labels" in kinds and r.label is not None:
        names.add("score")
    return names


def require(rows: list[Row], what: str, data: list[Row], kind: str) -> list[Row]:
    """The rows. If there are none, NoRows says why rows of this kind are left out, and names the
    fields that nothing reads."""
    if not rows:
        unread = unread_fields(data, kind.split(" + "))
        skipped = [(r.where, why) for r in data
                   if not (why := why_skipped(r, [kind])).endswith(NOT_READ)]
        raise NoRows(f"this objective needs {what}; the data has {describe(data)}"
                     + (f" ({reasons(skipped)})" if skipped else "")
                     + (f"; unused fields: {unread}" if unread else ""))
    return rows


def why_skipped(r: Row, kinds: list[str]) -> str:
    """Why a method that learns from these kinds of rows leaves out this row."""
    if "prompts" in kinds:
        return "the same question as another row"
    if kinds_of(r) == ["prompts"]:
        return NO_ANSWER
    if r.chosen and not is_real_pair(r):
        return "chosen and rejected are equal"
    if "demos" in kinds and not is_good(r):
        return "answers labelled bad or scored below 1, which are no demonstrations"
    return f"{' and '.join(kinds_of(r))}, {NOT_READ}"


def what_is_read(r: Row, kinds: list[str]) -> list[str]:
    """What a run reads of a row with several questions or answers; [] for any other row."""
    found = [r.unread] if r.unread else []
    answers = [turn.role for turn in r.answer or ()].count("assistant")
    graded = r.label is not None or r.score is not None
    if graded and answers > 1 and {"demos", "labels", "scores"} & {*kinds}:
        found.append("one grade for all answers of a dialogue")
    if r.answer is None or r.chosen is None:
        return found
    if kinds == ["demos"] and is_good(r):
        found.append("the response, not chosen and rejected")
    elif kinds == ["pairs"] or kinds in (["labels"], ["scores"]) and is_demo(r):
        written = next((name for name in r.extra if NAMES.get(name) == "response"), "response")
        found.append(f"chosen and rejected, not the {written}")
    return found


def report_use(sides: Mapping[str, tuple[list[Row], Collection[str]]], left_out: LeftOut,
               why: dict[str, str], kinds: list[str]) -> str:
    """"20 rows read: 9 to learn from, 1 held out, 10 left out (10: no answer, as in my.jsonl, line
    3)". Each row of a file is counted once.
    sides: {"to learn from": (rows, Row.where of the rows that are used)}
    left_out: rows that were left out when the file was read
    why: {Row.where: why a row was left out later}; any other row is of a kind that is not read"""
    left_out, parts, n, unread = list(left_out), [], 0, list[tuple[str, str]]()
    for name, (rows, used) in sides.items():
        count = sum(r.where in used for r in rows)
        left_out += [(r.where, why.get(r.where) or why_skipped(r, kinds))
                     for r in rows if r.where not in used]
        unread += [(r.where, f"the run reads {what}")
                   for r in rows if r.where in used for what in what_is_read(r, kinds)]
        parts.append(f"{count:,} {name}")
        n += count
    if left_out:
        parts.append(f"{len(left_out):,} left out ({reasons(left_out)})")
    lines = [f"{quantity(n + len(left_out), 'rows')} read: {', '.join(parts)}"]
    if unread:
        lines.append(f"rows with a second question or answer: {reasons(unread)}")
    return "\n".join(lines)


def about_grades(rows: list[Row], weights: tuple[float, float] | None = None) -> str:
    """A line if all graded answers have the same grade; or, for a method that weighs good and bad
    answers, if there are far more of one than of the other. Else ""."""
    grades = Counter(r.label if r.score is None else r.score for r in rows)
    if len(grades) == 1:
        return (f"all {quantity(len(rows), 'answers')} have the grade {grades.popitem()[0]:g}: "
                "nothing tells a better one from a worse one")
    good, bad = grades[1.0], grades[0.0]
    if weights is None or not good * bad:
        return ""
    ratio = weights[0] * good / (weights[1] * bad)
    if 1 / 2 <= ratio <= 2:
        return ""
    even = (f"--undesirable-weight {weights[1] * ratio:.3g}" if ratio > 1 else
            f"--desirable-weight {weights[0] / ratio:.3g}")
    return (f"{quantity(good, 'good answers')} and {quantity(bad, 'bad ones')}: {even} would give "
            "both kinds the same weight")


# ---- what an objective reads ---------------------------------------------------------------------
def is_demo(r: Row) -> bool:
    return r.answer is not None and r.score is None and r.label is None


def is_good(r: Row) -> bool:
    """True if no grade says that the answer has less than full marks."""
    return r.score in (None, 1) and r.label != 0


def demo_rows(data: list[Row]) -> list[Row]:
    """Role "answer": each demonstration, each answer with a good label or score 1, and the chosen
    answer of a row that has only a pair."""
    out = []
    for r in data:
        answer = r.answer or r.chosen
        if answer is not None and (r.answer is None or is_good(r)):
            out.append(r.with_roles({"answer": (r.prompt, answer)}))
    return require(out, "demonstrations (a prompt and its answer)", data, "demos")


def bare(turns: Turns | None) -> Turns:
    """Turns in the form in which they are compared: an accent may be written as a letter of its own
    or as a part of its letter."""
    return tuple(Turn(role, compose(text).strip()) for role, text in turns or ())


def compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def both_answers(r: Row) -> Roles:
    return {"chosen": (r.prompt, r.chosen or ()), "rejected": (r.prompt, r.rejected or ())}


def is_real_pair(r: Row) -> bool:
    """True if the two answers differ in more than white space."""
    return bare(r.chosen) != bare(r.rejected)


def real_pairs(data: list[Row]) -> list[Row]:
    """The rows with two different answers, as they are."""
    return require(list(filter(is_real_pair, data)), "pairs (prompt, chosen, rejected)", data,
                   "pairs")


def pair_rows(data: list[Row]) -> list[Row]:
    return [r.with_roles(both_answers(r)) for r in real_pairs(data)]


def label_rows(data: list[Row]) -> list[Row]:
    """Role "answer", label 1 or 0. A pair is two: chosen good, rejected bad."""
    out = []
    for r in data:
        answers = [(r.answer, float(r.label))] if r.answer and r.label is not None else []
        if is_real_pair(r):
            answers += [(r.chosen or (), 1.0), (r.rejected or (), 0.0)]
        out += [r.with_roles({"answer": (r.prompt, a)}, label=label) for a, label in answers]
    what = 'labels (prompt, response, "label": true for thumbs up or false for down) or pairs'
    return require(out, what, data, "labels")


def score_rows(data: list[Row]) -> list[Row]:
    """Role "answer", score from 0 to 1. A label is a score of 1 or 0; a scored pair is two."""
    out = []
    for r in data:
        x = r.label if r.score is None else r.score
        answers = [(r.answer, float(x))] if r.answer and x is not None else []
        answers += zip((r.chosen or (), r.rejected or ()), r.scores)
        out += [r.with_roles({"answer": (r.prompt, a)}, score=x) for a, x in answers]
    return require(out, "scores (prompt, response, score from 0 to 1)", data, "scores")


def each_prompt(data: list[Row]) -> list[Row]:
    """The first row of each different prompt."""
    first: dict[Turns, Row] = {}
    for r in data:
        first.setdefault(bare(r.prompt), r)
    return list(first.values())


def each_question(data: list[Row]) -> list[Row]:
    """The first row of each different question. A reward may read the other fields of a row
    (Row.extra), so two rows with one prompt but different fields are two questions."""
    first: dict[tuple, Row] = {}
    for r in data:
        fields = json.dumps(r.extra, sort_keys=True, default=str)
        first.setdefault((bare(r.prompt), fields), r)
    return list(first.values())


def prompt_rows(data: list[Row]) -> list[Row]:
    """Role "prompt": each different question once, for the model to answer."""
    return require([r.with_roles({"prompt": (r.prompt, ())}) for r in each_question(data)],
                   "prompts", data, "prompts")


def demo_and_prompt_rows(data: list[Row]) -> list[Row]:
    """Role "prompt": each different question once, from a row with a demonstration if there is one.
    Role "demo": each demonstration, beside its prompt; a second one of the same question alone."""
    demos_first = sorted(data, key=lambda r: not is_demo(r))
    asked = {id(r) for r in each_question(demos_first)}
    out = []
    for r in demos_first:
        roles: Roles = {"prompt": (r.prompt, ())} if id(r) in asked else {}
        if is_demo(r):
            roles["demo"] = (r.prompt, r.answer or ())
        if roles:
            out.append(r.with_roles(roles))
    return require(out, "demonstrations and prompts", data, "prompts")


CHOOSE = {"demos": demo_rows, "pairs": pair_rows, "labels": label_rows, "scores": score_rows,
          "prompts": prompt_rows,
          "demos + prompts": demo_and_prompt_rows}      # keys: as in an objective's `data`


# ---- held-out rows -------------------------------------------------------------------------------
def first_question(r: Row) -> str:
    """The first question of a dialogue, without the differences that make no other question: white
    space, capital letters, the writing of accents."""
    text = next((t.text for t in r.prompt if t.role == "user"), "")
    return " ".join(compose(compose(text).casefold()).split())


def question_key(r: Row) -> str:
    """A hash of the first question."""
    return hashlib.sha256(first_question(r).encode("utf-8", "replace")).hexdigest()


def leak(held_out: Collection[str], asked: Collection[str]) -> str:
    """"5 of 5 held-out questions are also trained on", from the keys of both; "" if none is."""
    known = len({*held_out} & {*asked})
    return known and (f"{known:,} of {quantity(len(held_out), 'held-out questions')} "
                      f"{'is' if known == 1 else 'are'} also trained on") or ""


def most_held_out(rows: list[Row]) -> int:
    return max(1, min(200, round(0.1 * len(rows))))


def never_held_out(rows: list[Row]) -> str:
    """A line if `holdout` cannot hold out a question, because it has too many rows; else ""."""
    for text, n in Counter(map(first_question, rows)).most_common(1):
        if n >= FEW and n > most_held_out(rows):
            return f'{n:,} rows begin with "{shorten(text, 40)}": too many to be held out'
    return ""


def holdout(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(train, held out). A tenth of the rows is held out, at most 200, by a hash of the first
    question. So equal questions stay on one side."""
    keys = [*map(question_key, rows)]
    groups, aim = Counter(keys), most_held_out(rows)
    held: dict[str, int] = {}
    for name in sorted(groups):
        if sum(held.values()) + groups[name] <= aim and len(held) + 1 < len(groups):
            held[name] = groups[name]
    sides: tuple[list[Row], list[Row]] = [], []
    for r, key in zip(rows, keys):
        sides[key in held].append(r)
    return sides
