"""What a claim is: rows, which are commands of nanouft.train, and questions about their scores.

rows        {name: a command of nanouft.train}. "<- NAME" says from which row's model it starts;
            without it a row starts from the base. Two commands: one for each base. A name in
            braces is a folder that another command of the entry makes (`made`).
questions   {question: "test: a sum of rows"}. "better: A - B" asks whether A scores more than B,
            "better: A - B - C + D" whether A's lead over B is larger than C's over D.
            stats.py has the three tests.
            "better, stops: A - B" asks of the share of answers that stop, "stops in sort" of those
            of one family, and "score where both stop in sort" of the score of the answers that stop
            after A and after B alike. A question that begins with "..." is that before it, asked
            of one family; docs/claims.md has all others.
premises    the same without a verdict: "score: A", "stops: A" print what a row scores, or stops.
A row without flags is a model that is not trained here: "" is the base, "{aligned}" that folder.
The score of a run is the mean over nine families of NanoWorld with 100 prompts each, or the mean of
the means of `parts`. The settings were chosen on validation prompts with other seeds
(results/searches.csv.gz lists all that were tried), and every question was written down before the
runs that answer it.
"""
from dataclasses import dataclass, field
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
FAMILIES = ("rules", "rules_new", "list", "sum", "sort", "reverse", "truth", "unknown", "fact")
SKILLS = ("rules", "list", "sum", "sort", "reverse")
HONESTY = ("truth", "unknown")
FACTS = ("fact",)
NINE = (FAMILIES,)
THREE = (SKILLS, HONESTY, FACTS)
BASES = {"base": "base", "base-1": "out/base-1"}        # name: what --init takes
REAL = {"smollm2": "out/smollm2"}       # SmolLM2-135M-Instruct, made by lessons/evidence/smollm2.py
NO_FACTS = ("rules", "rules_new", "list", "sum", "sort", "reverse")     # NanoWorld's are not asked


@dataclass(frozen=True)
class Claim:
    title: str
    rows: dict[str, str | tuple[str, str]]
    questions: dict[str, str]
    parts: tuple[tuple[str, ...], ...] = NINE
    seeds: range = range(500, 505)
    prompts: int = 4                    # the seed of the test prompts
    made: dict[str, str] = field(default_factory=dict)
    bases: dict[str, str] = field(default_factory=lambda: BASES)
    families: tuple[str, ...] = FAMILIES
    items: int = 100                    # test prompts of each family
    max_new: int = 44                   # longest answer, in tokens of the base
    expected: str = ""                  # written down before the runs
    known: str = ""                     # a claim whose kept scores have rows of this one
    scores_of: str = ""                 # a claim whose kept scores are asked, all of them
    doubts: dict[str, str] = field(default_factory=dict)    # {formula, or "" for all: "one; two"}
    premises: dict[str, str] = field(default_factory=dict)  # {what is presumed: formula}
    seeds_of: dict[str, range] = field(default_factory=dict)    # of rows with other seeds

    def seeds_for(self, row: str) -> range:
        return self.seeds_of.get(row, self.seeds)

    def is_trained(self, row: str) -> bool:
        line = self.rows[row]
        return not isinstance(line, str) or "--" in line


def reads(*files: str) -> str:
    """All rows of these files are for training; none is held out."""
    names = " ".join(f"{file}.jsonl" for file in files)
    return f"--data {names} --eval-data {names}"


SFT = "--objective sft --reduction sequence"
RELEASED = "--objective ift --variant released"
DETACHED = "--objective ift --variant detached"
POFT = "--objective poft --aligned {aligned}"


def command(claim: Claim, name: str, base: int) -> str:
    """The whole command of a row, or of a folder that is made. What it reads and what it starts
    from stand in it, so that a command says all that its scores depend on but for the seed."""
    flags, start = parts_of(claim, name, base)
    for folder in claim.made:
        if f"{{{folder}}}" in flags:
            flags = flags.replace(f"{{{folder}}}", f"{{{command(claim, folder, base)}}}")
    return f"{flags} <- {command(claim, start, base)}" if start else flags


def parts_of(claim: Claim, name: str, base: int) -> tuple[str, str]:
    """(flags, the row that it starts from or "") of a row or of a folder that is made."""
    line = claim.made.get(name) or claim.rows[name]
    if not isinstance(line, str):
        line = line[base]
    flags, _, start = line.partition(" <- ")
    return flags, start
