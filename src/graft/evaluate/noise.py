"""Which labels are likely wrong, from probabilities by models that did not learn from the rows.

``labels`` are ``(n,)`` places of the given classes and ``probabilities`` ``(n, c)``.  The numbers are
those of the library cleanlab, up to the rounding of its counts.

References
----------
Northcutt, Jiang and Chuang, Confident learning: estimating uncertainty in dataset labels, Journal
of Artificial Intelligence Research 70, 2021.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from graft.contracts import Array

__all__ = ["joint", "mislabelled", "noise_share", "quality", "thresholds"]

_LEVEL = 1e-6
"""A probability that much below a threshold is level with it."""

_ABSENT = 2.0
"""The threshold of a class without rows, which no probability reaches."""


def quality(labels: npt.NDArray[np.int64], probabilities: Array) -> Array:
    """``(n,)`` self-confidence: the probability of the label that a row was given."""
    return np.asarray(probabilities[np.arange(len(labels)), labels])


def thresholds(labels: npt.NDArray[np.int64], probabilities: Array) -> Array:
    """``(c,)``: how probable a class is, on average, for the rows that were given it."""
    own = quality(labels, probabilities)
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    sums = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    return np.where(counts > 0, sums / np.maximum(counts, 1), _ABSENT)


def _confident(labels: npt.NDArray[np.int64], probabilities: Array) -> tuple[Array, Array]:
    """The class ``(n,)`` that each row confidently has, and whether ``(n,)`` there is one."""
    above = probabilities >= thresholds(labels, probabilities) - _LEVEL
    likely = np.where(above.sum(axis=1) > 1, probabilities.argmax(axis=1), above.argmax(axis=1))
    return likely, np.asarray(above.any(axis=1))


def joint(labels: npt.NDArray[np.int64], probabilities: Array) -> Array:
    """``(c, c)``: estimated shares of rows with the given class of the row and the true class of the column.

    Rows are counted where one class stands out, and each given class is brought to its own share.
    """
    c = probabilities.shape[1]
    likely, sure = _confident(labels, probabilities)
    counts = np.zeros((c, c))
    np.add.at(counts, (labels[sure], likely[sure]), 1)
    # a class of which no row is sure counts one that is right
    np.fill_diagonal(counts, counts.diagonal().clip(min=1))
    given = np.bincount(labels, minlength=c)
    shares = counts / counts.sum(axis=1, keepdims=True) * given[:, None]
    return np.asarray(shares / shares.sum())


def noise_share(labels: npt.NDArray[np.int64], probabilities: Array) -> float:
    """The estimated share of rows whose label is wrong."""
    return float(1 - joint(labels, probabilities).trace())


def mislabelled(labels: npt.NDArray[np.int64], probabilities: Array) -> npt.NDArray[np.bool_]:
    """``(n,)``: rows that confidently belong to another class than they were given.

    A row whose given class is also its likeliest is never among them.
    """
    likely, sure = _confident(labels, probabilities)
    return np.asarray(sure & (likely != labels) & (probabilities.argmax(axis=1) != labels))
