"""The whole GPT in one file: configuration, block, forward, cache, Hugging Face folders in and out.

    from nanouft.gpt import GPT                      # GPT.from_pretrained("out/my-run"), GPT(NANO)

It is GPT-2's architecture (Radford et al. 2019): learned positions, LayerNorm before each sublayer, tanh GELU,
output head tied to the input embedding. Parameter names are GPT-2's own, so a folder written here opens in
transformers and the other way round (logits agree to 1e-4 in fp32; tests/test_gpt.py).

`GPT.forward` is the only door. Token ids, token embeddings or final hidden states go in; embeddings, hidden states,
logits, greedy guesses or log-probs of given targets come out, and the expensive head runs only where it is asked for:
    SFT    ids in, logp out          IFT      ids in, argmax out; blended embeddings in, logp out
    NEFTune embeddings in, logp out  SFTMix   hidden out, mix, hidden in, logp out

Shapes: B rows, T tokens, C width, V vocabulary, nh heads, hs = C / nh.
Left out: dropout (always 0 here: references are scored exactly as the policy is) and untied heads.
"""
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from nanouft.shell.config import UserError


@dataclass
class GPTConfig:
    vocab_size: int = 1024
    n_ctx: int = 512            # longest sequence that has a position
    n_layer: int = 4
    n_head: int = 4
    n_embd: int = 128
    eps: float = 1e-5           # LayerNorm's epsilon
    init_std: float = 0.02      # spread of fresh weights


NANO = GPTConfig(init_std=0.08)                        # 0.99M parameters; .02 is too small a spread at width 128
GPT2 = GPTConfig(vocab_size=50261, n_ctx=1024, n_layer=12, n_head=12, n_embd=768)             # 124M
SIZES = {"nano": NANO, "gpt2": GPT2}
ONEDNN = torch.backends.mkldnn.is_available()
VALUE_FILE = "value_head.safetensors"


