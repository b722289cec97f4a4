"""What `nanouft.train` does and leaves behind, on a tiny model: seconds, not minutes."""
import json
import math

import pytest
import torch
from running import DEMOS, PAIRS, QUICK, call, lines, losses, metrics, one_error
from safetensors.torch import load_file

from nanouft.models.load import save_model, start_model
from nanouft.objective import Objective, plain
from nanouft import pretrain, train
from nanouft.data import rows as data
from nanouft.look import report
from nanouft.shell import devices, runs
from nanouft.data.batches import encode
from nanouft.gpt import GPT, GPTConfig
from nanouft.objectives import OBJECTIVES

CPU = devices.Device("cpu", "fp32")
PNG = b"\x89PNG\r\n\x1a\n"


def go(tiny_base, *argv) -> int:
    return call(train.main, "--init", tiny_base, *QUICK, *argv)


# ---- what a run leaves -----------------------------------------------------------------------------------------------
def test_run_folder_tells_everything(here, tiny_base, capsys):
    assert go(tiny_base, "--objective", "ift", "--steps", 12, "--rows", 40, "--batch-size", 8, "--lam", 0.3,
              "--eval-every", 5, "--save-every", 4) == 0
    run = here / "out" / "ift"
    said = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert said["steps"] == 12 and said["hp"]["lam"] == 0.3 and said["config"]["lr"] == OBJECTIVES["ift"].lr
    came = said["from"]
    assert came["lam"] == came["steps"] == "command line" and came["gamma"] == "default"
    assert came["lr"] == "default of ift"
    assert set(came) == set(said["config"]) | set(said["hp"]), "every value says where it came from"

    log = metrics(run)
    steps = [m for m in log if "grad_norm" in m]
    assert [m["step"] for m in steps] == list(range(1, 13))
    assert all(math.isfinite(m["loss"]) and m["tokens"] > 0 for m in log if "grad_norm" in m)
    held = [m for m in log if "held_out" in m]
    assert [m["step"] for m in held] == [5, 10] and all(m["held_out"]["nll"] > 0 for m in held)
    assert [m["loss"] for m in held] == [steps[4]["loss"], steps[9]["loss"]], "its own step's loss"

    result = json.loads((run / "eval.json").read_text(encoding="utf-8"))
    assert result["after"]["held_out"]["nll"] < result["before"]["held_out"]["nll"]
    assert (run / "curves.png").read_bytes().startswith(PNG)
    assert "before" in (run / "samples.md").read_text(encoding="utf-8")
    assert (run / "steps" / "latest").read_text() == "8" and runs.whole_steps(run) == [4, 8]
    out = capsys.readouterr().out
    assert "[[" in out and "out/ift" in out and "nanouft.sample" in out


def test_families_stand_in_eval_json(here, tiny_base, capsys):
    assert call(train.main, "--init", tiny_base, "--objective", "sft", "--steps", 2, "--items", 2, "--threads", 1) == 0
    result = json.loads((here / "out/sft/eval.json").read_text(encoding="utf-8"))
    for when in ("before", "after"):
        for f in result[when]["families"].values():
            assert {"score", "low", "high"} <= set(f) and 0 <= f["low"] <= f["score"] <= f["high"] <= 1
    assert "rules_new" in capsys.readouterr().out


def test_taken_names_get_a_number_and_an_explicit_one_is_an_error(here, tiny_base, capsys):
    for _ in range(3):
        assert go(tiny_base, "--objective", "sft", "--steps", 1, "--rows", 9) == 0
    assert sorted(f.name for f in (here / "out").iterdir() if f.name[0] != ".") == ["sft", "sft-2", "sft-3"]
    capsys.readouterr()
    one_error(go(tiny_base, "--objective", "sft", "--steps", 1, "--out", "out/sft"), capsys.readouterr().err,
              "out/sft", "another run", "choose another name")
    (here / "out/sft/eval.json").write_text('{"before": {}}')
    one_error(go(tiny_base, "--objective", "sft", "--steps", 1, "--out", "out/sft"), capsys.readouterr().err,
              "out/sft", "another run", "--resume out/sft")            # only an unfinished run can go on
    (here / "full").mkdir()
    (here / "full" / "letter.txt").write_text("dear")
    one_error(go(tiny_base, "--steps", 1, "--out", "full"), capsys.readouterr().err, "full", "not an empty folder")


def test_transformers_opens_a_run_folder(here, tiny_base):
    transformers = pytest.importorskip("transformers")
    assert go(tiny_base, "--objective", "sft", "--steps", 3, "--rows", 20, "--lr", 0.01, "--out", "run") == 0
    theirs = transformers.GPT2LMHeadModel.from_pretrained(here / "run").eval()
    ours, tok = start_model(str(here / "run"))
    ids = torch.tensor([tok.encode("Sort pig bee saw from a to z.")])
    with torch.no_grad():
        assert torch.allclose(theirs(ids).logits, ours(ids), atol=1e-4)
    assert transformers.AutoTokenizer.from_pretrained(here / "run").encode("Sort pig bee") == tok.encode("Sort pig bee")


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


