"""Run folders and start models in which one thing was tampered with. What then trains must give the untouched result,
bit for bit, or one clear line.

What nothing can tell is not tried: another number where every number is allowed and no checksum stands beside it, such
as a weight of a start model or a loss in a log. An edited setting in run.json is a setting: it must only be refused or
train.
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

from nanouft import evaluate, sample, train
from nanouft.shell import config
from nanouft.shell.files import checksum

MISSING = object()
JUNK = [None, "x", "", -1, 3.5, 1e308, float("nan"), 10**40, True, [], {}, [[]] * 3, MISSING, "deep"]
FLAGS = ["--objective", "dpo", "--steps", "6", "--batch-size", "4", "--save-every", "2", "--eval-every", "3",
         "--threads", "1", "--items", "0", "--device", "cpu"]
Change = tuple[str, Callable[[Path], None]]                     # (what is tampered, how)


# ---- ways to tamper --------------------------------------------------------------------------------------------------
def spots(value, path: tuple = ()) -> Iterator[tuple]:
    """Where a JSON value has fields, as paths; of a list the first."""
    for key in value if isinstance(value, dict) else range(min(1, len(value))) if isinstance(value, list) else ():
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
    """Every field of a JSON file, or of the third line of a file of lines, with every kind of junk."""
    text = (whole / file).read_text()
    several = file.endswith(".jsonl")
    value = json.loads(text.splitlines()[2] if several else text)
    for path in spots(value):
        for junk in JUNK:
            changed = json.dumps(put(value, path, junk)).replace('"deep"', "[" * 9000 + "]" * 9000)
            if several:
                rows = text.splitlines(keepends=True)
                changed = "".join([*rows[:2], changed + "\n", *rows[3:]])
            name = "missing" if junk is MISSING else repr(junk)
            yield f"{file} {'.'.join(map(str, path))} = {name}", partial(write, file, changed)


def write(file: str, content: str | bytes, folder: Path) -> None:
    (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def of_bytes(file: str, whole: Path, rng: random.Random, flips: int) -> Iterator[Change]:
    """Any file: cut, empty, gone, another's content, something else under its name; `flips` single bits."""
    data = (whole / file).read_bytes()
    for name, content in (("half", data[:len(data) // 2]), ("empty", b""), ("last byte gone", data[:-1]),
                          ("zeros", bytes(len(data))), ("doubled", data * 2), ("not UTF-8", b"\xff\xfe" + data),
                          ("escape", b'{"\x1b[31m": "\x9b2J"}'), ("a number", b"7"), ("a list", b"[]"),
                          ("null", b"null"),
                          ("only braces", b"{" * 100_000), ("double keys", b'{"step": 2, "step": 4}')):
        yield f"{file} {name}", partial(write, file, content)

    def instead(make: Callable[[Path], object], folder: Path) -> None:
        (folder / file).unlink()
        make(folder / file)
    for name, make in (("gone", lambda f: None), ("a pipe", os.mkfifo), ("a folder", Path.mkdir),
                       ("a link to itself", lambda f: f.symlink_to(f.name)),
                       ("a link to /dev/zero", lambda f: f.symlink_to("/dev/zero")),
                       ("a link to nothing", lambda f: f.symlink_to("nothing"))):
        yield f"{file} {name}", partial(instead, make)
    for _ in range(flips):
        at, bit = rng.randrange(len(data)), rng.randrange(8)
        changed = bytearray(data)
        changed[at] ^= 1 << bit
        yield f"{file} bit {bit} of byte {at}", partial(write, file, bytes(changed))


def tensors(file: str, name: str, how: str, folder: Path) -> None:
    """One tensor changed; the checksum beside it, where there is one, is made to agree."""
    found = load_file(folder / file)
    x = found.pop(name)
    if how == "renamed":
        found[name + "_"] = x
    elif how == "abc":
        found["abc"] = x
    elif how != "gone":
        found[name] = np.ascontiguousarray(
            {"one row": lambda: x[:1] if x.ndim else x[None], "longer": lambda: np.repeat(np.atleast_1d(x), 2, 0),
             "flat": lambda: x.reshape(-1)[:-1], "whole numbers": lambda: np.zeros(x.shape, np.int64),
             "fp64": lambda: x.astype(np.float64), "nan": lambda: np.full_like(x, np.nan),
             "empty": lambda: np.zeros((0,), x.dtype)}[how]())
    save_file(found, folder / file)
    step = folder / Path(file).parent / "step.json"
    if step.exists():
        about = json.loads(step.read_text())
        about["sha256"][Path(file).name] = checksum(folder / file)
        step.write_text(json.dumps(about))


def of_tensors(file: str, whole: Path, fine: tuple[str, ...] = ()) -> Iterator[Change]:
    names = sorted(load_file(whole / file))
    for name in dict.fromkeys((names[0], names[len(names) // 2], names[-1])):
        for how in ("renamed", "abc", "gone", "one row", "longer", "flat", "whole numbers", "fp64", "nan", "empty"):
            if how not in fine:
                yield f"{file} {name} {how}", partial(tensors, file, name, how)


def foreign(folder: str) -> Iterator[Change]:
    """Something that nobody put there."""
    for name in ("²", "07", "abc", "-1", "partial-9", "9" * 30, "99"):
        yield f"{folder}/{name} a new folder", lambda place, name=name: (place / folder / name).mkdir()
        yield f"{folder}/{name} a new file", lambda place, name=name: write(f"{folder}/{name}", "new", place)


# ---- what is done with it --------------------------------------------------------------------------------------------
def quietly(place: Path, main: Callable, argv: list[str]) -> str:
    """A command that must go well, in the folder `place`; what it prints."""
    here, out = os.getcwd(), io.StringIO()
    os.chdir(place)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = config.run(main, argv)
    finally:
        os.chdir(here)
    assert code == 0, out.getvalue()
    return out.getvalue()


def made(place: Path) -> None:
    """start/: a model; whole/: a finished run; half/: the same run, killed after step 4."""
    be_brief()
    lines(place / "pairs.jsonl", PAIRS)
    tiny_folder(place / "start")
    quietly(place, train.main, [*FLAGS, "--init", "start", "--data", "pairs.jsonl", "--out", "whole"])
    shutil.copytree(place / "whole", place / "half")
    for file in (place / "half").iterdir():
        if file.name not in ("run.json", "eval.json", "metrics.jsonl", "steps"):
            file.unlink()
    before = json.loads((place / "half" / "eval.json").read_text())["before"]
    (place / "half" / "eval.json").write_text(json.dumps({"before": before}))


def prepare(place: Path, source: str, change: Callable[[Path], None], folder: Path) -> None:
    for name in ("start", "pairs.jsonl"):
        if name != source:
            os.symlink(place / name, folder / name)
    shutil.copytree(place / source, folder / source)
    change(folder / source)


def trained(result: str, place: Path, spared: str, folder: Path, said: str) -> str:
    """How weights, log and last figures differ from the untouched run. A log with an edited figure is spared, and so
    is one of which the run said something."""
    for file in ("model.safetensors", "metrics.jsonl"):
        if file == spared or f"{file}: " in said:
            continue
        if (folder / result / file).read_bytes() != (place / "whole" / file).read_bytes():
            return f"{file} differs\n{said}"
    ours, theirs = (json.loads((f / "eval.json").read_text())["after"] for f in (folder / result, place / "whole"))
    return "" if ours == theirs else f"eval.json differs\n{said}"


def told(wanted: str, folder: Path, said: str) -> str:
    return "" if wanted in said else f"another answer\n{said}"


def drawn(found: list[Change], n: int | None, rng: random.Random) -> list[Change]:
    return found if n is None or n >= len(found) else rng.sample(found, n)


def runs(n: int | None, rng: random.Random, place: Path) -> Iterator[Case]:
    made(place)
    half = place / "half"
    found: list[Change] = []
    for file in ("run.json", "steps/4/step.json", "metrics.jsonl"):
        found += of_json(file, half)
    for file in ("run.json", "eval.json", "metrics.jsonl", "steps/4/step.json", "steps/4/model.safetensors",
                 "steps/4/optimizer.safetensors"):
        found += of_bytes(file, half, rng, 20 if "steps/4" in file else 0)
    found += of_tensors("steps/4/model.safetensors", half)
    found += [*foreign("steps"), *foreign(".")]
    finished = [*of_json("run.json", place / "whole"), *of_json("eval.json", place / "whole")]
    for file in ("run.json", "eval.json", "config.json", "model.safetensors", "tokenizer.json"):
        finished += of_bytes(file, place / "whole", rng, 0)
    finished = rng.sample(finished, len(finished) // 4)
    share = None if n is None else max(1, n // 5)
    for name, change in drawn(found, None if n is None else n - share, rng):
        spared = "metrics.jsonl" if name.startswith("metrics.jsonl ") and " = " in name else ""
        differs = partial(trained, "half", place, spared)
        if name.startswith(("run.json config", "run.json hp")):
            differs = partial(told, "")
        yield Case(f"resume {name}", lambda: config.run(train.main, ["--resume", "half"]),
                   partial(prepare, place, "half", change), differs)
    shown = ["whole", "--prompt", "Say pig twice.", "--max-new", "4", "--threads", "1"]
    wanted = quietly(place, sample.main, shown).strip().splitlines()[-1].split(")", 1)[1].strip()       # the answer
    for name, change in drawn(finished, share, rng):
        yield Case(f"sample {name}", lambda: config.run(sample.main, shown), partial(prepare, place, "whole", change),
                   partial(told, wanted))
        if rng.random() < 0.2:
            yield Case(f"evaluate {name}", lambda: config.run(evaluate.main, ["--init", "whole", "--items", "1",
                                                                              "--threads", "1"]),
                       partial(prepare, place, "whole", change))


def models(n: int | None, rng: random.Random, place: Path) -> Iterator[Case]:
    made(place)
    start, found = place / "start", []
    files = sorted(f.name for f in start.iterdir())
    for file in files:
        if file.endswith(".json") and file != "tokenizer.json":
            found += of_json(file, start)
        found += of_bytes(file, start, rng, 0)
    found += of_tensors("model.safetensors", start, fine=("fp64",))
    found += foreign(".")
    argv = [*FLAGS, "--init", "start", "--data", "pairs.jsonl", "--out", "result"]
    for name, change in drawn(found, n, rng):
        yield Case(f"train {name}", lambda: config.run(train.main, argv), partial(prepare, place, "start", change),
                   partial(trained, "result", place, ""))
