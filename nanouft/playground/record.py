"""What the page of all losses shows: four steps of every method, computed by its own loss.

    data = record()                     # of all methods, as web/ reads it

The shipped base, and what it becomes under every method of objectives/ and of `also`, at each of
three learning rates and at the method's own. Equations and papers are read in the heads of the
methods' files; scores of whole runs are kept in web/scores.json.
"""
import inspect
import json
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nanouft import world
from nanouft.batch import Batch
from nanouft.data.batches import Batching, collate, encode
from nanouft.data.row import Row
from nanouft.generate import generate, stops
from nanouft.gpt import GPT
from nanouft.models.folders import save_model, start_model
from nanouft.models.tokenizer import Tokenizer
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES, find
from nanouft.pictures.colours import family, style_of
from nanouft.playground.docstrings import (
    LETTERS,
    SHARED,
    equations,
    method_docstring,
    name_and_idea,
    paper,
)
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import own_file
from nanouft.plumbing.printing import progress
from nanouft.pushes import end_probability, token_pushes
from nanouft.rollout import Rollouts, Sampler
from nanouft.run.hyperparameters import learning_rate, make_optimizer
from nanouft.run.reference import FrozenModels
from nanouft.train import sampled_batch, steps

WEB = Path(__file__).parent / "web"
ROOT = WEB.resolve().parents[2]         # the project
STEPS, BATCH = 4, 8                     # of each run
QUESTIONS = 8                           # lists to ask
LONGEST = 28                            # tokens of an answer
RATES = (3e-5, 1e-4, 2.5e-4)            # for every method; beside them each has its own
FORMS = {"ift": {"ift-released": {"variant": "released"}}}      # forms beside the default
LEARNS_FROM = {                         # families of pictures/colours.py, in words
    "sft": "right answers", "ift": "right answers, with its own guesses",
    "pairs": "a better and a worse answer", "graded": "answers with a score or a label",
    "poft": "right answers, weighed by a helper", "sampled": "its own answers, scored",
    "truth": "something else"}
ANSWERS = {                             # what a method calls its answers
    "answer": "the right answer", "chosen": "the right answer", "good answer": "the right answer",
    "rejected": "the wrong answer", "bad answer": "the wrong answer",
    "demonstrated answer": "the right answer, as a demonstration",
    "gold": "the right answer once more, as a demonstration",
    "sure": "the right answer, in a row that SFT is sure of",
    "unsure": "the right answer, in a row that SFT is less sure of",
    "mix_sure": "the right answer, as the first half of a mixture",
    "mix_unsure": "the right answer, as the second half of a mixture"}


def list_rows(split: str, n: int) -> list[Row]:
    """List questions with a right and a wrong answer, for methods of every kind."""
    pairs = world.rows(split, "pairs", n, 0, skills=("list",))
    return [replace(row, answer=row.chosen, scores=(1.0, 0.0)) for row in pairs]


def lr_text(lr: float) -> str:
    """3e-05 -> "3e-5", 0.00025 -> "2.5e-4": as the page and its address write it."""
    digits, _, power = f"{lr:e}".partition("e")
    return f"{digits.rstrip('0').removesuffix('.')}e{int(power)}"


# ---- what a method is ----------------------------------------------------------------------------
def code_of(cls: type[Objective]) -> str:
    """The file of a method below its head and its imports."""
    file = inspect.getsource(sys.modules[cls.__module__])
    return file.partition("\n\n\n")[2] or file


def file_of(cls: type[Objective]) -> str:
    """The file of a method, as seen from the project's folder, or its name alone."""
    file = Path(inspect.getfile(cls)).resolve()
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name


def method_data(name: str, cls: type[Objective], form: dict[str, Any],
                scores: dict[str, Any]) -> dict[str, Any]:
    """What the page says of a method beside its runs. `scores`: its part of web/scores.json."""
    of_family, head = family(name), method_docstring(cls)
    lines = {line.name.removeprefix(name).strip(): line.equation_lines()
             for line in equations(name, head)}
    variant = form.get("variant", getattr(cls(), "variant", "") if not cls.first_models else "")
    called, idea = name_and_idea(head)
    return {"called": (called or cls.__name__) + (f" as {form['variant']}" if form else ""),
            "file": file_of(cls), "mark": style_of(name).mark, "own": lr_text(cls.lr),
            "family": of_family if of_family in LEARNS_FROM else "truth", "code": code_of(cls),
            "idea": idea, "paper": paper(head),
            "equation": lines.get(f"--variant {variant}") or next(iter(lines.values()), []),
            "scores": {} if form else scores}


def letter_meanings() -> list[str]:
    """What the letters of all equations mean."""
    return [*(f"{name}: {text}" for name, text in LETTERS.items()),
            *(f"{name} = {text}" for name, text in SHARED.items())]


