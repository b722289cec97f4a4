"""Sentences for the user about rows: what a file holds, what a run reads and leaves out.

    describe(rows)                          # "2,000 demonstrations and 5 pairs"
    unread_fields(rows, ["demos"])          # "thumb (9 rows)"
    why_skipped(row, ["pairs"])             # "chosen and rejected are equal"
    report_use(sides, left_out, why, kinds)     # "20 rows read: 9 to learn from ..."
"""
from collections import Counter
from collections.abc import Collection, Mapping

from nanouft.data import forms
from nanouft.data.forms import NAMES
from nanouft.data.rows import (
    NO_ANSWER,
    READ_FOR,
    LeftOut,
    Row,
    is_demo,
    is_good,
    is_real_pair,
    reasons,
)
from nanouft.plumbing.printing import quantity

NOT_READ = "which this method does not read"


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
