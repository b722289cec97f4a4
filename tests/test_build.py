"""Your own program: right parts pass in any style, listed mistakes are refused and named, and at
the end the whole program runs on the student's functions alone."""
import inspect
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lessons.classroom import build, build_parts, judge
from lessons.classroom.mistakes import MISTAKES, with_mistakes
from nanouft import simple, world
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.user_code import load

HEAD = """import copy, math, statistics
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from nanouft.simple import BETA, FALL, GAMMA, KL, LAM, METHODS, MU, MU_END, ROWS
from nanouft.simple import sample_answers, tokens


"""
OURS = HEAD + "\n\n".join(inspect.getsource(ours) for ours in build_parts.OURS.values())
OTHERWISE = HEAD + '''
def padded(chats, tok):
    T = max(len(ids) for ids, _ in chats) + 3               # longer than needed
    ids = np.full((len(chats), T), tok.pad)
    counts = np.zeros((len(chats), T), dtype=np.float32)
    for k, (some, mask) in enumerate(chats):
        ids[k, :len(some)], counts[k, :len(some)] = some, mask
    return torch.tensor(ids[:, :-1]), torch.tensor(ids[:, 1:]), torch.tensor(counts[:, 1:])


def token_logp(logits, targets):
    return -F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(
        targets.shape)


def sft_loss(model, reference, rows, tok, step):
    total = 0
    for row in rows:                                        # each alone, without padding
        inputs, targets, mask = tokens([row], "answer", tok)
        total = total - token_logp(model(inputs), targets)[mask == 1].mean() / len(rows)
    return total


def train(model, rows, tok, objective, steps, reference=None):
    loss_of, _, rate, _ = METHODS[objective]
    start = copy.deepcopy(model) if reference is None else reference
    weights = list(model.parameters())
    m, v = [torch.zeros_like(p) for p in weights], [torch.zeros_like(p) for p in weights]
    up, losses = max(1, int(steps / 10 + 0.5)), []
    for k in range(steps):                                  # AdamW by hand
        loss = loss_of(model, start, rows[k * ROWS:][:ROWS], tok, k)
        slopes = torch.autograd.grad(loss, weights)
        norm = sum(g.square().sum() for g in slopes).sqrt().item()
        share = (k - up) / max(1, steps - up)
        now = rate * ((k + 1) / up if k < up else (1 + math.cos(math.pi * share)) / 2)
        with torch.no_grad():
            for p, g, a, b in zip(weights, slopes, m, v):
                g = g / max(1.0, norm)
                a.mul_(0.9).add_(0.1 * g)
                b.mul_(0.95).add_(0.05 * g * g)
                p -= now * a / (1 - 0.9 ** (k + 1)) / ((b / (1 - 0.95 ** (k + 1))).sqrt() + 1e-8)
        losses.append(loss.item())
        print("a line for each step")
    return np.array(losses)


def log_ratio(model, reference, rows, side, tok):
    inputs, targets, mask = tokens(rows, side, tok)
    with torch.no_grad():
        before = torch.einsum("bt,bt->b", token_logp(reference(inputs), targets), mask)
    return torch.einsum("bt,bt->b", token_logp(model(inputs), targets), mask) - before, mask.sum(1)


def dpo_loss(model, reference, rows, tok, step):
    margins = [log_ratio(model, reference, [row], "chosen", tok)[0]
               - log_ratio(model, reference, [row], "rejected", tok)[0] for row in rows]
    return F.softplus(-BETA * torch.cat(margins)).mean()


def una_loss(model, reference, rows, tok, step):
    nats, _ = log_ratio(model, reference, rows, "answer", tok)
    score = np.array([1 if row.score is None else row.score for row in rows], dtype=np.float32)
    return F.mse_loss(1 / (1 + torch.exp(-BETA * nats)), torch.from_numpy(score))


def poft_loss(model, aligned, rows, tok, step):
    nats, n = log_ratio(model, aligned, rows, "answer", tok)
    return torch.logaddexp(torch.zeros(len(rows)), -nats / n).sum() / len(rows)


def mix_in_own_guess(model, inputs, mask):
    guess, ids, counts = model(inputs).detach().numpy().argmax(-1), inputs.numpy(), mask.numpy()
    read = ids.copy()
    for row, t in zip(*counts[:, :-1].nonzero()):
        read[row, t + 1] = guess[row, t]
    embeds = [model(x, want="embeds").detach() for x in (inputs, torch.from_numpy(read))]
    return torch.lerp(*embeds, LAM)


def ift_loss(model, reference, rows, tok, step):
    inputs, targets, mask = tokens(rows, "answer", tok)
    nll = -token_logp(model(embeds=mix_in_own_guess(model, inputs, mask)), targets)
    losses = []
    for x, m in zip(nll, mask):                             # ragged: one answer after the other
        x = x[m == 1]
        apart = torch.arange(len(x))[None] - torch.arange(len(x))[:, None]
        weight = torch.where(apart >= 0, GAMMA ** apart.clamp(0), 0.0) @ x.detach()
        losses.append((weight / weight.mean()) @ x / len(x))
    return torch.stack(losses).mean()


def grpo_loss(model, reference, rows, tok, step):
    inputs, targets, mask, score = sample_answers(model, rows, tok, step)
    with torch.no_grad():
        before = token_logp(reference(inputs), targets)
    losses, logp = [], token_logp(model(inputs), targets)
    for prompt, scores in enumerate(score.tolist()):
        mean, sd = statistics.mean(scores), statistics.stdev(scores)
        for k, own in enumerate(scores):
            at = prompt * len(scores) + k
            x, d = logp[at][mask[at] == 1], (before - logp)[at][mask[at] == 1]
            gain = (own - mean) / (sd + 1e-4) * torch.exp(x - x.detach())
            losses.append(torch.mean(KL * (torch.expm1(d) - d) - gain))
    return sum(losses) / len(losses)


def chord_loss(model, reference, rows, tok, step):
    total, n = 0, 0
    for row in rows:                                        # one demonstration after the other
        inputs, targets, mask = tokens([row], "answer", tok)
        x = token_logp(model(inputs), targets)[mask == 1]
        with torch.no_grad():
            weight = torch.exp(x) - torch.exp(2 * x)
        total, n = total - weight @ x, n + len(x)
    inputs, targets, mask, score = sample_answers(model, rows, tok, step)
    logp = (token_logp(model(inputs), targets) * mask).sum(1) / mask.sum(1)
    gain = (score - score.mean(1)[:, None]) / (score.std(1)[:, None] + 1e-4)
    w = MU_END if step >= FALL else MU_END + (MU - MU_END) * math.cos(math.pi * step / FALL / 2)**2
    return w * total / n - (1 - w) * torch.mean(gain.flatten() * logp)
'''


