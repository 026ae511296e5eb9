"""What more labels would bring: a power law through the metric at several numbers of training rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.contracts import Array
from graft.evaluate.intervals import Interval
from graft.evaluate.metrics import HIGHER_IS_BETTER, sign_of

__all__ = ["LearningCurve", "Point", "Power", "learning_curve"]

_BEST: Mapping[str, float] = {
    "accuracy": 1.0, "auroc": 1.0, "balanced_accuracy": 1.0, "ece": 0.0, "exact_match": 1.0, "f1": 1.0,
    "log_loss": 0.0, "mae": 0.0, "macro_f1": 1.0, "micro_f1": 1.0, "r2": 1.0, "rmse": 0.0,
}  # fmt: skip
"""What no model can pass."""

_SIZES = 3
"""Numbers of rows that a law of three parameters needs."""

_LITTLE = 0.005
"""Half a point: for twice that nobody labels twice as many rows.  Errors count in shares of the largest one."""

_EXPONENTS = np.geomspace(0.02, 2.0, 40)
"""That are tried: from hardly falling to faster than any curve that was ever published."""

_FALLS = (0.0, 0.25, 0.5)
"""How the spread of points falls with the rows, as an exponent: not at all, with their root, or between."""

_STEPS = 8
"""In which outliers lose their weight."""


@dataclass(frozen=True)
class Point:
    """The metric of one model that learnt from so many rows."""

    rows: int
    value: float


@dataclass(frozen=True)
class Power:
    """``limit - scale * rows ** -exponent``; a metric that falls has a negative scale.

    References
    ----------
    Hestness et al., Deep learning scaling is predictable, empirically, arXiv:1712.00409, 2017; Viering
    and Loog, The shape of learning curves: a review, IEEE TPAMI 45, 2023.
    """

    limit: float
    scale: float
    exponent: float

    def __call__(self, rows: float | Array) -> Any:
        """The metric at so many rows."""
        return self.limit - self.scale * np.asarray(rows, dtype=np.float64) ** -self.exponent


@dataclass(frozen=True)
class LearningCurve:
    """How the metric grows with the training rows, and what twice as many would bring.

    Parameters
    ----------
    points
        What was measured, the fewest rows first.
    law
        The power law; ``None`` where the points do not settle one.
    gain
        How much better twice the rows would be, positive whichever way the metric points; ``None``
        where that is not known.
    name
        The trial that was fitted.
    """

    metric: str
    points: tuple[Point, ...]
    law: Power | None = None
    gain: Interval | None = None
    name: str = ""

    @property
    def rows(self) -> int:
        """The training rows that there are."""
        return max((each.rows for each in self.points), default=0)

    @property
    def word(self) -> str:
        """``"more"``: twice the rows would help; ``"little"``: they would not; ``"unknown"``."""
        if self.gain is None or not np.isfinite([self.gain.low, self.gain.high]).all():
            return "unknown"
        if self.gain.high < 2 * self._little:
            return "little"
        return "more" if self.gain.low > 0 else "unknown"

    @property
    def _little(self) -> float:
        best = _BEST[self.metric]
        return _LITTLE * max(abs(best - each.value) for each in self.points) if not best else _LITTLE

    def __str__(self) -> str:
        twice = f"twice the labels ({self.rows} → {2 * self.rows} training rows)"
        if self.word == "unknown" or self.gain is None:
            return f"the measured points do not tell what {twice} would bring"
        in_points = _BEST[self.metric] == 1.0 and self.metric != "r2"
        factor, digits, unit = (100, 1, " points") if in_points else (1, 3, "")
        value, low, high = (factor * each for each in (self.gain.value, self.gain.low, self.gain.high))
        what = self.metric.replace("_", " ")
        better = "higher" if HIGHER_IS_BETTER[self.metric] else "lower"
        if self.word == "little":
            return f"{twice} would bring little: {what} at most {max(high, 0.0):.{digits}f}{unit} {better}"
        return f"{twice} would bring {what} {value:.{digits}f}{unit} {better} [{low:.{digits}f}, {high:.{digits}f}]"

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        held = dataclasses.asdict(self)
        return {**held, "points": list(held["points"]), "word": self.word, "sentence": str(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> LearningCurve:
        """What :meth:`document` gave."""
        law, gain = document["law"], document["gain"]
        return cls(
            document["metric"],
            tuple(Point(**each) for each in document["points"]),
            None if law is None else Power(**law),
            None if gain is None else Interval(**gain),
            document["name"],
        )


def learning_curve(
    metric: str, points: Sequence[Point], *, name: str = "", resamples: int = 1000, seed: int = 0
) -> LearningCurve:
    """Fit the law, and say what twice the rows would bring.

    The law is fitted by least squares that give outliers less weight, its limit not beyond the best
    that there can be.  A curve may fall: noise alone makes some fall, and the interval must know.

    The interval is a bootstrap over the measured points: the deviations of points from the mean of
    their number of rows are drawn anew, and the law is fitted again.  A dozen points settle neither
    how large their noise is, nor how it falls with the rows, nor the exponent, so each resample draws
    these too, as the points leave them open.  The interval holds what other draws of as many rows
    would have changed; that the curve goes on as it began, no interval can promise.

    Parameters
    ----------
    metric
        A task's metric.
    points
        Of at least three numbers of rows, some with several points: else there is no law, or no
        interval.
    """
    ordered = tuple(sorted(points, key=lambda each: (each.rows, each.value)))
    rows = np.array([each.rows for each in ordered], dtype=np.float64)
    values = np.array([each.value for each in ordered])
    unsettled = LearningCurve(metric, ordered, name=name)
    # groups are of different sizes, so halves are so only about
    halved = np.rint(np.log2(rows.max(initial=1) / rows))
    sizes, place, counts = np.unique(halved, return_inverse=True, return_counts=True)
    if len(sizes) < _SIZES or not np.isfinite(values).all() or counts.max() < 2:
        return unsettled
    sign = sign_of(metric)
    top, risen = sign * _BEST[metric], sign * values
    means = np.bincount(place, weights=risen) / counts
    # what one point tells of the spread is less by what its own mean took from it
    loss = np.sqrt(counts / np.maximum(counts - 1, 1))[place]
    share, several = rows / rows.max(), counts[place] > 1
    deviations = ((risen - means[place]) * loss)[several]
    narrowing = np.sqrt(share)
    noise = max(float(np.sqrt(np.mean((deviations * narrowing[several]) ** 2))), 1e-6)
    generator = np.random.default_rng(seed)
    known = int((counts - 1).sum())
    drawn = means[place] + _noises(deviations, share[several], share, known, resamples, generator)
    luck = np.zeros((resamples + 1, len(_EXPONENTS)))
    luck[1:] = generator.gumbel(size=(resamples, len(_EXPONENTS)))
    limit, scale, exponent = _fit(rows, np.concatenate([risen[None], drawn]), noise / narrowing, top, luck)
    most = rows.max()
    gains = scale * (most**-exponent - (2 * most) ** -exponent)
    value = float(gains[0])
    low, high = np.quantile(gains[1:], [0.025, 0.975])
    gain = Interval(value, min(float(low), value), max(float(high), value), resamples=resamples)
    law = Power(float(sign * limit[0]), float(sign * scale[0]), float(exponent[0]))
    return LearningCurve(metric, ordered, law, gain, name)


def _noises(
    deviations: Array, shares: Array, share: Array, known: int, resamples: int, generator: np.random.Generator
) -> Array:
    """``(resamples, n)``: what other draws of rows might have changed of every point.

    Few deviations tell neither how large the noise is nor how it falls with the rows, so every
    resample takes another size, as a sample of ``known`` degrees of freedom leaves it open, and
    another fall of those in :data:`_FALLS`.
    """
    fall = generator.choice(_FALLS, (resamples, 1))
    size = np.sqrt(known / generator.chisquare(known, (resamples, 1)))
    which = generator.integers(0, len(deviations), (resamples, len(share)))
    found: Array = size * deviations[which] * (shares[which] / share) ** fall
    return found


def _fit(rows: Array, values: Array, noise: Array, top: float, luck: Array) -> tuple[Array, Array, Array]:
    """Limit, scale and exponent ``(r,)`` of the law nearest to each of r rows of ``values`` ``(r, n)``.

    For a given exponent the law is a straight line in ``rows ** -exponent``, so only the exponent is
    searched, on a grid.  Outliers lose weight step by step (the loss ``2 (sqrt(1 + z²) - 1)``).

    Parameters
    ----------
    luck
        ``(r, e)``: what is added to the log-likelihood of every exponent.  Zeros take the likeliest;
        Gumbel's draws take each as often as it is likely.
    """
    # rows are counted in the largest number: all scales are then near 1
    share = (rows / rows.max())[None, None, :] ** -_EXPONENTS[None, :, None]
    value, sure = values[:, None, :], 1 / noise**2
    weight = np.broadcast_to(sure, (len(values), len(_EXPONENTS), len(rows)))
    for _ in range(_STEPS):
        total = weight.sum(axis=-1)
        middle, height = (weight * share).sum(axis=-1) / total, (weight * value).sum(axis=-1) / total
        lean, rise = share - middle[..., None], value - height[..., None]
        scale = -(weight * lean * rise).sum(axis=-1) / (weight * lean**2).sum(axis=-1)
        limit = height + scale * middle
        # a limit beyond what is possible is held there, and the line through it found anew
        held = np.maximum((weight * share * (top - value)).sum(axis=-1) / (weight * share**2).sum(axis=-1), 0.0)
        scale, limit = np.where(limit > top, held, scale), np.minimum(limit, top)
        z = (limit[..., None] - scale[..., None] * share - value) / noise
        weight = sure / np.sqrt(1 + z**2)
    cost = (np.sqrt(1 + z**2) - 1).sum(axis=-1)
    best = (cost - luck).argmin(axis=1)
    each = np.arange(len(values))
    exponent = _EXPONENTS[best]
    return limit[each, best], scale[each, best] * rows.max() ** exponent, exponent
