"""Show what a run would train on of your rows, before any training.

    python -m nanouft.data my.jsonl                 # which methods use them
    python -m nanouft.data my.jsonl --objective dpo --init out/sft
    python -m nanouft.data my.jsonl --keep 0.6 --by MODEL   # if many are wrong

It prints how many rows of which kind there are, which methods use them, which fields they ignore,
which rows are skipped or invalid, and the first rows as the model sees them: only the tokens in
[[ ]] are trained on. Nothing is written.

With --keep it writes instead this share of your demonstrations: those that another model finds
likeliest, by the mean log-prob of their tokens. PoFT reads the same number.
"""
import json
import logging
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from torch._subclasses.fake_tensor import FakeTensorMode

from nanouft.data.batches import Encoded, encode, encode_what_fits
from nanouft.data.files import items
from nanouft.data.holdout import holdout
from nanouft.data.report import advice, describe, length_note
from nanouft.data.row import Row, Rows
from nanouft.data.rows import Parsed, as_rows, read, usable
from nanouft.data.selection import NoRows, demo_rows
from nanouft.device import Device
from nanouft.generate import longest_answer
from nanouft.models.folders import start_model, start_tokenizer, unread_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Count, Objective
from nanouft.objectives import OBJECTIVES, find
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_text
from nanouft.plumbing.printing import quantity, say
from nanouft.plumbing.ranges import Range
from nanouft.run import flags
from nanouft.run.config import RunConfig
from nanouft.run.folder import check_free
from nanouft.run.hyperparameters import choose_hyperparameters
from nanouft.run.load import encode_rows
from nanouft.run.memory import memory_note
from nanouft.run.own_rows import chosen_rows
from nanouft.run.plan import example_lines
from nanouft.run.reference import FrozenModels

Part = Annotated[float, Range(above=0, at_most=1)]


@dataclass
class DataFlags:
    files: list[str] | None = None  # your rows, such as my.jsonl, my.csv or hub:owner/name
    objective: str = ""             # a method, as in train [one for most of the rows]
    init: str = "base"              # a model, whose chat template writes the rows
    max_length: Count | None = None # longest row in tokens [the context of the model]
    show: Count = 3                 # rows to show
    keep: Part | None = None        # share of demonstrations to keep
    by: str = ""                    # a model that knows better, and finds them likeliest
    out: str = "out/kept"           # folder of the kept ones, demos.jsonl

    def check(self) -> None:
        if not self.files:
            raise UserError("name a file of rows, as in python -m nanouft.data my.jsonl")
        if bool(self.keep) != bool(self.by):
            raise UserError("--keep SHARE needs --by MODEL, and --by needs --keep")


def likeliest(rows: list[Row], by: str, share: float) -> list[Row]:
    """This share of the demonstrations: those that the model `by` finds likeliest, in their order.
    UserError if a row is no demonstration, or too long for the model."""
    model, tok = start_model(by)
    encoded, _ = encode(demo_rows(rows), tok, model.cfg.n_ctx)
    if len(encoded) < len(rows):
        raise UserError(f"{len(rows) - len(encoded):,} of {len(rows):,} rows are not "
                        f"demonstrations, or too long for {by}; remove them")
    models = FrozenModels(model, tok.pad, open=lambda _: (model, tok))
    ratings = models.mean_logp(encoded, [by])
    best = sorted(range(len(rows)), key=lambda i: -ratings[i])[:max(1, round(share * len(rows)))]
    return [rows[i] for i in sorted(best)]


def write_likeliest(files: list[str], by: str, share: float, out: str) -> None:
    check_free(out)
    rows, _ = read(files, ["demos"])
    kept, file = likeliest(rows, by, share), Path(out, "demos.jsonl")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, "".join(json.dumps(row.extra) + "\n" for row in kept))
    say(f"{file}: {len(kept):,} of {quantity(len(rows), 'rows')}")


