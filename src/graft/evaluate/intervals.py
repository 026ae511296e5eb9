"""How far a metric would move with other rows of the same kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from scipy.special import ndtr, ndtri

from graft.contracts import Array, FittedTask

__all__ = [
    "Interval",
    "affordable",
    "blocks",
    "bootstrap",
    "finer",
    "interval",
    "resampled",
    "resampled_metric",
    "units",
    "unseen",
]

_AT_ONCE = 2**20
"""Weights in memory at a time: 8 MiB."""

_SHARES = frozenset({"accuracy", "exact_match"})
"""Metrics that count rows: for them the exact bound is known where resampling says nothing."""

_WORK = 2**30
"""Weights times outputs that a bootstrap may touch; beyond it, fewer resamples are drawn."""


@dataclass(frozen=True)
class Interval:
    """A value, and where it would lie with other rows of the same kind.

    ``low`` and ``high`` are ``nan`` where that cannot be known: a single row or group, or a metric
    without a value.

    Parameters
    ----------
    level
        How often such intervals hold the true value.
    resamples
        How many resamples it rests on.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    resamples: int = 1000

    @property
    def spread(self) -> float:
        """The standard error that such an interval stands for, were it Gaussian; ``nan`` where that is not known."""
        return float(abs(self.high - self.low) / (2 * ndtri(0.5 + self.level / 2)))

    def __str__(self) -> str:
        return f"{self}"

    def __format__(self, sign: str) -> str:
        """``0.961 [0.931, 0.983]``; with ``"+"`` the value shows its sign, as a difference does."""
        return f"{self.value:{sign}.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(
    task: FittedTask,
    outputs: Array,
    targets: Array,
    *,
    groups: Array | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    own_only: bool = False,
    widen: float = 1.0,
) -> dict[str, Interval]:
    """Every metric of the task with its bias-corrected percentile interval.

    Parameters
    ----------
    outputs, targets
        ``(n, c)`` raw outputs, and the encoded truth.
    groups
        ``(n,)``: rows of one group are drawn together, as they are not independent.
    resamples
        How many; fewer, but at least 100, where rows times outputs are so many that these would
        take long.  The interval says how many it rests on.
    seed
        The same seed gives the same intervals.
    own_only
        Measure the task's own metric alone.
    widen
        Factor on the reach of the intervals: for outputs of several models that learnt from much the
        same rows, whose errors are not independent.

    References
    ----------
    Efron, Nonparametric standard errors and confidence intervals, Canadian J. Statistics 9, 1981;
    Field and Welsh, Bootstrapping clustered data, JRSS B 69, 2007 (whole groups).
    """
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    draws: dict[str, list[Array]] = {}
    count = 1 if own_only else None
    for weights in resampled(len(targets), groups, affordable(finer(resamples, widen), outputs), seed):
        for name, values in islice(task.metrics(outputs, targets, weights), count):
            draws.setdefault(name, []).append(np.asarray(values))
    found = {
        name: interval(float(value), np.concatenate(draws[name]) if name in draws else np.empty(0), level, widen)
        for name, value in islice(task.metrics(outputs, targets), count)
    }
    return {name: unseen(name, each, targets, groups, widen) for name, each in found.items()}


def resampled_metric(
    task: FittedTask,
    outputs: Array,
    targets: Array,
    *,
    groups: Array | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, Array]:
    """The task's own metric, and its values ``(r,)`` on resampled rows; parameters as for :func:`bootstrap`.

    Rows are drawn alike for all models that are measured with the same seed, so that differences are paired.
    """
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    draws = [
        np.asarray(next(iter(task.metrics(outputs, targets, weights)))[1])
        for weights in resampled(len(targets), groups, affordable(resamples, outputs), seed)
    ]
    value = float(next(iter(task.metrics(outputs, targets)))[1])
    return value, np.concatenate(draws) if draws else np.empty(0)


def unseen(metric: str, found: Interval, targets: Array, groups: Array | None, widen: float = 1.0) -> Interval:
    """The interval of a metric that counts rows, also where all of them agree.

    Where all rows agree, resampling sees no spread; what was not seen in so many units may still happen.
    The bound is exact: an event of this probability stays unseen with the chance of the level's tail.

    References
    ----------
    Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26, 1934.
    """
    if metric not in _SHARES or found.low != found.high or found.value not in (0.0, 1.0):
        return found
    alone = (int(units(len(targets), groups).max(initial=-1)) + 1) / widen**2
    share = 1 - ((1 - found.level) / 2) ** (1 / alone)
    return replace(found, low=1 - share) if found.value == 1.0 else replace(found, high=share)


def finer(resamples: int, widen: float) -> int:
    """A wider reach ends in rarer resamples, of which there must be enough."""
    return resamples if widen <= 1 else 4 * resamples


def affordable(resamples: int, outputs: Array) -> int:
    """How many resamples of these outputs fit the work that a bootstrap may do."""
    return min(resamples, max(100, _WORK // max(1, outputs.size)))


def resampled(n: int, groups: Array | None, resamples: int, seed: int) -> Iterator[Array]:
    """Blocks ``(r, n)`` of how often each row is drawn; none where there is only one unit to draw."""
    place = units(n, groups)
    count = int(place.max(initial=-1)) + 1
    if count < 2:
        return
    generator = np.random.default_rng(seed)
    for size in blocks(resamples, n):
        drawn = generator.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        yield (times if groups is None else times[:, place]).astype(np.float64)


def units(n: int, groups: Array | None) -> Array:
    """``(n,)``: the unit that each row is drawn with: its group, or itself where it has none."""
    if groups is None:
        return np.arange(n)
    place = np.unique(groups, return_inverse=True)[1]
    alone = np.array([isinstance(each, str) and not each for each in groups], dtype=bool)
    if alone.any():
        place = np.where(alone, place.max() + 1 + np.arange(n), place)
    return np.asarray(np.unique(place, return_inverse=True)[1])


def blocks(count: int, n: int) -> Iterator[int]:
    """Sizes that add up to ``count``, such that so many weightings of n rows fit in memory."""
    size = max(1, _AT_ONCE // max(1, n))
    for done in range(0, count, size):
        yield min(size, count - done)


def interval(value: float, draws: Array, level: float = 0.95, widen: float = 1.0) -> Interval:
    """The interval of a value from its resampled values ``(r,)``.

    Resamples without a value are left out.  The percentiles are shifted by the bias that the
    resamples show (measures such as the calibration error grow with every repeated row), and the
    interval always holds the value itself.  Its ends lie ``widen`` times as many deviations out: in
    the resamples' own distribution, so that no end leaves what the metric can be.
    """
    resamples = len(draws)
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0 or not np.isfinite(value):
        return Interval(value, np.nan, np.nan, level, resamples)
    near = np.isclose(draws, value, rtol=1e-12, atol=1e-15)
    below = ((draws < value) & ~near).mean() + near.mean() / 2
    bias = ndtri(np.clip(below, 1 / (len(draws) + 1), len(draws) / (len(draws) + 1)))
    tail = widen * ndtri((1 + level) / 2)
    low, high = np.quantile(draws, ndtr(2 * bias + np.array([-tail, tail])))
    return Interval(value, float(min(low, value)), float(max(high, value)), level, resamples)
