"""No source at all: zero features, for models that look at labels alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from graft.contracts import Backbone, Batch, Card, Source

__all__ = ["Nothing"]


class _NoFeatures(nn.Module):
    def forward(self, batch: Batch) -> Batch:
        return batch


class _Unread:
    """Rows are counted, never looked at."""

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[None]:
        return [None] * len(rows)

    def cost(self, item: Any) -> int:
        return 1

    def collate(self, items: Sequence[Any]) -> Tensor:
        return torch.zeros(len(items), 0)

    def files(self) -> dict[str, bytes]:
        return {}


class Nothing(Source):
    """No knowledge: zero features of anything; the majority control stands on it."""

    modality: ClassVar[str] = "any"
    pretrained: ClassVar[bool] = False

    def load(self, weights: bool = True) -> Backbone:
        card = Card(name="nothing", modality="any", parameters=0, bytes=0, pretraining="none")
        return Backbone(module=_NoFeatures(), dim=0, preprocess=_Unread(), stages=(), card=card)

    def rebuild(self, files: Mapping[str, bytes]) -> Backbone:
        return self.load()

    @classmethod
    def local(cls) -> tuple[str, ...]:
        return ("nothing",)
