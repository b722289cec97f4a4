"""What each method is: the equation in the head of its file, computed as it is printed there, has
the loss of the code and its gradient.

What comes from the code: PPO's advantages and returns, and Ada-DPO's u (test_method_details.py and
test_values.py).
"""
import itertools
import math
from dataclasses import replace

import pytest
import torch
from equation_parser import REDUCTIONS, Known, value
from made import HELD, Form, same
from torch import Tensor

from nanouft import pretrain, reward
from nanouft.batch import Batch, Seqs
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.ada_dpo import root
from nanouft.playground.docstrings import (
    SHARED,
    Line,
    equations,
    method_docstring,
    name_and_idea,
    paper,
)

TRAINED = {**OBJECTIVES, "pretrain": pretrain.NextToken, "reward": reward.BradleyTerry}
HEADS = {name: method_docstring(cls) for name, cls in TRAINED.items()}
LINES = {line.name: line for name, head in HEADS.items() for line in equations(name, head)}
# What the head of grpo.py says of a setting in words
GRPO = LINES["grpo"]
IN_WORDS = [replace(GRPO, name="grpo --scale none",
                    formulas=GRPO.formulas | {"adv": "reward - mean_K reward"})]
ROLES = {"w": "chosen", "l": "rejected", "mismatch": "mismatch",        # behind a letter: S_w
         "demo": "demo"}
SETTINGS = {"lam_D": "desirable_weight", "lam_U": "undesirable_weight", "K": "samples"}


# ---- a random step with every role and number that a method might read ---------------------------
def answers(rng: torch.Generator, rows: int, T: int = 9) -> Seqs:
    """Prompts of 1 or 2 tokens, answers of 2 or more, some with a second turn; padding behind."""
    def below_0() -> Tensor:
        return -torch.empty(rows, T, dtype=torch.float64).exponential_(1.5, generator=rng)
    place, ends = torch.arange(T), torch.randint(5, T + 1, (rows, 1), generator=rng)
    real = (place < ends).double()
    mask = real * (place >= 1 + torch.arange(rows)[:, None] % 2)
    mask[::3, 3] = 0
    ids, logp = torch.zeros(rows, T, dtype=torch.long), below_0()
    extra = {"token_reward": below_0() + 1, "plain_logp": below_0(), "values": below_0(),
             "old_values": below_0()}
    moved = 0.2 * torch.randn(rows, T, generator=rng, dtype=torch.float64)
    return Seqs(ids, ids, mask, real, logp, ref_logp=below_0(), sampled_logp=logp + moved,
                extra=extra)


def step(name: str, o: Objective) -> Batch:
    rng = torch.Generator().manual_seed(1 + len(name))
    rows = 3 * o.samples if o.on_policy else 6

    def column(*size: int) -> Tensor:
        return torch.rand(*(size or (rows,)), generator=rng, dtype=torch.float64)
    col = {"score": column(), "label": torch.arange(rows).double() % 2, "p": column(),
           "ended": column().round(), "reward": column(2 * rows if name == "reward" else rows),
           "aligned_logp": -column(), "prompt_embedding": column(rows, 4)}
    if o.on_policy:
        s = answers(rng, rows)
        col["reward"][:o.samples] = 0.5                # a group in which all earn the same
        col["score"] = col["reward"]
        col["demo"] = col["demo_reward"] = (torch.arange(rows) % (2 * o.samples) == 0).double()
        demo = answers(rng, rows)
        demo.mask = demo.mask * col["demo"][:, None]        # the first of every second group
        seqs = {"answer": s} | ({"demo": demo} if "demos" in o.kinds() else {})
        return replace(o.credit(Batch.of(seqs, col))[0], progress=0.3)
    seqs = {role: answers(rng, rows) for role in
            "answer chosen rejected gold mismatch sure unsure mix_sure mix_unsure text".split()}
    seqs["text"].mask = torch.ones_like(seqs["text"].mask)
    mixed = seqs["mix_unsure"].mask = seqs["mix_sure"].mask
    seqs["mix_sure"].extra["share"] = share = column(rows, 1) * mixed
    seqs["mix_unsure"].extra["share"] = mixed - share
    return replace(Batch.of(seqs, col), progress=0.3)


