"""What every lesson shares: your guesses, its loop, the picture, and how a lesson ends.

    lesson = Lesson("02", CHANGE)           # asks for your guess, below "## Guess"
    CHANGE = lesson.change                  # the switch: that of the file, or of --change prompt
    own_guess = lesson.yours("04a")         # your function of exercises/ex04.py, or ours
    model = train(base, loss_of, rows, ...) # the loop of lesson 00
    lesson.picture(fig)                     # out/lessons/02.png, or 02-prompt.png
    lesson.compare(12.5, "%")               # Your guess: 60. Result: 12.5 % (you were off by 47.5).

A lesson asks twice: below "## Guess", and, once its switch CHANGE is set, below "## Change one
thing". A guess is one of the letters that stand there, or, if there are none, a number within the
limits that are named. `python lessons/02_which_tokens_count.py --guess 60` answers beforehand, as
does `echo 60 |` before it; `--guess none` continues without a guess. The first guess is kept in
out/guesses/02.txt with its result (that of the switch in 02-prompt.txt); a second run neither asks
again nor replaces it. The folder out lies in the project's folder, wherever a lesson is started. A
lesson computes in fp32 on one thread with fixed seeds, so that its numbers are nearly the same on
every machine.
"""
import argparse
import copy
import re
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import torch

from nanouft.plumbing.entry import error_line, make_streams_safe
from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.printing import progress, quoted

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))               # where a lesson finds the folder lessons
from lessons.behind.lesson_list import NUMBERS, number_of  # noqa: E402

OUT = HERE.parent / "out" / "lessons"
GUESSES = HERE.parent / "out" / "guesses"
NONE = "none"                                   # --guess none: no guess
KEPT_AS = {"17": "17-lora"}                     # 17.txt was the guess of another lesson up to 5.1
NOTEBOOK = "ipykernel" in sys.modules


class Question:
    """What a lesson asks to be guessed, for its first run or for the switch `change`.

    Its file has two lines, "guess 60" and, after the run, "happened 12.5 %". Neither is ever
    overwritten. UserError if the file says something else.
    """

    def __init__(self, lesson: Path, change: str = ""):
        source = lesson.read_text(encoding="utf-8")
        text = section(source, "Change one thing" if change else "Guess")
        self.text = text.partition("<details>")[0].strip()      # "After your run" is folded
        found = re.findall(r"^- (\w) (.+?)(?=^- |\n\n|\Z)", self.text, re.M | re.S)
        self.choices = {letter: " ".join(text.split()).rstrip(".;") for letter, text in found}
        limits = re.search(r"number from (-?\d+) to (-?\d+)", " ".join(self.text.split()))
        self.low, self.high = map(float, limits.groups()) if limits else (0.0, 0.0)
        number = number_of(lesson)
        name = "-".join(filter(None, [KEPT_AS.get(number, number), change]))
        self.file = GUESSES / f"{name.replace(' ', '-')}.txt"
        self.guess, self.happened = self.read()

    @property
    def kind(self) -> str:
        return ", ".join(self.choices) or f"a number from {self.low:g} to {self.high:g}"

    def valid(self, guess: str) -> bool:
        """Is it one of the letters, or, in a question without letters, a number that is allowed?"""
        try:
            return guess in self.choices if self.choices else self.low <= float(guess) <= self.high
        except ValueError:
            return False

    def plain(self, typed: str) -> str:
        """A guess as it is kept, if there is one in it: "about 60 %" -> "60", "b, both" -> "b"."""
        typed = typed.strip().lower().replace("\N{MINUS SIGN}", "-")
        one = rf"\b[{''.join(self.choices)}]\b" if self.choices else r"-?\d*\.?\d+(?:e-?\d+)?"
        found = re.findall(one, typed)
        return found[0] if len(found) == 1 else typed

    def read(self) -> tuple[str, str]:
        """("60", "12.5 %") from the file; "" for what it does not have yet."""
        if not self.file.exists():
            return "", ""
        kept: dict[str, str] = {}
        for line in self.file.read_text("utf-8-sig", "replace").splitlines():
            word, _, said = line.partition(" ")
            kept.setdefault(word, said.strip())
        guess, happened = kept.get("guess", ""), kept.get("happened", "")
        if not self.valid(guess):
            raise UserError(f"{short_path(self.file)}: the line \"guess ...\" must have {self.kind}"
                            "; fix it, or delete the file to guess again")
        return guess, happened

    def keep(self, guess: str) -> None:
        """Write the guess into a new file."""
        self.guess = guess
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("x", encoding="utf-8") as file:
            file.write(f"guess {guess}\n")

    def judge(self, happened: str) -> None:
        """Write below the guess what happened in the first run after it."""
        if self.guess and not self.happened:
            self.happened = happened
            with self.file.open("a", encoding="utf-8") as file:
                file.write(f"happened {happened}\n")


