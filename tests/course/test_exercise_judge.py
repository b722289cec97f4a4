"""The judge of all tasks: a right program is right in any style, a listed mistake has its sentence,
and any other slip is refused."""
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from inspect import getsource
from itertools import product, takewhile
from pathlib import Path
from tokenize import NUMBER, generate_tokens

import pytest
import torch
from programs.right import HEAD, OTHERWISE, RIGHT, stages

from lessons.behind.lesson_list import NUMBERS, PARTS, contracts
from lessons.behind.tasks import call, check, simple_parts
from lessons.behind.tasks.call import call_in_all_cases, program_in
from lessons.behind.tasks.limits import TooLong
from lessons.behind.tasks.papers import Case, loss_and_gradient
from lessons.behind.tasks.task import (
    UNTOUCHED,
    Draw,
    Judge,
    chosen,
    program_of,
    source_with,
    tasks,
)
from nanouft import simple, world
from nanouft.objectives import find
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, load

KNOWN = tasks()
OWN = [name for name, task in KNOWN.items() if task.file == "mine.py"]
PLAIN = [name for name in OWN if name not in simple_parts.OURS]         # functions of numbers
PAPERS = [name for name, task in KNOWN.items() if not task.name]
SLOW = {*PAPERS, "train", "chord_loss", "sample_answers", "ift: run", "reward: reward"}


def marked(names, slow) -> list:
    return [pytest.param(x, marks=pytest.mark.slow if x in slow else ()) for x in names]


def refused(judge: Judge, program, seconds: float = 200) -> bool:
    """In any of the cases. No clock runs while they are compared."""
    calls = [*call_in_all_cases(judge.task.look, program, judge.cases, "", seconds)]
    seen = (judge.compared(call, k) for k, call in enumerate(calls))
    return any(call.words or judge.difference(call, judge.ours(judge.task.right, k))
               for k, call in enumerate(seen))


def told(name: str, text: str, folder: Path) -> str:
    """Of a file with this text."""
    task, file = KNOWN[name], folder / KNOWN[name].file
    file.write_text(text)
    program, missing = program_in(file, task.name, task.seconds)
    return missing or Judge(task, "5").of(program, str(file)).told


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


def test_a_clock_that_runs_out_while_an_error_is_put_in_words_ends_one_call(monkeypatch):
    def late(error, file):
        monkeypatch.undo()
        raise TooLong("it had not ended")
    monkeypatch.setattr(call, "error_line", late)
    seen = [*call_in_all_cases(call.result, lambda x: 1 / x, [(1,), (0,), (2,)], "", 9)]
    assert [x.error for x in seen] == ["", "TooLong"] and "it had not ended" in seen[1].words


# ---- the key, and its mistakes -------------------------------------------------------------------
@pytest.mark.parametrize("name", marked(KNOWN, SLOW))
def test_the_right_program_passes_and_each_mistake_is_refused_and_named(name, small_base):
    task, judge = KNOWN[name], Judge(KNOWN[name], 5)
    right = [*call_in_all_cases(task.look, task.right, judge.cases, "", 200)]
    assert judge.verdict(right).told == ""
    assert judge.verdict(right[:-1]).told, "whoever ends the process before the last case"
    programs = dict(takewhile(lambda some: len(some[0]) == 1, judge.programs()))
    assert [*programs] == [(x,) for x in task.mistakes], "each is one part of the right program"
    for (mistake,), program in programs.items():
        seen = [judge.ours(program, k) for k in range(len(judge.cases))] \
            if task.properties is None else [
                *call_in_all_cases(task.look, program, judge.cases, "", 200)]
        assert judge.verdict(seen).told.endswith("\n    " + mistake[2])


