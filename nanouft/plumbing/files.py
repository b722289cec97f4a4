"""Files that others wrote: text and JSON, or one clear line that says what they are instead. Also a
check that a file can be written, before the long work for it."""
import json
from pathlib import Path
from typing import Any

from nanouft.plumbing.errors import UserError

# first bytes of files that are not UTF-8 text
BEGINNINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "packed by gzip",
              b"PK\x03\x04": "packed by zip", b"PAR1": "a parquet file", b"BZh": "packed by bzip2",
              b"\xfd7zXZ": "packed by xz", b"\x28\xb5\x2f\xfd": "packed by zstandard",
              b"ARROW1": "an Arrow file",
              **{bytes([0x80, version]): "a pickle of Python" for version in range(2, 6)}}


def plain_file(file: str | Path, hint: str = "") -> Path:
    """The path of a plain file. UserError for anything else: reading a pipe might never end."""
    path = Path(file)
    if not path.is_file():
        why = "it is not a plain file" if path.exists() else "no such file"
        raise UserError(f"{file}: cannot be read ({why}){hint}")
    return path


def read_text(file: str | Path, hint: str = "") -> str:
    """The text of a file. UserError with this hint if there is no file; or if it is not text, with
    what it holds."""
    try:
        text = plain_file(file, hint).read_text(encoding="utf-8-sig")
        what = zeros(text[:4], bool(text.strip("\0")))
    except UnicodeDecodeError as e:
        what = not_utf8(e.object, e.start)
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({e}){hint}") from None
    if what:
        raise UserError(f"{file}: cannot be read as UTF-8 text: {what}; save it as UTF-8")
    return text


def zeros(beginning: str, has_more: bool) -> str:
    """What a file is if its first letters hold a zero byte; else ""."""
    if "\0" not in beginning:
        return ""
    return "it is UTF-16" if has_more else "it holds zero bytes alone"      # without its mark


def not_utf8(data: bytes, i: int) -> str:
    """What these bytes are, if UTF-8 cannot decode them at byte i."""
    for begin, name in BEGINNINGS.items():
        if data.startswith(begin):
            return f"it is {name}"
    if what := zeros(data[:4].decode("latin-1"), True):
        return what
    line = data[:i].count(b"\n") + 1
    return f"line {line} has the byte {data[i]:#x}, as in Latin-1 and Windows-1252"


def check_writable(file: Path) -> None:
    """Make the folder of a file that is written later. OSError if it could not be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.open("a").close()


def parse_json(text: str, where: str, hint: str = "") -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as e:
        raise UserError(f"{where}: no JSON ({e}){hint}") from None
