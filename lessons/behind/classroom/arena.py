"""A loss of your own gets a verdict: `nanouft.compare` for a class.

    python -m lessons arena                                     # the tasks
    python -m lessons arena my_loss.py --task stop --guess +3   # you expect to lead SFT by 3 points
    python -m lessons arena FOLDER --task stop --test-seed 71       # a line each: out/arena.csv

my_loss.py holds one subclass of Objective that writes `loss`, and settings if it likes
(docs/python.md shows one). It learns from the same rows, in as many steps and with as many learning
rates searched as the methods that it is compared with.

Your file runs in a container where there is one. Only the weights that it trained are used, and
this program scores them. Two entries with the same score, lead and interval are probably one loss
under two names. docs/teaching.md says what a cheat can still do.
"""
import ast
import csv
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from lessons.behind.tasks.child import PYTHON, container, environment, no_container
from lessons.behind.tasks.submission import warn_without_container
from nanouft.compare import __main__ as compare
from nanouft.compare import report
from nanouft.compare.arms import Arm
from nanouft.compare.plan import parse_command, plan
from nanouft.compare.verdicts import verdicts
from nanouft.compare.workers import lock_comparisons
from nanouft.gpt import BASE
from nanouft.models.folders import read_gpt, save_model
from nanouft.models.tokenizer import nano
from nanouft.objective import Objective
from nanouft.objectives import NAMES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json, read_text, remove
from nanouft.plumbing.printing import say
from nanouft.run.config import RunConfig
from nanouft.run.flags import as_flags, parse

CSV = Path("out/arena.csv")             # a line for each entry and task
COLUMNS = "entry task score lead half verdict rate guess".split()
FACTS = {"lr", "reference"}             # which an entry may set; others would change its rows
WAITING = 300                           # seconds of one training


class Task(NamedTuple):
    about: str
    flags: str                          # of nanouft.compare, for everybody
    beside: tuple[str, ...]             # the first is the one to beat; an entry tries its rates


TASKS = {
    "stop": Task("24 steps at a low learning rate: say what was asked, and stop",
                 "--skills rules,list,sum,sort,reverse --rows 384 --steps 24 --batch-size 8 "
                 "--tries 1", ("sft --reduction sequence --lr 2e-5", "ift --lr 2e-5")),
    "wrong": Task("40 % of the demonstrations are wrong, and nobody says which",
                  "--skills list,sum,sort,reverse --rows 256 --noise 0.4 --steps 96 --batch-size 8",
                  ("sft --reduction sequence --lr 9e-5", "ift --lr 9e-5", "poft --lr 9e-5")),
}


