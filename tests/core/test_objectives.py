"""The contract that every objective keeps, and the laws of SFT and DPO.

    python -m pytest tests/test_objectives.py        about 5 s

The first part runs over all of OBJECTIVES in all the forms that tiny.py lists: an objective added to the registry is
tested here at once. What couples rows says so with `coupled = True` and is left out where rows must just add.
"""
import dataclasses
import math

import numpy as np
import pytest
import torch
from tiny import (CPU, DATA, FORMS, NANO, TINY, Form, batch_of, differs, give_logps, is_live, model_grads, pure, read,
                  real_batch, row, same, say, some_rows, tiny, value_and_grads, widen)

from nanouft.reference import COLUMNS, add_columns
from nanouft.data.rows import Row
from nanouft.objective import Objective, plain
from nanouft.data.batches import collate, encode
from nanouft.shell.config import UserError

from nanouft.gpt import GPT
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.dpo import DPO, dpo_loss
from nanouft.objectives.ift import IFT
from nanouft.objectives.sft import SFT

NANO_TINY = dataclasses.replace(TINY, vocab_size=NANO.n_vocab)
SEPARABLE = [f for f in FORMS if not getattr(f.objective, "coupled", False)]
each_form = pytest.mark.parametrize("form", FORMS, ids=str)
each_separable = pytest.mark.parametrize("form", SEPARABLE, ids=str)


def subset(batch, order: list[int]):
    """The same step with its rows in another order."""
    pick = torch.tensor(order)
    for s in batch.seqs.values():
        s.inputs, s.targets, s.mask, s.attend, s.logp = (x[pick]
                                                         for x in (s.inputs, s.targets, s.mask, s.attend, s.logp))
        s.tok = {name: x[pick] for name, x in s.tok.items()}
    batch.col = batch.whole = {name: x[pick] for name, x in batch.col.items()}
    return batch


# ---- 1. every objective ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_contract(name):
    o = OBJECTIVES[name]
    assert isinstance(o, Objective) and o.paper and dataclasses.is_dataclass(o.hp) and o.lr > 0
    assert set(o.columns) <= set(COLUMNS), "every column is one that prepare.py can make"
    hp = o.hp()
    if hasattr(hp, "check"):
        hp.check(set())                                 # defaults are never refused
    with pytest.raises(UserError, match="needs"):
        o.rows([], hp)
    if o.source == "epochs":                            # a prompt is enough for who samples the answer
        with pytest.raises(UserError, match="needs"):
            o.rows([Row(prompt=say("user", "nothing to learn from"))], hp)
    assert (o.source == "rollouts") == (o.credit is not None) == (o.kinds(hp) == ["prompts"])


@each_form
def test_forward_writes_the_log_probs_of_the_targets(form):
    """Whatever states a method trains on: (B,T), 0 off the mask, never positive, with a graph to the model."""
    batch = real_batch(form)
    model = GPT(NANO_TINY, seed=0)
    form.objective.forward(model, batch, form.hp)
    for role, s in batch.seqs.items():
        assert s.logp.shape == s.mask.shape and s.logp.dtype == torch.float32, role
        assert s.logp.requires_grad == (role not in form.objective.constant), role
        on = read(form, role, s)
        assert (s.logp[~on] == 0).all() and (s.logp[on] < 0).all(), role


@each_form
def test_loss_is_one_number_and_metrics_carry_no_graph(form):
    batch = give_logps(real_batch(form))
    for s in batch.seqs.values():
        s.logp.requires_grad_(True)
    loss, metrics = form.objective.loss(batch, form.hp)
    assert loss.shape == () and loss.requires_grad and loss.isfinite() and loss.dtype == torch.float64
    for name, value in metrics.items():
        assert not getattr(value, "requires_grad", False), f"metric {name} would keep the graph of every step alive"
        assert math.isfinite(float(value)), name


@each_form
def test_garbage_in_masked_places_is_never_read(form):
    want, grads = value_and_grads(form, give_logps(real_batch(form)))
    for garbage in (99.0, math.inf, -math.inf, math.nan):
        batch = give_logps(real_batch(form))
        for role, s in batch.seqs.items():
            s.logp = s.logp.masked_fill(~read(form, role, s), garbage)
            s.tok = {name: x.masked_fill(s.mask == 0, garbage) for name, x in s.tok.items()}
        got, g = value_and_grads(form, batch)
        same(got, want, f"{form}: {garbage} in a masked place does not change the loss", 0.0)
        for role in g:
            same(g[role], grads[role],
                 f"{form}, {role}: {garbage} in a masked place does not change the gradient (and 0 there)", 0.0)


