"""What a student is given fits what is judged: pages, stubs, the code to mend, drawn inputs."""
import ast
import re
from inspect import signature

import pytest
import torch

from lessons.keys import silent
from lessons.tasks import parts
from lessons.tasks.call import Seen, attempts, program_in
from lessons.tasks.task import HERE, STUBS, Draw, Judge, Measure, far_apart, tasks

KNOWN = tasks()
PAPERS = [name for name, task in KNOWN.items() if not task.name]
PIECES = sorted({name.partition(":")[0] for name in KNOWN if ":" in name})


def page_of(name: str) -> str:
    folder = "papers" if name in PAPERS else "pieces"
    return (HERE / folder / f"{name}.md").read_text(encoding="utf-8")


def code_of(name: str) -> str:
    """What a student begins with."""
    return "\n".join(re.findall(r"```python\n(.*?)```", page_of(name), re.S))


@pytest.mark.parametrize("name", [*PAPERS, *PIECES])
def test_a_page_asks_for_what_is_judged(name):
    """Under its name: the functions of a piece, with as many points; the settings of a paper."""
    page, judged = page_of(name), [x for x in KNOWN if x.startswith(f"{name}:")]
    assert f"python -m lessons check {name} --folder ." in page
    asked = {x.name for x in ast.parse(code_of(name)).body if isinstance(x, ast.FunctionDef)}
    assert asked == {KNOWN[x].name for x in judged}
    if judged:
        assert sum(map(int, re.findall(r"^\| (\d+) \| program", page, re.M))) == len(judged)
    else:
        assert "arXiv" in page and all(f"    {x}: " in page for x in KNOWN[name].settings)


def test_the_code_to_mend_has_the_bugs_of_the_runs_and_these_are_the_letters(tmp_path):
    (tmp_path / "silent.py").write_text(code_of("silent"), encoding="utf-8")
    for name in [x for x in KNOWN if x.startswith("silent: ") and x != "silent: names"]:
        judge = Judge(KNOWN[name], 1)
        program, _ = program_in(tmp_path / "silent.py", judge.task.name)
        seen = [*attempts(judge.task.look, program, judge.cases, "", 20)]
        assert judge.verdict(seen).told.endswith("\n    " + judge.task.mistakes[0][2])
    letters = dict(re.findall(r"^\| (\w) \| (.*) \|$", page_of("silent"), re.M))
    told = [letters[x] for x in silent.planted()]
    assert all(word in text for word, text in zip(
        ("question", "exchanged", "just read", "reference", "zero"), told))


def test_only_the_number_of_right_letters_is_told():
    judge = Judge(KNOWN["silent: names"], 1)
    told = judge.verdict([Seen({"gives": ["b", "d", "a", "e", "f"]})]).told
    assert "has right letters: 3\n" in told and not re.search(r"'|\[", told)


@pytest.mark.parametrize("name", parts.PARTS)
def test_a_stub_has_the_arguments_with_which_the_program_calls_it_and_names_its_lesson(name):
    stub, _ = program_in(STUBS / "mine.py", name)
    assert [*signature(stub).parameters] == [*signature(parts.OURS[name]).parameters]
    assert stub.__doc__.startswith(f"Lesson {parts.PARTS[name][0]}. ")


def test_masks_have_every_shape_of_real_rows():
    drawn = {"".join(map(str, Draw(f"0 {k}").one_mask(5))) for k in range(200)}
    for shape in ("0+1+", "1+0+", "0+1+0+", "[01]*10+1[01]*", "1+", "0*10*"):
        assert any(re.fullmatch(shape, mask) for mask in drawn), shape


def test_chats_have_all_that_the_text_allows():
    """They begin with the user; each of the two may say "end", answer twice, or be cut off."""
    drawn = [" ".join(KNOWN["02a"].draw(Draw(f"{k}"))[0]) for k in range(200)]
    for shape in ("user end", "assistant end yo", "end assistant end", "user user", "yo$", "end$",
                  "user$", "assistant$", "end user hi"):
        assert any(re.search(shape, chat) for chat in drawn), shape
    assert all(chat.startswith("user") for chat in drawn)


def test_what_is_not_finite_is_far_from_a_number():
    """Also where all numbers are measured together, and from 0."""
    right, measure = torch.zeros(2), Measure(1, 1, whole=True)
    for x in (float("nan"), float("inf")):
        assert far_apart(torch.tensor([x, 0]), right, measure)
    assert not far_apart(right, right, measure)
