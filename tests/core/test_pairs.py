"""The laws of the methods over pairs: what each of them is where it meets another one that the
reader knows. Values are compared with other people's code in test_parity.py; the general contract
is in test_objectives.py."""
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import (
    CPU,
    DATA,
    NANO,
    TINY,
    Form,
    differs,
    drawn,
    nano,
    same,
    same_each,
    say,
    settings,
    value_and_grads,
)

from nanouft.data.batches import encode
from nanouft.data.rows import Row
from nanouft.errors import UserError
from nanouft.models.load import start_model
from nanouft.models.save import write_gpt
from nanouft.models.tokenizer_files import save_tokenizer
from nanouft.objective import REF, Batch, Columns, Seqs
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.ada_dpo import root, scale
from nanouft.objectives.dpo import binary_kl, log1mexp, pair_metrics, won
from nanouft.objectives.tis_dpo import token_weights
from nanouft.objectives.tpo import triple_rows
from nanouft.reference import Models, add_columns

LOG2 = math.log(2)
PAIRS = [name for name, o in OBJECTIVES.items() if o.kinds(settings(name)) == ["pairs"]]


def seqs(logp, ref=None) -> Seqs:
    """One role from rows of token log-probs, all of them response tokens; rows may differ in
    length."""
    def fill(rows, value):
        return torch.tensor([[*r, *[value] * (max(map(len, rows)) - len(r))] for r in rows],
                            dtype=torch.float64)
    mask = fill([[1.0] * len(r) for r in logp], 0.0).float()
    ids = torch.zeros(mask.shape, dtype=torch.long)
    return Seqs(ids, ids, mask, mask.clone(), fill(logp, 0.0), ref_logp=None if ref is None
                else fill(ref, 0.0))


def step(chosen, rejected, gold=None, p=None, prompts=None) -> Batch:
    """A step of pairs from token log-probs; the reference's are all 0."""
    roles = {role: seqs(x, [[0.0] * len(r) for r in x])
             for role, x in (("chosen", chosen), ("rejected", rejected))}
    if gold:
        roles["gold"] = seqs(gold)
    p = None if p is None else torch.tensor(p, dtype=torch.float64)
    extra = {} if prompts is None else {
        "prompt_embedding": torch.as_tensor(prompts, dtype=torch.float64)}
    return Batch.of(roles, Columns(p=p, extra=extra))


def loss(name: str, batch: Batch, **hp) -> torch.Tensor:
    return OBJECTIVES[name].loss(batch, settings(name, **hp))[0]


def grads(name: str, batch: Batch, **hp) -> dict[str, torch.Tensor]:
    return value_and_grads(Form(name, settings(name, **hp)), batch)[1]


def margin(h: float) -> Batch:
    """One pair, one token each, with a margin of h nats over the reference; symmetric, so both
    sides carry half."""
    return step([[h / 2]], [[-h / 2]])


def encoded_pairs() -> list:
    return encode(OBJECTIVES["dpo"].rows(DATA, None), NANO, TINY.n_ctx)[0]


# ---- what they all report ------------------------------------------------------------------------
@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_method_reports_the_same_five_figures(name):
    batch, hp = drawn(name), settings(name)
    want, metrics = OBJECTIVES[name].loss(batch, hp)
    if REF not in OBJECTIVES[name].columns:
        assert "kl" not in metrics, "where there is no reference, there is no KL to report"
        for s in batch.seqs.values():
            s.ref_logp = 0.9 * s.logp
        got, metrics = OBJECTIVES[name].loss(batch, hp)
        same(got, want, f"{name}: its loss never reads a reference", 0.0)
    assert {"margin", "accuracy", "logp_chosen", "logp_rejected", "kl"} <= metrics.keys(), \
        ("LAW: chosen and rejected log-prob apart, margin, accuracy, KL to the reference: in every "
         "method over pairs")


def test_the_reported_kl_is_a_bound():
    rng = torch.Generator().manual_seed(0)
    p, q = (torch.randn(200, 7, generator=rng, dtype=torch.float64).mul(2).log_softmax(-1)
            for _ in range(2))
    s = seqs(p[:, :1].tolist(), q[:, :1].tolist())
    bound, true = binary_kl(s)[:, 0], (p.exp() * (p - q)).sum(-1)
    assert (bound >= -1e-12).all() and (bound <= true + 1e-12).all(), \
        ("LAW: KL of the question "
         "'this token, or any other?' lies between 0 and the KL of the whole distributions")
    differs(bound, true, "and below it where there are more than two tokens")
    two = torch.log(torch.tensor([[0.3, 0.7], [0.6, 0.4]], dtype=torch.float64))
    same(binary_kl(seqs([[two[0, 0].item()]], [[two[1, 0].item()]]))[0, 0],
         (two[0].exp() * (two[0] - two[1])).sum(),
         "with two tokens in the vocabulary the bound is the KL itself")
    extreme = binary_kl(seqs([[0.0, -1e4, -1e-9, -1e4, 0.0]], [[-1e4, 0.0, -1e4, -1e4, 0.0]]))
    assert extreme.isfinite().all(), "finite at certainties"