def test_a_corpus_makes_a_base_once(here, monkeypatch, capsys):
    (here / "tale.txt").write_text("The red hen sat on a jar and said no. " * 400, encoding="utf-8")
    made, real = [], pretrain.pretrain

    def short(cfg):
        cfg.steps, cfg.tokens = 2, 256
        made.append(cfg.out)
        return real(cfg)
    monkeypatch.setattr(pretrain, "pretrain", short)
    monkeypatch.setitem(pretrain.SIZES, "nano", GPTConfig(n_ctx=64, n_layer=1, n_head=2, n_embd=16))
    for _ in range(2):
        assert call(train.main, "--corpus", "tale.txt", "--objective", "sft", "--steps", 1, "--rows", 9, *QUICK) == 0
    assert len(made) == 1, "the second run takes the base of the first"
    init = json.loads((here / "out/sft-2/run.json").read_text())["config"]["init"]
    assert made[0].startswith(init) and made[0].endswith(".partial"), "a base gets its name when it is whole"
    assert [f.name for f in (here / "out").glob("base-*")] == [init.split("/")[-1]]
    capsys.readouterr()
    one_error(call(train.main, "--corpus", "none.txt"), capsys.readouterr().err, "none.txt", "no such file")


# ---- settings --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flags", [["--optimizer", "rmsprop"], ["--clip", "0"], ["--weight-decay", "0.1"],
                                   ["--dtype", "bf16"], ["--warmup", "0"], ["--warmup", "1"]], ids=" ".join)
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
    assert go(tiny_base, "--objective", "sft", "--data", file, "--batch-size", 50, "--steps", 2, "--out", "big") == 0
    assert len(losses(here / "big")) == 2


def test_data_that_leaves_nothing_to_hold_out(here, tiny_base, capsys):
    file = lines(here / "one.jsonl", DEMOS[:1])
    for objective, rows in (("sft", DEMOS[:1]), ("dpo", PAIRS[:1])):
        file = lines(here / f"{objective}.jsonl", rows)
        assert go(tiny_base, "--objective", objective, "--data", file, "--steps", 2, "--eval-every", 1,
                  "--out", objective) == 0
        assert "of 0 rows held out" in capsys.readouterr().out
        assert (here / objective / "curves.png").read_bytes().startswith(PNG)


def test_a_folder_with_a_foreign_name_and_a_file_from_windows(here, tiny_base, monkeypatch):
    place = here / "Zoë 学 x"
    place.mkdir()
    monkeypatch.chdir(place)
    rows = [*DEMOS, {"prompt": "Grüße", "response": "學 ✓"},
            {"prompt": "half a surrogate \ud83d", "response": "x \ud83d"}]
    text = "\r\n".join(json.dumps(r) for r in rows) + "\r\n"
    (place / "données.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert go(tiny_base, "--objective", "sft", "--data", "données.jsonl", "--steps", 2, "--out", "læuf 学") == 0
    said = json.loads((place / "læuf 学" / "run.json").read_text(encoding="utf-8"))
    assert said["config"]["data"] == ["données.jsonl"]
    assert call(train.main, "--init", "læuf 学", "--objective", "sft", "--steps", 1, "--rows", 9, *QUICK) == 0


def test_several_files_in_one_flag_or_in_two(here, tiny_base, capsys):
    a, b = lines(here / "a.jsonl", DEMOS[:8]), lines(here / "b.json", DEMOS[8:])
    for i, flags in enumerate((["--data", a, b], ["--data", a, "--data", b])):
        assert go(tiny_base, "--objective", "sft", *flags, "--steps", 1, "--out", f"r{i}") == 0
        out = capsys.readouterr().out
        assert "a.jsonl" in out and "b.json" in out and "of 14 rows" in out


# ---- accumulation ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("objective", ["sft", "ift", "dpo"])
def test_accumulation_is_the_large_batch(objective, here, tiny_base):
    """The log is fp32: 1e-6 of a loss of 7 is its last digit. Pieces need not be equal: 7 rows in 3."""
    for pieces in (1, 3):
        assert go(tiny_base, "--objective", objective, "--steps", 4, "--rows", 30, "--batch-size", 7,
                  "--accumulate", pieces, "--out", f"a{pieces}") == 0
    for one, three in zip(losses(here / "a1"), losses(here / "a3")):
        assert one == pytest.approx(three, rel=1e-6)


@pytest.mark.parametrize("objective", ["sft", "ift", "dpo"])
def test_accumulation_gives_the_same_weights(objective, tmp_path):
    """In fp64: Adam divides a gradient by its own size, so in fp32 one that is 0 but for rounding would decide."""
    from tiny import DATA, NANO, TINY
    from nanouft.reference import add_columns
    o, done = OBJECTIVES[objective], []
    for pieces in (1, 2, 5):
        model = GPT(GPTConfig(**{**vars(TINY), "vocab_size": NANO.n_vocab}), seed=1).double()
        encoded, _ = encode(o.rows(DATA, o.hp()), NANO, TINY.n_ctx)
        add_columns(encoded, o.columns, model, NANO.pad, CPU)
        folder = tmp_path / str(pieces)
        folder.mkdir()
        cfg = train.Train(lr=1e-3, batch_size=5, accumulate=pieces, save_every=0)
        train.fit(model, o, o.hp(), cfg, encoded, NANO.pad, 6, CPU, folder)
        done.append((torch.cat([p.detach().flatten() for p in model.parameters()]), losses(folder)))
    for weights, log in done[1:]:
        assert torch.allclose(weights, done[0][0], atol=1e-6, rtol=0)
        assert log == pytest.approx(done[0][1], abs=1e-6)


# ---- a run that diverges ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("flags", [["--objective", "sft"], ["--objective", "ift", "--clip", "0"],
                                   ["--objective", "dpo"], ["--objective", "sft", "--optimizer", "rmsprop"]],
                         ids=" ".join)
