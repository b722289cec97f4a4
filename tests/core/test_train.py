"""What `nanouft.train` does and leaves behind, on a tiny model: seconds, not minutes."""
import math
import shutil
from dataclasses import replace

import pytest
import torch
from running import DEMOS, PAIRS, QUICK, call, lines, losses, metrics, one_error
from safetensors.torch import load_file
from tiny import (
    CPU,
    DATA,
    FORMS,
    NANO,
    PAD,
    TINY,
    batch_of,
    nano,
    real_batch,
    same,
    some_rows,
    tiny,
)

from nanouft import train
from nanouft.data.batches import Epochs, encode
from nanouft.data.rows import demo_rows
from nanouft.errors import UserError, visible
from nanouft.eval import report
from nanouft.gpt import GPT, GPTConfig
from nanouft.loop import Device, warmup_cosine
from nanouft.models.save import add_value_head, save_model
from nanouft.objective import Objective, write_logp
from nanouft.objectives import OBJECTIVES, ift
from nanouft.reference import Models, add_columns
from nanouft.run import checkpoints, devices
from nanouft.run.flags import Train
from nanouft.run.setup import Run
from nanouft.run.storage import read_json

pytestmark = pytest.mark.usefixtures("brief")
PNG = b"\x89PNG\r\n\x1a\n"


def go(tiny_base, *argv) -> int:
    return call(train.main, "--init", tiny_base, *QUICK, *argv)


def test_a_step_may_hold_every_row_once(here, tiny_base):
    assert go(tiny_base, "--objective", "sft", "--rows", 12, "--batch-size", 12, "--steps", 1) == 0


def test_an_answer_without_a_flaw_gets_no_remark():
    assert report.remarks({"ended": True}) == ""
    assert report.remarks({"ended": False, "score": 0.5}) == "   (score 0.50, does not stop)"


# ---- what a run leaves ---------------------------------------------------------------------------
def test_run_folder_tells_everything(here, tiny_base, capsys, brief):
    brief.undo()
    assert go(tiny_base, "--objective", "ift", "--steps", 12, "--rows", 40, "--batch-size", 8,
              "--lam", 0.3, "--eval-every", 5, "--save-every", 4, "--items", 2) == 0
    run = here / "out" / "ift"
    said = read_json(run / "run.json")
    assert said["steps"] == 12 and said["hp"]["lam"] == 0.3 \
        and said["config"]["lr"] == 4 * OBJECTIVES["ift"].lr
    came = said["from"]
    assert came["lam"] == came["steps"] == "command line" and came["gamma"] == "default"
    assert came["lr"] == "default of ift, for width 32", "a quarter of 128: four times the rate"
    assert set(came) == set(said["config"]) | set(said["hp"]), "every value says where it came from"

    steps = [m for m in metrics(run) if "grad_norm" in m]
    assert [m["step"] for m in steps] == list(range(1, 13))
    assert all(math.isfinite(m["loss"]) and m["tokens"] > 0 for m in steps)
    held = [m for m in metrics(run) if "held_out" in m]
    assert [m["step"] for m in held] == [5, 10] and all(m["held_out"]["nll"] > 0 for m in held)
    assert [m["loss"] for m in held] == [steps[4]["loss"], steps[9]["loss"]], "its own step's loss"

    result = read_json(run / "eval.json")
    assert result["after"]["held_out"]["nll"] < result["before"]["held_out"]["nll"]
    for f in (*result["before"]["families"].values(), *result["after"]["families"].values()):
        assert 0 <= f["low"] <= f["score"] <= f["high"] <= 1
    assert (run / "curves.png").read_bytes().startswith(PNG)
    written = (run / "samples.md").read_text(encoding="utf-8")
    assert all(visible(x["answer"]) in written for when in ("before", "after")
               for x in result[when]["samples"])
    assert checkpoints.whole_steps(run) == [4, 8]
    out = capsys.readouterr().out
    assert "[[" in out and "out/ift" in out and "nanouft.sample" in out and "rules_new" in out


