"""How your files are read: what is left out and why, how long rows are, what is trained on.

    python -m nanouft.eval.rows pairs.json more.csv --init path/to/llama

Three rows are shown as the model reads them, with a dot between two tokens. What is trained on is
green, or in [[ ]]. Only config.json and the tokenizer of --init are read.
"""
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nanouft.data.batches import Encoded, encode
from nanouft.data.rows import Roles, Row, contents
from nanouft.errors import say
from nanouft.eval.report import colour
from nanouft.eval.show import show_mask
from nanouft.files.read import read
from nanouft.models.folder import read_config
from nanouft.models.load import folder_of, read_tokenizer
from nanouft.run import config


@dataclass
class Rows:
    init: str = "base"              # the model: 'base', a folder, hub:owner/name
    prompts: bool = False           # read rows without an answer, too, as methods that sample do
    prompt_field: str | None = None     # field with the prompt, if it is not detected
    response_field: str | None = None   # field with the response, if it is not detected
    grades: str = ""                # worst and best grade of your data, such as 1:5 [of each file]


def with_all_roles(row: Row) -> Row:
    """All that a row holds: its answer, both sides of its pair, or the prompt alone."""
    sides = {"answer": row.answer, "chosen": row.chosen, "rejected": row.rejected}
    roles: Roles = {role: (row.prompt, turns) for role, turns in sides.items() if turns}
    return row.with_roles(roles or {"prompt": (row.prompt, ())},
                          score=row.score, label=row.label, p=row.p)


def context(folder: Path) -> int:
    """Tokens that a model reads, by its config.json (of several parts, its text part)."""
    about = read_config(folder)
    about |= about.get("text_config") or {}
    return about.get("n_positions") or about.get("max_position_embeddings") or 10**9


def lengths(encoded: list[Encoded]) -> str:
    """A table: tokens of prompts and of answers (in a pair: of the longer one)."""
    masks = [[t.mask for t in e.seqs.values()] for e in encoded]
    prompts = np.array([min(int((1 - mask).sum()) for mask in row) for row in masks])
    answers = np.array([max(int(mask.sum()) for mask in row) for row in masks])
    lines = [f"{'tokens':<10}{'least':>10}{'median':>10}{'most':>10}"]
    for name, n in (("prompt", prompts), ("answer", answers)):
        lines.append(f"{name:<10}{n.min():>10,}{int(np.median(n)):>10,}{n.max():>10,}")
    return "\n".join(lines)


def main(argv=None) -> int:
    cfg, _, files = config.parse_list(Rows, argv, "python -m nanouft.eval.rows", __doc__, "files",
                                      "files, folders or data sets, as for train --data", "+")
    rows, found = read(files, cfg.prompt_field, cfg.response_field, cfg.prompts, grades=cfg.grades)
    folder = folder_of(cfg.init)
    tok, n_ctx = read_tokenizer(folder), context(folder)
    encoded, lost = encode([with_all_roles(row) for row in rows], tok, n_ctx)
    say(*found, contents(rows), *lost.lines(n_ctx), lengths(encoded), sep="\n")
    encoded.sort(key=lambda e: e.length)
    shown = {"shortest": encoded[0], "median": encoded[len(encoded) // 2], "longest": encoded[-1]}
    for name, e in shown.items():
        say(f"\n{name}: {e.row.where}: {e.length:,} tokens")
        print(show_mask(e, tok, colour(), "·"))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
