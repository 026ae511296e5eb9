"""Measures of outputs against the truth, for one weighting of the rows or for a thousand at once.

Every function takes ``weights``: ``None`` counts each row once, ``(n,)`` counts a row that often
and gives a number, and ``(r, n)`` gives ``(r,)``, one value for each of r weightings.  The value is
that of the data with every row repeated so often, which is what a bootstrap asks for; the work
that does not depend on the weights (sorting, counting) is done once for all of them.

Where a measure has no value, such as an AUROC without negatives, it is ``nan``; the mean over
classes leaves such classes out.  scikit-learn gives the same numbers wherever it gives one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import scipy.sparse as sp

from graft.contracts import Array

__all__ = [
    "HIGHER_IS_BETTER",
    "accuracy",
    "auroc",
    "auroc_one_vs_rest",
    "auroc_per_label",
    "balanced_accuracy",
    "ece",
    "exact_match",
    "f1_per_label",
    "log_loss",
    "macro_f1",
    "mae",
    "mean_defined",
    "micro_f1",
    "r2",
    "rmse",
    "sign_of",
]

HIGHER_IS_BETTER: Mapping[str, bool] = MappingProxyType(
    {
        "accuracy": True,
        "auroc": True,
        "balanced_accuracy": True,
        "ece": False,
        "exact_match": True,
        "f1": True,
        "log_loss": False,
        "mae": False,
        "macro_f1": True,
        "micro_f1": True,
        "r2": True,
        "rmse": False,
    }
)
"""Metric name → whether more of it is better.  ``"f1/sports"``, of one label, goes by ``"f1"``."""


def sign_of(metric: str) -> float:
    """What a value of the metric is multiplied by, so that higher is better: 1 or -1."""
    return 1.0 if HIGHER_IS_BETTER[metric] else -1.0


def _weighted(values: Array, weights: Array | None) -> Array:
    """The mean of ``(n,)`` or ``(n, k)`` values over the rows."""
    if weights is None:
        return np.asarray(values.mean(axis=0, dtype=np.float64))[()]
    total = weights.sum(axis=-1, dtype=np.float64)
    return _ratio(weights @ values, total if values.ndim == 1 else total[..., None])


def _ratio(above: Array, below: Array) -> Array:
    """``above / below``, ``nan`` where ``below`` is zero."""
    above, below = np.broadcast_arrays(above, below)
    quotient = np.full(below.shape, np.nan)
    return np.asarray(np.divide(above, below, out=quotient, where=below != 0))[()]


def mean_defined(values: Array) -> Array:
    """The mean over the last axis, leaving out ``nan``; ``nan`` where nothing is left."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))


def _counts(labels: Array, classes: int, weights: Array | None, among: Array | None = None) -> Array:
    """``(…, c)``: the weight of the rows of each class, of those ``among`` which are marked."""
    rows = np.arange(len(labels)) if among is None else np.flatnonzero(among)
    if weights is None:
        return np.bincount(labels[rows], minlength=classes).astype(np.float64)
    marks = sp.csr_array((np.ones(len(rows)), (labels[rows], rows)), shape=(classes, len(labels)))
    return np.asarray(marks @ np.ascontiguousarray(weights.T)).T


def accuracy(predicted: Array, targets: Array, weights: Array | None = None) -> Array:
    """The share of rows whose class ``(n,)`` is right."""
    return _weighted((predicted == targets).astype(np.float64), weights)


def balanced_accuracy(predicted: Array, targets: Array, classes: int, weights: Array | None = None) -> Array:
    """The mean recall over the classes that occur among the targets."""
    hits = _counts(targets, classes, weights, among=predicted == targets)
    return mean_defined(_ratio(hits, _counts(targets, classes, weights)))


def macro_f1(predicted: Array, targets: Array, classes: int, weights: Array | None = None) -> Array:
    """The mean F1 over the classes that occur among the targets or the predictions."""
    hits = _counts(targets, classes, weights, among=predicted == targets)
    marked = _counts(targets, classes, weights) + _counts(predicted, classes, weights)
    return mean_defined(_ratio(2 * hits, marked))


def log_loss(log_probabilities: Array, targets: Array, weights: Array | None = None) -> Array:
    """The mean of ``-log p`` of the true class; ``log_probabilities`` is ``(n, c)``, in nats.

    Targets ``(n, c)`` are probabilities, for which it is the cross-entropy.
    """
    if targets.ndim == 2:
        return _weighted(-(targets * log_probabilities).sum(axis=1), weights)
    return _weighted(-np.take_along_axis(log_probabilities, targets[:, None], axis=1)[:, 0], weights)


def auroc(scores: Array, positive: Array, weights: Array | None = None) -> Array:
    """The chance that a positive row scores above a negative one, a tie counting one half.

    ``scores`` and ``positive`` are ``(n,)``; ``nan`` where all rows are of one kind.

    References
    ----------
    Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982.
    """
    counted = np.ones(len(scores)) if weights is None else weights
    return _auroc(scores, positive.astype(bool), np.ascontiguousarray(counted.T))


def _auroc(scores: Array, positive: Array, columns: Array) -> Array:
    """:func:`auroc` with weights ``(n, …)``, so that many AUROCs transpose them once.

    The positives' distinct scores cut the line into bins: below the first, at it, between the
    first and the second, …  The negative weight of every bin gives, at each positive score, the
    weight below it and level with it; no sort depends on the weights.
    """
    cuts, at = np.unique(scores[positive], return_inverse=True)
    negatives = scores[~positive]
    left = np.searchsorted(cuts, negatives, side="left")
    bins = left + np.searchsorted(cuts, negatives, side="right")
    below = _sums(bins, np.flatnonzero(~positive), 2 * len(cuts) + 1, columns).cumsum(axis=0)
    above = _sums(at, np.flatnonzero(positive), len(cuts), columns)
    # bins[2k] ends the weight below cut k and bins[2k + 1] the weight up to and at it
    wins = (above * (below[0:-1:2] + below[1::2])).sum(axis=0) / 2
    return _ratio(wins, above.sum(axis=0) * below[-1])


