"""Which lessons there are: README's list by subject, and the table of lessons/README.md with
question, papers and minutes.

    python -m lessons.table             # writes both between their marks

QUESTIONS is the only list of lessons; a copy beside them, such as lessons/05_my_copy.py, can be run
but is not counted as one. Title, minutes and papers are read from the first lines of each lesson;
the question, in a sentence that needs no lesson before it, stands here.
"""
import argparse
import re
import sys
from pathlib import Path

from lessons.marks import written
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
OWN = HERE / "README.md"
SUBJECTS = {                            # README's list
    "Basics": "00 01 02", "IFT": "03 04 05 06", "Preferences": "07 08", "UNA, UFT, PoFT": "09 10",
    "Rewards": "11 12 15 16", "Judging results": "13 14 17"}
QUESTIONS = {                           # file: the question it answers
    "00_whole_game":
        "Which of two losses teaches a model to stop, and can you tell from one training step?",
    "01_a_model_that_talks": "What does a GPT compute, and what must it not see?",
    "02_which_tokens_count":
        "Which tokens of a row should the loss count, and what happens if it counts others?",
    "03_language_as_a_walk": "What does a model do one step beside the path that it was shown?",
    "04_models_own_guess":
        "What changes if a model reads its own guesses while it learns from right answers?",
    "05_better_estimate":
        "Does mixing in its guesses estimate what a model can do better than SFT does?",
    "06_what_follows_weighs": "What happens if a word weighs by the losses that follow it?",
    "07_pairs_in_place_of_a_reward":
        "How can pairs replace a reward, and why may the better answer become less likely?",
    "08_relatives_of_dpo":
        "What keeps the better answer from becoming less likely, in the relatives of DPO?",
    "09_one_number_for_an_answer": "Can one score for one answer replace pairs, and SFT as well?",
    "10_which_demonstration_is_wrong": "Can a second model tell which demonstration is wrong?",
    "11_searching_with_a_reward":
        "What does a search for high rewards find that the reward model never saw?",
    "12_learning_from_a_score":
        "How does a model learn from nothing but the scores of its own answers?",
    "13_without_forgetting":
        "What does fine-tuning make a model forget, and what can it still say?",
    "14_would_you_publish_this": "The best of 38 recipes on one seed: would you publish it?",
    "15_ppo": "What does a critic add, and at what price?",
    "16_does_it_think": "Does a reward for the result make a model write its steps down?",
    "17_a_real_model": "Which of this holds on a real model?",
}
LESSONS = [HERE / f"{name}.py" for name in QUESTIONS]


def lesson_file(number: str) -> Path:
    """"04" -> lessons/04_models_own_guess.py."""
    return next(file for file in LESSONS if file.name[:2] == number)


def head_of(file: Path) -> tuple[str, str]:
    """("04 · The model's own guess", the lines in italics below it) of a lesson."""
    lines = file.read_text(encoding="utf-8").splitlines()
    below = " ".join(line.removeprefix("#").strip() for line in lines[2:8])
    return lines[1].removeprefix("# # "), below.split("*")[1]


def row(file: Path) -> str:
    title, below = head_of(file)
    minutes = re.search(r"about (\d+) minutes", below, re.I)
    papers = ", ".join(f"[{x}](https://arxiv.org/abs/{x})"
                       for x in dict.fromkeys(re.findall(r"\d{4}\.\d{5}", below)))
    return (f"| [{title.replace(' · ', ' ')}]({file.name}) | {QUESTIONS[file.stem]} "
            f"| {papers} | {minutes[1] if minutes else ''} |")


def table() -> str:
    return "\n".join(["| lesson | the question it answers | papers | minutes to read and run |",
                      "|---|---|---|---|", *map(row, LESSONS)]) + "\n"


def by_subject() -> str:
    """README's list."""
    out = ["| subject | lessons |", "|---|---|"]
    for subject, numbers in SUBJECTS.items():
        files = map(lesson_file, numbers.split())
        out.append(f"| **{subject}** | " + " · ".join(
            f"[{head_of(file)[0].replace(' · ', ' ')}](lessons/{file.name})" for file in files)
            + " |")
    return "\n".join(out) + "\n"


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m lessons.table", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    for file, text in ((README, by_subject()), (OWN, table())):
        page = file.read_text(encoding="utf-8")
        file.write_text(written(page, "lessons", text), encoding="utf-8")
    say(f"README.md, lessons/README.md: {len(QUESTIONS)} lessons")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
