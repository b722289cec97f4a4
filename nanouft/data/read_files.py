"""Files of rows: JSON lines, a JSON list, CSV, parquet, and data sets of the hub.

    for where, item in items("my.jsonl"):       # "my.jsonl, line 3", {"prompt": ...}
"""
import csv
import io
import json
import os.path
from collections.abc import Iterator
from typing import Any

from nanouft.data.forms import NUMBERS
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import parse_json, plain_file, read_text

LINES = ("; a file has a JSON object in each line, or is a list of them, or ends in .csv or "
         ".parquet")


def items(path: str) -> Iterator[tuple[str, Any]]:
    """("my.jsonl, line 3", JSON value) of each row of a file."""
    suffix = os.path.splitext(path)[1].lower()
    if path.startswith("hub:") or suffix == ".parquet":
        rows = by_datasets(path) if path.startswith("hub:") else parquet_rows(path)
        yield from ((f"{path}, row {i}", item) for i, item in enumerate(rows, 1))
        return
    if suffix == ".csv":
        yield from csv_items(path)
        return
    text = read_text(path, "; a data set of the hub is hub:owner/name")
    if text.lstrip().startswith("["):
        listed = parse_json(text, path, LINES)
        yield from ((f"{path}, item {i}", item) for i, item in enumerate(listed, 1))
        return
    for i, line in enumerate(text.split("\n"), 1):      # not splitlines: a text may hold U+2028
        if line.strip():
            yield f"{path}, line {i}", parse_json(line, f"{path}, line {i}", LINES)


def parquet_rows(path: str) -> Iterator[dict]:
    """A parquet file, read by the library pyarrow, without a network and without a copy."""
    plain_file(path)
    try:
        from pyarrow.parquet import ParquetFile  # pip install -e ".[hf]"
        with ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except Exception as e:                              # not installed, no parquet
        raise UserError(f"{path}: cannot be read ({type(e).__name__}: {e})") from None


def by_datasets(path: str) -> Any:
    """A data set of the hub, read by the library `datasets`."""
    name, _, split = path.removeprefix("hub:").partition(":")
    try:
        from datasets import load_dataset  # pip install -e ".[hf]"
        return load_dataset(name, split=split or "train")
    except Exception as e:                              # not installed, no network, no such name
        e = e.__cause__ if isinstance(e.__cause__, Exception) else e
        raise UserError(f"{path}: cannot be read ({type(e).__name__}: {e})") from None


def csv_items(path: str) -> Iterator[tuple[str, dict]]:
    """Rows of a CSV file. Every cell is a text, also null, N/A or 42; only grades become numbers,
    true or false."""
    csv.field_size_limit(2**31 - 1)
    lines = csv.DictReader(io.StringIO(read_text(path)), restkey="", strict=True)
    try:
        check_names(path, list(lines.fieldnames or ()))
        for i, cells in enumerate(lines, 1):
            if isinstance(cells.get(""), list):
                raise UserError(f"{path}, row {i}: has more cells than the first line; put a text "
                                "with commas in quotation marks")
            yield f"{path}, row {i}", {k: grade_cell(k, x) for k, x in cells.items()}
    except csv.Error as e:
        raise UserError(f"{path}: cannot be read as CSV ({e})") from None


def check_names(path: str, names: list[str]) -> None:
    """UserError for a first line that names a column twice, or does not separate by commas."""
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f'{path}: two columns are called "{twice[0]}"; rename one')
    if len(names) == 1 and any(sign in names[0] for sign in ";\t|"):
        raise UserError(f"{path}: its first line is {names[0][:60]!r}; columns are separated by "
                        "commas")


def grade_cell(name: str, text: str | None) -> Any:
    if name not in NUMBERS or text is None:
        return text
    try:
        return json.loads(text.strip().lower())
    except ValueError:
        return text
