"""The parts of one's own program, mine.py, that stand in nanouft/simple.py: what each is tried on.

A part stands in the real program, nanouft/simple.py, in the place of ours, as the loss of a method
on some rows (Batch) or as a few steps of training (ShortRun). Cases have one row, some or all.
"""
import copy
import functools
import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random

import torch
from torch import Tensor

from lessons.behind.tasks.task import Measure, Task
from nanouft import simple, world
from nanouft.gpt import GPT, GPTConfig, shipped_base
from nanouft.models.tokenizer import nano
from nanouft.plumbing.printing import quantity

SHOWN_BY = {    # each part, and the methods that show a mistake in it
    "padded": ["sft"], "token_logp": ["sft"], "sft_loss": ["sft"], "train": ["sft", "dpo", "poft"],
    "mix_in_own_guess": ["ift"], "log_ratio": ["dpo", "una", "poft"], "dpo_loss": ["dpo"],
    "una_loss": ["uft"], "sample_answers": ["grpo"], "grpo_loss": ["grpo"], "poft_loss": ["poft"],
    "ift_loss": ["ift"], "chord_loss": ["chord"]}
OURS = {name: getattr(simple, name) for name in SHOWN_BY}
NUMBERS = 4096                          # into which a gradient is folded
GRADIENT = Measure(1e-3, 1e-6, whole=True, words="the loss is right, but its gradient is not. Is "
                   "something not a constant that should be one (detach), or the other way round?")
SHARE = "the share of answers that begin with the likeliest token, minus its probability, is"
MEASURES = {
    "gradient": GRADIENT,
    "flows": Measure(0, 0, words="the loss is right, but no gradient reaches the model"),
    "into the reference": Measure(
        1e-3, 0, whole=True, words="loss and gradient are right, but gradient reaches the "
        "reference as well, which should be a constant (detach)"),
    "weights": Measure(1e-5, 0, whole=True, words="the losses are right, but the weights at the "
                       "end are not"),
    "plain": Measure(0, 0, words="the numbers are right, but the losses are not plain numbers"),
    "kind of mask": Measure(0, 0, words="the mask is not a tensor of floats"),
    SHARE: Measure(0, 0.33),                    # of 64 answers: by chance up to about 0.2
    # of grpo and chord, where only the gradient counts
    "push": replace(GRADIENT, words="the gradient of the loss is not right (its value does not "
                    "count here). Is something not a constant that should be one (detach), or the "
                    "other way round?")}


class Part(Task):
    """A part of mine.py. Its case is one Batch or ShortRun."""

    def __init__(self, name: str, mistakes: list):
        look = functools.partial(in_simple, name)
        super().__init__(OURS[name], lambda draw: (), mistakes, look, seconds=60)

    def cases(self, seed) -> list[tuple]:
        return [(case,) for case in cases_of(self.name, seed)]

    def show(self, case: tuple) -> str:
        return str(case[0])

    def measure(self, what: str) -> Measure:
        return MEASURES.get(what, Measure())


def in_simple(part: str, function: Callable, case) -> dict:
    """What a case gives with this program as the part, and with ours as all others, in simple.py
    and in the student's file. After that both are as they were."""
    places = vars(simple), getattr(inspect.unwrap(function), "__globals__", {})
    before = [{name: place[name] for name in OURS if name in place} for place in places]
    methods = {**simple.METHODS}
    install_parts(OURS | {part: function}, *places)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return case.look()
    finally:
        simple.METHODS.update(methods)
        for place, names in zip(places, before):
            place.update(names)
            for name in OURS.keys() - names.keys():
                place.pop(name, None)


def install_parts(functions: dict[str, Callable], *places: dict) -> None:
    """Put these parts into simple.py and into a student's file."""
    for place in places:
        place.update(functions)
    for method, (_, *facts) in simple.METHODS.items():
        simple.METHODS[method] = (getattr(simple, loss_of(method)), *facts)


