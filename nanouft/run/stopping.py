"""Whether a model stops, and whether rows teach it to: python -m nanouft.pushes --end

    found = measure_ends(model, tok, encoded, device)       # of rows with role "answer"
    say(found.text())

A model that runs on to the limit has one of three faults. The template or the mask leaves the end
token out of the loss; or the end token has hardly any weight in the loss; or the model's own
answers go astray before they could end. Each figure tells one of these faults from the others.
"""
import math
import textwrap
from dataclasses import dataclass
from statistics import mean

import numpy as np
import torch

from nanouft.batch import write_logp
from nanouft.data.batches import Encoded, Tokens, collate
from nanouft.generate import longest_answer, stops
from nanouft.gpt import GPT
from nanouft.loop import Device
from nanouft.models.tokenizer import Tokenizer
from nanouft.objectives.ift import IFT, weights
from nanouft.plumbing.printing import quantity
from nanouft.plumbing.progress import progress
from nanouft.run.evaluation import answer_rows

MEASURED = 30           # rows that the model reads and answers, spread evenly over all
ENOUGH = 0.9            # from this share of the answers on a model stops, or finds the end likely


@dataclass
class Ends:
    answers: int                # answers that are trained on, in all rows
    trained: int                # end tokens that are trained on; every answer should have one
    without: list[str]          # rows with an answer that has none: Row.where
    nats: list[float]           # -log p of each end token after its right answer, measured rows
    weights: list[float]        # the weight of the same tokens under IFT; SFT's is 1
    stopped: int                # greedy answers that end by themselves
    asked: int                  # greedy answers in all
    max_new: int                # tokens that they may have
    longest: int                # tokens of the longest right answer among these rows

    @property
    def likely(self) -> int:
        """After how many right answers the end is more likely than all else together."""
        return sum(x < math.log(2) for x in self.nats)

    def text(self) -> str:
        """The figures in sentences of at most 80 columns; the last one says what they mean."""
        objective, n = IFT(), len(self.nats)
        lines = [f"These rows train on {quantity(self.trained, 'end tokens')} for "
                 f"{quantity(self.answers, 'answers')}; each answer should have one."]
        if self.without:
            more = f" and {len(self.without) - 5:,} more" if len(self.without) > 5 else ""
            lines.append(f"  rows without one: {'; '.join(self.without[:5])}{more}")
        if n:
            unlikely = 100 * sum(x > 1 for x in self.nats) / n
            settings = (f"{objective.variant} weights, lam {objective.lam}, "
                        f"gamma {objective.gamma}")
            lines += ["Weight of the end token in the loss: 1 under SFT, on average "
                      f"{mean(self.weights):.2f} under IFT ({settings}).",
                      f"After {self.likely} of {quantity(n, 'right answers')} the end token is "
                      "more likely than all else together.",
                      f"Its loss (-log p) is on average {mean(self.nats):.2f}; 0 would be certain. "
                      f"After {unlikely:.0f} % of them it is above 1."]
        lines.append(f"The model itself stops in {self.stopped} of "
                     f"{quantity(self.asked, 'answers')} within {self.max_new} tokens "
                     f"(the longest right one has {self.longest}; "
                     "each token is the most likely one).")
        lines.append(self.meaning())
        return "\n".join(x if x.startswith(" ") else textwrap.fill(x, 80) for x in lines)

    def meaning(self) -> str:
        """One sentence: what to do."""
        if missing := self.answers - self.trained:
            return (f"These rows do not teach a model to stop: {quantity(missing, 'answers')} "
                    "without a trained end token; repair the chat template before you train.")
        stops_now = self.stopped >= ENOUGH * self.asked
        knows = self.likely >= ENOUGH * len(self.nats)
        if stops_now and knows:
            return "This model stops, and where these answers do: it need not learn to stop."
        if stops_now:
            return ("This model stops, but not where these answers do: it has to learn where they "
                    "end.")
        if knows:
            return ("This model would end right answers, but its own go on: it has to learn the "
                    "answers, and then it will stop.")
        weight = mean(self.weights)
        if weight < ENOUGH:
            return (f"This model has to learn to stop: IFT gives the end {weight:.2f} of the "
                    "weight that SFT gives it, so IFT learns it later; give it more steps, or "
                    "--gamma 0.5.")
        return "This model has to learn to stop: SFT and IFT both give the end its full weight."


def end_places(t: Tokens, stop: set[int]) -> np.ndarray:
    """(ends,) positions of the end tokens that are trained on: each is the last token of a
    stretch of the mask, and a stop token."""
    last = np.flatnonzero((t.mask == 1) & (np.append(t.mask[1:], 0) == 0))
    return last[np.isin(t.ids[last], list(stop))]


@torch.no_grad()
def measure_ends(model: GPT, tok: Tokenizer, encoded: list[Encoded],
                 device: Device = Device()) -> Ends:
    """Count the end targets of all rows, and measure up to MEASURED of them. The rows are
    demonstrations (role "answer"), and there is at least one."""
    answers = [sum(turn.role == "assistant" for turn in e.row.roles["answer"][1]) for e in encoded]
    places = [end_places(e.seqs["answer"], tok.stops) for e in encoded]
    without = [e.row.where for e, n, at in zip(encoded, answers, places) if len(at) < n]
    numbers = range(0, len(encoded), -(-len(encoded) // MEASURED))
    nats, end_weights, objective = [], [], IFT()
    for i in progress(len(numbers), "reading", numbers):
        batch, at = collate(encoded, [i], tok.pad).to(device.name), places[i] - 1   # as targets
        s = batch.seqs["answer"]
        write_logp(model, batch)
        nats += (-s.logp[0, at]).tolist()
        objective.forward(model, batch)                             # now by the blended states
        nll = (-s.logp).masked_fill(s.mask == 0, 0)
        end_weights += weights(nll, s, objective.variant, objective.gamma)[0, at].tolist()
    max_new = longest_answer(model, tok)
    said = answer_rows(model, tok, [encoded[i].row for i in numbers], max_new=max_new)
    return Ends(answers=sum(answers), trained=sum(map(len, places)),
                without=without, nats=nats, weights=end_weights,
                stopped=sum(stops(a, tok) for a in said), asked=len(said), max_new=max_new,
                longest=max(int(encoded[i].seqs["answer"].mask.sum()) for i in numbers))
