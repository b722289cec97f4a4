"""What the programs print, in plain files: tests/recorded/NAME.txt has what is typed behind `$ `,
and below it, indented, what is answered.

`...` stands for what another machine says otherwise (a time, a folder, the last digits of a mean).
A new case is a new line `$ ...` in the file. `pytest --record` writes below each case what is
answered now; read the difference before you commit it.
"""
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).with_name("recorded")


def read(file: str) -> dict[str, str]:
    """{what is typed: what is answered} of tests/recorded/FILE.txt, in its order."""
    text = (FOLDER / f"{file}.txt").read_text(encoding="utf-8")
    return {typed: re.sub("^    ", "", answer, flags=re.M).strip("\n") for typed, answer in
            re.findall(r"^\$ (.*)\n((?:    .*\n|\n)*)", text, re.M)}


def agrees(answer: str, known: str) -> bool:
    """Whether a text is the known one, in which ... stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, known.split("..."))), answer, re.S) is not None


def updated(known: str, answer: str) -> str:
    """The answer with those known lines that it still agrees with, and so with their ..."""
    before, now = known.split("\n"), answer.split("\n")
    if len(before) != len(now):
        return answer
    return "\n".join(x if agrees(y, x) else y for x, y in zip(before, now))


def write(file: str, typed: str, answer: str) -> None:
    """The answer to one case, in place of the one that the file has; a new case comes last."""
    path = FOLDER / f"{file}.txt"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = "".join(f"    {line}".rstrip() + "\n" for line in answer.split("\n"))
    case = re.compile(rf"^\$ {re.escape(typed)}\n(?:    .*\n|\n(?=\n*    ))*", re.M)
    text, found = case.subn(lambda _: f"$ {typed}\n{lines}", text)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text if found else f"{text}$ {typed}\n{lines}", encoding="utf-8", newline="\n")


def pytest_addoption(parser):
    parser.addoption("--record", action="store_true",
                     help="write what is printed now into tests/recorded/, and read the difference")


@pytest.fixture
def recorded(request):
    """recorded(file, typed, answer): tests/recorded/ has this answer to what is typed."""
    def check(file: str, typed: str, answer: str) -> None:
        answer = "\n".join(line.rstrip() for line in answer.strip("\n").split("\n"))
        known = read(file).get(typed) if (FOLDER / f"{file}.txt").exists() else None
        if known is None or not agrees(answer, known):
            if request.config.getoption("--record"):
                write(file, typed, updated(known or "", answer))
            else:
                assert answer == known, "if that is meant: pytest --record"
    return check
