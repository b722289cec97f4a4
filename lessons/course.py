"""All the machinery of the lessons: a guess, a table of tokens, curves, and your own program.

    from course import ask, curves, ours, picture, show, tell
    guess = ask("Where is log p(chosen) after 40 steps?", "-20 to 0")       # or "a b c"
    show(tok, targets[0], mask=mask[0], p=p[0])         # a line for each token
    curves("05", steps, {"chosen": [-2.5, -0.1]}, "log p, nats")
    picture("06")                                       # saves a figure of a page's own
    tell(guess, -13.3, "nats")

`python 05_pairs.py --guess -3` answers beforehand, and `--guess none` goes on without a guess. Each
run asks again, because each run may be of a file that you have changed. Guesses and pictures are
kept in the project's out/lessons. A lesson computes in fp32 on one thread with fixed seeds, so its
numbers are nearly the same on every machine.
A part that stands in mine.py takes the place of ours, in nanouft/simple.py, too. A wrong one ends
the lesson before anything is trained. `ours` has our parts, whatever you write.
"""
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import matplotlib
import torch

ROOT = next(x for x in Path(__file__).resolve().parents if (x / "pyproject.toml").exists())
sys.path.append(str(ROOT))                              # where a lesson finds the folder lessons
from lessons.behind.lesson_list import PARTS  # noqa: E402
from nanouft import simple  # noqa: E402
from nanouft.plumbing.errors import UserError, locate_errors  # noqa: E402

if "ipykernel" not in sys.modules:
    matplotlib.use("agg")                               # files, never a window
import matplotlib.pyplot as plt  # noqa: E402

OUT = ROOT / "out" / "lessons"
ours = dict(vars(simple))                               # our parts, whatever you write
torch.set_num_threads(1)


def end(why: str) -> None:
    """End the lesson with one line."""
    print(f"error: {why}", file=sys.stderr)
    raise SystemExit(2)


def put_yours() -> None:
    """Your parts in the place of ours. After a change of mine.py they are judged first."""
    file, right = Path(find_spec("mine").origin), OUT / "mine_was_right.py"
    try:
        with locate_errors(str(file), ""):
            import mine
    except UserError as error:
        end(str(error).strip())
    own = {name: getattr(mine, name) for name in PARTS if name in ours
           and getattr(getattr(mine, name, None), "__module__", "") == "mine"}
    if own and not (right.exists() and right.read_bytes() == file.read_bytes()):
        if subprocess.run([sys.executable, "-m", "lessons", "check", *own, "--folder", file.parent],
                          cwd=ROOT).returncode:
            end("fix this part of mine.py first, or comment it out: nothing was trained with it")
        OUT.mkdir(parents=True, exist_ok=True)
        right.write_bytes(file.read_bytes())
    vars(simple).update(own)
    simple.METHODS.update({method: (own.get(loss.__name__, loss), *facts)
                           for method, (loss, *facts) in simple.METHODS.items()})
    if own:
        print("From your mine.py:", ", ".join(own))


put_yours()


def ask(question: str, answers: str) -> str:
    """Your guess: one of the letters "a b c", or a number "0 to 100". "" is none."""
    low, number, high = answers.partition(" to ")
    given = sys.argv[sys.argv.index("--guess") + 1] if "--guess" in sys.argv[:-1] else ""
    print(f"\n{question}")
    while True:
        try:
            said = (given or input(f"Your guess ({answers}; Enter for none): ")).strip().lower()
        except EOFError:                                # no terminal: a run would tell the answer
            end(f"guess first: python {sys.argv[0]} --guess {answers.split()[0]}")
        except RuntimeError:                            # a page is made: nobody can be asked
            return ""
        try:
            if said in ("", "none"):
                return ""
            if float(low) <= float(said) <= float(high) if number else said in answers.split():
                return said
        except ValueError:                              # no number
            pass
        given = print(f"{said} is not one of: {answers}") or ""


def tell(guess: str, happened: float | str, unit: str = "") -> None:
    """Print the guess beside the result, and keep both in out/lessons/guesses.txt."""
    result = happened if isinstance(happened, str) else f"{happened:.3g} {unit}".strip()
    lesson = Path(sys.argv[0]).stem.replace("ipykernel_launcher", "a notebook")
    print(f"\nYour guess: {guess or 'none'}. Result: {result}.")
    OUT.mkdir(parents=True, exist_ok=True)
    with (OUT / "guesses.txt").open("a", encoding="utf-8") as file:
        file.write(f"{lesson}  guess {guess or 'none'}  result {result}\n")


def show(tok, ids, **columns) -> None:
    """A line for each token, with its number in each column."""
    print(f"{'token':<16}" + "".join(f"{name:>14}" for name in columns))
    for t, i in enumerate(ids.tolist()):
        if i != tok.pad:
            print(f"{tok.decode([i]).strip():<16}"
                  + "".join(f"{x[t].item():14.3g}" for x in columns.values()))


def curves(name: str, x, lines: dict, ylabel: str) -> None:
    """A picture, out/lessons/05.png: lines = {name: its value at each x}."""
    plt.figure(figsize=(8, 4), layout="constrained")
    for label, y in lines.items():
        plt.plot(x, y, label=label, lw=3)
    plt.gca().set(xlabel="step", ylabel=ylabel)
    plt.legend(frameon=False)
    picture(name)


def picture(name: str) -> None:
    """Save the figure that is drawn, out/lessons/05.png of the project, wherever a lesson runs."""
    OUT.mkdir(parents=True, exist_ok=True)
    plt.savefig(OUT / f"{name}.png")
    print(f"picture: {OUT / name}.png")
