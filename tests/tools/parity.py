"""Parity: every case of a file of known losses, computed by this project's own objectives.

    python tests/tools/parity.py tests/tools/parity.json --only sft,ift,dpo        # objectives or case names; about 2 s

Such a file holds log-probs, masks and the losses that the plain formulas, TRL or the authors' code give for them. Each
case is computed by OBJECTIVES[name].loss on a Batch of these inputs, in fp64, never by a formula written here. A line
a case: name, ours, expected, difference (the largest of the loss, the loss of each row and, where given, the weight of
each token). Exit code 1 if a case that is not optional differs by more than 1e-6, or has no objective here.
The file's "rl" section holds advantages and losses of sampled answers; every entry is compared, the mean is shown.
"""
import dataclasses
import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from nanouft.objective import Batch, Columns, Seqs, pushes  # noqa: E402
from nanouft.objectives import OBJECTIVES  # noqa: E402
from nanouft.shell.config import Parser, run  # noqa: E402
from nanouft.shell.errors import UserError  # noqa: E402

TOLERANCE = 1e-6
PAIR = {"chosen": "chosen", "rejected": "rejected"}
DEMO = {"answer": "chosen"}
TRIPLE = {**PAIR, "gold": "gold"}
SAID = {"note", "order"}                # entries of params that explain and set nothing


@dataclass(frozen=True)
class Known:
    """How a case is computed here: which objective, which roles of the batch, which hyper-parameters."""
    objective: str
    roles: dict[str, str]                                   # role of the batch -> sequences of the file
    hp: Callable[[dict], dict] = lambda params: params      # the case's params -> fields of the objective's dataclass
    col: Callable[[dict], dict] = lambda params: {}         # the case's params -> row columns of the batch
    tok: Callable[[dict], dict] = lambda params: {}         # the case's params -> {role: {token column: rows}}
    # Fields that differ in per_example, from which the file leaves likelihood out. None: a row cannot stand alone.
    alone: dict | None = field(default_factory=dict)
    less: dict = field(default_factory=dict)                # what is compared is the loss minus that with these values
    less_total: bool = True                                 # in the mean too, or in each row only
    batch: Callable | None = None       # (inputs, params, rows) -> Batch, where a row of the case is no row of a batch


def scored_pair(inputs: dict, params: dict, rows: slice) -> Batch:
    """UNA's authors count a pair of scored answers as one example: two rows of ours, divided by the number of pairs."""
    n = len(inputs["chosen"]["policy"][rows])
    both = stacked(inputs, ("chosen", rows), ("rejected", rows))
    return step({"answer": both}, {"score": params["scores_chosen"][rows] + params["scores_rejected"][rows]}, n)