def main(argv: list[str] | None = None) -> int:
    cfg = flags.parse(DataFlags, argv, "python -m nanouft.data", __doc__, "files")
    if cfg.keep:
        write_likeliest(cfg.files, cfg.by, cfg.keep, cfg.out)
        return 0
    name = ", ".join(cfg.files or ())
    parsed = as_rows(item for file in cfg.files or () for item in items(file))
    chosen, refused = count_rows_per_method(parsed, name)
    if not chosen:
        raise UserError([*refused][0])
    method, most, begin = advice([r for _, r in parsed if isinstance(r, Row) and r.prompt])
    if not any(method in names for names in chosen):
        (method, *_), _ = max(chosen.items(), key=lambda one: one[1])
    objective = find(cfg.objective or method)()
    rows, left_out = usable(parsed, objective.kinds(), name)
    as_run = RunConfig(data=(*(cfg.files or ()),), max_length=cfg.max_length)
    split = Rows(*holdout(rows), left_out)
    try:
        objective.choose(rows)
    except NoRows:
        chosen_rows(as_run, objective, split)           # UserError: why there are none
    tok, n_ctx = start_tokenizer(cfg.init)
    say(textwrap.fill(f"{name}: {quantity(len(parsed), 'rows')}; {most}: {begin}", 80))
    for line in lines_of_methods(parsed, name, chosen, refused, tok,
                                 min(cfg.max_length or n_ctx, n_ctx)):
        say(textwrap.fill(line, 80, subsequent_indent="  "))
    say()
    train, _ = encode_rows(as_run, objective, split, n_ctx, tok, 0)
    say(f"{objective.name} trains on: {describe([e.row for e in train])}")
    say(length_note(train, "prompt" if objective.on_policy else "row"))
    if text := memory_of_step(as_run, objective, train, cfg.init, tok):
        say(textwrap.fill(text, 80, break_on_hyphens=False))
    shown = train[:cfg.show]
    if any(tokens.mask.any() for e in shown for tokens in e.seqs.values()):
        say("Only the tokens in [[ ]] are trained on:")
    for e in shown:
        say(*example_lines([e], tok), sep="\n")
    return 0


def count_rows_per_method(
        parsed: Parsed, source: str, fit: Callable[[Objective, list[Row]], list[Row]] | None = None
        ) -> tuple[dict[tuple[str, ...], int], dict[str, list[str]]]:
    """({methods: how many rows they read}, {why: methods that refuse them}). fit: those of the
    chosen rows that a method can use; by default all."""
    methods: dict[tuple[str, ...], list[str]] = {}      # that learn from these kinds, by default
    for name, cls in OBJECTIVES.items():
        methods.setdefault((*cls().kinds(),), []).append(name)
    counts: dict[tuple[str, ...], int] = {}
    refused: dict[str, list[str]] = {}
    for kinds, names in methods.items():
        objective = OBJECTIVES[names[0]]()
        try:
            rows = objective.choose(usable(parsed, kinds, source)[0])
        except NoRows:
            continue
        except UserError as e:
            refused.setdefault(str(e), []).extend(names)
            continue
        counts[tuple(names)] = len({r.where for r in (fit(objective, rows) if fit else rows)})
    return counts, refused


def lines_of_methods(parsed: Parsed, name: str, chosen: dict[tuple[str, ...], int],
                     refused: dict[str, list[str]], tok: Tokenizer, room: int) -> Iterator[str]:
    """"44 rows read by dpo, orpo (too long or refused: 6)", of each kind of methods. chosen,
    refused: those of count_rows_per_method, of rows of any length. room: the longest row in
    tokens."""
    def fit(objective: Objective, rows: list[Row]) -> list[Row]:
        encoded, _ = encode_what_fits(rows, tok, room - objective.on_policy)
        return [e.row for e in encoded]
    counts, _ = count_rows_per_method(parsed, name, fit)
    for names, n in counts.items():
        lost = chosen[names] - n
        yield (f"{quantity(n, 'rows')} read by {', '.join(names)}"
               + f" (too long or refused: {lost:,})" * bool(lost))
    for why, methods in refused.items():
        yield f"refused by {', '.join(methods)}: {why}"


def memory_of_step(as_run: RunConfig, objective: Objective, train: list[Encoded], init: str,
                   tok: Tokenizer) -> str:
    """memory_note of a run without further flags; the weights are not read. "" for a model whose
    forward can't run without numbers, as with experts: PyTorch logs it, and train says it."""
    logging.getLogger(FakeTensorMode.__module__).setLevel(logging.CRITICAL)
    with suppress(Exception), FakeTensorMode():
        model = unread_model(init)
        _, batch_size, _ = choose_hyperparameters(as_run, objective, len(train), model)
        max_new = longest_answer(model, tok)
        text = memory_note(objective, train, model, Device(), batch_size, max_new=max_new)
        return text and f"in train, with all weights in fp32, {text}"
    return ""


if __name__ == "__main__":
    sys.exit(command(main))
