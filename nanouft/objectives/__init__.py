"""The registry: all objectives, in the order in which lists show them.

objective.py says what an objective is. To add one: copy the file of the nearest one, write the
loss, and add the file's name below. Flags, --help, data checks, the training loop, evaluation and
nanouft.pushes find it there (CONTRIBUTING.md).

The equations in the heads of the files share these letters:
    p_t, ref_t: the probability of token t by the model, and by the start model
    old_t: the same by the policy that sampled the answer
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
    sg: the stop-gradient; its argument is a constant
The step takes the mean of L over its answers or pairs. Other letters are settings of the method.
What a method needs is declared in its class (data, reference, first_models).
"""
from collections.abc import Iterator, Mapping
from importlib import import_module

from nanouft.objective import Objective

NAMES = {                                           # file: class
    "sft": "SFT", "ift": "IFT", "dpo": "DPO", "una": "UNA", "uft": "UFT", "poft": "PoFT",
    "kto": "KTO", "orpo": "ORPO", "robust_dpo": "RobustDPO", "ipo": "IPO", "hinge": "Hinge",
    "apo": "APO", "nca": "NCA", "sppo": "SPPO", "slic": "SLiC", "simpo": "SimPO", "cpo": "CPO",
    "asft": "ASFT", "tpo": "TPO", "tpo_l": "TPOL",
    "tis_dpo": "TISDPO", "gdpo": "GDPO", "ada_dpo": "AdaDPO", "rpo": "RPO",
    "dft": "DFT", "p_alpha": "PAlpha", "neftune": "NEFTune", "tofu": "TOFU", "hft": "HFT",
    "sftmix": "SFTMix",
    "reinforce": "Reinforce", "rloo": "RLOO", "grpo": "GRPO", "ppo": "PPO",
    "online_dpo": "OnlineDPO", "online_una": "OnlineUNA", "distill": "Distill",
    "chord": "CHORD", "hpt": "HPT",
}


class Objectives(Mapping[str, type[Objective]]):
    """OBJECTIVES["dpo"] is the class in dpo.py. The file is read only when it is asked for, so a
    run loads its own method alone."""

    def __getitem__(self, name: str) -> type[Objective]:
        cls = NAMES[name]
        return getattr(import_module(f"{__name__}.{name}"), cls)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


OBJECTIVES = Objectives()
