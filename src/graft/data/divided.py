"""Labels that are divided among classes: probabilities, in columns of their own or in one cell a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from graft.contracts import Array, Soft
from graft.errors import DataError

__all__ = ["divided", "in_columns"]

_TOLERANCE = 1e-3
"""How far probabilities may be from a sum of 1: further is a mistake, nearer is rounding."""

_ROUNDING = 1e-6
"""Sums nearer to 1 than that are not worth a word."""

Shares = tuple[tuple[Any, float], ...]


def in_columns(values: Array, names: Sequence[Any]) -> tuple[list[Any], tuple[str, ...]]:
    """Rows of probabilities ``(n, c)`` of the classes ``names`` → labels, and what was made of them.

    A row of nothing but NaN has no label.

    Raises
    ------
    DataError
        For rows that are no probabilities.
    """
    rows: list[Mapping[Any, Any] | None] = [
        None if all(_absent(value) for value in row) else dict(zip(names, row, strict=True)) for row in values.tolist()
    ]
    return divided(rows)


def divided(cells: Iterable[Any]) -> tuple[list[Any], tuple[str, ...]]:
    """Mappings of class to probability → :class:`~graft.contracts.Soft`; other cells stay as they are.

    Sums that rounding keeps from 1 are brought there.

    Raises
    ------
    DataError
        For rows that are no probabilities: numbers from 0 to 1 that add up to 1.
    """
    labels: list[Any] = []
    faults: list[str] = []
    drift = 0.0
    for row, cell in enumerate(cells):
        if not isinstance(cell, Mapping):
            labels.append(cell)
            continue
        shares, fault = _shares(cell)
        if fault:
            faults.append(f"row {row + 1}: {fault}")
        total = sum(share for _, share in shares)
        drift = max(drift, abs(total - 1))
        labels.append(Soft(tuple((name, share / total) for name, share in shares)) if total else None)
    if faults:
        more = f"\n  … and {len(faults) - 10} more" if len(faults) > 10 else ""
        listed = "\n".join(f"  {fault}" for fault in faults[:10])
        raise DataError(
            f"{len(faults)} rows are no probabilities of the classes; numbers from 0 to 1 that add up to 1 were "
            f"expected:\n{listed}{more}"
        )
    notes = (
        (f"probabilities that add up to 1 within {drift:.1g} were divided by their sum.",) if drift > _ROUNDING else ()
    )
    return labels, notes


def _shares(cell: Mapping[Any, Any]) -> tuple[Shares, str]:
    """The shares of a row, and what is wrong with them."""
    known = [(name, value) for name, value in cell.items() if not _absent(value)]
    if not all(isinstance(value, int | float | np.number) for _, value in known):
        strange = next(value for _, value in known if not isinstance(value, int | float | np.number))
        return (), f"{strange!r} is no number"
    shares = tuple((name, float(value)) for name, value in known)
    spelt = " + ".join(f"{value:.4g}" for _, value in shares[:6]) + (" + …" if len(shares) > 6 else "")
    if not shares:
        return (), "no class has a probability"
    if not all(math.isfinite(value) and value >= 0 for _, value in shares):
        return (), f"{spelt} are not all 0 or more"
    total = sum(value for _, value in shares)
    return (shares, "") if abs(total - 1) <= _TOLERANCE else ((), f"{spelt} = {total:.4g}")


def _absent(value: Any) -> bool:
    return value is None or value != value
