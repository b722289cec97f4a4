"""The registry: each file of this folder is a method.

    find("dpo")(beta=0.2)       # the class in dpo.py
    find("mine.py")             # one of your own, in any file; own.py checks it

objective.py says what an objective is. CONTRIBUTING.md says how to add one.

The equations in the heads of the files share these letters:
    p_t, ref_t: the probability of token t under the model, and under the initial model (reference)
    old_t: the same under the policy that sampled the answer
    S = sum_t log p_t
    A = mean_t log p_t
    n = sum_t 1
    r = sum_t (log p_t - log ref_t)
    x_w, x_l: x of the chosen and of the rejected answer
    x_demo: x of the demonstration beside sampled answers
    sum_t, mean_t: over the response tokens of one answer
    mean: over all response tokens of the step
    log: the natural logarithm; a log-prob is measured in nats, so 1 nat is a factor of e
    NLL(y): the mean of -log p_t over all tokens of the answers y of the step
    mean_i: over all answers of the step
    mean_K, std_K: over the answers to one prompt
    sg: the stop-gradient; its argument is treated as a constant
The step takes the mean of L over its answers or pairs. Other letters are settings of the method.

A place in brackets, (trainers.py:786), is a file and line of the released code, at the commit that
the head names, or of TRL: version 1.16.0 unless the head names another.
"""
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from nanouft.objective import Objective
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.files import own_file

# Lists show these first, in the order of the course, and then all others by name.
FIRST = "sft ift dpo una uft poft kto orpo reinforce rloo grpo ppo".split()
NAMES = [*FIRST, *sorted({file.name for file in iter_modules(__path__)} - {*FIRST})]

FAMILIES = {        # what a method learns from: its title, in words
    "demos": ("Demonstrations", "Right answers to imitate."),
    "pairs": ("Pairs", "A better and a worse answer to one prompt."),
    "graded": ("Scores and labels", "Answers with a score from 0 to 1, or a label good or bad."),
    "sampled": ("The model's own samples",
                "Prompts, and a reward for the answers that the model samples."),
}


class Objectives(Mapping[str, type[Objective]]):
    """OBJECTIVES["tis_dpo"] is the class TISDPO in tis_dpo.py: it is named after its file, without
    regard to case and _. A file is imported only when its method is asked for."""

    def __getitem__(self, name: str) -> type[Objective]:
        if name not in NAMES:
            raise KeyError(name)
        module = import_module(f"{__name__}.{name}")
        classes = {title: cls for title, cls in vars(module).items() if isinstance(cls, type)}
        for title, cls in classes.items():
            if title.lower() == name.replace("_", ""):
                return cls
        of_file = [title for title, cls in classes.items() if cls.__module__ == module.__name__]
        raise UserError(f"objectives/{name}.py: no class is named after the file, such as "
                        f"{name.title().replace('_', '')}; found: {', '.join(of_file) or 'none'} "
                        "(only methods belong in this folder)")

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


OBJECTIVES = Objectives()


def registry_name(name: str) -> str:
    """A name as the registry spells it: IFT becomes ift. The name of a file is unchanged."""
    return name.lower() if name.lower() in OBJECTIVES else name


def find(name: str) -> type[Objective]:
    """The class with one of NAMES, or that in a file of your own, mine.py or mine.py:Name."""
    if file := own_file(name):
        if Path(file).stem in NAMES:
            raise UserError(f"--objective {name}: {Path(file).stem} is a method of nanouft; give "
                            "the file another name")
        from nanouft.own import class_in
        return class_in(name)
    if name.startswith("<"):
        raise UserError(f"--objective {name}: the run's class is {name[1:-1]}, which only Python "
                        f"has: nanouft.train.run({name[1:-1]}, resume=FOLDER)")
    return OBJECTIVES[one_of("objective", registry_name(name), OBJECTIVES)]


def class_of(method: Any) -> type[Objective]:
    """The class of a method in Python: itself, or that of an object. UserError for anything
    else."""
    cls = method if isinstance(method, type) else type(method)
    if not issubclass(cls, Objective):
        raise UserError(f"{method!r}: is not a method; give its name, a file, a subclass of "
                        "Objective or an object of one")
    return cls


def name_of(cls: type[Objective]) -> str:
    """By which `find` has a class, as "dpo"; <Name> of one that only Python has."""
    package, _, name = cls.__module__.rpartition(".")
    return name if package == __name__ else f"<{cls.__name__}>"
