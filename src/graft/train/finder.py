"""A learning-rate range test: how high the rates may be before the loss gets worse."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from graft.data.order import Indices
from graft.train.reading import Reading

__all__ = ["range_test"]

_STEPS = 60
_LOWEST, _HIGHEST = 1e-3, 1e3
_SMOOTH = 0.9
_WORSE = 4.0
"""How many times the least loss ends the test."""

_BELOW = 10.0
"""The rate taken is so many times smaller than where the loss was least."""

Gradient = Callable[[Indices, Sequence[Any], int], Tensor]
"""``(rows, items, step)`` → the loss; leaves the gradient in the parameters."""


def range_test(module: nn.Module, groups: Sequence[dict[str, Any]], reading: Reading, gradient: Gradient) -> float:
    """The factor that all rates are to be multiplied by.

    Some steps are made at ever higher rates, from a thousandth of those that were given to a thousand
    times them; the factor is a tenth of where the smoothed loss was least.  The module is as it was
    afterwards.

    References
    ----------
    Smith, Cyclical learning rates for training neural networks, WACV 2017, §3.3.
    """
    before = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
    optimiser = torch.optim.AdamW([dict(group) for group in groups], fused=True)
    rates = [float(group["lr"]) for group in optimiser.param_groups]
    batches = [batch for _, batch in zip(range(_STEPS), reading.batches(0, 0), strict=False)]
    average, least, best = 0.0, math.inf, 1.0
    for step in range(_STEPS):
        factor = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (_STEPS - 1))
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        value = float(gradient(*batches[step % len(batches)], step))
        average = _SMOOTH * average + (1 - _SMOOTH) * value
        smoothed = average / (1 - _SMOOTH ** (step + 1))
        if not math.isfinite(smoothed) or smoothed > _WORSE * least:
            break
        if smoothed < least:
            least, best = smoothed, factor
        optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    module.load_state_dict(before)
    return best / _BELOW
