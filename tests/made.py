"""What the tests share: a tiny GPT, eight rows that serve every objective, every form of every
objective, and `same`. Nothing here computes a loss."""
import json
import re
import typing
from ast import literal_eval
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nanouft.batch import Batch, Seqs
from nanouft.data.batches import collate, encode
from nanouft.data.row import Row
from nanouft.data.selection import demo_rows
from nanouft.device import Device
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.folders import save_model
from nanouft.models.tokenizer import NANO_PATTERN, Tokenizer, Turn
from nanouft.models.tokenizer import nano as shipped
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.ranges import strip_annotations
from nanouft.plumbing.seeds import step_seed
from nanouft.rollout import credit_rollout, write_rollout_logps
from nanouft.run.reference import FrozenModels

CPU, NANO = Device("cpu", "fp32"), shipped()
BYTES = {bytes([b]): b for b in range(256)}
LETTERS = Tokenizer("letters", BYTES, NANO_PATTERN)     # each letter is a token: a test can count
ONLY_READ = ("mismatch",)               # roles that no loss trains on
TINY = GPTConfig(vocab_size=17, n_ctx=64, n_layer=2, n_head=2, n_embd=16, init_std=0.4)

# Forms of a method are its defaults, each other choice of a setting that has choices, and these, as
# "field value, field value; another form": numbers at which the code takes another branch. (That
# every number is read is tested with the equation, its ends in test_setting_ranges.py.)
MORE_FORMS = {
    "ift": "gamma 0.0; variant released, lam 0.0, gamma 0.5", "uft": "feedback binary, beta 0.7",
    "dpo": "label_smoothing 0.2", "apo": "form down, beta 0.7", "simpo": "alpha 0.5",
    "tofu": "gamma 0.0; gamma 1.0, beta 1.3", "p_alpha": "alpha 0.0; alpha 1.0",
    "rloo": "samples 2", "hpt": "gate 0.5, right 0.4, coef 0.3",
    "grpo": "aggregation dapo, eps_high 0.28; aggregation dr_grpo, scale none",
    "chord": "weigh phi, mu 0.1, mu_end 0.1"}

# What to change if the gradient of the code is another: {has the equation an sg: the sentence}
HELD = {
    False: "The code holds a part constant (detach, no_grad), and its equation has no sg: if the "
           "method means it, write sg( ) around that part in the head; if not, change the code.",
    True: "The equation holds a part constant (sg), and the code another part or none: if the "
          "method means it, detach that part in the code; if not, change the head."}


@dataclass
class Form:
    """One objective with one set of settings."""
    name: str
    told: str = ""

    def __post_init__(self):
        cls = OBJECTIVES[self.name]
        others = cls.first_models.stand_in("base") if cls.first_models else {}
        if self.name == "poft":
            others = {"aligned": ["base", "base"]}      # PoFT takes the mean of several
        self.objective: Any = cls(**others)
        for field, word in (pair.split() for pair in self.told.split(", ") if pair):
            value = word if word in choices_of(cls).get(field, ()) else literal_eval(word)
            self.objective = replace(self.objective, **{field: value})

    def __str__(self) -> str:
        return f"{self.name} {self.told}".strip()


def choices_of(cls) -> dict[str, tuple]:
    """{setting: all that it may be}, of those with a few choices."""
    kinds = {name: strip_annotations(hint)[0] for name, hint in typing.get_type_hints(cls).items()}
    return {name: (False, True) if kind is bool else typing.get_args(kind)
            for name, kind in kinds.items()
            if kind is bool or typing.get_origin(kind) is typing.Literal}


def forms_of(name: str) -> list[str]:
    cls = OBJECTIVES[name]
    others = [f"{field} {choice}" for field, choices in choices_of(cls).items()
              for choice in choices if choice != getattr(cls, field)]
    return ["", *others, *filter(None, MORE_FORMS.get(name, "").split("; "))]


FORMS = [Form(name, told) for name in OBJECTIVES for told in forms_of(name)]


def slow_but(quick: str, cases: Iterable) -> list:
    """The cases of a test; those that are not named here ("dpo, grpo") are slow."""
    return [x if str(x) in quick.split(", ") else pytest.param(x, marks=pytest.mark.slow)
            for x in cases]


