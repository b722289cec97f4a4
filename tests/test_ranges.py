"""What a setting or a flag may be: the last value that is taken, and the first that is refused."""
import re
import typing
from dataclasses import fields, replace

import pytest
from made import FORMS, Form

import frozen_lake.__main__ as lake
from lessons.classroom import arena
from lessons.evidence.harvest import HarvestFlags
from lessons.evidence.keep import KeepFlags
from nanouft import simple
from nanouft.evaluate import EvaluateFlags
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, flag
from nanouft.pretrain import PretrainFlags
from nanouft.reward import RewardFlags
from nanouft.run.settings import TrainFlags
from nanouft.sample import SampleFlags

BETA = ("dpo una uft poft kto robust_dpo ipo hinge apo nca sppo simpo cpo asft tpo tpo_l "
        "tis_dpo gdpo ada_dpo rpo tofu online_dpo online_una")
RANGES = {                      # ">0": 0 is refused; ">=0": 0 is taken, less is refused
    "beta >0": BETA, "beta >=0": "reinforce rloo grpo ppo",
    "alpha >=0": "simpo cpo tpo tpo_l p_alpha", "alpha >0": "neftune",
    "label_smoothing >=0 <0.5": "dpo robust_dpo", "delta >=0": "slic",
    "lam >=0 <=1": "ift ppo", "lam >=0": "orpo slic asft", "gamma >=0 <=1": "ift ppo",
    "gamma >=0": "simpo tpo_l tofu",
    "mu >0": "sftmix", "desirable_weight >=0": "kto",
    "undesirable_weight >=0": "kto", "temperature >0": "rpo",
    "mu >=0 <=1": "chord", "mu_end >=0 <=1": "chord", "decay >0 <=1": "chord",
    "gate >=0 <=1": "hpt", "share >=0 <=0.95": "hpt", "coef >=0": "hpt",
    "rho >0": "ada_dpo", "tau_min >0": "ada_dpo", "tau_max >=0.1": "ada_dpo",
    "end_penalty >=0": "ppo",
    "vf >=0": "ppo", "eps >0": "rloo grpo ppo", "eps_high >0": "grpo", "eps_value >0": "ppo",
    "length >0": "grpo", "samples >=2": "rloo grpo online_dpo chord hpt",
    "samples >=1": "reinforce ppo online_una distill",
    "minibatches >=1": "rloo grpo ppo",
    "passes >=1": "rloo grpo ppo"}
ANY_NUMBER = ["poft margin", "hpt right"]
REFUSED = ["tofu gamma 0.5", "ada_dpo tau_min 9.0", "ada_dpo rho 0.7"]


def takes(form: Form) -> bool:
    try:
        form.objective.check()
    except UserError as e:
        assert "\n" not in str(e)
        return False
    return True


@pytest.mark.parametrize("rule", RANGES)
def test_the_range_of_a_setting(rule):
    field, *limits = rule.split()
    for name in RANGES[rule].split():
        form = Form(name)
        for sign, equal, text in (re.fullmatch(r"([<>])(=?)(.+)", x).groups() for x in limits):
            limit, way = float(text), 1e-5 if sign == ">" else -1e-5
            for value, good in ((limit - way, False), (limit, bool(equal)), (limit + way, True)):
                if good and name == "tofu" and value not in (0, 1):
                    continue                            # 0 or at least 1
                form.objective = replace(form.objective, **{field: value})
                assert takes(form) == good, (name, field, value)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_number_among_the_settings_has_a_range(name):
    """In RANGES, or in ANY_NUMBER if each number makes sense."""
    tested = [f"{name} {rule.split()[0]}" for rule in RANGES if name in RANGES[rule].split()]
    hints = typing.get_type_hints(OBJECTIVES[name])
    numbers = [f"{name} {f.name}" for f in fields(OBJECTIVES[name])
               if {int, float} & {hints[f.name], *typing.get_args(hints[f.name])}]
    assert not set(numbers) - {*tested, *ANY_NUMBER}, "add these to RANGES or ANY_NUMBER"


def test_settings_that_make_no_sense_together_are_refused_and_all_that_is_tested_is_taken():
    for told in REFUSED:
        assert not takes(Form(*told.partition(" ")[::2])), told
    for form in FORMS:
        assert takes(form) == (str(form) not in REFUSED and "surrogate" not in form.told), str(form)


@pytest.mark.parametrize("program", [
    EvaluateFlags, HarvestFlags, KeepFlags, PretrainFlags, RewardFlags, SampleFlags, TrainFlags,
    lake.LakeFlags])
def test_every_number_of_a_program_has_a_least_value(program):
    told = (OBJECTIVES["sft"](), set()) if program is TrainFlags else ()
    program(**{"aligned": "base"} if program is KeepFlags else {}).check(*told)
    hints = typing.get_type_hints(program)
    numbers = [f.name for f in fields(program)
               if {int, float} & {hints[f.name], *typing.get_args(hints[f.name])}]
    assert numbers
    for name in numbers:
        with pytest.raises(UserError, match=f"^{flag(name)} -1: "):
            program(**{name: -1}).check(*told)


@pytest.mark.parametrize("words", ["--steps -1", "--steps 0"])
def test_a_number_that_makes_no_sense_is_one_line(words, capsys):
    assert command(simple.main, words.split()) == 2
    out, told = capsys.readouterr()
    assert out == "" and "--steps" in told


def test_a_guess_for_the_arena_is_a_number(capsys):
    with pytest.raises(SystemExit):
        arena.main(["--guess", "nan"])
    assert "invalid number value: 'nan'" in capsys.readouterr().err


@pytest.mark.parametrize("name", OBJECTIVES)
def test_without_rows_of_its_kind_it_says_what_it_needs(name):
    with pytest.raises(UserError, match="needs"):
        Form(name).objective.choose([])