def loss_of(method: str) -> str:
    """The part that is the loss of this method."""
    return "una_loss" if method == "uft" else f"{method}_loss"


# ---- cases ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class PaddedCase:
    """`padded` alone: its three tensors."""
    rows: tuple

    def look(self) -> dict:
        chats = [nano().chat(row.prompt, row.answer) for row in self.rows]
        inputs, targets, mask = simple.padded(chats, nano())
        used = ((targets != nano().pad) | (mask != 0)).any(0)
        T = used.nonzero()[-1:].sum() + 1               # more columns of padding are right, too
        return {"the inputs are": inputs[:, :T], "the targets are": targets[:, :T],
                "the mask is": mask[:, :T], "kind of mask": mask.is_floating_point()}

    def __str__(self) -> str:
        return "\n".join([f"    {quantity(len(self.rows), 'rows')}, padded:",
                          *(f"    {'; '.join(row_words(row))}" for row in self.rows), ""])


@dataclass(frozen=True)
class SampledCase:
    """`sample_answers` alone, by a model that is sure of each token, so that chance does not matter
    (with noise its answers do not end). Or, not sure, how often the likeliest token comes first."""
    rows: tuple
    noise: float = 0.0
    times: float = 1e5

    def look(self) -> dict:
        model, tok = noisy_model(self.noise, self.times), nano()
        inputs, targets, mask, scores = simple.sample_answers(model, list(self.rows), tok, 77)
        on = mask == 1
        if self.times == 1:
            first = targets.gather(1, on.int().argmax(1, keepdim=True))
            prompt = torch.tensor([tok.prompt_ids(self.rows[0].prompt)])
            p = model.head(model(prompt))[0, -1].softmax(-1)
            return {SHARE: (first == p.argmax()).float().mean() - p.max()}
        T = ((targets != tok.pad) | on).any(0).nonzero()[-1:].sum() + 1
        return {"the kinds of tensors are": str([x.dtype for x in (targets, mask, scores)]),
                **{f"answer {k} is": tok.decode(i[x].tolist())
                   for k, (i, x) in enumerate(zip(targets, on), 1)},
                "the inputs are": inputs[:, :T], "the targets are": targets[:, :T],
                "the mask is": mask[:, :T], "the scores are": scores}

    def __str__(self) -> str:
        model = "The base" if self.times == 1 else "A model that is sure of each token"
        return f"    {model} answers {quantity(len(self.rows), 'prompts')}, SAMPLES times each.\n"


@dataclass(frozen=True)
class Batch:
    """One loss of the real program, on some rows."""
    method: str
    rows: tuple
    model: tuple = (0.0, 1.0)                   # words of noisy_model
    reference: tuple = (0.01, 1.0)
    step: int = 0

    def look(self) -> dict:
        model, reference = (copy.deepcopy(noisy_model(*x)) for x in (self.model, self.reference))
        loss = simple.METHODS[self.method][0](model, reference, list(self.rows), nano(), self.step)
        if not isinstance(loss, (Tensor, int, float)):
            raise TypeError(f"the loss is {loss!r:.40}; is a `return` missing?")
        loss = torch.as_tensor(loss)
        if loss.ndim:
            raise TypeError(f"the loss is a tensor of shape {tuple(loss.shape)} and should be "
                            "one number")
        weights = [*model.parameters(), *reference.parameters()]
        slopes = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True) \
            if loss.requires_grad else [torch.zeros_like(p) for p in weights]
        half = len(weights) // 2
        sampled = self.method in ("grpo", "chord")      # whose loss is no number that means much
        value = {} if sampled else {"the loss is": loss.item()}
        return value | {"flows": loss.requires_grad,
                        "push" if sampled else "gradient": projected(slopes[:half]),
                        "into the reference": projected(slopes[half:])}

    def __str__(self) -> str:
        lines = [f"    {'; '.join(row_words(row))}" for row in self.rows]
        return "\n".join([f"    A batch of {quantity(len(lines), 'rows')} ({self.method}):", *lines,
                          ""])


