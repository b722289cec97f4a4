"""What a claim measures of a model beside its scores: how likely right answers are, and KL.

    logp    (families, 2) nats per token of held-out pairs, of the chosen and of the rejected
            answer: the mean over an answer's tokens, then over the pairs of a family
    kl      (families,) nats of a whole answer: KL(model || start) over answers that the model
            samples, as the sum over their tokens of the KL of both next-token distributions
"""
import numpy as np
import torch

from lessons.evidence.claim import Claim
from nanouft import world
from nanouft.data.batches import encode
from nanouft.data.selection import pair_rows
from nanouft.loop import Device
from nanouft.models.folders import start_model
from nanouft.run.evaluation import answer_rows
from nanouft.run.reference import logps

PAIRS = 40                      # held-out pairs of each family
SAMPLES = 20                    # sampled answers of each family


def measure(claim: Claim, model, tok, start: str) -> dict[str, np.ndarray]:
    """All that the claim measures, by name. start: the folder of the model from which kl counts."""
    model.eval()
    found = {}
    if "logp" in claim.measured:
        found["logp"] = np.array([logp_of_pairs(claim, family, model, tok)
                                  for family in claim.families], np.float32)
    if "kl" in claim.measured:
        reference = start_model(start)[0].eval()
        found["kl"] = np.array([kl_of_answers(claim, family, model, reference, tok)
                                for family in claim.families], np.float32)
    return found


def logp_of_pairs(claim: Claim, family: str, model, tok) -> list[float]:
    """[chosen, rejected]: nats per token."""
    rows = world.rows("test", "pairs", PAIRS, claim.prompts, skills=(family,))
    data, _ = encode(pair_rows(rows), tok, model.cfg.n_ctx)
    numbers = logps(data, model, tok.pad, Device("cpu"))
    return [float(np.mean([number[role].sum() / sum(e.seqs[role].mask[1:])
                           for number, e in zip(numbers, data)]))
            for role in ("chosen", "rejected")]


def kl_of_answers(claim: Claim, family: str, model, reference, tok) -> float:
    """KL(model || reference) in nats of a whole answer, a mean over sampled answers."""
    rows = world.rows("test", "prompts", SAMPLES, claim.prompts, skills=(family,))
    answers = answer_rows(model, tok, rows, max_new=claim.max_new, temperature=1.0,
                          seed=claim.prompts)
    return float(np.mean([kl_of_answer(tok.prompt_ids(row.prompt), answer.ids, model, reference)
                          for row, answer in zip(rows, answers)]))


@torch.no_grad()
def kl_of_answer(prompt: list[int], answer: list[int], model, reference) -> float:
    """The sum over the answer's tokens of KL(model || reference) of the next token."""
    ids = torch.tensor([prompt + list(answer)])                             # (1,T)
    spoken = slice(len(prompt) - 1, ids.shape[1] - 1)       # here the answer's tokens are predicted
    here, there = (net(ids)[0, spoken].float().log_softmax(-1) for net in (model, reference))
    return float((here.exp() * (here - there)).sum())
