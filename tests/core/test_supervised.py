"""The gentler relatives of SFT: DFT, NEFTune, SFTMix, TOFU, half fine-tuning, forced beginnings."""
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from running import QUICK, call, losses
from tiny import (
    CPU,
    DATA,
    NANO,
    TINY,
    Form,
    batch_of,
    differs,
    drawn,
    model_grads,
    nano,
    row,
    same,
    some_rows,
    tiny,
)

from nanouft import train
from nanouft.data.batches import encode
from nanouft.data.rows import demo_rows
from nanouft.errors import UserError
from nanouft.gpt import GPT
from nanouft.models.folder import read_gpt
from nanouft.models.load import start_model
from nanouft.models.save import write_gpt
from nanouft.models.tokenizer_files import save_tokenizer
from nanouft.objective import Batch, Seqs, pushes
from nanouft.objectives import OBJECTIVES, sftmix
from nanouft.objectives.dft import DFT
from nanouft.objectives.neftune import NEFTune, noise
from nanouft.objectives.sft import SFT
from nanouft.objectives.sftmix import SFTMix
from nanouft.objectives.tofu import TOFU, focal_weight
from nanouft.reference import Models, add_columns
from nanouft.run import first as first_runs
from nanouft.run import freeze
from nanouft.run.flags import Train, read_flags
from nanouft.sampling import generate

pytestmark = pytest.mark.usefixtures("brief")


@pytest.mark.parametrize("name, hp, tol",
                         [("neftune", NEFTune(alpha=0.0), 0.0), ("sftmix", SFTMix(mu=0.0), 1e-12)])
def test_without_its_twist_it_is_sft(name, hp, tol):
    """NEFTune with alpha 0, bit for bit; SFTMix with mu 0, on the same answers: the loss and every
    gradient."""
    model, rows = tiny(), arranged(8) if name == "sftmix" else some_rows(8)
    want, grads = model_grads(Form("sft", SFT()), model, batch_of(some_rows(8)))
    got, g = model_grads(Form(name, hp), model, batch_of(rows))
    same(got, want, f"{name} is SFT", tol)
    for weight in grads:
        same(g[weight], grads[weight], f"{name} has the gradient of SFT: {weight}", tol)


# ---- DFT -----------------------------------------------------------------------------------------
def test_dft_has_the_gradient_of_minus_the_mean_probability():
    batch = drawn("dft")
    push = pushes(OBJECTIVES["dft"], batch, DFT())
    s = batch.seqs["answer"]
    p = s.logp.detach().clone().requires_grad_(True)
    (-(p.exp() * s.mask).sum() / batch.tokens["answer"]).backward()
    same(-push["answer"], p.grad,
         "DFT's gradient is that of -mean_t exp(log p_t): the push of a token is its own p")
    nll = -s.sum(s.logp).sum() / batch.tokens["answer"]
    same(OBJECTIVES["dft"].loss(batch, DFT())[1]["nll"], nll.detach(),
         "the metric nll is the plain one")


# ---- NEFTune -------------------------------------------------------------------------------------
def test_neftune_does_nothing_in_evaluation():
    model, batch, plain_batch = tiny(), batch_of(some_rows()), batch_of(some_rows())
    OBJECTIVES["sft"].forward(model, plain_batch, SFT())
    OBJECTIVES["neftune"].forward(model, batch, NEFTune())
    differs(batch.seqs["answer"].logp, plain_batch.seqs["answer"].logp,
            "in training there is noise")
    OBJECTIVES["neftune"].forward(model.eval(), batch, NEFTune())
    same(batch.seqs["answer"].logp, plain_batch.seqs["answer"].logp,
         "after model.eval() there is none", 0.0)


