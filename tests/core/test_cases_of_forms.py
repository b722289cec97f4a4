"""Cases of the forms of files that were in no test: system turns, scores of a half, implicit prompts, separators.

    python -m pytest tests/core/test_cases_of_forms.py        a second
"""
import pytest
from running import lines

from nanouft.data.read import read
from nanouft.data.rows import Row
from nanouft.data.turns import shared_beginning
from nanouft.shell.errors import UserError


def test_an_empty_answer_inside_a_dialogue_is_not_trained_on(tmp_path):
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "  "},
            {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]
    rows, _ = read([str(lines(tmp_path / "d.jsonl", [{"messages": talk}, {"messages": talk[2:]}]))])
    assert len(rows) == 1 and rows[0].prompt[0].text == "b"


def test_a_dialogue_keeps_one_system_turn(tmp_path):
    talk = [{"role": "system", "content": "inner"}, {"role": "user", "content": "a"},
            {"role": "assistant", "content": "b"}]
    for prompt, want in ((talk[:2], ["inner"]), (talk[1:2], ["outer"])):
        item = {"system": "outer", "prompt": prompt, "response": "b"}
        (row,), _ = read([str(lines(tmp_path / "s.jsonl", [item]))], strict=True)
        assert [t.text for t in row.prompt if t.role == "system"] == want, "the conversation's own one counts"


def test_a_score_of_a_half_contradicts_no_label(tmp_path):
    def read_one(score: float, label: bool) -> Row:
        item = {"prompt": "a", "response": "b", "score": score, "label": label}
        return read([str(lines(tmp_path / "l.jsonl", [item]))], strict=True)[0][0]
    for score, label in ((0.5, True), (0.5, False), (0.6, True), (0.4, False)):
        assert (read_one(score, label).score, read_one(score, label).label) == (score, label)
    for score, label in ((0.6, False), (0.4, True)):
        with pytest.raises(UserError, match="contradict"):
            read_one(score, label)


@pytest.mark.parametrize("one, two, want", [
    ("The sky is blue.", "The sky is green.", ("The sky is", "blue.", "green.")),
    ("Say: carpet", "Say: carton", ("Say:", "carpet", "carton")),               # the answers part inside a word
    ("(carpet)", "(carton)", ("(", "carpet)", "carton)")),                      # no space: the edge of a word
    ("A (carpet)", "A (carton)", ("A", "(carpet)", "(carton)")),                # a space before an edge
    ("carpet", "carton", ("", "carpet", "carton"))])
def test_an_implicit_prompt_ends_before_a_whole_word(one, two, want):
    assert shared_beginning(one, two) == want


@pytest.mark.parametrize("sign", [",", ";", "\t"])
def test_a_table_may_have_any_of_three_separators(sign, tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text(f"prompt{sign}response\nSay fig.{sign}fig\n")
    (row,), _ = read([str(file)], strict=True)
    assert (row.prompt[0].text, row.answer[0].text) == ("Say fig.", "fig")
