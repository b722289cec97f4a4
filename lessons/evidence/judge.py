"""From kept scores (claims.scores_file) to the lines that `python -m lessons.evidence` prints.
Students are judged by lessons/classroom/judge.py."""
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

import numpy as np

from lessons.evidence import frozen, papers, searches
from lessons.evidence.claim import BASES, SKILLS, UNIT, Claim
from lessons.evidence.claims import CLAIMS, is_kept, load_packed
from lessons.evidence.stats import Moments, half_width
from lessons.evidence.verdicts import Asked, Line, Parts, holm, lines_of, moments
from nanouft.plumbing.errors import UserError

MODELS = {"base": "N1", "base-1": "N2", "smollm2": "SmolLM2"}
COMPARED = {"stops": "ended", "score where both stop": "both stop"}
Kept = Mapping[str, np.ndarray]


# ---- the claims that are rows of runs ------------------------------------------------------------
def place(kept: Kept, claim: Claim, row: str, base: int) -> int:
    """Where the scores of a row lie. A row is found by its whole command, so a figure is never that
    of another command than the entry says."""
    wanted, commands = claim.command(row, base), list(kept["commands"][:, base])
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
    compared = of.partition(" in ")[0]
    return test, signed, COMPARED.get(compared, "scores"), parts_of(claim, of)


def parts_of(claim: Claim, of: str) -> Parts:
    """Which tasks are averaged: those of "score in reverse", of "skills", of "tasks alike", where
    each weighs the same, of "without unknown", all others; else the claim's parts."""
    task = of.partition(" in ")[2]
    if task:
        return ((task,),)
    if of == "skills":
        return (SKILLS,)
    if of == "tasks alike":
        return (claim.families,)
    gone = of.removeprefix("without ")
    return tuple(tuple(name for name in part if name != gone) for part in claim.parts)


def asked_of(claim: Claim, kept: Kept, formula: str, base: int) -> Asked:
    test, signed, what, parts = read_question(claim, formula)
    places = [place(kept, claim, row, base) for _, row in signed]
    x = kept["ended" if what == "ended" else "scores"][:, base]     # (rows, seeds, families,
    x = x / (1 if what == "ended" else UNIT)                        # prompts)
    gap = sum(sign * x[i] for (sign, _), i in zip(signed, places))
    if what == "both stop":
        gap = mean_where(gap, kept["ended"][places, base].all(0))
    at = {family: claim.families.index(family) for part in parts for family in part}
    return Asked({family: gap[:, i] for family, i in at.items()},
                 {family: kept["groups"][i] for family, i in at.items()}, parts, test)


