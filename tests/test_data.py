"""What a run learns from: each form of a file is read, each mistake is one line; tokens, masks and
the shift by hand; no row comes again before all others have come."""
import gzip
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from made import NANO, write_jsonl

from nanouft.data.batches import collate, encode, order
from nanouft.data.forms import MARKS
from nanouft.data.rows import (
    ALL_SHOWN,
    NO_ANSWER,
    NO_GRADE,
    NO_LABEL,
    NO_QUESTION,
    Row,
    read,
    read_dataset,
    without_oldest,
)
from nanouft.data.selection import (
    NoRows,
    about_dialogues,
    about_grades,
    demo_rows,
    describe,
    each_prompt,
    holdout,
    label_rows,
    never_held_out,
    pair_rows,
    prompt_rows,
    report_use,
    score_rows,
)
from nanouft.models.folders import read_tokenizer, save_model
from nanouft.models.tokenizer import JINJA, NANO_PATTERN, Tokenizer, Turn
from nanouft.plumbing.errors import UserError
from nanouft.run.load import choose, load_rows
from nanouft.run.settings import read_flags

# A tokenizer in which every letter is a token, so that a test can count.
LETTERS = Tokenizer("letters", {bytes([b]): b for b in range(256)}, NANO_PATTERN)
S = Turn("system", "Be kind.")


def U(text: str) -> Turn:
    return Turn("user", text)


def A(text: str) -> Turn:
    return Turn("assistant", text)


def messages(*turns: Turn, keys=("role", "content")) -> list[dict]:
    return [dict(zip(keys, turn)) for turn in turns]


def write(folder, *items) -> str:
    return write_jsonl(folder / "my.jsonl", items)


# ---- files -> rows -------------------------------------------------------------------------------
PAIR = {"chosen": "good", "rejected": "bad"}
TALK = messages(U("a"), A("b"), U("c"), A("good")), messages(U("a"), A("b"), U("c"), A("bad"))
FORMS = {
    "prompt and response": ({"prompt": "Hi", "response": " Ho "}, Row((U("Hi"),), (A("Ho"),))),
    "question and answer, labelled": ({"question": "Hi", "answer": "Ho", "label": False},
                                      Row((U("Hi"),), (A("Ho"),), label=0.0)),
    "scored": ({"prompt": "Hi", "response": "Ho", "score": 0.25},
               Row((U("Hi"),), (A("Ho"),), score=0.25)),
    "code": ({"prompt": "Hi", "response": "\n\n  if x:\n"}, Row((U("Hi"),), (A("  if x:"),))),
    "Alpaca": ({"instruction": "Add.", "input": "1 2", "output": "3"},
               Row((U("Add.\n\n1 2"),), (A("3"),))),
    "messages": ({"messages": messages(S, U("a"), A("b"), U("c"), A("d"))},
                 Row((S, U("a")), (A("b"), U("c"), A("d")))),
    "ShareGPT": ({"conversations": messages(Turn("human", "a"), Turn("gpt", "b"),
                                            keys=("from", "value"))}, Row((U("a"),), (A("b"),))),
    "messages as prompt and completion": (
        {"prompt": messages(S, U("a"), A("b"), U("c")), "completion": messages(A("d"))},
        Row((S, U("a"), A("b"), U("c")), (A("d"),))),
    "a welcome, and a last question": (
        {"messages": messages(S, A("Welcome."), U("a"), A("b"), U("c"))},
        Row((S, A("Welcome."), U("a")), (A("b"),))),
    "parts": ({"messages": messages(U([{"type": "text", "text": x} for x in "ab"]), A("c"))},
              Row((U("a\nb"),), (A("c"),))),
    "developer and tool": ({"messages": messages(Turn("developer", "Be kind."), U("a"),
                                                 Turn("tool", "1"), A("b"))},
                           Row((S, U("a"), Turn("tool", "1")), (A("b"),))),
    "a pair": ({"prompt": "Hi", **PAIR, "p": 0.7},
               Row((U("Hi"),), None, (A("good"),), (A("bad"),), p=0.7)),
    "a scored pair": ({"prompt": "Hi", **PAIR, "score_chosen": 0.9, "score_rejected": 0},
                      Row((U("Hi"),), None, (A("good"),), (A("bad"),), scores=(0.9, 0.0))),
    "a pair of conversations": ({"chosen": TALK[0], "rejected": TALK[1]},
                                Row((U("a"), A("b"), U("c")), None, (A("good"),), (A("bad"),))),
    "a pair of texts that begin alike": (
        {"chosen": "The sky is blue.", "rejected": "The sky is black."},
        Row((U("The sky is"),), None, (A("blue."),), (A("black."),))),
    "a system field": ({"system": S.text, "conversations": [{"from": "human", "value": "a"},
                                                            {"from": "gpt", "value": "b"}]},
                       Row((S, U("a")), (A("b"),))),
    "messages that stand alone": (
        {"prompt": {"role": "user", "content": "Hi"},
         **{side: {"from": "gpt", "value": text} for side, text in PAIR.items()}},
        Row((U("Hi"),), None, (A("good"),), (A("bad"),))),
    "a prompt alone": ({"prompt": "Hi", "gold": 7, "weight": 0}, Row((U("Hi"),)))}


@pytest.mark.parametrize("name", FORMS)
def test_a_form_is_read(name, tmp_path):
    item, want = FORMS[name]
    rows, left_out = read([write(tmp_path, item, item)])
    assert rows == [want, want] and not left_out
    assert rows[1].where.endswith("my.jsonl, line 2") and rows[0].extra == item
    (tmp_path / "my.json").write_text("\ufeff " + json.dumps([item], indent=1), encoding="utf-8")
    again, = read([str(tmp_path / "my.json")])[0]
    assert again == want and again.where.endswith("my.json, item 1")
    (in_memory,), _ = read_dataset([item])
    assert in_memory == want and in_memory.where == "dataset, row 1" and in_memory.extra == item


