"""The GPT: equal to transformers' GPT-2 both ways, one door with consistent exits, bad folders
refused in one line."""
import json
import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, load_file, save_file
from tiny import TINY, differs, same, tiny

from nanouft import gpt as logp_module
from nanouft.errors import UserError
from nanouft.gpt import GPT, Cache, GPTConfig
from nanouft.models.folder import read_gpt
from nanouft.models.load import grow_vocab
from nanouft.models.save import add_value_head, write_gpt

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])
SHAPES = [GPTConfig(29, 32, 2, 2, 16, init_std=0.3),
          GPTConfig(40, 24, 3, 4, 32, eps=1e-3, init_std=0.2),
          GPTConfig(11, 8, 1, 1, 8, init_std=0.5)]


# ---- transformers --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def hf():
    return pytest.importorskip("transformers")


@pytest.mark.parametrize("cfg", SHAPES, ids=str)
def test_a_folder_of_ours_gives_our_logits_there_and_theirs_here(hf, cfg, tmp_path):
    ours = tiny(cfg=cfg, double=False)
    write_gpt(tmp_path / "ours", ours, end_id=2)
    model, info = hf.GPT2LMHeadModel.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"], info
    assert model.config.eos_token_id == 2
    ids = IDS % cfg.vocab_size
    with torch.no_grad():
        same(model.eval()(ids).logits, ours(ids),
             "transformers opens our folder and computes our logits", 1e-4)
        model.save_pretrained(tmp_path / "theirs")
        again = read_gpt(tmp_path / "theirs")
        assert again.cfg == cfg
        same(again(ids), ours(ids), "and we open the folder that it saves", 0.0)
    model(ids, labels=ids).loss.backward()
    (-ours(ids[:, :-1], want="logp", targets=ids[:, 1:]).mean()).backward()
    same(ours.wte.weight.grad, model.transformer.wte.weight.grad,
         "the tied embedding learns from both roles", 1e-5)
    same(ours.h[0].attn.c_attn.weight.grad, model.transformer.h[0].attn.c_attn.weight.grad.T,
         "transposed", 1e-5)


# ---- one door ------------------------------------------------------------------------------------
def test_every_way_in_and_out_agrees():
    model = tiny()
    logits = model(IDS)
    assert logits.shape == (2, 8, 17)
    embeds = model(IDS, want="embeds")
    same(embeds, model.wte.weight[IDS],
         "embeds out is the table's row of each id, without position")
    same(model(embeds=embeds), logits, "ids in = their embeddings in")
    hidden = model(IDS, want="hidden")
    same(model(hidden=hidden), logits, "ids in = hidden states out and in again")
    same(hidden @ model.wte.weight.T, logits, "the head is the input embedding")
    assert (model(IDS, want="argmax") == logits.argmax(-1)).all()
    logp = logits.log_softmax(-1).gather(-1, IDS[..., None])[..., 0]
    same(model(IDS, want="logp", targets=IDS), logp,
         "logp is log softmax at the target, at the position of the logit: no shift inside")
    same(model(embeds=embeds, want="logp", targets=IDS), logp, "embeddings in, logp out")
    same(model(hidden=hidden, want="logp", targets=IDS), logp, "hidden in, logp out")
    with pytest.raises(ValueError, match="logitz"):
        model(IDS, want="logitz")


def test_the_head_runs_only_where_it_is_asked_for():
    model = tiny()
    at = torch.tensor([[0, 1, 0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1]]).bool()
    full = model(IDS)
    same(model(IDS, at=at), full[at], "logits at the marked positions, in order")
    for want in ("argmax", "logp"):
        every = model(IDS, want=want, targets=IDS)
        some = model(IDS, want=want, targets=IDS, at=at)
        assert some.shape == (2, 8)
        same(some, every.masked_fill(~at, 0), f"{want} at the marked positions, 0 elsewhere")
    wrong = IDS.masked_fill(~at, 10 ** 6)
    same(model(IDS, want="logp", targets=wrong, at=at), model(IDS, want="logp", targets=IDS, at=at),
         "targets outside `at` are never read")
    none = model(IDS, want="logp", targets=IDS, at=torch.zeros_like(at))
    same(none, torch.zeros(2, 8), "nothing marked: zeros, no crash")