def test_a_run_that_diverges_ends_in_one_line(here, tiny_base, capsys, flags):
    code = go(tiny_base, *flags, "--lr", "1e30", "--warmup", "0", "--steps", 40, "--rows", 30, "--save-every", 1,
              "--out", "run")
    one_error(code, capsys.readouterr().err, "step", "lr")
    assert not (here / "run" / "model.safetensors").exists()
    for n in runs.whole_steps(here / "run"):
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
    monkeypatch.setitem(OBJECTIVES, "sft", Objective(**{**vars(sft), "loss": loss}))
    code = go(tiny_base, "--objective", "sft", "--steps", 20, "--rows", 30, "--save-every", 5, "--out", "run")
    said = one_error(code, capsys.readouterr().err, "loss is nan at step 8")
    assert "step 5 in" in said and [m["step"] for m in metrics(here / "run")] == [1, 2, 3, 4, 5, 6, 7]
    assert runs.whole_steps(here / "run") == [5]


def test_a_gradient_that_is_not_finite_is_seen_before_it_is_saved(tmp_path):
    """The loss stays finite: its value is 0, but the square root of 0 has no finite slope."""
    from tiny import DATA, NANO, TINY
    def loss(batch, hp):
        return (batch.seqs["answer"].logp * 0).sqrt().sum(), {}
    broken = Objective(paper="", rows=data.demo_rows, loss=loss, hp=object, data="demos", lr=1e-3, forward=plain)
    encoded, _ = encode(data.demo_rows(DATA, None), NANO, TINY.n_ctx)
    model = GPT(GPTConfig(**{**vars(TINY), "vocab_size": NANO.n_vocab}), seed=1)
    cfg = train.Train(lr=1e-3, batch_size=2, save_every=1)
    with pytest.raises(train.UserError, match="grad_norm is nan at step 1"):
        train.fit(model, broken, None, cfg, encoded, NANO.pad, 3, CPU, tmp_path)
    assert runs.whole_steps(tmp_path) == []


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    model = GPT(GPTConfig(n_ctx=8, n_layer=1, n_head=1, n_embd=8), seed=0)
    model.wpe.weight.data[0, 0] = math.inf
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(train.UserError, match="wpe.weight"):
        runs.save_step(tmp_path, 1, model, optimizer, {})
    with pytest.raises(train.UserError, match="not saved"):
        save_model(tmp_path, model, None)
    assert not list(tmp_path.iterdir())
    GPT.save_pretrained(model, tmp_path)
    with pytest.raises(train.UserError, match="not finite"):
        start_model(str(tmp_path))


# ---- compile ---------------------------------------------------------------------------------------------------------
def test_without_a_compiler_it_runs_eagerly(here, tiny_base, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model, **kw: model)        # what suppress_errors amounts to
    assert go(tiny_base, "--objective", "ift", "--steps", 2, "--rows", 20, "--compile", "on", "--out", "run") == 0


@pytest.mark.slow
def test_compile_on_a_cpu(here, tiny_base):
    import shutil
    if not (shutil.which("g++") or shutil.which("clang++") or shutil.which("cl")):
        pytest.skip("torch.compile on a CPU needs a C++ compiler, and there is none here")
    for mode in ("off", "on"):
        assert go(tiny_base, "--objective", "ift", "--steps", 3, "--rows", 20, "--batch-size", 8, "--compile", mode,
                  "--out", mode) == 0
    assert losses(here / "on") == pytest.approx(losses(here / "off"), rel=1e-4)


# ---- small parts -----------------------------------------------------------------------------------------------------
def test_schedule_rises_and_falls():
    factors = [train.schedule(i, 100, 0.1)[0] for i in range(100)]
    assert factors[0] == pytest.approx(0.1) and max(factors) == factors[9] == factors[10] == 1
    assert 0 < factors[-1] < 0.01, "the last step still learns"
    assert train.schedule(0, 1, 0.1) == (1, 1) and train.schedule(0, 1, 0.0) == (1, 1)
    assert [train.schedule(i, 100, 0.1)[1] for i in (0, 4, 9, 50)] == pytest.approx([0.1, 0.5, 1, 1])


def test_colour_is_for_terminals_only(monkeypatch):
    class Terminal:
        def isatty(self):
            return True
    monkeypatch.setattr(report.sys, "stdout", Terminal())
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert report.colour()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not report.colour()
