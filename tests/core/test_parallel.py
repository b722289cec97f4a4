"""torchrun with two processes (gloo): the losses of one process for every objective, with shared
weights (--shard), too; only the first process speaks and writes.

Runs are made one after the other by the same two processes: starting them costs more than the runs.
"""
import os
import shutil
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from running import DEMOS, PAIRS, QUICK, ROOT, call, environment, lines, losses, metrics, one_error
from safetensors.torch import load_file
from tiny import CPU, FORMS, model_grads, nano, real_batch, same, same_each

from nanouft import pretrain, reward, train
from nanouft.loop import Device
from nanouft.objectives import OBJECTIVES
from nanouft.run import processes
from nanouft.run.micro_batches import MicroBatches
from nanouft.run.storage import read_json

pytestmark = pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(),
                                reason="torch without gloo")

SHORT = ["--steps", "3", "--rows", "24", "--batch-size", "5", "--lr", "1e-3", *QUICK]
PLAIN = ["--plain", "--save-every", "0"]
# A run for each way through the code, and its flags. The other objectives are `slow`: they differ
# in their loss alone.
RUNS = {
    "neftune": ["--freeze", "half", "--weight-decay", "0.1", "--accumulate", "2", "--eval-every",
                "2"],
    "ift": ["--residual", "replace", "--lam", "0.5", "--lam-noise", "0.3", *PLAIN],
    "kto": ["--accumulate", "2", *PLAIN],  # coupled rows
    "rpo": PLAIN,
    "sftmix": PLAIN,  # a model that must be made first
    "ppo": ["--minibatches", "1", "--accumulate", "2", *PLAIN],  # own answers
    "online_dpo": PLAIN}
SHARED = {"ift": PLAIN, "kto": RUNS["kto"], "dpo": ["--save-every", "2", "--eval-every", "2"]}
SHARED = SHARED if torch.__version__ >= "2.7" else {}       # torch 2.6 shares weights on a GPU only
TRAIN = """
import sys
from datetime import timedelta
from pathlib import Path
import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from running import be_brief
from nanouft import train
from nanouft.run import config, processes

be_brief()
# gloo cannot meet twice; who waits in vain ends
meet, part = dist.init_process_group, dist.destroy_process_group
dist.init_process_group = lambda *args, **more: dist.barrier() if dist.is_initialized() else meet(
    *args, **more | {"timeout": timedelta(seconds=60)})
dist.destroy_process_group = lambda: line is last and part()
*_, last = sys.argv


class Gathers(TorchDispatchMode):           # of which type weights were that were put together
    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        if op is torch.ops.c10d._allgather_base_.default:
            gathers.append(args[1].dtype)
        return op(*args, **kwargs or {})


made, gathered = train.make_optimizer, processes.unshard


def make(*args):
    global optimizer
    optimizer = made(*args)
    return optimizer


def check_shares(model, keep):
    '''Weights and optimizer state at the end of a run: half of the rows, rounded up.'''
    for p in filter(lambda p: p.requires_grad and "--shard" in line, model.parameters()):
        state = optimizer.state[p]
        for x in (p, state["exp_avg"], state["exp_avg_sq"]):
            mine = x.to_local().shape
            assert mine[0] <= -(-p.shape[0] // 2) and mine[1:] == p.shape[1:]
    gathered(model, keep)


train.make_optimizer, processes.unshard = make, check_shares
for line in sys.argv[1:]:
    if line.startswith("--resume"):             # as if it had been killed after its last saved step
        Path(line.split()[1], "eval.json").unlink(missing_ok=True)
    gathers = []
    with Gathers():
        assert config.run(train.main, line.split()) == 0, line
    # each step: the embeddings once, two blocks in three passes
    if "--shard" in line and "ift" in line:
        kind = torch.bfloat16 if "bf16" in line else torch.float32
        assert gathers == [kind] * 3 * (1 + 2 * 3), gathers
"""


def flags(name: str, init, more: list[str], out) -> list[str]:
    """A run of three steps; of five rows two processes (and two micro-batches each) cannot have
    equal shares."""
    if OBJECTIVES[name].on_policy:
        more = ["--max-new", "6", *more]
    asked = {"poft": "--aligned", "distill": "--teacher"}  # their models would take long to make
    if name in asked:
        more = [asked[name], "base", *more]
    return ["--init", str(init), "--objective", name, *SHORT, *more, "--out", str(out)]


