"""A step in pieces: --accumulate cuts it into micro-batches, torchrun into the shares of processes.

    micro = MicroBatches(objective, hp, net, device, accumulate)
    steps(net, objective, hp, source, optimizer, numbers, cut=micro)

A loss is a sum over rows or tokens, divided by totals of the whole step. So losses of pieces add
up, and so do their gradients. Only an objective that is `coupled` reads log-probs of rows in other
pieces (KTO's reference point, RPO's comparisons). There each piece takes the loss of the whole
step, with a gradient for its own log-probs only; all others are numbers:
    dL/dw = sum over pieces of  sum over rows of the piece  dL/dlogp dlogp/dw
A process with one piece knows its log-probs from the forward. With more, a pass without gradient
comes first.
"""
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from nanouft.loop import Device
from nanouft.objective import Batch, Objective
from nanouft.run.processes import gathered_once


class MicroBatches:
    def __init__(self, objective: Objective, hp: Any, net: nn.Module, device: Device,
                 accumulate: int):
        self.objective, self.hp, self.device = objective, hp, device
        self.net: Any = net                             # of several processes it has no_sync()
        self.accumulate = accumulate
        self.parts = accumulate * device.processes
        self.coupled = objective.coupled and self.parts > 1
        self.step = Batch({})                           # of coupled rows: the whole step

    def pieces(self, batch: Batch) -> Iterator[Batch]:
        """The pieces of this process, on its device. After the last one the gradients of all
        processes are added up."""
        first = self.device.rank * self.accumulate
        mine = [batch.piece(first + i, self.parts).to(self.device.name)
                for i in range(self.accumulate)]
        if self.coupled:
            self.step = batch.to(self.device.name)
            if self.accumulate > 1:
                self.look_ahead(mine)
        for piece in mine:
            wait = hasattr(self.net, "no_sync") and piece is not mine[-1]
            with self.net.no_sync() if wait else gathered_once(self.net):
                yield piece

    def loss(self, piece: Batch, hp: Any) -> tuple[Tensor, dict]:
        """objective.loss; over all pieces, losses and metrics add up to those of the step."""
        if not self.coupled:
            return self.objective.loss(piece, hp)
        if self.accumulate == 1:
            self.share([piece])
        seqs = {role: replace(s, logp=put(s.logp, piece, role))
                for role, s in self.step.seqs.items()}
        loss, metrics = self.objective.loss(replace(self.step, seqs=seqs), hp)
        # The values of all pieces add up to the loss of the step; the gradient stays whole.
        others = (1 - 1 / self.parts) * loss.detach()
        return loss - others, {name: value / self.parts for name, value in metrics.items()}

    @torch.no_grad()
    def look_ahead(self, mine: list[Batch]) -> None:
        """A pass without gradient, for the log-probs of all pieces."""
        for piece in mine:
            with self.device.autocast():
                self.objective.forward(self.net, piece, self.hp)
        self.share(mine)

    @torch.no_grad()
    def share(self, mine: list[Batch]) -> None:
        """Write the log-probs of the whole step, those of other processes too."""
        for role, s in self.step.seqs.items():
            s.logp = torch.zeros_like(s.mask, dtype=mine[0].seqs[role].logp.dtype)
            for piece in mine:
                s.logp = put(s.logp, piece, role)
            s.logp = self.device.sum(s.logp)


def put(logp: Tensor, piece: Batch, role: str) -> Tensor:
    """(B,T) log-probs of the step, with those of the piece in their places."""
    here = piece.seqs[role].logp                        # (b,t), fewer rows and perhaps less padding
    b, t = here.shape
    logp = logp.clone()
    logp[piece.offset:piece.offset + b, :t] = here
    return logp
