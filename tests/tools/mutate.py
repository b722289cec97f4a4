"""Random mutants: does a test notice a small fault that nobody planned?

    python tests/tools/mutate.py --room objectives --n 60 --seed 7      # 6 minutes
    python tests/tools/mutate.py --room rewards --n 20 --seed 7 --all   # survivors meet all tests
Lines of a room are drawn at random, and on each line one edit of its syntax tree: an operator, a
comparison, a number, an end of a slice, an axis, a mean for a sum, swapped arguments, a dropped
.detach(), a removed statement, a fixed seed. Each mutant stands alone in a copy of the project. The
tests of its room run there until the first one fails (killed); a test that takes too long counts as
killed. Survivors are printed and written to out/mutants/ as file:line, old -> new. What to do with
a survivor: write a law or a case that fails on it, not a copy of its line. If no test can see it,
name it with a reason in equivalents.txt; it is then not drawn. Not drawn: docstrings, messages,
pictures, type annotations, progress bars, settings of other devices, __main__ guards, seconds that
something took, sizes of memory parts, time limits, versions that are raised by hand.

Why no library? mutmut 3 mutates function bodies only, has no slices, axes, .detach() or removed
statements, and draws no random sample. cosmic-ray removes no statements either, edits files in
place, and starts Python and torch again for each mutant: 5 s before the first test. Here each
mutant is a fork of a process that has imported torch.
"""
import argparse
import ast
import copy
import multiprocessing
import os
import queue
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENTS = Path(__file__).with_name("equivalents.txt")
LAWS = "held_out_is_disjoint laws_of_rows known_figures contract "
ROOMS = {  # room: (its folder, the files tests/core/test_*.py that touch it, or globs below tests/)
    "objectives": ("nanouft/objectives", LAWS + "objectives parity pairs ift una_uft rollouts "
                   "supervised"),
    "rewards": ("nanouft/rewards", LAWS + "rollouts harvest reward examples evaluate cli resume"),
    "data": ("nanouft/data", LAWS + "data batches tokenizer pretrain transformers train"),
    "world": ("nanouft/world", LAWS + "world una_uft pretrain parity"),
    "models": ("nanouft/models", LAWS + "generate gpt transformers tokenizer resume evaluate cli"),
    "eval": ("nanouft/eval", LAWS + "evaluate train cli supervised una_uft"),
    "run": ("nanouft/run", LAWS + "settings signals resume cli train reward rollouts parallel"),
    "files": ("nanouft/files", LAWS + "data foreign_folders train"),
    "first": ("nanouft", LAWS + "gpt objectives simple rollouts pretrain reward ledger evaluate "
              "train "
              "generate streams"),
    "frozen_lake": ("frozen_lake",
                    "core/test_known_figures.py lake/test_*.py ../lab/tests/test_lake_study.py"),
    "lab": ("lab", "core/test_known_figures.py ../lab/tests/test_*.py"),
    "grade": ("lessons/grade", "lessons/test_*.py"),
}
LEFT_OUT = {"nanouft/eval/plots.py", "frozen_lake/pictures.py"}     # people look at pictures

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
FEW = 4                 # test files that import a file
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
    line: int
    source: bytes           # the whole file with the edit
    edit: str               # "old -> new", the lines that are touched

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, {self.edit}"


def files(glob: str) -> list[str]:
    return sorted(f.relative_to(ROOT).as_posix() for f in ROOT.glob(glob))


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
                yield Mutant(file, node.lineno, source[:start] + text + source[end:], edit)


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


def draw(room: str, n: int, seed: int) -> list[Mutant]:
    """`n` mutants on different lines; every line that can be edited is as likely as any other."""
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    lines = [x for x in EQUIVALENTS.read_text(encoding="utf-8").splitlines() if x
             and not x.startswith("#")]
    known = set(zip(lines[::3], lines[1::3]))  # three lines each: the file, the edit, the reason
    for file in sorted(set(files(f"{ROOMS[room][0]}/*.py")) - LEFT_OUT):
        for m in mutants_of(file):
            if (file, m.edit) not in known:
                by_line.setdefault((file, m.line), []).append(m)
    rng = random.Random(f"{room} {seed}")
    return [rng.choice(by_line[line]) for line in rng.sample(sorted(by_line), min(n, len(by_line)))]


