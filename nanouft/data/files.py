"""Files of rows: JSON lines, a JSON list, parquet, csv, tsv, or a data set of the hub.

    items("my.jsonl")           # ("my.jsonl, line 3", {"prompt": "Hi", "response": "Ho"}), ...

rows.py makes a Row of each item. JSON and CSV are read as they are written: the library `datasets`
would make dates of texts and null of "NA". It reads .parquet and the hub (hf_datasets.py).
"""
import csv
import datetime
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

from nanouft.data.hf_datasets import dataset_rows, hub_rows, no_column_twice, parquet_rows
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import (
    check_lfs,
    hash_of_file,
    removed_unless_whole,
    rename,
    unfinished,
)
from nanouft.plumbing.printing import note, quantity

Items = Iterator[tuple[str, Any]]
MEMORY = Path("out/.rows")              # files of rows that were in memory


def items(path: str) -> Items:
    """("my.jsonl, line 3", JSON value) of each row of a file; a UserError in place of a value is a
    row to refuse. What a library or the file system says of a file that it cannot read becomes one
    line with its name."""
    doors = {".csv": csv_rows, ".tsv": csv_rows, ".parquet": parquet_rows}
    read = hub_rows if path.startswith("hub:") else doors.get(Path(path).suffix.lower(), json_rows)
    try:
        if not path.startswith("hub:"):
            check_lfs(path)
        rows = read(path)
        yield from rows if not in_memory(path) else (
            (f"{file_names([path])}, row {i}", item) for i, (_, item) in enumerate(rows))
    except UserError:
        raise
    except Exception as e:
        cause = e.__cause__ or e        # `datasets` says "An error occurred" alone
        raise UserError(f"{path}: cannot be read ({type(cause).__name__}: "
                        f"{' '.join(str(cause).split())})") from None


def hash_of_rows(path: str) -> str:
    """Hash of the rows that `items` reads: the bytes of a file; of hub:... each row, because its
    name says neither which revision that is nor what is in a folder."""
    if not path.startswith("hub:"):
        return hash_of_file(path)
    digest = hashlib.sha256()
    for _, item in hub_rows(path, tell=False):
        digest.update(json.dumps(item, default=as_text).encode())
    return digest.hexdigest()[:16]


def text_of_file(path: str) -> str:
    """The text of a file, with \\n alone between its lines. UserError for what is no text in UTF-8,
    such as a spreadsheet or a packed file."""
    data = Path(path).read_bytes()
    at = data.find(b"\0", 0, 400)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        at = e.start
    if at >= 0:
        line = data.count(b"\n", 0, at) + 1
        raise UserError(f"{path}, line {line}: is not UTF-8; export a spreadsheet as .csv, unpack "
                        "an archive, and save a text as UTF-8 (it may be UTF-16, Windows-1252 or "
                        "Latin-1)")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def json_rows(path: str) -> Items:
    """Of a list, or of a JSON value in each line."""
    text = text_of_file(path)
    if text.lstrip().startswith("["):
        try:
            values = json_value(text)
        except UserError as e:
            raise UserError(f"{path}: {e}") from None
        yield from ((f"{path}, item {i}", item) for i, item in enumerate(values, 1))
        return
    for i, line in enumerate(text.split("\n"), 1):      # not splitlines: a text may hold U+2028
        if line.strip():
            where = f"{path}, line {i}"
            try:
                yield where, json_value(line)
            except UserError as e:
                yield where, e
            except (ValueError, RecursionError) as e:
                raise UserError(f"{where}: is not valid JSON ({why_no_json(e)}); write one object "
                                "on each line, or all of them as one list") from None


def why_no_json(e: Exception) -> str:
    """"column 11: Expecting ':' delimiter", without the line, which is of one object alone."""
    return f"column {e.colno}: {e.msg}" if isinstance(e, json.JSONDecodeError) else str(e)


def json_value(text: str) -> Any:
    """UserError if a name comes twice in an object: json would keep the last value."""
    def once(pairs: list[tuple[str, Any]]) -> dict:
        if len(obj := dict(pairs)) < len(pairs):
            name = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise UserError(f'"{name}" occurs twice in one object: {json.dumps(obj)[:60]}')
        return obj
    return json.loads(text, object_pairs_hook=once)


