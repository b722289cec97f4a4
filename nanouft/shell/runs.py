"""Run folders: what a run leaves after it.

out/<name>/   config.json, model.safetensors, tokenizer.json    a GPT-2 folder that transformers opens
              run.json        every value and where it came from; flags.toml: the flags, for --config
              metrics.jsonl   one object a step
              eval.json, samples.md, curves.png
              steps/<n>/      what --resume needs (checkpoints.py)
"""
import contextlib
import json
from dataclasses import fields, replace
from pathlib import Path

from nanouft.shell import settings, signals
from nanouft.shell.config import of_json
from nanouft.shell.errors import UserError, flag
from nanouft.shell.files import LOCK, checksum, locked, read_json, write_json, write_text

BEFORE_ALL = {LOCK, "flags.toml", "flags.toml.partial", "run.json.partial"}     # what a run that was killed in its
#                                                                                   first moment leaves


def alone(folder: Path, rank: int = 0):
    """Context: no other process works in this run folder. Of the processes of one run the first holds the lock."""
    return contextlib.nullcontext() if rank else locked(folder / LOCK)


def hold(folder: Path) -> None:
    """The same until the command ends."""
    signals.to_the_end.enter_context(alone(folder))


def new_folder(out: str | None, name: str) -> Path:
    """The folder of a new run. A taken default name gets -2, -3 ...; an explicit --out that is taken is an error."""
    check_out(out)
    try:
        if out is not None:
            folder = Path(out)
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        for n in range(1, 10_000):
            folder = Path("out") / (name if n == 1 else f"{name}-{n}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                if not Path("out").is_dir():
                    raise
    except OSError as e:
        raise UserError(f"{folder}: no folder can be made there ({e.strerror}); choose another place with --out")
    raise UserError(f"out/{name}-2 ... are all taken; give --out")


def check_out(out: str | None) -> None:
    """UserError if --out is taken: said before anything slow is done."""
    if out is None:
        return
    folder = Path(out)
    try:
        if (folder / "run.json").exists():
            advice = "choose another name" + ("" if is_finished(folder) else f", or --resume {out}")
            raise UserError(f"--out {out}: holds another run; {advice}")
        if folder.exists() and (not folder.is_dir() or {f.name for f in folder.iterdir()} - BEFORE_ALL):
            raise UserError(f"--out {out}: exists and is not an empty folder; choose another name")
    except OSError as e:
        raise UserError(f"--out {out}: cannot be looked into ({e.strerror}); choose another place")


def chained(folder: Path, name: str) -> list[str]:
    """Flags of a run that starts from the one in `folder`: --init, and an --out of its own that says so and is free.
    The plain name stays for a run from the base."""
    for n in range(1, 10_000):
        out = folder.with_name(f"{folder.name}-{name}" + (f"-{n}" if n > 1 else ""))
        if not out.exists():
            break
    return ["--init", str(folder), "--out", str(out)]


def is_finished(folder: Path) -> bool:
    """train ends with eval.json, the other commands with the model."""
    if read_json(folder / "run.json").get("command") == "train":
        return "after" in read_eval(folder)
    return (folder / "model.safetensors").exists()


def reopen(folder: str, command: str, cls: type, given: set[str]):
    """The settings of an unfinished run of `command`, for --resume: an instance of the dataclass `cls`."""
    if others := sorted(given - {"resume"}):
        raise UserError(f"--resume takes no other flag, but {flag(others[0])} was given: every setting comes from "
                        "run.json")
    saved = read_json(Path(folder) / "run.json")
    if saved.get("command") != command:
        raise UserError(f"--resume {folder}: was not made by nanouft.{command}; give the folder of such a run")
    if is_finished(Path(folder)):
        raise UserError(f"--resume {folder}: that run is finished")
    cfg = of_json(cls, saved.get("config"), f"{folder}/run.json: config")
    try:
        check_seal(saved)
    except UserError as e:
        raise UserError(f"{folder}/run.json: edited ({e}); start a new run")
    return replace(cfg, resume=folder)


def begin(folder: Path, about: dict, given: dict) -> None:
    """Write flags.toml, the settings that were `given` as a file for --config, and run.json, sealed. run.json comes
    last: with it the run exists."""
    flags = {key: value for key, value in given.items() if key not in ("out", "resume")}
    write_text(folder / "flags.toml", settings.toml(about["command"], flags))
    write_json(folder / "run.json", seal(about))


def open_folder(cfg, about: dict, name: str, basis: str) -> Path:
    """A new folder out/<name> with run.json, or that of --resume if what the run stands on (`basis`, in words; `key`
    in `about`) is what it was. This process works in it alone, to its end."""
    if cfg.resume:
        folder = Path(cfg.resume)
        if read_json(folder / "run.json").get("key") != about["key"]:
            raise UserError(f"--resume {folder}: {basis} have changed since; start a new run")
        hold(folder)
    else:
        folder = new_folder(cfg.out, name)
        hold(folder)
        check_out(cfg.out)                                      # another process may have been faster
        begin(folder, about, changed(cfg))
    signals.begun(folder, f"nanouft.{about['command']}")
    return folder


def changed(record) -> dict:
    """The fields of a dataclass that differ from their defaults."""
    return {f.name: value for f in fields(record) if (value := getattr(record, f.name)) != f.default}


def seal(about: dict) -> dict:
    """run.json with a checksum of its settings. An edited one is no longer the run that began."""
    return {**about, "settings": _settings(about)}


def check_seal(saved: dict) -> None:
    """UserError if the settings of run.json are others than when the run began. Old runs have no checksum."""
    if "settings" in saved and saved["settings"] != _settings(saved):
        raise UserError("its settings are not those with which the run began")


def _settings(about: dict) -> str:
    return sum_of({key: about.get(key) for key in ("command", "objective", "steps", "config", "hp", "from")})


def sum_of(value) -> str:
    """Checksum of a JSON value, the same before it is written and after it is read."""
    return checksum(json.dumps(value, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace"))[:24]


def read_eval(folder: Path) -> dict:
    """eval.json as far as it got: {}, {"before"} or, in a finished run, {"before", "after"}."""
    try:
        return read_json(folder / "eval.json")
    except UserError:
        return {}
