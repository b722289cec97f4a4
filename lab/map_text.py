"""docs/map.md from map.json: the question, how to read the answer, one table a regime."""
from collections.abc import Iterable

from lab.words import format_gain, format_interval, markdown_table, read_template

TITLES = {"grid": "Demonstrations and judged answers", "long": "A reward that is asked at every step",
          "source": "Where the preferences come from", "noise": "Four of ten demonstrations are wrong",
          "second": "A second base"}
HEAD, SURE, *TEXTS = read_template("map.md")         # the texts: of the pieces long and source


def page(found: dict) -> str:
    """docs/map.md as text."""
    pieces = {piece: [r for r in found["regimes"] if r["piece"] == piece] for piece in TITLES}
    grid, texts = pieces["grid"], dict(zip(("long", "source"), TEXTS))
    out = [HEAD + "## In short", "", *answers(grid), *wrong(pieces["noise"]), *rewarded(pieces["long"]), *counts(grid),
           *commands(grid), "",
           "Regime by regime:", "", *short(found["regimes"]), SURE.format(**found | {"margin": 100 * found["margin"]})]
    for piece, regimes in pieces.items():
        if regimes:
            out += [f"## {TITLES[piece]}", ""]
            out += [texts[piece].replace("{agreement}", agreement(regimes))] if piece in texts else []
        for r in regimes:
            out += table(r)
            out += [both_bases(r, found["regimes"]), ""] if piece == "second" else []
    if found["unfinished"]:
        out += [f"Not finished: {'; '.join(found['unfinished'])}.", ""]
    out += [f"Made by `{found['command']} --write` from [results/map/cells.jsonl](results/map/cells.jsonl); the "
            "figures are in [results/map/map.json](results/map/map.json), too."]
    return "\n".join(out).rstrip() + "\n"


def agreement(regimes: list[dict]) -> str:
    """How good the learnt rewards are."""
    found = [f"{format_interval(*r['agreement'])} % ({r['demos']:,} demonstrations)" for r in regimes
             if "agreement" in r]
    return f" Of held-out pairs the reward orders {' and '.join(found)} rightly; a coin 50 %." if found else ""


def sft_of(r: dict) -> dict:
    return next(row for row in r["rows"] if row["name"] == "SFT")


def winner(r: dict) -> tuple[dict, list[str]]:
    """(the cheapest row of the top group, the others of it): rows that are better than SFT and not significantly
    worse than the best one. Where none is better than SFT: SFT, and the rows that are not significantly worse."""
    better = [row for row in r["rows"] if row["verdict"] == "better"]
    best = r["rows"][0] if better else sft_of(r)
    top = [row for row in better or r["rows"] if row["name"] not in best["worse"]] or better
    cheapest = min(top, key=lambda row: row["cost"]["relative"])
    return cheapest, [row["name"] for row in top if row is not cheapest]


def answers(grid: list[dict]) -> list[str]:
    """What the grid says, in sentences."""
    if not grid:
        return []
    alone = [f"{100 * x:.1f} with {d:,}" for d, x in {r["demos"]: sft_of(r)["endpoint"][0] for r in grid}.items()]
    most = max(r["samples"] for r in grid)
    return [f"- SFT alone: {', '.join(alone)} demonstrations.",
            f"- What {most:,} judged answers add: {added(r for r in grid if r['samples'] == most)} "
            "demonstrations."]


def added(regimes: Iterable[dict]) -> str:
    """The gain of the choice at each number of demonstrations."""
    chosen = [(r["demos"], winner(r)[0]) for r in regimes]
    return ", ".join(f"{format_gain(*best['gain'])} ({best['name']}) with {demos:,}" if best["name"] != "SFT" else
                     f"nothing significant with {demos:,}" for demos, best in chosen)


def wrong(noisy: list[dict]) -> list[str]:
    """What judged answers add where some demonstrations are wrong."""
    return [f"- Where {100 * noisy[0]['noise']:.0f} % of the demonstrations are wrong, {noisy[0]['samples']:,} judged "
            f"answers add {added(noisy)}."] if noisy else []


def rewarded(long: list[dict]) -> list[str]:
    """What a reward adds that is asked while a model trains, and what that does to facts."""
    lines = []
    for r in long:
        gains = [f"{row['name']} {format_gain(*row['gain'])} (facts {format_gain(*row['changes']['fact'][:2])})"
                 for row in r["rows"] if row["name"] != "SFT"]
        base, a = "the first base" if r["base"] == "base" else f"the {r['base']}", r["against"]
        lines.append(f"- What {r['samples']:,} judged answers add to {r['demos']:,} demonstrations on {base}: "
                     f"{', '.join(gains)}. {a['row']} minus {a['other']}: {format_gain(*a['endpoint'][:2])} "
                     f"({a['endpoint'][2]}), facts {format_gain(*a['fact'][:2])} ({a['fact'][2]}).")
    return lines