# ---- DPO, SLiC -----------------------------------------------------------------------------------
def test_swap_is_dpo_on_the_swapped_pairs():
    batch = drawn("dpo")
    swapped = Batch.of({"chosen": batch.seqs["rejected"], "rejected": batch.seqs["chosen"]},
                       Columns())
    same(loss("dpo", batch, swap=True), loss("dpo", swapped), "--swap is DPO on the swapped pairs")


def test_dpo_of_means_is_dpo_where_answers_have_one_token():
    one = step([[-1.0], [-0.5]], [[-3.0], [-2.0]])
    same(loss("dpo", one, reduction="mean"), loss("dpo", one), "one token: mean and sum are one")
    same_each(grads("dpo", one, reduction="mean"), grads("dpo", one), "and so are the gradients")
    n = 3                                       # each token three times: n times the sum
    longer = step([[-1.0] * n, [-0.5] * n], [[-3.0] * n, [-2.0] * n])
    same(loss("dpo", longer, reduction="mean"), loss("dpo", one), "length alone changes no mean")
    same(loss("dpo", longer, reduction="mean", beta=0.1 * n), loss("dpo", longer),
         "answers of n tokens: the mean with n times the beta is the sum")


def test_two_forms_of_slic():
    batch = drawn("slic")
    ranked = loss("slic", batch, form="paper", delta=10.0, lam=0.0)
    same(loss("slic", batch, form="trl", beta=0.1, alpha=0.0), 0.1 * ranked,
         "the two hinges are one: TRL's with beta = beta x the paper's with delta = 1 / beta")
    w = batch.seqs["chosen"]
    same(loss("slic", batch, form="paper", delta=10.0, lam=0.3) - ranked,
         -0.3 * w.sum(w.logp).mean(),
         "the paper holds on by the SUM of the chosen answer's log-probs")


def test_gold_is_the_rows_own_answer_else_the_chosen_one():
    pair = dict(chosen=say("assistant", "good"), rejected=say("assistant", "bad"))
    own, ask = say("assistant", "best"), say("user", "well?")
    rows = [Row(ask, own, **pair), Row(ask, **pair), Row(ask, own, **pair, score=0.5),
            Row(ask, own, **pair, label=False)]
    gold = [r.roles["gold"][1][0].text for r in triple_rows(rows, None)]
    assert gold == ["best", "good", "good", "good"], \
        "LAW: gold is the row's demonstration; an answer that is scored or labelled false is none"


# ---- where should the gradient go? ---------------------------------------------------------------
def test_tis_with_equal_weights_is_dpo():
    batch = drawn("tis_dpo")
    for how in ("paper", "rank_based"):
        same(loss("tis_dpo", batch, beta=0.3, weights=how), loss("dpo", batch, beta=0.3),
             f"{how}: where the two estimation runs agree, all weights are 1: DPO", 1e-6)


def test_token_weights_of_the_paper():
    s = seqs([[-1.0] * 5])
    s.extra["token_reward"] = torch.tensor([[-9.0, -0.2, 0.0, 0.4, 9.0]], dtype=torch.float64)
    same(token_weights(s, 1, "paper"), torch.tensor([[-0.5, -0.2, 0.0, 0.4, 1.5]]).exp(),
         "chosen: exp(clamp(r, -.5, 1.5)), .607 to 4.48", 1e-6)
    same(token_weights(s, -1, "paper"), torch.tensor([[0.5, 0.2, 0.0, -0.4, -1.5]]).exp(),
         "rejected: exp(-clamp(r, -.5, 1.5)), .223 to 1.65: clamped first, then turned", 1e-6)


def test_token_weights_by_rank():
    s = seqs([[-1.0] * 5, [-1.0], [-1.0] * 2])
    s.extra["token_reward"] = torch.tensor([[0.3, -7.0, 0.3, 5.0, 0.1], [2.0, 9, 9, 9, 9],
                                            [1.0, 2.0, -9, -9, -9]], dtype=torch.float64)
    same(token_weights(s, 1, "rank_based"), [[1.075, 0.7, 1.075, 1.3, 0.85], [1.0, 0, 0, 0, 0],
                                             [0.7, 1.3, 0, 0, 0]], "ranks within the answer, .7 to "
         "1.3; ties share the rank between theirs; one token alone weighs 1", 1e-6)
    same(token_weights(s, -1, "rank_based")[2], [1.3, 0.7, 0, 0, 0],
         "in the rejected answer the order turns", 1e-6)


