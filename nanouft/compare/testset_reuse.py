"""How often these prompts were tested on. Anyone who tests until it suits, or tries one loss after
another on the same prompts, finds a lead where there is none more often than once in twenty.

    refuse_second_confirm(c)    # --confirm tests once; so before anything is trained
    earlier = earlier_tests(c)  # [PastTest, ...] that other comparisons had before this one
    record_test(c)              # when its scores are shown

looks.jsonl lies beside the runs; each comparison whose scores were shown has one line in it.
"""
import json
from pathlib import Path
from typing import NamedTuple

from nanouft.compare import runs
from nanouft.compare.fingerprint import short_hash
from nanouft.compare.plan import Comparison
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import write_text


class PastTest(NamedTuple):
    questions: str                      # hash of what was asked
    arms: dict[str, str]                # {name: hash of all that decides its weights but the seed}
    seeds: list[int]                    # the first one, and how many


def hash_of_prompts(c: Comparison) -> str:
    return short_hash([c.eval_spec("test").key, c.cfg.by])


def read_past_tests(file: Path) -> list[PastTest]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [PastTest(*map(json.loads(line).get, PastTest._fields)) for line in lines]


def refuse_second_confirm(c: Comparison) -> None:
    """UserError if --confirm has tested these methods with other prompts, or another number of
    seeds. Its first seed is theirs alone."""
    for x in read_past_tests(c.root / "looks.jsonl") if c.cfg.confirm else ():
        same = x.questions == hash_of_prompts(c)
        if x.seeds[0] == c.first_seed and (same or not c.parts) and (
                not same or x.seeds[1] != c.cfg.seeds):
            raise UserError(f"--confirm has already tested these methods, with {x.seeds[1]} seeds; "
                            f"see the report in {c.folder}")


def this_test(c: Comparison) -> PastTest:
    arms = {}
    for arm in c.arms:
        job = c.job(arm, c.seeds[0])
        assert job.config
        code = [sorted(runs.made_record(x.folder)["files"].items()) for x in runs.with_needs(job)]
        arms[arm.name] = short_hash([arm.words, arm.copy, c.lr(arm), code,
                                      job.config.with_flags(init="", seed=0).argv()])
    return PastTest(hash_of_prompts(c), arms, [c.seeds[0], len(c.seeds)])


def earlier_tests(c: Comparison) -> list[PastTest]:
    """The other tests on these prompts that came first. (A confirmation has prompts of its own, or
    a part of the rows.)"""
    now, all_tests = this_test(c), read_past_tests(c.root / "looks.jsonl")
    first = all_tests[:all_tests.index(now)] if now in all_tests else all_tests
    return [x for x in first if x.questions == now.questions]


def record_test(c: Comparison) -> None:
    """Count this test, once."""
    now, file = this_test(c), c.root / "looks.jsonl"
    all_tests = read_past_tests(file)
    if now not in all_tests:
        write_text(file, "".join(json.dumps(x._asdict()) + "\n" for x in [*all_tests, now]))
