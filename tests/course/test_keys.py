"""The keys are right, by other means than their own: plain Python, PyTorch's counters, laws, and
what stubs say."""
import math
import re
from random import Random

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from lessons.tasks import papers
from lessons.tasks.call import attempts
from lessons.tasks.papers import Case, demonstrated, losses_and_gradients, move, tiny_model
from lessons.tasks.task import STUBS, Draw, Judge, tasks
from nanouft.objectives import find
from nanouft.plumbing.errors import load

KNOWN = tasks()
EXERCISES = [name for name in KNOWN if name[0].isdigit()]
CASE = Case("plain", 4, 2, 1)


def judged(name: str, program, seed: int) -> str:
    judge = Judge(KNOWN[name], seed)
    return judge.verdict([*attempts(judge.task.look, program, judge.cases, "", 60)]).told


def test_attention_is_written_by_hand():
    """The exercise forbids PyTorch's own function, however it is called."""
    def attention(q, k, v):
        seen = torch.ones(q.shape[1], k.shape[1]).tril(k.shape[1] - q.shape[1]) > 0
        return scaled_dot_product_attention(q, k, v, attn_mask=seen)
    assert "without PyTorch's own function" in judged("01a", attention, 0)

    def overflows(q, k, v):
        return KNOWN["01a"].right(q.clamp(-9, 9), k, v)
    assert "gives for a 50 times larger q" in judged("01a", overflows, 0)


@pytest.mark.parametrize("name", EXERCISES)
def test_a_gradient_that_is_checked_is_announced(name):
    """Else a right program in numpy is refused, and nobody can know why. The docstring names the
    arguments that it flows to."""
    exercise, seen = KNOWN[name], {}
    stub = getattr(load(STUBS / exercise.file), exercise.name)
    for k in range(5):
        seen |= {what: slope for what, slope in
                 exercise.look(exercise.right, *exercise.draw(Draw(f"{k}"))).items()
                 if "gradient" in what and (slope.any() or what not in seen)}
    told = re.search(r"[Gg]radient flows to ([^.]+)\.", stub.__doc__)
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
    assert judged("07a", of_direction(k), k) == ""


@pytest.mark.parametrize("wrong", [
    lambda g: 3 * g, lambda g: 7.3 * g, lambda g: 3 * g.norm() * (g / g.norm()),
    lambda g: (g / 3).double() * 7, lambda g: g, lambda g: 0 * g, lambda g: -g,
    lambda g: g / 2 + torch.eye(len(g))[0] / 9,                 # shorter than g_w
    lambda g: g - g.roll(1) @ g / (g @ g) * g + g.roll(1)])     # the chosen answer stays
def test_rounding_makes_no_counterexample(wrong):
    assert judged("07a", wrong, 0)


# ---- the right programs in plain Python ----------------------------------------------------------
def distributions(model, s) -> list[list[float]]:
    """The probabilities of all tokens where an answer has one, row after row."""
    logits = model(s.inputs)[s.mask > 0].double()
    exps = [[math.exp(x) for x in row] for row in logits.tolist()]
    return [[x / total for x in row] for row in exps for total in [sum(row)]]


def plain(name: str, o, s, now, old) -> float:
    """From lists of probabilities by the model now, and by the one before it moved."""
    targets = s.targets[s.mask > 0].tolist()
    p, q = ([each[t] for each, t in zip(some, targets)] for some in (now, old))
    if name == "psft":
        each = [-min(a / b, 1 + o.eps) for a, b in zip(p, q)]
    elif name == "eaft":
        each = []
        for x, some in zip(p, now):
            few = sorted(some)[-o.top:]
            few = [y / sum(few) for y in few]
            each.append(sum(y * math.log(y) for y in few) / math.log(o.top) * math.log(x))
    elif name == "anchored":
        kl = [sum(b * math.log(b / a) for a, b in zip(x, y)) for x, y in zip(now, old)]
        each = [-a * math.log(a) + o.lam * k for a, k in zip(p, kl)]
    else:
        each, begin = [], 0
        for many in s.mask.sum(-1).int().tolist():
            mine = [math.log(a / b) for a, b in zip(p[begin:begin + many], q[begin:begin + many])]
            weight = min(o.cap, math.exp(o.temp * sum(mine) / many))
            each += [-weight * math.log(a) for a in p[begin:begin + many]]
            begin += many
    return sum(each) / len(each)


@pytest.mark.parametrize("name, settings", [
    ("psft", {}), ("psft", {"eps": 0.05}), ("iw_sft", {}), ("iw_sft", {"temp": 2.0, "cap": 1.1}),
    ("eaft", {}), ("eaft", {"top": 4}), ("anchored", {}), ("anchored", {"lam": 3.0})], ids=str)
def test_a_right_program_is_that_of_plain_python(name, settings):
    objective, model = KNOWN[name].right(**settings), tiny_model(CASE)
    batch = demonstrated(objective, model, CASE, None)(0)
    s = batch.seqs["answer"]
    assert (s.mask.sum(-1) != s.mask.sum(-1)[0]).any()          # there is padding
    objective.forward(model, batch)                             # PSFT's first old policy
    old = distributions(model, s)
    move(model, CASE, 0)
    total = 0.0
    for part in batch.micro_batches():
        objective.forward(model, part)
        total += objective.loss(part)[0].item()
    assert total == pytest.approx(plain(name, objective, s, distributions(model, s), old), rel=1e-4)


def test_psft_renews_its_old_policy_every_so_many_steps_and_not_for_held_out_rows():
    objective, model = KNOWN["psft"].right(renew=2), tiny_model(CASE)
    batch = demonstrated(objective, model, CASE, None)(0)
    ratios = []
    for k in range(4):
        move(model, CASE, k)
        with torch.no_grad():
            objective.forward(model, batch)                     # held-out rows
        for part in batch.micro_batches():
            objective.forward(model, part)
            s = part.seqs["answer"]
        ratios.append(s.sum((s.logp - s.extra["old_logp"]).abs()).sum().item() > 1e-4)
    assert ratios == [False, True, False, True]


LAWS = {        # settings, and the method with the same gradient; None: there is none
    "luffy": ({"samples": 2}, None), "srft": ({"samples": 2, "sft": 0.0, "rl": 0.0}, None),
    "psft": ({"renew": 1}, "sft"), "iw_sft": ({}, "sft"), "eaft": ({}, "sft"),
    "anchored": ({"lam": 0.0}, "dft")}
LAW_CASE = {"iw_sft": Case("law", 3, 2, 1, noise=0.0),
            "eaft": Case("law", 3, 2, 1, noise=0.0, spread=0.0)}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAWS)
def test_the_right_program_obeys_the_law_of_its_page(name, monkeypatch):
    """Where nothing is pushed, all answers are right. EAFT's model has no weight but one bias: it
    finds all tokens equally likely, and still there is a gradient."""
    def with_bias(case):
        model = tiny_model(case)
        if name == "eaft":
            torch.nn.init.ones_(model.ln_f.bias)
        return model
    monkeypatch.setattr(papers, "tiny_model", with_bias)
    (settings, like), case = LAWS[name], LAW_CASE.get(name, Case("law", 3, 2, 3))
    got = losses_and_gradients(KNOWN[name].right(**settings), case,
                               lambda rows, texts: [1.0] * len(texts))["gradient"]
    if like is None:
        assert got.norm() < 1e-6
    else:
        wanted = losses_and_gradients(find(like)(), case)["gradient"]
        assert 0 < wanted.norm() and (got - wanted).norm() < 1e-4 * wanted.norm()
