"""A run as it was planned (questions/NAME.ini) and what its trainings scored (results/NAME.npz.xz).
Version 6.0.0 prints how to train one again; a new claim is a comparison's folder.

[run]           what it asks, its models, seeds, prompts and tasks; what was expected before; split
                = val: it tries settings for another run, and has no questions
[made]          models and files that several trainings read: {likeliest} in their commands.
                `harvest`, a program of their commit, wrote a model's own answers with their scores
[trainings]     name = flags of nanouft.train. "<- NAME": it starts from that training's model, else
                from the model of [run]. Two lines: one for each model. No flags: not trained
[questions]     test: a sum of trainings = the question in words. "better: A - B" asks whether A
                scores more than B, "better: A - B - C + D" whether A's lead over B is larger than
                C's over D; verdicts.py has the tests. "better, stops: A - B" asks of the share of
                answers that stop, "score in sort" of one task, "score where both stop" of answers
                that stop after A and after B; "recovers" of the share of answers that go on rightly
                after a wrong first word (R12 alone)
[premises]      the same without a verdict
[doubts]        of a question, or of all: why a verdict may be wrong though its interval is right
[edges]         of a training: settings that are the lowest or highest tried, or were not searched;
                behind "|" the stage whose settings they are
[afterwards]    report: what was measured by other means

Settings were chosen on validation prompts with other seeds, and questions, signs and margins were
written down before the runs that answer them. So results/NAME.npz.xz has a hash of the commands and
one of the questions: scores of another plan are no answer. Words may change, verdicts may not.
questions/unplanned.txt has the differences that were read off afterwards; they have no verdict.

The choice of settings is proved by what no code reads: each setting that was tried, with its
validation scores. results/searches.csv.gz has C1 to C6, tries.csv.xz all later ones, and rates.csv
R1 and R4 (after half of the steps: run, training, rate, each task, share of answers that stop).
From R10 on tries are trainings of a plan, and kept as all others are.
"""
import configparser
import hashlib
import io
import json
import lzma
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lessons.evidence.by_task import Parts
from lessons.evidence.verdicts import LIMITS
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import read_text

HERE = Path(__file__).parent
TASKS = ("rules", "rules_new", "list", "sum", "sort", "reverse", "truth", "unknown", "fact")
SKILLS = ("rules", "list", "sum", "sort", "reverse")
HONESTY = ("truth", "unknown")
UNIT = 240                              # every score of NanoWorld is a whole number of 240ths
MODELS = {"base": "N1", "base-1": "N2", "smollm2": "SmolLM2"}
COMPARED = {"score": "scores", "stops": "ended", "score where both stop": "both stop",
            "recovers": "recovers"}
FROZEN = json.loads((HERE / "results" / "frozen.json").read_text(encoding="utf-8"))     # C5, C7

Words = dict[str, str]


@dataclass(frozen=True)
class Run:
    name: str
    run: Words
    made: Words = field(default_factory=dict)
    trainings: Words = field(default_factory=dict)
    questions: Words = field(default_factory=dict)      # {formula: in words}
    premises: Words = field(default_factory=dict)
    doubts: Words = field(default_factory=dict)
    edges: Words = field(default_factory=dict)
    afterwards: Words = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        return self.run["models"].split()

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(self.run.get("tasks", " ".join(TASKS)).split())

    @property
    def parts(self) -> Parts:
        """The score is the mean of the means of these groups of tasks."""
        return tuple(tuple(part.split()) for part in
                     self.run.get("mean of", " ".join(self.tasks)).split(","))

    @property
    def also(self) -> tuple[str, ...]:
        """What is measured beside scores and ends."""
        return tuple(self.run.get("also", "").split())


def read_ini(file: Path) -> configparser.ConfigParser:
    ini = configparser.ConfigParser(delimiters="=", interpolation=None)
    ini.optionxform = str               # type: ignore[assignment]  # names keep their capitals
    ini.read_string(read_text(file))
    return ini


