"""What a user brings: every form is read, every mistake is one line that names file, place and reason."""
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nanouft.data.read import read
from nanouft.data.rows import Row, Turn, contents, demo_rows, holdout, pair_rows
from nanouft.shell.config import UserError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the folder with real files is absent")


def U(text):
    return Turn("user", text)


def A(text):
    return Turn("assistant", text)


S = Turn("system", "Be kind.")


def write(folder, *rows, name="my.jsonl"):
    path = folder / name
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    return str(path)


def message(folder, content, name="my.jsonl", **fields):
    """The one line that a file of these bytes (or rows) stops with."""
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        write(folder, *content, name=name)
    with pytest.raises(UserError) as e:
        read([str(folder / name)], **fields)
    text = str(e.value)
    assert len(text.splitlines()) == 1 and len(text) < 700
    assert text.startswith(str(folder / name))
    return text


def says(*turns, keys=("role", "content")):
    return [dict(zip(keys, turn)) for turn in turns]


GPT = ("from", "value")
PAIR = {"chosen": "good", "rejected": "bad"}

# ---- one row of every form: object, the row it becomes, the form that is announced -----------------------------------
FORMS = {
    "alpaca": ({"instruction": "Add.", "input": "1 2", "output": "3"}, Row((U("Add.\n\n1 2"),), (A("3"),)), "Alpaca"),
    "alpaca, empty input": ({"instruction": "Hi", "input": " ", "output": "3"}, Row((U("Hi"),), (A("3"),)), "Alpaca"),
    "alpaca, no input": ({"instruction": "Hi", "output": "3"}, Row((U("Hi"),), (A("3"),)), "Alpaca"),
    "alpaca, system": ({"instruction": "Hi", "system": "Be kind.", "output": "3"},
                       Row((S, U("Hi")), (A("3"),)), "Alpaca"),
    "response": ({"prompt": "Hi", "response": "3"}, Row((U("Hi"),), (A("3"),)), "prompt/response"),
    "half a character": ({"prompt": "\ud83d", "response": "\ud83d\ude00"},
                         Row((U("\ufffd"),), (A("\U0001f600"),)), "prompt/response"),
    "spaces stay": ({"prompt": " Hi\n", "completion": " 3 "}, Row((U(" Hi\n"),), (A(" 3 "),)), "prompt/completion"),
    "messages as prompt and completion": (
        {"prompt": says(S, U("a"), A("b"), U("c")), "completion": says(A("d"))},
        Row((S, U("a"), A("b"), U("c")), (A("d"),)), "prompt/completion"),
    "messages": ({"messages": says(S, U("a"), A("b"), U("c"), A("d"))},
                 Row((S, U("a")), (A("b"), U("c"), A("d"))), "messages"),
    "messages, blank system": ({"messages": says(Turn("system", ""), U("a"), A("b"))},
                               Row((U("a"),), (A("b"),)), "messages"),
    "messages, trailing user turn": ({"messages": says(U("a"), A("b"), U("c"))}, Row((U("a"),), (A("b"),)), "messages"),
    "sharegpt": ({"conversations": says(("system", "Be kind."), ("human", "a"), ("gpt", "b"), keys=GPT)},
                 Row((S, U("a")), (A("b"),)), "ShareGPT conversations"),
    "sharegpt with a pair": (
        {"conversations": says(("human", "a"), keys=GPT), "chosen": {"from": "gpt", "value": "good"},
         "rejected": {"from": "gpt", "value": "bad"}},
        Row((U("a"),), None, (A("good"),), (A("bad"),)), "ShareGPT conversations with pairs"),
    "pair, how sure": ({"prompt": "Hi", **PAIR, "p": 0.7}, Row((U("Hi"),), None, (A("good"),), (A("bad"),), p=0.7),
                       "prompt with pairs"),
    "pair of messages": ({"prompt": "Hi", "chosen": says(A("good")), "rejected": says(A("bad"))},
                         Row((U("Hi"),), None, (A("good"),), (A("bad"),)), "prompt with pairs"),
    "pair of conversations": (
        {"chosen": says(S, U("a"), A("b"), U("c"), A("good")), "rejected": says(S, U("a"), A("b"), U("c"), A("bad"))},
        Row((S, U("a"), A("b"), U("c")), None, (A("good"),), (A("bad"),)), "conversations with pairs"),
    "pair of conversations that part early": (
        {"chosen": says(U("a"), A("b"), U("c"), A("d")), "rejected": says(U("a"), A("B"))},
        Row((U("a"),), None, (A("b"), U("c"), A("d")), (A("B"),)), "conversations with pairs"),
    "pair of equal conversations": (
        {"chosen": says(U("a"), A("b")), "rejected": says(U("a"), A("b"))},
        Row((U("a"),), None, (A("b"),), (A("b"),)), "conversations with pairs"),
    "conversations and a system field": (
        {"system": "Be kind.", "prompt": "a", "chosen": says(U("a"), A("b")), "rejected": says(U("a"), A("c"))},
        Row((S, U("a")), None, (A("b"),), (A("c"),)), "prompt with pairs"),
    "messages beside conversations": (      # the form of UltraFeedback: the messages are the chosen conversation
        {"prompt": "a", "messages": says(U("a"), A("b"), U("c"), A("d")),
         "chosen": says(U("a"), A("b"), U("c"), A("d")), "rejected": says(U("a"), A("b"), U("c"), A("e"))},
        Row((U("a"), A("b"), U("c")), (A("d"),), (A("d"),), (A("e"),)), "messages with pairs"),
    "alpaca with a pair": ({"instruction": "Hi", "input": "", "output": "3", **PAIR},
                           Row((U("Hi"),), (A("3"),), (A("good"),), (A("bad"),)), "Alpaca with pairs"),
    "label": ({"prompt": "Hi", "completion": "3", "label": False},
              Row((U("Hi"),), (A("3"),), label=False), "prompt/completion with labels"),
    "score": ({"prompt": "Hi", "response": "3", "score": 1}, Row((U("Hi"),), (A("3"),), score=1.0),
              "prompt/response with scores"),
    "null is absent": ({"prompt": "Hi", "response": "3", "score": None, "label": None, "chosen": None, "system": None},
                       Row((U("Hi"),), (A("3"),)), "prompt/response"),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["JSON list", "JSON lines"])
