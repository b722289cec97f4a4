"""draft"""
import contextlib, io, shlex, sys, time
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from nanouft import train, world
from nanouft.lab.gallery_faults import FAULTS
from nanouft.lab.snapshot import curve
from nanouft.look import scores
from nanouft.models.load import start_model
from nanouft.shell import devices
from nanouft.shell.files import Lines, checksum, made_once, scratch
from nanouft.world.tasks import I_DO_NOT_KNOW

@dataclass(frozen=True)
class Run:
    flags: str
    after: "Run | None" = None
    fault: str = ""
    asked: str = ""

def trained(run, keep):
    start = trained(run.after, keep) if run.after else "base"
    argv = [*shlex.split(run.flags), "--init", str(start), "--seed", "0", "--threads", "1", "--device", "cpu", "--plain", "--save-every", "0"]
    if "--eval-every" not in argv: argv += ["--eval-every", "12"]
    def make(place):
        with planted(run.fault):
            train.main([*argv, "--out", str(place)])
    return made_once(keep / checksum(run.flags, repr(run.after), run.fault)[:16], make)

def planted(f): return FAULTS[f]() if f else contextlib.nullcontext()

def told(run, keep, items=30):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        folder = trained(run, keep)
        model, tok = start_model(str(folder))
        with planted(run.asked):
            result, found = scores.families(model, tok, devices.pick("cpu","fp32",1), "val", items)
    log = Lines(folder/"metrics.jsonl").read()
    return log, result, found
