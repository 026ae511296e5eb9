"""Features on the scale that was learnt from, as a step of a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Scaling"]


class Scaling(nn.Module):
    """Features ``(n, d)`` → ``(x - centre) * factor``, each row scaled to length 1 where asked.

    Parameters
    ----------
    dim
        ``d``.
    normalise
        Whether rows are scaled to length 1, so that angles alone count.
    """

    centre: Tensor
    factor: Tensor

    def __init__(self, dim: int, normalise: bool = False) -> None:
        super().__init__()
        self.normalise = normalise
        self.register_buffer("centre", torch.zeros(dim))
        self.register_buffer("factor", torch.ones(dim))

    def set(self, centre: Tensor, factor: Tensor) -> None:
        """Take on what was learnt, ``(d,)`` each."""
        self.centre.copy_(centre)
        self.factor.copy_(factor)

    def forward(self, features: Tensor) -> Tensor:
        moved = (features.float() - self.centre) * self.factor
        return nn.functional.normalize(moved, dim=1) if self.normalise else moved
