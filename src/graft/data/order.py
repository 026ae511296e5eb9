"""The order of rows while training: pure functions of seed, epoch and place, so that a resumed fit agrees."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Indices", "alike", "cut", "drawn", "mixed", "shuffled"]

Indices = npt.NDArray[np.int64]


def mixed(*parts: int) -> int:
    """A 63-bit number that depends on all ``parts``: the seed of one draw among many."""
    raw = b"".join(part.to_bytes(16, "little", signed=True) for part in parts)
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little") >> 1


def shuffled(n: int, *parts: int) -> Indices:
    """``0 … n - 1`` in an order that depends on ``parts``, such as seed and epoch."""
    return np.random.Generator(np.random.PCG64(mixed(*parts))).permutation(n).astype(np.int64)


def drawn(chances: npt.NDArray[np.floating[Any]], *parts: int) -> Indices:
    """As many rows as there are, row ``i`` about ``n chances[i] / Σ chances`` times; the order depends on ``parts``.

    Draws are systematic: a row comes as often as it is expected to, up to one time.
    """
    n, random = len(chances), np.random.Generator(np.random.PCG64(mixed(*parts)))
    order = random.permutation(n)
    ends = np.cumsum(chances[order] / np.sum(chances))
    taken = np.searchsorted(ends / ends[-1], (np.arange(n) + random.random()) / n, side="right")
    return random.permutation(order[np.minimum(taken, n - 1)]).astype(np.int64)


def cut(rows: Indices, size: int) -> list[Indices]:
    """``rows`` in as few parts of at most ``size`` as will do, of nearly equal length.

    No part is left over that is much smaller than the others: BatchNorm cannot average one row.
    """
    return np.array_split(rows, max(1, math.ceil(len(rows) / size)))


def alike(costs: Sequence[int], size: int, *parts: int) -> list[Indices]:
    """Places of items in batches of like cost, as padding is wasted; the batches' order depends on ``parts``."""
    batches = cut(np.argsort(np.asarray(costs), kind="stable").astype(np.int64), size)
    return [batches[place] for place in shuffled(len(batches), *parts)]
