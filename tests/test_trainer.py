"""nanouft.trainer learns what nanouft.train learns: in one process bit for bit, in two on gloo
within rounding. Tiny random models, no network.

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

ROWS, STEPS = 8, 4
FSDP2 = ' --fsdp --fsdp_config {"version":2}'
GIVEN_ROWS = [name for name, cls in OBJECTIVES.items()
              if not (cls().on_policy or cls().coupled and not cls().reads_sums)]
OF_ROWS = [*{(OBJECTIVES[name]().coupled, OBJECTIVES[name]().prepare,
              *OBJECTIVES[name]().kinds()): name for name in GIVEN_ROWS}.values()]


def prepared(name: str, tied: bool = False):
    """(model, objective, rows): everything that a training begins with."""
    model, objective = llama(tied), Form(name).objective
    data, _ = encode(objective.choose(4 * DATA), NANO, model.cfg.n_ctx)
    return model, objective, FrozenModels(model, NANO.pad, CPU).prepare(data[:2 * ROWS], objective)


def arguments(folder, **more):
    told = dict(max_steps=STEPS, learning_rate=1e-3, lr_scheduler_type="constant", use_cpu=True,
                per_device_train_batch_size=ROWS, logging_steps=1, report_to=[],
                save_strategy="no", disable_tqdm=True)
    return hf.TrainingArguments(str(folder), **{**told, **more})


def logged(name: str, folder, **more) -> list[dict]:
    """What was logged of the steps."""
    model, objective, data = prepared(name, tied=True)
    made = Trainer(model, objective, data, NANO.pad, arguments(folder, **more))
    made.train()
    return [x for x in made.state.log_history if "loss" in x]


# ---- the same numbers ----------------------------------------------------------------------------
@pytest.mark.parametrize("name, flags, theirs", [
    ("sft", "", ""), ("kto", "", ""),
    ("dpo", "--steps 4 --batch-size 4 --warmup 0.5 --lora 2 --seed 3 --activation-checkpointing",
     "--max_steps 4 --per_device_train_batch_size 4 --warmup_steps 0.5 --lora 2 --seed 3 "
     "--gradient_checkpointing true"),
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
    """In each process: every row, `dpo --lora 2` and so on, its model in a folder of its own."""
    from accelerate.state import AcceleratorState
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(processes), "LOCAL_RANK": str(rank),
                   "LOCAL_WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port)}
    AcceleratorState._reset_state(reset_partial_state=True)
    if "--fsdp" in rows[0]:
        shard_on_a_cpu()
    for i, row in enumerate(rows):
        name, *more = row.split()
        first = OBJECTIVES[name].first_models
        others = as_flags(first.stand_in(start)) if first else []
        trainer.main([name, *others, *more, "--use_cpu", "--init", start, "--rows", "64",
                      "--max_steps", "4", "--per_device_train_batch_size", str(ROWS // processes),
                      "--save_strategy", "no", "--adam_epsilon", "1e-5", "--disable_tqdm", "true",
                      "--output_dir", f"{out}/{i}-{processes}"])
    torch.distributed.destroy_process_group()


def shard_on_a_cpu() -> None:
    """accelerate makes shards of processes with a GPU alone. So here they are said to have one."""
    from accelerate.state import AcceleratorState, DistributedType, PartialState
    begin = AcceleratorState.__init__

    def init(self, *args, **more):
        PartialState(cpu=True)._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        begin(self, *args, **more)
    AcceleratorState.__init__ = init


def gaps(rows: list[str], start: str, folder: Path, flags: str) -> dict[str, float]:
    """{row: the largest difference of a weight between one process and two, with these flags}."""
    for n in (1, 2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        here = [row + flags * (n == 2) for row in rows]
        start_processes(train_all, (n, port, start, str(folder), here), nprocs=n,
                        start_method="fork" if sys.platform == "linux" else "spawn")
    out = {}
    for i, row in enumerate(rows):
        one, two = (load_file(folder / f"{i}-{n}" / "model.safetensors") for n in (1, 2))
        out[row] = max(float((one[key] - two[key]).abs().max()) for key in one | two)
    return out


@pytest.mark.parametrize("rows, flags, most", [
    (["sft", "dpo", "kto", "ift", "una"], "", 1e-6), (["sft", "dpo", "kto"], FSDP2, 1e-6),
    pytest.param(GIVEN_ROWS, "", 1e-5, marks=pytest.mark.slow)])
def test_two_processes_end_with_the_weights_of_one_and_the_folder_opens(rows, flags, most,
                                                                        tmp_path):
    found = gaps(rows, start_folder(tmp_path / "start"), tmp_path, flags)
    print(found)
    assert max(found.values()) < most, found
    assert command(sample.main, [str(tmp_path / "2-2"), "--prompt", "x", "--device", "cpu"]) == 0


def test_what_is_logged_is_the_mean_of_the_steps_since_the_last_log(tmp_path):
    each, pairs = (logged("dpo", tmp_path, logging_steps=n) for n in (1, 2))
    assert len(each) == 2 * len(pairs) == STEPS
    for k, told in enumerate(pairs):
        for name in ("loss", "margin", "accuracy", "kl"):
            same(told[name], (each[2 * k][name] + each[2 * k + 1][name]) / 2, 2e-6)


def test_held_out_rows_are_not_among_what_is_logged_of_the_steps(tmp_path):
    model, objective, data = prepared("dpo", tied=True)
    made = Trainer(model, objective, data, NANO.pad, arguments(
        tmp_path, eval_strategy="steps", eval_steps=1), held=data[:7])
    made.train()
    steps = [x for x in made.state.log_history if "loss" in x]
    alone = logged("dpo", tmp_path)
    assert [x["margin"] for x in steps] == [x["margin"] for x in alone]


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


@pytest.mark.parametrize("name", [*OF_ROWS, "dpo"])
def test_held_out_rows_are_one_step_whatever_the_batches(name, tmp_path):
    """The loss over all tokens, not a mean over batches, and the objective's metrics; also where
    the loss of a row reads other rows (KTO's k)."""
    model, objective, data = prepared(name)
    model.eval()                                        # without the noise of neftune
    with torch.no_grad():                               # a policy that is not its initial model
        model.wte.weight.mul_(1.1)
        whole = collate(data[:7], range(7), NANO.pad)
        objective.forward(model, whole)
        loss, metrics = objective.loss(whole)
    found = Trainer(model, objective, data, NANO.pad, arguments(
        tmp_path, per_device_eval_batch_size=3), held=data[:7]).evaluate()
    same({key: found[f"eval_{key}"] for key in ["loss", *metrics]}, {"loss": loss} | metrics, 2e-5)


# ---- what is refused -----------------------------------------------------------------------------
@pytest.mark.parametrize("name, told, why", [
    *((name, {}, "use nanouft.train") for name in OBJECTIVES if name not in GIVEN_ROWS),
    ("kto", {"gradient_accumulation_steps": 2}, "gradient_accumulation_steps 1"),
    ("sft", {"n_gpu": 2}, "torchrun --nproc_per_node 2"), ("sft", {"world_size": 9}, "held-out"),
    ("sft", {"label_smoothing_factor": 0.1}, "label_smoothing_factor: is not used here")])
def test_what_would_be_learned_wrongly_is_refused(name, told, why):
    args = SimpleNamespace(**{"n_gpu": 1, "label_smoothing_factor": 0, "world_size": 1,
                              "gradient_accumulation_steps": 1, **told})
    with pytest.raises(UserError, match=f"^[^\n]*{why}[^\n]*$"):
        trainer.check(OBJECTIVES[name](), args, prepared("sft")[2][:8])


@pytest.mark.parametrize("words, why", [
    ("", "the first word is the method"), ("dop", "did you mean dpo"), ("sft --fp16", "a GPU"),
    ("dpo --max_length 9", "did you mean --max-length"), ("grpo", "use nanouft.train"),
    ("dpo --learning_rate -1", "-1"), ("sftmix", "give the folders of trained models"),
    ("sft --rows 9 --report_to nowhere", "nowhere"), ("dpo --lr 1", "--lr"),
    ("dpo --rows 9 --resume_from_checkpoint out", "out"),
    ("dpo --metric_for_best_model kl", "add --greater_is_better"),
    ("sft --rows 9 --max_steps 5 --learning_rate 1e9", "the run diverged"),
    ("dpo --output_dir .", "--output_dir .: exists")])
def test_a_wrong_command_is_one_line(words, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    assert command(trainer.main, [*words.split(), *(["--use_cpu"] if words else [])]) == 2
    assert why in one_error(capsys)


def test_train_on_several_processes_names_the_trainer(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert command(train.main, []) == 2
    assert "-m nanouft.trainer" in one_error(capsys)
