"""The plan of a run: what it reads and how much of it, which learning rate, batch and steps it gets
where the flags leave them open, and the models that a method needs first."""
import time
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from commands import DEMOS, change_behind_its_time
from made import CPU, NANO, TINY, say, tiny, write_jsonl

from nanouft import world
from nanouft.data.batches import Encoded, Tokens
from nanouft.data.row import Row, Rows
from nanouft.device import Device
from nanouft.objectives import OBJECTIVES
from nanouft.run.config import FLAGS, RunConfig, read_flags
from nanouft.run.flags import as_flags
from nanouft.run.folder import locked
from nanouft.run.helper_models import with_helper_models
from nanouft.run.hyperparameters import choose_hyperparameters, with_beta
from nanouft.run.load import load_rows, open_model
from nanouft.run.plan import describe, epochs_of, settle

CONTEXT = 128


def planned(line: str, rows: list | None = None, tok=NANO, held: tuple = ()) -> tuple:
    """What settle returns for this run, by a tiny model, over these rows or NanoWorld's."""
    cfg = read_flags(line.split())
    objective = cfg.objective()
    read = load_rows(cfg, objective) if rows is None else Rows(rows, [*held], [])
    model = tiny(vocab_size=NANO.n_vocab, n_ctx=CONTEXT)
    return settle(cfg, objective, read, model, tok)


# ---- rows ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["sft", "una", "grpo"])
def test_runs_of_all_seeds_are_measured_on_the_same_rows(name):
    """Of NanoWorld; what they learn from differs."""
    runs = (read_flags(f"--objective {name} --rows 40 --seed {seed}".split()) for seed in (0, 1))
    one, other = (load_rows(cfg, cfg.objective()) for cfg in runs)
    assert one.held_out == other.held_out and one.train != other.train


@pytest.mark.parametrize("reward, questions", [("r.py:f", 2), ("judge", 1)])
def test_a_question_is_asked_once_where_no_reward_reads_more_of_its_row(reward, questions, here):
    file = write_jsonl(here / "twice.jsonl", [
        {"prompt": prompt, "gold": gold} for prompt in ("Say a.", "Say b.") for gold in "xy"] * 5)
    cfg = read_flags(["--objective", "grpo", "--data", file, "--eval-data", file,
                      "--init", "start", "--reward", reward])
    objective = cfg.objective()
    rows = load_rows(cfg, objective)
    asked = [row.prompt[0].text for row in objective.choose(rows.train)]
    assert asked.count("Say a.") == questions == asked.count("Say b.")


