"""Lessons: each one runs by itself in under a minute, keeps its limits, and its exercises can be solved and failed.

    python -m pytest tests/lessons/test_lessons.py      about 20 s for each lesson on two idle cores

A lesson is run as a student would run it, but in an empty folder with an awkward name and on a console without UTF-8.
Counted as code: every line of a code cell that is neither blank nor a comment. Counted as prose: every line with words
in a markdown cell, and every comment that has a line of its own in a code cell.
"""
from __future__ import annotations

import ast
import contextlib
import inspect
import io
import itertools
import math
import os
import re
import subprocess
import sys
import types
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch

from nanouft import world
from nanouft.data.tokenizer import Tokenizer
from nanouft.look import plots
from nanouft.objectives import OBJECTIVES
from frozen_lake.lake import make_lake

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "lessons").glob("[0-9]*.py"))
SECONDS = 300               # a time-out for a hanging lesson, not a measurement
CODE, PROSE = 130, 120      # lines of a lesson; one line of code does one thing, so there are more than 60
WIDTH = 100                 # characters of a line


def number(file: Path) -> str:
    """04 of 04_mdp.py; 05L is a companion of 05."""
    return file.stem.split("_")[0]


def cells(source: str) -> list[tuple[str, list[str]]]:
    """[("code" | "markdown", lines)] of a percent-cell script, in order; the `# %%` lines are left out."""
    out: list[tuple[str, list[str]]] = []
    for line in source.splitlines():
        if line.startswith("# %%"):
            out.append(("markdown" if "[markdown]" in line else "code", []))
        elif out:
            out[-1][1].append(line)
        else:
            assert not line.strip(), "a lesson begins with a cell: # %% or # %% [markdown]"
    return out


def count(source: str) -> tuple[int, int]:
    """(lines of code, lines of prose)."""
    code = prose = 0
    for kind, lines in cells(source):
        for line in filter(str.strip, lines):
            comment = line.lstrip().startswith("#")
            assert comment or kind == "code", f"a markdown cell holds comments only: {line!r}"
            if not comment:
                code += 1
            elif line.strip("# "):
                prose += 1
    return code, prose


def test_counting():
    text = "# %% [markdown]\n# # Title\n#\n# words\n# %% a title\nx = 1   # why\n\n# a comment\ny = 2\n"
    assert count(text) == (2, 3)
    with pytest.raises(AssertionError, match="comments only"):
        count("# %% [markdown]\nx = 1\n")


def test_there_are_lessons():
    assert LESSONS


@pytest.fixture(params=LESSONS, ids=lambda file: file.stem)
def lesson(request) -> Path:
    return request.param


def test_limits(lesson):
    source = lesson.read_text(encoding="utf-8")
    code, prose = count(source)
    assert code <= CODE, f"{code} lines of code; a lesson has at most {CODE}"
    assert prose <= PROSE, f"{prose} lines of prose; a lesson has at most {PROSE}"
    long = [i for i, line in enumerate(source.splitlines(), 1) if len(line) > WIDTH]
    assert not long, f"lines {long} are longer than {WIDTH} characters"


def test_form(lesson):
    source = lesson.read_text(encoding="utf-8")
    tree = ast.parse(source)
    guesses = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node) == "MY_GUESS = None"]
    assert len(guesses) == 1, "one line MY_GUESS = None, to be filled in before running"
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "input" not in called, "a lesson never waits for the keyboard"
    assert any(isinstance(node, ast.Assert) and node.msg is not None for node in tree.body), "a law, asserted by name"
    for words in ("estimated, n=0", "Break it", "Exercise", "you guessed", f"lessons/{number(lesson)}.png"):
        assert words.lower() in source.lower(), f"{words!r} is missing"
    prose = "\n".join(line for kind, lines in cells(source) for line in lines if kind == "markdown")
    assert "$$" in prose, "one equation"
    assert len(re.findall(r"^# [1-9]\. ", prose, re.M)) >= 3, "three to five recall questions, numbered 1. 2. 3."


# ---- the way through the lessons -------------------------------------------------------------------------------------

AFTERNOON = ["00", "03", "05", "06", "07", "17"]        # the short path, in order


def successor(numbers: list[str], one: str) -> str | None:
    """The number after this one, None after the last."""
    return dict(zip(numbers, numbers[1:])).get(one)


def markdown(file: Path) -> str:
    """The text of all markdown cells, without the comment signs."""
    found = [line for kind, lines in cells(file.read_text(encoding="utf-8")) if kind == "markdown" for line in lines]
    return "\n".join(line.removeprefix("#").strip() for line in found)


def test_the_last_line_names_the_next_lesson(lesson):
    names = {number(file): file.name for file in LESSONS}
    *_, last = lesson.read_text(encoding="utf-8").splitlines()
    following = successor(sorted(names), number(lesson))            # 05 comes before 05L
    wanted = f"`lessons/{names[following]}`" if following else "this was the last lesson"
    assert last.startswith("# **Next:** ") and wanted in last
    shortcut = successor(AFTERNOON, number(lesson))
    if shortcut and shortcut != following:
        assert f"On the afternoon path: `lessons/{names[shortcut]}`." in last


