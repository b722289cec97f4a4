"""An objective: a pure loss over batches, its settings, and what it declares about itself.

Each file in objectives/ holds one. A training step uses it like this:

    objective = OBJECTIVES["dpo"](beta=0.2)     # objectives/dpo.py, with its settings
    batch = collate(encoded, picked, tok.pad)   # data/batches.py: these rows
    objective.forward(model, batch)             # writes Seqs.logp; here the network is called
    loss, metrics = objective.loss(batch)       # a function of numbers; no network in it

Three rules let one interface serve every method:
1. A loss never calls another model. Its numbers are computed earlier and stored beside the tokens:
   before training (run/reference.py), or when answers are sampled (rollout.py). Many methods share
   Seqs.ref_logp. Numbers that only one method reads are prepared in its own file.
2. A method reaches the network only in its `forward`: by a GPT's forward, head, greedy and wte.
3. A loss is a sum over rows or tokens, divided by the total of the WHOLE step. So the losses of a
   step's micro-batches (--accumulate) add up to the loss of the step.
"""
import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any, ClassVar, dataclass_transform, get_type_hints

from torch import Tensor

from nanouft.batch import Batch, write_logp
from nanouft.data.selection import CHOOSE
from nanouft.plumbing.errors import nearest
from nanouft.plumbing.ranges import Range, check_ranges, ranges_of, strip_annotations

# The range of a setting that is a number; others likewise, Annotated[float, Range(below=1)].
Positive = Annotated[float, Range(above=0)]
AtLeast0 = Annotated[float, Range(at_least=0)]
Share = Annotated[float, Range(at_least=0, at_most=1)]
AnyNumber = Annotated[float, Range()]
Count = Annotated[int, Range(at_least=1)]
GroupSize = Annotated[int, Range(at_least=2)]   # answers to one prompt that are compared


@dataclass(frozen=True)
class FirstModels:
    """Models that must be trained once, before the method. A setting holds their folders."""
    setting: str                        # name of that setting
    what: str                           # the models in words
    flags: tuple[str, ...]              # for each model: the flags of train that make it
    inherits: bool = True               # True: they take initial model, rows and seed from the run

    def stand_in(self, folder: str) -> dict[str, list[str]]:
        """The setting with one model instead of them all, to show a method without training
        them."""
        return {self.setting: [folder] * len(self.flags)}


def row_by_row(prepare: Callable) -> Callable:
    """A mark for a `prepare` that writes numbers beside the tokens of each row by itself and
    returns the same rows. It gets only those rows that a step will read."""
    prepare.row_by_row = True           # type: ignore[attr-defined]
    return prepare


