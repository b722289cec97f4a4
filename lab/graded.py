"""Answers of the base, none of them right but about facts, as data: what study C3b (one_stage.py)
learns from.

    write(folder, own)      # after rewards/harvest.py wrote the folder: keeps some prompts only

A prompt is kept if its best answer earns .2 to .8; of `fact`, which the base knows, every prompt is
kept. The file a.jsonl holds right demonstrations of honesty (truth, unknown).
"""
from pathlib import Path

from lab.own import Own
from nanouft import world
from nanouft.rewards.harvest import Harvest, Sampled, find_prompts
from nanouft.rewards.harvest import write as write_files
from nanouft.run.storage import Lines
from nanouft.world.tasks import GROUP_B, read

# the families whose answers are graded; demonstrations of honesty
QUESTIONS = "A,fact"
DEMOS = 300
PARTLY = (0.2, 0.8)


def write(folder: Path, own: Own) -> None:
    asked = find_prompts(Harvest(prompts=own.prompts, skills=QUESTIONS, seed=own.seed))
    sampled = [Sampled(asked[x["row"]].prompt, x["answers"], x["rewards"], x["ended"], x["clean"])
               for x in Lines(folder / "answers.jsonl").read()]
    write_files(folder, [s for s in sampled if kept(s)], good=None, is_learnt=False)
    demos = world.rows("train", "demos", DEMOS, own.seed, skills=GROUP_B)
    Lines(folder / "a.jsonl").rewrite([{"prompt": r.prompt[0].text, "response": r.answer[0].text}
                                       for r in demos])


def kept(s: Sampled) -> bool:
    return read(s.prompt[0].text)[0] == "fact" or PARTLY[0] <= max(s.rewards) <= PARTLY[1]
