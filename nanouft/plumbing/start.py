"""The start of a command, before torch is imported. nanouft/__init__.py calls `start_command`."""
import atexit
import gc
import importlib.util
import os
import re
import signal
import sys


def start_command() -> None:
    """Make a command shorter, and quiet if it is stopped. An import by others changes nothing."""
    if not is_command():
        return
    if importlib.util.find_spec("torch") is None:
        os.write(2, b"error: this Python has no PyTorch: source .venv/bin/activate, or install "
                    b"nanouft as README.md says\n")
        sys.exit(2)
    # Idle OpenMP threads should sleep, not spin: beside a browser or a second job, spinning can
    # make two threads much slower than one. This must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The collector of garbage looks through all that is imported, many times and once more at the
    # end, and finds nothing. That took a tenth of README's first run. command() wakes it.
    gc.disable()
    atexit.register(skip_last_collection)
    # A Ctrl-C while torch is imported shows no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)


def is_command() -> bool:
    """True if Python begins one of our commands, by python -m or as `nanouft`."""
    name = os.path.basename("".join(sys.argv[:1]))
    by_m = re.search(r" -\w*m ?(nanouft|frozen_lake|lessons)\b", " ".join(sys.orig_argv))
    return name in ("nanouft", "nanouft.exe") or name == "-m" and by_m is not None


def skip_last_collection() -> None:
    """But not where triton has been imported: it would print what is left as leaks."""
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


def leave(number: int, frame: object) -> None:
    os.write(2, b"\ninterrupted\n")
    os._exit(128 + number)