@each_form
def test_prompt_targets_get_no_gradient(form):
    batch = give_logps(real_batch(form))
    _, grads = value_and_grads(form, batch)
    for role, s in batch.seqs.items():
        if role not in grads:
            continue                                    # read and not trained on
        off = ~read(form, role, s)
        assert off.any() and (grads[role][off] == 0).all(), \
            f"LAW: {form}, {role}: a prompt or padding target has gradient 0 (of ORPO's NLL: a padding target)"
        assert (grads[role][~off] != 0).any(), f"{form}, {role}: no gradient at all"


@each_form
def test_padding_changes_nothing(form):
    want, grads = value_and_grads(form, give_logps(real_batch(form)))
    batch = give_logps(real_batch(form))
    for s in batch.seqs.values():
        widen(s, 7)
        s.logp = torch.nn.functional.pad(s.logp, (0, 7), value=-3.0)
    got, g = value_and_grads(form, batch)
    same(got, want, f"{form}: padding on the right does not change the loss")
    for role in g:
        same(g[role][:, :-7], grads[role], f"{form}, {role}: padding on the right does not change the gradient")


@each_form
def test_padding_changes_nothing_through_the_network(form):
    model = GPT(NANO_TINY, seed=0).double()
    want, grads = model_grads(form, model, real_batch(form))
    got, g = model_grads(form, model, real_batch(form, width=9))
    same(got, want, f"{form}: padding on the right does not change the loss")
    for name in g:
        same(g[name], grads[name], f"{form}: padding on the right does not change the gradient of {name}")


@each_form
def test_the_order_of_rows_is_irrelevant(form):
    want, grads = value_and_grads(form, give_logps(real_batch(form)))
    batch = give_logps(real_batch(form))
    order = list(range(batch.rows))[::-1]
    got, g = value_and_grads(form, subset(batch, order))
    same(got, want, f"{form}: permuting the rows does not change the loss")
    for role in g:
        same(g[role], grads[role][order], f"{form}, {role}: permuting the rows permutes the gradient")


@each_separable
@pytest.mark.parametrize("parts", [2, 3])
def test_micro_batches_add_up(form, parts):
    model = GPT(NANO_TINY, seed=0).double()
    reference = GPT(NANO_TINY, seed=1)
    pieces = [real_batch(form, parts, part, reference=reference) for part in range(parts)]
    want, grads = model_grads(form, model, real_batch(form, reference=reference))
    got, g = model_grads(form, model, *pieces)
    same(got, want, f"{form}: the losses of {parts} micro-batches add up to the loss of the step")
    for name in g:
        same(g[name], grads[name], f"{form}: the gradients of {parts} micro-batches add up: {name}")


@each_separable
def test_metrics_of_micro_batches_add_up(form):
    model = GPT(NANO_TINY, seed=0).double()

    def metrics(batch) -> dict:
        form.objective.forward(model, batch, form.hp)
        return {name: float(x) for name, x in form.objective.loss(batch, form.hp)[1].items()}
    want = metrics(real_batch(form))
    pieces = [metrics(real_batch(form, 3, part)) for part in range(3)]
    for name in want:
        same(sum(p[name] for p in pieces), want[name],
             f"{form}: metric {name} is a share of the step, so pieces add up", 1e-6)


@each_form
@pytest.mark.parametrize("logp", [0.0, -1e-9, -1e4])
def test_extreme_probabilities_stay_finite_in_fp32(form, logp):
    batch = real_batch(form)
    for s in batch.seqs.values():
        s.logp = torch.full(s.mask.shape, logp).masked_fill(s.attend == 0, 0)
    value, grads = value_and_grads(form, batch)
    assert value.isfinite(), f"LAW: {form}: at a mean log-prob of {logp} the loss is finite, not {value}"
    assert all(g.isfinite().all() for g in grads.values()), \
        f"LAW: {form}: at a mean log-prob of {logp} the gradient is finite"


