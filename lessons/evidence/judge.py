"""From packed scores to verdicts: `python -m lessons.evidence` prints what `lines` returns.

results/C1.npz and so on hold every answer's score. `commands` (rows, bases) are texts, `scores`
(rows, bases, seeds, families, prompts) count 240ths, one byte each; `stops` (rows, bases, seeds) is
the share of list answers that stop; `groups` (families, prompts) has one number for all prompts
that ask for the same fact.
"""
import math
import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lessons.evidence import estimates, papers, reads, searches
from lessons.evidence.claim import BASES, SKILLS, Claim, command
from lessons.evidence.claims import CLAIMS
from lessons.evidence.families import Asked, moments
from lessons.evidence.stats import half_width
from lessons.evidence.verdicts import Line, holm, lines_of, packed, scores_file
from nanouft.errors import UserError

UNIT = 240                              # every score of NanoWorld is a whole number of 240ths


# ---- the claims that are rows of runs ------------------------------------------------------------
def place(kept: Mapping[str, np.ndarray], claim: Claim, row: str, base: int) -> int:
    """Where the scores of a row lie. A row is found by its whole command, so a figure is never that
    of another command than the entry says."""
    wanted, commands = command(claim, row, base), list(kept["commands"][:, base])
    if wanted not in commands:
        raise UserError(f"{row}: no scores of this command are kept, it was never run: {wanted}")
    return commands.index(wanted)


def read_question(claim: Claim, formula: str) -> tuple[str, list[tuple[int, str]], str, tuple]:
    """(test, [(sign, row), ...], what is compared, parts) of "better, skills: A - B". What is
    compared are "scores", "ended", or "both stop": the scores of answers that stop in all rows."""
    head, terms = formula.split(": ", 1)
    test, _, of = head.partition(", ")
    signed = [(-1 if term[0] == "-" else 1, term[2:])
              for term in re.split(r" (?=[+-] )", f"+ {terms}")]
    compared, _, family = of.partition(" in ")
    parts = ((family,),) if family else (SKILLS,) if compared == "skills" else claim.parts
    return test, signed, COMPARED.get(compared, "scores"), parts


COMPARED = {"stops": "ended", "score where both stop": "both stop"}


def asked_of(claim: Claim, kept: Mapping[str, np.ndarray], formula: str, base: int) -> Asked:
    test, signed, what, parts = read_question(claim, formula)
    places = [place(kept, claim, row, base) for _, row in signed]
    x = kept["ended" if what == "ended" else "scores"][:, base]     # (rows, seeds, families,
    x = x / (1 if what == "ended" else UNIT)                        # prompts)
    gap = sum(sign * x[i] for (sign, _), i in zip(signed, places))
    if what == "both stop":
        gap = mean_where(gap, kept["ended"][places, base].all(0))
    number = {family: i for i, family in enumerate(claim.families)}
    names = [family for part in parts for family in part]
    return Asked({family: gap[:, number[family]] for family in names},
                 {family: kept["groups"][number[family]] for family in names}, parts, test)


