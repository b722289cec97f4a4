"""nanouft: many methods of fine-tuning a language model into alignment, each one short file.

Start at README.md. The files in reading order:
    simple.py       seven methods with their loop on one page
    gpt.py          the model
    objective.py    what a method is made of; objectives/ has all of them, a file each
    loop.py         the training loop
    generate.py     how a model answers; rollout.py has its answers scored and learned from
    train.py        a whole run
Other programs are pretrain, reward, sample, evaluate and pushes. These files use the folders data,
models, world and run. plumbing serves every program and has no machine learning in it.
"""
import os
import signal
import sys

__version__ = "2.2.0"


def _leave(number: int, frame: object) -> None:
    os.write(2, b"\ninterrupted before anything was done\n")
    os._exit(128 + number)


if sys.argv[:1] == ["-m"]:          # a command of nanouft begins; an import changes nothing
    # Idle OpenMP threads should sleep, not spin: beside a browser or a second job, spinning can
    # make two threads much slower than one. This must be set before torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A Ctrl-C while torch is imported shows no traceback.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