TWO = {         # a row with two answers or questions, what is read, and what the run says
    "an answer behind a solution, as OpenR1-Math has it": (
        {"problem": "a", "solution": "", "answer": "4", "messages": messages(U("a"), A("It is 4"))},
        Row((U("a"),), (A("It is 4"),)), "messages, not answer"),
    "a dialogue beside another": (
        {"prompt": "x", "response": "y", "messages": messages(U("a"), A("b"), U("c"), A("d"))},
        Row((U("a"),), (A("b"), U("c"), A("d"))), "messages, not prompt and response"),
    "a prompt beside a whole dialogue": ({"question": "x", "response": messages(U("a"), A("b"))},
                                         Row((U("a"),), (A("b"),)), "response, not question"),
    "two questions": ({"prompt": "x", "messages": messages(S, U("a")), "response": "b"},
                      Row((S, U("a")), (A("b"),)), "messages and response, not prompt"),
    "a pair behind an answer": (
        {"messages": messages(U("a"), A("b")), **PAIR},
        Row((U("a"),), None, (A("good"),), (A("bad"),)), "chosen and rejected, not messages"),
    "the same said twice": (
        {"prompt": "a ", "completion": " b", "messages": messages(U("a"), A("b"))},
        Row((U("a"),), (A("b"),)), ""),
    "the columns of UltraFeedback": (
        {"prompt": "a", "chosen": messages(U("a"), A("good")), "messages": messages(
            U("a"), A("good")), "rejected": messages(U("a"), A("bad"))},
        Row((U("a"),), None, (A("good"),), (A("bad"),)), "")}


@pytest.mark.parametrize("name", TWO)
def test_no_answer_is_trained_behind_another_and_what_is_not_read_is_said(name):
    item, want, said = TWO[name]
    rows, _ = read_dataset([item, item])
    assert rows == [want, want] and rows[0].unread == said and rows[0].extra == item
    line = report_use({"to learn from": (rows, {r.where for r in rows})}, [], {}, ["demos"])
    assert line.split("\n")[1:] == ["2 rows with a second question or answer: the run reads "
                                    f"{said}, as in dataset, row 1"] * bool(said)
    (asked,) = prompt_rows(rows)
    assert asked.prompt == want.prompt, "what samples sees no solution"


@pytest.mark.parametrize("kinds, said", [
    (["demos"], "the response, not chosen and rejected"), (["demos", "pairs"], ""),
    (["pairs"], "chosen and rejected, not the response"), (["prompts"], "")])
def test_of_an_answer_beside_a_pair_the_run_says_which_it_reads(kinds, said):
    rows, _ = read_dataset([{"prompt": "a", "response": "b", **PAIR}])
    lines = report_use({"to learn from": (rows, {rows[0].where})}, [], {}, kinds).split("\n")
    assert len(lines) == 1 + bool(said) and said in lines[-1]


NAN = float("nan")
LEFT_OUT = {
    NO_QUESTION: [{"prompt": " ", "response": "b"}, {"messages": messages(S, A("b"))},
                  {"prompt": None, **PAIR}, {"messages": messages(U(None), A("b"))}],
    NO_ANSWER: [{"prompt": "a", "response": None, "label": True}, {"prompt": "a", "score": 1,
                "response": NAN}, {"prompt": "a", **PAIR, "chosen": None},
                {"prompt": "a", **PAIR, "rejected": " "}, {"chosen": None, "rejected": None},
                {"messages": messages(U("a"), A("b"), U("c"), A(None))},
                {"prompt": "a", "label": True}, {"messages": messages(U("a")), "score": 0}],
    NO_GRADE: [{"prompt": "a", "response": "b", "label": x} for x in (None, NAN)],
    ALL_SHOWN: [{"prompt": "a", "response": [{"role": "assistant", "content": "b", "weight": 0}]},
                {"messages": messages(U("a"), A("b")), "train": False},
                {"prompt": "a", "response": "b", "weight": 0}]}


def test_a_row_that_lacks_something_is_left_out_and_counted(tmp_path):
    empty = [item for some in LEFT_OUT.values() for item in some]
    rows, left_out = read([write(tmp_path, *empty, FORMS["scored"][0])])
    assert rows == [FORMS["scored"][1]]
    assert [why for _, why in left_out] == [why for why, some in LEFT_OUT.items() for _ in some]
    assert all(f"my.jsonl, line {i}" in where for i, (where, _) in enumerate(left_out, 1))
    with pytest.raises(UserError, match="no row to learn from .2: label, score or p is null"):
        read([write(tmp_path, *LEFT_OUT[NO_GRADE])])
    nothing = [{"prompt": "a", "response": x} for x in (None, " ", [], NAN)]
    assert read([write(tmp_path, *nothing)]) == ([Row((U("a"),))] * 4, []), "for what samples"


def test_a_cell_of_a_csv_is_a_text(tmp_path):
    """Also null, N/A and 42; a blank one is as if missing, and only grades are numbers."""
    (tmp_path / "[1].csv").write_text(
        '\ufeffprompt,answer,label,gold\na,null,true,7\nb,"N/A",0,nan\nc,42,False,\nd,,1,\n'
        ',e,1,\nf,g,,\n"h, i","j\nk",1,\n', encoding="utf-8")
    rows, left_out = read([str(tmp_path / "[1].csv")])
    assert [(r.prompt[0].text, r.answer[0].text, r.label, r.extra["gold"]) for r in rows] == [
        ("a", "null", 1, "7"), ("b", "N/A", 0, "nan"), ("c", "42", 0, ""), ("h, i", "j\nk", 1, "")]
    assert sorted(why for _, why in left_out) == sorted([NO_ANSWER, NO_QUESTION, NO_GRADE])