@dataclass_transform()
@dataclass
class Objective:
    """One method; an object holds its settings. Each subclass becomes a dataclass:

        class Mine(Objective):
            lr = 1e-4                   # no type: a property of the method
            beta: Positive = 0.1        # with a type: a setting, and a flag; this is its help

            def loss(self, batch): ...

    A subclass overrides whatever differs. The names of its private methods start with _."""
    data = "demos"                      # kinds of rows that it learns from, as in "demos + scores"
    lr = 2.5e-4                         # default learning rate, chosen on NanoWorld's validation
    reference = False                   # True: loss or credit read the reference's log-probs
    coupled = False                     # True: the loss of a row reads other rows' log-probs
    reads_sums = False                  # True: it reads only their sums, without gradient
    first_models: ClassVar[FirstModels | None] = None   # models that must be trained before it
    scorer = "any"      # the range of its rewards, not a function: "any", "grade" 0..1, "none"
    demo = "own"                        # a prompt's demonstration: its "own", or "any" in turn
    measures_demos = True               # False: it reads only the policy's log-probs of these
    contrary = False                    # True: it may push a better answer down; the head says why
    about = ""                          # a run prints this first, where the name could mislead
    # A method with "prompts" in its data is on-policy. It may turn these three into settings.
    samples = 1                         # answers to each prompt
    minibatches = 1                     # optimizer steps that a rollout is cut into
    passes = 1                          # how often a rollout is used

    def __init_subclass__(cls, hooks: tuple[str, ...] = ()) -> None:
        """Make the dataclass. TypeError for what Python would not report: a public name that no
        objective has, a setting without a type or a default, and a method with other arguments.
        hooks: new public methods that subclasses may override."""
        settings, typed = {f.name for f in fields(cls)}, inspect.get_annotations(cls)
        known = {name for base in cls.__mro__[1:] for name in vars(base)} - settings
        for name, value in vars(cls).items():
            if name in settings - typed.keys():
                base = next(x for x in cls.__mro__[1:] if name in inspect.get_annotations(x))
                kind = inspect.formatannotation(strip_annotations(get_type_hints(base)[name])[0])
                raise TypeError(f"{name}: is a setting of {base.__name__}, and lacks its type: "
                                f"`{name}: {kind} = {value!r}`")
            if name[0] != "_" and name not in known | typed.keys() | {*hooks}:
                raise TypeError(f"{name} is not part of an objective{nearest(name, known)}: a "
                                f"setting needs a type, `{name}: float = ...`; a helper of your "
                                "own begins with _")
            if inspect.isfunction(value) and name in known:
                expected, found = ([*inspect.signature(f).parameters]
                                   for f in (getattr(cls.__mro__[1], name), value))
                if len(expected) != len(found):
                    raise TypeError(f"{name}({', '.join(found)}): it must be "
                                    f"{name}({', '.join(expected)})")
        if missing := [name for name in typed if name not in vars(cls)]:
            raise TypeError(f"{missing[0]}: a setting needs a default, `{missing[0]}: float = 0.1`")
        ranges_of(cls)                          # TypeError for one that cannot be read
        dataclass(cls)

    @property
    def name(self) -> str:
        """The name of its file, such as "dpo"; of a class in a notebook its own."""
        name = type(self).__module__.rpartition(".")[2]
        return type(self).__name__.lower() if name == "__main__" else name

    def __str__(self) -> str:
        """Its name in results."""
        return self.name

    def check(self) -> None:
        """UserError for settings that make no sense. Called before any training. A subclass calls
        super().check(), then refuses settings that do not fit each other."""
        check_ranges(self)

    def kinds(self) -> list[str]:
        """The kinds of rows that it learns from with these settings: ["demos", "scores"]."""
        return self.data.split(" + ")

    def other_models(self) -> list[str]:
        """The other models that it needs, in words."""
        needs = ["the reference's log-probs"] if self.reference else []
        return [*needs, self.first_models.what] if self.first_models else needs

    @property
    def on_policy(self) -> bool:
        """True if it learns from answers that the model samples."""
        return "prompts" in self.kinds()

    @property
    def family(self) -> str:
        """The family of methods that it belongs to, by what it learns from: "demos", "pairs",
        "graded" (answers with scores or labels, and perhaps demonstrations) or "sampled"."""
        if self.on_policy:
            return "sampled"
        return {"demos": "demos", "pairs": "pairs"}.get(" + ".join(self.kinds()), "graded")

    def setup(self, model: Any, seed: int) -> None:
        """Change the initial model before training: add a head, freeze weights. Called before the
        optimizer is made. A second call with the same seed changes nothing."""

    def choose(self, rows: list) -> list:
        """The rows that it learns from, with their roles: by default all rows of its kind."""
        return CHOOSE[" + ".join(self.kinds())](rows)

    @row_by_row
    def prepare(self, data: list, models: Any, seed: int) -> list:
        """Write numbers of other models into `per_row` and `extra` of the encoded rows. It gets all
        rows, and may return others, unless it is marked with row_by_row."""
        return data

    def credit(self, batch: Batch) -> tuple[Batch, dict]:
        """On-policy: turn the rewards of a whole rollout into advantages, returns or pairs. Returns
        the rollout with them, and metrics."""
        return batch, {}

    def forward(self, model: Any, batch: Batch) -> None:
        """Write `logp`, perhaps an `extra`. Only here does a training step call the network. The
        model is a GPT, or is called like one, as a policy of frozen_lake is."""
        write_logp(model, batch)

    @abstractmethod
    def loss(self, batch: Batch) -> tuple[Tensor, dict]:
        """(scalar, metrics): sums over rows or tokens, divided by totals of the whole step."""
        raise NotImplementedError
