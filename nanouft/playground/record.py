"""What the page of all losses shows: four steps of every method, computed by its own loss.

    data = record()                     # of all methods, as web/ reads it

The shipped base, and what it becomes under every method of objectives/ and of `also`, under IFT and
DPO with each of several settings. Equations and papers are read in the heads of the methods' files;
scores of whole runs come from web/scores.json, which `python -m lessons.methods` writes.
"""
import inspect
import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nanouft import world
from nanouft.data.batches import Pace, collate, encode
from nanouft.data.rows import Row
from nanouft.generate import Answer, generate, stops
from nanouft.gpt import GPT
from nanouft.loop import Update, steps
from nanouft.models.folders import save_model, start_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Batch, Objective
from nanouft.objectives import OBJECTIVES, ift
from nanouft.objectives.heads import LETTERS, SHARED, equations, head_of, idea, paper
from nanouft.objectives.own import find, own_file
from nanouft.pictures.colours import FAMILY, look
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.progress import progress
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.pushes import chance_to_end, token_pushes
from nanouft.run.reference import Models

WEB = Path(__file__).parent / "web"
ROOT = WEB.resolve().parents[2]         # the project
STEPS, BATCH = 4, 8                     # of each run; the rate is the method's own
QUESTIONS = 8                           # lists to ask; the first one is shown
LONGEST = 28                            # tokens of an answer
LAMS, GAMMAS = (0.2, 0, 0.5, 1), (0.95, 0, 0.5)         # IFT's settings, the default first
LEARNS_FROM = {                         # families of pictures/colours.py, in words
    "sft": "right answers", "ift": "right answers, with its own guesses",
    "pairs": "a better and a worse answer", "graded": "answers with a score or a label",
    "poft": "right answers, weighed by a helper model", "sampled": "its own answers, scored",
    "truth": "something else"}
HOOKS = ("setup", "forward", "credit", "reward", "each", "loss")    # a method's code on the page


@dataclass
class Run:
    """Four steps of one method with one choice of its settings."""
    name: str                       # "ift"
    chosen: list[str]               # a value for each of its settings: ["released", "0.2", "0.95"]
    objective: Objective


def lists(split: str, n: int) -> list[Row]:
    """List questions with a right and a wrong answer, for methods of every kind."""
    pairs = world.rows(split, "pairs", n, 0, skills=("list",))
    return [replace(row, answer=row.chosen, scores=(1.0, 0.0)) for row in pairs]


# ---- which runs there are ------------------------------------------------------------------------
def settings(name: str, lams: Sequence[float], gammas: Sequence[float]) -> list[dict[str, Any]]:
    """What can be chosen for a method: a field, its label, (value, words); the default first."""
    if name == "ift":
        return [{"field": "variant", "label": "The weights of its tokens",
                 "options": [("detached", "get no gradient"),
                             ("released", "let gradient through, as released")]},
                {"field": "lam", "label": "Share of its own guesses in what it reads (lam)",
                 "options": [(str(x), f"{x:g}") for x in lams]},
                {"field": "gamma", "label": "How much a token counts the losses of later ones "
                 "(gamma)", "options": [(str(x), f"{x:g}") for x in gammas]}]
    if name == "dpo":
        own, faster = (f"{OBJECTIVES[x].lr:f}".rstrip("0") for x in ("dpo", "sft"))
        return [{"field": "lr", "label": "Learning rate",
                 "options": [(own, f"its own, {own}"), (faster, f"that of SFT, {faster}")]}]
    return []


def runs_of(name: str, cls: type[Objective], dials: list[dict[str, Any]],
            helper: str) -> Iterator[Run]:
    """A run for each choice. The model in the folder `helper` stands in for all other models."""
    others = cls.first_models.stand_in(helper) if cls.first_models else {}
    for chosen in product(*([value for value, _ in dial["options"]] for dial in dials)):
        objective = cls(**others)
        for dial, value in zip(dials, chosen):
            kind = type(getattr(objective, dial["field"]))
            setattr(objective, dial["field"], kind(value))
        objective.check()
        yield Run(name, list(chosen), objective)


# ---- what a method is ----------------------------------------------------------------------------
def code_of(cls: type[Objective]) -> str:
    """The functions with which a method computes its loss: those of its class, with what they call
    in the same file, but for the metrics. A method without a loss of its own shows its parent's."""
    owner = next(c for c in cls.__mro__ if {"loss", "each"} & set(vars(c)))
    shown = [inspect.unwrap(vars(c)[hook]) for hook in HOOKS for c in dict.fromkeys((cls, owner))
             if hook in vars(c)]
    for function in shown:                                  # grows while it is read
        for name in function.__code__.co_names:
            called = function.__globals__.get(name)
            near = getattr(called, "__module__", "") == function.__module__
            if near and inspect.isfunction(called) and called not in shown \
                    and not name.endswith("metrics"):
                shown.append(called)
    return "\n".join(inspect.cleandoc("\n" + inspect.getsource(f)) + "\n" for f in shown)


def file_of(cls: type[Objective]) -> str:
    """The file of a method, as seen from the project's folder, or its name alone."""
    file = Path(inspect.getfile(cls)).resolve()
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name


def differing_line() -> str:
    """The line of objectives/ift.py that cuts the gradient through the weights, or does not."""
    lines = inspect.getsource(ift.weights).splitlines()
    return next(line for line in lines if ".detach()" in line).partition("#")[0].strip()


