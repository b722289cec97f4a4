"""What a wrong result is, where no mistake has a name for it.

    fact(exam, mine)    # "Your result is minus the right one.", or another sentence, or ""

A fact is true in all cases of an exam, shown and hidden. So it is never a guess.
"""
import itertools
import math
from collections.abc import Callable, Iterator

import torch

from lessons.grade.outcome import fresh, outcome, same
from lessons.grade.where import slopes, where

FEW = 4                                     # numbers that can be spoken of one by one
RIGHT, OTHER = "the right one", "something else"
RESULTS: dict[str, Callable[[list], list]] = {      # what can be done with a right result
    RIGHT: lambda y: y,
    "minus the right one": lambda y: [-x for x in y],
    "1 minus the right one": lambda y: [1 - x for x in y],
    "1 divided by the right one": lambda y: [1 / x for x in y],
    "the right one without its sign": lambda y: [abs(x) for x in y],
    "e to the power of the right one": lambda y: [math.exp(x) for x in y],
    "the logarithm of the right one": lambda y: [math.log(x) for x in y],
    "minus a probability: the logarithm is missing": lambda y: [-math.exp(-x) for x in y],
    "1 minus a probability: the logarithm is missing": lambda y: [1 - math.exp(-x) for x in y],
    "the right numbers in reverse": lambda y: y[::-1],
    "the right numbers, added up": lambda y: [sum(y)],
    "the mean of the right numbers": lambda y: [sum(y) / len(y)],
    "0": lambda y: [0.0] * len(y),
}
ARGUMENTS: dict[str, Callable] = {                  # what can be done with an argument
    "1": lambda x: torch.ones_like(x) if isinstance(x, torch.Tensor) else type(x)(1),
    "-{0}": lambda x: -x,
    "1 - {0}": lambda x: 1 - x,
    "1 / {0}": lambda x: 1 / x,
    "{0} squared": lambda x: x ** 2,
    "twice {0}": lambda x: 2 * x,
    "half of {0}": lambda x: x / 2,
    "{0} + 1": lambda x: x + 1,
    "{0} - 1": lambda x: x - 1,
    "{0} without its sign": abs,
    "e to the power of {0}": lambda x: x.exp(),
    "{0} without its last place": lambda x: x[..., :-1],
}
PLAIN = ("1",)                              # a function may be right for these only


def fact(exam, mine) -> str:
    return next(facts(exam, mine), "") or where(exam, mine, names_of(exam.task))


def facts(exam, mine, proved: bool = True) -> Iterator[str]:
    """Sentences that speak of whole results, the most useful first. proved: they say something."""
    rows = [(exam.args[i], exam.right[i].values, mine[i].values) for i in exam.all]
    if any(y is None or z is None for _, y, z in rows):
        return
    names = names_of(exam.task)
    rows.sort(key=lambda row: same(row[1], row[2]))             # wrong ones first
    if found := relation(names, rows):
        yield f"Your result is {found}."
    yield from filter(None, (by_word(exam, names, rows), by_part(exam, names, rows)))
    if hasattr(exam.task, "program"):                           # to run it again takes long
        return
    right, own = values_of(exam.task.right, exam), values_of(mine.function, exam)
    for words, change in changes(names, rows, ARGUMENTS):
        if all(agree(lambda: right(change(x)), lambda: z) for x, _, z in rows):
            yield f"This would be the right result if {words}."
    for words, change in changes(names, rows, PLAIN):
        if all(agree(lambda: right(change(x)), lambda: own(change(x))) for x, _, _ in rows):
            if not proved or len({str(right(change(x))) for x, _, _ in rows}) > len(rows) / 2:
                yield f"Your function would be right if {words}."       # not one result for all


def slope_fact(exam, mine) -> str:
    """What a wrong gradient is, where the values are right."""
    rows = [(exam.args[i], exam.right.gradient(i), mine.gradient(i)) for i in exam.all]
    if not exam.task.gradients or any(z is None for _, _, z in rows):
        return ""
    rows = sorted([row for row in rows if any(row[1] + row[2])],
                  key=lambda row: same(row[1], row[2]))
    if found := relation([], rows):
        return f"Your gradient is {found}."
    return slopes(exam, mine, names_of(exam.task))