def test_forms(tmp_path, name, kind):
    item, row, form = FORMS[name]
    path = tmp_path / "Zoë 学 x.txt"                             # the name says nothing about the form
    text = json.dumps([item] * 2, indent=1) if kind == "JSON list" else (json.dumps(item) + "\n") * 2
    path.write_text(text, encoding="utf-8")
    rows, report = read([path])
    assert rows == [row, row]
    assert str(report[0]).startswith(f"{path}: {form} ({kind}): 2 rows read")
    assert rows[1].where == f"{path}, {'item' if kind == 'JSON list' else 'line'} 2"


@pytest.mark.parametrize("value, label", [(True, True), (False, False), (1, True), (0, False), ("True", True),
                                          ("false", False)])
def test_labels(tmp_path, value, label):
    rows, _ = read([write(tmp_path, {"prompt": "a", "response": "b", "label": value})])
    assert rows[0].label is label


def test_own_field_names(tmp_path):
    path = write(tmp_path, {"question": "a", "reply": "b", "note": 1})
    rows, report = read([path], "question", "reply")
    assert rows == [Row((U("a"),), (A("b"),))]
    assert [str(f) for f in report] == [f'{path}: question/reply (JSON lines): 1 rows read; fields not used: "note"']
    path = write(tmp_path, {"dialog": says(U("a"), A("b"), U("c"), A("d"))})
    assert read([path], "dialog")[0] == read([path], "dialog", "dialog")[0]
    assert read([path], "dialog")[0][0].answer == (A("b"), U("c"), A("d"))


def test_output_is_the_demonstration_unless_told_otherwise(tmp_path):
    path = write(tmp_path, {"instruction": "a", "output": "gold", "chosen": "good", "rejected": "bad"})
    assert read([path])[0][0].answer == (A("gold"),)
    row = read([path], response_field="chosen")[0][0]
    assert (row.answer, row.chosen, row.rejected) == ((A("good"),), (A("good"),), (A("bad"),))
    path = write(tmp_path, {"prompt": "a", "rejected": "bad"})          # the other half may be absent then
    assert read([path], response_field="rejected")[0] == [Row((U("a"),), (A("bad"),))]