@pytest.mark.parametrize("mark", sorted(MARKS))
def test_a_mark_says_whether_an_answer_is_trained_on(mark, tmp_path):
    def trained(name: str, value) -> str:
        marked = {"role": "assistant", "content": "b", name: value}
        talk = [*messages(U("a"), A("x"), U("y")), marked, *messages(U("c"), A("d"))]
        (row,), _ = read([write(tmp_path, {"messages": talk})])
        ids, mask = LETTERS.chat(row.prompt, row.answer)
        return letters(i for i, m in zip(ids, mask) if m)
    assert [trained(mark, x) for x in (0, False)] == [" x<|end|> d<|end|>"] * 2
    assert [trained(mark, x) for x in (1, True, None)] == [" x<|end|> b<|end|> d<|end|>"] * 3
    for name, value in ((mark, 0.5), (mark, "false"), ("mask", 1), ("no_loss", True)):
        with pytest.raises(UserError, match=f'message 4 of "messages" has "{name}": '):
            trained(name, value)


@pytest.mark.parametrize("item, words", [
    (7, "is a number, not an object"), ({"text": "a"}, "has the fields text; needed are prompt"),
    ({"prompt": "a", "response": "b", "output": "c"}, '"output" and another field may both be'),
    ({"prompt": 7, "response": "b"}, '"prompt" is a number, not a text or a list'),
    ({"messages": "a"}, '"messages" is a text, not a list of messages'),
    ({"instruction": "a", "input": 0, "output": "b"}, '"input" is a number, not a text'),
    ({"prompt": "a", "chosen": "b"}, "a pair needs both"),
    ({"chosen": "a b", "rejected": "c d"}, "do not begin alike"),
    ({"chosen": TALK[0], "rejected": messages(U("x"), A("y"))}, "do not answer the same prompt"),
    ({"prompt": messages(U("a"), A("b")), "response": "c"}, '"prompt" ends with an answer, and'),
    ({"prompt": messages(U("a"), A("b")), **PAIR}, '"prompt" ends with an answer, and the row has'),
    ({"messages": [7]}, 'message 1 of "messages" is a number'),
    ({"system": "s", "prompt": 3}, '"prompt" is a number'),
    ({"messages": messages(Turn("wizard", "a"))}, 'has the role "wizard"; known are system'),
    ({"messages": messages(U(7))}, "has no text"),
    ({"messages": messages(U("a"), A("b")), "loss_mask": [0, 1]}, '"loss_mask" is a list beside'),
    ({"messages": [{**messages(A("b"))[0], "thinking": "c"}]}, 'has "thinking"; calls of tools'),
    ({"prompt": "a", "response": "b", "label": "good"}, '"label" is "good", not true or false'),
    ({"prompt": "a", "response": "b", "label": 0.5}, '"label" is 0.5, not true or false; call a'),
    ({"prompt": "a", "response": "b", "score": 7}, '"score" is 7, not a number from 0 to 1'),
    ({"prompt": "a", **PAIR, "label": True}, '"label" judges a response, and this row has none'),
    ({"messages": [*messages(U("a")), {**messages(A("b"))[0], "label": False}]},
     'message 2 of "messages" has a "label"; write it beside "messages": there it counts for all'),
    ({"response": [{**messages(A("b"))[0], "score": 0.5}], "prompt": "a"},
     'message 1 of "response" has a "score"; write it beside "response"'),
    ({"prompt": "a", "response": "b", "p": 0.5}, '"p" judges a pair')])
def test_a_row_that_is_not_understood_is_one_line(item, words, tmp_path):
    file = write(tmp_path, FORMS["scored"][0], item)
    with pytest.raises(UserError) as e:
        read([file])
    assert str(e.value).startswith(f"{file}, line 2: ") and words in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("n, told", [(1, "(without quotes; 1 and 0 too)"),
                                     (2, " (2 rows are refused: line 2, line 3)"),
                                     (5, " (5 rows are refused: line 2, line 3, line 4, ...)")])
def test_all_rows_that_are_refused_are_told_at_once(n, told, tmp_path):
    bad = {"prompt": "a", "response": "b", "label": "up"}
    with pytest.raises(UserError) as e:
        read([write(tmp_path, FORMS["scored"][0], *[bad] * n)])
    assert 'my.jsonl, line 2: "label" is "up", not true or false' in str(e.value)
    assert str(e.value).endswith(told)


@pytest.mark.parametrize("kinds, left", [
    (["demos"], 1), (["labels"], 1), (["demos", "labels"], 0), (["prompts"], 0)])
def test_in_a_file_with_labels_an_answer_without_one_is_left_out(kinds, left, tmp_path):
    """Its thumb has another name, and may be down. UFT wants demonstrations beside labels; in a
    file without labels each answer is a demonstration, and a pair or a prompt needs no label."""
    labelled = {"prompt": "a", "response": "b", "label": True}
    items = [labelled, {"prompt": "a", "response": "b", "thumb": "down"}, {"prompt": "a", **PAIR},
             {"prompt": "a", "response": "b", "score": 1}, {"prompt": "a"}]
    demos = write_jsonl(tmp_path / "demos.jsonl", [FORMS["prompt and response"][0]] * 2)
    rows, left_out = read([write(tmp_path, *items), demos], kinds)
    assert len(rows) + len(left_out) == 7
    assert left_out == [(f"{tmp_path / 'my.jsonl'}, line 2", NO_LABEL)] * left


