"""Which training rows are held out from which: folds that keep groups and equal rows together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from graft.contracts import Array, Link
from graft.data.cells import KIND_OF_LINK
from graft.data.split import kfold
from graft.data.units import units_of
from graft.errors import RequestError

__all__ = ["folds_of", "hard", "strata", "units"]

_FEWEST = 10
"""Rows below which held-out rows say nothing."""

_MANY = 5000
"""Rows from which three folds do: each still learns from thousands."""


def folds_of(
    targets: Tensor, link: Link, groups: Array | None, keys: npt.NDArray[np.uint8] | None, seed: int, wide: bool
) -> npt.NDArray[np.int64] | None:
    """``(n,)`` folds; -1 for rows that always learn, as the only ones of their class.  ``None``: too few rows.

    Of many ``wide`` rows, whose folds are fitted one by one, a single fold is held out.
    """
    n, targets = len(targets), hard(targets, link)
    if n < _FEWEST:
        return None
    if keys is None:
        keys = np.zeros((n, 16), np.uint8)
        keys[:, :8] = np.arange(n, dtype=np.int64)[:, None].view(np.uint8)
    labels = strata(targets, link)
    try:
        folds = kfold(keys, labels, groups, 3 if n >= _MANY else 5, seed, KIND_OF_LINK[link])
    except RequestError:  # fewer groups than folds
        try:
            folds = kfold(keys, labels, groups, 2, seed, KIND_OF_LINK[link])
        except RequestError:
            return None
    if wide and n >= _MANY:
        folds[folds > 0] = -1
    if link == "softmax":
        folds[np.bincount(targets.numpy())[targets.numpy()] == 1] = -1
    return folds if (folds >= 0).any() else None


def strata(targets: Tensor, link: Link) -> Array:
    """``(n,)`` labels that folds and samples even out: classes, tuples of labels, or the first number."""
    labels = np.empty(len(targets), dtype=object)
    labels[:] = [tuple(np.flatnonzero(row)) for row in targets.numpy()] if link == "sigmoid" else _numbers(targets)
    return labels


def _numbers(targets: Tensor) -> list[Any]:
    return [row if targets.ndim == 1 else row[0] for row in targets.tolist()]


def hard(targets: Tensor, link: Link) -> Tensor:
    """Targets as metrics take them: of soft labels ``(n, c)`` of classes, the likeliest class ``(n,)``."""
    return targets.argmax(1) if link == "softmax" and targets.ndim == 2 else targets


def units(groups: Array | None, keys: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """``(n,)`` numbers from 0: rows of one group, and equal rows, have one number."""
    rows = np.arange(len(keys))
    found = np.empty(len(keys), np.int64)
    for number, unit in enumerate(units_of(rows, keys, groups, dict.fromkeys(rows.tolist(), (0,)))):
        found[list(unit.rows)] = number
    return found
