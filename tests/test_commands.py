"""What each command prints and writes: as a person types it, and as other programs start it."""
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from commands import ROOT, call, typed
from made import NANO, tiny, write_jsonl
from safetensors.torch import load_file

from nanouft import evaluate, pretrain, sample
from nanouft.device import Device
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.folders import save_model, start_model
from nanouft.pictures import plots
from nanouft.plumbing.files import read_json, read_text, write_json
from nanouft.run.checkpoint import save_step
from nanouft.run.folder import read_lines

ONCE = "train --init start --steps 1 --batch-size 2 "
SAID = {    # command line: what it prints and writes to run.json and README.md; |: then, !: not
    ONCE + "--objective grpo --rows 8 --items 3 --max-new 5 --minibatches 2 --out g":
        "reward 0.|rules_new|list|sum|sort|reverse|truth|unknown|fact|Saved in g|curves.png",
    ONCE + "--objective kto --data even.jsonl --out k": "label 1:|[[|label 0:|[[|Saved in k",
    ONCE + "--objective sft --data demos.jsonl --eval-data demos.jsonl --plain --out e":
        "ignored fields: gold (10 rows)|10 of 10",
    ONCE + "--objective rloo --data demos.jsonl --reward r.py:length --max-new 4 --plain --out r":
        "!ignored",                                     # it may read `gold`
    ONCE + "--objective hft --data demos.jsonl --plain --out h": "0.05M of 0.06M",
    ONCE + "--objective una --data scores.jsonl --plain --out b": '"beta": 0.091',
    ONCE + "--objective una --data scores.jsonl --plain --beta 0.3 --out b3": '"beta": 0.3',
    ONCE + "--objective dpo --data mixed.jsonl --plain --out m1": "40 rows|20 skipped (20: too l",
    ONCE + "--objective kto --data thumbs.jsonl --eval-data even.jsonl --plain --out m3":
        "15 to train on, 30 held out, 4 skipped (4: too long |-weight 6.5 |1: without the old",
    ONCE + "--objective sft --data even.jsonl --plain --out 'my run'":
        "nanouft.sample 'my run'|--- library_name: transformers tags: [nanouft, sft] ---|"
        "`sft` from start, on even.jsonl, for 1 step|not scored",
    # in any case, but a run folder has its own name
    "train --objective Sft --resume run": 'run: is finished|"objective": "sft"|", "sft", "--data',
    "pushes --init run --show IFT 'Dpo --beta 1' --out p.png": "Dpo --beta 1: the chosen",
    ONCE + "--objective sft --data spaces.jsonl --plain --out s": "9 to train on, 1 held out",
    "data even.jsonl --init start --show 2":
        "27 to train on, 3 held out|median|maximum|(even.jsonl, line |[[|[[",
    ONCE + "--objective sft --data even.jsonl --plain --dtype bf16 --out half": "Saved in half",
    "sample half --prompt a --max-new 2": "computed in bf16; --dtype fp32 is exact|prompt: a",
    "sample half --prompt a --max-new 2 --dtype fp32": "prompt: a|!bf16",
    "data mixed.jsonl --init start --objective dpo":
        "19 to train on|20 skipped (20: too long|dpo trains on: 19 pairs|rejected: ",
    "data demos.jsonl --init start --objective sft":
        "!reward function|ignored fields: gold (10 rows)|sft trains on: 9 demonstrations|[[",
    "data demos.jsonl --init start --objective grpo":
        "!ignored|reward function only: gold (10 rows), response (10|trains on: 9 prompts|![[",
    "data pairs.jsonl --init start --objective kto": "trains on: 18 labelled answers|[[",
    "evaluate start run --data demos.jsonl pairs.jsonl --reward r.py:length":
        "start nll|start prefers|run prefers|minus start|run reward |EOS |median tokens ",
    "evaluate start --items 2 --split val": "2 val prompts",
    "evaluate start --data twice.jsonl": "(1 row)",
    "evaluate start --data rated.jsonl": "score_rejected (1 row)|start prefers|!graded|1 compared",
    "evaluate start --data fair.jsonl": "!not read|start prefers|graded answers|(2 rows)",
    "evaluate start run --items 0 --data thumbs.jsonl":     # of a row of two kinds once
        "start: 1: without the oldest|!start: 1|nll|auc per token|19 rows read: 15 compared, 4|"
        "run: 1: without the oldest|!run: 1|nll|auc per token|19 rows read: 15 compared, 4 skip",
    "evaluate start --data mixed.jsonl": "start EOS |20 compared, 20 skipped",
    "evaluate start --data too_long.jsonl --reward r.py:f": "0 compared, 20 skipped (20",
    # a question of 83 tokens and the longest answer fill the context of 128
    "evaluate start --data wide.jsonl --reward r.py:f --max-new 45": "1 compared",
    "evaluate start --data wide.jsonl --reward r.py:f --max-new 46":
        "no prompt leaves room for a response of 46 tokens|0 compared, 1 skipped",
    "evaluate start --data twice.jsonl --reward r.py:length": "2 compared",     # it may read `gold`
    "sample run --prompt 'Sort pig bee saw from a to z.' --max-new 5": "start |score 0.|run |score",
    "sample start --prompt Hi --max-new 1 --n 2 --temperature 3": "cut at 1 tok|cut at 1 tok"}


