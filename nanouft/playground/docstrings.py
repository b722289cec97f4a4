"""The head of a method's file, read by a program: equations, name, idea, paper.

    equations("apo", method_docstring(APO))      # a Line for "apo" and one for "apo --form down"

The equations of a method are in the head of its file, and only there, in lines such as
    L = -log sigmoid( beta (r_w - r_l) )            (Eq. 7)
    --form down     L = ...                         a form of its own, with this setting
    lo = A - log(1 - exp(A))                        a name that the equation uses
    e_i: the embedding of prompt i                  a name that is explained in words
tests/test_equations.py computes each equation and compares loss and gradient with the code. The
letters that all equations share are in __init__.py.
"""
import re
import sys
from dataclasses import dataclass, field

from nanouft import objectives
from nanouft.objective import Objective

NAME = r"[^\W\d][\w']*"
LOSS = re.compile(r" {4,}(?:--(\S+ \w+) +)?L = (.+?)(?:  +(.+))?")
FORMULA = re.compile(rf" {{4,}}({NAME}) = (.+?)(?:  +.+)?")
WORDS = re.compile(rf" {{4,}}({NAME}(?:, {NAME})*(?:\(y\))?): (.+)")
ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")


@dataclass
class Line:
    """One form of a method."""
    name: str                   # as on the command line: "apo", "apo --form down"
    loss: str                   # after "L = "
    formulas: dict[str, str]    # names in the loss: {"lo": "A - log(1 - exp(A))"}
    words: dict[str, str] = field(default_factory=dict)     # names explained in words

    def equation_lines(self) -> list[str]:
        """The equation, then what its names mean."""
        formulas = {"L": self.loss, **self.formulas}
        return [*(f"{name} = {text}" for name, text in formulas.items()),
                *(f"{name}: {text}" for name, text in self.words.items())]


def matches(pattern: re.Pattern, head: str | None) -> list[tuple]:
    """The groups of every line of a head that matches the pattern."""
    return [m.groups() for line in (head or "").split("\n") if (m := pattern.fullmatch(line))]


SHARED = dict(matches(FORMULA, objectives.__doc__))     # the letters of all equations
LETTERS = dict(matches(WORDS, objectives.__doc__))      # the same, those explained in words


def method_docstring(cls: type[Objective]) -> str:
    """The docstring of the file of a method."""
    return sys.modules[cls.__module__].__doc__ or ""


def equations(name: str, head: str | None) -> list[Line]:
    """The forms of a method in the head of its file, the default first. A letter that all heads
    share is in them only if this head gives it another meaning."""
    formulas = {x: text for x, text in matches(FORMULA, head)
                if x != "L" and SHARED.get(x) != text}
    words = dict(matches(WORDS, head))
    names = {each: names for names in words for each in names.split(", ")}
    lines: list[Line] = []
    for setting, loss, _ in matches(LOSS, head):
        parts = names_in(loss, dict.fromkeys(names, "") | formulas)
        lines.append(Line(f"{name} --{setting}" if lines else name, loss,
                          {x: formulas[x] for x in parts if x in formulas},
                          {names[x]: words[names[x]] for x in parts if x in names}))
    return lines


def names_in(formula: str, known: dict[str, str]) -> list[str]:
    """The known names in a formula, and in the formulas of these names."""
    out: list[str] = []
    for name in re.findall(NAME, formula):
        of_role = re.sub("_(w|l|demo)$", "", name)                  # u_w: u of the chosen answer
        for here in (name, of_role, re.sub("_k$", "_t", name)):
            if here in known and here not in out:
                out.append(here)
                out += [x for x in names_in(known[here], known) if x not in out]
    return out


def name_and_idea(head: str) -> tuple[str, str]:
    """(name, idea): the first sentence of a head is "NAME: idea", "long name (NAME): idea" or
    "NAME, more words: idea". NAME has at most two words; a head without one has "" there."""
    named, _, idea = " ".join(head.split("\n\n")[0].split()).partition(": ")
    short = re.search(r"\((.+)\)$", named)
    name = short[1] if short else named.partition(",")[0]
    return name if idea and len(name.split()) <= 2 else "", idea or named


def paper(head: str) -> str:
    """The number of a method's paper at arXiv, or nothing."""
    number = ARXIV.search(head)
    return number[1] if number else ""
