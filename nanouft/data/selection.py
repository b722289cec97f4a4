"""Choose the rows that a method reads, and give them roles.

    demo_rows(rows)            # role "answer": a demonstration
    pair_rows(rows)            # roles "chosen" and "rejected"

An objective's `choose` calls one of them, by its kind of rows. batches.py tokenizes the roles of a
row.
"""
import json

from nanouft.data.row import Roles, Row, comparable, is_demo, is_good, is_real_pair
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import reasons


class NoRows(UserError):
    """None of the rows is of the kind that is needed."""


def require(rows: list[Row], what: str, data: list[Row], kind: str) -> list[Row]:
    """The rows. If there are none, NoRows says why rows of this kind are left out, and names the
    fields that nothing reads."""
    if not rows:
        from nanouft.data.report import NOT_READ, describe, unread_fields, why_skipped
        unread = unread_fields(data, kind.split(" + "))
        skipped = [(r.where, why) for r in data
                   if not (why := why_skipped(r, [kind])).endswith(NOT_READ)]
        raise NoRows(f"this method needs {what}; the data has {describe(data)}"
                     + (f" ({reasons(skipped)})" if skipped else "")
                     + (f"; unused fields: {unread}" if unread else ""))
    return rows


def demo_rows(data: list[Row]) -> list[Row]:
    """Role "answer": each demonstration, each answer with a good label or score 1, and the chosen
    answer of a row that has only a pair."""
    out = []
    for r in data:
        answer = r.answer or r.chosen
        if answer is not None and (r.answer is None or is_good(r)):
            out.append(r.with_roles({"answer": (r.prompt, answer)}))
    return require(out, "demonstrations (prompt, response)", data, "demos")


def both_answers(r: Row) -> Roles:
    return {"chosen": (r.prompt, r.chosen or ()), "rejected": (r.prompt, r.rejected or ())}


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


def each_question(data: list[Row], by_fields: bool = True) -> list[Row]:
    """The first row of each different question. by_fields: a reward may read the other fields of a
    row (Row.extra), so two rows with one prompt but different fields are two questions."""
    first: dict[tuple, Row] = {}
    for r in data:
        fields = json.dumps(r.extra, sort_keys=True, default=str) if by_fields else ""
        first.setdefault((comparable(r.prompt), fields), r)
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
