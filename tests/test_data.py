"""What a run learns from: each form of a row is read, each mistake is one line; tokens, masks and
the shift by hand; no row comes again before all others have come."""
import gzip
import json
import os
import re
import shutil
from ast import literal_eval
from dataclasses import replace
from decimal import Decimal
from importlib.util import find_spec
from itertools import product, zip_longest
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import change_behind_its_time
from made import BYTES, LETTERS, NANO, write_jsonl

from nanouft import evaluate, train, world
from nanouft.data import __main__ as show_data
from nanouft.data.batches import collate, encode, encode_what_fits, order
from nanouft.data.fields import FIELDS, NAMES, READ_FOR
from nanouft.data.files import dataset_rows, items
from nanouft.data.holdout import holdout
from nanouft.data.report import (
    NOT_READ,
    duplicates_note,
    grade_note,
    report_use,
    unread_fields,
    why_skipped,
)
from nanouft.data.rows import NO_ANSWER, NO_QUESTION, Row, read, read_dataset
from nanouft.data.selection import CHOOSE, NoRows
from nanouft.models.folders import read_tokenizer, save_model
from nanouft.models.tokenizer import JINJA, NANO_PATTERN, Tokenizer, Turn
from nanouft.plumbing.errors import UserError

ROLES = {x[0]: x for x in "user assistant system tool developer masked wizard human gpt".split()}


def T(text: str) -> tuple[Turn, ...]:
    """ "s Be kind.|u a|a b": turns, each with the first letter of its role."""
    return tuple(Turn(ROLES[x[0]], x[2:]) for x in (text or "").split("|") if x)


def M(text: str, **more) -> list[dict]:
    """The same as messages, in ShareGPT's words for its roles; `more` is of the last one."""
    out = [{"from": role, "value": x} if role in ("human", "gpt") else
           {"role": role, "content": x} for role, x in T(text)]
    return [*out[:-1], out[-1] | more]


def R(text: str, **more) -> Row:
    """ "u a > a b": a row with an answer; "u a + a good - a bad": one with a pair."""
    prompt, answer, *pair = map(T, re.fullmatch(
        r"(.*?)(?: > (.*?))?(?: \+ (.*) - (.*))?", text, re.DOTALL).groups())
    return Row(prompt, answer or None, *(x or None for x in pair), **more)


def letters(ids) -> str:
    return "".join(LETTERS.decode([int(i)]) for i in ids)


def fails(words: str, act, *told, **more) -> str:
    """The one line with these words that it ends with."""
    with pytest.raises(UserError) as e:
        act(*told, **more)
    assert words in str(e.value) and "\n" not in str(e.value), str(e.value)
    return str(e.value)


# ---- a row -> what is read -----------------------------------------------------------------------
# field=value or field~dialogue -> prompt > answer, prompt + chosen - rejected; what is not read.
# Some are read for one kind of method alone.
READ = r'''
prompt=Hi; response=" Ho " -> u Hi > a Ho
question=Hi; answer=Ho; label=false -> u Hi > a Ho; label=0
prompt=a; response=b; score=0.25 -> u a > a b; score=0.25
prompt=a; response="\n\n  if x:\n" -> u a > a   if x:
instruction=Add.; input=1 2; output="3" -> u Add.<br><br>1 2 > a 3
messages~s S|u a|a b|u c|a d -> s S|u a > a b|u c|a d
system=S; conversations~h a|g b -> s S|u a > a b
prompt~s S|u a|a b|u c; completion~a d -> s S|u a|a b|u c > a d
messages~s S|a Welcome.|u a|a b|u c -> s S|a Welcome.|u a > a b; \
turns after the last response
messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}\
]}, {"role": "assistant", "content": "b"}] -> u x<br>y > a b
messages~d S|u a|t 1|a b -> s S|u a|t 1 > a b
prompt=a; chosen=good; rejected=bad; p=0.7 -> u a + a good - a bad; p=0.7
prompt=a; chosen=g; rejected=b; score_chosen=0.9; score_rejected=0 -> u a + a g - a b; scores=0.9, 0
chosen~u a|a b|u c|a good; rejected~u a|a b|u c|a bad -> u a|a b|u c + a good - a bad
prompt={"role": "user", "content": "a"}; chosen={"from": "gpt", "value": "good"}; \
rejected={"from": "gpt", "value": "bad"} -> u a + a good - a bad
problem=a; solution=""; answer="4"; messages~u a|a It is 4 -> u a > a It is 4; answer, problem
prompt=x; response=y; messages~u a|a b|u c|a d -> u a > a b|u c|a d; prompt, response
messages~u a|a b|a c; chosen=x; rejected=y -> u a + a x - a y; messages
prompt=a; chosen~u a|a g; messages~u a|a g; rejected~u a|a b -> u a + a g - a b
prompt=b; chosen~u a|a g; messages~u a|a c; rejected~u a|a b -> u a + a g - a b; messages, prompt
demos: prompt=a; messages~u a|a g -> u a > a g
messages~u a|a b; input= a -> u a > a b; input
system=S; prompt=a; chosen~u a|a g; rejected~u a|a b -> s S|u a + a g - a b
system=S; chosen~u a|a g; rejected~u a|a b -> s S|u a + a g - a b
chosen~u a|a b; rejected~u a|a b -> u a + a b - a b
chosen~u a|a b|u c|a d; rejected~u a|a b -> u a + a b|u c|a d - a b
chosen=The sky is blue.; rejected=The sky is black. -> u The sky is + a blue. - a black.
chosen="\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: good"; \
rejected="\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: bad" -> \
u a|a b|u c + a good - a bad
prompt="\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"; \
chosen="\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: good"; \
rejected="\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: bad" -> \
u a|a b|u c + a good - a bad
prompt="\n\nHuman: a\n\nAssistant: "; chosen="\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\n\
Assistant: d"; rejected="\n\nHuman: a\n\nAssistant: e" -> \
u a + a b|u c|a d - a e
prompt="\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:"; chosen=" good"; rejected=" bad" \
-> u a|a b|u c + a good - a bad
prompt="Human: a\n\nAssistant:"; response= b -> u a > a b
prompts: prompt="Human: a\n\nAssistant:" -> u a
prompt=Human: a; response=b -> u Human: a > a b
messages~u a|a b|u c; response=d -> u a|a b|u c > a d
prompt=x; messages~s S|u a; response=b -> s S|u a > a b; prompt
system=[{"type": "text", "text": "S"}]; prompt=a; response=b -> s S|u a > a b
weight=1; prompt=a; response=b -> u a > a b
messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": null}] -> u a
messages~s S|u a|a b|u c|a  -> s S|u a|a b|u c
prompt~u a; completion= -> u a
prompts: prompt=a; response=; score=7 -> u a; score
prompts: messages~u a|a b|u c|a  ; label=true -> u a|a b|u c; label
prompts: messages~u a|a b -> u a > a b; answers in messages
prompts: prompt=a; response=b; weight=0; thumb=null -> u a; response, weight
labels: prompt=a; response=b; label=true; score_chosen=9 -> u a > a b; label=1; score_chosen
demos: prompt=a; response=b; chosen=g; rejected=c -> u a > a b + a g - a c; chosen, rejected
pairs: prompt=a; response=b; chosen=g; rejected=c -> u a > a b + a g - a c; response
pairs: prompt=a; chosen=g; rejected=b; p=0.5; label=x; weight=1 -> u a + a g - a b; p=0.5; label, p
scores: prompt=a; response=b; label=1; score=1.0 -> u a > a b; label=1; score=1; label
demos: messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "vote": 1,\
 "none": null}] -> u a > a b; messages[].vote
pairs: prompt={"role": "user", "content": [{"type": "text", "text": "a", "cite": 3}]}; \
chosen={"from": "gpt", "value": "g", "tool_calls": [1]}; rejected=c -> u a + a g - a c; \
chosen[].tool_calls, prompt[].content[].cite
prompts: messages=[{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [1]}] -> \
u a; messages[].tool_calls'''
ODD = '''
prompt=" "; response=b -> no prompt
messages~s S|a b -> no prompt
prompt=null; chosen=a; rejected=b -> no prompt
prompt=a; chosen=null; rejected=b -> chosen is missing or empty
prompt=a; chosen=b; rejected=" " -> rejected is missing or empty
prompt=a; chosen={"role": "assistant", "content": ""}; rejected=b -> chosen is missing or empty
prompt=a; response=b; label=null -> a grade is null
chosen=a b; rejected=c d -> no prompt
messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "train": false}] \
-> every response has the weight 0
prompt=a; label=1 -> no response, or an empty one
messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": \
[1]}, {"role": "tool", "content": "2"}, {"role": "assistant", "content": "b"}] -> no response, or \
an empty one, but messages[].tool_calls: write it into the content
messages=[{"role": "user", "content": "a"}, {"role": "assistant", "function_call": {"name": "f"}}, \
{"role": "user", "content": "b"}] -> no response, or an empty one, but messages[].function_call
messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "", \
"reasoning_content": "c"}]; label=1 -> no response, or an empty one, but messages[].reasoning_cont
prompt=a; chosen=b; rejected=[{"role": "assistant", "content": "", "tool_calls": [1]}] -> \
rejected is missing or empty, but rejected[].tool_calls
prompt=a; response=[{"role": "assistant", "content": "b", "weight": 0}] -> every response has the
prompt=a; response=b; weight=0 -> every response has the weight 0
prompt=a; response=b; weight=0.25 -> line 2: "weight" is 0.25; expected true or false, or 1 or 0
prompt=a; answer=[{'content': 'Hi', 'role': 'user'}] -> line 2: "answer": messages stored as one
question=[{'role': 'user', 'content': 'Hi'}]; answer=b -> line 2: "question": messages stored as
prompt=a; response=b; output=c -> line 2: "response" and "output" are names of one field
messages=[{"role": "user", "content": "a", "value": "b"}] -> line 2: "messages": "content" and "val
prompt=a; chosen=b; rejected=c; label=0 -> line 2: "label" is not a grade of chosen and rejected
prompt=a; response=b; p=0.5 -> line 2: "p" is not a grade of response
system~u S; prompt=a; response=b -> line 2: "system" is [{"role": "user", "content": "S"}]; expected
messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "reasoning",\
 "text": "b"}]}] -> line 2: "messages": a content part of the type "reasoning"; only
messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": [{"type": "text", \
"text": "b", "weight": 0}]}] -> line 2: "messages": "weight" or "train" in a content part
prompt=a; chosen=b -> line 2: |a pair needs both chosen and rejected, and this row has only chosen
chosen~u a|a b; rejected~u x|a y -> line 2: |have different prompts
prompt=x; chosen~u a|a b; rejected~u a|a c -> line 2: |chosen does not begin with the prompt
prompt~u a|a b; response=c -> line 2: "prompt" ends with an assistant message
prompt=a; response~u b -> line 2: |"response" must begin with an assistant
messages~w a -> line 2: |"messages": the unknown role "wizard"; roles are system, user, assistant
messages=[{"role": "user", "content": 7}] -> line 2: |"messages": {"role": "user", "content": 7
system=S; messages~s S|u a|a b -> line 2: |are two system prompts
prompt=a; response=b; label=0.5 -> line 2: "label" is 0.5; expected true or false, or 1 or 0; call a
prompt=a; response=b; score=7 -> line 2: "score" is 7; expected a number from 0 to 1'''