@pytest.fixture(autouse=True)
def _simple_stays_as_it_is(monkeypatch):
    """What a test puts into simple.py is taken out again."""
    before, methods = dict(vars(simple)), dict(simple.METHODS)
    with build_parts.remember_samples():
        yield
    vars(simple).update(before)
    simple.METHODS.update(methods)


def of_text(text: str, folder: Path) -> ModuleType:
    (folder / "mine.py").write_text(text)
    return load(folder / "mine.py")


def tried(mine: ModuleType) -> dict[str, str]:
    """What is said of each part."""
    return {name: found.told for name, found in build.try_parts(mine, seed=5).items()}


def part(name: str) -> build_parts.Part:
    """Beside our other parts."""
    mine = ModuleType("mine")
    mine.__file__ = __file__
    return build_parts.Part(name, {}, mine)


def judged(name: str, *mistakes: tuple[str, str, str], seed: int = 5) -> str:
    function = with_mistakes(build_parts.OURS[name], *mistakes)
    assert function, f"{name}: this mistake is not in the source: {mistakes}"
    return judge.judge(part(name), function, seed)


@pytest.fixture
def a_small_base(monkeypatch):
    """A model that is computed fast, and sure enough of its tokens that each of them counts. No
    answer of it is right or ends, so another score and other lengths stand in."""
    def ended(*asked):
        return [replace(x, ids=x.ids[:3 + sum(x.ids) % 9]) for x in answers_of(*asked)]
    model, answers_of = build_parts.small(2).float(), simple.answers_of
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(4)
    build_parts.noisy_model.cache_clear()
    monkeypatch.setattr(build_parts, "base", lambda: model)
    monkeypatch.setattr(simple, "answers_of", ended)
    monkeypatch.setattr(world, "score", lambda question, answer: len({*answer}) / 99)
    yield
    build_parts.noisy_model.cache_clear()


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow) if name in ("train", "chord_loss") else name
    for name in build_parts.PARTS])
def test_each_listed_mistake_is_refused_and_named(name, monkeypatch, request):
    """The small base finds demonstrations hopeless, which p (1 - p) spares: CHORD needs ours."""
    if name != "chord_loss":
        request.getfixturevalue("a_small_base")
    monkeypatch.setattr(simple, "ROWS", 2)                  # short steps of `train`
    assert judged(name) == ""
    for mistake in MISTAKES[name]:
        assert judged(name, mistake).endswith("\n    " + mistake[2]), mistake