@pytest.mark.parametrize("line", SAID, ids=lambda line: line[-60:])
def test_what_a_command_prints(line, here, capsys):
    assert call(line) == 0
    out = capsys.readouterr().out
    folder = here / shlex.split(line)[-1]
    assert ("train" in line) == (folder / "model.safetensors").exists()
    assert ("train" in line) == (folder / "eval.json").exists()
    files = ("run.json", "README.md") if "train" in line else ()
    told = " ".join("".join([out, *(read_text(folder / name) for name in files)]).split())
    for words in SAID[line].split("|"):
        if words[0] == "!":
            assert words[1:] not in told, told
        else:
            assert words in told, told
            told = told.partition(words)[2]


def test_the_lengths_of_rows_are_those_of_their_own_answers(here, capsys):
    """KTO reads another row's answer beside each, to measure its baseline."""
    told = []
    for objective in ("kto", "una"):
        assert call(f"data thumbs.jsonl --init start --objective {objective}") == 0
        told.append(re.findall("tokens per row that fits.*", capsys.readouterr().out))
    assert told[0] == told[1] != []


@pytest.mark.parametrize("line", ["data", "train --steps 1 --batch-size 8 --plain --out t"])
def test_a_step_of_long_rows_and_duplicates_are_told_before_it_is_made(line, here, capsys):
    (here / "long").mkdir(exist_ok=True)
    model = GPT(GPTConfig(NANO.n_vocab, 1024, 2, 2, 32), seed=0)
    save_model(here / "long", model, NANO)
    rows = [{"prompt": f"Say {i}", "response": "fig"} for i in range(20)]
    rows += rows[:3] + [{"prompt": f"{i} " + "bee " * 600, "response": "fig"} for i in range(4)]
    write_jsonl(here / "rows.jsonl", rows)
    name, *more = line.split()
    files = "rows.jsonl" if name == "data" else "--data rows.jsonl"
    assert call(f"{name} {files} --init long --objective sft {' '.join(more)}") == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "3 exact duplicates of other rows" in told
    found = re.search(r"a step of 8 rows as long as the longest takes about 0\.[1-9] GB of "
                      r"memory; --max-length 512 would keep (\d+) of (\d+) rows whole "
                      ".*(Saved|Only the tokens)", told)
    assert found and 1 <= int(found[2]) - int(found[1]) <= 4, told
    assert call(f"{name} {files} --init long --objective sft --max-length 512 "
                + " ".join(more).replace(" t", " other")) == 0
    assert "GB of memory" not in capsys.readouterr().out


