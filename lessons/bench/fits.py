"""Which models fit on which card: the estimate that a run prints, as the table of docs/data.md.

    python -m lessons.bench.fits             # about a minute; needs pip install -e ".[hf]"

A model is built with one layer and with two, without its weights' values, and the bytes of a token
are continued to all its layers. Nothing of it needs a card.
"""
import argparse
import sys

import torch

from nanouft.models.hf import HFModel
from nanouft.plumbing.entry import command
from nanouft.plumbing.printing import say
from nanouft.run.memory import MARGIN, bytes_of_training, bytes_per_token

CARDS = (8, 12, 16, 24, 80)             # GB
CUDA = 0.5e9                            # bytes that CUDA takes for itself
TOKENS = 512                            # of a row
# layers, width, width of the MLP, heads, heads of keys, words; the output matrix is the embedding's
SIZES = {"135M (SmolLM2)": (30, 576, 1536, 9, 3, 49_152),
         "0.5B (Qwen2.5)": (24, 896, 4864, 14, 2, 151_936),
         "1B (Llama 3.2)": (16, 2048, 8192, 32, 8, 128_256),
         "3B (Llama 3.2)": (28, 3072, 8192, 24, 8, 128_256)}


def model_of(size: tuple, layers: int, lora: bool, place: str) -> HFModel:
    """A model of this size with so many layers. On "meta" it takes no memory, and cannot be
    called."""
    import transformers
    _, width, mlp, heads, keys, words = size
    config = transformers.LlamaConfig(
        vocab_size=words if place == "meta" else 64, hidden_size=width, intermediate_size=mlp,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=keys,
        tie_word_embeddings=True)
    with torch.device("meta"):
        net = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model = HFModel(net.to_empty(device=place).eval(), 2048)
    if lora:
        model.add_lora(16, 0, torch.bfloat16)
    model.cfg.vocab_size = words
    return model


def fixed_and_token(size: tuple, lora: bool, again: bool) -> tuple[float, float]:
    """(bytes without any row, bytes of a token) of training; `again`: activations twice."""
    whole, of_token = model_of(size, size[0], lora, "meta"), []
    weights = sum(p.numel() * p.element_size() for p in whole.parameters())
    for layers in (1, 2):
        model = model_of(size, layers, lora, "cpu")
        if again:
            model.activation_checkpointing_enable()
        of_token.append(bytes_per_token(model))
    one, two = of_token
    fixed = CUDA + weights + MARGIN + bytes_of_training(whole)
    return fixed, one + (size[0] - 1) * (two - one)


def line_of(name: str, lora: bool) -> str:
    """A line of the table: rows that fit without activation checkpointing, and with it."""
    cells, about = list[list[int]](), list[str]()
    for again in (False, True):
        fixed, token = fixed_and_token(SIZES[name], lora, again)
        about.append(f"{token / 1e6:.1f}")
        cells.append([int((card * 1e9 - fixed) / (TOKENS * token)) for card in CARDS])
    both = [f"{max(0, a)}, {b}" if b > 0 else "–" for a, b in zip(*cells)]
    what = "`--lora 16`" if lora else "all weights"
    return f"| {name} | {what} | {' | '.join(both)} | {', '.join(about)} MB |"


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(prog="python -m lessons.bench.fits", description=__doc__,
                            formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)
    say(f"| model | what is trained | {' | '.join(f'{card} GB' for card in CARDS)} | a token |",
        "|" + "---|" * (len(CARDS) + 3), sep="\n")
    for name in SIZES:
        for lora in (False, True):
            say(line_of(name, lora))
    return 0


if __name__ == "__main__":
    sys.exit(command(main))
