"""The contract of every objective, and the only registry.

An objective is one file: paper, equation, pure loss, hyper-parameters, what it needs. Four ideas make one interface:
1. Every other model is a column: references act before training and leave numbers beside the tokens (prepare.py).
2. GPT.forward is the only door to the network.
3. Losses are sums over step-wide totals, so micro-batches and processes just add.
4. Rows may come from a file, from NanoWorld or from the model's own samples: the loop does not care.

To add one: copy dpo.py, write the loss, import it below and add a line to OBJECTIVES. Flags, --help, data checks,
the training loop, evaluation and the ledger pick it up from there.
"""
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Seqs:
    """One role of a batch (B rows, T tokens), shifted once in batches.py: targets[t] follows inputs[t].

    A masked sum or mean is the only reduction over tokens; which of the two stays visible in every loss.
    """
    inputs: Tensor                      # (B,T) ids
    targets: Tensor                     # (B,T) ids
    mask: Tensor                        # (B,T) 1 where the TARGET is a response token, <|end|> included
    attend: Tensor                      # (B,T) 1 where the target is a real token, prompt included
    tok: dict[str, Tensor] = field(default_factory=dict)       # (B,T) columns: ref; of rollouts old, adv ...
    logp: Tensor | None = None          # (B,T) nats, policy log-prob of each target, set by forward(); 0 off the mask

    def sum(self, x: Tensor) -> Tensor:
        """(B,T) -> (B,). Masked places are replaced, not multiplied: 0 * inf would be NaN."""
        return x.masked_fill(self.mask == 0, 0).sum(-1)

    def mean(self, x: Tensor) -> Tensor:
        """(B,T) -> (B,) over response tokens."""
        return self.sum(x) / self.mask.sum(-1).clamp_min(1)


@dataclass
class Batch:
    """A micro-batch that knows the totals of its whole optimizer step."""
    seqs: dict[str, Seqs]               # answer (given or sampled) | chosen, rejected | gold | mismatch ...
    col: dict[str, Tensor] = field(default_factory=dict)       # (B,) or (B,E) columns: score, aligned ...
    whole: dict[str, Tensor] | None = None      # (rows, ...) the same columns of the whole step; None: col is whole
    rows: int = 1                       # rows of the whole step
    tokens: dict[str, int] = field(default_factory=dict)       # response tokens of the whole step, per role
    attended: dict[str, int] = field(default_factory=dict)     # real tokens, prompt included, of the whole step
    seed: int = 0                       # of this step: every micro-batch of a step draws the same numbers
    first: int = 0                      # place of this micro-batch's first row in the step
    ramp: float = 1.0                   # 0 -> 1 over warm-up, for schedules tied to it

    def __post_init__(self):
        self.whole = self.col if self.whole is None else self.whole

    def normal(self) -> float:
        """One N(0,1) draw, the same for the whole step."""
        return torch.randn((), generator=_generator(self.seed)).item()

    def uniform(self, B: int, T: int) -> Tensor:
        """(B,T) draws in [0,1) that depend on the row's place in the step, not on how the step was cut."""
        return torch.stack([torch.rand(T, generator=_generator(self.seed * 1_000_003 + self.first + i + 1))
                            for i in range(B)])


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)         # --seed 20261120, multiplied twice, needs 65 bits


def plain(model, batch: Batch, hp) -> None:
    """Write `logp` of every role: one forward over all rows of all roles, the head on response tokens only."""
    parts = list(batch.seqs.values())
    T = max(s.inputs.shape[1] for s in parts)

    def stack(name: str) -> Tensor:                            # roles below each other, padded on the right with 0:
        return torch.cat([_widen(getattr(s, name), T) for s in parts])         # causal attention never looks there

    logp = model(stack("inputs"), want="logp", targets=stack("targets"), at=stack("mask").bool())
    for s, rows in zip(parts, logp.split([len(s.inputs) for s in parts])):
        s.logp = rows[:, :s.inputs.shape[1]]


def _widen(x: Tensor, T: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, T - x.shape[1]))


@dataclass(frozen=True)
class First:
    """Training runs that must come first, because a column is made with their models (prepare.py).

    Their folders fill the hyper-parameter `field`, a list, where the user gave none. Each of `flags` is a command line
    of train. With `same_data` they start from the run's own start model and see its rows; else they stand alone.
    """
    field: str
    flags: tuple[str, ...]
    same_data: bool = True


