"""Your data: read anybody's files into rows.

    rows, report = read(["my.jsonl", "pairs.json"])
    print(*report, sep="\n")            # pairs.json: Alpaca with pairs (JSON list): 1,100 rows read

containers.py opens files, forms.py finds the form of each, turns.py makes rows of their fields.
A row with nothing to learn from, or one that is not understood, is skipped and counted; where half
of a file is not understood, or one row with `strict`, the run stops. Pure Python, no torch.
"""
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from nanouft.data.rows import Row, Turn, Turns
from nanouft.errors import UserError, visible
from nanouft.files.containers import objects, sources
from nanouft.files.forms import MEANING, Form, Naming, Scale, detect_form, given_scale
from nanouft.files.turns import ROLES, Skip, make_row
from nanouft.files.words import quoted_names, short_json
from nanouft.run.words import one_line

MOST = 0.5              # of a file: where so many rows are not understood, none is read
BLANK = re.compile(r"\A(?:[ \t\r]*\n)*(?: (?=\S))?")    # lines, or the one space of TRL's " blue."
ODD = "not understood"
FOREIGN = re.compile(           # marks of other chat templates
    r"\[/?INST\]|<\|(?:im_start|im_end|start_header_id|user|assistant|system|end)\|>"
    r"|<start_of_turn>|^### ?(?:Instruction|Response|Human|Assistant|User):"
    r"|^(?:Human|Assistant|USER|ASSISTANT):", re.MULTILINE)
NO_TEXT = re.compile(       # what programs write into an empty cell
    r"\s*(nan|null|none|n/a|#\w+[!?/]?|[\u200b\ufeff]*)\s*", re.I)


@dataclass
class FileReport:
    path: str
    form: str                           # "Alpaca with pairs (JSON list)"
    unused: list[str]                   # fields of the file that nothing reads
    idle: str                           # in words: "not learnt from"
    asks: str                           # in words: a field that may say which answers are good
    scale: Scale                        # of its grades
    read: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)     # reason -> places of the rows
    wrong: str = ""                     # what is wrong with the first row that is not understood
    notes: dict[str, list[str]] = field(default_factory=dict)   # what looks odd in rows -> places

    def __str__(self) -> str:
        out = f"{self.path}: {self.form}: {self.read:,} rows read"
        if self.skipped:
            kinds = sorted(self.skipped.items(), key=lambda kind: -len(kind[1]))
            out += f", {sum(map(len, self.skipped.values())):,} skipped: "
            out += ", ".join(f"{len(places):,} {reason} (first: {places[0]})"
                             for reason, places in kinds)
        meaning = {key: MEANING.get(key.split(".")[-1]) for key in self.unused}
        if plain := [key for key in self.unused if not meaning[key]]:
            out += f"; fields {self.idle}: {quoted_names(plain)}"
        if self.wrong:
            out += f"\n  first row not understood: {self.wrong} (--strict stops there)"
        for key in self.unused:
            asked = meaning[key] == MEANING["quality"] and short_json(key) in self.asks
            if meaning[key] and not asked:              # a grade in words is a label
                out += f"\n  {self.idle}: {short_json(key)} ({meaning[key]})"
        if self.asks:
            out += f"\n  {self.asks}"
        for note, places in self.notes.items():
            out += f"\n  in {len(places):,} rows (first: {places[0]}) {note}"
        return visible(out)             # the name of a file may hold anything


def read(paths: list[str], *how: Any, **more: Any) -> tuple[list[Row], list[FileReport]]:
    """All rows of all files, and what was found in each. `how`, `more`: the fields of Reader."""
    reader, rows, report = Reader(*how, **more), [], []
    for path in [source for name in map(str, paths) for source in sources(name)]:
        found, file = reader.read(path)
        rows += found
        report.append(file)
    if not rows:
        nothing = "; ".join(map(str, report)) or "no file given; name one with --data"
        raise UserError("no row to learn from: " + nothing.replace("\n ", ";"))
    names = dict.fromkeys(key for row in rows for key in row.extra)         # of all files
    return [row if len(row.extra) == len(names) else
            replace(row, extra={key: row.extra.get(key) for key in names}) for row in rows], report