def lines_of(text: str):
    """(the row of a file, what comes of it, the kinds that read it) of each line of a table."""
    for line in text.replace("\\\n", "").strip("\n").split("\n"):
        given, _, said = line.partition(" -> ")
        kind, fields = re.match(r"(?:(\w+): )?(.*)", given).groups()
        item = {}
        for key, sign, value in (re.match(r"(\w+)([=~])(.*)", x).groups()
                                 for x in fields.split("; ")):
            try:
                item[key] = M(value) if sign == "~" else json.loads(value)
            except ValueError:
                item[key] = value
        yield pytest.param(item, said.replace("<br>", "\n"), [kind] if kind else [*READ_FOR],
                           id=given[:60])


@pytest.mark.parametrize("item, said, kinds", lines_of(READ))
def test_a_row_is_read_and_no_answer_is_trained_behind_another(item, said, kinds, tmp_path):
    text, *more = said.split("; ")
    unread = more.pop() if more and "=" not in more[-1] else ""
    grades = {x.partition("=")[0]: literal_eval(x.partition("=")[2]) for x in more}
    want = R(text, **grades)
    rows, left_out = read([write_jsonl(tmp_path / "my.jsonl", [item, item])], kinds)
    assert rows == [want, want] and not left_out and rows[0].extra == item
    assert rows[1].where.endswith("my.jsonl, line 2")
    named = ", ".join(rows[1].unread) if len(kinds) > 1 else unread_fields(
        rows, kinds, CHOOSE[kinds[0]](rows))
    named = re.sub(r" \(2 rows.*?\)", "", named)
    assert sorted(named.split(", ")) == unread.split(", ")
    (tmp_path / "my.json").write_text("\ufeff " + json.dumps([item], indent=1), encoding="utf-8")
    (of_json,), _ = read([str(tmp_path / "my.json")], kinds)
    assert of_json == want and of_json.where.endswith("my.json, item 1")
    (row,), _ = read_dataset([item], kinds)
    assert row == want and row.where == "dataset, row 1" and row.extra == item
    assert [r.prompt for r in CHOOSE["prompts"]([row])] == [want.prompt], "samples: no solution"


QA = {"prompt": "a", "response": "b"}
PAIR_ITEM = {"prompt": "a", "chosen": "good", "rejected": "bad"}
AB, PAIR = R("u a > a b"), R("u a + a good - a bad")


@pytest.mark.parametrize("item, said, kinds", [
    *lines_of(ODD), (7, "line 2: is not a JSON object", None)])
def test_a_row_that_lacks_something_is_left_out_and_an_unclear_one_refused(
        item, said, kinds, tmp_path):
    file = write_jsonl(tmp_path / "my.jsonl", [QA, item])
    if "line 2: " not in said and "|" not in said:
        ((where, why),) = read([file])[1]
        assert where == f"{file}, line 2" and why.startswith(said) and read([file])[0] == [AB]
    else:
        told = fails(said.rpartition("|")[2], read, [file])
        assert told.startswith(f"{file}, line 2: ")


