"""The loop: every method is trained by its command, a step is what its names say, and simple.py,
which writes the loop out once more, comes to the same weights."""
import itertools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import no_pictures
from made import CPU, DATA, NANO, Form, batch_of, nano, slow_but, tiny, write_jsonl
from test_lake import TASK, TWOWAY

from frozen_lake.policies import Net
from frozen_lake.train import learn
from nanouft import pretrain, reward, simple, train, world
from nanouft.data.batches import Batching, RowSource, encode
from nanouft.gpt import shipped_base
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.playground.record import model_after_each_step
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.rollout import Rollouts, Sampler
from nanouft.run import reference
from nanouft.run.folder import read_lines
from nanouft.run.hyperparameters import make_optimizer, warmup_cosine
from nanouft.run.reference import FrozenModels


# ---- every method --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def place(belongings, tmp_path_factory) -> Path:
    """A folder with an initial model and rows of every kind."""
    folder = tmp_path_factory.mktemp("loop")
    shutil.copytree(belongings, folder, dirs_exist_ok=True)
    write_jsonl(folder / "rows.jsonl", ({"prompt": f"Say {x}.", **row} for i, x in enumerate(
        "fig pig bee oak nuts elm ant owl rake fox hen egg".split()) for row in (
            {"response": f"{x} {i}"}, {"chosen": f"{x} {i}", "rejected": x[::-1]},
            {"response": f"{x} " * 15, "score": i / 11},
            {"response": f"{x} " * 15, "label": i % 2 > 0})))
    return folder


def trained(place: Path, method: str, run: str) -> list[float]:
    """The losses of a run of a method with its flags, which calls every hook."""
    line = ("--data rows.jsonl --init start --batch-size 4 --lr 1e-3 --threads 1 --save-every 0 "
            f"--device cpu --plain --objective {method} --out {run}")
    with pytest.MonkeyPatch.context() as now, no_pictures(), hooks():
        now.chdir(place)
        assert command(train.main, line.split()) == 0
    return [x["loss"] for x in read_lines(place / run / "metrics.jsonl")]


@contextmanager
def hooks() -> Iterator[None]:
    """Within this block `check` of a method is called, and `setup` with the seed 0."""
    seen = set()

    def watched(real, hook: str):
        def called(self, *args, **named):
            seen.add((hook, *args[1:], *named.values()))
            return real(self, *args, **named)
        return called
    with pytest.MonkeyPatch.context() as now:
        for cls, hook in itertools.product(OBJECTIVES.values(), ("check", "setup")):
            now.setattr(cls, hook, watched(getattr(cls, hook), hook))
        yield
        assert seen == {("check",), ("setup", 0)}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_method_is_trained_by_its_command(name, place):
    """Which checks the settings, and lets the method change the model before it trains."""
    o = OBJECTIVES[name]
    first = f"--{o.first_models.setting}" + " start" * len(o.first_models.flags) \
        if o.first_models else ""
    sampled = "--reward r.py:f" if o().on_policy and o.scorer != "none" else ""
    line = f"{name} --steps 1 --max-new 6 {first} {sampled}"
    assert np.isfinite(trained(place, line, name)).all()


def test_rollouts_the_playground_and_the_lake_call_every_hook_too():
    o, model = OBJECTIVES["grpo"](), nano()
    prompts, _ = encode(o.choose(world.rows("train", "prompts", 8, 0)), NANO, 50)
    with hooks():
        Rollouts(prompts, o, Sampler(model, model, NANO), lambda rows, texts: [0.5] * len(rows),
                 Batching(batch_size=2, steps=4))
    with hooks():
        next(model_after_each_step(Form("dpo").objective, nano(), NANO))
    with hooks():
        learn(TASK, Net(TWOWAY, 2), "dpo", 1)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_what_setup_adds_is_0_and_its_second_time_changes_nothing(name):
    """PPO has a critic, and keeps one that is there."""
    model, o = tiny(vocab_size=NANO.n_vocab), OBJECTIVES[name]()
    before = {*model.state_dict()}
    o.setup(model, 3)
    assert not any(x.any() for key, x in model.state_dict().items() if key not in before)
    assert hasattr(model, "value_head") == (name == "ppo")
    kept = []
    for _ in range(2):
        for p in model.parameters():
            p.data += 1 - len(kept)
        kept.append([(key, p.requires_grad, p.tolist()) for key, p in model.named_parameters()])
        o.setup(model, 3)
    assert kept[0] == kept[1]


