"""docs/map.md and its picture from map.json: what a judged answer is worth, which method, how sure.
The words are in pages/map.md."""
import math
from pathlib import Path

from lab.words import format_gain, format_interval, markdown_table, read_template
from nanouft.eval.plots import LINES, plt, save

WORTH_SEEING = 300                      # with more demonstrations SFT's curve is too flat
BETWEEN = 200                           # a number of demonstrations that was not measured
PERSON = 5                              # of a hundred judgements a person gets so many wrong, say
PRICES = ((4, 0.05), (3, 0.2), (1, 0.2))    # euros: of a demonstration, of a judgement


def page(found: dict) -> str:
    """docs/map.md as text. In the template {gain[30 x 4,000][RFT]} is a row's gain over SFT in a
    regime."""
    (template,) = read_template("map.md")
    of = {r["name"]: r for r in found["regimes"]}
    gain = {name: {x["name"]: format_gain(*x["gain"]) for x in r["rows"]} for name, r in of.items()}
    alone = markdown_table(["demonstrations", *(f"{int(d):,}" for d in found["alone"])],
                           [["score", *(f"{100 * x:.1f}" for x in found["alone"].values())]])
    return template.format(
        alone="\n".join(alone), exchange="\n".join(exchange(found["exchange"])),
        prices="\n".join(prices(found["exchange"])),
        order="\n".join(order(of)),
        gain=gain,
        agreement={name: format_interval(*r["agreement"])
                   for name, r in of.items() if "agreement" in r},
        cleaned={name: f"{format_gain(*r['cleaned'][:2])} ({r['cleaned'][2]})"
                 for name, r in of.items() if "cleaned" in r}, errs="\n".join(errs(found)),
        transfer="\n".join(transfer(found, gain)),
        typed="\n".join(row(of["30 x 4,000"], "RFT")["commands"]),
        edges=len(found["edges"]),
        **{key: found[key] for key in ("seeds", "items", "contrasts", "searches", "command")})


def row(r: dict, name: str) -> dict:
    return next(x for x in r["rows"] if x["name"] == name)


# ---- what a judged answer is worth ---------------------------------------------------------------
def exchange(lines: list[dict]) -> list[str]:
    """A line for each number of demonstrations, a column for each number of judged answers, of
    RFT."""
    known = {(x["demos"], x["errs"], x["samples"]): x for x in lines if x["row"] == "RFT"}
    places = sorted({(demos, errs) for demos, errs, samples in known if errs in (0, PERSON)
                     and demos <= WORTH_SEEING and samples > 250} | {(BETWEEN, 0)})
    sizes = sorted({samples for _, _, samples in known if samples > 250})
    table = []
    for demos, errs in places:
        judge = f", {errs} % misjudged" if errs else " (between)" if demos == BETWEEN else ""
        cells = [of_rft(lines, demos, n, errs) for n in sizes]
        table.append([f"{demos}{judge}",
                      *(f"{x['worth']:.0f}: {rate(x)}" if x else "" for x in cells)])
    return markdown_table(["demonstrations", *(f"{n:,} judged answers" for n in sizes)], table)


def of_rft(lines: list[dict], demos: int, samples: int, errs: int = 0) -> dict:
    """The line of RFT. Between two measured numbers of demonstrations, on a logarithmic scale, as
    the chooser does (assets/choose.js); {} where there are not two."""
    known = {x["demos"]: x for x in lines
             if (x["samples"], x["row"], x["errs"]) == (samples, "RFT", errs)}
    if demos in known:
        return known[demos]
    low = max((n for n in known if n < demos), default=None)
    high = min((n for n in known if n > demos), default=None)
    if low is None or high is None:
        return {}
    weight = math.log(demos / low) / math.log(high / low)
    mean = {key: (1 - weight) * known[low][key] + weight * known[high][key]
            for key in ("worth", "low", "high")}
    return {"demos": demos, "samples": samples, **mean, "answers": samples / mean["worth"]}


def prices(lines: list[dict], samples: int = 4000) -> list[str]:
    """What to pay for next at some prices, by the number of demonstrations that one has."""
    columns = sorted({x["demos"] for x in lines if x["demos"] <= WORTH_SEEING} | {BETWEEN})
    table = []
    for demo, judgement in PRICES:
        total = samples * judgement
        cost = f"{total:,.0f} euros, {total / demo:,.0f} demonstrations"
        told = (next_to_pay(demo / judgement, of_rft(lines, n, samples)) for n in columns)
        cents = f"{100 * judgement:.0f} cents"
        table.append([euros(demo), cents, f"{demo / judgement:.0f}", cost, *told])
    titles = ["a demonstration costs", "a judgement", "ratio", f"{samples:,} judgements cost"]
    return markdown_table([*titles, *(f"with {n} demonstrations" for n in columns)], table)


def euros(n: int) -> str:
    return f"{n} euro" + "s" * (n != 1)


def next_to_pay(ratio: float, x: dict) -> str:
    """Judged answers or demonstrations; open where the ratio of the prices lies inside the interval
    of the rate."""
    what = "judged answers" if ratio > x["answers"] else "demonstrations"
    few, many = x["samples"] / x["high"], x["samples"] / x["low"] if x["low"] > 0 else math.inf
    return what if ratio < few or ratio > many else f"open; guess: {what}"


# ---- which method --------------------------------------------------------------------------------
def order(of: dict[str, dict]) -> list[str]:
    """Points over SFT with 4,000 judged answers."""
    places = ["30 x 4,000", "100 x 4,000", "300 x 4,000", "1,020 x 4,000"]
    names = sorted((x["name"] for x in of[places[0]]["rows"] if x["name"] != "SFT"),
                   key=lambda name: -row(of[places[0]], name)["gain"][0])
    titles = ["", *(f"{place.split(' x ')[0]} demonstrations" for place in places)]
    return markdown_table(titles, [[name, *(verdict(row(of[place], name)) for place in places)]
                                   for name in names])