def test_taken_names_get_a_number_and_an_explicit_one_is_an_error(here, tiny_base, capsys):
    argv = ["--objective", "sft", "--steps", 1, "--rows", 9]

    def refused(out, *words):
        capsys.readouterr()
        one_error(go(tiny_base, *argv, "--out", out), capsys.readouterr().err, out, *words)
    for _ in range(3):
        assert go(tiny_base, *argv) == 0
    assert sorted(f.name for f in (here / "out").iterdir()) == ["sft", "sft-2", "sft-3"]
    refused("out/sft", "another run", "choose another name")
    (here / "out/sft/eval.json").write_text('{"before": {}}')
    refused("out/sft", "another run", "--resume out/sft")  # only an unfinished run can go on
    (here / "full").mkdir()
    (here / "full" / "letter.txt").write_text("dear")
    refused("full", "not an empty folder")


def test_epochs_may_be_fractions_and_data_smaller_than_a_batch(here, tiny_base):
    file = lines(here / "d.jsonl", DEMOS)                           # 16 rows, two of them held out
    for epochs, steps in ((0.5, 2), (2.5, 9), (0.01, 1)):
        assert go(tiny_base, "--objective", "sft", "--data", file, "--batch-size", 4, "--epochs",
                  epochs, "--out", f"e{epochs}") == 0
        assert len(losses(here / f"e{epochs}")) == steps
    assert go(tiny_base, "--objective", "sft", "--data", file, "--steps", 2, "--out", "big") == 0
    assert len(losses(here / "big")) == 2, \
        "the default batch may hold rows twice; one that is asked for may not"


def test_data_that_leaves_nothing_to_hold_out(here, tiny_base, capsys, brief):
    brief.undo()                                                    # a picture is drawn even so
    for objective, rows in (("sft", DEMOS[:1]), ("dpo", PAIRS[:1])):
        file = lines(here / f"{objective}.jsonl", rows)
        assert go(tiny_base, "--objective", objective, "--data", file, "--steps", 2, "--eval-every",
                  1, "--out", objective) == 0
        assert "of 0 rows held out" in capsys.readouterr().out
        assert (here / objective / "curves.png").read_bytes().startswith(PNG)


# ---- the loop by itself --------------------------------------------------------------------------
def fit(objective, hp, steps: int, folder, double: bool = False, **settings) -> GPT:
    """train.fit on eight rows; returns the small random model that it has trained."""
    model = GPT(replace(TINY, vocab_size=NANO.n_vocab), seed=1)
    model = model.double() if double else model
    encoded, _ = encode(objective.rows(DATA, hp), NANO, TINY.n_ctx)
    add_columns(encoded, objective.columns, Models(model, NANO.pad, CPU))
    cfg = Train(lr=1e-3, **settings)
    source = Epochs(encoded, cfg.batch_size, steps, cfg.seed, NANO.pad)
    train.fit(model, objective, hp, steps, Run("a test", cfg, hp, CPU, folder, source, None))
    return model


@pytest.mark.parametrize("objective", ["sft", "ift", "dpo"])
def test_accumulation_is_the_large_batch(objective, tmp_path):
    """Losses and weights are the same, and pieces need not be equal. In fp64: Adam divides a
    gradient by its own size, so in fp32 one that is 0 but for rounding would decide."""
    o, done = OBJECTIVES[objective], []
    for pieces in (1, 2, 5):
        model = fit(o, o.hp(), 6, tmp_path / str(pieces), True, batch_size=5, accumulate=pieces,
                    save_every=0)
        done.append((torch.cat([p.detach().flatten() for p in model.parameters()]),
                     losses(tmp_path / str(pieces))))
    for weights, log in done[1:]:
        assert torch.allclose(weights, done[0][0], atol=1e-6, rtol=0)
        assert log == pytest.approx(done[0][1], abs=1e-6)


# ---- a run that diverges -------------------------------------------------------------------------
@pytest.mark.parametrize("flags", [["--objective", "ift", "--clip", "0"],
                                   ["--objective", "dpo", "--optimizer", "rmsprop"],
                                   ["--objective", "ppo", "--max-new", "6"]], ids=" ".join)
