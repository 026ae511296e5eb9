"""LEEP for sources without classes of their own: clusters of the features stand for them."""

from __future__ import annotations

import warnings
from typing import ClassVar, Literal, get_args

import numpy as np

from graft.contracts import Array, Link, Score, Seen
from graft.errors import RequestError
from graft.seen import check, classes, exact, expected_chances, principal

__all__ = ["NLEEP"]

Shape = Literal["diag", "full"]


class NLEEP(Score):
    """How well clusters of the features tell the classes: LEEP on a mixture of Gaussians (N-LEEP).

    Features are reduced to the principal axes that hold most of their variance, and a mixture is
    fitted to them; which cluster a row is likely of takes the place of the source's own classes.

    Parameters
    ----------
    ratio
        Clusters a class; no more clusters than a third of the rows are made.
    energy
        Share of the variance that the axes hold.
    shape
        Of the clusters: ``diag`` along the principal axes, or ``full``, as the authors of SFDA have it,
        which takes long for many classes and follows chance where rows are few.
    seed
        Where the clusters start.

    References
    ----------
    Li et al., Ranking neural checkpoints, CVPR 2021.

    Examples
    --------
    >>> from graft.contracts import Card
    >>> rows = np.repeat(np.eye(2), 10, axis=0) + np.linspace(0, 0.1, 20)[:, None]
    >>> NLEEP(ratio=1).score(Seen(rows, None, Card("apart", "table")), np.repeat([0, 1], 10)) > -0.1
    True
    """

    kinds: ClassVar[tuple[Link, ...]] = ("softmax",)

    def __init__(self, ratio: int = 5, energy: float = 0.8, shape: Shape = "diag", seed: int = 0) -> None:
        self.ratio = ratio
        self.energy = energy
        self.shape = shape
        self.seed = seed

    def score(self, seen: Seen, targets: Array) -> float:
        from sklearn.mixture import GaussianMixture

        self._check()
        check(self, seen, targets)
        places, count = classes(self, targets)
        x = exact(seen)
        u, energy = principal(x - x.mean(axis=0))
        held = np.cumsum(energy) / max(energy.sum(), 1e-300)
        axes = min(int(np.searchsorted(held, self.energy)) + 1, len(energy))
        if not axes:  # all rows are equal: one cluster
            return float(np.log(np.bincount(places)[places] / len(places)).mean())
        rows = u[:, :axes] * np.sqrt(energy[:axes] / (energy[0] / len(x)))
        most = max(2, min(self.ratio * count, len(rows) // 3, len(np.unique(rows, axis=0))))
        mixture = GaussianMixture(most, covariance_type=self.shape, random_state=self.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a mixture that could still move a little serves
            own = mixture.fit(rows).predict_proba(rows)
        expected = expected_chances(own, places, count)
        return float(np.log(np.maximum(expected, np.finfo(np.float64).tiny)).mean())

    def _check(self) -> None:
        if isinstance(self.ratio, bool) or not isinstance(self.ratio, int) or self.ratio < 1:
            raise RequestError(f"ratio is {self.ratio!r}; expected a whole number from 1.")
        if not 0 < self.energy <= 1:
            raise RequestError(f"energy is {self.energy!r}; expected a share above 0, up to 1.")
        if self.shape not in get_args(Shape):
            raise RequestError(f"shape is {self.shape!r}; expected {' or '.join(get_args(Shape))}.")
