"""Which weights of a model LoRA adapts, which it leaves, and the weights with LoRA merged in.

    linear_layers(net)          # names that --lora-targets may end with
    matrices_without_lora(net, targets)     # matrices that peft gives no LoRA
    merged_weights(net)         # what a run saves

hf.py adds LoRA, by peft.
"""
import re
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

ALL_LINEAR = "all-linear"       # peft's word for every linear layer, and the experts of some models


def is_conv1d(part: nn.Module) -> bool:
    """True for the linear layer of GPT-2, whose matrix is transposed."""
    return type(part).__name__ == "Conv1D"


def is_param_wrapper(layer: Any) -> bool:
    """True for peft's layer around a weight that is used without a linear layer, as of experts."""
    return hasattr(layer, "parameter_name")


def place_of(w: Tensor) -> Any:
    """The same for tied weights."""
    return w.data_ptr(), w.shape


def adapted_weights(net: nn.Module) -> dict[Any, Any]:
    """{place_of(a weight): the layer of peft that adapts it}. Layers of two weights of one module,
    as of experts, are nested."""
    layers: list[Any] = [part for part in net.modules() if hasattr(part, "lora_A")]
    return {place_of(getattr(layer.get_base_layer(), getattr(layer, "parameter_name", "weight"))):
            layer for layer in layers}


def linear_layers(net: Any) -> list[str]:
    """Their names, without that of the output head."""
    head = net.get_output_embeddings()
    return [name for name, part in net.named_modules()
            if (isinstance(part, nn.Linear) or is_conv1d(part)) and part is not head]


def is_named(layer: str, targets: list[str]) -> bool:
    """True if the name of a layer is, or ends with, one of `targets`, as for peft."""
    return ALL_LINEAR in targets or any(f".{layer}".endswith(f".{x}") for x in targets)


def matrices_without_lora(net: Any, targets: list[str]) -> list[str]:
    """The matrices without LoRA among those of `targets`, such as "experts.down_proj"; no embedding
    and no output head."""
    head = net.get_output_embeddings()
    tables = [part for part in net.modules() if isinstance(part, nn.Embedding) or part is head]
    known = {*adapted_weights(net), *(place_of(p) for part in tables for p in part.parameters())}
    names = [re.sub(r"\.(weight|base_layer)\b", "", name) for name, p in net.named_parameters()
             if p.dim() > 1 and not p.requires_grad and place_of(p) not in known]
    return sorted({".".join(re.sub(r"\.\d+\b", "", name).split(".")[-2:]) for name in names
                   if is_named(name, targets) and not name.endswith("bias")})


@torch.no_grad()
def merged_weights(net: nn.Module) -> dict[str, Tensor]:
    """The weights with LoRA added, in fp32 and in main memory, matrix by matrix. So the model stays
    as it is and where it is: training may go on, and a card may have no room for fp32. Weights that
    are in main memory and in fp32 already are not copied."""
    layers = adapted_weights(net)
    out, made = dict[str, Tensor](), dict[Any, Tensor]()
    for name, w in net.state_dict().items():
        if ".lora_" in name:
            continue
        place = place_of(w)                             # tied weights stay tied
        if place not in made:
            made[place] = w.cpu().float() if w.is_floating_point() else w.cpu()
            if layer := layers.get(place):
                made[place] = made[place] + added_by_lora(layer)
        out[name.replace("base_layer.", "")] = made[place]
    return out


def added_by_lora(layer: Any) -> Tensor:
    """What LoRA adds to the matrix of a layer; GPT-2 keeps it transposed. That of experts is a
    matrix for each of them."""
    if is_param_wrapper(layer):                         # its weight is in fp32
        return layer.get_delta_weight("default").cpu()
    a, b = layer.lora_A["default"].weight.cpu(), layer.lora_B["default"].weight.cpu()
    product = (b @ a) * layer.scaling["default"]
    return product.T if layer.fan_in_fan_out else product
