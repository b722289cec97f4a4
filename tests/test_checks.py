"""Each exercise: its stub is not started, the right program of its key is accepted and agrees with
the example of the stub, and each mistake of the key is refused and named."""
import json
import math
import re
from inspect import getsource
from pathlib import Path
from random import Random

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from lessons.classroom.calling import as_call, as_tensor
from lessons.classroom.check import check, main
from lessons.classroom.exercise import HERE, Draw, difficulties, exercises, judge_file
from lessons.classroom.judge import NOT_STARTED, judge
from lessons.classroom.mistakes import with_mistakes
from nanouft.plumbing.entry import command
from nanouft.plumbing.user_code import load

KNOWN = exercises()
T = torch.tensor
LOGP, MASK = T([[-2.0, 0, 0, 0], [-1.0] * 4]), T([[1.0, 0, 0, 0], [1] * 4])
ROW = ["user", "hi", "assistant", "yo", "end"]
WALK = (T([[.6, 0, .4, 0], [1, 0, 0, 0]]), [(0, 0), (0, 0)], T([[0, 0, 1, 1]] * 2),
        T([[1, 0, 0, 0], [0] * 4]))
EXAMPLES = [            # a sentence of a stub's docstring, the arguments it means, the result
    ("00a", "chosen bee cat end and rejected bee end give 0 1 1",
     (["bee", "cat", "end"], ["bee", "end"]), [0, 1, 1]),
    ("01a", "Let T and n be 1 and h be 4, let q_0 . k_0 be 2 ln 3 and q_0 . k_1 be 0. The scores "
     "are ln 3 and 0, so the weights are 3/4 and 1/4.",
     (T([[[2 * math.log(3), 0, 0, 0]]]), T([[[1.0, 0, 0, 0], [0] * 4]]), T([[[1.0, 0], [0, 1]]])),
     [[[3 / 4, 1 / 4]]]),
    ("02a", f"such as {json.dumps(ROW)}", (ROW,), [0, 0, 1, 1]),
    ("02a", "The targets of the row above are hi, assistant, yo, end, so the mask is [0, 0, 1, 1].",
     (ROW,), [0, 0, 1, 1]),
    ("02b", "If one row has a single token with the loss 2, and another row four tokens with the "
     "loss 1, then \"token\" gives 6 / 5", (LOGP, MASK, "token"), 6 / 5),
    ("02b", "and \"sequence\" gives (2 + 1) / 2.", (LOGP, MASK, "sequence"), (2 + 1) / 2),
    ("03a", "p = (0.5, 0.5) and r = (1, 0) give (0.25, -0.25).", (T([0.5, 0.5]), T([1.0, 0])),
     [0.25, -0.25]),
    ("04a", "The tokens q x y end with the guesses x z end and the mask 1 1 1 give 0 0 1:",
     (["q", "x", "y", "end"], ["x", "z", "end"], [1, 1, 1]), [0, 0, 1]),
    ("05a", "Let there be two cells, 0 and 1. Moves 0 and 1 lead to cell 0, moves 2 and 3 to cell "
     "1. Move 0 is the best one in cell 0, and none is in cell 1. If probs[0] is (.6, 0, .4, 0) "
     "and the path is (0, 0), (0, 0), the result is .36, .6 and (.6 + .36) / 2 = .48.",
     WALK, [.36, .6, .48]),
    ("06a", "losses 2.5 and 0 with gamma 0.95 give 0.9199", (T([2.5, 0]), 0.95), 0.9199),
    ("08a", "share 1/2, beta 2 and gamma 0.5 give 0.25.", (1 / 2, 2, 0.5), 0.25),
    ("09a", "The score 1 gives 1/3", (1,), 1 / 3),
    ("10a", "r = (0, 0), r_bar = (ln 3, -ln 3), wrong = (0, 1) and k = 1 give 1/2, 1/4 and 0.",
     (T([0.0, 0]), T([math.log(3), -math.log(3)]), T([0.0, 1]), 1), [1 / 2, 1 / 4, 0]),
    ("11a", "likes 1 2 3 0 and scores 0 1 0.5 0.2 give 0.425 with n = 1",
     (1, [1, 2, 3, 0], [0, 1, 0.5, 0.2]), 0.425),
    ("11a", "and 0.5833 with n = 2.", (2, [1, 2, 3, 0], [0, 1, 0.5, 0.2]), 0.5833),
    ("12a", "p = 1/2 and share 0.5 give 2;", (1 / 2, 0.5), 2),
    ("12a", "p = 0.1 and share 0.5 give 7.", (0.1, 0.5), 7),
    ("12b", "A token with logp = old = -1, ref = -2, A = 0.5 and beta 0.1 has the push 0.4368.",
     (T([-1.0]), T([-1.0]), T([-2.0]), T([0.5]), 0.2, 0.1), [0.4368]),
    ("13a", "p = 0.5 gives 0.5 and 0.1534.", (0.5,), [0.5, 0.1534]),
    ("14a", "difference 1, sd 0.8 and t = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776} give 5.",
     (1, 0.8, {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776}), 5),
    ("15a", "T 2, gamma 1 and lam 0.5 give c = 1 0.5 and v = -1 0.5", (2, 1, 0.5),
     [[1, 0.5], [-1, 0.5]]),
    ("16a", "s = 0.5, delta = 0.4, 10 and 2 tokens give 0.03.", (0.5, 0.4, 10, 2), 0.03),
    ("17a", "share 0.5 and gamma 1 give 4;", (0.5, 1), 4),
    ("18a", "Scores [0, 0], lengths [4, 2], 5 tokens shown and gate 0 give [0, 0, 0.2].",
     ([0.0, 0.0], [4, 2], 5, 0), [0, 0, 0.2]),
    ("18a", "Scores [1, 0] give [0.0884, -0.1768, 0].",
     ([1.0, 0.0], [4, 2], 5, 0), [0.0884, -0.1768, 0])]


