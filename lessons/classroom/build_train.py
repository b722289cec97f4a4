"""One's own program (build.py) as an entry of the arena: its loss in place of ours.

    python -m lessons arena mine.py --task uft --guess 0

The rows of each step are those of nanouft.train with the same flags, and the loop is that of
simple.py, so that everybody takes the same steps. All else that the loss calls is the student's, if
he has written it: no part is compared with ours here, and what counts is what the model has learnt.
A right program learns what ours does, up to rounding.
"""
import ast
import sys
from dataclasses import replace
from pathlib import Path

import torch

from lessons.classroom.build_parts import PARTS, put
from lessons.classroom.submissions import is_stub
from nanouft import simple
from nanouft.data.batches import RowSource
from nanouft.data.rows import Row
from nanouft.data.selection import is_demo
from nanouft.loop import Device
from nanouft.models.folders import save_model
from nanouft.plumbing.files import read_text
from nanouft.plumbing.user_code import load
from nanouft.run.load import load_rows, open_model
from nanouft.run.plan import Plan, plan_run
from nanouft.run.settings import read_flags


def written_parts(tree: ast.Module) -> set[str]:
    """The parts that a file has: all that it defines, without those that still end with
    `raise NotImplementedError`. The file is read, not run."""
    found = {name.id for name in ast.walk(tree)
             if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):           # the last one of a name counts
            found = found - {node.name} if is_stub(node) else found | {node.name}
    return found & set(PARTS)


def train_program(file: Path, flags: list[str]) -> None:
    """A run of nanouft.train with these flags by the losses of a student's file. Writes weights and
    tokenizer into the folder of --out."""
    torch.set_num_threads(1)
    objective, cfg, given = read_flags(flags)
    method = objective.name
    model, tok = open_model(cfg, objective, Device())
    read = load_rows(cfg, objective)
    plan = plan_run(cfg, objective, given, read, model, tok)
    demos = {(row.prompt, row.answer) for row in read[0] if is_demo(row)}
    rows = rows_of_steps(plan, demos, tok.pad)
    names = written_parts(ast.parse(read_text(file))) - {"train"}
    sys.path.insert(0, str(file.parent))                        # it may import its neighbour
    mine = load(file)
    put({name: getattr(mine, name) for name in names}, mine)
    loss_of, kinds, _, _ = simple.METHODS[method]
    simple.METHODS[method] = (loss_of, kinds, plan.rate, plan.steps)
    simple.train(model, rows, tok, method, plan.steps)
    save_model(Path(cfg.out), model, tok)


def rows_of_steps(plan: Plan, demos: set, pad: int) -> list[Row]:
    """The rows of all steps, one step after the other. An objective may have given a demonstration
    a score; here it has none, as in simple.py. demos: their (prompt, answer)."""
    order = RowSource(plan.train, plan.batching, pad).order
    rows = [plan.train[i].row for i in order.flatten()]
    return [replace(row, score=None) if (row.prompt, row.answer) in demos else row
            for row in rows]
