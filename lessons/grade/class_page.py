"""The page of a class: one file that asks for nothing else. All text from students is escaped.

    text = page(klass)                  # results.Klass; the look is in class.html

What to say on Monday comes first, then what is done, then what deserves a look.
"""
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path

from lessons.grade import program
from lessons.grade import results as counted
from lessons.grade.results import Klass, Result
from nanouft.run.pages import SHARED, fill
from nanouft.run.pages import html as escape

TEMPLATE = Path(__file__).with_name("class.html")
STATES = {"right": "✓", "amber": "~", "wrong": "✗", "unknown": "?", "not begun": "·"}
BELIEFS = 3                             # on Monday
WEEK = 7 * 24 * 3600                    # seconds
GROUPS = 12                             # of equal answers and of unknown failures on the page
LINES = 40                              # of code in one place


def page(klass: Klass) -> str:
    parts = intro, monday, tasks, students, odd, plans, equal, unknown, stopped
    return fill(TEMPLATE.read_text(encoding="utf-8"), {
        "/*COMMON_CSS*/": (SHARED / "common.css").read_text(encoding="utf-8"),
        **{f"<!--{part.__name__.upper()}-->": part(klass) for part in parts}})


def intro(klass: Klass) -> str:
    answers = [r for r in klass.results if r.state != "not begun"]
    right = sum(r.state == "right" for r in answers)
    text = (f"<p>{date.today():%d %B %Y}. {len(klass.names)} submissions, "
            f"{len(klass.tasks)} tasks. {right} of {len(answers)} answers are right.</p>")
    unread = [f"<b>{escape(name)}</b> {escape(why)}" for name, why in klass.unread.items()]
    return text + f"<p>Not graded:</p>{listed(unread)}" * bool(unread)


def listed(items: list[str], most: int = 9999) -> str:
    """The first ones, and how many more there are."""
    more = f"<p>{len(items) - most} more are not shown.</p>" * (len(items) > most)
    shown = "".join(map("<li>{}</li>".format, items[:most]))
    return f"<ul>{shown}</ul>{more}" if items else "<p>None.</p>"


def table(name: str, heads: list[str], rows: list[list[str]], above: str = "") -> str:
    """Cells are HTML. The first cell of a row is its name; `above`: cells of another head row."""
    head = "".join(f'<th scope="col">{text}</th>' for text in heads)
    body = "".join(f'<tr><th scope="row">{first}</th>' + "".join(map("<td>{}</td>".format, cells))
                   + "</tr>" for first, *cells in rows)
    above = f"<tr>{above}</tr>" * bool(above)
    return (f'<div class="scroll" tabindex="0" role="group" aria-label="{name}"><table><thead>'
            f"{above}<tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")


def title(task) -> str:
    """07a dpo_loss"""
    name = getattr(task, "signature", "").split("(")[0]
    return escape(f"{task.id} {name}".strip())


def key(state: str) -> str:
    """A small square with the sign of a state."""
    return f'<span class="key {css(state)}" role="img" aria-label="{state}">{STATES[state]}</span>'


def css(state: str) -> str:
    return state.replace(" ", "-")


# ---- what to say on Monday ---------------------------------------------------------------------

def beliefs(klass: Klass) -> list[tuple]:
    """[(task, mistake, names)], the most common first: handed in, or tried in the last week."""
    latest = max((entry["time"] for r in klass.results for entry in r.log), default=0)
    who = defaultdict(set)
    for r in klass.results:
        recent = [entry for entry in counted.tries(r.log) if entry["time"] > latest - WEEK]
        said = [str(entry.get("mistake")) for entry in [*recent, r.verdict]]
        for place, mistake in enumerate(r.task.mistakes):       # no name is a part of another one
            if any(mistake.name in text for text in said):      # "a and b" are two
                who[r.task.id, place].add(r.name)
    tasks = {task.id: task for task in klass.tasks}
    found = [(tasks[id], tasks[id].mistakes[place], sorted(names))
             for (id, place), names in who.items()]
    return sorted(found, key=lambda entry: (-len(entry[2]), entry[0].id, entry[1].name))


def monday(klass: Klass) -> str:
    cards = [f"""<li>
        <p class="count"><b>{len(names)} of {len(klass.names)}</b> {title(task)}</p>
        <h3>{escape(mistake.name)}</h3>
        <p class="say">{escape(mistake.say)}</p>
        <details><summary>who</summary><p>{escape(', '.join(names))}</p></details></li>"""
             for task, mistake, names in beliefs(klass)[:BELIEFS]]
    none = "<p>No named mistake in the last week.</p>"
    return f'<ol class="cards">{"".join(cards)}</ol>' if cards else none


# ---- done by task, done by student -------------------------------------------------------------