def stub(name: str):
    """The function that a student begins with."""
    return getattr(load(HERE / f"ex{name[:2]}.py"), KNOWN[name].name)


@pytest.mark.parametrize("name", KNOWN)
def test_each_exercise(name):
    exercise = KNOWN[name]
    assert judge_file(exercise, HERE / f"ex{name[:2]}.py") == NOT_STARTED
    assert judge(exercise, exercise.right) == ""
    for mistake in exercise.mistakes:
        program = with_mistakes(exercise.right, mistake)
        assert program, f"no part of the right program: {mistake[0]}"
        assert judge(exercise, program, seed=0).endswith("\n    " + mistake[-1])


@pytest.mark.parametrize("name, sentence, args, wanted", EXAMPLES)
def test_the_example_of_a_stub_is_right(name, sentence, args, wanted):
    assert sentence in " ".join(stub(name).__doc__.split())
    torch.testing.assert_close(as_tensor(KNOWN[name].right(*args)).double(),
                               as_tensor(wanted).double(), atol=1e-4, rtol=1e-4)
    assert as_call(name, args) in [as_call(name, x) for x in KNOWN[name].always], "it is tried"


def test_both_values_are_shown_alike():
    """The key's may be numbers of torch, or floats where whole numbers are asked for."""
    told = judge(KNOWN["10a"], lambda r, r_bar, wrong, k: [0.6667, 0.5, 0.25])
    assert "wanted [" in told and "tensor" not in told.split("gives")[1]
    assert ".0" not in judge(KNOWN["00a"], lambda chosen, rejected: [2 for _ in chosen])


def test_every_exercise_says_how_hard_it_is():
    assert set(difficulties()) == {exercise.name for exercise in KNOWN.values()}
    assert set(difficulties().values()) == {"easy", "medium", "hard"}
    assert KNOWN["17a"].right(0.4, 0.5) is None, "as its docstring says"
    assert KNOWN["17a"].right(0.25, 0.95) == 8, "the question at its end"


def test_attention_is_written_by_hand():
    """The exercise forbids PyTorch's own function, however it is called."""
    def attention(q, k, v):
        seen = torch.ones(q.shape[1], k.shape[1]).tril(k.shape[1] - q.shape[1]) > 0
        return scaled_dot_product_attention(q, k, v, attn_mask=seen)
    assert "without PyTorch's own function" in judge(KNOWN["01a"], attention)

    def overflows(q, k, v):
        return KNOWN["01a"].right(q.clamp(-9, 9), k, v)
    assert "the result for a 50 times larger q in " in judge(KNOWN["01a"], overflows)


@pytest.mark.parametrize("name", KNOWN)
def test_a_gradient_that_is_checked_is_announced(name):
    """Else a right program in numpy is refused, and nobody can know why. The docstring names the
    arguments that it flows to."""
    exercise, seen = KNOWN[name], {}
    for k in range(5):
        seen |= {what: slope for what, slope in
                 exercise.look(exercise.right, *exercise.draw(Draw(f"{k}"))).items()
                 if "gradient" in what and (slope.any() or what not in seen)}
    told = re.search(r"[Gg]radient flows to ([^.]+)\.", stub(name).__doc__)
    assert bool(told) == bool(seen), "it says so exactly if the key checks one"
    for what, slope in seen.items():
        argument = what.split()[-1]
        if slope.any():
            assert argument in re.findall(r"\w+", told[1])


