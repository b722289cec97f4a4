"""What a setting or a flag may be: the last value that is taken, and the first that is refused. The
lines that refuse are in tests/recorded/mistakes/losses.txt."""
import math
import typing
from importlib import import_module

import pytest
from made import FORMS, Form, push, with_logps

from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.ranges import check_ranges, ranges_of, strip_annotations

INWARDS = {"at_least": 1, "above": 1, "at_most": -1, "below": -1}
ENDS = [(name, field, side, end) for name, cls in OBJECTIVES.items()
        for field, limits in ranges_of(cls).items()
        for side, end in vars(limits).items() if math.isfinite(end)]


def takes(form: Form) -> bool:
    try:
        form.objective.check()
    except UserError:
        return False
    return True


def numbers_of(cls) -> dict[str, type]:
    """{setting: int or float}"""
    kinds = {field: strip_annotations(hint)[0]
             for field, hint in typing.get_type_hints(cls).items()}
    return {field: kind for field, kind in kinds.items() if kind in (int, float)}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_number_among_the_settings_has_a_range(name):
    for field in numbers_of(OBJECTIVES[name]):
        assert field in ranges_of(OBJECTIVES[name]), (
            f"say what {field} may be, as in `{field}: Positive`; nanouft/objective.py has "
            "Positive, AtLeast0, Share, AnyNumber, Count and GroupSize")


@pytest.mark.parametrize("name, field, side, end", ENDS)
def test_a_method_learns_up_to_the_end_of_a_range_and_refuses_what_is_beyond(name, field, side,
                                                                             end):
    """A range that is too wide is found here: with beta 0 DPO would learn nothing."""
    kind = numbers_of(OBJECTIVES[name])[field]
    step = (1 if kind is int else 1e-5) * INWARDS[side]
    beyond, at, inside = (Form(name, f"{field} {kind(x)}") for x in (end - step, end, end + step))
    assert not takes(beyond), f"{beyond} is taken, which is not {side} {end:g}"
    assert takes(at) == (side in ("at_least", "at_most")), f"{at}: the range says {side} {end:g}"
    for form in filter(takes, (at, inside)):
        loss, grads = push(form, with_logps(form))
        assert all(x.isfinite().all() for x in (loss, *grads.values())), f"{form}: not finite"
        assert any(x.any() for x in grads.values()), \
            f"{form}: nothing is learned; give the setting a range without this value"


def test_all_methods_take_the_settings_that_are_tested():
    assert all(takes(form) for form in FORMS)


@pytest.mark.parametrize("name", [
    "frozen_lake.__main__", "nanouft.compare.plan", "nanouft.data.__main__", "nanouft.evaluate",
    "nanouft.pretrain", "nanouft.reward", "nanouft.run.config", "nanouft.sample"])
def test_every_number_of_a_program_has_a_least_value(name):
    program, = (x for x in vars(import_module(name)).values()
                if f"{x}".endswith(("Flags'>", ".RunConfig'>")) and x.__module__ == name)
    check_ranges(program())
    assert numbers_of(program)
    for name in numbers_of(program):
        with pytest.raises(UserError, match=f"^{flag(name)} -1: "):
            check_ranges(program(**{name: -1}))
