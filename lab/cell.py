"""One training run of an experiment: its flags, its seed, what it starts from; how it is trained,
and what that costs.

    sft = Cell(("--objective", "sft"), seed=0)
    chain = Cell(("--objective", "dpo"), seed=0, start=sft)
    init = train_cell(chain, Path("out/mine"))          # a model folder

What a cell starts from, the answers it learns from and the models it asks are made once and kept in
out/.cells under their keys. cells.py scores cells and keeps them. CELL_VERSION is raised by hand
when code changes what cells give.
"""
import contextlib
import io
import json
import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from lab import cost, own_files, sums
from lab.own import APART, KEPT_RIGHT, Own
from nanouft import reward, train
from nanouft.errors import UserError
from nanouft.models.load import folder_of
from nanouft.objectives import OBJECTIVES
from nanouft.rewards import harvest
from nanouft.run.storage import Lines, checksum, made_once, read_json, write_json
from nanouft.world.__main__ import main as write_demos

CELL_VERSION = 1
EVAL_EVERY = 24  # steps between held-out figures of a curve; looking changes no weight
ONE_THREAD = ("--threads", "1", "--device", "cpu")
KEEP = Path("out/.cells")                                       # models that chains start from
# transfer.LARGE; tables can be written without its weights
NOT_IN_GIT = {"out/base-256": "4dfd2e22aef64d6b"}


@dataclass(frozen=True)
class Cell:
    """One training run. `start` is another cell (a chain) or the name of a base; no flags = the
    start as it is."""
    flags: tuple[str, ...]
    seed: int = 0
    start: "Cell | str" = "base"
    split: str = "test"
    items: int = 100
    prompts: int = 0                # seed of the prompts that it is scored on
    own: Own | None = None          # answers of a model (own.py); "{own}" is their folder
    aligned: "Cell | None" = None   # its model is asked about demonstrations: folder "{aligned}"
    best_of: int = 1                # answer with the best of so many samples by own's reward model
    each: bool = False              # keep the score of every answer, and what all stages cost
    curve: bool = False             # of what samples while it trains: keep its rewards on the way
    world: str = ""                 # "sums": not NanoWorld (sums.py); "{world}" is its folder

    def __str__(self) -> str:
        after = f" after {shlex.join(self.start.flags)}" if isinstance(self.start, Cell) else ""
        return f"{shlex.join(self.flags) or 'the start'}{after}, seed {self.seed}, {self.base}"

    @property
    def base(self) -> str:
        """The base that the first of a chain starts from."""
        return self.start.base if isinstance(self.start, Cell) else self.start

    @property
    def key(self) -> str:
        start = self.start.key if isinstance(self.start, Cell) else fingerprint(self.start)
        about = [CELL_VERSION, self.flags, self.seed, start, self.split, self.items]
        about += [f"prompts {self.prompts}"] if self.prompts else []
        about += [f"own {self.own.key}"] if self.own else []
        about += [f"aligned {self.aligned.model_key}"] if self.aligned else []
        about += [f"best of {self.best_of}"] if self.best_of > 1 else []
        about += ["each"] if self.each else []
        about += ["curve"] if self.curve else []
        about += [self.world] if self.world else []
        return checksum(json.dumps(about))[:16]

    @property
    def model_key(self) -> str:
        """Key of what is trained, however it is scored afterwards."""
        return replace(self, split="", items=0, prompts=0, best_of=1, each=False, curve=False).key


@lru_cache
def fingerprint(init: str) -> str:
    try:
        return checksum(folder_of(init) / "model.safetensors")[:16]
    except OSError:
        if init in NOT_IN_GIT:
            return NOT_IN_GIT[init]
        raise UserError(f"{init}: no model.safetensors there; give 'base', a run folder or one "
                        "that python -m nanouft.pretrain made")


def train_cell(cell: Cell, folder: Path, keep: Path = KEEP) -> str:
    """Train a cell in `folder`, and what it starts from in `keep`, unless that is there already;
    returns the --init value of its model. A cell without flags is its start."""
    start = cell.start if isinstance(cell.start, str) else kept_model(cell.start, keep)
    if not cell.flags:
        return start
    own = str(kept_own(cell.own, keep)) if cell.own else ""
    likes = cell.own.judge if cell.own and cell.own.errs else ""
    if cell.own and cell.own.labelled:
        likes = str(kept_reward(cell.own, keep))
    look = ["--eval-every", str(EVAL_EVERY)] if cell.curve else ["--plain"]
    asked = kept_model(cell.aligned, keep) if cell.aligned else ""
    of_world = str(kept_world(cell.seed, keep)) if cell.world else ""
    flags = [f.replace("{own}", own).replace("{reward}", likes).replace("{aligned}", asked)
             .replace("{world}", of_world) for f in cell.flags]
    with spending(folder, sampled=on_policy(cell)):
        train_into(folder, [*flags, *look], start, cell.seed)
    return str(folder)


