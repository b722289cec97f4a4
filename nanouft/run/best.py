"""Which step of a run is kept, by the held-out loss: the last one before the loss rises.

    best = Best(log.file)                       # what a resumed run has seen so far is in its log
    if best.look(step, loss): ...               # as good as any so far: save this step
    if best.rises: break

A loss that is a tenth above the lowest still counts as good. A model that has become sure pays more
for its few wrong words, while more of its answers are right (docs/LOG.md: 20 rows).
"""
from pathlib import Path

from nanouft.run.storage import Lines

SLACK = 0.1             # above the lowest loss, as a share of it
PATIENCE = 3            # looks above that, and the run stops


class Best:
    """`step`: the one to keep, 0 before the first look. `lowest`: the lowest loss."""

    def __init__(self, log: Path):
        self.step, self.lowest, self.above = 0, float("inf"), 0
        for step, loss in looks(log):
            self.look(step, loss)

    def look(self, step: int, loss: float) -> bool:
        """Is this step as good as any so far?"""
        self.lowest = min(self.lowest, loss)
        good = loss <= (1 + SLACK) * self.lowest
        self.step = step if good else self.step
        self.above = 0 if good else self.above + 1
        return good

    @property
    def rises(self) -> bool:
        return self.above >= PATIENCE


def looks(log: Path) -> list[tuple[int, float]]:
    """(step, held-out nats per token) of each look, as metrics.jsonl has them."""
    return [(line["step"], line["held_out"]["nll"]) for line in Lines(log).read()
            if "nll" in line.get("held_out", ())]
