"""Your data: read anybody's files into rows.

    rows, report = read(["my.jsonl", "pairs.json"])
    print(*report, sep="\n")               # pairs.json: Alpaca with pairs (JSON list): 1,100 rows read

What to expect: a JSON list or JSON lines, told apart by content and not by file name; the form is found per file
(forms.py lists them) and said aloud; several files mix freely. A file that cannot be understood stops the run with
one line (file, line, reason, remedy); a row with nothing to learn from is skipped, counted and announced.
Simplified: a file is read into memory at once. Pure Python, no torch.
"""
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nanouft.data.forms import Skip, a_type, detect, parse, quoted
from nanouft.data.rows import Row
from nanouft.shell.config import UserError
from nanouft.shell.text import DoubleKey, loads, regular


@dataclass
class FileReport:
    path: str
    form: str                           # "Alpaca with pairs (JSON list)"
    unused: list[str]                   # fields of the file that nothing reads
    read: int = 0
    skipped: Counter = field(default_factory=Counter)       # reason -> rows

    def __str__(self) -> str:
        text = f"{self.path}: {self.form}: {self.read:,} rows read"
        if self.skipped:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.skipped.most_common())
            text += f", {sum(self.skipped.values()):,} skipped ({reasons})"
        return text + (f"; fields not used: {quoted(self.unused)}" if self.unused else "")


# ---- files: bytes -> JSON objects with their places ------------------------------------------------------------------
def read(paths: list[str], prompt_field: str | None = None, response_field: str | None = None,
         prompts: bool = False) -> tuple[list[Row], list[FileReport]]:
    """All rows of all files, and what was found in each. Field names given here override detection, in every file.
    `prompts`: a row needs no answer."""
    rows, report = [], []
    for path in map(str, paths):
        items, kind = objects(path)
        form = detect(path, items, prompt_field, response_field)
        file = FileReport(path, f"{form.name} ({kind})", form.unused)
        for where, item in items:
            try:
                extra = {key: value for key, value in item.items() if key != form.prompt}
                rows.append(replace(parse(item, form, where, prompts), extra=extra))
                file.read += 1
            except Skip as skip:
                file.skipped[str(skip)] += 1
        report.append(file)
    if not rows:
        said = "; ".join(map(str, report)) or "no file given; name one with --data"
        raise UserError(f"no row to learn from: {said}")
    names = dict.fromkeys(key for row in rows for key in row.extra)         # of all files: None where one is missing
    return [replace(row, extra={key: row.extra.get(key) for key in names}) for row in rows], report


def load_text(path: str) -> str:
    """The text of a file, byte-order mark removed; every way in which it is no UTF-8 text is one UserError."""
    try:
        data = regular(Path(path)).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path given to --data") from None
    except (OSError, ValueError) as e:
        reason = "is a folder; name the files in it" if Path(path).is_dir() else f"cannot be read ({e})"
        raise UserError(f"{path}: {reason}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: is UTF-16 text; save it as UTF-8")
    if b"\0" in data or data.startswith((b"\x1f\x8b", b"PK\3\4", b"PAR1")):        # gzip, zip, parquet
        raise UserError(f"{path}: is a binary file; unpack or convert it to JSON lines")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise UserError(f"{path}, line {line}: byte 0x{data[e.start]:02x} at offset {e.start} is not UTF-8; "
                        "save the file as UTF-8") from None


def objects(path: str) -> tuple[list[tuple[str, dict]], str]:
    """([(place, object)], "JSON list" or "JSON lines"). Lines end at LF only: U+2028 may stand inside a string."""
    text = load_text(path)
    body = text.strip(" \t\r\n")
    if body.startswith("["):
        items, kind = [(f"{path}, item {i}", item) for i, item in enumerate(decode(text, path), 1)], "JSON list"
    else:
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip(" \t\r")]
        if len(lines) > 1 and is_one_object(body):
            raise UserError(f"{path}: is one JSON object over {len(lines):,} lines; "
                            "put one object (one row) on a line, or all rows into one [list]")
        items = [(f"{path}, line {i}", decode(line, path, i, i == lines[-1][0])) for i, line in lines]
        kind = "JSON lines"
    if not items:
        raise UserError(f"{path}: the {'list' if body else 'file'} is empty; it needs at least one row, a JSON object")
    for where, item in items:
        if not isinstance(item, dict):
            raise UserError(f'{where}: is {a_type(item)}, not an object; a row is {{"prompt": ..., "response": ...}}')
    return items, kind


def decode(text: str, path: str, line: int = 0, last: bool = True) -> Any:
    """json.loads; a mistake names the line (`line` if the text is that one line, else counted), column and cause."""
    try:
        return loads(text)
    except json.JSONDecodeError as e:
        cut = last and (e.pos >= len(text.rstrip()) or e.msg.startswith("Unterminated"))
        if not text.lstrip().startswith(("{", "[")):
            raise UserError(f"{path}, line {line or e.lineno}: not JSON (a CSV or plain text file?); "
                            "one JSON object a line is read, or one JSON list") from None
        raise UserError(f"{path}, line {line or e.lineno}: broken JSON at column {e.colno} ({e.msg}); " +
                        ("the file looks cut off here, write it again" if cut else "correct or remove it")) from None
    except DoubleKey as e:
        raise UserError(f"{path}, line {line or 1}: {e}; remove one") from None
    except ValueError:                              # a number of 5,000 digits, ten thousand brackets
        raise UserError(f"{path}, line {line or 1}: a number or nesting that is too large; remove it") from None


def is_one_object(text: str) -> bool:
    try:
        return isinstance(loads(text), dict)
    except ValueError:
        return False