@pytest.mark.parametrize("item, choose, kind", [
    ({"prompt": "a", **PAIR, "score_chosen": 8.5, "score_rejected": "low"}, pair_rows, "pairs"),
    ({"prompt": "a", **PAIR, "score": 4, "label": "helpful"}, pair_rows, "pairs"),
    ({"prompt": "a", **PAIR, "score_chosen": 9}, demo_rows, "demos"),
    ({"prompt": "a", "response": "b", "label": True, "p": 7, "score": 9}, label_rows, "labels"),
    ({"prompt": "a", "response": "b", "score": 1, "p": 7}, score_rows, "scores"),
    ({"prompt": "a", "label": "b", "score": 9}, prompt_rows, "prompts"),
    ({"question": "a", "answer": "b", "label": -1, "p": None}, prompt_rows, "prompts")])
def test_a_grade_that_the_method_does_not_read_is_not_judged(item, choose, kind, tmp_path):
    file = write(tmp_path, item)
    (row,), left_out = read([file], [kind])
    assert not left_out and row.extra == item and choose([row])
    assert row.scores == ()


ROW = 'prompt,response\n{"prompt": "café", "response": "b"}\n'
UTF_16 = "cannot be read as UTF-8 text: it is UTF-16; save it as UTF-8"


@pytest.mark.parametrize("name, content, words", [
    ("x.jsonl", None, "no such file"), ("x.jsonl", b"", "there is no row to learn from"),
    ("x.jsonl", b'{"prompt": "a"', "x.jsonl, line 1: no JSON"), ("x.jsonl", b"[{}", "no JSON"),
    ("b.CSV", b"prompt\na,b\n", "row 1: has more cells"), ("b.CSV", b'"b\n', "read as CSV"),
    ("b.CSV", b"prompt,answer,answer\na,b,c\n", 'two columns are called "answer"'),
    ("b.CSV", b"prompt;answer\na;b\n", "columns are separated by commas"),
    ("x.csv", ROW.encode("utf-16"), UTF_16), ("x.jsonl", ROW.encode("utf-16-le"), UTF_16),
    ("x.jsonl", "ASCII".encode("utf-16-be"), UTF_16),
    ("x.jsonl", ROW.encode("latin-1"), "line 2 has the byte 0xe9, as in Latin-1 and Windows-1252"),
    ("x.jsonl", b"\0" * 99, "it holds zero bytes alone"),
    ("x.jsonl", pickle.dumps([1, 2]), "it is a pickle of Python"),
    ("x.json", b'{"prompt": "a",\n "output": "b"}', "line 1: no JSON"),
    ("x.json", b'{"version": 1, "data": [{}]}', 'if the rows are in "data", save that list alone'),
    ("x.parquet", b"PAR1", "cannot be read (Arrow"),
    ("x.jsonl.gz", gzip.compress(ROW.encode(), mtime=0), "it is packed by gzip; save it as UTF-8")])