@pytest.mark.parametrize("flags, left", [("demos", 1), ("labels", 1), ("scores", 0)])
def test_an_answer_without_a_label_is_left_out_where_others_have_one(flags, left, tmp_path):
    """Its thumb may have another name. A pair and a prompt need none."""
    file = write_jsonl(tmp_path / "my.jsonl", [
        QA | {"label": 1}, QA | {"thumb": "down"}, PAIR_ITEM, {"prompt": "a"}])
    rows, left_out = read([file], [flags])
    assert len(rows) == 4 - left and [where for where, _ in left_out] == [f"{file}, line 2"] * left
    both = [write_jsonl(tmp_path / name, [item]) for name, item in (
        ("a, labels.jsonl", QA | {"label": 1}), ("a, demos.jsonl", QA))]
    assert len(read(both, ["demos"])[0]) == 2, "two files, however they are called"


def test_all_rows_that_are_refused_are_counted_under_their_reasons(tmp_path):
    """Each reason with its first place; reasons that differ in a number are one, and after eight of
    them the other rows are counted alone."""
    scores = [QA | {"score": x} for x in (2, 3, 4.5)]
    file = write_jsonl(tmp_path / "my.jsonl", [
        QA, *scores[:2], {"messages": "a"}, scores[2], {"prompt": None}])
    told = fails("my.jsonl: 4 invalid rows (3: ", read, [file])
    assert '(3: "score" is 2; expected a number from 0 to 1; divide by the highest, as in' in told
    assert told.endswith(", as in my.jsonl, line 4)")
    many = [QA | {"score": "x" * n} for n in range(1, 30) for _ in "ab"]
    told = fails("58 invalid rows", read_dataset, many)
    assert told.endswith("rows 15 and 16; 42: other reasons)")


def test_rows_in_memory_may_hold_what_pandas_and_torch_make():
    pandas = pytest.importorskip("pandas")
    parts = np.array([{"type": "text", "text": "b"}], object)
    talk = [*M("u a"), *M("a x", weight=np.int64(0)), *M("u c"), {"role": "assistant",
                                                                  "content": parts}]
    item = {"messages": np.array(talk, object), "system": pandas.NA, "score": pandas.NA}
    rows, left_out = read_dataset([QA, item, {**item, "score": np.float64(1)}])
    assert [where for where, _ in left_out] == ["dataset, row 2"] and rows[0] == AB
    assert rows[1] == Row(T("u a|m x|u c"), T("a b"), score=1.0)
    assert read_dataset([QA | {"score": Decimal("0.50")}])[0] == [replace(AB, score=0.5)]
    fails('"label" is "Decimal 0.5"; expected true', read_dataset, [QA | {"label": Decimal("0.5")}])
    item = {"messages": np.array(M("u a|a b"), object), "label": np.bool_(True),
            "embedding": np.ones(3), "more": torch.ones(2)}
    assert read_dataset([item])[0] == [R("u a > a b", label=1.0)]
    table = pandas.DataFrame([QA | {"score": 0.5}, PAIR_ITEM])
    assert read_dataset(table)[0] == [replace(AB, score=0.5), PAIR], "a column of another form"
    fails("first such row has the fields 0, 1", read_dataset, pandas.DataFrame([["a", "b"]]))
    fails("is a dictionary of splits (train, test); give one of", read_dataset,
          {"train": [QA], "test": [QA]})
    columns = {"prompt": ["a", "a"], "response": np.array(["b", "b"]), "label": (1, 0)}
    assert read_dataset(columns)[0] == [replace(AB, label=1.0), replace(AB, label=0.0)]
    fails("its columns differ in length (prompt: 2, response: 1)", read_dataset,
          {"prompt": ["a", "b"], "response": ["c"]})


# ---- a file -> its rows, or the line that says why not -------------------------------------------
ROW = 'prompt,response\n{"prompt": "café", "response": "b"}\n'
SIGNS = "a\v\f\x1c\x1d\x1e\x85\u2028\u2029b"           # they end a line in Unicode alone
TABLE = f'prompt\tresponse\nSay\t"Hello\nName\tAnna\nTake\tMilk"\nLast\t{SIGNS}\n'
FILES = [       # its name, what it holds, its rows, what is said
    # each cell is a text, but a grade is a number; a blank cell is as if missing
    ("[1].csv", '\ufeffprompt, answer,label ,gold\na,null,true,7\nb,"N/A",0,nan\nc,42,False,\n'
     ',e,1,\nf,g,,\n"h, i","j\nk",1,\n',
     [R("u a > a null", label=1), R("u b > a N/A", label=0), R("u c > a 42", label=0),
      R("u h, i > a j\nk", label=1)], "gold (2 rows)"),
    # as spreadsheets of half of Europe have it
    ("x.csv", "prompt;response;label;;\na;b, c;1.0;;\na;b;0.0;;;;\na;b;TRUE;7;\n",
     [R("u a > a b, c", label=1), R("u a > a b", label=0), R("u a > a b", label=1)],
     "column 4 (1 row)"),
    ("x.jsonl", '{"prompt": "a\x85\u2028\u2029b"}\n{"prompt": "c"}',
     [R("u a\x85\u2028\u2029b"), R("u c")], ""),
    # a tsv is seldom quoted, so a mark may be a letter; in a csv such a cell may be right
    ("x.csv", TABLE.replace("\t", ","), [R("u Say > a Hello\nName,Anna\nTake,Milk"),
     R(f"u Last > a {SIGNS}")], "x.csv, line 2: quotation marks join lines"),
    ("Y.TSV", TABLE.replace("Take\t", ""), [R("u Say > a Hello\nName\tAnna\nMilk"),
     R(f"u Last > a {SIGNS}")], ""),
    ("x.tsv", TABLE, None, "x.tsv, line 2: quotation marks join lines"),
    ("z.tsv", 'a\tb\n"c\td"\n', None, "z.tsv, line 2: quotation marks join lines"),
    ("x.jsonl", "", None, "no usable training rows"),
    ("x.jsonl", '{"prompt": "a"', None, "x.jsonl, line 1: is not valid JSON"),
    ("b.CSV", "prompt\na\nb,c\n", None, "line 3: has more cells than the first"),
    ("b.CSV", 'a,b\n"c\nd",e\nf,"g \\"h\\" i"\n', None, "b.CSV, line 4: ',' expected after"),
    # json and csv would keep the last value
    ("b.CSV", "prompt,answer,answer\na,b,c\n", None, 'two columns are called "answer"'),
    ("x.jsonl", '{"prompt": "a"}\n{"prompt": "a", "meta": [[{"x": {"y": 1, "y": 1}}]]}', None,
     'x.jsonl, line 2: "y" occurs twice in one object'),
    ("x.json", '[{"prompt": "a", "prompt": "b"}]', None, 'x.json: "prompt" occurs twice'),
    ("x.json", '{"prompt": "a",\n "output": "b"}', None, "write one object on each line"),
    ("x.jsonl", ROW.encode("latin-1"), None, "x.jsonl, line 2: is not UTF-8"),
    ("x.csv", ROW.encode("utf-16"), None, "be UTF-16"),
    ("x.csv", ROW.encode("utf-16-le"), None, "be UTF-16"),
    ("x.csv", "PK\3\4\0\0", None, "export a spreadsheet as .csv"),
    ("x.jsonl", gzip.compress(ROW.encode(), mtime=0), None, "unpack an archive"),
    ("x.parquet", "version https://git-lfs.github.com/spec/v1\n", None, "git lfs pull"),
    ("x.parquet", "PAR1", None,
     "cannot be read (Arrow" if find_spec("pyarrow") else "needs pyarrow")]


