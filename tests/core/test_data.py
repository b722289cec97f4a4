"""What a user brings: every form is read, every mistake is one line that names file, place and
reason."""
import gzip
import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import NANO, nano

from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.rows import Row, Turn, contents, demo_rows, holdout, pair_rows, score_rows
from nanouft.errors import UserError
from nanouft.eval import report
from nanouft.eval import rows as inspector
from nanouft.eval.show import show_mask, token_text
from nanouft.files.read import read
from nanouft.files.turns import shared_beginning
from nanouft.objectives import OBJECTIVES
from nanouft.run import rows as run_rows
from nanouft.run.flags import Train


def U(text):
    return Turn("user", text)


def A(text):
    return Turn("assistant", text)


S = Turn("system", "Be kind.")
WRONG, RIGHT = {"role": "assistant", "content": "no"}, {"role": "assistant", "content": "yes"}


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
        read([str(folder / name)], strict=True, **fields)
    text = str(e.value)
    assert len(text.splitlines()) == 1 and len(text) < 750
    assert text.startswith(str(folder / name))
    return text


def says(*turns, keys=("role", "content")):
    return [dict(zip(keys, turn)) for turn in turns]


GPT = ("from", "value")
PAIR = {"chosen": "good", "rejected": "bad"}
YES = A("good")

