"""Which code has run: every Python file that a process has imported outside of the installed
libraries, with its hash, so that a run is known to be of today's files.

    package = hash_package()            # when the comparison begins
    watch_code()                        # when the process of a run begins
    files = hash_own_code(package)      # {"nanouft:loop.py": "9f0a...", "helper.py": "41c7..."}
    unchanged(files)                    # are they the same now?
"""
import contextlib
import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nanouft.models.folders import OF_HUB
from nanouft.plumbing.errors import UserError
from nanouft.run.folder import hash_of

PACKAGE = Path(__file__).resolve().parents[1]           # nanouft
LIBRARIES = ("torch", "numpy", "transformers", "peft")      # that figures depend on
PYTHON = [Path(sysconfig.get_path(x)).resolve() for x in ("stdlib", "platstdlib")]
hashes_when_run: dict[Path, str] = {}   # of each file of code, as the process of a run has run it


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


def hash_package() -> dict[str, str]:
    """{name: hash} of all that nanouft is written in, whether or not it is imported."""
    return {f"nanouft:{file.relative_to(PACKAGE).as_posix()}": hash_of_file(file)
            for file in PACKAGE.rglob("*.py")}


def watch_code() -> None:
    """From now on, hash each file of code when this process begins to run it. Only the end of the
    process ends it."""
    sys.addaudithook(hash_when_run)


def hash_when_run(event: str, told: tuple[Any, ...]) -> None:
    """Python calls it with all that this process does; ("exec", (code,)) is the run of a module."""
    if event != "exec" or not told[0].co_filename.endswith(".py"):
        return
    file = Path(told[0].co_filename).absolute()
    if not is_of_a_library(str(file)):
        hashes_when_run.setdefault(file, hash_of_file(file))


def hash_own_code(package: Mapping[str, str]) -> dict[str, str]:
    """{name: hash} of own_code_files. UserError if the bytes of one have changed: of nanouft's
    since the comparison began (package: hash_package then), of any other since it was run."""
    files = own_code_files()
    hashes = {name: hash_of_file(file) for name, file in files.items()}
    for name, file in files.items():
        was = package.get(name) if name.startswith("nanouft:") else hashes_when_run.get(file)
        if was not in (None, hashes[name]):
            raise UserError(f"{file}: changed while it ran; run the same command again")
    return hashes


def unchanged(files: dict[str, str]) -> bool:
    return all(hash_of_file(file_named(name)) == was for name, was in files.items())