@pytest.mark.parametrize("line, n", [
    ("dpo --steps 2", 8), ("kto --steps 1", 4), ("poft --steps 2 --aligned start", 8),
    ("tis_dpo --steps 1 --estimates start start", 4), ("all.py --steps 1", 0)])
def test_frozen_models_read_the_rows_that_a_step_reads(line, n, place, monkeypatch):
    """And no others, which have no log-probs. A method whose `prepare` may change the rows gets all
    of them (n is 0), because it decides which they are."""
    (place / "all.py").write_text(
        "from nanouft.objectives.dpo import DPO\n\nclass All(DPO):\n"
        "    def prepare(self, data, models, seed):\n        return data[::-1]\n")
    read, real, sources = set(), reference.batches, list[RowSource]()

    def identities(rows: list) -> set:
        return {(e.row.where, *(t.ids.tobytes() for t in e.seqs.values())) for e in rows}

    def watched(data: list, *how) -> Iterator:
        if "held-out" not in how[-1]:
            read.update(identities(data))
        return real(data, *how)

    def source(*told) -> RowSource:
        sources.append(RowSource(*told))
        return sources[-1]
    monkeypatch.setattr(reference, "batches", watched)
    monkeypatch.setattr(train, "RowSource", source)
    assert np.isfinite(trained(place, line, f"{line.split()[0]}_part")).all()
    rows = sources[0].data
    assert len(rows) > 8 and len(read) == (n or len(rows))
    assert n == 0 or read == identities([rows[i] for i in sources[0].order.ravel()])


# ---- one step ------------------------------------------------------------------------------------
def test_the_rate_of_a_base_and_of_a_reward_model_rises_from_the_first_step_on():
    base, judge = pretrain.warmup_linear(3.0, 200), reward.schedule_of_reward_model(3.0, 20)
    assert [base(n) for n in (0, 59, 79, 140)] == pytest.approx([0.05, 3, 3, 1.5])
    assert 0 < judge(0) < judge(1) < 3 and 0 < judge(19) < 0.1


def stepped(name: str, optimizer, **how) -> tuple[train.Step, dict[str, torch.Tensor]]:
    """A step of a method on DATA, and how far it has moved each weight."""
    form, model = Form(name), nano()
    before = deepcopy(model.state_dict())
    step, = train.steps(model, form.objective, lambda number: batch_of(form), optimizer(model), [0],
                        **how)
    return step, {name: p - before[name] for name, p in model.state_dict().items()}


@pytest.mark.parametrize("clip", [{}, {"clip": 0.1}])
def test_a_gradient_is_clipped_only_if_it_is_asked_for(clip):
    step, moved = stepped("sft", lambda model: torch.optim.SGD(model.parameters(), lr=1.0), **clip)
    way = torch.stack([x.norm() for x in moved.values()]).norm()
    assert step.norm > 1
    assert float(way) == pytest.approx(clip.get("clip", float(step.norm)), rel=1e-3)


def test_without_a_schedule_each_group_of_weights_keeps_its_own_rate():
    _, moved = stepped("sft", lambda model: torch.optim.SGD([
        {"params": [model.wte.weight], "lr": 0.0}, {"params": [model.wpe.weight]}], lr=0.1))
    assert moved["wpe.weight"].any() and not moved["wte.weight"].any()