@dataclass
class Reader:
    """How a file is read; the fields are flags of `train`."""
    prompt_field: str | None = None     # these two override detection, in every file
    response_field: str | None = None
    prompts: bool = False               # is a row without an answer a row, too?
    strict: bool = False                # UserError at the first row that is not understood
    grades: str = ""                    # the worst and the best, as "1:5"
    reward: str = "exact"               # what scores answers; a user's function gets all fields

    def __post_init__(self) -> None:
        self.scale = given_scale(self.grades)

    def read(self, path: str) -> tuple[list[Row], FileReport]:
        """The rows of one file."""
        items, kind = objects(path, self.strict)
        broken = [item for _, item in items if isinstance(item, UserError)]
        if len(broken) > MOST * len(items):
            raise broken[0]
        whole = [(where, item) for where, item in items if isinstance(item, dict)]
        given = (self.prompt_field, self.response_field)
        naming = Naming(whole, given)
        known = [(where, naming.row(item)) for where, item in whole]
        form = detect_form(path, known, *given, self.scale)
        about = f"{', '.join([form.name, *naming.about])} ({kind})"
        own = self.reward.rpartition(":")[0].endswith(".py")
        file = FileReport(path, about, form.unused,
                          "only for the reward" if own else "not learnt from",
                          "" if own or self.prompts else form.asks, form.scale)
        rows, wrong = [], []
        for where, item in items:
            place = where.removeprefix(f"{path}, ")
            try:
                rows.append(self.row(item, where, naming, form, file))
            except Skip as skip:
                file.skipped.setdefault(str(skip), []).append(place)
            except UserError as e:
                if self.strict:
                    raise
                wrong.append(e)
                file.skipped.setdefault(ODD, []).append(place)
        if len(wrong) >= MOST * len(items):
            others = f" ({len(wrong):,} of {len(items):,} rows are not understood)"
            raise UserError(f"{wrong[0]}{others if len(wrong) > 1 else ''}")
        if wrong:
            file.wrong = one_line(str(wrong[0]).removeprefix(f"{path}, "), 300)
        return rows, file

    def row(self, item: Any, where: str, naming: Naming, form: Form, file: FileReport) -> Row:
        """One row, counted in `file`. Skip if it teaches nothing; UserError if it is not
        understood."""
        if isinstance(item, UserError):
            raise item
        named = naming.row(item)
        if naming.pair and "chosen" not in named:
            raise Skip("neither answer is preferred")
        try:
            row = make_row(named, form, self.prompts)
        except UserError as e:
            raise UserError(f"{where}: {e}") from None
        extra = {key: value for key, value in item.items()
                 if naming.names.get(key, key) != form.prompt}
        out = replace(row, where=where, extra=extra, answer=trimmed(row.answer),
                      chosen=trimmed(row.chosen), rejected=trimmed(row.rejected))
        file.read += 1
        if waits(named.get(form.prompt)) and not self.prompts:
            file.notes.setdefault("the last turn is a question without an answer: it is left out",
                                  []).append(where.removeprefix(f"{file.path}, "))
        for mark, note in remarks(out, row):
            place = where.removeprefix(f"{file.path}, ")
            file.notes.setdefault(note, []).append(place + mark)
        return out


def remarks(row: Row, before: Row) -> Iterator[tuple[str, str]]:
    """(what, words that follow "in 3 rows"): what looks odd in a row. `before`: as the file has it.
    """
    answers = [talk for talk in (row.answer, row.chosen, row.rejected) if talk]
    turns = [*row.prompt, *(turn for talk in answers for turn in talk)]
    marks = [mark for turn in turns if (mark := FOREIGN.search(turn.text))]
    if marks:
        yield (f": {short_json(marks[0][0])}", "a text carries marks of another chat template, "
               "which are learnt as text inside ours; remove them, or give messages")
    if empty := [talk[0].text for talk in answers if NO_TEXT.fullmatch(talk[0].text)]:
        yield "", f"an answer is {short_json(empty[0])}: an empty cell? It is learnt as a text"
    if answers and all(repeats(row.prompt[-1], talk[0]) for talk in answers):
        yield "", ("the answer begins with the prompt, which would be trained on; remove it from "
                   "the answer")
    if row.scores and row.scores[0] < row.scores[1]:
        yield "", "chosen has a lower grade than rejected; which of the two is right?"
    if any(turn.role == "shown" for turn in turns):
        yield "", ('turns of the assistant are shown, not trained on ("weight" 0, or a call of a '
                   "tool)")
    if (row.answer, row.chosen, row.rejected) != (before.answer, before.chosen, before.rejected):
        yield "", "white space around an answer is cut off"


def waits(talk: Any) -> bool:
    """Does a list of messages end with a question, after an answer?"""
    roles = [ROLES.get(str(turn.get("role", turn.get("from"))).lower()) for turn in talk
             if isinstance(turn, dict)] if isinstance(talk, list) else []
    return len(roles) > 2 and roles[-1] == "user"


def trimmed(talk: Turns | None) -> Turns | None:
    """Without the white space around each answer, which our template would double. Lines keep their
    indentation."""
    return talk and tuple(turn if turn.role != "assistant" else
                          Turn(turn.role, BLANK.sub("", turn.text).rstrip()) for turn in talk)


def repeats(prompt: Turn, answer: Turn) -> bool:
    """Does an answer repeat a prompt of more than two words?"""
    text = prompt.text.strip()
    return len(text.split()) > 2 and answer.text.strip().startswith(text)