def test_files_mix_and_skips_are_counted(tmp_path):
    one = write(tmp_path, {"prompt": "a", "response": "b"}, {"prompt": "a", "response": " \n"},
                {"prompt": "a", "response": ""}, {"prompt": "  ", "response": "b"}, name="one.jsonl")
    two = write(tmp_path, {"messages": says(U("a"))}, {"messages": says(A("b"))}, {"messages": []},
                {"messages": says(U("a"), S, A("b"))}, {"messages": says(U("a"), A("b"))}, name="two.json")
    three = write(tmp_path, {"prompt": "a", "chosen": "", "rejected": "c"}, {"prompt": "a", **PAIR},
                  {"prompt": "a", "chosen": "b", "rejected": ""}, name="three.json")
    rows, report = read([one, two, three])
    assert [r.where for r in rows] == [f"{one}, line 1", f"{two}, line 5", f"{three}, line 2"]
    assert [str(f) for f in report] == [
        f"{one}: prompt/response (JSON lines): 1 rows read, 3 skipped (2 empty response, 1 empty prompt)",
        f"{two}: messages (JSON lines): 1 rows read, 4 skipped (2 no assistant turn, 1 no user turn before the answer, "
        "1 system turn after the first turn)",
        f"{three}: prompt with pairs (JSON lines): 1 rows read, 2 skipped (1 empty chosen, 1 empty rejected)"]


def test_nothing_left(tmp_path):
    path = write(tmp_path, {"prompt": "a", "response": ""})
    with pytest.raises(UserError, match="no row to learn from: .*my.jsonl: .* 0 rows read, 1 skipped .1 empty"):
        read([path])
    with pytest.raises(UserError, match="no file given"):
        read([])


