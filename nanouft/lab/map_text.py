"""docs/map.md from map.json: the question, how to read the answer, one table a regime."""

HEAD = """# Which method when?

You have some demonstrations, and perhaps pairs, labels, scores or a reward. What should you do, what does it gain,
what does it cost, what does it break? Here is what came out in one small world (NanoWorld) with a model of one
million parameters. **It is a map of this world, not of yours**: use it for what to try first.

Made by `{command} --write` from [results/map/cells.jsonl](results/map/cells.jsonl); every figure of this page is in
[results/map/map.json](results/map/map.json). [The chooser](results/compare/index.html) answers the same question for
your numbers, with the commands to type.

![The winner of each regime with its gain over SFT](map.png)

## How to read it
- A *regime* is what you have: demonstrations x answers of your SFT model that somebody judged. Four answers to each
  of so many new prompts. Pairs, labels, scores and right answers are made from the same judgements (`python -m
  nanouft.rollout.harvest`).
- *Endpoint*: mean of the nine families' exact scores, percent. {seeds} seeds, {items} test prompts a family, 95 %
  intervals for other seeds and other prompts (two-way bootstrap). Differences are paired by seed and prompt.
- *Better* and *worse*: the whole interval lies on one side of 0. *Equal*: it lies within {margin:.0f} points of 0.
  *Undecided*: it does not say. Each table compares with SFT ({contrasts} comparisons in all), with the best row and
  with the best cheaper one, without correction for their number. The *best* row of a regime is picked by the same
  figures, so in the picture and in the first table its interval is wider (Bonferroni over the rows of the regime).
- *Over the best cheaper row*: of all rows with fewer FLOPs and no more judged answers.
- *FLOPs*: of all stages, as a multiple of SFT's; sampling is counted. A reward model's cost includes the answers that
  examine it, that of long runs the looks at prompts held out (some hundredths). Answers at use (best of 4) are not in
  it.
- *Breaks, gains*: truths that a myth denies (`truth`), questions without an answer (`unknown`), facts known before
  (`fact`), answers that end, and how many of four samples differ. Only what an interval tells from 0 is named.
- Settings: learning rate and a second setting (beta, or passes) were chosen jointly on validation, four seeds for the
  best three, the grid extended once where the best lay at its edge: SFT's for every number of demonstrations, up to
  24 passes (so training SFT for longer is in its row), and for wrong demonstrations; the others' at 100 x 1,000 (used
  at 30 and 100 demonstrations, up to 1,000 answers), 100 x 4,000 (the same, 4,000 answers) and 1,020 x 1,000 (300 and
  1,020 demonstrations, all sizes); wrong demonstrations, a learnt reward and the second base use them as they are,
  which favours SFT. Spoilt answers have a search of their own. The long runs: four learning rates, two seeds, beta
  .005. `python -m nanouft.lab.map` does all of it, and goes on where it was stopped.

Rows: **RFT** = SFT on the model's own right answers (rejection sampling). **DPO** and **SimPO** read the best and the
worst answer to each prompt (eight passes), **KTO** labels, **UNA** scores (two passes). These start from the SFT
model. **UFT** starts from the base and learns scored answers (three passes) and demonstrations (as often as SFT sees
them) at once. **RLOO** (**GRPO**, **PPO**) answers the same prompts while it trains and asks the reward so many times
in all. A learnt reward has seen samples/2 pairs, and judges four times as many new answers.
"""


def page(found: dict) -> str:
    """docs/map.md as text."""
    out = [HEAD.format(**{**found, "margin": 100 * found["margin"]})]
    out += ["## In short", "", *answers([r for r in found["regimes"] if r["piece"] == "grid"]),
            *short(found["regimes"]), ""]
    titles = {"grid": "Demonstrations and scored answers", "long": "A reward that may be asked at every step",
              "source": "Where the preferences come from", "noise": "Four of ten demonstrations are wrong",
              "second": "A second base"}
    for piece, title in titles.items():
        mine = [r for r in found["regimes"] if r["piece"] == piece]
        if mine:
            out += [f"## {title}", ""]
            out += ["![Rewards over steps, and what changed since SFT](map_curves.png)", ""] if piece == "long" else []
            for r in mine:
                out += table(r)
                out += [twin(r, found["regimes"]), ""] if piece == "second" else []
    if found["edges"]:
        out += ["## Settings at the edge of their grid", "",
                "Chosen values with nothing tried beyond them, after the grid had grown once:", "",
                *(f"- {name}: `{' '.join(flags)}`" for name, flags in found["edges"].items()), ""]
    if found["unfinished"]:
        out += [f"Not finished: {', '.join(found['unfinished'])}.", ""]
    return "\n".join(out).rstrip() + "\n"


