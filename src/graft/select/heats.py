"""What candidates of a race learn from and are measured by: the same rows for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft.contracts import Array, TargetData
from graft.data.cells import Kind
from graft.data.split import Split, hold_out, kfold
from graft.select.resolution import HALF

__all__ = ["Heat", "Rung", "heats_of", "learners", "rungs_of"]

_FOLDS_BELOW = 1000
"""Rows below which every row is measured by, in folds: one small side is too few to choose by."""

_FOLDS = 5
_RATE = 3
"""How many times more each rung costs than the one below (the eta of successive halving)."""

_ROWS_A_CLASS = 8
_FEWEST = 100


@dataclass(frozen=True)
class Heat:
    """Places of the rows that are learnt from, and of those that are measured by."""

    learn: Array
    measured: Array


@dataclass(frozen=True)
class Rung:
    """How well a candidate is measured here.

    Parameters
    ----------
    share
        Of the rows of a heat that are learnt from.
    heats
        How many heats are run, from the first on.
    scale
        Share of the edge of images that is seen.
    """

    share: float
    heats: int
    scale: float = 1.0

    @property
    def work(self) -> float:
        """How many fits on all rows of a heat it comes to, were it on whole images."""
        return self.share * self.heats


def heats_of(held: TargetData, sides: Split, kind: Kind, seed: int) -> tuple[Heat, ...]:
    """One heat, train against valid; or, where rows are few, a fold each of all that is no test row.

    A split whose validation rows the data state is kept as it is.
    """
    assert held.labels is not None
    pool = sides.pool
    stated = held.given is not None and bool((held.given[sides.valid] == "valid").any())
    if stated or (len(sides.valid) and len(pool) >= _FOLDS_BELOW):
        return (Heat(sides.train, sides.valid),)
    groups = None if held.groups is None else held.groups[pool]
    units = len(pool) if groups is None else len(np.unique(groups))
    dealt = kfold(held.examples.take(pool).keys(), held.labels[pool], groups, min(_FOLDS, units), seed, kind)
    return tuple(Heat(pool[dealt != fold], pool[dealt == fold]) for fold in range(int(dealt.max()) + 1))


def rungs_of(heats: Sequence[Heat], outputs: int, *, glimpse: bool = False) -> tuple[Rung, ...]:
    """From a glimpse to the whole: shares of the rows grow by 3; of several heats, ever more are run.

    Parameters
    ----------
    outputs
        Of the task: its classes decide how few rows still say something.
    glimpse
        Whether images of half the edge are seen first, where there is one heat of many.
    """
    rows = len(heats[0].learn)
    if len(heats) > 1:
        return tuple(Rung(1.0, count) for count in sorted({1, (len(heats) + 1) // 2, len(heats)}))
    fewest = max(_FEWEST, _ROWS_A_CLASS * outputs)
    shares = [1.0]
    while len(shares) < 3 and rows * shares[0] / _RATE >= fewest:
        shares.insert(0, shares[0] / _RATE)
    smaller = [Rung(shares[0], 1, HALF)] if glimpse else []
    return (*smaller, *(Rung(share, 1) for share in shares))


def learners(held: TargetData, heat: Heat, share: float, kind: Kind, seed: int) -> Array:
    """The rows of a heat that a rung learns from: whole groups, every class; those of a lower rung are among them."""
    if share >= 1:
        return heat.learn
    assert held.labels is not None
    kept = heat.learn
    portion = 1.0
    while portion > share * 1.001:  # cut step by step, so that a smaller share is cut from the next larger one
        step = max(share / portion, 1 / _RATE)
        groups = None if held.groups is None else held.groups[kept]
        few = hold_out(held.examples.take(kept).keys(), held.labels[kept], groups, 1 - step, seed, kind)[0]
        kept, portion = kept[few], portion * step
    return kept
