"""However a run is cut, it is the same run: in micro-batches, interrupted and resumed, or written
out once more in simple.py."""
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from made import (
    CPU,
    DATA,
    NANO,
    TINY,
    Form,
    batch_of,
    killed_in_step,
    nano,
    one_error,
    start_folder,
)
from safetensors.torch import load_file

from nanouft import rollout, simple, train, world
from nanouft.batch import Batch, Seqs
from nanouft.data.batches import Batching, RowSource, encode
from nanouft.generate import generate
from nanouft.gpt import shipped_base
from nanouft.loop import (
    DTYPES,
    Device,
    Update,
    make_optimizer,
    steps,
    warmup_cosine,
    warmup_linear,
    warmup_times_cosine,
)
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.objectives.chord import CHORD
from nanouft.objectives.poft import PoFT
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.checkpoint import whole_steps
from nanouft.run.folder import read_lines
from nanouft.run.reference import FrozenModels

# Together they pass through every branch of the loop: random draws, a second forward, frozen
# weights, the start model's numbers, rows that read other rows, embeddings of prompts, minibatches,
# a critic, LoRA.
RUNS = {"ift": ["--lam", "0.5"], "neftune": [],
        "hft": [], "dpo": [], "kto": [], "rpo": [], "ppo": ["--max-new", "6"],
        "grpo": ["--minibatches", "2", "--passes", "2", "--max-new", "6"]}