def counts(grid: list[dict]) -> list[str]:
    """How often each row helps."""
    if not grid:
        return []
    words, found = ("better", "equal", "undecided", "worse"), {}
    for name in (row["name"] for row in grid[0]["rows"] if row["name"] != "SFT"):
        said = [row["verdict"] for r in grid for row in r["rows"] if row["name"] == name]
        found[name] = [said.count(word) for word in words]
    rows = [[name, *n] for name, n in sorted(found.items(), key=lambda x: (x[1][3] - x[1][0], -x[1][1]))]
    return [f"- How often a row helps, of {len(grid)} regimes. They share SFT models, prompts and the test, so they "
            f"are not {len(grid)} experiments; with 250 answers hardly anything is told apart:", "",
            *markdown_table(["row", *words], rows)]


def commands(grid: list[dict]) -> list[str]:
    """What to type where the choice gains most."""
    best = max(((winner(r)[0], r) for r in grid), key=lambda x: x[0]["gain"][0], default=None)
    if not best or best[0]["name"] == "SFT":
        return []
    row, r = best
    return ["", f"What to type for {row['name']} with {r['name']} in NanoWorld (with your own data: "
            "[data.md](data.md#the-models-own-answers-as-data)):", "", "```bash", *row["commands"], "```", "",
            "The chooser has the commands of every row. A run leaves its curves (`curves.png`) and some of its answers "
            "(`samples.md`) in its folder."]


def both_bases(r: dict, regimes: list[dict]) -> str:
    """Do both bases say the same?"""
    other = next(x for x in regimes if x["piece"] == "grid" and f"{x['name']}, second base" == r["name"])
    here, there = winner(r)[0]["name"], winner(other)[0]["name"]
    none = "no row is significantly better than SFT"
    what = {name: none if name == "SFT" else f"the choice is {name}" for name in (here, there)}
    first = f"On both bases {what[here]}." if here == there else f"On the first base {what[there]}, here {what[here]}."
    words = {row["name"]: row["verdict"] for row in other["rows"]}
    differ = [f"{row['name']} ({words[row['name']]} there, {row['verdict']} here)" for row in r["rows"]
              if row["verdict"] != words[row["name"]]]
    return f"{first} Verdicts that differ: {', '.join(differ) or 'none'}."


def short(regimes: list[dict]) -> list[str]:
    """One line a regime: the choice, its gain, cost and harm, who else is in the top group."""
    rows = []
    for r in regimes:
        (best, near), sft = winner(r), sft_of(r)
        gain = "–" if best is sft else format_gain(*best["gain"])
        rows.append([r["name"], f"{100 * sft['endpoint'][0]:.1f}", best["name"], gain,
                     f"x {best['cost']['relative']:.1f}", broken(best, ("worse",)) or "–", ", ".join(near) or "–"])
    return markdown_table(["demonstrations x answers", "SFT", "choice", "over SFT", "FLOPs", "significantly worse",
                           "others not significantly worse"], rows)


def table(r: dict) -> list[str]:
    """The rows of a regime."""
    lines = []
    for row in r["rows"]:
        over = row["over"]
        beside = f"{format_gain(*over['gain'])} {over['verdict']} ({over['row']})" if over else "–"
        gain = ("–", "") if row["verdict"] == "baseline" else (format_gain(*row["gain"]), row["verdict"])
        diverged = f" ({row['failed']} of the seeds diverged)" if row["failed"] else ""
        lines.append([row["name"] + diverged, format_interval(*row["endpoint"]), f"{100 * row['strict']:.1f}", *gain,
                      beside, f"x {row['cost']['relative']:.1f}", broken(row) or "–", settings(row, r["name"])])
    titles = ["row", "endpoint", "fully right", "over SFT", "", "over the best cheaper row", "FLOPs", "changes",
              "settings"]
    return [f"### {r['name']}", "", *markdown_table(titles, lines), ""]


def settings(row: dict, here: str) -> str:
    words = [f"`{' '.join(f'{flag} {value}' for flag, value in row['settings'].items())}`"] if row["settings"] else []
    words += [f"from {row['searched']}"] if row["name"] != "SFT" and row["searched"] not in ("", here) else []
    words += [f"edge: {', '.join(flag.removeprefix('--') for flag in row['edges'])}"] if row["edges"] else []
    return "; ".join(words)


def broken(row: dict, words: tuple[str, ...] = ("worse", "better", "less varied", "more varied")) -> str:
    """"fact -9.8, ends +1.2" of what changed."""
    return ", ".join(f"{name} {100 * c[0]:+.1f}" for name, c in row["changes"].items() if c[2] in words)

