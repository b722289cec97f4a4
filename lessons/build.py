"""Your own program: nanouft/simple.py from an empty file, in eleven parts.

    python -m lessons.build mine.py --reset         # writes a file to begin with
    python -m lessons.build mine.py                 # which parts are right? After `train` it trains
    python -m lessons.build mine.py --run ift       # the whole program with your parts, and scores

Each of your functions takes the place of ours in the real program (nanouft/simple.py), together
with your earlier parts. The loss of the program and its gradient are compared on fresh rows of
NanoWorld, with the shipped base. You see the smallest batch on which a part is wrong, whether the
loss or only its gradient is, and, if what you wrote does what a common slip does, or two of them,
their names (lessons/slips.py). A part that is not right yet is ours in the meantime, in your file
as well. Any style will do: nothing but numbers is compared.

A loss may differ by a ten-thousandth, a gradient by a thousandth of its length, and the weights
after training by a hundred-thousandth of the way that they went. Your file runs in a process of its
own, with limits of time and memory. What it prints while parts are tried is not shown.
"""
import argparse
import copy
import functools
import inspect
import io
import itertools
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from types import ModuleType

import torch
from torch import Tensor
from tqdm import tqdm

from lessons import grade
from lessons.check import load
from lessons.slips import SLIPS
from nanouft import simple, world
from nanouft.errors import UserError, command, lines_in, progress, read_text, say
from nanouft.gpt import GPT, GPTConfig, shipped_base
from nanouft.models.tokenizer import nano
from nanouft.run.evaluation import families, mean_score

PARTS = {   # in the order in which they are written: the lesson, and the methods that show a fault
    "padded": ("02", ["sft"]), "token_logp": ("02", ["sft"]), "sft_loss": ("02", ["sft"]),
    "train": ("00", ["sft", "dpo", "poft"]), "log_ratio": ("07", ["dpo", "una", "poft"]),
    "dpo_loss": ("07", ["dpo"]), "una_loss": ("09", ["uft"]), "poft_loss": ("10", ["poft"]),
    "mix_in_own_guess": ("04", ["ift"]), "ift_loss": ("06", ["ift"]), "grpo_loss": ("12", ["grpo"])}
FIRST = ("padded", "token_logp", "sft_loss", "train")           # with these it trains
OURS = {name: getattr(simple, name) for name in PARTS}
CALLS = {name: (*inspect.signature(ours).parameters,) for name, ours in OURS.items()}
SKELETON = Path(__file__).parent / "exercises" / "mine.py"
SECONDS, IN_ALL = grade.SECONDS, 900            # of computing: for one answer of a part, for all
WAITING = 1800                                  # on the clock


class TooLong(BaseException):
    """A part has not ended."""


# ---- your functions in the place of ours --------------------------------------------------------
def put(functions: dict[str, Callable], *places: ModuleType) -> None:
    """Put these parts, and ours for all others, into simple.py and into the student's file."""
    for place in (simple, *places):
        vars(place).update(OURS | functions)
    for method, (_, *facts) in simple.METHODS.items():
        loss_of = getattr(simple, "una_loss" if method == "uft" else f"{method}_loss")
        simple.METHODS[method] = (loss_of, *facts)


def with_slips(name: str, slips: tuple) -> Callable | None:
    """Our part with these slips, or None if they do not go together."""
    source = inspect.getsource(OURS[name])
    for part, instead, _ in slips:
        if part not in source:
            return None
        source = source.replace(part, instead)
    space = vars(simple) | OURS
    try:
        exec(source, space)
    except SyntaxError:
        return None
    return space[name]


