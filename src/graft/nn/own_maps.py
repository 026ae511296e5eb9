"""The feature maps of a network of the user's own: what its parts give on the way, one map a resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from graft.errors import RequestError
from graft.nn.initialise import seeded
from graft.nn.own_networks import Pooled
from graft.nn.taps import watching

__all__ = ["OwnMaps", "own_maps"]


class OwnMaps(nn.Module):
    """Normalised images → what the named parts give, in this order.

    Parameters
    ----------
    network
        Images ``(n, 3, h, w)`` → anything.
    names
        Of its parts.
    """

    def __init__(self, network: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.names = names

    def forward(self, pixels: Tensor) -> list[Tensor]:
        with watching(self.network, self.names) as seen:
            self.network(pixels)
        return [seen[name] for name in self.names]


def own_maps(module: Pooled, batch: Tensor, name: str) -> tuple[OwnMaps, tuple[int, ...], tuple[int, ...]]:
    """The maps of a network, with their channels and strides, finest first; weights are shared.

    At each resolution below the image's own it is the map that is computed last.

    Parameters
    ----------
    module
        The network without its classifier.
    batch
        Normalised images ``(n, 3, h, w)``.
    name
        Of the network, for a person.

    Raises
    ------
    RequestError
        Where there are none.
    """
    network, high = module.network, batch.shape[2]
    last: dict[int, tuple[str, int]] = {}

    def hear(part: str) -> Callable[..., None]:
        def note(own: nn.Module, given: Any, made: Any) -> None:
            if isinstance(made, Tensor) and made.ndim == 4 and 1 < made.shape[2] < high:
                last[made.shape[2]] = (part, made.shape[1])

        return note

    hooks = [part.register_forward_hook(hear(key)) for key, part in network.named_modules()]
    modes = [(part, part.training) for part in network.modules()]
    try:
        network.eval()
        with torch.no_grad(), seeded(0):
            network(batch.to(next(network.parameters()).dtype))
    finally:
        for hook in hooks:
            hook.remove()
        for part, mode in modes:
            part.training = mode
    if not last:
        raise RequestError(f"{name} gives no feature maps: no part of it gives (n, d, h, w) smaller than its images.")
    found = [(edge, *last[edge]) for edge in sorted(last, reverse=True)]
    maps = OwnMaps(network, tuple(part for _, part, _ in found))
    return maps, tuple(depth for *_, depth in found), tuple(round(high / edge) for edge, *_ in found)
