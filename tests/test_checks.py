"""Each exercise: its stub is not started, a right program is accepted, and wrong ones are refused
with a sentence on what is wrong. A wrong program is the right one with a part replaced; each breaks
another property."""
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lessons import grade
from lessons.check import HERE, NOT_STARTED, Draw, check, exercises, judge, judge_file, main
from nanouft.errors import UserError

# The id of each exercise: a right program, and slips: (a part, what stands there instead, some
# words of the message, or of one of several messages). torch, F, math and statistics are there.
PROGRAMS = {
    "00a": ("""
def net_push(chosen, rejected):
    return [float(chosen[:i + 1] != rejected[:i + 1]) for i in range(len(chosen))]
""", ("chosen[:i + 1] != rejected[:i + 1]", "chosen[i:i + 1] != rejected[i:i + 1]",
             "stands at this place in both answers"),
            ("chosen[:i + 1] != rejected[:i + 1]", "chosen[i] not in rejected",
             "not after the same tokens|stands at this place"),
            ("float(chosen[:i + 1] != rejected[:i + 1])", "1.0", "its push is taken back")),
    "01a": ("""
def attention(q, k, v):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    seen = torch.ones(q.shape[1], k.shape[1]).tril(k.shape[1] - q.shape[1]) > 0
    return scores.masked_fill(~seen, -math.inf).softmax(-1) @ v
""", (" / math.sqrt(q.shape[-1])", "", "Is the scale right?"),
            (".tril(k.shape[1] - q.shape[1])", ".tril()", "did not change"),
            (".masked_fill(~seen, -math.inf)", "", "so it should not see position"),
            ("k.transpose(-1, -2)", "k.detach().transpose(-1, -2)", "no gradient reaches k")),
    "02a": ("""
def response_mask(tokens):
    mask, speaker = [], ""
    for token in tokens:
        header = token in ("user", "assistant")
        speaker = token if header else speaker
        mask.append(int(speaker == "assistant" and not header))
    return mask[1:]
""", ("mask[1:]", "mask", "one number for each target"),
            ("mask[1:]", "mask[:-1]", "There is no shift"),
            (" and not header", "", "a header, so the mask should be 0"),
            ('not header', 'not header and token != "end"', "'end', said by the assistant")),
    "02b": ("""
def sft_loss(logp, mask, reduction):
    losses = -logp.masked_fill(mask == 0, 0)
    if reduction == "token":
        return losses.sum() / mask.sum()
    return (losses.sum(1) / mask.sum(1)).mean()
""", ("== 0, 0)", "== 2, 0)", "where the mask is 0, should"),
            ("-logp.masked_fill(mask == 0, 0)", "-logp * mask", "set to -inf where"),
            ("return losses.sum()", "return losses.detach().sum()", "not its gradient")),
    "03a": ("""
def policy_gradient(p, r):
    return p * (r - (p * r).sum())
""", ("(p * r).sum()", "r.mean()", "was raised by 1")),
    "04a": ("""
def own_guess(inputs, mask, argmax):
    shifted = torch.where(mask[:, :-1] == 1, argmax[:, :-1], inputs[:, 1:])
    return torch.cat([inputs[:, :1], shifted], 1)
""", ("argmax[:, :-1]", "argmax[:, 1:]", "which belongs to the answer"),
            ("inputs[:, 1:]", "0", "keeps its true token")),
    "05a": ("""
def estimates(probs, path, step, best):
    cells = [s for s, _ in path]
    right = (probs * best).sum(1)
    whole, does = torch.tensor(1.0), []
    at = torch.zeros(len(probs))
    at[cells[0]] = 1
    for pair in path:
        whole = whole * probs[pair]
        does.append((at * right).sum())
        at = torch.stack([((step == s) * probs * at[:, None]).sum() for s in range(len(probs))])
    return whole, right[cells].mean(), torch.stack(does).mean()
""", ("whole = whole * probs[pair]", "whole = whole + probs[pair] / len(path)",
             "one after the other"),
            ("(probs * best).sum(1)", "probs.max(1).values", "whichever it is"),
            ("does.append((at * right).sum())", "does.append(right[pair[0]])",
             "Before move 2 it stands in|Before move 3 it stands in")),
    "06a": ("""
def balance(losses, gamma):
    l, n = losses.tolist()[:-1], len(losses) - 1
    v = [sum(gamma ** (k - t) * l[k] for k in range(t, n)) for t in range(n)]
    A, U = sum(x * y for x, y in zip(v, l)), sum(v)
    B, G = (sum(gamma ** (n - t) * x for t, x in enumerate(y)) for y in (l, [1] * n))
    return (-U + math.sqrt(U * U + (G + 1) * ((G + 1) * A - B * U))) / (G + 1)
""", ("U * U + (G + 1) * ((G + 1) * A - B * U)", "U * U + (G + 1) * A", "and it should be 0"),
            ("losses.tolist()[:-1], len(losses) - 1", "losses.tolist(), len(losses)",
             "its own value is not used|Here are two tokens"),
            ("return (", "return 0 * (", "With detached weights")),
    "06b": ("""
def ift_loss(model, inputs, targets, mask):
    with torch.no_grad():
        best, guess = model(inputs).argmax(-1), inputs.clone()
        guess[:, 1:] = torch.where(mask[:, :-1] == 1, best[:, :-1], inputs[:, 1:])
        read = 0.8 * model(inputs, want="embeds") + 0.2 * model(guess, want="embeds")
    nll = -model(embeds=read).log_softmax(-1).gather(-1, targets[..., None])[..., 0] * mask
    later, weights = 0, torch.zeros_like(nll)
    for t in reversed(range(nll.shape[1])):
        later = nll[:, t].detach() + 0.95 * later
        weights[:, t] = later * mask[:, t]
    return ((weights * nll).sum(1) / weights.sum(1)).mean()
""", ("best[:, :-1], inputs", "best[:, 1:], inputs", "the guess"),
            ("mask[:, :-1] == 1", "mask[:, 1:] == 1", "true token there|of the guess"),
            (".detach()", "", "not its gradient"),
            ("0.95 * later", "later", "gamma is 1 and not 0.95"),
            ("(weights * nll).sum(1) / weights.sum(1)", "nll.sum(1) / mask.sum(1)",
             "there are no weights")),
    "07a": ("""
def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    chosen = (pi_w - ref_w.detach()).sum(1)
    rejected = (pi_l - ref_l.detach()).sum(1)
    return -F.logsigmoid(beta * (chosen - rejected))
""", ("chosen = (pi_w - ref_w.detach()).sum", "chosen = (pi_w - ref_w.detach()).mean", "of pi_w"),
            ("F.logsigmoid(beta * (chosen - rejected))",
             "torch.log(torch.sigmoid(beta * (chosen - rejected)))", "moved far"),
            ("ref_w.detach()", "ref_w", "the reference, which is a constant")),
    "07b": ("""
def both_fall(g_w):
    other = torch.zeros_like(g_w)
    other[g_w.abs().argmin()] = g_w.norm() / 2
    return 2 * g_w + other
""", ("2 * g_w + other", "g_w + other - g_w * (g_w @ other) / (g_w @ g_w)", "has to be below 0"),
            ("2 * g_w + other", "2 * g_w", "a multiple of g_w")),
    "08a": ("""
def fades_at(share, beta, gamma):
    return (gamma + math.log((1 - share) / share)) / beta
""", ("(1 - share) / share", "share / (1 - share)", "a tenth is left at a larger D"),
            ("math.log((1 - share) / share)", "beta * math.log((1 - share) / share)",
             "of its largest value"),
            ("(gamma + ", "(beta * gamma + ", "beta D is gamma")),
    "09a": ("""
def largest_push(score):
    return (1 + score - math.sqrt(1 - score + score ** 2)) / 3
""", ("score - math", "score + math", "is pushed up only where"),
            ("(1 + score - math.sqrt(1 - score + score ** 2)) / 3", "score / 2",
             "elsewhere it reaches")),
    "10a": ("""
def poft_loss(logp, mask, others):
    r = (logp * mask).sum() / mask.sum()
    r_bar = sum(x.mean() for x in others) / len(others)
    return -F.logsigmoid(r - r_bar), torch.sigmoid(r_bar - r).detach()
""", ("(logp * mask).sum() / mask.sum()", "(logp * mask).mean()", "One nat more at position"),
            ("sum(x.mean() for x in others) / len(others)", "torch.cat(others).mean()",
             "aligned model"),
            ("torch.sigmoid(r_bar - r)", "torch.sigmoid(r - r_bar)", "do not fit together"),
            (".detach()", "", "tau carries gradient")),
    "11a": ("""
def best_of_n(n, likes, scores):
    from itertools import combinations
    sets = list(combinations(range(len(likes)), n))
    return sum(scores[max(some, key=lambda k: likes[k])] for some in sets) / len(sets)
""", ("key=lambda k: likes[k]", "key=lambda k: scores[k]", "liked less")),
    "12a": ("""
def answers_needed(p, share):
    K = 2
    while 1 - p ** K - (1 - p) ** K < share:
        K += 1
    return K
""", (" - p ** K", "", "which is less than"),
            ("return K", "return K + 1", "are as well")),
    "12b": ("""
def grpo_push(logp, old, ref, A, eps, beta):
    rho = (logp - old).exp()
    plain = rho * A <= rho.clamp(1 - eps, 1 + eps) * A
    return rho * A * plain + beta * ((ref - logp).exp() - 1)
""", ("((ref - logp).exp() - 1)", "(1 - (ref - logp).exp())", "finds likelier is pushed up"),
            ("rho * A * plain", "A * plain", "the ratio times the advantage"),
            ("rho * A <= rho.clamp(1 - eps, 1 + eps) * A",
             "(rho - 1).abs() <= eps", "gain is the smaller one")),
    "12c": ("""
def grpo_step(model, optimizer, prompts, score, K, most, end):
    losses, scores, sizes = [], [], []
    for prompt in prompts.tolist():
        answers = []
        for _ in range(K):
            answer = []
            while len(answer) < most and end not in answer:
                logits = model(torch.tensor([prompt + answer]))[0, -1]
                answer.append(int(torch.multinomial(logits.softmax(-1), 1)))
            answers.append(answer)
        R = [score(prompt, answer) for answer in answers]
        scores += R
        for reward, answer in zip(R, answers):
            A = (reward - statistics.mean(R)) / (statistics.stdev(R) + 1e-4)
            logits = model(torch.tensor([prompt + answer]))[0, len(prompt) - 1:-1]
            losses.append(A * F.cross_entropy(logits, torch.tensor(answer)))
            sizes.append(len(answer))
    optimizer.zero_grad()
    torch.stack(losses).mean().backward()
    optimizer.step()
    return statistics.mean(scores)
""", ("    optimizer.zero_grad()\n", "", "the gradient of an earlier step"),
            ("int(torch.multinomial(logits.softmax(-1), 1))", "int(logits.argmax())",
             "Sample each answer"),
            ("torch.tensor(answer)))", "torch.tensor(answer), reduction='sum'))", "are added up"),
            ("torch.tensor(answer)))", "torch.tensor(answer), reduction='sum') / most)",
             "the padding of short answers"),
            ("torch.stack(losses).mean()", "(torch.stack([x * n for x, n in zip(losses, sizes)])"
             ".sum() / sum(sizes))", "all tokens of the step at once"),
            ("statistics.stdev", "statistics.pstdev", "divided by K, not K - 1"),
            (" and end not in answer", "", "goes on after end")),
    "13a": ("""
def pushes(p):
    return p, p * (1 + math.log(p))
""", ("p * (1 + math.log(p))", "1 + math.log(p)", "is the derivative by p"),
            ("return p,", "return 1,", "p is a constant factor"),
            ("p * (1 + math.log(p))", "p", "also changes the factor")),
    "14a": ("""
def seeds_needed(difference, sd, t):
    for n in range(2, len(t) + 2):
        if t[n - 1] * sd / math.sqrt(n) < abs(difference):
            return n
""", ("abs(difference)", "difference", "seeds are enough"),
            ("t[n - 1] * sd", "1.96 * sd", "so the interval contains 0|so the result is None"),
            ("return n\n", "return n\n    return len(t) + 1\n", "so the result is None"),
            ("return n", "return n - 1", "is from 2|so the interval contains 0")),
    "15a": ("""
def gae(R, V, gamma, lam):
    A, later, following = [], 0, 0
    for reward, value in zip(R.flip(0), V.flip(0)):
        later = reward + gamma * following - value + gamma * lam * later
        following = value
        A.insert(0, later)
    return torch.stack(A)
""", ("gamma * lam * later", "lam * later", "of R|in R"),
            ("gamma * following", "following", "in V")),
    "16a": ("""
def advantage_of_thinking(right, thinks):
    found = []
    for row, by in zip(right, thinks > 0):
        if by.any() and not by.all():
            found.append(row[by].mean() - row[~by].mean())
    return sum(found) / len(found) if found else None
""", (" if found else None", " if found else 0", "ZeroDivision|result is None"),
            ("if by.any() and not by.all():", "if by.any():", "result is None|nan"),
            ("row[~by].mean()", "row.mean()", "change its sign|If it becomes"),
            ("sum(found) / len(found)", "sum(found) / len(right)", "A prompt was added")),
    "17a": ("""
def train_step(model, optimizer, inputs, targets, mask):
    logp = model(inputs).log_softmax(-1).gather(2, targets[..., None])[..., 0]
    loss = -(logp * mask).sum() / mask.sum()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()
""", ("optimizer.zero_grad()", "", "gradient of an earlier"),
            ("torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)", "",
             "belongs between loss.backward()"),
            ("clip_grad_norm_", "clip_grad_value_", "by itself (clip_grad_value_)"),
            ("optimizer.step()", "", "The weights have not moved"),
            ("/ mask.sum()", "/ len(mask)", "answer tokens is")),
    "17b": ("""
def score(question, answer):
    import re
    numbers = re.compile(r"\\d{1,3}(?:,\\d{3})+|\\d+")
    said = [int(x.replace(",", "")) for x in numbers.findall(answer)]
    return float(said[-1:] == [sum(map(int, numbers.findall(question)))])
""", ("said[-1:]", "said[:1]", "The sum is"),
            ("findall(answer)]", 'findall(answer.replace(",", ""))]', "The sum is")),
}


