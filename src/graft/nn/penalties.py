"""What is added to a loss so that weights stay small."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["weight_penalty"]


def weight_penalty(module: nn.Module, l1: float, l2: float) -> Tensor:
    """``l1 Σ|w| + l2 Σw²`` over the weights that train of linear layers and convolutions; biases are free.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> _ = nn.init.constant_(layer.weight, -3.0)
    >>> weight_penalty(layer, l1=1.0, l2=0.5).item()
    15.0
    """
    layers = (nn.Linear, nn.modules.conv._ConvNd)
    weights = [part.weight for part in module.modules() if isinstance(part, layers) and part.weight.requires_grad]
    total = torch.zeros((), device=weights[0].device if weights else None)
    for weight in weights:
        if l1:
            total = total + l1 * weight.abs().sum()
        if l2:
            total = total + l2 * weight.square().sum()
    return total
