"""How often these questions were looked at. Who looks again until it suits, or tries one loss after
another on the same questions, finds a lead where there is none more often than once in twenty.

    refuse_second(c)            # --confirm judges once; so before anything is trained
    earlier = looks(c)          # [Look, ...] that other comparisons had before this one

looks.jsonl lies beside the runs; each comparison that is judged has one line in it.
"""
import json
from pathlib import Path
from typing import NamedTuple

from nanouft.compare import runs
from nanouft.compare.fingerprint import short_hash
from nanouft.compare.plan import Comparison
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_text


class Look(NamedTuple):
    questions: str                      # hash of what was asked
    arms: dict[str, str]                # {name: hash of all that decides its weights but the seed}
    seeds: list[int]                    # the first one, and how many


def questions_of(c: Comparison) -> str:
    return short_hash([c.eval_spec("test").key, c.cfg.by])


def read_looks(file: Path) -> list[Look]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [Look(*map(json.loads(line).get, Look._fields)) for line in lines]


def refuse_second(c: Comparison) -> None:
    """UserError if --confirm has judged these methods with other questions, or another number of
    seeds. Its first seed is theirs alone."""
    for x in read_looks(c.root / "looks.jsonl") if c.cfg.confirm else ():
        same = x.questions == questions_of(c)
        if x.seeds[0] == c.fresh and (same or not c.parts) and (
                not same or x.seeds[1] != c.cfg.seeds):
            raise UserError(f"--confirm has already tested these methods, with {x.seeds[1]} seeds; "
                            f"see the report in {c.place}")


def looks(c: Comparison) -> list[Look]:
    """The other looks at these questions that came first. (A confirmation has questions of its own,
    or a part of the rows.)"""
    arms, file = {}, c.root / "looks.jsonl"
    for arm in c.arms:
        job = c.job(arm, c.seeds[0])
        assert job.config
        code = [sorted(runs.made(x.folder)["files"].items()) for x in runs.with_needs(job)]
        arms[arm.name] = short_hash([arm.words, arm.copy, c.rate(arm), code,
                                      job.config.but(init="", seed=0).argv()])
    now, every = Look(questions_of(c), arms, [c.seeds[0], len(c.seeds)]), read_looks(file)
    if now not in every:
        every.append(now)
        write_text(file, "".join(json.dumps(x._asdict()) + "\n" for x in every))
    return [x for x in every[:every.index(now)] if x.questions == now.questions]
