"""Is your exercise right? If it is not: in which call, and is it a mistake that many make?

    python -m lessons.check                         # the list of all exercises: which are done?
    python -m lessons.check 06a                     # one exercise
    python -m lessons.check 06                      # the exercises of a lesson
    python -m lessons.check 06a --folder ada        # the same, for the files in the folder ada
    python -m lessons.check 06 --class all --csv points.csv     # points for each folder in `all`

    from lessons.check import check                 # in a notebook
    check(balance)

Write your functions in lessons/exercises/ex06.py. Inputs are drawn anew in each run and given to
your function and to the right one of key06.py. Numbers are equal if they differ by less than the
`tolerance` of the key, usually a ten-thousandth. You see the smallest call in which they differ,
and, if your results are those of a common mistake in all calls, its name. Read the key when you are
done. A loop without an end is tried until you press Ctrl-C, which shows its line. The last line
counts what is right, and the exit code is 0 if everything asked for is.
"""
import argparse
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch

from nanouft.errors import UserError, command

HERE = Path(__file__).parent / "exercises"
ROUNDS = 60                                     # draws of inputs for each exercise
NOT_STARTED = "not started: it still raises NotImplementedError"


# ---- what an exercise is ------------------------------------------------------------------------
def result(function, *args) -> dict:
    return {"gives": function(*args)}


def gradient(*names: str):
    """Look at the result, and at the gradient of its sum by the first arguments, as they are named
    in the exercise."""
    def look(function, *args) -> dict:
        by = [x.clone().requires_grad_() for x in args[:len(names)]]
        out = function(*by, *args[len(names):])
        total = torch.zeros(()) if out is None else as_tensor(out).sum()
        slopes = torch.autograd.grad(total, by, allow_unused=True, materialize_grads=True) \
            if total.requires_grad else [torch.zeros_like(x) for x in by]
        return {"gives": out} | {f"has the gradient by {name}": x
                                 for name, x in zip(names, slopes)}
    return look


@dataclass
class Exercise:
    """A right function, the arguments that are drawn for it, and common mistakes: a part of the
    right function, what stands there instead, and how the mistake is told."""
    right: Callable
    draw: Callable                              # Draw -> the arguments, a tuple
    mistakes: list[tuple[str, str, str]]
    look: Callable = result                     # (function, *arguments) -> what is compared
    tolerance: float = 1e-4

    @property
    def name(self) -> str:
        return self.right.__name__

    def wrong(self, part: str, instead: str) -> Callable:
        source, space = inspect.getsource(self.right), dict(self.right.__globals__)
        assert part in source, part
        exec(source.replace(part, instead), space)
        return space[self.name]


class Draw(Random):
    """Fresh inputs."""

    def mask(self, rows: int, T: int) -> torch.Tensor:
        """(rows,T): a prompt, an answer of one or more turns, padding. Each of them may be missing
        or cut off, but at least one token of each row counts."""
        return torch.tensor([self.one_mask(T) for _ in range(rows)])

    def one_mask(self, T: int) -> list[int]:
        row, counts = [], self.random() < 0.3
        while len(row) < T:
            row, counts = row + [int(counts)] * self.randint(1, T), not counts
        return row[:T] if 1 in row[:T] else self.one_mask(T)

    def ids(self, rows: int, T: int, V: int = 99) -> torch.Tensor:
        return torch.tensor([[self.randrange(V) for _ in range(T)] for _ in range(rows)])

    def numbers(self, low: float, high: float, *shape: int) -> torch.Tensor:
        count = torch.Size(shape).numel()
        return torch.tensor([self.uniform(low, high) for _ in range(count)]).view(shape)


def as_tensor(x) -> torch.Tensor:
    """Numbers, lists, tuples, arrays of numpy, and lists of tensors become tensors."""
    if not isinstance(x, (list, tuple)):
        return torch.as_tensor(x)
    parts = [as_tensor(part).float() for part in x]
    return torch.stack(parts) if parts else torch.zeros(0)


def show(x) -> str:
    """As Python code, with four decimals."""
    if isinstance(x, (list, tuple)):
        return "[" + ", ".join(show(part) for part in x) + "]"
    if isinstance(x, float):
        return repr(round(x, 4))
    if isinstance(x, (torch.nn.Module, torch.optim.Optimizer)):
        return "model" if isinstance(x, torch.nn.Module) else "optimizer"
    if not isinstance(x, torch.Tensor):
        return x.__name__ if callable(x) else repr(x)
    x = x.detach()
    x = (x.double() * 1e4).round() / 1e4 if x.is_floating_point() else x
    return f"torch.tensor({x.tolist()})"