@pytest.mark.parametrize("name, content, rows, words", FILES,
                         ids=[f"{name}: {words}" for name, _, _, words in FILES])
def test_a_file_gives_its_rows_or_one_line(name, content, rows, words, tmp_path, capsys):
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    if rows is None:
        assert fails(words, read, [str(file)]).startswith(str(file))
        return
    found, _ = read(str(file))
    told = capsys.readouterr().out + unread_fields(found, ["labels"])
    assert found == rows and words in told and bool(words) == bool(told)


@pytest.mark.parametrize("mark", ["weight", "train", "loss_mask"])
def test_a_mark_says_whether_an_answer_is_trained_on(mark):
    def trained(value) -> str:
        talk = [*M("u a|a x|u y|a b", **{mark: value}), *M("u c|a d")]
        (row,), _ = read_dataset([{"messages": talk}])
        return letters(i for i, m in zip(*LETTERS.chat(row.prompt, row.answer)) if m)
    assert [trained(x) for x in (0, False)] == [" x<|end|> d<|end|>"] * 2
    assert [trained(x) for x in (1, True, None)] == [" x<|end|> b<|end|> d<|end|>"] * 3
    fails('"messages": {"role": "assistant", "content": "b", "', trained, 0.5)


# ---- doors: a file of a library, the hub, a Dataset in memory ------------------------------------
def fields_by(doors, name: str) -> list[list]:
    """What each door (its name, or a Dataset) gives of this field."""
    return [[x[name] for _, x in (items(door) if isinstance(door, str) else dataset_rows(door, ""))]
            for door in doors]


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "parquet"])
def test_every_door_gives_what_the_file_gives(form, tmp_path, datasets):
    """Also "NA", of which a library would make null, and messages."""
    words = ["NA", "None", "null", "nan", "-", 'a "b" c', "a, c\td"]
    of_rows = [{"x": x} if form == "csv" else {"x": x, "messages": M("s S|u a|a b")} for x in words]
    (tmp_path / "mine").mkdir()
    file, made = tmp_path / "mine" / f"train.{form}", datasets.Dataset.from_list(of_rows)
    {"json": lambda file: file.write_text(json.dumps(of_rows)), "csv": made.to_csv,
     "jsonl": made.to_json, "parquet": made.to_parquet}[form](file)
    other = tmp_path / ("other" if os.name == "nt" else "a:b")     # where a name may have a colon
    shutil.copytree(file.parent, other)
    doors = [str(file), f"hub:{tmp_path / 'mine'}:train[:9]", made, f"hub:{other}"]
    assert fields_by(doors, "x") == [words] * 4
    assert form == "csv" or fields_by(doors, "messages") == [[M("s S|u a|a b")] * 7] * 4
    assert [*file.parent.iterdir()] == [file], "no copy of the library beside it"


def test_a_class_is_its_name_by_every_door(tmp_path, datasets):
    """Its number may mean the opposite: `datasets` sorts the names, so bad is 0 and correct, too.
    Also where a csv has the numbers and its card the names. A row without one has -1 there, which
    Python takes for the last name."""
    names = ["incorrect", "correct"]
    made = datasets.Dataset.from_list([{"label": i} for i in (0, 1, -1)], features=(
        datasets.Features({"label": datasets.ClassLabel(names=names)})))
    for form in ("table", "text"):
        (tmp_path / form).mkdir()
    made.to_parquet(tmp_path / "table" / "train.parquet")
    made.to_csv(tmp_path / "text" / "train.csv")
    (tmp_path / "text" / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n"
        f"        names: {json.dumps(dict(enumerate(names)))}\n---\n")
    assert fields_by([str(tmp_path / "table" / "train.parquet"), f"hub:{tmp_path / 'table'}",
                      f"hub:{tmp_path / 'text'}", made], "label") == [[*names, -1]] * 4


@pytest.mark.parametrize("form", [None, "pandas", "arrow", "numpy", "torch"])
def test_a_dataset_is_read_in_any_format_and_a_table_of_arrow_too(form, datasets):
    talk = {"messages": M("u a|a b"), "label": 1}
    made = datasets.Dataset.from_list([talk, talk]).cast_column(
        "label", datasets.ClassLabel(names=["false", "true"]))
    for rows in (made.with_format(form), made.data.table):
        assert read_dataset(rows)[0] == [R("u a > a b", label=1.0)] * 2


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_folder_is_read_as_it_is_now_whatever_its_time(form, tmp_path, datasets):
    """Its rows, and the names of classes in its card. `datasets` keeps a copy of what it has read,
    and knows it by the name and the time of a file."""
    file, card = tmp_path / "mine" / f"train.{form}", tmp_path / "mine" / "README.md"
    file.parent.mkdir()
    card.write_text("---\ndataset_info:\n  features:\n  - name: x\n    dtype: string\n"
                    "  - name: label\n    dtype:\n      class_label:\n        names:\n"
                    "          '0': bad\n          '1': fit\n---\n")

    def write(words: list[str]) -> None:
        made = datasets.Dataset.from_list([{"x": x, "label": 1} for x in words])
        {"csv": made.to_csv, "jsonl": made.to_json, "parquet": made.to_parquet}[form](file)
        os.utime(file, (315532800, 315532800))
    door = f"hub:{file.parent}"
    write(["oak", "elm"])
    assert fields_by([door], "x") == [["oak", "elm"]]
    write(["fig", "bee"])
    assert fields_by([door], "x") == [["fig", "bee"]]
    write(["fig", "bee", "ant"])
    assert fields_by([door], "x") == [["fig", "bee", "ant"]]
    assert fields_by([door], "label") == [["fit"] * 3]
    change_behind_its_time(card, "fit", "top")
    assert fields_by([door], "label") == [["top"] * 3]


def test_a_split_of_the_hub_is_that_of_datasets(tmp_path, datasets):
    for part in ("train", "test"):
        write_jsonl(tmp_path / f"{part}.jsonl", [{"prompt": f"{part} {i}"} for i in range(20)])
    for config, split in product((None, "default"), (
            "", "test", "test[:7]", "train[-3:]", "test[5:25%]+train[:9]")):
        wanted = datasets.load_dataset(str(tmp_path), config, split=split or "train")["prompt"]
        door = ":".join(["hub", str(tmp_path), *filter(None, [config]), split])
        assert fields_by([door], "prompt") == [[*wanted]]
    fails('Unknown split "no". Should be one of', read, [f"hub:{tmp_path}:no"])


