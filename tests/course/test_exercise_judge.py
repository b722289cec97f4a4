"""The judge of all tasks: a right program is right in any style, a listed mistake has its sentence,
and any other slip is refused. What a student reads is in tests/recorded/judge.txt and check.txt.

A line `$ gae | part -> instead` of judge.txt is the key's program with another part, or with two of
them (a ; stands between them); `$ own gae | ...` is the student's of student.py. Anything else
behind | is a whole file.
"""
import re
from collections.abc import Iterator
from dataclasses import replace
from inspect import getmodule
from itertools import takewhile
from pathlib import Path
from tokenize import NUMBER, generate_tokens

import golden
import pytest
import torch
from student import FILES, STAGES

from lessons.behind.lesson_list import NUMBERS, PARTS, contracts
from lessons.behind.tasks import check, simple_parts
from lessons.behind.tasks.call import call_in_all_cases, program_in
from lessons.behind.tasks.papers import Case, loss_and_gradient
from lessons.behind.tasks.task import Draw, Judge, chosen, program_of, source_with, tasks
from nanouft import simple, world
from nanouft.objectives import find
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import load

KNOWN = tasks()
OWN = [name for name, task in KNOWN.items() if task.file == "mine.py"]
PLAIN = [name for name in OWN if name not in simple_parts.OURS]         # functions of numbers
PAPERS = [name for name, task in KNOWN.items() if not task.name]
SLOW = {*PAPERS, "train", "chord_loss", "sample_answers", "ift: run", "reward: reward"}


def marked(names, slow) -> list:
    return [pytest.param(x, marks=pytest.mark.slow if x in slow else ()) for x in names]


def told(name: str, text: str, folder: Path) -> str:
    """What the author of a file with this text is told."""
    task, file = KNOWN[name], folder / KNOWN[name].file
    file.write_text(text)
    program, missing = program_in(file, task.name, task.seconds)
    return missing or Judge(task, "5").of(program, str(file)).told


def refused(judge: Judge, program, seconds: float = 200) -> bool:
    """In any of the cases. No clock runs while they are compared."""
    calls = [*call_in_all_cases(judge.task.look, program, judge.cases, "", seconds)]
    seen = (judge.compared(call, k) for k, call in enumerate(calls))
    return any(call.words or judge.difference(call, judge.ours(judge.task.right, k))
               for k, call in enumerate(seen))


@pytest.fixture
def small_base(monkeypatch, request):
    """For the parts of mine.py: a model that is computed fast, and sure enough of its tokens that
    each of them counts. No answer of it is right or ends, so another score and other lengths stand
    in."""
    def ended(*asked):
        return [replace(x, ids=x.ids[:3 + sum(x.ids) % 9]) for x in answers_of(*asked)]
    name, answers_of = request.node.name, simple.answers_of
    if "chord_loss" in name or "sample_answers" in name:
        yield
        return
    model = simple_parts.small(2).float()
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4)
    monkeypatch.setattr(simple_parts, "base", lambda: model)
    monkeypatch.setattr(simple, "answers_of", ended)
    monkeypatch.setattr(simple, "ROWS", 2)                      # short steps of `train`
    if "grpo_loss" in name:
        monkeypatch.setattr(world, "score", lambda question, answer: len({*answer}) / 99)
    simple_parts.noisy_model.cache_clear()
    yield
    simple_parts.noisy_model.cache_clear()


# ---- the key -------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", marked(KNOWN, SLOW))
def test_the_right_program_passes_and_each_mistake_is_refused_and_named(name, small_base):
    """In two draws of the cases, or in one where they are dear. Who ends the process before the
    last case is refused as well."""
    task = KNOWN[name]
    for judge in [Judge(task, seed) for seed in range(2 - (name in {*SLOW, *simple_parts.OURS}))]:
        right = [*call_in_all_cases(task.look, task.right, judge.cases, "", 200)]
        assert judge.verdict(right).told == ""
        assert judge.verdict(right[:-1]).told
        programs = dict(takewhile(lambda some: len(some[0]) == 1, judge.programs()))
        assert [*programs] == [(x,) for x in task.mistakes], "each is one part of the right program"
        for (mistake,), program in programs.items():
            seen = [judge.ours(program, k) for k in range(len(judge.cases))] \
                if task.properties is None else [
                    *call_in_all_cases(task.look, program, judge.cases, "", 200)]
            assert judge.verdict(seen).told.endswith("\n    " + mistake[2])


