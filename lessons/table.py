"""README's table of lessons: number, question, paper, minutes.

    python -m lessons.table             # writes it between its two marks in README.md

Title, minutes and papers are read from the first lines of each lesson; the question, in a sentence
that needs no lesson before it, stands here.
"""
import argparse
import re
import sys
from pathlib import Path

from lessons.marks import written
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
QUESTIONS = {
    "00": "Which of two losses teaches a model to stop, and can you tell from one training step?",
    "01": "What does a GPT compute, and what must it not see?",
    "02": "Which tokens of a row should the loss count, and what happens if it counts others?",
    "03": "What does a model do one step beside the path that it was shown?",
    "04": "What changes if a model reads its own guesses while it learns from right answers?",
    "05": "Does mixing in its guesses estimate what a model can do better than SFT does?",
    "06": "What happens if a word weighs by the losses that follow it?",
    "07": "How can pairs replace a reward, and why may the better answer become less likely?",
    "08": "What keeps the better answer from becoming less likely, in the relatives of DPO?",
    "09": "Can one score for one answer replace pairs, and SFT as well?",
    "10": "Can a second model tell which demonstration is wrong?",
    "11": "What does a search for high rewards find that the reward model never saw?",
    "12": "How does a model learn from nothing but the scores of its own answers?",
    "13": "What does fine-tuning make a model forget, and what can it still say?",
    "14": "The best of 38 recipes on one seed: would you publish it?",
    "15": "What does a critic add, and at what price?",
    "16": "Does a reward for the result make a model write its steps down?",
    "17": "Which of this holds on a real model?",
}


def head_of(file: Path) -> tuple[str, str]:
    """("04 · The model's own guess", the lines in italics below it) of a lesson."""
    lines = file.read_text(encoding="utf-8").splitlines()
    below = " ".join(line.removeprefix("#").strip() for line in lines[2:8])
    return lines[1].removeprefix("# # "), below.split("*")[1]


def row(file: Path) -> str:
    number = file.name[:2]
    title, below = head_of(file)
    minutes = re.search(r"about (\d+) minutes", below, re.I)
    papers = ", ".join(f"[{x}](https://arxiv.org/abs/{x})"
                       for x in dict.fromkeys(re.findall(r"\d{4}\.\d{5}", below)))
    return (f"| [{title.replace(' · ', ' ')}](lessons/{file.name}) | {QUESTIONS[number]} "
            f"| {papers} | {minutes[1] if minutes else ''} |")


def table() -> str:
    rows = [row(file) for file in sorted(HERE.glob("[0-9][0-9]_*.py"))]
    return "\n".join(["| lesson | the question it answers | papers | minutes to read and run |",
                      "|---|---|---|---|", *rows]) + "\n"


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m lessons.table", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    page = README.read_text(encoding="utf-8")
    README.write_text(written(page, "lessons", table()), encoding="utf-8")
    say(f"README.md: {len(QUESTIONS)} lessons")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
