"""A frozen lake as arrays: gymnasium's FrozenLake-v1 as tensors that can be solved exactly.

    lake = make_lake("twoway5")         # a map of MAPS, or a text file of your own
    lake.P[s, a, t]                     # chance that action a in cell s leads to cell t

S is the start, F ice, H a hole, G the goal. Stepping onto G pays 1, anything else 0; H and G end
the episode. Cells are numbered row by row. On a slippery lake each move goes to either side with
probability 1/3. The dynamics are not written here: they are read from gymnasium's own table
`env.unwrapped.P`, and so is its limit of steps.
Left out: gymnasium's other rewards and slip rates.
"""
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import torch
from torch import Tensor

from nanouft.errors import UserError
from nanouft.run.words import nearest

ARROWS = "←↓→↑"                                     # actions 0..3, in gymnasium's order
MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))          # (row, column)
MOST_CELLS = 400                                    # beyond it the (S,4,S) table is no longer small

MAPS: dict[str, tuple[str, ...]] = {
    "twoway5": ("SFFFF", "FHHHF", "FHFFF", "FHFHH", "FFFFG"),  # two ways to G: 8 and 12 steps
    "corridor4": ("SFFF", "HFHF", "HFHF", "HFGF"),
    "default4": ("SFFF", "FHFH", "FFFH", "HFFG"),  # gymnasium's own
    "default8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF",
                 "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
}


@dataclass(frozen=True)
class Lake:
    """One map. All tables are float64, over S = height * width cells and 4 actions."""
    name: str
    rows: tuple[str, ...]
    slippery: bool = False

    @property
    def height(self) -> int:
        return len(self.rows)

    @property
    def width(self) -> int:
        return len(self.rows[0])

    @property
    def S(self) -> int:
        return self.height * self.width

    @cached_property
    def letters(self) -> str:
        return "".join(self.rows)

    @property
    def start(self) -> int:
        return self.letters.index("S")

    @property
    def goal(self) -> int:
        return self.letters.index("G")

    @cached_property
    def holes(self) -> list[int]:
        return [s for s, letter in enumerate(self.letters) if letter == "H"]

    @cached_property
    def _tables(self) -> tuple[Tensor, Tensor, int]:
        env: Any = gymnasium.make("FrozenLake-v1", desc=list(self.rows), is_slippery=self.slippery)
        P = torch.zeros(self.S, 4, self.S, dtype=torch.float64)
        R = torch.zeros(self.S, 4, dtype=torch.float64)
        for s, actions in env.unwrapped.P.items():
            for a, outcomes in actions.items():
                for p, t, reward, _ in outcomes:
                    P[s, a, t] += p
                    R[s, a] += p * reward
        limit = env.spec.max_episode_steps
        env.close()
        return P, R, limit

    @property
    def P(self) -> Tensor:
        """(S,4,S) transition probabilities. G and H lead to themselves: they absorb."""
        return self._tables[0]

    @property
    def R(self) -> Tensor:
        """(S,4) expected reward of the step."""
        return self._tables[1]

    @property
    def limit(self) -> int:
        """Steps after which gymnasium ends an episode: 100, on custom maps of any size."""
        return self._tables[2]

    @cached_property
    def terminal(self) -> Tensor:
        """(S,) bool: G and H."""
        return torch.tensor([letter in "GH" for letter in self.letters])

    @cached_property
    def step(self) -> Tensor:
        """(S,4) the cell that an action INTENDS to reach. At the edge, in G and in H one stays."""
        def go(s: int, letter: str, dr: int, dc: int) -> int:
            r, c = s // self.width + dr, s % self.width + dc
            inside = 0 <= r < self.height and 0 <= c < self.width
            return r * self.width + c if inside and letter not in "GH" else s
        return torch.tensor([[go(s, letter, *move) for move in MOVES]
                             for s, letter in enumerate(self.letters)])

    @cached_property
    def live(self) -> list[int]:
        """Cells on ice from which G can be reached. In any other cell no action matters."""
        leads = self.step.tolist()
        reaches, new = {self.goal}, {self.goal}
        while new:  # backwards from G
            new = {s for s, letter in enumerate(self.letters)
                   if letter in "SF" and s not in reaches and new & set(leads[s])}
            reaches |= new
        return sorted(reaches - {self.goal})

    def _one_hot(self, cells: list[int]) -> Tensor:
        """(S,) 1 on these cells."""
        return torch.eye(self.S, dtype=torch.float64)[cells].sum(0)

    @cached_property
    def at_start(self) -> Tensor:
        return self._one_hot([self.start])

    @cached_property
    def at_goal(self) -> Tensor:
        return self._one_hot([self.goal])

    @cached_property
    def alive(self) -> Tensor:
        return self._one_hot(self.live)


class Lakes:
    """N lakes of one size as tables (N, ...), one for each learner. Everything in planning.py takes
    this in place of a Lake, with policies (..., N, S, 4)."""
    P: Tensor
    R: Tensor
    terminal: Tensor
    step: Tensor
    at_start: Tensor
    at_goal: Tensor
    alive: Tensor

    def __init__(self, lakes: list[Lake]):
        if len({(lake.height, lake.width) for lake in lakes}) != 1:
            raise ValueError("lakes that are stacked must be of one size")
        self.each, self.S, self.limit = lakes, lakes[0].S, lakes[0].limit
        different = list(dict.fromkeys(lakes))  # many learners on one lake: one table is made
        at = torch.tensor([different.index(lake) for lake in lakes])
        for name in Lakes.__annotations__:
            setattr(self, name, torch.stack([getattr(lake, name) for lake in different])[at])


def check(lake: Lake, where: str) -> Lake:
    """The lake, or a UserError that names in one line what is wrong with its map."""
    if not lake.rows:
        raise UserError(f"{where}: no map in it; a map is rows of S, F, H and G")
    for i, row in enumerate(lake.rows, 1):
        bad = next((letter for letter in row if letter not in "SFHG"), None)
        if bad:
            raise UserError(f"{where}, row {i}: unknown cell {bad!r}; "
                            "known are S (start), F (ice), H (hole), G (goal)")
        if len(row) != lake.width:
            raise UserError(f"{where}, row {i}: {len(row)} cells where row 1 has {lake.width}; "
                            "all rows must be equal")
    if lake.S > MOST_CELLS:
        raise UserError(f"{where}: {lake.S} cells; at most {MOST_CELLS} are solved here")
    for letter, what in (("S", "start"), ("G", "goal")):
        if (n := lake.letters.count(letter)) != 1:
            raise UserError(f"{where}: {n} cells {letter}; there must be exactly one {what}")
    if lake.start not in lake.live:
        raise UserError(f"{where}: no path from S to G; open one by turning an H into F")
    return lake


def read_map(file: str | Path, slippery: bool = False) -> Lake:
    """A text file, one row a line; empty lines and spaces around rows are ignored."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as e:
        why = getattr(e, "strerror", None) or e
        raise UserError(f"{file}: cannot be read as text ({why})")
    rows = tuple(line.strip() for line in text.split("\n") if line.strip())
    return check(Lake(Path(file).stem, rows, slippery), str(file))


def make_lake(name: str, slippery: bool = False) -> Lake:
    """A map of MAPS by its name, else a file."""
    if name in MAPS:
        return Lake(name, MAPS[name], slippery)
    if not Path(name).exists():
        raise UserError(f"unknown map {name!r}{nearest(name, MAPS)} "
                        f"(known: {', '.join(MAPS)}; or a text file)")
    return read_map(name, slippery)
