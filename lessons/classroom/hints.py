"""What can be computed about wrong answers, whatever the mistake.

Which of the numbers are right, and in how many of the calls? Are they a multiple of the right ones,
or minus them? Does an argument decide where they are right? judge.py shows what is found here, and
nothing here knows an exercise.
"""
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from numbers import Real

from torch import Tensor, cat

from lessons.classroom.calling import NO_TENSOR, as_tensor

FEW = 4                                         # an answer of so many numbers is told by number
AT_LEAST = 3                                    # calls of either kind, before an argument decides
Far = Callable[[Tensor, Tensor], Tensor]        # which numbers are too far apart


@dataclass(frozen=True)
class Answer:
    """What one call gave, what is right, and with which arguments."""
    got: object
    right: object
    arguments: dict = field(default_factory=dict)

    def tensors(self) -> tuple[Tensor, Tensor] | None:
        """Both as numbers; None if they are none, or not equally many."""
        try:
            x, y = as_tensor(self.got).double(), as_tensor(self.right).double()
        except NO_TENSOR:
            return None
        return (x, y) if x.shape == y.shape else None

    def part(self, k: int) -> "Answer":
        x, y = self.tensors() or (None, as_tensor(self.right))
        return Answer(x if x is None else x[k], y[k], self.arguments)

    def is_right(self, far: Far) -> bool:
        if pair := self.tensors():
            return not far(*pair).any()
        return isinstance(self.got, (str, type(None))) and self.got == self.right


def part_names(answers: list[Answer]) -> list[str]:
    """"number 1", "number 2", if each right answer has as many, and there are few."""
    try:
        shapes = [as_tensor(answer.right).shape for answer in answers]
    except NO_TENSOR:
        return []
    lengths = {shape[0] if shape else 1 for shape in shapes}
    if len(lengths) != 1 or not 1 < max(lengths) <= FEW:
        return []
    kind = "list" if len(shapes[0]) > 1 else "number"
    return [f"{kind} {k + 1}" for k in range(lengths.pop())]


def right_by_part(answers: list[Answer], far: Far) -> dict[str, list[bool]]:
    """"number 1" -> is it right, call by call; nothing for an answer that has no parts."""
    return {name: [answer.part(k).is_right(far) for answer in answers]
            for k, name in enumerate(part_names(answers))}


# ---- what it is, seen from the right answer ------------------------------------------------------
def simple_relations(arguments: dict) -> Iterator[tuple[str, Callable[[Tensor], Tensor]]]:
    """Words and what they make of the right answer, in one call."""
    yield "minus the right one", lambda y: -y
    yield "1 minus the right one", lambda y: 1 - y
    yield "1 divided by the right one", lambda y: 1 / y
    yield "the logarithm of the right one", lambda y: y.log()
    yield "the square of the right one", lambda y: y.square()
    yield "the root of the right one", lambda y: y.sqrt()
    yield "the right one from its end to its beginning", lambda y: y.flip(0) if y.ndim else y
    yield "the right one, moved on by one place", lambda y: y.roll(1, 0) if y.ndim else y
    yield "the right one, moved back by one place", lambda y: y.roll(-1, 0) if y.ndim else y
    for name, x in numbers_of(arguments).items():
        yield f"the right one times {name}", lambda y, x=x: y * x
        yield f"the right one divided by {name}", lambda y, x=x: y / x
        yield f"the right one plus {name}", lambda y, x=x: y + x
        yield f"the right one minus {name}", lambda y, x=x: y - x


def numbers_of(arguments: dict) -> dict[str, float]:
    """The arguments that are numbers, and how many parts the others have."""
    found = {}
    for name, x in arguments.items():
        if isinstance(x, Real):
            found[name] = float(x)
        elif isinstance(x, (list, tuple, dict, Tensor)):
            found[f"the length of {name}"] = float(len(x))
    return found


