"""Random mutants: does a test notice a small fault that nobody planned?

    python tests/tools/mutate.py --n 10 --seed 7 --minutes 5    # the same command goes on
    python tests/tools/mutate.py --room lab below --seed 7      # a room, a side of the line
    python tests/tools/mutate.py --seed 7 --again               # survivors meet slow tests, too
    python tests/tools/mutate.py --table 7 8                    # what these seeds have shown

Statements of each room are drawn at random, and in each one edit of its syntax tree: an operator, a
comparison, a number, an end of a slice, a mean for a sum, swapped arguments, a dropped .detach(), a
removed statement, a fixed seed. Each mutant stands alone in a copy of the project, in a fork of a
process that has imported torch. The tests that run the statement (tests_of.py; at most SECONDS of
them) run there until one fails or takes too long: killed. Each fate is a line of
out/mutants/SEED.jsonl, with that test. At the end these tests run without a mutant: a kill by a
test that fails there, too, does not count.

What to do with a survivor: write a law or a case that fails on it, not a copy of its line. If no
test can see it, name it with a reason in equivalents.txt; then it counts apart and is not run.
Not drawn: docstrings, messages, pictures, type annotations, progress bars, settings of other
devices, __main__ guards, seconds that something took, sizes of memory parts, time limits, versions
that are raised by hand.
"""
import argparse
import ast
import copy
import json
import math
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import accumulate, zip_longest
from pathlib import Path

import tests_of
from tests_of import ROOT
from tqdm import tqdm

EQUIVALENTS = Path(__file__).with_name("equivalents.txt")
ABOVE = {               # the rooms on each side of the line (CONTRIBUTING.md), and their files
    "objectives": "nanouft/objectives/*.py",
    "data": "nanouft/data/*.py",
    "world": "nanouft/world/[!_]*.py nanouft/world/__init__.py",
    "middle": "nanouft/errors.py nanouft/seeds.py nanouft/gpt.py nanouft/objective.py "
              "nanouft/loop.py nanouft/sampling.py nanouft/reference.py nanouft/simple.py"}
BELOW = {
    "run": "nanouft/run/*.py",
    "files": "nanouft/files/*.py",
    "models": "nanouft/models/*.py nanouft/hf/*.py",
    "eval": "nanouft/eval/*.py",
    "rewards": "nanouft/rewards/*.py",
    "commands": "nanouft/train.py nanouft/pretrain.py nanouft/reward.py nanouft/sample.py "
                "nanouft/evaluate.py nanouft/ledger.py nanouft/__*.py nanouft/world/__main__.py",
    "playground": "nanouft/playground/*.py",
    "frozen_lake": "frozen_lake/*.py",
    "lab": "lab/*.py",
    "grade": "lessons/grade/*.py",
    "teaching": "lessons/gallery/*.py lessons/cheat_sheet/*.py"}
ROOMS = ABOVE | BELOW
LEFT_OUT = {"nanouft/eval/plots.py", "frozen_lake/pictures.py", "lab/pictures.py"}  # people look
SECONDS = 15            # of tests that one mutant meets, as measured

PAIRS = [(ast.Add, ast.Sub), (ast.Mult, ast.Div), (ast.BitAnd, ast.BitOr), (ast.Lt, ast.LtE),
         (ast.Gt, ast.GtE), (ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot),
         (ast.And, ast.Or)]
OPERATORS = dict(PAIRS) | {other: one for one, other in PAIRS}
OPERATORS |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult}
TWINS = dict(sum="mean", mean="sum", min="max", max="min", amin="amax", amax="amin", any="all",
             all="any", argmin="argmax", argmax="argmin", minimum="maximum", maximum="minimum",
             isfinite="isnan", round="int", sorted="list", floor="ceil", ceil="floor")
DROPPED = {"detach", "abs", "strip", "lower", "clamp", "clamp_min", "clamp_max", "masked_fill",
           "copy", "clone", "removeprefix", "rstrip", "lstrip"}
WORDS = {"val": "train", "test": "train", "train": "val", "chosen": "rejected",
         "rejected": "chosen"}
