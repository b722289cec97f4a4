"""What a run leaves: a model and its tokenizer, in a folder that transformers opens; PPO's value
head beside them.

    save_model(folder, model, tok)
    write_gpt("out/copy", model, end_id=2)      # our GPT alone, as a GPT-2 folder
"""
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from safetensors import SafetensorError
from safetensors.torch import save_file

from nanouft.data.tokenizer import Tokenizer
from nanouft.errors import Diverged, UserError
from nanouft.gpt import CONV1D, GPT
from nanouft.models.load import folder_of
from nanouft.models.tokenizer_files import save_tokenizer
from nanouft.run import tensors
from nanouft.run.storage import not_finite, write_json

VALUE_FILE = "value_head.safetensors"


def write_gpt(folder: str | Path, model: GPT, end_id: int | None = None,
              dtype: torch.dtype = torch.float32) -> None:
    """config.json and model.safetensors as transformers' GPT2LMHeadModel expects them. A value head
    is left out."""
    folder, sizes, stored = Path(folder), asdict(model.cfg), {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, weight in model.named_parameters():
        if not name.startswith("value."):
            w = weight.detach().T if name.endswith(CONV1D) else weight.detach()
            stored[f"transformer.{name}"] = w.to(dtype).cpu().contiguous()
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    same = {key: sizes[key] for key in ("n_ctx", "n_embd", "n_layer", "n_head")}
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"],
        "vocab_size": sizes["vocab_size"], "n_positions": sizes["n_ctx"], **same,
        "n_inner": None, "activation_function": "gelu_new",
        "layer_norm_epsilon": sizes["eps"], "initializer_range": sizes["init_std"],
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "tie_word_embeddings": True,
        "bos_token_id": end_id, "eos_token_id": end_id,
        "torch_dtype": str(dtype).removeprefix("torch.")}
    write_json(folder / "config.json", config)


def add_value_head(model: GPT, init: str) -> None:
    """PPO's critic, one number a state: 0 at first, or the head that the run in `init` left."""
    model.value = nn.Linear(model.cfg.n_embd, 1)
    for p in model.value.parameters():
        nn.init.zeros_(p)
    if (file := folder_of(init) / VALUE_FILE).exists():
        try:
            head = tensors.load(file, tensors.wanted_of(model.value.state_dict()))
        except (SafetensorError, OSError, ValueError) as e:
            raise UserError(f"{file}: is damaged ({e}); copy it again, or delete it to begin with "
                            "a fresh critic")
        model.value.load_state_dict(head)


def save_model(folder: Path, model: Any, tok: Tokenizer, half: bool = False) -> None:
    """A folder that transformers opens: written beside, moved file by file, the weights last. A
    value head has no place in it: it gets a file of its own. UserError if a weight is not finite or
    the disk is full."""
    if name := not_finite(dict(model.named_parameters())):
        raise Diverged(f"weights are no longer finite at the end ({name}) and were not saved; "
                       "lower --lr")
    partial = folder / "partial-final"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if hasattr(model, "save_pretrained"):                   # a model of transformers
            model.save_pretrained(partial, tok.end)
        else:
            write_gpt(partial, model, tok.end, torch.float16 if half else torch.float32)
        if model.value:
            save_file({n: p.cpu() for n, p in model.value.named_parameters()}, partial / VALUE_FILE)
        save_tokenizer(tok, partial)
    except (OSError, SafetensorError) as e:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(f"{folder}: the model cannot be written ({e}); make room, the last saved "
                        "step is still whole")
    for file in partial.rglob("*.safetensors"):
        shutil.copymode(partial / "config.json", file)          # safetensors makes it private
    shutil.rmtree(folder / "adapter", ignore_errors=True)       # a folder needs an empty place
    for file in sorted(partial.iterdir(), key=lambda f: f.name == "model.safetensors"):
        os.replace(file, folder / file.name)
    partial.rmdir()
