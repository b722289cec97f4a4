"""Files that are read without trust and written whole: text, JSON objects, folders.

A file is written under another name and renamed once, so a reader finds the old one or the new one.
Whatever comes from outside is checked before it is opened; one clear line says what it is instead.
Nothing is written or deleted through a link.
"""
import json
import os
import re
import shutil
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from nanouft.plumbing.errors import UserError

OWN = re.compile(r"(.+\.py)(?::(\w+))?")             # mine.py, mine.py:Name
READ = ["*.json*", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.png"]     # and written


# ---- reading -------------------------------------------------------------------------------------
def own_file(name: str) -> str:
    """The file of code of your own: mine.py of mine.py:Name; "" for any other name."""
    own = OWN.fullmatch(name)
    return own[1] if own else ""


def plain_file(file: str | Path, hint: str = "") -> Path:
    """The path of a plain file. UserError for anything else: reading a pipe might never end."""
    path = Path(file)
    if not path.is_file():
        why = "it is not a plain file" if path.exists() else "no such file"
        raise UserError(f"{file}: cannot be read ({why}){hint}")
    return path


def read_text(file: str | Path, hint: str = "") -> str:
    """The text of a file. UserError with this hint if there is no file, or with the line and the
    likely encoding if it is no UTF-8."""
    try:
        data = plain_file(file, hint).read_bytes()
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({e}){hint}") from None
    other, line = encoding_with_zeros(data), ""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = f", line {e.object.count(10, 0, e.start) + 1}"
        byte = f"byte 0x{e.object[e.start]:02x}"
        other = other or f"{byte}: perhaps it is Windows-1252 or Latin-1"
    if other:
        raise UserError(f"{file}{line}: is no UTF-8 ({other}); save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def encoding_with_zeros(data: bytes) -> str:
    """That of a text that begins with a mark, or with an ASCII letter and zero bytes; else ""."""
    if b"\0\0" in data[:4]:
        return "UTF-32" if data.strip(b"\0") else "zero bytes alone"
    return "UTF-16" if b"\0" in data[:4] or data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else ""


def no_name_twice(pairs: list[tuple[str, Any]]) -> dict | UserError:
    """A JSON object. If a name comes twice in it, or in an object within, it is an error in place
    of the object: json would keep the last value."""
    values = [value for _, value in pairs]
    while values:
        value = values.pop()
        if isinstance(value, UserError):
            return value
        values += value if isinstance(value, list) else ()
    for name, n in Counter(name for name, _ in pairs).items():
        if n > 1:
            return UserError(f'"{name}" is there twice in one object; remove one of them')
    return dict(pairs)


def parse_json(text: str, where: str, hint: str = "") -> Any:
    """A JSON value; a UserError is an object to refuse."""
    try:
        return json.loads(text, object_pairs_hook=no_name_twice)
    except (json.JSONDecodeError, RecursionError) as e:
        raise UserError(f"{where}: no JSON ({e}){hint}") from None
    except ValueError:
        raise UserError(f"{where}: has a number of over 4,300 digits; write it as a text") from None


def read_json(file: Path, **kinds: type) -> dict:
    """A JSON object. UserError if there is none, or if a field has another type than in `kinds`. A
    field may be missing."""
    hint = f"; is {file.parent} the folder of a run?"
    value = parse_json(read_text(file, hint), str(file), hint)
    if isinstance(value, UserError):
        raise UserError(f"{file}: {value}")
    if not isinstance(value, dict):
        raise UserError(f"{file}: holds no JSON object")
    for name, kind in kinds.items():
        if not isinstance(value.get(name, kind()), kind):
            raise UserError(f"{file}: {name} is {str(value[name])[:80]}, no {kind.__name__}")
    return value


# ---- folders of somebody else --------------------------------------------------------------------
def check_files(folder: Path) -> None:
    """UserError if a file that we or transformers would open is a pipe, a device or a folder."""
    for pattern in READ:
        for file in folder.glob(pattern):
            plain_file(file)


def plain_folder(path: Path) -> Path:
    """The path of a folder that exists or can be made. UserError for a link, which may lead
    anywhere, and for anything else in its place."""
    if path.is_symlink() or path.exists() and not path.is_dir():
        what = "a symbolic link" if path.is_symlink() else "no folder"
        raise UserError(f"{path}: is {what}, so nothing is written there; remove it, or put the "
                        "folder itself in its place")
    return path


def no_links(folder: Path) -> None:
    """UserError if anything in a folder, however deep, is a symbolic link: writing or deleting
    through it would reach other places."""
    for place, folders, files in os.walk(folder):           # which follows no link
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink():
                raise UserError(f"{path}: is a symbolic link, which may lead out of {folder}; put "
                                "what it names in its place")


# ---- writing and deleting ------------------------------------------------------------------------
def as_json(value: Any) -> Any:
    """The value as JSON gives it back: None for NaN and infinity."""
    return json.loads(json.dumps(value), parse_constant=lambda word: None)


def write_json(file: Path, value: Any) -> None:
    write_text(file, json.dumps(as_json(value), indent=1, ensure_ascii=False))


def write_text(file: Path, text: str) -> None:
    """Write a new file in place of the old one. A hard link to the old file keeps the old text."""
    with removed_unless_whole(file.with_name(file.name + ".partial")) as partial:
        partial.write_text(text, encoding="utf-8",
                           errors="backslashreplace")   # half of a character: as JSON writes it
        rename(partial, file)


def rename(partial: Path, final: Path) -> None:
    """Give a finished file or folder its final name, in place of what is there. Each file gets the
    umask's mode, because a library may write for the owner alone (safetensors: 0600)."""
    mask = os.umask(0o077)
    os.umask(mask)
    for file in (partial, *partial.rglob("*")):
        if file.is_file():
            with suppress(OSError):                     # a drive without modes
                file.chmod(0o666 & ~mask)
    if partial.is_dir():
        remove(final)
    os.replace(partial, final)


@contextmanager
def removed_unless_whole(partial: Path) -> Iterator[Path]:
    """A name for a file or a folder, which the block makes and then renames or empties. If the
    block fails, it is removed. The error names it: those of a full disk and safetensors do not."""
    remove(partial)
    try:
        yield partial
    except BaseException as e:
        remove(partial)
        e.filename = getattr(e, "filename", None) or str(partial)   # type: ignore[attr-defined]
        raise


def remove(path: Path) -> None:
    """Delete a folder, or whatever is in its place. Of a link, only the link is deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
