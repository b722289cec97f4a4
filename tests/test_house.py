"""House rules that a reader relies on: the order of the rooms and the line between them, no circle,
a laboratory that can be taken away, short lines, few files behind a training step. `python
tests/tools/house.py` prints the sizes, `python tests/tools/reading.py` what a step is.
"""
import os
import re
import shutil
import subprocess
import sys

import house
import pytest
import reading
from house import ROOT, imports, modules, python_files, room

DEMO = '{"prompt": "Say pig.", "response": "pig"}\n'
TINY = "--init {tiny} --steps 2 --threads 1 --device cpu"
COMMANDS = {  # what must run without the laboratory, and a file that it leaves
    f"nanouft.train --data {{copy}}/demos.jsonl --objective ift {TINY}": "out/ift/curves.png",
    "nanouft.evaluate --items 1 --threads 1": "",
    "frozen_lake.__main__ --seeds 1 --updates 2 --objective sft ift --out out/lake":
    "out/lake/index.html"}
IN_TURN = """
import importlib, os, sys
from pathlib import Path
import nanouft, pytest
from frozen_lake import pictures
from nanouft.eval import plots
from nanouft.models import load
from nanouft.errors import UserError
from running import be_brief

copy, *commands = sys.argv[1:]
assert Path(nanouft.__file__).parents[1] == Path(copy), "not the copy"
sys.modules["lab"] = sys.modules["nanouft.hf"] = None
# (an editable install would find the checkout's)
be_brief(lambda owner, name, value: owner is plots or setattr(owner, name, value))
pictures.everything = lambda *a: []
for number, command in enumerate(commands):
    place = Path(copy, str(number))
    place.mkdir()
    os.chdir(place)
    module, *argv = command.split()
    assert importlib.import_module(module).main(argv) == 0, command
for folder, adapter in ((Path(copy, "llama"), False), (load.BASE, True)):
    words = "^[^\\n]* need nanouft/hf, a folder that is missing; [^\\n]*$"
    with pytest.raises(UserError, match=words):
        load.read_model(folder, adapter)
"""


def test_each_room_imports_only_from_rooms_above_it():
    wrong = []
    for name, file in modules().items():
        for other in imports(file):
            here, there = room(name), room(other)
            if here is not None and there is not None and there > here:
                wrong.append(f"{name} imports {other}")
    assert not wrong, "\n".join(wrong)
    homeless = [m for m in modules() if m.startswith("nanouft.") and room(m) is None]
    assert not homeless, f"in no room of house.ROOMS: {homeless}"
    assert all(room("nanouft." + name) == i for i, name in enumerate(house.ABOVE))
    assert room("nanouft.world") < len(house.ABOVE) < room("nanouft.world.__main__")


def test_there_is_no_circle_even_through_late_imports():
    open_, done = [], set()

    def visit(name):
        assert name not in open_, " -> ".join([*open_[open_.index(name):], name])
        if name not in done:
            open_.append(name)
            for other in imports(modules()[name]):
                visit(other)
            done.add(open_.pop())

    for name in modules():
        visit(name)
    assert len(done) == len(modules()) > 100


def test_arrows_between_the_houses():
    knows = {"nanouft": set(), "frozen_lake": {"nanouft"}, "examples": {"nanouft"},
             "lab": {"nanouft", "frozen_lake"}, "lessons": {"nanouft", "frozen_lake"}}
    for folder, others in knows.items():
        for file in python_files(folder):
            words = re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(encoding="utf-8"), re.M)
            assert {w for w in words if w in knows} <= {folder, *others}, file


