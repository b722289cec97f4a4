"""What two studies make of harvested answers, beside the files of rewards/harvest.py.

    write(folder, own)      # after harvest wrote the folder; own.form says which of them

graded (C3b and C3c, one_stage.py): answers of the base, none of them right but about facts. A
prompt is kept if its best answer earns .2 to .8; of `fact`, which the base knows, every prompt is
kept. The file a.jsonl holds right demonstrations of honesty (truth, unknown).
mixed (C6b, una_claim.py): the file mixed.jsonl, in which a third of the prompts have scores, a
third have labels and a third have pairs. A pair is two labels, as UNA reads it.
"""
from collections.abc import Callable
from pathlib import Path

from lab.own import Own
from nanouft import world
from nanouft.rewards import harvest
from nanouft.rewards.harvest import Harvest, Sampled
from nanouft.run.storage import Lines
from nanouft.world.tasks import GROUP_B, read

# of `graded`: the families whose answers are graded; demonstrations of honesty
QUESTIONS = "A,fact"
DEMOS = 300
PARTLY = (0.2, 0.8)
RIGHT = 1.0                             # of `mixed`: the score that a label calls good


def skills(own: Own) -> str:
    """The families that are asked."""
    return QUESTIONS if own.form == "graded" else "all"


def write(folder: Path, own: Own) -> None:
    asked = harvest.find_prompts(Harvest(prompts=own.prompts, skills=skills(own), seed=own.seed))
    sampled = [Sampled(asked[x["row"]].prompt, x["answers"], x["rewards"], x["ended"], x["clean"])
               for x in Lines(folder / "answers.jsonl").read()]
    WRITERS[own.form](folder, own, sampled)


def graded(folder: Path, own: Own, sampled: list[Sampled]) -> None:
    harvest.write(folder, [s for s in sampled if kept(s)], good=None, is_learnt=False)
    demos = world.rows("train", "demos", DEMOS, own.seed, skills=GROUP_B)
    Lines(folder / "a.jsonl").rewrite([{"prompt": r.prompt[0].text, "response": r.answer[0].text}
                                       for r in demos])


def kept(s: Sampled) -> bool:
    return read(s.prompt[0].text)[0] == "fact" or PARTLY[0] <= max(s.rewards) <= PARTLY[1]


def mixed(folder: Path, own: Own, sampled: list[Sampled]) -> None:
    forms = (lambda s: harvest.scores(s, is_learnt=False),
             lambda s: harvest.labels(s, RIGHT), two_labels)
    rows = [{"prompt": harvest.prompt_field(s.prompt), **row}
            for i, s in enumerate(sampled) for row in forms[i % len(forms)](s)]
    Lines(folder / "mixed.jsonl").rewrite(rows)


def two_labels(s: Sampled) -> list[dict]:
    """The best and the worst answer of a prompt, as a good and a bad one; nothing where they
    tie."""
    return [{"response": pair[name], "label": name == "chosen"}
            for pair in harvest.pair(s, chance=None) for name in ("chosen", "rejected")]


WRITERS: dict[str, Callable[[Path, Own, list[Sampled]], None]] = {"graded": graded, "mixed": mixed}
