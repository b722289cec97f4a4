"""Which rows were trained at an edge of the settings that were tried for them?

    edges("C1", "SFT", 0)       # ["--batch-size 8 is the lowest tried"]

Settings were chosen on validation prompts, before the runs: for our bases in
results/searches.csv.gz, for the real model in results/rates.csv. A setting at an edge may not be
the best one, which is a doubt and no verdict.
"""
import csv
import gzip
import re
from functools import cache

from lessons.evidence.claim import RESULTS, command, parts_of
from lessons.evidence.claims import CLAIMS

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
        tried = out.setdefault((command(claim, row, list(claim.bases).index(base)), base), {})
        words = setting.split()
        for flag, value in zip(words[::2], words[1::2]):
            tried.setdefault(flag, []).append(value)
    return out


def edges(name: str, row: str, base: int) -> list[str]:
    """The settings of a row that are the lowest or the highest that were tried."""
    claim, out = CLAIMS[name], []
    flags, _ = parts_of(claim, row, base)
    key = command(claim, row, base), list(claim.bases)[base]
    for flag, tried in searches().get(key, {}).items():
        value = re.search(rf"{flag} (\S+)", flags)[1]
        for side, of_all in (("lowest", min), ("highest", max)):
            if float(value) == of_all(map(float, tried)):
                out.append(f"{flag} {value} is the {side} tried")
    return out