def test_at_changes_no_gradient():
    model, at = tiny(), torch.rand(2, 8, generator=torch.Generator().manual_seed(0)) < 0.5

    def grads(**kw):
        model.zero_grad(set_to_none=True)
        (model(IDS, want="logp", targets=IDS.roll(-1, 1), **kw) * at).sum().backward()
        return [p.grad.clone() for p in model.parameters()]
    for a, b in zip(grads(at=at), grads()):
        same(a, b, "the head on some positions has the gradient of the head on all, masked")


def test_nothing_looks_ahead():
    model, other = tiny(), IDS.clone()
    other[:, 5:] = 11
    same(model(IDS)[:, :5], model(other)[:, :5], "a position sees nothing behind it")
    differs(model(IDS)[:, 5:], model(other)[:, 5:], "but itself and what comes before")


def test_left_padding_with_keep_and_pos_equals_no_padding():
    model, pad = tiny(), 3
    ids = torch.cat([torch.full((2, pad), 16), IDS], 1)
    keep = torch.cat([torch.zeros(2, pad), torch.ones(2, 8)], 1).bool()
    pos = (keep.long().cumsum(1) - 1).clamp_min(0)
    got = model(ids, keep=keep, pos=pos)
    same(got[:, pad:], model(IDS), "left padding is never looked at and takes no position")
    assert got.isfinite().all(), "LAW: padding itself gives no NaN that a gradient could spread"
    differs(model(ids, pos=pos)[:, pad:], model(IDS), "without `keep` the padding is seen")
    differs(model(ids, keep=keep)[:, pad:], model(IDS), "without `pos` every position is off")


@pytest.mark.parametrize("cuts", [[1] * 8, [8], [3, 1, 1, 3], [1, 7], [5, 3]])
@pytest.mark.parametrize("padded", [False, True])
def test_reading_in_pieces_with_a_cache_is_reading_at_once(cuts, padded):
    model = tiny()
    keep = torch.ones(2, 8).bool()
    if padded:
        keep[1, :2] = False
    pos = (keep.long().cumsum(1) - 1).clamp_min(0)
    want = model(IDS, keep=keep, pos=pos)
    cache, at, got = Cache(model.cfg, 2, model.wte.weight), 0, []
    for n in cuts:
        kw = {"keep": keep[:, :at + n], "pos": pos[:, at:at + n]} if padded else {}
        got.append(model(IDS[:, at:at + n], cache=cache, **kw))
        at += n
        assert cache.n == at
    got = torch.cat(got, 1)
    same(got[keep], want[keep], f"pieces of {cuts} through the cache give what one pass gives",
         1e-10)


# ---- making and changing models ------------------------------------------------------------------
def test_fresh_weights_are_a_function_of_the_seed():
    a, b, c = (GPT(replace(TINY), seed=s) for s in (1, 1, 2))
    for (name, x), y, z in zip(a.named_parameters(), b.parameters(), c.parameters()):
        same(x, y, f"the same seed gives the same weights: {name}", 0.0)
        if x.dim() == 2:
            differs(x, z, f"another seed gives others: {name}")
    big = GPT(GPTConfig(100, 50, 2, 4, 64, init_std=0.05), seed=0)
    for name, p in big.named_parameters():
        want = {1: 0.0 if name.endswith("bias") else 1.0}.get(p.dim())
        if want is not None:
            same(p, torch.full_like(p, want), f"{name} starts at {want}")
        else:
            spread = 0.05 / (2 if name.endswith("c_proj.weight") else 1)          # sqrt(2 L) = 2
            assert abs(p.std().item() / spread - 1) < 0.05 and abs(p.mean().item()) < spread / 10, \
                name


