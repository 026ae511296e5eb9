"""Rows in the order of time: what is learnt from was seen before what is measured by, and equal times stay together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from graft.contracts import Array, TargetData
from graft.data.cells import Kind, settled
from graft.errors import DataError, RequestError
from graft.wording import listed

__all__ = ["blocks_of", "in_order", "latest", "timed", "windows"]

Indices = npt.NDArray[np.int64]


def in_order(
    data: TargetData, rows: Indices, stated: Mapping[str, Indices], shares: Mapping[str, float], kind: Kind
) -> tuple[dict[str, Indices], list[str]]:
    """Rows of train, valid and test, ascending, and what is to be said of them.

    Parameters
    ----------
    rows
        Those with a label.
    stated
        Rows of the sides that the data state.
    shares
        Of the other sides, in their order in time.
    kind
        What the labels are.

    Raises
    ------
    DataError
        For rows without a time, stated test rows that are earlier than training rows, or training
        rows of one class alone.
    RequestError
        For groups beside times, or fewer distinct times than sides.
    """
    if data.groups is not None:
        raise RequestError("rows are split by time or by group, not by both; leave --time-by or --group-by away.")
    times = timed(data, rows)
    taken = np.concatenate([rows[:0], *stated.values()])
    pool = ~np.isin(rows, taken)
    block = blocks_of(times[pool], list(shares.values()))
    found = dict.fromkeys(("train", "valid", "test"), rows[:0])
    found |= {side: rows[pool][block == place] for place, side in enumerate(shares)} | dict(stated)
    learnt = np.isin(rows, np.concatenate([found["train"], found["valid"]]))
    tested = np.isin(rows, found["test"])
    early = int((times[tested] < times[learnt].max()).sum())
    if early:
        raise DataError(
            f"{early} test rows that {data.origin} states are earlier than the last row to learn from; "
            "leave --time-by away, or state a split in the order of time."
        )
    how = [f"{' and '.join(stated)} as the data state"] if stated else []
    how.append("in the order of time, equal times kept together")
    keys = [key.tobytes() for key in data.examples.take(rows).keys()]  # noqa: SIM118 (no mapping)
    known = {key for key, mine in zip(keys, learnt, strict=True) if mine}
    again = sum(key in known for key, mine in zip(keys, tested, strict=True) if mine)
    how += [f"{again} test rows equal an earlier row"] if again else []
    return found, [*how, *_new_classes(data, found)] if kind == "classes" else how


def _new_classes(data: TargetData, found: Mapping[str, Indices]) -> list[str]:
    """A word on classes that came up too late to be learnt."""
    assert data.labels is not None
    early, late = ({str(settled(label)) for label in data.labels[found[side]]} for side in ("train", "test"))
    if len(early) < 2:
        raise DataError(
            f"the {len(found['train'])} earliest rows, those to learn from, are all of class {', '.join(early)}; "
            "give earlier rows of other classes, or leave --time-by away."
        )
    new = sorted(late - early)
    return [f"too new to be learnt: class {listed(map(repr, new), 5)}"] if new else []


def blocks_of(times: Array, shares: Sequence[float]) -> Indices:
    """The block ``(n,)`` of each row, 0 the earliest, such that each holds its share as nearly as equal times allow.

    Parameters
    ----------
    times
        ``(n,)``, none of them missing.
    shares
        One a block, above 0.

    Raises
    ------
    RequestError
        For fewer distinct times than blocks.
    """
    _, place, counts = np.unique(times, return_inverse=True, return_counts=True)
    if len(counts) < len(shares):
        raise RequestError(
            f"the rows have {len(counts)} distinct times, and rows of one time stay together: they cannot be cut into "
            f"{len(shares)} parts; ask for fewer, or order by something finer."
        )
    before = np.concatenate([[0], counts.cumsum()])  # rows before each distinct time
    wanted = np.cumsum(shares)[:-1] / np.sum(shares) * len(times)
    edges: list[int] = []
    for turn, goal in enumerate(wanted):
        # each block keeps a time of its own, those to come included
        low, high = (edges[-1] if edges else 0) + 1, len(counts) - (len(wanted) - turn)
        edges.append(low + int(np.abs(before[low : high + 1] - goal).argmin()))
    return np.searchsorted(np.array(edges, dtype=np.int64), place, side="right").astype(np.int64)


def windows(times: Array, folds: int) -> Indices:
    """The fold ``(n,)`` that measures each row, 0 to ``folds − 1``; −1 for the earliest, which are only learnt from.

    Fold i is measured by what learnt from all rows before it: the window of what is learnt from
    expands.

    Raises
    ------
    RequestError
        For fewer than 2 folds, or fewer distinct times than ``folds + 1``.

    References
    ----------
    Tashman, Out-of-sample tests of forecasting accuracy: an analysis and review, International
    Journal of Forecasting 16, 2000 (rolling origins).
    """
    if folds < 2:
        raise RequestError(f"{folds} folds were asked for; 2 or more were expected.")
    return blocks_of(times, [1 / (folds + 1)] * (folds + 1)) - 1


def latest(times: Array, fraction: float) -> tuple[Indices, Indices]:
    """Cut the latest rows off: ``(train, valid)`` places, ascending.  Rows of one time alone leave nothing to cut."""
    if not fraction or len(np.unique(times)) < 2:
        return np.arange(len(times)), np.arange(0)
    block = blocks_of(times, [1 - fraction, fraction])
    return np.flatnonzero(block == 0), np.flatnonzero(block == 1)


def timed(data: TargetData, rows: Indices) -> Array:
    """When these rows were seen.

    Raises
    ------
    DataError
        For rows without a time.
    """
    assert data.times is not None
    times = data.times[rows]
    gaps = rows[np.isnan(times)]
    if len(gaps):
        named = ", ".join(data.examples.name(int(row)) for row in gaps[:5]) + (", …" if len(gaps) > 5 else "")
        raise DataError(
            f"{len(gaps)} of {len(rows)} labelled rows of {data.origin} have no time ({named}), so they stand nowhere "
            "in the order; fill it in, or remove these rows."
        )
    return np.asarray(times)
