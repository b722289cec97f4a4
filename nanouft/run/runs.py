"""Run folders: what a run leaves after it.

out/<name>/   config.json, model.safetensors, tokenizer.json    a folder that transformers opens
              run.json        every value and where it came from
              flags.toml      the flags, for --config
              trained_on.json hashes of the questions it was trained on (provenance.py)
              metrics.jsonl   one object a step
              eval.json, samples.md, curves.png
              steps/<n>/      what --resume needs (checkpoints.py)
"""
import contextlib
import hashlib
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from nanouft.data.batches import Encoded
from nanouft.errors import UserError, flag, say
from nanouft.loop import Device
from nanouft.run.command import Interrupted
from nanouft.run.config import as_toml, of_json
from nanouft.run.schema import read
from nanouft.run.storage import LOCK, locked, write_json, write_text

T = TypeVar("T")
CODE = re.compile(r"\.py(:|$)")         # a --reward that is a file of Python
# What a run that was killed in its first moment leaves:
BEFORE_ALL = {LOCK, "flags.toml", "flags.toml.partial", "run.json.partial", "harvest.json.partial"}


# ---- a new folder --------------------------------------------------------------------------------
def new_folder(out: str | None, name: str) -> Path:
    """The folder of a new run: --out, or out/<name>."""
    check_out(out)
    folder = Path("out", name) if out is None else Path(out)
    try:
        if out is None:
            return unused_name(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder
    except OSError as e:
        raise UserError(f"{folder}: no folder can be made there ({e.strerror}); choose another "
                        "place with --out")


def unused_name(folder: Path) -> Path:
    """A new folder of this name; -2, -3 ... is added if it is taken."""
    for place in numbered(folder):
        try:
            place.mkdir(parents=True)
            return place
        except FileExistsError:
            if not folder.parent.is_dir():
                raise
    raise UserError(f"{folder}-2 ... are all taken; give --out")


def numbered(folder: Path) -> Iterator[Path]:
    """out/sft, out/sft-2, out/sft-3 ..."""
    yield folder
    for n in range(2, 10_000):
        yield folder.with_name(f"{folder.name}-{n}")


def check_out(out: str | None) -> None:
    """UserError if --out is taken. Call it before anything slow is done."""
    try:
        if out is not None and Path(out).exists():
            check_empty(Path(out))
    except OSError as e:
        raise UserError(f"--out {out}: cannot be looked into ({e.strerror}); choose another place")


def check_empty(folder: Path) -> None:
    """UserError if a file or a run is there."""
    if (folder / "run.json").exists():
        unless = "" if is_finished(folder) else f", or --resume {folder}"
        raise UserError(f"--out {folder}: holds another run; choose another name{unless}")
    if not folder.is_dir() or {f.name for f in folder.iterdir()} - BEFORE_ALL:
        raise UserError(f"--out {folder}: exists and is not an empty folder; choose another name")


def chained(folder: Path, name: str) -> list[str]:
    """Flags of a run that starts from the one in `folder`: --init, and an --out that tells so and
    is free. The plain name is kept for a run from the base."""
    places = numbered(folder.with_name(f"{folder.name}-{name}"))
    out = next(place for place in places if not place.exists())
    return ["--init", str(folder), "--out", str(out)]


# ---- to go on with a run -------------------------------------------------------------------------
def is_finished(folder: Path) -> bool:
    """train ends with eval.json, the other commands with the model."""
    if read(folder / "run.json").get("command") == "train":
        return "after" in read_eval(folder)
    return (folder / "model.safetensors").exists()


def unfinished(folder: str, command: str) -> dict[str, Any]:
    """run.json of a run of `command` that --resume can go on with."""
    saved = read(Path(folder) / "run.json")
    if saved.get("command") != command:
        raise UserError(f"--resume {folder}: was not made by nanouft.{command}; give the folder of "
                        "such a run")
    if is_finished(Path(folder)):
        use = "--reward" if command == "reward" else "--init"
        raise UserError(f"--resume {folder}: that run is finished; {use} {folder} uses its model")
    return saved


def reopen(folder: str, command: str, cls: type[T], given: set[str]) -> T:
    """The settings of an unfinished run of `command`, for --resume."""
    if others := sorted(given - {"resume"}):
        raise UserError(f"--resume takes no other flag, but {flag(others[0])} was given: every "
                        "setting comes from run.json")
    config = unfinished(folder, command).get("config")
    cfg: Any = of_json(cls, config, f"{folder}/run.json: config")
    return replace(cfg, resume=folder)


def resuming(run: Path, about: dict[str, Any]) -> str:
    """The command that goes on with a run. Code that it runs is named again: a run folder may come
    from others."""
    reward = str(about["config"].get("reward", ""))
    code = ["--reward", reward] if CODE.search(reward) else []
    command = ["python", "-m", f"nanouft.{about['command']}", "--resume", str(run), *code]
    return shlex.join(command)


def advice(run: Path, about: dict[str, Any]) -> str:
    """For a run that a signal ends: which step is saved, and how to go on."""
    steps = [int(f.name) for f in (run / "steps").glob("*") if f.name.isdigit()]
    held = f"step {max(steps)}" if steps else "no step yet"
    return f"{run} holds {held}; go on with: {resuming(run, about)}"


@contextlib.contextmanager
def kept_lines(file: Path) -> Iterator[None]:
    """Around a command that goes on by itself: if a signal ends it, the last line tells that what
    is finished is in `file`."""
    try:
        yield
    except Interrupted as e:
        again = shlex.join(["python", *sys.orig_argv[1:]])
        e.advice.append((file.parent, f"what is finished is in {file}; go on with: {again}"))
        raise


def reopened(folder: Path, file: str, about: dict[str, Any], basis: str) -> Path:
    """`folder`, if the run in it can go on exactly: `file` holds the same key as `about`. Without
    links: a run writes into its own folder only."""
    for link in (f for inside in ("*", "steps/*", "steps/*/*") for f in folder.glob(inside)):
        if link.is_symlink():
            raise UserError(f"{link}: is a symbolic link, and a run writes into its own folder "
                            "only; remove the link, or copy there what it points to")
    compare(folder / file, about, basis)
    return folder


def compare(file: Path, about: dict[str, Any], basis: str) -> None:
    """UserError if the run that `file` describes was made from other things. Prints a note if the
    machine is another."""
    was = read(file)
    if was.get("key") != about["key"]:
        raise UserError(f"{file}: {basis} has changed since that run began, so it cannot go on "
                        "exactly; start a new run, or choose another name with --out")
    then, here = (f"{x.get('device')}, {x.get('threads')} threads" for x in (was, about))
    if then != here:
        say(f"began on {then}, goes on on {here}: the last digits of numbers may differ")


# ---- around a run --------------------------------------------------------------------------------
@contextlib.contextmanager
def open_folder(cfg: Any, about: dict[str, Any], name: str, basis: str, device: Device,
                given: dict[str, Any] | None = None, file: str = "run.json") -> Iterator[Path]:
    """The folder of a run, in which no other process works: that of --resume if `key` in `about`
    is what it was (a hash of `basis`, in words), else a new one, with `about` as `file`. `given`:
    the flags for flags.toml [all that are not their default]. The first process does it for all."""
    chief = device.rank == 0
    if cfg.resume:
        folder = reopened(Path(cfg.resume), file, about, basis)
    else:
        folder = device.broadcast(new_folder(cfg.out, name) if chief else None)
    with locked(folder / LOCK) if chief else contextlib.nullcontext():
        if chief and not cfg.resume:
            begin(folder, about, changed(cfg) if given is None else given, file)
        try:
            yield folder
        except Interrupted as e:
            e.advice.append((folder, advice(folder, about)))
            raise


def begin(folder: Path, about: dict[str, Any], given: dict[str, Any], file: str) -> None:
    """Write flags.toml, for --config, and then `file`: with it the run exists."""
    flags = {key: value for key, value in given.items() if key not in ("out", "resume")}
    write_text(folder / "flags.toml", as_toml(about["command"], flags))
    write_json(folder / file, about)


def fingerprint(model: torch.nn.Module, encoded: list[Encoded]) -> str:
    """Hash of start weights and training rows: a run can only go on exactly if both are what they
    were."""
    found = hashlib.sha256()
    for p in model.parameters():
        found.update(p.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    for e in encoded:
        found.update(repr((e.row.score, e.row.label, e.row.p)).encode())
        for role, t in e.seqs.items():
            found.update(role.encode() + t.ids.tobytes() + t.mask.tobytes())
    return found.hexdigest()[:24]


def changed(record: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults."""
    return {f.name: value for f in fields(record)
            if (value := getattr(record, f.name)) != f.default}


def finish(folder: Path, before: dict, after: dict, seconds: float, kept: int = 0) -> None:
    """Write eval.json, which tells that a run is finished. `kept`: the step whose weights it keeps,
    where that may not be the last."""
    about = {"before": before, "after": after, "seconds": round(seconds, 1)}
    write_json(folder / "eval.json", about | ({"step": kept} if kept else {}))


# ---- what a folder tells of its run --------------------------------------------------------------
def read_eval(folder: Path) -> dict:
    """eval.json as far as it got: {}, {"before"} or, in a finished run, {"before", "after"}."""
    file = folder / "eval.json"
    with contextlib.suppress(UserError):            # what is damaged is measured again
        return read(file) if file.exists() else {}
    return {}


def model_name(init: str) -> str:
    """Folder, objective and step, as its run.json tells."""
    if init == "base":
        return "base (shipped)"
    run = run_about(init)
    if run.get("command") == "train":
        step = read_eval(Path(init)).get("step", run.get("steps"))
        return f"{init} ({run.get('objective')}, step {step})"
    return f"{init} ({'pretrained' if run else 'model folder'})"


def run_about(init: str) -> dict:
    """What run.json tells of a folder; {} where there is none."""
    file = Path(init) / "run.json"
    return read(file) if file.exists() else {}