@cache
def read(name: str) -> Run:
    """The plan of a run; of C5 and C7 only what they ask."""
    if name in FROZEN["asks"]:
        return Run(name, {what: FROZEN[what][name] for what in ("asks", "expected")
                          if name in FROZEN[what]})
    ini = read_ini(HERE / "questions" / f"{name}.ini")
    found = {part: dict(ini[part]) if part in ini else {} for part in list(Run.__annotations__)[1:]}
    for part in ("run", "questions", "premises", "doubts"):
        found[part] = {key: " ".join(text.split()) for key, text in found[part].items()}
    return Run(name, **found)


def parse_question(run: Run, formula: str) -> tuple[str, list[tuple[int, str]], str, Parts]:
    """(test, [(sign, training), ...], what is compared, parts) of "better, skills: A - B"."""
    head, _, terms = formula.partition(": ")
    test, _, of = head.partition(", ")
    signed = [(-1 if term[0] == "-" else 1, term[2:])
              for term in re.split(r" (?=[+-] )", f"+ {terms}")]
    means = {"": run.parts, "skills": (SKILLS,), "honesty": (HONESTY,),
             "tasks alike": (run.tasks,)} | {
        f"without {gone}": tuple(tuple(x for x in part if x != gone) for part in run.parts)
        for gone in run.tasks}
    if of in means:
        return test, signed, "scores", means[of]
    what, inside, task = of.partition(" in ")
    everywhere = means["without list"] if what == "recovers" else run.parts     # of many right ones
    return test, signed, COMPARED[what], ((task,),) if inside else everywhere


# ---- kept scores ---------------------------------------------------------------------------------
@cache
def scores(name: str) -> dict[str, np.ndarray]:
    """`scores` (trainings, models, seeds, tasks, prompts) in 240ths; `ended`: which answers stop
    (C1 to C6: `stops`, the share of lists); `recovers` in R12; `groups` (tasks, prompts): one
    number for all prompts that ask for the same fact; `version`: that of nanouft; `plans`: hashes.
    UserError if the plan is not the one that they were kept for.
    """
    file = HERE / "results" / f"{read(name).run.get('scores of', name)}.npz.xz"
    kept = dict(np.load(io.BytesIO(lzma.decompress(file.read_bytes()))))
    for what, now in hashes(read(name)).items():
        if f"{name} {what} {now}" not in kept["plans"]:
            raise UserError(f"questions/{name}.ini: its {what} are not those that {file.name} was "
                            "kept for; restore them")
    return kept


def hashes(run: Run) -> dict[str, str]:
    """Of all that scores depend on, and of all that verdicts depend on beside it."""
    words = ("asks", "expected", "scores of", "mean of")
    tests = {formula: LIMITS[re.split("[,:]", formula)[0]] for formula in run.questions}
    made, trained = ({name: [line.split() for line in lines.split("\n")]
                      for name, lines in part.items()} for part in (run.made, run.trainings))
    depends = {
        "trainings": [{key: x for key, x in run.run.items() if key not in words}, made, trained,
                      [*trained]],
        "questions": [run.parts, tests, [*run.premises]]}
    return {what: hashlib.sha256(json.dumps(on, sort_keys=True).encode()).hexdigest()[:16]
            for what, on in depends.items()}


def number(name: str) -> tuple[str, int, str]:
    """C10 comes after C9, and C1c after C1."""
    letter, digits, rest = re.fullmatch(r"([CR])(\d+)(\w*)", name).groups()
    return letter, int(digits), rest


PLANNED = [file.stem for file in (HERE / "questions").glob("*.ini")]
NAMES = sorted([*PLANNED, *FROZEN["asks"]], key=number)             # all runs


# ---- papers --------------------------------------------------------------------------------------
class Sentence(NamedTuple):
    """What a paper says, and the questions that ask it: the paper's own, then ours."""
    says: str                           # in our words
    asked: list[str]
    also: list[str]
    doubt: str


def one_line(text: str) -> str:
    """With its no-break spaces, as in "40 %"."""
    return re.sub(r"[ \n]+", " ", text)


PAPERS = [Sentence(one_line(part["says"]), part["asked"].split("\n")[1:],
                   part.get("also", "").split("\n")[1:], one_line(part["doubt"]))
          for name, part in read_ini(HERE / "questions" / "papers.cfg").items()
          if name != "DEFAULT"]
