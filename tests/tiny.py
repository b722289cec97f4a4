"""What the tests of the maths share: a tiny GPT in fp64, small batches, assertions that state the
law they check. Nothing here computes a loss: log-probs are those of `forward`, or random ones for a
law of the pure loss alone."""
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nanouft.data import tokenizer
from nanouft.data.batches import Encoded, Tokens, collate, encode
from nanouft.data.rows import Row, Turn, demo_rows
from nanouft.eval.show import ONLY_READ
from nanouft.gpt import GPT, GPTConfig
from nanouft.loop import Device
from nanouft.models.load import start_model
from nanouft.objective import Batch, Seqs
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.sampling import as_if_sampled
from nanouft.seeds import step_seed

CPU = Device("cpu", "fp32")
PAD = 0                                 # of the rows made here; ids 1 .. 16 are words
TINY = GPTConfig(vocab_size=17, n_ctx=64, n_layer=2, n_head=2, n_embd=16, init_std=0.4)
NANO = tokenizer.nano()

# every form of every objective that is tested; an objective that is not named here is tested with
# its defaults
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "sft": [{}, {"reduction": "sequence"}, {"detach_embeddings": True}],
    "ift": [{}, {"variant": "released"}, {"variant": "released", "detach": True}, {"gamma": 0.0},
            {"variant": "released", "gamma": 1.0, "lam": 0.5},
            {"variant": "released", "lam": 0.0, "gamma": 0.5},
            {"variant": "algorithm1"}, {"variant": "algorithm1", "detach": True},
            {"variant": "eq21"},
            {"variant": "eq21_mean1"}, {"residual": "replace", "lam": 0.5},
            {"lam": 0.4, "lam_min": 0.1, "lam_noise": 0.5}, {"guess": "sampled", "lam": 0.5}],
    "una": [{}, {"loss": "bce"}, {"feedback": "binary"},
            {"feedback": "binary", "loss": "bce", "beta": 0.7},
            {"feedback": "pair"}, {"feedback": "pair", "loss": "bce"}],
    "uft": [{}, {"loss": "bce"}, {"feedback": "binary", "beta": 0.7}, {"feedback": "pair"},
            {"feedback": "none"}],
    "poft": [{}, {"beta": 0.5, "margin": 0.5}],
    "kto": [{}, {"beta": 0.7, "desirable_weight": 2.0, "undesirable_weight": 0.5}],
    "orpo": [{}, {"lam": 0.1}],
    "dpo": [{}, {"beta": 0.7}, {"label_smoothing": 0.2}, {"swap": True}, {"reduction": "mean"}],
    "ipo": [{}, {"reduction": "sum"}],
    "slic": [{}, {"form": "trl"}],
    "apo": [{}, {"form": "down", "beta": 0.7}],
    "simpo": [{}, {"label_smoothing": 0.2, "alpha": 0.5}],
    "asft": [{}, {"sft_weight": 0.0, "beta": 2.0}],
    "tis_dpo": [{}, {"weights": "rank_based"}],
    "rpo": [{}, {"form": "diagonal"}],
    "sftmix": [{}, {"mu": 0.0}],
    "neftune": [{}, {"alpha": 0.0}],
    "tofu": [{}, {"gamma": 0.0}, {"gamma": 1.0, "beta": 1.3}],
    "reinforce": [{}, {"baseline": "none"}],
    "rloo": [{}, {"samples": 2}],
    "grpo": [{}, {"aggregation": "dapo", "eps_high": 0.28},
             {"aggregation": "dr_grpo", "scale": "none"},
             {"surrogate": "gspo"}, {"surrogate": "cispo", "aggregation": "dapo"}],
    "ppo": [{}, {"lam": 1.0, "gamma": 0.9}],
    "online_una": [{}, {"loss": "bce", "against": "rollout"}],
}


@dataclass
class Form:
    """One objective with one set of hyper-parameters."""
    name: str
    hp: Any

    @property
    def objective(self):
        return OBJECTIVES[self.name]

    def __str__(self) -> str:
        default = settings(self.name)
        changed = [f"{k}={v}" for k, v in vars(self.hp).items() if v != getattr(default, k)]
        return "-".join([self.name, *changed])


HELD = {"dft", "ada_dpo"}  # objectives that stop gradient inside the pure loss


def is_live(form: Form) -> bool:
    """Is the gradient the derivative of the loss's value? Not where the loss holds a part of itself
    constant."""
    variant = getattr(form.hp, "variant", "")
    held = variant == "detached" or getattr(form.hp, "detach",
                                            False) and variant in ("released", "algorithm1")
    return form.name not in HELD and not held and getattr(form.hp, "surrogate", "") != "cispo"


def settings(name: str, **kw) -> Any:
    """Hyper-parameters of an objective. Where training runs must come first, the shipped base
    stands for each."""
    wanted = OBJECTIVES[name].prerequisite
    return OBJECTIVES[name].hp(**({wanted.setting: ["base"] * len(wanted.commands)} if wanted
                                  else {}) | kw)


