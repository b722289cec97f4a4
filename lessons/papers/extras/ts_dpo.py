"""TS-DPO: DPO in a model that is linear in its weights, so that what two runs learn can be added.

    python -m nanouft.train --objective lessons/papers/extras/ts_dpo.py --skills sum \
        --steps 40 --out out/sums
    python -m nanouft.train --objective lessons/papers/extras/ts_dpo.py --skills truth \
        --steps 40 --out out/truths
    python -m lessons.papers.extras.ts_dpo out/sums out/truths  # a table: each run, and their sum
    Erdogan 2026, arXiv:2602.01128; the linear model: Ortiz-Jimenez et al., arXiv:2305.12827

A network f is not linear in its weights. Its first-order Taylor polynomial at the initial model is:
    z = f(x; theta0) + J(x) (theta - theta0)        J = df/dtheta at theta0
The loss is that of dpo.py. From it `forward` differs, which reads the polynomial:
    L = -log sigmoid( beta (r_w - r_l) )
    r = sum_t (log p_t - log ref_t)
    p_t: softmax(z) of the token; z: the logits of the linear model
J is never built: `jvp` (a product of J and a vector) carries the change of each weight through the
network together with its value. Each logit is linear in theta - theta0, which is called the
direction of a run. So the directions of two runs can be added without any further training, and
what they do to the logits is added as well.

Simplified: only the paper's abstract could be read. That the logits are linear, and not the
log-probs of answers, is our choice, and so are beta and the rate. The first step is that of DPO.
Traps: the ordinary network, which the run's scores and samples show, is near the linear one only
while the direction is small, so the rate is low; fused attention has no forward derivative.
"""
import argparse
import sys
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from nanouft import world
from nanouft.batch import Batch, write_logp
from nanouft.data.batches import collate, encode
from nanouft.gpt import scatter_at, select_at
from nanouft.models.folders import start_model
from nanouft.objectives.dpo import Pairs, log_ratio
from nanouft.plumbing.entry import command
from nanouft.plumbing.errors import UserError
from nanouft.plumbing.printing import say
from nanouft.run.reference import FrozenModels

Weights = dict[str, Tensor]             # {name: the weight, or its change}
HELD_OUT = 100                          # pairs of each skill


class TSDPO(Pairs):
    lr = 3e-5

    def prepare(self, data: list, models, seed: int) -> list:
        """Keep a copy of the initial model's weights; the run itself changes the model."""
        self._start = weights_of(models.start)
        return data

    def forward(self, model, batch: Batch) -> None:
        direction = {name: p - self._start[name] for name, p in model.named_parameters()}
        for s in batch.seqs.values():
            z = linear_logits(model, self._start, direction, s.inputs, s.positions)     # (N,V)
            nats = -F.cross_entropy(z, select_at(s.targets, s.positions), reduction="none")
            s.logp = scatter_at(nats, s.positions, s.mask.shape)

    def each(self, i_w: Tensor, i_l: Tensor, batch: Batch) -> Tensor:
        return -F.logsigmoid(i_w - i_l)


def weights_of(model) -> Weights:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def linear_logits(model, start: Weights, direction: Weights, inputs: Tensor, at: Tensor) -> Tensor:
    """(N,V) logits of the linear model at the N positions `at`."""
    def logits(weights: Weights) -> Tensor:
        whole = {f"model.{name}": x for name, x in weights.items()}
        return functional_call(Logits(model), whole, (inputs, at))

    with sdpa_kernel(SDPBackend.MATH):
        value, change = jvp(logits, (start,), (direction,))
    return value + change


class Logits(torch.nn.Module):
    """A model as one call from token ids to logits, whose weights functional_call can replace."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, at: Tensor) -> Tensor:
        """(B,T) ids -> (N,V) logits at the N positions `at`."""
        return self.model.head(select_at(self.model(inputs), at))


# ---- the directions of runs, added ---------------------------------------------------------------
@torch.no_grad()
def add_runs(model, start: Weights, runs: list[Weights]) -> None:
    """Make the model theta0 and the sum of the directions of all runs."""
    for name, p in model.named_parameters():
        p.copy_(start[name] + sum(run[name] - start[name] for run in runs))


@torch.no_grad()
def pairs_won(objective: TSDPO, model, batch: Batch, linear: bool) -> float:
    """Percent of the pairs in which the chosen answer rose more than the rejected one."""
    if linear:
        objective.forward(model, batch)
    else:
        write_logp(model, batch)
    won = log_ratio(batch.seqs["chosen"]) > log_ratio(batch.seqs["rejected"])
    return 100 * won.double().mean().item()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lessons.papers.extras.ts_dpo",
                                     description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="folders of runs that began with the shipped base")
    folders = parser.parse_args(argv).runs
    model, tok = start_model("base")
    models, objective, batches = FrozenModels(model, tok.pad), TSDPO(), []
    for skill in ("sum", "truth"):
        rows = world.rows("val", "pairs", HELD_OUT, 0, skills=(skill,))
        encoded, _ = encode(objective.choose(rows), tok, model.cfg.n_ctx)
        encoded = models.prepare(encoded, objective)
        batches.append(collate(encoded, range(len(encoded)), tok.pad))
    start, runs = weights_of(model), [weights_of(start_model(folder)[0]) for folder in folders]
    for folder, run in zip(folders, runs):
        if {n: p.shape for n, p in run.items()} != {n: p.shape for n, p in start.items()}:
            raise UserError(f"{folder}: its weights are not those of the shipped base")
    say("held-out pairs in the right order, %     linear model      ordinary network",
        " " * 38 + "    sums  truths" * 2, sep="\n")
    for name, of in [*zip(folders, ([run] for run in runs)), ("the sum of all", runs)]:
        add_runs(model, start, of)
        found = [pairs_won(objective, model, replace(batch), linear)
                 for linear in (True, False) for batch in batches]
        say(f"{name:38}" + "".join(f"{x:8.0f}" for x in found))
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
