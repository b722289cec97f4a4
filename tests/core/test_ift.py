"""IFT: every identity, trap and gradient formula of the method, each as a law that a failure prints.

    python -m pytest tests/test_ift.py        about 3 s

The source is Hua et al., arXiv:2405.11870 and the code released with it; l_t is the loss of response token t, N their
number, w_t the weight, lam the share of the model's own guess, gamma the discount. All in fp64 on a tiny GPT.
"""
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import (PAD, Form, batch_of, differs, give_logps, model_grads, pure, row, same, some_rows, tiny,
                  value_and_grads)

from nanouft.objective import plain
from nanouft.shell.config import UserError

from nanouft.objectives.ift import IFT as AnyIFT
from nanouft.objectives.ift import forward, future_sum, lam_now, loss, own_guess, weights
from nanouft.objectives.sft import SFT
from nanouft.train import schedule

def IFT(**kw) -> AnyIFT:
    """The published form, unless another variant is named."""
    return AnyIFT(**{"variant": "released", **kw})


GAMMAS = [0.0, 0.3, 0.95, 1.0]
SEQUENCE = Form("sft", SFT(reduction="sequence"))
FROZEN = Form("sft", SFT(reduction="sequence", detach_embeddings=True))
SFT_LIKE = IFT(lam=0.0, gamma=0.0)


class Spy:
    """A model that writes down how it is called."""

    def __init__(self, model):
        self.model, self.calls = model, []

    def __call__(self, ids=None, **kw):
        self.calls.append({"ids": ids, "grad": torch.is_grad_enabled(), **kw})
        return self.model(ids, **kw)

    @property
    def states(self) -> torch.Tensor:
        """(B,T,C) the embeddings that the pass with gradient read."""
        return self.calls[-1]["embeds"]


def logps(model, rows, hp, **kw) -> tuple[torch.Tensor, torch.Tensor]:
    """(second-pass log-probs (B,T), mask) of rows."""
    batch = batch_of(rows, **kw)
    forward(model, batch, hp)
    return batch.seqs["answer"].logp.detach(), batch.seqs["answer"].mask


def nll_grad(l: list[float], **hp) -> tuple[torch.Tensor, torch.Tensor]:
    """(L, dL/dl) of one row of token losses under the pure loss."""
    value, grads = value_and_grads(Form("ift", IFT(**hp)), pure([l]))
    return value, -grads["answer"][0]


def weights_of_row(l: list[float], mask: list[int] | None = None, **hp) -> torch.Tensor:
    s = pure([l], None if mask is None else [mask]).seqs["answer"]
    return weights((-s.logp).masked_fill(s.mask == 0, 0), s, IFT(**hp))[0]


def draw(n: int, seed: int) -> list[float]:
    return np.random.default_rng(seed).exponential(size=n).tolist()


# ---- 1. lam = 0, gamma = 0 is SFT -----------------------------------------------------------------------------------
def test_without_both_changes_it_is_sequence_mean_sft():
    model, rows = tiny(), some_rows()
    ours, g = model_grads(Form("ift", SFT_LIKE), model, batch_of(rows))
    theirs, h = model_grads(SEQUENCE, model, batch_of(rows))
    same(ours, theirs, "IFT(lam=0, gamma=0) has the loss of SFT with --reduction sequence")
    for name in g:
        if name != "wte.weight":
            same(g[name], h[name], f"IFT(lam=0, gamma=0) has SFT's gradient in every parameter but wte: {name}")
    differs(g["wte.weight"], h["wte.weight"], "the input side of wte gets no gradient in IFT, but it does in SFT")


def test_without_both_changes_it_is_sft_with_detached_embeddings_in_every_gradient():
    model, rows = tiny(), some_rows()
    ours, g = model_grads(Form("ift", SFT_LIKE), model, batch_of(rows))
    theirs, h = model_grads(FROZEN, model, batch_of(rows))
    same(ours, theirs, "IFT(0, 0) has the loss of `sft --reduction sequence --detach-embeddings`")
    for name in g:
        same(g[name], h[name], f"IFT(0, 0) equals `sft --detach-embeddings` in EVERY gradient: {name}")


