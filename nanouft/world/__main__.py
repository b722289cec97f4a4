"""Show NanoWorld: every family with a right and a wrong answer, and documents of the corpus.

    python -m nanouft.world [--seed N] [--n N]        # under a second; plain ASCII, 80 columns
    python -m nanouft.world --demos 100 --out FILE    # training demonstrations, for train --data

The prompts are validation prompts, so that nobody sees the test.
"""
import random
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from nanouft.errors import UserError, in_range, say
from nanouft.run import config
from nanouft.run.storage import Lines
from nanouft.world import FAMILIES, corrupt, reference, rows, score
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


def show(label: str, text: str) -> None:
    """Print a label in the margin and a text beside it, wrapped to the console."""
    say(textwrap.fill(text, 78, initial_indent=f"  {label:<12}", subsequent_indent=" " * 14))


def show_family(family: str, n: int, seed: int) -> None:
    """Print n prompts of a family, each with its reference, a wrong answer, and their scores."""
    say(f"{family}: {ABOUT[family]}")
    for row in rows("val", "prompts", n, seed, skills=[family]):
        prompt = row.prompt[0].text
        right = reference(prompt)
        wrong = corrupt(random.Random(f"show {seed} {prompt}"), prompt)
        show("prompt", prompt)
        show(f"right  {score(prompt, right):.2f}", right)
        show(f"wrong  {score(prompt, wrong):.2f}", wrong)
        say()


@dataclass
class Show:
    seed: int = 0                   # draws other examples
    n: int = 1                      # examples per family
    demos: int = 0                  # write this many of train's demonstrations instead
    noise: float = 0.0              # share of them that is wrong
    right: bool = False             # keep only the right ones
    out: str = "out/demos.jsonl"    # their file


def write_demos(cfg: Show) -> None:
    """Write demonstrations as JSON lines."""
    lines = []
    for row in rows("train", "demos", cfg.demos, cfg.seed, cfg.noise):
        prompt = row.prompt[0].text
        for answer in row.answer or ():
            if not cfg.right or score(prompt, answer.text) == 1:
                lines.append({"prompt": prompt, "response": answer.text})
    file = Path(cfg.out)
    Lines(file).rewrite(lines)
    say(f"{file}: {len(lines):,} demonstrations")


def main(argv: list[str] | None = None) -> int:
    cfg, given = config.parse(Show, argv, "python -m nanouft.world", __doc__)
    in_range(cfg, "n", low=1, high=1_000)
    in_range(cfg, "demos", high=100_000)
    in_range(cfg, "noise", high=1)
    if cfg.demos:
        write_demos(cfg)
        return 0
    if idle := sorted(given & {"noise", "right", "out"}):
        raise UserError(f"--{idle[0]} belongs to --demos")
    say("NanoWorld\n=========\n\n"
        "The families, with the exact score of an answer from 0 to 1\n")
    for family in FAMILIES:
        show_family(family, cfg.n, cfg.seed)
    say("Documents of the pretraining corpus (half of the answers are lazy on purpose)\n")
    for number, document in enumerate(corpus(cfg.seed, 10 * cfg.n), 1):
        turns = [ROLE_NAMES[turn.role] + turn.text for turn in document]
        show(str(number), " ".join(turns) + " <|end|>")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