@each_form
def test_a_loss_is_a_pure_function(form):
    batch = give_logps(real_batch(form))
    before = {role: s.logp.clone() for role, s in batch.seqs.items()}
    values = [form.objective.loss(batch, form.hp)[0] for _ in range(2)]
    same(values[0], values[1], f"{form}: the same batch gives the same loss twice", 0.0)
    for role, s in batch.seqs.items():
        same(s.logp, before[role], f"{form}: the loss writes into nothing", 0.0)


@each_form
def test_a_step_against_the_gradient_lowers_the_loss(form):
    if not is_live(form):
        pytest.skip("what the loss holds constant is not in the gradient, but it is in the value")
    batch = give_logps(real_batch(form))
    value, grads = value_and_grads(form, batch)
    for role, s in batch.seqs.items():
        s.logp = s.logp.detach() - 1e-4 * grads.get(role, 0)
    assert form.objective.loss(batch, form.hp)[0] < value, f"LAW: {form}: the loss is something to minimise"


# ---- 2. the reductions and the shared forward -----------------------------------------------------------------------
def test_plain_with_several_roles_is_each_role_alone():
    model, form = GPT(NANO_TINY, seed=0).double(), Form("dpo", DPO())
    both = real_batch(form)
    plain(model, both, None)
    widths = {s.inputs.shape[1] for s in both.seqs.values()}
    assert len(widths) > 1, "roles of equal width would not test the padding"
    for role, s in both.seqs.items():
        alone = real_batch(form)
        alone.seqs = {role: alone.seqs[role]}
        plain(model, alone, None)
        same(s.logp, alone.seqs[role].logp, f"one forward over all roles gives {role} what a forward of its own would")


def test_plain_is_teacher_forcing_by_definition():
    model = tiny()
    batch = batch_of([row([3, 4, 5, 6, 7], [0, 0, 1, 0, 1])])
    plain(model, batch, None)
    full = model(torch.tensor([[3, 4, 5, 6, 7]]))[0].log_softmax(-1)
    same(batch.seqs["answer"].logp[0], [0.0, full[1, 5].item(), 0.0, full[3, 7].item()],
         "logp[t] = log pi(x[t+1] | x[..t]) where the target is a response token, 0 elsewhere")


def test_sum_and_mean_of_a_role():
    s = pure([[1.0, 2, 3], [5, math.nan, math.inf]], [[1, 1, 1], [1, 0, 0]]).seqs["answer"]
    same(s.sum(-s.logp), [6.0, 5.0], "sum over response tokens; masked places are replaced, not multiplied")
    same(s.mean(-s.logp), [2.0, 5.0], "mean over response tokens")
    empty = pure([[1.0, 2]], [[0, 0]]).seqs["answer"]
    same(empty.mean(empty.logp), [0.0], "the mean of no response tokens is 0, not 0/0")


def test_sft_reductions():
    batch = pure([[2.0, 9, 9, 9], [1.0, 1, 1, 1]], [[1, 0, 0, 0], [1, 1, 1, 1]])
    same(OBJECTIVES["sft"].loss(batch, SFT())[0], 1.2, "losses [2] and [1,1,1,1]: every token weighs the same: 6/5")
    same(OBJECTIVES["sft"].loss(batch, SFT(reduction="sequence"))[0], 1.5,
         "losses [2] and [1,1,1,1]: every answer the same: 3/2")
    same(OBJECTIVES["sft"].loss(batch, SFT(reduction="sequence"))[1]["nll"], 1.2, "the metric nll is per token in both")
    same(OBJECTIVES["ift"].loss(batch, IFT())[1]["nll_mixed"], 1.2, "and in IFT")


def test_detached_embeddings_change_only_wte():
    model, rows = tiny(), some_rows()
    want, grads = model_grads(Form("sft", SFT()), model, batch_of(rows))
    got, g = model_grads(Form("sft", SFT(detach_embeddings=True)), model, batch_of(rows))
    same(got, want, "--detach-embeddings does not change the loss")
    for name in g:
        if name == "wte.weight":
            differs(g[name], grads[name], "--detach-embeddings takes the input side's gradient from wte")
        else:
            same(g[name], grads[name], f"--detach-embeddings changes no gradient but wte's: {name}")


# ---- 3. DPO ---------------------------------------------------------------------------------------------------------
def margins(hp: DPO, seed: int = 0):
    return give_logps(real_batch(Form("dpo", hp)), seed)


