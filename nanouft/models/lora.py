"""LoRA merged into the weights that a run saves.

    net.save_pretrained(folder, state_dict=merged_weights(net))
"""
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor


@torch.no_grad()
def merged_weights(net: nn.Module) -> dict[str, Tensor]:
    """The weights with LoRA added, in fp32 and in main memory, matrix by matrix. So the model stays
    as it is and where it is: training may go on, and a card may have no room for fp32. Weights that
    are in main memory and in fp32 already are not copied."""
    layers = {f"{name}.base_layer.weight": layer for name, layer in net.named_modules()
              if hasattr(layer, "lora_A")}
    out, made = dict[str, Tensor](), dict[Any, Tensor]()
    for name, w in net.state_dict().items():
        if ".lora_" in name:
            continue
        place = (w.data_ptr(), w.shape)                 # tied weights stay tied
        if place not in made:
            made[place] = w.cpu().float() if w.is_floating_point() else w.cpu()
            if layer := layers.get(name):
                made[place] = made[place] + added_by_lora(layer)
        out[name.replace(".base_layer.", ".")] = made[place]
    return out


def added_by_lora(layer: Any) -> Tensor:
    """What LoRA adds to the matrix of a layer; GPT-2 keeps it transposed."""
    a, b = layer.lora_A["default"].weight.cpu(), layer.lora_B["default"].weight.cpu()
    product = (b @ a) * layer.scaling["default"]
    return product.T if layer.fan_in_fan_out else product