def mean_where(gap: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(seeds, families, prompts) -> the same, so that its mean over seeds and prompts, and the
    variance of that mean, are those of the gap where `counts` is true. (A mean over a random number
    of answers is a ratio; this is its linearization.)"""
    share = counts.mean((0, 2), keepdims=True)
    mean = (gap * counts).mean((0, 2), keepdims=True) / share
    return mean + (gap - mean) * counts / share


def asked_by_base(name: str, kept: Mapping[str, np.ndarray] | None = None) -> list[list[Asked]]:
    """Each question of a claim, on each base."""
    claim, kept = CLAIMS[name], kept or packed(name)
    return [[asked_of(claim, kept, formula, base) for formula in claim.questions.values()]
            for base in range(len(claim.bases))]


def judged(name: str, kept: Mapping[str, np.ndarray] | None = None) -> list[Line]:
    """All questions of a claim, from its packed scores or from `kept`."""
    return lines_of(name, list(CLAIMS[name].questions), asked_by_base(name, kept))


def row_lines(name: str) -> list[str]:
    """Each row of a claim: its score, that of each family, how many answers (C1 to C6: lists) stop,
    the nats of the end token after a right answer, where they are kept; its flags."""
    claim, kept = CLAIMS[name], packed(name)
    columns = ("score", *claim.families, "stops")
    out = [f"{'%, means over seeds':22}" + "".join(f"{column:>10}" for column in columns)]
    for row, flags in claim.rows.items():
        for base, base_name in enumerate(claim.bases):
            i = place(kept, claim, row, base)
            means = dict(zip(claim.families, kept["scores"][i, base].mean((0, 2)) / UNIT))
            score = np.mean([np.mean([means[family] for family in part]) for part in claim.parts])
            stops = kept["ended" if "ended" in kept else "stops"][i, base].mean()
            numbers = [score, *means.values(), stops]
            line = f"{row:14}{base_name:>8}" + "".join(f"{100 * x:10.1f}" for x in numbers)
            nats = kept["end_nll"][i, base].mean(dtype=float) if "end_nll" in kept else math.nan
            out.append(line if math.isnan(nats) else f"{line}   end: {nats:.2f} nats")
        out.append("    " + (flags if isinstance(flags, str) else " | ".join(flags)))
    return out + [f"{{{folder}}} = {flags}" for folder, flags in claim.made.items()]


# ---- all claims ----------------------------------------------------------------------------------
def was_run(name: str) -> bool:
    """Are scores of this claim kept?"""
    return scores_file(name).exists()


def lines(name: str) -> list[Line]:
    """The questions of one claim with their verdicts, whose they are, and what is doubtful."""
    if name == "C5":
        found = reads.lines()
    elif name == "C7":
        found = estimates.lines()
    elif was_run(name):
        found = judged(name)
    else:
        found = [Line(name, question, NOT_RUN, "") for question in CLAIMS[name].questions]
    return [told(line) for line in found]


def told(line: Line) -> Line:
    """A line that also says whose question it is, and what is doubtful."""
    return replace(line, whose=papers.whose(key(line)),
                   doubts=doubts_of(line) if line.claim in CLAIMS else {})


def key(line: Line) -> str:
    """How papers.py names a question: "C1 better: released - SFT"; in C5 and C7 by its words."""
    claim = CLAIMS.get(line.claim)
    return f"{line.claim} {claim.questions[line.question] if claim else line.question}"


def doubts_of(line: Line) -> dict[str, list[str]]:
    """{doubt: the rows that it is of}: the claim's own, then what the search for settings lacks."""
    claim = CLAIMS[line.claim]
    formula = claim.questions[line.question]
    own = "; ".join(filter(None, map(claim.doubts.get, ("", formula))))
    out: dict[str, list[str]] = {doubt: [] for doubt in filter(None, own.split("; "))}
    for _, row in read_question(claim, formula)[1]:
        for base in range(len(claim.bases)):
            for doubt, stage in searches.doubts(line.claim, row, base).items():
                if stage not in out.setdefault(doubt, []):
                    out[doubt].append(stage)
    return out


def premises(name: str) -> list[str]:
    """What a claim presumes, measured: "Answers of the start model that stop: 55.3 ± 2.0 %"."""
    if name not in CLAIMS or not was_run(name):
        return []
    claim, kept, out = CLAIMS[name], packed(name), []
    for what, formula in claim.premises.items():
        by_base = [asked_of(claim, kept, f"better, {formula}", base)
                   for base in range(len(claim.bases))]
        out.append(f"{what}: " + " and ".join(
            f"{100 * mean:.1f} ± {100 * half_width(variance, freedom):.1f}"
            for mean, variance, freedom in map(moments, by_base)))
    return out


def number(name: str) -> tuple[str, int, str]:
    """C10 comes after C9, and C1c after C1."""
    letter, digits, rest = re.fullmatch(r"([CR])(\d+)(\w*)", name).groups()
    return letter, int(digits), rest


NAMES = sorted([*CLAIMS, "C5", "C7"], key=number)
NOT_RUN = "not run yet"


def page_lines() -> list[Line]:
    """The table of docs/claims.md: all questions of all claims that were run, except those that ask
    one family of the question before them ("..."). Frozen Lake's stand there in four."""
    found = [line for name in NAMES for line in (lake_lines() if name == "C5" else lines(name))]
    return [line for line in found
            if line.verdict != NOT_RUN and not line.question.startswith("...")]


def lake_lines() -> list[Line]:
    """C5 in four lines: where training ends; what is read by a policy with a habit and by one from
    scratch, which hold if they hold for a table and for a network; and whether SFT overestimates a
    policy with a habit that has learnt for five updates."""
    end, *reading = reads.lines()
    out = [Line("C5", "Frozen Lake: training ends in the paper's order, DPO, IFT, ORPO and SFT",
                end.verdict, end.figures.partition("; ")[2])]
    for start, name in (("detour habit", "a policy with a habit"),
                        ("from scratch", "a policy from scratch")):
        cases = [line for line in reading
                 if start in line.question and line.question.startswith("What is read")]
        verdicts = {line.verdict for line in cases}
        orders = [re.search(r"order on (\d+) ?%", line.figures)[1] for line in cases]
        out.append(Line("C5", f"What is read lies where {name} goes, SFT < IFT < DPO",
                        verdicts.pop() if len(verdicts) == 1 else "undecided",
                        f"this order on {' and '.join(orders)} % of 100 maps"))
    moved = next(line for line in reading if "(detour habit, 5 updates)" in line.question)
    (gap,) = moved.findings
    out.append(replace(
        moved, question="Move by move, SFT overestimates a policy with a habit (5 updates)",
        figures=reads.points(gap.mean, gap.half)))
    return [told(line) for line in out]


def as_one_family() -> tuple[int, int, int]:
    """If the questions of C1 to C6 shared one correction: (questions, verdicts that are decided
    claim by claim, those of them that stay decided)."""
    names = [name for name, claim in CLAIMS.items()
             if claim.bases == BASES and number(name) < ("C", 7, "")]
    claim_by_claim = [line.verdict for name in names for line in judged(name)]
    by_base = zip(*(asked_by_base(name) for name in names))
    together = [holm([asked for of_claim in claims for asked in of_claim]) for claims in by_base]
    decided = sum(verdict != "undecided" for verdict in claim_by_claim)
    stay = sum(first == second == alone != "undecided"
               for first, second, alone in zip(*together, claim_by_claim))
    return len(claim_by_claim), decided, stay
