"""Extra to lesson 00: do the two pushes that DPO gives to <|end|> cancel?

    python lessons/extras/cancel.py         # half a minute on one idle core

DPO pushes the <|end|> of the chosen answer up and that of the rejected answer down. The two stand
after different words. So we ask the base, before any training: a small step along each of these
pushes, how much does it change log p(<|end|>) in right answers to new questions? To first order
that is a product of two gradients. What the chosen <|end|> gives is called 1.
"""
import torch

from nanouft import world
from nanouft.data.batches import collate, encode
from nanouft.models.load import start_model
from nanouft.objectives import OBJECTIVES

ROWS = 64


def batch_of(name: str, rows):
    """These rows as one batch, with the base's log-probs written into it."""
    objective = OBJECTIVES[name]
    data, _ = encode(objective.rows(rows, objective.hp()), tok, base.cfg.n_ctx)
    batch = collate(data, range(len(data)), tok.pad)
    objective.forward(base, batch, objective.hp())
    return batch


def gradient(x) -> torch.Tensor:
    parts = torch.autograd.grad(x, list(base.parameters()), retain_graph=True)
    return torch.cat([g.flatten() for g in parts])


def end_and_rest(s) -> tuple:
    """The sums of the log-probs of <|end|>, and of the other tokens of the answers."""
    logp = s.logp.masked_fill(s.mask == 0, 0)
    end = s.targets == tok.end
    return logp[end].sum(), logp[~end].sum()


torch.set_num_threads(2)
base, tok = start_model("base")
new = batch_of("sft", world.rows("val", "demos", 60, seed=0, skills=("list",)))
end, _ = end_and_rest(new.seqs["answer"])
wanted = gradient(end / 60)
for pairs, skills in (("lists", ("list",)), ("all families", None)):
    which = {"skills": skills} if skills else {}
    batch = batch_of("dpo", world.rows("train", "pairs", ROWS, seed=0, **which))
    chosen_end, chosen_rest = end_and_rest(batch.seqs["chosen"])
    rejected_end, rejected_rest = end_and_rest(batch.seqs["rejected"])
    unit = gradient(chosen_end) @ wanted
    print(f"pairs of {pairs}: what each push does to <|end|> in new lists")
    for name, pushed in (("chosen <|end|>", chosen_end), ("rejected <|end|>", -rejected_end),
                         ("other chosen tokens", chosen_rest),
                         ("other rejected tokens", -rejected_rest)):
        print(f"    {name:<22} {gradient(pushed) @ wanted / unit:+.2f}")
