"""What came out for a class: a Result for each task of each student, and what is counted of it."""
from collections import defaultdict
from dataclasses import dataclass, field

from lessons.grade import folder, ui
from lessons.grade.program import text_of, tree_of

POINTS = {1: 1, 2: 2, 3: 4}             # of a level
PAUSE = 30 * 60                         # seconds without a try: a pause, no work


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
    def note(self) -> str:
        """What the grader said beside a mistake, or in place of one."""
        said = self.verdict.get("fact") or self.verdict.get("note") and ui.noted(
            self.verdict, getattr(self.task, "signature", ""))
        lines = self.verdict.get("lines", []) if self.state == "unknown" else []
        return said or "; ".join(line.strip() for line in lines)

    @property
    def unexplained(self) -> bool:
        """It ran to its end, and nobody knows what it is."""
        runs = self.verdict.get("note") in (None, "", "changes its arguments")
        return self.state == "unknown" and runs and not self.verdict.get("lines")


@dataclass
class Klass:
    tasks: list
    results: list[Result]
    unread: dict[str, str]              # name -> why it was not graded

    @property
    def names(self) -> list[str]:
        return sorted({result.name for result in self.results}, key=str.casefold)

    @property
    def odd(self) -> dict[str, list[str]]:
        """{name: what is odd}"""
        found = {name: {word for result in self.results if result.name == name
                        for word in result.odd} for name in self.names}
        return {name: sorted(words) for name, words in found.items() if words}

    @property
    def full(self) -> str:
        """The points of one whose answers are all right."""
        return f"{sum(points(task, 'right') for task in self.tasks):g}"

    def sums(self, name: str) -> dict:
        """A student's sums over all tasks."""
        own = [result for result in self.results if result.name == name]
        return {"points": f"{sum(earned(r.task, r.verdict) for r in own):g}",
                "of": self.full,
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


def earned(task, verdict: dict) -> float:
    """The points of a verdict. A prediction counts if it is complete: whether it was revealed, only
    the student's log says."""
    return points(task, "right" if verdict.get("complete") else verdict["state"])


def gradescope(verdicts: dict[str, dict]) -> dict:
    """The verdicts of one student as Gradescope reads them: results.json."""
    tests = []
    for id, found in verdicts.items():
        task = folder.find(id)
        tests.append({"name": f"{id} {found['task']['name']}", "max_score": points(task, "right"),
                      "score": earned(task, found),
                      "status": "passed" if found["state"] == "right" or found.get("complete")
                      else "failed",
                      "output": "\n".join(ui.report(found["task"], found))})
    return {"tests": tests}


def tries(log: list[dict]) -> list[dict]:
    return [entry for entry in log if entry["event"] == "try"]


def minutes(log: list[dict]) -> int:
    """From the first line of the log on a task to the last, without pauses."""
    times = sorted(entry["time"] for entry in log)
    gaps = [after - before for before, after in zip(times, times[1:])]
    return round(sum(gap for gap in gaps if gap <= PAUSE) / 60)


def failure(result: Result) -> str:
    """What came out, in one line: equal lines are equal failures. Of an answer that runs: the
    outcomes of all cases, numbers with three digits, exceptions by their names."""
    if not result.unexplained:
        return result.note
    yours = [case.get("yours") for case in result.verdict.get("cases", ())]
    flat = [v for value in yours for v in (value if isinstance(value, list) else [value])]
    return " ".join(f"{v:.3g}" if isinstance(v, float) else str(v).split(":")[0] for v in flat)


def unknown(results: list[Result], unexplained: bool = True) -> list[list[Result]]:
    """Unknown failures in groups of equal ones, the largest first: those that ran to their end, or
    those that did not."""
    groups = defaultdict(list)
    for result in results:
        if result.state == "unknown" and result.unexplained == unexplained:
            groups[result.task.id, failure(result)].append(result)
    return sorted(groups.values(), key=lambda group: (-len(group), group[0].task.id))


# ---- equal answers -------------------------------------------------------------------------------

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