# ---- judging ------------------------------------------------------------------------------------
def judge(exercise: Exercise, function, seed=None) -> str:
    """Nothing if the function is right. Else the smallest call in which it is not, what it gives
    there, and the mistake, if it is a common one."""
    seed = Random().random() if seed is None else seed
    wrong, seen = [], {}
    for k in (f"{seed} {k}" for k in range(ROUNDS)):
        args = exercise.draw(Draw(k))
        call = told(exercise, args)
        try:
            seen[k] = exercise.look(function, *args)
            wanted = exercise.look(exercise.right, *exercise.draw(Draw(k)))
            if told(exercise, args) != call:
                raise TypeError("It changes its arguments. Make a new tensor or list, because the "
                                "caller still needs the old one.")
            fault = difference(seen[k], wanted, exercise.tolerance)
        except NotImplementedError:
            return NOT_STARTED
        except KeyboardInterrupt as error:                      # a loop without an end?
            return call + words(error, function)
        except (Exception, SystemExit) as error:
            seen[k], fault = error, words(error, function)
        if fault:
            wrong.append((len(call), call + fault))
    return min(wrong)[1] + mistake(exercise, seen) if wrong else ""


def told(exercise: Exercise, args) -> str:
    """The call, to be copied to a Python prompt."""
    return "\n".join([f"    {exercise.name}(", *(f"        {show(x)}," for x in args), "    )\n"])


def difference(seen: dict, wanted: dict, tolerance: float) -> str:
    """The first thing that is not as wanted."""
    for what, right in wanted.items():
        got = seen[what]
        if where := apart(got, right, tolerance):
            hint = ". Is there a `return`?" if got is None else ""
            return f"    {what} {show(got)}{hint}\n    wanted {show(right)}{where}".rstrip()
    return ""


def apart(got, right, tolerance: float) -> str:
    """How two values differ, or nothing."""
    try:
        x, y = as_tensor(got).double(), as_tensor(right).double()
    except (TypeError, ValueError, RuntimeError):               # None, a text, lists of all lengths
        return "" if got is right else " "
    if x.shape != y.shape:
        return f", of the shape {tuple(y.shape)}"
    places = (~torch.isclose(x, y, tolerance, tolerance, equal_nan=True)).nonzero().tolist()
    return f", first at {places[0]}" if places and y.ndim else " " * len(places)


def mistake(exercise: Exercise, seen: dict) -> str:
    """The sentence of the mistake that does in every call what was seen there: a result, or an
    error of the same kind."""
    def does(function, k: str) -> bool:
        try:
            gives = exercise.look(function, *exercise.draw(Draw(k)))
        except Exception as error:
            return type(error) is type(seen[k])
        return isinstance(seen[k], dict) and not difference(seen[k], gives, exercise.tolerance)

    for part, instead, sentence in exercise.mistakes:
        function = exercise.wrong(part, instead)
        if all(does(function, k) for k in seen):
            return "\n" + sentence
    return ""


def words(error: BaseException, function=None) -> str:
    """The error of the function, and its line in the function."""
    if isinstance(error, SystemExit):
        return "It ends Python with exit() or sys.exit(). Return a result instead."
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    line = f"\n    line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
    return f"{type(error).__name__}: {error}".splitlines()[0] + line


# ---- files --------------------------------------------------------------------------------------
def load(file: Path):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def exercises() -> dict[str, Exercise]:
    return {name: exercise for file in sorted(HERE.glob("key*.py"))
            for name, exercise in load(file).EXERCISES.items()}


def judge_file(exercise: Exercise, file: Path) -> str:
    """The same as judge, for the function of this name in a file."""
    if not file.exists():
        return f"There is no file {file}."
    try:
        function = getattr(load(file), exercise.name, None)
    except (Exception, SystemExit) as error:                    # a typing mistake, for example
        return f"{file.name} cannot be read. {words(error)}"
    if function is None:
        return f"{file.name} has no function {exercise.name}."
    return judge(exercise, function)


def check(function) -> None:
    """In a notebook: judge a function that has the name of an exercise."""
    by_name = {exercise.name: exercise for exercise in exercises().values()}
    if function.__name__ in by_name:
        print(judge(by_name[function.__name__], function) or "right")
    else:
        print(f"No exercise is called {function.__name__}. There are: {', '.join(by_name)}.")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.check", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", nargs="*", help="an exercise as 06a, a lesson as 06 [all]")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the files ex06.py are")
    parser.add_argument("--class", type=Path, dest="students",
                        help="a folder that holds one for each student")
    parser.add_argument("--csv", type=Path, default="points.csv",
                        help="where their points go [points.csv]")
    flags = parser.parse_args(arguments)
    known = exercises()
    for which in flags.which:
        if not any(name.startswith(which) for name in known):
            raise UserError(f"there is no exercise {which}; python -m lessons.check lists them")
    asked = [name for name in known if name.startswith(tuple(flags.which) or "")]
    if flags.students:
        from lessons.grade import grade_class
        grade_class(flags.students, asked, flags.csv)
        return 0
    missing = []
    torch.set_num_threads(1)
    sys.path.insert(0, str(flags.folder))                       # a file may import its neighbour
    for name in asked:
        file = flags.folder / f"ex{name[:2]}.py"
        wrong = judge_file(known[name], file)
        state = "not started" if wrong == NOT_STARTED else "not yet" if wrong else "right"
        print(f"{name} {known[name].name:<22} {state}")
        if flags.which and state == "not yet":
            print(f"{wrong}\n")
        missing += [f"Begin with {name}, in {file}."] if wrong else []
    print(f"{len(asked) - len(missing)} of {len(asked)} right.",
          *(missing[:1] if not flags.which else ()))
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(command(main))