# ---- train ---------------------------------------------------------------------------------------
def test_a_run_leaves_a_folder_that_tells_everything(here):
    assert call("train --objective dpo --init start --data pairs.jsonl --steps 12 --batch-size 3 "
                "--eval-every 6 --lr 1e-3 --out a") == 0
    about, log = read_json(here / "a" / "run.json"), read_lines(here / "a" / "metrics.jsonl")
    told = read_json(here / "a" / "eval.json")
    assert about["objective"] == "dpo" and about["config"]["lr"] == 1e-3 and about["steps"] == 12
    assert about["hp"]["beta"] == 0.1 and about["argv"][:2] == ["--objective", "dpo"]
    steps = [x for x in log if "loss" in x]
    assert [x["step"] for x in steps] == [*range(1, 13)] and steps[0]["margin"] == 0
    assert {"loss", "accuracy", "kl", "grad_norm", "lr", "tokens"} <= steps[0].keys()
    assert [x["step"] for x in log if "held_out" in x] == [6, 12]
    assert told["before"]["held_out"]["accuracy"] == 0.5 and told["after"]["held_out"]["rows"] == 1


def test_the_best_step_is_saved_if_it_is_asked_for(here, capsys):
    """By the held-out figure, which here is least after step 2. The last step is measured too."""
    line = ("train --objective sft --init start --data demos.jsonl --batch-size 4 --steps 5 "
            "--lr .1 --eval-every 2 --device cpu --out")
    assert call(f"{line} last") == call(f"{line} best --keep best") == 0
    assert "saved: step 2, with the lowest held-out nll" in capsys.readouterr().out
    last, best = (read_json(here / run / "eval.json") for run in ("last", "best"))
    log = [x for x in read_lines(here / "best" / "metrics.jsonl") if "held_out" in x]
    assert [x["step"] for x in log] == [2, 4, 5] and "kept" not in last
    assert best["kept"] == {"step": 2, "nll": best["after"]["held_out"]["nll"]}
    assert best["kept"]["nll"] == min(x["held_out"]["nll"] for x in log)
    assert log[-1]["held_out"] == last["after"]["held_out"] != best["after"]["held_out"]
    assert read_json(here / "best" / "run.json")["config"]["keep"] == "best"
    weights = [(here / run / "model.safetensors").read_bytes() for run in ("last", "best")]
    assert weights[0] != weights[1], "the figures are of the weights that are saved"
    _, curve = plots.held_out_points(log, best["before"], best["after"])
    assert [*curve] == [0, 2, 4, 5] and curve[5] == last["after"]["held_out"]["nll"]


def test_the_running_mean_of_a_curve_is_of_the_steps_so_far_the_newest_most():
    assert plots.smooth([2.0] * 9) == pytest.approx([2] * 9)
    assert plots.smooth([1.0, 3.0]) == pytest.approx([1, (0.9 * 1 + 3) / 1.9])


def test_a_picture_that_cannot_be_drawn_ends_no_run(here, capsys, monkeypatch):
    line = "train --objective sft --init start --data demos.jsonl --steps 1 --out undrawn"
    with monkeypatch.context() as now:
        now.setattr(plots, "draw_curves", lambda folder: 1 / 0)
        assert call(line) == 0
    assert "no curves.png (ZeroDivisionError" in capsys.readouterr().out
    assert call("train --resume undrawn") == 0 and (here / "undrawn" / "curves.png").exists()
    assert capsys.readouterr().out == (
        "undrawn: is finished; to continue from its model give --init undrawn\n")


def test_another_user_may_read_what_the_umask_lets_him_read(here):
    """Also weights, which safetensors writes for their owner alone."""
    (here / "fresh").touch()
    plots.draw_curves(here / "run")
    (here / "kept").mkdir()
    save_step(here / "kept", 1, tiny(), torch.optim.AdamW([torch.zeros(1)]),
              Device().grad_scaler())
    modes = {f: f.stat().st_mode for name in ("run", "start", "kept", "fresh")
             for f in (here / name, *(here / name).rglob("*")) if f.is_file()}
    assert len(modes) > 12 and {*modes.values()} == {modes[here / "fresh"]}, modes


