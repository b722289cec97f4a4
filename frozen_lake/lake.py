"""A frozen lake as arrays: gymnasium's FrozenLake-v1 as tensors that can be solved exactly.

    lake = make_lake("twoway5")         # a map of MAPS, or a text file of your own
    lake.P[s, a, t]                     # chance that action a in cell s leads to cell t

S is the start, F ice, H a hole, G the goal. Stepping onto G gives reward 1, anything else 0; H and
G end the episode. Cells are numbered row by row, actions are 0 left, 1 down, 2 right, 3 up. The ice
is not slippery: a move leads where it points. The dynamics are not written here but read from
gymnasium's own table, `env.unwrapped.P`, and so is its limit of steps.
"""
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import gymnasium
import torch
from torch import Tensor

from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.files import read_text

ARROWS = "←↓→↑"                                     # actions 0..3, in gymnasium's order

MAPS: dict[str, tuple[str, ...]] = {
    "twoway5": ("SFFFF", "FHHHF", "FHFFF", "FHFHH", "FFFFG"),  # two ways to G: 8 and 12 moves
    "default4": ("SFFF", "FHFH", "FFFH", "HFFG"),  # gymnasium's own
    "default8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF",
                 "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
}


@dataclass(frozen=True)
class Lake:
    """One map. All tables are float64, over S = height * width cells and 4 actions."""
    name: str
    rows: tuple[str, ...]

    @property
    def width(self) -> int:
        return len(self.rows[0])

    @property
    def letters(self) -> str:
        return "".join(self.rows)

    @property
    def S(self) -> int:
        return len(self.letters)

    @property
    def start(self) -> int:
        return self.letters.index("S")

    @property
    def goal(self) -> int:
        return self.letters.index("G")

    @property
    def P(self) -> Tensor:
        """(S,4,S) transition probabilities. G and H lead to themselves: they absorb."""
        return dynamics(self.rows)[0]

    @property
    def R(self) -> Tensor:
        """(S,4) reward of the step."""
        return dynamics(self.rows)[1]

    @property
    def limit(self) -> int:
        """Steps after which gymnasium ends an episode: 100, on custom maps of any size."""
        return dynamics(self.rows)[2]

    @cached_property
    def step(self) -> Tensor:
        """(S,4) the cell to which an action leads. At the edge, in G and in H one stays."""
        return self.P.argmax(-1)

    @cached_property
    def terminal(self) -> Tensor:
        """(S,) bool: G and H."""
        return torch.tensor([letter in "GH" for letter in self.letters])

    @cached_property
    def live(self) -> list[int]:
        """Cells on ice from which G can be reached. In any other cell no action matters."""
        reaches = torch.zeros(self.S, dtype=torch.bool)
        reaches[self.goal] = True
        for _ in range(self.S):  # backwards from G; a hole leads to itself alone
            reaches = reaches[self.step].any(-1)
        return [s for s in reaches.nonzero()[:, 0].tolist() if s != self.goal]


@cache
def dynamics(rows: tuple[str, ...]) -> tuple[Tensor, Tensor, int]:
    """(P, R, limit) of a map, from gymnasium."""
    env: Any = gymnasium.make("FrozenLake-v1", desc=[[*row] for row in rows], is_slippery=False)
    S = len("".join(rows))
    P = torch.zeros(S, 4, S, dtype=torch.float64)
    R = torch.zeros(S, 4, dtype=torch.float64)
    for s, actions in env.unwrapped.P.items():
        for a, [(_, t, reward, _)] in actions.items():
            P[s, a, t] = 1
            R[s, a] = reward
    limit = env.spec.max_episode_steps
    env.close()
    return P, R, limit


# ---- maps ----------------------------------------------------------------------------------------
def make_lake(name: str) -> Lake:
    """A map of MAPS by its name, else a text file, one row per line. UserError if the map cannot
    be used."""
    if name in MAPS:
        return Lake(name, MAPS[name])
    if not Path(name).exists():
        one_of("map", name, [*MAPS, "or a text file"])
    rows = tuple(line.strip() for line in read_text(name).split("\n") if line.strip())
    lake = Lake(Path(name).stem, rows)
    if wrong := map_mistake(lake):
        raise UserError(f"{name}: {wrong}")
    return lake


def map_mistake(lake: Lake) -> str | None:
    """What is wrong with a map, in one line."""
    if not lake.rows:
        return "no map in it; a map is rows of S (start), F (ice), H (hole) and G (goal)"
    for i, row in enumerate(lake.rows, 1):
        if strange := set(row) - set("SFHG"):
            return f"row {i}: unknown cell {min(strange)!r}; known are S, F (ice), H (hole) and G"
        if len(row) != lake.width:
            return f"row {i}: {len(row)} cells, but row 1 has {lake.width}; make them equal"
    for letter in "SG":
        if (n := lake.letters.count(letter)) != 1:
            return f"{n} cells {letter}; there must be exactly one"
    if lake.start not in lake.live:
        return "no path from S to G; open one by turning an H into F"
    if lake.goal in lake.step[lake.start]:
        return "G is one move from S; put them farther apart"
    return None
