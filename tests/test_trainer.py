"""transformers' Trainer learns what nanouft.train learns: in one process bit for bit, in two within
rounding. Tiny random models, no network. tests/several_processes.py has all methods."""
import pickle
import re
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from made import CPU, DATA, NANO, Form, batch_of, llama, nano, one_error, same, start_folder
from safetensors.torch import load_file
from several_processes import SHARDS, in_processes
from test_values import KNOWN

from nanouft import train, trainer
from nanouft.data.batches import collate, encode
from nanouft.models.folders import save_model
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json
from nanouft.rollout import measure_rows
from nanouft.run import reference
from nanouft.run.reference import FrozenModels

hf = pytest.importorskip("transformers")
pytest.importorskip("accelerate")
from nanouft.models.hf import HFModel  # noqa: E402
from nanouft.run.hf_trainer import HIGHER  # noqa: E402
from nanouft.trainer import Trainer  # noqa: E402

ROWS, STEPS, RATE = 8, 4, 1e-3
METRICS = {name for told in KNOWN["ours"].values() for name in told} - {"gradient"}


def prepared(name: str, tied: bool):
    """(model, objective, rows): everything that a training begins with."""
    model, objective = llama(tied), Form(name).objective
    data, _ = encode(objective.choose(4 * DATA), NANO, model.cfg.n_ctx)
    return model, objective, FrozenModels(model, NANO.pad, CPU).prepare(data[:2 * ROWS], objective)


def arguments(folder, **more):
    told = dict(max_steps=STEPS, learning_rate=RATE, lr_scheduler_type="constant", use_cpu=True,
                per_device_train_batch_size=ROWS, logging_steps=1, report_to=[],
                save_strategy="no", disable_tqdm=True)
    return hf.TrainingArguments(str(folder), **{**told, **more})


def trained(name: str, tied: bool, folder, resume=None, **more):
    """(what was logged of the steps, weights)."""
    model, objective, data = prepared(name, tied)
    trainer = Trainer(model, objective, data, NANO.pad, arguments(folder, **more))
    trainer.train(resume_from_checkpoint=resume)
    return [x for x in trainer.state.log_history if "loss" in x], model.state_dict()


# ---- the same numbers ----------------------------------------------------------------------------
@pytest.mark.parametrize("name, flags, theirs", [
    ("sft", "", ""), ("kto", "", ""), ("ppo", "--max-new 8", "--max-new 8"),
    ("sft", "--steps 4 --warmup 0.25", "--max_steps 4 --warmup_steps 1"),       # a number of steps
    ("{here}/drawing.py", "", ""),
    ("sft", "--accumulate 3 --batch-size 33", "--gradient_accumulation_steps 3"),     # from 32
    ("dpo", "--steps 4 --batch-size 4 --warmup 0.5 --lora 2 --seed 3 --activation-checkpointing",
     "--max_steps 4 --per_device_train_batch_size 4 --warmup_steps 0.5 --lora 2 --seed 3 "
     "--gradient_checkpointing true"),
    ("ift", "--activation-checkpointing --batch-size 8 --accumulate 2",
     "--gradient_checkpointing true --per_device_train_batch_size 4 "
     "--gradient_accumulation_steps 2")])
