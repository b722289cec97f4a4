"""What the grader prints: what is right, the smallest case that is not, the mistake, a question."""
import itertools
import math
import os
import sys

from lessons.grade import folder
from nanouft.errors import visible

SHOWN = 8                                   # numbers of one answer
COLOURS = {"right": 32, "amber": 33, "wrong": 35, "unknown": 36, "dim": 2, "bold": 1}
MARK = {"right": "ok", "amber": "~"}
NOTES = {       # what is said beside a mistake, or where none has a name
    "arguments": "The task calls {signature}. Your function takes other arguments.",
    "returns nothing": "Your function returns nothing. Is there a line with `return`?",
    "chance": "For one and the same input your function returns now this, now that. Is there "
              "chance in it?",
    "kind": "Your function returns texts where numbers are wanted, or the other way round.",
    "texts": "Your function returns another text. Allowed are: {error}.",
    "changes its arguments": "Your function changes its arguments in place: who else may still "
                             "need them?",
    "gradient": "The gradient is not that of this loss: what is a constant, what is not?",
    "no gradient": "No gradient flows out of it: numbers, .item() and numpy are constants. "
                   "Such a loss trains nothing.",
    "stops with gradients": "It stops if its arguments carry gradients, as they do in training. "
                            "numpy does that.",
    "time": "It took too long. Is there a loop that does not end?",
    "ended": "Your program ended before it returned anything.",
    "not reached": "It was not judged: the tasks before it in this file took too long.",
    "too late": "It was not judged: the tasks before it took too long together.",
    "forged": "Something else than the grader has written a verdict.",
    "changed grader": "Since this file has run, the grader takes wrong answers for right ones.",
    "no function": "Your file has no function {error}. Write one: def {signature}:",
    "file": "Your file cannot be read: {error}",
    "planted": "The planted bug is still there, or one like it.",
    "log": "The program is right now. But LOG = {error} is not what happened: what would the log "
           "have shown?",
    "unknown": "I do not know this result. Compute the smallest case by hand, and compare.",
    "no log": "The program is right now. LOG is empty: what would the log have shown?",
}