# ---- what a part is tried on --------------------------------------------------------------------
@dataclass(frozen=True)
class Batch:
    """One loss of the real program, on some rows."""
    method: str
    rows: tuple
    model: GPT
    reference: GPT
    step: int = 0

    def look(self) -> dict[str, Tensor]:
        model, reference = copy.deepcopy(self.model), copy.deepcopy(self.reference)
        loss = simple.METHODS[self.method][0](model, reference, list(self.rows), nano(), self.step)
        if not isinstance(loss, Tensor):
            if not isinstance(loss, (int, float)):
                raise TypeError(f"the loss is {loss!r:.40}. Is there a `return`?")
            loss = torch.tensor(float(loss))
        weights = [*model.parameters(), *reference.parameters()]
        if loss.requires_grad and loss.ndim == 0:
            slopes = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
        else:
            slopes = tuple(torch.zeros_like(p) for p in weights)
        half = len(weights) // 2
        return {"loss": loss.detach().double(), "flows": torch.tensor(1.0 * loss.requires_grad),
                "gradient": flat(slopes[:half]), "into the reference": flat(slopes[half:])}

    def smaller(self) -> Iterator["Batch"]:
        for k in range(len(self.rows)):
            if len(self.rows) > 1:
                yield replace(self, rows=self.rows[:k] + self.rows[k + 1:])

    def __str__(self) -> str:
        lines = [f"    {'; '.join(row_words(row))}" for row in self.rows]
        count = "1 row" if len(lines) == 1 else f"{len(lines)} rows"
        return "\n".join([f"    The smallest such batch has {count} ({self.method}):", *lines])


@dataclass(frozen=True)
class Run:
    """A few steps of `train`, by a small model in double precision, at a high rate. The loss is
    made larger from step to step, so that clipping and the number of the step count."""
    method: str
    rows: tuple
    given: bool                                 # is there a reference?
    steps: int

    def look(self) -> dict[str, Tensor]:
        model, other = small(0), small(1)
        kept, began = simple.METHODS[self.method], flat(model.parameters())
        loss_of = OURS[f"{self.method}_loss"]

        def larger(model, reference, rows, tok, step):
            return 3 * (1 + step) * loss_of(model, reference, rows, tok, step)
        simple.METHODS[self.method] = (larger, kept[1], 1e-2, kept[3])
        try:
            losses = simple.train(model, list(self.rows), nano(), self.method, self.steps,
                                  *([other] if self.given else []))
        finally:
            simple.METHODS[self.method] = kept
        if losses is None:
            raise TypeError("it gives None. Is there a `return`?")
        plain = not any(isinstance(x, Tensor) and x.requires_grad for x in losses)
        return {"losses": torch.tensor([torch.as_tensor(x).item() for x in losses]).double(),
                "weights": flat(model.parameters()) - began,
                "plain": torch.tensor(1.0 * plain)}

    def smaller(self) -> Iterator["Run"]:
        if self.steps > 1:
            yield from (replace(self, steps=n) for n in range(1, self.steps))

    def __str__(self) -> str:
        count = "1 step" if self.steps == 1 else f"{self.steps} steps"
        reference = ", with a reference that is given" * self.given
        return f"    The shortest such run has {count} of {self.method}{reference}."


def flat(tensors) -> Tensor:
    return torch.cat([x.detach().flatten() for x in tensors]).double()


def row_words(row) -> list[str]:
    """The prompt of a row, and its answers."""
    named = {"answer": row.answer, "chosen": row.chosen, "rejected": row.rejected}
    out = [f'"{row.prompt[0].text}"']
    out += [f'{name} "{turns[0].text}"' for name, turns in named.items() if turns]
    return out if row.score is None else [*out, f"score {row.score:.2f}"]


@functools.cache
def base() -> GPT:
    return shipped_base()


@functools.cache
def changed(noise: float, times: float = 1.0) -> GPT:
    """The base with this noise in its weights: with a little of it a reference near the base; with
    more, a model that guesses worse. Multiplied logits make log-ratios of hundreds of nats."""
    model = copy.deepcopy(base())
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        for p in model.parameters():
            p.add_(noise * torch.randn_like(p))
        model.ln_f.weight.mul_(times)
        model.ln_f.bias.mul_(times)
    return model


