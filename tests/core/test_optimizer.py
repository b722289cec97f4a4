"""What one optimizer step does: learning rate, decay, clipping, precision, compile.

`fit` itself runs here, on a tiny model; a hook on its optimizer notes what each step finds and what it changes.
"""
import math
from dataclasses import replace

import pytest
import torch
from running import metrics
from tiny import CPU, FORMS, PAD, batch_of, nano, real_batch, same, some_rows, tiny

from nanouft import train
from nanouft.data.batches import Epochs
from nanouft.models.save import add_value_head
from nanouft.objective import write_logp
from nanouft.objectives import OBJECTIVES, ift
from nanouft.shell import devices
from nanouft.shell.devices import Device
from nanouft.training.flags import Train
from nanouft.training.schedule import warmup_cosine
from nanouft.training.setup import Run

BF16 = Device("cpu", "bf16")
LR = 1e-3


class Watch:
    """Stands in for train.make_optimizer; notes of every step learning rate, gradient norm and largest move."""

    def __init__(self, model: torch.nn.Module):
        self.model, self.make, self.optimizer = model, train.make_optimizer, None
        self.rates, self.norms, self.moves = [], [], []

    def __call__(self, model, cfg, device):
        self.optimizer = self.make(model, cfg, device)
        self.optimizer.register_step_pre_hook(self.before)
        self.optimizer.register_step_post_hook(self.after)
        return self.optimizer

    def before(self, optimizer, *_) -> None:
        self.rates.append({g["lr"] for g in optimizer.param_groups})
        self.norms.append(math.sqrt(sum(p.grad.square().sum().item() for p in self.model.parameters())))
        self.was = [p.detach().clone() for p in self.model.parameters()]

    def after(self, *_) -> None:
        self.moves.append(max((p.detach() - w).abs().max().item() for p, w in zip(self.model.parameters(), self.was)))


def fitted(folder, monkeypatch, steps: int = 10, name: str = "sft", device: Device = CPU,
           head: bool = False, **flags) -> tuple[Watch, list]:
    """What `fit` does with a tiny model: (notes of its optimizer, metrics.jsonl)."""
    folder.mkdir(exist_ok=True)
    model, objective = tiny(double=False), OBJECTIVES[name]
    if head:
        add_value_head(model, "base")
    watch = Watch(model)
    monkeypatch.setattr(train, "make_optimizer", watch)
    cfg = Train(**{"lr": LR, "batch_size": 6, "save_every": 0, "compile": "off"} | flags)
    source = Epochs(some_rows(), cfg.batch_size, steps, cfg.seed, PAD)
    run = Run(name, cfg, objective.hp(), device, folder, source, look_held=None)
    assert train.fit(model, objective, run.hp, steps, run) == steps
    monkeypatch.undo()
    return watch, metrics(folder)


def test_a_step_has_a_seed_of_its_own(tmp_path, monkeypatch):
    seen, sft = [], OBJECTIVES["sft"]
    for seed in (0, 1):
        monkeypatch.setitem(OBJECTIVES, "sft", replace(sft, forward=lambda model, batch, hp: seen.append(batch.seed)
                                                       or sft.forward(model, batch, hp)))
        fitted(tmp_path / str(seed), monkeypatch, seed=seed)
    assert seen == [batch_of(some_rows(), seed=seed, step=step).seed for seed in (0, 1) for step in range(10)]
    assert len(set(seen)) == 20, "LAW: no two (seed, step) draw the same numbers"


# ---- the learning rate -----------------------------------------------------------------------------------------------
def test_the_rate_that_is_logged_is_the_rate_that_is_used(tmp_path, monkeypatch):
    watch, log = fitted(tmp_path, monkeypatch, warmup=0.5)
    want = [LR * warmup_cosine(step, 10, 0.5)[0] for step in range(10)]
    assert want[0] == pytest.approx(LR / 5) and min(want[5:]) < LR / 5, "a schedule that is flat would show nothing"
    same([m["lr"] for m in log], want, "metrics.jsonl shows lr times the schedule")
    assert all(len(rates) == 1 for rates in watch.rates), "LAW: both groups learn at the same rate"
    same([rate for (rate,) in watch.rates], want, "every step is MADE with lr times the schedule: up, then a cosine")
    same(watch.moves[0] / want[0], 1, "AdamW's first step moves a weight by that step's rate, whatever the gradient",
         tol=0.02)


