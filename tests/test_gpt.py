"""The GPT: equal to transformers' GPT-2 both ways, one door whose exits agree, nothing looks
ahead."""
from dataclasses import replace

import pytest
import torch
from made import TINY, Form, batch_of, nano, same, tiny
from torch._dynamo.utils import counters

from nanouft.gpt import GPT, NANO, Cache, GPTConfig
from nanouft.loop import Update, steps
from nanouft.models.folders import read_gpt, resize_embedding, start_model, write_gpt
from nanouft.plumbing import fast
from nanouft.plumbing.files import read_json
from nanouft.run.device import CompiledBlocks

IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6], [5, 3, 5, 8, 9, 7, 9, 3]])


@pytest.fixture
def model() -> GPT:
    return tiny().double()


# ---- transformers --------------------------------------------------------------------------------
@pytest.mark.parametrize("cfg", [GPTConfig(29, 32, 2, 2, 16, init_std=0.3),
                                 GPTConfig(40, 24, 3, 4, 32, eps=1e-3, init_std=0.2),
                                 GPTConfig(11, 8, 1, 1, 8, init_std=0.5)], ids=str)
def test_a_folder_of_ours_gives_our_logits_there_and_theirs_here(cfg, tmp_path):
    transformers = pytest.importorskip("transformers")
    ours, ids = GPT(cfg, seed=0), IDS % cfg.vocab_size
    write_gpt(tmp_path, ours, end=2)
    theirs, info = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert theirs.config.eos_token_id == 2
    same(theirs.eval()(ids).logits.detach(), ours(ids).detach(), 1e-4)
    theirs.save_pretrained(tmp_path / "theirs")
    again = read_gpt(tmp_path / "theirs", read_json(tmp_path / "theirs" / "config.json"))
    assert again.cfg == cfg and torch.equal(again(ids), ours(ids))
    theirs(ids, labels=ids).loss.backward()
    (-ours(ids[:, :-1], want="logp", targets=ids[:, 1:]).mean()).backward()
    same(ours.wte.weight.grad, theirs.transformer.wte.weight.grad, 1e-5)     # from both its roles
    same(ours.h[0].attn.c_attn.weight.grad, theirs.transformer.h[0].attn.c_attn.weight.grad.T, 1e-5)


def test_the_shipped_base_and_the_sizes():
    base, tok = start_model("base")
    assert base.cfg == NANO == GPTConfig(1024, 512, 4, 4, 128, 1e-5, 0.08)
    assert base.n_params() == 989_952 and tok.n_vocab == 1024
    ids = torch.tensor([tok.encode("Sort pig bee saw from a to z.")])
    nats = base(ids[:, :-1], want="logp", targets=ids[:, 1:])
    assert nats[0, -4:].min() > -0.2, "it has read NanoWorld: 'a to z.' ends such a task"


# ---- one door ------------------------------------------------------------------------------------
def test_every_way_in_and_out_agrees(model):
    logits = model(IDS)
    assert logits.shape == (2, 8, 17)
    embeds = model(IDS, want="embeds")
    same(embeds, model.wte.weight[IDS])                 # the rows of the table, without positions
    same(model(embeds=embeds), logits)
    hidden = model(IDS, want="hidden")
    same(model(hidden=hidden), logits)
    same(hidden @ model.wte.weight.T, logits)           # the head is the input embedding
    assert (model(IDS, want="argmax") == logits.argmax(-1)).all()
    logp = logits.log_softmax(-1).gather(-1, IDS[..., None])[..., 0]
    same(model(IDS, want="logp", targets=IDS), logp)    # no shift inside
    same(model(embeds=embeds, want="logp", targets=IDS), logp)
    same(model(hidden=hidden, want="logp", targets=IDS), logp)
    same(model(IDS, want="value"), torch.zeros(2, 8))
    model.value = torch.nn.Linear(16, 1).double()
    same(model(IDS, want="value"), model.value(hidden)[..., 0])
    for want in ("logitz", "logp"):                     # unknown; log-probs of nothing
        with pytest.raises(ValueError, match=want):
            model(IDS, want=want)


