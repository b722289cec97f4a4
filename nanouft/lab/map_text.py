"""docs/map.md from map.json: the question, how to read the answer, one table a regime."""

HEAD = """# Which method when?

You have some demonstrations, and perhaps pairs, labels, scores or a reward. What should you do, what does it gain,
what does it cost, what does it break? Here is what came out in one small world (NanoWorld) with a model of one
million parameters. **It is a map of this world, not of yours**: use it for what to try first.

Made by `{command} --write` from [results/map/cells.jsonl](results/map/cells.jsonl); the figures are in
[results/map/map.json](results/map/map.json), too. [The chooser](results/compare/index.html) answers the same question
for your numbers, with the commands to type.

![The choice for so many demonstrations and judged answers](map.png)

The darker, the larger the gain. The choice is the cheapest row of those that are not told from the best.
RFT is SFT again, on the model's own right answers; the other rows are explained below.

"""
READING = """## How to read it
- *Choice*: the cheapest row of the top group, that is the best row and all that cannot be told from it; where no row is
  surely better than SFT, SFT and all that are not surely worse. A ranking of choices would need more seeds.
- A *regime* is what you have: demonstrations x answers of your SFT model that somebody judged. Four answers to each
  of so many prompts, drawn anew (with many demonstrations some repeat a question that a demonstration asked). Pairs,
  labels, scores and right answers are made from the same judgements (`python -m nanouft.rollout.harvest`).
- *Endpoint*: mean of the nine families' scores, percent; an answer that is partly right counts in part. *Fully
  right*: the share of answers without any mistake, which may put rows that learn from right answers only (RFT) before
  those that learn from scores (UNA).
- {seeds} seeds, {items} test prompts a family, 95 % intervals for other seeds and other prompts (two-way bootstrap; of
  `ends` and `diversity` for other seeds only). Differences are paired by seed and prompt.
- *Better* and *worse*: the whole interval lies on one side of 0, however near. *Equal*: it lies within {margin:.0f}
  points of 0. *Undecided*: it does not say. The best row of a regime was picked by these figures, so its intervals are
  wider (Bonferroni over the rows). Nothing else is corrected: there are {contrasts} comparisons with SFT, as many with
  the best row and with the best cheaper one, and five changes each, so some of the smallest are chance. Regimes are
  not independent either: all have the same five seeds.
- *Over the best cheaper row*: of all rows with fewer FLOPs. SFT needs no judged answer, so it has none.
- *FLOPs*: of all stages, as a multiple of SFT's; sampling is counted. A reward model's cost includes the answers that
  examine it, that of long runs the looks at prompts held out (less than 5 %). Answers at use (best of 4) are not in
  it.
- *Breaks, gains*: truths that a myth denies (`truth`), questions without an answer (`unknown`), facts known before
  (`fact`), answers that end. Only what an interval tells from 0 is named. `diversity` (how many of four samples
  differ) is neither good nor bad: it falls as answers become right.
- Settings: learning rate and a second setting (beta, or passes) were chosen jointly on validation: one seed for every
  setting, three more for the best three, and once more where the best lay at the edge of its grid (*edge*: it still
  does). SFT's for every number of demonstrations, up to 24 passes (so training SFT for longer is in its row), and for
  wrong demonstrations. Other rows take theirs *from* the regime that is named, mostly another one: *worse* may mean
  that they need other settings there. The second base takes those of the first. Spoilt answers have a search of their
  own. The long runs: four learning rates, two seeds, beta .005. `python -m nanouft.lab.map` does all of it, and goes on
  where it was stopped.

Rows: **RFT** = SFT on the model's own right answers (rejection sampling). **DPO** and **SimPO** read the best and the
worst answer to each prompt (eight passes), **KTO** labels, **UNA** scores (two passes). These start from the SFT
model. **UFT** starts from the base and learns scored answers (three passes) and demonstrations (as often as SFT sees
them) at once. **RLOO** (**GRPO**, **PPO**) answers the same prompts while it trains, and asks the reward as often as
the other rows have judged answers. A learnt reward has seen samples/2 pairs, and judges four times as many new answers.
"""

