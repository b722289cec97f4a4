"""Parity: the cases of tests/tools/parity.json, computed by this project's own objectives.

The file holds log-probs, masks and the losses that the plain formulas, TRL or the authors' code
give for them. Each case is computed by OBJECTIVES[name].loss on a Batch of these inputs, in fp64,
never by a formula written here. Compared are the loss, the loss of each row and, where given, the
weight of each token. The file's "rl" section holds advantages and losses of sampled answers.
"""
import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from running import ROOT
from torch import Tensor

from nanouft.objective import Batch, Columns, Seqs, pushes
from nanouft.objectives import OBJECTIVES
from nanouft.run.storage import read_json

FILE = read_json(ROOT / "tests" / "tools" / "parity.json")
(SET,) = FILE["sets"].values()
INPUTS, CASES, RL = SET["inputs"], {case["name"]: case for case in SET["cases"]}, FILE["rl"]
# No objective here computes these cases.
NOT_HERE = {"gipo", "ada_dpo_quadratic", "orpo_nll_response_only"}
TOLERANCE = 1e-6
PAIR = {"chosen": "chosen", "rejected": "rejected"}
DEMO = {"answer": "chosen"}
TRIPLE = {**PAIR, "gold": "gold"}


@dataclass(frozen=True)
class Known:
    """How a case is computed here: which objective, which roles of the batch, which
    hyper-parameters."""
    objective: str
    roles: dict[str, str]  # role of the batch -> sequences of the file
    # the case's params -> fields of the objective's dataclass
    hp: Callable[[dict], dict] = lambda params: params
    per_row: Callable[[dict], dict] = (
        lambda params: {}
    )  # the case's params -> row columns of the batch
    # the case's params -> {role: {token column: rows}}
    tok: Callable[[dict], dict] = lambda params: {}
    # Fields that differ in per_example, from which the file leaves likelihood out. None: a row
    # cannot stand alone.
    alone: dict | None = field(default_factory=dict)
    # what is compared is the loss minus that with these values
    less: dict = field(default_factory=dict)
    less_total: bool = True                                 # in the mean too, or in each row only
    # (params, rows) -> Batch, where a row of the case is no row of a batch
    batch: Callable | None = None


def scored_pair(params: dict, rows: slice) -> Batch:
    """UNA's authors count a pair of scored answers as one example: two rows of ours, divided by the
    number of pairs."""
    n = len(INPUTS["chosen"]["policy"][rows])
    both = stacked(("chosen", rows), ("rejected", rows))
    return step({"answer": both},
                {"score": params["scores_chosen"][rows] + params["scores_rejected"][rows]}, n)