# ---- the record ----------------------------------------------------------------------------------
def model_after_each_step(objective: Objective, base: GPT, tok: Tokenizer) -> Iterator[GPT]:
    """The initial model, then the same model after each step."""
    model = deepcopy(base)
    objective.check()
    objective.setup(model, seed=0)
    optimizer = make_optimizer(model, learning_rate(objective, base))
    source = source_of(objective, model, base, tok)
    yield model
    for _ in steps(model, objective, source, optimizer, range(STEPS), clip=1.0):
        yield model


def source_of(objective: Objective, model: GPT, base: GPT,
              tok: Tokenizer) -> Callable[[int], Batch]:
    """source(step) -> the rows of a step: of what the method reads of 32 questions, in an order
    that is drawn once; or the answers that the model gives."""
    models = FrozenModels(base, tok.pad)
    rows = objective.choose(list_rows("train", STEPS * BATCH))
    if objective.on_policy:
        prompts, _ = encode(rows, tok, base.cfg.n_ctx - LONGEST)
        reference = models.reference_model(objective, lora=False)
        rollouts = Rollouts(prompts, objective, Sampler(model, reference, tok, LONGEST),
                            world.exact_scores, Batching(BATCH, STEPS))
        return partial(sampled_batch, rollouts)
    encoded = models.prepare(encode(rows, tok, base.cfg.n_ctx)[0], objective)
    order = np.random.default_rng(0).permutation(len(encoded))

    def rows_of(step: int) -> Batch:
        picked = np.arange(step * BATCH, (step + 1) * BATCH) % len(encoded)
        return collate(encoded, order[picked], tok.pad)
    return rows_of


def answer_all(model: GPT, questions: list[Row], tok: Tokenizer) -> dict[str, Any]:
    """The answers to all questions, token by token, and the mean chance to stop after a right one.
    An answer that stops is one whose first mark is <|end|>: see `stops`."""
    prompts = [tok.prompt_ids(row.prompt) for row in questions]
    answers = generate(model, prompts, stop=tok.end, pad=tok.pad, max_new=LONGEST)
    chances = [end_probability(model, tok, row) for row in questions]
    texts = []
    for answer in answers:
        tokens = [tok.decode([i]).strip() for i in answer.ids] + ["<|end|>"] * answer.ended
        first = next((token for token in tokens if token.startswith("<|")), "")
        assert (first == "<|end|>") == stops(answer, tok), tokens
        texts.append("\t".join(tokens))
    return {"said": texts, "chance": round(sum(chances) / len(chances), 3)}


def record(names: Collection[str] = (), rates: Sequence[float] = RATES,
           also: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that the page reads, of these methods [all] and of those in the files `also`.
    Each method has "runs": {rate: its frames after 0 to 4 steps}; a frame has the numbers of its
    answers in "texts", a chance, and the pushes on each of the method's "answers"."""
    base, tok = start_model("base")
    questions = list_rows("val", QUESTIONS)
    scores = json.loads((WEB / "scores.json").read_text(encoding="utf-8"))
    classes = {name: OBJECTIVES[name] for name in names or OBJECTIVES}
    for file in also:
        if not own_file(file):
            raise UserError(f"--also {file}: give FILE.py, a method of your own")
        classes[Path(own_file(file)).stem] = find(file)
    at_start = answer_all(base, questions, tok)
    methods: dict[str, dict[str, Any]] = {}
    texts: dict[str, int] = {}                          # every answer once, with its number
    with tempfile.TemporaryDirectory() as helper:
        *_, imitator = model_after_each_step(OBJECTIVES["sft"](), base, tok)
        save_model(Path(helper), imitator, tok)
        frames_to_make = [(key, name, cls, form, lr) for name, cls in classes.items()
                          for key, form in {name: {}, **FORMS.get(name, {})}.items()
                          for lr in sorted({*rates, cls.lr})]
        for key, name, cls, form, lr in progress(len(frames_to_make), "page of all losses",
                                                 frames_to_make, unit="model"):
            others = cls.first_models.stand_in(helper) if cls.first_models else {}
            objective = cls(**others, **form)
            objective.lr = lr
            reference = FrozenModels(base, tok.pad).reference_model(
                objective, lora=False) if objective.on_policy else base
            frames: list[list[Any]] = []                # answers, chance, pushes of the next step
            for model in model_after_each_step(objective, base, tok):
                seen = answer_all(model, questions, tok) if frames else at_start
                strips = token_pushes(objective, questions[0], model, tok, reference)
                frames.append([[texts.setdefault(text, len(texts)) for text in seen["said"]],
                               seen["chance"],
                               [[round(x, 3) for x in push] for *_, push in strips]])
            method = methods.setdefault(key, method_data(name, cls, form, scores.get(name, {})) | {
                "answers": [[ANSWERS.get(which, f"the role “{which}”"), tokens]
                            for which, tokens, _ in strips], "runs": {}})
            method["runs"][lr_text(lr)] = frames
    return {"questions": [row.prompt[-1].text for row in questions], "texts": list(texts),
            "rates": [lr_text(lr) for lr in rates], "letters": letter_meanings(),
            "learns": LEARNS_FROM, "methods": methods}
