"""What the page's chooser knows: the map of regimes, read, checked, and made small.

    small(read(Path("docs/results/map/map.json")))              # the JSON that goes into the page

A regime is a size (demonstrations, own samples) in one situation; its rows are methods, best first. The page has
shares and costs with six digits, keeps of the changes those whose interval excludes 0, and each command line once.
"""
from pathlib import Path

from nanouft.shell.errors import UserError
from nanouft.shell.text import read_json

NEEDS = ("nothing", "labels", "pairs", "scores", "right answers", "reward")
OF_REGIME = ("name", "demos", "samples", "noise", "source", "base")
OF_ROW = ("name", "needs", "worse", "endpoint", "gain", "verdict", "borrowed", "cost", "changes",
          "commands", "failed")
OF_COST = ("samples", "flops", "relative", "at_inference")


def read(file: Path) -> dict | None:
    """The map in `file`, checked; None if there is no such file."""
    if not file.exists():
        return None
    the_map = read_json(file)
    if why := wrong(the_map):
        raise UserError(f"{file}: {why}; python -m lab.map --write makes it anew")
    return the_map


def wrong(the_map: dict) -> str:
    """The first thing that the chooser could not show, or ""."""
    if not isinstance(the_map, dict) or not the_map.get("regimes"):
        return "no regimes"
    for i, regime in enumerate(the_map["regimes"]):
        if missing := [key for key in (*OF_REGIME, "rows") if key not in regime]:
            return f"regime {i} has no {missing[0]}"
        for row in regime["rows"]:
            if missing := [key for key in OF_ROW if key not in row]:
                return f"regime {i}, a row has no {missing[0]}"
            if row["needs"] not in NEEDS:
                return f"regime {i}, {row['name']} needs {row['needs']!r}, not one of {', '.join(NEEDS)}"
    return ""


def small(the_map: dict) -> dict:
    """The same map with fewer digits and each command line once, in `lines`; rows have the numbers of theirs."""
    lines: dict[str, int] = {}
    regimes = [{key: g[key] for key in OF_REGIME} | {"rows": [small_row(row, lines) for row in g["rows"]]}
               for g in the_map["regimes"]]
    about = {key: the_map[key] for key in ("seeds", "items", "margin", "endpoint", "command", "exchange")}
    return {**about, "regimes": regimes, "lines": list(lines)}


def small_row(row: dict, lines: dict[str, int]) -> dict:
    kept = {name: [share(mean), share(half), word] for name, (mean, half, word) in row["changes"].items()
            if half is not None and abs(mean) > half}
    return {**{key: row[key] for key in OF_ROW}, "endpoint": [share(x) for x in row["endpoint"]],
            "gain": [share(x) for x in row["gain"]], "changes": kept,
            "cost": {key: row["cost"][key] and float(f"{row['cost'][key]:.6g}") for key in OF_COST},
            "commands": [lines.setdefault(line, len(lines)) for line in row["commands"]]}


def share(x: float | None) -> float | None:
    return None if x is None else round(x, 6)
