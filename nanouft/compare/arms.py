"""Arms of a comparison: methods as they were typed, and for each the runs of nanouft.train.

    arms = read_arms(["sft", "new=mine.py --gamma 2", "sft+dpo --beta 0.2"])
    run = read_run(arm.stages[0], {"steps": 48})    # its flags, with those that all share
    stage_plan = plan_stage(arm.stages[0], run)     # what it would do, or its mistake
"""
import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from nanouft.device import choose_device, fp32_if_small
from nanouft.generate import longest_answer
from nanouft.objective import Objective
from nanouft.objectives import OBJECTIVES, class_of, find, name_of
from nanouft.own import class_mistake
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.files import own_file
from nanouft.plumbing.printing import quiet
from nanouft.run import load
from nanouft.run.config import RunConfig, parse_run
from nanouft.run.flags import as_flags
from nanouft.run.hyperparameters import choose_hyperparameters
from nanouft.run.plan import settle

Stage = tuple[str, ...]         # a method and its flags, as words
SHARED_FLAGS = {"--out": "--out", "--init": "--init", "--data": "--data", "--eval-data": "--data",
                "--rows": "--rows", "--skills": "--skills", "--noise": "--noise",
                "--device": "--device", "--dtype": "--dtype", "--seed": "--seeds N",
                "--resume": "the same command again", "--help": "--help"}
LABEL = re.compile(r"\s*([^\W\d][\w.-]*)=(?=\S)")
PLUS = re.compile(r"""\+(?=\s*[^\d\s])(?=(?:[^'"]|'[^']*'|"[^"]*")*$)""")  # + outside of quotes
END_OF_FILE = re.compile(r"\.py(:\w+)?(?=[\s+]|$)")


class Arm(NamedTuple):
    stages: tuple[Stage, ...]   # one after the other, as sft+dpo
    label: str = ""             # of NAME=METHOD
    copy: int = 0               # of methods that are named twice, so that seeds differ: 0, 1 ...

    @property
    def words(self) -> str:
        """The methods as typed, without the name."""
        return "+".join(" ".join(map(shell_quoted, stage)) for stage in self.stages)

    @property
    def name(self) -> str:
        return self.label or self.words

    @property
    def unlabelled(self) -> "Arm":
        """What trains it, whatever its name."""
        return self._replace(label="")

    @property
    def typed(self) -> str:
        return f"{self.label}={self.words}" if self.label else self.words

    @property
    def chain(self) -> "list[Arm]":
        """The arms that it starts from, the first one first, and itself."""
        return [*(Arm(self.stages[:n], "", self.copy) for n in range(1, len(self.stages))), self]


def typed(method: Any) -> str:
    """A method of a call in Python as it is typed: a text, a file, a class, or an object with its
    settings. UserError for one that another process cannot find."""
    if isinstance(method, (str, Path)):
        return str(method)
    cls = class_of(method)
    if why := class_mistake(cls):
        raise UserError(f"{cls.__name__}: {why}")
    name, settings = name_of(cls), {}
    if OBJECTIVES.get(name) is not cls:
        name = file_of_class(cls)
    if method is not cls:
        settings = {f.name: getattr(method, f.name) for f in fields(method)
                    if getattr(method, f.name) != f.default}
    return " ".join([name, *map(shell_quoted, as_flags(settings))])


def file_of_class(cls: type[Objective]) -> str:
    """"mine.py", or "mine.py:Mine" if the file has several. UserError if no file has the class, as
    in a notebook."""
    module = sys.modules[cls.__module__]
    file = getattr(module, "__file__", None) or ""
    if not (own_file(file) and Path(file).is_file()) or vars(module).get(cls.__name__) is not cls:
        raise UserError(f"{cls.__name__}: each run of a comparison is a process of its own, which "
                        "cannot have a class of this one; write it into a file, in a notebook by "
                        "%%writefile mine.py, and give the file")
    path = Path(file).resolve()
    path = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    classes = [x for x in vars(module).values() if isinstance(x, type)
               and issubclass(x, Objective) and x.__module__ == module.__name__]
    return str(path) if classes == [cls] else f"{path}:{cls.__name__}"


def read_arms(texts: list[str]) -> list[Arm]:
    """Two or more. The same method under two names trains with other seeds: noise."""
    arms: list[Arm] = []
    for text in texts:
        arm = read_arm(text)
        twins = sum(arm.stages == other.stages for other in arms)
        if arm.name in [other.name for other in arms]:
            raise UserError(f"{arm.name}: is named twice; a={arm.words} b={arm.words} trains it "
                            "twice, with other seeds, and shows the noise")
        arms.append(arm._replace(copy=twins))
    if len(arms) < 2:
        raise UserError("name two methods or more: python -m nanouft.compare sft sft+dpo")
    for stage in (stage for arm in arms for stage in arm.stages):
        with name_stage_in_errors(stage):
            find(stage[0])
    return arms


