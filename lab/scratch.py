"""A temporary folder that not even a kill leaves for ever.

    with scratch("nanouft-cell-") as folder: ...
"""
import contextlib
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nanouft.shell.errors import UserError
from nanouft.shell.files import LOCK, beside, locked


@contextlib.contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """A temporary folder. What killed processes left of such folders goes first: their locks are free."""
    place = Path(tempfile.gettempdir())
    for lock in place.glob(f"{prefix}*{LOCK}"):
        with contextlib.suppress(OSError, UserError), locked(lock):
            shutil.rmtree(lock.with_name(lock.name.removesuffix(LOCK)), ignore_errors=True)
    folder = place / f"{prefix}{secrets.token_hex(6)}"
    with locked(beside(folder), wait=True):
        folder.mkdir(0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
