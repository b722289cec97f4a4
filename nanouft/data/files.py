"""Files of rows: JSON lines, a JSON list, parquet, csv, tsv, or a data set of the hub.

    items("my.jsonl")           # ("my.jsonl, line 3", {"prompt": "Hi", "response": "Ho"}), ...

rows.py makes a Row of each item.
"""
import csv
import io
import json
import os.path
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import count, zip_longest
from pathlib import Path
from typing import Any

from nanouft.data.forms import MARKS, NUMBERS, plain
from nanouft.plumbing.errors import UserError, library
from nanouft.plumbing.files import no_name_twice, parse_json, plain_file, read_text
from nanouft.plumbing.printing import quantity, say

Items = Iterator[tuple[str, Any]]
PACKED = (".gz", ".zip", ".bz2", ".xz", ".zst", ".7z", ".tar")
OF_DISK = ("dataset_info.json", "dataset_dict.json", "state.json")     # beside tables of `datasets`
BETWEEN = {".csv": ",", ".tsv": "\t"}   # the sign between two cells
MOST_BYTES = 4e9                        # of a parquet file's rows, which may be packed very small
OF_HUB = "; a data set of the hub is hub:owner/name"
NO_NAME = "; write out the name of each file, without ~ and *, and download what has an address"
# what the card of a data set may say of a file that is read here all the same
OF_CARD = {"name", "version", "data_dir", "data_files", "description", "features", "sep",
           "delimiter"}


def items(path: str) -> Items:
    """("my.jsonl, line 3", JSON value) of each row of a file; a UserError is a row to refuse."""
    try:
        yield from hub_rows(path) if path.startswith("hub:") else file_rows(path)
    except UserError:
        raise
    except Exception as e:              # a library, the network, or the file
        hint = "; hub:owner/name:CONFIG:SPLIT names a configuration" * ("onfig" in str(e))
        cause = e.__cause__ or e        # `datasets` says "An error occurred" alone
        said = f"{type(cause).__name__}: {' '.join(str(cause).split())}"
        raise UserError(f"{path}: cannot be read ({said}){hint}") from None


def file_rows(path: str) -> Items:
    suffix = os.path.splitext(path)[1].lower()
    if suffix in PACKED:
        raise UserError(f"{path}: is packed; unpack it first")
    if suffix == ".arrow" or any(Path(path, name).exists() for name in OF_DISK):
        raise UserError(f"{path}: is a table that the library datasets has saved on the disk; save "
                        "it with to_json(\"my.jsonl\"), after load_from_disk(FOLDER)")
    plain_file(path, (NO_NAME if re.search(r"://|^~|[*?\[]", path) else "") + OF_HUB)
    if suffix == ".parquet":
        return parquet_rows(path)
    return csv_rows(path, path, BETWEEN[suffix]) if suffix in BETWEEN else json_rows(path, path)


def json_rows(file: str, name: str) -> Items:
    """Of a list, or of a JSON value in each line. name: the file's in messages."""
    text = read_text(file)
    try:
        whole = json.loads(text, object_pairs_hook=no_name_twice)
    except (ValueError, RecursionError):
        whole = None
    if isinstance(whole, list):
        yield from ((f"{name}, item {i}", item) for i, item in enumerate(whole, 1))
        return
    for i, line in enumerate(text.split("\n"), 1):      # not splitlines: a text may hold U+2028
        if line.strip():
            yield f"{name}, line {i}", parse_json(
                line, f"{name}, line {i}", "; write each row in one line, not over several, or all "
                "rows as a list; save a spreadsheet as .csv (or another table as .tsv, .parquet)")


def parquet_rows(path: str) -> Items:
    """By the library pyarrow, without a network and without a copy."""
    with library("pyarrow.parquet", path).ParquetFile(path) as file:
        schema, numbers, size = file.schema_arrow, count(1), 0
        no_column_twice(schema.names, path)
        about = json.loads((schema.metadata or {}).get(b"huggingface", "{}"))   # by `datasets`
        features = about.get("info", {}).get("features") or {}
        for batch in file.iter_batches(batch_size=64):  # few: a row may be large
            size += sum((x.dictionary_decode() if hasattr(x, "dictionary_decode") else x).nbytes
                        for x in batch)
            if size > MOST_BYTES:
                raise UserError(f"{path}: holds more than {MOST_BYTES / 1e9:g} GB when it is "
                                "unpacked, and a run keeps all rows in memory; give a part of it")
            yield from ((f"{path}, row {next(numbers)}", with_class_names(item, features))
                        for item in batch.to_pylist())


