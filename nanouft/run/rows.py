"""The rows of a training run: read from files or drawn from NanoWorld, chosen, graded, tokenized.

    train, held = load_rows(cfg, objective, hp, device)
    data = encode_rows(name, cfg, hp, (train, held), model, tok)
"""
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from nanouft import world
from nanouft.data.batches import Encoded, encode
from nanouft.data.rows import Row, contents, holdout, is_real_pair, label_rows, question_hash
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, say
from nanouft.eval import report
from nanouft.gpt import GPT
from nanouft.objective import REF, Objective
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.run import provenance, runs
from nanouft.run.flags import Train

Split = tuple[list[Row], list[Row]]         # rows to train on, rows held out
Grade = Callable[[list[Row]], list[Row]]    # gives each answer the grade of --reward


@dataclass
class Data:
    """The rows of a run as its objective wants them, in tokens."""
    tok: Tokenizer
    train: list[Encoded]
    held: list[Encoded]
    train_rows: list[Row]
    held_rows: list[Row]
    key: str                # hash of rows and start weights: --resume goes on only where both stay


KINDS = {"demos": "demonstrations", "labels": "labelled answers", "scores": "scored answers"}


# ---- rows ----------------------------------------------------------------------------------------
def load_rows(cfg: Train, objective: Objective, hp: Any, device: str = "cpu") -> Split:
    """From the user's files, or drawn from NanoWorld; graded by --reward if the method learns from
    grades."""
    kinds: list[str] = objective.kinds(hp)
    graded: Grade = list
    if cfg.reward != "exact" and {"scores", "labels"} & set(kinds):
        from nanouft.run import choose_rows
        graded = partial(choose_rows.graded, kinds=kinds, reward=cfg.reward, device=device)
    if cfg.data:
        return rows_of_files(cfg, objective, hp, graded)
    drawn = partial(world.mixed_rows, kinds=kinds, skills=cfg.skills, mix=cfg.mix)
    train = drawn("train", n=cfg.rows, seed=cfg.seed, noise=cfg.noise)
    return graded(train), graded(drawn("val", n=200, seed=0))


def rows_of_files(cfg: Train, objective: Objective, hp: Any, graded: Grade) -> Split:
    """The rows of --data. Prints a note on rows that teach little."""
    kinds = objective.kinds(hp)
    rows, held = map(graded, read_files(cfg, kinds))
    wanted = objective.rows(rows, hp)      # errors about what is missing name the whole file
    say("\n".join([ledger(rows, wanted, kinds), *doubtful(rows)]))
    for what, known in (("label", {r.label for r in wanted}), ("score", {r.score for r in wanted})):
        if known != {None} and len(known) == 1:
            say(f"note: every answer has the same {what}: "
                "there is nothing to tell good from bad by")
    if kinds == ["pairs"]:
        if equal := len([r for r in rows if r.chosen and r.rejected]) - len(wanted):
            say(f"{equal:,} pairs skipped: chosen equals rejected")
    if ours := world.named(rows):               # answers to NanoWorld's prompts, from a harvest
        return ours, world.named(held) or held or graded(world.mixed_rows("val", kinds, 200, 0))
    return held_apart(cfg, objective, rows, held)


def ledger(rows: list[Row], wanted: list[Row], kinds: list[str]) -> str:
    """Where the rows go, in a line: "7 good answers and 6 unjudged answers: 7 demonstrations"."""
    use = " and ".join(KINDS.get(kind, kind) for kind in kinds)
    alone = " (nobody has judged them yet: not learnt from)"
    return (f"{contents(rows)}{alone * any(row.unjudged for row in rows)}: "
            f"{len(wanted):,} {use} to learn from")


def doubtful(rows: list[Row]) -> list[str]:
    """A note on rows that stand in the data twice, and on grades that contradict each other."""
    copies = len(rows) - len(set(rows))
    sides: dict[Any, set] = {}
    for row in rows:
        if row.answer is not None and row.label is not None:
            sides.setdefault((row.prompt, row.answer), set()).add(row.label > 0.5)
    torn = sum(len(labels) == 2 for labels in sides.values())
    pairs = {(row.prompt, row.chosen, row.rejected) for row in rows if is_real_pair(row)}
    both = sum((prompt, other, one) in pairs for prompt, one, other in pairs) // 2
    return [f"note: {text}" for many, text in (
        (copies, f"{copies:,} rows repeat an earlier row exactly: each counts again"),
        (torn, f"{torn:,} answers are labelled good in one row and bad in another"),
        (both, f"{both:,} pairs stand there both ways round")) if many]


