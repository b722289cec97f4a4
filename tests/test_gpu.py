"""A GPU that is not there, on any PyTorch: what is computed keeps to its device and waits for
nothing, and half precision is where it should be and nowhere else.

The GPU is "meta", whose tensors have shapes and no numbers. OneDevice refuses an operation on
tensors of two devices and a copy to the GPU that blocks, and counts what is read back. Precision is
tested by a CPU's own autocast. It cannot see numbers of a GPU, its kernels, memory, streams, or
models of transformers there.
"""
from dataclasses import replace

import pytest
import torch
from commands import call
from made import DATA, FORMS, NANO, Form, batch_of, llama, logits, nano, same, slow_but
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nanouft import device, generate, rollout, simple, train, world
from nanouft.data.batches import encode
from nanouft.device import DTYPES, Device
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.files import read_json
from nanouft.run import reference
from nanouft.run.checkpoint import load_step, save_step, to_floats
from nanouft.run.eval_metrics import held_out_metrics
from nanouft.run.hyperparameters import make_optimizer
from nanouft.train import steps

META = Device("meta")
# sftmix waits twice a forward (docs/gpu.md); neftune draws by a generator, and meta has none
NOT_HERE = {"sftmix", "neftune"}


class OneDevice(TorchDispatchMode):
    reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if name == "_to_copy" and "device" in kwargs and str(kwargs["device"]) != str(
                tensors[0].device):
            if tensors[0].is_meta:                      # read back: of no known value
                self.reads += 1
                return torch.zeros(tensors[0].shape, dtype=kwargs.get("dtype", tensors[0].dtype))
            assert kwargs.get("non_blocking"), "a copy that waits"
            return func(*args, **kwargs)
        kinds = {x.device.type for x in tensors if x.dim() or name == "copy_"}
        assert len(kinds) < 2, f"{name}: tensors of {kinds}"    # a number may be the CPU's
        return func(*args, **kwargs)


def two_steps(form, on=META, model=None):
    """(steps, what its optimizer holds) as train.steps makes them."""
    model, batch = model or nano(n_layer=1), batch_of(form)
    batch = replace(batch, accumulate=1 if form.objective.coupled else 2)
    form.objective.setup(model, 0)
    model = model.to(on.name)
    optimizer = make_optimizer(model, 1e-3)
    with OneDevice() as seen:
        done = list(steps(model, form.objective, lambda number: batch, optimizer, range(2), on,
                          clip=1.0, scaler=on.grad_scaler()))
    assert not seen.reads
    return done, [x for x in tree_leaves([*optimizer.state.values()]) if isinstance(x, Tensor)]


def on_the_gpu(*numbers) -> bool:
    return all(x.is_meta for x in numbers if isinstance(x, Tensor))


@pytest.mark.parametrize("form", slow_but(", ".join(OBJECTIVES), [
    x for x in FORMS if x.name not in NOT_HERE]), ids=str)
def test_forward_and_loss_keep_to_their_device_and_wait_for_nothing(form):
    model = nano(n_layer=1)
    form.objective.setup(model, 0)
    model = model.to("meta")
    with OneDevice() as seen:
        batch = batch_of(form).to("meta")
        form.objective.forward(model, batch)
        loss, metrics = form.objective.loss(batch)
    assert loss.is_meta and on_the_gpu(*metrics.values()) and not seen.reads


@pytest.mark.parametrize("name", ["dpo", "ppo"])
def test_so_does_the_rest_of_a_step(name):
    """In micro-batches, with clipping, AdamW, and a second step."""
    done, held = two_steps(Form(name))
    assert all(step.norm.is_meta and on_the_gpu(*step.sums.values()) for step in done)
    assert len(done) == 2 and on_the_gpu(*(x for x in held if x.dim()))


def test_frozen_models_and_rollouts_are_on_the_gpu_and_read_back_once_a_batch():
    models = reference.FrozenModels(nano().to("meta"), NANO.pad, META, lambda name: (nano(), NANO))
    assert models.reference_model(Form("grpo").objective, False).wte.weight.is_meta
    assert models.open_with_same_tokenizer("x").wte.weight.is_meta
    rows, _ = encode(Form("dpo").objective.choose(DATA), NANO, 64)
    with OneDevice() as seen:
        models.add_reference(rows, Form("dpo").objective)
    assert seen.reads == 2                              # of one batch, whose roles are two
    answers = batch_of(Form("grpo")).seqs["answer"]
    with OneDevice() as seen:
        rollout.measure_rows(answers, models.start, models.start, META)
        to_floats([2, torch.ones((), device="meta"), 0.5, torch.zeros((), device="meta")])
    assert seen.reads == 2


