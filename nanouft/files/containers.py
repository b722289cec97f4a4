"""Files, folders and data sets -> JSON objects, each with its place.

    sources("my_folder")                    # the files in it that hold rows
    items, kind = objects("my.jsonl.gz")    # [("my.jsonl.gz, line 1", {...})], "JSON lines, gzip"

JSON lists, JSON lines, gzip and parquet are known by their content, CSV by its name (.csv, .tsv).
A row that cannot be read is a UserError in the list; a file that cannot be read raises one.
Parquet files, data sets saved by `datasets` and names on the hub need `pip install nanouft[hf]`.
Simplified: everything is read into memory. Of a data set only the split "train" is read, or the
one in hub:owner/name:split.
"""
import csv
import gzip
import io
import json
import os.path
import re
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from nanouft.errors import UserError
from nanouft.files.words import json_type, quoted_names, short_json
from nanouft.run.storage import HUB, loads, regular
from nanouft.run.words import one_line, optional

ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
PACKED = (".gz", ".xz", ".bz2")         # may follow; only gzip is unpacked, others are an error
WRAPPERS = ("data", "train", "rows", "examples")    # {"data": [...]}: the rows of one object
SAVED = ("dataset_info.json", "dataset_dict.json")  # one of them marks a data set on disk
HELD_OUT = re.compile(r"(test|val|valid|validation|dev|eval)([^a-z].*)?", re.I)
LARGEST = 2**29                         # bytes that a gzip file may unpack to
LINES = 20_000_000                      # lines of a file, or cells of a CSV file
MANY = 100_000                          # files in a folder

Items = list[tuple[str, Any]]           # (place, an object, or the UserError that stands for it)


# ---- which files? --------------------------------------------------------------------------------
def sources(path: str, more: tuple[str, ...] = ()) -> list[str]:
    """The file or data set itself; of a folder, its files and those of folders in it, by name:
    files that end in one of ENDINGS or `more`. If one of them is called train, those called test
    or validation are left out."""
    if not os.path.isdir(path) or is_saved(path):
        return [path]
    names: dict[Path, tuple[str, ...]] = {}     # of a file, and of the folders that it is in
    found = list(islice(Path(path).rglob("*"), MANY + 1))
    if len(found) > MANY:
        raise UserError(f"{path}: holds over {MANY:,} files; name those with rows")
    for file in sorted(found):
        inside = file.relative_to(path).parts
        hidden = any(name.startswith(".") for name in inside)
        if (file.is_file() and not hidden and ends(file.name, *ENDINGS, *more)
                and file.name not in (*SAVED, "dataset_infos.json")):
            names[file] = inside
    if any(name.lower().startswith("train") for inside in names.values() for name in inside):
        names = {file: inside for file, inside in names.items()
                 if not any(map(HELD_OUT.fullmatch, inside))}
    if not names:
        raise UserError(f"{path}: is a folder without data; files in it must end in "
                        f"{', '.join(ENDINGS)}")
    return [str(file) for file in names]


def parts(paths: list[str]) -> list[Path]:
    """Every file from which these rows come; none for a name on the hub."""
    found = [[Path(path)] if os.path.isfile(path) else sorted(Path(path).rglob("*"))
             for path in paths]
    return [file for files in found for file in files if file.is_file()]


def is_saved(path: str) -> bool:
    return any(os.path.isfile(os.path.join(path, name)) for name in SAVED)


def objects(path: str, strict: bool = True) -> tuple[Items, str]:
    """([(place, object)], "JSON list", "JSON lines", "CSV" ...). `strict`: a row that is no JSON
    object raises."""
    items, kind = raw_objects(path)
    for n, (where, item) in enumerate(items):
        if not isinstance(item, (dict, UserError)):
            item = UserError(f"{where}: is {json_type(item)}, not an object; a row is "
                             '{"prompt": ..., "response": ...} or {"messages": [...]}')
            items[n] = where, item
        if strict and isinstance(item, UserError):
            raise item
    return items, kind


