"""The reward model: its loss, what it reads, leaves behind and says about itself. And the reward
function of a user."""
import math

import numpy as np
import pytest
import torch
from running import DEMOS, PAIRS, QUICK, call, lines, metrics, one_error
from tiny import CPU, same, tiny

from nanouft import evaluate, reward, train, world
from nanouft.data.batches import encode
from nanouft.data.rows import Turn, demo_rows
from nanouft.errors import UserError
from nanouft.files.read import read
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES
from nanouft.reference import logps
from nanouft.reward import bradley_terry
from nanouft.rewards.scorer import (
    RewardModel,
    load,
    load_model,
    padded,
    rewards,
    score_answers,
    scorer,
    to_unit_interval,
)
from nanouft.run import rows as run_rows
from nanouft.run.choose_rows import kept_rows
from nanouft.run.flags import Train
from nanouft.run.storage import read_json

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
    assert torch.isfinite(bradley_terry(t([-1000.0]), t([0.0]))).all(), \
        "-log sigma must not be log of 0"
    same(bradley_terry(t([3.0]), t([1.0]), 0.01) - bradley_terry(t([3.0]), t([1.0])), [0.16],
         "c (r_w + r_l)^2", 1e-6)


def test_padding_does_not_matter():
    model = model_with_head()
    with torch.no_grad():
        alone = torch.cat([model(*padded([s], PAD, "cpu")) for s in SEQS])
        for pad in (0, 13):
            same(model(*padded(SEQS, pad, "cpu")), alone,
                 f"a reward is the row's own, whatever pads it ({pad})")
    same(rewards(model, SEQS, PAD, chunk=3), alone, "sorted by length, cut, and put back in order")


# ---- folders -------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def made(tiny_base, tmp_path_factory):
    """A reward model made by the command from 16 pairs, whose rejected answers all say no."""
    place = tmp_path_factory.mktemp("reward")
    file = lines(place / "pairs.jsonl", PAIRS)
    assert call(reward.main, "--data", file, "--init", tiny_base, "--epochs", 40, "--batch-size", 8,
                "--lr", 3e-3, "--threads", 1, "--out", place / "r") == 0
    return place / "r"


def test_the_folder(made):
    names = {f.name for f in made.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "run.json", "flags.toml",
            "metrics.jsonl", "eval.json"} == names - {"tokenizer_config.json"}, \
        "nothing pickled, nothing left over"
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
    assert abs(a - b) > 1e-5 and a == same_text, \
        "a long prompt loses its beginning, the answer nothing"
    with pytest.raises(ValueError):
        scorer(["one prompt"], ["two", "answers"])


def test_transformers_opens_it_with_the_same_rewards(made):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(made).eval()
    assert type(theirs).__name__ == "GPT2ForSequenceClassification" \
        and theirs.config.num_labels == 1
    model, tok = load_model(made)
    ids, _ = padded(SEQS, tok.pad, "cpu")
    with torch.no_grad():
        got = theirs(ids, attention_mask=(ids != tok.pad).long()).logits[:, 0]
    same(got, rewards(model, SEQS, tok.pad), "GPT2ForSequenceClassification reads the same reward",
         1e-5)


def test_what_is_no_reward_model_is_named(made, tiny_base, tmp_path):
    with pytest.raises(UserError, match="is a language model, no reward model"):
        load(tiny_base)
    with pytest.raises(UserError, match="no such folder"):
        load(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot speak"):
        start_model(str(made))
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match="has not finished"):
        load(tmp_path)


def test_a_reward_that_diverges_is_one_line(here, tiny_base, capsys):
    file = lines(here / "rows.jsonl", PAIRS)
    one_error(call(reward.main, "--data", file, "--init", tiny_base, "--lr", 1e30, "--steps", 5),
              capsys.readouterr().err, "diverged", "--lr")


