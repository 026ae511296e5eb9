"""Rows dealt into folds, once or several times: which rows measure, and which are learnt from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from graft.contracts import TargetData
from graft.data.cells import Kind, settled
from graft.data.chronological import timed, windows
from graft.data.split import kfold
from graft.errors import RequestError
from graft.wording import listed

__all__ = ["Folds", "deal", "folds_in_words"]

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Folds:
    """One dealing of ``n`` rows.

    Parameters
    ----------
    fold
        ``(n,)`` the fold that each row measures; −1 for a row that is only learnt from.
    ordered
        Whether a fold is measured by what learnt from earlier rows alone, instead of from all others.
    """

    fold: Indices
    ordered: bool = False

    @property
    def count(self) -> int:
        """How many folds there are."""
        return int(self.fold.max()) + 1

    def measured(self, fold: int) -> npt.NDArray[np.bool_]:
        """``(n,)``: the rows of a fold."""
        return np.asarray(self.fold == fold)

    def learnt(self, fold: int) -> npt.NDArray[np.bool_]:
        """``(n,)``: the rows that its models may learn from, and choose by."""
        return np.asarray(self.fold < fold if self.ordered else self.fold != fold)


def deal(data: TargetData, rows: Indices, folds: int, repeats: int, seed: int, kind: Kind) -> tuple[Folds, ...]:
    """Deal the rows at these places: stratified, groups and duplicates in one fold; in order, where they have times.

    Raises
    ------
    RequestError
        For fewer than 2 folds, more than there are units of rows that stay together, no repeat, or
        times beside repeats or groups.
    DataError
        For rows without a time, where others have one.
    """
    if repeats < 1:
        raise RequestError(f"repeats is {repeats}, expected at least 1.")
    assert data.labels is not None
    groups = None if data.groups is None else data.groups[rows]
    if data.times is None:
        keys, labels = data.examples.take(rows).keys(), data.labels[rows]
        return tuple(Folds(kfold(keys, labels, groups, folds, seed + turn, kind)) for turn in range(repeats))
    if repeats > 1:
        raise RequestError(f"time has one order, so rows are not dealt {repeats} times; leave --repeats away.")
    if groups is not None:
        raise RequestError("rows are dealt by time or by group, not by both; leave --time-by or --group-by away.")
    return (Folds(windows(timed(data, rows), folds), ordered=True),)


def folds_in_words(data: TargetData, rows: Indices, dealt: tuple[Folds, ...], kind: Kind) -> str:
    """How the rows were dealt, and which classes are too small for that, for a person."""
    first = dealt[0]
    often = f", {len(dealt)} times" if len(dealt) > 1 else ""
    how = "groups and duplicates kept together"
    if first.ordered:
        how = f"each measured by what learnt from earlier rows; the first {(first.fold < 0).sum()} only learnt from"
    found = f"{len(rows)} rows in {first.count} folds{often}; {how}"
    assert data.labels is not None
    counts = Counter(str(settled(label)) for label in data.labels[rows]) if kind == "classes" else Counter[str]()
    few = sorted(name for name, count in counts.items() if count < first.count)
    if few and not first.ordered:
        found += f"; fewer rows than folds: class {listed(map(repr, few), 3)}"
    return found