def test_a_run_that_diverges_ends_in_one_line(here, tiny_base, capsys, flags):
    code = go(tiny_base, *flags, "--lr", "1e30", "--warmup", "0", "--steps", 40, "--rows", 30,
              "--save-every", 1, "--out", "run")
    said = one_error(code, capsys.readouterr().err, "step", "lr")
    last = checkpoints.whole_steps(here / "run")[-1:]
    assert not last or f"step {last[0]} in" in said, "it names the last good step"
    assert not (here / "run" / "model.safetensors").exists()
    for n in checkpoints.whole_steps(here / "run"):
        weights = load_file(here / "run" / "steps" / str(n) / "model.safetensors")
        assert all(torch.isfinite(w).all() for w in weights.values()), f"step {n}"
    assert all(math.isfinite(v) for m in metrics(here / "run") for v in m.values() if v is not None)


def test_a_gradient_that_is_not_finite_is_seen_before_it_is_saved(tmp_path):
    """The loss stays finite: its value is 0, but the square root of 0 has no finite slope."""
    def loss(batch, hp):
        return (batch.seqs["answer"].logp * 0).sqrt().sum(), {}
    broken = Objective(paper="", rows=demo_rows, loss=loss, hp=object, data="demos", lr=1e-3)
    with pytest.raises(UserError, match="grad_norm is nan at step 1"):
        fit(broken, None, 3, tmp_path, batch_size=2, save_every=1)
    assert checkpoints.whole_steps(tmp_path) == []


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model = GPT(GPTConfig(n_ctx=8, n_layer=1, n_head=1, n_embd=8), seed=0)
    model.wpe.weight.data[0, 0] = math.inf
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(UserError, match="wpe.weight"):
        checkpoints.save_step(tmp_path, 1, model, optimizer, {})
    with pytest.raises(UserError, match="not saved"):
        save_model(tmp_path, model, None)
    assert not list(tmp_path.iterdir())


# ---- compile -------------------------------------------------------------------------------------
@pytest.mark.slow
def test_compile_on_a_cpu(here, tiny_base):
    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        pytest.skip("torch.compile on a CPU needs a C++ compiler, and there is none here")
    for mode in ("off", "on"):
        assert go(tiny_base, "--objective", "ift", "--steps", 3, "--rows", 20, "--batch-size", 8,
                  "--compile", mode, "--out", mode) == 0
    assert losses(here / "on") == pytest.approx(losses(here / "off"), rel=1e-4)


def test_the_model_compiles_as_one_graph():
    """What only sampling needs must not cut the graph of training."""
    from torch._dynamo.testing import CompileCounter
    counter, model = CompileCounter(), tiny(double=False)
    ids = torch.zeros(2, 8, dtype=torch.long)
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    compiled(ids, want="logp", targets=ids).sum().backward()
    assert counter.frame_count == 1


# ---- what one optimizer step does: rate, decay, clipping, precision, compile ---------------------
BF16 = Device("cpu", "bf16")
LR = 1e-3


class Watch:
    """Stands in for train.make_optimizer; notes of every step learning rate, gradient norm and
    largest move."""

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
        self.norms.append(
            math.sqrt(sum(p.grad.square().sum().item() for p in self.model.parameters())))
        self.was = [p.detach().clone() for p in self.model.parameters()]

    def after(self, *_) -> None:
        self.moves.append(max((p.detach() - w).abs().max().item()
                              for p, w in zip(self.model.parameters(), self.was)))


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
    run = Run(name, cfg, objective.hp(), device, folder, source, held_out=None)
    train.fit(model, objective, run.hp, steps, run)
    assert not (folder / "steps").exists(), "--save-every 0 saves no steps"
    monkeypatch.undo()
    return watch, metrics(folder)


def test_a_step_has_a_seed_of_its_own(tmp_path, monkeypatch):
    seen, sft = [], OBJECTIVES["sft"]
    for seed in (0, 1):
        monkeypatch.setitem(OBJECTIVES, "sft",
                            replace(sft, forward=lambda model, batch, hp: seen.append(batch.seed)
                                    or sft.forward(model, batch, hp)))
        fitted(tmp_path / str(seed), monkeypatch, seed=seed)
    assert seen == [batch_of(some_rows(), seed=seed, step=step).seed for seed in (0, 1)
                    for step in range(10)]
    assert len(set(seen)) == 20, "LAW: no two (seed, step) draw the same numbers"