class Lesson:
    """One lesson: its guess, its picture, and the comparison at its end."""

    def __init__(self, number: str, change: str = ""):
        make_streams_safe()
        self.number = number
        started = Path(sys.argv[0]).resolve()               # perhaps lessons/04_my_copy.py
        as_script = started.parent == HERE and started.suffix == ".py"
        if as_script:
            sys.excepthook = tell
        self.file = started if as_script else NUMBERS[number]
        given = None
        if as_script:
            given = self.read_flags(change)
            self.write_first()
        else:
            self.read_question(change)
        torch.set_num_threads(1)
        if self.question.guess:
            known = (None, NONE, self.question.guess)
            unused = "" if given in known else f"; --guess {given} is not"
            print(f"Your guess {self.question.guess} is kept in {short_path(self.question.file)}"
                  f"{unused}.")
        elif given:
            if given != NONE:
                self.question.keep(given)
        elif as_script or at_terminal():
            self.ask()

    def write_first(self) -> None:
        """Before anything is asked: the functions that this lesson awaits from you."""
        from lessons.behind.tasks.task import is_begun, tasks
        for name in re.findall(r'lesson\.yours\("(\w+)"\)', self.file.read_text("utf-8")):
            if not is_begun(name):
                print(f"Write {tasks()[name].name} ({name}) first, in lessons/exercises/"
                      f"{tasks()[name].file}. Until you begin, this lesson runs with ours.\n")

    def read_question(self, change: str) -> None:
        """What is asked with this switch."""
        self.change = change and one_of("CHANGE", change, switches(self.file))
        self.question = Question(self.file, self.change)

    def read_flags(self, change: str) -> str | None:
        """The guess of --guess. --change takes the place of CHANGE in the file, and so decides what
        is asked."""
        first = argparse.ArgumentParser(add_help=False)
        first.add_argument("--change", metavar="SWITCH", default=change,
                           help=f"change one thing: {', '.join(switches(self.file))}")
        self.read_question(first.parse_known_args()[0].change)
        flags = argparse.ArgumentParser(description=self.question.text, parents=[first],
                                        formatter_class=argparse.RawDescriptionHelpFormatter)
        kind = self.question.kind
        flags.add_argument("--guess", metavar="GUESS", help=f"your guess: {kind}; or {NONE}")
        guess = flags.parse_args().guess
        if guess:
            guess = self.question.plain(guess)
        if guess not in (None, NONE) and not self.question.valid(guess):
            flags.error(f"--guess {guess}: the guess is {kind}")
        return guess

    def command(self, change: str) -> str:
        """What to type for a run with this switch."""
        switch = f' --change "{change}"' if change else ""
        return f"python {quoted(short_path(self.file))}{switch}"

    def ask(self) -> None:
        """Ask, and once more for what is not a guess. At a terminal Enter continues without one."""
        question, kind = self.question, self.question.kind
        print(question.text + "\n")
        with suppress(EOFError, RuntimeError):              # nobody watches, or no input at all
            for _ in range(2):
                asked = f"Your guess ({kind}; Enter to continue without one): "
                guess = question.plain(input(asked))
                if question.valid(guess):
                    print(f"Your guess is {guess}.")
                    return question.keep(guess)
                if not guess:
                    break
                print(f"{guess!r} is not {kind}.")
        if not at_terminal():
            print()
            some = next(iter(question.choices), f"{question.high:g}")
            raise UserError(f"Guess first: {self.command(self.change)} --guess {some} (your guess "
                            f"is {kind}, or {NONE} to continue without one)")

    def yours(self, name: str):
        """Your function for an exercise if it is right; ours if you have not begun it. A wrong one
        ends the lesson here, before anything is trained with it."""
        from lessons.behind.tasks.call import as_tensor
        from lessons.behind.tasks.task import NOT_STARTED, STUBS, Judge, Verdict, judge_file
        file = STUBS / f"ex{name[:2]}.py"
        task = import_module(f"lessons.behind.keys.{file.stem}").TASKS[name]
        where, program = short_path(file), getattr(sys.modules["__main__"], task.name, None)
        if not NOTEBOOK:
            program, verdict = judge_file(task, file)
        elif getattr(program, "__module__", "") == "__main__":
            where, verdict = "the cell above", Judge(task).of(program)
        else:                                               # a page is made with ours
            verdict = Verdict(NOT_STARTED, 0)
        if verdict.state == "wrong":
            print(f"{task.name} ({name}), in {where}, is wrong.\n{verdict.told}\n")
            raise UserError(f"fix {task.name} in {where} and run this again: nothing was trained "
                            "with it")
        if verdict.state == NOT_STARTED:
            print(f"with our {task.name}; yours ({name}), in {where}, is not started")
            return task.right
        print(f"with your own {task.name}")

        def as_tensors(*args):
            """A right program may give lists or arrays; the lesson continues with tensors."""
            kind = next((x.dtype for x in args if isinstance(x, torch.Tensor)), torch.float)
            return as_tensor(program(*args)).to(kind)
        return as_tensors

    def program(self) -> None:
        """Your parts of mine.py take the place of ours in nanouft/simple.py. A wrong one ends the
        lesson here, before anything is trained."""
        from lessons.behind.tasks.simple_parts import PARTS, put_yours
        from lessons.behind.tasks.task import STUBS, is_begun, judge_file, tasks
        yours = {}
        for name in filter(is_begun, PARTS):
            part, verdict = judge_file(tasks()[name], STUBS / "mine.py")
            if verdict.state == "wrong":
                print(f"{verdict.told}\n")
                raise UserError(f"fix {name} in {short_path(STUBS / 'mine.py')} and run this "
                                "again: nothing was trained")
            if part:
                yours[name] = part
        put_yours(yours)
        print(f"with your own {', '.join(yours)}" if yours else "no part of mine.py is started",
              f"({len(PARTS) - len(yours)} of {len(PARTS)} parts are ours)\n")

    def read(self, answers: list[str], asked: str, ours: str) -> None:
        """Some answers, a question about them, and, once you have answered, what we read there."""
        print("", *answers, "", asked, sep="\n")
        if at_terminal():
            with suppress(EOFError, NotImplementedError):
                input("Your sentence (then Enter): ")
        print(f"We read: {ours}")

    def compare(self, happened: str | float, unit: str = "") -> None:
        """Print the guess beside what happened, a letter or a number of this unit, and keep it."""
        question = self.question
        guessed = f"Your guess: {question.guess}. " if question.guess else ""
        if isinstance(happened, str):
            told = f"{happened}, {question.choices[happened]}"
            question.judge(happened)
        else:
            off = (f" (you were off by {abs(happened - float(question.guess)):.3g})"
                   if question.guess else "")
            told = f"{happened:.3g} {unit}".rstrip() + off
            question.judge(f"{happened:.4g} {unit}".rstrip())
        print(f"\n{guessed}Result: {told}.")
        if not NOTEBOOK:
            title = "After your run" if self.change else "What happened"
            print(f'Why? Read "{title}", line {self.line_of(title)} of {self.file.name}.')
            if not self.change:
                print("Then change one thing:", self.command(switches(self.file)[0]))
            later = [*NUMBERS.values(), None][[*NUMBERS].index(self.number) + 1]
            print("Next:", f"python {quoted(short_path(later))}" if later else
                  "python -m nanouft.compare sft my_loss.py")

    def line_of(self, title: str) -> int:
        """Where the lesson has this heading, or this fold."""
        lines = self.file.read_text(encoding="utf-8").splitlines()
        return 1 + next(k for k, line in enumerate(lines)
                        if line.startswith(f"# ## {title}") or f"<summary>{title}" in line)

    def picture(self, fig, name: str = "") -> None:
        """Save a picture, 1080 x 525 pixels. The main one of a lesson needs no name; with a changed
        switch each gets one of its own."""
        OUT.mkdir(parents=True, exist_ok=True)
        file = OUT / f"{'-'.join([self.number, *name.split(), *self.change.split()])}.png"
        fig.savefig(file, dpi=72)
        print("\npicture:", short_path(file))