def small(seed: int) -> GPT:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return GPT(GPTConfig(nano().n_vocab, 128, 1, 2, 16)).double()


def cases(name: str, seed: int) -> list:
    """What a part is tried on: fresh rows for each method that shows its faults."""
    out: list = []
    for k, method in enumerate(PARTS[name][1]):
        near, worse, far = changed(0.01), changed(0.2), changed(0.01, times=200)
        if name == "train":
            steps = (15, 4, 2)[k]                   # 15 have a warm-up of two
            rows = fresh_rows(method, steps * simple.ROWS, seed + k)
            out.append(Run(method, rows, method == "poft", steps))
        elif method == "grpo":
            out += [Batch(method, fresh_rows(method, 3, seed + again), base(), near, 3 * again)
                    for again in range(2)]
        else:
            rows = fresh_rows(method, 5, seed + k)
            out += [Batch(method, rows, model, near) for model in (base(), worse)]
            if method == "dpo":                     # h falls to minus some hundreds
                out.append(Batch(method, rows, base(), far))
            if method == "poft":
                out.append(Batch(method, rows, changed(0.2, times=30), base()))
    return out


def fresh_rows(method: str, many: int, seed: int) -> tuple:
    """Rows of the kinds that the method reads, in turn."""
    drawn = [world.rows("train", kind, many, seed) for kind in simple.METHODS[method][1]]
    return tuple(row for together in zip(*drawn) for row in together)[:many]


# ---- judging ------------------------------------------------------------------------------------
FAULTS = {      # what is compared: how far apart it may be, beside its size and at all; the words
    "loss": (1e-4, 1e-4, "the loss is {seen:.4f} and should be {right:.4f}"),
    "losses": (1e-4, 1e-4, "the loss of step {at} is {seen:.4f} and should be {right:.4f}"),
    "plain": (0, 0, "the numbers are right, but the losses are no plain numbers"),
    "weights": (1e-5, 0, "the losses are right, but the weights at the end are not"),
    "flows": (0, 0, "the loss is right, but no gradient reaches the model"),
    "gradient": (1e-3, 1e-6, "the loss is right, but its gradient is not. Is something not a "
                 "constant that should be one (detach), or the other way round?"),
    "into the reference": (0, 0, "loss and gradient are right, but gradient reaches the reference "
                           "as well, which should be a constant (detach)")}
Seen = dict[str, Tensor] | BaseException


def attempt(case) -> Seen:
    """What the program gives with the parts that are in place, or its error."""
    try:
        with at_most(SECONDS), redirect_stdout(io.StringIO()):
            return case.look()
    except (Exception, SystemExit, TooLong) as error:
        return error


