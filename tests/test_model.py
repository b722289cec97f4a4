"""The GPT against transformers' GPT-2, and its own laws: all kinds of input and output agree, and
nothing attends ahead or to padding. Also its device and precision, tested without a GPU."""
import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from commands import call
from made import TINY, logits, nano, one_error, same, tiny

from nanouft import device, gpt, reward, simple
from nanouft.device import DTYPES, CompiledBlocks, Device, choose_device
from nanouft.gpt import GPT, NANO, Cache, GPTConfig, log_probs, scatter_at, select_at
from nanouft.models import folders
from nanouft.models.folders import read_gpt, resize_embedding, start_model, write_gpt
from nanouft.plumbing import fast_ops
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json, remove, write_json


class RMSNorm(torch.nn.RMSNorm):
    """In place of gpt.Norm."""

    def __init__(self, cfg: GPTConfig):
        super().__init__(cfg.n_embd, cfg.eps)


IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])


@pytest.fixture
def model() -> GPT:
    return tiny().double()


# ---- beside transformers -------------------------------------------------------------------------
@pytest.mark.parametrize("cfg", [GPTConfig(29, 32, 2, 2, 16, init_std=0.3),
                                 GPTConfig(40, 24, 3, 4, 32, eps=1e-3, init_std=0.2)], ids=str)