def test_what_a_library_cannot_read_is_one_line(tmp_path, datasets):
    from pyarrow import parquet, table
    for name, columns in (("twice", ["x", "x"]), ("a", ["chosen"]), ("b", ["rejected"])):
        parquet.write_table(table([["a"]] * len(columns), columns), tmp_path / f"{name}.parquet")
    fails('two columns are called "x"', read, [str(tmp_path / "twice.parquet")])
    (tmp_path / "twice.parquet").unlink()
    fails("rejected: string", read, [f"hub:{tmp_path}"])              # columns of one file alone
    tmp_path = tmp_path.rename(f"{tmp_path}[1]")
    fails("square brackets", read, [f"hub:{tmp_path}"])


@pytest.mark.parametrize("names, finds, leaves", [
    (["a.jsonl"], "", ""), (["a.jsonl", "b.csv", "c.csv"], "b.csv, c.csv", "a.jsonl"),
    (["night-train.jsonl", "x/y.jsonl"], "night-train.jsonl", "x/y.jsonl"),
    (["a.jsonl", "a.jsonl.bak", ".b.jsonl"], "a.jsonl, a.jsonl.bak", "")])
def test_what_datasets_leaves_out_of_a_folder_of_yours_is_named(names, finds, leaves, tmp_path,
                                                                datasets, capsys):
    for name in names:
        (tmp_path / "mine" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "mine" / name).write_text(
            "prompt\nHi\n" if name.endswith("csv") else '{"prompt": "Hi"}\n')
    read([f"hub:{tmp_path / 'mine'}"])
    told = capsys.readouterr().out.strip().partition("` reads ")[2]
    assert told == finds + (f" and ignores {leaves}" if leaves else "")


# ---- which rows stand together -------------------------------------------------------------------
USED = [        # each row, and what the methods of each kind read of it: one sequence for each role
    (AB, {"demos": ["b"], "prompts": ["a"]}),
    (replace(AB, label=0.0, extra={"gold": 1}), {       # a reward may read gold
        "labels": ["b 0"], "scores": ["b 0"], "prompts": ["a"]}),
    (replace(AB, label=1.0), {"demos": ["b"], "labels": ["b 1"], "scores": ["b 1"]}),
    (replace(AB, score=0.7), {"scores": ["b 0.7"]}),
    (replace(AB, score=1.0), {"demos": ["b"], "scores": ["b 1"]}),                  # full marks
    (PAIR, {"demos": ["good"], "pairs": ["good bad"], "labels": ["good 1", "bad 0"]}),
    (replace(PAIR, scores=(0.9, 0.2)), {"demos": ["good"], "pairs": ["good bad"], "labels": [
        "good 1", "bad 0"], "scores": ["good 0.9", "bad 0.2"]}),
    (R("u a + a b - a b "), {"demos": ["b"]}), (R("u a"), {}),
    (R("u a > a b|u c|a d"), {"demos": ["b"]}),
    (R("u a > a b|u c|a d + a good - a bad", label=1.0), {"demos": ["b"], "pairs": ["good bad"],
     "labels": ["b 1", "good 1", "bad 0"], "scores": ["b 1"]}),
    (R("u a + a caf\u00e9 - a cafe\u0301"), {"demos": ["caf\u00e9"]})]              # é, e and ´
BAD_ONES = "responses labelled bad or scored below 1, which are not demonstrations"
EQUAL = "2: chosen and rejected are equal"


@pytest.mark.parametrize("kind, why", [
    ("demos", [f"2: {BAD_ONES}", f"1: {NO_ANSWER}"]),
    ("pairs", ["2: demonstrations, ", "2: labelled answers, ", "2: scored answers, ", EQUAL,
               f"1: {NO_ANSWER}"]),
    ("labels", ["2: demonstrations, ", "2: scored answers, ", EQUAL, f"1: {NO_ANSWER}"]),
    ("scores", ["2: demonstrations, ", "1: pairs, ", EQUAL, f"1: {NO_ANSWER}"]),
    ("prompts", ["10: the same prompt as another row, as in my.jsonl, lines 2, 3 and 4"])])
def test_of_each_row_a_method_makes_sequences_or_it_is_told_why_not(kind, why):
    """Also that one grade is of several answers."""
    data = [replace(row, where=f"a/my.jsonl, line {i}", unread={"ticket": [1]})
            for i, (row, _) in enumerate(USED)]
    rows = CHOOSE[kind](data)
    used = {r.where for r in rows}
    assert [" ".join([(r.roles[x][1] or r.prompt)[0].text for x in r.roles] + [
        f"{x:g}" for x in (r.score, r.label) if x is not None]) for r in rows] == [
        x for _, of in USED for x in of.get(kind, [])]
    line, *more = report_use(
        {"to train on": (data, used), "held out": (data[:1], {data[0].where})},
        [("a/my.jsonl, line 3", NO_QUESTION)], {}, [kind]).split("\n")
    begin, reasons = line.split(f" skipped (1: {NO_QUESTION}, as in my.jsonl, line 3; ")
    assert begin == f"14 rows read: {len(used)} to train on, 1 held out, {13 - len(used)}"
    assert [x[:len(y)] for x, y in zip_longest(reasons.split("; "), why)] == why
    assert more == ["one grade for all responses of a dialogue: 1 row"] * (
        kind in ("demos", "labels", "scores"))
    for row in data:
        if row.where not in used and kind != "prompts":
            told = fails("; unused fields: ticket (1 row)", CHOOSE[kind], [row])
            reason = why_skipped(row, [kind])
            assert (f" (1: {reason}, as in my.jsonl" in told) == (not reason.endswith(NOT_READ))


@pytest.mark.parametrize("good, bad, weights, line", [
    (12, 0, None, "all 12 responses have the grade 1, so none is better"), (11, 1, None, ""),
    (1, 1, (1, 1), ""), (11, 1, (1, 11), ""),
    (11, 1, (1, 1), "11 good responses and 1 bad: --undesirable-weight 11 would "),
    (1, 11, (2, 0.5), "1 good response and 11 bad: --desirable-weight 5.5 would ")])
def test_grades_that_tell_little_are_named(good, bad, weights, line):
    told = grade_note([Row(label=1.0)] * good + [Row(label=0.0)] * bad, weights)
    assert told.startswith(line) and bool(line) == bool(told)
    assert "have the grade 0.5" in grade_note([Row(score=0.5)] * 3)
    assert not grade_note([Row(score=0.5), Row(score=0.6)])


@pytest.mark.parametrize("forms", [("question {}", " Question\t  {}\n"),
                                   ("caf\u00e9 {}", "CAFE\u0301 {}"), ("straße {}", "STRASSE {}")])
def test_equal_questions_are_held_out_together(forms):
    """By a hash: the same on every machine, in any order; white space and letter case aside."""
    rows = [R(f"s S|u {form.format(i)}", where=form) for i in range(400) for form in forms]
    train, held = holdout(rows)
    sides = [{r.prompt[1].text.split()[1] for r in side} for side in (train, held)]
    assert not sides[0] & sides[1] and len(train) + len(held) == 800 and len(held) == 80
    assert {id(r) for r in holdout(rows[::-1])[1]} == {id(r) for r in held}