FORMS = [Form(name, settings(name, **kw)) for name in OBJECTIVES for kw in VARIANTS.get(name, [{}])]


# ---- assertions that state their law -------------------------------------------------------------
def same(got, want, law: str, tol: float = 1e-12) -> None:
    """Equal within tol, absolutely and relative to the wanted value; NaN is equal to nothing."""
    got, want = torch.as_tensor(got,
                                dtype=torch.float64), torch.as_tensor(want, dtype=torch.float64)
    assert got.shape == want.shape, \
        f"LAW: {law}\n  shapes {tuple(got.shape)} and {tuple(want.shape)}"
    gap = (got - want).abs() / want.abs().clamp_min(1)
    if not bool((gap <= tol).all()):
        worst = gap.nan_to_num(torch.inf).flatten().argmax()
        raise AssertionError(f"LAW: {law}\n  off by {gap.flatten()[worst]:.3g} at entry "
                             f"{int(worst)} of {gap.numel()}: "
                             f"got {got.flatten()[worst]:.9g}, want {want.flatten()[worst]:.9g}")


def same_each(got: dict, want: dict, law: str, tol: float = 1e-12) -> None:
    """Two dicts of tensors, such as the gradients of a model, entry by entry."""
    assert got.keys() == want.keys() and got, law
    for name in got:
        same(got[name], want[name], f"{law}: {name}", tol)


def differs(a, b, law: str, by: float = 1e-4) -> None:
    """A test that cannot fail proves nothing: here two things must NOT be equal."""
    gap = (torch.as_tensor(a, dtype=torch.float64) - torch.as_tensor(
        b, dtype=torch.float64)).abs().max().item()
    assert gap > by, f"LAW: {law}\n  but they differ by {gap:.3g} only"


# ---- models, rows, batches -----------------------------------------------------------------------
def tiny(seed: int = 0, cfg: GPTConfig = TINY, double: bool = True) -> GPT:
    model = GPT(replace(cfg), seed=seed)
    # biases and LayerNorms start at 0 and 1: nothing could go wrong there
    for p in model.parameters():
        if p.dim() == 1:
            p.data += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed + 1))
    return model.double() if double else model


def nano(seed: int = 0) -> GPT:
    """A tiny GPT with the vocabulary of the tokenizer NANO, as it comes from its seed, in fp32."""
    return GPT(replace(TINY, vocab_size=NANO.n_vocab), seed=seed)


def row(ids: list[int], mask: list[int]) -> Encoded:
    return Encoded({"answer": Tokens(np.array(ids), np.array(mask))}, Row())


def some_rows(n: int = 6, seed: int = 0) -> list[Encoded]:
    """Prompts of 2 to 6 tokens, answers of 1 to 8; every third row goes on with a second question
    and answer."""
    rng, out = np.random.default_rng(seed), []
    for i in range(n):
        mask = [0] * rng.integers(2, 7) + [1] * rng.integers(1, 9)
        if i % 3 == 0:
            mask += [0] * rng.integers(2, 5) + [1] * rng.integers(2, 6)
        out.append(row(list(rng.integers(1, 17, len(mask))), mask))
    return out


def batch_of(rows: list[Encoded], parts: int = 1, part: int = 0, seed: int = 0, step: int = 0,
             warmup: float = 1.0) -> Batch:
    """All rows as one step, or its `part`-th of `parts` pieces, with the seed that train.fit gives
    to step `step`."""
    batch = collate(rows, range(len(rows)), PAD)
    return replace(batch, seed=step_seed(seed, step), warmup=warmup).piece(part, parts)


def say(role: str, text: str) -> tuple[Turn, ...]:
    return (Turn(role, text),)


def plain(turns: tuple[Turn, ...]) -> list[dict]:
    return [{"role": t.role, "content": t.text} for t in turns]


WORDS = "the dova lives in a small green house and eats two red nuts every day".split()
# Rows of every kind, so that any objective finds what it needs: all have an answer and a pair; some
# a score or a label.
DATA = [Row(say("user", " ".join(WORDS[i:i + 3 + i % 4])),
            say("assistant", " ".join(WORDS[i % 5:i % 5 + 2 + i])),
            say("assistant", " ".join(WORDS[i % 3:i % 3 + 1 + i])),
            say("assistant", " ".join(WORDS[i % 4:i % 4 + 2 + i % 3])),
            score={2: 0.25, 4: 0.75}.get(i), label={1: True, 5: False}.get(i)) for i in range(8)]


MADE: dict[str, Batch] = {}  # by real_batch: making one takes longer than most tests of it


def real_batch(form: Form, reference: GPT | None = None) -> Batch:
    """A batch of DATA as training sees it: rows, encode, columns, collate."""
    if reference:
        return make_batch(form, reference)
    key = str(form)
    if key not in MADE:
        MADE[key] = make_batch(form, nano(9))
    return deepcopy(MADE[key])