def test_without_the_laboratory_and_the_room_hf_everything_else_runs(tiny_base, tmp_path_factory):
    """In a copy of the package alone, without nanouft/hf: some commands, each in a fresh folder, in
    one process; then models that need that room are refused in one line. (No other module imports
    lab: the test above.)"""
    copy = tmp_path_factory.mktemp("copy").resolve()
    for folder in ("nanouft", "frozen_lake"):
        shutil.copytree(ROOT / folder, copy / folder,
                        ignore=shutil.ignore_patterns("__pycache__", "hf"))
    (copy / "llama").mkdir()
    (copy / "llama" / "config.json").write_text('{"model_type": "llama"}')
    (copy / "llama" / "model.safetensors").write_bytes(b"")
    (copy / "demos.jsonl").write_text(DEMO * 4 + DEMO.replace("pig", "bee") * 4, encoding="utf-8")
    (copy / "in_turn.py").write_text(IN_TURN)
    commands = [command.format(tiny=tiny_base, copy=copy) for command in COMMANDS]
    got = subprocess.run([sys.executable, "in_turn.py", copy, *commands], cwd=copy,
                         capture_output=True, text=True,
                         env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
                         stdin=subprocess.DEVNULL, timeout=300)
    assert got.returncode == 0, got.stderr[-2000:]
    for number, file in enumerate(COMMANDS.values()):
        assert (copy / str(number) / file).exists(), f"{commands[number]} left no {file}"


def test_lines_have_at_most_100_characters():
    assert len(python_files(*house.PROSE)) > 200, "the files were not found"
    wide = house.wide_lines()
    assert not wide, "\n".join(wide)


@pytest.mark.parametrize("size", house.sizes(), ids=lambda size: size[0])
def test_the_house_stays_small(size):
    """Smaller by deleting, merging and libraries, never by golf."""
    what, now, limit = size
    assert now <= limit, f"{what}: {now:,}; tests/tools/house.py lists all"


# Files, lines of functions and changes of file of one training step; files and lines of a command.
# The plan's aims were (13, 620, 35) for GRPO and PPO, (28, 1500) and (32, 1850) for the commands;
# docs/LOG.md says what is missing and why.
# (790 lines before ties, several rewards and a budget of memory were asked for.)
STEP = {"sft": (9, 330, 330), "grpo": (13, 825, 55)}
STEP |= {"ift": STEP["sft"], "dpo": STEP["sft"], "ppo": STEP["grpo"]}
COMMAND = {"sft": (30, 1760), "grpo": (34, 2250)}


@pytest.mark.parametrize("name", [name if name in COMMAND else
                                  pytest.param(name, marks=pytest.mark.slow) for name in STEP])
def test_a_training_step_is_soon_read(name):
    step, command = reading.readings(name)
    found = (step.files, step.lines, step.changes), (command.files, command.lines)
    for now, limits in zip(found, (STEP[name], COMMAND.get(name, found[1]))):
        assert all(map(int.__le__, now, limits)), f"{name}: {now}, at most {limits}"


def test_objectives_touch_neither_files_nor_optimizers():
    files = python_files("nanouft/objectives")
    assert len(files) >= 34
    for file in files:
        found = re.findall(r"torch\.load|torch\.save|\boptim\b|\bopen\(",
                           file.read_text(encoding="utf-8"))
        assert not found, \
            f"{file.name} mentions {found}: that is the loop's business, not an objective's"


def test_the_list_of_commands_names_every_command(capsys, monkeypatch):
    """`python -m nanouft` lists what has a main, and nothing else."""
    from nanouft import __main__ as commands
    runnable = {name.removeprefix("nanouft.").removesuffix(".__main__")
                for name, file in modules().items() if name.startswith("nanouft.")
                and "sys.exit(" in file.read_text(encoding="utf-8")}
    assert set(commands.COMMANDS) == runnable - {"__main__"}
    for argv in (["nanouft"], ["nanouft", "-h"], ["nanouft", "--help"]):
        monkeypatch.setattr("sys.argv", argv)
        assert commands.console() == 0 and "nanouft.train" in capsys.readouterr().out
    assert all(map(callable, map(commands.main_of, commands.COMMANDS))), \
        "the script reaches packages, too"