def test_each_change_alone_makes_it_something_else():
    model, rows = tiny(), some_rows()
    base, _ = model_grads(Form("ift", SFT_LIKE), model, batch_of(rows))
    for hp in (IFT(lam=0.2, gamma=0.0), IFT(lam=0.0, gamma=0.95)):
        differs(model_grads(Form("ift", hp), model, batch_of(rows))[0], base, f"{hp} is not SFT")


# ---- 2. the weights -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("hp", [IFT(gamma=g) for g in GAMMAS] + [IFT(detach=True), IFT(variant="eq21_mean1")], ids=str)
def test_weights_have_mean_one(hp):
    s = give_logps(batch_of(some_rows(8))).seqs["answer"]
    w = weights(-s.logp, s, hp)
    same(w.sum(-1), s.mask.sum(-1), "the weights of a row add up to N, its number of response tokens")
    same(w[s.mask == 0], 0 * w[s.mask == 0], "a masked place has weight 0")


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("mask", [None, [0, 1, 1, 0, 0, 1, 1, 1]])
def test_constant_losses(gamma, mask):
    batch = pure([[1.7] * 8], None if mask is None else [mask])
    same(loss(batch, IFT(gamma=gamma))[0], 1.7, "constant l: L = mean l for every gamma")


@pytest.mark.parametrize("gamma", GAMMAS)
def test_constant_losses_do_not_tell_live_from_constant_weights(gamma):
    full, detached = (nll_grad([1.7] * 5, gamma=gamma, detach=d)[1] for d in (False, True))
    same(full, detached, "constant l: the full and the detached gradient agree")
    same(full.sum(), 1.0, "constant l: the gradient adds up to 1")


def test_every_form_by_hand():
    """Two tokens with losses 3 and 1, gamma = 1/2."""
    law = "two tokens, l = (3, 1), gamma 1/2: "
    same(weights_of_row([3.0, 1.0], gamma=0.5), [2 * 3.5 / 4.5, 2 * 1 / 4.5], law + "released w = 2 (3.5, 1) / 4.5")
    same(weights_of_row([3.0, 1.0], gamma=0.5, variant="algorithm1"), [0.5 * 4, 1], law + "algorithm1 w = (alpha 4, 1)")
    same(weights_of_row([3.0, 1.0], variant="eq21"), [1.0, 2.0], law + "eq21 w = (1, 2)")
    same(weights_of_row([3.0, 1.0], variant="eq21_mean1"), [2 / 3, 4 / 3], law + "eq21_mean1 w = (2/3, 4/3)")
    for variant, want in (("released", (3 * 3.5 + 1) / 4.5), ("algorithm1", 7.0), ("eq21", 5.0), ("eq21_mean1", 5 / 3)):
        same(nll_grad([3.0, 1.0], gamma=0.5, variant=variant)[0], want, law + f"{variant} L = {want:.4g}")


