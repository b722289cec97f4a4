"""A progress bar in a terminal or a notebook; in a log a line every half minute."""
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(total: int, what: str, rows: Iterable | None = None, begun: int = 0,
             training: bool = False) -> Any:
    """A progress bar for `total` rows; it iterates over `rows` if they are given. It appears after
    two seconds and disappears at the end. The bar of `training` counts steps, appears at once, and
    stays with its last loss."""
    seen = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(rows, total=total, initial=begun, desc=what, unit="step" if training else "row",
                delay=0 if training else 2, leave=training, miniters=0,
                mininterval=0.5 if seen else 30)