def test_pretrain_makes_a_base(here, monkeypatch, capsys):
    """Its held-out loss is of rows on which it never trains."""
    asked: list = []                                    # by the rule of train, below
    read, real = {True: set(), False: set()}, GPT.forward       # with a gradient, and without
    monkeypatch.setattr(GPT, "forward", lambda self, ids, **how: read[
        torch.is_grad_enabled()].update(map(tuple, ids.tolist())) or real(self, ids, **how))
    monkeypatch.setattr("nanouft.pretrain.fp32_if_small", lambda *what: asked.append(what[1:])
                        or what[0])
    assert call("pretrain --width 16 --steps 2 --tokens 128 --half --out world") == 0
    told, (model, tok) = read_json(here / "world" / "run.json"), start_model("world")
    assert told["held_out_loss"][1] < told["held_out_loss"][0] and tok.n_vocab == NANO.n_vocab
    assert asked == [("auto", model.n_params())] and model.wte.weight.dtype == torch.float32
    assert {w.dtype for w in load_file("world/model.safetensors").values()} == {torch.float16}
    assert len(read[True]) == 2 and len(read[False]) == 64 and not read[True] & read[False]
    before, after = told["held_out_loss"]
    assert f"held-out loss: from {before:.3f} to {after:.3f}" in capsys.readouterr().out


def test_the_last_steps_of_pretraining_reach_all_positions_with_half_of_their_rows():
    cfg = pretrain.PretrainFlags(steps=100, tokens=8 * pretrain.ROW)
    rows = pretrain.documents(cfg, 512, NANO)
    begins = torch.stack([step.seqs["text"].extra["pos"][:, 0] for step in rows])       # (steps,8)
    assert not begins[:71].any() and not begins[71:, ::2].any()
    others = begins[71:, 1::2]
    assert others.min() < 20 and 364 < others.max() <= 512 - pretrain.ROW


# ---- evaluate ------------------------------------------------------------------------------------
def test_answers_of_evaluate_are_from_all_parts_of_the_file_and_end_at_64_tokens(here, monkeypatch):
    """Without a file they are to a hundred questions of each task."""
    asked, real = [], evaluate.answer_rows
    monkeypatch.setattr(evaluate, "answer_rows", lambda model, tok, rows, **how: asked.append(
        ([r.where for r in rows], how["max_new"])) or real(model, tok, rows, **how))
    assert call("evaluate start --data even.jsonl") == 0
    assert call("evaluate start --data even.jsonl --max-new 5 --items 3") == 0
    (places, most), (few, less) = asked
    assert (len(places), most, less) == (20, 64, 5)
    assert [x.split()[-1] for x in few] == ["1", "11", "21"]
    monkeypatch.setattr(evaluate, "score_tasks", lambda *told, who: pytest.fail(str(told[2:])))
    with pytest.raises(pytest.fail.Exception, match=r"\('test', 100\)"):
        call("evaluate start")


# ---- sample --------------------------------------------------------------------------------------
def test_sample_names_the_system_prompt_of_all_rows(here, capsys):
    """If it asks without one. A run alone is asked beside its start, which has the same one."""
    shutil.copytree("run", "asked")
    about, line = read_json(here / "run" / "run.json"), "sample asked --prompt Hi --max-new 2"
    for system, told in (("You answer 'mails'.", shlex.quote("You answer 'mails'.")),
                         ("Two\nlines " * 9, "(in full in asked/run.json)"), ("", "")):
        write_json(here / "asked" / "run.json", about | {"system": system})
        for more, times in (("", 1), ("--system Hi", 0), ("--plain", 0)):
            assert call(f"{line} {more}") == 0
            said = capsys.readouterr().out
            assert said.count("began with a system prompt") == times * bool(told)
            assert told in said or not times
        assert call("sample run asked asked --prompt Hi --max-new 2") == 0
        assert capsys.readouterr().out.count("began with a system prompt") == bool(told)


def test_the_interval_of_a_reward_is_its_own(here, capsys):
    """Not that of the answers that stop, whose share stands beside it."""
    assert call("evaluate start --data demos.jsonl --reward r.py:length --max-new 3") == 0
    mean, low, high, share = map(float, re.search(
        r"reward ([\d.]+) \[([\d.]+), ([\d.]+)\]   EOS ([\d.]+)",
        capsys.readouterr().out).groups())
    assert low < mean < high and not low < share < high


