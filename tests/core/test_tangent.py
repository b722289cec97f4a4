"""The tangent space (--tangent): linear in its change, equal to the network and its gradient at the start.

    python -m pytest tests/core/test_tangent.py         about 20 s
"""
import copy
import json

import pytest
import torch
from running import DEMOS, PAIRS, QUICK, call, lines, one_error
from tiny import CPU, FORMS, NANO, differs, model_grads, nano, real_batch, same, same_each, some_rows, tiny

from nanouft import evaluate, train
from nanouft.data.batches import collate
from nanouft.models import combine
from nanouft.models.generate import generate
from nanouft.models.load import save_model, start_model
from nanouft.models.tangent import START_FILE, TangentGPT, ordinary_kl
from nanouft.objective import plain

IDS = torch.randint(1, 17, (3, 9), generator=torch.Generator().manual_seed(0))


def moved(start, seed: int = 0, size: float = 0.02) -> TangentGPT:
    """The tangent of (a copy of) `start`, at a random delta."""
    model, rng = TangentGPT(copy.deepcopy(start)), torch.Generator().manual_seed(seed)
    for d in model.delta.parameters():
        d.data = size * torch.randn(d.shape, generator=rng, dtype=d.dtype)
    return model


def scaled(model: TangentGPT, by: float) -> TangentGPT:
    other = copy.deepcopy(model)
    for d in other.delta.parameters():
        d.data *= by
    return other


# ---- the mathematics -------------------------------------------------------------------------------------------------
def test_at_the_start_it_is_the_network():
    model = tiny()
    same(TangentGPT(copy.deepcopy(model))(IDS), model(IDS), "f_lin(x; theta0) = f(x; theta0)")


def test_logits_are_linear_in_the_change():
    start = tiny()
    f0, one = start(IDS), moved(start)
    differs(one(IDS), f0, "the change does something", 0.1)
    for by in (2, -3, 0.1):
        same(scaled(one, by)(IDS) - f0, by * (one(IDS) - f0), "f_lin(a delta) - f0 = a (f_lin(delta) - f0)")


def test_what_it_leaves_out_is_of_second_order():
    """|f(theta0 + eps d) - f_lin(theta0 + eps d)| falls four times when eps is halved."""
    one, errors = moved(tiny(), size=1.0), []
    for eps in (2e-3, 1e-3, 5e-4):
        model = scaled(one, eps)
        errors.append((model.ordinary()(IDS) - model(IDS)).norm().item())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.03) and errors[1] / errors[2] == pytest.approx(4, rel=0.03)
    assert errors[0] > 1e-6, "the network is not linear"


@pytest.mark.parametrize("form", [f for f in FORMS if f.objective.forward is not plain or f.name == "dpo"], ids=str)
def test_every_objective_begins_with_its_ordinary_loss_and_gradient(form):
    """At delta = 0, through embeddings, hidden states, guesses and noise: as if the network itself were trained."""
    batch = real_batch(form)
    for s in batch.seqs.values():
        s.logp = None
    start = nano(4).double()
    batch = batch.each(lambda x: x.double() if x.is_floating_point() else x)
    loss, grads = model_grads(form, copy.deepcopy(start), copy.deepcopy(batch))
    model = TangentGPT(copy.deepcopy(start))
    form.objective.forward(model, batch, form.hp)
    found, _ = form.objective.loss(batch, form.hp)
    found.backward()
    same(found.detach(), loss, "the same loss", 1e-9)
    same_each({n: d.grad for n, d in model.delta.named_parameters()}, grads, "the same gradient", 1e-6)
    assert all(p.grad is None for p in model.start.parameters()), "theta0 is frozen"


def test_each_door_is_linear():
    """Ids, embeddings and hidden states lead to the same logits; so does reading token by token with the cache."""
    model = moved(tiny())
    want = model(IDS)
    same(model(embeds=model(IDS, want="embeds")), want, "through embeddings")
    same(model(hidden=model(IDS, want="hidden")), want, "through hidden states")
    same(model(IDS, want="logp", targets=IDS), want.log_softmax(-1).gather(-1, IDS[..., None])[..., 0], "log-probs")
    prompts = [[1, 2, 3], [4, 5], [6]]
    for how in ({}, {"temperature": 1.0}):
        cached, plain = (generate(model, prompts, stop=16, pad=0, max_new=12, cached=c, **how) for c in (True, False))
        assert [a.ids for a in cached] == [a.ids for a in plain]
        for a, b in zip(cached, plain):
            same(a.logp, b.logp, "the cache keeps value and change", 1e-6)


def test_ordinary_kl_is_the_mean_over_response_tokens():
    model, batch = moved(tiny()), collate(some_rows(70), range(70), 0)
    s = batch.seqs["answer"]
    p, q = model(s.inputs).log_softmax(-1), model.ordinary()(s.inputs).log_softmax(-1)
    total = ((p.exp() * (p - q)).sum(-1) * s.mask).sum() / s.mask.sum()
    same(ordinary_kl(model, batch, CPU), total.detach(), "KL(linear || ordinary)", 1e-5)
    assert ordinary_kl(scaled(model, 0), batch, CPU) < 1e-9 < ordinary_kl(model, batch, CPU)