class Cache:
    """Keys and values of everything read so far: (L, 2, B, nh, room, hs), filled up to `n`. Room grows as needed."""

    def __init__(self, cfg: GPTConfig, rows: int, like: Tensor):
        self.kv = like.new_zeros(cfg.n_layer, 2, rows, cfg.n_head, 0, cfg.n_embd // cfg.n_head)
        self.n = 0

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v (B,nh,T,hs) behind what is there; returns all keys and values so far."""
        if (end := self.n + k.shape[2]) > self.kv.shape[4]:
            self.kv = F.pad(self.kv, (0, 0, 0, end + 15 - self.kv.shape[4]))
        both = self.kv[layer, :, :, :, :end]                                                  # (2,B,nh,end,hs)
        both[0, :, :, self.n:], both[1, :, :, self.n:] = k, v
        return both[0], both[1]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """x (...,K), weight (N,K), bias (N,) -> (...,N), through GPT-2's tanh GELU where asked. Sampling (inference mode)
    uses oneDNN's product on a CPU: up to twice as fast as PyTorch's own, but other in the last digit."""
    if x.device.type == "cpu" and x.dtype == torch.float32 and ONEDNN and torch.is_inference_mode_enabled():
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "gelu" if gelu else "none", [], "tanh")
    y = F.linear(x, weight, bias)
    return F.gelu(y, approximate="tanh") if gelu else y


class Linear(nn.Linear):
    def forward(self, x: Tensor, gelu: bool = False) -> Tensor:
        return linear(x, self.weight, self.bias, gelu)


class Attention(nn.Module):
    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.nh = cfg.n_head
        self.c_attn = Linear(cfg.n_embd, 3 * cfg.n_embd)
        self.c_proj = Linear(cfg.n_embd, cfg.n_embd)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        B, T, C = x.shape
        q, k, v = self.c_attn(x).view(B, T, 3, self.nh, C // self.nh).permute(2, 0, 3, 1, 4)    # each (B,nh,T,hs)
        if cache is not None:
            k, v = cache.add(layer, k, v)
        if cache is not None and T == 1:               # one new token looks at all before it: two plain products
            seen = (q / math.sqrt(C // self.nh)) @ k.mT                                          # (B,nh,1,n)
            y = (seen if mask is None else seen + mask).softmax(-1) @ v
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.c_fc = Linear(cfg.n_embd, 4 * cfg.n_embd)
        self.c_proj = Linear(4 * cfg.n_embd, cfg.n_embd)

    def forward(self, x: Tensor) -> Tensor:
        return self.c_proj(self.c_fc(x, gelu=True))


class Block(nn.Module):
    def __init__(self, cfg: GPTConfig):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(cfg.n_embd, cfg.eps), Attention(cfg)
        self.ln_2, self.mlp = nn.LayerNorm(cfg.n_embd, cfg.eps), MLP(cfg)

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        x = x + self.attn(self.ln_1(x), mask, cache, layer)
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, cfg: GPTConfig, seed: int | None = None):
        super().__init__()
        self.cfg = cfg
        self.wte = nn.Embedding(cfg.vocab_size, cfg.n_embd)           # also the output head
        self.wpe = nn.Embedding(cfg.n_ctx, cfg.n_embd)
        self.h = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layer))
        self.ln_f = nn.LayerNorm(cfg.n_embd, cfg.eps)
        self.value: nn.Linear | None = None                           # add_value_head: PPO's critic
        if seed is not None:
            self.reset(seed)

    @torch.no_grad()
    def reset(self, seed: int) -> None:
        """Fresh weights. What writes to the residual stream starts smaller, since 2 L of them add up (GPT-2, 2.3)."""
        rng = torch.Generator().manual_seed(seed)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                scale = math.sqrt(2 * self.cfg.n_layer) if name.endswith("c_proj.weight") else 1
                p.normal_(0, self.cfg.init_std / scale, generator=rng)
            elif name.endswith("bias"):
                p.zero_()

    def forward(self, ids: Tensor | None = None, *, embeds: Tensor | None = None, hidden: Tensor | None = None,
                want: str = "logits", targets: Tensor | None = None, at: Tensor | None = None,
                pos: Tensor | None = None, cache: Cache | None = None, keep: Tensor | None = None) -> Tensor:
        """One of three in, one of six out.

        In:   ids (B,T) token ids | embeds (B,T,C) token embeddings, positions not yet added
              | hidden (B,T,C) final states.
        Out:  want = "embeds" (B,T,C) | "hidden" (B,T,C), after the last LayerNorm
              | "logits" (B,T,V), or (N,V) for the N positions marked in `at`
              | "argmax" (B,T) the greedy next token | "logp" (B,T) nats, log-prob of `targets` (B,T);
                both 0 outside `at` | "value" (B,T) the value head's guess in each state (no head: 0).
        at:   (B,T) bool, the positions where the head is needed; all of them when absent.
        pos:  (T,) or (B,T) positions; counted from the cache's end when absent.
        keep: (B, cache.n + T) bool, False for padding on the left that nobody may look at.
        """
        if hidden is None:
            x = self.wte(ids) if embeds is None else embeds
            if want == "embeds":
                return x
            hidden = self._blocks(x, pos, cache, keep)
        if want == "hidden":
            return hidden
        if want == "value":
            return self.value(hidden)[..., 0] if self.value else hidden.new_zeros(hidden.shape[:-1])
        # Under autocast the product with the head is made in bf16 too; what follows is fp32 again.
        logits = linear(hidden if at is None else hidden[at], self.wte.weight)      # (B,T,V) or (N,V)
        if want == "logits":
            return logits
        if want == "argmax":
            return _scatter(logits.argmax(-1), at)
        if want == "logp":
            picked = targets if at is None else targets[at]
            wide = logits if logits.dtype == torch.float64 else logits.float()        # losses are never below fp32
            nll = F.cross_entropy(wide.reshape(-1, wide.shape[-1]), picked.reshape(-1), reduction="none")
            return _scatter(-nll.view(picked.shape), at)
        raise ValueError(f"want={want!r} is none of embeds, hidden, logits, argmax, logp, value")

    def _blocks(self, x: Tensor, pos: Tensor | None, cache: Cache | None, keep: Tensor | None) -> Tensor:
        """(B,T,C) token embeddings -> (B,T,C) final hidden states."""
        T, n = x.shape[1], cache.n if cache is not None else 0
        if pos is None:
            pos = torch.arange(n, n + T, device=x.device)
        mask = _mask(T, n, keep, x.device, x.dtype) if keep is not None or (n and T > 1) else None
        x = x + self.wpe(pos)
        for layer, block in enumerate(self.h):
            x = block(x, mask, cache, layer)
        if cache is not None:
            cache.n += T
        return self.ln_f(x)

    def n_params(self) -> int:
        return sum(p.numel() for p in self.parameters())

    @torch.no_grad()
    def grow_vocab(self, size: int) -> None:
        """Add rows for new tokens: the mean of the old rows plus a tenth of their spread, so that a new token starts
        unsurprising and no two are alike (a zero row would win the tied head whenever all logits are negative)."""
        old = self.wte.weight
        noise = torch.randn(size - old.shape[0], old.shape[1], generator=torch.Generator().manual_seed(0)).to(old)
        self.wte = nn.Embedding.from_pretrained(torch.cat([old, old.mean(0) + 0.1 * old.std(0) * noise]), freeze=False)
        self.cfg = replace(self.cfg, vocab_size=size)          # not in place: NANO may be shared

    def add_value_head(self, folder: Path | None = None) -> None:
        """One number a state: 0 at first, or the head that a run left in `folder`."""
        self.value = nn.Linear(self.cfg.n_embd, 1)
        for p in self.value.parameters():
            nn.init.zeros_(p)
        if folder and (folder / VALUE_FILE).exists():
            self.value.load_state_dict(load_file(folder / VALUE_FILE))

    # ---- Hugging Face GPT-2 folders ------------------------------------------------------------------------------
    def save_pretrained(self, folder: str | Path, end_id: int | None = None,
                        dtype: torch.dtype = torch.float32) -> None:
        """Write config.json and model.safetensors as transformers' GPT2LMHeadModel expects them. A value head has
        no place there: it gets a file of its own."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {f"transformer.{name}": (p.T if name.endswith(CONV1D) else p).detach().to(dtype).cpu().contiguous()
                   for name, p in self.named_parameters() if not name.startswith("value.")}
        if self.value:
            save_file({n: p.detach().cpu() for n, p in self.value.named_parameters()}, folder / VALUE_FILE)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        (folder / "config.json").write_text(json.dumps(_to_hf(self.cfg, end_id, str(dtype)[6:]), indent=2) + "\n",
                                            encoding="utf-8")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "GPT":
        """Read a GPT-2 folder: config.json and model.safetensors. Raises UserError with one line on anything else."""
        folder = Path(folder)
        cfg = _from_hf(folder / "config.json")
        weights = {k.removeprefix("transformer."): v for k, v in _read_weights(folder).items()}
        head = weights.pop("lm_head.weight", None)
        if head is not None and not torch.equal(head, weights.get("wte.weight", head)):
            raise UserError(f"{folder}: its output head is not tied to its embedding; nanouft's GPT needs them tied")
        model = cls(cfg)
        state = model.state_dict()
        for name in weights:                            # old folders also keep the causal mask as attn.bias
            if name.startswith("h.") and name not in state and not name.endswith(("attn.bias", "attn.masked_bias")):
                raise UserError(f"{folder / 'model.safetensors'}: {name} has no place in a GPT of {cfg.n_layer} layers")
        for name in state:
            w = weights.get(name)
            w = w.T if w is not None and name.endswith(CONV1D) else w
            if w is None or w.shape != state[name].shape:
                got = "missing" if w is None else f"of shape {tuple(w.shape)}"
                raise UserError(f"{folder / 'model.safetensors'}: {name} is {got}, "
                                f"config.json asks for {tuple(state[name].shape)}")
            state[name] = w.float()
        model.load_state_dict(state)
        return model


