"""The preprocessings of several networks for the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from graft.contracts import Batch, Preprocess
from graft.data.loaders import Telling
from graft.data.preprocess.images import ImagePreprocess

__all__ = ["TogetherPreprocess"]


class TogetherPreprocess:
    """From rows to batches that hold one batch for each of several networks.

    Parameters
    ----------
    parts
        Each network's own preprocessing, in order.
    """

    def __init__(self, parts: Sequence[Preprocess]) -> None:
        self.parts = tuple(parts)

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        return list(zip(*(part.items(rows, seeds) for part in self.parts), strict=True))

    def cost(self, item: tuple[Any, ...]) -> int:
        return max(part.cost(each) for part, each in zip(self.parts, item, strict=True))

    def collate(self, items: Sequence[tuple[Any, ...]]) -> Batch:
        """One batch for all; names carry the network's place: ``1.input_ids``, and ``0.`` for a tensor alone."""
        held: dict[str, Tensor] = {}
        for place, (part, own) in enumerate(zip(self.parts, zip(*items, strict=True), strict=True)):
            batch = part.collate(own)
            named = {"": batch} if isinstance(batch, Tensor) else batch
            held |= {f"{place}.{name}": tensor for name, tensor in named.items()}
        return held

    def uncropped(self) -> TogetherPreprocess:
        """The same, with nothing of a picture cropped away."""
        return TogetherPreprocess([p.uncropped() if isinstance(p, ImagePreprocess) else p for p in self.parts])

    def notes(self) -> tuple[str, ...]:
        """What the preprocessings lost of the rows so far."""
        return tuple(note for part in self.parts if isinstance(part, Telling) for note in part.notes())

    def files(self) -> dict[str, bytes]:
        return {f"{place}/{name}": held for place, part in enumerate(self.parts) for name, held in part.files().items()}
