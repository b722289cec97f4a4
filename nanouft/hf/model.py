"""Any causal language model of transformers, called as our own GPT is: Llama, Qwen, Mistral, GPT-2.

    model = read_transformers(folder)           # a GPT to every objective: GPT.forward is inherited
    model.add_lora(16, seed=0)                  # train two thin matrices beside each matrix
    model.checkpoint()                          # keep fewer activations, compute them twice

What GPT.forward needs is a table of embeddings, a trunk (embeddings -> final states) and a head
(states -> logits). Both are the model's own. For the head its forward runs with a stand-in for the
trunk, so that scales and caps of logits are kept; `read_transformers` compares the logits once.
Dropout is off: references are scored exactly as the policy is.
"""
import copy
import inspect
import warnings
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from nanouft.errors import UserError
from nanouft.gpt import GPT, GPTConfig
from nanouft.run import tensors
from nanouft.run.storage import not_finite
from nanouft.run.words import one_line, optional

# may be in the file and are not read: causal masks, angles of positions, the head of a reward model
NOT_READ = ("rotary_emb.inv_freq", "attn.bias", "attn.masked_bias", "score.weight")


class Given:
    """What a trunk would return: these final states. A model's forward passes on more of it (keys
    and values, attentions, states of its routers ...), by other names in each model: all are None.
    """

    def __init__(self, hidden: Tensor):
        self.last_hidden_state = hidden

    def __getattr__(self, name: str) -> None:
        return None

    def __getitem__(self, i: int) -> Tensor:
        return self.last_hidden_state


class StandIn(nn.Module):
    """In the place of a trunk: returns what it gets."""

    def forward(self, *_: Any, inputs_embeds: Tensor, **__: Any) -> Given:
        return Given(inputs_embeds)

    @property
    def decoder(self) -> "StandIn":             # where OPT has its trunk
        return self


class Past:
    """transformers' own keys and values, with the interface of gpt.Cache."""
    in_parts = False                            # all prompts must be read at once

    def __init__(self, config: Any):
        from transformers import DynamicCache
        self.kv, self.n = DynamicCache(config=config), 0

    def take(self, rows: Tensor, n: int) -> None:
        self.kv.batch_select_indices(rows)


def takes_cache(net: Any) -> bool:
    """Does a model take our keys and values? (MiniMax wants a class of its own.)"""
    token = torch.zeros(1, 1, dtype=torch.long, device=net.device)
    try:
        with torch.no_grad():
            net.base_model(token, past_key_values=Past(net.config).kv, use_cache=True)
    except ValueError as e:
        return "cache" not in str(e)
    except Exception:               # something else is wrong with it: `check` says what
        return True
    return True