# transformers keeps these four as Conv1D, which stores (in, out); nn.Linear stores (out, in)
CONV1D = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")


def _scatter(values: Tensor, at: Tensor | None) -> Tensor:
    """(N,) values back to their places in (B,T), 0 elsewhere."""
    return (values if at is None
            else torch.zeros(at.shape, dtype=values.dtype, device=values.device).masked_scatter(at, values))


def _mask(T: int, n: int, keep: Tensor | None, device, dtype) -> Tensor:
    """(B|1, 1, T, n+T) to add to the scores: 0 where key j is neither later than query i nor padding, else -inf."""
    i, j = torch.arange(n, n + T, device=device)[:, None], torch.arange(n + T, device=device)[None]
    seen = (j <= i)[None, None]
    if keep is not None:
        seen = seen & keep[:, None, None, :] | (i == j)        # padding sees itself: an empty row of a softmax is NaN
    return torch.where(seen, 0.0, -torch.inf).to(dtype)


def _to_hf(cfg: GPTConfig, end_id: int | None, dtype: str) -> dict:
    return {"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": cfg.vocab_size,
            "n_positions": cfg.n_ctx, "n_ctx": cfg.n_ctx, "n_embd": cfg.n_embd, "n_layer": cfg.n_layer,
            "n_head": cfg.n_head, "n_inner": None, "activation_function": "gelu_new", "layer_norm_epsilon": cfg.eps,
            "initializer_range": cfg.init_std, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
            "tie_word_embeddings": True, "bos_token_id": end_id, "eos_token_id": end_id, "torch_dtype": dtype}