def same(got, want, tol: float = 1e-12, why: str = "") -> None:
    """Equal within tol, absolutely and relative to the wanted value; NaN is equal to nothing.
    Dicts of tensors entry by entry. why: what to say of it if they differ."""
    if isinstance(want, dict):
        assert got.keys() == want.keys() and want
        for name in want:
            same(got[name], want[name], tol, why)
        return
    got, want = (torch.as_tensor(x, dtype=torch.float64) for x in (got, want))
    assert got.shape == want.shape
    gap = ((got - want).abs() / want.abs().clamp_min(1)).nan_to_num(torch.inf)
    assert not gap.numel() or gap.max() <= tol, f"off by {gap.max():.3g}. {why}"


def logits(model: Any, *ids: Tensor, **how: Any) -> Tensor:
    """(B,T,V) logits of all positions."""
    return model.head(model(*ids, **how))


def with_distinct_logits(model: Any) -> Any:
    """The same model. Logits that are all alike differ by a machine's own rounding alone."""
    with torch.no_grad():
        spread = logits(model, torch.arange(3)[None]).std(-1)
        assert spread.min() > 0.01, "a model whose logits are alike"
    return model


def tiny(seed: int = 0, **cfg) -> GPT:
    """A tiny GPT in which no bias and no LayerNorm stands at 0 or 1: there nothing could go
    wrong."""
    model = GPT(replace(TINY, **cfg), seed=seed)
    for p in model.parameters():
        if p.dim() == 1:
            p.data += 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(seed + 1))
    return with_distinct_logits(model)


def nano(seed: int = 0, **cfg) -> GPT:
    """With the tokenizer's vocabulary, and a critic for PPO."""
    model = tiny(seed, vocab_size=NANO.n_vocab, **cfg)
    model.value_head, rng = torch.nn.Linear(TINY.n_embd, 1), torch.Generator().manual_seed(seed)
    for p in model.value_head.parameters():
        p.data = 0.1 * torch.randn(p.shape, generator=rng)
    return model


def llama(tied: bool) -> Any:
    """A tiny model of transformers, whose head may be tied to its embedding."""
    import transformers

    from nanouft.models.hf import HFModel
    torch.manual_seed(0)
    net = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=NANO.n_vocab, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
        initializer_range=0.1, tie_word_embeddings=tied))
    return with_distinct_logits(HFModel(net.eval(), 128))


def start_folder(folder: Path) -> str:
    """A folder with a tiny model that runs can start from."""
    folder.mkdir(parents=True)
    model = GPT(GPTConfig(NANO.n_vocab, 128, 2, 2, 32), seed=0)
    save_model(folder, with_distinct_logits(model), NANO)
    (folder / "run.json").write_text('{"command": "pretrain", "tokenizer": "nano"}')
    return str(folder)


def write_jsonl(file: Path, rows) -> str:
    """A file of rows; its name."""
    file.write_text("".join(json.dumps(x) + "\n" for x in rows))
    return str(file)


PROGRESS = re.compile(r"%\||: [\d,]+ of [\d,]+ after ")    # a slow machine says how far it is


def one_error(capsys) -> str:
    """The one line on stderr, progress aside, with which a command ended."""
    err = [x for x in capsys.readouterr().err.splitlines() if x.strip() and not PROGRESS.search(x)]
    assert len(err) == 1 and err[0].startswith("error: "), err
    return err[0]


@contextmanager
def in_step(n: int, act: Callable[[], object]) -> Iterator[None]:
    """Within this block `act` is called where the n-th step of AdamW begins."""
    taken, step = [], torch.optim.AdamW.step

    def counted(self, *args, **kw):
        taken.append(1)
        if len(taken) == n:
            act()
        return step(self, *args, **kw)
    with pytest.MonkeyPatch.context() as now:
        now.setattr(torch.optim.AdamW, "step", counted)
        yield


def killed_in_step(n: int):
    """Within this block the n-th step of AdamW is interrupted, as by Ctrl-C."""
    def stops():
        raise KeyboardInterrupt
    return in_step(n, stops)


# ---- rows of every kind: all have an answer and a pair, some a score or a label ------------------
def say(role: str, text: str) -> tuple[Turn, ...]:
    return (Turn(role, text),)


