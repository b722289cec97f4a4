"""Laws of PoFT: SFT with a weight per row that aligned models decide."""
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from running import DEMOS, QUICK, call, lines, one_error, tiny_folder
from tiny import CPU, DATA, NANO, Form, differs, give_logps, nano, real_batch, same, value_and_grads

from nanouft import train
from nanouft.data.batches import collate, encode
from nanouft.data.tokenizer_files import byte_letters
from nanouft.gpt import GPT, GPTConfig
from nanouft.look import report
from nanouft.models.load import start_model
from nanouft.models.save import write_gpt
from nanouft.objective import REF, Columns
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.poft import PoFT, tau
from nanouft.objectives.sft import SFT
from nanouft.reference import add_columns, logps
from nanouft.shell.files import Lines

pytestmark = pytest.mark.usefixtures("brief")
HP = PoFT(aligned=["base"])


def batch_with(rbar, hp: PoFT = HP):
    """Random log-probs; `rbar` of every row, or a function of the policy's own r."""
    batch = give_logps(real_batch(Form("poft", hp)))
    s = batch.seqs["answer"]
    r = s.mean(s.logp)
    batch.col.extra["aligned_logp"] = (rbar(r) if callable(rbar) else torch.full_like(r, rbar)).double()
    return batch


def sft_grad(batch):
    """Per-row-mean SFT, of the same batch."""
    return value_and_grads(Form("sft", SFT(reduction="sequence")), batch)[1]["answer"]


# ---- the loss --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("hp", [HP, replace(HP, beta=0.5, margin=0.3)], ids=str)
def test_the_gradient_is_that_of_sft_times_tau(hp):
    batch = batch_with(lambda r: r + torch.linspace(-3, 3, len(r)).double(), hp)
    s = batch.seqs["answer"]
    share = torch.sigmoid(-(hp.beta * (s.mean(s.logp) - batch.col.extra["aligned_logp"]) + hp.margin))
    same(tau(batch, hp), share, "tau = sigma(beta (rbar - r) - margin): a margin makes every tau smaller")
    _, grads = value_and_grads(Form("poft", hp), batch)
    same(grads["answer"], hp.beta * share[:, None] * sft_grad(batch),
         "dL/dlogp of a row = beta tau x that of sequence-mean SFT, tau = sigma(beta (rbar - r) - margin)")
    assert share.std() > 0.1, "rows of one weight would show little"


# ---- the column ------------------------------------------------------------------------------------------------------
def demos(tok=NANO, n_ctx: int = 64) -> list:
    return encode(OBJECTIVES["poft"].rows(DATA, HP), tok, n_ctx)[0]


def column(folders: list[str]) -> np.ndarray:
    encoded = demos()
    add_columns(encoded, OBJECTIVES["poft"].columns, None, NANO.pad, CPU, replace(HP, aligned=folders))
    return np.array([e.col.extra["aligned_logp"] for e in encoded])


def test_the_opinion_is_a_mean_over_models(tmp_path):
    other = str(tiny_folder(tmp_path / "other"))
    a, b = column(["base"]), column([other])
    same(column(["base", other]), (a + b) / 2, "rbar is the plain mean over the models", 1e-6)
    differs(a, b, "and the models differ")