def test_neftune_noise_is_uniform_and_goes_by_the_true_length():
    width, alpha = 64, 5.0
    # 100 and 25 tokens are read
    rows = [row([1] * 101, [0] * 50 + [1] * 51), row([1] * 26, [0] * 20 + [1] * 6)]
    batch = batch_of(rows)
    x = noise(batch.seqs["answer"], batch, alpha, width)
    for i, (length, a) in enumerate(((100, 0.0625), (25, 0.125))):
        own = x[i, :length]
        assert own.abs().max() <= a and own.abs().max() > 0.99 * a, \
            ("LAW: |noise| <= alpha / "
             f"sqrt(L C) = {a} in a row of L = {length} tokens, however long its neighbours are")
        same(own.var(), a * a / 3, "a uniform number on (-a, a) has variance a^2/3", 3e-4)
        same(own.mean(), 0.0, "and mean 0", 5e-3)
    again = batch_of(rows, step=1)
    differs(noise(again.seqs["answer"], again, alpha, width), x, "another step draws other noise")
    same(noise(batch.seqs["answer"], batch, alpha, width), x, "the same step draws the same", 0.0)


# ---- TOFU ----------------------------------------------------------------------------------------
def through_logits(z: torch.Tensor, y: list[int], hp: TOFU):
    """(sum of the tokens' losses, its gradient by the logits), by the objective's own forward and
    loss."""
    z = z.double().requires_grad_(True)
    ids, mask = torch.tensor([y]), torch.ones(1, len(y))
    batch = Batch({"answer": Seqs(ids, ids, mask, mask)}, tokens={"answer": 1})
    OBJECTIVES["tofu"].forward(lambda inputs, want, at: z, batch, hp)
    loss, _ = OBJECTIVES["tofu"].loss(batch, hp)
    return loss.detach(), torch.autograd.grad(loss, z)[0]


def test_tofu_is_cross_entropy_and_focal_loss_at_its_ends():
    z, y = torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), [0, 3, 1, 1, 2]
    total, _ = through_logits(z, y, TOFU(gamma=0.0, beta=1.0))
    same(total, F.cross_entropy(z.double(), torch.tensor(y), reduction="sum"),
         "gamma 0, beta 1: cross entropy")
    for gamma in (1.0, 2.0, 3.0):
        x = z.double().requires_grad_(True)
        l = x.log_softmax(-1)[range(5), y]
        ((1 - l.exp()) ** gamma * -l).sum().backward()
        same(through_logits(z, y, TOFU(gamma=gamma, beta=1.0))[1], x.grad,
             "beta 1: the gradient of the focal loss")
    p, one = z.double().softmax(-1)[range(5), y], F.one_hot(torch.tensor(y), 4)
    g = (1 - p) ** 3 - 3 * p * (1 - p) ** 2 * p.log()
    same(through_logits(z, y, TOFU())[1], g[:, None] * ((z.double() / 0.8).softmax(-1) - one),
         "gradient by the logits: g(p) (softmax(z / beta) - onehot): beta cancels 1 / beta")


def test_the_focal_weight():
    ends = focal_weight(torch.tensor([0.0, -1e-9, -200.0, -1e4]), 3.0)
    same(ends, [0, 0, 1, 1], "g(1) = 0 and g(0) = 1, also where p underflows in fp32", 1e-6)
    total, grad = through_logits(torch.tensor([[0.0, 300.0], [300.0, 0.0]]), [0, 0], TOFU())
    assert total.isfinite() and grad.isfinite().all(), \
        "LAW: finite where the authors' log(softmax) is NaN"