SEEDED = {"Random", "default_rng", "manual_seed"}
SILENT = {"print", "say", "tqdm", "bar", "ax", "axes", "fig", "plt", "plots", "warnings", "parser",
          "time"}
# of memory, of patience and of what is printed
SIZES = {"CHUNK", "PART", "LARGE", "SECONDS", "START", "LOOK", "BUDGET", "AT_ONCE", "SHOWN",
         "LINES", "LETTERS", "SHARP", "MOST_THREADS"}
DEVICES = {"cuda", "mps"}
UNSEEN = {"desc", "total", "initial", "mininterval", "leave", "disable", "encoding", "errors",
          "ensure_ascii", "indent", "help", "metavar", "paper", "non_blocking", "fused", "file",
          "flush", "timeout", "poll_interval", "strict", "figsize", "dpi", "color"}
FORKS = multiprocessing.get_context("forkserver")


# ---- edits of one node of the syntax tree --------------------------------------------------------
def changed(node: ast.AST, **fields) -> ast.AST:
    out = copy.copy(node)
    for name, value in fields.items():
        setattr(out, name, value)
    return out


def edits(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of this node."""
    match node:
        case (ast.BinOp(left=ast.JoinedStr() | ast.Constant(value=str()))
              | ast.BinOp(right=ast.JoinedStr() | ast.Constant(value=str()))):
            pass                                                    # folder / "name", "text" + more
        case ast.BinOp(left=left, op=op, right=right):
            if type(op) in OPERATORS:
                yield changed(node, op=OPERATORS[type(op)]())
            if isinstance(op, (ast.Add, ast.Sub, ast.Mult, ast.Div)):
                yield left
            if isinstance(op, (ast.Add, ast.Mult)):
                yield right
        case ast.Compare(ops=[op]):
            yield changed(node, ops=[OPERATORS[type(op)]()])
        case ast.BoolOp(op=op, values=values):
            yield changed(node, op=OPERATORS[type(op)]())
            yield from values
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.IfExp(body=body, orelse=orelse):
            yield from (body, orelse)
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value=float() as value):
            yield from (ast.Constant(2 * value or 1.0), ast.Constant(0.0))
        case ast.Constant(value=str() as value) if value in WORDS:
            yield ast.Constant(WORDS[value])
        case ast.Slice(lower=lower, upper=upper):
            if lower:
                yield changed(node, lower=ast.BinOp(lower, ast.Add(), ast.Constant(1)))
            if upper:
                yield changed(node, upper=ast.BinOp(upper, ast.Sub(), ast.Constant(1)))
                yield changed(node, upper=None)
        case ast.Call():
            yield from edits_of_call(node)
        case ast.If(orelse=[]):
            yield changed(node, test=ast.Constant(False), body=[ast.Pass()])
    if removable(node):
        yield ast.Pass()


def edits_of_call(node: ast.Call) -> Iterator[ast.AST]:
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name in TWINS:
        renamed = {"attr" if isinstance(function, ast.Attribute) else "id": TWINS[name]}
        yield changed(node, func=changed(function, **renamed))
    if name in DROPPED and isinstance(function, ast.Attribute):
        yield function.value
    if name in SEEDED and node.args:
        yield changed(node, args=[ast.Constant(0)])
    if any(word.arg == "seed" for word in node.keywords):
        others = [word for word in node.keywords if word.arg != "seed"]
        yield changed(node, keywords=[*others, ast.keyword("seed", ast.Constant(0))])
    match node.args:
        case [one, other, *rest] if type(one) is type(other) and not isinstance(one, ast.Starred):
            yield changed(node, args=[other, one, *rest])


def removable(node: ast.AST) -> bool:
    """A statement without which the code still runs: a call, x += y, x[y] = z."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call) and not silent(node.value)
    is_item = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)
    return is_item or isinstance(node, ast.AugAssign)


