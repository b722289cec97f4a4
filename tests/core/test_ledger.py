"""The weight ledger: what it shows is the derivative of the loss, and nothing else."""
import math
import re

import pytest
import torch
from tiny import (
    CPU,
    FORMS,
    NANO,
    Form,
    differs,
    give_logps,
    is_live,
    nano,
    read,
    real_batch,
    same,
    say,
    settings,
)

from nanouft.data.rows import Row
from nanouft.errors import UserError
from nanouft.eval.show import ONLY_READ
from nanouft.ledger import entries, main, views
from nanouft.models.save import write_gpt
from nanouft.models.tokenizer_files import save_tokenizer
from nanouft.objective import pushes
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.sft import SFT
from nanouft.run.config import run

ROW = Row(say("user", "the dova lives in a house"), say("assistant", "it eats two red nuts"),
          say("assistant", "it eats two red nuts"), say("assistant", "it eats"))


@pytest.mark.parametrize("form", [f for f in FORMS if is_live(f)], ids=str)
def test_the_ledger_is_the_derivative_of_the_loss(form):
    batch = give_logps(real_batch(form), seed=1)
    ledger = pushes(form.objective, batch, form.hp)
    for s in batch.seqs.values():
        s.logp = s.logp.detach()
    assert ledger.keys() == batch.seqs.keys() - set(ONLY_READ), \
        "of a role that is only read it says nothing"
    step, rng = 1e-5, torch.Generator().manual_seed(2)
    for role in ledger:
        s = batch.seqs[role]
        on, logp = read(form, role, s), s.logp
        assert (ledger[role][~on] == 0).all(), f"{form}, {role}: 0 where no response token is"
        differs(ledger[role], 0 * ledger[role], f"{form}, {role}: the ledger is not empty", by=1e-6)
        for _ in range(3):  # a wrong entry shows in a random direction
            direction = torch.randn(logp.shape, generator=rng, dtype=logp.dtype).masked_fill(~on, 0)
            values = []
            for sign in (1, -1):
                s.logp = logp + sign * step * direction
                values.append(form.objective.loss(batch, form.hp)[0].item())
            s.logp = logp
            same((values[1] - values[0]) / (2 * step), (ledger[role] * direction).sum(),
                 f"{form}, {role}: the ledger is minus the derivative of the loss, by a central "
                 "difference", 1e-7)


def test_the_policy_is_cut_loose_from_the_network():
    model, form = nano(), Form("sft", SFT())
    batch = real_batch(form)
    form.objective.forward(model, batch, form.hp)
    pushes(form.objective, batch, form.hp)
    assert all(s.logp.is_leaf for s in batch.seqs.values()) \
        and all(p.grad is None for p in model.parameters()), \
        "LAW: the ledger is of the pure loss; no gradient reaches the model"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_answer_token_by_token(name):
    strips = entries(name, settings(name), ROW, nano(), NANO, CPU)
    for role, pieces, w in strips:
        assert len(pieces) == len(w) and all(map(math.isfinite, w))
    assert strips[0][1][-1] == "<|end|>", "<|end|> is always a target"
    said = {role: "".join(pieces) for role, pieces, _ in strips}
    assert any(text == " it eats two red nuts<|end|>" for text in said.values()), said


def test_views_read_flags_as_train_does():
    shown = list(views([*OBJECTIVES, "ift --variant released --detach --lam 0.5"]))
    assert [name for _, name, _ in shown] == [*OBJECTIVES, "ift"]
    assert (shown[-1][2].detach, shown[-1][2].lam) == (True, 0.5) and not shown[1][2].detach
    for wrong, words in [("itf", "did you mean ift"), ("sft --lam 1", "unknown flag --lam"),
                         ("", "unknown objective"),
                         ("ift --lam 2", "at most 1")]:
        with pytest.raises(UserError, match=words):
            list(views([wrong]))


def test_the_command(tmp_path, capsys):
    write_gpt(tmp_path / "m", nano())
    save_tokenizer(NANO, tmp_path / "m")
    argv = ["--init", str(tmp_path / "m"), "--prompt", "say yes", "--answer", "yes sir",
            "--rejected", "no", "--out", str(tmp_path / "x.png")]
    assert run(main, argv) == 0
    out = capsys.readouterr().out
    assert (tmp_path / "x.png").stat().st_size > 5000 and all(name in out for name in OBJECTIVES)
    strip = out[out.index("\nsft answer"):].splitlines()[3]
    assert set(re.findall(r"[-+]\d+\.\d+", strip)) == {"+1.00"}, \
        f"token-mean SFT is +1 everywhere, not {strip}"
    assert run(main, [*argv, "--show", "kto"]) == 0
    out = capsys.readouterr().out
    assert "kto good answer" in out and "kto bad answer" in out and "sft answer" not in out
