"""The twelve stories of the gallery as data: the two runs, and the figure in which the mistake is seen.

The words are in lab/pages/gallery.md, a section a story, in the same order. {bad[mean]:.0%} there is a figure of the
faulty run, {good[mean]:.0%} of the repaired one; curves end in figures, too. Titles tell what is seen, not why.
"""
from dataclasses import dataclass

SFT = "--objective sft"
DPO = "--objective dpo"
RLOO = ("--objective rloo --lr 1e-4 --steps 40 --batch-size 16 --skills truth,unknown,fact --eval-every 0 "
        "--show-every 0")
FEW = "--objective sft --rows 30 --batch-size 15 --lr 1e-3"
LOSSES, WON = (("loss", "held_out.nll"),), (("loss",), ("accuracy", "held_out.accuracy"))
Panels = tuple[tuple[str, ...], ...]        # curves that share a panel


@dataclass(frozen=True)
class Story:
    name: str
    lesson: str                         # number of the lesson that explains it
    faulty: str                         # flags of train
    repaired: str
    figure: str                         # the fault is seen in this figure ...
    gap: float                          # ... which the repair changes by at least this much, in this direction
    panels: Panels = LOSSES
    families: tuple[str, str, str] = ("list", "sort", "fact")       # whose first prompts are asked
    fault: str = ""                     # planted while the faulty run trains: a name in gallery_faults.FAULTS
    asked: str = ""                     # planted while its model is asked
    after: str = ""                     # flags of the run that both start from [the base]
    unseen: tuple[str, ...] = ()        # curves that the author did not have: drawn only with the repair, dashed

    @property
    def seen(self) -> Panels:
        """The panels with the curves that the author had."""
        return tuple(tuple(name for name in panel if name not in self.unseen) for panel in self.panels)

    def shows(self, made: dict) -> bool:
        """Is the fault seen in the faulty run and gone in the repaired one?"""
        change = made["repaired"]["figures"][self.figure] - made["faulty"]["figures"][self.figure]
        return change >= self.gap if self.gap > 0 else change <= self.gap


STORIES = (
    Story("endless", "03", SFT, SFT, "stops", 0.5, fault="no end token"),
    Story("nothing", "01", SFT, SFT, "mean", 0.3, fault="targets not shifted"),
    Story("certain", "03", SFT, SFT, "unknown", 0.15, LOSSES, ("unknown", "fact", "sort"), fault="mask too late"),
    Story("strangers", "00", SFT, SFT, "mean", 0.3, LOSSES, ("sum", "truth", "fact"), asked="other template"),
    Story("stutter", "00", f"{SFT} --lr 3e-2", SFT, "mean", 0.3),
    Story("waves", "16", SFT, SFT, "mean", 0.07, LOSSES, ("reverse", "sum", "unknown"), fault="sorted by task"),
    Story("scissors", "16", f"{FEW} --steps 200", f"{FEW} --steps 10 --eval-every 2", "held_out.nll", -0.2, LOSSES,
          ("sum", "sort", "fact")),
    Story("halfway", "11", f"{SFT} --noise 0.4", f"{SFT} --noise 0.4 --keep 0.6", "mean", 0.05, LOSSES,
          ("truth", "sort", "reverse")),
    Story("modest", "07", DPO, f"{DPO} --beta 10", "fact", 0.4, WON, ("fact", "truth", "sort"), after=SFT),
    Story("flat", "07", f"{DPO} --beta 10", f"{DPO} --beta 10", "fact", 0.4, (("loss",), ("held_out.logp_chosen",)),
          ("fact", "truth", "sort"), fault="moving reference", after=SFT),
    Story("backwards", "07", DPO, DPO, "held_out.accuracy", 0.4, WON, ("sort", "sum", "truth"),
          fault="columns swapped"),
    Story("perfect", "13", f"{RLOO} --reward lab/gallery_faults.py:never_wrong", RLOO, "fact", 0.4,
          (("reward", "score"),), ("fact", "truth", "unknown"), after=SFT, unseen=("score",)),
)