@pytest.mark.parametrize("over, kept, words", [(0, 30, "30 pairs"), (1, 15, "15 rows skipped")])
def test_a_pair_must_fit_with_its_end(over, kept, words, here, tiny_base, capsys):
    """The reward is read at <|end|>, so the whole dialogue has to fit into the context."""
    model, tok = start_model(str(tiny_base))
    rows = [*PAIRS]
    for pair in PAIRS:
        question, answer = Turn("user", pair["prompt"]), pair["chosen"]
        while len(tok.chat((question,), (Turn("assistant", answer),))[0]) \
                < model.cfg.n_ctx + over:
            answer += " no"
        rows.append(pair | {"chosen": answer})
    assert call(reward.main, "--data", lines(here / "pairs.jsonl", rows), "--init", tiny_base,
                "--steps", 1, "--threads", 1, "--out", "r") == 0
    assert read_json(here / "r/run.json")["pairs"] == kept, "one of 16 prompts is held out"
    assert words in capsys.readouterr().out


# ---- pairs and what is said of them --------------------------------------------------------------
def test_sampled_pairs_are_the_models_own_and_ranked_by_the_exact_score(tiny_base, monkeypatch):
    real = world.rows
    # 264 would be asked at once
    monkeypatch.setattr(reward.world, "rows", lambda *a, **kw: real(*a, **kw)[:30])
    model, tok = start_model("base")
    rows = reward.sampled_pairs(model, tok, "train", 8, 0, ("list", "rules", "sum"))
    assert len(rows) == 8
    for r in rows:
        prompt, w, l = r.prompt[-1].text, r.chosen[0].text, r.rejected[0].text
        assert world.score(prompt, w) > world.score(prompt, l), \
            "the better by exact score is chosen"
        assert r.p == pytest.approx((1 + world.score(prompt, w) - world.score(prompt, l)) / 2)
    assert reward.sampled_pairs(model, tok, "train", 8, 0, ("list", "rules", "sum")) == rows, \
        "a function of the seed"
    assert reward.sampled_pairs(model, tok, "train", 8, 1, ("list", "rules", "sum")) != rows
    with pytest.raises(UserError, match="only 0 of 2 pairs"):           # all its answers score 0
        reward.sampled_pairs(*start_model(str(tiny_base)), "train", 2, 0, ("fact",))


def test_the_figures_by_hand():
    """Margins 1 and -2, and a tie, which is half a victory wherever victories are counted."""
    found = reward.quality(np.array([1.0, -2.0, 0.0]), ["a", "b", "b"])
    same(found["nll"], np.log1p(np.exp([-1.0, 2.0, 0.0])).mean(), "nll: -log sigma(r_w - r_l)")
    same([found["accuracy"], found["families"]["a"]["accuracy"],
          found["families"]["b"]["accuracy"]], [0.5, 1, 0.25], "a tie counts half")
    same(reward.right(torch.tensor([1.0, -2.0, 0.0])), [1, 0, 0.5], "in training as well")


@pytest.mark.parametrize("low, better", [(0.49, False), (0.51, True)])
def test_best_of_n_is_suggested_only_if_the_reward_is_better_than_a_coin(low, better, tmp_path):
    said = "\n".join(reward.next_steps(reward.Reward(init="x"), tmp_path, {"low": low}))
    assert ("nanouft.evaluate --split val x --best-of 16" in said) == ("nanouft.sample x" in said) \
        == better


# ---- a function of the user's --------------------------------------------------------------------
LONG = """
def long(prompts, answers, **others):
    return [min(len(a), 40) / 40 for a in answers]
"""
SUMS = [{"question": f"What is {i} and {i}?", "answer": f"{2 * i}", "level": i}
        for i in range(1, 17)]


def function(here, text: str, name: str = "f") -> str:
    """What --reward is given for the function `name` of a file with this text."""
    (here / "mine.py").write_text(text, encoding="utf-8")
    return f"{here / 'mine.py'}:{name}"


def score_rows(name: str, rows, answers: list[str]):
    return score_answers(scorer(name), [r.prompt for r in rows], answers, [r.extra for r in rows])


