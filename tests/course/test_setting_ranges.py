"""What a setting or a flag may be: the last value that is taken, and the first that is refused."""
import math
import re
import typing
from dataclasses import fields
from importlib import import_module

import numpy as np
import pytest
import torch
from made import FORMS, Form, push, with_logps

from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.errors import UserError, flag
from nanouft.plumbing.ranges import Range, check_ranges, ranges_of, strip_annotations
from nanouft.run.config import read_flags

# beyond what the range of one setting can say
REFUSED = ["tofu gamma 0.5", "ada_dpo tau_min 9.0"]


def ends_of(limits: Range) -> list[tuple[str, float]]:
    """[(">=", 0.0), ("<", 0.5)] of Range(at_least=0, below=0.5)."""
    signs = {"at_least": ">=", "above": ">", "at_most": "<=", "below": "<"}
    return [(signs[name], end) for name, end in vars(limits).items() if math.isfinite(end)]


ENDS = [(name, field, sign, end) for name, cls in OBJECTIVES.items()
        for field, limits in ranges_of(cls).items() for sign, end in ends_of(limits)]


def takes(form: Form) -> bool:
    try:
        form.objective.check()
    except UserError as e:
        assert "\n" not in str(e)
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


@pytest.mark.parametrize("name, field, sign, end", ENDS)
def test_a_method_learns_up_to_the_end_of_a_range_and_refuses_what_is_beyond(name, field, sign,
                                                                             end):
    """A range that is too wide is found here: with beta 0 DPO would learn nothing."""
    kind = numbers_of(OBJECTIVES[name])[field]
    step = (1 if kind is int else 1e-5) * (1 if sign[0] == ">" else -1)     # inwards
    beyond, at, inside = (Form(name, f"{field} {kind(x)}") for x in (end - step, end, end + step))
    assert not takes(beyond), f"{beyond} is taken, which is not {sign} {end:g}"
    assert takes(at) == (sign[-1] == "="), f"{at}: the range says {sign} {end:g}"
    for form in filter(takes, (at, inside)):
        loss, grads = push(form, with_logps(form))
        assert all(x.isfinite().all() for x in (loss, *grads.values())), f"{form}: not finite"
        assert any(x.any() for x in grads.values()), \
            f"{form}: nothing is learned; give the setting a range without this value"


def test_every_method_takes_what_is_tested_and_refuses_what_makes_no_sense_together():
    for told in REFUSED:
        assert not takes(Form(*told.partition(" ")[::2])), told
    for form in FORMS:
        assert takes(form), str(form)


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


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_wrong_setting_is_refused_in_python_by_the_line_of_its_flag(name):
    method, told = OBJECTIVES[name], []
    for field in fields(method):
        kind, _ = strip_annotations(typing.get_type_hints(method)[field.name])
        beyond = [kind(end + (-1 if sign[0] == ">" else 1))
                  for n, f, sign, end in ENDS if (n, f) == (name, field.name)]
        wrong = {int: [*beyond, "x", 2.5, True], float: [*beyond, "x", math.nan, math.inf, True],
                 bool: ["x", 1]}.get(kind, ["foo", 1])
        for value in wrong:
            with pytest.raises(UserError, match=f"^{flag(field.name)} .*: must be ") as in_python:
                method(**{field.name: value}).check()
            told.append(str(in_python.value))
            if kind is not bool and typing.get_origin(kind) is not list:
                with pytest.raises(UserError) as as_flag:
                    read_flags(["--objective", name, flag(field.name), str(value)])
                assert str(as_flag.value) == told[-1]
    assert told or not fields(method)


@pytest.mark.parametrize("setting, told", [
    ({"beta": torch.tensor(0.5)}, "--beta tensor(0.5000): must be a finite number"),
    ({"beta": 10 ** 400}, "000: must be a finite number"),
    ({"reduction": np.array(["sum", "mean"])}, "must be one of sum, mean")])
def test_a_setting_of_a_type_that_no_flag_has_is_named_as_it_is(setting, told):
    with pytest.raises(UserError, match=re.escape(told)):
        OBJECTIVES["dpo"](**setting).check()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_without_rows_of_its_kind_it_says_what_it_needs(name):
    with pytest.raises(UserError, match="needs"):
        Form(name).objective.choose([])