def test_the_column_of_tis_is_the_difference_of_its_two_runs(tmp_path):
    folders, scored = [str(tmp_path / name) for name in ("plus", "minus")], []
    for seed, folder in enumerate(folders, 1):
        write_gpt(folder, nano(seed))
        save_tokenizer(NANO, folder)
        scored.append(encoded_pairs())
        add_columns(scored[-1], (REF,), Models(nano(seed), NANO.pad, CPU))
    got = encoded_pairs()
    add_columns(got, OBJECTIVES["tis_dpo"].columns[1:], Models(nano(), NANO.pad, CPU, start_model),
                settings("tis_dpo", estimates=folders))
    for plus, minus, g in zip(*scored, got):
        for role in g.seqs:
            same(
                g.seqs[role].extra["token_reward"],
                plus.seqs[role].ref_logp - minus.seqs[role].ref_logp,
                "the column is log pi+ - log pi-, token by token",
                1e-6,
            )


def test_where_p_comes_from():
    pair = dict(prompt=say("user", "?"), chosen=say("assistant", "a"),
                rejected=say("assistant", "b"))
    p = [e.p for e in OBJECTIVES["gdpo"].rows([Row(**pair, p=0.7), Row(**pair)], None)]
    assert p == [0.7, 1.0], "LAW: p beside the pair; a pair without one counts as sure"


# ---- Ada-DPO -------------------------------------------------------------------------------------
@pytest.mark.parametrize("rho", [0.05, 0.2, 0.5])
def test_ada_gradient_is_that_of_the_whole_argument(rho):
    """The envelope theorem: tau* = |z| / u* is where the convex argument is least (or clipped), so
    holding it constant loses nothing of the gradient of the objective INCLUDING its linear term,
    which the reported loss leaves out."""
    u = root(rho)
    same(math.log(2 / (1 + math.exp(-u))) - u / (1 + math.exp(u)), rho,
         "u*: log(2 sigmoid(u)) - u sigmoid(-u) = rho")
    hp = {"beta": 0.5, "tau_min": 0.1, "tau_max": 2.0, "rho": rho}

    def whole(h: float) -> float:
        tau = scale(torch.tensor(0.5 * h, dtype=torch.float64), settings("ada_dpo", **hp))
        return (loss("ada_dpo", margin(h), **hp) + (rho - LOG2) * tau).item()
    for h in (-9.0, -1.0, 0.1, 2.0, 5.0, 30.0):
        same((whole(h + 1e-5) - whole(h - 1e-5)) / 2e-5,
             grads("ada_dpo", margin(h), **hp)["chosen"][0, 0],
             "finite differences of the robust objective are the gradient with tau held constant",
             1e-8)


# ---- RPO -----------------------------------------------------------------------------------------
def test_rpo_of_one_pair_is_dpo():
    alone = step([[-1.0, -2]], [[-3.0]], prompts=[[0.3, 0.4]])
    for form in ("paired", "diagonal"):
        same(loss("rpo", alone, form=form), loss("dpo", alone),
             f"{form}: a step of one pair is DPO, no 0/0")


def test_prompt_embeddings_see_the_prompt_alone():
    model, pair = nano(), {"chosen": say("assistant", "two red nuts"),
                           "rejected": say("assistant", "no")}
    data, _ = encode(OBJECTIVES["rpo"].rows([Row(say("user", "what does it eat"), **pair)], None),
                     NANO, TINY.n_ctx)
    add_columns(data, OBJECTIVES["rpo"].columns[1:], Models(model, NANO.pad, CPU), None)
    ids = torch.tensor(NANO.prompt_ids(say("user", "what does it eat")))[None]
    same(data[0].per_row.extra["prompt_embedding"], model(ids, want="hidden")[0].mean(0).detach(),
         "mean of the start model's final hidden states over the prompt with its headers, not over "
         "an answer", 1e-6)