def test_a_step_tells_its_answer_tokens_and_all_that_were_read():
    """`tokens` of the log are answers alone; the speed, tok/s, counts prompts too. What it leaves
    holds no graph in memory."""
    step, _ = stepped("dpo", lambda model: make_optimizer(model, 1e-3, fused=True))
    some, _ = encode(OBJECTIVES["dpo"]().choose(DATA), NANO, 64)
    seqs = [s for e in some for s in e.seqs.values()]
    assert step.tokens == sum(int(s.mask.sum()) for s in seqs)
    assert step.tokens_read == sum(len(s.ids) - 1 for s in seqs) > 1.5 * step.tokens
    assert not any(x.requires_grad for x in [*step.sums.values(), step.norm])


def test_a_value_head_learns_thirty_times_as_fast():
    _, moved = stepped("ppo", lambda model: make_optimizer(model, 1e-3, fused=True),
                       schedule=lambda step: 1e-5)
    way = {name: float(x.abs().max()) for name, x in moved.items()}
    assert way["value_head.weight"] == pytest.approx(30e-5, rel=0.01)
    assert way["wpe.weight"] == pytest.approx(1e-5, rel=0.01), "AdamW's first step is the rate"


def test_a_step_is_taken_in_the_micro_batches_of_its_source_and_each_draws_its_own_numbers():
    o, model = OBJECTIVES["sft"](), nano()
    some, _ = encode(o.choose(DATA), NANO, 64)
    source = RowSource(some, Batching(batch_size=2, steps=2, accumulate=3), NANO.pad)
    with pytest.raises(UserError, match="accumulate 3: a step has only 2 rows"):
        next(train.steps(model, o, source, make_optimizer(model, 1e-3), [0]))
    assert source(0).seed != source(1).seed


# ---- simple.py -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [x for x in simple.METHODS if x not in simple.SAMPLED])
def test_simple_py_is_the_loop(name, place, monkeypatch):
    """In double: what differs is not rounding. 15 steps of SFT have a warm-up of two. Weights are
    compared together: AdamW gives one whose gradient is rounding as large a step as any."""
    n, lr, B = {"sft": 15}.get(name, 5), 2e-3, 6
    loss, kinds, own_rate, _ = simple.METHODS[name]
    monkeypatch.setitem(simple.METHODS, name, (loss, kinds, lr, n))
    monkeypatch.setattr(simple, "ROWS", B)
    settings = {"poft": {"aligned": ["other"]}, "sft": {"reduction": "sequence"}}
    o = OBJECTIVES[name](**settings.get(name, {}))
    assert (kinds, own_rate) == (o.kinds(), o.lr)
    by_simple, tok = start_model(str(place / "start"))
    model, start, other = (start_model(str(place / "start"))[0].double() for _ in range(3))
    with torch.no_grad():
        other.wpe.weight.mul_(2)                        # an aligned model is not the initial model
    by_kind = (world.rows("train", kind, n * B, 0) for kind in kinds)
    rows = [row for together in zip(*by_kind) for row in together][:n * B]
    plain = simple.train(by_simple.double(), rows, tok, name, n, other if name == "poft" else None)
    encoded, _ = encode([x for row in rows for x in o.choose([row])], tok, model.cfg.n_ctx)
    models = FrozenModels(start, tok.pad, CPU, lambda folder: (other, tok))
    source = RowSource(models.prepare(encoded, o), Batching(B, n), tok.pad)
    source.order = np.arange(n * B).reshape(n, B)       # the rows as they come
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    schedule = warmup_cosine(lr, n, 0.1)
    done = train.steps(model, o, source, optimizer, range(n), schedule=schedule, clip=1.0)
    assert [float(s.sums["loss"]) for s in done] == pytest.approx(plain, abs=1e-6)
    was, theirs = dict(start.named_parameters()), dict(by_simple.named_parameters())
    for weight, p in model.named_parameters():
        way, gap = (p - was[weight]).norm(), (p - theirs[weight]).norm()
        assert gap <= 0.005 * way, weight


@pytest.mark.parametrize("name, settings", [
    ("grpo", {"beta": 0.0}),
    ("chord", {"weigh": "phi", "mu": simple.MU, "mu_end": simple.MU_END,
               "decay": simple.FALL / 20})])
