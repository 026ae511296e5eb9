"""Rows in pairs of like targets, for training that compares rows: every row of a batch then has one to be near to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from graft.contracts import Batch, Examples
from graft.data.order import Indices, mixed
from graft.data.preprocess.wrapping import Wrapping

__all__ = ["PairPreprocess", "Pairs", "draw_pairs"]


def draw_pairs(targets: Tensor, count: int, seed: int) -> Indices:
    """Rows ``(count, 2)`` whose targets share a class; classes come evenly, and so do the rows of each.

    Nothing is ever listed that grows with the square of the rows.

    Parameters
    ----------
    targets
        ``(n,)`` int64, or ``(n, c)`` float32: label sets, or soft labels, of which those count that are at least
        half of the largest.

    Examples
    --------
    >>> import torch
    >>> draw_pairs(torch.tensor([0, 1, 0]), 4, seed=0).shape
    (4, 2)
    """
    random = np.random.Generator(np.random.PCG64(mixed(seed, count)))
    decks = [_Deck(rows, random) for rows in _members(targets)]
    ring = _Deck(np.arange(len(decks)), random)
    drawn = np.empty((count, 2), np.int64)
    for place in range(count):
        deck = decks[ring.next()]
        drawn[place] = deck.next(), deck.next()
    return drawn


class _Deck:
    """Cards one after the other, shuffled anew whenever all have come."""

    def __init__(self, cards: Indices, random: np.random.Generator) -> None:
        self.cards, self.random, self.left = cards, random, 0

    def next(self) -> int:
        if not self.left:
            last, self.left = self.cards[0], len(self.cards)
            self.cards = self.random.permutation(self.cards)
            if self.left > 1 and self.cards[-1] == last:  # no card twice in a row
                self.cards = np.roll(self.cards, 1)
        self.left -= 1
        return int(self.cards[self.left])


def _members(targets: Tensor) -> list[Indices]:
    """The rows of each class that has any; rows without a label are a class too."""
    if targets.ndim == 1:
        named = targets.numpy()
        return [np.flatnonzero(named == each) for each in np.unique(named)]
    held = targets.numpy()
    has = (held > 0) & (held >= 0.5 * held.max(axis=1, keepdims=True))
    found = [np.flatnonzero(column) for column in has.T] + [np.flatnonzero(~has.any(axis=1))]
    return [rows for rows in found if len(rows)]


class Pairs:
    """Examples whose rows are pairs of rows.

    Parameters
    ----------
    examples
        Where the rows are.
    pairs
        ``(m, 2)`` rows.
    """

    def __init__(self, examples: Examples, pairs: Indices) -> None:
        self.modality = examples.modality
        self.examples, self.pairs = examples, pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, row: int) -> tuple[Any, Any]:
        first, second = self.pairs[row].tolist()
        return self.examples[first], self.examples[second]

    def name(self, row: int) -> str:
        return " and ".join(self.examples.name(int(each)) for each in self.pairs[row])

    def keys(self) -> npt.NDArray[np.uint8]:
        keys = self.examples.keys()
        return np.bitwise_xor(keys[self.pairs[:, 0]], np.roll(keys[self.pairs[:, 1]], 1, axis=1))

    def take(self, rows: Indices) -> Pairs:
        return Pairs(self.examples, self.pairs[rows])


class PairPreprocess(Wrapping):
    """From pairs of rows to batches of rows: pair after pair, the first of each before its second."""

    def items(self, rows: Sequence[tuple[Any, Any]], seeds: Sequence[int] | None = None) -> list[tuple[Any, Any]]:
        flat = [each for pair in rows for each in pair]
        own = None if seeds is None else [mixed(seed, side) for seed in seeds for side in (0, 1)]
        items = self.inner.items(flat, own)
        return list(zip(items[::2], items[1::2], strict=True))

    def cost(self, item: tuple[Any, Any]) -> int:
        return max(self.inner.cost(each) for each in item)

    def collate(self, items: Sequence[tuple[Any, Any]]) -> Batch:
        return self.inner.collate([each for pair in items for each in pair])