@pytest.mark.parametrize("hp", [DPO(), DPO(beta=3.0), DPO(label_smoothing=0.2)], ids=str)
def test_dpo_at_the_reference_is_log_2(hp):
    batch = margins(hp)
    for s in batch.seqs.values():
        s.logp = s.ref.clone()
    loss, metrics = OBJECTIVES["dpo"].loss(batch, hp)
    same(loss, math.log(2), "policy = reference: h = 0 and the loss is log 2 for every beta and label smoothing")
    same(metrics["margin"], 0.0, "policy = reference: the margin is 0")


def test_dpo_knows_only_the_distance_to_the_reference():
    batch = margins(DPO(beta=0.4))
    want = OBJECTIVES["dpo"].loss(batch, DPO(beta=0.4))[0]
    for s, c in zip(batch.seqs.values(), (0.7, -1.9)):
        s.logp, s.ref = s.logp + c, s.ref + c
    same(OBJECTIVES["dpo"].loss(batch, DPO(beta=0.4))[0], want,
         "the same constant on policy and reference changes nothing, even another constant for each role")


@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_dpo_gradient(eps):
    hp = DPO(beta=0.4, label_smoothing=eps)
    batch = margins(hp)
    _, grads = value_and_grads(Form("dpo", hp), batch)
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    h = 0.4 * (w.sum(w.logp - w.ref) - l.sum(l.logp - l.ref)).detach()
    pull = 0.4 * ((1 - eps) * torch.sigmoid(-h) - eps * torch.sigmoid(h)) / batch.rows
    same(grads["chosen"], -pull[:, None] * w.mask,
         "dL/dlogp of chosen = -beta [(1-eps) sigma(-h) - eps sigma(h)] on every token")
    same(grads["rejected"], pull[:, None] * l.mask, "dL/dlogp of rejected is the same with the other sign")


def test_dpo_sums_over_tokens():
    hp = DPO(beta=1.0)
    batch = margins(hp)
    for s in batch.seqs.values():
        s.logp, s.ref = torch.full_like(s.logp, -1.0), torch.full_like(s.logp, -2.0)
    n = {role: s.mask.sum(-1).double() for role, s in batch.seqs.items()}
    same(OBJECTIVES["dpo"].loss(batch, hp)[0], -torch.nn.functional.logsigmoid(n["chosen"] - n["rejected"]).mean(),
         "DPO sums over tokens: one nat a token above the reference is worth the difference of the lengths")
    same(OBJECTIVES["dpo"].loss(batch, hp)[1]["logp_chosen"], -n["chosen"].mean(),
         "logp_chosen is the mean summed log-prob")


def test_conservative_dpo():
    batch = margins(DPO())
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    same(dpo_loss(w, l, 0.1, 0.0), dpo_loss(w, l, 0.1), "cDPO with no flipped labels is DPO", 0.0)
    flipped = dpo_loss(l, w, 0.1)
    same(dpo_loss(w, l, 0.1, 0.3), 0.7 * dpo_loss(w, l, 0.1) + 0.3 * flipped,
         "cDPO(eps) = (1-eps) DPO + eps DPO of the swapped pair")


@pytest.mark.parametrize("kw, says", [({"beta": 0.0}, "--beta 0.0"), ({"beta": -1.0}, "--beta -1.0"),
                                      ({"label_smoothing": 0.5}, "--label-smoothing 0.5"),
                                      ({"label_smoothing": -0.1}, "--label-smoothing -0.1")])
def test_dpo_refuses(kw, says):
    with pytest.raises(UserError, match=says.replace(".", r"\.")):
        DPO(**kw).check(set(kw))


# ---- 4. the reference is a column -----------------------------------------------------------------------------------
def pairs():
    return encode(OBJECTIVES["dpo"].rows(DATA, DPO()), NANO, 64)[0]


