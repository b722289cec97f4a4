"""The reward model: its loss and gradient, what it reads, what it leaves behind, and what it says about itself."""
import math

import numpy as np
import pytest
import torch
from running import PAIRS, call, lines, metrics, one_error
from tiny import same, tiny

from nanouft import evaluate, reward, world
from nanouft.models.load import start_model
from nanouft.reward import bradley_terry
from nanouft.rollout import reward_quality
from nanouft.rollout.scorer import RewardModel, exact, load, load_model, padded, rewards, save, scorer
from nanouft.shell.config import UserError
from nanouft.shell.files import read_json

PAD = 0
SEQS = [[5, 3, 9], [5, 3, 9, 2, 7, 11], [4, 1], [4, 8, 8, 6, 2]]           # ends: 9, 11, 1, 2


def model_with_head(seed: int = 0) -> RewardModel:
    model = RewardModel(tiny(seed)).double()
    model.score.weight.data.normal_(0, 0.5, generator=torch.Generator().manual_seed(seed))
    return model


def test_by_hand():
    t = torch.tensor
    same(bradley_terry(t([0.0]), t([0.0])), [math.log(2)], "equal rewards say nothing: log 2", 1e-6)
    same(bradley_terry(t([1.0]), t([0.0])), [0.3133], "one ahead", 1e-4)
    assert torch.isfinite(bradley_terry(t([-1000.0]), t([0.0]))).all(), "-log sigma must not be log of 0"
    same(bradley_terry(t([3.0]), t([1.0]), 0.01) - bradley_terry(t([3.0]), t([1.0])), [0.16], "c (r_w + r_l)^2", 1e-6)


def test_gradient_by_finite_differences():
    model, rng = model_with_head(), torch.Generator().manual_seed(1)

    def loss() -> torch.Tensor:
        r_w, r_l = model(*padded(SEQS, PAD, "cpu")).chunk(2)
        return bradley_terry(r_w, r_l, 0.1).mean()
    loss().backward()
    for name, p in model.named_parameters():
        direction = torch.randn(p.shape, generator=rng, dtype=torch.float64)
        start, eps, values = p.data.clone(), 1e-5, []
        for sign in (1, -1):
            p.data = start + sign * eps * direction
            values.append(loss().item())
        p.data = start
        slope = (values[0] - values[1]) / (2 * eps)
        assert (p.grad * direction).sum().item() == pytest.approx(slope, rel=1e-5, abs=1e-8), name


def test_padding_does_not_matter():
    model = model_with_head()
    with torch.no_grad():
        alone = torch.cat([model(*padded([s], PAD, "cpu")) for s in SEQS])
        for pad in (0, 13):
            same(model(*padded(SEQS, pad, "cpu")), alone, f"a reward is the row's own, whatever pads it ({pad})")
    same(rewards(model, SEQS, PAD, chunk=3), alone, "sorted by length, cut, and put back in order")


def test_the_reward_is_read_at_the_last_token_and_sees_all_before():
    model = model_with_head()
    score = lambda s: rewards(model, [s], PAD)[0]                                   # noqa: E731
    assert abs(score([5, 3, 9]) - score([6, 3, 9])) > 1e-4, "the first token counts"
    assert abs(score([5, 3, 9]) - score([5, 3, 10])) > 1e-4, "and the last"


# ---- folders ---------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def made(tiny_base, tmp_path_factory):
    """A reward model made by the command from 16 pairs, whose rejected answers all say no."""
    place = tmp_path_factory.mktemp("reward")
    file = lines(place / "pairs.jsonl", PAIRS)
    assert call(reward.main, "--data", file, "--init", tiny_base, "--epochs", 40, "--batch-size", 8, "--lr", 3e-3,
                "--threads", 1, "--out", place / "r") == 0
    return place / "r"


def test_the_folder(made):
    names = {f.name for f in made.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "run.json", "metrics.jsonl", "eval.json",
            "calibration.png"} == names - {"tokenizer_config.json"}, "nothing pickled, nothing left over"
    log = metrics(made)
    assert log[0]["loss"] == pytest.approx(math.log(2), abs=1e-4) and log[-1]["loss"] < 0.2
    found = read_json(made / "eval.json")["held_out"]
    assert found["low"] <= found["accuracy"] <= found["high"] and found["pairs"] >= 1
    assert read_json(made / "run.json")["command"] == "reward"


