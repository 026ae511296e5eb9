"""Which rows each step learns from: a pure function of seed, epoch and step, read ahead in threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from graft.contracts import Array, Preprocess, TransferData
from graft.data.loaders import read_items
from graft.data.order import Indices, alike, cut, drawn, mixed, shuffled

__all__ = ["Reading"]

_POOL = 16
"""Batches that are read together, so that items of like length can share one."""


class Reading:
    """The training rows in batches, epoch after epoch.

    Parameters
    ----------
    size
        Rows a batch, at most.
    chances
        ``(n,)`` how likely each row is drawn; ``None``: each row comes once an epoch.
    """

    def __init__(self, data: TransferData, preprocess: Preprocess, size: int, chances: Array | None = None) -> None:
        self.data, self.preprocess, self.size, self.chances = data, preprocess, size, chances
        self.pool = self._pool()
        pools = cut(shuffled(len(data.train), 0), self.pool * size)
        self.steps = sum(len(cut(rows, size)) for rows in pools)

    def _pool(self) -> int:
        """Batches to read together: one, unless the first rows tell that items differ in cost."""
        rows = np.arange(min(16, len(self.data.train)))
        for items in read_items(self.data.train.examples, [rows], self.preprocess):
            return 1 if len({self.preprocess.cost(item) for item in items}) == 1 else _POOL
        return 1

    def _order(self, epoch: int) -> Indices:
        seed, n = self.data.seed, len(self.data.train)
        return shuffled(n, seed, epoch) if self.chances is None else drawn(self.chances, seed, epoch)

    def batches(self, epoch: int, step: int) -> Iterator[tuple[Indices, list[Any]]]:
        """Rows and items of each step of an epoch, from ``step`` on."""
        seed, size = self.data.seed, self.size
        waiting: list[tuple[int, Indices]] = []
        done = first = 0
        pools = cut(self._order(epoch), self.pool * size)
        for place, rows in enumerate(pools):
            done += len(cut(rows, size))
            if done > step:
                first = first if waiting else step - (done - len(cut(rows, size)))
                waiting.append((place, rows))
        read = read_items(
            self.data.train.examples,
            [rows for _, rows in waiting],
            self.preprocess,
            lambda row: mixed(seed, epoch, row),
            self.data.machine.threads,
        )
        for (place, rows), items in zip(waiting, read, strict=True):
            costs = [self.preprocess.cost(item) for item in items]
            for chosen in alike(costs, size, seed, epoch, place)[first:]:
                yield rows[chosen], [items[int(each)] for each in chosen]
            first = 0