def of_direction(k: int):
    """A right program for 07a: a multiple of g_w, and a tenth of its length in any direction."""
    def both_fall(g_w):
        u = torch.tensor([Random(f"{k} {i} {g_w.tolist()}").gauss(0, 1) for i in range(len(g_w))])
        return (2, 3, 5)[k % 3] * g_w + 0.1 * g_w.norm() * u / u.norm()
    return both_fall


@pytest.mark.parametrize("k", range(9))
def test_a_right_counterexample_is_right_whatever_its_direction(k):
    assert judge(KNOWN["07a"], of_direction(k), seed=k) == ""


@pytest.mark.parametrize("wrong", [
    lambda g: 3 * g, lambda g: 7.3 * g, lambda g: 3 * g.norm() * (g / g.norm()),
    lambda g: (g / 3).double() * 7, lambda g: g, lambda g: 0 * g, lambda g: -g,
    lambda g: g / 2 + torch.eye(len(g))[0] / 9,                 # shorter than g_w
    lambda g: g - g.roll(1) @ g / (g @ g) * g + g.roll(1)])     # the chosen answer stays
def test_rounding_makes_no_counterexample(wrong):
    assert judge(KNOWN["07a"], wrong, seed=0)


def source_of(name: str) -> str:
    return "import math\nimport torch\n" + getsource(KNOWN[name].right)


def written(folder: Path, source: str) -> Path:
    stub = "\n\ndef sft_loss(logp, mask, reduction):\n    raise NotImplementedError"
    (folder / "ex02.py").write_text(source + stub)
    return folder


@pytest.mark.parametrize("source, words", [
    ("def response_mask(:", "ex02.py cannot be read. SyntaxError"),
    ("x = 1", "ex02.py has no function response_mask"),
    ("def response_mask(*x):\n    pass", "Is there a `return`?"),
    ("def response_mask(*x):\n    return 'yes'", "gives 'yes'"),
    ("def response_mask(*x):\n    return 1 / 0", "ZeroDivisionError: division by zero\n    line 2"),
    ("def response_mask(*x):\n    x[0][0] = 0\n    return x[0]", "changes its arguments"),
    ("def response_mask(*x):\n    raise KeyboardInterrupt", "KeyboardInterrupt: \n    line 2"),
    ("def response_mask(*x):\n    exit()", "it ends Python with exit() or sys.exit(). Return a "
     "result instead\n    line 2: exit()"),
    ("def response_mask(*x):\n    return [1.0]", ", of the shape ("),
    ("def response_mask():\n    return []", "it is called as response_mask(tokens): too many"),
])
def test_other_mistakes_get_a_line(source, words, tmp_path, capsys):
    assert main(["2", "--folder", str(written(tmp_path, source))]) == 1
    out = capsys.readouterr().out
    assert words in out and "02b sft_loss" in out, "the other exercise is judged as well"


def test_a_folder_of_files(tmp_path, capsys):
    """A file may import its neighbour."""
    (tmp_path / "neighbour_of_ex02.py").write_text(source_of("02a"))
    folder = str(written(tmp_path, "from neighbour_of_ex02 import response_mask"))
    assert main(["2a", "--folder", folder]) == 0
    assert main(["--folder", folder]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(KNOWN) + 1
    assert (lines[1], lines[-1]) == ("1 of 1 right.", f"1 of {len(KNOWN)} right. Begin with "
                                     f"00a, in {Path(folder) / 'ex00.py'}.")
    assert lines[0].split() == ["02a", "response_mask", "easy", "right"]
    check(KNOWN["12a"].right)                           # as the cell of a notebook does it
    assert capsys.readouterr().out == "right\n"


def test_a_file_may_have_dataclasses_and_annotations_that_are_texts(tmp_path):
    """For both, Python looks the file up among the modules that were imported."""
    file = tmp_path / "ex02.py"
    file.write_text("from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
                    f"@dataclass\nclass Row:\n    n: int\n\n{source_of('02a')}")
    assert judge_file(KNOWN["02a"], file) == ""


def test_masks_have_every_shape_of_real_rows():
    text = {"".join(map(str, Draw(f"0 {k}").one_mask(5))).strip() for k in range(200)}
    for shape in ("0+1+", "1+0+", "0+1+0+", "[01]*10+1[01]*", "1+", "0*10*"):
        assert any(re.fullmatch(shape, mask) for mask in text), shape


def test_an_exercise_that_does_not_exist_is_one_line(capsys):
    assert command(main, ["99"]) == 2
    assert capsys.readouterr().err == (
        "error: there is no exercise 99; python -m lessons check lists them\n")
