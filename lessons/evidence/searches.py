"""Which rows were trained at an edge of the settings that were tried for them, or without a search?

    doubts("C1", "SFT -> DPO", 0)
        # {"--lr 8.1e-8 is the lowest tried": "SFT -> DPO", "--batch-size 8 is ...": "SFT"}

Settings were chosen on validation prompts, before the runs: for our bases in
results/searches.csv.gz, for the real model in results/rates.csv (after half of the steps: claim,
row, rate, the score of each family, the share of answers that stop). A setting at an edge may not
be the best one, which is a doubt and no verdict. All stages of a row are looked at.
"""
import csv
import gzip
import re
from functools import cache

from lessons.evidence.claims import CLAIMS, RESULTS

NOT_SEARCHED = "no settings were searched"
Tried = dict[str, list[str]]            # {"--lr": ["1e-4", ...], "--beta": [...]}


@cache
def searches() -> dict[tuple[str, str], Tried]:
    """{(command, base): what was tried for it}. A row that another claim has too has the same
    command."""
    with gzip.open(RESULTS / "searches.csv.gz", "rt", encoding="utf-8") as file:
        found = [(x["claim"], x["row"], x["base"], x["setting"]) for x in csv.DictReader(file)]
    with open(RESULTS / "rates.csv", encoding="utf-8") as file:
        found += [(claim, row, "smollm2", f"--lr {rate}")
                  for claim, row, rate, *_ in csv.reader(file)]
    out: dict[tuple[str, str], Tried] = {}
    for name, row, base, setting in found:
        claim = CLAIMS[name]
        tried = out.setdefault((claim.command(row, claim.names.index(base)), base), {})
        words = setting.split()
        for flag, value in zip(words[::2], words[1::2]):
            tried.setdefault(flag, []).append(value)
    return out


def count(name: str, row: str) -> int:
    """In how many settings was a row searched on the first base?"""
    return len(searches()[CLAIMS[name].command(row, 0), "base"]["--lr"])


def doubts(name: str, row: str, base: int) -> dict[str, str]:
    """{doubt: the stage of the row that it is of}: settings that are the lowest or the highest that
    were tried, or that none were tried. Where only the first base was searched, its search counts
    for the second one too."""
    claim = CLAIMS[name]
    out: dict[str, str] = {}
    while row and claim.is_trained(row):
        flags, start = claim.parts_of(row, base)
        line, names = claim.command(row, base), claim.names
        tried = searches().get((line, names[base])) or searches().get((line, names[0]))
        found = edges(flags, tried) if tried else [NOT_SEARCHED]
        out |= dict.fromkeys(found, row)
        row = start
    return out


def edges(flags: str, tried: Tried) -> list[str]:
    """Which of these flags have the lowest or the highest value that was tried."""
    out = []
    for flag, values in tried.items():
        value = re.search(rf"{flag} (\S+)", flags)[1]
        for side, of_all in (("lowest", min), ("highest", max)):
            if float(value) == of_all(map(float, values)):
                out.append(f"{flag} {value} is the {side} tried")
    return out