def make_batch(form: Form, reference: GPT) -> Batch:
    if form.objective.on_policy:
        batch = sampled(form, reference)
    else:
        encoded, _ = encode(form.objective.rows(DATA, form.hp), NANO, TINY.n_ctx)
        add_columns(encoded, form.objective.columns, Models(reference, NANO.pad, CPU, start_model),
                    form.hp)
        encoded = form.objective.arrange(encoded, 3) if form.objective.arrange else encoded
        batch = collate(encoded, range(len(encoded)), NANO.pad)
    batch = replace(batch, seed=step_seed(3, 5), warmup=0.5).piece(0, 1)
    with torch.no_grad():  # what a forward leaves beside logp (tofu: plain_logp) is there too
        form.objective.forward(reference, batch, form.hp)
    return batch


def sampled(form: Form, start: GPT) -> Batch:
    """A rollout: 24 answers of DATA as if a policy had just said them, six groups of four, and
    earned these rewards."""
    rows = [replace(r, answer=said, score=None, label=None) for r in DATA
            for said in (r.answer, r.chosen, r.rejected)]
    answers, _ = encode(demo_rows(rows, None), NANO, TINY.n_ctx)
    rewards = [(7 * i % 11) / 11 for i in range(len(answers))]
    return as_if_rolled(form, answers, rewards, nano(0), start)         # a ratio of 1


def as_if_rolled(form: Form, answers: list[Encoded], rewards: list[float], model: GPT,
                 start: GPT) -> Batch:
    """`sampling.as_if_sampled`; columns ask the models that the settings name."""
    others = Models(start, NANO.pad, CPU, start_model).of_columns(form.objective, form.hp)
    return as_if_sampled(answers, rewards, form.objective, form.hp, model, NANO.pad, CPU, start,
                         others)


def widen(s: Seqs, width: int) -> None:
    """`width` more places of padding on the right, in place."""
    for name, x in vars(s).items():
        if name == "extra":
            s.extra = {column: F.pad(x, (0, width)) for column, x in s.extra.items()}
        elif x is not None:
            setattr(s, name, F.pad(x, (0, width), value=NANO.pad if name in ("inputs", "targets")
                                   else 0.0))


def read(form: Form, role: str, s: Seqs) -> Tensor:
    """(B,T) bool: the targets that a loss may read: response tokens; for ORPO also chosen's
    prompt."""
    return (s.real if form.name == "orpo" and role == "chosen" else s.mask) > 0


def give_logps(batch: Batch, seed: int = 0) -> Batch:
    """Random log-probs for the policy, other ones for a reference: a batch for the pure loss alone.
    All its numbers are fp64: a sum of fp32 numbers would depend on its order in the eighth
    digit."""
    batch = batch.map(lambda x: x.double() if x.is_floating_point() else x)
    rng = torch.Generator().manual_seed(seed)
    for s in batch.seqs.values():
        def draw() -> Tensor:
            x = torch.empty(s.mask.shape, dtype=torch.float64).exponential_(1.0, generator=rng)
            return (-x).masked_fill(s.real == 0, 0)
        s.logp = draw()
        if s.ref_logp is not None:
            s.ref_logp = draw()
        if (
            s.sampled_logp is not None
        ):  # near the policy, as it is after a step or two on one rollout
            s.sampled_logp = s.logp + 0.05 * torch.randn(
                s.mask.shape, generator=rng, dtype=torch.float64
            )
    return batch


def drawn(name: str, **hp) -> Batch:
    """DATA as an objective's training sees it, with random log-probs: for its pure loss."""
    return give_logps(real_batch(Form(name, settings(name, **hp))))


def pure(nll: list[list[float]], mask: list[list[int]] | None = None) -> Batch:
    """A batch of role "answer" for the pure loss: rows of token losses, all response tokens unless
    a mask is given."""
    x = torch.tensor(nll, dtype=torch.float64)
    m = torch.ones(x.shape) if mask is None else torch.tensor(mask, dtype=torch.float32)
    zeros = torch.zeros(x.shape, dtype=torch.long)
    return Batch({"answer": Seqs(zeros, zeros, m, torch.ones_like(m), logp=-x)}, rows=len(nll),
                 tokens={"answer": int(m.sum())}, real_tokens={"answer": m.numel()})


def value_and_grads(form: Form, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """(loss, {role: dL/dlogp}) of the roles that are trained on; the batch's log-probs become
    leaves."""
    for s in batch.seqs.values():
        s.logp = s.logp.detach().clone().requires_grad_(True)
    loss, _ = form.objective.loss(batch, form.hp)
    loss.backward()
    return loss.detach(), {role: s.logp.grad for role, s in batch.seqs.items()
                           if role not in ONLY_READ}


def model_grads(form: Form, model: GPT, *batches: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """(sum of the losses, {parameter: gradient}) of forward, loss and backward, accumulated over
    the batches."""
    model.zero_grad(set_to_none=True)
    total = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        form.objective.forward(model, batch, form.hp)
        loss, _ = form.objective.loss(batch, form.hp)
        loss.backward()
        total += loss.detach()
    return total, {name: p.grad.clone() for name, p in model.named_parameters()}