def test_the_cached_reference_is_the_live_one(tmp_path):
    model, encoded, again = GPT(NANO_TINY, seed=3), pairs(), pairs()
    add_columns(encoded, ("ref",), model, NANO.pad, tmp_path, CPU)
    files = list(tmp_path.iterdir())
    assert len(files) == 1 and files[0].suffix == ".safetensors"
    add_columns(again, ("ref",), model, NANO.pad, tmp_path, CPU)
    for e, a in zip(encoded, again):
        batch = collate([e], np.arange(1), NANO.pad)            # alone: other padding than in the scoring pass
        plain(model, batch, None)
        for role, s in batch.seqs.items():
            assert len(e.seqs[role].ref) == len(e.seqs[role].ids) - 1
            same(s.ref, s.logp.detach(), f"{role}: the cached reference is the live one, to 1e-5 a token", 1e-5)
            same(a.seqs[role].ref, e.seqs[role].ref, "reading the cache gives what was computed", 0.0)


def test_dpo_starts_at_log_2_through_the_whole_path():
    form, model = Form("dpo", DPO(beta=1.0)), GPT(NANO_TINY, seed=3)
    batch = real_batch(form, reference=model)
    form.objective.forward(model, batch, form.hp)
    same(form.objective.loss(batch, form.hp)[0].detach(), math.log(2),
         "a policy that starts as its reference has loss log 2", 1e-5)
    other = real_batch(form, reference=GPT(NANO_TINY, seed=4))
    form.objective.forward(model, other, form.hp)
    differs(form.objective.loss(other, form.hp)[0].detach(), math.log(2), "and another reference gives another loss",
            by=1e-3)


def counted(monkeypatch) -> list:
    """Patches the column so that every computation of it is written down."""
    calls, honest = [], COLUMNS["ref"]

    def ref(*args):
        calls.append(1)
        return honest(*args)
    monkeypatch.setitem(COLUMNS, "ref", ref)
    return calls


def test_the_cache_is_used_only_while_nothing_changed(tmp_path, monkeypatch):
    calls, model = counted(monkeypatch), GPT(NANO_TINY, seed=3)
    def add(data, m=model, device=CPU, folder=tmp_path) -> int:
        add_columns(data, ("ref",), m, NANO.pad, folder, device)
        return len(calls)
    assert add(pairs()) == 1 and add(pairs()) == 1, "the second time is read from the cache"
    assert add(pairs()[:-1]) == 2, "other rows are computed again"
    assert add(pairs()[::-1]) == 3, "the same rows in another order too: columns are stored by place"
    changed = GPT(NANO_TINY, seed=3)
    changed.ln_f.bias.data[0] += 1e-6
    assert add(pairs(), changed) == 4, "other weights too, however little they changed"
    assert add(pairs(), device=dataclasses.replace(CPU, dtype="bf16")) == 5, "another precision too"
    assert add(pairs(), folder=None) == 6, "no folder, no cache"


@pytest.mark.parametrize("damage", [lambda f: f.write_bytes(b""), lambda f: f.write_bytes(f.read_bytes()[:-7]),
                                    lambda f: f.write_bytes(b"\x80\x04K\x01." * 40)], ids=["empty", "cut", "garbage"])
def test_a_damaged_cache_is_computed_again(tmp_path, monkeypatch, damage):
    calls, model, encoded, again = counted(monkeypatch), GPT(NANO_TINY, seed=3), pairs(), pairs()
    add_columns(encoded, ("ref",), model, NANO.pad, tmp_path, CPU)
    (file,) = tmp_path.iterdir()
    damage(file)
    add_columns(again, ("ref",), model, NANO.pad, tmp_path, CPU)
    assert len(calls) == 2 and [f.name for f in tmp_path.iterdir()] == [file.name]
    same(again[0].seqs["chosen"].ref, encoded[0].seqs["chosen"].ref, "a damaged cache is no cache", 0.0)


def test_the_reference_is_scored_in_many_chunks(monkeypatch):
    """More rows than one chunk of 64, in an order that sorting by length must undo."""
    form, model = Form("dpo", DPO()), GPT(NANO_TINY, seed=3)
    data = [Row(say("user", f"say {i} " + "and then " * (i * 7 % 5)), None, say("assistant", "well " * (1 + i * 5 % 7)),
                say("assistant", f"no {i}")) for i in range(150)]
    encoded, _ = encode(form.objective.rows(data, form.hp), NANO, 64)
    add_columns(encoded, ("ref",), model, NANO.pad, CPU)
    batch = collate(encoded, np.arange(150), NANO.pad)
    with torch.no_grad():
        plain(model, batch, None)
    for role, s in batch.seqs.items():
        same(s.ref, s.logp, f"{role}: every row gets its own column back", 1e-5)
