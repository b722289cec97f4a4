"""Random mutants: does a test notice a small fault that nobody planned?

    python tests/tools/mutate.py --room objectives --n 60 --seed 7      # about 5 s a mutant
    python tests/tools/mutate.py --room data look --n 40 --seed 7 --workers 2
    python tests/tools/mutate.py --room rollout --n 20 --seed 7 --all   # survivors meet the rest of the suite, too

Lines of a room are drawn at random, and on each line one edit of its syntax tree: an operator, a comparison, a number,
an end of a slice, an axis, a mean for a sum, swapped arguments, a dropped .detach(), a removed statement, a fixed seed.
Each mutant stands alone in a copy of the project. The tests of its room run there until the first one fails (killed);
a test that takes too long counts as killed. Survivors are printed and written to out/mutants/ as file:line, old -> new.
What to do with a survivor: write a law or a case that fails on it, not a copy of its line. If no test can see it, name
it with a reason in equivalents.txt; it is then not drawn.

Not drawn: docstrings, messages, pictures, type annotations, progress bars, settings of other devices, __main__ guards.

Why no library? mutmut 3 mutates function bodies only, tests everything in one process by forks, and has no slices, axes
or .detach(); a seeded draw of n mutants needs a wrapper. cosmic-ray has few operators and no removed statements, edits
files in place (a clone for each worker), and starts Python and torch anew for each mutant: 5 s before the first test.
Here a server has imported torch once, and each mutant is a fork of it.
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
from itertools import accumulate
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENTS = Path(__file__).with_name("equivalents.txt")
ROOMS = {       # room: (its folder, the files tests/core/test_*.py that touch it, or globs below tests/)
    "objectives": ("nanouft/objectives", "laws_of_rows objectives pairs ift kto orpo poft supervised una_uft rollouts "
                   "contract settings"),
    "rollout": ("nanouft/rollout", "held_out_is_disjoint laws_of_rows rollouts harvest best_of reward examples "
                "evaluate cli"),
    "data": ("nanouft/data", "held_out_is_disjoint data batches tokenizer pretrain transformers train"),
    "world": ("nanouft/world", "held_out_is_disjoint world probe_worlds una_uft pretrain parity"),
    "models": ("nanouft/models", "generate gpt transformers tokenizer resume cli"),
    "look": ("nanouft/look", "laws_of_rows evaluate probes stats contract train poft cli supervised"),
    "shell": ("nanouft/shell", "laws_of_rows settings signals resume cli train gpt rollouts ledger"),
    "training": ("nanouft/training", "held_out_is_disjoint laws_of_rows train optimizer curate settings cli contract "
                 "objectives"),
    "first": ("nanouft", "held_out_is_disjoint laws_of_rows gpt objectives optimizer simple pretrain reward ledger "
              "evaluate train generate resume cli"),
    "frozen_lake": ("frozen_lake", "lake/test_*.py lab/test_lake_study.py"),
    "lab": ("lab", "lab/test_*.py"),
    "grade": ("lessons/grade", "lessons/test_*.py"),
}
LEFT_OUT = {"nanouft/look/plots.py", "frozen_lake/pictures.py"}     # people look at pictures

OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
             ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
             ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
             ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or,
             ast.Or: ast.And}
TWINS = dict(sum="mean", mean="sum", min="max", max="min", amin="amax", amax="amin", any="all", all="any",
             argmin="argmax", argmax="argmin", minimum="maximum", maximum="minimum", isfinite="isnan", round="int",
             sorted="list", cumsum="abs", floor="ceil", ceil="floor")
DROPPED = {"detach", "abs", "strip", "lower", "clamp", "clamp_min", "clamp_max", "masked_fill", "copy", "clone",
           "removeprefix", "rstrip", "lstrip"}
WORDS = {"val": "train", "test": "train", "train": "val", "chosen": "rejected", "rejected": "chosen"}
SEEDED = {"Random", "default_rng", "manual_seed"}
SILENT = {"print", "say", "tqdm", "bar", "ax", "axes", "fig", "plt", "plots", "warnings", "parser"}
UNSEEN = {"desc", "total", "initial", "mininterval", "leave", "disable", "encoding", "errors", "ensure_ascii", "indent",
          "help", "metavar", "paper", "non_blocking", "fused", "file", "flush"}


@dataclass(frozen=True)
class Mutant:
    file: str               # from the project's root
    line: int
    source: bytes           # the whole file with the edit
    edit: str               # "old -> new", the lines that are touched

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, {self.edit}"


# ---- edits of one node -----------------------------------------------------------------------------------------------
def changed(node: ast.AST, **fields) -> ast.AST:
    out = copy.copy(node)
    for name, value in fields.items():
        setattr(out, name, value)
    return out


def edits(node: ast.AST) -> Iterator[ast.AST | str]:
    """What may stand in the place of this node."""
    match node:
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
            yield str(not value)
        case ast.Constant(value=int() as value):
            yield from (str(value + 1), str(value - 1))
        case ast.Constant(value=float() as value):
            yield from (repr(2 * value or 1.0), "0.0")
        case ast.Constant(value=str() as value) if value in WORDS:
            yield repr(WORDS[value])
        case ast.Slice(lower=lower, upper=upper):
            one = ast.Constant(1)
            if lower:
                yield changed(node, lower=ast.BinOp(lower, ast.Add(), one))
            if upper:
                yield changed(node, upper=ast.BinOp(upper, ast.Sub(), one))
                yield changed(node, upper=None)
        case ast.Call():
            yield from edits_of_call(node)
        case ast.If(orelse=[]):
            yield changed(node, test=ast.Constant(False), body=[ast.Pass()])


def edits_of_call(node: ast.Call) -> Iterator[ast.AST | str]:
    match node.func:
        case ast.Attribute(value=value, attr=attr):
            if attr in TWINS:
                yield changed(node, func=changed(node.func, attr=TWINS[attr]))
            if attr in DROPPED:
                yield value
            name = attr
        case ast.Name(id=name):
            if name in TWINS:
                yield changed(node, func=ast.Name(TWINS[name]))
        case _:
            name = ""
    if name in SEEDED and not (len(node.args) == 1 and isinstance(node.args[0], ast.Constant)):
        yield changed(node, args=[ast.Constant(0)])
    for i, word in enumerate(node.keywords):
        if word.arg == "seed" and not isinstance(word.value, ast.Constant):
            fixed = changed(word, value=ast.Constant(0))
            yield changed(node, keywords=[*node.keywords[:i], fixed, *node.keywords[i + 1:]])
    match node.args:
        case [one, other, *rest] if type(one) is type(other) and not isinstance(one, ast.Starred):
            yield changed(node, args=[other, one, *rest])


def removable(node: ast.AST) -> bool:
    """A statement without which the code still runs: a call, x += y, x[y] = z."""
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], ast.Subscript)
    return isinstance(node, ast.AugAssign) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


# ---- all mutants of a file -------------------------------------------------------------------------------------------
def root_name(node: ast.AST) -> str:
    """ax.plot(...) -> ax"""
    while isinstance(node, (ast.Call, ast.Attribute, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def silent(node: ast.AST) -> bool:
    """Nothing that stands in this node changes a result."""
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.Call():
            return root_name(node) in SILENT
        case ast.keyword(arg=arg):
            return arg in UNSEEN
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
    return False


def seen_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that may be edited: no annotations, no decorators, nothing silent."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not silent(child):
                yield child
                yield from seen_nodes(child)


def mutants_of(file: str) -> list[Mutant]:
    source = (ROOT / file).read_bytes()
    starts = [0, *accumulate(map(len, source.splitlines(keepends=True)))]       # of every line, in bytes
    out = []
    for node in seen_nodes(ast.parse(source)):
        found: list = list(edits(node))
        if removable(node) and not silent(getattr(node, "value", node)):
            found.append("pass")
        for new in found:
            text = new if isinstance(new, str) else ast.unparse(ast.fix_missing_locations(new))
            start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
            first, last = starts[node.lineno - 1], starts[node.end_lineno]
            edit = " -> ".join(on_one_line(x) for x in (source[first:last],
                                                        source[first:start] + text.encode() + source[end:last]))
            out.append(Mutant(file, node.lineno, source[:start] + text.encode() + source[end:], edit))
    return out


def on_one_line(code: bytes) -> str:
    """Without comments and line ends, cut to 300 letters."""
    return " ".join(re.sub(r"\s# .*", "", code.decode()).split())[:300]


def works(m: Mutant) -> bool:
    """Can it be parsed, and is it another program?"""
    try:
        return ast.dump(ast.parse(m.source)) != ast.dump(ast.parse((ROOT / m.file).read_bytes()))
    except SyntaxError:
        return False


def known_equivalents() -> set[tuple[str, str]]:
    """{(file, edit)} of equivalents.txt: lines `file | old -> new | reason`."""
    lines = EQUIVALENTS.read_text(encoding="utf-8").splitlines() if EQUIVALENTS.exists() else []
    parts = [line.split(" | ") for line in lines if line and not line.startswith("#")]
    return {(file, " | ".join(edit)) for file, *edit, _ in parts}


def draw(room: str, n: int, seed: int) -> list[Mutant]:
    """`n` mutants on different lines; every line that can be edited is as likely as any other."""
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    known = known_equivalents()
    for path in sorted((ROOT / ROOMS[room][0]).glob("*.py")):
        file = path.relative_to(ROOT).as_posix()
        for m in mutants_of(file) if file not in LEFT_OUT else []:
            if (file, m.edit) not in known:
                by_line.setdefault((file, m.line), []).append(m)
    rng, out = random.Random(f"{room} {seed}"), []
    for line in rng.sample(sorted(by_line), len(by_line)):
        m = rng.choice(by_line[line])
        if len(out) < n and works(m):
            out.append(m)
    return out


# ---- tests of a mutant -----------------------------------------------------------------------------------------------
def test_files(room: str) -> list[str]:
    globs = [word if "/" in word else f"core/test_{word}.py" for word in ROOMS[room][1].split()]
    return [f.relative_to(ROOT).as_posix() for glob in globs for f in sorted((ROOT / "tests").glob(glob))]


def nearest_first(tests: list[str], m: Mutant) -> list[str]:
    """The tests that name the mutant's file most often come first."""
    stem = Path(m.file).stem
    return sorted(tests, key=lambda t: -min(9, (ROOT / t).read_text(encoding="utf-8").count(stem)))