def test_directions_add_up():
    start = tiny()
    a, b = moved(start, 0), moved(start, 1)
    both = combine.combined([a, b], [0.5, -2.0])
    f0 = start(IDS)
    same(both(IDS) - f0, 0.5 * (a(IDS) - f0) - 2 * (b(IDS) - f0), "the changes of the logits add up")


# ---- runs ------------------------------------------------------------------------------------------------------------
def test_a_folder_is_an_ordinary_model_with_its_start(tmp_path):
    model = moved(nano(), size=0.01)
    save_model(tmp_path, model, NANO)
    read, _ = start_model(str(tmp_path))
    ids = torch.randint(0, NANO.n_vocab, (2, 7))
    assert isinstance(read, TangentGPT)
    same(read(ids), model(ids), "read as the linear model", 1e-4)
    assert all(map(torch.equal, read.start.parameters(), model.start.parameters())), "the start, bit for bit"
    ordinary, _ = start_model(str(tmp_path), trained=True)
    same(ordinary(ids), model.ordinary()(ids), "training begins from the ordinary network", 1e-6)
    differs(ordinary(ids), model(ids), "which is another one")


FLAGS = ["--tangent", "--batch-size", "4", "--device", "cpu", *QUICK]


@pytest.fixture
def folder(brief, tiny_base, here):
    lines(here / "demos.jsonl", DEMOS)
    lines(here / "pairs.jsonl", PAIRS)
    return here


@pytest.mark.parametrize("objective", ["sftmix --runs {base}", "rpo", "ppo --samples 2"])
def test_objectives_that_need_more_than_ids(objective, folder, tiny_base):
    words = objective.format(base=tiny_base).split()
    data = [] if "ppo" in objective else ["--data", "pairs.jsonl" if "po" in objective else "demos.jsonl"]
    assert call(train.main, "--objective", *words, "--init", tiny_base, *data, "--steps", 2, "--lr", 1e-2,
                "--out", "run", *FLAGS) == 0
    held = json.loads((folder / "run" / "eval.json").read_text())
    assert held["before"]["held_out"]["ordinary_kl"] < 1e-6 < held["after"]["held_out"]["ordinary_kl"] < 1
    assert (folder / "run" / START_FILE).exists()


def test_resume_is_bit_equal_and_the_rest_follows(folder, tiny_base, capsys):
    """Two runs from one start; one of them is cut back to its half and goes on. Their sum is evaluated."""
    run = ["--init", tiny_base, "--data", "pairs.jsonl", "--steps", 4, "--save-every", 2, "--lr", 1e-2, *FLAGS]
    assert call(train.main, "--objective", "dpo", *run, "--out", "whole") == 0
    assert call(train.main, "--objective", "dpo", *run, "--out", "cut") == 0
    cut = folder / "cut"
    for name in ("eval.json", "model.safetensors", START_FILE):
        (cut / name).unlink()
    assert call(train.main, "--resume", "cut") == 0 and "going on after step 2" in capsys.readouterr().out
    for name in ("model.safetensors", START_FILE):
        assert (cut / name).read_bytes() == (folder / "whole" / name).read_bytes(), "as if never interrupted"
    assert call(train.main, "--objective", "sft", *run, "--seed", "1", "--out", "other") == 0
    assert call(combine.main, "whole", "other", "--shares", "1", "-0.5", "--out", "both") == 0
    assert call(combine.main, "whole", "--ordinary", "--out", "ordinary") == 0
    capsys.readouterr()
    assert call(evaluate.main, "--init", "both", "--data", "pairs.jsonl") == 0
    out = capsys.readouterr().out
    assert "read as the linear model" in out and "ordinary_kl" in out
    assert call(evaluate.main, "--init", "ordinary", "--data", "pairs.jsonl") == 0
    assert "linear" not in capsys.readouterr().out
    (a, _), (b, _), (both, _) = (start_model(name) for name in ("whole", "other", "both"))
    want = {n: p - 0.5 * q for (n, p), q in zip(a.delta.named_parameters(), b.delta.parameters())}
    same_each(dict(both.delta.named_parameters()), want, "a - b / 2", 1e-6)


def test_what_does_not_go_together_is_one_line(folder, tiny_base, capsys):
    def says(main, *argv, words):
        one_error(call(main, *argv), capsys.readouterr().err, *words)
    for other in ("--freeze half", "--lora 4", "--checkpointing", "--compile on"):
        says(train.main, "--tangent", *other.split(), words=("--tangent", other.rsplit(" 4")[0]))
    says(combine.main, "base", words=("base", START_FILE, "--tangent"))
    save_model(folder / "a", moved(nano(0)), NANO)
    save_model(folder / "b", moved(nano(1)), NANO)
    says(combine.main, "a", "b", words=("other weights", "--init"))
    says(combine.main, "a", "--shares", "1", "2", words=("--shares", "2 numbers"))
    says(combine.main, "a", "--shares", "x", words=("--shares", "not a number"))
    (folder / "a" / START_FILE).write_bytes(b"x")
    says(combine.main, "a", words=(START_FILE, "damaged"))
