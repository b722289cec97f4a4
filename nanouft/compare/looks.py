"""How often these questions were looked at. Who looks again until it suits, or tries one loss after
another on the same questions, finds a lead where there is none more often than once in twenty.

    earlier = looks(c, measure)         # [Look, ...] that other comparisons had before this one

looks.jsonl lies beside the runs; each comparison that is judged has one line in it.
"""
import json
from typing import NamedTuple

from nanouft.compare import runs
from nanouft.compare.code import short_hash
from nanouft.compare.comparison import Comparison
from nanouft.compare.locks import held
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_text


class Look(NamedTuple):
    questions: str                      # hash of what was asked
    arms: dict[str, str]                # {name: hash of all that decides its weights but the seed}
    seeds: list[int]                    # the first one, and how many
    confirm: bool = False

    def same_arms(self, other: "Look") -> bool:
        return sorted(self.arms.values()) == sorted(other.arms.values())


def this_look(c: Comparison, measure: str) -> Look:
    start = c.start()
    assert start.asked
    arms = {}
    for arm in c.arms:
        job = c.job(arm, c.seeds[0])
        arms[arm.name] = short_hash([arm.words, arm.copy, c.rate(arm), sorted(
            x for part in arm.chain for x in runs.made(c.job(part, c.seeds[0]).folder)["files"
            ].items()), [x for x in job.words if x not in (job.init, str(c.seeds[0]))]])
    return Look(short_hash([start.asked.key, measure]), arms, [c.seeds[0], len(c.seeds)],
                c.cfg.confirm)


def looks(c: Comparison, measure: str) -> list[Look]:
    """The other looks at these questions that came first. A confirmation has questions of its own,
    or a part of the rows: it looks once."""
    now, file = this_look(c, measure), c.root / "looks.jsonl"
    with held(c.root, file.name):
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        every = [Look(**json.loads(line)) for line in lines]
        same = [x for x in every if x.questions == now.questions]
        again = [x for x in same if x.same_arms(now) and x.seeds != now.seeds]
        if now.confirm and again and now not in same:
            raise UserError(f"--confirm has judged these methods once, with {again[0].seeds[1]} "
                            f"seeds; the report is in {c.place}")
        if now not in every:
            write_text(file, "".join(json.dumps(x._asdict()) + "\n" for x in [*every, now]))
    return same[:same.index(now)] if now in same else same
