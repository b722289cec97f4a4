"""A run is one run, however it is computed: interrupted and resumed, in less memory, compiled, in
half precision, or written out once more in simple.py."""
import itertools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from made import CPU, DATA, NANO, Form, batch_of, in_step, llama, nano, one_error, tiny, write_jsonl
from safetensors.torch import load_file
from test_lake import TASK, TWOWAY
from torch._dynamo.utils import counters

from frozen_lake.policies import Net
from frozen_lake.train import learn
from nanouft import pretrain, reward, simple, train, world
from nanouft.data.batches import Batching, RowSource, encode
from nanouft.device import Device
from nanouft.gpt import shipped_base
from nanouft.models.folders import save_model, start_model
from nanouft.objectives import OBJECTIVES
from nanouft.playground.record import model_after_each_step
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.rollout import Rollouts, Sampler
from nanouft.run import reference
from nanouft.run.checkpoint import CHECKPOINT, saved_step
from nanouft.run.folder import read_lines
from nanouft.run.hyperparameters import make_optimizer, warmup_cosine
from nanouft.run.reference import FrozenModels

# ---- runs, each by another way through the loop --------------------------------------------------
SAMPLED = "--reward r.py:f --max-new 6"
RUNS = {
    "ift": "ift --lam 0.5",                     # a second forward
    "neftune": "neftune",                       # draws random numbers
    "hft": "hft --eval-every 2",                # frozen weights, by the seed; held-out figures
    "dpo": "dpo",                               # the initial model's numbers
    "kto": "kto --items 3",                     # rows that read other rows; scores and answers
    "ppo": f"ppo {SAMPLED}",                    # a critic; four steps on each rollout
    "grpo": f"grpo --minibatches 2 --passes 2 {SAMPLED}",
    "compiled": "ift --lam 0.5 --compile --accumulate 2",
    "bf16": f"grpo --minibatches 2 --passes 2 {SAMPLED} --dtype bf16",
    "own": "rnd.py",                            # draws from Python's, numpy's and torch's own
    "fp16": "dpo"}                              # the flags refuse it on a CPU
if find_spec("peft"):                           # else neither is tested here
    RUNS |= {"lora": "sft --lora 2", "llama": "dpo --init llama --accumulate 2"}
OWN = """import random
import numpy, torch
from nanouft.objectives.sft import SFT

class Noisy(SFT):
    def loss(self, batch):
        loss, metrics = super().loss(batch)
        drawn = random.random() + numpy.random.rand() + torch.rand(())
        return loss * drawn, metrics | {"drawn": drawn}
"""
LESS = "--accumulate 3 --activation-checkpointing --save-every 2 --threads 1"


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


def trained(place: Path, line: str, kind: str = "") -> list:
    """A run in the folder `place`, which ends well and has called every hook; its scaler. Compiled
    it is by the backend that keeps PyTorch's operations, so no C compiler is needed. The scale of
    fp16 doubles after each two steps."""
    scalers: list = []
    compiler = torch.compile

    def impatient(device: Device):
        scalers.append(torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2,
                                            enabled=device.dtype == "fp16"))
        return scalers[-1]
    with pytest.MonkeyPatch.context() as now, hooks():
        now.chdir(place)
        now.setattr(torch, "compile", lambda *a, **how: compiler(*a, **how | {"backend": "eager"}))
        now.setattr(Device, "grad_scaler", impatient)
        if kind == "fp16":
            now.setattr(train.devices, "choose_device", lambda *_: Device("cpu", "fp16"))
        assert command(train.main, line.split()) == 0
    return scalers


