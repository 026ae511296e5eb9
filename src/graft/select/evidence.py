"""What rows say of a source by a score, how sure that is, and whether two sources can be told apart by it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t
from torch import Tensor

from graft.contracts import Array, FittedTask, Score, Seen
from graft.data.cells import KIND_OF_LINK
from graft.data.split import kfold
from graft.errors import RequestError
from graft.evaluate.intervals import Interval, interval, resampled_metric, unseen
from graft.evaluate.metrics import sign_of
from graft.linear.folds import strata

__all__ = ["Evidence", "behind", "evidence", "parts_of"]

_PARTS = 10
"""Into which rows are cut, each left out once, for a score that has no outputs."""


@dataclass(frozen=True)
class Evidence:
    """A score on rows, higher is better, with what it would have been on others.

    Parameters
    ----------
    value
        The score; of outputs the task's own metric, its sign turned where lower is better.
    draws
        ``(r,)`` values on resampled rows, or ``(g,)`` with each part of the rows left out; empty where
        rows say nothing.  The rows are the same for all sources.
    jackknife
        Whether draws are of the second kind.
    span
        The value with its interval.
    """

    value: float
    draws: Array
    jackknife: bool
    span: Interval


def parts_of(
    targets: Tensor, fitted: FittedTask, keys: npt.NDArray[np.uint8], groups: Array | None, seed: int
) -> npt.NDArray[np.int64] | None:
    """The part ``(n,)`` of each row, stratified, groups and copies together; ``None`` where there are too few rows."""
    labels = strata(targets, fitted.link)
    for parts in (_PARTS, 5, 2):
        try:
            return kfold(keys, labels, groups, parts, seed, KIND_OF_LINK[fitted.link])
        except RequestError:
            continue
    return None


def evidence(
    score: Score,
    seen: Seen,
    targets: Array,
    fitted: FittedTask,
    *,
    parts: npt.NDArray[np.int64] | None,
    seed: int,
) -> Evidence:
    """Score a source, and see how the score moves with the rows.

    Outputs of held-out rows are measured by the task's own metric, and bootstrapped row by row (or
    group by group).  Any other score is taken again without each of ten parts of the rows: to draw
    rows twice would look to it like rows that are surely told.

    Raises
    ------
    GraftError
        What the score raises.

    References
    ----------
    Efron and Tibshirani, An introduction to the bootstrap, 1993, §11 (the jackknife, by groups).
    """
    if score.prior:
        value = score.score(seen, targets)
        return Evidence(value, np.empty(0), False, Interval(value, np.nan, np.nan, resamples=0))
    outputs = score.outputs(seen, targets)
    if outputs is None:
        return _jackknifed(score, seen, targets, parts)
    sign = sign_of(fitted.metric)
    outputs = _padded(outputs, fitted.n_outputs)
    value, draws = resampled_metric(fitted, outputs, targets, groups=seen.groups, seed=seed)
    span = unseen(fitted.metric, interval(value, draws), targets, seen.groups)
    if sign < 0:
        span = replace(span, value=-span.value, low=-span.high, high=-span.low)
    return Evidence(sign * value, sign * draws, False, span)


def _padded(outputs: Array, wide: int) -> Array:
    """With columns for classes that none of these rows has: they are said by nothing."""
    lacking = wide - outputs.shape[1]
    floor = float(outputs.min(initial=0.0)) - 30.0
    return outputs if lacking <= 0 else np.pad(outputs, ((0, 0), (0, lacking)), constant_values=floor)


def _jackknifed(score: Score, seen: Seen, targets: Array, parts: npt.NDArray[np.int64] | None) -> Evidence:
    value = score.score(seen, targets)
    draws = []
    for part in range(0 if parts is None else int(parts.max()) + 1):
        assert parts is not None
        kept = np.flatnonzero(parts != part)
        rest = Seen(
            seen.features[kept],
            None if seen.outputs is None else seen.outputs[kept],
            seen.card,
            None if seen.groups is None else seen.groups[kept],
        )
        try:
            draws.append(score.score(rest, targets[kept]))
        except RequestError:  # without this part too little is left, such as one class
            return Evidence(value, np.empty(0), True, Interval(value, np.nan, np.nan, resamples=0))
    found = Evidence(value, np.array(draws), True, Interval(value, np.nan, np.nan, resamples=len(draws)))
    reach = _reach(found.draws, True, 0.95)
    return replace(found, span=replace(found.span, low=value - reach, high=value + reach))


def _reach(draws: Array, jackknife: bool, level: float) -> float:
    """Half the width of an interval: standard error times quantile; ``nan`` where there are no draws."""
    count = len(draws)
    if count < 2 or not np.isfinite(draws).all():
        return math.nan
    tail = (1 + level) / 2
    if jackknife:  # leaving one of g parts out moves the score less, by a factor of g - 1, than other rows would
        return float(t.ppf(tail, count - 1) * draws.std() * math.sqrt(count - 1))
    return float(norm.ppf(tail) * draws.std(ddof=1))


def behind(best: Evidence, other: Evidence, level: float) -> Interval:
    """How far a source is behind the best on the same rows, paired; ``nan`` ends where that cannot be known."""
    gap = best.value - other.value
    known = len(best.draws) == len(other.draws)
    reach = _reach(best.draws - other.draws, best.jackknife, level) if known else math.nan
    return Interval(gap, gap - reach, gap + reach, level, len(best.draws))