def test_a_tenth_is_held_out_and_one_question_at_least_is_learned():
    some = [R(f"u question {i}") for i in range(3000)]
    assert [len(holdout(some[:n])[1]) for n in (2, 7, 100, 1000, 3000)] == [1, 1, 10, 100, 200]
    assert holdout(some[:1]) == (some[:1], []) and holdout(some)[1][0] == some[49]
    greeted = [R(f"u {x}") for x in ("Hello", "hello ") * 20]
    assert not {*greeted} & {*holdout(some[:200] + greeted)[1]}, "40 are more than a tenth"


# ---- rows -> tokens ------------------------------------------------------------------------------
def one(prompt: str, answer: str, **more) -> Row:
    return Row(roles={"answer": (T(prompt), T(answer))}, **more)


def test_mask_shift_and_padding_by_hand():
    rows, report = encode([one("u a", "a b"), one("u hi", "a yo")], LETTERS, 64)
    for e in rows:
        e.seqs["answer"].extra["x"] = np.arange(1, e.length)
    batch = collate(rows, [1, 0], LETTERS.pad)
    s = batch.seqs["answer"]
    assert letters(s.inputs[0]) == "<|user|> hi<|assistant|> yo"
    assert letters(s.targets[0]) == " hi<|assistant|> yo<|end|>", "targets[t] follows inputs[t]"
    assert letters(s.targets[1]) == " a<|assistant|> b<|end|>" + 2 * letters([LETTERS.pad])
    assert s.mask.tolist() == [[0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 0, 0]], \
        "the answer and its <|end|> are trained on, not the question or the header"
    assert s.not_padding.tolist() == [8 * [1], 6 * [1] + 2 * [0]] and batch.tokens == {"answer": 7}
    assert s.extra["x"].tolist() == [[*range(1, 9)], [*range(1, 7), 0, 0]]
    assert batch.take([1]).seqs["answer"].inputs.shape == (1, 6) and not report.why


ASKED, LONG, YES = T("s S|u a"), T("a yo|u bb|a no no|u c|a yes"), T("a yes")
QUESTIONS = [T("s S|u a|a yo|u bb|a no no|u c"), T("s S|u bb|a no no|u c"), T("s S|u c")]
SHORTER = [     # a role and its answer beside another; all that may be left of it, longest first
    ("answer", "mismatch", T("a " + "m" * 60),          # KTO's borrowed answer is cut
     [(ASKED, LONG), (T("s S|u bb"), LONG[2:]), (QUESTIONS[2], YES)]),
    ("chosen", "rejected", T("a no no no"), [(prompt, YES) for prompt in QUESTIONS]),
    ("chosen", "rejected", YES, [(T("u a|m yo|s S|u c"), YES), (T("s S|u c"), YES)]),
    ("chosen", "rejected", YES, [(ASKED, LONG)]), ("prompt", "demo", YES, [(ASKED, ())])]


@pytest.mark.parametrize("role, beside, other, left", SHORTER)
def test_a_row_that_is_too_long_loses_as_few_of_its_oldest_questions_as_it_takes(role, beside,
                                                                                 other, left):
    """Never its last one, and no answer to it. What is still too long is skipped and counted."""
    def chat(context, said) -> tuple[list, list]:
        ids, mask = LETTERS.chat(context, said) if said else (LETTERS.prompt_ids(context), [])
        end = n_ctx + 1 if said is other and beside == "mismatch" else None
        return ids[:end], (mask or [0] * len(ids))[:end]
    row = Row(left[0][0], roles={role: left[0], beside: (left[0][0], other)}, where="line 3")
    for n_ctx in range(5, 40):
        seqs = [{role: chat(*x), beside: chat(x[0], other)} for x in left]
        longest = [max(len(ids) for ids, _ in of_both.values()) - 1 for of_both in seqs]
        lost = sum(n > n_ctx for n in longest)
        kept, report = encode_what_fits([row], LETTERS, n_ctx)
        assert [{role: (t.ids.tolist(), t.mask.tolist()) for role, t in e.seqs.items()}
                for e in kept] == seqs[lost:][:1]
        assert [e.row.prompt for e in kept] == [prompt for prompt, _ in left[lost:][:1]]
        assert [*report.why.values()] == [f"too long ({longest[-1]} tokens, at most {n_ctx}; give "
                                          "a model with a longer context)"] * (not kept)
        assert report.lines() == [f"1: without the oldest turns, to fit {n_ctx} tokens, as in "
                                  "line 3"] * (0 < lost < len(left))


def test_a_row_that_cannot_be_written_is_skipped_and_counted():
    odd = [one("w a", "a b", where=f"my.jsonl, line {i}") for i in (7, 8)]
    kept, report = encode([odd[0], one("u a", "a yo")], LETTERS, 13)
    assert len(kept) == 1 and report.why["my.jsonl, line 7"].startswith("refused: unknown role")
    fails("no row can be used: 2: refused: unknown role", encode, odd, LETTERS, 13)


def test_a_dialogue_costs_as_much_as_it_is_long_and_loses_as_few_questions_as_it_takes():
    """Twice as many turns are about twice as many texts to tokenize, not four times as many."""
    class Counting(Tokenizer):
        turns = 0

        def chat(self, context, trained=()):
            self.turns += len(context + trained)
            return super().chat(context, trained)

    def cost(n: int) -> int:
        tok = Counting("letters", BYTES, NANO_PATTERN)
        (e,), report = encode([one("u q", "a a" + "|u q|a a" * n)], tok, 60)
        assert e.length == 56 and len(report.notes) == 1, "one is 7 tokens"
        return tok.turns
    assert cost(2000) < 2.5 * cost(1000)


@pytest.mark.parametrize("question, answer, told", [
    ("a", "b<|end|>", '"<|end|>" is typed into a response'), ("a</s>", "b", "a prompt, where it"),
    ("a", "b</s>", '"</s>" is typed into a response'), ("a", "Human rights: b", ""),
    ("a", "b\n\nHuman: c\n\nAssistant: d", '"Human:" is typed'), ("Human: a", "b", "Human:")])
def test_what_is_typed_into_a_text_is_told(question, answer, told):
    """An end token is there twice or is letters. In a dialogue that is written as one text, the
    human's turns are learned."""
    row = Row((Turn("user", question),), (Turn("assistant", answer),), where="x")
    row = row.with_roles({"answer": (row.prompt, row.answer)})
    lines = encode([row], LETTERS, 99)[1].lines()
    assert told in "".join(lines) and len(lines) == bool(told)


def test_no_row_comes_again_before_all_others_have_come_and_a_step_has_like_lengths():
    """In all small cases: an epoch may end anywhere in a step, or in a pool. The steps of a pool
    come in no order of length, or short rows would always meet the highest rates."""
    for n, rows, steps in [(1020, 32, 96), *product(range(1, 13), range(1, 6), [40])]:
        lengths = np.random.default_rng(0).integers(10, 91, n)
        made = order([*lengths], rows, steps, 3)
        seen = np.cumsum([np.bincount(step, minlength=n) for step in made], axis=0)
        assert made.shape == (steps, rows) and np.ptp(seen, axis=1).max() <= 1, (n, rows)
        assert n < 1000 or (made != order([*lengths], rows, steps, 4)).any()
        assert n < 1000 or np.ptp(lengths[made], axis=1).mean() < 0.2 * np.ptp(lengths)
        assert n < 1000 or (np.diff(lengths[made[:20]].mean(1)) < 0).sum() > 4


