"""Show what a run would read of your rows, before any training.

    python -m nanouft.data my.jsonl                 # which methods read them
    python -m nanouft.data my.jsonl --objective dpo --init out/sft

It prints how many rows of which kind there are, which methods read them, which fields they do not
read, which rows are left out or refused, and the first rows as the model sees them: only the tokens
in [[ ]] are trained on. Nothing is written.
"""
import sys
import textwrap
from dataclasses import dataclass

from nanouft.data.batches import encode, example_lines
from nanouft.data.files import items
from nanouft.data.rows import parse
from nanouft.data.selection import NoRows, describe, report_use
from nanouft.models.folders import start_model
from nanouft.objectives import OBJECTIVES, find
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError, in_range
from nanouft.plumbing.printing import quantity, say
from nanouft.run import flags
from nanouft.run.load import Rows, choose, methods_by_kinds
from nanouft.run.settings import TrainFlags

SHOWN = ("dpo", "kto", "una", "sft", "reinforce")   # one of these that reads most rows


@dataclass
class DataFlags:
    files: list[str] | None = None  # your rows, such as my.jsonl, my.csv or hub:owner/name
    objective: str = ""             # a method, as in train [one that reads most rows]
    init: str = "base"              # a model, whose chat template writes the rows
    max_length: int | None = None   # longest row in tokens [the context of the model]
    show: int = 3                   # rows to show

    def check(self) -> None:
        in_range(self, "max_length", "show", low=1)
        if not self.files:
            raise UserError("name a file of rows, as in python -m nanouft.data my.jsonl")


def main(argv: list[str] | None = None) -> int:
    cfg = flags.parse(DataFlags, argv, "python -m nanouft.data", __doc__, "files")
    cfg.check()
    model, tok = start_model(cfg.init)
    asked = find(cfg.objective)() if cfg.objective else None
    name = ", ".join(cfg.files)
    found = [item for file in cfg.files for item in items(file)]
    counts, lines = count_readers(found, name)
    if not (asked or counts):
        raise UserError(lines[0])
    shown = [method for method in SHOWN if method in counts] or [*counts]
    most = max(shown, key=lambda method: (method != "reinforce", counts[method]), default="")
    objective = asked or OBJECTIVES[most]()
    rows, left_out = parse(found, objective.kinds(), name)
    say(f"{name}: {describe(rows)}")
    say(*(textwrap.fill(line, 80, subsequent_indent="  ") for line in lines), sep="\n")
    say(f"\nWhat {objective.name} makes of them:")
    chosen = choose(TrainFlags(data=cfg.files), objective, Rows(rows, [], left_out, rows))
    n_ctx = min(cfg.max_length or model.cfg.n_ctx, model.cfg.n_ctx)
    encoded, report = encode(chosen, tok, n_ctx)
    used = {e.row.where for e in encoded}
    say(report_use({"to use": (rows, used)}, left_out, report.why, objective.kinds()),
        *report.lines(), "Only the tokens in [[ ]] are trained on:", sep="\n")
    for e in encoded[:cfg.show]:
        say(*example_lines([e], tok), sep="\n")
    return 0


def count_readers(found: list, name: str) -> tuple[dict[str, int], list[str]]:
    """({"kto": 40, ...}, the same in words): how many rows the methods of each kind read, by the
    first of them. The words also say why methods refuse the rows."""
    counts: dict[str, int] = {}
    refused: dict[str, list[str]] = {}
    lines = []
    for kinds, names in methods_by_kinds().items():
        try:
            rows = OBJECTIVES[names[0]]().choose(parse(found, kinds, name)[0])
        except NoRows:
            continue
        except UserError as e:
            refused.setdefault(str(e), []).extend(names)
            continue
        counts[names[0]] = len({r.where for r in rows})
        lines.append(f"{quantity(counts[names[0]], 'rows')} read by {', '.join(names)}")
    if not counts and len(refused) == 1:
        return counts, [*refused]
    return counts, lines + [f"refused by {', '.join(names)}: {e}" for e, names in refused.items()]


if __name__ == "__main__":
    sys.exit(command(main))
