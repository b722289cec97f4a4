"""No number moves unseen: what methods report, what seeds draw, defaults and limits
(tests/tools/known.json).

    python tests/core/test_known_figures.py     # writes it again; read the difference
The laws say which formula is right. This file says that a number has moved.
"""
import dataclasses
import importlib
import inspect
import json
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path += [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "tools")]
import house  # noqa: E402
from tiny import FORMS, Form, model_grads, nano, real_batch, settings  # noqa: E402

from nanouft import seeds, world  # noqa: E402
from nanouft.data.batches import order  # noqa: E402
from nanouft.errors import UserError  # noqa: E402
from nanouft.objectives import OBJECTIVES  # noqa: E402
from nanouft.world.documents import corpus  # noqa: E402

FILE = ROOT / "tests" / "tools" / "known.json"
VALUES = (-1, -0.5, 0, 0.5, 1, 1.5, 2, 256, 257, 10**3, 1001, 10**4, 10_001, 10**5, 100_001, 10**9,
          10**9 + 1)
PLAIN = (bool, int, float, str, tuple, type(None))


def figures(form: Form) -> dict[str, float]:
    """Of a policy that is not the start model: the loss, the length of its gradient, and what the
    method reports."""
    batch, model = real_batch(form), nano(1).double()
    loss, grads = model_grads(form, model, batch)
    found = {"loss": loss, "gradient": torch.stack([g.norm() for g in grads.values()]).norm()}
    found |= form.objective.loss(batch, form.hp)[1]
    found |= form.objective.report(batch) if form.objective.report else {}
    return {name: round(float(x), 6) for name, x in found.items()}


def draws() -> dict[str, str]:
    """Checksums of NanoWorld's rows of each kind, of its documents, of the order of rows and of the
    streams' seeds."""
    found = {f"{split} {kind}": [(r.prompt, r.answer, r.chosen, r.rejected, r.score, r.label, r.p,
                                  r.scores) for r in world.rows(split, kind, 187, 3,
                                                                noise=0.2 * (kind == "demos"))]
             for split in world.SPLITS for kind in world.KINDS}
    found["documents"] = list(corpus(3, 200))
    found["order"] = [step.tolist() for step in order([7, 3, 9, 3, 5, 8] * 7, 4, 25, 3)]
    streams = [(name, f) for name, f in vars(seeds).items() if "_seed" in name]
    found["streams"] = [(name, f(*(3, 5, 2)[:f.__code__.co_argcount])) for name, f in streams]
    return {name: f"{zlib.crc32(repr(rows).encode()):08x}" for name, rows in found.items()}


def made_in(kind: Callable) -> dict[str, Any]:
    """Every class or function of the project by its full name."""
    modules = [(name, importlib.import_module(name)) for name in house.modules()
               if ".hf" not in name]
    return {f"{name}.{x.__name__}": x for name, module in modules for x in vars(module).values()
            if kind(x) and x.__module__ == name}


def defaults() -> dict[str, dict]:
    """Of the fields of dataclasses, and of the arguments of functions."""
    found = {name: {key: x for key in cls.__annotations__
                    if isinstance(x := getattr(cls, key, print), PLAIN)}
             for name, cls in made_in(inspect.isclass).items() if dataclasses.is_dataclass(cls)}
    return found | {name: {p.name: p.default for p in inspect.signature(f).parameters.values()
                           if isinstance(p.default, PLAIN) and p.default is not None}
                    for name, f in made_in(inspect.isfunction).items()}


def limits() -> dict[str, dict[str, str]]:
    """Of each number that a command or a method lets one set: which of VALUES its `check` takes (+)
    or refuses (-)."""
    made = [(name, cls) for name, cls in made_in(inspect.isclass).items()
            if hasattr(cls, "check") and "objectives" not in name]
    made += [(name, lambda name=name: settings(name)) for name, o in OBJECTIVES.items()
             if hasattr(o.hp, "check")]
    found: dict[str, dict[str, str]] = {}
    for name, make in made:
        try:
            record = make()
        except TypeError:                                       # a field has no default
            continue
        for f in dataclasses.fields(record):
            if re.search("int|float", str(f.type)):
                found.setdefault(name, {})[f.name] = "".join("-+"[takes(record, f.name, x)]
                                                             for x in VALUES)
    return found


def takes(record, field: str, value: float) -> bool:
    changed = dataclasses.replace(record, **{field: value})
    try:
        changed.check(*[set()] * (changed.check.__code__.co_argcount - 1))
    except UserError:
        return False
    return True


TOLD = {"defaults": defaults, "limits": limits, "draws": draws}


@pytest.fixture(scope="module")
def known() -> dict:
    return json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_the_figures_of_a_method_have_not_moved(form, known):
    assert figures(form) == pytest.approx(known["figures"][str(form)], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("name", TOLD)
def test_defaults_limits_and_draws_have_not_moved(name, known):
    found = {key: x for key, x in TOLD[name]().items() if x}
    assert json.loads(json.dumps(found)) == known[name]


if __name__ == "__main__":
    parts = {"figures": {str(form): figures(form) for form in FORMS}}
    parts |= {name: make() for name, make in TOLD.items()}
    lines = {part: [f" {json.dumps(name)}: {json.dumps(x)}" for name, x in rows.items() if x]
             for part, rows in parts.items()}
    body = [f'"{part}": {{\n' + ",\n".join(rows) + "}" for part, rows in lines.items()]
    FILE.write_text("{" + ",\n".join(body) + "}\n", encoding="utf-8")
