"""The twelve stories of the gallery as data: the two runs, and the figure in which the mistake is seen.

The words are in lab/pages/gallery.md, a section a story, in the same order. {bad[mean]:.0%} there is a figure of the
faulty run, {good[mean]:.0%} of the repaired one; curves end in figures, too. Titles tell what is seen, not why.
"""
import shlex
from dataclasses import dataclass
from pathlib import Path

SFT = "--objective sft"
DPO = "--objective dpo"
RLOO = ("--objective rloo --lr 1e-4 --steps 40 --batch-size 16 --skills truth,unknown,fact --eval-every 0 "
        "--show-every 0")
FEW = "--objective sft --rows 30 --batch-size 15 --lr 1e-3"
HERE = "lab/"               # in flags: this folder, wherever a command is called
LOSSES = (("loss", "held_out.nll"),)
EVERY = 12                          # steps between two points of a held-out curve
Panels = tuple[tuple[str, ...], ...]        # curves that share a panel


@dataclass(frozen=True)
class Run:
    """A run of train: its flags, the run that it starts from [the base], and mistakes planted while it trains (fault)
    or while the trained model is asked (asked): names in gallery_faults.FAULTS."""
    flags: str
    after: "Run | None" = None
    fault: str = ""
    asked: str = ""

    @property
    def every_flag(self) -> str:
        """The flags, and how often the held-out rows are asked, if they do not say it."""
        return self.flags + ("" if "--eval-every" in self.flags else f" --eval-every {EVERY}")

    @property
    def argv(self) -> list[str]:
        return shlex.split(self.every_flag.replace(HERE, f"{Path(__file__).parent.as_posix()}/"))

    @property
    def planted(self) -> str:
        """The mistake that no flag makes, if there is one."""
        return self.fault or self.asked


@dataclass(frozen=True)
class Story:
    name: str
    lesson: str                         # number of the lesson that explains it
    faulty: Run
    repaired: Run
    figure: str                         # the fault is seen in this figure ...
    gap: float                          # ... which the repair changes by at least this much, in this direction
    panels: Panels = LOSSES
    families: tuple[str, str, str] = ("list", "sort", "fact")       # whose first prompts are asked
    unseen: tuple[str, ...] = ()        # curves that the author did not have: drawn only with the repair, dashed

    @property
    def runs(self) -> dict[str, Run]:
        return {"faulty": self.faulty, "repaired": self.repaired}

    @property
    def seen(self) -> Panels:
        """The panels with the curves that the author had."""
        return tuple(tuple(name for name in panel if name not in self.unseen) for panel in self.panels)

    def shows(self, made: dict) -> bool:
        """Is the fault seen in the faulty run and gone in the repaired one?"""
        change = made["repaired"]["figures"][self.figure] - made["faulty"]["figures"][self.figure]
        return change >= self.gap if self.gap > 0 else change <= self.gap


STORIES = (
    Story("endless", "03", Run(SFT, fault="no end token"), Run(SFT), "stops", 0.5),
    Story("nothing", "01", Run(SFT, fault="targets not shifted"), Run(SFT), "mean", 0.3),
    Story("certain", "03", Run(SFT, fault="mask too late"), Run(SFT), "unknown", 0.15,
          families=("unknown", "fact", "sort")),
    Story("strangers", "00", Run(SFT, asked="other template"), Run(SFT), "mean", 0.3,
          families=("sum", "truth", "fact")),
    Story("stutter", "00", Run(SFT + " --lr 3e-2"), Run(SFT), "mean", 0.3),
    Story("waves", "16", Run(SFT, fault="sorted by task"), Run(SFT), "mean", 0.07,
          families=("reverse", "sum", "unknown")),
    Story("scissors", "16", Run(FEW + " --steps 200"), Run(FEW + " --steps 10 --eval-every 2"), "held_out.nll", -0.2,
          families=("sum", "sort", "fact")),
    Story("halfway", "11", Run(SFT + " --noise 0.4"), Run(SFT + " --noise 0.4 --keep 0.6"), "mean", 0.05,
          families=("truth", "sort", "reverse")),
    Story("modest", "07", Run(DPO, Run(SFT)), Run(DPO + " --beta 10", Run(SFT)), "fact", 0.4, (("loss",),
          ("accuracy", "held_out.accuracy")), ("fact", "truth", "sort")),
    Story("flat", "07", Run(DPO + " --beta 10", Run(SFT), fault="moving reference"), Run(DPO + " --beta 10",
          Run(SFT)), "fact", 0.4, (("loss",), ("held_out.logp_chosen",)), ("fact", "truth", "sort")),
    Story("backwards", "07", Run(DPO, fault="columns swapped"), Run(DPO), "held_out.accuracy", 0.4, (("loss",),
          ("accuracy", "held_out.accuracy")), ("sort", "sum", "truth")),
    Story("perfect", "13", Run(RLOO + " --reward lab/gallery_faults.py:never_wrong", Run(SFT)), Run(RLOO, Run(SFT)),
          "fact", 0.4, (("reward", "score"),), ("fact", "truth", "unknown"), unseen=("score",)),
)
