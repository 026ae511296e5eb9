"""Two models on the same rows: is one better, and could that be chance?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from graft.contracts import Array, FittedTask
from graft.errors import UnknownNameError
from graft.evaluate.intervals import Interval, affordable, blocks, finer, interval, resampled, units
from graft.evaluate.metrics import sign_of

__all__ = ["Comparison", "compare", "mcnemar"]

_RESAMPLES = 1000
_PERMUTATIONS = 2000


@dataclass(frozen=True)
class Comparison:
    """One model against another on the same rows.

    Parameters
    ----------
    metric
        What was compared.
    gain
        How much better ours is, positive whichever way the metric points, with its paired interval.
    p_value
        How often chance alone would part two equal models so far, in [0, 1].
    test
        Where the p-value is from: ``"McNemar"`` or ``"permutation"``.
    adjusted
        The p-value by Holm, where this is one of several tests made at once; ``None`` where it stands alone.
    """

    metric: str
    gain: Interval
    p_value: float
    test: str
    adjusted: float | None = None

    @property
    def evidence(self) -> str:
        """The test in words: ``McNemar p < 0.001``."""
        return f"{self.test} p " + ("< 0.001" if self.p_value < 0.001 else f"= {self.p_value:.3f}")

    def __str__(self) -> str:
        return f"{self.gain:+} {self.metric}, {self.evidence}"


def compare(
    task: FittedTask,
    ours: Array,
    theirs: Array,
    targets: Array,
    *,
    groups: Array | None = None,
    metric: str | None = None,
    seed: int = 0,
    widen: float = 1.0,
) -> Comparison:
    """Compare two models' outputs ``(n, c)`` on the same rows.

    The interval is a paired bootstrap: both models meet the same resamples.  The test is McNemar's
    for the accuracy of independent rows, else a permutation test that swaps the two models'
    outputs on whole rows, or on whole groups.

    Parameters
    ----------
    groups
        ``(n,)``: rows of one group are drawn and swapped together.
    metric
        A metric of the task; its own where ``None``.
    widen
        Factor on the reach of the interval, and divisor of the test's statistic: for outputs of
        several models that learnt from much the same rows.

    Raises
    ------
    UnknownNameError
        For a metric that the task does not measure.
    """
    ours, theirs, targets = np.asarray(ours), np.asarray(theirs), np.asarray(targets)
    metric = task.metric if metric is None else metric
    sign = sign_of(_family(task, metric, ours, targets))

    def gains(weights: Array | None = None) -> Array:
        return sign * (
            _measure(task, metric, ours, targets, weights) - _measure(task, metric, theirs, targets, weights)
        )

    observed = float(gains())
    draws = [
        gains(weights) for weights in resampled(len(targets), groups, affordable(finer(_RESAMPLES, widen), ours), seed)
    ]
    gain = interval(observed, np.concatenate(draws) if draws else np.empty(0), widen=widen)
    if metric == "accuracy" and task.link == "softmax" and groups is None:
        truth = targets if targets.ndim == 1 else targets.argmax(axis=1)
        right = [outputs.argmax(axis=1) == truth for outputs in (ours, theirs)]
        return Comparison(metric, gain, _weaker(mcnemar(*right), widen), "McNemar")
    p_value = _permutation(task, metric, ours, theirs, targets, groups, seed, finer(_PERMUTATIONS, widen))
    return Comparison(metric, gain, _weaker(p_value, widen), "permutation")


def _weaker(p_value: float, widen: float) -> float:
    """The p-value of a statistic whose deviation is ``widen`` times as large as the test takes it for."""
    return p_value if widen <= 1 else float(2 * ndtr(ndtri(min(p_value, 1.0) / 2) / widen))


def mcnemar(ours: Array, theirs: Array) -> float:
    """The two-sided mid-p value of McNemar's test, from where ``(n,)`` each model is right.

    References
    ----------
    Fagerland, Lydersen and Laake, The McNemar test for binary matched-pairs data: mid-p and
    asymptotic are better than exact conditional, BMC Medical Research Methodology 13:91, 2013.
    """
    wins, losses = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    fewer = binom(wins + losses, 0.5)
    rarer = min(wins, losses)
    return float(min(1.0, 2 * fewer.cdf(rarer) - fewer.pmf(rarer)))


def _measure(task: FittedTask, metric: str, outputs: Array, targets: Array, weights: Array | None) -> Array:
    # measures come one at a time, the task's own first: what follows the wanted one is never computed
    return np.asarray(next(value for name, value in task.metrics(outputs, targets, weights) if name == metric))


def _family(task: FittedTask, metric: str, outputs: Array, targets: Array) -> str:
    """The metric's name without its label: ``f1`` of ``f1/sports``."""
    if metric != task.metric:
        known = [name for name, _ in task.metrics(outputs, targets)]
        if metric not in known:
            raise UnknownNameError("metric", metric, known)
    return metric.partition("/")[0]


def _permutation(
    task: FittedTask,
    metric: str,
    ours: Array,
    theirs: Array,
    targets: Array,
    groups: Array | None,
    seed: int,
    permutations: int,
) -> float:
    """The two-sided p-value of swapping the two models' outputs, as whole units.

    Both models' rows lie below each other; a swap moves a row's weight from one half to the
    other, so that all permutations are weightings of the same ``2n`` rows.

    References
    ----------
    Noreen, Computer-intensive methods for testing hypotheses, 1989; Phipson and Smyth,
    Permutation p-values should never be zero, 2010.
    """
    outputs, truth = np.concatenate([ours, theirs]), np.concatenate([targets, targets])

    def gap(weights: Array) -> Array:
        return _measure(task, metric, outputs, truth, weights) - _measure(task, metric, outputs, truth, 1 - weights)

    stay = np.repeat([1.0, 0.0], len(targets))
    observed = np.abs(gap(stay[None]))[0]
    if not np.isfinite(observed):
        return 1.0
    count = affordable(permutations, outputs)
    as_far = 0
    for kept in _swaps(len(targets), groups, count, seed):
        far = np.abs(gap(np.concatenate([kept, 1 - kept], axis=1)))
        # a permutation without a value counts against us
        as_far += int((~(far < observed - 1e-12 * max(1.0, observed))).sum())
    return (1 + as_far) / (1 + count)


def _swaps(n: int, groups: Array | None, count: int, seed: int) -> Iterator[Array]:
    """Blocks ``(r, n)`` of 1 where a row keeps its side and 0 where it is swapped."""
    place = units(n, groups)
    generator = np.random.default_rng([seed, 1])
    for size in blocks(count, 2 * n):
        kept = generator.integers(2, size=(size, int(place.max(initial=-1)) + 1))
        yield kept[:, place].astype(np.float64)
