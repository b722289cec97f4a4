"""docs/map.md from map.json: the question, how to read the answer, one table a regime."""
from collections.abc import Iterable

HEAD = """# Which method when?

You have some demonstrations, and perhaps somebody who judges answers of your model, or a reward. What should you do,
what does it gain, what does it cost, what does it break? Here is what came out in one small world (NanoWorld) with a
model of one million parameters. **It is a map of this world, not of yours**: use it for what to try first. `python -m
lab.page` makes a page that answers the same question for your numbers.

![The choice for so many demonstrations and judged answers](map.png)

The darker, the larger the gain.

## Words
- *Row*: a method. **SFT** learns the demonstrations. All others go on from this SFT model, UFT alone begins at the
  base. **RFT** = SFT on the model's own right answers (rejection sampling). **DPO** and **SimPO** read the best and
  the worst answer to each prompt (eight passes), **KTO** labels, **UNA** scores (two passes). **UFT** learns scored
  answers (three passes) and demonstrations (as often as SFT sees them) at once. **RLOO** (**GRPO**, **PPO**) answers
  the same prompts while it trains, and asks the reward as often as the other rows have judged answers.
- *Regime*: what you have: demonstrations x judged answers of your SFT model. Four answers to each of so many new
  prompts (with many demonstrations some repeat a question that a demonstration asked). Pairs, labels, scores and
  right answers are made from the same judgements.
- *Endpoint*: mean score of nine [families of questions](data.md#nanoworld-the-built-in-data), known facts among them,
  in percent; an answer that is partly right counts in part. A *point* is one percent of that. *Fully right*: the
  share of answers without any mistake.
- *FLOPs*: computing of all stages, as a multiple of SFT's, with sampling and without searches and judges.
- *Base*: the pretrained model. The second base is the same with another seed.
- *Choice*: the cheapest row (FLOPs) of the top group: all rows that are surely better than SFT and not surely worse
  than the best row. Where no row is surely better than SFT: SFT, and all that are not surely worse than SFT.
- *Spoilt answers*: a demonstration stands beside the same answer with a mistake made by rule.

"""
SURE = """
"–" under "surely worse" means that no loss is sure, not that there is none.

## How sure is that?
- {seeds} seeds, {items} test prompts a family, one world, one size of model. The second base has three of the
  regimes.
- The judge never errs: it is the rule of the test. Only the sections "Where the preferences come from" and "Four of
  ten demonstrations are wrong" have judges or demonstrations that do.
- Settings: learning rate and a second setting (beta, or passes) were chosen jointly on validation: one seed for every
  setting, three more for the best three, and once more where the best lay at the edge of its grid. SFT has a search for
  every number of demonstrations, up to 24 passes. Other rows have searches at 100 and 300 x 4,000, at 100 and 1,020 x
  1,000, with 12,288 answers, with spoilt answers, and at 100 x 1,000 with wrong demonstrations. **Elsewhere they take
  the settings *from* the regime that the tables name**, and some of these are the smallest learning rate (*edge*). So
  *worse* and *equal* there mean: with these settings. The second base takes those of the first. With 40 % wrong SFT
  itself lies at its smallest learning rate, so a better SFT may leave less to gain.
- Intervals are 95 %, for other seeds and other prompts (two-way bootstrap; of `ends` and `diversity` for other seeds
  only), paired by seed and prompt. The best row was picked by the same figures, so comparisons with it are wider
  (Bonferroni over the rows). Nothing else is corrected: there are {contrasts} comparisons with SFT, as many with the
  best cheaper row, and five changes each. Some of the smallest are chance.

## How to read the tables below
- *Better*, *worse*: the whole interval lies on one side of 0, however near. *Equal*: it lies within {margin:.0f}
  points of 0. *Undecided*: it does not say.
- *Over the best cheaper row*: of all rows with fewer FLOPs. SFT needs no judged answer, so it has none.
- *Changes*: truths that a myth denies (`truth`), questions without an answer (`unknown`), facts known before
  (`fact`), answers that end (`ends`). Only what an interval tells from 0 is named. `diversity` (how many of four
  samples differ) is neither good nor bad: it falls as answers become right.
- *Edge*: nothing was tried beyond this value.
"""
LONG = """![Rewards over steps, and what changed since SFT](map_curves.png)

RLOO and GRPO draw 384 times 32 answers, PPO 192 times 64. All three have one beta (.005: in GRPO a KL in the loss, in
the other two one in the reward), so their order says little. Settings of all rows were chosen here, with two seeds.
The greedy answers of the curves are to validation prompts; bands are 95 % intervals over seeds.
"""
LEARNT = """Learnt reward: a model reads samples/2 pairs of the SFT model's answers, in which the exact score tells the
better one. (Pairs of equal scores tell nothing and are passed over, so more answers are drawn than these.) Then it
judges 4,000 new answers. Its FLOPs include the answers that examine it. It does not know what is right, only what it
likes best: so **SFT on the best of 4** learns one answer to every prompt, right or not. Best of 4 draws four answers at
every use, which its FLOPs do not include; they are drawn at temperature 1, while the other rows answer with the
likeliest words.{agreement}

Spoilt answers: 500 pairs of a demonstration and the same answer with a mistake made by rule, not by the model.
**SFT on the chosen** learns the demonstrations of these pairs and nothing else.
"""
TITLES = {"grid": "Demonstrations and judged answers", "long": "A reward that is asked at every step",
          "source": "Where the preferences come from", "noise": "Four of ten demonstrations are wrong",
          "second": "A second base"}