# ---- the learning rate ---------------------------------------------------------------------------
def test_the_rate_that_is_logged_is_the_rate_that_is_used(tmp_path, monkeypatch):
    watch, log = fitted(tmp_path, monkeypatch, warmup=0.5)
    want = [warmup_cosine(LR, 10, 0.5)(step)[0] for step in range(10)]
    assert want[0] == pytest.approx(LR / 5) and min(want[5:]) < LR / 5, \
        "a schedule that is flat would show nothing"
    same([m["lr"] for m in log], want, "metrics.jsonl shows lr times the schedule")
    assert all(len(rates) == 1 for rates in watch.rates), "LAW: both groups learn at the same rate"
    same([rate for (rate,) in watch.rates], want,
         "every step is MADE with lr times the schedule: up, then a cosine")
    same(watch.moves[0] / want[0], 1,
         "AdamW's first step moves a weight by that step's rate, whatever the gradient", tol=0.02)


# ---- which optimizer, which decay ----------------------------------------------------------------
@pytest.mark.parametrize("name, kind",
                         [("adamw", torch.optim.AdamW), ("rmsprop", torch.optim.RMSprop)])
def test_the_optimizer_is_the_one_that_was_asked_for(tmp_path, monkeypatch, name, kind):
    watch, _ = fitted(tmp_path, monkeypatch, 1, optimizer=name)
    assert type(watch.optimizer) is kind, f"LAW: --optimizer {name} trains with {kind.__name__}"
    if name == "adamw":
        assert watch.optimizer.defaults["betas"] == (0.9, 0.95), \
            "LAW: AdamW forgets squares after about 20 steps"
    else:  # square average .01 g^2 after one step: a move of rate / sqrt(.01)
        same(watch.moves[0] / LR, 10, "RMSprop's first step is ten times its rate", tol=0.02)


@pytest.mark.parametrize("name", ["adamw", "rmsprop"])
def test_matrices_decay_and_nothing_else(name):
    model = tiny(double=False)
    was = {n: p.detach().clone() for n, p in model.named_parameters()}
    default = train.make_optimizer(model, Train(lr=LR, optimizer=name), CPU)
    assert {g["weight_decay"] for g in default.param_groups} == {0}, \
        "LAW: without --weight-decay nothing decays"
    optimizer = train.make_optimizer(model, Train(lr=LR, optimizer=name, weight_decay=0.5), CPU)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(was) == len(decay), \
        "LAW: each weight once"
    for n, p in model.named_parameters():
        assert decay[id(p)] == (0.5 if p.dim() == 2 else 0), \
            f"LAW: --weight-decay is for matrices only; {n}"
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for n, p in model.named_parameters():
        if p.dim() == 1:
            assert torch.equal(p, was[n]), \
                f"LAW: with no gradient, biases and LayerNorms stay as they are; {n}"
        else:
            assert p.norm() < was[n].norm(), \
                f"LAW: with no gradient, --weight-decay shrinks a matrix; {n}"
            if name == "adamw":
                same(p.detach(), was[n] * (1 - LR * 0.5),
                     f"AdamW takes the share lr * weight decay of {n}", 1e-6)


def test_a_new_value_head_learns_at_thirty_times_the_rate(tmp_path, monkeypatch):
    def forward(model, batch, hp):
        write_logp(model, batch, hp)
        batch.seqs["answer"].extra["values"] = model(batch.seqs["answer"].inputs, want="value")
    sft = OBJECTIVES["sft"]
    monkeypatch.setitem(OBJECTIVES, "sft", replace(sft, forward=forward, loss=lambda batch, hp: (
        sft.loss(batch, hp)[0] + batch.seqs["answer"].extra["values"].mean(), {})))
    watch, log = fitted(tmp_path, monkeypatch, 4, head=True)
    for rates, line in zip(watch.rates, log):
        assert sorted(rates) == pytest.approx([line["lr"], 30 * line["lr"]]), \
            "LAW: in every step of the schedule"


