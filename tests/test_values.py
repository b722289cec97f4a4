"""Values that do not come from this code: losses of TRL and of the authors' code on fixed log-probs
(values.json, "others", "sampled"). And values that do ("ours"): loss, length of the gradient and
every figure of each form, its defaults and its ranges must not move. record_method.py records them.
Figures are compared by name: one that is new has no record yet, and one that is gone has moved.
"""
import json
from functools import cache
from pathlib import Path

import pytest
import torch
from made import FORMS, Form, batch_of, learn, nano, same
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nanouft.batch import Batch, Seqs
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.ranges import ranges_of

FILE = Path(__file__).with_name("values.json")
KNOWN = json.loads(FILE.read_text(encoding="utf-8"))
OTHERS, RL = KNOWN["others"], KNOWN["sampled"]
PAIR = {"chosen": ["chosen"], "rejected": ["rejected"]}


# ---- others --------------------------------------------------------------------------------------
def role(sources: list, token_reward: list | None = None) -> Seqs:
    """Rows of "inputs" below each other: [where the answer begins, policy, reference]. A number k
    is an answer of one token with log-ratio k."""
    rows = [row for x in sources for row in (KNOWN["inputs"][x] if isinstance(x, str)
                                             else [[0, [0.0], [-x]]])]

    def pad(of, fill: float) -> Tensor:
        return pad_sequence([torch.tensor(of(*row), dtype=torch.float64) for row in rows],
                            batch_first=True, padding_value=fill)
    mask, real = pad(lambda at, p, r: [0.] * at + [1.] * (len(p) - at), 0), pad(
        lambda at, p, r: [1.] * len(p), 0)
    s = Seqs(mask.long(), mask.long(), mask, real, pad(lambda at, p, r: p, 99.0),
             ref_logp=pad(lambda at, p, r: r, 99.0))            # 99: what nobody may read
    if token_reward:
        s.extra["token_reward"] = torch.tensor(token_reward).double()[:, :mask.shape[1]]
    return s


@pytest.mark.parametrize("case", OTHERS, ids=lambda c: f"{c['form']}: {c['by']}")
def test_a_loss_is_that_of_other_peoples_code(case):
    form, known = Form(*case["form"].partition(" ")[::2]), case.get("columns", {})
    seqs = {name: role(sources, case.get("token_reward", {}).get(name))
            for name, sources in case.get("roles", PAIR).items()}
    columns = {name: torch.tensor(x, dtype=torch.float64) for name, x in known.items()}
    batch = Batch.of(seqs, columns)
    same(form.objective.loss(batch)[0], case["loss"], 2e-6)


# ---- sampled answers -----------------------------------------------------------------------------
def sampled(rows: int, T: int, mask=1.0, reward=0.0, advantage=0.0, value=0.0, **tok) -> Batch:
    """A rollout of `rows` answers of T tokens that ended; what is not given is 0."""
    def wide(x) -> Tensor:
        return torch.as_tensor(x, dtype=torch.float64).expand(rows, T).clone()
    s = Seqs(wide(0).long(), wide(0).long(), wide(mask), wide(1), extra={"old_values": wide(value)},
             **{n: wide(tok.get(n, 0.0)) for n in ("logp", "sampled_logp", "ref_logp")})
    col = {n: torch.as_tensor(x, dtype=torch.float64).expand(rows)
           for n, x in (("reward", reward), ("advantage", advantage), ("ended", 1.0))}
    return Batch.of({"answer": s}, col)


def test_advantages_of_groups():
    K, R = len(RL["rewards"][0]), sum(RL["rewards"], [])
    for name, key in (("rloo", "rloo_advantage"), ("grpo", "grpo_advantage_unbiased_std_eps1e-4")):
        o = OBJECTIVES[name](samples=K, beta=0.0)
        batch, _ = o.credit(sampled(2 * K, 1, reward=R))
        same(batch.per_row["advantage"], sum(RL[key], []), 1e-7)


@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.99, 0.9), (1.0, 1.0), (1.0, 0.0)])
def test_gae(gamma, lam):
    """With beta 1 and an old log-prob of 0 the initial model's log-probs are the rewards."""
    R, o = RL["gae_rewards"], OBJECTIVES["ppo"](beta=1.0, gamma=gamma, lam=lam)
    batch = sampled(len(R), len(R[0]), ref_logp=R, value=RL["gae_values"])
    batch, told = o.credit(batch)
    s, adv = batch.seqs["answer"], torch.tensor(RL[f"gae_gamma{gamma}_lam{lam}"]).double()
    same(s.extra["returns"] - s.extra["old_values"], adv, 1e-7)
    same(told["explained_variance"], 1 - adv.var() / s.extra["returns"].var(), 1e-6)