def check_entry(file: Path) -> None:
    """UserError unless the file has one class that writes its `loss` and changes nothing else. It
    is read, not run."""
    if file.stem in NAMES:
        raise UserError(f"{file}: {file.stem} is a method of nanouft; give the file another name")
    try:
        tree = ast.parse(read_text(file))
    except (SyntaxError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({e})") from None
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [
            x.name for x in node.names] if isinstance(node, ast.Import) else []
        for beside in {file.parent / f"{name.partition('.')[0]}.py" for name in names}:
            if beside.is_file():
                raise UserError(f"{file}, line {node.lineno}: imports {beside.name}; an entry is "
                                "one file")
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(classes) != 1:
        raise UserError(f"{file}: has {len(classes)} classes; an entry is one")
    for node in classes[0].body:
        name = getattr(node, "name", "")
        if isinstance(node, ast.Assign):
            name = getattr(node.targets[0], "id", "?")
        if name and name != "loss" and name not in FACTS and name[0] != "_":
            raise UserError(f"{file}, line {node.lineno}: {name} may not be changed here; an entry "
                            "writes loss, its settings, and helpers whose names begin with _")


def train_in_container(config: RunConfig) -> None:
    """Train in a process of its own. Of what it leaves only the weights are taken, into a folder
    that this program writes; what it prints is never believed."""
    out = Path(str(config.out))
    room = (out / "room").resolve()
    room.mkdir()
    entry = Path(config.method).resolve()
    config = config.with_flags(method=str(entry), out=str(room / "run"))
    jail, ended = container(entry.parent, [], writable=room), "it exited"
    with (room / "said.txt").open("wb") as said:
        try:
            subprocess.run([*jail, PYTHON, "-m", "nanouft.train", *config.argv()], cwd=room,
                           stdout=said, stderr=said, timeout=WAITING, env=os.environ | {
                               "PYTHONPATH": environment()["PYTHONPATH"]})
        except subprocess.TimeoutExpired:
            ended = f"it timed out after {WAITING} seconds"
    if not (room / "run" / "model.safetensors").is_file():
        text = (room / "said.txt").read_text(encoding="utf-8", errors="replace").strip()
        raise UserError(f"{entry.name}: {ended} and saved no weights; its last line: "
                        f"{(text.splitlines() or ['(nothing printed)'])[-1][:300]}")
    save_model(out, read_gpt(room / "run", read_json(BASE / "config.json")), nano())
    remove(room)


def evaluate_entry(entry: str, file: Path, task: Task, seed: int | None,
                   workers: list[str]) -> dict:
    """Train and judge an entry beside the others, and print it. Returns its line of csv. Looks are
    counted at the questions that everybody knows, not at secret ones."""
    check_entry(file)
    words = parse_command([*task.beside, *task.flags.split(), "--items", "240", "--test-seed",
                           str(900 if seed is None else seed), "--out", "out/arena", *workers])
    with lock_comparisons(words.root):
        c = plan(words)
        stage, first = (str(file),), c.arms[0].stages[0]
        c.focus_arm = Arm((stage,), entry.replace("/", "."))
        c.arms.append(c.focus_arm)
        c.folder = c.root / c.focus_arm.name
        c.stage_plans[stage] = c.stage_plans[first]
        c.configs[stage] = replace(c.configs[first], method=str(file), settings=(),
                                   cls=Objective)       # its own is executed in the container alone
        c.programs[stage] = "lessons.behind.classroom.arena:train_in_container"
        compare.train_all(c)
        results, questions = verdicts(c)
        report.write_report(c, results, questions, is_counted=seed is None)
    mean, half = questions[0].interval()
    return {"entry": entry, "score": round(100 * results[-1].mean, 1),
            "lead": round(100 * mean, 1), "half": round(100 * half, 1),
            "verdict": questions[0].verdict, "rate": f"{c.lr(c.focus_arm):.2g}"}


def write_csv(lines: list[dict]) -> None:
    """Add the lines to arena.csv; one of the same entry and task takes the place of the old one."""
    kept: list[dict] = []
    if CSV.exists():
        with CSV.open(newline="", encoding="utf-8") as file:
            kept = [*csv.DictReader(file)]
    by_entry = {(x["entry"], x["task"]): x for x in [*kept, *lines]}
    CSV.parent.mkdir(exist_ok=True)
    with CSV.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(by_entry.values())


@dataclass
class ArenaFlags:
    entries: list[str] | None = None    # files with a loss, or folders of such files
    task: Literal["stop", "wrong"] = "stop"     # which task
    guess: float | None = None          # by how many points you lead the first method of the task
    test_seed: int | None = None        # seed of the test prompts; the lecturer keeps it secret
    workers: int | None = None          # processes [one for each core]


def main(argv: list[str] | None = None) -> int:
    cfg = parse(ArenaFlags, argv, "python -m lessons arena", __doc__, words="entries")
    task, entries = TASKS[cfg.task], [Path(x) for x in cfg.entries or ()]
    if not entries:
        for name, each in TASKS.items():
            say(f"{name:8}{each.about}", f"        compared with: {'; '.join(each.beside)}",
                sep="\n")
        return 0
    if cfg.test_seed is None and cfg.guess is None:
        raise UserError("first your guess: --guess POINTS, by how many you expect to lead "
                        f"{task.beside[0]} (0: equal, -3: worse)")
    files = [x for given in entries
             for x in (sorted(given.glob("**/*.py")) if given.is_dir() else [given])]
    if not files:
        raise UserError(f"{', '.join(map(str, entries))}: there is no .py file")
    if no_container():
        warn_without_container()
    write_csv([])                           # OSError now, and not after the work
    root = os.path.commonpath([os.path.abspath(x if x.is_dir() else x.parent) for x in entries])
    lines = []
    for file in files:
        line = {"entry": Path(os.path.relpath(file, root)).with_suffix("").as_posix(),
                "task": cfg.task, "guess": cfg.guess}
        try:
            line |= evaluate_entry(line["entry"], file, task, cfg.test_seed,
                                   as_flags({"workers": cfg.workers}))
        except UserError as e:
            say(e)
            line |= {"score": 0, "verdict": str(e)}
        else:
            if cfg.guess is not None:
                say(f"Your guess: {cfg.guess:+.1f} points. Result: {line['lead']:+.1f} ± "
                    f"{line['half']:.1f} (you were off by {abs(line['lead'] - cfg.guess):.1f}).")
        lines.append(line)
        write_csv(lines)                    # after each: none is lost
    return int(any(line["score"] == 0 for line in lines))


if __name__ == "__main__":
    sys.exit(command(main))
