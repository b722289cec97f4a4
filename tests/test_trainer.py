"""transformers' Trainer learns what nanouft's own loop learns: in one process bit for bit, in
pieces and in two processes within rounding. Tiny random models, no network."""
import os
import re
import socket
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made import CPU, DATA, NANO, Form, llama, same
from torch.multiprocessing import start_processes

from nanouft.data.batches import collate, encode
from nanouft.loop import Update, steps
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.seeds import step_seed
from nanouft.run.reference import FrozenModels

hf = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from accelerate.state import AcceleratorState  # noqa: E402

from nanouft.models.hf import HFModel  # noqa: E402
from nanouft.trainer import Trainer  # noqa: E402

ROWS, STEPS, RATE = 8, 4, 1e-3
EPSILON = 1e-5      # of AdamW, which would make full steps of gradients that are rounding alone
TRIED = [("sft", True), ("ift", False), ("dpo", True),      # objective, is its head tied?
         ("neftune", False),                    # one that draws random numbers in each step
         ("hft", False)]                        # one that freezes weights in `setup`, by the seed
ONCE = {}                                                       # what own_loop left


def prepared(name: str, tied: bool):
    """(model, objective, rows): everything that a training begins with."""
    model, objective = llama(tied), Form(name).objective
    data, _ = encode(objective.choose(4 * DATA), NANO, model.cfg.n_ctx)
    data = data[:2 * ROWS]                                          # no step ends an epoch early
    return model, objective, FrozenModels(model, NANO.pad, CPU).prepare(data, objective)


# its name from transformers 5.23 on, and the one before
CHECKPOINTING = next(name for name in ("activation_checkpointing", "gradient_checkpointing")
                     if name in hf.TrainingArguments.__dataclass_fields__)


def arguments(folder, **more):
    """Settings under which the Trainer does the same steps as `own_loop`."""
    told = dict(max_steps=STEPS, learning_rate=RATE, lr_scheduler_type="constant", use_cpu=True,
                adam_epsilon=EPSILON,
                per_device_train_batch_size=ROWS, train_sampling_strategy="sequential",
                logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True)
    return hf.TrainingArguments(str(folder), **{**told, **more})


def trained(name: str, tied: bool, folder, resume=None, **more):
    """(losses, metrics, weights) of the Trainer."""
    model, objective, data = prepared(name, tied)
    trainer = Trainer(model, objective, data, NANO.pad, arguments(folder, **more))
    trainer.train(resume_from_checkpoint=resume)
    lines = [line for line in trainer.state.log_history if "loss" in line]
    own = {"loss", "grad_norm", "learning_rate", "epoch", "step"}
    metrics = [{key: x for key, x in line.items() if key not in own} for line in lines]
    weights = {key: w.detach().clone() for key, w in model.state_dict().items()}
    return [line["loss"] for line in lines], metrics, weights


def own_loop(name: str, tied: bool):
    """The same of loop.steps on the same rows in the same order."""
    if (name, tied) not in ONCE:
        model, objective, data = prepared(name, tied)
        objective.setup(model, 42)                      # the seed of transformers' arguments
        optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, eps=EPSILON, weight_decay=0.0,
                                      fused=True)

        def source(step: int):
            rows = [(step * ROWS + i) % len(data) for i in range(ROWS)]
            return replace(collate(data, rows, NANO.pad), seed=step_seed(42, step))
        update = Update(optimizer, clip=1.0)
        done = [s.sums for s in steps(model, objective, source, update, range(STEPS))]
        sums = [{key: float(x) for key, x in s.items()} for s in done]
        ONCE[name, tied] = [s.pop("loss") for s in sums], sums, deepcopy(model.state_dict())
    return ONCE[name, tied]


def agree(got, want, tol: float) -> None:
    """Losses, metrics and weights."""
    same(got[0], want[0], tol)
    for one, other in zip(got[1], want[1], strict=True):
        same(one, other, tol)
    same(got[2], want[2], tol)


