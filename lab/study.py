"""A study as a plan: rows, how their settings are chosen, the cells that follow. claims.py and
regimes.py are plans.

    study = Study(CLAIMS.__getitem__)
    study.tune(["C1"], run)             # `run` trains missing cells, returns all finished by key
    cells = study.test_cells("C1")      # {base: {row: its cells, one a seed}}

Settings are chosen on validation (search.py), with seeds of its own, and never see the test split.
A row without axes has no setting, or takes that of another row, of another plan, too.
"""
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab import sums
from lab.cell import Cell
from lab.cells import run_cells
from lab.contrast import NINE, Parts, endpoint_score
from lab.own import APART, Own
from lab.search import Search, run_searches

SECOND = "docs/results/base-1"  # python -m nanouft.pretrain --seed 1 --out docs/results/base-1
BASES = ("base", SECOND)
ITEMS, VAL_ITEMS = 100, 60
Setting = dict[str, str]


@dataclass(frozen=True)
class Look:
    """How a cell is scored."""
    split: str
    items: int
    each: bool


VAL, TEST = Look("val", VAL_ITEMS, False), Look("test", ITEMS, True)
START = Look("test", ITEMS, False)  # of what others start from: how it is scored does not matter


@dataclass(frozen=True)
class Row:
    """One row of a table: flags of train, and the axes of its search."""
    flags: str
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    after: str | None = None            # the row that it starts from [the base]
    like: str | None = None             # the row whose settings it takes
    at: object = None                   # the key of the plan that chooses its settings [its own]
    scale: float | None = None          # with `like`: times the learning rate [as is]
    apart: bool = False                 # other demonstrations than the row that it starts from
    own: Own | None = None              # answers that it reads: "{own}"; without model and seed
    asks: str | None = None             # the row whose model gives these answers [`after`]
    aligned: Cell | None = None         # whose model "{aligned}" in the flags is
    best_of: int = 1                    # it answers with the best of so many samples
    curve: bool = False                 # its rewards on the way are kept


@dataclass(frozen=True)
class Plan:
    rows: dict[str, Row]
    baseline: str                       # the row that all others are shown against
    contrasts: tuple = ()               # judge.Contrast
    bases: tuple[str, ...] = BASES
    tuned_on: tuple[str, ...] = BASES[:1]  # bases with their own search; others take the first's
    seeds: Sequence[int] = range(5)     # of the test cells
    prompts: int = 0                    # seed of the test prompts
    # the endpoint, of the search, too: mean over parts of the mean over families; (): the mean of
    # all answers, as a cell has it
    parts: Parts = NINE
    columns: dict[str, Parts] = field(default_factory=dict)     # of the table, beside the endpoint
    ends: tuple[str, ...] = ()          # values of an axis with nothing beyond
    effort: dict[str, int] = field(default_factory=dict)  # of its searches (search.py)
    world: str = ""                     # of its cells: "sums", or NanoWorld


@dataclass
class Study:
    plan: Callable[[object], Plan]                              # key -> plan
    chosen: dict[tuple, Setting] = field(default_factory=dict)  # {(key, row, base): setting}
    searches: dict[tuple, Search] = field(default_factory=dict)

    # ---- settings --------------------------------------------------------------------------------
    def home(self, key, name: str) -> tuple:
        """(key, row) where the settings of a row are chosen."""
        row = self.plan(key).rows[name]
        at, like = key if row.at is None else row.at, row.like or name
        return (key, name) if (at, like) == (key, name) else self.home(at, like)

    def homes(self, key) -> list[tuple]:
        """Those of all rows of a plan, and of the rows that they start from."""
        own = [self.home(key, name) for name in self.plan(key).rows]
        afters = [(place, self.plan(place).rows[name].after) for place, name in own]
        return own + [self.home(place, after) for place, after in afters if after]

    def place(self, key, name: str, base: str) -> tuple:
        """Key of `chosen` and `searches`: a base without a search of its own takes the settings of
        the first."""
        tuned_on = self.plan(key).tuned_on
        return (*self.home(key, name), base if base in tuned_on else tuned_on[0])

    def setting(self, key, name: str, base: str) -> Setting:
        found = self.chosen.get(self.place(key, name, base), {})
        scale = self.plan(key).rows[name].scale
        return found if scale is None else found | {"--lr": f"{scale * float(found['--lr']):.1e}"}

    def edges(self, key, name: str, base: str) -> list[str]:
        """Flags whose chosen value is at an edge of what was tried."""
        search = self.searches.get(self.place(key, name, base))
        return search.edges if search else []

    def search(self, key, name: str, base: str) -> Search:
        plan = self.plan(key)
        axes = {flag: list(values) for flag, values in plan.rows[name].axes.items()}

        def cell_at(setting: tuple, seed: int) -> Cell:
            return self.cell(key, name, seed, base, VAL, dict(zip(axes, setting)))
        measure = {"measure": lambda c: endpoint_score(c, plan.parts)} if plan.parts else {}
        return Search(cell_at, axes, ends=plan.ends, **measure, **plan.effort)

    def tune(self, keys: Iterable, run: Callable) -> None:
        """Chooses the settings of all rows of these plans. Searches run side by side, those of rows
        that start from another row after the others."""
        homes = list(dict.fromkeys(home for key in keys for home in self.homes(key)))
        for chains in (False, True):
            now = {(key, name, base): self.search(key, name, base) for key, name in homes
                   for base in self.plan(key).tuned_on
                   if self.plan(key).rows[name].axes
                   and bool(self.plan(key).rows[name].after) == chains}
            self.chosen |= run_searches(now, run)
            self.searches |= now

    def run(self, keys: Iterable, file: Path, workers: int, more: Iterable[Cell] = ()) -> None:
        """Tunes these plans, then trains and scores their test cells, and `more`, where they are
        not in `file`."""
        self.tune(keys, lambda cells: run_cells(cells, file, workers))
        run_cells([*more, *(c for key in keys for rows in self.test_cells(key).values()
                            for row in rows.values() for c in row)], file, workers)

    # ---- cells -----------------------------------------------------------------------------------
    def cell(self, key, name: str, seed: int, base: str, look: Look = TEST,
             setting: Setting | None = None) -> Cell:
        """The training run of a row; what it starts from, and who answers for it, has the same
        seed."""
        plan, row = self.plan(key), self.plan(key).rows[name]

        def model(other: str | None):
            return self.cell(key, other, seed, base, START) if other else base
        own = replace(row.own, model=model(row.asks or row.after), seed=seed) if row.own else None
        chosen = self.setting(key, name, base) if setting is None else setting
        flags = [word for pair in chosen.items() for word in pair]
        items = sums.ITEMS[look.split] if plan.world else look.items
        return Cell((*row.flags.split(), *flags), seed + APART * row.apart, model(row.after),
                    look.split, items, plan.prompts if look is TEST else 0, own=own,
                    aligned=row.aligned, best_of=row.best_of,
                    each=look.each, curve=row.curve and look.each, world=plan.world)

    def test_cells(self, key) -> dict[str, dict[str, list[Cell]]]:
        """{base: {row: its cells, one a seed}}."""
        plan = self.plan(key)
        return {base: {name: [self.cell(key, name, seed, base) for seed in plan.seeds]
                       for name in plan.rows} for base in plan.bases}