@functools.cache
def as_it_should_be(case) -> Seen:
    put({})
    return attempt(case)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """TooLong after this much computing, at the line that still runs. Windows has no such clock."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(number, frame):
        raise TooLong
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def differs(seen: Seen, right: Seen) -> str:
    """The first thing that is not as it should be, in words."""
    if isinstance(seen, BaseException) or isinstance(right, BaseException):
        return "" if type(seen) is type(right) else "an error"
    for what, (beside, at_all, words) in FAULTS.items():
        if what not in right:
            continue
        x, y = seen[what], right[what]
        if x.shape != y.shape:
            return (f"the loss is a tensor of the shape {tuple(x.shape)} and should be one number"
                    if what == "loss" else f"it gives {len(x)} losses for {len(y)} steps")
        if apart(x, y, beside, at_all):
            if what != "losses":
                return words.format(seen=x.flatten()[0], right=y.flatten()[0])
            at = next(k for k in range(len(y)) if apart(x[k], y[k], beside, at_all))
            return words.format(at=at, seen=x[at], right=y[at])
    return ""


def apart(x: Tensor, y: Tensor, beside: float, at_all: float) -> bool:
    """Is the difference longer than `at_all` and this share of y, or is x not finite where y is?"""
    if not torch.equal(x.isfinite(), y.isfinite()):
        return True
    x, y = x.nan_to_num(), y.nan_to_num()
    return bool((x - y).norm() > at_all + beside * y.norm())


def judge(name: str, function, others: dict[str, Callable], mine: ModuleType, seed: int) -> str:
    """Nothing if this part is right, beside the student's other right parts; else what is wrong."""
    if not callable(function):
        return f"{name} is no function"
    try:
        inspect.signature(function).bind(*CALLS[name])
    except TypeError as error:
        return f"the program calls {name}({', '.join(CALLS[name])}): {error}"
    except ValueError:                                          # a builtin, which tells nothing
        pass
    tried, seen = cases(name, seed), {}

    def fault(case) -> str:
        """What is wrong in this case."""
        right = as_it_should_be(case)
        put(others | {name: function}, mine)
        seen[case] = attempt(case)
        if isinstance(seen[case], BaseException):
            return error_words(seen[case], mine.__file__)
        return differs(seen[case], right)

    wrong = {}
    for case in tried:
        wrong[case] = fault(case)
        if isinstance(seen[case], NotImplementedError):
            return NOT_YET
        if isinstance(seen[case], TooLong):
            return wrong[case]
    if not any(wrong.values()):
        return ""
    least = smallest(next(case for case in tried if wrong[case]), fault)
    words = f"{fault(least)}\n{least}"
    return words + slip_words(name, [least, *tried], seen)


NOT_YET = "not yet"


def smallest(case, fault: Callable):
    """The smallest case in which it is still wrong."""
    for less in case.smaller():
        if fault(less):
            return smallest(less, fault)
    return case


def slip_words(name: str, tried: list, seen: dict) -> str:
    """The sentence of the slip, or of the two, that do in every case what was seen there."""
    alone = [(slip,) for slip in SLIPS[name]]
    for slips in [*alone, *itertools.permutations(SLIPS[name], 2)]:
        function = with_slips(name, slips)
        if function is None:
            continue
        put({name: function})
        if all(not differs(attempt(case), seen[case]) for case in tried):
            return "\n    " + "\n    And: ".join(sentence for _, _, sentence in slips)
    return ""


def error_words(error: BaseException, file: str) -> str:
    """An error, with its line in the student's file."""
    lines = lines_in(file, error)
    where = ""
    if lines:
        text = Path(file).read_text(encoding="utf-8-sig").splitlines()[lines[-1] - 1].strip()
        where = f"\n    line {lines[-1]}: {text}"
    if isinstance(error, TooLong):
        return f"it had not ended after {SECONDS} seconds of computing{where}"
    if isinstance(error, SystemExit):
        return f"it ends Python with exit() or sys.exit(). Return a result instead{where}"
    return f"{type(error).__name__}: {error}".splitlines()[0] + where


# ---- the whole program --------------------------------------------------------------------------
def remember_samples() -> None:
    """Answers are sampled once for each model, rows and step, because slips are tried on them."""
    sample, kept = simple.sample_answers, {}

    @functools.wraps(sample)
    def sample_answers(model, rows, tok, step):
        key = (model.wpe.weight.sum().item(), *(row.prompt for row in rows), step)
        if key not in kept:
            kept[key] = sample(model, rows, tok, step)
        return tuple(x.clone() for x in kept[key])
    simple.sample_answers = sample_answers


def try_parts(mine: ModuleType, seed: int, tell: Callable) -> dict[str, Callable]:
    """The parts that are right. `tell` is told of each part: its name, and what is wrong."""
    right: dict[str, Callable] = {}
    theirs = {name: vars(mine).get(name) for name in PARTS}
    for name, function in progress(len(PARTS), "parts tried", theirs.items()):
        note(f"trying {name}")
        if function is None or function is OURS[name]:
            wrong = NOT_YET
        else:
            wrong = judge(name, function, right, mine, seed)
        if not wrong:
            right[name] = function
        tell(name, wrong)
    put(right, mine)
    return right


