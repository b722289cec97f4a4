"""Your data: read anybody's files into rows, and say which sequences an objective wants to see together.

    from nanouft.data.rows import read
    rows, report = read(["my.jsonl", "pairs.json"])
    print(*report.lines(), sep="\n")       # pairs.json: Alpaca with pairs (JSON list): 1,100 rows read

What to expect: a JSON list or JSON lines, told apart by content and not by file name; the form is found per file
(forms.py lists them) and said aloud; several files mix freely. A file that cannot be understood stops the run with
one line (file, line, reason, remedy); a row with nothing to learn from is skipped, counted and announced.
Simplified: a file is read into memory at once. Pure Python, no torch.
"""
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nanouft.shell.config import UserError
from nanouft.data.forms import Row, Skip, Turns, a_type, detect, parse, quoted


@dataclass
class Example:
    """Sequences that stand together in a batch; role of the sequence -> (context, trained turns)."""
    seqs: dict[str, tuple[Turns, Turns]]
    where: str = ""                     # place in the file, for messages
    family: str = ""                    # NanoWorld's
    score: float | None = None          # 0..1
    label: float | None = None          # 1 good, 0 bad
    p: float | None = None              # 0..1, of a pair


@dataclass
class FileReport:
    path: str
    form: str                           # "Alpaca with pairs (JSON list)"
    unused: list[str]                   # fields of the file that nothing reads
    read: int = 0
    skipped: Counter = field(default_factory=Counter)       # reason -> rows

    def line(self) -> str:
        text = f"{self.path}: {self.form}: {self.read:,} rows read"
        if self.skipped:
            reasons = ", ".join(f"{n:,} {reason}" for reason, n in self.skipped.most_common())
            text += f", {sum(self.skipped.values()):,} skipped ({reasons})"
        return text + (f"; fields not used: {quoted(self.unused)}" if self.unused else "")


@dataclass
class Report:
    files: list[FileReport] = field(default_factory=list)

    def lines(self) -> list[str]:
        """One line a file, made to be printed before training."""
        return [f.line() for f in self.files]


# ---- which sequences stand together? ---------------------------------------------------------------------------------
def contents(data: list[Row]) -> str:
    """What rows hold, for messages: "2,000 demonstrations and 5 pairs"."""
    kinds: Counter = Counter()
    for row in data:
        if row.answer is not None:
            kinds["scored answer" if row.score is not None else
                  "labelled answer" if row.label is not None else "demonstration"] += 1
        if row.chosen is not None:
            kinds["pair" if row.chosen != row.rejected else "equal pair"] += 1
    return " and ".join(f"{n:,} {kind}{'s' * (n != 1)}" for kind, n in kinds.items()) or "no answers"


def demo_rows(data: list[Row], hp: Any) -> list[Example]:
    """Role "answer": each demonstration; in a row with only a pair, its chosen answer.

    Scored answers and answers labelled false are no demonstrations. Raises UserError if nothing is left.
    """
    out = []
    for row in data:
        good = row.score is None and row.label is not False
        demo = row.chosen if row.answer is None else row.answer if good else None
        if demo is not None:
            out.append(Example({"answer": (row.prompt, demo)}, row.where, row.family))
    if not out:
        raise UserError(f"this objective needs demonstrations (a prompt and its answer); the data has {contents(data)}")
    return out


def pair_rows(data: list[Row], hp: Any) -> list[Example]:
    """Roles "chosen", "rejected". A pair of equal answers prefers nothing: it is dropped. UserError if none is left."""
    return [pair for _, pair in pairs(data)]


def pairs(data: list[Row]) -> list[tuple[Row, Example]]:
    """Every row with a pair, beside its example, for objectives that add something to the pair."""
    out = [(row, Example({"chosen": (row.prompt, row.chosen), "rejected": (row.prompt, row.rejected)},
                         row.where, row.family))
           for row in data if row.chosen is not None and row.rejected is not None and row.chosen != row.rejected]
    if not out:
        raise UserError(f"this objective needs pairs (prompt, chosen, rejected); the data has {contents(data)}")
    return out


def label_rows(data: list[Row], hp: Any) -> list[Example]:
    """Role "answer", label 1 for a good answer, 0 for a bad one. A pair is two: chosen good, rejected bad."""
    out = []
    for row in data:
        if row.answer is not None and row.label is not None:
            out.append(judged(row, row.answer, label=float(row.label)))
        if row.chosen is not None and row.rejected is not None and row.chosen != row.rejected:
            out += [judged(row, row.chosen, label=1.0), judged(row, row.rejected, label=0.0)]
    if not out:
        raise UserError("this objective needs labels (prompt, response, label true or false) or pairs; "
                        f"the data has {contents(data)}")
    return out


def score_rows(data: list[Row], hp: Any) -> list[Example]:
    """Role "answer", score from 0 to 1. A label is a score of 1 or 0; rows with neither are left out."""
    out = []
    for row in data:
        score = row.score if row.score is not None else row.label
        if row.answer is not None and score is not None:
            out.append(judged(row, row.answer, score=float(score)))
    if not out:
        raise UserError("this objective needs scores (prompt, response, score from 0 to 1); "
                        f"the data has {contents(data)}")
    return out


def prompt_rows(data: list[Row], hp: Any) -> list[Example]:
    """Role "prompt": each different prompt once, with nothing to learn from: the model answers it itself."""
    first: dict[Turns, Row] = {}
    for row in data:
        first.setdefault(row.prompt, row)
    out = [Example({"prompt": (prompt, ())}, row.where, row.family) for prompt, row in first.items()]
    if not out:
        raise UserError(f"this objective needs prompts; the data has {contents(data)}")
    return out