def names_of(task) -> list[str]:
    """The arguments of its function."""
    return task.signature.split("(")[1].rstrip(")").split(", ")


def values_of(function, exam) -> Callable[[tuple], list | None]:
    return lambda args: outcome(function, args, exam.task.as_set).values


def agree(one: Callable, other: Callable) -> bool:
    """Equal numbers; all of them finite."""
    try:
        a, b = one(), other()
        finite = all(math.isfinite(x) for x in a or () if isinstance(x, float))
        return a is not None and b is not None and finite and same(a, b)
    except (ArithmeticError, AttributeError, IndexError, RuntimeError, TypeError, ValueError):
        return False


# ---- from results --------------------------------------------------------------------------------

def relation(names: list[str], rows: list[tuple]) -> str:
    """How all results of these rows (arguments, right, yours) come from the right ones."""
    for words, change in RESULTS.items():
        if all(agree(lambda: change(y), lambda: z) for _, y, z in rows):
            return words
    if all(agree(lambda: sorted(y), lambda: sorted(z)) for _, y, z in rows):
        return "made of the right numbers, in another order"
    if all(agree(lambda: list(map(abs, y)), lambda: list(map(abs, z))) for _, y, z in rows):
        return "the right one but for the sign, which is wrong in some cases"
    if all(agree(lambda: list(map(plain, z)), lambda: list(map(plain, y))) for _, y, z in rows):
        return "right, but written in another way: a text for a number, or other letters"
    return more_by(rows) or times(names, rows)


def plain(x):
    """A text as a number or in small letters."""
    try:
        return float(x)
    except (TypeError, ValueError):
        return str(x).casefold()


def more_by(rows: list[tuple]) -> str:
    """Always by the same number."""
    more = next(((b - a) for a, b in floats(*rows[0][1:])), math.nan)
    if all(agree(lambda: [x + more for x in y], lambda: z) for _, y, z in rows):
        return f"the right one {'+' if more > 0 else '-'} {abs(more):.4g}"
    return ""


def floats(y: list, z: list) -> list[tuple[float, float]]:
    return [(a, b) for a, b in zip(y, z) if isinstance(a, float) and isinstance(b, float)]


def times(names: list[str], rows: list[tuple]) -> str:
    """A number times the right result: always the same, or one that the arguments have."""
    factors, sizes = [], []
    for args, y, z in rows:
        some = [b / a for a, b in floats(y, z) if a][:1]
        factors += some
        sizes += [dict(size for name, x in zip(names, args) for size in sizes_of(name, x))
                  for _ in some]
        if not agree(lambda: [sum(some) * x for x in y], lambda: z):
            return ""
    if len(factors) < FEW:
        return ""
    common = ["", *(name for name in sizes[0] if all(some.get(name) for some in sizes))]
    found = {factor_words(above, below): [
        factor * size.get(below, 1) / size.get(above, 1) for factor, size in zip(factors, sizes)]
        for above, below in [("", ""), *itertools.permutations(common, 2)]}
    for words, rest in found.items():
        if words and same(rest, [1.0] * len(rest)):
            return RIGHT + words
    for words, rest in found.items():               # with a number beside it
        if same(rest, rest[:1] * len(rest)):
            return f"{rest[0]:.4g} times the right one{words}"
    return ""


def factor_words(above: str, below: str) -> str:
    return f", times {above}" * bool(above) + f", divided by {below}" * bool(below)


def sizes_of(name: str, x) -> Iterator[tuple[str, float]]:
    """The numbers by which a result may be multiplied or divided by mistake."""
    if isinstance(x, (int, float)) or (isinstance(x, torch.Tensor) and not x.dim()):
        yield name, float(x)
        if isinstance(x, (float, torch.Tensor)) and abs(x) < 50:
            yield f"sigmoid({name})", 1 / (1 + math.exp(-x))
            yield f"sigmoid(-{name})", 1 / (1 + math.exp(x))
    elif isinstance(x, (list, tuple, torch.Tensor)):
        counts = {f"the length of {name}": len(x)}
        if isinstance(x, torch.Tensor) and x.dim() > 1:
            counts = {f"the rows of {name}": len(x), f"the places in a row of {name}": x.shape[1]}
        for words, n in counts.items():
            yield words, n
            yield f"({words} - 1)", n - 1
        if isinstance(x, torch.Tensor):
            yield f"the sum of {name}", x.sum().item()
        elif x and isinstance(x[0], list):
            n = sum(map(len, x))
            yield f"the length of all lists in {name}", n
            yield f"the square of the length of all lists in {name}", n * n


