"""What an entry of claims.py is: rows of training runs, and questions that they answer.

rows        {name: a command of nanouft.train}. "<- NAME" says from which row's model it starts;
            without it a row starts from the base. Two commands: one for each base. A name in
            braces is a folder that another command of the entry makes (`made`). A row without flags
            is a model that is not trained here: "" is the base, "{aligned}" that folder.
tries       {row: the settings that are tried for it}, by `--search`, at full length on validation
            prompts with another seed. The best mean score decides, and results/tries.csv keeps all.
            A setting may end in "<- NAME", as a row does.
questions   {question: "test: a sum of rows"}. "better: A - B" asks whether A scores more than B,
            "better: A - B - C + D" whether A's lead over B is larger than C's over D.
            stats.py has the tests.
            "better, stops: A - B" asks of the share of answers that stop, "stops in sort" of those
            of one family, and "score where both stop in sort" of the score of the answers that stop
            after A and after B alike. A question that begins with "..." is that before it, asked
            of one family; docs/all_questions.md has all others.
premises    the same without a verdict: "score: A", "stops: A" print what a row scores, or stops.

The score of a run is the mean over families of NanoWorld, or the mean of the means of `parts`.
Settings were chosen on validation prompts with other seeds (searches.py), and every question, sign
and margin was written down before the runs that answer it.
"""
import csv
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from nanouft.plumbing.errors import UserError

RESULTS = Path(__file__).parent / "results"
TRIES = RESULTS / "tries.csv"           # all settings that were tried, and what they scored
FAMILIES = ("rules", "rules_new", "list", "sum", "sort", "reverse", "truth", "unknown", "fact")
NO_FACTS = FAMILIES[:6]                 # they need no facts of NanoWorld
SKILLS = ("rules", "list", "sum", "sort", "reverse")
THREE = (SKILLS, ("truth", "unknown"), ("fact",))       # skills, honesty, facts
BASES = ("base", "out/base-1")          # what --init takes
REAL = ("out/smollm2",)                 # SmolLM2-135M-Instruct, made by smollm2.py
# how rows of several files begin
SFT = "--objective sft --reduction sequence"
RELEASED = "--objective ift --variant released"
DETACHED = "--objective ift --variant detached"
POFT = "--objective poft --aligned {aligned}"
UNIT = 240                              # every score of NanoWorld is a whole number of 240ths


@dataclass(frozen=True)
class Claim:
    title: str
    rows: dict[str, str | tuple[str, str]]
    questions: dict[str, str]
    parts: tuple[tuple[str, ...], ...] = (FAMILIES,)
    seeds: range = range(500, 505)
    prompts: int = 4                    # the seed of the test prompts
    made: dict[str, str] = field(default_factory=dict)
    bases: tuple[str, ...] = BASES
    families: tuple[str, ...] = FAMILIES
    items: int = 100                    # test prompts of each family
    max_new: int = 44                   # longest answer, in tokens of the base
    expected: str = ""                  # written down before the runs
    scores_of: str = ""                 # a claim whose kept scores are asked, all of them
    doubts: dict[str, str] = field(default_factory=dict)    # {formula, or "" for all: "one; two"}
    premises: dict[str, str] = field(default_factory=dict)  # {what is presumed: formula}
    seeds_of: dict[str, range] = field(default_factory=dict)    # of rows with other seeds
    tries: dict[str, tuple[str, ...]] = field(default_factory=dict)
    set_like: dict[str, str] = field(default_factory=dict)  # {row: a claim whose best try it takes}
    one_search: bool = False            # on the first base, for all
    name: str = ""                      # that of CLAIMS, under which its tries are kept
    search_items: int = 40              # validation prompts of each family, of a try
    measured: tuple[str, ...] = ()      # beside the scores: "logp", "kl" (measures.py)
    moved_from: str = ""                # the row from which "kl" counts

    @property
    def names(self) -> list[str]:
        """The bases' names."""
        return [Path(folder).name for folder in self.bases]

    def seeds_for(self, row: str) -> range:
        return self.seeds_of.get(row, self.seeds)

    def is_trained(self, row: str) -> bool:
        line = self.rows[row]
        return not isinstance(line, str) or "--" in line

    def parts_of(self, name: str, base: int) -> tuple[str, str]:
        """(flags, the row that it starts from or "") of a row or of a folder that is made."""
        line = self.made.get(name) or self.rows[name]
        flags, _, start = (line if isinstance(line, str) else line[base]).partition(" <- ")
        if name in self.tries or name in self.set_like:
            flags, _, other = f"{flags} {self.best_try(name, base)}".partition(" <- ")
            start = other or start
        return flags, start

    def best_try(self, row: str, base: int) -> str:
        """The settings with the best score on validation prompts; the first of equals."""
        searched = self.set_like.get(row, self.name)
        tried = tries_of(searched, row, self.names[0 if self.one_search else base])
        wanted = self.tries.get(row) or tuple(tried)
        if not wanted or len(tried) < len(wanted):
            raise UserError(f"{self.name}, {row}: its settings have not all been tried; first: "
                            f"python -m lessons.evidence --search {searched}")
        return max(wanted, key=lambda setting: tried[setting])

    def with_setting(self, row: str, setting: str) -> "Claim":
        """The same claim, whose row has this setting in place of the best one."""
        line = self.rows[row]
        lines = [line] * len(self.bases) if isinstance(line, str) else line
        fixed = tuple(f"{flags} {setting}{arrow}{start}" for flags, arrow, start in
                      (line.partition(" <- ") for line in lines))
        return replace(self, rows=self.rows | {row: fixed if len(fixed) > 1 else fixed[0]},
                       tries={name: tried for name, tried in self.tries.items() if name != row},
                       set_like={name: of for name, of in self.set_like.items() if name != row})

    def command(self, name: str, base: int) -> str:
        """The whole command of a row, or of a folder that is made. What it reads and what it starts
        from stand in it, so that a command says all that its scores depend on but for the seed."""
        flags, start = self.parts_of(name, base)
        for folder in self.made:
            if f"{{{folder}}}" in flags:
                flags = flags.replace(f"{{{folder}}}", f"{{{self.command(folder, base)}}}")
        return f"{flags} <- {self.command(start, base)}" if start else flags


def reads(*files: str) -> str:
    """All rows of these files are for training; none is held out."""
    names = " ".join(f"{file}.jsonl" for file in files)
    return f"--data {names} --eval-data {names}"


@cache
def read_tries() -> list[dict[str, str]]:
    """All settings that `--search` has tried, a line each; none before the first search."""
    if not TRIES.exists():
        return []
    with open(TRIES, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tries_of(name: str, row: str, base: str) -> dict[str, float]:
    """{setting: mean score on validation prompts} of a row."""
    return {x["setting"]: float(x["score"]) for x in read_tries()
            if (x["claim"], x["row"], x["base"]) == (name, row, base)}
