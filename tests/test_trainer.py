"""nanouft.trainer learns what nanouft.train learns: in one process bit for bit, in two on gloo
within rounding. Tiny random models, no network. What it refuses: recorded/mistakes/trainer.txt.

AdamW's epsilon is 1e-5. With 1e-8 it makes full steps of gradients that are rounding alone.
"""
import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made import CPU, DATA, NANO, Form, llama, one_error, same, start_folder
from safetensors.torch import load_file
from torch.multiprocessing import start_processes

from nanouft import sample, train
from nanouft.data.batches import collate, encode
from nanouft.models.folders import save_model
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.run.flags import as_flags
from nanouft.run.reference import FrozenModels

hf = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from nanouft import trainer  # noqa: E402
from nanouft.trainer import Trainer  # noqa: E402

pytestmark = pytest.mark.slow
ROWS, STEPS = 8, 4
FSDP2 = ' --fsdp --fsdp_config {"version":2}'
SUMS = {name: cls() for name, cls in OBJECTIVES.items() if not cls().on_policy
        and (cls().reads_sums or not cls().coupled)}        # whose loss is a sum over given rows
# and one of each way to choose and prepare these rows
EACH_WAY = {(one.coupled, type(one).prepare, *one.kinds()): name for name, one in SUMS.items()}
OF_ROWS = ["sft", "dpo", "ift", "neftune", *EACH_WAY.values()]


def prepared(name: str, tied: bool = False):
    """(model, objective, rows): everything that a training begins with."""
    model, objective = llama(tied), Form(name).objective
    data, _ = encode(objective.choose(4 * DATA), NANO, model.cfg.n_ctx)
    return model, objective, FrozenModels(model, NANO.pad, CPU).prepare(data[:2 * ROWS], objective)


def made(name: str, folder: Path, held: int = 0, tied: bool = False, **more) -> Trainer:
    model, objective, data = prepared(name, tied)
    told = dict(max_steps=STEPS, learning_rate=1e-3, lr_scheduler_type="constant", use_cpu=True,
                per_device_train_batch_size=ROWS, logging_steps=1, report_to=[],
                save_strategy="no", disable_tqdm=True)
    args = hf.TrainingArguments(str(folder), **{**told, **more})
    return Trainer(model, objective, data, NANO.pad, args, held=data[:held])


def logged(folder: Path, **more) -> list[dict]:
    """What DPO logs of its steps."""
    one = made("dpo", folder, tied=True, **more)
    one.train()
    return [x for x in one.state.log_history if "loss" in x]


# ---- the same numbers ----------------------------------------------------------------------------
@pytest.mark.parametrize("name, flags, theirs", [
    ("sft", "", ""), ("kto", "", ""),
    pytest.param(
        "dpo", "--steps 4 --batch-size 4 --warmup 0.5 --lora 2 --seed 3 --activation-checkpointing",
        "--max_steps 4 --per_device_train_batch_size 4 --warmup_steps 2 --lora 2 --seed 3 "
        "--gradient_checkpointing true", marks=pytest.mark.slow),
    ("ift", "--batch-size 8 --accumulate 2",
     "--per_device_train_batch_size 4 --gradient_accumulation_steps 2")])
def test_the_command_learns_what_nanouft_train_learns(name, flags, theirs, tmp_path):
    """Bit for bit. If nothing is said, rate, schedule, betas, clip, steps, the size of a step and
    the order of the rows are those of nanouft.train."""
    rows = ["--init", start_folder(tmp_path / "start"), "--rows", "40"]
    assert command(train.main, ["--objective", name, *rows, *flags.split(), "--plain", "--device",
                                "cpu", "--out", str(tmp_path / "one")]) == 0
    assert command(trainer.main, [name, *rows, *theirs.split(), "--use_cpu", "--save_strategy",
                                  "no", "--output_dir", str(tmp_path / "other")]) == 0
    same(*(load_file(tmp_path / run / "model.safetensors") for run in ("other", "one")), 0.0)


