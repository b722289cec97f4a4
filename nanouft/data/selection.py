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
from pathlib import Path
from textwrap import shorten

from nanouft.data.rows import NO_ANSWER, LeftOut, Roles, Row, reasons
from nanouft.models.tokenizer import Turn, Turns
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import quantity

SAME_QUESTION = "the same question as another row"
NOT_READ = "which this method does not read"
MOST = 1.5      # KTO's authors: good answers should have 1 to 1.5 times the weight of bad ones
FEW = 10        # rows with one question; with fewer, a run does not say that none is held out


class NoRows(UserError):
    """None of the rows is of the kind that is needed."""


# ---- what the rows are, and how they are used ----------------------------------------------------
def kinds_of(r: Row) -> list[str]:
    """What a row holds, in words: ["demonstrations", "pairs"]."""
    kinds = []
    if is_demo(r):
        kinds.append("demonstrations")
    elif r.answer is not None:
        kinds.append("labelled answers" if r.score is None else "scored answers")
    if r.chosen is not None:
        kinds.append("pairs")
    return kinds or ["prompts"]


def describe(data: list[Row]) -> str:
    """What rows hold, in words: "2,000 demonstrations and 5 pairs"."""
    kinds = Counter(kind for r in data for kind in kinds_of(r))
    return " and ".join(quantity(n, name) for name, n in kinds.items()) or "no rows"


def unread_fields(rows: list[Row]) -> Counter[str]:
    """{a field that no form of a row, or of a message, has: how many rows have it}."""
    from nanouft.data.forms import FIELDS, unread_of_messages
    return Counter(name for r in rows
                   for name in [*r.extra, *unread_of_messages(r.extra)] if name not in FIELDS)


def require(rows: list[Row], what: str, data: list[Row], kind: str) -> list[Row]:
    """The rows. If there are none, NoRows says why rows of this kind are left out, and names the
    fields that nothing reads."""
    if not rows:
        names = unread_fields(data)
        unused = f"; unused fields: {', '.join(names)}" if names else ""
        left_out = [(r.where, why) for r in data
                    if not (why := why_skipped(r, [kind])).endswith(NOT_READ)]
        why = f" ({reasons(left_out)})" if left_out else ""
        raise NoRows(f"this objective needs {what}; the data has {describe(data)}{why}{unused}")
    return rows


def why_skipped(r: Row, kinds: list[str]) -> str:
    """Why a method that learns from these kinds of rows leaves out this row."""
    if "prompts" in kinds:
        return SAME_QUESTION
    if kinds_of(r) == ["prompts"]:
        return NO_ANSWER
    if r.chosen and not is_real_pair(r):
        return "chosen and rejected are equal"
    if r.label == 0 and "demos" in kinds:
        return "bad answers, which are no demonstrations"
    if r.score is not None and kinds == ["demos"]:
        return "answers with less than full marks (score 1), which are no demonstrations"
    return f"{' and '.join(kinds_of(r))}, {NOT_READ}"


def report_use(sides: Mapping[str, tuple[list[Row], Collection[str]]], left_out: LeftOut,
            why: dict[str, str], kinds: list[str]) -> str:
    """"20 rows read: 9 to learn from, 1 held out, 10 left out (10: no answer, as in my.jsonl, line
    3)". Each row of a file is counted once.
    sides: {"to learn from": (rows, Row.where of the rows that are used)}
    left_out: rows that were left out when the file was read
    why: {Row.where: why a row was left out later}; any other row is of a kind that is not read"""
    left_out = list(left_out)
    counts: Counter = Counter()
    for name, (rows, used) in sides.items():
        for r in rows:
            if r.where in used:
                counts[name] += 1
            else:
                left_out.append((r.where, why.get(r.where) or why_skipped(r, kinds)))
    parts = [f"{counts[name]:,} {name}" for name in sides]
    if left_out:
        parts.append(f"{len(left_out):,} left out ({reasons(left_out)})")
    line = f"{quantity(counts.total() + len(left_out), 'rows')} read: {', '.join(parts)}"
    every = [r for rows, _ in sides.values() for r in rows]
    return "\n".join([line, *what_is_not_read(every, kinds)])


def what_is_not_read(rows: list[Row], kinds: list[str]) -> list[str]:
    """A line about rows with a second question or answer that is not learned, for each kind."""
    places: dict[str, list[str]] = {}
    for r in rows:
        if what := r.unread or answer_or_pair(r, kinds):
            places.setdefault(what, []).append(Path(r.where).name)
    return [f"{quantity(len(of), 'rows')} with a second question or answer: the run reads {what}, "
            f"as in {of[0]}" for what, of in places.items()]


def answer_or_pair(r: Row, kinds: list[str]) -> str:
    """What a method reads of a row that has both an answer and a pair; "" for any other row."""
    if r.answer is None or r.chosen is None:
        return ""
    if kinds == ["demos"] and r.score in (None, 1) and r.label != 0:
        return "the response, not chosen and rejected"
    if kinds == ["pairs"] or kinds in (["labels"], ["scores"]) and is_demo(r):
        return "chosen and rejected, not the response"
    return ""