def read_files(cfg: Train, kinds: list[str]) -> Split:
    """The rows of --data and those of --eval-data. Prints what was read."""
    from nanouft.files.read import read  # only if there are files to read
    assert cfg.data
    how = (cfg.prompt_field, cfg.response_field, kinds == ["prompts"], cfg.strict, cfg.grades,
           cfg.reward)
    rows, found = read(cfg.data, *how)
    held, more = read(cfg.eval_data, *how) if cfg.eval_data else ([], [])
    say(*found, *more, sep="\n")
    if len({file.scale for file in (*found, *more)} - {(0, 1)}) > 1:
        raise UserError("the files have grades on different scales; give one for all of them, "
                        "as --grades 1:5")
    if cfg.plain:                               # nothing is measured: all rows may be trained on
        return rows, held
    trained = set(rows)
    unseen = [row for row in held if row not in trained]
    if held and not unseen:
        raise UserError(f"--eval-data: all its {len(held):,} rows are in --data, too, so nothing "
                        "would be held out; leave it out (then a tenth of --data is), or give "
                        "other rows")
    if lost := len(held) - len(unseen):
        say(f"note: {lost:,} of {len(held):,} rows of --eval-data are in --data, too: they are "
            "trained on, and not held out")
    return rows, unseen


def held_apart(cfg: Train, objective: Objective, rows: list[Row], held: list[Row]) -> Split:
    """Rows of the user's own world: held out are those of --eval-data, else a tenth."""
    if objective.on_policy and objective.rewarded and cfg.reward == "exact":
        from nanouft.rewards.scorer import NO_EXACT
        raise UserError(NO_EXACT)
    if cfg.init == "base":
        say("note: the shipped base has read nothing but NanoWorld: fine to try a command; for "
            "real use give another --init (python -m nanouft.pretrain --corpus my.txt --out "
            "out/mine makes one)")
    if objective.on_policy and cfg.reward == "exact":   # nobody scores answers to held-out prompts
        return rows, []
    known = provenance.trained_on(cfg.init)
    train, held = (rows, held) if cfg.eval_data else holdout(rows)
    if lost := len(held) - len(provenance.unseen(held, known)):
        held = provenance.unseen(held, known)
        if not cfg.eval_data:
            held = holdout(provenance.unseen(rows, known))[1]
            train = provenance.unseen(rows, {*map(question_hash, held)})
        say(f"note: {cfg.init} was trained on {lost:,} of the rows to hold out: they are not "
            f"held out; {len(held):,} others are")
    if not held:
        say("note: no row is held out, since rows with one prompt stay together: "
            "there will be no held-out figures")
    return train, held


# ---- tokens and columns --------------------------------------------------------------------------
def encode_rows(name: str, cfg: Train, hp: Any, rows: Split, model: GPT, tok: Tokenizer) -> Data:
    """Prints what was read, and one example. UserError if nothing fits into the context."""
    objective, (train_rows, held_rows) = OBJECTIVES[name], rows
    room = min(cfg.max_length or model.cfg.n_ctx, model.cfg.n_ctx)
    if objective.on_policy:
        room = room_for_prompts(room, cfg.max_new)
    wanted = objective.rows(train_rows, hp)
    train, lost = encode(wanted, tok, room)
    held = encode_held_out(objective, hp, held_rows, tok, room)
    kinds = objective.kinds(hp)
    needs = " and ".join(KINDS.get(kind, kind) for kind in kinds)
    if objective.on_policy and len(wanted) < len(train_rows):
        needs += (f"; {len(train_rows) - len(wanted):,} rows repeat the prompt of an earlier row, "
                  "which alone counts")
    two = " (a pair counts as two answers)" if len(train) > len(train_rows) else ""
    origin = "your data" if cfg.data else "NanoWorld, the built-in data"
    say(f"{origin}: {len(train):,} of {len(train_rows):,} rows serve {name} (it needs {needs}); "
        f"{len(held)} of {len(held_rows)} rows held out do, too{two}")
    if len(kinds) > 1 and not cfg.data:
        say(contents(train_rows))
    say("".join(line + "\n" for line in lost.lines(room, cfg.max_length)), end="")
    print(report.example(train, tok))
    return Data(tok, train, held, train_rows, held_rows, runs.fingerprint(model, train))


def room_for_prompts(room: int, max_new: int) -> int:
    """Tokens that a prompt may have, so that an answer fits after it."""
    if room <= 1 + max_new:
        raise UserError(f"--max-new {max_new}: leaves no room for a prompt in the context "
                        "or --max-length")
    return room - 1 - max_new


def encode_held_out(objective: Objective, hp: Any, rows: list[Row], tok: Tokenizer,
                    room: int) -> list[Encoded]:
    """Held-out rows as tokens. If none serves, there are only no held-out figures. Of labels the
    answers are compared, so KTO's mismatched ones are not needed."""
    if not rows:
        return []
    labels = objective.kinds(hp) == ["labels"]
    try:
        found = label_rows(rows, hp) if labels else objective.rows(rows, hp)
        return encode(found, tok, room)[0]
    except UserError:
        return []


def write_columns(data: Data, objective: Objective, hp: Any, cfg: Train, models: Models) -> None:
    """What other models compute about the rows (reference.py)."""
    columns = objective.columns
    if objective.on_policy:                     # sampling.measure writes those of sampled answers
        columns = ()
    elif objective.kinds(hp) != ["demos"]:      # so that the log can say how far the run goes
        columns = tuple(dict.fromkeys((*columns, REF)))
    if columns:
        add_columns(data.train, columns, models, hp)
    if REF in columns:
        add_columns(data.held, (REF,), models)
    if objective.arrange:
        data.train = objective.arrange(data.train, cfg.seed)
