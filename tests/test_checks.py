"""Each exercise: its stub is not started, a right program is accepted, and four wrong ones are
refused with a sentence on what is wrong. A wrong program is the right one with a part replaced."""
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.check import HERE, NOT_STARTED, Draw, check, exercises, judge, main, verdict

# The id of each exercise: a right program, and four times (a part, what stands there instead, some
# words of the message, or of one of several messages). torch, F, math and statistics are there.
PROGRAMS = {
    "01a": ("""
def attention(q, k, v):
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    seen = torch.ones(q.shape[1], q.shape[1]).tril() > 0
    return scores.masked_fill(~seen, -math.inf).softmax(-1) @ v
""", (" / math.sqrt(q.shape[-1])", "", "Is the scale right?"),
            (".tril() > 0", ".tril(1) > 0", "Position 0 sees only itself"),
            ("-math.inf", "0", "Position 0 sees only itself"),
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
            ("mask[1:]", "mask[:-1]", "Yours is"),
            (" and not header", "", "a header, so the mask should be 0"),
            ('not header', 'not header and token != "end"', "'end', said by the assistant")),
    "02b": ("""
def sft_loss(logp, mask, reduction):
    losses = -logp.masked_fill(mask == 0, 0)
    if reduction == "token":
        return losses.sum() / mask.sum()
    return (losses.sum(1) / mask.sum(1)).mean()
""", ("== 0, 0)", "== 2, 0)", "where the mask is 0, should"),
            ("losses.sum() / mask.sum()", "losses.mean()", 'The reduction is "token"'),
            ("-logp.masked_fill(mask == 0, 0)", "-logp * mask", "contains nan"),
            ("return losses.sum()", "return losses.detach().sum()", "not its gradient")),
    "04a": ("""
def own_guess(inputs, mask, argmax):
    shifted = torch.where(mask[:, :-1] == 1, argmax[:, :-1], inputs[:, 1:])
    return torch.cat([inputs[:, :1], shifted], 1)
""", ("argmax[:, :-1]", "argmax[:, 1:]", "which belongs to the answer"),
            ("mask[:, :-1]", "mask[:, 1:]", "belongs to the answer|The mask is 0"),
            ("inputs[:, :1]", "argmax[:, :1]", "and position|changes position 0"),
            ("inputs[:, 1:]", "0", "keeps its true token")),
    "04b": ("""
def blend(E, true, guess, lam):
    E = E.detach()
    return (1 - lam) * E[true] + lam * E[guess]
""", ("E.detach()", "1 * E", "gradient flows into E"),
            ("(1 - lam) * E[true]", "E[true]", "lam = 1|shares add up to 1"),
            ("(1 - lam) * E[true] + lam", "lam * E[true] + (1 - lam)", "With lam = 0"),
            ("lam * E[guess]", "lam * guess[:, None]", "lam = 1")),
    "06a": ("""
def future_weights(losses, mask, gamma):
    raw, later = [], 0
    for loss in reversed(list(losses * mask)):
        later = loss + gamma * later
        raw.insert(0, later)
    raw = torch.stack(raw) * mask
    return raw / (raw.sum() / mask.sum())
""", ("loss + gamma * later", "loss + later", "should count gamma"),
            ("losses * mask", "losses", "Mask the losses"),
            (" / mask.sum())", ")", "must be 1"),
            ("torch.stack(raw)", "torch.stack(raw).detach()", "they are detached")),
    "07a": ("""
def dpo_loss(pi_w, ref_w, pi_l, ref_l, beta):
    chosen = (pi_w - ref_w.detach()).sum(1)
    rejected = (pi_l - ref_l.detach()).sum(1)
    return -F.logsigmoid(beta * (chosen - rejected))
""", ("chosen = (pi_w - ref_w.detach()).sum", "chosen = (pi_w - ref_w.detach()).mean", "of pi_w"),
            ("beta * (chosen", "(chosen", "beta is"),
            ("F.logsigmoid(beta * (chosen - rejected))",
             "torch.log(torch.sigmoid(beta * (chosen - rejected)))", "moved far"),
            ("ref_w.detach()", "ref_w", "the reference, which is a constant")),
    "09a": ("""
def una_loss(i, score, form):
    if form == "mse":
        return (torch.sigmoid(i) - score) ** 2
    return -score * F.logsigmoid(i) - (1 - score) * F.logsigmoid(-i)
""", ("torch.sigmoid(i)", "i", 'The form is "mse"'),
            (" - (1 - score) * F.logsigmoid(-i)", "", "each score became 1 - score"),
            ("F.logsigmoid(i)", "torch.log(torch.sigmoid(i))", "very unlikely"),
            ("** 2", "** 2 / 2", "the loss is 0.25")),
    "10a": ("""
def poft_loss(logp, mask, others):
    r = (logp * mask).sum() / mask.sum()
    r_bar = sum(x.mean() for x in others) / len(others)
    return -F.logsigmoid(r - r_bar), torch.sigmoid(r_bar - r).detach()
""", ("(logp * mask).sum() / mask.sum()", "(logp * mask).mean()", "One nat more at position"),
            ("sum(x.mean() for x in others) / len(others)", "torch.cat(others).mean()", "Aligned"),
            ("torch.sigmoid(r_bar - r)", "torch.sigmoid(r - r_bar)", "do not fit together"),
            (".detach()", "", "tau carries gradient")),
    "11a": ("""
def reward_loss(r, ids, end):
    first = (ids == end).int().argmax(1)
    reward = r.gather(1, first[:, None])[:, 0]
    return -F.logsigmoid(reward[::2] - reward[1::2])
""", ("first[:, None])[:, 0]", "first[:, None] * 0 + r.shape[1] - 1)[:, 0]", "first <|end|>"),
            ("ids == end", "ids == 100", "end is 0"),
            ("reward[::2] - reward[1::2]", "reward[:len(r) // 2] - reward[len(r) // 2:]", "pair"),
            ("reward[::2] - reward[1::2]", "reward[1::2] - reward[::2]", "It changes yours by")),
    "12a": ("""
def rloo(R):
    K = R.shape[1]
    others = (R.sum(1, keepdim=True) - R) / (K - 1)
    return R - others
""", ("(K - 1)", "K", "no answer is better"),
            ("return R - others", "return others - R", "scored 1 more"),
            ("R - others", "R - R.mean(1, keepdim=True)", "scored 1 more"),
            ("R.sum(1, keepdim=True)", "R.sum()", "no answer is better|other prompts")),
    "14a": ("""
def interval(d):
    t = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447}[len(d) - 1]
    return statistics.mean(d), t * statistics.stdev(d) / math.sqrt(len(d))
""", ("[len(d) - 1]", "[len(d)]", "n degrees of freedom"),
            ("stdev", "pstdev", "divided by n"),
            ("stdev", "variance", "nine times"),
            ("statistics.mean", "statistics.median", "not the mean")),
}