def read_arm(text: str) -> Arm:
    """Methods and their flags. A file that is there may have + = and spaces in its path."""
    label = None if leading_file(text) else LABEL.match(text)
    stages: list[Stage] = []
    left = [text[label.end():] if label else text]
    while left:
        rest = left[0].lstrip()
        file = leading_file(rest)
        flags, *left = PLUS.split(rest[len(file):], maxsplit=1)
        try:
            stages.append((*filter(None, [file]), *split_words(flags)))
        except ValueError as e:
            raise UserError(f"{text!r}: {e}") from None
    for words in stages:
        if not words or words[0].startswith("-"):
            raise UserError(f"{text!r}: must begin with a method; put the method and its flags "
                            "into quotes: \"dpo --beta 0.2\"")
        for word in words:
            if (flag := word.partition("=")[0]) in SHARED_FLAGS:
                raise UserError(f"{text!r}: {flag} is the same for all methods; give "
                                f"{SHARED_FLAGS[flag]} outside the quotes")
    return Arm(tuple(stages), label[1] if label else "")


def leading_file(text: str) -> str:
    """The file that is there with which a text begins: c++/mine.py of "c++/mine.py --end 3"."""
    names = (text[:found.end()] for found in END_OF_FILE.finditer(text))
    return next((name for name in names if os.path.isfile(own_file(name))), "")


def split_words(text: str) -> list[str]:
    """As a shell does it, but for backslashes, which are of paths."""
    words = shlex.shlex(text, posix=True)
    words.whitespace_split, words.commenters, words.escape = True, "", ""
    return [*words]


def shell_quoted(word: str) -> str:
    """In quotes if read_arm would read it otherwise."""
    quoted = shlex.quote(word)
    is_split = LABEL.match(word) or re.search(r"\+(?!\d)", word)
    return f"'{word}'" if is_split and quoted == word else quoted


@contextlib.contextmanager
def name_stage_in_errors(stage: Stage) -> Iterator[list[str]]:
    """A UserError names the stage, and nothing else is said. It gives the list of its notes."""
    try:
        with quiet() as noted:
            yield noted
    except UserError as e:
        raise UserError(f"{shlex.join(stage)}: {e}") from None


class StagePlan(NamedTuple):
    """What a stage trains with."""
    lr: float                   # its own, or that of its flags
    batch_size: int
    steps: int
    rows: int                   # rows that it can read
    answers: int                # of a row: two of a pair; of a prompt those that it samples
    device: str
    dtype: str                  # precision
    model: SimpleNamespace      # of the initial model .cfg, its sizes, and .longest (evaluate.py)
    notes: tuple[str, ...]      # what it noticed of your rows


def read_run(stage: Stage, shared: dict[str, Any]) -> RunConfig:
    """The run of a stage, with its own flags and those of `shared` that it reads: --reward and
    --max-new are of methods that sample, --noise of those that read demonstrations. Its own win."""
    with name_stage_in_errors(stage):
        own = parse_run(["--objective", *stage])
        method, gone = own.objective(), {*own.given}
        gone |= {"noise"} if "demos" not in method.kinds() else set()
        gone |= {"reward", "max_new"} if not method.on_policy else set()
        gone |= {"steps", "epochs"} if own.given & {"steps", "epochs"} else set()
        read = {name: x for name, x in shared.items() if name not in gone}
        return own.with_flags(**read).checked()


def plan_stage(stage: Stage, cfg: RunConfig) -> StagePlan:
    """What a run would do. UserError for whatever would end it at its start."""
    with name_stage_in_errors(stage) as noted:
        objective = cfg.objective()
        device = choose_device(cfg.device, cfg.dtype, cfg.threads)
        rows = load.load_rows(cfg, objective)
        model, tok = load.open_model(cfg, objective, device)
        if not cfg.lora:
            device = fp32_if_small(device, cfg.dtype, model.n_params())
        cfg, objective, data = settle(cfg, objective, rows, model, tok)
    answers = sum(role in ("chosen", "rejected", "answer", "demo") for role in data.train[0].seqs)
    return StagePlan(cfg.lr, cfg.batch_size, cfg.steps, len(data.train),
                     max(1, answers) * objective.samples,
                     device.name, device.dtype,
                     SimpleNamespace(cfg=model.cfg, longest=longest_answer(model, tok)),
                     tuple(text for text in noted if text != data.leak))


def replan_stage(stage: Stage, cfg: RunConfig, stage_plan: StagePlan) -> StagePlan:
    """The same with the batch size, device and precision of this run."""
    with name_stage_in_errors(stage):
        lr, batch_size, steps = choose_hyperparameters(cfg, cfg.objective(), stage_plan.rows,
                                                       stage_plan.model)
    return stage_plan._replace(lr=lr, batch_size=batch_size, steps=steps, device=cfg.device,
                               dtype=cfg.dtype)