def test_the_command_learns_what_nanouft_train_learns(name, flags, theirs, tmp_path):
    """Bit for bit. If nothing is said, rate, schedule, betas, clip, steps, the size of a step and
    the order of the rows are those of nanouft.train. So are numbers that a loss draws."""
    (tmp_path / "drawing.py").write_text("""
import random, numpy, torch
from nanouft.objective import Objective

class Drawing(Objective):
    def loss(self, batch):
        drawn = random.random() + numpy.random.rand() + torch.rand(())
        return -drawn * batch.seqs["answer"].logp.sum() / batch.n, {}""")
    name = name.format(here=tmp_path)
    rows = ["--init", start_folder(tmp_path / "start"), "--rows", "40"]
    assert command(train.main, ["--objective", name, *rows, *flags.split(), "--plain", "--device",
                                "cpu", "--out", str(tmp_path / "one")]) == 0
    done = trainer.run([name, *rows, *theirs.split(), "--use_cpu", "--save_strategy", "no",
                        "--output_dir", str(tmp_path / "other")])
    assert done.model.recomputes == ("checkpointing" in theirs)
    same(*(load_file(tmp_path / run / "model.safetensors") for run in ("other", "one")), 0.0)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path, monkeypatch):
    """So does a run that was begun in one process and ends in two, or the other way round. A row is
    read once by the initial model, and an answer gets its reward once."""
    seen, logps = tmp_path / "seen", reference.logps
    (tmp_path / "mine.py").write_text(f"""
def lengths(prompts, completions, **others):
    open({str(seen)!r}, "a").write("answer " * len(completions))
    return [len(set(text)) for text in completions]""")

    def counted(data, *more):
        open(seen, "a").write("row " * len(data))
        return logps(data, *more)
    monkeypatch.setattr(reference, "logps", counted)
    sampled = f"--max-new 8 --reward {tmp_path}/mine.py:lengths"
    rows = [f"grpo {sampled} --save_strategy steps --save_steps 2", f"ppo {sampled}", "sft", "hft",
            "neftune", "dpo --lora 2", "kto"]
    flags, told, found = ["--init", start_folder(tmp_path / "start")], [], []
    for parts in (1, 2):
        seen.write_text("")
        in_processes(1, parts, f"{tmp_path}/{parts}", parts, flags, rows)
        found.append(torch.load(tmp_path / str(parts)))
        told.append(Counter(seen.read_text().split()))
    assert told[0] == told[1] and len(told[0]) == 2
    for row in rows:
        same(found[1][row], found[0][row], 1e-5)
    for begun, parts in ((1, 2), (2, 1)):
        goes_on = f"grpo {sampled} --resume_from_checkpoint {tmp_path}/{begun}-0/checkpoint-2"
        in_processes(1, parts, f"{tmp_path}/{begun} goes on", parts, flags, [goes_on])
        same(torch.load(tmp_path / f"{begun} goes on")[goes_on], found[0][rows[0]], 1e-5)


@pytest.mark.slow
def test_two_processes_log_what_one_logs_whichever_metrics_a_row_has(tmp_path):
    """In any order, of any subset, added by name; a metric that is nan is null in both. Figures of
    a rollout are those of all its answers."""
    (tmp_path / "mine.py").write_text("""
from random import Random
from nanouft.objective import Objective

class Mine(Objective):
    def loss(self, batch):
        s, metrics = batch.seqs["answer"], {}
        for row in s.targets * s.mask.long():
            rng = Random(int(row.sum()))
            for name in rng.sample("abcde", rng.choice([0, 0, 1, 3])):
                metrics[name] = metrics.get(name, 0) + int(row.max()) / batch.n
            if int(row.sum()) % 5 == 0:
                metrics["odd"] = s.logp.detach().sum() * float("nan")
        return -s.logp.sum() / batch.n, metrics""")
    flags, told = ["--init", start_folder(tmp_path / "start"), "--save_steps", "4"], []
    for parts in (1, 2):
        own = f"{tmp_path}/mine.py --per_device_train_batch_size {4 // parts}"
        in_processes(1, parts, f"{tmp_path}/{parts}", parts,
                     [*flags, "--save_strategy", "steps"], [own, "kto", "grpo --max-new 4"])
        logs = (read_json(tmp_path / f"{parts}-{i}/checkpoint-4/trainer_state.json") for i in "012")
        told.append([line for log in logs for line in log["log_history"]])
    one, two = told
    assert len({*map(tuple, one[:4])}) > 2 and None in [line.get("odd") for line in one]
    for x, y in zip(one, two, strict=True):
        near_0 = {"k"} | (y.keys() if "decode_gap" in y else set())     # differences of log-probs
        assert x == {name: want and pytest.approx(want, 1e-4, 1e-6 if name in near_0 else 1e-9)
                     for name, want in y.items()}


def test_what_a_rollout_shares_is_as_large_as_its_numbers():
    """A view of one row would bring all rows with it."""
    s = batch_of(Form("grpo")).seqs["answer"]
    rows = measure_rows(s, nano(), nano(9), CPU)
    assert all(len(pickle.dumps(x)) < x.nbytes + 1000 for x in rows)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(torch.cpu.Stream, "record_event"),
                    reason="this PyTorch cuts no model into shards on a CPU")
def test_shards_learn_what_whole_models_do(tmp_path):
    """FSDP2 by accelerate: with a tied head, LoRA, sums over all processes; none that samples."""
    save_model(tmp_path / "llama", llama(True), NANO)
    rows, flags = ["sft", "kto", "dpo --lora 2"], ["--init", str(tmp_path / "llama")]
    in_processes(1, 1, f"{tmp_path}/one", 1, flags, rows)
    in_processes(1, 2, f"{tmp_path}/two", 2, [*flags, *SHARDS], [*rows, "grpo"])
    one, two = (torch.load(tmp_path / name) for name in ("one", "two"))
    for row in rows:
        same(two[row], one[row], 1e-5)
    assert "cannot sample" in two["grpo"]