OTHER = {"+": "-", "-": "+", "+=": "-=", "*": "/", "/": "*", "**": "*", "<": "<=", "<=": "<",
         ">": ">=", ">=": ">", "==": "!=", "!=": "==", "in": "not in", "and": "or", "or": "and"}


def slips(source: str) -> Iterator[str]:
    """The source with one operator, comparison or number changed, each of them in turn."""
    lines = source.splitlines(keepends=True)
    for kind, text, (row, start), (_, end), line in generate_tokens(iter(lines).__next__):
        new = f"({text} + 1)" if kind == NUMBER else OTHER.get(text)
        if new:
            changed = line[:start] + new + line[end:]
            yield "".join([*lines[:row - 1], changed, *lines[row:]])


@pytest.mark.parametrize("name", [x for x in KNOWN if x not in {*SLOW, *simple_parts.OURS}])
def test_a_slip_that_nobody_listed_is_refused(name):
    """Each, in all right programs."""
    judge = Judge(KNOWN[name], 5)
    assert not refused(judge, KNOWN[name].right)                # no limit of time for this one
    for source in slips(KNOWN[name].source):
        assert refused(judge, program_of(KNOWN[name], source), 0.3), source


EDGES = [               # a part of the right program, and what is wrong in its place at one edge
    ("clipped_loss", "1 - eps, 1 + eps", "1 - 0.98 * eps, 1 + 0.98 * eps"),
    ("clipped_loss", "1 - eps, 1 + eps", "1 - 1.02 * eps, 1 + 1.02 * eps"),
    ("clipped_loss", "(logp - old).exp()", "(logp - old).exp() * (logp != old)"),
    ("clipped_loss", "mask.sum(1))", "mask.shape[1])"),
    ("clipped_loss", "rho * A, rho",
     "torch.where((rho > 1 + eps) & (A < 0), (1 + eps) * A, rho * A), rho"),
    ("pass_at_k", "    return", "    n = min(n, 99)\n    return"),
    ("pass_at_k", "    return", "    c = c or 1\n    return"),
    ("pass_at_k", "    return", "    c = min(c, n - 1)\n    return"),
    ("pass_at_k", "math.comb(n - c, k)", "max(1, math.comb(n - c, k))"),
    ("best_of_n", "    sets =", "    if n == len(likes):\n        return sum(scores)\n    sets ="),
    ("best_of_n", "    sets =", "    if len(likes) == 1:\n        return 0\n    sets ="),
    ("best_of_n", "n))\n", "n))[:999]\n"),
    ("gae", "R[:, t] +", "R[:1, t] +"),
    ("gae", "torch.zeros(len(R))", "V[:, 0] * (V.shape[1] == 1)"),
    ("gae", "    out = []", "    gamma, out = gamma or 1, []"),
    ("gae", "    out = []", "    lam, out = lam or 1, []"),
    ("gae", "    out = []", "    lam, out = min(lam, 0.99), []"),
    ("attention", "    return scores", "    scores = scores.clamp(min=-200)\n    return scores"),
    ("attention", "    return scores", "    scores = scores.clamp(max=200)\n    return scores"),
    ("attention", "q @ k.transpose", "q @ k[:1].transpose"),
    ("with_lora", "    return", "    x = x.clamp(max=9)\n    return"),
    ("paired_interval", "t * lead", "(lead.mean() != 0) * t * lead"),
    ("paired_interval", "    return", "    t = t * (len(lead) > 2)\n    return"),
    ("paired_interval", "    return", "    lead = lead if lead.any() else 1 + lead\n    return"),
    ("paired_interval", "lead = a - b", "lead = (a - b) * (1 - 2 * (a < b).all())")]


