"""GPT-2 folders of transformers, read: config.json and model.safetensors.

    model = read_gpt("out/my-run")              # save.py writes such a folder

What this GPT would compute differently is refused, in one line that names file and entry, or left
to transformers (`is_foreign`). Pickled weights are never loaded. transformers keeps four matrices
of each layer as Conv1D, (in, out); nn.Linear has (out, in).
"""
import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from nanouft.errors import UserError
from nanouft.gpt import CONV1D, GPT, GPTConfig
from nanouft.run import tensors
from nanouft.run.storage import read_json, regular
from nanouft.run.words import one_line, quoted

SIZES = {"vocab_size": "vocab_size", "n_ctx": "n_positions", "n_layer": "n_layer",
         "n_head": "n_head", "n_embd": "n_embd"}            # field of GPTConfig -> in config.json
FLOATS = {"eps": "layer_norm_epsilon", "init_std": "initializer_range"}
DEFAULTS = {"n_positions": 1024, "layer_norm_epsilon": 1e-5, "initializer_range": 0.02}
OLD_MASKS = ("attn.bias", "attn.masked_bias")       # old folders also keep the causal mask
WEIGHTS = "model.safetensors"


def is_foreign(folder: Path) -> bool:
    """Is it a model that our GPT does not compute, but transformers may: a Llama, a GPT-2 with
    other settings, weights in several files? False for our own kind, and for a config.json that
    cannot be read (read_sizes says why)."""
    try:
        d = read_config(folder)
    except UserError:
        return False
    return (d["model_type"] != "gpt2" or bool(other_settings(d))
            or (folder / f"{WEIGHTS}.index.json").exists())


def read_config(folder: Path) -> dict:
    """config.json, if it names a model_type; else UserError."""
    file = folder / "config.json"
    if not file.exists():
        raise UserError(f"{folder}: no config.json; --init takes a GPT-2 folder (config.json, "
                        f"{WEIGHTS})")
    d = read_json(file)
    if not isinstance(d.get("model_type"), str):
        raise UserError(f"{file}: names no model_type; nanouft's GPT reads 'gpt2' only")
    return d


def other_settings(d: dict) -> list[tuple[str, object]]:
    """[(key, the value that this GPT computes)] where the config.json of a GPT-2 has another."""
    width = d.get("n_embd")
    same = {"activation_function": ("gelu_new", "gelu_pytorch_tanh"),
            "scale_attn_by_inverse_layer_idx": (False,), "scale_attn_weights": (True,),
            "n_inner": (None, 4 * width if type(width) is int else None),
            "tie_word_embeddings": (True,)}
    return [(key, values[0]) for key, values in same.items() if key in d and d[key] not in values]


def read_gpt(folder: str | Path) -> GPT:
    """UserError, one line, on anything that this GPT would not compute."""
    folder = Path(folder)
    model = GPT(GPTConfig(**read_sizes(folder)))
    shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
    model.load_state_dict(read_weights(folder, shapes))
    return model


def read_sizes(folder: Path) -> dict:
    """The fields of GPTConfig. UserError for a folder that is not a GPT-2's, needs another
    computation, or names other sizes than its weights have: only the header of these is read, so
    nothing large is built for nothing."""
    d, file = read_config(folder), folder / "config.json"
    if d["model_type"] != "gpt2":
        raise UserError(f"{file}: describes {quoted(d['model_type'])}; nanouft's GPT reads "
                        "model_type 'gpt2' only")
    out = {}
    for name, key in (SIZES | FLOATS).items():
        if key not in DEFAULTS | d:
            raise UserError(f"{file}: a size is missing ({key!r})")
        out[name] = x = (DEFAULTS | d)[key]
        types, most = ((int,), math.inf) if name in SIZES else ((int, float), 1)
        if type(x) not in types or not 0 < x <= most:
            kind = "a whole number above 0" if name in SIZES else "a number above 0 and at most 1"
            raise UserError(f"{file}: {key} is {quoted(x)}, not {kind}")
    for key, ours in other_settings(d):
        raise UserError(f"{file}: {key} = {quoted(d[key])}, but this GPT computes {ours!r} only")
    C = out["n_embd"]
    if C % out["n_head"]:
        raise UserError(f"{file}: n_embd must be a multiple of n_head")
    stored = {bare(name): shape for name, (shape, _) in read(folder, tensors.header).items()}
    for name, shape in (("wte.weight", (out["vocab_size"], C)), ("wpe.weight", (out["n_ctx"], C)),
                        (f"h.{out['n_layer'] - 1}.ln_2.weight", (C,))):
        check_shape(folder / WEIGHTS, name, stored.get(name), shape)
    return out


def read_weights(folder: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A tensor for each name of `shapes`, in fp32. UserError if one is missing, of another shape,
    or left over."""
    file = folder / WEIGHTS
    weights = {bare(name): w for name, w in read(folder, load_file).items()}
    head = weights.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, weights.get("wte.weight", head)):
        raise UserError(f"{folder}: its output head is not tied to its embedding; nanouft's GPT "
                        "needs them tied")
    for name in weights:
        if name.startswith("h.") and name not in shapes and not name.endswith(OLD_MASKS):
            raise UserError(f"{file}: {name} has no place in the GPT that config.json describes")
    found = {}
    for name, shape in shapes.items():
        w = weights.get(name)
        if w is not None and name.endswith(CONV1D):
            w = w.T
        check_shape(file, name, None if w is None else tuple(w.shape), shape)
        assert w is not None
        if not w.is_floating_point():
            raise UserError(f"{file}: {name} holds {w.dtype}, no weights; take another model")
        found[name] = w.float()
    return found


def bare(name: str) -> str:
    return name.removeprefix("transformer.")


def check_shape(file: Path, name: str, found: tuple[int, ...] | None,
                asked: tuple[int, ...]) -> None:
    if found != asked:
        there = "missing" if found is None else f"of shape {found}"
        raise UserError(f"{file}: {name} is {there}, config.json asks for {asked}")


def read(folder: Path, how: Callable[[Path], dict]) -> dict:
    """how(model.safetensors), or one line that says why it cannot be read."""
    file = folder / WEIGHTS
    if not file.exists():
        raise no_weights(folder)
    try:
        return how(regular(file))
    except (SafetensorError, OSError, ValueError) as e:
        raise UserError(f"{file}: damaged or not a safetensors file ({one_line(str(e))})")


def no_weights(folder: Path) -> UserError:
    """For a folder without safetensors."""
    pickled = [file for kind in ("*.bin", "*.pt") for file in sorted(folder.glob(kind))]
    if not pickled:
        return UserError(f"{folder}: no {WEIGHTS} there")
    return UserError(f"{pickled[0]}: pickled weights are never loaded (unpickling runs code); save "
                     "the model again as safetensors: transformers' "
                     "from_pretrained(DIR).save_pretrained(NEW), if you trust it")