def test_what_is_logged_is_the_mean_of_the_steps_since_the_last_log(tmp_path):
    """As the loss is, so that a curve does not depend on how often it is drawn."""
    (each, _), (pairs, _) = (trained("dpo", True, tmp_path, logging_steps=n) for n in (1, 2))
    assert len(each) == 2 * len(pairs) == STEPS
    for k, told in enumerate(pairs):
        for name in ("loss", "margin", "accuracy", "kl"):
            same(told[name], (each[2 * k][name] + each[2 * k + 1][name]) / 2, 2e-6)


def test_a_resumed_run_ends_with_the_same_weights(tmp_path):
    """With a tied head, which safetensors would refuse, a schedule and rows that are held out."""
    how = {"save_strategy": "steps", "save_steps": 2, "lr_scheduler_type": "cosine"}
    lines, weights = trained("sft", True, tmp_path, **how)
    again = trained("sft", True, tmp_path, resume=str(tmp_path / "checkpoint-2"), **how)
    assert again[0][-2:] == lines[-2:]
    same(again[1], weights, 0.0)


# one method of each kind of rows and of each `prepare`, with and without other rows in its loss
OF_ROWS = [*{(o().coupled, o.prepare, *o().kinds()): name for name, o in OBJECTIVES.items()
             if not o().on_policy}.values()]


@pytest.mark.parametrize("name", [*OF_ROWS, "dpo"])
def test_held_out_rows_are_one_step_whatever_the_batches(name, tmp_path):
    """The loss over all tokens, not a mean over batches, and the objective's metrics; also where
    the loss of a row reads other rows (KTO's k, RPO's weights)."""
    model, objective, data = prepared(name, False)
    with torch.no_grad():                               # a policy that is not its initial model
        model.wte.weight.mul_(1.1)
        whole = collate(data[:7], range(7), NANO.pad)
        objective.forward(model, whole)
        loss, metrics = objective.loss(whole)
    trainer = Trainer(model, objective, data, NANO.pad, arguments(
        tmp_path, per_device_eval_batch_size=3), held=data[:7])
    found = trainer.evaluate()
    same(found["eval_samples_per_second"] * found["eval_runtime"], 7, 0.1)
    same({key: found[f"eval_{key}"] for key in ["loss", *metrics]}, {"loss": loss} | metrics, 2e-5)


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_no_held_out_row_is_read_again_to_fill_up_the_last_turn_of_two_processes(rows, tmp_path):
    two = type("Two", (hf.TrainingArguments,), {"world_size": 2})
    args = two(str(tmp_path), use_cpu=True, per_device_eval_batch_size=1)
    model, objective, data = prepared("sft", False)
    parts = Trainer(model, objective, data, NANO.pad, args, held=data[:rows]).parts
    assert parts % 2 == 0 and 2 <= parts <= rows


def test_the_best_checkpoint_is_that_of_the_best_metric_of_the_objective(tmp_path):
    model, objective, data = prepared("dpo", False)
    trainer = Trainer(model, objective, data[5:], NANO.pad, arguments(
        tmp_path, eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=1,
        load_best_model_at_end=True, metric_for_best_model="margin"), held=data[:5])
    trainer.train()
    told = [x["eval_margin"] for x in trainer.state.log_history if "eval_margin" in x]
    assert len(told) == STEPS and trainer.state.best_metric == max(told)
    same(trainer.evaluate()["eval_margin"], max(told), 1e-5)


def test_the_lowest_is_the_best_of_every_metric_that_is_a_loss(tmp_path, capsys):
    """transformers takes the highest of any that does not end in "loss". Of others the command line
    must say it."""
    for metric in METRICS - HIGHER:
        flags = ["dpo", "--use_cpu", "--output_dir", str(tmp_path / "out"),
                 "--metric_for_best_model", metric]
        lower = metric == "k" or re.match("nll|kl|.*loss$", metric)
        for told in (flags, [*flags[:-1], f"eval_{metric}"]) if lower else ():
            assert trainer.read_flags(told)[-1].greater_is_better is False
        if not lower:
            with pytest.raises(UserError, match=f"{metric}: add --greater_is_better true, or f"):
                trainer.read_flags(flags)
        assert trainer.read_flags([*flags, "--greater_is_better", "true"])[-1].greater_is_better
    assert trainer.read_flags([*flags[:-1], "accuracy"])[-1].greater_is_better
    model, objective, data = prepared("sft", False)
    for metric, said in (("nll", "nll: the highest counts as the best; for the lowest give "
                                 "greater_is_better=False\n"), ("accuracy", "")):
        Trainer(model, objective, data, NANO.pad, arguments(tmp_path, metric_for_best_model=metric))
        assert capsys.readouterr().out == said