LONG = """![Rewards over steps, and what changed since SFT](map_curves.png)

The reward is the exact score: the rule of the test, without error. RLOO and GRPO draw 384 times 32 answers, PPO 192
times 64. RLOO, GRPO and PPO have one beta (.005: in GRPO a KL in the loss, in the other two one in the reward), and a
learning rate chosen here, with two seeds. RFT and UNA take theirs from 100 x 4,000, so the facts that RFT loses may
belong to that learning rate. RLOO, GRPO and PPO are therefore not ranked. The greedy answers of the curves are to
validation prompts; bands are 95 % intervals over seeds.
"""


def page(found: dict) -> str:
    """docs/map.md as text."""
    grid, long = ([r for r in found["regimes"] if r["piece"] == piece] for piece in ("grid", "long"))
    out = [HEAD.format(**found) + "## In short", "", *answers(grid), *rewarded(long), *counts(grid), "",
           "Regime by regime:", "", *short(found["regimes"]), "",
           READING.format(**{**found, "margin": 100 * found["margin"]})]
    titles = {"grid": "Demonstrations and scored answers", "long": "A reward that may be asked at every step",
              "source": "Where the preferences come from", "noise": "Four of ten demonstrations are wrong",
              "second": "A second base"}
    for piece, title in titles.items():
        mine = [r for r in found["regimes"] if r["piece"] == piece]
        if mine:
            out += [f"## {title}", ""]
            out += [LONG] if piece == "long" else []
            for r in mine:
                out += table(r)
                out += [twin(r, found["regimes"]), ""] if piece == "second" else []
    if found["edges"]:
        out += ["## Settings at the edge of their grid", "",
                "Chosen values with nothing tried beyond them, after the grid had grown once:", "",
                *(f"- {name}: `{' '.join(flags)}`" for name, flags in found["edges"].items()), ""]
    if found["unfinished"]:
        out += [f"Not finished: {'; '.join(found['unfinished'])}.", ""]
    return "\n".join(out).rstrip() + "\n"


def sft_of(r: dict) -> dict:
    return next(row for row in r["rows"] if row["name"] == "SFT")


def winner(r: dict) -> tuple[dict, list[str]]:
    """(the cheapest of the rows that are not told from the best, the others of them). Where the best row is not surely
    better than SFT: SFT, and the rows that are not surely worse."""
    best = r["rows"][0] if r["rows"][0]["verdict"] == "better" else sft_of(r)
    top = [row for row in r["rows"] if row["name"] not in best["worse"]]
    cheapest = min(top, key=lambda row: row["cost"]["relative"])
    return cheapest, [row["name"] for row in top if row is not cheapest]


def answers(grid: list[dict]) -> list[str]:
    """What the grid says, in sentences."""
    if not grid:
        return []
    alone = [f"{100 * x:.1f} with {d:,}" for d, x in {r["demos"]: sft_of(r)["endpoint"][0] for r in grid}.items()]
    most = max(r["samples"] for r in grid)
    chosen = [(r["demos"], winner(r)[0]) for r in grid if r["samples"] == most]
    gains = [f"{signed(best['gain'])} ({best['name']}) with {demos:,}" if best["name"] != "SFT" else
             f"nothing for sure with {demos:,}" for demos, best in chosen]
    return [f"- SFT alone: {', '.join(alone)} demonstrations.",
            f"- What {most:,} judged answers add: {', '.join(gains)} demonstrations."]


def rewarded(long: list[dict]) -> list[str]:
    """What a reward adds that is asked while a model trains, and what that does to facts."""
    lines = []
    for r in long:
        gains = [f"{row['name']} {signed(row['gain'])} (facts {signed(row['changes']['fact'])})" for row in r["rows"]
                 if row["name"] != "SFT"]
        base, a = "the first base" if r["base"] == "base" else f"the {r['base']}", r["against"]
        lines.append(f"- What {r['samples']:,} judged answers add to {r['demos']:,} demonstrations on {base}: "
                     f"{', '.join(gains)}. {a['row']} minus {a['other']}: {signed(a['endpoint'])} "
                     f"({a['endpoint'][2]}), facts {signed(a['fact'])} ({a['fact'][2]}).")
    return lines