def function(source: str):
    space = {}
    exec("import math, statistics, torch\nimport torch.nn.functional as F\n" + source, space)
    return list(space.values())[-1]


@pytest.mark.parametrize("name", exercises())
def test_each_exercise(name):
    properties = exercises()[name]
    assert judge_file(properties, HERE / f"ex{name[:2]}.py") == NOT_STARTED
    right, *slips = PROGRAMS[name]
    assert judge(properties, function(right)) == ""
    assert slips
    for part, instead, words in slips:
        assert part in right
        said = judge(properties, function(right.replace(part, instead)))
        assert any(some in said for some in words.split("|")), f"{instead}: {said}"


def test_where_the_gradient_is_0_a_right_program_need_not_move_a_weight(monkeypatch):
    properties = exercises()["17a"]
    monkeypatch.setitem(properties.__globals__, "SCALES", (60.0,))      # many tokens are certain
    assert judge(properties, function(PROGRAMS["17a"][0])) == ""


def written(folder: Path, source: str) -> Path:
    stub = "\n\ndef sft_loss(logp, mask, reduction):\n    raise NotImplementedError"
    (folder / "ex02.py").write_text(source + stub)
    return folder


@pytest.mark.parametrize("source, words", [
    ("def response_mask(:", "ex02.py cannot be read. SyntaxError"),
    ("x = 1", "ex02.py has no function response_mask"),
    ("def response_mask(*x):\n    pass", "Is there a `return`?"),
    ("def response_mask(*x):\n    return 'yes'", "Yours is a text: 'yes'"),
    ("def response_mask(*x):\n    return 1 / 0", "ZeroDivisionError: division by zero\n    line 2"),
    ("def response_mask(*x):\n    x[0][0] = 0\n    return x[0]", "It changes its arguments"),
    ("def response_mask(*x):\n    while True:\n        pass", "Is there a loop without an end?"),
    ("def response_mask(*x):\n    import time\n    time.sleep(99)", "Does it wait for something"),
    ("def response_mask(*x):\n    import os\n    os._exit(0)", "It ends Python with exit()"),
    ("from os import _exit\n_exit(0)", "ex02.py cannot be read. It ends Python with exit()"),
    ("def response_mask(*x):\n    return [1.0, 0.5]", "gives  [1.0, 0.5]"),
])
def test_other_mistakes_get_a_line(source, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lessons.check.SECONDS", 0.5)
    monkeypatch.setattr("lessons.check.WAITING", 2 if "sleep" in source else 300)
    assert main(["02", "--folder", str(written(tmp_path, source))]) == 1
    out = capsys.readouterr().out
    assert words in out and "02b sft_loss" in out, "the other exercise is judged as well"


def test_a_folder_of_files(tmp_path, capsys):
    """A file may import its neighbour."""
    (tmp_path / "neighbour_of_ex02.py").write_text("import torch\n" + PROGRAMS["02a"][0])
    folder = str(written(tmp_path, "from neighbour_of_ex02 import response_mask"))
    assert main(["02a", "--folder", folder]) == 0
    assert main(["02", "--folder", folder]) == 1
    assert main(["--folder", folder]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3 + len(exercises()) + 1
    assert (lines[1], lines[-1]) == ("1 of 1 right.", f"1 of {len(exercises())} right. Begin with "
                                     f"00a, in {Path(folder) / 'ex00.py'}.")
    assert lines[0].split() == ["02a", "response_mask", "right"]
    with pytest.raises(SystemExit):
        main(["99"])
    check(function(PROGRAMS["12a"][0]))                 # as the cell of a notebook does it
    assert capsys.readouterr().out == "right\n"


def test_a_thread_that_is_left_running_does_not_keep_the_check_from_ending(tmp_path):
    """It stands in a file that is right: the verdict is printed, and its exit code is that."""
    left = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
    folder = written(tmp_path, left + "import torch\n" + PROGRAMS["02a"][0])
    done = subprocess.run([sys.executable, "-m", "lessons.check", "02a", "--folder", str(folder)],
                          capture_output=True, text=True, cwd=HERE.parents[1], timeout=300)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 of 1 right.")
    assert not done.stderr


def test_masks_have_every_shape_of_real_rows():
    text = {"".join(map(str, Draw(f"0 {k}").one_mask(5))).strip() for k in range(200)}
    for shape in ("0+1+", "1+0+", "0+1+0+", "[01]*10+1[01]*", "1+", "0*10*"):
        assert any(re.fullmatch(shape, mask) for mask in text), shape


WRONG = "def own_guess(inputs, mask, argmax):\n    "
FORGED = "print('04a own_guess right\\n1 of 1 right.', flush=True)\n"
STUDENTS = {                            # what each has put before or into the exercise 04a
    "right": PROGRAMS["04a"][0],
    "exit": WRONG + "exit()",
    "forged": f"import os\n{FORGED}for fd in range(1, 30):\n    try:\n        os.write(fd, "
              "b'04a right\\n')\n    except OSError:\n        pass\nos._exit(0)",
    "judges himself": "from lessons import check\ncheck.judge = lambda *x: ''\n" + WRONG + "pass",
    "clone": "import os, time\nif os.fork():\n    os._exit(0)\n" + PROGRAMS["04a"][0],
    "thread": "import threading, time\nthreading.Thread(target=time.sleep, args=(999,)).start()\n"
              + PROGRAMS["04a"][0],
    "loop": WRONG + "while True:\n        try:\n            while True: pass\n"
            "        except BaseException: pass",
    "prints": WRONG + "while True:\n        print('y' * 9999)",
    "memory": WRONG + "return [bytearray(2**30) for k in range(99)]",
    "fills the disk": WRONG + "file = open('big', 'wb')\n    while True:\n"
                      "        file.write(bytes(2**20))",
    "missing": ""}
POINTS = {"right": [1, 1], "thread": [1, 1], "judges himself": [0, 0]}      # the others: [0, 1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork and limits")
def test_a_class_gets_points_whatever_its_students_do(tmp_path):
    """Nobody hangs it, forges a result, or costs his next exercise, 02a, which is right."""
    for name, source in STUDENTS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "ex02.py").write_text("import torch\n" + PROGRAMS["02a"][0])
        if source:
            (tmp_path / name / "ex04.py").write_text("import torch\n" + source)

    def points(name: str) -> list[int]:
        said = grade.grade(tmp_path / name, ["04a", "02a"], seconds=2)
        return [int(words == "right") for words in said.values()]

    with ThreadPoolExecutor(4) as pool:
        found = dict(zip(STUDENTS, pool.map(points, STUDENTS)))
    assert found == {name: POINTS.get(name, [0, 1]) for name in STUDENTS}


def test_the_points_of_a_class_are_a_table(tmp_path, capsys):
    """A line for each student and exercise, and one with his total. A folder or a clone is read."""
    for name, files, sources in (("ada", ".", "02a 04a"), ("bob", "lessons/exercises", "02a")):
        (tmp_path / name / files).mkdir(parents=True)
        for source in sources.split():
            file = tmp_path / name / files / f"ex{source[:2]}.py"
            file.write_text("import torch\n" + PROGRAMS[source][0])
    table = tmp_path / "points.csv"
    assert main(["02a", "04a", "--class", str(tmp_path), "--csv", str(table)]) == 0
    rows = [line.split(",")[:3] for line in table.read_text().splitlines()]
    assert [row for row in rows if row[1] == "total"] == [["ada", "total", "2"],
                                                          ["bob", "total", "1"]]
    assert len(rows) == 1 + 2 * 3 and ["bob", "04a", "0"] in rows
    assert "There is no file" in table.read_text() and "bob" in capsys.readouterr().out
    with pytest.raises(UserError, match="no folder of a student"):
        main(["02a", "--class", str(tmp_path / "ada")])
