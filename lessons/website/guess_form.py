"""The guesses of a lesson, on its page: controls in place of "write down".

A question with letters gets a button for each of them, one with a number a field with its limits.
They are plain HTML. The script fold/guess.js keeps a guess in the browser, and shows it at the
fold that has the answer.
"""
import re
from html import escape
from pathlib import Path

from lessons.course import Question, switches

END = r"<details>|<h2 |<div class=\"cell"           # where the text of a question ends
LETTERS = re.compile(r"<ul>\s*(?:<li><strong>\w</strong>.*?</li>\s*)+</ul>", re.S)
LETTER = re.compile(r"<li><strong>(\w)</strong>(.*?)</li>", re.S)


def with_forms(html: str, file: Path) -> str:
    """The page of the lesson `file` with a form below each of its two questions."""
    for heading, question in (("Guess", Question(file)),
                              ("Change-one-thing", Question(file, switches(file)[0]))):
        before, start, after = html.partition(f'<h2 id="{heading}">')
        end = re.search(END, after)
        text, rest = after[:end.start()], after[end.start():]
        html = before + start + question_form(text, question) + rest
    return html


def question_form(text: str, question: Question) -> str:
    """The text of a question, its list of letters made to buttons, or a field behind it."""
    name = question.file.stem
    if question.choices:
        return LETTERS.sub(lambda found: form(name, buttons(found[0], name)), text, count=1)
    field = (f'<label>from {question.low:g} to {question.high:g} <input type="number" step="any" '
             f'min="{question.low:g}" max="{question.high:g}"></label>')
    words, paragraph, rest = text.rpartition("</p>")
    return words + paragraph + form(name, field) + rest


def buttons(letters: str, name: str) -> str:
    return "\n".join(f'<label><input type="radio" name="{escape(name)}" value="{letter}"> '
                     f"<strong>{letter}</strong>{told}</label>"
                     for letter, told in LETTER.findall(letters))


def form(name: str, controls: str) -> str:
    return (f'\n<form class="guess" data-name="{escape(name)}"><fieldset><legend>Your guess'
            f"</legend>\n{controls}\n</fieldset></form>\n")
