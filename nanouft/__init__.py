"""nanouft: many methods of fine-tuning a language model into alignment, each one short file.

Start at README.md. The files in reading order:
    simple.py       eight methods with their loop on one page
    gpt.py          the model
    batch.py        the rows of one step, as a loss reads them
    objective.py    what a method is made of; objectives/ has all of them, a file each
    loop.py         the training loop
    generate.py     how a model answers; rollout.py has its answers scored and learned from
    flat.py         one method on your rows, in one plain loop
    train.py        a whole run
Other programs are pretrain, reward, sample, evaluate and pushes. These files use the folders data,
models, world and run. plumbing serves every program and has no machine learning in it.
"""
import atexit
import gc
import os
import re
import signal
import sys

__version__ = "4.0.0"


def _leave(number: int, frame: object) -> None:
    os.write(2, b"\ninterrupted before anything was done\n")
    os._exit(128 + number)


def _is_command() -> bool:
    """True if Python begins one of our commands, by python -m or as `nanouft`."""
    name = os.path.basename("".join(sys.argv[:1]))
    by_m = re.search(r" -\w*m ?(nanouft|frozen_lake|lessons)\b", " ".join(sys.orig_argv))
    return name in ("nanouft", "nanouft.exe") or name == "-m" and by_m is not None


def _skip_last_collection() -> None:
    """But not where triton has been imported: it would print what is left as leaks."""
    if "triton" in sys.modules:
        gc.unfreeze()
    else:
        gc.freeze()


if _is_command():                   # an import changes nothing
    # Idle OpenMP threads should sleep, not spin: beside a browser or a second job, spinning can
    # make two threads much slower than one. This must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # The collector of garbage looks through all that is imported, many times and once more at the
    # end, and finds nothing. That took a tenth of README's first run. command() wakes it.
    gc.disable()
    atexit.register(_skip_last_collection)
    # A Ctrl-C while torch is imported shows no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