@dataclass(frozen=True)
class ShortRun:
    """A few steps of `train`, by a small model in double precision, at a high rate. The loss is
    made larger from step to step, so that clipping and the number of the step count."""
    method: str
    rows: tuple = field(repr=False)
    given: bool                                 # is there a reference?
    steps: int
    times: float                                # the loss: with few of them nothing is clipped

    def look(self) -> dict:
        model, other = small(0), small(1)
        original, began = simple.METHODS[self.method], projected(model.parameters())
        loss = OURS[loss_of(self.method)]

        def larger(model, reference, rows, tok, step):
            return self.times * (1 + step) * loss(model, reference, rows, tok, step)
        simple.METHODS[self.method] = (larger, original[1], 1e-2, original[3])
        try:
            losses = simple.train(model, list(self.rows), nano(), self.method, self.steps,
                                  *([other] if self.given else []))
        finally:
            simple.METHODS[self.method] = original
        if losses is None:
            raise TypeError("it gives None; is a `return` missing?")
        if len(losses) != self.steps:
            raise TypeError(f"it gives {len(losses)} losses for {self.steps} steps")
        plain = not any(isinstance(x, Tensor) and x.requires_grad for x in losses)
        return {"the losses are": [torch.as_tensor(x).item() for x in losses],
                "weights": projected(model.parameters()) - began, "plain": plain}

    def __str__(self) -> str:
        reference = ", with a reference that is given" if self.given else ""
        return f"    A run of {quantity(self.steps, 'steps')} of {self.method}{reference}.\n"


def projected(tensors) -> Tensor:
    """All numbers in one vector of NUMBERS: sums of some with random signs. Two vectors are as far
    apart as all their numbers, to a few per cent."""
    flat = torch.cat([x.detach().flatten() for x in tensors]).double()
    place, sign = places(len(flat))
    return torch.zeros(NUMBERS, dtype=torch.double).index_add(0, place, sign * flat)