if find_spec("peft"):                   # else LoRA is not tested here
    RUNS["sft"] = ["--lora", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny start model and a whole run of each method."""
    folder = tmp_path_factory.mktemp("runs")
    start_folder(folder / "start")
    for name in RUNS:
        assert command(train.main, flags(folder, name)) == 0
    return folder


def flags(place: Path, name: str, *more: str, out: str = "whole") -> list[str]:
    return ["--init", str(place / "start"), "--objective", name, "--steps", "8", "--rows", "24",
            "--batch-size", "5", "--lr", "1e-3", "--plain", "--threads", "1", "--save-every", "4",
            *RUNS[name], *more, "--out", str(place / out / name)]


def losses(run: Path, figure: str = "loss") -> list[float]:
    return [x[figure] for x in read_lines(run / "metrics.jsonl")]


def is_the_same(run: Path, whole: Path, tol: float) -> None:
    assert losses(run) == pytest.approx(losses(whole), rel=tol, abs=tol) and len(losses(run)) == 8
    got, want = (load_file(f / "model.safetensors") for f in (run, whole))
    assert got.keys() == want.keys()
    for name in want:
        gap = (got[name] - want[name]).abs().max().item()
        assert gap <= tol * 10, f"{name} is {gap:.1e} away"


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("name", ["dpo", "grpo"])
def test_in_half_precision_it_is_nearly_the_same(name, dtype, place, monkeypatch):
    """fp16 has a scaler, whose state is kept in a step. (The flags refuse fp16 on a CPU.)"""
    monkeypatch.setattr(train.devices, "choose_device", lambda *_: Device("cpu", dtype))
    assert command(train.main, flags(place, name, out=dtype)) == 0
    got, want = losses(place / dtype / name), losses(place / "whole" / name)
    assert got[0] == pytest.approx(want[0], abs=5e-3) and got != want
    assert np.isfinite(got).all() and len(got) == 8
    scaled, plain = (losses(place / x / name, "grad_norm") for x in (dtype, "whole"))
    assert scaled[0] == pytest.approx(plain[0], rel=0.1), "clipped before the scale was taken out"


def test_a_resumed_run_goes_on_with_the_scale_of_its_fp16_gradients(place, monkeypatch):
    """Which here doubles after each three steps: after the third and the sixth of eight."""
    scalers = []

    def impatient(device: Device):
        scalers.append(torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3))
        return scalers[-1]
    monkeypatch.setattr(train.devices, "choose_device", lambda *_: Device("cpu", "fp16"))
    monkeypatch.setattr(train, "grad_scaler", impatient)
    with killed_in_step(7):
        assert command(train.main, flags(place, "dpo", out="scaled")) == 130
    assert command(train.main, ["--resume", str(place / "scaled" / "dpo")]) == 0
    assert len(scalers) == 2 and scalers[1].get_scale() == 2.0**12


@pytest.mark.parametrize("name", RUNS)
def test_interrupted_and_resumed_it_has_the_same_bytes(name, place):
    """As if it had been killed in its seventh step: resumed after the fourth."""
    with killed_in_step(7):
        assert command(train.main, flags(place, name, out="cut")) == 130
    run, whole = place / "cut" / name, place / "whole" / name
    assert whole_steps(run) == [4]
    assert command(train.main, ["--resume", str(run)]) == 0
    for file in ("model.safetensors", "metrics.jsonl",
                 *["adapter/adapter_model.safetensors"] * ("--lora" in RUNS[name])):
        assert (run / file).read_bytes() == (whole / file).read_bytes(), file


MEMORY = ["--accumulate", "3", "--activation-checkpointing", "--save-every", "2", "--threads", "1"]


@pytest.mark.parametrize("name", [name for name in RUNS if not OBJECTIVES[name].coupled])
def test_a_run_goes_on_in_less_memory(name, place):
    """As after "out of memory": with more micro-batches and with activations computed twice. So
    micro-batches change nothing."""
    with killed_in_step(7):
        assert command(train.main, flags(place, name, out="heavy")) == 130
    run = place / "heavy" / name
    assert command(train.main, ["--resume", str(run), *MEMORY]) == 0
    is_the_same(run, place / "whole" / name, 2e-5)


@pytest.mark.slow
def test_a_run_goes_on_in_less_memory_with_the_first_models_that_it_has(place, monkeypatch, capsys):
    """Whose folders are known by flags that change what they learn."""
    monkeypatch.chdir(place)
    RUNS["poft"] = []
    try:
        with monkeypatch.context() as now:
            now.setattr(PoFT, "loss", lambda *_: (_ for _ in ()).throw(UserError("stop")))
            assert command(train.main, flags(place, "poft", out="first")) == 2
    finally:
        del RUNS["poft"]
    capsys.readouterr()
    assert command(train.main, ["--resume", str(place / "first" / "poft"), *MEMORY]) == 0
    assert "needed first" not in capsys.readouterr().out


def test_a_change_of_memory_that_does_not_fit_a_run_is_one_line(place, capsys):
    run = place / "whole" / "kto"
    (run / "eval.json").unlink(missing_ok=True)
    for more, told in ((["--accumulate", "2"], "kto compares all rows of a step"),
                       (["--accumulate", "0"], "--accumulate 0: must be at least 1"),
                       (["--lr", "1"], "only --accumulate, --activation-checkpointing")):
        assert command(train.main, ["--resume", str(run), *more]) == 2
        assert told in one_error(capsys)


# ---- simple.py -----------------------------------------------------------------------------------
@pytest.mark.parametrize("name", [name for name in simple.METHODS if name != "chord"])
def test_simple_py_is_the_loop(name, place, monkeypatch):
    """In double: what differs is not rounding. For GRPO the loop reads simple.py's answers, because
    both round the log-probs of samples to fp32, after which a token may be drawn otherwise. Those
    of the first step are compared. A tiny model never scores, so another score stands in. 20 steps
    of SFT have a warm-up of two."""
    n, rate = {"sft": 20, "grpo": 3}.get(name, 6), 2e-3
    monkeypatch.setitem(simple.METHODS, name, (*simple.METHODS[name][:2], rate, n))
    monkeypatch.setattr(world, "score", lambda question, answer: len({*answer}) / 99)
    monkeypatch.setattr(simple, "ROWS", B := 8)
    monkeypatch.setitem(DTYPES, "fp32", torch.float64)      # Rollouts samples in double, too
    settings = {"poft": {"aligned": ["other"]}, "sft": {"reduction": "sequence"}}
    o = OBJECTIVES[name](**settings.get(name, {}))
    taught, tok = start_model(str(place / "start"))
    model, start, other = (start_model(str(place / "start"))[0].double() for _ in range(3))
    with torch.no_grad():
        other.wpe.weight.mul_(2)                        # an aligned model is not the start model
    kinds = ["demos"] if o.on_policy else o.kinds()
    rows = [row for together in zip(*(world.rows("train", kind, n * B, 0)
                                          for kind in kinds)) for row in together][:n * B]
    if o.on_policy:                                     # as a rollout sorts its prompts
        rows = [row for i in range(0, n * B, B) for row in
                sorted(rows[i:i + B], key=lambda r: len(tok.prompt_ids(r.prompt)))]
    answers: list = []

    def sampled(*args, **how):
        answers.append(generate(*args, **how))
        return answers[-1]

    def sampled_again(*args, **how):
        if len(answers) == n:
            assert [a.ids for a in generate(*args, **how)] == [a.ids for a in answers[0]]
        return answers.pop(0)
    monkeypatch.setattr(simple, "generate", sampled)
    monkeypatch.setattr(rollout, "generate", sampled_again)
    plain = simple.train(taught.double(), rows, tok, name, n, other if name == "poft" else None)
    encoded, _ = encode([x for row in rows for x in o.choose([row])], tok, model.cfg.n_ctx)
    if o.on_policy:
        source = Rollouts(encoded, o, Sampler(model, start, tok), lambda rows, texts: [
            world.score("", text) for text in texts], Batching(B, n))
    else:
        models = FrozenModels(start, tok.pad, CPU, lambda folder: (other, tok))
        source = RowSource(models.prepare(encoded, o), Batching(B, n), tok.pad)
    source.order = np.arange(n * B).reshape(n, B)       # the rows as they come
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.95), weight_decay=0.0)
    update = Update(optimizer, warmup_cosine(rate, n, 0.1), clip=1.0)
    loop = steps(model, o, source, update, range(n))
    assert [float(s.sums["loss"]) for s in loop] == pytest.approx(plain, abs=1e-6)
    was, theirs = dict(start.named_parameters()), dict(taught.named_parameters())
    for weight, p in model.named_parameters():
        way, gap = (p - was[weight]).abs().max(), (p - theirs[weight]).abs().max()
        assert gap <= 0.01 * way, weight


@pytest.mark.parametrize("n, share, up", [(20, 0.1, 2), (27, 0.1, 3), (24, 0.1, 2), (9, 0.3, 3),
                                          (5, 0.0, 1), (5, 1.0, 5)])
def test_the_rate_rises_for_the_nearest_number_of_steps_to_its_share(n, share, up):
    """In equal parts up to the peak, then half a cosine down to almost nothing."""
    rates = [warmup_cosine(3.0, n, share)(number) for number in range(n)]
    assert rates[:up] == pytest.approx([3.0 * (i + 1) / up for i in range(up)])
    assert rates[up:] == pytest.approx([1.5 * (1 + np.cos(np.pi * i / (n - up)))
                                        for i in range(n - up)])


def test_the_rate_of_a_base_and_of_a_reward_model_rises_from_the_first_step_on():
    base, judge = warmup_linear(3.0, 200), warmup_times_cosine(3.0, 20)
    assert [base(n) for n in (0, 59, 79, 140)] == pytest.approx([0.05, 3, 3, 1.5])
    assert 0 < judge(0) < judge(1) < 3 and 0 < judge(19) < 0.1


@pytest.mark.parametrize("clip", [{}, {"clip": 1.0}])
def test_a_gradient_is_clipped_only_if_it_is_asked_for(clip, monkeypatch):
    form, model = Form("sft"), nano()
    before = [p.detach().clone() for p in model.parameters()]
    loss = form.objective.loss
    monkeypatch.setattr(form.objective, "loss", lambda batch: (1e6 * loss(batch)[0], {}))
    update = Update(torch.optim.SGD(model.parameters(), lr=1.0), **clip)
    step, = steps(model, form.objective, lambda number: batch_of(form), update, [0])
    way = sum((p.detach() - q).square().sum() for p, q in zip(model.parameters(), before)).sqrt()
    assert float(step.norm) > 1e4
    assert float(way) == pytest.approx(1.0 if clip else float(step.norm), rel=1e-3)


def test_without_a_schedule_each_group_of_weights_keeps_its_own_rate():
    form, model = Form("sft"), nano()
    head, *rest = model.parameters()
    optimizer = torch.optim.SGD([{"params": [head], "lr": 0.5}, {"params": rest}], lr=0.1)
    for _ in steps(model, form.objective, lambda number: batch_of(form), Update(optimizer), [0]):
        pass
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.1]


def test_a_step_tells_its_answer_tokens_and_all_that_were_read():
    """`tokens` of the log are answers alone; the speed, tok/s, counts prompts too. What it leaves
    holds no graph in memory."""
    form, model = Form("dpo"), nano()
    batch = batch_of(form)
    update = Update(make_optimizer(model, 1e-3, fused=True))
    step, = steps(model, form.objective, lambda number: batch, update, [0])
    some, _ = encode(form.objective.choose(DATA), NANO, TINY.n_ctx)
    seqs = [s for e in some for s in e.seqs.values()]
    assert step.tokens == sum(int(s.mask.sum()) for s in seqs)
    assert step.tokens_read == sum(len(s.ids) - 1 for s in seqs) > 1.5 * step.tokens
    assert not any(x.requires_grad for x in [*step.sums.values(), step.norm])


def test_a_step_is_taken_in_as_many_micro_batches_as_its_source_says(monkeypatch):
    form, rows = Form("sft"), []
    forward = form.objective.forward

    def counted(model, batch):
        rows.append(len(batch.seqs["answer"].inputs))
        forward(model, batch)
    monkeypatch.setattr(form.objective, "forward", counted)
    some, _ = encode(form.objective.choose(DATA), NANO, TINY.n_ctx)
    source, model = RowSource(some, Batching(batch_size=2, steps=1, accumulate=2), NANO.pad), nano()
    update = Update(make_optimizer(model, 1e-3, fused=True))
    list(steps(model, form.objective, source, update, [0]))
    assert rows == [1, 1]


@pytest.mark.parametrize("step", [0, 4, 10, 17])
def test_simple_py_has_the_loss_of_chord(step, monkeypatch):
    """Its gradient, at the top of the weight's fall, on the way and at its end. The loop has an
    order of its own for demonstrations, so a step is compared and not a run."""
    method = CHORD(weigh="phi", mu=simple.MU, mu_end=simple.MU_END, decay=simple.FALL / 20)
    assert (method.samples, method.lr) == (simple.SAMPLES, simple.METHODS["chord"][2])
    rows, model, tok = world.rows("train", "demos", 6, 0), shipped_base(), NANO
    inputs, targets, mask, score = simple.sample_answers(model, rows, tok, step)
    monkeypatch.setattr(simple, "sample_answers", lambda *args: (inputs, targets, mask, score))
    shown = [tok.chat(row.prompt, row.answer) if k == 0 else ([tok.pad] * 2, [0, 0])
             for row in rows for k in range(simple.SAMPLES)]
    seqs = {name: Seqs(i, t, m, (t != tok.pad).float()) for name, (i, t, m) in (
        ("answer", (inputs, targets, mask)), ("demo", simple.padded(shown, tok)))}
    batch, _ = method.credit(Batch.of(seqs, {"reward": score.flatten()}))
    batch.progress = step / 20
    method.forward(model, batch)
    losses = (simple.chord_loss(model, model, rows, tok, step), method.loss(batch)[0])
    ours, theirs = (torch.cat([g.flatten() for g in torch.autograd.grad(
        loss, list(model.parameters()), allow_unused=True, materialize_grads=True)])
        for loss in losses)
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()


def test_a_value_head_learns_thirty_times_as_fast():
    form, model = Form("ppo"), nano()
    before = deepcopy(model.state_dict())
    optimizer = make_optimizer(model, 1e-3, fused=True)
    update = Update(optimizer, schedule=lambda step: 1e-5)
    for _ in steps(model, form.objective, lambda step: batch_of(form), update, [0]):
        now = model.state_dict()
    moved = {name: (now[name] - before[name]).abs().max().item() for name in before}
    assert moved["value.weight"] == pytest.approx(30e-5, rel=0.01)
    assert moved["wpe.weight"] == pytest.approx(1e-5, rel=0.01), "AdamW's first step is the rate"


def test_simple_py_has_the_rows_and_the_rates_of_the_methods():
    for name, (_, kinds, rate, _) in simple.METHODS.items():
        o = OBJECTIVES[name]()
        assert name in ("grpo", "chord") or (kinds, rate) == (o.kinds(), o.lr), name


def test_simple_py_shows_rows_as_the_loss_reads_them(capsys):
    """The target of a line is the input of the next, and the mask counts the answer with its
    <|end|>, not the question and not the padding."""
    rows = world.rows("train", "demos", 3, 0, skills=("fact", "sort", "reverse"))
    simple.show_rows(rows, NANO)
    head, *lines = capsys.readouterr().out.splitlines()
    cells = [line.split() for line in lines]
    assert head.split() == ["inputs", "targets", "mask"] * 3
    for k, row in enumerate(rows):
        inputs, targets, mask = zip(*(line[3 * k:3 * k + 3] for line in cells))
        assert inputs[0] == "<|user|>" and inputs[1:] == targets[:-1]
        counted = " ".join(word for word, counts in zip(targets, mask) if counts == "1")
        assert counted.replace(" ", "") == row.answer[0].text.replace(" ", "") + "<|end|>"


def test_simple_py_prints_answers_before_and_after(capsys):
    assert simple.main(["--objective", "uft", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "step   0   loss " in out and "step   1   loss " in out
    assert out.count("   before  ") == out.count("   after   ") == 3


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_mixed_precision_keeps_no_copies_of_weights(kind, dtype):
    """Copies that a forward without gradient made, as IFT's does, would let no gradient through in
    the next forward."""
    before = torch.is_autocast_cache_enabled()
    with Device(kind, dtype).autocast():
        assert not torch.is_autocast_cache_enabled()
    assert torch.is_autocast_cache_enabled() == before
