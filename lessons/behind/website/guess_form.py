"""The guesses of a lesson, on its page: controls in place of "write down".

A question with letters gets a button for each of them, one with a number a field with its limits.
static/guess.js keeps a guess in the browser, and shows it at the fold that has the answer.
"""
import re
from pathlib import Path

from lessons.course import Question, switches

LETTERS = re.compile(r"(?:^- \*\*\w\*\* .*\n?)+", re.M)


def with_forms(text: str, file: Path) -> str:
    """Some Markdown of the lesson `file`, with a form below each question that it asks."""
    for heading, question in (("Guess", Question(file)),
                              ("Change one thing", Question(file, switches(file)[0]))):
        found = re.search(rf"^## {heading}\n.*?(?=^<details>|^## |\Z)", text, re.S | re.M)
        if found:
            text = text.replace(found[0], with_form(found[0], question))
    return text


def with_form(text: str, question: Question) -> str:
    """The text of a question, its list of letters made to buttons, or a field behind it."""
    name = question.file.stem
    if letters := LETTERS.search(text):
        button = rf'<label><input type="radio" name="{name}" value="\1"> **\1**\2</label>'
        return text.replace(letters[0], form(name, re.sub(r"- \*\*(\w)\*\*(.*)", button,
                                                          letters[0])))
    return text + form(name, f"<label>from {question.low:g} to {question.high:g} "
                             f'<input type="number" step="any" min="{question.low:g}" '
                             f'max="{question.high:g}"></label>')


def form(name: str, controls: str) -> str:
    return (f'\n\n<form class="guess" data-name="{name}"><fieldset><legend>Your guess</legend>\n\n'
            f"{controls}\n\n</fieldset></form>\n\n")
