"""Files of rows: JSON lines, a JSON list, parquet, csv, tsv, or a data set of the hub.

    items("my.jsonl")           # ("my.jsonl, line 3", {"prompt": "Hi", "response": "Ho"}), ...

rows.py makes a Row of each item.
"""
import csv
import datetime
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from decimal import Decimal
from itertools import zip_longest
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from nanouft.plumbing.errors import UserError, library
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
MOST_FILES = 8                          # names in a line


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
                raise UserError(f"{where}: is not valid JSON ({e}); write one object on each line, "
                                "or all of them as one list") from None


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


def no_column_twice(path: str, names: list[str]) -> None:
    for name, n in Counter(filter(None, names)).items():
        if n > 1:
            raise UserError(f'{path}: two columns are called "{name}"; rename or remove one')


def parquet_rows(path: str) -> Items:
    """By the library pyarrow, without a network and without a copy."""
    with library("pyarrow.parquet", path).ParquetFile(path) as file:
        no_column_twice(path, file.schema_arrow.names)
        about = json.loads((file.schema_arrow.metadata or {}).get(b"huggingface", "{}"))
        rows = (item for batch in file.iter_batches(64) for item in batch.to_pylist())
        yield from with_class_names(rows, about.get("info", {}).get("features") or {}, path)


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
    """Of a Dataset of the library `datasets`, a table of pandas, or any dictionaries in memory."""
    if isinstance(dataset, Mapping):                    # a DatasetDict, or columns
        raise UserError(f"{name}: is a dictionary of splits ({', '.join(map(str, dataset))}); give "
                        "one of them, or a list of dictionaries")
    if hasattr(dataset, "iterrows"):
        no_column_twice(name, [*map(str, dataset.columns)])
        dataset = dataset.to_dict("records")
    features = getattr(dataset, "features", None)
    yield from with_class_names(map(plain, dataset), features.to_dict() if features else {}, name)


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


def plain(value: Any) -> Any:
    """Lists and numbers in place of those of numpy, pandas and torch."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if isinstance(value, dict):
        return {name: plain(x) for name, x in value.items()}
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def with_class_names(rows: Iterable, features: dict, source: str) -> Items:
    """("SOURCE, row 3", row) of each. A class (ClassLabel) has its name in place of its number,
    which may mean the opposite."""
    names = {name: kind["names"] for name, kind in features.items()
             if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"}
    for i, item in enumerate(rows, 1):
        if isinstance(item, dict):                      # any other is refused
            item = item | {name: known[item[name]] for name, known in names.items()
                           if type(item.get(name)) is int and item[name] >= 0}
        yield f"{source}, row {i}", item