# ---- what is refused -----------------------------------------------------------------------------
PAIRS, _ = encode(OBJECTIVES["orpo"]().choose(DATA), NANO, 128)     # never prepared


def refusal(*args, **more) -> str:
    """The one line with which a Trainer does not begin."""
    with pytest.raises(UserError) as found:
        Trainer(*args, **more)
    assert "\n" not in str(found.value)
    return str(found.value)


@pytest.mark.parametrize("name, told, why", [
    ("grpo", {}, "give source=Rollouts"),
    ("dpo", {}, "call FrozenModels.prepare first"),
    ("kto", {"gradient_accumulation_steps": 2}, "kto: gradient_accumulation_steps is not"),
    ("rpo", SimpleNamespace(n_gpu=1, gradient_accumulation_steps=1, world_size=2), "one process"),
    ("sft", SimpleNamespace(n_gpu=2), "torchrun --nproc_per_node 2"),
    ("sft", {"label_smoothing_factor": 0.1}, "label_smoothing_factor: is not supported here"),
    ("sft", {"neftune_noise_alpha": 5.0}, "neftune_noise_alpha: is not supported here"),
    ("sft", {"use_liger_kernel": True}, "use_liger_kernel: is not supported here"),
    ("sft", {"train_sampling_strategy": "group_by_length"}, "nanouft.train's order"),
    ("sft", {"include_num_input_tokens_seen": True}, "tokens are not counted"),
    ("sft", SimpleNamespace(deepspeed="x"), "deepspeed: is not supported here")])
def test_what_would_be_learned_wrongly_is_refused(name, told, why, tmp_path):
    args = arguments(tmp_path, **told) if isinstance(told, dict) else told
    assert why in refusal(llama(False), OBJECTIVES[name](), PAIRS, NANO.pad, args)


