"""The target model: a trunk that a source gave, and a head for the task."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from graft.contracts import Backbone, Batch

__all__ = ["Grafted"]


class Grafted(nn.Module):
    """A source's network with a head of its own: batch → features ``(n, d)`` → outputs ``(n, c)``.

    Parameters
    ----------
    backbone
        Gives the trunk, and the preprocessing that belongs to it.
    head
        Features → outputs; it works in float32, whatever the trunk computes in.
    """

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.trunk = backbone.module
        self.head = head

    def forward(self, batch: Batch) -> Tensor:
        return cast("Tensor", self.head(self.trunk(batch).float()))