# ---- which optimizer, which decay ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name, kind", [("adamw", torch.optim.AdamW), ("rmsprop", torch.optim.RMSprop)])
def test_the_optimizer_is_the_one_that_was_asked_for(tmp_path, monkeypatch, name, kind):
    watch, _ = fitted(tmp_path, monkeypatch, 1, optimizer=name)
    assert type(watch.optimizer) is kind, f"LAW: --optimizer {name} trains with {kind.__name__}"
    if name == "adamw":
        assert watch.optimizer.defaults["betas"] == (0.9, 0.95), "LAW: AdamW forgets squares after about 20 steps"
    else:                                       # square average .01 g^2 after one step: a move of rate / sqrt(.01)
        same(watch.moves[0] / LR, 10, "RMSprop's first step is ten times its rate", tol=0.02)


@pytest.mark.parametrize("name", ["adamw", "rmsprop"])
def test_matrices_decay_and_nothing_else(name):
    model = tiny(double=False)
    was = {n: p.detach().clone() for n, p in model.named_parameters()}
    default = train.make_optimizer(model, Train(lr=LR, optimizer=name), CPU)
    assert {g["weight_decay"] for g in default.param_groups} == {0}, "LAW: without --weight-decay nothing decays"
    optimizer = train.make_optimizer(model, Train(lr=LR, optimizer=name, weight_decay=0.5), CPU)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(was) == len(decay), "LAW: each weight once"
    for n, p in model.named_parameters():
        assert decay[id(p)] == (0.5 if p.dim() == 2 else 0), f"LAW: --weight-decay is for matrices only; {n}"
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for n, p in model.named_parameters():
        if p.dim() == 1:
            assert torch.equal(p, was[n]), f"LAW: with no gradient, biases and LayerNorms stay as they are; {n}"
        else:
            assert p.norm() < was[n].norm(), f"LAW: with no gradient, --weight-decay shrinks a matrix; {n}"
            if name == "adamw":
                same(p.detach(), was[n] * (1 - LR * 0.5), f"AdamW takes the share lr * weight decay of {n}", 1e-6)


def test_a_new_value_head_learns_at_thirty_times_the_rate(tmp_path, monkeypatch):
    def forward(model, batch, hp):
        write_logp(model, batch, hp)
        batch.seqs["answer"].extra["values"] = model(batch.seqs["answer"].inputs, want="value")
    sft = OBJECTIVES["sft"]
    monkeypatch.setitem(OBJECTIVES, "sft", replace(sft, forward=forward, loss=lambda batch, hp: (
        sft.loss(batch, hp)[0] + batch.seqs["answer"].extra["values"].mean(), {})))
    watch, log = fitted(tmp_path, monkeypatch, 4, head=True)
    for rates, line in zip(watch.rates, log):
        assert sorted(rates) == pytest.approx([line["lr"], 30 * line["lr"]]), "LAW: in every step of the schedule"


# ---- clipping --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_a_long_gradient_is_clipped(tmp_path, monkeypatch, optimizer):
    watch, log = fitted(tmp_path / "short", monkeypatch, 3, optimizer=optimizer, clip=0.01)
    free, free_log = fitted(tmp_path / "free", monkeypatch, 3, optimizer=optimizer, clip=0)
    assert min(free.norms) > 0.1, "gradients that are short anyway would show nothing"
    same(watch.norms, [0.01] * 3, "the optimizer never sees a gradient longer than --clip", tol=1e-4)
    assert log[0]["grad_norm"] > 0.1, "LAW: metrics.jsonl shows the length BEFORE clipping"
    same(free.norms, [m["grad_norm"] for m in free_log], "--clip 0 clips nothing", tol=1e-4)
    loose, _ = fitted(tmp_path / "loose", monkeypatch, 3, optimizer=optimizer, clip=1e6)
    same(loose.norms, free.norms, "a gradient shorter than --clip stays as it is", tol=0)


