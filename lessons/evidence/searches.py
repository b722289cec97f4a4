"""Which rows were trained at an edge of the settings that were tried for them, or without a search?

    doubts("C1", "SFT -> DPO", 0)
        # {"--lr 8.1e-8 is the lowest that was tried": "SFT -> DPO", "--batch-size 8 is ...": "SFT"}

Settings were chosen on validation prompts, before the runs: for our bases in
results/searches.csv.gz, for the real model in results/rates.csv (after half of the steps: claim,
row, rate, the score of each family, the share of answers that stop), and from C13 on for all in
results/tries.csv. A setting at an edge may not be the best one, which is a doubt and no verdict.
"""
import csv
import gzip
from functools import cache

from lessons.evidence.claim import RESULTS, read_tries
from lessons.evidence.claims import CLAIMS, is_kept

NOT_SEARCHED = "no settings were searched"


@cache
def searches() -> dict[tuple[str, str], list[dict[str, str]]]:
    """{(command, base): the settings that were tried for it, as {"--lr": "1e-4", ...}}. A row that
    another claim has too has the same command."""
    with gzip.open(RESULTS / "searches.csv.gz", "rt", encoding="utf-8") as file:
        found = [(x["claim"], x["row"], x["base"], x["setting"]) for x in csv.DictReader(file)]
    with open(RESULTS / "rates.csv", encoding="utf-8") as file:
        found += [(claim, row, "smollm2", f"--lr {rate}")
                  for claim, row, rate, *_ in csv.reader(file)]
    found += [(x["claim"], x["row"], x["base"], x["setting"]) for x in read_tries()
              if is_kept(x["claim"])]       # else a best setting is not known yet
    out: dict[tuple[str, str], list[dict[str, str]]] = {}
    for name, row, base, setting in found:
        command = CLAIMS[name].command(row, CLAIMS[name].names.index(base))
        words = setting.partition(" <- ")[0].split()
        out.setdefault((command, base), []).append(dict(zip(words[::2], words[1::2])))
    return out


def count(name: str, row: str) -> int:
    """In how many settings was a row searched on the first base?"""
    return len(searches()[CLAIMS[name].command(row, 0), "base"])


def doubts(name: str, row: str, base: int) -> dict[str, str]:
    """{doubt: the stage of the row that it is of}, of all stages: settings that are the lowest or
    the highest that were tried, or that none were tried. Where only the first base was searched,
    its search counts for the second one too. A model made once, for all rows, is no stage."""
    claim = CLAIMS[name]
    out: dict[str, str] = {}
    while row in claim.rows and claim.is_trained(row):
        flags, start = claim.parts_of(row, base)
        of_bases = [searches().get((claim.command(row, base), claim.names[b])) for b in (base, 0)]
        tried = of_bases[0] or of_bases[1]
        out |= dict.fromkeys(edges(flags.split(), tried) if tried else [NOT_SEARCHED], row)
        row = start
    return out


def edges(words: list[str], tried: list[dict[str, str]]) -> list[str]:
    """Which of these flags have the lowest or the highest value that was tried."""
    out = []
    for flag in tried[0]:
        value, values = words[words.index(flag) + 1], [float(x[flag]) for x in tried]
        out += [f"{flag} {value} is the {side} that was tried" for side, of_all in
                (("lowest", min), ("highest", max)) if float(value) == of_all(values)]
    return out