def judged(row: Row, answer: Turns, **known: float) -> Example:
    """An answer and what is known of it: score= or label=."""
    return Example({"answer": (row.prompt, answer)}, row.where, row.family, **known)


def holdout(rows: list[Row], share: float = 0.1, count: int | None = None) -> tuple[list[Row], list[Row]]:
    """(train, held out): `count` rows, by default `share` of them but at most 200, and at least one.

    Rows are drawn by a hash of their first user turn, not by order or seed: equal prompts stay on one side, and a
    shuffled file gives the same split. Prompts come in the order of their hashes; one whose rows would overshoot the
    aim is passed over. If each one would, the rarest is held out; data with one prompt only hold out nothing.
    """
    first = [next((t.text for t in row.prompt if t.role == "user"), "").strip() for row in rows]
    keys = [hashlib.sha256(text.encode("utf-8", "replace")).hexdigest() for text in first]
    groups = Counter(keys)
    aim = count if count is not None else max(1, min(200, round(share * len(rows))))
    held, taken = set(), 0
    for key in sorted(groups):
        if taken + groups[key] <= aim and len(held) + 1 < len(groups):      # something is left to train on
            held.add(key)
            taken += groups[key]
    if not held and aim > 0 and len(groups) > 1:
        held = {min(groups, key=lambda key: (groups[key], key))}
    return [r for r, key in zip(rows, keys) if key not in held], [r for r, key in zip(rows, keys) if key in held]


# ---- files: bytes -> JSON objects with their places ------------------------------------------------------------------
def read(paths: list[str], prompt_field: str | None = None, response_field: str | None = None,
         prompts: bool = False) -> tuple[list[Row], Report]:
    """All rows of all files, and what was found in each. Field names given here override detection, in every file.
    `prompts`: a row needs no answer."""
    rows, report = [], Report()
    for path in map(str, paths):
        items, kind = objects(path)
        form = detect(path, items, prompt_field, response_field)
        file = FileReport(path, f"{form.name} ({kind})", form.unused)
        for where, item in items:
            try:
                rows.append(parse(item, form, where, prompts))
                file.read += 1
            except Skip as skip:
                file.skipped[str(skip)] += 1
        report.files.append(file)
    if not rows:
        raise UserError("no row to learn from: " + ("; ".join(report.lines()) or "no file given; name one with --data"))
    return rows, report


def load_text(path: str) -> str:
    """The text of a file, byte-order mark removed; every way in which it is no UTF-8 text is one UserError."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path given to --data") from None
    except (OSError, ValueError) as e:
        reason = "is a folder; name the files in it" if Path(path).is_dir() else f"cannot be read ({e})"
        raise UserError(f"{path}: {reason}") from None
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{path}: is UTF-16 text; save it as UTF-8")
    if b"\0" in data or data.startswith((b"\x1f\x8b", b"PK\3\4", b"PAR1")):        # gzip, zip, parquet
        raise UserError(f"{path}: is a binary file; unpack or convert it to JSON lines")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        raise UserError(f"{path}, line {line}: byte 0x{data[e.start]:02x} at offset {e.start} is not UTF-8; "
                        "save the file as UTF-8") from None


def objects(path: str) -> tuple[list[tuple[str, dict]], str]:
    """([(place, object)], "JSON list" or "JSON lines"). Lines end at LF only: U+2028 may stand inside a string."""
    text = load_text(path)
    body = text.strip(" \t\r\n")
    if body.startswith("["):
        items, kind = [(f"{path}, item {i}", item) for i, item in enumerate(decode(text, path), 1)], "JSON list"
    else:
        lines = [(i, line) for i, line in enumerate(text.split("\n"), 1) if line.strip(" \t\r")]
        if len(lines) > 1 and is_one_object(body):
            raise UserError(f"{path}: is one JSON object over {len(lines):,} lines; "
                            "put one object (one row) on a line, or all rows into one [list]")
        items = [(f"{path}, line {i}", decode(line, path, i, i == lines[-1][0])) for i, line in lines]
        kind = "JSON lines"
    if not items:
        raise UserError(f"{path}: the {'list' if body else 'file'} is empty; it needs at least one row, a JSON object")
    for where, item in items:
        if not isinstance(item, dict):
            raise UserError(f'{where}: is {a_type(item)}, not an object; a row is {{"prompt": ..., "response": ...}}')
    return items, kind


def decode(text: str, path: str, line: int = 0, last: bool = True) -> Any:
    """json.loads; a mistake names the line (`line` if the text is that one line, else counted), column and cause."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as e:
        cut = last and (e.pos >= len(text.rstrip()) or e.msg.startswith("Unterminated"))
        if not text.lstrip().startswith(("{", "[")):
            raise UserError(f"{path}, line {line or e.lineno}: not JSON (a CSV or plain text file?); "
                            "one JSON object a line is read, or one JSON list") from None
        raise UserError(f"{path}, line {line or e.lineno}: broken JSON at column {e.colno} ({e.msg}); " +
                        ("the file looks cut off here, write it again" if cut else "correct or remove it")) from None
    except (ValueError, RecursionError):            # a number of 5,000 digits, ten thousand brackets
        raise UserError(f"{path}, line {line or 1}: a number or nesting that is too large; remove it") from None


def is_one_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