def torchrun(place, runs: list[list[str]]) -> str:
    """What two processes say that make these runs. The system picks a free port (--standalone), so
    that tests may run side by side."""
    (place / "train_each.py").write_text(TRAIN)
    env = environment()
    env["PYTHONPATH"] += os.pathsep + str(ROOT / "tests")
    got = subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone",
                          "--nproc_per_node=2", "train_each.py", *map(" ".join, runs)], cwd=place,
                         env=env, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
                         errors="replace", timeout=300)
    assert got.returncode == 0, got.stderr
    return got.stdout


@pytest.fixture(scope="module")
def two(tiny_base, tmp_path_factory):
    """(folder, what was said)"""
    place = tmp_path_factory.mktemp("two")
    runs = [flags(name, tiny_base, more, f"out/{name}") for name, more in RUNS.items()]
    runs += [flags(name, tiny_base, [*more, "--shard"], f"out/{name}-shard")
             for name, more in SHARED.items()]
    return place / "out", torchrun(place,
                                   [*runs, *([["--resume", "out/dpo-shard"]] if SHARED else [])])


@pytest.fixture(scope="module")
def others(tiny_base, tmp_path_factory):
    place = tmp_path_factory.mktemp("others")
    runs = [flags(name, tiny_base, PLAIN, f"out/{name}") for name in OBJECTIVES if name not in RUNS]
    return place / "out", torchrun(place, runs)


def as_one(both, one, near: float = 1) -> None:
    """Every number of every step is that of one process. `near`: by how much rounding is coarser
    than that of fp32."""
    for line, want in zip(metrics(both), metrics(one), strict=True):
        held, want_held = line.pop("held_out", {}), want.pop("held_out", {})
        assert line == pytest.approx(want, rel=1e-4 * near, abs=1e-5 * near)
        assert held == pytest.approx(want_held, rel=1e-4)
    assert losses(both) == pytest.approx(losses(one), rel=1e-5 * near, abs=1e-6) \
        and len(losses(both)) == 3


@pytest.mark.parametrize("name", [n if n in RUNS else pytest.param(n, marks=pytest.mark.slow)
                                  for n in OBJECTIVES])
def test_two_processes_give_the_numbers_of_one(name, request, here, tiny_base, brief):
    both = request.getfixturevalue("two" if name in RUNS else "others")[0] / name
    assert call(train.main, *flags(name, tiny_base, RUNS.get(name, PLAIN), "one")) == 0
    as_one(both, here / "one")
    looks = [read_json(f / "eval.json")["after"]["held_out"] for f in (both, here / "one")]
    assert looks[0] == pytest.approx(looks[1], rel=1e-4)


@pytest.mark.parametrize("name", SHARED)
def test_shared_weights_give_the_numbers_of_one_process(name, two, here, tiny_base, brief):
    assert call(train.main, *flags(name, tiny_base, SHARED[name], "one")) == 0
    shared = two[0] / f"{name}-shard"
    as_one(shared, here / "one")
    got, want = (load_file(f / "model.safetensors") for f in (shared, here / "one"))
    same_each(got, want, "the weights at the end", 1e-4)


# untied and tied head; IFT gives an untied embedding no gradient
@pytest.mark.parametrize("runs", [
    [("llama", "ift", []), ("qwen2", "ift", ["--shard", "--dtype", "bf16", "--lora", "2"])],
    pytest.param([(k, "dpo", ["--shard"]) for k in ("llama", "qwen2")], marks=pytest.mark.slow)])
def test_two_processes_train_a_model_of_transformers(runs, here, brief):
    pytest.importorskip("transformers"), pytest.importorskip("peft")
    from test_transformers import make
    lines(here / "pairs.jsonl", PAIRS)
    lines(here / "demos.jsonl", DEMOS)
    found = {}
    for kind, name, more in runs:
        make(here / kind, kind)
        found[kind] = (["--init", kind, "--objective", name, "--data",
                        "pairs.jsonl" if name == "dpo" else "demos.jsonl", "--steps", "3",
                        "--batch-size", "5", "--lr", "1e-3", "--checkpointing", *QUICK, *PLAIN],
                       more)
    torchrun(here, [[*line, "--out", f"{kind}-both", *more]
                    for kind, (line, more) in found.items()])
    for kind, (line, more) in found.items():  # alone without --shard
        assert call(train.main, *line, *more[1:], "--out", f"{kind}-one") == 0
        as_one(here / f"{kind}-both", here / f"{kind}-one", 100 if "bf16" in more else 1)