def first_steps(steps: int = 20) -> None:
    """A few steps of SFT from the shipped base, and what it says before and after."""
    model, tok = shipped_base(), nano()
    asked = world.rows("val", "prompts", 2, seed=1, skills=("sort", "list"))
    before = simple.answers_of(model, asked, tok)
    rows = world.rows("train", "demos", steps * simple.ROWS, seed=0)
    with redirect_stdout(io.StringIO()):
        simple.train(model, rows, tok, "sft", steps)
    for row, *answers in zip(asked, before, simple.answers_of(model, asked, tok)):
        say(row.prompt[0].text)
        for when, answer in zip(("before", "after"), answers):
            say(f"   {when:<8}{tok.decode(answer.ids).strip()}   "
                f"(score {simple.score_of(row, answer, tok):.2f})")


def run_method(method: str, steps: int | None) -> None:
    """simple.py's own run, and the score of 900 test questions before and after it. They are those
    of `python -m nanouft.train`, whose run is another one: its rows, order and steps differ."""
    trained, loop = [], simple.train

    def train(model, *args):
        trained.append(model)
        return loop(model, *args)
    simple.train = train
    simple.main(["--objective", method, *(["--steps", str(steps)] if steps else [])])
    scores = [100 * mean_score(families(model, nano())[0]) for model in (base(), trained[-1])]
    say(f"\nScore of 900 test questions: {scores[0]:.0f} before, {scores[1]:.0f} after this run of "
        "simple.py (train.py's own run has other rows and steps).")


def needed(method: str) -> list[str]:
    """The parts that a run of this method uses."""
    loss = "una_loss" if method == "uft" else f"{method}_loss"
    before = {"ift": ["mix_in_own_guess"], "dpo": ["log_ratio"], "una": ["log_ratio"],
              "uft": ["log_ratio"], "poft": ["sft_loss", "log_ratio"], "grpo": ["sft_loss"]}
    used = {"padded", "token_logp", "train", loss, *before.get(method, [])}
    return [name for name in PARTS if name in used]


# ---- the two processes --------------------------------------------------------------------------
def note(what: str) -> None:
    """Tell the process that waits what is being done, in a file that it named."""
    if room := os.environ.get("BUILD_NOTE"):
        Path(room).write_text(what, encoding="utf-8")


def in_own_process(file: Path, cfg: argparse.Namespace) -> int:
    """Run `work` with limits. UserError if it gives no result."""
    with tempfile.TemporaryDirectory() as scratch:
        doing = Path(scratch) / "doing"
        words = [str(file.resolve()), str(file), cfg.run or "", str(cfg.steps or ""), str(cfg.seed)]
        child = subprocess.Popen(
            [sys.executable, "-B", "-c", "from lessons import build; build.work()", *words],
            stdin=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(grade.ROOT), "OMP_NUM_THREADS": "1",
                              "BUILD_NOTE": str(doing), "PYTHONUNBUFFERED": "1"})
        try:
            code: int | None = child.wait(WAITING)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            grade.end(child)
        last = doing.read_text(encoding="utf-8") if doing.exists() else "starting"
    if last != "done":
        raise UserError(f"{file}: while {last} it ended Python, or ran out of time or memory")
    return int(bool(code))


def work() -> None:
    """In the process of its own: try the parts of a file, and run what they can."""
    sys.exit(command(lambda _: judge_and_run(*sys.argv[1:])))


