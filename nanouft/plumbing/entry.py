"""The entry point of each program. Errors become one line and an exit code.

    sys.exit(command(main))
"""
import gc
import os
import runpy
import sys
from collections.abc import Callable
from contextlib import suppress

from safetensors import SafetensorError
from tqdm import tqdm

from nanouft.plumbing.errors import UserError, out_of_memory
from nanouft.plumbing.printing import say

LONGEST = 1000          # characters of an error; it may quote whole data


def make_streams_safe() -> None:
    """Print ? for a character that the terminal or file cannot encode. Replace a closed stream, as
    in a service, by os.devnull."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))
    for stream in (sys.stdin, sys.stdout):
        with suppress(AttributeError, ValueError):      # no terminal: a notebook, a test
            stream.reconfigure(errors="replace")        # type: ignore[union-attr]


def command(main: Callable, argv: list[str] | None = None,
            needs_less: str = "take a smaller model, or close other programs") -> int:
    """Call an entry point. An error that a person can cause becomes one line; any other one is a
    traceback. needs_less: advice if memory runs out."""
    make_streams_safe()
    if not gc.isenabled():          # start.py; what the imports have left is kept
        gc.freeze()
        gc.enable()
    try:
        return main(argv) or 0
    except BrokenPipeError:                         # ... | head: nobody reads on
        return 1
    except (KeyboardInterrupt, UserError, OSError, SafetensorError, MemoryError, RuntimeError) as e:
        line = error_line(e, needs_less)
        if not line:
            raise
        with suppress(OSError):                     # the terminal has closed
            say(line, file=sys.stderr, write=tqdm.write)    # below a bar, not behind it
        return 130 if isinstance(e, KeyboardInterrupt) else 2


def run_program(module: str, words: list[str]) -> None:
    """Run a module as `python -m` does, with these words behind it. It ends Python."""
    sys.argv = [module, *words]
    gc.disable()                            # until its command() is called
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def error_line(e: BaseException, needs_less: str) -> str:
    """The one line for an error, with its notes; "" for a bug in nanouft."""
    if isinstance(e, KeyboardInterrupt):
        line = ": ".join(filter(None, ["interrupted", str(e)]))
    elif isinstance(e, UserError):
        line = f"error: {e}"
    elif out_of_memory(e):
        line = f"error: out of memory; {needs_less}"
    elif isinstance(e, (OSError, SafetensorError)):         # a SafetensorError names no file
        file = getattr(e, "filename", None) or "writing a file"
        why = getattr(e, "strerror", None) or str(e)
        line = f"error: {file}: {why}"
    else:
        return ""
    if len(line) > LONGEST:
        line = f"{line[:LONGEST - 200]} ... ({len(line):,} characters) ... {line[-200:]}"
    return " ".join("; ".join([line, *getattr(e, "__notes__", [])]).split("\n"))