def csv_rows(path: str) -> Items:
    """Every cell is a text, also null, N/A or 42; fields.py makes numbers of grades. The names in
    the first line may have spaces around them. A blank cell without a name is nothing."""
    csv.field_size_limit(2**31 - 1)
    lines = [*io.StringIO(text_of_file(path))]
    between = "\t" if path.lower().endswith(".tsv") else ","
    if lines and between not in lines[0] and ";" in lines[0]:
        between = ";"                                   # as spreadsheets write it in many countries
    table = csv.reader(lines, strict=True, delimiter=between)
    names, joined, begin = list[str](), list[str](), 1  # joined: where; begin: line of the row
    try:
        for cells in table:
            here, begin = begin, table.line_num + 1
            where = f"{path}, line {here}"
            if not names:
                names = [name.strip() for name in cells]
                no_column_twice(path, names)
            elif any(map(str.strip, cells[len(names):])):
                yield where, UserError("has more cells than the first line; put a text with "
                                       f"{between!r} in quotation marks")
            elif cells:
                if are_rows(lines[here - 1:table.line_num], cells, names, between):
                    joined.append(where)
                of_names = enumerate(zip_longest(names, cells, fillvalue=""), 1)
                yield where, {name or f"column {i}": text for i, (name, text) in of_names
                              if name or text.strip()}
    except csv.Error as e:
        raise UserError(f"{path}, line {begin}: {e}; in a cell in quotation marks, write a "
                        "quotation mark twice") from None
    if joined:
        told = (f"{joined[0]}: quotation marks join lines that look like rows "
                f"({quantity(len(joined), 'times')}); if they are, save them as .jsonl")
        if between == "\t":                             # few programs quote such a file
            raise UserError(told)
        note(told)


def are_rows(lines: list[str], cells: list[str], names: list[str], between: str) -> bool:
    """True if the first and last line of a row, read without quotation marks, are rows as well."""
    joined = len(lines) > 1 or len(cells) < len(names)
    return joined and len(names) > 1 and all(
        line.count(between) == len(names) - 1 for line in (lines[0], lines[-1]))


def as_files(rows: Any, name: str) -> list[str]:
    """Files as they are named, or the one with these rows. `name` is what errors call them."""
    if isinstance(rows, (str, Path)):
        return [str(rows)]
    if not isinstance(rows, Iterable):
        raise UserError(f"{name}: give a file, or rows as a list of dictionaries, a Dataset or a "
                        f"DataFrame, not {type(rows).__name__}")
    listed = [item for _, item in dataset_rows(rows, name)]
    if not listed:
        raise UserError(f"{name}: is empty; give at least one row")
    if all(isinstance(item, (str, Path)) for item in listed):
        return [*map(str, listed)]
    for i, item in enumerate(listed):
        if not isinstance(item, dict):
            raise UserError(f"{name}, row {i}: is a {type(item).__name__}, not a dictionary; give "
                            "a list of dictionaries, or only files")
        if odd := [key for key in item if not isinstance(key, str)]:
            raise UserError(f"{name}, row {i}: the name of a field must be a text, not {odd[0]!r}")
    text = "".join(json.dumps(item, default=as_text) + "\n" for item in listed)
    file = MEMORY / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with removed_unless_whole(unfinished(file)) as partial:     # another run may write it
                partial.write_text(text, encoding="utf-8")
                rename(partial, file)
        except OSError as e:
            raise UserError(f"{name}: rows in memory are written to {MEMORY.as_posix()}, and this "
                            f"folder cannot be written ({e.strerror}); start in another one, or "
                            "give a file") from None
    return [file.as_posix()]


def as_text(value: Any) -> Any:
    """Of a value that JSON has no form for: a date, path, UUID or decimal number is a text. Any
    other has its type, so where a text belongs it is refused."""
    is_text = isinstance(value, (datetime.date, PurePath, Decimal, UUID))
    return str(value) if is_text else {type(value).__name__: str(value)}


def file_names(files: Iterable[str]) -> str:
    """The names of files in words; of rows in memory that of the argument."""
    return ", ".join(Path(x).stem.rpartition("-")[0] if in_memory(x) else x for x in files)


def in_memory(file: str) -> bool:
    return Path(file).parent == MEMORY