def test_sample_chats_until_there_is_no_room(here, capsys, monkeypatch):
    """No turn is left out: what is too long is refused, and /new clears the chat, not the system
    prompt. An answer may have half of the context, and is printed as it is decoded."""
    asked = typed(monkeypatch, "Hi", "two " * 40, "Say it again " * 60, "three " * 60, "/help",
                  "/new", "Ho", "/quit")
    assert call("sample start --system 'Be kind.' --max-new 3") == 0
    out = capsys.readouterr().out
    assert out.count("/new clears the chat") == 2          # at first, and for /help
    refused = r"\nthe prompt has \d{3} tokens, and start reads at most 127; shorten it, or "
    assert len(re.findall(refused, out)) == 2
    hi, two, ho = (text for text, _ in asked[1::2])         # the base is asked as well
    assert hi == "<|user|> Be kind.\n\nHi<|assistant|>"
    assert two.startswith(hi) and two.endswith("two two<|assistant|>")
    assert ho == "<|user|> Be kind.\n\nHo<|assistant|>"
    asked = typed(monkeypatch, "Hi", "Yes", "/quit")
    assert call("sample start --max-new 3") == call("sample start --prompt Hi") == 0
    *_, (yes, _), _, (_, how) = asked                 # --prompt asks the base as well
    assert yes.startswith("<|user|> Hi<|assistant|>")
    assert yes.endswith("<|end|><|user|> Yes<|assistant|>")
    assert how["max_new"] == 64 and isinstance(how["stream"], sample.Stream)


def test_sample_draws_by_its_seed_and_asks_no_more_than_leaves_room_for_a_token(here, capsys):
    line = "sample start --plain --prompt 'a%s' --n 2 --temperature 3 --max-new 8 --seed %d"
    told = [(call(line % (" a" * n, seed)), capsys.readouterr().out)
            for n, seed in ((126, 0), (127, 0), (1, 0), (1, 0), (1, 1))]
    assert [code for code, _ in told] == [0, 2, 0, 0, 0]            # 127 tokens, 128 ...
    assert told[2] == told[3] != told[4]


def test_an_answer_is_printed_as_it_is_decoded_without_half_a_character(capsys):
    line, shown = sample.Stream(NANO, "base "), []
    for i in NANO.encode(" dova → 日"):
        line(torch.tensor([i]))
        shown.append(capsys.readouterr().out)
    line.end("dova → 日", "   (cut)")
    assert "\ufffd" not in "".join(shown) and "dova" in "".join(shown[:-3])
    assert "".join(shown) + capsys.readouterr().out == "base dova → 日   (cut)\n"


# ---- as other programs start them ----------------------------------------------------------------
@pytest.mark.parametrize("line", [
    "train --objective sft --init start --data signs.jsonl --steps 1 --batch-size 2 --out signs",
    "sample start --prompt '→ 日 \ud800' --temperature 3 --max-new 9"])
def test_what_cannot_be_printed_is_a_question_mark(line, here, monkeypatch):
    """Rows, answers, bar and end on a terminal that knows ASCII alone; half an emoji is on none."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii", write_through=True))
    assert call(line) == 0 and b"?" in raw.getvalue()


@pytest.mark.skipif(os.name == "nt", reason="written for sh")
@pytest.mark.parametrize("line, out", [
    ("sample start --device cpu <&-", "/new clears the chat"),
    pytest.param("train --objective sft --init start --data demos.jsonl --steps 1 --batch-size 2 "
                 "--device cpu --out quiet 2>&-", "Saved in quiet", marks=pytest.mark.slow)])
def test_a_command_runs_as_a_service_or_a_notebook_starts_it(line, out, here):
    """Without standard input or error; with a backend that this environment may not have."""
    done = subprocess.run(
        ["sh", "-c", f"{shlex.quote(sys.executable)} -m nanouft.{line}"], cwd=here, text=True,
        capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT),
                                               "MPLBACKEND": "module://of_a_notebook.inline"})
    assert done.returncode == 0 and out in done.stdout and not done.stderr, done.stderr
    assert done.stdout.endswith("\n"), "also where the input ends behind a question"
    assert "train" not in line or (here / "quiet" / "curves.png").exists()


def test_a_run_in_a_thread(here):
    """As a page's button starts it: Python lets only the main thread hear signals."""
    line = "train --objective sft --init start --data demos.jsonl --steps 1 --plain --out thread"
    with ThreadPoolExecutor() as pool:
        assert pool.submit(call, line).result() == 0
