"""What `nanouft.train` does and leaves behind, on a tiny model: seconds, not minutes."""
import math
import shutil
from dataclasses import replace

import pytest
import torch
from running import DEMOS, PAIRS, QUICK, call, lines, losses, metrics, one_error
from safetensors.torch import load_file
from tiny import CPU, DATA, NANO, TINY

from nanouft import train
from nanouft.data.batches import Epochs, encode
from nanouft.data.rows import demo_rows
from nanouft.gpt import GPT, GPTConfig
from nanouft.look import report
from nanouft.models.load import start_model
from nanouft.models.save import save_model, write_gpt
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES
from nanouft.reference import add_columns
from nanouft.shell import checkpoints
from nanouft.shell.errors import UserError
from nanouft.shell.text import read_json
from nanouft.training.schedule import warmup_cosine
from nanouft.training.setup import Run

pytestmark = pytest.mark.usefixtures("brief")
PNG = b"\x89PNG\r\n\x1a\n"


def go(tiny_base, *argv) -> int:
    return call(train.main, "--init", tiny_base, *QUICK, *argv)


# ---- what a run leaves -----------------------------------------------------------------------------------------------
def test_run_folder_tells_everything(here, tiny_base, capsys, brief):
    brief.undo()
    assert go(tiny_base, "--objective", "ift", "--steps", 12, "--rows", 40, "--batch-size", 8, "--lam", 0.3,
              "--eval-every", 5, "--save-every", 4, "--items", 2) == 0
    run = here / "out" / "ift"
    said = read_json(run / "run.json")
    assert said["steps"] == 12 and said["hp"]["lam"] == 0.3 and said["config"]["lr"] == OBJECTIVES["ift"].lr
    came = said["from"]
    assert came["lam"] == came["steps"] == "command line" and came["gamma"] == "default"
    assert came["lr"] == "default of ift"
    assert set(came) == set(said["config"]) | set(said["hp"]), "every value says where it came from"

    steps = [m for m in metrics(run) if "grad_norm" in m]
    assert [m["step"] for m in steps] == list(range(1, 13))
    assert all(math.isfinite(m["loss"]) and m["tokens"] > 0 for m in steps)
    held = [m for m in metrics(run) if "held_out" in m]
    assert [m["step"] for m in held] == [5, 10] and all(m["held_out"]["nll"] > 0 for m in held)
    assert [m["loss"] for m in held] == [steps[4]["loss"], steps[9]["loss"]], "its own step's loss"

    result = read_json(run / "eval.json")
    assert result["after"]["held_out"]["nll"] < result["before"]["held_out"]["nll"]
    for f in (*result["before"]["families"].values(), *result["after"]["families"].values()):
        assert 0 <= f["low"] <= f["score"] <= f["high"] <= 1
    assert (run / "curves.png").read_bytes().startswith(PNG)
    assert "before" in (run / "samples.md").read_text(encoding="utf-8")
    assert (run / "steps" / "latest").read_text() == "8" and checkpoints.whole_steps(run) == [4, 8]
    out = capsys.readouterr().out
    assert "[[" in out and "out/ift" in out and "nanouft.sample" in out and "rules_new" in out


def test_taken_names_get_a_number_and_an_explicit_one_is_an_error(here, tiny_base, capsys):
    argv = ["--objective", "sft", "--steps", 1, "--rows", 9]

    def refused(out, *words):
        capsys.readouterr()
        one_error(go(tiny_base, *argv, "--out", out), capsys.readouterr().err, out, *words)
    for _ in range(3):
        assert go(tiny_base, *argv) == 0
    assert sorted(f.name for f in (here / "out").iterdir()) == ["sft", "sft-2", "sft-3"]
    refused("out/sft", "another run", "choose another name")
    (here / "out/sft/eval.json").write_text('{"before": {}}')
    refused("out/sft", "another run", "--resume out/sft")               # only an unfinished run can go on
    (here / "full").mkdir()
    (here / "full" / "letter.txt").write_text("dear")
    refused("full", "not an empty folder")


