"""What every lesson needs beside its own idea: your guess, --help, a progress bar, the picture.

    from course import Lesson, progress

    lesson = Lesson("03", "abc")        # asks for your guess: a, b or c
    ...
    lesson.picture(fig)                 # out/lessons/03.png
    lesson.compare("c")                 # you guessed 'c'; it did 'c'

A guess is kept in my/guesses.txt, never in a file of the project. All lessons compute in fp32 with
two threads and fixed seeds, so the numbers are nearly equal on each machine. nanouft is imported
before torch, because it lets idle threads sleep.
"""
import argparse
import re
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

import nanouft  # noqa: F401

GUESSES = Path("my/guesses.txt")        # one line for each lesson: 03 c
THREADS = 2


class Lesson:
    """One lesson: the guess at its beginning, the picture, and how it ends."""

    def __init__(self, number: str, choices: Iterable[str], ask: bool = True):
        from nanouft.eval import plots
        self.number = number
        self.choices = list(choices)
        (self.file,) = Path(__file__).parent.glob(f"{number}_*.py")
        self.source = self.file.read_text(encoding="utf-8")
        self.guess = read_guesses().get(number)
        self.notebook = plots.in_notebook()
        if Path(sys.argv[0]).name == self.file.name:            # python lessons/03_sft.py ...
            self.read_flags()
            sys.stdout.reconfigure(errors="replace")            # for consoles without all signs
            sys.excepthook = tell
        elif self.notebook:
            shell = sys.modules["IPython"].get_ipython()
            shell.set_custom_exc((AssertionError,), tell_in_notebook)
        if ask:
            self.ask(plain(section(self.source, "Guess")))
        import torch
        torch.set_num_threads(THREADS)
        plots.plt.rcParams["font.size"] = 18                    # large enough for a slide

    # ---- the guess -------------------------------------------------------------------------------
    def read_flags(self) -> None:
        """--help and --guess."""
        flags = argparse.ArgumentParser(
            prog=f"python lessons/{self.file.name}", description=self.about(), allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        flags.error = fail
        some = ", ".join(self.choices[:4]) + " ..." * (len(self.choices) > 4)
        flags.add_argument("--guess", metavar="GUESS",
                           help=f"one of {some}; it is kept in {GUESSES.as_posix()}")
        guess = flags.parse_args().guess
        if guess in self.choices:
            self.keep(guess)
        elif guess is not None:
            fail(f"--guess {guess}: must be one of {some}")

    def about(self) -> str:
        """The title, what you can do afterwards, the guess, and the lines that you may change."""
        title, _, *rest = plain(section(self.source, self.number)).split("\n")
        goals = "\n".join(rest).split("\n\n")[1]
        switches = []
        for i, line in enumerate(self.source.splitlines(), 1):
            if re.match(r"[A-Z_]+ = .*# .*switch", line):
                switches.append(f"  line {i}: " + " ".join(line.split()))
        change = "Lines to change in the file, see \"Break it\" there:\n" + "\n".join(switches)
        return "\n\n".join([title, goals, plain(section(self.source, "Guess")), change])

    def ask(self, question: str) -> None:
        """Ask for a guess, unless there is one already, or nobody is there to answer."""
        somebody = self.notebook or sys.stdin and sys.stdin.isatty()
        if self.guess or not somebody:
            return
        print(question + "\n")
        try:
            answer = input("Your guess (Enter: none): ").strip()
        except (EOFError, NotImplementedError):                 # a notebook that nobody watches
            return
        answer = answer if answer in self.choices else answer.upper()
        if answer in self.choices:
            self.keep(answer)
        elif answer:
            print(f"{answer!r} is none of the answers: {', '.join(self.choices)}")

    def keep(self, guess: str) -> None:
        """Write the guess into my/guesses.txt."""
        self.guess = guess
        guesses = read_guesses() | {self.number: guess}
        lines = [f"{number} {letters}\n" for number, letters in sorted(guesses.items())]
        GUESSES.parent.mkdir(parents=True, exist_ok=True)
        GUESSES.write_text("".join(lines), encoding="utf-8")

    def compare(self, did: str) -> None:
        """Print the guess beside what happened."""
        guessed = f"you guessed {self.guess!r}" if self.guess else "you made no guess"
        print(f"{guessed}; it did {did!r}")

    # ---- the picture -----------------------------------------------------------------------------
    def picture(self, fig, layout: dict | None = None, **switches: tuple) -> None:
        """Save out/lessons/07.png. If a switch was changed, out/lessons/07-HOLD-1.0.png: beside the
        first picture, not over it. switches: NAME=(value now, value as shipped)."""
        from nanouft.eval import plots
        changed = [f"-{name}-{now}" for name, (now, shipped) in switches.items() if now != shipped]
        name = re.sub(r"[^\w.]+", "-", self.number + "".join(changed)).strip("-")
        print("\npicture:", plots.save(fig, Path("out/lessons") / f"{name}.png", **layout or {}))


def progress(steps, what: str):
    """The steps, with a bar while they last. Nothing is drawn where nobody looks."""
    from tqdm import tqdm

    from nanouft.eval import plots
    seen = sys.stderr.isatty() or plots.in_notebook()
    return tqdm(steps, what, leave=False, disable=not seen)


# ---- the text of a lesson ------------------------------------------------------------------------
def section(source: str, title: str) -> str:
    """The Markdown below the heading that begins with `title`, up to the next heading or cell."""
    found = re.search(rf"^# #+ {title}.*?(?=^# #|^# %%)", source, re.M | re.S)
    lines = found[0].splitlines() if found else []
    return "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)


def plain(markdown: str) -> str:
    """For a terminal: without the signs of headings, bold words and code."""
    return re.sub(r"^#+ |\*\*|`", "", markdown, flags=re.M).strip()


def read_guesses() -> dict[str, str]:
    """{"03": "c"}: all guesses so far."""
    text = GUESSES.read_text(encoding="utf-8") if GUESSES.is_file() else ""
    pairs = [line.split() for line in text.splitlines()]
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


# ---- how a lesson ends ---------------------------------------------------------------------------
def fail(message: str) -> None:
    """One line for bad input, and exit code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def tell(kind, error, trace) -> None:
    """A law that no longer holds is told in a sentence. Other errors look as they always do."""
    if kind is AssertionError and str(error):
        line = traceback.extract_tb(trace)[-1].lineno
        print(f"\nThe lesson stops here. This law does not hold in this run (line {line}):"
              f"\n    {error}\nWith the file as it was shipped, it holds.", flush=True)
    elif kind is KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def tell_in_notebook(shell, kind, error, trace, tb_offset=None) -> None:
    tell(kind, error, trace)