# ---- what a student wrote in his own style, and what he is told ---------------------------------
WRITTEN = {
    ("ift_loss", "The losses of the padding count"): """
def ift_loss(model, reference, rows, tok, step):
    inputs, targets, mask = tokens(rows, "answer", tok)
    nll = -token_logp(model(embeds=mix_in_own_guess(model, inputs, mask)), targets)
    weight, rest = torch.zeros_like(nll), 0
    for t in reversed(range(nll.shape[1])):
        rest = nll[:, t].detach() + GAMMA * rest
        weight[:, t] = rest
    weight = weight / ((weight * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True))
    return ((weight * nll * mask).sum(1) / mask.sum(1)).mean()
""",
    ("log_ratio", "The question and the padding count"): """
def padded(chats, tok):                                     # it fills with 0, which is right
    T = max(len(ids) for ids, _ in chats) - 1
    inputs = torch.zeros(len(chats), T, dtype=torch.long)
    targets, mask = inputs.clone(), torch.zeros(len(chats), T)
    for b, (ids, m) in enumerate(chats):
        n = len(ids) - 1
        inputs[b, :n], targets[b, :n] = torch.tensor(ids[:-1]), torch.tensor(ids[1:])
        mask[b, :n] = torch.tensor(m[1:])
    return inputs, targets, mask


def log_ratio(model, reference, rows, side, tok):
    inputs, targets, mask = tokens(rows, side, tok)
    with torch.no_grad():
        theirs = token_logp(reference(inputs), targets).sum(1)
    return token_logp(model(inputs), targets).sum(1) - theirs, mask.sum(1)
""",
    ("mix_in_own_guess", "The mask is shifted the wrong way"): """
def mix_in_own_guess(model, inputs, mask):
    with torch.no_grad():
        own = torch.cat([inputs[:, :1], model(inputs).argmax(-1)[:, :-1]], 1)
        answer = torch.cat([mask[:, 1:], torch.zeros(len(mask), 1)], 1) == 1
        guess = model(torch.where(answer, own, inputs), want="embeds")
        return (1 - LAM) * model(inputs, want="embeds") + LAM * guess
"""}


@pytest.mark.parametrize("name, words", WRITTEN)
def test_a_mistake_in_a_students_own_style_has_its_one_sentence(name, words, tmp_path,
                                                                a_small_base):
    """One fault, one sentence, never two that together do the same."""
    said = tried(of_text(HEAD + WRITTEN[name, words], tmp_path))[name]
    assert words in said.splitlines()[-1] and "And: " not in said, said


@pytest.mark.parametrize("name, words", [
    ("una_loss", "because Python takes 0"), ("una_loss", "A score may lie between"),
    ("dpo_loss", "Where the model has moved far"), ("poft_loss", "Where the model has moved far"),
    ("chord_loss", "After FALL steps"), ("chord_loss", "The weight falls in a straight line")])
@pytest.mark.parametrize("seeds", [range(4), pytest.param(range(4, 8), marks=pytest.mark.slow)])
def test_fresh_rows_always_show_it(name, words, seeds):
    """Whichever rows are drawn. The first case that differs is enough."""
    mistake = next(mistake for mistake in MISTAKES[name] if words in mistake[2])
    one, function = part(name), with_mistakes(build_parts.OURS[name], mistake)
    for seed in seeds:
        assert any(judge.difference(one, *(one.attempt(x, case) for x in (function, one.right)))
                   for case in reversed(one.cases(seed))), seed


@pytest.mark.parametrize("call", [
    "build.main(['ex02.py'])", "grade.grade('02a', grade.submission(Path(), '02a'))"])
@pytest.mark.slow
def test_the_process_of_a_file_ends_with_the_one_that_waits_for_it(call, tmp_path):
    """Also if that one is killed, when nothing can be done at its end. One of these processes is
    spawned, and one is a copy of another (sandbox.run_limited)."""
    own, beat = tmp_path / "ex02.py", tmp_path / "beat"
    os.mkfifo(beat)                         # no file: a program of a class may write none here
    reader = os.open(beat, os.O_RDONLY | os.O_NONBLOCK)
    own.write_text(f"import os, time\nbeat = os.open({str(beat)!r}, os.O_WRONLY)\n"
                   "while True:\n    os.write(beat, b'x')\n    time.sleep(0.05)\n")
    module = call.partition(".")[0]
    code = f"from pathlib import Path; from lessons.classroom import {module}; {call}"
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(build.SKELETON.parents[2])})

    def heard() -> bytes:
        with suppress(BlockingIOError):
            return os.read(reader, 2**16)
        return b""
    until = time.monotonic() + 120
    while not heard():
        assert parent.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    parent.kill()
    parent.wait()
    time.sleep(1)
    heard()
    time.sleep(1)
    assert not heard()
    os.close(reader)


