"""Sentences for the user about rows: what a file holds, what a run reads and leaves out."""
from collections import Counter
from collections.abc import Collection, Mapping

from nanouft.data.batches import MISMATCHED, Encoded
from nanouft.data.fields import is_beside_text
from nanouft.data.row import Row, is_demo, is_good, is_real_pair
from nanouft.data.rows import no_answer
from nanouft.plumbing.printing import LeftOut, if_in_checkout, places, quantity, reasons

NOT_READ = "which this method does not read"
UP = {"true", "1", "yes", "good", "up", "positive", "correct", "\U0001f44d"}
DOWN = {"false", "0", "-1", "no", "bad", "down", "negative", "incorrect", "wrong", "\U0001f44e"}
HALVES = {f"{n / 2:g}" for n in range(21)}              # 0 to 10 stars


def kinds_of(r: Row) -> list[str]:
    """What a row holds, or what a method that chose it makes of it: ["demonstrations", "pairs"]."""
    holds = r.roles.keys() or {x for x in ("answer", "chosen") if getattr(r, x) is not None}
    unread = () if r.roles else r.unread    # where a method that reads no grade leaves it
    kinds = []
    if {"answer", "demo"} & holds:
        kinds.append("scored answers" if r.score is not None or "score" in unread else
                     "labelled answers" if r.label is not None or "label" in unread else
                     "demonstrations")
    return kinds + ["pairs"] * ("chosen" in holds) or ["prompts"]


def describe(data: list[Row]) -> str:
    """What rows hold, or a method makes of them: "2,000 demonstrations and 5 pairs"."""
    kinds = Counter(kind for r in data for kind in kinds_of(r))
    return " and ".join(quantity(n, name) for name, n in kinds.items()) or "no rows"


def unread_fields(rows: list[Row], kinds: Collection[str], chosen: Collection[Row] = ()) -> str:
    """"thumb (9 rows), messages[].vote (9 rows)": fields of rows and of messages that no one read
    of these kinds of rows. chosen: the rows with its roles; only GDPO's keep p."""
    counts: Counter[str] = Counter()
    judging: dict[str, set[str]] = {}       # what they say of demonstrations
    beside: dict[str, set[str]] = {}        # and beside pairs
    reads_p = any(r.p is not None for r in chosen)
    for r in rows:
        unread = r.unread if r.p is None or reads_p else r.unread | {"p": [r.p]}
        counts.update(unread.keys())
        words_of = judging if is_demo(r) else beside if r.chosen else {}
        for name, values in unread.items():
            words_of.setdefault(name, set()).update(
                str(x)[:20].strip().lower().removesuffix(".0") for x in values)
    return ", ".join(
        f"{name} ({quantity(n, 'rows')}"
        f"{unread_field_warning(name, judging.get(name, set()), kinds)}"
        f"{values_if_grades(beside.get(name, set()), kinds)})" for name, n in counts.items())


def unread_field_warning(name: str, words: set[str], kinds: Collection[str]) -> str:
    """What it costs that no one reads a field, if it may hold a part of the answer, or if its
    values look like thumbs or stars; or ""."""
    if is_beside_text(name) and [*kinds] != ["prompts"]:
        return "; it is not trained on: write it into the content"
    if not {"demos", "labels", "scores"} & {*kinds}:
        return ""
    if are_thumbs(words):
        bad, remedy = sorted(words & DOWN), "rename it to label, with true or false"
    elif are_stars(words):
        low, top = min(map(float, words)), 5 if max(map(float, words)) <= 5 else 10
        bad, remedy = [f"{low:g}"], "rename it to score and scale it to 0..1, as " + (
            f"(x - 1) / {top - 1}" if low >= 1 else f"x / {top}")
    else:
        return ""
    imitated = f"{' and '.join(bad)} is imitated, too: " if "demos" in kinds else ""
    return f"; {imitated}if it grades the response, {remedy}"


def values_if_grades(words: set[str], kinds: Collection[str]) -> str:
    """": down, up", if the values of a field beside pairs look like grades; or "". Which response
    they grade is not known."""
    is_grade = are_thumbs(words) or are_stars(words)
    return f": {', '.join(sorted(words))}" if is_grade and [*kinds] != ["prompts"] else ""


def are_thumbs(words: set[str]) -> bool:
    return bool(words & DOWN) and words <= UP | DOWN


def are_stars(words: set[str]) -> bool:
    return len(words) > 1 and words <= HALVES and bool(words - {"0", "0.5", "1"})


def why_skipped(r: Row, kinds: list[str]) -> str:
    """Why a method that learns from these kinds of rows leaves out this row."""
    if "prompts" in kinds:
        return "the same prompt as another row"
    if kinds_of(r) == ["prompts"]:
        return no_answer(r.unread)
    if r.chosen and not is_real_pair(r):
        return "chosen and rejected are equal"
    if "demos" in kinds and not is_good(r):
        return "responses labelled bad or scored below 1, which are not demonstrations"
    return f"{' and '.join(kinds_of(r))}, {NOT_READ}"