@pytest.mark.parametrize("name", marked(KNOWN, {*SLOW, *simple_parts.OURS}))
def test_no_mistake_is_called_right_or_by_the_name_of_another_by_other_draws(name, small_base):
    """One draw tells little: iw-SFT without its cap was called right by one in twenty. Parts and
    papers take long: of them three draws, and names in one draw alone, above."""
    task, draws = KNOWN[name], 3 if name in {*SLOW, *simple_parts.OURS} else 12
    for judge, mistake in product([Judge(task, seed) for seed in range(draws)], task.mistakes):
        program = program_of(task, source_with(task, (mistake,)))
        if name in {*SLOW, *simple_parts.OURS}:
            assert refused(judge, program), mistake
        else:
            assert judge.of(program).told.endswith("\n    " + mistake[2])


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
    ("pass_at_k", "    return", "    n = min(n, 99)\n    return"),
    ("best_of_n", "    sets =", "    if n == len(likes):\n        return sum(scores)\n    sets ="),
    ("best_of_n", "n))\n", "n))[:999]\n"),
    ("gae", "R[:, t] +", "R[:1, t] +"),
    ("gae", "torch.zeros(len(R))", "V[:, 0] * (V.shape[1] == 1)"),
    ("attention", "    return scores", "    scores = scores.clamp(min=-200)\n    return scores"),
    ("attention", "    return scores", "    scores = scores.clamp(max=200)\n    return scores"),
    ("attention", "q @ k.transpose", "q @ k[:1].transpose"),
    ("with_lora", "    return", "    x = x.clamp(max=9)\n    return"),
    ("paired_interval", "t * lead", "(lead.mean() != 0) * t * lead")]


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


@pytest.mark.parametrize("name, setting", [(name, x) for name in PAPERS
                                           for x in KNOWN[name].settings])
def test_a_class_has_the_settings_of_its_page(name, setting):
    """Without flags it is another method."""
    right = KNOWN[name].right
    value = getattr(right, setting)
    value = value + 1 if isinstance(value, int) else 1.25 * value
    other = type("Other", (right,), {setting: value, "__annotations__": {setting: type(value)}})
    judge = Judge(KNOWN[name], 5)
    judge.cases = judge.cases[-1:]
    assert not judge.of(right).told and setting in judge.of(other).told


def test_a_mask_is_drawn_in_any_form():
    draw = Draw("0")
    seen = {tuple(row) for row in draw.mask(400, 4).tolist()}
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


# ---- programs of somebody else -------------------------------------------------------------------
GROWN = "from nanouft.simple import *\n" + "".join(stages().values())       # a student's


@pytest.mark.parametrize("name", marked([*RIGHT, *OWN], simple_parts.OURS))
def test_a_right_program_in_another_style_is_right(name, tmp_path):
    assert told(name, HEAD + RIGHT.get(name, OTHERWISE), tmp_path) == ""


@pytest.mark.parametrize("name", PLAIN)
def test_a_student_s_own_function_of_numbers_is_right(name, tmp_path):
    """His other parts: test_mine_grows in test_lessons.py."""
    assert {*re.findall(r"^def (\w+)", GROWN, re.M)} == {*OWN}
    assert told(name, GROWN, tmp_path) == ""


