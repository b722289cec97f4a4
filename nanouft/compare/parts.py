"""Your rows in three parts. Equal questions are in one part.

    parts = cut(["my.jsonl"], Path("out/compare/a"))        # {"train": its file, "val": ...}
"""
import hashlib
import json
from pathlib import Path

from nanouft.data.files import items
from nanouft.data.holdout import question_key
from nanouft.data.rows import parse
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_text

SHARES = {"test": 0.2, "val": 0.1}      # of the rows; the others are trained on
LEAST = 30                              # questions; with fewer no part says anything


def cut(files: list[str], out: Path) -> dict[str, Path]:
    """{part: its file}, named by a hash of all rows. A hash of its question puts a row into a
    part, so other rows beside it do not move it far."""
    found = [x for file in files for x in items(file)]
    rows, _ = parse(found, ["demos", "pairs", "labels"], ", ".join(files))
    of_question: dict[str, list[str]] = {}
    for r in rows:
        of_question.setdefault(question_key(r), []).append(r.where)
    if len(of_question) < LEAST:
        raise UserError(f"{', '.join(files)}: {len(of_question)} different questions; at least "
                        f"{LEAST} are needed, of which three in ten choose and judge")
    part_of: dict[str, str] = {}
    left = [wheres for _, wheres in sorted(of_question.items())]
    for part, share in SHARES.items():
        n = 0
        while n < share * len(rows):
            part_of |= dict.fromkeys(wheres := left.pop(), part)
            n += len(wheres)
    lines = {part: "".join(json.dumps(item, default=str) + "\n" for where, item in found
                           if part_of.get(where, "train") == part) for part in ("train", *SHARES)}
    name = hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:8]
    folder = out / f"rows-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    for part, text in lines.items():
        write_text(folder / f"{part}.jsonl", text)
    return {part: folder / f"{part}.jsonl" for part in lines}
