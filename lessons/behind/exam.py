"""Questions on earlier lessons, with their answers: an exam on paper, or a quiz to begin a class.

    python -m lessons exam --seed 71                    # eight questions of the whole course
    python -m lessons exam --before 09 --questions 3    # a quiz before lesson 09

A question is one of the two at the end of a lesson, or a part of mine.py that takes numbers: what
does this function give for them? A seed draws questions and numbers, and the key computes the
answer; a pocket calculator is enough. The questions are printed. They and their answers are written
into a folder of out/exam with the number of the seed, which must be new: you may have changed words
there. Students can read this file, too: keep the seed of an exam to yourself.
"""
import argparse
import re
import sys
from pathlib import Path
from random import Random
from textwrap import indent
from typing import NamedTuple

from lessons.behind.lesson_list import NUMBERS, PARTS, contracts, lesson_head
from lessons.behind.tasks.call import plain, shown
from lessons.behind.tasks.simple_parts import Part
from lessons.behind.tasks.task import Draw, tasks
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.files import read_text, write_text
from nanouft.plumbing.printing import say

OUT = Path("out/exam")
ANSWERS = "<details><summary>Answers</summary>"
HEAD = "Three digits are enough; logarithms are natural.\n"
NUMERIC = [name for name in PARTS if not isinstance(tasks()[name], Part)]       # of simple.py: none


class Question(NamedTuple):
    lesson: str
    asked: str
    answer: str


def numeric_question(name: str, seed: int) -> Question:
    """A part with drawn inputs: neither small, which may be no work, nor large. Its text is the
    contract of its lesson."""
    task, lesson = tasks()[name], PARTS[name]
    cases = [task.draw(Draw(f"{seed} {k}")) for k in range(7)]
    case = sorted(cases, key=lambda case: len(task.show(case)))[2]
    text = indent(contracts(NUMBERS[lesson])[name], "    ")
    return Question(lesson, f"What does this call give?\n\n{task.show(case)}\n{text}",
                    shown(plain(task.right(*case))))


def verbal_questions(lesson: str) -> list[Question]:
    """The two questions at the end of a lesson."""
    text = re.sub("^# ?", "", read_text(NUMBERS[lesson]), flags=re.M)
    asked, answers = text.partition("## Two questions\n")[2].split(ANSWERS)
    return [Question(lesson, *both) for both in zip(numbered(asked), numbered(answers))]


def numbered(text: str) -> list[str]:
    """The entries of a numbered list."""
    text = text.partition("</details>")[0]
    return [" ".join(entry.split()) for entry in re.split(r"^\d\. ", text, flags=re.M)[1:]]


def exam(seed: int, many: int, before: str = "", lessons=NUMBERS) -> list[Question]:
    """Questions of these lessons before this one, in the order of the lessons."""
    both = [numeric_question(name, seed) for name in NUMERIC]
    both += [question for lesson in NUMBERS for question in verbal_questions(lesson)]
    earlier = [x for x in both if x.lesson in lessons and (not before or x.lesson < before)]
    if not 0 < many <= len(earlier):
        raise UserError(f"--questions {many}: must be from 1 to {len(earlier)}"
                        + f" before lesson {before}" * bool(before))
    return sorted(Random(seed).sample(earlier, many), key=lambda x: x.lesson)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons exam", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", default="", metavar="LESSON",
                        help="only lessons before this one, such as 09")
    parser.add_argument("--lessons", nargs="+", default=NUMBERS, help="such as 00 02 07 (all)")
    parser.add_argument("--questions", type=int, default=8, help="how many questions (8)")
    parser.add_argument("--seed", type=int, help="seed of the questions and their numbers")
    cfg = parser.parse_args(argv)
    cfg.before = cfg.before and cfg.before.zfill(2)
    for lesson in filter(None, [cfg.before, *cfg.lessons]):
        one_of("lesson", lesson, NUMBERS)
    seed = Random().randrange(10**6) if cfg.seed is None else cfg.seed
    out = OUT / f"{seed}"
    if out.exists():
        raise UserError(f"{out.as_posix()}: already exists; give another --seed, or remove it")
    drawn = exam(seed, cfg.questions, cfg.before, cfg.lessons)
    asked = "\n".join(f"## {k}. Of lesson {lesson_head(NUMBERS[x.lesson]).title}\n{x.asked}\n"
                      for k, x in enumerate(drawn, 1))
    right = "\n".join(f"{k}. {x.answer}" for k, x in enumerate(drawn, 1))
    out.mkdir(parents=True)
    write_text(out / "questions.md", f"# Questions\n{HEAD}\n{asked}")
    write_text(out / "answers.md", f"# Answers, seed {seed}\n\n{right}\n")
    say(f"{asked}\nIn {(out / 'questions.md').as_posix()}; the answers are beside it.")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
