"""How far the features' means of the classes lie apart, against how far features vary at all."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graft.contracts import Array, Link, Score, Seen
from graft.errors import RequestError
from graft.seen import check, classes, exact, principal, sums

__all__ = ["HScore"]


class HScore(Score):
    """How much of the features' variance, each direction counted alike, lies between the classes (H-score).

    Parameters
    ----------
    shrinkage
        Share, from 0 to 1, by which the features' covariance is drawn to a sphere; ``None``
        estimates the best one (Ledoit and Wolf), as Ibrahim et al. do.  0 is the H-score as it
        was published, which says nothing where there are about as many features as rows.

    References
    ----------
    Bao et al., An information-theoretic approach to transferability in task transfer learning, ICIP
    2019; Ibrahim, Ponomareva and Mazumder, Newer is not always better: rethinking transferability
    metrics, their peculiarities, stability and performance, ECML-PKDD 2022 (shrinkage); Ledoit and
    Wolf, A well-conditioned estimator for large-dimensional covariance matrices, J. Multivariate
    Analysis 88, 2004.

    Examples
    --------
    >>> from graft.contracts import Card
    >>> rows = np.repeat([[1.0], [-1.0]], 10, axis=0)
    >>> round(HScore(shrinkage=0).score(Seen(rows, None, Card("apart", "table")), np.repeat([0, 1], 10)), 6)
    1.0
    """

    kinds: ClassVar[tuple[Link, ...]] = ("softmax",)

    def __init__(self, shrinkage: float | None = None) -> None:
        self.shrinkage = shrinkage

    def score(self, seen: Seen, targets: Array) -> float:
        given = self.shrinkage
        if given is not None and (isinstance(given, bool) or not 0 <= given <= 1):
            raise RequestError(f"shrinkage is {given!r}; expected a share from 0 to 1, or none to estimate it.")
        check(self, seen, targets)
        places, count = classes(self, targets)
        x = exact(seen)
        n, d = x.shape
        u, energy = principal(x - x.mean(axis=0))
        rows = u * np.sqrt(energy)
        often = np.bincount(places)[:, None]
        between = (np.square(sums(rows, places, count)) / often).sum(axis=0) / n  # along each principal axis
        within_sphere = energy.sum() / n / max(d, 1)
        share = _ledoit_wolf(rows, energy, d) if given is None else float(given)
        spread = (1 - share) * energy / n + share * within_sphere
        return float(((1 - share) * between / spread).sum()) if len(energy) else 0.0


def _ledoit_wolf(rows: Array, energy: Array, d: int) -> float:
    """The share that brings the covariance nearest to the true one; ``rows`` are centred, ``energy`` is of them."""
    n = len(rows)
    squares = np.square(energy).sum() / n**2  # of all entries of the covariance
    mean = energy.sum() / n / max(d, 1)
    noise = (np.square(np.square(rows).sum(axis=1)).sum() / n - squares) / n
    away = squares - d * mean**2
    return float(min(noise, away) / away) if away > 1e-12 * squares else 1.0 if squares else 0.0