def report_use(sides: Mapping[str, tuple[list[Row], Collection[str]]], left_out: LeftOut,
               why: dict[str, str], kinds: list[str]) -> str:
    """"20 rows read: 9 to train on, 1 held out, 10 skipped (10: no response, or an empty one, as in
    my.jsonl, line 3)". Each row of a file is counted once.
    sides: {"to train on": (rows, Row.where of the rows that are used)}
    left_out: rows that were left out when the file was read
    why: {Row.where: why a row was left out later}; any other row is of a kind that is not read"""
    left_out, parts, n, graded = list(left_out), [], 0, 0
    for name, (rows, used) in sides.items():
        count = sum(r.where in used for r in rows)
        left_out += [(r.where, why.get(r.where) or why_skipped(r, kinds))
                     for r in rows if r.where not in used]
        if {"demos", "labels", "scores"} & {*kinds}:
            graded += sum(r.where in used and [turn.role for turn in r.answer or ()].count(
                "assistant") > 1 and not is_demo(r) for r in rows)
        parts.append(f"{count:,} {name}")
        n += count
    if left_out:
        parts.append(f"{len(left_out):,} skipped ({reasons(left_out)})")
    lines = [f"{quantity(n + len(left_out), 'rows')} read: {', '.join(parts)}"]
    if graded:
        lines.append(f"one grade for all responses of a dialogue: {quantity(graded, 'rows')}")
    return "\n".join(lines)


def duplicates_note(rows: list[Row]) -> str:
    """"34 exact duplicates of other rows, as in my.jsonl, line 9; 1 pair with chosen and rejected
    swapped in another row, as in my.jsonl, line 21", or ""."""
    seen, pairs = set[Row](), set[tuple]()
    same, swapped = list[str](), list[str]()
    for r in rows:
        if r in seen:
            same.append(r.where)
        elif r.chosen and (r.prompt, r.rejected, r.chosen) in pairs:
            swapped.append(r.where)
        seen.add(r)
        pairs.add((r.prompt, r.chosen, r.rejected))
    found = [("exact duplicates", "of other rows", same),
             ("pairs", "with chosen and rejected swapped in another row", swapped)]
    return "; ".join(f"{quantity(len(wheres), what)} {which}, as in {places(wheres)}"
                     for what, which, wheres in found if wheres)


def grade_note(rows: list[Row], weights: tuple[float, float] | None = None) -> str:
    """A line if all graded answers have the same grade; or, for a method that weighs good and bad
    answers, if there are far more of one than of the other. Else ""."""
    grades = Counter(r.label if r.score is None else r.score for r in rows)
    if len(grades) == 1:
        return (f"all {quantity(len(rows), 'responses')} have the grade {grades.popitem()[0]:g}, "
                "so none is better than another")
    good, bad = grades[1.0], grades[0.0]
    if weights is None or not good * bad:
        return ""
    ratio = weights[0] * good / (weights[1] * bad)
    if 1 / 2 <= ratio <= 2:
        return ""
    even = (f"--undesirable-weight {weights[1] * ratio:.3g}" if ratio > 1 else
            f"--desirable-weight {weights[0] / ratio:.3g}")
    return (f"{quantity(good, 'good responses')} and {bad:,} bad: {even} would give both kinds the "
            "same weight")


# what rows hold -> a method that is for them, and what to begin with
BEGIN = {"demonstrations": ("sft", "sft"),
         "pairs": ("dpo", "sft on the chosen responses, then dpo on all"),
         "labelled answers": ("kto", "sft on the good ones, then kto on all"),
         "scored answers": ("una", "sft on the best ones, then una on all"),
         "prompts": ("grpo", "grpo or rloo, with a --reward")}


def advice(rows: list[Row]) -> tuple[str, str, str]:
    """("dpo", "most are pairs", "begin with sft on the chosen responses, then dpo on all")."""
    kinds = Counter(kind for r in rows for kind in kinds_of(r))
    (most, _), = kinds.most_common(1)
    method, begin = BEGIN[most]
    return (method, f"{'most' if len(kinds) > 1 else 'all'} are {most}",
            f"begin with {begin}{if_in_checkout('docs/data.md')}")


def length_note(data: list[Encoded], of: str) -> str:
    """"tokens per row that fits: median 60, 95th percentile 110, maximum 187 (my.jsonl, line 21)".
    of: "row" or "prompt"."""
    by_length = sorted((max(len(t.ids) for role, t in e.seqs.items() if role != MISMATCHED) - 1,
                        e.row.where) for e in data)
    half, most, longest = (by_length[int(share * (len(data) - 1))] for share in (0.5, 0.95, 1))
    return (f"tokens per {of} that fits: median {half[0]:,}, 95th percentile {most[0]:,}, maximum "
            f"{longest[0]:,} ({longest[1]})")


# ---- a row in print ------------------------------------------------------------------------------
