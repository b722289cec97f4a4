"""Real input that nobody on this project wrote: instructions with pairs, a ladder of answers, Shakespeare.

The files lie beside the checkout of those who have them; without them these tests skip aloud. The short form trains a
few steps and runs everywhere; the long one (`pytest -m slow tests/core/test_real_data.py`, about 20 minutes) is the
claim itself: 200 steps, three seeds, held-out figures better than before.
"""
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from running import call, example

from nanouft import evaluate, pretrain, train

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PAIRS, LADDER = DATA / "instructions_with_preference.json", DATA / "dolly_ladder.jsonl"
CORPUS = DATA / "tinyshakespeare.txt"
FIELDS = ("--prompt-field", "instruction", "--response-field", "response")
RUNS = {"ift": (PAIRS, (), "nll"), "dpo": (PAIRS, (), "accuracy"), "sft": (LADDER, FIELDS, "nll")}
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the real files are not on this machine")


@pytest.fixture
def short(tmp_path, monkeypatch):
    """The beginnings of the files, and a small base; the slow tests take everything."""
    module = sys.modules[__name__]
    text = tmp_path / CORPUS.name
    text.write_text(CORPUS.read_text(encoding="utf-8")[:200_000], encoding="utf-8")
    monkeypatch.setattr(module, "CORPUS", text)
    ladder = tmp_path / LADDER.name
    ladder.write_text("".join(LADDER.read_text(encoding="utf-8").splitlines(True)[:150]), encoding="utf-8")
    pairs = tmp_path / PAIRS.name
    pairs.write_text(json.dumps(json.loads(PAIRS.read_text(encoding="utf-8"))[:150]), encoding="utf-8")
    monkeypatch.setitem(pretrain.SIZES, "nano", replace(pretrain.SIZES["nano"], n_layer=2, n_embd=64))
    files = {PAIRS: pairs, LADDER: ladder}
    monkeypatch.setattr(module, "RUNS", {n: (files[f], *more) for n, (f, *more) in RUNS.items()})


def base(folder: Path, steps: int, *more) -> Path:
    assert call(pretrain.main, "--corpus", CORPUS, "--steps", steps, *more,
                "--out", folder / "shake") == 0
    return folder / "shake"


def better(folder: Path, init: Path, objective: str, seed: int, steps: int, capsys) -> None:
    file, flags, figure = RUNS[objective]
    out = folder / f"{objective}-{seed}"
    capsys.readouterr()
    assert call(train.main, "--objective", objective, "--data", file, *flags, "--init", init, "--steps", steps,
                "--batch-size", 8, "--seed", seed, "--out", out) == 0
    said, result = capsys.readouterr().out, json.loads((out / "eval.json").read_text())
    before, after = (result[when]["held_out"][figure] for when in ("before", "after"))
    sign = 1 if figure == "accuracy" else -1
    assert sign * (after - before) > 0, f"{objective}, seed {seed}: held-out {figure} {before:.3f} -> {after:.3f}"
    assert "rows read" in said and "serve" in said and (out / "samples.md").stat().st_size > 200
    assert objective != "dpo" or "pairs skipped: chosen equals rejected" in said


def test_a_few_steps_of_each(tmp_path, capsys, short, brief):
    init = base(tmp_path, 40, "--tokens", 1024)
    for objective in RUNS:
        better(tmp_path, init, objective, 0, 30, capsys)


@pytest.mark.slow
def test_two_hundred_steps_three_seeds(tmp_path, capsys):
    init = base(tmp_path, 1200)
    for seed in range(3):
        for objective in RUNS:
            better(tmp_path, init, objective, seed, 200, capsys)


# ---- answers of graded quality: UNA, KTO, UFT, PoFT ------------------------------------------------------------------
GRADED = {"una": ("scores",), "kto": ("labels",), "uft": ("demos", "scores"), "poft": ("mixed",)}
QUALITIES = ("flan_t5_small", "flan_t5_base", "flan_t5_large", "flan_t5_xl", "response")


def graded_files(folder: Path, prompts: int) -> Path:
    """What examples/graded_answers.py makes of the first rows of the ladder."""
    some = folder / "ladder.jsonl"
    some.write_text("".join(LADDER.read_text(encoding="utf-8").splitlines(True)[:prompts]), encoding="utf-8")
    main = example("graded_answers").main
    assert call(main, some, "--prompt", "instruction", "--answers", *QUALITIES, "--out", folder / "graded") == 0
    return folder / "graded"


def preference(init: Path, reference: Path, files: Path, capsys) -> float:
    """Share of couples of answers to a test prompt whose better one gained more log-prob over the reference."""
    capsys.readouterr()
    assert call(evaluate.main, "--init", init, "--reference", reference, "--data", files / "test.jsonl") == 0
    return float(capsys.readouterr().out.split("accuracy ")[1].split()[0])


def graded_runs(folder: Path, init: Path, files: Path, seed: int, steps: int, capsys) -> dict[str, float]:
    """{objective: accuracy on the test prompts}; before training it is 1/2. SFT makes the model that PoFT asks."""
    common = ("--init", init, "--steps", steps, "--batch-size", 8, "--seed", seed)
    sft = folder / f"sft-{seed}"
    assert call(train.main, "--objective", "sft", "--data", files / "demos.jsonl", *common, "--out", sft) == 0
    found = {"sft": preference(sft, init, files, capsys)}
    for objective, names in GRADED.items():
        out = folder / f"{objective}-{seed}"
        data = [files / f"{name}.jsonl" for name in names]
        more = ("--aligned", sft, "--weigh-rows") if objective == "poft" else ()
        assert call(train.main, "--objective", objective, "--data", *data, *more, *common, "--out", out) == 0
        found[objective] = preference(out, init, files, capsys)
        if objective == "poft":
            assert (out / "row_weights.jsonl").stat().st_size > 1000
            continue
        result = json.loads((out / "eval.json").read_text(encoding="utf-8"))
        before, after = (result[when]["held_out"]["accuracy"] for when in ("before", "after"))
        assert before == 0.5 and 0 < after < 1, "held-out preference stands in the run folder, before and after"
    return found


def test_graded_answers_in_a_few_steps(tmp_path, capsys, short, brief):
    init, files = base(tmp_path, 5), graded_files(tmp_path, 40)
    assert preference(init, init, files, capsys) == 0.5, "LAW: before training no answer has gained anything"
    found = graded_runs(tmp_path, init, files, 0, 8, capsys)
    assert all(0 < x < 1 for x in found.values()), found


@pytest.mark.slow
def test_graded_answers_teach_preference(tmp_path, capsys):
    """600 prompts, 200 steps: methods that are told what is better prefer it on prompts they have not seen."""
    init, files = base(tmp_path, 400), graded_files(tmp_path, 600)
    for seed in range(3):
        found = graded_runs(tmp_path, init, files, seed, 200, capsys)
        with capsys.disabled():
            print(seed, {name: round(x, 3) for name, x in found.items()})
        for objective in ("una", "kto"):
            assert found[objective] > 0.5, f"{objective}, seed {seed}: {found}"
