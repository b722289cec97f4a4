"""Your own program: nanouft/simple.py from an empty file, in twelve parts.

    python -m lessons build mine.py --reset         # writes a file to begin with
    python -m lessons build mine.py                 # which parts are right?
    python -m lessons build mine.py --run ift       # the whole program with your parts, and scores

Each of your functions takes the place of ours in the real program (nanouft/simple.py), together
with your earlier parts. The loss of the program and its gradient are compared on fresh rows of
NanoWorld, with the shipped base. You see the smallest batch on which a part is wrong, whether the
loss or only its gradient is, and, if what you wrote does what a common mistake does, or two of
them, their names (mistakes.py). As long as a part is not right, ours is used in its place,
also where your other functions call it. Any style will do: nothing but numbers is compared.

A loss may differ by a ten-thousandth, a gradient by a thousandth of its length, and the weights
after training by a hundred-thousandth of how far they moved. Your file runs in a process of its
own, with limits of time and memory. What it prints while parts are tried is not shown.
"""
import argparse
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from random import Random
from types import ModuleType

from tqdm import tqdm

from lessons.classroom.build_parts import OURS, PARTS, Part, base, parts_of, put, remember_samples
from lessons.classroom.judge import NOT_STARTED, Verdict, assess, state
from lessons.classroom.sandbox import SECONDS, TooLong, at_most, how_it_ended, run_limited
from nanouft import simple, world
from nanouft.models.tokenizer import nano
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_text
from nanouft.plumbing.printing import say
from nanouft.plumbing.progress import progress
from nanouft.plumbing.user_code import error_line, load
from nanouft.run.evaluation import mean_score, score_tasks

FIRST = ("padded", "token_logp", "sft_loss", "train")           # with these it trains
IN_ALL, WAITING = 900, 1800             # seconds for all parts: of computing; on the clock
SKELETON = Path(__file__).parents[1] / "exercises" / "mine.py"


# ---- all parts, and the whole program -----------------------------------------------------------
@remember_samples()
def try_parts(mine: ModuleType, seed: int, keep: Callable = bool) -> dict[str, Verdict]:
    """What is wrong with each part, in the judge's words. It is printed, and kept with all that is
    known by then, as soon as it is known.
    The right parts stand in simple.py afterwards."""
    right: dict[str, Callable] = {}
    results: dict[str, Verdict] = {}
    theirs = {name: vars(mine).get(name) for name in PARTS}
    for name, function in progress(len(PARTS), "parts tried", theirs.items()):
        note(f"trying {name}")
        written = function is not None and function is not OURS[name]
        found = assess(Part(name, right, mine), function, seed) if written \
            else Verdict(NOT_STARTED, 0)
        told = found.told
        if not told:
            right[name] = function
        results[name] = found
        keep(results)
        said = f"\n{told}" if state(told) == "wrong" else ""
        say(f"{name:<18}{state(told)}{said}", write=tqdm.write)     # above the bar
    put(right, mine)
    return results


def with_bar(loop: Callable) -> Callable:
    """simple.py's `train` with a bar over its steps, because a student's loop may say nothing."""
    def train(model, rows, tok, method, steps, *reference):
        original = simple.METHODS[method]
        with progress(steps, f"steps of {method}") as bar:
            def loss(*args):
                bar.update()
                return original[0](*args)
            simple.METHODS[method] = (loss, *original[1:])
            try:
                return loop(model, rows, tok, method, steps, *reference)
            finally:
                simple.METHODS[method] = original
    return train


def run_method(method: str) -> None:
    """simple.py's own run, and the score of 900 test questions before and after it. They are those
    of `python -m nanouft.train`, whose run is another one: its rows, order and steps differ."""
    trained, loop = [], with_bar(simple.train)

    def train(model, *args):
        trained.append(model)
        return loop(model, *args)
    simple.train = train
    simple.main(["--objective", method])
    scores = [100 * mean_score(score_tasks(model, nano())[0]) for model in (base(), trained[-1])]
    say(f"\nScore of 900 test questions: {scores[0]:.0f} before, {scores[1]:.0f} after this run of "
        "simple.py (train.py's own run has other rows and steps).")


# ---- the two processes --------------------------------------------------------------------------
def note(what: str) -> None:
    """Tell the process that waits what is being done, in a file that it named."""
    if file := os.environ.get("BUILD_NOTE"):
        Path(file).write_text(what, encoding="utf-8")