@pytest.mark.parametrize("name, part, instead", EDGES)
def test_an_edge_is_listed_and_not_drawn(name, part, instead):
    """A program that is wrong there alone is refused by the edges that its key names, and these are
    among the cases of every draw."""
    judge = Judge(KNOWN[name], 0)
    assert {*map(id, KNOWN[name].always)} < {*map(id, judge.cases)}
    judge.cases = KNOWN[name].always
    assert not refused(judge, KNOWN[name].right)
    program = program_of(KNOWN[name], source_with(KNOWN[name], ((part, instead, ""),)))
    assert refused(judge, program, 0.3)
    assert {name for name, *_ in EDGES} == {*PLAIN}


def test_a_mask_is_drawn_in_any_form():
    seen = {tuple(row) for row in Draw("0").mask(400, 4).tolist()}
    assert len(seen) == 2 ** 4 - 1 and (0, 0, 0, 0) not in seen


# of a paper's page: settings, and the method with the same gradient; None: it is 0
IDENTITIES = {
    "luffy": ({"samples": 2}, None), "srft": ({"samples": 2, "sft": 0.0, "rl": 0.0}, None),
    "iw_sft": ({}, "sft")}


@pytest.mark.slow
@pytest.mark.parametrize("name", IDENTITIES)
def test_the_right_program_obeys_the_identity_of_its_page(name):
    """Where nothing is pushed, all answers are right."""
    settings, like = IDENTITIES[name]
    case = Case("identity", 3, 2, noise=0.08 if like is None else 0.0)
    got = loss_and_gradient(KNOWN[name].right(**settings), case,
                            lambda rows, texts: [1.0] * len(texts))["gradient"]
    if like is None:
        assert got.norm() < 1e-6
    else:
        wanted = loss_and_gradient(find(like)(), case)["gradient"]
        assert 0 < wanted.norm() and (got - wanted).norm() < 1e-4 * wanted.norm()


# ---- the program of a student --------------------------------------------------------------------
def dear(number: str) -> bool:
    return any(name in simple_parts.OURS for name in contracts(NUMBERS[number]))


@pytest.mark.parametrize("number", marked(STAGES, {*filter(dear, STAGES)}))
def test_one_s_own_program_grows_from_lesson_to_lesson(number, tmp_path):
    """Its parts are right, in another style than ours, and need none of a later lesson."""
    text = "from nanouft.simple import *\n" + "".join(
        text for other, text in STAGES.items() if other <= number)
    assert {*re.findall(r"^def (\w+)", STAGES[number], re.M)} == {*contracts(NUMBERS[number])}
    for name in contracts(NUMBERS[number]):
        assert told(name, text, tmp_path) == ""


def test_each_part_of_one_s_own_program_belongs_to_a_lesson():
    assert {*PARTS} == {*OWN} and {*PARTS.values()} == {*STAGES}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PAPERS if KNOWN[name].file in FILES])
def test_the_class_of_a_paper_is_right_in_another_style(name, tmp_path):
    assert told(name, FILES[KNOWN[name].file], tmp_path) == ""


def test_a_run_has_the_parts_of_a_student_and_simple_py_is_as_it_was_after_a_call(
        tmp_path, monkeypatch):
    """A notebook goes on with its own functions, and a lesson with ours."""
    before = {**vars(simple)}, {**simple.METHODS}
    (tmp_path / "mine.py").write_text(FILES["mine.py"])
    mine = load(tmp_path / "mine.py")
    names = {**vars(mine)}
    for case in simple_parts.cases_of("dpo_loss", 1)[:1]:
        assert simple_parts.in_simple("dpo_loss", mine.dpo_loss, case)
    assert ({**vars(simple)}, {**simple.METHODS}) == before and vars(mine) == names
    ran = []
    for name in simple_parts.OURS:
        monkeypatch.setattr(simple, name, getattr(simple, name))        # ours again at the end
    monkeypatch.setattr(simple, "METHODS", {**simple.METHODS})
    monkeypatch.setattr(simple, "main", ran.append)
    simple_parts.run("ift", {name: getattr(mine, name) for name in simple_parts.OURS})
    assert ran == [["--objective", "ift"]]
    assert all(getattr(simple, name) is getattr(mine, name) for name in simple_parts.OURS)
    assert simple.METHODS["ift"][0] is mine.ift_loss