@pytest.mark.parametrize("line, name, longest", [
    ("", "nano", 44), ("--max-new 9", "nano", 9), ("--data x --reward r.py:f", "nano", 44),
    ("--data x --reward r.py:f", "another", CONTEXT // 2),
    ("--data x --reward r.py:f --max-new 9", "another", 9)])
def test_the_longest_answer_is_that_of_the_models_world(line, name, longest):
    """44 tokens suit NanoWorld; another model's answers to your rows are longer."""
    tok = copy(NANO)
    tok.name = name
    rows = world.rows("train", "prompts", 8, 0)
    assert planned(f"--objective grpo {line}", rows, tok)[0].max_new == longest


@pytest.mark.parametrize("more", [0, 1])
def test_a_prompt_and_the_longest_answer_fill_the_context_and_no_more(more):
    rows = world.rows("train", "prompts", 8, 0)
    lengths = [len(NANO.prompt_ids(row.prompt)) for row in rows]
    max_new = CONTEXT - max(lengths) + more
    *_, data = planned(f"--objective grpo --max-new {max_new}", rows)
    kept = [n for n in lengths if n + max_new <= CONTEXT]
    assert sorted(len(e.seqs["prompt"].ids) for e in data.train) == sorted(kept)
    assert (len(kept) == len(lengths)) == (more == 0)


@pytest.mark.parametrize("length, rows", [("", 1), ("--max-length 999", 1), ("--max-length 9", 0)])
def test_no_row_is_longer_than_the_context_whatever_max_length_says(length, rows):
    long = [Row(say("user", "Say it."), say("assistant", "fig " * n)) for n in (2, 9, 400)]
    *_, data = planned(f"--objective sft --data x --batch-size 1 {length}", long)
    assert len(data.train) == 1 + rows


def test_a_run_notes_the_system_prompt_with_which_all_its_rows_began():
    for texts, noted in (("SSS", "S"), ("SST", ""), ("SS ", ""), ("   ", "")):
        begun = [say("system", text) if text.strip() else () for text in texts]
        rows = [Row((*system, *say("user", f"{i}?")), say("assistant", "No."))
                for i, system in enumerate(begun)]
        about = describe(*planned("--objective sft --data a b", rows), NANO, CPU)
        assert about["system"] == noted, texts


# ---- rate, steps and beta ------------------------------------------------------------------------
@pytest.mark.parametrize("width, line, rows, wanted", [     # (learning rate, batch size, steps)
    # NanoWorld: the method's own rate for a model as wide as the base, three passes
    (128, "", 1020, (2.5e-4, 32, 96)), (32, "", 1020, (1e-3, 32, 96)),
    (128, "--rows 5", 5, (2.5e-4, 5, 3)), (128, "--objective grpo --passes 2", 320, (1e-5, 32, 60)),
    (128, "--objective grpo --batch-size 4 --accumulate 16", 8, (1e-5, 4, 6)),  # 16 answers
    # your rows: few demonstrations get 200 to 400 steps of 8 rows at four times the rate
    (128, "--data x", 5, (1e-3, 5, 200)), (128, "--data x", 4000, (2.5e-4, 32, 375)),
    (128, "--data x --batch-size 32", 300, (1e-3, 32, 400)),
    # few pairs a low rate, and 20 steps at least; 214 pairs are not few
    (128, "--data x --objective orpo", 40, (3e-5, 8, 20)),
    (128, "--data x --objective dpo", 213, (3e-5, 8, 80)),
    (128, "--data x --objective dpo", 214, (3e-5, 32, 20)),
    (128, "--data x --objective grpo", 12, (1e-5, 32, 1)),
    # a wide model reads your rows three times, in 20 steps at least
    (512, "--data x", 32, (6.25e-5, 8, 20)), (512, "--data x --objective dpo", 5, (7.5e-6, 5, 20)),
    (512, "--data x --objective grpo", 12, (2.5e-6, 4, 20)),
    # LoRA learns at ten times the rate
    (128, "--data x --lora 8", 40, (2.5e-3, 8, 400)),
    (512, "--data x --objective una --lora 16", 64, (7.5e-5, 8, 24)),
    # what is given wins, and a batch that is given leaves the rate as it is
    (128, "--data x --lr 1", 40, (1, 8, 400)),
    (512, "--data x --batch-size 4", 200, (6.25e-5, 4, 150)),
    (512, "--data x --epochs 1", 32, (6.25e-5, 8, 4)),
    (512, "--data x --objective grpo --steps 3", 12, (2.5e-6, 4, 3))])
def test_rate_and_steps_fit_the_rows_and_the_model(width, line, rows, wanted):
    init = [] if width == 128 else ["--init", "start"]
    cfg = read_flags([*init, *line.split()])
    model = SimpleNamespace(cfg=replace(TINY, n_embd=width))
    lr, *others = choose_hyperparameters(cfg, cfg.objective(), rows, model)
    assert lr == pytest.approx(wanted[0]) and tuple(others) == wanted[1:]


@pytest.mark.parametrize("line, passes", [
    ("sft --batch-size 4 --steps 6", 2), ("grpo --batch-size 4 --steps 6", 2),
    ("grpo --batch-size 4 --steps 6 --passes 2", 1),
    ("grpo --batch-size 2 --steps 12 --minibatches 2", 2)])
def test_a_pass_is_as_many_rows_as_there_are(line, passes):
    """A rollout that is used twice has read its prompts once."""
    assert epochs_of(*planned(f"--objective {line} --rows 12")) == passes


@pytest.mark.parametrize("name, lengths, beta", [
    ("una", [9, 10, 999], 0.1), ("una", [40, 50, 999], 0.02), ("uft", [45], 0.022),
    ("una", [190, 191], 0.01), ("dpo", [45], 0.1), ("una --feedback pair", [45], 0.1)])
def test_beta_follows_the_length_of_the_answers(name, lengths, beta, capsys):
    """A score is worth a number of nats of the whole answer, which grow with its length."""
    objective = read_flags(["--objective", *name.split()]).objective()
    rows = [Encoded({"answer": Tokens(np.zeros(n), np.ones(n))}, Row()) for n in lengths]
    assert with_beta(objective, rows).beta == beta
    assert capsys.readouterr().out.startswith(f"beta {beta:g}, chosen for responses ") == (
        getattr(objective, "feedback", "") == "score")


def test_a_beta_that_is_given_stays():
    rows = [Row(say("user", "Say it."), say("assistant", "fig " * 30), score=0.5)] * 8
    given, chosen = (planned(f"--objective una --data x {more}", rows)[1].beta
                     for more in ("--beta 0.3", ""))
    assert (given, chosen) == (0.3, 0.031)


# ---- models --------------------------------------------------------------------------------------
def test_every_seed_begins_with_other_matrices_of_lora(here):
    pytest.importorskip("peft")

    def begun(seed: int) -> dict:
        cfg = RunConfig(init="start", lora=2, seed=seed)
        model = open_model(cfg, OBJECTIVES["sft"](), CPU)[0]
        return {name: p for name, p in model.named_parameters() if "lora_A" in name}
    one, again, other = map(begun, (1, 1, 2))
    assert one and all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def made_first(*argv: str, method: str = "sftmix") -> list[RunConfig]:
    """The first models that a method makes for this run."""
    configs: list[RunConfig] = []

    def train(config: RunConfig) -> None:
        configs.append(config)
        Path(config.out).mkdir(parents=True)
        Path(config.out, "model.safetensors").touch()
    cfg = read_flags(["--objective", method, *argv])
    with_helper_models(cfg.objective(), cfg, Device(), train)
    return configs


READ = {"rows.jsonl": "oak", "rows/train.jsonl": "oak", "model/config.json": "eps 1e-5",
        "model/tokenizer.json": "fig", "model/chat_template.jinja": "[/INST]",
        "model/model.safetensors": "a", "model/model-00002-of-00002.safetensors": "b"}


@pytest.mark.parametrize("changed", READ)
def test_first_models_are_made_once_and_again_after_any_change_of_what_they_read(
        changed, tmp_path, monkeypatch, datasets):
    """Of a row or of the initial model, whatever its time stamp says. The first ones stay."""
    monkeypatch.chdir(tmp_path)
    for name, text in READ.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        if "rows" in name:
            write_jsonl(file, DEMOS)
        else:
            file.write_text(text if name[-4:] != "json" else f'{{"x": "{text}"}}')
    rows = "hub:rows" if changed == "rows/train.jsonl" else "rows.jsonl"
    text = READ[changed]
    other = text[:-1] + "X"
    for was, now, made in ((text, text, 2), (text, text, 0), (text, other, 2), (other, text, 0)):
        change_behind_its_time(tmp_path / changed, was, now)
        assert len(made_first("--data", rows, "--init", "model")) == made


def test_an_aligned_model_of_poft_is_the_same_for_all_runs(here):
    """It is there to know more than the rows of the run say."""
    assert len(made_first("--rows", "40", method="poft")) == 1
    assert made_first("--rows", "50", "--seed", "3", "--noise", "0.4", method="poft") == []


# Flags of a run that its first models have of their own, or that change no weight.
OWN = {"steps", "epochs", "lr", "warmup", "eval_data", "device", "compile", "threads",
       "save_every", "eval_every", "keep", "reward", "max_new", "items", "plain", "out", "resume",
       "curve_items"}
WORLD_FLAGS = {"rows": 40, "skills": "A", "mix": "3", "noise": 0.25, "init": "start"}
OF_FILES = {"data": ("demos.jsonl",), "max_length": 60, "seed": 7, "batch_size": 4, "accumulate": 2,
            "lora": 4, "lora_alpha": 2.0, "lora_targets": "c_attn", "dtype": "bf16",
            "activation_checkpointing": True}


@pytest.mark.parametrize("given", [WORLD_FLAGS, OF_FILES], ids=["NanoWorld", "files"])
def test_first_models_read_what_the_run_reads_in_the_same_way(given, here):
    """Every flag is theirs too, except those of OWN. A seed that they name is theirs."""
    every = {*FLAGS}
    assert all(getattr(RunConfig, name) != value for name, value in given.items()), "no defaults"
    assert {*WORLD_FLAGS, *OF_FILES} | OWN == every and not {*WORLD_FLAGS, *OF_FILES} & OWN
    configs = made_first(*as_flags(given))
    assert len(configs) == 2
    for cfg in configs:
        assert {name: getattr(cfg.checked(), name) for name in given} == given


def test_a_first_model_that_was_interrupted_is_made_again(tmp_path, monkeypatch, capsys):
    """Another process that makes it is waited for."""
    monkeypatch.chdir(tmp_path)
    assert len(made_first("--rows", "40", method="poft")) == 1
    folder, = (f for f in Path("out/helpers").iterdir() if f.is_dir())
    (folder / "model.safetensors").rename(folder / "half.safetensors")
    with ThreadPoolExecutor() as beside:
        with locked(folder.parent, f"{folder.name}.lock"):
            other = beside.submit(made_first, "--rows", "40", method="poft")
            time.sleep(0.3)
            assert [f.name for f in folder.iterdir()] == ["half.safetensors"]
        assert len(other.result()) == 1
    assert [f.name for f in folder.iterdir()] == ["model.safetensors"]
    assert "another process makes it; waiting" in capsys.readouterr().out
