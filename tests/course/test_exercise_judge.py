"""The judge of all tasks: a right program is right in any style, a listed mistake has its sentence,
any other slip is refused, and what the stubs say holds."""
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
from programs.right import HEAD, OTHERWISE, RIGHT

from lessons.behind.tasks import call, check, simple_parts
from lessons.behind.tasks.call import call_in_all_cases
from lessons.behind.tasks.limits import TooLong
from lessons.behind.tasks.papers import Case, loss_and_gradient
from lessons.behind.tasks.task import (
    STUBS,
    UNTOUCHED,
    Draw,
    Judge,
    Measure,
    chosen,
    differ,
    is_begun,
    judge_file,
    program_of,
    source_with,
    tasks,
)
from nanouft import simple, world
from nanouft.objectives import find
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, load

KNOWN = tasks()
EXERCISES = [name for name in KNOWN if name[0].isdigit()]
PAPERS = [name for name, task in KNOWN.items() if not task.name]
SLOW = {*PAPERS, "train", "chord_loss", "ift: run", "reward: reward"}


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
    file = folder / KNOWN[name].file
    file.write_text(text)
    return judge_file(KNOWN[name], file, "5")[1].told


@pytest.fixture
def small_base(monkeypatch, request):
    """For the parts of mine.py: a model that is computed fast, and sure enough of its tokens that
    each of them counts. No answer of it is right or ends, so another score and other lengths stand
    in."""
    def ended(*asked):
        return [replace(x, ids=x.ids[:3 + sum(x.ids) % 9]) for x in answers_of(*asked)]
    name, answers_of = request.node.name, simple.answers_of
    if "chord_loss" in name:
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


@pytest.mark.parametrize("name", marked(KNOWN, {*SLOW, *simple_parts.PARTS}))
def test_no_mistake_is_called_right_or_by_the_name_of_another_by_any_of_twelve_draws(name,
                                                                                     small_base):
    """One draw tells little: iw-SFT without its cap was called right by one in twenty. Names take
    long, so those of parts and papers are tried in one draw alone, above."""
    task = KNOWN[name]
    for judge, mistake in product([Judge(task, seed) for seed in range(12)], task.mistakes):
        program = program_of(task, source_with(task, (mistake,)))
        if name in {*SLOW, *simple_parts.PARTS}:
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


@pytest.mark.parametrize("name", [x for x in KNOWN if x not in {*SLOW, *simple_parts.PARTS}])
def test_a_slip_that_nobody_listed_is_refused(name):
    """Each, in all right programs."""
    judge = Judge(KNOWN[name], 5)
    assert not refused(judge, KNOWN[name].right)                # no limit of time for this one
    for source in slips(KNOWN[name].source):
        assert refused(judge, program_of(KNOWN[name], source), 0.3), source