@pytest.mark.parametrize("name, first, second", [
    ("sft_loss", "The sign", "The mean is that over all tokens"),
    ("ift_loss", "Gradient flows", "Later losses"),
    ("padded", "The targets are not", "The mask has to be 0"),
    ("grpo_loss", "The standard deviation is missing", "The penalty is not")])
def test_two_mistakes_together_are_both_named(name, first, second, a_small_base):
    mistakes = [next(mistake for mistake in MISTAKES[name] if mistake[2].startswith(words))
             for words in (first, second)]
    said = judged(name, *mistakes)
    assert all(sentence in said for _, _, sentence in mistakes) and "And: " in said


@pytest.mark.parametrize("name, words", [
    ("mix_in_own_guess", "Gradient flows through the blend"),
    ("ift_loss", "Gradient flows through the weights"),
    ("grpo_loss", "The ratio has no gradient"),
    ("chord_loss", "Gradient flows through p (1 - p)")])
def test_a_mistake_in_the_gradient_alone_is_told_as_one(name, words, request):
    """No check of values could see it. For the small base and CHORD see above."""
    if name != "chord_loss":
        request.getfixturevalue("a_small_base")
    mistake = next(mistake for mistake in MISTAKES[name] if mistake[2].startswith(words))
    told = dict.fromkeys(("grpo_loss", "chord_loss"), "the gradient of the loss is not right")
    said = judged(name, mistake)
    assert told.get(name, "the loss is right, but its gradient is not") in said
    assert "Is something not a constant" not in said            # the name says what it is


def test_grpo_may_be_written_as_lesson_12_writes_it(tmp_path):
    """Without the ratio the value is another, but the gradient is the same."""
    plain = inspect.getsource(simple.grpo_loss).replace("ratio * advantage", "logp * advantage")
    assert tried(of_text(HEAD + plain, tmp_path))["grpo_loss"] == ""


def test_a_loss_without_a_gradient_and_one_into_the_reference_are_told(tmp_path, a_small_base):
    said = tried(of_text(HEAD + """
def sft_loss(*args):
    from lessons.classroom.build_parts import OURS
    return OURS["sft_loss"](*args).item()


""" + inspect.getsource(simple.log_ratio).replace(".detach()", ""), tmp_path))
    assert "the loss is right, but no gradient reaches the model" in said["sft_loss"]
    assert "gradient reaches the reference as well" in said["log_ratio"]


@pytest.mark.slow
def test_every_part_may_be_written_otherwise(tmp_path):
    """Loops, numpy, einsum, ragged rows, an optimizer by hand."""
    assert tried(of_text(OTHERWISE, tmp_path)) == dict.fromkeys(build_parts.PARTS, "")


def test_an_empty_file_has_no_part_yet_and_ours_are_not_his(tmp_path):
    for text in ("", "from nanouft.simple import *", build.skeleton()):
        assert set(tried(of_text(text, tmp_path)).values()) == {judge.NOT_STARTED}


@pytest.mark.slow
def test_a_wrong_part_does_not_make_the_next_one_wrong(tmp_path):
    """Until it is right, ours stands in its place, in his file as well."""
    wrong = OURS.replace("logits.log_softmax(-1)", "logits.softmax(-1)")
    said = tried(of_text(wrong, tmp_path))
    assert [name for name, words in said.items() if words] == ["token_logp"]
    only = HEAD + inspect.getsource(simple.sft_loss)
    said = tried(of_text(only, tmp_path))
    assert [name for name, words in said.items() if not words] == ["sft_loss"]


def test_the_smallest_batch_is_shown(a_small_base):
    mistake = next(x for x in MISTAKES["sft_loss"] if "all tokens of the batch" in x[2])
    said = judged("sft_loss", mistake)
    assert f"{judge.SMALLEST}    A batch of 2 rows (sft):" in said
    assert said.count('answer "') == 2
    mistake = next(x for x in MISTAKES["sft_loss"] if x[2].startswith("The sign"))
    assert "A batch of 1 row (sft)" in judged("sft_loss", mistake)