@pytest.fixture(scope="module")
def place(belongings, tmp_path_factory) -> Path:
    """A folder with initial models, rows of every kind, and of each run the whole one, and one that
    was cut in its last step."""
    folder = tmp_path_factory.mktemp("runs")
    shutil.copytree(belongings, folder, dirs_exist_ok=True)
    if "llama" in RUNS:
        (folder / "llama").mkdir()
        save_model(folder / "llama", llama(True), NANO)
    (folder / "rnd.py").write_text(OWN)
    write_jsonl(folder / "rows.jsonl", ({"prompt": f"Say {x}.", **row} for i, x in enumerate(
        "fig pig bee oak nuts elm ant owl rake fox hen egg".split()) for row in (
            {"response": f"{x} {i}"}, {"chosen": f"{x} {i}", "rejected": x[::-1]},
            {"response": f"{x} " * 15, "score": i / 11},
            {"response": f"{x} " * 15, "label": i % 2 > 0})))
    torch._dynamo.reset()
    counters.clear()
    for name in RUNS:
        whole, cut = (folder / state / name for state in ("whole", "cut"))
        cut.parent.mkdir(exist_ok=True)
        with in_step(6, partial(shutil.copytree, whole, cut)):      # as a kill -9 would leave it
            trained(folder, f"{flags(RUNS[name])} --out whole/{name}", name)
    return folder


def flags(told: str) -> str:
    """The last of two equal flags counts."""
    return ("--data rows.jsonl --init start --steps 6 --batch-size 5 --lr 1e-3 --threads 1 "
            "--save-every 3 --device cpu " + "--plain " * ("--items" not in told)
            + f"--objective {told}")


def goes_on(run: str) -> str:
    """Code of your own is named again."""
    told = RUNS[Path(run).name]
    return (f"--resume {run}" + " --reward r.py:f" * (SAMPLED in told)
            + " --objective rnd.py" * ("rnd.py" in told))


def losses(run: Path, figure: str = "loss") -> list[float]:
    return [x[figure] for x in read_lines(run / "metrics.jsonl")]


def test_code_of_your_own_draws_other_numbers_in_each_step(place):
    assert len({*losses(place / "whole" / "own", "drawn")}) == 6


@pytest.mark.parametrize("name", RUNS)
def test_interrupted_and_resumed_it_has_the_same_bytes(name, place):
    """From its last save, between two rollouts. What the scaler of fp16 has learned is kept, too.
    tests/test_trainer.py asks it of transformers' Trainer."""
    shutil.copytree(place / "cut" / name, place / "again" / name)
    run, whole = place / "again" / name, place / "whole" / name
    assert saved_step(run) == (4 if SAMPLED in RUNS[name] else 3)
    scaler, = trained(place, goes_on(f"again/{name}"), name)
    assert name != "fp16" or scaler.get_scale() == 2.0**13
    for file in ("model.safetensors", "metrics.jsonl", "eval.json",
                 *["adapter/adapter_model.safetensors"] * ("--lora" in RUNS[name])):
        assert (run / file).read_bytes() == (whole / file).read_bytes(), file


