"""Errors for the person at the keyboard: what is wrong, where, what to do, in one line.

    raise UserError("my.jsonl, line 3: no prompt")
    one_of("command", "trian", ["train", "sample"])             # "... did you mean train?"
"""
import difflib
import errno
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import decode_source, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

# the messages of PyTorch, cuBLAS and cuDNN if a GPU or the computer has no memory left
NO_MEMORY = re.compile(
    "out of memory|can't allocate memory|not enough memory|STATUS_ALLOC_FAILED", re.I)

HF = "transformers peft accelerate datasets"        # the extra `hf`, to be installed by pip


# a flag in a line; first come what is not looked into, a command line or a text in quotation marks
FLAG = re.compile(r"""python -m .*|"[^"]*"|'[^']*'|(?<![\w./-])--([a-z][\w-]*)""")


def flag(name: str) -> str:
    """The flag of a setting: "batch_size" -> "--batch-size"."""
    return "--" + name.replace("_", "-")


class UserError(Exception):
    """One clear line: what is wrong, where, what to do. Its parts are joined."""

    def __init__(self, *parts: str):
        super().__init__("".join(parts))

    def _render_traceback_(self) -> list[str]:
        """What a cell of a notebook shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class Diverged(UserError):
    """Training diverged: the loss, the gradient or a weight is NaN or infinite."""


def as_arguments(line: str) -> str:
    """A line for a call in Python: "--batch-size 0: ..." -> "batch_size 0: ...". A command line in
    it stays, and a text in quotation marks."""
    line = line.replace(" (--help all lists the flags)", "")
    return FLAG.sub(lambda found: (found[1] or "").replace("-", "_") or found[0], line)


def out_of_memory(e: BaseException) -> bool:
    """True if the error says that the computer or the GPU has no memory left."""
    says_so = isinstance(e, RuntimeError) and NO_MEMORY.search(str(e))
    return bool(says_so) or isinstance(e, MemoryError) or getattr(e, "errno", 0) == errno.ENOMEM


def one_of(what: str, word: str, known: Iterable[str]) -> str:
    """`word` if it is known; else UserError with the nearest known word, and with all of them if
    there is none or they are few."""
    if word not in (known := list(known)):
        hint = nearest(word, known)
        if not hint or len(known) <= 12:
            hint += f" (known: {', '.join(known)})"
        raise UserError(f"unknown {what} {word[:80]!r}{hint}")
    return word


def nearest(word: str, known: Iterable[str], before: str = "") -> str:
    """A hint with the known word most like this one, such as "; did you mean train?", or ""."""
    lowered = {x.lower(): x for x in known}
    near = [x for x in lowered if len(word) > 2 and x.startswith(word.lower())]
    near += difflib.get_close_matches(word.lower(), lowered, 1)
    return f"; did you mean {before}{lowered[near[0]]}?" if near else ""


# ---- code of others ------------------------------------------------------------------------------
loading: list[str] = []         # its files that are being executed


def library(name: str, what: str) -> Any:
    """A library that need not be there. UserError with the command that installs all of these."""
    try:
        module = import_module(name)
    except ImportError as e:                            # one that is there may lack another
        raise UserError(f"{what} needs {name} ({e}): pip install {HF}") from None
    if name == "transformers" and tuple(map(int, module.__version__.split(".")[:2])) < (5, 18):
        raise UserError(f"{what} needs transformers 5.18 or newer, and {module.__version__} is "
                        "installed: pip install -U transformers")
    return module


def load(file: str | Path, name: str = "") -> ModuleType:
    """Execute a file as the module own.NAME. It is put into sys.modules, where dataclasses look for
    it, under a name that no other module has. name: another one. UserError for a text in another
    encoding: an editor of Windows may have saved it."""
    text, readable = Path(file).read_bytes(), False
    with suppress(SyntaxError, UnicodeError):
        readable = "\0" not in decode_source(text)
    if not readable:
        encoding = "UTF-16" if b"\0" in text else "not UTF-8, perhaps Windows-1252"
        raise UserError(f"{file}: is {encoding}; save it as UTF-8, or name its encoding in the "
                        "first line, `# coding: cp1252`")
    spec: Any = spec_from_file_location(name or f"own.{Path(file).stem}", file)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    loading.append(str(file))
    try:
        spec.loader.exec_module(module)
    finally:
        loading.pop()
    return module


def name_of_function(function: Callable) -> str:
    return getattr(function, "__name__", type(function).__name__).strip("<>")       # <lambda>


def as_written(function: Callable) -> Any:
    """The function without decorators; of an object that is called its method."""
    called: Any = function
    return inspect.unwrap(called if inspect.isroutine(called) else called.__call__)


def lines_in(file: str, e: BaseException) -> list[int]:
    """Numbers of the lines of a file in an error's traceback, the innermost last."""
    def is_file(name: str | None) -> bool:
        return name is not None and Path(name).resolve() == Path(file).resolve()
    lines = [f.lineno or 0 for f in traceback.extract_tb(e.__traceback__) if is_file(f.filename)]
    return lines + ([e.lineno or 0] if isinstance(e, SyntaxError) and is_file(e.filename) else [])


@contextmanager
def locate_errors(file: str, flag: str, shown: str = "") -> Iterator[None]:
    """Turn whatever the code of a file raises into a UserError with its line. Also a decorator.
    shown: what the line calls the file [its name]."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as e:
        lines = lines_in(file, e)
        if not lines or out_of_memory(e):
            raise
        raise UserError(f"{flag} {shown or file}, line {lines[-1]}: {type(e).__name__}: {e}") \
            from None
