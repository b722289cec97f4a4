"""From a person's rows to those of a method: each form is read, each mistake is named, and no field
is lost without a line."""
import json
import os
import re
import shutil
from ast import literal_eval
from decimal import Decimal
from functools import cache
from itertools import product
from pathlib import Path

import golden
import numpy as np
import pytest
import torch
from commands import call, change_behind_its_time, no_pictures
from made import say, write_jsonl

from nanouft import world
from nanouft.data.fields import FIELDS, NAMES, READ_FOR
from nanouft.data.files import dataset_rows, items
from nanouft.data.holdout import holdout
from nanouft.data.report import NOT_READ, grade_note, unread_fields, why_skipped
from nanouft.data.rows import Row, as_rows, read, read_dataset, usable
from nanouft.data.selection import CHOOSE, NoRows
from nanouft.models.tokenizer import Turns
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import reasons


# ---- a row -> what is read -----------------------------------------------------------------------
def in_words(turns: Turns, trained: bool) -> str:
    """ "user: Hi / assistant: Ho", or "[Ho] / user: Bye / [Ciao]" if the answers are trained on."""
    texts = [f"[{text}]" if trained and role == "assistant" else f"{role}: {text}"
             for role, text in turns]
    return "".join(x if x.isprintable() else repr(x)[1:-1] for x in " / ".join(texts))


def as_text(row: Row) -> str:
    """What a method makes of a row: its question, its answers, its grade."""
    (context, _), *_ = row.roles.values()
    said = [f"{role} " * (len(row.roles) > 1) + in_words(turns, True)
            for role, (_, turns) in row.roles.items()]
    grades = [f"{name} {x:g}" for name in ("label", "score", "p")
              if (x := getattr(row, name)) is not None]
    return "   ".join(filter(None, [in_words(context, False), *said, *grades]))


def made_of(rows: list, kind: str) -> str:
    """What methods of this kind make of rows, in lines."""
    try:
        found, skipped = read_dataset(rows, [kind], "rows")
    except UserError as e:
        return f"refused: {e}"
    try:
        chosen = CHOOSE[kind](found)
    except NoRows:
        chosen = []
    used = {row.where for row in chosen}
    skipped += [(row.where, why_skipped(row, [kind])) for row in found if row.where not in used]
    texts = [*map(as_text, chosen)]
    if not all(why.endswith(NOT_READ) for _, why in skipped):
        texts.append(f"skipped: {reasons(skipped)}")
    if chosen and (ignored := unread_fields(found, [kind], chosen)):
        texts.append(f"ignored: {ignored}")
    return ("   " if len(chosen) < 2 else "\n  ").join(texts)


def of_one_row(text: str) -> str:
    """Without the place and the number of a row that is alone."""
    text = re.sub(r" \(1 row\)|, as in rows, row 1|rows, row 1: |rows: |\b1: ", "", text)
    return re.sub(r"refused: no usable training rows \((.*)\)", r"skipped: \1", text)


@pytest.mark.parametrize("given", golden.read("rows_read"), ids=lambda line: line[:60])
def test_each_kind_of_method_reads_a_row_or_says_why_not(given, recorded):
    only, rows = re.fullmatch(r"(?:(\w+): )?(.*)", given).groups()
    rows = json.loads(rows)
    kinds: dict[str, list[str]] = {}
    for kind in [only] if only else READ_FOR:
        text = made_of(rows, kind) if isinstance(rows, list) else of_one_row(made_of([rows], kind))
        kinds.setdefault(text, []).append(kind)
    recorded("rows_read", given, "\n".join(
        f"{'all' if len(of) == len(READ_FOR) else ', '.join(of)}: {text}"
        for text, of in kinds.items() if text))


PLACES = [{}, {"prompt": "a", "response": "b"}, {"prompt": "a", "response": "b", "label": 1},
          {"prompt": "a", "response": "b", "score": 0.5},
          {"prompt": "a", "chosen": "good", "rejected": "bad"},
          {"prompt": "a", "response": "b", "chosen": "good", "rejected": "bad"},
          {"prompt": "a", "chosen": "good", "rejected": "bad", "score_chosen": 0.5,
           "score_rejected": 0.25}, {"prompt": "a"}]