def test_a_folder_made_by_transformers_trains(here):
    """A small vocabulary of its own, tokenizer files by the tokenizers library: the chat tokens get new rows."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    bpe = tokenizers.ByteLevelBPETokenizer()
    bpe.train_from_iterator([d["prompt"] + " " + d["response"] for d in DEMOS], vocab_size=300)
    (here / "theirs").mkdir()
    bpe.save_model(str(here / "theirs"))
    cfg = transformers.GPT2Config(vocab_size=bpe.get_vocab_size(), n_positions=64, n_embd=32, n_layer=2, n_head=2,
                                  bos_token_id=0, eos_token_id=0)
    transformers.GPT2LMHeadModel(cfg).save_pretrained(here / "theirs")
    file = lines(here / "demos.jsonl", DEMOS)
    assert call(train.main, "--init", "theirs", "--objective", "sft", "--data", file, "--steps", 5, "--lr", 0.01,
                "--out", "run", *QUICK) == 0
    assert losses(here / "run")[-1] < losses(here / "run")[0]
    model, tok = start_model("run")
    assert model.cfg.vocab_size == tok.n_vocab == bpe.get_vocab_size() + 4
    assert call(train.main, "--init", "run", "--objective", "sft", "--data", file, "--steps", 1, *QUICK) == 0


# ---- settings --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flags", [["--optimizer", "rmsprop", "--clip", "0"],
                                   ["--dtype", "bf16", "--warmup", "1", "--weight-decay", "0.1"]], ids=" ".join)
def test_settings_train(here, tiny_base, flags):
    assert go(tiny_base, "--objective", "sft", "--steps", 12, "--rows", 30, "--batch-size", 6, "--lr", 0.003,
              "--save-every", 0, "--out", "run", *flags) == 0
    assert losses(here / "run")[-1] < losses(here / "run")[0] - 0.05
    assert not (here / "run" / "steps").exists(), "--save-every 0 saves no steps"


def test_epochs_may_be_fractions_and_data_smaller_than_a_batch(here, tiny_base):
    file = lines(here / "d.jsonl", DEMOS)                           # 16 rows, two of them held out
    for epochs, steps in ((0.5, 2), (2.5, 9), (0.01, 1)):
        assert go(tiny_base, "--objective", "sft", "--data", file, "--batch-size", 4, "--epochs", epochs,
                  "--out", f"e{epochs}") == 0
        assert len(losses(here / f"e{epochs}")) == steps
    assert go(tiny_base, "--objective", "sft", "--data", file, "--steps", 2, "--out", "big") == 0
    assert len(losses(here / "big")) == 2, "the default batch may hold rows twice; one that is asked for may not"


def test_data_that_leaves_nothing_to_hold_out(here, tiny_base, capsys, brief):
    brief.undo()                                                    # a picture is drawn even so
    for objective, rows in (("sft", DEMOS[:1]), ("dpo", PAIRS[:1])):
        file = lines(here / f"{objective}.jsonl", rows)
        assert go(tiny_base, "--objective", objective, "--data", file, "--steps", 2, "--eval-every", 1,
                  "--out", objective) == 0
        assert "of 0 rows held out" in capsys.readouterr().out
        assert (here / objective / "curves.png").read_bytes().startswith(PNG)


# ---- the loop by itself ----------------------------------------------------------------------------------------------
def fit(objective, hp, steps: int, folder, double: bool = False, **settings) -> GPT:
    """train.fit on eight rows; returns the small random model that it has trained."""
    model = GPT(replace(TINY, vocab_size=NANO.n_vocab), seed=1)
    model = model.double() if double else model
    encoded, _ = encode(objective.rows(DATA, hp), NANO, TINY.n_ctx)
    add_columns(encoded, objective.columns, model, NANO.pad, CPU)
    cfg = train.Train(lr=1e-3, **settings)
    source = Epochs(encoded, cfg.batch_size, steps, cfg.seed, NANO.pad)
    train.fit(model, objective, hp, steps, Run("a test", cfg, hp, CPU, folder, source, None))
    return model


@pytest.mark.parametrize("objective", ["sft", "ift", "dpo"])
def test_accumulation_is_the_large_batch(objective, tmp_path):
    """Losses and weights are the same, and pieces need not be equal. In fp64: Adam divides a gradient by its own size,
    so in fp32 one that is 0 but for rounding would decide."""
    o, done = OBJECTIVES[objective], []
    for pieces in (1, 2, 5):
        model = fit(o, o.hp(), 6, tmp_path / str(pieces), True, batch_size=5, accumulate=pieces, save_every=0)
        done.append((torch.cat([p.detach().flatten() for p in model.parameters()]), losses(tmp_path / str(pieces))))
    for weights, log in done[1:]:
        assert torch.allclose(weights, done[0][0], atol=1e-6, rtol=0)
        assert log == pytest.approx(done[0][1], abs=1e-6)


# ---- a run that diverges ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flags", [["--objective", "ift", "--clip", "0"],
                                   ["--objective", "dpo", "--optimizer", "rmsprop"]], ids=" ".join)
def test_a_run_that_diverges_ends_in_one_line(here, tiny_base, capsys, flags):
    code = go(tiny_base, *flags, "--lr", "1e30", "--warmup", "0", "--steps", 40, "--rows", 30, "--save-every", 1,
              "--out", "run")
    one_error(code, capsys.readouterr().err, "step", "lr")
    assert not (here / "run" / "model.safetensors").exists()
    for n in checkpoints.whole_steps(here / "run"):
        weights = load_file(here / "run" / "steps" / str(n) / "model.safetensors")
        assert all(torch.isfinite(w).all() for w in weights.values()), f"step {n}"
    assert all(math.isfinite(v) for m in metrics(here / "run") for v in m.values() if v is not None)


def test_the_last_good_step_survives(here, tiny_base, capsys, monkeypatch):
    """Five good steps, then a loss that is not a number."""
    sft, calls = OBJECTIVES["sft"], []

    def loss(batch, hp):
        calls.append(1)
        value, said = sft.loss(batch, hp)
        return value * (math.nan if len(calls) > 7 else 1), said
    monkeypatch.setitem(OBJECTIVES, "sft", replace(sft, loss=loss))
    code = go(tiny_base, "--objective", "sft", "--steps", 20, "--rows", 30, "--save-every", 5, "--out", "run")
    said = one_error(code, capsys.readouterr().err, "loss is nan at step 8")
    assert "step 5 in" in said and [m["step"] for m in metrics(here / "run")] == [1, 2, 3, 4, 5, 6, 7]
    assert checkpoints.whole_steps(here / "run") == [5]


def test_a_gradient_that_is_not_finite_is_seen_before_it_is_saved(tmp_path):
    """The loss stays finite: its value is 0, but the square root of 0 has no finite slope."""
    def loss(batch, hp):
        return (batch.seqs["answer"].logp * 0).sqrt().sum(), {}
    broken = Objective(paper="", rows=demo_rows, loss=loss, hp=object, data="demos", lr=1e-3)
    with pytest.raises(UserError, match="grad_norm is nan at step 1"):
        fit(broken, None, 3, tmp_path, batch_size=2, save_every=1)
    assert checkpoints.whole_steps(tmp_path) == []


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model = GPT(GPTConfig(n_ctx=8, n_layer=1, n_head=1, n_embd=8), seed=0)
    model.wpe.weight.data[0, 0] = math.inf
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(UserError, match="wpe.weight"):
        checkpoints.save_step(tmp_path, 1, model, optimizer, {})
    with pytest.raises(UserError, match="not saved"):
        save_model(tmp_path, model, None)
    assert not list(tmp_path.iterdir())
    write_gpt(tmp_path, model)
    with pytest.raises(UserError, match="not finite"):
        start_model(str(tmp_path))


# ---- compile ---------------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_compile_on_a_cpu(here, tiny_base):
    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        pytest.skip("torch.compile on a CPU needs a C++ compiler, and there is none here")
    for mode in ("off", "on"):
        assert go(tiny_base, "--objective", "ift", "--steps", 3, "--rows", 20, "--batch-size", 8, "--compile", mode,
                  "--out", mode) == 0
    assert losses(here / "on") == pytest.approx(losses(here / "off"), rel=1e-4)


# ---- small parts -----------------------------------------------------------------------------------------------------
def test_schedule_rises_and_falls():
    factors = [warmup_cosine(i, 100, 0.1)[0] for i in range(100)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == factors[9] == factors[10] == 1
    assert 0 < factors[-1] < 0.01, "the last step still learns"
    assert warmup_cosine(0, 1, 0.1) == (1, 1) and warmup_cosine(0, 1, 0.0) == (1, 1)
    assert [warmup_cosine(i, 100, 0.1)[1] for i in (0, 4, 9, 50)] == pytest.approx([0.1, 0.5, 1, 1])


def test_colour_is_for_terminals_only(monkeypatch):
    class Terminal:
        def isatty(self):
            return True
    monkeypatch.setattr(report.sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert report.colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not report.colour()
