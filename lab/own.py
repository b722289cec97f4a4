"""Answers of a model as data of a cell: sampled once, scored, kept, read by every row that learns from them.

    own = Own(sft, prompts=250)                     # 4 answers to each of 250 new prompts: 1,000 scored answers
    Cell(("--objective", "dpo", "--data", "{own}/pairs.jsonl"), seed=0, start=sft, own=own)

The files are those of rollout/harvest.py, and shown.jsonl beside them: the demonstrations that the model itself was
trained on, for methods that read both. With `labelled`, nobody scores these answers: a reward model does. It is
trained first, on so many pairs of the model's answers; the exact score says which one is better.
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nanouft import reward, world
from nanouft.rollout import harvest
from nanouft.shell.files import Lines, checksum, made_once
from nanouft.shell.streams import harvest_prompt_seed

APART = harvest_prompt_seed(0)           # added to a seed: prompts drawn apart from the demonstrations of that seed


@dataclass(frozen=True)
class Own:
    """Who answers, and how many prompts. rows, noise: of the demonstrations in shown.jsonl."""
    model: object               # a Cell
    prompts: int
    seed: int = 0
    samples: int = 4
    labelled: int = 0           # pairs that the reward model learns from; 0: the exact score
    rows: int = 0
    noise: float = 0.0

    @property
    def key(self) -> str:
        about = (self.model.model_key, self.prompts, self.seed, self.samples, self.labelled, self.rows, self.noise)
        return checksum(repr(about))[:16]

    @property
    def reward_key(self) -> str:
        return checksum(repr((self.model.model_key, self.labelled, self.seed)))[:16]


def reward_folder(own: Own, init: str, keep: Path, spending: Callable) -> Path:
    """The reward model of `own`, trained once; its pairs are drawn from prompts of their own."""
    def make(place: Path) -> None:
        with spending(place):
            reward.main(["--init", init, "--pairs", "samples", "--rows", str(own.labelled), "--seed",
                         str(2 * APART + own.seed), "--threads", "1", "--device", "cpu", "--out", str(place)])
    return made_once(keep / f"reward-{own.reward_key}", make)


def folder_of_own(own: Own, init: str, keep: Path, spending: Callable) -> Path:
    """The folder of the files, made once. init: the folder of the model that answers; spending(place) writes down what
    is computed."""
    scored = ["--reward", str(reward_folder(own, init, keep, spending))] if own.labelled else []

    def make(place: Path) -> None:
        with spending(place):
            harvest.main(["--init", init, "--prompts", str(own.prompts), "--samples", str(own.samples), "--seed",
                          str(own.seed), "--threads", "1", "--device", "cpu", "--out", str(place), *scored])
        if own.rows:
            Lines(place / "shown.jsonl").rewrite([
                {"prompt": r.prompt[-1].text, "response": r.answer[0].text}
                for r in world.rows("train", "demos", own.rows, own.seed, own.noise)])
    return made_once(keep / f"own-{own.key}", make, done="harvest.json")