WORDS = "the dova lives in a small green house and eats two red nuts every day".split()
DATA = [Row(say("user", " ".join(WORDS[i:i + 3 + i % 4])),
            *(say("assistant", " ".join(WORDS[i % a:i % a + n]))
              for a, n in ((5, 2 + i), (3, 1 + i), (4, 2 + i % 3))),
            score={2: 0.25, 4: 0.75, 5: 0.5}.get(i), label={1: True}.get(i))
        for i in range(8)]


def batch_of(form: Form) -> Batch:
    """DATA as its training sees it: rows, tokens, other models' columns, a rollout."""
    return prepared(str(form)).map(torch.clone)


def with_logps(form: Form) -> Batch:
    """The same in fp64 with random log-probs of policy, initial model and sampler: for the pure
    loss."""
    return drawn(str(form)).map(torch.clone)


@cache
def prepared(text: str) -> Batch:
    o, start = Form(*text.partition(" ")[::2]).objective, nano(9)
    if o.on_policy:                                     # 24 answers, six groups of four; one ties
        rows = [replace(r, answer=said, score=None, label=None) for r in DATA
                for said in (r.answer, r.chosen, r.rejected)]
        answers, _ = encode(demo_rows(rows), NANO, TINY.n_ctx)
        R = torch.tensor([0.5 if i < 4 else (7 * i % 11) / 11 for i in range(len(answers))])
        batch = collate(answers, range(len(answers)), NANO.pad)
        batch.per_row = {"reward": R, "score": R, "ended": (torch.arange(len(R)) % 5 > 0).float()}
        if "demos" in o.kinds():                        # beside the first answers to four prompts
            there = torch.tensor([float(i % 4 == 0 and i < 16) for i in range(len(R))])
            s = batch.seqs["answer"]
            demo = Seqs(s.targets, s.inputs, s.mask * there[:, None], s.not_padding)
            batch = Batch.of({"answer": s, "demo": demo},
                             batch.per_row | {"demo": there, "demo_reward": there})
        for role in batch.seqs:
            write_rollout_logps(batch, nano(), start, CPU, role)
        batch, _ = credit_rollout(batch, o)
    else:
        rows, _ = encode(o.choose(DATA), NANO, TINY.n_ctx)
        if o.first_models:                              # each is a model of its own
            names = ["2", "3"][:len(getattr(o, o.first_models.setting))]
            o = replace(o, **{o.first_models.setting: names})
        rows = FrozenModels(start, NANO.pad, CPU, lambda seed: (nano(int(seed)), NANO)
                            ).prepare(rows, o, 3)
        batch = collate(rows, range(len(rows)), NANO.pad)
    batch = replace(batch, seed=step_seed(3, 5))
    with torch.no_grad():
        o.forward(start, batch)                         # it may write more than logp
    return batch


@cache
def drawn(text: str) -> Batch:
    batch, rng = prepared(text).cast(torch.float64), torch.Generator().manual_seed(0)
    for s in batch.seqs.values():
        def draw() -> Tensor:
            x = torch.empty(s.mask.shape, dtype=torch.float64).exponential_(1.0, generator=rng)
            return -x * s.not_padding
        s.logp = draw()
        if s.ref_logp is not None:
            s.ref_logp = draw()
        if s.sampled_logp is not None:                  # near the policy, as after a step or two
            s.sampled_logp = s.logp + 0.05 * draw()
    return batch


def push(form: Form, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """(loss, {role: dL/dlogp} of the roles that are trained on)."""
    for s in batch.seqs.values():
        s.logp = s.logp.detach().clone().requires_grad_(True)
    loss, _ = form.objective.loss(batch)
    loss.backward()
    return loss.detach(), {role: s.logp.grad for role, s in batch.seqs.items()
                           if role not in ONLY_READ}


def learn(form: Form, model: GPT, parts) -> tuple[Tensor, dict[str, Tensor]]:
    """(sum of the losses, gradient of every weight) of forward, loss, backward of each part."""
    model.zero_grad(set_to_none=True)
    total = torch.zeros((), dtype=torch.float64)
    for part in parts:
        form.objective.forward(model, part)
        loss, _ = form.objective.loss(part)
        loss.backward()
        total += loss.detach()
    return total, {name: p.grad.clone() for name, p in model.named_parameters()
                   if p.grad is not None}