def about_grades(rows: list[Row], weights: tuple[float, float] | None = None) -> str:
    """A line if all graded answers have the same grade; or, for a method that weighs good and bad
    answers, if there are far more of one than of the other. Else ""."""
    name = "score" if any(r.score is not None for r in rows) else "label"
    grades = Counter(g for r in rows if (g := getattr(r, name)) is not None)
    if len(grades) == 1:
        (grade, n), = grades.items()
        what = f"have the score {grade:g}" if name == "score" else (
            "are labelled good" if grade else "are labelled bad")
        return f"all {quantity(n, 'answers')} {what}: nothing tells a better one from a worse one"
    good, bad = grades[1.0], grades[0.0]
    if name == "score" or weights is None or not good * bad:
        return ""
    ratio = weights[0] * good / (weights[1] * bad)
    flag, low, high = "--desirable-weight", weights[0] / ratio, weights[0] / ratio * MOST
    if ratio > 1:
        flag, low, high = "--undesirable-weight", weights[1] * ratio / MOST, weights[1] * ratio
    return "" if 1 / 2 <= ratio <= 2 else (
        f"{quantity(good, 'good answers')} and {quantity(bad, 'bad ones')}: {flag} {low:.3g} to "
        f"{high:.3g} would give the good ones 1 to {MOST:g} times the weight of the bad ones")


def about_dialogues(rows: list[Row]) -> list[str]:
    """A line if a label counts for several answers of a dialogue, and one for scores."""
    out = []
    for name, what in (("label", "labelled"), ("score", "scored")):
        graded = [r for r in rows if getattr(r, name) is not None]
        n = sum([turn.role for turn in r.answer or ()].count("assistant") > 1 for r in graded)
        if n:
            out.append(f"{quantity(n, f'{what} dialogues')} with several answers: the {name} "
                       "counts for all of them")
    return out


# ---- what an objective reads ---------------------------------------------------------------------
def is_demo(r: Row) -> bool:
    return r.answer is not None and r.score is None and r.label is None


def demo_rows(data: list[Row]) -> list[Row]:
    """Role "answer": each demonstration, each answer with a good label or score 1, and the chosen
    answer of a row that has only a pair."""
    out = []
    for r in data:
        answer = r.answer or r.chosen
        if r.answer and (r.score not in (None, 1) or r.label == 0):
            continue                                    # a lower score, or a bad label
        if answer is not None:
            out.append(r.with_roles({"answer": (r.prompt, answer)}))
    return require(out, "demonstrations (a prompt and its answer)", data, "demos")


def is_real_pair(r: Row) -> bool:
    """True if the two answers differ in more than white space."""
    if r.chosen is None or r.rejected is None:
        return False
    return bare(r.chosen) != bare(r.rejected)


def bare(turns: Turns) -> Turns:
    """Turns in the form in which they are compared: an accent may be written as a letter of its own
    or as a part of its letter."""
    return tuple(Turn(role, compose(text).strip()) for role, text in turns)


def compose(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def both_answers(r: Row) -> Roles:
    return {"chosen": (r.prompt, r.chosen or ()), "rejected": (r.prompt, r.rejected or ())}


def real_pairs(data: list[Row]) -> list[Row]:
    """The rows with two different answers, as they are."""
    pairs = list(filter(is_real_pair, data))
    return require(pairs, "pairs (prompt, chosen, rejected)", data, "pairs")


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


def first_question(r: Row) -> str:
    """The first question of a dialogue, without the differences that make no other question: white
    space, capital letters, the writing of accents."""
    text = next((t.text for t in r.prompt if t.role == "user"), "")
    return " ".join(compose(compose(text).casefold()).split())


def most_held_out(rows: list[Row]) -> int:
    """A tenth, at least 1 and at most 200."""
    return max(1, min(200, round(0.1 * len(rows))))


def holdout(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(train, held out). A tenth of the rows is held out, at most 200, by a hash of the first
    question. So equal questions stay on one side."""
    keys = [hashlib.sha256(first_question(r).encode("utf-8", "replace")).hexdigest() for r in rows]
    groups, aim = Counter(keys), most_held_out(rows)
    held: dict[str, int] = {}
    for name in sorted(groups):
        if sum(held.values()) + groups[name] <= aim and len(held) + 1 < len(groups):
            held[name] = groups[name]
    sides: tuple[list[Row], list[Row]] = [], []
    for r, key in zip(rows, keys):
        sides[key in held].append(r)
    return sides


def never_held_out(rows: list[Row]) -> str:
    """A line if a first question has too many rows for `holdout`; else ""."""
    least = max(FEW, most_held_out(rows) + 1)
    asked = Counter(map(first_question, rows)).most_common()
    large = [(text, n) for text, n in asked if n >= least]
    if not large:
        return ""
    text, n = large[0]
    more = f"; so it is with {quantity(len(large) - 1, 'other questions')}" if large[1:] else ""
    return f'{n:,} rows begin with "{shorten(text, 40)}": too many to be held out, so none is{more}'
