"""Your rows in four parts. Rows of one `group` are in one part; without groups, equal questions.

    parts, where = split_rows(["my.jsonl"], Path("out/compare"))
    parts["train"], where["train.jsonl, line 2"]    # its file; "my.jsonl, line 8"
    bootstrap_samples(parts["train"], range(5))[3]  # the rows that seed 3 of 0 to 4 trains on
"""
import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nanouft.data.files import file_names, items
from nanouft.data.holdout import question_keys
from nanouft.data.rows import LeftOut, Row, parse, reasons
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import note, quantity

SHARES = {"test": 0.15, "confirm": 0.15, "val": 0.1}    # of the rows; the others are trained on
PURPOSES = {"train": "train on", "val": "choose learning rates", "test": "test",
            "confirm": "confirm"}
FEWEST_PROMPTS = 30                     # prompts; with fewer no part says anything


def draw_keys(rows: list[Row]) -> list[str]:
    """Rows with one key are one draw: those with the same `group` field (a document, an author), or
    without one those with the same question. Keys are hashes, so their order is by chance."""
    return [key if r.extra.get("group") in (None, "") else
            hashlib.sha256(f"group {r.extra['group']}".encode("utf-8", "replace")).hexdigest()
            for r, key in zip(rows, question_keys(rows))]


def rows_by_draw(all_rows: list[tuple[str, Any]],
                 source: str) -> tuple[dict[str, list[str]], LeftOut]:
    """({key of a draw: where its rows are}, rows that are left out)."""
    rows, left_out = parse(all_rows, ["demos", "pairs", "labels"], source)
    of_draw: dict[str, list[str]] = {}
    for r, key in zip(rows, draw_keys(rows)):
        of_draw.setdefault(key, []).append(r.where)
    return of_draw, left_out


def split_rows(files: Sequence[str], out: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """({part: its file}, {line of such a file: where its row is in yours}). Their folder has a
    hash of all rows in its name. A hash of its question puts a row into a part, so other rows
    beside it do not move it far."""
    all_rows = [x for file in files for x in items(file)]
    of_draw, left_out = rows_by_draw(all_rows, file_names(files))
    if left_out:
        note(f"{quantity(len(left_out), 'rows')} skipped ({reasons(left_out)})")
    if len(of_draw) < FEWEST_PROMPTS:
        skipped = f" ({len(left_out):,} rows skipped: {reasons(left_out)})" if left_out else ""
        raise UserError(f"{file_names(files)}: {len(of_draw)} distinct prompts or groups{skipped}; "
                        f"at least {FEWEST_PROMPTS} are needed, because 40 % validate, test and "
                        "confirm")
    part_of: dict[str, str] = {}
    left = [wheres for _, wheres in sorted(of_draw.items())]
    rows = sum(map(len, left))
    for part, share in SHARES.items():
        n = draws = 0
        while (n < share * rows or draws < 2) and len(left) > 1:    # one draw has no variance
            part_of |= dict.fromkeys(wheres := left.pop(), part)
            n, draws = n + len(wheres), draws + 1
    unread = {where for where, _ in left_out}
    of_part = {part: [(where, item) for where, item in all_rows
                      if where not in unread and part_of.get(where, "train") == part]
               for part in PURPOSES}
    content = json.dumps([[item for _, item in of_part[part]] for part in PURPOSES], default=str)
    folder = out / f"rows-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    for part, items_of_part in of_part.items():
        write_lines(folder / f"{part}.jsonl", (item for _, item in items_of_part))
    return ({part: folder / f"{part}.jsonl" for part in of_part},
            {f"{part}.jsonl, line {i}": where for part, items_of_part in of_part.items()
             for i, (where, _) in enumerate(items_of_part, 1)})


def bootstrap_samples(train: Path, seeds: range, copy: int = 0) -> dict[int, Path]:
    """{seed: its training rows}: as many questions, drawn with replacement, with all their rows.
    So the seeds differ as other rows of the same kind would make them differ. All seeds draw
    together, each question as often as any other, so that their mean is that of the file.
    copy: of a method that is named twice, which draws otherwise."""
    all_rows = [*items(str(train))]
    row_of = dict(all_rows)
    groups = [*rows_by_draw(all_rows, str(train))[0].values()]
    every = np.tile(np.arange(len(groups)), len(seeds))
    shuffled = np.random.default_rng([seeds.start, len(seeds), copy, 19]).permutation(every)
    files = {}
    for seed, drawn in zip(seeds, shuffled.reshape(len(seeds), -1)):
        files[seed] = train.with_name(f"train-{seed}-of-{len(seeds)}-{copy}.jsonl")
        write_lines(files[seed], (row_of[where] for i in sorted(drawn) for where in groups[i]))
    return files


def write_lines(file: Path, rows: Iterable) -> None:
    """What is there already, to the byte, stays."""
    text = "".join(json.dumps(row, default=str) + "\n" for row in rows)
    if not file.exists() or file.read_bytes() != text.encode():
        write_text(file, text)