def labelled(params: dict, rows: slice) -> Batch:
    """KTO: the chosen answers are good, then the rejected are bad; all see the whole role "kl", or
    the k that is given (one mismatched answer of one token whose log-ratio is k)."""
    n, part = len(INPUTS["chosen"]["policy"]), range(
        *rows.indices(2 * len(INPUTS["chosen"]["policy"])))
    both = stacked(*[(("chosen", "rejected")[i // n], slice(i % n, i % n + 1)) for i in part])
    kl = INPUTS["kl"] if "kl_unclamped" in params else {"policy": [[0.0]], "ref": [[-params["kl"]]],
                                                        "completion_mask": [[1]],
                                                        "attention_mask": [[1]]}
    return step({"answer": both, "mismatch": seqs_of(kl, slice(None))},
                {"label": [float(i < n) for i in part]})


def stacked(*parts: tuple[str, slice]) -> Seqs:
    """Rows of several sequences of the file below each other."""
    first = INPUTS[parts[0][0]]
    return seqs_of({name: [x for source, rows in parts for x in INPUTS[source][name][rows]]
                    for name in first}, slice(None))


def without(*names: str, **kw) -> Callable[[dict], dict]:
    """The case's params but those that a column holds, and what the objective calls otherwise."""
    return lambda p: {k: v for k, v in p.items() if k not in names} | kw


def mean_reference(params: dict, rows: slice) -> Batch:
    """PoFT: the column "ref" of the file is the one aligned model, the reward its mean."""
    s = seqs_of(INPUTS["chosen"], rows)
    return step({"answer": s}, {"aligned_logp": s.mean(s.ref_logp).tolist()})


# Same names with another beta or gamma behind them (dpo_beta0.5) are the same line of this table.
KNOWN = {
    "dpo": Known("dpo", PAIR),
    "cdpo": Known("dpo", PAIR),
    "sigmoid_norm": Known("dpo", PAIR, lambda p: {"beta": p["beta"], "reduction": "mean"}),
    "robust_dpo": Known("robust_dpo", PAIR),
    "ipo_mean": Known("ipo", PAIR, lambda p: {"beta": p["beta"], "reduction": "mean"}),
    "ipo_sum": Known("ipo", PAIR, lambda p: {"beta": p["beta"], "reduction": "sum"}),
    "hinge_ref": Known("hinge", PAIR),
    "slic_noref": Known("slic", PAIR,
                        lambda p: {"form": "trl", "beta": p["beta"], "alpha": p["cpo_alpha"]},
                        alone={"alpha": 0.0}),
    "apo_zero": Known("apo", PAIR, lambda p: {**p, "form": "zero"}),
    "apo_down": Known("apo", PAIR, lambda p: {**p, "form": "down"}),
    "nca_pair": Known("nca", PAIR),
    "sppo_hard": Known("sppo", PAIR),
    "simpo": Known("simpo", PAIR, without("cpo_alpha")),
    "simpo_ls": Known("simpo", PAIR, without("cpo_alpha")),
    "cpo_simpo": Known("simpo", PAIR, lambda p: {"beta": p["beta"], "gamma": p["gamma"],
                                                 "alpha": p["cpo_alpha"]},
                       alone={"alpha": 0.0}),
    "cpo": Known("cpo", PAIR, lambda p: {"beta": p["beta"], "alpha": p["cpo_alpha"]},
                 alone={"alpha": 0.0}),
    "asft": Known("asft", PAIR),
    "asft_align": Known("asft", PAIR, lambda p: {**p, "sft_weight": 0.0}),
    "tpo": Known("tpo", TRIPLE, lambda p: {k: p[k] for k in ("beta", "alpha")},
                 alone={"alpha": 0.0}),
    "tpo_l": Known("tpo_l", TRIPLE, lambda p: {k: p[k] for k in ("beta", "gamma", "alpha")},
                   alone={"alpha": 0.0}),
    "gdpo": Known("gdpo", PAIR, lambda p: {"beta": p["beta"]}, per_row=lambda p: {"p": p["p_hat"]}),
    "ada_dpo": Known("ada_dpo", PAIR,
                     lambda p: {k: p[k] for k in ("beta", "rho", "tau_min", "tau_max")}),
    "rpo_diagonal": Known("rpo", PAIR, lambda p: {**p, "form": "diagonal"}, alone=None),
    "rpo_paired": Known("rpo", PAIR,
                        lambda p: {"beta": p["beta"], "temperature": p["distance_temperature"]},
                        per_row=lambda p: {"prompt_embedding": p["prompt_embeddings"]}, alone=None),
    # The file gives weights; the column whose `paper` transform they are is their logarithm, with
    # the side's sign.
    "tis_dpo": Known("tis_dpo", PAIR, lambda p: {"beta": p["beta"], "weights": "paper"},
                     tok=lambda p: {
        role: {"token_reward": [[mu * math.log(w) for w in row] for row in p[f"weights_{role}"]]}
        for role, mu in (("chosen", 1), ("rejected", -1))}),
    "sft_token_mean": Known("sft", DEMO, lambda p: {**p, "reduction": "token"}),
    "sft_sequence_mean": Known("sft", DEMO, lambda p: {**p, "reduction": "sequence"}),
    "dft_token_mean": Known("dft", DEMO),
    "ift_released": Known("ift", DEMO, lambda p: {**p, "variant": "released"}),
    "ift_eq21": Known("ift", DEMO, lambda p: {**p, "variant": "eq21"}),
    "una_pair_bce": Known("una", PAIR, without(feedback="pair", loss="bce")),
    "una_pair_mse": Known("una", PAIR, without(feedback="pair", loss="mse")),
    "una_score_mse": Known("una", DEMO, without("scores_chosen", "scores_rejected"),
                           batch=scored_pair),
    "uft_sft_as_score1": Known("uft", DEMO, per_row=lambda p: {"score": [1.0] * 4}),
    "poft_single_aligned_lm": Known("poft", DEMO, without("logps"), batch=mean_reference),
    "kto": Known("kto", DEMO, without("kl", "kl_unclamped"), batch=labelled),
    "kto_weighted": Known("kto", DEMO, without("kl", "kl_unclamped"), batch=labelled),
    "kto_k_given": Known("kto", DEMO, without("kl"), batch=labelled),
    "ift_algorithm1": Known("ift", DEMO, lambda p: {"variant": "algorithm1", "gamma": p["alpha"]}),
    # The file lists the odds-ratio term of each row; ours is one loss, so it is what lam adds.
    "orpo_align": Known("orpo", PAIR, lambda p: {"lam": 1.0}, less={"lam": 0.0}),
    "orpo_nll_prompt_and_response": Known("orpo", PAIR, lambda p: {"lam": p["beta"]},
                                          less={"lam": 0.0}, less_total=False),
}


def known(name: str) -> Known:
    """The line of the table for a case."""
    return KNOWN[name if name in KNOWN else re.sub(r"_(beta|gamma)[\d.]+$", "", name)]


def seqs_of(inputs: dict, rows: slice) -> Seqs:
    """One role; masked places keep what the file holds there, which is garbage on purpose."""
    x = {name: torch.tensor(values[rows], dtype=torch.float64) for name, values in inputs.items()}
    ids = torch.zeros(x["policy"].shape, dtype=torch.long)              # a pure loss reads no ids
    return Seqs(ids, ids, x["completion_mask"].float(), x["attention_mask"].float(), x["policy"],
                ref_logp=x["ref"])


def batch_of(entry: Known, params: dict, rows: slice) -> Batch:
    """The rows of a case as a Batch; `params` are those of the file."""
    if entry.batch:
        return entry.batch(params, rows)
    seqs = {role: seqs_of(INPUTS[source], rows) for role, source in entry.roles.items()}
    for role, columns in entry.tok(params).items():
        for name, x in columns.items():
            seqs[role].extra[name] = torch.tensor(x[rows], dtype=torch.float64)
    return step(seqs, {name: x[rows] for name, x in entry.per_row(params).items()})


def step(seqs: dict[str, Seqs], col: dict[str, list], rows: int | None = None) -> Batch:
    columns = {name: torch.tensor(x, dtype=torch.float64) for name, x in col.items()}
    extra = {name: columns.pop(name) for name in ("aligned_logp", "prompt_embedding")
             if name in columns}
    batch = Batch.of(seqs, Columns(**columns, extra=extra))
    return dataclasses.replace(batch, rows=rows or batch.rows)


def compute(case: dict) -> dict[str, Tensor]:
    """{"loss", "per_example", "weights"} of one case."""
    entry = known(case["name"])
    objective = OBJECTIVES[entry.objective]
    params = {k: v for k, v in case["params"].items() if k not in ("note", "order")}
    hp = objective.hp(**entry.hp(params))

    def loss(rows: slice, less: bool) -> Tensor:
        batch = batch_of(entry, params, rows)
        value = objective.loss(batch, hp)[0]
        if entry.less and less:
            value = value - objective.loss(batch, dataclasses.replace(hp, **entry.less))[0]
        return value

    each = [slice(i, i + 1) for i in range(len(case["per_example"]))]
    got = {"loss": loss(slice(0, len(each)), entry.less_total)}
    if entry.alone is not None:
        hp = dataclasses.replace(hp, **entry.alone)
        got["per_example"] = torch.stack([loss(one, True) for one in each])
    if "weights" in case:  # IFT: with constant weights, w_t = -N dL/dlogp_t of a row alone
        hp = dataclasses.replace(hp, detach=True)
        alone = [batch_of(entry, params, one) for one in each]
        got["weights"] = torch.cat([pushes(objective, b, hp)["answer"] * b.tokens["answer"]
                                    for b in alone])
    return got


def gap(case: dict) -> float:
    """The largest difference from what the case expects; nan if anything is."""
    return torch.stack([difference(x, case[key]) for key, x in compute(case).items()]).max().item()


def difference(ours: Tensor, want) -> Tensor:
    want = torch.tensor(want, dtype=torch.float64)
    assert ours.shape == want.shape
    return (ours - want).abs().max()


# ---- sampled answers -----------------------------------------------------------------------------
def sampled(rows: int, T: int, mask=None, reward=0.0, advantage=0.0, **tok) -> Batch:
    """A rollout of `rows` answers of T tokens, ended, each with its reward and advantage; other
    numbers are 0 unless given."""
    def wide(x) -> Tensor:
        return torch.as_tensor(x, dtype=torch.float64).expand(rows, T).clone()
    ids, m = torch.zeros(rows, T, dtype=torch.long), wide(1.0 if mask is None else mask).float()
    s = Seqs(ids, ids, m, torch.ones_like(m),
             **{n: wide(tok.get(n, 0.0)) for n in ("logp", "sampled_logp", "ref_logp")},
             extra={"old_values": wide(tok.get("value", 0.0))})
    col = {"reward": reward, "advantage": advantage, "ended": 1.0}
    return step({"answer": s}, {n: x if isinstance(x, list) else [x] * rows
                                for n, x in col.items()})


def advantages(name: str, rewards: list, **fields) -> Tensor:
    """(P,K) what objective `name` makes of rewards alone."""
    objective, P, K = OBJECTIVES[name], len(rewards), len(rewards[0])
    batch = sampled(P * K, 1, reward=[r for group in rewards for r in group])
    credited = objective.credit(batch, objective.hp(samples=K, beta=0.0, **fields))
    return credited.per_row.advantage.view(P, K)


def gae(gamma: float, lam: float) -> Tensor:
    """(B,T): return minus value is the advantage before it is whitened. With beta 1 and an old
    log-prob of 0, the reference's log-probs are the rewards of the tokens."""
    R, V = RL["gae_rewards"], RL["gae_values"]
    batch = sampled(len(R), len(R[0]), ref_logp=R, value=V)
    s = OBJECTIVES["ppo"].credit(batch, OBJECTIVES["ppo"].hp(beta=1.0, gamma=gamma,
                                                             lam=lam)).seqs["answer"]
    return s.extra["returns"] - s.extra["old_values"]


def group_loss(aggregation: str, beta: float = RL["grpo"]["beta"]) -> Tensor:
    g = RL["grpo"]
    batch = sampled(len(g["mask"]), len(g["mask"][0]), g["mask"],
                    advantage=g["advantage"], sampled_logp=g["old_logp"],
                    ref_logp=g["ref_logp"], logp=g["logp"])
    hp = OBJECTIVES["grpo"].hp(beta=beta, eps=g["eps"], aggregation=aggregation,
                               length=g["max_completion_length"])
    return OBJECTIVES["grpo"].loss(batch, hp)[0]


def sampled_gaps() -> dict[str, float]:
    """The difference of each case of the section "rl"."""
    ours = {"rloo_advantage": advantages("rloo", RL["rewards"]),
            "grpo_advantage_unbiased_std_eps1e-4": advantages("grpo", RL["rewards"]),
            "loss_grpo_seqmean": group_loss("grpo"), "loss_bnpo_tokenmean": group_loss("dapo"),
            "loss_dr_grpo": group_loss("dr_grpo"),
            "k3_kl_masked_mean": group_loss("dapo", 1.0) - group_loss("dapo", 0.0)}
    for gamma, lam in ((1.0, 0.95), (0.99, 0.9), (1.0, 1.0), (1.0, 0.0)):
        ours[f"gae_gamma{gamma}_lam{lam}"] = gae(gamma, lam)
    return {name: difference(x, (RL | RL["grpo"])[name]).item() for name, x in ours.items()}


# ---- the tests -----------------------------------------------------------------------------------
def test_every_case_of_our_objectives_agrees():
    found = {name: gap(case) for name, case in CASES.items()
             if name not in NOT_HERE} | sampled_gaps()
    assert len(found) == 56
    wrong = {name: x for name, x in found.items() if not x <= TOLERANCE}
    assert not wrong


@pytest.mark.parametrize("name", "sft ift dpo una uft poft kto orpo grpo".split())
def test_a_flipped_sign_is_seen(name, monkeypatch):
    honest = OBJECTIVES[name]

    def flipped(batch, hp):
        loss, metrics = honest.loss(batch, hp)
        return -loss, metrics
    monkeypatch.setitem(OBJECTIVES, name, dataclasses.replace(honest, loss=flipped))
    mine = [case for case in CASES.values() if case["name"] not in NOT_HERE
            and known(case["name"]).objective == name]
    seen = [sampled_gaps()["loss_dr_grpo"]] if name == "grpo" else [gap(case) for case in mine]
    assert seen and all(x > TOLERANCE for x in seen)


def test_rows_and_weights_are_checked_and_not_only_the_loss():
    a, b, *rest = CASES["dpo"]["per_example"]
    assert gap(CASES["dpo"] | {"per_example": [a + 1e-5, b - 1e-5, *rest]}) > TOLERANCE
    assert gap(CASES["ift_released_gamma0"] | {"weights": [[0.0] * 9] * 4}) > TOLERANCE
