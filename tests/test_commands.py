"""What each program prints, as a person sees it (tests/recorded/commands/), what it writes, and how
it behaves where another program starts it."""
import io
import os
import re
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import golden
import pytest
import torch
from commands import call, no_pictures, typed
from made import NANO, tiny, write_jsonl
from safetensors.torch import load_file

from nanouft import evaluate, pretrain, sample
from nanouft.device import Device
from nanouft.gpt import GPT, GPTConfig
from nanouft.models.folders import save_model, start_model
from nanouft.pictures import plots
from nanouft.plumbing.files import read_json
from nanouft.run.checkpoint import save_step
from nanouft.run.folder import read_lines

PROGRAMS = [file.stem for file in sorted(golden.FOLDER.glob("commands/*.txt"))]


def as_elsewhere(text: str) -> str:
    """What is printed without times and last digits of measurements, which differ by machine."""
    text = re.sub(r"\b(after|in) \d+ s\b", r"\1 ... s", text)
    return re.sub(r"(?<!rate |beta |e of |own: )(\b\d+\.\d\d)\d+", r"\1...", text)


@pytest.fixture(scope="module")
def long(here) -> Path:
    """A model with a long context, and rows of which few are long and some are there twice."""
    (here / "long").mkdir()
    save_model(here / "long", GPT(GPTConfig(NANO.n_vocab, 1024, 2, 2, 32), seed=0), NANO)
    rows = [{"prompt": f"Say {i}", "response": "fig"} for i in range(20)]
    rows += rows[:3] + [{"prompt": f"{i} " + "bee " * 600, "response": "fig"} for i in range(4)]
    write_jsonl(here / "rows.jsonl", rows)
    return here


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_a_program_prints(program, long, capsys, recorded):
    """`cat` and `ls` show what it has written. The lines of a file follow each other."""
    for line in golden.read(f"commands/{program}"):
        name, *words = shlex.split(line)
        if name == "cat":
            answer = Path(words[0]).read_text(encoding="utf-8")
        elif name == "ls":
            answer = "\n".join(sorted(os.listdir(words[0])))
        else:
            assert call(line) == 0
            answer = capsys.readouterr().out
        recorded(f"commands/{program}", line, as_elsewhere(answer))


# ---- train ---------------------------------------------------------------------------------------
def test_the_best_step_is_saved_if_it_is_asked_for(here, capsys):
    """By the held-out figure, which here is least after step 2. The last step is measured too."""
    line = ("train --objective sft --init start --data demos.jsonl --batch-size 4 --steps 5 "
            "--lr .1 --eval-every 2 --device cpu --out")
    with no_pictures():
        assert call(f"{line} last") == call(f"{line} best --keep best") == 0
    assert "saved: step 2, with the lowest held-out nll" in capsys.readouterr().out
    last, best = (read_json(here / run / "eval.json") for run in ("last", "best"))
    log = [x for x in read_lines(here / "best" / "metrics.jsonl") if "held_out" in x]
    assert [x["step"] for x in log] == [2, 4, 5] and "kept" not in last
    assert best["kept"] == {"step": 2, "nll": best["after"]["held_out"]["nll"]}
    assert best["kept"]["nll"] == min(x["held_out"]["nll"] for x in log)
    assert log[-1]["held_out"] == last["after"]["held_out"] != best["after"]["held_out"]
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


def test_another_user_may_read_what_the_umask_lets_him_read(here):
    """Also weights, which safetensors writes for their owner alone."""
    (here / "fresh").touch()
    (here / "kept").mkdir()
    save_step(here / "kept", 1, tiny(), torch.optim.AdamW([torch.zeros(1)]),
              Device().grad_scaler())
    modes = {f: f.stat().st_mode for name in ("run", "start", "kept", "fresh")
             for f in (here / name, *(here / name).rglob("*")) if f.is_file()}
    assert len(modes) > 10 and {*modes.values()} == {modes[here / "fresh"]}, modes


# ---- pretrain ------------------------------------------------------------------------------------
def test_pretrain_makes_a_base_and_measures_it_on_rows_on_which_it_never_trains(here, monkeypatch):
    read, real = {True: set(), False: set()}, GPT.forward       # with a gradient, and without
    monkeypatch.setattr(GPT, "forward", lambda self, ids, **how: read[
        torch.is_grad_enabled()].update(map(tuple, ids.tolist())) or real(self, ids, **how))
    assert call("pretrain --width 16 --steps 2 --tokens 128 --half --out little") == 0
    told, (model, tok) = read_json(here / "little" / "run.json"), start_model("little")
    assert told["held_out_loss"][1] < told["held_out_loss"][0] and tok.n_vocab == NANO.n_vocab
    assert model.wte.weight.dtype == torch.float32
    assert {w.dtype for w in load_file("little/model.safetensors").values()} == {torch.float16}
    assert len(read[True]) == 2 and len(read[False]) == 64 and not read[True] & read[False]


def test_the_last_steps_of_pretraining_reach_all_positions_with_half_of_their_rows():
    cfg = pretrain.PretrainFlags(steps=100, tokens=4 * pretrain.ROW)
    rows = pretrain.documents(cfg, 512, NANO)
    begins = torch.stack([step.seqs["text"].extra["pos"][:, 0] for step in rows])       # (steps,4)
    assert not begins[:71].any() and not begins[71:, ::2].any()
    others = begins[71:, 1::2]
    assert others.min() < 20 and 364 < others.max() <= 512 - pretrain.ROW


# ---- evaluate ------------------------------------------------------------------------------------
def test_answers_of_evaluate_are_from_all_parts_of_the_file_and_end_at_64_tokens(here, monkeypatch):
    """Without a file they are to a hundred questions of each task."""
    asked = []
    monkeypatch.setattr(evaluate, "answer_rows", lambda model, tok, rows, **how: asked.append(
        ([r.where for r in rows], how["max_new"])) or pytest.fail("asked"))
    monkeypatch.setattr(evaluate, "score_tasks", lambda *told, who: pytest.fail(str(told[2:])))
    for line in ("--data even.jsonl", "--data even.jsonl --max-new 5 --items 3"):
        with pytest.raises(pytest.fail.Exception, match="asked"):
            call(f"evaluate start {line}")
    (places, most), (few, less) = asked
    assert (len(places), most, less) == (20, 64, 5)
    assert [x.split()[-1] for x in few] == ["1", "11", "21"]
    with pytest.raises(pytest.fail.Exception, match=r"\('test', 100\)"):
        call("evaluate start")


# ---- sample --------------------------------------------------------------------------------------
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
    with no_pictures():
        assert call(line) == 0 and b"?" in raw.getvalue()


@pytest.mark.parametrize("stream, line, told", [
    ("stdin", "sample start", "/new clears the chat"),
    ("stderr", "train --objective sft --init start --data demos.jsonl --steps 1 --plain --out mute",
     "Saved in mute")])
def test_a_command_runs_without_a_stream_as_a_service_has_none(stream, line, told, here, capsys,
                                                               monkeypatch):
    monkeypatch.setattr(sys, stream, None)
    assert call(line) == 0
    out = capsys.readouterr().out
    assert told in out and out.endswith("\n"), "also where the input ends behind a question"


def test_a_run_in_a_thread(here):
    """As a page's button starts it: Python lets only the main thread hear signals."""
    line = "train --objective sft --init start --data demos.jsonl --steps 1 --plain --out thread"
    with ThreadPoolExecutor() as pool:
        assert pool.submit(call, line).result() == 0
