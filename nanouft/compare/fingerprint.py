"""Which code has run: every Python file that a process has imported outside of the installed
libraries, with its hash, so that a run is known to be of today's files.

    files = hash_own_code(since, began)     # {"nanouft:loop.py": "9f0a...", "helper.py": "41c7..."}
    unchanged(files)                    # are they the same now?
"""
import contextlib
import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from nanouft.models.folders import OF_HUB
from nanouft.plumbing.errors import UserError
from nanouft.run.folder import hash_of

PACKAGE = Path(__file__).resolve().parents[1]           # nanouft
LIBRARIES = ("torch", "numpy", "transformers", "peft")      # that figures depend on
PYTHON = [Path(sysconfig.get_path(x)).resolve() for x in ("stdlib", "platstdlib")]


def short_hash(parts: Iterable) -> str:
    return hashlib.sha256(json.dumps([*parts]).encode()).hexdigest()[:8]


def hash_of_input(path: str) -> str:
    """Hash of a file, or of all files of a model folder that are read."""
    files = sorted({x for pattern in OF_HUB for x in Path(path).glob(pattern)}) if Path(
        path).is_dir() else []
    if not files:
        return hash_of_file(Path(path))
    return short_hash([x.name, hash_of_file(x)] for x in files)


def hash_of_file(file: Path) -> str:
    """"" if there is no such file."""
    with contextlib.suppress(OSError):
        state = file.stat()
        return cached_file_hash(file, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
    return ""


@cache
def cached_file_hash(file: Path, *state: int) -> str:
    """Weights may be large, so a file that has not changed is read once."""
    return hash_of(str(file)) if file.is_file() else ""


def library_versions() -> dict[str, str]:
    """{library: version}, of those that are installed."""
    installed = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            installed[name] = version(name)
    return installed


@cache
def is_of_a_library(file: str) -> bool:
    """Or of Python itself. That doesn't change, and a process imports thousands of them."""
    path = Path(file)
    return bool({"site-packages", "dist-packages"} & {*path.parts}) or path.is_absolute() and any(
        map(path.resolve().is_relative_to, PYTHON))


def own_code_files() -> dict[str, Path]:
    """{its name in made.json: the file} of each module that is imported now and of no installed
    library. Files of nanouft and of this folder have names that move with them."""
    files, here, ours = {}, Path.cwd().resolve(), str(Path(__file__).parents[1])
    imported = {str(getattr(x, "__file__", None) or "") for x in [*sys.modules.values()]}
    candidates = {Path(x).absolute() for x in sorted(imported)
                  if x.startswith(ours) or not is_of_a_library(x)}
    for file in (x for x in candidates if x.is_file()):
        real = file.resolve()           # of a link the content counts, wherever it leads
        if real.is_relative_to(PACKAGE):
            files[f"nanouft:{real.relative_to(PACKAGE).as_posix()}"] = real
        else:
            inside = file.is_relative_to(here)
            files[(file.relative_to(here) if inside else file).as_posix()] = file
    return files


def file_named(name: str) -> Path:
    of_package = name.startswith("nanouft:")
    return PACKAGE / name.removeprefix("nanouft:") if of_package else Path.cwd() / name


def hash_own_code(since: float, began: float) -> dict[str, str]:
    """{name: hash} of own_code_files. UserError if a file has changed after it was imported:
    nanouft's after the comparison began, any other after this process did."""
    files = own_code_files()
    for name, file in files.items():
        state = file.stat()
        changed = state.st_mtime
        if not is_of_a_library(str(file)):      # uv links an installed file elsewhere: a new ctime
            changed = max(changed, state.st_ctime)
        if changed > (since if name[:8] == "nanouft:" else began):
            raise UserError(f"{file}: changed while it ran; run the same command again")
    return {name: hash_of_file(file) for name, file in files.items()}


def unchanged(files: dict[str, str]) -> bool:
    return all(hash_of_file(file_named(name)) == was for name, was in files.items())
