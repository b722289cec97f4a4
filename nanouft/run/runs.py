"""Run folders: what a run leaves after it.

out/<name>/   config.json, model.safetensors, tokenizer.json    a GPT-2 folder that transformers opens
              run.json        every value and where it came from; flags.toml: the flags, for --config
              metrics.jsonl   one object a step
              eval.json, samples.md, curves.png
              steps/<n>/      what --resume needs (checkpoints.py)
"""
import contextlib
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import torch

from nanouft.errors import UserError, flag, visible
from nanouft.loop import Device
from nanouft.run.command import Interrupted
from nanouft.run.config import as_toml, of_json
from nanouft.run.storage import LOCK, checksum, locked, read_json, write_json, write_text

CODE = re.compile(r"\.py(:|$)")         # a --reward that is a file of Python
BEFORE_ALL = {LOCK, "flags.toml", "flags.toml.partial", "run.json.partial", "harvest.json.partial"}     # what a run
#                                                                           that was killed in its first moment leaves


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


def unfinished(folder: str, command: str) -> dict:
    """run.json of a run of `command` that --resume can go on with."""
    saved = read_json(Path(folder) / "run.json")
    if saved.get("command") != command:
        raise UserError(f"--resume {folder}: was not made by nanouft.{command}; give the folder of such a run")
    if is_finished(Path(folder)):
        raise UserError(f"--resume {folder}: that run is finished; "
                        f"{'--reward' if command == 'reward' else '--init'} {folder} uses its model")
    return saved


def reopen(folder: str, command: str, cls: type, given: set[str]):
    """The settings of an unfinished run of `command`, for --resume: an instance of the dataclass `cls`."""
    if others := sorted(given - {"resume"}):
        raise UserError(f"--resume takes no other flag, but {flag(others[0])} was given: every setting comes from "
                        "run.json")
    config = unfinished(folder, command).get("config")
    return replace(of_json(cls, config, f"{folder}/run.json: config"), resume=folder)


def fingerprint(model: torch.nn.Module, encoded: list) -> str:
    """Hash of start weights and training rows (data.batches.Encoded): a run can only go on exactly where both are what
    they were."""
    parts: list[str | bytes] = []
    for p in model.parameters():
        parts.append(p.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    for e in encoded:
        parts.append(repr((e.row.score, e.row.label, e.row.p)))
        for role, t in e.seqs.items():
            parts += [role, t.ids.tobytes(), t.mask.tobytes()]
    return checksum(*parts)[:24]


@contextlib.contextmanager
def open_folder(cfg, about: dict, name: str, basis: str, device: Device, given: dict | None = None,
                file: str = "run.json") -> Iterator[Path]:
    """The folder of a run: a new one, out/<name> or --out, or that of --resume if what the run stands on (`basis`, in
    words; `key` in `about`) is what it was. Inside, no other process works there. Of several processes of one run the
    first makes and locks it. `given`: the flags that flags.toml repeats. `file` gets `about`."""
    resume = cfg.resume
    if resume:
        folder = Path(resume)
        for link in (f for inside in ("*", "steps/*", "steps/*/*") for f in folder.glob(inside) if f.is_symlink()):
            raise UserError(f"{link}: is a symbolic link, and a run writes into its own folder only; remove the link, "
                            "or copy there what it points to")
        compare(folder / file, about, basis)
    else:
        folder = device.broadcast(new_folder(cfg.out, name) if device.rank == 0 else None)
    with locked(folder / LOCK) if device.rank == 0 else contextlib.nullcontext():
        if not resume and device.rank == 0:
            check_out(cfg.out)                                  # another process may have been faster
            begin(folder, about, changed(cfg) if given is None else given, file)
        with kept_steps(folder, about):
            yield folder


@contextlib.contextmanager
def kept_steps(run: Path, about: dict) -> Iterator[None]:
    """If a signal ends what is inside, the last line says which step is saved and how to go on."""
    try:
        yield
    except Interrupted as e:
        steps = [int(f.name) for f in (run / "steps").glob("*") if f.name.isdigit()]
        held = f"step {max(steps)}" if steps else "no step yet"
        e.advice.append((run, f"{run} holds {held}; go on with: {resuming(run, about)}"))
        raise


def resuming(run: Path, about: dict) -> str:
    """The command that goes on with a run. Code that it runs is named again: a run folder may come from others."""
    reward = str(about["config"].get("reward", ""))
    code = ["--reward", reward] if CODE.search(reward) else []
    return shlex.join(["python", "-m", f"nanouft.{about['command']}", "--resume", str(run), *code])


@contextlib.contextmanager
def kept_lines(file: Path) -> Iterator[None]:
    """The same for a command that goes on by itself: what is finished stands in `file`."""
    try:
        yield
    except Interrupted as e:
        again = shlex.join(["python", *sys.orig_argv[1:]])
        e.advice.append((file.parent, f"what is finished is in {file}; go on with: {again}"))
        raise


def compare(file: Path, about: dict, basis: str) -> None:
    """UserError if the run that `file` describes stands on something else. Says if the machine is another."""
    was = read_json(file)
    if was.get("key") != about["key"]:
        raise UserError(f"{file}: {basis} has changed since that run began, so it cannot go on exactly; "
                        "start a new run, or choose another name with --out")
    then, here = (f"{x.get('device')}, {x.get('threads')} threads" for x in (was, about))
    if then != here:
        print(visible(f"began on {then}, goes on on {here}: the last digits of numbers may differ"))


def begin(folder: Path, about: dict, given: dict, file: str) -> None:
    """Write flags.toml, the settings that were `given` as a file for --config, and then `file`: with it the run
    exists."""
    flags = {key: value for key, value in given.items() if key not in ("out", "resume")}
    write_text(folder / "flags.toml", as_toml(about["command"], flags))
    write_json(folder / file, about)


def changed(record) -> dict:
    """The fields of a dataclass that differ from their defaults."""
    return {f.name: value for f in fields(record) if (value := getattr(record, f.name)) != f.default}


def finish(folder: Path, before: dict, after: dict, seconds: float) -> None:
    """Write eval.json, which tells that a run is finished."""
    write_json(folder / "eval.json",
               {"before": before, "after": after, "seconds": round(seconds, 1)})


def read_eval(folder: Path) -> dict:
    """eval.json as far as it got: {}, {"before"} or, in a finished run, {"before", "after"}."""
    try:
        return read_json(folder / "eval.json")
    except UserError:
        return {}


# ---- what a folder says of its run ----------------------------------------------------------------
def model_name(init: str) -> str:
    """Folder, objective and step, as its run.json tells."""
    if init == "base":
        return "base (shipped)"
    run = run_about(init)
    if run.get("command") == "train":
        return f"{init} ({run.get('objective')}, step {run.get('steps')})"
    return f"{init} ({'pretrained' if run else 'model folder'})"


def run_about(init: str) -> dict:
    """What run.json tells of a folder; {} where there is none."""
    file = Path(init) / "run.json"
    return read_json(file) if file.exists() else {}


def run_settings(init: str) -> dict:
    """The settings of the run in a folder; {} for any other folder."""
    values = run_about(init).get("config")
    return values if isinstance(values, dict) else {}