# ---- one row of every form: object, the row it becomes, the form that is announced ---------------
FORMS = {
    "alpaca": ({"instruction": "Add.", "input": "1 2", "output": "3"},
               Row((U("Add.\n\n1 2"),), (A("3"),)), "Alpaca"),
    "alpaca, system": ({"instruction": "Hi", "input": " ", "system": "Be kind.", "output": "3"},
                       Row((S, U("Hi")), (A("3"),)), "Alpaca"),
    **{f"system and {len(talk)} turns": ({"system": own, "prompt": says(*talk), "response": "b"},
                                         Row((S, U("a")), (A("b"),)), "prompt/response")
       for own, talk in (("Be strict.", (S, U("a"))), ("Be kind.", (U("a"),)))},
    **{f"score {x}, label {y}": ({"prompt": "Hi", "response": "3", "score": x, "label": y},
                                 Row((U("Hi"),), (A("3"),), score=x, label=y),
                                 "prompt/response with labels and scores")
       for x, y in ((0.5, True), (0.5, False), (0.6, True), (0.4, False))},
    "response": ({"prompt": "Hi", "response": "3"}, Row((U("Hi"),), (A("3"),)), "prompt/response"),
    "half a character": ({"prompt": "\ud83d", "response": "\ud83d\ude00"},
                         Row((U("\ufffd"),), (A("\U0001f600"),)), "prompt/response"),
    "messages as prompt and completion": (
        {"prompt": says(S, U("a"), A("b"), U("c")), "completion": says(A("d"))},
        Row((S, U("a"), A("b"), U("c")), (A("d"),)), "prompt/completion"),
    "messages": ({"messages": says(S, U("a"), A("b"), U("c"), A("d"))},
                 Row((S, U("a")), (A("b"), U("c"), A("d"))), "messages"),
    "sharegpt": ({"conversations": says(("system", "Be kind."), ("human", "a"), ("gpt", "b"),
                                        keys=GPT)},
                 Row((S, U("a")), (A("b"),)), "ShareGPT conversations"),
    "pair, how sure": ({"prompt": "Hi", **PAIR, "p": 0.7},
                       Row((U("Hi"),), None, (A("good"),), (A("bad"),), p=0.7),
                       "prompt with pairs"),
    "pair of conversations that part early": (
        {"chosen": says(U("a"), A("b"), U("c"), A("d")), "rejected": says(U("a"), A("B"))},
        Row((U("a"),), None, (A("b"), U("c"), A("d")), (A("B"),)), "conversations with pairs"),
    # the form of UltraFeedback: the messages are the chosen conversation
    "messages beside conversations": (
        {"prompt": "a", "messages": says(U("a"), A("b"), U("c"), A("d")),
         "chosen": says(U("a"), A("b"), U("c"), A("d")),
         "rejected": says(U("a"), A("b"), U("c"), A("e"))},
        Row((U("a"), A("b"), U("c")), (A("d"),), (A("d"),), (A("e"),)), "messages with pairs"),
    "alpaca with a pair": ({"instruction": "Hi", "input": "", "output": "3", **PAIR},
                           Row((U("Hi"),), (A("3"),), (A("good"),), (A("bad"),)),
                           "Alpaca with pairs"),
    **{f"label {value}": ({"prompt": "Hi", "completion": "3", "label": value},
                          Row((U("Hi"),), (A("3"),), label=label),
                          "prompt/completion with labels")
       for value, label in (("True", True), ("false", False), (1, True), (0, False))},
    "roles": ({"messages": says(("developer", "Be kind."), U("a"), ("function_call", "f()"),
                                ("tool", "1"), A("b"),
                                ("Human", "c"), ("observation", "2"), ("gpt", "d"), U("e"))},
              Row((S, U("a"), Turn("shown", "f()"), Turn("tool", "1")),
                  (A("b"), U("c"), Turn("tool", "2"), A("d"))),
              "messages"),
    "parts": ({"messages": says(U([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
                                A([{"type": "text", "text": "c"}]))}, Row(
                                   (U("a\nb"),), (A("c"),)), "messages"),
    "system turn in between": ({"messages": says(U("a"), S, A("b"))}, Row((U("a"), S), (A("b"),)),
                               "messages"),
    "JSON text": ({"messages": json.dumps(says(Turn("system", ""), U("a"), A("b")))},
                  Row((U("a"),), (A("b"),)),
                  "messages"),
    "raw dialogues": ({"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\nd\n\nAssistant: good",
                       "rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\nd\n\nAssistant: bad"},
                      Row((U("a"), A("b"), U("c\nd")), None, (A("good"),), (A("bad"),)),
                      'conversations as text after "Human:" and "Assistant:" with pairs'),
    "raw prompt": ({"prompt": "Be kind.\n\nHuman: a\n\nAssistant:", "response": " b"},
                   Row((S, U("a")), (A("b"),)),
                   'prompt/response as text after "Human:" and "Assistant:"'),
    "raw dialogue goes on": ({"prompt": "a", "response": "b\n\nHuman: c\n\nAssistant: d"},
                             Row((U("a"),), (A("b"), U("c"), A("d"))),
                             'prompt/response as text after "Human:" and "Assistant:"'),
    "implicit prompt": ({"chosen": "The sky is blue.", "rejected": "The sky is black."},
                        Row((U("The sky is"),), None, (A("blue."),), (A("black."),)),
                        "texts (their shared beginning is the prompt) with pairs"),
    "reward": ({"prompt": "Hi", "response": "3", "reward": 0.25},
               Row((U("Hi"),), (A("3"),), score=0.25),
               'prompt/response with scores ("reward")'),
    "scores of a pair": ({"prompt": "Hi", **PAIR, "score_chosen": 9, "score_rejected": 3},
                         Row((U("Hi"),), None, (A("good"),), (A("bad"),), scores=(1.0, 0.0)),
                         'prompt with pairs and scores ("score_chosen", "score_rejected"), 3 to 9 '
                         'read as 0 to 1 ('),
    "question, answer": ({"question": "Hi", "answer": "3", "label": "Good"},
                         Row((U("Hi"),), (A("3"),), label=True),
                         "question/answer with labels"),
    "preferred output": ({"input": {"messages": says(U("a"))}, "preferred_output": says(YES),
                          "non_preferred_output": says(A("bad"))}, Row(
                             (U("a"),), None, (YES,), (A("bad"),)),
                         'input with pairs, "preferred_output" read as "chosen", '
                         '"non_preferred_output" read as'),
    "two answers in no order": (
        {"prompt": "a", "response_0": "bad", "response_1": "good", "better_response_id": 1},
        Row((U("a"),), None, (YES,), (A("bad"),)),
        'prompt with pairs, pairs of "response_0" and "response_1"'),
    "... as pandas writes it": (
        {"prompt": "a", "response_0": "bad", "response_1": "good", "better_response_id": 1.0},
        Row((U("a"),), None, (YES,), (A("bad"),)),
        'prompt with pairs, pairs of "response_0" and "response_1"'),
    "a pair beside two answers": (
        {"prompt": "Hi", **PAIR, "response_0": "bad", "response_1": "good",
         "better_response_id": 1},
        Row((U("Hi"),), None, (A("good"),), (A("bad"),)), "prompt with pairs"),
    "white space, marks at the end": ({"prompt": "a\n\n###\n\n", "completion": " b\n  c END"},
                                      Row((U("a"),), (A("b\n  c"),)),
                                      'prompt/completion, " END" behind each completion cut off, '
                                      '"###" behind'),
    "nulls of parquet": ({"messages": [{"role": "system", "content": None}, *says(U("a"), A("b")),
                                       {"role": "user", "content": None}]}, Row(
                                          (U("a"),), (A("b"),)), "messages"),
    "null is absent": ({"prompt": "Hi", "response": "3", "score": None, "label": None,
                        "chosen": None, "system": None},
                       Row((U("Hi"),), (A("3"),)), "prompt/response"),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", ["JSON list", "JSON lines", "JSON object"])
def test_forms(tmp_path, name, kind):
    item, row, form = FORMS[name]
    path = tmp_path / "Zoë 学 x.txt"  # the name says nothing about the form
    text, place = {"JSON list": (json.dumps([item] * 2, indent=1), "item 2"),
                   "JSON lines": ((json.dumps(item) + "\n") * 2, "line 2"),
                   "JSON object": (json.dumps({"version": 1, "data": [item] * 2}, indent=1),
                                   'item 2 of "data"')}[kind]
    path.write_text(text, encoding="utf-8")
    rows, report = read([path])
    assert rows == [row, row]
    assert str(report[0]).startswith(f"{path}: {form}") \
        and f"({kind}): 2 rows read" in str(report[0])
    assert rows[1].where == f"{path}, {place}"


def test_own_field_names(tmp_path):
    path = write(tmp_path, {"question": "a", "reply": "b", "note": 1})
    rows, report = read([path], "question", "reply")
    assert rows == [Row((U("a"),), (A("b"),))]
    assert [str(f) for f in report] == [
        f'{path}: question/reply (JSON lines): 1 rows read; fields not learnt from: "note"']
    path = write(tmp_path, {"dialog": says(U("a"), A("b"), U("c"), A("d"))})
    assert read([path], "dialog")[0] == read([path], "dialog", "dialog")[0]
    assert read([path], "dialog")[0][0].answer == (A("b"), U("c"), A("d"))


def test_output_is_the_demonstration_unless_told_otherwise(tmp_path):
    path = write(tmp_path, {"instruction": "a", "output": "gold", "chosen": "good",
                            "rejected": "bad"})
    assert read([path])[0][0].answer == (A("gold"),)
    row = read([path], response_field="chosen")[0][0]
    assert (row.answer, row.chosen, row.rejected) == ((A("good"),), (A("good"),), (A("bad"),))
    path = write(tmp_path, {"prompt": "a", "rejected": "bad"})  # the other half may be absent then
    assert read([path], response_field="rejected")[0] == [Row((U("a"),), (A("bad"),))]


def test_files_mix_and_skips_are_counted(tmp_path):
    one = write(tmp_path, {"prompt": "a", "response": "b"}, {"prompt": "a", "response": " \n"},
                {"prompt": "a", "response": ""}, {"prompt": "  ", "response": "b"},
                name="one.jsonl")
    two = write(tmp_path, {"messages": says(U("a"))}, {"messages": says(A("b"))}, {"messages": []},
                {"messages": says(U("a"), A("b"))},
                {"messages": says(U("a"), A(" "), U("b"), A("c"))}, name="two.json")
    three = write(tmp_path, {"prompt": "a", "chosen": "", "rejected": "c"}, {"prompt": "a", **PAIR},
                  {"prompt": "a", "chosen": "b", "rejected": ""}, name="three.json")
    rows, report = read([one, two, three])
    assert [r.where for r in rows] == [f"{one}, line 1", f"{two}, line 4", f"{three}, line 2"]
    assert [(f.read, sum(map(len, f.skipped.values()))) for f in report] == [(1, 3), (1, 4), (1, 2)]
    for said, words in zip(report, ("2 empty response (first: line 2)", "2 no assistant turn",
                                    "1 empty rejected")):
        assert words in str(said)


# ---- mistakes: bytes of the file (or its rows) -> pieces of the line -----------------------------
GOOD = b'{"prompt": "a", "response": "b"}\n'
OK = {"prompt": "a", "response": "b"}
MISTAKES = {
    "blank": (b"\xef\xbb\xbf \r\n\n", ["my.jsonl: there is no row in this file"]),
    "binary": (GOOD + b"\x00\x01", ["my.jsonl: is a binary file"]),
    "gzip": (b"\x1f\x8b\x08\x08abc", ["my.jsonl: is a broken gzip file", "copy it again"]),
    "zip": (b"PK\3\4abc", ["my.jsonl: is a binary file", "unpack"]),
    "arrow": (b"ARROW1\0\0", ["my.jsonl: is an Arrow file; give the folder"]),
    "utf-16": ('{"prompt": "a"}'.encode("utf-16"), ["my.jsonl: is UTF-16", "save it as UTF-8"]),
    "latin-1": (GOOD + '{"prompt": "é"}'.encode("latin-1"),
                ["my.jsonl, line 2: byte 0xe9 at offset 45 is not UTF-8"]),
    "plain text": (b"First Citizen:\nBefore we proceed", ["my.jsonl, line 1: not JSON", "CSV"]),
    "one object": (b'{\n "mine": [\n  {"prompt": "a"}\n ]\n}',
                   ["my.jsonl: is one JSON object over 5 lines"]),
    "list in lines": (GOOD + b"[1]\n", ["my.jsonl, line 2: is a list, not an object"]),
    "broken line": (GOOD + b'\n{"prompt": a}\n' + GOOD,
                    ["my.jsonl, line 3: broken JSON at column 12", "remove"]),
    "cut line": (GOOD + b'{"prompt": "a", "resp', ["my.jsonl, line 2: broken JSON", "cut off"]),
    "too deep": (GOOD + b'{"prompt": ' + b"[" * 200_000, ["my.jsonl, line 2: "]),
    "too long a number": (GOOD + b'{"score": ' + b"1" * 5000 + b"}",
                          ["my.jsonl, line 2: a number or nesting"]),
    "prompt is a number": ([OK, {"prompt": 3, "response": "b"}],
                           ['line 2: "prompt" is a number, not a string']),
    "response is missing": ([OK, {"prompt": "a", "respnse": "b"}],
                            ['line 2: no response', 'is "respnse" meant as']),
    "chosen is missing": ([{"prompt": "a", "chosn": "b", "rejected": "c"}],
                          ['is "chosn" meant as "chosen"?']),
    "no response at all": ([{"instruction": "a"}],
                           ["line 1: no response", "no pair", "--response-field"]),
    "nothing known": ([{"instructoin": "a"}], ["line 1: no field", 'meant as "instruction"?',
                                               "--prompt-field"]),
    "many keys": ([{f"k{i}\u2028\n": i for i in range(99)}],
                  ["line 1: no field with a prompt", "and 91 more"]),
    "messages is a string": ([{"messages": "a"}], ['line 1: "messages" is a string, not a list of '
                                                   'turns']),
    "turn is a string": ([{"messages": [3]}], ['line 1: turn 1 of "messages" is a number, not an '
                                               'object with']),
    "no content": ([{"messages": [*says(U("a")), {"role": "assistant"}]}],
                   ['line 1: turn 2 of "messages" needs']),
    "unknown role": ([{"messages": says(U("a"), ("wizard", "b"))}],
                     ["line 1: turn 2", '"wizard"', "known are"]),
    "a picture": ([{"messages": says(U([{"type": "image_url"}]), A("b"))}],
                  ["line 1: turn 1", "part 1", "image_url"]),
    "half a weight": ([{"messages": [*says(U("a")), {**RIGHT, "weight": 0.5}]}],
                      ["line 1: turn 2", "0.5"]),
    "p without a pair": ([{**OK, "p": 0.7}], ['line 1: "p"', "no pair"]),
    "score too large": ([{**OK, "score": 7}], ['line 1: "score" is 7, not a number from 0 to 1']),
    "one reward too large": ([{**OK, "reward": 0.5}] * 10 + [{**OK, "reward": 9}],
                             ['line 11: "reward" is 9']),
    "score is NaN": ([OK, {**OK, "score": float("nan")}], ['line 2: "score" is NaN, not a number']),
    "label maybe": ([OK, {**OK, "label": "maybe"}],
                    ['line 2: "label" is "maybe", not true or false']),
    "half a pair": ([{"prompt": "a", **PAIR}, {"prompt": "a", "chosen": "b"}],
                    ["line 2: a pair needs both"]),
    "pair without a prompt": ([PAIR], ["line 1: no prompt, and", "do not begin alike",
                                       "--prompt-field"]),
    "rows in columns": ([{"prompt": ["a"], "response": ["b"]}],
                        ['line 1: "prompt" is a list of strings, not']),
    "two prompts in a row": ([{**OK, "instruction": "x"}],
                             ["may all be the prompt; say which: --prompt-field prompt"]),
    "two kinds of label": ([{**OK, "kto_tag": True, "desirable": False}],
                           ['"kto_tag" and "desirable" both say']),
    "labels of two kinds": ([{**OK, "label": x} for x in (-1, 0, 1)],
                            ['"label" is -1 in some rows and 0 in others']),
    "a corpus": ([{"text": "a"}], ["line 1: no field with a prompt",
                                   "python -m nanouft.pretrain --corpus"]),
    "a prompt of another name": ([{"trajectory": says(U("a")), "chosen": "Step 1: b",
                                   "rejected": "Step 1: c"}],
                                 [': no field with a prompt, but "trajectory" may be it: '
                                  '--prompt-field trajectory']),
    "two prompts": ([{"chosen": says(U("a"), A("b")), "rejected": says(U("c"), A("d"))}],
                    ["line 1: ", "same prompt"]),
    "pair beside another prompt": (
        [{"prompt": "x", "chosen": says(U("a"), A("b")), "rejected": says(U("a"), A("c"))}],
        ["line 1: ", "not in it"]),
    "an answer that is begun": ([{**PAIR, "prompt": says(U("a"), A("Sure, "))}],
                                ['line 1: "prompt" ends with']),
    "label against score": ([{**OK, "label": False, "score": 0.6}],
                            ["line 1: ", "contradict each other"]),
    "score against label": ([{**OK, "label": True, "score": 0.4}],
                            ["line 1: ", "contradict each other"]),
    "control characters": ([{"a\x1b[2J\x9b\u202e": "x"}], ["a\\u001b[2J\\x9b\\u202e"]),
    "score beside a pair": ([{"prompt": "a", **PAIR, "score": 0.5}],
                            ["line 1: a label or score judges one response"]),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_is_not_understood(tmp_path, name):
    content, pieces = MISTAKES[name]
    text = message(tmp_path, content)
    for piece in pieces:
        assert piece in text
    if not isinstance(content, bytes):  # the same rows as a list are named by item
        assert pieces[0].replace("line", "item",
                                 1) in message(tmp_path, json.dumps(content).encode(), "my.json")


def test_nothing_to_read(tmp_path):
    path = write(tmp_path, {"prompt": "a", "response": ""}, name="rows")
    with pytest.raises(UserError, match="no row to learn from: .*rows: .* 0 rows read, 1 skipped: "
                       "1 empty"):
        read([path])
    with pytest.raises(UserError, match="no file given"):
        read([])
    with pytest.raises(UserError, match="absent.jsonl: no such file; check the path"):
        read([tmp_path / "absent.jsonl"])
    with pytest.raises(UserError,
                       match=": is a folder without data; files in it must end in .json"):
        read([tmp_path])
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(UserError, match="pipe.jsonl: cannot be read .*a pipe"):
        read([tmp_path / "pipe.jsonl"])


def test_unknown_field_names_suggest_the_nearest(tmp_path):
    text = message(tmp_path, [{"question": "a", "reply": "b"}], prompt_field="qestion",
                   response_field="reply")
    assert 'no row has the field "qestion" of --prompt-field; ' in text
    assert 'the fields are "question", "reply"' in text
    assert text.endswith('did you mean "question"?')


# ---- masks by hand: what is trained on stands in [[ ]] -------------------------------------------
U_A = "<|user|> a<|assistant|>"
MASKS = {  # name -> (the row, what each sequence of it is, as `rows` sees it)
    "weight 0 in between": (
        {"messages": [*says(U("a")), RIGHT, *says(U("c")), {**WRONG, "weight": 0}, *says(U("d")),
                      RIGHT]}, demo_rows,
        [U_A + "[[ yes<|end|>]]<|user|> c<|assistant|> no<|end|><|user|> d<|assistant|>[[ "
         "yes<|end|>]]"]),
    "weight 0 last": ({"messages": [*says(U("a")), RIGHT, *says(U("c")), {**WRONG, "weight": 0}]},
                      demo_rows,
                      [U_A + "[[ yes<|end|>]]"]),
    "tool": ({"messages": [*says(U("a")), {"role": "assistant", "content": None, "tool_calls": [1]},
                           *says(("tool", "2")), RIGHT]}, demo_rows,
             [U_A + " [1]<|end|><|user|> 2<|assistant|>[[ yes<|end|>]]"]),
    "pair of conversations": ({"chosen": says(U("a"), A("b"), U("c"), A("d")),
                               "rejected": says(U("a"), A("b"), U("c"), A("e"))}, pair_rows,
                              [U_A + f" b<|end|><|user|> c<|assistant|>[[ {x}<|end|>]]"
                               for x in "de"]),
    "ultrafeedback": ({"prompt": "a", "messages": says(U("a"), A("b")),
                       "chosen": says(U("a"), A("b")),
                       "rejected": says(U("a"), A("c")), "score_chosen": 8,
                       "score_rejected": 2}, score_rows,
                      [U_A + "[[ b<|end|>]]", U_A + "[[ c<|end|>]]"]),
    "reward": ({"prompt": "a", "response": "<|end|>b", "reward": 0.5}, score_rows,
               [U_A + "[[ <|end|>b<|end|>]]"]),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_by_hand(tmp_path, name):
    item, rows_of, want = MASKS[name]
    encoded, _ = encode(rows_of(read([write(tmp_path, item)])[0], None), NANO, 128)
    shown = "\n".join(show_mask(e, NANO, colour=False) for e in encoded)
    assert re.sub(r"(?m)^ *(answer|chosen|rejected)( \(.*?\))?  ", "", shown) == "\n".join(want)


def test_the_inspector_shows_lengths_and_masks_and_train_the_median_row(tmp_path, capsys):
    rows = [{"prompt": "a", "response": " ".join("b" * n)} for n in (9, 1, 0, 3)]
    path = write(tmp_path, *rows, {**OK, "label": False})
    assert inspector.main([path]) == 0
    head, *blocks = capsys.readouterr().out.rstrip("\n").split("\n\n")
    assert "4 rows read, 1 skipped: 1 empty response" in head
    assert " ".join(head.split()).endswith("3 demonstrations and 1 bad answer tokens least "
                                           "median most prompt 3 3 3 answer 2 3 10")
    assert [block.split(": ")[0] for block in blocks] == ["shortest", "median", "longest"]
    assert "line 4: 7 tokens" in blocks[1] and blocks[1].endswith("<|user|>· a·<|assistant|>[[ b· "
                                                                  "b· b·<|end|>]]")
    encoded, _ = encode([inspector.with_all_roles(row) for row in read([path])[0]], NANO, 64)
    assert "[[ b b b<|end|>]]" in report.example(encoded, NANO)
    assert inspector.main([write(tmp_path, {"prompt": "a"}), "--prompts"]) == 0, \
        "rows that only ask"
    assert token_text(NANO.encode("é x"), NANO, "·") == "é· ·x", \
        "a letter of two tokens stays whole"


# ---- rows that are not understood, and what is said of the others --------------------------------
def test_a_row_that_is_not_understood_is_skipped_by_name_up_to_half_of_them(tmp_path):
    bad = [{"messages": says(U("a"), ("wizard", "b"))}, {"messages": 3}]
    path = write(tmp_path, *[{"messages": says(U("a"), A("b"))}] * 3, *bad)
    rows, (report,) = read([path])
    assert len(rows) == 3 and str(report) == (f"{path}: messages (JSON lines): 3 rows read, 2 "
                                              "skipped: 2 not understood (first: line 4)\n  first "
                                              "row not "
                                              f'understood: {report.wrong} (--strict stops there)')
    assert report.wrong.startswith('line 4: turn 2 of "messages" has the unknown role "wizard"; '
                                   'known are')
    with pytest.raises(UserError, match="my.jsonl, line 4: turn 2"):
        read([path], strict=True)
    path = write(tmp_path, {"messages": says(U("a"), A("b"))}, *bad)
    with pytest.raises(UserError, match="line 2: turn 2 .* .2 of 3 rows are not understood.$"):
        read([path])
    (tmp_path / "my.jsonl").write_bytes(GOOD * 3 + b'{"prompt": "a",\n[1]\n' + GOOD)
    rows, (report,) = read([path])
    assert len(rows) == 4 and "2 not understood (first: line 4)" in str(report) \
        and "broken JSON" in report.wrong


@pytest.mark.parametrize("item, said", [
    ({"prompt": "[INST] a [/INST]", "response": "b"},
     'in 1 rows (first: line 1: "[INST]") a text carries marks of'),
    ({"prompt": "Say it again please.\n", "chosen": "Say it again please. a",
      "rejected": "Say it again please. b"},
     "in 1 rows (first: line 1) the answer begins with the prompt"),
    ({"messages": [*says(U("a")), {**WRONG, "weight": 0}, *says(U("c")), RIGHT]},
     "in 1 rows (first: line 1) turns of the assistant are shown, not trained on"),
    ({**OK, "context": "c"},
     '\n  not learnt from: "context" (a part of the question: join it to the prompt)'),
    ({"messages": [*says(U("a")), {**RIGHT, "mask": True}]},
     '\n  not learnt from: "messages.mask" (how much this'),
    ({"messages": [*says(U("a")), {**RIGHT, "reasoning_content": "hm", "name": "x"}]},
     '"messages.reasoning_content"')])
def test_what_looks_odd_is_said_in_one_line(tmp_path, item, said):
    rows, (report,) = read([write(tmp_path, item)])
    assert len(rows) == 1 and said in str(report) and str(report).count("\n") <= 1


def test_grades_of_another_scale_are_rescaled_aloud(tmp_path):
    path = write(tmp_path, *({**OK, "rating": x} for x in (1, 2, "5", None)))
    rows, (report,) = read([path])
    assert [r.score for r in rows] == [0, 0.25, 1, None]
    assert 'prompt/response with scores ("rating"), 1 to 5 read as 0 to 1 (--grades' in str(report)
    assert contents(rows) == "3 scored answers and 1 unjudged answer"
    with pytest.raises(UserError, match="1 scored answer; una and uft learn from scores$"):
        demo_rows(rows[:1], None)
    rows, _ = read([write(tmp_path, {"prompt": "a", **PAIR})])
    with pytest.raises(UserError, match="the data has 1 pair; --feedback pair .una, uft. learns "
                       "from pairs$"):
        score_rows(rows, None)


GRADES = {  # a field, its values, and what they become; None: not judged
    "label": (["👍", "👎🏽", "👍🏿", "👎️"], [True, False, True, False]),
    "Label": (["Thumbs up", "thumbs-down", "LIKE", "dislike"], [True, False, True, False]),
    "KTO Tag": (["y", "n", "accept", "Rejected"], [True, False, True, False]),
    "score": (["80 %", "4/5", "12,5%", "0/5"], [0.8, 0.8, 0.125, 0]),
    "Rating": (["3,5", "1", "5", 2], [0.625, 0, 1, 0.25]),
    "desirable": ([True, None, False, None], [True, None, False, None]),
    "Reward": ([0.5, None, "100 %", None], [0.5, None, 1, None])}


@pytest.mark.parametrize("name", GRADES)
def test_grades_as_people_write_them(tmp_path, name):
    values, want = GRADES[name]
    rows, _ = read([write(tmp_path, *({"Prompt": "a", "Response": str(i), name: value}
                                      for i, value in enumerate(values)))])
    assert [row.score if row.label is None else row.label for row in rows] == want
    assert [row.unjudged for row in rows] == [value is None for value in want]


@pytest.mark.parametrize("value", ["120 %", "6/5", "1/0", "1,000,000", "1,0000", "-5 %", "3/4/5"])
def test_what_is_no_share_is_no_grade(tmp_path, value):
    assert f'"score" is "{value}", not a number from 0 to 1; --grades' in message(
        tmp_path, [{**OK, "score": value}])


def test_nobody_learns_from_answers_that_nobody_has_judged(tmp_path, capsys):
    """Null in a column of grades; a row without the column is a demonstration, as before."""
    marks = [True] * 3 + [False] * 2 + [None] * 6
    thumbs = [{"prompt": f"q {i}", "response": "a", "label": x} for i, x in enumerate(marks)]
    path = write(tmp_path, *thumbs, {"prompt": "b", "response": "c"})
    for name, feedback, served in (("sft", None, 4), ("kto", None, 5), ("uft", "binary", 6)):
        objective = OBJECTIVES[name]
        hp = objective.hp(feedback=feedback) if feedback else objective.hp()
        train, held = run_rows.load_rows(Train(data=[path], init="x"), objective, hp)
        said = capsys.readouterr().out
        assert len(objective.rows(train + held, hp)) == served, name
        assert ("3 good answers and 2 bad answers and 6 unjudged answers and 1 demonstration "
                "(nobody has judged them yet: not learnt from): " + str(served)) in said, said


def test_rows_that_stand_there_twice_or_against_each_other_are_said(tmp_path, capsys):
    path = write(tmp_path, *({**OK, "label": x} for x in (True, True, False)),
                 {"prompt": "b", "chosen": "c", "rejected": "d"},
                 {"prompt": "b", "chosen": "d", "rejected": "c"}, *({"prompt": x, "response": "r",
                                                                     "label": True} for x in "xyz"))
    run_rows.load_rows(Train(data=[path], init="x"), OBJECTIVES["kto"], OBJECTIVES["kto"].hp())
    said = capsys.readouterr().out
    for words in ("1 rows repeat an earlier row exactly", "1 answers are labelled good in one row "
                  "and bad in another", "1 pairs stand there both ways round"):
        assert words in said


@pytest.mark.parametrize("name, values, said", [
    ("feedback", ("positive", "negative"), 'has 2 "positive", 2 "negative": if it says'),
    ("status", ("approved", "pending"), 'has 2 "approved", 2 "pending": if it says'),
    ("is_fine", (True, False), "has 2 true, 2 false: if it says"),
    ("votes", (1, -1), "has 2 1, 2 -1: if it says"),
    ("stars", (1, 5), '"stars" (a grade: call it score)'),
    ("corrected_response", ("x", "y"), "(another answer: --response-field trains on it"),
    ("topic", ("birds", "trees"), None), ("difficulty", (1, 3), None)])
def test_an_unknown_field_that_may_be_a_grade_is_asked_about(tmp_path, name, values, said):
    _, (report,) = read([write(tmp_path, *({**OK, name: x} for x in values * 2))])
    assert said in str(report) if said else "if it says" not in str(report)


def test_the_name_of_a_file_does_not_steer_the_terminal(tmp_path):
    _, (report,) = read([write(tmp_path, OK, {"prompt": "a"}, OK, name="a\x1b[2Jb.jsonl")])
    assert "\x1b" not in str(report) and "1 not understood" in str(report)


def test_headers_of_a_spreadsheet(tmp_path):
    """Capitals and spaces, said aloud; Excel's first line names the separator."""
    for name, text in (("a.csv", "Question;Answer\nHi;3\n"), ("b.csv", "sep=;\nPrompt;Response"
                       "\nHi;3\n"), ("c.csv", "System Prompt,PROMPT,Completion\n,Hi,3\n")):
        (tmp_path / name).write_text(text)
        rows, (report,) = read([tmp_path / name])
        assert rows == [Row((U("Hi"),), (A("3"),))] and ' read as "' in str(report), name


def test_a_conversation_of_another_form_beside_a_pair_is_no_conversation(tmp_path):
    """distilabel's: lists of "input" and "output" beside "prompt", "chosen" and "rejected"."""
    pair = {"prompt": "a", "chosen": says(U("a"), A("good")), "rejected": says(U("a"), A("bad"))}
    rows, _ = read([write(tmp_path, {**pair, "conversation": [{"input": "a", "output": "x"}]})])
    assert rows == [Row((U("a"),), None, (A("good"),), (A("bad"),))]


def test_held_out_rows_are_those_of_eval_data(tmp_path):
    """On one scale with the rows of --data; also where both are questions of NanoWorld."""
    una, sft, files = OBJECTIVES["una"], OBJECTIVES["sft"], []
    for name, low in (("a.jsonl", 1), ("b.jsonl", 3)):
        rows = [{"prompt": f"{name} {x}", "response": "b", "rating": x} for x in (low, 4, 5)]
        files.append(write(tmp_path, *rows, name=name))
    cfg = Train(data=files[:1], eval_data=files[1:], init="x")
    with pytest.raises(UserError, match="--grades"):
        run_rows.load_rows(cfg, una, una.hp())
    assert {r.score for r in run_rows.load_rows(replace(cfg, grades="1:5"), una, una.hp())[1]} \
        == {0.5, 0.75, 1}
    ours = [{"prompt": r.prompt[0].text, "response": r.answer[0].text}
            for r in world.rows("val", "demos", 5, 0)]
    files = [write(tmp_path, *part, name=f"{i}.jsonl")
             for i, part in enumerate((ours[:3], ours[3:], ours))]
    held = run_rows.load_rows(Train(data=files[:1], eval_data=files[1:2]), sft, sft.hp())[1]
    assert [r.prompt[0].text for r in held] == [x["prompt"] for x in ours[3:]] \
        and all(r.family for r in held)
    held = run_rows.load_rows(Train(data=files[:1], eval_data=files[2:]), sft, sft.hp())[1]
    assert len(held) == 2, "held out means held out"
    with pytest.raises(UserError, match="all its 3 rows are in --data, too"):
        run_rows.load_rows(Train(data=files[2:], eval_data=files[:1]), sft, sft.hp())


def test_one_class_a_given_scale_and_the_longest_row(tmp_path, capsys):
    path = write(tmp_path, *({"prompt": f"{i}", "response": "b " * i, "label": True, "score": 4}
                             for i in range(1, 20)))
    other = write(tmp_path, {"prompt": "20", "response": "c", "label": True}, name="other.jsonl")
    cfg, kto = Train(data=[path], init="x", grades="1:5", max_length=12), OBJECTIVES["kto"]
    rows = run_rows.load_rows(replace(cfg, eval_data=[other]), kto, kto.hp())
    assert list(map(len, rows)) == [19, 1], "all rows of --data are trained on"
    rows = run_rows.load_rows(cfg, kto, kto.hp())
    assert rows[0][0].score == 0.75 and "every answer has the same label" in capsys.readouterr().out
    data = run_rows.encode_rows("kto", cfg, kto.hp(), rows, nano(), NANO)
    assert max(e.length for e in data.train) <= 13 \
        and "longer than --max-length of 12" in capsys.readouterr().out
    with pytest.raises(UserError, match="--grades .5.: give the worst and the best grade"):
        read([path], grades="5")


# ---- containers ----------------------------------------------------------------------------------
def test_csv(tmp_path):
    text = '\ufeffprompt,response,score,note\n"a, ""b""\nc",d,0.5,\n\ne,f,1,x\n'
    (tmp_path / "my.csv").write_text(text, encoding="utf-8")
    rows, (report,) = read([str(tmp_path / "my.csv")])
    assert rows == [Row((U('a, "b"\nc'),), (A("d"),), score=0.5),
                    Row((U("e"),), (A("f"),), score=1.0)]
    assert [r.where[-6:] for r in rows] == ["line 2", "line 5"] \
        and "with scores (CSV): 2 rows read" in str(report)
    for sign in ",;\t":
        (tmp_path / "my.csv").write_text(f"prompt{sign}response\nSay fig.{sign}fig\n")
        assert read([tmp_path / "my.csv"])[0] == [Row((U("Say fig."),), (A("fig"),))]


@pytest.mark.parametrize("one, two, want", [
    ("The sky is blue.", "The sky is green.", ("The sky is", "blue.", "green.")),
    ("Say: carpet", "Say: carton", ("Say:", "carpet", "carton")),  # the answers part inside a word
    ("(carpet)", "(carton)", ("(", "carpet)", "carton)")),  # no space: the edge of a word
    ("A (carpet)", "A (carton)", ("A", "(carpet)", "(carton)")),  # a space before an edge
    ("carpet", "carton", ("", "carpet", "carton"))])
def test_an_implicit_prompt_ends_before_a_whole_word(one, two, want):
    assert shared_beginning(one, two) == want


def test_gzip_and_folders(tmp_path):
    write(tmp_path, OK, name="b.jsonl")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.json.gz").write_bytes(gzip.compress(json.dumps([OK, OK]).encode()))
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"prompt,response\nx,y\n"))
    (tmp_path / "README.md").write_text("not a row")
    (tmp_path / ".cache").mkdir()
    write(tmp_path / ".cache", {"x": 1})
    rows, report = read([str(tmp_path)])
    assert [len(rows), rows[0]] == [4, Row((U("x"),), (A("y"),))]
    assert [str(f).split(": ", 1)[1] for f in report] == [f"prompt/response ({kind}): {n} rows read"
                                                          for kind, n in (("CSV, gzip", 1),
                                                                          ("JSON lines", 1),
                                                                          ("JSON list, gzip", 2))]
    (tmp_path / "deep" / "test").mkdir()
    for name in ("train-00000-of-00002.jsonl", "test.jsonl", "validation-0.jsonl", "test/0.jsonl"):
        write(tmp_path / "deep", OK, name=name)
    assert [Path(f.path).name for f in read([tmp_path / "deep"])[1]] \
        == ["c.json.gz", "train-00000-of-00002.jsonl"]


BAD = {"double.csv": (b"prompt,response,prompt\na,b,c\n",
                      'line 1: two columns are called "prompt"; rename one'),
       "wide.csv": (b"prompt,response\na,b,c\n", "line 2: has 3 cells, and the first line has 2"),
       "quote.csv": (b'prompt,response\na,"b\nc,d\n',
                     "line 2: broken CSV .*a quote that is opened must be closed"),
       "header.csv": (b"prompt,response\n", ": there is no row"),
       "empty.csv": (b"", ": there is no row"),
       "nul.csv": (b"prompt,response\na\0,b\n", ": is a binary file"),
       "names.csv": (b"a,b\n1,2\n", "a CSV file must name its columns in its first line"),
       "no names.csv": (b"yes,yes\nno,yes\n",
                        "line 1: two columns are called \"yes\"; rename one .the first line"),
       "cut.parquet": (b"PAR1abc", "parquet"), "folder/dataset_info.json": (b"{", "saved data set"),
       "folder.arrow": (b"ARROW1", "is an Arrow file; give the folder")}


@pytest.mark.parametrize("extra", [True, False])
@pytest.mark.parametrize("name", BAD)
def test_bad_containers_are_one_line(tmp_path, monkeypatch, name, extra):
    if not extra:  # as if nanouft[hf] was not installed
        for library in ("datasets", "pyarrow.parquet"):
            monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(BAD[name][0])
    path = tmp_path / name.removesuffix("/dataset_info.json")
    with pytest.raises(UserError, match=BAD[name][1]) as e:
        read([path])
    assert str(e.value).startswith(str(path)) and len(str(e.value).splitlines()) == 1
    needs = name in ("cut.parquet", "folder/dataset_info.json")
    assert extra or ("pip install nanouft[hf]" in str(e.value)) == needs


def test_a_name_that_may_be_on_the_hub_is_asked_for_only_there(tmp_path, monkeypatch):
    asked = []

    def load_dataset(name, *config, split):
        asked.append((name, *config, split))
        if split != "train":
            raise ValueError("Unknown split\nnone")
        return [OK, OK, {**OK, "response": None}]
    fake = SimpleNamespace(load_dataset=load_dataset, disable_progress_bars=lambda: None,
                           __version__="4.1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    words = (r"^hub:some/where: a data set on the Hugging Face hub needs datasets, .*: pip install "
             r"nanouft.hf.$")
    with pytest.raises(UserError, match=words):
        read(["hub:some/where"])
    monkeypatch.setitem(sys.modules, "datasets", fake)
    for path in ("some/where", "some/where.jsonl", "/some/where", "./some/where", "a/b/c/d",
                 "x" * 5000):
        with pytest.raises(UserError, match="no such file; check the path|cannot be read"):
            read([path])
    rows, (report,) = read(["hub:some/where"])
    assert len(rows) == 2 and rows[0].where == "hub:some/where, row 1"
    assert str(report).startswith("hub:some/where: prompt/response (data set of the hub): 2 rows "
                                  "read, 1 skipped")
    with pytest.raises(UserError, match="^hub:some/where/main:test: .*of the hub .ValueError: "
                       "Unknown split"):
        read(["hub:some/where/main:test"])
    assert asked == [("some/where", "train"), ("some/where", "main", "test")]
    fake.__version__ = "3.6"
    with pytest.raises(UserError, match="may run code"):
        read(["hub:some/where"])


def test_answers_that_are_json_stay_answers(tmp_path):
    answers = ['{"from": "Paris", "to": "Rome"}', '{"role": "assistant", "content": "hi"}',
               '[{"value": 1}]']
    rows, _ = read([write(tmp_path, *({"prompt": "a", "response": answer} for answer in answers))])
    assert [r.answer for r in rows] == [(A(answer),) for answer in answers]


def test_parquet_and_saved_data_sets(tmp_path):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    items = [{"messages": [{**turn, "weight": None} for turn in says(U("a"), A(x))], "label": True}
             for x in "bc"]
    want = [Row((U("a"),), (A(x),), label=True) for x in "bc"]
    table = datasets.table.pa.Table.from_pylist(items)
    datasets.table.pa.parquet.write_table(table, tmp_path / "train.parquet")
    found = datasets.Dataset(datasets.table.InMemoryTable(table), fingerprint="own")
    rows, (report,) = read([tmp_path])
    assert rows == want and "messages with labels (parquet): 2 rows read" in str(report)
    found.save_to_disk(tmp_path / "one")
    datasets.DatasetDict(train=found, test=found).save_to_disk(tmp_path / "two")
    datasets.DatasetDict(test=found).save_to_disk(tmp_path / "none")
    for name in ("one", "two"):
        assert read([tmp_path / name])[0] == want
    with pytest.raises(UserError, match="none: has no split called train; name the folder of one "
                       ".test"):
        read([tmp_path / "none"])
    assert read([tmp_path / "none" / "test"])[0] == want


# ---- reading is the inverse of writing -----------------------------------------------------------
text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).map(str.strip).filter(bool)
tricky = st.one_of(text, st.sampled_from([
    "a\u2028b", "a\u2029\x85b", "a\r\n x", "\ufeffa", '"]}\n{"', "<|end|>", "\x00a", "\x1c a"]))


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
        return {"prompt": talk[0].text, "response": one,
                **extra}, Row((talk[0],), (A(one),), **extra)
    kind = draw(st.sampled_from(["messages", "pairs", "prompt"]))
    return [item() for _ in range(draw(st.integers(1, 4)))]


@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some_rows(), st.booleans(), st.booleans(), st.booleans(), st.booleans(),
       st.sampled_from([None, 2]))
def test_written_rows_come_back(tmp_path, pairs, as_list, mark, crlf, ascii_only, indent):
    items = [item for item, _ in pairs]
    if as_list:
        content = json.dumps(items, ensure_ascii=ascii_only, indent=indent)
    else:
        # blank lines between
        content = "\n\n".join(json.dumps(item, ensure_ascii=ascii_only) for item in items)
    content = content.replace("\n", "\r\n") if crlf else content
    path = tmp_path / "rows"
    path.write_bytes(b"\xef\xbb\xbf" * mark + content.encode())
    rows, report = read([path])
    assert rows == [row for _, row in pairs]
    assert report[0].read == len(rows) and not report[0].skipped


@settings(max_examples=100, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_cut_or_damaged_files_never_crash(tmp_path, data):
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


json_values = st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=3)
                           | st.just(U("a")._asdict()), lambda x: st.lists(x, max_size=3)
                           | st.dictionaries(st.sampled_from(["role", "content", "from", "value"]),
                                             x, max_size=3), max_leaves=5)