def test_a_function_gets_prompts_answers_and_the_other_fields_of_the_rows(here):
    files = [lines(here / "a.jsonl", SUMS[:2]),
             lines(here / "b.jsonl", [{"question": "Why?", "hint": "so"}])]
    rows, _ = read(files, "question", prompts=True)
    seen = function(here, """
all = []
def f(prompts, said, answer, level=None):
    all.append((prompts, said, answer, level))
    return [True, 2, 0.5]
def g(prompts, answers, *, hint, **others):
    all.append((prompts, answers, hint, others))
    return iter([1, 2, 3])
def h(*both): all.append(both); return __import__("numpy").array([1, 2, 3])
""")
    asked, said = ["What is 1 and 1?", "What is 2 and 2?", "Why?"], ["2", "5", "no"]
    for name, want in (("f", [1, 2, 0.5]), ("g", [1, 2, 3]), ("h", [1, 2, 3])):
        assert score_rows(seen[:-1] + name, rows, said).tolist() == want
    got = scorer(seen) and __import__("sys").modules["reward_of_mine"].all
    assert got == [(asked, said, ["2", "4", None], [1, 2, None]),
                   (asked, said, [None, None, "so"],
                    {"answer": ["2", "4", None], "level": [1, 2, None]}), (asked, said)], \
        ("LAW: by name, in the order of the answers, None where a row has none; its own two names "
         "are not passed")


def test_a_function_in_the_form_of_trl_gets_all_by_name(here):
    """Called by place, its completions would be the prompts."""
    rows, _ = read([lines(here / "a.jsonl", SUMS[:2])], "question", prompts=True)
    seen = function(here, """
def f(completions, answer, **kwargs):
    return [said == gold for said, gold in zip(completions, answer)]
def g(prompts, completions):
    return [p.startswith("What") + len(c) for p, c in zip(prompts, completions)]
""")
    assert score_rows(seen[:-1] + "f", rows, ["2", "5"]).tolist() == [1, 0]
    assert score_rows(seen[:-1] + "g", rows, ["2", "55"]).tolist() == [2, 3]
    by_place = function(here, "def f(prompts, answer): return [1 for a in answer]")
    with pytest.raises(UserError, match="its second argument is called 'answer', like a field of "
                       "the rows"):
        score_rows(by_place, rows, ["2", "5"])


def test_every_reward_is_called_alike(made, here):
    row = world.rows("val", "demos", 1, 0)[0]
    assert scorer("exact")([row.prompt[0].text], [row.answer[0].text]) == 1
    with pytest.raises(UserError, match="--reward DIR"):
        scorer("exact")(["hello"], ["you"])
    for name in ("exact", made):
        both = [scorer(str(name))([row.prompt[0].text], [row.answer[0].text], **more)
                for more in ({}, {"gold": [1]})]
        assert both[0] == both[1]
    r = np.array([-1.0, 2.0])
    same(to_unit_interval(str(made), r), 1 / (1 + np.exp(-r)), "a learnt reward is a logit")
    assert to_unit_interval("a.py:f", r ** 2 / 4).tolist() == [0.25, 1]


BAD = {                                         # a function -> what its one line says
    "class Odd(Exception):\n    def __str__(self): raise ValueError\ndef f(prompts, answers): "
    "raise Odd()": [
        "mine.py, line 3: reward_of_mine.Odd: <exception str() failed>"],
    "class N:\n    size = 1\n    def item(self): raise OSError('no')\ndef f(prompts, answers): "
    "return [N()] * 3": [
        "mine.py, line 3: OSError: no"],
    "def f(prompts, answers): return [1 / 0 for a in answers]": [
       "mine.py, line 1: ZeroDivisionError"],
    "def f(prompts, answers) return 1": ["mine.py, line 1: SyntaxError"],
    "import sys\nsys.exit(3)": ["mine.py, line 2: SystemExit"],
    "import sys\ndef f(p, a): sys.exit()": ["mine.py, line 2: SystemExit"],
    "import os\ndef f(p, a): os._exit(0)": ["mine.py, line 2: SystemExit: os._exit(0)"],
    "from os import _exit\n_exit(0)": ["mine.py, line 2: SystemExit: os._exit(0)"],
    "import os\ndef f(p, a): return [0, 0, os.waitpid(os.fork() or os._exit(7), 0)[1] / 0]": [
        "ZeroDivisionError"],
    "def rigth(prompts, answers): pass\nf = 3": ["f is no function", '"rigth"'],
    "def ff(prompts, answers): pass": ["no function f there", "did you mean ff?"],
    "def f(answers): return answers": ["mine.py, line 1: too many positional",
                                       "prompts and answers"],
    "def f(answers, prompts): return [0] * 3": ["mine.py: takes (answers, prompts), but it gets "
                                                "the prompts first"],
    "def f(prompts, answers, gold): return answers": ["line 1: missing a required argument: 'gold'",
                                                      '"golden"'],
    "def f(prompts, answers): return [1.0]": ["gave 1 numbers for 3 answers"],
    "def f(prompts, answers): return [1, '2', 3]": ["gave '2' for the answer 'b\\\\x1b'",
                                                    "finite number"],
    "def f(prompts, answers): raise ValueError('\x1b[2J two\\nlines')": [
       "line 1: ValueError: \\x1b[2J two lines"],
}