# ---- what the names in an equation stand for: (B,T) of tokens, (B,1) of rows ---------------------
def given(name: str, batch: Batch, o, s: Seqs, role: str) -> dict[str, Tensor]:
    def chance(logp: Tensor) -> Tensor:
        return logp.masked_fill(s.mask == 0, 0).exp()   # 1 off the mask
    x = batch.per_row | s.extra
    out = {"mask": s.mask, "t": s.mask.cumsum(-1), "N": s.mask.sum(-1, keepdim=True),
           "p_t": chance(s.logp), "ref_t": chance(s.ref_logp), "old_t": chance(s.sampled_logp),
           "teacher_t": chance(s.ref_logp),           # distillation: the reference is the teacher
           "progress": torch.tensor(batch.progress, dtype=torch.float64),
           "pi": torch.tensor(math.pi, dtype=torch.float64)}
    out |= {letter: x[column][:, None] for letter, column in
            (*((c, c) for c in ("score", "label", "p", "reward", "untied")),
             ("A_aligned", "aligned_logp")) if column in x}
    match name:
        case "tofu":
            out |= {"p_t": chance(x["plain_logp"]), "q_t": chance(s.logp)}
        case "sftmix":
            other = batch.seqs["mix_unsure"]
            out |= {"m_t": chance(s.logp), "m'_t": chance(other.logp),
                    "lam": x["share"].amax(-1, keepdim=True)}
        case "tis_dpo":
            out |= {"d_t": x["token_reward"], "mu": torch.tensor(1 - 2 * (role == "rejected"))}
        case "ppo":
            out |= {"A_t": s.token_advantage, "G_t": x["returns"], "v_t": x["values"],
                    "V_t": x["old_values"]}
        case "rpo":
            e = x["prompt_embedding"]
            out |= {"e_i": e[:, None], "e_j": e[None]}
        case "reward":
            out["R_w"], out["R_l"] = x["reward"][:, None].chunk(2)
        case "hpt":
            out["g"] = x["imitate"][:, None]
        case "ada_dpo":
            out["u"] = torch.tensor(root(o.rho), dtype=torch.float64)
    return out


def reduction(name: str, s: Seqs, K: int):
    """A sum or a mean over tokens, rows or groups."""
    def tokens(x: Tensor) -> Tensor:
        return s.sum(x.expand(s.mask.shape))[:, None]

    def groups(x: Tensor, of) -> Tensor:
        return of(x.view(-1, K), -1, keepdim=True).expand(-1, K).reshape(-1, 1)
    length = s.mask.sum(-1, keepdim=True).clamp_min(1)
    return {"sum_t": tokens, "mean_t": lambda x: tokens(x) / length,
            "mean": lambda x: tokens(x).sum() / s.mask.sum(), "mean_i": torch.mean,
            "mean_j": lambda x: x.mean(-1, keepdim=True),
            "mean_K": lambda x: groups(x, torch.mean), "std_K": lambda x: groups(x, torch.std),
            }[name]


def token_mean(batch: Batch, names: list[str]) -> Tensor:
    """NLL(names): of these roles; "prompt" adds the prompt's tokens."""
    roles = [batch.seqs[name] for name in names if name != "prompt"]
    masks = [s.not_padding if "prompt" in names else s.mask for s in roles]
    return -sum((s.logp * m).sum() for s, m in zip(roles, masks)) / sum(m.sum() for m in masks)


def setting(name: str, o, letter: str) -> Tensor | None:
    field = SETTINGS.get(letter, letter)
    if name == "robust_dpo" and field == "eps":
        field = "label_smoothing"
    if name == "grpo" and field == "eps_high" and o.eps_high is None:
        field = "eps"
    return torch.tensor(getattr(o, field), dtype=torch.float64) if hasattr(o, field) else None


def known(line: Line, batch: Batch, o, role: str) -> Known:
    """What each name of the equation is, for the answers of a role."""
    name = line.name.split()[0]
    formulas = SHARED | line.formulas
    s = batch.seqs.get(role) or next(iter(batch.seqs.values()))
    told = {word: x for word, x in given(name, batch, o, s, role).items()
            if word not in line.formulas}           # the head's own letters come before columns

    def read(word: str) -> Tensor:
        if word.startswith("NLL"):
            return token_mean(batch, word[4:-1].split(", "))
        if word in REDUCTIONS:
            return reduction(word, s, getattr(o, "samples", 1))
        if word.endswith(("[i]", "[j]")):
            return read(word[:-3]) if word.endswith("[i]") else read(word[:-3]).T
        if word in told:
            return told[word]
        if word in formulas:
            return value(formulas[word], read)
        if (x := setting(name, o, word)) is not None:
            return x
        base, _, of = word.rpartition("_")
        if of not in ROLES:
            pytest.fail(f"the equation of {line.name} uses {word!r}, but no line of its head says "
                        "what that is: write it as `word = formula`, or use one of the letters of "
                        "nanouft/objectives/__init__.py or a setting of the method; a mean of "
                        "another kind is added to REDUCTIONS (equation_parser.py) and to "
                        "`reduction` here", pytrace=False)
        return known(line, batch, o, ROLES[of])(base)
    return read