EDGES = [               # a part of the right program, and what is wrong in its place at one edge
    ("00a", "    return", "    if len(chosen) > len(rejected):\n        "
     "chosen[:len(rejected)] == rejected and rejected[len(chosen)]\n    return"),
    ("00a", "chosen[:i + 1] != rejected[:i + 1]",
     "chosen[max(0, i - 2):i + 1] != rejected[max(0, i - 2):i + 1]"),
    ("00a", "chosen[:i + 1] != rejected[:i + 1]",
     "not ''.join(rejected).startswith(''.join(chosen[:i + 1]))"),
    ("01a", "    return scores", "    scores = scores.clamp(min=-200)\n    return scores"),
    ("01a", "    return scores", "    scores = scores.clamp(max=200)\n    return scores"),
    ("01a", "q @ k.transpose", "q @ k[:1].transpose"),
    ("02a", "    mask, speaker", "    tokens = tokens if tokens.count('assistant') < 4 else "
     "tokens[:9] + ['user'] * (len(tokens) - 9)\n    mask, speaker"),
    ("02a", "int(speaker", 'int(token == "end" or speaker'),
    ("02a", "    return mask[1:]", "    while mask[-1:] == [1] and tokens[len(mask) - 1] != 'end':"
     "\n        mask.pop()\n    return (mask + [0] * len(tokens))[1:len(tokens)]"),
    ("02a", "return mask[1:]", "return mask[1:] or [0]"),
    ("03a", "(p * r).sum()", "(p * r).sum().clamp(min=0)"),
    ("03a", "    return", "    r = r.clamp(-100, 100)\n    return"),
    ("04a", "mask[:, :-1] == 1", "mask[:1, :-1] == 1"),
    ("04a", "    guess =", "    if inputs.shape[1] < 2:\n        return likeliest\n    guess ="),
    ("04b", "range(T)", "range(min(T, 2))"),
    ("04b", "== start", "== 0"),
    ("04b", "at = at * ice\n        shares.append((at * right).sum() / at.sum())",
     "shares.append((at * ice * right).sum() / (at * ice).sum())"),
    ("06a", "mask.sum(1, keepdim=True)", "mask.sum(1).max()"),
    ("06a", "    later, weights", "    losses = losses.clamp(max=100)\n    later, weights"),
    ("06a", "    later, weights", "    gamma = max(gamma, 0.1)\n    later, weights"),
    ("07a", "-F.logsigmoid(h)", "-F.logsigmoid(h.clamp(min=-100))"),
    ("09a", "    return", "    score = max(score, 0.03)\n    return"),
    ("10a", "trust = torch.sigmoid(r_bar - r)", "trust = 1 / (1 + (r - r_bar).exp())\n    "
     "trust = trust.clamp(min=0.001)"),
    ("11a", "    sets =", "    if n == len(likes):\n        return sum(scores)\n    sets ="),
    ("11a", "n))\n", "n))[:999]\n"),
    ("11b", "    return", "    n = min(n, 99)\n    return"),
    ("12a", "+ 1e-4", "+ 1e-3"),
    ("12b", "1 - eps, 1 + eps", "1 - 0.98 * eps, 1 + 0.98 * eps"),
    ("12b", "1 - eps, 1 + eps", "1 - 1.02 * eps, 1 + 1.02 * eps"),
    ("12c", "R[:, t] +", "R[:1, t] +"),
    ("12c", "torch.zeros(len(R))", "V[:, 0] * (V.shape[1] == 1)"),
    ("13a", "    return", "    p = max(p, 1e-5)\n    return"),
    ("13a", "    return", "    p = min(p, .99)\n    return"),
    ("14a", " < abs", " <= abs"),
    ("14a", "range(2, len(t) + 2)", "range(2, min(len(t) + 2, 101))"),
    ("16a", "    return", "    long = min(long, 99)\n    return"),
    ("16a", "    return", "    s = min(s, .8)\n    return"),
    ("17a", "    return", "    x = x.clamp(max=9)\n    return"),
    ("18a", "right <= gate", "right <= gate and right < 1"),
    ("18a", "x == 1 for", "x > 0.98 for"),
    ("18a", "a / (K * n)", "a / (K * min(n, 99))")]


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
    assert {name for name, *_ in EDGES} == {*EXERCISES}


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


# ---- what its text says --------------------------------------------------------------------------
EXAMPLES = [            # a sentence of a stub, what it says is given in one of the cases
    ("00a", "chosen bee cat end and rejected bee end give 0 1 1", [0, 1, 1]),
    ("01a", "Let T and n be 1 and h be 4, let q_0 . k_0 be 2 ln 3 and q_0 . k_1 be 0. The scores "
     "are ln 3 and 0, so the weights are 3/4 and 1/4.", [[[3 / 4, 1 / 4]]]),
    ("02a", 'such as ["user", "hi", "assistant", "yo", "end"]', [0, 0, 1, 1]),
    ("02a", "The targets of the row above are hi, assistant, yo, end, so the mask is [0, 0, 1, 1].",
     [0, 0, 1, 1]),
    ("03a", "p = (0.5, 0.5) and r = (1, 0) give (0.25, -0.25).", [0.25, -0.25]),
    ("04a", "The row 5 6 7 8 with the mask 0 1 1 0 and the likeliest 1 2 3 4 gives 5 6 2 3.",
     [[5, 6, 2, 3]]),
    ("04b", "Let there be two cells of ice, 0 and 1. Moves 0 and 1 lead to cell 0, moves 2 and 3 "
     "to cell 1. Move 0 is the best one in cell 0, and none is in cell 1. If probs[0] is (.6, 0, "
     ".4, 0) and probs[1] is (1, 0, 0, 0), two moves from cell 0 give (.6 + .36) / 2 = .48.", .48),
    ("06a", "The losses 2.5 and 1 with gamma 0.5 give 3 and 1;", [[3, 1]]),
    ("06a", "divided, 1.5 and 0.5.", [[1.5, 0.5]]),
    ("07a", "now (-2, -9) and ref (-3, -5) give the margin 0.5 and the loss 0.4741.",
     [[0.5], [0.4741]]),
    ("09a", "The score 1 gives 1/3", 1 / 3),
    ("10a", "r = (0, 0), r_bar = (ln 3, -ln 3), wrong = (0, 1) and k = 1 give 1/2, 1/4 and 0.",
     [1 / 2, 1 / 4, 0]),
    ("11a", "likes 1 2 3 0 and scores 0 1 0.5 0.2 give 0.425 with n = 1", 0.425),
    ("11a", "and 0.5833 with n = 2.", 0.5833),
    ("11b", "n 4 and c 1 give 0.25 with k = 1", 0.25),
    ("11b", "and 0.5 with k = 2.", 0.5),
    ("12a", "R = [[1, 0], [1, 1]] gives [[0.25, -0.75], [0.25, 0.25]]",
     [[0.25, -0.75], [0.25, 0.25]]),
    ("12b", "A token with logp = old = -1, ref = -2, A = 0.5 and beta 0.1 has the push 0.4368.",
     [0.4368]),
    ("13a", "p = 0.5 gives 0.5 and 0.1534.", [0.5, 0.1534]),
    ("14a", "difference 1, sd 0.8 and t = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776} give 5.", 5),
    ("12c", "R = 0 1, V = 0.5 0.6, gamma 1 and lam 0.5 give 0.3 0.4.", [[0.3, 0.4]]),
    ("16a", "s = 0.5, delta = 0.4, 10 and 2 tokens give 0.03.", 0.03),
    ("17a", "x = [[1, 2]], W = [[1, 0]], A = [[1, 1]], B = [[2]] and alpha 1 give [[7]].", [[7]]),
    ("18a", "Scores [0, 0], lengths [4, 2], 5 tokens shown and gate 0 give [0, 0, 0.2].",
     [0, 0, 0.2]),
    ("18a", "Scores [1, 0] give [0.0884, -0.1768, 0].", [0.0884, -0.1768, 0])]


