"""What stands in a student's file: an answer with all that it uses, strange words, its tree.

The file comes from somebody else. It is only parsed here; what cannot be parsed is never an error.
"""
import ast
import json
import re
from functools import cache
from pathlib import Path

from lessons.grade.folder import My, is_function
from nanouft.run.config import tomllib

NODES = 40                              # smaller functions are equal by themselves
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)
STRANGE = frozenset("""lessons nanouft inspect gc ctypes importlib os sys shutil pathlib subprocess
    multiprocessing threading signal socket open eval exec getattr setattr globals __import__
    __globals__ __closure__ __subclasses__ _getframe tb_frame f_back""".split())


def written(my: My, task) -> str:
    """The student's text for a task: its function and what that uses, or the whole file. "" if
    there is none."""
    file = my.file(task)
    text = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    if not is_function(task):
        return text
    body = parsed(text)
    used = [task.function]
    if not any(isinstance(node, ast.FunctionDef) and node.name in used for node in body):
        return text if task.function in text else ""    # dpo_loss = ..., no Python, or not begun
    for name in used:                                   # the list grows
        words = [word.id for node in body if name in defines(node) for word in ast.walk(node)
                 if isinstance(word, ast.Name)]
        used += set(words).difference(used)
    nodes = [node for node in body if defines(node).intersection(used)]
    return "\n\n".join(ast.get_source_segment(text, node) or "" for node in nodes)


def parsed(text: str | bytes) -> list[ast.stmt]:
    try:
        return ast.parse(text).body
    except UNREADABLE:
        return []


def defines(node: ast.stmt) -> set[str]:
    """The names that a line of a file defines; imports are left out."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {word.id for target in targets for word in ast.walk(target)
            if isinstance(word, ast.Name)}


def strange_words(file: Path) -> list[str]:
    """Words in a program that an exercise does not need: a reason to read it, no verdict."""
    known = file.suffix == ".py" and file.exists()
    nodes = [node for line in parsed(file.read_bytes()) for node in ast.walk(line)] if known else []
    words = [word for node in nodes for field in ("id", "attr", "name", "module")
             for word in str(getattr(node, field, "")).split(".")]
    return sorted(STRANGE.intersection(words))


# ---- what is compared ----------------------------------------------------------------------------

@cache
def tree_of(code: str) -> str:
    """The syntax tree without names and docstrings. "" if it is small, or if there is none."""
    try:
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        big = sum(1 for _ in ast.walk(tree)) >= NODES
        numbers: dict[str, int] = {}                    # of names, in order of appearance
        return big * re.sub(r"\b(id|arg|name)='(\w+)'", lambda word: str(
            numbers.setdefault(word[2], len(numbers))), ast.dump(tree))
    except UNREADABLE:
        return ""


def card(code: str) -> dict:
    """What a card says; {} if it cannot be read."""
    try:
        return tomllib.loads(code)
    except (ValueError, RecursionError):
        return {}


def text_of(code: str) -> str:
    """A card without its comments. "" if it says nothing."""
    values = card(code)
    return json.dumps(values, sort_keys=True, default=str) if values else ""