def test_every_model_reads_with_its_own_tokenizer(tmp_path):
    """A model of single bytes: the same text, five times the tokens, a mean over its own tokens."""
    write_gpt(tmp_path, GPT(GPTConfig(vocab_size=256, n_ctx=256, n_layer=1, n_head=2, n_embd=16), seed=0))
    letters = {letter: byte for byte, letter in byte_letters().items()}
    (tmp_path / "vocab.json").write_text(json.dumps(letters), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    other, tok = start_model(str(tmp_path))
    encoded = demos(tok, 256)
    assert encoded[3].length > 2 * demos()[3].length
    scored = logps(encoded, other, tok.pad, CPU)
    same(column([str(tmp_path)]), [row["answer"][e.seqs["answer"].mask[1:] > 0].mean()
                                   for row, e in zip(scored, encoded)],
         "rbar is the mean over the aligned model's own tokens of the same answer", 1e-6)


def test_the_opinion_is_of_the_answer_alone():
    encoded, (base, _) = demos(), start_model("base")
    add_columns(encoded, (REF,), base, NANO.pad, CPU)
    want = [e.seqs["answer"].ref.sum() / e.seqs["answer"].mask[1:].sum() for e in encoded]
    same(column(["base"]), want, "rbar: mean log-prob of the answer's tokens, <|end|> included, the prompt not", 1e-5)


def test_the_weight_of_a_row_is_its_tau():
    """Of every row, however many there are: 70 rows are weighed 64 at a time."""
    model = nano()
    encoded = [replace(e, col=Columns(extra={"aligned_logp": -i / 4})) for i, e in enumerate(demos() * 14)]
    batch = collate(encoded, range(70), NANO.pad)
    OBJECTIVES["poft"].forward(model, batch, HP)
    want = tau(batch, HP).detach()
    assert want.min() < 0.05 and want.max() > 0.5, "rows of one weight would show little"
    for name, hp, weight in (("poft", HP, want), ("sft", SFT(reduction="sequence"), [1.0] * 70)):
        same(report.row_weights(OBJECTIVES[name], hp, model, encoded, NANO.pad, CPU), weight,
             "PoFT weighs a row by its tau (at beta 1), sequence-mean SFT every row by 1", 1e-6)


# ---- the command -----------------------------------------------------------------------------------------------------
def test_the_command_asks_for_aligned_models(here, tiny_base, capsys):
    file = lines(here / "d.jsonl", DEMOS)
    argv = ("--objective", "poft", "--data", file, "--init", tiny_base, "--steps", 2, "--batch-size", 4, *QUICK)
    one_error(call(train.main, *argv), capsys.readouterr().err, "--aligned DIR", "--data")
    one_error(call(train.main, *argv, "--aligned", "nowhere"), capsys.readouterr().err, "nowhere")
    capsys.readouterr()
    assert call(train.main, *argv, "--aligned", tiny_base, "--weigh-rows", "--out", here / "p") == 0
    said = capsys.readouterr().out
    weights = Lines(here / "p" / "row_weights.jsonl").read()
    assert len(weights) == 14 and all(w.keys() == {"before", "after", "where", "prompt", "answer"} for w in weights)
    assert all(abs(w["before"] - 0.5) < 1e-3 for w in weights), "LAW: asked of the policy itself, every tau is 1/2"
    assert weights == sorted(weights, key=lambda w: w["before"]), "LAW: the most doubted row comes first"
    shown = {(w["prompt"], w["answer"]) for w in weights}
    assert shown < {(d["prompt"], d["response"]) for d in DEMOS} and "d.jsonl, line" in weights[0]["where"]
    after = sum(w["after"] for w in weights) / 14
    assert f"row weights 0.500 -> {after:.3f} on average" in said and after < 0.499, "LAW: tau falls with learning"
    assert "row_weights" not in (here / "p" / "eval.json").read_text(encoding="utf-8")
    assert call(train.main, *argv, "--aligned", tiny_base, "--out", here / "q") == 0
    assert not (here / "q" / "row_weights.jsonl").exists(), "LAW: rows are weighed only where --weigh-rows asks for it"


@pytest.mark.slow
def test_doubted_rows_are_the_wrong_ones(here):
    """NanoWorld's default aligned model, three answers in ten wrong: tau finds them without a label. About 60 s."""
    from nanouft import world
    assert call(train.main, "--objective", "poft", "--noise", 0.3, "--steps", 5, "--weigh-rows", *QUICK) == 0
    rows = Lines(here / "out/poft/row_weights.jsonl").read()
    wrong = [world.score(row["prompt"], row["answer"]) < 1 for row in rows]
    k = sum(wrong)
    assert 250 < k < 350 and sum(wrong[:k]) / k > 0.7, "LAW: the k most doubted rows are mostly the k wrong ones"