# ---- the tokenizer -------------------------------------------------------------------------------
TEXTS = ["Where does the dova live?", "don't 1234 42", "  two\t\n\n \r\n", "naïve Zoë 学 日本語 😀",
         "e\u0301 \u3000\u200b\x00 ½ ٣", "<|end|> <|user|>", "", "_x_"]


def test_any_text_comes_back_and_no_text_spells_a_control_token():
    control = {NANO.user, NANO.assistant, NANO.end, NANO.pad}
    for text in [*TEXTS, *(a + b for a in TEXTS for b in TEXTS)]:
        ids = NANO.encode(text)
        assert NANO.decode(ids) == text and not control & {*ids}
    assert NANO.decode([0xE5, 0xAD]) == "\ufffd" and NANO.n_vocab == 1024
    assert NANO.decode([NANO.n_vocab, NANO.end]) == "<|end|>", "none for a padded embedding's id"


@pytest.mark.parametrize("told", ["u a", "s S|u a", "u a|a b|u c", "u a|t b", "s S", "u a|s S",
                                  "s S|s Z", "u a|a b|s S"])
def test_what_is_asked_is_what_stands_before_the_answer_in_training(told):
    asked, (ids, mask) = NANO.prompt_ids(T(told)), NANO.chat(T(told), YES)
    assert ids[:len(asked)] == asked and sum(mask) == len(ids) - len(asked)


def test_transformers_reads_our_tokenizer_and_template(tmp_path):
    transformers = pytest.importorskip("transformers")
    from nanouft.gpt import GPT, GPTConfig
    save_model(tmp_path, GPT(GPTConfig(NANO.n_vocab, 32, 1, 1, 8), seed=0), NANO)
    assert read_tokenizer(tmp_path) is NANO
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path))
    assert theirs.chat_template == JINJA
    assert (theirs.eos_token_id, theirs.pad_token_id) == (NANO.end, NANO.pad)
    for text in TEXTS:
        if "<|end|>" not in text:                       # a name that is typed is theirs, not ours
            assert theirs(text)["input_ids"] == NANO.encode(text)
            assert theirs.decode(NANO.encode(text)) == text
    talk = "s S|u Hi {{x}}\n|a  Hello|u And?|a So.|s S|u Why?".split("|")
    for some in (talk, talk[:2], talk[1:5], talk[:1], (talk[0], talk[2]), (*talk[:3], talk[0]),
                 (talk[0], "s Be kind.", *talk[1:3])):
        turns, plain = T("|".join(some)), M("|".join(some))
        whole = theirs.apply_chat_template(plain, return_dict=True,
                                           return_assistant_tokens_mask=True)
        assert (whole["input_ids"], whole["assistant_masks"]) == NANO.chat((), turns)
        assert NANO.chat(turns) == (whole["input_ids"], [0] * len(whole["input_ids"]))
        assert theirs.apply_chat_template(plain, add_generation_prompt=True,
                                          return_dict=True)["input_ids"] == NANO.prompt_ids(turns)


def test_held_out_rows_that_are_trained_on_are_counted_and_never_called_others(
        tmp_path, monkeypatch, capsys):
    """By this run, or by a run before it, whatever the files are called; so says evaluate."""
    some = [{"prompt": f"Say {i}.", "response": "fig"} for i in range(9)]
    some[8] = {"prompt": " say  8. ", "response": "bee"}
    monkeypatch.chdir(tmp_path)
    for name, rows in (("a", some), ("held", some[4:]), ("new", [
            {"prompt": f"Eat {i}.", "response": "fig"} for i in range(3)])):
        write_jsonl(tmp_path / name, rows)
    leak = "5 of 5 held-out prompts are also trained on"

    def says(run, line: str) -> str:
        assert run([*line.split(), "--device", "cpu"]) == 0
        return capsys.readouterr().out
    for line, told in (("first --data a --eval-data held", True),
                       ("second --init first --data new --eval-data held", True),
                       ("third --init first --data new", False)):
        out = says(train.main, "--objective sft --steps 1 --batch-size 2 --out " + line)
        assert out.count(leak) == 2 * told and ("not trained on" in out) != told
    for model in ("first", "second"):
        assert f"{model}: {leak}" in says(evaluate.main, f"{model} --data held")
    assert leak[6:] not in says(evaluate.main, "first --data new")
    os.rename("first", "base")          # a name that stays that of the shipped model
    assert leak not in says(evaluate.main, "base --data held")


# ---- nothing is lost without a line --------------------------------------------------------------
PLACES = [{}, QA, QA | {"label": 1}, QA | {"score": 0.5}, PAIR_ITEM, QA | PAIR_ITEM,
          PAIR_ITEM | {"score_chosen": 0.5, "score_rejected": 0.25}, {"prompt": "a"},
          {"messages": M("s S|u a|a b")}, {"messages": M("u a|a b")} | PAIR_ITEM,
          {"prompt": M("u a"), "response": M("a b")},
          {"chosen": M("u a|a g"), "rejected": M("u a|a b")}]
TEXT = [{"type": "text", "text": "zebra"}]
VALUES = ["zebra", M("s zebra"), M("u zebra"), M("a zebra"), M("a zebra")[0], 0, 1, True, [1, 2],
          TEXT, [TEXT[0] | {"type": "reasoning"}], [TEXT[0] | {"weight": 0}], ["zebra"],
          {"zebra": 1}]
NUMBERS = ["label", "score", "p", "score_chosen", "score_rejected", "weight", "train"]


def learned(item: dict, kind: str) -> tuple[str, str]:
    """(all that a method of this kind learns from a row, the fields that it names as not read);
    what is learned is "nothing" if no method can use the row, and "" if the row is refused."""
    try:
        rows, _ = read_dataset([item], [kind])
        chosen = CHOOSE[kind](rows)
    except NoRows:
        return "nothing", str(rows[0].unread)
    except UserError as e:
        assert "dataset, row 1: " in str(e) or "no usable training rows (1" in str(e)
        return "", str(e)
    return str([(r.roles, r.score, r.label, r.p) for r in chosen]), unread_fields(rows, [kind],
                                                                                  chosen)


@pytest.mark.parametrize("kind", sorted(CHOOSE.keys() - {"demos + prompts"}))
@pytest.mark.parametrize("field", [*FIELDS, *NAMES, "solution"])
def test_a_field_of_any_type_is_trained_refused_or_named(field, kind):
    """Beside each form of a row. A number may change nothing only where another number of the same
    field does: label 1 of a demonstration, as label 0 takes it out."""
    ours, lost = NAMES.get(field, field), []
    for item in PLACES:
        beside = {name: x for name, x in item.items() if NAMES.get(name, name) != ours}
        without, silent = learned(beside, kind)[0] or "nothing", []
        for value in VALUES:
            found, named = learned(beside | {field: value}, kind)
            if found == without != "nothing" and not re.search(rf"\b{field}\b", named):
                silent.append(value)
        if ours not in NUMBERS or {0, 1} <= {x for x in silent if isinstance(x, int)}:
            lost += [(beside, value) for value in silent]
    assert not lost