# ---- what a student reads ------------------------------------------------------------------------
def task_and_file(typed: str) -> tuple[str, str]:
    """The task that a line of judge.txt names, and the text of the student's file."""
    whose, _, text = typed.replace(r"\n", "\n").partition(" | ")
    name = whose.removeprefix("own ")
    task = KNOWN[name]
    if " -> " not in text:
        return name, text
    source = FILES[task.file] if whose != name else (
        f"from {getmodule(task.right).__name__} import *\n{task.source}")
    for part, instead in (change.split(" -> ") for change in text.split(" ; ")):
        assert part in source, part
        source = source.replace(part, instead)
    return name, source


@pytest.mark.parametrize("typed", golden.read("judge"), ids=lambda typed: typed[:70])
def test_what_a_student_reads_of_a_wrong_program(typed, tmp_path, small_base, recorded):
    """The smallest failing case, here on one line, and a sentence for each mistake that explains
    all results."""
    said = told(*task_and_file(typed), tmp_path).replace(f"{tmp_path}/", "")
    recorded("judge", typed, re.sub(r"\(\n(.*?),\n {4}\)\n", lambda call: "(" + " ".join(
        call[1].split()) + ")\n", said, flags=re.S))


LETTERS = "def planted():\n    return {}\ndef descend(*x):\n    return 0\n"
HANDED_IN = {
    "here/mine.py": "import os\nfrom neighbour_of_mine import with_lora\n"
                    "def gae(*x):\n    raise ValueError(os.path.basename(os.getcwd()))\n"
                    "def pass_at_k(*given):\n    print('mine')\n    return -1\n",
    "here/neighbour_of_mine.py": KNOWN["with_lora"].source,
    "here/silent.py": LETTERS.format(["e", "g", "a", "d", "b"]),
    "here/luffy.py": "import os\nos._exit(0)\n",
    "letters/silent.py": LETTERS.format(["b", "d", "a", "g", "e"]),
    "broken/mine.py": "def gae(:\n"}


@pytest.mark.parametrize("typed", golden.read("check"), ids=lambda typed: typed[:70])
def test_what_the_check_of_a_folder_prints(typed, tmp_path, capfd, monkeypatch, recorded):
    """Files run elsewhere, with what they import. Without words only what is begun is named. The
    code to mend is named after its letters are right. What cannot be read is told once."""
    monkeypatch.chdir(tmp_path)
    for name, text in HANDED_IN.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    assert command(check.main, typed.split()[1:]) == 1
    said, errors = capfd.readouterr()
    recorded("check", typed, said)
    assert ("mine\n" in errors) == ("here" in typed), "what a program prints is shown"


def test_nothing_is_shown_of_what_our_own_program_prints(capsys):
    assert Judge(KNOWN["train"], 5).ours(simple.train, 0).values
    assert capsys.readouterr().out == ""


def test_a_word_means_a_task_a_file_or_a_lesson_and_parts_come_first_in_their_order():
    assert [*KNOWN][:len(OWN)] == OWN and [x for x in OWN if x in PARTS] == [*PARTS]
    assert chosen([]) == [*KNOWN] and chosen(["mine"]) == OWN
    for name, task in KNOWN.items():
        assert name in chosen([task.file[:-3]]) and chosen([name])[0].startswith(name[:3])
    for number in STAGES:
        assert chosen([number]) == chosen([f"{int(number)}"]) == [*contracts(NUMBERS[number])]