def run_tests(folder: str, tests: list[str]) -> None:
    """In a child: pytest in the copy `folder`; its exit status is the child's."""
    os.setsid()
    os.chdir(folder)
    sys.path[:] = [folder] + [p for p in sys.path if Path(p or ".").resolve() != ROOT]
    os.environ |= {"PYTHONPATH": folder, "OMP_NUM_THREADS": "1"}
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(nowhere, number)
    import pytest
    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))


def status(folder: Path, tests: list[str], limit: float) -> int:
    """Exit status of pytest: 0 passed. Too long counts as a failure."""
    child = FORKS.Process(target=run_tests, args=(str(folder), tests))
    child.start()
    child.join(limit)
    late = child.is_alive()
    try:
        os.killpg(child.pid, signal.SIGKILL)                # and what it has started
    except ProcessLookupError:
        pass
    child.join()
    return 1 if late else child.exitcode


def survives(m: Mutant, copies: queue.Queue, tests: list[str], limit: float) -> bool:
    folder = copies.get()
    file = folder / m.file
    try:
        file.write_bytes(m.source)
        moment = 1_000_000_000 + zlib.crc32(m.source) % 500_000_000
        os.utime(file, (moment, moment))                    # no bytecode of another mutant fits it
        return status(folder, tests, limit) == 0
    finally:
        shutil.copy2(ROOT / m.file, file)
        copies.put(folder)