class TransformersModel(GPT):
    net: Any                                    # the model of transformers

    def __init__(self, net: nn.Module, n_ctx: int):
        nn.Module.__init__(self)
        self.net, self.value, self.checkpointing = net, None, False
        self.frozen_in: torch.dtype | None = None   # precision of frozen weights, if not their own
        self.new_rows = False                   # are there ids that were never trained?
        config = self.net.config.get_text_config()
        takes = inspect.signature(self.net.base_model.forward).parameters
        self.takes_pos = "position_ids" in takes
        self.takes_past = "past_key_values" in takes
        self.has_cache = self.takes_past and takes_cache(self.net)
        vocab, width = self.net.get_output_embeddings().weight.shape
        self.cfg = GPTConfig(vocab_size=vocab, n_ctx=n_ctx, n_layer=config.num_hidden_layers,
                             n_embd=width, n_head=getattr(config, "num_attention_heads", 1))
        size = getattr(config, "head_dim", None) or width // self.cfg.n_head
        self.key_width = size * (getattr(config, "num_key_value_heads", None) or self.cfg.n_head)

    @property
    def wte(self) -> Any:                       # type: ignore[override]
        return self.net.get_input_embeddings()

    def head(self, hidden: Tensor) -> Tensor:
        """(...,C) final states -> (...,V) logits: all that the model's own forward does after its
        trunk."""
        net = copy.copy(self.net)                                       # the same weights
        hidden = hidden.to(net.get_output_embeddings().weight.dtype)
        # a dict of modules of its own, so that the true model keeps its trunk
        net._modules = {**net._modules, net.base_model_prefix: StandIn()}
        logits = net(inputs_embeds=hidden.reshape(1, -1, hidden.shape[-1])).logits
        return logits.view(*hidden.shape[:-1], -1)

    def _blocks(self, x: Tensor, pos: Tensor | None, cache: Any, keep: Tensor | None) -> Tensor:
        x = x.to(self.frozen_in or x.dtype)     # new rows are fp32 among frozen ones of bf16
        if self.checkpointing:              # it works in the mode `train` only, a cache in `eval`
            self.net.train(torch.is_grad_enabled())
        more: dict[str, Any] = {}
        if pos is not None and self.takes_pos:
            more["position_ids"] = pos.expand(x.shape[:2])
        if keep is not None:
            more["attention_mask"] = keep.long()
        if self.takes_past:
            more["use_cache"] = cache is not None
        if cache is not None:
            more["past_key_values"] = cache.kv
        hidden = self.net.base_model(inputs_embeds=x, **more).last_hidden_state
        if cache is not None:
            cache.n += x.shape[1]
        return hidden

    def new_cache(self, rows: int) -> Any:
        """None for models without keys and values: sampling then reads everything again for each
        token."""
        return Past(self.net.config) if self.has_cache else None

    def widen(self, size: int) -> None:
        """Make room for `size` ids, where there are fewer."""
        if size > self.cfg.vocab_size:
            self.net.resize_token_embeddings(size, mean_resizing=False)
            self.cfg.vocab_size = size

    def tables(self) -> list[nn.Embedding | nn.Linear]:
        """Embedding and, if it is not tied, head."""
        both = [self.wte, self.net.get_output_embeddings()]
        return both if both[0].weight is not both[1].weight else both[:1]

    # ---- memory ----------------------------------------------------------------------------------
    def checkpoint(self) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")                         # it will get another name
                self.net.gradient_checkpointing_enable(
                    gradient_checkpointing_kwargs={"use_reentrant": False})
        except ValueError as e:
            raise UserError(f"--checkpointing: {one_line(str(e))}") from None
        self.checkpointing = True

    def add_lora(self, rank: int, seed: int) -> None:
        """LoRA (Hu et al. 2021, arXiv:2106.09685): a matrix W becomes W + 2 B A with `rank` rows in
        A; only A and B are trained. B begins at 0. Where ids are new, embeddings are trained, too.
        """
        peft = optional("peft", "--lora")
        how = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear",
                              task_type="CAUSAL_LM")
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")                             # remarks on GPT-2's Conv1D
            torch.manual_seed(seed)
            try:
                self.net.add_adapter(how)
                check_merge(self)
            except (ValueError, TypeError, NotImplementedError) as e:   # peft knows no adapter here
                raise UserError(f"--lora does not work with {type(self.net).__name__} "
                                f"({one_line(str(e))}); drop it, or take another model") from None
        for table in self.tables() if self.new_rows else ():
            table.requires_grad_(True)

    def keep_frozen_in(self, dtype: torch.dtype) -> None:
        """Frozen weights in the precision of the forward: 2 bytes each, and no forward casts them.
        What is trained stays fp32."""
        self.frozen_in = dtype
        for p in self.net.parameters():
            if not p.requires_grad:
                p.data = p.data.to(dtype)

    def adapters_alone(self) -> bool:
        """Is nothing of the start model trained (a value head apart)?"""
        return all("lora_" in name for name, p in self.net.named_parameters() if p.requires_grad)

    def start(self, *args: Any, **more: Any) -> Tensor:
        """The start model of a run with LoRA: this one without its adapters. It is no second copy.
        """
        self.net.disable_adapters()
        try:
            return self(*args, **more)
        finally:
            self.net.enable_adapters()

    def merge(self) -> None:
        """LoRA's product into the weights, in fp32: from here on it is a plain model again."""
        self.keep_frozen_in(torch.float32)
        for name, module in reversed(list(self.net.named_modules())):   # one may hold another
            if hasattr(module, "lora_A"):
                module.merge()
                self.net.set_submodule(name, module.get_base_layer())
        self.net._hf_peft_config_loaded = False                         # no adapter is saved

    def ends(self) -> list[int]:
        """Ids with which this model ends an answer, as its generation_config.json says."""
        ends = self.net.generation_config.eos_token_id
        return [i for i in (ends if isinstance(ends, list) else [ends]) if isinstance(i, int)]

    def save_pretrained(self, folder: str | Path, end_id: int | None = None) -> None:
        """One safetensors file, config.json, and a generation_config.json with our end token. The
        adapter of a run with LoRA is in adapter/, as peft reads it, unless embeddings were trained,
        too."""
        device, frozen_in = self.wte.weight.device, self.frozen_in
        others = [i for i in self.ends() if i != end_id]
        self.net.generation_config.eos_token_id = [end_id, *others]
        if self.net._hf_peft_config_loaded and self.adapters_alone():
            self.net.save_pretrained(str(Path(folder, "adapter")))
        large = frozen_in and device.type != "cpu"      # in fp32 it has room beside the CPU only
        if large:
            self.net.cpu()
        self.merge()
        self.net.save_pretrained(str(folder), max_shard_size="1000GB")
        if large and frozen_in:
            self.keep_frozen_in(frozen_in)
            self.net.to(device)