def at_terminal() -> bool:
    """Can somebody be asked, here or in a notebook?"""
    return NOTEBOOK or bool(sys.stdin and sys.stdin.isatty())


def short_path(file: Path) -> str:
    """The path as one types it in the current folder."""
    here = Path.cwd()
    return (file.relative_to(here) if file.is_relative_to(here) else file).as_posix()


def train(start, loss_of, rows: list, steps: int, lr: float, what: str, size: int = 32,
          falls: bool = False, look=None, every: int = 4):
    """A copy of the model `start` after these steps of `size` rows: the loop of lesson 00.

    loss_of(model, batch) is the loss of these rows. The learning rate stays, or it falls to 0 in a
    straight line. look(model) is called before the first step, every `every` steps and at the end.
    """
    model = copy.deepcopy(start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for step in progress(steps, what, range(steps), training=True):
        if look and step % every == 0:
            look(model)
        loss = loss_of(model, [rows[i % len(rows)] for i in range(step * size, (step + 1) * size)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps if falls else 1)
        optimizer.step()
    if look:
        look(model)
    return model


def switches(lesson: Path) -> list[str]:
    """The values of CHANGE that a lesson knows, as its own line names them."""
    line = re.search(r"^CHANGE = .*# change one thing: (.*)", lesson.read_text("utf-8"), re.M)
    return re.findall(r'"(\w[\w ]*)"', line[1])


def section(source: str, title: str) -> str:
    """The Markdown below "## title", up to the next heading or cell, as plain text: its formulas,
    too, so $A\\log\\pi$ is A log pi."""
    found = re.search(rf"^# ## {title}\n(.*?)(?=^# #|^# %%)", source, re.M | re.S)
    text = re.sub(r"\\mathrm\{(\w+)\}", r"\1", re.sub(r"^# ?", "", found[1], flags=re.M))
    return re.sub(r"[*`$\\]", "", re.sub(r"(?<=\w)\\", " ", text)).strip()


def tell(kind, error, trace) -> None:
    """An assertion of a lesson is told as a sentence, a mistake of yours or Ctrl-C in one line, and
    every other error looks as it always does."""
    if kind is AssertionError and str(error):
        line = traceback.extract_tb(trace)[-1].lineno
        print(f"\nThis run contradicts the lesson (line {line}): {error}", flush=True)
    elif isinstance(error, (UserError, OSError, KeyboardInterrupt)):
        print(error_line(error, ""), file=sys.stderr, flush=True)
        raise SystemExit(130 if kind is KeyboardInterrupt else 2)
    else:
        sys.__excepthook__(kind, error, trace)
