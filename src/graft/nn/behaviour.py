"""How far two networks behave alike: distances between their feature maps, channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from graft.nn.taps import watching

__all__ = ["attention", "behaviour_distance", "by_channel", "removal_rises", "removal_slopes"]


def by_channel(maps: Tensor, last: bool = False) -> Tensor:
    """Maps ``(b, c, h, w)``, tokens ``(b, t, c)`` or features ``(b, c)`` → ``(b, places, c)``.

    Parameters
    ----------
    last
        Whether maps are ``(b, h, w, c)`` (:func:`~graft.nn.taps.channels_last`).
    """
    if maps.ndim == 2:
        return maps[:, None]
    if maps.ndim == 3:
        return maps
    return maps.flatten(1, 2) if last else maps.flatten(2).transpose(1, 2)


def behaviour_distance(
    now: Tensor, before: Tensor, weights: Tensor | None = None, *, last: bool = False, real: Tensor | None = None
) -> Tensor:
    """``1/2 Σ_j c a_j |FM_j(x) - FM⁰_j(x)|² / places`` of each row, ``(b,)``; ``before`` gets no gradient.

    Parameters
    ----------
    now, before
        Maps of one layer: of the network that trains, and of the source.
    weights
        ``(c,)`` attention ``a_j``, of sum 1; ``None``: all channels alike, ``c a_j = 1``.
    last
        Whether maps have their channels last.
    real
        ``(b, places)``, 0 at padding, which is no place of a row; ``None``: there is none.

    References
    ----------
    Li, Xiong, Wang, Rao, Liu and Huan, DELTA: deep learning transfer using feature map with
    attention for convolutional networks, ICLR 2019, equations 5 and 6.
    """
    squares = (by_channel(now, last) - by_channel(before, last).detach()).square()
    if real is None:
        apart = squares.mean(1)  # (b, c): |·|² / places
    else:
        apart = (squares * real[:, :, None]).sum(1) / real.sum(1, keepdim=True).clamp(min=1e-9)
    each = apart if weights is None else apart * weights * apart.shape[1]
    return 0.5 * each.sum(1)


def attention(rises: Tensor, temperature: float = 5.0) -> Tensor:
    """``(c,)`` rises of the loss without each channel → attention of sum 1: the softmax of their z-scores.

    The temperature is that of the authors' code, where the paper has none.

    Examples
    --------
    >>> attention(torch.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """
    spread = rises.std(correction=0)
    scores = (rises - rises.mean()) / spread if spread > 0 else torch.zeros_like(rises)
    return torch.softmax(scores / temperature, 0)


def removal_slopes(maps: Mapping[str, Tensor], loss: Tensor, last: bool = False) -> dict[str, Tensor]:
    """By layer, ``(c,)``: how much ``loss`` would rise without each channel, to first order.

    ``L(FM with channel j at 0) - L(FM) ≈ -Σ FM_j ∂L/∂FM_j``: one backward pass tells of all channels
    what the paper takes a forward pass a channel for.  Layers that the loss does not hang on are left out.

    References
    ----------
    Molchanov, Tyree, Karras, Aila and Kautz, Pruning convolutional neural networks for resource
    efficient inference, ICLR 2017, equation 6 (there with its absolute value).
    """
    reached = {name: seen for name, seen in maps.items() if seen.requires_grad}
    slopes = torch.autograd.grad(loss, list(reached.values()), allow_unused=True)
    return {
        name: -(by_channel(seen.detach(), last) * by_channel(slope, last)).sum((0, 1))
        for (name, seen), slope in zip(reached.items(), slopes, strict=True)
        if slope is not None
    }


@torch.no_grad()
def removal_rises(
    loss: Callable[[], Tensor], module: nn.Module, stages: Sequence[str], last: bool = False
) -> dict[str, Tensor]:
    """By layer, ``(c,)``: how much ``loss`` rises when each channel in turn is set to 0.

    Parameters
    ----------
    loss
        Computes it anew, by ``module``.
    """
    whole, found = loss(), {}
    for stage in stages:
        part = module.get_submodule(stage)
        with watching(module, [stage]) as seen:
            loss()
        rises = []
        for channel in range(by_channel(seen[stage], last).shape[2]):
            hook = part.register_forward_hook(partial(_without, channel, last))
            try:
                rises.append(loss() - whole)
            finally:
                hook.remove()
        found[stage] = torch.stack(rises)
    return found


def _without(channel: int, last: bool, part: nn.Module, given: Any, out: Any) -> Any:
    """The output of a layer, the first of several, with a channel at 0."""
    if isinstance(out, tuple | list):
        return type(out)((_without(channel, last, part, given, out[0]), *out[1:]))
    return out.index_fill(1 if out.ndim == 4 and not last else -1, torch.tensor([channel], device=out.device), 0.0)