def test_grow_vocab():
    cfg = replace(TINY)
    model = GPT(cfg, seed=0).double()
    old, before = model.wte.weight.detach().clone(), model(IDS)
    grow_vocab(model, 21)
    assert model.wte.weight.shape == (21, 16) and model.cfg.vocab_size == 21 \
        and model.wte.weight.requires_grad
    assert model.wte.weight.dtype == torch.float64
    assert cfg.vocab_size == 17, \
        "a configuration that others share is not changed behind their backs"
    same(model.wte.weight[:17], old, "old rows stay", 0.0)
    same(model(IDS)[..., :17], before, "old logits stay")
    new = model.wte.weight[17:].detach()
    differs(new[0], new[1], "no two new rows are alike", by=1e-3)
    gap = (model(IDS)[..., 17:] - model(IDS)[..., :17].mean(-1, keepdim=True)).abs().mean()
    assert gap < before.std(), "a new token starts about as likely as an average one"
    again = GPT(replace(TINY), seed=0).double()
    grow_vocab(again, 21)
    same(again.wte.weight, model.wte.weight, "growing draws no global random number", 0.0)


# ---- folders -------------------------------------------------------------------------------------
@pytest.fixture
def folder(tmp_path):
    write_gpt(tmp_path, GPT(replace(TINY), seed=0), end_id=5)
    return tmp_path


def refused(folder, *words: str) -> None:
    with pytest.raises(UserError) as e:
        read_gpt(folder)
    text = str(e.value)
    assert "\n" not in text and all(w in text for w in (str(folder), *words)), text


def edit(folder, drop: str = "", **kw) -> None:
    file = folder / "config.json"
    config = {**json.loads(file.read_text(encoding="utf-8")), **kw}
    config.pop(drop, None)
    file.write_text(json.dumps(config), encoding="utf-8")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_there_and_back(tmp_path, dtype):
    model = GPT(replace(TINY), seed=0)
    write_gpt(tmp_path, model, dtype=dtype)
    assert load_file(tmp_path / "model.safetensors")["transformer.wte.weight"].dtype == dtype
    back = read_gpt(tmp_path)
    for (name, p), q in zip(back.named_parameters(), model.parameters()):
        assert p.dtype == torch.float32
        same(p, q.to(dtype).float(),
             f"saved and read, every weight is the same, fp32 in memory: {name}", 0.0)
    assert back.cfg == TINY


@pytest.mark.parametrize("kw, says", [
    ({"model_type": "llama"}, "llama"), ({"activation_function": "relu"}, "activation_function"),
    ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ({"n_inner": 17}, "n_inner"),
    ({"scale_attn_weights": False}, "scale_attn_weights"),
    ({"tie_word_embeddings": False}, "tie_word_embeddings"),
    ({"n_head": 3}, "multiple of n_head"), ({"n_layer": 0}, "above 0"),
    ({"n_embd": None}, "n_embd is None"),
    ({"vocab_size": float("inf")}, "vocab_size is"), ({"drop": "vocab_size"}, "vocab_size"),
    ({"drop": "model_type"}, "model_type"),
    ({"n_layer": 10 ** 9}, "h.999999999.ln_2.weight is missing"),
    ({"n_embd": 10 ** 30}, "config.json asks for"),
    ({"n_embd": 16.5}, "n_embd"), ({"n_layer": True}, "n_layer"), ({"n_layer": "x" * 999}, "..."),
    *(({"layer_norm_epsilon": bad}, "layer_norm_epsilon") for bad in (None, float("nan"), -1, 0.0)),
    ({"initializer_range": "x"}, "initializer_range"),
    *((kw, "") for kw in ({"n_inner": 64, "scale_attn_weights": True},
                          {"activation_function": "gelu_pytorch_tanh"},
                              {"resid_pdrop": 0.1, "something_new": [1]}))])