PLACES += [{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
           | more for more in ({}, PLACES[4], {"system": "s"})]
PLACES += [{side: [{"role": "user", "content": "a"}, {"role": "assistant", "content": side}]
            for side in ("chosen", "rejected")}]
TEXT = {"type": "text", "text": "zebra"}
VALUES = ["zebra", *([{"role": role, "content": "zebra"}] for role in ("system", "user",
          "assistant")), {"role": "assistant", "content": "zebra"}, 0, 1, True, [1, 2], [TEXT],
          [TEXT | {"type": "reasoning"}], [TEXT | {"weight": 0}], ["zebra"], {"zebra": 1}]
NUMBERS = ["label", "score", "p", "score_chosen", "score_rejected", "weight", "train"]


@cache
def parsed(item: str) -> list:
    return as_rows([("dataset, row 1", json.loads(item))])


def learned(item: dict, kind: str) -> tuple[str, str]:
    """(all that a method of this kind learns from a row, the fields that it names as not read);
    what is learned is "nothing" if no method can use the row, and "" if the row is refused."""
    try:
        rows, _ = usable(parsed(json.dumps(item)), [kind], "dataset")
        chosen = CHOOSE[kind](rows)
    except NoRows:
        return "nothing", str(rows[0].unread)
    except UserError as e:
        assert "dataset, row 1: " in str(e) or "no usable training rows (1" in str(e)
        return "", str(e)
    return "\n".join(map(as_text, chosen)), unread_fields(rows, [kind], chosen)


@pytest.mark.parametrize("kind", READ_FOR)
@pytest.mark.parametrize("field", [*FIELDS, *NAMES, "solution"])
def test_a_field_of_any_type_is_trained_refused_or_named(field, kind):
    """A number may change nothing only where another number of the same field does: label 1 of a
    demonstration, as label 0 takes it out."""
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
        found, said = learned({"messages": [{"role": "user", "content": "a"}, answer]}, "demos")
        assert not found or re.search(rf"\b{name}\b", said), (name, value)


# ---- where rows come from ------------------------------------------------------------------------
@pytest.mark.parametrize("given", golden.read("rows_of_files"), ids=lambda line: line[:40])
def test_a_file_gives_its_rows_or_one_line(given, recorded, tmp_path, monkeypatch, capsys):
    name, _, content = given.partition(" ")
    content = literal_eval(content)
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    try:
        rows, _ = read(name)
    except UserError as e:
        recorded("rows_of_files", given, str(e))
        return
    texts = [f"{row.where}: " + as_text(row.with_roles({"": (row.prompt, row.answer or ())},
                                                       label=row.label)) for row in rows]
    ignored = unread_fields(rows, ["labels"])
    recorded("rows_of_files", given, "\n".join([
        capsys.readouterr().out.strip(), *texts, f"ignored: {ignored}" * bool(ignored)]).strip())


def test_rows_in_memory_may_hold_what_pandas_and_torch_make():
    pandas = pytest.importorskip("pandas")
    talk = [{"role": "user", "content": "a"},
            {"role": "assistant", "content": "x", "weight": np.int64(0)},
            {"role": "user", "content": np.array([{"type": "text", "text": "c"}], object)},
            {"role": "assistant", "content": "d"}]
    mixed = {"messages": np.array(talk, object), "system": pandas.NA, "score": np.float64(1),
             "label": np.bool_(True), "embedding": np.ones(3), "more": torch.ones(2)}
    plain = {"prompt": "a", "response": "b", "score": Decimal("0.50")}
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    for given, kind, told in (
            ([mixed], "scores", "user: a / masked: x / user: c   [d]   score 1"),
            ([plain | {"score": pandas.NA}, plain], "scores",
             "user: a   [b]   score 0.5   skipped: 1: a grade is null or empty, as in rows, row 1"),
            ([plain | {"label": Decimal("0.5")}], "labels", "refused: rows, row 1: \"label\" is "
             "\"Decimal 0.5\"; expected true or false, or 1 or 0; call a grade \"score\""),
            (pandas.DataFrame([plain, pair]), "pairs", "user: a   chosen [b]   rejected [c]"),
            ({"prompt": ["a", "a"], "response": np.array(["b", "c"]), "label": (1, 0)}, "labels",
             "user: a   [b]   label 1\n  user: a   [c]   label 0"),
            ({"prompt": ["a", "b"], "response": ["c"]}, "demos",
             "refused: rows: its columns differ in length (prompt: 2, response: 1)"),
            ({"train": [plain], "test": [plain]}, "demos", "refused: rows: is a dictionary of "
             "splits (train, test); give one of them, or a list of dictionaries"),
            (pandas.DataFrame([["a", "b"]]), "demos", "refused: rows: no usable training rows (1: "
             "no prompt, or an empty one, among the fields 0, 1, as in rows, row 1)")):
        assert made_of(given, kind).partition("   ignored")[0].startswith(told)


def texts_by(doors: list, name: str = "x") -> list[list]:
    """What each door (its name, or a Dataset) gives of this field."""
    return [[row[name] for _, row in (
        items(door) if isinstance(door, str) else dataset_rows(door, ""))] for door in doors]


def write_table(file: Path, made) -> None:
    """A Dataset as a file of the form that its name says."""
    file.parent.mkdir(exist_ok=True)
    {".csv": made.to_csv, ".jsonl": made.to_json, ".parquet": made.to_parquet}[file.suffix](file)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_every_door_gives_what_the_file_gives(form, tmp_path, datasets):
    """Also "NA", of which a library would make null, and messages."""
    words = ["NA", "None", "null", "nan", "-", 'a "b" c', "a, c\td"]
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    made = datasets.Dataset.from_list([
        {"x": x} if form == "csv" else {"x": x, "messages": talk} for x in words])
    file = tmp_path / "mine" / f"train.{form}"
    write_table(file, made)
    other = tmp_path / ("other" if os.name == "nt" else "a:b")     # where a name may have a colon
    shutil.copytree(file.parent, other)
    doors = [str(file), f"hub:{tmp_path / 'mine'}:train[:9]", made, f"hub:{other}",
             *(made.with_format(of) for of in ("pandas", "arrow", "numpy", "torch")),
             made.data.table]
    assert texts_by(doors) == [words] * 9
    assert form == "csv" or texts_by(doors, "messages") == [[talk] * 7] * 9
    assert [*file.parent.iterdir()] == [file], "no copy of the library beside it"


def test_a_class_is_its_name_by_every_door(tmp_path, datasets):
    """Its number may mean the opposite: `datasets` sorts the names, so bad is 0 and correct, too.
    Also where a csv has the numbers and its card the names. A row without one has -1 there, which
    Python takes for the last name."""
    names = ["incorrect", "correct"]
    made = datasets.Dataset.from_list([{"x": i} for i in (0, 1, -1)], features=(
        datasets.Features({"x": datasets.ClassLabel(names=names)})))
    write_table(tmp_path / "table" / "train.parquet", made)
    write_table(tmp_path / "text" / "train.csv", made)
    card = ("---\ndataset_info:\n  features:\n  - name: x\n    dtype:\n      class_label:\n"
            "        names: {'0': incorrect, '1': correct}\n---\n")
    (tmp_path / "text" / "README.md").write_text(card)
    assert texts_by([str(tmp_path / "table" / "train.parquet"), f"hub:{tmp_path / 'table'}",
                     f"hub:{tmp_path / 'text'}", made]) == [[*names, -1]] * 4
    change_behind_its_time(tmp_path / "text" / "README.md", "1': correct", "1': perfect")
    assert texts_by([f"hub:{tmp_path / 'text'}"]) == [["incorrect", "perfect", -1]]


def test_a_folder_is_read_as_it_is_now_whatever_its_time(tmp_path, datasets):
    """`datasets` keeps a copy of what it has read, and knows it by the name and the time."""
    for words in (["oak", "elm"], ["fig", "bee"], ["fig", "bee", "ant"]):
        file = tmp_path / "mine" / "train.jsonl"
        write_table(file, datasets.Dataset.from_list([{"x": x} for x in words]))
        os.utime(file, (315532800, 315532800))
        assert texts_by([f"hub:{tmp_path / 'mine'}"]) == [words]


def test_a_split_of_the_hub_is_that_of_datasets(tmp_path, datasets):
    for part in ("train", "test"):
        write_jsonl(tmp_path / f"{part}.jsonl", [{"x": f"{part} {i}"} for i in range(20)])
    for config, split in ((None, ""), (None, "test[:7]"), ("default", "test"),
                          ("default", "test[5:25%]+train[-3:]")):
        wanted = datasets.load_dataset(str(tmp_path), config, split=split or "train")["x"]
        door = ":".join(["hub", str(tmp_path), *filter(None, [config]), split])
        assert texts_by([door]) == [[*wanted]]
    with pytest.raises(UserError, match='Unknown split "no". Should be one of'):
        read(f"hub:{tmp_path}:no")


def test_what_a_library_cannot_read_is_one_line(tmp_path, datasets):
    from pyarrow import parquet, table
    for name, columns in (("twice", ["x", "x"]), ("a", ["chosen"]), ("b", ["rejected"])):
        parquet.write_table(table([["a"]] * len(columns), columns), tmp_path / f"{name}.parquet")
    with pytest.raises(UserError, match='two columns are called "x"'):
        read(str(tmp_path / "twice.parquet"))
    (tmp_path / "twice.parquet").write_text("PAR1")
    with pytest.raises(UserError, match=r"twice.parquet: cannot be read \(Arrow"):
        read(str(tmp_path / "twice.parquet"))
    (tmp_path / "twice.parquet").unlink()
    with pytest.raises(UserError, match="rejected: string"):            # columns of one file alone
        read(f"hub:{tmp_path}")
    tmp_path = tmp_path.rename(f"{tmp_path}[1]")
    with pytest.raises(UserError, match="square brackets"):
        read(f"hub:{tmp_path}")


@pytest.mark.parametrize("names, told", [
    ("a.jsonl", ""), ("a.jsonl b.csv c.csv", "reads b.csv, c.csv and ignores a.jsonl"),
    ("night-train.jsonl x/y.jsonl", "reads night-train.jsonl and ignores x/y.jsonl"),
    ("a.jsonl a.jsonl.bak .b.jsonl", "reads a.jsonl, a.jsonl.bak")])
def test_what_datasets_leaves_out_of_a_folder_of_yours_is_named(names, told, tmp_path, datasets,
                                                                capsys):
    for name in names.split():
        (tmp_path / "mine" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "mine" / name).write_text(
            "prompt\nHi\n" if name.endswith("csv") else '{"prompt": "Hi"}\n')
    read([f"hub:{tmp_path / 'mine'}"])
    assert capsys.readouterr().out.strip().partition("`datasets` ")[2] == told


# ---- which rows are held out ---------------------------------------------------------------------
def asked(*questions: str) -> list[Row]:
    return [Row(say("user", question)) for question in questions]


@pytest.mark.parametrize("one, other", [
    ("question {}", " Question\t  {}\n"), ("caf\u00e9 {}", "CAFE\u0301 {}"),
    ("straße {}", "STRASSE {}"), ("Hi {}", "Hi {}|Ho|And?")])
def test_rows_with_one_first_question_are_held_out_together(one, other):
    """By a hash: the same on every machine, in any order; white space and letter case aside. The
    last of these goes on with the same dialogue."""
    rows = []
    for i, form in product(range(400), (one, other)):
        first, *more = form.format(i).split("|")
        talk = [turn for role, text in zip(("assistant", "user"), more) for turn in say(role, text)]
        rows.append(Row((*say("system", "S"), *say("user", first), *talk), where=f"row {i}"))
    train, held = holdout(rows)
    assert not {r.where for r in train} & {r.where for r in held}
    assert len(train) + len(held) == 800 and len(held) == 80
    assert {id(r) for r in holdout(rows[::-1])[1]} == {id(r) for r in held}


def test_a_tenth_is_held_out_and_one_question_at_least_is_learned():
    some = asked(*(f"question {i}" for i in range(3000)))
    assert [len(holdout(some[:n])[1]) for n in (2, 7, 100, 1000, 3000)] == [1, 1, 10, 100, 200]
    assert holdout(some[:1]) == (some[:1], []) and holdout(some)[1][0] == some[49]
    greeted = asked(*("Hello", "hello ") * 20)
    assert not {*greeted} & {*holdout(some[:200] + greeted)[1]}, "40 are more than a tenth"


def test_held_out_rows_that_are_trained_on_are_counted_and_never_called_others(here, capsys):
    """By this run, or by a run before it, whatever the files are called; so says evaluate."""
    rows = [{"prompt": f"Say {i}.", "response": "fig"} for i in range(9)]
    write_jsonl(here / "all.jsonl", rows[:8] + [{"prompt": " say  8. ", "response": "bee"}])
    write_jsonl(here / "held.jsonl", rows[4:])
    write_jsonl(here / "new.jsonl", [{"prompt": f"Eat {i}.", "response": "fig"} for i in range(3)])
    leak = "5 of 5 held-out prompts are also trained on"

    def says(line: str) -> str:
        assert call(line) == 0
        return capsys.readouterr().out
    for line, told in (("first --init start --data all.jsonl --eval-data held.jsonl", True),
                       ("second --init first --data new.jsonl --eval-data held.jsonl", True),
                       ("third --init first --data new.jsonl", False)):
        with no_pictures():
            out = says("train --objective sft --steps 1 --batch-size 2 --out " + line)
        assert out.count(leak) == 2 * told and ("not trained on" in out) != told
    for model in ("first", "second"):
        assert f"{model}: {leak}" in says(f"evaluate {model} --data held.jsonl --items 0")
    assert leak[6:] not in says("evaluate first --data new.jsonl --items 0")
    os.rename("first", "base")          # a name that stays that of the shipped model
    assert leak not in says("evaluate base --data held.jsonl --items 0")


# ---- what `nanouft.data` tells -------------------------------------------------------------------
@pytest.mark.parametrize("line", golden.read("rows_shown"))
def test_data_shows_what_a_run_would_learn_skip_and_change(line, recorded, monkeypatch, capsys):
    monkeypatch.chdir(Path(__file__).with_name("rows"))
    assert call(line) == 0
    recorded("rows_shown", line, re.sub(r"(read|refused) by (\w+)(,\s+\w+)*", r"\1 by \2...",
                                        capsys.readouterr().out))


@pytest.mark.parametrize("good, bad, weights, line", [
    (11, 1, (1, 11), ""), (1, 11, (2, 0.5), "1 good response and 11 bad: --desirable-weight 5.5 ")])
def test_the_weights_that_are_given_count_where_good_and_bad_answers_are_balanced(good, bad,
                                                                                 weights, line):
    told = grade_note([Row(label=1.0)] * good + [Row(label=0.0)] * bad, weights)
    assert told.startswith(line) and bool(told) == bool(line)


# ---- nanouft.data --keep -------------------------------------------------------------------------
def test_the_likeliest_demonstrations_are_kept_in_their_order_with_all_their_fields(
        tmp_path, monkeypatch):
    """The base knows NanoWorld's facts, so those that it finds likeliest are right."""
    monkeypatch.chdir(tmp_path)
    noisy, clean = (world.rows("train", "demos", 40, 0, noise, ("fact",)) for noise in (0.4, 0.0))
    right = [row.answer[0].text for row in clean]
    rows = [{"question": row.prompt[0].text, "response": row.answer[0].text, "number": i}
            for i, row in enumerate(noisy)]
    write_jsonl(tmp_path / "my.jsonl", rows)
    assert call("data my.jsonl --keep 0.5 --by base") == 0
    text = Path("out/kept/demos.jsonl").read_text("utf-8")
    kept = [json.loads(line) for line in text.splitlines()]
    assert len(kept) == 20 and kept == [row for row in rows if row in kept]
    assert all(row["response"] == right[row["number"]] for row in kept)
    assert sum(row["response"] == text for row, text in zip(rows, right)) < 30