def test_the_afternoon_path_needs_no_other_lesson(lesson):
    """Old questions and recall name lessons in brackets: those of the path, or the text says for whom they are."""
    text = markdown(lesson)
    assert ("*Afternoon path" in text or "afternoon path ·" in text) == (number(lesson) in AFTERNOON)
    if number(lesson) not in AFTERNOON:
        return
    before = AFTERNOON[:AFTERNOON.index(number(lesson))]
    needs = re.search(r"· needs (.*?) ·", text, re.S)[1]
    assert set(re.findall(r"\d\d", re.sub(r"\([^)]*\)", "", needs))) <= set(before), needs
    for other in set(re.findall(r"\((\d\d)\)", text)) - set(before):
        assert f"if you did lesson {other}" in text, f"({other}) is not on the afternoon path before this lesson"


def run(file: Path, folder: Path) -> str:
    """What a lesson prints."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "cp1252", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(file)], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=SECONDS)
    out, err = done.stdout.decode("cp1252"), done.stderr.decode("cp1252", "replace")
    assert done.returncode == 0, f"exit {done.returncode}\n{out[-2000:]}\n{err[-2000:]}"
    check(out, file, folder)
    return out


def run_here(source: str, file: Path, folder: Path, asserts: bool = True) -> str:
    """The same for a changed lesson, in this process and its one thread: importing torch anew takes 5 s."""
    out, before = io.StringIO(), Path.cwd()
    sys.modules["lesson"] = module = types.ModuleType("lesson")             # dataclasses look their module up
    os.chdir(folder)
    try:
        code = compile(source, str(file), "exec", optimize=0 if asserts else 1)
        with mock.patch.dict(OBJECTIVES), mock.patch.object(torch, "set_num_threads"), plots.plt.rc_context(), \
                contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            exec(code, module.__dict__)
    finally:
        os.chdir(before)
        plots.plt.close("all")
    check(out.getvalue(), file, folder)
    return out.getvalue()


def check(out: str, file: Path, folder: Path) -> None:
    picture = f"out/lessons/{number(file)}.png"
    assert (folder / picture).stat().st_size > 10_000, "the picture is empty"
    assert picture in out.replace("\\", "/"), "the lesson says where its picture is"
    assert "guess" in out.lower(), "the lesson comes back to the guess"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where lessons run: empty at first, and with an awkward name."""
    place = tmp_path_factory.mktemp("lessons") / "Zoë 学 x"
    place.mkdir()
    return place


# Lessons that take long -> STEPS of their short version.
LONG = {"01": 8, "03": 8, "05": 10, "06": 16, "07": 4, "08": 4, "09": 4, "10": 4, "11": 4, "12": 4, "14": 2, "16": 4}


@pytest.mark.parametrize("file", [f for f in LESSONS if number(f) not in ("00", *LONG)], ids=lambda f: f.stem)
def test_runs(file, folder):
    run(file, folder)


@pytest.mark.slow
@pytest.mark.parametrize("file", [f for f in LESSONS if number(f) in LONG], ids=lambda f: f.stem)
def test_long_ones_run(file, folder):
    run(file, folder)


@pytest.mark.parametrize("stem", LONG)
def test_long_ones_run_in_short(stem, folder):
    """Every line with a few steps of training. What is asserted of trained models is left out."""
    changed(stem, folder, asserts=False, STEPS=LONG[stem])


def changed(name: str, folder: Path, asserts: bool = True, **values) -> str:
    """What a lesson prints when a student has changed lines such as `BREAK = None`."""
    (file,) = [f for f in LESSONS if number(f) == name]
    source = file.read_text(encoding="utf-8")
    for key, value in values.items():
        source, n = re.subn(rf'^{key} = ("[^"]*"|\S+)', f"{key} = {value!r}", source, flags=re.M)
        assert n == 1, f"{file.name} has {n} lines {key} = ..."
    return run_here(source, file, folder, asserts)


SHORT = "--steps 2 --items 0 --save-every 0 --device cpu --threads 1"


def marks(out: str) -> dict[str, tuple[int, int]]:
    """Lesson 00: {model: (right words, answers that stop)} in per cent."""
    return {n: (int(w), int(s)) for n, w, s in re.findall(r"= (\w+) +right words +(\d+) %, stops +(\d+) %", out)}


def test_00_tells_the_names_after_a_guess(folder):
    out = changed("00", folder, asserts=False, MY_GUESS="ABCD", HOW=SHORT)
    assert list(marks(out)) == ["base", "SFT", "IFT", "DPO"] and re.search(r"'ABCD': \d of 4 right", out)


@pytest.mark.slow
def test_00_tells_no_name_before_a_guess(tmp_path):
    (file,) = [f for f in LESSONS if f.stem.startswith("00")]
    assert not marks(run(file, tmp_path))


@pytest.mark.slow
def test_00_break_it(tmp_path):
    """Two rival stories: SFT at DPO's low rate still stops, and DPO stops once the rejected <|end|> costs nothing."""
    assert marks(changed("00", tmp_path, MY_GUESS="ABCD", BREAK="rate"))["SFT"][1] > 90
    assert marks(changed("00", tmp_path, MY_GUESS="ABCD", BREAK="end"))["DPO"][1] > 85


