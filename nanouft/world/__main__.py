"""Show NanoWorld: every family with a right and a wrong answer, then some documents of the pretraining corpus.

    python -m nanouft.world [--seed N] [--n N]        under a second; plain ASCII, 80 columns
    python -m nanouft.world --demos 100 --out FILE    training demonstrations as rows that train --data reads

The prompts are validation prompts, so that nobody gets to know the test by looking.
"""
import random
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from nanouft.errors import UserError, in_range
from nanouft.run import config
from nanouft.run.storage import Lines
from nanouft.world import FAMILIES, corrupt, rows, score
from nanouft.world.documents import corpus

ABOUT = {
    "rules": "several small instructions at once",
    "rules_new": "the same instructions, in combinations never shown in training",
    "list": "an open list under five constraints",
    "sum": "a running sum: an early slip costs the rest",
    "sort": "alphabetical order",
    "reverse": "from last to first",
    "truth": "a popular myth against what the book says",
    "unknown": "a name that nobody knows",
    "fact": "undisputed knowledge, to be kept",
}
ROLE_NAMES = {"text": "", "user": "<|user|> ", "assistant": "<|assistant|> "}


def line(label: str, text: str) -> str:
    """A label in the margin and a text beside it, wrapped to the console."""
    return textwrap.fill(text, 78, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14)


def show_family(family: str, n: int, seed: int) -> None:
    """Print n prompts of one family, each with its reference answer, a wrong answer, and their scores."""
    print(f"{family}: {ABOUT[family]}")
    for row in rows("val", "prompts", n, seed, skills=[family]):
        prompt, right = row.prompt[0].text, row.answer[0].text
        wrong = corrupt(random.Random(f"show {seed} {prompt}"), prompt)
        print(line("prompt", prompt))
        print(line(f"right  {score(prompt, right):.2f}", right))
        print(line(f"wrong  {score(prompt, wrong):.2f}", wrong))
        print()


@dataclass
class Show:
    seed: int = 0                   # draw other examples
    n: int = 1                      # examples a family
    demos: int = 0                  # instead: write so many training demonstrations, those of train with this --seed
    noise: float = 0.0              # share of these that are wrong
    right: bool = False             # keep the right ones alone, as a judge of the demonstrations would
    out: str = "out/demos.jsonl"    # their file


def main(argv: list[str] | None = None) -> int:
    cfg, given = config.parse(Show, argv, "python -m nanouft.world",
                          "Show examples of NanoWorld: prompts, answers, exact scores.")
    in_range(cfg, "n", low=1, high=1_000)
    in_range(cfg, "demos", high=100_000)
    in_range(cfg, "noise", high=1)
    if not cfg.demos and (idle := sorted(given & {"noise", "right", "out"})):
        raise UserError(f"--{idle[0]} belongs to --demos")
    if cfg.demos:
        Path(cfg.out).parent.mkdir(parents=True, exist_ok=True)
        demos = [(r.prompt[0].text, r.answer[0].text)
                 for r in rows("train", "demos", cfg.demos, cfg.seed, cfg.noise)]
        kept = [(prompt, answer) for prompt, answer in demos if not cfg.right or score(prompt, answer) == 1]
        Lines(Path(cfg.out)).rewrite([{"prompt": prompt, "response": answer} for prompt, answer in kept])
        print(f"{cfg.out}: {len(kept):,} demonstrations")
        return 0
    print("NanoWorld\n=========\n\nThe families, with the exact score of an answer from 0 to 1\n")
    for family in FAMILIES:
        show_family(family, cfg.n, cfg.seed)
    print("Documents of the pretraining corpus (half of the answers are lazy on purpose)\n")
    for number, document in enumerate(corpus(cfg.seed, 10 * cfg.n), 1):
        print(line(str(number), " ".join(ROLE_NAMES[turn.role] + turn.text for turn in document) + " <|end|>"))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