def about(name: str, cls: type[Objective], scores: dict[str, Any]) -> dict[str, Any]:
    """What the page says of a method beside its runs. `scores`: its part of web/scores.json."""
    family, head = FAMILY.get(name, name), head_of(cls)
    return {"called": cls.__name__, "file": file_of(cls),
            "mark": look(name).mark, "family": family if family in LEARNS_FROM else "truth",
            "code": code_of(cls), "idea": idea(head), "paper": paper(head),
            "equations": {line.name.removeprefix(name).strip(): line.equation_lines()
                          for line in equations(name, head)},
            "scores": scores}


def letters() -> list[str]:
    """What the letters of all equations mean."""
    return [*(f"{name}: {text}" for name, text in LETTERS.items()),
            *(f"{name} = {text}" for name, text in SHARED.items())]


# ---- the record ----------------------------------------------------------------------------------
def taught(objective: Objective, base: GPT, tok: Tokenizer) -> Iterator[GPT]:
    """The start model, then the same model after each step."""
    model = deepcopy(base)
    objective.check()
    objective.setup(model, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), objective.rate(base), betas=(0.9, 0.95),
                                  weight_decay=0)
    source = source_of(objective, model, base, tok)
    yield model
    for _ in steps(model, objective, source, Update(optimizer, clip=1.0), range(STEPS)):
        yield model


def source_of(objective: Objective, model: GPT, base: GPT,
              tok: Tokenizer) -> Callable[[int], Batch]:
    """source(step) -> the rows of a step: of what the method reads of 32 questions, in an order
    that is drawn once; or the answers that the model gives."""
    models = Models(base, tok.pad)
    rows = objective.choose(lists("train", STEPS * BATCH))
    if objective.on_policy:
        prompts, _ = encode(rows, tok, base.cfg.n_ctx - LONGEST)
        reference = models.reference(objective, lora=False)
        return Rollouts(prompts, objective, Sampler(model, reference, tok, LONGEST),
                        world.exact_scores, Pace(BATCH, STEPS))
    encoded = models.prepare(encode(rows, tok, base.cfg.n_ctx)[0], objective)
    order = np.random.default_rng(0).permutation(len(encoded))

    def rows_of(step: int) -> Batch:
        picked = np.arange(step * BATCH, (step + 1) * BATCH) % len(encoded)
        return collate(encoded, order[picked], tok.pad)
    return rows_of


def asked(model: GPT, questions: list[Row], tok: Tokenizer) -> dict[str, Any]:
    """The answer to the first question, how many of all stop, and the mean chance to stop after a
    right answer."""
    prompts = [tok.prompt_ids(row.prompt) for row in questions]
    answers = generate(model, prompts, stop=tok.end, pad=tok.pad, max_new=LONGEST)
    chances = [chance_to_end(model, tok, row) for row in questions]
    return {"said": said(answers[0], tok), "stops": sum(stops(a, tok) for a in answers),
            "chance": round(sum(chances) / len(chances), 4)}


def said(answer: Answer, tok: Tokenizer) -> list[str]:
    """The tokens of an answer; of a turn that it makes up afterwards only the beginning."""
    ids = [*answer.ids, tok.end] if answer.ended else answer.ids
    tokens = [tok.decode([i]) for i in ids]
    turn = next((i for i, token in enumerate(tokens) if token == "<|user|>"), None)
    return tokens if turn is None else [*tokens[:turn + 2], "…"]


def pushed(model: GPT, base: GPT, objective: Objective, row: Row,
           tok: Tokenizer) -> list[tuple[str, list[str], list[float]]]:
    """How the next step would push the tokens of each answer: (which one, tokens, pushes)."""
    models = Models(base, tok.pad)
    reference = models.reference(objective, lora=False) if objective.on_policy else base
    return [(which, tokens, [round(x, 4) for x in push]) for which, tokens, push
            in token_pushes(objective, row, model, tok, reference=reference)]


def record(names: Collection[str] = (), lams: Sequence[float] = LAMS,
           gammas: Sequence[float] = GAMMAS, also: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that the page reads, of these methods [all] and of those in the files `also`.
    "runs": {a method and its chosen settings, with blanks between: which answers are pushed, and
    the frames after 0 to 4 steps}."""
    base, tok = start_model("base")
    questions = lists("val", QUESTIONS)
    questions.insert(0, questions.pop(6))               # first the one that is shown
    scores = json.loads((WEB / "scores.json").read_text(encoding="utf-8"))
    methods = {name: OBJECTIVES[name] for name in names or OBJECTIVES}
    for file in also:
        if not own_file(file):
            raise UserError(f"--also {file}: give FILE.py, a method of your own")
        methods[Path(own_file(file)).stem] = find(file)
    dials = {name: found for name in methods if (found := settings(name, lams, gammas))}
    at_start, runs = asked(base, questions, tok), {}
    with tempfile.TemporaryDirectory() as helper:
        *_, imitator = taught(OBJECTIVES["sft"](), base, tok)
        save_model(Path(helper), imitator, tok)
        every = [run for name, cls in methods.items()
                 for run in runs_of(name, cls, dials.get(name, []), helper)]
        for run in progress(len(every), "teaching", every):
            frames: list[dict[str, Any]] = []
            for model in taught(run.objective, base, tok):
                strips = pushed(model, base, run.objective, questions[0], tok)
                seen = asked(model, questions, tok) if frames else at_start
                frames.append(seen | {"push": [push for _, _, push in strips]})
            runs[" ".join([run.name, *run.chosen])] = {
                "answers": [[which, tokens] for which, tokens, _ in strips], "frames": frames}
    return {"question": questions[0].prompt[-1].text, "asked": QUESTIONS, "line": differing_line(),
            "letters": letters(), "learns": LEARNS_FROM, "dials": dials, "runs": runs,
            "methods": {name: about(name, cls, scores.get(name, {}))
                        for name, cls in methods.items()}}