# ---- SFTMix --------------------------------------------------------------------------------------
def arranged(n: int = 7, seed: int = 0) -> list:
    """n rows with a confidence, paired; and their confidences."""
    rows = some_rows(n)
    for i, e in enumerate(rows):
        e.per_row.extra["confidence"] = -float((i * 5) % n)
    return sftmix.pair_up(rows, seed)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_sftmix_pairs_the_sure_half_with_the_unsure_half(n):
    rows, pairs = some_rows(n), arranged(n)
    place = {e.seqs["answer"].ids.tobytes(): (i * 5) % n for i, e in enumerate(rows)}  # 0 = surest
    sure, unsure = ([place[p.seqs[role].ids.tobytes()] for p in pairs]
                    for role in ("sure", "unsure"))
    assert sorted(sure) == list(range((n + 1) // 2)) and sorted(unsure) == list(range(n // 2, n)), \
        ("LAW: equal halves, cut at the median, every row in one pair; the middle one of an odd "
         "number with itself")
    if n == 8:
        others = [p.seqs["unsure"].ids.tobytes() for p in arranged(n, 1)]
        assert others != [p.seqs["unsure"].ids.tobytes() for p in pairs], \
            "another seed matches other partners"


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_two_look_ups_are_the_cross_entropy_of_the_mixed_label(lam, monkeypatch):
    """Written out from the definition: mixed states from the first ANSWER token on, soft labels
    over the vocabulary."""
    model, batch = tiny(), batch_of(arranged())
    draw = 2 / math.pi * math.asin(math.sqrt(lam))
    monkeypatch.setattr(sftmix, "uniform_rows",
                        lambda batch, B, T: torch.full((B, T), draw, dtype=torch.float64))
    OBJECTIVES["sftmix"].forward(model, batch, SFTMix())
    a, b = batch.seqs["sure"], batch.seqs["unsure"]
    h = [model(s.inputs, want="hidden") for s in (a, b)]
    each = []
    for i in range(batch.rows):
        at = [s.mask[i].nonzero()[:, 0] for s in (a, b)]
        n = min(map(len, at))
        z = model(hidden=(lam * h[0][i, at[0][:n]] + (1 - lam) * h[1][i, at[1][:n]])[None])[0]
        y, y2 = (F.one_hot(s.targets[i, k[:n]], TINY.vocab_size).double()
                 for s, k in zip((a, b), at))
        each.append(F.cross_entropy(z, lam * y + (1 - lam) * y2))
    assert len({int(s.mask[i].nonzero()[0]) for i in range(batch.rows) for s in (a, b)}) > 1, \
        "prompts of one length"
    loss, metrics = OBJECTIVES["sftmix"].loss(batch, SFTMix(mu=0.2))
    same(metrics["nll_mix"], torch.stack(each).mean().detach(),
         "two look-ups = CE with the soft label", 1e-7)
    same(loss.detach(), metrics["nll"] + 0.2 * metrics["nll_mix"], "L = L_SFT + mu L_mix")


def test_lam_is_one_beta_draw_a_pair():
    rows, draws = arranged(8), []
    for step in range(500):
        batch = batch_of(rows, step=step)
        OBJECTIVES["sftmix"].forward(NO_MODEL, batch, SFTMix())
        share, mask = batch.seqs["mix_sure"].extra["share"], batch.seqs["mix_sure"].mask
        draws.append(share[:, 0])
        same(share, share[:, :1] * mask, "lam is one number a pair, not one a token", 0.0)
        same(batch.seqs["mix_unsure"].extra["share"], (1 - share[:, :1]) * mask,
             "the other side has 1 - lam", 1e-7)
    x = torch.cat(draws).double()
    same(x.mean(), 0.5, "Beta(1/2, 1/2) has mean 1/2", 0.02)
    same(x.var(), 1 / 8, "and variance 1/8", 0.005)
    same((x < 0.25).double().mean(), 1 / 3,
         "and a third of it lies below 1/4: P(lam < x) = 2/pi asin(sqrt x)", 0.03)


def NO_MODEL(*args, want=None, targets=None, hidden=None, at=None):
    """Stands for a network where only the shapes of its answers matter."""
    if want == "hidden":
        return torch.zeros(*args[0].shape, 1)
    return torch.zeros(targets.shape) if want == "logp" else torch.zeros(len(at), 17)


def test_confidence_is_minus_the_mean_perplexity(tiny_base, tmp_path):
    models, folders = [nano(1), nano(2)], [str(tmp_path / "1"), str(tmp_path / "2")]
    for model, folder in zip(models, folders):
        write_gpt(folder, model)
        save_tokenizer(NANO, folder)
    encoded, _ = encode(demo_rows(DATA, None), NANO, TINY.n_ctx)
    add_columns(encoded, OBJECTIVES["sftmix"].columns,
                Models(models[0], NANO.pad, CPU, start_model), SFTMix(runs=folders))
    for e in encoded:
        ids, m = torch.from_numpy(e.seqs["answer"].ids)[
            None], torch.from_numpy(e.seqs["answer"].mask)[1:] > 0
        ppl = [model(ids)[0, :-1].log_softmax(-1)[range(len(m)), ids[0, 1:]][m].mean().neg().exp()
               for model in models]
        same(e.per_row.extra["confidence"], -(ppl[0] + ppl[1]).item() / 2,
             "Conf = -mean over runs of the answer's perplexity", 1e-4)
    with pytest.raises(UserError, match="must have one tokenizer"):
        add_columns(encoded, OBJECTIVES["sftmix"].columns,
                    Models(tiny(), NANO.pad, CPU, start_model), SFTMix(runs=[str(tiny_base)]))


def test_runs_that_come_first_see_the_rows_of_the_run():
    def first(**flags) -> list[tuple[Path, list[str]]]:
        return first_runs.prerequisite_runs(OBJECTIVES["sftmix"].prerequisite, Train(**flags))
    assert "--noise=0.4" in first(noise=0.4)[0][1] and first() == first(device="cpu")
    flags_only = first(data=["my.jsonl"], strict=True)[0][1]
    assert "--strict" in flags_only and "True" not in flags_only
    assert read_flags(flags_only)[1].strict


def test_sftmix_trains_and_keeps_its_first_runs(here, tiny_base, capsys):
    flags = ["--objective", "sftmix", "--init", tiny_base, "--rows", 21, "--batch-size", 4,
             "--epochs", 1, *QUICK]
    assert call(train.main, *flags, "--out", "a") == 0
    first = capsys.readouterr().out
    assert first.count("first, once: python -m nanouft.train --objective sft --epochs") == 2
    assert "sftmix: 3 steps of 4 rows" in first, "21 answers are 11 pairs, four at a time"
    assert call(train.main, *flags, "--out", "b") == 0
    assert "first, once" not in capsys.readouterr().out, "LAW: what was made once is found again"
    assert losses(here / "a") == losses(here / "b")


# ---- HFT: half fine-tuning -----------------------------------------------------------------------
def frozen_bits(model: GPT, seed: int) -> dict[str, torch.Tensor]:
    """{parameter: True where it is frozen}, of a model frozen in place."""
    rows = freeze.half(model, seed)
    out = {}
    for name, p in model.named_parameters():
        out[name] = torch.full(p.shape, not p.requires_grad)
        if p in rows:
            out[name][rows[p][0]] = True
    return out


@pytest.mark.parametrize("seed", range(3))
def test_exactly_half_of_each_kind_in_each_layer_is_frozen(seed):
    frozen = frozen_bits(tiny(cfg=replace(TINY, n_layer=3)), seed)
    C = TINY.n_embd
    for layer in range(3):
        f = {n.removeprefix(f"h.{layer}."): x for n, x in frozen.items()
             if n.startswith(f"h.{layer}.")}
        maps = [*f["attn.c_attn.weight"].split(C), f["attn.c_proj.weight"]]
        assert all(x.all() or not x.any() for x in maps), \
            "LAW: each of q, k, v, o is frozen whole or not at all"
        assert sum(bool(x.all()) for x in maps) == 2, \
            "LAW: two of the four attention maps are frozen"
        assert [bool(x.all()) for x in f["attn.c_attn.bias"].split(C)] \
            == [bool(x.all()) for x in maps[:3]]
        for pair in (("mlp.c_fc", "mlp.c_proj"), ("ln_1", "ln_2")):
            whole = [bool(f[f"{name}.weight"].all()) for name in pair]
            assert sum(whole) == 1 and whole == [bool(f[f"{name}.bias"].all()) for name in pair], \
                f"LAW: one of {pair} is frozen, with its bias"
    assert not any(frozen[n].any() for n in ("wte.weight", "wpe.weight", "ln_f.weight",
                                             "ln_f.bias")), \
        "LAW: embeddings, head and the last norm are trained"


def test_another_seed_freezes_another_half():
    plans = [str(freeze.plan(4, seed)) for seed in range(8)]
    assert len(set(plans)) == 8 and plans == [str(freeze.plan(4, seed)) for seed in range(8)], \
        "a function of the seed"
    sums = {key: sum(layer[key] for seed in range(200) for layer in freeze.plan(2, seed)) / 400
            for key in freeze.plan(1, 0)[0]}
    assert all(0.4 < share < 0.6 for share in sums.values()), \
        f"each matrix is frozen half of the time: {sums}"


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_frozen_weights_are_bit_equal_after_steps_with_weight_decay(optimizer):
    model = tiny(double=False)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    rows = freeze.half(model, 3)
    opt = train.make_optimizer(model, Train(lr=0.01, weight_decay=0.5, optimizer=optimizer), CPU)
    freeze.hold(opt, rows)
    for _ in range(3):
        batch = batch_of(some_rows())
        OBJECTIVES["sft"].forward(model, batch, SFT())
        OBJECTIVES["sft"].loss(batch, SFT())[0].backward()
        opt.step()
    frozen = frozen_bits(tiny(double=False), 3)
    for name, p in model.named_parameters():
        moved = p.detach() != before[name]
        assert not (moved & frozen[name]).any(), \
            f"LAW: what is frozen is bit for bit what it was: {name}"
        assert (p.grad is None) == bool(frozen[name].all()), \
            f"LAW: a tensor frozen whole has no gradient: {name}"
        if not frozen[name].all():
            live = ~frozen[name]
            assert moved[live].float().mean() > 0.5, f"what is not frozen is trained: {name}"
            assert (p.grad[frozen[name]] == 0).all(), \
                f"frozen rows do not count in the gradient's norm: {name}"


def test_half_goes_with_resume(here, tiny_base, capsys):
    assert call(train.main, "--objective", "dpo", "--init", tiny_base, "--rows", 24, "--batch-size",
                6, "--lr", "0.01", "--weight-decay", "0.1", "--freeze", "half", "--seed", 4, *QUICK,
                "--steps", 6, "--save-every", 3, "--out", "whole") == 0
    cut = shutil.copytree("whole", here / "cut")
    (cut / "eval.json").write_text("{}")  # as if it had been killed after step 3
    for file in ("model.safetensors", "config.json"):
        (cut / file).unlink()
    assert call(train.main, "--resume", "cut") == 0 \
        and "going on after step 3" in capsys.readouterr().out
    start, one, two = (read_gpt(f) for f in (tiny_base, here / "whole", cut))
    frozen = frozen_bits(read_gpt(tiny_base), 4)
    for (name, a), b, c in zip(start.named_parameters(), one.parameters(), two.parameters()):
        assert torch.equal(b, c), \
            f"LAW: a resumed run is the uninterrupted one, bit for bit: {name}"
        assert not ((a != b) & frozen[name]).any(), \
            f"LAW: the finished model has the start's frozen half: {name}"
        assert frozen[name].all() or (a != b).any(), name


# ---- PreTTY: forced beginnings -------------------------------------------------------------------
PROMPTS = [[3, 4, 5], [6, 7], [8, 9, 10, 11]]


def test_each_answer_begins_as_it_is_told_and_goes_on_by_itself():
    model, priors = tiny(), [[2, 3], [], [5]]
    got = generate(model, PROMPTS, stop=1, pad=0, max_new=6, priors=priors)
    for a, prompt, prior in zip(got, PROMPTS, priors):
        assert a.ids[:len(prior)] == prior, "LAW: an answer begins with its forced tokens"
        alone = generate(model, [prompt + prior], stop=1, pad=0, max_new=6)[0]
        assert a.ids[len(prior):] == alone.ids, \
            "LAW: what follows is what the model says after them, by itself"
    assert any(len(a.ids) > len(p) for a, p in zip(got, priors))
    want = generate(model, PROMPTS, stop=1, pad=0, max_new=6)
    for how in ({"prior": []}, {"priors": [[], [], []]}):
        assert generate(model, PROMPTS, stop=1, pad=0, max_new=6, **how) == want, \
            "LAW: k = 0 is base decoding"
