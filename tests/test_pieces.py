"""The longer pieces: keys are right, slips are named, what is given is what the page says, and a
class's table takes pieces and papers."""
import ast
import csv
import re
from inspect import getsource

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from lessons import course
from lessons.classroom import grade_class, piece
from lessons.classroom.exercise import PIECES, pieces
from lessons.classroom.judge import assess
from lessons.classroom.paper_list import PAPERS
from nanouft.gpt import GPT, GPTConfig
from nanouft.plumbing.entry import command

KNOWN = pieces()
DEAR = ("piece ift: run", "piece reward: reward")       # they train
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in DEAR else ()) for name in KNOWN]
SLIPS = [pytest.param(name, k, marks=pytest.mark.slow if name in DEAR else ())
         for name, one in KNOWN.items() for k in range(len(one.mistakes))]
MACHINE = "\n\n".join(getsource(KNOWN[f"piece machine: {x}"].right)
                      for x in ("operations", "bytes", "launches", "bound"))


def page_of(name: str) -> str:
    return (PIECES / f"{name}.md").read_text(encoding="utf-8")


def code_of(name: str) -> str:
    """What a student begins with."""
    return "\n".join(re.findall(r"```python\n(.*?)```", page_of(name), re.S))


@pytest.mark.parametrize("name", NAMES)
def test_the_key_is_right(name):
    assert assess(KNOWN[name], KNOWN[name].right, "5").told == ""


@pytest.mark.parametrize("name, k", SLIPS)
def test_a_slip_is_refused_and_named(name, k):
    mistake = KNOWN[name].mistakes[k]
    told = assess(KNOWN[name], KNOWN[name].with_mistakes((mistake,)), "2").told
    assert told.startswith("    Right in ") and told.endswith(mistake[2]), told


def test_only_the_number_of_right_letters_is_told(tmp_path, capsys):
    """Neither which of them are right nor, before that, the code that gives them away."""
    found = assess(KNOWN["piece silent: names"], lambda: ["b", "d", "h", "g", "e"])
    assert "has right letters: 4" in found.told and "un 3" not in found.told
    assert "'a'" not in found.told and found.share == 0
    file = tmp_path / "silent.py"
    file.write_text("def planted():\n    return ['b', 'd', 'a', 'e', 'g']\n", encoding="utf-8")
    assert command(piece.main, ["silent", str(file)]) == 1
    out = capsys.readouterr().out
    assert "has right letters: 3" in out and "0 of 6 right. 5 not in the file yet." in out
    assert "loss" not in out and "mask" not in out and "Run 4" not in out
    before = page_of("silent").partition("<details>")[0]
    assert not any(one.name in before for x, one in KNOWN.items()
                   if x.startswith("piece silent: ") and one.name != "planted")


def test_a_page_asks_for_what_the_program_judges():
    """Its points are as many."""
    for name in ("beta", "ift", "machine", "reward", "silent"):
        asked = {one.name for x, one in KNOWN.items() if x.startswith(f"piece {name}:")}
        tree = ast.parse(code_of(name))
        assert {x.name for x in tree.body if isinstance(x, ast.FunctionDef)} == asked
        points = sum(map(int, re.findall(r"^\| (\d+) \| program", page_of(name), re.M)))
        assert points == sum(x.startswith(f"piece {name}:") for x in KNOWN)


def test_the_code_that_is_given_has_the_bugs_of_the_runs():
    space = {}
    exec(code_of("silent"), space)
    for name, one in KNOWN.items():
        if name.startswith("piece silent: ") and one.name != "planted":
            assert assess(one, space[one.name], "1").told.endswith(one.mistakes[0][2])


def test_the_letters_on_the_page_are_those_of_the_bugs():
    letters = dict(re.findall(r"^\| (\w) \| (.*) \|$", page_of("silent"), re.M))
    told = [letters[x] for x in KNOWN["piece silent: names"].right()]
    words = ("question", "exchanged", "just read", "reference", "zero")
    assert all(word in text for word, text in zip(words, told))


class Launches(TorchDispatchMode):
    """Counts what computes."""
    count = 0

    def __torch_dispatch__(self, f, types, args=(), kwargs=None):
        name = f.name().split("::")[1].split(".")[0]
        self.count += not f.is_view and name not in ("_unsafe_view", "detach")
        return f(*args, **(kwargs or {}))


