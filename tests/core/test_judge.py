"""A person judges answers: one key an answer, files that train, and nothing asked twice."""
import json
import re
import shlex

import pytest
from running import DEMOS, QUICK, call, lines, one_error

from nanouft import train
from nanouft.data.rows import contents
from nanouft.files.read import read
from nanouft.rewards import judge
from nanouft.run.storage import Lines
from nanouft.sampling import Answer

pytestmark = pytest.mark.usefixtures("brief")
WORDS = ["fig", "fig", "\x1b[2Jpig bee", "owl"]         # of the four answers to a prompt


@pytest.fixture
def person(here, tiny_base, monkeypatch):
    """judge(keys) runs the command with these keys; returns the answers that it asked about."""
    prompts = lines(here / "prompts.jsonl", [{"prompt": d["prompt"]} for d in DEMOS[:4]])

    def sampled(model, tok, rows, *how, **more):
        return [Answer(tok.text_ids(word), word != "owl", stop=tok.end if word != "owl" else None)
                for word in WORDS[:len(rows)]]

    def run(keys, *more):
        asked, left = [], iter(keys)
        real = judge.ask

        def ask(answer):
            asked.append((answer.prompt, answer.response))
            return real(answer)

        def typed(_):
            key = next(left, None)
            if key is None:
                raise EOFError
            return key
        with monkeypatch.context() as patch:
            patch.setattr(judge, "answer_rows", sampled)
            patch.setattr(judge, "ask", ask)
            patch.setattr("builtins.input", typed)
            assert call(judge.main, tiny_base, "--data", prompts, "--samples", 4, "--out", "j",
                        *more) == 0
        return asked
    return run


def test_keys_become_labels_and_pairs_that_train(person, here, tiny_base, capsys):
    asked = person(["y", "n", "?", "y", "n"] + ["yes", "N", "s"] + ["s", "y"])
    said = capsys.readouterr().out
    assert len(asked) == 9, "of the last prompt it asks about the third answer, and the input ends"
    assert len(set(asked)) == len(asked), "equal answers are shown once"
    assert "\x1b" not in said and "it does not stop, so it cannot be a good answer" in said
    rows, _ = read(["j/labels.jsonl"])
    assert contents(rows) == "3 good answers and 3 bad answers"
    pairs, _ = read(["j/pairs.jsonl"])
    assert contents(pairs) == "3 pairs" and pairs[0].chosen[0].text == "fig"
    assert not any(row.unjudged for row in rows), "what is skipped is absent"
    assert "j: 3 good, 3 bad, 3 pairs" in said
    found = re.findall(r"python -m nanouft\.train (.*)", said)
    assert ["dpo", "kto", "sft"] == [shlex.split(words)[1] for words in found]
    for words in found:
        assert call(train.main, *shlex.split(words), "--steps", 1, *QUICK) == 0, words


def test_it_goes_on_where_one_stopped(person, here, capsys):
    first = person(["y", "q"])
    assert [line["label"] for line in Lines(here / "j/judged.jsonl").read()] == [True]
    second = person(["n"] * 50)
    assert first[1] == second[0] and not set(first[:1]) & set(second)
    assert len(second) == 4 * 3 - 1 and person([]) == []
    labels = [json.loads(line)["label"] for line in (here / "j/labels.jsonl").open()]
    assert labels == [True] + [False] * 11 and (here / "j/pairs.jsonl").exists()


def test_a_page_saves_the_same_verdicts(person, here, tiny_base, capsys, browser):
    assert person([], "--page") == [], "the terminal asks nothing"
    assert "judge.html" in capsys.readouterr().out
    browser.open(here / "j/judge.html")
    assert browser.js("at('answer').textContent") == "fig"
    browser.js("'ysbn'.split('').forEach((key) => at(key).click()); 0")
    assert browser.js("at('count').textContent").startswith("3 of 12: 1 good, 1 bad")
    assert browser.js("at('y').disabled"), "owl does not stop"
    browser.key("n")
    (here / "v.jsonl").write_text(browser.js("verdicts().join('')"), encoding="utf-8")
    assert call(judge.main, tiny_base, "--out", "j", "--verdicts", "v.jsonl") == 0
    assert [line["label"] for line in Lines(here / "j/judged.jsonl").read()] == [True, False, False]
    assert "1 good, 2 bad, 2 pairs" in capsys.readouterr().out
    assert len(person(["q"])) == 1, "the terminal goes on where the page stopped"


def test_nothing_good_is_nothing_to_train(person, here, capsys):
    person(["n", "q"])
    assert "no answer is good" in capsys.readouterr().out
    assert not (here / "j/pairs.jsonl").exists()


@pytest.mark.parametrize("argv, words", [
    (["base"], ["--data FILE is needed"]), (["a", "b", "--data", "d.jsonl"], ["give one model"]),
    (["base", "--data", "d.jsonl", "--samples", 0], ["--samples"]),
    (["base", "--verdicts", "no.jsonl"], ["no.jsonl", "no such file"]),
    (["base", "--data", "d.jsonl", "--out", "full"], ["full", "not an empty folder"])])
def test_what_cannot_be_judged_is_one_line(argv, words, here, capsys):
    lines(here / "d.jsonl", DEMOS)
    (here / "full").mkdir()
    (here / "full" / "x").write_text("")
    one_error(call(judge.main, *argv), capsys.readouterr().err, *words)


def test_a_line_that_is_no_verdict_is_named(person, here, capsys):
    person(["y"])
    (here / "j/judged.jsonl").write_text('{"prompt": 3, "response": "a", "label": true}\n{}\n')
    with pytest.raises(AssertionError):
        person([])
    one_error(2, capsys.readouterr().err, "judged.jsonl, line 1", "is no verdict")