fields = st.sampled_from(("messages conversations instruction input output prompt response chosen "
                          "rejected label score system").split())


@settings(max_examples=300, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(fields, json_values | st.just(says(U("a"), A("b"))), max_size=6),
                min_size=1, max_size=2))
def test_wrong_types_never_crash(tmp_path, items):
    path = tmp_path / "rows"
    path.write_text(json.dumps(items), encoding="utf-8")
    try:
        for row in read([path])[0]:
            assert row.prompt and (row.answer or row.chosen) \
                and bool(row.chosen) == bool(row.rejected)
            for answer in filter(None, (row.answer, row.chosen, row.rejected)):
                assert answer[0].role == answer[-1].role == "assistant"
    except UserError as e:
        assert len(str(e).splitlines()) == 1


# ---- which sequences stand together, and which are held out --------------------------------------
def test_demo_rows():
    p, b = (U("a"),), (A("b"),)
    rows = [Row(p, b), Row(p, b, label=True), Row(p, b, unjudged=True),
            Row(p, None, (A("c"),), (A("d"),), family="f", where="w"), Row(p, b, score=1.0),
            Row(p, b, label=False), Row(p, b, (A("c"),), (A("d"),))]
    out = demo_rows(rows, None)
    assert [row.roles["answer"] for row in out] == [(p, b), (p, b), (p, (A("c"),)), (p, b)]
    assert (out[2].family, out[2].where, out[2].score, out[2].label, out[2].p) \
        == ("f", "w", None, None, None)
    with pytest.raises(UserError, match="needs demonstrations .*; the data has 1 scored answer and "
                       "2 bad answers"):
        demo_rows([rows[4], rows[5], rows[5]], None)


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
    assert [len(holdout(rows[:n])[1]) for n in (2, 7, 100, 1000, 2000, 3000)] \
        == [1, 1, 10, 100, 200, 200]
    assert len(holdout(rows, share=0.05)[1]) == 150 and holdout(rows[:1]) == (rows[:1], [])
    assert holdout(rows)[1][0] == rows[49]  # the same on every machine, today and in a year