@pytest.mark.parametrize("method", ["ift", "grpo"])
def test_a_run_calls_none_of_our_parts_where_all_are_a_students(method, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(GROWN)
    for name, x in (("ROWS", 2), ("METHODS", dict(simple.METHODS)), ("main", None)):
        monkeypatch.setattr(simple, name, x, raising=x is None)
    ran = []
    monkeypatch.setattr(simple, "main", ran.append)
    for name in simple_parts.OURS:
        monkeypatch.setattr(simple, name, getattr(simple, name))        # ours again at the end
    mine = load(tmp_path / "mine.py")
    simple_parts.run(method, {name: getattr(mine, name) for name in simple_parts.OURS})
    assert ran == [["--objective", method]]
    assert all(getattr(simple, name) is getattr(mine, name) for name in simple_parts.OURS)
    assert simple.METHODS[method][0] is getattr(mine, f"{method}_loss")


def test_after_a_call_simple_py_and_the_file_of_a_student_are_as_they_were(tmp_path):
    """A notebook goes on with its own functions, and a lesson with ours."""
    before = {**vars(simple)}, {**simple.METHODS}
    (tmp_path / "mine.py").write_text(GROWN)
    mine = load(tmp_path / "mine.py")
    names = {**vars(mine)}
    for case in simple_parts.cases_of("dpo_loss", 1)[:1]:
        assert simple_parts.in_simple("dpo_loss", mine.dpo_loss, case)
    assert ({**vars(simple)}, {**simple.METHODS}) == before and vars(mine) == names


def test_two_mistakes_at_once_are_both_named():
    """Of each function of numbers the first two that go together."""
    tried = 0
    for judge in (Judge(KNOWN[name], 5) for name in PLAIN):
        some, program = next((x for x in judge.programs() if len(x[0]) == 2), ((), None))
        told = judge.of(program).told if some else ""
        assert all(sentence in told for *_, sentence in some), told
        tried += bool(some)
    assert tried > len(PLAIN) / 2


OWN_STYLE = [   # a right program in another style, its part, what is wrong there, and the sentence
    ("gae", "[*row, 0]", "[*row, row[-1]]", "After the last token the critic's prediction is 0"),
    ("gae", "for k in range(t, T)", "for k in range(t, t + 1)", "The advantage of the next token"),
    ("clipped_loss", "both.amin(0)", "(rho * a)", "Nothing is clipped"),
    ("clipped_loss", "both.amin(0)", "both[1]", "clipped on both sides"),
    ("paired_interval", "ddof=1", "ddof=0", "Divide the sum of squares by n - 1"),
    ("luffy", "/ len(group)", "/ (K + 1)", "A prompt without a demonstration"),
    ("padded", "= some, mask", "= some, 1", "The question counts as well"),
    ("grpo_loss", "own - mean", "mean - own", "The sign is wrong"),
    ("ift_loss", "GAMMA ** apart", "1.0 ** apart", "Later losses are not discounted")]


@pytest.mark.parametrize("name, part, instead, words", OWN_STYLE)
def test_a_mistake_in_a_students_own_style_has_its_one_sentence(name, part, instead, words,
                                                                tmp_path, small_base):
    said = told(name, HEAD + RIGHT.get(name, OTHERWISE).replace(part, instead), tmp_path)
    assert words in said.splitlines()[-1] and "And: " not in said, said


COMMON = [      # task, part of the right program, what is wrong there, the sentence, what is shown
    ("gae", "reversed(range(R.shape[1]))", "range(R.shape[1])", "runs forward in time", ""),
    ("gae", " + gamma * lam * later", "", "this is delta alone", ""),
    ("gae", "    return torch.stack(out, 1)", "    torch.stack(out, 1)", "",
     "gives None; is a `return` missing?\n    expected "),
    ("gae", "torch.stack(out, 1)", "torch.stack(out, 1)[:, :-1]", "missing at the end.", ""),
    ("gae", "torch.stack(out, 1)", "-torch.stack(out, 1)", "The sign is wrong", ""),
    ("gae", "torch.stack(out, 1)", "2 * torch.stack(out, 1)", "Each number is 2 times the", ""),
    ("clipped_loss", "torch.min(rho * A, rho.clamp(1 - eps, 1 + eps) * A)", "rho * A",
     "Nothing is clipped.", ""),
    ("paired_interval", "a - b", "b - a", "The sign of the mean is wrong",
     "gives as result 1 of 2: -3.0")]


@pytest.mark.parametrize("name, part, instead, sentence, shown", COMMON)
def test_an_ordinary_mistake_has_its_sentence_and_a_case_that_shows_it(name, part, instead,
                                                                       sentence, shown, tmp_path):
    """Of two numbers or more: one number, or none, shows neither a shift nor a sign."""
    source = KNOWN[name].source
    assert part in source
    said = told(name, HEAD + source.replace(part, instead), tmp_path)
    assert re.match(r" +Passes \d+ of \d+ tests\. Smallest failing case:\n", said)
    assert shown in said and sentence in said.splitlines()[-1], said


TYPED = "from torch import Tensor\n" + HEAD
LINES = [       # task, program, what is said
    ("gae", "def gae(:", "mine.py cannot be read. SyntaxError"),
    ("gae", "def gae(*x):\n    return 'yes'", "gives 'yes'"),
    ("gae", "from lessons.behind.keys.parts import gae", UNTOUCHED),
    ("gae", "def gae(*x):\n    return 1 / 0", "ZeroDivisionError: division by zero\n    line 2"),
    ("gae", "def gae(*x):\n    x[0][0] = 0\n    return x[0]", "    It changes its arg"),
    ("gae", "def gae(*x):\n    exit()", "    It calls exit() or sys.exit()"),
    ("gae", "def gae():\n    return []", "takes 0 positional arguments but 4 were given"),
    ("gae", "from lessons.behind.keys import parts\ndef gae(*x):\n"
     "    return parts.gae(*x)[None]", ", shape (1, "),
    ("attention", "import torch.nn.functional as F\nf = F.scaled_dot_product_attention\n"
     "def attention(q, k, v):\n    return f(q, k, v)", "without PyTorch's own function"),
    ("attention", "from lessons.behind.keys import parts\ndef attention(q, k, v):\n"
     "    return parts.attention(q.clamp(-9, 9), k, v)", "gives for a 50 times larger q"),
    ("clipped_loss", "from lessons.behind.keys import parts\ndef clipped_loss(logp, *x):\n"
     "    return parts.clipped_loss(logp.detach(), *x)", "with respect to logp"),
    ("sft_loss", "from lessons.behind.tasks.simple_parts import OURS\ndef sft_loss(*args):\n"
     "    return OURS['sft_loss'](*args).item()", "no gradient reaches the model"),
    ("log_ratio", TYPED + getsource(simple.log_ratio).replace(".detach()", ""),
     "reaches the reference as well"),
    ("padded", TYPED + getsource(simple.padded).replace("[:, 1:].float()", "[:, 1:]"),
     "    the mask is not a tensor of floats\nEND"),
    # a constant that a file changes stays ours, and so does a file of ours with its name
    ("una_loss", TYPED + "from nanouft import simple\nsimple.BETA = 5.0\nsimple.METHODS['una'] = ()"
     "\n" + getsource(simple.una_loss).replace("BETA", "5.0").replace("log_", "simple.log_"),
     "the loss is "),
    *((name, f"from lessons.behind.keys.{name} import *\n" + source_with(
        KNOWN[name], (mistake := KNOWN[name].mistakes[0],)), mistake[2])
      for name in ("luffy", "srft")),
    ("luffy", "class Mine: 0\n", "one Objective subclass")]


@pytest.mark.parametrize("name, program, words", LINES)
def test_what_a_sentence_cannot_say_gets_a_line(name, program, words, tmp_path, small_base):
    assert words in f"{told(name, program, tmp_path)}\nEND"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="a system without such clocks")