def silent(node: ast.AST) -> bool:
    """Nothing that stands in this node changes a result."""
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.BinOp(left=ast.Call() as clock) if ast.unparse(clock).startswith("time."):
            return True                                     # seconds that something took
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in SIZES or name.endswith("VERSION")
        case ast.FunctionDef():
            return any(name in ast.unparse(node) for name in ("plt.", "ax.", "axes["))  # it draws
        case ast.If(
                test=ast.Compare(
                    comparators=[ast.Constant(value=str() as kind)])) if kind in DEVICES:
            return True
        case ast.Call(func=place):
            if ast.unparse(place).startswith("torch.cuda."):
                return True
            # ax[0].plot(...) -> ax
            while isinstance(place, (ast.Attribute, ast.Subscript, ast.Call)):
                place = place.func if isinstance(place, ast.Call) else place.value
            return getattr(place, "id", "") in SILENT
        case ast.keyword(arg=arg):
            return arg in UNSEEN
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
    return False


def seen_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may be edited: no annotations, no decorators, nothing silent."""
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns", "decorator_list"):
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not silent(child):
                    yield child
                    yield from seen_nodes(child)


# ---- mutants of a room ---------------------------------------------------------------------------
@dataclass(frozen=True)
class Mutant:
    file: str               # from the project's root
    lines: tuple[int, int]  # first and last line of the statement
    source: bytes           # the whole file with the edit
    edit: str               # "old -> new", the lines that are touched


@dataclass
class Fate:
    """A line of out/mutants/SEED.jsonl."""
    room: str
    file: str
    line: int
    edit: str
    killer: str | None      # the test that failed, None: alive
    seconds: float


def files_of(room: str) -> list[str]:
    found = {file.relative_to(ROOT).as_posix() for glob in ROOMS[room].split()
             for file in ROOT.glob(glob)}
    return sorted(found - LEFT_OUT)


def mutants_of(file: str) -> Iterator[Mutant]:
    source = (ROOT / file).read_bytes()
    starts = [0, *accumulate(map(len, source.splitlines(keepends=True)))]   # of each line, in bytes
    tree = ast.parse(source)
    of_statement = statement_lines(tree)
    for node in seen_nodes(tree):
        for new in edits(node):
            text = ast.unparse(ast.fix_missing_locations(new)).encode()
            text = text.replace(b"\n", b"\n" + b" " * node.col_offset)
            start, end = starts[node.lineno - 1] + node.col_offset, starts[
                node.end_lineno - 1] + node.end_col_offset
            first, last = of_statement[node.lineno]
            first, last = starts[first - 1], starts[max(last, node.end_lineno)]
            edit = (f"{one_line(source[first:last])} -> "
                    f"{one_line(source[first:start] + text + source[end:last])}")
            if text != source[start:end]:
                yield Mutant(file, of_statement[node.lineno],
                             source[:start] + text + source[end:], edit)


def statement_lines(tree: ast.AST) -> dict[int, tuple[int, int]]:
    """{line: first and last line of its statement}; of an `if` or a `for` the head alone."""
    found = {}
    for node in ast.walk(tree):                             # inner statements come later
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", [])
            last = max(node.lineno, body[0].lineno - 1) if body else node.end_lineno
            found |= dict.fromkeys(range(node.lineno, last + 1), (node.lineno, last))
    return found


def one_line(code: bytes) -> str:
    """Without comments and line ends, cut to 300 letters."""
    return " ".join(re.sub(r"\s# .*", "", code.decode()).split())[:300]


def equivalents() -> set[tuple[str, str]]:
    """(file, edit); three lines of equivalents.txt each: the file, the edit, the reason."""
    lines = [x for x in EQUIVALENTS.read_text(encoding="utf-8").splitlines()
             if x and not x.startswith("#")]
    return set(zip(lines[::3], lines[1::3]))


def draw(room: str, n: int, seed: int) -> list[Mutant]:
    """`n` mutants of different statements; each statement is as likely as any other."""
    places: dict[tuple[str, int], list[Mutant]] = {}
    for file in files_of(room):
        for m in mutants_of(file):
            places.setdefault((file, m.lines[0]), []).append(m)
    rng = random.Random(f"{room} {seed}")
    return [rng.choice(places[at]) for at in rng.sample(sorted(places), min(n, len(places)))]


# ---- tests of a mutant ---------------------------------------------------------------------------
def near(m: Mutant, measured: dict, table: dict[str, list[str]], most: float) -> list[str]:
    """What to run: the tests that run the statement (what runs at import: those that run anything
    of the file), those of the file of its name first, then the fastest ones, together `most`
    seconds long. Where nothing was measured: the table's test files."""
    lines, (first, last) = measured["lines"].get(m.file, {}), m.lines
    if measured["digests"].get(m.file) != tests_of.digest(m.file):
        lines = {}                                          # measured on other lines
    tests = {name for line in range(first, last + 1) for name in lines.get(str(line), [])}
    tests = tests or set().union(*lines.values())
    seconds, spent = measured["seconds"], 0.0
    chosen: list[str] = []
    for name in sorted(tests, key=lambda name: (Path(m.file).stem not in name, seconds[name])):
        if not chosen or spent + seconds[name] < most:
            chosen.append(name)
            spent += seconds[name]
    return chosen or table.get(m.file, [])


