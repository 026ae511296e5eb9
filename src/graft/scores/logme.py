"""The log of the maximum evidence of a linear model on the features."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from graft.contracts import Array, Link, Score, Seen
from graft.seen import check, classes, exact, link_of, principal

__all__ = ["LogME"]

_STEPS, _NEAR = 11, 1e-3
"""Of the fixed point; it mostly takes two or three."""
_EDGE = 1e-5
"""Keeps precisions finite where the fit, or nothing at all, is perfect."""


class LogME(Score):
    """How likely the targets are under the best Bayesian linear model on the features (LogME).

    Each class against all others, each label and each number is a regression with its own
    precisions of weights and noise, found by a fixed point; the score is the mean of their log
    evidences a row.  Where there are more features than rows, the evidence is that of all features:
    the authors' code for the fixed point leaves those without energy out of one of its two terms,
    so there it gives other figures than their first one, and than this.

    References
    ----------
    You, Liu, Wang and Long, LogME: practical assessment of pre-trained models for transfer learning,
    ICML 2021; You, Liu, Zhang, Wang, Jordan and Long, Ranking and tuning pre-trained models: a new
    paradigm for exploiting model hubs, JMLR 23, 2022 (the fixed point).

    Examples
    --------
    >>> from graft.contracts import Card
    >>> rows = np.repeat(np.eye(2), 10, axis=0)
    >>> LogME().score(Seen(rows, None, Card("told apart", "table")), np.repeat([0, 1], 10)) > 1
    True
    """

    kinds: ClassVar[tuple[Link, ...]] = ("softmax", "sigmoid", "identity")

    def score(self, seen: Seen, targets: Array) -> float:
        check(self, seen, targets)
        wanted = np.asarray(targets, np.float64)
        if link_of(targets) == "softmax":
            places, count = classes(self, targets)
            wanted = np.eye(count)[places]
        u, energy = principal(exact(seen))
        return float(_evidences(u, energy, wanted).mean())


def _evidences(u: Array, energy: Array, wanted: Array) -> Array:
    """``(k,)`` log evidences a row of the targets ``(n, k)``.

    ``alpha`` and ``beta`` are the precisions of the weights and of the noise; at a fixed point
    ``alpha |m|² = gamma`` and ``beta |y - f m|² = n - gamma``, with ``gamma`` effective parameters.
    A direction without energy has as much ``log alpha`` in the one term as in the other.
    """
    n = len(u)
    along = np.square(u.T @ wanted)  # what of the targets lies along each axis
    across = np.maximum(np.square(wanted).sum(axis=0) - along.sum(axis=0), 0.0)
    e = energy[:, None]
    alpha, beta = np.ones(wanted.shape[1]), np.ones(wanted.shape[1])
    found = np.zeros(wanted.shape[1])
    open_ = np.ones(wanted.shape[1], dtype=bool)
    for _ in range(_STEPS):
        t = alpha / beta
        gamma = (e / (e + t)).sum(axis=0)
        weights = (e * along / np.square(t + e)).sum(axis=0)
        noise = (along / np.square(1 + e / t)).sum(axis=0) + across
        alpha = np.where(open_, gamma / (weights + _EDGE), alpha)
        beta = np.where(open_, np.maximum(n - gamma, _EDGE) / (noise + _EDGE), beta)
        logs = len(energy) * np.log(np.maximum(alpha, 1e-300)) - np.log(alpha + beta * e).sum(axis=0)
        value = (logs + n * np.log(beta) - beta * noise - alpha * weights - n * np.log(2 * np.pi)) / (2 * n)
        found = np.where(open_, value, found)
        open_ &= np.abs(alpha / beta - t) > _NEAR * t
        if not open_.any():
            break
    return found