@pytest.mark.parametrize("name", ["gae", "luffy"])
def test_a_file_that_loops_when_it_is_loaded_ends(name, tmp_path, monkeypatch):
    """A function or a class; in a lesson, here, and in a process of its own, in test_class.py."""
    monkeypatch.setattr(KNOWN[name], "seconds", 0.2)
    said = told(name, "while True: pass\n", tmp_path)
    assert f"{KNOWN[name].file} stops when it is loaded: TooLong" in said
    assert "line 1: while" in said


# ---- the command ---------------------------------------------------------------------------------
def test_a_word_means_a_task_a_file_or_a_lesson_and_parts_come_first_in_their_order():
    assert [*KNOWN][:len(OWN)] == OWN and [x for x in OWN if x in PARTS] == [*PARTS]
    assert chosen([]) == [*KNOWN] and chosen(["mine"]) == OWN
    for name, task in KNOWN.items():
        assert name in chosen([task.file[:-3]]) and chosen([name])[0].startswith(name[:3])
    for number, file in NUMBERS.items():
        own = [*contracts(file)]
        if own:
            assert chosen([number]) == chosen([f"{int(number)}"]) == own
        else:
            with pytest.raises(UserError, match=f"lesson {number} asks for no part of mine.py"):
                chosen([number])
    with pytest.raises(UserError, match="there is no task 99; names are such as 05, mine"):
        chosen(["99"])


