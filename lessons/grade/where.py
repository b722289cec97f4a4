"""Where a result without a name is wrong: "right except where mask is 0", "only if lam is 1".

    where(exam, mine, ["losses", "mask", "gamma"])      # a sentence, or ""

Each sentence is true of all cases that were tried, shown and hidden. Where few cases are wrong, or
few are right, nothing is said: it could be chance.
"""
import itertools
from collections.abc import Iterator

import torch

from lessons.grade.outcome import close, fresh, gradients, outcome, same

ENOUGH = 4                                  # cases that are wrong, and cases that are right
SHARE = 0.5                                 # of what a sentence speaks of is wrong
CHOICES = 4                                 # values of an argument that is chosen among few
SO_FAR = "In all cases tried, "


def where(exam, mine, names: list[str]) -> str:
    cases = [(exam.args[i], exam.right[i], mine[i]) for i in exam.all]
    if any(right.values is None or own.values is None for _, right, own in cases):
        return ""
    return (in_places(names, cases) or in_cases(names, cases) or without(exam, mine, names)
            or one_side(exam, cases))


# ---- places of a result --------------------------------------------------------------------------

def in_places(names: list[str], cases: list[tuple]) -> str:
    sizes = [(len(right.values), len(own.values)) for _, right, own in cases]
    if any(a != b for a, b in sizes) or max(sizes)[0] < 2:
        return ""
    wrong = [{i for i, (a, b) in enumerate(zip(right.values, own.values)) if not close(a, b)}
             for _, right, own in cases]
    some = [regions(names, args, right) for args, right, _ in cases]
    for words in dict.fromkeys(itertools.chain(*some)):
        inside = [region.get(words, set()) for region in some]
        outside = sum(n > len(places) for (n, _), places in zip(sizes, inside))
        share = sum(map(len, wrong)) / max(1, sum(map(len, inside)))
        if (all(bad <= places for bad, places in zip(wrong, inside)) and share >= SHARE
                and outside >= ENOUGH <= sum(map(bool, wrong))):
            return f"{SO_FAR}your result is right except {words}."
    return ""


def regions(names: list[str], args: tuple, right) -> dict[str, set[int]]:
    """Sets of places of a result. Where it is a table, places are those of a row."""
    n = len(right.values)
    width = right.shape[-1] if len(right.shape) > 1 and right.shape[-1] > 0 else n
    of_row = " of each row" * (width < n)
    found = {f"in the first place{of_row}": {i for i in range(n) if i % width == 0},
             f"in the last place{of_row}": {i for i in range(n) if i % width == width - 1}}
    if width < n:
        found |= {"in the first row": set(range(width)), "in the last row": set(range(n - width, n)),
                  "in the rows after the first one": set(range(width, n))}
    for name, x in zip(names, args):
        numbers = x.flatten().tolist() if isinstance(x, torch.Tensor) else x
        if not isinstance(numbers, list) or len(numbers) not in (n, n + 1) or not numbers:
            continue
        if isinstance(numbers[0], str):
            numbers = numbers[-n:]
            found |= {f"where the target is {word!r}": {i for i in range(n) if numbers[i] == word}
                      for word in numbers}
        elif len(numbers) == n and set(numbers) <= {0, 1}:
            found |= of_mask(name, numbers, width)
        elif len(numbers) == n and all(isinstance(x, float) for x in numbers):
            found |= {f"where {name} is below 0": {i for i in range(n) if numbers[i] < 0},
                      f"where {name} is above 0": {i for i in range(n) if numbers[i] > 0}}
    return found


def of_mask(name: str, numbers: list, width: int) -> dict[str, set[int]]:
    """Prompt, padding and the gaps between turns; where it is 0; where it is 1."""
    found: dict[str, set[int]] = {}
    for i, x in enumerate(numbers):
        row = numbers[i - i % width:][:width]
        before, after = any(row[:i % width]), any(row[i % width:])
        part = "between the turns" if before and after else "in the padding" if before else \
            "in the prompt"
        for words in ([f"{part} ({name} is 0)", f"where {name} is 0"] if not x
                      else [f"where {name} is 1"]):
            found.setdefault(words, set()).add(i)
        if i % width and row[i % width - 1]:
            found.setdefault(f"one place after a 1 of {name}", set()).add(i)
    order = ["in the prompt", "between", "in the padding"]
    return dict(sorted(found.items(), key=lambda pair: not pair[0].startswith(tuple(order))))


# ---- cases ---------------------------------------------------------------------------------------

