"""Your rows, from files or memory: read and split them, and print what is used.

    rows = read_rows(cfg, objective)                            # to train on, held out, left out
    say_use(objective, rows, train, held_out, report)           # when they are tokens

run/load.py calls these for a run with --data. From a file to token ids (most in nanouft/data):
    files.items         lines of a file -> items
    rows.read           items -> Rows, by rows.as_row
    holdout.holdout     Rows -> those to learn from, those held out
    Objective.choose    Rows -> the Rows that a method reads, with roles ("answer", "chosen" ...)
    batches.encode      roles -> ids, and a mask of the trained tokens (`chats` of a tokenizer)
    batches.collate     the rows of a step -> a padded Batch
"""
from dataclasses import replace

from nanouft import world
from nanouft.data.batches import Encoded, EncodeReport, RunData
from nanouft.data.files import file_names
from nanouft.data.holdout import holdout, leak, question_keys
from nanouft.data.report import (
    advice,
    describe,
    duplicates_note,
    grade_note,
    report_use,
    unread_fields,
)
from nanouft.data.row import Row, Rows
from nanouft.data.rows import read
from nanouft.data.selection import NoRows
from nanouft.objective import Objective
from nanouft.objectives import NAMES
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import is_own_reward
from nanouft.plumbing.printing import if_in_checkout, note, say
from nanouft.run.config import RunConfig, SettledConfig


def read_rows(cfg: RunConfig, objective: Objective) -> Rows:
    """The rows of cfg.data, and those of cfg.eval_data or a tenth, which is held out."""
    kinds = objective.kinds()
    rows, left_out = read(cfg.data or (), kinds)
    say(f"{file_names(cfg.data or ())}: {describe(rows)}")
    exact = objective.scorer != "none" and objective.on_policy and cfg.reward == "exact"
    if cfg.init == "base":
        note("the shipped base model knows only NanoWorld; for other text give another --init"
             f"{if_in_checkout('docs/data.md')}")
    if exact:
        rows = world.name_tasks(rows)
    if objective.on_policy and not is_own_reward(cfg.reward):
        rows = [replace(r, extra={}) for r in rows]
    if not cfg.eval_data:
        return Rows(*holdout(rows), left_out)
    held_out, also_left_out = read(cfg.eval_data, kinds)
    return Rows(rows, held_out, left_out + also_left_out)


def chosen_rows(cfg: RunConfig, objective: Objective, rows: Rows) -> list[Row]:
    """The rows that the objective learns from. If there are none, the error is about all rows of
    the files, held-out ones too, and names the unread fields itself, and methods for such rows."""
    data = rows.train if cfg.eval_data else rows.train + rows.held_out
    try:
        chosen = objective.choose(rows.train)
    except NoRows:
        try:
            held_out = objective.choose(data)[0].where
        except NoRows as e:
            raise NoRows(f"{e}; {advice(data)[-1]}") from None
        raise UserError(f"{held_out}: all rows that {objective.name} can use are held out, this "
                        "one too; add rows, or give held-out ones with --eval-data") from None
    by_reward = is_own_reward(cfg.reward)               # it may read every field
    if not by_reward and (names := unread_fields(data, objective.kinds(), chosen)):
        what = "fields for your own reward function only" if objective.on_policy else (
            "ignored fields" if objective.name in NAMES else "fields for your own code only")
        say(f"{what}: {names}")
    return chosen


# ---- what is said of them ------------------------------------------------------------------------
def say_use(objective: Objective, rows: Rows, train: list[Encoded], held_out: list[Encoded],
            report: EncodeReport) -> None:
    """Say which rows are used, which are left out and why, and what is noticed of them."""
    kinds = objective.kinds()
    used, held = ({e.row.where for e in side} for side in (train, held_out))
    sides = {"to train on": (rows.train, used), "held out": (rows.held_out, held)}
    unused = {r.where for r in rows.train + rows.held_out} - used - held
    tell = note if rows.left_out or report.why or unused else say
    tell(report_use(sides, rows.left_out, report.why, kinds))
    read = [r for r in rows.train + rows.held_out if r.where in used | held]
    if not objective.on_policy and (text := duplicates_note(read)):
        note(text)
    report.notes += [(where, f"without one of its responses: {why}")
                     for where, why in report.why.items() if where in used | held]
    good, bad = (getattr(objective, f"{name}_weight", 0.0)
                 for name in ("desirable", "undesirable"))
    if kinds[-1] in ("labels", "scores") and (text := grade_note(
            [e.row for e in train], (good, bad) if good and bad else None)):
        note(text)


def questions(rows: list[Row], encoded: list[Encoded]) -> frozenset[str]:
    """Keys of the questions of your rows that are encoded."""
    used = {e.row.where for e in encoded} - {""}
    return frozenset(question_keys(r for r in rows if r.where in used))


def with_leaks(rows: Rows, data: RunData) -> RunData:
    """With the questions that are asked in training, of which the held-out ones are told."""
    asked = questions(rows.train, data.train) | data.asked
    leaks = leak(questions(rows.held_out, data.held_out), asked)
    if leaks:
        note(leaks)
    return data._replace(asked=asked, leak=leaks)


def choose_held_out(cfg: SettledConfig, objective: Objective,
                    held_out: list[Encoded]) -> list[Encoded]:
    """The held-out rows that a run scores before and after: all of a file that is named, else from
    32 to 200, spread over the file. Scoring them may cost a tenth of the training, if a step costs
    three forwards."""
    if not held_out:
        if cfg.keep == "best":
            raise UserError("--keep best: no rows are held out; give some with --eval-data FILE")
        note("no rows are held out, so nothing is evaluated; give some with --eval-data FILE")
        return held_out
    if not cfg.eval_data:
        times = 2 + (cfg.steps // cfg.eval_every if cfg.eval_every else 0)
        trained = cfg.steps * cfg.batch_size * objective.samples
        n = min(len(held_out), max(32, min(200, int(0.1 * 3 * trained / times))))
        held_out = [held_out[i * len(held_out) // n] for i in range(n)]
    say(f"held-out rows evaluated: {len(held_out):,}")
    return held_out
