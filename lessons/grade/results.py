"""What came out for a class: a Result for each task of each student, and what is counted of it."""
import ast
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field

from lessons.grade import folder, ui
from nanouft.shell.config import tomllib
from nanouft.shell.files import checksum

POINTS = {1: 1, 2: 2, 3: 4}             # of a level
PAUSE = 30 * 60                         # seconds without a try: a pause, no work
NODES = 40                              # smaller functions are equal by themselves


@dataclass
class Result:
    """One task of one student: a row of the table."""
    name: str
    task: object
    verdict: dict
    code: str = ""                      # the student's function, or the whole file
    seed: str = ""                      # the name in my/, which draws planted bugs
    log: list[dict] = field(default_factory=list)
    same_as: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)        # reasons to read it

    @property
    def state(self) -> str:
        return self.verdict["state"]

    @property
    def hash(self) -> str:
        code = self.code.encode("utf-8", "replace")
        return checksum(code)[:12] if code else ""

    @property
    def note(self) -> str:
        """What the grader said beside a mistake, or in place of one."""
        if self.verdict.get("fact"):
            return self.verdict["fact"]
        if self.verdict.get("note"):
            return ui.noted(self.verdict, getattr(self.task, "signature", ""))
        lines = self.verdict.get("lines", []) if self.state == "unknown" else []
        return "; ".join(line.strip() for line in lines)

    @property
    def unexplained(self) -> bool:
        """It ran to its end, and nobody knows what it is."""
        runs = self.verdict.get("note") in (None, "", "changes its arguments")
        return self.state == "unknown" and runs and not self.verdict.get("lines")

    @property
    def mistakes(self) -> list[str]:
        """The named mistakes that the first reading finds."""
        return (self.verdict.get("readings") or [[]])[0]


@dataclass
class Klass:
    tasks: list
    results: list[Result]
    unread: dict[str, str]              # name -> why it was not graded
    seconds: float = 0.0

    @property
    def names(self) -> list[str]:
        return sorted({result.name for result in self.results}, key=str.casefold)

    @property
    def odd(self) -> dict[str, list[str]]:
        """{name: what is odd}"""
        found = defaultdict(set)
        for result in self.results:
            found[result.name].update(result.odd)
        return {name: sorted(found[name]) for name in self.names if found[name]}

    def sums(self, name: str) -> dict:
        """A student's sums over all tasks."""
        own = [result for result in self.results if result.name == name]
        return {"points": f"{sum(points(r.task, r.state) for r in own):g}",
                "of": f"{sum(points(task, 'right') for task in self.tasks):g}",
                "right": sum(r.state == "right" for r in own),
                "begun": sum(r.state != "not begun" for r in own),
                "tries": sum(len(tries(r.log)) for r in own),
                "minutes": sum(minutes(r.log) for r in own),
                "odd": " ".join(self.odd.get(name, ()))}


# ---- what is counted -----------------------------------------------------------------------------

def points(task, state: str) -> float:
    """D1 = 1, D2 = 2, D3 = 4; debug and design count twice; amber three quarters."""
    full = POINTS.get(task.level, 0) * (2 if task.kind in ("debug", "design") else 1)
    return full * {"right": 1.0, "amber": 0.75}.get(state, 0.0)


def gradescope(verdicts: dict[str, dict]) -> dict:
    """The verdicts of one student as Gradescope reads them: results.json."""
    tests = []
    for id, found in verdicts.items():
        task = folder.find(id)
        tests.append({"name": f"{id} {found['task']['name']}", "max_score": points(task, "right"),
                      "score": points(task, found["state"]),
                      "status": "passed" if found["state"] == "right" else "failed",
                      "output": "\n".join(ui.report(found["task"], found))})
    return {"tests": tests}


def tries(log: list[dict]) -> list[dict]:
    return [entry for entry in log if entry["event"] == "try"]


def minutes(log: list[dict]) -> int:
    """From the first line of the log on a task to the last, without pauses."""
    times = sorted(entry["time"] for entry in log)
    gaps = [after - before for before, after in zip(times, times[1:])]
    return round(sum(gap for gap in gaps if gap <= PAUSE) / 60)


def hints(log: list[dict]) -> int:
    return sum(entry["event"] == "hint" for entry in log)


def failure(result: Result) -> str:
    """What came out, in one line: equal lines are equal failures."""
    if not result.unexplained:
        return result.note
    return in_short([row.get("yours") for row in result.verdict.get("cases", ())])


def in_short(values: list) -> str:
    """The outcomes of all cases: numbers with three digits, exceptions by their names."""
    flat = [v for value in values for v in (value if isinstance(value, list) else [value])]
    return " ".join(f"{v:.3g}" if isinstance(v, float) else str(v).split(":")[0] for v in flat)


def unknown(results: list[Result], unexplained: bool = True) -> list[list[Result]]:
    """Unknown failures in groups of equal ones, the largest first: those that ran to their end, or
    those that did not."""
    groups = defaultdict(list)
    for result in results:
        if result.state == "unknown" and result.unexplained == unexplained:
            groups[result.task.id, failure(result)].append(result)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0].task.id))


def attempts(results: list[Result]) -> dict[tuple, dict[str, str]]:
    """{(task, outcome): {name: code}} of unknown failures, handed in or only tried."""
    found = defaultdict(dict)
    for r in results:
        for entry in tries(r.log):
            if entry.get("state") == "unknown" and isinstance(entry.get("values"), list):
                found[r.task.id, in_short(entry["values"])][r.name] = ""
        if r.unexplained:
            found[r.task.id, failure(r)][r.name] = r.code
    return found


# ---- equal answers -------------------------------------------------------------------------------

def tree_of(code: str) -> str:
    """The syntax tree without names and docstrings. "" if it is small, or if there is none."""
    try:
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        big = sum(1 for _ in ast.walk(tree)) >= NODES
        numbers: dict[str, int] = {}                    # of names, in order of appearance
        return big * re.sub(r"\b(id|arg|name)='(\w+)'", lambda word: str(
            numbers.setdefault(word[2], len(numbers))), ast.dump(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""


def card(code: str) -> dict | None:
    """What a card says. None if nothing can be read."""
    try:
        return tomllib.loads(code)
    except (ValueError, RecursionError):
        return None


def text_of(code: str) -> str:
    """A card without its comments. "" if nothing can be read."""
    values = card(code)
    return "" if values is None else json.dumps(values, sort_keys=True, default=str)


def comparable(result: Result) -> str:
    """What is compared. Strips and repaired programs are equal by themselves if they are right."""
    is_card = not hasattr(result.task, "signature")
    alike = hasattr(result.task, "program") or (is_card and result.task.kind == "ledger")
    if result.state == "not begun" or (alike and result.state == "right"):
        return ""
    return text_of(result.code) if is_card else tree_of(result.code)


def equal_names(klass: Klass) -> list[list[str]]:
    """Submissions with one name in my/name.txt: they have the same planted bugs."""
    groups = defaultdict(set)
    for result in klass.results:
        groups[result.seed.casefold()].add(result.name)
    return [sorted(names) for seed, names in groups.items() if seed and len(names) > 1]


def mark_equal(results: list[Result]) -> None:
    """Who has handed in the same tree for the same task."""
    groups = defaultdict(list)
    for result in results:
        if tree := comparable(result):
            groups[result.task.id, tree].append(result)
    for group in groups.values():
        for result in group:
            result.same_as = [other.name for other in group if other is not result]