def read_transformers(folder: Path) -> TransformersModel:
    """UserError, one line, for a folder that holds no causal language model, or a damaged one."""
    transformers = optional("transformers", f"{folder}: a model that is not a plain GPT-2")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    safe = {"local_files_only": True, "trust_remote_code": False}   # no code of the folder is run
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), **safe)
        text = config.get_text_config()
        check_header(folder, text)
        for part in (config, text):
            for key, value in part.to_dict().items():
                if "drop" in key and isinstance(value, float):      # resid_pdrop, layerdrop ...
                    setattr(part, key, 0.0)
        net, found = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), config=config, dtype=torch.float32, use_safetensors=True,
            output_loading_info=True, **safe)
        if net.base_model is net:               # such as Llama 4
            raise ValueError(f"{type(net).__name__} does not part its trunk from its head; take "
                             "another model")
        sizes = [getattr(text, name, None) for name in ("max_position_embeddings", "max_seq_len")]
        model = TransformersModel(net.eval(), next((n for n in sizes if n), 2048))
        check(model)
    except Exception as e:                      # whatever a damaged or strange folder leads to
        raise UserError(f"{folder}: transformers opens no causal language model there "
                        f"({one_line(str(e))})") from None
    left = [name for name in found["unexpected_keys"] if not name.endswith(NOT_READ)]
    for names, what in ((found["missing_keys"], "is missing"),
                        (left, "has no place in the model of config.json")):
        if names:
            raise UserError(f"{folder}: {one_line(sorted(names)[0])} {what}; copy the folder again")
    try:
        net.generation_config.validate(strict=True)
    except ValueError:                          # else the finished model could not be saved
        net.generation_config = transformers.GenerationConfig.from_model_config(config)
    return model


def check_header(folder: Path, config: Any) -> None:
    """ValueError for what can be seen before any weight is read."""
    stored = [tensor for file in folder.glob("*.safetensors")
              for tensor in tensors.header(file).items()]
    if config.num_hidden_layers > len(stored):  # nothing endless is built
        raise ValueError(f"{len(stored)} tensors are stored, config.json asks for more layers")
    for name, (_, kind) in stored:
        if name.endswith("weight") and "F" not in kind:     # F32, BF16 ...
            raise ValueError(f"{name} holds {kind}, no weights")
    if getattr(config, "hidden_size_per_layer_input", 0):
        raise ValueError("each of its layers reads the tokens again, by embeddings of its own; IFT "
                         "could not blend those: take a model without per-layer embeddings")


@torch.no_grad()
def check(model: TransformersModel) -> None:
    """ValueError unless all weights are finite, trunk and head together give the model's own
    logits, neither later tokens nor padding before the first one change them, and they have
    gradients (else RuntimeError)."""
    if name := not_finite(dict(model.named_parameters())):
        raise ValueError(f"weights that are not finite: {name}")
    kind = type(model.net).__name__
    ids = torch.arange(6)[None] % model.cfg.vocab_size
    ours, theirs = model(ids), model.net(input_ids=ids).logits
    if not near(ours, theirs):
        raise ValueError(f"{kind} reads more than token embeddings")
    if not near(model(ids[:, :4]), ours[:, :4]):
        raise ValueError(f"{kind} looks at later tokens")
    padded, places = torch.cat([ids[:, :2], ids], 1), torch.arange(8)[None]
    keep, pos = places >= 2, (places - 2).clamp_min(0)
    if not near(model(padded, pos=pos, keep=keep)[:, 2:], ours):
        raise ValueError(f"{kind} reads padding, so prompts of different length cannot be answered "
                         "together")
    with torch.enable_grad():                   # some layers can only be read
        torch.autograd.grad(model(ids).sum(), model.wte.weight)     # one gradient: little memory


@torch.no_grad()
def check_merge(model: TransformersModel) -> None:
    """ValueError unless a model with LoRA computes the same after `merge`: some models read a
    matrix past its adapter. B begins at 0, where nothing could be seen, so a copy gets other
    numbers."""
    trial = copy.deepcopy(model)
    for name, weight in trial.net.named_parameters():
        if "lora_B" in name:
            weight.normal_(std=0.1)
    ids = torch.arange(6)[None] % model.cfg.vocab_size
    apart = trial(ids)
    trial.merge()
    if not near(trial(ids), apart):
        raise ValueError("its merged weights would be another model")


def near(a: Tensor, b: Tensor) -> bool:
    """Are these the same logits, but for rounding?"""
    return torch.allclose(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))
