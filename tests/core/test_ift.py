"""IFT: every identity, trap and gradient formula of the method, each as a law that a failure
prints.

The source is Hua et al., arXiv:2405.11870v3 and the code released with it; l_t is the loss of
response token t, N their number, w_t the weight, lam the share of the model's own guess, gamma the
discount. All in fp64 on a tiny GPT. What every objective keeps (padding, micro-batches, ...) is in
test_objectives.py.
"""
import numpy as np
import pytest
import torch
from tiny import (
    Form,
    batch_of,
    differs,
    model_grads,
    pure,
    same,
    same_each,
    some_rows,
    tiny,
    value_and_grads,
)

from nanouft.loop import warmup_cosine
from nanouft.objectives.ift import IFT as AnyIFT
from nanouft.objectives.ift import forward, lam_now, own_guess, weights
from nanouft.objectives.sft import SFT
from nanouft.seeds import normal_draw, uniform_rows


def IFT(**kw) -> AnyIFT:
    """The published form, unless another variant is named."""
    return AnyIFT(**{"variant": "released", **kw})


GAMMAS = [0.0, 0.3, 0.95, 1.0]


class Spy:
    """A model that writes down how it is called."""

    def __init__(self, model):
        self.model, self.calls = model, []

    def __call__(self, ids=None, **kw):
        self.calls.append({"ids": ids, "grad": torch.is_grad_enabled(), **kw})
        return self.model(ids, **kw)

    @property
    def passes(self) -> list[tuple[str, bool]]:
        """What was asked of the layers, and whether with gradient."""
        return [(c["want"], c["grad"]) for c in self.calls if c["want"] != "embeds"]


def nll_grad(l: list[float], **hp) -> tuple[torch.Tensor, torch.Tensor]:
    """(L, dL/dl) of one row of token losses under the pure loss."""
    value, grads = value_and_grads(Form("ift", IFT(**hp)), pure([l]))
    return value, -grads["answer"][0]


def weights_of_row(l: list[float], mask: list[int] | None = None, **hp) -> torch.Tensor:
    s = pure([l], None if mask is None else [mask]).seqs["answer"]
    return weights((-s.logp).masked_fill(s.mask == 0, 0), s, IFT(**hp))[0]


def draw(n: int, seed: int) -> list[float]:
    return np.random.default_rng(seed).exponential(size=n).tolist()


def test_without_both_changes_it_is_sft_with_detached_embeddings():
    model, rows = tiny(), some_rows()
    frozen = Form("sft", SFT(reduction="sequence", detach_embeddings=True))
    want, h = model_grads(frozen, model, batch_of(rows))
    got, g = model_grads(Form("ift", IFT(lam=0.0, gamma=0.0)), model, batch_of(rows))
    same(got, want,
         "IFT(lam=0, gamma=0) has the loss of `sft --reduction sequence --detach-embeddings`")
    same_each(g, h, "and its gradient, in EVERY parameter")
    for hp in (IFT(lam=0.2, gamma=0.0), IFT(lam=0.0, gamma=0.95)):
        differs(model_grads(Form("ift", hp), model, batch_of(rows))[0], want,
                f"{hp}: each change alone is not SFT")


# ---- the weights ---------------------------------------------------------------------------------
def test_the_discount_runs_on_through_another_turn():
    w = weights_of_row([2.0, 9.0, 9.0, 3.0], [1, 0, 0, 1], gamma=0.5)
    raw = [2 + 0.5 ** 3 * 3, 3]
    same(w, [2 * raw[0] / sum(raw), 0, 0, 2 * raw[1] / sum(raw)],
         "the discount counts positions, masked ones too: a gap of two decays like two tokens")


@pytest.mark.parametrize("gamma", [0.3, 0.95, 1.0])
@pytest.mark.parametrize("n", [1, 2, 9])
def test_gradient_formulas(gamma, n):
    t = np.arange(n)
    # D[t,k] = gamma^(k-t)
    l, D = np.array(draw(n, n)), np.triu(gamma ** np.maximum(t[None] - t[:, None], 0.0))
    total = (D @ l).sum()
    L = l @ D @ l / total
    value, full = nll_grad(list(l), gamma=gamma)
    same(value, L, "L = l^T D l / (1^T D l)")
    same(full, ((D + D.T) @ l - L * D.T @ np.ones(n)) / total,
         "live weights: dL/dl = [(D + D^T) l - L D^T 1] / (1^T D l)")
    for hp in ({"detach": True}, {"variant": "detached"}):
        _, detached = nll_grad(list(l), gamma=gamma, **hp)
        same(detached, D @ l / total, "--detach, or --variant detached: dL/dl = D l / (1^T D l)")
        assert (detached >= 0).all(), "LAW: with constant weights no token is ever pushed down"


# ---- the temporal residual -----------------------------------------------------------------------
def test_the_guess_is_shifted_by_one_once():
    P, a, b, E, c = 1, 2, 3, 4, 5
    inputs, mask = torch.tensor([[P, a, b, E]]), torch.tensor([[1.0, 1, 1, 1]])
    # made AT P, a, b, E; so it is FOR a, b, E and what follows
    argmax = torch.tensor([[a, c, E, E]])
    assert own_guess(inputs, mask, argmax).tolist() == [[P, a, c, E]], \
        ("LAW: the guess for position i is made at position i-1: gold [P,a,b,E], argmax [a,c,E,E] "
         "-> [P,a,c,E]")