def raw_objects(path: str) -> tuple[Items, str]:
    if is_saved(path):
        return library_rows(path, "saved data set", saved), "saved data set"
    if path.startswith(HUB):
        return library_rows(path, "data set of the hub", on_hub), "data set of the hub"
    data, packed = load(path)
    if data.startswith(b"PAR1"):
        items, kind = library_rows(path, "parquet", partial(parquet, data)), "parquet"
    elif ends(path, ".csv", ".tsv"):
        items, kind = csv_rows(text_of(data, path), path), "CSV"
    else:
        items, kind = json_rows(text_of(data, path), path)
    if not items:
        raise UserError(f"{path}: there is no row in this file")
    return items, kind + packed


# ---- bytes and text ------------------------------------------------------------------------------
def load(path: str) -> tuple[bytes, str]:
    """What a file holds, unpacked, and how it was packed: ", gzip" or ""."""
    try:
        data = regular(Path(path)).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path given to --data (a data set on the "
                        "Hugging Face hub is hub:owner/name)") from None
    except (OSError, ValueError) as e:
        raise UserError(f"{path}: cannot be read ({e})") from None
    if not data.startswith(b"\x1f\x8b"):
        return data, ""
    try:
        with gzip.open(io.BytesIO(data)) as file:
            data = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as e:
        raise UserError(f"{path}: is a broken gzip file ({e}); copy it again") from None
    if len(data) > LARGEST:
        raise UserError(f"{path}: unpacks to more than {LARGEST:,} bytes, the limit for packed "
                        "files; unpack it first")
    return data, ", gzip"


def ends(path: str, *endings: str) -> bool:
    """Does a name end so, packed or not?"""
    stem, last = os.path.splitext(path.lower())
    return (stem if last in PACKED else path.lower()).endswith(endings)


