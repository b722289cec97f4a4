"""Code of the user: an error in it names its file and line."""
import linecache
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from nanouft.plumbing.errors import UserError, out_of_memory


def load(file: str | Path) -> ModuleType:
    """Execute a file as the module own.NAME. It is put into sys.modules, where dataclasses look for
    it, under a name that no other module has."""
    spec: Any = spec_from_file_location(f"own.{Path(file).stem}", file)
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def lines_in(file: str, e: BaseException) -> list[int]:
    """Numbers of the lines of a file in an error's traceback, the innermost last."""
    def is_file(name: str | None) -> bool:
        return name is not None and Path(name).resolve() == Path(file).resolve()
    lines = [f.lineno or 0 for f in traceback.extract_tb(e.__traceback__) if is_file(f.filename)]
    return lines + ([e.lineno or 0] if isinstance(e, SyntaxError) and is_file(e.filename) else [])


def error_line(error: BaseException, file: str) -> str:
    """An error in one line; below it the line of the file in its traceback, if there is one."""
    lines = lines_in(file, error)
    where = f"\n    line {lines[-1]}: {linecache.getline(file, lines[-1]).strip()}" if lines else ""
    said = str(error)
    if isinstance(error, SystemExit):
        said = "it ends Python with exit() or sys.exit(). Return a result instead"
    return f"{type(error).__name__}: {said}".splitlines()[0] + where


@contextmanager
def locate_errors(file: str, flag: str) -> Iterator[None]:
    """Turn whatever the code of a file raises into a UserError with its line. Also a decorator."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as e:
        lines = lines_in(file, e)
        if not lines or out_of_memory(e):
            raise
        raise UserError(f"{flag} {file}, line {lines[-1]}: {type(e).__name__}: {e}") from None