def labelled(inputs: dict, params: dict, rows: slice) -> Batch:
    """KTO: the chosen answers are good, then the rejected are bad; all see the whole role "kl", or the k that is given
    (one mismatched answer of one token whose log-ratio is k)."""
    n, part = len(inputs["chosen"]["policy"]), range(*rows.indices(2 * len(inputs["chosen"]["policy"])))
    both = stacked(inputs, *[(("chosen", "rejected")[i // n], slice(i % n, i % n + 1)) for i in part])
    kl = inputs["kl"] if "kl_unclamped" in params else {
        "policy": [[0.0]], "ref": [[-params["kl"]]], "completion_mask": [[1]], "attention_mask": [[1]]}
    return step({"answer": both, "mismatch": seqs_of(kl, slice(None))}, {"label": [float(i < n) for i in part]})


def stacked(inputs: dict, *parts: tuple[str, slice]) -> Seqs:
    """Rows of several sequences of the file below each other."""
    first = inputs[parts[0][0]]
    return seqs_of({name: [x for source, rows in parts for x in inputs[source][name][rows]] for name in first},
                   slice(None))


def without(*names: str, **kw) -> Callable[[dict], dict]:
    """The case's params but those that a column holds, and what the objective calls otherwise."""
    return lambda p: {k: v for k, v in p.items() if k not in names} | kw


def mean_reference(inputs: dict, params: dict, rows: slice) -> Batch:
    """PoFT: the column "ref" of the file is the one aligned model, the reward its mean."""
    s = seqs_of(inputs["chosen"], rows)
    return step({"answer": s}, {"aligned_logp": s.mean(s.ref).tolist()})


# Same names with another beta or gamma behind them (dpo_beta0.5) are the same line of this table.
KNOWN = {
    "dpo": Known("dpo", PAIR),
    "cdpo": Known("dpo", PAIR),
    "robust_dpo": Known("robust_dpo", PAIR),
    "ipo_mean": Known("ipo", PAIR, lambda p: {"beta": p["beta"], "reduction": "mean"}),
    "ipo_sum": Known("ipo", PAIR, lambda p: {"beta": p["beta"], "reduction": "sum"}),
    "hinge_ref": Known("hinge", PAIR),
    "slic_noref": Known("slic", PAIR, lambda p: {"form": "trl", "beta": p["beta"], "alpha": p["cpo_alpha"]},
                        alone={"alpha": 0.0}),
    "apo_zero": Known("apo", PAIR, lambda p: {**p, "form": "zero"}),
    "apo_down": Known("apo", PAIR, lambda p: {**p, "form": "down"}),
    "nca_pair": Known("nca", PAIR),
    "sppo_hard": Known("sppo", PAIR),
    "simpo": Known("simpo", PAIR, lambda p: without(p, cpo_alpha=0.0)),
    "simpo_ls": Known("simpo", PAIR, lambda p: without(p, cpo_alpha=0.0)),
    "cpo_simpo": Known("simpo", PAIR, lambda p: {"beta": p["beta"], "gamma": p["gamma"], "alpha": p["cpo_alpha"]},
                       alone={"alpha": 0.0}),
    "cpo": Known("cpo", PAIR, lambda p: {"beta": p["beta"], "alpha": p["cpo_alpha"]}, alone={"alpha": 0.0}),
    "asft": Known("asft", PAIR),
    "asft_align": Known("asft", PAIR, lambda p: {**p, "sft_weight": 0.0}),
    "tpo": Known("tpo", TRIPLE, lambda p: {k: p[k] for k in ("beta", "alpha")}, alone={"alpha": 0.0}),
    "tpo_l": Known("tpo_l", TRIPLE, lambda p: {k: p[k] for k in ("beta", "gamma", "alpha")}, alone={"alpha": 0.0}),
    "gdpo": Known("gdpo", PAIR, lambda p: {"beta": p["beta"]}, col=lambda p: {"p": p["p_hat"]}),
    "ada_dpo": Known("ada_dpo", PAIR, lambda p: {k: p[k] for k in ("beta", "rho", "tau_min", "tau_max")}),
    "rpo_diagonal": Known("rpo", PAIR, lambda p: {**p, "form": "diagonal"}, alone=None),
    "rpo_paired": Known("rpo", PAIR, lambda p: {"beta": p["beta"], "temperature": p["distance_temperature"]},
                        col=lambda p: {"prompt_embedding": p["prompt_embeddings"]}, alone=None),
    # The file gives weights; the column whose `paper` transform they are is their logarithm, with the side's sign.
    "tis_dpo": Known("tis_dpo", PAIR, lambda p: {"beta": p["beta"], "weights": "paper"} | without(
        {"token_level": p["token_level"]}, token_level=False), tok=lambda p: {
        role: {"token_reward": [[mu * math.log(w) for w in row] for row in p[f"weights_{role}"]]}
        for role, mu in (("chosen", 1), ("rejected", -1))}),
    "sft_token_mean": Known("sft", DEMO, lambda p: {**p, "reduction": "token"}),
    "sft_sequence_mean": Known("sft", DEMO, lambda p: {**p, "reduction": "sequence"}),
    "dft_token_mean": Known("dft", DEMO),
    "ift_released": Known("ift", DEMO, lambda p: {**p, "variant": "released"}),
    "ift_eq21": Known("ift", DEMO, lambda p: {**p, "variant": "eq21"}),
    "una_pair_bce": Known("una", PAIR, without(feedback="pair", loss="bce")),
    "una_pair_mse": Known("una", PAIR, without(feedback="pair", loss="mse")),
    "una_score_mse": Known("una", DEMO, without("scores_chosen", "scores_rejected"), batch=scored_pair),
    "uft_sft_as_score1": Known("uft", DEMO, col=lambda p: {"score": [1.0] * 4}),
    "poft_single_aligned_lm": Known("poft", DEMO, without("logps"), batch=mean_reference),
    "kto": Known("kto", DEMO, without("kl", "kl_unclamped"), batch=labelled),
    "kto_weighted": Known("kto", DEMO, without("kl", "kl_unclamped"), batch=labelled),
    "kto_k_given": Known("kto", DEMO, without("kl"), batch=labelled),
    "ift_algorithm1": Known("ift", DEMO, lambda p: {"variant": "algorithm1", "gamma": p["alpha"]}),
    # The file lists the odds-ratio term of each row; ours is one loss, so it is what lam adds.
    "orpo_align": Known("orpo", PAIR, lambda p: {"lam": 1.0}, less={"lam": 0.0}),
    "orpo_nll_prompt_and_response": Known("orpo", PAIR, lambda p: {"lam": p["beta"], "nll": "all"},
                                          less={"lam": 0.0}, less_total=False),
    "orpo_nll_response_only": Known("orpo", PAIR, lambda p: {"lam": p["beta"], "nll": "response"},
                                    less={"lam": 0.0}, less_total=False),
}


def without(params: dict, **off) -> dict:
    """`params` without those that only say that something is off; one that is on stays, and is found missing here."""
    return {k: v for k, v in params.items() if k not in off or v != off[k]}


def known(name: str) -> Known | None:
    """The line of the table for a case, or None."""
    entry = KNOWN.get(name) or KNOWN.get(re.sub(r"_(beta|gamma)[\d.]+$", "", name))
    return entry if entry and entry.objective in OBJECTIVES else None


def seqs_of(inputs: dict, rows: slice) -> Seqs:
    """One role; masked places keep what the file holds there, which is garbage on purpose."""
    x = {name: torch.tensor(values[rows], dtype=torch.float64) for name, values in inputs.items()}
    ids = torch.zeros(x["policy"].shape, dtype=torch.long)              # a pure loss reads no ids
    return Seqs(ids, ids, x["completion_mask"].float(), x["attention_mask"].float(), x["policy"], ref=x["ref"])


def batch_of(entry: Known, inputs: dict, params: dict, rows: slice) -> Batch:
    """The rows of a case as a Batch; `params` are those of the file."""
    if entry.batch:
        return entry.batch(inputs, params, rows)
    seqs = {role: seqs_of(inputs[source], rows) for role, source in entry.roles.items()}
    for role, columns in entry.tok(params).items():
        for name, x in columns.items():
            seqs[role].extra[name] = torch.tensor(x[rows], dtype=torch.float64)
    return step(seqs, {name: x[rows] for name, x in entry.col(params).items()})


def step(seqs: dict[str, Seqs], col: dict[str, list], rows: int | None = None) -> Batch:
    columns = {name: torch.tensor(x, dtype=torch.float64) for name, x in col.items()}
    extra = {name: columns.pop(name) for name in ("aligned_logp", "prompt_embedding") if name in columns}
    batch = Batch.of(seqs, Columns(**columns, extra=extra))
    return dataclasses.replace(batch, rows=rows or batch.rows)


def compute(entry: Known, params: dict, fields: dict, inputs: dict, case: dict) -> dict[str, Tensor]:
    """{"loss", "per_example", "weights"} of one case; `fields` are those of the objective's dataclass."""
    objective = OBJECTIVES[entry.objective]
    hp = objective.hp(**fields)

    def loss(rows: slice, less: bool) -> Tensor:
        batch = batch_of(entry, inputs, params, rows)
        value = objective.loss(batch, hp)[0]
        if entry.less and less:
            value = value - objective.loss(batch, dataclasses.replace(hp, **entry.less))[0]
        return value

    n = len(case["per_example"])
    got = {"loss": loss(slice(0, n), entry.less_total)}
    if entry.alone is not None:
        hp = objective.hp(**fields | entry.alone)
        got["per_example"] = torch.stack([loss(slice(i, i + 1), True) for i in range(n)])
    if "weights" in case:                             # IFT: with constant weights, w_t = -N dL/dlogp_t of a row alone
        hp = dataclasses.replace(hp, detach=True)
        alone = [batch_of(entry, inputs, params, slice(i, i + 1)) for i in range(n)]
        got["weights"] = torch.cat([pushes(objective, b, hp)["answer"] * b.tokens["answer"] for b in alone])
    return got


def check(case: dict, inputs: dict) -> tuple[float | None, float]:
    """(our loss, largest difference from what the case expects); (None, inf) if no objective here computes it, which
    is also true of one that lacks a parameter of the case: leaving it out would compare something else."""
    if (entry := known(case["name"])) is None:
        return None, float("inf")
    params = {k: v for k, v in case["params"].items() if k not in SAID}
    fields = entry.hp(params)
    if not fields.keys() <= {f.name for f in dataclasses.fields(OBJECTIVES[entry.objective].hp)}:
        return None, float("inf")
    got = compute(entry, params, fields, inputs, case)
    gaps = [(got[key] - torch.tensor(case[key], dtype=torch.float64)).abs().max().item()
            for key in ("loss", "per_example", "weights") if key in case and key in got]
    return got["loss"].item(), float("inf") if any(g != g for g in gaps) else max(gaps)


# ---- sampled answers -------------------------------------------------------------------------------------------------
def sampled(rows: int, T: int, mask=None, reward=0.0, adv=0.0, **tok) -> Batch:
    """A rollout of `rows` answers of T tokens, ended, each with its reward and advantage; other numbers are 0 unless
    given."""
    def wide(x) -> Tensor:
        return torch.as_tensor(x, dtype=torch.float64).expand(rows, T).clone()
    ids, m = torch.zeros(rows, T, dtype=torch.long), wide(1.0 if mask is None else mask).float()
    s = Seqs(ids, ids, m, torch.ones_like(m), **{n: wide(tok.get(n, 0.0)) for n in ("logp", "old", "ref")},
             extra={"old_values": wide(tok.get("value", 0.0))})
    col = {"reward": reward, "adv": adv, "ended": 1.0}
    return step({"answer": s}, {n: x if isinstance(x, list) else [x] * rows for n, x in col.items()})


def advantages(name: str, rewards: list, **fields) -> Tensor:
    """(P,K) what objective `name` makes of rewards alone."""
    objective, P, K = OBJECTIVES[name], len(rewards), len(rewards[0])
    batch = sampled(P * K, 1, reward=[r for group in rewards for r in group])
    return objective.credit(batch, objective.hp(samples=K, beta=0.0, **fields)).col.adv.view(P, K)


def gae(rl: dict, gamma: float, lam: float) -> Tensor:
    """(B,T): return minus value is the advantage before it is whitened. With beta 1 and an old log-prob of 0, the
    reference's log-probs are the rewards of the tokens."""
    R, V = rl["gae_rewards"], rl["gae_values"]
    batch = sampled(len(R), len(R[0]), ref=R, value=V)
    s = OBJECTIVES["ppo"].credit(batch, OBJECTIVES["ppo"].hp(beta=1.0, gamma=gamma, lam=lam)).seqs["answer"]
    return s.extra["returns"] - s.extra["old_values"]


def group_loss(g: dict, aggregation: str, beta: float | None = None) -> Tensor:
    batch = sampled(len(g["mask"]), len(g["mask"][0]), g["mask"], adv=g["advantage"], old=g["old_logp"],
                    ref=g["ref_logp"], logp=g["logp"])
    hp = OBJECTIVES["grpo"].hp(beta=g["beta"] if beta is None else beta, eps=g["eps"], aggregation=aggregation,
                               length=g["max_completion_length"])
    return OBJECTIVES["grpo"].loss(batch, hp)[0]


def rl_cases(rl: dict) -> list[tuple[str, str, Tensor | None, Any]]:
    """[(name, objective, ours or None, expected)] of the section "rl"."""
    out = []
    for key, want in rl.items():
        if key == "rloo_advantage":
            out.append((key, "rloo", advantages("rloo", rl["rewards"]), want))
        elif key == "grpo_advantage_unbiased_std_eps1e-4":
            out.append((key, "grpo", advantages("grpo", rl["rewards"]), want))
        elif found := re.fullmatch(r"gae_gamma([\d.]+)_lam([\d.]+)", key):
            out.append((key, "ppo", gae(rl, float(found[1]), float(found[2])), want))
        elif key == "grpo":
            forms = {"loss_grpo_seqmean": "grpo", "loss_bnpo_tokenmean": "dapo", "loss_dr_grpo": "dr_grpo"}
            out += [(name, "grpo", group_loss(want, form), want[name]) for name, form in forms.items() if name in want]
            penalty = group_loss(want, "dapo", 1.0) - group_loss(want, "dapo", 0.0)
            out.append(("k3_kl_masked_mean", "grpo", penalty, want["k3_kl_masked_mean"]))
        elif key not in ("rewards", "gae_rewards", "gae_values"):
            out.append((key, "", None, 0.0))
    return out


def report(parity: dict, only: list[str] | None) -> int:
    """Prints every selected case; returns the number of failures that count."""
    cases = [(label, s["inputs"], case) for label, s in parity["sets"].items() for case in s["cases"]]
    rl = rl_cases(parity.get("rl", {}))
    if only is not None:
        objective = {case["name"]: entry.objective for _, _, case in cases if (entry := known(case["name"]))}
        cases = [c for c in cases if c[2]["name"] in only or objective.get(c[2]["name"]) in only]
        rl = [c for c in rl if c[0] in only or c[1] in only]
    if not cases and not rl:
        raise UserError("no case to check; that must not look like a success")
    failures = 0
    print(f"{'case':<36} {'ours':>18} {'expected':>18} {'difference':>11}")
    for label, inputs, case in cases:
        ours, gap = check(case, inputs)
        failures += line(case["name"], ours, case["loss"], gap, label, case.get("optional", False))
    for name, _, ours, want in rl:
        want = torch.tensor(want, dtype=torch.float64)
        gap = float("inf") if ours is None or ours.shape != want.shape else (ours - want).abs().max().item()
        failures += line(name, None if ours is None else ours.mean().item(), want.mean().item(), gap, "rl", False)
    print(f"{len(cases) + len(rl)} cases, {failures} failed" + ("" if failures else f": all within {TOLERANCE:g}"))
    return failures


def line(name: str, ours: float | None, want: float, gap: float, label: str, optional: bool) -> bool:
    """Print a case; True if it failed and counts."""
    ok = gap <= TOLERANCE
    verdict = "" if ok else ("MISSING" if ours is None else "DIFFERS") + " (optional)" * optional
    shown = f"{ours:>18.12f}" if ours is not None else f"{'-':>18}"
    print(f"{name:<36} {shown} {want:>18.12f} {gap:>11.1e}  {verdict}  [{label}]")
    return not (ok or optional)


def main(argv=None) -> int:
    parser = Parser(prog="python tests/tools/parity.py", description=__doc__)
    parser.add_argument("file", help="a parity file, such as tests/tools/parity.json")
    parser.add_argument("--only", metavar="NAMES", help="comma-separated objectives or names of cases")
    args = parser.parse_args(argv)
    parity = json.loads(Path(args.file).read_text(encoding="utf-8"))
    return 1 if report(parity, args.only.split(",") if args.only else None) else 0


if __name__ == "__main__":
    sys.exit(run(main))
