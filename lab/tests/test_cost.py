"""What training costs: counted FLOPs and tokens, against torch's counter and against the logs."""
from dataclasses import replace

import pytest
import torch

from lab import cost
from lab.cell import Cell
from lab.cells import run_cell
from nanouft import world
from nanouft.gpt import GPT, NANO
from nanouft.models.load import start_model
from nanouft.models.save import add_value_head
from nanouft.sampling import generate

pytestmark = pytest.mark.usefixtures("brief")


def test_flops_are_those_that_torch_counts():
    """Every matrix product but attention's, forward and backward, against torch's own counter.
    (Attention: torch counts a full square where causal attention reads half, so it is taken out of
    both.)"""
    from torch.utils.flop_counter import FlopCounterMode
    model = GPT(replace(NANO, n_layer=2, n_embd=16, vocab_size=64), seed=0)
    ids = torch.randint(64, (3, 10))
    at = torch.arange(10) > torch.tensor([[2], [5], [7]])
    attention = 3 * 4 * 2 * 16 * (10 * 11 / 2)
    with FlopCounterMode(display=False) as counter, cost.counted() as meter:
        model(ids, want="logp", targets=ids, at=at).sum().backward()
    counts = counter.get_flop_counts()["Global"].items()
    products = sum(n for op, n in counts if "mm" in str(op) and "bmm" not in str(op))
    assert meter.flops - 3 * attention == products
    with cost.counted() as by_number:
        model(ids, want="logp", targets=ids, at=at.flatten().nonzero()[:, 0]).sum().backward()
    assert by_number.flops == meter.flops, ("places by number cost what the same places of a mask "
                                            "cost")
    before = meter.flops
    with torch.no_grad(), cost.counted() as other:
        model(ids, want="hidden")
    assert meter.flops == before, "outside its block nothing is counted"
    assert other.flops == cost.forward_flops(model.cfg, 3, 10, 0), "no head, no backward"
    add_value_head(model, "base")
    with torch.no_grad(), cost.counted() as critic:
        model(ids, want="value")
    assert critic.flops == other.flops, "a value head is one column, not a vocabulary"


def test_samples_are_paid_token_by_token():
    """Decoding with the cache costs what reading the same tokens at once costs, but for the head at
    every step."""
    model, tok = start_model("base")
    prompt = tok.prompt_ids(world.rows("test", "prompts", 9, 0)[0].prompt)
    with cost.counted() as meter:
        generate(model, [prompt], stop=-1, pad=tok.pad, max_new=5)
    read = cost.forward_flops(model.cfg, 1, len(prompt) + 4, 0)  # the fifth token is never read
    heads = meter.flops - read
    one = 2 * model.cfg.n_embd * model.cfg.vocab_size
    assert heads % one == 0 and 5 <= heads / one <= len(prompt) + 4


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_counted_tokens_are_those_that_training_logs(name, tiny_base):
    """The twin makes the steps that train makes. (KTO logs its mismatched answers too; no gradient
    flows into them.)"""
    flags = ("--objective", name, "--rows", "40", "--batch-size", "8", "--steps", "4")
    logged = run_cell(Cell(flags, 3, str(tiny_base), "val", 1))["tokens"]
    counted = cost.cost_of([*flags, "--seed", "3"])
    assert counted.steps == 4
    assert counted.tokens < logged if name == "kto" else counted.tokens == logged


def test_what_is_made_first_is_paid_too():
    """SFTMix wants two short SFT runs: their FLOPs are part of its own, and told apart."""
    made = [cost.cost_of(["--objective", "sft", "--epochs", e, "--seed", "3"]) for e in "12"]
    short, long = (cost.cost_of(["--objective", "sftmix", "--seed", "3", "--steps", n])
                   for n in "24")
    assert short.first == long.first == sum(m.flops for m in made)
    assert short.steps == 2 and short.tokens > sum(m.tokens for m in made)
    assert long.flops - long.first > short.flops - short.first > 0


def test_relative_costs():
    """IFT's extra forward without gradient is a third of a forward and backward; DFT is SFT with
    other weights; twice the steps cost twice; a chain costs its stages."""
    few = ("--rows", "160")
    sft = cost.cost_of(["--objective", "sft", *few])
    assert cost.cost_of(["--objective", "ift",
                         *few]).flops / sft.flops == pytest.approx(4 / 3, abs=0.001)
    assert cost.cost_of(["--objective", "dft", *few]) == sft
    assert cost.cost_of(["--objective", "sft", "--epochs", "6",
                         *few]).flops / sft.flops == pytest.approx(2, abs=0.05)
