"""Whether a run may go on: its folder is described, compared and opened.

    about = describe_run(plan, model, tok, device, argv)        # run.json
    check_resume(folder, about)                                 # UserError if it may not go on
    folder = open_folder(plan, about, at_end)                   # a new folder, or that of the run
    is_scored(folder)                                           # True: nothing is left to do
"""
import hashlib
import json
import shlex
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import torch

from nanouft.data.batches import Encoded
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.objectives.from_file import own_file
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json, remove, write_json
from nanouft.plumbing.printing import say
from nanouft.plumbing.tensors import holds_tensors
from nanouft.run.folder import hash_of, locked, new_folder, questions_of_run, read_lines
from nanouft.run.plan import Plan
from nanouft.run.settings import AS_WELL, named_objective, to_name


def describe_run(plan: Plan, model: GPT, tok: Tokenizer, device: Device, argv: list[str]) -> dict:
    """The contents of run.json, to compare a resumed run with. `model` is not trained yet."""
    cfg, objective = plan.cfg, plan.objective
    reward = cfg.reward.rpartition(":")[0] or cfg.reward        # FILE.py:FUNCTION, or a folder
    first = objective.first_models
    first_folders = getattr(objective, first.setting) if first else None
    files_it_reads = [reward, *(first_folders or ()), *(cfg.eval_data or ())]
    user_code = own_file(named_objective(argv))
    first_turns = {e.row.prompt[:1] for e in plan.train}
    system = [t.text for turns in first_turns for t in turns if t.role == "system"]
    return {"command": "train", "objective": objective.name, "steps": plan.steps,
            "passes": plan.epochs, "config": plan.settings(), "hp": asdict(objective), "argv": argv,
            "tokenizer": tok.name,
            "system": system[0] if len(first_turns) == len(system) == 1 else "",    # of all rows
            "key": fingerprint(model, plan.train, cfg.reward, *map(hash_of, files_it_reads)),
            "code": hash_of(user_code) if user_code else None,
            "files": [hash_of(file) for file in cfg.data or ()],
            "asked": " ".join(sorted(plan.asked | questions_of_run(cfg.init))),
            "torch": torch.__version__, "device": f"{device.name} {device.dtype}"}


def fingerprint(model: torch.nn.Module, encoded: list[Encoded], *more: str) -> str:
    """Hash of start weights and training rows."""
    digest = hashlib.sha256(repr(more).encode())
    for p in model.parameters():
        digest.update(p.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    for e in encoded:
        # extra: fields that a reward or an objective of one's own may read
        digest.update(repr((e.row.score, e.row.label, e.row.p, e.row.extra)).encode())
        for role, t in e.seqs.items():
            digest.update(role.encode() + t.ids.tobytes() + t.mask.tobytes())
    return digest.hexdigest()[:24]


def check_resume(folder: Path, about: dict) -> None:
    """UserError unless the run in `folder` has the same rows, start weights and settings. A setting
    that its command line does not name may have another default now."""
    saved, now = read_json(folder / "run.json", config=dict), json.loads(json.dumps(about))
    if saved.get("key") != about["key"]:
        raise UserError(f"{folder}: the data, the start model or the reward has changed since that "
                        "run began, so it cannot go on exactly; start a new run")
    now["config"]["resume"] = None                  # the old run did not have it
    now["config"] |= {name: saved.get("config", {}).get(name) for name in AS_WELL}
    if other := [name for name in ("hp", "config", "steps") if saved.get(name) != now[name]]:
        raise UserError(f"{folder}/run.json: other {other[0]} than this version of nanouft would "
                        "take, so the run cannot go on exactly; start a new run")
    for what in ("torch", "device"):
        if saved.get(what) != now[what]:
            say(f"{what} {now[what]} in place of {saved.get(what)}: the rest of the run may differ "
                "a little")
    read_lines(folder / "metrics.jsonl")            # a damaged log is found now, before any scoring


def open_folder(plan: Plan, about: dict, at_end: ExitStack) -> Path:
    """The folder of a resumed run, or a new one. It is locked."""
    if plan.cfg.resume:
        folder = Path(plan.cfg.resume)
        remove(folder / "eval.json")                # left by a run that was not complete
        return folder
    folder = new_folder(plan.cfg.out, plan.objective.name)
    write_json(folder / "run.json", about)
    at_end.enter_context(locked(folder))
    return folder


def command_to_resume(folder: Path, plan: Plan, argv: list[str]) -> str:
    """The command line that goes on with a run. It names code and hub: names again."""
    # a resumed run goes on with the same words
    words = argv if plan.cfg.resume else ["--resume", str(folder), *to_name(argv)]
    return f"python -m nanouft.train {shlex.join(words)}"


def is_scored(folder: Path) -> bool:
    """True if this run was trained to its end and scored, so nothing is left to train. eval.json
    alone is no proof: the weights and the log's last step must be there too, because the
    checkpoints of a complete run are deleted."""
    file = folder / "eval.json"
    if not file.exists() or "after" not in read_json(file, before=dict, after=dict):
        return False
    last = read_json(folder / "run.json").get("steps")
    logged = any(line["step"] == last for line in read_lines(folder / "metrics.jsonl"))
    return logged and holds_tensors(folder / "model.safetensors")
