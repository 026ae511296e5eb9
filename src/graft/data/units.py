"""Rows that share a group or their bytes, which a split may not cut apart, and the strata that it evens out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graft.contracts import Array
from graft.data.cells import Kind, settled

__all__ = ["Unit", "strata_of", "units_of"]

_BINS = 10


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows that stay together: their name, which they are, and how many rows of each stratum they hold.

    A bound unit belongs with validation rows that the data state, so nothing may be tested by it.
    """

    name: bytes
    rows: tuple[int, ...]
    strata: tuple[tuple[Any, int], ...]
    bound: bool = False


def strata_of(labels: Array, kind: Kind) -> list[tuple[Any, ...]]:
    """The strata of each row: its class, its labels, or the decile of its value."""
    if kind == "sets":
        return [tuple(label) or (None,) for label in labels]
    if kind == "classes":
        return [(settled(label),) for label in labels]
    values = np.array([float(label) for label in labels])
    bins = max(1, min(_BINS, len(values) // _BINS))
    edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1])
    return [(int(place),) for place in np.searchsorted(edges, values, side="right")]


def units_of(
    rows: npt.NDArray[np.int64],
    keys: npt.NDArray[np.uint8],
    groups: Array | None,
    strata: Mapping[int, tuple[Any, ...]],
    valid: npt.NDArray[np.bool_] | None = None,
) -> list[Unit]:
    """Rows that are connected through equal bytes or an equal group; an empty group connects nothing.

    ``strata`` names the rows to deal; others only connect, and bind where they are ``valid``.
    """
    flat = [key.tobytes() for key in keys]
    parent = list(range(len(flat)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[Any, int] = {}
    for place, key in enumerate(flat):
        marks: list[Any] = [key]
        if groups is not None and groups[place] not in ("", None):
            marks.append(str(groups[place]))
        for mark in marks:
            parent[root(place)] = root(first.setdefault(mark, place))
    members: dict[int, list[int]] = {}
    for place in range(len(flat)):
        members.setdefault(root(place), []).append(place)
    units = []
    for places in members.values():
        free = [(place, int(rows[place])) for place in places if int(rows[place]) in strata]
        if free:
            units.append(
                Unit(
                    min(flat[place] for place, _ in free),
                    tuple(row for _, row in free),
                    tuple(Counter(stratum for _, row in free for stratum in strata[row]).items()),
                    valid is not None and any(valid[rows[place]] for place in places),
                )
            )
    return units