def test_a_folder_of_ours_gives_our_logits_there_and_theirs_here(cfg, tmp_path):
    transformers = pytest.importorskip("transformers")
    ours = GPT(cfg, seed=0)
    write_gpt(tmp_path, ours, end=2)
    theirs, info = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert theirs.config.eos_token_id == 2
    same(theirs.eval()(IDS).logits.detach(), logits(ours, IDS).detach(), 1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = read_gpt(tmp_path / "theirs", read_json(tmp_path / "theirs" / "config.json"))
    assert again.cfg == cfg and torch.equal(logits(again, IDS), logits(ours, IDS))
    theirs(IDS, labels=IDS).loss.backward()
    (-log_probs(ours, ours(IDS[:, :-1]), IDS[:, 1:]).mean()).backward()
    same(ours.wte.weight.grad, theirs.transformer.wte.weight.grad, 1e-5)     # from both its roles
    same(ours.h[0].attn.c_attn.weight.grad, theirs.transformer.h[0].attn.c_attn.weight.grad.T, 1e-5)


# ---- its own laws --------------------------------------------------------------------------------
def test_every_way_in_and_out_agrees(model):
    """The head runs only where it is asked for."""
    hidden, embeds = model(IDS), model.wte(IDS)
    z = model.head(hidden)
    assert z.shape == (2, 8, 17)
    same(model(embeds=embeds), hidden)                  # embeddings have no positions yet
    same(hidden @ model.wte.weight.T, z)                # the head is the input embedding
    logp = z.log_softmax(-1).gather(-1, IDS[..., None])[..., 0]             # no shift inside
    some = torch.tensor([[0, 1, 0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1]]).bool()
    for on, at in ((torch.ones_like(some), None), (some, some.flatten().nonzero()[:, 0]),
                   (torch.zeros_like(some), torch.arange(0))):
        targets = IDS.masked_fill(~on, 10**6)           # what is not asked for is not read
        picked = select_at(hidden, at)
        same(model.head(picked), z if at is None else z[on])
        same(scatter_at(model.greedy(picked), at, IDS.shape), z.argmax(-1) * on)
        same(log_probs(model, hidden, targets, at), logp * on)


@pytest.mark.parametrize("padded", [False, True])
def test_reading_in_pieces_with_a_cache_is_reading_at_once(padded, model):
    """So nothing looks ahead either. Nor does anything look at padding on the left."""
    attention_mask = torch.ones(2, 8).bool()
    attention_mask[1, :2] = not padded
    pos = (attention_mask.long().cumsum(1) - 1).clamp_min(0)
    at_once = model(IDS, attention_mask=attention_mask, pos=pos)            # (2,8,C)
    same(at_once[0], model(IDS[:1])[0])
    same(at_once[1, 2 * padded:], model(IDS[1:, 2 * padded:])[0])
    for cuts in ([1] * 8, [8], [3, 1, 1, 3], [1, 7]):
        cache, at, got = Cache(model.cfg, 2, 20, model.wte.weight), 0, []
        for n in cuts:
            kw = {"attention_mask": attention_mask[:, :at + n],
                  "pos": pos[:, at:at + n]} if padded else {}
            got.append(model(IDS[:, at:at + n], cache=cache, **kw))
            at += n
            assert cache.n == at
        same(torch.cat(got, 1)[attention_mask], at_once[attention_mask], 1e-10)


def test_fresh_weights_are_a_function_of_the_seed():
    a, b, c = (dict(GPT(replace(TINY), seed=s).named_parameters()) for s in (1, 1, 2))
    assert all(torch.equal(a[n], b[n]) for n in a)
    assert all((a[n] != c[n]).any() for n in a if a[n].dim() == 2)
    for name, p in GPT(GPTConfig(100, 50, 2, 4, 64, init_std=0.05), seed=0).named_parameters():
        if p.dim() == 2:                                # residual writers: over sqrt(2 L) = 2
            spread = 0.05 / (2 if name.endswith("c_proj.weight") else 1)
            assert abs(p.std() / spread - 1) < 0.05 and abs(p.mean()) < spread / 10, name
        else:
            assert (p == (0 if name.endswith("bias") else 1)).all(), name


def test_new_tokens_begin_as_neither_likely_nor_unlikely():
    old = torch.randn(50, 16, generator=torch.Generator().manual_seed(1)) * 2 + 1
    new = resize_embedding(old, 450)
    assert torch.equal(new[:50], old) and torch.equal(new, resize_embedding(old, 450))
    same(new[50:].mean(0), old.mean(0), 0.05)
    same(new[50:].std(0), 0.1 * old.std(0), 0.1)


# ---- the shipped base, and another architecture --------------------------------------------------
def test_the_shipped_base_has_read_nanoworld():
    base, tok = start_model("base")
    assert base.cfg == NANO == GPTConfig(1024, 512, 4, 4, 128, 1e-5, 0.08)
    assert base.n_params() == 989_952 and tok.n_vocab == 1024
    ids = torch.tensor([tok.encode("Sort pig bee saw from a to z.")])
    nats = log_probs(base, base(ids[:, :-1]), ids[:, 1:])
    assert nats[0, -4:].min() > -0.2, "'a to z.' ends such a task"


@pytest.mark.parametrize("change, line", [
    ("norm", "train --objective sft"), ("width", "train --objective sft"),
    ("heads", "train --objective sft"), ("name", "train --objective sft"),
    ("norm", "sample base --prompt x"), ("norm", "pushes"), ("norm", "simple")])
def test_a_changed_architecture_is_one_line_where_the_shipped_base_is_opened(
        change, line, monkeypatch, capsys):
    if change == "norm":
        monkeypatch.setattr(gpt, "Norm", RMSNorm)
    elif change == "name":
        monkeypatch.setitem(folders.OURS, "model_type", ("nano",))
    else:
        more = {"n_embd": 64} if change == "width" else {"n_head": 2}
        monkeypatch.setattr(folders, "NANO", replace(NANO, **more))
    assert (command(simple.main, []) if line == "simple" else call(line)) == 2
    assert re.match("error: the shipped base has another architecture .* python -m "
                    "nanouft.pretrain ", one_error(capsys))


def test_a_base_of_another_architecture_is_opened_by_the_code_that_has_it(tmp_path, monkeypatch):
    with monkeypatch.context() as now:
        now.setattr(gpt, "Norm", RMSNorm)
        model = GPT(TINY, seed=0)
        write_gpt(tmp_path, model, end=2)
        again = read_gpt(tmp_path, read_json(tmp_path / "config.json"))
        assert torch.equal(again(IDS), model(IDS))
    with pytest.raises(UserError, match="h.0.ln_1.bias is missing, .*python -m nanouft.pretrain"):
        read_gpt(tmp_path, read_json(tmp_path / "config.json"))


# ---- where and how precisely it computes ---------------------------------------------------------
@pytest.mark.slow
def test_without_a_compiler_it_is_one_line_that_names_the_flag():
    """Such as on Windows without Triton."""
    def no_compiler(graph, inputs):
        raise RuntimeError("Cannot find\na working triton installation")
    torch._dynamo.reset()
    with pytest.raises(UserError, match="^.*remove --compile .*a working triton installation.*$"):
        CompiledBlocks(nano(n_layer=1), no_compiler)(IDS)


@pytest.mark.parametrize("dtype, has_bf16, size, used, precision", [
    ("fp32", True, 10**8, "fp32", "highest"), ("auto", True, 10**8, "bf16", "high"),
    ("auto", False, 10**8, "fp16", "high"), ("auto", True, 10**6, "fp32", "highest"),
    ("bf16", True, 10**6, "bf16", "high")])
def test_fp32_is_exact_on_a_gpu_and_small_models_have_it(dtype, has_bf16, size, used, precision,
                                                         monkeypatch):
    """As if there were one: TF32 is for the other precisions alone. cuDNN's attention is off."""
    asked, cudnn = [], []
    monkeypatch.setattr(torch.backends.cuda, "enable_cudnn_sdp", cudnn.append)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    for name in ("cuda.set_device", "set_float32_matmul_precision", "set_num_threads"):
        monkeypatch.setattr(f"torch.{name}", asked.append)
    for name, card in (("auto", "cuda:0"), ("cuda:1", "cuda:1")):
        chosen = choose_device(name, dtype, threads=3)
        assert asked[-3] == 3 and asked[-1] == card
        found = device.fp32_if_small(chosen, dtype, size)
        assert found == Device(name.replace("auto", "cuda"), used)
        assert [x for x in asked if x in ("high", "highest")][-1] == precision
    assert cudnn == [False, False]
    assert (choose_device("cpu").dtype, choose_device("cpu", "bf16").dtype) == ("fp32", "bf16")
    assert device.fp32_if_small(Device("cpu", "bf16"), "auto", size).dtype == "bf16"


@pytest.mark.parametrize("flags, can, size, told", [
    ("", "with", 0, 1), ("", "without", 0, 0), ("", "with", 10**9, 0),
    ("--dtype fp32", "with", 0, 0)])
def test_who_has_a_processor_that_multiplies_in_bf16_is_told_so(flags, can, size, told, here,
                                                                capsys, monkeypatch):
    """Without --dtype bf16 a run computes in fp32 on each."""
    monkeypatch.setattr(device, "SMALL", size)
    monkeypatch.setattr(device, "processor", lambda: f"vax {can} bf16")
    remove(here / "new")
    assert call(f"train --objective sft --rows 8 --steps 1 --plain --out new {flags}") == 0
    assert capsys.readouterr().out.count("--dtype bf16") == told
    assert read_json(here / "new" / "run.json")["device"] == "cpu fp32"


@pytest.mark.parametrize("n, dtype", [(9, torch.float32), (fast_ops.LONG // 64, torch.bfloat16)])
def test_bf16_on_a_cpu_computes_the_attention_of_short_rows_in_fp32(n, dtype):
    """That of long rows in bf16, as PyTorch does; and that of other programs always."""
    x = torch.randn(1, 2, n, 64, generator=torch.Generator().manual_seed(0))
    for mask in (None, torch.zeros(1, 1, 1, n)):
        with Device("cpu", "bf16").autocast():
            y, theirs = (op(x, x, x, attn_mask=mask, is_causal=mask is None)
                         for op in (fast_ops.attend, F.scaled_dot_product_attention))
        z, mask = x.to(dtype), None if mask is None else mask.to(dtype)
        assert torch.equal(y, fast_ops.attend(z, z, z, attn_mask=mask, is_causal=mask is None))
        assert (y.dtype, theirs.dtype) == (dtype, torch.bfloat16)


@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_mixed_precision_keeps_no_copies_of_weights(kind):
    """Copies that a forward without gradient made, as IFT's does, would let no gradient through in
    the next forward, in some versions of PyTorch."""
    before = torch.is_autocast_cache_enabled()
    with Device(kind, "bf16").autocast():
        assert not torch.is_autocast_cache_enabled()
    assert torch.is_autocast_cache_enabled() == before


@pytest.mark.parametrize("trained, flags, used", [
    ("cpu bf16", "", "bf16"), ("cuda:1 bf16", "", "bf16"), ("cpu bf16", "--dtype fp32", "fp32"),
    ("cpu bf16", "--dtype auto", "fp32"), ("cuda fp16", "", "fp32"), (3, "", "fp32")])
def test_a_model_answers_in_the_precision_that_its_run_had(trained, flags, used, here, monkeypatch):
    """Where this machine has it (a CPU has no fp16), and its initial model too; or as asked."""
    asked, trainings, forward = [], [], GPT.forward
    write_json(here / "run" / "run.json", read_json(here / "run" / "run.json") | {
        "device": trained})
    monkeypatch.setattr(GPT, "forward", lambda self, *given, **how: asked.append(
        self.wte.weight.dtype) or forward(self, *given, **how))
    for line in ("sample run --prompt 'Say fig.' --max-new 2", "evaluate run --items 1",
                 "evaluate run --data demos.jsonl --items 0"):
        assert call(f"{line} {flags}") == 0
        assert {*asked} == {DTYPES[used]}
        asked.clear()
    monkeypatch.setattr(reward, "steps", lambda *more, real=reward.steps, **how:
                        trainings.append(more[5].dtype) or real(*more, **how))
    assert call(f"reward --init run --data pairs.jsonl --steps 1 --batch-size 2 {flags} --out "
                f"judge{len(list(here.glob('judge*')))}") == 0
    assert trainings == [used]