# ---- mistakes: bytes of the file (or its rows) -> pieces of the line -------------------------------------------------
GOOD = b'{"prompt": "a", "response": "b"}\n'
OK = {"prompt": "a", "response": "b"}
MISTAKES = {
    "blank": (b"\xef\xbb\xbf \r\n\n", ["my.jsonl: the file is empty"]),
    "empty list": (b" [ ] ", ["my.jsonl: the list is empty"]),
    "binary": (GOOD + b"\x00\x01", ["my.jsonl: is a binary file"]),
    "gzip": (b"\x1f\x8b\x08\x08abc", ["my.jsonl: is a binary file", "unpack"]),
    "utf-16": ('{"prompt": "a"}'.encode("utf-16"), ["my.jsonl: is UTF-16", "save it as UTF-8"]),
    "latin-1": (GOOD + '{"prompt": "é"}'.encode("latin-1"), ["my.jsonl, line 2: byte 0xe9 at offset 45 is not UTF-8"]),
    "latin-1 behind a mark": (b"\xef\xbb\xbf\n\xe9", ["my.jsonl, line 2: byte 0xe9 at offset 4 is not UTF-8"]),
    "scalar": (b"42", ["my.jsonl, line 1: is a number, not an object"]),
    "string": (GOOD + b'"hello"\n', ["my.jsonl, line 2: is a string, not an object"]),
    "plain text": (b"First Citizen:\nBefore we proceed",
                   ["my.jsonl, line 1: not JSON (a CSV or plain text file?)"]),
    "one object": (b'{\n "train": [\n  {"prompt": "a"}\n ]\n}',
                   ["my.jsonl: is one JSON object over 5 lines", "on a line"]),
    "no object": (b'[{"prompt": "a", "response": "b"}, null]', ["my.jsonl, item 2: is null, not an object"]),
    "list in lines": (GOOD + b"[1]\n", ["my.jsonl, line 2: is a list, not an object"]),
    "broken line": (GOOD + b'\n{"prompt": a}\n' + GOOD,
                    ["my.jsonl, line 3: broken JSON at column 12", "correct or remove"]),
    "two objects on a line": (GOOD.strip() + GOOD, ["my.jsonl, line 1: broken JSON at column 33 (Extra data)"]),
    "broken list": (b'[\n{"prompt": "a"},\n{"prompt" "b"}\n]', ["my.jsonl, line 3: broken JSON at column 11"]),
    "open string within": (GOOD + b'{"prompt": "a\n' + GOOD, ["my.jsonl, line 2: broken JSON", "correct or remove it"]),
    "cut line": (GOOD + b'{"prompt": "a", "resp', ["my.jsonl, line 2: broken JSON", "cut off"]),
    "cut list": (b"[\n" + GOOD, ["my.jsonl, line 3: broken JSON", "cut off"]),
    "too deep": (GOOD + b'{"prompt": ' + b"[" * 200_000, ["my.jsonl, line 2: "]),
    "too long a number": (GOOD + b'{"score": ' + b"1" * 5000 + b"}", ["my.jsonl, line 2: a number or nesting"]),
    "prompt is a number": ([OK, {"prompt": 3, "response": "b"}], ['line 2: "prompt" is a number, not a string']),
    "prompt is null": ([OK, {"prompt": None, "response": "b"}], ['line 2: no prompt in "prompt"', "--prompt-field"]),
    "response is missing": ([OK, {"prompt": "a", "respnse": "b"}],
                            ['line 2: no response in "response"', '"prompt", "respnse"',
                             'is "respnse" meant as "response"?']),
    "response is true": ([{"prompt": "a", "response": True}], ['line 1: "response" is true or false, not a string']),
    "no response at all": ([{"instruction": "a"}],
                           ['line 1: no response in "output", "response", "completion" and no pair', '"instruction"',
                            "--response-field"]),
    "input is a number": ([{"instruction": "a", "input": 2, "output": "b"}],
                          ['line 1: "input" is a number, not a string']),
    "system is a list": ([{**OK, "system": []}], ['line 1: "system" is a list, not a string']),
    "nothing known": ([{"instructoin": "a", "outptu": "b"}],
                      ["line 1: no field with a prompt", '"instructoin", "outptu"',
                       'is "instructoin" meant as "instruction"?',
                       "forms understood: instruction/input/output", "messages, conversations", "--prompt-field"]),
    "many keys": ([{f"k{i}\u2028\n": i for i in range(99)}], ["line 1: no field with a prompt", "and 91 more"]),
    "messages is a string": ([{"messages": "a"}], ['line 1: "messages" is a string, not a list of turns']),
    "messages is a number": ([{"messages": 1}], ['line 1: "messages" is a number']),
    "turn is a string": ([{"messages": ["a"]}], ['line 1: turn 1 of "messages" needs "role" and "content"']),
    "turn without content": ([{"messages": [*says(U("a")), {"role": "assistant"}]}],
                             ['line 1: turn 2 of "messages" needs']),
    "content is null": ([{"messages": says(U("a"), A(None))}], ['line 1: turn 2 of "messages": "content" is null']),
    "unknown role": ([{"messages": says(U("a"), ("tool", "b"))}],
                     ['line 1: turn 2 of "messages" has the unknown role "tool"',
                      "known are system, user, human, assistant, gpt"]),
    "role is a list": ([{"messages": says(([], "b"))}], ['line 1: turn 1 of "messages": "role" is a list']),
    "p too large": ([{"prompt": "Hi", **PAIR, "p": 2}], ['line 1: "p" is 2, not a number from 0 to 1']),
    "p without a pair": ([{**OK, "p": 0.7}], ['line 1: "p"', "no pair"]),
    "score too large": ([{**OK, "score": 7}], ['line 1: "score" is 7, not a number from 0 to 1']),
    "score is a string": ([{**OK, "score": "0.5"}], ['line 1: "score" is "0.5", not a number']),
    "score is true": ([{**OK, "score": True}], ['line 1: "score" is true, not a number']),
    "score is NaN": ([OK, {**OK, "score": float("nan")}], ['line 2: "score" is NaN, not a number']),
    "label maybe": ([OK, {**OK, "label": "maybe"}], ['line 2: "label" is "maybe", not true or false']),
    "label is a list": ([{**OK, "label": [True]}], ['line 1: "label" is [true], not true or false']),
    "half a pair": ([{"prompt": "a", **PAIR}, {"prompt": "a", "chosen": "b"}],
                    ['line 2: a pair needs both "chosen" and']),
    "pair without a prompt": ([PAIR], ["line 1: no prompt in", "--prompt-field"]),
    "pair of two prompts": ([{"chosen": says(U("a"), A("b")), "rejected": says(U("c"), A("d"))}],
                            ['line 1: "chosen" and "rejected" do not answer the same prompt']),
    "pair that parts at a question": (
        [{"chosen": says(U("a"), A("b"), U("c"), A("d")), "rejected": says(U("a"), A("b"), U("e"), A("d"))}],
        ['line 1: "chosen" and "rejected" do not answer the same prompt']),
    "pair beside another prompt": (
        [{"prompt": "x", "response": "y", "chosen": says(U("a"), A("b")), "rejected": says(U("a"), A("c"))}],
        ["line 1: the pair and the demonstration do not answer the same prompt"]),
    "a key twice": (GOOD + b'{"prompt": "a", "response": "b", "response": "c"}',
                    ["my.jsonl, line 2: the key 'response' stands twice"]),
    "label against score": ([OK, {**OK, "label": False, "score": 1}],
                            ['line 2: "label" false and "score" 1.0 contradict each other']),
    "control characters": ([{"a\x1b[2J\x9b\u202e": "x"}], ["a\\u001b[2J\\x9b\\u202e"]),
    "score beside a pair": ([{"prompt": "a", **PAIR, "score": 0.5}], ["line 1: a label or score judges one response"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_not_understood(tmp_path, name):
    content, pieces = MISTAKES[name]
    text = message(tmp_path, content)
    for piece in pieces:
        assert piece in text
    if not isinstance(content, bytes):                          # the same rows as a list are named by item
        assert pieces[0].replace("line", "item", 1) in message(tmp_path, json.dumps(content).encode(), "my.json")


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="absent.jsonl: no such file; check the path"):
        read([tmp_path / "absent.jsonl"])
    with pytest.raises(UserError, match=": is a folder; name the files in it"):
        read([tmp_path])
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(UserError, match="pipe.jsonl: cannot be read .*a pipe"):
        read([tmp_path / "pipe.jsonl"])


def test_unknown_field_names_suggest_the_nearest(tmp_path):
    text = message(tmp_path, [{"question": "a", "reply": "b"}], prompt_field="qestion", response_field="reply")
    assert 'no row has the field "qestion" of --prompt-field; the fields are "question", "reply"' in text
    assert text.endswith('did you mean "question"?')


# ---- reading is the inverse of writing -------------------------------------------------------------------------------
text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)
tricky = st.one_of(text, st.sampled_from([
    "a\u2028b", "a\u2029\x85b", "\r\n x", "\ufeffa", '"]}\n{"', "<|end|>", "\x00a", "\x1c a"]))


@st.composite
def some_rows(draw):
    def item():
        talk = [U(draw(tricky))]
        for _ in range(draw(st.integers(0, 1))):
            talk += [A(draw(tricky)), U(draw(tricky))]
        one, two = draw(tricky), draw(tricky)
        if kind == "messages":
            row = Row((talk[0],), (*talk[1:], A(one)))
            return {"messages": says(*talk, A(one))}, row
        if kind == "pairs":
            row = Row(tuple(talk), None, (A(one),), (A(two),))
            return {"chosen": says(*talk, A(one)), "rejected": says(*talk, A(two))}, row
        score = draw(st.floats(0, 1))
        extra = {"score": score, "label": score > 0.5 if score != 0.5 else draw(st.booleans())}
        return {"prompt": talk[0].text, "response": one, **extra}, Row((talk[0],), (A(one),), **extra)
    kind = draw(st.sampled_from(["messages", "pairs", "prompt"]))
    return [item() for _ in range(draw(st.integers(1, 4)))]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some_rows(), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([None, 2]))
