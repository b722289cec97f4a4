"""What a run reads and how much of it (nanouft/run/plan.py, load.py)."""
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from made import CPU, NANO, say, start_folder, tiny, write_jsonl

from nanouft import world
from nanouft.data.batches import Encoded, Tokens
from nanouft.data.rows import Row
from nanouft.loop import Device
from nanouft.objectives import OBJECTIVES
from nanouft.run.load import Rows, load_rows, open_model
from nanouft.run.plan import Plan, as_passes, choose_pace, plan_run, with_beta
from nanouft.run.settings import TrainFlags, read_flags

CONTEXT = 128


def planned(line: str, rows: list | None = None, tok=NANO, held: tuple = ()) -> Plan:
    """The plan of this run, by a tiny model, over these rows or NanoWorld's."""
    objective, cfg, given = read_flags(line.split())
    read = load_rows(cfg, objective) if rows is None else Rows(rows, [*held], [])
    model = tiny(vocab_size=NANO.n_vocab, n_ctx=CONTEXT)
    return plan_run(cfg, objective, given, read, model, tok)


@pytest.mark.parametrize("line, name, longest", [
    ("", "nano", 44), ("--max-new 9", "nano", 9), ("--data x --reward r.py:f", "nano", 44),
    ("--data x --reward r.py:f", "another", CONTEXT // 2),
    ("--data x --reward r.py:f --max-new 9", "another", 9)])
def test_the_longest_answer_is_that_of_the_models_world(line, name, longest):
    """44 tokens suit NanoWorld; another model's answers to your rows are longer."""
    tok = copy(NANO)
    tok.name = name
    rows = world.rows("train", "prompts", 8, 0)
    assert planned(f"--objective grpo {line}", rows, tok).max_new == longest


@pytest.mark.parametrize("more", [0, 1])
def test_a_prompt_and_the_longest_answer_fill_the_context_and_no_more(more):
    rows = world.rows("train", "prompts", 8, 0)
    lengths = [len(NANO.prompt_ids(row.prompt)) for row in rows]
    max_new = CONTEXT - max(lengths) + more
    plan = planned(f"--objective grpo --max-new {max_new}", rows)
    kept = [n for n in lengths if n + max_new <= CONTEXT]
    assert sorted(len(e.seqs["prompt"].ids) for e in plan.train) == sorted(kept)
    assert (len(kept) == len(lengths)) == (more == 0)


@pytest.mark.parametrize("length, rows", [("", 1), ("--max-length 999", 1), ("--max-length 9", 0)])
def test_no_row_is_longer_than_the_context_whatever_max_length_says(length, rows):
    long = [Row(say("user", "Say it."), say("assistant", "fig " * n)) for n in (2, 9, 400)]
    plan = planned(f"--objective sft --data x --batch-size 1 {length}", long)
    assert len(plan.train) == 1 + rows


def test_every_seed_begins_with_other_matrices_of_lora(tmp_path):
    pytest.importorskip("peft")
    start = start_folder(tmp_path / "start")

    def begun(seed: int) -> dict:
        cfg = TrainFlags(init=start, lora=2, seed=seed)
        model = open_model(cfg, OBJECTIVES["sft"](), CPU)[0]
        return {name: p for name, p in model.named_parameters() if "lora_A" in name}
    one, again, other = map(begun, (1, 1, 2))
    assert one and all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("line, passes", [
    ("sft --batch-size 4 --steps 6", 2), ("grpo --batch-size 4 --steps 6", 2),
    ("grpo --batch-size 4 --steps 6 --passes 2", 1), ("grpo --batch-size 2 --steps 12 "
                                                     "--minibatches 2", 2)])
def test_a_pass_is_as_many_rows_as_there_are(line, passes):
    """A rollout that is used twice has read its prompts once."""
    assert planned(f"--objective {line} --rows 12").epochs == passes


@pytest.mark.parametrize("name", ["sft", "una", "grpo"])
def test_runs_of_all_seeds_are_measured_on_the_same_rows(name):
    """Of NanoWorld; what they learn from differs."""
    one, other = (load_rows(*reversed(read_flags(f"--objective {name} --seed {seed}".split())[:2]))
                  for seed in (0, 1))
    assert one.held_out == other.held_out and one.train != other.train


@pytest.mark.parametrize("reward, questions", [("r.py:f", 2), ("judge", 1)])
def test_a_question_is_asked_once_where_no_reward_reads_more_of_its_row(reward, questions,
                                                                        tmp_path):
    start_folder(tmp_path / "start")
    file = write_jsonl(tmp_path / "rows.jsonl", [
        {"prompt": prompt, "gold": gold} for prompt in ("Say a.", "Say b.") for gold in "xy"] * 5)
    objective, cfg, _ = read_flags(["--objective", "grpo", "--data", file, "--eval-data", file,
                                    "--init", str(tmp_path / "start"), "--reward", reward])
    rows = load_rows(cfg, objective)
    asked = [row.prompt[0].text for row in objective.choose(rows.train)]
    assert asked.count("Say a.") == questions == asked.count("Say b.")


@pytest.mark.parametrize("width, line, rows, wanted", [     # (learning rate, batch size, steps)
    (128, "", 1020, (2.5e-4, 32, 96)), (128, "--data x", 5, (1e-3, 5, 200)),
    (128, "--data x", 4000, (2.5e-4, 32, 375)),
    (128, "--data x --objective orpo", 40, (3e-5, 8, 20)),
    (128, "--data x --lr 1", 40, (1, 8, 400)),
    (128, "--objective grpo --passes 2", 320, (1e-5, 32, 60)),
    (32, "", 1020, (1e-3, 32, 96)),
    (512, "--data x", 32, (6.25e-5, 8, 20)),
    (512, "--data x --batch-size 4", 200, (6.25e-5, 4, 150)),
    (512, "--data x --epochs 1", 32, (6.25e-5, 8, 4)),
    (512, "--data x --objective dpo", 5, (7.5e-6, 5, 20)),
    (512, "--data x --objective una --lora 16", 64, (7.5e-5, 8, 24)),
    (512, "--data x --objective grpo", 12, (2.5e-6, 4, 20)),
    (512, "--data x --objective grpo --steps 3", 12, (2.5e-6, 4, 3)),
    (128, "--data x --batch-size 32", 300, (1e-3, 32, 400)),
    (128, "--data x --lora 8", 40, (2.5e-3, 8, 400)),
    (128, "--data x --objective dpo", 213, (3e-5, 8, 80)),
    (128, "--data x --objective dpo", 214, (3e-5, 32, 20)),
    (128, "--data x --objective grpo", 12, (1e-5, 32, 1)),
    (128, "--rows 5", 5, (2.5e-4, 5, 3))])
def test_rate_and_steps_fit_the_rows_and_the_model(width, line, rows, wanted):
    """A model of another width than the base's 128 has another rate. Few demonstrations get 200 to
    400 steps of 8 rows at four times the rate if the model is narrow, few pairs a low rate; a wide
    one reads your rows three times, in 20 steps at least. What is given wins, and a batch that is
    given leaves the rate as it is."""
    init = [] if width == 128 else ["--init", "start"]
    objective, cfg, _ = read_flags([*init, *line.split()])
    rate, *others = choose_pace(cfg, objective, rows, tiny(n_embd=width))
    assert rate == pytest.approx(wanted[0]) and tuple(others) == wanted[1:]


@pytest.mark.parametrize("name", ["ift --variant eq21_mean1", "online_una"])
def test_the_first_lines_of_a_run_fit_80_columns(name):
    """Also with large numbers, LoRA and half precision: with the longest names the first line had
    91 columns."""
    plan = planned(f"--objective {name}")
    large = replace(plan, steps=12_345, batch_size=1_024, train=plan.train * 100, rate=1.25e-5)
    model = tiny(vocab_size=NANO.n_vocab, n_ctx=CONTEXT)
    model.wte.weight.requires_grad_(False)
    for about in plan, large:
        lines = about.headline(model, Device("cuda:1", "bf16")).splitlines()
        assert lines[0].startswith(str(plan.objective)) and max(map(len, lines)) <= 80, lines


def test_a_number_of_passes_in_words():
    assert [as_passes(x) for x in (0.031, 1.01, 3.01, 9.97, 1200)] == [
        "0.031 passes", "1 pass", "3 passes", "10 passes", "1,200 passes"]


@pytest.mark.parametrize("name, lengths, beta", [
    ("una", [9, 10, 999], 0.1), ("uft", [45], 0.022), ("una", [190, 191], 0.01), ("dpo", [45], 0.1),
    ("una --feedback pair", [45], 0.1)])
def test_beta_follows_the_length_of_the_answers(name, lengths, beta, capsys):
    """A score is worth a number of nats of the whole answer, which grow with its length."""
    objective = read_flags(["--objective", *name.split()])[0]
    rows = [Encoded({"answer": Tokens(np.zeros(n), np.ones(n))}, Row()) for n in lengths]
    assert with_beta(objective, rows).beta == beta
    assert capsys.readouterr().out.startswith(f"beta {beta:g} suits answers of ") == (
        getattr(objective, "feedback", "") == "score")