def judge_and_run(path: str, shown: str, method: str, steps: str, seed: str) -> int:
    """1 unless all parts are right."""
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(path).parent))                  # a file may import its neighbour
    sample_answers = simple.sample_answers
    remember_samples()
    grade.limit(IN_ALL)
    note(f"reading {shown}")
    try:
        with at_most(SECONDS):
            mine = load(Path(path))
    except (Exception, SystemExit, TooLong) as error:
        note("done")
        raise UserError(f"{shown}: cannot be read. "
                        f"{' '.join(error_words(error, path).split())}") from None

    failed: list[str] = []

    def tell(name: str, wrong: str) -> None:
        state = "right" if not wrong else NOT_YET if wrong == NOT_YET else f"wrong: {wrong}"
        failed.extend([name] * state.startswith("wrong"))
        say(f"{name:<18}{state}", write=tqdm.write)             # above the bar
    right = try_parts(mine, int(seed), tell)
    for place in (simple, mine):
        if getattr(place, "sample_answers", None) is not None:
            vars(place)["sample_answers"] = sample_answers
    missing = [name for name in PARTS if name not in right]
    following = (f" Next: {missing[0]}, lesson {PARTS[missing[0]][0]}."
                 if missing else " The whole program is yours.")
    again = f" The same rows again: --seed {seed}." if failed else ""
    say(f"{len(right)} of {len(PARTS)} parts are yours.{following}{again}")
    if method:
        note(f"running {method}")
        borrowed = [name for name in needed(method) if name in missing]
        say(f"\nA run of {method} with your parts"
            + (f", and ours in place of {', '.join(borrowed)}." if borrowed else " alone."))
        run_method(method, int(steps) if steps else None)
    elif all(name in right for name in FIRST):
        note("training by sft")
        say("\n20 steps of SFT with your parts, from the shipped base:")
        first_steps()
    note("done")
    return int(bool(missing))


# ---- the file to begin with ---------------------------------------------------------------------
def skeleton() -> str:
    """Stubs of all parts, and three rows as a loss sees them."""
    shown = io.StringIO()
    rows = world.rows("train", "demos", 3, seed=0, skills=("fact", "sort", "reverse"))
    with redirect_stdout(shown):
        simple.show_rows(rows, nano())
    table = [f"# {line}".rstrip() for line in shown.getvalue().splitlines()]
    head = '# Three demonstrations, as tokens(rows, "answer", tok) gives them (mask 1: trained on):'
    return SKELETON.read_text(encoding="utf-8").replace("# EXAMPLE", "\n".join([head, *table]))


def reset(file: Path, force: bool) -> None:
    """Write the skeleton, but not over somebody's work."""
    if file.exists() and not force and read_text(file).strip() not in ("", skeleton().strip()):
        raise UserError(f"{file}: holds work of yours; --reset --force writes over it")
    file.write_text(skeleton(), encoding="utf-8")
    say(f"{file}: eleven parts to write. Begin with padded, then: python -m lessons.build {file}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.build", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, metavar="mine.py", help="your file")
    parser.add_argument("--reset", action="store_true", help="write a file to begin with")
    parser.add_argument("--force", action="store_true", help="with --reset: over your work as well")
    parser.add_argument("--run", choices=simple.METHODS, help="train by this method")
    parser.add_argument("--steps", type=int, help="of --run [as simple.py: 60; uft 100; grpo 20]")
    parser.add_argument("--seed", type=int, default=Random().randrange(10**6),
                        help="of the rows, to see the same again [another one in each run]")
    cfg = parser.parse_args(argv)
    if cfg.reset:
        reset(cfg.file, cfg.force)
        return 0
    source = read_text(cfg.file, f"; python -m lessons.build {cfg.file} --reset writes one to "
                       "begin with")
    try:
        compile(source, str(cfg.file), "exec")
    except SyntaxError as e:
        raise UserError(f"{cfg.file}, line {e.lineno}: cannot be read (SyntaxError: {e.msg})"
                        ) from None
    return in_own_process(cfg.file, cfg)


if __name__ == "__main__":
    sys.exit(command(main))
