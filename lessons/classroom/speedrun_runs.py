"""What an entry of the speedrun may do, and its training, in a process of its own for each seed.

    check_rules(file)               # UserError, with its line; the file is read, not run
    run_seed(file, 0, folder)       # leaves the model in folder/model; (seconds, unit)

Seconds are those of computing (time.process_time), of all threads of the process together, so other
programs of the machine cost an entry little. The unit is a product of matrices, timed directly
before and after it on the same core.
"""
import ast
import time
from pathlib import Path

import torch

from lessons.classroom.arena_runs import ASKED, last_words
from lessons.classroom.sandbox import how_it_ended, run_limited
from nanouft import simple, world
from nanouft.gpt import shipped_base
from nanouft.models.folders import save_model
from nanouft.models.tokenizer import nano
from nanouft.objectives import OBJECTIVES
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_json, read_text, write_json
from nanouft.plumbing.user_code import load

ROWS = 2048                         # demonstrations that an entry gets
LETTERS = 20_000                    # of an entry, so it holds no weights
SECONDS, WAITING = 240, 1800        # of computing, and on the clock, for one seed
SIDE, PRODUCTS = 512, 100           # the unit: so many products of two square matrices
MODULES = {"math", "numpy", "random", "torch", "nanouft"}       # which an entry may import
CLOSED = {                          # names that it may not use, and why
    "world": "it learns from the rows that it gets",
    "models": "its weights begin as the shipped base",
    **dict.fromkeys(("open", "load", "load_file"), "it opens no file"),
    "set_num_threads": "it computes on one thread"}


def check_rules(file: Path) -> str:
    """The first line of its docstring. UserError with the rule that an entry breaks."""
    text = read_text(file)
    if len(text) > LETTERS:
        raise UserError(f"{file}: {len(text):,} letters; an entry has {LETTERS:,} at most")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as e:
        raise UserError(f"{file}: cannot be read ({e})") from None
    for node in ast.walk(tree):
        where = f"{file}, line {getattr(node, 'lineno', 0)}"
        modules = [x.name for x in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = ["its neighbour" if node.level else node.module]
        for module in {x.partition(".")[0] for x in modules} - MODULES:
            raise UserError(f"{where}: imports {module}; an entry imports "
                            f"{', '.join(sorted(MODULES))} and nothing else")
        names = [getattr(node, x, None) or "" for x in ("id", "attr", "name", "module")]
        for part in {part for name in names for part in name.split(".")} & {*CLOSED}:
            raise UserError(f"{where}: {part} is closed to an entry; {CLOSED[part]}")
    if "train" not in [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]:
        raise UserError(f"{file}: has no function train(model, tok, rows, seed)")
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def run_seed(file: Path, seed: int, folder: Path) -> tuple[float, float]:
    """Train the base by the entry; (seconds of computing, seconds of the unit)."""
    said = folder / "said.txt"
    words = [str(file.resolve()), str(seed)]
    code = run_limited(train_seed, words, SECONDS, WAITING, folder, said)
    if not (folder / "time.json").is_file():
        raise UserError(f"{file}, seed {seed}: {how_it_ended(code, SECONDS, WAITING)} and left no "
                        f"model; the last line was: {last_words(said)}")
    found = read_json(folder / "time.json", seconds=float, unit=float)
    return found["seconds"], found["unit"]


# ---- in the process ------------------------------------------------------------------------------
def train_seed(file: str, seed: str) -> None:
    """Everything before and after the entry is ours and is not timed."""
    model, tok, clock = shipped_base(), nano(), time.process_time
    demos = world.rows("train", "demos", ROWS, int(seed), skills=ASKED)
    rows = OBJECTIVES["sft"]().choose(demos)
    simple.train(shipped_base(), rows[:16], tok, "sft", 1)      # PyTorch reads its files now
    torch.manual_seed(int(seed))
    before = product_seconds()
    began = clock()
    load(file).train(model, tok, rows, int(seed))
    seconds = clock() - began
    if torch.get_num_threads() != 1:
        raise UserError("it has more than one thread; an entry computes on one")
    unit = (before + product_seconds()) / 2
    save_model(Path("model"), model, tok)
    write_json(Path("time.json"), {"seconds": seconds, "unit": unit})


def product_seconds() -> float:
    """Seconds of computing for one unit: the products of two matrices of fixed size."""
    a, b = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
    torch.mm(a, b)
    began = time.process_time()
    for _ in range(PRODUCTS):
        torch.mm(a, b)
    return time.process_time() - began