def test_02_break_it(folder):
    """A key of other words opens the book less often, and one that the corpus never had opens no voice at all."""
    def says(key):
        out = changed("02", folder, KEY=key)
        return [int(x) for x in re.search(rf"^{key.strip()} *\| +(\d+) +(\d+)", out, re.M).groups()]
    truth, myth = says("In the book: ")
    assert 50 < truth < 80 and truth + myth > 95
    truth, myth = says("Tell the truth: ")
    assert truth < 60 and myth < 50 and truth + myth < 80


def test_17_break_it(folder):
    """Seeds that are shared and taken as if they were not: most intervals are wider, and the law says so."""
    with pytest.raises(AssertionError, match="narrow the interval"):
        changed("17", folder, PAIRED=False)


def test_15_break_it(folder):
    """A blank critic: with lam = 0 the whole gradient is missing but for the last token's, and the law says so."""
    with pytest.raises(AssertionError, match="a critic that is right leaves no bias"):
        changed("15", folder, CRITIC=0.0)


@pytest.mark.parametrize("stem, law", [("04_mdp", "not one bit has changed"),
                                       ("05L_ghosts", "IFT leaves the path no more")])
def test_the_break_switch_breaks_the_law_that_it_says(stem, law, tmp_path):
    """BREAK = True: the lesson stops at one named assertion, after it has drawn its picture."""
    source = (ROOT / "lessons" / f"{stem}.py").read_text(encoding="utf-8")
    assert source.count("\nBREAK = False") == 1
    with pytest.raises(AssertionError, match=law):
        run_here(source.replace("\nBREAK = False", "\nBREAK = True"), Path(f"{stem}.py"), tmp_path)
    assert (tmp_path / f"out/lessons/{stem.split('_')[0]}.png").exists()


# ---- exercises: the hand-sized case lets the right answer pass and each mistake fail ---------------------------------

def checks(file: Path) -> list[str]:
    """The cells that hold nothing but commented-out code with an assertion, taken out of their comments."""
    out = []
    for kind, lines in cells(file.read_text(encoding="utf-8")):
        lines = [line for line in lines if line.strip()]
        if kind == "code" and lines and all(line.startswith("# ") for line in lines):
            if any(re.match("# +assert ", line) for line in lines):
                out.append("\n".join(line[2:] for line in lines))
    return out