def tasks(klass: Klass) -> str:
    """A bar for each task; the numbers, and who failed why, stand beside it."""
    rows = []
    for task in klass.tasks:
        own = [r for r in klass.results if r.task.id == task.id]
        count = Counter(r.state for r in own)
        parts = [f'<span class="{css(state)}" style="flex:{count[state]}"></span>'
                 for state in STATES if count[state]]
        bar = f'<div class="bar" aria-hidden="true">{"".join(parts)}</div>'
        name = f"<b>{title(task)}</b>" if task.core else title(task)
        rows.append([name, bar, *(str(count[state] or "") for state in STATES), causes(own)])
    signs = " ".join(f"<span>{key(state)} {state}</span>" for state in STATES)
    heads = ["task", "shares", *map(key, STATES), "who, and why"]
    done = table("Done, by task", heads, rows)
    return f'<p class="legend">{signs}</p><div class="by-task">{done}</div>'


def causes(results: list[Result]) -> str:
    """Each mistake of a task, and who made it."""
    who = defaultdict(list)
    for r in results:
        if r.state not in ("right", "not begun") and not (r.state == "amber" and not r.note):
            who[r.verdict.get("mistake") or r.note[:90].rstrip(".") or "unknown"].append(r.name)
    lines = sorted(who.items(), key=lambda cause: (-len(cause[1]), cause[0]))
    items = [f"{escape(why)}: <b>{escape(', '.join(names))}</b>" for why, names in lines]
    head = f"<summary>{len(set().union(*who.values()))} not right</summary>"
    return f"<details>{head}{listed(items)}</details>" * bool(items)


def students(klass: Klass) -> str:
    """Sums of each student, and a square for each task."""
    answers = {(r.name, r.task.id): r.state for r in klass.results}
    rows = []
    for name in klass.names:
        sums = klass.sums(name)
        squares = [key(answers[name, task.id]) for task in klass.tasks]
        odd = ' <b title="something is odd">!</b>' * bool(sums["odd"])
        rows.append([escape(name) + odd, f"<b>{sums['points']}</b>",
                     *(str(sums[what]) for what in ("right", "tries", "minutes")), *squares])
    lessons = Counter(task.id[:2] for task in klass.tasks)
    above = '<td colspan="5"></td>' + "".join(
        f'<th scope="colgroup" colspan="{n}">{escape(id)}</th>' for id, n in lessons.items())
    heads = ["student", f"points of {klass.full}", "right", "tries", "minutes",
             *(escape(task.id[2:]) for task in klass.tasks)]
    return f'<div class="students">{table("Done, by student", heads, rows, above)}</div>'


def odd(klass: Klass) -> str:
    return listed([f"<b>{escape(name)}</b>: {escape(', '.join(words))}"
                   for name, words in klass.odd.items()])


# ---- plans -------------------------------------------------------------------------------------

def plans(klass: Klass) -> str:
    """The sentences that the rubric asks a person to read."""
    items = []
    for r in klass.results:
        plan = program.card(r.code) if r.task.kind == "design" and r.state != "not begun" else {}
        items += [f"<b>{escape(r.name)}</b> {title(r.task)}, {escape(key)}: "
                  f"{escape(str(text)[:500])}"
                  for key, text in plan.items() if text and key in r.task.sentences()]
    return listed(items)


# ---- what deserves a look ----------------------------------------------------------------------

def code_of(results: list[Result]) -> str:
    """The programs of one student, folded away."""
    shown = ""
    for result in results:
        lines = [line[:200] for line in result.code.splitlines()]
        text = "\n".join([*lines[:LINES], *["..."] * (len(lines) > LINES)])
        shown += f"<p>{title(result.task)}</p><pre>{escape(text)}</pre>"
    return f"<details><summary>code of {escape(results[0].name)}</summary>{shown}</details>"


def equal(klass: Klass) -> str:
    """Groups of students with equal trees; small groups that meet in many tasks first."""
    found = defaultdict(list)
    for result in klass.results:
        if result.same_as:
            found[tuple(sorted([result.name, *result.same_as]))].append(result)
    groups = sorted(found.items(), key=lambda pair: (-len(pair[1]) / len(pair[0]) ** 2, pair[0]))
    items = []
    for names, results in groups:
        ids = sorted({r.task.id for r in results})
        code = code_of([r for r in results if r.name == names[0]])
        items.append(f"<b>{escape(', '.join(names))}</b> in {escape(', '.join(ids))}{code}")
    one = [f"<p>One name in my/, so the same planted bugs: {escape(', '.join(names))}.</p>"
           for names in counted.equal_names(klass)]
    return "".join(one) + listed(items, GROUPS)


def unknown(klass: Klass) -> str:
    """Failures that nobody knows, in groups of equal ones."""
    return in_groups(counted.unknown(klass.results))


def stopped(klass: Klass) -> str:
    """Answers that could not be judged, with what the grader said."""
    return in_groups(counted.unknown(klass.results, unexplained=False))


def in_groups(groups: list[list[Result]]) -> str:
    return listed([f"<b>{title(group[0].task)}</b>: {len(group)} x, "
                   f"{escape(', '.join(r.name for r in group))}"
                   f'<p class="dim">{escape(counted.failure(group[0])[:200])}</p>'
                   f"{code_of(group[:1])}" for group in groups], GROUPS)