# ---- precision and compile ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["sft", "ift"])
def test_fit_computes_its_forward_in_the_precision_of_the_device(tmp_path, monkeypatch, name):
    (_, full), (watch, half) = (fitted(tmp_path / d.dtype, monkeypatch, 3, name, d) for d in (CPU, BF16))
    for a, b in zip(full, half):
        assert a["loss"] != b["loss"], "LAW: --dtype bf16 rounds the forward of every step"
        same(b["loss"], a["loss"], "and by little", tol=0.03)
    assert {p.dtype for p in watch.model.parameters()} == {torch.float32}, "LAW: weights stay in fp32"


def test_autocast_is_on_where_it_should_be():
    assert not torch.is_autocast_enabled("cpu")
    with CPU.autocast():
        assert not torch.is_autocast_enabled("cpu"), "LAW: fp32 means fp32"
    with BF16.autocast():
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert not torch.is_autocast_cache_enabled(), \
            "LAW: no copy of a weight that was made without gradient may be used again where one is needed"
    assert not torch.is_autocast_enabled("cpu") and torch.is_autocast_cache_enabled(), "LAW: and off again behind it"


@pytest.mark.parametrize("form", [f for f in FORMS if f.objective.forward is not write_logp or f.name == "dpo"],
                         ids=str)
def test_no_gradient_is_lost_under_autocast(form, monkeypatch):
    """IFT makes its guess without gradient first; what autocast keeps of that must not serve the real forward. Under
    bf16 a draw may fall on the next token, and then another gradient is right: both precisions see the same draws."""
    guesses, drawn = ift.guesses, []
    if getattr(form.hp, "guess", "") == "sampled":
        monkeypatch.setattr(ift, "guesses", lambda *args: drawn.append(guesses(*args)) or drawn[0])

    def grads(device: Device) -> dict:
        model, batch = nano(1), real_batch(form)
        with device.autocast():
            form.objective.forward(model, batch, form.hp)
        form.objective.loss(batch, form.hp)[0].backward()
        return {n: p.grad for n, p in model.named_parameters()}
    full, half = grads(CPU), grads(BF16)
    lost = [n for n, g in full.items() if (g is None) != (half[n] is None)]
    assert not lost, f"LAW: every weight that fp32 trains gets its gradient in bf16 as well; {lost}"
    assert all(g is not None for g in full.values()), "LAW: an objective trains every weight"
    a, b = (torch.cat([g.flatten() for g in x.values()]) for x in (full, half))
    assert torch.cosine_similarity(a, b, 0) > 0.99, f"LAW: bf16 rounds a gradient, it does not turn it; {form}"
    for n, g in full.items():
        if g.norm() > 0.01 * a.norm():
            assert 0.8 < half[n].norm() / g.norm() < 1.25, f"LAW: no weight's gradient is lost in part; {n}"


def test_fit_trains_what_compile_returns(tmp_path, monkeypatch):
    seen, asked = [], []

    def compiled(model, mode, device):
        asked.append((mode, device))
        return lambda *args, **kw: seen.append(1) or model(*args, **kw)
    monkeypatch.setattr(devices, "compiled", compiled)
    fitted(tmp_path, monkeypatch, 4, compile="on")
    assert asked == [("on", CPU)], "LAW: fit hands the model, --compile and the device to devices.compiled, once"
    assert len(seen) == 4, "LAW: every forward of training goes through the compiled model"


def test_compile_on_and_off():
    model = tiny()
    assert devices.compiled(model, "off", CPU) is model, "LAW: off = the model itself"
    assert devices.compiled(model, "auto", CPU) is model, "LAW: auto = not on a CPU"
    assert isinstance(devices.compiled(model, "on", CPU), torch._dynamo.OptimizedModule), "LAW: on = torch.compile"
