"""The weight ledger: what it shows is the derivative of the loss, and nothing else.

    python -m pytest tests/test_ledger.py        about 3 s
"""
import math
import re

import numpy as np
import pytest
import torch
from tiny import (CPU, FORMS, NANO, TINY, VARIANTS, Form, differs, give_logps, is_live, pure, read, real_batch, same,
                  say, settings)

from nanouft.data.rows import Row
from nanouft.objective import pushes
from nanouft.shell.config import UserError, run

from nanouft.gpt import GPT
from nanouft.ledger import entries, main, views
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import DPO
from nanouft.objectives.ift import IFT as AnyIFT
from nanouft.objectives.sft import SFT

ROW = Row(say("user", "the dova lives in a house"), say("assistant", "it eats two red nuts"),
          say("assistant", "it eats two red nuts"), say("assistant", "it eats"))


def IFT(**kw) -> AnyIFT:
    """The published form, unless another variant is named."""
    return AnyIFT(**{"variant": "released", **kw})


def nano(seed: int = 0) -> GPT:
    return GPT(TINY.__class__(**{**vars(TINY), "vocab_size": NANO.n_vocab}), seed=seed)


@pytest.mark.parametrize("form", [f for f in FORMS if is_live(f)], ids=str)
def test_the_ledger_is_the_derivative_of_the_loss(form):
    batch = give_logps(real_batch(form), seed=1)
    ledger = pushes(form.objective, batch, form.hp)
    for s in batch.seqs.values():
        s.logp = s.logp.detach()
    step = 1e-5
    for role in ledger:                                 # of a role that is only read (KTO's mismatch) it says nothing
        s = batch.seqs[role]
        numeric = torch.zeros_like(s.logp)
        for place in read(form, role, s).nonzero().tolist():
            values = []
            for sign in (1, -1):
                s.logp[tuple(place)] += sign * step
                values.append(form.objective.loss(batch, form.hp)[0].item())
                s.logp[tuple(place)] -= sign * step
            numeric[tuple(place)] = -(values[0] - values[1]) / (2 * step)
        same(ledger[role], numeric,
             f"{form}, {role}: the ledger is minus the central difference of the loss, and 0 off the mask",
             1e-8)
        differs(ledger[role], 0 * ledger[role], f"{form}, {role}: the ledger is not empty", by=1e-6)


def test_live_and_constant_weights_are_told_apart():
    """The finite-difference test can fail: for constant weights it would."""
    batch = pure([[10.0, 0.1, 0.1]])
    live, constant = (pushes(OBJECTIVES["ift"], batch, IFT(detach=d))["answer"] for d in (False, True))
    assert live[0, 2] < 0 < constant[0, 2], \
        "LAW: after a hard token, live weights push an easy one down, constant ones up"


@pytest.mark.parametrize("gamma", [0.3, 0.95, 1.0])
def test_ift_shows_the_formulas_of_its_gradient(gamma):
    l = np.random.default_rng(4).exponential(size=6)
    t = np.arange(6)
    D = np.triu(gamma ** np.maximum(t[None] - t[:, None], 0.0))
    L = l @ D @ l / (D @ l).sum()
    full = ((D + D.T) @ l - L * D.sum(0)) / (D @ l).sum()
    same(pushes(OBJECTIVES["ift"], pure([list(l)]), IFT(gamma=gamma))["answer"][0], full,
         "live weights: -dL/dlogp = [(D + D^T) l - L D^T 1] / (1^T D l)")
    same(pushes(OBJECTIVES["ift"], pure([list(l)]), IFT(gamma=gamma, detach=True))["answer"][0],
         D @ l / (D @ l).sum(),
         "--detach: -dL/dlogp = D l / (1^T D l)")