def test_a_file_that_cannot_be_read_is_one_line(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as e:
        read([str(tmp_path / name)])
    assert str(e.value).startswith(str(tmp_path / name)) and words in str(e.value)


def test_a_grade_that_json_cannot_write_is_one_line():
    item = {"prompt": "a", "response": "b", "label": Decimal("0.5")}        # parquet has these
    with pytest.raises(UserError, match='"label" is "0.5", not true or false'):
        read_dataset([item])


ASKS = """
import sys
asked = []
sys.addaudithook(lambda event, args: asked.append(args) if event.startswith("socket.") else None)
from nanouft.data.rows import read
print(len(read(sys.argv[1:])[0]), asked)
"""


def test_a_parquet_file_asks_no_network_and_leaves_no_copy(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(
        pa.table({"prompt": ["a"] * 3, "response": ["b"] * 3}), tmp_path / "my.parquet")
    said = subprocess.run([sys.executable, "-c", ASKS, tmp_path / "my.parquet"], check=True,
                          text=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1],
                          env=os.environ | {"HF_HOME": str(tmp_path / "home")}).stdout
    assert said == "3 []\n" and os.listdir(tmp_path) == ["my.parquet"]


def test_parquet_is_read_as_json_is_and_the_hub_through_datasets(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    items = [FORMS["messages"][0], FORMS["a pair of conversations"][0]]
    for item, name in zip(items, ("a[1].parquet", "b.parquet")):
        datasets.Dataset.from_list([item]).to_parquet(tmp_path / name)
    rows, _ = read([str(tmp_path / "a[1].parquet"), str(tmp_path / "b.parquet")])
    assert rows == [FORMS["messages"][1], FORMS["a pair of conversations"][1]]
    assert read_dataset(datasets.Dataset.from_list(items[:1]))[0] == rows[:1]
    asked = []
    monkeypatch.setattr(datasets, "load_dataset", lambda *where, split: asked.append((where, split))
                        or items)
    assert read(["hub:me/mine", "hub:me/mine:test"])[0] == rows * 2
    assert asked == [(("me/mine",), "train"), (("me/mine",), "test")]
    monkeypatch.setattr(datasets, "load_dataset", lambda *where, split: 1 / 0)
    with pytest.raises(UserError, match="hub:me/no: cannot be read .ZeroDivisionError"):
        read(["hub:me/no"])


# ---- which rows stand together -------------------------------------------------------------------
def test_which_sequences_an_objective_sees():
    p, b, pair = (U("a"),), (A("b"),), {"chosen": (A("w"),), "rejected": (A("l"),)}
    data = [Row(p, b), Row(p, b, label=1.0), Row(p, b, label=0.0), Row(p, b, score=0.7),
            Row(p, **pair), Row(p, **pair, scores=(0.9, 0.2)), Row(p, chosen=b, rejected=b)]

    def texts(rows: list[Row], *roles: str) -> list:
        return [[r.roles[x][1][0].text for x in roles] + [x for x in (r.score, r.label)
                                                          if x is not None] for r in rows]
    assert texts(demo_rows(data), "answer") == [["b"], ["b"], ["w"], ["w"], ["b"]]
    assert texts(demo_rows([data[3], Row(p, b, score=1.0)]), "answer") == [["b"]], "full marks"
    assert texts(pair_rows(data), "chosen", "rejected") == [["w", "l"]] * 2
    assert texts(label_rows(data), "answer") == [["b", 1], ["b", 0], *[["w", 1],
                                                                             ["l", 0]] * 2]
    assert texts(score_rows(data), "answer") == [["b", 1], ["b", 0], ["b", 0.7], ["w", 0.9],
                                                       ["l", 0.2]]
    assert [r.roles for r in prompt_rows(data)] == [{"prompt": (p, ())}]
    assert each_prompt([data[0], Row((U("x"),)), data[1]]) == [data[0], Row((U("x"),))]
    assert describe([*data, Row(p)]) == "1 demonstration and 2 labelled answers and 1 scored " \
                                        "answer and 3 pairs and 1 prompt"
    with pytest.raises(UserError, match="needs pairs .*; the data has 1 demonstration; unused "
                                        "fields: ticket, rating$"):
        pair_rows([replace(data[0], extra={"prompt": "a", "ticket": 1, "rating": 2})])
    with pytest.raises(UserError, match='"label": true for thumbs up .*; unused fields: thumb$'):
        label_rows([replace(data[0], extra={"prompt": "a", "thumb": "up"})])
    with pytest.raises(UserError, match="needs scores .*; the data has 1 pair$"):
        score_rows([replace(data[4], extra={"prompt": "a", **PAIR})])


@pytest.mark.parametrize("choose, kinds, why", [
    (demo_rows, ["demos"], {"no answer, or an empty one": 1,
                            "bad answers, which are no demonstrations": 1}),
    (pair_rows, ["pairs"], {"no answer, or an empty one": 1, "chosen and rejected are equal": 1,
                            "labelled answers, which this method does not read": 1}),
    (prompt_rows, ["prompts"], {"the same question as another row": 3})])
def test_every_row_is_accounted_for(choose, kinds, why):
    p, b = (U("a"),), (A("b"),)
    data = [Row(p, chosen=b, rejected=(A("l"),)), Row(p, b, label=0.0), Row(p),
            Row(p, chosen=b, rejected=(A(" b"),))]
    data = [replace(row, where=str(i)) for i, row in enumerate(data)]
    used = {r.where for r in choose(data)}
    left_out = [("a/my.jsonl, line 3", NO_QUESTION), ("my.jsonl, line 5", NO_QUESTION)]
    line = report_use({"to learn from": (data, used), "held out": (data[:1], {"0"})}, left_out, {},
                   kinds)
    begin, reasons = line.split(" left out (2: no question, as in my.jsonl, line 3; ")
    assert begin == f"7 rows read: {len(used)} to learn from, 1 held out, {6 - len(used)}"
    assert (sorted(x.rpartition(", as in ")[0] for x in reasons[:-1].split("; "))
            == sorted(f"{n}: {x}" for x, n in why.items()))


@pytest.mark.parametrize("choose, row, why", [
    (pair_rows, Row((U("a"),), chosen=(A("b"),), rejected=(A("b "),)),
     "the data has 2 pairs (2: chosen and rejected are equal, as in "),
    (demo_rows, Row((U("a"),), (A("b"),), label=0.0),
     "the data has 2 labelled answers (2: bad answers, which are no demonstrations, as in "),
    (demo_rows, Row((U("a"),), (A("b"),), score=0.5),
     "the data has 2 scored answers (2: answers with less than full marks (score 1), which "),
    (demo_rows, Row((U("a"),)), "the data has 2 prompts (2: no answer, or an empty one, as in "),
    (score_rows, Row((U("a"),), (A("b"),)), "the data has 2 demonstrations")])
def test_where_no_row_can_be_used_the_line_says_why(choose, row, why):
    with pytest.raises(UserError) as e:
        choose([replace(row, where=f"a/my.jsonl, line {i}") for i in (1, 2)])
    assert why in str(e.value) and ("my.jsonl, line 1)" in str(e.value)) == ("(2: " in why)


@pytest.mark.parametrize("rows, weights, line", [
    ([Row(label=1.0)] * 12, None, "all 12 answers are labelled good: nothing tells a better one"),
    ([Row(label=0.0)] * 2, (1, 1), "all 2 answers are labelled bad: nothing tells a better one"),
    ([Row(score=0.5)] * 3, None, "all 3 answers have the score 0.5: nothing tells a better one"),
    ([Row(score=0.5), Row(score=0.6)], None, ""), ([Row(label=1.0), Row(label=0.0)], (1, 1), ""),
    ([*[Row(label=1.0)] * 11, Row(label=0.0)], None, ""),
    ([*[Row(label=1.0)] * 11, Row(label=0.0)], (1, 11), ""),
    ([*[Row(label=1.0)] * 11, Row(label=0.0)], (1, 1),
     "11 good answers and 1 bad one: --undesirable-weight 7.33 to 11 would give the good ones 1 to "
     "1.5 times"),
    ([*[Row(label=0.0)] * 11, Row(label=1.0)], (2, 0.5),
     "1 good answer and 11 bad ones: --desirable-weight 5.5 to 8.25 would give the good ones 1 ")])
def test_grades_that_tell_little_are_named(rows, weights, line):
    assert about_grades(rows, weights).startswith(line) and bool(line) == bool(
        about_grades(rows, weights))


def test_a_grade_that_counts_for_several_answers_of_a_dialogue_is_named():
    talk = (A("b"), U("c"), A("d"))
    shown = (Turn("masked", "b"), U("c"), A("d"))
    rows = [Row((U("a"),), talk, label=0.0), Row((U("a"),), talk, label=1.0),
            Row((U("a"),), talk, score=0.5), Row((U("a"),), talk), Row((U("a"),), shown, label=1.0),
            Row((U("a"),), talk[:1], label=1.0)]
    assert about_dialogues(rows) == [
        "2 labelled dialogues with several answers: the label counts for all of them",
        "1 scored dialogue with several answers: the score counts for all of them"]
    assert about_dialogues(rows[3:]) == []


def test_a_question_with_too_many_rows_to_be_held_out_is_named():
    """40 dialogues that begin with "Hello" are more than a tenth, so none is held out."""
    rows = [Row((U(f"Question {i}"),), (A("b"),)) for i in range(200)]
    greeted = [Row((U(form),), (A("b"),)) for form in ("Hello", "hello ") for _ in range(20)]
    assert not {*greeted} & {*holdout(rows + greeted)[1]}
    assert never_held_out(rows + greeted) == (
        '40 rows begin with "hello": too many to be held out, so none is')
    assert never_held_out(greeted + rows[:1] * 60) == (
        '60 rows begin with "question 0": too many to be held out, so none is; so it is with 1 '
        "other question")
    assert never_held_out(rows + greeted[:20]) == "" == never_held_out(greeted[:9])


def test_an_accent_is_the_same_letter_however_it_is_written():
    """é is one letter or two: one question on one side, and no pair of two answers."""
    rows = [Row((U(form.format(i)),), (A("b"),)) for i in range(100)
            for form in ("caf\u00e9 {}", "CAFE\u0301 {}")]
    train, held = holdout(rows)
    sides = [{r.prompt[0].text.split()[1] for r in side} for side in (train, held)]
    assert held and not sides[0] & sides[1]
    one, two = (A("caf\u00e9"),), (A("cafe\u0301"),)
    with pytest.raises(UserError, match="chosen and rejected are equal"):
        pair_rows([Row((U("a"),), chosen=one, rejected=two)])
    assert len(prompt_rows([Row(one), Row(two)])) == len(each_prompt([Row(one), Row(two)])) == 1


def test_a_question_with_another_field_is_another_question():
    data = [Row((U("a"),), extra={"prompt": "a", "gold": x}) for x in (1, 2, 2)]
    assert len(prompt_rows(data)) == 2 and len(each_prompt(data)) == 1


def test_equal_questions_are_held_out_together():
    """By a hash of the question: the same on every machine, in any order, white space and capital
    letters aside."""
    rows = [Row((S, U(form.format(i))), (A(form),)) for i in range(400)
            for form in ("question {}", " Question\t  {}\n")]
    train, held = holdout(rows)
    asked = [{r.prompt[1].text.split()[1] for r in side} for side in (train, held)]
    assert not asked[0] & asked[1] and len(train) + len(held) == 800 and len(held) == 80
    assert {*holdout(rows[::-1])[1]} == {*held}
    some = [Row((U(f"question {i}"),), (A("b"),)) for i in range(3000)]
    assert [len(holdout(some[:n])[1]) for n in (2, 7, 100, 1000, 3000)] == [1, 1, 10, 100, 200]
    assert holdout(some[:1]) == (some[:1], []) and holdout(some)[1][0] == some[49]


# ---- rows -> tokens ------------------------------------------------------------------------------
def one(context: tuple, trained: tuple) -> Row:
    return Row(roles={"answer": (context, trained)})


def letters(ids) -> str:
    return "".join(LETTERS.decode([int(i)]) for i in ids)


def test_mask_shift_and_padding_by_hand():
    rows, report = encode([one((U("a"),), (A("b"),)), one((U("hi"),), (A("yo"),))], LETTERS, 64)
    for e in rows:
        e.seqs["answer"].extra["x"] = np.arange(1, e.length)
    batch = collate(rows, [1, 0], LETTERS.pad)
    s = batch.seqs["answer"]
    assert [letters([i]) for i in s.inputs[0]] == ["<|user|>", " ", "h", "i", "<|assistant|>", " ",
                                                   "y", "o"]
    assert [letters([i]) for i in s.targets[0]] == [" ", "h", "i", "<|assistant|>", " ", "y", "o",
                                                    "<|end|>"], "targets[t] follows inputs[t]"
    assert letters(s.targets[1]) == " a<|assistant|> b<|end|>" + 2 * letters([LETTERS.pad])
    assert s.mask.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0, 0]], \
        "the answer and its <|end|> are trained on, not the question or the header"
    assert s.not_padding.tolist() == [8 * [1], 6 * [1] + 2 * [0]] and batch.tokens == {"answer": 7}
    assert s.extra["x"].tolist() == [[*range(1, 9)], [*range(1, 7), 0, 0]]
    assert batch.take([1]).seqs["answer"].inputs.shape == (1, 6) and report.skipped == 0


