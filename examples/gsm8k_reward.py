"""A reward function for questions with a number as answer (GSM8K): is the last number right?

    python examples/gsm8k_reward.py             # small questions of that form: out/sums/*.jsonl
    python -m nanouft.train --objective sft --data out/sums/demos.jsonl --prompt-field question \\
        --response-field answer --epochs 8 --batch-size 32 --lr 1e-3 --out out/sums-sft
    python -m nanouft.train --objective grpo --data out/sums/questions.jsonl \\
        --prompt-field question --init out/sums-sft --out out/sums-grpo \\
        --reward examples/gsm8k_reward.py:right --steps 80 --batch-size 8 --samples 8 \\
        --lr 1e-4 --max-new 24
    python -m nanouft.evaluate --init out/sums-grpo --data out/sums/test.jsonl \\
        --prompt-field question --reward examples/gsm8k_reward.py:right --best-of 8

GSM8K itself has the same two fields: {"question": ..., "answer": "... #### 72"}. It needs a model
that can count. Change `right` first: reward short answers, or a format, and read the answers.
"""
import json
import random
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from nanouft.errors import in_range
from nanouft.run import config

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
THINGS = "hens owls cats bats figs cups pans jars pens oars".split()


# ---- the reward ----------------------------------------------------------------------------------
def right(prompts: list[str], answers: list[str], answer: list[str], **others) -> list[float]:
    """1 if the last number of an answer is that of the row's field "answer" (the worked solution),
    else 0."""
    return [float(last_number(text) == last_number(gold)) for text, gold in zip(answers, answer)]


def last_number(text: str) -> float | str:
    """72.0 of "... #### 72"; the text itself where there is none, so that it equals no number."""
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else text


# ---- the questions -------------------------------------------------------------------------------
@dataclass
class Sums:
    demos: int = 200                # worked solutions, for the first stage
    questions: int = 1000           # questions to learn from by reward
    test: int = 200                 # questions that are in no other file
    seed: int = 0                   # seed of the numbers
    out: str = "out/sums"           # folder for the files


def question(rng: random.Random) -> dict:
    """{"question", "answer"}: two sums, all numbers from 1 to 27."""
    a, b, c, thing = rng.randint(1, 9), rng.randint(1, 9), rng.randint(1, 9), rng.choice(THINGS)
    asked = f"A man has {a} {thing}, gets {b} and then {c} more. How many {thing} has he now?"
    return {"question": asked,
            "answer": f"{a} and {b} is {a + b} and {c} is {a + b + c} #### {a + b + c}"}


def main(argv=None) -> int:
    cfg, _ = config.parse(Sums, argv, "python examples/gsm8k_reward.py", __doc__)
    in_range(cfg, "demos", "questions", "test", low=1, high=1000)
    rng, made = random.Random(cfg.seed), {}
    while len(made) < cfg.demos + cfg.questions + cfg.test:
        row = question(rng)
        made[row["question"]] = row
    rows = iter(made.values())
    Path(cfg.out).mkdir(parents=True, exist_ok=True)
    for name in ("demos", "questions", "test"):
        lines = [json.dumps(next(rows)) + "\n" for _ in range(getattr(cfg, name))]
        Path(cfg.out, f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{len(lines):7,} rows -> {Path(cfg.out, name)}.jsonl")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