def test_the_scorer_prefers_what_was_chosen_and_reads_each_text_once(made):
    scorer, prompt = load(made, "cpu"), "Say fig twice."
    r = scorer([prompt] * 4, ["fig fig", "no", "no no", "fig fig"])
    assert r.shape == (4,) and r[0] > max(r[1:3]) + 0.5
    assert r[0] == r[3], "equal texts get equal rewards, to the last digit"
    long = [["word " * 400] * 3, ["fig fig", "no", "fig fig"]]
    a, b, same_text = scorer(*long)
    assert np.isfinite(a) and a != b and a == same_text, "a long prompt loses its beginning, the answer nothing"
    with pytest.raises(ValueError):
        scorer(["one prompt"], ["two", "answers"])


def test_saved_and_loaded_is_the_same(tmp_path, tiny_base):
    gpt, tok = start_model(str(tiny_base))
    model = RewardModel(gpt)
    model.score.weight.data.normal_(0, 1, generator=torch.Generator().manual_seed(0))
    (tmp_path / "r").mkdir()
    save(tmp_path / "r", model, tok)
    again, _ = load_model(tmp_path / "r")
    same(rewards(again, SEQS, tok.pad), rewards(model, SEQS, tok.pad), "saved = loaded", 0)


def test_transformers_opens_it_with_the_same_rewards(made):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(made).eval()
    assert type(theirs).__name__ == "GPT2ForSequenceClassification" and theirs.config.num_labels == 1
    model, tok = load_model(made)
    ids, _ = padded(SEQS, tok.pad, "cpu")
    with torch.no_grad():
        got = theirs(ids, attention_mask=(ids != tok.pad).long()).logits[:, 0]
    assert (made / "model.safetensors").stat().st_size > 1000
    same(got, rewards(model, SEQS, tok.pad), "GPT2ForSequenceClassification reads the same reward", 1e-5)


def test_what_is_no_reward_model_is_named(made, tiny_base, tmp_path, capsys):
    with pytest.raises(UserError, match="is a language model, no reward model"):
        load(tiny_base)
    with pytest.raises(UserError, match="no such folder"):
        load(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot speak"):
        start_model(str(made))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="has not finished"):
        load(tmp_path / "half")


@pytest.mark.parametrize("argv, words", [
    (["--rows", 0], ["--rows 0"]),
    (["--lr", 0], ["--lr"]),
    (["--steps", 3, "--epochs", 2], ["--steps and --epochs"]),
    (["--data", "pairs.jsonl", "--rows", 5], ["--rows belongs to NanoWorld"]),
    (["--sampler", "base"], ["--sampler", "--pairs samples"]),
    (["--skills", "sums"], ["--skills sums", "unknown family"]),
    (["--data", "demos.jsonl"], ["needs pairs"]),
    (["--data", "one.jsonl"], ["hold out", "two prompts"]),
])
def test_mistakes_are_one_line(argv, words, here, capsys):
    lines(here / "demos.jsonl", [{"prompt": "a", "response": "b"}, {"prompt": "c", "response": "d"}])
    lines(here / "one.jsonl", PAIRS[:1])
    lines(here / "pairs.jsonl", PAIRS)
    one_error(call(reward.main, *argv), capsys.readouterr().err, *words)
    assert not (here / "out").exists(), "nothing is left behind"


def test_a_run_that_diverges_says_so(here, tiny_base, capsys):
    lines(here / "pairs.jsonl", PAIRS)
    one_error(call(reward.main, "--data", "pairs.jsonl", "--init", tiny_base, "--lr", 1e30, "--steps", 5),
              capsys.readouterr().err, "diverged", "--lr")


# ---- pairs and what is said of them ----------------------------------------------------------------------------------
def test_sampled_pairs_are_the_models_own_and_ranked_by_the_exact_score(monkeypatch):
    real = world.rows
    monkeypatch.setattr(reward.world, "rows", lambda *a, **kw: real(*a, **kw)[:60])      # 264 would be asked at once
    model, tok = start_model("base")
    rows = reward.sampled_pairs(model, tok, "train", 8, 0, ("list", "rules", "sum"))
    assert len(rows) == 8
    for r in rows:
        prompt, w, l = r.prompt[-1].text, r.chosen[0].text, r.rejected[0].text
        assert world.score(prompt, w) > world.score(prompt, l), "the better by exact score is chosen"
        assert r.p == pytest.approx((1 + world.score(prompt, w) - world.score(prompt, l)) / 2)
    assert reward.sampled_pairs(model, tok, "train", 8, 0, ("list", "rules", "sum")) == rows, "a function of the seed"
    assert reward.sampled_pairs(model, tok, "train", 8, 1, ("list", "rules", "sum")) != rows