TEXTS = {"long": LONG, "source": LEARNT}


def page(found: dict) -> str:
    """docs/map.md as text."""
    pieces = {piece: [r for r in found["regimes"] if r["piece"] == piece] for piece in TITLES}
    grid = pieces["grid"]
    out = [HEAD + "## In short", "", *answers(grid), *wrong(pieces["noise"]), *rewarded(pieces["long"]), *counts(grid),
           *commands(grid), "",
           "Regime by regime:", "", *short(found["regimes"]), SURE.format(**found | {"margin": 100 * found["margin"]})]
    for piece, regimes in pieces.items():
        if regimes:
            out += [f"## {TITLES[piece]}", ""]
            out += [TEXTS[piece].replace("{agreement}", agreement(regimes))] if piece in TEXTS else []
        for r in regimes:
            out += table(r)
            out += [twin(r, found["regimes"]), ""] if piece == "second" else []
    if found["unfinished"]:
        out += [f"Not finished: {'; '.join(found['unfinished'])}.", ""]
    out += [f"Made by `{found['command']} --write` from [results/map/cells.jsonl](results/map/cells.jsonl); the "
            "figures are in [results/map/map.json](results/map/map.json), too."]
    return "\n".join(out).rstrip() + "\n"


def agreement(regimes: list[dict]) -> str:
    """How good the learnt rewards are."""
    found = [f"{plain(r['agreement'])} % ({r['demos']:,} demonstrations)" for r in regimes if "agreement" in r]
    return f" Of held-out pairs the reward orders {' and '.join(found)} rightly; a coin 50 %." if found else ""


def sft_of(r: dict) -> dict:
    return next(row for row in r["rows"] if row["name"] == "SFT")


def winner(r: dict) -> tuple[dict, list[str]]:
    """(the cheapest row of the top group, the others of it): rows that are better than SFT and not surely worse than
    the best one. Where none is better than SFT: SFT, and the rows that are not surely worse."""
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
    return ", ".join(f"{signed(best['gain'])} ({best['name']}) with {demos:,}" if best["name"] != "SFT" else
                     f"nothing for sure with {demos:,}" for demos, best in chosen)


def wrong(noisy: list[dict]) -> list[str]:
    """What judged answers add where some demonstrations are wrong."""
    return [f"- Where {100 * noisy[0]['noise']:.0f} % of the demonstrations are wrong, {noisy[0]['samples']:,} judged "
            f"answers add {added(noisy)}."] if noisy else []


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
    words, found = ("better", "equal", "undecided", "worse"), {}
    for name in (row["name"] for row in grid[0]["rows"] if row["name"] != "SFT"):
        said = [row["verdict"] for r in grid for row in r["rows"] if row["name"] == name]
        found[name] = [said.count(word) for word in words]
    lines = [f"| {name} | {' | '.join(map(str, n))} |"
             for name, n in sorted(found.items(), key=lambda x: (x[1][3] - x[1][0], -x[1][1]))]
    return [f"- How often a row helps, of {len(grid)} regimes. They share SFT models, prompts and the test, so they "
            f"are not {len(grid)} experiments; with 250 answers hardly anything is told apart:", "",
            f"| row | {' | '.join(words)} |", "|---" * 5 + "|", *lines]


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
    lines = ["| demonstrations x answers | SFT | choice | over SFT | FLOPs | surely worse | others not surely worse |",
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
             "| row | endpoint | fully right | over SFT | | over the best cheaper row | FLOPs | changes | "
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
