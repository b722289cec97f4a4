"""What a run depends on, by content: code, rows, models, versions of libraries.

    inputs_of(["my.jsonl"], config)         # (("nanouft", "9f0a..."), ("my.jsonl", "41c7..."), ...)
    changed_input(inputs)                   # "" or the first that is another one now, or here

Code is all of nanouft but the other methods and what only compares. To it comes the file of the
method, with what it imports (plumbing/imported_files.py). No name and no time stamp is trusted.
"""
import hashlib
import inspect
import json
import shlex
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import cache_from_source
from pathlib import Path

from nanouft.models.folders import OF_A_RUN, OF_HUB, hash_of_model
from nanouft.plumbing.files import hash_of_file, own_file
from nanouft.plumbing.imported_files import METHODS, PACKAGE, imported_files
from nanouft.run.config import RunConfig, parse_run

COMPARED_BY = ("runs", "scoring", "splits")             # of this folder, by which scores are made
LIBRARIES = ("torch", "numpy", "transformers", "peft")  # that figures depend on

Inputs = tuple[tuple[str, str], ...]                    # (name, hash or version)


def short_hash(parts: Iterable) -> str:
    return hashlib.sha256(json.dumps([*parts]).encode()).hexdigest()[:10]


# ---- files and folders ---------------------------------------------------------------------------
@cache
def hash_of_input(name: str) -> str:
    """Hash of a file, of all files of a model folder that are read, or of a model of the hub; "" if
    there is none. It is read once in a comparison, which begins with forget_hashes()."""
    place = Path(name)
    if name == "base" or name.startswith("hub:"):       # whatever file has this name
        return hash_of_model(name)
    if place.is_file():
        return hash_of_file(place)
    if place.is_dir():
        files = {x for pattern in OF_HUB for x in place.glob(pattern) if x.name not in OF_A_RUN}
        return short_hash([x.name, hash_of_file(x)] for x in sorted(files))
    return ""


def forget_hashes() -> None:
    for known in (hash_of_input, hash_of_package, installed_version):
        known.cache_clear()


# ---- code ----------------------------------------------------------------------------------------
def text_of_package() -> dict[str, str]:
    """{file: hash} of all by which a run trains and is scored, but for the methods."""
    here = Path(__file__).resolve().parent
    files = [x for x in PACKAGE.rglob("*.py") if x.parent not in (METHODS, here)]
    files += [METHODS / "__init__.py", *(here / f"{name}.py" for name in COMPARED_BY)]
    return {x.relative_to(PACKAGE).as_posix(): hash_of_file(x) for x in sorted(files)}


TEXT_WHEN_IMPORTED = text_of_package()


@cache
def hash_of_package() -> str:
    """"" if a file has changed since this process has imported nanouft: it runs the old text."""
    now = text_of_package()
    return short_hash(now.items()) if now == TEXT_WHEN_IMPORTED else ""


def remove_bytecode(file: Path) -> None:
    """Python takes what it has compiled for the file's text if only length and second are the
    same."""
    with suppress(OSError, NotImplementedError):
        Path(cache_from_source(str(file))).unlink(missing_ok=True)


def method_files(config: RunConfig) -> set[Path]:
    """The files of its method, and of the methods that train models for it."""
    objective = config.objective()
    first = objective.first_models
    others = [parse_run(shlex.split(flags)).objective() for flags in first.flags] if first else []
    names = [own_file(config.method) or inspect.getfile(type(objective))]
    return {Path(name) for name in names + [inspect.getfile(type(x)) for x in others]}


# ---- of a run ------------------------------------------------------------------------------------
def inputs_of(names: Iterable[str], config: RunConfig | None = None) -> Inputs:
    """names: files and folders that are read; of code also what it imports. config: of a training,
    whose method is code, too."""
    files, code = {*filter(None, names)}, method_files(config) if config else set()
    code |= {Path(name) for name in files if name.endswith(".py")}
    for file in (x for start in code for x in imported_files(start)):
        remove_bytecode(file)
        places = [x for x in (PACKAGE.parent, Path.cwd()) if file.is_relative_to(x)]
        files.add(str(file.relative_to(places[0]) if places else file))
    named = ["nanouft", *LIBRARIES, *sorted(files)]
    return tuple((name, found) for name in named if (found := current(name)))


def current(name: str) -> str:
    """Version of a library, hash of nanouft or of a file."""
    if name == "nanouft":
        return hash_of_package()
    if name in LIBRARIES:
        return installed_version(name)
    of_method = (PACKAGE.parent / name).is_file() and (PACKAGE.parent / name).parent == METHODS
    return hash_of_input(str(PACKAGE.parent / name) if of_method else name)


@cache
def installed_version(name: str) -> str:
    """"" if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def changed_input(inputs: Inputs) -> str:
    """The first whose content is not that any more, or not in this process; "" if there is none."""
    return next((name for name, was in inputs if current(name) != was), "")