def test_a_sampler_of_equal_scores_makes_no_pairs(tiny_base):
    model, tok = start_model(str(tiny_base))
    with pytest.raises(UserError, match="only 0 of 2 pairs"):
        reward.sampled_pairs(model, tok, "train", 2, 0, ("fact",))


def test_exact_is_the_worlds_score():
    rows = world.rows("val", "demos", 5, 0)
    prompts, answers = [r.prompt[0].text for r in rows], [r.answer[0].text for r in rows]
    assert (exact(prompts, answers) == 1).all() and scorer("exact") is exact
    with pytest.raises(UserError, match="--reward DIR"):
        exact(["hello"], ["you"])


def test_the_figures_by_hand():
    """Margins 1 and -2, and a tie, which is half a victory wherever victories are counted."""
    found = reward_quality.quality(np.array([1.0, -2.0, 0.0]), ["a", "b", "b"])
    same(found["nll"], np.log1p(np.exp([-1.0, 2.0, 0.0])).mean(), "nll: -log sigma(r_w - r_l)")
    same([found["accuracy"], found["families"]["a"]["accuracy"], found["families"]["b"]["accuracy"]], [0.5, 1, 0.25],
         "a tie counts half")
    same(reward.right(torch.tensor([1.0, -2.0, 0.0])), [1, 0, 0.5], "in training as well")


def test_calibration_tells_a_sure_model_from_one_that_is_too_sure():
    """Truth: the better answer wins with chance sigma(d). Who says d is on the line, who says 3 d is below it."""
    rng = np.random.default_rng(0)
    d = rng.normal(0, 2, 20_000)
    better = np.where(rng.random(len(d)) < reward_quality.sigma(d), 1, -1)     # +1: the pair stands the right way round
    for factor, gap in ((1, 0.0), (3, 0.1)):
        bins = reward_quality.calibration(factor * d * better)
        assert [b["pairs"] for b in bins] == [4000] * 5
        worst = max(abs(b["expected"] - b["share"]) for b in bins)
        assert worst < 0.02 if not gap else worst > gap, (factor, bins)


def test_the_shipped_kinds_of_pairs_teach_something(tmp_path, capsys, monkeypatch):
    """From NanoWorld's corruptions, 160 pairs: better than a coin on held-out pairs, and the report adds up."""
    monkeypatch.setattr(reward, "TRIED", 9)
    assert call(reward.main, "--rows", 160, "--lr", 1e-3, "--threads", 1, "--out", tmp_path / "r") == 0
    found = read_json(tmp_path / "r" / "eval.json")["held_out"]
    assert found["low"] > 0.5, found["accuracy"]
    assert sum(f["pairs"] for f in found["families"].values()) == found["pairs"] == 400
    assert "held-out accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("held, gain, words", [
    ({"low": 0.49}, (0.3, 0.2, 0.4), "game of chance"),
    ({"low": 0.51}, (-0.3, -0.4, -0.2), "-30 points [-40, -20]. So "),
    ({"low": 0.51}, (0.1, -0.1, 0.3), "not suggested"), ({"low": 0.51}, (0.3, 0.2, 0.4), "nanouft.evaluate --init x")])
def test_best_of_n_is_suggested_only_where_it_helps(held, gain, words, monkeypatch, tmp_path):
    monkeypatch.setattr(reward, "best_of_gain", lambda *a: gain)
    said = "\n".join(reward.next_steps(reward.Reward(init="x"), tmp_path, held, [], None))
    assert words in said and ("python -m" in said) == (held["low"] > 0.5 and gain[1] > 0)


def test_evaluate_takes_it(made, here, tiny_base, capsys):
    assert call(evaluate.main, "--init", tiny_base, "--best-of", 2, "--reward", made, "--items", 1) == 0
    assert "best of 2 samples" in capsys.readouterr().out
