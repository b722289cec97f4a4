"""Probes: what a score does not show. Its own mistakes, diversity, distance, what is forgotten.

    python -m lab.probes --init out/ift             # about 5 s

MEANING, below, explains each. IFT's temporal residual is about `own_prefix_gap`. It and `recovery`
use families with one right answer and one token per word: rules, sort, reverse. exp(corpus_nll) is
the perplexity.
"""
import sys
from dataclasses import dataclass

import numpy as np
import torch

from nanouft import world
from nanouft.data.batches import collate, encode
from nanouft.data.rows import Row
from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import UserError, in_range
from nanouft.eval.held_out import mean_loss
from nanouft.gpt import GPT
from nanouft.models.load import start_model
from nanouft.objective import Seqs
from nanouft.run import config
from nanouft.run.words import choose
from nanouft.sampling import answer_rows
from nanouft.world.documents import token_rows

EXACT = ("rules", "sort", "reverse")
MEANING = {
    "own_prefix_gap": "nats per token lost after its own words; 0 = they do not confuse it",
    "recovery_1": "share of the later words still right after one forced wrong word",
    "recovery_2": "the same after two",
    "diversity": "share of different answers among four samples a prompt, temperature 1",
    "kl_own": "nats per token, KL(model || base) along its own samples",
    "kl_gold": "the same along right answers",
    "kl_back": "KL(base || model) there; large = it unlearnt what the base did",
    "corpus_nll": "nats per token on fresh documents of NanoWorld's corpus; large = it forgot them",
}


def probe(model: GPT, base: GPT, tok: Tokenizer, split: str = "test", items: int = 30,
          seed: int = 0) -> dict[str, float]:
    """All probes, on `items` prompts per family. Both models on one device, in fp32."""
    rows = world.rows(split, "prompts", items * len(world.FAMILIES), seed)
    exact = [r for r in rows if r.family in EXACT]
    four = [r for r in rows for _ in range(4)]
    samples = [tok.decode(a.ids).strip()
               for a in answer_rows(model, tok, four, temperature=1.0, seed=seed)]
    gold = seqs_of([right_answer(r) for r in rows], rows, model, tok)
    own = seqs_of([samples[4 * i] or "?" for i in range(len(rows))], rows, model, tok)
    different = [len(set(samples[i:i + 4])) / 4 for i in range(0, len(samples), 4)]
    corpus = torch.from_numpy(token_rows(64, 129, 1_000_000 + seed, tok))
    return {
        "own_prefix_gap": own_prefix_gap(model, tok, exact),
        "recovery_1": recovery(model, tok, exact, 1), "recovery_2": recovery(model, tok, exact, 2),
        "diversity": float(np.mean(different)),
        "kl_own": kl(model, base, own), "kl_gold": kl(model, base, gold),
        "kl_back": kl(base, model, gold),
        "corpus_nll": mean_loss(model, corpus.to(model.wte.weight.device)),
    }


def right_answer(row: Row) -> str:
    return (row.answer or ())[0].text


def seqs_of(answers: list[str], rows: list[Row], model: GPT, tok: Tokenizer) -> Seqs:
    """One padded batch: these answers after the prompts of these rows."""
    answered = [r.with_roles({"answer": (r.prompt, world.as_answer(a))})
                for r, a in zip(rows, answers)]
    encoded, _ = encode(answered, tok, model.cfg.n_ctx)
    batch = collate(encoded, range(len(encoded)), tok.pad)
    return batch.to(model.wte.weight.device).seqs["answer"]


@torch.no_grad()
def own_prefix_gap(model: GPT, tok: Tokenizer, rows: list[Row]) -> float:
    """Mean log-prob of gold tokens after gold, minus after the model's own greedy tokens in their
    places."""
    s = seqs_of([right_answer(r) for r in rows], rows, model, tok)
    at = s.mask.bool()
    own, T = s.inputs.clone(), s.inputs.shape[1]
    for i, a in enumerate(answer_rows(model, tok, rows)):
        start = int(at[i].nonzero()[0]) + 1             # of the answer among the inputs
        n = int(at[i].sum()) - 1                        # answer tokens that are read: no <|end|>
        own[i, start:start + n] = torch.tensor((a.ids + [tok.end] * T)[:n], device=own.device)
    after_gold, after_own = (model(ids, want="logp", targets=s.targets, at=at)[at].mean()
                             for ids in (s.inputs, own))
    return float(after_gold - after_own)


def recovery(model: GPT, tok: Tokenizer, rows: list[Row], wrong: int) -> float:
    """Force `wrong` wrong first words, taken from the prompt so that the slip is plausible; the
    share of the later words that are right, place by place."""
    shares = []
    groups: dict[tuple[int, ...], list[tuple[Row, list[str]]]] = {}
    for r in rows:
        gold, asked = right_answer(r).split(), r.prompt[-1].text.replace(".", "").split()
        slips = [w for w in asked if w in gold and w not in gold[:wrong]][:wrong]
        if len(gold) > wrong and len(slips) == wrong:
            groups.setdefault(tuple(tok.encode(" " + " ".join(slips))), []).append((r, gold))
    for prior, members in groups.items():               # one batch for each forced beginning
        answers = answer_rows(model, tok, [r for r, _ in members], prior=list(prior))
        for (_, gold), a in zip(members, answers):
            words = tok.decode(a.ids).split()
            shares.append(np.mean([i < len(words) and words[i] == gold[i]
                                   for i in range(wrong, len(gold))]))
    return float(np.mean(shares)) if shares else float("nan")


@torch.no_grad()
def kl(p: GPT, q: GPT, s: Seqs) -> float:
    """Nats per token: KL(p || q) at every answer position, exact."""
    at = s.mask.bool()
    log_p, log_q = (m(s.inputs, want="logits", at=at).float().log_softmax(-1) for m in (p, q))
    return float((log_p.exp() * (log_p - log_q)).sum(-1).mean())


@dataclass
class Probes:
    init: str = "base"              # the model
    split: str = "test"             # NanoWorld split: val to choose, test to report
    items: int = 30                 # prompts per family
    seed: int = 0                   # which prompts


def main(argv=None) -> int:
    cfg, _ = config.parse(Probes, argv, "python -m lab.probes", __doc__)
    choose("--split", cfg.split, ("val", "test"))
    in_range(cfg, "items", low=1, high=10_000)
    (model, tok), (base, shipped) = start_model(cfg.init), start_model("base")
    if base.cfg != model.cfg or shipped.name != tok.name:
        raise UserError(f"--init {cfg.init}: has another shape or tokenizer than the shipped base, "
                        "which the probes compare it with")
    for name, value in probe(model, base, tok, cfg.split, cfg.items, cfg.seed).items():
        print(f"{name:<15} {value:7.3f}   {MEANING[name]}")
    return 0


if __name__ == "__main__":
    sys.exit(config.run(main))