def test_written_rows_come_back(tmp_path, pairs, as_list, mark, crlf, ascii_only, indent):
    items = [item for item, _ in pairs]
    if as_list:
        content = json.dumps(items, ensure_ascii=ascii_only, indent=indent)
    else:
        content = "\n\n".join(json.dumps(item, ensure_ascii=ascii_only) for item in items)      # blank lines between
    content = content.replace("\n", "\r\n") if crlf else content
    path = tmp_path / "rows"
    path.write_bytes(b"\xef\xbb\xbf" * mark + content.encode())
    rows, report = read([path])
    assert rows == [row for _, row in pairs]
    assert report[0].read == len(rows) and not report[0].skipped


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cut_or_damaged_files_never_crash(tmp_path, data):
    """Any prefix, and any changed byte, is read, or named in one line: never another exception."""
    first = [OK, {"messages": says(U("é"), A("b"))}] if data.draw(st.booleans()) else OK
    content = json.dumps(first, ensure_ascii=False).encode() + b"\n" + GOOD
    content = bytearray(content[:data.draw(st.integers(0, len(content)))])
    if content and data.draw(st.booleans()):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "rows"
    path.write_bytes(content)
    try:
        assert read([path])[0]
    except UserError as e:
        assert len(str(e).splitlines()) == 1


json_values = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.just(U("a")._asdict()),
                           lambda x: st.lists(x, max_size=3) | st.dictionaries(
                               st.sampled_from(["role", "content", "from", "value"]), x, max_size=3), max_leaves=5)
fields = st.sampled_from(("messages conversations instruction input output prompt response chosen rejected "
                          "label score system").split())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(fields, json_values | st.just(says(U("a"), A("b"))), max_size=6),
                min_size=1, max_size=2))