@pytest.mark.parametrize("text", BAD)
def test_a_bad_function_is_one_line(text, here, capsys):
    rows, _ = read([lines(here / "a.jsonl", [{"prompt": p, "golden": 1} for p in "xyz"])],
                   prompts=True)
    one_error(call(lambda argv: score_rows(function(here, text), rows, ["a", "b\x1b", "c"])),
              capsys.readouterr().err, *BAD[text])


def run_on(here, tiny_base, rows, name: str, *more) -> int:
    return call(train.main, "--objective", name, "--data", lines(here / "d.jsonl", rows), "--init",
                tiny_base, "--batch-size", 4, "--max-new", 4, "--steps", 2, *QUICK, *more)


def test_on_policy_learning_from_a_function(here, tiny_base, brief, capsys):
    mine = function(here, LONG, "long")
    grpo = ["grpo", "--prompt-field", "question", "--reward", mine]
    assert run_on(here, tiny_base, SUMS, *grpo, "--save-every", 1, "--out", "a") == 0
    assert all(0 <= m["reward"] <= 1 for m in metrics(here / "a")) \
        and "score" not in metrics(here / "a")[0]
    (here / "a/eval.json").unlink()
    function(here, LONG + "# changed")
    capsys.readouterr()
    one_error(call(train.main, "--resume", "a", "--reward", mine), capsys.readouterr().err,
              "the reward", "changed")
    function(here, LONG.replace("min", "mim"))
    one_error(run_on(here, tiny_base, SUMS, *grpo, "--out", "b"), capsys.readouterr().err,
              "mine.py, line 3", "mim")
    assert not (here / "b").exists(), "LAW: it is tried before a run folder is made"
    function(here, LONG.replace("40]", "-1]").replace("/ 40", "- 50"), "long")
    one_error(run_on(here, tiny_base, SUMS, "online_una", *grpo[1:], "--out", "c"),
              capsys.readouterr().err, "from 0 to 1")
    function(here, "def long(prompts, answers): return [5 * (a == '4') for a in answers]")
    answered = ["online_una", *grpo[1:], "--response-field", "answer", "--out", "c"]
    one_error(run_on(here, tiny_base, SUMS, *answered), capsys.readouterr().err, "from 0 to 5")
    assert not (here / "c").exists(), \
        "LAW: the right answers of the file tell the range before a run folder is made"


def test_a_reward_that_fails_once_loses_no_step(here, tiny_base, brief, capsys):
    mine = function(here, "asked = []\ndef f(prompts, answers):\n    asked.append(0)\n    if "
                    "len(asked) == 5: raise OSError('busy')\n    return [len(a) for a in answers]")
    flags = ["grpo", "--prompt-field", "question", "--reward", mine, "--steps", 3]
    one_error(run_on(here, tiny_base, SUMS, *flags), capsys.readouterr().err,
              "OSError: busy; out/grpo holds step 2")
    assert call(train.main, "--resume", "out/grpo", "--reward", mine) == 0


def test_a_reward_that_is_always_the_same_is_said(here, tiny_base, brief, capsys):
    mine = function(here, "def f(prompts, answers): return [0 for a in answers]")
    note = "answers earned 0. A reward that is always the same"
    rewarded = ["--prompt-field", "question", "--reward", mine]
    assert run_on(here, tiny_base, SUMS, "grpo", *rewarded) == 0
    assert capsys.readouterr().out.count(note) == 1, "LAW: once a run"
    assert run_on(here, tiny_base, DEMOS, "una", "--reward", mine) == 0 \
        and note in capsys.readouterr().out
    rewarded[-1] = function(here, LONG, "long")
    assert run_on(here, tiny_base, SUMS, "grpo", *rewarded) == 0 \
        and note not in capsys.readouterr().out