def test_what_would_be_computed_differently_is_refused(folder, kw, says):
    edit(folder, **kw)
    refused(folder, says) if says else read_gpt(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("make", [lambda f: f.mkdir(), lambda f: f.symlink_to("/dev/zero"),
                                  os.mkfifo], ids=["folder", "device", "pipe"])
def test_what_is_no_file_is_not_waited_for(folder, name, make):
    (folder / name).unlink()
    make(folder / name)
    refused(folder, name)


@pytest.mark.parametrize("head", [{"weight": torch.zeros(1, 3), "bias": torch.zeros(1)},
                                  {"weight": torch.zeros(1, 16)},
                                  {"weight": torch.zeros(1, 16).long(), "bias": torch.zeros(1)},
                                  {"weight": torch.full((1, 16), torch.nan),
                                   "bias": torch.zeros(1)}])
def test_a_value_head_that_does_not_fit(folder, head):
    save_file(head, folder / "value_head.safetensors")
    with pytest.raises(UserError, match="value_head.safetensors: is damaged"):
        add_value_head(GPT(replace(TINY), seed=0), str(folder))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt"])
def test_pickles_are_never_opened(folder, name):
    class Trap:
        def __reduce__(self):
            return open, (str(folder / "was-run"), "w")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Trap()))
    refused(folder, name, "never loaded")
    assert not (folder / "was-run").exists()


def test_weights_that_do_not_fit_are_one_line(folder):
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    good = load(whole)
    for damaged in (b"", whole[:-9], whole[:40], b"\xff" * 8 + whole[8:], b"hello world" * 9):
        file.write_bytes(damaged)
        refused(folder, "damaged")
    file.unlink()
    refused(folder, "no model.safetensors")
    table, wide = good["transformer.wte.weight"], "transformer.h.0.mlp.c_fc.weight"
    for tensors, *words in (({k: w.long() if "ln_f" in k else w for k, w in good.items()},
                             "ln_f.weight", "int64"),
                            ({k: v for k, v in good.items() if "ln_f.bias" not in k}, "ln_f.bias",
                             "missing"), ({**good, wide: good[wide].T.contiguous()}, "c_fc.weight",
                                          "(16, 64)", "asks for (64, 16)"),
                            ({**good, "lm_head.weight": table + 1}, "tied")):
        save_file(tensors, file)
        refused(folder, *words)
    for tensors in ({**good, "lm_head.weight": table.clone()},  # the embedding is no second head
                    # as GPT-2's own folder
                    {k.removeprefix("transformer."): v for k, v in good.items()},
                    # an old causal mask
                    {**good, "transformer.h.0.attn.bias": torch.ones(1, 1, 64, 64)}):
        save_file(tensors, file)
        read_gpt(folder)
    for layers, *words in ((3, "h.2.", "missing"), (1, "h.1.", "no place")):
        edit(folder, n_layer=layers)
        refused(folder, *words)


# ---- large vocabularies --------------------------------------------------------------------------
def test_large_logits_are_overwritten_and_give_the_numbers_of_cross_entropy_bit_for_bit(
        monkeypatch):
    torch.manual_seed(0)
    states, head, pays = torch.randn(50, 16), torch.randn(301, 16), torch.randn(50)
    targets, found = torch.randint(0, 301, (50,)), {}
    monkeypatch.setattr(logp_module, "PART", 301 * 7)  # the last part is not full
    for large in (2**24, 0):  # cross_entropy, then in place
        monkeypatch.setattr(logp_module, "LARGE", large)
        x, w = states.clone().requires_grad_(), head.clone().requires_grad_()
        nats = logp_module.logp(x @ w.T, targets)
        (nats * pays).sum().backward(retain_graph=True)
        found[large] = nats.detach(), x.grad, w.grad
    assert all(torch.equal(a, b) for a, b in zip(found[2**24], found[0]))
    with pytest.raises(RuntimeError, match="call forward again"):
        nats.sum().backward()
