"""Settings of a row, chosen on validation: a grid of two axes that grows at its edges.

    chosen = run_searches({"DPO": Search(cell_at, axes)}, run)  # {"DPO": {"--lr": "3e-5", ...}}

Every setting is tried with `first` seeds; the best FINAL of them get `more`. Of all settings that
have all seeds, the one with the best mean is chosen. If it lies at an edge, the axis gets one more
value there, and the search goes on, `growths` times at most. A value that nothing lies beyond
(`ends`) is no edge. Searches run side by side.
"""
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

from lab.cell import Cell

FIRST, FINAL, MORE, GROWTHS = 1, 3, 3, 1
VAL_SEED = 1000                 # validation has seeds of its own: 1000, 1001 ...
Setting = tuple[str, ...]       # a value an axis


@dataclass
class Search:
    cell_at: Callable[[Setting, int], Cell]         # (setting, seed) -> what is trained
    axes: dict[str, list[str]]                      # {flag: its values, in order}
    first: int = FIRST
    more: int = MORE
    ends: tuple[str, ...] = ()                      # values with nothing beyond
    # a run that diverged counts as nothing
    measure: Callable[[dict], float] = lambda cell: cell.get("mean", 0.0)
    growths: int = GROWTHS
    grown: int = field(default=0, init=False)
    edges: list[str] = field(default_factory=list, init=False)  # flags still at an edge

    def settings(self) -> list[Setting]:
        return list(product(*self.axes.values()))

    def wanted(self, done: dict[str, dict]) -> list[Cell]:
        """The cells that the next round needs; none when the choice is made."""
        cells = [self.cell_at(s, VAL_SEED + i) for s in self.settings() for i in range(self.first)]
        if missing := [c for c in cells if c.key not in done]:
            return missing
        cells = [self.cell_at(s, VAL_SEED + i) for s in self.final(done)
                 for i in range(self.first + self.more)]
        if missing := [c for c in cells if c.key not in done]:
            return missing
        return self.wanted(done) if self.grow(done) else []

    def score(self, setting: Setting, seeds: int, done: dict[str, dict]) -> float:
        """Mean over seeds."""
        return sum(self.measure(done[self.cell_at(setting, VAL_SEED + i)
                                     .key]) for i in range(seeds)) / seeds

    def final(self, done: dict[str, dict]) -> list[Setting]:
        """The best of the first seeds."""
        return sorted(self.settings(), key=lambda s: -self.score(s, self.first, done))[:FINAL]

    def best(self, done: dict[str, dict]) -> Setting:
        """The best of those that have all seeds: the final ones, also of a grid before it grew."""
        seeds = range(self.first + self.more)
        whole = [s for s in self.settings()
                 if all(self.cell_at(s, VAL_SEED + i).key in done for i in seeds)]
        return max(whole, key=lambda s: self.score(s, len(seeds), done))

    def at_border(self, done: dict[str, dict]) -> list[tuple[str, int]]:
        """[(flag, 0 or -1)]: where the best setting lies at an end of what was tried, also at one
        with nothing beyond."""
        return [(flag, end) for (flag, values), value in zip(self.axes.items(), self.best(done))
                for end in (0, -1) if values[end] == value]

    def at_edge(self, done: dict[str, dict]) -> list[tuple[str, int]]:
        """... at an end that has something beyond."""
        return [(flag, end) for flag, end in self.at_border(done)
                if self.axes[flag][end] not in self.ends]

    def grow(self, done: dict[str, dict]) -> bool:
        """Adds a value beyond each edge where the best lies; False if there is none, or it was done
        often enough."""
        edges = self.at_edge(done) if self.grown < self.growths else []
        for flag, end in edges:
            values = self.axes[flag]
            values.insert(0 if end == 0 else len(values), beyond(values, end))
        self.grown += bool(edges)
        return bool(edges)


def beyond(values: list[str], end: int) -> str:
    """The next value of a geometric axis: its last ratio once more, two digits."""
    a, b = (values[0], values[1]) if end == 0 else (values[-1], values[-2])
    value = float(a) * float(a) / float(b)
    return (f"{value:.2g}"
            if value >= 1e-3 else f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-"))


def run_searches(searches: dict[object, Search],
                 run: Callable[[list[Cell]], dict[str, dict]]) -> dict[object, dict]:
    """{name: {flag: value}}, chosen. `run` trains cells and returns all finished ones by key."""
    done: dict[str, dict] = {}
    while wanted := list(dict.fromkeys(c for s in searches.values() for c in s.wanted(done))):
        done = run(wanted)
    for s in searches.values():
        s.edges = [flag for flag, _ in s.at_edge(done)]
    return {name: dict(zip(s.axes, s.best(done))) for name, s in searches.items()}
