"""A preprocessing around another one, of which most is passed through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graft.contracts import Batch, Preprocess
from graft.data.loaders import Telling

__all__ = ["Wrapping"]


class Wrapping:
    """Everything as the inner one has it.

    Parameters
    ----------
    inner
        A checkpoint's own preprocessing.
    """

    def __init__(self, inner: Preprocess) -> None:
        self.inner = inner

    def items(self, rows: Sequence[Any], seeds: Sequence[int] | None = None) -> list[Any]:
        return self.inner.items(rows, seeds)

    def cost(self, item: Any) -> int:
        return self.inner.cost(item)

    def collate(self, items: Sequence[Any]) -> Batch:
        return self.inner.collate(items)

    def notes(self) -> tuple[str, ...]:
        """What the inner one lost of the rows so far."""
        return self.inner.notes() if isinstance(self.inner, Telling) else ()

    def files(self) -> dict[str, bytes]:
        return self.inner.files()
