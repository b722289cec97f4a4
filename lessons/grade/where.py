"""Where a result without a name is wrong: "right except in the prompt".

    where(exam, mine, ["losses", "mask", "gamma"])      # a sentence, or ""

Each sentence is true of all cases that were tried, shown and hidden. Where few cases are wrong, or
few are right, there is no sentence: it could be chance.
"""
import itertools
import math
from collections.abc import Iterator

import torch

from lessons.grade.outcome import close, fresh, gradients, outcome, same

ENOUGH = 5                                  # cases that prove something
SHARE = 0.5                                 # of what a sentence speaks of is wrong
CHOICES = 4                                 # values of an argument that is chosen among few
Claim = tuple[str, bool, bool]              # a sentence; is it true? is that more than chance?


def where(exam, mine, names: list[str]) -> str:
    return next((words for words, true, proved in claims(exam, mine, names) if true and proved), "")


def claims(exam, mine, names: list[str]) -> Iterator[Claim]:
    """Sentences about these results, the most useful first."""
    cases = [(exam.args[i], exam.right[i], mine[i]) for i in exam.all]
    if any(right.values is None or own.values is None for _, right, own in cases):
        return
    for claim in itertools.chain(in_places(names, cases), one_number(cases), in_cases(names, cases),
                                 how_often(cases), one_side(exam, cases)):
        yield f"In all cases tried, {claim[0]}.", *claim[1:]
    if not hasattr(exam.task, "program"):               # to run these again takes long
        yield from without(exam, mine, names)


# ---- places of a result --------------------------------------------------------------------------

def in_places(names: list[str], cases: list[tuple]) -> Iterator[Claim]:
    sizes = [len(right.values) for _, right, _ in cases]
    if sizes != [len(own.values) for _, _, own in cases] or max(sizes) < 2:
        return
    wrong = [{i for i, (a, b) in enumerate(zip(right.values, own.values)) if not close(a, b)}
             for _, right, own in cases]
    masks = [name for i, name in enumerate(names)
             if all(zero_or_one(args[i]) for args, *_ in cases)]
    some = [regions(names, args, right, masks) for args, right, _ in cases]
    if any({*right.values} - {0, 1} for _, right, _ in cases):      # no mask: 0 and 1 are chance
        some = [{words: places for words, places in region.items() if "right number" not in words}
                for region in some]
    kinds = dict.fromkeys(itertools.chain(*some))
    for words in sorted(kinds, key=lambda words: "right number" in words):      # this one last
        below = words.replace("is above 0", "is below 0")
        if not any(region.get(below) for region in some):       # nowhere, or never below 0
            continue
        for only in False, True:
            inside = [region.get(words, set()) for region in some]
            if only and words.endswith(" is 0"):            # what does not pay is easy to get right
                continue
            if only:
                inside = [set(range(n)) - places for n, places in zip(sizes, inside)]
            outside = sum(n > len(places) for n, places in zip(sizes, inside))
            share = sum(map(len, wrong)) / max(1, sum(map(len, inside)))
            yield (f"your result is {'always right' if only else 'right except'} {words}",
                   all(bad <= places for bad, places in zip(wrong, inside)),
                   share >= SHARE and outside >= ENOUGH <= sum(map(bool, wrong)))


def zero_or_one(x) -> bool:
    numbers = x.flatten().tolist() if isinstance(x, torch.Tensor) else x
    return isinstance(numbers, list) and all(not isinstance(number, torch.Tensor)
                                              and number in (0, 1) for number in numbers)


def regions(names: list[str], args: tuple, right, masks: list[str]) -> dict[str, set[int]]:
    """Sets of places of a result. Where it is a table, places are those of a row."""
    n = len(right.values)
    width = right.shape[-1] if len(right.shape) > 1 and right.shape[-1] > 0 else n
    found: dict[str, set[int]] = {}
    for name, x in zip(names, args):
        numbers = x.flatten().tolist() if isinstance(x, torch.Tensor) else x
        if not isinstance(numbers, list) or len(numbers) not in (n, n + 1) or not numbers:
            continue
        kinds = {type(number) for number in numbers}
        if kinds == {str}:
            found |= {f"where the target is {word!r}":
                      {i for i, target in enumerate(numbers[-n:]) if target == word}
                      for word in numbers[-n:]}
        elif len(numbers) == n and name in masks:
            found |= of_mask(name, numbers, width)
        elif len(numbers) == n and kinds == {float}:
            found |= {f"where {name} is below 0": {i for i in range(n) if numbers[i] < 0},
                      f"where {name} is above 0": {i for i in range(n) if numbers[i] > 0}}
    for value in (0.0, 1.0):
        equal = {i for i, x in enumerate(right.values) if type(x) is float and x == value}
        found[f"where the right number is {value:g}"] = equal
    return found | of_form(n, width)


