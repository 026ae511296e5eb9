"""Shares of rows with their intervals, many at once, also where rows come in groups that are not independent."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from graft.contracts import Array
from graft.evaluate.intervals import units

__all__ = ["proportions", "wilson"]


def wilson(hits: Array, counts: Array, level: float = 0.95) -> tuple[Array, Array]:
    """The interval ``(low, high)`` of each share ``hits / counts``; ``nan`` where nothing was counted.

    Counts need not be whole: what groups hold counts for less.

    References
    ----------
    Wilson, Probable inference, the law of succession, and statistical inference, JASA 22, 1927;
    Brown, Cai and DasGupta, Interval estimation for a binomial proportion, Statistical Science 16,
    2001, who recommend it for few rows.
    """
    z = float(ndtri((1 + level) / 2))
    counts = np.where(counts > 0, counts, np.nan)
    share = hits / counts
    middle = (share + z**2 / (2 * counts)) / (1 + z**2 / counts)
    reach = z / (1 + z**2 / counts) * np.sqrt(share * (1 - share) / counts + z**2 / (4 * counts**2))
    # rounding must not leave the share outside of its own interval
    low, high = np.minimum(middle - reach, share), np.maximum(middle + reach, share)
    return np.maximum(low, 0.0), np.minimum(high, 1.0)


def proportions(
    hits: Array, among: Array, groups: Array | None = None, level: float = 0.95, widen: float = 1.0
) -> tuple[Array, Array, Array]:
    """``(value, low, high)``, each ``(k,)``: of the rows ``among`` which, the share that are hits.

    Parameters
    ----------
    hits, among
        ``(n, k)`` marks; a hit is always among them.
    groups
        ``(n,)``: rows of one group are not independent.  Their number is divided by the design
        effect, the factor by which grouping widens the variance of the share.
    widen
        Factor on the reach, as if there were so much (its square) fewer rows.

    References
    ----------
    Rao and Scott, A simple method for the analysis of clustered binary data, Biometrics 48, 1992.
    """
    above, below = hits.sum(axis=0).astype(np.float64), among.sum(axis=0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = above / below
        effective = below if groups is None else _effective(hits, among, groups, share)
        effective = effective / widen**2
        low, high = wilson(share * effective, effective, level)
    return share, low, high


def _effective(hits: Array, among: Array, groups: Array, share: Array) -> Array:
    """``(k,)``: how many independent rows would say as much."""
    place = units(len(groups), groups)
    count = int(place.max(initial=-1)) + 1
    mine = np.stack([np.bincount(place, weights=column, minlength=count) for column in hits.T.astype(np.float64)])
    size = np.stack([np.bincount(place, weights=column, minlength=count) for column in among.T.astype(np.float64)])
    below, held = size.sum(axis=1), (size > 0).sum(axis=1)
    spread = ((mine - share[:, None] * size) ** 2).sum(axis=1) * held / np.maximum(held - 1, 1) / below**2
    effect = spread / (share * (1 - share) / below)
    # a share of 0 or 1 shows no effect: there each group counts as one row
    effect = np.where(np.isfinite(effect) & (held > 1), np.maximum(effect, 1.0), below / np.maximum(held, 1))
    return np.asarray(np.maximum(below / effect, np.minimum(below, 1.0)))