def test_a_pair_without_a_prompt_gives_rpo_a_number():
    """What was cut away whole (now it is skipped), or what came without: never the mean of
    nothing."""
    talk = (*say("user", "red nuts " * 30), *say("assistant", "small house"),
            *say("user", "every day"))
    pair = {"chosen": say("assistant", "two red nuts"), "rejected": say("assistant", "no")}
    long, short = Row((*say("user", "dova " * 90),), **pair), Row(talk, **pair)
    data, lost = encode(OBJECTIVES["rpo"].rows([long, short], None), NANO, TINY.n_ctx)
    assert (len(data), lost.skipped, lost.cut) == (1, 1, 1)
    for t in data[0].seqs.values():
        assert t.ids[0] == NANO.user and t.mask[0] == 0, "LAW: a row begins with a question"
    bare = replace(data[0], seqs={role: replace(t, mask=0 * t.mask + 1)
                                  for role, t in data[0].seqs.items()})
    add_columns(data + [bare], OBJECTIVES["rpo"].columns[1:], Models(nano(), NANO.pad, CPU), None)
    assert all(np.isfinite(e.per_row.extra["prompt_embedding"]).all() for e in (data[0], bare))


# ---- what is reported ----------------------------------------------------------------------------
def test_the_kl_of_pairs_is_per_token_and_a_tie_is_a_thousandth_of_a_nat():
    batch = step([[-1.0, -2], [-0.5]], [[-3.0], [-1.0]])
    w, l = batch.seqs["chosen"], batch.seqs["rejected"]
    total = w.sum(binary_kl(w)).sum() + l.sum(binary_kl(l)).sum()
    same(pair_metrics(batch, torch.zeros(2), torch.zeros(2))["kl"], total / 5,
         "nats a token: 2 + 1 + 1 + 1")
    for nat in (1.0, 0.1):
        edge = nat * torch.tensor([2e-3, 5e-4, 0.0, -5e-4, -2e-3])
        same(won(edge, nat), [1, 0.5, 0.5, 0.5, 0], "closer than 1e-3 nats is a tie, whatever beta")


def test_each_methods_own_figures_by_hand():
    """Two pairs, S_w - S_l = 0 and 1.5 nats (means: 1.5 and .5), the reference's log-probs are
    0."""
    batch = step([[-1.0, -2], [-0.5]], [[-3.0], [-1, -1]], gold=[[-1.0, -3], [-2]], p=[0.9, 0.6],
                 prompts=torch.eye(2))
    def odds(x: float) -> float:
        return math.log(math.exp(x) / -math.expm1(x))
    aligned = [-F.logsigmoid(torch.tensor([odds(-w), -odds(-l)])).sum()
               for w, l in ((1.5, 3.0), (0.5, 1.0))]
    for name, hp, want in (
            ("dpo", {"beta": 0.2}, {"margin": 0.15, "accuracy": 0.75, "logp_chosen": -1.75,
                                    "logp_rejected": -2.5}),
            ("dpo", {"beta": 0.2, "reduction": "mean"}, {
                "margin": 0.2, "accuracy": 1.0, "logp_chosen": -1.75, "logp_rejected": -2.5}),
            ("simpo", {"beta": 2.0}, {"margin": 2.0, "accuracy": 1.0}),
            ("ipo", {}, {"margin": 1.0}),
            ("orpo", {}, {
                "margin": (odds(-1.5) - odds(-3) + odds(-0.5) - odds(-1)) / 2, "nll": 3.5 / 3}),
            ("gdpo", {}, {"p": 0.75}), ("hinge", {"beta": 1.0}, {"done": 0.5}),
            ("slic", {}, {"done": 0.5}),
            ("rpo", {}, {"own_weight": 1 / (1 + math.exp(-2))}),
            ("asft", {"beta": 1.0}, {"align": sum(aligned) / 2}),
            ("ada_dpo", {"beta": 9.0}, {"tau": 2.55, "tau_at_min": 0.5, "tau_at_max": 0.5}),
            ("cpo", {}, {"nll": 3.5 / 3}), ("tpo", {}, {"nll_gold": 2.0})):
        said = OBJECTIVES[name].loss(batch, settings(name, **hp))[1]
        for figure, value in want.items():
            same(said[figure], value, f"{name}: {figure}", 1e-6)


def test_beta_is_above_0_where_something_is_divided_by_it_or_learnt_through_it():
    for o in OBJECTIVES.values():
        if hasattr(o.hp, "beta") and not o.on_policy:
            with pytest.raises(UserError, match="--beta 0"):
                replace(o.hp(), beta=0.0).check()


# ---- ORPO ----------------------------------------------------------------------------------------
def test_log1mexp_keeps_its_digits_at_both_ends():
    """Where the plain log(1 - e^x) has lost them all: in fp32 it is -inf at -1e-9 and 0 at -30."""
    for x in (-1e-9, -1e-3, -math.log(2), -1.0, -20.0, -30.0):
        want = math.log(-math.expm1(x)) if x > -1 else math.log1p(-math.exp(x))
        got = log1mexp(torch.tensor(x, dtype=torch.float32)).item()
        assert got == pytest.approx(want, rel=2e-6), f"LAW: log(1 - e^{x}) = {want}, not {got}"