def _from_hf(file: Path) -> GPTConfig:
    """Read config.json; refuse what this GPT would silently compute differently."""
    try:
        d = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file.parent}: no config.json; --init wants a GPT-2 folder (config.json, model.safetensors)")
    except (OSError, ValueError) as e:
        raise UserError(f"{file}: cannot be read as JSON ({e})")
    if not isinstance(d, dict) or d.get("model_type") != "gpt2":
        kind = d.get("model_type") if isinstance(d, dict) else type(d).__name__
        raise UserError(f"{file}: describes {kind!r}; nanouft's GPT reads model_type 'gpt2' only")
    try:
        cfg = GPTConfig(int(d["vocab_size"]), int(d.get("n_positions", 1024)), int(d["n_layer"]), int(d["n_head"]),
                        int(d["n_embd"]), float(d.get("layer_norm_epsilon", 1e-5)),
                        float(d.get("initializer_range", 0.02)))
    except (KeyError, TypeError, ValueError, OverflowError) as e:
        raise UserError(f"{file}: a size is missing or not a number ({e})")
    same = {"activation_function": ("gelu_new", "gelu_pytorch_tanh"), "scale_attn_by_inverse_layer_idx": (False,),
            "scale_attn_weights": (True,), "n_inner": (None, 4 * cfg.n_embd), "tie_word_embeddings": (True,)}
    for key, allowed in same.items():
        if key in d and d[key] not in allowed:
            raise UserError(f"{file}: {key} = {d[key]!r}, but this GPT computes {allowed[0]!r} only")
    if min(list(asdict(cfg).values())[:5]) < 1 or cfg.n_embd % cfg.n_head:
        raise UserError(f"{file}: sizes must be positive and n_embd a multiple of n_head")
    return cfg


def _read_weights(folder: Path) -> dict[str, Tensor]:
    file = folder / "model.safetensors"
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