def test_what_is_ours_or_not_there_is_not_started(tmp_path):
    """In a file without it, or without the file, the line names the file."""
    for name in simple_parts.OURS:
        assert told(name, "from nanouft.simple import *\n", tmp_path) == UNTOUCHED
    for name, task in KNOWN.items():
        said = told(name, "x = 1\n", tmp_path)
        assert task.file in said and (said.startswith("not started") or not task.name)
        missing = program_in(tmp_path / "none" / task.file, task.name)[1]
        assert missing.startswith("not started") and task.file in missing


def test_the_code_to_mend_is_not_named_before_the_letters_are_right(tmp_path, capsys, monkeypatch):
    """Neither by what is asked for nor by what is there."""
    monkeypatch.chdir(tmp_path)
    letters, others = ["b", "d", "a", "g", "e"], [x for x in KNOWN if x.startswith("silent: ")]
    begun = ["silent: names", "silent: descend"]
    for planted, shown in ((letters[::-1], [begun[:1]] * 2), (letters, [begun, others])):
        Path("silent.py").write_text(f"def planted():\n    return {planted}\n"
                                     "def descend(*x):\n    return 0\n")
        for words, names in zip(([], ["silent"]), shown):
            check.main([*words, "--folder", "."])
            said = capsys.readouterr().out
            assert re.findall(r"^(silent: \w+)  ", said, re.M) == names


def test_what_a_program_prints_is_shown_and_nothing_that_ours_prints(tmp_path, capsys):
    assert told("gae", "def gae(*x):\n    print('mine')\n    return []", tmp_path)
    assert Judge(KNOWN["train"], 5).ours(simple.train, 0).values
    assert {*capsys.readouterr().out.splitlines()} == {"mine"}


FILES = {       # of one folder
    "mine.py": "import os\nfrom neighbour_of_mine import with_lora\n"
               "def gae(*x):\n    raise ValueError(os.path.basename(os.getcwd()))\n"
               "def pass_at_k(*given):\n    print('mine')\n    return -1\n",
    "neighbour_of_mine.py": KNOWN["with_lora"].source}
ASKED = {       # words of the command, what is said: of many wrong cases the smallest is shown
    "pass_at_k --seed 5": ["Passes 0 of",
                           KNOWN["pass_at_k"].show(Judge(KNOWN["pass_at_k"], "5").cases[0])],
    "with_lora gae luffy": ["with_lora                 right\n", "there is no file",
                            "1 of 3 right.", "ValueError: here\n    line 4: raise ValueError("],
    "": ["with_lora                 right\n", "gae                       wrong\n",
         f"Begin with {OWN[0]}, in "]}


@pytest.mark.parametrize("words", ASKED)
def test_files_run_elsewhere_with_what_they_import_and_what_they_print_is_shown(
        words, tmp_path, capfd):
    """Without words only what is begun is named."""
    (here := tmp_path / "here").mkdir()
    for name, text in FILES.items():
        (here / name).write_text(text)
    assert command(check.main, [*words.split(), "--folder", str(here)]) == 1
    said, errors = capfd.readouterr()
    assert all(x in said for x in ASKED[words]), said
    assert ("mine\n" in errors) == ("with" not in words)
    assert words or "not started" not in said


@pytest.mark.parametrize("words", ["", "mine"])
def test_a_file_that_cannot_be_read_is_told_once(words, tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def gae(:\n")
    assert command(check.main, [*words.split(), "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert said.startswith("mine.py cannot be read. SyntaxError: invalid syntax (mine.py, line 1)")
    assert said.count("cannot be read") == 1
