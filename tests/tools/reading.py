"""How much must one read to follow one training step? Counted from a run.

    python tests/tools/reading.py [sft ift dpo grpo ppo] [--files]     # half a minute

For each objective `python -m nanouft.train` takes six steps on the CPU, in a process of its own.
`one step` is what runs from the end of the first update to the end of the last: sampling, data,
forward, loss, backward, update, log. (Six steps, since a rollout may serve several of them.)
`command` is the whole run. Counted are files of nanouft whose functions run, the lines of these
functions with their docstrings, and how often the file changes in the order in which functions are
entered for the first time.
"""
import ast
import json
import os
import runpy
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUN = "--steps 6 --batch-size 8 --plain --save-every 0 --device cpu --threads 1".split()
Place = tuple[str, int]             # of a function: its file, from the project's root, and line


# ---- in the child: what runs? --------------------------------------------------------------------
class Watch:
    """The functions that are entered, in order: before the first update, between the updates, and
    after the last one."""

    def __init__(self):
        self.parts: list[dict[Place, None]] = [{}]

    def entered(self, frame: FrameType, event: str, argument: Any) -> None:
        """For sys.setprofile."""
        if event == "call" and (place := place_of(frame)):
            self.parts[-1].setdefault(place)

    def updated(self, *_: Any) -> None:
        """After an optimizer step. The function that called the optimizer goes on in the next."""
        self.parts.append({})
        frame: FrameType | None = sys._getframe()
        while frame and not place_of(frame):
            frame = frame.f_back
        if frame:
            self.entered(frame, "call", None)


def place_of(frame: FrameType) -> Place | None:
    """Where this function of nanouft stands; None for others and for the body of a file."""
    code, package = frame.f_code, f"{ROOT / 'nanouft'}{os.sep}"
    if not code.co_filename.startswith(package) or code.co_name == "<module>":
        return None
    return Path(code.co_filename).relative_to(ROOT).as_posix(), code.co_firstlineno


def watch(out: str, *argv: str) -> None:
    """Train with these flags and write what was entered to the file `out`."""
    from torch.optim.optimizer import register_optimizer_step_post_hook
    watched = Watch()
    register_optimizer_step_post_hook(watched.updated)
    sys.argv = ["train", *argv]
    sys.setprofile(watched.entered)
    try:
        runpy.run_module("nanouft.train", run_name="__main__", alter_sys=True)
    finally:
        sys.setprofile(None)
        Path(out).write_text(json.dumps([list(part) for part in watched.parts]))


# ---- how much is it? -----------------------------------------------------------------------------
@dataclass
class Reading:
    """The functions at these places, in the order in which they are entered."""
    places: list[Place]
    lines_of: dict[str, int] = field(init=False)        # of each file with functions among them

    def __post_init__(self):
        starts: dict[str, set[int]] = {}
        for file, line in self.places:
            starts.setdefault(file, set()).add(line)
        lines = {file: function_lines(file, where) for file, where in starts.items()}
        self.lines_of = {file: n for file, n in lines.items() if n}

    @property
    def files(self) -> int:
        return len(self.lines_of)

    @property
    def lines(self) -> int:
        return sum(self.lines_of.values())

    @property
    def changes(self) -> int:
        """How often the file changes."""
        files = [file for file, _ in self.places]
        return 1 + sum(one != other for one, other in zip(files, files[1:]))


def function_lines(file: str, starts: set[int]) -> int:
    """Lines of the functions that begin at these lines, decorators included; each line once."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if not starts.isdisjoint(range(first, node.lineno + 1)):
                lines |= set(range(first, (node.end_lineno or first) + 1))
    return len(lines)


def readings(name: str) -> tuple[Reading, Reading]:
    """(one step, the whole command) of this objective. CalledProcessError if the run fails."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "places.json")
        argv = ["--objective", name, *RUN, "--out", str(Path(folder, "run"))]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
        subprocess.run([sys.executable, __file__, "--watch", str(out), *argv], cwd=folder,
                       check=True, capture_output=True, text=True, env=environment)
        parts = json.loads(out.read_text())
    return joined(parts[1:6]), joined(parts)


def joined(parts: list[list]) -> Reading:
    places = [tuple(place) for part in parts for place in part]
    return Reading(list(dict.fromkeys(places)))


def main(argv: list[str]) -> None:
    if argv[:1] == ["--watch"]:
        return watch(*argv[1:])
    if {"-h", "--help"} & set(argv):
        return print(__doc__)
    names = [x for x in argv if x != "--files"] or ["sft", "ift", "dpo", "grpo", "ppo"]
    for name in names:
        step, command = readings(name)
        print(f"{name:<6} one step: {step.files:>3} files {step.lines:>6,} lines "
              f"{step.changes:>4} changes of file   "
              f"command: {command.files:>3} files {command.lines:>6,} lines", flush=True)
        if "--files" in argv:
            for file, n in sorted(step.lines_of.items(), key=lambda item: -item[1]):
                print(f"        {n:>4} {file}")


if __name__ == "__main__":
    main(sys.argv[1:])