def test_the_head_runs_only_where_it_is_asked_for(model):
    mask = torch.tensor([[0, 1, 0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0, 0, 1]]).bool()
    at = mask.flatten().nonzero()[:, 0]
    same(model(IDS, at=at), model(IDS)[mask])
    for want in ("argmax", "logp"):
        every = model(IDS, want=want, targets=IDS).masked_fill(~mask, 0)
        same(model(IDS, want=want, targets=IDS, at=at), every)
    unread = IDS.masked_fill(~mask, 10 ** 6)
    same(model(IDS, want="logp", targets=unread, at=at), every)
    same(model(IDS, want="logp", targets=IDS, at=at[:0]), torch.zeros(2, 8))

    def grads(**kw) -> dict:
        model.zero_grad()
        (model(IDS, want="logp", targets=IDS.roll(-1, 1), **kw) * mask).sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters()}
    same(grads(at=at), grads())


# ---- attention -----------------------------------------------------------------------------------
@pytest.mark.parametrize("cuts", [[1] * 8, [8], [3, 1, 1, 3], [1, 7]], ids=str)
@pytest.mark.parametrize("padded", [False, True])
def test_reading_in_pieces_with_a_cache_is_reading_at_once(cuts, padded, model):
    """So nothing looks ahead either."""
    attention_mask = torch.ones(2, 8).bool()
    attention_mask[1, :2] = not padded
    pos = (attention_mask.long().cumsum(1) - 1).clamp_min(0)
    cache, at, got = Cache(model.cfg, 2, 20, model.wte.weight), 0, []
    for n in cuts:
        kw = {"attention_mask": attention_mask[:, :at + n],
              "pos": pos[:, at:at + n]} if padded else {}
        got.append(model(IDS[:, at:at + n], cache=cache, **kw))
        at += n
        assert cache.n == at
    at_once = model(IDS, attention_mask=attention_mask, pos=pos)
    same(torch.cat(got, 1)[attention_mask], at_once[attention_mask], 1e-10)


# ---- weights -------------------------------------------------------------------------------------
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


# ---- large vocabularies --------------------------------------------------------------------------
def test_large_logits_are_overwritten_and_give_the_numbers_of_cross_entropy(monkeypatch):
    """Bit for bit; and there can be one backward pass only."""
    torch.manual_seed(0)
    states, head, paid = torch.randn(50, 16), torch.randn(301, 16), torch.randn(50)
    targets, found = torch.randint(0, 301, (50,)), {}
    monkeypatch.setattr(fast, "PART", 301 * 7)           # the last part is not full
    for large in (2**24, 0):                            # cross_entropy, then in place
        monkeypatch.setattr(fast, "LARGE", large)
        x, w = states.clone().requires_grad_(), head.clone().requires_grad_()
        nats = fast.logp(x @ w.T, targets)
        (nats * paid).sum().backward(retain_graph=True)
        found[large] = nats.detach(), x.grad, w.grad
    assert all(torch.equal(a, b) for a, b in zip(found[2**24], found[0]))
    with pytest.raises(RuntimeError, match="call forward again"):
        nats.sum().backward()


# ---- torch.compile -------------------------------------------------------------------------------
@pytest.mark.parametrize("name, graphs", [("ift", 2), ("ppo", 1)])
def test_all_blocks_are_one_graph_with_gradient_and_one_without_whatever_the_shape(name, graphs):
    """`--compile`, by the backend that keeps PyTorch's own operations: no C compiler is needed to
    count graphs and breaks. The numbers are those of the model that is not compiled."""
    form, found = Form(name), []
    whole = batch_of(form)
    shapes = [whole, *(whole.take([i, i + 1]) for i in range(whole.n - 1))]
    torch._dynamo.reset()
    counters.clear()
    for compiled in (False, True):
        model = nano()
        net = CompiledBlocks(model, "eager") if compiled else model
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        found.append([float(step.sums["loss"]) for step in steps(
            net, form.objective, shapes.__getitem__, Update(optimizer), range(len(shapes)))])
    assert counters["stats"]["unique_graphs"] == graphs and not counters["graph_break"]
    same(found[1], found[0], 1e-5)