def relation(answers: list[Answer], far: Far) -> str:
    """What the wrong answers are, seen from the right ones; nothing if no simple thing fits."""
    pairs = [answer.tensors() for answer in answers]
    if None in pairs or not all(x.isfinite().all() and y.isfinite().all() for x, y in pairs):
        return ""
    if len({str(y.tolist()) for _, y in pairs}) < 2:
        return ""                               # one number is a multiple of any other

    def fits(made: list[Tensor]) -> bool:
        return not any(far(x, y).any() for (x, _), y in zip(pairs, made))
    for some in zip(*(simple_relations(answer.arguments) for answer in answers)):
        if fits([make(y) for (_, make), (_, y) in zip(some, pairs)]):
            return some[0][0]
    x, y = (cat([pair[k].flatten() for pair in pairs]) for k in (0, 1))
    times, more = ((x @ y) / (y @ y)).item(), (x - y).mean().item()
    if (x == x[0]).all():
        return f"always {x[0].item():.4g}"
    if fits([times * y for _, y in pairs]):
        return f"{times:.4g} times the right one"
    if fits([y + more for _, y in pairs]):
        return f"the right one {'plus' if more > 0 else 'minus'} {abs(more):.4g}"
    return ""


def wrong_place(answers: list[Answer], far: Far) -> str:
    """The only place at which lists of numbers are wrong, or nothing."""
    pairs = [answer.tensors() for answer in answers]
    if None in pairs or any(y.ndim != 1 or len(y) < 2 for _, y in pairs):
        return ""
    places = [far(x, y).nonzero().flatten().tolist() for x, y in pairs]
    if any(len(some) != 1 for some in places):
        return ""
    from_end = {some[0] - len(y) for some, (_, y) in zip(places, pairs)}
    if {some[0] for some in places} == {0}:
        return "only the first number is"
    return "only the last number is" if from_end == {-1} else "only one number is"


# ---- where it is right ---------------------------------------------------------------------------
def circumstances(answer: Answer) -> set[str]:
    """What may decide: the value of an argument, its sign, its length, and a right None."""
    found = {f"{name} is {x!r}" for name, x in answer.arguments.items() if isinstance(x, str)}
    numbers = numbers_of(answer.arguments)
    found |= {f"{name} is {x:.4g}" for name, x in numbers.items()}
    found |= {f"{name} is below 0" for name, x in numbers.items() if x < 0}
    return found | ({"the right result is None"} if answer.right is None else set())


def what_decides(answers: list[Answer], right: list[bool]) -> str:
    """"right exactly where gamma is 0", or wrong; nothing if no single argument decides."""
    seen = [circumstances(answer) for answer in answers]
    count = Counter(x for some in seen for x in some)
    for which in ("right", "wrong"):
        wanted = [x == (which == "right") for x in right]
        for circumstance in sorted(count):
            inside = [circumstance in some for some in seen]
            if inside == wanted and AT_LEAST <= count[circumstance] <= len(seen) - AT_LEAST:
                return f"{which} exactly where {circumstance}"
    return ""


# ---- in words ------------------------------------------------------------------------------------
def how_many(right: list[bool], parts: dict[str, list[bool]], noun: str) -> str:
    """"Right in 3 of 60 calls: number 1 in 60, number 2 in 3."."""
    told = f"Right in {sum(right)} of {len(right)} {noun}"
    each = {name: sum(some) for name, some in parts.items()}
    if len({*each.values()}) < 2:               # it says nothing more
        return f"{told}."
    return f"{told}: {', '.join(f'{name} in {count}' for name, count in each.items())}."


def hints(answers: list[Answer], far: Far) -> list[str]:
    """Sentences about answers of which some are wrong."""
    right = [answer.is_right(far) for answer in answers]
    wrong = [answer for answer, is_right in zip(answers, right) if not is_right]
    found = []
    if any(x.got is None for x in wrong) and all(x.right is not None for x in answers):
        found.append("It gives None. Is there a `return`?")
    if words := relation(wrong, far):
        found.append(f"Where it is wrong, yours is {words}.")
    elif names := part_names(answers):
        for k, name in enumerate(names):
            some = [answer.part(k) for answer in wrong if not answer.part(k).is_right(far)]
            if some and (words := relation(some, far)):
                found.append(f"Where {name} is wrong, it is {words}.")
    elif words := wrong_place(wrong, far):
        found.append(f"Where it is wrong, {words}.")
    if words := what_decides(answers, right):
        found.append(f"It is {words}.")
    return found
