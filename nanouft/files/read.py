"""Your data: read anybody's files into rows.

    rows, report = read(["my.jsonl", "pairs.json"])
    print(*report, sep="\n")               # pairs.json: Alpaca with pairs (JSON list): 1,100 rows read

containers.py opens files, forms.py finds the form of each, turns.py makes conversations of its rows, and split.py
decides where the prompt ends. A row with nothing to learn from, or one that is not understood, is skipped and counted;
where half of a file is not understood, or one row with `strict`, the run stops. Pure Python, no torch.
"""
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from nanouft.data.rows import Row, Turn, Turns
from nanouft.errors import UserError, one_line
from nanouft.files.containers import objects, sources
from nanouft.files.forms import MEANING, Naming, detect_form, given_scale
from nanouft.files.split import Skip, split_row
from nanouft.files.turns import FOREIGN, row_talks
from nanouft.files.words import quoted_names, short_json

MOST = 0.5                              # of a file whose rows are so often not understood none is read
LEAD = re.compile(r"\A(?:[ \t\r]*\n)*(?: (?=\S))?")      # blank lines, or the one space of TRL's " blue."
ODD = "not understood"


@dataclass
class FileReport:
    path: str
    form: str                           # "Alpaca with pairs (JSON list)"
    unused: list[str]                   # fields of the file that nothing reads
    read: int = 0
    skipped: dict[str, list[str]] = field(default_factory=dict)     # reason -> places of the rows
    wrong: str = ""                     # what is wrong with the first row that is not understood
    notes: dict[str, list[str]] = field(default_factory=dict)       # what looks odd in rows that were read -> places
    idle: str = "not learnt from"       # what is said of `unused`
    scale: tuple[float, float] = (0, 1)     # of its grades

    def __str__(self) -> str:
        text = f"{self.path}: {self.form}: {self.read:,} rows read"
        if self.skipped:
            reasons = ", ".join(f"{len(places):,} {reason} (first: {places[0]})" for reason, places
                                in sorted(self.skipped.items(), key=lambda kind: -len(kind[1])))
            text += f", {sum(map(len, self.skipped.values())):,} skipped: {reasons}"
        plain = [key for key in self.unused if key.split(".")[-1] not in MEANING]
        text += f"; fields {self.idle}: {quoted_names(plain)}" if plain else ""
        text += f"\n  first row not understood: {self.wrong} (--strict stops there)" if self.wrong else ""
        text += "".join(f"\n  {self.idle}: {short_json(key)} ({MEANING[key.split('.')[-1]]})"
                        for key in self.unused if key not in plain)
        return text + "".join(f"\n  in {len(places):,} rows (first: {places[0]}) {note}"
                              for note, places in self.notes.items())

    def add(self, row: Row, where: str, trimmed: bool) -> None:
        self.read += 1
        for what, note in (*remarks(row), *[("", "white space around an answer is cut off")] * trimmed):
            self.notes.setdefault(note, []).append(f"{where}{what}")


# ---- rows ------------------------------------------------------------------------------------------------------------
def read(paths: list[str], prompt_field: str | None = None, response_field: str | None = None,
         prompts: bool = False, strict: bool = False, grades: str = "",
         reward: str = "exact") -> tuple[list[Row], list[FileReport]]:
    """All rows of all files, and what was found in each. Field names given here override detection, in every file.
    `prompts`: a row needs no answer. `strict`: UserError at the first row that is not understood. `grades`: the worst
    and the best, as "1:5". `reward`: who scores answers; a function of the user's gets all fields."""
    rows, report, scale = [], [], given_scale(grades)
    for path in [source for given in map(str, paths) for source in sources(given)]:
        items, kind = objects(path, strict)
        wrong = [item for _, item in items if isinstance(item, UserError)]
        if len(wrong) > MOST * len(items):
            raise wrong[0]
        whole = [(where, item) for where, item in items if isinstance(item, dict)]
        naming = Naming(whole, (prompt_field, response_field))
        form = detect_form(path, [(where, naming.row(item)) for where, item in whole], prompt_field,
                           response_field, scale)
        about = f"{', '.join([form.name, *naming.about])} ({kind})"
        file, wrong = FileReport(path, about, form.unused, scale=form.scale), []
        if reward.rpartition(":")[0].endswith(".py"):
            file.idle = "only for the reward"
        for where, item in items:
            place = where.removeprefix(f"{path}, ")
            try:
                if isinstance(item, UserError):
                    raise item
                known = naming.row(item)
                if naming.pair and "chosen" not in known:
                    raise Skip("neither answer is preferred")
                row = split_row(row_talks(known, form, where), known, form, where, prompts)
                extra = {key: value for key, value in item.items() if naming.names.get(key, key) != form.prompt}
                rows.append(replace(row, answer=trimmed(row.answer), chosen=trimmed(row.chosen),
                                    rejected=trimmed(row.rejected), extra=extra))
                file.add(rows[-1], place, rows[-1] != row)
            except Skip as skip:
                file.skipped.setdefault(str(skip), []).append(place)
            except UserError as e:
                if strict:
                    raise
                wrong.append(e)
                file.skipped.setdefault(ODD, []).append(place)
        if len(wrong) >= MOST * len(items):
            others = f" ({len(wrong):,} of {len(items):,} rows are not understood)" if len(wrong) > 1 else ""
            raise UserError(f"{wrong[0]}{others}")
        file.wrong = one_line(str(wrong[0]).removeprefix(f"{path}, "), 300) if wrong else ""
        report.append(file)
    if not rows:
        said = "; ".join(map(str, report)) or "no file given; name one with --data"
        raise UserError("no row to learn from: " + said.replace("\n ", ";"))
    names = dict.fromkeys(key for row in rows for key in row.extra)         # of all files: None where one is missing
    for i, row in enumerate(rows):
        if len(row.extra) < len(names):
            rows[i] = replace(row, extra={key: row.extra.get(key) for key in names})
    return rows, report


def remarks(row: Row) -> Iterator[tuple[str, str]]:
    """What looks odd in a row that was read as it stands: (of this row, in words that follow "in 3 rows")."""
    answers = [talk for talk in (row.answer, row.chosen, row.rejected) if talk]
    turns = [*row.prompt, *(turn for talk in answers for turn in talk)]
    if mark := next((found for turn in turns if (found := FOREIGN.search(turn.text))), None):
        yield (f": {short_json(mark[0])}", "a text carries marks of another chat template, which are learnt as text "
               "inside ours; remove them, or give messages")
    if answers and all(repeats(row.prompt[-1], talk[0]) for talk in answers):
        yield "", "the answer begins with the prompt, which would be trained on; remove it from the answer"
    if row.scores and row.scores[0] < row.scores[1]:
        yield "", "chosen has a lower grade than rejected; which of the two is right?"
    if any(turn.role == "shown" for turn in turns):
        yield "", 'turns of the assistant are shown, not trained on ("weight" 0, or a call of a tool)'


def trimmed(talk: Turns | None) -> Turns | None:
    """Without the white space around each answer, which our template would double. Lines keep their indentation."""
    return talk and tuple(Turn(turn.role, LEAD.sub("", turn.text).rstrip()) if turn.role == "assistant" else turn
                          for turn in talk)


def repeats(prompt: Turn, answer: Turn) -> bool:
    """Is a prompt of more than two words said again?"""
    text = prompt.text.strip()
    return len(text.split()) > 2 and answer.text.strip().startswith(text)
