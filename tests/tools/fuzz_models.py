"""A start model in which one thing was tampered with. What then trains must give the untouched
result, bit for bit, or one clear line.

What nothing can tell is not tried: another number where every number is allowed and no checksum
stands beside it, such as a weight.
"""
import contextlib
import copy
import io
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from fuzz import Case
from running import PAIRS, be_brief, lines, tiny_folder
from safetensors.numpy import load_file, save_file

from nanouft import train
from nanouft.run import config

MISSING = object()
JUNK = [None, "x", "", -1, 3.5, 1e308, float("nan"), 10**40, True, [], {}, [[]] * 3, MISSING,
        "deep"]
FLAGS = ["--objective", "dpo", "--steps", "6", "--batch-size", "4", "--save-every", "2",
         "--eval-every", "3", "--threads", "1", "--items", "0", "--device", "cpu", "--init",
         "start", "--data", "pairs.jsonl", "--out", "run"]
RESULT = ("model.safetensors", "metrics.jsonl")
Change = tuple[str, Callable[[Path], object]]                   # (what is tampered, how)


# ---- ways to tamper ------------------------------------------------------------------------------
def spots(value, path: tuple = ()) -> Iterator[tuple]:
    """Where a JSON value has fields, as paths; of a list the first."""
    for key in value if isinstance(value, dict) else range(
            min(1, len(value))) if isinstance(value, list) else ():
        yield (*path, key)
        yield from spots(value[key], (*path, key))


def put(value, path: tuple, junk):
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    if junk is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = junk
    return value


def of_json(file: str, whole: Path) -> Iterator[Change]:
    """Every field of a JSON file with every kind of junk."""
    value = json.loads((whole / file).read_text())
    for path in spots(value):
        for junk in JUNK:
            changed = json.dumps(put(value, path, junk)).replace('"deep"', "[" * 9000 + "]" * 9000)
            name = "missing" if junk is MISSING else repr(junk)
            yield f"{file} {'.'.join(map(str, path))} = {name}", partial(
                write, file, changed.encode())


def write(file: str, content: bytes, folder: Path) -> None:
    (folder / file).write_bytes(content)


def of_bytes(file: str, whole: Path) -> Iterator[Change]:
    """Any file: cut, empty, gone, another's content, something else under its name."""
    data = (whole / file).read_bytes()
    for name, content in (("half", data[:len(data) // 2]), ("empty", b""),
                          ("last byte gone", data[:-1]), ("zeros", bytes(len(data))),
                          ("doubled", data * 2), ("not UTF-8", b"\xff\xfe" + data),
                          ("escape", b'{"\x1b[31m": "\x9b2J"}'), ("a number", b"7"),
                          ("a list", b"[]"), ("null", b"null"), ("only braces", b"{" * 100_000),
                          ("double keys", b'{"step": 2, "step": 4}')):
        yield f"{file} {name}", partial(write, file, content)

    def instead(make: Callable[[Path], object], folder: Path) -> None:
        (folder / file).unlink()
        make(folder / file)
    for name, make in (("gone", lambda f: None), ("a pipe", os.mkfifo), ("a folder", Path.mkdir),
                       ("a link to itself", lambda f: f.symlink_to(f.name)),
                       ("a link to /dev/zero", lambda f: f.symlink_to("/dev/zero")),
                       ("a link to nothing", lambda f: f.symlink_to("nothing"))):
        yield f"{file} {name}", partial(instead, make)


def tensors(file: str, name: str, how: str, folder: Path) -> None:
    """One tensor changed."""
    found = load_file(folder / file)
    x = found.pop(name)
    if how == "renamed":
        found[name + "_"] = x
    elif how == "abc":
        found["abc"] = x
    elif how != "gone":
        found[name] = np.ascontiguousarray({"one row": lambda: x[:1] if x.ndim else x[None],
                                            "longer": lambda: np.repeat(np.atleast_1d(x), 2, 0),
                                            "flat": lambda: x.reshape(-1)[:-1],
                                            "whole numbers": lambda: np.zeros(x.shape, np.int64),
                                            "nan": lambda: np.full_like(x, np.nan),
                                            "empty": lambda: np.zeros((0,), x.dtype)}[how]())
    save_file(found, folder / file)


def of_tensors(file: str, whole: Path) -> Iterator[Change]:
    names = sorted(load_file(whole / file))
    for name in dict.fromkeys((names[0], names[len(names) // 2], names[-1])):
        for how in ("renamed", "abc", "gone", "one row", "longer", "flat", "whole numbers", "nan",
                    "empty"):
            yield f"{file} {name} {how}", partial(tensors, file, name, how)


def foreign() -> Iterator[Change]:
    """Something that nobody put there."""
    for name in ("²", "07", "abc", "-1", "partial-9", "9" * 30, "99"):
        yield f"{name} a new folder", lambda folder, name=name: (folder / name).mkdir()
        yield f"{name} a new file", partial(write, name, b"new")


# ---- what is done with it ------------------------------------------------------------------------
def quietly(place: Path, main: Callable, argv: list[str]) -> None:
    """A command that must go well, in the folder `place`."""
    here, out = os.getcwd(), io.StringIO()
    os.chdir(place)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = config.run(main, argv)
    finally:
        os.chdir(here)
    assert code == 0, out.getvalue()


def outcome(run: Path) -> list:
    """Weights, log and figures of a run."""
    figures = json.loads((run / "eval.json").read_text())
    return [*((run / file).read_bytes() for file in RESULT), figures.get("before"),
            figures["after"]]


def cases(n: int | None, rng: random.Random, place: Path) -> Iterator[Case]:
    be_brief()
    lines(place / "pairs.jsonl", PAIRS)
    start = tiny_folder(place / "start")
    quietly(place, train.main, FLAGS)
    untouched = outcome(place / "run")
    found: list[Change] = []
    for file in sorted(f.name for f in start.iterdir()):
        if file.endswith(".json") and file != "tokenizer.json":
            found += of_json(file, start)
        found += of_bytes(file, start)
    found += [*of_tensors("model.safetensors", start), *foreign()]

    def prepare(change: Callable[[Path], object], folder: Path) -> None:
        os.symlink(place / "pairs.jsonl", folder / "pairs.jsonl")
        change(shutil.copytree(start, folder / "start"))

    def differs(folder: Path, said: str) -> str:
        return "" if outcome(folder / "run") == untouched else f"another result\n{said}"
    for name, change in found if n is None or n >= len(found) else rng.sample(found, n):
        yield Case(f"train {name}", lambda: config.run(train.main, FLAGS), partial(prepare, change),
                   differs)