def mean_where(gap: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(seeds, families, prompts) -> the same, so that its mean over seeds and prompts, and the
    variance of that mean, are those of the gap where `counts` is true. (A mean over a random number
    of answers is a ratio; this is its linearization.)"""
    share = counts.mean((0, 2), keepdims=True)
    mean = (gap * counts).mean((0, 2), keepdims=True) / share
    return mean + (gap - mean) * counts / share


def score_of(claim: Claim, kept: Kept, row: str, base: int) -> Moments:
    """The score of a row on a base, from 0 to 1, with its variance and degrees of freedom."""
    return moments(asked_of(claim, kept, f"better: {row}", base))


def asked_by_base(name: str, kept: Kept | None = None) -> list[list[Asked]]:
    """Each question of a claim, on each base."""
    claim, kept = CLAIMS[name], kept or load_packed(name)
    return [[asked_of(claim, kept, formula, base) for formula in claim.questions.values()]
            for base in range(len(claim.bases))]


def verdicts_of(name: str, kept: Kept | None = None) -> list[Line]:
    """All questions of a claim, from its kept scores or from others."""
    return lines_of(name, list(CLAIMS[name].questions), asked_by_base(name, kept))


def row_lines(name: str) -> list[str]:
    """Each row of a claim: its score, that of each task, how many answers (C1 to C6: lists)
    stop; its flags."""
    claim, kept = CLAIMS[name], load_packed(name)
    columns = ("score", *claim.families, "stops")
    width = max(map(len, claim.rows))
    stop = "the answers" if "ended" in kept else "list answers"
    out = ["Score of each training in points of 100, in all tasks and in each, and how many per",
           f"cent of {stop} stop (means over seeds; below each its flags for nanouft.train)",
           " " * (width + 10) + "".join(f"{column:>10}" for column in columns)]
    for row, flags in claim.rows.items():
        for base, base_name in enumerate(claim.names):
            i = place(kept, claim, row, base)
            by_family = kept["scores"][i, base].mean((0, 2)) / UNIT
            stops = kept["ended" if "ended" in kept else "stops"][i, base].mean()
            numbers = [score_of(claim, kept, row, base)[0], *by_family, stops]
            told = "".join(f"{100 * x:10.1f}" for x in numbers)
            out.append(f"{row:{width}}{MODELS[base_name]:>10}{told}")
        out += [f"    {start_of(x)}" for x in ([flags] if isinstance(flags, str) else flags)]
    return out + [f"{{{folder}}} = {start_of(flags)}" for folder, flags in claim.made.items()]


def start_of(flags: str) -> str:
    """The flags of a run, with the run that it starts from in words."""
    flags, _, start = flags.partition(" <- ")
    return f"{flags or '(not trained)'}{f', starting from {start}' if start else ''}"


# ---- all claims ----------------------------------------------------------------------------------
def number(name: str) -> tuple[str, int, str]:
    """C10 comes after C9, and C1c after C1."""
    letter, digits, rest = re.fullmatch(r"([CR])(\d+)(\w*)", name).groups()
    return letter, int(digits), rest


NAMES = sorted([*CLAIMS, *frozen.NAMES], key=number)
RUN = [name for name in NAMES if name in frozen.NAMES or is_kept(name)]


@cache
def lines(name: str) -> list[Line]:
    """The questions of one claim with their verdicts, whose they are, and what is doubtful."""
    return with_doubts(verdicts_of(name) if name in CLAIMS else frozen.lines(name))


def with_doubts(found: list[Line]) -> list[Line]:
    """Lines that also say whose question it is, and what is doubtful."""
    return [replace(line, whose=papers.whose(key(line)), doubts=doubts_of(line)) for line in found]


def key(line: Line) -> str:
    """How papers.py names a question: "C1 better: released - SFT"; in C5 and C7 by its words."""
    claim = CLAIMS.get(line.claim)
    return f"{line.claim} {claim.questions[line.question] if claim else line.question}"


def doubts_of(line: Line) -> dict[str, list[str]]:
    """{doubt: the rows that it is of}: the claim's own, then what the search for settings lacks."""
    claim = CLAIMS.get(line.claim)
    if claim is None:
        return {}
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
    claim, out = CLAIMS.get(name), []
    for what, formula in (claim.premises.items() if claim else ()):
        by_base = [asked_of(claim, load_packed(name), f"better, {formula}", base)
                   for base in range(len(claim.bases))]
        out.append(f"{what}: " + " and ".join(
            f"{100 * mean:.1f} ± {100 * half_width(variance, freedom):.1f}"
            for mean, variance, freedom in map(moments, by_base)))
    return out


def page_lines() -> list[Line]:
    """The tables of docs/all_questions.md: all questions of all claims, except those that ask one
    family of the question before them ("..."). Frozen Lake's stand there in four."""
    return [line for name in RUN
            for line in (with_doubts(frozen.page_lines()) if name == "C5" else lines(name))
            if not line.question.startswith("...")]


def as_one_family() -> tuple[int, int, int]:
    """If the questions of C1 to C6 shared one correction: (questions, verdicts that are decided
    claim by claim, those of them that stay decided)."""
    names = [name for name, claim in CLAIMS.items()
             if claim.bases == BASES and number(name) < ("C", 7, "")]
    claim_by_claim = [line.verdict for name in names for line in lines(name)]
    by_base = zip(*(asked_by_base(name) for name in names))
    together = [holm([asked for of_claim in claims for asked in of_claim]) for claims in by_base]
    decided = sum(verdict != "undecided" for verdict in claim_by_claim)
    stay = sum(first == second == alone != "undecided"
               for first, second, alone in zip(*together, claim_by_claim))
    return len(claim_by_claim), decided, stay
