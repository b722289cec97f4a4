"""Where a run starts: a model and its tokenizer, from a folder (save.py writes one).

    model, tok = start_model("base")            # the shipped base, any model folder, hub:owner/name
"""
import shlex
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import torch.nn as nn

from nanouft.data.tokenizer import Tokenizer, nano
from nanouft.errors import UserError
from nanouft.gpt import BASE, GPT, shipped_base
from nanouft.models import folder as folders
from nanouft.models.tokenizer_files import brings_template, load_tokenizer
from nanouft.run.schema import read
from nanouft.run.storage import HUB, not_finite
from nanouft.run.words import one_line, optional

OF_HUB = ["*.json", "*.safetensors", "*.jinja", "*.model", "merges.txt"]    # no pickles, no code


def folder_of(init: str) -> Path:
    """Where a model lies. One of the hub is downloaded into the cache of huggingface_hub."""
    if not str(init).startswith(HUB):
        return BASE if init == "base" else Path(init)
    hub = optional("huggingface_hub", f"{init}: a model on the Hugging Face hub")
    try:
        return Path(hub.snapshot_download(init.removeprefix(HUB), allow_patterns=OF_HUB))
    except Exception as e:              # no network, no such name, a model that needs a login ...
        raise UserError(f"{init}: cannot be downloaded ({type(e).__name__}: {one_line(str(e))}); "
                        "check the name, hub:owner/name, and the network") from None


def start_model(init: str, adapter: bool = False) -> tuple[GPT, Tokenizer]:
    """The model and tokenizer of `--init`. New chat tokens get new rows. UserError for a folder
    that holds no model. `adapter`: read the model through transformers even if it is one of ours.
    """
    if init == "base" and not adapter:
        return shipped_base(), nano()
    folder = folder_of(init)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{init}: is a file; unpack it, or give the folder of its config.json")
    if not folder.is_dir():
        raise UserError(f"{init}: no such folder; give 'base', a model folder (config.json, "
                        "model.safetensors), or hub:owner/name")
    if (folder / "run.json").exists():
        if not (folder / "config.json").exists():
            raise UserError(f"--init {init}: that run has not finished; finish it with --resume "
                            f"{shlex.quote(init)}")
        if read(folder / "run.json").get("command") == "reward":
            raise UserError(f"{init}: is a reward model, which cannot speak; it goes with --reward")
    return read_model(folder, adapter)


def read_tokenizer(folder: Path) -> Tokenizer:
    """Ours for our GPT, unless its folder brings another chat template; else transformers'."""
    if folders.is_foreign(folder) or folder != BASE and brings_template(folder):
        return hf_room(folder).TransformersTokenizer(folder)
    return nano() if folder == BASE else load_tokenizer(folder)


def read_model(folder: Path, adapter: bool = False) -> tuple[GPT, Tokenizer]:
    """Our GPT where it computes what config.json says, else transformers; and its tokenizer."""
    foreign = folders.is_foreign(folder)
    model: Any                                          # a GPT; a TransformersModel is one
    if foreign or adapter:
        if not any(folder.glob("*.safetensors")):
            raise folders.no_weights(folder)
        model = hf_room(folder).read_transformers(folder)
    else:
        model = folders.read_gpt(folder)
        if name := not_finite(dict(model.named_parameters())):
            raise UserError(f"{folder}: holds weights that are not finite ({name}); take another "
                            "model")
    tok = read_tokenizer(folder)
    if foreign:
        tok.stops = {tok.end, *model.ends()}
    tok.check_fits(model.cfg.vocab_size, folder)
    known = tok.n_text if foreign else model.cfg.vocab_size     # a foreign one may have spare rows
    if tok.n_vocab > known:
        grow_vocab(model, tok.n_vocab, known)
    return model, tok


def hf_room(folder: Path) -> ModuleType:
    """nanouft/hf, which is optional: it is imported only here."""
    try:
        from nanouft import hf
        return hf
    except ImportError:
        raise UserError(f"{folder}: this model, its chat template, --lora or --checkpointing need "
                        "nanouft/hf, a folder that is missing; install nanouft again") from None


@torch.no_grad()
def grow_vocab(model: Any, size: int, known: int = 0) -> None:
    """Rows for new tokens. `known`: how many ids a model of transformers was trained on."""
    if hasattr(model, "tables"):
        model.widen(size)
        for table in model.tables():
            table.weight[known:size] = new_rows(table.weight[:known], size - known)
        model.new_rows = True
        return
    old = model.wte.weight                                              # (V,C)
    new = new_rows(old, size - old.shape[0])
    model.wte = nn.Embedding.from_pretrained(torch.cat([old, new]), freeze=False)
    model.cfg = replace(model.cfg, vocab_size=size)                     # NANO may be shared


def new_rows(old: torch.Tensor, n: int) -> torch.Tensor:
    """(V,C) -> (n,C): the mean of the old rows and a tenth of their spread, so that a new token is
    neither likely nor unlikely."""
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(n, old.shape[1], generator=rng).to(old)
    return old.mean(0) + 0.1 * old.std(0) * noise