def test_a_row_that_does_not_fit_is_skipped_and_counted():
    """Neither a question nor an answer is cut: 15 tokens are 14 inputs and as many targets."""
    short, long = one((U("a"),), (A("yo"),)), one((U("abcdefgh"),), (A("yo"),))
    assert len(encode([short, long, short], LETTERS, 14)[0]) == 3
    kept, report = encode([short, long, short], LETTERS, 13)
    assert (len(kept), report.skipped) == (2, 1)
    (line,) = report.lines(13)
    assert line.startswith("rows that are too long, ") and line.endswith("--init a model with a "
        "longer context, since that of this one is the limit"), "the count is told elsewhere"
    assert "longer than 13 tokens without their last (the longest has 14)" in line
    _, report = encode([short, long, short], LETTERS, 13, by_flag=True)
    assert report.lines(13)[0].endswith("; raise --max-length")
    pair = Row(roles={"chosen": short.roles["answer"], "rejected": long.roles["answer"]})
    assert encode([short, pair], LETTERS, 13)[1].skipped == 1, "a pair goes as a whole"
    (prompt,), _ = encode([Row(roles={"prompt": ((S, U("a")), ())})], LETTERS, 64)
    assert not prompt.seqs["prompt"].mask.any()
    with pytest.raises(UserError, match="no row fits"):
        encode([long], LETTERS, 13)
    with pytest.raises(UserError, match="; --max-new keeps 64 more for the answer; lower it, or "):
        encode([long], LETTERS, 13, kept_free=64)
    odd = replace(one((Turn("wizard", "a"),), (A("b"),)), where="my.jsonl, line 7")
    kept, report = encode([odd, short], LETTERS, 13)
    assert len(kept) == 1 and "1 refused, the first: my.jsonl, line 7: unknown role" \
        in report.lines(13)[0] and list(report.why) == ["my.jsonl, line 7"]
    with pytest.raises(UserError, match="no row can be used; the first: my.jsonl, line 7"):
        encode([odd, replace(odd, where="my.jsonl, line 8")], LETTERS, 13)


