"""Several networks side by side: one batch, the features of all of them end to end."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graft.contracts import Batch

__all__ = ["Together"]


class Together(nn.Module):
    """Batches of several networks in one dictionary → their features ``(n, Σd)``.

    Parameters
    ----------
    parts
        Networks, batch → features ``(n, d)``.
    normalise
        Whether each network's features are scaled to length 1, so that none is louder than the others.
    """

    def __init__(self, parts: Sequence[nn.Module], normalise: bool = True) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.normalise = normalise

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        features = [part(each) for part, each in zip(self.parts, _parted(batch, len(self.parts)), strict=True)]
        if self.normalise:
            features = [nn.functional.normalize(each.float(), dim=-1) for each in features]
        return torch.cat([each.float() for each in features], dim=-1)


def _parted(batch: dict[str, Tensor], count: int) -> list[Batch]:
    """A batch for each of ``count`` networks: names carry the network's place before them, ``1.input_ids``."""
    parts: list[dict[str, Tensor]] = [{} for _ in range(count)]
    for name, tensor in batch.items():
        place, _, inner = name.partition(".")
        parts[int(place)][inner] = tensor
    return [part.get("", part) for part in parts]
