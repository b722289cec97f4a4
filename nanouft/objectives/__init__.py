"""The registry: which objectives there are, in the order in which lists show them.

objective.py says what an objective is. To add one: copy dpo.py, write the loss, and add the file's
name below. Flags, --help, data checks, the training loop, evaluation and the ledger find it there
(CONTRIBUTING.md).

The equations in the heads of the files share these letters:
    p_t, ref_t: the probability of token t by the model, and by the start model
    old_t: the same by the policy that sampled the answer
    S = sum_t log p_t
    A = mean_t log p_t
    n = sum_t 1
    r = sum_t (log p_t - log ref_t)
    x_w, x_l: x of the chosen and of the rejected answer
    sum_t, mean_t: over the response tokens of one answer
    mean: over all response tokens of the step
    NLL(y): the mean of -log p_t over all tokens of the answers y of the step
    mean_i: over all answers of the step
    mean_K, std_K: over the answers to one prompt
    sg: the stop-gradient; its argument is a constant
The step takes the mean of L over its answers or pairs. Other letters are settings of the method.
What a method needs is declared in its OBJECTIVE (data, reference, first).
"""
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib import import_module

from nanouft.objective import Objective
from nanouft.selection import demo_rows, pair_rows, prompt_rows

NAMES = (
    "sft", "ift", "dpo", "una", "uft", "poft",
    "kto", "orpo", "robust_dpo", "ipo", "hinge", "apo", "nca", "sppo", "slic", "simpo", "cpo",
    "asft", "tpo", "tpo_l",
    "tis_dpo", "gdpo", "ada_dpo", "rpo",
    "dft", "neftune", "tofu", "sftmix",
    "reinforce", "rloo", "grpo", "ppo", "online_dpo", "online_una", "distill",
)


CHOOSE = {"demos": demo_rows, "pairs": pair_rows, "prompts": prompt_rows}


@cache
def _read(name: str) -> Objective:
    objective = import_module(f"{__name__}.{name}").OBJECTIVE
    return objective if objective.choose else replace(objective, choose=CHOOSE[objective.data])


class Objectives(Mapping[str, Objective]):
    """OBJECTIVES["dpo"] reads dpo.py when it is asked for: a run loads its own method only."""

    def __getitem__(self, name: str) -> Objective:
        if name not in NAMES:
            raise KeyError(name)
        return _read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


OBJECTIVES = Objectives()
