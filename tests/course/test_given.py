"""What a student is given fits what is judged: pages, the code to mend, how mine.py begins."""
import ast
import re

import pytest
import torch

from lessons.behind.keys import reward, silent
from lessons.behind.lesson_list import FOLDER, LESSONS, ROOT, contracts
from lessons.behind.tasks.call import program_in
from lessons.behind.tasks.task import UNTOUCHED, Judge, Measure, differ, far_apart, tasks
from lessons.papers.pieces import runs

KNOWN = tasks()
PAPERS = [name for name, task in KNOWN.items() if not task.name]
PIECES = sorted({name.partition(":")[0] for name in KNOWN if ":" in name})


def page_of(name: str) -> str:
    folder = "papers" if name in PAPERS else "papers/pieces"
    return (ROOT / "lessons" / folder / f"{name}.md").read_text(encoding="utf-8")


def code_of(name: str) -> str:
    """What a student begins with."""
    return "\n".join(re.findall(r"```python\n(.*?)```", page_of(name), re.S))


@pytest.mark.parametrize("name", PIECES)
def test_the_page_of_a_piece_asks_for_the_functions_that_are_judged_with_as_many_points(name):
    page, judged = page_of(name), [x for x in KNOWN if x.startswith(f"{name}:")]
    assert f"python -m lessons check {name} --folder ." in page
    asked = {x.name for x in ast.parse(code_of(name)).body if isinstance(x, ast.FunctionDef)}
    assert asked == {KNOWN[x].name for x in judged}
    assert sum(map(int, re.findall(r"^\| (\d+) \| program", page, re.M))) == len(judged)


@pytest.mark.parametrize("name", PAPERS)
def test_the_page_of_a_paper_asks_for_a_class_with_the_settings_that_are_judged(name):
    """Their edges in three cases at least."""
    task = KNOWN[name]
    assert f"python -m lessons check {name} --folder ." in page_of(name)
    own, = (x for x in ast.parse(code_of(name)).body if isinstance(x, ast.ClassDef))
    settings = {x.target.id for x in own.body if isinstance(x, ast.AnnAssign)}
    assert settings == task.settings.keys() == {*task.right.__annotations__}
    edge = {x: values[0] for x, values in task.settings.items()}
    assert [case_settings for _, case_settings in task.cases(5)].count(edge) >= 3


def test_a_contract_has_the_arguments_with_which_the_program_is_called():
    for file in LESSONS:
        for name, text in contracts(file).items():
            stub, = ast.parse(text + "\n    raise NotImplementedError").body
            right, = ast.parse(KNOWN[name].source).body
            assert [x.arg for x in stub.args.args] == [x.arg for x in right.args.args], name
            assert ast.get_docstring(stub)


def test_mine_py_begins_with_nothing_of_a_students():
    for name, task in KNOWN.items():
        if task.file == "mine.py":
            _, missing = program_in(FOLDER / "mine.py", name)
            assert missing in (UNTOUCHED, f"not started: mine.py has no function {name}")


def test_the_page_of_the_reward_has_the_limits_of_its_judge(monkeypatch):
    limits = re.search(r"right in (\d+) % of the pairs.* is (\d+) points below", page_of("reward"))
    assert limits.groups() == (str(reward.AGREES), str(reward.FALLS))
    monkeypatch.setattr(runs, "pool", lambda: ("aabb", "cdef", torch.tensor([[1, 0], [0.5, 0]])))
    half, *_ = runs.searched(lambda questions, texts: [0.0] * len(texts))["gives"]
    assert half == 50, "of a reward that finds all answers alike"


def test_the_code_to_mend_has_the_bugs_of_the_runs_and_these_are_the_letters(tmp_path):
    (tmp_path / "silent.py").write_text(code_of("silent"), encoding="utf-8")
    for name in [x for x in KNOWN if x.startswith("silent: ") and x != "silent: names"]:
        judge = Judge(KNOWN[name], 1)
        program, _ = program_in(tmp_path / "silent.py", judge.task.name)
        assert judge.of(program).told.endswith("\n    " + judge.task.mistakes[0][2])
    letters = dict(re.findall(r"^\| (\w) \| (.*) \|$", page_of("silent"), re.M))
    told = [letters[x] for x in silent.planted()]
    assert all(word in text for word, text in zip(
        ("question", "exchanged", "just read", "reference", "zero"), told))


def test_what_is_not_finite_is_far_from_a_number():
    """Also where all numbers are measured together, and from 0."""
    right, measure = torch.zeros(2), Measure(1, 1, whole=True)
    for x in (float("nan"), float("inf")):
        assert far_apart(torch.tensor([x, 0]), right, measure)
    assert not far_apart(right, right, measure)
    assert not differ("gives", [float("nan")], [float("nan")], Measure()), "where none is wanted"
