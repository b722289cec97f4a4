"""Mutants: right solutions, each changed in one or two places. What does the grader say of them?

    python -m lessons.grade --mutants 1 [07a ...]       # 1 is a seed: others, other mutants

A mutant counts as planted if it differs from the right solution on some input that the text of
the task allows: other hidden cases, other masks, one place only, equal numbers, large numbers.
Nobody wrote these mutants by hand, so nobody has thought of a name for them. Of cards to fill in,
each blank with options is answered wrongly, and the others rightly. Plans and predictions are left
out: a plan has many right forms, and nothing but its rules knows them; a prediction has none.
"""
import ast
import copy
import inspect
import signal
import textwrap
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import torch

from lessons.grade.engine import Answer, Exam, judge
from lessons.grade.facts import facts, names_of
from lessons.grade.folder import all_tasks
from lessons.grade.where import claims

EACH = 12                               # mutants of a task
TWICE = 0.25                            # of them are changed in two places
SECONDS = 20                            # for one mutant: some never end
MORE = 50                               # hidden cases that the grader did not ask, and as many in
                                        # other forms
OTHER = {"mean": "sum", "sum": "mean", "max": "min", "min": "max", "maximum": "minimum",
         "minimum": "maximum", "any": "all", "all": "any", "argmax": "argmin", "tril": "triu",
         "argmin": "argmax", "log": "exp", "exp": "log", "zeros_like": "ones_like",
         "ones_like": "zeros_like", "logsigmoid": "sigmoid", "softmax": "log_softmax",
         "log_softmax": "softmax", "zeros": "ones", "ones": "zeros", "stdev": "pstdev"}
LEFT_OUT = set("""abs clamp clamp_max clamp_min clone cumsum detach exp flip float log log_softmax
    logsigmoid masked_fill reversed set sigmoid softmax sorted sqrt square strip transpose
    tril""".split())
OPERATORS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
             ast.Pow: ast.Mult}
COMPARED = {ast.Lt: (ast.LtE, ast.Gt), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.Lt),
            ast.GtE: (ast.Gt, ast.Lt), ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,),
            ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,)}


# ---- one change of a program ---------------------------------------------------------------------

class Slow(BaseException):
    """No `except Exception` holds it."""


