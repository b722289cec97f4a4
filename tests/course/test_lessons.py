"""Every lesson has the form of a lesson; a guess is asked and told; your parts take the place of
ours; mine.py grows from lesson to lesson; notebooks; and the equations of lessons/papers/extras are
the losses of their code. The figures of a lesson are in the tests of its group."""
import ast
import copy
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from equation_parser import known, value
from made import CPU, NANO, Form, batch_of, killed_in_step, learn, logits, nano, same, start_folder
from programs.right import stages
from test_equations import step

from lessons.__main__ import main
from lessons.behind.exam import verbal_questions
from lessons.behind.lesson_list import FOLDER, LESSONS, NUMBERS, PARTS, ROOT, contracts, lesson_head
from lessons.behind.tasks.task import tasks
from lessons.behind.website import pages
from lessons.papers.extras import ingredient_substitution, povid, ts_dpo
from lessons.papers.extras.ts_dpo import TSDPO, linear_logits, weights_of
from nanouft import simple, train
from nanouft.batch import write_logp
from nanouft.playground.docstrings import equations, method_docstring
from nanouft.run.reference import FrozenModels

HEADINGS = ["What happened", "Change one thing", "To hand in", "Your own program", "Two questions"]
OWN = [name for name, task in tasks().items() if task.file == "mine.py"]


# ---- the form of a lesson ------------------------------------------------------------------------
def test_the_numbers_are_the_order_and_the_parts_are_those_of_the_judge():
    assert [*NUMBERS] == [f"{k:02}" for k in range(len(LESSONS))]
    assert {*PARTS} == {*OWN}
    assert len(PARTS) == sum(len(contracts(file)) for file in LESSONS), "each is asked for once"


@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.stem)
def test_a_lesson_is_one_question_on_one_page(file):
    """A head, a guess that is answered on the same page, a loop that one sees, and its ends."""
    code = file.read_text("utf-8")
    text = "".join(re.findall(r"^# ?(.*\n|\n)", code, re.M))
    number, head = file.name[:2], lesson_head(file)
    assert head.title.startswith(f"{number} · ") and "?" in head.question
    assert re.match(r"\d\d minutes; (it )?needs (nothing|\d\d)", head.about), head.about
    needed = re.search(r"needs ([^.;]*)", head.about)[1]
    assert all(other < number for other in re.findall(r"\b\d\d\b", needed))
    own = contracts(file)
    assert all(f"`{x}`" in head.about.partition("You write")[2] for x in own)
    found = re.findall(r"^## (.*)$", text, re.M)
    assert [x for x in found if x in HEADINGS] == [
        x for x in HEADINGS if x != "Your own program" or own or x in found]
    lines = code.splitlines()
    assert 120 <= len(lines) <= 185
    asked, = (k for k, line in enumerate(lines) if re.match(r"guess = ask\(", line))
    told, = (k for k, line in enumerate(lines) if "tell(guess" in line)
    assert 0 < told - asked < 120
    question = re.search(r"^guess = ask\((.*?)\)$", code, re.M | re.S)[1]
    assert not re.search(r"[$`]", question), "on a terminal it is plain text"
    for words in ("assert ", "Lesson(", "--change", "\ndef train(", "docs/terms.md"):
        assert words not in code
    assert ".backward()" not in code or "for step in range(" in code, "the loop is on the page"
    assert code.count("<details><summary>After your runs</summary>") == 1
    assert code.count("<details>") == code.count("</details>")
    assert len(verbal_questions(number)) == 2
    for name in re.findall(r"`((?:lessons|nanouft|frozen_lake|docs)/[\w/]+\.\w+)`", text):
        assert (ROOT / name).exists(), f"the text names {name}"


def test_a_contract_has_the_arguments_with_which_the_program_is_called():
    for file in LESSONS:
        for name, text in contracts(file).items():
            stub, = ast.parse(text + "\n    raise NotImplementedError").body
            right, = ast.parse(tasks()[name].source).body
            assert [x.arg for x in stub.args.args] == [x.arg for x in right.args.args], name
            assert ast.get_docstring(stub)


