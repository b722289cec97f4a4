"""Which lessons there are: the files NN_*.py of one folder. The number is the order of reading.

All else is read from the pages: title, question, minutes, and the parts of the student's own
program, mine.py, for which a page has the contract. A copy of a page needs another kind of name,
such as my_05.py.
"""
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "lessons"
LESSONS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
NUMBERS = {file.name[:2]: file for file in LESSONS}
WEEKEND = "08"                                      # the last lesson of a weekend
CONTRACT = re.compile(r'^#     def (\w+)\(.*?"""$', re.M | re.S)


class Head(NamedTuple):
    title: str                                      # "05 · Pairs in place of a reward"
    about: str                                      # "25 minutes; needs 00. You write ..."
    question: str

    @property
    def minutes(self) -> int:
        return int(self.about.split()[0])


def lesson_head(file: Path) -> Head:
    """What stands in the first cell of a lesson, up to the paragraph in italics."""
    text = re.sub(r"^# ?", "", file.read_text("utf-8"), flags=re.M)
    title, question, about = re.search(r"^# ([^\n]*)\n(.*?)\n\n\*(.*?)\*\n", text,
                                       re.M | re.S).groups()
    return Head(title, " ".join(about.split()), " ".join(question.split()))


def contracts(file: Path) -> dict[str, str]:
    """The parts of mine.py that a lesson asks for: of each the line `def` and its docstring."""
    return {found[1]: re.sub(r"^#(    )? ?", "", found[0], flags=re.M)
            for found in CONTRACT.finditer(file.read_text("utf-8"))}


# part of mine.py: the number of its lesson, in the order in which they are written
PARTS = {name: number for number, file in NUMBERS.items() for name in contracts(file)}
