"""GPT-2 folders of transformers, read: config.json and model.safetensors. Plain numbers and tensors only.

    model = read_gpt("out/my-run")              # save.py writes such a folder

What this GPT would compute differently without a word is refused, in one line that names file and entry, or left to
transformers (`is_foreign`). Pickled weights are never loaded. transformers keeps four matrices of each layer as Conv1D,
(in, out); nn.Linear has (out, in).
"""
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nanouft.errors import UserError, quoted
from nanouft.gpt import CONV1D, GPT, GPTConfig
from nanouft.run import tensors
from nanouft.run.storage import loads, regular

KEYS = {"n_ctx": "n_positions", "eps": "layer_norm_epsilon", "init_std": "initializer_range"}     # in config.json
OLD_MASKS = ("attn.bias", "attn.masked_bias")       # old folders also keep the causal mask
WEIGHTS = "model.safetensors"


def is_foreign(folder: Path) -> bool:
    """Is it a model that our GPT does not compute, but transformers may: a Llama, a GPT-2 with other settings, weights
    in several files? False for our own kind, and for a config.json that cannot be read (read_sizes says why)."""
    try:
        d = read_config(folder)
    except UserError:
        return False
    return d["model_type"] != "gpt2" or bool(other_settings(d)) or (folder / f"{WEIGHTS}.index.json").exists()


def read_config(folder: Path) -> dict:
    """config.json, if it names a model_type; else UserError."""
    file = folder / "config.json"
    try:
        d = loads(regular(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder}: no config.json; --init wants a GPT-2 folder (config.json, model.safetensors)")
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read as JSON ({e})")
    if not isinstance(d, dict) or not isinstance(d.get("model_type"), str):
        raise UserError(f"{file}: names no model_type; nanouft's GPT reads 'gpt2' only")
    return d


def other_settings(d: dict) -> list[tuple[str, object]]:
    """[(key, the value that this GPT computes)] of all that a GPT-2's config.json wants otherwise."""
    width = d.get("n_embd")
    same = {"activation_function": ("gelu_new", "gelu_pytorch_tanh"), "scale_attn_by_inverse_layer_idx": (False,),
            "scale_attn_weights": (True,), "n_inner": (None, 4 * width if type(width) is int else None),
            "tie_word_embeddings": (True,)}
    return [(key, allowed[0]) for key, allowed in same.items() if key in d and d[key] not in allowed]


def read_gpt(folder: str | Path) -> GPT:
    """UserError, one line, on anything that this GPT would not compute."""
    folder = Path(folder)
    model = GPT(GPTConfig(**read_sizes(folder)))
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    model.load_state_dict(read_weights(folder, shapes))
    return model


def read_sizes(folder: Path) -> dict:
    """The fields of GPTConfig. UserError for a folder that is none of GPT-2's, asks for another computation, or tells
    other sizes than its weights have: of those only the header is read, so nothing large is built in vain."""
    d, file = read_config(folder), folder / "config.json"
    if d["model_type"] != "gpt2":
        raise UserError(f"{file}: describes {quoted(d['model_type'])}; nanouft's GPT reads model_type 'gpt2' only")
    try:
        sizes = {"vocab_size": d["vocab_size"], "n_ctx": d.get("n_positions", 1024), "n_layer": d["n_layer"],
                 "n_head": d["n_head"], "n_embd": d["n_embd"]}
    except KeyError as e:
        raise UserError(f"{file}: a size is missing ({e})")
    floats = {"eps": d.get("layer_norm_epsilon", 1e-5), "init_std": d.get("initializer_range", 0.02)}
    for name, x in [*sizes.items(), *floats.items()]:
        whole = name in sizes
        if type(x) not in (int, *(() if whole else (float,))) or not 0 < x <= (math.inf if whole else 1):
            kind = "a whole number above 0" if whole else "a number above 0 and at most 1"
            raise UserError(f"{file}: {KEYS.get(name, name)} is {quoted(x)}, not {kind}")
    for key, ours in other_settings(d):
        raise UserError(f"{file}: {key} = {quoted(d[key])}, but this GPT computes {ours!r} only")
    if sizes["n_embd"] % sizes["n_head"]:
        raise UserError(f"{file}: n_embd must be a multiple of n_head")
    C, last = sizes["n_embd"], f"h.{sizes['n_layer'] - 1}.ln_2.weight"
    stored = {bare(name): shape for name, (shape, _) in read(folder, tensors.header).items()}
    for name, shape in (("wte.weight", (sizes["vocab_size"], C)), ("wpe.weight", (sizes["n_ctx"], C)), (last, (C,))):
        check_shape(folder / "model.safetensors", name, stored.get(name), shape)
    return sizes | floats


def read_weights(folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A tensor for each name of `shapes`, in fp32. UserError if one is missing, of another shape, or left over."""
    file = folder / "model.safetensors"
    weights = {bare(name): w for name, w in read(folder, load_file).items()}
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
        check_shape(file, name, None if w is None else tuple(w.shape), shape)
        if not w.is_floating_point():
            raise UserError(f"{file}: {name} holds {w.dtype}, no weights; take another model")
        found[name] = w.float()
    return found


def bare(name: str) -> str:
    return name.removeprefix("transformer.")


def check_shape(file: Path, name: str, got: tuple[int, ...] | None, wanted: tuple[int, ...]) -> None:
    if got != wanted:
        there = "missing" if got is None else f"of shape {got}"
        raise UserError(f"{file}: {name} is {there}, config.json asks for {wanted}")


def read(folder: Path, how: Callable[[Path], dict]) -> dict:
    """how(model.safetensors), or one line that says why it cannot be read."""
    file = folder / WEIGHTS
    if not file.exists():
        raise no_weights(folder)
    try:
        return how(regular(file))
    except (SafetensorError, OSError, ValueError) as e:
        raise UserError(f"{file}: damaged or not a safetensors file ({' '.join(str(e).split())})")


def no_weights(folder: Path) -> UserError:
    """What to say of a folder without safetensors."""
    pickled = next((f.name for kind in ("*.bin", "*.pt") for f in sorted(folder.glob(kind))), None)
    if pickled is None:
        return UserError(f"{folder}: no model.safetensors there")
    return UserError(f"{folder / pickled}: pickled weights are never loaded (unpickling runs code); save the model "
                     "again as safetensors: transformers' from_pretrained(DIR).save_pretrained(NEW), if you trust it")