def in_turn(tests: list[str]) -> list[list[str]]:
    """Three calls of pytest: the first file, then the others, then lab's, which has settings of its
    own."""
    first = [name for name in tests if name.split("::")[0] == tests[0].split("::")[0]]
    others = [name for name in tests if name not in first]
    lab = [name for name in others if name.startswith("lab/")]
    return [part for part in (first, [name for name in others if name not in lab], lab) if part]


class Killer:
    """A plugin of pytest: writes down the first test that fails."""
    def __init__(self, file: Path):
        self.file = file

    def pytest_runtest_logreport(self, report) -> None:
        if report.failed and not self.file.exists():
            self.file.write_text(report.nodeid)


def run_tests(folder: str, tests: list[str], killer: str) -> None:
    """In a child: pytest in the copy `folder`; its exit status is the child's."""
    os.setsid()
    os.chdir(folder)
    sys.path[:] = [folder] + [p for p in sys.path if Path(p or ".").resolve() != ROOT]
    os.environ |= {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    import pytest
    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests],
                             plugins=[Killer(Path(killer))])))


class Copy:
    """A copy of the project, in which mutants are planted."""
    def __init__(self, folder: Path):
        self.folder = folder / "project"
        self.killer = folder / "killer"
        shutil.copytree(ROOT, self.folder,
                        ignore=shutil.ignore_patterns(".*", "out", "__pycache__"))

    def first_failure(self, tests: list[str], limit: float) -> str | None:
        """The first of `tests` that fails there, None if all pass. Too long is a failure."""
        self.killer.unlink(missing_ok=True)
        child = FORKS.Process(target=run_tests, args=(str(self.folder), tests, str(self.killer)))
        child.start()
        child.join(limit)
        if child.is_alive():
            os.killpg(child.pid, signal.SIGKILL)            # with all that it has started
            child.join()
            return f"{tests[0]} (too long)"
        if child.exitcode == 0:
            return None
        if not self.killer.exists():
            return tests[0]
        return "lab/" * tests[0].startswith("lab/") + self.killer.read_text()   # named from lab/

    def fate(self, m: Mutant, tests: list[str], limit: float) -> str | None:
        """The test that kills a mutant."""
        file = self.folder / m.file
        try:
            file.write_bytes(m.source)
            moment = 1_000_000_000 + zlib.crc32(m.source) % 500_000_000
            os.utime(file, (moment, moment))                # no bytecode of another mutant fits it
            found = (self.first_failure(part, limit) for part in in_turn(tests))
            return next(filter(None, found), None)
        finally:
            shutil.copy2(ROOT / m.file, file)


# ---- many mutants --------------------------------------------------------------------------------
def record(seed: int) -> Path:
    return ROOT / "out" / "mutants" / f"{seed}.jsonl"


def read(seed: int) -> list[Fate]:
    lines = record(seed).read_text(encoding="utf-8").splitlines() if record(seed).exists() else []
    return [Fate(**json.loads(line)) for line in lines]


def write(seed: int, fates: list[Fate]) -> None:
    record(seed).parent.mkdir(parents=True, exist_ok=True)
    record(seed).write_text("".join(json.dumps(asdict(fate)) + "\n" for fate in fates),
                            encoding="utf-8")


