"""How well classes are told apart by Fisher's discriminant, once those that are easy have been made harder."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import softmax

from graft.contracts import Array, Link, Score, Seen
from graft.seen import check, classes, exact, principal, sums

__all__ = ["SFDA"]


class SFDA(Score):
    """How surely a regularised Fisher discriminant tells the classes after challenging itself (SFDA).

    A discriminant is fitted; each row is drawn to the means of the other classes, the less surely
    it was told the more; the score is the mean chance that a second discriminant gives the true
    classes.  How strongly both are regularised goes by the largest variance inside the classes, so
    features keep their scale.

    References
    ----------
    Shao et al., Not all models are equal: predicting model transferability in a self-challenging
    Fisher space, ECCV 2022; the score without a logarithm, as in the authors' code.

    Examples
    --------
    >>> from graft.contracts import Card
    >>> rows = np.repeat(np.eye(2), 10, axis=0) + np.linspace(0, 0.1, 20)[:, None]
    >>> SFDA().score(Seen(rows, None, Card("apart", "table")), np.repeat([0, 1], 10)) > 0.9
    True
    """

    kinds: ClassVar[tuple[Link, ...]] = ("softmax",)

    def score(self, seen: Seen, targets: Array) -> float:
        check(self, seen, targets)
        places, count = classes(self, targets)
        x = exact(seen)
        d = max(x.shape[1], 1)
        # the chances depend on no shift, and nothing varies outside of the principal axes
        u, energy = principal(x - x.mean(axis=0))
        rows = u * np.sqrt(energy)
        strength = max(float(np.exp(-5 * _inside(rows, places, count)[0].max(initial=0.0))), 1e-10)
        sure = softmax(_chances(rows, places, count, d, strength), axis=1)  # softened once more, as the authors do
        means = _means(rows, places, count)
        others = (means.sum(axis=0) - means) / (count - 1)
        kept = sure[np.arange(len(rows)), places][:, None]
        challenged = kept * rows + (1 - kept) * others[places]
        told = _chances(challenged, places, count, d, strength)
        return float(told[np.arange(len(rows)), places].mean())


def _means(rows: Array, places: Array, count: int) -> Array:
    return np.asarray(sums(rows, places, count) / np.bincount(places, minlength=count)[:, None])


def _inside(rows: Array, places: Array, count: int) -> tuple[Array, Array]:
    """Variances inside the classes along their axes ``(k,)``, and these axes ``(k, k)``."""
    away = rows - _means(rows, places, count)[places]
    variances, axes = np.linalg.eigh(away.T @ away / len(rows))
    return np.maximum(variances, 0.0), axes


def _chances(rows: Array, places: Array, count: int, d: int, strength: float) -> Array:
    """``(n, c)``: chances of the classes by Gaussians of one regularised covariance.

    The authors solve for the axes between the classes; all of them together are the inverse of the
    covariance inside the classes, which is what their chances use.
    """
    variances, axes = _inside(rows, places, count)
    mean = max(float(variances.sum()) / d, 1e-12 * float(np.square(rows).sum()) / (len(rows) * d), 1e-300)
    scale = 1 / np.sqrt((1 - strength) * variances + strength * mean)
    centres, turned = (_means(rows, places, count) @ axes) * scale, (rows @ axes) * scale
    prior = np.log(np.bincount(places, minlength=count) / len(rows))
    return np.asarray(softmax(turned @ centres.T - np.square(centres).sum(axis=1) / 2 + prior, axis=1))