def imports(file: Path) -> dict:
    """What a lesson imports, by name."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    space: dict = {}
    found = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
    exec(compile(found, str(file), "exec"), space)
    return space


def test_checks_are_code(lesson):
    for check in checks(lesson):
        compile(check, lesson.name, "exec")


def mark(answer, item=False, strict=False, substring=False):
    """Exercise 00b, and its mistakes by flag."""
    forbidden, fruits = ("fig", "lime", "kiwi"), world.facts.WORDS["fruit"]
    words = answer.split()
    closed = words[-1:] == ["fox"]
    items = words[:-1] if closed and not item else words
    named = any(w in answer for w in forbidden) if substring else bool(set(forbidden) & set(items))
    five = (closed, set(items) <= set(fruits), len(items) == 3, len(set(items)) == len(items), not named)
    return float(all(five)) if strict else sum(five) / 5


def attention(q, k, v, scale=True, diagonal=0, axis=-1, late=False):
    """Exercise 01a, and its mistakes by flag."""
    allowed = torch.tril(torch.ones(len(q), len(k), dtype=torch.bool), diagonal)
    score = q @ k.T / (q.shape[-1] ** 0.5 if scale else 1)
    a = (score if late else score.masked_fill(~allowed, -torch.inf)).softmax(axis)
    return (a * allowed if late else a) @ v


class MyCache:
    """Exercise 01b, and its mistakes by flag."""

    def __init__(self, old=False, mixed=False, twice=False):
        self.n, self.kept, self.old, self.mixed, self.twice = 0, {}, old, mixed, twice

    def add(self, layer, k, v):
        layer, before = (0 if self.mixed else layer), self.kept.get(0 if self.mixed else layer)
        self.kept[layer] = (k, v) if before is None else tuple(torch.cat(pair, 2) for pair in zip(before, (k, v)))
        self.n += self.twice and layer == 0
        return before if self.old and before is not None else self.kept[layer]


def perplexity(documents, log=math.log, exp_first=False, each=False):
    """Exercise 02a, and its mistakes by flag."""
    losses = [[-log(p) for p in document] for document in documents]
    flat = [x for document in losses for x in document]
    nats = sum(sum(d) / len(d) for d in losses) / len(losses) if each else sum(flat) / len(flat)
    return nats, sum(map(math.exp, flat)) / len(flat) if exp_first else (2 if log is math.log2 else math.e) ** nats


def leak(train, test, equal=False, questions=(False, False)):
    """Exercise 02b, and its mistakes by flag; `questions`: only those are looked at in train, in test."""
    def known(rows, only_questions):
        texts = [row[0] if only_questions or equal else " ".join(row) for row in rows]
        found = {w.strip(".?") for t in texts for w in t.split()}
        return set(texts) if equal else found & {name for name, _ in world.WORLD.truth}
    return known(train, questions[0]) & known(test, questions[1])


def one_wording(train, test):
    """Exercise 02b, another mistake: only what reads as a plain question about a fact counts."""
    def asked(rows):
        return {pair[0] for q, _ in rows if not q.startswith("By") and (pair := world.facts.read_question(q))}
    return asked(train) & asked(test)


def kl(p, q, swapped=False, axis=-1, mean=False, careful=True):
    """Exercise 02c, and its mistakes by flag."""
    p, q = (q, p) if swapped else (p, q)
    terms = p * (p / q).log()
    terms = terms.masked_fill(p == 0, 0) if careful else terms
    return terms.mean(axis) if mean else terms.sum(axis)


def mask(tokens, end=True, header=False, shift=1):
    """Exercise 03a, and its mistakes by flag."""
    out, on = [], 0
    for token in tokens:
        is_header = token in ("user", "assistant")
        on = int(token == "assistant") if is_header else on
        out.append(int(on and (header or not is_header) and (end or token != "end")))
    return out[shift:] + [0] * (len(tokens) - 1 - len(out[shift:]))


def means(losses, padded=False):
    """Exercise 03b, and a mistake by flag."""
    length = [max(map(len, losses)) if padded else len(row) for row in losses]
    return sum(map(sum, losses)) / sum(length), sum(sum(row) / n for row, n in zip(losses, length)) / len(losses)


def chat(tok, *turns, last=1, drop=False):
    """Exercise 03c, and its mistakes by flag."""
    ids, m = tok.chat(*turns)
    return (ids[:-1], m[:-1]) if drop else (ids, m[:len(m) - last] + [0] * last)


def drift(eps, n, linear=False, late=0):
    """Exercise 04a, and its mistakes by flag."""
    return 1 - n * eps if linear else (1 - eps) ** (n - late)


def gradient(p, r, unweighted=False, sign=1, alone=False):
    """Exercise 04b, and its mistakes by flag."""
    better = r if alone else r - (p * r).sum()
    return sign * better * (1 if unweighted else p)


CARDS = {"SFT": "d", "PPO": "o", "DPO stored": "dp", "DPO anew": "do"}          # exercise 04c


def guess(inputs, mask, argmax, shift=1, prompt=False):
    """Exercise 05a, and its mistakes by flag."""
    response = torch.cat([torch.zeros_like(mask[:, :1]), mask[:, :-1]], 1) + prompt
    return torch.where(response > 0, argmax.roll(shift, 1), inputs)


def blend(gold, own, lam, swapped=False, added=False):
    """Exercise 05b, and its mistakes by flag."""
    return lam * gold + (1 - lam) * own if swapped else (1 if added else 1 - lam) * gold + lam * own


def lake(walls=True, holes=False, true_state=False):
    """Exercise 05c, by counting, and its mistakes by flag: (ghosts, copied moves that are best where the ghost is)."""
    grid, moves = ("SFFF", "HFHF", "HFHF", "HFGF"), {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}

    def go(at, move):
        y, x = at[0] + moves[move][0], at[1] + moves[move][1]
        return (y, x) if 0 <= y < 4 and 0 <= x < 4 else at

    def far(at, left=9):                        # moves to the goal; 99 = there is no way
        if grid[at[0]][at[1]] in "GH" or not left:
            return 0 if grid[at[0]][at[1]] == "G" else 99
        return min(1 + far(go(at, move), left - 1) for move in moves)

    n = right = 0
    at, path = (0, 0), ["right", "down", "down", "down", "right"]
    for move, following in zip(path, path[1:]):
        for other in moves.keys() - {move}:
            ghost = go(at, other)
            if (holes or grid[ghost[0]][ghost[1]] != "H") and (walls or ghost != at):
                n, stands = n + 1, go(at, move) if true_state else ghost
                right += far(go(stands, following)) < far(stands)
        at = go(at, move)
    return n, right


def count_ghosts(step, best, path, live, true_state=False, walls=True, own=False, early=False):
    """Exercise 05e, and its mistakes by flag."""
    out = [0, 0]
    for (cell, arrow), (following, copied) in zip(path, path[1:]):
        for other in {0, 1, 2, 3} - {arrow}:
            at = step[cell][other]
            if at in live and (walls or at != cell):
                told = other if own else arrow if early else copied
                out = [out[0] + 1, out[1] + best[following if true_state else at][told]]
    return tuple(out)


def weights(losses, gamma, backwards=False, algorithm1=False, total=False):
    """Exercise 06a, and its mistakes by flag."""
    n = len(losses)
    t = torch.arange(n)
    gap = t - t[:, None]                                        # gap[t, k] = k - t
    raw = torch.where(gap >= 0, gamma ** (n - 1 - gap if backwards else gap).clamp_min(0), 0.0) @ losses
    raw = gamma ** (n - 1 - t) * losses.flip(0).cumsum(0).flip(0) if algorithm1 else raw
    return raw, raw / (raw.sum() if total else raw.mean())


def balance(gamma, constant=False, numerator=False, sign=1):
    """Exercise 06b, and its mistakes by flag."""
    if constant:                                        # weights that do not change: no push only at b = 0
        return 0.0
    return -gamma / 2 if numerator else (sign * (2 + gamma) ** 0.5 - 1) / (1 + gamma)


def slope(p, by_p=False, sign=-1):
    """Exercise 06c, and its mistakes by flag."""
    return sign * (1 + math.log(p)) * (1 if by_p else p)


def dpo(chosen, rejected, beta, mean=False, ref=1, swap=False, end=True):
    """Exercise 07a, and its mistakes by flag."""
    def ratio(side):
        p, q = (x if end else x[:-1] or [0.0] for x in side)
        return (sum(p) - ref * sum(q)) / (len(p) if mean else 1)
    h = beta * (ratio(chosen) - ratio(rejected)) * (-1 if swap else 1)
    return math.log1p(math.exp(-h))


def slopes(features=(1.0, 0.0, 3.0), normaliser=True):
    """Exercise 07b, and a mistake by flag."""
    return features[0] - features[1], features[0] - normaliser * sum(features) / 3


def rest(e, beta, sign=1, half=2):
    """Exercise 07c, and its mistakes by flag."""
    return sign * math.log((1 - e) / e), 1 / (half * beta)


def kto_kl(ratios, early=False):
    """Exercise 08a, and a mistake by flag."""
    return max(0.0, sum(max(0.0, r) if early else r for r in ratios) / len(ratios))


def good(r, k, beta, twice=False, turned=False):
    """Exercise 08a, and its mistakes by flag."""
    z = beta * (r - (beta * k if twice else k)) * (-1 if turned else 1)
    return 1 - 1 / (1 + math.exp(-z))


def odds(losses, total=False):
    """Exercise 08b, and a mistake by flag."""
    a = -sum(losses) / (1 if total else len(losses))
    return a - math.log1p(-math.exp(a))


def simpo(chosen, rejected, beta, gamma, total=False, ratio=False, sign=-1):
    """Exercise 08c, and its mistakes by flag."""
    w, l = (sum(x) / (1 if total else len(x)) for x in (chosen, rejected))
    return math.log1p(math.exp(-(beta * (w - l) + sign * gamma * (beta if ratio else 1))))


def cpo(chosen, rejected, nll=True):
    """Exercise 08d, and a mistake by flag."""
    return math.log1p(math.exp(rejected - chosen)) - nll * chosen


def tpo(chosen, rejected, gold, mine=True):
    """Exercise 08d, and a mistake by flag."""
    return math.log1p(math.exp(rejected - chosen)) - (gold if mine else chosen)


def tis(chosen, rejected, w_chosen, w_rejected, beta, end=True, norm=False):
    """Exercise 12a, and its mistakes by flag."""
    def side(x, w):
        w = w if end else [*w[:-1], 0.0]
        return sum(a * b for a, b in zip(x, w)) / (sum(w) if norm else 1)
    return math.log1p(math.exp(-beta * (side(chosen, w_chosen) - side(rejected, w_rejected))))


def gdpo(h, p, beta, swap=False, outside=False):
    """Exercise 12b, and its mistakes by flag."""
    c = (2 * p - 1) * (-1 if swap else 1)
    return beta * c / (1 + math.exp(beta * (1 if outside else c) * h))


def cdpo(h, e, beta, swap=False):
    """Exercise 12b, and a mistake by flag."""
    up = 1 / (1 + math.exp(beta * h))
    return beta * (e * up - (1 - e) * (1 - up) if swap else (1 - e) * up - e * (1 - up)) * (-1 if swap else 1)


def tau(z, rho, log2=True):
    """Exercise 12c, and a mistake by flag: the least of many."""
    def pays(t):
        return t * math.log1p(math.exp(-abs(z) / t)) + (rho - log2 * math.log(2)) * t
    return min((0.1 + 0.001 * k for k in range(4901)), key=pays)


def una(i, grade, form, minus=False, mean=False, first=False, naive=False):
    """Exercise 09a, and its mistakes by flag."""
    grade = grade[:1].expand_as(grade) if first else grade
    log = (lambda x: torch.sigmoid(x).log()) if naive else torch.nn.functional.logsigmoid
    each = (torch.sigmoid(i) - grade) ** 2 if form == "mse" else -grade * log(i) - (1 - grade) * log(-i)
    each = -each if minus and form == "mse" else each
    return each.mean().expand_as(each) if mean else each


def uft_slope(i, beta, by_i=False, once=False, sign=-1, mean=1):
    """Exercise 10a, and its mistakes by flag."""
    s = 1 / (1 + math.exp(-i))
    return sign * 2 * (1 if by_i else beta) * s * (1 - s) ** (1 if once else 2) * mean


def poft(logp, mask, others, total=False, sign=1, probabilities=False, prompt=False):
    """Exercise 11a, and its mistakes by flag."""
    reduce = torch.sum if total else torch.mean
    r, bars = reduce(logp if prompt else logp[mask > 0]), torch.stack([reduce(x) for x in others])
    gap = sign * (r - (bars.exp().mean().log() if probabilities else bars.mean()))
    return torch.sigmoid(-gap), -torch.nn.functional.logsigmoid(gap)


def suspects(tau, k, most=False):
    """Exercise 11b, and a mistake by flag."""
    return tau.argsort(descending=most)[:k].tolist()


def precision(found, wrong, recall=False):
    """Exercise 11b, and a mistake by flag."""
    return sum(wrong[i] for i in found) / (sum(wrong) if recall else len(found))


def leave_one_out(R, own=False, across=False):
    """(P,K) rewards -> (P,K) advantages of RLOO."""
    if across:                                          # the answers of a group are not neighbours
        return leave_one_out(R.T).T
    K = R.shape[1]
    return R - (R.mean(1, keepdim=True) if own else (R.sum(1, keepdim=True) - R) / (K - 1))


def standardised(R, population=False, careful=True, across=False):
    if across:
        return standardised(R.T).T
    std = R.std(1, keepdim=True, correction=0 if population else 1)
    return (R - R.mean(1, keepdim=True)) / (std + (1e-4 if careful else 0))


def gae(R, V, lam, beyond=False, forwards=False):
    out, later, T = [0.0] * len(R), 0.0, len(R)
    for t in (range(T) if forwards else reversed(range(T))):
        following = V[t + 1] if t + 1 < T else (V[t] if beyond else 0.0)
        out[t] = later = R[t] + following - V[t] + lam * later
    return out


def clip(rho, A, eps, upper=False, larger=False, recomputed=False):
    rho = 1.0 if recomputed else rho
    near = min(rho, 1 + eps) if upper else min(max(rho, 1 - eps), 1 + eps)
    if upper:                                           # one side of the clip, whatever the sign
        return -near * A
    return -(max if larger else min)(rho * A, near * A)


def bound(length, padded, width, alpha, padded_too=False, root=True, inside=False):
    """Exercise 16a, and its mistakes by flag."""
    size = (padded if padded_too else length) * width
    return (alpha / size) ** 0.5 if inside else alpha / (size ** 0.5 if root else size)


def half_frozen(put_back=True, redrawn=False, whole=False):
    """Exercise 16b, and its mistakes by flag."""
    layer = torch.nn.Linear(4, 4)
    before = layer.weight.detach().clone()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.5)
    for step in range(3):
        rows = [0, 1, 2, 3] if whole else [step, step + 1] if redrawn else [0, 1]
        now = layer.weight.detach().clone()
        optimizer.zero_grad(), layer(torch.ones(1, 4)).square().sum().backward()
        layer.weight.grad[rows] = 0
        optimizer.step()
        if put_back:
            layer.weight.data[rows] = now[rows]
    return before, layer.weight.detach()


def places(mask_a, mask_b, zero=False, cut=True):
    """Exercise 16c, and its mistakes by flag."""
    a, b = ([i for i, m in enumerate(mask) if m] for mask in (mask_a, mask_b))
    n = min(len(a), len(b))
    return (list(range(n)), list(range(n))) if zero else (a[:n], b[:n]) if cut else (a, b)


def paired_interval(d, z=False, n=1, root=True, half=True):
    """Exercise 17a, and its mistakes by flag."""
    d = torch.tensor(d, dtype=torch.float64)
    t = 1.96 if z else {3: 4.303, 5: 2.776}[len(d)]
    width = t * d.std(correction=n).item() / (len(d) ** 0.5 if root else len(d))
    return d.mean().item(), width if half else 2 * width


def pass_verdict(mean, half, threshold, mean_only=False, two=False, zero=False):
    """Exercise 17b, and its mistakes by flag."""
    threshold, half = 0 if zero else threshold, 0 if mean_only else half
    if mean - half > threshold:
        return "holds"
    return "does not hold" if two or mean + half < threshold else "undecided"


Q = torch.ones(2, 4)
K = torch.tensor([[3.0], [1.0]]).log() * 0.5 * Q[:1]
V = torch.tensor([[0.0, 1, 0, 0], [4, 1, 0, 0]])
def pair_loss(r, last, sign=1, naive=False, at_pad=False):
    w, l = (row[-1 if at_pad else i].double() for row, i in zip(r, last))
    gap = sign * (w - l)
    return -torch.sigmoid(gap).log() if naive else -torch.nn.functional.logsigmoid(gap)


def best_of_n(n, likes, scores, cheat=False, first=False, every=False):
    likes, places = scores if cheat else likes, range(len(likes))
    subsets = [places[:n]] if first else [places] if every else list(itertools.combinations(places, n))
    return sum(scores[max(some, key=lambda i: likes[i])] for some in subsets) / len(subsets)


def kl_bound(n):
    return math.log(n) - (n - 1) / n


def taste(x, steps, sign=1, mean=False):
    w = torch.zeros(x.shape[1])
    for _ in range(steps):
        w += 0.1 * (x * torch.sigmoid(-x @ w)[:, None]).mean(0)
    return x.mean(0) if mean else sign * w


GIVEN = {"02": {"W": world.WORLD}, "01": {"q": Q, "k": K, "v": V, "y": torch.tensor([[0.0, 1, 0, 0], [1, 1, 0, 0]])},
         "03": {"tok": Tokenizer.load("nano")},
         "05L": {"lakes": {name: make_lake(name) for name in ("twoway5", "corridor4")}},
         **{f"{lesson:02}": {} for lesson in (0, *range(4, 18))}}
SOLUTIONS = {                   # exercise: (name, what is right, what is wrong); two names: pairs of values
    "00b": ("my_score", mark, [dict(item=True), dict(strict=True), dict(substring=True)]),
    "01a": ("my_attention", attention, [dict(scale=False), dict(diagonal=-1), dict(axis=0), dict(late=True),
                                        dict(diagonal=1)]),
    "01b": ("MyCache", MyCache, [dict(old=True), dict(mixed=True), dict(twice=True)]),
    "01c": ("my_count", 300, [300 + 8 * 4, 300 - 36, 300 - 36 - 12]),         # head twice; no biases
    "02a": ("my_perplexity", perplexity, [dict(log=math.log2), dict(exp_first=True), dict(each=True)]),
    "02b": ("my_leak", leak, [dict(equal=True), one_wording, *(dict(questions=q) for q in (
        (True, True), (True, False), (False, True)))]),
    "02c": ("my_kl", kl, [dict(swapped=True), dict(axis=0), dict(mean=True), dict(careful=False)]),
    "03a": ("my_mask", mask, [dict(end=False), dict(header=True), dict(shift=0), dict(shift=2)]),
    "03b": ("my_means", means, [dict(padded=True)]),
    "03c": ("my_chat", chat, [dict(last=0), dict(last=2), dict(drop=True)]),
    "04a": ("my_drift", drift, [dict(linear=True), dict(late=1)]),
    "04b": ("my_gradient", gradient, [dict(unweighted=True), dict(sign=-1), dict(alone=True)]),
    "04c": ("my_cards", CARDS, [{**CARDS, "DPO stored": "do"}, {**CARDS, "SFT": "o"}]),
    "05a": ("my_guess", guess, [dict(shift=0), dict(shift=2), dict(prompt=True)]),
    "05b": ("my_blend", blend, [dict(swapped=True), dict(added=True)]),
    "05c": ("my_ghosts my_right", lake(), [lake(walls=False), lake(holes=True), lake(true_state=True)]),
    "05e": ("my_ghosts", count_ghosts, [dict(true_state=True), dict(walls=False), dict(own=True), dict(early=True)]),
    "06a": ("my_weights", weights, [dict(backwards=True), dict(algorithm1=True), dict(total=True)]),
    "06b": ("my_balance", balance, [dict(constant=True), dict(numerator=True), dict(sign=-1)]),
    "06c": ("my_slope my_p_where_it_flips", (slope, 1 / math.e), [
        (partial(slope, by_p=True), 1 / math.e), (partial(slope, sign=1), 1 / math.e), (slope, 0.5)]),
    "07a": ("my_dpo", dpo, [dict(mean=True), dict(ref=0), dict(swap=True), dict(ref=-1), dict(end=False)]),
    "07b": ("my_slopes", slopes, [dict(normaliser=False), dict(features=(1.0, 0.0, 0.0))]),
    "07c": ("my_rest", rest, [dict(sign=-1), dict(half=1)]),
    "08a": ("my_k my_good", (kto_kl, good), [(partial(kto_kl, early=True), good), (kto_kl, partial(good, twice=True)),
                                             (kto_kl, partial(good, turned=True))]),
    "08b": ("my_log_odds", odds, [dict(total=True)]),
    "08c": ("my_simpo", simpo, [dict(total=True), dict(ratio=True), dict(sign=1)]),
    "09a": ("my_una", una, [dict(minus=True), dict(mean=True), dict(first=True), dict(naive=True)]),
    "09b": ("my_z my_gap", (2.0, math.log(2)), [(2.0, 0.0), (2.0, 1.0), (4.0, math.log(4))]),      # cancels; log2; ref
    "10a": ("my_slope my_sigma", (uft_slope, 1 / 3), [
        (partial(uft_slope, by_i=True), 1 / 3), (partial(uft_slope, once=True), 1 / 3),
        (partial(uft_slope, sign=1), 1 / 3), (partial(uft_slope, mean=10), 1 / 3), (uft_slope, 0.5)]),
    "11a": ("my_poft", poft, [dict(total=True), dict(sign=-1), dict(probabilities=True), dict(prompt=True)]),
    "11b": ("my_suspects my_precision", (suspects, precision), [
        (partial(suspects, most=True), precision), (suspects, partial(precision, recall=True))]),
    "12a": ("my_tis", tis, [dict(end=False), dict(norm=True)]),
    "12b": ("my_gdpo my_cdpo", (gdpo, cdpo), [(partial(gdpo, swap=True), cdpo), (partial(gdpo, outside=True), cdpo),
                                              (gdpo, partial(cdpo, swap=True))]),
    "12c": ("my_tau", tau, [dict(log2=False), lambda z, rho: min(max(z / 1.41894, 0.1), 5.0)]),
    "13a": ("my_loss", pair_loss, [dict(sign=-1), dict(naive=True), dict(at_pad=True)]),
    "13b": ("my_best_of my_bound", (best_of_n, kl_bound), [
        (partial(best_of_n, cheat=True), kl_bound), (partial(best_of_n, first=True), kl_bound),
        (partial(best_of_n, every=True), kl_bound), (best_of_n, math.log)]),
    "13c": ("my_taste", taste, [dict(sign=-1), dict(mean=True)]),
    "14a": ("my_rloo", leave_one_out, [dict(own=True), dict(across=True)]),
    "14b": ("my_grpo", standardised, [dict(population=True), dict(careful=False), dict(across=True)]),
    "15a": ("my_gae", gae, [dict(beyond=True), dict(forwards=True)]),
    "15b": ("my_clip", clip, [dict(upper=True), dict(larger=True), dict(recomputed=True)]),
    "16a": ("my_bound", bound, [dict(padded_too=True), dict(root=False), dict(inside=True)]),
    "16b": ("my_training", half_frozen, [dict(put_back=False), dict(redrawn=True), dict(whole=True)]),
    "16c": ("my_places", places, [dict(zero=True), dict(cut=False)]),
    "17a": ("my_interval", paired_interval, [dict(z=True), dict(n=0), dict(root=False), dict(half=False)]),
    "17b": ("my_verdict", pass_verdict, [dict(mean_only=True), dict(two=True), dict(zero=True)]),
    "08d": ("my_cpo my_tpo", (cpo, tpo), [(cpo, partial(tpo, mine=False)), (partial(cpo, nll=False), tpo)]),
}


def lesson_of(exercise: str) -> Path:
    (file,) = [f for f in LESSONS if f"**{exercise}**" in f.read_text(encoding="utf-8")]
    return file


def check_of(file: Path, names: list[str]) -> str:
    """The check that uses these names."""
    return next(check for check in checks(file) if all(name in check for name in names))


@pytest.mark.parametrize("exercise", SOLUTIONS)
def test_exercises_tell_right_from_wrong(exercise):
    file = lesson_of(exercise)
    name, right, mistakes = SOLUTIONS[exercise]
    names = name.split()
    check = check_of(file, names)

    def space(value) -> dict:
        return imports(file) | GIVEN[number(file)] | dict(zip(names, value if len(names) > 1 else [value]))
    exec(check, space(right))
    for mistake in mistakes:
        wrong = partial(right, **mistake) if callable(right) and isinstance(mistake, dict) else mistake
        with pytest.raises((AssertionError, RuntimeError, IndexError)):        # refused, or it cannot even run
            exec(check, space(wrong))


def test_every_check_belongs_to_an_exercise_of_the_table(lesson):
    here = [exercise for exercise in SOLUTIONS if lesson_of(exercise) == lesson]
    assert {check_of(lesson, SOLUTIONS[exercise][0].split()) for exercise in here} == set(checks(lesson))


# ---- what the text of an exercise asks for is what its check calls ---------------------------------------------------

def texts(file: Path) -> dict[str, str]:
    """{"03a": its text}: from the number in bold to the next one, or to the end of the cell."""
    out: dict[str, str] = {}
    for kind, lines in cells(file.read_text(encoding="utf-8")):
        if kind == "markdown":
            text = " ".join(line.removeprefix("#").strip() for line in lines)
            parts = re.split(r"\*\*(\d\d[a-z])\*\*", text)
            out |= dict(zip(parts[1::2], parts[2::2]))
    return out


def signatures(text: str) -> dict[str, inspect.Signature]:
    """{"my_mask": (tokens)}: every name with arguments that stands in backticks."""
    out: dict[str, inspect.Signature] = {}
    for name, arguments in re.findall(r"`(\w+)\(([^`]*)\)`", text):
        space: dict = {}
        try:
            exec(f"def {name}({arguments}): pass", space)
        except SyntaxError:                                 # a call such as f(2), not a signature
            continue
        found = inspect.signature(space[name])
        assert out.setdefault(name, found) == found, f"the text gives two signatures of {name}"
    return out


def test_signatures_are_read_from_a_text():
    found = signatures("Write `my_mask(tokens, trained)`, not `my_mask` or `f(2)`; and `add(k, v=1)`.")
    assert {name: str(signature) for name, signature in found.items()} == {
        "my_mask": "(tokens, trained)", "add": "(k, v=1)"}


@pytest.mark.parametrize("exercise", SOLUTIONS)
def test_the_text_gives_the_signature_that_the_check_calls(exercise):
    file = lesson_of(exercise)
    text = texts(file)[exercise]
    said = signatures(text)
    name, right, _ = SOLUTIONS[exercise]
    names = name.split()
    called = set()

    def watched(name: str, value):
        """The right answer, which takes the arguments that the text names and no others."""
        def call(*args, **kwargs):
            called.add(name)
            try:
                said[name].bind(*args, **kwargs)
            except TypeError as e:
                pytest.fail(f"{exercise}: the text says {name}{said[name]}, the check: {e}")
            return value(*args, **kwargs)
        return call

    values = dict(zip(names, right if len(names) > 1 else [right]))
    for name, value in values.items():
        assert f"`{name}" in text or f"`class {name}" in text, f"{exercise}: the text does not say {name}"
        if isinstance(value, type):
            for method in [m for m in vars(value) if callable(getattr(value, m)) and not m.startswith("_")]:
                _, *parameters = inspect.signature(getattr(value, method)).parameters
                assert list(said[method].parameters) == parameters, f"{exercise}: {method} is called otherwise"
        elif callable(value):
            assert name in said, f"{exercise}: the text does not say how {name} is called"
            values[name] = watched(name, value)
    exec(check_of(file, names), imports(file) | GIVEN[number(file)] | values)
    assert called == {name for name in names if callable(values[name]) and not isinstance(values[name], type)}