def function(source: str):
    space = {}
    exec("import math, statistics, torch\nimport torch.nn.functional as F\n" + source, space)
    return list(space.values())[-1]


@pytest.mark.parametrize("name", exercises())
def test_each_exercise(name):
    properties = exercises()[name]
    assert verdict(properties, HERE / f"ex{name[:2]}.py") == NOT_STARTED
    right, *slips = PROGRAMS[name]
    assert judge(properties, function(right)) == ""
    assert len(slips) == 4
    for part, instead, words in slips:
        assert part in right
        said = judge(properties, function(right.replace(part, instead)))
        assert any(some in said for some in words.split("|")), f"{instead}: {said}"


def written(folder: Path, source: str) -> Path:
    stub = "\n\ndef blend(E, true, guess, lam):\n    raise NotImplementedError"
    (folder / "ex04.py").write_text(source + stub)
    return folder


@pytest.mark.parametrize("source, words", [
    ("def own_guess(:", "ex04.py cannot be read. SyntaxError"),
    ("x = 1", "ex04.py has no function own_guess"),
    ("def own_guess(*x):\n    pass", "Is there a `return`?"),
    ("def own_guess(*x):\n    return 'yes'", "not made of numbers"),
    ("def own_guess(*x):\n    return 1 / 0", "ZeroDivisionError: division by zero\n    line 2"),
    ("def own_guess(*x):\n    x[0][:] = 0\n    return x[0]", "It changes its arguments"),
    ("def own_guess(*x):\n    while True:\n        pass", "Is there a loop without an end?"),
])
def test_other_mistakes_get_a_line(source, words, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lessons.check.SECONDS", 0.5)
    assert main(["04a", "--folder", str(written(tmp_path, source))]) == 1
    assert words in capsys.readouterr().out


def test_a_folder_of_files(tmp_path, capsys):
    folder = str(written(tmp_path, "import torch\n" + PROGRAMS["04a"][0]))
    assert main(["04a", "--folder", folder]) == 0
    assert main(["04", "--folder", folder]) == 1
    assert main(["--folder", folder]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 2 + len(exercises())
    assert lines[0].split() == ["04a", "own_guess", "right"]
    with pytest.raises(SystemExit):
        main(["99"])


def test_the_command_and_the_cell_of_a_notebook_see_one_exception(capsys):
    command = [sys.executable, "-m", "lessons.check", "04a"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1])
    assert done.returncode == 1 and "not started" in done.stdout and not done.stderr
    check(function(PROGRAMS["12a"][0]))
    assert capsys.readouterr().out == "right\n"


def test_masks_have_every_shape_of_real_rows():
    text = {"".join(map(str, Draw(f"0 {k}").one_mask(5))).strip() for k in range(200)}
    for shape in ("0+1+", "1+0+", "0+1+0+", "[01]*10+1[01]*", "1+", "0*10*"):
        assert any(re.fullmatch(shape, mask) for mask in text), shape