def test_a_damaged_checkpoint_is_one_line_and_without_it_a_run_begins_anew(
        place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    again = shutil.copytree(place / "cut" / "dpo", place / "again" / "damaged")
    (again / CHECKPOINT).write_bytes(b"")
    assert command(train.main, ["--resume", str(again)]) == 2
    assert f"{CHECKPOINT}: cannot be read" in one_error(capsys)
    (again / CHECKPOINT).unlink()
    trained(place, "--resume again/damaged")
    assert "again/damaged: no checkpoint; starting again at step 1" in capsys.readouterr().out
    for file in ("model.safetensors", "metrics.jsonl"):
        assert (again / file).read_bytes() == (place / "whole" / "dpo" / file).read_bytes(), file
    assert saved_step(again) == 0


@pytest.mark.parametrize("name", [x for x in "ift neftune dpo ppo grpo lora".split() if x in RUNS])
def test_a_run_goes_on_in_less_memory(name, place):
    """As after "out of memory": with more micro-batches and with activations computed twice. So
    micro-batches change nothing."""
    run, whole = place / "cut" / name, place / "whole" / name
    trained(place, f"{goes_on(f'cut/{name}')} {LESS}")
    assert losses(run) == pytest.approx(losses(whole), rel=2e-5, abs=2e-5)
    got, want = (load_file(f / "model.safetensors") for f in (run, whole))
    assert got.keys() == want.keys()
    assert max((got[name] - want[name]).abs().max() for name in want) <= 2e-4


def test_a_change_of_memory_that_does_not_fit_a_run_is_one_line(place, capsys):
    for more, told in (("--accumulate 2", "kto compares all rows of a step"),
                       ("--accumulate 0", "--accumulate 0: must be at least 1"),
                       ("--lr 1", "only --accumulate, --activation-checkpointing")):
        assert command(train.main, f"--resume {place / 'cut' / 'kto'} {more}".split()) == 2
        assert told in one_error(capsys)


def test_a_compiled_run_is_two_graphs_whatever_the_shape_and_has_the_losses_of_a_plain_one(place):
    """All blocks together are one with gradient and one without, for IFT's two forwards of
    micro-batches of two and of three rows."""
    assert counters["stats"]["unique_graphs"] == 2 and not counters["graph_break"]
    got, want = (losses(place / "whole" / name) for name in ("compiled", "ift"))
    assert got == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("dtype, name", [("fp16", "dpo"), ("bf16", "grpo")])
def test_in_half_precision_it_is_nearly_the_same(dtype, name, place):
    """And the gradient is clipped after the scale of fp16 was taken out."""
    half, whole = place / "whole" / dtype, place / "whole" / name
    got, want = losses(half), losses(whole)
    assert got[0] == pytest.approx(want[0], abs=5e-3) and got != want
    assert np.isfinite(got).all() and len(got) == 6
    norms = [losses(run, "grad_norm")[0] for run in (half, whole)]
    assert norms[0] == pytest.approx(norms[1], rel=0.1)


def test_the_reference_is_read_in_the_precision_of_the_run(place):
    """So a run begins with log-ratios of 0: else what is rounded would be the first reward."""
    for dtype in ("bf16", "fp32"):
        line = f"dpo --steps 1 --save-every 0 --dtype {dtype} --out begun/{dtype}"
        trained(place, flags(line))
        run = place / "begun" / dtype
        assert (losses(run, "margin"), losses(run, "accuracy")) == ([0.0], [0.5])


@pytest.mark.slow
def test_no_first_step_in_fp16_is_left_out(monkeypatch):
    """Of SPPO on the shipped base, whose gradients are the largest of all methods."""
    fp16, model, o = Device("cpu", "fp16"), shipped_base(), OBJECTIVES["sppo"]()
    some, _ = encode(o.choose(world.rows("train", "pairs", 33, 0)), NANO, 512)
    scaler = fp16.grad_scaler()
    source = RowSource(FrozenModels(model, NANO.pad, fp16).prepare(some, o), Batching(8, 4),
                       NANO.pad)
    optimizer = make_optimizer(model, o.lr, fused=True)
    training = train.steps(model, o, source, optimizer, range(4), fp16, clip=1.0, scaler=scaler)
    assert len([*training]) == 4
    assert scaler.get_scale() == fp16.grad_scaler().get_scale()


@pytest.mark.parametrize("line, n", [
    ("dpo --steps 2", 8), ("kto --steps 1", 4), ("simpo --steps 2", 8), ("rpo --steps 2", 8),
    ("poft --steps 2 --aligned start", 8), ("tis_dpo --steps 1 --estimates start start", 4),
    ("dpo --steps 9", 0), ("sftmix --steps 1 --runs start start", 0), ("all.py --steps 1", 0)])
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
    run = f"part/{line.replace(' ', '')}"
    trained(place, f"{flags(line)} --batch-size 4 --save-every 0 --out {run}")
    rows = sources[0].data
    assert len(rows) > 8 and len(read) == (n or len(rows))
    assert n == 0 or read == identities([rows[i] for i in sources[0].order.ravel()])
    assert np.isfinite(losses(place / run)).all()


# ---- the contract of every method ----------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name not in RUNS])
def test_every_method_is_trained_by_its_command(name, place):
    """Which checks the settings, and lets the method change the model before it trains."""
    o = OBJECTIVES[name]
    first = [f"--{o.first_models.setting}", *["start"] * len(o.first_models.flags)
             ] if o.first_models else []
    sampled = [SAMPLED] if o().on_policy and o.scorer != "none" else []
    line = " ".join([name, *first, *sampled, "--steps 1 --save-every 0 --batch-size 4"])
    trained(place, f"{flags(line)} --out once/{name}")
    assert np.isfinite(losses(place / "once" / name)).all()


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


# ---- one step ------------------------------------------------------------------------------------
@pytest.mark.parametrize("n, share, up", [(20, 0.1, 2), (27, 0.1, 3), (24, 0.1, 2), (9, 0.3, 3),
                                          (5, 0.0, 1), (5, 1.0, 5)])
def test_the_rate_rises_for_the_nearest_number_of_steps_to_its_share(n, share, up):
    """In equal parts up to the peak, then half a cosine down to almost nothing."""
    rates = [warmup_cosine(3.0, n, share)(number) for number in range(n)]
    assert rates[:up] == pytest.approx([3.0 * (i + 1) / up for i in range(up)])
    assert rates[up:] == pytest.approx([1.5 * (1 + np.cos(np.pi * i / (n - up)))
                                        for i in range(n - up)])


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
    for step in (0, 4, 10, 17):
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


def test_simple_py_shows_the_prediction_beside_each_input_that_ift_mixes_it_into(capsys):
    """It is made one line earlier, and only in the answer."""
    assert simple.main(["--objective", "ift", "--steps", "1"]) == 0
    _, mixture, head, *lines = capsys.readouterr().out.partition("step")[0].splitlines()
    assert "80% of the input, 20% of the model's own prediction" in mixture
    assert head.split() == ["inputs", "prediction", "targets", "mask", "p"]
    words = [line.split() for line in lines]
    answer = [k for k, x in enumerate(words) if len(x) == 5]
    assert answer == [k + 1 for k, x in enumerate(words[:-1]) if x[-2] == "1"]
    shown = world.rows("val", "demos", 2, seed=5, skills=("sort",))[1:]
    inputs, *_ = simple.tokens(shown, "answer", NANO)
    base = shipped_base()
    own = base.greedy(base(inputs))[0].tolist()
    assert [words[k][1] for k in answer] == [NANO.decode([own[k - 1]]).strip() for k in answer]
    assert any(words[k][0] != words[k][1] for k in answer)


@pytest.mark.slow
def test_simple_py_shows_what_grpo_reads_and_that_it_learns(capsys):
    """Two groups, before and after."""
    assert simple.main(["--objective", "grpo", "--steps", "8"]) == 0
    out = capsys.readouterr().out
    assert out.count("   score ") == 4 * simple.SAMPLES and "loss" not in out
    advantages = [float(x) for x in re.findall(r"advantage ([+-]\S+)", out)]
    assert sum(advantages[:4]) == pytest.approx(0, abs=0.03) and max(advantages) > 1
    scores = [float(x) for x in re.findall(r"validation prompts (\S+)", out)]
    assert scores[-1] > scores[0] + 0.1


@pytest.mark.parametrize("name, names", [
    ("dpo", ["better", "worse"] * 2), ("una", ["score 1.00", "score 0.25"]),
    ("uft", ["score 1.00"] * 3 + ["score 0.25"])])
def test_simple_py_shows_answers_with_what_judges_them(name, names, capsys):
    """Before and after; to UFT a demonstration has the score 1."""
    assert simple.main(["--objective", name, "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert re.findall(r"^   (better|worse|score \S+) +log p +-", out, re.M) == names * 2
    assert "step   0   loss " in out and "step   1   loss " in out
    assert out.count("   before  ") == out.count("   after   ") > 1
