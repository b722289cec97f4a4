"""Answers of a model as data of a cell: sampled once, scored, kept, read by every row that learns
from them.

    own = Own(sft, prompts=250)  # 4 answers to each of 250 new prompts: 1,000 scored answers
    Cell(("--objective", "dpo", "--data", "{own}/pairs.jsonl"), seed=0, start=sft, own=own)

The files are those of rewards/harvest.py. With `labelled`, nobody scores these answers: a reward
model does. It is trained first, on so many pairs of the model's answers; the exact score says which
one is better. With `errs` the judge errs in so many of a hundred answers. Without prompts nobody
answers: then the folder holds the demonstrations that a judge finds right.
"""
from dataclasses import dataclass

from lab import sums
from nanouft.run.storage import checksum
from nanouft.seeds import harvest_prompt_seed

KEPT_RIGHT = "right.jsonl"
# added to a seed: prompts drawn apart from the demonstrations of that seed
APART = harvest_prompt_seed(0)


@dataclass(frozen=True)
class Own:
    """Who answers, and how many prompts. rows, noise: of the demonstrations that the model was
    trained on."""
    model: object               # a Cell
    prompts: int
    seed: int = 0
    samples: int = 4
    labelled: int = 0           # pairs that the reward model learns from; 0: the exact score
    rows: int = 0
    noise: float = 0.0
    errs: int = 0               # of a hundred judgements: 5, 15 or 30
    good: float | None = None   # the least score of a good answer [1]
    form: str = ""              # "graded" or "mixed": files of one study (own_files.py)

    @property
    def key(self) -> str:
        about = (self.model.model_key, self.prompts, self.seed, self.samples, self.labelled,
                 self.rows, self.noise)
        more = (self.errs,) * bool(self.errs) + (f"good {self.good}",) * (self.good is not None)
        more += (self.form,) * bool(self.form)
        return checksum(repr(about + more))[:16]

    @property
    def judge(self) -> str:
        """The --reward of a judge who errs, or of the second world's; "" for the exact score."""
        if self.errs:
            return f"{'lab/sums.py' if self.model.world else sums.ERRS}:errs_{self.errs}"
        return sums.RIGHT if self.model.world else ""

    @property
    def reward_key(self) -> str:
        return checksum(repr((self.model.model_key, self.labelled, self.seed)))[:16]
