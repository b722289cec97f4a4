"""Files of rows: JSON lines, a JSON list, parquet, csv, tsv, or a data set of the hub.

    items("my.jsonl")           # ("my.jsonl, line 3", {"prompt": "Hi", "response": "Ho"}), ...

rows.py makes a Row of each item.
"""
import csv
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nanouft.plumbing.errors import UserError, library
from nanouft.plumbing.files import check_lfs
from nanouft.plumbing.printing import say

Items = Iterator[tuple[str, Any]]


def items(path: str) -> Items:
    """("my.jsonl, line 3", JSON value) of each row of a file. What a library or the file system
    says of a file that it cannot read becomes one line with its name."""
    doors = {".csv": csv_rows, ".tsv": csv_rows, ".parquet": parquet_rows}
    look_at(path)
    read = hub_rows if path.startswith("hub:") else doors.get(Path(path).suffix.lower(), json_rows)
    try:
        yield from read(path)
    except UserError:
        raise
    except Exception as e:
        cause = e.__cause__ or e        # `datasets` says "An error occurred" alone
        raise UserError(f"{path}: cannot be read ({type(cause).__name__}: "
                        f"{' '.join(str(cause).split())})") from None


def look_at(path: str) -> None:
    """UserError for a file that is no text under the name of one, or is in Git LFS elsewhere."""
    if b"\0" in check_lfs(path) and not path.lower().endswith(".parquet"):
        raise UserError(f"{path}: is no text in UTF-8; save a spreadsheet as .csv, and unpack what "
                        "is packed")


def json_rows(path: str) -> Items:
    """Of a list, or of a JSON value in each line."""
    text = Path(path).read_text(encoding="utf-8-sig")
    if text.lstrip().startswith("["):
        yield from ((f"{path}, item {i}", item) for i, item in enumerate(json.loads(text), 1))
        return
    for i, line in enumerate(text.split("\n"), 1):      # not splitlines: a text may hold U+2028
        if line.strip():
            try:
                yield f"{path}, line {i}", json.loads(line)
            except json.JSONDecodeError as e:
                raise UserError(f"{path}, line {i}: no JSON ({e}); write each row in one line, or "
                                "all rows as a list") from None


def csv_rows(path: str) -> Items:
    """Every cell is a text, also null, N/A or 42; rows.py makes numbers of grades."""
    tabs = path.lower().endswith(".tsv")
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as file:
        table = csv.reader(file, strict=True, delimiter="\t" if tabs else ",")
        names, before = [name.strip() for name in next(table, ())], table.line_num
        if twice := {name for name in names if name and names.count(name) > 1}:
            raise UserError(f'{path}: two columns are called "{min(twice)}"; rename one')
        try:
            for cells in table:
                where, lines, before = f"{path}, line {before + 1}", table.line_num - before, \
                    table.line_num
                if len(cells) > len(names) or tabs and lines > 1:       # few programs quote a .tsv
                    raise UserError(f"{where}: has more cells than the first line, or quotation "
                                    "marks join lines; save the rows as .jsonl")
                if cells:
                    yield where, dict(zip(names, cells + [""] * (len(names) - len(cells))))
        except csv.Error as e:
            raise UserError(f"{path}, line {before + 1}: {e}; in a cell in quotation marks, write "
                            "a quotation mark twice") from None


def parquet_rows(path: str) -> Items:
    """By the library pyarrow, without a network and without a copy."""
    with library("pyarrow.parquet", path).ParquetFile(path) as file:
        about = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", "{}"))
        names = class_names(about.get("info", {}).get("features") or {})
        rows = (item for batch in file.iter_batches(64) for item in batch.to_pylist())
        yield from ((f"{path}, row {i}", with_class_names(item, names))
                    for i, item in enumerate(rows, 1))


def hub_rows(path: str) -> Items:
    """hub:owner/name, hub:owner/name:split or hub:owner/name:config:split, by the library
    `datasets`. A split may have a slice, as in train[:100]."""
    library("datasets", path)
    from datasets import load_dataset_builder
    name, *config = re.split(r":(?![^\[\]:]*\])", path.removeprefix("hub:"))
    split = (config.pop() if config else "") or "train"
    if Path(name).is_dir() and "[" in str(Path(name).resolve()):
        raise UserError(f"{path}: `datasets` takes square brackets as a pattern; rename the "
                        "folder")
    builder = load_dataset_builder(name, *config)
    if Path(name).is_dir():
        tell_files(path, Path(name), builder.config.data_files or {})
    if builder.name == "csv":                           # NA and null are words
        builder = load_dataset_builder(name, *config, keep_default_na=False)
    builder.download_and_prepare()
    yield from dataset_rows(builder.as_dataset(split), path)


def tell_files(path: str, folder: Path, found: Mapping[Any, list[str]]) -> None:
    """What `datasets` finds in a folder of yours, and what it leaves out: it takes one format, and
    files that are called train if there are any, but also copies that an editor makes."""
    of_data = {os.path.relpath(file, folder.resolve()) for some in found.values() for file in some}
    there = {os.path.relpath(file, folder) for file in folder.rglob("*") if file.is_file()}
    rest = {name for name in there - of_data if name != "README.md" and not re.search(
        r"(^|[/\\])[._]", name)}
    for name in of_data:
        look_at(str(folder / name))
    if {".csv", ".tsv"} <= {Path(name).suffix.lower() for name in of_data}:
        raise UserError(f"{path}: .csv and .tsv cannot be read together; use a folder for each")
    if rest or len(of_data) > 1:
        say(f"{path}: `datasets` finds {', '.join(sorted(of_data))}"
            + (f" and leaves out {', '.join(sorted(rest))}" if rest else ""))


def dataset_rows(dataset: Iterable[dict], name: str) -> Items:
    """Of a Dataset of the library `datasets`, or of any dictionaries in memory."""
    features = getattr(dataset, "features", None)
    names = class_names(features.to_dict() if features else {})
    yield from ((f"{name}, row {i}", with_class_names(item, names))
                for i, item in enumerate(dataset, 1))


def class_names(features: dict) -> dict[str, list[str]]:
    """The names of classes: {"label": ["bad", "good"]}. Their numbers may mean the opposite."""
    return {name: kind["names"] for name, kind in features.items()
            if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"}


def with_class_names(item: dict, names: dict[str, list[str]]) -> dict:
    return item | {name: known[item[name]] for name, known in names.items()
                   if item.get(name) is not None and item[name] >= 0}