@pytest.mark.parametrize("name, sentence, wanted", EXAMPLES)
def test_the_example_of_a_stub_is_right_and_is_tried(name, sentence, wanted):
    task = KNOWN[name]
    assert sentence in " ".join(getattr(load(STUBS / task.file), task.name).__doc__.split())
    assert "" in [differ("gives", task.right(*args), wanted, Measure()) for args in task.always]


@pytest.mark.parametrize("name", EXERCISES)
def test_a_gradient_that_is_checked_is_announced(name):
    """Else a right program in numpy is refused, and nobody can know why. The docstring names the
    arguments that it flows to."""
    exercise = KNOWN[name]
    stub = getattr(load(STUBS / exercise.file), exercise.name)
    told = re.search(r"[Gg]radient flows to ([^.]+)\.", stub.__doc__)
    flows = {what.rstrip(":").split()[-1] for case in exercise.always
             for what, slope in exercise.look(exercise.right, *case).items()
             if "gradient" in what and slope.any()}
    assert flows == {*re.findall(r"\w+", told[1] if told else "")} - {"and"}


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
OTHERS = re.findall(r"^def (\w+)", OTHERWISE, re.M)


@pytest.mark.parametrize("name", marked([*RIGHT, *OTHERS], OTHERS))
def test_a_right_program_in_another_style_is_right(name, tmp_path):
    assert told(name, HEAD + RIGHT.get(name, OTHERWISE), tmp_path) == ""


@pytest.mark.parametrize("method", ["ift", "dpo"])
def test_a_run_calls_none_of_our_parts_where_all_are_a_students(method, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "\n".join(["from nanouft.simple import *", *(KNOWN[x].source for x in simple_parts.PARTS)]))
    monkeypatch.setattr(simple, "ROWS", 2)
    monkeypatch.setitem(simple.METHODS, method, (*simple.METHODS[method][:3], 2))
    mine = load(tmp_path / "mine.py")
    monkeypatch.setattr(simple_parts, "OURS", dict.fromkeys(simple_parts.PARTS))
    try:
        simple_parts.run(method, {name: getattr(mine, name) for name in simple_parts.PARTS})
    finally:
        monkeypatch.undo()
        simple_parts.install_parts({})


def test_two_mistakes_at_once_are_both_named():
    """Of each exercise the first two that go together."""
    tried = 0
    for judge in (Judge(KNOWN[name], 5) for name in EXERCISES):
        some, program = next((x for x in judge.programs() if len(x[0]) == 2), ((), None))
        told = judge.of(program).told if some else ""
        assert all(sentence in told for *_, sentence in some), told
        tried += bool(some)
    assert tried > len(EXERCISES) / 2


