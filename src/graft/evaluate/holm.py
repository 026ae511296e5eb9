"""Several tests at once: p-values that keep the chance of even one false alarm below the level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graft.errors import RequestError

__all__ = ["holm"]


def holm(p_values: Sequence[float], tests: int | None = None) -> list[float]:
    """Holm's step-down p-values, in the order given.

    The i-th smallest of ``m`` is multiplied by ``m - i + 1``; none becomes smaller than one before it,
    nor larger than 1.

    Parameters
    ----------
    p_values
        In [0, 1]; ``nan`` (a test that says nothing) counts as a test, and stays ``nan``.
    tests
        How many tests were open, where these were picked from more after looking at the rows: the
        best one of ``k`` against the others is picked from ``k (k - 1) / 2`` pairs.  Those that
        are not given count as larger than those that are, which can only make the result larger.
        By default as many as are given.

    Raises
    ------
    RequestError
        For a number outside of [0, 1], or fewer ``tests`` than p-values.

    References
    ----------
    Holm, A simple sequentially rejective multiple test procedure, Scandinavian J. Statistics 6, 1979.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    given = np.asarray(p_values, dtype=np.float64)
    open_ = len(given) if tests is None else tests
    if (outside := given[(given < 0) | (given > 1)]).size:
        raise RequestError(f"{outside[0]:g} is no p-value; numbers from 0 to 1 were expected.")
    if open_ < len(given):
        raise RequestError(f"{len(given)} p-values cannot come from {open_} tests; give at least as many tests.")
    found = np.full(len(given), np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    scaled = given[order] * (open_ - np.arange(len(order)))
    found[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(each) for each in found]