def _sums(bins: Array, rows: Array, count: int, columns: Array) -> Array:
    """``(count, …)``: the weights ``(n, …)`` of ``rows``, summed by bin."""
    marks = sp.csr_array((np.ones(len(rows)), (bins, rows)), shape=(count, len(columns)))
    return np.asarray(marks @ columns)


def auroc_one_vs_rest(probabilities: Array, targets: Array, weights: Array | None = None) -> Array:
    """The mean over classes of each class's AUROC against all others.

    ``probabilities`` is ``(n, c)``.  Two classes have one AUROC, that of the second.  Classes
    without a row, or that hold every row, are left out of the mean.
    """
    classes = probabilities.shape[1]
    if classes == 2:
        return auroc(probabilities[:, 1], targets == 1, weights)
    return mean_defined(auroc_per_label(probabilities, targets[:, None] == np.arange(classes), weights))


def auroc_per_label(scores: Array, truth: Array, weights: Array | None = None) -> Array:
    """``(…, c)``: the AUROC of every column of ``scores`` against ``truth``, both ``(n, c)``."""
    counted = np.ones(len(scores)) if weights is None else weights
    columns = np.ascontiguousarray(counted.T)
    truth = truth.astype(bool)
    return np.stack([_auroc(scores[:, k], truth[:, k], columns) for k in range(scores.shape[1])], axis=-1)


def ece(confidence: Array, correct: Array, weights: Array | None = None, bins: int = 15) -> Array:
    """How far confidence is from correctness, in bins that each hold the same mass of rows.

    Rows are sorted by ``confidence`` ``(n,)`` and cut into ``bins`` of equal weight; the result is
    the weighted mean of ``|mean confidence - mean correctness|``.  A row on a cut counts in both
    bins with its parts, and rows of equal confidence are spread evenly, so the order of rows
    does not matter and a constant prediction has one gap, not 15 noisy ones.

    References
    ----------
    Guo et al., On calibration of modern neural networks, ICML 2017 (the measure);
    Nguyen and O'Connor, Posterior calibration and exploratory analysis for natural language
    processing models, EMNLP 2015 (bins of equal mass).
    """
    order = np.argsort(confidence, kind="stable")
    ranked = confidence[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    counted = np.ones((1, len(ranked))) if weights is None else np.atleast_2d(weights)[:, order].astype(np.float64)
    gaps = counted * (correct[order].astype(np.float64) - ranked)
    mass = np.pad(counted.cumsum(axis=1)[:, ends], ((0, 0), (1, 0)))
    drift = np.pad(gaps.cumsum(axis=1)[:, ends], ((0, 0), (1, 0)))
    shares = np.arange(bins + 1) / bins
    # between two ends both sums run straight, so the drift at a cut is an interpolation
    at_cuts = np.array([np.interp(shares * m[-1], m, d) for m, d in zip(mass, drift, strict=True)])
    error = _ratio(np.abs(np.diff(at_cuts, axis=1)).sum(axis=1), mass[:, -1])
    return error if weights is not None and weights.ndim == 2 else error[0]


def exact_match(predicted: Array, truth: Array, weights: Array | None = None) -> Array:
    """The share of rows whose labels ``(n, c)`` are all right."""
    return _weighted((predicted == truth).all(axis=1).astype(np.float64), weights)


def f1_per_label(predicted: Array, truth: Array, weights: Array | None = None) -> Array:
    """``(…, c)``: the F1 of every label, of marks ``(n, c)``; ``nan`` for a label that neither side has."""
    hits = _weighted((predicted & truth).astype(np.float64), weights)
    marked = _weighted(predicted.astype(np.float64) + truth, weights)
    return _ratio(2 * hits, marked)


def micro_f1(predicted: Array, truth: Array, weights: Array | None = None) -> Array:
    """The F1 of all marks ``(n, c)`` together; ``nan`` where neither side has any."""
    hits = _weighted((predicted & truth).sum(axis=1).astype(np.float64), weights)
    return _ratio(2 * hits, _weighted((predicted.sum(axis=1) + truth.sum(axis=1)).astype(np.float64), weights))


def mae(predicted: Array, targets: Array, weights: Array | None = None) -> Array:
    """The mean absolute error of values ``(n, k)``, averaged over the columns."""
    return _weighted(np.abs(predicted - targets).mean(axis=1), weights)


def rmse(predicted: Array, targets: Array, weights: Array | None = None) -> Array:
    """The root of the mean squared error of values ``(n, k)``, averaged over the columns."""
    return np.asarray(np.sqrt(_weighted((predicted - targets) ** 2, weights)).mean(axis=-1))[()]


def r2(predicted: Array, targets: Array, weights: Array | None = None) -> Array:
    """The share of the variance of values ``(n, k)`` that is explained, averaged over the columns.

    A column without variance has 1 where every prediction is right, else 0, as in scikit-learn.
    """
    left = _weighted((predicted - targets) ** 2, weights)
    # centred first: the variance is a difference of two squares that must not dwarf it
    centred = targets - targets.mean(axis=0)
    square = _weighted(centred**2, weights)
    spread = square - _weighted(centred, weights) ** 2
    flat = spread <= 1e-13 * square
    explained = 1 - _ratio(left, np.where(flat, 1.0, spread))
    return np.asarray(np.where(flat, (left == 0).astype(np.float64), explained).mean(axis=-1))[()]