def test_a_precision_of_the_environment_is_not_followed_in_silence(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    rows = prepared("sft", False)
    assert "give --bf16" in refusal(*rows, NANO.pad, arguments(tmp_path))
    Trainer(*rows, NANO.pad, arguments(tmp_path, bf16=True))


def test_a_model_rows_or_settings_that_are_not_ready_are_one_line(tmp_path):
    """Before the first step: rows longer than the context; a model that is not nanouft's; a
    setting."""
    peft = pytest.importorskip("peft")
    model, objective, data = prepared("sft", False)
    least = min(e.length for e in data)
    short, fits = HFModel(model.net, least), [e for e in data if e.length == least]
    adapted = peft.get_peft_model(llama(False).net, peft.LoraConfig(target_modules="all-linear",
                                                                    task_type="CAUSAL_LM"))
    for broken, words in (
            ({"compute_metrics": len}, "compute_metrics"),
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
    for held, given, why in ((None, [], "there are none"), (data[:3], [range(2)], "be evaluated")):
        trainer = Trainer(fits, objective, data, NANO.pad, arguments(tmp_path), held=held)
        with pytest.raises(UserError, match=f"^[^\n]*{why}$"):
            trainer.evaluate(*given)


def test_what_a_model_in_shards_cannot_do_is_one_line(tmp_path):
    """By whichever door: accelerate's configuration is the environment."""
    model, objective, data = prepared("sft", False)
    trainer = Trainer(model, objective, data, NANO.pad, arguments(tmp_path), held=data[:2])
    with pytest.raises(UserError, match="^fsdp: [^\n]*one for each GPU"):
        trainer.check_shards()
    trainer.is_fsdp_enabled = True
    for version, best, of, why in ((1, False, "sft", "only FSDP2"), (2, False, "grpo", "sample"),
                                   (2, True, "sft", "not sharded")):
        trainer.accelerator.state.fsdp_plugin = SimpleNamespace(
            fsdp_version=version, state_dict_type="SHARDED_STATE_DICT")
        trainer.args.load_best_model_at_end, trainer.objective = best, OBJECTIVES[of]()
        with pytest.raises(UserError, match=f"^[^\n]*{why}[^\n]*$"):
            trainer.check_shards()
    with pytest.raises(UserError, match="^evaluate: with FSDP[^\n]*$"):
        trainer.evaluate()


@pytest.mark.parametrize("words, why", [
    ("", "the first word is the method"), ("dop", "did you mean dpo"),
    ("dpo --lr 1", "--lr: here it is --learning_rate"),
    ("dpo --max_length 9", "did you mean --max-length"),
    ("dpo --model_name_or_path x", "here it is --init"), ("dpo --load_in_4bit", "TRL"),
    ("dpo --dtype bf16", "--dtype: here it is --bf16 or --fp16"),
    ("dpo --rows 9 --report_to nowhere", "nowhere"), ("sft --fp16", "--fp16 needs a GPU"),
    ("dpo --learning_rate -1", "--learning_rate -1"), ("dpo --max_steps 0", "--max_steps 0"),
    ("dpo --per_device_train_batch_size 0", "must be at least 1"),
    ("sft --rows 9 --max_steps 5 --learning_rate 1e9", "the run diverged"),
    ("dpo --rows 9 --per_device_train_batch_size 64", "size * processes 64: the data has only 9"),
    ("dpo --rows 9 --resume_from_checkpoint out", "out"),
    ("dpo --output_dir .", "--output_dir .: exists"), ("sftmix", "it takes one process"),
    ("grpo --eval_strategy epoch", "is not supported"), ("ppo --save_steps 3", "whole ones")])
def test_a_wrong_command_is_one_line(words, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").touch()
    assert command(trainer.main, [*words.split(), *(["--use_cpu"] if words else [])]) == 2
    assert why in one_error(capsys)


def test_processes_with_other_flags_or_files_are_refused(monkeypatch):
    told: list = []
    monkeypatch.setattr(trainer, "split_over_processes",
                        lambda work, things: told.extend(work([0])) or told)
    trainer.check_same(["rows", "--lr"], 1)
    for other in (["others", "--lr"], ["rows", "--bf16"]):
        with pytest.raises(UserError, match="the same command"):
            trainer.check_same(other, 1)


@pytest.fixture
def goes_on(tmp_path, tmp_path_factory, monkeypatch) -> list[str]:
    """In a run of four steps with a checkpoint after two: the words that go on from there."""
    begun, words = tmp_path_factory.getbasetemp() / "begun", (
        "dpo --init start --rows 8 --max_steps 4 --per_device_train_batch_size 4 --use_cpu "
        "--lora 2 --save_steps 2 --output_dir out").split()
    if not begun.exists():                              # once for all tests
        start_folder(begun / "start")
        monkeypatch.chdir(begun)
        assert command(trainer.main, words) == 0
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return [*words, "--resume_from_checkpoint", "out/checkpoint-2"]


@pytest.mark.parametrize("change, why", [
    ("--rows 12", "data, initial model"), ("--lora 3", "data, initial model"),
    ("--max_steps 6", "steps"), ("--lora-targets c_attn", "data, initial model"),
    ("--lora-alpha 3", "alpha of LoRA"),
     ("--per_device_train_batch_size 2", "rows in a step"), ("--beta 1", "setting"),
    ("--seed 3", "seed"), ("--learning_rate 1e-9", "learning rate"),
    ("--resume_from_checkpoint out/checkpoint-4", "is finished"),
    *((f"--resume_from_checkpoint {x}", "folder of a checkpoint") for x in ("true", "out")),
    (("optimizer.pt", None), "has no optimizer"),       # transformers would begin a new one
    (("pytorch_model_fsdp.bin", b""), "FULL_STATE_DICT"),
    *((("optimizer.pt", x), "is corrupted") for x in (b"", b"PK\3\4", b"\x80\x02cos\nsystem\n.")),
    *((("trainer_state.json", x), "trainer_state.json") for x in (
        b"", b"[1]", b"{}", b'{"global_step": "2"}', b'{"global_step": null}'))])
def test_a_run_goes_on_only_whole_and_with_what_it_learned_from(change, why, goes_on, capsys):
    """Whatever it was that changed is named: a flag, or a file of the checkpoint."""
    flags = change.split() if isinstance(change, str) else []
    if not flags:
        file, content = Path("out/checkpoint-2", change[0]), change[1]
        file.unlink() if content is None else file.write_bytes(content)
    assert command(trainer.main, [*goes_on, *flags]) == 2
    assert why in one_error(capsys)


def test_train_on_several_processes_names_the_trainer(monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "8")
    assert command(train.main, []) == 2
    assert "-m nanouft.trainer" in one_error(capsys)


def test_rows_that_are_named_to_be_held_out_are_measured(tmp_path):
    flags = ["sft", "--data", "x.jsonl", "--use_cpu", "--output_dir", str(tmp_path / "out")]
    for more, when in (([], "no"), (["--eval-data", "y.jsonl"], "epoch")):
        cfg, args = trainer.read_flags([*flags, *more])
        assert args.eval_strategy == when and cfg.plain == (when == "no")
