"""Growing samples of rows: each holds the one before, all of them stratified, groups and copies kept together."""

from __future__ import annotations

from itertools import count

import numpy as np
import numpy.typing as npt

from graft.contracts import Link, TransferData
from graft.data.cells import KIND_OF_LINK
from graft.data.split import hold_out
from graft.linear.folds import hard, strata

__all__ = ["growing_samples"]

_FIRST, _GROWTH = 128, 4
"""Rows of the first sample, and how many times as many the next one has."""

_A_CLASS = 4
"""Rows that the first sample has of a class, on average, at least: fewer say nothing of it."""


def growing_samples(
    data: TransferData, link: Link, n_outputs: int, most: int | None = None
) -> list[npt.NDArray[np.int64]]:
    """Places of the training rows, ascending, from a small sample to all rows (or ``most``) that count at all.

    Which rows they are depends on the rows and the seed alone.
    """
    rows = data.train
    whole = np.arange(len(rows)) if rows.weights is None else np.flatnonzero(rows.weights.numpy() > 0)
    largest = len(whole) if most is None else min(most, len(whole))
    first = max(_FIRST, _A_CLASS * n_outputs)
    sizes = []
    for step in count():
        size = first * _GROWTH**step
        if 2 * size > largest:  # to grow by less than that would tell little for another pass
            break
        sizes.append(size)
    labels, keys = strata(hard(rows.targets, link), link), rows.examples.keys()
    nested = [whole]
    for size in ([] if largest == len(whole) else [largest]) + sizes[::-1]:
        inner = nested[-1]
        groups = None if data.groups is None else data.groups[inner]
        share = 1 - size / len(inner)
        kept, _ = hold_out(keys[inner], labels[inner], groups, share, data.seed, KIND_OF_LINK[link])
        nested.append(inner[kept])
    if largest < len(whole):
        nested.pop(0)
    return nested[::-1]