def show(fates: list[Fate]) -> None:
    """The table, by room and by side of the line, and the survivors."""
    known = equivalents()
    counts: Counter = Counter()
    for fate in fates:
        how = "equal" if (fate.file, fate.edit) in known else "killed" if fate.killer else "alive"
        for row in (fate.room, "above the line" if fate.room in ABOVE else "below the line"):
            counts[row, how] += 1
        if how == "alive":
            print(f"ALIVE {fate.file}:{fate.line}, {fate.edit}")
    print(f"{'room':<16}{'side':<7}{'planted':>8}{'killed':>8}{'alive':>8}{'equivalent':>12}")
    for row in (*ROOMS, "above the line", "below the line"):
        killed, alive, equal = (counts[row, how] for how in ("killed", "alive", "equal"))
        if killed + alive + equal:
            side = "above" if row in ABOVE else "below" if row in BELOW else ""
            rate = "" if side else f"   {100 * alive / max(1, killed + alive):.0f} % alive"
            print(f"{row:<16}{side:<7}{killed + alive + equal:>8}{killed:>8}{alive:>8}{equal:>12}"
                  + rate)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--room", nargs="+", choices=[*ROOMS, "above", "below"], metavar="ROOM",
                        default=list(ROOMS), help="rooms, or a side of the line: above, below "
                        f"[all: {', '.join(ROOMS)}]")
    parser.add_argument("--n", type=int, default=10, help="mutants of each room [10]")
    parser.add_argument("--seed", type=int, help="of the draw")
    parser.add_argument("--minutes", type=float, default=1e6, help="then stop; the same command "
                        "goes on")
    parser.add_argument("--again", action="store_true",
                        help="survivors of this seed meet the slow tests of their line, too")
    parser.add_argument("--table", type=int, nargs="+", help="only print what these seeds showed")
    args = parser.parse_args(argv)
    if args.table:
        show([fate for seed in args.table for fate in read(seed)])
        return 0
    if args.seed is None:
        parser.error("--seed is missing")
    FORKS.set_forkserver_preload(["torch._dynamo", "pytest", "numpy", "tiktoken",
                                  "safetensors.torch"])
    fates, known, until = read(args.seed), equivalents(), time.time() + 60 * args.minutes
    done = {(fate.file, fate.edit) for fate in fates if fate.killer or not args.again}
    rooms = [room for given in args.room
             for room in {"above": ABOVE, "below": BELOW}.get(given, [given])]
    drawn = [[(room, m) for m in draw(room, args.n, args.seed)] for room in rooms]
    todo = [pair for one_each in zip_longest(*drawn) for pair in one_each
            if pair and (pair[1].file, pair[1].edit) not in done]
    measured, table = tests_of.load(), json.loads(tests_of.TABLE.read_text(encoding="utf-8"))
    fresh: list[Fate] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        copy_ = Copy(Path(temporary).resolve())
        for room, m in (bar := tqdm(todo, desc="mutants", unit="", mininterval=0)):
            if time.time() > until:
                break
            began = time.time()
            tests = near(m, measured, table, math.inf if args.again else SECONDS)
            is_known = (m.file, m.edit) in known
            killer = None if is_known else copy_.fate(m, tests, 3600 if args.again else 8 * SECONDS)
            fate = Fate(room, m.file, m.lines[0], m.edit, killer, round(time.time() - began, 1))
            fates = [f for f in fates if (f.file, f.edit) != (m.file, m.edit)] + [fate]
            fresh.append(fate)
            write(args.seed, fates)
            how = "equivalent" if is_known else killer or "ALIVE"
            bar.write(f"{how}: {m.file}:{m.lines[0]}, {m.edit}")
        killers = sorted({f.killer for f in fresh
                          if f.killer and not f.killer.endswith("(too long)")})
        if any(copy_.first_failure(part, 3600) for part in in_turn(killers)):
            wrong = {test for test in killers if copy_.first_failure([test], 600)}
            print("fail without a mutant, too:", *sorted(wrong))
            fates = [f for f in fates if f.killer not in wrong]
    write(args.seed, fates)
    show(fates)
    return int(any(not f.killer and (f.file, f.edit) not in known for f in fates))


if __name__ == "__main__":
    sys.exit(main())