def test_a_resumed_optimizer_holds_its_moments_on_the_gpu(tmp_path):
    model, fresh = nano(), nano().to("meta")
    saved, loaded = (make_optimizer(x, 1e-3) for x in (model, fresh))
    logits(model, torch.arange(9)[None]).sum().backward()
    saved.step()
    save_step(tmp_path, 1, model, saved, Device().grad_scaler())
    assert load_step(tmp_path, fresh, loaded, META.grad_scaler()) == 1
    assert all(s[x].is_meta for s in loaded.state.values() for x in ("exp_avg", "exp_avg_sq"))


def test_the_generator_and_the_scaler_are_those_of_the_device(monkeypatch):
    made: list = []
    model = nano().to("meta")
    with monkeypatch.context() as now:
        now.setattr(torch, "Generator", lambda device="cpu": made.append(f"{device}") or 1 / 0)
        now.setattr(torch.amp, "GradScaler", lambda device="cuda", **how: made.append(device))
        with pytest.raises(ZeroDivisionError):
            generate.generate(model, [[1]], stop=0, pad=0, temperature=1.0)
        Device("mps", "fp16").grad_scaler()
        now.setattr(torch.cuda, "device_count", lambda: 2)
        assert device.find_device("cuda:1") == "cuda:1"
    assert made == ["meta", "mps"] and Device("cpu", "fp16").grad_scaler().is_enabled()


# ---- half precision, by a CPU's autocast ---------------------------------------------------------
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("name", ["ift", "dpo", "grpo", "kto"])
def test_half_precision_is_in_products_alone(name, dtype):
    """Not in loss, metrics and optimizer. The norm is that of fp32, so a scale was taken out."""
    (half, held), (whole, _) = (two_steps(Form(name), Device("cpu", x)) for x in (dtype, "fp32"))
    numbers = [*held, *half[0].sums.values(), half[0].norm]
    assert {x.dtype for x in numbers if isinstance(x, Tensor)} == {torch.float32}
    assert half[0].sums["loss"] != whole[0].sums["loss"] or half[0].norm != whole[0].norm
    same(half[0].norm, whole[0].norm, 0.1)


def test_a_run_in_half_precision_has_weights_and_held_out_figures_in_fp32(here, monkeypatch):
    kept, read = [], []
    monkeypatch.setattr(train, "make_optimizer", lambda model, *a, **how: kept.extend(
        x.dtype for x in model.parameters()) or make_optimizer(model, *a, **how))
    monkeypatch.setattr(train, "held_out_metrics", lambda *a: read.append(a[3].dtype) or
                        held_out_metrics(*a))
    assert call("train --objective dpo --init start --data pairs.jsonl --batch-size 4 --steps 2 "
                "--eval-every 1 --dtype bf16 --out half") == 0
    assert {*kept} == {torch.float32} and {*read} == {"fp32"}
    before = read_json(here / "half" / "eval.json")["before"]["held_out"]
    assert before["accuracy"] == 0.5, "the reference's log-probs are in fp32 there, too"


@pytest.mark.parametrize("objective", ["ift", "dpo"])
@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_the_page_of_eight_methods_learns_nearly_the_same_in_half_precision(
        objective, dtype, monkeypatch):
    monkeypatch.setattr(simple, "ROWS", 4)
    rows = world.rows("train", simple.METHODS[objective][1][0], 12, seed=0)

    def trained(name: str) -> tuple[list[float], Tensor]:
        monkeypatch.setattr(simple, "DTYPE", DTYPES[name])
        model = nano()
        losses = simple.train(model, rows, NANO, objective, 3)
        return losses, torch.cat([x.detach().flatten() for x in model.parameters()])
    (half, moved), (whole, weights) = trained(dtype), trained("fp32")
    start = torch.cat([x.detach().flatten() for x in nano().parameters()])
    assert half != whole and moved.dtype == torch.float32
    same(half, whole, 0.05)
    assert torch.cosine_similarity(moved - start, weights - start, dim=0) > 0.8


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_lora_is_added_in_fp32(dtype):
    """At first B A x is so small that a sum in half precision would lose most of it."""
    model, unchanged = llama(tied=True), []
    model.add_lora(4, 0, DTYPES[dtype])
    two_steps(Form("sft"), Device("cpu", dtype), model)

    def look(layer, x, y):
        unchanged.append((y == layer.base_layer(*x)).float().mean())
    for part in model.modules():
        if hasattr(part, "lora_A"):
            part.register_forward_hook(look)
    with torch.no_grad(), Device("cpu", dtype).autocast():
        logits(model, torch.arange(20)[None])
    assert torch.stack(unchanged).mean() < 0.05