def test_sft_is_the_unit():
    batch = pure([[3.0, 1, 2], [5.0, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    same(4 * pushes(OBJECTIVES["sft"], batch, SFT())["answer"], [[1, 1, 1], [1, 0, 0]],
         "token-mean SFT weighs +1/N on every response token of the step")
    same(pushes(OBJECTIVES["sft"], batch, SFT(reduction="sequence"))["answer"],
         [[1 / 6, 1 / 6, 1 / 6], [1 / 2, 0, 0]],
         "sequence-mean SFT weighs every answer the same")


def test_dpo_pushes_both_ways():
    form = Form("dpo", DPO(beta=0.3))
    batch = give_logps(real_batch(form), seed=2)
    w = pushes(form.objective, batch, form.hp)
    c, r = batch.seqs["chosen"], batch.seqs["rejected"]
    h = 0.3 * (c.sum(c.logp - c.ref) - r.sum(r.logp - r.ref)).detach()
    each = 0.3 * torch.sigmoid(-h) / batch.rows
    same(w["chosen"], each[:, None] * c.mask, "DPO: every chosen token is pushed up by beta sigma(-h)")
    same(w["rejected"], -each[:, None] * r.mask, "DPO: every rejected token is pushed down by beta sigma(-h)")


def test_the_policy_is_cut_loose_from_the_network():
    model = nano()
    form = Form("sft", SFT())
    batch = real_batch(form)
    form.objective.forward(model, batch, form.hp)
    pushes(form.objective, batch, form.hp)
    assert all(s.logp.is_leaf for s in batch.seqs.values()) and all(p.grad is None for p in model.parameters()), \
        "LAW: the ledger is of the pure loss; no gradient reaches the model"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_answer_token_by_token(name):
    objective = OBJECTIVES[name]
    strips = entries(name, settings(name), ROW, nano(), NANO, CPU)
    for role, pieces, w in strips:
        assert len(pieces) == len(w) and all(map(math.isfinite, w))
    assert strips[0][1][-1] == "<|end|>", "<|end|> is always a target"
    said = {role: "".join(pieces) for role, pieces, _ in strips}
    assert any(text == " it eats two red nuts<|end|>" for text in said.values()), said


def test_at_the_reference_dpo_weighs_half_beta():
    n = {role: len(pieces) for role, pieces, _ in entries("dpo", DPO(beta=0.2), ROW, nano(), NANO, CPU)}
    for role, _, w in entries("dpo", DPO(beta=0.2), ROW, nano(), NANO, CPU):
        sign = 1 if role == "chosen" else -1
        same(w, [sign * 0.1 * n["chosen"]] * n[role],
             "policy = reference: sigma(0) = 1/2, so beta/2 a token on both sides, shown times the chosen answer's N",
             1e-6)


def test_views_read_flags_as_train_does():
    assert set(VARIANTS) <= set(OBJECTIVES)
    shown = list(views([*OBJECTIVES, "ift --variant released --detach --lam 0.5"]))
    assert [name for _, name, _ in shown] == [*OBJECTIVES, "ift"]
    assert (shown[-1][2].detach, shown[-1][2].lam) == (True, 0.5) and not shown[1][2].detach
    for wrong, words in [("itf", "did you mean ift"), ("sft --lam 1", "unknown flag --lam"), ("", "unknown objective"),
                         ("ift --variant eq21 --detach", "changes nothing")]:
        with pytest.raises(UserError, match=words):
            list(views([wrong]))


def test_the_command(tmp_path, capsys):
    nano().save_pretrained(tmp_path / "m")
    NANO.save(tmp_path / "m")
    argv = ["--init", str(tmp_path / "m"), "--prompt", "say yes", "--answer", "yes sir", "--rejected", "no", "--out",
            str(tmp_path / "x.png")]
    assert run(main, argv) == 0
    out = capsys.readouterr().out
    assert (tmp_path / "x.png").stat().st_size > 5000
    strip = out[out.index("\nsft answer"):].splitlines()[3]
    assert set(re.findall(r"[-+]\d+\.\d+", strip)) == {"+1.00"}, f"token-mean SFT is +1 everywhere, not {strip}"
    assert run(main, ["--init", str(tmp_path / "nowhere")]) == 2
    assert run(main, [*argv, "--show", "kto"]) == 0
    out = capsys.readouterr().out
    assert "kto good answer" in out and "kto bad answer" in out and "sft answer" not in out
    assert run(main, [*argv, "--show", "ktoo"]) == run(main, [*argv, "--show", "kto", "--runs", "x"]) == 2