def test_the_head_of_every_method_begins_with_its_name_and_has_an_equation():
    """The pages show it: DPO, Robust DPO. Without a name they show that of the class."""
    told = {name: name_and_idea(HEADS[name]) for name in OBJECTIVES}
    assert all(called and idea for called, idea in told.values()), "NAME: what it does"
    assert len({called for called, _ in told.values()}) == len(told)
    assert {name.split()[0] for name in LINES} == TRAINED.keys()


# ---- equation and code ---------------------------------------------------------------------------
@pytest.mark.parametrize("line", [*LINES.values(), *IN_WORDS], ids=lambda line: line.name)
def test_the_equation_in_the_head_of_the_file_is_the_loss_of_the_code(line):
    """With random numbers for all that it reads; and so is its gradient."""
    name, *changed = line.name.split()
    o = Form(name).objective if name in OBJECTIVES else TRAINED[name]()
    o = replace(o, **{changed[0][2:]: changed[1]}) if changed else o
    # every number gets another value than its default, which the code might have in its place, and
    # than other numbers: two with one default, as a schedule's ends, would hide what is between
    text = " ".join([line.loss, *line.formulas.values()])
    o = replace(o, **{x: (1 - k / 100) * (0.9 * is_set or 0.7)
                      for k, (x, is_set) in enumerate(vars(o).items())
                      if isinstance(is_set, float) and (is_set or x in text)})
    batch = step(name, o)
    leaves = [x.requires_grad_() for s in batch.seqs.values() for x in (s.logp, s.extra["values"])]
    if name == "reward":
        leaves.append(batch.per_row["reward"].requires_grad_())
    role = {"sftmix": "mix_sure", "pretrain": "text"}.get(name, "answer")
    told, ours = ([loss.detach(), *torch.autograd.grad(loss + 0 * leaves[0].sum(), leaves,
                                                       allow_unused=True, materialize_grads=True)]
                  for loss in (value(line.loss, known(line, batch, o, role)).mean(),
                               o.loss(batch)[0]))
    same(ours[0], told[0], 1e-9,
         f"L = {line.loss} is not the loss of the code: change the wrong one.")
    for x, y in zip(ours[1:], told[1:]):
        same(x, y, 1e-9, HELD["sg(" in text])


def test_the_lines_of_pytorch_in_the_head_of_grpo_are_its_loss():
    """As they stand there, with the default settings; and so is their gradient."""
    below = HEADS["grpo"].partition("In PyTorch, ")[2].split("\n")[1:]
    code = [line.strip() for line in itertools.takewhile(lambda x: x.startswith("    "), below)]
    o = OBJECTIVES["grpo"]()
    batch = step("grpo", o)
    s, eps = batch.seqs["answer"], o.eps
    s.logp.requires_grad_()
    names = {"torch": torch, "rewards": batch.per_row["reward"].view(-1, o.samples), "eps": eps,
             "beta": o.beta, "logp": s.logp, "old_logp": s.sampled_logp, "ref_logp": s.ref_logp,
             "mask": s.mask}
    exec("\n".join(code), names)
    assert ((names["ratio"] - 1).abs() > eps).any(), "some tokens are beyond the clip"
    for told, ours in zip(*([x.detach(), *torch.autograd.grad(x, s.logp)]
                            for x in (names["loss"], o.loss(batch)[0]))):
        same(told, ours, 1e-9)


def test_another_meaning_of_a_letter_that_all_heads_share_is_shown():
    """It was once left out in silence, and the page of methods had an equation without it."""
    own = "    r = beta (1 - exp(-A))\n    L = -log sigmoid( r_w - r_l )"
    assert equations("mine", own)[0].formulas == {"r": "beta (1 - exp(-A))"}
    assert not equations("mine", own.replace("beta (1 - exp(-A))", SHARED["r"]))[0].formulas


def test_every_equation_may_read_how_much_of_the_run_is_done():
    """Only CHORD's could, so a schedule of beta for DPO had no equation."""
    o = OBJECTIVES["dpo"]()
    line = replace(LINES["dpo"], formulas={"b": "cos(pi progress)"})
    assert float(known(line, step("dpo", o), o, "chosen")("b")) == pytest.approx(math.cos(0.942478))


def test_the_number_of_a_paper_before_2015_has_four_digits():
    assert paper("Tang 2013, arXiv:1306.0239 (Eq. 6)") == "1306.0239"
    assert paper("arXiv:2305.18290") == "2305.18290"


def test_a_letter_that_the_head_explains_is_no_column_of_the_rows():
    """Rows have a column p, too; a head with p = ... was read with it."""
    o = OBJECTIVES["dpo"]()
    batch, line = step("dpo", o), replace(LINES["dpo"], formulas={"p": "beta"})
    assert "p" in batch.per_row and float(known(line, batch, o, "answer")("p")) == o.beta