def test_the_course_names_its_lessons_and_begins_with_the_first(capsys):
    assert main([]) == 0
    said = capsys.readouterr().out
    assert f"Begin with python {LESSONS[0].relative_to(ROOT).as_posix()}\n" in said
    assert re.findall(r"^  (\d\d)  .* \d\d minutes", said, re.M) == [*NUMBERS]
    assert all(part in said for part in PARTS)


# ---- a guess -------------------------------------------------------------------------------------
@pytest.fixture
def course(monkeypatch, tmp_path):
    """course.py as a lesson has it, and an empty folder for what it keeps."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", ["05_pairs.py"])
    read = runpy.run_path(str(FOLDER / "course.py"))
    assert read["OUT"] == ROOT / "out" / "lessons", "wherever a lesson is started"
    read["tell"].__globals__["OUT"] = tmp_path / "out"
    return read


@pytest.mark.parametrize("flags, typed, answers, said", [
    (["--guess", "b"], [], "a b c", "b"), (["--guess", "none"], [], "a b c", ""),
    ([], ["60"], "0 to 100", "60"), ([], ["-3.5"], "-20 to 0", "-3.5"), ([], [""], "a b", ""),
    ([], ["x", "101", "many", "nan", "7"], "0 to 100", "7"), (["--guess", "e"], ["A"], "a b", "a"),
    (["--guess"], ["b"], "a b", "b")])
def test_a_guess(flags, typed, answers, said, monkeypatch, course):
    monkeypatch.setattr(sys, "argv", ["00.py", *flags])
    monkeypatch.setattr("builtins.input", lambda _: typed.pop(0))
    assert course["ask"]("Which?", answers) == said and not typed


def test_without_a_terminal_a_lesson_says_how_to_guess_and_on_a_page_nobody_is_asked(
        monkeypatch, course, capsys):
    def nobody(_):
        raise error
    monkeypatch.setattr("builtins.input", nobody)
    error = EOFError()
    with pytest.raises(SystemExit) as end:
        course["ask"]("Which?", "a b c")
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: guess first: python 05_pairs.py --guess a\n"
    error = RuntimeError()                              # as a kernel's StdinNotImplementedError
    assert course["ask"]("Which?", "a b c") == ""


@pytest.mark.parametrize("started, kept", [("/x/05_pairs.py", "05_pairs"),
                                           ("/x/ipykernel_launcher.py", "a notebook")])
def test_guess_and_result_are_told_and_kept(started, kept, course, monkeypatch, tmp_path, capsys):
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", [started])
    course["tell"]("-3", -13.311, "nats")
    course["tell"]("", "c")
    assert capsys.readouterr().out == (
        "\nYour guess: -3. Result: -13.3 nats.\n\nYour guess: none. Result: c.\n")
    assert (tmp_path / "out" / "guesses.txt").read_text() == (
        f"{kept}  guess -3  result -13.3 nats\n{kept}  guess none  result c\n")


def test_a_table_of_tokens_and_a_picture(course, tmp_path, capsys):
    capsys.readouterr()
    tok = simple.nano()
    course["show"](tok, torch.tensor([tok.end, tok.pad]), p=torch.tensor([0.25, 1.0]))
    course["curves"]("05", [0, 1], {"chosen": [1, 2]}, "log p")
    said = capsys.readouterr().out.splitlines()
    assert said[1].split() == ["<|end|>", "0.25"] and len(said) == 3
    assert (tmp_path / "out" / "05.png").stat().st_size < 100_000


# ---- your own program ----------------------------------------------------------------------------
@pytest.fixture
def start(tmp_path):
    """A clone of the project in which a lesson begins with this mine.py: what it says."""
    there = tmp_path / FOLDER.relative_to(ROOT)
    there.mkdir(parents=True)
    for name in ("pyproject.toml", "nanouft", "lessons/behind", "lessons/papers",
                 "lessons/__init__.py", "lessons/__main__.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    (there / "course.py").write_text((FOLDER / "course.py").read_text("utf-8"), "utf-8")
    (there / "00.py").write_text("import course, mine\nfrom nanouft import simple\n"
                                 "print('trained', simple.token_logp is mine.token_logp,\n"
                                 "      course.ours['token_logp'] is mine.token_logp)")

    def start(mine: str) -> subprocess.CompletedProcess:
        (there / "mine.py").write_text(f"from nanouft.simple import *\n{mine}")
        env = {name: x for name, x in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run([sys.executable, there / "00.py"], capture_output=True, text=True,
                              cwd=there, env=env)
    return start


def test_your_parts_take_the_place_of_ours_once_they_are_right(start, tmp_path):
    """In simple.py, too: our sft_loss calls your token_logp. The judge is asked once for each state
    of the file."""
    part = stages()["00"]
    ran = start(part)
    assert ran.stdout.endswith("From your mine.py: token_logp\ntrained True False\n"), ran
    assert "1 of 1 right" in ran.stdout
    assert (tmp_path / "out/lessons/mine_was_right.py").exists()
    assert "1 of 1 right" not in start(part).stdout
    ran = start(part.replace("log_softmax", "softmax"))
    assert "These are probabilities. The logarithm is missing." in ran.stdout
    assert ran.stderr.startswith("error: fix this part of mine.py first") and ran.returncode == 2
    assert "trained" not in ran.stdout


@pytest.mark.parametrize("mine, words", [
    ("def token_logp(:", "SyntaxError: invalid syntax"), ("1 / 0", "ZeroDivisionError: division"),
    ("def show():\n    return 'no part, so it takes no place of ours'", "")])
def test_a_slip_in_mine_py_is_one_clear_line(mine, words, start):
    ran = start(mine)
    if words:
        line, = ran.stderr.splitlines()
        assert "mine.py, line 2: " + words in line and line.startswith("error: ")
        assert (ran.returncode, ran.stdout) == (2, "")
    else:
        assert ran.stdout == "trained True True\n"


@pytest.mark.slow
def test_mine_grows_from_lesson_to_lesson(tmp_path):
    """The judge finds the parts of each lesson right once they are there, and in the end all."""
    mine = tmp_path / "mine.py"
    mine.write_text((FOLDER / "mine.py").read_text())

    def told(which: str) -> str:
        return subprocess.run([sys.executable, "-m", "lessons", "check", which, "--folder",
                               tmp_path], capture_output=True, text=True, cwd=ROOT).stdout
    assert told("mine").count("not started") == len(OWN)
    for number, text in stages().items():
        mine.write_text(mine.read_text() + text)
        parts = [x for x in re.findall(r"^def (\w+)", text, re.M) if x in OWN]
        assert f"\n{len(parts)} of {len(parts)} right." in told(number)
    assert f"\n{len(OWN)} of {len(OWN)} right." in told("mine")


# ---- notebooks -----------------------------------------------------------------------------------
def test_a_notebook_outside_the_project_finds_it_or_says_how(tmp_path, monkeypatch):
    cell = pages.PROJECT.format(repository="", name="05_pairs.py",
                                lessons=FOLDER.relative_to(ROOT).as_posix())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(ModuleNotFoundError, match="folder, under the name nanouft, beside"):
        exec(cell, {})
    (tmp_path / "nanouft").symlink_to(ROOT)
    exec(cell, {})
    assert [Path(x).resolve() for x in sys.path] == [ROOT, FOLDER]
    assert sys.argv == ["05_pairs.py"], "whose guess is kept under this name"


@pytest.mark.parametrize("file", LESSONS, ids=lambda file: file.stem)
def test_a_notebook_has_a_stub_for_each_part_of_its_lesson_before_the_questions(
        file, tmp_path, capsys):
    """Which is "not started" where it stands. What the notebook has named as another part is still
    there afterwards."""
    pytest.importorskip("jupytext", reason='no jupytext here: pip install -e ".[pages]"')
    pages.write_notebook(file, tmp_path, "")
    cells = ["".join(x["source"]) for x in json.loads(
        (tmp_path / f"{file.stem}.ipynb").read_text("utf-8"))["cells"]]
    own = [*contracts(file)]
    first = len(cells) - 1 - len(own)
    assert cells[-1].startswith("## Two questions") and file.name in cells[1]
    for cell, name in zip(cells[first:-1], own):
        assert cell.endswith(f"\n\ncheck({name})")
        space = dict.fromkeys(OWN, "the notebook's")
        exec(cell.replace("from mine import *\n", ""), space)
        assert "not started" in capsys.readouterr().out
        assert [x for x in OWN if space[x] != "the notebook's"] == [name]


# ---- lessons/papers/extras -----------------------------------------------------------------------
def test_the_equation_of_a_loss_of_the_course_is_the_loss_of_the_code():
    o = TSDPO(beta=0.7)
    line, = equations(str(o), method_docstring(type(o)))
    batch = step(Form("dpo"), o)
    leaves = [s.logp.requires_grad_() for s in (batch.seqs["chosen"], batch.seqs["rejected"])]
    told, ours = value(line.loss, known(line, batch, o, "answer")).mean(), o.loss(batch)[0]
    same(told.detach(), ours.detach(), 1e-9)
    for x, y in zip(*(torch.autograd.grad(loss, leaves) for loss in (told, ours))):
        same(x, y, 1e-9)


def test_the_logits_of_the_linear_model_are_the_tangent_of_the_networks():
    """By a central difference; and the changes of two directions add up."""
    model, inputs, at = nano().double(), torch.arange(12).view(2, 6), torch.arange(12)
    start, rng = weights_of(model), torch.Generator().manual_seed(0)
    one, two = ({name: torch.randn(p.shape, generator=rng, dtype=p.dtype)
                 for name, p in start.items()} for _ in range(2))
    both, moving = {name: one[name] + two[name] for name in start}, copy.deepcopy(model)

    def moved(size: float) -> torch.Tensor:
        weights = {name: start[name] + size * one[name] for name in start}
        with torch.no_grad():
            for name, p in moving.named_parameters():
                p.copy_(weights[name])
            return logits(moving, inputs).view(12, -1)

    def change(direction: dict) -> torch.Tensor:
        return (linear_logits(model, start, direction, inputs, at) - moved(0)).detach()
    same(change(one), (moved(1e-6) - moved(-1e-6)) / 2e-6, 1e-6)
    same(change(both), change(one) + change(two), 1e-9)


def test_the_first_step_of_ts_dpo_is_that_of_dpo():
    form, model, objective = Form("dpo"), nano().double(), TSDPO()
    batch = batch_of(form)
    with torch.no_grad():
        write_logp(model, batch)
    for s in batch.seqs.values():
        s.ref_logp = s.logp.clone()                             # of the start
    loss, want = learn(form, model, [batch])
    same(loss, torch.tensor(2.0).double().log(), 1e-12)
    FrozenModels(model, NANO.pad, CPU).prepare([], objective)
    form.objective = objective
    again, got = learn(form, model, [batch])
    same(again, loss, 1e-12)
    same(got, want, 1e-9)


def test_a_run_of_ts_dpo_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    """Its start is that of the run and not that of the checkpoint."""
    monkeypatch.chdir(tmp_path)
    start_folder(Path("start"))
    line = ["--objective", ts_dpo.__file__, *"--init start --rows 8 --steps 4 --batch-size 4 "
            "--plain --save-every 1 --out".split()]
    train.main([*line, "whole"])
    with killed_in_step(3), pytest.raises(KeyboardInterrupt):
        train.main([*line, "broken"])
    train.main(["--resume", "broken", "--objective", ts_dpo.__file__])
    whole, broken = (Path(name, "model.safetensors").read_bytes() for name in ("whole", "broken"))
    assert whole == broken


def pictures(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return povid.cut(povid.draw(rng, povid.choose_objects(rng, 5, usual=0.5))).double()


def test_behind_a_projection_of_zeros_no_answer_depends_on_the_picture():
    model, chosen = povid.SeeingGPT(0).double(), povid.sequences(
        torch.arange(30).view(5, 6) % len(povid.WORDS))
    one, two = (model.logp(pictures(seed), chosen) for seed in (1, 2))
    assert (one - two).abs().max() > 0.01
    torch.nn.init.zeros_(model.look.weight)
    same(*(model.logp(pictures(seed), chosen) for seed in (1, 2)))
    assert model.answer(pictures(1)).equal(model.answer(pictures(2)))


def test_the_equation_of_povid_is_the_loss_of_the_code():
    """The log-ratios are computed from logits, with the clear picture for every answer."""
    line, = equations("povid", povid.__doc__)
    model, start, seed = povid.SeeingGPT(0), povid.SeeingGPT(1), [3, 4]
    loss = povid.povid(model, start, np.random.default_rng(seed), "planted + noised")

    rng = np.random.default_rng(seed)
    objects = povid.choose_objects(rng, povid.ROWS, usual=0.5)
    clear = povid.draw(rng, objects)
    chosen, planted = povid.sequences(povid.describe(objects)), povid.planted(rng, objects)
    dim = povid.KEPT**0.5 * clear + (1 - povid.KEPT)**0.5 * rng.standard_normal(clear.shape)
    noised = povid.noised(model, povid.cut(dim), chosen)
    assert (noised.targets != chosen.targets).any()

    def log_ratio(s) -> torch.Tensor:
        nats = []
        for network in (model, start):
            z = network.head(network(embeds=network.embed(povid.cut(clear), s.inputs)))
            each = -F.cross_entropy(z.mT, s.targets, reduction="none")
            nats.append((each * s.mask).sum(-1))
        return nats[0] - nats[1]
    given = {"beta": torch.tensor(povid.BETA), "r_w": log_ratio(chosen),
             "r_planted": log_ratio(planted), "r_noised": log_ratio(noised)}
    same(value(line.loss, given.__getitem__).mean().detach(), loss.detach(), 1e-5)


def test_a_planted_object_is_never_in_the_picture():
    """It is the companion, if the picture lacks it."""
    rng = np.random.default_rng(0)
    objects = povid.choose_objects(rng, 500, usual=0.5)
    right, wrong = povid.describe(objects), povid.planted(rng, objects).targets[:, -6:]
    assert right[:, :3].equal(wrong[:, :3])
    assert (right[:, 3:5] != wrong[:, 3:5]).any(1).all()
    lacks = torch.from_numpy(objects[:, 1] != povid.companion(objects[:, 0]))
    usual = np.stack([objects[:, 0], povid.companion(objects[:, 0])], 1)
    assert wrong[lacks].equal(povid.describe(usual)[lacks]) and lacks.any() and not lacks.all()


def test_held_out_dishes_are_new_and_a_rejected_substitute_is_right_elsewhere():
    files = ingredient_substitution.make_rows()
    old = {row["prompt"].partition(".")[0] for row in files["sft.jsonl"]}
    assert old.isdisjoint(row["prompt"].partition(".")[0] for row in files["new.jsonl"])
    assert len(files["new.jsonl"]) == 48, "as its docstring says"
    for row in files["pairs.jsonl"]:
        options = ingredient_substitution.SUBSTITUTES[row["prompt"].rpartition(" ")[2].rstrip("?")]
        assert {row["chosen"], row["rejected"]} < {*options} and row["chosen"] != row["rejected"]


def test_a_hit_is_the_first_answer_and_nothing_but_the_substitute():
    said = ["Oat milk.", "oat milk\nor yoghurt", "Use oat milk", "yoghurt", ""]
    assert ingredient_substitution.hit(said, ["oat milk"] * 5) == [1, 1, 0, 0, 0]