def test_the_recursion():
    x = torch.rand(3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for gamma in (0.3, 0.95):
        w = future_sum(x, gamma)
        same(w[:, :-1], x[:, :-1] + gamma * w[:, 1:],
             "w_t = l_t + gamma w_(t+1), before normalisation (the Bellman line)")
        same(w[:, -1], x[:, -1], "the last token has no future: w_N = l_N")


def test_the_edges_of_gamma():
    x = torch.rand(2, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    same(future_sum(x, 1.0), x.flip(1).cumsum(1).flip(1), "gamma = 1 is the plain reversed cumulative sum")
    l = draw(6, 2)
    self_weighted, mean = sum(a * a for a in l) / sum(l), sum(l) / len(l)
    same(nll_grad(l, gamma=1e-12)[0], self_weighted, "gamma -> 0+ gives sum l^2 / sum l, each token weighed by itself",
         1e-9)
    same(nll_grad(l, gamma=0.0)[0], mean, "gamma = 0 itself is the special case w = 1: the plain mean")
    differs(self_weighted, mean, "so the loss jumps at gamma = 0", by=0.1)


def test_eq21_counts_token_t_t_times():
    l = draw(5, 3)
    value, grad = nll_grad(l, variant="eq21")
    same(grad, [1.0, 2, 3, 4, 5], "Eq. 21, sum_n sum_(i>=n) l_i, has coefficient t on token t = 1..N")
    same(value, sum(sum(l[n:]) for n in range(5)), "Eq. 21 is the double sum as printed")
    s = pure([l + [0.0] * 3], [[1, 1, 0, 0, 1, 0, 1, 1]])
    _, grads = value_and_grads(Form("ift", IFT(variant="eq21")), s)
    same(-grads["answer"][0], [1.0, 2, 0, 0, 3, 0, 4, 5], "Eq. 21 counts response tokens, not positions")


def test_algorithm1_never_pays_for_a_higher_loss():
    for seed in range(20):
        l = draw(12, seed)
        _, grad = nll_grad(l, variant="algorithm1", gamma=0.9)
        a = 0.9 ** (12 - np.arange(1, 13))
        quadratic = np.triu(a[:, None] * np.ones(12))              # L = l^T A l with A[t,i] = alpha^(N-t) for i >= t
        same(grad, (quadratic + quadratic.T) @ np.array(l), "algorithm1 is the quadratic form l^T A l", 1e-11)
        assert (grad >= 0).all(), "LAW: algorithm1 has only positive coefficients, its gradient is never negative"


def test_the_discount_runs_on_through_another_turn():
    w = weights_of_row([2.0, 9.0, 9.0, 3.0], [1, 0, 0, 1], gamma=0.5)
    raw = [2 + 0.5 ** 3 * 3, 3]
    same(w, [2 * raw[0] / sum(raw), 0, 0, 2 * raw[1] / sum(raw)],
         "the discount counts positions, masked ones too: a gap of two decays like two tokens")


# ---- 3. gradients ---------------------------------------------------------------------------------------------------
def discounts(n: int, gamma: float) -> np.ndarray:
    """D[t,k] = gamma^(k-t) for k >= t."""
    t = np.arange(n)
    return np.triu(float(gamma) ** np.maximum(t[None] - t[:, None], 0))


@pytest.mark.parametrize("gamma", [0.3, 0.95, 1.0])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_gradient_formulas(gamma, n):
    l, D = np.array(draw(n, n)), discounts(n, gamma)
    total = (D @ l).sum()
    L = l @ D @ l / total
    value, full = nll_grad(list(l), gamma=gamma)
    same(value, L, "L = l^T D l / (1^T D l)")
    same(full, ((D + D.T) @ l - L * D.T @ np.ones(n)) / total,
         "live weights: dL/dl = [(D + D^T) l - L D^T 1] / (1^T D l)")
    _, detached = nll_grad(list(l), gamma=gamma, detach=True)
    same(detached, D @ l / total, "--detach: dL/dl = D l / (1^T D l)")
    assert (detached >= 0).all(), "LAW: with constant weights no token is ever pushed down"
    same((torch.tensor(l) * full).sum(), L, "L is of degree 1, so sum_t l_t dL/dl_t = L (Euler)")


def test_scale():
    l = draw(7, 5)
    for gamma in GAMMAS:
        for c in (0.1, 30.0):
            same(nll_grad([c * x for x in l], gamma=gamma)[0], c * nll_grad(l, gamma=gamma)[0],
                 "L(c l) = c L(l): twice the loss everywhere is twice the loss")


def test_one_hard_token_and_five_easy_ones():
    spike = [10.0, 0.1, 0.1, 0.1, 0.1, 0.1]
    _, full = nll_grad(spike, gamma=0.95)
    _, detached = nll_grad(spike, gamma=0.95, detach=True)
    law = "l = (10, .1, .1, .1, .1, .1), gamma .95: N dL/dl is "
    same(6 * full, [5.9, -3.6, -7.9, -12.0, -15.8, -19.5],
         law + "(5.9, -3.6 .. -19.5): live weights RAISE the easy losses", 0.05)
    same(6 * detached, [5.29, 0.23, 0.19, 0.14, 0.10, 0.05], law + "(5.29, .23 .. .05) with --detach", 0.005)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("a", [0.01, 1.0, 7.0])
def test_two_tokens(a, gamma):
    value, full = nll_grad([a, 0.0], gamma=gamma)
    same(value, a, "l = (a, 0): L = a")
    same(full, [1.0, -1.0],
         "l = (a, 0): the gradient is exactly (+1, -1): the sure token, often <|end|>, is pushed DOWN")
    same(nll_grad([a, 0.0], gamma=gamma, detach=True)[1], [1.0, 0.0], "l = (a, 0) with --detach: exactly (+1, 0)")
    ratio = (math.sqrt(2 + gamma) - 1) / (1 + gamma)
    same(nll_grad([a, ratio * a], gamma=gamma)[1][1], 0.0,
         "the second token is pushed down until b/a = (sqrt(2 + gamma) - 1) / (1 + gamma)")
    b = 0.7 * a
    same(nll_grad([a, b], gamma=gamma)[0], (a * a + gamma * a * b + b * b) / (a + (1 + gamma) * b),
         "l = (a, b): L = (a^2 + gamma a b + b^2) / (a + (1 + gamma) b)")


def test_the_weight_carries_gradient_unless_detached():
    s = pure([draw(4, 1)]).seqs["answer"]
    nll = (-s.logp).requires_grad_(True)
    assert weights(nll, s, IFT()).requires_grad, "LAW: released: the weight is live"
    assert not weights(nll, s, IFT(detach=True)).requires_grad, "LAW: --detach: the weight is a constant"


# ---- 4. the temporal residual ---------------------------------------------------------------------------------------
def test_the_guess_is_shifted_by_one_once():
    P, a, b, E, c = 1, 2, 3, 4, 5
    inputs, mask = torch.tensor([[P, a, b, E]]), torch.tensor([[1.0, 1, 1, 1]])
    argmax = torch.tensor([[a, c, E, E]])              # made AT P, a, b, E; so it is FOR a, b, E and what follows
    assert own_guess(inputs, mask, argmax).tolist() == [[P, a, c, E]], \
        "LAW: the guess for position i is made at position i-1: gold [P,a,b,E], argmax [a,c,E,E] -> [P,a,c,E]"


def test_only_response_positions_are_replaced():
    inputs, argmax = torch.tensor([[1, 2, 3, 4, 5, 6, PAD]]), torch.tensor([[11, 12, 13, 14, 15, 16, 9]])
    mask = torch.tensor([[0.0, 1, 1, 0, 1, 0, 0]])     # targets 3, 4 and 6 are response tokens
    assert own_guess(inputs, mask, argmax).tolist() == [[1, 2, 12, 13, 5, 15, PAD]], \
        "LAW: position i takes the guess exactly where the target of i-1 is a response token; all others stay gold"


def test_lam_zero_reads_the_true_states():
    model, rows = tiny(), some_rows()
    batch = batch_of(rows)
    plain(model, batch, None)
    same(logps(model, rows, IFT(lam=0.0))[0], batch.seqs["answer"].logp.detach(),
         "lam = 0: the second pass is the first")


def test_the_blend_is_made_of_embeddings():
    model, rows = tiny(), some_rows()
    spy = Spy(model)
    batch = batch_of(rows)
    forward(spy, batch, IFT(lam=0.2))
    s, E = batch.seqs["answer"], model.wte.weight
    guess = own_guess(s.inputs, s.mask, model(s.inputs, want="argmax"))
    changed = guess != s.inputs
    assert changed.any(), "the tiny model guesses everything right; this test could not fail"
    same(spy.states, 0.8 * E[s.inputs] + 0.2 * E[guess], "Eq. 17: s_i = (1 - lam) E(x_i) + lam E(guess_i)")
    assert not spy.states.requires_grad, "LAW: E is a frozen copy: no gradient into the states"


def test_lam_one_reads_only_guesses():
    model, batch = tiny(), batch_of(some_rows())
    spy = Spy(model)
    forward(spy, batch, IFT(lam=1.0))
    s, E = batch.seqs["answer"], model.wte.weight
    response = torch.zeros_like(s.mask, dtype=torch.bool)
    response[:, 1:] = s.mask[:, :-1] == 1
    argmax = model(s.inputs, want="argmax")
    same(spy.states[response], E[argmax.roll(1, 1)[response]],
         "lam = 1: the state at a response token is exactly E(guess)")
    same(spy.states[~response], E[s.inputs[~response]], "lam = 1: prompt and padding are still the true tokens")


@pytest.mark.parametrize("residual", ["blend", "replace"])
def test_the_first_response_token_ignores_lam(residual):
    model, rows = tiny(), some_rows()
    base, mask = logps(model, rows, IFT(lam=0.0))
    first = mask.argmax(-1, keepdim=True)
    for lam in (0.2, 0.5, 1.0):
        now, _ = logps(model, rows, IFT(lam=lam, residual=residual))
        same(now.gather(1, first), base.gather(1, first),
             "everything the first response token sees is prompt: lam cannot matter")
    differs(now, base, "later response tokens do depend on lam")


def test_a_model_that_guesses_right_ignores_lam():
    model, rows = tiny(), []
    for start in ([3, 5], [7, 2, 9], [11, 4, 4]):      # the gold answer is what the model itself would say
        ids = list(start)
        for _ in range(8):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
        rows.append(row(ids, [0] * len(start) + [1] * 8))
    base, _ = logps(model, rows, IFT(lam=0.0))
    for lam in (0.3, 1.0):
        same(logps(model, rows, IFT(lam=lam))[0], base, "guess = gold everywhere: the loss does not depend on lam")


def test_prompt_targets_and_padding_never_matter():
    model, rows = tiny(), some_rows()
    form = Form("ift", IFT(lam=0.5))
    value, grads = model_grads(form, model, batch_of(rows))
    other = batch_of(rows)
    s = other.seqs["answer"]
    s.targets = torch.where(s.mask == 0, 13, s.targets)                         # wrong labels on the prompt
    s.inputs = torch.where((s.attend == 0) & (torch.roll(s.attend, 1, 1) == 0), 12, s.inputs)     # other padding
    v, g = model_grads(form, model, other)
    same(v, value, "targets of the prompt and the content of padding never change the loss")
    wide = batch_of(rows)
    s = wide.seqs["answer"]
    for name in ("inputs", "targets", "mask", "attend"):
        setattr(s, name, torch.nn.functional.pad(getattr(s, name), (0, 5)))
    w, h = model_grads(form, model, wide)
    same(w, value, "padding added on the right never changes the loss")
    for name in grads:
        same(g[name], grads[name], f"prompt targets and padding never change a gradient: {name}")
        same(h[name], grads[name], f"padding added on the right never changes a gradient: {name}")


def test_it_costs_two_forwards_and_the_first_keeps_no_graph():
    spy = Spy(tiny())
    forward(spy, batch_of(some_rows()), IFT(lam=0.2))
    passes = [(c["want"], c["grad"]) for c in spy.calls if c["want"] != "embeds"]
    assert passes == [("argmax", False), ("logp", True)], "LAW: one pass without gradient for the guess, one with"
    spy = Spy(tiny())
    forward(spy, batch_of(some_rows()), IFT(lam=0.0))
    assert [c["want"] for c in spy.calls if c["want"] != "embeds"] == ["logp"], \
        "LAW: lam = 0 needs no guess and costs one pass"


def test_the_embedding_learns_as_output_head_only():
    model, batch = tiny(), batch_of(some_rows())
    hp = IFT(lam=0.3)
    _, grads = model_grads(Form("ift", hp), model, batch)
    spy = Spy(model)
    forward(spy, batch, hp)
    hidden = model(embeds=spy.states, want="hidden").detach()
    head = model.wte.weight.detach().clone().requires_grad_(True)
    s = batch.seqs["answer"]
    picked = (hidden @ head.T).log_softmax(-1).gather(-1, s.targets[..., None])[..., 0]
    s.logp = picked.masked_fill(s.mask == 0, 0)
    loss(batch, hp)[0].backward()
    same(grads["wte.weight"], head.grad, "the tied embedding gets gradient through the output head and nowhere else",
         1e-10)


# ---- 5. rows, steps, schedules --------------------------------------------------------------------------------------
def test_every_answer_weighs_the_same():
    batch = pure([[2.0, 0, 0, 0], [1.0, 1, 1, 1]], [[1, 0, 0, 0], [1, 1, 1, 1]])
    for gamma in GAMMAS:
        same(loss(batch, IFT(gamma=gamma))[0], 1.5, "losses [2] and [1,1,1,1]: mean of the rows' means, 1.5, not 1.2")


@pytest.mark.parametrize("hp", [IFT(), IFT(gamma=0.0), IFT(variant="algorithm1"), IFT(variant="eq21"),
                                IFT(variant="eq21_mean1")],
                         ids=str)
def test_a_row_without_response_is_harmless(hp):
    model, rows = tiny(), some_rows(2)
    both, g = model_grads(Form("ift", hp), model, batch_of([rows[0], row([3, 4, 5, 6], [0, 0, 0, 0])]))
    alone, h = model_grads(Form("ift", hp), model, batch_of([rows[0]]))
    same(2 * both, alone, "a row with N = 0 adds nothing to the sum over rows")
    for name in g:
        same(2 * g[name], h[name], f"a row with N = 0 adds no gradient, and no NaN: {name}")


def test_losses_of_exactly_zero():
    for gamma in GAMMAS:
        value, grad = nll_grad([0.0, 0.0, 0.0], gamma=gamma)
        same(value, 0.0, "all losses 0: L = 0, not 0/0")
        assert grad.isfinite().all(), "LAW: all losses 0: the gradient is finite"


def test_lam_is_ramped_over_the_warm_up():
    hp, batch = IFT(lam=0.8, lam_min=0.2), batch_of(some_rows())
    for ramp, want in ((0.0, 0.2), (0.5, 0.5), (1.0, 0.8)):
        batch.ramp = ramp
        same(lam_now(hp, batch), want, "lam = lam_min + (lam - lam_min) ramp")
    ramps = [schedule(step, 100, 0.15)[1] for step in range(100)]
    same(ramps[:15], [(i + 1) / 15 for i in range(15)], "the ramp rises over the warm-up steps")
    assert set(ramps[14:]) == {1.0}, "LAW: the ramp ends with the warm-up, not with the run"


def test_noise_on_lam_is_one_draw_a_step():
    hp, rows = IFT(lam=0.3, lam_noise=0.5), some_rows()
    pieces = [lam_now(hp, batch_of(rows, 3, part, seed=1, step=7)) for part in range(3)]
    assert len(set(pieces)) == 1, "LAW: all micro-batches of a step share one draw of lam"
    steps = [lam_now(hp, batch_of(rows, seed=1, step=step)) for step in range(300)]
    draws = np.array([batch_of(rows, seed=1, step=step).normal() for step in range(300)])
    assert abs(draws.mean()) < 0.2 and 0.85 < draws.std() < 1.15, "LAW: one N(0,1) draw a step"
    same(steps, np.clip(0.3 + 0.3 * 0.5 * draws, 0, 1), "lam' = lam + lam * noise * N(0,1), cut to [0,1]")
    wild = [lam_now(IFT(lam=1.0, lam_noise=2.0), batch_of(rows, seed=1, step=step)) for step in range(50)]
    assert min(wild) == 0 and max(wild) == 1, "LAW: lam stays in [0,1]"


def test_replace_is_scheduled_sampling():
    model, rows, hits, n = tiny(), some_rows(), 0, 0
    E = model.wte.weight
    for step in range(40):
        spy, batch = Spy(model), batch_of(rows, seed=2, step=step)
        forward(spy, batch, IFT(lam=0.3, residual="replace"))
        s = batch.seqs["answer"]
        guess = own_guess(s.inputs, s.mask, model(s.inputs, want="argmax"))
        took = (spy.states == E[guess]).all(-1)
        kept = (spy.states == E[s.inputs]).all(-1)
        assert (took | kept).all(), "LAW: replace takes the whole guess or the whole true token, never a blend"
        changed = guess != s.inputs
        hits, n = hits + (took & changed).sum().item(), n + changed.sum().item()
    assert abs(hits / n - 0.3) < 0.04, f"LAW: replace takes the guess with probability lam = .3, not {hits / n:.2f}"


@pytest.mark.parametrize("hp", [IFT(), IFT(lam=0.5, residual="replace"), IFT(lam=0.5, lam_noise=0.5, lam_min=0.1),
                                IFT(variant="eq21")], ids=str)
def test_micro_batches_add_up(hp):
    model, rows = tiny(), some_rows(7)                  # several turns, rows of different length, uneven pieces
    want, grads = model_grads(Form("ift", hp), model, batch_of(rows, seed=1, step=2, ramp=0.5))
    pieces = [batch_of(rows, 3, part, seed=1, step=2, ramp=0.5) for part in range(3)]
    got, g = model_grads(Form("ift", hp), model, *pieces)
    same(got, want, "the losses of three micro-batches add up to the loss of the step")
    for name in g:
        same(g[name], grads[name], f"the gradients of three micro-batches add up to that of the step: {name}")


@pytest.mark.parametrize("seed", [0, 20_261_120, -1])
def test_draws_do_not_depend_on_how_the_step_is_cut(seed):
    rows = some_rows(6)
    whole = batch_of(rows, seed=seed, step=4)
    coins = whole.uniform(*whole.seqs["answer"].inputs.shape)
    at = 0
    for part in range(3):
        piece = batch_of(rows, 3, part, seed=seed, step=4)
        B, T = piece.seqs["answer"].inputs.shape
        same(piece.uniform(B, T), coins[at:at + B, :T],
             "a row's draws depend on its place in the step, not on the cut", 0.0)
        at += B
    differs(coins[0], coins[1], "rows draw different numbers")
    differs(coins, batch_of(rows, seed=seed, step=5).uniform(*coins.shape), "steps draw different numbers")


# ---- 6. flags that would change nothing are refused -----------------------------------------------------------------
@pytest.mark.parametrize("kw, given, says", [
    ({"lam": 1.5}, {"lam"}, "--lam 1.5"),
    ({"lam": -0.1}, {"lam"}, "--lam -0.1"),
    ({"gamma": 1.01}, {"gamma"}, "--gamma 1.01"),
    ({"lam_min": 2.0}, {"lam_min"}, "--lam-min 2.0"),
    ({"lam_noise": -1.0}, {"lam_noise"}, "--lam-noise -1.0"),
    ({"variant": "eq21", "gamma": 0.9}, {"variant", "gamma"}, "--gamma changes nothing with --variant eq21"),
    ({"variant": "eq21_mean1", "detach": True}, {"variant", "detach"},
     "--detach changes nothing with --variant eq21_mean1"),
    ({"gamma": 0.0, "detach": True}, {"gamma", "detach"}, "--detach changes nothing with --gamma 0"),
    ({"lam": 0.0, "residual": "replace"}, {"lam", "residual"}, "--residual changes nothing with --lam 0"),
    ({"lam": 0.0, "lam_noise": 0.5}, {"lam", "lam_noise"}, "--lam-noise changes nothing with --lam 0"),
    ({"lam": 0.2, "lam_min": 0.2}, {"lam_min"}, "--lam-min 0.2 equals --lam"),
])
def test_a_flag_that_changes_nothing_is_refused(kw, given, says):
    with pytest.raises(UserError, match=says.replace(".", r"\.")) as e:
        IFT(**kw).check(given)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("kw", [{}, {"lam": 0.0, "gamma": 0.0}, {"lam": 1.0, "gamma": 1.0}, {"variant": "eq21"},
                                {"detach": True}, {"variant": "algorithm1", "gamma": 0.9, "detach": True},
                                {"lam": 0.0, "lam_min": 0.3},
                                {"residual": "replace", "lam_noise": 0.5, "lam_min": 0.0}])
def test_sensible_flags_pass(kw):
    IFT(**kw).check(set(kw))


@pytest.mark.parametrize("kw", [{"lam": 0.9}, {"gamma": 0.5}, {"detach": True}, {"residual": "replace"},
                                {"lam_min": 0.0}, {"lam_noise": 0.5}, {"variant": "algorithm1"}, {"variant": "eq21"},
                                {"variant": "eq21_mean1"}], ids=str)
def test_every_flag_changes_something(kw):
    model, rows = tiny(), some_rows()

    def grads(hp):
        return model_grads(Form("ift", hp), model, batch_of(rows, seed=1, step=3, ramp=0.5))[1]["h.0.mlp.c_fc.weight"]
    base = IFT(lam=0.5)
    differs(grads(replace(base, **kw)), grads(base), f"{kw} changes the gradient", by=1e-6)
