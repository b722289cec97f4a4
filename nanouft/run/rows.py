"""The rows of a training run: read from files or drawn from NanoWorld, chosen, graded, tokenized.

    train, held = load_rows(cfg, objective, hp, device)
    data = encode_rows(name, cfg, hp, (train, held), model, tok)
"""
from dataclasses import dataclass
from functools import partial
from typing import Any

from nanouft import world
from nanouft.data.batches import Encoded, encode
from nanouft.data.rows import Row, contents, holdout, label_rows
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError
from nanouft.eval import report
from nanouft.gpt import GPT
from nanouft.objective import REF, Objective
from nanouft.objectives import OBJECTIVES
from nanouft.reference import Models, add_columns
from nanouft.run import runs
from nanouft.run.flags import Train

Split = tuple[list[Row], list[Row]]         # rows to train on, rows held out


@dataclass
class Data:
    """The rows of a run as its objective wants them, in tokens."""
    tok: Tokenizer
    train: list[Encoded]
    held: list[Encoded]
    train_rows: list[Row]
    held_rows: list[Row]
    key: str                # hash of rows and start weights: --resume goes on only where both stay


# ---- rows ----------------------------------------------------------------------------------------
def load_rows(cfg: Train, objective: Objective, hp: Any, device: str = "cpu") -> Split:
    """From the user's files, or drawn from NanoWorld; graded by --reward where the method learns
    from grades."""
    kinds: list[str] = objective.kinds(hp)
    graded: Any = list
    if cfg.reward != "exact" and {"scores", "labels"} & set(kinds):
        from nanouft.run import choose_rows
        graded = partial(choose_rows.graded, kinds=kinds, reward=cfg.reward, device=device)
    if not cfg.data:
        train, held = drawn_rows(cfg, kinds)
        return graded(train), graded(held)
    rows, held = map(graded, read_files(cfg, kinds))
    wanted = objective.rows(rows, hp)           # what is missing is said of the whole file
    for what, known in (("label", {r.label for r in wanted}), ("score", {r.score for r in wanted})):
        if known != {None} and len(known) == 1:
            print(f"note: every answer has the same {what}: "
                  "there is nothing to tell good from bad by")
    if kinds == ["pairs"]:
        if equal := len([r for r in rows if r.chosen and r.rejected]) - len(wanted):
            print(f"{equal:,} pairs skipped: chosen equals rejected")
    if ours := world.named(rows):               # answers to NanoWorld's prompts, from a harvest
        return ours, world.named(held) or held or graded(world.mixed_rows("val", kinds, 200, 0))
    return held_apart(cfg, objective, rows, held)


def drawn_rows(cfg: Train, kinds: list[str]) -> Split:
    """NanoWorld's rows."""
    drawn = partial(world.mixed_rows, kinds=kinds, skills=cfg.skills, mix=cfg.mix)
    return (drawn("train", n=cfg.rows, seed=cfg.seed, noise=cfg.noise),
            drawn("val", n=200, seed=0))


def read_files(cfg: Train, kinds: list[str]) -> Split:
    """The rows of --data and those of --eval-data. Says what was read."""
    from nanouft.files.read import read  # only where there are files to read
    how = (cfg.prompt_field, cfg.response_field, kinds == ["prompts"], cfg.strict, cfg.grades,
           cfg.reward)
    rows, found = read(cfg.data, *how)
    held, more = read(cfg.eval_data, *how) if cfg.eval_data else ([], [])
    print(*found, *more, sep="\n")
    if len({file.scale for file in (*found, *more)} - {(0, 1)}) > 1:
        raise UserError("the files have grades on different scales; give one for all of them, "
                        "as --grades 1:5")
    return rows, held


def held_apart(cfg: Train, objective: Objective, rows: list[Row], held: list[Row]) -> Split:
    """Rows of the user's own world: held out are those of --eval-data, else a tenth."""
    if objective.on_policy and objective.rewarded and cfg.reward == "exact":
        from nanouft.rewards.scorer import NO_EXACT
        raise UserError(NO_EXACT)
    if cfg.init == "base":
        print("note: the shipped base has read nothing but NanoWorld: fine to try a command; for "
              "real use give another --init (python -m nanouft.pretrain --corpus my.txt --out "
              "out/mine makes one)")
    if objective.on_policy and cfg.reward == "exact":   # nobody scores answers to held-out prompts
        return rows, []
    train, held = (rows, held) if cfg.eval_data else holdout(rows)
    if not held:
        print("note: no row is held out, since rows with one prompt stay together: "
              "there will be no held-out figures")
    return train, held


# ---- tokens and columns --------------------------------------------------------------------------
def encode_rows(name: str, cfg: Train, hp: Any, rows: Split, model: GPT, tok: Tokenizer) -> Data:
    """Says what was read and shows one example. UserError if nothing fits into the context."""
    objective, (train_rows, held_rows) = OBJECTIVES[name], rows
    room = min(cfg.max_length or model.cfg.n_ctx, model.cfg.n_ctx)
    room -= 1 + cfg.max_new if objective.on_policy else 0       # an answer must fit after it
    if room < 1:
        raise UserError(f"--max-new {cfg.max_new}: leaves no room for a prompt in the context "
                        "or --max-length")
    wanted = objective.rows(train_rows, hp)
    train, lost = encode(wanted, tok, room)
    held = encode_held_out(objective, hp, held_rows, tok, room)
    kinds = objective.kinds(hp)
    needs = " + ".join(kinds)
    if objective.on_policy and len(wanted) < len(train_rows):
        needs += (f"; {len(train_rows) - len(wanted):,} rows repeat the prompt of an earlier row, "
                  "which alone counts")
    print(f"{len(train):,} of {len(train_rows):,} rows serve {name} (it needs {needs}); "
          f"{len(held)} of {len(held_rows)} rows held out do, too"
          + " (a pair counts as two answers)" * (len(train) > len(train_rows)))
    if len(kinds) > 1:
        print(contents(train_rows))
    print("\n".join([*lost.lines(room, cfg.max_length), report.example(train, tok)]))
    return Data(tok, train, held, train_rows, held_rows, runs.fingerprint(model, train))


def encode_held_out(objective: Objective, hp: Any, rows: list[Row], tok: Tokenizer,
                    room: int) -> list[Encoded]:
    """Held-out rows as tokens. None is no error: there are only no held-out figures then. (Of
    labels the answers are compared, so KTO's mismatched ones are not needed.)"""
    rows_of = label_rows if objective.kinds(hp) == ["labels"] else objective.rows
    try:
        return encode(rows_of(rows, hp), tok, room)[0] if rows else []
    except UserError:
        return []


def write_columns(data: Data, objective: Objective, hp: Any, cfg: Train, models: Models) -> None:
    """What other models have to say about the rows (reference.py)."""
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
