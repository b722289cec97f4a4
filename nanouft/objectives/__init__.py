"""The registry: which objectives there are, in the order in which lists show them.

objective.py says what an objective is. To add one: copy dpo.py, write the loss, and add the file's
name below. Flags, --help, data checks, the training loop, evaluation and the ledger pick it up from
there (CONTRIBUTING.md).
"""
from dataclasses import replace
from importlib import import_module

from nanouft.data.rows import demo_rows, pair_rows, prompt_rows
from nanouft.objective import Objective

NAMES = (
    "sft", "ift", "dpo", "una", "uft", "poft",
    "kto", "orpo", "robust_dpo", "ipo", "hinge", "apo", "nca", "sppo", "slic", "simpo", "cpo",
    "asft", "tpo", "tpo_l",
    "tis_dpo", "gdpo", "ada_dpo", "rpo",
    "dft", "neftune", "tofu", "sftmix",
    "reinforce", "rloo", "grpo", "ppo", "online_dpo", "online_una", "distill",
)


ROWS = {"demos": demo_rows, "pairs": pair_rows, "prompts": prompt_rows}


def _read(name: str) -> Objective:
    objective = import_module(f"{__name__}.{name}").OBJECTIVE
    return objective if objective.rows else replace(objective, rows=ROWS[objective.data])


OBJECTIVES: dict[str, Objective] = {name: _read(name) for name in NAMES}
