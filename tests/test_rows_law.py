"""The table of all fields in docs/data.md, asked of the reader: a field that can change what is
trained is trained or refused, with its file, line and name. Only others may be named as not read.
"""
import csv
import json
import os
import re
from functools import cache
from itertools import product
from pathlib import Path

import pytest
from made import LETTERS, write_jsonl

from nanouft.data.files import dataset_rows, items
from nanouft.data.report import report_use, unread_fields
from nanouft.data.rows import Row, read, read_dataset
from nanouft.data.selection import CHOOSE, NoRows
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.errors import UserError

DATA = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
ASK, SO = {"role": "user", "content": "ask"}, {"role": "assistant", "content": "so"}
PLACES = {      # what stands beside the field, and the method that reads it if none is named
    "nothing": ({}, "grpo"), "an answer": ({"prompt": "ask", "response": "so"}, "sft"),
    "an answer with a score": ({"prompt": "ask", "response": "so", "score": 0.5}, "una"),
    "a pair": ({"prompt": "ask", "chosen": "yes", "rejected": "no"}, "dpo"),
    "a pair without a question": ({"chosen": [ASK, SO], "rejected": [ASK, SO | {"content": "no"}]},
                                  "dpo"),
    "messages with an answer": ({"messages": [ASK, SO]}, "sft"),
    "messages with a system prompt": ({"messages": [{"role": "system", "content": "Be kind."}, ASK,
                                                    SO]}, "sft"),
    "a question as text": ({"prompt": "ask"}, "grpo"),
    "a question as messages": ({"prompt": [ASK]}, "grpo")}
METHODS = {"sft": "demos", "dpo": "pairs", "gdpo": "pairs", "kto": "labels", "una": "scores",
           "grpo": "prompts"}
SAME = [{"prompt", "question", "instruction"}, {"response", "completion", "answer", "output"}]
ANSWERS = {*SAME[1], "chosen", "rejected"}
COLUMNS = ["text", "messages, or one", "parts", "number", "true, false", "other"]


def values(field: str, column: str) -> list:
    """What a field may hold; the text to look for is "zebra"."""
    role = "system" if field == "system" else "assistant" if field in ANSWERS else "user"
    message = {"role": role, "content": "zebra"}
    return {"text": ["zebra"], "messages, or one": [message, [message]], "number": [0, 1],
            "parts": [[{"type": "text", "text": "zebra"}]], "true, false": [True, False],
            "other": [[1, 2], ["zebra"], {"zebra": 1}]}[column]


def read_table() -> tuple[dict[tuple[str, str, str, str], str], set[str], set[str]]:
    """({(field, what stands beside it, method, column): outcome}, the first field of each row,
    fields that are numbers)."""
    told, first, numbers, fields = {}, set(), set(), []
    text = DATA.partition("### Every field in every form")[2].partition("|---|\n")[2]
    for line in text.partition("\n\n")[0].split("\n"):
        names, places, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        fields = re.findall(r"`(\w+)`", names.partition(", the ")[0]) or fields
        first.add(fields[0])
        numbers.update(fields if "0" in names else ())
        for field, place in product(fields, places.split("; ")):
            place, _, method = place.partition(", for ")
            method = method.strip("`") or PLACES[place][1]
            told |= {(field, place, method, column): cell
                     for column, cell in zip(COLUMNS, cells, strict=True)}
    return told, first, numbers


TOLD, FIRST, NUMBERS = read_table()


def beside(field: str, place: str, method: str, column: str) -> dict:
    """The fields of a row but this one; another name for the same text gives way to it."""
    item = dict(PLACES[place][0])
    if "prompt" in item:                                # each name of a question in its turn
        name = ["prompt", "question", "instruction"][COLUMNS.index(column) % 3]
        item = {name: item.pop("prompt"), **item}
    if method == "kto" and place == "an answer":
        item["label"] = 1
    if field in ("score_chosen", "score_rejected") and method == "una":
        item |= {"score_chosen": 0.9, "score_rejected": 0.1}
    if field in ("chosen", "rejected"):
        item |= {"chosen": "yes", "rejected": "no"}
    gone = next((same for same in SAME if field in same), {field})
    if field in ("messages", "conversations"):
        gone = SAME[0]
    return {name: x for name, x in item.items() if name not in gone}


def write(file: Path, item: dict) -> str:
    """One row as a file of this form, in a folder that may be new."""
    file.parent.mkdir(exist_ok=True)
    if file.suffix == ".jsonl":
        write_jsonl(file, [item])
    elif file.suffix == ".json":
        file.write_text(json.dumps([item, item], indent=1), encoding="utf-8")
    elif file.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet
        parquet.write_table(pyarrow.Table.from_pylist([item]), file)
    else:
        with open(file, "w", encoding="utf-8", newline="") as out:
            table = csv.writer(out, delimiter="\t" if file.suffix == ".tsv" else ",")
            table.writerows([item, item.values()])
    return str(file)


def what_is_trained(rows: list[Row], method: str) -> tuple[list, str]:
    """(text, mask and grades of each row, what the run says of its fields)."""
    kinds = [METHODS[method]]
    try:
        chosen = OBJECTIVES["gdpo"]().choose(rows) if method == "gdpo" else CHOOSE[kinds[0]](rows)
    except NoRows:
        return [], ""
    used = {"used": (rows, {r.where for r in chosen})}
    said = [report_use(used, [], {}, kinds), unread_fields(rows, kinds, chosen)]
    encoded = [[*map(LETTERS.chat, *zip(*r.roles.values()))] for r in chosen]
    return [[*((LETTERS.decode(ids), mask) for ids, mask in some), r.score, r.label, r.p]
            for some, r in zip(encoded, chosen)], "\n".join(said)