def test_a_system_turn_between_an_answer_and_a_question_does_not_keep_older_turns():
    talk = (U("a"), A("yo"), S, U("c"))
    assert without_oldest(talk) == ((S, U("c")), ())


@pytest.mark.parametrize("n_ctx, question, left", [     # 39, 31 and 19 tokens
    (38, "a", 3), (37, "bb", 2), (29, "c", 1), (17, "", 0)])
def test_a_dialogue_that_is_too_long_loses_its_oldest_turns_and_never_its_last_answer(
        n_ctx, question, left):
    """Older answers in the prompt of a pair, and those that are trained on, whose loss is counted;
    what KTO borrows stands behind the question that is left. Two compared answers stay whole."""
    asked, talk = (S, U("a")), (A("yo"), U("bb"), A("no no"), U("c"), A("yes"))
    prompt, last, other = asked + talk[:-1], talk[-1:], (A("m"),)
    for roles, trained in (({"answer": (asked, talk), "mismatch": (asked, other)}, left),
                           ({"chosen": (prompt, last), "rejected": (prompt, other)}, 1)):
        row = Row(roles=roles, where="my.jsonl, line 3")
        kept, report = encode([one((U("q"),), (A("r"),)), row], LETTERS, n_ctx)
        lost = (3 - left) * ("answer" in roles and left > 0)
        assert report.lost_answers == lost and report.skipped == (not question)
        answers = (f", and with them {lost} answer{'s' * (lost != 1)} that would have been trained "
                   "on")
        assert report.lines(n_ctx)[:1] == [
            f"1 dialogue lost the oldest turns{answers * (lost > 0)}; so they fit {n_ctx} tokens, "
            "as in my.jsonl, line 3"] * (0 < left < 3) or not left
        for e in kept[1:]:
            assert {e.row.prompt} == {prompt for prompt, _ in e.row.roles.values()} or left == 3
            first = e.seqs.get("answer") or e.seqs["chosen"]
            assert letters(i for i, m in zip(first.ids, first.mask) if m) == "".join(
                [" yo<|end|>", " no no<|end|>", " yes<|end|>"][-trained:])
            assert all(letters(t.ids).startswith(f"<|user|> Be kind.\n\n{question}<|assistant|>")
                       for t in e.seqs.values())
    pair = Row(roles={"chosen": (asked, talk), "rejected": (asked, other)})
    assert encode([one((U("q"),), (A("r"),)), pair], LETTERS, n_ctx)[1].skipped == (n_ctx < 38)


def test_a_row_loses_nothing_for_the_answer_that_it_borrows():
    """That one is cut to the context; the row keeps its turns, and its own answer as it is."""
    talk = (A("yo"), U("bb"), A("no"))
    roles = {"answer": ((U("a"),), talk), "mismatch": ((U("a"),), (A("m" * 90),))}
    (e,), report = encode([Row(roles=roles)], LETTERS, 20)
    alone, _ = encode([one((U("a"),), talk)], LETTERS, 20)
    assert e.seqs["answer"].ids.tolist() == alone[0].seqs["answer"].ids.tolist()
    assert not report.skipped and not report.shortened
    borrowed = e.seqs["mismatch"]
    assert letters(borrowed.ids) == "<|user|> a<|assistant|> " + "m" * 16
    assert borrowed.mask.tolist() == [0] * 4 + [1] * 17


def test_a_dialogue_costs_as_much_as_it_is_long_and_loses_as_few_questions_as_it_takes():
    """Twice as many turns are twice as many texts to tokenize, not four times as many."""
    class Counting(Tokenizer):
        def chat(self, context, trained=()):
            self.turns = getattr(self, "turns", 0) + len(context + trained)
            return super().chat(context, trained)

    def cost(n: int) -> int:
        tok = Counting("letters", {bytes([b]): b for b in range(256)}, NANO_PATTERN)
        (e,), report = encode([one((U("q"),), (A("a"), *(U("q"), A("a")) * n))], tok, 60)
        assert e.length == 56 and report.lost_answers == n + 1 - 8, "one is 7 tokens"
        return tok.turns
    assert cost(2000) < 2.2 * cost(1000)
    talk = (A("yo"), U("bb"), A("no"), S, U("c"), A("y"), U("d"), A("yes"), U("e"))
    for n in range(5):
        once = again = ((S, U("a")), talk)
        for _ in range(n):
            again = without_oldest(*again)
        assert without_oldest(*once, n) == again


