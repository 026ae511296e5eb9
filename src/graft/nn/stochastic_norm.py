"""Batch normalisation that goes by the batch in some channels and by its averages in the others."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["has_batch_norm", "stochastic_norm"]

_BATCH_NORM = nn.modules.batchnorm._BatchNorm


def has_batch_norm(module: nn.Module) -> bool:
    """Whether a part normalises by batches and keeps averages."""
    return any(map(_keeps_averages, module.modules()))


@contextlib.contextmanager
def stochastic_norm(module: nn.Module, p: float = 0.5) -> Iterator[None]:
    """Inside the block, BatchNorm in training mode draws for each channel what it normalises by.

    With probability ``p`` the mean and variance of the batch, else the averages as they were before
    it; the averages go on as always.  A batch with a single value a channel goes by the
    averages alone.  What follows within the layer works on each channel alone (an activation, as timm
    builds it in), so that mixing its results mixes the two normalised forms.
    The parts themselves are left alone, and after the block nothing is different about them.

    Parameters
    ----------
    p
        In [0, 1]; 1 is BatchNorm as it is.

    References
    ----------
    Kou, You, Long and Wang, Stochastic normalization, NeurIPS 2020, equations 4 and 5.
    """
    waiting: dict[nn.Module, Tensor] = {}

    def before(part: nn.Module, given: tuple[Any, ...]) -> None:
        if part.training:
            part.training = False  # not eval(), which would descend into what the layer holds
            waiting[part] = part.forward(*given)
            part.training = given[0].numel() > given[0].shape[1]  # a single value a channel has no variance

    def after(part: nn.Module, given: tuple[Any, ...], by_batch: Tensor) -> Tensor:
        if part not in waiting:
            return by_batch
        by_averages, part.training = waiting.pop(part), True
        drawn = torch.rand(by_batch.shape[1]).to(by_batch.device) < p
        return torch.where(drawn.view(1, -1, *[1] * (by_batch.ndim - 2)), by_batch, by_averages)

    held = []
    try:
        for part in filter(_keeps_averages, module.modules()):
            held += [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
        yield
    finally:
        for each in held:
            each.remove()


def _keeps_averages(part: nn.Module) -> bool:
    return isinstance(part, _BATCH_NORM) and part.running_mean is not None