def paint(text: str, colour: str) -> str:
    """Colour, on a terminal only. NO_COLOR=1 turns it off."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    if sys.platform == "win32":
        os.system("")                       # switches the console to colour
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


def number(x) -> str:
    if isinstance(x, (str, bool)) or x is None:
        return str(x)
    whole = math.isfinite(x) and abs(x - round(x)) < 1e-9 and abs(x) < 1e6
    return str(round(x)) if whole else f"{x:.4g}"


def numbers(values: list) -> str:
    """An answer in short: its first numbers."""
    words = [number(x) for x in values[:SHOWN]]
    return " ".join(words) + (" ..." if len(values) > SHOWN else "") or "(nothing)"


def compared(wanted: list, yours: list, differs: int, what: str) -> list[str]:
    """Two answers, one under the other, and a mark under the first place where they differ."""
    first = max(0, differs - SHOWN + 3)             # so that the place is on the page
    pairs = list(itertools.zip_longest(map(number, wanted), map(number, yours), fillvalue="-"))
    columns = [[*pair, "^" if i == differs and len(pairs) > 1 else ""]
               for i, pair in enumerate(pairs)][first:first + SHOWN]
    aligned = [[f"{word:{max(map(len, column))}}" for word in column] for column in columns]
    heads = [f"      {what}{word} {'... ' * bool(first)}" for word in ("wanted", "yours ")]
    heads.append(" " * len(heads[0]))
    lines = [(head + " ".join(row)).rstrip() for head, row in zip(heads, zip(*aligned))]
    return [line for line in lines if line]


# ---- one task ------------------------------------------------------------------------------------

def report(task: dict, found: dict) -> list[str]:
    """The lines about one verdict. `task`: what worker.about says, with the hints that are left."""
    if found["state"] == "not begun" and not found.get("note"):
        return [f"{task['id']} {task['name']}: not begun yet. Write in {task['file']}"]
    cases = found.get("cases", [])
    right = sum(case["value"] for case in cases)
    what = "values" if any(case["value"] and not case["ok"] for case in cases) else "cases"
    head = f"{right} of {len(cases)} {what} right" * bool(cases)
    if found["state"] == "right":
        head = "right" + f": {len(cases)} shown cases, and those drawn at random" * bool(cases)
    lines = [paint(f"{task['id']} {task['name']:20} {head}".rstrip(), "bold"), *table(cases)]
    lines += found.get("lines", [])
    lines += sentence(task, found)
    if found.get("printed"):
        lines += ["  your program printed:",
                  *(f"    {line}" for line in found["printed"].splitlines()[:5])]
    return [visible(line) if "\033" not in line else line for line in lines]


def table(cases: list[dict]) -> list[str]:
    """The cases that are right, and the smallest one that is not."""
    width = max((len(case["words"]) for case in cases), default=0)
    bad = [case for case in cases if not case["value"]] or [c for c in cases if not c["ok"]]
    lines = []
    for case in cases:
        shown = paint("<-- the smallest case where it shows", "wrong")
        if case["value"]:
            shown = f"{numbers(case['wanted'])}  {paint('ok', 'right')}{but(case)}"
        if case["value"] or case is bad[0]:
            lines.append(f"  {case['words']:{width}}  {shown}")
        if case in bad[:1]:
            lines += failing(case)
    return lines


def failing(case: dict) -> list[str]:
    """The call, what is wanted, and what came back."""
    lines = [f"      {line}" for line in case["call"].splitlines()]
    if "differs" in case:
        return lines + compared(*case["differs"], "gradient " if case["value"] else "")
    return lines + [f"      wanted {numbers(case['wanted'])}"] * (not case["value"])


def but(case: dict) -> str:
    if case["changed"]:
        return "  (but your function changes its input)"
    return "" if case["ok"] else "  (the value; not the gradient)"


def sentence(task: dict, found: dict) -> list[str]:
    """The mistake by its name, and one question."""
    note, lines = found.get("note", ""), []
    if found["state"] == "amber" and found.get("cases") and note not in ("log", "no log"):
        lines.append("  The values are right.")
    if found["mistake"]:
        readings = [" AND ".join(names) for names in found.get("readings", [[found["mistake"]]])]
        by = "By its values, this" if found.get("by") == "values" else "This"
        lines.append(f"  {by} is what happens if " + paint(", or: ".join(readings), "wrong") + ".")
    if note:
        lines.append("  " + noted(found, task["signature"]))
        lines += [f"  {fact}" for fact in [found.get("fact")] if fact]
    elif found["state"] == "unknown" and not found.get("lines"):
        lines.append("  " + (found.get("fact") or NOTES["unknown"]) + hidden(found))
    if found.get("law"):
        lines.append(f"  A law to test by hand: {found['law']}. Here it does not hold.")
    if found.get("perhaps"):
        lines.append(f"  Perhaps: {found['perhaps']}. Most cases agree with that.")
    if found.get("question"):
        lines.append(f"  Think: {found['question']}")
    if found.get("question") or found["state"] in ("wrong", "unknown"):
        hints = f"--hint for more, {task['hints']} left; " if task["hints"] else ""
        lines.append(paint(f"  ({hints}{task['where']})", "dim"))
    return lines


def noted(found: dict, signature: str) -> str:
    """The note of a verdict in a sentence."""
    note = found["note"]
    if note in NOTES:
        return NOTES[note].format(error=found.get("error", ""), signature=signature)
    return f"Your result has the {note}." if note[:5] == "shape" else f"It stops with {note}."


def hidden(found: dict) -> str:
    """All shown cases are right, but not the hidden ones."""
    random = [case for case in found.get("cases", []) if case["words"] == "drawn at random"]
    return " The shown cases are right, this one is not. What do they not test?" if random else ""


# ---- all tasks -----------------------------------------------------------------------------------

def progress(tasks: list, states: dict[str, str], where: str) -> list[str]:
    """The list: how many are done, what is next, one line a lesson."""
    core = [task for task in tasks if task.core]
    done = sum(states.get(task.id) == "right" for task in core)
    bar = "#" * round(28 * done / max(1, len(core)))
    path = sorted((task for task in tasks if task.id in folder.AFTERNOON), key=lambda task: task.id)
    left = [f"next: {task.id} (level {task.level}, about {task.minutes} min)"
            for task in [*path, *core] if states.get(task.id) != "right"]
    lines = [f"nanouft exercises   {where}   {done} of {len(core)} core tasks done",
             f"{bar:-<28}   {(left or ['all done'])[0]}", *afternoon(states)[:1], ""]
    lessons = sorted({task.id[:2] for task in tasks})
    rows = {"one afternoon:": path, "": []} | {
        lesson: [task for task in tasks if task.id.startswith(lesson)] for lesson in lessons}
    for name, some in rows.items():
        entries = [entry(task, states.get(task.id, "")) for task in some]
        lines.append("  ".join(["", name, *entries]) if some else "")
    return [*lines, "",
            "  ok done   ~ nearly   . open   * core;   D debug  P predict  L ledger  X design",
            "  python -m lessons.grade 07a judges one task, 07 all of lesson 07; --help says more."]


def afternoon(states: dict[str, str]) -> list[str]:
    """The line that ends it, when its tasks are all right."""
    if any(states.get(id) != "right" for id in folder.AFTERNOON):
        return []
    return [f"The afternoon is done: all {len(folder.AFTERNOON)} tasks are right. "
            "python -m lessons.grade lists what comes next."]


def entry(task, state: str) -> str:
    letter = {"debug": "D", "predict": "P", "ledger": "L", "design": "X"}.get(task.kind, "")
    text = f"{task.id}{'*' if task.core else ''}{letter and ' ' + letter} {MARK.get(state, '.')}"
    return paint(f"{text:9}", state) if state in COLOURS else f"{text:9}"
