"""Debug tasks: a whole small program with one planted bug, drawn by the student's name.

Two things are judged: what the repaired program does, and the answer to one question. With this
bug, which of six things would the log of the run have shown? Most bugs leave the loss pretty.
"""
from dataclasses import dataclass
from functools import cache
from random import Random

from lessons.grade.task import Mistake, Task

LETTERS = "abcdef"


@dataclass(frozen=True)
class Bug:
    name: str                           # ends "This is what happens if ...", as in Mistake
    right: str                          # these lines of the program ...
    wrong: str                          # ... become these
    shows: str                          # the letter of what the log would have shown; or letters
    question: str
    say: str


@dataclass(frozen=True)
class Debug(Task):
    """A Task whose starter is a program with one of these bugs. Made by `debug`."""
    program: str = ""                   # without bugs
    bugs: tuple[Bug, ...] = ()
    log: tuple[str, ...] = ()           # six things that a log can show
    ask: str = "Which of these would the log of the run have shown, with the bug in it?"

    def drawn(self, name: str) -> Bug:
        """The bug that this student gets."""
        return Random(f"{name} {self.id} bug").choice(self.bugs)

    def starter(self, name: str) -> str:
        choices = [f"    {letter}  {words}" for letter, words in zip(LETTERS, self.log)]
        text = "\n".join([f"{self.id}. {self.text.strip()}", "", self.ask, *choices])
        program = planted(self.program, self.drawn(name))
        return f'"""{text}\n"""\n{program}\n\nLOG = ""        # your answer: one letter\n'

    def and_log(self, found: dict, answer, name: str) -> dict:
        """The verdict, with the answer about the log. The name of the planted bug is not told."""
        bug = self.drawn(name)
        if found["mistake"] == bug.name:
            return found | {"mistake": None, "readings": [], "question": bug.question,
                            "note": "planted"}
        letter = str(answer or "").strip()
        if found["state"] == "right" and (len(letter) != 1 or letter.lower() not in bug.shows):
            note = "log" if letter else "no log"
            return found | {"state": "amber", "note": note, "error": repr(answer)}
        return found

    def solution(self, name: str) -> str:
        bug = self.drawn(name)
        return f"{self.program}\nLOG = {bug.shows[0]!r}        # the planted bug: {bug.name}"


def planted(program: str, bug: Bug) -> str:
    assert program.count(bug.right) == 1, f"{bug.name}: the lines are not there, or there twice"
    return program.replace(bug.right, bug.wrong)


def debug(id: str, *, bugs: tuple[Bug, ...], program: str, signature: str, **fields) -> Debug:
    """A Debug task. Its reference and its mistakes are one program, with and without each bug."""
    @cache
    def built(bug: Bug | None):
        """The function of the program, with this bug or without any."""
        space: dict = {"__name__": "program"}
        exec(planted(program, bug) if bug else program, space)
        return space[signature.split("(")[0]]

    def model(*args, bug: Bug | None = None):
        return built(bug)(*args)

    mistakes = tuple(Mistake(bug.name, {"bug": bug}, bug.question, bug.say) for bug in bugs)
    return Debug(id, "debug", signature=signature, bugs=bugs, mistakes=mistakes, right=model,
                 program=program.strip() + "\n", model=model, **fields)