# ---- the same numbers ----------------------------------------------------------------------------
HALVES = {"per_device_train_batch_size": ROWS // 2, "gradient_accumulation_steps": 2}


@pytest.mark.parametrize("told, tol", [({}, 0.0), (HALVES, 1e-5)], ids=["whole", "in pieces"])
@pytest.mark.parametrize("name, tied", TRIED)
def test_one_process_is_our_own_loop(name, tied, told, tol, tmp_path):
    """Bit for bit, and in pieces of a step within rounding."""
    agree(trained(name, tied, tmp_path, **told), own_loop(name, tied), tol)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path):
    """One start of two processes on gloo does all of TRIED. On Linux they are copies of this one,
    which has loaded everything already."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(one_of_two, (port, str(tmp_path / "two.pt")), nprocs=2,
                    start_method="fork" if sys.platform == "linux" else "spawn")
    found = torch.load(tmp_path / "two.pt")
    for name, tied in TRIED:
        agree(found[f"{name} {tied}"], own_loop(name, tied), 1e-5)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    """With a tied head, which safetensors would refuse, a schedule and rows that are held out."""
    how = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "cosine"}
    losses, _, weights = trained("sft", True, tmp_path, **how)
    again = trained("sft", True, tmp_path, resume=str(tmp_path / "checkpoint-2"), **how)
    assert again[0][-2:] == losses[-2:]
    same(again[2], weights, 0.0)


# one method of each kind of rows and of each `prepare`, with and without other rows in its loss
OF_ROWS = [*{(o().coupled, o.prepare, *o().kinds()): name for name, o in OBJECTIVES.items()
             if not o().on_policy}.values()]


@pytest.mark.parametrize("name", [*OF_ROWS, "dpo"])
def test_held_out_rows_are_one_step_whatever_the_batches(name, tmp_path):
    """The loss over all tokens, not a mean over batches, and the objective's metrics; also where
    the loss of a row reads other rows (KTO's k, RPO's weights)."""
    model, objective, data = prepared(name, False)
    with torch.no_grad():                               # a policy that is not its start model
        model.wte.weight.mul_(1.1)
        whole = collate(data[:7], range(7), NANO.pad)
        objective.forward(model, whole)
        loss, metrics = objective.loss(whole)
    trainer = Trainer(model, objective, data, NANO.pad, arguments(
        tmp_path, per_device_eval_batch_size=3), held=data[:7])
    found = trainer.evaluate()
    same({key: found[f"eval_{key}"] for key in ["loss", *metrics]}, {"loss": loss} | metrics, 2e-5)


def test_the_best_checkpoint_is_that_of_the_best_metric_of_the_objective(tmp_path):
    model, objective, data = prepared("dpo", False)
    trainer = Trainer(model, objective, data[5:], NANO.pad, arguments(
        tmp_path, eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1,
        load_best_model_at_end=True, metric_for_best_model="margin"), held=data[:5])
    trainer.train()
    told = [x["eval_margin"] for x in trainer.state.log_history if "eval_margin" in x]
    assert len(told) == STEPS and trainer.state.best_metric == max(told)
    same(trainer.evaluate()["eval_margin"], max(told), 1e-5)


# ---- LoRA and checkpoints of activations ---------------------------------------------------------
def test_checkpoints_of_activations_change_no_number(tmp_path):
    """Each layer is computed once more, in the backward pass; with LoRA, which version 4 of
    transformers would give no gradient."""
    pytest.importorskip("peft")
    found, calls = [], [0, 0]
    for on in (False, True):
        model, objective, data = prepared("ift", False)
        model.add_lora(2, 0)

        def count(*_, on=on):
            calls[on] += 1
        model.net.model.layers[0].self_attn.q_proj.register_forward_hook(count)
        trainer = Trainer(model, objective, data, NANO.pad,
                          arguments(tmp_path, **{CHECKPOINTING: on}))
        trainer.train()
        found.append([line["loss"] for line in trainer.state.log_history if "loss" in line])
    assert calls[1] == calls[0] + STEPS
    same(found[1], found[0], 2e-6)


# ---- what is refused -----------------------------------------------------------------------------
PAIRS, _ = encode(OBJECTIVES["orpo"]().choose(DATA), NANO, 128)     # never prepared


def refusal(*args, **more) -> str:
    """The one line with which a Trainer does not begin."""
    with pytest.raises(UserError) as found:
        Trainer(*args, **more)
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.parametrize("name, told, why", [
    ("grpo", {}, "python -m nanouft.train"), ("poft", {}, "must name the folders"),
    ("dpo", {}, "call FrozenModels.prepare first"),
    ("kto", {"gradient_accumulation_steps": 2}, "other rows' log-probs"),
    ("kto", SimpleNamespace(n_gpu=1, gradient_accumulation_steps=1, world_size=2), "one process"),
    ("sft", SimpleNamespace(n_gpu=2), "accelerate launch"),
    ("sft", {"label_smoothing_factor": 0.1}, "label_smoothing_factor: is not read here"),
    ("sft", {"neftune_noise_alpha": 5.0}, "neftune_noise_alpha: is not read here"),
    ("sft", {"use_liger_kernel": True}, "use_liger_kernel: is not read here"),
    ("sft", SimpleNamespace(n_gpu=1, fsdp=True), "fsdp: is not read here; each GPU holds the")])
def test_what_would_be_learned_wrongly_is_refused(name, told, why, tmp_path):
    args = arguments(tmp_path, **told) if isinstance(told, dict) else told
    assert why in refusal(llama(False), OBJECTIVES[name](), PAIRS, NANO.pad, args)


def test_a_model_rows_or_settings_that_are_not_ready_are_one_line(tmp_path):
    """Before the first step: no rows, not encoded, of another kind, held out of another kind, never
    prepared, longer than the context; a model that is not nanouft's; a setting."""
    peft = pytest.importorskip("peft")
    model, objective, data = prepared("sft", False)
    least = min(e.length for e in data)
    short, fits = HFModel(model.net, least), [e for e in data if e.length == least]
    adapted = peft.get_peft_model(llama(False).net, peft.LoraConfig(target_modules="all-linear",
                                                                    task_type="CAUSAL_LM"))
    for broken, words in (
            ({"data": []}, "no row"), ({"data": DATA}, r"encode\(objective.choose\(rows\)"),
            ({"data": PAIRS}, "data: sft cannot read"), ({"held": PAIRS}, "held: sft cannot read"),
            ({"compute_metrics": len}, "compute_metrics"),
            ({"objective": OBJECTIVES["poft"](aligned=["base"])}, "FrozenModels.prepare"),
            ({"objective": OBJECTIVES["sftmix"](runs=["base"] * 2)}, "FrozenModels.prepare"),
            ({"objective": OBJECTIVES["dpo"](beta=-1.0)}, "--beta -1.0"),
            ({"model": model.net}, "LlamaForCausalLM.*start_model"),
            ({"model": adapted}, "PeftModel.*add_lora"),
            ({"model": short}, f"the model's context has {least}"),
            ({"model": short, "data": fits, "held": data}, f"context has {least}")):
        told = {"model": model, "objective": objective, "data": data, "pad": NANO.pad,
                "args": arguments(tmp_path)} | broken
        assert re.search(words, refusal(**told)), broken


def test_evaluation_is_of_the_rows_that_were_held_out_and_of_no_others(tmp_path):
    model, objective, data = prepared("sft", False)
    fits = HFModel(model.net, max(e.length for e in data) - 1)  # inputs, and as many targets
    for held, given, why in ((None, [], "there are none"), (data[:3], [range(2)], "no others")):
        trainer = Trainer(fits, objective, data, NANO.pad, arguments(tmp_path), held=held)
        with pytest.raises(UserError, match=f"^[^\n]*{why}$"):
            trainer.evaluate(*given)


def one_of_two(rank: int, port: int, file: str) -> None:
    """In each of two processes: train all of TRIED; the first one writes what came out."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    AcceleratorState._reset_state(reset_partial_state=True)
    half = {"per_device_train_batch_size": ROWS // 2}
    out = {f"{name} {tied}": trained(name, tied, Path(file).parent / "out", **half)
           for name, tied in TRIED}
    if rank == 0:
        torch.save(out, file)
    torch.distributed.destroy_process_group()