@pytest.mark.parametrize("place", ["message", "part"])
def test_what_stands_inside_of_messages_is_trained_refused_or_named(place):
    """Each name that means something in a row, also a second text or role, and a thought."""
    for name, value in product([*FIELDS, *NAMES, "value", "from", "thumb", "tool_calls", "type"],
                               ("reasoning", 0, False, [{"a": 1}])):
        part = {"type": "text", "text": "b"}
        answer = {"role": "assistant", "content": "b"} | {name: value} if place == "message" else {
            "role": "assistant", "content": [part | {name: value}]}
        found, said = learned({"messages": [*M("u a"), answer]}, "demos")
        assert not found or re.search(rf"\b{name}\b", said), (name, value)


@pytest.mark.parametrize("field", ["tool_calls", "function_call", "reasoning_content", "reasoning",
                                   "thinking"])
def test_what_stands_beside_the_text_of_an_answer_is_told_with_the_remedy(field):
    """Of an answer that is trained without it, and of one that has no text."""
    rows, _ = read_dataset([{"messages": M(f"u a|a {text}", **{field: "c"})} for text in ("b", "")])
    told = f"messages[].{field} (1 row; it is not trained on: write it into the content"
    for kind in CHOOSE.keys() - {"prompts"}:
        assert unread_fields(rows[:1], kind.split(" + ")) == told + ")"
    assert unread_fields(rows[:1], ["prompts"]) == f"messages[].{field} (1 row)"
    fails(f"{NO_ANSWER}, but messages[].{field}: write it into the content, as in dataset, row 2",
          CHOOSE["demos"], rows[1:])


@pytest.mark.parametrize("values, cost", [
    (["up", "Down"], "down is imitated, too: if it grades the response, rename it to label"),
    ([True, False], "false is imitated"), ([1, 0], "0 is imitated"), (["1.0", "-1"], "-1 is imit"),
    ([5, 1, 3], "1 is imitated, too: if it grades the response, rename it to score and scale it to "
                "0..1, as (x - 1) / 4"), ([10, 2.5], "as (x - 1) / 9"), (["4.0", "0"], "as x / 5"),
    (["up", "up"], ""), ([5, 5], ""), ([5, 99], ""), (["red", "down"], "")])
def test_a_thumb_and_stars_under_another_name_are_told_with_their_cost(values, cost):
    n = f"({len(values)} rows"
    for name, some in (("mine", [QA | {"mine": x} for x in values]),
                       ("messages[].mine", [{"messages": M("u a|a b", mine=x)} for x in values])):
        rows, _ = read_dataset(some)
        told = unread_fields(rows, ["demos"])
        assert told.startswith(f"{name} {n}" + ("; " if cost else ")")) and cost in told
        assert "imitated" not in unread_fields(rows, ["labels"]) + unread_fields(rows, ["pairs"])
    judged, _ = read_dataset([QA | {"mine": x, "label": True} for x in values])
    assert unread_fields(judged, ["demos"]) == f"mine {n})"



@pytest.mark.parametrize("values, shown", [
    ([5, 1, 3], ": 1, 3, 5"), (["up", "Down", "up"], ": down, up"), ([7, 99, 3], ""),
    (["red", "blue", "red"], "")])
def test_grades_beside_pairs_are_shown(values, shown):
    """Which response they grade is not known, so no one can say how to rename them."""
    rows, _ = read_dataset([PAIR_ITEM | {"mine": x} for x in values])
    assert unread_fields(rows, ["pairs"]) == f"mine (3 rows{shown})"


def test_copies_and_pairs_that_are_swapped_in_another_row_are_told():
    swapped = R("u a + a bad - a good")
    rows = [replace(r, where=f"x.jsonl, line {i}") for i, r in enumerate((
        AB, PAIR, AB, replace(AB, label=1.0), swapped, AB, PAIR, AB, AB), 1)]
    assert duplicates_note(rows) == (
        "5 exact duplicates of other rows, as in x.jsonl, lines 3, 6 and 7; 1 pair with chosen and "
        "rejected swapped in another row, as in x.jsonl, line 5")
    assert not duplicates_note(rows[:2])


@pytest.mark.parametrize("items, begin, shown", [
    ([QA] * 3 + [PAIR_ITEM], "most are demonstrations: begin with sft", "sft"),
    ([PAIR_ITEM, PAIR_ITEM, QA], "most are pairs: begin with sft on the chosen responses, then dpo",
     "dpo"), ([QA | {"prompt": f"{i}", "label": i % 2} for i in range(3)], "then kto", "kto"),
    ([QA | {"score": i / 3} for i in range(3)], "then una", "una"),
    ([{"prompt": x} for x in "abc"], "grpo or rloo, with a --reward", "grpo")])
def test_the_kind_of_method_that_rows_are_for_is_told_and_shown(items, begin, shown, tmp_path,
                                                                capsys):
    file = write_jsonl(tmp_path / "my.jsonl", items)
    assert show_data.main([file]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert begin in told and f"{shown} trains on: " in told


def test_rows_are_counted_after_the_length_limit(tmp_path, capsys):
    file = write_jsonl(tmp_path / "my.jsonl", [
        {"prompt": f"Say {i}", "response": "no " * (50 if i == 3 else 1)} for i in range(9)])
    show_data.main([file, "--max-length", "30"])
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"8 rows read by sft, .*? \(too long or refused: 1\)", told)
    assert "9 rows read by reinforce" in told, "their own answers are not read"


# ---- nanouft.data --keep -------------------------------------------------------------------------
def test_the_likeliest_demonstrations_are_kept_in_their_order_with_all_their_fields(
        tmp_path, monkeypatch):
    """The base knows NanoWorld's facts, so those that it finds likeliest are right."""
    monkeypatch.chdir(tmp_path)
    wrong, right = (world.rows("train", "demos", 40, 0, noise, ("fact",)) for noise in (0.4, 0.0))
    rows = [{"question": row.prompt[0].text, "response": row.answer[0].text, "number": number}
            for number, row in enumerate(wrong)]
    write_jsonl(Path("my.jsonl"), rows)
    show_data.main("my.jsonl --keep 0.5 --by base".split())
    text = Path("out/kept/demos.jsonl").read_text("utf-8")
    kept = [json.loads(line) for line in text.splitlines()]
    assert len(kept) == 20 and kept == [row for row in rows if row in kept]
    assert all(row["response"] == right[row["number"]].answer[0].text for row in kept)
    assert sum(row["response"] == x.answer[0].text for row, x in zip(rows, right)) < 30


@pytest.mark.parametrize("words, told", [
    ("--keep 0.6", "--keep SHARE needs --by MODEL"), ("--by base", "--by needs --keep"),
    ("--keep 60 --by base", "--keep 60.0: must be above 0 and at most 1"),
    ("--keep 0.6 --by base --out .", "--out .: exists and is not an empty folder"),
    ("--keep 0.6 --by base", "1 of 2 rows are not demonstrations, or too long for base")])
def test_what_cannot_be_kept_is_one_line_and_writes_nothing(words, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_jsonl(Path("my.jsonl"), [QA, QA | {"response": "no " * 2000}])
    fails(told, show_data.main, ["my.jsonl", *words.split()])
    assert os.listdir() == ["my.jsonl"]