@pytest.mark.parametrize("source, words", [
    ("sft_loss = 3", "sft_loss is no function"),
    ("def sft_loss(model, rows):\n    pass", "as sft_loss(model, reference, rows, tok, step): too"),
    ("def sft_loss(m, *x):\n    while True: pass", "computing\n    line 2: while True: pass"),
    ("import torch\ndef sft_loss(m, *x):\n    return m.wte.weight[0]", "should be one number")])
def test_other_mistakes_get_their_line(source, words, tmp_path, monkeypatch):
    monkeypatch.setattr(build_parts, "SECONDS", 0.5)
    assert words in tried(of_text(source, tmp_path))["sft_loss"]


def run_method(method: str, steps: int) -> None:
    simple.METHODS[method] = (*simple.METHODS[method][:3], steps)
    build.run_method(method)


@pytest.mark.parametrize("method", simple.METHODS)
def test_each_method_runs_on_the_students_functions_alone(method, tmp_path, monkeypatch, capsys):
    """None of our twelve is called: each of ours raises."""
    monkeypatch.setattr(simple, "ROWS", 2)
    def never(*args, **kwargs):
        raise AssertionError("one of ours was called")
    mine = of_text(OTHERWISE, tmp_path)
    build_parts.put({name: getattr(mine, name) for name in build_parts.PARTS}, mine)
    monkeypatch.setattr(build_parts, "OURS", dict.fromkeys(build_parts.PARTS, never))
    for ours in list(vars(simple).values()):
        assert not any(ours is x for x in build_parts.OURS.values())
    monkeypatch.setattr(build, "score_tasks", lambda *args: ({"all": {"score": 0.5}}, []))
    run_method(method, 2)
    out = capsys.readouterr().out
    assert "a line for each step" in out and "50 before, 50 after" in out


def test_the_parts_that_a_run_needs_are_those_that_it_calls(tmp_path, monkeypatch):
    """So that it can be said which of them are still ours."""
    monkeypatch.setattr(simple, "ROWS", 2)
    monkeypatch.setattr(build, "score_tasks", lambda *args: ({"all": {"score": 0.5}}, []))
    for method in simple.METHODS:
        called = set()

        def counted(name, ours, called=called):
            def part(*args, **kwargs):
                called.add(name)
                return ours(*args, **kwargs)
            return part
        build_parts.put({name: counted(name, ours) for name, ours in build_parts.OURS.items()})
        run_method(method, 1)
        assert called == set(build_parts.parts_of(method)), method


@pytest.mark.slow
def test_the_whole_program_passes(tmp_path, capfd, monkeypatch):
    """In the process of its own."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(OURS)
    assert build.main([str(file), "--seed", "5"]) == 0
    out = capfd.readouterr().out
    assert "12 of 12 parts are yours. The whole program is yours." in out
    assert out.index("grpo_loss") < out.index("It trains: python -m lessons build")


@pytest.mark.parametrize("source, words", [
    pytest.param(None, "mine.py: cannot be read (no such file)", marks=pytest.mark.slow),
    pytest.param("x = 1\ndef f(:", "(mine.py, line 2) line 2: def f(:", marks=pytest.mark.slow),
    ("import os\nos._exit(0)", "mine.py: it ended Python (exit code 0) while reading "),
    ("x = 1 / 0", "mine.py: cannot be read. ZeroDivisionError: division by zero line 1: x = 1 /")])
def test_a_file_that_cannot_be_read_gets_one_line(source, words, tmp_path, capfd):
    file = tmp_path / "mine.py"
    if source:
        file.write_text(source)
    code = command(build.main, [str(file)])
    err = capfd.readouterr().err
    assert code in (1, 2) and words in err and len(err.splitlines()) == 1, err


def test_reset_writes_over_nobodys_work(tmp_path, capsys):
    file = tmp_path / "mine.py"
    for _ in range(2):                                          # a skeleton is no work
        assert build.main([str(file), "--reset"]) == 0
    text = file.read_text()
    assert all(f"def {name}(" in text for name in build_parts.PARTS)
    assert "<|assistant|> The " in text
    file.write_text(text + "x = 1\n")
    with pytest.raises(UserError, match="holds work of yours"):
        build.main([str(file), "--reset"])
    assert file.read_text().endswith("x = 1\n")


def test_the_skeleton_says_what_the_program_calls(tmp_path):
    """The names and the arguments of simple.py, in the same order, and each tells its lesson."""
    mine = of_text(build.skeleton(), tmp_path)
    for name, (lesson, _) in build_parts.PARTS.items():
        stub = vars(mine)[name]
        assert [*inspect.signature(stub).parameters] == [*inspect.signature(
            build_parts.OURS[name]).parameters]
        assert stub.__doc__.startswith(f"Lesson {lesson}. ")
