"""Rows of tables: .parquet, a data set of the hub or a folder of yours by the library `datasets`,
and rows that are in memory.

    dataset_rows(dataset, "train")      # ("train, row 1", {"prompt": "Hi", "response": "Ho"}), ...

`datasets` takes 1.3 seconds to start; files.py reads all other files without it.
"""
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nanouft.plumbing.errors import UserError, library
from nanouft.plumbing.files import check_lfs
from nanouft.plumbing.printing import note, quantity

Items = Iterator[tuple[str, Any]]
MOST_FILES = 8                          # names in a line


def no_column_twice(path: str, names: list[str]) -> None:
    for name, n in Counter(filter(None, names)).items():
        if n > 1:
            raise UserError(f'{path}: two columns are called "{name}"; rename or remove one')


def parquet_rows(path: str) -> Items:
    with library("pyarrow.parquet", path).ParquetFile(path) as file:
        no_column_twice(path, file.schema_arrow.names)
        yield from dataset_rows(library("datasets", path).Dataset(file.read()), path)


def hub_rows(path: str, tell: bool = True) -> Items:
    """hub:owner/name, hub:owner/name:split or hub:owner/name:config:split, by the library
    `datasets`. A split may have a slice, as in train[:100]. A folder of yours is read anew each
    time: `datasets` would know a file that it has read before by its name and time. tell: say what
    it finds in such a folder."""
    library("datasets", path)
    import datasets
    source = path.removeprefix("hub:")
    name, *config = [source] if Path(source).is_dir() else re.split(r":(?![^\[\]:]*\])", source)
    split = (config.pop() if config else "") or "train"
    is_folder = Path(name).is_dir()
    if is_folder and "[" in str(Path(name).resolve()):
        raise UserError(f"{path}: `datasets` reads square brackets as a pattern; rename the "
                        "folder")
    for_all = Path(datasets.config.HF_DATASETS_CACHE)
    for_all.mkdir(parents=True, exist_ok=True)
    with (TemporaryDirectory(dir=for_all, ignore_cleanup_errors=True) if is_folder
          else nullcontext()) as cache:
        how = {"cache_dir": cache} if is_folder else {}
        builder = datasets.load_dataset_builder(name, *config, **how)
        if is_folder and tell:
            report_files_found(path, Path(name), builder.config.data_files or {})
        if builder.name == "csv":                       # NA and null are words
            builder = datasets.load_dataset_builder(name, *config, keep_default_na=False, **how)
        builder.download_and_prepare()
        yield from dataset_rows(builder.as_dataset(split), path)


def report_files_found(path: str, folder: Path, files_of: Mapping[Any, list[str]]) -> None:
    """What `datasets` finds in a folder of yours, and what it leaves out: it takes one format, and
    files that are called train if there are any, but also copies that an editor makes."""
    of_data = {os.path.relpath(file, folder.resolve())
               for files in files_of.values() for file in files}
    there = {os.path.relpath(file, folder) for file in folder.rglob("*") if file.is_file()}
    rest = {name for name in there - of_data if name != "README.md" and not re.search(
        r"(^|[/\\])[._]", name)}
    for name in of_data:
        check_lfs(folder / name)
    if {".csv", ".tsv"} <= {Path(name).suffix.lower() for name in of_data}:
        raise UserError(f"{path}: .csv and .tsv cannot be read together; use a folder for each")
    if rest or len(of_data) > 1:
        note(f"{path}: `datasets` reads {rare_endings_first(of_data)}"
             + (f" and ignores {rare_endings_first(rest)}" if rest else ""))


def rare_endings_first(names: set[str]) -> str:
    """The names of files in words, those with a rare ending first: "a.jsonl.bak, a.jsonl"."""
    like = Counter(Path(name).suffix for name in names)
    in_order = sorted(names, key=lambda name: (like[Path(name).suffix], name))
    rest = len(in_order) - MOST_FILES
    others = f" and {quantity(rest, 'others')}" if rest > 0 else ""
    return ", ".join(in_order[:MOST_FILES]) + others


def dataset_rows(dataset: Any, name: str) -> Items:
    """Of a Dataset of the library `datasets` in any format, a table of pandas or pyarrow, a
    dictionary of columns, or any dictionaries in memory. A class (ClassLabel) has its name in place
    of its number, which may mean the opposite."""
    if isinstance(dataset, Mapping):
        dataset = rows_of_columns(dataset, name)
    if hasattr(dataset, "iterrows"):                    # pandas
        no_column_twice(name, [*map(str, dataset.columns)])
        dataset = dataset.to_dict("records")
    if hasattr(dataset, "to_pylist"):                   # pyarrow
        no_column_twice(name, dataset.column_names)
        dataset = dataset.to_pylist()
    classes = {}
    if hasattr(dataset, "with_format"):
        dataset = dataset.with_format(None)
        classes = {column: kind.names for column, kind in (dataset.features or {}).items()
                   if hasattr(kind, "int2str")}
    for i, item in enumerate(map(plain, dataset), 1):
        if isinstance(item, dict):                      # any other is refused
            item |= {column: names[item[column]] for column, names in classes.items()
                     if type(item.get(column)) is int and item[column] >= 0}
        yield f"{name}, row {i}", item


def rows_of_columns(columns: Mapping, name: str) -> list[dict]:
    """The rows of a dictionary of columns. UserError for one of splits, as a DatasetDict is, and
    for one row."""
    if any(isinstance(column, str) for column in columns.values()):
        raise UserError(f"{name}: is one row ({', '.join(map(str, columns))}); give a list of rows")
    values = [plain(column) for column in columns.values()
              if isinstance(column, (list, tuple)) or hasattr(column, "tolist")]
    cells = [x for column in values for x in column]
    if len(values) < len(columns) or cells and all(isinstance(x, dict) for x in cells):
        raise UserError(f"{name}: is a dictionary of splits ({', '.join(map(str, columns))}); give "
                        "one of them, or a list of dictionaries")
    if len({*map(len, values)}) > 1:
        raise UserError(f"{name}: its columns differ in length ("
                        + ", ".join(f"{x}: {len(column)}" for x, column in zip(columns, values))
                        + ")")
    return [dict(zip(columns, row)) for row in zip(*values)]


def plain(value: Any) -> Any:
    """Lists and numbers in place of those of numpy, pandas and torch."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if isinstance(value, dict):
        return {name: plain(x) for name, x in value.items()}
    return None if type(value).__name__ in ("NAType", "NaTType") else value