@functools.cache
def places(many: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return (torch.randint(NUMBERS, (many,), generator=rng),
            2.0 * torch.randint(2, (many,), generator=rng) - 1)


def row_words(row) -> list[str]:
    """The prompt of a row, and its answers."""
    named = {"answer": row.answer, "chosen": row.chosen, "rejected": row.rejected}
    out = [f'"{row.prompt[0].text}"']
    out += [f'{name} "{turns[0].text}"' for name, turns in named.items() if turns]
    return out if row.score is None else [*out, f"score {row.score:.2f}"]


base = shipped_base


@functools.cache
def noisy_model(noise: float, times: float = 1.0) -> GPT:
    """The base with this noise in its weights: with a little of it a reference near the base; with
    more, a model that guesses worse. Multiplied logits make log-ratios of hundreds of nats."""
    model = copy.deepcopy(base())
    add_noise(model, noise, 0)
    with torch.no_grad():
        model.ln_f.weight.mul_(times)
        model.ln_f.bias.mul_(times)
    return model


@torch.no_grad()
def add_noise(model: GPT, noise: float, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.add_(noise * torch.randn(p.shape, generator=rng))


def small(seed: int) -> GPT:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return GPT(GPTConfig(nano().n_vocab, 128, 1, 2, 16)).double()


def cases_of(name: str, seed) -> list:
    """Fresh rows for each method that shows a mistake in the part."""
    out: list = []
    seed = Random(str(seed)).randrange(10**6)
    for k, method in enumerate(SHOWN_BY[name]):
        if name == "train":
            # a warm-up of two, and of one
            for steps in {0: (15, 3, 2, 1), 1: (12, 2, 1), 2: (2, 1)}[k]:
                taken = steps + (steps == 2)                # there may be more rows than steps
                rows = fresh_rows(method, taken * simple.ROWS, seed + k)
                out.append(ShortRun(method, rows, method == "poft", steps,
                                    0.01 if steps == 12 else 3.0))
        elif name == "sample_answers":
            rows = fresh_rows(method, 6, seed)
            out += [SampledCase(rows[:1]), SampledCase(rows[:3]), SampledCase(rows[3:5], noise=0.2)]
            out.append(SampledCase(tuple(16 * world.rows("train", "prompts", 1, 2,
                                                         skills=("sort",))), times=1.0))
        elif method in ("grpo", "chord"):   # CHORD's w on its way, and at the bottom
            for step in (simple.FALL // 4, 2 * simple.FALL - 3):
                for many, noise in ((1, 0.2), (3, 0.0)):    # with noise all answers have score 0
                    rows = fresh_rows(method, many, seed + step)
                    out.append(Batch(method, rows, (noise, 1.0), step=step))
            out.append(Batch(method, (replace(rows[0], score=NEARLY),), step=step))
        else:
            rows = fresh_rows(method, 5, seed + k)
            pairs = [((0.0, 1.0), (0.01, 1.0)), ((0.2, 1.0), (0.01, 1.0))]
            if name == "token_logp":
                pairs += [((0.0, 1000.0), (0.01, 1.0))]
            if name == "dpo_loss":                  # h is some hundreds, above 0 and below
                pairs += [((0.0, 1.0), (0.01, 1000.0)), ((0.01, 1000.0), (0.0, 1.0))]
            if name == "poft_loss":
                pairs += [((0.2, 30.0), (0.0, 1.0))]
            groups = [*((row,) for row in rows), rows[:2], rows[2:4], rows] if k == 0 else [rows]
            out += [Batch(method, x, *pair) for pair in pairs[:1] for x in groups]
            out += [Batch(method, rows, *pair) for pair in pairs[1:]]
            out += [PaddedCase(x) for x in groups] * (name == "padded")
    return sorted(out, key=lambda case: len(case.rows))


def fresh_rows(method: str, many: int, seed: int) -> tuple:
    """Rows of the kinds that the method reads, in turn. Of scored ones two at least, so that a
    score of 0 and one between 0 and 1 are among them."""
    drawn = [world.rows("train", kind, many, seed) for kind in simple.METHODS[method][1]]
    if "scores" in simple.METHODS[method][1]:       # a score of 0 first, then one below 1
        scored = world.rows("train", "scores", 200, seed)
        first = [next(row for row in scored if row.score == 0),
                 next(row for row in scored if 0 < row.score < 1)]
        drawn[-1] = first + [row for row in drawn[-1] if row not in first]
    return tuple(row for together in zip(*drawn) for row in together)[:many]


# ---- answers are sampled once for each model, rows and step: each mistake is tried on them -------
SAMPLE, SAMPLED = simple.sample_answers, {}
NEARLY = 1e-4       # score of a row whose answers' scores are so far apart, so nearly equal


@functools.wraps(SAMPLE)
def sample_answers(model, rows, tok, step):
    key = (model.wpe.weight.sum().item(), model.ln_f.weight.sum().item(),
           *((row.prompt, row.score) for row in rows), step)
    if key not in SAMPLED:
        *some, scores = SAMPLE(model, rows, tok, step)
        if rows[0].score == NEARLY:                     # in place of those of the answers
            scores = NEARLY * torch.arange(simple.SAMPLES).expand(len(rows), -1)
        SAMPLED[key] = *some, scores
    return tuple(x.clone() for x in SAMPLED[key])


OURS["sample_answers"] = sample_answers


def run(method: str, functions: dict[str, Callable]) -> None:
    """simple.py's own run with these parts of a student, which call each other."""
    install_parts(functions, vars(simple), *(inspect.unwrap(x).__globals__
                                             for x in functions.values()))
    simple.main(["--objective", method])
