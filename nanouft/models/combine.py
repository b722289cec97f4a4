"""Directions of several --tangent runs from one start, added without training: start + a * d1 + b * d2 + ...

    python -m nanouft.models.combine out/skills out/honesty --shares 1 0.5 --out out/both       # some seconds
    python -m nanouft.evaluate --init out/both
    python -m nanouft.models.combine out/skills --ordinary --out out/ordinary   # the ordinary network

A direction is a run's delta (models/tangent.py). In the linear model what they do to the logits adds up exactly; in
the ordinary network, which --ordinary leaves, nearly so while the directions are short. A negative share unlearns.
"""
import shlex
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from nanouft.models.load import save_model, start_model
from nanouft.models.tangent import START_FILE, TangentGPT
from nanouft.shell import config, runs
from nanouft.shell.errors import UserError
from nanouft.shell.text import visible


@dataclass
class Combine:
    shares: list[str] | None = None     # how much of each direction, one number a run; may be negative [1 each]
    ordinary: bool = False              # leave an ordinary model, which forgets where it began
    out: str = "out/combined"           # folder of the new model


def direction(model: TangentGPT) -> Tensor:
    """All of delta as one vector."""
    return torch.cat([d.detach().flatten() for d in model.delta.parameters()])


@torch.no_grad()
def combined(models: list[TangentGPT], shares: list[float]) -> TangentGPT:
    """Their common start with the weighted sum of their directions. UserError where the starts differ."""
    whole = TangentGPT(models[0].start)
    for i, (model, share) in enumerate(zip(models, shares, strict=True)):
        same = model.cfg == whole.cfg and all(map(torch.equal, model.start.parameters(), whole.start.parameters()))
        if not same:
            raise UserError(f"run {i + 1} began at other weights than run 1, and directions add up from one start "
                            "only; train both from one --init")
        for total, d in zip(whole.delta.parameters(), model.delta.parameters()):
            total += share * d
    return whole


def read_shares(cfg: Combine, n: int) -> list[float]:
    words = cfg.shares or ["1"] * n
    if len(words) != n:
        raise UserError(f"--shares gives {len(words)} numbers for {n} runs; one for each")
    return [config.number("--shares", float)(word) for word in words]


def main(argv=None) -> int:
    parser = config.Parser(prog="python -m nanouft.models.combine", description=__doc__)
    parser.add_argument("runs", nargs="+", help="finished --tangent runs")
    config.add_flags(parser, Combine, "options")
    values = vars(parser.parse_args(argv))
    cfg, names = config.fill(Combine, values)[0], values["runs"]
    shares = read_shares(cfg, len(names))
    runs.check_out(cfg.out)
    found = [start_model(name) for name in names]
    for name, (model, _) in zip(names, found):
        if not isinstance(model, TangentGPT):
            raise UserError(f"{name}: has no {START_FILE}; only runs of train --tangent have a direction")
    models, tok = [model for model, _ in found], found[0][1]
    whole = combined(models, shares)
    size = torch.cat([p.flatten() for p in whole.start.parameters()]).norm()
    first = direction(models[0])
    for name, share, model in zip(names, shares, models):
        d = direction(model)
        turn = torch.nn.functional.cosine_similarity(d, first, dim=0)
        print(visible(f"{share:+g} x {name}: |direction| / |start| {d.norm() / size:.4f}, "
                      f"cosine with the first {turn:.3f}"))
    folder = runs.new_folder(cfg.out, "")
    save_model(folder, whole.ordinary() if cfg.ordinary else whole, tok)
    print(visible(f"{folder}: the sum, as {'an ordinary' if cfg.ordinary else 'a linear'} model. Next:\n"
                  f"  python -m nanouft.evaluate --init {shlex.quote(str(folder))}"))
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