def test_an_end_token_that_is_typed_is_named_once():
    texts = ("b<|end|>", "b", "b</s>", "<|end|> b<|end|>")
    rows = [Row((), (A(x),), where=x, roles=one((), (A(x),)).roles) for x in texts]
    lines = encode(rows, LETTERS, 99)[1].lines(99)
    assert sorted(x[:22] for x in lines) == ['1 row with "</s>" type', '2 rows with "<|end|>" ']


# ---- the order -----------------------------------------------------------------------------------
@pytest.mark.parametrize("n, rows, steps", [(1020, 32, 96), (7, 3, 40), (5, 8, 9), (1, 4, 3)])
def test_no_row_comes_again_before_all_others_have_come(n, rows, steps):
    lengths = np.random.default_rng(0).integers(10, 91, n)
    made = order([*lengths], rows, steps, 3)
    seen = np.cumsum([np.bincount(step, minlength=n) for step in made], axis=0)
    assert made.shape == (steps, rows) and np.ptp(seen, axis=1).max() <= 1
    assert n < 2 or (made != order([*lengths], rows, steps, 4)).any()


# ---- the tokenizer -------------------------------------------------------------------------------
TEXTS = ["Where does the dova live?", "don't 1234 42", "  two\t\n\n \r\n", "naïve Zoë 学 日本語 😀",
         "e\u0301 \u3000\u200b\x00 ½ ٣", "<|end|> <|user|>", "", "_x_"]


def test_any_text_comes_back_and_no_text_spells_a_control_token():
    control = {NANO.user, NANO.assistant, NANO.end, NANO.pad}
    for text in [*TEXTS, *(a + b for a in TEXTS for b in TEXTS)]:
        ids = NANO.encode(text)
        assert NANO.decode(ids) == text and not control & {*ids}
    assert NANO.decode([0xE5, 0xAD]) == "\ufffd" and NANO.n_vocab == 1024
    assert NANO.decode([NANO.end]) == "<|end|>"


def test_transformers_reads_our_tokenizer_and_template(tmp_path):
    transformers = pytest.importorskip("transformers")
    from nanouft.gpt import GPT, GPTConfig
    save_model(tmp_path, GPT(GPTConfig(NANO.n_vocab, 32, 1, 1, 8), seed=0), NANO)
    assert read_tokenizer(tmp_path) is NANO
    assert json.loads((tmp_path / "tokenizer_config.json").read_text())["chat_template"] == JINJA
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert (theirs.eos_token_id, theirs.pad_token_id) == (NANO.end, NANO.pad)
    for text in TEXTS:
        if "<|end|>" not in text:                       # a name that is typed is theirs, not ours
            assert theirs(text)["input_ids"] == NANO.encode(text) and \
                theirs.decode(NANO.encode(text)) == text
    talk = (S, U("Hi {{x}}\n"), A(" Hello"), U("And?"), A("So."), S, U("Why?"))
    for turns in (talk, talk[:2], talk[1:5], talk[:1], (talk[0], talk[2]), (*talk[:3], S)):
        plain = messages(*turns)
        whole = theirs.apply_chat_template(plain, return_dict=True,
                                           return_assistant_tokens_mask=True)
        assert (whole["input_ids"], whole["assistant_masks"]) == NANO.chat((), turns)
        assert NANO.chat(turns) == (whole["input_ids"], [0] * len(whole["input_ids"]))
        assert theirs.apply_chat_template(plain, add_generation_prompt=True,
                                          return_dict=True)["input_ids"] == NANO.prompt_ids(turns)


def test_an_id_of_a_padded_embedding_has_no_text():
    assert NANO.decode([NANO.n_vocab, *NANO.encode("ab")]) == "ab"


@pytest.mark.parametrize("flags, unread", [
    ("--objective sft", "fields that this run does not read: thumb (9 rows), prompt[].vote "
                        "(9 rows)\n"),
    ("--objective grpo --reward reward.py:length", "")])
def test_a_run_names_the_fields_that_it_does_not_read(flags, unread, tmp_path, capsys):
    """A thumb under a name of its own would train all answers as demonstrations. A reward of yours
    sees every field."""
    file = write_jsonl(tmp_path / "rows.jsonl", [
        {"prompt": [{"role": "user", "content": f"Say {i}.", "vote": "up", "none": None}],
         "response": "fig", "thumb": "up"} for i in range(9)])
    objective, cfg, _ = read_flags([*flags.split(), "--data", file])
    choose(cfg, objective, load_rows(cfg, objective))
    printed = capsys.readouterr().out
    assert unread in printed and ("does not read" in printed) == bool(unread)


def test_unread_fields_are_named_once_where_no_row_is_left(tmp_path, capsys):
    """By the error, and not by a line before it too."""
    file = write_jsonl(tmp_path / "rows.jsonl", [
        {"prompt": f"Say {i}.", "response": "fig", "thumb": "up"} for i in range(9)])
    objective, cfg, _ = read_flags(["--objective", "kto", "--data", file])
    with pytest.raises(NoRows, match="unused fields: thumb$"):
        choose(cfg, objective, load_rows(cfg, objective))
    assert "thumb" not in capsys.readouterr().out