def train_all(rank: int, processes: int, port: int, start: str, out: str, rows: list[str]) -> None:
    """In each process: every row, such as `dpo --fsdp`, its model in a folder of its own."""
    from accelerate.state import AcceleratorState
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank),
                   "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port)}
    AcceleratorState._reset_state(reset_partial_state=True)
    if "--fsdp" in rows[0]:
        shard_on_a_cpu()
    for row in rows:
        name, *more = row.split()
        first = OBJECTIVES[name].first_models
        others = as_flags(first.stand_in(start)) if first else []
        trainer.main([name, *others, *more, "--use_cpu", "--init", start, "--rows", "64",
                      "--max_steps", "4", "--per_device_train_batch_size", str(ROWS // processes),
                      "--save_strategy", "no", "--adam_epsilon", "1e-5", "--disable_tqdm", "true",
                      "--output_dir", f"{out}/{name}-{processes}"])
    torch.distributed.destroy_process_group()


def shard_on_a_cpu() -> None:
    """accelerate makes shards of processes with a GPU alone. So here they are said to have one."""
    from accelerate.state import AcceleratorState, DistributedType, PartialState
    begin = AcceleratorState.__init__

    def init(self, *args, **more):
        PartialState(cpu=True)._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        begin(self, *args, **more)
    AcceleratorState.__init__ = init


@pytest.mark.slow
@pytest.mark.parametrize("names, flags", [(OF_ROWS, ""), (["sft", "dpo", "kto"], FSDP2)])
def test_two_processes_end_with_the_weights_of_one_and_the_folder_opens(names, flags, tmp_path):
    start, gaps = start_folder(tmp_path / "start"), {}
    for n in (1, 2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        rows = [name + flags * (n == 2) for name in names]
        start_processes(train_all, (n, port, start, str(tmp_path), rows), nprocs=n,
                        start_method="fork" if sys.platform == "linux" else "spawn")
    for name in names:
        one, two = (load_file(tmp_path / f"{name}-{n}" / "model.safetensors") for n in (1, 2))
        gaps[name] = max(float((one[key] - two[key]).abs().max()) for key in one | two)
    assert max(gaps.values()) < 1e-6, gaps
    assert command(sample.main, [str(tmp_path / "kto-2"), "--prompt", "x", "--device", "cpu"]) == 0


def test_what_is_logged_is_the_mean_of_the_steps_since_the_last_log(tmp_path):
    """Of held-out rows, which are read between them, it has nothing."""
    each, pairs, beside = (logged(tmp_path, logging_steps=n, **more) for n, more in (
        (1, {}), (2, {}), (1, {"held": 7, "eval_strategy": "steps", "eval_steps": 1})))
    assert len(each) == 2 * len(pairs) == STEPS
    assert [x["margin"] for x in beside] == [x["margin"] for x in each]
    for told, first, second in zip(pairs, each[::2], each[1::2]):
        for name in ("loss", "margin", "accuracy", "kl"):
            same(told[name], (first[name] + second[name]) / 2, 2e-6)


@pytest.mark.parametrize("name", OF_ROWS)
def test_held_out_rows_are_one_step_whatever_the_batches(name, tmp_path):
    """The loss over all tokens, not a mean over batches, and the objective's metrics; also where
    the loss of a row reads other rows (KTO's k)."""
    one = made(name, tmp_path, held=7, per_device_eval_batch_size=3)
    one.model.eval()                                    # without the noise of neftune
    with torch.no_grad():                               # a policy that is not its initial model
        one.model.wte.weight.mul_(1.1)
        whole = collate(one.data[:7], range(7), NANO.pad)
        one.objective.forward(one.model, whole)
        loss, metrics = one.objective.loss(whole)
    one.model.train()                                   # as in a run
    found = one.evaluate()
    same({key: found[f"eval_{key}"] for key in ["loss", *metrics]}, {"loss": loss} | metrics, 2e-5)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path, monkeypatch, capsys):
    """With a tied head, which safetensors would refuse, and a schedule. It is refused if it would
    learn from something else."""
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / "start", llama(True), NANO)
    words = ("sft --init start --rows 8 --max_steps 4 --per_device_train_batch_size 4 --use_cpu "
             "--save_steps 2 --output_dir out").split()
    resumed = [*words, "--resume_from_checkpoint", "out/checkpoint-2"]
    assert command(trainer.main, words) == 0
    weights = load_file("out/model.safetensors")
    assert command(trainer.main, resumed) == 0
    same(load_file("out/model.safetensors"), weights, 0.0)
    for change in ("--rows 12", "--learning_rate 1e-9", "--seed 3", "--lora 2"):
        capsys.readouterr()
        assert command(trainer.main, [*resumed, *change.split()]) == 2
        assert "is of other data, settings" in one_error(capsys)


# ---- several processes ---------------------------------------------------------------------------
@pytest.mark.parametrize("told, why", [({"n_gpu": 2}, "torchrun --nproc_per_node 2"),
                                       ({"world_size": 9}, "8 held-out rows: give each process")])
def test_a_process_has_one_gpu_and_held_out_rows(told, why):
    args = SimpleNamespace(**{"n_gpu": 1, "label_smoothing_factor": 0, "world_size": 1,
                              "gradient_accumulation_steps": 1, **told})
    with pytest.raises(UserError, match=why):
        trainer.check(OBJECTIVES["sft"](), args, prepared("sft")[2][:8])


def test_train_on_several_processes_names_the_trainer(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert command(train.main, []) == 2
    assert "-m nanouft.trainer" in one_error(capsys)
