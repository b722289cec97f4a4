"""GPT-2 folders of transformers, read and written: config.json and model.safetensors. Plain numbers and tensors only.

    sizes = read_sizes(folder)                   # {"vocab_size": ..., "n_layer": ...}: what GPTConfig takes
    weights = read_weights(folder, shapes)       # {name: tensor}, named and shaped as in gpt.py
    write(folder, sizes, weights)

What this GPT would compute differently without a word is refused, in one line that names file and entry. Pickled
weights are never loaded. transformers keeps four matrices of each layer as Conv1D, (in, out); nn.Linear has (out, in).
"""
import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanouft.shell.config import UserError

CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
OLD_MASKS = ("attn.bias", "attn.masked_bias")       # old folders also keep the causal mask


def write(folder: Path, sizes: dict, weights: dict[str, Tensor], end_id: int | None, dtype: torch.dtype) -> None:
    """config.json and model.safetensors as transformers' GPT2LMHeadModel expects them."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for name, w in weights.items():
        w = w.detach().T if name.endswith(CONV1D) else w.detach()
        stored[f"transformer.{name}"] = w.to(dtype).cpu().contiguous()
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": sizes["vocab_size"],
        "n_positions": sizes["n_ctx"], "n_ctx": sizes["n_ctx"], "n_embd": sizes["n_embd"],
        "n_layer": sizes["n_layer"], "n_head": sizes["n_head"], "n_inner": None, "activation_function": "gelu_new",
        "layer_norm_epsilon": sizes["eps"], "initializer_range": sizes["init_std"], "resid_pdrop": 0.0,
        "embd_pdrop": 0.0, "attn_pdrop": 0.0, "tie_word_embeddings": True, "bos_token_id": end_id,
        "eos_token_id": end_id, "torch_dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def read_sizes(folder: Path) -> dict:
    """The fields of GPTConfig. UserError for a folder that is none of GPT-2's, or asks for another computation."""
    file = folder / "config.json"
    try:
        d = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: no config.json; --init wants a GPT-2 folder (config.json, model.safetensors)")
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read as JSON ({e})")
    if not isinstance(d, dict) or d.get("model_type") != "gpt2":
        kind = d.get("model_type") if isinstance(d, dict) else type(d).__name__
        raise UserError(f"{file}: describes {kind!r}; nanouft's GPT reads model_type 'gpt2' only")
    try:
        sizes = {"vocab_size": int(d["vocab_size"]), "n_ctx": int(d.get("n_positions", 1024)),
                 "n_layer": int(d["n_layer"]), "n_head": int(d["n_head"]), "n_embd": int(d["n_embd"])}
        floats = {"eps": float(d.get("layer_norm_epsilon", 1e-5)), "init_std": float(d.get("initializer_range", 0.02))}
    except (KeyError, TypeError, ValueError, OverflowError) as e:
        raise UserError(f"{file}: a size is missing or not a number ({e})")
    same = {"activation_function": ("gelu_new", "gelu_pytorch_tanh"), "scale_attn_by_inverse_layer_idx": (False,),
            "scale_attn_weights": (True,), "n_inner": (None, 4 * sizes["n_embd"]), "tie_word_embeddings": (True,)}
    for key, allowed in same.items():
        if key in d and d[key] not in allowed:
            raise UserError(f"{file}: {key} = {d[key]!r}, but this GPT computes {allowed[0]!r} only")
    if min(sizes.values()) < 1 or sizes["n_embd"] % sizes["n_head"]:
        raise UserError(f"{file}: sizes must be positive and n_embd a multiple of n_head")
    return sizes | floats


def read_weights(folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A tensor for each name of `shapes`, in fp32. UserError if one is missing, of another shape, or left over."""
    file = folder / "model.safetensors"
    weights = {name.removeprefix("transformer."): w for name, w in _load(folder, file).items()}
    head = weights.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, weights.get("wte.weight", head)):
        raise UserError(f"{folder}: its output head is not tied to its embedding; nanouft's GPT needs them tied")
    for name in weights:
        if name.startswith("h.") and name not in shapes and not name.endswith(OLD_MASKS):
            raise UserError(f"{file}: {name} has no place in the GPT that config.json describes")
    found = {}
    for name, shape in shapes.items():
        w = weights.get(name)
        if w is not None and name.endswith(CONV1D):
            w = w.T
        if w is None or tuple(w.shape) != shape:
            got = "missing" if w is None else f"of shape {tuple(w.shape)}"
            raise UserError(f"{file}: {name} is {got}, config.json asks for {shape}")
        found[name] = w.float()
    return found


def _load(folder: Path, file: Path) -> dict[str, Tensor]:
    if not file.exists():
        pickled = next((f.name for kind in ("*.bin", "*.pt") for f in folder.glob(kind)), None)
        if pickled:
            raise UserError(f"{folder / pickled}: pickled weights are never loaded (unpickling runs code); "
                            "save the model again as safetensors")
        raise UserError(f"{folder}: no model.safetensors there")
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as e:
        raise UserError(f"{file}: damaged or not a safetensors file ({str(e).splitlines()[0]})")