def by_word(exam, names: list[str], rows: list[tuple]) -> str:
    """An argument is a word, and what is right for one word is not for another."""
    right = values_of(exam.task.right, exam)
    for place, first in enumerate(rows[0][0]):
        words = sorted({args[place] for args, _, _ in rows}) if type(first) is str else []
        found = {}
        for word in words:
            some = [row for row in rows if row[0][place] == word]
            if len(some) < FEW:                         # that could be chance
                return ""
            mixed = [f"what {other!r} asks for" for other in words if all(
                agree(lambda: right(put(args, place, other)), lambda: z) for args, _, z in some)]
            found[word] = relation([], some) or " ".join(mixed[:1])
        if 1 < len(words) <= FEW and any(found.values()):
            return f"With {names[place]} = " + "; with ".join(
                f"{word!r} your result is {words or OTHER}" for word, words in found.items()) + "."
    return ""


def by_part(exam, names: list[str], rows: list[tuple]) -> str:
    """What each part is, where a result is always two to four numbers, or a list and a number."""
    sizes = {len(values) for _, *both in rows for values in both}
    if len(sizes) == 1 and 1 < max(sizes) <= FEW:
        parts = {f"number {i + 1}": slice(i, i + 1) for i in range(max(sizes))}
    elif (isinstance(exam.task.right(*fresh(rows[0][0])), tuple)
            and all(len(y) == len(z) > 1 for _, y, z in rows)):
        parts = {"the list": slice(0, -1), "the last number": slice(-1, None)}
    else:
        return ""
    found = {what: relation(names, [(args, y[part], z[part]) for args, y, z in rows])
             for what, part in parts.items()}
    words = "; ".join(f"{what} is {words or OTHER}" for what, words in found.items())
    return f"In your result {words}." * any(found.values())


# ---- from arguments ------------------------------------------------------------------------------

def put(args: tuple, place: int, x) -> tuple:
    return *args[:place], x, *args[place + 1:]


def changes(names: list[str], rows: list[tuple], some) -> Iterator[tuple[str, Callable]]:
    """("beta were 1", what makes it so in the arguments of a case), and so on."""
    args = rows[0][0]
    tensors = [i for i, x in enumerate(args) if isinstance(x, torch.Tensor)]
    for i, (name, x) in enumerate(zip(names, args)):
        if isinstance(x, (float, int)) or i in tensors and x.is_floating_point():
            for words in (words for words in some if sensible(words, rows, i, some)):
                yield (f"{name} were {words.format(name)}", lambda a, i=i, change=ARGUMENTS[words]:
                       put(a, i, change(fresh(a[i]))))
        elif isinstance(x, list):
            yield f"{name} had its first item only", lambda a, i=i: put(a, i, a[i][:1])
    if some is ARGUMENTS:
        for (i, x), (j, y) in itertools.combinations(enumerate(args), 2):
            if type(x) is type(y) and getattr(x, "shape", ()) == getattr(y, "shape", ()):
                yield (f"{names[i]} and {names[j]} were exchanged",
                       lambda a, i=i, j=j: put(put(a, i, a[j]), j, a[i]))
    elif tensors:
        yield "there were only one row", lambda a: tuple(
            x[:1] if i in tensors and x.dim() > 1 else x for i, x in enumerate(a))


def sensible(words: str, rows: list[tuple], place: int, some) -> bool:
    """A mask stays a mask; e to the power of something is for log-probs; 1 less for whole numbers.
    Other tensors are hardly ever 1 everywhere."""
    some_x = [args[place] for args, _, _ in rows]
    if not isinstance(some_x[0], torch.Tensor):
        return words != "{0} - 1" or isinstance(some_x[0], int)
    if all(((x == 0) | (x == 1)).all() for x in some_x):
        return words in ("1", "1 - {0}") and some is ARGUMENTS
    if words.startswith("e to"):
        return all((x <= 0).all() for x in some_x)
    return some is ARGUMENTS and words != "1 / {0}"
