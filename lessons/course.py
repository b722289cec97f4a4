"""What every lesson shares: your guess, a progress bar, the picture, and how a lesson ends.

    lesson = Lesson("02")                   # asks for your guess, below "## Guess"
    model = train(base, loss_of, rows, ...) # the loop of lesson 00
    lesson.picture(fig, CHANGE)             # out/lessons/02.png, or 02-prompt.png
    lesson.compare(12.5, "%")               # Your guess: 60. What happened: 12.5 %, 47.5 away.

A guess is one of the letters that stand below "## Guess", or, if there are none, a number.
`python lessons/02_which_tokens_count.py --guess 60` answers beforehand. The guess is kept in
out/lessons/02.txt, so that a second run with a changed switch does not ask again. A lesson computes
in fp32 on one thread with fixed seeds, so that its numbers are nearly the same on every machine.
"""
import argparse
import copy
import math
import re
import sys
import traceback
from pathlib import Path

import torch
from tqdm import tqdm

from nanouft.errors import print_anything

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))               # lesson 17 imports lessons.evidence
LESSONS = sorted(HERE.glob("[01]*.py"))
OUT = Path("out/lessons")
NOTEBOOK = "ipykernel" in sys.modules


class Lesson:
    """One lesson: the guess at its beginning, its picture, and the comparison at its end."""

    def __init__(self, number: str):
        print_anything()
        self.number = number
        started = Path(sys.argv[0]).resolve()               # perhaps lessons/05_my_copy.py
        as_script = started.parent == HERE and started.suffix == ".py"
        self.file = started if as_script else next(HERE.glob(f"{number}_*.py"))
        self.question = section(self.file.read_text(encoding="utf-8"), "Guess")
        found = re.findall(r"^- (\w) (.+?)(?=^- |\n\n|\Z)", self.question, re.M | re.S)
        self.choices = {letter: " ".join(text.split()).rstrip(".;") for letter, text in found}
        self.kept = OUT / f"{number}.txt"
        kept = self.kept.read_text().strip() if self.kept.exists() else ""
        self.guess = kept if self.valid(kept) else ""       # the lesson may have asked otherwise
        torch.set_num_threads(1)
        if as_script:
            self.read_flags()
            sys.excepthook = tell
        if not self.guess and (NOTEBOOK or sys.stdin and sys.stdin.isatty()):
            self.ask()

    def read_flags(self) -> None:
        """--guess and --help."""
        flags = argparse.ArgumentParser(
            description=self.question, formatter_class=argparse.RawDescriptionHelpFormatter)
        flags.add_argument("--guess", metavar=self.kind, help=f"your guess: {self.kind}")
        guess = flags.parse_args().guess
        if guess is not None and not self.valid(guess):
            flags.error(f"--guess {guess}: the guess is {self.kind}")
        if guess is not None:
            self.keep(guess)

    @property
    def kind(self) -> str:
        return ", ".join(self.choices) or "a number"

    def valid(self, guess: str) -> bool:
        """Is it one of the letters, or, in a lesson without letters, a finite number?"""
        try:
            return guess in self.choices if self.choices else math.isfinite(float(guess))
        except ValueError:
            return False

    def ask(self) -> None:
        """Ask once. An empty answer is no guess."""
        print(self.question + "\n")
        try:
            guess = input(f"Your guess ({self.kind}; Enter to go on without one): ").strip().lower()
        except (EOFError, NotImplementedError):             # a notebook that nobody watches
            return
        if guess and self.valid(guess):
            self.keep(guess)
        elif guess:
            print(f"{guess!r} is not {self.kind}: the lesson goes on without a guess")

    def keep(self, guess: str) -> None:
        self.guess = guess
        self.kept.parent.mkdir(parents=True, exist_ok=True)
        self.kept.write_text(guess + "\n")

    def compare(self, happened: str | float, unit: str = "") -> None:
        """Print the guess beside what happened, a letter or a number of this unit."""
        guessed = f"Your guess: {self.guess}. " if self.guess else ""
        if isinstance(happened, str):
            told = f"{happened}, {self.choices[happened]}"
        else:
            away = f", {abs(happened - float(self.guess)):.3g} away" if self.guess else ""
            told = f"{happened:.3g} {unit}{away}"
        print(f"\n{guessed}What happened: {told}.")
        if not NOTEBOOK:
            print(f"Why? Read on in {self.file.name}.")

    def picture(self, fig, change: str = "") -> None:
        """Save the picture, 1080 x 525 pixels. With a changed switch it gets a name of its own."""
        OUT.mkdir(parents=True, exist_ok=True)
        file = OUT / f"{self.number}{'-' if change else ''}{change}.png"
        fig.savefig(file, dpi=72)
        print("\npicture:", file.as_posix())


def progress(steps, what: str):
    """The steps, with a bar and the time left while they last. Nothing is drawn into a file."""
    return tqdm(steps, what, leave=False, disable=not (NOTEBOOK or sys.stderr.isatty()))


def train(start, loss_of, rows: list, steps: int, rate: float, what: str, size: int = 32,
          falls: bool = False, look=None, every: int = 4):
    """A copy of the model `start` after these steps of `size` rows: the loop of lesson 00.

    loss_of(model, some) is the loss of some rows. The rate stays, or it falls to 0 in a straight
    line. look(model) is called before the first step, after each `every` steps and at the end.
    """
    model = copy.deepcopy(start)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    for step in progress(range(steps), what):
        if look and step % every == 0:
            look(model)
        loss = loss_of(model, [rows[i % len(rows)] for i in range(step * size, (step + 1) * size)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps if falls else 1)
        optimizer.step()
    if look:
        look(model)
    return model


def section(source: str, title: str) -> str:
    """The Markdown below "## title", up to the next heading or cell, as plain text."""
    found = re.search(rf"^# ## {title}\n(.*?)(?=^# #|^# %%)", source, re.M | re.S)
    lines = [re.sub(r"^# ?", "", line) for line in found[1].splitlines()]
    return re.sub(r"\*\*|`", "", "\n".join(lines)).strip()


def tell(kind, error, trace) -> None:
    """An assertion of a lesson is told as a sentence; every other error looks as it always does."""
    if kind is AssertionError and str(error):
        line = traceback.extract_tb(trace)[-1].lineno
        print(f"\nThis run contradicts the lesson (line {line}): {error}", flush=True)
    else:
        sys.__excepthook__(kind, error, trace)