def test_grades_of_a_function(here, capsys):
    mine = function(here, "def f(prompts, answers, response=None): return [len(a) / 10 for a in "
                    "answers]")
    rows = [*DEMOS[:3], {**DEMOS[3], "score": 0.1}, {**DEMOS[4], "label": True}, PAIRS[5]]
    file = str(lines(here / "d.jsonl", rows))

    def after(name: str, **hp):
        o = OBJECTIVES[name]
        return sum(run_rows.load_rows(Train(data=[file], reward=mine), o, o.hp(**hp)), [])
    grades = sorted(len(r["response"]) / 10 for r in rows[:5]) + [0.8, 0.7]
    assert sorted(r.score for r in after("una")) == pytest.approx(sorted(grades)), \
        "a pair is two answers"
    assert sorted(r.label for r in after("kto")) == sorted(g > 0.5 for g in grades)
    uft = after("uft")
    assert sum(r.score is None for r in uft) == 3 and sum(r.score is not None for r in uft) == 4
    assert "7 answers" in capsys.readouterr().out
    function(here, "def f(prompts, answers): return [len(a) for a in answers]")
    with pytest.raises(UserError, match="go from 0 to 1, and these from"):
        after("una")


def test_keep_takes_the_highest_rewards_in_order(here, tiny_base, brief, capsys):
    mine = function(here, LONG, "long")
    rows, _ = read(
        [lines(here / "d.jsonl", [{"prompt": "q", "response": "x" * n} for n in (3, 9, 1, 8, 9)])])
    kept = kept_rows(rows, Train(keep=0.6, reward=mine), [], CPU)
    assert [len(r.answer[0].text) for r in kept] == [9, 8, 9]
    assert not Train(keep=0.6, reward=mine).asks_judges and Train(keep=0.6).asks_judges
    assert run_on(here, tiny_base, DEMOS, "sft", "--reward", mine, "--keep", 0.5) == 0
    said = capsys.readouterr().out
    assert "7 of 14 demonstrations are left" in said
    assert "2 of 2 rows held out" in said, "rows held out stay as they are"


def test_answers_to_rows_held_out_are_rewarded(made, here, tiny_base, brief, capsys):
    mine = function(here, LONG, "long")
    assert run_on(here, tiny_base, DEMOS, "sft", "--reward", mine, "--out", "a") == 0
    found = read_json(here / "a/eval.json")
    assert found["after"]["reward"]["rows"] == 2 \
        and "greedy answers to them   reward" in capsys.readouterr().out
    # greedy answers go round
    function(here, "def long(prompts, answers): return [len(set(a)) for a in answers]")
    argv = ["--init", tiny_base, "--data", lines(here / "q.jsonl", SUMS), "--prompt-field",
            "question"]
    assert call(evaluate.main, "--init", tiny_base, "--best-of", 2, "--reward", made, "--items",
                1) == 0
    assert call(evaluate.main, *argv, "--reward", mine, "--best-of", 3, "--max-new", 5) == 0
    greedy, best = (float(line.split("reward ")[1].split()[0])
                    for line in capsys.readouterr().out.splitlines()[-2:])
    assert best > greedy


# ---- demonstrations that judges keep -------------------------------------------------------------
def test_keep_takes_the_likeliest_by_the_mean_over_the_judges_in_order():
    rows = world.rows("train", "demos", 30, 1)
    model, tok = start_model("base")
    encoded, _ = encode(demo_rows(rows, None), tok, model.cfg.n_ctx)
    opinion = [column["answer"].sum() / e.seqs["answer"].mask[1:].sum()
               for column, e in zip(logps(encoded, model, tok.pad, CPU), encoded)]
    worst_kept = sorted(opinion, reverse=True)[11]
    kept = kept_rows(rows, Train(keep=0.4), ["base"], CPU)
    assert kept == [r for r, x in zip(rows, opinion) if x >= worst_kept]
