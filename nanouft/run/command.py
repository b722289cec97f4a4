"""An entry point as a command: `run` turns what a person can cause into one line and an exit code.

    code = run(main)                # 0: it went well; 2: a mistake; 128 + the signal: interrupted
"""
import contextlib
import errno
import os
import re
import signal
import sys
from collections.abc import Callable

from nanouft.errors import UserError, shorter, visible
from nanouft.run import signals

REMEDY = dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "; make room: what was saved before is still whole")
REMEDY |= dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "; check the permissions, or choose another place")


def run(main: Callable, argv: list[str] | None = None) -> int:
    """Call an entry point: 0 when it went well, 2 and one line for a mistake, 128 + the signal when interrupted."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:              # closed by whoever started us
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):      # consoles without UTF-8 get '?' instead of a crash
            getattr(sys, name).reconfigure(errors="replace")
    code, begins = 2, "error: "
    try:
        with signals.caught():
            return main(argv) or 0
    except UserError as e:
        said = str(e)
    except BrokenPipeError:                         # ... | head: nobody listens any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except OSError as e:
        if e.errno is None:
            raise
        said = f"{e.filename or 'writing a file'}: {e.strerror}{REMEDY.get(e.errno, '')}"
    except (MemoryError, RuntimeError) as e:
        if not isinstance(e, MemoryError) and not re.search("out of memory|not enough memory|allocate memory", str(e)):
            raise                                   # a mistake of ours: the traceback is wanted
        said = "out of memory; train's --accumulate N cuts a step into N pieces with the same result"
    except KeyboardInterrupt as e:
        code = 128 + getattr(e, "number", signal.SIGINT)
        begins, said = f"interrupted ({signal.Signals(code - 128).name}): ", signals.last_words(e)
    # Here and not inside `except`: a progress bar lives as long as the exception that holds its frame, and would
    # leave its line open. Under torchrun all processes make the same mistake; the first of each machine tells it.
    if os.environ.get("LOCAL_RANK", "0") == "0":
        with contextlib.suppress(OSError):          # SIGHUP: the terminal is gone
            print(begins + visible(shorter(" ".join(said.split("\n")))), file=sys.stderr)
    return code