def tried(room: str, mutants: list[Mutant], copies: queue.Queue, workers: int, rest: bool) -> list[Mutant]:
    """The survivors; each mutant's fate is printed."""
    tests, began = test_files(room), time.time()
    folder = copies.get()
    if status(folder, tests, 3600):
        sys.exit(f"{room}: its tests fail without a mutant; repair them first")
    copies.put(folder)
    limit, left = 60 + 3 * (time.time() - began), []
    others = sorted({f.relative_to(ROOT).as_posix() for f in ROOT.glob("tests/**/test_*.py")} - {*tests})
    print(f"{room}: {len(tests)} test files, {time.time() - began:.0f} s without a mutant", flush=True)

    def fate(m: Mutant) -> bool:
        return (survives(m, copies, nearest_first(tests, m), limit)
                and (not rest or survives(m, copies, others, 3600)))
    with ThreadPoolExecutor(workers) as pool:
        for m, alive in zip(mutants, pool.map(fate, mutants)):
            left += [m] * alive
            print(f"{'SURVIVES' if alive else 'killed  '} {m}", flush=True)
    return left


FORKS = multiprocessing.get_context("forkserver")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--room", nargs="+", choices=ROOMS, default=list(ROOMS), help="which rooms [every one]")
    parser.add_argument("--n", type=int, default=60, help="mutants of each room [60]")
    parser.add_argument("--seed", type=int, required=True, help="of the draw")
    parser.add_argument("--workers", type=int, default=1, help="how many at a time [1]")
    parser.add_argument("--all", action="store_true", help="survivors run against the rest of the suite, too")
    args = parser.parse_args(argv)
    FORKS.set_forkserver_preload(["torch._dynamo", "pytest", "numpy", "tiktoken", "safetensors.torch"])
    lines, table = [], []
    with tempfile.TemporaryDirectory(prefix="mutants-") as temporary:
        copies: queue.Queue = queue.Queue()
        for k in range(args.workers):
            folder = Path(temporary).resolve() / str(k)
            shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "out", "__pycache__"))
            copies.put(folder)
        for room in args.room:
            mutants = draw(room, args.n, args.seed)
            left = tried(room, mutants, copies, args.workers, args.all)
            lines += map(str, left)
            table.append(f"{room:<12} seed {args.seed}: {len(mutants)} planted, {len(mutants) - len(left)} killed, "
                         f"{len(left)} survived ({100 * len(left) / max(1, len(mutants)):.1f} %)")
    out = ROOT / "out" / "mutants" / f"{'-'.join(args.room)}-{args.seed}.txt"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join([*table, *lines]) + "\n", encoding="utf-8")
    print("\n".join([*table, f"survivors: {out.relative_to(ROOT)}"]))
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