def hub_rows(path: str) -> Items:
    """hub:owner/name, hub:owner/name:split or hub:owner/name:config:split, by the library
    `datasets`. A split may have a slice, as in train[:100]. `datasets` finds the files. JSON, csv
    and tsv are read as above: it would make null of the text NA, and dates of texts that look so.
    """
    name, *more = re.split(r":(?![^\[\]:]*\])", path.removeprefix("hub:"))
    if len(more) > 2:
        raise UserError(f"{path}: is not hub:owner/name:CONFIG:SPLIT")
    library("datasets", path)
    from datasets import DownloadManager, ReadInstruction, load_dataset_builder
    split = (more.pop() if more else "") or "train"
    builder = load_dataset_builder(name, *more)
    config, features = builder.config, features_of(builder.info)
    if builder.name not in ("csv", "json") or any(
            getattr(config, f.name) != f.default for f in fields(config) if f.name not in OF_CARD):
        builder.download_and_prepare()
        yield from dataset_rows(builder.as_dataset(split), path)
        return

    def rows_of(source: str) -> Items:
        manager, shown = DownloadManager(), f"hub:{name}/{os.path.basename(source)}"
        for file in manager.iter_files(manager.download_and_extract(source)):
            yield from (csv_rows(file, shown, config.sep) if builder.name == "csv" else
                        json_rows(file, shown))
    split = "+".join(map(str, config.data_files)) if split == "all" else split
    rows = {part: [row for source in sources if str(part) in split for row in rows_of(source)]
            for part, sources in config.data_files.items()}
    for one in ReadInstruction.from_spec(split).to_absolute({x: len(rows[x]) for x in rows}):
        for where, item in rows[one.splitname][one.from_:one.to]:
            yield where, with_class_names(item, features)


def dataset_rows(dataset: Iterable[dict], name: str) -> Items:
    """Of a Dataset of the library `datasets`, or of any dictionaries in memory."""
    features = features_of(dataset)
    yield from ((f"{name}, row {i}", with_class_names(plain(item), features))
                for i, item in enumerate(dataset, 1))


def features_of(described: Any) -> dict:
    """What `datasets` knows of the fields of a Dataset; {} for rows that are none."""
    features = getattr(described, "features", None)
    return features.to_dict() if features else {}


def with_class_names(value: Any, feature: Any, field: str = "") -> Any:
    """The value of a field of `datasets`, with the names of classes in place of their numbers.
    feature: {"names": ["bad", "good"], "_type": "ClassLabel"}, or what holds such."""
    inner = feature
    if isinstance(feature, list) or "_type" in feature:     # before version 4 a list was one here
        inner = feature[0] if isinstance(feature, list) else feature.get("feature", feature)
    if isinstance(value, list):
        return [with_class_names(x, inner, field) for x in value]
    if isinstance(value, dict):
        return {name: with_class_names(x, inner.get(name, {}), name) for name, x in value.items()}
    names = inner.get("names", ()) if inner.get("_type") == "ClassLabel" else ()
    return cell(field, names[value]) if type(value) is int and 0 <= value < len(names) else value


def csv_rows(file: str, name: str, between: str) -> Items:
    """Every cell is a text, also null, N/A or 42; only grades and marks become numbers, true or
    false. The names in the first line may have spaces around them. A column without a name is
    nothing where it is blank."""
    csv.field_size_limit(2**31 - 1)
    lines = [*io.StringIO(read_text(file))]
    if lines and between not in lines[0] and ";" in lines[0]:
        between = ";"                                   # as spreadsheets write it in many countries
    table = csv.reader(lines, strict=True, delimiter=between)
    names: list[str] = []
    begin, n, joined = 1, 0, list[int]()
    try:
        for cells in table:
            here, begin = begin, table.line_num + 1
            if not names or not cells:                  # the first line, or a blank one
                names = names or [text.strip() for text in cells]
                no_column_twice(names, f"{name}, line {here}")
                continue
            if any(map(str.strip, cells[len(names):])):
                raise UserError(f"{name}, line {here}: has more cells than the first line; put a "
                                f"text with {between!r} in quotation marks")
            if are_rows(lines[here - 1:table.line_num], cells, names, between):
                joined.append(here)
            n += 1
            yield f"{name}, row {n}", {
                field or f"column {i}": cell(field, text)
                for i, (field, text) in enumerate(zip_longest(names, cells, fillvalue=""), 1)
                if field or text.strip()}
    except csv.Error:
        raise UserError(f"{name}, line {begin}: has a quotation mark that does not fit; inside a "
                        'cell in quotation marks write it twice: "he said ""hi"""') from None
    if joined:
        told = (f"{name}, line {joined[0]}: quotation marks join lines that look like rows "
                f"({quantity(len(joined), 'times')}); if they are, save them as .jsonl")
        if between == "\t":                             # few programs quote such a file
            raise UserError(told)
        say(told)


def no_column_twice(names: list[str], where: str) -> None:
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise UserError(f'{where}: two columns are called "{twice[0]}"; rename or remove one')


def are_rows(lines: list[str], cells: list[str], names: list[str], between: str) -> bool:
    """True if the first and last line of a row, read without quotation marks, are rows as well."""
    joined = len(lines) > 1 or len(cells) < len(names)
    return joined and len(names) > 1 and all(
        line.count(between) == len(names) - 1 for line in (lines[0], lines[-1]))


def cell(field: str, text: str) -> Any:
    """A cell of a table: a text, or for grades and marks what JSON makes of it."""
    try:
        return json.loads(text.strip().lower()) if field in NUMBERS | MARKS else text
    except (ValueError, RecursionError):
        return text