def answers(grid: list[dict]) -> list[str]:
    """What the grid says, in sentences; and how often each row helps."""
    if not grid:
        return []
    most = max(r["samples"] for r in grid)
    sfts = {r["demos"]: sft_of(r)["endpoint"][0] for r in grid}
    gains = [f"{100 * r['rows'][0]['gain'][0]:+.1f} ({r['rows'][0]['name']}) with {r['demos']:,}"
             for r in grid if r["samples"] == most]
    alone = [f"{100 * x:.1f} with {d:,}" for d, x in sfts.items()]
    lines = [f"- SFT alone: {', '.join(alone)} demonstrations.",
             f"- What {most:,} scored answers add at best: {', '.join(gains)} demonstrations.",
             f"- How often a row helps, of {len(grid)} regimes:", "",
             "| row | better than SFT | equal or undecided | worse | best, or not told from it |",
             "|---|---|---|---|---|"]
    names = [row["name"] for row in grid[0]["rows"] if row["name"] != "SFT"]
    mine = {n: [row for r in grid for row in r["rows"] if row["name"] == n] for n in names}
    counts = {n: {word: sum(row["verdict"] == word for row in rows) for word in ("better", "worse")}
              for n, rows in mine.items()}
    for n in sorted(names, key=lambda n: counts[n]["worse"] - counts[n]["better"]):
        better, worse = counts[n].values()
        top = sum(row["to_best"]["verdict"] in ("best", "equal", "undecided") for row in mine[n])
        lines.append(f"| {n} | {better} | {len(grid) - better - worse} | {worse} | {top} |")
    return [*lines, "", "Regime by regime:", ""]


def sft_of(r: dict) -> dict:
    return next(row for row in r["rows"] if row["name"] == "SFT")


def twin(r: dict, regimes: list[dict]) -> str:
    """Do both bases have one winner?"""
    other = next(x for x in regimes if x["piece"] == "grid" and f"{x['name']}, second base" == r["name"])
    here, there = (x["rows"][0] for x in (r, other))
    if here["name"] == there["name"]:
        return f"The best row is {here['name']} on both bases: {signed(there['gain'])}, here {signed(here['gain'])}."
    near = [row["name"] for row in other["rows"] if row["to_best"]["verdict"] != "worse"]
    tied = "not told from each other there" if here["name"] in near else "told from each other there"
    return f"The best row is {there['name']} on the first base, {here['name']} here; they are {tied}."


def short(regimes: list[dict]) -> list[str]:
    """One line a regime: the winner, its gain, who is not told from it, what it breaks."""
    lines = ["| regime | SFT | best | over SFT | not told from the best | it breaks |", "|---|---|---|---|---|---|"]
    for r in regimes:
        best, sft = r["rows"][0], sft_of(r)
        near = [row["name"] for row in r["rows"][1:] if row["to_best"]["verdict"] in ("equal", "undecided")]
        gain = "–" if best is sft else signed([best["gain"][0], best["widened"]])
        lines.append(f"| {r['name']} | {100 * sft['endpoint'][0]:.1f} | {best['name']} | {gain} | "
                     f"{', '.join(near) or '–'} | {broken(best, worse=True) or '–'} |")
    return lines


def table(r: dict) -> list[str]:
    """The rows of a regime."""
    lines = [f"### {r['name']}", "",
             "| row | endpoint | over SFT | | over the best cheaper row | FLOPs | breaks, gains | settings |",
             "|---|---|---|---|---|---|---|---|"]
    for row in r["rows"]:
        over = row["over"]
        beside = f"{signed(over['gain'])} {over['verdict']} ({over['row']})" if over else "–"
        gain = ("–", "") if row["verdict"] == "baseline" else (signed(row["gain"]), row["verdict"])
        diverged = f" ({row['failed']} of the seeds diverged)" if row["failed"] else ""
        settings = " ".join(f"{flag} {value}" for flag, value in row["settings"].items())
        lines.append(f"| {row['name']}{diverged} | {plain(row['endpoint'])} | {gain[0]} | {gain[1]} | {beside} | "
                     f"x {row['cost']['relative']:.1f} | {broken(row) or '–'} | `{settings}` |")
    return [*lines, ""]


def broken(row: dict, worse: bool = False) -> str:
    """"fact -9.8, ends +1.2" of what changed."""
    words = ("worse",) if worse else ("worse", "better")
    return ", ".join(f"{name} {100 * c[0]:+.1f}" for name, c in row["changes"].items() if c[2] in words)


def plain(figure: list) -> str:
    return f"{100 * figure[0]:.1f} ± {100 * figure[1]:.1f}"


def signed(figure: list) -> str:
    return f"{100 * figure[0]:+.1f} ± {100 * figure[1]:.1f}"