def in_own_process(file: Path, cfg: argparse.Namespace) -> int:
    """Run `work` with limits. UserError if it gives no result."""
    with tempfile.TemporaryDirectory() as scratch:
        doing = Path(scratch) / "doing"
        words = [str(doing), str(file.resolve()), str(file), cfg.run or "", str(cfg.seed)]
        code = run_limited(work, words, IN_ALL, WAITING, Path.cwd())
        last = doing.read_text(encoding="utf-8") if doing.exists() else "starting"
    if last != "done":
        raise UserError(f"{file}: {how_it_ended(code, IN_ALL, WAITING)} while {last}")
    return int(bool(code))


def work(doing: str, *words: str) -> int:
    """In the process of its own: try the parts of a file, and run what they can."""
    os.environ["BUILD_NOTE"] = doing
    return command(lambda _: judge_and_run(*words))


def judge_and_run(path: str, shown: str, method: str, seed: str) -> int:
    """1 unless all parts are right."""
    sys.path.insert(0, str(Path(path).parent))                  # a file may import its neighbour
    note(f"reading {shown}")
    mine = read_program(path, shown)
    found = {name: one.told for name, one in try_parts(mine, int(seed)).items()}
    missing = [name for name, wrong in found.items() if wrong]
    failed = "wrong" in map(state, found.values())
    following = (f" Next: {missing[0]}, lesson {PARTS[missing[0]][0]}."
                 if missing else " The whole program is yours.")
    again = f" The same rows again: --seed {seed}." if failed else ""
    say(f"{len(PARTS) - len(missing)} of {len(PARTS)} parts are yours.{following}{again}")
    if method:
        note(f"running {method}")
        borrowed = [name for name in parts_of(method) if name in missing]
        say(f"\nA run of {method} with your parts"
            + (f", and ours in place of {', '.join(borrowed)}." if borrowed else " alone."))
        run_method(method)
    elif not failed and not set(FIRST) & set(missing):
        say(f"It trains: python -m lessons build {shown} --run sft")
    note("done")
    return int(bool(missing))


def read_program(path: str, shown: str) -> ModuleType:
    """The student's file, as a module. UserError if it cannot be run."""
    try:
        with at_most(SECONDS):
            return load(Path(path))
    except (Exception, SystemExit, TooLong) as error:
        note("done")
        raise UserError(f"{shown}: cannot be read. "
                        f"{' '.join(error_line(error, path).split())}") from None


def try_program(path: str, seed: str, written: str) -> None:
    """In the process of a class's student: write what is told of each part."""
    def keep(found: dict[str, Verdict]) -> None:
        words = {name: [one.told, one.share] for name, one in found.items()}
        Path(written).write_text(json.dumps(words), encoding="utf-8")
    sys.path.insert(0, str(Path(path).parent))                  # a file may import its neighbour
    try:
        try_parts(read_program(path, Path(path).name), int(seed), keep)
    except UserError as error:
        keep(dict.fromkeys(PARTS, Verdict(str(error), 0)))


# ---- the file to begin with ---------------------------------------------------------------------
def skeleton() -> str:
    """Stubs of all parts, and three rows as a loss sees them."""
    shown = io.StringIO()
    rows = world.rows("train", "demos", 3, seed=0, skills=("fact", "sort", "reverse"))
    with redirect_stdout(shown):
        simple.show_rows(rows, nano())
    table = [f"# {line}".rstrip() for line in shown.getvalue().splitlines()]
    head = '# Three demonstrations, as tokens(rows, "answer", tok) gives them (mask 1: trained on):'
    example = "\n".join([head, *table])
    return re.sub("# EXAMPLE.*", lambda _: example, SKELETON.read_text(encoding="utf-8"))


def reset(file: Path) -> None:
    """Write the skeleton, but not over somebody's work."""
    if file.exists() and read_text(file).strip() not in ("", skeleton().strip()):
        raise UserError(f"{file}: holds work of yours, over which --reset does not write")
    file.write_text(skeleton(), encoding="utf-8")
    say(f"{file}: twelve parts to write. Begin with padded, then: python -m lessons build {file}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons build", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="mine.py", help="your file")
    parser.add_argument("--reset", action="store_true", help="write a file to begin with")
    parser.add_argument("--run", choices=simple.METHODS, help="train by this method")
    parser.add_argument("--seed", type=int, default=Random().randrange(10**6),
                        help="of the rows, to see the same again [another one in each run]")
    cfg = parser.parse_args(argv)
    if cfg.reset:
        reset(cfg.file)
        return 0
    read_text(cfg.file, f"; python -m lessons build {cfg.file} --reset writes one to begin with")
    return in_own_process(cfg.file, cfg)


if __name__ == "__main__":
    sys.exit(command(main))