def verdict(x: dict) -> str:
    return f"{format_gain(*x['gain'])}: {x['verdict']}" + (" \\*" if x["borrowed"] else "")


def errs(found: dict) -> list[str]:
    """What judges that err leave of the gains, and of the rate; nothing where that is not
    measured."""
    shares = sorted({r["errs"] for r in found["regimes"]})
    if len(shares) == 1:
        return []
    told = {(x["demos"], x["row"], x["errs"]): f" ({rate(x)})"
            for x in found["exchange"] if x["samples"] == 4000}
    lines = []
    for demos in (30, 100):
        gains = {r["errs"]: {x["name"]: format_gain(*x["gain"]) for x in r["rows"]}
                 for r in found["regimes"] if (r["demos"], r["samples"]) == (demos, 4000)
                 and (r["errs"] or r["piece"] == "grid")}
        lines += [[demos, name, *(gains.get(e, {}).get(name, "") + told.get((demos, name, e), "")
                                  for e in shares)] for name in ("UNA", "RFT")]
    titles = ["demonstrations", "", *(f"{e} % misjudged" if e else "never errs" for e in shares)]
    return [*read_template("map_errs.md"), *markdown_table(titles, lines), ""]


WHERE = {"sums": "sums in words, 1M", "small": "NanoWorld, .3M", "large": "NanoWorld, 4M"}


def transfer(found: dict, gain: dict) -> list[str]:
    """Other worlds and sizes: RFT's points over SFT with 4,000 judged answers, its rate, and
    whether that agrees with the map's; nothing where that is not measured."""
    places: dict[tuple, dict[str, dict]] = {}
    for x in found["transfer"]:
        places.setdefault((x["where"], x["demos"], x["samples"], x["errs"]), {})[x["row"]] = x
    if any((where, demos, 4000, 0) not in places for where in WHERE for demos in (30, 100)):
        return []
    here = [f"{gain[f'{n} x 4,000']['RFT']}: {rate(of_rft(found['exchange'], n, 4000))}"
            for n in (30, 100, 300)]
    table = [["NanoWorld, 1M (the map)", *here]]
    for errs, where in [(0, where) for where in WHERE] + [(errs, "sums") for errs in (5, 15, 30)]:
        judge = f", {errs} % misjudged" if errs else ""
        lines = (places.get((where, n, 4000, errs), {}).get("RFT") for n in (30, 100, 300))
        table.append([WHERE[where] + judge,
                      *("" if x is None else f"{format_gain(*x['gain'])}: {rate(x)}"
                        + f"; {x['agrees']}" * (x["low"] > 0) for x in lines)])
    at_30, at_100, *_ = found["alone"].values()
    of_sums = [places["sums", n, 4000, 0]["RFT"]["sft"] for n in (30, 100)]
    few, many = {"map": at_30, "sums": of_sums[0]}, {"map": at_100, "sums": of_sums[1]}
    steep = {where: f"{100 * (many[where] - few[where]):.1f}" for where in few}
    titles = ["world, size", *(f"{n} demonstrations" for n in (30, 100, 300))]
    (text,) = read_template("map_transfer.md")
    at = [(n, samples) for samples in (1000, 4000) for n in (30, 100, 300)]
    rows_at = [{name: format_gain(*x["gain"]) for name, x in places["sums", n, samples, 0].items()}
               for n, samples in at]
    order = markdown_table(["", *(f"{n} x {samples:,}" for n, samples in at)],
                           [[name, *(rows.get(name, "") for rows in rows_at)]
                            for name in rows_at[1]])
    return [text.format(table="\n".join(markdown_table(titles, table)), order="\n".join(order),
                        steep=steep, level=f"{100 * few['sums']:.1f}",
                        agreeing=rate(places["sums", 100, 1000, 0]["RFT"]),
                        searches=found["of transfer"]["searches"],
                        edges=len(found["of transfer"]["edges"]))]


def rate(x: dict) -> str:
    """"29 [22, 40]", or that it cannot be told: answers for one demonstration."""
    if x["low"] <= 0:
        return "cannot be told"
    return f"{x['answers']:.0f} [{x['samples'] / x['high']:.0f}, {x['samples'] / x['low']:.0f}]"


# ---- the picture ---------------------------------------------------------------------------------
def picture(found: dict, file: Path) -> None:
    """Score over demonstrations: SFT alone, and RFT with so many judged answers (intervals: of its
    gain over SFT)."""
    sizes = sorted({x["samples"] for x in found["exchange"] if x["row"] == "RFT"})
    fig, ax = plt.subplots(figsize=(10, 5.6))
    alone = {int(d): 100 * score for d, score in found["alone"].items()}
    ax.plot(list(alone), list(alone.values()), "o-", color="black", lw=2.5, label="SFT alone")
    for size, colour in zip(sizes, LINES):
        rows = {r["demos"]: next(row for row in r["rows"] if row["name"] == "RFT")
                for r in found["regimes"]
                if r["samples"] == size and r["piece"] in ("grid", "long") and r["base"] == "base"}
        means, halves = ([100 * row[key][i] for row in rows.values()]
                         for key, i in (("endpoint", 0), ("gain", 1)))
        ax.errorbar(list(rows), means, halves, fmt="o-", capsize=3, color=colour,
                    label=f"and {size:,} judged answers (RFT)")
    ax.set(xscale="log", xlabel="demonstrations", ylabel="score, %")
    ax.set_xticks(list(alone), [f"{d:,}" for d in alone])
    ax.minorticks_off()
    ax.legend(loc="lower right")
    save(fig, file)