# ---- clipping ------------------------------------------------------------------------------------
@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop"])
def test_a_long_gradient_is_clipped(tmp_path, monkeypatch, optimizer):
    watch, log = fitted(tmp_path / "short", monkeypatch, 3, optimizer=optimizer, clip=0.01)
    free, free_log = fitted(tmp_path / "free", monkeypatch, 3, optimizer=optimizer, clip=0)
    assert min(free.norms) > 0.1, "gradients that are short anyway would show nothing"
    same(watch.norms, [0.01] * 3, "the optimizer never sees a gradient longer than --clip",
         tol=1e-4)
    assert log[0]["grad_norm"] > 0.1, "LAW: metrics.jsonl shows the length BEFORE clipping"
    same(free.norms, [m["grad_norm"] for m in free_log], "--clip 0 clips nothing", tol=1e-4)
    loose, _ = fitted(tmp_path / "loose", monkeypatch, 3, optimizer=optimizer, clip=1e6)
    same(loose.norms, free.norms, "a gradient shorter than --clip stays as it is", tol=0)


# ---- precision and compile -----------------------------------------------------------------------
@pytest.mark.parametrize("name", ["sft", "ift"])
def test_fit_computes_its_forward_in_the_precision_of_the_device(tmp_path, monkeypatch, name):
    (_, full), (watch, half) = (fitted(tmp_path / d.dtype, monkeypatch, 3, name, d)
                                for d in (CPU, BF16))
    for a, b in zip(full, half):
        assert a["loss"] != b["loss"], "LAW: --dtype bf16 rounds the forward of every step"
        same(b["loss"], a["loss"], "and by little", tol=0.03)
    assert {p.dtype for p in watch.model.parameters()} == {torch.float32}, \
        "LAW: weights stay in fp32"


@pytest.mark.parametrize("form", [f for f in FORMS if f.objective.forward is not write_logp
                                  or f.name == "dpo"], ids=str)
def test_no_gradient_is_lost_under_autocast(form, monkeypatch):
    """IFT makes its guess without gradient first; what autocast keeps of that must not serve the
    real forward. Under bf16 a draw may fall on the next token, and then another gradient is right:
    both precisions see the same draws."""
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
    assert torch.cosine_similarity(a, b, 0) > 0.99, \
        f"LAW: bf16 rounds a gradient, it does not turn it; {form}"
    for n, g in full.items():
        if g.norm() > 0.01 * a.norm():
            assert 0.8 < half[n].norm() / g.norm() < 1.25, \
                f"LAW: no weight's gradient is lost in part; {n}"


def test_fit_trains_what_compile_returns(tmp_path, monkeypatch):
    seen, asked = [], []

    class Compiled(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, *args, **kw):
            seen.append(1)
            return self.model(*args, **kw)

    def compiled(model, mode, device, steps):
        asked.append((mode, device, steps))
        return Compiled(model)
    monkeypatch.setattr(devices, "compiled", compiled)
    fitted(tmp_path, monkeypatch, 4, compile="on")
    assert asked == [("on", CPU, 4)], \
        "LAW: fit hands the model, --compile, device and steps to compiled, once"
    assert len(seen) == 4, "LAW: every forward of training goes through the compiled model"


def test_compile_on_and_off():
    model, large, gpu = tiny(), torch.nn.Linear(5000, 5000, device="meta"), Device("cuda", "bf16")
    assert devices.compiled(model, "off", CPU, 1000) is model, "LAW: off = the model itself"
    for small, where, steps in ((large, CPU, 1000), (model, gpu, 1000), (large, gpu, 499)):
        assert devices.compiled(small, "auto", where, steps) is small, \
            "LAW: auto = on CUDA, for what is large and long"
    for of, mode, where in ((model, "on", CPU), (large, "auto", gpu)):
        made = devices.compiled(of, mode, where, 500)
        assert isinstance(made, torch._dynamo.OptimizedModule), \
            "LAW: on, or worth it = torch.compile"