@cache
def trained_without(field: str, place: str, method: str, column: str) -> list:
    try:
        rows, _ = read_dataset([beside(field, place, method, column)], [METHODS[method]])
        return what_is_trained(rows, method)[0]
    except UserError:
        return []


def outcome(file: str, without: list, field: str, method: str) -> str:
    """trained, refused or named; or what went wrong."""
    try:
        rows, _ = read([file], [METHODS[method]])
    except UserError as e:
        if "no row to learn from" in str(e):
            return "left out"
        place = re.search(r"(line|row|item) 1\b", str(e)) and Path(file).name in str(e)
        return "refused" if place and f'"{field}"' in str(e) else f"refused without its name: {e}"
    found, said = what_is_trained(rows, method)
    if found in (without, without * 2):                         # a list has the row twice
        return "named" if re.search(rf"\b{field}\b", said) else "lost without a line"
    return "trained" if "zebra" in str(found) or field in NUMBERS else "changes something else"


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_a_field_that_can_change_what_is_trained_is_trained_or_refused(form, tmp_path):
    """Each name in JSON lines, and the first of each row of the table in the other forms. In a CSV
    messages that became a text are refused, or named."""
    wrong, flat = [], form in ("csv", "tsv")
    for (field, place, method, column), told in TOLD.items():
        item, is_number = beside(field, place, method, column), field in NUMBERS
        if form != "jsonl" and field not in FIRST or flat and (
                column == "other" or any(isinstance(x, list) for x in item.values())
                or column in ("number", "true, false") and not is_number):
            continue
        without, got = trained_without(field, place, method, column), set()
        for value in values(field, column):
            file = tmp_path / f"{field}-{len(os.listdir(tmp_path))}.{form}"
            write(file, item | {field: str(value) if flat else value})
            got.add(outcome(str(file), without, field, method))
        if flat and not is_number and column in ("messages, or one", "parts"):
            told = TOLD[field, place, method, "text"]
            got = {told} if got == {"refused"} else got & {"named"} or {"trained as letters"}
        if is_number and told == "trained":     # 0 may leave a row out, and 1 change nothing
            got = {"trained"} if got & {"trained", "left out"} else got
        wrong += [(field, place, method, column, told, got)] * (got != {told})
    assert not wrong, "\n".join(map(str, wrong))


ODD = ["NA", "None", "null", "nan", "2024-01-02", "2024-01-02T10:00:00", "007", "1e5", "42", "true",
       "-", 'a "b" c', "a\nb, c\td"]


@pytest.mark.parametrize("column", [*COLUMNS, "odd texts"])
@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_every_door_gives_what_the_file_gives(form, column, tmp_path, monkeypatch):
    """`hub:` and a Dataset in memory, whose library would make null of "NA" and a date of a text.
    The place in the file is named too."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    item = ({f"field {i}": text for i, text in enumerate(ODD)} if column == "odd texts" else
            {field: values(field, column)[-1] for field in sorted(FIRST)})
    if form in ("csv", "tsv"):
        item = {field: str(x) for field, x in item.items()}
    file = write(tmp_path / "mine" / f"train.{form}", item)
    found = [*items(file)]
    assert len(found) == 1 + (form == "json")
    if form == "jsonl" or column == "odd texts":
        assert found[0][1] == item
    of_hub = [*items(f"hub:{tmp_path / 'mine'}:train[:100]")]
    assert [x for _, x in of_hub] == [x for _, x in found]
    assert form == "parquet" or [where for where, _ in of_hub] == [f"hub:{x}" for x, _ in found]
    if form == "parquet":
        in_memory = datasets.Dataset.from_list([item])
        assert [x for _, x in dataset_rows(in_memory, "")] == [x for _, x in found]


@pytest.mark.parametrize("names, labels", [
    (["good", "bad"], None), (["incorrect", "correct"], None), (["neg", "pos"], None),
    (["0", "1"], [0, 1]), (["1", "0"], [1, 0]), (["False", "True"], [0, 1])])
def test_a_class_is_its_name_by_every_door(names, labels, tmp_path, monkeypatch):
    """Its number may mean the opposite: `datasets` sorts the names, so bad is 0 and correct, too.
    Also in lists and messages, and where a csv has the numbers and its card the names."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    text, of_class = datasets.Value("string"), datasets.ClassLabel(names=names)
    made = datasets.Dataset.from_list(
        [{"prompt": "ask", "response": "so", "label": i, "votes": [{"vote": i}, {"vote": None}]}
         for i in (0, 1)], features=datasets.Features({
             "prompt": text, "response": text, "label": of_class, "votes": [{"vote": of_class}]}))
    for form in ("table", "text"):
        (tmp_path / form).mkdir()
    made.to_parquet(tmp_path / "table" / "train.parquet")
    made.remove_columns("votes").to_csv(tmp_path / "text" / "train.csv")
    (tmp_path / "text" / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - {name: prompt, dtype: string}\n"
        "  - {name: response, dtype: string}\n  - name: label\n    dtype:\n      class_label:\n"
        f"        names: {json.dumps(dict(enumerate(names)))}\n---\n")
    doors = [str(tmp_path / "table" / "train.parquet"), f"hub:{tmp_path / 'table'}",
             f"hub:{tmp_path / 'text'}"]
    for ask in (*(lambda door=door: read([door]) for door in doors), lambda: read_dataset(made)):
        if labels is None:
            with pytest.raises(UserError, match=f'"label" is "{names[0]}", not true or false'):
                ask()
            continue
        rows, _ = ask()
        assert [r.label for r in rows] == labels
        assert [r.extra["votes"][0]["vote"] for r in rows if "votes" in r.extra] in ([], names)
