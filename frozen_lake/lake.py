"""A frozen lake as arrays: gymnasium's FrozenLake-v1 as tensors that can be solved exactly.

    lake = make_lake("twoway5")         # a map of MAPS, or a text file of your own
    lake.P[s, a, t]                     # chance that action a in cell s leads to cell t

S is the start, F ice, H a hole, G the goal. Stepping onto G gives reward 1, anything else 0; H and
G end the episode. Cells are numbered row by row, actions are 0 left, 1 down, 2 right, 3 up. The ice
is not slippery: a move leads where it points. The dynamics are not written here but read from
gymnasium's own table, `env.unwrapped.P`, and so is its limit of steps.
"""
from pathlib import Path
from typing import Any

import gymnasium
import torch

from nanouft.plumbing.errors import UserError, one_of
from nanouft.plumbing.files import read_text

ARROWS = "←↓→↑"                                     # actions 0..3, in gymnasium's order

MAPS: dict[str, tuple[str, ...]] = {
    "twoway5": ("SFFFF", "FHHHF", "FHFFF", "FHFHH", "FFFFG"),  # two ways to G: 8 and 12 moves
    "default4": ("SFFF", "FHFH", "FFFH", "HFFG"),  # gymnasium's own
    "default8": ("SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF",
                 "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"),
}


class Lake:
    """One map and its tables over S = height * width cells and 4 actions. P and R are float64. G
    and H lead to themselves: they absorb."""

    def __init__(self, name: str, rows: tuple[str, ...]):
        self.name, self.rows = name, rows
        self.letters = "".join(rows)
        self.width, self.S = len(rows[0]), len(self.letters)
        self.start, self.goal = self.letters.index("S"), self.letters.index("G")
        self.terminal = torch.tensor([letter in "GH" for letter in self.letters])   # (S,) bool
        self.P = torch.zeros(self.S, 4, self.S, dtype=torch.float64)    # chances of the next cell
        self.R = torch.zeros(self.S, 4, dtype=torch.float64)            # reward of the step
        env: Any = gymnasium.make("FrozenLake-v1", desc=[[*row] for row in rows],
                                  is_slippery=False)
        for s, actions in env.unwrapped.P.items():
            for a, [(_, t, reward, _)] in actions.items():
                self.P[s, a, t] = 1
                self.R[s, a] = reward
        self.limit = env.spec.max_episode_steps     # 100 steps, on custom maps of any size
        env.close()
        self.step = self.P.argmax(-1)               # (S,4) the cell to which an action leads
        self.live = self.cells_that_reach_the_goal()

    def cells_that_reach_the_goal(self) -> list[int]:
        """Cells on ice from which G can be reached. In any other cell no action matters."""
        reaches = torch.zeros(self.S, dtype=torch.bool)
        reaches[self.goal] = True
        for _ in range(self.S):  # backwards from G; a hole leads to itself alone
            reaches = reaches[self.step].any(-1)
        return [s for s in reaches.nonzero()[:, 0].tolist() if s != self.goal]


# ---- maps ----------------------------------------------------------------------------------------
def make_lake(name: str) -> Lake:
    """A map of MAPS by its name, else a text file, one row per line. UserError if the map cannot
    be used."""
    if name in MAPS:
        return Lake(name, MAPS[name])
    if not Path(name).exists():
        one_of("map", name, [*MAPS, "or a text file"])
    rows = tuple(line.strip() for line in read_text(name).split("\n") if line.strip())
    if wrong := map_mistake(rows):
        raise UserError(f"{name}: {wrong}")
    lake = Lake(Path(name).stem, rows)
    if lake.start not in lake.live:
        raise UserError(f"{name}: no path from S to G; open one by turning an H into F")
    if lake.goal in lake.step[lake.start]:
        raise UserError(f"{name}: G is one move from S; put them farther apart")
    return lake


def map_mistake(rows: tuple[str, ...]) -> str | None:
    """What is wrong with the letters of a map, in one line."""
    if not rows:
        return "no map in it; a map is rows of S (start), F (ice), H (hole) and G (goal)"
    for i, row in enumerate(rows, 1):
        if strange := set(row) - set("SFHG"):
            return f"row {i}: unknown cell {min(strange)!r}; known are S, F (ice), H (hole) and G"
        if len(row) != len(rows[0]):
            return f"row {i}: {len(row)} cells, but row 1 has {len(rows[0])}; make them equal"
    for letter in "SG":
        if (n := "".join(rows).count(letter)) != 1:
            return f"{n} cells {letter}; there must be exactly one"
    return None