def test_wrong_types_never_crash(tmp_path, items):
    path = tmp_path / "rows"
    path.write_text(json.dumps(items), encoding="utf-8")
    try:
        for row in read([path])[0]:
            assert row.prompt and (row.answer or row.chosen) and bool(row.chosen) == bool(row.rejected)
            for answer in filter(None, (row.answer, row.chosen, row.rejected)):
                assert answer[0].role == answer[-1].role == "assistant"
    except UserError as e:
        assert len(str(e).splitlines()) == 1


# ---- which sequences stand together, and which are held out ----------------------------------------------------------
def test_demo_rows():
    p, b = (U("a"),), (A("b"),)
    rows = [Row(p, b), Row(p, b, label=True), Row(p, None, (A("c"),), (A("d"),), family="f", where="w"),
            Row(p, b, score=1.0), Row(p, b, label=False), Row(p, b, (A("c"),), (A("d"),))]
    out = demo_rows(rows, None)
    assert [e.seqs["answer"] for e in out] == [(p, b), (p, b), (p, (A("c"),)), (p, b)]
    assert (out[2].family, out[2].where, out[2].score, out[2].label, out[2].p) == ("f", "w", None, None, None)
    with pytest.raises(UserError, match="needs demonstrations .*; the data has 1 scored answer and 2 labelled answers"):
        demo_rows([rows[3], rows[4], rows[4]], None)


def test_pair_rows():
    p = (U("a"),)
    rows = [Row(p, None, (A("c"),), (A("d"),), family="f"), Row(p, None, (A("c"),), (A("c"),)), Row(p, (A("b"),))]
    out = pair_rows(rows, None)
    assert [(e.seqs, e.family) for e in out] == [({"chosen": (p, (A("c"),)), "rejected": (p, (A("d"),))}, "f")]
    with pytest.raises(UserError, match=r"needs pairs .prompt, chosen, rejected.; the data has 2,000 demonstrations$"):
        pair_rows(rows[2:] * 2000, None)
    with pytest.raises(UserError, match="the data has 1 equal pair$"):
        pair_rows(rows[1:2], None)
    assert contents([]) == "no answers"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=120), st.randoms(use_true_random=False))
def test_holdout_keeps_prompts_together_in_any_order(prompts, rng):
    rows = [Row((S, U(f"question {i}")), (A(str(n)),)) for n, i in enumerate(prompts)]
    train, held = holdout(rows)
    first = [{r.prompt for r in side} for side in (train, held)]
    assert not first[0] & first[1] and train
    assert sorted(train + held, key=str) == sorted(rows, key=str)
    assert bool(held) == (len(set(prompts)) > 1)
    assert len(held) <= max(1, round(len(rows) / 10)) or len(first[1]) == 1
    assert set(holdout(rng.sample(rows, len(rows)))[1]) == set(held)


def test_holdout_sizes():
    rows = [Row((U(f"question {i}"),), (A("b"),)) for i in range(3000)]
    assert [len(holdout(rows[:n])[1]) for n in (2, 7, 100, 1000, 2000, 3000)] == [1, 1, 10, 100, 200, 200]
    assert len(holdout(rows, count=500)[1]) == 500 and len(holdout(rows, share=0.05)[1]) == 150
    assert holdout(rows, count=0) == (rows, []) and holdout(rows[:1]) == (rows[:1], [])
    assert holdout(rows)[1][0] == rows[49]                      # the same on every machine, today and in a year


# ---- files that nobody on this project wrote -------------------------------------------------------------------------
@real
def test_real_alpaca_with_pairs():
    path = str(REAL / "instructions_with_preference.json")
    rows, report = read([path])
    assert [str(f) for f in report] == [f"{path}: Alpaca with pairs (JSON list): 1,100 rows read"]
    assert rows[0].prompt[0].text.endswith("the spelling given.\n\nfreind --> friend")
    assert len(demo_rows(rows, None)) == 1100 and len(pair_rows(rows, None)) == 1094
    assert [len(side) for side in holdout(rows)] == [990, 110]


@real
def test_real_ladder_of_answers():
    path = str(REAL / "dolly_ladder.jsonl")
    rows, report = read([path])
    assert str(report[0]).startswith(f"{path}: instruction/response (JSON lines): 2,000 rows read; fields not used")
    assert '"flan_t5_xl"' in str(report[0]) and contents(rows) == "2,000 demonstrations"
    _, report = read([path], response_field="flan_t5_small")
    assert "1,998 rows read, 2 skipped (2 empty response)" in str(report[0])
    with pytest.raises(UserError, match="no row has the field \"flan_t5_xxl\" of --response-field; .*\"flan_t5_xl\""):
        read([path], response_field="flan_t5_xxl")
