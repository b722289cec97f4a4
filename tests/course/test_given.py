"""What a student is given fits what is judged: pages, the code to mend, drawn inputs."""
import ast
import re

import pytest
import torch

from lessons.behind.keys import reward, silent
from lessons.behind.lesson_list import ROOT
from lessons.behind.tasks import simple_parts
from lessons.behind.tasks.call import Seen, call_program, program_in, with_gradient
from lessons.behind.tasks.task import Judge, Measure, differ, far_apart, tasks
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
        gives = {x.name: x.body[-1].value for x in ast.walk(ast.parse(code_of(name)))
                 if isinstance(x, ast.FunctionDef)}
        assert isinstance(gives["loss"], ast.Tuple) and len(gives["loss"].elts) == 2
        edge = {x: values[0] for x, values in KNOWN[name].settings.items()}
        assert [settings for _, settings in KNOWN[name].cases(5)].count(edge) >= 3


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


def test_only_the_number_of_right_letters_is_told():
    judge = Judge(KNOWN["silent: names"], 1)
    told = judge.verdict([Seen({"gives": ["b", "d", "a", "e", "f"]})]).told
    assert "has right letters: 3\n" in told and not re.search(r"'|\[", told)


@pytest.mark.parametrize("name", [x for x in simple_parts.OURS if x != "train"])
def test_the_smallest_case_of_a_part_has_one_row(name):
    assert len(simple_parts.cases_of(name, 1)[0].rows) == 1


ALLOWED = {         # by the texts: what a key lists, which no program of EDGES (its test) needs
    "clipped_loss": lambda logp, old, A, mask, eps: (
        (logp == old).all(), (mask == 0).any(), ((logp - old > eps) & (A < 0)).any()),
    "pass_at_k": lambda n, c, k: (c == 0, c == n, n - c < k),
    "best_of_n": lambda n, likes, scores: [len(likes) == 1],
    "gae": lambda R, V, gamma, lam: (gamma == 0, lam == 0, lam == 1),
    "paired_interval": lambda a, b, t: (len(a) == 2, (a == b).all(), (a < b).all())}


@pytest.mark.parametrize("name", ALLOWED)
def test_all_that_a_text_allows_is_among_the_edges_of_its_key(name):
    """So it is in every draw."""
    found = [ALLOWED[name](*case) for case in KNOWN[name].always]
    assert [any(some) for some in zip(*found)] == [True] * len(found[0])


def test_two_results_of_different_shapes_are_shown_and_are_no_error_of_the_judge():
    """As of a loss that ends in .mean()."""
    seen = with_gradient("x", lambda x: (x, x.mean()), torch.tensor([1.0, 3.0]))
    assert [part.shape for part in seen.pop("gives")] == [(2,), ()]
    assert [slope.tolist() for slope in seen.values()] == [[4.0, 8.0]]


def test_what_is_not_finite_is_far_from_a_number():
    """Also where all numbers are measured together, and from 0."""
    right, measure = torch.zeros(2), Measure(1, 1, whole=True)
    for x in (float("nan"), float("inf")):
        assert far_apart(torch.tensor([x, 0]), right, measure)
    assert not far_apart(right, right, measure)
    assert not differ("gives", [float("nan")], [float("nan")], Measure()), "where none is wanted"


def test_who_hangs_in_the_second_case_has_a_share_of_all_cases():
    task = KNOWN["pass_at_k"]
    judge = Judge(task, 5)
    first = call_program(task.look, task.right, judge.cases[0])
    verdict = judge.verdict([first, Seen(error="TooLong", words="it had not ended")])
    assert verdict.share == 1 / len(judge.cases) < 0.1