@pytest.mark.parametrize("name, text, words", [
    ("last.jsonl", '{"messages": [{"role": "user", "content": "Fern?"}, {"role": "assistant", '
     '"content": "Shade."}, {"role": "user", "content": "And roses?"}]}', "it is left out"),
    ("two.json", '{"data": [{"prompt": "a", "response": "b"}],\n"old": [{}]}', 'not read: "old"'),
    ("nan.csv", "prompt,response\na,b\nc,nan", 'an answer is "nan": an empty cell?'),
    ("rank.jsonl", '{"prompt": "a", "response": "b", "rank": 1}', "the best is highest"),
    ("bad.jsonl", '{"prompt": "a", "response": "b", "is_bad": true}\n'
     '{"prompt": "c", "response": "d", "is_bad": false}', "write the opposite into label")])
def test_what_may_be_meant_otherwise_is_said(tmp_path, name, text, words):
    (tmp_path / name).write_text(text)
    _, (report,) = read([str(tmp_path / name)])
    assert words in str(report)


@pytest.mark.parametrize("row, better", [
    ({"prompt": "a", "response_a": "b", "response_b": "c", "winner": "B"}, "c"),
    ({"conversation_a": '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]',
      "conversation_b": '[{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]',
      "winner": "model_a"}, "b")])
def test_two_answers_and_a_winner_are_a_pair(tmp_path, row, better):
    (tmp_path / "arena.jsonl").write_text(json.dumps(row))
    rows, _ = read([str(tmp_path / "arena.jsonl")])
    assert rows[0].prompt[0].text == "a" and rows[0].chosen[0].text == better