def counts(grid: list[dict]) -> list[str]:
    """How often each row helps."""
    if not grid:
        return []
    lines, found, wins = [], {}, [winner(r) for r in grid]
    for name in (row["name"] for row in grid[0]["rows"]):
        said = [row["verdict"] for r in grid for row in r["rows"] if row["name"] == name]
        top = sum(name == best["name"] or name in near for best, near in wins)
        found[name] = (said.count("better"), said.count("equal") + said.count("undecided"), said.count("worse"), top)
    for name, (better, same, worse, top) in sorted(found.items(), key=lambda x: (-x[1][3], x[1][2] - x[1][0])):
        over = ("–", "–", "–") if name == "SFT" else (better, same, worse)
        lines.append(f"| {name} | {over[0]} | {over[1]} | {over[2]} | {top} |")
    return [f"- How often a row helps, of {len(grid)} regimes:", "",
            "| row | better than SFT | equal or undecided | worse | in the top group |", "|---" * 5 + "|", *lines]


def twin(r: dict, regimes: list[dict]) -> str:
    """Do both bases say the same?"""
    other = next(x for x in regimes if x["piece"] == "grid" and f"{x['name']}, second base" == r["name"])
    here, there = winner(r)[0]["name"], winner(other)[0]["name"]
    none = "no row is surely better than SFT"
    what = {name: none if name == "SFT" else f"the choice is {name}" for name in (here, there)}
    first = f"On both bases {what[here]}." if here == there else f"On the first base {what[there]}, here {what[here]}."
    words = {row["name"]: row["verdict"] for row in other["rows"]}
    differ = [f"{row['name']} ({words[row['name']]} there, {row['verdict']} here)" for row in r["rows"]
              if row["verdict"] != words[row["name"]]]
    return f"{first} Verdicts that differ: {', '.join(differ) or 'none'}."


def short(regimes: list[dict]) -> list[str]:
    """One line a regime: the choice, its gain, cost and harm, who else is in the top group."""
    lines = ["| demonstrations x answers | SFT | choice | over SFT | FLOPs | it breaks | not surely worse |",
             "|---" * 7 + "|"]
    for r in regimes:
        (best, near), sft = winner(r), sft_of(r)
        gain = "–" if best is sft else signed(best["gain"])
        lines.append(f"| {r['name']} | {100 * sft['endpoint'][0]:.1f} | {best['name']} | {gain} | x "
                     f"{best['cost']['relative']:.1f} | {broken(best, ('worse',)) or '–'} | {', '.join(near) or '–'} |")
    return lines


def table(r: dict) -> list[str]:
    """The rows of a regime."""
    lines = [f"### {r['name']}", "",
             "| row | endpoint | fully right | over SFT | | over the best cheaper row | FLOPs | breaks, gains | "
             "settings |", "|---" * 9 + "|"]
    for row in r["rows"]:
        over = row["over"]
        beside = f"{signed(over['gain'])} {over['verdict']} ({over['row']})" if over else "–"
        gain = ("–", "") if row["verdict"] == "baseline" else (signed(row["gain"]), row["verdict"])
        diverged = f" ({row['failed']} of the seeds diverged)" if row["failed"] else ""
        lines.append(f"| {row['name']}{diverged} | {plain(row['endpoint'])} | {100 * row['strict']:.1f} | {gain[0]} | "
                     f"{gain[1]} | {beside} | x {row['cost']['relative']:.1f} | {broken(row) or '–'} | "
                     f"{settings(row, r['name'])} |")
    return [*lines, ""]


def settings(row: dict, here: str) -> str:
    words = [f"`{' '.join(f'{flag} {value}' for flag, value in row['settings'].items())}`"] if row["settings"] else []
    words += [f"from {row['searched']}"] if row["name"] != "SFT" and row["searched"] not in ("", here) else []
    words += [f"edge: {', '.join(flag.removeprefix('--') for flag in row['edges'])}"] if row["edges"] else []
    return "; ".join(words)


def broken(row: dict, words: tuple[str, ...] = ("worse", "better", "less varied", "more varied")) -> str:
    """"fact -9.8, ends +1.2" of what changed."""
    return ", ".join(f"{name} {100 * c[0]:+.1f}" for name, c in row["changes"].items() if c[2] in words)


def plain(figure: list) -> str:
    return f"{100 * figure[0]:.1f} ± {100 * figure[1]:.1f}"


def signed(figure: list) -> str:
    return f"{100 * figure[0]:+.1f} ± {100 * figure[1]:.1f}"