def changed(node, names: list[str], live: bool) -> Iterator:
    """Nodes that may stand in place of this one. names: arguments of the function."""
    kind = type(node)
    new = copy.deepcopy
    if kind is ast.BinOp:
        if type(node.op) in OPERATORS:
            yield replaced(node, op=OPERATORS[type(node.op)]())
        yield from (new(node.left), new(node.right))
        if type(node.op) in (ast.Sub, ast.Div, ast.Pow):
            yield replaced(node, left=node.right, right=node.left)
    elif kind is ast.UnaryOp:
        yield new(node.operand)
    elif kind is ast.Compare and len(node.ops) == 1:
        for other in COMPARED.get(type(node.ops[0]), ()):
            yield replaced(node, ops=[other()])
    elif kind is ast.BoolOp:
        yield replaced(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        yield from map(new, node.values)
    elif kind is ast.Constant and isinstance(node.value, (bool, int, float)):
        yield from map(ast.Constant, constants(node.value))
    elif kind is ast.Call:
        yield from calls(node)
    elif kind is ast.Subscript and isinstance(node.slice, (ast.Slice, ast.Tuple)):
        yield new(node.value)
    elif kind is ast.IfExp:
        yield from (new(node.body), new(node.orelse))
    elif kind is ast.Name and isinstance(node.ctx, ast.Load) and node.id in names:
        yield from (ast.Name(name, ast.Load()) for name in names if name != node.id)
        if live:
            yield ast.Call(ast.Attribute(new(node), "detach", ast.Load()), [], [])
    elif kind is ast.comprehension and node.ifs:
        yield replaced(node, ifs=[])
    elif kind is ast.If:
        yield from (replaced(node, test=ast.Constant(always)) for always in (True, False))
    elif kind is ast.AugAssign and type(node.op) in OPERATORS:
        yield replaced(node, op=OPERATORS[type(node.op)]())
    elif kind is ast.Return and isinstance(node.value, ast.Tuple):
        yield replaced(node, value=replaced(node.value, elts=node.value.elts[::-1]))
    elif kind is ast.Return:
        yield replaced(node, value=ast.UnaryOp(ast.USub(), node.value))
    elif kind is ast.With:
        yield ast.If(ast.Constant(True), new(node.body), [])


def replaced(node, **fields):
    """A copy with other fields."""
    new = copy.deepcopy(node)
    for name, value in copy.deepcopy(fields).items():
        setattr(new, name, value)
    return new


def constants(x) -> list:
    if isinstance(x, bool):
        return [not x]
    return [y for y in (0, x + 1, x - 1) if y != x] if isinstance(x, int) else [0.0, 2 * x]


def calls(node: ast.Call) -> Iterator:
    """Another function; without it; arguments exchanged; a named argument left out."""
    method = isinstance(node.func, ast.Attribute)
    name = node.func.attr if method else getattr(node.func, "id", "")
    if name in OTHER:
        field = {"attr" if method else "id": OTHER[name]}
        yield replaced(node, func=replaced(node.func, **field))
    module = method and isinstance(node.func.value, ast.Name) and node.func.value.id in (
        "torch", "F", "math")
    inner = node.args[:1] if module or not method else [node.func.value]
    if name in LEFT_OUT and inner:
        yield copy.deepcopy(inner[0])
    if len(node.args) > 1:
        *first, a, b = node.args
        yield replaced(node, args=[*first, b, a])
    for i in range(len(node.keywords)):
        yield replaced(node, keywords=node.keywords[:i] + node.keywords[i + 1:])


class Put(ast.NodeTransformer):
    """Puts `new` in place of the node number `at`, in the order of ast.walk."""

    def __init__(self, tree, at: int, new):
        self.old, self.new = list(ast.walk(tree))[at], new

    def visit(self, node):
        return self.new if node is self.old else self.generic_visit(node)


def mutants(tree: ast.Module, names: list[str], live: bool) -> list[ast.Module]:
    """All that differ from `tree` by one change."""
    found = []
    for at, node in enumerate(ast.walk(tree)):
        for new in changed(node, names, live):
            other = copy.deepcopy(tree)
            found.append(ast.fix_missing_locations(Put(other, at, new).visit(other)))
    return found


def drawn(task, rng: Random, n: int) -> Iterator[tuple[str, Callable]]:
    """(the lines that differ, the function) of n mutants of a task, and of more if asked."""
    right = task.by_hand or task.right
    program = getattr(task, "program", "")
    text = program or textwrap.dedent(inspect.getsource(right))
    space = {"__name__": "program"} if program else dict(right.__globals__)
    name = task.function if program else right.__name__
    tree = ast.parse(text)
    for node in ast.walk(tree):                             # texts are not changed
        if ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else False:
            node.body = node.body[1:]
    names = list(inspect.signature(right).parameters) if not program else []
    live = bool(task.gradients)
    once, before = mutants(tree, names, live), ast.unparse(tree)
    rng.shuffle(once)
    for found in once:
        if rng.random() < TWICE:
            found = rng.choice(mutants(found, names, live))
        lines = [line for line in ast.unparse(found).splitlines()
                 if line not in before.splitlines()]
        own = dict(space)
        try:
            exec(compile(found, "mutant", "exec"), own)
        except Exception:
            continue
        yield " | ".join(map(str.strip, lines)), own[name]


# ---- what the grader says ------------------------------------------------------------------------

def verdict_on(exam: Exam, truth: Exam, f: Callable) -> tuple[str, str]:
    """(passed | named | named wrongly | fact | note | perhaps | law | stops | without a word |
    "" if it is right, the words of the grader)"""
    own = Answer(f, truth)
    if own.agrees(truth.right):
        return "", ""
    found = judge(exam.task, f, exam=exam)
    if found["state"] == "right":
        return "passed", ""
    if found["mistake"]:
        fits = own.same_values if found.get("by") == "values" else own.agrees
        by_name = {mistake.name: mistake for mistake in exam.task.mistakes}
        named = any(fits(truth.answer(*[by_name[name] for name in reading]))
                    for reading in found["readings"])
        return "named" if named else "named wrongly", found["mistake"]
    if found["state"] == "amber":
        return "note", found["note"]
    if found.get("fact"):
        again = holds(found["fact"], truth, own)
        return "fact" if again else "false fact", found["fact"]
    if found.get("note"):
        return "stops" if own[0].values is None else "note", found["note"]
    for kind in ("perhaps", "law"):
        if found.get(kind):
            return kind, found[kind]
    return "without a word", str([case.get("differs") for case in found["cases"]][-1])[:200]


def holds(fact: str, truth: Exam, own: Answer) -> bool:
    """Does a fact hold on other cases, too, where the function does not stop?"""
    every, truth.all = truth.all, [i for i in truth.all if own[i].values is not None]
    try:
        known = [true for words, true, _ in claims(truth, own, names_of(truth.task))
                 if words == fact]
        if known or fact.startswith("In all cases tried"):
            return all(known)
        return any(still(fact, again) for again in facts(truth, own, False))
    finally:
        truth.all = every


def still(fact: str, again: str) -> bool:
    """Is it the same fact? A part that is "something else" says nothing."""
    parts = [text.rstrip(".").split("; ") for text in (fact, again)]
    return fact == again or len(parts[0]) == len(parts[1]) > 1 and all(
        a == b or a.endswith("something else") for a, b in zip(*parts))


@contextmanager
def at_most(seconds: float):
    """Slow is raised after so many seconds. Not on Windows."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_):
        raise Slow
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def examined(task, seed: str, each: int = EACH) -> Iterator[tuple[str, str, str]]:
    """(the kind of the verdict, its words, the lines that were changed) of `each` mutants."""
    exam = Exam(task, f"mutants {seed}")
    wide, planted = exam.wider("truth", MORE), 0
    for lines, f in drawn(task, Random(f"{seed} {task.id}"), each):
        if planted == each:
            break
        try:
            with at_most(SECONDS):
                kind, words = verdict_on(exam, wide, f)
        except Slow:
            kind, words = "stops", "too slow"
        if kind:
            planted += kind != "stops"
            yield kind, words, lines


def cards(task, name: str) -> Iterator[tuple[str, str, str]]:
    """As `examined`, of a card: one blank after the other gets each of its wrong options."""
    good = task.good(name)
    for blank in task.blanks(name):
        for option in [option for option in blank.options if option != blank.right]:
            state, mistake, lines = task.judge(good | {blank.key: option}, name)
            words = mistake.name if mistake else " ".join(lines[1:])    # the first one only counts
            kind = "named" if mistake else "fact" if words else "without a word"
            yield "passed" if state == "right" else kind, words, f"{blank.key} = {option!r}"


KINDS = ("named", "fact", "note", "perhaps", "law", "without a word",
         "false fact", "named wrongly", "passed")


def main(seed: str, ids: list[str], each: int = EACH) -> int:
    warnings.simplefilter("ignore")                         # mutants divide by 0
    torch.set_num_threads(1)
    start, total = time.time(), Counter()
    left_out = []
    for task in [task for task in all_tasks() if not ids or task.id.startswith(tuple(ids))]:
        is_card = hasattr(task, "blanks")
        if is_card or hasattr(task, "signature"):
            count = Counter()
            for kind, words, lines in cards(task, seed) if is_card else examined(task, seed, each):
                count[kind] += 1
                if kind in KINDS[5:]:
                    print(f"{task.id}  {kind}: {lines[:200]}\n      {words}".rstrip(), flush=True)
            print(f"{task.id}  " + ", ".join(f"{n} {kind}" for kind, n in count.items()),
                  flush=True)
            total += count
        else:
            left_out.append(task.id)
    planted = sum(total[kind] for kind in KINDS)
    print(f"\n{planted} mutants that run, {total['stops']} more that stop with an error; "
          f"{time.time() - start:.0f} s")
    if left_out:
        print(f"left out, as nobody knows all right answers: {', '.join(left_out)} (plans and "
              "predictions)")
    for kind in KINDS:
        print(f"{total[kind]:5} {100 * total[kind] / max(1, planted):5.1f} %  {kind}")
    return 1 if total["passed"] or total["named wrongly"] else 0
