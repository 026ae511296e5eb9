"""Where a candidate would be with all rows, judged by how it did with fewer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["hoped", "reached"]

_FLATTEST = 0.5
"""Exponent of the power law by which errors fall as rows grow, where the points are too few to tell it."""


def hoped(score: float, rows: int, more: int, best: float) -> float:
    """The most that a score can be hoped to reach: its distance from ``best`` shrinks as ``1 / sqrt(n)``.

    Parameters
    ----------
    best
        What a perfect model scores: 1 for shares, 0 for errors turned so that higher is better.

    Examples
    --------
    >>> hoped(0.6, 100, 400, best=1.0)
    0.8
    """
    shrinks = min(1.0, float((rows / more) ** _FLATTEST))
    return best - (best - score) * shrinks


def reached(points: Mapping[int, float], rows: int) -> float:
    """The score to expect with ``rows`` rows: ``a - b / sqrt(n)`` through the points, where they rise.

    One point, or points that fall, are taken as they are: the last one.

    Parameters
    ----------
    points
        Rows learnt from → score, higher is better.

    References
    ----------
    Hestness et al., Deep learning scaling is predictable, empirically, arXiv:1712.00409, 2017.

    Examples
    --------
    >>> round(reached({100: 0.7, 400: 0.8}, 1600), 3)
    0.85
    """
    counts = np.array(sorted(points), dtype=np.float64)
    scores = np.array([points[int(each)] for each in counts])
    if len(counts) < 2 or rows <= counts[-1]:
        return float(scores[-1])
    inverse = counts**-_FLATTEST
    slope = float(np.cov(inverse, scores, bias=True)[0, 1] / inverse.var())
    if slope >= 0:
        return float(scores[-1])
    return float(scores[-1] + slope * (rows**-_FLATTEST - inverse[-1]))