@pytest.mark.parametrize("aggregation, key", [("grpo", "loss_grpo_seqmean"),
                                              ("dapo", "loss_bnpo_tokenmean"),
                                              ("dr_grpo", "loss_dr_grpo")])
def test_grpo(aggregation, key):
    g = RL["grpo"]
    batch = sampled(len(g["mask"]), len(g["mask"][0]), g["mask"], advantage=g["advantage"],
                    logp=g["logp"], sampled_logp=g["old_logp"], ref_logp=g["ref_logp"])
    o = OBJECTIVES["grpo"](beta=g["beta"], eps=g["eps"], aggregation=aggregation,
                           length=g["max_completion_length"])
    same(o.loss(batch)[0], g[key], 1e-7)


# ---- ours ----------------------------------------------------------------------------------------
# How far two processors may differ. The loss is computed in fp64, but the weights are drawn and the
# other models read in fp32, so a log-prob differs by some 1e-6. RLOO's exponential of a sum of them
# differed most, by 9e-6 of its value, between instructions with and without AVX-512. What is
# written has five decimals, and two of the last one are allowed.
DIGITS, RELATIVE, ABSOLUTE = 5, 1e-4, 2e-5


model = cache(lambda: nano(1).double())


def near(known: dict[str, float] | str):
    return known if isinstance(known, str) else pytest.approx(known, rel=RELATIVE, abs=ABSOLUTE)


def defaults(form: Form) -> str:
    o = OBJECTIVES[form.name]()
    says = [x for x in ("coupled", "reference") if getattr(o, x)]
    says += [*o.kinds(), f"scorer {o.scorer}", str(o.first_models)]
    return f"lr {o.lr:g}, {', '.join(says)}, {vars(o)}"


def ranges(form: Form) -> str:
    found = ranges_of(OBJECTIVES[form.name])
    return "; ".join(f"{field} {str(limits) or 'any'}" for field, limits in found.items())


def figures(form: Form) -> dict[str, float]:
    """Of a policy that is not the initial model."""
    batch = batch_of(form)
    loss, grads = learn(form, model(), [batch])
    found = {"loss": loss, "gradient": torch.stack([g.norm() for g in grads.values()]).norm()}
    found |= form.objective.loss(batch)[1]
    return {name: round(float(x), DIGITS) for name, x in found.items()}


PLAIN = [form for form in FORMS if not form.told]
PARTS = {"defaults": (defaults, PLAIN), "ranges": (ranges, PLAIN), "ours": (figures, FORMS)}


@pytest.mark.parametrize("part, form", [(part, form) for part, (_, forms) in PARTS.items()
                                        for form in forms], ids=str)
def test_what_is_recorded_has_not_moved(part, form):
    known = KNOWN[part].get(str(form), "no record")
    why = f"if that is meant, run python tests/record_method.py {form.name}"
    found = PARTS[part][0](form)
    if isinstance(found, dict) and isinstance(known, dict):
        found = {name: found.get(name) for name in known}
    assert found == near(known), why


def test_what_is_recorded_is_of_a_method():
    for part, (_, forms) in PARTS.items():
        assert KNOWN[part].keys() <= {*map(str, forms)}, "run python tests/record_method.py"


def test_no_two_forms_of_a_method_have_the_same_figures():
    """Else a choice of a setting is without effect."""
    for name in OBJECTIVES:
        forms = [x for key, x in KNOWN["ours"].items() if key.partition(" ")[0] == name]
        assert all(x != y for i, x in enumerate(forms) for y in forms[:i]), name


# ---- recording -----------------------------------------------------------------------------------
def record(names: list[str], file: Path = FILE) -> list[str]:
    """Record what is missing, single figures too, or anew what these methods compute. Returns what
    was written. What is near its record stays as it is, so that another processor changes nothing.
    """
    text = file.read_text(encoding="utf-8")
    known, written, lines = json.loads(text), [], []
    for part, (compute, forms) in PARTS.items():
        rows = {str(form): known[part].get(str(form)) for form in forms}
        for form in forms:
            old = rows[str(form)]
            if form.name in names or not names:
                new = compute(form)
                if not names and old is not None:       # what has moved stays, and its test is red
                    new = new | old if isinstance(new, dict) else old
                if old is None or new != near(old):
                    rows[str(form)] = new
                    written.append(str(form))
        told = (f" {json.dumps(key)}: {json.dumps(x)}" for key, x in rows.items() if x is not None)
        lines.append(f'"{part}": {{\n' + ",\n".join(told) + "}")
    file.write_text(text.split('"defaults"')[0] + ",\n".join(lines) + "}\n", encoding="utf-8")
    return written
