"""While files move: a method as the pair (objective, hp) that the callers still take."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nanouft import objective as new
from nanouft.objective import First, write_logp


@dataclass(frozen=True)
class Objective:
    data: str | Callable[[Any], str]
    hp: type
    loss: Callable
    lr: float
    choose: Any = None
    forward: Callable = write_logp
    reference: bool = False
    first: First | None = None
    prepare: Callable | None = None
    coupled: bool = False
    credit: Callable | None = None
    reward: str = "any"
    value_head: bool = False

    def asks(self) -> list[str]:
        needs = ["the start model's log-probs"] if self.reference else []
        return needs + [self.first.needs] if self.first else needs

    @property
    def on_policy(self) -> bool:
        return self.credit is not None

    def kinds(self, hp) -> list[str]:
        return (self.data if isinstance(self.data, str) else self.data(hp)).split(" + ")


def bridge(cls: type[new.Objective]) -> Objective:
    default = cls()
    return Objective(
        data=lambda hp: " + ".join((hp or default).kinds()), hp=cls, lr=cls.lr,
        loss=lambda batch, hp: hp.loss(batch),
        choose=lambda rows, hp: (hp or default).choose(rows),
        forward=lambda model, batch, hp: hp.forward(model, batch), reference=cls.reference,
        first=cls.first, coupled=cls.coupled, reward=cls.scorer,
        prepare=(lambda data, models, hp, seed: hp.prepare(data, models, seed))
        if cls.prepare is not new.Objective.prepare else None,
        credit=(lambda batch, hp: hp.credit(batch)) if default.on_policy else None,
        value_head=cls.setup is not new.Objective.setup and default.on_policy)