def in_cases(names: list[str], cases: list[tuple]) -> str:
    wrong = [not right.same_values(own) for _, right, own in cases]
    some = [conditions(names, args, right.values) for args, right, _ in cases]
    chosen = {name for name in itertools.chain(*some)
              if len({str(case.get(name)) for case in some}) <= CHOICES}
    for name in dict.fromkeys(itertools.chain(*some)):
        for value in dict.fromkeys(case.get(name) for case in some if name in chosen):
            holds = [case.get(name) == value for case in some]
            for so, except_if in (True, "except if"), (False, "only if"):
                inside = [h == so for h in holds]
                if (all(i for i, w in zip(inside, wrong) if w)
                        and sum(wrong) >= ENOUGH <= len(cases) - sum(inside)
                        and sum(wrong) >= SHARE * sum(inside)):
                    return f"{SO_FAR}your result is right {except_if} {told(name, value)}."
    return ""


def told(name: str, value) -> str:
    """("{} there is one prompt", False) -> "not ..."; ("gamma", 1.0) -> "gamma is 1"."""
    if isinstance(value, bool):
        return name if value else f"it is not so that {name}"
    return f"{name} is {value:g}" if isinstance(value, float) else f"{name} is {value!r}"


def conditions(names: list[str], args: tuple, y: list) -> dict:
    """What a case is like. Numbers and texts are told by their value."""
    found: dict = {}
    for name, x in zip(names, args):
        if isinstance(x, (int, float, str)):
            found[name] = x if isinstance(x, str) else float(x)
        if isinstance(x, (int, float)):
            found |= {f"{name} is above 0": x > 0, f"{name} is below 0": x < 0}
        if isinstance(x, torch.Tensor):
            found |= of_tensor(name, x)
        elif isinstance(x, (list, tuple)):
            found[f"{name} has one item"] = len(x) == 1
            found[f"an item of {name} comes twice"] = len({str(item) for item in x}) < len(x)
    numbers = [(name, x) for name, x in zip(names, args) if isinstance(x, (int, float))]
    for (a, x), (b, z) in itertools.combinations(numbers, 2):
        found[f"{a} is larger than {b}"] = x > z
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
             f"all numbers of {name} are equal": bool((x == x.flatten()[0]).all())}
    if ((x == 0) | (x == 1)).all():
        rows = x.reshape(-1, x.shape[-1])
        found |= {f"{name} begins with 1": bool((rows[:, 0] == 1).all()),
                  f"{name} ends with 1": bool((rows[:, -1] == 1).all()),
                  f"all rows of {name} have as many ones": len(set(rows.sum(1).tolist())) == 1,
                  f"{name} has a gap": any(gap(row) for row in rows.tolist())}
    elif x.is_floating_point():
        found |= {f"the sum of {name} is above 0": bool(x.sum() > 0),
                  f"a number of {name} is 0": bool((x == 0).any()),
                  f"a number of {name} is below 0": bool((x < 0).any())}
    return found


def gap(row: list) -> bool:
    """1, then 0, then 1."""
    return "10" in "".join(str(int(x)) for x in row).rstrip("0")


# ---- what it depends on; on which side it is -----------------------------------------------------

def without(exam, mine, names: list[str]) -> str:
    """An argument that does not count, or one that should not."""
    for place, name in enumerate(names):
        moved = {"own": 0, "right": 0}
        for who, function in ("own", mine.function), ("right", exam.task.right):
            for args in exam.args:
                x = args[place]
                if isinstance(x, float) or isinstance(x, torch.Tensor) and x.is_floating_point():
                    before = outcome(function, args, exam.task.as_set)
                    other = *args[:place], 0.9 * fresh(x), *args[place + 1:]
                    after = outcome(function, other, exam.task.as_set)
                    moved[who] += not before.same_values(after)
        if not moved["own"] and moved["right"] >= ENOUGH:
            return f"Your result does not depend on {name}. The right one does."
        if not moved["right"] and moved["own"] >= ENOUGH:
            return f"Your result depends on {name}. The right one does not."
    return ""


def one_side(exam, cases: list[tuple]) -> str:
    pairs = [(right.values, own.values) for _, right, own in cases]
    if exam.task.as_set:
        more, less = ([bool(set(a) - set(b)) for a, b in some]
                      for some in ([(z, y) for y, z in pairs], pairs))
        what = "nothing is missing in your result, but it has too much", "your result has nothing " \
            "wrong, but something is missing"
    else:
        flat = [(a, b) for y, z in pairs for a, b in zip(y, z)]
        if any(len(y) != len(z) for y, z in pairs) or not all(
                isinstance(x, (int, float)) for pair in flat for x in pair):
            return ""
        more, less = ([b - a > 0 and not close(a, b) for a, b in some]
                      for some in (flat, [(b, a) for a, b in flat]))
        what = ("no number of your result is too small, but some are too large",
                "no number of your result is too large, but some are too small")
    for some, none, words in (more, less, what[0]), (less, more, what[1]):
        if sum(some) >= ENOUGH and not any(none):
            return f"{SO_FAR}{words}."
    return ""


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