def text_of(data: bytes, path: str) -> str:
    """The text of a file, without its byte-order mark. UserError for anything but UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: is UTF-16 text; save it as UTF-8")
    if data.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        raise UserError(f"{path}: is an Arrow file; give the folder in which the data set was "
                        "saved")
    if b"\0" in data or data.startswith((b"PK\3\4", b"BZh")):
        raise UserError(f"{path}: is a binary file; unpack it, or convert it to JSON lines, CSV or "
                        "parquet")
    if (lines := data.count(b"\n")) > LINES:
        raise UserError(f"{path}: has {lines:,} lines, and at most {LINES:,} are read; remove "
                        "blank ones, or split it")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise UserError(f"{path}, line {line}: byte 0x{data[e.start]:02x} at offset {e.start} is "
                        "not UTF-8; save the file as UTF-8") from None


# ---- JSON ----------------------------------------------------------------------------------------
def json_rows(text: str, path: str) -> tuple[Items, str]:
    """A line ends at LF only: U+2028 may stand inside a string."""
    try:
        whole = loads(text.strip())
    except ValueError:                              # one object a line, or a mistake
        whole = decode(text, path) if text.lstrip().startswith("[") else None
    if isinstance(whole, list):
        return [(f"{path}, item {i}", item) for i, item in enumerate(whole, 1)], "JSON list"
    lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
    for name in WRAPPERS if isinstance(whole, dict) else ():
        if isinstance(whole.get(name), list):
            others = [key for key in whole if isinstance(whole[key], list) and key != name]
            left = f"; not read: {quoted_names(others)}" if others else ""
            return [(f'{path}, item {i} of "{name}"', item)
                    for i, item in enumerate(whole[name], 1)], f"JSON object{left}"
    if isinstance(whole, dict) and len(lines) > 1:
        raise UserError(f"{path}: is one JSON object over {len(lines):,} lines; "
                        "put one object (one row) on a line, or all rows into one [list]")
    items: Items = []
    for i, line in lines:
        try:
            items.append((f"{path}, line {i}", decode(line, path, i, i == lines[-1][0])))
        except UserError as e:
            items.append((f"{path}, line {i}", e))
    return items, "JSON lines"


def decode(text: str, path: str, line: int = 0, last: bool = True) -> Any:
    """json.loads. UserError with line (`line`, if the text is that one), column and cause."""
    try:
        return loads(text)
    except json.JSONDecodeError as e:
        where = f"{path}, line {line or e.lineno}"
        if not text.lstrip().startswith(("{", "[")):
            raise UserError(f"{where}: not JSON (a plain text file, or CSV without .csv?); one "
                            "JSON object a line is read, or one JSON list") from None
        cut = last and (e.pos >= len(text.rstrip()) or e.msg.startswith("Unterminated"))
        remedy = "the file looks cut off here, write it again" if cut else "correct or remove it"
        raise UserError(f"{where}: broken JSON at column {e.colno} ({e.msg}); {remedy}") from None
    except ValueError:                          # a number of 5,000 digits, ten thousand brackets
        raise UserError(f"{path}, line {line or 1}: a number or nesting that is too large; "
                        "remove it") from None


# ---- CSV -----------------------------------------------------------------------------------------
def csv_rows(text: str, path: str) -> Items:
    """The first line names the fields. Cells are separated by the most frequent of , ; tab in it.
    An empty cell is null. (csv.DictReader does not tell where a row begins.)"""
    first = text.partition("\n")[0]
    told = re.fullmatch(r'"?sep=(.)"?\s*', first)               # Excel's line above the header
    delimiter = "\t" if ends(path, ".tsv") else max(",;\t", key=first.count)
    delimiter = told[1] if told else delimiter
    if (many := text.count(delimiter)) > LINES:
        raise UserError(f"{path}: has {many:,} cells, and at most {LINES:,} are read; split it")
    csv.field_size_limit(2**31 - 1)                                 # the largest that Windows takes
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    items: Items = []
    header: list[str] = []
    line = 1
    try:
        for cells in reader:
            where, line = f"{path}, line {line}", reader.line_num + 1
            if told and line == 2:
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                if len(set(header)) < len(header):
                    double = next(cell for cell in header if header.count(cell) > 1)
                    raise UserError(f"{where}: two columns are called {short_json(double)}; rename "
                                    "one (the first line of a CSV file must name its columns)")
            elif len(cells) > len(header):
                items.append((where, UserError(
                    f"{where}: has {len(cells)} cells, and the first line has {len(header)}; "
                    "put quotes around a text with a separator in it")))
            elif any(cells):
                items.append((where, {key: cell or None for key, cell in zip(header, cells)}))
    except csv.Error as e:
        raise UserError(f"{path}, line {line}: broken CSV ({e}); a quote that is opened must be "
                        "closed") from None
    return items


# ---- parquet, saved data sets, the hub: the libraries of nanouft[hf] -----------------------------
def library_rows(path: str, kind: str, read: Callable[[str], Iterable]) -> Items:
    """The rows that read(path) gives. Whatever its library raises is one UserError."""
    try:
        return [(f"{path}, row {i}", row) for i, row in enumerate(read(path), 1)]
    except (UserError, MemoryError):
        raise
    except Exception as e:                          # a damaged file, no network ...
        raise UserError(f"{path}: cannot be read as {kind} ({type(e).__name__}: "
                        f"{one_line(str(e))}); copy it again, or check the name: hub:owner/name, "
                        "hub:owner/name:split or hub:owner/name/config:split") from None


def parquet(data: bytes, path: str) -> list[dict]:
    """By pyarrow, which `datasets` needs: `datasets` itself would write a copy first."""
    library = optional("pyarrow.parquet", f"{path}: a parquet file")
    return library.read_table(io.BytesIO(data)).to_pylist()


def saved(path: str) -> Iterable:
    found = optional("datasets", f"{path}: a saved data set").load_from_disk(path)
    if not isinstance(found, dict):
        return found
    if "train" not in found:
        raise UserError(f"{path}: has no split called train; name the folder of one "
                        f"({', '.join(found)})")
    return found["train"]


def on_hub(path: str) -> Iterable:
    datasets = optional("datasets", f"{path}: a data set on the Hugging Face hub")
    if int(datasets.__version__.split(".")[0]) < 4:
        raise UserError(f"{path}: datasets {datasets.__version__} may run code that comes with a "
                        "data set; pip install 'datasets>=4'")
    name, _, split = path.removeprefix(HUB).partition(":")
    owner, repo, *config = name.split("/")
    datasets.disable_progress_bars()
    return datasets.load_dataset(f"{owner}/{repo}", *config, split=split or "train")