def of_form(n: int, width: int) -> dict[str, set[int]]:
    """Places that any result has."""
    of_row = " of each row" * (width < n)
    found = {f"in the first place{of_row}": {i for i in range(n) if i % width == 0},
             f"in the last place{of_row}": {i for i in range(n) if i % width == width - 1},
             "in the first half": set(range(n // 2))}
    if width < n:
        found |= {"in the first row": set(range(width)), "in the last row": {*range(n - width, n)}}
    return found


def of_mask(name: str, numbers: list, width: int) -> dict[str, set[int]]:
    """Prompt, padding and the gaps between turns; where it is 0; where it is 1."""
    zero, one = f"where {name} is 0", f"where {name} is 1"
    parts = {part: f"in the {part}, where {name} is 0" for part in ("prompt", "gaps", "padding")}
    found: dict[str, set[int]] = {words: set() for words in [*parts.values(), zero, one]}
    found[after := f"one place after a 1 of {name}"] = set()
    for i, x in enumerate(numbers):
        row = numbers[i - i % width:][:width]
        before, later = any(row[:i % width]), any(row[i % width:])
        found[one if x else zero].add(i)
        if not x:
            found[parts["prompt" if not before else "gaps" if later else "padding"]].add(i)
        if i % width and row[i % width - 1]:
            found[after].add(i)
    return found


# ---- cases ---------------------------------------------------------------------------------------

def in_cases(names: list[str], cases: list[tuple]) -> Iterator[Claim]:
    wrong = [not right.same_values(own) for _, right, own in cases]
    some = [conditions(names, args, right.values) for args, right, _ in cases]
    each = {f"{name} has one place" for i, name in enumerate(names)     # a number for each place
            if all(isinstance(args[i], torch.Tensor) and args[i].numel() == len(right.values)
                   for args, right, _ in cases)}
    for name in dict.fromkeys(key for case in some for key in case if key not in each):
        values = dict.fromkeys(case.get(name) for case in some)
        truth = all(isinstance(value, (bool, type(None))) for value in values)
        for value in [True] if truth else values if len(values) <= CHOICES else []:
            words = name if truth else f"{name} is {value if type(value) is float else value!r}"
            for only in False, True:
                inside = [(case.get(name) == value) != only for case in some]
                yield (f"your result is {'always right' if only else 'right except'} if {words}",
                       all(i for i, bad in zip(inside, wrong) if bad),
                       sum(wrong) >= ENOUGH <= len(cases) - sum(inside)
                       and sum(wrong) >= SHARE * sum(inside))


def conditions(names: list[str], args: tuple, y: list) -> dict:
    """What a case is like: true or false; or a text, or a number."""
    found: dict = {}
    numbers = [(name, x) for name, x in zip(names, args) if isinstance(x, (int, float))]
    for name, x in zip(names, args):
        if isinstance(x, (int, float, str)):
            found[name] = float(x) if isinstance(x, (int, float)) else x
        if isinstance(x, torch.Tensor):
            found |= of_tensor(name, x)
        elif isinstance(x, str):
            words = x.split()
            found[f"a word of {name} comes twice"] = len({*words}) < len(words)
            found[f"the last word of {name}"] = words[-1] if words else ""
        elif isinstance(x, (list, tuple)):
            found[f"{name} has one item"] = len(x) == 1
            if not all(isinstance(item, float) for item in x):
                found[f"an item of {name} comes twice"] = len({*map(str, x)}) < len(x)
    for name, x in numbers:
        found |= {f"{name} is above 0": x > 0, f"{name} is below 0": x < 0}
    for (a, x), (b, z) in itertools.combinations(numbers, 2):
        found[f"{a} is larger than {b}"] = x > z
    tensors = [(name, x) for name, x in zip(names, args) if isinstance(x, torch.Tensor) and x.dim()]
    for (a, x), (b, z) in itertools.combinations(tensors, 2):
        found[f"{a} and {b} have as many places"] = x.shape[-1] == z.shape[-1]
    if len(y) == 1:
        found["the right result"] = y[0]
        if isinstance(y[0], float):
            found |= {"the right result is above 0": y[0] > 0,
                      "the right result is below 0": y[0] < 0}
    return found


def of_tensor(name: str, x: torch.Tensor) -> dict:
    if not x.dim():
        return {f"{name} is above 0": bool(x > 0)}
    if not x.numel():
        return {}
    found = {f"{name} has one row": x.dim() > 1 and len(x) == 1,
             f"{name} has one place": x.shape[-1] == 1,
             f"all numbers of {name} are equal": x.numel() > 1 and bool((x == x.max()).all())}
    if ((x == 0) | (x == 1)).all():
        rows = x.reshape(-1, x.shape[-1])
        found |= {f"each row of {name} begins with 1": bool((rows[:, 0] == 1).all()),
                  f"each row of {name} ends with 1": bool((rows[:, -1] == 1).all()),
                  f"all rows of {name} have as many ones": len({*rows.sum(1).tolist()}) == 1}
    elif x.is_floating_point():
        found |= {f"a number of {name} is 0": bool((x == 0).any()),
                  f"a number of {name} is below 0": bool((x < 0).any())}
    return found


# ---- what comes too often; what it depends on ----------------------------------------------------

def how_often(cases: list[tuple]) -> Iterator[Claim]:
    """Of results among few: one that never comes, comes too often, or not often enough."""
    pairs = [pair for _, right, own in cases if len(right.values) == len(own.values)
             for pair in zip(right.values, own.values)]
    values = {a for a, _ in pairs}
    if not 1 < len(values) <= CHOICES or len(values | {b for _, b in pairs}) > CHOICES:
        return
    for value in sorted(values, key=str):
        right, own = ([pair[side] == value for pair in pairs] for side in (0, 1))
        text = repr(value) if isinstance(value, str) else str(value)
        proved = sum(right) >= ENOUGH
        yield f"your result is never {text}", not any(own), proved
        differ = sum(a != b for a, b in zip(right, own)) >= ENOUGH
        yield (f"your result is {text} where it should be, but also elsewhere",
               all(b for a, b in zip(right, own) if a), proved and differ)
        yield (f"your result is {text} only where it should be, but not always",
               all(a for a, b in zip(right, own) if b), differ and sum(own) >= 2 * ENOUGH)


def one_number(cases: list[tuple]) -> Iterator[Claim]:
    """One number stands wherever the result is wrong: something is cut off, or left out."""
    pairs = [pair for _, right, own in cases if len(right.values) == len(own.values)
             for pair in zip(right.values, own.values) if not close(*pair)]
    if pairs and all(type(x) is float and math.isfinite(x) for pair in pairs for x in pair):
        first, wanted = pairs[0][1], {round(a, 2) for a, _ in pairs}
        yield (f"a wrong number of your result is always {first:.4g}",
               all(close(first, b) for _, b in pairs), len(wanted) >= ENOUGH)


def one_side(exam, cases: list[tuple]) -> Iterator[Claim]:
    """Sets: too much, or too little. Single numbers: too large, or too small."""
    if exam.task.as_set:
        pairs = [({*right.values}, {*own.values}) for _, right, own in cases]
        more, less = (sum(bool(b - a) for a, b in some)
                      for some in (pairs, [pair[::-1] for pair in pairs]))
        yield ("nothing is missing in your result, but it has too much", not less, more >= ENOUGH)
        yield ("your result has nothing wrong, but something is missing", not more, less >= ENOUGH)
        return
    pairs = [(right.values, own.values) for _, right, own in cases]
    if all(len(y) == len(z) and all(type(x) is float for x in [*y, *z]) for y, z in pairs):
        gaps = [[b - a for a, b in zip(y, z) if not close(a, b)] for y, z in pairs]
        one = all(len(y) == 1 for y, _ in pairs)
        what = "your result is never" if one else "no number of your result is"
        for side, words in (1, "small, but often too large"), (-1, "large, but often too small"):
            yield (f"{what} too {words}", all(side * gap > 0 for some in gaps for gap in some),
                   sum(map(bool, gaps)) >= len(cases) / 2)


def without(exam, mine, names: list[str]) -> Iterator[Claim]:
    """An argument that does not count, or one that should not."""
    for place, name in enumerate(names):
        own, right = (moved(f, exam, place) for f in (mine.function, exam.task.right))
        yield (f"Your result does not depend on {name}. The right one does.",
               not any(own) and None not in own, sum(map(bool, right)) >= ENOUGH)
        yield (f"Your result depends on {name}. The right one does not.", not any(right),
               sum(map(bool, own)) >= ENOUGH and name != "mask")


def moved(function, exam, place: int) -> list[bool | None]:
    """Does another argument make another result? One answer a case; None where it stops."""
    found: list[bool | None] = []
    for args in (exam.args[i] for i in exam.all):
        if (new := other(args[place])) is not None:
            some = [outcome(function, (*args[:place], y, *args[place + 1:]), exam.task.as_set)
                    for y in (args[place], new)]
            done = all(result.values is not None for result in some)
            found.append(not some[0].same_values(some[1]) if done else None)
    return found


def other(x):
    """Another argument of the kind. Not all numbers of a tensor change alike: a function of their
    shares would not see it. Nothing is said of masks: one other mask proves little."""
    if isinstance(x, (int, float)):
        return x + 1 if isinstance(x, int) else 0.9 * x
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        return None
    if x.dim() and ((x == 0) | (x == 1)).all():
        return None
    return fresh(x) * torch.linspace(0.9, 0.6, x.numel()).reshape(x.shape)


# ---- gradients -----------------------------------------------------------------------------------

def slopes(exam, mine, names: list[str]) -> str:
    """By which arguments the gradient is right, and by which it is not."""
    by: dict[bool, list[str]] = {True: [], False: []}
    for place in exam.task.gradients:
        equal = all(same(*(gradients(f, args, (place,)) for f in (exam.task.right, mine.function)))
                    for args in exam.args)
        by[equal].append(names[place])
    if not by[False] or not by[True]:
        return ""
    return f"The gradient by {', '.join(by[True])} is right, by {', '.join(by[False])} it is not."