def test_simple_py_has_the_losses_of_methods_that_sample(name, settings, monkeypatch):
    """Their answers to prompts in the order of a rollout, and their gradients: CHORD's at the top
    of the weight's fall, on the way and at its end."""
    loss_of, _, lr, _ = simple.METHODS[name]
    method, model, start, tok = OBJECTIVES[name](**settings), shipped_base(), nano(), NANO
    assert lr == method.lr or name == "grpo"
    rows = sorted(world.rows("train", "demos", 3, 0), key=lambda r: len(tok.prompt_ids(r.prompt)))
    encoded, _ = encode(method.choose(rows), tok, model.cfg.n_ctx)
    source = Rollouts(encoded, method, Sampler(model, start, tok), lambda rows, texts: [
        world.score(r.prompt[0].text, x) for r, x in zip(rows, texts)], Batching(3, 1))
    source.order = np.arange(3)[None]
    batch = train.collect(source, 0)
    s = batch.seqs["answer"]
    _, *sampled = told = simple.sample_answers(model, rows, tok, 0)
    for x, y in zip((s.targets, s.mask, batch.per_row["reward"].view(3, -1)), sampled):
        assert torch.equal(x, y)
    monkeypatch.setattr(simple, "sample_answers", lambda *args: told)
    for step in (0, 4, 17) if name == "chord" else (0,):
        batch.progress = step / 20
        method.forward(model, batch)
        by_simple = loss_of(model, start, rows, tok, step)
        ours, theirs = (torch.cat([g.flatten() for g in torch.autograd.grad(
            loss, list(model.parameters()), allow_unused=True, materialize_grads=True)])
            for loss in (by_simple, method.loss(batch)[0]))
        assert (ours - theirs).norm() < 1e-4 * theirs.norm(), step


def test_simple_py_shows_rows_as_the_loss_reads_them(capsys):
    """The target of a line is the input of the next, and the mask counts the answer with its
    <|end|>, not the question and not the padding."""
    rows = world.rows("train", "demos", 3, 0, skills=("fact", "sort", "reverse"))
    model = shipped_base()
    simple.show_rows(model, rows, NANO)
    _, head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["inputs", "targets", "mask", "p"] * 3
    cells = np.array([line.split() for line in lines]).reshape(len(lines), 3, 4)
    inputs, targets, mask, shown = cells.T                                  # (rows, tokens) each
    assert (inputs[:, 0] == "<|user|>").all() and (inputs[:, 1:] == targets[:, :-1]).all()
    for row, words, counts in zip(rows, targets, mask):
        assert "".join(words[counts == "1"]) == row.answer[0].text.replace(" ", "") + "<|end|>"
    ids, targets, _ = simple.tokens(rows, "answer", NANO)
    p = simple.token_logp(model.head(model(ids)), targets).exp()
    assert torch.allclose(torch.tensor(shown.astype(float)).float(), p, atol=0.006)


@pytest.mark.parametrize("name", slow_but("dpo, grpo", ["ift", "dpo", "uft", "grpo"]))
def test_simple_py_shows_what_the_loss_reads_before_and_after(name, capsys, monkeypatch, recorded):
    """IFT's prediction is made one line above the input that it is mixed into, and only in the
    answer; to UFT a demonstration has the score 1; GRPO centres the scores of a prompt."""
    monkeypatch.setattr(simple, "ROWS", 4)
    line = f"--objective {name} --steps 2"
    assert simple.main(line.split()) == 0
    digits = r"(?<=log p)( +)-?[\d.]+|(?<=loss )[\d.]+|(?<=prompts )[\d.]+|(?<=[01]    )\S+(?= *$)"
    shown, answers = re.sub(digits, "...", capsys.readouterr().out, flags=re.M).split("\n\n", 1)
    recorded("simple", f"simple {line}", shown)
    assert answers.count("   before  ") == answers.count("   after   ") == 3
