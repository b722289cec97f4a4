"""nanouft: many methods of fine-tuning a language model into alignment, each one short file.

Start at README.md. The files in reading order:
    simple.py           eight methods with their loop on one page
    gpt.py              the model
    batch.py            the rows of one step, as a loss reads them
    objective.py        what a method is made of; objectives/ has all of them, a file each
    policy_gradient.py  ratio, KL and clip of the methods that sample
    train.py            a whole run, with the training loop
    generate.py         how a model answers; rollout.py has its answers scored and learned from
Other programs are pretrain, reward, sample, evaluate, pushes and trainer (several GPUs).

What to open for one question:
    chat format; which tokens are learned   models/tokenizer.py, chat
    how a row is padded                     data/batches.py, collate
    padding on the left, attention's mask   generate.py, pad_left; gpt.py, _mask
    which fields a row has                  data/fields.py, FIELDS; data/rows.py, row
    why a row is skipped                    data/rows.py, its first lines
    how high the learning rate is           run/hyperparameters.py, learning_rate; warmup_cosine
    log-probs of the reference model        run/reference.py; of sampled answers, rollout.py
    how micro-batches make one step         batch.py, micro_batches; train.py, steps
    how a sampled answer is scored          train.py, collect; scorers.py, scorer
    metrics of all methods over pairs       objectives/dpo.py, pair_metrics
    what a killed run keeps                 run/checkpoint.py
    what --resume refuses                   run/folder.py, check_resume; run/config.py, reopen
    which models must be trained first      run/helper_models.py
    what is computed in bf16                device.py, its first lines
    how a file becomes token ids            run/own_rows.py, its first lines
    how to write a loss of your own         objective.py; own.py opens its file
    arms and seeds of a comparison          compare/plan.py; the verdict, compare/verdicts.py
    which of two models people prefer       blind.py
    a task of NanoWorld                     world/answers.py; world/tasks.py; world/__init__.py,
                                            MIXTURE; run/evaluation.py, ABOUT
plumbing serves every program and has no machine learning in it.
"""
from importlib import import_module
from importlib.util import find_spec
from pkgutil import iter_modules
from typing import Any

from nanouft.plumbing.start import start_command

__version__ = "7.0.0"
start_command()                     # before torch is imported


def __getattr__(name: str) -> Any:
    """nanouft.train and the others, which are imported when they are asked for."""
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    """With the programs, for completion."""
    return [*globals(), *(file.name for file in iter_modules(__path__))]