OWN_STYLE = [   # a right program in another style, its part, what is wrong there, and the sentence
    ("07a", " - ref[0] + ref[1]", "", "The reference is missing"),
    ("12a", "R - R.mean()", "R - total / K", "REINFORCE has one baseline"),
    ("12c", "[*row, 0]", "[*row, row[-1]]", "After the last token the critic's prediction is 0"),
    ("luffy", "/ len(group)", "/ (K + 1)", "A prompt without a demonstration"),
    ("padded", "= some, mask", "= some, 1", "The question counts as well"),
    ("ift_loss", "GAMMA ** apart", "1.0 ** apart", "Later losses are not discounted")]


@pytest.mark.parametrize("name, part, instead, words", OWN_STYLE)
def test_a_mistake_in_a_students_own_style_has_its_one_sentence(name, part, instead, words,
                                                                tmp_path, small_base):
    said = told(name, HEAD + RIGHT.get(name, OTHERWISE).replace(part, instead), tmp_path)
    assert words in said.splitlines()[-1] and "And: " not in said, said


COMMON = [      # task, part of the right program, what is wrong there, the sentence, what is shown
    ("02a", "return mask[1:]", "return mask", "one number too long",
     "gives [0, 1, 1], length 3\n    expected [1, 1], length 2"),
    ("02a", "int(speaker ==", 'int(token == "end" or speaker ==', 'may say "end", too', ""),
    ("00a", "range(len(chosen))", "range(min(len(chosen), len(rejected)))", "as zip does", ""),
    ("02a", "for token in tokens:", "for token in [None, *tokens[1:]]:", "header at index 0", ""),
    ("02a", "return mask[1:]",
     "last = max([0, *(i for i, x in enumerate(tokens) if x == 'assistant')])\n"
     "    return [x * (i >= last) for i, x in enumerate(mask)][1:]", "Only the last turn", ""),
    ("12a", "keepdim=True) + 1e-4", "keepdim=True, unbiased=False) + 1e-4", "ddof=1", ""),
    ("12a", "* R.shape[1] / (R.shape[1] - 1)", "* (1 - 1 / R.shape[1])", "upside down", ""),
    ("07a", "= now - ref\n    h = beta * (chosen - rejected)",
     "= beta * now - ref\n    h = chosen - rejected", "A bracket is missing",
     "gives as result 1 of 2: torch.tensor([-1.3])"),
    ("07a", "beta * (chosen - rejected)", "beta * chosen - rejected", "A bracket is missing", ""),
    ("07a", "-F.logsigmoid(h)", "(-F.logsigmoid(h)).mean()", "Give one for each pair.",
     "one number\n    expected torch.tensor(["),
    ("07a", "    return h, -F.logsigmoid(h)", "    h, -F.logsigmoid(h)", "",
     "gives None; is a `return` missing?\n    expected ["),
    ("07a", "-F.logsigmoid(h)", "F.logsigmoid(h)", "The sign is wrong", ""),
    ("03a", "return p", "return -p", "The sign is wrong", "torch.tensor([0.5, 0.5])"),
    ("03a", " - (p * r).sum()", "", "makes the other actions less", "torch.tensor([0.5, 0.5])"),
    ("03a", "return p", "return 2 * p", "Each number is 2 times the expected one.", ""),
    ("04a", "    return guess", "    return guess[:, 1:]", "The first number is missing.", ""),
    ("04a", "    return guess", "    return guess[:, :-1]", "Numbers are missing at the end.", ""),
    ("12c", "reversed(range(R.shape[1]))", "range(R.shape[1])", "runs forward in time", ""),
    ("10a", ".argsort()", ".argsort(descending=True)", "throws out the k with the highest", ""),
    ("10a", "(trust * wrong).sum() / trust.sum()", "(trust * wrong).sum() / len(r)",
     "Divide by the sum of all its pushes.", "")]


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
    ("02a", "def response_mask(:", "ex02.py cannot be read. SyntaxError"),
    ("02a", "def response_mask(*x):\n    return 'yes'", "gives 'yes'"),
    ("02a", "from lessons.behind.keys.ex02 import response_mask", UNTOUCHED),
    ("02a", "def response_mask(*x):\n    return 1 / 0",
     "ZeroDivisionError: division by zero\n    line 2"),
    ("02a", "def response_mask(*x):\n    x[0][0] = 0\n    return x[0]", "    It changes its arg"),
    ("02a", "def response_mask(*x):\n    exit()", "    It calls exit() or sys.exit()"),
    ("02a", "def response_mask():\n    return []", "takes 0 positional arguments but 1 was given"),
    ("02a", "from lessons.behind.keys import ex02\ndef response_mask(x):\n"
     "    return [ex02.response_mask(x)]", ", shape (1, "),
    ("01a", "import torch.nn.functional as F\nf = F.scaled_dot_product_attention\n"
     "def attention(q, k, v):\n    return f(q, k, v)", "without PyTorch's own function"),
    ("01a", "from lessons.behind.keys import ex01\ndef attention(q, k, v):\n"
     "    return ex01.attention(q.clamp(-9, 9), k, v)", "gives for a 50 times larger q"),
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
@pytest.mark.parametrize("name", ["02a", "luffy"])
def test_a_file_that_loops_when_it_is_loaded_ends(name, tmp_path, monkeypatch):
    """A function or a class; in a lesson, here, and in a process of its own, in test_class.py."""
    monkeypatch.setattr(KNOWN[name], "seconds", 0.2)
    said = told(name, "while True: pass\n", tmp_path)
    assert f"{KNOWN[name].file} stops when it is loaded: TooLong" in said
    assert "line 1: while" in said


