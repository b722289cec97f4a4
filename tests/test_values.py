"""Values that do not come from this code: losses of TRL and of the authors' code on fixed log-probs
(values.json). And values that do: what a method is by default (recorded/settings.txt), and the loss
and figures of each form (recorded/figures.txt). `pytest --record` writes those, right or wrong.
"""
import json
import re
from functools import cache
from pathlib import Path

import golden
import pytest
import torch
from made import FORMS, Form, batch_of, choices_of, learn, nano, same
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nanouft.batch import Batch, Seqs
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.ranges import ranges_of

KNOWN = json.loads(Path(__file__).with_name("values.json").read_text(encoding="utf-8"))
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


def test_advantages_of_groups_are_those_of_other_peoples_code():
    K, R = len(RL["rewards"][0]), sum(RL["rewards"], [])
    for name, key in (("rloo", "rloo_advantage"), ("grpo", "grpo_advantage_unbiased_std_eps1e-4")):
        o = OBJECTIVES[name](samples=K, beta=0.0)
        batch, _ = o.credit(sampled(2 * K, 1, reward=R))
        same(batch.per_row["advantage"], sum(RL[key], []), 1e-7)


@pytest.mark.parametrize("gamma, lam", [(1.0, 0.95), (0.99, 0.9), (1.0, 1.0), (1.0, 0.0)])
def test_advantages_of_tokens_are_those_of_other_peoples_code(gamma, lam):
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
def test_grpo_adds_up_tokens_as_other_peoples_code(aggregation, key):
    g = RL["grpo"]
    batch = sampled(len(g["mask"]), len(g["mask"][0]), g["mask"], advantage=g["advantage"],
                    logp=g["logp"], sampled_logp=g["old_logp"], ref_logp=g["ref_logp"])
    o = OBJECTIVES["grpo"](beta=g["beta"], eps=g["eps"], aggregation=aggregation,
                           length=g["max_completion_length"])
    same(o.loss(batch)[0], g[key], 1e-7)


# ---- ours ----------------------------------------------------------------------------------------
FACTS = "data lr reference coupled reads_sums scorer demo measures_demos contrary".split()


def settings(form: Form) -> str:
    """Its facts, those of every objective aside, and a line for each setting."""
    cls = OBJECTIVES[form.name]
    facts = [f"{name} {getattr(cls, name)}" for name in FACTS
             if name in ("data", "lr") or getattr(cls, name) != getattr(Objective, name)]
    lines = [", ".join(facts)]
    if cls.first_models:
        lines += [f"first: {flags}" for flags in cls.first_models.flags]
    choices = {name: f"of {', '.join(map(str, x))}" for name, x in choices_of(cls).items()}
    may_be = choices | ranges_of(cls)
    return "\n".join(lines + [f"{name} {value}   {may_be.get(name, '')}"
                              for name, value in vars(cls()).items()])


@pytest.mark.parametrize("form", [form for form in FORMS if not form.told], ids=str)
def test_the_facts_and_settings_of_a_method_have_not_moved(form, recorded):
    recorded("settings", form.name, settings(form))


@cache
def policy() -> torch.nn.Module:
    """A model that has moved since it sampled, so some ratios are beyond their clip."""
    model, rng = nano().double(), torch.Generator().manual_seed(7)
    for p in model.parameters():
        p.data += 0.01 * torch.randn(p.shape, generator=rng, dtype=p.dtype)
    return model


def is_near(known: str, found: dict[str, float]) -> bool:
    """Two processors differ by some 1e-6 of a log-prob: the loss is computed in fp64, but the
    weights are drawn and the other models read in fp32. Five decimals are written."""
    numbers = {name: float(x) for name, x in re.findall(r"(\w+) (\S+?)(?:,|\n|$)", known)}
    return numbers == pytest.approx(found, rel=1e-4, abs=2e-5)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_loss_the_gradient_and_the_figures_have_not_moved(form, recorded):
    batch = batch_of(form)
    loss, grads = learn(form, policy(), [batch])
    found = {"loss": loss, "gradient": torch.stack([g.norm() for g in grads.values()]).norm()}
    found = {name: float(x) for name, x in (found | form.objective.loss(batch)[1]).items()}
    known = golden.read("figures").get(str(form), "")
    told = ", ".join(f"{name} {x:.5f}" for name, x in found.items())
    recorded("figures", str(form), known if is_near(known, found) else told)


def test_no_two_forms_of_a_method_have_the_same_figures():
    """Else a choice of a setting is without effect."""
    forms = [(form.partition(" ")[0], figures) for form, figures in golden.read("figures").items()]
    assert len({*forms}) == len(forms)


@pytest.mark.parametrize("file", ["settings", "figures", "rows"])
def test_what_is_recorded_is_of_todays_methods(file):
    gone = {typed.partition(" ")[0] for typed in golden.read(file)} - {*OBJECTIVES}
    assert not gone, f"remove what tests/recorded/{file}.txt has of them"
