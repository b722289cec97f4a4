"""Files of rows: JSON lines, a JSON list, parquet, csv, tsv, or a data set of the hub.

    items("my.jsonl")           # ("my.jsonl, line 3", {"prompt": "Hi", "response": "Ho"}), ...

rows.py makes a Row of each item.
"""
import csv
import io
import json
import os.path
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nanouft.data.forms import MARKS, NUMBERS
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import no_name_twice, parse_json, plain_file, read_text

PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar")
OF_DISK = ("dataset_info.json", "dataset_dict.json", "state.json")     # beside tables of `datasets`


def items(path: str) -> Iterator[tuple[str, Any]]:
    """("my.jsonl, line 3", JSON value) of each row of a file; a UserError is a row to refuse."""
    suffix = os.path.splitext(path)[1].lower()
    if path.startswith("hub:") or suffix in (".parquet", ".csv", ".tsv"):
        read_table = hub_rows if path.startswith("hub:") else (
            parquet_rows if suffix == ".parquet" else csv_rows)
        try:
            yield from ((f"{path}, row {i}", item) for i, item in enumerate(read_table(path), 1))
        except UserError:
            raise
        except Exception as e:          # a library, the network, or the file
            hint = "; hub:owner/name:CONFIG:SPLIT names a configuration" * ("onfig" in str(e))
            raise UserError(f"{path}: cannot be read ({type(e).__name__}: {e}){hint}") from None
        return
    if suffix in PACKED:
        raise UserError(f"{path}: is packed; unpack it first")
    if suffix == ".arrow" or any(Path(path, name).exists() for name in OF_DISK):
        raise UserError(f"{path}: is a table that the library datasets has saved on the disk; save "
                        "it with to_json(\"my.jsonl\"), after load_from_disk(FOLDER)")
    text = read_text(path, "; a data set of the hub is hub:owner/name")
    try:
        whole = json.loads(text, object_pairs_hook=no_name_twice)
    except (ValueError, RecursionError):                # a JSON value in each line
        whole = None
    if isinstance(whole, list):
        yield from ((f"{path}, item {i}", item) for i, item in enumerate(whole, 1))
        return
    for i, line in enumerate(text.split("\n"), 1):      # not splitlines: a text may hold U+2028
        if line.strip():
            yield f"{path}, line {i}", parse_json(
                line, f"{path}, line {i}", "; write each row in one line, not over several, or all "
                "rows as a list; a table ends in .csv, .tsv or .parquet")


def parquet_rows(path: str) -> Iterator[dict]:
    """By the library pyarrow, without a network and without a copy: pip install -e ".[hf]"."""
    from pyarrow.parquet import ParquetFile
    with ParquetFile(plain_file(path)) as file:
        names = file.schema_arrow.names
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f'{path}: two columns are called "{twice[0]}"; rename or remove one')
        for batch in file.iter_batches():
            yield from batch.to_pylist()


def hub_rows(path: str) -> Any:
    """hub:owner/name, hub:owner/name:split or hub:owner/name:config:split, by the library
    `datasets`: pip install -e ".[hf]". A split may have a slice, as in train[:100]."""
    from datasets import load_dataset
    name, *more = re.split(r":(?![^\[]*\])", path.removeprefix("hub:"))
    if len(more) > 2:
        raise UserError(f"{path}: is not hub:owner/name:CONFIG:SPLIT")
    split = more.pop() if more else ""
    return load_dataset(name, *more, split=split or "train")


def csv_rows(path: str) -> Iterator[dict]:
    """Every cell is a text, also null, N/A or 42; only grades and marks become numbers, true or
    false. The names in the first line may have spaces around them."""
    csv.field_size_limit(2**31 - 1)
    table = csv.DictReader(io.StringIO(read_text(path)), restkey="", strict=True,
                           delimiter="\t" if path.lower().endswith(".tsv") else ",")
    table.fieldnames = [name.strip() for name in table.fieldnames or ()]
    for cells in table:
        if isinstance(cells.get(""), list) or len(cells) < len(table.fieldnames):
            raise UserError(f"{path}, line {table.line_num}: has more cells than the first line, "
                            "or two columns have one name; put a text with commas in quotation "
                            "marks")
        yield {name: grade_cell(text) if name in NUMBERS | MARKS and text else text
               for name, text in cells.items()}


def grade_cell(text: str) -> Any:
    try:
        return json.loads(text.strip().lower())
    except ValueError:
        return text