@pytest.mark.skipif(not SHARED, reason="torch 2.6 shares weights on a GPU only")
def test_two_processes_and_one_go_on_with_a_run_of_shared_weights(two, here, capsys):
    assert "dpo-shard: going on after step 2" in two[1], "what it then did is compared above"
    shutil.copytree(two[0] / "dpo-shard", here / "half")
    (here / "half/eval.json").unlink()
    assert call(train.main, "--resume", "half") == 0 \
        and "going on after step 2" in capsys.readouterr().out
    as_one(here / "half", two[0] / "dpo-shard")


def test_only_the_first_process_speaks_and_writes(two):
    folder, said = two
    assert said.count("rows serve") == len(RUNS) + len(SHARED) + bool(SHARED) \
        and said.count("Everything is in") == 1
    assert {f.name for f in folder.iterdir()} == {*RUNS, *(f"{name}-shard" for name in SHARED),
                                                  ".first"}


@pytest.mark.parametrize("form", [f for f in FORMS if f.objective.coupled], ids=str)
def test_pieces_of_coupled_rows_add_up(form):
    model = nano().double()
    want, grads = model_grads(form, model, real_batch(form))
    micro, total = MicroBatches(form.objective, form.hp, model, CPU, 3), 0
    model.zero_grad()
    for piece in micro.pieces(real_batch(form)):
        form.objective.forward(model, piece, form.hp)
        loss, _ = micro.loss(piece, form.hp)
        loss.backward()
        total += loss.detach()
    same(total, want, f"{form}: the losses of three micro-batches add up to that of the step")
    same_each({name: p.grad for name, p in model.named_parameters()}, grads,
              f"{form}: and so do their gradients")


def test_processes_with_gpus_know_theirs_and_wait_long(monkeypatch, capsys):
    met = {}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT", "MASTER_ADDR"):
        monkeypatch.setenv(name, {"RANK": "0", "WORLD_SIZE": "2"}.get(name, "1"))
    for name in ("device_count", "is_bf16_supported", "set_device"):
        monkeypatch.setattr(torch.cuda, name, lambda *of, **_: met.update(of=of) or 2)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", str)
    monkeypatch.setattr(dist, "init_process_group", lambda kind, **how: met.update(how, kind=kind))
    for main in (pretrain.main, reward.main):       # each process would add its own gradients
        monkeypatch.setenv("LOCAL_RANK", "0")       # the process that tells it
        one_error(call(main), capsys.readouterr().err, "only nanouft.train", "torchrun")
        monkeypatch.setenv("LOCAL_RANK", "1")
    assert train.devices.pick("cuda", team=True) == processes.Team("cuda:1", "bf16", 0, 2) \
        and met.pop("timeout").total_seconds() == 7200
    assert met == {"kind": "nccl", "device_id": torch.device("cuda:1"), "of": ("cuda:1",)}


# a process needs a row: checked before they meet
@pytest.mark.parametrize("processes, argv, words",
                         [(2, "--shard --objective sft --freeze half",
                           ["--shard", "--freeze half"]),
                          (2, "--shard --objective sft --compile on", ["--shard", "--compile on"]),
                          (2, "--shard --objective rloo", ["--shard", "rloo samples"]),
                          (1, "--shard", ["--shard", "torchrun"]),
                          (4, "--objective sft --rows 30 --batch-size 7 --accumulate 2",
                           ["--batch-size 7", "8 pieces"])])
def test_what_so_many_processes_cannot_do_is_one_line(processes, argv, words, here, tiny_base,
                                                      capsys, monkeypatch):
    monkeypatch.setattr(train.devices, "pick", lambda *a, team: Device("cpu", "fp32", 0, processes))
    one_error(call(train.main, "--init", tiny_base, *argv.split(), *QUICK), capsys.readouterr().err,
              *words)


def test_a_mistake_is_told_once_a_machine(here, tiny_base, capsys, monkeypatch):
    """All processes make it; the first of each machine tells it (torchrun adds its own report about
    the processes)."""
    told = []
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        told.append((call(train.main, "--init", tiny_base, "--batch-sise", 1),
                     capsys.readouterr().err))
    one_error(*told[0], "--batch-sise", "--batch-size?")
    assert told[1] == (2, "")