def train_into(folder: Path, flags: Sequence[str], init: str, seed: int) -> None:
    """`python -m nanouft.train FLAGS` on one thread; only the last step is saved, and nothing is
    evaluated."""
    train.main([*flags, "--init", init, "--seed", str(seed), *ONE_THREAD, "--items", "0",
                "--save-every", "0", "--out", str(folder)])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What is printed inside is not shown."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def on_policy(cell: Cell) -> bool:
    """Does it sample while it trains?"""
    return any(OBJECTIVES[f].on_policy for f in cell.flags if f in OBJECTIVES)


@contextlib.contextmanager
def spending(folder: Path, **more):
    """Writes down what is computed inside the block: spent.json in `folder`, which the block
    makes."""
    began = time.process_time()
    with cost.counted() as meter:
        yield
    log = folder / "metrics.jsonl"
    write_json(folder / "spent.json", {
        "seconds": round(time.process_time() - began, 2), "flops": meter.flops,
        "tokens": sum(m.get("tokens", 0) for m in Lines(log).read()) if log.exists() else 0,
        **more})


def kept_model(cell: Cell, keep: Path = KEEP) -> str:
    """The --init value of a model that others start from: trained once; several processes may ask
    for it."""
    if not cell.flags:
        return train_cell(cell, keep, keep)
    return str(made_once(keep / cell.model_key, lambda place: train_cell(cell, place, keep)))


def kept_world(seed: int, keep: Path) -> Path:
    """The folder of the second world's files for a seed."""
    return made_once(keep / f"sums-{seed}", partial(sums.write, seed=seed), sums.DONE)


def kept_reward(own: Own, keep: Path) -> Path:
    """The folder of the reward model that scores answers; its pairs are drawn from prompts of their
    own."""
    init = kept_model(own.model, keep)

    def make(place: Path) -> None:
        with spending(place):
            reward.main(["--init", init, "--pairs", "samples", "--rows", str(own.labelled),
                         "--seed", str(2 * APART + own.seed), *ONE_THREAD, "--out", str(place)])
    return made_once(keep / f"reward-{own.reward_key}", make)


def kept_own(own: Own, keep: Path) -> Path:
    """The folder of the answers of a model, or of the demonstrations that are right: judging these
    computes nothing."""
    init = kept_model(own.model, keep)
    scored = ["--reward", str(kept_reward(own, keep))] if own.labelled else []
    scored += ["--reward", own.judge, "--good", "1"] if own.judge else []
    scored += ["--good", str(own.good)] if own.good is not None else []
    asked = ["--prompts", str(own.prompts), "--skills", own_files.skills(own)]
    if own.model.world:
        file = kept_world(own.seed, keep) / f"questions-{own.prompts}.jsonl"
        asked = ["--data", str(file), "--prompt-field", "question"]

    def make(place: Path) -> None:
        with spending(place):
            if own.prompts:
                harvest.main(["--init", init, *asked, "--samples", str(own.samples), "--seed",
                              str(own.seed),
                              *ONE_THREAD, "--out", str(place), *scored])
                if own.form:
                    own_files.write(place, own)
            else:
                write_demos(["--demos", str(own.rows), "--noise", str(own.noise), "--right",
                             "--seed", str(own.seed),
                             "--out", str(place / KEPT_RIGHT)])
    return made_once(keep / f"own-{own.key}", make,
                     done="harvest.json" if own.prompts else KEPT_RIGHT)


def stages(cell: Cell, folder: str, keep: Path) -> dict[str, dict]:
    """{folder: what was spent there} of all that a cell needs: its own training, its start, the
    models that answered or were asked, the answers, and the reward model. Each counts once; a base
    counts for nothing."""
    out = {folder: read_json(Path(folder) / "spent.json")} if cell.flags else {}
    answered = cell.own.model if cell.own and cell.own.prompts else None
    for before in (cell.start, cell.aligned, answered):
        if isinstance(before, Cell):
            out |= stages(before, kept_model(before, keep), keep)
    if cell.own:
        # else: its prompts only
        places = [kept_own(cell.own, keep)] if cell.flags and not on_policy(cell) else []
        places += [kept_reward(cell.own, keep)] if cell.own.labelled else []
        out |= {str(p): read_json(p / "spent.json") for p in places}
    return out