@pytest.mark.parametrize("lam", [0.2, 1.0])
def test_the_blend_is_made_of_embeddings(lam):
    model, batch = tiny(), batch_of(some_rows())
    spy = Spy(model)
    forward(spy, batch, IFT(lam=lam))
    s, E, states = batch.seqs["answer"], model.wte.weight, spy.calls[-1]["embeds"]
    response = torch.zeros_like(s.mask, dtype=torch.bool)
    response[:, 1:] = s.mask[:, :-1] == 1
    guess = torch.where(response, model(s.inputs, want="argmax").roll(1, 1), s.inputs)
    assert (guess != s.inputs).any(), \
        "the tiny model guesses everything right; this test could not fail"
    same(states, (1 - lam) * E[s.inputs] + lam * E[guess],
         "Eq. 17: s_i = (1 - lam) E(x_i) + lam E(guess_i) on the response, the true token on "
         "prompt and padding")
    assert not states.requires_grad, "LAW: E is a frozen copy: no gradient into the states"
    same(s.logp, model(embeds=states, want="logp", targets=s.targets, at=s.mask > 0),
         "these states are read")
    assert spy.passes == [("argmax", False), ("logp", True)], \
        "LAW: one pass without gradient for the guess, one with"
    spy.calls.clear()
    forward(spy, batch, IFT(lam=0.0))
    assert spy.passes == [("logp", True)], "LAW: lam = 0 needs no guess and costs one pass"


def test_replace_is_scheduled_sampling():
    model, rows, hits, n = tiny(), some_rows(), 0, 0
    E = model.wte.weight
    for step in range(40):
        spy, batch = Spy(model), batch_of(rows, seed=2, step=step)
        forward(spy, batch, IFT(lam=0.3, residual="replace"))
        s = batch.seqs["answer"]
        guess = own_guess(s.inputs, s.mask, model(s.inputs, want="argmax"))
        took, kept = ((spy.calls[-1]["embeds"] == E[ids]).all(-1) for ids in (guess, s.inputs))
        assert (took | kept).all(), \
            "LAW: replace takes the whole guess or the whole true token, never a blend"
        changed = guess != s.inputs
        hits, n = hits + (took & changed).sum().item(), n + changed.sum().item()
    assert abs(hits / n - 0.3) < 0.04, \
        f"LAW: replace takes the guess with probability lam = .3, not {hits / n:.2f}"


# ---- rows, steps, schedules ----------------------------------------------------------------------
def test_rows_without_anything_to_learn_are_harmless():
    for hp in (IFT(), IFT(gamma=0.0), IFT(variant="algorithm1"), IFT(variant="eq21"),
               IFT(variant="eq21_mean1")):
        form = Form("ift", hp)
        both, g = value_and_grads(form, pure([[3.0, 1.0], [5.0, 5.0]], [[1, 1], [0, 0]]))
        alone, h = value_and_grads(form, pure([[3.0, 1.0]]))
        same(2 * both, alone, f"{hp}: a row with N = 0 adds nothing to the sum over rows")
        same(2 * g["answer"], [*h["answer"].tolist(), [0, 0]],
             f"{hp}: a row with N = 0 adds no gradient, and no NaN")
    for gamma in GAMMAS:
        value, grad = nll_grad([0.0, 0.0, 0.0], gamma=gamma)
        same(value, 0.0, "all losses 0: L = 0, not 0/0")
        assert grad.isfinite().all(), "LAW: all losses 0: the gradient is finite"


def test_lam_is_ramped_over_the_warm_up():
    for warmup, want in ((0.0, 0.2), (0.5, 0.5), (1.0, 0.8)):
        same(lam_now(IFT(lam=0.8, lam_min=0.2), batch_of(some_rows(), warmup=warmup)), want,
             "lam = lam_min + (lam - lam_min) warmup")
    risen = [warmup_cosine(1e-3, 100, 0.15)(step)[1] for step in range(100)]
    same(risen, [min(1, (i + 1) / 15) for i in range(100)],
         "it rises over the warm-up steps, and ends with them")


def test_noise_on_lam_is_one_draw_a_step():
    hp, rows = IFT(lam=0.3, lam_noise=0.5), some_rows()
    pieces = {lam_now(hp, batch_of(rows, 3, part, seed=1, step=7)) for part in range(3)}
    assert len(pieces) == 1, "LAW: all micro-batches of a step share one draw of lam"
    steps = [batch_of(rows, seed=1, step=step) for step in range(300)]
    draws = np.array([normal_draw(batch) for batch in steps])
    assert abs(draws.mean()) < 0.2 and 0.85 < draws.std() < 1.15, "LAW: one N(0,1) draw a step"
    same([lam_now(hp, batch) for batch in steps], np.clip(0.3 + 0.3 * 0.5 * draws, 0, 1),
         "lam' = lam + lam * noise * N(0,1), cut to [0,1]")
    wild = [lam_now(IFT(lam=1.0, lam_noise=2.0), batch) for batch in steps[:50]]
    assert min(wild) == 0 and max(wild) == 1, "LAW: lam stays in [0,1]"


def test_each_row_of_each_step_has_draws_of_its_own():
    """That they do not depend on how the step is cut: test_micro_batches_add_up of
    test_objectives.py."""
    now, later = (uniform_rows(batch_of(some_rows(6), seed=20_261_120, step=step), 6, 5)
                  for step in (4, 5))
    differs(now[0], now[1], "rows draw different numbers")
    differs(now, later, "steps draw different numbers")