# ---- tests of a mutant ---------------------------------------------------------------------------
def test_files(room: str) -> list[str]:
    words = ROOMS[room][1].split()
    return [file for word in words
            for file in files(f"tests/{word}" if "/" in word else f"tests/core/test_{word}.py")]


@lru_cache
def imports(file: str) -> set[str]:
    """The modules that a file imports, and the names that it takes from them."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def nearest_first(file: str, room: str) -> list[str]:
    """The tests of the room: first the one of its name, then those that import it, then the others.
    Where few tests import it, those of other rooms take part."""
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    near = [test for test in files("tests/**/test_*.py") if module in imports(test)]
    found = list(dict.fromkeys(test_files(room) + (near if len(near) <= FEW else [])))
    return sorted(found, key=lambda test: (Path(file).stem not in Path(test).stem,
                                           test not in near))


def run_tests(folder: str, tests: list[str]) -> None:
    """In a child: pytest in the copy `folder`; its exit status is the child's."""
    os.setsid()
    os.chdir(folder)
    sys.path[:] = [folder] + [p for p in sys.path if Path(p or ".").resolve() != ROOT]
    os.environ |= {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    import pytest
    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))


def passes(folder: Path, tests: list[str], limit: float) -> bool:
    """Do the tests pass there, within `limit` seconds?"""
    child = FORKS.Process(target=run_tests, args=(str(folder), tests))
    child.start()
    child.join(limit)
    if child.is_alive():
        os.killpg(child.pid, signal.SIGKILL)                # with all that it has started
        child.join()
    return child.exitcode == 0


def survives(m: Mutant, copies: queue.Queue, tests: list[str], limit: float) -> bool:
    folder = copies.get()
    file = folder / m.file
    try:
        file.write_bytes(m.source)
        moment = 1_000_000_000 + zlib.crc32(m.source) % 500_000_000
        os.utime(file, (moment, moment))                    # no bytecode of another mutant fits it
        return passes(folder, tests, limit)
    finally:
        shutil.copy2(ROOT / m.file, file)
        copies.put(folder)


def survivors(room: str, mutants: list[Mutant], copies: queue.Queue, workers: int,
              rest: bool) -> list[Mutant]:
    tests, began, folder = test_files(room), time.time(), copies.get()
    if not passes(folder, tests, 3600):
        sys.exit(f"{room}: its tests fail without a mutant; repair them first")
    copies.put(folder)
    limit = 120 + 3 * (time.time() - began)

    def fate(m: Mutant) -> bool:
        mine = nearest_first(m.file, room)
        alive = survives(m, copies, mine, limit)
        others = [test for test in files("tests/**/test_*.py") if test not in mine]
        alive = alive and not (rest and not survives(m, copies, others, 3600))
        print(f"{'SURVIVES' if alive else 'killed  '} {m}", flush=True)
        return alive
    with ThreadPoolExecutor(workers) as pool:
        return [m for m, alive in zip(mutants, pool.map(fate, mutants)) if alive]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--room", nargs="+", choices=ROOMS, default=list(ROOMS),
                        help="which rooms [every one]")
    parser.add_argument("--n", type=int, default=60, help="mutants of each room [60]")
    parser.add_argument("--seed", type=int, required=True, help="of the draw")
    parser.add_argument("--workers", type=int, default=1, help="how many at a time [1]")
    parser.add_argument("--all", action="store_true", help="survivors run against the rest of the "
                        "suite, too")
    args = parser.parse_args(argv)
    FORKS.set_forkserver_preload(["torch._dynamo", "pytest", "numpy", "tiktoken",
                                  "safetensors.torch"])
    table, lines, copies = [], [], queue.Queue()
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        for k in range(args.workers):
            folder = Path(temporary).resolve() / str(k)
            shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "out", "__pycache__"))
            copies.put(folder)
        for room in args.room:
            mutants = draw(room, args.n, args.seed)
            left = survivors(room, mutants, copies, args.workers, args.all)
            lines += map(str, left)
            table.append(f"{room:<12} seed {args.seed}: {len(mutants)} planted, "
                         f"{len(mutants) - len(left)} killed, {len(left)} survived")
            print(table[-1], flush=True)
    out = ROOT / "out" / "mutants" / f"{'-'.join(args.room)}-{args.seed}.txt"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join([*table, *lines]) + "\n", encoding="utf-8")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