# ---- the command ---------------------------------------------------------------------------------
def test_a_word_means_a_task_a_file_or_a_lesson_and_exercises_come_first():
    for name, task in KNOWN.items():
        file = [x for x in KNOWN if KNOWN[x].file == task.file]
        assert chosen([task.file[:-3]]) == file
        assert chosen([name]) == (file if name == task.file[:-3] else [name])
    assert chosen(["6"]) == chosen(["06"]) == [x for x in KNOWN if x[:2] == "06"]
    assert (chosen(["12"]), chosen(["12b"])) == (["12a", "12b", "12c"], ["12b"]), "a file, a task"
    for word, told in (("99", "there is no task 99"), ("5", "there is no task 05")):
        with pytest.raises(UserError, match=told):
            chosen([word])
    first = [*sorted(EXERCISES), *simple_parts.PARTS]
    assert [*KNOWN][:len(first)] == first


def test_what_is_a_stub_or_not_there_is_not_started(tmp_path):
    """In a file without it, or without the file, the line names the file."""
    for name in (*EXERCISES, *simple_parts.PARTS):
        assert judge_file(KNOWN[name], STUBS / KNOWN[name].file, "1")[1].told == UNTOUCHED
    for name, task in KNOWN.items():
        file = tmp_path / task.file
        for text in (None, "x = 1\n"):
            said = (told(name, text, tmp_path) if text
                    else judge_file(KNOWN[name], file, "1")[1].told)
            assert file.name in said and (said.startswith("not started") or text and not task.name)
        file.unlink()


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
    assert told("02a", "def response_mask(*x):\n    print('mine')\n    return []", tmp_path)
    assert Judge(KNOWN["train"], 5).ours(simple.train, 0).values
    assert {*capsys.readouterr().out.splitlines()} == {"mine"}


FILES = {       # of one folder
    "ex12.py": "import os\nfrom neighbour_of_ex12 import advantages\n"
               "def grpo_push(*x):\n    raise ValueError(os.path.basename(os.getcwd()))\n",
    "neighbour_of_ex12.py": KNOWN["12a"].source,
    "ex14.py": "def seeds_needed(*given):\n    print('mine')\n    return -1\n"}
ASKED = {       # words of the command, what is said: of many wrong cases the smallest is shown
    "14a --seed 5": ["Passes 0 of", KNOWN["14a"].show(Judge(KNOWN["14a"], "5").cases[0])],
    "12a 12b 3": ["12a                       right\n", "there is no file", "1 of 3 right.",
                  "ValueError: here\n    line 4: raise ValueError("],
    "": ["12a                       right\n12b                       wrong\n14a   ",
         "Begin with 00a"]}


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
    assert ("mine\n" in errors) == ("12" not in words)


@pytest.mark.parametrize("text, begun", [
    ("raise NotImplementedError", False), ('"""Half."""\n    raise NotImplementedError()', False),
    ("if x:\n        return x\n    raise NotImplementedError(x)", True), ("return (", True)])
def test_a_stub_does_nothing_but_raise(text, begun, tmp_path):
    """What cannot be read is begun, so that its fault is told."""
    (tmp_path / "ex02.py").write_text(f"def response_mask(x):\n    {text}\n")
    assert is_begun("02a", tmp_path) == begun
    (tmp_path / "ex03.py").write_text("from beside import expected_push_with_baseline\n")
    name = KNOWN["03a"].name
    assert not is_begun("03a", tmp_path) and not is_begun("00a", tmp_path)
    (tmp_path / "ex03.py").write_text(f"{name} = lambda p, r: p\n")
    assert is_begun("03a", tmp_path)
