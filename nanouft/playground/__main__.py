"""A page on which two models learn side by side: SFT, and IFT or DPO.

    python -m nanouft.playground            # writes out/playground/index.html

One file without network: the shipped base and what it becomes in four steps, under SFT, DPO and IFT
in both forms with each of several settings. All of it is computed here, by the project's own
losses; the page shows the record.
"""
import inspect
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from nanouft import world
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.errors import command, say
from nanouft.gpt import GPT
from nanouft.ledger import chance_to_end, entries
from nanouft.loop import steps
from nanouft.models.folders import start_model
from nanouft.models.generate import Answer, generate, stops
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES, ift
from nanouft.pictures.page import write_page
from nanouft.run.flags import parse
from nanouft.run.reference import Models

WEB = Path(__file__).parent / "web"
STEPS, BATCH, RATE = 4, 8, 2.5e-4       # of each run
QUESTIONS = 8                           # lists to ask; the first one is shown
LONGEST = 28                            # tokens of an answer
LAMS, GAMMAS = (0, 0.2, 0.5, 1), (0, 0.5, 0.95)         # IFT's settings


@dataclass
class Playground:
    out: str = "out/playground"     # folder of the page


def lists(split: str, n: int) -> list[Row]:
    """List questions with a right and a wrong answer, for methods of either kind."""
    pairs = world.rows(split, "pairs", n, 0, skills=("list",))
    return [replace(row, answer=row.chosen) for row in pairs]


def differing_line() -> str:
    """The line of objectives/ift.py that cuts the gradient through the weights, or does not."""
    lines = inspect.getsource(ift.weights).splitlines()
    return next(line for line in lines if ".detach()" in line).partition("#")[0].strip()


# ---- the record ----------------------------------------------------------------------------------
def taught(objective: Objective, base: GPT, tok: Tokenizer) -> Iterator[GPT]:
    """The start model, then the same model after each step."""
    model = deepcopy(base)
    objective.check()
    objective.setup(model, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0)
    rows = objective.choose(lists("train", STEPS * BATCH))
    encoded = Models(base, tok.pad).prepare(encode(rows, tok, base.cfg.n_ctx)[0], objective)

    def rows_of(step: int):
        return collate(encoded, range(step * BATCH, (step + 1) * BATCH), tok.pad)
    yield model
    for _ in steps(model, objective, rows_of, optimizer, range(STEPS), clip=1.0):
        yield model


def frame(model: GPT, base: GPT, objective: Objective, questions: list[Row],
          tok: Tokenizer) -> dict[str, Any]:
    """What the page shows of a model: the first answer, how many of all stop, the mean chance to
    stop after a right answer, and how the next step would push the tokens of the first question."""
    prompts = [tok.prompt_ids(row.prompt) for row in questions]
    answers = generate(model, prompts, stop=tok.end, pad=tok.pad, max_new=LONGEST)
    chances = [chance_to_end(model, tok, row) for row in questions]
    strips = entries(objective, questions[0], model, tok, reference=base)
    return {"said": said(answers[0], tok), "stops": sum(stops(a, tok) for a in answers),
            "chance": round(sum(chances) / len(chances), 4),
            "push": [[round(x, 4) for x in weights] for _, _, weights in strips]}


def said(answer: Answer, tok: Tokenizer) -> list[str]:
    """The tokens of an answer; of a turn that it makes up afterwards only the beginning."""
    tokens = [tok.decode([i]) for i in [*answer.ids, *[tok.end] * answer.ended]]
    turn = next((i for i, token in enumerate(tokens) if token == "<|user|>"), None)
    return tokens if turn is None else [*tokens[:turn + 2], "…"]


def record(lams: Sequence[float] = LAMS, gammas: Sequence[float] = GAMMAS) -> dict[str, Any]:
    """Everything that the page reads. "runs": {its name: the frames after 0 to STEPS steps}."""
    base, tok = start_model("base")
    questions = lists("val", QUESTIONS)
    questions.insert(0, questions.pop(6))               # first the one that is shown
    runs = {"sft": OBJECTIVES["sft"](), "dpo": OBJECTIVES["dpo"]()}
    for variant, lam, gamma in product(("released", "detached"), lams, gammas):
        settings = {"variant": variant, "lam": lam, "gamma": gamma}
        runs[f"{variant} {lam} {gamma}"] = OBJECTIVES["ift"](**settings)
    pair = entries(runs["dpo"], questions[0], base, tok)
    return {"question": questions[0].prompt[-1].text, "asked": QUESTIONS,
            "answers": [tokens for _, tokens, _ in pair], "line": differing_line(),
            "lams": lams, "gammas": gammas,
            "runs": {name: [frame(model, base, objective, questions, tok)
                            for model in taught(objective, base, tok)]
                     for name, objective in tqdm(runs.items(), "teaching", leave=False)}}


def main(argv=None) -> int:
    cfg = parse(Playground, argv, "python -m nanouft.playground", __doc__)
    say(f"page: {write_page(WEB, record(), Path(cfg.out))}")
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