def test_operations_and_launches_are_those_that_pytorch_counts():
    operations, launches = (KNOWN[f"piece machine: {x}"].right for x in ("operations", "launches"))
    for B, T, L, C, V in [(2, 64, 1, 64, 256), (3, 32, 3, 32, 1024)]:
        model, ids = GPT(GPTConfig(V, T, L, 4, C), seed=0), torch.randint(V, (B, T))
        with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
            model(ids).sum().backward()
        assert counted.get_total_flops() == operations(B, T, L, C, V)
        with Launches() as seen:
            model(ids)
        assert seen.count == launches(L)


@pytest.mark.slow
def test_the_logs_are_shown_and_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(course, "OUT", tmp_path / "lessons")
    assert command(piece.main, ["silent"]) == 0
    assert "run 5, SFT" in capsys.readouterr().out
    assert (tmp_path / "pieces" / "silent.png").stat().st_size > 10**4


def test_the_command_lists_and_judges(tmp_path, capsys):
    file = tmp_path / "silent.py"
    file.write_text(code_of("silent"), encoding="utf-8")
    assert command(piece.main, []) == 0
    assert "# " not in capsys.readouterr().out
    assert command(piece.main, ["silent", str(file)]) == 1
    out = capsys.readouterr().out
    assert "names (planted)           not started" in out and "0 of 6 right." in out
    assert out.count("This is still the bug") == 5
    assert command(piece.main, ["silnt"]) == 2
    assert "did you mean silent" in capsys.readouterr().err


@pytest.mark.slow
def test_a_class_s_table_takes_pieces_and_papers(tmp_path, capsys):
    """Those that somebody has handed in. A program that ends Python costs its neighbour nothing."""
    iw = PAPERS["iw_sft"].key.read_text(encoding="utf-8")
    wrong = iw.replace("s.logp.detach() - s.ref_logp", "s.logp - s.ref_logp")
    for student, files in {
            "ada": {"machine.py": MACHINE, "iw_sft.py": iw.replace("IWSFT", "Mine")},
            "bob": {"machine.py": MACHINE.replace("4 * 7 *", "4 * 4 *"), "iw_sft.py": wrong},
            "eve": {"machine.py": "from lessons.pieces.key_machine import *",
                    "iw_sft.py": "import os\nos._exit(0)"}}.items():
        for name, text in files.items():
            (tmp_path / "class" / student).mkdir(parents=True, exist_ok=True)
            (tmp_path / "class" / student / name).write_text(text, encoding="utf-8")
    words = [str(tmp_path / "class"), "piece machine", "paper iw", "--out", str(tmp_path / "out")]
    assert command(grade_class.main, words) == 0
    rows = list(csv.DictReader((tmp_path / "out" / "points.csv").open(encoding="utf-8")))
    told = {(x["student"], x["exercise"]): x for x in rows}
    assert [told[name, "total"]["points"] for name in ("ada", "bob", "eve")] == ["5", "3", "0"]
    said = {key: x["what the check says"] for key, x in told.items()}
    assert "Three of them" in said["bob", "piece machine: bytes"]
    assert "Gradient flows through the weights" in said["bob", "paper iw_sft"]
    assert "graded" in said["eve", "piece machine: bound"]
    assert "ended Python" in said["eve", "paper iw_sft"]
    assert told["ada", "paper iw_sft"]["the same program as"] == "the key"
    assert told["eve", "piece machine: bound"]["reaches for"].startswith("the key")
    back = (tmp_path / "out" / "feedback" / "bob.md").read_text(encoding="utf-8")
    assert "## piece machine: bytes: 0" in back and "## paper iw_sft: " in back


def test_work_by_choice_that_nobody_handed_in_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "class" / "ada").mkdir(parents=True)
    (tmp_path / "class" / "ada" / "machine.py").write_text(MACHINE)
    monkeypatch.setattr(grade_class, "in_parallel", lambda graded, jobs: [
        ((student.name, kind), [grade_class.Graded("right", 1.0)] * (12 if kind == "parts" else 1))
        for student, kind in jobs])
    assert command(grade_class.main, [str(tmp_path / "class"), "--out", str(tmp_path)]) == 0
    table = (tmp_path / "points.csv").read_text(encoding="utf-8")
    assert "piece machine: bound" in table and "ada,02a" in table
    assert "piece ift" not in table and "paper" not in table
