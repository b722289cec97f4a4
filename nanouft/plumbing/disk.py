"""Files that are checked before reading and written whole: JSON objects, folders, tensors.

A file is written under another name and then renamed, so a reader finds the old file or the new
one. Whatever comes from outside is checked before it is opened. Nothing is pickled, and nothing is
written or deleted through a link.
"""
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import parse_json, plain_file, read_text

READ = ["*.json*", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.png"]     # and written


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


def read_json(file: Path, **kinds: type) -> dict:
    """A JSON object. UserError if there is none, or if a field has another type than in `kinds`. A
    field may be missing."""
    hint = f"; is {file.parent} the folder of a run?"
    value = parse_json(read_text(file, hint), str(file), hint)
    if not isinstance(value, dict):
        raise UserError(f"{file}: holds no JSON object")
    for name, kind in kinds.items():
        if not isinstance(value.get(name, kind()), kind):
            raise UserError(f"{file}: {name} is {str(value[name])[:80]}, no {kind.__name__}")
    return value


def as_json(value: Any) -> Any:
    """The value as JSON gives it back: None for NaN and infinity."""
    return json.loads(json.dumps(value), parse_constant=lambda word: None)


def write_json(file: Path, value: Any) -> None:
    write_text(file, json.dumps(as_json(value), indent=1, ensure_ascii=False))


def write_text(file: Path, text: str) -> None:
    """Write a new file in place of the old one. A hard link to the old file keeps the old text."""
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        partial.write_text(text, encoding="utf-8",
                           errors="backslashreplace")   # half of a character: as JSON writes it
        rename(partial, file)
    except OSError:                                     # a full disk
        partial.unlink(missing_ok=True)
        raise


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


def fresh(folder: Path) -> Path:
    """An empty folder, in place of whatever was there."""
    remove(folder)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def removed_unless_whole(partial: Path) -> Iterator[Path]:
    """An empty folder to write into; the block renames or empties it. If the block fails, as on a
    full disk, the folder is removed."""
    try:
        yield fresh(partial)
    except BaseException:
        remove(partial)
        raise


def remove(path: Path) -> None:
    """Delete a folder, or whatever is in its place. Of a link, only the link is deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def not_finite(weights: Mapping[str, Tensor]) -> str:
    return next((name for name, p in weights.items() if not p.isfinite().all()), "")


def holds_tensors(file: Path) -> bool:
    """True if this is a whole file of tensors."""
    try:
        with safe_open(plain_file(file), "pt"):     # compares its size with its head
            return True
    except (UserError, OSError, SafetensorError):
        return False


def load_checked(file: Path, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of `file`. ValueError unless they have the wanted names, shapes and types, and
    are finite: an optimizer step over tensors of another size would write beyond their end."""
    tensors = load_file(plain_file(file))
    for name in {**wanted, **tensors}:
        a, b = tensors.get(name), wanted.get(name)
        if a is None or b is None or (a.shape, a.dtype) != (b.shape, b.dtype):
            raise ValueError(f"{file.name}: {name} is missing, of another shape or of another type")
    if name := not_finite(tensors):
        raise ValueError(f"{file.name}: {name} is not finite")
    return tensors