@dataclass(frozen=True)
class Objective:
    paper: str                          # title, arXiv id, equation
    rows: Callable                      # rows(data, hp) -> list[Example]: which sequences stand together (pure Python)
    loss: Callable                      # loss(batch, hp) -> (scalar, metrics), sums over step totals; no model in it
    hp: type                            # dataclass of hyper-parameters; becomes flags
    data: str | Callable[[Any], str]    # kinds of rows it learns from, "demos" or "demos + scores"; or a function of hp
    lr: float                           # default learning rate on NanoWorld: chosen on validation where docs/LOG.md
                                        # lists it, else a near relative's
    columns: tuple[str, ...] = ()       # numbers made by another model beforehand (prepare.py)
    forward: Callable = plain           # forward(model, batch, hp): writes logp; own one where the network is touched
    coupled: bool = False               # the loss couples the rows of a step: a step cannot be cut into pieces
    constant: tuple[str, ...] = ()      # roles that the loss reads and does not train on (KTO's mismatch)
    first: First | None = None          # training runs that make the models of `columns`
    arrange: Callable | None = None     # arrange(encoded, seed) -> encoded: rows that stand together by their columns
    together: int = 1                   # how many rows of the data it puts into one row of a step
    trust: Callable | None = None       # trust(batch, hp) -> (B,) weight of each row, written to tau.jsonl
    source: str = "epochs"              # where steps come from: "epochs" over the rows (batches.py), or "rollouts": the
                                        # rows are prompts, and the model's own answers to them are (rollouts.py)
    credit: Callable | None = None      # rollouts: credit(batch, hp) -> {column: (B,) or (B,T)}: who earned the reward?
    value: bool = False                 # the model gets a value head (PPO's critic), saved beside it

    def kinds(self, hp) -> list[str]:
        """["demos", "scores"]: the kinds of rows that it learns from under these hyper-parameters."""
        return (self.data if isinstance(self.data, str) else self.data(hp)).split(" + ")

    def measured(self, hp) -> tuple[str, ...]:
        """The columns of a run: where answers are compared, also the start model's log-probs, so that every run can
        log how far it went from there, even if the loss does not read them."""
        given = self.kinds(hp) in (["demos"], ["prompts"])
        return self.columns if given else tuple(dict.fromkeys((*self.columns, "ref")))


# Below the contract, because these files import it.
from nanouft.objectives.ada_dpo import ADA_DPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.apo import APO_OBJECTIVE  # noqa: E402
from nanouft.objectives.asft import ASFT_OBJECTIVE  # noqa: E402
from nanouft.objectives.cpo import CPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.dft import DFT_OBJECTIVE  # noqa: E402
from nanouft.objectives.dpo import DPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.gdpo import GDPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.grpo import GRPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.hinge import HINGE_OBJECTIVE  # noqa: E402
from nanouft.objectives.ift import IFT_OBJECTIVE  # noqa: E402
from nanouft.objectives.ipo import IPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.kto import KTO_OBJECTIVE  # noqa: E402
from nanouft.objectives.poft import POFT_OBJECTIVE  # noqa: E402
from nanouft.objectives.nca import NCA_OBJECTIVE  # noqa: E402
from nanouft.objectives.neftune import NEFTUNE_OBJECTIVE  # noqa: E402
from nanouft.objectives.ppo import PPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.reinforce import REINFORCE_OBJECTIVE  # noqa: E402
from nanouft.objectives.rloo import RLOO_OBJECTIVE  # noqa: E402
from nanouft.objectives.robust_dpo import ROBUST_DPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.rpo import RPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.online_dpo import ONLINE_DPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.online_una import ONLINE_UNA_OBJECTIVE  # noqa: E402
from nanouft.objectives.orpo import ORPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.sft import SFT_OBJECTIVE  # noqa: E402
from nanouft.objectives.sftmix import SFTMIX_OBJECTIVE  # noqa: E402
from nanouft.objectives.simpo import SIMPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.slic import SLIC_OBJECTIVE  # noqa: E402
from nanouft.objectives.sppo import SPPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.tis_dpo import TIS_DPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.tofu import TOFU_OBJECTIVE  # noqa: E402
from nanouft.objectives.tpo import TPO_L_OBJECTIVE, TPO_OBJECTIVE  # noqa: E402
from nanouft.objectives.uft import UFT_OBJECTIVE  # noqa: E402
from nanouft.objectives.una import UNA_OBJECTIVE  # noqa: E402

OBJECTIVES: dict[str, Objective] = {
    "sft": SFT_OBJECTIVE,
    "ift": IFT_OBJECTIVE,
    "dpo": DPO_OBJECTIVE,
    "una": UNA_OBJECTIVE,
    "uft": UFT_OBJECTIVE,
    "poft": POFT_OBJECTIVE,
    "kto": KTO_OBJECTIVE,
    "orpo": ORPO_OBJECTIVE,
    "robust_dpo": ROBUST_DPO_OBJECTIVE,
    "ipo": IPO_OBJECTIVE,
    "hinge": HINGE_OBJECTIVE,
    "apo": APO_OBJECTIVE,
    "nca": NCA_OBJECTIVE,
    "sppo": SPPO_OBJECTIVE,
    "slic": SLIC_OBJECTIVE,
    "simpo": SIMPO_OBJECTIVE,
    "cpo": CPO_OBJECTIVE,
    "asft": ASFT_OBJECTIVE,
    "tpo": TPO_OBJECTIVE,
    "tpo_l": TPO_L_OBJECTIVE,
    "tis_dpo": TIS_DPO_OBJECTIVE,
    "gdpo": GDPO_OBJECTIVE,
    "ada_dpo": ADA_DPO_OBJECTIVE,
    "rpo": RPO_OBJECTIVE,
    "dft": DFT_OBJECTIVE,
    "neftune": NEFTUNE_OBJECTIVE,
    "tofu": TOFU_OBJECTIVE,
    "sftmix": SFTMIX_OBJECTIVE,
    "reinforce": REINFORCE_OBJECTIVE,
    "rloo": RLOO_OBJECTIVE,
    "grpo": GRPO_OBJECTIVE,
    "ppo": PPO_OBJECTIVE,
    "online_dpo": ONLINE_DPO_OBJECTIVE,
    "online_una": ONLINE_UNA_OBJECTIVE,
}
